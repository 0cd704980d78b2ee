"""The texts of an HDF5 file, looked at before HDF5 would read them for ever."""

import struct

import h5py
import numpy as np
import pytest

from engine.heaps import HEAD, check_heaps
from engine.weights import read_network
from utils.errors import UserError


@pytest.fixture
def path(tmp_path):
    """A file with texts of several lengths in its attributes, and so many that they fill heaps."""
    with h5py.File(tmp_path / "x.weights.h5", "w") as file:
        for number in range(40):
            file.attrs[f"text{number}"] = "a" * (number * 37)
        file.create_dataset("numbers", data=np.arange(1000))
    return tmp_path / "x.weights.h5"


def collections(content: bytes) -> list[list[int]]:
    """Where the objects of each collection begin."""
    found, start = [], content.find(HEAD)
    while start >= 0:
        size = struct.unpack_from("<Q", content, start + 8)[0]
        places, place = [], start + 16
        while place + 16 <= start + size:
            places.append(place)
            number, _, _, length = struct.unpack_from("<HHIQ", content, place)
            place += length if number == 0 else 16 + (length + 7) // 8 * 8
        found.append(places)
        start = content.find(HEAD, start + 8)
    return found


def test_what_hdf5_writes_is_sound(path):
    content = path.read_bytes()
    assert len(collections(content)) > 1 and sum(map(len, collections(content))) > 40
    check_heaps(path)


@pytest.mark.parametrize(("number", "size"), [(0, 0), (1, 2**64 - 16), (1, 2**64 - 20)])
def test_an_object_over_which_hdf5_would_step_for_ever(path, number, size):
    content = bytearray(path.read_bytes())
    place = collections(content)[0][0]
    struct.pack_into("<HHIQ", content, place, number, 0, 0, size)
    content[place - 11] = 7  # of the reserved bytes, at which HDF5 does not look
    path.write_bytes(content)
    with pytest.raises(ValueError, match="texts are damaged"):
        check_heaps(path)
    with pytest.raises(UserError, match="x.weights.h5 is not a whole HDF5 weights file"):
        read_network(path)


@pytest.mark.parametrize("size", [2**40, 2**63])
def test_other_damage_is_found_by_hdf5(path, size):
    content = bytearray(path.read_bytes())
    struct.pack_into("<Q", content, collections(content)[0][3] + 8, size)
    path.write_bytes(content)
    check_heaps(path)
    with pytest.raises(UserError, match="x.weights.h5"):
        read_network(path)


def test_a_file_that_ends_within_its_texts(path):
    content = path.read_bytes()
    path.write_bytes(content[: collections(content)[0][5] + 3])
    check_heaps(path)  # HDF5 misses the rest by itself
    path.write_bytes(b"")
    check_heaps(path)
