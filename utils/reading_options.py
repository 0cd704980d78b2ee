"""The options by which commands are told how annotations and masks are meant: one place for all.

Nothing heavy is imported, so that `--help` answers at once.
"""

import argparse
from collections.abc import Mapping

from utils.errors import UserError
from utils.reading import TURNS, Reading


def _grey_value(text: str) -> int:
    """Type of an option: a value of masks, 0 to 255."""
    if not (text.isascii() and text.isdecimal() and int(text) < 256):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to 255")
    return int(text)


def _level(text: str) -> int:
    """Type of an option: a value of masks, 1 to 255."""
    if _grey_value(text) == 0:
        raise argparse.ArgumentTypeError("0 is not a whole number from 1 to 255")
    return int(text)


def _number(text: str) -> float:
    """Type of an option: a finite number."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not abs(value) < 1e12:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return value


def _name(text: str) -> str:
    """Type of an option: a name, without the blanks around it."""
    if not text.strip():
        raise argparse.ArgumentTypeError("a name is empty")
    return text.strip()


# By the name of the field of `Reading`: keywords of `add_argument`.
READING_OPTIONS: dict[str, dict] = {
    "class_attribute": {
        "type": _name,
        "metavar": "NAME",
        "help": "region attribute with the class (Name, name, class, label, type, or the only one)",
    },
    "class_name": {
        "type": _name,
        "metavar": "NAME",
        "help": "the class of every region, for annotations without any attribute",
    },
    "unclassed": {
        "type": _name,
        "metavar": "skip|void|NAME",
        "help": "what a region is that names no class: not drawn, void, or of the class NAME",
    },
    "void": {
        "type": _grey_value,
        "nargs": "+",
        "metavar": "VALUE",
        "help": "values of masks, or numbers of regions, that mean void besides 255; 11 in "
        "SegNet's CamVid",
    },
    "scale": {
        "type": _number,
        "nargs": 2,
        "metavar": ("LOW", "HIGH"),
        "help": "values of pictures of more than 8 bits that become black and white (found from "
        "the files)",
    },
    "turn": {
        "choices": TURNS,
        "help": "exif (usual): labels belong to pictures as their EXIF orientation shows them; "
        "raw: to the frames as they are stored",
    },
}

# The same of masks alone.
MASK_OPTIONS: dict[str, dict] = {
    "threshold": {
        "type": _level,
        "metavar": "N",
        "help": "brightness of masks, 1 to 255, from which on a pixel is of the one class, as 128",
    },
    "ids": {
        "type": _grey_value,
        "nargs": "+",
        "metavar": "VALUE",
        "help": "values of masks that are the classes 0, 1, 2, ..., where they have gaps: 0 5 9",
    },
}


def add_reading_options(parser: argparse._ActionsContainer) -> None:
    """Give a parser, or a group of one, the options of `READING_OPTIONS` and `MASK_OPTIONS`; what
    is left open is None.
    """
    for name, keywords in (READING_OPTIONS | MASK_OPTIONS).items():
        parser.add_argument("--" + name.replace("_", "-"), **keywords)


def asked_reading(options: argparse.Namespace | Mapping[str, object]) -> Reading:
    """What options ask for; fields that they do not name are left open.

    Args:
        options: what a parser returned, or values by the names of `READING_OPTIONS` and
            `MASK_OPTIONS`.

    Raises:
        UserError: two of them contradict each other, or a value is none that can be meant.
    """
    values = options if isinstance(options, Mapping) else vars(options)
    asked = {name: values.get(name) for name in (*READING_OPTIONS, *MASK_OPTIONS)}
    asked = {name: value for name, value in asked.items() if value is not None}
    if "class_name" in asked and "class_attribute" in asked:
        raise UserError(
            f"--class-name {asked['class_name']} gives every region one class, --class-attribute "
            f"{asked['class_attribute']} has each name its own; leave one of them out."
        )
    if "scale" in asked:
        asked["scale"] = tuple(asked["scale"])
    if "ids" in asked:
        asked["ids"] = tuple(asked["ids"])
    if "void" in asked:
        asked["void"] = tuple(sorted(set(asked["void"])))
    try:
        return Reading(**asked)
    except ValueError as error:
        raise UserError(f"{error}; see --help.") from error
