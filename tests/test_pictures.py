"""utils/pictures.py: every kind of picture comes out upright as (H, W, 3) uint8."""

import numpy as np
import pytest
from PIL import Image

from utils.errors import UserError
from utils.pictures import (
    list_pictures,
    picture_size,
    read_picture,
    resize_labels,
    resize_picture,
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
    deep = GREY.astype(np.uint16) * 256 + 77
    picture = read_picture(save(tmp_path / "a.png", deep))
    np.testing.assert_array_equal(picture, np.stack([GREY] * 3, axis=2))


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


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, orientation, suffix):
    upright = {
        1: RGB,
        2: RGB[:, ::-1],
        3: RGB[::-1, ::-1],
        4: RGB[::-1],
        5: RGB.transpose(1, 0, 2),
        6: np.rot90(RGB, -1),
        7: np.rot90(RGB.transpose(1, 0, 2), 2),
        8: np.rot90(RGB),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"lossless": True} if suffix == "webp" else {}
    path = save(tmp_path / f"a.{suffix}", RGB, exif=exif, **lossless)
    np.testing.assert_array_equal(read_picture(path), upright)
    assert picture_size(path) == upright.shape[:2]


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
