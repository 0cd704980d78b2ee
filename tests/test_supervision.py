"""One loss over several outputs: the sum, its gradients, and the training of such a network."""

import keras
import numpy as np
import pytest
from conftest import assert_same, random_batch
from keras import layers

from losses import PixelCrossEntropy
from zoo.supervision import DeeplySupervised

SIZE = (8, 12)
# Keras warns of layers that only an output of weight 0 has.
UNUSED = pytest.mark.filterwarnings("ignore:Gradients do not exist")


def network(kind=keras.Model, companion=True, seed=0, **settings):
    """Two convolutions in a row; the answer follows the second, the companion the first."""
    keras.utils.set_random_seed(seed)
    inputs = layers.Input((*SIZE, 3))
    x = layers.Rescaling(1 / 255)(inputs)
    early = layers.Conv2D(4, 3, padding="same", activation="relu", name="first")(x)
    late = layers.Conv2D(4, 3, padding="same", activation="relu", name="second")(early)
    outputs = []
    for name, maps in (("answer", late), ("companion", early)):
        logits = layers.Conv2D(3, 1, name=f"{name}_logits")(maps)
        outputs.append(layers.Softmax(name=name)(logits))
    return kind(inputs, outputs if companion else outputs[:1], **settings)


def compiled(model, rate=0.1):
    jit = keras.backend.backend() == "jax"
    model.compile(keras.optimizers.SGD(rate), PixelCrossEntropy(), jit_compile=jit)
    return model


def trained(model, steps=3):
    """The losses of a few epochs of one batch."""
    pictures, labels = random_batch(SIZE)
    history = compiled(model).fit(pictures, labels, epochs=steps, batch_size=2, verbose=0)
    return history.history["loss"]


def values(model, *names):
    return [weight for name in names for weight in model.get_layer(name).get_weights()]


def assert_equal(one, other):
    """Bit for bit; JAX adds the same numbers in another order from one run to the next."""
    if keras.backend.backend() == "tensorflow":
        assert_same(one, other)
    for left, right in zip(one, other, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-7)


BODY = ("first", "second", "answer_logits")


def test_one_output_is_trained_as_in_a_plain_network():
    plain = network(companion=False)
    supervised = network(DeeplySupervised, companion=False, output_weights=(1,))
    assert_equal(trained(plain), trained(supervised))
    assert_equal(plain.get_weights(), supervised.get_weights())


@UNUSED
def test_a_companion_of_weight_0_changes_nothing():
    """Lee et al. let the weights of the companions fall to 0: then the plain network is trained."""
    plain, supervised = network(companion=False), network(DeeplySupervised, output_weights=(1, 0))
    untouched = values(supervised, "companion_logits")
    trained(plain)
    trained(supervised)
    assert_equal(values(plain, *BODY), values(supervised, *BODY))
    assert_same(untouched, values(supervised, "companion_logits"))


@UNUSED
def test_a_companion_reaches_what_is_before_it_alone():
    """With an answer of weight 0 the layers behind the companion stay as they are."""
    model = network(DeeplySupervised, output_weights=(0, 1))
    behind, before = values(model, "second", "answer_logits"), values(model, "first")
    trained(model)
    assert_same(behind, values(model, "second", "answer_logits"))
    assert all(np.abs(a - b).max() > 0 for a, b in zip(before, values(model, "first"), strict=True))


@pytest.mark.long
@UNUSED
@pytest.mark.parametrize("weights", [(1, 1), (0.25, 2), (0, 3), None])
def test_the_loss_is_the_weighted_sum(weights):
    pictures, labels = random_batch(SIZE)
    model = network(DeeplySupervised, output_weights=weights)
    parts = [float(PixelCrossEntropy()(labels, output)) for output in model(pictures)]
    expected = np.dot(weights or (1, 1), parts)
    assert compiled(model, rate=0.0).evaluate(pictures, labels, verbose=0) == pytest.approx(
        expected
    )
    assert trained(model, 1)[0] == pytest.approx(expected, rel=1e-5)
    assert not np.isclose(*parts)


def test_it_learns_everywhere():
    losses = trained(network(DeeplySupervised), 30)
    assert losses[-1] < losses[0]


def test_penalties_are_added():
    pictures, labels = random_batch(SIZE)
    model = network(DeeplySupervised, output_weights=(1, 1))
    without = compiled(model, rate=0.0).evaluate(pictures, labels, verbose=0)
    kernel = model.get_layer("first").kernel
    model.get_layer("first").kernel_regularizer = keras.regularizers.L2(1.0)
    kernel.regularizer = keras.regularizers.L2(1.0)
    penalty = float(np.square(kernel.numpy()).sum())
    with_it = compiled(model, rate=0.0).evaluate(pictures, labels, verbose=0)
    assert with_it == pytest.approx(without + penalty, rel=1e-5)


def test_it_comes_back_from_its_configuration():
    model = network(DeeplySupervised, output_weights=(1, 0.5))
    again = DeeplySupervised.from_config(model.get_config())
    assert type(again) is DeeplySupervised and again.output_weights == [1, 0.5]
    again.set_weights(model.get_weights())
    pictures, _ = random_batch(SIZE)
    assert_same(map(np.asarray, model(pictures)), map(np.asarray, again(pictures)))


def test_each_output_has_a_weight():
    with pytest.raises(ValueError, match="3 weights for 2 outputs"):
        network(DeeplySupervised, output_weights=(1, 1, 1))
