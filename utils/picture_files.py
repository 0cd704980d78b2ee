"""Picture files of any kind: what their headers tell, and their values as they are stored.

The content tells the kind of a file, not its name. Most are read by Pillow, TIFFs that it has no
mode for by tifffile, `.npy` by NumPy. Sizes are (height, width).
"""

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from utils.errors import UserError
from utils.files import open_ordinary
from utils.formats import npy, tiff

# Pillow is asked for no others: some run programs to read a file, as Ghostscript for an EPS.
FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "GIF", "BMP", "PPM", "AVIF")
ANIMATED = ("PNG", "WEBP", "GIF", "AVIF")  # further pictures of a JPEG are previews

# What shows a picture upright for each EXIF orientation but 1; from the EXIF standard 2.3.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
ORIENTATION = 0x0112  # the tag of EXIF data and of TIFFs

BYTE = np.dtype(np.uint8)

# Damaged EXIF data leave a picture as it is; Pillow's remarks on them name no file.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


@dataclass(frozen=True)
class Header:
    """What is known of a picture before its pixels are decoded.

    Attributes:
        size: (H, W) of the raw frame.
        channels: 1 for grey, 3 for colours, 2 and 4 with transparency, or as many as there are.
        alpha: whether the last of 2 or 4 channels, or the one after the colours, is transparency.
        dtype: of the values; uint8 unless they are deeper.
        orientation: by EXIF, 1 to 8.
    """

    size: tuple[int, int]
    channels: int
    alpha: bool
    dtype: np.dtype
    orientation: int = 1

    @property
    def upright(self) -> tuple[int, int]:
        """The size (H, W) of the picture once it is turned upright."""
        return self.size[::-1] if self.orientation >= 5 else self.size


@contextmanager
def opened(
    path: Path | str, what: str = "picture", formats: str = "JPEG or PNG", page: int = 0
) -> Iterator[Image.Image]:
    """The opened picture (or other `what`) or a page of it, counted as in `count_pages`; every way
    in which reading may fail is a `UserError`.

    Its file is opened here: given a name, Pillow maps some uncompressed TIFFs with width and height
    exchanged when their orientation lays them on their side.
    """
    with _file(path, what, formats) as file:
        found = _tiff_page(path, file, page) if _kind(file) == "tiff" else None
        file.seek(0)
        with Image.open(file, formats=FORMATS) as image:
            if found:
                image.seek(found.index)
            else:
                _turn_to(image, path, page)
            yield image


def read_header(path: Path | str, page: int = 0) -> Header:
    """What the header of a picture tells, of page `page` of several.

    Raises:
        UserError: the file is missing, is no picture, or has no such page.
    """
    with _file(path) as file:
        kind = _kind(file)
        if kind == "npy":
            _check_page(path, page, 1)
            shape, dtype, *_ = _array_header(path, file)
            return Header(shape[:2], shape[2], False, BYTE if dtype.kind == "b" else dtype)
        if kind == "tiff":
            found = _tiff_page(path, file, page)
            turn = found.orientation if found.orientation in UPRIGHT else 1
            return Header(found.size, found.channels, found.alpha, found.dtype, turn)
        with Image.open(file, formats=FORMATS) as image:
            _turn_to(image, path, page)
            alpha = _has_alpha(image)
            channels = (1 if _is_grey(image) else 3) + alpha
            return Header(image.size[::-1], channels, alpha, _dtype(image), _orientation(image))


def read_values(
    path: Path | str,
    page: int = 0,
    *,
    least: tuple[int, int] | None = None,
    channels: int = 3,
    raw: bool = False,
    content: BinaryIO | None = None,
) -> tuple[np.ndarray, bool]:
    """The values of a picture as they are stored, and whether they include transparency.

    Args:
        path: of the file.
        page: of several.
        least: (H, W) that will do for a JPEG, see `pictures.read_picture`.
        channels: that will do. With 1 or 3, transparency may be left out.
        raw: leave the frame as it is stored; else it is turned upright.
        content: is read in place of the file, which then only has its name in errors.

    Returns:
        (H, W, C) of a type of its own, and whether the second or fourth of C is transparency. With
        palettes and inks these are colours. Memory is the array's own or that of the mapped file.

    Raises:
        UserError: the file is missing, is no picture, is damaged, or has no such page.
    """
    with _file(path, content=content) as file:
        kind = _kind(file)
        if kind == "npy":
            _check_page(path, page, 1)
            _array_header(path, file)
            file.seek(0)
            values = npy.read_values(file)
            return (values * BYTE.type(255) if values.dtype.kind == "b" else values), False
        if kind == "tiff":
            return _tiff_values(path, file, page, channels, raw)
        with Image.open(file, formats=FORMATS) as image:
            _turn_to(image, path, page)
            orientation = 1 if raw else _orientation(image)
            if _dtype(image) != BYTE:
                alpha = _has_alpha(image)
                return _turned(_deep_values(image, file), orientation), alpha
            if least is not None:
                image.draft(None, least if orientation >= 5 else least[::-1])
            if orientation in UPRIGHT:
                image = image.transpose(UPRIGHT[orientation])
            return _byte_values(image, channels not in (1, 3))


def count_pages(path: Path | str) -> int:
    """How many pictures of equal rank a file has: pages of a TIFF, frames of an animation.

    Smaller copies in a TIFF, and previews and depth maps behind a JPEG, are none.

    Raises:
        UserError: the file is missing or is no picture.
    """
    with _file(path) as file:
        kind = _kind(file)
        if kind == "npy":
            _array_header(path, file)
            return 1
        if kind == "tiff":
            return tiff.count_pages(file)
        with Image.open(file, formats=FORMATS) as image:
            return _frames(image)


@contextmanager
def _file(
    path: Path | str,
    what: str = "picture",
    formats: str = "JPEG or PNG",
    content: BinaryIO | None = None,
) -> Iterator[BinaryIO]:
    """The open file; every way in which what is done with it may fail is a `UserError`."""
    try:
        with nullcontext(content) if content else open_ordinary(path) as file:
            yield file
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist; correct its name or restore it.") from error
    except Image.DecompressionBombError as error:
        raise UserError(f"{path} has too many pixels; make it smaller ({error}).") from error
    except tiff.PackedError as error:
        raise UserError(
            f"{path} is packed in a way that is not read for its channels ({error}); save it "
            "without compression or with Deflate, or install that package."
        ) from error
    # Pillow does not say what its readers raise of damaged files. Seen were OSError, SyntaxError,
    # ValueError, struct.error, zlib.error, KeyError, TypeError, OverflowError, NotImplementedError.
    except Exception as error:
        reason = _reason(error)
        raise UserError(
            f"{path} cannot be read as a {what} ({reason}); save it anew as {formats}."
        ) from error


def _reason(error: Exception) -> str:
    """What a reader said, in a line."""
    if isinstance(error, Image.UnidentifiedImageError):
        return "unknown"
    return " ".join(str(error).split()) or type(error).__name__


def _kind(file: BinaryIO) -> str:
    """By the first bytes of a file: "npy", "tiff", or "other" for Pillow to tell."""
    start = file.read(8)
    file.seek(0)
    if start.startswith(npy.MAGIC):
        return "npy"
    return "tiff" if start.startswith(tiff.MAGIC) else "other"


def _check_size(size: tuple[int, int], channels: int, dtype: np.dtype) -> None:
    """Raise Pillow's error when a picture is larger than what Pillow would decode.

    By its pixels, and by the bytes of its values, of which Pillow's have up to 4 a pixel.
    """
    pixels = size[0] * size[1] * max(1, channels * dtype.itemsize / 4)
    if Image.MAX_IMAGE_PIXELS and pixels > 2 * Image.MAX_IMAGE_PIXELS:
        raise Image.DecompressionBombError(f"{size[0]} x {size[1]} x {channels}")


def _check_page(path: Path | str, page: int, count: int) -> None:
    """Raise `UserError` when there is no page `page` among `count`."""
    if not 0 <= page < count:
        has = "a single page" if count == 1 else f"{count} pages"
        raise UserError(
            f"{path} has {has}, so there is no page {page + 1}; restore the file, or make its "
            "labels again."
        )


def _turned(values: np.ndarray, orientation: int) -> np.ndarray:
    """A view of (H, W, C) values that shows them upright, as `UPRIGHT` does with images."""
    if orientation in (5, 6, 7, 8):
        values = values.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    return values[:, ::-1] if orientation in (2, 3, 6, 7) else values


# Arrays.


def _array_header(path: Path | str, file: BinaryIO) -> tuple:
    """What `npy.read_header` tells of a picture; `UserError` when the array is none."""
    if os.path.exists(Path(path).with_suffix(npy.INDEX)):
        raise UserError(f"{path} is a store of label maps, not a picture; name pictures.")
    try:
        shape, *others = npy.read_header(file)
    except ValueError as error:
        raise UserError(
            f"{path} is no picture ({error}); save an array of height x width x channels numbers."
        ) from error
    _check_size(shape[:2], shape[2], others[0])
    return shape, *others


# TIFFs.


def _tiff_page(path: Path | str, file: BinaryIO, number: int) -> tiff.Page:
    """The header of a page; `UserError` when it is missing."""
    try:
        page = tiff.read_page(file, number)
    except tiff.PageError as error:
        _check_page(path, number, error.args[0])
        raise
    _check_size(page.size, page.channels, page.dtype)
    return page


def _tiff_values(
    path: Path | str, file: BinaryIO, number: int, channels: int, raw: bool
) -> tuple[np.ndarray, bool]:
    """What `read_values` tells of a TIFF."""
    page = _tiff_page(path, file, number)
    by_pillow = page.by_pillow >= min(3 if channels == 1 else channels, page.channels)
    if page.direct:
        try:
            values = tiff.read_values(file, page)
            return _turned(values, 1 if raw else page.orientation), page.alpha
        except tiff.PackedError:
            if not by_pillow:
                raise
    opening = partial(_tiff_image, file, page.index)
    with opening() as image:
        if page.dtype == BYTE:
            values, _ = _byte_values(image, channels not in (1, 3))
        elif page.channels == 1:
            values = np.array(image)[..., None].astype(page.dtype)
        else:
            values = _both_bytes(opening)
    # Pillow has turned it already; 6 and 8 are a quarter turn either way.
    back = {6: 8, 8: 6}.get(page.orientation, page.orientation)
    return _turned(values, back if raw else 1), page.alpha


@contextmanager
def _tiff_image(file: BinaryIO, index: int) -> Iterator[Image.Image]:
    """A page of an open TIFF as Pillow has it, which turns it upright when it is decoded."""
    file.seek(0)
    with Image.open(file, formats=["TIFF"]) as image:
        image.seek(index)
        if ORIENTATION not in image.tag_v2:
            image.getexif().pop(ORIENTATION, None)  # of XMP data; see `_orientation`
        yield image


# What Pillow reads.


def _frames(image: Image.Image) -> int:
    """The number of pictures in a file that is no TIFF."""
    return getattr(image, "n_frames", 1) if image.format in ANIMATED else 1


def _turn_to(image: Image.Image, path: Path | str, page: int) -> None:
    """Turn to a picture of an animation."""
    if page:
        _check_page(path, page, _frames(image))
        image.seek(page)


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8, of an image that is no TIFF.

    Browsers, and therefore VIA, go by EXIF data alone. Pillow's `getexif` takes it from XMP data
    too, and decodes all pixels of a PNG to look for EXIF data behind them.
    """
    content = image.info.get("exif")
    if not content:
        return 1
    exif = Image.Exif()
    try:
        exif.load(content)
        value = exif.get(ORIENTATION, 1)
    except Exception:  # see `_file`
        return 1  # broken EXIF data leave a picture as it is, as in browsers
    return value if value in UPRIGHT else 1


def _raw_mode(image: Image.Image) -> str:
    """How pixels lie in the file, in Pillow's words."""
    tiles = getattr(image, "tile", None)  # which a turned or decoded image has no longer
    arguments = tiles[0].args if tiles else None
    return str(arguments if isinstance(arguments, str) or not arguments else arguments[0])


def _maximum(image: Image.Image) -> int:
    """What stands for white in a PPM of two bytes a value, by its header; 255 for other files."""
    known = image.format == "PPM" and image.tile and image.tile[0].codec_name == "ppm"
    return image.tile[0].args[1] if known else 255


def _dtype(image: Image.Image) -> np.dtype:
    """The type of the values in a file that is no TIFF."""
    if image.mode.startswith("F"):
        return np.dtype(np.float32)
    deep = image.format == "PNG" and _raw_mode(image).endswith(";16B") and _frames(image) == 1
    deep = deep or image.mode.startswith("I") or _maximum(image) > 255
    return np.dtype(np.uint16) if deep else BYTE


def _is_grey(image: Image.Image) -> bool:
    """Whether a picture has brightness alone, besides transparency."""
    return image.mode in ("1", "L", "LA", "La", "F", "I") or _raw_mode(image) in ("LA;16B", "I;16B")


def _has_alpha(image: Image.Image) -> bool:
    """Whether a picture that is no TIFF has transparency."""
    if _dtype(image) == BYTE:
        return image.has_transparency_data
    return _raw_mode(image) in ("LA;16B", "RGBA;16B")  # a transparent colour is passed over


def _byte_values(image: Image.Image, alpha: bool) -> tuple[np.ndarray, bool]:
    """The pixels of an image of 8 bits, (H, W, C) uint8; with transparency where `alpha` asks.

    What lies under transparency stays as it is stored.
    """
    if image.mode in ("La", "RGBa"):
        image = image.convert(image.mode.upper())
    alpha = alpha and image.has_transparency_data
    if not alpha:
        image.info.pop("transparency", None)  # converting would first warn of it, then drop it
    values = np.array(image.convert(("L" if _is_grey(image) else "RGB") + "A" * alpha))
    return (values if values.ndim == 3 else values[..., None]), alpha


def _deep_values(image: Image.Image, file: BinaryIO) -> np.ndarray:
    """The values of an image of more than 8 bits that is no TIFF, (H, W, C) uint16 or float32."""
    if (maximum := _maximum(image)) > 255:  # Pillow would make bytes of colours
        width, height = image.size
        file.seek(image.tile[0].offset)
        channels = 1 if _is_grey(image) else 3
        values = np.frombuffer(file.read(2 * width * height * channels), ">u2")
        values = np.rint(values.reshape(height, width, channels) * (65535 / maximum))
        return values.clip(0, 65535).astype(np.uint16)
    if image.mode.startswith(("I", "F")):
        return np.array(image)[..., None].astype(_dtype(image))
    if _raw_mode(image) == "LA;16B":  # four bytes, as if each were a channel
        image.tile = [image.tile[0]._replace(args="RGBA")]
        return np.array(image).view(">u2").astype(np.uint16)
    return _both_bytes(partial(_png_image, file))


@contextmanager
def _png_image(file: BinaryIO) -> Iterator[Image.Image]:
    file.seek(0)
    with Image.open(file, formats=["PNG"]) as image:
        yield image


def _both_bytes(opening: Callable[[], AbstractContextManager[Image.Image]]) -> np.ndarray:
    """The values of colours of 16 bits, (H, W, C) uint16, of which Pillow keeps the upper bytes.

    Told that they lie in the other byte order, it keeps the lower ones: `opening` opens twice.
    """
    with opening() as image:
        upper = np.array(image).astype(np.uint16)
    with opening() as image:
        image.tile = [tile._replace(args=_other_order(tile.args)) for tile in image.tile]
        return upper << 8 | np.asarray(image)


def _other_order(arguments: str | tuple) -> str | tuple:
    """The arguments of a tile with the last letter of its raw mode exchanged: B(ig) or L(ittle)."""
    if not isinstance(arguments, str):
        return _other_order(arguments[0]), *arguments[1:]
    native = "B" if sys.byteorder == "little" else "L"
    return arguments[:-1] + {"B": "L", "L": "B", "N": native}[arguments[-1]]
