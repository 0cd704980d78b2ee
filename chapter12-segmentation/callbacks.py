"""What happens around the steps: learning rate, scores, best weights, checkpoint, progress."""

import math
import statistics
import sys
import time
from collections.abc import Callable
from itertools import pairwise

import keras

from utils.errors import UserError

# Learning rate by 0-based epoch of a run of 100 epochs, from the chapter's code. (The text halves
# it every 20 epochs after epoch 40; the code's factors are 1/2, 1/5 and 1/2, one epoch later.)
LEARNING_RATES = {0: 1e-3, 41: 5e-4, 61: 1e-4, 81: 5e-5}
TABLE_EPOCHS = 100
LOWEST = 0.01  # of the highest rate; the last epochs would else hardly learn

FIRST_STEPS = 6  # the first step traces the network and is left out; five give a fair time


def lr_scheduler(
    epoch: int,
    schedule: str = "book",
    schedule_epochs: int = TABLE_EPOCHS,
    highest: float = LEARNING_RATES[0],
) -> float:
    """The learning rate of an epoch: the chapter's, Listing 12.3.3, or a smooth one.

    Args:
        epoch: 0-based.
        schedule: "book" for the table above; "cosine" (Loshchilov and Hutter, "SGDR", 2017,
            section 3, without restarts) or "linear" (Defazio et al., "Optimal linear decay
            learning rate schedules", 2023), with half the rate in the first epoch, to warm up.
        schedule_epochs: epochs over which it falls; later ones keep the lowest rate.
        highest: the rate that the chapter has at 1e-3.
    """
    if schedule == "book":
        position = epoch * TABLE_EPOCHS / schedule_epochs
        rates = [(start, rate) for start, rate in LEARNING_RATES.items() if start <= position]
        return max(rates)[1] * (highest / LEARNING_RATES[0])
    if epoch == 0:
        return highest / 2
    share = min(epoch / schedule_epochs, 1)
    left = 1 - share if schedule == "linear" else (1 + math.cos(math.pi * share)) / 2
    return highest * max(left, LOWEST)


class AccuracyCallback(keras.callbacks.Callback):
    """mIoU and pixel accuracy after every epoch, in `logs`; keeps the best weights (section 12.3).

    Args:
        score: returns the scores of the network as it is, see `metrics.scores`.
        save_best: called when the chapter's mIoU is higher than ever before.
        patience: stop after so many epochs without a better one; None never stops.
        patient_from: the 0-based epoch from which these are counted.
        best: the highest chapter mIoU so far and its 0-based epoch, when a run goes on.
    """

    def __init__(
        self,
        score: Callable[[], dict],
        save_best: Callable[[], None],
        patience: int | None = None,
        patient_from: int = 0,
        best: tuple[float, int] = (-math.inf, -1),
    ):
        super().__init__()
        self.score, self.save_best = score, save_best
        self.patience, self.patient_from = patience, patient_from
        self.best, self.best_epoch = best

    def on_epoch_end(self, epoch, logs=None):
        model = self.model  # on JAX this brings the weights of the running epoch into the model
        logs.update(self.score())
        if math.isnan(logs["chapter_miou"]):
            raise UserError(
                "the pictures that pick the best weights hold no labelled pixel; label some, or "
                "choose others with --validation-split."
            )
        if logs["chapter_miou"] > self.best:
            self.best, self.best_epoch = logs["chapter_miou"], epoch
            self.save_best()
        since = max(self.best_epoch, self.patient_from - 1)
        if self.patience and epoch - since >= self.patience:
            model.stop_training = True

    def on_train_end(self, logs=None):
        if self.model.stop_training:
            print(f"Stopped: no better chapter mIoU for {self.patience} epochs.")


class StopOnNaN(keras.callbacks.Callback):
    """Ends training with a sentence on what to try when the loss is no longer a number."""

    def on_train_batch_end(self, batch, logs=None):
        if not math.isfinite(logs["loss"]):
            raise UserError(
                f"the loss became {logs['loss']} at step {batch + 1} of this epoch; try "
                "--precision float32 or a larger --batch-size, beginning with --restore-weights at "
                "the best weights so far, and check the labels with utils/verify_dataset.py."
            )


class Recorder(keras.callbacks.Callback):
    """Hands each epoch's numbers to `record(epoch, row)`; comes after `AccuracyCallback`."""

    def __init__(self, record: Callable[[int, dict], None]):
        super().__init__()
        self.record = record

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        _ = self.model  # on JAX this brings the weights of the running epoch into the model
        logs["seconds"] = time.perf_counter() - self.started
        self.record(epoch, logs)


class Progress(keras.callbacks.Callback):
    """An estimate after the first steps, a bar in a terminal, and one line per epoch."""

    def __init__(self, accuracy: AccuracyCallback, initial_epoch: int = 0):
        super().__init__()
        self.accuracy, self.initial_epoch = accuracy, initial_epoch
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
            epochs = self.params["epochs"] - self.initial_epoch
            whole = seconds * self.params["steps"] * epochs
            print(
                f"\r{seconds:.2f} s a step of training: about {duration(whole)} for {epochs} "
                "epochs of this size, scoring not counted."
            )

    def on_epoch_end(self, epoch, logs=None):
        if self.bar:
            print("\r\033[K", end="")  # the line begins anew
        epochs, best = self.params["epochs"], self.accuracy.best_epoch == epoch
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
