"""Annotations and masks into other formats and back."""

import json
import subprocess
import sys

import numpy as np
import pytest
from conftest import PROJECT
from PIL import Image
from test_outlines import blobs

from utils import convert
from utils.classes import Classes, read_classes, write_classes
from utils.drawing import write_index_png
from utils.errors import UserError
from utils.formats.projects import read_project
from utils.generate_gt_segmentation import make_labels
from utils.label_maps.from_masks import make_labels_from_masks
from utils.label_maps.store import open_labels
from utils.reading import Reading

CLASSES = Classes(
    ("background", "cup", "plate", "fork"), ((0, 0, 0), (9, 8, 7), (1, 2, 3), (4, 5, 6))
)
NAMES = {"via": "x.json", "coco": "x.json", "labelme": "x", "cvat": "x.xml", "masks": "x"}


def data(folder, count=4, size=(40, 56), void=True):
    """Pictures in `train`, masks in `train_masks`, classes; the label maps."""
    (folder / "train").mkdir(parents=True)
    (folder / "train_masks").mkdir()
    maps = [blobs(seed, size) for seed in range(count)]
    for number, labels in enumerate(maps):
        labels[labels == 255] *= void
        Image.new("RGB", size[::-1], (9 * number, 0, 0)).save(folder / "train" / f"{number}.jpg")
        write_index_png(folder / "train_masks" / f"{number}.png", labels, CLASSES)
    write_classes(folder / "classes.json", CLASSES)
    return maps


def read_again(target, pictures):
    make = make_labels_from_masks if (target / "0.png").exists() else make_labels
    return open_labels(make(target, data_path=pictures, progress=False), pictures.parent)


@pytest.mark.parametrize("form", NAMES)
def test_masks_come_back_pixel_for_pixel(tmp_path, capsys, form):
    maps = data(tmp_path / "a")
    target = tmp_path / "b" / NAMES[form]
    convert.convert(tmp_path / "a" / "train_masks", target, form, Reading())
    store = read_again(target, tmp_path / "a" / "train")
    assert store.keys == [f"{number}.jpg" for number in range(4)]
    assert store.classes.names[:4] == CLASSES.names and len(store.classes) == 4 + (form == "cvat")
    for key, labels in zip(store.keys, maps, strict=True):
        if form == "cvat":  # which has no void
            labels[labels == 255] = 4
        exact = form in ("coco", "cvat", "masks")
        lost = int((store[key] != labels).sum())
        assert lost == 0 if exact else lost <= 3
    assert "4 pictures" in capsys.readouterr().out


def test_corners_stay_where_they_are(tmp_path):
    data(tmp_path, void=False)
    x, y = [5, 20, 12], [4, 9, 30]
    region = {"name": "polygon", "all_points_x": x, "all_points_y": y}
    regions = [{"shape_attributes": region, "region_attributes": {"Name": "plate"}}]
    content = {"0.jpg": {"filename": "0.jpg", "size": -1, "regions": regions}}
    (tmp_path / "train" / "a.json").write_text(json.dumps(content))
    source = tmp_path / "train" / "a.json"
    for form in ("coco", "cvat", "labelme", "via"):  # one into the next and back to the first
        target = tmp_path / form / NAMES[form]
        convert.convert(source, target, form, Reading(), tmp_path / "train")
        source = target
    [annotation] = read_project(source).annotations
    numbers = annotation.regions[0].numbers
    np.testing.assert_allclose(numbers["all_points_x"], x, atol=0.02)
    np.testing.assert_allclose(numbers["all_points_y"], y, atol=0.02)
    assert read_classes(tmp_path / "via" / "classes.json") == CLASSES


def test_nothing_that_is_there_is_replaced(tmp_path):
    data(tmp_path, count=1)
    target = tmp_path / "x.json"
    target.write_text("mine")
    with pytest.raises(UserError, match="is there already; delete it"):
        convert.convert(tmp_path / "train_masks", target, "via", Reading())
    assert target.read_text() == "mine"
    (tmp_path / "other").mkdir()
    write_classes(tmp_path / "other" / "classes.json", Classes(("background",), ((0, 0, 0),)))
    with pytest.raises(UserError, match="has other classes; name a target in another folder"):
        convert.convert(tmp_path / "train_masks", tmp_path / "other" / "x.json", "via", Reading())
    assert not (tmp_path / "other" / "x.json").exists()


def test_what_cannot_be_kept_is_said(tmp_path, capsys):
    data(tmp_path, count=1)
    labels = np.zeros((40, 56), np.uint8)
    labels[3:30, 3:30] = 1
    labels[10:20, 10:20] = 0
    labels[35, 40] = 2
    write_index_png(tmp_path / "train_masks" / "0.png", labels, CLASSES)
    convert.convert(tmp_path / "train_masks", tmp_path / "v" / "x.json", "via", Reading())
    printed = capsys.readouterr().out
    assert "via has no holes: 1 are regions of the class background, drawn on top" in printed
    assert "0 of them pixel for pixel\n    0.jpg: 1 pixels of another class" in printed


def test_the_command(tmp_path):
    data(tmp_path / "a", count=2)
    command = [sys.executable, PROJECT / "utils" / "convert.py", "train_masks", "b.json"]
    done = subprocess.run(
        [*command, "--format", "via"], cwd=tmp_path / "a", capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "b.json: 2 pictures" in done.stdout and (tmp_path / "a" / "b.json").exists()
    assert "--data-path" in done.stdout  # the pictures are not beside it


def renamed(folder, *names):
    """Annotated pictures of these names; the source to convert."""
    project = {}
    for number, name in enumerate(names):
        path = folder / "p" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (56, 40)).save(path)
        region = {"name": "rect", "x": 3, "y": 4, "width": 9, "height": 5 + number}
        regions = [{"shape_attributes": region, "region_attributes": {"Name": "plate"}}]
        project[name] = {"filename": name, "size": -1, "regions": regions}
    (folder / "p" / "x.json").write_text(json.dumps(project))
    return folder / "p" / "x.json"


@pytest.mark.parametrize("form", ["labelme", "masks"])
def test_pictures_that_would_have_one_file_are_refused(tmp_path, form):
    source = renamed(tmp_path, "a.jpg", "a.png")
    with pytest.raises(UserError, match="a.jpg and a.png would have one file; rename one"):
        convert.convert(source, tmp_path / "out", form, Reading())
    assert not (tmp_path / "out").exists()


def test_pictures_in_folders(tmp_path):
    source = renamed(tmp_path, "a/x.jpg", "b/x.jpg")
    with pytest.raises(UserError, match="a/x.jpg and b/x.jpg lie in different folders"):
        convert.convert(source, tmp_path / "m", "masks", Reading())
    convert.convert(source, tmp_path / "l", "labelme", Reading())
    assert sorted(path.name for path in (tmp_path / "l").iterdir()) == ["a-x.json", "b-x.json"]
    store = open_labels(
        make_labels(tmp_path / "l", data_path=source.parent, progress=False), source.parent
    )
    assert [int((store[key] > 0).sum()) for key in store.keys] == [60, 70]


def test_targets_that_cannot_be_written_are_refused(tmp_path):
    data(tmp_path, count=1)
    (tmp_path / "file").write_text("")
    for target in (tmp_path / "file" / "x", tmp_path / "file" / "x.json"):
        form = "via" if target.suffix else "masks"
        with pytest.raises(UserError, match="cannot be made"):
            convert.convert(tmp_path / "train_masks", target, form, Reading())
    with pytest.raises(UserError, match="lies in .*which it would become part of"):
        convert.convert(
            tmp_path / "train_masks", tmp_path / "train_masks" / "x", "masks", Reading()
        )
    with pytest.raises(UserError, match="name another file"):
        convert.convert(tmp_path / "train_masks", tmp_path / "b" / "classes.json", "via", Reading())


def test_a_class_that_is_called_void_stays_one(tmp_path, capsys):
    data(tmp_path, count=1)
    names = ("background", "Void", "plate", "fork")
    write_classes(tmp_path / "classes.json", Classes(names, CLASSES.colours))
    convert.convert(tmp_path / "train_masks", tmp_path / "b" / "x.xml", "cvat", Reading())
    assert read_classes(tmp_path / "b" / "classes.json").names == (*names, "unlabelled")
    assert "1 of them pixel for pixel" not in capsys.readouterr().out  # void is a class there


@pytest.mark.parametrize("source", ["train_masks", "train/a.json"])
def test_nothing_is_left_beside_what_is_read(tmp_path, source):
    data(tmp_path / "a")
    (tmp_path / "a" / "classes.json").unlink()
    region = {"name": "rect", "x": 5, "y": 5, "width": 9, "height": 9}
    regions = [{"shape_attributes": region, "region_attributes": {"Name": "plate"}}]
    content = {"0.jpg": {"filename": "0.jpg", "size": -1, "regions": regions}}
    (tmp_path / "a" / "train" / "a.json").write_text(json.dumps(content))
    before = sorted(tmp_path.glob("a/**/*"))
    pictures = tmp_path / "a" / "train"
    convert.convert(tmp_path / "a" / source, tmp_path / "b" / "x.json", "coco", Reading(), pictures)
    assert sorted(tmp_path.glob("a/**/*")) == before
    assert (tmp_path / "b" / "classes.json").is_file()
