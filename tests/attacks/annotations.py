"""Annotations of VIA, in all of its forms, with their `classes.json`."""

import csv
import io
import json
from functools import cache
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from attacks import reference
from attacks.cases import Refused, Undecided, Wrong
from attacks.mutate import mutate_bytes, mutate_json, mutate_text, to_text
from utils.generate_gt_segmentation import make_labels
from utils.label_maps.store import open_labels

SIZES = {"a.png": (12, 16), "b.png": (16, 12), "c.png": (10, 10)}
CLASSES = [
    {"id": 0, "name": "background", "colour": [0, 0, 0]},
    {"id": 1, "name": "bottle", "colour": [128, 0, 0]},
    {"id": 2, "name": "can", "colour": [0, 128, 0]},
]
SHAPES = {
    "a.png": [
        ({"name": "polygon", "all_points_x": [2, 11, 6], "all_points_y": [1, 3, 10]}, "bottle"),
        ({"name": "rect", "x": 9, "y": 6, "width": 5, "height": 4}, "can"),
        ({"name": "circle", "cx": 4.5, "cy": 6, "r": 3}, "can"),
    ],
    "b.png": [
        ({"name": "polyline", "all_points_x": [1, 10, 9, 2], "all_points_y": [1, 2, 14, 9]}, "can"),
        ({"name": "ellipse", "cx": 6, "cy": 8, "rx": 4, "ry": 2.5, "theta": 0.4}, "bottle"),
        ({"name": "point", "cx": 3, "cy": 3}, "can"),
    ],
    "c.png": [],
}


@cache
def pictures() -> dict[str, bytes]:
    """The pictures as files."""
    files = {}
    for number, (name, size) in enumerate(SIZES.items()):
        file = io.BytesIO()
        Image.fromarray(np.full((*size, 3), 40 * number, np.uint8)).save(file, "PNG")
        files[name] = file.getvalue()
    return files


def project(form: str) -> dict:
    """The annotations as the content of a JSON file: a "project", an "export", or of VIA "1"."""
    entries = {}
    for name, shapes in SHAPES.items():
        regions = [{"shape_attributes": s, "region_attributes": {"Name": c}} for s, c in shapes]
        size = len(pictures()[name])
        if form == "1":
            regions = {str(index): region for index, region in enumerate(regions)}
        entries[f"{name}{size}"] = {"filename": name, "size": size, "regions": regions}
    if form != "project":
        return entries
    return {"_via_settings": {}, "_via_img_metadata": entries, "_via_attributes": {"region": {}}}


def rows() -> list[list]:
    """The annotations as rows of a CSV, the last two columns still values."""
    lines = []
    for name, shapes in SHAPES.items():
        for index, (shape, label) in enumerate(shapes or [({}, None)]):
            attributes = {"Name": label} if label else {}
            size = len(pictures()[name])
            lines.append([name, size, "{}", len(shapes), index, shape, attributes])
    return lines


def as_csv(lines: list[list]) -> str:
    """Rows as a file."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(
        "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,"
        "region_attributes".split(",")
    )
    for row in lines:
        writer.writerow(to_text(cell) if isinstance(cell, dict | list) else cell for cell in row)
    return file.getvalue()


def mutated(random: Random) -> tuple[str, bytes]:
    """The name and the content of a mutated annotation file."""
    form = random.choice(("project", "export", "1", "csv", "csv"))
    if random.random() < 0.65:
        if form == "csv":
            lines = mutate_json(random, rows(), 0.3)
            lines = [line for line in lines if isinstance(line, list)] or [[]]
            text = as_csv([[_printable(cell) for cell in line] for line in lines])
        else:
            text = to_text(mutate_json(random, project(form), 0.3))
    else:
        text = as_csv(rows()) if form == "csv" else json.dumps(project(form))
        text = mutate_text(random, text)
    content = text.encode(errors="surrogatepass")
    if random.random() < 0.1:
        content = mutate_bytes(random, content)
    return "set.csv" if form == "csv" else "set.json", content


def _printable(cell: object) -> object:
    return str(cell)[:6000].encode(errors="ignore").decode() if isinstance(cell, str) else cell


def write_around(folder: Path, classes: bytes | None = None) -> None:
    """The pictures and the `classes.json`."""
    for name, content in pictures().items():
        (folder / name).write_bytes(content)
    (folder / "classes.json").write_bytes(classes or json.dumps({"classes": CLASSES}).encode())


def expected(folder: Path, source: Path) -> dict[str, reference.Drawing]:
    """The maps by the reference."""
    text = reference.read(source)
    classes = reference.classes_of(reference.read(folder / "classes.json"))
    is_json = text.lstrip().startswith(("{", "["))
    entries = reference.from_json(text) if is_json else reference.from_csv(text)
    return reference.draw(entries, classes, SIZES)


def attack(random: Random, folder: Path) -> None:
    """Mutate annotations or, now and then, the classes; make labels; compare."""
    name, content = mutated(random)
    classes = None
    if random.random() < 0.15:
        content = json.dumps(project("project")).encode()
        classes = to_text(mutate_json(random, {"classes": CLASSES})).encode()
    write_around(folder, classes)
    (folder / name).write_bytes(content)
    judge(folder, folder / name)


def judge(folder: Path, source: Path) -> None:
    """Make labels of `source` and compare them with the reference."""
    try:
        maps = expected(folder, source)  # before the program may write a `classes.json`
    except (Refused, Undecided) as error:
        maps = error
    store = open_labels(make_labels(source, progress=False))
    labels = {key: store[key] for key in store.keys}
    if isinstance(maps, Refused):
        raise Wrong("labels were made of what has none by the reference")
    if isinstance(maps, Undecided):
        raise maps
    if labels.keys() != maps.keys():
        raise Wrong(f"labels of {sorted(labels)}, not {sorted(maps)}")
    for key, drawing in maps.items():
        if text := drawing.differs(labels[key]):
            raise Wrong(f"{key}: {text}")
