"""Distances to label boundaries, and errors counted by them."""

import numpy as np
import pytest

from utils.boundaries import BAND_NAMES, BANDS, boundary_distances, count_by_distance
from utils.classes import VOID


def halves(height: int = 3, width: int = 80) -> np.ndarray:
    labels = np.zeros((height, width), np.uint8)
    labels[:, width // 2 :] = 1
    return labels


def test_distances_are_those_to_the_nearest_boundary_pixel():
    labels = np.zeros((9, 9), np.uint8)
    labels[4, 4] = 1
    distances = boundary_distances(labels)
    assert distances[4, 4] == distances[4, 3] == distances[5, 4] == 0
    assert distances[3, 3] == 1  # a corner of the spot; its neighbours above and beside are at 0
    assert distances[4, 0] == 3
    assert distances[0, 0] == pytest.approx(np.hypot(4, 3))


def test_a_map_of_one_label_has_no_boundary():
    for value in (0, 3, VOID):
        assert np.isinf(boundary_distances(np.full((4, 5), value, np.uint8))).all()


def test_bands_hold_exactly_their_pixels():
    """The boundary runs between columns 39 and 40, both of which are at distance 0."""
    truth = halves()
    predicted = truth.copy()
    predicted[0, 39:41] ^= 1  # distance 0, on both sides
    predicted[1, 38] = 1  # distance 1
    predicted[1, 37] = 1  # distance 2
    predicted[2, 32] = 1  # distance 7
    predicted[2, 31] = 1  # distance 8
    predicted[:, 0] = 1  # distance 39
    counts = count_by_distance(truth, predicted)
    assert counts.dtype == np.int64
    assert counts.tolist() == [[12, 3], [12, 1], [24, 1], [48, 1], [144, 3]]


def test_void_is_not_counted_but_its_rim_is_a_boundary():
    truth = np.zeros((1, 40), np.uint8)
    truth[0, 20:] = VOID
    predicted = np.ones_like(truth)
    counts = count_by_distance(truth, predicted)
    assert counts.tolist() == [[2, 2], [2, 2], [4, 4], [8, 8], [4, 4]]
    assert not count_by_distance(np.full_like(truth, VOID), predicted).any()


def test_a_picture_without_boundary_is_interior():
    truth = np.zeros((5, 6), np.uint8)
    predicted = truth.copy()
    predicted[0, :4] = 2
    counts = count_by_distance(truth, predicted)
    assert counts[-1].tolist() == [30, 4] and not counts[:-1].any()


def test_every_band_has_a_name_that_says_where_it_begins():
    assert [int(name.split("-")[0].split()[0]) for name in BAND_NAMES] == list(BANDS)
