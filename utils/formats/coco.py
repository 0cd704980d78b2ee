"""Objects in COCO's format (cocodataset.org/#format-data): polygons and run lengths in JSON.

As its programs write it: Roboflow, CVAT, Label Studio and VIA each have a spelling of their own.
"""

import re
from pathlib import Path

import numpy as np
from PIL import ImageColor

from utils.classes import VOC_COLOURS, Classes
from utils.errors import UserError
from utils.formats.annotations import Annotation, Project, Region

BACKGROUND = ("background", "_background_")  # the latter by LabelMe's labelme2coco.py
LARGEST = 2**28  # pixels of a picture; Pillow opens none as large
MOST_PIXELS = 2**31  # of all bitmaps of a file, and as many bytes
EXPORT = "export it again"
OUTLINES = "trace the objects, in VIA for example, or delete what shall be background"
PANOPTIC = (
    "make masks of its PNGs with panoptic2semantic_segmentation.py --semantic_seg_folder of "
    "github.com/cocodataset/panopticapi, and give their folder as --masks of "
    "utils/generate_gt_segmentation.py"
)


def is_coco(text: str, content: object) -> bool:
    """Whether the content of a JSON file is of COCO's format, whatever it annotates."""
    return (
        isinstance(content, dict)
        and isinstance(content.get("images"), list)
        and bool({"annotations", "categories"} & content.keys())
    )


def read_coco(path: Path, text: str, content: dict) -> Project:
    """Read a file of objects.

    Crowds, and what is to be ignored, are void and lie below the other regions: an object that is
    traced within a crowd counts.

    Args:
        path: of the file, for messages.
        text: that it holds.
        content: of its JSON.

    Raises:
        UserError: it lacks something, refers to what it does not have, or holds no outlines.
    """
    annotations = _entries(content, "annotations", path)
    _refuse_others(annotations, path)
    ids = [_id(entry, "category_id", f"{path}: annotations[{i}]") for i, entry in annotations]
    names, classes, remarks = _classes(_entries(content, "categories", path), set(ids), path)
    pictures = _pictures(content, path)
    crowds = pixels = 0
    for (i, entry), category in zip(annotations, ids, strict=True):
        place = f"{path}: annotations[{i}]"
        key = _id(entry, "image_id", place)
        for wanted, known, what in ((key, pictures, "image"), (category, names, "category")):
            if wanted not in known:
                raise UserError(
                    f"{place}['{what}_id'] is {wanted!r:.60}, an id that no {what} has; {EXPORT}."
                )
        _, shape, below, above = pictures[key]
        void = any([_flag(entry, name, place) for name in ("iscrowd", "ignore")])
        crowds += void
        outlines = _outlines(entry["segmentation"], shape, place)
        regions = [Region(*each, {"class": names[category]}, void) for each in outlines]
        pixels += sum(r.numbers["bitmap"].size for r in regions if r.shape == "bitmap")
        if pixels > MOST_PIXELS:
            raise UserError(f"{place} is beyond {MOST_PIXELS:,} pixels of bitmaps; split the file.")
        (below if void else above).extend(regions)
    if crowds:
        remarks.append(f"crowds and what is to be ignored, which is void: {crowds} annotations")
    return Project(
        [Annotation(n, None, (*low, *top), shape) for n, shape, low, top in pictures.values()],
        classes=classes,
        remarks=tuple(remarks),
    )


def _entries(content: dict, name: str, path: Path) -> list[tuple[int, dict]]:
    """The objects of one of the lists of a file, numbered."""
    entries = content.get(name)
    if not isinstance(entries, list):
        raise UserError(
            f"{path} has no list {name!r}, by which COCO's files of objects go; name one that has."
        )
    for i, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise UserError(f"{path}: {name}[{i}] is {entry!r:.60}, not an object; {EXPORT}.")
    return list(enumerate(entries))


def _pictures(content: dict, path: Path) -> dict[str, tuple]:
    """By the ids of the pictures: name, (H, W), void regions and others, both empty yet."""
    pictures = {}
    for i, entry in _entries(content, "images", path):
        place = f"{path}: images[{i}]"
        key, name = _id(entry, "id", place), entry.get("file_name")
        if key in pictures:
            raise UserError(f"{place} has the id {key} of another picture; {EXPORT}.")
        if not isinstance(name, str) or not name:
            raise UserError(f"{place}['file_name'] is {name!r:.60}, not a text; {EXPORT}.")
        pictures[key] = (name.replace("\\", "/"), _shape(entry, place), [], [])
    return pictures


def _refuse_others(annotations: list[tuple[int, dict]], path: Path) -> None:
    """Refuse annotations of other kinds than outlines of objects."""
    bare = [i for i, entry in annotations if not _has_outline(entry.get("segmentation"))]
    for i, entry in annotations:
        if "segments_info" in entry:
            raise UserError(f"{path} is of COCO's panoptic format, which is not read; {PANOPTIC}.")
        if "caption" in entry:
            raise UserError(
                f"{path}: annotations[{i}] is a caption; name the file of objects of the same "
                "pictures, whose name begins with instances in COCO."
            )
        # Datumaro, by which CVAT exports, calls every mask that was painted a crowd: `is_crowd` in
        # https://github.com/cvat-ai/datumaro src/datumaro/plugins/data_formats/coco/exporter.py.
        # COCO's own files have no "attributes".
        painted = isinstance(entry.get("segmentation"), dict) and "attributes" in entry
        if entry.get("iscrowd") and painted:
            raise UserError(
                f"{path}: annotations[{i}] is a crowd by its 'iscrowd', as every painted mask is "
                "that CVAT exports so; export 'CVAT for images 1.1', or, if it is a crowd indeed, "
                "delete its 'attributes'."
            )
    if bare:
        points = all("keypoints" in annotations[i][1] for i in bare)
        raise UserError(
            f"{path}: {len(bare)} of {len(annotations)} annotations are "
            f"{'keypoints' if points else 'boxes'} without a 'segmentation', the first is "
            f"annotations[{bare[0]}]; {OUTLINES}."
        )


def _has_outline(segmentation: object) -> bool:
    """Whether a segmentation is there and not empty, as are [] and [[]]."""
    parts = segmentation if isinstance(segmentation, list) else [segmentation or []]
    return any(part != [] for part in parts)


def _flag(entry: dict, name: str, place: str) -> bool:
    """Whether 'iscrowd' or the like is 1; without it it is not."""
    value = entry.get(name) or 0
    if value not in (0, 1):
        raise UserError(f"{place}[{name!r}] is {value!r:.60}, not 0 or 1; {EXPORT}.")
    return value == 1


def _id(entry: dict, name: str, place: str) -> str:
    """An id as text: some programs write those of pictures as texts, or as 1.0."""
    value = entry.get(name)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise UserError(f"{place}[{name!r}] is {value!r:.60}, not a whole number; {EXPORT}.")
    return str(value).strip()


def _classes(
    categories: list[tuple[int, dict]], used: set[str], path: Path
) -> tuple[dict[str, str], Classes, list[str]]:
    """The names of the classes by the ids of their categories, the classes, and remarks.

    The background is called so; the others follow by their ids.
    """
    entries, remarks = {}, []
    for i, entry in categories:
        place = f"{path}: categories[{i}]"
        key, name = _id(entry, "id", place), entry.get("name")
        if key in entries:
            raise UserError(f"{place} has the id {key} of another category; {EXPORT}.")
        if not isinstance(name, str) or not name.strip():
            raise UserError(f"{place}['name'] is {name!r:.60}, not a text; name the category.")
        entries[key] = entry
    for key in [key for key in entries if key not in used and _is_root(entries, key)]:
        name = entries.pop(key)["name"]
        remarks.append(f"category {key} {name!r} is no class: all others are of it, and no object")

    def rank(key: str) -> tuple:
        background = entries[key]["name"].strip().casefold() in BACKGROUND
        number = int(key) if re.fullmatch("-?[0-9]{1,18}", key) else 10**18
        return not background, number, key

    order = sorted(entries, key=rank)
    names = {key: entries[key]["name"].strip() for key in order}
    colours = [_colour(entries[key].get("color")) for key in order]
    if order and not rank(order[0])[0]:
        names[order[0]] = "background"
        listed = list(names.values())
    else:
        listed, colours = ["background", *names.values()], [None, *colours]
    standard = VOC_COLOURS(len(listed))
    try:
        colours = [own or usual for own, usual in zip(colours, standard, strict=True)]
        return names, Classes(tuple(listed), tuple(colours)), remarks
    except ValueError as error:
        raise UserError(f"{path}: in its categories {error}; rename or merge them.") from error


def _is_root(entries: dict[str, dict], key: str) -> bool:
    """Whether a category is the one that Roboflow puts before the others.

    It is the supercategory of all others and itself of "none"; it may even have the name of one of
    them. Nothing is of it: https://github.com/roboflow/rf-detr/pull/1303.
    """
    name, others = entries[key]["name"], entries.keys() - {key}
    return (
        entries[key].get("supercategory") == "none"
        and bool(others)
        and all(entries[other].get("supercategory") == name for other in others)
    )


def _colour(value: object) -> tuple[int, int, int] | None:
    """The colour of a category: three numbers as in COCO's panoptic files, or "#ff0000"."""
    if isinstance(value, str) and re.fullmatch("#[0-9a-fA-F]{6}", value):
        return ImageColor.getrgb(value)
    three = isinstance(value, list) and len(value) == 3
    known = three and all(type(v) is int and 0 <= v <= 255 for v in value)
    return tuple(value) if known else None


def _shape(entry: dict, place: str) -> tuple[int, int] | None:
    """The (H, W) of a picture; None where it is not told."""
    size = (entry.get("height"), entry.get("width"))
    if size in ((None, None), (0, 0)):
        return None
    if not all(type(side) is int and 1 <= side <= LARGEST for side in size):
        raise UserError(
            f"{place} has the height {size[0]!r:.60} and the width {size[1]!r:.60}, not a number "
            f"of pixels; {EXPORT}."
        )
    return size


def _outlines(
    segmentation: object, shape: tuple[int, int] | None, place: str
) -> list[tuple[str, dict]]:
    """Shape and numbers of the regions of an object, whose union counts."""
    place += "['segmentation']"
    if isinstance(segmentation, dict):
        return [("bitmap", _bitmap(segmentation, shape, place))]
    if not isinstance(segmentation, list):
        raise UserError(f"{place} is {segmentation!r:.60}, neither polygons nor runs; {EXPORT}.")
    # VIA 2 has written the numbers of the polygon without a list around them.
    polygons = segmentation if isinstance(segmentation[0], list) else [segmentation]
    return [("rings", {"rings": (_ring(polygon, place),)}) for polygon in polygons if polygon]


def _ring(polygon: object, place: str) -> tuple[tuple[float, float], ...]:
    """The corners of a polygon [x, y, x, y, ...]."""
    numbers = isinstance(polygon, list) and all(type(v) in (int, float) for v in polygon)
    try:
        if not numbers or len(polygon) % 2 or not np.isfinite(np.array(polygon, float)).all():
            raise ValueError
    except (ValueError, OverflowError) as error:
        raise UserError(
            f"{place} has {polygon!r:.60}, not x and y of each corner; {EXPORT}."
        ) from error
    return tuple(zip(map(float, polygon[::2]), map(float, polygon[1::2]), strict=True))


def _bitmap(runs: dict, shape: tuple[int, int] | None, place: str) -> dict:
    """The numbers of a region "bitmap" from runs, by columns, of pixels outside and inside."""
    size, counts = runs.get("size"), runs.get("counts")
    whole = isinstance(size, list) and len(size) == 2 and all(type(v) is int for v in size)
    if not whole or min(size) < 1 or size[0] * size[1] > LARGEST or shape not in (None, (*size,)):
        height_width = "height and width" if shape is None else f"the picture's {list(shape)}"
        raise UserError(f"{place}['size'] is {size!r:.60}, not {height_width}; {EXPORT}.")
    height, width = size
    try:
        lengths = _run_lengths(counts) if isinstance(counts, str) else counts
        if not isinstance(lengths, list) or not all(type(n) is int and n >= 0 for n in lengths):
            raise ValueError
        if sum(lengths) != height * width:
            raise ValueError
    except ValueError as error:
        raise UserError(
            f"{place}['counts'] is {counts!r:.60}, not runs of {height} x {width} pixels; {EXPORT}."
        ) from error
    inside = np.arange(len(lengths)) % 2 == 1
    mask = np.repeat(inside, lengths).reshape(width, height).T
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    top, left = (int(each[0]) if len(each) else 0 for each in (rows, columns))
    bottom, right = (int(each[-1]) + 1 if len(each) else 0 for each in (rows, columns))
    return {"x": left, "y": top, "bitmap": mask[top:bottom, left:right].copy()}


def _run_lengths(text: str) -> list[int]:
    """The runs of a compressed text, `rleFrString` of COCO's common/maskApi.c.

    A number is five bits a letter, the lowest first; from the fourth on it is the difference to the
    one before the last. pycocotools 2.0.11 is not asked: of a text that ends too early it gives
    pixels of whatever lay in memory, and of a large size it ends the program.

    Raises:
        ValueError: the text holds other letters, ends within a number, or has one of over 60 bits.
    """
    lengths, number, bits = [], 0, 0
    for letter in text:
        value = ord(letter) - 48
        if not 0 <= value < 64 or bits > 60:
            raise ValueError
        number |= (value & 31) << bits
        bits += 5
        if value & 32:
            continue
        if value & 16:
            number -= 1 << bits
        lengths.append(number + (lengths[-2] if len(lengths) > 2 else 0))
        number = bits = 0
    if bits:
        raise ValueError
    return lengths
