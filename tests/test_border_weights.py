"""U-Net's weight map: symmetric, highest where objects touch, w_c where there is one alone."""

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt
from skimage.measure import label

from utils.border_weights import SIGMA, W0, border_weights
from utils.classes import VOID


def squares(gap: int = 0, classes=(1, 2)) -> np.ndarray:
    """Two squares of 10 pixels beside each other, in the middle of (30, 40 + gap)."""
    labels = np.zeros((30, 40 + gap), np.uint8)
    labels[10:20, 10:20] = classes[0]
    labels[10:20, 20 + gap : 30 + gap] = classes[1]
    return labels


def test_touching_squares():
    weights = border_weights(squares())
    assert weights.dtype == np.float32
    np.testing.assert_array_equal(weights, weights[:, ::-1])
    np.testing.assert_array_equal(weights, weights[::-1])
    np.testing.assert_array_equal(weights, border_weights(squares(classes=(2, 1))))
    assert weights.max() == 1 + W0
    assert (weights[10:20, 19:21] == 1 + W0).all()
    far = np.delete(weights, np.s_[18:22], axis=1)
    assert far.max() < 1 + W0 and weights.min() < 1.01


@pytest.mark.parametrize("classes", [(1, 2), (1, 1)])
def test_the_gap_between_two_squares_by_hand(classes):
    """With a gap of 4, d1 + d2 is 3 in it, 4 at the squares' edges and grows by 1 a column."""
    row = border_weights(squares(4, classes))[15]
    expected = 1 + W0 * np.exp(-(np.array([5, 4, 3, 3, 3, 3, 4, 5]) ** 2) / (2 * SIGMA**2))
    np.testing.assert_allclose(row[18:26], expected, rtol=1e-6)


def test_the_nearest_two_of_many_objects_count():
    random = np.random.default_rng(0)
    labels = np.zeros((70, 90), np.uint8)
    places = [(5, 5), (5, 20), (30, 8), (33, 40), (60, 80), (40, 60)]
    for number, (row, column) in enumerate(places):
        labels[row : row + random.integers(3, 9), column : column + 7] = 1 + number % 3
    objects = label(labels, background=0)
    assert objects.max() == len(places)
    each = [distance_transform_edt(objects != number) for number in range(1, len(places) + 1)]
    nearest, second = np.sort(np.maximum(np.array(each) - 1, 0), 0)[:2]
    expected = 1 + W0 * np.exp(-((nearest + second) ** 2) / (2 * SIGMA**2))
    np.testing.assert_allclose(border_weights(labels), expected, rtol=2e-7)


@pytest.mark.parametrize(
    "labels", [np.zeros((20, 20)), squares(classes=(1, 0)), squares(classes=(1, 1))]
)
def test_without_a_second_object_the_weight_is_that_of_the_class(labels):
    labels = labels.astype(np.uint8)
    class_weights = np.array([0.5, 2.0, 3.0])
    np.testing.assert_array_equal(border_weights(labels, class_weights), class_weights[labels])
    assert (border_weights(labels) == 1).all()


def test_class_weights_are_added():
    labels, class_weights = squares(2), np.array([0.5, 2.0, 3.0])
    difference = border_weights(labels, class_weights) - border_weights(labels)
    np.testing.assert_allclose(difference, class_weights[labels] - 1, atol=1e-6)


def test_void_weighs_nothing_and_is_no_object():
    labels = squares(classes=(1, VOID))
    weights = border_weights(labels)
    assert not weights[labels == VOID].any() and (weights[labels != VOID] == 1).all()
