"""Weights of ImageNet as `keras.applications` publishes them, for the backbones of the zoo.

A network's layers say by their names which backbone it has, nested or not. What differs there is
allowed for, so that the numbers behind each layer are theirs:

- They take blue, green, red, less the means; here the pictures are red, green, blue, and smaller by
  `parts.SCALE`: channels of the first kernel are turned, and its numbers are as much larger.
- The convolutions of their ResNets have biases; here these are taken off the means that the
  normalisation behind them subtracts.
- Dense layers of VGG16 are convolutions here (Long et al., 2015, section 3.1): their inputs are a
  map of 7x7 in reading order, channels last, so that a kernel is the same numbers in another shape.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from zoo.parts import SCALE
from zoo.resnet_v1 import RESNET50, RESNET101
from zoo.vgg import CONVOLUTIONS

ADDRESS = "https://storage.googleapis.com/tensorflow/keras-applications"
FIRST = ("block1_conv1", "conv1_conv")  # layers that take pictures
WIDTH = 64  # filters of these
DENSE = {"fc6_conv": "fc1", "fc7_conv": "fc2"}  # convolutions here, and what they were


@dataclass(frozen=True)
class Application:
    """A classifier of `keras.applications`.

    Attributes:
        name: there.
        folder: of its files, below `ADDRESS`.
        files: name and MD5 sum of the file with the dense layers, and of that without.
        layers: names of the convolutions that a backbone must have.
    """

    name: str
    folder: str
    files: tuple[tuple[str, str], tuple[str, str]]
    layers: frozenset[str]

    def file(self, names: Iterable[str]) -> tuple[str, str, str]:
        """Name, address and MD5 sum of the file for a network with layers of these `names`."""
        name, md5 = self.files[0 if set(DENSE) & set(names) else 1]
        return name, f"{ADDRESS}/{self.folder}/{name}", md5


def _published(name: str, md5: str, md5_without: str) -> tuple[tuple[str, str], tuple[str, str]]:
    file = f"{name}_weights_tf_dim_ordering_tf_kernels"
    return (f"{file}.h5", md5), (f"{file}_notop.h5", md5_without)


def _vgg16(blocks: Sequence[int]) -> frozenset[str]:
    stages = enumerate(blocks, 1)
    return frozenset(f"block{s}_conv{number}" for s, n in stages for number in range(1, n + 1))


def _resnet(blocks: Sequence[int]) -> frozenset[str]:
    stages = enumerate(blocks, 2)
    units = [f"conv{s}_block{number}" for s, n in stages for number in range(1, n + 1)]
    shortcuts = [f"conv{stage}_block1_0_conv" for stage in range(2, len(blocks) + 2)]
    within = [f"{unit}_{place}_conv" for unit in units for place in (1, 2, 3)]
    return frozenset(["conv1_conv", *shortcuts, *within])


# The sums are those by which keras.applications checks what it has fetched.
APPLICATIONS = (
    Application(
        "VGG16",
        "vgg16",
        _published("vgg16", "64373286793e3c8b2b4e3219cbf3544b", "6d6bbae143d832006294945121d1f1fc"),
        _vgg16(CONVOLUTIONS),
    ),
    Application(
        "ResNet50",
        "resnet",
        _published(
            "resnet50", "2cb95161c43110f7111970584f804107", "4d473c1dd8becc155b73f8504c6f6626"
        ),
        _resnet(RESNET50),
    ),
    Application(
        "ResNet101",
        "resnet",
        _published(
            "resnet101", "f1aeb4b969a6efcfb50fad2f0c20cfc5", "88cf7a10940856eca736dc7b7e228a21"
        ),
        _resnet(RESNET101),
    ),
)


def application_for(names: Iterable[str]) -> Application | None:
    """The classifier whose convolutions are all among the layers of a network, by their names."""
    fitting = [each for each in APPLICATIONS if each.layers <= set(names)]
    return max(fitting, key=lambda each: len(each.layers), default=None)  # 101 has those of 50


def weights_for(
    name: str, shapes: Sequence[tuple[int, ...]], stored: Mapping[str, Sequence]
) -> list[np.ndarray] | None:
    """The weights of a layer.

    Args:
        name: of the layer.
        shapes: of its weights.
        stored: arrays of the classifier's layers by name, in the order of Keras: kernel and bias,
            or scale, shift, mean and variance of a normalisation. Anything with a shape that NumPy
            can read; only what fits is read.

    Returns:
        float32 arrays of these shapes, or None if there are none.
    """
    shapes = [tuple(shape) for shape in shapes]  # TensorFlow's are none
    arrays = stored.get(DENSE.get(name, name), ())[: len(shapes)]
    theirs = [(math.prod(s[:-1]), s[-1]) if name in DENSE and s[1:] else s for s in shapes]
    if not shapes or [tuple(array.shape) for array in arrays] != theirs:
        return None
    pairs = zip(arrays, shapes, strict=True)
    values = [np.asarray(array, "float32").reshape(shape) for array, shape in pairs]
    if name in FIRST:
        values[0] = values[0][:, :, ::-1] / np.float32(SCALE)
    bias = stored.get(name.removesuffix("_bn") + "_conv", ())[1:]
    means = name.endswith("_bn") and len(values) == 4  # none where groups are normalised
    if means and [tuple(each.shape) for each in bias] == shapes[:1]:
        values[2] = values[2] - np.asarray(bias[0], "float32")
    return values
