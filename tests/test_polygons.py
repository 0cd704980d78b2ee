"""Shapes to label maps, pixel for pixel as cv2.fillPoly draws them."""

import numpy as np
import pytest

from utils.errors import UserError
from utils.formats.annotations import Region
from utils.label_maps.polygons import draw_regions, fill, is_degenerate, outline

# Rows of 24 pixels as numbers, drawn by cv2.fillPoly of OpenCV 5.0.0 into 20 x 24 pixels.
BY_OPENCV = {
    "star, crossing itself": (
        [(10, 0), (16, 19), (0, 7), (20, 7), (4, 19)],
        "8192 8192 28672 28672 28672 63488 63488 16777208 8325104 2033632 984960 460544 198144 "
        "232960 261632 524032 495360 460544 917888 524416",
    ),
    "triangle": (
        [(1, 3), (22, 0), (15, 9)],
        "30 4092 524280 8388600 2097136 524256 131008 16320 3968 768" + 10 * " 0",
    ),
    "bow tie": (
        [(2, 2), (18, 12), (18, 2), (2, 12)],
        "0 0 2097184 3670240 4063712 4130784 4186080 4194272 4186080 4130784 4063712 3670240 "
        "2097184" + 7 * " 0",
    ),
    "thin": (
        [(0, 5), (23, 8), (0, 6)],
        "0 0 0 0 0 15728640 16773120 262128 63" + 11 * " 0",
    ),
}


def polygon(points, shape="polygon"):
    x, y = zip(*points, strict=True)
    return Region(shape, {"all_points_x": x, "all_points_y": y}, {})


def rect(x, y, width, height):
    return Region("rect", {"x": x, "y": y, "width": width, "height": height}, {})


def ellipse(cx, cy, rx, ry, theta=0.0):
    return Region("ellipse", {"cx": cx, "cy": cy, "rx": rx, "ry": ry, "theta": theta}, {})


def drawn(region, size=(40, 60), output_size=None):
    labels, notes = draw_regions([(region, 1)], size, output_size)
    assert not notes
    return labels


def kinds(notes):
    return [note.kind for note in notes]


@pytest.mark.parametrize("name", BY_OPENCV)
@pytest.mark.parametrize("turns", range(3))
def test_equal_to_opencv(name, turns):
    corners, rows = BY_OPENCV[name]
    expected = [[int(bit) for bit in f"{int(row):024b}"] for row in rows.split()]
    labels = np.zeros((20, 24), np.uint8)
    fill(labels, np.roll(np.array(corners, float), turns, axis=0), 1)
    np.testing.assert_array_equal(labels, expected)


def test_a_square_covers_its_outline():
    """Square 5..14 of the chapter's tool: 10 x 10 pixels."""
    labels = drawn(polygon([(5, 5), (14, 5), (14, 14), (5, 14)]))
    assert labels.sum() == 100
    assert labels[5:15, 5:15].all()


def test_points_are_rounded_not_cut_off():
    """The old tool truncated them."""
    whole = drawn(polygon([(5, 5), (15, 5), (15, 14), (5, 14)]))
    np.testing.assert_array_equal(
        whole, drawn(polygon([(4.6, 4.7), (14.6, 5.4), (15.4, 13.6), (5.4, 14.4)]))
    )


def test_what_leaves_the_picture_is_cut_as_from_a_larger_one():
    rng = np.random.default_rng(0)
    for _ in range(100):
        corners = rng.uniform(-40, 100, (rng.integers(3, 12), 2))
        small, large = np.zeros((40, 60), np.uint8), np.zeros((240, 260), np.uint8)
        fill(small, corners, 1)
        fill(large, np.rint(corners) + 100, 1)
        np.testing.assert_array_equal(small, large[100:140, 100:160])


def test_neither_start_nor_direction_nor_repeated_points_matter():
    rng = np.random.default_rng(1)
    for _ in range(50):
        corners = rng.integers(0, 40, (7, 2)).astype(float)
        expected = np.zeros((40, 40), np.uint8)
        fill(expected, corners, 1)
        for same in (corners[::-1], np.roll(corners, 3, axis=0), corners.repeat(2, axis=0)):
            labels = np.zeros((40, 40), np.uint8)
            fill(labels, same, 1)
            np.testing.assert_array_equal(labels, expected)


def test_enormous_coordinates():
    labels = np.zeros((40, 60), np.uint8)
    fill(labels, np.array([[-1e300, -1e300], [1e300, -1e300], [1e300, 1e300], [-1e300, 1e300]]), 1)
    assert labels.all()


def test_later_regions_lie_on_top():
    labels, _ = draw_regions([(rect(5, 5, 9, 9), 2), (rect(10, 10, 9, 9), 1)], (40, 60))
    assert labels[7, 7] == 2 and labels[12, 12] == 1
    assert (labels == 1).sum() == 100 and (labels == 2).sum() == 75
    labels, _ = draw_regions([(rect(5, 5, 9, 9), 2), (rect(7, 7, 2, 2), 0)], (40, 60))
    assert (labels == 2).sum() == 91  # a region of background makes a hole


def test_no_region_is_background():
    labels, notes = draw_regions([], (40, 60))
    assert labels.shape == (40, 60) and labels.dtype == np.uint8
    assert not labels.any() and not notes


def test_rectangle_and_polyline():
    expected = drawn(polygon([(5, 5), (14, 5), (14, 14), (5, 14)]))
    np.testing.assert_array_equal(drawn(rect(5, 5, 9, 9)), expected)
    np.testing.assert_array_equal(drawn(rect(14, 14, -9, -9)), expected)
    line = polygon([(5, 5), (14, 5), (14, 14), (5, 14)], "polyline")
    np.testing.assert_array_equal(drawn(line), expected)


def test_circle_and_ellipse():
    circle = Region("circle", {"cx": 30.0, "cy": 20.0, "r": 15.0}, {})
    y, x = np.mgrid[:40, :60]
    distance = np.hypot(x - 30, y - 20)
    labels = drawn(circle)
    assert labels[distance <= 14.5].all() and not labels[distance > 16].any()
    np.testing.assert_array_equal(labels, drawn(ellipse(30, 20, 15, 15)))


def test_an_ellipse_turns_clockwise_on_the_screen():
    lying, standing = drawn(ellipse(30, 20, 18, 6)), drawn(ellipse(30, 20, 18, 6, np.pi / 2))
    assert lying[20, 46] and not lying[36, 30]
    assert standing[36, 30] and not standing[20, 46]
    turned = drawn(ellipse(30, 20, 18, 6, np.pi / 4))  # y points down
    assert turned[30, 40] and not turned[10, 40]
    assert abs(int(turned.sum()) - np.pi * 18 * 6) < 0.15 * np.pi * 18 * 6


def test_a_point_is_reported_and_skipped():
    labels, notes = draw_regions([(Region("point", {"cx": 5.0, "cy": 5.0}, {}), 1)], (40, 60))
    assert not labels.any()
    assert kinds(notes) == ["skipped"]
    assert notes[0].text == "region 1 (point) has no area"


@pytest.mark.parametrize(
    "region",
    [
        polygon([(5, 5)]),
        polygon([(5, 5), (9, 9)], "polyline"),
        polygon([(5, 5), (5, 5), (5, 5)]),
        polygon([(5, 5), (7, 6), (11, 8), (5, 5)]),
        rect(5, 5, 0, 9),
        ellipse(20, 20, 0, 0),
        ellipse(20, 20, 9, 0, 0.3),
        Region("polygon", {"all_points_x": (), "all_points_y": ()}, {}),
    ],
)
def test_degenerate_regions_are_reported_and_skipped(region):
    labels, notes = draw_regions([(region, 1)], (40, 60))
    assert not labels.any()
    assert kinds(notes) == ["skipped"] and "degenerate" in notes[0].text


def test_a_bow_tie_is_not_degenerate_although_its_signed_area_is_0():
    assert not is_degenerate(outline(polygon([(2, 2), (18, 12), (18, 2), (2, 12)])))


@pytest.mark.parametrize(
    ("region", "kind"),
    [
        (rect(0, 0, 60, 40), []),  # VIA lets a point lie on the far border
        (rect(-1, -1, 20, 20), []),
        (rect(-1.5, 3, 20, 20), ["clipped"]),
        (rect(50, 30, 10.5, 5), ["clipped"]),
        (rect(100, 100, 5, 5), ["clipped"]),
        (rect(-20, 5, 10, 10), ["clipped"]),
    ],
)
def test_what_leaves_the_picture_is_reported(region, kind):
    _, notes = draw_regions([(region, 1)], (40, 60))
    assert kinds(notes) == kind


def test_exchanged_width_and_height_are_noticed():
    turned = [(rect(5, 5, 20, 50), 1), (rect(30, 10, 5, 5), 1)]
    assert "swapped" in kinds(draw_regions(turned, (40, 60))[1])
    assert "swapped" not in kinds(draw_regions(turned, (60, 40))[1])
    slip = [(rect(5, 5, 20, 36), 1)]
    assert kinds(draw_regions(slip, (40, 60))[1]) == ["clipped"]
    too_far = [(rect(5, 5, 50, 50), 1)]
    assert kinds(draw_regions(too_far, (40, 60))[1]) == ["clipped"]


def test_output_size_scales_about_pixel_centres():
    # 20..39 covers the pixel areas 19.5 to 39.5, a quarter of which is 4.875 to 9.875.
    labels = drawn(rect(20, 20, 19, 19), (80, 120), (20, 30))
    assert labels.shape == (20, 30)
    assert labels.sum() == 25 and labels[5:10, 5:10].all()


def test_output_size_agrees_with_reducing_the_full_map():
    region = ellipse(300, 200, 150, 90, 0.4)
    small = drawn(region, (480, 640), (240, 320)).astype(bool)
    reduced = drawn(region, (480, 640))[::2, ::2].astype(bool)
    assert (small & reduced).sum() / (small | reduced).sum() > 0.97
    large = drawn(region, (480, 640), (960, 1280)).astype(bool)
    repeated = drawn(region, (480, 640)).repeat(2, 0).repeat(2, 1).astype(bool)
    assert (large & repeated).sum() / (large | repeated).sum() > 0.98


def test_output_size_may_change_the_shape():
    labels = drawn(rect(0, 0, 29, 39), (40, 60), (20, 90))
    assert labels.shape == (20, 90) and labels[:, :44].all() and not labels[:, 46:].any()


def test_a_small_region_does_not_vanish_at_a_small_size():
    assert drawn(rect(100, 100, 2, 2), (480, 640), (30, 40)).sum() == 1


def test_pieces_and_sides_change_no_pixel(monkeypatch):
    """Corners far out are left out, and pictures and outlines drawn piece by piece."""
    rng = np.random.default_rng(2)
    for spread in (20, 300, 1e6, 2e9):
        for _ in range(10):
            corners = rng.normal(0, spread, (rng.integers(3, 60), 2)) + (30, 20)
            labels = {}
            for piece in (2**20, 500):
                monkeypatch.setattr("utils.label_maps.polygons.PIECE", piece)
                labels[piece] = np.zeros((40, 60), np.uint8)
                fill(labels[piece], corners, 1)
            with monkeypatch.context() as patch:
                patch.setattr("utils.label_maps.polygons._near", lambda corners, shape: corners)
                expected = np.zeros((40, 60), np.uint8)
                fill(expected, corners, 1)
            np.testing.assert_array_equal(labels[500], expected)
            np.testing.assert_array_equal(labels[2**20], expected)


def test_an_outline_that_crosses_the_picture_without_end_is_refused():
    corners = np.arange(200_000)
    zigzag = polygon(np.stack([corners % 640, corners % 2 * 479], 1).tolist())
    with pytest.raises(UserError, match="region 1 .polygon. has an outline of 95,849,920 pixels"):
        draw_regions([(zigzag, 1)], (480, 640))


def test_large_circles_get_corners_near_the_picture_alone():
    for r in (15_000.0, 1e8):
        region = Region("circle", {"cx": r + 5, "cy": 300.0, "r": r}, {})
        assert len(outline(region, (480, 640))) < len(outline(region)) / 3
        labels, expected = np.zeros((2, 480, 640), np.uint8)
        fill(labels, outline(region, (480, 640)), 1)
        fill(expected, outline(region), 1)
        assert 0 < expected.sum() < expected.size
        np.testing.assert_array_equal(labels, expected)


@pytest.mark.filterwarnings("error")
def test_coordinates_whose_squares_are_no_numbers():
    far = 2e154
    square = polygon([(-far, -far), (far, -far), (far, far), (-far, far)])
    assert draw_regions([(square, 1)], (40, 60))[0].all()
    labels, notes = draw_regions([(rect(-1e308, -1e308, 1.7e308, 1.7e308), 1)], (40, 60))
    assert labels.all() and max(len(note.text) for note in notes) < 60
    draw_regions([(ellipse(1e308, 1e308, 1.7e308, 1.7e308, 0.3), 1)], (40, 60))


def rings(*outlines):
    return Region("rings", {"rings": outlines}, {})


def test_rings_cover_the_pixels_whose_centres_they_hold():
    square = ((2.4, 3.6), (6.6, 3.6), (6.6, 8.4), (2.4, 8.4))  # centres 2.5 to 5.5, 4.5 to 7.5
    expected = np.zeros((12, 10), np.uint8)
    expected[4:8, 2:6] = 1
    expected[4:8, 6] = 1  # 6.5 lies within 6.6
    np.testing.assert_array_equal(drawn(rings(square), (12, 10)), expected)
    expected[5:7, 3:5] = 0
    hole = ((3, 5), (5, 5), (5, 7), (3, 7))
    np.testing.assert_array_equal(drawn(rings(square, hole), (12, 10)), expected)


def test_outlines_between_centres_give_any_map_back():
    from skimage.measure import find_contours

    random = np.random.default_rng(3)
    for _ in range(50):
        mask = random.random((9, 14)) < random.random()
        outlines = [c[:, ::-1] - 0.5 for c in find_contours(np.pad(mask, 1).astype(float), 0.5)]
        labels, _ = draw_regions([(rings(*outlines), 1)], mask.shape)
        np.testing.assert_array_equal(labels, mask)


def test_rings_agree_with_a_naive_count_of_crossings():
    random = np.random.default_rng(4)
    for _ in range(20):
        outline = random.uniform(-4, 20, (7, 2))
        expected = np.zeros((12, 15), np.uint8)
        for row in range(12):
            for column in range(15):
                for (x0, y0), (x1, y1) in zip(outline, np.roll(outline, -1, 0), strict=True):
                    if (y0 <= row + 0.5) != (y1 <= row + 0.5):
                        x = x0 + (row + 0.5 - y0) * (x1 - x0) / (y1 - y0)
                        expected[row, column] ^= x <= column + 0.5
        labels, _ = draw_regions([(rings(outline), 1)], (12, 15))
        np.testing.assert_array_equal(labels, expected)


@pytest.mark.parametrize("outlines", [(), (((1, 1), (5, 1)),), (((3.1, 3.1), (3.4, 3.1), (3, 3)),)])
def test_rings_without_a_centre_are_reported_and_skipped(outlines):
    labels, notes = draw_regions([(rings(*outlines), 1)], (8, 8))
    assert not labels.any() and kinds(notes) == ["skipped"]


def test_a_bitmap_lies_where_it_says_and_is_cut_at_the_border():
    bitmap = np.array([[1, 0, 1], [0, 1, 1]], bool)
    region = Region("bitmap", {"x": 4, "y": -1, "bitmap": bitmap}, {})
    expected = np.zeros((4, 6), np.uint8)
    expected[0, 5] = 1
    np.testing.assert_array_equal(drawn(region, (4, 6)), expected)
    labels, notes = draw_regions([(region, 1)], (4, 4))
    assert not labels.any() and kinds(notes) == ["clipped"]


def test_at_another_size_rings_and_bitmaps_keep_their_places():
    square = ((2, 3), (7, 3), (7, 9), (2, 9))
    bitmap = Region("bitmap", {"x": 2, "y": 3, "bitmap": np.ones((6, 5), bool)}, {})
    for region in (rings(square), bitmap):
        labels = drawn(region, (12, 10), (36, 20))
        expected = np.zeros((36, 20), np.uint8)
        expected[9:27, 4:14] = 1
        np.testing.assert_array_equal(labels, expected)


def test_rings_and_bitmaps_that_leave_the_picture_are_reported():
    square = ((30, 4), (50, 4), (50, 9), (30, 9))
    bitmap = Region("bitmap", {"x": -6, "y": 2, "bitmap": np.ones((3, 9), bool)}, {})
    for region in (rings(square), bitmap):
        _, notes = draw_regions([(region, 1)], (20, 40))
        assert kinds(notes) == ["clipped"] and "leaves the picture by" in notes[0].text
    far = tuple((x + 300, y) for x, y in square)
    _, notes = draw_regions([(rings(far), 1)], (20, 40))
    assert kinds(notes) == ["clipped"] and "lies outside" in notes[0].text
    whole = ((0, 0), (40, 0), (40, 20), (0, 20))
    assert draw_regions([(rings(whole), 1)], (20, 40))[1] == []


def test_rings_that_fit_a_turned_picture_are_noticed():
    tall = ((2, 2), (10, 2), (10, 38), (2, 38))
    _, notes = draw_regions([(rings(tall), 1)], (20, 40))
    assert kinds(notes) == ["clipped", "swapped"]
