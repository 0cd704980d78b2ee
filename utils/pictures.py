"""Pictures of any kind to (H, W, 3) uint8, their sizes, resizing, and lists of picture files.

Sizes are (height, width) everywhere. Pillow goes by the content of a file, so a wrong extension
does no harm.
"""

import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from utils.errors import UserError

SUFFIXES = {".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm"}
SUFFIXES |= {".avif"}

# Kinds of photographs that Pillow does not read, or of which it reads a small preview.
OTHER_SUFFIXES = {".heic", ".heif", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".raf"}

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


def read_picture(path: Path | str, least: tuple[int, int] | None = None) -> np.ndarray:
    """Read a picture upright, as a browser and therefore VIA shows it.

    Grey pictures get three equal channels, transparency is dropped, 16-bit values lose their
    lower byte, floats count from 0 to 1, and of several frames the first is taken.

    Args:
        path: of the file.
        least: (H, W) that will do. A JPEG is then decoded at 1/2, 1/4 or 1/8 of its size where that
            is no smaller: each pixel is the mean of its block, and far less is computed. A varied
            picture of 64x96 from one of 480x640 takes 1.6 ms instead of 3.8 (one core of a Zen 4).
            None: every pixel.

    Returns:
        (H, W, 3) uint8, red, green, blue.

    Raises:
        UserError: the file is missing, is no picture, or is damaged.
    """
    with opened(path) as image:
        orientation = _orientation(image)
        upright = UPRIGHT.get(orientation)
        if least is not None:
            image.draft(None, least if orientation >= 5 else least[::-1])
        if upright is not None:
            image = image.transpose(upright)
        return _rgb(image)


def picture_size(path: Path | str) -> tuple[int, int]:
    """The size (H, W) of an upright picture, read from its header only.

    Raises:
        UserError: the file is missing or is no picture.
    """
    with opened(path) as image:
        width, height = image.size
        return (width, height) if _orientation(image) >= 5 else (height, width)


def resize_picture(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize (H, W, 3) uint8 to `size`, bilinear; averages when it reduces (antialiasing)."""
    return _resize(picture, size, Image.Resampling.BILINEAR)


def resize_labels(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a label map (H, W) uint8 to `size` by nearest neighbour: no new value arises."""
    return _resize(labels, size, Image.Resampling.NEAREST)


def same_shape(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two sizes (H, W) have the same proportions, but for rounding to whole pixels."""
    return abs(one[0] * other[1] - one[1] * other[0]) <= max(*one, *other)


def list_pictures(paths: Iterable[Path | str]) -> list[Path]:
    """The pictures among `paths`: files as they are, folders as their pictures sorted by name.

    Raises:
        UserError: a path does not exist, or a folder holds no picture.
    """
    pictures = []
    for path in map(Path, paths):
        if path.is_dir():
            found = pictures_in(path)
            if not found:
                raise UserError(f"{path} holds no picture; name a folder with JPEG or PNG files.")
            pictures += found
        elif path.is_file():
            pictures.append(path)
        else:
            raise UserError(f"{path} does not exist; name a picture or a folder of pictures.")
    return pictures


def pictures_in(folder: Path) -> list[Path]:
    """The files of a folder whose names end as pictures do, sorted; hidden ones are passed over."""
    return _files_of(folder, SUFFIXES)


def of_other_kinds(folder: Path) -> list[Path]:
    """The files of a folder that are photographs of kinds that are not read, sorted."""
    return _files_of(folder, OTHER_SUFFIXES)


def _files_of(folder: Path, suffixes: set[str]) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in suffixes and not path.name.startswith(".") and path.is_file()
    )


@contextmanager
def opened(
    path: Path | str, what: str = "picture", formats: str = "JPEG or PNG"
) -> Iterator[Image.Image]:
    """The opened picture (or other `what`); every way in which reading may fail is a `UserError`.

    Its file is opened here: given a name, Pillow maps some uncompressed TIFFs with width and height
    exchanged when their orientation lays them on their side.
    """
    try:
        with open(path, "rb") as file, Image.open(file) as image:
            yield image
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist; correct its name or restore it.") from error
    except Image.DecompressionBombError as error:
        raise UserError(f"{path} has too many pixels; make it smaller ({error}).") from error
    # Pillow's readers raise all of these on damaged files.
    except (OSError, SyntaxError, ValueError, EOFError, struct.error) as error:
        reason = str(error) if not isinstance(error, Image.UnidentifiedImageError) else "unknown"
        raise UserError(
            f"{path} cannot be read as a {what} ({reason}); save it anew as {formats}."
        ) from error


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8, of an image whose pixels are not loaded yet."""
    if image.format == "TIFF":
        return 1  # Pillow turns these itself
    if image.format == "PNG" and "exif" not in image.info:
        return 1  # Pillow would decode all pixels to look for EXIF data behind them
    try:
        value = image.getexif().get(0x0112, 1)
    except (OSError, SyntaxError, ValueError, struct.error):
        return 1  # broken EXIF data leave a picture as it is, as in browsers
    return value if value in UPRIGHT else 1


def _rgb(image: Image.Image) -> np.ndarray:
    """The pixels of an image of any mode, (H, W, 3) uint8."""
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image)  # (H, W) uint16, int32 or float32
        if image.mode == "F":
            values = np.nan_to_num(values) * (255 if np.nanmax(values) <= 1 else 1)
            values = np.rint(values)
        elif image.mode != "I" or values.max() > 255:
            values = values >> 8
        grey = values.clip(0, 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    image.info.pop("transparency", None)  # converting would first warn of it, then drop it
    return np.array(image.convert("RGB"))


def _resize(array: np.ndarray, size: tuple[int, int], method: Image.Resampling) -> np.ndarray:
    if array.shape[:2] == tuple(size):
        return array
    height, width = size
    return np.array(Image.fromarray(array).resize((width, height), method))
