"""Every network of the dictionary: what all must do, computed tiny and counted at full width."""

import keras
import numpy as np
import pytest
from conftest import assert_same, count, disturbed, hollow, predict, random_batch, tiny_settings

import zoo
from evaluation import answer
from fast.folding import fold
from fast.layers import Conv2D, Conv2DTranspose
from losses import PixelCrossEntropy
from tools.memory import picture
from tools.summary import stages

EVEN, ODD = (64, 96), (33, 47)
CLASSES = 3
ON_JAX = keras.backend.backend() == "jax"  # XLA compiles a whole network sooner than its layers


def tiny(name, size, seed=0):
    keras.utils.set_random_seed(seed)
    return zoo.build(name, (*size, 3), CLASSES, tiny_settings(name))


def predicted(model, pictures):
    """The answer of a network, which may have more outputs."""
    outputs = model.predict_on_batch(pictures) if ON_JAX else predict(model, pictures)
    return outputs[0] if isinstance(outputs, (list, tuple)) else outputs


def one_of_each_file():
    """The first network of every file of the zoo."""
    rows = reversed(zoo.MODELS.items())
    return list({entry.builder.__module__: name for name, entry in rows}.values())[::-1]


def unlike():
    """The networks that differ when they are tiny: not by how many blocks a backbone has.

    Of those that differ by numbers, as of skips, the ones with the least and with the most.
    """
    built = {}
    for name, entry in zoo.MODELS.items():
        settings = zoo.defaults(name) | tiny_settings(name)
        numbers = tuple(sorted((k, v) for k, v in settings.items() if type(v) in (int, tuple)))
        others = sorted((k, v) for k, v in settings.items() if type(v) not in (int, tuple))
        built.setdefault((entry.builder, *others), {}).setdefault(numbers, name)
    return [
        alike[key] for alike in built.values() for key in dict.fromkeys((min(alike), max(alike)))
    ]


def one_of_each_builder():
    """The first network of every builder."""
    rows = reversed(zoo.MODELS.items())
    return set({entry.builder: name for name, entry in rows}.values())


@pytest.mark.parametrize("name", sorted(one_of_each_builder()))
def test_biases_are_those_of_layers_that_sum_their_gradients_in_float32(name):
    """XLA on a CPU sums those of bfloat16 in bfloat16: see `jax_ops.add_bias`."""
    settings = tiny_settings(name)
    model = hollow(lambda: zoo.build(name, (*EVEN, 3), CLASSES, settings))
    layers = [layer for layer in model._flatten_layers() if getattr(layer, "use_bias", False)]
    assert layers
    for layer in layers:
        assert isinstance(layer, (Conv2D, Conv2DTranspose)), layer.name


@pytest.fixture(scope="module", params=one_of_each_file() if ON_JAX else unlike())
def name(request):
    return request.param


@pytest.fixture(scope="module")
def odd(name):
    """The network with random biases and statistics, so that all of them matter."""
    return disturbed(tiny(name, ODD), seed=1)


@pytest.fixture(scope="module")
def even(name):
    """The network as it is made, at another size; the last of the tests trains it."""
    return tiny(name, EVEN)


@pytest.mark.parametrize("name", one_of_each_file() if ON_JAX else zoo.MODELS)
def test_parameters_at_full_width(name):
    assert count(lambda: zoo.build(name, (*ODD, 3), 4, {})) == zoo.MODELS[name].parameters


@pytest.mark.long
def test_pictures_go_in_and_probabilities_come_out(name, odd, even):
    assert even.count_params() == odd.count_params()  # they do not depend on the size
    for model, size in ((odd, ODD), (even, EVEN)):
        assert not model.compiled
        assert model.input_shape == (None, *size, 3)
        pictures, _ = random_batch(size, number=2)
        probabilities = predicted(model, pictures)
        assert probabilities.shape == (2, *size, CLASSES) and probabilities.dtype == np.float32
        np.testing.assert_allclose(probabilities.sum(-1), 1, atol=1e-5)
        # Of a UNet++ cut off behind its second head "pre_activation_2", as in the whole.
        heads = [layer for layer in model.layers if layer.name.startswith(zoo.CLASSIFIER)]
        assert heads and all(head.get_weights()[-1].shape == (CLASSES,) for head in heads)


@pytest.mark.long
def test_folding_and_saving_keep_every_number(name, odd, even, tmp_path):
    pictures, _ = random_batch(ODD, number=1)
    expected = predicted(odd, pictures)
    assert np.ptp(expected) > 1e-4
    np.testing.assert_allclose(predicted(fold(odd), pictures), expected, atol=2e-5)
    if name in one_of_each_builder():
        # As a graph, in which TensorFlow fuses a product and what is added to it: but for rounding.
        np.testing.assert_allclose(np.array(answer(odd, list(pictures))), expected, atol=1e-6)
    path = tmp_path / "x.weights.h5"
    odd.save_weights(path)
    before = even.get_weights()
    even.load_weights(path)  # made at another size
    assert_same(even.get_weights(), odd.get_weights())
    even.set_weights(before)


def test_summary_counts_all_of_it(name, odd):
    rows = stages(odd)
    assert sum(row["parameters"] for row in rows) == odd.count_params()
    assert sum(row["gmac"] for row in rows) > 0
    assert picture(odd, "float32") > 4 * 33 * 47 * CLASSES  # bytes in training


def test_every_weight_gets_a_gradient_and_the_first_loss_is_that_of_chance(even):
    model = even
    pictures, labels = random_batch(EVEN, n_classes=CLASSES)
    loss = float(PixelCrossEntropy()(labels, predicted(model, pictures)))
    assert np.log(CLASSES) - 0.1 < loss < np.log(CLASSES) + 1

    scorers = [w for w in model.trainable_weights if w.shape[-1] == CLASSES and len(w.shape) == 4]
    random = np.random.default_rng(2)
    for weight in scorers:  # some begin with zeros, behind which there is no gradient
        weight.assign(random.normal(0, 0.3, weight.shape))
    # With a beta of 0 the next normalisation takes away a gamma, if each channel has a depthwise
    # convolution between.
    for weight in (w for w in model.trainable_weights if w.path.endswith("/beta")):
        weight.assign(random.normal(0, 0.3, weight.shape))
    before = [keras.ops.convert_to_numpy(weight) for weight in model.trainable_weights]
    how = {"run_eagerly": not ON_JAX, "jit_compile": ON_JAX}
    model.compile(keras.optimizers.SGD(1.0), PixelCrossEntropy(), **how)
    model.train_on_batch(pictures, labels)
    for weight, old in zip(model.trainable_weights, before, strict=True):
        moved = np.abs(keras.ops.convert_to_numpy(weight) - old).max()
        # Batch normalisation takes away what a bias right before it adds: its gradient is 0. So is
        # that of the normalisation between depthwise and pointwise convolution.
        ends = ("/bias", "depthwise_bn/beta")
        redundant = weight.path.endswith(ends) and zoo.CLASSIFIER not in weight.path
        assert np.isfinite(moved) and (moved > 1e-6 or redundant), weight.path
