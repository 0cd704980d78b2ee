"""Masks of one class or one object each: what their names say, and how they become one label map.

`x_bottle.png` and `x/bottle.png` name a class. `x_mask_1.png`, `x/mask_0.png` and whatever is in a
folder for objects are objects of the one class that there is. A name that can be meant in both ways
is refused until a `classes.json` or a class table says which classes there are.
"""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from utils.classes import MOST_CLASSES, VOID, Classes, named
from utils.errors import UserError
from utils.formats.index_masks import Look, Pixel, labels_of
from utils.formats.mask_files import OF_OBJECTS, SEPARATORS, Part
from utils.reading import Reading

BLACK = (0, 0, 0)
ONE = ["background", "class 1"]
FEW = 8  # names of masks that may be classes, though there are no more pictures than names


def classes_of_parts(
    masks: dict[Path, list[Part]], classes: Classes | None, source: Path
) -> tuple[Classes, dict[Path, int]]:
    """The classes of masks of one class or object each, and the class id of each mask.

    Args:
        masks: of each picture.
        classes: that are known; None: those that the masks name, by the alphabet.
        source: where the classes are from, or belong, for what is said.

    Raises:
        UserError: a name says no class, or may be that of a class or of an object.
    """
    parts = [part for of in masks.values() for part in of]
    if classes is None:
        classes = _named_by(parts, len(masks), source)
    ids = {}
    for part in parts:
        index = _class_id(part.name, classes)
        if index is None and len(classes) == 2 and "".join(_words(part.name) or "0").isdecimal():
            index = 1  # an object of the one class that there is
        if index is None:
            known = ", ".join(classes.names)
            raise UserError(
                f"{part.path} names none of the classes {known} of {source}; give it the name of "
                f"its picture and of a class, as x_{classes.names[-1]}.png, or add the class there."
            )
        ids[part.path] = index
    return classes, ids


def _named_by(parts: list[Part], pictures: int, source: Path) -> Classes:
    """The classes that masks name; "class 1" where all are objects."""
    names: dict[str, str] = {}
    objects: list[Part] = []
    for part in parts:
        words = _words(part.name)
        name = " ".join(words)
        if not words or (name.isdecimal() and len(words) < len(_split(part.name))):
            objects.append(part)  # "mask", or "mask_1"
        elif name[-1].isdecimal():
            raise UserError(
                f"{part.path} may be a mask of the class {name!r} or of one of several objects; "
                f'write {source} with the names of the classes, as ["background", "..."], or call '
                "objects mask_1, mask_2."
            )
        else:
            names.setdefault(name.casefold(), name)
    if names and objects:
        raise UserError(
            f"{objects[0].path} names no class, but other masks name {min(names.values())!r}; give "
            "all of them the names of their classes."
        )
    if len(names) > max(FEW, pictures) or len(names) >= MOST_CLASSES:
        raise UserError(
            f"the {len(parts)} masks of {pictures} pictures have {len(names)} names, such as "
            f"{min(names.values())!r}, which are hardly classes; call objects mask_1, mask_2, or "
            f'write {source} with the names of the classes, as ["background", "..."].'
        )
    names.pop("background", None)
    return named(["background", *(names[name] for name in sorted(names))] if names else ONE)


def _split(name: str) -> list[str]:
    return [word for word in re.split(f"[{SEPARATORS}]+", name) if word]


def _words(name: str) -> list[str]:
    """The words of a mask's name but those that say that it is a mask: "bottle" of "mask_bottle".

    Of "mask_1" it is "1", of "mask1" nothing.
    """
    return [word for word in _split(name) if _without_number(word).casefold() not in OF_OBJECTS]


def _without_number(word: str) -> str:
    return re.sub("[0-9]+$", "", word)


def _class_id(name: str, classes: Classes) -> int | None:
    """The class that a mask's name names: by all of it, or all but "mask" and a number."""
    by_name = {"background": 0} | {_joined(_split(n)): i for i, n in enumerate(classes.names)}
    words = _words(name)
    shorter = [*words[:-1], *map(_without_number, words[-1:])]
    for candidate in (_split(name), words, shorter):
        if (index := by_name.get(_joined(candidate))) is not None:
            return index
    return None


def _joined(words: list[str]) -> str:
    return " ".join(word.casefold() for word in words if word)


def object_in(look: Look, reading: Reading) -> Callable[[Pixel], int]:
    """What tells the object of a mask of one: 1 where it is, 0 elsewhere, or void.

    It is where the mask is opaque; else where it is not black, or not 0.

    Raises:
        UserError: there is more than one colour, so that nobody knows which is the object.
    """
    pixels = [pixel for pixel, _ in look.pixels()]
    if reading.threshold is not None:
        return lambda pixel: int(pixel.value >= reading.threshold)
    alphas = {pixel.alpha is not None and pixel.alpha < 128 for pixel in pixels}
    clear = [p for p in pixels if len(alphas) == 2 and p.alpha is not None and p.alpha < 128]
    rest = [pixel for pixel in pixels if pixel not in clear]
    if clear and len({pixel.colour for pixel in rest}) == 1:
        return lambda pixel: int(pixel not in clear)
    black = [pixel for pixel in rest if pixel.colour == BLACK]
    ground = black or [pixel for pixel in rest if pixel.value == 0]
    other = [pixel for pixel in rest if pixel not in ground]
    void = [pixel for pixel in other if pixel.value in reading.void]
    if {pixel.value for pixel in other} == {1, VOID} and look.kind == "grey":
        void = [pixel for pixel in other if pixel.value == VOID]
    found = [pixel for pixel in other if pixel not in void]
    colours = {pixel.colour for pixel in found}
    if len(colours) > 1 or None in colours:
        shown = (
            "" if None in colours else f", such as {' and '.join(map(str, sorted(colours)[:2]))}"
        )
        raise UserError(
            f"{look} is named as the mask of one class or object, but has several colours{shown}; "
            "save it in black and white, or give the brightness from which on it is the object "
            "with --threshold."
        )
    return lambda pixel: VOID if pixel in void else int(pixel in found)


def merge_parts(
    parts: list[tuple[Look, int, Callable[[Pixel], int]]],
) -> tuple[np.ndarray, int]:
    """One label map, (H, W) uint8, of masks of one class or object each.

    The mask of a later class lies on top, the background below all. Void is where a mask has it and
    none has an object.

    Args:
        parts: looks at the masks, their class ids, and what `object_in` gives for each.

    Returns:
        It, and how many pixels masks of two classes claim.

    Raises:
        UserError: a mask has another size than the first.
    """
    parts = sorted(parts, key=lambda part: part[1])
    labels = claimed = twice = None
    for look, index, label in parts:
        mask = labels_of(look, label)
        if labels is None:
            labels, claimed = np.zeros_like(mask), np.full_like(mask, VOID)  # void by none
            twice = np.zeros(mask.shape, bool)
        if mask.shape != labels.shape:
            (height, width), (h, w) = labels.shape, mask.shape
            raise UserError(
                f"{look} is {w} x {h}, but {parts[0][0].path.name}, of the same picture, is "
                f"{width} x {height}; give both the same size."
            )
        here = mask == 1
        twice |= here & (claimed != VOID) & (claimed != index)
        labels[(mask == VOID) & (claimed == VOID)] = VOID
        labels[here] = claimed[here] = index
    return labels, int(twice.sum())
