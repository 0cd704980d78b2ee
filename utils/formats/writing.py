"""Annotations in the formats of other programs: VIA 2, COCO, LabelMe, CVAT.

VIA and LabelMe hold polygons without holes, the later on top of the earlier; what they cannot hold
is traced again with the whole picture (`label_maps/outlines.py`). COCO and CVAT hold holes as
bitmaps of run lengths.

A region that has the attribute "confidence", as those of a network's answers have, keeps it in VIA,
COCO and LabelMe.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from utils.classes import FILE_NAME, VOID, Classes
from utils.errors import UserError
from utils.files import replace_whole
from utils.formats.annotations import Region, class_value
from utils.formats.labelme import BACKGROUND, IGNORE
from utils.label_maps.outlines import polygon, to_centres, to_rings, traced
from utils.label_maps.polygons import draw_regions, outline

CONFIDENCE = "confidence"  # the attribute: the mean probability of a region's class, as text
LONGEST = 240  # bytes of a name, which most file systems take with an ending
VIA_SHAPES = ("polygon", "polyline", "rect", "circle", "ellipse", "point")


@dataclass(frozen=True)
class Drawn:
    """A picture with its regions.

    Attributes:
        file: name of the picture as it is to be listed.
        size: of its file in bytes, or None.
        shape: (H, W) in pixels.
        pairs: (region, class id or `VOID`), in the order of drawing.
    """

    file: str
    size: int | None
    shape: tuple[int, int]
    pairs: Sequence[tuple[Region, int]]


def write_via(path: Path, pictures: Iterable[Drawn], classes: Classes) -> None:
    """Write a project of VIA 2: classes are the options of `Name`; a void region has no `Name`.

    Raises:
        UserError: the folder cannot be written.
    """
    metadata = {}
    for picture in pictures:
        regions = [_via_region(*pair) for pair in _in_centres(picture)]
        size = -1 if picture.size is None else picture.size
        metadata[f"{picture.file}{size}"] = {
            "filename": picture.file,
            "size": size,
            "regions": regions,
            "file_attributes": {},
        }
    choices = {str(index): name for index, name in enumerate(classes.names)}
    project = via_project(path.stem, metadata, choices)
    regions = (region for entry in metadata.values() for region in entry["regions"])
    if any(CONFIDENCE in region["region_attributes"] for region in regions):
        about = {"type": "text", "description": "0 to 1, of the network", "default_value": ""}
        project["_via_attributes"]["region"][CONFIDENCE] = about
    _write_json(path, project)


def via_project(title: str, metadata: dict[str, dict], choices: dict[str, str]) -> dict:
    """A project of VIA 2 as its page opens it.

    Args:
        title: of the project.
        metadata: what VIA keeps of each picture, by file name and size.
        choices: names by ids of the region attribute `Name`.
    """
    return {
        "_via_settings": {
            "ui": {
                "annotation_editor_height": 25,
                "annotation_editor_fontsize": 0.8,
                "leftsidebar_width": 18,
                "image_grid": {
                    "img_height": 80,
                    "rshape_fill": "none",
                    "rshape_fill_opacity": 0.3,
                    "rshape_stroke": "yellow",
                    "rshape_stroke_width": 2,
                    "show_region_shape": True,
                    "show_image_policy": "all",
                },
                "image": {
                    "region_label": "Name",
                    "region_color": "Name",
                    "region_label_font": "10px Sans",
                    "on_image_annotation_editor_placement": "NEAR_REGION",
                },
            },
            "core": {"buffer_size": 18, "filepath": {}, "default_filepath": ""},
            "project": {"name": title},
        },
        "_via_img_metadata": metadata,
        "_via_attributes": {
            "region": {
                "Name": {
                    "type": "dropdown",
                    "description": "class",
                    "options": choices,
                    "default_options": {},
                }
            },
            "file": {},
        },
        "_via_data_format_version": "2.0.10",
        "_via_image_id_list": list(metadata),
    }


def write_coco(path: Path, pictures: Iterable[Drawn], classes: Classes) -> None:
    """Write instance annotations of COCO: polygons, run lengths where there are holes.

    A void region is a crowd of the first class, which no evaluation counts. The background of
    holes lies in them, other regions of the background are left out.

    Raises:
        UserError: the folder cannot be written, or nothing but the background has a name.
    """
    if len(classes) < 2:
        raise UserError(f"{path}: COCO has no background, and there is no other class to write.")
    images, annotations = [], []
    for number, picture in enumerate(pictures, 1):
        height, width = picture.shape
        images.append({"id": number, "file_name": picture.file, "height": height, "width": width})
        for region, label in picture.pairs:
            if label == 0 or region.shape == "point":
                continue
            mask = draw_regions([(region, 1)], picture.shape)[0]
            if not mask.any():
                continue
            box = _box(mask)
            rings = _rings(region)
            if rings is None or len(rings) > 1 or label == VOID:
                segmentation: Any = {"size": [height, width], "counts": _runs(mask.T)}
            else:
                segmentation = [np.round(rings[0], 3).ravel().tolist()]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": 1 if label == VOID else label,
                    "segmentation": segmentation,
                    "area": int(mask.sum()),
                    "bbox": box,
                    "iscrowd": int(label == VOID),
                }
            )
            if (score := _score(region, label)) is not None:
                annotations[-1]["score"] = score  # as in COCO's format of results
    categories = [
        {"id": index, "name": name, "supercategory": ""}
        for index, name in enumerate(classes.names)
        if index
    ]
    _write_json(path, {"images": images, "annotations": annotations, "categories": categories})


def write_labelme(folder: Path, pictures: Iterable[Drawn], classes: Classes) -> None:
    """Write a JSON of LabelMe for each picture into a folder; void is labelled `__ignore__`.

    It has the stem of the picture, as LabelMe looks for it; where another has that already, its
    whole name.

    Raises:
        UserError: the folder cannot be written.
    """
    names = {VOID: IGNORE, 0: BACKGROUND}
    seen = {Path(FILE_NAME).stem}  # the table of classes may lie there too
    for picture in pictures:
        shapes = []
        for region, label in _in_centres(picture):
            kind, points = _labelme_shape(region)
            name = names.get(label) or classes.names[label]
            confidence = _confidence(region, label)
            said = "" if confidence is None else f"{CONFIDENCE} {confidence}"
            shape = {"label": name, "points": points, "group_id": None, "description": said}
            shapes.append(shape | {"shape_type": kind, "flags": {}, "mask": None})
        content = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": picture.file}
        height, width = picture.shape
        content |= {"imageData": None, "imageHeight": height, "imageWidth": width}
        whole = picture.file.replace("/", "-")
        stem = name = whole.rpartition(".")[0]
        number = 1
        while name.casefold() in seen:
            name = whole if name == stem else f"{whole}-{(number := number + 1)}"
        seen.add(name.casefold())
        if len(name.encode()) > LONGEST:
            name = hashlib.sha256(whole.encode()).hexdigest()
        _write_json(folder / f"{name}.json", content)


def write_cvat(path: Path, pictures: Iterable[Drawn], classes: Classes) -> None:
    """Write "CVAT for images 1.1": polygons, masks of run lengths where there are holes.

    CVAT knows no void: such regions get the label of the last class, "void".

    Raises:
        UserError: the folder cannot be written.
    """
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    labels = ElementTree.SubElement(
        ElementTree.SubElement(ElementTree.SubElement(root, "meta"), "job"), "labels"
    )
    for name, colour in zip(classes.names, classes.colours, strict=True):
        label = ElementTree.SubElement(labels, "label")
        ElementTree.SubElement(label, "name").text = name
        ElementTree.SubElement(label, "color").text = "#{:02x}{:02x}{:02x}".format(*colour)
    for number, picture in enumerate(pictures):
        height, width = picture.shape
        size = {"width": str(width), "height": str(height)}
        image = ElementTree.SubElement(
            root, "image", {"id": str(number), "name": picture.file} | size
        )
        for order, (region, label) in enumerate(picture.pairs):
            if region.shape == "point":
                continue
            about = {"label": classes.names[-1 if label == VOID else label], "occluded": "0"}
            about["z_order"] = str(order)
            rings = _rings(region)
            if rings is not None and len(rings) == 1:
                points = ";".join(f"{x:.2f},{y:.2f}" for x, y in rings[0])
                ElementTree.SubElement(image, "polygon", about | {"points": points})
                continue
            mask = draw_regions([(region, 1)], picture.shape)[0]
            if not mask.any():
                continue
            left, top, across, down = box = _box(mask)
            names = ("left", "top", "width", "height")
            about |= {name: str(value) for name, value in zip(names, box, strict=True)}
            runs = ", ".join(map(str, _runs(mask[top : top + down, left : left + across])))
            ElementTree.SubElement(image, "mask", about | {"rle": runs})
    ElementTree.indent(root)
    with replace_whole(path) as unfinished:
        ElementTree.ElementTree(root).write(unfinished, encoding="utf-8", xml_declaration=True)


def _in_centres(picture: Drawn) -> Sequence[tuple[Region, int]]:
    """The regions of a picture as VIA can have them; all traced anew where one has holes."""
    pairs = []
    for region, label in picture.pairs:
        if region.shape in VIA_SHAPES:
            pairs.append((region, label))
        elif region.shape == "rings" and len(region.numbers["rings"]) == 1:
            (ring,) = region.numbers["rings"]
            pairs.append((polygon(to_centres(ring), region.attributes), label))
        else:
            return traced(draw_regions(picture.pairs, picture.shape)[0])
    return pairs


def _rings(region: Region) -> list[np.ndarray] | None:
    """The outlines (n, 2) of a region from the corner of the picture; None of a bitmap."""
    if region.shape == "bitmap":
        return None
    if region.shape == "rings":
        return [np.asarray(ring, np.float64) for ring in region.numbers["rings"]]
    return [to_rings(outline(region))]


def _via_region(region: Region, label: int) -> dict:
    """A region as VIA 2 has it."""
    numbers = {
        name: [_plain(v) for v in value] if isinstance(value, tuple) else _plain(value)
        for name, value in region.numbers.items()
    }
    attributes = {} if label == VOID else {"Name": str(label)}
    if (confidence := _confidence(region, label)) is not None:
        attributes[CONFIDENCE] = confidence
    return {"shape_attributes": {"name": region.shape} | numbers, "region_attributes": attributes}


def _confidence(region: Region, label: int) -> str | None:
    """What a region says of its confidence; a void one nothing.

    Were it the only attribute of a file, as where all is void, it would be read as the class.
    """
    return None if label == VOID else class_value(region, CONFIDENCE)


def _score(region: Region, label: int) -> float | None:
    """The confidence of a region as a number, where it is one."""
    try:
        score = float(_confidence(region, label) or "nan")
    except ValueError:  # annotators may write what they like
        return None
    return score if math.isfinite(score) else None


def _labelme_shape(region: Region) -> tuple[str, list[list[float]]]:
    """LabelMe's name for the shape of a region, and its points."""
    n = region.numbers
    if region.shape == "point":
        return "point", [[n["cx"], n["cy"]]]
    if region.shape == "circle":
        return "circle", [[n["cx"], n["cy"]], [n["cx"] + n["r"], n["cy"]]]
    if region.shape == "rect":
        corner = [n["x"] + n["width"], n["y"] + n["height"]]
        return "rectangle", [[n["x"], n["y"]], corner]
    return "polygon", np.rint(outline(region)).tolist()  # LabelMe cuts fractions off


def _box(mask: np.ndarray) -> list[int]:
    """Left, top, width and height of what a mask has."""
    rows, columns = (np.flatnonzero(mask.any(axis)).tolist() for axis in (1, 0))
    return [columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]


def _runs(mask: np.ndarray) -> list[int]:
    """Lengths of the runs of a mask, row by row, that of zeros first; of `mask.T` COCO's."""
    flat = np.concatenate([[0], (mask > 0).ravel().astype(np.int8)])
    changes = np.flatnonzero(np.diff(flat))
    return np.diff([0, *changes, mask.size]).tolist()


def _plain(value: float) -> float | int:
    """A number without a fraction of zero, and with a thousandth of a pixel at most."""
    return int(value) if value == int(value) else round(value, 3)


def _write_json(path: Path, content: dict) -> None:
    with replace_whole(path) as unfinished:
        text = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
        unfinished.write_text(text, encoding="utf-8")
