"""Masks that were saved as JPEGs: each pixel takes the nearest of the colours that were meant.

Those are the colours of the classes, or those of small blocks of one colour: noise is where colours
meet, and what a JPEG codes without a border in it keeps its colour but for rounding (ITU-T T.81).
Of 100 classes drawn into pictures of 400 pixels, at qualities of 40 to 95, all were found, and none
besides.
"""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from utils.errors import UserError
from utils.formats.index_masks import Colour, Look, colours_of, look_again, nearest

BLOCK = 4  # pixels
FLAT = 10  # levels of a channel within a block of one colour
ALIKE = 24  # levels of a channel between colours that are taken for one
KNOWN = 40  # levels of a channel between a colour and that of the class that it stands for
SNAP = 5  # levels of a channel to one of `LEVELS`, which programs draw with
LEVELS = np.array([0, 64, 128, 192, 255])
DARK = 64  # levels; a JPEG of black alone has none above 0
MOST = 64  # colours in one set; with more these are photographs
HALF = 0.4  # of the way between two colours, from which on a pixel may be either
FAR = 100  # from the nearest colour, of 442
UNSURE = 0.05  # share of pixels of a mask that may be so


def without_noise(
    looks: list[Look], known: Iterable[Colour], are_usual: bool
) -> tuple[list[Look], list[str]]:
    """Looks at masks, JPEGs among them as if they had been saved without loss.

    Args:
        looks: at all masks of a set.
        known: colours of the classes, and of void.
        are_usual: whether nobody gave these colours, so that masks may well have others.

    Returns:
        The looks, and sentences on what was done.

    Raises:
        UserError: a mask has no few colours, or too many pixels lie between two.
    """
    noisy = [look for look in looks if look.lossy]
    if not noisy:
        return looks, []
    colours = _meant(noisy, list(known), are_usual)
    found, used, moved, total, most = [], set(), 0, 0, 0.0
    for look in looks:
        if look.lossy:
            own, values = _occurring(look, colours)
            _, apart, unsure = nearest(values.reshape(-1, 3), own, HALF, FAR)
            share = float(unsure.mean())
            if share > UNSURE:
                raise UserError(
                    f"{look} is a JPEG of which {share:.0%} of the pixels lie between the colours "
                    f"{', '.join(map(str, own[:6]))}; save masks as PNGs, or, where there are two "
                    "classes, give the brightness that parts them with --threshold."
                )
            moved, total, most = (
                moved + int((apart > 0).sum()),
                total + apart.size,
                max(most, share),
            )
            used |= set(own)
            look = look_again(replace(look, meant=own))
        found.append(look)
    lost = [colour for colour in colours if colour not in used]
    thin = f"; of {', '.join(map(str, lost))} there was no area of 2x2 pixels" if lost else ""
    return found, [
        f"{len(noisy)} masks are JPEGs: {moved / total:.1%} of their pixels took the nearest of "
        f"{len(used)} colours, and in the worst mask {most:.1%} could have been of two" + thin
    ]


def _meant(looks: list[Look], known: list[Colour], are_usual: bool) -> list[Colour]:
    """The colours that were meant in JPEGs: those known, and those of blocks besides."""
    counts: dict[Colour, int] = {}
    lightest = 0
    for look in looks:
        values = colours_of(look)
        lightest = max(lightest, int(values.max()))
        for colour, count in _of_blocks(values):
            counts[colour] = counts.get(colour, 0) + count
    dark = not are_usual and any(0 < max(colour) <= DARK for colour in known)
    if 0 < lightest <= DARK and not dark:
        raise UserError(
            f"{looks[0]} and the other JPEGs among the masks have no value above {lightest}, as if "
            "class ids had been saved with loss; save masks as PNGs, or, where there are two "
            "classes, give the brightness that parts them with --threshold."
        )
    found: list[Colour] = []
    for colour in sorted(counts, key=lambda c: (-counts[c], c)):
        if all(_apart(colour, other) > ALIKE for other in found):
            found.append(colour)
        if len(found) > MOST:
            break
    if not 1 <= len(found) <= MOST:
        raise UserError(
            f"{looks[0]} is a JPEG without a few colours that it has large parts of, as a "
            "photograph; save masks as PNGs, or, where there are two classes, give the brightness "
            "that parts them with --threshold."
        )
    other = [_snapped(c) for c in found if all(_apart(c, k) > KNOWN for k in known)]
    if are_usual and other:
        return [_snapped(colour) for colour in found]
    return [*dict.fromkeys([*known, *other])]


def _of_blocks(values: np.ndarray) -> list[tuple[Colour, int]]:
    """The colours of the blocks of one colour in (H, W, 3) uint8, and how many there are."""
    height, width = (max(1, side // BLOCK) for side in values.shape[:2])
    values = values[: height * BLOCK, : width * BLOCK]
    sides = values.shape[0] // height, values.shape[1] // width
    blocks = values.reshape(height, sides[0], width, sides[1], 3)
    flat = (blocks.max((1, 3)).astype(int) - blocks.min((1, 3)) <= FLAT).all(-1)
    colours = np.rint(blocks.mean((1, 3))[flat]).astype(int)
    found, counts = np.unique(colours, axis=0, return_counts=True)
    return list(zip(map(tuple, found.tolist()), counts.tolist(), strict=True))


def _occurring(look: Look, colours: list[Colour]) -> tuple[tuple[Colour, ...], np.ndarray]:
    """Those of the colours that a mask has a part of, and the mask, (H, W, 3) uint8.

    A pixel between two colours is not to become a third that the mask does not have.
    """
    values = colours_of(look)
    signed, found = values.astype(np.int16), []
    for colour in colours:
        near = (np.abs(signed - np.array(colour, np.int16)) <= ALIKE).all(-1)
        if (near[1:, 1:] & near[:-1, 1:] & near[1:, :-1] & near[:-1, :-1]).any():
            found.append(colour)
    return tuple(found or colours), values


def _apart(one: Colour, other: Colour) -> int:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def _snapped(colour: Colour) -> Colour:
    """A colour with the channels that are nearly one of `LEVELS` made that."""
    at = [int(LEVELS[np.abs(LEVELS - value).argmin()]) for value in colour]
    near = zip(colour, at, strict=True)
    red, green, blue = (level if abs(level - value) <= SNAP else value for value, level in near)
    return red, green, blue
