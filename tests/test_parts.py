"""What the networks of the zoo share: maps are enlarged from where their values are."""

import keras
import numpy as np
import pytest
from conftest import hollow, predict, tiny_settings

import zoo
from tools.summary import Reach, macs, reach_after
from zoo.parts import MEANS, EnlargeFromCorners


def noise(*shape):
    return np.random.default_rng(0).normal(0, 1, shape).astype("float32")


def test_old_values_stay_where_their_pixels_are():
    x = noise(2, 4, 5, 3)
    found = keras.ops.convert_to_numpy(EnlargeFromCorners(8)(x))
    assert found.shape == (2, 32, 40, 3)
    np.testing.assert_allclose(found[:, ::8, ::8], x, atol=1e-6)
    # On pictures of 8 k + 1 pixels as with aligned corners, of which Keras has none.
    columns = np.arange(33) / 8
    for channel in range(3):
        expected = np.interp(columns, np.arange(5), x[0, 2, :, channel])
        np.testing.assert_allclose(found[0, 16, :33, channel], expected, atol=1e-6)
    # A ramp stays one up to the last value, and is level from there.
    ramp = np.broadcast_to(np.arange(5.0, dtype="float32")[None, None, :, None], (1, 4, 5, 1))
    expected = np.minimum(np.arange(40) / 8, 4)
    enlarged = keras.ops.convert_to_numpy(EnlargeFromCorners(8)(ramp))[0, :, :, 0]
    np.testing.assert_allclose(enlarged, np.tile(expected, (32, 1)), atol=1e-5)


def test_enlarging_is_counted_and_written_down():
    layer, before, after = EnlargeFromCorners(8), (None, 4, 5, 3), (None, 32, 40, 3)
    layer.build(before)
    assert macs(layer, before, after) == 4 * 32 * 40 * 3
    assert reach_after(layer, Reach(100, 8), before, after) == Reach(108, 1)
    again = EnlargeFromCorners.from_config(layer.get_config())
    assert again.size == (8, 8) and again.compute_output_shape(before) == after


@pytest.mark.long
@pytest.mark.parametrize(
    "name",
    [
        "deeplab-v1",
        "deeplab-v2",
        "deeplab-v3",
        "deeplab-v3plus",
        "fcn8s-resnet50",
        "pspnet",
    ],
)
def test_an_impulse_comes_back_where_it_was(name):
    """The picture and all kernels are the same from both sides of the pixel (96, 96)."""
    keras.utils.set_random_seed(0)
    model = zoo.build(name, (193, 193, 3), 3, tiny_settings(name))
    random = np.random.default_rng(1)
    for weight in model.trainable_weights:
        if len(weight.shape) == 4:
            kernel = keras.ops.convert_to_numpy(weight)
            if not kernel.any():  # layers that score begin with zeros
                kernel = random.normal(0, 0.3, kernel.shape).astype("float32")
            weight.assign(kernel + kernel[::-1] + kernel[:, ::-1] + kernel[::-1, ::-1])
    picture = np.empty((1, 193, 193, 3), "float32")
    picture[:] = np.asarray(MEANS, "float32")  # zero in the network
    picture[0, 95:98, 95:98] = 255
    logits = keras.Model(model.input, model.get_layer("segmentation_crop").output)
    answer = predict(logits, picture)[0]
    # The decoder sees the map of the padding beyond two sides, and zeros beyond the other two.
    inner = slice(32, -32) if name == "deeplab-v3plus" else slice(None)
    seen = answer[inner, inner]
    # All of them, as an impulse that is lost in what padding does at the sides says nothing.
    assert (seen.std((0, 1)) > 1e-3 * np.abs(seen).max()).all()
    for turned in (seen[::-1], seen[:, ::-1]):
        np.testing.assert_allclose(seen, turned, atol=1e-4 * seen.std())


@pytest.mark.parametrize("name", ["gcn", "refinenet-resnet50"])
def test_every_map_is_enlarged_from_its_corners(name):
    """What these see of the padding reaches all of the answer: an impulse says nothing there."""
    model = hollow(lambda: zoo.build(name, (64, 96, 3), 3, tiny_settings(name)))
    found = [layer for layer in model.layers if layer.name.endswith("_enlarge")]
    assert len(found) >= 4 and {type(layer) for layer in found} == {EnlargeFromCorners}
