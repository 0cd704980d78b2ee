"""Every score from one source: a confusion matrix per picture, counted on the device.

Two averages go by the name mIoU, and differ by several points; they have two names here:

* `chapter_miou`: the chapter's. For each picture the mean IoU of the classes that its ground truth
  holds, then the mean over pictures. A class that is absent from a picture costs nothing there
  through its own IoU.
* `dataset_miou`: that of VOC, Cityscapes and CamVid. One matrix over all pictures, IoU per class,
  mean over the classes that occur in ground truth or prediction.

Matrices: rows are the true class, columns the predicted one. Void pixels (255) are not counted.
"""

import keras
import numpy as np
from keras import ops


def resize_bilinear(maps, size: tuple[int, int]):
    """Resize maps bilinearly with half-pixel centres, as `UpSampling2D` does.

    Args:
        maps: (B, H, W, C) floats.
        size: (height, width).

    Returns:
        (B, height, width, C).
    """
    return ops.image.resize(maps, size, interpolation="bilinear")


def class_maps(probabilities, size: tuple | None = None):
    """The most probable class of every pixel.

    Args:
        probabilities: (B, H, W, n_classes).
        size: (height, width) of the maps, to which the probabilities are brought bilinearly;
            None keeps H and W.

    Returns:
        (B, height, width) int32 class ids.
    """
    if size is not None:
        probabilities = resize_bilinear(probabilities, size)
    return ops.argmax(probabilities, axis=-1)


def count_confusions(labels, predicted, n_classes: int):
    """One confusion matrix per picture.

    Args:
        labels: (B, H, W) integer class ids; ids from `n_classes` up (void is 255) are not counted.
        predicted: (B, H, W) integer class ids below `n_classes`.

    Returns:
        (B, n_classes, n_classes) int32, the number of pixels by true and predicted class.
    """
    batch = ops.shape(labels)[0]
    labels, predicted = ops.cast(labels, "int32"), ops.cast(predicted, "int32")
    bins = n_classes * n_classes
    # One more bin for each picture, which takes the pixels that do not count.
    index = ops.where(labels < n_classes, labels * n_classes + predicted, bins)  # (B, H, W)
    index = ops.reshape(index, (batch, -1)) + (bins + 1) * ops.arange(batch)[:, None]
    counts = _count(ops.reshape(index, (-1,)), batch * (bins + 1))
    counts = ops.reshape(counts, (batch, bins + 1))[:, :bins]
    return ops.reshape(counts, (batch, n_classes, n_classes))


def _count(index, number):
    """How often each of 0 ... `number` - 1 occurs in `index`: (n,) int32 -> (number,) int32."""
    if keras.backend.backend() == "torch":  # Keras adds in float32 there, which ends at 2^24
        return ops.cast(index.bincount(minlength=number), "int32")
    return ops.segment_sum(ops.ones_like(index), index, number)


def iou_per_class(matrix: np.ndarray) -> np.ndarray:
    """Intersection over union of every class.

    Args:
        matrix: (..., C, C) confusion matrices.

    Returns:
        (..., C) float64; NaN where a class is in neither ground truth nor prediction.
    """
    matrix = np.asarray(matrix, np.float64)
    intersection = np.diagonal(matrix, axis1=-2, axis2=-1)
    union = matrix.sum(-1) + matrix.sum(-2) - intersection
    return np.divide(intersection, union, out=np.full_like(union, np.nan), where=union > 0)


def picture_mious(matrices: np.ndarray) -> np.ndarray:
    """The chapter's mIoU of each picture: the mean IoU of the classes that its ground truth holds.

    Args:
        matrices: (N, C, C), one a picture.

    Returns:
        (N,) float64; NaN for a picture that is void all over.
    """
    matrices = np.asarray(matrices)
    present = matrices.sum(-1) > 0  # (N, C)
    total = np.where(present, np.nan_to_num(iou_per_class(matrices)), 0).sum(-1)
    number = present.sum(-1)
    return np.divide(total, number, out=np.full(len(matrices), np.nan), where=number > 0)


def picture_accuracies(matrices: np.ndarray) -> np.ndarray:
    """Share of rightly classified pixels of each picture: (N, C, C) -> (N,), NaN if all is void."""
    matrices = np.asarray(matrices, np.float64)
    pixels = matrices.sum((-2, -1))
    right = np.trace(matrices, axis1=-2, axis2=-1)
    return np.divide(right, pixels, out=np.full(len(matrices), np.nan), where=pixels > 0)


def _mean(values: np.ndarray) -> float:
    """The mean of the values that are not NaN; NaN when there is none."""
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else float("nan")


def chapter_miou(matrices: np.ndarray) -> float:
    """The chapter's mIoU, section 12.5: the mean over pictures of `picture_mious`."""
    return _mean(picture_mious(matrices))


def pixel_accuracy(matrices: np.ndarray) -> float:
    """The chapter's pixel accuracy, section 12.5: the mean over pictures, between 0 and 1."""
    return _mean(picture_accuracies(matrices))


def dataset_miou(matrices: np.ndarray) -> float:
    """mIoU of one confusion matrix over all pictures, as VOC, Cityscapes and CamVid define it."""
    return _mean(iou_per_class(np.asarray(matrices, np.int64).sum(0)))


def boundary_scores(f1s: np.ndarray, matrices: np.ndarray) -> tuple[float, list[float]]:
    """The scores of boundaries over a data set.

    Args:
        f1s: (N, C) from `utils.boundaries.boundary_f1`.
        matrices: (N, trimaps, C, C) from `utils.boundaries.count_in_trimaps`.

    Returns:
        Boundary F1, the mean over pictures of the mean over the classes of each, as SegNet has it,
        and `dataset_miou` within each trimap.
    """
    f1s, number = np.asarray(f1s), np.isfinite(f1s).sum(-1)
    pictures = np.nansum(f1s, -1)[number > 0] / number[number > 0]
    return _mean(pictures), [dataset_miou(within) for within in np.swapaxes(matrices, 0, 1)]


def scores(matrices: np.ndarray) -> dict[str, float]:
    """The three scores by the names that logs, history and tables use; (N, C, C) -> floats."""
    return {
        "chapter_miou": chapter_miou(matrices),
        "dataset_miou": dataset_miou(matrices),
        "pixel_accuracy": pixel_accuracy(matrices),
    }
