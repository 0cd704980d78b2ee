"""A table of areas: what share of each picture each class covers, and every object by itself."""

import argparse
import csv
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

from utils.classes import VOID, Classes
from utils.files import replace_whole

if TYPE_CHECKING:
    import numpy as np

# NumPy takes long to import, and the command line needs `parse_pixel_size`.

COLUMNS = (
    "picture",
    "class",
    "object",
    "objects",
    "pixels",
    "share",
    "area",
    "confidence",
    "left",
    "top",
    "width",
    "height",
    "x",
    "y",
)
UNITS = ("nm", "um", "mm", "cm", "dm", "m", "km", "in", "ft")
MICRO = "µμ"  # the micro sign and the Greek letter, for which units have u
LEAST, MOST = 1e-9, 1e9  # of a unit; squares beyond could become 0 or infinite
# What a cell begins with that spreadsheets take for a formula, or pass over and then do: OWASP,
# "CSV Injection", owasp.org/www-community/attacks/CSV_Injection.
FORMULA = tuple("=+-@\t\r\n＝＋－＠")


def parse_pixel_size(text: str) -> tuple[float, str]:
    """Type of an option: the side of a pixel, such as 0.25um, "0.5 m" or 0.3.

    Returns:
        The number, and its unit, one of `UNITS` or "".

    Raises:
        argparse.ArgumentTypeError: it is no such length.
    """
    number, unit = re.fullmatch(r"\s*([-+.0-9eE]*)\s*(.*?)\s*", text, re.DOTALL).groups()
    for letter in MICRO:
        unit = unit.replace(letter, "u")
    try:
        size = float(number)
    except ValueError:
        size = math.nan
    if not LEAST <= size <= MOST or unit not in ("", *UNITS):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a length such as 0.25um or 0.3, from {LEAST:g} to {MOST:g}, in no "
            f"unit or in {', '.join(UNITS)}"
        )
    return size, unit


def rows_of(
    name: str,
    labels: "np.ndarray",
    classes: Classes,
    confidence: "np.ndarray | None" = None,
    pixel_size: float | None = None,
) -> list[dict[str, object]]:
    """The rows of one picture: of each class, and below it of each of its objects.

    A row of a class has no "object", and how many there are in "objects"; the background, which
    has none, has neither. A row of an object has its number from 1 within its class, the largest
    first, its box from "left" to "height" in pixels, and its centroid "x" and "y", whole at the
    centre of a pixel. "share" is that of the pixels of the picture that are not void, "area"
    `pixels * pixel_size**2`, "confidence" the mean over its pixels. What there is not is None.

    Args:
        name: of the picture.
        labels: (H, W) uint8 class ids, 255 is void.
        classes: of the labels; each gets a row, should the picture have none of it.
        confidence: (H, W) float, probability of the class of each pixel.
        pixel_size: side of a pixel, in any unit.

    Raises:
        ValueError: as `objects.objects_of`, or a label is of no class.
    """

    from utils.objects import Found, counts_of, objects_of, sums_of

    objects = defaultdict(list)
    for found in objects_of(labels, confidence):
        objects[found.class_id].append(found)
    counts = counts_of(labels, VOID + 1).tolist()
    if any(counts[len(classes) : VOID]):
        raise ValueError(f"a label is of none of the {len(classes)} classes")
    sums = sums_of(labels, confidence).tolist() if confidence is not None else None
    known = labels.size - counts[VOID]

    def row_of_object(number: int, found: Found) -> dict[str, object]:
        place = dict(zip(("left", "top", "width", "height"), found.box, strict=True))
        x, y = (round(value, 2) for value in found.centroid)
        measures = _measured(found.pixels, known, found.confidence, pixel_size)
        return {"object": number} | measures | place | {"x": x, "y": y}

    rows = []
    for index, row in enumerate(class_rows(name, classes, counts, sums, pixel_size)):
        own = [row_of_object(number, found) for number, found in enumerate(objects[index], 1)]
        rows.append(row | {"objects": len(own) if index else None})
        rows += [
            dict.fromkeys(COLUMNS) | {k: row[k] for k in ("picture", "class")} | o for o in own
        ]
    return rows


def class_rows(
    name: str,
    classes: Classes,
    counts: Sequence[int],
    sums: Sequence[float] | None,
    pixel_size: float | None = None,
) -> list[dict[str, object]]:
    """The rows of the classes of a picture alone, of which no objects are known; see `rows_of`.

    Args:
        counts: pixels by class id.
        sums: confidence, added up over the pixels of each class.
    """
    known, rows = sum(counts[: len(classes)]), []
    for index, title in enumerate(classes.names):
        mean = sums[index] / counts[index] if sums and counts[index] else None
        row = dict.fromkeys(COLUMNS) | {"picture": name, "class": title}
        rows.append(row | _measured(counts[index], known, mean, pixel_size))
    return rows


def _measured(
    pixels: int, known: int, mean: float | None, pixel_size: float | None
) -> dict[str, object]:
    """What is told of a class as of an object, where `known` pixels are not void."""
    return {
        "pixels": pixels,
        "share": round(pixels / known, 6) if known else None,
        "area": None if pixel_size is None else float(f"{pixels * pixel_size**2:.10g}"),
        "confidence": None if mean is None else round(mean, 4),
    }


def write_areas(path: Path, rows: Iterable[dict[str, object]], unit: str = "") -> None:
    """Write the rows of any number of pictures as a CSV in UTF-8; what is None stays empty.

    Spreadsheets run a cell as a formula that begins with an equals sign or the like, and archives
    of strangers may hold files that are called so: such a picture is written as `./=name`, which
    is the same file, and a class with an apostrophe before it. Half a character (a lone surrogate),
    which names of files have that are not in UTF-8, stands as its escape, such as `\\udce9`.

    Args:
        path: of the file.
        rows: as `rows_of` gives them, in the order of the table.
        unit: of the side of a pixel; the column of areas is called "area_mm2" where it is "mm".

    Raises:
        UserError: the file cannot be written.
    """
    heading = f"area_{unit}2" if unit else "area"
    with (
        replace_whole(path) as unfinished,
        open(unfinished, "w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        # Python 3.11 quotes no characters but those that end its lines: with "\n" alone a name with
        # "\r" would not come back. It writes a row at once.
        whole = SimpleNamespace(write=lambda row: file.write(row.removesuffix("\r\n") + "\n"))
        writer = csv.writer(whole, lineterminator="\r\n")
        writer.writerow(heading if column == "area" else column for column in COLUMNS)
        for row in rows:
            texts = {"picture": _harmless(row["picture"], "./"), "class": _harmless(row["class"])}
            writer.writerow((row | texts)[column] for column in COLUMNS)


def _harmless(text: str, before: str = "'") -> str:
    """A text that no spreadsheet takes for a formula."""
    return before + text if text.startswith(FORMULA) else text
