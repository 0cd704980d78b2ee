"""utils/pictures.py: every kind of picture comes out upright as (H, W, C) uint8."""

import os
import pickle
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from utils.errors import UserError
from utils.pictures import (
    channels_of,
    find_picture,
    grey,
    list_pictures,
    orientation_of,
    page_keys,
    pages_of,
    picture_finder,
    picture_size,
    pictures_in,
    read_picture,
    resize_labels,
    resize_picture,
    split_key,
    turned,
)

RGB = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
GREY = RGB[..., 0]


def save(path, array, mode=None, **options):
    Image.fromarray(array, mode).save(path, **options)
    return path


def test_colour(tmp_path):
    picture = read_picture(save(tmp_path / "a.png", RGB))
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture, RGB)


def test_grey_gets_three_equal_channels(tmp_path):
    picture = read_picture(save(tmp_path / "a.png", GREY))
    np.testing.assert_array_equal(picture, np.stack([GREY] * 3, axis=2))


def test_transparency_is_dropped(tmp_path):
    rgba = np.dstack([RGB, GREY])
    np.testing.assert_array_equal(read_picture(save(tmp_path / "a.png", rgba)), RGB)
    grey_alpha = np.dstack([GREY, GREY])
    picture = read_picture(save(tmp_path / "b.png", grey_alpha))
    np.testing.assert_array_equal(picture[..., 1], GREY)


def test_palette_with_transparency(tmp_path):
    image = Image.fromarray(np.arange(54, dtype=np.uint8).reshape(6, 9), "L").convert("P")
    image.save(tmp_path / "a.png", transparency=bytes(range(54)))
    picture = read_picture(tmp_path / "a.png")
    np.testing.assert_array_equal(picture[..., 2], np.arange(54).reshape(6, 9))


def test_black_and_white_and_gif(tmp_path):
    image = Image.fromarray(GREY > 100)
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png")[..., 0], (GREY > 100) * 255)
    image.convert("L").save(tmp_path / "a.gif")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.gif")[..., 0], (GREY > 100) * 255)


def test_16_bit(tmp_path):
    deep = np.array([[0, 128, 129, 257 * 100 - 128, 257 * 100 + 129, 65535]], np.uint16)
    picture = read_picture(save(tmp_path / "a.png", deep))
    np.testing.assert_array_equal(picture[..., 1], [[0, 0, 1, 100, 101, 255]])  # a 257th, rounded
    np.testing.assert_array_equal(picture, np.repeat(picture[..., :1], 3, axis=2))


def test_float_tiff_counts_from_0_to_1(tmp_path):
    picture = read_picture(save(tmp_path / "a.tif", (GREY / 255).astype(np.float32)))
    np.testing.assert_array_equal(picture[..., 0], GREY)


def test_cmyk_jpeg(tmp_path):
    red = Image.new("RGB", (16, 8), (250, 10, 10)).convert("CMYK")
    red.save(tmp_path / "a.jpg", quality=95)
    picture = read_picture(tmp_path / "a.jpg")
    assert picture.shape == (8, 16, 3)
    assert np.abs(picture.astype(int) - (250, 10, 10)).max() < 12


def test_the_extension_may_lie(tmp_path):
    save(tmp_path / "a.jpg", RGB, format="PNG")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.jpg"), RGB)
    assert picture_size(tmp_path / "a.jpg") == (6, 9)


def upright_of(frame, orientation):
    """What EXIF says of a frame (H, W, ...), by NumPy."""
    return {
        1: frame,
        2: frame[:, ::-1],
        3: frame[::-1, ::-1],
        4: frame[::-1],
        5: frame.swapaxes(0, 1),
        6: np.rot90(frame, -1),
        7: np.rot90(frame.swapaxes(0, 1), 2),
        8: np.rot90(frame),
    }[orientation]


def exif_of(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def xmp_of(orientation):
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf='
        '"http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
        f'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="{orientation}"/>'
        "</rdf:RDF></x:xmpmeta>"
    )


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, orientation, suffix):
    upright = upright_of(RGB, orientation)
    lossless = {"lossless": True} if suffix == "webp" else {}
    path = save(tmp_path / f"a.{suffix}", RGB, exif=exif_of(orientation), **lossless)
    np.testing.assert_array_equal(read_picture(path), upright)
    assert picture_size(path) == upright.shape[:2]
    assert orientation_of(path) == orientation
    np.testing.assert_array_equal(read_picture(path, turn="raw"), RGB)
    assert picture_size(path, turn="raw") == (6, 9)


@pytest.mark.parametrize("suffix", ["jpg", "avif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_of_lossy_pictures(tmp_path, orientation, suffix):
    large = np.kron(RGB, np.ones((16, 16, 1), np.uint8))
    options = {"quality": 100, "subsampling": "4:4:4"}
    raw = read_picture(save(tmp_path / f"raw.{suffix}", large, **options))
    path = save(tmp_path / f"a.{suffix}", large, exif=exif_of(orientation), **options)
    np.testing.assert_array_equal(read_picture(path), upright_of(raw, orientation))
    np.testing.assert_array_equal(read_picture(path, turn="raw"), raw)
    assert orientation_of(path) == orientation
    assert picture_size(path) == upright_of(raw, orientation).shape[:2]


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "inks.tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_xmp_data_do_not_turn_a_picture(tmp_path, orientation, suffix):
    """As in browsers: nor where there are EXIF data without an orientation, or with another."""
    xmp = xmp_of(orientation)
    if suffix == "png":
        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", xmp)
        options = {"pnginfo": info}
    elif suffix.endswith("tif"):
        options = {"tiffinfo": {700: xmp.encode()}}
    else:
        options = {"xmp": xmp.encode()} | ({"lossless": True} if suffix == "webp" else {})
    without = {"lossless": True} if suffix == "webp" else {}
    image = Image.fromarray(RGB).convert("CMYK" if suffix == "inks.tif" else "RGB")
    path = tmp_path / f"a.{suffix}"
    image.save(path, **without)
    plain = read_picture(path)
    image.save(path, **options)
    assert b"tiff:Orientation" in path.read_bytes()
    for turn in ("exif", "raw"):
        np.testing.assert_array_equal(read_picture(path, turn=turn), plain)
        assert picture_size(path, turn=turn) == (6, 9)
    assert orientation_of(path) == 1
    if suffix.endswith("tif"):
        return  # their tags are their EXIF data
    for exif, value in ((Image.Exif(), 1), (exif_of(3), 3)):
        exif[0x010E] = "a picture"
        path = save(tmp_path / f"b.{suffix}", RGB, exif=exif, **options)
        np.testing.assert_array_equal(read_picture(path), upright_of(plain, value))


def test_the_pictures_that_are_turned_are_named(tmp_path):
    paths = [save(tmp_path / f"{o}.png", RGB, exif=exif_of(o)) for o in (1, 3, 6)]
    paths.append(save(tmp_path / "none.png", RGB))
    (tmp_path / "text.png").write_text("no picture")
    found = turned([*paths, tmp_path / "text.png", tmp_path / "nothing.png"])
    assert found == [(tmp_path / "3.png", 3), (tmp_path / "6.png", 6)]
    with pytest.raises(ValueError, match="turn is 'left'"):
        read_picture(paths[0], turn="left")
    np.testing.assert_array_equal(read_picture(paths[2], turn=None), read_picture(paths[2]))


@pytest.mark.parametrize("least", [(20, 30), (48, 60)])
def test_a_raw_jpeg_no_larger_than_needed(tmp_path, least):
    """`least` is of what is asked for: upright, or the raw frame."""
    path = save(tmp_path / "a.jpg", np.kron(RGB, np.ones((16, 16, 1), np.uint8)), exif=exif_of(6))
    factor = 4 if least[0] == 20 else 2
    assert read_picture(path, least, turn="raw").shape == (96 // factor, 144 // factor, 3)
    assert read_picture(path, least[::-1]).shape == (144 // factor, 96 // factor, 3)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_tiffs_of_any_mode_are_as_pngs(tmp_path, mode, orientation):
    """Given a file's name, Pillow maps uncompressed ones, and mixes up width and height."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    grey = Image.fromarray(RGB[..., 0])
    turned = save(tmp_path / "a.png", RGB[..., 0], exif=exif)
    (grey if mode == "P" else grey.convert("RGB")).convert(mode).save(tmp_path / "a.tif", exif=exif)
    picture = read_picture(tmp_path / "a.tif")
    assert picture.shape[:2] == picture_size(tmp_path / "a.tif") == picture_size(turned)
    np.testing.assert_allclose(picture.astype(int), read_picture(turned).astype(int), atol=1)
    raw, raw_turned = (read_picture(path, turn="raw") for path in (tmp_path / "a.tif", turned))
    np.testing.assert_allclose(raw.astype(int), raw_turned.astype(int), atol=1)
    assert picture_size(tmp_path / "a.tif", turn="raw") == (6, 9)


def test_exif_orientation_of_a_jpeg(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    save(tmp_path / "a.jpg", RGB, exif=exif)
    assert read_picture(tmp_path / "a.jpg").shape == (9, 6, 3)
    assert picture_size(tmp_path / "a.jpg") == (9, 6)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_leaves_a_picture_as_it_is(tmp_path):
    save(tmp_path / "a.jpg", RGB, exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert read_picture(tmp_path / "a.jpg").shape == RGB.shape
    assert picture_size(tmp_path / "a.jpg") == (6, 9)


@pytest.mark.parametrize(
    "least, size",
    [((20, 30), (24, 32)), ((25, 30), (48, 64)), ((48, 65), (96, 128)), ((500, 500), (96, 128))],
)
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_jpeg_no_larger_than_needed(tmp_path, least, size, orientation):
    """At a quarter, half or whole size, upright, and the means of its blocks."""
    y, x = np.mgrid[:96, :128]
    waves = 128 + 60 * np.sin(x / 20) * np.cos(y / 15)
    smooth = np.stack([waves, waves / 2, 255 - waves], axis=2).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    if orientation == 6:
        least, size = least[::-1], size[::-1]
    path = save(tmp_path / "a.jpg", smooth, quality=95, exif=exif)
    whole, picture = read_picture(path), read_picture(path, least)
    assert picture.shape == (*size, 3)
    np.testing.assert_allclose(picture.astype(int), resize_picture(whole, size), atol=6)


# Pictures of more than 8 bits. What scale a data set has is tested in test_scale.py.


def save_png16(path, values):
    """A PNG of (H, W, C) 16-bit values, which Pillow does not write, with its filters 0 and 2."""
    height, width, channels = values.shape
    rows = values.astype(">u2").reshape(height, -1).view(np.uint8)
    above = np.vstack([np.zeros_like(rows[:1]), rows[:-1]])
    lines = b"".join(
        bytes([2 * (y % 2)]) + (rows[y] - above[y] * (y % 2)).tobytes() for y in range(height)
    )
    header = struct.pack(">IIBBBBB", width, height, 16, (0, 4, 2, 6)[channels - 1], 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n"
    for name, data in ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b"")):
        chunk = name + data
        content += struct.pack(">I", len(data)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    path.write_bytes(content)
    return path


DEEP = np.random.default_rng(1).integers(0, 4096, (6, 9, 4)).astype(np.uint16)  # 12 bits


def scaled(values, low, high):
    """What the two values `low` and `high` make of others, in whole numbers."""
    part = (np.asarray(values, np.float64) - low) / (high - low)
    return np.rint(255 * np.clip(part, 0, 1)).astype(np.uint8)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_12_bits_in_a_png_of_16(tmp_path, channels):
    """Colours too, of which Pillow knows the upper bytes alone: 0 to 15."""
    values = DEEP[..., :channels]
    path = save_png16(tmp_path / "a.png", values)
    colours = np.repeat(values[..., :1], 3, axis=2) if channels < 3 else values[..., :3]
    picture = read_picture(path, scale=(0, 4095))
    np.testing.assert_array_equal(picture, scaled(colours, 0, 4095))
    assert picture.max() > 240
    np.testing.assert_array_equal(read_picture(path), scaled(colours, 0, 65535))
    assert channels_of(path) == channels
    if channels > 1:
        four = np.concatenate([colours, values[..., -1:]], axis=2)
        if channels != 3:
            np.testing.assert_array_equal(
                read_picture(path, channels=4, scale=(0, 4095)), scaled(four, 0, 4095)
            )


def test_frames_of_16_bits(tmp_path):
    """Of an animation Pillow keeps the upper bytes; the second frame is not taken for the first."""
    frames = [np.full((6, 9, 3), value, np.uint16) for value in (0x1234, 0xABCD)]
    single = [save_png16(tmp_path / "a.png", frame).read_bytes() for frame in frames]
    start, middle = single[0].split(b"\0\0\0\0IEND")[0], single[1].index(b"IDAT") - 4
    length = struct.unpack(">I", single[1][middle : middle + 4])[0]
    data = single[1][middle + 8 : middle + 8 + length]

    def chunk(name, content):
        body = name + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    def control(number):
        return chunk(b"fcTL", struct.pack(">IIIIIHHBB", number, 9, 6, 0, 0, 1, 1, 0, 0))

    header, image = start[:33], start[33:]
    content = header + chunk(b"acTL", struct.pack(">II", 2, 0)) + control(0) + image + control(1)
    content += chunk(b"fdAT", struct.pack(">I", 2) + data) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(content)
    assert pages_of(tmp_path / "a.png") == 2
    assert read_picture(tmp_path / "a.png")[0, 0].tolist() == [0x12] * 3
    assert read_picture(tmp_path / "a.png", page=1)[0, 0].tolist() == [0xAB] * 3


@pytest.mark.parametrize("turn", ["exif", "raw"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("channels", [1, 3, 4, 5])
def test_deep_tiffs_are_turned(tmp_path, channels, orientation, turn):
    values = np.dstack([DEEP, DEEP[..., 0]])[..., :channels]
    tags = [(274, "H", 1, orientation, True)]
    tifffile.imwrite(
        tmp_path / "a.tif",
        values.squeeze(),
        photometric="minisblack",
        extratags=tags,
        planarconfig="contig" if channels > 1 else None,
    )
    wanted = upright_of(values, orientation) if turn == "exif" else values
    wanted = wanted[..., :3] if channels > 1 else np.repeat(wanted, 3, axis=2)
    picture = read_picture(tmp_path / "a.tif", scale=(0, 4095), turn=turn)
    np.testing.assert_array_equal(picture, scaled(wanted, 0, 4095))
    assert picture_size(tmp_path / "a.tif", turn=turn) == wanted.shape[:2]


def test_two_frames_of_one_camera_stay_comparable(tmp_path):
    """Whole numbers of 32 bits: not by the largest of each frame, which made them alike."""
    frame = np.arange(54, dtype=np.int32).reshape(6, 9) * 70
    dim, bright = tmp_path / "dim.tif", tmp_path / "bright.tif"
    for path, values in ((dim, frame // 4), (bright, frame)):
        tifffile.imwrite(path, values)
        np.testing.assert_array_equal(
            read_picture(path, scale=(0, 4095))[..., 0], scaled(values, 0, 4095)
        )
    assert (
        read_picture(bright, scale=(0, 4095)).max() > 3.9 * read_picture(dim, scale=(0, 4095)).max()
    )
    lowest = read_picture(save(tmp_path / "a.tif", np.array([[0, 2**31 - 1]], np.int32)))
    assert lowest[0, :, 0].tolist() == [0, 255]  # the type's own scale


def test_floats(tmp_path):
    values = np.array([[0, 0.5, 1, 1.001, -0.2, np.nan, np.inf, -np.inf]], np.float32)
    path = save(tmp_path / "a.tif", values)
    assert read_picture(path)[0, :, 1].tolist() == [0, 128, 255, 255, 0, 0, 255, 0]
    counts = save(tmp_path / "b.tif", np.array([[100, 2097.5, 4095, np.nan]], np.float32))
    assert read_picture(counts, scale=(100, 4095))[0, :, 2].tolist() == [0, 128, 255, 0]


def test_8_bits_are_never_scaled(tmp_path):
    path = save(tmp_path / "a.png", RGB)
    np.testing.assert_array_equal(read_picture(path, scale=(0, 4095)), RGB)


@pytest.mark.parametrize("maximum", [4095, 65535])
def test_ppm_of_two_bytes(tmp_path, maximum):
    """Its header tells what white is; values are as if 65535 were."""
    for kind, values in ((b"P5", DEEP[..., :1]), (b"P6", DEEP[..., :3])):
        path = tmp_path / "a.ppm"
        path.write_bytes(kind + b" 9 6 %d\n" % maximum + values.astype(">u2").tobytes())
        colours = np.broadcast_to(values, (6, 9, 3))
        np.testing.assert_array_equal(read_picture(path), scaled(colours, 0, maximum))
        path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises(UserError, match="a.ppm cannot be read"):
            read_picture(path)


# Channels.


def test_grey_is_the_brightness_of_itu_601(tmp_path):
    picture = read_picture(save(tmp_path / "a.png", RGB), channels=1)
    assert picture.shape == (6, 9, 1) and picture.dtype == np.uint8
    expected = np.rint(RGB @ np.array([0.299, 0.587, 0.114], np.float32))
    np.testing.assert_array_equal(picture[..., 0], expected)
    greys = np.arange(256, dtype=np.uint8).reshape(16, 16)
    np.testing.assert_array_equal(grey(np.stack([greys] * 3, axis=2))[..., 0], greys)
    np.testing.assert_array_equal(
        read_picture(save(tmp_path / "b.png", greys), channels=1)[..., 0], greys
    )


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_the_fourth_channel_is_what_is_stored(tmp_path, suffix):
    """Transparency, or whatever was put there: the colours below it are not changed by it."""
    four = np.dstack([RGB, GREY])
    four[0, 0] = (10, 20, 30, 0)
    exact = {"lossless": True, "exact": True} if suffix == "webp" else {}
    path = save(tmp_path / f"a.{suffix}", four, **exact)
    np.testing.assert_array_equal(read_picture(path, channels=4), four)
    np.testing.assert_array_equal(read_picture(path), four[..., :3])
    np.testing.assert_array_equal(read_picture(path, channels=1), grey(four[..., :3]))
    assert channels_of(path) == 4


def test_transparency_in_other_ways(tmp_path):
    grey_alpha = save(tmp_path / "a.png", np.dstack([GREY, RGB[..., 1]]))
    assert channels_of(grey_alpha) == 2
    four = read_picture(grey_alpha, channels=4)
    np.testing.assert_array_equal(four, np.dstack([GREY, GREY, GREY, RGB[..., 1]]))
    np.testing.assert_array_equal(read_picture(grey_alpha, channels=2), four[..., 2:])
    palette = Image.fromarray(np.arange(54, dtype=np.uint8).reshape(6, 9), "L").convert("P")
    palette.save(tmp_path / "b.png", transparency=bytes(range(54)))
    assert channels_of(tmp_path / "b.png") == 4
    four = read_picture(tmp_path / "b.png", channels=4)
    np.testing.assert_array_equal(four[..., 3], np.arange(54).reshape(6, 9))
    palette.save(tmp_path / "c.png")
    assert channels_of(tmp_path / "c.png") == 3
    Image.fromarray(GREY).save(tmp_path / "d.png", transparency=int(GREY[0, 0]))
    assert channels_of(tmp_path / "d.png") == 2
    assert read_picture(tmp_path / "d.png", channels=4)[0, 0, 3] == 0
    inks = Image.new("CMYK", (9, 6))
    inks.save(tmp_path / "e.tif")
    assert channels_of(tmp_path / "e.tif") == 3


@pytest.mark.parametrize(
    "path, has, channels",
    [
        ("a.jpg", "3 channels", 4),
        ("a.jpg", "3 channels", 16),
        ("b.png", "a single channel", 2),
        ("b.png", "a single channel", 4),
    ],
)
def test_too_few_channels(tmp_path, path, has, channels):
    save(tmp_path / path, RGB if path == "a.jpg" else GREY)
    with pytest.raises(UserError, match=f"{path} has {has}, but {channels} are.*3 with --channels"):
        read_picture(tmp_path / path, channels=channels)
    assert read_picture(tmp_path / path, channels=3).shape == (6, 9, 3)  # the cure


@pytest.mark.parametrize("channels", [0, 17, -1, 2.5])
def test_no_such_number_of_channels(tmp_path, channels):
    with pytest.raises(UserError, match="choose 1 to 16"):
        read_picture(save(tmp_path / "a.png", RGB), channels=channels)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 16])
def test_resizing_any_number_of_channels(channels):
    """Each on its own: a fourth of 0 does not make the others black."""
    picture = np.random.default_rng(0).integers(0, 256, (12, 18, channels), dtype=np.uint8)
    picture[..., -1] = 0
    small = resize_picture(picture, (6, 9))
    assert small.shape == (6, 9, channels) and small.dtype == np.uint8
    for index in range(channels):
        alone = np.asarray(Image.fromarray(picture[..., index]).resize((9, 6), 2))
        np.testing.assert_array_equal(small[..., index], alone)


# Pages.


def test_pages_of_a_tiff(tmp_path):
    frames = np.stack([RGB, RGB[::-1], 255 - RGB])
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, frames, photometric="rgb")
    assert pages_of(path) == 3
    for page in range(3):
        np.testing.assert_array_equal(read_picture(path, page=page), frames[page])
    np.testing.assert_array_equal(read_picture(path), frames[0])
    for page in (3, -1):
        for read in (read_picture, picture_size):
            with pytest.raises(UserError, match=f"stack.tif has 3 pages, .* page {page + 1}"):
                read(path, page=page)


def test_pages_of_different_kinds(tmp_path):
    """Each has its own size, type and orientation; one is packed as only Pillow unpacks it."""
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(DEEP[..., 0], metadata=None)
        file.write(RGB[:4], photometric="rgb", extratags=[(274, "H", 1, 6, True)], metadata=None)
        file.write(np.dstack([RGB, RGB]), photometric="rgb", planarconfig="contig", metadata=None)
    assert [picture_size(path, page=page) for page in range(3)] == [(6, 9), (9, 4), (6, 9)]
    assert [channels_of(path, page) for page in range(3)] == [1, 3, 6]
    assert [orientation_of(path, page) for page in range(3)] == [1, 6, 1]
    np.testing.assert_array_equal(read_picture(path, page=1), np.rot90(RGB[:4], -1))
    frames = [Image.fromarray(frame) for frame in (RGB, RGB[::-1])]
    frames[0].save(path, save_all=True, append_images=frames[1:], compression="tiff_lzw")
    np.testing.assert_array_equal(read_picture(path, page=1), RGB[::-1])
    np.testing.assert_array_equal(read_picture(path, page=0), RGB)


def test_smaller_copies_in_a_tiff_are_no_pages(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(RGB[::2, ::2], photometric="rgb", subfiletype=1, metadata=None)  # before it
        file.write(RGB, photometric="rgb", metadata=None)
        file.write(RGB[::2, ::2], photometric="rgb", subfiletype=1, metadata=None)
        file.write(GREY > 100, subfiletype=4, metadata=None)
    assert pages_of(tmp_path / "a.tif") == 1
    np.testing.assert_array_equal(read_picture(tmp_path / "a.tif"), RGB)
    tifffile.imwrite(tmp_path / "b.tif", RGB, photometric="rgb", subfiletype=1)
    np.testing.assert_array_equal(read_picture(tmp_path / "b.tif"), RGB)  # there is no other


@pytest.mark.parametrize("suffix", ["gif", "png", "webp"])
def test_frames_of_an_animation(tmp_path, suffix):
    flat = [np.full((6, 9, 3), value, np.uint8) for value in (0, 100, 255)]
    frames = [Image.fromarray(frame) for frame in flat]
    options = {"lossless": True} if suffix == "webp" else {}
    path = tmp_path / f"a.{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:], **options)
    assert pages_of(path) == 3
    for page in (2, 0, 1):
        np.testing.assert_array_equal(read_picture(path, page=page), flat[page])
    with pytest.raises(UserError, match="has 3 pages, so there is no page 4"):
        read_picture(path, page=3)


def test_the_preview_behind_a_jpeg_is_no_page(tmp_path):
    """As telephones write them."""
    one, other = Image.fromarray(RGB), Image.fromarray(RGB[::-1])
    one.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[other], quality=95)
    assert Image.open(tmp_path / "a.jpg").n_frames == 2
    one.save(tmp_path / "b.jpg", quality=95)
    assert pages_of(tmp_path / "a.jpg") == pages_of(tmp_path / "b.jpg") == 1
    np.testing.assert_array_equal(
        read_picture(tmp_path / "a.jpg"), read_picture(tmp_path / "b.jpg")
    )
    with pytest.raises(UserError, match="has a single page, so there is no page 2"):
        read_picture(tmp_path / "a.jpg", page=1)


def test_names_of_pages(tmp_path):
    touched(tmp_path, "day/stack.tif", "one#2")
    keys = page_keys(tmp_path, "day/stack.tif", 3)
    assert keys == ["day/stack.tif#1", "day/stack.tif#2", "day/stack.tif#3"]
    assert [split_key(key) for key in keys] == [("day/stack.tif", page) for page in range(3)]
    assert page_keys(tmp_path, "day/stack.tif", 1) == ["day/stack.tif"]
    for name in (
        "a.jpg",
        "#1",
        "a.tif#0",
        "a.tif#01",
        "a.tif#x",
        "a.tif#1\u0663",
        "a#",
        "a.tif#-1",
    ):
        assert split_key(name) is None
    assert split_key("a#1#2") == ("a#1", 1)
    with pytest.raises(UserError, match="one#2 has the name by which a page of one is called"):
        page_keys(tmp_path, "one", 2)
    with pytest.raises(UserError, match="leaves"):
        page_keys(tmp_path, "../a.tif", 2)


# What is not asked of Pillow.


def test_no_other_program_reads_a_picture(tmp_path, monkeypatch):
    """An EPS under any name would be given to Ghostscript."""
    path = tmp_path / "a.jpg"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 6\n%%EndComments\nshowpage\n")
    assert Image.open(path).format == "EPS"
    monkeypatch.setattr("subprocess.check_call", None)
    for read in (read_picture, picture_size, channels_of, pages_of, orientation_of):
        with pytest.raises(UserError, match=r"a\.jpg cannot be read as a picture \(unknown\)"):
            read(path)


def test_other_formats_come_whole(tmp_path):
    np.testing.assert_array_equal(read_picture(save(tmp_path / "a.png", RGB), (1, 1)), RGB)


@pytest.mark.parametrize("read", [read_picture, picture_size])
def test_missing_and_broken_files(tmp_path, read):
    with pytest.raises(UserError, match=r"nothing\.jpg does not exist"):
        read(tmp_path / "nothing.jpg")
    (tmp_path / "text.jpg").write_text("no picture")
    with pytest.raises(UserError, match=r"text\.jpg cannot be read"):
        read(tmp_path / "text.jpg")
    with pytest.raises(UserError, match="cannot be read"):
        read(tmp_path)


def test_truncated_file(tmp_path):
    whole = save(tmp_path / "a.png", np.tile(RGB, (40, 40, 1))).read_bytes()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"a\.png cannot be read"):
        read_picture(tmp_path / "a.png")


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "PPM", "TIFF", "AVIF"])
def test_damaged_files(tmp_path, form):
    """Cut anywhere, or with changed bytes, each gives a picture or one sentence."""
    path = tmp_path / "a"
    frames = [Image.fromarray(frame).convert("P") for frame in (RGB, RGB[::-1], 255 - RGB)]
    if form in ("GIF", "PNG", "WEBP", "TIFF"):
        frames[0].save(path, form, save_all=True, append_images=frames[1:])
    else:
        frames[0].convert("RGB").save(path, form, exif=exif_of(6))
    whole = path.read_bytes()
    step = max(1, len(whole) // 60)
    contents = [whole[:length] for length in range(0, len(whole), step)]
    rng = np.random.default_rng(0)
    for _ in range(60):
        content = bytearray(whole)
        for place in rng.integers(0, len(whole), 4):
            content[place] = rng.integers(256)
        contents.append(bytes(content))
    refused = 0
    for content in contents:
        path.write_bytes(content)
        for read in (read_picture, picture_size, pages_of):
            try:
                read(path)
            except UserError as error:
                assert str(path) in str(error)
                refused += 1
    assert refused > 20


def test_resizing_a_picture_averages(tmp_path):
    board = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    small = resize_picture(np.stack([board] * 3, axis=2), (8, 16))
    assert small.shape == (8, 16, 3)
    assert np.abs(small.astype(int) - 127).max() < 20  # without antialiasing: 0 and 255


@pytest.mark.parametrize("size", [(3, 4), (6, 9), (13, 20)])
def test_resizing_labels_invents_no_value(size):
    labels = np.array([[0, 2, 255], [7, 0, 200]], np.uint8).repeat(3, axis=0).repeat(3, axis=1)
    resized = resize_labels(labels, size)
    assert resized.shape == size and resized.dtype == np.uint8
    assert set(np.unique(resized)) <= {0, 2, 7, 200, 255}


def test_enlarging_labels_by_a_whole_factor_repeats_them():
    labels = np.array([[0, 2, 255], [7, 0, 200]], np.uint8)
    np.testing.assert_array_equal(
        resize_labels(labels, (6, 9)), labels.repeat(3, axis=0).repeat(3, axis=1)
    )


def test_list_pictures(tmp_path):
    for name in ("b.JPG", "a.png", ".hidden.png", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()
    assert list_pictures([tmp_path, tmp_path / "notes.txt"]) == [
        tmp_path / "a.png",
        tmp_path / "b.JPG",
        tmp_path / "notes.txt",
    ]
    with pytest.raises(UserError, match="does not exist"):
        list_pictures([tmp_path / "c.png"])
    with pytest.raises(UserError, match="no picture"):
        list_pictures([tmp_path / "empty"])


def test_arrays_in_a_folder(tmp_path):
    """Those of a picture's shape; not label stores, nor what belongs to another picture."""
    np.save(tmp_path / "a.npy", np.zeros((6, 9, 4), np.uint8))
    np.save(tmp_path / "b.npy", np.zeros((6, 9), np.float32))
    np.save(tmp_path / "store.npy", np.zeros((2, 6, 9), np.uint8))
    (tmp_path / "store.index.json").write_text("{}")
    np.save(tmp_path / "old.npy", np.zeros((2, 60, 90), np.uint8))  # a store without its index
    np.save(tmp_path / "row.npy", np.zeros(54, np.uint8))
    np.save(tmp_path / "pickled.npy", np.array({"a.jpg": 3}, dtype=object), allow_pickle=True)
    np.save(tmp_path / "photo.npy", np.zeros((6, 9), np.float32))  # its depth, say
    (tmp_path / "photo.jpg").touch()
    (tmp_path / "text.npy").write_text("no array")
    names = ["a.npy", "b.npy", "photo.jpg"]
    assert pictures_in(tmp_path) == [tmp_path / name for name in names]
    assert list_pictures([tmp_path]) == [tmp_path / name for name in names]


COMPOSED, DECOMPOSED = "k\u00fcche.jpg", "ku\u0308che.jpg"  # of a file from a Mac the latter


def touched(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


@pytest.mark.parametrize(
    "name, file",
    [
        ("a.jpg", "a.jpg"),
        (COMPOSED, DECOMPOSED),
        (DECOMPOSED, COMPOSED),
        ("a.jpg", "a.JPG"),
        ("IMG.JPG", "img.jpg"),
        (COMPOSED.upper(), DECOMPOSED),
        ("A\u030a.png", "\u212b.png"),  # the letter and the unit of length are one character
        (f"{COMPOSED}s/{COMPOSED}", f"{DECOMPOSED}s/{DECOMPOSED}"),
        ("Day/./a.jpg", "day/A.jpg"),
        ("day\\a.jpg", "day/a.jpg"),
        ("./a.jpg", "a.jpg"),
        (".a.jpg", ".A.jpg"),
    ],
)
def test_a_picture_is_found_by_its_name(tmp_path, name, file):
    touched(tmp_path, file, "other.jpg", "b/other.jpg")
    found = find_picture(tmp_path, name)
    assert found.samefile(tmp_path / file)
    assert found.relative_to(tmp_path).as_posix() == (file if name != "./a.jpg" else "a.jpg")
    assert find_picture(tmp_path, "x" + name) is None


def test_the_likest_of_several_files_is_meant(tmp_path):
    touched(tmp_path, COMPOSED, DECOMPOSED, "a.jpg", "A.jpg", "D/c.jpg", "d/C.jpg", "d/b.jpg")
    for name in (COMPOSED, DECOMPOSED, "a.jpg", "A.jpg", "D/c.jpg", "d/C.jpg"):
        assert find_picture(tmp_path, name).relative_to(tmp_path).as_posix() == name
    assert find_picture(tmp_path, "D/B.JPG") == tmp_path / "d" / "b.jpg"
    touched(
        tmp_path, f"e/{DECOMPOSED}", f"e/{COMPOSED.upper()}"
    )  # the accent counts less than case
    assert find_picture(tmp_path, f"e/{COMPOSED}").name == DECOMPOSED
    # Two files could be meant: neither is taken.
    for name in (COMPOSED.upper(), "a.JPG", "D/C.jpg", "d/c.jpg"):
        assert find_picture(tmp_path, name) is None


@pytest.mark.parametrize("name", ["../a.jpg", "/a.jpg", "C:\\a.jpg", "", "https://x.org/a.jpg"])
def test_no_name_leaves_the_folder(tmp_path, name):
    (tmp_path / "data").mkdir()
    (tmp_path / "a.jpg").touch()
    with pytest.raises(UserError, match="leaves the data folder"):
        find_picture(tmp_path / "data", name)


def test_no_link_leaves_the_folder_by_a_name_that_is_alike(tmp_path):
    touched(tmp_path, "a.jpg", "data/b.jpg")
    (tmp_path / "data" / "A.JPG").symlink_to(tmp_path / "a.jpg")
    with pytest.raises(UserError, match="leaves the data folder"):
        find_picture(tmp_path / "data", "a.jpg")


def test_folders_and_what_is_no_name_of_a_file_are_not_found(tmp_path):
    (tmp_path / "a.jpg").mkdir()
    for name in ("a.jpg", "A.jpg", "x" * 300, "data:image/png;base64," + "A" * 5000):
        assert find_picture(tmp_path, name) is None
    assert find_picture(tmp_path / "nowhere", "a.jpg") is None


def test_a_folder_is_read_once_for_all_names(tmp_path, monkeypatch):
    touched(tmp_path, *(f"{index}.JPG" for index in range(50)))
    find, read = pickle.loads(pickle.dumps(picture_finder(tmp_path))), []  # as workers get it
    listdir = os.listdir
    monkeypatch.setattr("os.listdir", lambda folder: read.append(folder) or listdir(folder))
    assert [find(f"{index}.jpg").name for index in range(50)] == [f"{i}.JPG" for i in range(50)]
    assert len(read) == 2  # for the one way of comparing names, and for the other


FORMS = ("PNG", "JPEG", "TIFF", "WEBP", "GIF", "BMP", "PPM", "AVIF", "DDS", "ICO")


@pytest.mark.parametrize("form", FORMS)
def test_damaged_files_of_every_format_are_named_in_a_sentence(tmp_path, form):
    """Whatever its reader raises of it."""
    path, random = tmp_path / "a.jpg", np.random.default_rng(0)
    Image.fromarray(random.integers(0, 256, (20, 28, 3), np.uint8)).save(path, form)
    whole, refused = path.read_bytes(), 0
    for number in range(100):
        content = np.frombuffer(whole, np.uint8).copy()
        spots = random.integers(0, min(len(content), (60, 400)[number % 2]), 4)
        content[spots] = random.integers(0, 256, 4)
        path.write_bytes(content.tobytes()[: len(content) if number % 3 else number * 5])
        for read in (read_picture, picture_size, pages_of, channels_of, orientation_of):
            try:
                read(path)
            except UserError as error:
                assert "a.jpg" in str(error) and "\n" not in str(error)
                refused += 1
    assert refused


@pytest.mark.parametrize(
    "error",
    [NotImplementedError, OverflowError, TypeError, zlib.error, MemoryError],
)
def test_whatever_a_reader_raises_names_the_file(tmp_path, monkeypatch, error):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")

    def fail(*_, **__):
        raise error("of a reader")

    monkeypatch.setattr(Image, "open", fail)
    for read in (read_picture, picture_size, pages_of, channels_of, orientation_of):
        with pytest.raises(UserError, match=r"a\.png cannot be read as a picture .of a reader."):
            read(tmp_path / "a.png")


def test_only_files_are_pictures(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    for path in (tmp_path / "pipe.png", tmp_path / "loop.png", "/dev/zero", "x" * 300 + ".png"):
        with pytest.raises(UserError, match="cannot be read as a picture"):
            read_picture(path)
    with pytest.raises(UserError, match="does not exist"):
        list_pictures(["x" * 300 + ".png"])


def test_bytes_of_deep_pictures_are_bounded_too(tmp_path):
    """A header of 150 bytes may ask for 5 GB."""
    path = tmp_path / "a.npy"
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (10000, 16000, 4), }"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode())
    with pytest.raises(UserError, match="has too many pixels"):
        picture_size(path)
