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
from utils.formats.mask_colours import read_colours, read_palettes, recoloured, refuse_twins
from utils.formats.mask_set import BLACK, VOC, WHITE, Masks
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
    masks = Masks(looks, folder, source, classes, reading or Reading())
    masks.clear = _clear_below(masks)
    _find_greys(masks)
    if masks.reading.palettes != "colour" and masks.reading.masks != "colours":
        _drop(masks, lambda index: masks.is_void(index) and not in_use(index))
    kept = masks.reading.masks
    in_alpha = _read_transparency(masks)
    palettes = read_palettes(masks)
    in_colours = read_colours(masks)
    grey = _read_greys(masks, in_colours)
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


# Grey values.


def _find_greys(masks: Masks) -> None:
    """Find out whether masks of colours, or those with palettes, hold greys alone."""
    coloured = [pixel.colour for pixel in masks.of("colour")]
    greys = all(colour is not None and len(set(colour)) == 1 for colour in coloured)
    used = {(pixel.value, pixel.colour) for pixel in masks.of("palette")}
    ramp = all(colour == (value,) * 3 for value, colour in used)
    if len(used) == 2 and {value for value, _ in used} == {0, VOID}:
        ramp = (VOID, VOC[VOID]) not in used  # nothing but 0 and 255, as in black and white masks
    palettes = [look for look in masks.looks if look.kind == "palette"]
    two_valued = not ramp and all(map(_is_two_valued, palettes))

    def as_grey(pixel: Pixel) -> Pixel:
        if pixel.kind == "colour" and greys:
            shade = pixel.colour if pixel.colour and len(set(pixel.colour)) == 1 else BLACK
            return Pixel("grey", shade[0], shade, pixel.alpha)
        if pixel.kind == "palette" and ramp:
            return Pixel("grey", pixel.value, (pixel.value,) * 3, pixel.alpha)
        if pixel.kind == "palette" and two_valued:
            return Pixel("grey", int(pixel.colour == WHITE), pixel.colour, pixel.alpha, 1)
        return pixel

    seen = Counter()
    for pixel, count in masks.seen.items():
        seen[as_grey(pixel)] += count
    masks.seen, masks.as_grey = seen, as_grey
    masks.in_colours = greys and any(look.kind == "colour" for look in masks.looks)


def _is_two_valued(look: Look) -> bool:
    """Whether a palette mask is like one of 1 bit: its palette holds black and white alone."""
    used = [pixel.colour for pixel, _ in look.pixels()]
    shades = {entry[:3] for entry in look.palette} | set(used)
    return shades <= {BLACK, WHITE} and len(used) == len(set(used))


def _read_greys(masks: Masks, in_colours: str | None) -> str | None:
    """Decide whether grey values are class ids, black and white, or colours of classes.

    Args:
        in_colours: "colours" where masks of colours are in the set.

    Returns:
        How later sets are to be read too; None where that is open.

    Raises:
        UserError: they contradict what was decided, or can be meant in two ways.
    """
    greys = masks.of("grey")
    whites: dict[int, set[int]] = {}
    for pixel in greys:
        whites.setdefault(pixel.white, set()).add(pixel.value)
    masks.flags = frozenset(
        white
        for white, values in whites.items()
        if white < 255 and values <= {0, white} and not masks.is_void(white)
    )
    values = {p.value for p in greys if p.white not in masks.flags and not masks.is_void(p.value)}
    hidden = any(p.kind == "grey" and p.value == VOID and masks.is_clear(p) for p in masks.seen)
    if hidden and (1 in values or not masks.two):
        values.add(VOID)  # beside ids it is void, seen or not
    kept = masks.reading.masks
    if greys and kept in (None, "colours") and masks.classes:
        if _are_colours(masks, greys, values, kept or in_colours):
            masks.grey = "colours"
            refuse_twins(masks, {p.colour for p in greys if not masks.is_void(p.value)})
            return "colours"
    are_ids = values > {0} or (0 not in values and values)
    if kept == "colours" and are_ids and not masks.numbered and VOID not in values:
        masks.remarks.append("grey values are read as class ids, they are no colours of classes")
    elif greys and kept == "colours":
        other = next(pixel for pixel in greys if masks.class_of(pixel.colour) is None)
        raise UserError(
            f"{masks.first(lambda p: p == other)} has the grey {other.colour}, which is no colour "
            f'of a class, but {masks.source} has "masks": "colours"; write "ids" there if grey '
            "values are class ids, else save these masks in colours."
        )
    name = masks.classes.names[1] if masks.classes and len(masks.classes) > 1 else "class 1"
    only = values <= {0, VOID} and VOID in values
    soft = masks.two and not only and _is_soft(greys)
    if kept != "ids" and (soft or (only and (masks.two or kept in ("black and white", "alpha")))):
        masks.grey = "black and white"
        if only:
            masks.remarks.append(
                f"only 0 and 255 occur: 255 is taken as {name!r}; put "
                f'"masks": "ids" into the "reading" of {masks.place} where it is void'
            )
        else:
            masks.remarks.append(
                f"black and white with greys between, as of smoothing: {name!r} from 128 on"
            )
        return "black and white"
    if kept in ("black and white", "alpha") and not values <= {0, 1}:
        raise UserError(_contradiction(masks, values, kept))
    if kept in ("black and white", "alpha") and 1 in values:
        masks.remarks.append(f"only 0 and 1 occur: 1 is taken as {name!r}")
    if VOID in values and masks.flags:
        white = max(masks.flags)
        raise UserError(
            f"{masks.first(lambda p: p.kind == 'grey' and p.white == white)} is of 1 bit, and "
            f"beside {masks.first(lambda p: p.value == VOID)}, where 255 is void, nobody knows "
            "whether its white is class 1 or void; save it with 8 bits."
        )
    if only:
        why = "there are more than two classes" if kept is None else f'{masks.source} has "ids"'
        masks.remarks.append(
            f'only 0 and 255 occur: 255 is void, since {why}; put "masks": "black and white" into '
            f'the "reading" of {masks.place} where it is {name!r}'
        )
    return "ids" if values - {0, 1} else None


def _are_colours(
    masks: Masks, greys: Counter[Pixel], values: set[int], in_colours: str | None
) -> bool:
    """Whether greys are colours of classes, and not all mean the same as class ids."""
    greys = [pixel for pixel in greys if not masks.is_void(pixel.value)]
    if any(masks.class_of(pixel.colour) is None for pixel in greys):
        return False
    if all(masks.class_of(pixel.colour) == masks.label_of_grey(pixel) for pixel in greys):
        return in_colours is not None
    if in_colours or masks.in_colours:
        return True
    beyond = max(pixel.colour[0] for pixel in greys) >= len(masks.classes)
    return beyond and (masks.two or not values <= {0, VOID})


def _is_soft(greys: Counter[Pixel]) -> bool:
    """Whether greys are black and white with greys between, of smoothing or a JPEG.

    There are many between, or several beside white, and white has more pixels than all of them;
    class ids are few, and none is beside 255.
    """
    levels = np.zeros(256, np.int64)
    for pixel, count in greys.items():
        if pixel.colour[0] > 255:
            return False
        levels[pixel.colour[0]] += count
    between, beside = levels[16:240], levels[240:VOID]
    many = np.count_nonzero(between) >= 8 and between[:112].any() and between[112:].any()
    several = np.count_nonzero(beside) >= 2
    return bool((many or several) and levels[240:].sum() > levels[1:240].sum())


def _contradiction(masks: Masks, values: set[int], kept: str) -> str:
    """What to say of grey values that are not black and white where the data folder's masks are."""
    value = min(values - {0}, default=0)
    most = max(values - {VOID}, default=0)
    count = len(masks.classes or ())
    path = masks.first(lambda p: p.kind == "grey" and p.value == value)
    text = f'{path} has the value {value}, but {masks.source} has "masks": "{kept}"'
    if kept == "alpha":
        return f"{text}; save it with an object that is opaque, or in black and white."
    if most >= count and masks.numbered:
        return (
            f"{text}, as other masks hold 0 and 255 only; if these hold class ids, and 255 is "
            f"void, delete {masks.source} and make the labels of {masks.folder} first."
        )
    return (
        f'{text}, as other masks hold 0 and 255 only; write "masks": "ids" there if 255 is void, '
        "or save these masks with 0 and 255 only."
    )


# Class ids.


def _derived(masks: Masks) -> Classes:
    """Classes "background", "class 1", ... up to the largest value of masks without class names.

    Raises:
        UserError: the values cannot be ids: they are too large, or most ids up to the largest are
            unused, as with grey levels chosen for the eye, or there are very many.
    """
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
        shown = ", ".join(map(str, sorted({p.value for p in seen})[:12]))
        three = len({p.value for p in seen}) > 2
        void = [value for value in ids if three and _can_be_ids(ids - {value})]
        cure = f"{masks.as_void([max(void)])} if that is void, or " if void and not many else ""
        raise UserError(
            f"the values {shown} of the masks in {masks.folder} do not look like class ids; {cure}"
            f"write a {FILE_NAME} beside that folder that names every id, or gives each class its "
            '"colour", such as [200, 200, 200].'
        )
    unused = sorted(set(range(1, count - 1)) - ids)
    if unused and ids:
        shown = ", ".join(map(str, unused[:SHOWN])) + (", ..." if len(unused) > SHOWN else "")
        masks.remarks.append(
            f"no mask has the class ids {shown}; if {max(ids)} means void, "
            f"{masks.as_void([max(ids)])}"
        )
    return named(["background", *(f"class {index}" for index in range(1, count))])


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
    more = "or save masks of class ids"
    if pixel.kind == "palette":
        more = 'or "palettes": "index" if indices are class ids'
    raise UserError(
        f"{mask} has the colour {pixel.colour}, which is no class's; give each class its "
        f'"colour" in {FILE_NAME}, put "void_colours": ["#{bytes(pixel.colour).hex()}"] into its '
        f'"reading" if that is void, {more}.'
    )


def _unknown_value(masks: Masks, mask: Look, pixel: Pixel, unknown: list[Pixel]) -> str:
    """What to say of values that no class has: that they may be void, or a class."""
    values = sorted({p.value for p in unknown if p.value is not None})
    shown = ", ".join(map(str, values[:SHOWN])) + (", ..." if len(values) > SHOWN else "")
    text = f"{mask} has the value {pixel.value}, but the classes are 0 to {len(masks.classes) - 1}"
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
