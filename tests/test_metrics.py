"""Scores against a matrix worked by hand, a naive loop, and the chapter's own formula."""

import numpy as np
import pytest

import metrics
from metrics import count_confusions
from utils.classes import VOID

# By hand: rows are the truth, with sums 60, 23 and 17; the columns' sums are 55, 25 and 20.
HAND = np.array([[50, 4, 6], [2, 20, 1], [3, 1, 13]])
HAND_IOU = [50 / (60 + 55 - 50), 20 / (23 + 25 - 20), 13 / (17 + 20 - 13)]


def naive_matrix(labels, predicted, n_classes):
    matrix = np.zeros((n_classes, n_classes), int)
    for truth, guess in zip(labels.ravel(), predicted.ravel(), strict=True):
        if truth != VOID:
            matrix[truth, guess] += 1
    return matrix


def chapter_scores(labels, predicted, n_classes):
    """The chapter's evaluation of one picture, written from its formula: masks and their sums."""
    ious = []
    for c in range(n_classes):
        mask, truth = (predicted == c).astype(float), (labels == c).astype(float)
        if truth.sum() == 0:
            continue
        ious.append(np.sum(mask * truth) / np.sum(np.ceil((mask + truth) / 2)))
    return np.mean(ious), np.mean(predicted == labels)


@pytest.fixture
def maps():
    random = np.random.default_rng(3)
    labels = random.integers(0, 4, (5, 12, 17)).astype(np.uint8)
    labels[1] = np.where(labels[1] == 3, 0, labels[1])  # class 3 is absent from this picture
    predicted = np.where(
        random.random(labels.shape) < 0.7, labels, random.integers(0, 4, labels.shape)
    )
    return labels, predicted


def test_matrices_equal_a_naive_loop(maps):
    labels, predicted = maps
    labels = labels.copy()
    labels[0, :3] = VOID
    matrices = np.asarray(count_confusions(labels, predicted, 4))
    assert matrices.shape == (5, 4, 4)
    for matrix, truth, guess in zip(matrices, labels, predicted, strict=True):
        np.testing.assert_array_equal(matrix, naive_matrix(truth, guess, 4))


def test_matrices_of_many_pixels_are_exact():
    labels = np.zeros((1, 5000, 4000), np.uint8)  # more than float32 can count
    matrix = np.asarray(count_confusions(labels, labels, 2))[0]
    assert matrix[0, 0] == 20_000_000


def test_iou_of_a_matrix_worked_by_hand():
    np.testing.assert_allclose(metrics.iou_per_class(HAND), HAND_IOU, atol=1e-9, rtol=0)
    assert metrics.dataset_miou(HAND[None]) == pytest.approx(np.mean(HAND_IOU), abs=1e-9)
    assert metrics.pixel_accuracy(HAND[None]) == pytest.approx(83 / 100, abs=1e-9)


def test_chapter_scores_equal_the_formula_of_the_chapter(maps):
    labels, predicted = maps
    matrices = np.asarray(count_confusions(labels, predicted, 4))
    expected = [chapter_scores(t, g, 4) for t, g in zip(labels, predicted, strict=True)]
    np.testing.assert_allclose(
        metrics.picture_mious(matrices), [miou for miou, _ in expected], atol=1e-9, rtol=0
    )
    result = metrics.scores(matrices)
    assert result["chapter_miou"] == pytest.approx(np.mean([m for m, _ in expected]), abs=1e-9)
    assert result["pixel_accuracy"] == pytest.approx(np.mean([a for _, a in expected]), abs=1e-9)


def test_the_two_mious_differ_where_an_absent_class_is_predicted():
    """Class 2 is nowhere in the truth: the chapter's mIoU does not see its false positives."""
    labels, predicted = np.zeros((1, 10, 10), np.uint8), np.zeros((1, 10, 10), int)
    labels[0, :5] = 1
    predicted[0, :5] = 1
    predicted[0, 0] = 2
    matrices = np.asarray(count_confusions(labels, predicted, 3))
    assert metrics.chapter_miou(matrices) == pytest.approx((1 + 0.8) / 2)
    assert metrics.dataset_miou(matrices) == pytest.approx((1 + 0.8 + 0) / 3)


def test_classes_in_neither_truth_nor_prediction_leave_the_mean():
    matrix = np.zeros((4, 4), int)
    matrix[0, 0] = matrix[2, 2] = 5
    assert np.isnan(metrics.iou_per_class(matrix)[[1, 3]]).all()
    assert metrics.dataset_miou(matrix[None]) == 1


def test_void_pictures_count_for_nothing():
    """The chapter divided by the number of classes present, zero in such a picture."""
    matrices = np.stack([HAND, np.zeros_like(HAND)])
    assert metrics.scores(matrices) == metrics.scores(HAND[None])
    assert np.isnan(metrics.chapter_miou(np.zeros((2, 3, 3), int)))
