"""The label store, the chapter's pickled file, and attacks through it."""

import json
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tifffile
from PIL import Image

from utils.classes import named, write_classes
from utils.errors import UserError
from utils.files import PROJECT
from utils.label_maps.store import index_path, is_pickled, open_labels, read_index, write_labels
from utils.pictures import page_keys, read_picture
from utils.reading import Reading, write_decisions

CLASSES = named(["background", "bottle", "can"])


def random_maps(sizes):
    rng = np.random.default_rng(0)
    return [
        (f"{i}.jpg", rng.choice([0, 1, 2, 255], size).astype(np.uint8))
        for i, size in enumerate(sizes)
    ]


@pytest.fixture
def stored(tmp_path):
    """A store of two maps of different size."""
    path = tmp_path / "train.npy"
    maps = random_maps([(5, 7), (3, 4)])
    write_labels(path, tmp_path, CLASSES, maps)
    return path, maps


@pytest.mark.parametrize("sizes", [[(5, 7)] * 3, [(5, 7), (3, 4), (9, 1)], [(4, 4)]])
def test_write_and_read(tmp_path, sizes):
    path = tmp_path / "train.npy"
    maps = random_maps(sizes)
    write_labels(path, tmp_path, CLASSES, iter(maps))
    store = open_labels(path)
    assert store.keys == [key for key, _ in maps]
    assert store.sizes == sizes
    assert store.classes == CLASSES
    assert len(store) == len(sizes)
    for index, (key, labels) in enumerate(maps):
        for access in (key, index, index - len(maps)):
            np.testing.assert_array_equal(store[access], labels)
            assert store[access].dtype == np.uint8
    assert "0.jpg" in store and "other.jpg" not in store
    with pytest.raises(IndexError):
        store[len(maps)]
    with pytest.raises(KeyError):
        store["other.jpg"]


def test_equal_sizes_give_one_array_and_nothing_is_pickled(tmp_path):
    maps = random_maps([(5, 7)] * 3)
    write_labels(tmp_path / "train.npy", tmp_path, CLASSES, maps)
    array = np.load(tmp_path / "train.npy", mmap_mode="r", allow_pickle=False)
    assert array.shape == (3, 5, 7) and array.dtype == np.uint8
    np.testing.assert_array_equal(array[1], maps[1][1])
    assert not is_pickled(tmp_path / "train.npy")


def test_a_map_is_a_copy(stored):
    path, maps = stored
    labels = open_labels(path)[0]
    assert not isinstance(labels.base, np.memmap)
    labels[:] = 9
    np.testing.assert_array_equal(open_labels(path)[0], maps[0][1])


def test_a_store_survives_pickling_for_worker_processes(stored):
    path, maps = stored
    store = pickle.loads(pickle.dumps(open_labels(path)))
    np.testing.assert_array_equal(store["1.jpg"], maps[1][1])


def test_pictures_are_found_after_the_folder_moved(tmp_path):
    (tmp_path / "old" / "images").mkdir(parents=True)
    write_labels(
        tmp_path / "old" / "a.npy", tmp_path / "old" / "images", CLASSES, random_maps([(2, 2)])
    )
    (tmp_path / "old").rename(tmp_path / "new")
    store = open_labels(tmp_path / "new" / "a.npy")
    assert store.folder == tmp_path / "new" / "images"
    assert store.picture_path(0) == store.picture_path("0.jpg") == store.folder / "0.jpg"
    with pytest.raises(UserError, match="leaves"):
        store.picture_path("../0.jpg")


def test_entries_that_fail_leave_the_old_store(stored):
    path, maps = stored

    def failing():
        yield maps[1]
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_labels(path, path.parent, CLASSES, failing())
    np.testing.assert_array_equal(open_labels(path)["0.jpg"], maps[0][1])
    assert sorted(os.listdir(path.parent)) == ["train.index.json", "train.npy"]


def test_a_store_whose_index_could_not_be_written_is_not_read(stored, monkeypatch):
    path, maps = stored
    monkeypatch.setattr(
        "utils.label_maps.store.as_content", lambda classes: 1 / 0
    )  # a kill at that moment
    with pytest.raises(ZeroDivisionError):
        write_labels(path, path.parent, CLASSES, maps[::-1])
    with pytest.raises(UserError, match="no train.index.json"):
        open_labels(path)


def test_twice_the_same_key_and_wrong_arrays_are_refused(tmp_path):
    labels = np.zeros((2, 2), np.uint8)
    with pytest.raises(ValueError, match="twice"):
        write_labels(tmp_path / "a.npy", tmp_path, CLASSES, [("a", labels), ("a", labels)])
    with pytest.raises(ValueError, match="int64"):
        write_labels(tmp_path / "a.npy", tmp_path, CLASSES, [("a", labels.astype(int))])


def test_half_a_store_is_not_read(stored):
    path, _ = stored
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(UserError, match="does not match"):
        open_labels(path)
    path.write_bytes(whole)
    index_path(path).unlink()
    with pytest.raises(UserError, match=r"no train\.index\.json"):
        open_labels(path)


# How the pictures are read.


def store_of(folder, keys, reading=None, size=(6, 9)):
    """A store of empty maps of these pictures, opened."""
    maps = [(key, np.zeros(size, np.uint8)) for key in keys]
    write_labels(folder / "train.npy", folder, CLASSES, maps, reading=reading)
    return open_labels(folder / "train.npy")


def test_the_reading_is_kept(tmp_path):
    reading = Reading("Name", "cat", "void", "ids", (11,), (0.0, 4095.0), "raw")
    assert store_of(tmp_path, ["a.jpg"], reading).reading == reading
    assert store_of(tmp_path, ["a.jpg"]).reading == Reading()
    content = json.loads(index_path(tmp_path / "train.npy").read_text())
    del content["reading"]  # as earlier versions wrote it
    index_path(tmp_path / "train.npy").write_text(json.dumps(content))
    assert open_labels(tmp_path / "train.npy").reading == Reading()


@pytest.mark.parametrize("reading", [{"turn": "left"}, {"scale": [1]}, {"later": 1}, [], None])
def test_a_damaged_reading(tmp_path, reading):
    store_of(tmp_path, ["a.jpg"])
    content = json.loads(index_path(tmp_path / "train.npy").read_text()) | {"reading": reading}
    index_path(tmp_path / "train.npy").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"train\.index\.json is damaged"):
        open_labels(tmp_path / "train.npy")


def test_the_chapters_file_is_read_as_its_folder_says(tmp_path):
    write_decisions(tmp_path / "classes.json", CLASSES, Reading(turn="raw"))
    save_pickled(tmp_path / "t.npy", {"a.jpg": one_hot([[2]], 3)})
    assert open_labels(tmp_path / "t.npy").reading == Reading(turn="raw")


def test_pictures_are_read_as_it_says(tmp_path):
    deep = np.arange(54, dtype=np.uint16).reshape(6, 9) * 77
    tifffile.imwrite(tmp_path / "a.tif", deep, extratags=[(274, "H", 1, 6, True)])
    for turn, size in (("raw", (6, 9)), ("exif", (9, 6)), (None, (9, 6))):
        store = store_of(tmp_path, ["a.tif"], Reading(scale=(0, 4095), turn=turn))
        picture = np.rint(deep / 4095 * 255)
        picture = picture if turn == "raw" else np.rot90(picture, -1)
        for key in ("a.tif", 0):
            np.testing.assert_array_equal(store.picture(key)[..., 1], picture)
            assert store.picture(key, channels=1).shape == (*size, 1)
            assert store.picture_size(key) == size
    with pytest.raises(UserError, match=r"a\.tif has a single channel, but 4"):
        store.picture("a.tif", channels=4)


def test_a_jpeg_is_read_no_larger_than_needed(tmp_path):
    Image.new("RGB", (128, 96), "red").save(tmp_path / "a.jpg")
    store = store_of(tmp_path, ["a.jpg"])
    assert store.picture("a.jpg", (20, 30)).shape == (24, 32, 3)
    assert store.picture("a.jpg").shape == (96, 128, 3)
    assert store.picture_size("a.jpg") == (96, 128)


def test_pages_of_a_file(tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (12, 6, 9), dtype=np.uint8)
    (tmp_path / "day").mkdir()
    tifffile.imwrite(tmp_path / "day" / "stack.tif", frames, photometric="minisblack")
    keys = page_keys(tmp_path, "day/stack.tif", 12)
    store = store_of(tmp_path, keys)
    assert store.keys[2] == "day/stack.tif#3" and "day/stack.tif#12" in store
    for index, key in enumerate(keys):
        np.testing.assert_array_equal(store.picture(key)[..., 0], frames[index])
        np.testing.assert_array_equal(store.picture(index)[..., 0], frames[index])
        assert store.picture_path(key) == store.folder / "day" / "stack.tif"
        assert store.picture_size(key) == (6, 9)
    with pytest.raises(UserError, match=r"stack\.tif has 12 pages, so there is no page 13"):
        store.picture("day/stack.tif#13")
    with pytest.raises(UserError, match=r"stack\.tif#0 does not exist"):
        store.picture("day/stack.tif#0")
    with pytest.raises(UserError, match="leaves"):
        store.picture("../stack.tif#1")


def test_a_file_that_is_called_as_a_page_is(tmp_path):
    """A plain file whose name ends in #3 is itself, with or without another beside it."""
    for name, value in (("a#3", 10), ("b.png#3", 20), ("b.png", 30), ("c#3.png", 40)):
        Image.new("L", (9, 6), value).save(tmp_path / name, "PNG")
    store = store_of(tmp_path, ["a#3", "b.png#3", "b.png", "c#3.png"])
    assert [store.picture(key)[0, 0, 0] for key in store.keys] == [10, 20, 30, 40]
    assert [store.picture_path(key).name for key in store.keys] == store.keys


def test_pictures_are_found_on_another_system(tmp_path):
    """Labels were made on a Mac, whose file names are decomposed, and are used elsewhere."""
    Image.new("L", (9, 6), 10).save(tmp_path / "k\u00fcche.JPG")
    tifffile.imwrite(tmp_path / "u\u0308.tif", np.zeros((2, 6, 9), np.uint8))
    store = store_of(tmp_path, ["ku\u0308che.jpg", "\u00fc.tif#2", "nothing.jpg"])
    assert store.picture_path(0) == store.folder / "k\u00fcche.JPG"
    assert store.picture(0)[0, 0, 0] == 10 and store.picture_size(0) == (6, 9)
    assert store.picture_path(1).samefile(tmp_path / "u\u0308.tif")
    assert store.picture(1).shape == (6, 9, 3)
    assert store.picture_path(2) == store.folder / "nothing.jpg"
    with pytest.raises(UserError, match=r"nothing\.jpg does not exist"):
        store.picture(2)


def test_pictures_survive_pickling_too(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.full((6, 9), 4095, np.uint16))
    store = pickle.loads(pickle.dumps(store_of(tmp_path, ["A.TIF"], Reading(scale=(0, 4095)))))
    assert store.picture("A.TIF").min() == 255


def test_a_label_store_is_no_picture(stored):
    path, _ = stored
    with pytest.raises(UserError, match=r"train\.npy is a store of label maps"):
        read_picture(path)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"keys": [], "sizes": [1]}'])
def test_damaged_index(stored, text):
    path, _ = stored
    index_path(path).write_text(text)
    with pytest.raises(UserError, match=r"train\.index\.json"):
        open_labels(path)


@pytest.mark.parametrize(
    "change", [{"sizes": [[50, 70]]}, {"keys": ["a.png"]}, {"keys": ["a.png"] * 9}]
)
def test_an_index_of_something_else_is_noticed(stored, change):
    path, _ = stored
    content = json.loads(index_path(path).read_text()) | change
    index_path(path).write_text(json.dumps(content))
    with pytest.raises(UserError, match="does not match|names a picture twice"):
        open_labels(path)


def test_missing_and_foreign_files(tmp_path):
    with pytest.raises(UserError, match=r"a\.npy does not exist"):
        open_labels(tmp_path / "a.npy")
    (tmp_path / "a.npy").write_text("no array")
    with pytest.raises(UserError, match="not a NumPy file"):
        open_labels(tmp_path / "a.npy")


# The chapter's own file: a pickled dictionary of one-hot masks.


def one_hot(labels, count):
    return np.eye(count, dtype=np.uint8)[labels]


def save_pickled(path, content, protocol=4):
    """What `np.save` writes for an object, with any pickle protocol."""
    save_bytes(path, pickle.dumps(np.array(content, dtype=object), protocol))


def save_bytes(path, pickled):
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "|O", "fortran_order": False, "shape": ()}
        )
        file.write(pickled)


def test_the_chapters_file(tmp_path):
    rng = np.random.default_rng(0)
    maps = {name: rng.integers(0, 4, (6, 5)) for name in ("b.jpg", "a.jpg")}
    np.save(tmp_path / "t.npy", {k: one_hot(v, 4) for k, v in maps.items()}, allow_pickle=True)
    assert is_pickled(tmp_path / "t.npy")
    store = open_labels(tmp_path / "t.npy")
    assert store.keys == ["b.jpg", "a.jpg"]
    assert store.classes.names == ("background", "class 1", "class 2", "class 3")
    assert store.folder == tmp_path
    for key, labels in maps.items():
        np.testing.assert_array_equal(store[key], labels)
        assert store[key].dtype == np.uint8
    store["a.jpg"][:] = 7  # a copy


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("module", [b"numpy._core", b"numpy.core"])
def test_files_of_older_numpy_and_protocols(tmp_path, protocol, module):
    labels = np.array([[0, 1], [2, 1]])
    for array in (one_hot(labels, 3), np.asfortranarray(one_hot(labels, 3)).astype("<i4")):
        pickled = pickle.dumps(np.array({"a.jpg": array}, dtype=object), protocol)
        if protocol < 4:  # later ones note the length of names
            pickled = pickled.replace(b"numpy._core", module)
        save_bytes(tmp_path / "t.npy", pickled)
        np.testing.assert_array_equal(open_labels(tmp_path / "t.npy")["a.jpg"], labels)


def test_names_come_from_classes_json(tmp_path):
    write_classes(tmp_path / "classes.json", CLASSES)
    save_pickled(tmp_path / "t.npy", {"a.jpg": one_hot([[2]], 3)})
    assert open_labels(tmp_path / "t.npy").classes == CLASSES


def test_a_pixel_of_no_class_is_void(tmp_path):
    mask = one_hot([[1, 2]], 3)
    mask[0, 0] = 0
    save_pickled(tmp_path / "t.npy", {"a.jpg": mask})
    np.testing.assert_array_equal(open_labels(tmp_path / "t.npy")["a.jpg"], [[255, 2]])


def test_an_empty_channel_of_a_transparent_picture_is_dropped(tmp_path):
    save_pickled(tmp_path / "t.npy", {"a": one_hot([[1]], 5), "b": one_hot([[3]], 4)})
    store = open_labels(tmp_path / "t.npy")
    assert len(store.classes) == 4
    assert (store["a"], store["b"]) == (1, 3)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"a": np.array([[[0, 1, 1]]], np.uint8)}, "several classes"),
        ({"a": np.array([[[0, 255, 0]]], np.uint8)}, "other than 0 and 1"),
        ({"a": one_hot([[4]], 5), "b": one_hot([[3]], 4)}, "more than 4 classes"),
        ({"a": np.zeros((2, 2), np.uint8)}, "height x width x class"),
        ({"a": "text"}, "height x width x class"),
        ({3: one_hot([[1]], 2)}, "names a map by int"),
        ({(1, "a"): one_hot([[1]], 2)}, "names a map by _Tuple"),
        ({"../a.jpg": one_hot([[1]], 2)}, "leaves"),
        ({}, "no label map"),
        ([1, 2], "no dictionary"),
    ],
)
def test_what_is_not_one_hot_is_refused(tmp_path, content, words):
    save_pickled(tmp_path / "t.npy", content)
    with pytest.raises(UserError, match=words):
        open_labels(tmp_path / "t.npy")


class Call:
    """Pickles as a call of `function`; whoever unpickles it blindly runs it."""

    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


def hostile_pickles(mark):
    """Pickles that would create the file `mark`, or put raw bytes where pointers belong."""
    command = f"touch '{mark}'"
    python = f"open({str(mark)!r}, 'w')"
    for protocol in (0, 2, 4):
        yield pickle.dumps(Call(os.system, command), protocol)
        yield pickle.dumps(np.array({"a": Call(os.system, command)}, dtype=object), protocol)
        yield pickle.dumps(Call(eval, python), protocol)
        yield pickle.dumps({Call(eval, python): 1}, protocol)
        yield pickle.dumps(Call(getattr, "text", "format"), protocol)
        yield pickle.dumps(Call(np.load, str(mark), None, True), protocol)
        yield pickle.dumps(Call(pickle.loads, pickle.dumps(Call(eval, python))), protocol)
        yield pickle.dumps(Call(np.fromfile, str(mark)), protocol)
    for name in ("f2py.capi_maps.os.system", "ndarray.__class__", "_core.multiarray._reconstruct"):
        text = name.encode()  # protocol 4 looks names with dots up attribute by attribute
        asked = b"\x8c\x05numpy" + b"\x8c" + bytes([len(text)]) + text + b"\x93"
        argument = b"\x8c" + bytes([len(command)]) + command.encode() + b"\x85R."
        yield b"\x80\x04" + asked + argument
    yield b"cos\nsystem\n(S" + repr(command).encode() + b"\ntR."
    yield b"\x80\x02cnumpy\nrunstring\nq\x00(S" + repr(python).encode() + b"\ntR."

    # An object array whose type says that it holds no objects, filled with bytes.
    state = b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    kind = b"cnumpy\ndtype\n(U\x02O8K\x00K\x01tR" + state
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR"
    yield b"\x80\x02" + array + b"(K\x01(K\x01t" + kind + b"\x89U\x08AAAAAAAAtb."
    # Text in a codec that does something; and an array of a made-up kind.
    yield b"\x80\x02c_codecs\nencode\n(U\x04aaaaU\x05rot13tR."
    yield b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n(cnumpy\ndtype\n(K\x00tU\x01btR."


def test_attacks_are_refused_and_run_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mark = tmp_path / "ran"
    hostile = list(hostile_pickles(mark))
    assert len(hostile) > 30
    for pickled in hostile:
        save_bytes(tmp_path / "t.npy", pickled)
        # The reason tells that it was refused by name, not by luck.
        with pytest.raises(UserError, match=r"t\.npy.*(it asks for|it holds)"):
            open_labels(tmp_path / "t.npy")
        assert not mark.exists(), pickled


def test_the_attacks_are_real(tmp_path):
    mark = tmp_path / "ran"
    save_bytes(tmp_path / "t.npy", next(hostile_pickles(mark)))
    np.load(tmp_path / "t.npy", allow_pickle=True)
    assert mark.exists()


def test_damaged_pickles(tmp_path):
    save_pickled(tmp_path / "t.npy", {"a.jpg": one_hot([[1, 0]], 2)})
    whole = (tmp_path / "t.npy").read_bytes()
    for length in range(129, len(whole), 7):
        (tmp_path / "t.npy").write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"t\.npy"):
            open_labels(tmp_path / "t.npy")


def test_reading_a_map_parses_no_header(tmp_path, monkeypatch):
    """Python 3.11 fails now and then when two threads parse at once, as TensorFlow's do."""
    maps = {f"{index}.jpg": np.full((3, 4), index, np.uint8) for index in range(3)}
    write_labels(tmp_path / "labels.npy", tmp_path, named(["background", "a", "b"]), maps.items())
    store = open_labels(tmp_path / "labels.npy")
    monkeypatch.setattr("ast.parse", None)
    for key, expected in maps.items():
        np.testing.assert_array_equal(store[key], expected)


# Files that change, and files that are no stores.


def rewrite_index(path, **change):
    content = json.loads(index_path(path).read_text()) | change
    index_path(path).write_text(json.dumps(content))


def test_an_open_store_keeps_its_file(stored):
    """Labels that are made again in another order while a training runs."""
    path, maps = stored
    store = open_labels(path)
    write_labels(path, path.parent, CLASSES, [(k, np.rot90(v)) for k, v in maps[::-1]])
    for key, labels in maps:
        np.testing.assert_array_equal(store[key], labels)
        np.testing.assert_array_equal(open_labels(path)[key], np.rot90(labels))
    assert store.keys == ["0.jpg", "1.jpg"]


def test_a_store_in_another_process_refuses_another_file(stored):
    path, maps = stored
    pickled = pickle.dumps(open_labels(path))
    write_labels(path, path.parent, CLASSES, maps[::-1])
    with pytest.raises(UserError, match=r"train\.npy was changed while .* in use; start again"):
        pickle.loads(pickled)


def test_a_file_that_is_written_into_is_noticed(stored):
    path, maps = stored
    store = open_labels(path)
    with open(path, "r+b") as file:
        file.truncate(200)
    with pytest.raises(UserError, match="was changed while its label maps were in use"):
        store[0]


def test_many_threads_read_one_store(tmp_path):
    maps = random_maps([(30, 40)] * 20)
    write_labels(tmp_path / "a.npy", tmp_path, CLASSES, maps)
    store = open_labels(tmp_path / "a.npy")
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(lambda i: store[i % 20], range(400)))
    for index, labels in enumerate(read):
        np.testing.assert_array_equal(labels, maps[index % 20][1])


def test_a_store_that_is_replaced_while_it_is_opened(stored, monkeypatch):
    path, maps = stored
    turned = [(key, np.rot90(labels)) for key, labels in maps[::-1]]

    def late(path):
        monkeypatch.undo()
        write_labels(path, path.parent, CLASSES, turned)
        return read_index(path)

    monkeypatch.setattr("utils.label_maps.store.read_index", late)
    store = open_labels(path)
    for key, labels in turned:
        np.testing.assert_array_equal(store[key], labels)


def test_maps_by_columns_are_refused(tmp_path):
    write_labels(tmp_path / "a.npy", tmp_path, CLASSES, random_maps([(5, 7)] * 2))
    content = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(content.replace(b"False", b"True ", 1))
    with pytest.raises(UserError, match=r"a\.npy"):
        open_labels(tmp_path / "a.npy")


@pytest.mark.parametrize("value", [3, 254])
def test_a_label_without_a_class_is_not_given_away(stored, value):
    path, maps = stored
    content = bytearray(path.read_bytes())
    content[-1] = value
    path.write_bytes(content)
    store = open_labels(path)
    np.testing.assert_array_equal(store[0], maps[0][1])
    with pytest.raises(UserError, match=rf"train\.npy has the label {value} for 1\.jpg.* 0 to 2"):
        store[1]
    assert store.unchecked(1)[-1, -1] == value


@pytest.mark.parametrize(
    "change",
    [
        {"sizes": [[-5, -7], [3, 4]]},
        {"sizes": [[5.0, 7], [3, 4]]},
        {"sizes": [[True, 7], [3, 4]]},
        {"sizes": [[5, 7], [12]]},
        {"sizes": [[47, 1], [0, 4]]},
        {"sizes": [[10**30, 7], [3, 4]]},
        {"sizes": {"5": 7}},
        {"sizes": None},
        {"keys": ["a.jpg", "a.jpg"]},
        {"keys": ["a.jpg", 1]},
        {"keys": "ab"},
        {"keys": ["a.jpg", "\ud800.jpg"]},
        {"keys": ["a.jpg", "a\0.jpg"]},
        {"classes": ["background", "bottle", "can"]},
        {"classes": [{"id": 0, "name": 3}]},
        {"classes": [{"name": "background"}]},
        {"classes": []},
        {"folder": 3},
        {"folder": "../other"},
        {"folder": "/"},
        {"folder": "a\0b"},
        {"reading": {"void": 3}},
        {"made_from": [1]},
        {"made_from": {"file": 3}},
        {"made_from": {"fingerprint": None}},
        {"made_from": {"left_out": 7}},
        {"made_from": {"size": [1, 2, 3]}},
        {"made_from": {"classes": {}}},
    ],
)
def test_wrong_types_in_an_index(stored, change):
    path, _ = stored
    rewrite_index(path, **change)
    with pytest.raises(UserError, match=r"train\.index\.json"):
        open_labels(path)


@pytest.mark.parametrize("key", ["keys", "sizes", "classes", "folder"])
def test_an_index_that_lacks_something(stored, key):
    path, _ = stored
    content = json.loads(index_path(path).read_text())
    del content[key]
    index_path(path).write_text(json.dumps(content))
    with pytest.raises(UserError, match=rf"train\.index\.json is damaged \('{key}' is missing"):
        open_labels(path)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 100_000, "9" * 5000, '{"keys": [' + "9" * 5000, "\xff", ""]
)
def test_json_that_is_nobodys_index(stored, text):
    path, _ = stored
    index_path(path).write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=r"train\.index\.json is damaged"):
        open_labels(path)


def test_an_index_in_a_loop_of_links_or_with_a_name_too_long(stored):
    path, _ = stored
    index_path(path).unlink()
    index_path(path).symlink_to(index_path(path).name)
    with pytest.raises(UserError, match=r"train\.index\.json is damaged"):
        open_labels(path)
    for name in ("a" * 300 + ".npy", "\ud800.npy"):
        with pytest.raises(UserError):
            open_labels(path.with_name(name))


def test_a_link_that_leads_the_pictures_elsewhere(stored, tmp_path_factory):
    path, _ = stored
    (path.parent / "images").symlink_to(tmp_path_factory.mktemp("private"))
    rewrite_index(path, folder="images")
    with pytest.raises(UserError, match="names 'images', which lies outside of"):
        open_labels(path)


def test_pictures_in_the_data_folder_above(tmp_path):
    """The cure: the data folder is named."""
    (tmp_path / "train").mkdir()
    path = tmp_path / "train" / "x.npy"
    write_labels(path, tmp_path, CLASSES, random_maps([(2, 2)]))
    with pytest.raises(UserError, match=r"x\.index\.json names '\.\.', which lies outside of"):
        open_labels(path)
    assert open_labels(path, tmp_path).folder == tmp_path


@pytest.mark.parametrize(
    "header",
    [
        "{",
        "{[]: 1}",
        "",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (-1, 5)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (" + "9" * 60 + ",)}",
        "{'descr': '<u3', 'fortran_order': False, 'shape': (5,)}",
        "{'descr': '|u1', 'fortran_order': [], 'shape': (47,)}",
        "{'descr': [('a', '|u1')], 'fortran_order': False, 'shape': (47,)}",
        "(" * 400,
    ],
)
def test_hostile_headers(stored, header):
    path, _ = stored
    content = path.read_bytes()
    path.write_bytes(content[:10] + header.encode().ljust(117) + b"\n" + content[128:])
    with pytest.raises(UserError, match=r"train\.npy"):
        open_labels(path)


@pytest.mark.parametrize("name", ["train.npy", "train.index.json"])
@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_has_no_end_is_not_read(stored, name, kind):
    path, _ = stored
    place = path.with_name(name)
    place.unlink()
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "device":
        place.symlink_to("/dev/zero")
    else:
        place.mkdir()
    with pytest.raises(UserError, match=name):
        open_labels(path)


def test_a_picture_whose_name_is_no_text(tmp_path):
    labels = np.zeros((2, 2), np.uint8)
    with pytest.raises(UserError, match="is no text; rename"):
        write_labels(tmp_path / "a.npy", tmp_path, CLASSES, [("\udcff.jpg", labels)])


# Run in a process of its own: without the cure it ends by a segmentation fault.
DEEP = """
import sys
from utils.errors import UserError
from utils.label_maps.store import open_labels
try:
    open_labels(sys.argv[1])
except UserError as error:
    print(error)
"""


@pytest.mark.parametrize("end", [b"K\x01s", b"\x85", b"0", b"c_codecs\nencode\nR"])
def test_tuples_two_million_deep(tmp_path, end):
    """As the key of a dictionary, which is asked for its hash; and elsewhere."""
    start = b"\x80\x02}" if end == b"K\x01s" else b"\x80\x02"
    save_bytes(tmp_path / "t.npy", start + b")" + b"\x85" * 2_000_000 + end + b".")
    done = subprocess.run(
        [sys.executable, "-c", DEEP, tmp_path / "t.npy"],
        cwd=PROJECT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "t.npy is not the chapter's file" in done.stdout


def test_tuples_that_share_their_parts(tmp_path):
    """Written out as text this is longer than any memory; it is never asked for its text."""
    bomb = b"(" + b"K\x01" * 100 + b"t" + b"".join(
        b"q%c(" % i + b"h%c" % i * 100 + b"t" for i in range(6)
    )  # fmt: skip
    for pickled in (
        b"\x80\x02cnumpy\ndtype\n" + bomb + b"\x85R.",
        b"\x80\x02c_codecs\nencode\n" + bomb + bomb.replace(b"q", b"q") + b"\x86R.",
        b"\x80\x02}" + bomb + b"K\x01s.",
    ):
        save_bytes(tmp_path / "t.npy", pickled)
        with pytest.raises(UserError, match=r"t\.npy"):
            open_labels(tmp_path / "t.npy")


def test_state_for_what_takes_none(tmp_path):
    """A pickle could leave something behind in the functions that it is given."""
    state = b"}(X\x04\x00\x00\x00leftK\x01u"
    save_bytes(tmp_path / "t.npy", b"\x80\x02c_codecs\nencode\n" + state + b"b.")
    with pytest.raises(UserError, match="it holds something that is no array"):
        open_labels(tmp_path / "t.npy")
