"""Masks that exist as pictures: what their pixels are.

Whose they are is found in `mask_files.py`. Class ids, palettes, black and white, colours,
transparency: what pixels mean is decided in `mask_meaning.py`.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from utils.pictures import opened, pages_of

MOST_COLOURS = 4096  # in a mask; with more it is a photograph and its colours are not told apart

# TIFFs of one channel, in Pillow's words: 1 to 16 bits, or a palette.
SINGLE = {"1", "L", "L;2", "L;4", "I;16", "I;16B", "I;16N", "P", "P;1", "P;2", "P;4"}

Colour = tuple[int, int, int]


class Pixel(NamedTuple):
    """A kind of pixel that masks have.

    Attributes:
        kind: of its mask, as of `Look`.
        value: its grey value or palette index; None in a mask of colours.
        colour: that it is shown in; None in a mask of too many colours.
        alpha: 0 (transparent) to 255 (opaque); None in a mask that knows no transparency.
        white: the greatest value that a mask of its kind can have.
    """

    kind: str
    value: int | None
    colour: Colour | None
    alpha: int | None = None
    white: int = 255


@dataclass(frozen=True)
class Look:
    """What one mask holds.

    Attributes:
        path: of the file.
        kind: "grey", "palette" or "colour".
        codes: (n,) int64, ascending: a number for each kind of pixel, see `_codes`.
        counts: (n,) int64: how many there are.
        many: whether there are too many colours; then a code is an alpha value.
        white: as of `Pixel`.
        clear: a grey value that is transparent; None when there is none.
        palette: (red, green, blue, alpha) of each index.
        alpha: whether the file knows transparency.
        page: of a file with several, from 0; None in a file with one.
        lossy: whether the file is a JPEG.
        meant: colours of which each pixel is read as the nearest; () for those that it has.
        bright: whether only brightness is read, and transparent pixels as black.
    """

    path: Path
    kind: str
    codes: np.ndarray
    counts: np.ndarray
    many: bool = False
    white: int = 255
    clear: int | None = None
    palette: tuple[tuple[int, int, int, int], ...] = field(default=(), repr=False)
    alpha: bool = False
    page: int | None = None
    lossy: bool = False
    meant: tuple[Colour, ...] = ()
    bright: bool = False

    def __str__(self) -> str:
        """The file, and the number of the page, as `pictures.page_keys` has it."""
        return str(self.path) if self.page is None else f"{self.path}#{self.page + 1}"

    def pixels(self) -> Iterator[tuple[Pixel, int]]:
        """Each kind of pixel and how many there are, in the order of `codes`."""
        for code, count in zip(self.codes.tolist(), self.counts.tolist(), strict=True):
            yield self._pixel(code), count

    def _pixel(self, code: int) -> Pixel:
        if self.many:
            return Pixel(self.kind, None, None, code if self.alpha else None)
        if self.kind == "palette":
            *colour, alpha = self.palette[code] if code < len(self.palette) else (0, 0, 0, 255)
            return Pixel("palette", code, tuple(colour), alpha if self.alpha else None)
        if self.kind == "grey" and not self.alpha or self.clear is not None:
            shown = code * 255 // self.white
            alpha = None if self.clear is None else 255 * (code != self.clear)
            return Pixel("grey", code, (shown,) * 3, alpha, self.white)
        colour, alpha = (code >> 24, code >> 16 & 255, code >> 8 & 255), code & 255
        value = colour[0] if self.kind == "grey" else None
        return Pixel(self.kind, value, colour, alpha if self.alpha else None)


def look_at(path: Path, bright: bool = False) -> list[Look]:
    """What a mask holds, one of each page; pixels are counted, not kept.

    Args:
        path: of the file.
        bright: as of `Look`.

    Raises:
        UserError: the file is missing, is no picture, is damaged, is a TIFF of several channels, or
            has colours of 16 bits, of which Pillow reads the upper 8 alone.
    """
    count = pages_of(path)
    nothing = Look(path, "grey", np.zeros(0, np.int64), np.zeros(0, np.int64), bright=bright)
    pages = range(count) if count > 1 else [None]
    return [look_again(replace(nothing, page=page)) for page in pages]


def look_again(look: Look) -> Look:
    """What a mask holds, read as `meant` and `bright` of a look at it say; errors as `look_at`."""
    with _opened(look.path, look.page) as image:
        white, clear, palette = _white(image), None, ()
        alpha = "A" in image.mode or "transparency" in image.info
        kind = "palette" if image.mode == "P" else "colour"
        if image.mode[0] in "1LI":
            kind = "grey"
        if image.mode in ("1", "L") and alpha:
            clear = image.info["transparency"] // (255 if image.mode == "1" else 1)
        alpha = alpha and image.mode[0] != "I"
        codes = _codes(image, look)
        if image.mode == "P":
            image.apply_transparency()
            entries = np.array(image.getpalette("RGBA")).reshape(-1, 4)
            palette = tuple(map(tuple, entries.tolist()))
        lossy = image.format == "JPEG"
    if look.bright:
        kind, white, clear, alpha = "grey", 255, None, False
    elif look.meant:
        kind = "colour"
    many = False
    if codes.dtype == np.uint8:
        counts = np.bincount(codes.ravel(), minlength=256)
        values = np.flatnonzero(counts)
        counts = counts[values]
    else:
        values, counts = np.unique(codes, return_counts=True)
        if many := codes.dtype == np.uint32 and len(values) > MOST_COLOURS:
            kind = "colour"
            values, counts = np.unique(codes & 255, return_counts=True)
    return replace(
        look,
        kind=kind,
        codes=values.astype(np.int64),
        counts=counts,
        many=many,
        white=white,
        clear=clear,
        palette=palette,
        alpha=alpha,
        lossy=lossy,
    )


def colours_of(look: Look) -> np.ndarray:
    """The colours that a mask has, (H, W, 3) uint8; errors as `look_at`."""
    with _opened(look.path, look.page) as image:
        return np.asarray(image.convert("RGB"))


def nearest(
    values: np.ndarray, colours: tuple[Colour, ...], half: float, far: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which of some colours is the nearest to each pixel.

    Args:
        values: (n, 3) uint8.
        colours: at least one.
        half: of the way from the nearest to the next, from which on a pixel may be of either.
        far: from the nearest, from which on it may be of neither.

    Returns:
        The number of the nearest, (n,) int64; the distance to it, (n,) float; whether the pixel
        may be of another, (n,) bool.
    """
    packed = values.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    packed, places = np.unique(packed, return_inverse=True)
    different = np.stack([packed >> 16, packed >> 8 & 255, packed & 255], 1).astype(float)
    which = np.zeros(len(packed), np.int64)
    least, second = np.full((2, len(packed)), np.inf)
    for number, colour in enumerate(colours):
        apart = np.sqrt(((different - colour) ** 2).sum(1))
        closer = apart < least
        second = np.where(closer, least, np.minimum(second, apart))
        which[closer], least = number, np.minimum(least, apart)
    unsure = (least > far) | (least > half * (least + second))
    return which[places], least[places], unsure[places]


def _opened(path: Path, page: int | None) -> AbstractContextManager[Image.Image]:
    return opened(path, "mask", "8-bit PNG", page or 0)


def labels_of(look: Look, label: Callable[[Pixel], int]) -> np.ndarray:
    """A mask as label map, (H, W) uint8.

    Args:
        look: at the mask.
        label: gives the class id, or void, of a kind of pixel.

    Raises:
        UserError: as `look_at`.
    """
    with _opened(look.path, look.page) as image:
        codes = _codes(image, look)
    labels = np.array([label(pixel) for pixel, _ in look.pixels()], np.uint8)
    if look.many:
        codes = codes & 255
    if codes.dtype == np.uint8:
        table = np.zeros(256, np.uint8)
        table[look.codes] = labels
        return table[codes]
    return labels[np.searchsorted(look.codes.astype(codes.dtype), codes)]


def _white(image: Image.Image) -> int:
    """The greatest value that a mask of its kind can have; for an image that is not loaded yet.

    Raises:
        ValueError: colours have 16 bits, or a TIFF has several channels.
    """
    stored = image.mode
    if image.tile and image.format in ("PNG", "TIFF"):
        stored = image.tile[0].args
        stored = stored if isinstance(stored, str) else stored[0]
    if image.format == "TIFF" and stored not in SINGLE:
        raise ValueError(f"it is a TIFF of the kind {stored}, not of one channel or a palette")
    if stored.endswith(";16B") and image.mode[0] != "I":
        raise ValueError("its colours have 16 bits")
    return {"1": 1, "L;2": 3, "L;4": 15}.get(stored, 255)


def _codes(image: Image.Image, look: Look) -> np.ndarray:
    """A number for each pixel, (H, W): in masks of one channel its value, uint8 or int64, else
    red, green, blue and alpha in this order in a uint32; as `look` says, its brightness or one of
    the colours that were meant.

    Values of 2 and 4 bits, which Pillow spreads over 0 to 255, are those of the file. Of 16 bits,
    65535 becomes 255, which is void or white too; all values are divided by 257 when that makes
    whole numbers of them, as where 8 bits were spread over 16.
    """
    if look.meant:
        values = np.asarray(image.convert("RGB"))
        which, _, _ = nearest(values.reshape(-1, 3), look.meant, 1, np.inf)
        codes = [int.from_bytes(bytes((*colour, 255))) for colour in look.meant]
        return np.array(codes, np.uint32)[which].reshape(values.shape[:2])
    white = _white(image)
    if look.bright and not image.mode.startswith(("I", "F")):
        colours = image.convert("RGBA")
        visible = np.asarray(colours.getchannel("A")) >= 128
        return np.where(visible, np.asarray(colours.convert("L")), np.uint8(0))
    if image.mode in ("1", "P"):
        return np.asarray(image).astype(np.uint8)
    if image.mode == "L":
        return np.asarray(image) // np.uint8(255 // white)
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if not (values % 257).any():
            return values // 257
        return np.where(values == 65535, 255, values)
    if image.mode == "F":
        raise ValueError("its values are no whole numbers")
    return np.asarray(image.convert("RGBA")).view(">u4")[..., 0].astype(np.uint32)
