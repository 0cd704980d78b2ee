"""How much memory a training step takes at its peak, and the largest batch that fits.

The backward pass is walked through, as automatic differentiation goes and a compiler of whole steps
(XLA, so JAX) can do no better. Held throughout are the weights, what the optimiser keeps of each,
and their gradients. A map that a layer's gradient is made of (`needs`) is held until that gradient
is there; the gradient of a map, from the layer behind it to the layer in front. Arithmetic on
single values is done in place and in one pass: what lies between a normalisation and the ReLU
behind it is never stored. The peak is near the beginning of the backward pass, when all that is
held has been made.

Not counted are the pictures themselves, the loss, an opponent, and what cuDNN borrows for a
convolution while it runs. In GB, 10^9 bytes, beside what XLA says itself (`memory_analysis` of the
step, JAX 0.10.2) when it compiles the chapter's network for an H100 that is not there, so without
cuDNN's loans:

    size, pictures, head, optimiser, precision     here    XLA
    480x640, 4, 256, Adam, bfloat16                8.34   8.29
    480x640, 16, 256, Adam, bfloat16              32.84  32.67
    240x320, 8, 256, Muon, bfloat16                4.49   4.45
    160x192, 8, 64, Muon, float32                  2.64   2.84
    480x640, 4, 256, Adam, float32                16.51  18.17

With a few small pictures the weights' gradients and copies decide, and XLA takes more: 0.16 for
0.11 (64x96, 2, 64, Adam, float32, ResNet11v2). On a CPU XLA takes up to 1.7 times as much.
"""

import math
from collections.abc import Sequence

import keras
from keras import layers

from engine.records import Network
from engine.trainer import OPTIMIZERS
from fast.devices import gpu_memory
from tools.summary import Map, Step, walk
from utils.errors import UserError
from zoo.crf_rnn import MeanField
from zoo.pooling import DilatedMaxPooling, MaxPoolingWithIndices, MaxUnpooling
from zoo.pspnet import AverageBins

SIZES = ((160, 192), (240, 320), (480, 640))  # (H, W) of which the table tells if none is asked
CARDS = (8, 16, 24, 80)  # GiB
SHARE = 0.75  # of a GPU's memory is what JAX takes (XLA_PYTHON_CLIENT_MEM_FRACTION)

# Kinds of layers by what their gradients are made of, besides the gradient behind them: their
# input, their output, both or neither. A normalisation is done again, from its input and the
# statistics, which are small. In place: the gradient in front takes the place of the one behind.
INPUT_IN_PLACE = (
    layers.BatchNormalization,
    layers.GroupNormalization,
    layers.LayerNormalization,
    layers.RMSNormalization,
    layers.UnitNormalization,
    layers.Activation,  # but see `BY_OUTPUT`
    layers.LeakyReLU,
    layers.PReLU,
    layers.ELU,
    layers.ActivityRegularization,
)
INPUT = (
    *INPUT_IN_PLACE,
    layers.Conv1D,
    layers.Conv2D,
    layers.Conv2DTranspose,
    layers.DepthwiseConv2D,
    layers.SeparableConv2D,
    layers.Dense,
    layers.Multiply,
    layers.Maximum,
    layers.Minimum,
)
OUTPUT_IN_PLACE = (
    layers.ReLU,
    layers.Softmax,
    layers.Dropout,  # what it has left out
    layers.AlphaDropout,
    layers.GaussianDropout,
)
BOTH = (layers.MaxPooling2D, layers.GlobalMaxPooling2D, DilatedMaxPooling)
NEITHER_IN_PLACE = (
    layers.Add,
    layers.Subtract,
    layers.Average,
    layers.Rescaling,
    layers.Normalization,
    layers.GaussianNoise,
    layers.Identity,
    layers.Flatten,
    layers.Reshape,
)
NEITHER = (
    *NEITHER_IN_PLACE,
    layers.Concatenate,
    layers.ZeroPadding2D,
    layers.Cropping2D,
    layers.Permute,
    layers.UpSampling2D,
    layers.Resizing,
    layers.AveragePooling2D,
    layers.GlobalAveragePooling2D,
    AverageBins,
)
IN_PLACE = (*INPUT_IN_PLACE, *OUTPUT_IN_PLACE, *NEITHER_IN_PLACE)
BY_OUTPUT = ("relu", "relu6", "sigmoid", "tanh", "softmax")  # activations of this kind


def needs(step: Step) -> list[Map]:
    """The maps that the gradients of a layer are made of, besides the gradient behind it.

    Raises:
        UserError: the kind of layer is unknown.
    """
    layer = step.layer
    named = getattr(getattr(layer, "activation", None), "__name__", "linear")
    if isinstance(layer, layers.Activation):
        return step.after if named in BY_OUTPUT else step.before
    if isinstance(layer, INPUT):
        maps = step.before
        if isinstance(layer, layers.SeparableConv2D):  # the map between its halves
            between = layer.depthwise_kernel.shape[-2] * layer.depthwise_kernel.shape[-1]
            maps = [*maps, Map((*step.after[0].shape[:-1], between))]
        return maps if named == "linear" else [*maps, *step.after]
    if isinstance(layer, OUTPUT_IN_PLACE):
        return step.after
    if isinstance(layer, MaxPoolingWithIndices):
        return step.after[1:]
    if isinstance(layer, MaxUnpooling):
        return step.before[1:]
    if isinstance(layer, MeanField):
        # Of each iteration the probabilities, and what both filters make of them; the shares of
        # the lattice's corners.
        logits, pictures = step.before
        corners = Map((*pictures.shape[:-1], pictures.shape[-1] + 3))
        return [corners, *(Map(logits.shape) for _ in range(3 * layer.training_iterations))]
    if isinstance(layer, BOTH):
        return [*step.before, *step.after]
    if isinstance(layer, NEITHER):
        return []
    raise UserError(
        f"--summary does not know the layer {layer.name!r} of class {type(layer).__name__}; "
        "add it to INPUT or another kind in tools/memory.py."
    )


def fixed(model: keras.Model, optimizer: str, accumulate: int = 1) -> int:
    """Bytes that do not depend on the batch: weights, their gradients, the optimiser's variables.

    Args:
        model: see `picture`.
        optimizer: of `engine.trainer.OPTIMIZERS`.
        accumulate: batches a step; with more than one their gradients are kept besides.
    """
    more = {"gradient_accumulation_steps": accumulate} if accumulate > 1 else {}
    keeper = OPTIMIZERS[optimizer](1e-3, **more)
    keeper.build(model.trainable_variables)
    held = [*model.variables, *model.trainable_variables, *keeper.variables]
    return 4 * sum(math.prod(variable.shape) for variable in held)


def picture(model: keras.Model, precision: str) -> int:
    """Bytes of one picture at the peak of a training step: maps that are held, and gradients.

    Args:
        model: a functional network for pictures of a fixed size, its classes (B, H, W, C) in
            float32; others may be nested in it.
        precision: "float32", "bfloat16" or "float16", in which all else is computed.

    Raises:
        UserError: a kind of layer is unknown, or a network is not functional.
    """
    steps, _, outputs = walk(model)
    width = 4 if precision == "float32" else 2

    def size(one: Map) -> int:
        return math.prod(one.shape[1:]) * (4 if one in outputs else width)

    behind: set[Map] = set()  # a layer with weights; in front of all of them nothing has a gradient
    until: dict[Map, int] = {}  # the place of the first layer that needs the map, backward the last
    for place, step in enumerate(steps):
        if step.layer.trainable_variables or behind.intersection(step.before):
            behind.update(step.after)
            for one in needs(step):
                until.setdefault(one, place)

    gradients = {one: Map(one.shape) for one in outputs}
    sizes = {gradient: size(one) for one, gradient in gradients.items()}
    held = sum(map(size, until))
    peak = 0
    for place, step in reversed(list(enumerate(steps))):
        above = [gradients.pop(one) for one in step.after if one in gradients]
        if not above or not behind.issuperset(step.after):
            continue
        below = {}
        for one in behind.intersection(step.before):
            below[one] = above[0] if isinstance(step.layer, IN_PLACE) else Map(one.shape)
            sizes.setdefault(below[one], size(one))
        alive = {*above, *below.values(), *gradients.values()}
        peak = max(peak, held + sum(sizes[gradient] for gradient in alive))
        gradients |= below  # where several layers take a map, into their sum
        held -= sum(size(one) for one, last in until.items() if last == place)
    return peak


def memory(model: keras.Model, batch: int, optimizer: str, precision: str) -> int:
    """Bytes at the peak of a training step; see `fixed` and `picture`."""
    return fixed(model, optimizer) + batch * picture(model, precision)


def check_memory(
    network: Network,
    batch: int,
    optimizer: str,
    precision: str,
    accumulate: int = 1,
    devices: int = 1,
    asked: bool = True,
) -> int:
    """Refuse a training whose steps do not fit into the GPU, before hours of it have passed.

    Where the backend does not tell how much memory it may take, nothing is refused.

    Args:
        network: of the size at which the training ends.
        batch: pictures a step.
        optimizer, precision, accumulate: see `fixed` and `picture`.
        devices: among which a batch is divided.
        asked: whether somebody wants this batch; else the largest that fits does as well.

    Returns:
        The pictures of a step: `batch`, or the most that fit where it was not asked for.

    Raises:
        UserError: it does not fit.
    """
    limit = gpu_memory()
    if limit is None:
        return batch
    model = network.build()
    common, each = fixed(model, optimizer, accumulate), picture(model, precision)
    own = -(-batch // devices)
    if common + own * each <= limit:
        return batch
    fits = max(0, limit - common) // each * devices
    size = "{}x{}".format(*network.size)
    told = (
        f"a training step of {own} pictures of {size} takes about "
        f"{(common + own * each) / 2**30:.1f} GiB, and the GPU has {limit / 2**30:.1f} GiB for it"
    )
    if fits and not asked:
        print(f"{told}: batch {fits}")
        return fits
    cure = f"give --batch-size {fits}" if fits else "give a smaller --height and --width"
    raise UserError(f"{told}; {cure} (a run that is resumed keeps its own: begin another).")


def print_memory(
    network: Network,
    sizes: Sequence[tuple[int, int]],
    optimizer: str,
    precision: str,
    accumulate: int = 1,
) -> None:
    """Print a line for each size: memory of one picture, and the largest batch on each of `CARDS`.

    Args:
        network: of any size.
        sizes: (H, W) of the pictures.
        optimizer, precision, accumulate: see `fixed` and `picture`.

    Raises:
        UserError: see `picture`.
    """
    models = [network.at(size).build() for size in sizes]
    common = fixed(models[0], optimizer, accumulate)
    print(
        f"Training with {optimizer} in {precision} takes about {common / 2**30:.2f} GiB and so "
        f"much for each picture; the largest batch in the {SHARE:.0%} of a GPU's memory that JAX "
        "takes:"
    )
    print(f"{'size':16}{'a picture':>13}" + "".join(f"{card:>6} GiB" for card in CARDS))
    for (height, width), model in zip(sizes, models, strict=True):
        each = picture(model, precision)
        batches = [max(0, int(SHARE * card * 2**30 - common)) // each for card in CARDS]
        shown = "".join(f"{batch or '-':>10}" for batch in batches)
        print(f"{f'{height}x{width}':16}{each / 2**30:>9.2f} GiB{shown}")
