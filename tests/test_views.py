"""Mirroring: the mean of the answers to a picture and to its mirror image."""

from functools import partial

import keras
import numpy as np
import pytest
from conftest import predict, random_batch, tiny_fcn

from evaluation import answer, count_batch, segment_objects
from fast.folding import fold
from metrics import count_confusions
from tools.views import VIEWS, flip

PICTURES = random_batch(seed=1)[0]


def tiny():
    return tiny_fcn(backbone="resnet11v2", layers=2, filters=8, seed=0)


def test_the_mean_of_both_answers():
    model = tiny()
    straight = predict(model, PICTURES)
    turned = predict(model, PICTURES[:, :, ::-1])[:, :, ::-1]
    assert not np.allclose(straight, turned, atol=1e-3)  # else there would be nothing to average
    mean = predict(flip(model), PICTURES)
    np.testing.assert_allclose(mean, (straight + turned) / 2, atol=1e-5)


def test_mirrored_pictures_get_mirrored_answers():
    model = flip(tiny())
    straight = predict(model, PICTURES)
    turned = predict(model, np.ascontiguousarray(PICTURES[:, :, ::-1]))
    np.testing.assert_allclose(turned, straight[:, :, ::-1], atol=1e-6)


def test_the_weights_are_those_of_the_network():
    model = tiny_fcn()
    assert [id(weight) for weight in flip(model).weights] == [id(w) for w in model.weights]


@pytest.mark.usefixtures("mixed_bfloat16")
def test_scores_and_masks_are_those_of_the_mean():
    model = flip(fold(tiny()))
    mean = model.predict_on_batch(PICTURES)
    assert mean.dtype == np.float32
    masks = mean.argmax(-1).astype(np.uint8)
    labels = np.random.default_rng(2).integers(0, 3, masks.shape, np.uint8)
    scored = count_batch(model, PICTURES, labels)
    expected = keras.ops.convert_to_numpy(count_confusions(labels, masks, 3))
    np.testing.assert_array_equal(scored, expected)
    np.testing.assert_array_equal(segment_objects(partial(answer, model), PICTURES[0]), masks[0])


def test_the_views_by_name():
    """What `--tta` can ask for: each is a network made of a network."""
    model = tiny_fcn()
    assert VIEWS["none"](model) is model and VIEWS["flip"] is flip
    for view in VIEWS.values():
        made = view(model)
        assert (made.input_shape, made.output_shape) == (model.input_shape, model.output_shape)
        assert made.input.dtype == model.input.dtype


def test_views_are_the_choices_of_the_command_line():
    from engine.records import OPTIONS

    assert OPTIONS["tta"]["parser"]["choices"] == tuple(VIEWS)


def test_of_several_outputs_the_first_is_looked_at():
    single = tiny_fcn(seed=0)
    two = keras.Model(single.inputs, [single.output, single.get_layer("crop").output])
    pictures = random_batch()[0]
    expected = flip(single).predict_on_batch(pictures)
    np.testing.assert_array_equal(flip(two).predict_on_batch(pictures), expected)
