"""The training loop: takes a compiled network and knows no architecture."""

from collections.abc import Callable
from functools import partial

import keras
import numpy as np

import zoo
from callbacks import PolynomialRate
from engine.distribution import wait_for_all
from engine.muon import Muon
from engine.pretrained import start_pretrained
from engine.records import Run
from engine.reporting import Progress, Recorder, StopOnNaN
from engine.runs import Ledger
from engine.sgd import SGD
from engine.transfer import restore, start_from
from engine.weights import check_numbers
from fast.adam import adam
from fast.feed import feed
from fast.folding import networks
from fast.forward import forward
from utils.errors import UserError
from utils.plot_history import draw_curves

OPTIMIZERS = {
    "adam": adam,
    "muon": partial(Muon, exclude_layers=[zoo.CLASSIFIER]),
    "sgd": partial(SGD, momentum=0.9),  # that of all the papers but U-Net's
}
# What moving statistics of batch normalisation keep at a step; else what the network has, 0.99 as
# Keras does. At Muon's rates statistics of the last hundred steps are of other weights than those
# that are scored (see "How the quick preset was chosen" in notes.md).
STATISTICS_KEEP = {"muon": 0.9}
# XLA on TensorFlow lacks the gradient of bilinear upsampling; JAX knows no other way.
JIT = "auto" if keras.backend.backend() == "jax" else False


def optimizer_of(
    run: Run, model: keras.Model, rate: float, steps: int
) -> keras.optimizers.Optimizer:
    """The optimizer that was asked for.

    Weight decay is of kernels alone, not of biases nor of scale and shift of normalisations: L2
    with SGD, as the papers have it, decoupled with the others.

    Args:
        run: names it.
        model: to train, uncompiled.
        rate: of learning, in the first epoch.
        steps: batches of an epoch.

    Raises:
        UserError: more batches are to be gathered than an epoch has.
    """
    if run.accumulate > steps:
        raise UserError(
            f"--accumulate {run.accumulate}, and an epoch has {steps} batches; give --accumulate "
            f"{steps} or less."
        )
    options = {"gradient_accumulation_steps": run.accumulate} if run.accumulate > 1 else {}
    if run.weight_decay:
        options["weight_decay"] = run.weight_decay
    if run.schedule == "poly":  # Keras counts batches, those that are only gathered too
        rate = PolynomialRate(run.learning_rate, steps * run.schedule_epochs)
    optimizer = OPTIMIZERS[run.optimizer](rate, **options)
    vectors = [variable for variable in model.trainable_variables if len(variable.shape) < 2]
    optimizer.exclude_from_weight_decay(vectors)
    return optimizer


def let_statistics_follow(model: keras.Model, optimizer: str) -> None:
    """Let the moving statistics of batch normalisation keep up with the steps of an optimizer.

    Args:
        model: a functional network, before it is trained; others may be nested in it.
        optimizer: of `OPTIMIZERS`.
    """
    for layer in (layer for network in networks(model) for layer in network.layers):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = STATISTICS_KEEP.get(optimizer, layer.momentum)


def bring_weights(
    model: keras.Model, run: Run, ledger: Ledger, score: Callable[[], dict[str, float]]
) -> None:
    """Give a compiled network the weights that it begins or goes on with, and open the ledger.

    Args:
        model: compiled, with fresh weights.
        run: what to restore, to start from or to resume.
        ledger: of the run.
        score: the scores of `model` as it is.

    Raises:
        UserError: weights or a checkpoint are missing or do not fit.
    """
    # Else TensorFlow makes its variables while it traces the first step, and traces twice.
    model.optimizer.build(model.trainable_variables)
    wait_for_all("the first process has written the stage before")
    if run.resume or ledger.rows:
        ledger.go_on(model)
        if run.verbose:
            size = "{}x{}".format(*model.input_shape[1:3])
            print(f"Going on at {size} after epoch {len(ledger.rows)}, to epoch {run.epochs}.")
        return
    if run.restore_weights:
        restore(model, ledger.network.name, run.restore_weights)
    elif run.start_from:
        start_from(model, ledger.network.name, run.start_from)
        check_numbers(model, run.start_from)
    elif run.pretrained:
        check_numbers(model, start_pretrained(model, ledger.network.name, run.pretrained))
    wait_for_all("weights are read, and may be set aside")
    ledger.begin()
    if run.restore_weights:  # trained before, and to be beaten
        ledger.save_best(model, score()["chapter_miou"], -1)
        print(f"The restored weights have a chapter mIoU of {ledger.best[0]:.4f}.")


class Draws(keras.callbacks.Callback):
    """Fixes what a network draws in training, as by dropout, by the epoch.

    Checkpoints do not hold where draws are; so a resumed run draws as one in one go.

    Args:
        seed: of the run.
    """

    def __init__(self, seed: int):
        super().__init__()
        self.seed = seed

    def on_epoch_begin(self, epoch, logs=None):
        variables = self.model.variables
        states = [each for each in variables if each.path.endswith("seed_generator_state")]
        for place, state in enumerate(states):
            # Seed and counter, uint32; an epoch draws less than a million times.
            seed = (self.seed + place) % 2**32
            state.assign(np.array([seed, epoch * 2**20 % 2**32], "uint32"))


def train(
    model: keras.Model,
    data: keras.utils.PyDataset,
    callbacks: list[keras.callbacks.Callback],
    ledger: Ledger,
    epochs: int,
    verbose: bool = True,
) -> None:
    """Train to the end of an epoch; write down every epoch, with a checkpoint.

    Killed at any moment, the run goes on from its last whole epoch, and ends with the weights that
    it would have had.

    Args:
        model: compiled, from `bring_weights`. A network with a step of its own, for several
            outputs or an adversary, brings it as its `train_step`.
        data: batches of pictures and label maps; its attribute `epoch` fixes order and variation.
        callbacks: the learning rate and the scores, see `callbacks`.
        ledger: of the run; begins after the epochs that it holds.
        epochs: in all, those before an interruption included.
        verbose: print a line per epoch, and a bar in a terminal.

    Raises:
        UserError: a loss that is no number, or a picture that cannot be read.
    """
    batches, counters = feed(data)
    draws = Draws(ledger.configuration["run"]["seed"])
    house = [*counters, draws, StopOnNaN(), *callbacks, Recorder(ledger)]
    try:
        model.fit(
            batches,
            epochs=epochs,
            initial_epoch=len(ledger.rows),
            shuffle=False,  # the data has its own order, which a resumed run has to find again
            verbose=0,
            callbacks=[*house, *([Progress(ledger)] if verbose else [])],
        )
    except Exception as error:
        # TensorFlow wraps what the data set raised; the reader is to see the sentence itself.
        raise (getattr(data, "failure", None) or error) from None
    finally:
        forward.cache_clear()  # else a network of a size that is over stays in memory


def finish(ledger: Ledger, verbose: bool = True) -> None:
    """Draw the curves of a run that has ended, and say what is where."""
    files, drawn = ledger.files, f", curves {ledger.files.curves}"
    try:
        if ledger.writes:
            draw_curves(files.history, files.curves)
    except ImportError as error:  # on a machine that only trains
        drawn = f"; no curves ({error})"
    wait_for_all("everything is written")
    if verbose:
        print(f"Best chapter mIoU {ledger.best[0]:.4f}: {files.best}")
        print(f"History {files.history}{drawn}")
