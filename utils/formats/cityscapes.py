"""Outlines of Cityscapes: `*_gtFine_polygons.json` per picture, in folders of cities.

The classes are the 19 that are trained on. What Cityscapes does not count is void: its other labels
and, as what no outline covers is unlabelled, all the rest of a picture. A whole number is the
centre of a pixel, and outlines are covered, as VIA's are.

The format: `createLabelImage` in cityscapesscripts/preparation/json2labelImg.py and
cityscapesscripts/helpers/labels.py of github.com/mcordts/cityscapesScripts.
"""

from collections.abc import Iterable
from pathlib import Path

from utils.errors import UserError
from utils.files import relative
from utils.formats.annotations import Annotation, Project, Region, json_of
from utils.formats.class_lists import with_background

ENDS = ("_gtFine_polygons.json", "_gtCoarse_polygons.json")
# Names and colours by trainId.
TRAINED = {
    "road": (128, 64, 128),
    "sidewalk": (244, 35, 232),
    "building": (70, 70, 70),
    "wall": (102, 102, 156),
    "fence": (190, 153, 153),
    "pole": (153, 153, 153),
    "traffic light": (250, 170, 30),
    "traffic sign": (220, 220, 0),
    "vegetation": (107, 142, 35),
    "terrain": (152, 251, 152),
    "sky": (70, 130, 180),
    "person": (220, 20, 60),
    "rider": (255, 0, 0),
    "car": (0, 0, 142),
    "truck": (0, 0, 70),
    "bus": (0, 60, 100),
    "train": (0, 80, 100),
    "motorcycle": (0, 0, 230),
    "bicycle": (119, 11, 32),
}
VOID = ("unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic")
VOID += ("ground", "parking", "rail track", "guard rail", "bridge", "tunnel", "polegroup")
VOID += ("caravan", "trailer")
NOT_DRAWN = "license plate"  # has the id -1
FARTHEST = 10**9  # pixels; coordinates beyond it say nothing
EXPORT = "download it from Cityscapes again"


def is_cityscapes(text: str, content: object) -> bool:
    """Whether a JSON content is of Cityscapes."""
    return (
        isinstance(content, dict)
        and isinstance(content.get("objects"), list)
        and {"imgHeight", "imgWidth"} <= content.keys()
    )


def read_cityscapes(path: Path, text: str, content: dict) -> Project:
    """Read the outlines of one picture.

    Args:
        path: of the file.
        text: that it holds.
        content: of its JSON.

    Raises:
        UserError: something in it is not as Cityscapes has it; names the file and the place.
    """
    return _project([(path, content)], path.parent)


def is_cityscapes_folder(folder: Path) -> bool:
    """Whether a folder is of a city, or of cities, with outlines; looks at names."""
    return any(True for _ in _files(folder))


def read_cityscapes_folder(folder: Path) -> Project:
    """Read the outlines of a city, or of a part such as `gtFine/train` with all of its cities.

    Returns:
        An annotation per picture; `Annotation.file` is relative to `folder`.

    Raises:
        UserError: as `read_cityscapes`.
    """
    return _project(((path, json_of(path, EXPORT)) for path in sorted(_files(folder))), folder)


def _files(folder: Path) -> Iterable[Path]:
    """The files of a folder and of the folders in it."""
    for end in ENDS:
        for pattern in (f"*{end}", f"*/*{end}"):
            yield from folder.glob(pattern)


def _project(contents: Iterable[tuple[Path, object]], folder: Path) -> Project:
    annotations = [_annotation(path, content, folder) for path, content in contents]
    return Project(
        annotations,
        classes=with_background(list(TRAINED.items())),
        remarks=("void: what Cityscapes does not evaluate, and what no outline covers",),
    )


def _annotation(path: Path, content: object, folder: Path) -> Annotation:
    """One picture; below all outlines lies void."""
    if not is_cityscapes("", content):
        raise UserError(f"{path} has no 'objects', 'imgHeight' and 'imgWidth'; {EXPORT}.")
    height, width = (content[name] for name in ("imgHeight", "imgWidth"))
    if not all(type(size) is int and 0 < size <= FARTHEST for size in (height, width)):
        raise UserError(f"{path} is of {height!r:.30} x {width!r:.30} pixels; {EXPORT}.")
    whole = ((0, 0), (width, 0), (width, height), (0, height))
    regions = [Region("rings", {"rings": (whole,)}, {"class": "unlabeled"}, void=True)]
    for number, each in enumerate(content["objects"]):
        place = f"{path}: objects[{number}]"
        if not isinstance(each, dict) or not isinstance(each.get("label"), str):
            raise UserError(f"{place} has no text 'label'; {EXPORT}.")
        label = each["label"]
        if label not in TRAINED and label not in VOID:  # a crowd of cars is a "cargroup"
            label = label.removesuffix("group")
        if each.get("deleted") or label == NOT_DRAWN:
            continue
        if label not in TRAINED and label not in VOID:
            raise UserError(f"{place}: {label!r:.60} is no label of Cityscapes; correct it.")
        x, y = _corners(each.get("polygon"), place)
        numbers = {"all_points_x": x, "all_points_y": y}
        regions.append(Region("polygon", numbers, {"class": label}, void=label in VOID))
    return Annotation(_picture(path, folder), None, tuple(regions), (height, width))


def _corners(points: object, place: str) -> tuple[tuple, tuple]:
    """The x and the y of a list of points [x, y]."""
    try:
        x, y = zip(*points, strict=True)
    except (TypeError, ValueError) as error:
        raise UserError(f"{place}: 'polygon' is no list [[x, y], ...]; {EXPORT}.") from error
    for value in (*x, *y):
        if type(value) not in (int, float) or not abs(value) <= FARTHEST:
            raise UserError(f"{place}: 'polygon' holds {value!r:.30}, no number; {EXPORT}.")
    return x, y


def _picture(path: Path, folder: Path) -> str:
    """The picture `*_leftImg8bit.png`, in `leftImg8bit` instead of `gtFine` where that is there."""
    name = path.name
    for end in ENDS:
        name = name.removesuffix(end)
    name += "_leftImg8bit.png"
    parts = path.resolve().parent.parts
    for kind in ("gtFine", "gtCoarse"):
        if kind in parts:
            last = len(parts) - 1 - parts[::-1].index(kind)
            place = Path(*parts[:last], "leftImg8bit", *parts[last + 1 :])
            if place.is_dir():
                return f"{relative(place, folder)}/{name}"
    start = relative(path.parent, folder)
    return name if start == "." else f"{start}/{name}"
