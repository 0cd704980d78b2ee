"""utils/label_maps/fresh.py: stores are made again when what was decided changes."""

import json
import os
import subprocess
import sys
import time as clock

import numpy as np
import pytest
from PIL import Image

from utils.classes import Classes, named, read_classes, write_classes
from utils.errors import UserError
from utils.files import PROJECT
from utils.label_maps.fresh import ensure_labels, is_there
from utils.label_maps.store import index_path, open_labels
from utils.label_maps.turns import LOCK
from utils.reading import Reading, read_reading, write_decisions


def annotate(path, *attributes):
    """A VIA export of one picture, a square of 25 pixels for each region's attributes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    regions = [
        {
            "shape_attributes": {"name": "rect", "x": 10 * i, "y": 0, "width": 4, "height": 4},
            "region_attributes": values,
        }
        for i, values in enumerate(attributes)
    ]
    path.write_text(json.dumps({"p": {"filename": f"{path.stem}.png", "regions": regions}}))
    Image.new("RGB", (10 * len(regions), 10)).save(path.with_suffix(".png"))
    return path


def ids(store):
    return store[0][2, 2::10].tolist()


def ensure(path, **asked):
    return ensure_labels(path, progress=False, reading=Reading(**asked))


def made(path):
    return path.with_suffix(".npy").stat().st_mtime_ns


def test_what_is_asked_makes_a_store_anew_once(tmp_path):
    path = annotate(tmp_path / "train.json", {"Name": "1"}, {"Name": ""}, *[{"Name": "1"}] * 100)
    assert ids(ensure(path))[:2] == [1, 255]
    assert ids(ensure(path, unclassed="skip"))[:2] == [1, 0]
    time = made(path)
    for asked in ({"unclassed": "skip"}, {}):
        assert ids(ensure(path, **asked))[:2] == [1, 0]
    assert made(path) == time


def test_what_contradicts_the_decision_is_refused_though_the_store_is_fresh(tmp_path):
    path = annotate(tmp_path / "train.json", {"a": "cup", "b": "plate"})
    ensure(path, class_attribute="a")
    with pytest.raises(UserError, match="class attribute 'a', .* not 'b'"):
        ensure(path, class_attribute="b")
    # The cure.
    place = tmp_path / "classes.json"
    write_classes(place, named(["background", "plate"]))
    assert ensure(path, class_attribute="b").classes.names == ("background", "plate")
    assert read_reading(place).class_attribute == "b"


def test_a_decision_that_is_deleted_is_made_anew(tmp_path):
    path = annotate(tmp_path / "train.json", {"Name": "1"}, {"Name": ""})
    assert ids(ensure(path, unclassed="void")) == [1, 255]
    write_classes(tmp_path / "classes.json", read_classes(tmp_path / "classes.json"))
    with pytest.raises(UserError, match="--unclassed"):
        ensure(path)


def test_the_same_options_for_two_sets(tmp_path):
    """As the trainer and the check of a folder have them."""
    for name in ("train", "test"):
        path = annotate(tmp_path / f"{name}.json", {"a": "cup", "b": "x"}, {"a": "", "b": "x"})
        assert ids(ensure(path, class_attribute="a", unclassed="void")) == [1, 255]
    time = made(tmp_path / "train.json")
    ensure(tmp_path / "train.json", class_attribute="a", unclassed="void")
    assert made(tmp_path / "train.json") == time


def test_a_store_of_an_old_version_is_made_again_as_it_was_made(tmp_path):
    path = annotate(tmp_path / "train.json", {"a": "1", "b": "2"})
    ensure(path, class_attribute="b")
    place = index_path(path.with_suffix(".npy"))
    content = json.loads(place.read_text())
    del content["reading"]
    content["made_from"]["class_attribute"] = "b"
    place.write_text(json.dumps(content))
    write_classes(tmp_path / "classes.json", read_classes(tmp_path / "classes.json"))
    assert ids(ensure(path)) == [2]
    assert read_reading(tmp_path / "classes.json").class_attribute == "b"
    time = made(path)
    ensure(path)
    assert made(path) == time


def test_options_for_a_store_whose_annotations_are_gone(tmp_path):
    path = annotate(tmp_path / "train.json", {"Name": "1"}, {"Name": ""})
    ensure(path, unclassed="void")
    path.unlink()
    store = path.with_suffix(".npy")
    assert ids(ensure(store)) == ids(ensure(store, unclassed="void")) == [1, 255]
    with pytest.raises(UserError, match="train.npy was made from is gone.*--unclassed"):
        ensure(store, unclassed="skip")


def test_options_of_annotations_are_nothing_to_masks(tmp_path):
    """A folder may have both; `--class-attribute` does not make masks again and again."""
    (tmp_path / "train_masks").mkdir()
    (tmp_path / "train").mkdir()
    Image.fromarray(np.array([[0, 1]], np.uint8)).save(tmp_path / "train_masks" / "a.png")
    Image.new("RGB", (2, 1)).save(tmp_path / "train" / "a.jpg")
    masks = tmp_path / "train_masks"
    ensure(masks, class_attribute="species")
    time = made(masks)
    assert ensure(masks, class_attribute="species")["a.jpg"].tolist() == [[0, 1]]
    assert made(masks) == time


def test_void_of_masks_makes_them_again(tmp_path):
    (tmp_path / "train_masks").mkdir()
    (tmp_path / "train").mkdir()
    Image.fromarray(np.array([[0, 1, 2]], np.uint8)).save(tmp_path / "train_masks" / "a.png")
    Image.new("RGB", (3, 1)).save(tmp_path / "train" / "a.jpg")
    masks = tmp_path / "train_masks"
    assert ensure(masks)["a.jpg"].tolist() == [[0, 1, 2]]
    assert ensure(masks, void=(2,))["a.jpg"].tolist() == [[0, 1, 255]]
    assert ensure(masks)["a.jpg"].tolist() == [[0, 1, 255]]  # it is kept


@pytest.mark.parametrize("kind", ["masks", "annotations"])
def test_a_scale_is_kept_where_no_class_occurs(tmp_path, kind):
    """The labels are not made again each time, and the other set has the same scale."""
    for name, brightest in (("train", 4095), ("test", 300)):
        folder = tmp_path / name
        folder.mkdir()
        Image.fromarray(np.full((4, 4), brightest, np.uint16)).save(folder / f"{name}.png")
        masks = tmp_path / f"{name}_masks"
        if kind == "masks":
            masks.mkdir()
            Image.new("L", (4, 4)).save(masks / f"{name}.png")
        else:
            masks = tmp_path / f"{name}.json"
            masks.write_text(json.dumps({"p": {"filename": f"{name}/{name}.png", "regions": []}}))
        assert ensure(masks).reading.scale == (0.0, 4095.0)
        time = made(masks)
        assert ensure(masks).reading.scale == (0.0, 4095.0) and made(masks) == time


def test_a_decision_about_pictures_makes_annotations_again(tmp_path):
    """A store tells how its pictures are read."""
    path = annotate(tmp_path / "train.json", {"Name": "1"})
    ensure(path)
    place = tmp_path / "classes.json"
    write_decisions(place, read_classes(place), Reading(scale=(0.0, 4095.0)))
    assert ensure(path).reading.scale == (0.0, 4095.0)


def test_annotations_under_any_name(tmp_path):
    path = annotate(tmp_path / "train.json", {"Name": "1"})
    path = path.rename(tmp_path / "train.via")
    assert ids(ensure(path)) == [1]
    assert (tmp_path / "train.npy").is_file()


def test_both_sets_in_folders_of_the_data_folder(tmp_path):
    """Classes and decisions belong to the data folder; the second set would count otherwise."""
    train = annotate(tmp_path / "train" / "x.json", {"kind": "cup"}, {"kind": "plate"})
    test = annotate(tmp_path / "val" / "x.json", {"kind": "plate"}, {"kind": ""})
    asked = {"class_attribute": "kind", "unclassed": "void"}
    for path, expected in ((train, [1, 2]), (test, [2, 255])):
        store = ensure_labels(path, False, pictures=tmp_path, reading=Reading(**asked))
        assert ids(store) == expected
    assert [p.parent for p in tmp_path.rglob("classes.json")] == [tmp_path]
    # Deleted to decide anew, they are written to the same place.
    (tmp_path / "classes.json").unlink()
    train.touch()
    ensure_labels(train, False, pictures=tmp_path, reading=Reading(**asked))
    assert [p.parent for p in tmp_path.rglob("classes.json")] == [tmp_path]


def test_labels_are_there_when_they_or_their_source_are(tmp_path):
    path = tmp_path / "a.npy"
    assert not is_there(path) and not is_there(tmp_path / "a.json")
    for source in (tmp_path / "a.json", tmp_path / "a.csv", path):
        source.touch()
        assert is_there(path) and is_there(source)
        source.unlink()
    (tmp_path / "a").mkdir()  # a folder of masks
    assert is_there(path)


# Several programs, several sources, and indices from elsewhere.


def test_labels_that_are_made_again_while_they_are_in_use(tmp_path):
    path = annotate(tmp_path / "train.json", {"Name": "1"}, {"Name": "2"})
    store = ensure(path)
    path.write_text(path.read_text().replace('"Name": "2"', '"Name": "1"'))
    assert ids(ensure(path)) == [1, 1]
    assert ids(store) == [1, 2]


def test_two_sources_of_one_stem(tmp_path):
    path = annotate(tmp_path / "x.json", {"Name": "1"}, {"Name": "2"})
    ensure(path)
    row = '"x.png",0,"{}",1,0,"{""name"":""rect"",""x"":0,""y"":0,""width"":4,""height"":4}",'
    other = path.with_suffix(".csv")
    other.write_text(
        "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,"
        f'region_attributes\n{row}"{{""Name"":""2""}}"\n'
    )
    before = path.with_suffix(".npy").read_bytes()
    with pytest.raises(UserError, match=r"x\.npy holds the labels of x\.json.* x\.csv; rename"):
        ensure(other)
    assert path.with_suffix(".npy").read_bytes() == before
    assert ids(ensure(path)) == ids(ensure(path.with_suffix(".npy"))) == [1, 2]
    path.rename(tmp_path / "y.json")  # the cure
    assert ids(ensure(other)) == ids(ensure(path.with_suffix(".npy"))) == [2, 0]


# Whoever makes labels reads them, too; all begin at the same moment.
MANY = """
import json, sys, time
from pathlib import Path
from utils.label_maps.fresh import ensure_labels

folder, rounds = Path(sys.argv[1]), int(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
for round in range(rounds):
    while not (start := folder / f"start{round}").exists():
        time.sleep(0.001)
    for name in ("a", "b"):
        store = ensure_labels(folder / f"{round}-{name}.json", progress=False)
        assert store[0][2, 2::10].tolist() == [1, 2], (round, name)
    (folder / f"done{round}-{sys.argv[3]}").touch()
"""


def test_many_programs_make_the_same_labels(tmp_path, processes=3, rounds=3):
    """One makes them, the others wait; nothing is taken for damaged and put aside."""
    for index in range(rounds):
        for name in ("a", "b"):
            annotate(tmp_path / f"{index}-{name}.json", {"Name": "cup"}, {"Name": "plate"})
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", MANY, tmp_path, str(rounds), str(number)],
            cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(processes)
    ]  # fmt: skip
    for program in programs:
        assert program.stdout.readline() == "ready\n"
    for program in programs:
        program.stdin.write("go\n")
        program.stdin.flush()
    for index in range(rounds):
        (tmp_path / f"start{index}").touch()
        while len(list(tmp_path.glob(f"done{index}-*"))) < processes:
            if any(program.poll() for program in programs):
                break
            clock.sleep(0.001)
    for program in programs:
        _, errors = program.communicate()
        assert program.returncode == 0, errors
    assert not list(tmp_path.glob("*.old*")) and not (tmp_path / LOCK).exists()


def test_the_lock_of_a_killed_program_holds_nobody_up(tmp_path):
    (tmp_path / LOCK).touch()
    assert ids(ensure(annotate(tmp_path / "x.json", {"Name": "1"}))) == [1]


def rewrite(path, **change):
    content = json.loads(index_path(path).read_text())
    content["made_from"] |= change
    index_path(path).write_text(json.dumps(content))


@pytest.mark.parametrize("way", ["..", "absolute", "link"])
@pytest.mark.parametrize("what", ["file", "classes"])
def test_what_an_index_names_elsewhere_is_not_read(tmp_path, way, what):
    """Neither read nor written beside; the annotations themselves can be named, or all the data."""
    path = annotate(tmp_path / "data" / "x.json", {"Name": "1"})
    ensure(path)
    out = path.with_suffix(".npy")
    private = annotate(tmp_path / "private" / "p.json", {"Name": "secret"})
    name = "../private/p.json"
    if way == "absolute":
        name = str(private)
    elif way == "link":
        (tmp_path / "data" / "l.json").symlink_to(private)
        name = "l.json"
    rewrite(out, **{what: name})
    before = sorted(os.listdir(tmp_path / "private"))
    for opened in (out, path):
        with pytest.raises(UserError, match="which lies outside of"):
            ensure(opened)
    assert sorted(os.listdir(tmp_path / "private")) == before
    index_path(out).unlink()  # the cure
    assert ids(ensure(path)) == [1]


def test_annotations_in_a_loop_of_links_and_pipes(tmp_path):
    path = annotate(tmp_path / "x.json", {"Name": "1"})
    Image.new("RGB", (9, 9)).save(tmp_path / "unlisted.png")  # whose annotations are looked for
    for name in ("a.json", "b.csv", "a.index.json"):
        os.mkfifo(tmp_path / name)
    (tmp_path / "l.json").symlink_to("l.json")
    assert ids(ensure(path)) == [1]
    with pytest.raises(UserError):
        ensure(tmp_path / "l.json")
    with pytest.raises(UserError):
        ensure(tmp_path / ("n" * 300 + ".json"))


def test_pipes_and_loops_among_masks(tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "images").mkdir()
    Image.fromarray(np.array([[0, 1]], np.uint8)).save(tmp_path / "m" / "a.png")
    Image.new("RGB", (2, 1)).save(tmp_path / "images" / "a.jpg")
    os.mkfifo(tmp_path / "m" / "b.png")
    (tmp_path / "m" / "c.png").symlink_to("c.png")
    os.mkfifo(tmp_path / "other.index.json")
    assert ensure(tmp_path / "m")["a.jpg"].tolist() == [[0, 1]]
    assert ensure(tmp_path / "m")["a.jpg"].tolist() == [[0, 1]]


@pytest.mark.parametrize("kind", ["rgb", "grey"])
def test_two_classes_of_one_colour(tmp_path, kind):
    grey = np.array([[0, 200]], np.uint8)
    (tmp_path / "m").mkdir()
    (tmp_path / "images").mkdir()
    Image.fromarray(grey if kind == "grey" else np.stack([grey] * 3, 2)).save(
        tmp_path / "m" / "a.png"
    )
    Image.new("RGB", (2, 1)).save(tmp_path / "images" / "a.jpg")
    classes = named(["background", "cup", "plate"])
    for colours, right in ((((200,) * 3, (200,) * 3), 0), (((9, 9, 9), (200,) * 3), 1)):
        write_classes(
            tmp_path / "classes.json",
            Classes(classes.names, ((0, 0, 0), *colours)),
        )
        if right:
            assert ensure(tmp_path / "m")[0].tolist() == [[0, 2]]
        else:
            with pytest.raises(UserError, match="'cup' and 'plate' the same colour"):
                ensure(tmp_path / "m")
    assert open_labels(tmp_path / "m.npy")[0].tolist() == [[0, 2]]
