"""The labels of VIA's annotations once more: slowly, pixel by pixel, with numbers of any size.

Knows the files' formats and the rules of the README alone, and shares no line with `utils`. Raises
`Refused` for what has no labels, `Undecided` for what it does not know.
"""

import csv
import io
import json
import math
import unicodedata
from fractions import Fraction
from pathlib import Path

import numpy as np

from attacks.cases import Refused, Undecided

NEEDED = {
    "polygon": ("all_points_x", "all_points_y"),
    "polyline": ("all_points_x", "all_points_y"),
    "rect": ("x", "y", "width", "height"),
    "circle": ("cx", "cy", "r"),
    "ellipse": ("cx", "cy", "rx", "ry"),
    "point": ("cx", "cy"),
}
FARTHEST = 10**9
WHITE = {"void_colours": ["#ffffff"]}  # the one reading that is known here
ABOUT = 1.5  # pixels by which a circle of corners and lines may differ from a circle


class Drawing:
    """A label map that is drawn; `doubt` is where the reference does not tell."""

    def __init__(self, size: tuple[int, int]):
        self.labels = np.zeros(size, np.uint8)
        self.doubt = np.zeros(size, bool)

    def paint(self, sure: np.ndarray, unsure: np.ndarray | None, class_id: int) -> None:
        """A region lies on top of those before it."""
        if unsure is not None:
            self.doubt |= unsure
        self.labels[sure] = class_id
        self.doubt[sure] = False

    def differs(self, labels: np.ndarray) -> str:
        """What is wrong with a label map; nothing when nothing is."""
        if labels.shape != self.labels.shape:
            return f"a map of {labels.shape}, not {self.labels.shape}"
        wrong = (labels != self.labels) & ~self.doubt
        return f"{wrong.sum()} pixels, first {np.argwhere(wrong)[0]}" if wrong.any() else ""


def draw(annotations: list, classes: list[str], sizes: dict[str, tuple]) -> dict[str, Drawing]:
    """The maps of the pictures that are there, by name.

    Args:
        annotations: pairs of a listed name and of (shape attributes, region attributes).
        classes: names by id.
        sizes: (H, W) of the pictures by their names.
    """
    if annotations and not any("Name" in a for _, regions in annotations for _, a in regions):
        if any(regions for _, regions in annotations):
            raise Undecided
    shapes = [
        (name, [(_shape(shape), _class_of(attributes, classes)) for shape, attributes in regions])
        for name, regions in annotations
    ]
    drawings: dict[str, Drawing] = {}
    for name, regions in shapes:
        found = _find(name, list(sizes))
        if found is None:
            continue
        drawing = drawings.setdefault(found, Drawing(sizes[found]))
        for (shape, numbers), class_id in regions:
            _draw(drawing, shape, numbers, class_id)
    if annotations and not drawings:
        raise Refused
    return drawings


# What the files say.


def from_json(text: str) -> list:
    """The annotations of a JSON file."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Refused from error
    if isinstance(content, dict) and "_via_img_metadata" in content:
        content = content["_via_img_metadata"]
    if not isinstance(content, dict):
        raise Refused
    return [_entry(entry) for entry in content.values()]


def _entry(entry: object) -> tuple[str, list]:
    if not isinstance(entry, dict) or not isinstance(entry.get("filename"), str):
        raise Refused
    regions = entry.get("regions")
    regions = list(regions.values()) if isinstance(regions, dict) else regions
    if not isinstance(regions, list):
        raise Refused
    pairs = []
    for region in regions:
        if not isinstance(region, dict) or not isinstance(region.get("shape_attributes"), dict):
            raise Refused
        attributes = region.get("region_attributes") or {}
        if not isinstance(attributes, dict):
            raise Refused
        pairs.append((region["shape_attributes"], attributes))
    return entry["filename"], pairs


def from_csv(text: str) -> list:
    """The annotations of a CSV file."""
    csv.field_size_limit(max(csv.field_size_limit(), len(text) + 1))
    rows = list(csv.reader(io.StringIO(text, newline="")))
    if not rows:
        raise Refused
    header = [name.strip(" #") for name in rows[0]]
    wanted = ("filename", "file_size", "region_shape_attributes", "region_attributes")
    if not {*wanted, "region_count"} <= set(header) or len(set(header)) < len(header):
        raise Refused
    found: dict[tuple, list] = {}
    for row in rows[1:]:
        if not row:
            continue
        if len(row) != len(header):
            raise Refused
        cells = dict(zip(header, row, strict=True))
        name, size, shape, attributes = (cells.get(column) for column in wanted)
        if not name:
            raise Refused
        regions = found.setdefault((name, _size(size)), [])
        shape = _object(shape)
        if shape:
            regions.append((shape, _object(attributes)))
    return [(name, regions) for (name, _), regions in found.items()]


def _size(text: str | None) -> int:
    try:
        return max(int(text), -1)
    except (TypeError, ValueError):
        return -1


def _object(text: str | None) -> dict:
    try:
        content = json.loads(text or "{}")
    except (ValueError, RecursionError) as error:
        raise Refused from error
    if not isinstance(content, dict):
        raise Refused
    return content


def classes_of(text: str) -> list[str]:
    """The names by id of a `classes.json`."""
    return [name for name, _ in coloured_classes(text)]


def coloured_classes(text: str) -> list[tuple[str, tuple | None]]:
    """Names and colours by id of a `classes.json`."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Refused from error
    if isinstance(content, dict) and content.get("reading", WHITE) != WHITE:
        raise Undecided
    if isinstance(content, dict) and isinstance(content.get("classes"), list):
        content = content["classes"]
    if isinstance(content, dict):
        rows = [(index, name, None) for name, index in content.items()]
    elif not isinstance(content, list):
        raise Refused
    elif content and all(isinstance(row, dict) for row in content):
        rows = [(r.get("id"), r.get("name"), r.get("colour", r.get("color"))) for r in content]
    else:
        rows = [(index, name, None) for index, name in enumerate(content)]
    if not all(type(index) is int and isinstance(name, str) for index, name, _ in rows):
        raise Refused
    rows = sorted((row for row in rows if row[0] != 255), key=lambda row: row[0])
    if rows and rows[0][0] == 1:
        rows.insert(0, (0, "background", None))
    if [index for index, _, _ in rows] != list(range(len(rows))) or not rows:
        raise Refused
    names = [name.strip().casefold() for _, name, _ in rows]
    if len(set(names)) < len(names) or not all(names):
        raise Refused
    if not all(_is_colour(colour) for _, _, colour in rows if colour):
        raise Refused
    if names == ["background"]:
        raise Undecided
    return [(name, tuple(colour) if isinstance(colour, list) else None) for _, name, colour in rows]


def _is_colour(value: object) -> bool:
    return (
        isinstance(value, list) and [type(v) is int and 0 <= v <= 255 for v in value] == [True] * 3
    )


def _class_of(attributes: dict, classes: list[str]) -> int:
    value = attributes.get("Name")
    if isinstance(value, dict):
        ticked = [name for name, on in value.items() if on is True or on in (1, "true")]
        value = ticked[0] if len(ticked) == 1 else None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise Refused  # regions are few: one without a class is more than one in a hundred
    try:
        text = str(value).strip().casefold()
    except ValueError as error:
        raise Refused from error
    names = [name.strip().casefold() for name in classes]
    if text in names:
        index = names.index(text)
    elif text == "background":
        index = 0
    else:
        try:
            number = Fraction(text) if len(text) < 400 else None
        except (ValueError, ZeroDivisionError):
            number = None
        if number is None or number.denominator != 1 or not 0 <= number < len(classes):
            raise Refused
        index = int(number)
    if index == 0 and names[0] != "background":
        raise Undecided
    return index


def _shape(attributes: dict) -> tuple[str, dict]:
    shape = attributes.get("name")
    shape = shape.lower() if isinstance(shape, str) else None
    if shape not in NEEDED:
        raise Refused
    numbers = {}
    for name in NEEDED[shape] + (("theta",) if "theta" in attributes else ()):
        value = attributes.get(name)
        if name.startswith("all"):
            if not isinstance(value, list):
                raise Refused
            numbers[name] = [_number(each) for each in value]
        else:
            numbers[name] = _number(value)
    if shape.startswith("poly") and len({len(numbers[name]) for name in NEEDED[shape]}) > 1:
        raise Refused
    return shape, numbers


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise Refused
    try:
        number = float(value)
    except (ValueError, OverflowError) as error:
        raise Refused from error
    if not math.isfinite(number):
        raise Refused
    return number


def _find(name: str, files: list[str]) -> str | None:
    name = name.replace("\\", "/")
    parts = name.split("/")
    if "://" in name or name.startswith(("data:image/", "blob:")):
        raise Undecided
    outside = not name.strip() or "\0" in name or ".." in parts or parts[0] == "" or ":" in parts[0]
    if outside:
        if ":" in parts[0] and len(parts[0]) > 1 and parts[0][1] != ":":
            return None
        if ".." not in parts and any(file.casefold() == parts[-1].casefold() for file in files):
            raise Undecided  # a path of another machine, which a file of its last part stands for
        raise Refused
    plain = "/".join(part for part in parts if part not in ("", "."))
    forms = (
        lambda text: text,
        lambda text: unicodedata.normalize("NFC", text),
        lambda text: unicodedata.normalize("NFC", text).casefold(),
    )
    for form in forms:
        found = [file for file in files if form(file) == form(plain)]
        if len(found) == 1:
            return found[0]
    return None


# What is drawn.


def _draw(drawing: Drawing, shape: str, n: dict, class_id: int) -> None:
    if shape == "point":
        return
    if shape in ("circle", "ellipse"):
        axes = (n["r"], n["r"]) if shape == "circle" else (n["rx"], n["ry"])
        _draw_round(drawing, (n["cx"], n["cy"]), axes, n.get("theta", 0.0), class_id)
        return
    if shape == "rect":
        left, top = n["x"], n["y"]
        right, bottom = left + n["width"], top + n["height"]
        points = [(left, top), (right, top), (right, bottom), (left, bottom)]
        if not all(map(math.isfinite, (right, bottom))):
            raise Refused
    else:
        points = list(zip(n["all_points_x"], n["all_points_y"], strict=True))
    flat = _flatness(points)
    if flat == 0:
        return
    corners = [tuple(_rounded(value) for value in point) for point in points]
    sure = _polygon(corners, drawing.labels.shape)
    if flat < 1e-5:  # the program may take it for a slip of the mouse
        drawing.doubt |= sure
    else:
        drawing.paint(sure, None, class_id)


def _rounded(value: float) -> int:
    return round(max(-FARTHEST, min(FARTHEST, (value + 0.5) - 0.5)))


def _flatness(points: list) -> Fraction | int:
    """How wide the corners lie, of how long squared; 0 for those on a line."""
    if len(points) < 3:
        return 0
    points = [(Fraction(x), Fraction(y)) for x, y in points]
    away = [(x - points[0][0], y - points[0][1]) for x, y in points]
    long_x, long_y = max(away, key=lambda p: p[0] ** 2 + p[1] ** 2)
    longest = long_x**2 + long_y**2
    across = max(abs(x * long_y - y * long_x) for x, y in away)
    return across / longest if across else 0


def _polygon(corners: list, size: tuple[int, int]) -> np.ndarray:
    inside = np.zeros(size, bool)
    edges = list(zip(corners, corners[1:] + corners[:1], strict=True))
    for y in range(size[0]):
        row = [sorted(edge, key=lambda p: p[1]) for edge in edges]
        row = [(p, q) for p, q in row if p[1] <= y < q[1]]
        for x in range(size[1]):
            # Edges of which the crossing lies left of the pixel, or in it.
            left = sum((y - p[1]) * (q[0] - p[0]) <= (x - p[0]) * (q[1] - p[1]) for p, q in row)
            inside[y, x] = left % 2 == 1
    for one, other in edges:
        for x, y in _line(*sorted((one, other), key=lambda p: p[0]), size):
            inside[y, x] = True
    return inside


def _line(start: tuple, end: tuple, size: tuple[int, int]) -> list:
    """The pixels of a line from its left end; a tie goes to the row or column of that end."""
    step = end[0] - start[0], end[1] - start[1]
    major = 1 if abs(step[1]) > abs(step[0]) else 0
    minor, count = 1 - major, abs(step[major])
    forward = 1 if step[major] >= 0 else -1
    pixels = []
    for place in range(size[1] if major == 0 else size[0]):
        k = (place - start[major]) * forward
        if not 0 <= k <= count:
            continue
        moved = math.ceil(Fraction(k * abs(step[minor]), max(count, 1)) - Fraction(1, 2))
        other = start[minor] + (moved if step[minor] >= 0 else -moved)
        if 0 <= other < (size[0] if major == 0 else size[1]):
            pixels.append((place, other) if major == 0 else (other, place))
    return pixels


def _draw_round(drawing: Drawing, centre, axes, theta: float, class_id: int) -> None:
    size = drawing.labels.shape
    if max(map(abs, (*centre, *axes, theta))) > 1e8:
        drawing.doubt[:] = True
        return
    y, x = np.mgrid[: size[0], : size[1]].astype(float)
    x, y = x - centre[0], y - centre[1]
    turned = x * math.cos(theta) + y * math.sin(theta), y * math.cos(theta) - x * math.sin(theta)

    def within(more: float) -> np.ndarray:
        a, b = (abs(axis) + more for axis in axes)
        if min(a, b) <= 0:
            return np.zeros(size, bool)
        return (turned[0] / a) ** 2 + (turned[1] / b) ** 2 <= 1

    sure = within(-ABOUT) if min(map(abs, axes)) > 0.01 else np.zeros(size, bool)
    drawing.paint(sure, within(ABOUT) & ~sure, class_id)


def read(path: Path) -> str:
    """The text of a file."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Refused from error
