"""Answers to pictures of any size, in windows at the scale of training: `--tile`."""

import math
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from engine.weights import read_pixels
from evaluation import Answer
from tools.answer_files import OUTLINES, Wanted, about, draw, write_answer
from tools.sources import EACH, Source, Unreadable, of_input, printable
from tools.windows import in_windows
from utils.areas import class_rows
from utils.classes import Classes
from utils.errors import UserError
from utils.files import inside
from utils.reading import Reading
from utils.strips import open_rows, write_labels_by_rows

LARGE = 10**8  # pixels from which a picture is written in strips, and what is drawn is reduced
WIDEST = 2**17  # pixels: a row of windows as wide takes half a GB
DRAWN = 4096  # pixels of its longer side then


def windows_of(
    tile: str | float, size: tuple[int, int], weights: Path
) -> tuple[tuple[int, int], float] | None:
    """The windows in which pictures are shown to the network, for `Wanted.windows`.

    Args:
        tile: "none", "auto": as large as what it was trained on was shown, or pixels of the network
            for one of the picture.
        size: (H, W) of the network.
        weights: tell how large pictures of training were.

    Raises:
        UserError: the weights do not tell.
    """
    if tile == "none":
        return None
    if tile != "auto":
        return size, tile
    pixels = read_pixels(weights)
    if pixels is None:
        raise UserError(
            f"{weights} does not tell how large the pictures of its training were; give the scale, "
            "pixels of the network for one of the picture, such as --tile 0.5."
        )
    return size, math.sqrt(math.prod(size) / pixels)


def segment_in_windows(
    ask: Answer,
    classes: Classes,
    wanted: Wanted,
    reading: Reading,
    channels: int,
    source: Source,
) -> dict:
    """Segment a picture in windows, and write its files; return its record for the journal."""
    with of_input():
        picture = open_rows(
            source.path, source.page, channels, scale=reading.scale, turn=reading.turn
        )

    def rows(top: int, bottom: int) -> np.ndarray:
        with of_input():
            return picture.rows(top, bottom)

    height, width, _ = picture.shape
    size, scale = wanted.windows
    if max(height, width) * scale > WIDEST:
        raise Unreadable(
            f"{source.path} would be {max(height, width) * scale:.0f} pixels wide or high for the "
            f"network, and at most {WIDEST} are possible; give --tile a smaller scale."
        )
    strips = in_windows(lambda windows: ask(list(windows), size), picture.shape, rows, size, scale)
    if height * width > LARGE:
        return _write_in_strips(source, picture.shape, rows, strips, classes, wanted)
    labels = np.empty((height, width), np.uint8)
    confidence = np.empty((height, width), np.float32)
    keeps = "probabilities" in wanted.write
    whole = np.empty((height, width, len(classes)), np.float16) if keeps else None
    for top, probabilities in strips:
        part = slice(top, top + len(probabilities))
        labels[part], confidence[part] = probabilities.argmax(-1), probabilities.max(-1)
        if keeps:
            whole[part] = probabilities
    seen = rows(0, height) if {"overlay", "figure", "cutout"} & set(wanted.write) else None
    return write_answer(classes, wanted, source, seen, labels, confidence, whole)


def _write_in_strips(
    source: Source,
    shape: tuple[int, int, int],
    rows: Callable[[int, int], np.ndarray],
    strips: Iterable[tuple[int, np.ndarray]],
    classes: Classes,
    wanted: Wanted,
) -> dict:
    """As `write_answer`, of a picture that is too large to be held: its mask, areas of classes, and
    what is drawn of it, reduced.
    """
    height, width, _ = shape
    left_out = [kind for kind in wanted.write if kind in ("cutout", "probabilities", *OUTLINES)]
    left_out += ["objects in areas"] if "areas" in wanted.write else []
    left_out += ["--min-area"] if wanted.least else []
    if left_out:
        print(
            f"{printable(source.name)} has more than {LARGE // 10**6} megapixels: without "
            f"{', '.join(left_out)}",
            file=sys.stderr,
        )
    counts, sums = np.zeros(len(classes), np.int64), np.zeros(len(classes))
    step = -(-max(height, width) // DRAWN)
    picture = np.empty((-(-height // step), -(-width // step), shape[2]), np.uint8)  # reduced
    small = np.empty(picture.shape[:2], np.uint8)

    def labelled() -> Iterator[np.ndarray]:
        for top, probabilities in strips:
            labels = probabilities.argmax(-1).astype(np.uint8)
            sure = probabilities.max(-1)
            counts[:] += np.bincount(labels.ravel(), minlength=len(classes))
            sums[:] += np.bincount(labels.ravel(), sure.ravel(), minlength=len(classes))
            first = -top % step
            for row in range(top + first, top + len(labels), step):
                picture[row // step] = rows(row, row + 1)[0, ::step]
                small[row // step] = labels[row - top, ::step]
            yield labels

    if "mask" in wanted.write:
        path = inside(wanted.folder, source.name + EACH["mask"])
        write_labels_by_rows(path, (height, width), labelled(), classes)
    else:
        deque(labelled(), maxlen=0)
    drawn = [kind for kind in wanted.write if kind in ("overlay", "figure")]
    draw(source, picture, small, None, classes, replace(wanted, write=tuple(drawn)))
    doubt = 1 - sums.sum() / counts.sum()
    record = about(source, (height, width), counts / counts.sum(), doubt, wanted)
    if "areas" in wanted.write:
        side = wanted.pixel and wanted.pixel[0]
        record["rows"] = class_rows(source.name, classes, counts.tolist(), sums.tolist(), side)
    return record
