"""The training loop: knows no architecture; leaves weights, configuration, history and curves."""

import importlib.util
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras

from callbacks import AccuracyCallback, Progress, Recorder, StopOnNaN
from engine.muon import Muon
from engine.weights import load_checkpoint, save_checkpoint, save_weights, to_json
from fast.adam import adam
from fast.devices import versions
from fast.feed import feed
from losses import PixelCrossEntropy
from utils.errors import UserError
from utils.files import PROJECT, portable, replace_whole
from utils.history import read_rows, write_history
from utils.plot_history import draw_curves

OPTIMIZERS = {"adam": adam, "muon": Muon}


@dataclass(frozen=True)
class RunFiles:
    """The files of a run, all under one name: `<backbone>-<layers>layer-<dataset>` in `folder`."""

    folder: Path
    name: str

    @property
    def best(self) -> Path:
        return self.folder / f"{self.name}-best-iou.weights.h5"

    @property
    def last(self) -> Path:
        return self.folder / f"{self.name}-last.weights.h5"

    @property
    def configuration(self) -> Path:
        return self.folder / f"{self.name}-configuration.json"

    @property
    def history(self) -> Path:
        return self.folder / f"{self.name}-history.csv"

    @property
    def curves(self) -> Path:
        return self.folder / f"{self.name}-curves.png"

    def set_aside(self, run: int) -> int:
        """Give the weights and the configuration of an earlier run names of their own.

        Args:
            run: its number by the history. A run that was killed in its first epoch is not there:
                the number is raised until nothing kept before is in the way.

        Returns:
            The number of the next run.
        """
        files = [path for path in (self.best, self.last, self.configuration) if path.exists()]

        def kept(path: Path) -> Path:
            return path.with_name(path.name.replace(self.name, f"{self.name}-run{run}", 1))

        while any(kept(path).exists() for path in files):
            run += 1
        for path in files:
            path.replace(kept(path))
            use = "name that to use it"
            if path == self.last:
                dataset = f"{self.name.partition('layer-')[2]}-run{run}"
                use = f"the same command with --resume --dataset {dataset} would go on with it"
            print(f"The earlier {path.name} is kept as {kept(path).name}; {use}.")
        return run + 1


def describe_run(arguments: dict, classes) -> dict:
    """The configuration of a run: what it was asked, its classes, versions and commit.

    Args:
        arguments: the options by name; they are kept as `utils.files.portable` gives them.
        classes: `utils.classes.Classes` of the training set.
    """
    return {
        "n_classes": len(classes),
        "class_names": list(classes.names),
        "class_colours": [list(colour) for colour in classes.colours],
        "arguments": {name: portable(value) for name, value in arguments.items()},
        "versions": versions(),
        "commit": _commit(),
    }


def _commit() -> str | None:
    """The commit of this program; None without git or outside a repository."""
    command = ["git", "-C", str(PROJECT), "describe", "--always", "--dirty"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return result.stdout.strip() or None


def train(
    model: keras.Model,
    data: keras.utils.PyDataset,
    score: Callable[[], dict],
    files: RunFiles,
    configuration: dict,
    epochs: int,
    rate: Callable[[int], float],
    optimizer: str = "adam",
    loss: keras.losses.Loss | None = None,
    resume: bool = False,
    restored: bool = False,
    patience: int | None = None,
    patient_from: int = 0,
    tensorboard: bool = False,
    verbose: bool = True,
) -> None:
    """Train; keep the best weights and a checkpoint per epoch.

    Listing 12.3.3. Killed at any moment, the run goes on from its last whole epoch with `resume`,
    and ends with the weights that it would have had.

    Args:
        model: an uncompiled network from pictures to probabilities.
        data: batches of pictures and label maps; its attribute `epoch` fixes order and variation.
        score: the scores of `model` as it is, see `metrics.scores`.
        files: where to leave the run.
        configuration: from `describe_run`.
        epochs: in all, those before an interruption included.
        rate: the learning rate of a 0-based epoch, see `callbacks.lr_scheduler`.
        optimizer: "adam" (the chapter's) or "muon".
        loss: from `losses`, the chapter's `PixelCrossEntropy` when there is none.
        resume: go on from `files.last`.
        restored: the network holds trained weights, whose score is to be beaten.
        patience: stop after so many epochs without a better one.
        patient_from: the 0-based epoch from which these are counted.
        tensorboard: write logs for TensorBoard.
        verbose: print a line per epoch, a bar in a terminal, and what was left where.

    Raises:
        UserError: nothing to resume, a loss that is no number, or TensorBoard is missing.
    """
    logger = [_tensorboard(files)] if tensorboard else []
    model.compile(
        optimizer=OPTIMIZERS[optimizer](rate(0)),
        loss=loss or PixelCrossEntropy(),
        # XLA on TensorFlow lacks the gradient of bilinear upsampling; JAX knows no other way.
        jit_compile="auto" if keras.backend.backend() == "jax" else False,
    )
    # Else TensorFlow makes its variables while it traces the first step, and traces twice.
    model.optimizer.build(model.trainable_variables)
    # A run that grows may have its best weights, or its end, before the whole size.
    height, width = model.input_shape[1:3]
    whole_size = [configuration["arguments"].get(side) for side in ("height", "width")]
    reached = {"height": height, "width": width, "whole_size": whole_size}
    arguments = configuration["arguments"] | reached
    earlier = read_rows(files.history)
    rows, start, best = [], 0, None
    if resume:
        state = load_checkpoint(model, files.last)
        run, rows, best = state["run"], state["rows"], state["best"]
        start = len(rows)
        earlier = [row for row in earlier if row["run"] != run]
        if start >= epochs:
            raise UserError(
                f"the run in {files.last} has all of its {start} epochs; raise --epochs to go on."
            )
        if verbose:
            print(f"Going on at {height}x{width} after epoch {start}, to epoch {epochs}.")
    else:
        run = files.set_aside(max((row["run"] for row in earlier), default=0))
    data.epoch = start

    def save_best():
        save_weights(model, files.best, configuration | {"arguments": arguments})

    if best and not files.best.is_file():
        print(f"{files.best} is gone; the next epoch writes it anew.")
        best = None
    if restored:
        best = score()["chapter_miou"], -1
        print(f"The restored weights have a chapter mIoU of {best[0]:.4f}.")
        save_best()
    accuracy = AccuracyCallback(score, save_best, patience, patient_from, *([best] if best else []))

    def record(epoch: int, logs: dict):
        row = {"run": run, "epoch": epoch + 1}
        row |= {name: float(value) for name, value in logs.items() if name not in row}
        rows.append(row)
        # The checkpoint first: it holds the rows too, so that a kill between the two loses none.
        state = {"run": run, "rows": rows, "best": [accuracy.best, accuracy.best_epoch]}
        save_checkpoint(model, files.last, configuration, state)
        write_history(files.history, earlier, rows)

    with replace_whole(files.configuration) as unfinished:
        unfinished.write_text(to_json(configuration) + "\n", encoding="utf-8")
    batches, counters = feed(data)
    callbacks = [
        *counters,
        keras.callbacks.LearningRateScheduler(lambda epoch: rate(epoch)),
        StopOnNaN(),
        accuracy,
        Recorder(record),
        *logger,
        *([Progress(accuracy, start)] if verbose else []),
    ]
    try:
        model.fit(
            batches,
            epochs=epochs,
            initial_epoch=start,
            shuffle=False,  # the data has its own order, which a resumed run has to find again
            verbose=0,
            callbacks=callbacks,
        )
    except Exception as error:
        # TensorFlow wraps what the data set raised; the reader is to see the sentence itself.
        raise (getattr(data, "failure", None) or error) from None
    draw_curves(files.history, files.curves)
    if verbose:
        print(f"Best chapter mIoU {accuracy.best:.4f}: {files.best}")
        print(f"History {files.history}, curves {files.curves}")


def _tensorboard(files: RunFiles) -> keras.callbacks.Callback:
    for package in ("tensorboard", "tensorflow"):  # Keras writes its logs with both
        if importlib.util.find_spec(package) is None:
            raise UserError(
                f"--tensorboard needs the package {package}; install it with "
                "python3 -m pip install -r requirements/tensorboard.txt."
            )
    return keras.callbacks.TensorBoard(files.folder / f"{files.name}-tensorboard")
