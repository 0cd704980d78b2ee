"""The data generator: sizes, order, augmentation, memory, and the division of the pictures."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from conftest import CLASS_NAMES, assert_same, make_labels, make_picture, make_store, served
from PIL import Image

from augmentation import CLOSE_UPS, augment
from data_generator import DataGenerator, split_keys
from engine.records import AUGMENTATIONS
from fast.feed import read_ahead
from utils.border_weights import border_weights
from utils.classes import VOID, as_content, named
from utils.errors import UserError
from utils.label_maps.fresh import ensure_labels
from utils.label_maps.store import index_path, open_labels, write_labels
from utils.pictures import grey, resize_labels, resize_picture

CLASSES = named(CLASS_NAMES)


def numbers(data: DataGenerator, epochs) -> list[list[int]]:
    """The pictures of each epoch by number: `make_picture` writes it into the first pixel."""
    return [
        [int(picture[0, 0, 0] - 20) // 10 for x in served(data, [epoch])[::2] for picture in x]
        for epoch in epochs
    ]


# What batches are


def test_batches_are_pictures_and_class_ids(store):
    data = DataGenerator(store, size=(24, 32), batch_size=3)
    x, y = data[1]
    assert (x.shape, x.dtype) == ((3, 24, 32, 3), np.uint8)
    assert (y.shape, y.dtype) == ((3, 24, 32), np.uint8)
    np.testing.assert_array_equal(x[0], make_picture(3, (24, 32)))
    np.testing.assert_array_equal(y[2], make_labels(5, (24, 32)))
    assert data.n_classes == 3


def test_pages_of_a_stack_are_pictures(tmp_path):
    """From a TIFF of 12 bits and one of masks to batches; the second page is half as bright."""
    pages = np.stack([np.full((24, 32), value, np.uint16) for value in (4095, 2047, 0)])
    masks = np.zeros((3, 24, 32), np.uint8)
    masks[0, :12], masks[1, 12:], masks[2, :, :5] = 1, 2, VOID
    for folder, values in (("train", pages), ("train_masks", masks)):
        (tmp_path / folder).mkdir()
        tifffile.imwrite(tmp_path / folder / "stack.tif", values, photometric="minisblack")
    data = DataGenerator(ensure_labels(tmp_path / "train_masks", progress=False), size=(24, 32))
    assert data.keys == ["stack.tif#1", "stack.tif#2", "stack.tif#3"]
    ((x, y),) = data
    np.testing.assert_array_equal(x, np.stack([pages // 16] * 3, axis=-1))
    np.testing.assert_array_equal(y, masks)
    assert x.dtype == np.uint8


def test_the_last_batch_is_kept(store):
    data = DataGenerator(store, size=(24, 32), batch_size=3)
    assert len(data) == 3
    assert [len(x) for x, _ in data] == [3, 3, 1]
    assert len(DataGenerator(store, size=(24, 32), batch_size=100)) == 1
    for index in (-1, 3):
        with pytest.raises(IndexError):
            data[index]


def test_pictures_of_all_sizes_come_at_the_networks(tmp_path):
    sizes = [(24, 32), (48, 64), (31, 17), (10, 90)]
    data = DataGenerator(make_store(tmp_path, sizes), size=(20, 36))
    ((x, y),) = data
    assert x.shape == (4, 20, 36, 3) and y.shape == (4, 20, 36)
    for number, size in enumerate(sizes):
        picture = resize_picture(make_picture(number, size), (20, 36))
        np.testing.assert_array_equal(x[number], picture)
        labels = make_labels(number, size)
        np.testing.assert_array_equal(y[number], resize_labels(labels, (20, 36)))
        assert set(np.unique(y[number])) <= set(np.unique(labels))


def test_original_labels_keep_their_size(tmp_path):
    sizes = [(24, 32), (24, 32), (24, 32), (31, 17), (24, 32)]
    store = make_store(tmp_path, sizes)
    data = DataGenerator(store, size=(20, 36), batch_size=2, label_size="original")
    assert len(data) == 4
    assert [x.shape for x, _ in data] == [(n, 20, 36, 3) for n in (2, 1, 1, 1)]
    labels = [labels for _, y in data for labels in y]
    assert_same(labels, [make_labels(number, size) for number, size in enumerate(sizes)])


def test_original_labels_are_not_shuffled_or_changed(store):
    for option in ({"shuffle": True}, {"augment": "mild"}, {"pictures_per_epoch": 3}):
        with pytest.raises(ValueError):
            DataGenerator(store, label_size="original", **option)


def test_files_of_every_kind(tmp_path):
    colours = make_picture(3, (12, 16))
    image = Image.fromarray(colours)
    image.convert("L").save(tmp_path / "grey.png")
    image.convert("RGBA").save(tmp_path / "alpha.png")
    image.quantize(16).save(tmp_path / "palette.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned; shown upright it is 12 high and 16 wide
    image.transpose(Image.Transpose.ROTATE_90).save(
        tmp_path / "turned.jpg", exif=exif, quality=95, subsampling=0
    )
    keys = ["grey.png", "alpha.png", "palette.png", "turned.jpg"]
    labels = make_labels(1, (12, 16))
    write_labels(tmp_path / "l.npy", tmp_path, CLASSES, [(key, labels) for key in keys])
    ((x, _),) = DataGenerator(open_labels(tmp_path / "l.npy"), size=(12, 16))
    assert x.shape == (4, 12, 16, 3)
    assert (x[0] == x[0][..., :1]).all()
    np.testing.assert_array_equal(x[1], colours)
    for picture in x[2:]:
        assert np.abs(picture.astype(int) - colours).max() < 20


@pytest.mark.parametrize("augment", ["none", "mild"])
def test_one_channel_is_grey(store, augment):
    data = DataGenerator(store, size=(24, 32), channels=1, augment=augment)
    assert data[0][0].shape == (4, 24, 32, 1)
    if augment == "none":
        np.testing.assert_array_equal(data[0][0][1], grey(make_picture(1, (24, 32))))
    colours = np.array([[255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
    assert grey(colours)[:, 0].tolist() == [255, 76, 150, 29]


def test_more_channels_than_the_files_have_are_refused(store):
    with pytest.raises(UserError, match="has 3 channels, but 4 are asked for"):
        DataGenerator(store, channels=4)[0]


# Order and augmentation


def test_without_shuffling_the_order_is_that_of_the_keys(store):
    data = DataGenerator(store, keys=["4.png", "1.png", "6.png"], size=(24, 32), batch_size=2)
    assert numbers(data, [0, 1]) == [[4, 1, 6]] * 2


def test_shuffling_depends_on_seed_and_epoch(store):
    def order(seed):
        return numbers(DataGenerator(store, size=(24, 32), shuffle=True, seed=seed), range(3))

    assert order(1) == order(1)
    assert order(1) != order(2)
    assert all(sorted(epoch) == list(range(7)) for epoch in order(1))
    assert order(1)[0] != order(1)[1] != order(1)[2]


@pytest.mark.parametrize("per_epoch", [3, 7, 10, 20])
def test_all_pictures_are_taken_equally_often(store, per_epoch):
    data = DataGenerator(store, size=(24, 32), shuffle=True, pictures_per_epoch=per_epoch)
    epochs = numbers(data, range(7))
    assert [len(epoch) for epoch in epochs] == [per_epoch] * 7
    assert np.bincount(sum(epochs, [])).tolist() == [per_epoch] * 7


def test_any_batch_of_any_epoch_can_be_asked_for(store):
    """Whatever was taken before: so threads can make them, and a resumed run goes on."""
    options = {"size": (24, 32), "batch_size": 2, "shuffle": True, "augment": "mild"}
    options |= {"pictures_per_epoch": 5}
    data = DataGenerator(store, **options)
    expected = served(DataGenerator(store, **options), range(3))
    for epoch, index in ((2, 1), (0, 2), (2, 0), (1, 1), (2, 1)):
        place = 2 * (3 * epoch + index)
        assert_same(data.batch(epoch, index), expected[place : place + 2])
    assert data.epoch == 0
    for index in (-1, 3):
        with pytest.raises(IndexError):
            data.batch(0, index)


def test_an_epoch_that_was_taken_to_its_end_counts(store):
    data = DataGenerator(store, size=(24, 32), batch_size=3)
    data.on_epoch_end()
    assert data.epoch == 0  # as Keras does before the first one
    for index, epoch in ((0, 0), (1, 0), (2, 1)):
        data.on_epoch_begin()
        data[index]
        data.on_epoch_end()
        assert data.epoch == epoch


def test_augmentation_depends_on_seed_epoch_and_place(store):
    def batches(seed, epoch, keys=None):
        options = {"size": (24, 32), "augment": "mild", "keys": keys}
        return served(DataGenerator(store, seed=seed, **options), [epoch])

    assert_same(batches(1, 0), batches(1, 0))
    assert not np.array_equal(batches(1, 0)[0], batches(1, 1)[0])
    assert not np.array_equal(batches(1, 0)[0], batches(2, 0)[0])
    pictures = batches(1, 0, keys=["2.png", "2.png"])[0]
    assert not np.array_equal(pictures[0], pictures[1])


def test_augmentation_and_order_have_random_numbers_of_their_own(store):
    data = DataGenerator(store, size=(24, 32), augment="mild", seed=3)
    x, _ = data[0]
    for words in ((3, 0), (3, 0, 0), (3,)):
        rng = np.random.default_rng(words)
        other, _ = augment(make_picture(0, (24, 32)), make_labels(0, (24, 32)), rng, (24, 32))
        assert not np.array_equal(x[0], other)


def test_close_ups_are_made_when_asked_for(store):
    def batch(kind):
        options = {"size": (24, 32), "pictures_per_epoch": 20, "batch_size": 20}
        return DataGenerator(store, augment=kind, **options)[0]

    (none, far, near), _ = zip(*map(batch, ("none", "mild", "close")), strict=True)
    assert not np.array_equal(none, far) and not np.array_equal(far, near)
    for place in range(20):
        key = place % 7
        labels, rng = make_labels(key, (24, 32)), np.random.default_rng((0, 0, place, 1))
        share = CLOSE_UPS["close"]
        picture, _ = augment(make_picture(key, (24, 32)), labels, rng, (24, 32), share)
        np.testing.assert_array_equal(near[place], picture)


def test_every_augmentation_of_the_command_line_is_known(store):
    assert AUGMENTATIONS == ("none", *CLOSE_UPS, "strong")
    for kind in AUGMENTATIONS:
        assert len(DataGenerator(store, size=(24, 32), augment=kind)[0][0]) == 4


def test_weights_of_the_pixels_are_a_third_part_of_the_batch(store):
    """They are of the labels as these are served: turned, warped and resized."""
    options = {"size": (24, 40), "augment": "strong", "batch_size": 3, "shuffle": True}
    plain = DataGenerator(store, **options)
    weighed = DataGenerator(store, weigh=border_weights, **options)
    for (x, y), (also_x, also_y, weights) in zip(plain, weighed, strict=True):
        assert np.array_equal(x, also_x) and np.array_equal(y, also_y)
        assert weights.shape == y.shape and weights.dtype == np.float32
        for each, labels in zip(weights, y, strict=True):
            assert np.array_equal(each, border_weights(labels))


def test_augmentation_invents_no_label_value(store):
    data = DataGenerator(store, size=(24, 32), augment="mild")
    values = set(np.unique(np.concatenate([y for y in served(data, range(20))[1::2]])))
    assert values == {0, 1, 2, VOID}


# What can be wrong


def test_a_missing_picture_is_named(store):
    (store.folder / "5.png").unlink()
    with pytest.raises(UserError, match="5.png"):
        DataGenerator(store)
    assert len(DataGenerator(store, keys=["0.png"])) == 1


def test_labels_of_another_shape_are_refused(tmp_path):
    store = make_store(tmp_path, [(24, 32)])
    Image.new("RGB", (24, 32)).save(tmp_path / "0.png")
    with pytest.raises(UserError, match="32 high and 24 wide.* 24 high and 32 wide"):
        DataGenerator(store)
    Image.new("RGB", (63, 47)).save(tmp_path / "0.png")  # the same shape, but for rounding
    DataGenerator(store)


def test_no_picture_at_all(store):
    with pytest.raises(UserError, match="no picture"):
        DataGenerator(store, keys=[])


def test_a_damaged_picture_is_named(tmp_path):
    store = make_store(tmp_path, [(24, 32)] * 5)
    content = (tmp_path / "3.png").read_bytes()
    (tmp_path / "3.png").write_bytes(content[: len(content) // 2])  # its header is whole
    data = DataGenerator(store, size=(24, 32), batch_size=1)
    assert data.failure is None
    with pytest.raises(UserError, match="3.png") as raised:
        data[3]
    assert data.failure is raised.value


# Memory


def resident_bytes() -> int:
    """Memory of this process that is in use now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="needs Linux to measure")
def test_a_thousand_pictures_add_less_than_100_mb(tmp_path):
    for number in range(4):
        picture = make_picture(number, (480, 640))
        Image.fromarray(picture).save(tmp_path / f"{number}.jpg")
    for number in range(4, 1000):
        os.link(tmp_path / f"{number % 4}.jpg", tmp_path / f"{number}.jpg")
    # A sparse file takes no room on the disk, but is as long as 1,000 maps.
    path = tmp_path / "labels.npy"
    np.lib.format.open_memmap(path, "w+", np.uint8, (1000, 480, 640))
    index = {
        "keys": [f"{number}.jpg" for number in range(1000)],
        "sizes": [(480, 640)] * 1000,
        "classes": as_content(CLASSES),
        "folder": ".",
    }
    index_path(path).write_text(json.dumps(index))

    before = resident_bytes()
    data = read_ahead(DataGenerator(open_labels(path), shuffle=True), workers=2)
    most = 0
    for number in range(100):  # 400 pictures are 369 MB, and their maps 123 MB
        x, _ = data[number]
        assert x.shape == (4, 480, 640, 3)
        most = max(most, resident_bytes() - before)
    assert most < 100e6


# Dividing


def test_split_keys_divides_at_random():
    keys = [f"{number}.png" for number in range(50)]
    first, second = split_keys(keys, 0.1)
    assert (len(first), len(second)) == (45, 5)
    assert sorted(first + second) == sorted(keys)
    assert second == sorted(second, key=keys.index) and first == sorted(first, key=keys.index)
    assert second not in (keys[:5], keys[-5:], keys[::10])
    assert split_keys(keys, 0.1) == (first, second)


def test_split_keys_at_its_ends():
    assert split_keys(["a", "b"], 0) == (["a", "b"], [])
    for share in (0.01, 0.99):
        assert [len(part) for part in split_keys(["a", "b"], share)] == [1, 1]
    assert split_keys(["a"], 0.5) == (["a"], [])


@pytest.mark.parametrize("augment", ["none", "mild"])
def test_pictures_of_more_channels(tmp_path, augment):
    """Arrays of near infrared and others, as many as are asked for."""
    random, names = np.random.default_rng(0), ["a.npy", "b.npy"]
    for name in names:
        np.save(tmp_path / name, random.integers(0, 256, (24, 32, 6), np.uint8))
    entries = [(name, np.zeros((24, 32), np.uint8)) for name in names]
    write_labels(tmp_path / "labels.npy", tmp_path, named(["background", "a"]), entries)
    store = open_labels(tmp_path / "labels.npy")
    x, y = DataGenerator(store, size=(24, 32), channels=5, augment=augment)[0]
    assert x.shape == (2, 24, 32, 5) and y.shape == (2, 24, 32)
    if augment == "none":
        np.testing.assert_array_equal(x[1], np.load(tmp_path / "b.npy")[..., :5])
    with pytest.raises(UserError, match="has 6 channels, but 7 are asked for"):
        DataGenerator(store, size=(24, 32), channels=7)[0]


def test_labels_that_are_made_again_while_batches_are_read(store):
    """In another order, of which the old index knows nothing: pictures keep their own maps."""
    data = DataGenerator(store, size=(24, 32), batch_size=3)
    before = [y for _, y in data]
    path = store.path
    maps = [(key, np.zeros_like(store[key])) for key in store.keys[::-1]]
    write_labels(path, store.folder, store.classes, maps)
    for (_, y), old in zip(data, before, strict=True):
        np.testing.assert_array_equal(y, old)
    assert not open_labels(path)[0].any()


def test_a_label_without_a_class_ends_the_reading(store):
    content = bytearray(store.path.read_bytes())
    content[-1] = 77
    store.path.write_bytes(content)
    data = DataGenerator(open_labels(store.path), size=(24, 32), batch_size=1)
    with pytest.raises(UserError, match="has the label 77 for"):
        list(map(data.__getitem__, range(len(data))))
