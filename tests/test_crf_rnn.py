"""CRF-as-RNN: its layers are the mean field of utils.crf, with gradients, for any batch."""

import keras
import numpy as np
import pytest
from conftest import count, disturbed, predict, random_batch
from keras import ops
from scipy.special import log_softmax, softmax

from engine.records import Network
from engine.trainer import JIT
from engine.transfer import start_from
from engine.weights import save_weights
from losses import PixelCrossEntropy
from tools.summary import Reach
from utils.classes import named
from utils.crf import Pairwise, colours_and_places, dense_crf, lattice, normalised, plane
from utils.errors import UserError
from zoo.crf_rnn import Lattice, MeanField, build_crf_rnn
from zoo.fcn import build_fcn_vgg16

AUTHORS = Pairwise(w1=5.0, sa=160.0, sb=3.0, w2=3.0, sg=3.0)
TINY = {"width": 4, "blocks": (1, 1, 1, 1, 1)}


def scenes(size, number=2, channels=3, classes=3, seed=0):
    """Pictures (B, H, W, channels) of ramps with noise, 0 to 255, and logits (B, H, W, C)."""
    random = np.random.default_rng(seed)
    ramps = np.linspace(0, 1, size[1])[:, None] * random.uniform(50, 200, (number, 1, 1, channels))
    pictures = (ramps + random.normal(0, 3, (number, *size, channels))).clip(0, 255)
    logits = random.normal(0, 2, (number, *size, classes))
    return np.uint8(pictures).astype("float32"), logits.astype("float32")


def refine(layer, logits, pictures, training=False):
    return ops.convert_to_numpy(layer([logits, pictures], training=training))


@pytest.mark.parametrize("size", [(6, 9), (12, 17)])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_filter_is_that_of_numpy(size, channels):
    pictures, values = scenes(size, channels=channels)
    values = values.reshape(2, -1, 3)
    found = ops.convert_to_numpy(Lattice(ops.convert_to_tensor(pictures), 160, 3)(values))
    for picture, value, one in zip(np.uint8(pictures), values, found, strict=True):
        expected = lattice(colours_and_places(picture, 160, 3))(value.T).T
        np.testing.assert_allclose(one, expected, atol=1e-4)


@pytest.mark.parametrize("training", [True, False])
def test_layers_are_the_mean_field(training):
    """5 iterations in training, 10 in prediction; of several pictures as of each alone."""
    pictures, logits = scenes((12, 17), number=3)
    layer = MeanField()
    found = refine(layer, logits, pictures, training)
    for one, logit, picture in zip(found, logits, pictures, strict=True):
        expected = dense_crf(
            softmax(logit, -1),
            np.uint8(picture),
            AUTHORS,
            iterations=5 if training else 10,
            symmetric=False,
        )
        np.testing.assert_allclose(softmax(one, -1), expected, atol=1e-3)
        alone = refine(layer, logit[None], picture[None], training)[0]
        np.testing.assert_allclose(alone, one, atol=1e-4)


@pytest.mark.long
def test_a_graph_takes_any_number_of_pictures():
    pictures, logits = scenes((12, 17), number=5)
    layer = MeanField(iterations=2)
    first, second = keras.Input((12, 17, 3)), keras.Input((12, 17, 3))
    model = keras.Model([first, second], layer([first, second]))
    found = model.predict([logits, pictures], batch_size=2, verbose=0)  # the last is alone
    np.testing.assert_allclose(found, refine(layer, logits, pictures), atol=1e-4)


def test_the_network_has_five_iterations_in_training_and_ten_in_prediction():
    field = build_crf_rnn((32, 32, 3), 3, width=4).get_layer("mean_field")
    assert (field.training_iterations, field.iterations) == (5, 10)


def test_an_iteration_by_hand():
    """Softmax, filters, a matrix for each, their sum, compatibility, subtraction: no step less."""
    pictures, logits = scenes((6, 9), number=1)
    layer = MeanField(iterations=1)
    refine(layer, logits, pictures)
    random = np.random.default_rng(1)
    spatial, bilateral, compatibility = (random.normal(0, 1, (3, 3)) for _ in range(3))
    layer.set_weights([spatial, bilateral, compatibility])
    q = softmax(logits[0].reshape(-1, 3), -1).T
    near = normalised(plane((6, 9), 3.0), 54, symmetric=False)(q)
    like = normalised(lattice(colours_and_places(np.uint8(pictures[0]), 160, 3)), 54, False)(q)
    said = (near.T @ spatial + like.T @ bilateral) @ compatibility
    np.testing.assert_allclose(
        refine(layer, logits, pictures)[0].reshape(-1, 3),
        logits[0].reshape(-1, 3) - said,
        atol=1e-4,
    )


def test_gradients_are_those_of_finite_differences():
    """Of unaries and all three matrices, redundant as they are, on 6x6 of 3 classes.

    A step of training by plain descent tells the gradient of a weight: what it moved.
    """
    pictures, logits = scenes((6, 6), number=2)
    aim = np.random.default_rng(2).normal(0, 1, (2, 6, 6, 3)).astype("float32")
    shift = keras.layers.Conv2D(3, 1, name="unaries")  # its weights move the unaries
    field = MeanField(training_iterations=2, name="mean_field")
    both = keras.Input((6, 6, 6))
    first = keras.layers.Lambda(lambda x: x[..., :3], output_shape=(6, 6, 3))(both)
    second = keras.layers.Lambda(lambda x: x[..., 3:], output_shape=(6, 6, 3))(both)
    model = keras.Model(both, keras.layers.Softmax()(field([shift(first), second])))
    shift.set_weights([np.eye(3)[None, None], np.zeros(3)])
    random = np.random.default_rng(3)
    for weight in field.weights:  # else the sum of the gradients of a row may be 0
        weight.assign(ops.convert_to_numpy(weight) + random.normal(0, 0.3, (3, 3)))
    x = np.concatenate([logits, pictures], -1)

    def loss():
        return float(np.mean(ops.convert_to_numpy(model(x, training=True)) * aim))

    model.compile(keras.optimizers.SGD(1.0), lambda y, p: ops.mean(p * y), run_eagerly=JIT is False)
    before = [ops.convert_to_numpy(weight).copy() for weight in model.trainable_weights]
    model.train_on_batch(x, aim)
    moved = [
        old - ops.convert_to_numpy(weight)
        for old, weight in zip(before, model.trainable_weights, strict=True)
    ]
    model.set_weights(before)
    for weight, old, gradient in zip(model.trainable_weights, before, moved, strict=True):
        direction = random.normal(0, 1, old.shape).astype("float32")
        values = []
        for step in (0.02, -0.02):
            weight.assign(old + step * direction)
            values.append(loss())
        weight.assign(old)
        expected = (values[0] - values[1]) / 0.04
        assert np.isfinite(gradient).all() and np.abs(gradient).max() > 1e-5, weight.path
        assert (gradient * direction).sum() == pytest.approx(expected, rel=0.03, abs=2e-5)


def test_parameters():
    fcn8s = count(lambda: build_fcn_vgg16((64, 96, 3), 21, skips=2))
    assert count(lambda: build_crf_rnn((64, 96, 3), 21)) == fcn8s + 3 * 21 * 21


def test_it_goes_on_from_fcn8s(tmp_path, capsys):
    """As the authors train it: without its mean field it answers as the FCN that it began with."""
    fcn = disturbed(build_fcn_vgg16((33, 47, 3), 3, skips=2, **TINY))
    network = Network("fcn8s", (33, 47, 3), named(["background", "a", "b"]), TINY)
    run = {"size": [33, 47], "schedule_epochs": 1}
    path = tmp_path / "a.weights.h5"
    save_weights(fcn, path, {"network": network.content(), "data": {}, "run": run})
    model = build_crf_rnn((33, 47, 3), 3, **TINY)
    start_from(model, "crf-rnn", path)
    assert "anew: mean_field." in capsys.readouterr().out
    pictures, _ = random_batch((33, 47))
    logits = model.get_layer("mean_field").input[0]
    scores = softmax(predict(keras.Model(model.input, logits), pictures), -1)
    np.testing.assert_allclose(scores, predict(fcn, pictures), atol=1e-5)


def test_prediction_is_the_fcn_and_a_dense_crf():
    keras.utils.set_random_seed(0)
    model = disturbed(build_crf_rnn((33, 47, 3), 3, **TINY))
    scorer = model.get_layer("pre_activation")
    scorer.kernel.assign(np.random.default_rng(0).normal(0, 0.5, scorer.kernel.shape))
    logits = keras.Model(model.inputs[0], model.get_layer("segmentation_crop").output)
    pictures = np.uint8(scenes((33, 47))[0])
    found, before = predict(model, pictures), predict(logits, pictures)
    for one, logit, picture in zip(found, before, pictures, strict=True):
        probabilities = np.exp(log_softmax(logit, -1))
        expected = dense_crf(probabilities, picture, AUTHORS, symmetric=False)
        assert (one.argmax(-1) == expected.argmax(-1)).mean() > 0.99
        np.testing.assert_allclose(one, expected, atol=5e-3)


def test_too_many_channels_are_refused():
    with pytest.raises(UserError, match="9 channels and 64x96 pixels.*give --channels 3 or 1"):
        build_crf_rnn((64, 96, 9), 3, **TINY)
    assert build_crf_rnn((2048, 3072, 3), 3, **TINY).output_shape == (None, 2048, 3072, 3)


def test_summary_knows_the_layer():
    layer = MeanField()
    layer.build([(None, 8, 10, 3), (None, 8, 10, 3)])
    assert layer.macs((None, 8, 10, 3), None) == 10 * 80 * 3 * (6 * 8 + 8 + 10 + 9)
    assert layer.reach(Reach(404, 1), None, None) == Reach(np.inf, 1)


@pytest.mark.long
def test_its_weights_learn():
    """Two classes that are confused with each other everywhere: compatibility can tell."""
    pictures, logits = scenes((12, 16), number=2)
    labels = np.broadcast_to(np.uint8(np.arange(16) > 7), (2, 12, 16))
    logits = logits / 4 + 2 * np.eye(3, dtype="float32")[1 - labels]
    layer = MeanField(training_iterations=1, iterations=1)
    first, second = keras.Input((12, 16, 3)), keras.Input((12, 16, 3))
    model = keras.Model(
        [first, second], keras.layers.Softmax(dtype="float32")(layer([first, second]))
    )
    model.compile(keras.optimizers.SGD(1.0), PixelCrossEntropy(), run_eagerly=JIT is False)
    inputs = [logits, pictures]
    assert (predict(model, inputs).argmax(-1) == labels).mean() < 0.1
    for _ in range(20):
        model.train_on_batch(inputs, labels)
    assert (predict(model, inputs).argmax(-1) == labels).mean() > 0.9
