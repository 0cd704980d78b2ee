"""Boundary F1 and the confusion within trimaps, against loops over pixels."""

import numpy as np
import pytest

from utils.boundaries import (
    TOLERANCE,
    TRIMAPS,
    boundary_distances,
    boundary_f1,
    count_in_trimaps,
)
from utils.classes import VOID

LARGE = (480, 640)  # whose diagonal is 800, and the tolerance 6


def blobs(seed, size=(30, 41), n_classes=4, void=True):
    """A map of rectangles, some of them void."""
    random = np.random.default_rng(seed)
    labels = np.zeros(size, np.uint8)
    for value in [*range(1, n_classes), *([VOID] if void else [])] * 2:
        top, left = random.integers(0, size[0] - 5), random.integers(0, size[1] - 5)
        height, width = random.integers(2, 12, 2)
        labels[top : top + height, left : left + width] = value
    return labels


def contour(labels, each, void):
    """Pixels of a class with one of another class beside, above or below them."""
    found = []
    for y, x in np.ndindex(labels.shape):
        beside = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
        beside = [
            (v, u) for v, u in beside if v in range(len(labels)) and u in range(len(labels[0]))
        ]
        if labels[y, x] == each and not void[y, x]:
            if any(labels[p] != each and not void[p] for p in beside):
                found.append((y, x))
    return found


def naive_f1(truth, predicted, n_classes, tolerance):
    void = truth == VOID
    result = []
    for each in range(n_classes):
        true, found = contour(truth, each, void), contour(predicted, each, void)
        if each not in truth or not (true or found):
            result.append(np.nan)
            continue

        def met(these, those):
            near = [any(np.hypot(y - v, x - u) < tolerance for v, u in those) for y, x in these]
            return sum(near) / len(near) if near else 0

        precision, recall = met(found, true), met(true, found)
        both = precision + recall
        result.append(2 * precision * recall / both if both else 0)
    return result


@pytest.mark.parametrize("seed", range(3))
def test_f1_is_that_of_a_loop(seed, monkeypatch):
    truth, predicted = blobs(seed), blobs(seed + 10, void=False)
    monkeypatch.setattr("utils.boundaries.TOLERANCE", 0.04)  # 2.03 pixels of so small a map
    expected = naive_f1(truth, predicted, 5, 0.04 * np.hypot(30, 41))
    np.testing.assert_allclose(boundary_f1(truth, predicted, 5), expected)
    assert np.isnan(expected[4]) and 0 < expected[0] < 1


@pytest.mark.parametrize("void", [False, True])
def test_identical_maps_give_one(void):
    truth = blobs(1, void=void)
    predicted = np.where(truth == VOID, 2, truth)
    f1 = boundary_f1(truth, predicted, 5)
    assert f1[:4].tolist() == [1] * 4 and np.isnan(f1[4]), "there is no class 4"
    for matrix in count_in_trimaps(truth, predicted, 5):
        assert matrix.sum() == np.trace(matrix) > 0


@pytest.mark.parametrize("shift", [5, 6, 7])
def test_a_line_that_is_shifted_by_the_tolerance_is_missed(shift):
    """Less than 6 pixels are near enough, Csurka's < 0.75 % of a diagonal of 800."""
    assert pytest.approx(6) == TOLERANCE * np.hypot(*LARGE)
    truth, predicted = np.zeros(LARGE, np.uint8), np.zeros(LARGE, np.uint8)
    truth[:, 300], predicted[:, 300 + shift] = 1, 1
    assert boundary_f1(truth, predicted, 2)[1] == (1 if shift < 6 else 0)


def test_what_is_predicted_in_void_does_not_count():
    truth = blobs(2)
    predicted = np.where(truth == VOID, 0, blobs(3, void=False)).astype(np.uint8)
    noise = np.random.default_rng(0).integers(0, 4, truth.shape)
    other = np.where(truth == VOID, noise, predicted).astype(np.uint8)
    assert (predicted != other).any()
    assert boundary_f1(truth, predicted, 4).tolist() == boundary_f1(truth, other, 4).tolist()
    one, two = count_in_trimaps(truth, predicted, 4), count_in_trimaps(truth, other, 4)
    np.testing.assert_array_equal(one, two)


def test_a_rim_of_void_is_no_contour():
    truth = np.zeros((20, 20), np.uint8)
    truth[:, 10:] = VOID
    np.testing.assert_array_equal(boundary_f1(truth, np.zeros_like(truth), 2), [1, np.nan])


def test_contours_where_there_is_none():
    truth, predicted = np.zeros((20, 20), np.uint8), np.zeros((20, 20), np.uint8)
    np.testing.assert_array_equal(boundary_f1(truth, predicted, 2), [1, np.nan])
    predicted[5:9, 5:9] = 1
    f1 = boundary_f1(truth, predicted, 2)
    assert f1[0] == 0 and np.isnan(f1[1])
    assert boundary_f1(predicted, truth, 2).tolist() == [0, 0]


@pytest.mark.parametrize("seed", range(3))
def test_trimaps_are_those_of_a_loop(seed):
    truth, predicted = blobs(seed), blobs(seed + 10, void=False)
    distances = boundary_distances(truth)
    expected = np.zeros((len(TRIMAPS), 4, 4), int)
    for place in np.ndindex(truth.shape):
        for index, width in enumerate(TRIMAPS):
            if truth[place] != VOID and distances[place] < width:
                expected[index, truth[place], predicted[place]] += 1
    counts = count_in_trimaps(truth, predicted, 4)
    assert counts.dtype == np.int64
    np.testing.assert_array_equal(counts, expected)


def test_a_trimap_of_one_pixel_is_both_sides_of_the_border():
    truth = np.zeros((3, 80), np.uint8)
    truth[:, 40:] = 1
    totals = count_in_trimaps(truth, np.zeros_like(truth), 2).sum((1, 2))
    assert totals.tolist() == [3 * 2 * width for width in TRIMAPS]


def test_the_scores_of_a_data_set():
    """Pictures count alike, whatever their classes; one without contours not at all."""
    from metrics import boundary_scores

    f1s = [[1, 0.5, np.nan], [0.25, np.nan, np.nan], [np.nan] * 3]
    matrices = np.zeros((2, len(TRIMAPS), 2, 2), int)
    matrices[0, :, 0, 0], matrices[1, :, 1, 1], matrices[1, 1, 1, 0] = 3, 1, 1
    f1, mious = boundary_scores(f1s, matrices)
    assert f1 == 0.5
    assert mious == pytest.approx([1, (3 / 4 + 1 / 2) / 2, 1, 1, 1])


def test_evaluation_prints_them(store, capsys):
    from evaluation import Boundaries, evaluate

    def right(pictures, size):
        truth = store[store.keys[len(seen)]]
        return np.eye(3, dtype="float32")[np.where(truth == VOID, 0, truth)][None]

    seen, boundaries = [], Boundaries()

    def see(truth, predicted, n_classes):
        seen.append(n_classes)
        assert predicted.dtype == np.uint8 and predicted.shape == truth.shape
        boundaries.see(truth, predicted, n_classes)

    evaluate(right, store, see=see)
    boundaries.print()
    assert seen == [3] * 7
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "boundary F1     1.0000  mean over 7 pictures"
    assert printed[1].startswith("trimap mIoU     1.0000 (1), 1.0000 (2)")


def test_pictures_that_are_void_are_not_among_those_of_the_mean(capsys):
    from evaluation import Boundaries

    labels = np.zeros((8, 8), np.uint8)
    labels[2:6, 2:6] = 1
    seen = Boundaries()
    seen.see(labels, labels, 2)
    seen.see(np.full((8, 8), 255, np.uint8), labels, 2)
    seen.print()
    assert "boundary F1     1.0000  mean over 1 pictures" in capsys.readouterr().out
