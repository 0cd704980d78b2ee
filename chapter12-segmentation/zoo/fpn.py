"""FPN: a pyramid of maps that all know what the coarsest knows, and a head that reads all of it.

Tsung-Yi Lin et al., "Feature Pyramid Networks for Object Detection", 2017. Idea: a map is enlarged
by copying its values, without learnt filters, and added to the next finer one of a ResNet, each
through a 1x1 convolution; so every level can predict. Alexander Kirillov et al., "Panoptic Feature
Pyramid Networks", 2019: to name every pixel, each level is brought to a quarter of the picture's
size by as many convolutions and doublings as it takes, and all are added.

The head is normalised in groups of channels of one picture, whatever else is in its batch. It
enlarges between the centres of pixels, as the second paper's code does, not from the corners of
maps, where the values of a ResNet stand (`parts.EnlargeFromCorners`).

Differs from the papers: no P6, of which only detection makes use.

Parameters of the pyramid: 256 (256 + 512 + 1024 + 2048) + 4 * 256 + 4 (9 * 256 * 256 + 256) =
3,344,384. Of the head, for C classes: four convolutions of 9 * 256 * 128, three of 9 * 128 * 128,
2 * 128 behind each of the seven; 128 C + C. 1,624,324 for 4 classes.
"""

from collections.abc import Mapping

import keras
from keras import layers

from fast.layers import Conv2D
from zoo.normalisation import groups_of
from zoo.parts import pictures_in, probabilities_out
from zoo.resnet_v1 import RESNET50, build_resnet_v1

LEVELS = (5, 4, 3, 2)


def feature_pyramid(
    maps: Mapping[str, keras.KerasTensor], filters: int = 256
) -> dict[str, keras.KerasTensor]:
    """From "P2" to "P5" of a backbone to those of the pyramid, (B, H/2^n, W/2^n, filters)."""
    pyramid: dict[str, keras.KerasTensor] = {}
    coarser = None
    for level in LEVELS:
        name = f"fpn{level}"
        x = Conv2D(filters, 1, name=f"{name}_lateral")(maps[f"P{level}"])
        if coarser is not None:
            enlarge = layers.UpSampling2D(2, interpolation="nearest", name=f"{name}_enlarge")
            x = layers.Add(name=f"{name}_sum")([x, enlarge(coarser)])
        coarser = x
        # What copying leaves of steps is smoothed; no nonlinearity anywhere.
        pyramid[f"P{level}"] = Conv2D(filters, 3, padding="same", name=f"{name}_conv")(x)
    return pyramid


def semantic_head(
    pyramid: Mapping[str, keras.KerasTensor], filters: int = 128
) -> keras.KerasTensor:
    """All levels of a pyramid as one map: (B, H/4, W/4, filters)."""
    groups = groups_of(filters)
    branches = []
    for level in LEVELS:
        x = pyramid[f"P{level}"]
        for number in range(1, max(level - 2, 1) + 1):
            name = f"head{level}_{number}"
            x = Conv2D(
                filters,
                3,
                padding="same",
                use_bias=False,
                kernel_initializer="he_normal",
                name=f"{name}_conv",
            )(x)
            x = layers.GroupNormalization(groups, epsilon=1e-5, name=f"{name}_norm")(x)
            x = layers.Activation("relu", name=f"{name}_relu")(x)
            if level > 2:
                enlarge = layers.UpSampling2D(2, interpolation="bilinear", name=f"{name}_enlarge")
                x = enlarge(x)
        branches.append(x)  # (B, H/4, W/4, 128)
    return layers.Add(name="head_sum")(branches)


def build_fpn(
    input_shape: tuple[int, int, int],
    n_classes: int,
    *,
    width: int = 64,
    blocks: tuple[int, ...] = RESNET50,
) -> keras.Model:
    """Build the network.

    Args:
        input_shape: (H, W, channels).
        n_classes: number of classes.
        width: filters of the ResNet's stem; all others follow.
        blocks: of each of its stages.

    Returns:
        Model "fpn" from raw pictures (B, H, W, channels) to (B, H, W, n_classes) float32.
    """
    inputs, x = pictures_in(input_shape, 32)
    maps = build_resnet_v1(x.shape[1:], width=width, blocks=blocks)(x)
    x = semantic_head(feature_pyramid(maps, 4 * width), 2 * width)
    small = keras.initializers.RandomNormal(stddev=0.01)
    logits = Conv2D(n_classes, 1, kernel_initializer=small, name="pre_activation")(x)
    return keras.Model(inputs, probabilities_out(inputs, logits, 4), name="fpn")
