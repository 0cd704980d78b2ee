"""U-Net, with valid convolutions as in its paper, and with padded ones as it is mostly met.

Olaf Ronneberger, Philipp Fischer and Thomas Brox, "U-Net: Convolutional Networks for Biomedical
Image Segmentation", 2015, figure 1. Idea: on the way back to full size each map is put together
with that of the same size on the way down, which still knows where things are.

A valid 3x3 convolution takes a pixel off each side, so that all is computed from what was seen, and
the answer is 184 pixels smaller than the picture: 16 k + 124 of them give 16 k - 60, for every k
from 4. As in the paper, the border that this needs is mirrored.

Differs from the paper: pictures of any size, by mirroring inside the network up to the next size of
that form; the answer is cropped to the picture. `unet-same` pads with zeros in place of both.
`unet-same-added` adds the maps of both ways, as FCN and FPN do, and `unet-same-without-skips` has
none of the way down.

Parameters of two 3x3 convolutions, a to b channels: 9ab + b + 9bb + b. Down, 64 to 1024 from 3:
38,720 + 221,440 + 885,248 + 3,539,968 + 14,157,824; up, 2x2 transposed 4ab + b: 2,097,664 + 524,544
+ 131,200 + 32,832; and from both halves 7,078,912 + 1,769,984 + 442,624 + 110,720; 64 C + C.
31,031,940 for 4 classes. From one half, where maps are added or left out, 9bb less on each way up:
27,898,500.
"""

import keras
import numpy as np
from keras import layers, ops

from fast.layers import Conv2D, Conv2DTranspose
from utils.errors import UserError
from zoo.parts import pictures_in, probabilities_out

SKIPS = ("concatenated", "added", "none")


def check_unet(skips: str, **_: object) -> None:
    """Refuse what no U-Net can have.

    Raises:
        UserError: there are no such skips.
    """
    if skips not in SKIPS:
        raise UserError(f"skips {skips!r}: those of a U-Net are {', '.join(SKIPS)}.")


def valid_size(least: int, depth: int = 4) -> int:
    """The smallest side, of at least `least` pixels, that valid convolutions let through whole.

    The coarsest map shrinks from k + 4 to k; each step up doubles that and takes 4 off, each step
    down added 4 and was doubled: 2^depth (k + 8) - 4, at depth 4 16 k + 124. From k = 4 on there is
    something left.
    """
    multiple = 2**depth
    return max(-(-(least + 4) // multiple), 12) * multiple - 4


def border(depth: int = 4) -> int:
    """Pixels by which the answer is smaller than the picture on each side, at depth 4 92."""
    return 6 * 2**depth - 4


def mirrored(size: int, before: int, after: int) -> np.ndarray:
    """Which of `size` pixels stand in a row with mirrored ends, the outermost not repeated.

    A picture smaller than the border is mirrored again and again.

    Returns:
        (before + size + after,) integers from 0 to size - 1.
    """
    return np.pad(np.arange(size), (before, after), mode="reflect")


@keras.saving.register_keras_serializable(package="segmentation")
class MirrorPadding2D(layers.ZeroPadding2D):
    """As `ZeroPadding2D`, with the picture's mirror image in place of zeros, of any width."""

    def call(self, inputs):
        x = inputs
        for axis in (1, 2):
            places = mirrored(inputs.shape[axis], *self.padding[axis - 1]).astype("int32")
            x = ops.take(x, places, axis=axis)
        return x


def _convolutions(x: keras.KerasTensor, filters: int, name: str, valid: bool):
    """Two 3x3 convolutions with ReLU: (B, h, w, any) -> (B, h - 4, w - 4, filters), or h and w."""
    for number in (1, 2):
        x = Conv2D(
            filters,
            3,
            padding="valid" if valid else "same",
            activation="relu",
            kernel_initializer="he_normal",
            name=f"{name}_{number}_conv",
        )(x)
    return x


def unet_logits(
    x: keras.KerasTensor,
    n_classes: int,
    width: int,
    depth: int,
    dropout: float,
    valid: bool,
    skips: str,
) -> keras.KerasTensor:
    """The network between scaled pictures (B, h, w, channels) and logits (B, h', w', n_classes).

    With valid convolutions h and w are as `valid_size` gives them, and h' = h - 2 border(depth).
    """
    ways = []
    for level in range(depth + 1):
        x = _convolutions(x, width * 2**level, f"down{level + 1}", valid)
        if level >= depth - 1:  # "at the end of the contracting path": 512 and 1024 channels
            x = layers.Dropout(dropout, name=f"down{level + 1}_dropout")(x)
        if level < depth:
            ways.append(x)
            x = layers.MaxPooling2D(2, name=f"down{level + 1}_pool")(x)
    for level in reversed(range(depth)):
        name, way = f"up{level + 1}", ways[level]
        # Keras takes 4 b for what he_normal divides by, where a pixel has 2 b inputs: without a
        # ReLU behind, that is the variance to keep.
        x = Conv2DTranspose(
            width * 2**level, 2, strides=2, kernel_initializer="he_normal", name=f"{name}_tconv"
        )(x)
        crop = (way.shape[1] - x.shape[1]) // 2  # 4, 16, 40, 88
        way = layers.Cropping2D(crop, name=f"{name}_crop")(way) if valid else way
        if skips == "concatenated":
            x = layers.Concatenate(name=f"{name}_concat")([way, x])
        elif skips == "added":
            x = layers.Add(name=f"{name}_sum")([way, x])
        x = _convolutions(x, width * 2**level, name, valid)
    # Small, or the first loss is far above that of chance: the last maps are not about zero.
    small = keras.initializers.VarianceScaling(0.1)
    return Conv2D(n_classes, 1, kernel_initializer=small, name="pre_activation")(x)


def build_unet(
    input_shape: tuple[int, int, int],
    n_classes: int,
    *,
    width: int = 64,
    depth: int = 4,
    dropout: float = 0.5,
    valid: bool = True,
    skips: str = "concatenated",
) -> keras.Model:
    """Build the network for pictures of any size.

    Args:
        input_shape: (H, W, channels).
        n_classes: number of classes.
        width: channels of the first stage, doubled from stage to stage.
        depth: how often the size is halved.
        dropout: share of values dropped behind the two coarsest stages.
        valid: valid convolutions, else padded ones.
        skips: how the maps of the way down come to those of the way up, one of `SKIPS`.

    Returns:
        Model "unet" from raw pictures (B, H, W, channels) to (B, H, W, n_classes) float32.

    Raises:
        UserError: as `check_unet`.
    """
    check_unet(skips)
    inputs, x = pictures_in(input_shape, 1 if valid else 2**depth)
    if valid:
        before = border(depth)
        sides = [(side, valid_size(side + 2 * before, depth)) for side in input_shape[:2]]
        margins = tuple((before, whole - before - side) for side, whole in sides)
        x = MirrorPadding2D(margins, name="mirror")(x)  # (B, 16 k + 124, 16 l + 124, channels)
    logits = unet_logits(x, n_classes, width, depth, dropout, valid, skips)
    return keras.Model(inputs, probabilities_out(inputs, logits), name="unet")


def build_valid_unet(
    input_shape: tuple[int, int, int],
    n_classes: int,
    *,
    width: int = 64,
    depth: int = 4,
    dropout: float = 0.5,
    skips: str = "concatenated",
) -> keras.Model:
    """The paper's network itself, 572x572 -> 388x388, which takes the weights of `build_unet`'s.

    Args:
        input_shape: (H, W, channels), of a size as `valid_size` gives it.
        n_classes, width, depth, dropout, skips: as for `build_unet`.

    Returns:
        Model "unet" from raw pictures (B, H, W, channels) to (B, H - 184, W - 184, n_classes)
        float32, the middle of the picture; with another depth other 184.

    Raises:
        UserError: the convolutions do not let this size through, or as `check_unet`.
    """
    check_unet(skips)
    height, width_in, _ = input_shape
    fitting = valid_size(height, depth), valid_size(width_in, depth)
    if fitting != (height, width_in):
        raise UserError(
            f"no U-Net with valid convolutions takes pictures of {height}x{width_in}; the next "
            f"size is {fitting[0]}x{fitting[1]}."
        )
    inputs, x = pictures_in(input_shape, 1)
    logits = unet_logits(x, n_classes, width, depth, dropout, True, skips)
    x = layers.Softmax(name="segmentation", dtype="float32")(logits)
    return keras.Model(inputs, x, name="unet")


def build_unet_for_tiles(
    input_shape: tuple[int, int, int],
    n_classes: int,
    *,
    valid: bool = True,
    depth: int = 4,
    **settings: object,
) -> keras.Model:
    """The paper's network for tiles whose answers have at least H rows and W columns.

    Args:
        input_shape: (H, W, channels); for 388x388 tiles of 572x572.
        n_classes, valid, depth, settings: as for `build_unet`.

    Returns:
        As `build_valid_unet`.

    Raises:
        UserError: the network has padded convolutions, whose answer for a tile knows its border.
    """
    if not valid:
        raise UserError("a U-Net with padded convolutions has no tiles; take one without.")
    sides = [valid_size(side + 2 * border(depth), depth) for side in input_shape[:2]]
    return build_valid_unet((*sides, input_shape[2]), n_classes, depth=depth, **settings)
