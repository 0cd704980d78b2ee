"""The strong augmentation: same geometry for picture and labels, and what each operation does."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image

import augmentation_strong as strong
from augmentation_strong import LOOKS, STEPS, SYMMETRIES, WARPS, change
from utils.classes import VOID

ALL = [*SYMMETRIES, *WARPS, *LOOKS]
COLOURS = np.array([(20, 20, 20), (230, 30, 30), (30, 230, 30), (30, 30, 230)], np.uint8)


def regions(height: int, width: int) -> np.ndarray:
    """Labels 0 to 3 in large shapes that no symmetry maps onto each other."""
    labels = np.zeros((height, width), np.uint8)
    y, x = np.mgrid[:height, :width] / np.array([height, width])[:, None, None]
    labels[(x - 0.3) ** 2 + (y - 0.4) ** 2 < 0.05] = 1
    labels[(x > 0.6) & (y > 0.1) & (y < 0.5)] = 2
    labels[x + 2 * y > 2.2] = 3
    return labels


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, shape, np.uint8)


def changed(name: str, picture, labels, seed: int = 0):
    return change(name, picture, labels, np.random.default_rng(seed))


# Every operation


def test_every_operation_is_in_one_step():
    assert sorted(name for _, weights in STEPS for name in weights) == sorted(ALL)


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (64, 45)])
@pytest.mark.parametrize("channels", [1, 2, 3, 5])
@pytest.mark.parametrize("name", ALL)
def test_shapes_types_and_labels(name, channels, size):
    picture, labels = noise(*size, channels), regions(*size)
    labels[:3] = VOID
    before = picture.copy(), labels.copy()
    for seed in range(4):
        seen, moved = changed(name, picture, labels, seed)
        turned = size[::-1] if name in SYMMETRIES else size
        assert moved.shape in (size, turned) and seen.shape == (*moved.shape, channels)
        assert seen.dtype == moved.dtype == np.uint8
        assert set(np.unique(moved)) <= {0, 1, 2, 3, VOID}
        if name in LOOKS:
            assert np.array_equal(moved, labels)
    assert np.array_equal(picture, before[0]) and np.array_equal(labels, before[1])


@pytest.mark.parametrize("name", ALL)
def test_equal_seeds_give_equal_results(name):
    picture, labels = noise(40, 50, 3), regions(40, 50)
    results = [changed(name, picture, labels, seed) for seed in (1, 1)]
    assert np.array_equal(results[0][0], results[1][0])
    assert np.array_equal(results[0][1], results[1][1])
    assert any(  # it does something
        seen.shape != picture.shape or not np.array_equal(seen, picture)
        for seen, _ in (changed(name, picture, labels, seed) for seed in range(5))
    )


@pytest.mark.parametrize("name", [*SYMMETRIES, *WARPS])
def test_picture_and_labels_move_together(name):
    """Each channel of the picture shows one class, and does so afterwards."""
    labels = regions(96, 128)
    picture, far = (labels[..., None] == np.arange(4)) * np.uint8(200), False
    for seed in range(8):
        seen, moved = changed(name, picture, labels, seed)
        wrong = (seen > 100) != (moved[..., None] == np.arange(4))
        assert wrong.mean() <= (0 if name in SYMMETRIES else 0.002)
        far |= moved.shape != labels.shape or np.mean(moved != labels) > 0.002
    assert far


@pytest.mark.parametrize("name", WARPS)
def test_a_warp_makes_no_void_and_leaves_the_middle_near(name):
    for seed in range(10):
        places = WARPS[name]((61, 80), np.random.default_rng(seed))
        assert places.shape == (2, 61, 80)
        assert np.abs(places[:, 30, 40] - (30, 40)).max() < 0.2 * 80
        assert 0 not in strong.warp_labels(np.full((61, 80), 7, np.uint8), places)


# Symmetries


def test_quarter_turns():
    picture, labels = noise(5, 7, 3), regions(5, 7)
    seen = set()
    for seed in range(20):
        turned = once = changed("quarter turns", picture, labels, seed)
        for _ in range(3):
            turned = changed("quarter turns", *turned, seed)
        assert np.array_equal(turned[0], picture) and np.array_equal(turned[1], labels)
        seen.add(next(n for n in range(4) if np.array_equal(once[0], np.rot90(picture, n))))
    assert seen == {0, 1, 2, 3}


@pytest.mark.parametrize("name", ["flip", "transpose"])
def test_twice_is_not_at_all(name):
    picture, labels = noise(5, 7, 3), regions(5, 7)
    seen = set()
    for seed in range(20):
        once = changed(name, picture, labels, seed)
        twice = changed(name, *once, seed)
        assert np.array_equal(twice[0], picture) and np.array_equal(twice[1], labels)
        seen.add(once[0].tobytes())
    assert len(seen) == {"flip": 3, "transpose": 1}[name]


# Warps


def test_bilinear_and_nearest_places():
    picture = np.array([[[0], [100]], [[50], [255]]], np.uint8)
    labels = np.array([[1, 2], [3, 4]], np.uint8)
    places = np.array([[[0, 0.5, 0.4]], [[0.25, 0.5, 0.9]]])
    assert strong.warp_picture(picture, places)[0, :, 0].tolist() == [25, 101, 148]
    assert strong.warp_labels(labels, places)[0, [0, 2]].tolist() == [1, 2]


def test_outside_is_mirrored_without_its_rim():
    labels = np.arange(5, dtype=np.uint8)[None]
    places = np.array([[[0.0] * 4], [[-1.0, -2.0, 5.0, 6.0]]])
    assert strong.warp_labels(labels, places)[0].tolist() == [1, 2, 3, 2]
    assert strong.warp_picture(labels[..., None], places)[0, :, 0].tolist() == [1, 2, 3, 2]


class Fixed:
    """Random numbers at the "low" or "high" ends of their ranges, or in the "middle", in turn."""

    def __init__(self, *ends):
        self.ends = list(ends)

    def uniform(self, low, high, size=None):
        end = self.ends.pop(0)
        value = {"low": low, "high": high, "middle": (np.asarray(low) + high) / 2}[end]
        return value if size is None else np.broadcast_to(value, size)

    def normal(self, mean, deviation, size):
        return np.full(size, mean + deviation)


def test_the_ranges_of_shift_scale_rotate():
    """A turn of 45 degrees, a scale of 1.2 and a shift by 1/16, each alone."""
    size = (65, 129)
    turned = strong.shift_scale_rotate(size, Fixed("high", "middle", "middle"))
    np.testing.assert_allclose(turned[:, 32, 64], (32, 64), atol=1e-4)
    half = np.sqrt(0.5)
    np.testing.assert_allclose(turned[:, 32, 74], (32 + 10 * half, 64 + 10 * half), atol=1e-4)
    larger = strong.shift_scale_rotate(size, Fixed("middle", "high", "middle"))
    np.testing.assert_allclose(larger[:, 44, 64], (32 + 10, 64), atol=1e-4)
    shifted = strong.shift_scale_rotate(size, Fixed("middle", "middle", "high"))
    np.testing.assert_allclose(shifted[:, 36, 72], (32, 64), atol=1e-4)


def test_the_lens_by_hand():
    places = strong.optical_distortion((61, 101), Fixed("high"))
    offset = np.array([-30, 50]) / 101
    square = (offset**2).sum()
    expected = offset * (1 + 0.05 * square + 0.05 * square**2) * 101 + (30, 50)
    np.testing.assert_allclose(places[:, 0, 100], expected, atol=1e-3)
    np.testing.assert_allclose(places[:, 30, 50], (30, 50), atol=1e-4)


def test_the_grid_ends_with_the_picture_and_has_five_straight_strips():
    rows, columns = strong.grid_distortion((51, 101), np.random.default_rng(0))
    assert (rows == rows[:, :1]).all() and (columns == columns[:1]).all()
    np.testing.assert_allclose(rows[[0, -1], 0], (0, 50))
    steps = np.diff(columns[0])
    assert (steps > 0).all() and len(np.unique(steps.round(5))) == 5
    assert steps.max() / steps.min() <= 1.3 / 0.7


def test_the_mesh_stays_in_the_picture_and_is_affine_in_each_triangle():
    for seed in range(10):
        places = strong.piecewise_affine((61, 91), np.random.default_rng(seed))
        assert places.min() >= -1e-3 and (places.max((1, 2)) <= np.array((60, 90)) + 1e-3).all()
        np.testing.assert_allclose(  # no bend within the upper left triangle of the first cell
            places[:, 2:8, 2:8] - places[:, 1:7, 2:8], places[:, 1:7, 2:8] - places[:, :6, 2:8],
            atol=1e-3,
        )  # fmt: skip
        jumps = np.abs(np.diff(places, axis=1)).max(), np.abs(np.diff(places, axis=2)).max()
        assert max(jumps) < 4  # nor a tear between triangles
    moved = strong.piecewise_affine((61, 91), Fixed("high"))
    np.testing.assert_allclose(moved[:, 20, 30], (20 + 0.05 * 60, 30 + 0.05 * 90), atol=1e-3)


# Looks


@pytest.mark.parametrize(
    "name", ["motion blur", "median blur", "box blur", "CLAHE", "sharpen", "emboss"]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_an_even_picture_stays_even(name, channels):
    even = np.full((33, 40, channels), 120, np.uint8)
    for seed in range(5):
        seen, _ = changed(name, even, even[..., 0], seed)
        assert len(np.unique(seen)) == 1
        if "blur" in name or name == "CLAHE":
            assert (seen == 120).all()


@pytest.mark.parametrize("name", ["motion blur", "box blur"])
def test_a_blur_spreads_a_point_evenly_around_it(name):
    point = np.zeros((21, 21, 1), np.uint8)
    point[10, 10] = 252
    sizes = set()
    for seed in range(40):
        seen = changed(name, point, point[..., 0], seed)[0][..., 0].astype(int)
        np.testing.assert_array_equal(seen, seen[::-1, ::-1])
        assert abs(seen.sum() - 252) <= 7 and seen.max() <= 252 // 3 + 1
        sizes.add(np.count_nonzero(seen))
    assert sizes == ({9} if name == "box blur" else {3, 5, 7})


def test_the_median_removes_a_point():
    point = np.full((9, 9, 3), 50, np.uint8)
    point[4, 4] = 255
    assert (changed("median blur", point, point[..., 0])[0] == 50).all()


@pytest.mark.parametrize(
    "name, least, most", [("grey noise", 2.55, 12.75), ("colour noise", 10**0.5, 50**0.5)]
)
def test_noise(name, least, most):
    grey = np.full((100, 100, 3), 128, np.uint8)
    deviations = []
    for seed in range(30):
        added = changed(name, grey, grey[..., 0], seed)[0].astype(float) - 128
        deviations.append(added.std())
        assert np.array_equal(added[..., 0], added[..., 1]) == (name == "grey noise")
        assert abs(added.mean()) < 0.5
    assert 0.97 * least < min(deviations) < 1.3 * least
    assert 0.85 * most < max(deviations) < 1.03 * most


def test_sharpening_steepens_an_edge_and_embossing_lights_it_from_one_side():
    edge = np.full((20, 20, 1), 100, np.uint8)
    edge[:, 10:] = 150
    sharp = changed("sharpen", edge, edge[..., 0])[0][10, :, 0].astype(int)
    assert sharp[9] < sharp[3] and sharp[10] > sharp[16]
    up = changed("emboss", edge, edge[..., 0])[0][10, :, 0].astype(int)
    down = changed("emboss", edge[:, ::-1], edge[..., 0])[0][10, :, 0].astype(int)
    assert up[9] > up[3] and up[10] > up[16] and down[9] < down[3]


def test_clahe_raises_the_contrast_of_what_is_dull_and_keeps_its_hue():
    x = np.mgrid[:64, :64][1]
    dull = np.stack([100 + x // 4, 50 + x // 8, 50 + x // 8], 2).astype(np.uint8)
    seen, _ = changed("CLAHE", dull, dull[..., 0])
    assert seen.std(axis=(0, 1))[0] > 1.2 * dull.std(axis=(0, 1))[0]
    hue = [np.asarray(Image.fromarray(p).convert("HSV"))[..., 0] for p in (dull, seen)]
    assert np.abs(hue[0].astype(int) - hue[1]).max() <= 2


def test_brightness_and_contrast_are_one_line():
    ramp = np.arange(256, dtype=np.uint8)[None, :, None]
    slopes = []
    for seed in range(30):
        seen = changed("brightness, contrast", ramp, ramp[..., 0], seed)[0][0, :, 0].astype(int)
        inside = (seen > 0) & (seen < 255)
        slope, offset = np.polyfit(np.arange(256)[inside], seen[inside], 1)
        assert 0.79 < slope < 1.21 and abs(offset) < 52
        slopes.append(slope)
    assert max(slopes) > 1.15 and min(slopes) < 0.85


def test_hue_saturation_and_value_by_hand():
    red = np.array([[[200, 100, 100]]], np.uint8)  # hue 0, saturation 127 of 255, value 200
    seen = [changed("hue, saturation, value", red, red[..., 0], seed)[0] for seed in range(60)]
    hsv = np.array([np.asarray(Image.fromarray(each).convert("HSV"))[0, 0] for each in seen], int)
    hue = (hsv[:, 0] + 128) % 256 - 128
    for values, middle, most in ((hue, 0, 28), (hsv[:, 1], 127, 30), (hsv[:, 2], 200, 20)):
        assert 0.8 * most < (values - middle).max() <= most + 2
        assert 0.8 * most < (middle - values).max() <= most + 2


def test_hues_are_left_alone_where_there_are_no_colours():
    picture = noise(8, 9, 2)
    assert changed("hue, saturation, value", picture, picture[..., 0])[0] is picture


# The whole


def test_the_probabilities_are_the_published_ones():
    """Those of the operations of a step are its own, p, as `OneOf` weighs them."""
    assert [share for share, _ in STEPS] == [0.5, 0.5, 0.5, 0.2, 0.2, 0.2, 0.2, 0.3, 0.3]
    weights = {name: weight for _, step in STEPS for name, weight in step.items()}
    of_their_own = {
        ("motion blur", "median blur", "box blur"): [0.2, 0.1, 0.1],
        ("optical distortion", "grid distortion", "piecewise affine"): [0.3, 0.1, 0.3],
    }
    for names, expected in of_their_own.items():
        assert [weights.pop(name) for name in names] == expected
    assert set(weights.values()) == {0.5, 1}


def test_the_steps_are_taken_as_often_as_they_say():
    count = 4000
    drawn = [strong.draw_steps(np.random.default_rng(seed)) for seed in range(count)]
    names = Counter(name for each in drawn for name in each)
    order = [name for _, weights in STEPS for name in weights]
    for each in drawn:
        assert sorted(each, key=order.index) == each
    for share, weights in STEPS:
        for name, weight in weights.items():
            expected = 0.9 * share * weight / sum(weights.values())
            spread = (expected * (1 - expected) / count) ** 0.5
            assert abs(names[name] / count - expected) < 4 * spread, name
        assert all(sum(name in weights for name in each) <= 1 for each in drawn)
    nothing = 0.1 + 0.9 * np.prod([1 - share for share, _ in STEPS])
    assert abs(drawn.count([]) / count - nothing) < 4 * (nothing / count) ** 0.5


@pytest.mark.parametrize("labels_scale", [1, 2])
def test_augmented_pictures_show_their_labels(labels_scale):
    """Through warps and looks most pixels keep the colour that is nearest to their label's."""
    labels = regions(96, 128)
    picture = COLOURS[labels]
    labels = labels.repeat(labels_scale, 0).repeat(labels_scale, 1)
    right = []
    for seed in range(60):
        seen, moved = strong.augment_strongly(
            picture, labels, np.random.default_rng(seed), (64, 96)
        )
        assert seen.shape == (64, 96, 3) and moved.shape == (64, 96)
        assert seen.dtype == moved.dtype == np.uint8
        distance = np.abs(seen[..., None, :].astype(int) - COLOURS).sum(-1)  # (H, W, 4)
        right.append(np.mean(distance.argmin(-1) == moved))
    assert np.median(right) > 0.97 and min(right) > 0.8


def test_the_same_random_numbers_give_the_same_result():
    labels = regions(40, 50)
    for seed in range(8):
        one, other = (
            strong.augment_strongly(COLOURS[labels], labels, np.random.default_rng(seed), (33, 47))
            for _ in range(2)
        )
        assert np.array_equal(one[0], other[0]) and np.array_equal(one[1], other[1])


def test_a_turned_picture_needs_as_many_rows_as_columns():
    assert strong.needed_size((192, 256)) == (256, 256)
