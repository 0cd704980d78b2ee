"""Shards: the pictures and maps of a store in a few tar files, in the same order, or a sentence."""

import json
import os
import pickle
import subprocess
import sys
import tarfile
from io import BytesIO

import numpy as np
import pytest
from conftest import PROJECT, make_store
from PIL import Image

from utils.classes import VOID
from utils.data_parts import find_parts
from utils.errors import UserError
from utils.label_maps.fresh import ensure_labels
from utils.label_maps.shards import Numbers, is_shards, open_shards, write_shards
from utils.label_maps.store import open_labels, write_labels
from utils.reading import Reading


@pytest.fixture
def store(tmp_path):
    """Seven pictures of several sizes and kinds, with void in one map."""
    folder = tmp_path / "toys"
    folder.mkdir()
    made = make_store(folder, [(40, 60), (31, 50), (40, 60), (80, 20), (5, 7), (9, 9), (40, 60)])
    entries = [(key, made[key]) for key in made.keys]
    entries[1][1][:3] = VOID
    first = folder / entries[0][0]
    with Image.open(first) as image:
        image.convert("RGB").save(first.with_suffix(".jpeg"))
    entries[0] = (first.with_suffix(".jpeg").name, entries[0][1])
    path = folder / "segmentation_train.npy"
    write_labels(path, folder, made.classes, entries, reading=Reading(turn="raw"))
    return open_labels(path)


@pytest.fixture
def shards(store, tmp_path):
    folder = tmp_path / "shards"
    folder.mkdir()
    write_shards(folder, store, store.keys, largest=4000)
    return open_shards(folder)


def test_pictures_and_maps_are_those_of_the_store(store, shards):
    assert len(shards) == 7 and len(list(shards.folder.glob("*.tar"))) > 1
    assert list(shards.keys) == [f"{number:09}" for number in range(7)]
    assert (shards.classes, shards.reading) == (store.classes, store.reading)
    assert list(shards.sizes) == list(store.sizes)
    for number, (name, key) in enumerate(zip(shards.keys, store.keys, strict=True)):
        for each in (number, name):
            np.testing.assert_array_equal(shards[each], store[key])
            np.testing.assert_array_equal(shards.picture(each), store.picture(key))
        assert shards.picture_size(name) == store.picture_size(key)
        assert shards.channels(name) == store.channels(key)
        assert name in shards and key not in shards
    for strange in ("7", "000000007", "00000000a", "-00000001", "1" * 5000, 0):
        assert strange not in shards.keys
    with pytest.raises(KeyError):
        shards["a.png"]
    with pytest.raises(IndexError):
        shards[7]


def test_they_are_tar_files_as_webdataset_reads_them(store, shards):
    """Files of a picture follow each other, and have one name but for what is behind the point."""
    found = []
    for path in sorted(shards.folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            found += [(member.name, tar.extractfile(member).read()) for member in tar]
    assert [name.split(".")[0] for name, _ in found] == [
        name for name in shards.keys for _ in "123"
    ]
    for number, key in enumerate(store.keys):
        (picture, content), (labels, grey), (about, text) = found[3 * number : 3 * number + 3]
        assert picture.endswith("." + key.rpartition(".")[2]) and about.endswith(".json")
        assert content == store.picture_path(key).read_bytes()
        assert labels.endswith(".seg.png") and json.loads(text) == {"name": key}
        with Image.open(BytesIO(grey)) as image:
            np.testing.assert_array_equal(np.array(image), store[key])


def test_batches_have_the_same_order_and_content(store, shards):
    from data_generator import DataGenerator, split_keys

    options = {"size": (32, 48), "batch_size": 2, "shuffle": True, "seed": 1, "augment": "mild"}
    parts = [split_keys(each.keys, 0.3) for each in (store, shards)]
    of_store, of_shards = (
        DataGenerator(each, keys=keys, **options)
        for each, (keys, _) in zip((store, shards), parts, strict=True)
    )
    assert len(of_store) == len(of_shards) > 1
    for epoch in range(3):
        for index in range(len(of_store)):
            for one, other in zip(
                of_store.batch(epoch, index), of_shards.batch(epoch, index), strict=True
            ):
                np.testing.assert_array_equal(one, other)
    assert [store.keys.index(key) for key in parts[0][1]] == [int(key) for key in parts[1][1]]


def test_another_process_maps_the_index_itself(shards):
    content = pickle.dumps(shards)
    assert len(content) < 1000
    np.testing.assert_array_equal(pickle.loads(content)[2], shards[2])


def test_names_and_sizes_take_no_memory():
    names = Numbers(10**8)
    assert names[12_345_678] == "012345678" and names.number("099999999") == 99_999_999
    assert "099999999" in names and "100000000" not in names
    assert names[5:7] == ["000000005", "000000006"]


def command(*arguments):
    program = [sys.executable, PROJECT / "utils" / "convert.py", *arguments, "--format", "shards"]
    return subprocess.run(list(map(str, program)), capture_output=True, text=True, check=False)


def test_the_command_and_the_parts_of_a_folder(store, tmp_path):
    target = tmp_path / "data" / "train"
    done = command(store.path, target)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{target}: 7 pictures in 1 shard, all equal\n"
    assert sorted(path.name for path in target.parent.iterdir()) == ["train"]
    assert is_shards(target) and find_parts(target.parent).train == "train"
    for path in (target, target.with_suffix(".npy")):
        np.testing.assert_array_equal(ensure_labels(path, False)[3], store[3])
    refused = command(target, tmp_path / "again")
    assert refused.returncode == 2 and "are shards, made from other labels" in refused.stderr
    with pytest.raises(UserError, match="other decisions than --turn"):
        ensure_labels(target, False, reading=Reading(turn="exif"))
    again = command(store.path, target)
    assert again.returncode == 2 and "is there already" in again.stderr


def test_what_was_not_written_whole_is_not_there(store, tmp_path):
    store.picture_path(store.keys[4]).unlink()
    done = command(store.path, tmp_path / "cut")
    assert done.returncode == 2 and store.keys[4] in done.stderr
    assert not (tmp_path / "cut").exists() and not list(tmp_path.glob(".shards-*"))


def change(shards, row, column, value):
    index = np.array(shards.index)
    index[row, column] = value
    np.save(shards.folder / "shards.npy", index)


@pytest.mark.parametrize("column", range(7))
@pytest.mark.parametrize("value", [-1, 0, 1, 7, 1000, 2**40, 2**62])
def test_a_wrong_number_is_a_sentence_or_nothing(column, value, store, shards):
    """A map of another picture has another size; each of a wrong place cannot be read."""
    change(shards, 1, column, value)
    try:
        found = open_shards(shards.folder)
        labels, picture = found[1], found.picture(1)
    except UserError as error:
        assert "shards" in str(error) or "cannot be read as a picture" in str(error)
        return
    np.testing.assert_array_equal(labels, store[1])
    np.testing.assert_array_equal(picture, store.picture(store.keys[1]))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("shards.json", b"{}"),
        ("shards.json", b"[1]"),
        ("shards.json", b'{"classes": [], "reading": 5}'),
        ("shards.npy", b""),
        (
            "shards.npy",
            b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,)}",
        ),
        ("000000.tar", b""),
    ],
)
def test_damaged_files(name, content, shards):
    (shards.folder / name).write_bytes(content)
    with pytest.raises(UserError, match="make the shards anew"):
        open_shards(shards.folder)[0]


def test_a_shard_that_is_gone(shards):
    (shards.folder / "000000.tar").unlink()
    with pytest.raises(UserError, match=r"000000.tar cannot be read .* make the shards anew"):
        open_shards(shards.folder)[0]


def test_shards_do_not_take_the_place_of_what_is_named(store, tmp_path):
    """Labels of the same stem that are there are those that are meant."""
    target = store.path.with_suffix("")
    assert command(store.path, target).returncode == 0
    write_labels(store.path, store.folder, store.classes, [(store.keys[2], store[2])])
    assert len(ensure_labels(store.path, False)) == 1
    assert len(ensure_labels(target, False)) == 7
    assert "1 pictures in 1 shard" in command(store.path, tmp_path / "one").stdout
    store.path.unlink()
    assert "are shards" in command(store.path, tmp_path / "two").stderr


def test_pictures_of_any_kind(store, tmp_path):
    """Arrays too; an ending that no tar file takes is left out."""
    values = np.arange(40 * 60 * 5, dtype=np.uint8).reshape(40, 60, 5)
    np.save(store.folder / "many.npy", values)
    strange = "a." + "x" * 120
    store.picture_path(store.keys[2]).rename(store.folder / strange)
    entries = [("many.npy", store[0]), (strange, store[2])]
    write_labels(tmp_path / "toys" / "some.npy", store.folder, store.classes, entries)
    done = command(tmp_path / "toys" / "some.npy", tmp_path / "some")
    assert done.returncode == 0, done.stderr
    shards = open_shards(tmp_path / "some")
    np.testing.assert_array_equal(shards.picture(0, channels=5), values)
    assert shards.channels(0) == 5 and shards.picture(1).shape == (40, 60, 3)


def test_they_can_be_verified(store, tmp_path):
    for part in ("train", "test"):
        assert command(store.path, tmp_path / "data" / part).returncode == 0
    program = [sys.executable, PROJECT / "utils" / "verify_dataset.py"]
    program += ["--data-path", tmp_path / "data"]
    done = subprocess.run(list(map(str, program)), capture_output=True, text=True, check=False)
    assert "7 pictures" in done.stdout and "error" not in done.stderr, done.stderr


@pytest.mark.parametrize("kind", ["zip", "pipe"])
def test_an_index_of_another_kind(kind, shards):
    path = shards.folder / "shards.npy"
    path.unlink()
    if kind == "zip":
        with open(path, "wb") as file:
            np.savez(file, a=np.zeros((2, 7), np.int64))
    else:
        os.mkfifo(path)
    with pytest.raises(UserError, match="make the shards anew"):
        open_shards(shards.folder)
