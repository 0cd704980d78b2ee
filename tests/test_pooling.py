"""Max-pooling with indices and max-unpooling, against a naive loop and by what they promise."""

import keras
import numpy as np
import pytest
from keras import ops

from zoo.pooling import MaxPoolingWithIndices, MaxUnpooling

SIZES = [(8, 10), (7, 9), (45, 6), (1, 1)]


def noise(size, number=3, channels=2, seed=0):
    return np.random.default_rng(seed).normal(size=(number, *size, channels)).astype("float32")


def pool(maps, dtype="float32"):
    return map(ops.convert_to_numpy, MaxPoolingWithIndices(dtype=dtype)(maps))


def unpool(values, places, size):
    return ops.convert_to_numpy(MaxUnpooling(*size)(values, places))


def naive(maps):
    """By loops: the maxima, their places, and the maxima at their places among zeros."""
    number, height, width, channels = maps.shape
    maxima = np.zeros((number, -(-height // 2), -(-width // 2), channels), maps.dtype)
    places, sparse = np.zeros(maxima.shape, np.uint8), np.zeros_like(maps)
    for picture, row, column, channel in np.ndindex(maxima.shape):
        window = maps[picture, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2, channel]
        y, x = np.unravel_index(np.argmax(window), window.shape)
        maxima[picture, row, column, channel] = window[y, x]
        places[picture, row, column, channel] = 2 * y + x
        sparse[picture, 2 * row + y, 2 * column + x, channel] = window[y, x]
    return maxima, places, sparse


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_what_lies_beyond_an_edge_is_finite(dtype, monkeypatch):
    """Of -inf ONNX, which selects by multiplying, makes NaN."""
    beyond, pad = [], ops.pad

    def watched(maps, width, constant_values):
        beyond.append(np.asarray(constant_values, dtype))
        return pad(maps, width, constant_values=constant_values)

    monkeypatch.setattr("zoo.pooling.ops.pad", watched)
    pool(noise((7, 9)).astype(dtype), dtype)
    assert len(beyond) == 1 and np.isfinite(beyond[0])


@pytest.mark.parametrize("size", SIZES)
def test_equal_to_a_loop(size):
    maps = noise(size)
    maxima, places, sparse = naive(maps)
    found, where = pool(maps)
    np.testing.assert_array_equal(found, maxima)
    np.testing.assert_array_equal(where, places)
    np.testing.assert_array_equal(unpool(found, where, size), sparse)


@pytest.mark.parametrize("size", SIZES)
def test_maxima_are_those_of_keras(size):
    maps = noise(size)
    ours, _ = pool(maps)
    np.testing.assert_array_equal(ours, keras.layers.MaxPooling2D(2, padding="same")(maps))


def test_a_batch_of_three_is_three_of_one():
    maps = noise((7, 9))
    found, where = pool(maps)
    together = unpool(found, where, (7, 9))
    for index in range(3):
        one, places = pool(maps[index : index + 1])
        np.testing.assert_array_equal(unpool(one, places, (7, 9))[0], together[index])


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_of_equal_values_the_first_is_the_maximum(dtype):
    for size in SIZES:
        found, where = pool(np.ones((2, *size, 3), "float32"), dtype)
        assert not where.any()
        sparse = unpool(found.astype("float32"), where, size)
        first = np.zeros(size)
        first[::2, ::2] = 1
        np.testing.assert_array_equal(
            sparse, np.broadcast_to(first[None, :, :, None], (2, *size, 3))
        )


@pytest.mark.parametrize("size", SIZES)
def test_pooling_takes_out_what_unpooling_put_in(size):
    maps = noise(size)
    _, where = pool(maps)
    values = np.abs(noise(where.shape[1:3], seed=1))
    sparse = unpool(values, where, size)
    again, _ = pool(sparse)
    np.testing.assert_array_equal(again, values)
    assert (sparse != 0).sum() == values.size


def test_a_value_follows_the_maximum_of_its_window():
    """What a network that enlarges without the indices does not do."""
    maps = noise((2, 2), number=1, channels=1)
    for permutation in ([3, 1, 0, 2], [1, 0, 3, 2], [2, 3, 1, 0]):
        moved = maps.reshape(1, 4, 1)[:, permutation].reshape(1, 2, 2, 1)
        _, where = pool(moved)
        sparse = unpool(np.full((1, 1, 1, 1), 5, "float32"), where, (2, 2))
        assert np.argmax(sparse) == np.argmax(moved) and sparse.sum() == 5


def gradient(layers_behind, start):
    """Of the sum of what comes of a map `start` (1, H, W, C): a step of plain descent at rate 1."""
    size = start.shape[1:]
    inputs = keras.Input((1,))
    dense = keras.layers.Dense(start.size, use_bias=False)  # for a 1 its kernel is the map
    outputs = layers_behind(keras.layers.Reshape(size)(dense(inputs)))
    model = keras.Model(inputs, outputs)
    dense.set_weights([start.reshape(1, -1)])
    model.compile(keras.optimizers.SGD(1.0), lambda _, outputs: ops.sum(outputs))
    model.train_on_batch(np.ones((1, 1), "float32"), np.zeros((1, 1), "float32"))
    return (start.reshape(1, -1) - dense.get_weights()[0]).reshape(size)


@pytest.mark.parametrize("constant", [False, True])
def test_only_the_maximum_gets_the_gradient(constant):
    """Of equal values the first; a maximum over axes would give each of them a share."""
    maps = np.ones((1, 7, 9, 2), "float32") if constant else noise((7, 9), number=1)
    expected = naive(maps)[2][0] != 0
    got = gradient(lambda x: MaxPoolingWithIndices()(x)[0], maps)
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_the_gradient_of_unpooling_comes_from_the_places():
    maps = noise((7, 9), number=1)
    rates = noise((7, 9), number=1, seed=1)

    def back(x):
        return MaxUnpooling(7, 9)(*MaxPoolingWithIndices()(x)) * rates

    expected = np.where(naive(maps)[2][0] != 0, rates[0], 0)
    np.testing.assert_allclose(gradient(back, maps), expected, atol=1e-5)


def test_what_is_not_finite_comes_through():
    maps = np.zeros((1, 2, 4, 1), "float32")
    maps[0, :, :2], maps[0, 1, 3] = np.nan, np.inf
    found, _ = pool(maps)
    assert np.isnan(found[0, 0, 0, 0]) and np.isinf(found[0, 0, 1, 0])
