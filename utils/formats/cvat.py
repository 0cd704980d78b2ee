"""Annotations of CVAT, as its export "CVAT for images 1.1" writes them: XML with all pictures.

Coordinates count from the corner of the picture. What lies on top is told by `z_order`, and for
equal ones by the order in the file. Polylines are closed, as those of VIA are: annotators trace
objects with them by mistake. CVAT's own export of masks leaves polylines out.

The format: docs.cvat.ai, "XML annotation format"; what writes it is `dump_as_cvat_annotation` in
cvat/apps/dataset_manager/formats/cvat.py of CVAT.
"""

import math
import re
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from utils.classes import Classes
from utils.errors import UserError
from utils.formats.annotations import Annotation, Project, Region
from utils.formats.class_lists import hex_colour, with_background

EXPORT = "in CVAT export 'CVAT for images 1.1'"
# The outermost element, behind a declaration and comments; or the DOCTYPE, which is refused.
HEAD = re.compile(
    r"\s*(?:<\?xml[^>]*>\s*)?(?><!--.*?-->\s*)*+(?:<annotations[\s>]|<!DOCTYPE\s+annotations\b)",
    re.DOTALL,
)
NO_AREA = ("points", "skeleton", "cuboid")
MOST_PIXELS = 2**28  # of a mask: more than any photograph has
MOST_PIXELS_OF_ALL = 2**31  # of the masks of a file: they are kept in memory, a byte a pixel
FLATNESS = 0.01  # pixels that the sides of a polygon may lie within its ellipse
MOST_CORNERS = 1_000  # within 0.05 pixels of an ellipse of a radius of 10,000
FARTHEST = 10**9  # pixels; coordinates beyond it say nothing


def is_cvat(text: str, content: object) -> bool:
    """Whether a text is XML of CVAT, for images or for video; nothing is parsed."""
    return bool(
        content is None and HEAD.match(text) and re.search(r"<(?:image|track|meta|version)\b", text)
    )


def read_cvat(path: Path, text: str, content: object) -> Project:
    """Read an export "CVAT for images".

    Points, skeletons and cuboids, which have no outline, are left out with a remark; tags of whole
    pictures say nothing of pixels. Where an export is of a project, a picture is called by the
    folder of its subset and its name, as CVAT saves it.

    Args:
        path: of the file, for messages.
        text: that it holds.
        content: None, as it is no JSON.

    Raises:
        UserError: it is no whole XML, is "CVAT for video", defines entities, or something in it is
            not as CVAT writes it; names the file and the place in it.
    """
    # Entities may name each other, and a few lines so stand for gigabytes.
    if re.search(r"<!(?:DOCTYPE|ENTITY)", text, re.IGNORECASE):
        raise UserError(
            f"{path} has a DOCTYPE or an ENTITY, which CVAT never writes; delete it, or {EXPORT} "
            "again."
        )
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise UserError(f"{path} is not whole XML ({error}); {EXPORT} again.") from error
    if root.find("track") is not None:
        raise UserError(
            f"{path} is 'CVAT for video 1.1', whose tracks tell key frames alone; {EXPORT}, with "
            "images: it can be had of the same task and has every frame."
        )
    counts = Counter()
    annotations = [
        _annotation(image, f"{path}, image {number}", counts)
        for number, image in enumerate(root.iterfind("image"), start=1)
    ]
    remarks = [f"<{n}> has no outline, left out: {counts[n]}" for n in NO_AREA if counts[n]]
    if counts["polyline"]:
        remarks.append(f"<polyline>, closed like polygons: {counts['polyline']}")
    return Project(annotations, classes=_classes(root, path), remarks=tuple(remarks))


def _classes(root: ElementTree.Element, path: Path) -> Classes | None:
    """The labels of the task, project or job, with their colours; None where none are listed.

    Those with a <parent> are parts of a skeleton.
    """
    listed = [
        (label.findtext("name", ""), hex_colour(label.findtext("color")))
        for label in root.iterfind("meta//labels/label")
        if not label.findtext("parent")
    ]
    if not listed:
        return None
    try:
        return with_background(listed)
    except ValueError as error:
        raise UserError(
            f"{path}: its <labels> cannot be classes ({error}); rename or delete some in CVAT and "
            "export again."
        ) from error


def _annotation(image: ElementTree.Element, place: str, counts: Counter) -> Annotation:
    """One <image>; `counts` is of elements to remark on, by their tag, and of pixels of masks."""
    name = image.get("name")
    if not name:
        raise UserError(f"{place} has no name; {EXPORT} again.")
    place = f"{place} ({name!r})"
    size = None
    if image.get("width") is not None or image.get("height") is not None:
        size = (_whole(image, "height", place, 1), _whole(image, "width", place, 1))
    regions = []
    for number, element in enumerate(image, start=1):
        kind, where = element.tag, f"{place}: <{element.tag}>, element {number}"
        if kind == "tag":
            continue
        if kind in NO_AREA or kind == "polyline":
            counts[kind] += 1
        if kind in NO_AREA:
            continue
        if kind not in SHAPES:
            raise UserError(f"{where} is none that CVAT's export has; {EXPORT} again.")
        label = element.get("label")
        if not label:
            raise UserError(f"{where} has no label; {EXPORT} again.")
        attributes = {a.get("name", ""): a.text or "" for a in element.iterfind("attribute")}
        z_order = _whole(element, "z_order", where) if "z_order" in element.attrib else 0
        shape, numbers = SHAPES[kind](element, where)
        counts["pixels"] += numbers["bitmap"].size if shape == "bitmap" else 0
        if counts["pixels"] > MOST_PIXELS_OF_ALL:
            raise UserError(
                f"{where}: up to here masks have more than {MOST_PIXELS_OF_ALL:,} pixels; export "
                "tasks or jobs one by one."
            )
        regions.append((z_order, Region(shape, numbers, {**attributes, "class": label})))
    regions.sort(key=lambda pair: pair[0])  # equal ones keep their order
    file = f"{image.get('subset')}/{name}" if image.get("subset") else name
    return Annotation(file.replace("\\", "/"), None, tuple(region for _, region in regions), size)


def _polygon(element: ElementTree.Element, place: str) -> tuple[str, dict]:
    """A <polygon> or <polyline>."""
    text = element.get("points", "")
    try:
        pairs = [tuple(map(_coordinate, pair.split(","))) for pair in text.split(";")]
        if any(len(pair) != 2 for pair in pairs):
            raise ValueError
    except ValueError as error:
        shown = text if len(text) <= 60 else f"{text[:60]}..."
        raise UserError(
            f"{place} has the points {shown!r}, not x,y;x,y; {EXPORT} again."
        ) from error
    return "rings", {"rings": (tuple(pairs),)}


def _box(element: ElementTree.Element, place: str) -> tuple[str, dict]:
    """A <box>; its rotation is about its centre."""
    left, top, right, bottom = (_number(element, n, place) for n in ("xtl", "ytl", "xbr", "ybr"))
    centre = ((left + right) / 2, (top + bottom) / 2)
    half = (right - left) / 2, (bottom - top) / 2
    corners = [(-half[0], -half[1]), (half[0], -half[1]), half, (-half[0], half[1])]
    return "rings", {"rings": (_turned(corners, centre, element, place),)}


def _ellipse(element: ElementTree.Element, place: str) -> tuple[str, dict]:
    """An <ellipse>, as a polygon whose sides lie within it by `FLATNESS` at most."""
    cx, cy, rx, ry = (_number(element, name, place) for name in ("cx", "cy", "rx", "ry"))
    count = math.pi * math.sqrt(max(abs(rx), abs(ry)) / (2 * FLATNESS))
    count = int(min(max(count, 16), MOST_CORNERS))
    turns = [index * 2 * math.pi / count for index in range(count)]
    corners = [(rx * math.cos(turn), ry * math.sin(turn)) for turn in turns]
    return "rings", {"rings": (_turned(corners, (cx, cy), element, place),)}


def _turned(
    corners: list[tuple[float, float]],
    centre: tuple[float, float],
    element: ElementTree.Element,
    place: str,
) -> tuple[tuple[float, float], ...]:
    """Corners about a centre, turned by the element's rotation: degrees, clockwise on the screen.

    As `RotatedBoxesToPolygons` in cvat/apps/dataset_manager/formats/transformations.py.
    """
    turn = math.radians(_number(element, "rotation", place) if "rotation" in element.attrib else 0)
    cos, sin = (math.cos(turn), math.sin(turn)) if turn else (1.0, 0.0)
    (cx, cy) = centre
    return tuple((cx + cos * x - sin * y, cy + sin * x + cos * y) for x, y in corners)


def _mask(element: ElementTree.Element, place: str) -> tuple[str, dict]:
    """A <mask>: its run lengths go row by row through its box and begin with those outside."""
    left, top = _whole(element, "left", place), _whole(element, "top", place)
    width, height = _whole(element, "width", place, 1), _whole(element, "height", place, 1)
    if width * height > MOST_PIXELS:
        raise UserError(
            f"{place} has {width} x {height} pixels, more than a photograph; {EXPORT} again."
        )
    try:
        runs = [int(run) for run in element.get("rle", "").split(",")]
        if min(runs) < 0 or sum(runs) != width * height:
            raise ValueError
    except ValueError as error:
        raise UserError(
            f"{place} has an rle that is no list of run lengths of {width} x {height} pixels; "
            f"{EXPORT} again."
        ) from error
    covered = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return "bitmap", {"x": left, "y": top, "bitmap": covered.reshape(height, width)}


SHAPES = {
    "polygon": _polygon,
    "polyline": _polygon,
    "box": _box,
    "ellipse": _ellipse,
    "mask": _mask,
}


def _number(element: ElementTree.Element, name: str, place: str) -> float:
    """An attribute that is a finite number."""
    try:
        return _coordinate(element.attrib[name])
    except (KeyError, ValueError) as error:
        raise UserError(
            f"{place} has {name} {element.get(name)!r}, not a number of pixels; {EXPORT} again."
        ) from error


def _whole(element: ElementTree.Element, name: str, place: str, least: int = -FARTHEST) -> int:
    """An attribute that is a whole number, from `least` to `FARTHEST`."""
    value = element.get(name, "")
    if not re.fullmatch(r"-?[0-9]{1,10}", value) or not least <= int(value) <= FARTHEST:
        raise UserError(
            f"{place} has {name} {element.get(name)!r}, not a whole number"
            f"{f' from {least}' if least > 0 else ''}; {EXPORT} again."
        )
    return int(value)


def _coordinate(text: str) -> float:
    """The number that a text is; raises `ValueError` for others and for those beyond `FARTHEST`."""
    number = float(text)
    if not abs(number) <= FARTHEST:
        raise ValueError
    return number
