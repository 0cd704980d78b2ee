"""DeconvNet: VGG16 down to a code of one place, and its mirror image up again.

Hyeonwoo Noh, Seunghoon Hong and Bohyung Han, "Learning Deconvolution Network for Semantic
Segmentation", 2015. Idea: unpooling puts values back where the maxima were, and "deconvolutions",
transposed convolutions of stride 1, draw the shape of an object around them.

Differs from the paper: it takes crops of 224x224 around proposed objects, in two stages of
training; ours takes whole pictures of any size. "fc6", a valid convolution of 7x7 as in the paper,
takes 6 rows and columns, and the transposed one behind "fc7" gives them back: the code is 1x1 up to
224x224 and a map above. A map of less than 7 rows or columns is framed by zeros before "fc6", which
are cropped behind. Odd sides are pooled rounding up and unpooled to what they were. The other
transposed convolutions, of 3x3 with a border of 1, are written as the convolutions that they are,
with the kernel turned and its channels swapped: on a CPU, TensorFlow predicts with them in two
thirds of the time.

A code of 1x1 is normalised over the pictures of a batch alone: the paper's has 64, one of 8 learns,
and in one of 1 nothing of the code is left.

Parameters for C classes, with four numbers a channel of batch normalisation: 14,714,688 in the 13
convolutions of VGG16; "fc6" 49 x 512 x 4096 + 4096, "fc7" 4096 x 4096 + 4096, back 49 x 4096 x 512
+ 512; the mirror image, whose last convolution is 64 to 64 and not to 3, 14,712,448 + 36,928;
normalisation 4 (4,224 + 2 x 4096 + 512 + 3,776); the last 64 C + C: 251,837,696 + 65 C.
"""

import keras
from keras import layers

from fast.layers import Activation, BatchNormalization, Conv2D, Conv2DTranspose
from zoo.parts import pictures_in, probabilities_out
from zoo.segnet import build_vgg16_with_indices, decode, mirrored
from zoo.vgg import CONVOLUTIONS

SIDE = 7  # of the kernel that makes the code


def _bn_relu(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    x = BatchNormalization(name=f"{name}_bn")(x)
    return Activation("relu", name=f"{name}_relu")(x)


def _through_the_code(x: keras.KerasTensor, dense: int) -> keras.KerasTensor:
    """The dense layers of VGG16 as convolutions, and back: (B, h, w, C) -> (B, h, w, C)."""
    _, height, width, filters = x.shape
    missing = [max(SIDE - side, 0) for side in (height, width)]
    frame = [(each // 2, each - each // 2) for each in missing]
    x = layers.ZeroPadding2D(frame, name="fc6_frame")(x)  # 7x7 at least
    x = Conv2D(dense, SIDE, kernel_initializer="he_normal", name="fc6_conv")(x)
    x = _bn_relu(x, "fc6")  # (B, h - 6, w - 6, 4096)
    x = Conv2D(dense, 1, kernel_initializer="he_normal", name="fc7_conv")(x)
    x = _bn_relu(x, "fc7")
    # He's normal for a kernel whose inputs are its last axis.
    he = keras.initializers.VarianceScaling(2, mode="fan_out")
    x = Conv2DTranspose(filters, SIDE, kernel_initializer=he, name="code_deconv")(x)
    x = _bn_relu(x, "code")
    return layers.Cropping2D(frame, name="code_crop")(x)


def build_deconvnet(
    input_shape: tuple[int, int, int],
    n_classes: int = 4,
    *,
    width: int = 64,
    blocks: tuple[int, ...] = CONVOLUTIONS,
) -> keras.Model:
    """DeconvNet, uncompiled.

    Args:
        input_shape: (H, W, channels), any size from 32.
        n_classes: number of classes, the background included.
        width: filters of the first stage; "fc6" and "fc7" have 64 times as many.
        blocks: convolutions of each stage of the encoder, and of the decoder.

    Returns:
        Model "deconvnet" from raw pictures (B, H, W, channels), 0 to 255 of any type, to
        probabilities (B, H, W, n_classes) float32. The nested model "vgg16" is its encoder.
    """
    inputs, x = pictures_in(input_shape, multiple=1)
    x, *every = build_vgg16_with_indices(x.shape[1:], width=width, blocks=blocks)(x)
    x = _through_the_code(x, 64 * width)
    x = decode(x, every, mirrored(width, blocks), inputs)
    x = Conv2D(n_classes, 1, name="pre_activation")(x)
    return keras.Model(inputs, probabilities_out(inputs, x), name="deconvnet")
