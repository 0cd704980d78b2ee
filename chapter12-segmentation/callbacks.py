"""What happens around the steps: the learning rate, the scores, the best weights."""

import math
from collections.abc import Callable

import keras
from keras import ops

from utils.errors import UserError

# Learning rate by 0-based epoch of a run of 100 epochs, from the chapter's code. (The text halves
# it every 20 epochs after epoch 40; the code's factors are 1/2, 1/5 and 1/2, one epoch later.)
LEARNING_RATES = {0: 1e-3, 41: 5e-4, 61: 1e-4, 81: 5e-5}
TABLE_EPOCHS = 100
LOWEST = 0.01  # of the highest rate; the last epochs would else hardly learn
POWER = 0.9  # of "poly" (Chen et al., "DeepLab", 2017, section 4.1.1)


def lr_scheduler(
    epoch: int,
    schedule: str = "book",
    schedule_epochs: int = TABLE_EPOCHS,
    highest: float = LEARNING_RATES[0],
) -> float:
    """The learning rate of an epoch: the chapter's, Listing 12.3.3, or a smooth one.

    Args:
        epoch: 0-based.
        schedule: "book" for the table above, or "linear" (Defazio et al., "Optimal linear decay
            learning rate schedules", 2023), with half the rate in the first epoch, to warm up.
            That of "poly" falls with every step, see `PolynomialRate`.
        schedule_epochs: epochs over which it falls; later ones keep the lowest rate.
        highest: the rate that the chapter has at 1e-3.
    """
    if schedule == "book":
        position = epoch * TABLE_EPOCHS / schedule_epochs
        rates = [(start, rate) for start, rate in LEARNING_RATES.items() if start <= position]
        return max(rates)[1] * (highest / LEARNING_RATES[0])
    if epoch == 0:
        return highest / 2
    return highest * max(1 - epoch / schedule_epochs, LOWEST)


@keras.saving.register_keras_serializable(package="segmentation")
class PolynomialRate(keras.optimizers.schedules.LearningRateSchedule):
    """The rate of DeepLab and those after it: the highest times (1 - step / steps)^0.9.

    Of every batch, as in the papers; the optimizer counts them, and a checkpoint remembers. It
    ends at a hundredth, which later steps keep: a resumed run may have more than it was to have.

    Args:
        highest: the rate of the first batch.
        steps: batches over which it falls.
    """

    def __init__(self, highest: float, steps: int):
        super().__init__()
        self.highest, self.steps = highest, steps

    def __call__(self, step):
        left = 1 - ops.cast(step, "float32") / self.steps
        return self.highest * ops.maximum(left, LOWEST ** (1 / POWER)) ** POWER

    def get_config(self):
        return {"highest": self.highest, "steps": self.steps}


class RateScheduler(keras.callbacks.LearningRateScheduler):
    """Sets the rate of each epoch, unless the optimizer has a schedule by steps; logs it.

    Args:
        schedule: from the 0-based epoch to its rate.
        by_epoch: False leaves the rate to the optimizer.
    """

    def __init__(self, schedule: Callable[[int], float], by_epoch: bool = True):
        super().__init__(schedule)
        self.by_epoch = by_epoch

    def on_epoch_begin(self, epoch, logs=None):
        if self.by_epoch:
            super().on_epoch_begin(epoch, logs)


class AccuracyCallback(keras.callbacks.Callback):
    """mIoU and pixel accuracy after every epoch, in `logs`; keeps the best weights (section 12.3).

    Args:
        score: returns the scores of the network as it is, see `metrics.scores`.
        save_best: called with the chapter's mIoU and the 0-based epoch when that is higher than
            ever before.
        patience: stop after so many epochs without a better one; None never stops.
        patient_from: the 0-based epoch from which these are counted.
        best: the highest chapter mIoU so far and its 0-based epoch, when a run goes on.
    """

    def __init__(
        self,
        score: Callable[[], dict],
        save_best: Callable[[float, int], None],
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
            self.save_best(self.best, epoch)
        since = max(self.best_epoch, self.patient_from - 1)
        if self.patience and epoch - since >= self.patience:
            model.stop_training = True

    def on_train_end(self, logs=None):
        if self.model.stop_training:
            print(f"Stopped: no better chapter mIoU for {self.patience} epochs.")
