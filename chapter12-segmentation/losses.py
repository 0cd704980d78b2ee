"""Losses over the pixels that have a label: cross-entropy and its kin, IoU and Dice."""

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


def without_void(y_true):
    """Label maps of any integer type as (B, H, W) int32 with 0 for void, and which are not void."""
    labels = ops.cast(y_true, "int32")
    valid = ops.not_equal(labels, VOID)
    return ops.where(valid, labels, 0), valid


def weighted_mean(values, weights):
    """The mean of values with weights of the same shape; 0 where all weights are."""
    return ops.sum(values * weights) / ops.maximum(ops.sum(weights), keras.config.epsilon())


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

    def pixel_weights(self, labels, valid, dtype="float32"):
        """The weight of each pixel's class, (B, H, W), 0 for void; see `without_void`."""
        weights = ops.cast(valid, dtype)
        if self.class_weights is not None:
            weights *= ops.take(ops.convert_to_tensor(self.class_weights, dtype), labels)
        return weights

    def call(self, y_true, y_pred):
        labels, valid = without_void(y_true)
        entropy = pixel_entropy(labels, y_pred)  # (B, H, W)
        return weighted_mean(entropy, self.pixel_weights(labels, valid, entropy.dtype))

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


def mean_lack(scores, labels, class_weights=None):
    """What the classes lack of a score of 1, the mean of each picture, then of the pictures.

    A class counts in the pictures that hold it; a picture that is void all over does not count.

    Args:
        scores: (B, n_classes), 1 at best, as of `soft_iou`.
        labels: (B, H, W) int32 class ids; other values (void) are not counted.
        class_weights: (n_classes,) floats of the mean over the classes, or None for equal ones.

    Returns:
        A scalar, 0 where all is void.
    """
    classes = ops.arange(scores.shape[-1], dtype="int32")
    held = ops.cast(ops.any(labels[..., None] == classes, axis=(1, 2)), scores.dtype)
    if class_weights is not None:
        held *= ops.convert_to_tensor(class_weights, scores.dtype)
    weight = ops.sum(held, axis=-1)  # (B,), 0 where all is void
    means = ops.sum(scores * held, axis=-1) / ops.where(weight > 0, weight, 1.0)
    return weighted_mean(1 - means, ops.cast(weight > 0, scores.dtype))


@keras.saving.register_keras_serializable(package="segmentation")
class EntropyAndIoU(PixelCrossEntropy):
    """Cross-entropy, and `IOU_WEIGHT` times what the chapter's mIoU lacks of one.

    Cross-entropy counts pixels, of which five in six are background here; the IoU counts a small
    drink as much as a large one. The second part is 1 - the mean `soft_iou` of the classes that a
    picture holds, as in `metrics.picture_mious`. Class weights are of the first part.
    """

    def call(self, y_true, y_pred):
        labels = ops.cast(y_true, "int32")
        return super().call(y_true, y_pred) + IOU_WEIGHT * mean_lack(
            soft_iou(labels, y_pred), labels
        )


@keras.saving.register_keras_serializable(package="segmentation")
class SoftDice(PixelCrossEntropy):
    """1 - 2 sum(yp) / (sum(y) + sum(p)): the soft Dice coefficient, linear in its denominator.

    The sums run over the pixels of one class in one picture. The mean is over the classes that the
    picture holds, weighted by class where weights are given, and then over the pictures: a batch of
    three costs as much as the mean of three batches of one. A class that a picture does not hold
    has no Dice; where it is seen in spite of that, the classes that are there lack those pixels.
    So no sum is 0, and no smoothing is needed.

    For every class 2 IoU / (1 + IoU) is the Dice, also of `soft_iou` and this one. Milletari et
    al., "V-Net", 2016, brought it to networks, with the squares of y and p in the denominator.
    """

    def call(self, y_true, y_pred):
        labels = ops.cast(y_true, "int32")
        iou = soft_iou(labels, y_pred)  # (B, n_classes)
        return mean_lack(2 * iou / (1 + iou), labels, self.class_weights)


@keras.saving.register_keras_serializable(package="segmentation")
class EntropyAndDice(PixelCrossEntropy):
    """BCE + Dice of UNet++: 0.5 BCE + 1 - Dice, as the authors' code trains it.

    BCE is the binary cross-entropy of every channel against all the others, the mean over pixels
    and channels. Dice is (2 sum(yp) + 1) / (sum(y) + sum(p) + 1), the sums over all pixels and
    channels of the batch together. Class weights are those of the pixels of a class in all of it.

    Four losses go by this name:

    * Zhou et al., "UNet++", 2018: -1/N sum(y log p / 2 + 2yp / (y + p)), a Dice of every pixel;
    * Zhou et al., "UNet++", 2019: BCE of every pixel, and a Dice with squares in its denominator;
    * the authors' code: 0.5 BCE - Dice. Ours is this one; the 1 that is added makes what is perfect
      cost 0 and changes no gradient;
    * the PyTorch port that most others copy (4uiiurz1): 0.5 BCE + 1 - the mean of the Dice of each
      picture, smoothed by 1e-5 in place of 1.

    All of them had a sigmoid per channel; here p is what the softmax gives.
    """

    def call(self, y_true, y_pred):
        labels, valid = without_void(y_true)
        weights = self.pixel_weights(labels, valid)  # (B, H, W)
        classes = y_pred.shape[-1]
        truth = ops.one_hot(labels, classes, dtype="float32")
        predicted = ops.cast(y_pred, "float32")
        others = ops.where(truth > 0, 1.0, 1 - predicted)
        others = -ops.log(ops.clip(others, keras.config.epsilon(), 1.0))
        entropy = pixel_entropy(labels, y_pred) + ops.sum(others, axis=-1)  # (B, H, W)
        both = ops.sum(truth * predicted * weights[..., None])
        each = ops.sum((truth + predicted) * weights[..., None])
        return 0.5 * weighted_mean(entropy, weights) / classes + 1 - (2 * both + 1) / (each + 1)


@keras.saving.register_keras_serializable(package="segmentation")
class FocalLoss(PixelCrossEntropy):
    """-(1 - p)^gamma log p of the true class: what is sure already counts less.

    Lin et al., "Focal Loss for Dense Object Detection", 2017; its alpha is the class weight. They
    divide by the number of anchors that hold an object; this is the mean over the labelled pixels,
    weighted as in the cross-entropy, which it is for gamma = 0.

    Args:
        class_weights: (n_classes,) floats, or None for equal weights.
        gamma: exponent, from 0 up; 2 is the paper's.
    """

    def __init__(self, class_weights=None, gamma: float = 2.0, name: str = "focal_loss", **kwargs):
        super().__init__(class_weights, name=name, **kwargs)
        self.gamma = gamma

    def call(self, y_true, y_pred):
        labels, valid = without_void(y_true)
        entropy = pixel_entropy(labels, y_pred)  # (B, H, W)
        focal = (-ops.expm1(-entropy)) ** self.gamma * entropy
        return weighted_mean(focal, self.pixel_weights(labels, valid, entropy.dtype))

    def get_config(self):
        return {**super().get_config(), "gamma": self.gamma}


@keras.saving.register_keras_serializable(package="segmentation")
class BorderEntropy(PixelCrossEntropy):
    """U-Net's cross-entropy: pixels between objects that nearly touch count up to 11 times as much.

    The weights come with the batch, as its third part: `utils.border_weights` makes them of each
    label map where the map is made. Class weights are in them already. The mean is weighted, as
    with class weights, so that a batch of single objects costs what `PixelCrossEntropy` says; the
    paper has the plain sum.

    Call: labels (B, H, W), probabilities (B, H, W, n_classes), sample_weight (B, H, W) floats, 0
    for void -> scalar.
    """

    def __call__(self, y_true, y_pred, sample_weight=None):
        if sample_weight is None:
            raise ValueError("the border loss needs the weights of the pixels as sample_weight")
        labels, _ = without_void(y_true)
        entropy = pixel_entropy(labels, y_pred)  # (B, H, W)
        return weighted_mean(entropy, ops.cast(sample_weight, entropy.dtype))


LOSSES = {
    "entropy": PixelCrossEntropy,
    "iou": EntropyAndIoU,
    "dice": SoftDice,
    "bce-dice": EntropyAndDice,
    "focal": FocalLoss,
    "border": BorderEntropy,
}


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
