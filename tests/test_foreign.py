"""utils/formats/foreign.py: files of other programs are named, with a cure that works."""

import json

import numpy as np
import pytest
from PIL import Image

from utils.errors import UserError
from utils.formats.foreign import FOREIGN, foreign_format, refuse_foreign_folder
from utils.formats.projects import read_annotations
from utils.label_maps.fresh import ensure_labels
from utils.label_maps.from_masks import make_labels_from_masks
from utils.label_maps.store import open_labels

BOX = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax><ymax>5</ymax></bndbox>"
TASK = {"id": 1, "data": {"image": "/a.jpg"}, "annotations": [{"id": 1, "result": []}]}
CASES = {
    "Label Studio": json.dumps([TASK]),
    "PASCAL VOC": f"<annotation><filename>a.jpg</filename><object>{BOX}</object></annotation>",
    "outlines in YOLO": "0 0.1 0.1 0.5 0.1 0.5 0.5\n3 0.25 0.25 0.5 0.3 0.7 0.7 0.1 0.9\n",
    "boxes in YOLO": "0 0.5 0.5 0.2 0.2\n1 0.1 0.1 0.05 0.05\n",
}
MORE = {
    "Label Studio": json.dumps([{"image": "/a.jpg", "id": 1, "label": [], "annotator": 1}]),
    "Labelbox": '{"data_row": {"id": "x"}, "projects": {}}\n{"data_row": {"id": "y"}}\n',
    "CreateML": json.dumps([{"image": "a.jpg", "annotations": [{"label": "cup"}]}]),
    "BDD100K": json.dumps([{"name": "a.jpg", "labels": [{"category": "car"}]}]),
    "Datumaro": json.dumps({"info": {}, "categories": {"label": {}}, "items": []}),
    "Darwin": json.dumps({"version": "2.0", "item": {"name": "a.jpg"}, "annotations": []}),
    "GeoJSON": json.dumps({"type": "FeatureCollection", "features": []}),
    "online LabelMe": "<annotation><object><name>cup</name><polygon></polygon></object>",
    "table of boxes": "filename,width,height,class,xmin,ymin,xmax,ymax\r\na.jpg,9,9,cup,1,1,5,5\n",
    "run lengths": '"ImageId","EncodedPixels"\na.jpg,1 3 10 5\n',
}


@pytest.mark.parametrize(("name", "text"), [*CASES.items(), *MORE.items()])
def test_a_file_of_another_program_is_named_with_a_cure(tmp_path, name, text):
    path = tmp_path / "labels.json"  # whatever it is called
    path.write_text(text)
    with pytest.raises(UserError) as error:
        read_annotations(path)
    assert name.strip() in str(error.value).split(", which is not read; ")[0]
    assert str(path) in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    cure = str(error.value).split(", which is not read; ")[1]
    ways = ("--masks of utils/generate_gt_segmentation.py", "trace the objects", "is read")
    assert any(way in cure for way in ways)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "[1]",
        "{}",
        '{"a.jpg1": {"filename": "a.jpg", "regions": []}}',
        '{"_via_img_metadata": {}, "_via_attributes": {}}',
        "a few words",
        "0 0.5",
        "0 0.5 0.5 0.2 1.2",
        "cup 0.5 0.5 0.2 0.2",
        "filename,file_size,file_attributes\n",
        "<html><annotation><object><bndbox>",
        '{"images": {}}',
        "[" * 100_000,
    ],
)
def test_other_texts_are_not_taken_for_them(text):
    assert foreign_format(text) is None


def test_every_format_of_the_table_is_tested():
    met = {foreign_format(text) for text in (*CASES.values(), *MORE.values())}
    assert met == set(FOREIGN)


@pytest.mark.parametrize("name", ["a.json", "a.xml", "a.txt"])
def test_a_folder_of_such_files_is_named(tmp_path, name):
    text = {"a.json": "Label Studio", "a.xml": "PASCAL VOC", "a.txt": "boxes in YOLO"}[name]
    expected = f"{name}.* {text.split()[0] if name == 'a.txt' else text.split()[-1]}"
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / name).write_text(CASES[text])
    (tmp_path / "train" / "Classes.txt").write_text("cup\nplate\n")
    Image.new("RGB", (9, 9)).save(tmp_path / "train" / "a.jpg")
    with pytest.raises(UserError, match=expected):
        ensure_labels(tmp_path / "train", progress=False)
    photograph = np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8)
    Image.fromarray(photograph).save(tmp_path / "train" / "a.png")
    with pytest.raises(UserError, match=expected):
        ensure_labels(tmp_path / "train", progress=False)


def test_masks_beside_which_such_files_lie_are_masks(tmp_path):
    Image.new("L", (9, 9)).save(tmp_path / "a.png")
    (tmp_path / "all.json").write_text(CASES["Label Studio"])
    refuse_foreign_folder(tmp_path)


@pytest.mark.parametrize("name", ["labels.xml", "labels.txt", "labels"])
def test_annotations_are_known_whatever_their_name_ends_in(tmp_path, name):
    (tmp_path / name).write_text(CASES["PASCAL VOC"])
    with pytest.raises(UserError, match="PASCAL VOC"):
        ensure_labels(tmp_path / name, progress=False)


def test_the_cure_for_exports_of_cvat_works(tmp_path):
    """The archive of 'Segmentation mask 1.1': colours of labelmap.txt in SegmentationClass."""
    (tmp_path / "SegmentationClass").mkdir()
    (tmp_path / "JPEGImages").mkdir()
    mask = np.zeros((9, 9, 3), np.uint8)
    mask[2:4, 3:7] = (250, 50, 83)
    Image.fromarray(mask).save(tmp_path / "SegmentationClass" / "a.png")
    Image.new("RGB", (9, 9)).save(tmp_path / "JPEGImages" / "a.jpg")
    classes = [
        {"id": 0, "name": "background", "colour": [0, 0, 0]},
        {"id": 1, "name": "cup", "colour": [250, 50, 83]},
    ]
    (tmp_path / "classes.json").write_text(json.dumps(classes))
    out = make_labels_from_masks(
        tmp_path / "SegmentationClass", data_path=tmp_path / "JPEGImages", progress=False
    )
    assert (open_labels(out)["a.jpg"] == 1).sum() == 8
