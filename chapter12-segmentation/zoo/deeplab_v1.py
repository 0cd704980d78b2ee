"""DeepLab v1 and v2: convolutions with holes see far on a map that stays large.

Liang-Chieh Chen et al., "Semantic Image Segmentation with Deep Convolutional Nets and Fully
Connected CRFs", 2015 (v1), and "DeepLab: Semantic Image Segmentation with Deep Convolutional Nets,
Atrous Convolution, and Fully Connected CRFs", 2017 (v2). Idea: the last two pools of VGG16 do not
shrink; the layers behind them take every second or twelfth value in place of neighbours (atrous,
dilated). They see what they saw, on a map of 1/8. Version 2 scores at four rates, each for objects
of another size, and adds the scores (atrous spatial pyramid pooling), on VGG16 or ResNet-101.

"deeplab-v1" is LargeFOV: a first layer of 3x3 at rate 12 sees the 419 pixels of one of 7x7 at
rate 4, "deeplab-v1-7x7". "deeplab-v1-msc" scores the picture and four pools as well. The rates of
"deeplab-v2" are those of ASPP-L; "deeplab-v2-vgg16-s" is ASPP-S, with smaller ones.

Differs from the paper: scores are enlarged for the loss too, where the authors' code takes every
eighth label; the learning rate of the last layer is that of all. The authors' CRF is no part of the
network, nor are the three sizes at which v2 looks at a picture. Their MSc is described without the
way in which the sizes are brought together; here its first convolution has the stride. Their code
averages 3x3 behind the last pool, of which the papers say nothing. Scores are enlarged from the
corners of maps, as there.

Parameters of v1, with C classes: 14,714,688 of VGG16; fc6 3 * 3 * 512 * 1024 + 1024; fc7 1024 *
1024 + 1024; scores 1024 C + C. With 7x7 or 4x4 and 4096 likewise. Multi-scale: 9 * 963 * 128 + 128
* 128 * 5 + 128 * 10, and scores of 640 more channels. Of v2: fc6, fc7 and scores four times; on
ResNet-101 42,500,160 + 4 (9 * 2048 C + C), and 105,344 moving statistics.
"""

import keras
from keras import layers

from fast.layers import Conv2D
from zoo.parts import pictures_in, probabilities_out
from zoo.resnet_v1 import RESNET101, build_resnet_v1
from zoo.vgg import CONVOLUTIONS

OUTPUT_STRIDE = 8
RATES, SMALL_RATES = (6, 12, 18, 24), (2, 4, 8, 12)  # ASPP-L and ASPP-S


def build_atrous_vgg16(
    input_shape: tuple[int, int, int],
    *,
    width: int = 64,
    blocks: tuple[int, ...] = CONVOLUTIONS,
) -> keras.Model:
    """VGG16 whose map stays at 1/8; its weights and names of layers are those of `zoo.vgg`.

    Args:
        input_shape: (H, W, channels) of the scaled pictures, multiples of 8.
        width: filters of the first stage.
        blocks: convolutions of each stage.

    Returns:
        Model "vgg16" from (B, H, W, channels) to what the five pools give, {"P1": (B, H/2, W/2,
        64), "P2": (B, H/4, W/4, 128), "P3": (B, H/8, W/8, 256), "P4": (B, H/8, W/8, 512), "P5":
        (B, H/8, W/8, 512)}.
    """
    inputs = x = layers.Input(shape=input_shape, name="vgg16_input")
    maps = {}
    for stage, convolutions in enumerate(blocks, 1):
        for number in range(1, convolutions + 1):
            x = Conv2D(
                width * min(2 ** (stage - 1), 8),
                3,
                padding="same",
                dilation_rate=2 if stage == 5 else 1,
                activation="relu",
                kernel_initializer="he_normal",
                name=f"block{stage}_conv{number}",
            )(x)
        # 3x3, not VGG's 2x2: windows that are centred on a value, whatever the stride. Zeros around
        # never are the maximum behind a ReLU, but where all is zero.
        x = layers.ZeroPadding2D(1, name=f"block{stage}_pad")(x)
        x = layers.MaxPooling2D(3, strides=2 if stage < 4 else 1, name=f"block{stage}_pool")(x)
        maps[f"P{stage}"] = x
    return keras.Model(inputs, maps, name="vgg16")


def _fc(x: keras.KerasTensor, head: int, name: str, **options) -> keras.KerasTensor:
    """What was a dense layer: (B, h, w, any) -> (B, h, w, head)."""
    x = Conv2D(
        head,
        padding="same",
        activation="relu",
        kernel_initializer="he_normal",
        name=f"{name}_conv",
        **options,
    )(x)
    return layers.Dropout(0.5, name=f"{name}_dropout")(x)


def _score(
    x: keras.KerasTensor, n_classes: int, number: int = 1, kernel: int = 1, rate: int = 1
) -> keras.KerasTensor:
    """The classifying layer, or one of several: (B, h, w, any) -> (B, h, w, C).

    Its kernel begins with the authors' deviation of 0.01 if it is 1x1. For one of 3x3 they have it
    too, of trained features; behind fresh ones the sum would be far from equal chances.
    """
    return Conv2D(
        n_classes,
        kernel,
        padding="same",
        dilation_rate=rate,
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.01 / kernel),
        name="pre_activation" if number == 1 else f"pre_activation_{number}",
    )(x)


def _two_layers(x: keras.KerasTensor, filters: int, strides: int, name: str) -> keras.KerasTensor:
    """A place of multi-scale prediction: (B, h, w, any) -> (B, h/strides, w/strides, filters)."""
    x = layers.ZeroPadding2D(1, name=f"{name}_pad")(x)
    for number, kernel, step in ((1, 3, strides), (2, 1, 1)):
        x = Conv2D(
            filters,
            kernel,
            step,
            activation="relu",
            kernel_initializer="he_normal",
            name=f"{name}_{number}_conv",
        )(x)
    return x


def build_deeplab_v1(
    input_shape: tuple[int, int, int],
    n_classes: int,
    *,
    kernel: int = 3,
    rate: int = 12,
    head: int = 1024,
    multi_scale: bool = False,
    width: int = 64,
    blocks: tuple[int, ...] = CONVOLUTIONS,
) -> keras.Model:
    """DeepLab v1 on VGG16.

    Args:
        input_shape: (H, W, channels).
        n_classes: number of classes, the background included.
        kernel: of the first of what were dense layers, kernel x kernel.
        rate: its values are so far apart.
        head: filters of what were dense layers.
        multi_scale: score the picture and the first four pools as well.
        width: filters of the first stage of VGG16.
        blocks: convolutions of each of its stages.

    Returns:
        Model "deeplab_v1" from raw pictures (B, H, W, channels) to (B, H, W, n_classes) float32.
    """
    inputs, picture = pictures_in(input_shape, OUTPUT_STRIDE)
    maps = build_atrous_vgg16(picture.shape[1:], width=width, blocks=blocks)(picture)
    fc = "fc" if kernel == 7 else "fov"  # VGG16's dense layers, whose weights these can have alone
    x = _fc(maps["P5"], head, f"{fc}6", kernel_size=kernel, dilation_rate=rate)
    x = _fc(x, head, f"{fc}7", kernel_size=1)  # (B, H/8, W/8, 1024)
    if multi_scale:
        finer = [(picture, 8), (maps["P1"], 4), (maps["P2"], 2), (maps["P3"], 1), (maps["P4"], 1)]
        beside = [
            _two_layers(each, 2 * width, strides, f"scale{place}")  # (B, H/8, W/8, 128)
            for place, (each, strides) in enumerate(finer)
        ]
        x = layers.Concatenate(name="scales")([x, *beside])  # (B, H/8, W/8, 1664)
    answer = probabilities_out(inputs, _score(x, n_classes), OUTPUT_STRIDE, from_corners=True)
    return keras.Model(inputs, answer, name="deeplab_v1")


def build_deeplab_v2(
    input_shape: tuple[int, int, int],
    n_classes: int,
    *,
    rates: tuple[int, ...] = RATES,
    width: int = 64,
    blocks: tuple[int, ...] = RESNET101,
) -> keras.Model:
    """DeepLab v2 on a ResNet, whose last map is scored as it is.

    Args:
        input_shape: (H, W, channels).
        n_classes: number of classes, the background included.
        rates: at which it is scored; LargeFOV is one rate of 12.
        width: filters of the ResNet's stem.
        blocks: of each of its stages.

    Returns:
        Model "deeplab_v2" from raw pictures (B, H, W, channels) to (B, H, W, n_classes) float32.
    """
    inputs, x = pictures_in(input_shape, OUTPUT_STRIDE)
    backbone = build_resnet_v1(x.shape[1:], width=width, blocks=blocks, output_stride=OUTPUT_STRIDE)
    x = backbone(x)["P5"]  # (B, H/8, W/8, 2048)
    scores = [_score(x, n_classes, n, kernel=3, rate=rate) for n, rate in enumerate(rates, 1)]
    scores = layers.Add(name="scores_sum")(scores)  # (B, H/8, W/8, C)
    answer = probabilities_out(inputs, scores, OUTPUT_STRIDE, from_corners=True)
    return keras.Model(inputs, answer, name="deeplab_v2")


def build_deeplab_v2_vgg16(
    input_shape: tuple[int, int, int],
    n_classes: int,
    *,
    rates: tuple[int, ...] = RATES,
    head: int = 1024,
    width: int = 64,
    blocks: tuple[int, ...] = CONVOLUTIONS,
) -> keras.Model:
    """DeepLab v2 on VGG16: LargeFOV of version 1 at every rate.

    Args:
        input_shape: (H, W, channels).
        n_classes: number of classes, the background included.
        rates: one branch for each.
        head: filters of what were dense layers.
        width: filters of the first stage of VGG16.
        blocks: convolutions of each of its stages.

    Returns:
        Model "deeplab_v2_vgg16" from raw pictures (B, H, W, channels) to (B, H, W, n_classes)
        float32.
    """
    inputs, x = pictures_in(input_shape, OUTPUT_STRIDE)
    x = build_atrous_vgg16(x.shape[1:], width=width, blocks=blocks)(x)["P5"]  # (B, H/8, W/8, 512)
    scores = []
    for number, rate in enumerate(rates, 1):
        branch = _fc(x, head, f"aspp{number}_fc6", kernel_size=3, dilation_rate=rate)
        branch = _fc(branch, head, f"aspp{number}_fc7", kernel_size=1)
        scores.append(_score(branch, n_classes, number))  # (B, H/8, W/8, C)
    scores = layers.Add(name="scores_sum")(scores)  # (B, H/8, W/8, C)
    answer = probabilities_out(inputs, scores, OUTPUT_STRIDE, from_corners=True)
    return keras.Model(inputs, answer, name="deeplab_v2_vgg16")
