"""Annotations of the VGG Image Annotator (VIA), in every form that it saves.

- VIA 2 project: a JSON object with `_via_img_metadata`; what the chapter uses (section 4).
- VIA 2 annotation export: that inner object alone, `regions` a list.
- VIA 1 export: the same with `regions` an object keyed "0", "1", ...
- CSV of VIA 1 and 2: a row per region, the last columns holding JSON.

VIA, Dutta and Zisserman, "The VIA Annotation Software for Images, Audio and Video", 2019.
"""

import csv
import io
import math
from collections import Counter
from pathlib import Path

from utils.errors import UserError
from utils.formats.annotations import SHAPES, Annotation, Project, Region
from utils.json_text import parse_json

COLUMNS = ("filename", "file_size", "region_count", "region_shape_attributes", "region_attributes")
LISTS = ("dropdown", "radio", "checkbox")  # types of attributes that have options
EXPORT = "in VIA choose Annotation, Export Annotations"


def read_via(path: Path, text: str, content: object) -> Project:
    """Read an annotation file of any of VIA's forms; the form is found from the content.

    Args:
        path: of the file, for messages.
        text: that it holds.
        content: of its JSON; None where it is no JSON.

    Raises:
        UserError: it is of none of the forms, or lacks something; names the file, the place in it
            and what was expected.
    """
    return Project(_from_csv(path, text)) if content is None else _from_json(path, content)


def _from_json(path: Path, content: object) -> Project:
    """What any of the JSON forms holds."""
    if isinstance(content, dict) and "_via_img_metadata" in content:
        entries, place = content["_via_img_metadata"], f"{path}: _via_img_metadata"
    else:
        entries, place = content, str(path)
    if not isinstance(entries, dict):
        raise UserError(f"{place} is not an object of pictures, as VIA writes it; {EXPORT}.")
    annotations = [_entry(entry, f"{place}[{_shown(key)}]") for key, entry in entries.items()]
    return Project(annotations, _options(content) if entries is not content else {})


def _options(project: dict) -> dict[str, dict[str, str]]:
    """The options of a VIA 2 project's region attributes; what is not as VIA writes it is no list.

    The options that new regions begin with (`default_options`) say nothing: VIA has written them
    into the regions that have them.
    """
    found = {}
    attributes = project.get("_via_attributes")
    regions = attributes.get("region") if isinstance(attributes, dict) else None
    for name, about in regions.items() if isinstance(regions, dict) else ():
        options = about.get("options") if isinstance(about, dict) else None
        if isinstance(options, dict) and about.get("type") in LISTS:
            texts = {key.strip(): text for key, text in options.items() if key.strip()}
            found[name] = {k: t.strip() if isinstance(t, str) else "" for k, t in texts.items()}
    return found


def _entry(entry: object, place: str) -> Annotation:
    """One picture of the JSON forms."""
    if not isinstance(entry, dict) or not {"filename", "regions"} <= entry.keys():
        raise UserError(f"{place} is not a picture with 'filename' and 'regions'; {EXPORT}.")
    if not isinstance(entry["filename"], str):
        raise UserError(
            f"{place}['filename'] is {_shown(entry['filename'])}, not a text; {EXPORT}."
        )
    regions = entry["regions"]
    if isinstance(regions, dict):
        regions = list(regions.values())
    if not isinstance(regions, list):
        raise UserError(f"{place}['regions'] is neither a list nor an object; {EXPORT}.")
    return Annotation(
        entry["filename"].replace("\\", "/"),
        _file_size(entry.get("size")),
        tuple(_region(region, f"{place}['regions'][{i}]") for i, region in enumerate(regions)),
    )


def _region(region: object, place: str) -> Region:
    """One region of the JSON forms."""
    if not isinstance(region, dict) or not isinstance(region.get("shape_attributes"), dict):
        raise UserError(f"{place} has no object 'shape_attributes'; {EXPORT}.")
    attributes = region.get("region_attributes") or {}
    if not isinstance(attributes, dict):
        raise UserError(f"{place}['region_attributes'] is not an object; {EXPORT}.")
    shape, numbers = _shape(region["shape_attributes"], f"{place}['shape_attributes']")
    return Region(shape, numbers, attributes)


def _shape(attributes: dict, place: str) -> tuple[str, dict[str, float | tuple[float, ...]]]:
    """Name and numbers of a shape, checked."""
    shape = str(attributes.get("name")).lower()
    if shape not in SHAPES:
        raise UserError(
            f"{place}['name'] is {_shown(attributes.get('name'))}, not one of {', '.join(SHAPES)}; "
            "draw the region anew."
        )
    numbers = {}
    for name in (*SHAPES[shape], *(["theta"] if "theta" in attributes else [])):
        if name not in attributes:
            raise UserError(f"{place} of a {shape} lacks {name!r}; draw the region anew.")
        value = attributes[name]
        expected = list if name.startswith("all_points") else (int, float, str)
        try:
            if not isinstance(value, expected):
                raise ValueError
            numbers[name] = tuple(map(_finite, value)) if expected is list else _finite(value)
        except (ValueError, TypeError, OverflowError) as error:
            kind = "a list of numbers" if expected is list else "a number"
            raise UserError(
                f"{place}[{name!r}] is {_shown(value)}, not {kind}; draw the region anew."
            ) from error
    if shape in ("polygon", "polyline"):
        across, down = len(numbers["all_points_x"]), len(numbers["all_points_y"])
        if across != down:
            raise UserError(
                f"{place} has {across} values in all_points_x but {down} in all_points_y; "
                "draw the region anew."
            )
    return shape, numbers


def _from_csv(path: Path, text: str) -> list[Annotation]:
    """Annotations from VIA's CSV; rows of one picture belong together wherever they stand."""
    pictures: dict[tuple[str, int | None], list[Region]] = {}
    # A cell may hold an outline of any length; the limit is that of the process.
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    try:
        # Where the comma is for decimals, Excel saves semicolons.
        delimiter = ";" if ";" in text.partition("\n")[0] else ","
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
        # VIA 1 begins its header with '#', and some of its versions put blanks after commas.
        reader.fieldnames = [name.strip(" #") for name in reader.fieldnames or []]
        missing = [name for name in COLUMNS if name not in reader.fieldnames]
        if missing:
            raise UserError(
                f"{path} is neither VIA's JSON nor its CSV (the header lacks "
                f"{', '.join(missing)}); {EXPORT}."
            )
        twice = [name for name, count in Counter(reader.fieldnames).items() if count > 1]
        if twice:
            raise UserError(f"{path}: the header has {twice[0]!r} twice; {EXPORT} again.")
        for row in reader:
            place = f"{path}, line {reader.line_num}"
            if None in row or None in row.values():  # what is where can only be guessed
                raise UserError(
                    f"{place}: the row has more or fewer cells than the header; {EXPORT} again."
                )
            if not row["filename"]:
                raise UserError(f"{place}: 'filename' is empty; {EXPORT} again.")
            key = (row["filename"].replace("\\", "/"), _file_size(row["file_size"]))
            regions = pictures.setdefault(key, [])
            shape = _cell(row, "region_shape_attributes", place)
            if shape:  # the row of a picture without regions holds {}
                shape = _shape(shape, f"{place}: region_shape_attributes")
                regions.append(Region(*shape, _cell(row, "region_attributes", place)))
    except csv.Error as error:
        raise UserError(f"{path} is not VIA's CSV ({error}); {EXPORT} again.") from error
    return [Annotation(name, size, tuple(rows)) for (name, size), rows in pictures.items()]


def _cell(row: dict[str, str | None], column: str, place: str) -> dict:
    """The JSON object in a cell of the CSV."""
    try:
        content = parse_json(row[column] or "{}")
    except ValueError as error:
        raise UserError(
            f"{place}: {column} is {_shown(row[column])}, not whole JSON ({error}); {EXPORT} again."
        ) from error
    if not isinstance(content, dict):
        raise UserError(
            f"{place}: {column} is {_shown(row[column])}, not a JSON object; {EXPORT} again."
        )
    return content


def _shown(value: object) -> str:
    """A value as a message has it, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _finite(value: object) -> float:
    """A coordinate as a float; raises `ValueError` when it is not a finite number."""
    number = float(value)
    if isinstance(value, bool) or not math.isfinite(number):
        raise ValueError
    return number


def _file_size(value: object) -> int | None:
    """VIA's `size` in bytes; -1, empty or absent means unknown."""
    try:
        size = int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return size if size >= 0 else None
