"""One scale for the deep pictures of a data set, found from its files."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from utils.errors import UserError
from utils.formats.tiff import PackedError
from utils.pictures import read_picture
from utils.scale import MOST_FILES, find_scale, scale_of_type, to_bytes

RNG = np.random.default_rng(0)
TWELVE = RNG.integers(0, 4096, (20, 30)).astype(np.uint16)
TWELVE[0, 0] = 4095
FRACTIONS = RNG.random((20, 30)).astype(np.float32)
BYTES = (TWELVE >> 4).astype(np.uint8)


def saved(folder, **arrays):
    """Paths of TIFFs by name, of any type and number of channels."""
    paths = []
    for name, array in arrays.items():
        options = {"planarconfig": "contig"} if array.ndim == 3 else {}
        paths.append(folder / f"{name}.tif")
        tifffile.imwrite(paths[-1], array, photometric="minisblack", **options)
    return paths


def test_pictures_of_8_bits_need_none(tmp_path):
    assert find_scale(saved(tmp_path, a=BYTES, b=np.dstack([BYTES] * 5))) is None
    assert find_scale([]) is None
    (tmp_path / "text.tif").write_text("no picture")
    assert find_scale([tmp_path / "text.tif", tmp_path / "nothing.tif"]) is None


@pytest.mark.parametrize(
    "top, high", [(0, 255), (9, 255), (256, 511), (1023, 1023), (4095, 4095), (4096, 8191)]
)
@pytest.mark.parametrize("kind", ["uint16", "int16", "int32", "uint32", "int64", "uint64"])
def test_whole_numbers_by_the_bits_in_use(tmp_path, kind, top, high):
    """A camera of 12 bits stores 0 to 4095 in 16 bits or 32."""
    dark = np.zeros((20, 30), kind)
    bright = dark.copy()
    bright[3, 4] = top
    assert find_scale(saved(tmp_path, a=dark, b=bright)) == (0, high)


def test_16_bits_in_use(tmp_path):
    assert find_scale(saved(tmp_path, a=TWELVE, b=TWELVE * 16)) == (0, 65535)


def test_a_dark_and_a_bright_frame_have_one_scale(tmp_path):
    """Each by its own largest value, they came out alike."""
    frames = [TWELVE.astype(np.int32) // 200, TWELVE.astype(np.int32)]
    paths = saved(tmp_path, dark=frames[0], bright=frames[1])
    scale = find_scale(paths)
    assert scale == (0, 4095)
    for path, frame in zip(paths, frames, strict=True):
        picture = read_picture(path, scale=scale)
        np.testing.assert_array_equal(picture[..., 0], np.rint(frame / 4095 * 255))


@pytest.mark.parametrize("low, high", [(0, 1), (0, 1.001), (-0.02, 1.04), (0, 0.5), (0.1, 0.3)])
def test_floats_from_0_to_1(tmp_path, low, high):
    """1.001 is no brightness of 1 in 255."""
    paths = saved(tmp_path, a=FRACTIONS * 0, b=low + (high - low) * FRACTIONS)
    assert find_scale(paths) == (0, 1)
    picture = read_picture(paths[1], scale=find_scale(paths))
    expected = np.rint(np.clip(low + (high - low) * FRACTIONS, 0, 1).astype(np.float64) * 255)
    assert np.abs(picture[..., 0] - expected).max() <= 1
    assert picture.std() > 10


@pytest.mark.parametrize("low, high", [(100, 4095), (0, 0.01), (-1000, 3000), (250, 320), (0, 2)])
@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_other_floats_by_percentiles(tmp_path, kind, low, high):
    values = np.linspace(low, high, 2000).reshape(40, 50).astype(kind)
    least, most = find_scale(saved(tmp_path, a=values))
    span = high - low
    assert least == pytest.approx(low + span / 100, abs=span / 500)
    assert most == pytest.approx(high - span / 100, abs=span / 500)


def test_what_is_far_outside_leaves_the_scale(tmp_path):
    values = np.linspace(100, 4095, 20_000).reshape(100, 200).astype(np.float32)
    values[0, :5] = 1e9, -1e9, np.nan, np.inf, -np.inf
    least, most = find_scale(saved(tmp_path, a=values))
    assert 130 < least < 150 and 4040 < most < 4070
    many = np.linspace(0, 200_000, 20_000).reshape(100, 200).astype(np.int32)
    many[0, 0] = 2**31 - 1
    least, most = find_scale(saved(tmp_path, b=many))
    assert 1900 < least < 2100 and 197_000 < most < 199_000
    below = saved(tmp_path, c=np.linspace(-1000, 3000, 2000).reshape(40, 50).astype(np.int16))
    assert find_scale(below) == pytest.approx((-960, 2960), abs=3)


@pytest.mark.parametrize("value", [0.0, 5.0, -3.0, 1e6, np.nan])
def test_a_set_of_one_value(tmp_path, value):
    scale = find_scale(saved(tmp_path, a=np.full((5, 6), value, np.float32)))
    assert scale is None if np.isnan(value) else scale[0] < scale[1]


def test_floats_among_whole_numbers(tmp_path):
    both = saved(tmp_path, a=FRACTIONS, b=TWELVE)
    with pytest.raises(UserError, match=r"a\.tif holds parts of 1 and .*b\.tif .* up to 4095"):
        find_scale(both)
    counts = saved(tmp_path, c=TWELVE.astype(np.float32), d=TWELVE)
    low, high = find_scale(counts)
    assert 10 < low < 80 and 4000 < high < 4095
    # A single float among many is seen, and pictures of 8 bits do not matter.
    many = saved(tmp_path, **{f"w{index}": TWELVE for index in range(70)}, e=BYTES)
    assert find_scale(many) == (0, 4095)
    with pytest.raises(UserError, match="parts of 1"):
        find_scale([*many, both[0]])


def test_of_many_files_some_are_decoded(tmp_path, monkeypatch):
    paths = saved(tmp_path, **{f"{index:03}": TWELVE >> 4 for index in range(3 * MOST_FILES)})
    tifffile.imwrite(paths[-1], TWELVE)  # the first and the last are among them
    read = []
    from utils import picture_files

    decode = picture_files.read_values
    monkeypatch.setattr(
        "utils.picture_files.read_values", lambda *a, **k: read.append(a) or decode(*a, **k)
    )
    shuffled = [paths[index] for index in RNG.permutation(len(paths))]
    for given in (paths, shuffled, [*paths, *paths]):
        read.clear()
        assert find_scale(given) == (0, 4095)
        places = [int(Path(path).stem) for path, _ in read]
        assert len(places) == MOST_FILES and (places[0], places[-1]) == (0, 149)
        assert places == sorted(places) and max(np.diff(places)) <= 4


def test_every_page_counts(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.stack([TWELVE >> 6, TWELVE]), photometric="minisblack")
    assert find_scale([tmp_path / "a.tif"]) == (0, 4095)


def test_transparency_does_not_count(tmp_path):
    """It is full at the largest value of the type, whatever the camera."""
    full = np.full_like(TWELVE, 65535)
    for name, bands in (("a", [TWELVE] * 3), ("b", [TWELVE])):
        path = tmp_path / f"{name}.tif"
        colour = "rgb" if len(bands) == 3 else "minisblack"
        array = np.dstack([*bands, full])
        options = {"photometric": colour, "planarconfig": "contig"}
        tifffile.imwrite(path, array, extrasamples=["unassalpha"], **options)
        assert find_scale([path]) == (0, 4095)
        tifffile.imwrite(path, array, extrasamples=["unspecified"], **options)
        assert find_scale([path]) == (0, 65535)  # a channel like others


def test_arrays(tmp_path):
    np.save(tmp_path / "a.npy", np.dstack([TWELVE] * 5))
    assert find_scale([tmp_path / "a.npy"]) == (0, 4095)


def test_packed_pictures_count(tmp_path, monkeypatch):
    """Compressed in a way that Pillow unpacks alone, and of colours no more than three."""
    Image.fromarray(TWELVE).save(tmp_path / "a.tif", compression="tiff_lzw")
    assert find_scale([tmp_path / "a.tif"]) == (0, 4095)

    def unable(file, page):
        raise PackedError("no imagecodecs")

    monkeypatch.setattr("utils.formats.tiff.read_values", unable)
    values = np.dstack([TWELVE] * 4)
    tifffile.imwrite(
        tmp_path / "b.tif",
        values,
        photometric="rgb",
        planarconfig="contig",
        extrasamples=["unspecified"],
    )
    assert find_scale([tmp_path / "b.tif"]) == (0, 4095)
    picture = read_picture(tmp_path / "b.tif", scale=(0, 4095))
    np.testing.assert_array_equal(picture, np.rint(values[..., :3] / 4095 * 255))


@pytest.mark.parametrize(
    "kind, high",
    [("uint16", 65535), ("int16", 32767), ("int32", 2**31 - 1), ("int8", 127), ("float32", 1)],
)
def test_scale_of_a_type(kind, high):
    assert scale_of_type(np.dtype(kind)) == (0, high)


@pytest.mark.parametrize("kind", ["uint16", ">u2", "int32", "float32", "float64"])
def test_bytes_are_linear_rounded_and_cut_off(kind):
    values = np.array([[0, 99, 100, 116, 117, 2097, 2098, 4095, 5000, 65535]]).astype(kind)
    expected = [[0, 0, 0, 1, 1, 127, 128, 255, 255, 255]]
    picture = to_bytes(values, (100, 4095))
    assert picture.dtype == np.uint8 and picture.tolist() == expected
    assert to_bytes(values, (-100.5, 10)).tolist() == [[232] + [255] * 9]


def test_no_warning_of_what_is_no_number():
    values = np.array([np.nan, np.inf, -np.inf, 1e300, 0.5])
    with np.errstate(all="raise"):
        assert to_bytes(values, (0.0, 1.0)).tolist() == [0, 255, 0, 255, 128]
        assert to_bytes(values, (-1e11, -1e10))[0] == 0  # NaN is low, not 0
