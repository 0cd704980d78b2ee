"""Masks that exist as pictures: their files, their pictures, and what their pixels are.

A mask belongs to the picture of the same stem, as in CamVid and PASCAL VOC. Class ids, palettes,
black and white, colours, transparency: what pixels mean is decided in `mask_meaning.py`.
"""

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from utils.errors import UserError
from utils.files import MASK_SUFFIXES
from utils.pictures import opened, pages_of, pictures_in

PICTURE_ENDINGS = ("_masks", "_labels", "annot")  # the last is CamVid's `train`, `trainannot`
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


def mask_files(folder: Path | str, pictures: Path | str) -> list[Path]:
    """The PNGs and TIFFs of a folder, sorted by name.

    Args:
        folder: of the masks.
        pictures: the folder of their pictures. Where that is the same and holds PNGs, its TIFFs are
            pictures.

    Raises:
        UserError: there are none.
    """
    folder = Path(folder)
    files = sorted(p for p in folder.glob("*") if _is_mask(p) and p.name[0] != "." and p.is_file())
    if not files:
        raise UserError(f"{folder} is no folder of PNG masks; name one that holds them.")
    pngs = [path for path in files if path.suffix.lower() == ".png"]
    return pngs if pngs and folder.resolve() == Path(pictures).resolve() else files


def _is_mask(path: Path) -> bool:
    return path.suffix.lower() in MASK_SUFFIXES


def pictures_beside(folder: Path | str) -> Path:
    """The folder with the pictures of a folder of masks: `val` for `val_masks`, `val_labels` and
    `valannot`, otherwise `images` beside it, otherwise the folder itself when it holds pictures
    that are no masks, or PNGs and others.

    Raises:
        UserError: there is no such folder.
    """
    folder = Path(folder).resolve()
    for ending in PICTURE_ENDINGS:
        pictures = folder.with_name(folder.name.removesuffix(ending) or "images")
        if folder.name.endswith(ending) and pictures.is_dir():
            return pictures
    pictures = folder.with_name("images")
    if pictures.is_dir() and pictures != folder:
        return pictures
    found = pictures_in(folder)
    if not all(map(_is_mask, found)) or 1 < len({p.suffix.lower() == ".png" for p in found}):
        return folder
    raise UserError(
        f"the pictures of the masks in {folder} are not beside it; name both folders with "
        "utils/generate_gt_segmentation.py --masks and --data-path."
    )


def pair(
    masks: Iterable[Path], pictures: Iterable[Path]
) -> tuple[dict[Path, Path], list[Path], list[Path]]:
    """Which picture belongs to which mask: the one of its stem, letter by letter; else in Unicode's
    composed form (a Mac writes a u with two dots as two characters); else but for letter case.

    Returns:
        The picture of each mask that has one; the masks without; the pictures without.

    Raises:
        UserError: two pictures have the stem of one mask, or two masks that of one picture.
    """
    found, masks, pictures = {}, list(masks), list(pictures)
    for form in (str, _composed, _caseless):
        by_stem: dict[str, list[Path]] = {}
        for path in pictures:
            by_stem.setdefault(form(path.stem), []).append(path)
        stems = Counter(form(mask.stem) for mask in masks)
        for mask in masks:
            candidates = by_stem.get(form(mask.stem), [])
            if len(candidates) > 1:
                raise UserError(
                    f"{candidates[0]} and {candidates[1].name} are both pictures of the mask "
                    f"{mask.name}; keep one of them."
                )
            if candidates and stems[form(mask.stem)] == 1:
                found[mask] = candidates[0]
            elif candidates and form is str:
                other = next(m for m in masks if m.stem == mask.stem and m != mask)
                raise UserError(
                    f"{mask} and {other.name} are both masks of {candidates[0].name}; keep one of "
                    "them."
                )
        taken = set(found.values())
        masks = [mask for mask in masks if mask not in found]
        pictures = [path for path in pictures if path not in taken]
    return found, masks, pictures


def look_at(path: Path) -> list[Look]:
    """What a mask holds, one of each page; pixels are counted, not kept.

    Raises:
        UserError: the file is missing, is no picture, is damaged, is a TIFF of several channels, or
            has colours of 16 bits, of which Pillow reads the upper 8 alone.
    """
    count = pages_of(path)
    return [_look_at(path, page) for page in (range(count) if count > 1 else [None])]


def _look_at(path: Path, page: int | None) -> Look:
    """What a mask, or a page of it, holds; errors as `look_at`."""
    with _opened(path, page) as image:
        white, clear, palette = _white(image), None, ()
        alpha = "A" in image.mode or "transparency" in image.info
        kind = "palette" if image.mode == "P" else "colour"
        if image.mode[0] in "1LI":
            kind = "grey"
        if image.mode in ("1", "L") and alpha:
            clear = image.info["transparency"] // (255 if image.mode == "1" else 1)
        alpha = alpha and image.mode[0] != "I"
        codes = _codes(image)
        if image.mode == "P":
            image.apply_transparency()
            entries = np.array(image.getpalette("RGBA")).reshape(-1, 4)
            palette = tuple(map(tuple, entries.tolist()))
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
    values = values.astype(np.int64)
    return Look(path, kind, values, counts, many, white, clear, palette, alpha, page)


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
        codes = _codes(image)
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


def _codes(image: Image.Image) -> np.ndarray:
    """A number for each pixel, (H, W): in masks of one channel its value, uint8 or int64, else
    red, green, blue and alpha in this order in a uint32.

    Values of 2 and 4 bits, which Pillow spreads over 0 to 255, are those of the file. Of 16 bits,
    65535 becomes 255, which is void or white too; all values are divided by 257 when that makes
    whole numbers of them, as where 8 bits were spread over 16.
    """
    white = _white(image)
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


def _composed(text: str) -> str:
    """Unicode's normal form C: a letter and its accents as one character where there is one."""
    return unicodedata.normalize("NFC", text)


def _caseless(text: str) -> str:
    """A text without the difference of small and capital letters, in normal form C."""
    return _composed(_composed(text).casefold())
