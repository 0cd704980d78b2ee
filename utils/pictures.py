"""Pictures of any kind to (H, W, C) uint8, what their headers tell, resizing, and finding files.

Sizes are (height, width) everywhere. The content of a file tells its kind, so a wrong extension
does no harm.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO
from unicodedata import normalize

import numpy as np
from PIL import Image

from utils import picture_files
from utils.errors import UserError
from utils.files import inside
from utils.formats import npy
from utils.picture_files import opened as opened
from utils.reading import TURNS
from utils.scale import scale_of_type, to_bytes

SUFFIXES = {".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm"}
SUFFIXES |= {".avif"}

# Kinds of photographs that Pillow does not read, or of which it reads a small preview.
OTHER_SUFFIXES = {".heic", ".heif", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".raf"}

GREY_WEIGHTS = np.array((0.299, 0.587, 0.114))  # ITU-R BT.601, as in JPEG


def read_picture(
    path: Path | str,
    least: tuple[int, int] | None = None,
    *,
    scale: tuple[float, float] | None = None,
    turn: str | None = "exif",
    channels: int = 3,
    page: int = 0,
    content: BinaryIO | None = None,
) -> np.ndarray:
    """Read a picture, upright as a browser and therefore VIA shows it.

    Transparency is dropped, and the colours below it stay as they are stored, which is often black.
    XMP data do not turn a picture, as they do not in browsers.

    Args:
        path: of the file.
        least: (H, W) that will do. A JPEG is then decoded at 1/2, 1/4 or 1/8 of its size where that
            is no smaller: each pixel is the mean of its block, and far less is computed. A varied
            picture of 64x96 from one of 480x640 takes 1.6 ms instead of 3.8 (one core of a Zen 4).
            None: every pixel.
        scale: the two values of a deep picture that become 0 and 255, see `scale.find_scale`; those
            of 8 bits stay. None: 0 and the largest value of the file's type, or 0 and 1 of floats,
            never the file's own least and largest value, so that two pictures stay comparable.
        turn: "exif" for the picture as its orientation shows it, "raw" for the frame as it is
            stored. None: as "exif".
        channels: 3 for red, green and blue; 1 for brightness; otherwise the first of the file, from
            1 to 16: with 4, those of red, green, blue and transparency or what else is there.
        page: of a TIFF with several, or of an animation, from 0.
        content: is read in place of the file, which then only has its name in errors.

    Returns:
        (H, W, channels) uint8.

    Raises:
        UserError: the file is missing, is no picture, is damaged, has no such page or fewer
            channels; grey alone makes three equal ones.
    """
    _check_channels(channels)
    values, alpha = picture_files.read_values(
        path, page, least=least, channels=channels, raw=_is_raw(turn), content=content
    )
    count = values.shape[2]
    as_grey = count == 1 or (count == 2 and alpha)
    if count < channels and not (as_grey and channels in (3, 2 + count)):
        has = "a single channel" if count == 1 else f"{count} channels"
        raise UserError(
            f"{path} has {has}, but {channels} are asked for; save it with that many, or ask for "
            f"{3 if as_grey else count} with --channels."
        )
    wanted = 3 if channels == 1 and not as_grey and count > 2 else channels
    if count > wanted:
        values = values[..., :wanted]
    if values.dtype != np.uint8:
        values = to_bytes(values, scale or scale_of_type(values.dtype))
    if count < channels:
        three = np.repeat(values[..., :1], 3, axis=2)
        values = three if channels == 3 else np.concatenate([three, values[..., 1:]], axis=2)
    if values.shape[2] > channels:
        values = grey(values)
    own = values.flags.owndata and values.flags.c_contiguous and values.flags.writeable
    return values if own else np.array(values, order="C")


def picture_size(path: Path | str, *, turn: str | None = "exif", page: int = 0) -> tuple[int, int]:
    """The size (H, W) of a picture as `read_picture` gives it, read from its header only.

    Raises:
        UserError: the file is missing, is no picture, or has no such page.
    """
    header = picture_files.read_header(path, page)
    return header.size if _is_raw(turn) else header.upright


def orientation_of(path: Path | str, page: int = 0) -> int:
    """The orientation of a picture, 1 to 8: by EXIF data, or the tag of a TIFF. 1: as it is stored.

    2 to 4 turn or mirror a picture and keep its shape, 5 to 8 exchange height and width.

    Raises:
        UserError: the file is missing, is no picture, or has no such page.
    """
    return picture_files.read_header(path, page).orientation


def turned(paths: Iterable[Path | str]) -> list[tuple[Path, int]]:
    """The pictures that are stored other than upright, each with its orientation, 2 to 8.

    Those that cannot be read are passed over; who reads them tells.
    """
    headers = _headers(paths)
    return [(path, header.orientation) for path, header in headers if header.orientation > 1]


def channels_of(path: Path | str, page: int = 0) -> int:
    """How many channels a picture has: 1 for grey, 3 for colours, more with transparency or others.

    A palette, and inks, count as the colours that are made of them. What is above the number that
    `read_picture` is asked for is dropped.

    Raises:
        UserError: the file is missing, is no picture, or has no such page.
    """
    return picture_files.read_header(path, page).channels


def pages_of(path: Path | str) -> int:
    """How many pictures a file has: pages of a TIFF, frames of an animation; most have 1.

    Smaller copies in a TIFF, and previews and depth maps behind a JPEG, are none.

    Raises:
        UserError: the file is missing or is no picture.
    """
    return picture_files.count_pages(path)


def page_keys(folder: Path | str, name: str, count: int) -> list[str]:
    """The names that the pages of a file have in a label store: "stack.tif#1", "stack.tif#2", ...

    Args:
        folder: that holds the file.
        name: of the file, relative to `folder`.
        count: of its pages. A file of one page keeps its name.

    Raises:
        UserError: there is a file whose name is that of a page.
    """
    if count == 1:
        return [name]
    keys = [f"{name}#{number}" for number in range(1, count + 1)]
    for key in keys:
        if os.path.exists(inside(folder, key)):
            raise UserError(
                f"{inside(folder, key)} has the name by which a page of {name} is called; rename "
                "one of them."
            )
    return keys


def split_key(key: str) -> tuple[str, int] | None:
    """Name of the file and page, from 0, of a name from `page_keys`; None for other names."""
    match = re.fullmatch(r"(.+)#([1-9]\d{0,8})", key, re.DOTALL | re.ASCII)
    return (match[1], int(match[2]) - 1) if match else None


def grey(picture: np.ndarray) -> np.ndarray:
    """Brightness (..., 1) uint8 of colours (..., 3) uint8, after ITU-R BT.601."""
    values = picture @ GREY_WEIGHTS.astype(np.float32)  # float64 would take longer
    return np.rint(values).astype(np.uint8)[..., None]


def resize_picture(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize (H, W, C) uint8 to `size`, bilinear; averages when it reduces (antialiasing)."""
    return _resize(picture, size, Image.Resampling.BILINEAR)


def resize_labels(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a label map (H, W) uint8 to `size` by nearest neighbour: no new value arises."""
    return _resize(labels, size, Image.Resampling.NEAREST)


def same_shape(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two sizes (H, W) have the same proportions, but for rounding to whole pixels."""
    return abs(one[0] * other[1] - one[1] * other[0]) <= max(*one, *other)


def find_picture(folder: Path | str, name: str) -> Path | None:
    """The file in `folder` that an annotation file calls `name`, or None; see `picture_finder`.

    Raises:
        UserError: `name` leaves the folder.
    """
    return picture_finder(folder)(name)


def picture_finder(folder: Path | str) -> Callable[[str], Path | None]:
    """A function that finds the files of `folder` by name, reading the folder once for all names.

    A name is that of a file when it is so letter by letter; else when both are the same text in
    Unicode's composed form (a Mac writes a u with two dots as two characters); else when they are
    the same but for small and capital letters (`.JPG`). The latter two count when a single file is
    meant; so do folders within the name, which may be parted by either slash.

    Args:
        folder: that the files are in, or in folders below it.

    Returns:
        A function of a name, relative to `folder`, that returns the path of the file that is there,
        or None when there is none or several could be meant. It raises `UserError` for a name that
        leaves the folder. Any thread may call it.
    """
    return _Finder(Path(folder))


class _Finder:
    """See `picture_finder`; an object, as worker processes are sent it."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._listings: dict[tuple[str, Callable], dict[str, list[str]]] = {}

    def __call__(self, name: str) -> Path | None:
        exact = inside(self.folder, name)
        if os.path.isfile(exact):
            return exact
        parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
        for form in (_composed, _caseless):
            found = [str(self.folder)]
            for part in map(form, parts):
                found = [
                    os.path.join(parent, entry)
                    for parent in found
                    for entry in self._names(parent, form).get(part, ())
                ]
            found = [path for path in found if os.path.isfile(path)]
            if len(found) == 1:
                return inside(self.folder, Path(found[0]).relative_to(self.folder).as_posix())
        return None

    def _names(self, parent: str, form: Callable[[str], str]) -> dict[str, list[str]]:
        """The names in the folder `parent` by their `form`."""
        if (parent, form) not in self._listings:
            by_form: dict[str, list[str]] = {}
            try:
                entries = sorted(os.listdir(parent))
            except OSError:  # it is a file, or may not be read
                entries = []
            for entry in entries:
                by_form.setdefault(form(entry), []).append(entry)
            self._listings[parent, form] = by_form
        return self._listings[parent, form]


def _composed(text: str) -> str:
    """Unicode's normal form C: a letter and its accents as one character where there is one."""
    return normalize("NFC", text)


def _caseless(text: str) -> str:
    """A text without the difference of small and capital letters, in normal form C."""
    return normalize("NFC", normalize("NFC", text).casefold())


def list_pictures(paths: Iterable[Path | str]) -> list[Path]:
    """The pictures among `paths`: files as they are, folders as their pictures sorted by name.

    Raises:
        UserError: a path does not exist, or a folder holds no picture.
    """
    pictures = []
    for path in map(Path, paths):
        if os.path.isdir(path):
            found = pictures_in(path)
            if not found:
                raise UserError(f"{path} holds no picture; name a folder with JPEG or PNG files.")
            pictures += found
        elif os.path.isfile(path):
            pictures.append(path)
        else:
            raise UserError(f"{path} does not exist; name a picture or a folder of pictures.")
    return pictures


def pictures_in(folder: Path) -> list[Path]:
    """The pictures of a folder by the ends of their names, sorted; hidden ones are passed over.

    A `.npy` is one when it holds (H, W) or (H, W, C) numbers, is no label store, and no other
    picture has its stem: then it is something about that one.
    """
    pictures = _files_of(folder, SUFFIXES)
    stems = {path.stem for path in pictures}
    arrays = [
        path
        for path in _files_of(folder, {".npy"})
        if path.stem not in stems and npy.is_picture(path)
    ]
    return sorted(pictures + arrays) if arrays else pictures


def of_other_kinds(folder: Path) -> list[Path]:
    """The files of a folder that are photographs of kinds that are not read, sorted."""
    return _files_of(folder, OTHER_SUFFIXES)


def _files_of(folder: Path, suffixes: set[str]) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in suffixes and not path.name.startswith(".") and path.is_file()
    )


def _headers(paths: Iterable[Path | str]) -> Iterator[tuple[Path, picture_files.Header]]:
    """The headers of the pictures that can be read."""
    for path in map(Path, paths):
        try:
            yield path, picture_files.read_header(path)
        except UserError:
            continue  # reading it tells


def _is_raw(turn: str | None) -> bool:
    if turn not in (None, *TURNS):
        raise ValueError(f"turn is {turn!r}, not one of: {', '.join(TURNS)}")
    return turn == "raw"


def _check_channels(channels: int) -> None:
    if channels not in range(1, npy.MOST_CHANNELS + 1):
        raise UserError(
            f"pictures cannot have {channels} channels; choose 1 to {npy.MOST_CHANNELS}."
        )


def _resize(array: np.ndarray, size: tuple[int, int], method: Image.Resampling) -> np.ndarray:
    if array.shape[:2] == tuple(size):
        return array
    if array.ndim == 3 and array.shape[2] != 3:
        # One by one: Pillow would weigh the others by the last of 2 and 4, as transparency.
        resized = [_resize(array[..., c], size, method) for c in range(array.shape[2])]
        return np.stack(resized, axis=2)
    height, width = size
    return np.array(Image.fromarray(array).resize((width, height), method))
