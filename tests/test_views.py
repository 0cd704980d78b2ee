"""Mirroring: the mean of the answers to a picture and to its mirror image."""

import keras
import numpy as np

from evaluation import build_scorer, segment_objects
from fast.folding import fold
from metrics import count_confusions
from model import build_fcn
from tools.views import mirrored

PICTURES = np.random.default_rng(1).integers(0, 256, (2, 32, 48, 3), np.uint8)


def tiny():
    keras.utils.set_random_seed(0)
    return build_fcn((32, 48, 3), "resnet11v2", 3, n_layers=2, filters=8)


def test_the_mean_of_both_answers():
    model = tiny()
    straight = model.predict_on_batch(PICTURES)
    turned = model.predict_on_batch(PICTURES[:, :, ::-1])[:, :, ::-1]
    assert not np.allclose(straight, turned, atol=1e-3)  # else there would be nothing to average
    answer = mirrored(model).predict_on_batch(PICTURES)
    np.testing.assert_allclose(answer, (straight + turned) / 2, atol=1e-5)


def test_mirrored_pictures_get_mirrored_answers():
    model = mirrored(tiny())
    answer = model.predict_on_batch(PICTURES)
    turned = model.predict_on_batch(np.ascontiguousarray(PICTURES[:, :, ::-1]))
    np.testing.assert_allclose(turned, answer[:, :, ::-1], atol=1e-6)


def test_the_weights_are_those_of_the_network():
    model = tiny()
    assert [id(weight) for weight in mirrored(model).weights] == [id(w) for w in model.weights]


def test_scores_and_masks_are_those_of_the_mean():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = mirrored(fold(tiny()))
    finally:
        keras.config.set_dtype_policy("float32")
    answer = model.predict_on_batch(PICTURES)
    assert answer.dtype == np.float32
    masks = answer.argmax(-1).astype(np.uint8)
    labels = np.random.default_rng(2).integers(0, 3, masks.shape, np.uint8)
    scored = build_scorer(model).predict_on_batch([PICTURES, labels])
    expected = keras.ops.convert_to_numpy(count_confusions(labels, masks, 3))
    np.testing.assert_array_equal(scored, expected)
    np.testing.assert_array_equal(segment_objects(model, PICTURES[0]), masks[0])
