"""What a region has besides its class, in the formats that it is written in."""

import json

import numpy as np
import pytest
from PIL import Image
from test_convert import CLASSES
from test_outlines import blobs

from utils.classes import VOID, write_classes
from utils.formats.annotations import Region
from utils.formats.projects import read_project
from utils.formats.writing import Drawn, write_coco, write_labelme, write_via
from utils.generate_gt_segmentation import make_labels
from utils.label_maps.polygons import draw_regions
from utils.label_maps.store import open_labels
from utils.objects import polygons_of, rings_of_objects
from utils.reading import Reading

WRITERS = {"via": write_via, "coco": write_coco, "labelme": write_labelme}
TARGETS = {"via": "x.json", "coco": "x.json", "labelme": "x"}
SIZE = (40, 56)


def square(confidence, left=5):
    numbers = {"x": left, "y": 5, "width": 9, "height": 9}
    return Region("rect", numbers, {"class": "cup", "confidence": confidence})


def entries(folder, form, pairs):
    """The regions as the file of a format has them."""
    target = folder / TARGETS[form]
    WRITERS[form](target, [Drawn("0.jpg", None, SIZE, pairs)], CLASSES)
    content = json.loads((target / "0.json" if form == "labelme" else target).read_text())
    if form == "via":
        return content, content["_via_img_metadata"]["0.jpg-1"]["regions"]
    return content, content["annotations" if form == "coco" else "shapes"]


def test_each_format_has_its_place_for_a_confidence(tmp_path):
    pairs = [(square("0.93"), 2), (square("0.5", left=30), 1)]
    content, regions = entries(tmp_path, "via", pairs)
    assert [region["region_attributes"] for region in regions] == [
        {"Name": "2", "confidence": "0.93"},
        {"Name": "1", "confidence": "0.5"},
    ]
    declared = content["_via_attributes"]["region"]
    assert list(declared) == ["Name", "confidence"] and declared["confidence"]["type"] == "text"
    _, annotations = entries(tmp_path, "coco", pairs)
    assert [each["score"] for each in annotations] == [0.93, 0.5]
    _, shapes = entries(tmp_path, "labelme", pairs)
    assert [each["description"] for each in shapes] == ["confidence 0.93", "confidence 0.5"]


@pytest.mark.parametrize("value", [None, "", "undefined", {"a": True, "b": True}, [1], True])
def test_what_is_no_confidence_is_not_written(tmp_path, value):
    pairs = [(square(value), 2), (Region("rect", square("").numbers, {}), 1)]
    content, regions = entries(tmp_path, "via", pairs)
    assert [region["region_attributes"] for region in regions] == [{"Name": "2"}, {"Name": "1"}]
    assert list(content["_via_attributes"]["region"]) == ["Name"]
    assert not any("score" in each for each in entries(tmp_path, "coco", pairs)[1])
    assert not any(each["description"] for each in entries(tmp_path, "labelme", pairs)[1])


@pytest.mark.parametrize("value", ["high", "nan", "1e999", "0.9 or so"])
def test_scores_are_numbers(tmp_path, value):
    pairs = [(square(value), 2)]
    assert "score" not in entries(tmp_path, "coco", pairs)[1][0]
    assert entries(tmp_path, "via", pairs)[1][0]["region_attributes"]["confidence"] == value


def test_a_void_region_has_none(tmp_path):
    """Were it the only attribute of a VIA project it would be read as that of the class."""
    pairs = [(square("0.93"), VOID)]
    assert entries(tmp_path, "via", pairs)[1][0]["region_attributes"] == {}
    assert "score" not in entries(tmp_path, "coco", pairs)[1][0]
    assert entries(tmp_path, "labelme", pairs)[1][0]["description"] == ""


def test_nothing_is_said_of_other_attributes(tmp_path):
    """Which may name the class by another word, and would go out of date here."""
    pairs = [(Region("rect", square("").numbers, {"class": "cup", "note": "chipped"}), 2)]
    assert entries(tmp_path, "via", pairs)[1][0]["region_attributes"] == {"Name": "2"}


def test_one_ring_keeps_its_confidence_as_a_polygon(tmp_path):
    labels = np.zeros(SIZE, np.uint8)
    labels[5:15, 5:15] = 2
    pairs = rings_of_objects(labels, np.full(SIZE, 0.75, np.float32))
    assert entries(tmp_path, "via", pairs)[1][0]["region_attributes"]["confidence"] == "0.75"


@pytest.mark.parametrize("form", WRITERS)
def test_files_with_confidence_are_read_as_those_without(tmp_path, form):
    """The classes, and the label maps, of a network's answers that come back from an annotator."""
    stores = {}
    for said in (True, False):
        folder = tmp_path / str(said)
        (folder / "train").mkdir(parents=True)
        drawn = []
        for number in range(3):
            labels = blobs(number, SIZE)
            if form != "via":
                labels[labels == VOID] = 0
            confidence = np.random.default_rng(number).random(SIZE) if said else None
            outlines = rings_of_objects if form == "coco" else polygons_of
            Image.new("RGB", SIZE[::-1]).save(folder / "train" / f"{number}.png")
            size = (folder / "train" / f"{number}.png").stat().st_size
            pairs = outlines(labels, confidence)
            drawn.append(Drawn(f"{number}.png", size, SIZE, pairs))
        target = folder / TARGETS[form]
        WRITERS[form](target, drawn, CLASSES)
        write_classes(folder / "classes.json", CLASSES)
        reading = Reading(unclassed="void") if form == "via" else Reading()
        out = make_labels(
            target, data_path=folder / "train", reading=reading, progress=False, keep=False
        )
        stores[said] = open_labels(out, folder / "train")
        for picture in drawn:
            expected = draw_regions(picture.pairs, SIZE)[0]
            np.testing.assert_array_equal(stores[said][picture.file], expected)
        assert len(read_project(target).annotations) == 3
    assert stores[True].classes == stores[False].classes == CLASSES
    told = [
        "".join(path.read_text() for path in (tmp_path / str(said)).rglob("*.json"))
        for said in (True, False)
    ]
    word = {"via": '"confidence":"0.', "coco": '"score":0.', "labelme": '"confidence 0.'}[form]
    assert word in told[0] and word not in told[1]
