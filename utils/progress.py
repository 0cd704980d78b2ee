"""A progress bar of one line, shown in a terminal only."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

WIDTH = 30  # characters
PAUSE = 0.1  # seconds between two drawings; more often would only slow the work down


def progress(iterable: Iterable[Item], total: int, text: str) -> Iterator[Item]:
    """Yield the items of `iterable` and draw a bar on standard error meanwhile.

    Nothing is drawn when standard error is not a terminal, so logs stay readable.

    Args:
        total: how many items there are.
        text: what is being done, before the bar.
    """
    if not sys.stderr.isatty():
        yield from iterable
        return
    drawn = 0.0
    try:
        for done, item in enumerate(iterable):
            if time.monotonic() - drawn > PAUSE:
                drawn = time.monotonic()
                _draw(done, total, text)
            yield item
        _draw(total, total, text)
    finally:
        print(file=sys.stderr)


def _draw(done: int, total: int, text: str) -> None:
    full = WIDTH * done // max(total, 1)
    bar = "#" * full + "." * (WIDTH - full)
    print(f"\r{text} [{bar}] {done}/{total}", end="", file=sys.stderr, flush=True)
