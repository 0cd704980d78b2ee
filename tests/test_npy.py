"""Pictures as `.npy` files: (H, W) and (H, W, C), nothing that runs code."""

import ast
import pickle
import threading

import numpy as np
import pytest

from utils.errors import UserError
from utils.formats.npy import is_picture
from utils.pictures import channels_of, orientation_of, pages_of, picture_size, read_picture

RNG = np.random.default_rng(0)


def save(folder, array, name="a.npy"):
    np.save(folder / name, array)
    return folder / name


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 16])
@pytest.mark.parametrize("order", ["C", "F"])
def test_bytes(tmp_path, channels, order):
    values = RNG.integers(0, 256, (6, 9, channels), dtype=np.uint8)
    path = save(tmp_path, np.asarray(values, order=order))
    picture = read_picture(path, channels=channels)
    np.testing.assert_array_equal(picture, values)
    assert picture.flags.writeable and picture.flags.c_contiguous
    assert not isinstance(picture.base, np.memmap)
    assert picture_size(path) == (6, 9) and channels_of(path) == channels
    assert pages_of(path) == orientation_of(path) == 1
    if channels > 2:
        np.testing.assert_array_equal(read_picture(path), values[..., :3])
        expected = np.rint(values[..., :3] @ np.array([0.299, 0.587, 0.114], np.float32))
        np.testing.assert_array_equal(read_picture(path, channels=1)[..., 0], expected)


@pytest.mark.parametrize("kind", ["<u2", ">u2", "<i4", "<f4", ">f4", "<f8", "<f2"])
def test_deep_values(tmp_path, kind):
    values = RNG.integers(0, 2000, (6, 9, 5)).astype(kind)
    picture = read_picture(save(tmp_path, values), channels=5, scale=(0, 2000))
    np.testing.assert_array_equal(picture, np.rint(values.astype(float) / 2000 * 255))


def test_grey_and_logical(tmp_path):
    values = RNG.integers(0, 256, (6, 9), dtype=np.uint8)
    path = save(tmp_path, values)
    np.testing.assert_array_equal(read_picture(path), np.stack([values] * 3, axis=2))
    np.testing.assert_array_equal(read_picture(path, channels=1), values[..., None])
    logical = read_picture(save(tmp_path, values > 99), channels=1)
    np.testing.assert_array_equal(logical[..., 0], (values > 99) * 255)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_versions_of_the_format(tmp_path, version):
    values = RNG.integers(0, 256, (6, 9, 4), dtype=np.uint8)
    with open(tmp_path / "a.npy", "wb") as file:
        np.lib.format.write_array(file, values, version)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.npy", channels=4), values)


def test_two_channels_are_no_three(tmp_path):
    path = save(tmp_path, np.zeros((6, 9, 2), np.uint8))
    with pytest.raises(UserError, match="has 2 channels, but 3 are asked for.* 2 with --channels"):
        read_picture(path)
    assert read_picture(path, channels=1).shape == (6, 9, 1)


@pytest.mark.parametrize(
    "array, words",
    [
        (np.zeros((4, 60, 90), np.uint8), "4 x 60 x 90, not height x width x channels.*moveaxis"),
        (np.zeros(54, np.uint8), "shape is 54"),
        (np.zeros((6, 9, 3, 1), np.uint8), "6 x 9 x 3 x 1"),
        (np.zeros((0, 9, 3), np.uint8), "0 x 9 x 3"),
        (np.zeros((6, 9), np.complex64), "complex64"),
        (np.zeros((6, 9), "S3"), "something else than an array of numbers"),
        (np.zeros((6, 9), [("a", "u1")]), "something else than an array of numbers"),
    ],
)
def test_what_is_no_picture(tmp_path, array, words):
    path = save(tmp_path, array)
    for read in (read_picture, picture_size, channels_of, pages_of):
        with pytest.raises(UserError, match=rf"a\.npy is no picture \(.*{words}"):
            read(path)
    assert not is_picture(path)


def test_the_cure_of_channels_first(tmp_path):
    first = RNG.integers(0, 256, (4, 60, 90), dtype=np.uint8)
    path = save(tmp_path, np.moveaxis(first, 0, -1))
    np.testing.assert_array_equal(read_picture(path, channels=4)[..., 2], first[2])


def test_pickles_are_not_run(tmp_path):
    class Hostile:
        def __reduce__(self):
            return open, (str(tmp_path / "ran"), "w")

    path = tmp_path / "a.npy"
    np.save(path, np.array([[Hostile()]], dtype=object), allow_pickle=True)
    for read in (read_picture, picture_size):
        with pytest.raises(UserError, match="something else than an array of numbers"):
            read(path)
    assert not (tmp_path / "ran").exists()
    with open(path, "rb") as file:  # the pickle is real
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        pickle.load(file)
    assert (tmp_path / "ran").exists()


def test_half_a_file(tmp_path):
    path = save(tmp_path, np.zeros((6, 9, 4), np.uint8))
    whole = path.read_bytes()
    for length in (3, 7, 9, 50, 127, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"a\.npy"):
            read_picture(path, channels=4)


def test_a_label_store_is_no_picture(tmp_path):
    path = save(tmp_path, np.zeros((6, 9, 4), np.uint8), "train.npy")
    assert is_picture(path)
    (tmp_path / "train.index.json").write_text("{}")
    assert not is_picture(path)
    with pytest.raises(UserError, match=r"train\.npy is a store of label maps"):
        read_picture(path)


def test_too_large_to_be_a_picture(tmp_path):
    """A header alone asks for no memory."""
    with open(tmp_path / "a.npy", "wb") as file:
        shape = {"descr": "|u1", "fortran_order": False, "shape": (10**6, 10**6)}
        np.lib.format.write_array_header_1_0(file, shape)
    for read in (read_picture, picture_size):
        with pytest.raises(UserError, match=r"a\.npy has too many pixels"):
            read(tmp_path / "a.npy")


def test_many_threads_read_at_once(tmp_path, monkeypatch):
    """No `ast`, which fails now and then in threads of Python 3.11."""
    monkeypatch.setattr(ast, "parse", None)
    arrays = [np.full((6, 9, 4), value, np.uint8) for value in range(8)]
    paths = [save(tmp_path, array, f"{i}.npy") for i, array in enumerate(arrays)]
    failed = []

    def work():
        for _ in range(20):
            for path, array in zip(paths, arrays, strict=True):
                if (read_picture(path, channels=4) != array).any():
                    failed.append(path)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


@pytest.mark.parametrize("version", [b"\x01\x20", b"\x02\x01", b"\x04\x00", b"\x00\x00"])
def test_a_version_that_there_is_not(tmp_path, version):
    path = save(tmp_path, np.zeros((6, 9), np.uint8))
    content = path.read_bytes()
    path.write_bytes(content[:6] + version + content[8:])
    with pytest.raises(UserError, match="something else than an array of numbers"):
        read_picture(path)
