"""Label stores: the `.npy`, its index and `classes.json`, and the chapter's pickled files."""

import io
import json
import pickle
import tempfile
from functools import cache
from pathlib import Path
from random import Random

import numpy as np

from attacks import annotations, reference
from attacks.cases import Refused, Undecided, Wrong
from attacks.mutate import mutate_bytes, mutate_json, mutate_text, to_text
from utils.generate_gt_segmentation import make_labels
from utils.label_maps.fresh import ensure_labels
from utils.label_maps.store import open_labels

HEADER = 128  # bytes of the `.npy`


@cache
def files() -> dict[str, bytes]:
    """A data folder of pictures, annotations, classes and the store that was made of them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        annotations.write_around(folder)
        (folder / "set.json").write_text(json.dumps(annotations.project("project")))
        make_labels(folder / "set.json", progress=False)
        return {path.name: path.read_bytes() for path in folder.iterdir()}


@cache
def pickled() -> bytes:
    """A store as the chapter's code wrote it: {name: one-hot map}."""
    maps = np.load(io.BytesIO(files()["set.npy"]))
    starts = np.cumsum([0, *(h * w for h, w in annotations.SIZES.values())])
    content = {
        name: np.eye(3, dtype=np.float32)[maps[start : start + h * w].reshape(h, w)]
        for (name, (h, w)), start in zip(annotations.SIZES.items(), starts, strict=False)
    }
    file = io.BytesIO()
    np.save(file, np.array(content, dtype=object), allow_pickle=True)
    return file.getvalue()


def attack(random: Random, folder: Path) -> None:
    """Mutate one of the files of a store, open it in either way, read all, compare."""
    content = dict(files())
    part = random.choice(("index", "index", "index", "header", "data", "classes", "pickled"))
    if part == "index":
        text = content["set.index.json"].decode()
        if random.random() < 0.8:
            text = to_text(mutate_json(random, json.loads(text), 0.5))
        else:
            text = mutate_text(random, text)
        content["set.index.json"] = text.encode(errors="surrogatepass")
    elif part == "header":
        content["set.npy"] = _header(random, content["set.npy"])
    elif part == "data":
        content["set.npy"] = mutate_bytes(random, content["set.npy"], HEADER)
    elif part == "classes":
        classes = {"classes": annotations.CLASSES, "reading": {"void": [9], "turn": "exif"}}
        content["classes.json"] = to_text(mutate_json(random, classes)).encode()
    else:
        del content["set.index.json"], content["set.json"]
        start = 0 if random.random() < 0.5 else HEADER
        content["set.npy"] = mutate_bytes(random, pickled(), start)
    for name, each in content.items():
        (folder / name).write_bytes(each)
    judge(folder, checks=random.random() < 0.5)


def _header(random: Random, content: bytes) -> bytes:
    if random.random() < 0.4:
        return mutate_bytes(random, content, 0, HEADER)
    one, other = random.choice(
        (
            (b"False", b"True "),
            (b"|u1", b"<u2"),
            (b"|u1", b"|b1"),
            (b"|u1", b"|i1"),
            (b"|u1", b"|O "),
            (b"(", b"[("),
            (b"shape", b"shapes"),
            (b"{", b"{{"),
            (b"\x93NUMPY\x01", b"\x93NUMPY\x02"),
            (b"\x93NUMPY\x01", b"\x93NUMPY\x03"),
            (b",)", b",1)"),
            (b"}", b"}#"),
        )
    )
    return content.replace(one, other, 1)


def judge(folder: Path, checks: bool) -> None:
    """Open `set.npy` and compare its maps with the reference.

    Args:
        checks: by `ensure_labels`, which may make it anew, or else as it is.
    """
    answers = []
    for find in (_kept, _made) if checks else (_kept,):
        try:
            answers.append(find(folder))
        except (Refused, Undecided) as error:
            answers.append(error)
    path = folder / "set.npy"
    store = ensure_labels(path, False, folder) if checks else open_labels(path)
    labels = {key: store[key] for key in store.keys}
    for key in store.keys:
        store.picture_size(key)  # which opens its file
    if any(((m >= len(store.classes)) & (m != 255)).any() for m in labels.values()):
        raise Wrong("there are ids of no class")
    if not any(not isinstance(answer, Refused) and _same(answer, labels) for answer in answers):
        raise Wrong(f"{list(labels)} are neither what the file holds nor of the annotations")
    if any(isinstance(answer, Undecided) for answer in answers):
        raise Undecided


def _same(answer: dict | Undecided, labels: dict) -> bool:
    if isinstance(answer, Undecided):
        return True
    return answer.keys() == labels.keys() and not any(
        drawing.differs(labels[key]) for key, drawing in answer.items()
    )


def _made(folder: Path) -> dict:
    source = folder / "set.json"
    if not source.exists():
        raise Refused
    return annotations.expected(folder, source)


def _kept(folder: Path) -> dict:
    """What the `.npy` holds by its index."""
    path, index = folder / "set.npy", folder / "set.index.json"
    try:
        array = np.load(path, allow_pickle=False)
    except Exception as error:  # NumPy raises many on headers
        if b"O'" in path.read_bytes()[:HEADER]:
            return _pickled(path)
        raise Refused from error
    try:
        content = json.loads(reference.read(index))
        names = reference.classes_of(json.dumps(content["classes"]))
        keys, sizes = content["keys"], content["sizes"] or [array.shape[1:]] * len(content["keys"])
        sizes = [(h, w) for h, w in sizes]
        assert array.dtype == np.uint8 and len(sizes) == len(keys) == len(set(keys))
        assert all(type(side) is int and side > 0 for size in sizes for side in size)
        assert sum(h * w for h, w in sizes) == array.size
    except (OSError, ValueError, KeyError, TypeError, AssertionError, RecursionError) as error:
        raise Refused from error
    drawings, start, flat = {}, 0, array.ravel()
    for key, (height, width) in zip(keys, sizes, strict=True):
        labels = flat[start : start + height * width].reshape(height, width)
        start += height * width
        if ((labels >= len(names)) & (labels != 255)).any():
            raise Refused
        drawings[str(key)] = reference.Drawing((height, width))
        drawings[str(key)].labels[:] = labels
    return drawings


def _pickled(path: Path) -> dict:
    """What a pickled file holds, where the numbers alone are changed; else it is not known."""
    if path.read_bytes() != pickled():
        raise Undecided  # it is not to be unpickled here, of all places
    with open(path, "rb") as file:
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        content = pickle.load(file).item()
    drawings = {}
    for key, one_hot in content.items():
        drawings[key] = reference.Drawing(one_hot.shape[:2])
        drawings[key].labels[:] = one_hot.argmax(2)
    return drawings
