"""The answer in windows: seamless, that of the network, strip by strip, and little held."""

import tracemalloc
import weakref

import numpy as np
import pytest
from conftest import random_batch, tiny_fcn
from keras import ops

import evaluation
from evaluation import answer
from metrics import resize_bilinear
from tools import windows
from tools.windows import count_windows, in_windows
from utils.pictures import resize_picture

RNG = np.random.default_rng(0)


def rows_of(picture):
    return lambda top, bottom: picture[top:bottom]


def joined(strips, shape):
    """The whole of strips that come in order, without gaps."""
    parts, row = [], 0
    for top, part in strips:
        assert top == row and len(part) and part.dtype == np.float32
        parts.append(part)
        row += len(part)
    whole = np.concatenate(parts)
    assert whole.shape[:2] == tuple(shape[:2])
    return whole


def segmented(ask, picture, size, scale, **options):
    strips = in_windows(ask, picture.shape, rows_of(picture), size, scale, **options)
    return joined(strips, picture.shape)


def each_pixel(pictures):
    """A network that looks at single pixels: (B, H, W, c) -> (B, H, W, 2)."""
    assert pictures.dtype == np.uint8
    values = pictures[..., :1].astype(np.float32) / 255
    return np.concatenate([values, 1 - values], axis=3)


def box(pictures):
    """A network that looks at 3 x 3 pixels, with zeros around: the mean of the first channel."""
    values = np.pad(pictures[..., 0].astype(np.float32) / 255, ((0, 0), (1, 1), (1, 1)))
    height, width = pictures.shape[1:3]
    views = [values[:, y : y + height, x : x + width] for y in range(3) for x in range(3)]
    return np.mean(views, axis=0)[..., None]


def noise(*shape):
    return RNG.integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.7])
def test_windows_are_the_whole_where_the_field_allows(overlap):
    """Only rows and columns at the edges of windows lack a neighbour, and there they differ."""
    picture, size = noise(83, 121, 3), (32, 40)
    got = segmented(box, picture, size, 1, overlap=overlap)
    whole = box(picture[None])[0]
    allowed = np.ones((83, 121), bool)
    for axis, side in enumerate(size):
        length = picture.shape[axis]
        starts = windows._starts(length, side, overlap)
        edges = [s for s in starts if s] + [s + side - 1 for s in starts if s + side < length]
        allowed[tuple([slice(None)] * axis + [edges])] = False
    assert allowed.mean() > 0.5
    np.testing.assert_allclose(got[allowed], whole[allowed], atol=1e-6)
    assert np.abs(got - whole)[~allowed].max() > 1e-2


def test_weights_are_shares_and_the_middle_is_the_network_s_own():
    starts = windows._starts(100, 32, 0.25)
    shares = windows._weights(starts, 32, 0.25)
    total = np.zeros(100)
    for start, share in zip(starts, shares, strict=True):
        total[start : start + 32] += share
    np.testing.assert_allclose(total, 1, atol=1e-6)
    assert shares.min() > 0
    assert (shares[:, 12:20] == 1).all()
    assert (np.diff(shares[1][:8]) > 0).all() and (np.diff(shares[1][-8:]) < 0).all()


def test_windows_are_evenly_spread():
    assert windows._starts(32, 32, 0.25) == windows._starts(5, 32, 0.25) == [0]
    assert windows._starts(33, 32, 0.25) == [0, 1]
    assert windows._starts(57, 32, 0.25) == [0, 12, 25]  # 0, 24, 25 would overlap too
    for length in range(33, 300):
        starts = windows._starts(length, 32, 0.25)
        steps = np.diff(starts)
        assert starts[0] == 0 and starts[-1] == length - 32
        assert steps.max() <= 24 and steps.max() - steps.min() <= 1
    assert len(windows._starts(100, 32, 0.999)) == 69  # a pixel apart at least


def test_a_constant_stays_constant():
    def ask(pictures):
        return np.broadcast_to(np.float32([0.1, 0.3, 0.6]), (*pictures.shape[:3], 3))

    for size in ((1, 1), (70, 131), (200, 31)):
        got = segmented(ask, noise(*size, 3), (32, 48), 0.7)
        np.testing.assert_allclose(got, np.broadcast_to([0.1, 0.3, 0.6], got.shape), atol=1e-6)


def cases():
    random = np.random.default_rng(1)
    sizes = [(1, 1), (1, 200), (150, 1), (32, 48), (80, 120)]
    sizes += [tuple(random.integers(1, 250, 2).tolist()) for _ in range(15)]
    return [
        (size, float(random.uniform(0.3, 2)), number % 5 + 1) for number, size in enumerate(sizes)
    ]


@pytest.mark.parametrize(("size", "scale", "channels"), cases())
def test_any_size_and_scale(monkeypatch, size, scale, channels):
    """Of single pixels, windows say what the whole does, resized as a whole either way."""
    monkeypatch.setattr(windows, "BLOCK", 30_000)  # several blocks and strips
    picture = noise(*size, channels)
    got = segmented(each_pixel, picture, (32, 48), scale)
    inner = tuple(max(1, round(length * scale)) for length in size)
    whole = resize_bilinear(each_pixel(resize_picture(picture, inner)[None]), size)[0]
    difference = np.abs(got - ops.convert_to_numpy(whole))
    assert difference.max() < 1.01 / 255  # which Pillow may round otherwise, see `_reduced`
    number = count_windows(picture.shape, (32, 48), scale)
    assert (number == 1) == (inner[0] <= 32 and inner[1] <= 48)


def test_strips_are_enlarged_as_the_whole():
    """Whatever their heights; to less than the maps' own size too."""
    for inner, size in (((40, 30), (101, 77)), ((40, 30), (17, 91)), ((1, 1), (5, 3))):
        maps = RNG.random((*inner, 3)).astype(np.float32)
        expected = ops.convert_to_numpy(resize_bilinear(maps[None], size))[0]
        for cuts in ([], [1, 2, 3], [13], [*range(1, inner[0])]):
            parts = np.split(maps, [cut for cut in cuts if cut < inner[0]])
            got = joined(windows._enlarged(parts, inner, size), size)
            np.testing.assert_allclose(got, expected, atol=1e-5)


def test_small_pictures_stand_in_the_middle_of_their_mirror_image():
    asked = []

    def ask(pictures):
        asked.append(pictures)
        return each_pixel(pictures)

    picture = noise(20, 41, 3)
    segmented(ask, picture, (32, 48), 1)
    expected = np.pad(picture, ((6, 6), (3, 4), (0, 0)), mode="reflect")
    np.testing.assert_array_equal(asked[0][0], expected)
    assert len(asked) == 1


@pytest.mark.parametrize(("shape", "scale"), [((80, 120), 0.4), ((32, 48), 1), ((16, 24), 2)])
def test_one_window_has_the_answer_of_the_network(shape, scale):
    model = tiny_fcn(seed=0)
    pictures, _ = random_batch(shape, 1)

    def ask(batch):
        return answer(model, batch, (32, 48))

    got = segmented(ask, pictures[0], (32, 48), scale)
    expected = ops.convert_to_numpy(answer(model, pictures))[0]
    assert expected.std() > 0.01
    np.testing.assert_allclose(got, expected, atol=5e-6)  # TensorFlow has places in float32


def test_several_windows_of_a_network(monkeypatch):
    """The same one by one and, as a GPU has them, in batches; each its own in its middle."""
    model = tiny_fcn(seed=0)
    picture = noise(60, 150, 3)
    numbers = []

    def ask(batch):
        numbers.append(len(batch))
        return answer(model, batch, (32, 48))

    alone = segmented(ask, picture, (32, 48), 1)
    assert set(numbers) == {1} and len(numbers) == count_windows((60, 150), (32, 48), 1)
    corner = ops.convert_to_numpy(answer(model, [picture[:32, :48]]))[0]
    np.testing.assert_allclose(alone[:14, :34], corner[:14, :34], atol=1e-5)
    numbers.clear()
    monkeypatch.setattr(evaluation, "gpu_name", lambda: "a GPU")
    together = segmented(ask, picture, (32, 48), 1)
    assert max(numbers) == evaluation.AT_ONCE
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_few_rows_are_held(monkeypatch):
    """Of a picture of 3,000 rows, which are made when they are asked for."""
    monkeypatch.setattr(windows, "BLOCK", 2**13)
    held, most = 0, 0

    def released(number):
        nonlocal held
        held -= number

    def counted(array):
        nonlocal held, most
        held += len(array)
        most = max(most, held)
        weakref.finalize(array, released, len(array))
        return array

    def rows(top, bottom):
        values = np.arange(top, bottom)[:, None, None] % 256
        return counted(np.broadcast_to(values, (bottom - top, 300, 3)).astype(np.uint8).copy())

    heights = []
    tracemalloc.start()
    for _, probabilities in in_windows(each_pixel, (3000, 300, 3), rows, (32, 48), 0.5):
        counted(probabilities)
        heights.append(len(probabilities))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sum(heights) == 3000
    assert most <= 20 and max(heights) <= 3
    assert peak < 1e6  # the map of all windows is 1.8 MB


@pytest.mark.parametrize(("scale", "overlap"), [(0, 0), (np.nan, 0), (1, 1), (1, -0.1)])
def test_what_is_no_scale_or_overlap(scale, overlap):
    picture = noise(8, 8, 3)
    with pytest.raises(ValueError, match="not possible"):
        in_windows(each_pixel, picture.shape, rows_of(picture), (32, 48), scale, overlap)
