"""Masks as people have them: mask_files.py, mask_layouts.py, mask_parts.py, mask_noise.py."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from utils.classes import VOC_COLOURS, read_classes
from utils.errors import UserError
from utils.files import PROJECT
from utils.formats.mask_files import find_masks, pair
from utils.formats.mask_layouts import labels_of_part, voc_names
from utils.label_maps.fresh import ensure_labels, is_there
from utils.label_maps.from_masks import make_labels_from_masks
from utils.reading import Reading, read_reading

BLACK, RED, BLUE, WHITE = (0, 0, 0), (255, 0, 0), (0, 0, 255), (255,) * 3
VOC = VOC_COLOURS(256)


def save(path, values, **options):
    """A picture of these values: ids (H, W), or colours (H, W, 3)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(values, np.uint8)).save(path, **options)
    return path


def photo(path, size=(2, 1)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size).save(path)
    return path


def labels(source, data=None, **asked):
    """The label maps by picture, made as by training."""
    store = ensure_labels(source, progress=False, pictures=data, reading=Reading(**asked))
    return {key: store[key].tolist() for key in store.keys}


def remarks(capsys, source, **options):
    make_labels_from_masks(source, **options)
    return capsys.readouterr().out


def names(root):
    return read_classes(root / "classes.json").names


# Names.


@pytest.mark.parametrize(
    "ending",
    [
        *("_mask", "_masks", "_segmentation", "_seg", "_label", "_labels", "_gt", "_L"),
        *("_ann", "_annotation", "-mask", "_GT"),
    ],
)
def test_a_word_behind_the_picture_s_name(tmp_path, ending):
    save(tmp_path / "masks" / f"a_1{ending}.png", [[0, 1]])
    save(tmp_path / "masks" / "b.png", [[1, 0]])
    for name in ("a_1.jpg", "b.jpg"):
        photo(tmp_path / "images" / name)
    assert labels(tmp_path / "masks") == {"a_1.jpg": [[0, 1]], "b.jpg": [[1, 0]]}


@pytest.mark.parametrize("masks", ["train", "masks"])
def test_words_behind_both_names(tmp_path, masks):
    """DeepGlobe's `0_sat.jpg` and `0_mask.png`, in one folder."""
    save(tmp_path / masks / "0_mask.png", [[0, 1]])
    photo(tmp_path / ("train" if masks == "train" else "images") / "0_sat.jpg")
    assert labels(tmp_path / masks) == {"0_sat.jpg": [[0, 1]]}


def test_folders_that_may_be_classes_are_not_guessed_at(tmp_path):
    for name in ("cup", "plate"):
        save(tmp_path / "masks" / name / "a.png", [[0, 1]])
    photo(tmp_path / "images" / "a.jpg")
    with pytest.raises(UserError, match="what 'cup' is; .* as masks/a/cup.png, else name .*cup"):
        labels(tmp_path / "masks")
    for name in ("cup", "plate"):
        (tmp_path / "masks" / "a").mkdir(exist_ok=True)
        (tmp_path / "masks" / name / "a.png").rename(tmp_path / "masks" / "a" / f"{name}.png")
        (tmp_path / "masks" / name).rmdir()
    labels(tmp_path / "masks")
    assert names(tmp_path) == ("background", "cup", "plate")


def test_a_word_is_part_of_the_name_where_the_picture_has_it(tmp_path):
    masks = [tmp_path / "a_mask.png"]
    for pictures in (["a.jpg", "a_mask.jpg"], ["a_mask.jpg"]):
        pictures = [tmp_path / name for name in pictures]
        assert pair(masks, pictures)[0] == {masks[0]: tmp_path / "a_mask.jpg"}
    assert pair(masks, [tmp_path / "other.jpg"])[1] == masks
    with pytest.raises(UserError, match=r"a_gt\.png and a_mask\.png are both masks of a\.jpg"):
        pair([tmp_path / "a_gt.png", *masks], [tmp_path / "a.jpg"])


@pytest.mark.parametrize("name", ["a.jpg.png", "a.jpg_mask.png"])
def test_the_whole_name_of_the_picture(tmp_path, name):
    """As Supervisely has it."""
    save(tmp_path / "masks" / name, [[0, 2, 1]])
    photo(tmp_path / "images" / "a.jpg", (3, 1))
    assert labels(tmp_path / "masks") == {"a.jpg": [[0, 2, 1]]}, "of all classes"


def test_masks_among_pictures_of_their_kind(tmp_path):
    for name in ("a", "b"):
        photo(tmp_path / "all" / f"{name}.png")
        save(tmp_path / "all" / f"{name}_mask.png", [[0, 1]])
    photo(tmp_path / "all" / "c.png")
    assert labels(tmp_path / "all") == {"a.png": [[0, 1]], "b.png": [[0, 1]]}
    store = tmp_path / "all.npy"
    made = store.stat().st_mtime_ns
    labels(tmp_path / "all")
    assert store.stat().st_mtime_ns == made
    photo(tmp_path / "all" / "a.jpg")
    with pytest.raises(UserError, match=r"a\.png and a_mask\.png may both be masks"):
        labels(tmp_path / "all")


@pytest.mark.parametrize("suffix", [".bmp", ".tif", ".gif", ".BMP"])
def test_masks_of_other_kinds(tmp_path, suffix):
    save(tmp_path / "masks" / f"a{suffix}", [[0, 2, 1]])
    photo(tmp_path / "images" / "a.png", (3, 1))
    assert labels(tmp_path / "masks") == {"a.png": [[0, 2, 1]]}


def test_a_jpeg_beside_a_mask_of_its_name_is_none(tmp_path):
    save(tmp_path / "masks" / "a.png", [[0, 1]])
    photo(tmp_path / "masks" / "a.jpg")
    photo(tmp_path / "images" / "a.jpg")
    found = find_masks(tmp_path / "masks")
    assert [part.path.name for parts in found.masks.values() for part in parts] == ["a.png"]


def test_a_mask_in_a_folder_of_the_picture_s_name(tmp_path):
    for name, file in (("a", "mask.png"), ("b", "b.png"), ("c", "c_label.png")):
        save(tmp_path / "masks" / name / file, [[0, 2, 1]])
        photo(tmp_path / "images" / f"{name}.jpg", (3, 1))
    assert list(labels(tmp_path / "masks").values()) == [[[0, 2, 1]]] * 3
    save(tmp_path / "masks" / "a" / "label.png", [[0, 1, 1]])
    with pytest.raises(UserError, match=r"label\.png and mask\.png are both masks of a\.jpg"):
        labels(tmp_path / "masks")


def test_a_mask_that_comes_in_a_folder_of_folders(tmp_path):
    """The store is made again for it, and for the picture of a folder that had none."""
    save(tmp_path / "masks" / "a" / "mask.png", [[0, 1]])
    save(tmp_path / "masks" / "b" / "mask.png", [[1, 1]])
    photo(tmp_path / "images" / "a.jpg")
    assert labels(tmp_path / "masks").keys() == {"a.jpg"}
    photo(tmp_path / "images" / "b.jpg")
    assert labels(tmp_path / "masks").keys() == {"a.jpg", "b.jpg"}
    save(tmp_path / "masks" / "b" / "mask.png", [[1, 0]])
    os.utime(tmp_path / "masks" / "b" / "mask.png", ns=(1, 1))
    assert labels(tmp_path / "masks")["b.jpg"] == [[1, 0]]


# One mask of each class, or of each object.


@pytest.mark.parametrize("form", ["{}_{}.png", "{}/{}.png", "{}/{}_mask.png", "{}_mask_{}.png"])
def test_a_mask_of_each_class(tmp_path, capsys, form):
    masks = {"a": {"can": [[0, 255, 255]], "bottle": [[255, 255, 255]]}}
    masks["b"] = {"can": [[0, 0, 255]]}
    for name, of in masks.items():
        photo(tmp_path / "images" / f"{name}.jpg", (3, 1))
        for kind, values in of.items():
            save(tmp_path / "masks" / form.format(name, kind), values)
    said = remarks(capsys, tmp_path / "masks")
    assert names(tmp_path) == ("background", "bottle", "can")
    assert "2 of 3 pixels of a.jpg are of two classes, the later of bottle, can lies on" in said
    assert labels(tmp_path / "masks") == {"a.jpg": [[1, 2, 2]], "b.jpg": [[0, 0, 2]]}


def test_a_mask_of_each_class_whose_names_are_known(tmp_path):
    """Numbers tell objects of a class apart where the class is known, and are refused else."""
    photo(tmp_path / "images" / "a.jpg", (3, 1))
    save(tmp_path / "masks" / "a_can_1.png", [[255, 0, 0]])
    save(tmp_path / "masks" / "a_can_2.png", [[0, 255, 0]])
    with pytest.raises(UserError, match=r"a_can_1\.png may be .* class 'can 1' or .* write .*json"):
        labels(tmp_path / "masks")
    for content, expected in (
        (["background", "bottle", "can"], [[2, 2, 0]]),
        (["background", "can 1", "can_2"], [[1, 2, 0]]),
    ):
        (tmp_path / "classes.json").write_text(json.dumps(content))
        assert labels(tmp_path / "masks") == {"a.jpg": expected}
    save(tmp_path / "masks" / "a_cup.png", [[0, 0, 255]])
    with pytest.raises(UserError, match=r"a_cup\.png names none of the classes background, can 1"):
        labels(tmp_path / "masks")


@pytest.mark.parametrize("form", ["{}/mask_{}.png", "{}_{}_mask.png", "{}_mask{}.png"])
def test_a_mask_of_each_object(tmp_path, form):
    photo(tmp_path / "images" / "a.jpg", (3, 1))
    for number, values in enumerate(([[1, 0, 0]], [[0, 1, 0]])):
        save(tmp_path / "masks" / form.format("a", number), values)
    assert labels(tmp_path / "masks") == {"a.jpg": [[1, 1, 0]]}
    (tmp_path / "classes.json").write_text('["background", "a", "b"]')
    with pytest.raises(UserError, match="names none of the classes background, a, b"):
        labels(tmp_path / "masks")


def test_numbers_alone_may_be_classes(tmp_path):
    photo(tmp_path / "images" / "a.jpg")
    save(tmp_path / "masks" / "a_1.png", [[0, 1]])
    with pytest.raises(UserError, match="class '1' or of one of several objects"):
        labels(tmp_path / "masks")
    (tmp_path / "classes.json").write_text('["background", "cell"]')
    assert labels(tmp_path / "masks") == {"a.jpg": [[0, 1]]}


def test_the_masks_of_objects_of_the_data_science_bowl(tmp_path):
    """`x/images/x.png`, and `x/masks` with a file of any name for each nucleus."""
    root = tmp_path / "stage1_train"
    for name, left in (("ab12", 0), ("cd34", 1)):
        photo(root / name / "images" / f"{name}.png", (3, 1))
        for number in range(2):
            values = np.zeros((1, 3))
            values[0, left + number] = 255
            save(root / name / "masks" / f"{left}{number}af9.png", values)
    expected = {"ab12/images/ab12.png": [[1, 1, 0]], "cd34/images/cd34.png": [[0, 1, 1]]}
    assert labels(root) == expected
    save(root / "cd34" / "masks" / "ffff.png", [[255, 0, 0]])
    assert labels(root)["cd34/images/cd34.png"] == [[1, 1, 1]], "a mask has come"
    photo(root / "cd34" / "images" / "other.png")
    with pytest.raises(UserError, match=r"cd34\.png and other\.png, and nobody knows whose"):
        labels(root)


def test_many_names_are_hardly_classes(tmp_path):
    photo(tmp_path / "images" / "a.jpg")
    for letter in "abcdefghi":
        save(tmp_path / "masks" / "a" / f"{letter}x.png", [[0, 1]])
    with pytest.raises(UserError, match="have 9 names, such as 'ax', which are hardly classes"):
        labels(tmp_path / "masks")


def test_masks_of_one_class_beside_one_of_all(tmp_path):
    photo(tmp_path / "images" / "a.jpg")
    save(tmp_path / "masks" / "a.png", [[0, 1]])
    save(tmp_path / "masks" / "a_can.png", [[0, 1]])
    with pytest.raises(
        UserError, match=r"a\.png is named as its picture.* a_can\.png as a mask of"
    ):
        labels(tmp_path / "masks")


def test_a_mask_that_begins_as_two_pictures(tmp_path):
    for name in ("a.jpg", "a_1.jpg"):
        photo(tmp_path / "images" / name)
    save(tmp_path / "masks" / "a_1_can.png", [[0, 1]])
    with pytest.raises(UserError, match=r"begins as a\.jpg and as a_1\.jpg; put it into a folder"):
        labels(tmp_path / "masks")
    (tmp_path / "masks" / "a_1").mkdir()
    (tmp_path / "masks" / "a_1_can.png").rename(tmp_path / "masks" / "a_1" / "can.png")
    assert labels(tmp_path / "masks") == {"a_1.jpg": [[0, 1]]}, "the cure"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([[0, 1]], [[0, 1]]),
        ([[BLACK, RED]], [[0, 1]]),
        ([[(255, 255, 255, 0), (255, 255, 255, 255)]], [[0, 1]]),
        ([[255, 255]], [[1, 1]]),
        ([[0, 0]], [[0, 0]]),
        ([[1, 255]], [[1, 255]]),
    ],
)
def test_what_is_the_object_of_a_mask_of_one(tmp_path, values, expected):
    photo(tmp_path / "images" / "a.jpg")
    save(tmp_path / "masks" / "a_can.png", values)
    assert labels(tmp_path / "masks") == {"a.jpg": expected}


def test_several_colours_in_a_mask_of_one(tmp_path):
    photo(tmp_path / "images" / "a.jpg", (3, 1))
    save(tmp_path / "masks" / "a_can.png", [[0, 100, 200]])
    with pytest.raises(UserError, match=r"several colours, such as \(100, .*--threshold"):
        labels(tmp_path / "masks")
    assert labels(tmp_path / "masks", threshold=150) == {"a.jpg": [[0, 0, 1]]}


def test_parts_of_two_sizes(tmp_path):
    photo(tmp_path / "images" / "a.jpg")
    save(tmp_path / "masks" / "a_can.png", [[0, 1]])
    save(tmp_path / "masks" / "a_cup.png", [[0, 1, 1]])
    with pytest.raises(UserError, match=r"a_cup\.png is 3 x 1, but a_can\.png, of the same .* 2 x"):
        labels(tmp_path / "masks")


# JPEGs, and a threshold.


def lossy(path, values, colours, quality=75):
    """A JPEG of these class ids; returns them."""
    values = np.array(values)
    save(path, np.array(colours, np.uint8)[values], quality=quality)
    return values


def blobs(*classes, side=96):
    """A map with a disc of each class."""
    found = np.zeros((side, side), int)
    rows, columns = np.mgrid[:side, :side]
    for number, index in enumerate(classes):
        centre = 20 + 28 * number
        found[(rows - centre) ** 2 + (columns - centre) ** 2 < 15**2] = index
    return found


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("quality", [50, 90])
def test_jpegs_take_the_nearest_colour(tmp_path, capsys, known, quality):
    colours = [BLACK, (128, 0, 0), (0, 128, 0), (200, 60, 230)]
    truth = {}
    for name, classes in (("a", (1, 2, 3)), ("b", (2,)), ("c", (3, 1))):
        truth[f"{name}.png"] = lossy(
            tmp_path / "masks" / f"{name}.jpg", blobs(*classes), colours, quality
        )
        photo(tmp_path / "images" / f"{name}.png", (96, 96))
    entries = [{"id": i, "name": f"n{i}", "colour": c} for i, c in enumerate(colours)]
    if not known:
        with pytest.raises(UserError, match=r"are colours; write a classes\.json") as error:
            labels(tmp_path / "masks")
        found = re.findall(r"\((\d+), (\d+), (\d+)\)", str(error.value))
        assert len(found) == 4, "those that were drawn"
        for entry in entries:
            near = [list(map(int, c)) for c in found]
            entry["colour"] = min(near, key=lambda c: np.abs(np.subtract(c, entry["colour"])).sum())
            np.testing.assert_allclose(entry["colour"], colours[entry["id"]], atol=8)
    (tmp_path / "classes.json").write_text(json.dumps(entries))
    said = remarks(capsys, tmp_path / "masks")
    assert (
        "3 masks are JPEGs:" in said and "% of their pixels took the nearest of 4 colours" in said
    )
    found = labels(tmp_path / "masks")
    for name, expected in truth.items():
        wrong = found[name] != expected
        assert wrong.mean() < 0.02 and not wrong[20, 20]
        assert set(np.unique(found[name])) == set(np.unique(expected)), "no third class between"


def test_jpegs_in_black_and_white(tmp_path):
    truth = lossy(tmp_path / "masks" / "a.jpg", blobs(1), [BLACK, WHITE], 40)
    photo(tmp_path / "images" / "a.png", (96, 96))
    assert (labels(tmp_path / "masks")["a.png"] != truth).mean() < 0.01
    assert read_reading(tmp_path / "classes.json").masks == "black and white"


def test_jpegs_of_other_colours_than_the_classes(tmp_path):
    lossy(tmp_path / "masks" / "a.jpg", blobs(1), [BLACK, BLUE], 90)
    photo(tmp_path / "images" / "a.png", (96, 96))
    entries = [{"id": i, "name": f"n{i}", "colour": c} for i, c in enumerate([BLACK, WHITE])]
    (tmp_path / "classes.json").write_text(json.dumps(entries))
    with pytest.raises(UserError, match=r"has the colour \(0, 0, 25\d\), which is no class's"):
        labels(tmp_path / "masks")


def test_jpegs_that_are_photographs(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3))
    save(tmp_path / "masks" / "a.jpg", noise)
    photo(tmp_path / "images" / "a.png", (96, 96))
    with pytest.raises(UserError, match=r"a\.jpg is a JPEG without a few colours.*--threshold"):
        labels(tmp_path / "masks")
    noise[:48] = 0
    save(tmp_path / "masks" / "a.jpg", noise)
    with pytest.raises(UserError, match=r"a\.jpg is a JPEG of which \d+% of the pixels lie betw"):
        labels(tmp_path / "masks")


@pytest.mark.parametrize("ids", [(1, 2, 3), (1,)])
def test_jpegs_of_class_ids(tmp_path, ids):
    """Nobody can tell them any more; and black is what they would all become."""
    save(tmp_path / "masks" / "a.jpg", blobs(*ids), quality=95)
    photo(tmp_path / "images" / "a.png", (96, 96))
    with pytest.raises(UserError, match=r"no value above \d, as if class ids had been saved"):
        labels(tmp_path / "masks")
    save(tmp_path / "masks" / "a.jpg", blobs())
    assert not np.any(labels(tmp_path / "masks")["a.png"]), "black alone is no object"


def test_a_threshold_parts_two_classes(tmp_path):
    ramp = np.tile(np.arange(96) * 2, (96, 1))
    save(tmp_path / "masks" / "a.jpg", ramp, quality=95)
    save(tmp_path / "masks" / "b.png", ramp)
    for name in "ab":
        photo(tmp_path / "images" / f"{name}.png", (96, 96))
    found = labels(tmp_path / "masks", threshold=100)
    np.testing.assert_array_equal(found["b.png"], ramp >= 100)
    assert (found["a.png"] != (ramp >= 100)).mean() < 0.02
    assert read_reading(tmp_path / "classes.json").threshold == 100
    save(tmp_path / "test" / "b.png", [[99, 100]])
    photo(tmp_path / "images" / "b.png")
    assert labels(tmp_path / "test") == {"b.png": [[0, 1]]}, "it holds for the other set"
    text = (tmp_path / "classes.json").read_text().replace('"threshold": 100', '"threshold": 99')
    (tmp_path / "classes.json").write_text(text)
    assert labels(tmp_path / "test") == {"b.png": [[1, 1]]}, "what is decided anew holds"
    with pytest.raises(UserError, match="threshold 99, decided .* not 90"):
        labels(tmp_path / "test", threshold=90)


def test_a_threshold_and_three_classes(tmp_path):
    save(tmp_path / "masks" / "a.png", [[0, 200]])
    photo(tmp_path / "images" / "a.jpg")
    (tmp_path / "classes.json").write_text('["background", "a", "b"]')
    with pytest.raises(UserError, match="--threshold 9 parts a class from .* has 3 classes"):
        labels(tmp_path / "masks", threshold=9)


def test_a_threshold_sees_what_is_transparent_as_black(tmp_path):
    save(tmp_path / "masks" / "a.png", [[(*WHITE, 0), (*WHITE, 255), (*RED, 255)]])
    photo(tmp_path / "images" / "a.jpg", (3, 1))
    assert labels(tmp_path / "masks", threshold=128) == {"a.jpg": [[0, 1, 0]]}


# Folders of data sets.


def test_the_lists_of_pascal_voc(tmp_path, capsys):
    root = tmp_path / "VOC2012"
    for name in ("2007_1", "2007_2", "2007_3"):
        photo(root / "JPEGImages" / f"{name}.jpg", (3, 1))
        image = Image.fromarray(np.array([[0, 1, 255]], np.uint8))
        image.putpalette(np.array(VOC, np.uint8).tobytes())
        (root / "SegmentationClass").mkdir(exist_ok=True)
        image.save(root / "SegmentationClass" / f"{name}.png")
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("2007_1\n2007_3\n")
    (lists / "val.txt").write_text("2007_2\n")
    assert labels(lists / "train.txt", root) == {
        k: [[0, 1, 255]] for k in ("2007_1.jpg", "2007_3.jpg")
    }
    assert labels(lists / "val.npy", root).keys() == {"2007_2.jpg"}, "as it is made at first"
    assert labels(lists / "val.txt", root).keys() == {"2007_2.jpg"}
    assert labels(lists / "val.npy", root).keys() == {"2007_2.jpg"}
    assert is_there(lists / "val.txt") and not is_there(lists / "test.txt")
    assert names(root) == ("background", "class 1")
    assert "unlisted" not in remarks(capsys, lists / "train.txt"), "others are of other lists"
    (lists / "train.txt").write_text("2007_1\n")
    os.utime(lists / "train.txt", ns=(1, 1))
    assert labels(lists / "train.txt", root).keys() == {"2007_1.jpg"}
    assert len(labels(root / "SegmentationClass")) == 3, "all of them"
    text = (root / "classes.json").read_text().replace("class 1", "cat")
    (root / "classes.json").write_text(text)
    store = ensure_labels(lists / "train.txt", progress=False, pictures=root)
    assert store.classes.names == ("background", "cat")
    made = (lists / "train.npy").stat().st_mtime_ns
    labels(lists / "train.txt", root)
    assert (lists / "train.npy").stat().st_mtime_ns == made, "once"

    (lists / "val.txt").write_text("2007_2\ngone\n")
    assert "missing (listed but not in the folder): 1\n    the mask of gone" in remarks(
        capsys, lists / "val.txt"
    )
    for text, said in (
        ("gone", "of which .*SegmentationClass has no mask"),
        ("", "lists no picture"),
        ("2007_1 1", "line 1: '2007_1 1' is more than the name"),
        ("../2007_1", "leaves the data folder"),
    ):
        (lists / "val.txt").write_text(text)
        with pytest.raises(UserError, match=said):
            labels(lists / "val.txt", root)


def test_a_mask_of_a_list_that_comes_or_changes(tmp_path):
    save(tmp_path / "SegmentationClass" / "a.png", [[0, 1]])
    for name in "ab":
        photo(tmp_path / "JPEGImages" / f"{name}.jpg")
    (tmp_path / "train.txt").write_text("a\nb\n")
    assert labels(tmp_path / "train.txt", tmp_path) == {"a.jpg": [[0, 1]]}
    save(tmp_path / "SegmentationClass" / "b.png", [[1, 1]])
    assert labels(tmp_path / "train.txt", tmp_path) == {"a.jpg": [[0, 1]], "b.jpg": [[1, 1]]}
    (tmp_path / "JPEGImages" / "b.jpg").rename(tmp_path / "b.jpg")
    (tmp_path / "train.txt").write_text("b\na\n")
    assert labels(tmp_path / "train.txt", tmp_path).keys() == {"a.jpg"}
    (tmp_path / "b.jpg").rename(tmp_path / "JPEGImages" / "b.jpg")
    assert labels(tmp_path / "train.txt", tmp_path).keys() == {"a.jpg", "b.jpg"}


def test_the_classes_of_pascal_voc_are_known_by_its_lists(tmp_path):
    main = tmp_path / "ImageSets" / "Main"
    main.mkdir(parents=True)
    save(tmp_path / "SegmentationClass" / "a.png", [[0, 20]])
    photo(tmp_path / "JPEGImages" / "a.jpg")
    (main / "cat_train.txt").touch()
    assert voc_names(tmp_path) is None
    for name in (
        "aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike "
        "person pottedplant sheep sofa train tvmonitor"
    ).split():
        (main / f"{name}_train.txt").touch()
    assert labels(tmp_path / "SegmentationClass") == {"a.jpg": [[0, 20]]}
    assert names(tmp_path)[20] == "tvmonitor" and len(names(tmp_path)) == 21


def test_the_command_shows_the_labels_of_a_list(tmp_path):
    """Whose pictures lie outside of the folder of the list."""
    save(tmp_path / "SegmentationClass" / "a.png", [[0, 1]])
    photo(tmp_path / "JPEGImages" / "a.jpg")
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\n")
    script = [sys.executable, PROJECT / "utils" / "generate_gt_segmentation.py"]
    command = [*script, "--masks", lists / "train.txt", "--show", "--threshold", "1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert (lists / "overlays" / "a.jpg.png").is_file()
    (tmp_path / "x.json").write_text("{}")
    command = [*script, tmp_path / "x.json", "--ids", "0", "5"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "--ids says nothing of" in done.stderr


def test_objects_of_pascal_voc_are_no_classes(tmp_path):
    save(tmp_path / "SegmentationObject" / "a.png", [[0, 1]])
    photo(tmp_path / "JPEGImages" / "a.jpg")
    with pytest.raises(UserError, match="number objects, not classes; name SegmentationClass"):
        labels(tmp_path / "SegmentationObject")


def cityscapes(root, kind, values, split="train", city="ulm"):
    stem = f"{city}_000000_000019"
    folder = root / "gtFine" / split / city
    save(folder / f"{stem}_gtFine_{kind}.png", values)
    save(folder / f"{stem}_gtFine_instanceIds.png", np.full_like(values, 77))
    photo(folder / f"{stem}_gtFine_color.png", (4, 1))
    (folder / f"._{stem}_gtFine_labelIds.png").touch()  # as a Mac leaves it
    (folder / f"{stem}_gtFine_polygons.json").write_text('{"imgHeight": 1, "objects": []}')
    photo(root / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png", np.shape(values)[::-1])
    return f"{city}/{stem}_leftImg8bit.png"


def test_cityscapes(tmp_path):
    ulm = cityscapes(tmp_path, "labelIds", [[7, 33, 0, 10]])
    bonn = cityscapes(tmp_path, "labelIds", [[26, 8, 29, 3]], city="bonn")
    val = cityscapes(tmp_path, "labelIds", [[24, 7, 255, 7]], "val")
    train = tmp_path / "gtFine" / "train"
    assert labels(train, tmp_path) == {ulm: [[0, 18, 255, 255]], bonn: [[13, 1, 255, 255]]}
    assert labels(tmp_path / "gtFine" / "val", tmp_path) == {val: [[11, 0, 255, 0]]}
    classes = read_classes(tmp_path / "gtFine" / "classes.json")
    assert (classes.names[13], classes.colours[13], len(classes)) == ("car", (0, 0, 142), 19)
    weimar = cityscapes(tmp_path, "labelIds", [[7, 7, 7, 8]], city="weimar")
    assert labels(train, tmp_path)[weimar] == [[0, 0, 0, 1]], "a mask has come in a folder"
    ulm = ulm.partition("/")[2]
    assert labels(train / "ulm", tmp_path) == {ulm: [[0, 18, 255, 255]]}, "a single city"


def test_cityscapes_by_the_ids_of_training(tmp_path):
    key = cityscapes(tmp_path, "labelTrainIds", [[0, 18, 255, 13]])
    assert labels(tmp_path / "gtFine" / "train", tmp_path) == {key: [[0, 18, 255, 13]]}
    assert len(names(tmp_path / "gtFine")) == 19
    cityscapes(tmp_path, "labelIds", [[7, 8, 11, 12]], "val")
    with pytest.raises(UserError, match=r"\*_labelIds\.png, those .* \*_labelTrainIds\.png; use"):
        labels(tmp_path / "gtFine" / "val", tmp_path)


def test_the_parts_of_data_sets(tmp_path):
    save(tmp_path / "SegmentationClass" / "a.png", [[0, 1]])
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for name, text in (("Train", "a"), ("val", "a"), ("test", "gone"), ("trainval", "a")):
        (lists / f"{name}.txt").write_text(text)
    for part in ("train", "val", "test"):
        cityscapes(tmp_path / "cities", "labelIds", [[7]], part)
    for part, listed, city in (
        ("train", ["ImageSets/Segmentation/Train.txt"], ["gtFine/train"]),
        ("val", ["ImageSets/Segmentation/val.txt"], ["gtFine/val"]),
        ("test", [], []),
    ):
        assert labels_of_part(tmp_path, [part, "other"]) == listed
        assert labels_of_part(tmp_path / "cities", [part]) == city
    assert labels_of_part(tmp_path / "nowhere", ["train"]) == []


def test_camvid(tmp_path):
    """As its authors give it: `x_L.png`, `label_colors.txt`, and void is a class of its table."""
    table = "64 128 64\tAnimal\n192 0 128\tArchway\n0 0 0\t\tVoid\n192 64 128\tWall\n"
    values = [[(64, 128, 64), (0, 0, 0), (192, 64, 128)]]
    save(tmp_path / "LabeledApproved_full" / "0001TP_006690_L.png", values)
    photo(tmp_path / "701_StillsRaw_full" / "0001TP_006690.png", (3, 1))
    (tmp_path / "label_colors.txt").write_text(table)
    found = labels(tmp_path / "LabeledApproved_full")
    assert found == {"0001TP_006690.png": [[0, 255, 2]]}
    assert names(tmp_path) == ("Animal", "Archway", "Wall")
    save(tmp_path / "LabeledApproved_full" / "0001TP_006690_L.png", [[0, 1, 2]])
    (tmp_path / "classes.json").unlink()
    with pytest.raises(UserError, match="has values, not the colours of .*label_colors.txt"):
        labels(tmp_path / "LabeledApproved_full")


def test_segnet_s_camvid(tmp_path):
    for part in ("train", "val"):
        save(tmp_path / f"{part}annot" / "a.png", [[*range(12)]])
        photo(tmp_path / part / "a.png", (12, 1))
        assert labels(tmp_path / f"{part}annot", void=(11,)) == {"a.png": [[*range(11), 255]]}


@pytest.mark.parametrize("pictures", ["JPEGImages", "images", "elsewhere"])
def test_a_mask_export_of_cvat(tmp_path, pictures):
    values = [[(0, 0, 0), (250, 50, 83), (51, 221, 255)]]
    save(tmp_path / "SegmentationClass" / "a.png", values)
    save(tmp_path / "SegmentationObject" / "a.png", values)
    photo(tmp_path / pictures / "a.jpg", (3, 1))
    (tmp_path / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncan:51,221,255::\ncup:250,50,83::\n"
    )
    (tmp_path / "ImageSets" / "Segmentation").mkdir(parents=True)
    (tmp_path / "ImageSets" / "Segmentation" / "default.txt").write_text("a\n")
    for source in ("ImageSets/Segmentation/default.txt", "SegmentationClass"):
        if pictures == "elsewhere":
            with pytest.raises(UserError, match="are not beside it; name annotations"):
                labels(tmp_path / source, tmp_path)
            make_labels_from_masks(tmp_path / source, data_path=tmp_path / pictures, progress=False)
        assert labels(tmp_path / source, tmp_path) == {"a.jpg": [[0, 2, 1]]}
    assert names(tmp_path) == ("background", "can", "cup")


def test_masks_and_pictures_in_folders_of_the_same_names(tmp_path):
    save(tmp_path / "masks" / "train" / "a.png", [[0, 1]])
    photo(tmp_path / "images" / "train" / "a.jpg")
    assert labels(tmp_path / "masks" / "train", tmp_path) == {"a.jpg": [[0, 1]]}
