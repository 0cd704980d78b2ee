"""Types of options of command lines: what argparse makes of a text, or its one sentence."""

import argparse
from collections.abc import Callable

LARGEST = 2**31 - 1


def whole_number(least: int, most: int = LARGEST) -> Callable[[str], int]:
    """Type of an option: an integer from `least` to `most`."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or not least <= value <= most:
            upward = "up" if most == LARGEST else f"to {most}"
            raise argparse.ArgumentTypeError(
                f"{text!r} is not a whole number from {least} {upward}"
            )
        return value

    return parse


def fraction(text: str) -> float:
    """Type of an option: a number from 0 up to, but not including, 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to below 1")
    return value
