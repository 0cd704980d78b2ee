"""DeconvNet: counts, its code, what a deconvolution is, what a network that learns must show."""

import keras
import numpy as np
import pytest
from conftest import count, disturbed, hollow, predict, random_batch
from keras import layers, ops

from fast.adam import adam
from fast.folding import fold
from losses import PixelCrossEntropy
from zoo.deconvnet import build_deconvnet
from zoo.pooling import MaxUnpooling

TINY = {"width": 4, "blocks": (1, 1, 2, 1, 1)}


# By hand: VGG16; fc6, fc7 and back; the mirror image, see test_segnet.py, and 64 to 64 at its end;
# the classifier; batch normalisation of 16,704 channels. 251,772,245 is the paper's 252 M.
@pytest.mark.parametrize(("n_classes", "whole"), [(4, 251_837_956), (21, 251_839_061)])
@pytest.mark.parametrize("size", [(224, 224), (90, 121)])
def test_parameters(n_classes, whole, size):
    code = 49 * 512 * 4096 + 4096 + 4096 * 4096 + 4096 + 49 * 4096 * 512 + 512
    mirror = 14_710_464 - 9 * 3 * 64 + 3_712 + 9 * 64 * 64 + 64
    normalisation = 4 * (4_224 + 2 * 4_096 + 512 + 3_712 + 64)
    assert 14_714_688 + code + mirror + 65 * n_classes + normalisation == whole
    assert whole - normalisation == 251_772_245 - 65 * (21 - n_classes)
    assert count(lambda: build_deconvnet((*size, 3), n_classes)) == whole


def test_layers():
    model = hollow(lambda: build_deconvnet((224, 224, 3), 21))
    convolutions = [x for x in model.layers if isinstance(x, layers.Conv2D)]
    assert [layer.filters for layer in convolutions] == (
        [4096] * 2 + [512] * 5 + [256] * 3 + [128] * 2 + [64] * 3 + [21]
    )
    nested = [*model.get_layer("vgg16").layers, *model.layers]
    normalised = [layer for layer in nested if isinstance(layer, layers.BatchNormalization)]
    assert len(normalised) == 13 + 2 + 1 + 13  # without them it does not train
    assert sum(isinstance(layer, MaxUnpooling) for layer in model.layers) == 5


@pytest.mark.parametrize(
    ("size", "code"), [((224, 224), (1, 1)), ((32, 90), (1, 1)), ((256, 288), (2, 3))]
)
def test_the_code_has_one_place_up_to_the_size_of_the_paper(size, code):
    model = hollow(lambda: build_deconvnet((*size, 3), **TINY))
    assert model.get_layer("fc6_conv").output.shape[1:] == (*code, 256)
    before, after = model.get_layer("vgg16").output[0], model.get_layer("code_crop").output
    assert before.shape == after.shape
    if size == (224, 224):  # no frame and no crop: the paper's own layers
        assert model.get_layer("fc6_frame").padding == ((0, 0), (0, 0))


@pytest.mark.parametrize("size", [(32, 32), (45, 57), (226, 33)])
def test_every_size(size):
    model = build_deconvnet((*size, 3), 3, **TINY)
    probabilities = predict(model, random_batch(size)[0])
    assert probabilities.shape == (2, *size, 3) and probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(-1), 1, atol=1e-5)


def test_a_deconvolution_of_stride_1_is_a_convolution():
    """With the kernel turned by half a circle and its channels swapped, where a 1 is padded."""
    random = np.random.default_rng(0)
    maps = random.normal(size=(2, 7, 9, 5)).astype("float32")
    transposed = layers.Conv2DTranspose(4, 3, padding="same")
    convolution = layers.Conv2D(4, 3, padding="same")
    transposed.build(maps.shape)
    convolution.build(maps.shape)
    kernel, bias = random.normal(size=(3, 3, 4, 5)), random.normal(size=4)  # (h, w, out, in)
    transposed.set_weights([kernel, bias])
    convolution.set_weights([kernel[::-1, ::-1].swapaxes(2, 3), bias])
    np.testing.assert_allclose(
        ops.convert_to_numpy(transposed(maps)), ops.convert_to_numpy(convolution(maps)), atol=1e-4
    )


def test_unpooled_maps_are_sparse():
    """At most one value of a window is not 0, in the network as it computes."""
    keras.utils.set_random_seed(0)
    model = disturbed(build_deconvnet((45, 57, 3), 3, **TINY))
    unpools = [layer for layer in model.layers if isinstance(layer, MaxUnpooling)]
    look = keras.Model(model.input, [layer.output for layer in unpools])
    for maps, layer in zip(predict(look, random_batch((45, 57))[0]), unpools, strict=True):
        height, width = maps.shape[1:3]
        maps = np.pad(maps, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)))
        windows = maps.reshape(2, maps.shape[1] // 2, 2, maps.shape[2] // 2, 2, -1)
        values = (windows != 0).sum((2, 4))
        assert values.max() == 1, layer.name
        # What is left out lies in windows whose value is 0 behind its ReLU.
        np.testing.assert_array_equal(
            values, np.broadcast_to(windows.max((2, 4)) != 0, values.shape)
        )


def test_a_batch_of_three_is_three_of_one():
    model = disturbed(build_deconvnet((45, 57, 3), 3, **TINY))
    pictures, _ = random_batch((45, 57), number=3)
    single = [predict(model, pictures[index : index + 1])[0] for index in range(3)]
    np.testing.assert_allclose(predict(model, pictures), single, atol=1e-5)


def test_folded_and_saved(tmp_path):
    pictures, _ = random_batch((45, 57))
    model = disturbed(build_deconvnet((45, 57, 3), 3, **TINY))
    probabilities = predict(model, pictures)
    np.testing.assert_allclose(predict(fold(model), pictures), probabilities, atol=1e-5)
    model.save(tmp_path / "network.keras")
    again = keras.models.load_model(tmp_path / "network.keras")
    np.testing.assert_array_equal(predict(again, pictures), probabilities)


# Learning


@pytest.mark.long
def test_one_batch_can_be_learnt_by_heart():
    keras.utils.set_random_seed(0)
    pictures, _ = random_batch((32, 32), number=8)
    labels = np.zeros((8, 32, 32), np.uint8)
    for index in range(8):
        labels[index, index : index + 16, 4:20] = 1 + index % 2
    model = build_deconvnet((32, 32, 3), 3, **TINY | {"width": 16})
    jit = keras.backend.backend() == "jax"  # TensorFlow traces it faster than XLA compiles it
    model.compile(adam(1e-2), PixelCrossEntropy(), jit_compile=jit)
    model.optimizer.build(model.trainable_variables)
    for _ in range(36):
        model.train_on_batch(pictures, labels)
    predicted = np.argmax(model(pictures, training=True), -1)
    assert (predicted == labels).mean() > 0.98
