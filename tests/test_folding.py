"""Folding: the same predictions with fewer batch normalisations, the network itself untouched."""

import keras
import numpy as np
import pytest
from conftest import disturbed, predict, random_batch, tiny_fcn
from keras import layers

from benchmarks.plain import build_plain
from engine.weights import load_weights, read_network
from fast import folding
from fast.adam import adam
from fast.folding import fold
from losses import PixelCrossEntropy
from utils.files import PROJECT
from utils.pictures import list_pictures, read_picture, resize_picture
from zoo.chapter import build_chapter

SHIPPED = PROJECT / "weights" / "ResNet56v2-3layer-drinks-best-iou.weights.h5"

DEPTHWISE = keras.backend.backend() == "tensorflow" and folding.gpu_name() is None


@pytest.fixture(params=["as here", "as with a GPU"])
def either_way(request, monkeypatch):
    """Runs a test twice: what cannot be folded as depthwise convolutions, and as it was."""
    if request.param == "as with a GPU":
        monkeypatch.setattr(folding, "gpu_name", lambda: "a GPU")


def tiny(backbone="resnet11v2"):
    return disturbed(tiny_fcn(backbone=backbone, layers=2, filters=8, seed=0))


def batch():
    return random_batch(seed=1)[0]


def flat(model):
    """The layers of a network and of those nested in it."""
    result = []
    for layer in model.layers:
        result += flat(layer) if isinstance(layer, keras.Model) else [layer]
    return result


def names(model):
    inputs = layers.InputLayer  # Keras gives those of nested networks new names
    return [layer.name for layer in flat(model) if not isinstance(layer, inputs)]


def normalisations(model):
    """How many layers scale and shift, as batch normalisation or as depthwise convolution."""
    kinds = layers.BatchNormalization | layers.DepthwiseConv2D
    return sum(isinstance(layer, kinds) for layer in flat(model))


def assert_folds(model, inputs, kept, kept_depthwise=None):
    """The same predictions, with `kept` normalisations, or `kept_depthwise` with these on."""
    folded = fold(model)
    np.testing.assert_allclose(predict(folded, inputs), predict(model, inputs), atol=1e-4)
    depthwise = DEPTHWISE and folding.gpu_name() is None
    assert normalisations(folded) == (kept_depthwise if depthwise and kept_depthwise else kept)
    return folded


# Of version 2 those stay that follow an addition: one for each block, for the last block that at
# the end. Behind the two transposed convolutions of the head they stay as depthwise convolutions.
@pytest.mark.long
@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize(
    ("backbone", "kept"), [("resnet11v2", 3), ("resnet20v2", 6), ("resnet14v1", 0)]
)
def test_folded_networks_predict_the_same(backbone, kept):
    model = tiny(backbone)
    folded = assert_folds(model, batch(), kept, kept + 2)
    assert names(folded) == names(model)


def test_the_predictions_hang_on_every_kind_of_normalisation():
    """So that the test above can fail: a mean that is 0.1 off shows."""
    model = tiny()
    before = predict(model, batch())
    for layer in flat(model):
        if layer.name in ("stem_bn", "stage1_block0_1_bn", "last_bn", "bn_up_x4"):
            mean = layer.get_weights()[2]
            layer.moving_mean.assign(mean + 0.1)
            assert np.abs(predict(model, batch()) - before).max() > 1e-3, layer.name
            layer.moving_mean.assign(mean)


@pytest.mark.long
def test_the_chapters_network():
    """57 in the backbone, 5 in the head; 18 blocks."""
    model = build_chapter((32, 32, 3))
    assert normalisations(model) == 62
    folded = fold(model)
    assert normalisations(folded) == (18 + 2 if DEPTHWISE else 18)
    assert sum(isinstance(layer, layers.Conv2D) for layer in flat(folded)) == 63


# --- layers of all kinds --------------------------------------------------------------------------


def stack(*members, channels=4):
    """A network of `members`, one behind the other."""
    keras.utils.set_random_seed(0)
    inputs = x = layers.Input((9, 8, channels))
    for member in members:
        x = member(x)
    return disturbed(keras.Model(inputs, x))


def maps(channels=4):
    return np.random.default_rng(2).normal(0, 1, (2, 9, 8, channels)).astype("float32")


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("normalisation", [{}, {"scale": False}, {"center": False, "axis": 3}])
@pytest.mark.parametrize("options", [{}, {"use_bias": False}, {"strides": 2, "padding": "same"}])
def test_options_of_both_layers(options, normalisation):
    def bn():
        return layers.BatchNormalization(**normalisation)

    relu = layers.Activation("relu")
    assert_folds(stack(layers.Conv2D(6, 3, **options), bn(), relu), maps(), 0)
    assert_folds(stack(layers.Conv2D(6, 3, groups=2, **options), bn()), maps(), 0)
    assert_folds(stack(layers.Conv2DTranspose(6, 3, **options), bn(), relu), maps(), 0, 1)


@pytest.mark.usefixtures("either_way")
def test_what_cannot_be_folded_predicts_the_same():
    def bn(**options):
        return layers.BatchNormalization(**options)

    assert_folds(stack(bn()), maps(), 1)
    assert_folds(stack(layers.Conv2D(6, 3, activation="relu"), bn()), maps(), 1)
    assert_folds(stack(layers.Conv2D(6, 3), bn(axis=1)), maps(), 1)
    assert_folds(stack(layers.Conv2D(6, 3), layers.Flatten(), layers.Dense(3), bn()), maps(), 1)
    assert_folds(stack(layers.Conv2D(6, 3), bn(), bn()), maps(), 1)


def test_a_map_that_others_read_stays():
    inputs = layers.Input((9, 8, 4))
    x = layers.Conv2D(6, 3)(inputs)
    y = layers.BatchNormalization()(x)
    assert_folds(disturbed(keras.Model(inputs, layers.Add()([x, y]))), maps(), 1)
    assert_folds(disturbed(keras.Model(inputs, layers.Add()([y, y]))), maps(), 0)
    model = disturbed(keras.Model(inputs, [x, y]))
    folded = fold(model)
    assert normalisations(folded) == 1
    for one, other in zip(predict(folded, maps()), predict(model, maps()), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.usefixtures("either_way")
def test_layers_that_are_called_twice():
    inputs = layers.Input((9, 8, 4))
    convolution, normalisation = layers.Conv2D(4, 3, padding="same"), layers.BatchNormalization()
    twice = normalisation(convolution(normalisation(convolution(inputs))))
    assert_folds(disturbed(keras.Model(inputs, twice)), maps(), 1)
    # One normalisation behind a convolution and behind something else.
    convolution, normalisation = layers.Conv2D(4, 3), layers.BatchNormalization()
    relu = layers.Activation("relu")
    assert_folds(stack(convolution, normalisation, relu, normalisation), maps(), 1)
    # A whole network that is called twice is folded once, for both.
    network = stack(layers.Conv2D(4, 2, padding="same"), layers.BatchNormalization())
    assert_folds(keras.Model(inputs, network(network(inputs))), maps(), 0)


# --- types, and what stays ------------------------------------------------------------------------


@pytest.mark.usefixtures("mixed_bfloat16")
def test_every_layer_keeps_its_types():
    model = tiny()
    folded = fold(model)
    assert [layer.dtype_policy.name for layer in flat(folded)] == [
        layer.dtype_policy.name for layer in flat(model)
    ]
    assert folded.output.dtype == "float32"


def test_the_network_itself_stays_and_can_be_trained():
    model = tiny()
    model.compile(keras.optimizers.SGD(0.1), PixelCrossEntropy(), run_eagerly=True)
    before, trainable = model.get_weights(), len(model.trainable_weights)
    folded = fold(model)
    predicted = folded.predict_on_batch(batch())
    for weight, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)
    assert len(model.trainable_weights) == trainable
    model.train_on_batch(batch(), np.zeros((2, 32, 48), np.uint8))
    assert np.abs(predict(model, batch()) - predicted).max() > 1e-3
    np.testing.assert_array_equal(folded.predict_on_batch(batch()), predicted)


def test_the_plain_way_folds_nothing(plain):
    model = tiny_fcn()
    plain()
    assert fold(model) is model


def agreement_in_bfloat16(model, build, pictures, policy):
    """Share of pixels that a network gives the same class: as it is, and folded in bfloat16."""
    policy("mixed_bfloat16")
    copy = build()
    copy.set_weights(model.get_weights())
    return (predict(fold(copy), pictures).argmax(-1) == predict(model, pictures).argmax(-1)).mean()


@pytest.mark.long
def test_bfloat16_agrees_on_a_network_that_has_learnt(policy):
    """Bright and dark rectangles, learnt in a few steps."""
    labels = np.zeros((2, 64, 64), np.uint8)
    labels[0, 16:48, 8:40], labels[1, 32:, 24:56] = 1, 2
    noise = np.random.default_rng(0).normal(0, 5, (*labels.shape, 3))
    pictures = np.clip(labels[..., None] * 90 + 30 + noise, 0, 255).astype(np.uint8)

    def build():
        return tiny_fcn((64, 64), backbone="resnet11v2", layers=2, filters=16, seed=0)

    model = build()
    for layer in flat(model):
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.8  # statistics of the last few steps
    model.compile(adam(3e-3), PixelCrossEntropy(), jit_compile=False)
    model.optimizer.build(model.trainable_variables)  # else TensorFlow traces twice
    for _ in range(50):
        model.train_on_batch(pictures, labels)
    assert (predict(model, pictures).argmax(-1) == labels).mean() > 0.95
    assert agreement_in_bfloat16(model, build, pictures, policy) >= 0.995


@pytest.fixture(scope="module")
def shipped():
    """What the shipped weights are of, the network with them in float32, two test pictures."""
    if not SHIPPED.is_file():
        pytest.skip("no shipped weights")
    network = read_network(SHIPPED)
    model = network.build()
    load_weights(model, SHIPPED)
    paths = list_pictures([PROJECT / "data" / "drinks"])[-2:]  # the last 50 are the test set
    pictures = [resize_picture(read_picture(path), network.size) for path in paths]
    return network, model, np.stack(pictures)


@pytest.mark.long
def test_bfloat16_agrees_on_the_shipped_network(shipped, policy):
    network, model, pictures = shipped
    assert agreement_in_bfloat16(model, network.build, pictures, policy) >= 0.995


@pytest.mark.long
def test_the_shipped_network_predicts_what_stock_keras_does(shipped):
    """In float32, folded as `--evaluate` does it, against the same weights in stock layers."""
    network, model, pictures = shipped
    assert network.settings["backbone"] == "resnet56v2"  # that of `build_plain`
    stock = build_plain(
        network.input_shape,
        n_classes=len(network.classes),
        n_layers=network.settings["layers"],
        filters=network.settings["filters"],
    )
    stock.set_weights(model.get_weights())
    expected = predict(stock, pictures[:1] / 255)
    assert (expected.max(-1) > 0.9).mean() > 0.5  # no uniform guess, on which all would agree
    np.testing.assert_allclose(predict(fold(model), pictures[:1]), expected, atol=1e-4)


def test_operations_that_are_no_layers_stay():
    """A network may use `keras.ops`."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((32, 48, 3))
    x = keras.layers.Conv2D(4, 3, padding="same")(inputs)
    x = keras.ops.relu(keras.layers.BatchNormalization()(x)) * 2.0
    network = disturbed(keras.Model(inputs, keras.layers.Conv2D(3, 1)(x)))
    pictures = random_batch()[0]
    expected = network.predict_on_batch(pictures)
    folded = fold(network).predict_on_batch(pictures)  # values of some hundreds
    np.testing.assert_allclose(folded, expected, rtol=1e-4, atol=1e-3)
