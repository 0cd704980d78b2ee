"""PSPNet: every place is told what the whole picture, its quarters, ninths and parts look like.

Hengshuang Zhao et al., "Pyramid Scene Parsing Network", 2017. Idea: a map is averaged over 1x1,
2x2, 3x3 and 6x6 bins; what each says stands beside the map at every place, so that a boat is looked
for on water. A second head, on the stage before the last, is told what is right in training only;
its loss counts 0.4.

The bins are those of SPPNet (Kaiming He et al., 2014), which puts what they say into one vector, as
long for a picture of any size, for a classifier; here it goes back to the places of the map. The
atrous pyramid of DeepLab has its name from there too, with rates in the place of bins.

Differs from the paper: the ResNet begins with one 7x7 convolution, not with three of 3x3; bins are
enlarged between their centres, not between the corners of the map; "same" convolutions keep
pictures of any size.

A bin of 1x1 is normalised over the pictures of a batch alone; of one picture nothing is learnt from
it, and its moving statistics stay as they are: see `zoo.parts.ImageNormalization`.

Parameters that are trained, for C classes on ResNet-50: 23,508,032; pyramid 4 (2048 * 512 + 2 *
512); 9 * 4096 * 512 + 2 * 512; 512 C + C; the second head 9 * 1024 * 256 + 2 * 256 + 256 C + C.
Moving statistics: 53,120 + 2 (5 * 512 + 256).
"""

from functools import partial

import keras
import numpy as np
from keras import layers, ops

from fast.layers import BatchNormalization, Conv2D
from zoo import parts
from zoo.parts import ImageNormalization, pictures_in, probabilities_out
from zoo.resnet_v1 import RESNET50, build_resnet_v1
from zoo.supervision import DeeplySupervised

BINS = (1, 2, 3, 6)
OUTPUT_STRIDE = 8
AUXILIARY = 0.4  # what the loss of the second head counts
EPSILON = 1e-5  # of the authors' heads
conv_bn_relu = partial(parts.conv_bn_relu, epsilon=EPSILON)


def bins_of(side: int, number: int) -> np.ndarray:
    """What each bin takes of each value of a side: (number, side) float32, whose rows sum to 1.

    Bin i begins at floor(i side / number) and ends before ceil((i + 1) side / number).
    """
    shares = np.zeros((number, side), "float32")
    for i in range(number):
        place = slice(i * side // number, -(-(i + 1) * side // number))
        shares[i, place] = 1 / (place.stop - place.start)
    return shares


@keras.saving.register_keras_serializable(package="segmentation")
class AverageBins(layers.Layer):
    """Means over number x number bins: (B, h, w, C) -> (B, number, number, C).

    The numbers of Keras' `AdaptiveAveragePooling2D`, whose graph in TensorFlow takes no map of
    fewer rows than bins; as two products with matrices.
    """

    def __init__(self, number: int, **options):
        super().__init__(**options)
        self.number = number

    def call(self, inputs):
        _, height, width, _ = inputs.shape
        rows, columns = (
            ops.cast(bins_of(side, self.number), self.compute_dtype) for side in (height, width)
        )
        return ops.einsum("bhwc,mh,nw->bmnc", inputs, rows, columns)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.number, self.number, input_shape[3])

    def macs(self, before: tuple, after: tuple) -> int:
        """Every value once for each bin that it is in."""
        rows, columns = (np.count_nonzero(bins_of(side, self.number)) for side in before[1:3])
        return int(rows * columns) * before[3]

    def reach(self, reach, before: tuple, after: tuple):
        """A bin sees all of its rows; one of all sees everything."""
        most = np.count_nonzero(bins_of(before[1], self.number), axis=1).max()
        field = reach.field + (float(most) - 1) * reach.stride
        stride = reach.stride * before[1] / self.number
        return type(reach)(np.inf if self.number == 1 else field, stride)

    def get_config(self):
        return {**super().get_config(), "number": self.number}


def pyramid_pooling(x: keras.KerasTensor, bins: tuple[int, ...] = BINS) -> keras.KerasTensor:
    """The map beside its averages over n x n bins: (B, h, w, C) -> (B, h, w, 2 C)."""
    _, height, width, channels = x.shape
    levels = [x]
    for n in bins:
        level = AverageBins(n, name=f"bins{n}")(x)  # (B, n, n, C)
        bn = ImageNormalization if n == 1 else BatchNormalization
        level = conv_bn_relu(level, channels // len(bins), f"bins{n}", kernel=1, bn=bn)
        enlarge = layers.Resizing(height, width, interpolation="bilinear", name=f"bins{n}_enlarge")
        levels.append(enlarge(level))  # (B, h, w, C / 4)
    return layers.Concatenate(name="pyramid")(levels)


def build_pspnet(
    input_shape: tuple[int, int, int],
    n_classes: int,
    *,
    width: int = 64,
    blocks: tuple[int, ...] = RESNET50,
    pooling: bool = True,
    auxiliary: bool = True,
) -> keras.Model:
    """Build the network.

    Args:
        input_shape: (H, W, channels).
        n_classes: number of classes.
        width: filters of the ResNet's stem; all others follow.
        blocks: of each of its stages.
        pooling: with the pyramid; without it the first head has the map alone.
        auxiliary: with the second head.

    Returns:
        Model "pspnet" from raw pictures (B, H, W, channels) to (B, H, W, n_classes) float32, or
        with the second head a `DeeplySupervised` to a list of two such, the answer first.
    """
    inputs, x = pictures_in(input_shape, OUTPUT_STRIDE)
    backbone = build_resnet_v1(x.shape[1:], width=width, blocks=blocks, output_stride=OUTPUT_STRIDE)
    maps = backbone(x)

    def classify(x: keras.KerasTensor, filters: int, name: str, layer: str) -> keras.KerasTensor:
        """(B, H/8, W/8, any) -> (B, H/8, W/8, n_classes)."""
        x = conv_bn_relu(x, filters, name)
        x = layers.Dropout(0.1, name=f"{name}_dropout")(x)
        small = keras.initializers.RandomNormal(stddev=0.01)
        return Conv2D(n_classes, 1, kernel_initializer=small, name=layer)(x)

    x = pyramid_pooling(maps["P5"]) if pooling else maps["P5"]  # (B, H/8, W/8, 4096 or 2048)
    logits = classify(x, 8 * width, "head", "pre_activation")
    answer = probabilities_out(inputs, logits, OUTPUT_STRIDE, from_corners=True)
    if not auxiliary:
        return keras.Model(inputs, answer, name="pspnet")
    logits = classify(maps["P4"], 4 * width, "auxiliary", "pre_activation_auxiliary")
    name = "auxiliary_segmentation"
    second = probabilities_out(inputs, logits, OUTPUT_STRIDE, name, from_corners=True)
    return DeeplySupervised(inputs, [answer, second], name="pspnet", output_weights=[1, AUXILIARY])
