"""ResNet-50 and -101 in their first version, without the classifier: backbones.

Kaiming He et al., "Deep Residual Learning for Image Recognition", 2016, table 1. Idea: a block
learns what is to be added to its input. Layers are called as in `keras.applications`, whose weights
of ImageNet fit, and as there the first 1x1 convolution of a stage has the stride.

Differs from `keras.applications`: convolutions before batch normalisation have no bias, as in the
paper. `zoo.pretrained` takes theirs off the moving means, which gives the same numbers.

Parameters that are trained, from 3 channels: 23,508,032 (ResNet-50) and 42,500,160 (ResNet-101).
"""

import keras
from keras import layers

from fast.layers import BatchNormalization

RESNET50, RESNET101 = (3, 4, 6, 3), (3, 4, 23, 3)  # blocks of each stage
EPSILON = 1.001e-5  # of keras.applications; Caffe, in which the weights were trained, has 1e-5


def _conv_bn(x, filters: int, name: str, *, kernel: int = 1, strides: int = 1):
    x = layers.Conv2D(
        filters,
        kernel,
        strides,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    return BatchNormalization(epsilon=EPSILON, name=f"{name}_bn")(x)


def _block(x: keras.KerasTensor, width: int, name: str, strides: int, project: bool):
    """A bottleneck block: (B, h, w, C) -> (B, h/strides, w/strides, 4 width)."""
    shortcut = _conv_bn(x, 4 * width, f"{name}_0", strides=strides) if project else x
    x = _conv_bn(x, width, f"{name}_1", strides=strides)
    x = layers.Activation("relu", name=f"{name}_1_relu")(x)
    x = _conv_bn(x, width, f"{name}_2", kernel=3)
    x = layers.Activation("relu", name=f"{name}_2_relu")(x)
    x = _conv_bn(x, 4 * width, f"{name}_3")
    x = layers.Add(name=f"{name}_add")([shortcut, x])
    return layers.Activation("relu", name=f"{name}_out")(x)


def build_resnet_v1(
    input_shape: tuple[int, int, int],
    *,
    width: int = 64,
    blocks: tuple[int, ...] = RESNET50,
) -> keras.Model:
    """Build the backbone.

    Args:
        input_shape: (H, W, channels) of the scaled pictures, multiples of 32.
        width: filters of the stem.
        blocks: blocks of each of the four stages.

    Returns:
        Model "resnet50", or after its depth, from (B, H, W, channels) to {"P1": (B, H/2, W/2, 64),
        "P2": (.., 256), "P3": (.., 512), "P4": (.., 1024), "P5": (B, H/32, W/32, 2048)}.
    """
    name = f"resnet{3 * sum(blocks) + 2}"
    inputs = layers.Input(shape=input_shape, name=f"{name}_input")
    # Padded by hand: "same" would begin a pixel later on even sides.
    x = layers.ZeroPadding2D(3, name="conv1_pad")(inputs)
    x = layers.Conv2D(
        width,
        7,
        strides=2,
        use_bias=False,
        kernel_initializer="he_normal",
        name="conv1_conv",
    )(x)
    x = BatchNormalization(epsilon=EPSILON, name="conv1_bn")(x)
    maps = {"P1": layers.Activation("relu", name="conv1_relu")(x)}  # (B, H/2, W/2, 64)
    x = layers.ZeroPadding2D(1, name="pool1_pad")(maps["P1"])
    x = layers.MaxPooling2D(3, strides=2, name="pool1_pool")(x)  # (B, H/4, W/4, 64)
    for stage, number in enumerate(blocks, 2):
        for block in range(1, number + 1):
            strides = 2 if block == 1 and stage > 2 else 1
            filters = width * 2 ** (stage - 2)
            x = _block(x, filters, f"conv{stage}_block{block}", strides, project=block == 1)
        maps[f"P{stage}"] = x
    return keras.Model(inputs, maps, name=name)
