"""The parts of a data folder are found by their names, or it is said why not."""

import pytest

from utils.data_parts import Parts, find_parts
from utils.errors import UserError


def put(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


USUAL = Parts("segmentation_train.npy", None, "segmentation_test.npy")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], USUAL),
        (["segmentation_train.json", "segmentation_test.csv"], USUAL),
        (["segmentation_train.json", "segmentation_val.json"], USUAL._replace(
            test="segmentation_val.npy")),
        (["segmentation_train.json", "segmentation_val.json", "segmentation_test.json"],
         USUAL._replace(val="segmentation_val.npy")),
        (["train/via.json", "val/via.json"], Parts("train/via.json", None, "val/via.json")),
        (["train/via.json", "test/via.json"], Parts("train/via.json", None, "test/via.json")),
        (["train/via.json", "val/via.json", "test/via.json"],
         Parts("train/via.json", "val/via.json", "test/via.json")),
        (["train/x.csv", "valid/y.xml"], Parts("train/x.csv", None, "valid/y.xml")),
        (["train/via.json", "train_masks/a.png", "val/via.json", "val_masks/b.png"],
         Parts("train/via.json", None, "val/via.json")),
        # What we leave there, and what is there besides.
        (["train/via.json", "train/via.npy", "train/via.index.json", "train/classes.json",
          "train/notes.json", "train/a.jpg", "val/via.json", "val/b.jpg", "val/classes.json"],
         Parts("train/via.json", None, "val/via.json")),
        (["annotations/instances_train2017.json", "annotations/instances_train2017.index.json",
          "annotations/instances_train2017.npy", "annotations/instances_val2017.index.json",
          "annotations/captions_train2017.json", "train2017/a.jpg"],
         Parts("annotations/instances_train2017.json", None, "annotations/instances_val2017.npy")),
        # Roboflow's masks, with and without others' beside.
        (["train/a.jpg", "train/a_mask.png", "train/_classes.csv", "valid/_classes.csv",
          "valid/b.jpg", "test/_classes.csv"], Parts("train", "valid", "test")),
        (["train/a.jpg", "train/class_dict.csv", "train_masks/a.png", "val_masks/b.png"],
         Parts("train_masks", None, "val_masks")),
        # The annotations are gone, the labels are not.
        (["train/via.npy", "train/via.index.json", "val/via.json"],
         Parts("train/via.npy", None, "val/via.json")),
        (["train/a.jpg", "train_masks/a.png", "val/b.jpg", "val_masks/b.png"],
         Parts("train_masks", None, "val_masks")),
        (["train/a.jpg", "trainannot/a.png", "val/b.jpg", "valannot/b.png", "testannot/c.png"],
         Parts("trainannot", "valannot", "testannot")),
        (["train/images/a.jpg", "train/masks/a.png", "test/images/b.jpg", "test/masks/b.png"],
         Parts("train/masks", None, "test/masks")),
        (["images/train/a.jpg", "masks/train/a.png", "images/val/b.jpg", "masks/val/b.png"],
         Parts("masks/train", None, "masks/val")),
        (["train/a.jpg", "train/a_mask.png", "val/b.jpg", "val/b_mask.png"],
         Parts("train", None, "val")),
        (["train/a.jpg", "train/b.png", "val/b.jpg"], USUAL),
        (["train/a.jpg", "test/b.jpg", "segmentation_train.json", "segmentation_test.json"], USUAL),
    ],
)  # fmt: skip
def test_what_is_found(tmp_path, names, expected):
    assert find_parts(put(tmp_path, *names)) == expected


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (["train/via.json", "train/via.csv", "val/via.json", "val/via.csv"],
         r"has train/via\.csv and train/via\.json; say which is meant with --train-labels"),
        (["train/a.json", "train/b.json"], "train/a.json and train/b.json.*--train-labels"),
        (["train/via.json", "segmentation_train.json"],
         r"segmentation_train\.npy and train/via\.json"),
        (["train/via.json", "val/via.json", "valid/via.json"],
         "val/via.json and valid/via.json.*--val-labels"),
        (["train/x.json", "test/x.json", "testing/x.json"], "--test-labels"),
        (["train_masks/a.png", "train_labels/a.png"], "train_masks and train_labels"),
    ],
)  # fmt: skip
def test_what_could_be_either_is_refused(tmp_path, names, complaint):
    with pytest.raises(UserError, match=complaint):
        find_parts(put(tmp_path, *names))


def test_what_is_named_is_taken_and_not_looked_for(tmp_path):
    put(tmp_path, "train/a.json", "train/b.json", "val/a.json", "test/a.json")
    found = find_parts(tmp_path, train="train/b.json")
    assert found == Parts("train/b.json", None, "test/a.json"), "val/ may be of train/a.json"
    assert find_parts(tmp_path, val="val/a.json").val == "val/a.json"
    assert find_parts(tmp_path, test="x.npy") == Parts("train/a.json", None, "x.npy")
    two = put(tmp_path / "two", "train/a.json", "val/a.json")
    assert find_parts(two, test="other.json") == Parts("train/a.json", None, "other.json")
    with pytest.raises(UserError):
        find_parts(put(two, "test/b.json", "test/b.csv"))
    assert find_parts(two, test="test/b.csv").test == "test/b.csv"


def test_the_folders_of_coco_and_yolo(tmp_path):
    (tmp_path / "coco" / "annotations").mkdir(parents=True)
    for part in ("train2017", "val2017"):
        (tmp_path / "coco" / "annotations" / f"instances_{part}.json").write_text("{}")
    (tmp_path / "coco" / "annotations" / "captions_train2017.json").write_text("{}")
    parts = find_parts(tmp_path / "coco")
    assert parts.train == "annotations/instances_train2017.json" and parts.val is None
    assert parts.test == "annotations/instances_val2017.json"
    for part in ("train", "val", "test"):
        for kind, name, content in (
            ("images", "a.png", b""),
            ("labels", "a.txt", b"0 0 0 1 0 1 1"),
        ):
            path = tmp_path / "yolo" / kind / part / name
            path.parent.mkdir(parents=True)
            path.write_bytes(content)
    assert find_parts(tmp_path / "yolo") == ("labels/train", "labels/val", "labels/test")
