"""Cross-entropy over the pixels that have a label."""

import keras
import numpy as np
from keras import ops

from utils.class_weights import median_frequency
from utils.classes import VOID

# Of `EntropyAndIoU`. The chapter's network had a validation mIoU of 0.691 after 4,000 pictures of
# 64x96 with a weight of 0, 0.722 with 0.5, 0.751 with 1.5, 0.775 with 5 and 0.778 with 20; part of
# that is the network's L2 counting less: six times the cross-entropy alone had 0.724.
IOU_WEIGHT = 5.0


def pixel_entropy(labels, probabilities):
    """-log p(label) of every pixel.

    On TensorFlow, Keras finds the logits behind the softmax and stays exact where p is near 0.
    Elsewhere p is clipped; Keras' own function fails there in PyTorch's backward pass.

    Args:
        labels: (B, H, W) int32 class ids.
        probabilities: (B, H, W, n_classes).

    Returns:
        (B, H, W) floats.
    """
    if keras.backend.backend() == "tensorflow":
        return ops.sparse_categorical_crossentropy(labels, probabilities)
    chosen = ops.take_along_axis(probabilities, labels[..., None], axis=-1)[..., 0]
    return -ops.log(ops.clip(chosen, keras.config.epsilon(), 1.0))


@keras.saving.register_keras_serializable(package="segmentation")
class PixelCrossEntropy(keras.losses.Loss):
    """The chapter's categorical cross-entropy from label maps, void pixels left out.

    The mean of -log p(true class) over the pixels whose label is not void, weighted by class where
    weights are given. A batch that is void all over costs 0. Integer labels need a quarter of the
    memory of the chapter's one-hot masks and give the same number.

    Args:
        class_weights: (n_classes,) floats, or None for equal weights.

    Call: labels (B, H, W) integers of any type, probabilities (B, H, W, n_classes) -> scalar.
    """

    def __init__(self, class_weights=None, name: str = "pixel_cross_entropy", **kwargs):
        super().__init__(name=name, **kwargs)
        self.class_weights = None if class_weights is None else [float(w) for w in class_weights]

    def call(self, y_true, y_pred):
        labels = ops.cast(y_true, "int32")
        valid = ops.not_equal(labels, VOID)
        labels = ops.where(valid, labels, 0)
        entropy = pixel_entropy(labels, y_pred)  # (B, H, W)
        weights = ops.cast(valid, entropy.dtype)
        if self.class_weights is not None:
            weights *= ops.take(ops.convert_to_tensor(self.class_weights, entropy.dtype), labels)
        return ops.sum(entropy * weights) / ops.maximum(ops.sum(weights), keras.config.epsilon())

    def get_config(self):
        return {**super().get_config(), "class_weights": self.class_weights}


def soft_iou(labels, probabilities):
    """The IoU of every class in every picture, with probabilities in place of a yes or no.

    Rahman and Wang, "Optimizing Intersection-Over-Union in Deep Neural Networks for Image
    Segmentation", 2016, equations 3 to 5. For probabilities of 0 and 1 it is the IoU itself.

    Args:
        labels: (B, H, W) int32 class ids; other values (void) are not counted.
        probabilities: (B, H, W, n_classes).

    Returns:
        (B, n_classes) float32; 0 for a class that a picture does not hold.
    """
    classes = probabilities.shape[-1]
    valid = ops.cast(ops.less(labels, classes), "float32")[..., None]  # (B, H, W, 1)
    truth = ops.one_hot(ops.where(labels < classes, labels, 0), classes, dtype="float32") * valid
    predicted = ops.cast(probabilities, "float32") * valid
    both = ops.sum(truth * predicted, (1, 2))
    either = ops.sum(truth, (1, 2)) + ops.sum(predicted, (1, 2)) - both
    return both / ops.maximum(either, keras.config.epsilon())


@keras.saving.register_keras_serializable(package="segmentation")
class EntropyAndIoU(PixelCrossEntropy):
    """Cross-entropy, and `IOU_WEIGHT` times what the chapter's mIoU lacks of one.

    Cross-entropy counts pixels, of which five in six are background here; the IoU counts a small
    drink as much as a large one. The second part is 1 - the mean `soft_iou` of the classes that a
    picture holds, as in `metrics.picture_mious`.
    """

    def call(self, y_true, y_pred):
        labels = ops.cast(y_true, "int32")
        iou = soft_iou(labels, y_pred)  # (B, n_classes)
        classes = ops.arange(iou.shape[-1], dtype="int32")
        held = ops.cast(ops.any(labels[..., None] == classes, axis=(1, 2)), iou.dtype)
        number = ops.sum(held, axis=-1)  # (B,), 0 where all is void
        mious = ops.sum(iou * held, axis=-1) / ops.maximum(number, 1.0)
        counted = ops.cast(number > 0, iou.dtype)
        lacking = ops.sum((1 - mious) * counted) / ops.maximum(ops.sum(counted), 1.0)
        return super().call(y_true, y_pred) + IOU_WEIGHT * lacking


LOSSES = {"entropy": PixelCrossEntropy, "iou": EntropyAndIoU}


def median_frequency_weights(label_maps, n_classes: int) -> np.ndarray:
    """Class weights by `utils.class_weights.median_frequency`, for the loss.

    Args:
        label_maps: iterable of (H, W) uint8 label maps.
        n_classes: number of classes.

    Returns:
        (n_classes,) float64; 0 for a class without a pixel.
    """
    pixels, surroundings = np.zeros(n_classes), np.zeros(n_classes)
    for labels in label_maps:
        counts = np.bincount(labels[labels != VOID], minlength=n_classes)
        pixels += counts
        surroundings += np.where(counts > 0, counts.sum(), 0)
    return np.nan_to_num(median_frequency(pixels, surroundings))
