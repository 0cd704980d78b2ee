"""Pictures with their label maps in a few large files, for data sets of millions.

A folder of shards holds

- `000000.tar`, `000001.tar`, ...: for each picture `<number>.<ending>`, its file as it was,
  `<number>.seg.png`, its label map as grey values (class ids, 255 is void), and `<number>.json`,
  its name: tar files as WebDataset reads them;
- `shards.npy`: where they are, int64 (N, 7): shard, place and length of the picture's file, place
  and length of the map's, height and width of the map;
- `shards.json`: classes, and how the pictures are meant.

A picture is read by its place, in any order, and nothing else of the file: so a training has the
order that it would have with the pictures in a folder. Memory holds nothing of each picture: names
are numbers, and `shards.npy` is mapped.
"""

import io
import json
import os
import re
import tarfile
from array import array
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from utils.classes import Classes, as_content, classes_from
from utils.errors import UserError
from utils.files import open_ordinary, read_json, replace_whole
from utils.formats import npy
from utils.label_maps.store import LabelStore
from utils.picture_files import read_values
from utils.pictures import read_picture, same_shape
from utils.reading import Reading, reading_from

ABOUT, INDEX = "shards.json", "shards.npy"
LARGEST = 2**28  # bytes after which a shard is closed
MOST = 2**30  # bytes of a picture's file
COLUMNS = 7  # of the index
REMAKE = "make the shards anew with utils/convert.py --format shards"
DIGITS = 9


class Numbers(Sequence):
    """The names "000000000", "000000001", ... of pictures, made when they are asked for."""

    def __init__(self, count: int):
        self.count = count

    def __len__(self) -> int:
        """How many there are."""
        return self.count

    def __getitem__(self, place: int | slice) -> str | list[str]:
        """A name, or a list of them."""
        if isinstance(place, slice):
            return [self[each] for each in range(self.count)[place]]
        return f"{range(self.count)[place]:0{DIGITS}}"

    def __contains__(self, name: object) -> bool:
        """Whether a picture has this name."""
        try:
            self.number(name)
        except KeyError:
            return False
        return True

    def number(self, name: object) -> int:
        """The number of a name.

        Raises:
            KeyError: no picture has it.
        """
        if not isinstance(name, str) or not re.fullmatch(rf"[0-9]{{{DIGITS},18}}", name):
            raise KeyError(name)
        number = int(name)
        if number >= self.count or self[number] != name:
            raise KeyError(name)
        return number


class Sizes(Sequence):
    """The sizes (H, W) of label maps, looked up in the index."""

    def __init__(self, index: np.ndarray):
        self.index = index

    def __len__(self) -> int:
        """How many there are."""
        return len(self.index)

    def __getitem__(self, place: int | slice) -> tuple[int, int] | list[tuple[int, int]]:
        """A size, or a list of them."""
        found = self.index[place, 5:7].tolist()
        return [tuple(size) for size in found] if isinstance(place, slice) else tuple(found)


class Shards(LabelStore):
    """A label store that has pictures and maps in shards; its keys are numbers as text."""

    def __init__(self, folder: Path, index: np.ndarray, classes: Classes, reading: Reading):
        super().__init__(
            Numbers(len(index)), classes, folder, Sizes(index), self._map, reading, folder / ABOUT
        )
        self.index = index

    def __reduce__(self) -> tuple:
        """For another process: it maps the index itself."""
        return open_shards, (self.folder,)

    def __contains__(self, key: str) -> bool:
        """Whether the picture `key` has a label map."""
        return key in self.keys

    def picture(
        self, key: str | int, least: tuple[int, int] | None = None, channels: int = 3
    ) -> np.ndarray:
        """As `LabelStore.picture`.

        Raises:
            UserError: it cannot be read, or has another shape than its label map.
        """
        number = self.number_of(key)
        picture = read_picture(
            self.picture_path(number),
            least,
            scale=self.reading.scale,
            turn=self.reading.turn,
            channels=channels,
            content=io.BytesIO(self.content(number)),
        )
        if not same_shape(picture.shape[:2], self.sizes[number]):
            raise UserError(
                f"{self.picture_path(number)} is {picture.shape[:2]} and its label map "
                f"{self.sizes[number]}; {REMAKE}."
            )
        return picture

    def picture_size(self, key: str | int) -> tuple[int, int]:
        """The size (H, W) of the label map, whose shape the picture has."""
        return self.sizes[self.number_of(key)]

    def channels(self, key: str | int) -> int:
        """How many channels a picture has."""
        number = self.number_of(key)
        content = io.BytesIO(self.content(number))
        return read_values(self.picture_path(number), channels=0, content=content)[0].shape[2]

    def content(self, number: int) -> bytes:
        """The file of a picture."""
        return self._bytes(number, 1)

    def picture_path(self, key: str | int) -> Path:
        """The shard and in it the number, for what is said of a picture."""
        number = self.number_of(key)
        return _shard(self.folder, int(self.index[number, 0])) / self.keys[number]

    def number_of(self, key: str | int) -> int:
        """The number of a picture, by its name or by itself."""
        return self.keys.number(key) if isinstance(key, str) else range(len(self))[key]

    def check_shapes(self, keys: Sequence[str]) -> None:
        """Nothing: they were compared when the shards were made, and are when a picture is read."""

    def _map(self, number: int) -> np.ndarray:
        path = self.picture_path(number)
        content = io.BytesIO(self._bytes(number, 3))
        labels, _ = read_values(path, channels=1, content=content)
        if labels.dtype != np.uint8 or labels.shape != (*self.sizes[number], 1):
            raise UserError(f"{path} has no label map of {self.sizes[number]}; {REMAKE}.")
        return np.ascontiguousarray(labels[..., 0])

    def _bytes(self, number: int, column: int) -> bytes:
        """What stands in a shard."""
        shard, start, count = (int(self.index[number, each]) for each in (0, column, column + 1))
        path = _shard(self.folder, shard)
        try:
            with open_ordinary(path) as file:
                size = os.fstat(file.fileno()).st_size
                file.seek(min(start, size))
                content = file.read(min(count, size))
        except OSError as error:
            raise UserError(
                f"{path} cannot be read ({error}); put it back, or {REMAKE}."
            ) from error
        if len(content) != count:
            raise UserError(f"{path} is shorter than its {INDEX} says; {REMAKE}.")
        return content


def is_shards(folder: Path | str) -> bool:
    """Whether a folder holds shards."""
    return os.path.isfile(os.path.join(folder, ABOUT))  # False of a name that is none


def open_shards(folder: Path | str) -> Shards:
    """Open a folder of shards.

    Raises:
        UserError: `shards.json` or `shards.npy` is missing, damaged, or not as it is written here.
    """
    folder = Path(folder).resolve()
    try:
        about = read_json(folder / ABOUT)
        classes, reading = classes_from(about["classes"]), reading_from(about["reading"])
        index = _mapped(folder / INDEX)
    except (OSError, EOFError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(
            f"{folder} holds no shards that can be read ({error}); {REMAKE}."
        ) from error
    for first in range(0, len(index), 2**16):  # a part at a time
        part = index[first : first + 2**16]
        least, most = part.min(axis=0), part.max(axis=0)
        if (least < [0, 0, 1, 0, 1, 1, 1]).any() or (most[[2, 4]] > MOST).any():
            raise UserError(f"{folder / INDEX} has a number that cannot be; {REMAKE}.")
    return Shards(folder, index, classes, reading)


def _mapped(path: Path) -> np.ndarray:
    """The numbers of an index; raises `OSError` or `ValueError` when it is none."""
    with open_ordinary(path) as file:
        shape, dtype, order, offset = npy.parse_header(file)
        if (dtype, order) != (np.int64, "C") or len(shape) != 2 or shape[1] != COLUMNS:
            raise ValueError(f"{path.name} is no index of shards")
        if not shape[0]:
            raise ValueError(f"{path.name} lists no picture")
        return np.memmap(file, dtype, "r", offset, shape)


def write_shards(
    folder: Path, store: LabelStore, keys: Iterable[str], largest: int = LARGEST
) -> None:
    """Write the pictures of a label store and their maps; memory holds one, and the index.

    Args:
        folder: is there, and empty.
        store: of the pictures.
        keys: which, in which order.
        largest: bytes after which a shard is closed.

    Raises:
        UserError: a picture is missing, or has another shape than its map.
    """
    rows, shard, keys = array("q"), 0, iter(keys)
    while first := next(keys, None):
        with tarfile.open(_shard(folder, shard), "x", format=tarfile.USTAR_FORMAT) as tar:
            for key in chain([first], keys):
                store.check_shapes([key])
                path, labels = store.picture_path(key), store[key]
                with open_ordinary(path) as file:
                    content = file.read()
                name = f"{len(rows) // COLUMNS:0{DIGITS}}"
                ending = PurePosixPath(key).suffix.lower()
                ending = ending if re.fullmatch(r"\.[a-z0-9]{1,8}", ending) else ".picture"
                if len(content) > MOST:
                    raise UserError(f"{path} is larger than {MOST:,} bytes; leave it out.")
                picture = _put(tar, name + ending, content)
                map_of_it = _put(tar, name + ".seg.png", _as_png(labels))
                about = json.dumps({"name": key}, ensure_ascii=False)
                _put(tar, name + ".json", about.encode())
                rows.extend((shard, *picture, *map_of_it, *labels.shape))
                if tar.offset > largest:
                    break
        shard += 1
    with replace_whole(folder / INDEX) as unfinished:
        np.save(unfinished, np.frombuffer(rows, np.int64).reshape(-1, COLUMNS), allow_pickle=False)
    about = {"classes": as_content(store.classes), "reading": store.reading.known()}
    with replace_whole(folder / ABOUT) as unfinished:  # last: without it there are no shards
        unfinished.write_text(json.dumps(about, ensure_ascii=False, indent=1), encoding="utf-8")


def _put(tar: tarfile.TarFile, name: str, content: bytes) -> tuple[int, int]:
    """Append a file; return where its content begins, and its length."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    start = tar.offset + tarfile.BLOCKSIZE  # behind a header of one block, as names are short
    tar.addfile(member, io.BytesIO(content))
    return start, len(content)


def _as_png(labels: np.ndarray) -> bytes:
    """A label map (H, W) uint8 as grey values."""
    content = io.BytesIO()
    Image.fromarray(labels).save(content, "PNG")
    return content.getvalue()


def _shard(folder: Path, number: int) -> Path:
    return folder / f"{number:06}.tar"
