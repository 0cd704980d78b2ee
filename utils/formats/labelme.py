"""Annotations of LabelMe (github.com/wkentaro/labelme): a JSON file for each picture.

Shapes cover what its own labelme/utils/shape.py makes of them. Programs that write LabelMe's files,
such as X-AnyLabeling, have shapes of their own besides.
"""

import base64
import io
import math
import os
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from utils.classes import FILE_NAME
from utils.errors import UserError
from utils.files import replace_whole
from utils.formats.annotations import Annotation, Project, Region, json_of
from utils.pictures import SUFFIXES

BACKGROUND, IGNORE = "_background_", "__ignore__"  # labels of labelme2voc.py
LINE_WIDTH = 10  # pixels, of `shape_to_mask` in labelme/utils/shape.py
FARTHEST = 10**6  # pixels; Pillow draws lines with whole numbers of 32 bits
LARGEST = 2**28  # pixels of a line's box; Pillow opens no picture as large
MOST_PIXELS = 2**31  # of all masks and lines of a file or a folder, and as many bytes
FIRST = 100  # files of a folder that are looked at
PICTURES = ("JPEG", "PNG", "BMP", "TIFF")  # that `extract_pictures` writes
# The points of each shape; a rectangle has its four corners in X-AnyLabeling.
POINTS = {
    "polygon": None,
    "rectangle": (2, 4),
    "oriented_rectangle": (4,),
    "rotation": (4,),  # of X-AnyLabeling
    "circle": (2,),
    "line": (2,),
    "linestrip": None,
    "point": (1,),
    "mask": (2,),
}
SAVE = "correct the file, or annotate its picture anew in LabelMe"


def is_labelme(text: str, content: object) -> bool:
    """Whether the content of a JSON file is of LabelMe."""
    return (
        isinstance(content, dict)
        and isinstance(content.get("shapes"), list)
        and bool({"imagePath", "imageData", "lineColor"} & content.keys())
    )


def is_labelme_folder(folder: Path) -> bool:
    """Whether one of the first JSON files of a folder is of LabelMe."""
    for path in _json_files(folder)[:FIRST]:
        try:
            if is_labelme("", json_of(path, SAVE)):
                return True
        except UserError:
            pass
    return False


def read_labelme(path: Path, text: str, content: dict) -> Project:
    """Read the file of one picture.

    Args:
        path: of the file.
        text: that it holds.
        content: of its JSON.

    Raises:
        UserError: a shape lacks something; names the file, the place in it and what was expected.
    """
    return Project([_annotation(path, content, 0)])


def read_labelme_folder(folder: Path) -> Project:
    """Read the files of a folder; JSON files of other programs are passed over with a remark.

    Raises:
        UserError: as `read_labelme`; a file is no JSON; or two are of one picture.
    """
    annotations, remarks, pixels, files = [], [], 0, {}
    for path in _json_files(folder):
        content = json_of(path, SAVE)
        if not is_labelme("", content):
            remarks.append(f"{path.name} is not of LabelMe and was passed over")
            continue
        annotation = _annotation(path, content, pixels)
        other = files.setdefault(annotation.file, path)
        if other != path:  # one of them was renamed, and its picture with it
            raise UserError(
                f"{path}: 'imagePath' is {content['imagePath']!r}, the picture of {other.name}; "
                "correct it, or delete one of the two files."
            )
        pixels += _pixels(annotation.regions)
        annotations.append(annotation)
    if below := sum(1 for _ in folder.glob("*/*.json")):
        remarks.append(f"JSON files in folders of {folder.name}, which are not read: {below}")
    return Project(annotations, remarks=tuple(remarks))


def extract_pictures(source: Path) -> list[Path]:
    """Write the pictures that LabelMe's files hold and that are not where these say.

    A picture is written beside its file, by the last part of its name, and never over another file.

    Args:
        source: a file of LabelMe, or a folder of them.

    Returns:
        The files that were written.

    Raises:
        UserError: a file is no JSON, what it holds is no picture, or cannot be written.
    """
    written = []
    for path in _json_files(source) if source.is_dir() else [source]:
        content = json_of(path, SAVE)
        data = content.get("imageData") if is_labelme("", content) else None
        if not data:
            continue
        name = _picture_name(path, content)
        picture = path.parent / name.rpartition("/")[2]
        if os.path.exists(path.parent / name) or os.path.lexists(picture):
            continue
        place = f"{path}: 'imageData'"
        if picture.suffix.lower() not in SUFFIXES:
            raise UserError(
                f"{path}: 'imagePath' {name!r:.60} does not end as a picture's; {SAVE}."
            )
        image = _decoded(data, place, PICTURES, f"put the picture {picture.name} beside it")
        shape = _shape(path, content)
        if shape not in (None, image.size[::-1]):
            raise UserError(
                f"{place} is a picture of {image.size[::-1]}, not of {shape} by 'imageHeight' and "
                f"'imageWidth'; {SAVE}."
            )
        with replace_whole(picture) as unfinished:
            unfinished.write_bytes(base64.b64decode(data))
        written.append(picture)
    return written


def _json_files(folder: Path) -> list[Path]:
    """The JSON files of a folder but for its classes."""
    files = (path for path in folder.iterdir() if path.suffix.lower() == ".json")
    return sorted(path for path in files if path.name != FILE_NAME)


def _annotation(path: Path, content: dict, pixels: int) -> Annotation:
    """The record of a file.

    Args:
        pixels: of the bitmaps of other files.
    """
    shape = _shape(path, content)
    regions = []
    for i, entry in enumerate(content["shapes"]):
        place = f"{path}: shapes[{i}]"
        regions.append(_region(entry, shape, place))
        pixels += _pixels(regions[-1:])
        if pixels > MOST_PIXELS:
            raise UserError(f"{place} is beyond {MOST_PIXELS:,} pixels of masks; split the data.")
    return Annotation(_picture_name(path, content), None, tuple(regions), shape)


def _pixels(regions: Iterable[Region]) -> int:
    """How many pixels bitmaps have."""
    return sum(r.numbers["bitmap"].size for r in regions if r.shape == "bitmap")


def _shape(path: Path, content: dict) -> tuple[int, int] | None:
    """The (H, W) of the picture; None where it is not told, as by old versions."""
    size = (content.get("imageHeight"), content.get("imageWidth"))
    if size == (None, None):
        return None
    if not all(type(side) is int and 1 <= side <= LARGEST for side in size):
        raise UserError(
            f"{path}: 'imageHeight' and 'imageWidth' are {size!r:.60}, not numbers of pixels; "
            f"{SAVE}."
        )
    return size


def _picture_name(path: Path, content: dict) -> str:
    """The picture's name as a path from the file's folder, with forward slashes.

    LabelMe is often told to write into a folder beside the pictures: the folder above may be named.
    From any other place outside the name itself is left.
    """
    name = content.get("imagePath")
    if not isinstance(name, str):
        raise UserError(f"{path}: 'imagePath' is {name!r:.60}, not a text; {SAVE}.")
    parts = [part for part in re.split(r"[/\\]", name) if part not in ("", ".")]
    if not parts or parts[-1] == ".." or "\0" in name or ":" in parts[-1]:
        raise UserError(f"{path}: 'imagePath' is {name!r:.60}, which names no file; {SAVE}.")
    outside = name[0] in "/\\" or ":" in parts[0] or ".." in parts[1:]
    return parts[-1] if outside else "/".join(parts)


def _region(entry: object, shape: tuple[int, int] | None, place: str) -> Region:
    """One shape of a file."""
    if not isinstance(entry, dict) or not isinstance(entry.get("label"), str):
        raise UserError(f"{place} is no object with a 'label' that is a text; {SAVE}.")
    kind = entry.get("shape_type") or "polygon"  # old versions drew nothing else
    if kind not in (*POINTS,):  # which may be of any type
        raise UserError(
            f"{place}['shape_type'] is {kind!r:.60}, not one of {', '.join(POINTS)}; delete the "
            "shape or draw it anew."
        )
    points = _points(entry, place)
    if POINTS[kind] and len(points) not in POINTS[kind]:
        raise UserError(
            f"{place}['points'] has {len(points)} points, a {kind} has "
            f"{' or '.join(map(str, POINTS[kind]))}; draw the shape anew."
        )
    if kind == "mask":
        outline = ("bitmap", _mask(entry, _cut(points), place))
    elif kind in ("line", "linestrip") and len(points) > 1:
        outline = ("bitmap", _line(points, shape, place))
    elif kind == "circle":
        (x, y), r = points[0], math.dist(*points)
        (left, top), (right, bottom) = _cut([(x - r, y - r), (x + r, y + r)])
        half = {"rx": (right - left) / 2, "ry": (bottom - top) / 2}
        outline = ("ellipse", {"cx": (left + right) / 2, "cy": (top + bottom) / 2} | half)
    elif kind == "point":
        outline = ("point", {"cx": points[0][0], "cy": points[0][1]})
    elif kind == "rectangle" and len(points) == 2:
        (x, right), (y, bottom) = (sorted(each) for each in zip(*_cut(points), strict=True))
        outline = ("rect", {"x": x, "y": y, "width": right - x, "height": bottom - y})
    else:
        xs, ys = zip(*_cut(points), strict=True)
        outline = ("polygon", {"all_points_x": xs, "all_points_y": ys})
    label = entry["label"]
    name = "background" if label == BACKGROUND else label
    return Region(*outline, {"class": name}, label == IGNORE)


def _cut(points: list[tuple[float, float]]) -> list[tuple[int, int]]:
    """The pixels that points lie in.

    LabelMe's numbers count from the corner of the picture, and Pillow, which draws its shapes, cuts
    off their fractions.
    """
    return [(int(x), int(y)) for x, y in points]


def _points(entry: dict, place: str) -> list[tuple[float, float]]:
    """The points [[x, y], ...] of a shape, at least one."""
    points = entry.get("points")
    try:
        pairs = [(float(x), float(y)) for x, y in points]
        numbers = all(type(v) in (int, float) for point in points for v in point)
        if not pairs or not numbers or not (np.abs(pairs) <= FARTHEST).all():
            raise ValueError
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(
            f"{place}['points'] is {points!r:.60}, not [x, y] of each point; draw the shape anew."
        ) from error
    return pairs


def _line(points: list[tuple[float, float]], shape: tuple[int, int] | None, place: str) -> dict:
    """The numbers of a region "bitmap" for a line, which LabelMe draws `LINE_WIDTH` pixels wide."""
    corners = np.array(points)
    low = np.maximum(np.floor(corners.min(axis=0)) - LINE_WIDTH, 0)
    high = np.ceil(corners.max(axis=0)) + LINE_WIDTH
    if shape:
        high = np.minimum(high, shape[::-1])
    width, height = np.maximum(high - low, 0)
    if width * height > LARGEST:
        raise UserError(f"{place} is a line from {points[0]} to {points[-1]}; draw it anew.")
    image = Image.new("1", (int(width), int(height)))
    if width and height:
        moved = [tuple(point) for point in (corners - low).tolist()]
        ImageDraw.Draw(image).line(moved, fill=1, width=LINE_WIDTH)
    return {"x": int(low[0]), "y": int(low[1]), "bitmap": np.array(image)}


def _mask(entry: dict, points: list[tuple[int, int]], place: str) -> dict:
    """The numbers of a region "bitmap" for a mask, a PNG in base64 that begins at the first point.

    The second is its last pixel, in files of other programs also the one behind it.
    """
    (left, top), (right, bottom) = points
    image = _decoded(entry.get("mask"), f"{place}['mask']", ("PNG",), "draw the shape anew")
    size = (right - left, bottom - top)
    if image.size not in (size, (size[0] + 1, size[1] + 1)):
        raise UserError(
            f"{place}['mask'] has {image.size[0]} x {image.size[1]} pixels, but {points} are its "
            "corner pixels; draw the shape anew."
        )
    if image.mode not in ("1", "L", "P"):
        raise UserError(f"{place}['mask'] is a picture with colours; draw the shape anew.")
    return {"x": left, "y": top, "bitmap": np.array(image).astype(bool)}


def _decoded(data: object, place: str, formats: tuple[str, ...], cure: str) -> Image.Image:
    """A picture in base64, decoded; the cure is what to do where it is none."""
    try:
        image = Image.open(io.BytesIO(base64.b64decode(data)), formats=formats)
        image.load()
    # Pillow does not say what its readers raise of damaged files.
    except Exception as error:
        known = not isinstance(error, Image.UnidentifiedImageError)
        reason = " ".join(str(error).split()) if known else "unknown"
        raise UserError(
            f"{place} is no {' or '.join(formats)} in base64 ({reason:.60}); {cure}."
        ) from error
    return image
