"""A classifier of patches, moved over every pixel: what all the other networks replaced.

Dan Cireşan, Alessandro Giusti, Luca Gambardella and Jürgen Schmidhuber, "Deep Neural Networks
Segment Neuronal Membranes in Electron Microscopy Images", 2012, network N4. Idea: what a pixel
belongs to is told by the patch of 95x95 around it.

A patch overlaps the next one in all but a column, and nearly all is computed anew for each.
Convolutions with "valid" padding need not be: over a whole picture they give at every 16th place,
four pools of stride 2, what the loop over the patches gives there; and at every place if pools have
stride 1 and all behind them is dilated by 2, filter rarefaction. That is the network here;
`by_patches` is the loop. For 480x640 and 4 classes: 41,308 GMAC by the loop, 78.5 dilated for the
same answer, 8.0 for every 16th place of it.

Differs from the paper: pictures are coloured; beyond their borders lies the mean colour, where the
paper mirrors them; all pixels of a picture are learnt at once, not patches by turns; one network,
not several whose answers are averaged, and no calibration. Activations are ReLU.

Parameters for C classes, from 3 channels: kernels and biases 4 x 4 x 3 x 48 + 48, 5 x 5 x 48 x 48 +
48, two times 4 x 4 x 48 x 48 + 48; 3 x 3 x 48 x 200 + 200; 200 C + C: 220,424 + 201 C.
"""

import keras
import numpy as np
from keras import layers

from fast.layers import Conv2D
from utils.errors import UserError
from zoo.parts import pictures_in, probabilities_out
from zoo.pooling import DilatedMaxPooling

KERNELS = (4, 5, 4, 4)
LAST = 3  # side of the map before the dense layers


def patch_side(kernels: tuple[int, ...] = KERNELS) -> int:
    """Pixels of the side of a patch, of which one value is left: 95 for the paper's kernels."""
    side = LAST
    for kernel in reversed(kernels):
        side = 2 * side + kernel - 1
    return side


def check_sliding_window(kernels: tuple[int, ...], **_: object) -> None:
    """Refuse what no network of this kind can have.

    Raises:
        UserError: a setting is out of range.
    """
    if not 1 <= len(kernels) <= 6 or min(kernels) < 1:
        raise UserError(f"kernels {kernels}: there are 1 to 6, each with a side of 1 or more.")


def classify(
    x: keras.KerasTensor,
    n_classes: int,
    *,
    dilated: bool,
    width: int = 48,
    kernels: tuple[int, ...] = KERNELS,
    head: int = 200,
) -> keras.KerasTensor:
    """The layers between scaled pictures and logits, with the same weights in both forms.

    Args:
        x: (B, H, W, channels); the sides that `patch_side` gives are those of a patch.
        n_classes: C.
        dilated: with pools of stride 1, and everything behind them dilated.
        width: filters of the convolutions.
        kernels: sides of their kernels; a pool follows each.
        head: width of the first dense layer.

    Returns:
        (B, H - side + 1, W - side + 1, C) where dilated, else this at every 16th place: 2 to the
        number of pools.
    """
    rate = 1

    def convolve(x, filters: int, kernel: int, name: str) -> keras.KerasTensor:
        return Conv2D(
            filters,
            kernel,
            dilation_rate=rate,
            activation="relu",
            kernel_initializer="he_normal",
            name=name,
        )(x)

    for stage, kernel in enumerate(kernels, 1):
        x = convolve(x, width, kernel, f"stage{stage}_conv")
        if dilated:
            x = DilatedMaxPooling(rate, name=f"stage{stage}_pool")(x)
            rate *= 2
        else:
            x = layers.MaxPooling2D(2, name=f"stage{stage}_pool")(x)
    x = convolve(x, head, LAST, "dense_conv")
    small = keras.initializers.RandomNormal(stddev=0.01)  # nothing normalises what comes in
    return Conv2D(n_classes, 1, kernel_initializer=small, name="pre_activation")(x)


def build_sliding_window(
    input_shape: tuple[int, int, int],
    n_classes: int = 4,
    *,
    width: int = 48,
    kernels: tuple[int, ...] = KERNELS,
    head: int = 200,
) -> keras.Model:
    """The classifier at every pixel of a picture, uncompiled.

    Args:
        input_shape: (H, W, channels), any size from 32.
        n_classes: number of classes, the background included.
        width: filters of the convolutions.
        kernels: sides of their kernels; a pool follows each.
        head: width of the first dense layer.

    Returns:
        Model "sliding-window" from raw pictures (B, H, W, channels), 0 to 255 of any type, to
        probabilities (B, H, W, n_classes) float32.

    Raises:
        UserError: a setting is out of range.
    """
    check_sliding_window(kernels)
    inputs, x = pictures_in(input_shape, multiple=1)
    side = patch_side(kernels)
    border = (side // 2, side - 1 - side // 2)
    x = layers.ZeroPadding2D((border, border), name="border")(x)
    settings = {"width": width, "kernels": kernels, "head": head}
    x = classify(x, n_classes, dilated=True, **settings)
    return keras.Model(inputs, probabilities_out(inputs, x), name="sliding-window")


def build_patch_classifier(
    input_shape: tuple[int | None, int | None, int],
    n_classes: int = 4,
    *,
    width: int = 48,
    kernels: tuple[int, ...] = KERNELS,
    head: int = 200,
) -> keras.Model:
    """The classifier of single patches, with pools of stride 2.

    Its weights are those of `build_sliding_window` with the same settings, in their order.

    Args:
        input_shape: (side, side, channels), see `patch_side`; or larger, or None for any.
        n_classes: see `build_sliding_window`, as the others.

    Returns:
        Model from scaled patches (B, side, side, channels) to probabilities (B, 1, 1, n_classes)
        float32. Over larger maps it is fully convolutional, see `classify`.

    Raises:
        UserError: a setting is out of range.
    """
    check_sliding_window(kernels)
    inputs = layers.Input(shape=input_shape, name="patches")
    settings = {"width": width, "kernels": kernels, "head": head}
    x = classify(inputs, n_classes, dilated=False, **settings)
    return keras.Model(inputs, layers.Softmax(dtype="float32", name="classes")(x), name="patches")


def by_patches(classifier: keras.Model, bordered: np.ndarray, side: int) -> np.ndarray:
    """The loop: one patch for every pixel, a row of pixels at a time.

    Args:
        classifier: from `build_patch_classifier`.
        bordered: (H + side - 1, W + side - 1, channels), what the layer "border" makes.
        side: of a patch.

    Returns:
        (H, W, C) float32.
    """
    windows = np.lib.stride_tricks.sliding_window_view(bordered, (side, side), (0, 1))
    rows = []
    for patches in windows:  # (W, channels, side, side)
        answers = classifier(patches.transpose(0, 2, 3, 1), training=False)  # (W, 1, 1, C)
        rows.append(keras.ops.convert_to_numpy(answers)[:, 0, 0])
    return np.stack(rows)
