"""Ways back to full size: what is equal to what, and to Keras' layers."""

import numpy as np
import pytest
from keras import layers, ops
from PIL import Image

from tools import upsampling as tool
from zoo import upsampling as up
from zoo.pooling import MaxPoolingWithIndices, MaxUnpooling

WAYS = [
    up.transposed_by_matrix,
    up.transposed_by_zeros,
    up.transposed_by_scatter,
    up.transposed_in_phases,
]
CASES = [(1, 1), (1, 2), (2, 2), (3, 1), (3, 2), (3, 3), (4, 2), (5, 2), (5, 4), (2, 3)]  # k and s
OF_KERNEL = pytest.mark.parametrize(("k", "s"), CASES)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def by_keras(layer, x, kernel=None):
    """What a layer of one filter makes of a map (h, w)."""
    x = x[None, :, :, None].astype("float32")
    layer.build(x.shape)
    if kernel is not None:
        layer.set_weights([kernel[:, :, None, None]])
    return ops.convert_to_numpy(layer(x))[0, :, :, 0]


# Without weights


def test_nearest():
    x = noise(4, 5)
    for s in (2, 3):
        y = up.nearest(x, s)
        np.testing.assert_allclose(by_keras(layers.AveragePooling2D(s), y), x, atol=1e-6)
        np.testing.assert_allclose(by_keras(layers.UpSampling2D(s), x), y, atol=1e-6)


def test_bed_of_nails_is_a_transposed_convolution():
    x = noise(4, 5)
    y = up.bed_of_nails(x)
    assert y.sum() == pytest.approx(x.sum()) and (y != 0).sum() == x.size
    kernel = np.array([[1.0, 0.0], [0.0, 0.0]])
    np.testing.assert_array_equal(up.transposed_by_scatter(x, kernel, 2), y)


def test_max_unpooling():
    large = noise(6, 8)
    small, places = up.max_pool(large)
    y = up.max_unpool(small, places)
    np.testing.assert_array_equal(y, np.where(y != 0, large, 0))
    positive = abs(small)
    np.testing.assert_array_equal(up.max_pool(up.max_unpool(positive, places))[0], positive)
    maxima, indices = MaxPoolingWithIndices()(large[None, :, :, None].astype("float32"))
    np.testing.assert_array_equal(indices[0, :, :, 0], places)
    back = MaxUnpooling(6, 8)(maxima, indices)
    np.testing.assert_allclose(ops.convert_to_numpy(back)[0, :, :, 0], y, atol=1e-6)


@pytest.mark.parametrize("s", [2, 3, 4, 8])
def test_bilinear(s):
    x = noise(4, 5)
    expected = by_keras(layers.UpSampling2D(s, interpolation="bilinear"), x)
    np.testing.assert_allclose(up.bilinear(x, s), expected, atol=1e-5)
    np.testing.assert_allclose(up.bilinear(np.full((3, 4), 7.0), s), 7)
    ramp = up.bilinear(np.arange(5.0)[None], s)[0]
    np.testing.assert_allclose(np.diff(ramp[s // 2 : -(s // 2)]), 1 / s)  # as steep all the way


def test_bilinear_lies_between_the_centres_of_pixels():
    y = up.bilinear(np.array([[0.0, 1.0, 2.0, 3.0]]))[0]
    np.testing.assert_allclose(y, [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3])


@pytest.mark.parametrize("s", [2, 4, 8, 16, 32])
def test_bilinear_as_a_transposed_convolution(s):
    """Equal inside; within half a value of the border zeros come in, and resizing stays level."""
    x = noise(4, 5)
    kernel = up.bilinear_kernel(s)
    y = up.same(up.transposed_by_scatter(x, kernel, s), x.shape, s)
    resized = up.bilinear(x, s)
    inside = slice(s // 2, -(s // 2))
    np.testing.assert_allclose(y[inside, inside], resized[inside, inside], atol=1e-9)
    assert abs(y - resized)[: s // 2].max() > 0.01
    layer = layers.Conv2DTranspose(1, 2 * s, s, padding="same", use_bias=False)
    np.testing.assert_allclose(by_keras(layer, x, kernel), y, atol=1e-5)


def test_the_bilinear_kernel_of_2():
    np.testing.assert_array_equal(up.bilinear_kernel(2)[0], [0.0625, 0.1875, 0.1875, 0.0625])


# Transposed convolution


@OF_KERNEL
def test_four_ways_to_the_same_map(k, s):
    x, kernel = noise(4, 5), noise(k, k, seed=1)
    first, *others = [way(x, kernel, s) for way in WAYS]
    assert first.shape == (3 * s + k, 4 * s + k)
    for other in others:
        np.testing.assert_allclose(other, first, atol=1e-12)


@pytest.mark.parametrize("way", WAYS)
@OF_KERNEL
def test_adjoint(way, k, s):
    """<convolve(a), x> = <a, transposed(x)>: which is what "transposed" means."""
    x, kernel = noise(4, 5), noise(k, k, seed=1)
    a = noise(3 * s + k, 4 * s + k, seed=2)
    assert np.sum(up.convolve(a, kernel, s) * x) == pytest.approx(np.sum(a * way(x, kernel, s)))


@OF_KERNEL
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_transposed_convolution_of_keras(k, s, padding):
    x, kernel = noise(4, 5), noise(k, k, seed=1)
    layer = layers.Conv2DTranspose(1, k, s, padding=padding, use_bias=False)
    y = up.transposed_in_phases(x, kernel, s)
    if padding == "same":
        y = up.same(y, x.shape, s)
    elif k < s:  # Keras adds the zeros that "same" adds as well
        y = np.pad(y, (0, s - k))
    np.testing.assert_allclose(by_keras(layer, x, kernel), y, atol=1e-5)


def test_stride_1_is_the_full_convolution():
    """Zeros around alone: the other way to a larger map, beside zeros between."""
    x, kernel = noise(4, 5), noise(3, 3, seed=1)
    full = up.convolve(np.pad(x, 2), kernel[::-1, ::-1])
    np.testing.assert_allclose(up.transposed_by_scatter(x, kernel, 1), full, atol=1e-12)
    layer = layers.Conv2DTranspose(1, 3, use_bias=False)
    np.testing.assert_allclose(by_keras(layer, x, kernel), full, atol=1e-5)


def test_kernel_3_and_stride_2_lose_the_last_row_and_column():
    x, kernel = noise(4, 5), noise(3, 3, seed=1)
    y = up.transposed_by_scatter(x, kernel, 2)  # (9, 11)
    np.testing.assert_array_equal(up.same(y, x.shape, 2), y[:-1, :-1])
    four = up.transposed_by_scatter(x, noise(4, 4), 2)  # (10, 12)
    np.testing.assert_array_equal(up.same(four, x.shape, 2), four[1:-1, 1:-1])


@OF_KERNEL
def test_a_chequerboard_where_the_stride_does_not_divide_the_kernel(k, s):
    """Of a map of ones and a kernel of ones, away from the border."""
    y = up.transposed_by_scatter(np.ones((12, 12)), np.ones((k, k)), s)
    inside = y[k:-k, k:-k]
    assert (len(np.unique(inside)) == 1) == (k % s == 0)
    if (k, s) == (3, 2):
        np.testing.assert_array_equal(np.unique(inside), [1, 2, 4])


def test_a_matrix_is_the_convolution():
    a, kernel = noise(9, 11), noise(3, 3, seed=1)
    matrix = up.convolution_matrix(kernel, a.shape, 2)
    assert matrix.shape == (4 * 5, 9 * 11) and (matrix != 0).sum() == 4 * 5 * 9
    y = up.convolve(a, kernel, 2)
    np.testing.assert_allclose((matrix @ a.ravel()).reshape(4, 5), y, atol=1e-12)
    layer = layers.Conv2D(1, 3, 2, use_bias=False)
    np.testing.assert_allclose(by_keras(layer, a, kernel), y, atol=1e-5)


@pytest.mark.long
def test_the_figure(tmp_path, monkeypatch):
    """It is drawn from what the functions compute: with another map it is another figure."""
    first, other = tmp_path / "first.png", tmp_path / "other.png"
    tool.draw(first)
    monkeypatch.setattr(tool, "POOLED", tool.POOLED[::-1])
    tool.draw(other)
    one, two = (np.asarray(Image.open(path)) for path in (first, other))
    rows = np.flatnonzero((one != two).any((1, 2)))
    assert rows.min() < 310 and 330 < rows.max() < 640  # the map's two rows, not the third
