"""SegNet and SegNet-Basic: counts, indices, any size, and what a network that learns must show."""

import keras
import numpy as np
import pytest
from conftest import count, disturbed, hollow, predict, random_batch

from fast.adam import adam
from fast.folding import fold
from losses import PixelCrossEntropy
from tools.summary import trace
from zoo import segnet
from zoo.pooling import MaxPoolingWithIndices, MaxUnpooling
from zoo.segnet import build_segnet, build_segnet_basic

TINY = [(build_segnet, {"width": 4, "blocks": (1, 2, 1)}), (build_segnet_basic, {"width": 4})]
BOTH = pytest.mark.parametrize(("build", "settings"), TINY, ids=["segnet", "segnet-basic"])


# By hand: VGG16; its 14,710,464 of kernels mirrored, without the 9 * 3 * 64 of the first, and the
# biases 5 * 512 + 3 * 256 + 2 * 128 + 2 * 64 = 3,712; the classifier; and batch normalisation.
@pytest.mark.parametrize(("n_classes", "whole"), [(4, 29_461_188), (11, 29_465_227)])
@pytest.mark.parametrize("size", [(360, 480), (45, 57)])
def test_parameters_of_segnet(n_classes, whole, size):
    mirror = 14_710_464 - 9 * 3 * 64 + 3_712
    assert 14_714_688 + mirror + 577 * n_classes + 4 * (4_224 + 3_712) == whole
    assert count(lambda: build_segnet((*size, 3), n_classes)) == whole


def test_parameters_of_segnet_that_are_trained():
    """As the paper has them: 29.45 M."""
    model = hollow(lambda: build_segnet((64, 64, 3), 11))
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == 29_449_355


@pytest.mark.parametrize(("n_classes", "whole"), [(4, 1_416_900), (11, 1_417_355)])
@pytest.mark.parametrize("size", [(360, 480), (45, 57)])
def test_parameters_of_segnet_basic(n_classes, whole, size):
    kernels = 49 * 64 * (3 + 7 * 64)
    assert kernels + 4 * 64 + 4 * 8 * 64 + 65 * n_classes == whole
    assert count(lambda: build_segnet_basic((*size, 3), n_classes)) == whole


def convolutions(model):
    return [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]


def test_layers_of_segnet():
    model = hollow(lambda: build_segnet((64, 96, 3), 11))
    encoder = model.get_layer("vgg16")
    assert [layer.filters for layer in convolutions(encoder)] == (
        [64] * 2 + [128] * 2 + [256] * 3 + [512] * 6
    )
    assert [layer.filters for layer in convolutions(model)] == (
        [512] * 5 + [256] * 3 + [128] * 2 + [64] * 2 + [11]
    )
    every = convolutions(encoder) + convolutions(model)
    assert all(layer.kernel_size == (3, 3) and layer.use_bias for layer in every)
    assert every[-1] is model.get_layer("pre_activation")


def test_layers_of_segnet_basic():
    """The paper's decoder has neither biases nor ReLU."""
    model = hollow(lambda: build_segnet_basic((64, 96, 3), 11))
    *every, last = convolutions(model)
    assert last.name == "pre_activation" and last.kernel_size == (1, 1)
    assert all(layer.kernel_size == (7, 7) and layer.filters == 64 for layer in every)
    assert [layer.use_bias for layer in every] == [True] * 4 + [False] * 4
    active = [layer for layer in model.layers if isinstance(layer, keras.layers.Activation)]
    assert [layer.name for layer in active] == [f"encoder{stage}_1_relu" for stage in range(1, 5)]
    normalised = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]
    assert len(normalised) == 8


def test_what_the_deepest_value_sees():
    """106 pixels, says the paper of SegNet-Basic; 212 is the field of VGG16's last pool."""
    for build, name, field in [
        (build_segnet_basic, "encoder4_pool", 106),
        (build_segnet, "block5_pool", 212),
    ]:
        calls, _ = trace(hollow(lambda build=build: build((224, 224, 3))))
        (call,) = (call for call in calls if call.layer.name == name)
        assert call.reach.field == field


@BOTH
@pytest.mark.parametrize("size", [(32, 32), (45, 57), (90, 121)])
def test_every_size_comes_back_without_padding(build, settings, size):
    model = build((*size, 3), 3, **settings)
    probabilities = predict(model, random_batch(size)[0])
    assert probabilities.shape == (2, *size, 3) and probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(-1), 1, atol=1e-5)
    assert model.get_layer("pad").output.shape[1:3] == size


def test_what_stands_for_the_indices():
    """Bilinear resizing, or each value four times; an odd side has one less."""
    x = np.random.default_rng(0).normal(size=(1, 3, 4, 2)).astype("float32")
    pictures = keras.Input((5, 8, 3))
    found = keras.ops.convert_to_numpy(segnet.unpool(x, None, 1, pictures, nearest=True))
    resized = keras.ops.image.resize(x, (5, 8), interpolation="bilinear")
    np.testing.assert_allclose(segnet.unpool(x, None, 1, pictures), resized, atol=1e-6)
    assert found.shape == (1, 5, 8, 2) and not np.allclose(found, resized)
    np.testing.assert_array_equal(found[:, :, ::2], found[:, :, 1::2])
    assert {tuple(row) for row in found[0, 0].tolist()} == {tuple(row) for row in x[0, 0].tolist()}


def test_sizes_that_caffe_must_be_told():
    """360 / 32 = 11.25: the authors' file names 30x23 and 60x45, width by height."""
    model = hollow(lambda: build_segnet((360, 480, 3), 11))
    sizes = [model.get_layer(f"decoder{n}_unpool").output.shape[1:3] for n in range(5, 0, -1)]
    assert sizes == [(23, 30), (45, 60), (90, 120), (180, 240), (360, 480)]


def layers_of(model, kind):
    nested = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    every = [layer for each in [*nested, model] for layer in each.layers]
    return [layer for layer in every if isinstance(layer, kind)]


@BOTH
def test_every_unpooling_has_the_places_of_its_own_pool(build, settings):
    model = build((45, 57, 3), 3, **settings)
    pools, unpools = layers_of(model, MaxPoolingWithIndices), layers_of(model, MaxUnpooling)
    assert len(pools) == len(unpools) == len(settings.get("blocks", range(4)))
    for pool, unpool in zip(pools, reversed(unpools), strict=True):
        _, places = unpool.input
        assert places.shape == pool.output[1].shape and places.dtype == "uint8"
        assert unpool.output.shape == pool.input.shape


@BOTH
def test_the_places_decide(build, settings):
    """Turning the contents of every first window moves what the decoder gets; pooling sees none."""
    keras.utils.set_random_seed(0)
    model = disturbed(build((32, 48, 3), 3, **settings))
    pool, unpool = layers_of(model, MaxPoolingWithIndices)[0], layers_of(model, MaxUnpooling)[-1]
    maps = np.random.default_rng(0).normal(size=(1, *pool.input.shape[1:])).astype("float32")
    windows = maps.reshape(1, 16, 2, 24, 2, -1)
    turned = windows[:, :, ::-1, :, ::-1].reshape(maps.shape)
    (maxima, places), (same, others) = pool(maps), pool(turned)
    np.testing.assert_array_equal(maxima, same)
    np.testing.assert_array_equal(others, 3 - keras.ops.convert_to_numpy(places))
    there, elsewhere = (keras.ops.convert_to_numpy(unpool(maxima, x)) for x in (places, others))
    np.testing.assert_array_equal(
        there.reshape(windows.shape)[:, :, ::-1, :, ::-1], elsewhere.reshape(windows.shape)
    )


@BOTH
def test_a_batch_of_three_is_three_of_one(build, settings):
    model = disturbed(build((45, 57, 3), 3, **settings))
    pictures, _ = random_batch((45, 57), number=3)
    single = [predict(model, pictures[index : index + 1])[0] for index in range(3)]
    np.testing.assert_allclose(predict(model, pictures), single, atol=1e-5)


@BOTH
def test_folded_saved_and_in_bfloat16(build, settings, tmp_path, policy):
    pictures, _ = random_batch((45, 57))
    model = disturbed(build((45, 57, 3), 3, **settings))
    probabilities = predict(model, pictures)
    np.testing.assert_allclose(predict(fold(model), pictures), probabilities, atol=1e-5)
    model.save(tmp_path / "network.keras")
    again = keras.models.load_model(tmp_path / "network.keras")
    np.testing.assert_array_equal(predict(again, pictures), probabilities)
    policy("mixed_bfloat16")
    half = build((45, 57, 3), 3, **settings)
    half.set_weights(model.get_weights())
    # Near ties fall to other places, so that single pixels may differ.
    assert np.abs(predict(half, pictures) - probabilities).mean() < 0.03


# Learning


@pytest.mark.long
@BOTH
def test_one_batch_can_be_learnt_by_heart(build, settings):
    keras.utils.set_random_seed(0)
    pictures, _ = random_batch((32, 32))
    labels = np.zeros((2, 32, 32), np.uint8)
    labels[0, 8:24, 4:20], labels[1, 16:, 12:28] = 1, 2
    model = build((32, 32, 3), 3, **settings | {"width": 16})
    jit = keras.backend.backend() == "jax"  # TensorFlow traces it faster than XLA compiles it
    model.compile(adam(1e-2), PixelCrossEntropy(), jit_compile=jit)
    model.optimizer.build(model.trainable_variables)
    for _ in range(60):
        model.train_on_batch(pictures, labels)
    predicted = np.argmax(model(pictures, training=True), -1)
    assert (predicted == labels).mean() > 0.98
