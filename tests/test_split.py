"""One export is divided by what its pictures show; nothing of it is lost or changed."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import ImageEnhance
from test_near_duplicates import scene

from utils.convert import convert
from utils.data_parts import Parts, find_parts
from utils.errors import UserError
from utils.files import PROJECT, read_json
from utils.label_maps.fresh import ensure_labels
from utils.reading import Reading
from utils.split import divide, split

SHARES = {"val": 0.2, "test": 0.2}
BOX = {"name": "rect", "x": 5, "y": 6, "width": 30, "height": 20}


def picture(name: str, *classes: str) -> dict:
    regions = [{"shape_attributes": BOX, "region_attributes": {"Name": c}} for c in classes]
    more = {"caption": "é", "number": 1.50}  # which we do not read
    return {"filename": name, "size": -1, "regions": regions, "file_attributes": more}


def via(folder: Path, entries: dict, **more) -> Path:
    """A project of VIA 2, with everything that VIA keeps in one."""
    content = {
        "_via_settings": {"ui": {"image": {"region_label": "Name"}}, "core": {"filepath": {}}},
        "_via_img_metadata": entries,
        "_via_attributes": {"region": {"Name": {"type": "text"}}, "file": {}},
        "_via_data_format_version": "2.0.10",
        "_via_image_id_list": list(entries)[::-1],
    }
    (folder / "via_project.json").write_text(json.dumps(content | more), encoding="utf-8")
    return folder / "via_project.json"


@pytest.fixture
def source(tmp_path):
    """Twenty scenes, three of them twice; a third of them with a bottle, each with a can."""
    entries = {}
    for number in range(20):
        one = scene(number)
        copies = {f"{number}.jpg": one}
        if number < 3:
            copies[f"{number}-dark.jpg"] = ImageEnhance.Brightness(one).enhance(0.6)
        for name, image in copies.items():
            image.save(tmp_path / name)
            entries[f"{name}-1"] = picture(name, "can", *(["bottle"] if number % 3 == 0 else []))
    return via(tmp_path, entries)


def files_of(path: Path) -> list[str]:
    return [entry["filename"] for entry in read_json(path)["_via_img_metadata"].values()]


def test_every_picture_is_in_one_part_with_its_twin(source, capsys):
    before = {path: path.read_bytes() for path in source.parent.iterdir()}
    written = split(source, SHARES)
    names = {path.stem.removeprefix("segmentation_"): files_of(path) for path in written}
    listed = sorted(name for part in names.values() for name in part)
    assert listed == sorted(files_of(source))
    assert {part: len(each) for part, each in names.items()} == {"train": 14, "val": 4, "test": 5}
    for number in range(3):
        (part,) = [part for part, each in names.items() if f"{number}.jpg" in each]
        assert f"{number}-dark.jpg" in names[part]
    assert {path: path.read_bytes() for path in before} == before
    printed = capsys.readouterr().out
    assert "23 pictures in 20 groups" in printed and "2 alike: 0.jpg, 0-dark.jpg" in printed
    assert printed.index("train") < printed.index("val") < printed.index("test")
    (bottles,) = [line.split() for line in printed.splitlines() if line.startswith("bottle")]
    assert min(map(int, bottles[1:])) >= 1 and sum(map(int, bottles[1:])) == 8


def test_what_is_there_stays_as_it_is(source):
    whole = read_json(source)
    for path in split(source, SHARES):
        part = read_json(path)
        assert list(part) == list(whole)
        for name in ("_via_settings", "_via_attributes", "_via_data_format_version"):
            assert part[name] == whole[name]
        entries = part["_via_img_metadata"]
        assert entries == {key: whole["_via_img_metadata"][key] for key in entries}
        order = [key for key in whole["_via_image_id_list"] if key in entries]
        assert part["_via_image_id_list"] == order and len(order) == len(entries)
        assert "é" in path.read_text(encoding="utf-8")


def test_parts_are_found_and_made_into_labels(source):
    split(source, SHARES)
    parts = find_parts(source.parent)
    assert parts == Parts(*(f"segmentation_{part}.npy" for part in Parts._fields))
    stores = [ensure_labels(source.parent / labels, progress=False) for labels in parts]
    assert sum(map(len, stores)) == 23
    assert {store.classes.names for store in stores} == {("background", "bottle", "can")}


def test_a_seed_is_another_choice_and_the_same_one_the_same(source):
    choices = []
    for seed in (0, 0, 1):
        written = split(source, SHARES, seed)
        choices.append([path.read_text() for path in written])
        for path in written:
            path.unlink()
    assert choices[0] == choices[1] != choices[2]


def test_an_export_keeps_its_form(source):
    """Of VIA 1 and 2: the pictures alone, regions as an object."""
    entries = read_json(source)["_via_img_metadata"]
    for entry in entries.values():
        entry["regions"] = {str(i): region for i, region in enumerate(entry["regions"])}
    source.write_text(json.dumps(entries))
    parts = [read_json(path) for path in split(source, SHARES)]
    assert {key: entry for part in parts for key, entry in part.items()} == entries


def test_a_part_may_be_left_out(source):
    written = split(source, {"val": 0, "test": 0.3})
    assert [path.name for path in written] == ["segmentation_train.json", "segmentation_test.json"]
    assert find_parts(source.parent).val is None


def test_nothing_is_replaced(source, tmp_path):
    (tmp_path / "segmentation_val.csv").touch()
    with pytest.raises(UserError, match=r"segmentation_val\.csv is there already; move it away"):
        split(source, SHARES)
    (tmp_path / "segmentation_val.csv").unlink()
    (path, *_) = split(source, {"val": 0, "test": 0.2})
    content = path.read_bytes()
    with pytest.raises(UserError, match=r"segmentation_train\.json is there already"):
        split(source, {"val": 0, "test": 0.2})
    assert path.read_bytes() == content
    with pytest.raises(UserError, match="has the name of a part; call it via_project.json"):
        split(path, SHARES)


@pytest.mark.parametrize("form", ["coco", "labelme", "masks"])
def test_what_other_programs_wrote_is_divided_too(form, source, tmp_path, capsys):
    """A file, a folder of files, and masks: into parts that have the same labels."""
    pictures = source.parent
    target = tmp_path / "other" / ("a.json" if form == "coco" else "labels")
    whole = ensure_labels(source)
    expected = {key: whole[key] for key in whole.keys}
    convert(source, target, form, Reading())
    for path in (*pictures.glob("via_project.*"), *pictures.glob("classes.json")):
        path.unlink()
    written = split(target, SHARES, data_path=pictures)
    assert [path.parent for path in written] == [pictures] * 3
    assert "became" in capsys.readouterr().out
    found = {}
    for path in written:
        store = ensure_labels(path)
        found |= {key: store[key] for key in store.keys}
    assert found.keys() == expected.keys()
    for key, labels in expected.items():
        np.testing.assert_array_equal(found[key], labels)
    with pytest.raises(UserError, match="via_project.json is there already; divide that"):
        split(target, SHARES, data_path=pictures)


def test_a_project_is_made_beside_the_pictures_that_were_found(tmp_path, source):
    """Of masks in a folder of their own; nothing else comes where they are."""
    pictures = tmp_path / "set"
    convert(source, pictures / "masks", "masks", Reading())
    (pictures / "images").mkdir()
    for path in tmp_path.glob("*.jpg"):
        path.rename(pictures / "images" / path.name)
    before = sorted((pictures / "masks").iterdir())
    written = split(pictures / "masks", SHARES)
    assert {path.parent for path in written} == {pictures / "images"}
    assert [path for path in sorted((pictures / "masks").iterdir()) if path not in before] == []


def test_missing_pictures_are_told_and_trained_on(source, tmp_path, capsys):
    """Nobody knows what they show."""
    (tmp_path / "7.jpg").unlink()
    (tmp_path / "8.jpg").write_bytes(b"no picture")
    train, *others = map(files_of, split(source, SHARES))
    assert {"7.jpg", "8.jpg"} <= set(train)
    printed = capsys.readouterr().out
    assert "missing or unreadable, left in train: 7.jpg" in printed and "8.jpg" in printed
    for path in tmp_path.glob("*.jpg"):
        path.unlink()
    for path in tmp_path.glob("segmentation_*"):
        path.unlink()
    with pytest.raises(UserError, match="none of the 23 annotated pictures can be read"):
        split(source, SHARES)


def test_two_entries_of_one_picture_stay_together(source):
    content = read_json(source)
    again = {f"{key}-again": entry for key, entry in content["_via_img_metadata"].items()}
    via(source.parent, content["_via_img_metadata"] | again)
    for path in split(source, SHARES):
        names = files_of(path)
        assert all(names.count(name) == 2 for name in names)


def test_pictures_may_be_elsewhere(source, tmp_path):
    (tmp_path / "mine").mkdir()
    moved = source.rename(tmp_path / "mine" / source.name)
    written = split(moved, SHARES, data_path=source.parent)
    assert {path.parent for path in written} == {source.parent}, "so that it is all there is to say"
    assert all(len(ensure_labels(path, progress=False)) for path in written)
    for path in written:
        path.unlink()
    (tmp_path / "mine" / "classes.json").write_text('["background", "cup"]')
    (source.parent / "classes.json").unlink()
    with pytest.raises(
        UserError, match=r"mine/classes\.json names the classes of .* copy it there"
    ):
        split(moved, SHARES, data_path=source.parent)


def test_too_few_scenes(tmp_path):
    entries = {}
    for number in range(6):
        scene(0).crop((number, number, 230, 170)).save(tmp_path / f"{number}.png")
        entries[str(number)] = picture(f"{number}.png", "can")
    with pytest.raises(UserError, match="has 1 groups .* nothing is left for"):
        split(via(tmp_path, entries), SHARES)
    assert not list(tmp_path.glob("segmentation_*"))


@pytest.mark.parametrize("text", ["{", json.dumps({"images": [], "categories": []})])
def test_what_nobody_wrote_is_refused(source, text):
    source.write_text(text)
    with pytest.raises(UserError, match="via_project.json"):
        split(source, SHARES)
    with pytest.raises(UserError, match="none.json"):
        split(source.with_name("none.json"), SHARES)


# --- how groups are divided -----------------------------------------------------------------------


def parts_of(sizes, counts, shares=SHARES, seed=0):
    chosen = np.array(divide(sizes, np.array(counts).reshape(len(sizes), -1), shares, seed))
    return {part: np.flatnonzero(chosen == part).tolist() for part in ("train", "val", "test")}


def test_shares_are_met_as_near_as_groups_allow():
    random = np.random.default_rng(0)
    sizes = random.integers(1, 6, 100)
    has = (random.uniform(size=(100, 4)) < (0.9, 0.5, 0.2, 0.05)) * sizes[:, None]
    for seed in range(5):
        parts = parts_of(sizes, has, seed=seed)
        share = {part: sizes[groups].sum() / sizes.sum() for part, groups in parts.items()}
        assert share["train"] == pytest.approx(0.6, abs=0.02)
        assert share["val"] == pytest.approx(0.2, abs=0.02)
        for groups in parts.values():
            assert has[groups].any(0).all(), "each part has each class"
        common = has[:, :2].sum(0)
        assert (has[parts["test"]][:, :2].sum(0) / common) == pytest.approx(0.2, abs=0.04)


def test_a_rare_class_is_trained_on_first():
    """A class that only the test has is none that could be learnt."""
    one = parts_of([1] * 20, [[c == 0] for c in range(20)])
    assert 0 in one["train"]
    two = parts_of([1] * 20, [[c < 2] for c in range(20)])
    assert len({0, 1} & set(two["train"])) == len({0, 1} & set(two["test"])) == 1
    three = parts_of([1] * 20, [[c < 3] for c in range(20)])
    assert all(len({0, 1, 2} & set(groups)) == 1 for groups in three.values())


def test_a_large_group_is_trained_on():
    parts = parts_of([30, *[1] * 20], [[1]] * 21)
    assert 0 in parts["train"] and len(parts["val"]) == len(parts["test"]) == 10


def test_few_pictures_make_three_parts():
    parts = parts_of([1, 1, 1], [[1]] * 3, {"val": 0.15, "test": 0.15})
    assert all(len(groups) == 1 for groups in parts.values())


# --- the command ----------------------------------------------------------------------------------


def command(*arguments):
    return subprocess.run(
        [sys.executable, str(PROJECT / "utils" / "split.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command(source):
    result = command(source, "--val", 0, "--test", 0.25)
    assert result.returncode == 0, result.stderr
    assert f"Next: python3 utils/verify_dataset.py --data-path {source.parent}" in result.stdout
    assert len(files_of(source.with_name("segmentation_test.json"))) == 6
    again = command(source)
    assert again.returncode == 2 and "is there already" in again.stderr
    assert command(source, "--val", 0.5, "--test", 0.5).returncode == 2
    assert command(source, "--val", 0, "--test", 0).returncode == 2
