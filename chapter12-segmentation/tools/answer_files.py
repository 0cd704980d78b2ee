"""The files of an answer to a picture, and its record for the journal."""

import hashlib
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import NoneType

import numpy as np
from keras import ops

from evaluation import by_rows, class_ids
from tools.sources import EACH, OF_VIDEOS, Source, is_webcam
from utils.areas import COLUMNS, rows_of
from utils.classes import Classes
from utils.drawing import (
    as_seen,
    overlay,
    segmentation_figure,
    write_index_png,
    write_picture,
)
from utils.files import fingerprint, inside, replace_whole
from utils.formats.annotations import Region
from utils.journal import Journal
from utils.objects import counts_of, polygons_of, rings_of_objects, without_specks

# What of a record each is made from.
NUMBERS = {"polygon": ("all_points_x", "all_points_y"), "rings": ("rings",)}
MOST_PIXELS = 2 * 89_478_485  # of a picture that Pillow reads: twice its MAX_IMAGE_PIXELS
FARTHEST = 2**18  # pixels, of a corner
OUTLINES = {"polygons": "polygons", "labelme": "polygons", "coco": "rings"}
OF_PARTS = {"areas", *OUTLINES}  # with the confidence of each


@dataclass(frozen=True)
class Wanted:
    """What is to be written.

    Attributes:
        write: names of `EACH` and `OF_ALL`.
        folder: of the results.
        least: areas of fewer pixels are taken away, see `without_specks`; confidence stays that of
            what the network said.
        pixel: the side of a pixel and its unit, or None, see `utils.areas.parse_pixel_size`.
        uncertain: how many of the pictures of which the network is least sure are named.
        windows: (H, W) of windows in which pictures are shown to the network, and their scale,
            see `tools.windows`; None shows them whole.
    """

    write: tuple[str, ...]
    folder: Path
    least: int = 0
    pixel: tuple[float, str] | None = None
    uncertain: int = 0
    windows: tuple[tuple[int, int], float] | None = None


def results_of(source: Source, wanted: Wanted) -> list[Path]:
    """The files and folders that are written of one picture or video."""
    ends = OF_VIDEOS if source.moves else EACH
    return [inside(wanted.folder, source.name + ends[k]) for k in wanted.write if k in ends]


def class_and_confidence(
    probabilities: object, write: Iterable[str]
) -> tuple[np.ndarray, np.ndarray]:
    """The class of every pixel, and its probability; only these leave the device.

    Args:
        probabilities: (B, h, w, C), on the device.
        write: what is written, see `Wanted`.

    Returns:
        (B, h, w) uint8, and float32: (B, h, w) where what is written tells of parts of a picture,
        see `OF_PARTS`, else the mean of each picture, (B, 1, 1).
    """
    labels = by_rows(class_ids, probabilities)
    if not OF_PARTS.isdisjoint(write):
        return labels, by_rows(lambda part: ops.max(part, axis=-1), probabilities)
    means = ops.mean(ops.max(probabilities, axis=-1), axis=(1, 2), keepdims=True)
    return labels, ops.convert_to_numpy(means)


def write_answer(
    classes: Classes,
    wanted: Wanted,
    source: Source,
    picture: np.ndarray | None,
    labels: np.ndarray,
    confidence: np.ndarray,
    probabilities: np.ndarray | None,
) -> dict:
    """Write the files of a picture, None where nothing is drawn of it; return its record for the
    journal.
    """
    labels = without_specks(labels, wanted.least) if wanted.least else labels
    shares = counts_of(labels, len(classes)) / labels.size
    record = about(source, labels.shape, shares, 1 - confidence.mean(dtype=np.float64), wanted)
    draw(source, picture, labels, probabilities, classes, wanted)
    if "areas" in wanted.write:
        side = wanted.pixel and wanted.pixel[0]
        record["rows"] = rows_of(source.name, labels, classes, confidence, side)
    if {"polygons", "labelme"} & set(wanted.write):
        record["polygons"] = as_lists(polygons_of(labels, confidence))
    if "coco" in wanted.write:  # which holds holes
        record["rings"] = as_lists(rings_of_objects(labels, confidence))
    return record


def as_lists(pairs: Iterable[tuple[Region, int]]) -> list[list]:
    """Regions as JSON can have them: class id, shape, numbers and attributes of each."""

    def numbers(region: Region) -> dict[str, list]:
        return {n: [np.asarray(v).tolist() for v in values] for n, values in region.numbers.items()}

    return [
        [label, region.shape, numbers(region), dict(region.attributes)] for region, label in pairs
    ]


def about(source: Source, shape: tuple, shares: np.ndarray, doubt: float, wanted: Wanted) -> dict:
    """What every record has."""
    record = {"name": source.name, "stamp": stamp(source.path), "shape": shape}
    files = results_of(source, wanted)
    record["files"] = [path.relative_to(wanted.folder).as_posix() for path in files]
    record |= {"shares": [round(float(share), 6) for share in shares]}
    return record | {"doubt": round(float(doubt), 6)}


def draw(
    source: Source,
    picture: np.ndarray | None,
    labels: np.ndarray,
    probabilities: np.ndarray | None,
    classes: Classes,
    wanted: Wanted,
) -> None:
    """Write the files of a picture."""
    writers: dict[str, Callable[[Path], object]] = {
        "mask": lambda path: write_index_png(path, labels, classes),
        "overlay": lambda path: write_picture(path, overlay(picture, labels, classes)),
        "figure": lambda path: segmentation_figure(
            path, picture, labels, classes, title=source.name
        ),
        "cutout": lambda path: write_picture(path, cut_out(picture, labels)),
        "probabilities": lambda path: _save(path, probabilities),
    }
    for kind in wanted.write:
        if kind in EACH:
            writers[kind](inside(wanted.folder, source.name + EACH[kind]))


def record_of(journal: Journal, name: str, classes: Classes) -> dict:
    """The record of a picture; nothing where there is none that was written here.

    A journal may be a stranger's: what is not as `write_answer` makes it is not taken.
    """
    record = journal[name] if name in journal else {}
    try:
        height, width = record["shape"]
        place, size, moment = record["stamp"]
        numbers = [height, width, size, moment]
        fits = all(type(number) is int and number >= 0 for number in numbers)
        fits &= height * width <= MOST_PIXELS or not {"polygons", "rings"} & set(record)
        fits &= type(place) is str and type(record["doubt"]) in (int, float)
        fits &= all(type(each) is str for each in [*record["files"], *record["kinds"]])
        fits &= isinstance(record["wrote"], dict)
        for row in record.get("rows", ()):
            fits &= set(row) == set(COLUMNS)
            fits &= all(type(value) in (str, int, float, NoneType) for value in row.values())
        for region in (*record.get("polygons", ()), *record.get("rings", ())):
            label, shape, values, about = region
            fits &= type(label) is int and 0 <= label < len(classes)
            fits &= shape in ("polygon", "rings")
            fits &= set(values) == set(NUMBERS[shape])
            for each in values.values():
                flat = [n for ring in each for p in ring for n in p] if shape == "rings" else each
                fits &= all(type(n) in (int, float) and abs(n) <= FARTHEST for n in flat)
            fits &= all(type(text) is str for text in (*about, *about.values()))
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}
    return record if fits else {}


def stamp(path: Path) -> list:
    """By what an input is known again: place, size and time; a webcam never is."""
    if is_webcam(path):
        return [str(path), 0, time.time_ns()]
    status = os.stat(path)
    place = hashlib.sha256(os.fsencode(os.path.realpath(path))).hexdigest()[:16]
    return [place, status.st_size, status.st_mtime_ns]


def mark(path: Path) -> list | str:
    """By what a file or folder of results is known again."""
    try:
        if path.is_dir():
            return fingerprint(path, sorted(path.iterdir()))
        status = os.stat(path)
        return [status.st_size, status.st_mtime_ns]
    except OSError:
        return ""


def cut_out(picture: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The objects of a picture (h, w, C) on nothing: (h, w, 4) uint8, transparent elsewhere."""
    alpha = np.where(labels > 0, 255, 0).astype(np.uint8)
    return np.dstack([as_seen(picture), alpha])


def _save(path: Path, probabilities: np.ndarray) -> None:
    """As float16, half the size: its steps are below 0.0005."""
    with replace_whole(path) as unfinished, open(unfinished, "wb") as file:
        np.save(file, probabilities.astype(np.float16), allow_pickle=False)
