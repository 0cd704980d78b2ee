"""GCN, the global convolutional network: scores that look as far as the map is wide.

Chao Peng et al., "Large Kernel Matters - Improve Semantic Segmentation by Global Convolutional
Network", 2017. Idea: to name what is at a place, a kernel must see the whole object; a large one is
cheap as a column and a row, one behind the other, in both orders, with no nonlinearity between. All
maps of a ResNet are scored so, and the scores of the coarser ones are enlarged and added. Wherever
scores were made or added, a small residual unit refines their boundaries: nine of them.

"Global" is nearly true: on the paper's 16x16 map the centre sees 15 rows of 16, a corner 8. For
every place to see every other, the kernel would need 31.

Differs from the paper: scores are enlarged by bilinear resizing from the corners of maps, with
nothing learnt, where it has
transposed convolutions: of 4x4 these would be five times 16CC parameters.

Parameters for C classes: a kernel of side k on n channels 2 (kn C + C + k CC + C), about 2/k of the
kkn C + C of a full one: 0.135 on 2048 channels with k = 15 and C = 21. Such a one on each of 256,
512, 1024 and 2048 channels, and nine units of 2 (9CC + C).
"""

import keras
from keras import layers

from fast.layers import Conv2D
from utils.errors import UserError
from zoo.parts import EnlargeFromCorners, pictures_in, probabilities_out
from zoo.resnet_v1 import RESNET50, build_resnet_v1


def check_gcn(kernel: int, **_: object) -> None:
    """Refuse a kernel that has no middle.

    Raises:
        UserError: it is even, or below 1.
    """
    if kernel < 1 or kernel % 2 == 0:
        raise UserError(f"kernel {kernel}: a GCN has an odd one from 1 up; the paper's is 15.")


def _score(
    x: keras.KerasTensor, filters: int, size: int | tuple[int, int], name: str
) -> keras.KerasTensor:
    """A convolution whose answers are small at first: (B, h, w, any) -> (B, h, w, filters)."""
    small = keras.initializers.RandomNormal(stddev=0.01)
    return Conv2D(filters, size, padding="same", kernel_initializer=small, name=name)(x)


def large_kernel(x: keras.KerasTensor, n_classes: int, kernel: int, name: str) -> keras.KerasTensor:
    """Scores of a separable kernel x kernel convolution: (B, h, w, any) -> (B, h, w, n_classes)."""
    branches = []
    for branch, first in (("column", (kernel, 1)), ("row", (1, kernel))):
        at = f"{name}_{branch}"
        y = Conv2D(n_classes, first, padding="same", name=f"{at}_conv1")(x)
        branches.append(_score(y, n_classes, first[::-1], f"{at}_conv2"))
    return layers.Add(name=f"{name}_sum")(branches)


def refine_boundaries(
    scores: keras.KerasTensor, name: str, last: str | None = None
) -> keras.KerasTensor:
    """A residual unit: (B, h, w, C) -> (B, h, w, C); `last` names its second convolution."""
    n_classes = scores.shape[-1]
    x = Conv2D(n_classes, 3, padding="same", kernel_initializer="he_normal", name=f"{name}_conv1")(
        scores
    )
    x = layers.Activation("relu", name=f"{name}_relu")(x)
    x = _score(x, n_classes, 3, last or f"{name}_conv2")
    return layers.Add(name=f"{name}_sum")([scores, x])


def build_gcn(
    input_shape: tuple[int, int, int],
    n_classes: int,
    *,
    width: int = 64,
    blocks: tuple[int, ...] = RESNET50,
    kernel: int = 15,
) -> keras.Model:
    """Build the network.

    Args:
        input_shape: (H, W, channels).
        n_classes: number of classes.
        width: filters of the ResNet's stem.
        blocks: of each of its stages.
        kernel: side of the large kernels, odd.

    Returns:
        Model "gcn" from raw pictures (B, H, W, channels) to (B, H, W, n_classes) float32.

    Raises:
        UserError: the kernel is even, or below 1.
    """
    check_gcn(kernel)
    inputs, x = pictures_in(input_shape, 32)
    maps = build_resnet_v1(x.shape[1:], width=width, blocks=blocks)(x)
    scores = None
    for level in (5, 4, 3, 2, 1, 0):
        stage = f"gcn{level}"
        if scores is not None:
            enlarge = EnlargeFromCorners(2, name=f"{stage}_enlarge")
            scores = enlarge(scores)  # (B, H/2^level, W/2^level, C)
        if level >= 2:
            finer = large_kernel(maps[f"P{level}"], n_classes, kernel, f"{stage}_kernel")
            finer = refine_boundaries(finer, f"{stage}_refine")
            if scores is None:
                scores = finer
                continue
            scores = layers.Add(name=f"{stage}_sum")([scores, finer])
        last = None if level else "pre_activation"
        scores = refine_boundaries(scores, f"{stage}_refine_sum", last)
    return keras.Model(inputs, probabilities_out(inputs, scores), name="gcn")
