"""Pictures as NumPy arrays: `.npy` files of (H, W) or (H, W, C) numbers, without pickles.

A label store is a `.npy` as well; the index beside it tells it from a picture.
"""

import math
import os
import re
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from utils.files import open_ordinary

MAGIC = b"\x93NUMPY"
VERSIONS = (b"\x01\x00", b"\x02\x00", b"\x03\x00")  # those that there are
INDEX = ".index.json"  # how the index beside a label store ends
MOST_CHANNELS = 16

# What NumPy and others write before plain numbers, and before pickled objects ("O").
# By hand: `np.load` parses with `ast`, which in Python 3.11 fails now and then when two threads do
# so at once ("AST constructor recursion depth mismatch"), and raises anything on hostile headers.
_HEADER = re.compile(
    rb"\{ *'descr': '([<>|=]?[a-z]\d{1,2}|\|?O\d?)', 'fortran_order': (True|False), "
    rb"'shape': \(([\d, L]{0,60})\),? *\}\s*"
)
_LENGTHS = re.compile(rb"(\d{1,18}L?, *)*(\d{1,18}L?)?")


class Header(NamedTuple):
    """What stands before the content of a `.npy`.

    Attributes:
        shape: of the array.
        dtype: of its numbers; None where the content is pickled.
        order: "C", or "F" where the first index runs fastest.
        offset: bytes before the content.
    """

    shape: tuple[int, ...]
    dtype: np.dtype | None
    order: str
    offset: int


def parse_header(file: BinaryIO) -> Header:
    """The header of an open `.npy` of any shape, for numbers and pickled objects.

    Raises:
        ValueError: it holds something else, or is no `.npy`.
    """
    start = file.read(8)
    width = 2 if start[6:] == VERSIONS[0] else 4  # bytes of the length that follows
    length = int.from_bytes(file.read(width), "little")
    match = _HEADER.fullmatch(file.read(min(length, 1000)))
    known = start[:6] == MAGIC and start[6:] in VERSIONS
    if not known or match is None or not _LENGTHS.fullmatch(match[3]):
        raise ValueError("it holds something else than an array of numbers")
    shape = tuple(int(part.rstrip(b" L")) for part in match[3].split(b",") if part.strip())
    order = "F" if match[2] == b"True" else "C"
    kind = match[1].decode()
    try:
        dtype = None if "O" in kind else np.dtype(kind)
    except TypeError as error:  # of a size that there is not
        raise ValueError(f"it holds {kind}, not whole numbers or floats") from error
    return Header(shape, dtype, order, 8 + width + length)


def read_header(file: BinaryIO) -> tuple[tuple[int, int, int], np.dtype, str, int]:
    """Shape (H, W, C), dtype, order ("C" or "F") and offset of the numbers in an open `.npy`.

    Raises:
        ValueError: it holds something else than whole numbers or floats of a picture's shape.
    """
    shape, dtype, order, offset = parse_header(file)
    if dtype is None:
        raise ValueError("it holds something else than an array of numbers")
    if dtype.kind not in "buif" or dtype.itemsize > 8:
        raise ValueError(f"it holds {dtype.name}, not whole numbers or floats")
    if len(shape) == 2:
        shape = (*shape, 1)
    if len(shape) != 3 or not all(shape) or shape[2] > MOST_CHANNELS:
        raise ValueError(
            f"its shape is {' x '.join(map(str, shape))}, not height x width x channels, of which "
            f"{MOST_CHANNELS} are read; np.moveaxis brings channels to the end"
        )
    return shape, dtype, order, offset


def read_values(file: BinaryIO) -> np.ndarray:
    """The numbers of an open `.npy`, (H, W, C) of its own type; mapped, so copy what you need.

    Raises:
        ValueError: see `read_header`; or the file is too short.
    """
    shape, dtype, order, offset = read_header(file)
    if isinstance(file, BytesIO):
        count = math.prod(shape)
        return np.frombuffer(file.getbuffer(), dtype, count, offset).reshape(shape, order=order)
    return np.memmap(file, dtype, "r", offset, shape, order)


def is_picture(path: Path) -> bool:
    """Whether a file is an array that can be a picture, and no label store or something else."""
    if os.path.exists(path.with_suffix(INDEX)):  # which a name can be too long for
        return False
    try:
        with open_ordinary(path) as file:
            read_header(file)
    except (OSError, ValueError):
        return False
    return True
