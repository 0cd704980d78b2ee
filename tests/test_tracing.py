"""What predictions save of tracing: corners to move, to add and to draw are counted right."""

import numpy as np

from benchmarks import tracing


def square(*boxes, size=(200, 300)):
    labels = np.zeros(size, np.uint8)
    for top, left, side in boxes:
        labels[top : top + side, left : left + side] = 1
    return labels


def test_what_is_right_needs_nothing():
    truth = square((20, 20, 60), (100, 150, 80))
    found = tracing.effort(truth, truth)
    assert found == {"moved": 0, "added": 0, "deleted": 0, "by_hand": 0, "drawn": 8}


def test_what_is_missing_is_drawn_and_what_is_none_deleted():
    truth = square((20, 20, 60), (100, 150, 80))
    assert tracing.effort(square(), truth)["by_hand"] == 8
    found = tracing.effort(square((20, 20, 60)), truth)
    assert (found["added"], found["by_hand"]) == (4, 4)
    found = tracing.effort(square((20, 20, 60), (100, 150, 80), (100, 20, 50)), truth)
    assert (found["deleted"], found["by_hand"]) == (1, 1)
    assert tracing.effort(square((20, 20, 60), (150, 20, 5)), square((20, 20, 60)))["by_hand"] == 0


def test_corners_that_are_off_are_moved():
    """3 pixels of 300 are near enough."""
    truth = square((40, 40, 100))
    near, off = truth.copy(), truth.copy()
    near[40:140, 140:142] = 1
    off[40:140, 140:160] = 1
    assert tracing.effort(near, truth)["by_hand"] == 0
    # The corners of the truth lie on sides of the prediction.
    found = tracing.effort(off, truth)
    assert (found["moved"], found["added"], found["deleted"]) == (2, 0, 0)


def test_what_is_all_wrong_is_drawn_anew():
    rng = np.random.default_rng(0)
    ragged = square((40, 40, 100))
    for row in range(40, 140, 8):
        ragged[row : row + 4, 140 : 150 + int(rng.integers(30))] = 1
    found = tracing.effort(ragged, square((40, 40, 100)))
    assert found == {"moved": 0, "added": 4, "deleted": 1, "by_hand": 5, "drawn": 4}


def test_coarse_outlines_have_fewer_corners_to_move():
    """One side has steps: what keeps within a pixel has a corner at each, some too far off."""
    truth = square((40, 40, 100))
    stepped = truth.copy()
    for row in range(40, 140):
        stepped[row, 140 : 142 + 2 * (row // 20 % 2)] = 1
    assert tracing.effort(stepped, truth)["by_hand"] == 3
    assert tracing.effort(stepped, truth, coarse=True)["by_hand"] == 0


def test_how_far_points_lie_from_an_outline():
    ring = np.array([[0, 0], [10, 0], [10, 10], [0, 10]], float)
    points = np.array([[5, 0], [5, 3], [13, 14], [0, 0]], float)
    np.testing.assert_allclose(tracing.farness(points, ring), [0, 3, 5, 0], atol=1e-9)
