"""The label store: class-id maps of a whole dataset in one `.npy`, read one map at a time.

`labels.npy` holds the maps (uint8, 255 = void), as one array (N, H, W) when all have one size,
else as a row of pixels. `labels.index.json` beside it says which map is where. The index is
removed before the maps change and written after them, so half a store is never read.

The chapter's own files, a pickled `{file name: one-hot (H, W, C)}` (section 4 of the chapter),
are read through an unpickler that admits NumPy arrays and nothing else.
"""

import json
import pickle
import zlib
from collections.abc import Callable, Iterable
from functools import partial
from math import prod
from pathlib import Path

import numpy as np

from utils.classes import (
    VOID,
    Classes,
    as_content,
    classes_from,
    find_classes,
    known_classes,
    named,
)
from utils.errors import UserError
from utils.files import inside, relative, replace_whole
from utils.formats import npy
from utils.pictures import channels_of, picture_finder, picture_size, read_picture, split_key
from utils.reading import Reading, read_reading, reading_from

HEADER = 128  # bytes: NumPy's version 1.0 header for every shape that occurs here
REMAKE = "delete it and make it again with utils/generate_gt_segmentation.py"


class LabelStore:
    """Label maps by picture name or number; every access reads its one map and lets go of it.

    Attributes:
        keys: file names of the pictures, relative to `folder`, in the order of the annotations; of
            a page of a file its name and number, see `pictures.page_keys`.
        classes: names and colours of the ids.
        folder: where the pictures are.
        sizes: (H, W) of each map.
        reading: how the pictures and their labels are meant.
    """

    def __init__(
        self,
        keys: list[str],
        classes: Classes,
        folder: Path,
        sizes: list[tuple[int, int]],
        read: Callable[[int], np.ndarray],
        reading: Reading | None = None,
    ):
        self.keys = keys
        self.classes = classes
        self.folder = folder
        self.sizes = sizes
        self.reading = reading or Reading()
        self._read = read
        self._find = picture_finder(folder)
        self._index_of = {key: index for index, key in enumerate(keys)}

    def __len__(self) -> int:
        """The number of label maps."""
        return len(self.keys)

    def __contains__(self, key: str) -> bool:
        """Whether the picture `key` has a label map."""
        return key in self._index_of

    def __getitem__(self, key: str | int) -> np.ndarray:
        """A copy of one label map, (H, W) uint8.

        Raises:
            KeyError, IndexError: there is no such picture.
        """
        index = self._index_of[key] if isinstance(key, str) else range(len(self))[key]
        return self._read(index)

    def picture(
        self, key: str | int, least: tuple[int, int] | None = None, channels: int = 3
    ) -> np.ndarray:
        """The picture of a label map, as `reading` says, (H, W, channels) uint8.

        Args:
            key: its name or number.
            least, channels: see `pictures.read_picture`, which tells the errors as well.
        """
        path, page = self._place(key)
        return read_picture(
            path,
            least,
            scale=self.reading.scale,
            turn=self.reading.turn,
            channels=channels,
            page=page,
        )

    def picture_size(self, key: str | int) -> tuple[int, int]:
        """The size (H, W) of what `picture` gives, from its header; errors as there."""
        path, page = self._place(key)
        return picture_size(path, turn=self.reading.turn, page=page)

    def channels(self, key: str | int) -> int:
        """How many channels the file of a picture has, from its header; errors as `picture`."""
        return channels_of(*self._place(key))

    def picture_path(self, key: str | int) -> Path:
        """Where the picture of a label map is: the file, of a page as well.

        Raises:
            UserError: its name leaves the folder of the pictures.
        """
        return self._place(key)[0]

    def _place(self, key: str | int) -> tuple[Path, int]:
        """The file of a picture and its page; a file that is called as a page is comes first."""
        name = key if isinstance(key, str) else self.keys[key]
        if (path := self._find(name)) is not None:
            return path, 0
        if (split := split_key(name)) and (path := self._find(split[0])) is not None:
            return path, split[1]
        return self.folder / name, 0  # which lies inside, as `_find` has made sure


def open_labels(path: Path | str) -> LabelStore:
    """Open a label store, or one of the chapter's pickled files.

    A pickled file is turned into class ids once and held compressed, since it is not indexed.
    A pixel that is 0 in all its channels is void. Class names come from the `classes.json` of
    the file's folder.

    Raises:
        UserError: the file or its index is missing, damaged, from elsewhere, or not one-hot; a
            pickle that holds anything but arrays is refused before any of it runs.
    """
    path = Path(path)
    shape, dtype, offset = _read_header(path)
    if dtype.hasobject:
        return _open_pickled(path, offset)

    content = read_index(path)
    if content is None:
        raise UserError(f"{path} has no {index_path(path).name} beside it; {REMAKE}.")
    try:
        keys = [str(key) for key in content["keys"]]
        sizes = content["sizes"] or [shape[1:]] * len(keys)  # none when all maps are alike
        sizes = [(int(height), int(width)) for height, width in sizes]
        classes = classes_from(content["classes"])
        folder = (path.parent / content["folder"]).resolve()
        reading = reading_from(content.get("reading", {}))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{index_path(path)} is damaged ({error}); {REMAKE}.") from error
    total = sum(map(prod, sizes))
    whole = path.stat().st_size == offset + total
    if dtype != np.uint8 or len(keys) != len(sizes) or prod(shape) != total or not whole:
        raise UserError(f"{path} does not match its {index_path(path).name}; {REMAKE}.")
    starts = (offset + np.cumsum([0, *map(prod, sizes)])).tolist()
    read = partial(_read_map, path, starts, sizes)
    return LabelStore(keys, classes, folder, sizes, read, reading)


def write_labels(
    path: Path | str,
    folder: Path | str,
    classes: Classes,
    entries: Iterable[tuple[str, np.ndarray]],
    made_from: dict | None = None,
    reading: Reading | None = None,
) -> None:
    """Write a label store; `entries` are taken one by one, so memory stays flat.

    Args:
        path: the `.npy`; its index is named `<stem>.index.json`.
        folder: where the pictures are; kept relative to `path`, so both can move together.
        classes: names and colours of the ids.
        entries: (key, labels) pairs: file name of the picture, (H, W) uint8 class ids.
        made_from: what to note about the source; any JSON value.
        reading: how the pictures and their labels are meant.

    Raises:
        ValueError: a key occurs twice, or labels are not (H, W) uint8.
        UserError: the folder of `path` cannot be written.
    """
    path = Path(path)
    keys, sizes, seen = [], [], set()
    with replace_whole(path) as unfinished:
        with open(unfinished, "wb") as file:
            file.write(b" " * HEADER)
            for key, labels in entries:
                if labels.ndim != 2 or labels.dtype != np.uint8:
                    raise ValueError(f"labels of {key} are {labels.dtype} {labels.shape}")
                if key in seen:
                    raise ValueError(f"{key} occurs twice")
                file.write(np.ascontiguousarray(labels).data)
                keys.append(key)
                seen.add(key)
                sizes.append(labels.shape)
            one_size = len(set(sizes)) == 1
            shape = (len(keys), *sizes[0]) if one_size else (sum(map(prod, sizes)),)
            file.seek(0)
            file.write(_header(shape))
        index_path(path).unlink(missing_ok=True)
    content = {
        "keys": keys,
        "sizes": None if one_size else sizes,  # else the array's own shape tells
        "classes": as_content(classes),
        "folder": relative(folder, path.parent),
        "made_from": made_from,
        "reading": reading.known() if reading else {},
    }
    with replace_whole(index_path(path)) as unfinished:
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        unfinished.write_text(text, encoding="utf-8")


def index_path(path: Path | str) -> Path:
    """The index beside a label store: `labels.npy` has `labels.index.json`."""
    return Path(path).with_suffix(npy.INDEX)


def read_index(path: Path | str) -> dict | None:
    """The index of a label store as it stands in its file, or None when there is none.

    Raises:
        UserError: it is damaged.
    """
    path = index_path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}); {REMAKE}.") from error
    if not (isinstance(content, dict) and isinstance(content.get("made_from") or {}, dict)):
        raise UserError(f"{path} is not the index of label maps; {REMAKE}.")
    return content


def is_pickled(path: Path | str) -> bool:
    """Whether a `.npy` is one of the chapter's pickled files.

    Raises:
        UserError: the file is missing or is no `.npy`.
    """
    return _read_header(Path(path))[1].hasobject


def keep_other(path: Path | str) -> None:
    """Rename a file at `path` that is no label store, so that nothing written before is lost.

    `train.npy` becomes `train.old1.npy`, or takes the next number that is free; a line says so.
    """
    path = Path(path)
    if not path.exists() or index_path(path).exists():
        return
    number = 1
    while (kept := path.with_name(f"{path.stem}.old{number}{path.suffix}")).exists():
        number += 1
    path.rename(kept)
    print(f"{path} was no label store; it is kept as {kept.name}")


def _read_map(path: Path, starts: list[int], sizes: list[tuple[int, int]], index: int):
    """One label map. The file is mapped for this moment only: pages that a long-lived map has
    touched would count as memory of the process.

    Not by `np.load`, which parses the header at each call with `ast`: in Python 3.11 that fails
    now and then when two threads do so at once ("AST constructor recursion depth mismatch").
    """
    return np.array(np.memmap(path, np.uint8, "r", starts[index], sizes[index]))


def _header(shape: tuple[int, ...]) -> bytes:
    """The header of a uint8 `.npy`; of fixed length, so that it can be written last."""
    text = repr({"descr": "|u1", "fortran_order": False, "shape": shape})
    length = HEADER - len(b"\x93NUMPY") - 4
    return (
        b"\x93NUMPY\x01\x00"
        + length.to_bytes(2, "little")
        + text.ljust(length - 1).encode()
        + b"\n"
    )


def _read_header(path: Path) -> tuple[tuple[int, ...], np.dtype, int]:
    """Shape, dtype and length of the header of a `.npy`; nothing of its content is read."""
    try:
        with open(path, "rb") as file:
            version = np.lib.format.read_magic(file)
            if version == (1, 0):
                shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            else:
                shape, _, dtype = np.lib.format.read_array_header_2_0(file)
            return shape, dtype, file.tell()
    except FileNotFoundError as error:
        raise UserError(
            f"{path} does not exist; make it with utils/generate_gt_segmentation.py."
        ) from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is not a NumPy file of label maps ({error}); {REMAKE}.") from error


# The chapter's pickled files.


class _Kind:
    """Stands for the class `numpy.ndarray`, which a pickled array names."""


class _Dtype:
    """Stands for a `numpy.dtype`: plain numbers and the outermost object array only.

    NumPy's own classes are never given pickled state, as their `__setstate__` believes it.
    """

    def __init__(self, name, *_):
        if str(name).lstrip("|<>=") not in {"b1", "u1", "i1", "i4", "i8", "f4", "f8", "O", "O8"}:
            raise pickle.UnpicklingError(f"it holds an array of type {name!r}")
        self.name = str(name)

    def __setstate__(self, state):
        self.name = str(state[1]).replace("=", "<") + self.name.lstrip("|<>=")


class _Array:
    """Stands for a `numpy.ndarray`; `content` is a list for object arrays, else an array."""

    def __setstate__(self, state):
        _, shape, dtype, fortran_order, content = state
        if "O" in dtype.name:
            if not isinstance(content, list):
                raise pickle.UnpicklingError("it holds an object array without objects")
            self.content = content
            return
        if isinstance(content, str):  # bytes in files of Python 2
            content = content.encode("latin-1")
        flat = np.frombuffer(content, np.dtype(dtype.name))
        self.content = flat.reshape(shape, order="F" if fortran_order else "C")


def _reconstruct(kind, *_):
    """Stands for the function of this name in NumPy, which makes an empty array to fill."""
    if kind is not _Kind:
        raise pickle.UnpicklingError("it holds something that is no array")
    return _Array()


def _encode(text, encoding):
    """Stands for `_codecs.encode`, by which pickles of protocol 2 write bytes."""
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"it holds text in {encoding!r}")
    return text.encode("latin-1")


class _ArraysOnly(pickle.Unpickler):
    """Reads pickled dictionaries of arrays; every other class or function is refused by name."""

    ADMITTED = {
        ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
        ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
        ("numpy", "ndarray"): _Kind,
        ("numpy", "dtype"): _Dtype,
        ("_codecs", "encode"): _encode,
    }

    def find_class(self, module, name):
        try:
            return self.ADMITTED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}") from None


def _open_pickled(path: Path, offset: int) -> LabelStore:
    """A chapter's file as a store; maps are held compressed (about 1 : 100)."""
    masks = _unpickle(path, offset)
    place = find_classes(path.parent)
    classes = known_classes(place)
    channels = [mask.shape[2] for mask in masks.values()]
    count = len(classes) if classes else min(channels)
    if not classes:
        classes = named(["background", *(f"class {index}" for index in range(1, count))])

    keys, sizes, packed = [], [], []
    for key in list(masks):
        labels = _ids_of_one_hot(masks.pop(key), count, f"{path}: the mask of {key}")
        keys.append(key)
        sizes.append(labels.shape)
        packed.append(zlib.compress(labels.tobytes(), 1))
    read = partial(_unpack, packed, sizes)
    return LabelStore(keys, classes, path.parent, sizes, read, read_reading(place))


def _unpickle(path: Path, offset: int) -> dict[str, np.ndarray]:
    """The dictionary of a chapter's file: (H, W, C) array by file name."""
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            outer = _ArraysOnly(file, encoding="latin-1").load()
    # Damaged or hostile bytes can make an unpickler raise anything; none of them may run.
    except Exception as error:
        raise UserError(
            f"{path} is not the chapter's file of label maps ({error}); do not use it, make the "
            "labels again from the annotations with utils/generate_gt_segmentation.py."
        ) from error
    content = outer.content if isinstance(outer, _Array) else None
    if not isinstance(content, list) or len(content) != 1 or not isinstance(content[0], dict):
        raise UserError(f"{path} holds no dictionary of label maps; {REMAKE}.")
    masks = {}
    for key, value in content[0].items():
        key = key.decode("latin-1") if isinstance(key, bytes) else key
        mask = getattr(value, "content", None)
        if not isinstance(key, str) or not isinstance(mask, np.ndarray) or mask.ndim != 3:
            raise UserError(f"{path}: {key!r} has no mask of height x width x class; {REMAKE}.")
        inside(path.parent, key)
        masks[key] = mask
    if not masks:
        raise UserError(f"{path} holds no label map; {REMAKE}.")
    return masks


def _ids_of_one_hot(mask: np.ndarray, count: int, name: str) -> np.ndarray:
    """Class ids (H, W) uint8 of a one-hot mask (H, W, C); all-zero pixels are void.

    Raises:
        UserError: a value is not 0 or 1, a pixel has several classes (the old tool did that to
            ids above 3), or a channel beyond `count` classes is used. Such a channel that is
            empty is dropped: the old tool added one for pictures with transparency.
    """
    ones = mask == 1
    if not np.all(ones | (mask == 0)):
        raise UserError(f"{name} has values other than 0 and 1; {REMAKE}.")
    per_pixel = ones.sum(axis=2)
    if per_pixel.max(initial=0) > 1:
        raise UserError(f"{name} gives pixels several classes at once; {REMAKE}.")
    if ones[..., count:].any():
        raise UserError(f"{name} uses more than {count} classes; name all in classes.json.")
    return np.where(per_pixel == 0, VOID, ones.argmax(axis=2)).astype(np.uint8)


def _unpack(packed: list[bytes], sizes: list[tuple[int, int]], index: int) -> np.ndarray:
    """One label map out of its compressed bytes."""
    pixels = np.frombuffer(zlib.decompress(packed[index]), np.uint8)
    return pixels.reshape(sizes[index]).copy()
