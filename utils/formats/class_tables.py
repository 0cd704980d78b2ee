"""Tables of classes that come with masks of other programs: names, colours, and values of masks.

A table is read where there is no `classes.json` yet, which is then made of it.
"""

import csv
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from utils.classes import FILE_NAME, VOC_COLOURS, VOID, Classes
from utils.errors import UserError
from utils.files import open_ordinary, read_json
from utils.formats.cityscapes import TRAINED
from utils.formats.mask_layouts import CITYSCAPES, cityscapes, data_root, home_of, voc_names
from utils.reading import Reading

# What tables call pixels of no class: CamVid's "Void", LabelMe's "__ignore__", and Cityscapes'.
VOIDS = {"void", "ignore", "ignored", "__ignore__", "unlabeled", "unlabelled"}
# What is void where it has the value 255; with another it is a class like any other.
VAGUE = {"border", "boundary", "don't care", "dontcare", "edge", "undefined", "unknown"}
BACKGROUNDS = {"background", "_background_", "__background__"}  # LabelMe's has the underscores
LARGEST = 100_000  # bytes of a table; less than `csv` allows in a field
VIA = re.compile(rb'\s*\{\s*"(_via_[a-z_]+|region|file)"')  # what VIA's files begin with

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        name: of the class.
        colour: that it has in masks; None when the table has none.
        value: that it has in masks; None when the table tells only colours.
    """

    name: str
    colour: Colour | None = None
    value: int | None = None


@dataclass(frozen=True)
class Table:
    """Classes and how masks show them.

    Attributes:
        path: of the file, or the folder of a data set whose classes are known.
        name: of the file or the data set.
        classes: background first, else in the order of the table, without void.
        reading: values and colours of void, and values of the classes where they have gaps.
        void: the names of void.
        has_values: whether masks of class ids can be read by it: the table has values, or its rows
            stand in the order of the classes.
    """

    path: Path
    name: str
    classes: Classes
    reading: Reading = Reading()
    void: tuple[str, ...] = ()
    has_values: bool = True


def find_table(source: Path | str) -> Table | None:
    """The table in a folder of masks (or of a list's masks), else one folder up, else None.

    Cityscapes and PASCAL VOC, known by their files, need none.

    Raises:
        UserError: a table is damaged, or two in one folder differ.
    """
    home = home_of(source).resolve()
    if cityscapes(home):
        return cityscapes_table(home)
    for folder in (home, home.parent):
        tables = [read_table(folder / name) for name in TABLES if (folder / name).is_file()]
        tables += [table for path in sorted(folder.glob("*.json")) if (table := _of_via(path))]
        for other in tables[1:]:
            if (other.classes, other.reading) != (tables[0].classes, tables[0].reading):
                raise UserError(
                    f"{tables[0].path} and {other.path.name} tell different classes; keep the one "
                    "that the masks belong to."
                )
        if tables:
            return tables[0]
    root = data_root(source) or home.parent
    names = voc_names(root)
    return (
        Table(root, "PASCAL VOC", Classes(tuple(names), VOC_COLOURS(len(names)))) if names else None
    )


def read_table(path: Path) -> Table:
    """Read a table of one of the `TABLES`.

    Raises:
        UserError: it is no text, or a line is not as its format has it; names the line.
    """
    try:
        with open_ordinary(path) as file:
            text = file.read(LARGEST + 1).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as text ({error}); save it as UTF-8.") from error
    if len(text) > LARGEST:
        raise UserError(f"{path} is too large for a table of classes; take it away.")
    form, read = TABLES[path.name]
    rows = []
    for number, cells in read(text.splitlines()):
        try:
            if len(cells) != 5 or not cells[0].strip():
                raise ValueError(f"it is not {form}")
            name, *colour, value = map(str.strip, cells)
            colour = tuple(map(_byte, colour)) if any(colour) else None
            rows.append(Row(name, colour, _byte(value) if value else None))
        except ValueError as error:
            raise UserError(f"{path}, line {number}: {error}; correct it.") from error
    return _table(path, rows)


def _byte(text: str) -> int:
    if not re.fullmatch("[0-9]{1,3}", text) or int(text) > 255:
        raise ValueError(f"{text!r} is not a whole number from 0 to 255")
    return int(text)


def _table(path: Path, rows: list[Row]) -> Table:
    """Rows as a table: background first, void set apart."""
    valued = all(row.value is not None for row in rows)
    if not valued and not any(row.colour for row in rows):  # those of VOC, by datumaro's code
        standard = VOC_COLOURS(len(rows))
        rows = [replace(row, colour=standard[number]) for number, row in enumerate(rows)]
    bare = [row.name for row in rows if row.colour is None and not valued]
    if bare:
        raise UserError(f"{path} has no colour for {bare[0]!r}, but for others; give it one.")
    of_255 = VOIDS | VAGUE
    void = [r for r in rows if r.name.casefold() in (of_255 if r.value == VOID else VOIDS)]
    kept = [row for row in rows if row not in void]
    order = sorted(kept, key=lambda row: row.name.casefold() not in BACKGROUNDS)
    if valued:
        order.sort(key=lambda row: row.value)
        if order and 0 not in {row.value for row in rows}:
            order.insert(0, Row("background", None, 0))
    values = tuple(row.value for row in order) if valued else ()
    names = tuple(row.name for row in order)
    try:
        if valued:
            classes = Classes(names, VOC_COLOURS(len(names)))
        else:
            classes = Classes(names, tuple(row.colour for row in order))
        if shared := {row.colour for row in void} & {*classes.colours} - {None}:
            raise ValueError(f"the colour {min(shared)} is that of a class and of void")
        reading = Reading(
            ids=values if values != tuple(range(len(values))) else (),
            void=tuple(row.value for row in void if valued and row.value != VOID),
            void_colours=tuple(f"#{bytes(row.colour).hex()}" for row in void if row.colour),
        )
    except ValueError as error:
        raise UserError(f"{path} does not describe classes ({error}); correct it.") from error
    in_order = valued or order == rows
    return Table(path, path.name, classes, reading, tuple(row.name for row in void), in_order)


# The formats. Each gives the number of a line and its name, red, green, blue and value, of which
# those that the format has not are "" ; a line that is not as it should be has fewer.

Lines = Iterator[tuple[int, list[str]]]


def _class_dict(lines: list[str]) -> Lines:
    """Of Kaggle's CamVid and DeepGlobe."""
    for number, cells in _after(["name", "r", "g", "b"], lines):
        yield number, [*cells[:4], ""]


def _pixel_values(lines: list[str]) -> Lines:
    """Of Roboflow's export "Semantic Segmentation Masks"."""
    for number, cells in _after(["pixel value", "class"], lines):
        yield number, [cells[1], "", "", "", cells[0]] if len(cells) > 1 else []


def _after(header: list[str], lines: list[str]) -> Lines:
    """The rows of a CSV behind its header; the header itself, as nothing, where it is another.

    Where the comma is for decimals, Excel saves semicolons.
    """
    reader = csv.reader(lines, delimiter=";" if lines and ";" in lines[0] else ",")
    if [cell.strip().casefold() for cell in next(reader, [])][: len(header)] != header:
        yield 1, []
    for cells in reader:
        if any(cell.strip() for cell in cells):
            yield reader.line_num, cells


def _labelmap(lines: list[str]) -> Lines:
    """Of CVAT's masks and datumaro's VOC: plugins/data_formats/voc/format.py, `parse_label_map`."""
    for number, line in enumerate(lines, start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            name, colour, *_ = [*line.split(":"), ""]
            yield number, [name, *(colour.split(",") if colour.strip() else ["", "", ""]), ""]


def _label_colors(lines: list[str]) -> Lines:
    """Of CamVid."""
    for number, line in enumerate(lines, start=1):
        if cells := line.split(None, 3):
            yield number, [*cells[3:], *cells[:3], ""]


VALUES_ALONE = "_classes.csv"  # tells no colours
TABLES: dict[str, tuple[str, Callable[[list[str]], Lines]]] = {
    "class_dict.csv": ("name,r,g,b", _class_dict),
    VALUES_ALONE: ("Pixel Value, Class", _pixel_values),
    "labelmap.txt": ("label:r,g,b:parts:actions", _labelmap),
    "label_colors.txt": ("r g b name", _label_colors),
}


def _of_via(path: Path) -> Table | None:
    """The classes of a VIA project, or of its attributes, whose options are numbered; else None.

    With `{"1": "bottle", "5": "can"}` the values of masks are 1 and 5.
    """
    try:
        with open_ordinary(path) as file:
            begin = file.read(200)
        content = read_json(path) if VIA.match(begin) else None
    except (OSError, ValueError):
        return None
    content = content.get("_via_attributes", content) if isinstance(content, dict) else {}
    attributes = content.get("region") if isinstance(content, dict) else None
    found = []
    for attribute in attributes.values() if isinstance(attributes, dict) else ():
        options = attribute.get("options") if isinstance(attribute, dict) else None
        if isinstance(options, dict) and options and _are_numbered(options):
            values = sorted((int(value), name) for value, name in options.items())
            found.append([Row(name.strip(), None, value) for value, name in values])
    if len(found) > 1:
        raise UserError(
            f"{path} has {len(found)} attributes with numbered options; write a {FILE_NAME} beside "
            "it with the classes of the masks."
        )
    return _table(path, found[0]) if found else None


def _are_numbered(options: dict) -> bool:
    return all(re.fullmatch("[0-9]{1,3}", value) and int(value) < 256 for value in options) and all(
        isinstance(name, str) and name.strip() for name in options.values()
    )


# Cityscapes: the ids of the labels that are trained on, by trainId.
# Source: cityscapesscripts/helpers/labels.py of github.com/mcordts/cityscapesScripts.
_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
_ALL = range(34)


def cityscapes_table(folder: Path) -> Table:
    """The classes of Cityscapes that are trained on; all other ids are void."""
    classes = Classes(tuple(TRAINED), tuple(TRAINED.values()))
    reading = Reading(masks="ids")
    if next(iter(cityscapes(folder))).stem.endswith("_" + CITYSCAPES[0]):
        void = tuple(index for index in _ALL if index not in _IDS)
        reading = Reading(masks="ids", ids=_IDS, void=void)
    return Table(folder, "Cityscapes", classes, reading)


def refuse_other_ids(folder: Path, classes: Classes, reading: Reading, source: Path) -> None:
    """Refuse masks of Cityscapes whose values are other ids than those of the set before.

    Raises:
        UserError: one has labelIds, the other labelTrainIds.
    """
    if not cityscapes(folder):
        return
    table = cityscapes_table(folder)
    if classes.names == table.classes.names and reading.ids != table.reading.ids:
        kind = CITYSCAPES[not table.reading.ids]
        raise UserError(
            f"the masks in {folder} are *_{kind}.png, those that {source} was made for are "
            f"*_{CITYSCAPES[bool(table.reading.ids)]}.png; use one kind for all sets."
        )
