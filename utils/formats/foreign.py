"""Formats of other programs that are not read: how their files are known, and what to do instead.

What holds outlines can be made into PNG masks, or into a format that is read (`projects.py`), by
the program that wrote it or by one that reads its format. The content tells, not a file's name.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from utils.errors import UserError
from utils.files import open_ordinary

MASKS = "give their folder as --masks of utils/generate_gt_segmentation.py"
PAIR = f"{MASKS} and the photographs' as --data-path"
COLOURS = f"{PAIR}, with a classes.json that has the name and the colour of each class"
BOXES = "boxes say nothing of outlines; trace the objects, in VIA for example"
LARGEST_LOOK = 200_000  # characters of a file that is no JSON


class Foreign(NamedTuple):
    """A format: its name, whether a text is of it, and what to do instead.

    The test is given the text, and its JSON content or None.
    """

    name: str
    test: Callable[[str, object], bool]
    cure: str


def _has(**kinds: type) -> Callable[[str, object], bool]:
    """A test for a JSON object with these keys and types of values."""
    return lambda text, content: (
        isinstance(content, dict) and all(isinstance(content.get(n), k) for n, k in kinds.items())
    )


def _list_of(*keys: str) -> Callable[[str, object], bool]:
    """A test for a JSON list whose first object has these keys."""
    return lambda text, content: (
        isinstance(content, list)
        and bool(content)
        and isinstance(content[0], dict)
        and content[0].keys() >= set(keys)
    )


def _xml(root: str, *within: str) -> Callable[[str, object], bool]:
    """A test for XML with this outermost element and all of these texts; nothing is parsed."""
    head = re.compile(rf"\s*(<\?xml[^>]*>\s*)?(?><!--.*?-->\s*)*+<{root}[\s>]", re.DOTALL)
    return lambda text, content: bool(head.match(text)) and all(part in text for part in within)


def _columns(*names: str) -> Callable[[str, object], bool]:
    """A test for a CSV whose header has these columns, in any letter case."""

    def test(text: str, content: object) -> bool:
        header = re.split(r"[,;\t]", text.lstrip().partition("\n")[0].casefold())
        return {name.casefold() for name in names} <= {cell.strip(' "\r') for cell in header}

    return test


def _yolo(least: int, most: int) -> Callable[[str, object], bool]:
    """A test for lines of a class id and `least` to `most` numbers from 0 to 1."""

    def test(text: str, content: object) -> bool:
        lines = [line.split() for line in text.splitlines() if line.strip()][:100]
        try:
            return bool(lines) and all(
                least <= len(line) - 1 <= most
                and line[0].isdecimal()
                and all(0 <= float(number) <= 1 for number in line[1:])
                for line in lines
            )
        except ValueError:
            return False

    return test


# The first whose test holds counts.
FOREIGN = (
    Foreign(
        "an export of Label Studio",
        lambda text, content: (
            _list_of("data", "annotations")(text, content)
            or _list_of("data", "completions")(text, content)
            or _list_of("image", "annotator")(text, content)
            or _list_of("image", "annotation_id")(text, content)
        ),
        f"export polygons as COCO, which is read, or brush labels as PNG and {PAIR}",
    ),
    Foreign(
        "an export of Labelbox",
        lambda text, content: (
            _list_of("data_row")(text, content)
            or _list_of("Labeled Data")(text, content)
            or _has(data_row=dict)(text, content)
        ),
        f"download its masks as PNG with Labelbox's SDK and {PAIR}",
    ),
    Foreign("in CreateML's format", _list_of("image", "annotations"), BOXES),
    Foreign(
        "in the format of BDD100K",
        _list_of("name", "labels"),
        f"BDD100K comes with PNG masks as well; {PAIR}",
    ),
    Foreign(
        "in Datumaro's format",
        _has(items=list, categories=dict),
        f"convert it with `datum convert -f voc_segmentation`; of its SegmentationClass {COLOURS}",
    ),
    Foreign(
        "a V7 Darwin file",
        _has(item=dict, annotations=list),
        f"export 'Semantic mask' from V7 and {COLOURS}",
    ),
    Foreign(
        "GeoJSON",
        lambda text, content: (
            isinstance(content, dict) and content.get("type") in ("FeatureCollection", "Feature")
        ),
        f"export label images from the program that wrote it (in QuPath by its script that exports "
        f"labelled images) and {PAIR}",
    ),
    Foreign(
        "in the XML of the online LabelMe",
        _xml("annotation", "<object>", "<polygon>"),
        "import it into CVAT as 'LabelMe 3.0' and export 'CVAT for images 1.1', which is read",
    ),
    Foreign(
        "in PASCAL VOC's XML",
        _xml("annotation", "<object>", "<bndbox>"),
        f"its {BOXES}; or where the data set has a folder SegmentationClass, {PAIR}",
    ),
    Foreign("of boxes in YOLO's format", _yolo(4, 5), BOXES),
    Foreign(
        "of outlines in YOLO's format",
        _yolo(6, 100_000),
        "name the folder of these files, which is read together with its pictures",
    ),
    Foreign("a table of boxes", _columns("xmin", "ymin", "xmax", "ymax"), BOXES),
    Foreign(
        "a table of run lengths",
        _columns("EncodedPixels"),
        f"write each mask as a PNG of class ids and {PAIR}",
    ),
)


def foreign_format(text: str) -> Foreign | None:
    """The format of a file's text when it is one of `FOREIGN`, else None."""
    content = None
    if text.lstrip().startswith(("{", "[")):
        try:
            content = json.loads(text)
        except (ValueError, RecursionError):
            content = _first_line(text)
    else:
        text = text[:LARGEST_LOOK]
    return next((known for known in FOREIGN if known.test(text, content)), None)


def refuse_foreign(path: Path, text: str) -> None:
    """Raise when the file `path` with this text is of a format that is known and not read.

    Raises:
        UserError: names the file, its format, and what to do instead.
    """
    known = foreign_format(text)
    if known:
        raise UserError(f"{path} is {known.name}, which is not read; {known.cure}.")


def refuse_foreign_folder(folder: Path) -> None:
    """Raise when a folder that was given for masks holds another program's annotation files.

    A folder with PNGs does so when each of the first few has an annotation file of its stem: these
    are photographs. A single file stands for all.

    Raises:
        UserError: as `refuse_foreign`.
    """
    kinds = (".json", ".xml", ".txt", ".csv", ".ndjson", ".jsonl")
    files = sorted(path for path in folder.glob("*") if path.suffix.lower() in kinds)
    stems = {path.stem for path in files}
    pngs = sorted(path for path in folder.glob("*") if path.suffix.lower() == ".png")
    if not all(path.stem in stems for path in pngs[:10]):
        return
    for path in files[:10]:  # the first may be a list of classes
        try:
            with open_ordinary(path) as file:
                text = file.read().decode("utf-8-sig")
        except (OSError, UnicodeDecodeError):
            continue
        refuse_foreign(path, text)


def _first_line(text: str) -> object:
    """The JSON content of the first line, where each line is an object of its own; else None."""
    try:
        return json.loads(text.lstrip().partition("\n")[0])
    except (ValueError, RecursionError):
        return None
