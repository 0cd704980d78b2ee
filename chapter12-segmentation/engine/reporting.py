"""What a run tells while it goes on: an estimate, a bar, a line per epoch, its ledger, a nan."""

import importlib.util
import math
import statistics
import sys
import time
from itertools import pairwise
from math import prod

import keras

from engine.growth import stages
from engine.runs import Ledger, RunFiles
from utils.errors import UserError

FIRST_STEPS = 6  # the first step traces the network and is left out; five give a fair time


class StopOnNaN(keras.callbacks.Callback):
    """Ends training with a sentence on what to try when the loss is no longer a number."""

    # Keras then asks in a thread, and the next step is not kept waiting for the loss of this one: a
    # GPU would idle while Python prepares every step.
    async_safe = True

    def on_train_batch_end(self, batch, logs=None):
        if not math.isfinite(logs["loss"]):
            raise UserError(
                f"the loss became {logs['loss']} at step {batch + 1} of this epoch; try "
                "--precision float32 or a larger --batch-size, beginning with --restore-weights at "
                "the best weights so far, and check the labels with utils/verify_dataset.py."
            )


class Recorder(keras.callbacks.Callback):
    """Writes each epoch into the ledger; comes after `AccuracyCallback`.

    Its seconds are those since the one before was over, the writing of whose files included.
    """

    def __init__(self, ledger: Ledger):
        super().__init__()
        self.ledger = ledger

    def on_train_begin(self, logs=None):
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        model = self.model  # on JAX this brings the weights of the running epoch into the model
        now = time.perf_counter()
        logs["seconds"], self.started = now - self.started, now
        self.ledger.record(model, epoch, logs)


class Progress(keras.callbacks.Callback):
    """An estimate after the first steps, a bar in a terminal, and one line per epoch."""

    async_safe = True  # see `StopOnNaN`

    def __init__(self, ledger: Ledger):
        super().__init__()
        self.ledger, self.initial_epoch = ledger, len(ledger.rows)
        self.bar, self.times = None, []

    def on_epoch_begin(self, epoch, logs=None):
        if sys.stdout.isatty():
            self.bar = keras.utils.Progbar(self.params["steps"], stateful_metrics=["loss"])

    def on_train_batch_end(self, batch, logs=None):
        if self.bar:
            # Keras finishes the line of a full bar; the epoch's own line comes there instead.
            self.bar.update(batch + 1, [("loss", logs["loss"])], finalize=False)
        self._estimate()

    def _estimate(self):
        self.times.append(time.perf_counter())
        if len(self.times) == FIRST_STEPS:
            seconds = statistics.median(after - before for before, after in pairwise(self.times))
            run, done = self.ledger.configuration["run"], self.initial_epoch
            plan = stages(run["size"], run["epochs"], run["schedule_epochs"], run["grow"])
            plan = [stage for stage in plan if stage.end > done]
            # Epochs of this size that take as long as those of all sizes to come.
            epochs = sum((each.end - max(each.start, done)) * prod(each.size) for each in plan)
            epochs /= prod(plan[0].size)
            whole = seconds * self.params["steps"] * epochs
            print(
                f"\r{seconds:.2f} s a step of training: about {duration(whole)} to the end"
                f"{', at all sizes' if len(plan) > 1 else ''}, scoring not counted."
            )

    def on_epoch_end(self, epoch, logs=None):
        if self.bar:
            print("\r\033[K", end="")  # the line begins anew
        epochs, best = self.ledger.epochs, self.ledger.best[1] == epoch
        print(
            f"epoch {epoch + 1:{len(str(epochs))}}/{epochs}  loss {logs['loss']:.4f}"
            f"  chapter mIoU {logs['chapter_miou']:.4f}  dataset mIoU {logs['dataset_miou']:.4f}"
            f"  pixel accuracy {logs['pixel_accuracy']:.2%}"
            f"  rate {logs['learning_rate']:.0e}  {logs['seconds']:.0f} s"
            f"{'  best' if best else ''}",
            flush=True,
        )


def duration(seconds: float) -> str:
    """Seconds in words that a person waits by: "40 s", "12 min", "3.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def tensorboard(files: RunFiles) -> keras.callbacks.Callback:
    """Writes the logs of a run for TensorBoard.

    Raises:
        UserError: a package that it needs is missing.
    """
    for package in ("tensorboard", "tensorflow"):  # Keras writes its logs with both
        if importlib.util.find_spec(package) is None:
            raise UserError(
                f"--tensorboard needs the package {package}; install it with "
                "python3 -m pip install -r requirements/tensorboard.txt."
            )
    moment = time.strftime("%Y-%m-%d-%H.%M.%S")  # else two runs would be one curve
    return keras.callbacks.TensorBoard(files.folder / f"{files.name}-tensorboard" / moment)
