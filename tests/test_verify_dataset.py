"""The check of a data folder finds what was planted, and nothing in a sound folder."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from utils import files
from utils import verify_dataset as verify
from utils.classes import VOID, named, write_classes
from utils.errors import UserError
from utils.files import PROJECT
from utils.label_maps.store import open_labels, write_labels
from utils.reading import Reading

CLASSES = named(["background", "bottle", "can"])
SIZE = (48, 64)


def photograph(seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A smooth random picture, unlike those of other seeds, (H, W, 3) uint8."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    height, width = size
    return np.array(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def objects(size: tuple[int, int] = SIZE) -> np.ndarray:
    """A label map with all classes: 3/4 background, 1/8 bottle, 1/8 can."""
    labels = np.zeros(size, np.uint8)
    labels[:, : size[1] // 4] = 1
    labels[size[0] // 2 :, : size[1] // 4] = 2
    return labels


def make_set(folder: Path, name: str, pictures: dict, labels: dict | None = None, classes=CLASSES):
    """Write pictures and a store; label maps that are not given hold all classes."""
    folder.mkdir(exist_ok=True)
    for key, picture in pictures.items():
        if picture is not None:
            Image.fromarray(picture).save(folder / key)
    entries = []
    for key, picture in pictures.items():
        size = SIZE if picture is None else picture.shape[:2]
        entries.append((key, (labels or {}).get(key, objects(size))))
    write_labels(folder / f"segmentation_{name}.npy", folder, classes, entries)
    return open_labels(folder / f"segmentation_{name}.npy")


def sound(folder: Path) -> None:
    """A folder without faults: three training pictures and two test pictures."""
    make_set(folder, "train", {f"a{i}.png": photograph(i) for i in range(3)})
    make_set(folder, "test", {f"b{i}.png": photograph(10 + i) for i in range(2)})


def tool(folder: Path, *options: str) -> subprocess.CompletedProcess:
    script = PROJECT / "utils" / "verify_dataset.py"
    return subprocess.run(
        [sys.executable, str(script), "--data-path", str(folder), *options],
        cwd=folder.parent,
        capture_output=True,
        text=True,
    )


def kinds(findings, fault=True) -> list[str]:
    return [finding.kind for finding in findings if finding.fault == fault]


def test_counts_are_those_of_the_maps(tmp_path):
    labels = {"b.png": np.full((10, 10), VOID, np.uint8)}
    labels["b.png"][:4] = 0
    pictures = {"a.png": photograph(1), "b.png": photograph(2, (10, 10))}
    found = verify.survey("train", make_set(tmp_path, "train", pictures, labels))
    area = SIZE[0] * SIZE[1]
    assert found.pixels[[0, 1, 2, VOID]].tolist() == [
        area * 3 // 4 + 40,
        area // 8,
        area // 8,
        60,
    ]
    assert found.pictures[[0, 1, 2, VOID]].tolist() == [2, 1, 1, 1]
    assert found.sizes == {SIZE: 1, (10, 10): 1}
    # Shares by hand: background (2304 + 40) / (3072 + 40), the others 1/8 each.
    weights = verify.class_weights(found)
    np.testing.assert_allclose(weights, [0.125 / (2344 / 3112), 1, 1])


def test_table_has_a_line_per_class_and_stray_value(tmp_path):
    labels = {"a.png": objects()}
    labels["a.png"][:, -1] = VOID
    labels["a.png"][0, -2] = 9
    found = verify.survey("train", make_set(tmp_path, "train", {"a.png": photograph(1)}, labels))
    lines = [line.split() for line in verify.table(found).splitlines()]
    assert [line[0] for line in lines[1:]] == ["0", "1", "2", "9", "255"]
    assert lines[2][1:5] == ["bottle", "384", "12.50", "1"]
    assert "no" in lines[4][1]


def test_sound_folder_has_no_finding(tmp_path):
    sound(tmp_path / "data")
    done = tool(tmp_path / "data")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "0 faults, 0 remarks"
    assert "train: 3 pictures, 3 classes" in done.stdout


def test_a_folder_without_a_part_for_tests_is_checked_all_the_same(tmp_path):
    pictures = {f"a{i}.png": photograph(i) for i in range(2)}
    make_set(tmp_path / "data", "train", pictures | {"copy.png": photograph(1)})
    done = tool(tmp_path / "data")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "remark: train: a1.png and copy.png are the same picture" in done.stdout
    assert "data has no part for tests, so that nothing can be scored" in done.stdout
    done = tool(tmp_path / "data", "--test-labels", "gone.npy")
    assert done.returncode == 2 and "gone.npy" in done.stderr


def test_masks_among_their_pictures_are_no_pictures(tmp_path):
    store = make_set(tmp_path, "train", {"a.jpg": photograph(1)})
    for name in ("a_mask.png", "b.png", "b_1.png"):
        Image.fromarray(photograph(2)).save(tmp_path / name)
    words = " ".join(finding.words for finding in verify.unlisted([store]))
    assert "/b.png is" in words and "/b_1.png is" in words and "a_mask" not in words


def test_planted_duplicate_makes_status_1(tmp_path):
    sound(tmp_path / "data")
    make_set(tmp_path / "data", "test", {"b0.png": photograph(10), "copy.bmp": photograph(1)})
    done = tool(tmp_path / "data")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "copy.bmp is the same picture as a1.png of train" in done.stdout
    assert done.stdout.splitlines()[-1] == "1 fault, 1 remark"  # b1.png is now unlisted


def test_near_duplicates_are_found_whatever_size_quality_and_brightness(tmp_path):
    original = photograph(1, (120, 160))
    train = make_set(tmp_path, "train", {"a.png": original, "other.png": photograph(2, (120, 160))})
    small = np.array(Image.fromarray(original).resize((80, 60), Image.Resampling.BILINEAR))
    darker = (small * 0.8).astype(np.uint8)
    test = make_set(tmp_path, "test", {"b.png": photograph(3)})
    Image.fromarray(darker).save(tmp_path / "c.jpg", quality=50)
    write_labels(
        tmp_path / "segmentation_test.npy",
        tmp_path,
        CLASSES,
        [("b.png", objects()), ("c.jpg", objects((60, 80)))],
    )
    test = open_labels(tmp_path / "segmentation_test.npy")
    surveys = verify.survey("train", train), verify.survey("test", test)
    assert list(verify.duplicates(*surveys)) == [("a.png", "c.jpg", False)]
    assert kinds(verify.compare(*surveys)) == ["shared pictures"]


def test_unlike_and_flat_pictures_are_no_duplicates(tmp_path):
    pictures = {f"{i}.png": photograph(i) for i in range(30)}
    pictures["black.png"] = np.zeros((*SIZE, 3), np.uint8)
    pictures["white.png"] = np.full((*SIZE, 3), 255, np.uint8)
    found = verify.survey("train", make_set(tmp_path, "train", pictures))
    assert list(verify.duplicates(found, found)) == []


def test_copies_within_a_set_are_a_remark(tmp_path):
    pictures = {"a.png": photograph(1), "b.png": photograph(2), "c.png": photograph(1)}
    found = verify.survey("train", make_set(tmp_path, "train", pictures))
    test = verify.survey("test", make_set(tmp_path, "test", {"t.png": photograph(9)}))
    assert list(verify.duplicates(found, found)) == [("a.png", "c.png", True)]
    findings = verify.compare(found, test)
    assert kinds(findings) == []
    assert kinds(findings, fault=False) == ["copies"]


def test_all_pairs_are_compared_when_there_are_many(tmp_path):
    """The table of pairs is made in parts of 256 rows."""
    found = verify.Survey("train", CLASSES)
    found.keys = [str(i) for i in range(600)]
    found.digests = [str(i % 300) for i in range(600)]
    found.greys = [np.zeros(verify.GREY_SIDE**2, np.float32)] * 600
    pairs = {(one, other) for one, other, _ in verify.duplicates(found, found)}
    assert pairs == {(str(i), str(i + 300)) for i in range(300)}


@pytest.mark.parametrize(
    ("kind", "words", "value"),
    [
        ("label values", "7", np.where(objects() == 2, 7, objects())),
        ("void only", "a.png", np.full(SIZE, VOID)),
        ("sizes", "a.png", objects((20, 64))),
    ],
)
def test_planted_faults_of_label_maps_are_found(tmp_path, kind, words, value):
    pictures = {"a.png": photograph(1), "b.png": photograph(2)}
    store = make_set(tmp_path, "train", pictures, {"a.png": value.astype(np.uint8)})
    found = verify.survey("train", store)
    assert kinds(found.findings) == [kind]
    assert words in found.findings[0].words


def test_maps_of_0_and_255_are_found(tmp_path):
    """A mask with 255 for the object is a common mistake: 255 is void."""
    binary = np.where(objects() > 0, VOID, 0).astype(np.uint8)
    pictures = {"a.png": photograph(1), "b.png": photograph(2)}
    one = verify.survey("train", make_set(tmp_path, "train", pictures, {"a.png": binary}))
    assert kinds(one.findings, fault=False) == ["0 and 255"]
    assert kinds(one.findings) == []
    labels = {"a.png": binary, "b.png": binary}
    both = verify.survey("train", make_set(tmp_path, "train", pictures, labels))
    assert "0 and 255 only" in kinds(both.findings)


def test_missing_and_broken_pictures_are_found(tmp_path):
    store = make_set(tmp_path, "train", {"a.png": photograph(1), "gone.png": None, "bad.jpg": None})
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8 no picture")
    found = verify.survey("train", store)
    assert kinds(found.findings) == ["pictures", "pictures"]
    assert {"gone.png" in f.words or "bad.jpg" in f.words for f in found.findings} == {True}
    assert found.keys == ["a.png"]


def test_annotated_pictures_that_are_missing_are_found(tmp_path):
    """They get no label map, so only the annotations tell of them."""
    sound(tmp_path / "data")
    square = {
        "shape_attributes": {"name": "rect", "x": 5, "y": 5, "width": 20, "height": 20},
        "region_attributes": {"Name": "1"},
    }
    names = ["a0.png", "gone.png", "a1.png"]
    project = {
        name: {"filename": name, "size": -1, "regions": [square], "file_attributes": {}}
        for name in names
    }
    (tmp_path / "data" / "own.json").write_text(json.dumps({"_via_img_metadata": project}))
    write_classes(tmp_path / "data" / "classes.json", CLASSES)
    done = tool(tmp_path / "data", "--train-labels", "own.json")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "fault: train: gone.png is annotated" in done.stdout
    assert "fault: train: class 2 can is never used" in done.stdout
    assert "a2.png is in no set" in done.stdout
    again = tool(tmp_path / "data", "--train-labels", "own.npy")
    assert again.stdout.splitlines()[-1] == done.stdout.splitlines()[-1] == "2 faults, 1 remark"


def test_masks_without_pictures_are_found(tmp_path):
    sound(tmp_path / "data")
    masks = tmp_path / "data" / "train_masks"
    masks.mkdir()
    for stem in ("a0", "a1", "a2", "gone"):
        Image.fromarray(objects()).save(masks / f"{stem}.png")
    write_classes(tmp_path / "data" / "classes.json", CLASSES)
    (tmp_path / "data" / "train").mkdir()
    for index in range(3):
        (tmp_path / "data" / f"a{index}.png").rename(tmp_path / "data" / "train" / f"a{index}.png")
    done = tool(tmp_path / "data", "--train-labels", "train_masks")
    assert "no picture for the mask gone.png" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 1


def test_pages_of_a_stack_are_looked_at_one_by_one(tmp_path):
    folder = tmp_path / "data"
    for name, seeds in (("train", (1, 2, 1)), ("test", (9, 2))):
        pages = [Image.fromarray(photograph(seed)) for seed in seeds]
        masks = [Image.fromarray(objects())] * len(seeds)
        for place, images in ((name, pages), (f"{name}_masks", masks)):
            (folder / place).mkdir(parents=True)
            images[0].save(folder / place / "s.tif", save_all=True, append_images=images[1:])
    done = tool(folder, "--train-labels", "train_masks", "--test-labels", "test_masks")
    found = done.stdout
    assert "train: 3 pictures, 3 classes" in found and "test: 2 pictures" in found
    assert "test: s.tif#2 is the same picture as s.tif#2 of train" in found
    assert "train: s.tif#1 and s.tif#3 are the same picture" in found
    assert found.splitlines()[-1] == "1 fault, 1 remark", found


def test_unused_classes_are_faults_of_the_training_set_only(tmp_path):
    labels = {"a.png": np.minimum(objects(), 1), "b.png": np.minimum(objects(), 1)}
    pictures = {"a.png": photograph(1)}
    found = verify.survey("train", make_set(tmp_path, "train", pictures, labels))
    assert kinds(found.findings) == ["unused class"]
    assert "2 can" in found.findings[0].words
    test = verify.survey("test", make_set(tmp_path, "test", {"b.png": photograph(2)}, labels))
    assert kinds(test.findings) == []
    assert kinds(test.findings, fault=False) == ["unused class"]


@pytest.mark.parametrize("name", ["train", "test"])
@pytest.mark.parametrize("classes", [CLASSES, named(["background"])])
def test_a_set_without_any_object_is_a_fault(tmp_path, name, classes):
    labels = {f"{n}.png": np.zeros(SIZE, np.uint8) for n in "ab"}
    labels["b.png"][0] = VOID
    pictures = {f"{n}.png": photograph(i) for i, n in enumerate("ab")}
    found = verify.survey(name, make_set(tmp_path, name, pictures, labels, classes))
    faults = [finding for finding in found.findings if finding.fault]
    assert [f.kind for f in faults if f.kind != "unused class"] == ["0 and 255 only"]
    found = verify.survey(name, make_set(tmp_path, name, {"a.png": photograph(1)}, labels, classes))
    faults = [finding for finding in found.findings if finding.fault]
    assert [f.kind for f in faults if f.kind != "unused class"] == ["no object"]
    assert "anything but background" in faults[0].words


def test_a_folder_whose_test_set_has_no_object_does_not_pass(tmp_path):
    sound(tmp_path / "data")
    labels = {f"b{i}.png": np.zeros(SIZE, np.uint8) for i in range(2)}
    make_set(tmp_path / "data", "test", {f"b{i}.png": photograph(10 + i) for i in range(2)}, labels)
    done = tool(tmp_path / "data")
    assert done.returncode == 1
    assert "fault: test: no map holds anything but background" in done.stdout


def rectangles(folder: Path, name: str, listed: dict) -> None:
    """A VIA export of {file name: attributes of a region}."""
    shape = {"name": "rect", "x": 5, "y": 5, "width": 20, "height": 20}
    content = {
        key: {
            "filename": key,
            "regions": [{"shape_attributes": shape, "region_attributes": attributes}],
        }
        for key, attributes in listed.items()
    }
    (folder / name).write_text(json.dumps(content))


def test_the_cures_of_its_errors_work(tmp_path):
    """It has the options that it asks for, and what was decided is kept."""
    folder = tmp_path / "data"
    sound(folder)
    for name, key in (("one.json", "a0.png"), ("two.json", "b0.png")):
        rectangles(folder, name, {key: {"species": "cup", "brand": "x"}})
    sets = ["--train-labels", "one.json", "--test-labels", "two.json"]
    done = tool(folder, *sets)
    assert done.returncode == 2 and "say which with --class-attribute" in done.stderr
    done = tool(folder, *sets, "--class-attribute", "species")
    assert "1  cup" in done.stdout, done.stderr
    assert tool(folder, *sets).stdout.splitlines()[-1] == done.stdout.splitlines()[-1]
    done = tool(folder, *sets, "--class-attribute", "brand")
    assert done.returncode == 2 and 'delete "class_attribute" in its "reading"' in done.stderr


def test_one_class_for_all_regions(tmp_path):
    folder = tmp_path / "data"
    sound(folder)
    for name, key in (("one.json", "a0.png"), ("two.json", "b0.png")):
        rectangles(folder, name, {key: {}})
    sets = ["--train-labels", "one.json", "--test-labels", "two.json"]
    done = tool(folder, *sets)
    assert done.returncode == 2 and "say with --class-name" in done.stderr
    done = tool(folder, *sets, "--class-name", "cup")
    assert "1  cup" in done.stdout, done.stderr


def test_pictures_in_other_spellings_and_by_their_address_are_not_missing(tmp_path):
    folder = tmp_path / "data"
    make_set(folder, "test", {"b0.png": photograph(10)})
    for seed, name in enumerate(["ku\u0308che.png", "B.PNG", "c.png"]):
        Image.fromarray(photograph(seed)).save(folder / name, format="PNG")
    listed = ["k\u00fcche.png", "b.png", "http://x.org/c.png", "http://x.org/d.png"]
    rectangles(folder, "one.json", {key: {"Name": "bottle"} for key in listed})
    write_classes(folder / "classes.json", CLASSES)
    done = tool(folder, "--train-labels", "one.json")
    faults = [line for line in done.stdout.splitlines() if line.startswith("fault")]
    assert len(faults) == 2 and "class 2 can is never used" in faults[0]
    assert "http://x.org/d.png is annotated, but is missing" in faults[1]


@pytest.mark.parametrize("turn", ["exif", "raw"])
def test_pictures_are_read_as_their_labels_are_meant(tmp_path, turn):
    """Of a camera on its side: 48 x 64 upright, or its raw frame."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(photograph(1)).save(tmp_path / "a.jpg", exif=exif)
    size = SIZE if turn == "raw" else SIZE[::-1]
    path = tmp_path / "segmentation_train.npy"
    write_labels(path, tmp_path, CLASSES, [("a.jpg", objects(size))], reading=Reading(turn=turn))
    assert verify.survey("train", open_labels(path)).findings == []


def test_different_classes_are_a_fault(tmp_path):
    train = make_set(tmp_path, "train", {"a.png": photograph(1)})
    other = named(["background", "can", "bottle"])
    test = make_set(tmp_path, "test", {"b.png": photograph(2)}, classes=other)
    surveys = verify.survey("train", train), verify.survey("test", test)
    assert kinds(verify.compare(*surveys)) == ["classes"]


def test_strict_turns_remarks_into_faults(tmp_path):
    sound(tmp_path / "data")
    labels = {"a0.png": np.zeros(SIZE, np.uint8)}
    make_set(tmp_path / "data", "train", {f"a{i}.png": photograph(i) for i in range(3)}, labels)
    assert tool(tmp_path / "data").returncode == 0
    done = tool(tmp_path / "data", "--strict")
    assert done.returncode == 1
    assert "fault: train: a0.png holds no object" in done.stdout


def test_long_lists_of_findings_are_cut(capsys):
    findings = [verify.Finding("pictures", f"number {i}") for i in range(50)]
    verify._print_findings(findings, strict=False)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == verify.MOST_LINES + 1
    assert "30 more" in lines[-1]


def test_data_folder_is_looked_for_here_and_then_in_the_project(tmp_path, monkeypatch):
    (tmp_path / "project" / "data").mkdir(parents=True)
    (tmp_path / "here").mkdir()
    monkeypatch.setattr(files, "PROJECT", tmp_path / "project")
    monkeypatch.chdir(tmp_path / "here")
    assert files.data_folder("data") == tmp_path / "project" / "data"
    (tmp_path / "here" / "data").mkdir()
    assert files.data_folder("data").resolve() == tmp_path / "here" / "data"
    with pytest.raises(UserError, match="other"):
        files.data_folder("other")


def test_bad_input_is_one_line_and_status_2(tmp_path):
    done = tool(tmp_path / "nothing")
    assert done.returncode == 2
    assert "nothing" in done.stderr and len(done.stderr.splitlines()) == 1
    (tmp_path / "empty").mkdir()
    done = tool(tmp_path / "empty")
    assert done.returncode == 2
    assert "segmentation_train" in done.stderr and len(done.stderr.splitlines()) == 1
