"""DeepLab v3: atrous convolutions of several rates side by side, or one behind the other.

Liang-Chieh Chen et al., "Rethinking Atrous Convolution for Semantic Image Segmentation", 2017.
Idea: the last map of a ResNet is seen at three rates, place by place, and as a whole (image
pooling); what these say stands side by side, normalised, and one more layer reads it. There is no
CRF. The blocks of the last stage have rates of their own, 1, 2 and 4 times that of the stage
(multi-grid). "deeplab-v3-cascade" has three more stages like the last instead, at growing rates.

The weights are those of any output stride: train "deeplab-v3" at 16, which takes a third of the
arithmetic, and go on with "deeplab-v3-os8" by --start-from. Rates follow from it, so that they
reach equally far. Image pooling then averages four times as many values, and is all that changes.
Of a picture of 96x128 a map at 1/16 has 6x8 places. In the comparison ("comparison/compare.md"),
whose pictures are that small, it hangs on the seed whether these networks learn much, at 8 too.

Of a picture's image pooling there is one value for each channel. With one picture in a batch, batch
normalisation would take all of it away, and its variance, 0, would in time make prediction
explode: see `ImageNormalization`. Nor is anything learnt from it then, as the normalisation behind
the pyramid takes away what is the same everywhere: it is of use from two pictures on.

Differs from the paper: the ResNet's strides are in its first convolutions, not at the end of its
stages; normalisation has Keras' momentum of 0.99, not 0.9997; what a picture is padded with, up to
15 rows and columns, is pooled too. Scores are enlarged from the corners of maps, as the authors do.

Parameters that are trained, for C classes on ResNet-50: 23,508,032; the pyramid 15,535,104 = 2
(2048 * 256 + 512) + 3 (9 * 2048 * 256 + 512) + 1280 * 256 + 512; scores 256 C + C. Moving
statistics: 53,120 + 6 * 512. The cascade: 23,508,032 + 9 (2048 * 512 + 9 * 512 * 512 + 512 * 2048 +
2 (512 + 512 + 2048)) + 2048 C + C, and 53,120 + 9 * 2 * 3072.
"""

from collections.abc import Callable
from functools import partial

import keras
from keras import layers

from fast.layers import Conv2D
from zoo import parts
from zoo.parts import ImageNormalization, pictures_in, probabilities_out
from zoo.resnet_v1 import RESNET50, bottleneck, build_resnet_v1

RATES = (6, 12, 18)  # at an output stride of 16
MULTI_GRID = (1, 2, 4)
EPSILON = 1e-5  # of the authors' heads
conv_bn_relu = partial(parts.conv_bn_relu, epsilon=EPSILON)


def aspp(
    x: keras.KerasTensor,
    filters: int,
    output_stride: int,
    *,
    image_pooling: bool = True,
    convolve: Callable[..., keras.KerasTensor] = conv_bn_relu,
) -> keras.KerasTensor:
    """Atrous spatial pyramid pooling: (B, h, w, any) -> (B, h, w, filters).

    Args:
        x: the last map of a backbone.
        filters: of each branch, and of what reads them all.
        output_stride: of `x`, from which the rates follow.
        image_pooling: with the branch that sees the whole picture.
        convolve: makes the branches of 3x3; takes map, filters, name and `rate`.
    """
    _, height, width, _ = x.shape
    branches = [conv_bn_relu(x, filters, "aspp_point", kernel=1)]
    for number, rate in enumerate(RATES, 1):
        rate = rate * 16 // output_stride
        branches.append(convolve(x, filters, f"aspp_atrous{number}", rate=rate))
    if image_pooling:
        image = layers.GlobalAveragePooling2D(keepdims=True, name="aspp_image_pool")(x)
        image = conv_bn_relu(image, filters, "aspp_image", kernel=1, bn=ImageNormalization)
        branches.append(layers.UpSampling2D((height, width), name="aspp_image_enlarge")(image))
    x = layers.Concatenate(name="aspp_branches")(branches)  # (B, h, w, 1280)
    return conv_bn_relu(x, filters, "aspp_project", kernel=1)


def classify(x: keras.KerasTensor, n_classes: int) -> keras.KerasTensor:
    """The classifying layer: (B, h, w, any) -> (B, h, w, n_classes)."""
    small = keras.initializers.RandomNormal(stddev=0.01)
    return Conv2D(n_classes, 1, kernel_initializer=small, name="pre_activation")(x)


def build_deeplab_v3(
    input_shape: tuple[int, int, int],
    n_classes: int,
    *,
    width: int = 64,
    blocks: tuple[int, ...] = RESNET50,
    output_stride: int = 16,
    multi_grid: tuple[int, ...] = MULTI_GRID,
    image_pooling: bool = True,
) -> keras.Model:
    """DeepLab v3 with its pyramid.

    Args:
        input_shape: (H, W, channels).
        n_classes: number of classes, the background included.
        width: filters of the ResNet's stem; all others follow.
        blocks: of each of its stages.
        output_stride: 8, 16 or 32: of the map on which the pyramid stands.
        multi_grid: factors of the rates of the last stage's blocks, by turns.
        image_pooling: with the branch that sees the whole picture.

    Returns:
        Model "deeplab_v3" from raw pictures (B, H, W, channels) to (B, H, W, n_classes) float32.

    Raises:
        UserError: there is no such output stride.
    """
    inputs, x = pictures_in(input_shape, output_stride)
    backbone = build_resnet_v1(
        x.shape[1:], width=width, blocks=blocks, output_stride=output_stride, multi_grid=multi_grid
    )
    x = backbone(x)["P5"]  # (B, H/16, W/16, 2048)
    x = aspp(x, 4 * width, output_stride, image_pooling=image_pooling)  # (B, H/16, W/16, 256)
    answer = probabilities_out(inputs, classify(x, n_classes), output_stride, from_corners=True)
    return keras.Model(inputs, answer, name="deeplab_v3")


def build_deeplab_v3_cascade(
    input_shape: tuple[int, int, int],
    n_classes: int,
    *,
    width: int = 64,
    blocks: tuple[int, ...] = RESNET50,
    output_stride: int = 16,
    multi_grid: tuple[int, ...] = (1, 2, 1),
) -> keras.Model:
    """DeepLab v3 with blocks 5 to 7, each like the last of the ResNet at twice the rate before.

    Args:
        input_shape: (H, W, channels).
        n_classes: number of classes, the background included.
        width: filters of the ResNet's stem.
        blocks: of each of its stages.
        output_stride: 8, 16 or 32: of the last map.
        multi_grid: factors of the rates of a stage's blocks, by turns, in the last four stages.

    Returns:
        Model "deeplab_v3_cascade" from raw pictures (B, H, W, channels) to (B, H, W, n_classes)
        float32.

    Raises:
        UserError: there is no such output stride.
    """
    inputs, x = pictures_in(input_shape, output_stride)
    backbone = build_resnet_v1(
        x.shape[1:], width=width, blocks=blocks, output_stride=output_stride, multi_grid=multi_grid
    )
    x = backbone(x)["P5"]  # (B, H/16, W/16, 2048)
    rate = 32 // output_stride
    for stage in (6, 7, 8):  # ResNet's fifth is the paper's block 4
        rate *= 2
        for block in range(1, blocks[-1] + 1):
            grid = multi_grid[(block - 1) % len(multi_grid)]
            x = bottleneck(x, 8 * width, f"conv{stage}_block{block}", rate=rate * grid)
    answer = probabilities_out(inputs, classify(x, n_classes), output_stride, from_corners=True)
    return keras.Model(inputs, answer, name="deeplab_v3_cascade")
