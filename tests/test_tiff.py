"""TIFFs of any number of channels and any type; which of them Pillow may read."""

import itertools

import numpy as np
import pytest
import tifffile
from PIL import Image

from utils.errors import UserError
from utils.formats.tiff import PackedError
from utils.picture_files import read_header, read_values
from utils.pictures import channels_of, picture_size, read_picture

RNG = np.random.default_rng(0)
KINDS = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"]


def values_of(kind, channels):
    """(5, 6, C) values that need the bits of their type, and its sign."""
    if kind[0] == "f":
        return (RNG.random((5, 6, channels)) * 3 - 1).astype(kind)
    info = np.iinfo(kind)
    return RNG.integers(info.min, info.max, (5, 6, channels), kind, endpoint=True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 16])
def test_every_layout(tmp_path, kind, channels):
    """Values come as they were stored, whatever the order, the compression, and the extras."""
    path = tmp_path / "a.tif"
    values = values_of(kind, channels)
    count = 0
    for planar, colour, extra, order, packed, big in itertools.product(
        ("contig", "separate"),
        ("minisblack", "rgb"),
        (None, "unspecified", "unassalpha"),
        "<>",
        (None, "zlib"),
        (False, True),
    ):
        own = 3 if colour == "rgb" else 1
        if channels < own or (channels == own and extra) or (channels == 1 and planar != "contig"):
            continue
        if big and (packed or order == "<"):
            continue
        stored = values if planar == "contig" else np.moveaxis(values, 2, 0)
        tifffile.imwrite(
            path,
            stored[..., 0] if channels == 1 else stored,
            photometric=colour,
            planarconfig=None if channels == 1 else planar,
            extrasamples=extra and [extra] + ["unspecified"] * (channels - own - 1),
            byteorder=order,
            compression=packed,
            predictor=packed is not None and kind[0] != "f" and kind[1] != "8",
            bigtiff=big,
        )
        header = read_header(path)
        assert (header.size, header.channels, header.dtype) == ((5, 6), channels, kind)
        for wanted in (3, 16):
            got, _ = read_values(path, channels=wanted)
            assert got.dtype == kind
            np.testing.assert_array_equal(got, values[..., : got.shape[2]])
            assert got.shape[2] >= min(channels, wanted) or header.alpha
        count += 1
    assert count >= 5


@pytest.mark.parametrize("packed", ["tiff_lzw", "packbits", "tiff_adobe_deflate", None])
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"])
def test_what_pillow_writes(tmp_path, mode, packed):
    """Packed in ways that tifffile does not unpack as well."""
    greys = RNG.integers(0, 256, (5, 6), dtype=np.uint8)
    colours = RNG.integers(0, 256, (5, 6, 4), dtype=np.uint8)
    images = {
        "1": Image.fromarray(greys > 99),
        "P": Image.fromarray(greys).convert("P"),
        "LA": Image.fromarray(colours[..., :2]),
        "RGBA": Image.fromarray(colours),
        "I;16": Image.fromarray(greys.astype(np.uint16) * 257),
        "I": Image.fromarray(greys.astype(np.int32) * 8421504),
        "F": Image.fromarray((greys / 255).astype(np.float32)),
    }
    image = images.get(mode) or Image.fromarray(colours[..., :3]).convert(mode)
    image.save(tmp_path / "a.tif", compression=packed)
    expected = np.asarray(image.convert("RGB")) if mode not in ("I;16", "I", "F") else greys
    expected = np.stack([expected] * 3, axis=2) if expected.ndim == 2 else expected
    picture = read_picture(tmp_path / "a.tif")
    np.testing.assert_allclose(picture.astype(int), expected.astype(int), atol=mode == "I")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.tif", channels=1).shape, (5, 6, 1))


@pytest.fixture
def packed(monkeypatch):
    """Whatever is read is packed in a way that Pillow unpacks alone."""

    def unable(file, page):
        raise PackedError("it requires the 'imagecodecs' package")

    monkeypatch.setattr("utils.formats.tiff.read_values", unable)


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_colours_of_16_bits_by_pillow(tmp_path, packed, channels, order, compression):
    """It is asked twice: for the upper bytes and for the lower ones."""
    values = values_of("u2", channels)
    path = tmp_path / "a.tif"
    options = {"photometric": "rgb", "planarconfig": "contig", "compression": compression}
    tifffile.imwrite(path, values, byteorder=order, **options)
    got, alpha = read_values(path, channels=channels)
    np.testing.assert_array_equal(got, values)
    assert alpha == (channels == 4)


@pytest.mark.parametrize("kind", ["u1", "u2", "i2", "i4", "f4"])
@pytest.mark.parametrize("order", "<>")
def test_greys_by_pillow(tmp_path, packed, kind, order):
    """Pillow exchanges the bytes of some when they are compressed: these are not given to it."""
    values = values_of(kind, 1)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, values[..., 0], byteorder=order, compression="zlib")
    if order == ">" and kind in ("i2", "i4", "f4"):
        with pytest.raises(UserError, match="imagecodecs"):
            read_values(path)
    else:
        got, _ = read_values(path)
        assert got.dtype == kind
        np.testing.assert_array_equal(got, values)


def test_an_unknown_fourth_channel_by_pillow(tmp_path):
    """It drops what is no transparency: then the colours are read, and four channels are not."""
    colours = RNG.integers(0, 256, (5, 6, 3), dtype=np.uint8)
    image = Image.fromarray(colours).convert("RGBX")
    image.save(tmp_path / "a.tif", compression="tiff_lzw")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.tif"), colours)
    assert channels_of(tmp_path / "a.tif") == 4
    try:
        four = read_picture(tmp_path / "a.tif", channels=4)
    except UserError as error:
        assert "imagecodecs" in str(error)
    else:
        np.testing.assert_array_equal(four[..., :3], colours)


def test_near_infrared_behind_the_colours(tmp_path):
    """A fourth channel that is no transparency, which Pillow drops."""
    values = values_of("u1", 4)
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, values, photometric="rgb", planarconfig="contig", extrasamples=["unspecified"]
    )
    np.testing.assert_array_equal(read_picture(path, channels=4), values)
    np.testing.assert_array_equal(read_picture(path), values[..., :3])
    assert channels_of(path) == 4


def test_colours_multiplied_with_transparency_are_divided_again(tmp_path):
    values = np.zeros((5, 6, 4), np.uint8)
    values[:] = (50, 100, 25, 128)
    tifffile.imwrite(
        tmp_path / "a.tif",
        values,
        photometric="rgb",
        extrasamples=["assocalpha"],
        planarconfig="contig",
    )
    assert read_picture(tmp_path / "a.tif")[0, 0].tolist() == [99, 199, 49]
    tifffile.imwrite(tmp_path / "b.tif", values[..., 1:4:2], extrasamples=["assocalpha"])
    for channels, pixel in ((1, [199]), (2, [199, 128]), (3, [199] * 3)):
        picture = read_picture(tmp_path / "b.tif", channels=channels)
        assert picture.shape == (5, 6, channels) and picture[0, 0].tolist() == pixel


def test_white_may_be_0(tmp_path):
    values = values_of("u1", 1)[..., 0]
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="miniswhite")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.tif")[..., 0], 255 - values)


def unpackable(path):
    """A TIFF of five channels that says it is packed by LZW."""
    tifffile.imwrite(path, values_of("u1", 5), photometric="minisblack", planarconfig="contig")
    with tifffile.TiffFile(path, mode="r+b") as file:
        file.pages[0].tags["Compression"].overwrite(5)
    return path


def test_what_is_packed_otherwise(tmp_path):
    try:
        import imagecodecs  # noqa: F401
    except ImportError:
        pass
    else:
        pytest.skip("imagecodecs is installed")
    path = unpackable(tmp_path / "a.tif")
    assert picture_size(path) == (5, 6)
    with pytest.raises(UserError, match=r"a\.tif is packed .*imagecodecs.* with Deflate"):
        read_picture(path, channels=5)


def test_complex_numbers_and_volumes_are_no_pictures(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((5, 6), np.complex64))
    with pytest.raises(UserError, match=r"a\.tif cannot be read as a picture \(it holds complex64"):
        picture_size(path)
    tifffile.imwrite(path, np.zeros((16, 16, 16), np.uint8), tile=(16, 16, 16), volumetric=True)
    with pytest.raises(UserError, match=r"a\.tif cannot be read as a picture"):
        read_picture(path)


def test_missing_strips_are_not_filled_in(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, values_of("u1", 5), planarconfig="contig", rowsperstrip=5)
    with tifffile.TiffFile(path, mode="r+b") as file:
        file.pages[0].tags["ImageLength"].overwrite(10)
    with pytest.raises(UserError, match=r"a\.tif .*parts of it are missing"):
        read_picture(path, channels=5)


def test_too_large_to_be_a_picture(tmp_path):
    """A header alone asks for no memory."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, values_of("f8", 1)[..., 0])
    with tifffile.TiffFile(path, mode="r+b") as file:
        for name in ("ImageWidth", "ImageLength"):
            file.pages[0].tags[name].overwrite(60_000)
    with pytest.raises(UserError, match=r"a\.tif has too many pixels"):
        read_picture(path)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("kind", ["u1", "u2", "f8"])
def test_damaged_files(tmp_path, kind):
    """Every cut and many changed bytes give a picture or one sentence."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path,
        values_of(kind, 5),
        photometric="minisblack",
        planarconfig="contig",
        compression="zlib",
    )
    whole = path.read_bytes()
    contents = [whole[:length] for length in range(4, len(whole), 9)]
    for place in range(4, 220, 2):
        for value in (0, 1, 255):
            contents.append(whole[:place] + bytes([value]) + whole[place + 1 :])
    refused = 0
    for content in contents:
        path.write_bytes(content)
        try:
            assert read_picture(path, channels=5).shape[2] == 5
        except UserError as error:
            assert str(path) in str(error)
            refused += 1
    assert refused > 30
