"""ResNet-50 and -101 in their first version, without the classifier: backbones.

Kaiming He et al., "Deep Residual Learning for Image Recognition", 2016, table 1. Idea: a block
learns what is to be added to its input. Layers are called as in `keras.applications`, whose weights
of ImageNet fit, and as there the first 1x1 convolution of a stage has the stride.

Differs from `keras.applications`: convolutions before batch normalisation have no bias, as in the
paper. `zoo.pretrained` takes theirs off the moving means, which gives the same numbers.

With an output stride of 16 or 8 the last stages stay at that size: what would have been a stride
becomes the rate of the 3x3 convolutions behind it, which then see what they saw. So the weights are
the same, and of the finer map every second value is that of the coarser one.

Parameters that are trained, from 3 channels: 23,508,032 (ResNet-50) and 42,500,160 (ResNet-101).
"""

import keras
from keras import layers

from fast.layers import Activation, BatchNormalization, Conv2D
from utils.errors import UserError

OUTPUT_STRIDES = (8, 16, 32)
RESNET50, RESNET101 = (3, 4, 6, 3), (3, 4, 23, 3)  # blocks of each stage
EPSILON = 1.001e-5  # of keras.applications; Caffe, in which the weights were trained, has 1e-5


def _conv_bn(x, filters: int, name: str, *, kernel: int = 1, strides: int = 1, rate: int = 1):
    x = Conv2D(
        filters,
        kernel,
        strides,
        padding="same",
        dilation_rate=rate,
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    return BatchNormalization(epsilon=EPSILON, name=f"{name}_bn")(x)


def bottleneck(
    x: keras.KerasTensor,
    width: int,
    name: str,
    *,
    strides: int = 1,
    rate: int = 1,
    project: bool = False,
) -> keras.KerasTensor:
    """A block: (B, h, w, C) -> (B, h/strides, w/strides, 4 width).

    Args:
        x: the map.
        width: filters of its first two convolutions.
        name: its layers are called `<name>_...`.
        strides: of the first convolution, and of the shortcut.
        rate: of the 3x3 convolution.
        project: with a convolution in the shortcut; else C is 4 width.
    """
    shortcut = _conv_bn(x, 4 * width, f"{name}_0", strides=strides) if project else x
    x = _conv_bn(x, width, f"{name}_1", strides=strides)
    x = Activation("relu", name=f"{name}_1_relu")(x)
    x = _conv_bn(x, width, f"{name}_2", kernel=3, rate=rate)
    x = Activation("relu", name=f"{name}_2_relu")(x)
    x = _conv_bn(x, 4 * width, f"{name}_3")
    x = layers.Add(name=f"{name}_add")([shortcut, x])
    return Activation("relu", name=f"{name}_out")(x)


def build_resnet_v1(
    input_shape: tuple[int, int, int],
    *,
    width: int = 64,
    blocks: tuple[int, ...] = RESNET50,
    output_stride: int = 32,
    multi_grid: tuple[int, ...] = (1,),
) -> keras.Model:
    """Build the backbone.

    Args:
        input_shape: (H, W, channels) of the scaled pictures, multiples of the output stride.
        width: filters of the stem.
        blocks: blocks of each of the four stages.
        output_stride: 8, 16 or 32: of the last map.
        multi_grid: factors of the rates of the last stage's blocks, by turns.

    Returns:
        Model "resnet50", or after its depth, from (B, H, W, channels) to {"P1": (B, H/2, W/2, 64),
        "P2": (.., 256), "P3": (.., 512), "P4": (.., 1024), "P5": (B, H/32, W/32, 2048)}. No map is
        smaller than H/output_stride.

    Raises:
        UserError: there is no such output stride.
    """
    if output_stride not in OUTPUT_STRIDES:
        raise UserError(f"output_stride {output_stride}: a ResNet has 8, 16 or 32.")
    name = f"resnet{3 * sum(blocks) + 2}"
    inputs = layers.Input(shape=input_shape, name=f"{name}_input")
    # Padded by hand: "same" would begin a pixel later on even sides.
    x = layers.ZeroPadding2D(3, name="conv1_pad")(inputs)
    x = Conv2D(
        width,
        7,
        strides=2,
        use_bias=False,
        kernel_initializer="he_normal",
        name="conv1_conv",
    )(x)
    x = BatchNormalization(epsilon=EPSILON, name="conv1_bn")(x)
    maps = {"P1": Activation("relu", name="conv1_relu")(x)}  # (B, H/2, W/2, 64)
    x = layers.ZeroPadding2D(1, name="pool1_pad")(maps["P1"])
    x = layers.MaxPooling2D(3, strides=2, name="pool1_pool")(x)  # (B, H/4, W/4, 64)
    rate = 1
    for stage, number in enumerate(blocks, 2):
        filters, enter = width * 2 ** (stage - 2), 1
        if 2**stage > output_stride:
            rate *= 2  # of the first 3x3 already: the stride would stand in the 1x1 before it
        elif stage > 2:
            enter = 2
        for block in range(1, number + 1):
            first = block == 1
            strides = enter if first else 1
            grid = multi_grid[(block - 1) % len(multi_grid)] if stage == 5 else 1
            at = f"conv{stage}_block{block}"
            x = bottleneck(x, filters, at, strides=strides, rate=rate * grid, project=first)
        maps[f"P{stage}"] = x
    return keras.Model(inputs, maps, name=name)
