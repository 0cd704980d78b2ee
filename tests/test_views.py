"""Views: the mean of the answers to a picture, its mirror image, and other sizes of it."""

from functools import partial

import keras
import numpy as np
import pytest
from conftest import disturbed, predict, random_batch, tiny_fcn

from engine.records import OPTIONS, Network
from evaluation import answer, count_batch, segment_objects
from fast.folding import fold
from fast.forward import forward
from metrics import count_confusions
from tools.views import SCALES, at_scales, flip, views
from utils.classes import named

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


@pytest.mark.long
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


def network_and_model(size=(64, 96)):
    """A tiny network of random statistics, and its record."""
    settings = {"backbone": "resnet8v1", "layers": 1, "filters": 4}
    network = Network("fcn", (*size, 3), named(["background", "bottle", "can"]), settings)
    keras.utils.set_random_seed(0)
    return network, disturbed(network.build())


@pytest.mark.long
@pytest.mark.parametrize("tta", OPTIONS["tta"]["parser"]["choices"])
def test_what_the_command_line_can_ask_for_is_a_mean_of_answers(tta):
    network, model = network_and_model()
    photograph = random_batch((70, 110), number=1)[0]
    ask = views(network, model, tta)
    expected = []
    for scale in SCALES if "scales" in tta else (1.0,):
        other = network.at((round(64 * scale), round(96 * scale))).build()
        other.set_weights(model.get_weights())
        expected.append(np.array(answer(other, photograph)))
        if "flip" in tta:
            mirrored = np.array(answer(other, photograph[:, :, ::-1]))
            expected.append(mirrored[:, :, ::-1])
    assert 1.0 in SCALES and len(SCALES) > 2
    np.testing.assert_allclose(np.array(ask(photograph)), np.mean(expected, 0), atol=1e-4)
    probabilities = np.array(ask(photograph, (30, 40)))
    assert probabilities.shape == (1, 30, 40, 3) and probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(-1), 1, atol=1e-5)


def test_a_small_network_is_not_made_too_small():
    network, model = network_and_model((32, 40))
    sizes = [each.input_shape[1:3] for each in at_scales(network, model)]
    assert sizes == [(32, 32), (32, 40), (40, 50)] and SCALES == (0.75, 1.0, 1.25)


def test_of_several_outputs_the_first_is_looked_at():
    single = tiny_fcn(seed=0)
    two = keras.Model(single.inputs, [single.output, single.get_layer("crop").output])
    pictures = random_batch()[0]
    expected = flip(single).predict_on_batch(pictures)
    np.testing.assert_array_equal(flip(two).predict_on_batch(pictures), expected)


def test_every_view_is_made_ready_once(plain):
    """Kept too few at a time, each size would be compiled anew for every picture."""
    plain()
    ask, pictures = views(*network_and_model((32, 40)), "flip,scales"), random_batch((32, 40))[0]
    forward.cache_clear()
    for picture in pictures:
        ask(picture[None])
    assert forward.cache_info().misses == len(SCALES)
    assert forward.cache_info().hits == len(SCALES) * (len(pictures) - 1)
