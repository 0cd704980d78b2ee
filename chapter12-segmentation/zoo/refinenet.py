"""RefineNet: on the way back to detail, maps are refined through residual paths.

Guosheng Lin et al., "RefineNet: Multi-Path Refinement Networks for High-Resolution Semantic
Segmentation", 2017. Idea: a block for each map of a ResNet, from coarse to fine. It adds its map
and what the coarser block says, then what max-pooling sees around every place. All are sums with a
way around what is added, along which gradients reach every layer.

Figure and published code disagree. This is the code's layout: four pools in a chain, and three
units at the end of every block, where the figure has two and one, with two more units before the
classifier. Its too are the 3x3 of the classifier, the dropout before it (not that on the maps at
1/16 and 1/32), and which convolutions have a bias.

Maps are enlarged from their corners.

Differs from the paper: resizing has its own gradient, where the authors' code lets single values
through.

Parameters of the decoder, for C classes, with 18nn + n in a unit of n channels. At 1/32, n = 512:
9 * 2048n + 5 (18nn + n) + 4 * 9nn = 42,469,888. At 1/16, 1/8 and 1/4, n = 256: 9n (1024, 512, 256)
+ 5 (18nn + n) + 9nn + 4 * 9nn, and for what comes from the coarser block 9n (512, 256, 256):
33,033,984 together. The classifier 9 * 256 C + C. 75,513,092 for 4 classes.
"""

import keras
from keras import layers

from fast.layers import Conv2D
from zoo.parts import EnlargeFromCorners, pictures_in, probabilities_out
from zoo.resnet_v1 import RESNET50, build_resnet_v1

ENTRY_UNITS, POOLS, EXIT_UNITS = 2, 4, 3  # of a block, as in the published code


def _conv(
    x: keras.KerasTensor, filters: int, name: str, bias: bool = False, scale: float = 0.25
) -> keras.KerasTensor:
    """A 3x3 convolution: (B, h, w, any) -> (B, h, w, filters)."""
    return Conv2D(
        filters,
        3,
        padding="same",
        use_bias=bias,
        # Nothing is normalised: with he_normal's 2 values grow ten-thousandfold on the way.
        kernel_initializer=keras.initializers.VarianceScaling(scale),
        name=name,
    )(x)


def residual_unit(x: keras.KerasTensor, name: str, shortcut: bool = True) -> keras.KerasTensor:
    """Residual convolution unit, without normalisation: (B, h, w, C) -> (B, h, w, C).

    Without its short cut, what its convolutions make is all there is, and they begin with he_normal
    to keep the variance.
    """
    before, filters = x, x.shape[-1]
    for number, bias in ((1, True), (2, False)):
        x = layers.Activation("relu", name=f"{name}_relu{number}")(x)
        x = _conv(x, filters, f"{name}_conv{number}", bias, 0.25 if shortcut else 2)
    return layers.Add(name=f"{name}_sum")([before, x]) if shortcut else x


def fuse(paths: list[keras.KerasTensor], name: str) -> keras.KerasTensor:
    """Multi-resolution fusion: maps (B, h, w, any) of several sizes -> (B, h, w, C), their sum.

    The size is that of the finest, C that of the map with the fewest channels. Of one map nothing
    is left but the convolution.
    """
    filters = min(path.shape[-1] for path in paths)
    height = max(path.shape[1] for path in paths)
    fused = []
    for number, path in enumerate(paths, 1):
        factor = height // path.shape[1]
        path = _conv(path, filters, f"{name}{number}_conv")
        if factor > 1:
            at = f"{name}{number}_enlarge"
            path = EnlargeFromCorners(factor, name=at)(path)
        fused.append(path)
    return layers.Add(name=f"{name}_sum")(fused) if len(fused) > 1 else fused[0]


def chained_pooling(x: keras.KerasTensor, name: str, pools: int = POOLS) -> keras.KerasTensor:
    """Chained residual pooling: (B, h, w, C) -> (B, h, w, C).

    Each pool takes what the convolution before it made, so that it sees further by 2 pixels to each
    side, and by 1 more with its convolution; what each stage makes is added.
    """
    total = x = layers.Activation("relu", name=f"{name}_relu")(x)
    for number in range(1, pools + 1):
        at = f"{name}{number}"
        x = layers.MaxPooling2D(5, strides=1, padding="same", name=f"{at}_pool")(x)
        x = _conv(x, x.shape[-1], f"{at}_conv")
        total = layers.Add(name=f"{at}_sum")([total, x])
    return total


def build_refinenet(
    input_shape: tuple[int, int, int],
    n_classes: int,
    *,
    width: int = 64,
    blocks: tuple[int, ...] = RESNET50,
    chained: bool = True,
    shortcuts: bool = True,
) -> keras.Model:
    """Build the network.

    Args:
        input_shape: (H, W, channels).
        n_classes: number of classes.
        width: filters of the ResNet's stem; all others follow.
        blocks: of each of its stages.
        chained: with the chains of pools; without them nothing but their ReLU is left.
        shortcuts: around the convolutions of its units.

    Returns:
        Model "refinenet" from raw pictures (B, H, W, channels) to (B, H, W, n_classes) float32.
    """
    inputs, x = pictures_in(input_shape, 32)
    maps = build_resnet_v1(x.shape[1:], width=width, blocks=blocks)(x)
    coarser: list[keras.KerasTensor] = []  # at 1/32 there is none
    for level in (5, 4, 3, 2):
        stage = f"refine{level}"
        x = _conv(maps[f"P{level}"], (8 if level == 5 else 4) * width, f"{stage}_entry_conv")
        for number in range(1, ENTRY_UNITS + 1):
            x = residual_unit(x, f"{stage}_entry{number}", shortcuts)
        if coarser:
            x = fuse([x, *coarser], f"{stage}_fusion")  # (B, H/2^level, W/2^level, 256)
        x = chained_pooling(x, f"{stage}_chain", POOLS if chained else 0)
        for number in range(1, EXIT_UNITS + 1):
            x = residual_unit(x, f"{stage}_exit{number}", shortcuts)
        coarser = [x]
    x = layers.Dropout(0.5, name="head_dropout")(x)  # (B, H/4, W/4, 256)
    small = keras.initializers.RandomNormal(stddev=0.01)
    logits = Conv2D(n_classes, 3, padding="same", kernel_initializer=small, name="pre_activation")(
        x
    )
    return keras.Model(
        inputs, probabilities_out(inputs, logits, 4, from_corners=True), name="refinenet"
    )
