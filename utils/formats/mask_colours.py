"""Masks of colours, and with palettes: whether the index or the colour counts, and for which class.

In PASCAL VOC the index is the class id and the palette is for the eye. Programs that reduce colours
number them anew in every file, so that the colour alone tells.
"""

from collections import Counter

from utils.classes import FILE_NAME, MOST_CLASSES, VOID, Classes
from utils.errors import UserError
from utils.formats.index_masks import MOST_COLOURS, Colour, Look
from utils.formats.mask_set import BLACK, VOC, WHITE, Masks

SHOWN = 8  # colours that a sentence names

Shown = dict[int, Colour | None]  # the colour of each index, None where it is transparent


def read_palettes(masks: Masks) -> str | None:
    """Decide whether palettes are read by colour, and take the colours of those that are not.

    Returns:
        "index" or "colour" where later sets are to be read so too; None where that is open.

    Raises:
        UserError: palettes can be meant in both ways, or are to be read in both.
    """
    if masks.reading.ids and masks.reading.palettes == "colour":
        raise UserError(
            f'{masks.source} has "palettes": "colour", and values of the classes, "ids" or --ids, '
            'are indices; delete "palettes" there and make the labels of all sets anew, or leave '
            "the values out."
        )
    looks = [
        look
        for look in masks.looks
        if masks.as_grey(next(look.pixels())[0]).kind == "palette"
        and not (masks.in_alpha and look.alpha)
    ]
    kept = masks.reading.palettes
    if not looks:
        return kept
    # Values that are given are indices: by colour they would say nothing.
    kept = "index" if masks.reading.ids else kept
    used: dict[int, set[Colour | None]] = {}
    for look in looks:
        for pixel, _ in look.pixels():
            colour = None if masks.is_clear(pixel) else pixel.colour
            used.setdefault(pixel.value, set()).add(colour)
    real = {i: c for i, c in used.items() if i != VOID and not masks.is_void(i)}
    shown = {index: min(colours, key=str) for index, colours in real.items()}
    differ = any(len(colours) > 1 for colours in real.values()) or _moved(looks, shown)
    masks.by_colour = kept == "colour" if kept else differ or _mean_colours(masks, looks, shown)
    if masks.by_colour:
        if differ:
            masks.remarks.append("palettes differ: the colour counts, not the index")
        _find_void(masks, used, differ)
        return "colour"
    if not kept and _take_colours(masks, looks, shown):
        kept = "colour"
    black = next((index for index, colour in shown.items() if colour == BLACK), 0)
    if black and shown.get(0, BLACK) != BLACK and masks.reading.palettes is None:
        masks.remarks.append(
            f"palettes are read by index: 0 is shown as {shown[0]}, {black} as black; put "
            f'"palettes": "colour" into the "reading" of {masks.place} where colours count'
        )
    return kept


def _moved(looks: list[Look], shown: Shown) -> bool:
    """Whether a colour has one index in one palette and another in another."""
    places: dict[Colour | None, list[int]] = {}
    for index, colour in shown.items():
        places.setdefault(colour, []).append(index)
    for colour, indices in places.items():
        for look in looks if colour and len(indices) > 1 else ():
            if set(indices) & set(look.codes.tolist()):
                entries = [look.palette[i][:3] for i in indices if i < len(look.palette)]
                if entries != [colour] * len(indices):
                    return True
    return False


def _mean_colours(masks: Masks, looks: list[Look], shown: Shown) -> bool:
    """Whether palettes that agree with each other are meant by colour all the same."""
    colours = set(shown.values())
    entries = {entry for look in looks for entry in look.palette}
    if not shown or len(colours) < len(shown) or len(entries) < 2:
        return False  # indices that look alike can only be meant by index
    clear = [index for index, colour in shown.items() if colour is None and index]
    standard = all(colour in (None, VOC[index]) for index, colour in shown.items())
    anew = _numbered_anew(looks, shown)
    if masks.classes is None:
        order = sorted(shown)
        gaps = order != list(range(len(order)))
        sparse = len(order) < (max(order, default=0) + 1) / 2
        masks.anew = bool(anew)
        anew = anew and (VOC[VOID] in colours or colours <= set(VOC))
        return bool(masks.of("colour") or clear or anew or (gaps and (sparse or not standard)))

    own = masks.classes.colours
    wrong = [i for i, c in shown.items() if c in own and (i >= len(own) or own[i] != c)]
    known = all(colour is None or masks.class_of(colour) is not None for colour in colours)
    other = _other_colour(masks, colours) is not None
    if ((wrong or clear) and known) or (other and (anew or max(shown) >= len(own))):
        return True
    anew = [index for index in anew if index < len(own)]  # else it is refused for what it is
    if clear or anew or (wrong and not masks.standard and not standard):
        index = (wrong or clear or anew)[0]
        colour = shown[index]
        says = "transparent" if colour is None else f"in the colour {colour}"
        says = f"as {masks.classes.names[own.index(colour)]!r}" if colour in own else says
        raise UserError(
            f"{masks.first(lambda p: p.kind == 'palette' and p.value == index)} shows index "
            f"{index} {says}, but not all colours of its palette are a class's; put "
            f'"palettes": "index" into the "reading" of {masks.source} if indices are class ids, '
            'else give each class its "colour" there.'
        )
    return False


def _numbered_anew(looks: list[Look], shown: Shown) -> list[int]:
    """The indices of black and of VOC's void where a program that reduces colours put them.

    There are none where black is 0, or where palettes have colours for classes that do not occur,
    unless all colours are those of VOC.
    """
    exact = all(len(set(look.palette)) == len(look.codes) for look in looks)
    if not exact and not set(shown.values()) <= set(VOC):
        return []
    black = [index for index, colour in shown.items() if colour == BLACK and index]
    void = [index for index, colour in shown.items() if colour == VOC[VOID]]
    return void + (black if shown.get(0) != BLACK else [])


def _find_void(masks: Masks, used: dict[int, set[Colour | None]], differ: bool) -> None:
    """The colours that void has where palettes are read by colour."""
    for index, colours in used.items():
        if masks.is_void(index) and len(colours) > 1:
            raise UserError(
                f"the masks in {masks.folder} have palettes that differ, so that {index} names no "
                'colour that is void; put it as "void_colours": ["#rrggbb"] into the "reading" of '
                f'{masks.place}, and leave --void and "void" out.'
            )
        if masks.is_void(index):
            masks.void |= colours - {None}
        elif index == VOID and not differ:
            masks.likely_void |= colours - {None}


def _take_colours(masks: Masks, looks: list[Look], shown: Shown) -> bool:
    """Take the colours of palettes that are read by index, for other sets to be held against.

    Returns:
        Whether they are worth it: those of PASCAL VOC, and those that are alike, say nothing.
    """
    colours = set(shown.values())
    standard = all(colour == VOC[index] for index, colour in shown.items())
    if standard or not masks.standard or None in colours or len(colours) < len(shown):
        return False
    for index in range(256):
        entries = {look.palette[index][:3] for look in looks if index < len(look.palette)}
        if index in shown:
            masks.taken[index] = shown[index]
        elif len(entries) == 1 and not entries & colours:
            masks.taken[index] = entries.pop()
    if masks.classes:
        masks.classes = recoloured(masks.classes, masks.taken)
    return True


def recoloured(classes: Classes, taken: dict[int, Colour]) -> Classes:
    """Classes in these colours, each its own; of PASCAL VOC where none is given."""
    colours: list[Colour | None] = [None] * len(classes)
    for index in range(len(classes)):
        if taken.get(index) not in colours:
            colours[index] = taken[index]
    for index, colour in enumerate(colours):
        if colour is None:
            colours[index] = next(c for c in VOC[index:] + VOC if c not in colours)
    return Classes(classes.names, tuple(colours))


def read_colours(masks: Masks) -> str | None:
    """Make classes of the colours, where there are none and palettes are read by colour.

    Returns:
        "colours" where later sets are to be read so too; None where that is open.

    Raises:
        UserError: nobody says what the colours mean, or two classes have one colour.
    """
    seen = masks.of("colour")
    in_colours = bool(seen)
    if masks.by_colour:
        seen += masks.of("palette")
    colours: Counter[Colour | None] = Counter()
    for pixel, count in seen.items():
        colours[pixel.colour] += count
    if not seen:
        return None
    if None in colours:
        raise UserError(
            f"{masks.first(lambda p: p.colour is None)} has more than {MOST_COLOURS} colours, as a "
            "photograph or a JPEG; save masks as PNGs without smoothing."
        )
    if masks.classes:
        other = _other_colour(masks, set(colours))
        if other:
            masks.classes = Classes(masks.classes.names, (BLACK, other))
            masks.remarks.append(f"the colour {other} is taken as {masks.classes.names[1]!r}")
        refuse_twins(masks, set(colours))
        return "colours" if in_colours else None
    colours = {c: n for c, n in colours.items() if c not in masks.void | masks.likely_void}
    if not masks.by_colour or len(colours) >= MOST_CLASSES:
        listed = ", ".join(map(str, sorted(colours)[:SHOWN]))
        more = f" and {len(colours) - SHOWN} more" if len(colours) > SHOWN else ""
        raise UserError(
            f"the masks in {masks.folder} are colours; write a {FILE_NAME} beside that folder with "
            f'the name and the "colour" of each class, of {listed}{more}.'
        )
    masks.classes = _classes_of(masks, set(colours))
    named = zip(masks.classes.colours, masks.classes.names, strict=True)
    listed = ", ".join(f"{colour} {name!r}" for colour, name in list(named)[:SHOWN])
    masks.remarks.append(f"their colours are taken as classes: {listed}")
    return "colours"


def _other_colour(masks: Masks, colours: set[Colour | None]) -> Colour | None:
    """The colour of the one class besides the background, where none is given and black is that."""
    rest = colours - masks.void - masks.likely_void
    given = rest - {BLACK, None}
    if masks.classes and len(masks.classes) == 2 and masks.standard and len(given) == 1:
        return given.pop() if len(rest) > 1 else None
    return None


def _classes_of(masks: Masks, colours: set[Colour]) -> Classes:
    """Classes by number in these colours: black, or white, first; then those of PASCAL VOC."""
    greys = {pixel.colour for pixel in masks.of("grey")}
    if stray := greys - colours - {BLACK, WHITE}:
        raise UserError(
            f"{masks.first(lambda p: p.kind == 'grey' and p.colour in stray)} has grey values, but "
            f"other masks of {masks.folder} have palettes that are read by colour; save all in one "
            f'way, or write a {FILE_NAME} beside that folder with the "colour" of each class.'
        )
    colours = colours | greys or {BLACK}  # black, where all is void
    order = sorted(colours, key=lambda c: (c not in VOC, VOC.index(c) if c in VOC else c[::-1]))
    clear = any(masks.is_clear(pixel) for pixel in masks.seen)
    first = WHITE if WHITE in colours and BLACK not in colours and not clear else order[0]
    first = BLACK if clear or BLACK in colours else first
    order = [first, *(colour for colour in order if colour != first)]
    names = ["background", *(f"class {index}" for index in range(1, len(order)))]
    return Classes(tuple(names), tuple(order))


def refuse_twins(masks: Masks, colours: set[Colour | None]) -> None:
    """Refuse a colour that occurs and is that of two classes.

    Raises:
        UserError: there is one.
    """
    own = masks.classes.colours
    for colour in colours:
        twins = [masks.classes.names[i] for i, c in enumerate(own) if c == colour]
        if len(twins) > 1 and colour not in masks.void:
            raise UserError(
                f"{masks.source} gives {twins[0]!r} and {twins[1]!r} the same colour {colour}, "
                f"which {masks.first(lambda p, c=colour: p.colour == c)} has; give each its own."
            )
