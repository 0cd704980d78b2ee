"""Annotations of COCO, LabelMe, CVAT, YOLO, Supervisely and VIA 3.

What mutated ones mean is not known here: labels must be of the pictures, with ids of classes, or
there is one sentence. Those that are left alone must give the maps that were written.
"""

import json
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import numpy as np

from attacks.annotations import CLASSES, SIZES, write_around
from attacks.cases import Wrong
from attacks.mutate import mutate_bytes, mutate_json, mutate_text, to_text
from utils.classes import classes_from
from utils.formats.writing import Drawn, write_coco, write_cvat, write_labelme
from utils.generate_gt_segmentation import make_labels
from utils.label_maps.outlines import ringed, traced
from utils.label_maps.store import open_labels

FORMATS = ("coco", "labelme", "cvat", "yolo", "supervisely", "via3")
UNTOUCHED = 0.1  # share of the cases in which nothing is mutated
SOURCES = {"coco": "set.json", "cvat": "set.xml", "via3": "set.json"}  # others are folders


@cache
def maps() -> dict[str, np.ndarray]:
    """The label maps: squares, one with a hole where the format has holes."""
    found = {name: np.zeros(size, np.uint8) for name, size in SIZES.items()}
    found["a.png"][2:9, 3:12] = 1
    found["b.png"][4:14, 2:7] = 2
    return found


@cache
def files(form: str) -> dict[str, bytes]:
    """The files of a format by their names in the data folder."""
    classes = classes_from(CLASSES)
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        trace = traced if form == "labelme" else ringed
        pictures = [Drawn(n, None, each.shape, trace(each)) for n, each in maps().items()]
        if form == "coco":
            write_coco(folder / "set.json", pictures, classes)
        elif form == "cvat":
            write_cvat(folder / "set.xml", pictures, classes)
        elif form == "labelme":
            write_labelme(folder, pictures, classes)
        else:
            for name, content in _by_hand(form).items():
                (folder / name).write_text(content)
        return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def _by_hand(form: str) -> dict[str, str]:
    """The files of a format that nothing here writes."""
    boxes = {
        "a.png": (1, 3, 2, 12, 9),
        "b.png": (2, 2, 4, 7, 14),
    }  # class, left, top, right, bottom
    found = {}
    for name, (height, width) in SIZES.items():
        label, *box = boxes.get(name, (0, 0, 0, 0, 0))
        left, top, right, bottom = box
        corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
        if form == "yolo":
            numbers = " ".join(f"{x / width} {y / height}" for x, y in corners)
            found[Path(name).with_suffix(".txt").name] = f"{label - 1} {numbers}\n" if label else ""
            continue
        inner = [[left, top], [right - 1, top], [right - 1, bottom - 1], [left, bottom - 1]]
        shape = {"classTitle": CLASSES[label]["name"], "geometryType": "polygon"}
        shape["points"] = {"exterior": inner, "interior": []}
        size = {"height": height, "width": width}
        found[f"{name}.json"] = json.dumps({"size": size, "objects": [shape] * bool(label)})
    if form == "yolo":
        return found | {"data.yaml": "names:\n  0: bottle\n  1: can\n"}
    return found if form == "supervisely" else {"set.json": json.dumps(_via3(boxes))}


def _via3(boxes: dict) -> dict:
    """A project of VIA 3."""
    options = {str(c["id"]): c["name"] for c in CLASSES if c["id"]}
    about = {
        "aname": "Name",
        "anchor_id": "FILE1_Z0_XY1",
        "type": 3,
        "desc": "",
        "options": options,
    }
    content = {"project": {}, "config": {}, "attribute": {"1": about | {"default_option_id": ""}}}
    names = enumerate(SIZES, 1)
    content["file"] = {str(n): {"fid": str(n), "fname": name, "type": 2} for n, name in names}
    content["view"] = {str(n): {"fid_list": [str(n)]} for n in range(1, len(SIZES) + 1)}
    content["metadata"] = {
        name: {
            "vid": str(list(SIZES).index(name) + 1),
            "flg": 0,
            "z": [],
            "xy": [2, left, top, right - left - 1, bottom - top - 1],
            "av": {"1": str(label)},
        }
        for name, (label, left, top, right, bottom) in boxes.items()
    }
    return content


def attack(random: Random, folder: Path) -> None:
    """Mutate a file of a format; make labels; see whether they can be."""
    form = random.choice(FORMATS)
    content, whole = dict(files(form)), random.random() < UNTOUCHED
    if not whole:
        name = random.choice(sorted(content))
        content[name] = _mutated(random, name, content[name])
    write_around(folder)
    for name, each in content.items():
        (folder / name).write_bytes(each)
    store = open_labels(
        make_labels(folder / SOURCES.get(form, ""), folder / "set.npy", progress=False), folder
    )
    for key in store.keys:
        labels = store[key]  # refuses ids that are no class
        if key in SIZES and labels.shape != SIZES[key]:
            raise Wrong(f"{form}: the map of {key} is {labels.shape}")
        if whole and not np.array_equal(labels, maps()[key]):
            raise Wrong(f"{form}: {key} is not what was written")
    if whole and set(store.keys) != set(SIZES):
        raise Wrong(f"{form}: labels of {sorted(store.keys)}")


def _mutated(random: Random, name: str, content: bytes) -> bytes:
    if random.random() < 0.2:
        return mutate_bytes(random, content)
    if name.endswith(".json") and random.random() < 0.8:
        return to_text(mutate_json(random, json.loads(content))).encode("utf-8", "surrogatepass")
    return mutate_text(random, content.decode()).encode("utf-8", "surrogatepass")
