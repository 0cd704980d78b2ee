"""The chapter's own label files: a pickled `{file name: one-hot (H, W, C)}`, section 4.

They are read through an unpickler that admits NumPy arrays and nothing else.
"""

import pickle
import zlib
from functools import partial
from pathlib import Path

import numpy as np

from utils.classes import VOID, find_classes, known_classes, named
from utils.errors import UserError
from utils.files import inside, open_ordinary
from utils.label_maps.index import REMAKE
from utils.label_maps.store import LabelStore
from utils.reading import read_reading

MOST_NESTED = 8  # tuples in tuples; arrays have two


def open_pickled(path: Path, offset: int) -> LabelStore:
    """A chapter's file as a store; maps are held compressed (about 1 : 100).

    Args:
        path: of the file.
        offset: bytes before its pickle.

    Raises:
        UserError: as `store.open_labels`.
    """
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
    return LabelStore(keys, classes, path.parent, sizes, read, read_reading(place), path)


class _Kind:
    """Stands for the class `numpy.ndarray`, which a pickled array names."""


class _Dtype:
    """Stands for a `numpy.dtype`: plain numbers and the outermost object array only.

    NumPy's own classes are never given pickled state, as their `__setstate__` believes it.
    """

    def __init__(self, name, *_):
        name = _text(name)
        if name.lstrip("|<>=") not in {"b1", "u1", "i1", "i4", "i8", "f4", "f8", "O", "O8"}:
            raise pickle.UnpicklingError(f"it holds an array of type {name!r}")
        self.name = name

    def __setstate__(self, state):
        self.name = _text(state[1]).replace("=", "<") + self.name.lstrip("|<>=")


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
    if _text(encoding) not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"it holds text in {encoding!r}")
    return _text(text).encode("latin-1")


def _text(value):
    """A text; of anything else not even its own form as text is asked for, which may have no end.

    Raises:
        UnpicklingError: it is none.
    """
    if isinstance(value, bytes):  # in files of Python 2
        value = value.decode("latin-1")
    if not isinstance(value, str):
        raise pickle.UnpicklingError(f"it holds a {type(value).__name__} where a text belongs")
    return value


class _Tuple(tuple):
    """A tuple that knows how many tuples it lies around."""

    def __new__(cls, items):
        self = super().__new__(cls, items)
        self.depth = 1 + max((item.depth for item in self if isinstance(item, _Tuple)), default=0)
        if self.depth > MOST_NESTED:
            raise pickle.UnpicklingError("it holds tuples in tuples without end")
        return self


class _ArraysOnly(pickle._Unpickler):
    """Reads pickled dictionaries of arrays; every other class or function is refused by name.

    In Python's own form, not in C: that asks tuples for their hash, and tuples two million deep
    end the process then. Here they are refused, as is any state for what takes none.
    """

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

    dispatch = dict(pickle._Unpickler.dispatch)

    def _load_tuple(count):
        def load(self):
            items = self.pop_mark() if count is None else self.stack[-count:]
            if count is not None:
                del self.stack[-count:]
            self.append(_Tuple(items))

        return load

    def _load_build(self):
        if not isinstance(self.stack[-2], (_Array, _Dtype)):
            raise pickle.UnpicklingError("it holds something that is no array")
        pickle._Unpickler.load_build(self)

    dispatch[pickle.TUPLE[0]] = _load_tuple(None)
    dispatch[pickle.TUPLE1[0]] = _load_tuple(1)
    dispatch[pickle.TUPLE2[0]] = _load_tuple(2)
    dispatch[pickle.TUPLE3[0]] = _load_tuple(3)
    dispatch[pickle.BUILD[0]] = _load_build


def _unpickle(path: Path, offset: int) -> dict[str, np.ndarray]:
    """The dictionary of a chapter's file: (H, W, C) array by file name."""
    try:
        with open_ordinary(path) as file:
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
        if not isinstance(key, str):
            raise UserError(f"{path} names a map by {type(key).__name__}, no text; {REMAKE}.")
        if not isinstance(mask, np.ndarray) or mask.ndim != 3:
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
