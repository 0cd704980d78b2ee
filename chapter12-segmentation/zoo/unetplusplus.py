"""UNet++ and what it was grown from: U-Nets of every depth, UNet-e and UNet+.

Zongwei Zhou et al., "UNet++: A Nested U-Net Architecture for Medical Image Segmentation", 2018, and
"UNet++: Redesigning Skip Connections to Exploit Multiscale Features", 2019, figure 1. Idea: nobody
knows how deep a U-Net should be, so take those of all depths at once over one encoder. X^{i,j} is
the node on level i, j steps along the skip: two convolutions over earlier nodes of its level and
the node below, enlarged. Every X^{0,j} has a head and is told what is right; the answer is their
mean. Trained so, the network can be cut off behind any of its heads.

`nodes` says which earlier nodes of its level a node is given: "all" (UNet++), "last" (UNet+: the
one before), "encoder" (UNet-e: X^{i,0}), or "one": as UNet-e, with no nodes but those of the
deepest U-Net, which is then left alone.

Differs from the paper: a softmax over the classes in place of a sigmoid. The authors' code, not
their text, has dropout and weight decay in each node.

Parameters of a node from a channels to b: 9ab + b + 9bb + b, and of its transposed convolution 2b
to b: 8bb + b. From 1 channel, with 32, 64, ... 512: encoder 9,568 + 55,424 + 221,440 + 885,248 +
3,539,968 = 4,711,648. A node with n others of its level and the one below takes a = (n + 1) b:
9bb (n + 2) + 2b + 8bb + b = (9n + 26) bb + 3b, 35bb + 3b for n = 1. All, n = 1 to 4 at b = 32: (35
+ 44 + 53 + 62) bb + 12b = 199,040; n = 1 to 3 at 64: 132bb + 9b = 541,248; 128: 79bb + 6b =
1,295,104; 256: 35bb + 3b = 2,294,528. Heads of 32C + C: 9,041,568 + 33 for one head and class.
UNet+ and UNet-e have n = 1 everywhere: 8,728,224. Pictures of 3 channels add 576.
"""

import re

import keras
from keras import layers

from fast.layers import Conv2D, Conv2DTranspose
from utils.errors import UserError
from zoo.parts import pictures_in, probabilities_out
from zoo.supervision import DeeplySupervised

NODES = ("all", "last", "encoder", "one")
MULTIPLE = 16  # of the padded sides, whatever the depth, so that a part pads as the whole


def check_unetplusplus(nodes: str, depth: int, supervised: bool, **_: object) -> None:
    """Refuse what cannot be built or cannot learn.

    Raises:
        UserError: a setting is out of range, or UNet-e is to learn by its last head alone.
    """
    if nodes not in NODES:
        raise UserError(f"nodes {nodes!r}: those of a UNet++ are {', '.join(NODES)}.")
    if not 1 <= depth <= 8:
        raise UserError(f"depth {depth}: a UNet++ has 1 to 8 levels below the first.")
    if nodes == "encoder" and not supervised and depth > 1:
        raise UserError(
            f"a UNet-e of depth {depth} without deep supervision would never train its shallower "
            "U-Nets, which lead to no other head; leave supervised=True, or take nodes='one'."
        )
    if nodes == "one" and supervised:
        raise UserError("a U-Net has one head to supervise; set supervised=False.")


def _node(x: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
    """H: two 3x3 convolutions with ReLU, (B, h, w, any) -> (B, h, w, filters)."""
    for number in (1, 2):
        x = Conv2D(
            filters,
            3,
            padding="same",
            activation="relu",
            kernel_initializer="he_normal",
            name=f"{name}_{number}_conv",
        )(x)
    return x


def _grow(x: keras.KerasTensor, width: int, depth: int, nodes: str) -> dict:
    """The nodes by (i, j), from scaled pictures: X^{i,j} is (B, H'/2^i, W'/2^i, width 2^i)."""
    made = {}
    # By diagonals, each of which makes the U-Nets one level deeper.
    for level in range(depth + 1):
        if level:
            x = layers.MaxPooling2D(2, name=f"x{level - 1}0_pool")(made[level - 1, 0])
        made[level, 0] = _node(x, width * 2**level, f"x{level}0")
        if nodes == "one" and level < depth:
            continue
        for j in range(1, level + 1):
            i, name = level - j, f"x{level - j}{j}"
            # Without a ReLU behind, he_normal as Keras counts keeps the variance; see `zoo.unet`.
            up = Conv2DTranspose(
                width * 2**i, 2, strides=2, kernel_initializer="he_normal", name=f"{name}_tconv"
            )(made[i + 1, j - 1])
            earlier = {"all": range(j), "last": [j - 1]}.get(nodes, [0])
            inputs = [*(made[i, e] for e in earlier), up]
            x = layers.Concatenate(name=f"{name}_concat")(inputs)
            made[i, j] = _node(x, width * 2**i, name)
    return made


def build_unetplusplus(
    input_shape: tuple[int, int, int],
    n_classes: int,
    *,
    width: int = 32,
    depth: int = 4,
    nodes: str = "all",
    supervised: bool = True,
) -> keras.Model:
    """Build the network.

    Args:
        input_shape: (H, W, channels).
        n_classes: number of classes.
        width: channels of the first level, doubled from level to level.
        depth: how often the size is halved.
        nodes: what a node is made from, see above.
        supervised: a head on every X^{0,j} ("accurate mode"), else on the last ("fast mode").

    Returns:
        Model "unetplusplus" from raw pictures (B, H, W, channels) to (B, H, W, n_classes) float32;
        supervised a `DeeplySupervised` to a list of these: the mean of the heads, which its loss
        leaves out, and the heads from X^{0,1} on. That of X^{0,1} is the layer `pre_activation`,
        of X^{0,2} `pre_activation_2` and so on, in a network cut off there too, which therefore
        takes the weights of the whole by their names.

    Raises:
        UserError: as `check_unetplusplus`.
    """
    check_unetplusplus(nodes, depth, supervised)
    inputs, x = pictures_in(input_shape, max(MULTIPLE, 2**depth))
    made = _grow(x, width, depth, nodes)

    def head(j: int, name: str) -> keras.KerasTensor:
        conv = Conv2D(
            n_classes,
            1,
            kernel_initializer=keras.initializers.VarianceScaling(0.1),  # see `zoo.unet`
            name="pre_activation" if j == 1 else f"pre_activation_{j}",
        )
        return probabilities_out(inputs, conv(made[0, j]), name=name)

    if not supervised:
        return keras.Model(inputs, head(depth, "segmentation"), name="unetplusplus")
    heads = [head(j, f"head{j}") for j in range(1, depth + 1)]
    mean = layers.Average(name="segmentation", dtype="float32")(heads) if depth > 1 else heads[0]
    return DeeplySupervised(
        inputs, [mean, *heads], name="unetplusplus", output_weights=[0, *(1 for _ in heads)]
    )


def top_row(model: keras.Model) -> list[tuple[int, keras.KerasTensor, keras.KerasTensor | None]]:
    """The nodes at full size of a network from here, from X^{0,0} on: j, its map, its head.

    Returns:
        Maps (B, H', W', width) as padded, heads (B, H, W, n_classes), or None where a node has
        none. A U-Net has X^{0,0} and the last alone; another network gives an empty list.
    """
    named = {layer.name: layer for layer in model.layers}
    nodes = [(int(name[2:-7]), name) for name in named if re.fullmatch(r"x0\d_2_conv", name)]
    last = max((j for j, _ in nodes), default=0)
    row = []
    for j, name in nodes:
        head = named.get(f"head{j}") or (named["segmentation"] if j == last else None)
        row.append((j, named[name].output, head and head.output))
    return row
