"""A network's answer before and after the dense CRF of `utils.crf`; `--crf`.

    python3 chapter12-segmentation/tools/crf.py PICTURE WEIGHTS

Picture, answer and refined answer beside each other, and where the two differ.
"""

import argparse
import math
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

CHAPTER = Path(__file__).resolve().parents[1]
if __name__ == "__main__":  # in place of this folder
    sys.path[:1] = [str(CHAPTER.parent), str(CHAPTER)]

import numpy as np  # noqa: E402

from engine.startup import import_keras  # noqa: E402
from utils.classes import Classes  # noqa: E402
from utils.crf import dense_crf  # noqa: E402
from utils.drawing import (  # noqa: E402
    FAINT_INK,
    MARGIN,
    Text,
    as_seen,
    legend,
    overlay,
    shorten,
    write_page,
)
from utils.errors import run as run_main  # noqa: E402
from utils.files import refuse_replacing  # noqa: E402
from utils.pictures import read_picture, resize_labels, resize_picture  # noqa: E402

MOST = 640 * 480  # pixels that hear of each other: more of them take too long, and 1 GB a million
SIDE = 448  # pixels: the longer side of a panel, twice that of other figures, to show the rims
LINE = 24  # pixels: of text above a panel


def refined(answer, pictures: Sequence[np.ndarray], size: tuple | None = None):
    """What a network says of pictures, refined by the dense CRF.

    Stands where `evaluation.answer` does, and goes around it, or around `tools.tiles`. Widths of
    the CRF are in pixels, so large pictures are refined at `MOST` pixels and enlarged.

    Args:
        answer: from pictures and a size to probabilities, as `evaluation.answer` with its network.
        pictures: B of (any, any, channels) uint8.
        size: (h, w) of the answers; that of the pictures, which is then one, when there is none.

    Returns:
        (B, h, w, C) float32 class probabilities.
    """
    from keras import ops

    from metrics import resize_bilinear

    size = tuple(size or pictures[0].shape[:2])
    factor = min(1, math.sqrt(MOST / math.prod(size)))
    small = tuple(max(1, round(factor * side)) for side in size)
    probabilities = ops.convert_to_numpy(answer(pictures, small))
    pairs = zip(probabilities, pictures, strict=True)
    answers = np.stack([dense_crf(one, resize_picture(picture, small)) for one, picture in pairs])
    return ops.convert_to_tensor(answers) if small == size else resize_bilinear(answers, size)


def draw_crf(
    path: Path, picture: np.ndarray, before: np.ndarray, after: np.ndarray, classes: Classes
) -> None:
    """Write the figure.

    Args:
        path: the PNG; replaced whole.
        picture: (h, w, channels) uint8.
        before: (h, w) uint8 class ids.
        after: the same, refined.
        classes: names and colours.
    """
    factor = SIDE / max(picture.shape[:2])
    size = height, width = tuple(max(1, round(side * factor)) for side in picture.shape[:2])
    small = resize_picture(as_seen(picture), size)
    changes = small // 4
    changes[resize_labels(np.uint8(before != after), size) == 1] = 255
    panels = {
        "picture": small,
        "network": overlay(small, resize_labels(before, size), classes),
        "dense CRF": overlay(small, resize_labels(after, size), classes),
        f"changed: {(before != after).mean():.1%}": changes,
    }
    texts, pictures = [], []
    for column, (word, panel) in enumerate(panels.items()):
        left = MARGIN + column * (width + MARGIN)
        texts.append(Text(MARGIN, left, shorten(word, width), colour=FAINT_INK))
        pictures.append((MARGIN + LINE, left, panel))
    right = MARGIN + len(panels) * (width + MARGIN)
    top = 2 * MARGIN + LINE + height
    boxes, lines, bottom = legend(classes, range(len(classes)), top, right)
    write_page(path, (bottom, right), pictures, [*texts, *lines], boxes)


def main() -> None:
    """Read the command line and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture", type=Path, metavar="PICTURE")
    parser.add_argument("weights", metavar="WEIGHTS", help="a path, or a name in weights/")
    parser.add_argument("--out", type=Path, default=Path("crf.png"), help="the figure")
    args = parser.parse_args()
    refuse_replacing([args.out], [args.picture, Path(args.weights)], "name another file with --out")
    import_keras()
    from engine.weights import find_weights, load_weights, read_network, read_reading
    from evaluation import answer, answering, segment_batch
    from fast.folding import fold

    weights = find_weights(args.weights, Path())
    network, reading = read_network(weights), read_reading(weights)
    model, channels = network.build(), network.input_shape[2]
    load_weights(model, weights)
    picture = read_picture(args.picture, scale=reading.scale, turn=reading.turn, channels=channels)
    ask = partial(answer, fold(answering(model)))
    segment_batch(ask, [picture])  # the first answer compiles
    starts = [time.perf_counter()]
    [before] = segment_batch(ask, [picture])
    starts.append(time.perf_counter())
    [after] = segment_batch(partial(refined, ask), [picture])
    alone, both = np.diff([*starts, time.perf_counter()])
    draw_crf(args.out, picture, before, after, network.classes)
    print(f"{args.out}; the answer took {alone:.2f} s, the CRF {both - alone:.1f} s")


if __name__ == "__main__":
    run_main(main)
