"""The loop over patches, the fully convolutional form and the dilated one: the same numbers."""

import keras
import numpy as np
import pytest
from conftest import count, disturbed, hollow, predict, random_batch

from fast.adam import adam
from fast.folding import fold
from losses import PixelCrossEntropy
from tools.summary import trace
from utils.errors import UserError
from zoo.pooling import DilatedMaxPooling
from zoo.sliding_window import (
    KERNELS,
    build_patch_classifier,
    build_sliding_window,
    by_patches,
    check_sliding_window,
    patch_side,
)

TINY = {"width": 4, "kernels": (3, 2), "head": 8}


# By hand: kernels and biases of four convolutions and two dense layers.
@pytest.mark.parametrize("n_classes", [4, 11])
@pytest.mark.parametrize("size", [(480, 640), (45, 57)])
def test_parameters(n_classes, size):
    convolutions = 16 * 3 * 48 + 25 * 48 * 48 + 2 * 16 * 48 * 48 + 4 * 48
    dense = 9 * 48 * 200 + 200 + 201 * n_classes
    assert count(lambda: build_sliding_window((*size, 3), n_classes)) == convolutions + dense
    assert convolutions + dense == 220_424 + 201 * n_classes


def test_the_side_of_a_patch_is_what_a_pixel_sees():
    """95 in the paper: 95, 92, 46, 42, 21, 18, 9, 6, 3."""
    assert patch_side() == 95
    for kernels in (KERNELS, (3,), (3, 2), (1, 2, 3)):
        model = hollow(lambda kernels=kernels: build_sliding_window((32, 48, 3), kernels=kernels))
        _, (reach,) = trace(model)
        assert (reach.field, reach.stride) == (patch_side(kernels), 1)


@pytest.mark.long
@pytest.mark.parametrize("kernels", [(3,), (3, 2), (2, 3, 1)])
@pytest.mark.parametrize("size", [(32, 35), (33, 32)])
def test_loop_equals_fully_convolutional_equals_dilated(kernels, size):
    keras.utils.set_random_seed(0)
    settings = TINY | {"kernels": kernels}
    model = disturbed(build_sliding_window((*size, 3), 3, **settings))
    last = model.get_layer("pre_activation")
    last.set_weights(
        [100 * last.get_weights()[0], last.get_weights()[1]]
    )  # for more than one class
    classifier = build_patch_classifier((None, None, 3), 3, **settings)
    classifier.set_weights(model.get_weights())
    pictures, _ = random_batch(size, number=1)
    dilated = predict(model, pictures)[0]
    look = keras.Model(model.input, model.get_layer("border").output)
    bordered = predict(look, pictures)[0]
    loop = by_patches(classifier, bordered, patch_side(kernels))
    # Before Softmax sums of float32 reach 18, so their last digit is 2e-6.
    np.testing.assert_allclose(dilated, loop, atol=1e-5)
    step = 2 ** len(kernels)
    convolutional = predict(classifier, bordered[None])[0]
    np.testing.assert_allclose(convolutional, loop[::step, ::step], atol=1e-5)
    assert loop.std(axis=(0, 1)).max() > 0.05  # it is not one value all over


def test_dilated_pooling():
    maps = np.random.default_rng(0).normal(size=(2, 7, 9, 3)).astype("float32")
    one = DilatedMaxPooling(1)(maps)
    np.testing.assert_array_equal(one, keras.layers.MaxPooling2D(2, strides=1)(maps))
    two = keras.ops.convert_to_numpy(DilatedMaxPooling(2)(maps))
    assert two.shape == (2, 5, 7, 3)
    for row, column in np.ndindex(5, 7):
        corners = maps[:, row : row + 3 : 2, column : column + 3 : 2]
        np.testing.assert_array_equal(two[:, row, column], corners.max((1, 2)))


def test_what_the_loop_costs():
    """The numbers of the docstring, in GMAC for 480x640 and 4 classes."""
    patch, every_16th, dilated = (
        sum(call.macs for call in trace(hollow(build))[0])
        for build in (
            lambda: build_patch_classifier((95, 95, 3)),
            lambda: build_patch_classifier((480 + 94, 640 + 94, 3)),
            lambda: build_sliding_window((480, 640, 3)),
        )
    )
    assert round(480 * 640 * patch / 1e9) == 41_308
    assert round(dilated / 1e9, 1) == 78.5
    assert round(every_16th / 1e9, 1) == 8.0


@pytest.mark.parametrize("size", [(32, 32), (45, 57)])
def test_every_size(size):
    model = build_sliding_window((*size, 3), 3, **TINY | {"kernels": KERNELS})
    probabilities = predict(model, random_batch(size)[0])
    assert probabilities.shape == (2, *size, 3) and probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(-1), 1, atol=1e-5)


def test_a_shifted_picture_has_a_shifted_answer():
    model = disturbed(build_sliding_window((40, 48, 3), 3, **TINY))
    pictures, _ = random_batch((40, 48))
    answer = predict(model, pictures)
    moved = predict(model, np.roll(pictures, (1, 3), (1, 2)))
    side = patch_side(TINY["kernels"])
    inside = slice(side, -side)
    np.testing.assert_allclose(
        moved[:, inside, inside], np.roll(answer, (1, 3), (1, 2))[:, inside, inside], atol=1e-6
    )


def test_a_pixel_is_the_centre_of_its_patch():
    settings = TINY | {"kernels": (2, 1)}
    side = patch_side(settings["kernels"])
    assert side == 13
    keras.utils.set_random_seed(0)
    model = build_sliding_window((33, 33, 3), 3, **settings | {"width": 16})
    pictures, _ = random_batch((33, 33), number=1)
    other = pictures.copy()
    other[0, 16, 16] = 255 * (pictures[0, 16, 16] < 128)
    changed = (predict(model, pictures) != predict(model, other)).any(-1)[0]
    for axis in (0, 1):
        places = np.flatnonzero(changed.any(axis))
        assert (places[0], places[-1]) == (16 - side // 2, 16 + side // 2)


@pytest.mark.parametrize("kernels", [(), (3, 0), (1,) * 7])
def test_kernels_that_cannot_be(kernels):
    with pytest.raises(UserError, match="kernels"):
        build_sliding_window((32, 32, 3), kernels=kernels)
    with pytest.raises(UserError, match="kernels"):
        check_sliding_window(kernels=kernels, width=4)


def test_folded_and_saved(tmp_path):
    pictures, _ = random_batch()
    model = disturbed(build_sliding_window((32, 48, 3), 3, **TINY))
    probabilities = predict(model, pictures)
    np.testing.assert_allclose(predict(fold(model), pictures), probabilities, atol=1e-6)
    model.save(tmp_path / "network.keras")
    again = keras.models.load_model(tmp_path / "network.keras")
    np.testing.assert_array_equal(predict(again, pictures), probabilities)


# Learning


def test_one_batch_can_be_learnt_by_heart():
    keras.utils.set_random_seed(0)
    pictures, _ = random_batch((32, 32))
    labels = np.zeros((2, 32, 32), np.uint8)
    labels[0, 8:24, 4:20], labels[1, 16:, 12:28] = 1, 2
    model = build_sliding_window((32, 32, 3), 3, width=16, kernels=(4, 4), head=32)
    jit = keras.backend.backend() == "jax"  # TensorFlow traces it faster than XLA compiles it
    model.compile(adam(1e-2), PixelCrossEntropy(), jit_compile=jit)
    model.optimizer.build(model.trainable_variables)
    for _ in range(80):
        model.train_on_batch(pictures, labels)
    predicted = np.argmax(model(pictures, training=True), -1)
    assert (predicted == labels).mean() > 0.98
