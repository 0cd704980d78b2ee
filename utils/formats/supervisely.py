"""Annotations of Supervisely: a JSON file per picture in `ann`, the pictures in `img` beside it.

A project is a folder with `meta.json`, which lists the classes, and a folder of each data set. The
pixels of coordinates are counted: a whole number is the centre of a pixel, and a shape covers its
outline, as VIA's do. A hole is without its outline. The format: developer.supervisely.com,
"Supervisely annotation format"; what draws are `_draw_impl` in supervisely/geometry/polygon.py
(cv2.fillPoly, holes after it), rectangle.py and bitmap.py of Supervisely's SDK.
"""

import base64
import io
import zlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from utils.classes import Classes
from utils.errors import UserError
from utils.files import relative
from utils.formats.annotations import Annotation, Project, Region, json_of
from utils.formats.class_lists import hex_colour, with_background
from utils.label_maps.polygons import fill

META = "meta.json"
LEVELS = 4  # folders above that of annotations in which it may be; data sets may have data sets
NO_AREA = ("point", "line", "graph", "cuboid")
EXPORT = "export it from Supervisely again"
MOST_BYTES = 2**26  # of a bitmap's PNG
MOST_PIXELS = 2**28  # of a bitmap, or of the box of a polygon with holes
MOST_PIXELS_OF_ALL = 2**31  # of a project: they are kept in memory, a byte a pixel
FARTHEST = 10**9  # pixels; coordinates beyond it say nothing
LOOK = 3  # files that tell whether a folder is of this format


def is_supervisely(text: str, content: object) -> bool:
    """Whether a JSON content is an annotation of a picture, or the list of a project's classes."""
    return isinstance(content, dict) and (
        isinstance(content.get("objects"), list)
        and isinstance(content.get("size"), dict)
        or _is_meta(content)
    )


def _is_meta(content: dict) -> bool:
    classes = content.get("classes")
    return isinstance(classes, list) and any(
        isinstance(each, dict) and {"title", "shape"} <= each.keys() for each in classes
    )


def read_supervisely(path: Path, text: str, content: object) -> Project:
    """Read the annotation of one picture; its classes are in a `meta.json` above it.

    Args:
        path: of the file.
        text: that it holds.
        content: of its JSON.

    Raises:
        UserError: something in it is not as Supervisely writes it; names the file and the place.
    """
    if _is_meta(content):
        raise UserError(f"{path} lists the classes of a project alone; give its folder instead.")
    return _project([(path, content)], path.parent)


def is_supervisely_folder(folder: Path) -> bool:
    """Whether a folder is one of annotations, a data set or a project; looks at a few files."""
    files = _files(folder)[:LOOK]
    try:
        return any(is_supervisely("", json_of(path, EXPORT)) for path in files)
    except UserError:
        return False


def read_supervisely_folder(folder: Path) -> Project:
    """Read a folder of annotations, a data set, or a project with all of its data sets.

    Points, lines, skeletons and cuboids, which have no area, are left out with a remark.

    Returns:
        An annotation per picture; `Annotation.file` is relative to `folder`.

    Raises:
        UserError: as `read_supervisely`.
    """
    return _project(((path, json_of(path, EXPORT)) for path in _files(folder)), folder)


def _files(folder: Path) -> list[Path]:
    """The annotation files of a project, of a data set, or those in the folder itself; sorted."""
    whole = (folder / META).is_file() or (folder / "ann").is_dir()
    places = folder.rglob("ann") if whole else [folder]
    found = sorted(path for place in places for path in place.glob("*.json"))
    return [path for path in found if path.is_file() and not path.name.startswith(".")]


def _project(contents: Iterable[tuple[Path, object]], folder: Path) -> Project:
    """The annotations of files, as (path, content), with the classes that belong to them."""
    counts, annotations = Counter(), []
    metas: dict[Path, tuple[Classes | None, dict[str, str]]] = {}
    for path, content in contents:
        if path.parent not in metas:
            metas[path.parent] = _meta(path.parent)
        annotations.append(_annotation(path, content, folder, metas[path.parent][1], counts))
    classes = list(dict.fromkeys(classes for classes, _ in metas.values()))
    if len(classes) > 1:
        raise UserError(
            f"{folder} has data sets of several {META} with different classes; give the projects "
            "one by one."
        )
    remarks = [
        f"a {kind} has no area, left out: {counts[kind]}" for kind in NO_AREA if counts[kind]
    ]
    return Project(annotations, classes=classes[0] if classes else None, remarks=tuple(remarks))


def _meta(folder: Path) -> tuple[Classes | None, dict[str, str]]:
    """Classes, and shapes by their titles, of the nearest `meta.json` above; none without one."""
    start = folder.resolve()
    places = [place / META for place in (start, *start.parents)[: LEVELS + 1]]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        return None, {}
    content = json_of(path, EXPORT)
    classes = content.get("classes") if isinstance(content, dict) else None
    if not isinstance(classes, list) or not all(
        isinstance(each, dict) and isinstance(each.get("title"), str) for each in classes
    ):
        raise UserError(f"{path} has no list 'classes' of objects with a 'title'; {EXPORT}.")
    if not classes:
        return None, {}
    try:
        listed = with_background([(c["title"], hex_colour(c.get("color"))) for c in classes])
    except ValueError as error:
        raise UserError(f"{path}: {error}; rename or delete classes and {EXPORT}.") from error
    return listed, {each["title"]: each.get("shape") for each in classes}


def _annotation(
    path: Path, content: object, folder: Path, shapes: dict[str, str], counts: Counter
) -> Annotation:
    """One picture; objects that are left out, and pixels of bitmaps, are counted in `counts`."""
    if not is_supervisely("", content) or _is_meta(content):
        raise UserError(f"{path} has no list 'objects' and no 'size'; {EXPORT}.")
    height, width = (
        _number(content["size"].get(name), f"{path}: 'size', {name!r}", whole=True, least=1)
        for name in ("height", "width")
    )
    regions = []
    for number, each in enumerate(content["objects"]):
        place = f"{path}: objects[{number}]"
        if not isinstance(each, dict) or not isinstance(each.get("classTitle"), str):
            raise UserError(f"{place} has no text 'classTitle'; {EXPORT}.")
        title = each["classTitle"]
        kind = each.get("geometryType") or shapes.get(title)  # old projects tell it in meta.json
        if kind in NO_AREA:
            counts[kind] += 1
        elif isinstance(kind, str) and kind in SHAPES:
            shape, numbers = SHAPES[kind](each, place)
            counts["pixels"] += numbers["bitmap"].size if shape == "bitmap" else 0
            if counts["pixels"] > MOST_PIXELS_OF_ALL:
                raise UserError(
                    f"{place}: up to here bitmaps have more than {MOST_PIXELS_OF_ALL:,} pixels; "
                    "give data sets one by one, or parts of one."
                )
            regions.append(Region(shape, numbers, {"class": title}))
        else:
            raise UserError(
                f"{place} has the geometryType {kind!r}, not one of {', '.join(SHAPES)}; make it a "
                f"polygon or a bitmap in Supervisely and {EXPORT}."
            )
    return Annotation(_picture(path, folder), None, tuple(regions), (height, width))


def _picture(path: Path, folder: Path) -> str:
    """The picture of an annotation file: `a.jpg` of `a.jpg.json`; of `a.json` one of its stem."""
    from utils.pictures import SUFFIXES

    place, name = path.parent, path.name.removesuffix(".json")
    if place.name == "ann":
        place = place.with_name("img")
    if Path(name).suffix.lower() not in SUFFIXES and place.is_dir():
        ends = [suffix for suffix in sorted(SUFFIXES) if (place / (name + suffix)).is_file()]
        name += ends[0] if len(ends) == 1 else ""
    start = relative(place, folder)
    return name if start == "." else f"{start}/{name}"


def _polygon(each: dict, place: str) -> tuple[str, dict]:
    """A polygon; one with holes as a bitmap, as it is drawn without their outlines."""
    exterior, *interior = _rings(each, place)
    if not interior:
        x, y = zip(*exterior, strict=True)
        return "polygon", {"all_points_x": x, "all_points_y": y}
    corners = np.array(exterior)
    left, top = np.rint(corners.min(axis=0)).astype(int)
    right, bottom = np.rint(corners.max(axis=0)).astype(int)
    height, width = int(bottom - top) + 1, int(right - left) + 1
    _check_size(width, height, place)
    drawn = np.zeros((height, width), np.uint8)
    try:
        # Rounded before they are moved: a half goes to the even number.
        fill(drawn, np.rint(corners) - (left, top), 1)
        for ring in interior:
            fill(drawn, np.rint(np.array(ring)) - (left, top), 0)
    except ValueError as error:
        raise UserError(f"{place} {error}; draw it anew with fewer corners.") from error
    return "bitmap", {"x": int(left), "y": int(top), "bitmap": drawn.astype(bool)}


def _rectangle(each: dict, place: str) -> tuple[str, dict]:
    """A rectangle by two corners, which it covers."""
    exterior = _rings(each, place)[0]
    if len(exterior) != 2:
        raise UserError(f"{place} is a rectangle of {len(exterior)} corners, not 2; {EXPORT}.")
    (left, right), (top, bottom) = (sorted(values) for values in zip(*exterior, strict=True))
    return "rect", {"x": left, "y": top, "width": right - left, "height": bottom - top}


def _bitmap(each: dict, place: str) -> tuple[str, dict]:
    """A bitmap: a PNG, compressed again by zlib, in base64; what is not transparent is covered."""
    bitmap = each.get("bitmap")
    if not isinstance(bitmap, dict) or not isinstance(bitmap.get("data"), str):
        raise UserError(f"{place} has no 'bitmap' with a text 'data'; {EXPORT}.")
    origin = bitmap.get("origin")
    if not isinstance(origin, list) or len(origin) != 2:
        raise UserError(f"{place}: 'origin' is not [x, y]; {EXPORT}.")
    left, top = (_number(value, f"{place}: 'origin'", whole=True) for value in origin)
    try:
        data = base64.b64decode(bitmap["data"], validate=True)
        if not data.startswith(b"\x89PNG"):  # some are not compressed again
            stream = zlib.decompressobj()
            data = stream.decompress(data, MOST_BYTES)
            if stream.unconsumed_tail:
                raise ValueError(f"it is of more than {MOST_BYTES:,} bytes")
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            _check_size(*picture.size, place)
            covered = _covered(picture)
    except UserError:
        raise
    except Exception as error:  # Pillow does not say what damaged files raise
        reason = " ".join(str(error).split())[:60]
        raise UserError(f"{place}: 'data' is no PNG of a bitmap ({reason}); {EXPORT}.") from error
    return "bitmap", {"x": left, "y": top, "bitmap": covered}


def _covered(picture: Image.Image) -> np.ndarray:
    """Where a bitmap's PNG is not transparent or, in one of greys, not black; (h, w) bool."""
    if picture.mode == "P" and "transparency" in picture.info:
        picture = picture.convert("RGBA")
    if picture.mode in ("RGBA", "LA"):
        return np.array(picture.getchannel("A")) > 0
    if picture.mode not in ("1", "L", "I", "I;16"):
        raise ValueError(f"it has no transparency, but colours: {picture.mode}")
    return np.array(picture) > 0


SHAPES = {"polygon": _polygon, "rectangle": _rectangle, "bitmap": _bitmap}


def _rings(each: dict, place: str) -> list[list[tuple[float, float]]]:
    """The outer outline and those of the holes."""
    points = each.get("points")
    if not isinstance(points, dict) or not points.get("exterior"):
        raise UserError(f"{place} has no 'points' with an 'exterior'; {EXPORT}.")
    holes = points.get("interior") or []
    rings = [points["exterior"], *(holes if isinstance(holes, list) else [None])]
    if not all(isinstance(ring, list) and ring for ring in rings):
        raise UserError(f"{place}: 'points' is not of lists [[x, y], ...]; {EXPORT}.")
    if any(not isinstance(point, list) or len(point) != 2 for ring in rings for point in ring):
        raise UserError(f"{place}: 'points' is not of lists [[x, y], ...]; {EXPORT}.")
    where = f"{place}: 'points'"
    return [[(_number(x, where), _number(y, where)) for x, y in ring] for ring in rings]


def _number(value: object, place: str, whole: bool = False, least: int = -FARTHEST) -> float:
    """A number, from `least` to `FARTHEST`; whole where it is asked."""
    kinds = int if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not least <= value <= FARTHEST:
        raise UserError(
            f"{place} has {str(value)[:30]!r}, not a {'whole ' if whole else ''}number of pixels; "
            f"{EXPORT}."
        )
    return value


def _check_size(width: int, height: int, place: str) -> None:
    if width * height > MOST_PIXELS:
        raise UserError(
            f"{place} has {width} x {height} pixels, more than a photograph; correct or delete it."
        )
