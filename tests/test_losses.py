"""The loss against a loop over pixels, with void, with weights and at its limits."""

import keras
import numpy as np
import pytest

from engine.records import OPTIONS
from losses import (
    IOU_WEIGHT,
    LOSSES,
    EntropyAndIoU,
    PixelCrossEntropy,
    median_frequency_weights,
    soft_iou,
)
from metrics import chapter_miou, count_confusions
from utils.classes import VOID


@pytest.fixture
def example():
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (2, 4, 5, 3))
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    labels = random.integers(0, 3, (2, 4, 5)).astype(np.uint8)
    labels[0, 1] = VOID
    return probabilities.astype("float32"), labels


def naive(probabilities, labels, weights=(1, 1, 1)):
    total = weight = 0.0
    for index in np.ndindex(labels.shape):
        if labels[index] != VOID:
            total -= weights[labels[index]] * np.log(probabilities[index][labels[index]])
            weight += weights[labels[index]]
    return total / weight


def test_void_pixels_do_not_count(example):
    probabilities, labels = example
    loss = float(PixelCrossEntropy()(labels, probabilities))
    assert loss == pytest.approx(naive(probabilities, labels), abs=1e-5)


def test_class_weights(example):
    probabilities, labels = example
    weights = (0.5, 2.0, 3.0)
    loss = float(PixelCrossEntropy(weights)(labels, probabilities))
    assert loss == pytest.approx(naive(probabilities, labels, weights), abs=1e-5)


def test_equals_the_one_hot_loss_of_the_chapter(example):
    probabilities, labels = example
    labels = np.where(labels == VOID, 0, labels)
    chapter = keras.losses.CategoricalCrossentropy()(np.eye(3)[labels], probabilities)
    assert float(PixelCrossEntropy()(labels, probabilities)) == pytest.approx(
        float(chapter), abs=1e-5
    )


def test_a_batch_that_is_void_costs_nothing(example):
    probabilities, labels = example
    assert float(PixelCrossEntropy()(np.full_like(labels, VOID), probabilities)) == 0


def test_void_batches_do_not_spoil_the_weights():
    inputs = keras.Input((4, 4, 3))
    outputs = keras.layers.Conv2D(3, 1, activation="softmax")(inputs)
    model = keras.Model(inputs, outputs)
    model.compile("adam", PixelCrossEntropy())
    model.train_on_batch(np.ones((2, 4, 4, 3)), np.full((2, 4, 4), VOID, np.uint8))
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


def test_certain_and_wrong_is_costly_but_finite():
    """The gradient must not vanish where the softmax is saturated: the loss sees the logits."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("only TensorFlow hands the logits behind a softmax to the loss")
    inputs = keras.Input((1, 1, 2))
    model = keras.Model(inputs, keras.layers.Softmax()(inputs))
    model.compile("sgd", PixelCrossEntropy())
    logits = np.array([[[[100.0, -100.0]]]], "float32")
    assert model.evaluate(logits, np.ones((1, 1, 1)), verbose=0) == pytest.approx(200, rel=1e-3)


def naive_soft_iou(probabilities, labels):
    """Per picture and class, by a loop over pixels."""
    shape = probabilities.shape[0], probabilities.shape[-1]
    both, either = np.zeros(shape), np.zeros(shape)
    for picture, row, column in np.ndindex(labels.shape):
        for id in range(shape[1]):
            if labels[picture, row, column] != VOID:
                truth = float(labels[picture, row, column] == id)
                predicted = probabilities[picture, row, column, id]
                both[picture, id] += truth * predicted
                either[picture, id] += truth + predicted - truth * predicted
    return both / either


def test_soft_iou_equals_a_loop(example):
    probabilities, labels = example
    found = keras.ops.convert_to_numpy(soft_iou(labels.astype("int32"), probabilities))
    np.testing.assert_allclose(found, naive_soft_iou(probabilities, labels), atol=1e-6)


def test_entropy_and_iou_equals_a_loop(example):
    probabilities, labels = example
    labels[1][labels[1] == 2] = 0  # the second picture holds two classes alone
    iou = naive_soft_iou(probabilities, labels)
    expected = naive(probabilities, labels) + IOU_WEIGHT * (
        1 - (iou[0].mean() + iou[1, :2].mean()) / 2
    )
    assert float(EntropyAndIoU()(labels, probabilities)) == pytest.approx(expected, abs=1e-5)


def test_certain_predictions_have_the_soft_iou_of_the_metric():
    random = np.random.default_rng(1)
    labels, predicted = random.integers(0, 3, (2, 3, 6, 7))
    labels[0, 0] = VOID
    certain = np.eye(3, dtype="float32")[predicted]
    loss = float(EntropyAndIoU()(labels, certain)) - float(PixelCrossEntropy()(labels, certain))
    matrices = keras.ops.convert_to_numpy(count_confusions(labels, predicted, 3))
    assert loss == pytest.approx(IOU_WEIGHT * (1 - chapter_miou(matrices)), abs=1e-5)


def test_a_picture_that_is_void_does_not_count_in_the_iou(example):
    probabilities, labels = example
    alone = float(EntropyAndIoU()(labels[1:], probabilities[1:]))
    labels[0] = VOID
    assert float(EntropyAndIoU()(labels, probabilities)) == pytest.approx(alone, abs=1e-5)
    assert float(EntropyAndIoU()(np.full_like(labels, VOID), probabilities)) == 0


def test_every_loss_can_be_asked_for():
    assert OPTIONS["loss"]["parser"]["choices"] == tuple(LOSSES)


@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_saved_with_their_weights(name):
    copy = keras.losses.deserialize(keras.losses.serialize(LOSSES[name]([1, 2.5])))
    assert type(copy) is LOSSES[name] and copy.class_weights == [1.0, 2.5]


def test_median_frequency_weights_by_hand():
    # Class 0: 12 of 16 pixels, class 1: 4 of 8, class 2: 0. The median of 0.75 and 0.5 is 0.625.
    maps = [np.array([[0] * 8]), np.array([[0] * 4 + [1] * 4 + [VOID] * 3])]
    weights = median_frequency_weights([m.astype(np.uint8) for m in maps], 3)
    np.testing.assert_allclose(weights, [0.625 / 0.75, 0.625 / 0.5, 0])
