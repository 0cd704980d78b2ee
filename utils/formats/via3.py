"""Projects of VIA 3 (gitlab.com/vgg/via, folder via-3.x.y), as those of VIA 2 are read.

`file` has the pictures, `view` which of them is shown where, `metadata` a region each, of a view,
and `attribute` what the numbers of the attributes mean that regions have values of.
"""

import math
from pathlib import Path

from utils.errors import UserError
from utils.formats.annotations import Annotation, Project, Region

# The first number of `xy`, from src/js/_via_metadata.js; the order of the others is that of
# `_metadata_pts_to_xy` in src/js/_via_file_annotator.js.
SHAPES = {
    1: ("point", ("cx", "cy")),
    2: ("rect", ("x", "y", "width", "height")),
    3: ("circle", ("cx", "cy", "r")),
    4: ("ellipse", ("cx", "cy", "rx", "ry")),
}
LINE, POLYLINE, POLYGON, EXTREME_RECTANGLE, EXTREME_CIRCLE = 5, 6, 7, 8, 9  # these have points
TEXT, CHECKBOX = 1, 2  # types of attributes, from src/js/_via_attribute.js; the others are lists
IMAGE = 2  # type of a file, from src/js/_via_file.js
BY_ADDRESS = (2, 3)  # `loc` of files that are found by `src`, from the same
FRAMES = "save the moments as pictures, with ffmpeg for example, and annotate those"
SAVE = "open the project in VIA 3 and save it again"


def is_via3(text: str, content: object) -> bool:
    """Whether the content of a JSON file is a project of VIA 3."""
    return isinstance(content, dict) and all(
        isinstance(content.get(name), dict) for name in ("metadata", "file")
    )


def read_via3(path: Path, text: str, content: dict) -> Project:
    """Read a project.

    Args:
        path: of the file, for messages.
        text: that it holds.
        content: of its JSON.

    Raises:
        UserError: it is of films or pairs of pictures, or lacks something; names the file, the
            place in it and what was expected.
    """
    names, types, options = _attributes(path, content)
    pictures = _pictures(path, content)
    regions = {view: [] for view in pictures}
    for key, entry in _objects(path, content, "metadata"):
        place = f"{path}: metadata[{key!r:.60}]"
        view = str(entry.get("vid"))
        if view not in pictures:
            raise UserError(f"{place}['vid'] is {view!r:.60}, which no view is; {SAVE}.")
        if entry.get("z"):
            raise UserError(f"{place}['z'] is {entry['z']!r:.60}, a time in a film; {FRAMES}.")
        if entry.get("xy") == []:  # what is said of the whole picture
            continue
        values = entry.get("av")
        if not isinstance(values, dict):
            raise UserError(f"{place}['av'] is {values!r:.60}, no object; {SAVE}.")
        attributes = {names.get(n, n): _value(v, types.get(n)) for n, v in values.items()}
        regions[view].append(Region(*_shape(entry.get("xy"), f"{place}['xy']"), attributes))
    return Project(
        [Annotation(name, None, tuple(regions[view])) for view, name in pictures.items()], options
    )


def _objects(path: Path, content: dict, name: str) -> list[tuple[str, dict]]:
    """The objects that one of the parts of a project has, by their keys."""
    entries = content.get(name)
    if not isinstance(entries, dict):
        raise UserError(f"{path} has no object {name!r}; {SAVE}.")
    for key, entry in entries.items():
        if not isinstance(entry, dict):
            raise UserError(f"{path}: {name}[{key!r:.60}] is {entry!r:.60}, no object; {SAVE}.")
    return list(entries.items())


def _attributes(path: Path, content: dict) -> tuple[dict[str, str], dict, dict]:
    """Names and types of the attributes by their numbers, and `Project.options`.

    VIA 3 numbers options from 0 and saves these numbers, as VIA 2 does with ids of its annotators'.
    """
    names, types, options = {}, {}, {}
    for key, entry in _objects(path, content, "attribute"):
        place = f"{path}: attribute[{key!r:.60}]"
        name, known = entry.get("aname"), entry.get("options")
        if not isinstance(name, str) or name in names.values():
            raise UserError(
                f"{place}['aname'] is {name!r:.60}, which is no name or that of another attribute; "
                "rename the attribute in VIA 3."
            )
        names[key], types[key] = name, entry.get("type")
        if types[key] != TEXT and isinstance(known, dict):
            texts = {n.strip(): t for n, t in known.items() if n.strip()}
            options[name] = {n: t.strip() if isinstance(t, str) else "" for n, t in texts.items()}
    return names, types, options


def _pictures(path: Path, content: dict) -> dict[str, str]:
    """The name of the picture of each view."""
    files = dict(_objects(path, content, "file"))
    pictures = {}
    for key, view in _objects(path, content, "view"):
        place = f"{path}: view[{key!r:.60}]['fid_list']"
        shown = view.get("fid_list")
        if not isinstance(shown, list) or not {str(n) for n in shown} <= files.keys():
            raise UserError(f"{place} is {shown!r:.60}, not of files of the project; {SAVE}.")
        if len(shown) != 1:  # nothing says which of them a region is in
            raise UserError(
                f"{place} has {len(shown)} files; annotate one picture at a time, with VIA's image "
                "annotator."
            )
        entry, place = files[str(shown[0])], f"{path}: file[{str(shown[0])!r:.60}]"
        if entry.get("type") != IMAGE:
            raise UserError(
                f"{place}['type'] is {entry.get('type')!r:.60}, no picture but a film or sound; "
                f"{FRAMES}."
            )
        which = "src" if entry.get("loc") in BY_ADDRESS else "fname"
        name = entry.get(which)
        if not isinstance(name, str) or not name:
            raise UserError(f"{place}[{which!r}] is {name!r:.60}, not a name; {SAVE}.")
        pictures[key] = name.replace("\\", "/")
    return pictures


def _value(value: object, kind: object) -> object:
    """A value as VIA 2 saves it: ticked boxes are an object there, here a text such as "0,2"."""
    if kind == CHECKBOX and isinstance(value, str):
        return {number: True for number in value.split(",") if number}
    return value


def _shape(xy: object, place: str) -> tuple[str, dict[str, float | tuple[float, ...]]]:
    """Name and numbers of a shape."""
    try:
        if not all(type(number) in (int, float) for number in xy):
            raise ValueError
        kind, *numbers = map(float, xy)
        if not all(map(math.isfinite, numbers)):
            raise ValueError
        if kind in SHAPES:
            name, expected = SHAPES[kind]
            return name, dict(zip(expected, numbers, strict=True))
        xs, ys = tuple(numbers[::2]), tuple(numbers[1::2])
        if kind not in range(LINE, EXTREME_CIRCLE + 1) or len(xs) != len(ys) or len(xs) < 2:
            raise ValueError
        if kind == EXTREME_CIRCLE and len(xs) != 3:
            raise ValueError
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(
            f"{place} is {xy!r:.60}, not the number of a shape from 1 to 9 and its coordinates; "
            "draw the region anew."
        ) from error
    if kind == EXTREME_RECTANGLE:
        left, top = min(xs), min(ys)
        return "rect", {"x": left, "y": top, "width": max(xs) - left, "height": max(ys) - top}
    if kind == EXTREME_CIRCLE and (circle := _circle_through(xs, ys)):
        return "circle", circle
    name = "polygon" if kind == POLYGON else "polyline"
    return name, {"all_points_x": xs, "all_points_y": ys}


def _circle_through(xs: tuple[float, ...], ys: tuple[float, ...]) -> dict[str, float] | None:
    """The circle through three points; None where they lie on one line, or next to it."""
    (x0, x1, x2), (y0, y1, y2) = xs, ys
    ax, ay, bx, by = x1 - x0, y1 - y0, x2 - x0, y2 - y0
    twice = 2 * (ax * by - ay * bx)
    if not twice:
        return None
    a, b = ax * ax + ay * ay, bx * bx + by * by
    cx, cy = (by * a - ay * b) / twice, (ax * b - bx * a) / twice
    circle = {"cx": x0 + cx, "cy": y0 + cy, "r": math.hypot(cx, cy)}
    return circle if all(map(math.isfinite, circle.values())) else None
