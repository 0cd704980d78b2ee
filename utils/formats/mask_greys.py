"""Masks of grey values: whether these are class ids, black and white, or colours of classes."""

from collections import Counter

import numpy as np

from utils.classes import VOID
from utils.errors import UserError
from utils.formats.index_masks import Look, Pixel
from utils.formats.mask_colours import refuse_twins
from utils.formats.mask_set import BLACK, VOC, WHITE, Masks


def find_greys(masks: Masks) -> None:
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


def read_greys(masks: Masks, in_colours: str | None) -> str | None:
    """Decide whether grey values are class ids, black and white, or colours of classes.

    Args:
        in_colours: "colours" where masks of colours are in the set.

    Returns:
        How later sets are to be read too; None where that is open.

    Raises:
        UserError: they contradict what was decided, or can be meant in two ways.
    """
    greys = masks.of("grey")
    name = masks.classes.names[1] if masks.classes and len(masks.classes) > 1 else "class 1"
    if masks.reading.threshold is not None:
        masks.grey = "black and white"
        masks.remarks.append(f"{name!r} is from the brightness {masks.reading.threshold} on")
        return "black and white"
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
    if hidden and not masks.of_a_class and (1 in values or not masks.two):
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
    if VOID in values and masks.flags and not masks.of_a_class:
        white = max(masks.flags)
        raise UserError(
            f"{masks.first(lambda p: p.kind == 'grey' and p.white == white)} is of 1 bit, and "
            f"beside {masks.first(lambda p: p.value == VOID)}, where 255 is void, nobody knows "
            "whether its white is class 1 or void; save it with 8 bits."
        )
    if only and not masks.of_a_class:
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
