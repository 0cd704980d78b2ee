"""What the heads of a UNet++ see, from coarse to fine, beside the single jump of a U-Net.

    python3 chapter12-segmentation/tools/heads.py PICTURE WEIGHTS [WEIGHTS ...]

Two rows a network: the nodes at full size X^{0,0}, X^{0,1}, ... as the mean of their channels, and
below each what its head says. A U-Net goes from X^{0,0} to its last node at once.
"""

import argparse
import sys
from pathlib import Path

CHAPTER = Path(__file__).resolve().parents[1]
if __name__ == "__main__":  # in place of this folder
    sys.path[:1] = [str(CHAPTER.parent), str(CHAPTER)]

import numpy as np  # noqa: E402

from engine.startup import import_keras  # noqa: E402
from utils.classes import Classes, check_classes  # noqa: E402
from utils.drawing import (  # noqa: E402
    FAINT_INK,
    MARGIN,
    ROW_SIDE,
    Text,
    as_seen,
    legend,
    overlay,
    shorten,
    write_page,
)
from utils.errors import UserError  # noqa: E402
from utils.errors import run as run_main  # noqa: E402
from utils.files import refuse_replacing  # noqa: E402
from utils.pictures import read_picture, resize_labels, resize_picture  # noqa: E402

LINE = 24  # pixels: of text above a panel
ENDS = (1, 99)  # per cent: what lies outside is drawn black or white


def see(model, picture: np.ndarray) -> tuple[dict, dict]:
    """The nodes at full size, and what their heads say.

    Args:
        model: from `zoo.unetplusplus.build_unetplusplus`, of H x W pixels.
        picture: (any, any, channels) uint8.

    Returns:
        By j of X^{0,j} the mean of the channels (H, W) float32, and, where there is a head, its
        class ids (H, W) uint8; those of the answer stand at -1.

    Raises:
        UserError: the network has no such nodes.
    """
    import keras

    from zoo.unetplusplus import top_row

    row = top_row(model)
    if not row:
        raise UserError(
            f"the network {model.name} is no UNet++, it has no nodes X^{{0,j}}; give weights of "
            "unetplusplus, unetplus, unet-e or unet-l4."
        )
    height, width = model.input_shape[1:3]
    outputs = {-1: model.outputs[0]} | {j: head for j, _, head in row if head is not None}
    nodes = {j: node for j, node, _ in row}
    whole = keras.Model(model.inputs[0], [*nodes.values(), *outputs.values()])
    values = whole(resize_picture(picture, (height, width))[None], training=False)
    values = [keras.ops.convert_to_numpy(each)[0, :height, :width] for each in values]
    means = [np.float32(each).mean(-1) for each in values[: len(nodes)]]
    labels = [each.argmax(-1).astype(np.uint8) for each in values[len(nodes) :]]
    return dict(zip(nodes, means, strict=True)), dict(zip(outputs, labels, strict=True))


def draw_heads(path: Path, picture: np.ndarray, seen: dict, classes: Classes) -> None:
    """Write the figure.

    Args:
        path: the PNG; replaced whole.
        picture: (h, w, channels) uint8.
        seen: by the name of a network what `see` returns.
        classes: names and colours.
    """
    factor = ROW_SIDE / max(picture.shape[:2])
    size = height, width = tuple(max(1, round(side * factor)) for side in picture.shape[:2])
    small = resize_picture(as_seen(picture), size)
    texts, pictures, top = [], [], MARGIN
    columns = 1 + max(max(means) for means, _ in seen.values()) + 1
    for name, (means, labels) in seen.items():
        panels = {(0, 0): small, (1, 0): overlay(small, resize_labels(labels[-1], size), classes)}
        words = {(0, 0): name, (1, 0): "answer"}
        for j, mean in means.items():
            panels[0, j + 1] = resize_picture(_grey(mean), size)
            words[0, j + 1] = f"X^{{0,{j}}}"
            if j in labels:
                panels[1, j + 1] = overlay(small, resize_labels(labels[j], size), classes)
                words[1, j + 1] = f"its head, L{j}"
        for (row, column), panel in panels.items():
            above = top + row * (LINE + height + MARGIN)
            left = MARGIN + column * (width + MARGIN)
            bold = (row, column) == (0, 0)
            text = shorten(words[row, column], width, bold=bold)
            texts.append(Text(above, left, text, colour=FAINT_INK, bold=bold))
            pictures.append((above + LINE, left, panel))
        top += 2 * (LINE + height + MARGIN) + MARGIN
    right = MARGIN + columns * (width + MARGIN)
    boxes, lines, bottom = legend(classes, range(len(classes)), top, right)
    write_page(path, (bottom, right), pictures, [*texts, *lines], boxes)


def _grey(values: np.ndarray) -> np.ndarray:
    """(H, W) floats as a picture (H, W, 3) uint8, from black to white."""
    low, high = np.percentile(values, ENDS)
    grey = np.clip((values - low) / max(high - low, 1e-9), 0, 1) * 255
    return np.repeat(np.uint8(np.round(grey))[..., None], 3, axis=2)


def main() -> None:
    """Read the command line and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture", type=Path, metavar="PICTURE")
    parser.add_argument("weights", type=Path, nargs="+", metavar="WEIGHTS")
    parser.add_argument("--out", type=Path, default=Path("heads.png"), help="the figure")
    args = parser.parse_args()
    import_keras()
    from engine.weights import load_weights, read_network, read_reading

    refuse_replacing([args.out], [args.picture, *args.weights], "name another with --out")
    seen, classes = {}, None
    for weights in args.weights:
        network, reading = read_network(weights), read_reading(weights)
        classes = classes or network.classes
        check_classes(classes, args.weights[0], network.classes, weights)
        model, channels = network.build(), network.input_shape[2]
        load_weights(model, weights)
        picture = read_picture(
            args.picture, scale=reading.scale, turn=reading.turn, channels=channels
        )
        name = network.name if network.name not in seen else f"{network.name} ({weights.name})"
        try:
            seen[name] = see(model, picture)
        except UserError as error:
            raise UserError(f"{weights}: {error}") from error
    draw_heads(args.out, picture, seen, classes)
    print(args.out)


if __name__ == "__main__":
    run_main(main)
