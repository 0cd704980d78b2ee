"""The chapter's network: exact counts, any size, and what a network that learns must show."""

import keras
import numpy as np
import pytest
from conftest import predict, random_batch, tiny_fcn

from fast.adam import adam
from losses import PixelCrossEntropy
from model import build_fcn
from resnet import build_resnet

SMALL = {"backbone": "resnet11v2", "layers": 2}  # all parts of the chapter's network, few of each


# By hand: the backbone, then conv_fcn_8 with its BN, and so on for each level; see the chapter.
@pytest.mark.parametrize(
    ("n_layers", "whole", "backbone"),
    [(1, 4_035_332, 1_671_168), (2, 6_988_292, 2_853_376), (3, 11_120_900, 5_215_232)],
)
@pytest.mark.parametrize("size", [(480, 640), (128, 160)])
def test_parameter_counts(n_layers, whole, backbone, size):
    resnet = build_resnet((*size, 3), n_layers)
    assert resnet.count_params() == backbone
    fcn = build_fcn((*size, 3), resnet)
    assert fcn.count_params() == whole
    assert fcn.get_layer("ResNet56v2") is resnet


def test_parameters_of_the_head():
    fcn = build_fcn((64, 64, 3), build_resnet((64, 64, 3)))
    counts = {layer.name: layer.count_params() for layer in fcn.layers}
    assert counts["conv_fcn_8"] == 3 * 3 * 256 * 256 + 256 == 590_080
    assert counts["conv_fcn_16"] == counts["conv_fcn_32"] == 3 * 3 * 512 * 256 + 256 == 1_179_904
    assert counts["tconv_up_x2"] == 3 * 3 * 1024 * 256 + 256 == 2_359_552
    assert counts["tconv_up_x4"] == 3 * 3 * 256 * 256 + 256 == 590_080
    assert counts["pre_activation"] == 256 * 4 + 4 == 1_028
    trainable = sum(int(np.prod(weight.shape)) for weight in fcn.trainable_weights)
    assert trainable == 11_105_892
    backbone = fcn.get_layer("ResNet56v2").layers
    assert sum(isinstance(layer, keras.layers.Conv2D) for layer in backbone) == 60
    assert sum(isinstance(layer, keras.layers.BatchNormalization) for layer in backbone) == 57


@pytest.mark.parametrize(
    ("version", "n", "depth"), [(1, 3, 20), (2, 6, 56), (2, 12, 110), (2, 3, 29)]
)
def test_backbones(version, n, depth):
    model = build_resnet((64, 64, 3), n_layers=3, version=version, n=n)
    assert model.name == f"ResNet{depth}v{version}"
    channels = 64 if version == 1 else 256
    shapes = [tuple(output.shape[1:]) for output in model.outputs]
    assert shapes == [(16, 16, channels), (8, 8, channels), (4, 4, 512), (2, 2, 512)]
    # Depth counts the layers with weights from the first convolution to the classifier that the
    # original has: without shortcuts, pyramid and classifier.
    convolutions = [
        layer.name
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D)
        and "shortcut" not in layer.name
        and "_layer" not in layer.name
    ]
    assert len(convolutions) == depth - 1


@pytest.mark.parametrize("numbers", [{"n_layers": 0}, {"n": 0}, {"version": 3}, {"version": 0}])
def test_backbones_that_do_not_exist(numbers):
    with pytest.raises(ValueError, match="there is no ResNet"):
        build_resnet((64, 64, 3), **numbers)


@pytest.mark.parametrize("n_layers", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("size", [(32, 32), (33, 47), (101, 77), (90, 120)])
def test_every_size_for_every_number_of_layers(size, n_layers):
    fcn = tiny_fcn(size, layers=n_layers)
    assert fcn.output_shape == (None, *size, 3)
    assert predict(fcn, random_batch(size, 1)[0]).shape == (1, *size, 3)


@pytest.mark.parametrize("size", [(480, 640), (360, 480)])
def test_sizes_of_the_issue_with_four_layers(size):
    assert tiny_fcn(size, backbone="resnet11v2", layers=4).output_shape == (None, *size, 3)


def test_padding_inside_equals_padding_outside():
    pictures, _ = random_batch((37, 50))
    fcn, padded = tiny_fcn((37, 50), **SMALL), tiny_fcn((48, 64), **SMALL)
    padded.set_weights(fcn.get_weights())
    outside = np.pad(pictures, ((0, 0), (0, 11), (0, 14), (0, 0)))
    expected = predict(padded, outside)[:, :37, :50]
    np.testing.assert_allclose(predict(fcn, pictures), expected, atol=1e-5)


def test_probabilities_of_raw_pictures_of_any_type():
    pictures, _ = random_batch()
    fcn = tiny_fcn(**SMALL)
    probabilities = fcn.predict_on_batch(pictures)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(-1), 1, atol=1e-5)
    for dtype in ("uint8", "float32", "float64", "int32"):
        again = predict(fcn, pictures.astype(dtype))
        np.testing.assert_allclose(again, probabilities, atol=1e-6)


def data_loss(fcn, pictures, labels):
    """Cross-entropy of a training pass, without the weight decay."""
    return float(PixelCrossEntropy()(labels, fcn(pictures, training=True)))


@pytest.mark.long
def test_first_loss_is_near_that_of_chance():
    pictures, labels = random_batch((64, 64), n_classes=4)
    losses = []
    for seed in range(5):
        fcn = tiny_fcn((64, 64), n_classes=4, filters=64, seed=seed, **SMALL)
        losses.append(data_loss(fcn, pictures, labels))
    # Logits with a variance of 1/2 cost a little more than none.
    assert np.log(4) - 0.1 < np.mean(losses) < np.log(4) + 0.4


def test_every_trainable_weight_gets_a_gradient():
    pictures, labels = random_batch((64, 64))
    fcn = tiny_fcn((64, 64), seed=0, **SMALL)
    before = [weight.numpy() for weight in fcn.trainable_weights]
    # The stock optimizer leaves a weight without a gradient as it is. One step needs no graph.
    fcn.compile(keras.optimizers.SGD(1.0), PixelCrossEntropy(), run_eagerly=True)
    fcn.train_on_batch(pictures, labels)
    for weight, old in zip(fcn.trainable_weights, before, strict=True):
        moved = np.abs(weight.numpy() - old).max()
        # Batch normalisation takes away what a bias right before it adds: its gradient is 0.
        redundant = weight.path.endswith("/bias") and "pre_activation" not in weight.path
        assert np.isfinite(moved)
        assert moved > 0 or redundant, weight.path


@pytest.mark.long
def test_one_batch_can_be_learnt_by_heart():
    pictures, _ = random_batch((32, 32))
    labels = np.zeros((2, 32, 32), np.uint8)
    labels[0, 8:24, 4:20], labels[1, 16:, 12:28] = 1, 2
    fcn = tiny_fcn((32, 32), filters=16, seed=0, **SMALL)
    fcn.compile(adam(1e-2), PixelCrossEntropy(), jit_compile=False)
    fcn.optimizer.build(fcn.trainable_variables)  # else TensorFlow traces the first step twice
    for _ in range(60):
        fcn.train_on_batch(pictures, labels)
    predicted = np.argmax(fcn(pictures, training=True), -1)
    assert (predicted == labels).mean() > 0.98


def test_the_network_can_be_saved_whole_and_predicts_the_same(tmp_path):
    pictures, _ = random_batch()
    fcn = tiny_fcn(**SMALL)
    fcn.save(tmp_path / "fcn.keras")
    again = keras.models.load_model(tmp_path / "fcn.keras")
    np.testing.assert_array_equal(predict(fcn, pictures), predict(again, pictures))
