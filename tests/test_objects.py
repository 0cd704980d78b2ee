"""Connected areas: specks, objects with their measures, and outlines with few corners."""

import tracemalloc

import numpy as np
import pytest
from test_outlines import blobs

from utils.classes import VOID
from utils.label_maps.outlines import polygon, traced
from utils.label_maps.polygons import draw_regions, outline
from utils.objects import (
    PIECE,
    counts_of,
    objects_of,
    polygons_of,
    rings_of_objects,
    simplified,
    without_specks,
)

SIDES = ((0, 1), (1, 0), (0, -1), (-1, 0))
CORNERS = ((1, 1), (1, -1), (-1, 1), (-1, -1))


def small_map(seed, size=(9, 11), classes=3, void=True):
    """Random pixels, some of them in blocks."""
    random = np.random.default_rng(seed)
    labels = random.choice(classes, size, p=[0.6, *[0.4 / (classes - 1)] * (classes - 1)])
    for _ in range(4):
        y, x = random.integers(0, size)
        labels[y : y + 4, x : x + 4] = random.integers(0, classes)
    if void:
        labels[random.random(size) < 0.08] = VOID
    return labels.astype(np.uint8)


def around(labels, place, steps):
    for dy, dx in steps:
        y, x = place[0] + dy, place[1] + dx
        if 0 <= y < labels.shape[0] and 0 <= x < labels.shape[1]:
            yield y, x


def areas(labels):
    """Every area as a list of its pixels, by flood fill, in the order in which they begin."""
    seen, found = set(), []
    for start in np.ndindex(labels.shape):
        if start in seen:
            continue
        steps = SIDES + CORNERS if labels[start] else SIDES
        area, waiting = [], [start]
        seen.add(start)
        while waiting:
            place = waiting.pop()
            area.append(place)
            for other in around(labels, place, steps):
                if labels[other] == labels[start] and other not in seen:
                    seen.add(other)
                    waiting.append(other)
        found.append(area)
    return found


def naively_without_specks(labels, least):
    labels = labels.copy()
    while True:
        for area in sorted(areas(labels), key=len):  # which keeps the order of equal ones
            beside = {p for place in area for p in around(labels, place, SIDES)} - set(area)
            kinds = [labels[place] for place in beside if labels[place] != VOID]
            if len(area) < least and labels[area[0]] != VOID and kinds:
                break
        else:
            return labels
        kind = max(sorted(set(kinds)), key=kinds.count)
        labels[tuple(zip(*area, strict=True))] = kind


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("least", [2, 5, 30])
def test_specks_as_a_naive_loop_has_it(seed, least):
    labels = small_map(seed, void=seed % 3 > 0, classes=2 + seed % 4)
    cleaned, before = without_specks(labels, least), labels.copy()
    np.testing.assert_array_equal(cleaned, naively_without_specks(labels, least))
    np.testing.assert_array_equal(labels, before)  # a copy came back
    np.testing.assert_array_equal(cleaned == VOID, labels == VOID)
    assert cleaned.dtype == np.uint8


def test_specks_go_and_holes_are_filled():
    labels = np.zeros((20, 30), np.uint8)
    labels[3:17, 3:17] = 1
    labels[6:8, 6:8] = 0  # a hole
    labels[12, 16] = 2  # at the border of the object
    labels[0, 29] = labels[19, 0] = 2  # in corners of the picture
    expected = np.zeros((20, 30), np.uint8)
    expected[3:17, 3:17] = 1
    np.testing.assert_array_equal(without_specks(labels, 5), expected)
    np.testing.assert_array_equal(without_specks(labels, 1), labels)
    assert without_specks(labels, 4)[7, 7] == 0  # four pixels are not fewer than four


def test_a_diagonal_line_is_an_object_and_parts_the_background():
    labels = np.eye(8, dtype=np.uint8)
    assert len(objects_of(labels)) == 1
    np.testing.assert_array_equal(without_specks(labels, 8), labels)
    cut = labels.copy()
    cut[0, 1:3] = 2  # what lies on one side of it
    cut[7, 5] = 3
    np.testing.assert_array_equal(without_specks(cut, 3), labels)
    ring = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], np.uint8)
    assert without_specks(np.pad(ring, 3), 4)[4, 4] == 1  # the hole is one, and is filled


def test_void_stays_and_gives_no_class():
    labels = np.full((7, 7), VOID, np.uint8)
    labels[3, 3] = 1
    np.testing.assert_array_equal(without_specks(labels, 9), labels)
    labels[3, 4], labels[3, 5:] = 2, 3
    cleaned = without_specks(labels, 2)
    assert cleaned[3].tolist() == [VOID, VOID, VOID, 2, 2, 3, 3]  # which together are two
    assert without_specks(np.ones((2, 2), np.uint8), 9).tolist() == [[1, 1], [1, 1]]


@pytest.mark.parametrize("seed", range(30))
def test_objects_as_a_naive_loop_has_them(seed):
    labels = small_map(seed, classes=2 + seed % 4)
    confidence = np.random.default_rng(seed).random(labels.shape).astype(np.float16)
    expected = []
    for area in areas(labels):
        if labels[area[0]] not in (0, VOID):
            y, x = (list(each) for each in zip(*area, strict=True))
            box = (min(x), min(y), max(x) - min(x) + 1, max(y) - min(y) + 1)
            mean = np.mean([float(confidence[place]) for place in area])
            expected.append((int(labels[area[0]]), box, len(area), np.mean(x), np.mean(y), mean))
    expected.sort(key=lambda each: -each[2])
    found = objects_of(labels, confidence)
    given = [(f.class_id, f.box, f.pixels, *f.centroid, f.confidence) for f in found]
    assert [each[:3] for each in given] == [each[:3] for each in expected]
    np.testing.assert_allclose([e[3:] for e in given], [e[3:] for e in expected], atol=1e-12)
    inside = (labels > 0) & (labels != VOID)
    assert sum(each.pixels for each in found) == inside.sum()
    assert all(each.confidence is None for each in objects_of(labels))


def test_objects_of_one_pixel_at_edges_and_over_all():
    labels = np.zeros((5, 7), np.uint8)
    assert objects_of(labels) == []
    labels[0, 6], labels[4, 0] = 3, 254
    one, two = objects_of(labels)
    assert (one.class_id, one.box, one.pixels, one.centroid) == (3, (6, 0, 1, 1), 1, (6.0, 0.0))
    assert (two.class_id, two.box, two.pixels, two.centroid) == (254, (0, 4, 1, 1), 1, (0.0, 4.0))
    labels[:] = 2
    [all_of_it] = objects_of(labels, np.full((5, 7), 0.25, np.float32))
    assert all_of_it.box == (0, 0, 7, 5) and all_of_it.centroid == (3.0, 2.0)
    assert all_of_it.confidence == 0.25


def test_sums_of_many_bands_are_those_of_one(monkeypatch):
    labels = blobs(3)
    confidence = np.random.default_rng(3).random(labels.shape)
    whole = objects_of(labels, confidence)
    counts = counts_of(labels, 300)
    monkeypatch.setattr("utils.objects.PIECE", 100)
    np.testing.assert_array_equal(counts_of(labels, 300), counts)
    np.testing.assert_array_equal(counts, np.bincount(labels.ravel(), minlength=300))
    for one, other in zip(whole, objects_of(labels, confidence), strict=True):
        np.testing.assert_allclose(one.centroid, other.centroid)
        np.testing.assert_allclose(one.confidence, other.confidence)


def test_counting_takes_no_memory():
    labels = np.ones((3000, 2000), np.uint8)
    tracemalloc.start()
    assert counts_of(labels, 4).tolist() == [0, labels.size, 0, 0]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * 8 * PIECE


def test_what_is_no_label_map_is_refused():
    for bad in (np.zeros((0, 5)), np.zeros((5, 0)), np.zeros((1, 2, 3))):
        for function in (objects_of, polygons_of, lambda labels: without_specks(labels, 2)):
            with pytest.raises(ValueError, match="not .H, W. uint8"):
                function(bad.astype(np.uint8))
    with pytest.raises(ValueError, match="uint8"):
        objects_of(np.zeros((4, 4)))
    for function in (objects_of, polygons_of, rings_of_objects):
        with pytest.raises(ValueError, match="confidence is"):
            function(np.zeros((4, 4), np.uint8), np.zeros((4, 5)))


def blob(seed, across, ragged=0.0):
    """A round object with bays, about as many pixels across; its border may be ragged."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[: across * 2, : across * 2] - across + 0.5
    angle, radius = np.arctan2(y, x), np.hypot(y, x)
    bays = sum(
        random.uniform(0, 0.25) / k * np.cos(k * angle + random.uniform(0, 7)) for k in range(2, 7)
    )
    noise = ragged * random.standard_normal(x.shape)
    return (radius + noise < across / 2 * (1 + bays)).astype(np.uint8)


@pytest.mark.parametrize(
    ("across", "ragged", "iou", "left"),  # the least of 10 blobs, and the share of corners of all
    [
        (20, 0.0, 0.93, 0.31),
        (20, 0.7, 0.91, 0.40),
        (50, 0.0, 0.97, 0.22),
        (50, 0.7, 0.96, 0.38),
        (200, 0.0, 0.99, 0.12),
        (200, 0.7, 0.99, 0.37),
    ],
)
def test_polygons_with_few_corners_cover_the_same(across, ragged, iou, left):
    before = after = 0
    for seed in range(10):
        labels = without_specks(blob(seed, across, ragged), 30)
        [(full, _)], [(region, label)] = traced(labels), polygons_of(labels)
        drawn, _ = draw_regions([(region, label)], labels.shape)
        assert (drawn & labels).sum() / (drawn | labels).sum() >= iou
        before += len(outline(full))
        after += len(outline(region))
    assert after / before <= left


def distance(point, ring):
    """From a point to a closed outline."""
    start, along = ring, np.roll(ring, -1, axis=0) - ring
    length = np.maximum((along**2).sum(axis=1), 1e-12)
    t = np.clip(((point - start) * along).sum(axis=1) / length, 0, 1)
    return np.hypot(*(start + t[:, None] * along - point).T).min()


@pytest.mark.parametrize("tolerance", [0.5, 1.0, 3.0])
def test_no_corner_lies_further_away_than_is_tolerated(tolerance):
    saved = 0
    for seed in range(10):
        labels = blobs(seed, size=(80, 90))
        pairs = polygons_of(labels, tolerance=tolerance)
        assert [label for _, label in pairs] == [label for _, label in traced(labels)]
        for (full, _), (region, _) in zip(traced(labels), pairs, strict=True):
            ring, less = outline(full), outline(region)
            assert len(less) >= 3
            assert max(distance(point, less) for point in ring) <= tolerance + 1e-9
            assert {*map(tuple, less)} <= {*map(tuple, ring)}
            saved += len(ring) - len(less)
        drawn, notes = draw_regions(pairs, labels.shape)
        assert not notes
        assert (drawn == labels).mean() > 1 - 0.05 * tolerance
    assert saved > 100


def test_a_thin_outline_keeps_an_area():
    x = np.arange(12)
    flat = np.stack([x, (x // 3) % 2], axis=1).astype(float)  # steps of one pixel
    ring = np.concatenate([flat, flat[-2:0:-1] + (0, 1)])
    less = simplified(ring, 9.0)
    assert len(less) == 3
    assert not draw_regions([(polygon(less), 1)], (20, 20))[1]
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float)
    np.testing.assert_array_equal(simplified(square, 5.0), square)


def test_regions_have_the_confidence_of_their_own_pixels():
    labels = np.zeros((30, 40), np.uint8)
    labels[2:28, 2:28] = 1
    labels[10:20, 10:20] = 0  # a hole, in it another object of the class
    labels[13:17, 13:17] = 1
    labels[5:9, 30:38] = VOID
    confidence = np.full(labels.shape, 0.5, np.float16)
    confidence[2:28, 2:28] = 0.75
    confidence[10:20, 10:20] = 0.25
    confidence[13:17, 13:17] = 0.996
    said = [(r.attributes.get("confidence"), label) for r, label in polygons_of(labels, confidence)]
    assert said == [("0.75", 1), ("0.25", 0), (None, VOID), ("1.00", 1)]
    pairs = rings_of_objects(labels, confidence)
    said = {(r.attributes.get("confidence"), label) for r, label in pairs}
    assert said == {("0.75", 1), ("1.00", 1), (None, VOID)}
    np.testing.assert_array_equal(draw_regions(pairs, labels.shape)[0], labels)
    assert not any(region.attributes for region, _ in polygons_of(labels))
    assert polygons_of(labels * 0, confidence) == rings_of_objects(labels * 0, confidence) == []
