"""A widened head predicts what the narrow one did, and its copies can learn different things."""

import keras
import numpy as np
import pytest

from engine.weights import save_weights, start_from
from engine.widening import head_filters, narrow_head, widen_head
from model import build_fcn

PICTURES = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype("float32")


def network(filters, n_layers=2):
    keras.utils.set_random_seed(0)
    return build_fcn((64, 64, 3), "resnet11v2", 3, n_layers, filters)


def randomised(filters, n_layers=2):
    """A network whose biases and moving statistics are not those of a new one."""
    fcn, random = network(filters, n_layers), np.random.default_rng(1)
    for weight in fcn.weights:
        if len(weight.shape) == 1:
            weight.assign(random.uniform(0.5, 1.5, weight.shape))
    return fcn


@pytest.mark.parametrize("filters, n_layers", [(16, 2), (8, 1), (11, 2), (4, 3)])
def test_the_same_predictions(tmp_path, filters, n_layers, capsys):
    narrow, wide = randomised(4, n_layers), network(filters, n_layers)
    save_weights(narrow, tmp_path / "narrow.weights.h5", {})
    start_from(wide, tmp_path / "narrow.weights.h5")
    assert "anew: none." in capsys.readouterr().out
    outputs = [np.asarray(fcn(PICTURES, training=False)) for fcn in (narrow, wide)]
    # Other sums of other numbers: rounding alone reaches 1e-5 with some weights.
    np.testing.assert_allclose(*outputs, atol=1e-4)
    assert outputs[0].std() > 0.05


def test_in_training_too():
    """With the statistics of the batch, which copies share."""
    narrow, wide = randomised(4), network(12)
    layers = {layer.name: layer.get_weights() for layer in narrow.layers}
    for name, weights in widen_head(layers, 12).items():
        wide.get_layer(name).set_weights(weights)
    outputs = [np.asarray(fcn(PICTURES, training=True)) for fcn in (narrow, wide)]
    np.testing.assert_allclose(*outputs, atol=1e-4)


def test_copies_share_unequally():
    """Else their gradients would be equal, and the wide head no more than the narrow one."""
    narrow = network(4)
    layers = {layer.name: layer.get_weights() for layer in narrow.layers}
    wide = widen_head(layers, 8)
    kernel = wide["tconv_up_x4"][0]  # (3, 3, 8, 8)
    shares = kernel[..., :4] / layers["tconv_up_x4"][0][:, :, [0, 1, 2, 3] * 2]
    assert shares.std() > 0.05 and 0.2 < shares.min() and shares.max() < 0.8
    np.testing.assert_allclose(
        kernel[..., :4] + kernel[..., 4:],
        np.tile(layers["tconv_up_x4"][0], (1, 1, 2, 1)),
        atol=1e-6,
    )


def test_networks_without_the_chapters_head():
    assert head_filters({"tconv_up_x4": []}) is None
    assert head_filters({layer.name: layer.weights for layer in network(4).layers}) == 4


@pytest.mark.parametrize("filters, n_layers", [(16, 2), (8, 1), (11, 2), (4, 3)])
def test_a_widened_head_is_narrowed_back(tmp_path, filters, n_layers, capsys):
    first, wide, narrow = randomised(3, n_layers), network(filters, n_layers), network(3, n_layers)
    save_weights(first, tmp_path / "narrow.weights.h5", {})
    start_from(wide, tmp_path / "narrow.weights.h5")
    save_weights(wide, tmp_path / "wide.weights.h5", {})
    start_from(narrow, tmp_path / "wide.weights.h5")
    assert capsys.readouterr().out.count("anew: none.") == 2
    for one, other in zip(first.weights, narrow.weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_a_head_that_learnt_wide_is_not_narrowed(tmp_path, capsys):
    """Each kind of weight by itself: a copy that differs is more than a copy."""
    wide = network(12)
    layers = {layer.name: layer.get_weights() for layer in randomised(4).layers}
    layers = widen_head(layers, 12)
    assert narrow_head(layers, 4) and not narrow_head(layers, 3)
    for name in ("conv_fcn_8", "bn_fcn_16", "bn_up_x2", "tconv_up_x2", "tconv_up_x4"):
        for place, weight in enumerate(layers[name]):
            changed = weight.copy()
            changed[(..., 11, 0) if name.startswith("tconv") and not place else (..., 11)] += 0.1
            weights = [*layers[name][:place], changed, *layers[name][place + 1 :]]
            assert narrow_head(layers | {name: weights}, 4) is None, (name, place)
    save_weights(wide, tmp_path / "wide.weights.h5", {})
    start_from(network(4), tmp_path / "wide.weights.h5")
    assert "anew: conv_fcn_8, " in capsys.readouterr().out
