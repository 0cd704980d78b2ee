"""The label store: class-id maps of a whole dataset in one `.npy`, read one map at a time.

`labels.npy` holds the maps (uint8, 255 = void), as one array (N, H, W) when all have one size,
else as a row of pixels. `labels.index.json` beside it says which map is where. The index is
removed before the maps change and written after them, so half a store is never read.

An open store keeps its file: labels that are made again meanwhile, by whomever, are for those who
open them next.
"""

import json
import os
import threading
from collections.abc import Callable, Iterable
from functools import cached_property, partial
from io import BytesIO
from math import prod
from pathlib import Path

import numpy as np

from utils.classes import VOID, Classes, as_content
from utils.errors import UserError
from utils.files import open_ordinary, relative, replace_whole
from utils.formats import npy
from utils.label_maps.index import REMAKE, index_path, place_of, read_index
from utils.pictures import (
    channels_of,
    picture_finder,
    picture_size,
    read_picture,
    same_shape,
    split_key,
)
from utils.reading import Reading

HEADER = 128  # bytes: NumPy's version 1.0 header for every shape that occurs here


class LabelStore:
    """Label maps by picture name or number; every access reads its one map and lets go of it.

    Attributes:
        keys: file names of the pictures, relative to `folder`, in the order of the annotations; of
            a page of a file its name and number, see `pictures.page_keys`.
        classes: names and colours of the ids.
        folder: where the pictures are.
        sizes: (H, W) of each map.
        reading: how the pictures and their labels are meant.
        path: of the `.npy`, for what is said of it.
    """

    def __init__(
        self,
        keys: list[str],
        classes: Classes,
        folder: Path,
        sizes: list[tuple[int, int]],
        read: Callable[[int], np.ndarray],
        reading: Reading | None = None,
        path: Path | None = None,
    ):
        self.keys = keys
        self.classes = classes
        self.folder = folder
        self.sizes = sizes
        self.reading = reading or Reading()
        self.path = path
        self._read = read
        self._find = picture_finder(folder)

    def __len__(self) -> int:
        """The number of label maps."""
        return len(self.keys)

    def __contains__(self, key: str) -> bool:
        """Whether the picture `key` has a label map."""
        return key in self._index_of

    @cached_property
    def _index_of(self) -> dict[str, int]:
        return {key: index for index, key in enumerate(self.keys)}

    def number_of(self, key: str | int) -> int:
        """The number of a map, by the name of its picture or by itself."""
        return self._index_of[key] if isinstance(key, str) else range(len(self))[key]

    def check_shapes(self, keys: Iterable[str]) -> None:
        """See by the pictures' headers whether they have the shapes of their maps.

        A map may be larger or smaller than its picture, when both have the same shape.

        Raises:
            UserError: a picture is missing, is none, or has another shape.
        """
        for key in keys:
            size, map_size = self.picture_size(key), self.sizes[self.number_of(key)]
            if not same_shape(size, map_size):
                raise UserError(
                    f"{self.picture_path(key)} is {size[0]} high and {size[1]} wide, but its label "
                    f"map is {map_size[0]} high and {map_size[1]} wide; make the labels again from "
                    "the annotations."
                )

    def __getitem__(self, key: str | int) -> np.ndarray:
        """A copy of one label map, (H, W) uint8.

        Raises:
            KeyError, IndexError: there is no such picture.
            UserError: it holds an id that is neither a class nor void; or somebody has written
                into the file since it was opened.
        """
        labels = self.unchecked(key)
        if (labels + np.uint8(1)).max() > len(self.classes):  # void, 255, becomes 0
            wrong = max(set(np.unique(labels).tolist()) - {VOID})
            raise UserError(
                f"{self.path} has the label {wrong} for {self._name(key)}, but the classes are 0 "
                f"to {len(self.classes) - 1}; {REMAKE}."
            )
        return labels

    def unchecked(self, key: str | int) -> np.ndarray:
        """As a look-up, whatever ids the map holds."""
        return self._read(self.number_of(key))

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

    def _name(self, key: str | int) -> str:
        return key if isinstance(key, str) else self.keys[key]

    def _place(self, key: str | int) -> tuple[Path, int]:
        """The file of a picture and its page; a file that is called as a page is comes first."""
        name = self._name(key)
        if (path := self._find(name)) is not None:
            return path, 0
        if (split := split_key(name)) and (path := self._find(split[0])) is not None:
            return path, split[1]
        return self.folder / name, 0  # which lies inside, as `_find` has made sure


def open_labels(path: Path | str, data_path: Path | str | None = None) -> LabelStore:
    """Open a label store, or one of the chapter's pickled files.

    The maps are those of the file as it is now, whatever is written under its name later. Sent to
    another process a store opens its file anew, and refuses another one.

    A pickled file is turned into class ids once and held compressed, since it is not indexed.
    A pixel that is 0 in all its channels is void. Class names come from the `classes.json` of
    the file's folder.

    Args:
        path: of the `.npy`.
        data_path: the data folder; pictures are in it or in the folder of the file.

    Raises:
        UserError: the file or its index is missing, damaged, from elsewhere, or not one-hot; the
            index names pictures elsewhere; a pickle that holds anything but arrays is refused
            before any of it runs.
    """
    path = Path(path)
    while True:
        file = _File(path)
        header = _header_of(path, file)
        if header.dtype is None:
            from utils.label_maps.pickled import open_pickled

            return open_pickled(path, header.offset)
        content = read_index(path)
        if file.is_current():  # else both were replaced in between, and the index is the newer
            break
    if content is None:
        raise UserError(f"{path} has no {index_path(path).name} beside it; {REMAKE}.")
    shape, keys, sizes = header.shape, content.keys, content.sizes
    if sizes is None:  # all maps are alike, and the array has three dimensions
        sizes = [shape[1:]] * len(keys)
    folder = place_of(path, content.folder, data_path).resolve()
    total = sum(map(prod, sizes))
    fits = (header.dtype, header.order) == (np.uint8, "C")  # by columns they are not ours
    fits = fits and all(len(size) == 2 and min(size) > 0 for size in sizes)
    if not fits or len(keys) != len(sizes) or prod(shape) != total:
        raise UserError(f"{path} does not match its {index_path(path).name}; {REMAKE}.")
    if file.size != header.offset + total:
        raise UserError(f"{path} does not match its {index_path(path).name}; {REMAKE}.")
    starts = (header.offset + np.cumsum([0, *map(prod, sizes)])).tolist()
    read = partial(_read_map, file, starts, sizes)
    return LabelStore(keys, content.classes, folder, sizes, read, content.reading, path)


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
        UserError: the folder of `path` cannot be written, or a key is no text.
    """
    path = Path(path)
    keys, sizes, seen = [], [], set()
    with replace_whole(path) as unfinished:
        with open(unfinished, "wb") as file:
            file.write(b" " * HEADER)
            for key, labels in entries:
                try:
                    key.encode()
                except UnicodeEncodeError as error:  # bytes that are no UTF-8
                    raise UserError(f"{key!r} is no text; rename this picture.") from error
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


def is_pickled(path: Path | str) -> bool:
    """Whether a `.npy` is one of the chapter's pickled files.

    Raises:
        UserError: the file is missing or is no `.npy`.
    """
    return _header_of(Path(path), _File(Path(path))).dtype is None


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


class _File:
    """A file that is kept open, to be read by any thread, and opened anew in another process.

    Attributes:
        size: in bytes.
    """

    def __init__(self, path: Path):
        """Open it.

        Raises:
            UserError: it is missing or no ordinary file.
        """
        self.path = path
        try:
            self._file = open_ordinary(path)
        except FileNotFoundError as error:
            raise UserError(
                f"{path} does not exist; make it with utils/generate_gt_segmentation.py."
            ) from error
        except OSError as error:
            raise UserError(
                f"{path} is not a NumPy file of label maps ({error}); {REMAKE}."
            ) from error
        self._mark = self._current_mark()
        self.size = os.fstat(self._file.fileno()).st_size
        self._one_at_a_time = threading.Lock()

    def __del__(self):
        """Close it without a warning."""
        if hasattr(self, "_file"):
            self._file.close()

    def __getstate__(self) -> tuple:
        """For another process: the path, and by what the file there is known again."""
        return self.path, self._mark

    def __setstate__(self, state: tuple) -> None:
        """Open it there.

        Raises:
            UserError: as `__init__`, or it is another file by now.
        """
        path, mark = state
        self.__init__(path)
        self._mark = mark
        self._check()

    def is_current(self) -> bool:
        """Whether the path still leads to this file."""
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(self._file.fileno()))
        except OSError:
            return False

    def read(self, start: int, count: int) -> bytes:
        """Bytes of the file.

        Raises:
            UserError: somebody has written into it since it was opened.
        """
        if hasattr(os, "pread"):  # processes that were forked share the place in the file
            content = os.pread(self._file.fileno(), count, start)
        else:
            with self._one_at_a_time:
                self._file.seek(start)
                content = self._file.read(count)
        self._check()
        return content

    def _check(self) -> None:
        if self._current_mark() != self._mark:
            raise UserError(
                f"{self.path} was changed while its label maps were in use; start again."
            )

    def _current_mark(self) -> tuple[int, ...]:
        status = os.fstat(self._file.fileno())
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _header_of(path: Path, file: _File) -> npy.Header:
    try:
        return npy.parse_header(BytesIO(file.read(0, 1024)))
    except ValueError as error:
        raise UserError(f"{path} is not a NumPy file of label maps ({error}); {REMAKE}.") from error


def _read_map(
    file: _File, starts: list[int], sizes: list[tuple[int, int]], index: int
) -> np.ndarray:
    """One label map, (H, W) uint8."""
    content = bytearray(file.read(starts[index], prod(sizes[index])))
    return np.frombuffer(content, np.uint8).reshape(sizes[index])


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
