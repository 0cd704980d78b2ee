"""The losses against loops over pixels, with void, with weights and at their limits."""

import keras
import numpy as np
import pytest

from engine.records import OPTIONS
from losses import (
    IOU_WEIGHT,
    LOSSES,
    BorderEntropy,
    EntropyAndDice,
    EntropyAndIoU,
    FocalLoss,
    PixelCrossEntropy,
    SoftDice,
    median_frequency_weights,
    soft_iou,
)
from metrics import chapter_miou, count_confusions
from utils.border_weights import border_weights
from utils.classes import VOID

WEIGHTS = (0.5, 2.0, 3.0)


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
    loss = float(PixelCrossEntropy(WEIGHTS)(labels, probabilities))
    assert loss == pytest.approx(naive(probabilities, labels, WEIGHTS), abs=1e-5)


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


# Every loss


def cost(name, labels, probabilities, class_weights=None) -> float:
    """A loss by its name, of class ids (B, H, W) and probabilities (B, H, W, C)."""
    labels, probabilities = np.asarray(labels, np.uint8), np.asarray(probabilities, np.float32)
    more = ()
    if name == "border":
        more = (np.stack([border_weights(each, class_weights) for each in labels]),)
    return float(LOSSES[name](class_weights)(labels, probabilities, *more))


def gradient(function, values) -> np.ndarray:
    """The derivative of a function that gives a scalar, by Keras' backend."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        values = tf.convert_to_tensor(values)
        with tf.GradientTape() as tape:
            tape.watch(values)
            result = function(values)
        return tape.gradient(result, values).numpy()
    import jax

    return np.asarray(jax.grad(function)(values))


@pytest.mark.parametrize("name", ["entropy", "border"])
def test_chance_costs_the_logarithm_of_the_classes(name):
    labels = np.random.default_rng(0).integers(0, 5, (2, 6, 7))
    assert cost(name, labels, np.full((2, 6, 7, 5), 0.2)) == pytest.approx(np.log(5), abs=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_what_is_perfect_costs_nothing(name, example):
    _, labels = example
    certain = np.eye(3)[np.where(labels == VOID, 0, labels)]
    assert cost(name, labels, certain) == pytest.approx(0, abs=1e-5)
    assert cost(name, labels, certain[..., ::-1]) > 0.5


@pytest.mark.parametrize("name", LOSSES)
def test_weights_of_one_change_nothing(name, example):
    probabilities, labels = example
    plain = cost(name, labels, probabilities)
    assert cost(name, labels, probabilities, [1, 1, 1]) == pytest.approx(plain, abs=1e-6)
    assert abs(cost(name, labels, probabilities, WEIGHTS) - plain) > 1e-3


@pytest.mark.parametrize("name", LOSSES)
def test_void_pixels_change_nothing(name, example):
    probabilities, labels = example
    before = cost(name, labels, probabilities)
    probabilities[labels == VOID] = (0.0, 0.1, 0.9)
    assert cost(name, labels, probabilities) == pytest.approx(before, abs=1e-6)
    assert cost(name, np.full_like(labels, VOID), probabilities) == 0


@pytest.mark.parametrize("name", LOSSES)
def test_the_gradient_is_that_of_small_differences(name, example):
    probabilities, labels = example
    logits = np.log(probabilities)
    weights = np.stack([border_weights(each, WEIGHTS) for each in labels])
    more = (weights,) if name == "border" else ()

    def of(values):
        return LOSSES[name](WEIGHTS)(labels, keras.ops.softmax(values), *more)

    found = gradient(of, logits)
    assert np.isfinite(found).all() and not found[labels == VOID].any()
    random = np.random.default_rng(3)
    for _ in range(3):
        step = random.normal(0, 1, logits.shape).astype("float32")
        difference = float(of(logits + 0.01 * step)) - float(of(logits - 0.01 * step))
        assert difference / 0.02 == pytest.approx(float((found * step).sum()), rel=2e-2, abs=1e-3)


def test_the_gradient_of_the_entropy_is_what_is_predicted_less_what_is_true(example):
    probabilities, labels = example
    labels = np.where(labels == VOID, 1, labels)

    def of(logits):
        return PixelCrossEntropy()(labels, keras.ops.softmax(logits))

    expected = (probabilities - np.eye(3)[labels]) / labels.size
    np.testing.assert_allclose(gradient(of, np.log(probabilities)), expected, atol=1e-6)


@pytest.mark.parametrize("name", ["dice", "bce-dice", "focal", "border"])
def test_certain_and_wrong_has_a_gradient_that_is_finite(name):
    def of(logits):
        more = (np.ones((1, 1, 2), np.float32),) if name == "border" else ()
        return LOSSES[name]()(np.array([[[0, 1]]]), keras.ops.softmax(logits), *more)

    logits = np.array([[[[-60.0, 60.0], [-60.0, 60.0]]]], "float32")
    assert np.isfinite(gradient(of, logits)).all()


@pytest.mark.long
@pytest.mark.parametrize("name", LOSSES)
def test_a_network_learns_with_it_when_it_computes_in_bfloat16(name, mixed_bfloat16):
    random = np.random.default_rng(0)
    pictures = random.normal(0, 1, (2, 8, 8, 3)).astype("float32")
    labels = np.where(pictures[..., 0] > 0, 1, 2).astype(np.uint8)
    labels[:, 0] = VOID
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(3, 1)(inputs)
    model = keras.Model(inputs, keras.layers.Softmax(dtype="float32")(x))
    model.compile(keras.optimizers.Adam(0.1), LOSSES[name](WEIGHTS), jit_compile=False)
    more = ()
    if name == "border":
        more = (np.stack([border_weights(each, WEIGHTS) for each in labels]),)
    costs = [float(model.train_on_batch(pictures, labels, *more)) for _ in range(30)]
    assert costs[-1] < 0.7 * costs[0]


# Dice


def naive_dice(probabilities, labels):
    """2 sum(yp) / (sum(y) + sum(p)) per picture and class, (B, C)."""
    truth = np.eye(256)[labels][..., : probabilities.shape[-1]]
    known = (labels != VOID)[..., None]
    both, each = (truth * probabilities * known), (truth + probabilities) * known
    return 2 * both.sum((1, 2)) / each.sum((1, 2))


def test_dice_is_one_less_the_mean_of_the_classes_that_are_there(example):
    probabilities, labels = example
    labels[1][labels[1] == 2] = 0  # the second picture holds two classes alone
    dice = naive_dice(probabilities, labels)
    expected = 1 - (dice[0].mean() + dice[1, :2].mean()) / 2
    assert float(SoftDice()(labels, probabilities)) == pytest.approx(expected, abs=1e-5)
    first, second = np.array(WEIGHTS), np.array(WEIGHTS[:2])
    expected = 1 - (dice[0] @ first / first.sum() + dice[1, :2] @ second / second.sum()) / 2
    assert float(SoftDice(WEIGHTS)(labels, probabilities)) == pytest.approx(expected, abs=1e-5)


def test_dice_of_yes_and_no_is_that_of_the_iou():
    random = np.random.default_rng(1)
    labels, predicted = random.integers(0, 3, (2, 1, 6, 7))
    matrix = keras.ops.convert_to_numpy(count_confusions(labels, predicted, 3))[0]
    iou = np.diag(matrix) / (matrix.sum(0) + matrix.sum(1) - np.diag(matrix))
    expected = 1 - np.mean(2 * iou / (1 + iou))
    assert cost("dice", labels, np.eye(3)[predicted]) == pytest.approx(expected, abs=1e-5)


def test_dice_of_a_batch_is_the_mean_of_its_pictures(example):
    probabilities, labels = example
    alone = [cost("dice", labels[[i]], probabilities[[i]]) for i in range(2)]
    assert cost("dice", labels, probabilities) == pytest.approx(np.mean(alone), abs=1e-6)


def test_a_class_that_no_picture_holds_still_costs_those_it_displaces():
    labels = np.zeros((1, 4, 4))
    certain, astray = np.eye(3)[np.zeros((1, 4, 4), int)], np.zeros((1, 4, 4, 3))
    astray[:] = (0.5, 0.5, 0)
    assert cost("dice", labels, certain) == pytest.approx(0, abs=1e-6)
    assert cost("dice", labels, astray) == pytest.approx(1 - 2 * 8 / (16 + 8), abs=1e-6)


def test_bce_and_dice_equal_a_loop(example):
    probabilities, labels = example
    for weights in (np.ones(3), np.array(WEIGHTS)):
        entropy = both = each = total = 0.0
        for index in np.ndindex(labels.shape):
            if labels[index] != VOID:
                weight = weights[labels[index]]
                total += weight
                for channel, p in enumerate(probabilities[index].astype(float)):
                    y = float(labels[index] == channel)
                    entropy -= weight * (y * np.log(p) + (1 - y) * np.log(1 - p))
                    both += weight * y * p
                    each += weight * (y + p)
        expected = 0.5 * entropy / (3 * total) + 1 - (2 * both + 1) / (each + 1)
        found = float(EntropyAndDice(weights)(labels, probabilities))
        assert found == pytest.approx(expected, abs=1e-5)


# Focal


def test_focal_without_gamma_is_the_entropy(example):
    probabilities, labels = example
    focal, entropy = FocalLoss(WEIGHTS, gamma=0), PixelCrossEntropy(WEIGHTS)
    assert float(focal(labels, probabilities)) == float(entropy(labels, probabilities))


def test_focal_equals_a_loop(example):
    probabilities, labels = example
    known = labels != VOID
    p = np.take_along_axis(probabilities, np.where(known, labels, 0)[..., None], -1)[..., 0]
    expected = np.mean((-((1 - p) ** 2) * np.log(p))[known])
    assert float(FocalLoss()(labels, probabilities)) == pytest.approx(expected, abs=1e-5)


def test_focal_is_saved_with_its_gamma():
    copy = keras.losses.deserialize(keras.losses.serialize(FocalLoss([1, 2], gamma=1.5)))
    assert (copy.gamma, copy.class_weights) == (1.5, [1.0, 2.0])


# U-Net's borders


def test_border_weighs_the_entropy(example):
    probabilities, labels = example
    known = labels != VOID
    weights = np.random.default_rng(2).uniform(1, 11, labels.shape) * known
    p = np.take_along_axis(probabilities, np.where(known, labels, 0)[..., None], -1)[..., 0]
    expected = -np.sum(weights * np.log(p)) / weights.sum()
    found = float(BorderEntropy()(labels, probabilities, weights.astype("float32")))
    assert found == pytest.approx(expected, abs=1e-5)


def test_border_without_weights_is_refused(example):
    probabilities, labels = example
    with pytest.raises(ValueError, match="sample_weight"):
        BorderEntropy()(labels, probabilities)


def test_border_of_single_objects_is_the_weighted_entropy():
    random = np.random.default_rng(0)
    labels = np.zeros((2, 9, 9), np.uint8)
    labels[0, 2:5, 3:6], labels[1, 1:8, 1:3] = 1, 2
    probabilities = random.dirichlet([1, 1, 1], labels.shape)
    entropy = cost("entropy", labels, probabilities, WEIGHTS)
    assert cost("border", labels, probabilities, WEIGHTS) == pytest.approx(entropy, abs=1e-5)
