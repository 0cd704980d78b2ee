"""Pictures by rows are those that are read whole; label maps by rows are those written whole."""

import itertools
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from utils import strips
from utils.classes import named
from utils.drawing import write_index_png
from utils.errors import UserError
from utils.pictures import read_picture
from utils.strips import open_rows, write_labels_by_rows

RNG = np.random.default_rng(0)
CLASSES = named(["a", "b", "c"])


@pytest.fixture(autouse=True)
def small_bands(monkeypatch):
    """Of a few rows, so that a small picture has many."""
    monkeypatch.setattr(strips, "BAND", 700)
    monkeypatch.setattr(strips, "KEPT", 2000)


def values_of(kind="u1", channels=3, size=(37, 29)):
    high = 1 if kind[0] == "f" else np.iinfo(kind).max
    return (RNG.random((*size, channels)) * high).astype(kind)


def write(path, values, *, planar="contig", **options):
    """A TIFF of (H, W, C) values."""
    single = values.shape[2] == 1
    stored = values if planar == "contig" else np.moveaxis(values, 2, 0)
    tifffile.imwrite(
        path,
        stored[..., 0] if single else stored,
        planarconfig=None if single else planar,
        **{"photometric": "rgb" if values.shape[2] >= 3 else "minisblack"} | options,
    )
    return path


def check_same(path, by_rows=True, **reading):
    """Rows are those of the whole picture, in any order."""
    expected = read_picture(path, **reading)
    opened = open_rows(path, **reading)
    assert opened.whole is not by_rows
    height = len(expected)
    assert opened.shape == expected.shape
    for top, bottom in [(0, height), (height - 1, height), (0, 1), *sorted_pairs(height, 3)]:
        got = opened.rows(top, bottom)
        assert got.dtype == np.uint8
        np.testing.assert_array_equal(got, expected[top:bottom])


def sorted_pairs(height, count):
    return [sorted(RNG.choice(height + 1, 2, replace=False).tolist()) for _ in range(count)]


LAYOUTS = [{"rowsperstrip": 1}, {"rowsperstrip": 16}, {"rowsperstrip": 99}, {"tile": (16, 32)}]


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("packed", [None, "zlib"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_every_layout(tmp_path, layout, packed, channels):
    """In strips or tiles, planes apart or not, either order of bytes, files of either kind."""
    for planar, order, big in [
        ("contig", "<", False),
        ("contig", ">", True),
        ("separate", ">", False),
        ("separate", "<", True),
    ]:
        if channels == 1 and planar == "separate":
            continue
        path = write(
            tmp_path / "a.tif",
            values_of("u1", channels),
            planar=planar,
            byteorder=order,
            bigtiff=big,
            compression=packed,
            predictor=packed is not None,
            **layout,
        )
        for wanted in {1: (1, 3), 2: (1, 2), 3: (1, 3), 4: (1, 3, 4)}[channels]:
            check_same(path, channels=wanted)


@pytest.mark.parametrize("extra", ["unassalpha", "assocalpha", "unspecified"])
def test_what_lies_behind_the_colours(tmp_path, extra):
    path = write(tmp_path / "a.tif", values_of("u1", 4), extrasamples=[extra], rowsperstrip=4)
    for channels in (1, 3, 4):
        check_same(path, channels=channels)


def test_white_may_be_0(tmp_path):
    options = {"photometric": "miniswhite", "rowsperstrip": 4}
    check_same(write(tmp_path / "a.tif", values_of("u1", 1), **options))


@pytest.mark.parametrize("kind", ["u2", "f4"])
def test_deep_ones_keep_their_scale(tmp_path, kind):
    """By rows as well: the scale is that of the type or the one that is given."""
    path = write(tmp_path / "a.tif", values_of(kind), compression="zlib", rowsperstrip=4)
    check_same(path)
    check_same(path, scale=(0.0, 0.5) if kind == "f4" else (100.0, 40_000.0))


@pytest.mark.parametrize("packed", ["tiff_lzw", "tiff_adobe_deflate", "jpeg", None, "packbits"])
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_what_pillow_writes(tmp_path, mode, packed):
    """Palettes, inks and JPEG with half of the colours too; PackBits is read whole.

    And YCbCr without JPEG, whose strips may lack colours, so that rows have other sizes.
    """
    colours = Image.fromarray(values_of("u1", 4))
    image = colours if mode == "RGBA" else colours.convert("RGB").convert(mode)
    if packed == "jpeg" and mode in ("1", "P", "RGBA"):
        pytest.skip("JPEG has no such pictures")
    image.save(tmp_path / "a.tif", compression=packed, tiffinfo={278: 16})
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert len(file.pages[0].dataoffsets) > 1
    for channels in (1, 3):
        by_rows = packed != "packbits" and (mode != "YCbCr" or packed == "jpeg")
        check_same(tmp_path / "a.tif", by_rows=by_rows, channels=channels)


def test_every_page(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for size in ((37, 29), (20, 31)):
            file.write(values_of(size=size), photometric="rgb", rowsperstrip=4)
    check_same(tmp_path / "a.tif", page=0)
    check_same(tmp_path / "a.tif", page=1)
    with pytest.raises(UserError, match=r"a\.tif has 2 pages"):
        open_rows(tmp_path / "a.tif", page=2)


def test_what_is_turned_is_read_whole(tmp_path):
    path = write(tmp_path / "a.tif", values_of(), rowsperstrip=4, extratags=[(274, "H", 1, 6)])
    check_same(path, by_rows=False)
    check_same(path, by_rows=False, turn="exif")
    check_same(path, turn="raw")


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.npy"])
def test_other_files_are_read_whole(tmp_path, name):
    path, values = tmp_path / name, values_of()
    if name == "a.npy":
        np.save(path, values)
    else:
        Image.fromarray(values).save(path)
    check_same(path, by_rows=False)


def test_more_pixels_than_may_be_read_at_once(tmp_path, monkeypatch):
    """The limit is that of a band."""
    path = write(tmp_path / "a.tif", values_of(), compression="zlib", rowsperstrip=4)
    expected = read_picture(path)
    one = write(tmp_path / "b.tif", values_of(), compression="zlib", rowsperstrip=37)
    check_same(one)
    monkeypatch.setattr(strips, "LARGEST_BAND", 1000)
    check_same(one, by_rows=False)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 150)
    with pytest.raises(UserError, match="too many pixels"):
        read_picture(path)
    np.testing.assert_array_equal(open_rows(path).rows(0, 37), expected)
    with pytest.raises(UserError, match=r"b\.tif has too many pixels"):
        open_rows(one)


@pytest.mark.parametrize("packed", [None, "zlib"])
def test_memory_is_that_of_bands(tmp_path, monkeypatch, packed):
    """7 MB of pixels; uncompressed they are a single strip."""
    monkeypatch.setattr(strips, "BAND", 2**17)
    monkeypatch.setattr(strips, "KEPT", 2**18)
    values = np.broadcast_to(np.arange(8_000)[:, None, None] % 251, (8_000, 300, 3))
    path = write(
        tmp_path / "a.tif",
        values.astype(np.uint8),
        compression=packed,
        rowsperstrip=100 if packed else 8_000,
    )
    open_rows(path)  # tifffile is imported
    tracemalloc.start()
    opened = open_rows(path)
    for top in range(0, 8_000, 150):
        np.testing.assert_array_equal(
            opened.rows(top, min(top + 200, 8_000))[:, 7, 1], values[top : top + 200, 7, 1]
        )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3.5e6


def test_rows_that_are_none(tmp_path):
    opened = open_rows(write(tmp_path / "a.tif", values_of(), rowsperstrip=4))
    for top, bottom in ((-1, 3), (3, 3), (30, 38)):
        with pytest.raises(ValueError, match="no rows"):
            opened.rows(top, bottom)
    with pytest.raises(ValueError, match="read-only"):
        opened.rows(0, 2)[:] = 0  # it is kept


# What strangers write


def changed(path, **tags):
    with tifffile.TiffFile(path, mode="r+b") as file:
        for name, value in tags.items():
            file.pages[0].tags[name].overwrite(value, dtype=4)  # a LONG
    return path


def refused(path, match, most=8e6):
    """Opened and read; one sentence that names the file, and little memory."""
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=match) as caught:
            opened = open_rows(path)
            for top in range(opened.shape[0]):
                opened.rows(top, top + 1)
        assert str(path) in str(caught.value) and "band.tif" not in str(caught.value)
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


def test_missing_files_and_fewer_channels(tmp_path):
    refused(tmp_path / "none.tif", "does not exist")
    refused(tmp_path, "cannot be read")
    path = write(tmp_path / "a.tif", values_of(), rowsperstrip=4)
    with pytest.raises(UserError, match=r"/a\.tif has 3 channels, but 5 are asked for"):
        open_rows(path, channels=5)


@pytest.mark.parametrize("packed", [None, "zlib"])
def test_sides_of_10_to_the_9(tmp_path, packed):
    def path():
        return write(tmp_path / "a.tif", values_of(), compression=packed, rowsperstrip=64)

    longest = 2**18
    refused(changed(path(), ImageWidth=10**9, ImageLength=10**9), r"a\.tif (has|cannot)")
    refused(changed(path(), ImageWidth=10**9), r"a\.tif (has|cannot)")
    refused(changed(path(), ImageLength=10**9, RowsPerStrip=10**9), r"a\.tif (has|cannot)")
    refused(changed(path(), ImageLength=longest), "parts of it are missing")
    tags = {"ImageLength": longest, "RowsPerStrip": longest}
    refused(changed(path(), **tags), r"a\.tif cannot", most=6e7)


def test_tiles_that_are_huge(tmp_path):
    path = write(tmp_path / "a.tif", values_of(), tile=(16, 32), compression="zlib")
    changed(path, TileWidth=2**20, TileLength=2**20, ImageLength=2**18, ImageWidth=2**18)
    refused(path, r"a\.tif has too many pixels")


@pytest.mark.parametrize("offset", [2**20, 2**32 - 1])
def test_offsets_behind_the_end(tmp_path, offset):
    path = write(tmp_path / "a.tif", values_of(), compression="zlib", rowsperstrip=8)
    with tifffile.TiffFile(path) as file:
        places = file.pages[0].dataoffsets
    changed(path, StripOffsets=[*places[:2], offset, *places[3:]])
    refused(path, r"a\.tif cannot be read .*behind its end")


def test_a_strip_as_long_as_the_file(tmp_path):
    """Many strips may name the same bytes, which would be read again and again."""
    path = write(tmp_path / "a.tif", values_of(), compression="zlib", rowsperstrip=8)
    with open(path, "ab") as file:
        file.write(bytes(10**7))
    changed(path, StripByteCounts=[10**7] * 5)
    refused(path, r"a\.tif cannot be read .*10000000 bytes")


def test_a_few_bytes_that_unpack_to_many(tmp_path):
    """100 KB are 100 MB; TIFF's own limit is the number of rows."""
    path = tmp_path / "a.tif"
    bomb = zlib.compress(bytes(10**8), 9)
    tags = [(256, 300), (257, 300), (258, 8), (259, 8), (262, 1), (273, 200), (277, 1), (278, 300)]
    tags.append((279, len(bomb)))
    entries = b"".join(struct.pack("<HHII", code, 4, 1, value) for code, value in tags)
    head = struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(4)
    path.write_bytes(head.ljust(200, b"\0") + bomb)
    refused(path, r"a\.tif cannot be read .*unpacks to more")


def test_damaged_files(tmp_path):
    """Every cut and many changed bytes give the whole picture's rows or one sentence."""
    path, refusals = tmp_path / "a.tif", 0
    for packed in (None, "zlib"):
        write(path, values_of(size=(12, 9)), compression=packed, rowsperstrip=5)
        whole = path.read_bytes()
        contents = [whole[:length] for length in range(4, len(whole), 41)]
        for place, value in itertools.product(range(4, 220, 4), (0, 255)):
            contents.append(whole[:place] + bytes([value]) + whole[place + 1 :])
        for content in contents:
            path.write_bytes(content)
            try:
                opened = open_rows(path)
                values = opened.rows(0, opened.shape[0])
            except UserError as error:
                assert str(path) in str(error)
                refusals += 1
            else:
                np.testing.assert_array_equal(values, read_picture(path))
    assert refusals > 40


# Label maps


@pytest.mark.parametrize("size", [(1, 1), (40, 31), (300, 7)])
def test_maps_are_as_those_written_whole(tmp_path, size):
    labels = RNG.choice(np.uint8([0, 1, 2, 255]), size)
    write_index_png(tmp_path / "whole.png", labels, CLASSES)
    pieces = np.split(labels, [cut for cut in (1, 3, 20) if cut < size[0]])
    write_labels_by_rows(tmp_path / "rows.png", size, iter(pieces), CLASSES)
    with Image.open(tmp_path / "whole.png") as whole, Image.open(tmp_path / "rows.png") as rows:
        rows.verify()  # the sums of every part
    with Image.open(tmp_path / "whole.png") as whole, Image.open(tmp_path / "rows.png") as rows:
        assert rows.mode == whole.mode == "P"
        assert rows.getpalette() == whole.getpalette()
        np.testing.assert_array_equal(rows, labels)


def test_a_map_that_is_not_finished_leaves_the_old_one(tmp_path):
    path = tmp_path / "a.png"
    labels = np.zeros((4, 5), np.uint8)
    write_labels_by_rows(path, (4, 5), [labels], CLASSES)
    before = path.read_bytes()
    for pieces in ([labels[:3]], [labels, labels], [labels[:, :4]], [labels.astype(int)]):
        with pytest.raises(ValueError):
            write_labels_by_rows(path, (4, 5), pieces, CLASSES)

    def stopped():
        yield labels[:2]
        raise UserError("the picture is damaged")

    with pytest.raises(UserError, match="damaged"):
        write_labels_by_rows(path, (4, 5), stopped(), CLASSES)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_maps_are_written_in_the_memory_of_a_strip(tmp_path):
    """100 MB of labels."""
    strip = np.zeros((100, 10_000), np.uint8)
    tracemalloc.start()
    write_labels_by_rows(
        tmp_path / "a.png", (10_000, 10_000), itertools.repeat(strip, 100), CLASSES
    )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1e7
