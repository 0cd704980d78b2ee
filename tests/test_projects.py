"""Formats are found by content, and every one goes all the way to label maps."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from utils.classes import read_classes, write_classes
from utils.errors import UserError
from utils.formats.foreign import foreign_format
from utils.formats.projects import files_of, is_annotations_folder, read_project
from utils.generate_gt_segmentation import make_labels
from utils.label_maps.fresh import ensure_labels
from utils.label_maps.store import open_labels

SQUARE = [[4, 4], [14, 4], [14, 14], [4, 14]]


def picture(path, size=(20, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size[::-1], (90, 60, 30)).save(path)


def coco(names=("cup", "plate"), used=0, size=(20, 30), **more):
    flat = [value for point in SQUARE for value in point]
    return {
        "images": [{"id": 1, "file_name": "a.jpg", "height": size[0], "width": size[1]}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 5 + used, "segmentation": [flat]} | more
        ],
        "categories": [{"id": 5 + index, "name": name} for index, name in enumerate(names)],
    }


def written(folder, content):
    picture(folder / "a.jpg")
    path = folder / "x.json"
    path.write_text(json.dumps(content))
    return path


def test_numbers_as_names_are_names(tmp_path):
    """The second of "02" and "01" was once taken for class 1."""
    names = ("02", "01", "2.0", "undefined")
    for used, name in enumerate(names):
        path = written(tmp_path / str(used), coco(names, used))
        store = ensure_labels(path, progress=False)
        assert store.classes.names == ("background", *names)
        assert store.classes.names[store["a.jpg"][8, 8]] == name


def test_names_are_looked_up_in_the_classes_that_are_there(tmp_path):
    classes = ensure_labels(written(tmp_path / "a", coco()), progress=False).classes
    assert classes.names == ("background", "cup", "plate")
    write_classes(tmp_path / "classes.json", classes)
    store = ensure_labels(written(tmp_path / "b", coco(("7", "PLATE"), 1)), progress=False)
    assert store["a.jpg"][8, 8] == 2
    with pytest.raises(UserError, match="1 of 1 regions are of unknown classes: '2'"):
        ensure_labels(written(tmp_path / "c", coco(("2",))), progress=False)


def test_crowds_are_void(tmp_path, capsys):
    store = ensure_labels(written(tmp_path, coco(iscrowd=1, segmentation=runs())))
    assert set(np.unique(store["a.jpg"])) == {0, 255}
    assert "void regions: 1" in capsys.readouterr().out


def runs():
    return {"size": [20, 30], "counts": [100, 40, 460]}


def test_a_picture_of_another_size_is_told_or_refused(tmp_path, capsys):
    path = written(tmp_path / "half", coco(size=(40, 60)))
    labels = ensure_labels(path)["a.jpg"]
    assert "scaled (annotated at another size than the picture has): 1" in capsys.readouterr().out
    assert labels[2:7, 2:7].all() and labels.sum() == 25
    with pytest.raises(UserError, match="annotated at 20 x 30, but is 30 x 20.*--turn raw"):
        ensure_labels(written(tmp_path / "turned", coco(size=(30, 20))), progress=False)


@pytest.mark.parametrize("place", [".", "images", "x", "images/x"])
def test_pictures_are_found_where_programs_put_them(tmp_path, place):
    path = tmp_path / "annotations" / "instances_x.json"
    picture(tmp_path / place / "a.jpg")
    path.parent.mkdir()
    path.write_text(json.dumps(coco()))
    store = open_labels(make_labels(path, data_path=tmp_path, progress=False), tmp_path)
    assert store.picture_path("a.jpg") == tmp_path / place / "a.jpg"


def test_a_folder_of_labelme_is_made_again_when_a_file_changes(tmp_path):
    shape = {"label": "cup", "points": SQUARE, "shape_type": "polygon"}
    content = {"version": "5", "flags": {}, "shapes": [shape], "imagePath": "a.jpg"}
    folder = tmp_path / "train"
    picture(folder / "a.jpg")
    path = folder / "a.json"
    path.write_text(json.dumps(content | {"imageData": None}))
    assert is_annotations_folder(folder)
    assert (ensure_labels(folder, progress=False)["a.jpg"] == 1).sum() == 121
    assert read_classes(folder / "classes.json").names == ("background", "cup")
    shape["points"] = SQUARE[:3]
    path.write_text(json.dumps(content | {"imageData": None, "imageHeight": 20, "imageWidth": 30}))
    assert (ensure_labels(tmp_path / "train.npy", progress=False)["a.jpg"] == 1).sum() == 66
    assert files_of(folder) == [path]


def test_pictures_within_labelme_s_files_are_written_where_there_is_none(tmp_path, capsys):
    buffer = io.BytesIO()
    Image.new("RGB", (30, 20), (1, 200, 3)).save(buffer, "PNG")
    shape = {"label": "cup", "points": SQUARE, "shape_type": "polygon"}
    content = {"version": "5", "flags": {}, "shapes": [shape], "imagePath": "..\\p\\a.png"}
    content["imageData"] = base64.b64encode(buffer.getvalue()).decode()
    (tmp_path / "a.json").write_text(json.dumps(content))
    store = ensure_labels(tmp_path / "a.json")
    assert store.keys == ["a.png"] and (tmp_path / "a.png").read_bytes() == buffer.getvalue()
    assert "pictures written from the annotations: 1" in capsys.readouterr().out


def test_yolo_from_the_command_line_s_folders(tmp_path):
    picture(tmp_path / "images" / "train" / "a.jpg")
    (tmp_path / "labels" / "train").mkdir(parents=True)
    corners = " ".join(f"{x / 30} {y / 20}" for x, y in SQUARE)
    (tmp_path / "labels" / "train" / "a.txt").write_text(f"1 {corners}\n")
    (tmp_path / "data.yaml").write_text("names: ['02', '01']\n")
    store = ensure_labels(tmp_path / "labels" / "train", pictures=tmp_path, progress=False)
    assert store.keys == ["images/train/a.jpg"] and store.classes.names[2] == "01"
    assert (store["images/train/a.jpg"] == 2).sum() == 100
    (tmp_path / "data.yaml").write_text("names: ['cup', 'plate']\n")
    (tmp_path / "classes.json").unlink()
    again = ensure_labels(tmp_path / "labels" / "train", pictures=tmp_path, progress=False)
    assert again.classes.names == ("background", "cup", "plate")


def test_pictures_that_are_links_are_named_where_they_are(tmp_path):
    picture(tmp_path / "elsewhere" / "a.jpg")
    (tmp_path / "set" / "images").mkdir(parents=True)
    (tmp_path / "set" / "labels").mkdir()
    (tmp_path / "set" / "images" / "a.jpg").symlink_to(tmp_path / "elsewhere" / "a.jpg")
    (tmp_path / "set" / "labels" / "a.txt").write_text("0 0.1 0.1 0.5 0.1 0.5 0.5\n")
    assert read_project(tmp_path / "set" / "labels").annotations[0].file == "images/a.jpg"


def test_comments_before_xml_cost_no_time():
    assert foreign_format("<!-- a -->" * 2000 + "<other>") is None


def test_labels_that_are_numbers_are_names_too(tmp_path):
    """Regions of the label "0" once became background in silence."""
    shapes = [{"label": label, "points": SQUARE, "shape_type": "polygon"} for label in ("1", "0")]
    content = {"version": "5", "flags": {}, "shapes": shapes, "imagePath": "a.jpg"}
    picture(tmp_path / "a.jpg")
    (tmp_path / "a.json").write_text(json.dumps(content))
    store = ensure_labels(tmp_path / "a.json", progress=False)
    assert store.classes.names == ("background", "0", "1")
    assert store["a.jpg"][8, 8] == 1
    shapes[0]["label"] = " "
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="name no class.*enter one, or say with --unclassed"):
        ensure_labels(tmp_path / "a.json", progress=False)


def test_a_picture_that_is_listed_at_two_sizes_is_refused(tmp_path):
    content = coco()
    content["images"].append(content["images"][0] | {"id": 2, "width": 60, "height": 40})
    with pytest.raises(UserError, match="a.jpg is listed twice, annotated at 30 x 20 and at 60 x"):
        ensure_labels(written(tmp_path, content), progress=False)


def test_a_picture_that_comes_to_a_folder_of_yolo_is_background(tmp_path):
    folder = tmp_path / "set"
    picture(folder / "a.jpg")
    (folder / "a.txt").write_text("0 0.1 0.1 0.5 0.1 0.5 0.5\n")
    assert len(ensure_labels(folder, progress=False)) == 1
    picture(folder / "b.jpg")
    store = ensure_labels(folder, progress=False)
    assert store.keys == ["a.jpg", "b.jpg"] and not store["b.jpg"].any()


def test_thin_run_lengths_keep_no_whole_masks(tmp_path):
    content = coco(segmentation={"size": [20, 30], "counts": [100, 5, 495]})
    path = written(tmp_path, content)
    bitmap = read_project(path).annotations[0].regions[0].numbers["bitmap"]
    assert bitmap.shape == (5, 1) and bitmap.base is None


def test_labelme_beside_its_pictures_folder(tmp_path):
    shape = {"label": "cup", "points": SQUARE, "shape_type": "polygon"}
    content = {"version": "5", "flags": {}, "shapes": [shape], "imagePath": "../photos/a.jpg"}
    picture(tmp_path / "set" / "photos" / "a.jpg")
    (tmp_path / "set" / "ann").mkdir()
    (tmp_path / "set" / "ann" / "a.json").write_text(json.dumps(content))
    store = ensure_labels(tmp_path / "set" / "ann", pictures=tmp_path / "set", progress=False)
    assert store.keys == ["photos/a.jpg"]
    (tmp_path / "set" / "photos" / "a.jpg").rename(tmp_path / "set" / "ann" / "a.jpg")
    [annotation] = read_project(tmp_path / "set" / "ann").annotations
    assert annotation.file == "a.jpg"


def test_classes_of_nested_folders_are_those_of_the_data_folder(tmp_path):
    for part, names in (("train", ["ant", "bee"]), ("val", ["bee", "cat"])):
        folder = tmp_path / part / "ann"
        picture(folder / "a.jpg")
        shapes = [{"label": n, "points": SQUARE, "shape_type": "polygon"} for n in names]
        content = {"version": "5", "flags": {}, "shapes": shapes, "imagePath": "a.jpg"}
        (folder / "a.json").write_text(json.dumps(content))
    ensure_labels(tmp_path / "train" / "ann", pictures=tmp_path, progress=False)
    assert read_classes(tmp_path / "classes.json").names == ("background", "ant", "bee")
    with pytest.raises(UserError, match="1 of 2 regions are of unknown classes: 'cat'"):
        ensure_labels(tmp_path / "val" / "ann", pictures=tmp_path, progress=False)


def test_letters_of_two_characters_are_those_of_one(tmp_path):
    composed, decomposed = "Tass\u00e9", "Tasse\u0301"
    store = ensure_labels(written(tmp_path / "a", coco((composed,))), progress=False)
    write_classes(tmp_path / "classes.json", store.classes)
    store = ensure_labels(written(tmp_path / "b", coco((decomposed,))), progress=False)
    assert store["a.jpg"][8, 8] == 1


def test_what_is_wrong_with_a_line_of_yolo_is_said(tmp_path):
    picture(tmp_path / "images" / "a.jpg")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("0 0.1 0.1 0.5 0.1 0.5 0.5\n")
    (tmp_path / "labels" / "0.txt").write_text("0 0.1 0.1 1.5 0.1 0.5 0.5\n")
    picture(tmp_path / "images" / "0.jpg")
    with pytest.raises(UserError, match=r"0\.txt"):
        ensure_labels(tmp_path / "labels", pictures=tmp_path, progress=False)
