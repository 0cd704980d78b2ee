"""Xception-65, as DeepLab v3+ has it: a backbone of depthwise separable convolutions.

François Chollet, "Xception: Deep Learning with Depthwise Separable Convolutions", 2017; deeper,
with strides in place of pools, in Liang-Chieh Chen et al., "Encoder-Decoder with Atrous Separable
Convolution for Semantic Image Segmentation", 2018, figure 4. Idea: a 3x3 convolution of each
channel alone, then a 1x1 convolution of all channels, in place of one that does both.

Three convolutions and what goes around them are a block, the last one has its stride. ReLU comes
before each of them; in the last block behind both halves of each. Where the output stride is
reached, a stride becomes the rate of what follows, as in `zoo.resnet_v1`; but it stood in a 3x3,
which therefore keeps the rate in front of it.

Differs from the paper: nothing. What its text leaves open (epsilon, padding, where ReLU and rates
begin) is as in the authors' code.

Parameters that are trained, from 3 channels: 37,867,312. A separable convolution of C to F channels
has 9 C + 2 C + C F + 2 F, a shortcut C F + 2 F; there are 3 * (entry 64 to 128, 256, 728), 48 of
728, (728, 728, 1024) and (1024, 1536, 1536, 2048); the stem has 9 * 3 * 32 + 64 + 9 * 32 * 64 +
128. Moving statistics: 185,200.
"""

import keras
from keras import layers

from fast.layers import Activation, BatchNormalization, Conv2D
from utils.errors import UserError

OUTPUT_STRIDES = (8, 16, 32)
MIDDLE = (16,)  # blocks between entry and exit
EPSILON = 1e-3  # of the authors' Xception; their heads have 1e-5


def scaled(filters: int, width: int) -> int:
    """Filters of a network of this width, from those of width 64; 728 is no multiple of it."""
    return -(-filters * width // 64)


def separable_conv(
    x: keras.KerasTensor,
    filters: int,
    name: str,
    *,
    strides: int = 1,
    rate: int = 1,
    relu: bool = True,
    epsilon: float = EPSILON,
) -> keras.KerasTensor:
    """Depthwise and pointwise convolution, each normalised: (B, h, w, any) -> (B, h/strides,
    w/strides, filters).

    Args:
        x: the map.
        filters: of the pointwise convolution.
        name: its layers are called `<name>_depthwise`, ...
        strides: of the depthwise convolution.
        rate: of the depthwise convolution, if it has no stride.
        relu: behind each normalisation.
        epsilon: of the normalisations.
    """
    if strides > 1:  # "same" would begin a pixel later on even sides
        x = layers.ZeroPadding2D(1, name=f"{name}_pad")(x)
    x = layers.DepthwiseConv2D(
        3,
        strides,
        padding="valid" if strides > 1 else "same",
        dilation_rate=rate,
        use_bias=False,
        # Of the authors' code; Keras' "he_normal" would count the other channels as inputs too.
        depthwise_initializer=keras.initializers.TruncatedNormal(stddev=0.33),
        name=f"{name}_depthwise",
    )(x)
    x = BatchNormalization(epsilon=epsilon, name=f"{name}_depthwise_bn")(x)
    if relu:
        x = Activation("relu", name=f"{name}_depthwise_relu")(x)
    x = Conv2D(
        filters, 1, use_bias=False, kernel_initializer="he_normal", name=f"{name}_pointwise"
    )(x)
    x = BatchNormalization(epsilon=epsilon, name=f"{name}_pointwise_bn")(x)
    return Activation("relu", name=f"{name}_pointwise_relu")(x) if relu else x


def _block(
    x: keras.KerasTensor, filters: tuple[int, int, int], name: str, strides: int, rate: int
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """(B, h, w, C) -> (B, h/strides, w/strides, filters[2]), and (B, h, w, filters[1]) before."""
    shortcut, inner = x, []
    if x.shape[-1] != filters[-1]:
        shortcut = Conv2D(
            filters[-1],
            1,
            strides,
            use_bias=False,
            kernel_initializer="he_normal",
            name=f"{name}_0_conv",
        )(x)
        shortcut = BatchNormalization(epsilon=EPSILON, name=f"{name}_0_bn")(shortcut)
    for number, each in enumerate(filters, 1):
        x = Activation("relu", name=f"{name}_{number}_relu")(x)
        step = strides if number == 3 else 1
        x = separable_conv(x, each, f"{name}_{number}", strides=step, rate=rate, relu=False)
        inner.append(x)
    return layers.Add(name=f"{name}_add")([x, shortcut]), inner[1]


def build_xception(
    input_shape: tuple[int, int, int],
    *,
    width: int = 64,
    blocks: tuple[int, ...] = MIDDLE,
    output_stride: int = 32,
) -> keras.Model:
    """Build the backbone.

    Args:
        input_shape: (H, W, channels) of the scaled pictures, multiples of the output stride.
        width: filters of the second convolution; all others follow.
        blocks: one number, of the blocks in the middle.
        output_stride: 8, 16 or 32: of the last map.

    Returns:
        Model "xception65", or after its depth, from (B, H, W, channels) to {"P1": (B, H/2, W/2,
        64), "P2": (B, H/4, W/4, 128), "P3": (B, H/8, W/8, 256), "P4": (.., 728), "P5": (B, H/32,
        W/32, 2048), "low_level": (B, H/4, W/4, 256)}, the last of which decoders take. No map is
        smaller than H/output_stride.

    Raises:
        UserError: there is no such output stride.
    """
    if output_stride not in OUTPUT_STRIDES:
        raise UserError(f"output_stride {output_stride}: an Xception has 8, 16 or 32.")
    name = f"xception{3 * sum(blocks) + 17}"
    inputs = layers.Input(shape=input_shape, name=f"{name}_input")
    x = layers.ZeroPadding2D(1, name="stem_1_pad")(inputs)
    for number, filters in ((1, 32), (2, 64)):
        x = Conv2D(
            scaled(filters, width),
            3,
            strides=2 if number == 1 else 1,
            padding="valid" if number == 1 else "same",
            use_bias=False,
            kernel_initializer="he_normal",
            name=f"stem_{number}_conv",
        )(x)
        x = BatchNormalization(epsilon=EPSILON, name=f"stem_{number}_bn")(x)
        x = Activation("relu", name=f"stem_{number}_relu")(x)
    maps, stride, rate = {"P1": x}, 2, 1

    def shrink(x: keras.KerasTensor, filters: tuple[int, int, int], name: str):
        """A block with a stride, or with what it becomes: a rate of all that follows."""
        nonlocal stride, rate
        strides = 2 if stride < output_stride else 1
        found = _block(x, tuple(scaled(each, width) for each in filters), name, strides, rate)
        stride, rate = stride * strides, rate * 2 // strides
        return found

    maps["P2"], _ = shrink(x, (128, 128, 128), "entry1")
    maps["P3"], maps["low_level"] = shrink(maps["P2"], (256, 256, 256), "entry2")
    x, _ = shrink(maps["P3"], (728, 728, 728), "entry3")  # (B, H/16, W/16, 728)
    for number in range(1, blocks[0] + 1):
        x, _ = _block(x, (scaled(728, width),) * 3, f"middle{number}", 1, rate)
    maps["P4"] = x
    x, _ = shrink(x, (728, 1024, 1024), "exit1")  # (B, H/32, W/32, 1024)
    for number, filters in enumerate((1536, 1536, 2048), 1):
        x = separable_conv(x, scaled(filters, width), f"exit2_{number}", rate=rate)
    maps["P5"] = x
    return keras.Model(inputs, maps, name=name)
