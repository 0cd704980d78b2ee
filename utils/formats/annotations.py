"""What annotation files of every program come down to: pictures with regions that name a class.

Coordinates come in two conventions. VIA and LabelMe give the centres of pixels whole numbers, and
an outline covers the pixels that it passes through; so do the shapes of `SHAPES` here. COCO, CVAT
and most others count from the corner of the picture, so that the first pixel reaches from 0 to 1
and has its centre at 0.5; a region covers the pixels whose centres it holds: the shape "rings".
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from utils.classes import Classes
from utils.errors import UserError
from utils.files import read_json

if TYPE_CHECKING:
    import numpy as np

# The numbers that each shape needs: those of VIA by its names, and two of other programs.
SHAPES = {
    "polygon": ("all_points_x", "all_points_y"),
    "polyline": ("all_points_x", "all_points_y"),
    "rect": ("x", "y", "width", "height"),
    "circle": ("cx", "cy", "r"),
    "ellipse": ("cx", "cy", "rx", "ry"),
    "point": ("cx", "cy"),
}
CLASS_ATTRIBUTES = ("Name", "name", "class", "label", "type")


@dataclass(frozen=True)
class Region:
    """One region of a picture.

    Attributes:
        shape: a key of `SHAPES`, "rings" or "bitmap".
        numbers: coordinates in pixels by VIA's names, lists as tuples; an ellipse also has
            `theta`, its rotation in radians, clockwise as seen on the screen. Of "rings" the
            outlines, `{"rings": (((x, y), ...), ...)}`, counted from the corner of the picture:
            what lies within an even number of them is outside, so that one in another is a hole.
            Of "bitmap" `{"x": left, "y": top, "bitmap": (h, w) bool}`, the first two whole.
        attributes: what the annotator entered.
        void: whether no loss and no metric shall count its pixels, whatever class it names.
    """

    shape: str
    numbers: dict[str, "float | tuple | np.ndarray"]
    attributes: dict[str, object]
    void: bool = False


@dataclass(frozen=True)
class Annotation:
    """The regions of one picture.

    Attributes:
        file: file name of the picture, with forward slashes.
        size: bytes of the picture's file, or None when the program did not say.
        regions: in the order of drawing; a later one lies on top.
        shape: (H, W) of the picture as it was annotated, or None when the program did not say.
    """

    file: str
    size: int | None
    regions: tuple[Region, ...]
    shape: tuple[int, int] | None = None


@dataclass(frozen=True)
class Project:
    """What an annotation file holds.

    Attributes:
        annotations: in the order of the file; a picture may occur several times.
        options: of each region attribute that is a list of choices, the names by the ids that VIA
            saves with a region; "" for an option without a name. Only a VIA 2 project tells.
        classes: those that the file lists, background first; None when it lists none.
        class_attribute: that regions name their class by; None where annotators choose it.
        folder: that pictures are named from, where the reader found them; else it is to be found.
        remarks: sentences on what was read otherwise than it stands there.
    """

    annotations: list[Annotation]
    options: dict[str, dict[str, str]] = field(default_factory=dict)
    classes: Classes | None = None
    class_attribute: str | None = None
    folder: Path | None = None
    remarks: tuple[str, ...] = ()


def json_of(path: Path, cure: str) -> object:
    """What a JSON file of a folder of annotations holds.

    Raises:
        UserError: it cannot be read; ends with the cure.
    """
    try:
        return read_json(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is not readable JSON ({error}); {cure}.") from error


def filled_attributes(annotations: Iterable[Annotation]) -> list[str]:
    """The names, sorted, of the region attributes that some region has a value for."""
    regions = [region for annotation in annotations for region in annotation.regions]
    present = sorted({name for region in regions for name in region.attributes})
    present = [name for name in present if name.strip()]
    return [name for name in present if any(class_value(r, name) is not None for r in regions)]


def find_class_attribute(annotations: list[Annotation], wanted: str | None = None) -> str | None:
    """The name of the region attribute that holds the class.

    Args:
        wanted: the name when the user gave one; else the first of Name, name, class, label,
            type (in any letter case) that some region has a value for, else the only attribute.

    Returns:
        The name, or None when there are no regions.

    Raises:
        UserError: `wanted` does not occur, none can be chosen, or two of the usual say different
            things of one region; lists those that occur.
    """
    regions = [region for annotation in annotations for region in annotation.regions]
    if not regions:
        return None
    present = sorted({name for region in regions for name in region.attributes})
    filled = filled_attributes(annotations)
    if wanted is not None:
        if wanted in present:
            return wanted
        listed = ", ".join(present) or "none at all"
        raise UserError(
            f"no region has the attribute {wanted!r}; set --class-attribute to one of: {listed}."
        )
    usual = [
        name
        for known in CLASS_ATTRIBUTES
        for name in [n for n in filled if n == known] or filled
        if name.casefold() == known.casefold()
    ]
    for other in usual[1:]:
        for region in regions:
            one, two = class_value(region, usual[0]), class_value(region, other)
            if None not in (one, two) and one.casefold() != two.casefold():
                raise UserError(
                    f"a region has the {usual[0]} {one!r} and the {other} {two!r}; say which of "
                    f"them is its class by --class-attribute {usual[0]} or {other}."
                )
    if usual:
        return usual[0]
    if len(filled) == 1:
        return filled[0]
    if filled:
        raise UserError(
            f"the class could be in any of the attributes {', '.join(filled)}; "
            "say which with --class-attribute."
        )
    raise UserError(
        "no region names its class; in VIA add a region attribute such as Name and fill it in, or "
        "say with --class-name of which class all regions are."
    )


def class_value(region: Region, attribute: str) -> str | None:
    """The class that a region names, or None when it names none or several.

    Text, radio buttons and drop-down lists give a text, check boxes an object such as
    `{"bottle": true}`; VIA writes "undefined" for a list that was never opened.
    """
    value = region.attributes.get(attribute)
    if isinstance(value, dict):
        ticked = [name for name, on in value.items() if on in (True, "true")]
        value = ticked[0] if len(ticked) == 1 else None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    value = str(value).strip()
    return value if value not in ("", "undefined") else None
