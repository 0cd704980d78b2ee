"""How the files of a data folder are meant: decided once, kept in its `classes.json`.

Whether 255 is a class or void, which attribute names the class, what the grey values of 12 bits
mean: the first set that is read decides, and the others are held against it.
"""

import json
import os
import re
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from utils.classes import Classes, as_content, read_classes
from utils.errors import UserError
from utils.files import read_json, replace_whole

MASKS = ("ids", "colours", "black and white", "alpha")
TURNS = ("exif", "raw")
PALETTES = ("index", "colour")


@dataclass(frozen=True)
class Reading:
    """What was decided of a data folder; None where it was not asked yet.

    Attributes:
        class_attribute: the region attribute that holds the class.
        class_name: the class of every region of an export without attributes.
        unclassed: what a region is that names no class: "skip", "void", or the name of a class.
        masks: what the pixels of masks are, one of `MASKS`: values as class ids, colours of the
            classes, 255 as class 1, or the object where the mask is opaque.
        void: values of masks that mean void besides 255, which does where masks are ids.
        scale: the two values of a deep picture (16 bits, whole numbers, floats) that become 0 and
            255; what lies outside is cut off.
        turn: whether labels belong to the picture as its EXIF orientation shows it, or to the raw
            frame, one of `TURNS`.
        options: where the numbers in regions are no class ids but those of a list of choices, as 3
            and 7 of two classes: what regions say for class 1, 2, ...; "" for nothing.
        palettes: what counts in masks with a palette, one of `PALETTES`.
        void_colours: colours that mean void in masks of colours, as "#e0e0c0".
        ids: the value in masks of each class from 0 on, where it is not the class id, as (0, 5, 9).
        threshold: the brightness, 1 to 255, from which on a pixel of a mask is of class 1.
    """

    class_attribute: str | None = None
    class_name: str | None = None
    unclassed: str | None = None
    masks: str | None = None
    void: tuple[int, ...] = ()
    scale: tuple[float, float] | None = None
    turn: str | None = None
    options: tuple[str, ...] = ()
    palettes: str | None = None
    void_colours: tuple[str, ...] = ()
    ids: tuple[int, ...] = ()
    threshold: int | None = None

    def __post_init__(self):
        """Raise `ValueError` when a value is none that the attributes allow."""
        for name in ("class_attribute", "class_name", "unclassed"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, str) and value.strip()):
                raise ValueError(f"{name} is {value!r}, not a text")
        for name, values in (("masks", MASKS), ("turn", TURNS), ("palettes", PALETTES)):
            if getattr(self, name) not in (None, *values):
                known = ", ".join(values)
                raise ValueError(f"{name} is {getattr(self, name)!r}, not one of: {known}")
        if not all(type(value) is int for value in self.void):
            raise ValueError(f"void is {self.void!r}, not whole numbers")
        colours = isinstance(self.void_colours, tuple) and all(
            isinstance(c, str) and re.fullmatch("#[0-9a-fA-F]{6}", c) for c in self.void_colours
        )
        if not colours:
            raise ValueError(f'void_colours is {self.void_colours!r}, not texts as "#e0e0c0"')
        whole = isinstance(self.ids, tuple) and all(type(v) is int and v >= 0 for v in self.ids)
        if not whole or len(set(self.ids)) < len(self.ids):
            raise ValueError(f"ids is {self.ids!r}, not different whole numbers")
        if both := set(self.ids) & set(self.void):
            raise ValueError(f"{min(both)} is both in ids and in void")
        level = type(self.threshold) is int and 1 <= self.threshold <= 255
        if self.threshold is not None and not level:
            raise ValueError(f"threshold is {self.threshold!r}, not a whole number from 1 to 255")
        given = [option for option in self.options if option != ""]
        texts = isinstance(self.options, tuple) and all(isinstance(o, str) for o in given)
        if not texts or len(set(given)) < len(given):
            raise ValueError(f"options is {self.options!r}, not different texts")
        if self.scale is not None:
            low, high = self.scale
            if not all(isinstance(v, int | float) and abs(v) < 1e12 for v in self.scale):
                raise ValueError(f"scale is {self.scale!r}, not two numbers")
            if not low < high:
                raise ValueError(f"scale is {low:g} to {high:g}, which does not rise")

    def known(self) -> dict:
        """What is decided, by name, ready for JSON."""
        return {name: value for name, value in asdict(self).items() if value not in (None, ())}


def reading_from(content: object) -> Reading:
    """The reading that `Reading.known` described; unknown names are an error.

    Raises:
        ValueError, TypeError: it is damaged.
    """
    if not isinstance(content, dict):
        raise TypeError("it is not an object")
    unknown = content.keys() - {f.name for f in fields(Reading)}
    if unknown:
        raise ValueError(f"{min(unknown)!r} is nothing that can be decided")
    values = {n: tuple(v) if isinstance(v, list) else v for n, v in content.items()}
    return Reading(**values)


def read_reading(path: Path | str | None) -> Reading:
    """What the `classes.json` at `path` says of the reading; nothing when there is none.

    Raises:
        UserError: it is damaged.
    """
    if path is None or not os.path.isfile(path):
        return Reading()
    read_classes(path)  # says what is wrong with the file itself
    try:
        content = read_json(path)
        return reading_from(content.get("reading", {}) if isinstance(content, dict) else {})
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(
            f'{path}: "reading" is damaged ({error}); correct it, or delete it to decide anew.'
        ) from error


def write_decisions(path: Path | str, classes: Classes, reading: Reading) -> None:
    """Write a `classes.json` with its classes, one a line, and what was decided; replaced whole.

    Raises:
        UserError: the folder cannot be written.
    """
    lines = ",\n".join("  " + json.dumps(c, ensure_ascii=False) for c in as_content(classes))
    known = json.dumps(reading.known(), ensure_ascii=False)
    decided = f',\n"reading": {known}' if reading.known() else ""
    with replace_whole(path) as unfinished:
        unfinished.write_text(f'{{"classes": [\n{lines}\n]{decided}}}\n', encoding="utf-8")


def agree(asked: Reading, kept: Reading, source: Path | str) -> Reading:
    """What is asked now together with what was decided before.

    Args:
        asked: by options; None where nothing is asked.
        kept: of the data folder.
        source: the file that has `kept`.

    Values of void that were decided together with others, as those of a table of classes, may be
    asked again without these.

    Raises:
        UserError: they contradict each other.
    """
    if set(asked.void) <= set(kept.void):
        asked = replace(asked, void=())
    for name, value in asked.known().items():
        before = getattr(kept, name)
        if before not in (None, ()) and before != value:
            raise UserError(
                f"{source} has {name.replace('_', ' ')} {before!r}, decided when labels were first "
                f'made, not {value!r}; delete "{name}" in its "reading" and make the labels of all '
                "sets anew, or leave the option out."
            )
    return replace(kept, **{n: getattr(asked, n) for n in asked.known()})
