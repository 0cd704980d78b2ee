"""Pictures that are read, and label maps that are written, a few rows at a time.

A TIFF keeps its picture in strips or tiles, each packed for itself, so any rows can be had without
the rest: 20,000 x 20,000 pixels never lie in memory at once. A band of strips, or a row of tiles,
is made a TIFF of its own with the tags of the whole, which `read_picture` reads. So rows are the
same pixels as there, whatever the file's colours, depth and packing.
"""

import math
import os
import struct
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache, partial
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np

from utils.classes import Classes
from utils.errors import UserError
from utils.files import open_ordinary, replace_whole
from utils.formats import tiff
from utils.pictures import picture_size, read_picture

LONGEST_SIDE = 2**18  # pixels; what is reckoned for a row of windows grows with the width
BAND = 2**22  # bytes of pixels that are read together where strips are smaller
LARGEST_BAND = 2**28  # bytes of a strip or a row of tiles, which has to be unpacked at once
KEPT = 2**26  # bytes of bands that are kept, since rows are asked for again; at least two bands

# Ways of packing of which no more is unpacked than the rows need; TIFF 6.0 and its supplement 2.
UNPACKED, LZW, JPEG, DEFLATE = 1, 5, 7, (8, 32946)
YCBCR = 6  # a photometric interpretation

# What tells how pixels are stored: bits, packing, photometric interpretation, order of bits,
# samples, planes, predictor, palette, inks, extra samples, format, tables of JPEG, and YCbCr.
TAGS = (258, 259, 262, 266, 277, 284, 317, 320, 332, 338, 339, 347, 529, 530, 531, 532)
WIDTH, LENGTH, STRIPS, ROWS_PER_STRIP, STRIP_SIZES = 256, 257, 273, 278, 279
TILE_WIDTH, TILE_LENGTH, TILES, TILE_SIZES = 322, 323, 324, 325
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}  # of types
LONG = 4  # a type
LARGEST_TAG = 2**20  # bytes; a palette of 16 bits has 2^18 x 1.5


@dataclass(frozen=True)
class Rows:
    """A picture that is read a few rows at a time.

    Attributes:
        shape: (h, w, c).
        rows: from `top` and `bottom` to rows [top, bottom), (n, w, c) uint8, not to be written to;
            in any order, also again. It raises `UserError` where the file is damaged.
        whole: whether the whole picture lies in memory.
    """

    shape: tuple[int, int, int]
    rows: Callable[[int, int], np.ndarray]
    whole: bool


def open_rows(
    path: Path | str,
    page: int = 0,
    channels: int = 3,
    scale: tuple[float, float] | None = None,
    turn: str | None = None,
) -> Rows:
    """A picture file whose rows are read when they are asked for.

    TIFFs in strips or tiles, stored as they are or packed by Deflate, LZW or JPEG, are read so, of
    any number of pixels: `Image.MAX_IMAGE_PIXELS` holds for what is read at once. Others are read
    whole, as by `read_picture`, and so are TIFFs that are to be turned upright and those whose
    strips are too large.

    Args:
        path, page, channels, scale, turn: as those of `pictures.read_picture`.

    Raises:
        UserError: the file is missing, is no picture, is damaged, has no such page, fewer channels
            or more than 2^18 pixels a side, or would have to be read whole and is too large.
    """
    reading = {"channels": channels, "scale": scale}
    layout = _guarded(path, _layout, page, turn == "raw")
    if layout is None:
        _check_sides(path, picture_size(path, page=page))
        picture = read_picture(path, page=page, turn=turn, **reading)
        return Rows(picture.shape, lambda top, bottom: picture[top:bottom], whole=True)

    @lru_cache(maxsize=max(2, KEPT // layout.band_bytes))
    def band(number: int) -> np.ndarray:
        content = _guarded(path, partial(_band, layout=layout), number)
        values = read_picture(path, turn="raw", content=BytesIO(content), **reading)
        values.flags.writeable = False
        return values

    def rows(top: int, bottom: int) -> np.ndarray:
        if not 0 <= top < bottom <= layout.size[0]:
            raise ValueError(f"there are no rows {top} to {bottom} of {layout.size[0]}")
        first, height = top // layout.band_rows, layout.band_rows
        parts = [band(number) for number in range(first, -(-bottom // height))]
        parts[-1] = parts[-1][: bottom - (first + len(parts) - 1) * height]
        parts[0] = parts[0][top - first * height :]
        return np.concatenate(parts) if len(parts) > 1 else parts[0]

    return Rows((*layout.size, rows(0, 1).shape[2]), rows, whole=False)


def _check_sides(path: Path | str, size: tuple[int, int]) -> None:
    if max(size) > LONGEST_SIDE:
        raise UserError(
            f"{path} has {size[0]} x {size[1]} pixels, and at most {LONGEST_SIDE} a side are "
            "possible; cut it into parts."
        )


def _guarded(path: Path | str, read: Callable, *arguments):
    """What `read` makes of the open file; every way in which it may fail is a `UserError`."""
    try:
        with open_ordinary(path) as file:
            return read(file, *arguments)
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist; correct its name or restore it.") from error
    except tiff.PageError as error:
        count = error.args[0]
        has = "a single page" if count == 1 else f"{count} pages"
        raise UserError(f"{path} has {has}; name another one.") from error
    except Exception as error:  # a damaged file may make any, from struct.error to KeyError
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"{path} cannot be read as a picture ({reason}); save it anew as TIFF."
        ) from error


# Where the strips and tiles are.


@dataclass(frozen=True)
class _Layout:
    """Where a page of a TIFF has its pixels.

    Attributes:
        order: of bytes, "<" or ">".
        size: (h, w).
        tags: (code, type, count, value) of those in `TAGS` that the page has.
        packing: UNPACKED, LZW, JPEG or one of DEFLATE.
        tile_width: None for strips.
        segment_rows: of a strip or a tile.
        segment_bytes: of a whole one, unpacked.
        offsets, sizes: (planes, down, across) int64, of all strips or tiles in the file.
        band_rows: that are read together, whole segments.
        band_bytes: of their pixels.
    """

    order: str
    size: tuple[int, int]
    tags: tuple[tuple[int, int, int, bytes], ...]
    packing: int
    tile_width: int | None
    segment_rows: int
    segment_bytes: int
    offsets: np.ndarray
    sizes: np.ndarray
    band_rows: int
    band_bytes: int


def _layout(file: BinaryIO, number: int, raw: bool) -> _Layout | None:
    """The layout of a page of an open file; None for what has to be read whole.

    Raises:
        ValueError: the file is damaged.
        UserError: the page is too large.
        tiff.PageError: there is no such page.
    """
    start = file.read(8)
    if not start.startswith(tiff.MAGIC):
        return None
    described = tiff.read_page(file, number)
    _check_sides(file.name, described.size)
    if not raw and 2 <= described.orientation <= 8:
        return None
    from tifffile import TiffFile

    file.seek(0)
    with TiffFile(file) as opened:
        page = opened.pages[described.index]
        order, packing, bits = opened.byteorder, int(page.compression), page.bitspersample
        known = packing in (UNPACKED, LZW, JPEG, *DEFLATE) and isinstance(bits, int)
        if not known or (page.photometric == YCBCR and packing != JPEG):
            return None
        (height, width), samples = described.size, int(page.samplesperpixel)
        planes = samples if page.planarconfig == 2 else 1
        tile_width = int(page.tilewidth) if page.is_tiled else None
        segment_rows = int(page.tilelength) if page.is_tiled else min(page.rowsperstrip, height)
        across, down = -(-width // (tile_width or width)), -(-height // segment_rows)
        row_bytes = math.ceil((tile_width or width) * (samples // planes) * bits / 8)
        shape = planes, down, across
        if min(len(page.dataoffsets), len(page.databytecounts)) < math.prod(shape):
            raise ValueError("parts of it are missing")
        places, sizes = (
            np.array(numbers[: math.prod(shape)], np.int64).reshape(shape)
            for numbers in (page.dataoffsets, page.databytecounts)
        )
        tags = [_tag(file, tag) for code in TAGS if (tag := page.tags.get(code)) is not None]

    if None in tags:
        return None
    # Palettes become three channels, others stay as many as they are.
    pixel_row = max(row_bytes * across * planes, 3 * width)
    fit = max(1, BAND // pixel_row)
    if packing == UNPACKED and not tile_width:  # a strip may be cut between any rows
        rows = segment_rows
        if rows > fit:
            rows = fit if down == 1 else next(n for n in range(fit, 0, -1) if rows % n == 0)
        cuts = np.arange(-(-segment_rows // rows)) * (rows * row_bytes)
        places = (places + cuts).reshape(planes, -1, 1)[:, : -(-height // rows)]
        sizes = np.full_like(places, rows * row_bytes)
        sizes[:, -1] = (height - (places.shape[1] - 1) * rows) * row_bytes
        segment_rows = rows
    elif packing == UNPACKED:
        sizes = np.full_like(places, segment_rows * row_bytes)
    band_rows = segment_rows * max(1, fit // segment_rows)
    band_bytes = band_rows * pixel_row
    if band_bytes > LARGEST_BAND:
        return None
    return _Layout(
        order,
        (height, width),
        tuple(tags),
        packing,
        tile_width,
        segment_rows,
        segment_rows * row_bytes,
        places,
        sizes,
        band_rows,
        band_bytes,
    )


def _tag(file: BinaryIO, tag) -> tuple[int, int, int, bytes] | None:
    """A tag as it is stored; None when its type is one of large files alone."""
    kind, count = int(tag.dtype), int(tag.count)
    if kind not in SIZES:
        return None
    if not 0 < count * SIZES[kind] <= LARGEST_TAG:
        raise ValueError(f"its tag {tag.code} has {count} values")
    return int(tag.code), kind, count, _part(file, tag.valueoffset, count * SIZES[kind])


def _part(file: BinaryIO, offset: int, size: int) -> bytes:
    """So many bytes of a file from `offset` on, which it has."""
    if not 0 <= offset <= os.fstat(file.fileno()).st_size - size:
        raise ValueError("parts of it lie behind its end")
    file.seek(offset)
    return file.read(size)


def _band(file: BinaryIO, number: int, layout: _Layout) -> bytes:
    """A TIFF of the rows of a band alone.

    Raises:
        ValueError: a strip is cut off, or would unpack to more than its rows.
    """
    top = number * layout.band_rows
    height = min(layout.band_rows, layout.size[0] - top)
    first = top // layout.segment_rows
    chosen = slice(first, first + -(-height // layout.segment_rows))
    offsets, sizes = (table[:, chosen].ravel() for table in (layout.offsets, layout.sizes))
    # Packing may make noise half as large again, and a JPEG has tables; more is no picture.
    if sizes.min() < 0 or sizes.sum() > 2 * layout.segment_bytes * len(sizes) + 2**16:
        raise ValueError(f"a part of {layout.band_rows} rows has {sizes.sum()} bytes")
    parts = [_part(file, *place) for place in zip(offsets.tolist(), sizes.tolist(), strict=True)]
    if layout.packing in DEFLATE:
        for part in parts:
            _check_deflated(part, layout.segment_bytes)
    numbers = {WIDTH: [layout.size[1]], LENGTH: [height]}
    if layout.tile_width:
        numbers |= {TILE_WIDTH: [layout.tile_width], TILE_LENGTH: [layout.segment_rows]}
    else:
        numbers |= {ROWS_PER_STRIP: [layout.segment_rows]}
    return _tiff_of(layout, numbers, parts)


def _check_deflated(part: bytes, most: int) -> None:
    """Raise `ValueError` when a part unpacks to more than `most` bytes; a few may say 10^9."""
    unpacking = zlib.decompressobj()
    if len(unpacking.decompress(part, most + 1)) > most:
        raise ValueError("a part of it unpacks to more than its rows")


def _tiff_of(layout: _Layout, numbers: dict[int, list[int]], parts: list[bytes]) -> bytes:
    """A TIFF 6.0: eight bytes, the parts, then the tags, those with `numbers` among them."""
    order = layout.order
    ends = np.cumsum([8, *map(len, parts)]).tolist()
    offsets, sizes = (TILES, TILE_SIZES) if layout.tile_width else (STRIPS, STRIP_SIZES)
    numbers = numbers | {offsets: ends[:-1], sizes: [*map(len, parts)]}
    tags = list(layout.tags)
    for code, values in numbers.items():
        tags.append((code, LONG, len(values), struct.pack(f"{order}{len(values)}I", *values)))
    behind = ends[-1] % 2  # values begin at even places
    at = ends[-1] + behind + 2 + 12 * len(tags) + 4
    entries, values = [], []
    for code, kind, count, value in sorted(tags):
        entry = value.ljust(4, b"\0")
        if len(value) > 4:
            entry = struct.pack(order + "I", at)
            values.append(value + b"\0" * (len(value) % 2))
            at += len(values[-1])
        entries.append(struct.pack(order + "HHI", code, kind, count) + entry)
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, ends[-1] + behind)
    count = struct.pack(order + "H", len(tags))
    return b"".join([head, *parts, b"\0" * behind, count, *entries, bytes(4), *values])


# Label maps.


def write_labels_by_rows(
    path: Path | str, shape: tuple[int, int], strips: Iterable[np.ndarray], classes: Classes
) -> None:
    """Write a label map strip by strip as the PNG that `drawing.write_index_png` writes of it.

    Pillow writes a PNG of a whole picture only. Without filters, as it has palettes, a PNG is a
    zero before each row, and all of that packed by Deflate; PNG specification, third edition.

    Args:
        path: the PNG; replaced whole, once all strips are there.
        shape: (h, w) of the map.
        strips: (n, w) uint8 class ids, 255 = void, from top to bottom.
        classes: give the palette its colours.

    Raises:
        ValueError: the strips are not of that size together.
        UserError: the folder of `path` cannot be written.
    """
    from utils.drawing import palette

    height, width = shape
    packing, rows = zlib.compressobj(), 0
    with replace_whole(path) as unfinished, open(unfinished, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        file.write(_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)))
        file.write(_chunk(b"PLTE", palette(classes).tobytes()))
        for strip in strips:
            if strip.dtype != np.uint8 or strip.ndim != 2 or strip.shape[1] != width:
                raise ValueError(f"a strip of {strip.dtype} {strip.shape} is none of {shape}")
            rows += len(strip)
            packed = packing.compress(np.pad(strip, ((0, 0), (1, 0))).tobytes())
            if packed:
                file.write(_chunk(b"IDAT", packed))
        if rows != height:
            raise ValueError(f"there are {rows} rows, not {height}")
        file.write(_chunk(b"IDAT", packing.flush()) + _chunk(b"IEND", b""))


def _chunk(kind: bytes, content: bytes) -> bytes:
    checked = kind + content
    return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))
