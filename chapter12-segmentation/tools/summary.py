"""What a network is made of: parameters, arithmetic, receptive field and stride, stage by stage."""

import math
import shutil
from dataclasses import dataclass
from pathlib import Path

import keras
from keras import layers

from utils.files import replace_whole


@dataclass(frozen=True)
class Reach:
    """What one value of a map sees of the input: `field` pixels wide, `stride` pixels apart."""

    field: float = 1
    stride: float = 1


def reach_after(layer: layers.Layer, reach: Reach) -> Reach:
    """The reach behind `layer` for the reach in front of it, along the height.

    A convolution of kernel k and dilation d adds (k - 1) d strides to the field. Upsampling by s
    divides the stride by s; a bilinear one reads two neighbours, a transposed convolution
    ceil(k / s).
    """
    if isinstance(layer, layers.Conv2DTranspose):
        taps, up = math.ceil(layer.kernel_size[0] / layer.strides[0]), layer.strides[0]
        return Reach(reach.field + (taps - 1) * reach.stride, reach.stride / up)
    if isinstance(layer, layers.Conv2D):
        kernel = (layer.kernel_size[0] - 1) * layer.dilation_rate[0]
        return Reach(reach.field + kernel * reach.stride, reach.stride * layer.strides[0])
    if isinstance(layer, layers.AveragePooling2D | layers.MaxPooling2D):
        kernel = layer.pool_size[0] - 1
        return Reach(reach.field + kernel * reach.stride, reach.stride * layer.strides[0])
    if isinstance(layer, layers.UpSampling2D):
        taps = 2 if layer.interpolation == "bilinear" else 1
        return Reach(reach.field + (taps - 1) * reach.stride, reach.stride / layer.size[0])
    return reach


def macs(layer: layers.Layer) -> int:
    """Multiply-accumulates of one forward pass of a convolution for one picture; others count 0.

    An ordinary convolution works once per output value, a transposed one once per input value.
    """
    if isinstance(layer, layers.Conv2DTranspose):
        _, height, width, _ = layer.input.shape
    elif isinstance(layer, layers.Conv2D):
        _, height, width, _ = layer.output.shape
    else:
        return 0
    return height * width * math.prod(layer.kernel.shape)


def flatten(model: keras.Model) -> list[layers.Layer]:
    """The layers of a network in order, those of nested networks in place of these."""
    result = []
    for layer in model.layers:
        result += flatten(layer) if isinstance(layer, keras.Model) else [layer]
    return result


def reaches(model: keras.Model, starts: list[Reach]) -> tuple[dict[str, Reach], list[Reach]]:
    """Follow the reach through a functional network.

    Args:
        model: a functional network, others may be nested in it.
        starts: the reach of each input.

    Returns:
        The reach behind each layer by its name, and the reach of each output. Where paths join, the
        widest field counts.
    """
    by_tensor = {id(tensor): reach for tensor, reach in zip(model.inputs, starts, strict=True)}
    by_name: dict[str, Reach] = {}
    for nodes in (model._nodes_by_depth[depth] for depth in sorted(model._nodes_by_depth)[::-1]):
        for node in nodes:
            if node.is_input:
                continue
            layer = node.operation
            inputs = [by_tensor[id(tensor)] for tensor in node.input_tensors]
            if isinstance(layer, keras.Model):
                inner, outputs = reaches(layer, inputs)
                by_name |= inner
            else:
                widest = max(inputs, key=lambda reach: reach.field)
                outputs = [reach_after(layer, widest)] * len(node.outputs)
                by_name[layer.name] = outputs[0]
            for tensor, reach in zip(node.outputs, outputs, strict=True):
                by_tensor[id(tensor)] = reach
    return by_name, [by_tensor[id(tensor)] for tensor in model.outputs]


def stages(model: keras.Model) -> list[dict]:
    """Parameters, GMAC, receptive field and stride of each stage of the chapter's network.

    Returns:
        Rows with `stage`, `output` (the shape), `parameters`, `gmac`, `field` and `stride`; a stage
        is what shares the first part of its layers' names.
    """
    by_name, _ = reaches(model, [Reach()])
    rows: dict[str, dict] = {}
    for layer in flatten(model):
        if isinstance(layer, layers.InputLayer):
            continue
        stage = _stage(layer.name)
        row = rows.setdefault(stage, {"stage": stage, "parameters": 0, "gmac": 0.0})
        row["parameters"] += layer.count_params()
        row["gmac"] += macs(layer) / 1e9
        row["output"] = layer.output.shape[1:]
        row["field"], row["stride"] = by_name[layer.name].field, by_name[layer.name].stride
    return list(rows.values())


def _stage(name: str) -> str:
    """The stage of a layer: "stage1_block0_2_conv" is of stage1, "bn_fcn_8" of fcn_8."""
    for beginning in ("conv_", "bn_", "relu_", "tconv_"):
        name = name.removeprefix(beginning)
    if name.startswith(("stem", "stage", "last")):
        return name.split("_")[0]
    return name


def print_summary(model: keras.Model, folder: Path) -> None:
    """Print both networks and the table of stages; draw both diagrams into `folder`.

    Args:
        model: the chapter's network, with its backbone nested in it.
        folder: for `fcn.png` and `<backbone>.png`; they need Graphviz, and are left out without it.
    """
    backbones = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    for network in (*backbones, model):
        network.summary()
    print(f"{'stage':16}{'output':>20}{'parameters':>14}{'GMAC':>9}{'field':>8}{'stride':>8}")
    table = stages(model)
    for row in table:
        shape = "x".join(map(str, row["output"]))
        print(
            f"{row['stage']:16}{shape:>20}{row['parameters']:>14,}{row['gmac']:>9.2f}"
            f"{row['field']:>8g}{row['stride']:>8g}"
        )
    total = sum(row["gmac"] for row in table)
    print(f"{'sum':16}{'':20}{model.count_params():>14,}{total:>9.2f}")
    for network in (model, *backbones):
        _draw(network, folder / f"{network.name}.png")


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
