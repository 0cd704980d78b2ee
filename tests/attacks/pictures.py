"""Pictures of every format that is read, in all of their orientations."""

import io
import warnings
from functools import cache
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from attacks.cases import Undecided, Wrong
from attacks.mutate import mutate_bytes
from utils.pictures import (
    channels_of,
    pages_of,
    picture_size,
    pictures_in,
    read_picture,
    turned,
)

SIZE = 20, 28
FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "GIF", "BMP", "PPM", "AVIF")
ENDS = {"JPEG": ".jpg", "TIFF": ".tif"}
XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
    'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="{}"/></rdf:RDF></x:xmpmeta>'
)


def noise(seed: int = 0) -> np.ndarray:
    """A picture (H, W, 3) of smooth colours with a little noise."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    ramp = np.stack([4 * x, 6 * y, 2 * x + 3 * y], 2)
    return (ramp + np.random.default_rng(seed).integers(0, 9, (*SIZE, 3))).astype(np.uint8)


@cache
def file_of(form: str, kind: str, orientation: int, xmp: int) -> bytes:
    """A picture file.

    Args:
        form: of `FORMATS`, or "NPY".
        kind: "colour", "grey", "deep" (16 bits) or "pages".
        orientation: by EXIF, 1 to 8; 0 for none.
        xmp: the same in XMP.
    """
    picture, file = noise(), io.BytesIO()
    if form == "NPY":
        values = picture if kind == "colour" else picture[..., 0].astype(np.uint16) * 257
        np.save(file, values)
        return file.getvalue()
    image = Image.fromarray(picture)
    if kind == "grey":
        image = image.convert("L")
    if kind == "deep":
        image = Image.fromarray(picture[..., 0].astype(np.uint16) * 257)
    more: dict = {}
    if orientation and form in ("PNG", "JPEG", "TIFF", "WEBP", "AVIF"):
        exif = Image.Exif()
        exif[0x0112] = orientation
        more["exif"] = exif.tobytes()
    if xmp and form in ("JPEG", "WEBP"):
        more["xmp"] = XMP.format(xmp).encode()
    if kind == "pages":
        more |= {"save_all": True, "append_images": [Image.fromarray(noise(1))]}
    if form == "TIFF":
        more["compression"] = "tiff_lzw" if orientation % 2 else "tiff_deflate"
    if form == "WEBP":
        more["lossless"] = True
    image.save(file, form, **more)
    return file.getvalue()


def chosen(random: Random) -> tuple[str, bytes]:
    """Format and content of an unharmed file."""
    form = random.choice((*FORMATS, "NPY"))
    kinds = ["colour", "colour", "grey"]
    kinds += ["deep"] if form in ("PNG", "TIFF", "NPY") else []
    kinds += ["pages"] if form in ("TIFF", "GIF", "WEBP", "PNG") else []
    turn = random.choice((0, 0, *range(1, 9)))
    return form, file_of(form, random.choice(kinds), turn, random.choice((0, 0, 6, 8)))


def attack(random: Random, folder: Path) -> None:
    """Mutate a picture, ask all that is asked of pictures, compare with Pillow's own answer."""
    form, content = chosen(random)
    whole = random.random() < 0.15
    if not whole:
        # Many changes hit the first bytes, in which formats keep what they say of themselves.
        content = mutate_bytes(random, content, 0, random.choice((60, 300, len(content))))
    end = ENDS.get(form, "." + form.lower())
    if random.random() < 0.1:
        end = random.choice((".png", ".jpg", ".tif", ".npy", ".gif"))
    path = folder / ("a" + end)
    path.write_bytes(content)
    judge(path)


def judge(path: Path) -> None:
    """Read a picture in every way and compare."""
    pictures_in(path.parent)
    turned([path])
    size = picture_size(path)
    values = read_picture(path)
    if values.shape != (*size, 3) or values.dtype != np.uint8:
        raise Wrong(f"{values.dtype} {values.shape}, but its header says {size}")
    channels = min(channels_of(path), 16)
    if read_picture(path, channels=channels).shape != (*size, channels):
        raise Wrong(f"{channels} channels are not read as so many")
    for page in range(1, min(pages_of(path), 3)):
        if read_picture(path, page=page).shape[:2] != picture_size(path, page=page):
            raise Wrong(f"page {page} has another size than its header says")
    raw = read_picture(path, turn="raw")
    if raw.shape[:2] not in (size, size[::-1]):
        raise Wrong(f"as stored it is {raw.shape[:2]}, upright {size}")
    answer = by_pillow(path)
    if answer.shape != values.shape:
        raise Wrong(f"{values.shape}, by Pillow {answer.shape}")
    if np.abs(answer.astype(int) - values).max() > 1:
        raise Wrong(f"differs from Pillow's by {np.abs(answer.astype(int) - values).max()}")


def by_pillow(path: Path) -> np.ndarray:
    """The picture as Pillow and NumPy read it; by EXIF alone it is turned."""
    if path.read_bytes()[:6] == b"\x93NUMPY":
        try:
            values = np.load(path, allow_pickle=False)
        except ValueError as error:
            raise Undecided from error
        values = values if values.ndim == 3 else values[..., None]
        if values.dtype not in (np.uint8, np.uint16) or values.shape[2] not in (1, 3):
            raise Undecided
    else:
        try:
            with warnings.catch_warnings(action="ignore"), Image.open(path) as image:
                # Without XMP, by which browsers do not turn a picture, but Pillow does.
                turns = image.info.get("exif") and image.format != "TIFF"  # which it turns itself
                exif = Image.Exif()  # not `getexif`, which takes what it lacks from XMP
                exif.load(image.info["exif"] if turns else None)
                orientation = exif.get(0x0112, 1)
                image.load()
                if image.mode.startswith("I;16"):
                    values = np.asarray(image)
                elif image.mode in ("RGB", "L"):
                    values = np.asarray(image.convert("RGB"))
                else:  # palettes, transparency, inks: Pillow's way is not the only one
                    raise Undecided
        except (OSError, SyntaxError, ValueError, MemoryError) as error:
            raise Undecided from error  # tifffile may read what Pillow does not
        values = values if values.ndim == 3 else values[..., None]
        values = turn(values, orientation)
    if values.dtype == np.uint16:
        values = np.rint(values / 257).astype(np.uint8)
    return np.repeat(values, 3, 2) if values.shape[2] == 1 else values


def turn(values: np.ndarray, orientation: int) -> np.ndarray:
    """(H, W, C) as EXIF's orientation shows it: by what it does to rows and columns."""
    if orientation in (5, 6, 7, 8):
        values = values.transpose(1, 0, 2)
    rows, columns = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}.get(
        orientation, (1, 1)
    )
    return values[::rows, ::columns]
