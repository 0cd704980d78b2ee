"""What a network is made of: parameters, arithmetic, receptive field and stride, stage by stage.

Arithmetic is counted in multiply-accumulates of one forward pass for one picture. Counted are
convolutions, dense layers, resizing and averaging. Not counted are biases, normalisation,
activations and other arithmetic on single values, the comparisons of max-pooling, and copying. A
kind of layer that is on neither list is an error: a 0 for it would look like a count.
"""

import math
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import keras
from keras import layers

from fast.folding import networks
from utils.errors import UserError
from utils.files import replace_whole

# Layers that cost nothing by the convention above, and whose values see what those before them saw.
# (That a normalisation sees its statistics is not counted as seeing.)
PLAIN = (
    layers.BatchNormalization,
    layers.GroupNormalization,
    layers.LayerNormalization,
    layers.RMSNormalization,
    layers.UnitNormalization,
    layers.Normalization,
    layers.Rescaling,
    layers.Activation,
    layers.ReLU,
    layers.LeakyReLU,
    layers.PReLU,
    layers.ELU,
    layers.Softmax,
    layers.Add,
    layers.Subtract,
    layers.Multiply,
    layers.Average,
    layers.Maximum,
    layers.Minimum,
    layers.Concatenate,
    layers.ZeroPadding2D,
    layers.Cropping2D,
    layers.Dropout,
    layers.AlphaDropout,
    layers.GaussianDropout,
    layers.GaussianNoise,
    layers.ActivityRegularization,
    layers.Identity,
)
# They cost nothing either, but change what a value sees or where it lies.
MOVING = (
    layers.MaxPooling2D,
    layers.GlobalMaxPooling2D,
    layers.Flatten,
    layers.Reshape,
    layers.Permute,
)
# How many neighbours along one side resizing weighs for a value; "nearest" copies one.
TAPS = {"nearest": 1, "bilinear": 2, "bicubic": 4, "lanczos3": 6, "lanczos5": 10}

# Words for the kind of a layer with which the book's names begin: "conv_fcn_8", "bn_fcn_8".
KINDS = ("conv", "tconv", "bn", "relu")


@dataclass(frozen=True)
class Reach:
    """What one value of a map sees of the input: `field` pixels wide, `stride` pixels apart.

    Behind a pooling over all, `field` is infinite, and `stride` the height that was pooled.
    """

    field: float = 1
    stride: float = 1


@dataclass(eq=False)
class Map:
    """What a layer makes, of `shape` (B, H, W, C); another of that shape is another."""

    shape: tuple


@dataclass(frozen=True)
class Step:
    """A layer at one place of a network, what goes in and what comes out."""

    layer: layers.Layer
    before: list[Map]
    after: list[Map]


@dataclass(frozen=True)
class Call:
    """A layer at one place of a network; a layer that several places share has a call for each.

    `before` and `after` are the shapes (B, H, W, C) of its first input and its first output, `macs`
    its multiply-accumulates, `reach` what a value behind it sees.
    """

    layer: layers.Layer
    before: tuple
    after: tuple
    macs: int
    reach: Reach


def macs(layer: layers.Layer, before: tuple, after: tuple) -> int:
    """Multiply-accumulates of a layer for one picture, by the convention at the top of this file.

    A convolution works through its kernel once per position of its output, a transposed one once
    per position of its input. Bilinear resizing weighs 4 neighbours for a value, averaging all that
    it averages.

    Args:
        layer: a layer that has been built. One of our own may count for itself: if it has a method
            `macs(before, after) -> int`, that is asked.
        before: shape of its first input, (B, H, W, C) or another with the batch in front.
        after: shape of its first output.

    Raises:
        UserError: the kind of layer is unknown.
    """
    if hasattr(layer, "macs"):
        return layer.macs(before, after)
    if isinstance(layer, layers.Conv2DTranspose):
        return _positions(layer, before) * math.prod(layer.kernel.shape)  # (h, w, out, in)
    if isinstance(layer, layers.Conv1D | layers.Conv2D):
        return _positions(layer, after) * math.prod(layer.kernel.shape)  # (h, w, in / groups, out)
    if isinstance(layer, layers.DepthwiseConv2D):
        return _positions(layer, after) * math.prod(layer.kernel.shape)  # (h, w, in, multiplier)
    if isinstance(layer, layers.SeparableConv2D):  # the depthwise one has the strides
        kernels = layer.depthwise_kernel, layer.pointwise_kernel
        return _positions(layer, after) * sum(math.prod(kernel.shape) for kernel in kernels)
    if isinstance(layer, layers.Dense):  # (..., C) -> (..., units), once per position
        return math.prod(before[1:-1]) * math.prod(layer.kernel.shape)
    if _resizes(layer):
        taps = TAPS[layer.interpolation]
        return math.prod(after[1:]) * (taps**2 if taps > 1 else 0)
    if isinstance(layer, layers.AveragePooling2D):
        return math.prod(after[1:]) * math.prod(layer.pool_size)
    if isinstance(layer, layers.GlobalAveragePooling2D):
        return math.prod(before[1:])
    if isinstance(layer, (*PLAIN, *MOVING)):
        return 0
    raise _unknown(layer, "macs")


def reach_after(layer: layers.Layer, reach: Reach, before: tuple, after: tuple) -> Reach:
    """The reach behind `layer` for the reach in front of it, along the height.

    A convolution of kernel k and dilation d adds (k - 1) d strides to the field, pooling k - 1.
    Upsampling by s divides the stride by s; resizing reads as many neighbours as `TAPS` says, a
    transposed convolution ceil(k / s). Pooling over all sees everything. Behind an enlargement one
    place sees further than the next: the field is theirs within 4 % (FPN 719, by gradients 739).

    Args:
        layer: a layer that has been built. One of our own may have a method
            `reach(reach, before, after) -> Reach`, which is asked then.
        reach: the reach in front of it, in pixels of the input.
        before: shape of its first input, (B, H, W, C) or another with the batch in front.
        after: shape of its first output.

    Raises:
        UserError: the kind of layer is unknown.
    """
    if hasattr(layer, "reach"):
        return layer.reach(reach, before, after)
    if isinstance(layer, layers.Conv2DTranspose):
        up = layer.strides[0]
        span = (layer.kernel_size[0] - 1) * layer.dilation_rate[0] + 1
        return Reach(reach.field + (math.ceil(span / up) - 1) * reach.stride, reach.stride / up)
    convolutions = layers.Conv1D | layers.Conv2D | layers.DepthwiseConv2D | layers.SeparableConv2D
    if isinstance(layer, convolutions):
        kernel = (layer.kernel_size[0] - 1) * layer.dilation_rate[0]
        return Reach(reach.field + kernel * reach.stride, reach.stride * layer.strides[0])
    if isinstance(layer, layers.AveragePooling2D | layers.MaxPooling2D):
        kernel = layer.pool_size[0] - 1
        return Reach(reach.field + kernel * reach.stride, reach.stride * layer.strides[0])
    if _resizes(layer):
        neighbours = TAPS[layer.interpolation] - 1
        up = _height(layer, after) / _height(layer, before)
        return Reach(reach.field + neighbours * reach.stride, reach.stride / up)
    if isinstance(layer, layers.GlobalAveragePooling2D | layers.GlobalMaxPooling2D):
        return Reach(math.inf, reach.stride * _height(layer, before))
    if isinstance(layer, (*PLAIN, layers.Dense)) or _keeps_rows(layer, reach, before, after):
        return reach
    if isinstance(layer, layers.Flatten):
        return Reach(math.inf, reach.stride * _height(layer, before))
    raise _unknown(layer, "reach_after")


def walk(
    model: keras.Model, inputs: list[Map] | None = None
) -> tuple[list[Step], list[Map], list[Map]]:
    """The layers of a functional network in the order in which they compute.

    Args:
        model: a functional network; others may be nested in it.
        inputs: the maps that go in, where it is nested.

    Returns:
        The steps, those of nested networks in place of these, the maps that go in and those that
        come out.

    Raises:
        UserError: a network is not functional.
    """
    graph = model._functional if isinstance(model, keras.Sequential) else model
    if not hasattr(graph, "_nodes_by_depth"):
        raise UserError(
            f"--summary cannot look into {model.name!r} of class {type(model).__name__}; "
            "build it as a functional model, keras.Model(inputs, outputs)."
        )
    inputs = inputs or [Map(tensor.shape) for tensor in graph.inputs]
    maps = {id(tensor): each for tensor, each in zip(graph.inputs, inputs, strict=True)}
    steps: list[Step] = []
    order = {id(operation): place for place, operation in enumerate(graph.operations)}
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        for node in sorted(graph._nodes_by_depth[depth], key=lambda n: order[id(n.operation)]):
            if node.is_input:
                continue
            layer = node.operation
            before = [maps[id(tensor)] for tensor in node.input_tensors]
            if isinstance(layer, keras.Model):
                inner, _, after = walk(layer, before)
                steps += inner
            else:
                after = [Map(tensor.shape) for tensor in node.outputs]
                steps.append(Step(layer, before, after))
            maps |= {id(tensor): each for tensor, each in zip(node.outputs, after, strict=True)}
    return steps, inputs, [maps[id(tensor)] for tensor in graph.outputs]


def trace(model: keras.Model) -> tuple[list[Call], list[Reach]]:
    """Follow a functional network from its inputs, the picture, to its outputs.

    Args:
        model: a functional network for pictures of a fixed size; others may be nested in it.

    Returns:
        The calls of all layers in order, those of nested networks in place of these, and the reach
        of each output. Where paths join, the widest field counts, and the finest stride, as a
        value for the whole picture is repeated for each place of a map.

    Raises:
        UserError: a kind of layer is unknown, a network is not functional, or has no fixed size.
    """
    steps, inputs, outputs = walk(model)
    reaches = dict.fromkeys(inputs, Reach())
    calls: list[Call] = []
    for step in steps:
        seen = [reaches[each] for each in step.before]
        joined = Reach(max(reach.field for reach in seen), min(reach.stride for reach in seen))
        calls.append(_call(step.layer, step.before[0].shape, step.after[0].shape, joined))
        reaches |= dict.fromkeys(step.after, calls[-1].reach)
    return calls, [reaches[each] for each in outputs]


def stages(model: keras.Model) -> list[dict]:
    """Parameters, GMAC, receptive field and stride of each stage of a network.

    A stage is what shares the first word of its layers' names: "stage1_block0_2_conv" is of stage1.
    A word that says the kind of layer is none: "conv_fcn_8" and "bn_fcn_8" are of fcn_8. A layer
    whose first word no other has is a stage by its whole name.

    Args:
        model: see `trace`.

    Returns:
        Rows in the network's order with `stage`, `output` (the shape without the batch),
        `parameters`, `gmac` (thousand millions of multiply-accumulates for one picture), and
        `field` and `stride` in pixels of the input; output, field and stride are those of the
        stage's last layer. A layer that is called several times computes as often, but has its
        parameters once.

    Raises:
        UserError: see `trace`.
    """
    calls, _ = trace(model)
    unique = {id(call.layer): call.layer for call in calls}
    words = Counter(layer.name.partition("_")[0] for layer in unique.values())
    rows: dict[str, dict] = {}
    for call in calls:
        stage = _stage(call.layer.name, words)
        row = rows.setdefault(stage, {"stage": stage, "parameters": 0, "gmac": 0.0})
        if unique.pop(id(call.layer), None):  # its first call
            row["parameters"] += call.layer.count_params()
        row["gmac"] += call.macs / 1e9
        row["output"] = call.after[1:]
        row["field"], row["stride"] = call.reach.field, call.reach.stride
    return list(rows.values())


def print_summary(
    model: keras.Model, folder: Path, inputs: Iterable[Path] = (), layers: bool = False
) -> None:
    """Print the table of stages, then, if asked, all layers; draw diagrams into `folder`.

    Args:
        model: a functional network; a backbone may be nested in it.
        folder: for `<name of the network>.png`, one for each network; they need Graphviz, and are
            left out without it.
        inputs: files and folders of which no diagram may replace anything.
        layers: whether to print the layers of each network.

    Raises:
        UserError: see `trace`; or a diagram would replace an input.
    """
    diagrams = {folder / f"{network.name}.png": network for network in networks(model)}
    for path in filter(Path.exists, diagrams):
        if any(path.samefile(each) for each in _files(inputs)):
            raise UserError(
                f"{path} would be replaced by a diagram, and is an input; choose another "
                "--prediction-dir, or move that file away."
            )
    table = stages(model)
    wide = max(15, *(len(row["stage"]) for row in table)) + 1
    print(f"{'stage':{wide}}{'output':>20}{'parameters':>14}{'GMAC':>9}{'field':>8}{'stride':>8}")
    for row in table:
        shape = "x".join(map(str, row["output"]))
        field = "all" if math.isinf(row["field"]) else f"{row['field']:g}"
        print(
            f"{row['stage']:{wide}}{shape:>20}{row['parameters']:>14,}{row['gmac']:>9.2f}"
            f"{field:>8}{row['stride']:>8g}"
        )
    total = sum(row["gmac"] for row in table)
    print(f"{'sum':{wide}}{'':20}{model.count_params():>14,}{total:>9.2f}")
    for network in networks(model)[::-1] if layers else ():  # the innermost first
        network.summary()
    for path, network in diagrams.items():
        _draw(network, path)


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    """The files among `paths` and in the folders among them, those that links lead to included."""
    for path in paths:
        yield from filter(Path.is_file, path.rglob("*") if path.is_dir() else [path])


def _call(layer: layers.Layer, before: tuple, after: tuple, reach: Reach) -> Call:
    """The call of `layer` for the shapes at it and the reach in front of it."""
    if None in (*before[1:], *after[1:]):
        raise UserError(
            f"--summary counts at a fixed size, but {layer.name!r} makes {after} of {before}; "
            "build the network for one height and width."
        )
    return Call(
        layer, before, after, macs(layer, before, after), reach_after(layer, reach, before, after)
    )


def _positions(layer: layers.Layer, shape: tuple) -> int:
    """H x W of a map in the layout of `layer`; the length of a sequence (B, L, C)."""
    return math.prod(shape[1:-1] if layer.data_format == "channels_last" else shape[2:])


def _height(layer: layers.Layer, shape: tuple) -> int:
    """H of a map in the layout of `layer`; 1 of a vector (B, C)."""
    if len(shape) == 2:
        return 1
    return shape[1] if layer.data_format == "channels_last" else shape[2]


def _resizes(layer: layers.Layer) -> bool:
    """Whether `layer` weighs `TAPS` neighbours; a `Resizing` that crops, pads or blurs does not."""
    if isinstance(layer, layers.Resizing):
        others = layer.crop_to_aspect_ratio, layer.pad_to_aspect_ratio, layer.antialias
        return not any(others)
    return isinstance(layer, layers.UpSampling2D)


def _keeps_rows(layer: layers.Layer, reach: Reach, before: tuple, after: tuple) -> bool:
    """Whether a layer that moves values leaves each in the row it was in.

    Where every value sees everything, or is one of a vector, it does not matter.
    """
    if not isinstance(layer, layers.Flatten | layers.Reshape | layers.Permute):
        return False
    if math.isinf(reach.field) or len(before) == 2:
        return True
    if isinstance(layer, layers.Permute):
        return layer.dims[0] == 1
    return isinstance(layer, layers.Reshape) and before[1] == after[1]


def _unknown(layer: layers.Layer, function: str) -> UserError:
    return UserError(
        f"--summary does not know the layer {layer.name!r} of class {type(layer).__name__}; "
        f"add it to {function}() in tools/summary.py."
    )


def _stage(name: str, words: Counter) -> str:
    """The stage of a layer; `words` says how many layers' names begin with each word."""
    first, _, rest = name.partition("_")
    if first in KINDS and rest:
        return rest
    return first if words[first] > 1 else name


def _draw(network: keras.Model, path: Path) -> None:
    try:
        graph = keras.utils.model_to_dot(network, show_shapes=True)
    except ImportError:
        graph = None
    if graph is None or not shutil.which("dot"):
        print(f"No diagram {path.name}: it needs Graphviz and requirements/diagram.txt.")
        return
    with replace_whole(path) as unfinished:
        graph.write(str(unfinished), format="png")
    print(f"Diagram: {path}")
