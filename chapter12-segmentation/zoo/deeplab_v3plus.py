"""DeepLab v3+: DeepLab v3 with a decoder that looks at a finer map once more.

Liang-Chieh Chen et al., "Encoder-Decoder with Atrous Separable Convolution for Semantic Image
Segmentation", 2018. Idea: what DeepLab v3 knows of every place, enlarged to 1/4, stands beside a
map of few layers, which has the boundaries; two convolutions read both. On Xception the 3x3
convolutions are depthwise separable.

The finer map is reduced to 48 channels, lest it outweigh the 256 of the pyramid.

Differs from the paper: as DeepLab v3 (`zoo.deeplab_v3`). On a ResNet 3x3 convolutions are whole,
as in the paper's table 3; `separable` makes them as on Xception.

Parameters that are trained, for C classes: those of DeepLab v3, 39,043,136 + 256 C + C on
ResNet-50, and the decoder's 256 * 48 + 96 + 9 * 304 * 256 + 512 + 9 * 256 * 256 + 512. On Xception
37,867,312 and, separably, 3,183,712 + 257 C: 2 (2048 * 256 + 512) + 3 (11 * 2048 + 2048 * 256 +
512) + 1280 * 256 + 512 of the pyramid, 256 * 48 + 96 + 11 * 304 + 304 * 256 + 512 + 11 * 256 + 256
* 256 + 512 of the decoder. Moving statistics are two for each normalised channel.
"""

from functools import partial

import keras
from keras import layers

from zoo.deeplab_v3 import EPSILON, MULTI_GRID, aspp, classify, conv_bn_relu
from zoo.parts import EnlargeFromCorners, pictures_in, probabilities_out
from zoo.resnet_v1 import RESNET50, build_resnet_v1
from zoo.xception import MIDDLE, build_xception, scaled, separable_conv


def _head(
    inputs: keras.KerasTensor,
    x: keras.KerasTensor,
    low_level: keras.KerasTensor,
    n_classes: int,
    *,
    width: int,
    output_stride: int,
    image_pooling: bool,
    decoder: bool,
    separable: bool,
) -> keras.KerasTensor:
    """From maps (B, H/16, W/16, any) and (B, H/4, W/4, any) to the answer (B, H, W, n_classes)."""
    convolve = partial(separable_conv, epsilon=EPSILON) if separable else conv_bn_relu
    filters = 4 * width
    x = aspp(x, filters, output_stride, image_pooling=image_pooling, convolve=convolve)
    if not decoder:
        logits = classify(x, n_classes)
        return probabilities_out(inputs, logits, output_stride, from_corners=True)
    x = EnlargeFromCorners(output_stride // 4, name="decoder_enlarge")(x)  # (B, H/4, W/4, 256)
    low_level = conv_bn_relu(low_level, scaled(48, width), "decoder_low_level", kernel=1)
    x = layers.Concatenate(name="decoder_both")([x, low_level])  # (B, H/4, W/4, 304)
    for number in (1, 2):
        x = convolve(x, filters, f"decoder_{number}")
    return probabilities_out(inputs, classify(x, n_classes), 4, from_corners=True)


def build_deeplab_v3plus(
    input_shape: tuple[int, int, int],
    n_classes: int,
    *,
    width: int = 64,
    blocks: tuple[int, ...] = RESNET50,
    output_stride: int = 16,
    multi_grid: tuple[int, ...] = MULTI_GRID,
    image_pooling: bool = True,
    decoder: bool = True,
    separable: bool = False,
) -> keras.Model:
    """DeepLab v3+ on a ResNet.

    Args:
        input_shape: (H, W, channels).
        n_classes: number of classes, the background included.
        width: filters of the ResNet's stem; all others follow.
        blocks: of each of its stages.
        output_stride: 8, 16 or 32: of the map on which the pyramid stands.
        multi_grid: factors of the rates of the last stage's blocks, by turns.
        image_pooling: with the branch of the pyramid that sees the whole picture.
        decoder: without it this is DeepLab v3.
        separable: depthwise separable convolutions in pyramid and decoder.

    Returns:
        Model "deeplab_v3plus" from raw pictures (B, H, W, channels) to (B, H, W, n_classes)
        float32.

    Raises:
        UserError: there is no such output stride.
    """
    inputs, x = pictures_in(input_shape, output_stride)
    backbone = build_resnet_v1(
        x.shape[1:], width=width, blocks=blocks, output_stride=output_stride, multi_grid=multi_grid
    )
    maps = backbone(x)
    answer = _head(
        inputs,
        maps["P5"],  # (B, H/16, W/16, 2048)
        maps["P2"],  # (B, H/4, W/4, 256)
        n_classes,
        width=width,
        output_stride=output_stride,
        image_pooling=image_pooling,
        decoder=decoder,
        separable=separable,
    )
    return keras.Model(inputs, answer, name="deeplab_v3plus")


def build_deeplab_v3plus_xception(
    input_shape: tuple[int, int, int],
    n_classes: int,
    *,
    width: int = 64,
    blocks: tuple[int, ...] = MIDDLE,
    output_stride: int = 16,
    image_pooling: bool = True,
    decoder: bool = True,
    separable: bool = True,
) -> keras.Model:
    """DeepLab v3+ on Xception.

    Args:
        input_shape: (H, W, channels).
        n_classes: number of classes, the background included.
        width: filters of the Xception's second convolution; all others follow.
        blocks: one number, of its blocks in the middle.
        output_stride: 8, 16 or 32: of the map on which the pyramid stands.
        image_pooling: with the branch of the pyramid that sees the whole picture.
        decoder: without it this is DeepLab v3 on Xception.
        separable: depthwise separable convolutions in pyramid and decoder.

    Returns:
        Model "deeplab_v3plus_xception" from raw pictures (B, H, W, channels) to (B, H, W,
        n_classes) float32.

    Raises:
        UserError: there is no such output stride.
    """
    inputs, x = pictures_in(input_shape, output_stride)
    maps = build_xception(x.shape[1:], width=width, blocks=blocks, output_stride=output_stride)(x)
    answer = _head(
        inputs,
        maps["P5"],  # (B, H/16, W/16, 2048)
        maps["low_level"],  # (B, H/4, W/4, 256)
        n_classes,
        width=width,
        output_stride=output_stride,
        image_pooling=image_pooling,
        decoder=decoder,
        separable=separable,
    )
    return keras.Model(inputs, answer, name="deeplab_v3plus_xception")
