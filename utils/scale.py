"""Deep pictures, of 16 bits, whole numbers or floats, to 8 bits: one scale for a whole data set.

Were each picture scaled by its own least and largest value, two frames of one camera could differ
many times over, and an object's brightness would say nothing. So the scale is found once, from many
files, and is kept with the classes and the weights, see `reading.Reading`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from utils import picture_files
from utils.errors import UserError
from utils.formats import npy

MOST_FILES = 50  # that are decoded to find a scale, spread evenly over all
SAMPLES = 20_000  # values of each that percentiles are found from
PERCENTILES = (1, 99)
SLACK = 0.05  # how far floats from 0 to 1 may be outside, as those of a resized picture are
FAINT = 1 / 16  # floats below it are not taken as parts of 1: 16 of 256 greys would be left


def find_scale(paths: Iterable[Path | str]) -> tuple[float, float] | None:
    """The two values that become 0 and 255 in all pictures of a data set, found from its files.

    - Whole numbers from 0 to at most 65535: the bits in use. A camera of 12 bits stores 0 to 4095
      in 16 bits, so the largest value of the set is brought to 255, 1023, 4095, 65535 and so on.
      8 bits are the least, so that a few dark pictures are not made bright.
    - Floats from 0 to 1, but for a few per cent: 0 and 1.
    - Others: the 1st and the 99th percentile. The few values outside are cut off, as hot pixels and
      lamps would leave little of the scale for the rest.

    Values come from at most `MOST_FILES` pictures of either kind, the headers of all are read.
    Every page of a file counts; transparency does not, nor what is not finite or cannot be read.
    The order of the paths does not matter.

    Args:
        paths: of the pictures of all sets, training and test.

    Returns:
        (low, high) for `to_bytes`, or None when all pictures have 8 bits.

    Raises:
        UserError: some are floats from 0 to 1 and others whole numbers above 1.
    """
    pages: dict[bool, list[tuple[str, int]]] = {True: [], False: []}  # of floats, of whole numbers
    for path in sorted({str(path) for path in paths}):
        for is_float, page in _deep_pages(path):
            pages[is_float].append((path, page))
    floats, whole = _looks(pages[True]), _looks(pages[False])
    looked = [*floats, *whole]
    if not looked:
        return None
    parts = bool(floats) and _are_parts_of_1(floats)
    if parts and whole and max(look.high for look in whole) > 1:
        raise UserError(
            f"{floats[0].path} holds parts of 1 and {whole[0].path} whole numbers up to "
            f"{max(look.high for look in whole):g}, which no scale fits at once; save all pictures "
            "of the data set alike."
        )
    if parts:
        return 0.0, 1.0
    high = max(look.high for look in looked)
    if not floats and min(look.low for look in looked) >= 0 and high <= 65535:
        return 0.0, float(2 ** max(8, int(high).bit_length()) - 1)
    low, high = np.percentile(np.concatenate([look.values for look in looked]), PERCENTILES)
    low, high = (float(f"{value:.6g}") for value in (low, high))  # so that it can be written down
    return (low, high) if low < high else (low, low + max(1.0, abs(low) / 1000))


def scale_of_type(dtype: np.dtype) -> tuple[float, float]:
    """The scale of a picture of which nothing is known but its type.

    Returns:
        0 and the largest whole number of the type, or 0 and 1 for floats.
    """
    return (0.0, 1.0) if dtype.kind == "f" else (0.0, float(np.iinfo(dtype).max))


def to_bytes(values: np.ndarray, scale: tuple[float, float]) -> np.ndarray:
    """Values of any type as uint8: linear, rounded, cut off below 0 and above 255.

    Args:
        values: of any shape; NaN becomes 0.
        scale: the values that become 0 and 255.
    """
    low, high = scale
    if values.dtype == np.uint16:
        return _table(low, high)[values]  # a seventh of the time
    return _to_bytes(values, low, high)


@lru_cache(maxsize=4)
def _table(low: float, high: float) -> np.ndarray:
    """The bytes of 0 to 65535, (65536,) uint8."""
    return _to_bytes(np.arange(65536), low, high)


def _to_bytes(values: np.ndarray, low: float, high: float) -> np.ndarray:
    clipped = np.clip(np.nan_to_num(values.astype(np.float64), nan=low), low, high)
    return np.rint((clipped - low) / (high - low) * 255).astype(np.uint8)


@dataclass(frozen=True)
class _Look:
    """What one picture holds: its least and largest value, and a sample of all, float64."""

    path: str
    low: float
    high: float
    values: np.ndarray


def _deep_pages(path: str) -> list[tuple[bool, int]]:
    """The pages of a picture of more than 8 bits, each with whether it holds floats.

    None when it has fewer bits or cannot be read.
    """
    try:
        kind = picture_files.read_header(path).dtype
        if kind == np.uint8:
            return []
        return [(kind.kind == "f", page) for page in range(picture_files.count_pages(path))]
    except UserError:
        return []  # who reads it tells


def _looks(pages: list[tuple[str, int]]) -> list[_Look]:
    """Looks at `MOST_FILES` of the pages, spread evenly; those without values are passed over."""
    places = sorted({round(p) for p in np.linspace(0, len(pages) - 1, MOST_FILES)} if pages else ())
    return [look for place in places if (look := _look(*pages[place])) is not None]


def _look(path: str, page: int) -> _Look | None:
    """Look at a page; None when it cannot be read, or holds no finite value."""
    try:
        values, alpha = picture_files.read_values(path, page, channels=npy.MOST_CHANNELS)
    except UserError:
        try:  # some kinds of compression are unpacked for the colours alone
            values, alpha = picture_files.read_values(path, page)
        except UserError:
            return None
    if alpha:
        values = np.delete(values, 1 if values.shape[2] == 2 else 3, axis=2)
    values = values.ravel()
    if values.dtype.kind == "f":
        values = values[np.isfinite(values)]
    if not values.size:
        return None
    low, high = float(values.min()), float(values.max())
    if values.size > SAMPLES:
        values = values[np.random.default_rng(0).integers(0, values.size, SAMPLES)]
    return _Look(path, low, high, values.astype(np.float64))


def _are_parts_of_1(looked: list[_Look]) -> bool:
    low, high = min(look.low for look in looked), max(look.high for look in looked)
    return low >= -SLACK and FAINT <= high <= 1 + SLACK
