"""What the pixels of masks mean: class ids, colours, black and white, or their transparency.

It is decided for all masks of a set at once, since one file may show too little: a mask without an
object is black in each of these ways. What was decided for the data folder before holds
(`utils/reading.py`); a set that contradicts it is refused.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from utils.classes import FILE_NAME, MOST_CLASSES, VOID, Classes, named
from utils.errors import UserError
from utils.formats.index_masks import Look, Pixel, labels_of
from utils.formats.mask_colours import read_colours, read_palettes, recoloured
from utils.formats.mask_greys import find_greys, read_greys
from utils.formats.mask_set import BLACK, Masks
from utils.reading import Reading

MOST_IDS = 64  # in one mask, where no class has a name; with more it is a photograph, or instances
RARE = 0.01  # share of the pixels below which a value may well be void
# Share of the pixels of a value that touch another value from which on it may well be a line around
# objects: of lines 5 pixels wide, as those of VOC, it is 0.4, of a square of 20 pixels 0.19.
THIN = 0.35
SHOWN = 8  # values that a sentence names


def decide(
    looks: list[Look],
    folder: Path,
    classes: Classes | None = None,
    reading: Reading | None = None,
    source: Path | None = None,
    in_use: Callable[[int], bool] = lambda index: False,
) -> Masks:
    """What the pixels of a set of masks mean; `Masks.label` then tells it of each kind.

    Args:
        looks: at all masks of the set.
        folder: of the masks.
        classes: of the data folder; None: those that the masks have.
        reading: what is asked, together with what was decided for the data folder before.
        source: the `classes.json` that has `classes`.
        in_use: whether other labels of the data folder use a class id.

    Returns:
        The masks with `classes` and `reading` as they are to be kept.

    Raises:
        UserError: they contradict what was decided, they can be meant in several ways, or a value
            or colour belongs to no class.
    """
    masks = Masks(looks, folder, source, classes, _checked(reading or Reading(), classes, source))
    masks.clear = _clear_below(masks)
    find_greys(masks)
    by_id = masks.reading.palettes != "colour" and masks.reading.masks != "colours"
    if by_id and not masks.reading.ids:
        _drop(masks, lambda index: masks.is_void(index) and not in_use(index))
    kept = masks.reading.masks
    in_alpha = _read_transparency(masks)
    palettes = read_palettes(masks)
    in_colours = read_colours(masks)
    grey = read_greys(masks, in_colours)
    indices = "colours" if masks.anew else "ids" if _have_void(masks) else None
    masks.reading = replace(
        masks.reading, masks=kept or in_alpha or grey or in_colours or indices, palettes=palettes
    )
    if masks.classes is None:
        masks.classes = recoloured(_derived(masks), masks.taken)
    if masks.by_colour:
        _drop(masks, lambda index: masks.classes.colours[index] in masks.void and not in_use(index))
    _refuse_unknown(masks)
    if len(masks.classes) == 1:
        masks.remarks.append(f"they hold no class but {masks.classes.names[0]!r}")
    return masks


def _checked(reading: Reading, classes: Classes | None, source: Path | None) -> Reading:
    """The reading, with "ids" where values of the classes are given.

    Raises:
        UserError: these, or a threshold, do not go with the classes.
    """
    if reading.ids and classes and len(reading.ids) != len(classes):
        raise UserError(
            f"{len(reading.ids)} values of classes are given, {' '.join(map(str, reading.ids))}, "
            f"but {source} has {len(classes)} classes; give --ids one for each, the background's "
            "first."
        )
    if reading.threshold is not None and classes and len(classes) > 2:
        raise UserError(
            f"--threshold {reading.threshold} parts a class from the background, but {source} has "
            f"{len(classes)} classes; leave it out."
        )
    return replace(reading, masks=reading.masks or "ids") if reading.ids else reading


def _drop(masks: Masks, abolished: Callable[[int], bool]) -> None:
    """Take away the last classes that have a number for a name and that are void by now."""
    if masks.classes is None:
        return
    names, colours = masks.classes.names, masks.classes.colours
    count = len(names)
    while count > 1 and names[count - 1] == f"class {count - 1}" and abolished(count - 1):
        count -= 1
    masks.classes = Classes(names[:count], colours[:count])


def _have_void(masks: Masks) -> bool:
    """Whether palettes that are read by index have void beside ids."""
    values = {pixel.value for pixel in masks.of("palette")}
    return not masks.by_colour and VOID in values and bool(values - {0, VOID})


# Transparency.


def _clear_below(masks: Masks) -> int:
    """The alpha value below which pixels are transparent: half of the greatest, at most 128."""
    alphas = {255 if pixel.alpha is None else pixel.alpha for pixel in masks.seen}
    if len(alphas) == 1 and masks.reading.masks != "alpha":
        # Alpha that is the same all over says nothing, unless nothing at all is to be seen.
        alone = alphas == {0} and len({pixel.colour for pixel in masks.seen}) == 1
        return 1 if alone else 0
    return min(128, max(alphas) // 2 + 1)


def _read_transparency(masks: Masks) -> str | None:
    """Decide whether objects are where masks are opaque, since their colours do not tell.

    Returns:
        "alpha" where later sets are to be read so too; None where that is open.

    Raises:
        UserError: other masks, or the data folder, are of another kind.
    """
    kept, source = masks.reading.masks, masks.source
    opaque = {p for p in masks.seen if p.alpha is not None and not masks.is_clear(p)}
    if not (kept == "alpha" or _is_in_alpha(masks, opaque)):
        return None
    colours = {pixel.colour for pixel in opaque}
    if len(colours) > 1 and None not in colours and kept == "alpha":
        raise UserError(
            f"{masks.first(lambda p: p in opaque)} and others show {len(colours)} colours where "
            f'they are opaque, but {source} has "masks": "alpha"; write "masks": "colours" there '
            'and give each class its "colour", or paint all objects in one colour.'
        )
    example = masks.first(lambda p: p in opaque) if opaque else masks.folder
    others = {pixel for pixel in masks.seen if pixel.alpha is None}
    values = {pixel.value for pixel in others if pixel.white == 255}
    if opaque and not (values <= {0, VOID} or values <= {0, 1}):
        other = masks.first(lambda p: p in others and p.value != 0)
        raise UserError(
            f"{example} has its object where it is opaque, but {other} knows no transparency; save "
            "all masks in one way."
        )
    if opaque and (not masks.two or kept in ("ids", "colours")):
        why = f'"masks": "{kept}"' if masks.two else f"{len(masks.classes)} classes"
        raise UserError(
            f"{example} has its object where it is opaque, but {source} has {why}; save it with "
            f"class ids, or put a {FILE_NAME} of its own into {masks.folder}: "
            f'{{"classes": ["background", "..."], "reading": {{"masks": "alpha"}}}}.'
        )
    masks.in_alpha = True
    if opaque:
        masks.classes = masks.classes or named(["background", "class 1"])
        soft = any(p.alpha not in (None, 0, 255) for p in masks.seen)
        more = f", from alpha {masks.clear} on" if soft else ""
        masks.remarks.append(f"{masks.classes.names[1]!r} is where masks are opaque{more}")
    return "alpha"


def _is_in_alpha(masks: Masks, opaque: set[Pixel]) -> bool:
    """Whether masks show one colour, or photographs, where they are opaque."""
    hidden = {pixel for pixel in masks.seen if masks.is_clear(pixel)}
    colours = {pixel.colour for pixel in opaque}
    if not hidden or not opaque:
        return False
    if None in colours:
        return True
    if len(colours) > 1:
        return False
    colour, kinds = colours.pop(), {pixel.kind for pixel in opaque}
    named_colour = masks.class_of(colour) not in (None, 0) and not masks.two
    if {pixel.colour for pixel in hidden} == {colour}:
        return not named_colour
    if "colour" in kinds:
        return masks.class_of(colour) in (None, 0) and masks.two
    if "palette" in kinds:
        in_order = {p.value for p in hidden} == {0} and {p.value for p in opaque} == {1}
        return masks.two and not in_order
    if colour != BLACK or not masks.two:
        return False  # grey values tell
    by_value = any(look.clear is not None for look in masks.looks)
    if by_value and masks.reading.masks is None:
        value = max(pixel.value for pixel in hidden)
        raise UserError(
            f"{masks.first(lambda p: p in hidden)} is transparent where its value is {value}, and "
            f'black elsewhere; write a {FILE_NAME} beside {masks.folder} with {{"classes": '
            '["background", "..."], "reading": {"masks": "alpha"}} if black is the object, or with '
            f'"ids" there if {value} is void.'
        )
    return not by_value


# Class ids.


def _derived(masks: Masks) -> Classes:
    """Classes "background", "class 1", ... up to the largest value of masks without class names.

    Raises:
        UserError: the values cannot be ids: they are too large, or most ids up to the largest are
            unused, as with grey levels chosen for the eye, or there are very many.
    """
    if masks.reading.ids:
        return named(["background", *(f"class {i}" for i in range(1, len(masks.reading.ids)))])
    seen = masks.of("palette") if not masks.by_colour else Counter()
    if masks.grey == "ids":
        seen += Counter({p: n for p, n in masks.of("grey").items() if p.white not in masks.flags})
    ids = {p.value for p in seen if p.value != VOID and not masks.is_void(p.value)}
    count = max(ids, default=0) + 1
    if masks.flags or masks.grey == "black and white":
        count = max(count, 2)
    most = max((look for look in masks.looks), key=lambda look: len(look.codes))
    many = masks.grey == "ids" and not most.alpha and len(most.codes) > MOST_IDS
    if not _can_be_ids(ids) or many:
        values = {p.value for p in seen}
        shown, three = ", ".join(map(str, sorted(values)[:12])), len(values) > 2
        void = [value for value in ids if three and _can_be_ids(ids - {value})]
        cure = f"{masks.as_void([max(void)])} if that is void, or " if void and not many else ""
        raise UserError(
            f"the values {shown} of the masks in {masks.folder} do not look like class ids; {cure}"
            f"write a {FILE_NAME} beside that folder that names every id, or gives each class its "
            f'"colour", such as [200, 200, 200]{_as_values(ids, VOID in values, many)}.'
        )
    unused = sorted(set(range(1, count - 1)) - ids)
    if unused and ids:
        shown = ", ".join(map(str, unused[:SHOWN])) + (", ..." if len(unused) > SHOWN else "")
        masks.remarks.append(
            f"no mask has the class ids {shown}; if {max(ids)} means void, "
            f"{masks.as_void([max(ids)])}"
        )
    if _count_up(masks, ids):
        masks.remarks.append(
            "each mask has the values from 1 up, as where they number its objects; if these are "
            f"all of one class, delete {masks.place} and give --threshold 1"
        )
    return named(["background", *(f"class {index}" for index in range(1, count))])


def _count_up(masks: Masks, ids: set[int]) -> bool:
    """Whether the masks have the ids from 1 to a number of their own, 3 and more in one of them."""
    found = [ids & {masks.as_grey(p).value for p, _ in look.pixels()} - {0} for look in masks.looks]
    numbers = {len(values) for values in found}
    return max(numbers) > 2 and len(numbers) > 1 and all(max(v, default=0) == len(v) for v in found)


def _as_values(ids: set[int], have_void: bool, many: bool) -> str:
    """How to say that these are the values of the classes, 255 with them or not."""
    if many or len(ids) > 12 or max(ids) > 255 or 0 not in ids:
        return ""
    given = f"--ids {' '.join(map(str, sorted(ids)))}"
    if have_void:
        return (
            f", or give {given} {VOID} if these are the classes in order, {given} if they are but "
            f"for {VOID}, which is void"
        )
    return f", or give {given} if these are the classes in order"


def _can_be_ids(ids: set[int]) -> bool:
    """Whether values look like class ids: none is below 0 or too large, and half of them occur."""
    count = max(ids, default=0) + 1
    usual = count <= MOST_CLASSES and min(ids, default=0) >= 0
    return not ids or (usual and len(ids) >= count / 2)


def _refuse_unknown(masks: Masks) -> None:
    """Refuse values and colours that belong to no class.

    Raises:
        UserError: there are some; says what they may be.
    """
    unknown = [pixel for pixel in masks.seen if masks.label(pixel) is None]
    if not unknown:
        return
    mask = masks.first(lambda p: masks.label(p) is None)
    inside = (masks.as_grey(pixel) for pixel, _ in mask.pixels())
    pixel = next(pixel for pixel in inside if masks.label(pixel) is None)
    by_value = pixel.kind == "grey" and masks.grey != "colours"
    if by_value or (pixel.kind == "palette" and not masks.by_colour):
        raise UserError(_unknown_value(masks, mask, pixel, unknown))
    more = "save masks of class ids"
    if pixel.kind == "palette":
        more = 'put "palettes": "index" there if indices are class ids'
        # Of the colours of the first set, which may be fewer than there are.
        if masks.numbered and pixel.value >= len(masks.classes):
            more = f"delete {masks.place} and give --ids, those of all sets, if indices are ids"
    raise UserError(
        f"{mask} has the colour {pixel.colour}, which is no class's; give each class its "
        f'"colour" in {FILE_NAME}, put "void_colours": ["#{bytes(pixel.colour).hex()}"] into its '
        f'"reading" if that is void, or {more}.'
    )


def _unknown_value(masks: Masks, mask: Look, pixel: Pixel, unknown: list[Pixel]) -> str:
    """What to say of values that no class has: that they may be void, or a class."""
    values = sorted({p.value for p in unknown if p.value is not None})
    shown = ", ".join(map(str, values[:SHOWN])) + (", ..." if len(values) > SHOWN else "")
    text = f"{mask} has the value {pixel.value}, but the classes are 0 to {len(masks.classes) - 1}"
    if masks.reading.ids:
        text = f"{mask} has the value {pixel.value}, but the classes have {masks.reading.ids}"
    if len(values) > 1:
        text += f" (without a class are {shown})"
    void = {value: _signs_of_void(masks, value) for value in values[-SHOWN:]}
    void = {value: signs for value, signs in void.items() if signs and 0 <= value < 256}
    if len(void) > SHOWN // 2:
        return f"{text}; correct the masks, which may be smoothed, JPEGs or photographs."
    cures = []
    if void:
        value, signs = next(iter(void.items()))
        one = f"{value} means void ({' and '.join(signs)})"
        cures.append(f"{masks.as_void(void)} if {one if len(void) == 1 else 'they mean void'}")
    if pixel.kind == "palette" and pixel.colour:
        cures.append(f'give a class the "colour" {list(pixel.colour)} if that is what it means')
    cures.append(f"add it to {FILE_NAME} if it is a class, or correct the mask")
    return f"{text}; {', '.join(cures)}."


def _signs_of_void(masks: Masks, value: int) -> list[str]:
    """Why a value may mean void: it is the largest, rare, or lies around other values."""
    signs = []
    counts = Counter()
    for pixel, count in masks.seen.items():
        counts[pixel.value] += count
    if value == max((v for v in counts if v is not None and v != VOID), default=None):
        signs.append("the largest value")
    if counts[value] < RARE * counts.total():
        signs.append("rare")
    if _lies_around(masks, value):
        signs.append("in lines around others")
    return signs


def _lies_around(masks: Masks, value: int) -> bool:
    """Whether a value has the shape of lines, in the first mask that has it."""
    look = masks.first(lambda p: p.value == value)
    has = labels_of(look, lambda p: int(masks.as_grey(p).value == value)) == 1
    inner = np.pad(has, 1, mode="edge")
    inner = inner[:-2, 1:-1] & inner[2:, 1:-1] & inner[1:-1, :-2] & inner[1:-1, 2:]
    return bool((has & ~inner).sum() >= THIN * has.sum())
