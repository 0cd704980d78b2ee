"""SegNet and SegNet-Basic: decoders that put values back where pooling took them from.

Vijay Badrinarayanan, Alex Kendall and Roberto Cipolla, "SegNet: A Deep Convolutional
Encoder-Decoder Architecture for Image Segmentation", 2017. Idea: of the maps of its encoder a
decoder needs no more than where the maxima were, two bits a window, and learns what lies between.

Differs from the paper: pictures are scaled, not normalised by their local contrast. Any size is
exact without padding: odd sides are pooled rounding up and unpooled to what they were.

Where paper and the authors' files differ: SegNet-Basic's decoder has biases in the files, none in
the paper and none here; in neither has it ReLU. SegNet's has both, as in the files.

Parameters for C classes, with four numbers a channel of batch normalisation. SegNet: 14,714,688 in
the 13 convolutions of VGG16; their mirror image without the first, 14,708,736 of kernels and 3,712
biases; normalisation 4 (4,224 + 3,712); the last convolution 9 x 64 C + C: 29,458,880 + 577 C.
SegNet-Basic: kernels of 49 x 64 (3 + 7 x 64), 4 x 64 biases, normalisation 4 x 8 x 64, the last
convolution 64 C + C: 1,416,640 + 65 C.
"""

import keras
from keras import layers

from fast.layers import BatchNormalization, Conv2D
from zoo.parts import conv_bn_relu, pictures_in, probabilities_out
from zoo.pooling import MaxPoolingWithIndices, MaxUnpooling
from zoo.vgg import CONVOLUTIONS, vgg_stage


def build_vgg16_with_indices(
    input_shape: tuple[int, int, int], *, width: int = 64, blocks: tuple[int, ...] = CONVOLUTIONS
) -> keras.Model:
    """The encoder of SegNet and of DeconvNet: VGG16 with batch normalisation.

    Args:
        input_shape: (H, W, channels) of the scaled pictures, any size.
        width: filters of the first stage.
        blocks: convolutions of each stage.

    Returns:
        Model "vgg16" from (B, H, W, channels) to the map behind the last pool, (B, H/32, W/32,
        512), and the places of the maxima of each pool, uint8 from (B, H/2, W/2, 64) on; all sides
        rounded up.
    """
    inputs = x = layers.Input(shape=input_shape, name="vgg16_input")
    every = []
    for stage, convolutions in enumerate(blocks, 1):
        x = vgg_stage(x, stage, width=width, convolutions=convolutions, normalise=True)
        x, places = MaxPoolingWithIndices(name=f"block{stage}_pool")(x)
        every.append(places)
    return keras.Model(inputs, [x, *every], name="vgg16")


def unpool(
    x: keras.KerasTensor,
    places: keras.KerasTensor | None,
    stage: int,
    inputs: keras.KerasTensor,
    nearest: bool = False,
) -> keras.KerasTensor:
    """Undo the pool of a stage, counted from 1, of pictures `inputs`: (B, h, w, C) -> twice that.

    Twice, less the row and the column that an odd side does not have. Where nothing is known of the
    places, the map is enlarged bilinearly, or each value is repeated.
    """
    height, width = (-(-side // 2 ** (stage - 1)) for side in inputs.shape[1:3])
    if places is None:
        way, name = "nearest" if nearest else "bilinear", f"decoder{stage}_enlarge"
        return layers.Resizing(height, width, interpolation=way, name=name)(x)
    return MaxUnpooling(height, width, name=f"decoder{stage}_unpool")(x, places)


def mirrored(width: int, blocks: tuple[int, ...]) -> list[list[int]]:
    """Filters of a decoder's convolutions in each stage: VGG16's backwards, from 512 to 64.

    The last convolution of a stage has the filters that the unpooling behind it needs.
    """
    stages = [width * min(2**stage, 8) for stage in range(len(blocks))]
    after = [width, *stages]
    return [
        [filters] * (convolutions - 1) + [last]
        for filters, convolutions, last in zip(stages, blocks, after, strict=False)
    ]


def decode(
    x: keras.KerasTensor,
    every: list[keras.KerasTensor | None],
    filters: list[list[int]],
    inputs: keras.KerasTensor,
    nearest: bool = False,
) -> keras.KerasTensor:
    """The decoder of SegNet and of DeconvNet: (B, H/32, W/32, 512) -> (B, H, W, 64).

    Args:
        x: the deepest map.
        every: places of the maxima of each pool, from the finest; see `unpool`.
        filters: of the convolutions behind each unpooling, from the finest.
        inputs: the pictures, (B, H, W, channels).
        nearest: see `unpool`.
    """
    for stage in range(len(filters), 0, -1):
        x = unpool(x, every[stage - 1], stage, inputs, nearest)
        for number, each in enumerate(filters[stage - 1], 1):
            x = conv_bn_relu(x, each, f"decoder{stage}_{number}", bias=True)
    return x


def build_segnet(
    input_shape: tuple[int, int, int],
    n_classes: int = 4,
    *,
    width: int = 64,
    blocks: tuple[int, ...] = CONVOLUTIONS,
    indices: bool = True,
    nearest: bool = False,
) -> keras.Model:
    """SegNet, uncompiled.

    Args:
        input_shape: (H, W, channels), any size from 32.
        n_classes: number of classes, the background included.
        width: filters of the first stage.
        blocks: convolutions of each stage of the encoder, and of the decoder.
        indices: False is no SegNet, but what it is compared with: bilinear enlarging.
        nearest: without indices, each value is repeated instead.

    Returns:
        Model "segnet" from raw pictures (B, H, W, channels), 0 to 255 of any type, to probabilities
        (B, H, W, n_classes) float32. The nested model "vgg16" is its encoder.
    """
    inputs, x = pictures_in(input_shape, multiple=1)
    x, *every = build_vgg16_with_indices(x.shape[1:], width=width, blocks=blocks)(x)
    filters = mirrored(width, blocks)
    filters[0].pop()  # the classifier is the last
    x = decode(x, every if indices else [None] * len(every), filters, inputs, nearest)
    x = Conv2D(n_classes, 3, padding="same", name="pre_activation")(x)
    return keras.Model(inputs, probabilities_out(inputs, x), name="segnet")


def build_segnet_basic(
    input_shape: tuple[int, int, int],
    n_classes: int = 4,
    *,
    width: int = 64,
    blocks: tuple[int, ...] = (1, 1, 1, 1),
    kernel: int = 7,
) -> keras.Model:
    """SegNet-Basic, uncompiled: one width, large kernels, a decoder without biases and ReLU.

    Args:
        input_shape: (H, W, channels), any size from 32.
        n_classes: number of classes, the background included.
        width: filters of all convolutions.
        blocks: convolutions of each stage of the encoder, and of the decoder.
        kernel: side of all kernels but the classifier's; with the paper's 7 a value of the deepest
            map sees 106 pixels.

    Returns:
        Model "segnet-basic", from and to the same as SegNet.
    """
    inputs, x = pictures_in(input_shape, multiple=1)
    every = []
    for stage, convolutions in enumerate(blocks, 1):
        for number in range(1, convolutions + 1):
            x = conv_bn_relu(x, width, f"encoder{stage}_{number}", kernel=kernel, bias=True)
        x, places = MaxPoolingWithIndices(name=f"encoder{stage}_pool")(x)
        every.append(places)
    for stage in range(len(blocks), 0, -1):
        x = unpool(x, every[stage - 1], stage, inputs)
        for number in range(1, blocks[stage - 1] + 1):
            name = f"decoder{stage}_{number}"
            x = Conv2D(width, kernel, padding="same", use_bias=False, name=f"{name}_conv")(x)
            x = BatchNormalization(name=f"{name}_bn")(x)
    # Its maps are of variance 1: small weights, for the first loss to be near that of chance.
    small = keras.initializers.VarianceScaling(0.5)
    x = Conv2D(n_classes, 1, kernel_initializer=small, name="pre_activation")(x)
    return keras.Model(inputs, probabilities_out(inputs, x), name="segnet-basic")
