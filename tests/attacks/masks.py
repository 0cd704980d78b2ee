"""Masks: pictures whose pixels are classes, by id, palette or colour."""

import io
import json
from pathlib import Path
from random import Random

import numpy as np
import tifffile
from PIL import Image

from attacks import annotations, reference
from attacks.cases import Refused, Undecided, Wrong
from attacks.mutate import mutate_bytes, mutate_json, to_text
from utils.label_maps.from_masks import make_labels_from_masks
from utils.label_maps.store import open_labels

COLOURS = [(0, 0, 0), (128, 0, 0), (0, 128, 0)]


def labels_of(name: str) -> np.ndarray:
    """The label map of a picture: two boxes and a line of void."""
    height, width = annotations.SIZES[name]
    labels = np.zeros((height, width), np.uint8)
    labels[2 : height // 2, 2 : width // 2] = 1
    labels[height // 2 : -2, width // 3 :] = 2
    labels[-1] = 255
    return labels


def as_file(labels: np.ndarray, form: str) -> bytes:
    """A mask as a PNG: "ids", "palette" or "colours", where void is white."""
    if form == "colours":
        colours = np.full((256, 3), 255, np.uint8)
        colours[: len(COLOURS)] = COLOURS
        image = Image.fromarray(colours[labels])
    else:
        image = Image.fromarray(labels)
        if form == "palette":
            image = image.convert("L").convert("P")
            image = Image.fromarray(labels, "P") if image.mode != "P" else image
            image.putdata(labels.ravel().tolist())
            image.putpalette([v for c in COLOURS for v in c] + [224] * 3 * (256 - len(COLOURS)))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def attack(random: Random, folder: Path) -> None:
    """Mutate masks, their number, names, sizes and kinds, or the classes; make labels; compare."""
    form = random.choice(("ids", "palette", "colours"))
    (folder / "masks").mkdir()
    classes = {"classes": annotations.CLASSES}
    if form == "colours":
        classes["reading"] = reference.WHITE
    annotations.write_around(folder, json.dumps(classes).encode())
    name, kind = random.choice(list(annotations.SIZES)), random.randrange(8)
    for each in annotations.SIZES:
        labels, end = labels_of(each), ".png"
        content = as_file(labels, form)
        if each == name and kind < 2:
            content = mutate_bytes(random, content)
        elif each == name and kind < 4:
            top, left = (random.randrange(side) for side in labels.shape)
            labels[top : top + 4, left : left + 4] = random.choice((0, 1, 2, 3, 254, 255))
            content = as_file(labels, form)
        elif each == name and kind == 4:
            content, end = _other(random, labels)
        elif each == name and kind == 5:
            end = random.choice((".PNG", ".tif", ".txt", ".png.png", "x" * 240 + ".png", ".jpg"))
        elif each == name and kind == 6:
            labels = labels[: random.randrange(1, 9), : random.randrange(1, 9)]
            content = as_file(labels, form)
        (folder / "masks" / (Path(each).stem + end)).write_bytes(content)
    if kind == 7:
        text = to_text(mutate_json(random, classes))
        (folder / "classes.json").write_text(text)
    judge(folder)


def _other(random: Random, labels: np.ndarray) -> tuple[bytes, str]:
    """A mask of a kind that no program for masks writes."""
    kind = random.choice(("1", "LA", "RGBA", "I;16", "F", "CMYK", "no channel", "channels", "long"))
    file = io.BytesIO()
    if kind == "channels":
        count = random.choice((2, 3, 5, 300))
        tifffile.imwrite(file, np.repeat(labels[..., None], count, 2), photometric="minisblack")
    elif kind == "no channel":
        tifffile.imwrite(file, labels)
        content = file.getvalue()
        return content.replace(
            b"\x15\x01\x03\x00\x01\x00\x00\x00\x01", b"\x15\x01\x03\0\1\0\0\0\0"
        ), (".tif")
    elif kind == "long":
        tifffile.imwrite(file, labels.astype(np.uint32))
    elif kind == "I;16":
        Image.fromarray(labels.astype(np.uint16)).save(file, "PNG")
        return file.getvalue(), ".png"
    elif kind == "F":
        Image.fromarray(labels.astype(np.float32)).save(file, "TIFF")
    else:
        form = "TIFF" if kind == "CMYK" else "PNG"
        Image.fromarray(labels).convert("RGB").convert(kind).save(file, form)
        return file.getvalue(), ".tif" if kind == "CMYK" else ".png"
    return file.getvalue(), ".tif"


def expected(folder: Path) -> dict[str, reference.Drawing]:
    """The maps of the masks that are as PNGs of ids, palettes or colours are."""
    classes = reference.coloured_classes(reference.read(folder / "classes.json"))
    drawings, meanings = {}, set()
    for path in sorted((folder / "masks").iterdir()):
        name = path.stem + ".png"
        if name not in annotations.SIZES or path.suffix != ".png":
            raise Undecided
        try:
            with Image.open(path, formats=["PNG"]) as image:
                image.load()
                values, mode = np.asarray(image), image.mode
                palette = image.getpalette() if mode == "P" else None
                info = set(image.info)
        except (OSError, SyntaxError, ValueError, MemoryError) as error:
            raise Undecided from error  # left out or refused; both are said
        if mode not in ("L", "P", "RGB") or info - {"dpi"}:
            raise Undecided
        meanings.add((mode, tuple(palette or ())))
        drawings[name] = _meant(values, classes, annotations.SIZES[name])
    if len(meanings) > 1 or len(drawings) < 3:
        raise Undecided
    return drawings


def _meant(values: np.ndarray, classes: list, size: tuple) -> reference.Drawing:
    if values.shape[:2] != size:
        raise Undecided
    drawing = reference.Drawing(size)
    if values.ndim == 2:
        if ((values >= len(classes)) & (values != 255)).any():
            raise Undecided  # of palettes colours may count
        drawing.labels[:] = values
        return drawing
    colours = [colour for _, colour in classes]
    if any(np.shape(colour) != (3,) for colour in colours):
        raise Undecided
    drawing.labels[:] = 254
    for index, colour in enumerate(colours):
        here = (values == np.array(colour)).all(2)
        if here.any() and colours.count(colour) > 1:
            raise Refused
        drawing.labels[here] = index
    drawing.labels[(values == 255).all(2)] = 255
    if (drawing.labels == 254).any():
        raise Undecided
    return drawing


def judge(folder: Path) -> None:
    """Make labels of the masks and compare with the reference."""
    try:
        maps = expected(folder)
    except (Refused, Undecided) as error:
        maps = error
    out = folder / "out.npy"
    store = open_labels(
        make_labels_from_masks(folder / "masks", out, progress=False, data_path=folder)
    )
    labels = {key: store[key] for key in store.keys}
    if isinstance(maps, Refused):
        raise Wrong("labels were made of masks that have none by the reference")
    for label in labels.values():
        if ((label >= len(store.classes)) & (label != 255)).any():
            raise Wrong("there are ids of no class")
    if isinstance(maps, Undecided):
        raise maps
    if maps.keys() != labels.keys():
        raise Wrong(f"labels of {sorted(labels)}, not {sorted(maps)}")
    for key, drawing in maps.items():
        if text := drawing.differs(labels[key]):
            raise Wrong(f"{key}: {text}")
