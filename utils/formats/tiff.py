"""What a TIFF holds, and its values where Pillow has no mode for them.

Pillow reads up to four channels of 8 bits, and one of 16 or 32; tifffile, which comes with
scikit-image, reads any number of any type, but unpacks fewer kinds of compression. Deep greys stay
as they are stored where the file calls 0 white: how many bits are in use is not known yet.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import BinaryIO

import numpy as np

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the latter two of files above 4 GB

# Photometric interpretations; TIFF 6.0, page 117.
WHITE_IS_0 = 0
GREY = (WHITE_IS_0, 1)
COLOURS = 2
PALETTE = 3
CONVERTED = (PALETTE, 5, 6, 8, 9, 10)  # these, inks, YCbCr, Lab: Pillow makes colours of them

logging.getLogger("tifffile").addHandler(logging.NullHandler())  # it remarks on private tags


class PackedError(Exception):
    """A TIFF is compressed in a way that needs `imagecodecs`."""


class PageError(Exception):
    """A TIFF has no page of that number; the argument is how many it has."""


@dataclass(frozen=True)
class Page:
    """What the header of a page tells.

    Attributes:
        index: of the page among all of the file, those passed over included.
        size: (H, W) of the raw frame.
        channels: that are stored; 3 where Pillow makes colours of others.
        alpha: whether the one after grey or colours is transparency.
        dtype: of the values; uint8 for whole numbers from 0 up of 8 bits or fewer.
        orientation: 1 to 8.
        by_pillow: how many of the channels, from the first on, Pillow reads as they are meant.
        direct: whether the values are those of a picture as they are stored, not of a palette.
    """

    index: int
    size: tuple[int, int]
    channels: int
    alpha: bool
    dtype: np.dtype
    orientation: int
    by_pillow: int
    direct: bool


def read_page(file: BinaryIO, number: int = 0) -> Page:
    """The header of a page of an open TIFF, counted as in `count_pages`.

    Raises:
        ValueError: the file is damaged, or holds something else than pictures.
        PageError: there is no such page.
    """
    with _tiff(file) as tiff:
        numbers = _numbers(tiff)
        if not 0 <= number < len(numbers):
            raise PageError(len(numbers))
        return _described(tiff.pages[numbers[number]], numbers[number])


def count_pages(file: BinaryIO) -> int:
    """How many pictures a TIFF has; smaller copies and transparency masks are none."""
    with _tiff(file) as tiff:
        return len(_numbers(tiff))


def read_values(file: BinaryIO, page: Page) -> np.ndarray:
    """The values of a page as they are stored, (H, W, C); not turned.

    Raises:
        ValueError: the file is damaged.
        PackedError: see there.
    """
    with _tiff(file) as tiff:
        try:
            found = tiff.pages[page.index]
            if len(found.dataoffsets) < prod(found.chunked):  # tifffile would fill in zeros
                raise ValueError("parts of it are missing")
            values = found.asarray(maxworkers=1)
            axes = found.axes
        except Exception as error:
            if "imagecodecs" in str(error):
                raise PackedError(str(error)) from error
            raise
    if axes == "SYX":
        values = np.moveaxis(values, 0, -1)
    return values.reshape(*page.size, -1)


@contextmanager
def _tiff(file: BinaryIO) -> Iterator:
    """An open TIFF as tifffile has it; all of its errors are `ValueError`."""
    from tifffile import TiffFile

    file.seek(0)
    try:
        with TiffFile(file) as tiff:
            yield tiff
    except (PageError, PackedError):
        raise
    except Exception as error:  # a damaged file may make any, from struct.error to KeyError
        raise ValueError(str(error) or type(error).__name__) from error


def _numbers(tiff) -> list[int]:
    """The pages that are pictures; all of them when none says so."""
    types = [int(getattr(page, "subfiletype", 0) or 0) for page in tiff.pages]
    # 1: a smaller copy of another page; 4: its transparency.
    return [number for number, type_ in enumerate(types) if not type_ & 5] or [*range(len(types))]


def _described(page, index: int) -> Page:
    size = (int(page.imagelength), int(page.imagewidth))
    if page.dtype is None or page.axes not in ("YX", "YXS", "SYX") or not all(size):
        raise ValueError(f"it holds {page.dtype or 'unknown values'} in the order {page.axes!r}")
    samples, bits = int(page.samplesperpixel), page.bitspersample
    extra = [int(kind) for kind in page.extrasamples]
    orientation = page.tags.get(274)
    orientation = orientation.value if orientation is not None else 1
    plain = page.sampleformat == 1 and isinstance(bits, int)  # whole numbers from 0 up
    dtype = np.dtype(page.dtype).newbyteorder("=")
    if dtype.kind not in "buif":
        raise ValueError(f"it holds {dtype.name}, not whole numbers or floats")
    own = 1 if page.photometric in GREY else 3
    alpha = extra[:1] in ([1], [2]) and samples > own and (own == 3 or samples == 2)
    together = page.planarconfig == 1
    # Pillow divides colours by a transparency that they were multiplied with (1).
    multiplied = extra == [1] and samples == own + 1 and together
    as_bytes = bits == 8 and page.photometric != WHITE_IS_0 and not multiplied
    direct = page.photometric not in CONVERTED and (as_bytes or not plain or bits > 8)
    if page.photometric in CONVERTED:
        alpha = page.photometric == PALETTE and samples == 2
        samples = by_pillow = 3 + alpha
        dtype = np.dtype(np.uint8)
    elif page.photometric in GREY:
        # Pillow exchanges the bytes of the latter three when they are packed on big machines.
        safe = dtype == "u2" or (dtype in ("i2", "i4", "f4") and page.parent.byteorder == "<")
        single = samples == 1 and (plain and bits <= 8 or safe)
        with_alpha = samples == 2 and alpha and together and plain and bits == 8
        by_pillow = 1 if single else 2 if with_alpha else 0
    elif page.photometric == COLOURS and plain:
        known = 4 if alpha or (samples == 4 and not extra) else 3
        if bits == 8:
            right = samples <= 6 if together else samples == known
        else:
            right = bits == 16 and together and samples <= 4 and extra[:1] != [1]
        by_pillow = min(samples, known) if right and samples >= 3 else 0
    else:
        by_pillow = 0
    if plain and bits <= 8:
        dtype = np.dtype(np.uint8)
    return Page(index, size, samples, alpha, dtype, orientation, by_pillow, direct)
