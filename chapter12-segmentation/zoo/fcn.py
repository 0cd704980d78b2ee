"""FCN-32s, -16s, -8s, -4s and -2s on VGG16, and on a ResNet.

Jonathan Long, Evan Shelhamer and Trevor Darrell, "Fully Convolutional Networks for Semantic
Segmentation", 2015. Idea: a classifier whose dense layers are convolutions scores every place of a
picture, coarsely; scores of finer maps are added on the way back to full size.

Layers that score begin with zeros: at first every class is as likely, and an added score changes
nothing. So a network goes on from one with fewer skips: --start-from. "fcn8s-at-once" learns all at
once, for which the authors' later code takes maps 100 and 10,000 times as small: else the finer
ones, whose numbers are large, would drown the coarsest score.

Differs from the paper: convolutions are "same", on a picture padded to multiples of 32, in place of
100 pixels around it that are cropped off again. Scores are enlarged by bilinear resizing, where the
authors have transposed convolutions with fixed bilinear kernels: the same numbers but for half a
cell along the border, where theirs fade to zero. FCN-4s, -2s and those on a ResNet are not in it.

A cell of a ResNet's map is centred on the first of its pixels, one of VGG16's on their middle; maps
are enlarged from there.

Parameters, with C classes: 14,714,688 of VGG16 + fc6 7 * 7 * 512 * 4096 + 4096 + fc7 4096 * 4096
+ 4096 + scores 4096 C + C; and as many skips of 512 C + C, 256 C + C, 128 C + C, 64 C + C.
ResNet-50 23,561,152, or -101 42,605,504, with the moving statistics; scores 2048 C + C; skips
1024 C + C, 512 C + C.
"""

import keras
from keras import layers

from fast.layers import Conv2D
from utils.errors import UserError
from zoo.parts import EnlargeFromCorners, pictures_in, probabilities_out
from zoo.resnet_v1 import RESNET50, build_resnet_v1
from zoo.vgg import CONVOLUTIONS, build_vgg16

SKIPS = ("P4", "P3", "P2", "P1")  # the maps that are added, in this order
AT_ONCE = {"P4": 0.01, "P3": 0.0001}  # voc-fcn8s-atonce/net.py of the authors


def check_fcn(skips: int, at_once: bool = False, **_: object) -> None:
    """Refuse what no FCN can have.

    Raises:
        UserError: a setting is out of range.
    """
    if not 0 <= skips <= len(SKIPS):
        raise UserError(f"skips {skips}: an FCN has 0 to {len(SKIPS)} of them.")
    if at_once and skips > len(AT_ONCE):
        raise UserError(f"skips {skips}: at once an FCN learns up to {len(AT_ONCE)} of them.")


def _score(x: keras.KerasTensor, n_classes: int, name: str) -> keras.KerasTensor:
    """What each place says of each class: (B, h, w, any) -> (B, h, w, C)."""
    return Conv2D(n_classes, 1, kernel_initializer="zeros", name=name)(x)


def _fuse(
    x: keras.KerasTensor,
    maps: dict[str, keras.KerasTensor],
    n_classes: int,
    skips: int,
    at_once: bool = False,
    from_corners: bool = False,
) -> keras.KerasTensor:
    """Scores of finer maps added to the coarsest: (B, H/32, W/32, any) -> (B, H/s, W/s, C).

    The stride s is 32, halved by each skip.
    """
    scores = _score(x, n_classes, "pre_activation")  # the paper's score_fr
    for place in SKIPS[:skips]:
        name = f"skip{place[1:]}"
        enlarge = EnlargeFromCorners if from_corners else layers.UpSampling2D
        scores = enlarge(2, interpolation="bilinear", name=f"{name}_enlarge")(scores)
        skip = maps[place]
        if at_once:
            skip = layers.Rescaling(AT_ONCE[place], name=f"{name}_scale")(skip)
        skip = _score(skip, n_classes, f"{name}_score")  # score_pool4, score_pool3, ...
        scores = layers.Add(name=f"{name}_sum")([scores, skip])
    return scores


def build_fcn_vgg16(
    input_shape: tuple[int, int, int],
    n_classes: int,
    *,
    skips: int = 0,
    at_once: bool = False,
    width: int = 64,
    blocks: tuple[int, ...] = CONVOLUTIONS,
) -> keras.Model:
    """FCN on VGG16, the paper's.

    Args:
        input_shape: (H, W, channels).
        n_classes: number of classes, the background included.
        skips: 0 is FCN-32s, 1 FCN-16s, 2 FCN-8s, 3 FCN-4s, 4 FCN-2s.
        at_once: maps scaled down before they are scored, to learn without a network of fewer skips.
        width: filters of the first stage of VGG16; its dense layers have 64 times as many.
        blocks: convolutions of each of its stages.

    Returns:
        Model "fcn_vgg16" from (B, H, W, channels) to (B, H, W, n_classes).

    Raises:
        UserError: a setting is out of range.
    """
    check_fcn(skips, at_once)
    inputs, x = pictures_in(input_shape, 32)
    maps = build_vgg16(x.shape[1:], width=width, blocks=blocks)(x)
    x = maps["P5"]  # (B, H/32, W/32, 512)
    for name, kernel in (("fc6", 7), ("fc7", 1)):
        x = Conv2D(
            64 * width,
            kernel,
            padding="same",
            activation="relu",
            kernel_initializer="he_normal",
            name=f"{name}_conv",
        )(x)  # (B, H/32, W/32, 4096)
        x = layers.Dropout(0.5, name=f"{name}_dropout")(x)
    scores = _fuse(x, maps, n_classes, skips, at_once)
    outputs = probabilities_out(inputs, scores, 32 >> skips)
    return keras.Model(inputs, outputs, name="fcn_vgg16")


def build_fcn_resnet(
    input_shape: tuple[int, int, int],
    n_classes: int,
    *,
    skips: int = 0,
    width: int = 64,
    blocks: tuple[int, ...] = RESNET50,
) -> keras.Model:
    """FCN on a ResNet, whose last map is scored as it is.

    Args:
        input_shape: (H, W, channels).
        n_classes: number of classes, the background included.
        skips: 0 is FCN-32s, 1 FCN-16s, 2 FCN-8s, 3 FCN-4s, 4 FCN-2s.
        width: filters of the stem.
        blocks: of each of the four stages.

    Returns:
        Model "fcn_resnet" from (B, H, W, channels) to (B, H, W, n_classes).

    Raises:
        UserError: a setting is out of range.
    """
    check_fcn(skips)
    inputs, x = pictures_in(input_shape, 32)
    maps = build_resnet_v1(x.shape[1:], width=width, blocks=blocks)(x)
    scores = _fuse(maps["P5"], maps, n_classes, skips, from_corners=True)
    outputs = probabilities_out(inputs, scores, 32 >> skips, from_corners=True)
    return keras.Model(inputs, outputs, name="fcn_resnet")
