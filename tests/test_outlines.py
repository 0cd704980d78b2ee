"""Label maps to outlines and back."""

import numpy as np
import pytest
from skimage.draw import ellipse

from utils.formats.annotations import Region
from utils.label_maps.outlines import polygon, ringed, to_centres, to_rings, traced
from utils.label_maps.polygons import draw_regions


def blobs(seed, size=(40, 56), classes=4):
    """A label map of overlapping ellipses, with holes, islands in them, and void."""
    random, labels = np.random.default_rng(seed), np.zeros(size, np.uint8)
    for _ in range(14):
        at, radii = random.uniform(0, size), random.uniform(2, 12, 2)
        rows, columns = ellipse(*at, *radii, shape=size, rotation=random.uniform(0, 3))
        labels[rows, columns] = random.choice([*range(classes), 255])
    return labels


def redrawn(pairs, size):
    labels, notes = draw_regions(pairs, size)
    assert not [note for note in notes if note.kind != "skipped"]
    return labels


@pytest.mark.parametrize("seed", range(20))
def test_both_ways_give_the_map_back(seed):
    labels = blobs(seed)
    assert len(np.unique(labels)) > 3
    np.testing.assert_array_equal(redrawn(ringed(labels), labels.shape), labels)
    back = redrawn(traced(labels), labels.shape)
    assert (back != labels).sum() <= 3  # dots


def test_noise_comes_back_between_pixels_whatever_it_is():
    labels = np.random.default_rng(1).integers(0, 3, (20, 25)).astype(np.uint8)
    np.testing.assert_array_equal(redrawn(ringed(labels), labels.shape), labels)


def test_what_lies_in_a_hole_is_drawn_later():
    labels = np.zeros((20, 20), np.uint8)
    labels[2:18, 2:18] = 1
    labels[5:15, 5:15] = 0
    labels[8:12, 8:12] = 2
    pairs = traced(labels)
    assert [label for _, label in pairs] == [1, 0, 2]
    assert pairs[0][0].numbers["all_points_x"].__len__() == 4  # corners alone
    np.testing.assert_array_equal(redrawn(pairs, (20, 20)), labels)


def test_dots_and_lines_are_left_out():
    labels = np.zeros((9, 9), np.uint8)
    labels[1, 1] = 1
    labels[4, 2:8] = 1
    assert traced(labels) == []
    assert len(ringed(labels)) == 2


def test_an_area_over_the_whole_picture():
    labels = np.full((6, 8), 3, np.uint8)
    for way in (traced, ringed):
        np.testing.assert_array_equal(redrawn(way(labels), (6, 8)), labels)


def test_a_polygon_of_centres_and_its_ring_cover_the_same():
    random, ious = np.random.default_rng(5), []
    for _ in range(20):
        angles = np.sort(random.uniform(0, 2 * np.pi, 9))
        radii = random.uniform(12, 30, 9)
        corners = np.stack([40 + radii * np.cos(angles), 40 + radii * np.sin(angles)], axis=1)
        corners = np.rint(corners)
        one = redrawn([(polygon(corners), 1)], (80, 80)) > 0
        region = Region("rings", {"rings": (to_rings(corners),)}, {})
        other = redrawn([(region, 1)], (80, 80)) > 0
        ious.append((one & other).sum() / (one | other).sum())
    assert np.mean(ious) > 0.99 and min(ious) > 0.97  # corners as sharp as a few degrees


def test_rings_of_squares_are_exact_and_corners_come_back():
    square = np.array([[3, 4], [9, 4], [9, 12], [3, 12]], float)
    np.testing.assert_allclose(to_rings(square), [[3, 4], [10, 4], [10, 13], [3, 13]])
    np.testing.assert_allclose(to_rings(square[::-1])[::-1], [[3, 4], [10, 4], [10, 13], [3, 13]])
    house = np.array([[3, 9], [10, 2], [17, 9], [17, 20], [10, 20], [3, 20]], float)
    np.testing.assert_allclose(to_centres(to_rings(house)), house, atol=1e-9)
    twice = np.repeat(house, 2, axis=0)  # corners that were clicked twice
    np.testing.assert_allclose(to_rings(twice), to_rings(house))
    spike = np.array([[0, 0], [100, 1], [0, 2]], float)  # its mitre would reach far out
    assert np.abs(to_rings(spike) - 0.5 - spike).max() <= 2.0
