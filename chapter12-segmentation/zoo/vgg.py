"""VGG16 without its classifier: the backbone of FCN, DeconvNet, SegNet and the first DeepLabs.

Karen Simonyan and Andrew Zisserman, "Very Deep Convolutional Networks for Large-Scale Image
Recognition", 2015, table 1, column D. Idea: nothing but 3x3 convolutions, many of them.
Layers are called as in `keras.applications`, whose ImageNet weights fit.

Parameters, from 3 channels: 3x3 kernels and biases of 13 convolutions, 14,714,688.
"""

import keras
from keras import layers

from fast.layers import Activation, BatchNormalization, Conv2D

CONVOLUTIONS = (2, 2, 3, 3, 3)  # of each stage


def vgg_stage(
    x: keras.KerasTensor, stage: int, *, width: int, convolutions: int, normalise: bool = False
) -> keras.KerasTensor:
    """The convolutions of a stage, counted from 1, before its pool: (B, h, w, any) -> (B, h, w, C).

    C is `width`, doubled from stage to stage, eight times `width` at most. With `normalise` batch
    normalisation stands between each convolution and its ReLU.
    """
    filters = width * min(2 ** (stage - 1), 8)
    for number in range(1, convolutions + 1):
        x = Conv2D(
            filters,
            3,
            padding="same",
            activation=None if normalise else "relu",
            kernel_initializer="he_normal",
            name=f"block{stage}_conv{number}",
        )(x)
        if normalise:
            x = BatchNormalization(name=f"block{stage}_bn{number}")(x)
            x = Activation("relu", name=f"block{stage}_relu{number}")(x)
    return x


def build_vgg16(
    input_shape: tuple[int, int, int],
    *,
    width: int = 64,
    blocks: tuple[int, ...] = CONVOLUTIONS,
    normalise: bool = False,
) -> keras.Model:
    """Build the backbone.

    Args:
        input_shape: (H, W, channels) of the scaled pictures, multiples of 32.
        width: filters of the first stage.
        blocks: convolutions of each stage.
        normalise: with batch normalisation.

    Returns:
        Model "vgg16" from (B, H, W, channels) to what the five pools give, {"P1": (B, H/2, W/2,
        64), "P2": (.., 128), "P3": (.., 256), "P4": (.., 512), "P5": (B, H/32, W/32, 512)}.
    """
    inputs = x = layers.Input(shape=input_shape, name="vgg16_input")
    maps = {}
    for stage, convolutions in enumerate(blocks, 1):
        x = vgg_stage(x, stage, width=width, convolutions=convolutions, normalise=normalise)
        x = layers.MaxPooling2D(2, name=f"block{stage}_pool")(x)
        maps[f"P{stage}"] = x
    return keras.Model(inputs, maps, name="vgg16")
