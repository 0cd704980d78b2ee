"""Classes that an annotation file lists, as classes of ours: with a background, which is id 0."""

from collections.abc import Sequence

from utils.classes import MOST_CLASSES, VOC_COLOURS, Classes

Colour = tuple[int, int, int]


def with_background(listed: Sequence[tuple[str, Colour | None]]) -> Classes:
    """Classes with the background first, which most programs do not list, and the others in order.

    A class that is called "background", in any letter case, is it. What no colour is given for gets
    that of PASCAL VOC.

    Args:
        listed: names and colours, without void.

    Raises:
        ValueError: as `Classes`: a name is empty or occurs twice, or there are too many.
    """
    if len(listed) > MOST_CLASSES:
        raise ValueError(f"there are {len(listed)} classes, not 1 to {MOST_CLASSES - 1}")
    entries = [(name.strip(), colour) for name, colour in listed]
    own = [entry for entry in entries if entry[0].casefold() == "background"]
    others = [entry for entry in entries if entry[0].casefold() != "background"]
    entries = [*(own or [("background", None)]), *others]
    standard = VOC_COLOURS(len(entries))
    colours = [colour or standard[index] for index, (_, colour) in enumerate(entries)]
    return Classes(tuple(name for name, _ in entries), tuple(colours))


def hex_colour(text: object) -> Colour | None:
    """The colour of a text such as "#fa3253"; None for anything else."""
    if not isinstance(text, str) or len(text) != 7 or text[0] != "#":
        return None
    try:
        return tuple(bytes.fromhex(text[1:]))
    except ValueError:
        return None
