"""Augmentation: picture and labels stay together, and no label value is invented."""

import numpy as np
import pytest

import augmentation
from augmentation import View, see_labels, see_picture
from utils.classes import VOID
from utils.pictures import resize_labels, resize_picture

COLOURS = np.array([(20, 20, 20), (230, 30, 30), (30, 230, 30), (30, 30, 230)], np.uint8)


def regions(height: int, width: int) -> np.ndarray:
    """Labels 0 to 3 in large shapes that no symmetry maps onto each other."""
    labels = np.zeros((height, width), np.uint8)
    y, x = np.mgrid[:height, :width] / np.array([height, width])[:, None, None]
    labels[(x - 0.3) ** 2 + (y - 0.4) ** 2 < 0.05] = 1
    labels[(x > 0.6) & (y > 0.1) & (y < 0.5)] = 2
    labels[x + 2 * y > 2.2] = 3
    return labels


def interior(labels: np.ndarray, margin: int = 3) -> np.ndarray:
    """Pixels all of whose neighbours within `margin` have their label, and which are not void."""
    alike = labels != VOID
    for dy in range(-margin, margin + 1):
        for dx in range(-margin, margin + 1):
            alike &= np.roll(labels, (dy, dx), (0, 1)) == labels
    edge = np.zeros_like(alike)
    edge[margin:-margin, margin:-margin] = True
    return alike & edge


def test_no_label_value_is_invented():
    rng = np.random.default_rng(5)
    for seed in range(150):
        values = rng.choice(255, rng.integers(1, 6), replace=False).astype(np.uint8)
        source = tuple(rng.integers(1, 60, 2).tolist())
        size = tuple(rng.integers(1, 60, 2).tolist())
        labels = rng.choice(values, source)
        picture = rng.integers(0, 256, (*source, 3), np.uint8)
        seen, moved = augmentation.augment(picture, labels, np.random.default_rng(seed), size)
        assert set(np.unique(moved)) <= set(values) | {VOID}
        assert (seen.shape, seen.dtype) == ((*size, 3), np.uint8)
        assert (moved.shape, moved.dtype) == (size, np.uint8)


def test_as_many_close_ups_as_asked():
    far = [augmentation.random_view(np.random.default_rng(seed)) for seed in range(1000)]
    mixed = [augmentation.random_view(np.random.default_rng(seed), 0.3) for seed in range(1000)]
    limit = augmentation.CLOSE_UP[0]
    near = [view for view in mixed if np.sqrt(np.prod(view.zoom)) > limit]
    assert 250 < len(near) < 350
    assert max(np.sqrt(np.prod(view.zoom)) for view in far) <= limit
    assert max(np.sqrt(np.prod(view.zoom)) for view in near) <= augmentation.CLOSE_UP[1]
    for view in near:  # what is seen lies within the picture, but for the turn
        room = 0.5 - 0.5 / np.array(view.zoom)
        assert (np.abs(np.array(view.centre) - 0.5) <= room + 1e-12).all()


@pytest.mark.parametrize("close_ups", [0.0, 0.5])
def test_no_view_needs_more_than_the_needed_size(close_ups):
    needed = augmentation.needed_size((64, 96), close_ups)
    views = [
        augmentation.random_view(np.random.default_rng(seed), close_ups) for seed in range(300)
    ]
    most = np.max([view.zoom for view in views], 0) * (64, 96)
    assert (most <= needed).all() and (most > 0.9 * np.array(needed)).all()


@pytest.mark.parametrize("source", [(96, 128), (61, 200), (300, 240)])
@pytest.mark.parametrize("labels_scale", [1, 2])
def test_picture_and_labels_move_together(source, labels_scale):
    labels = regions(*source)
    picture = COLOURS[labels]
    if labels_scale == 2:  # maps may be larger than their pictures
        labels = labels.repeat(2, 0).repeat(2, 1)
    checked = 0
    for seed in range(30):
        view = augmentation.random_view(np.random.default_rng(seed))
        seen = see_picture(picture, view, (96, 128))
        moved = see_labels(labels, view, (96, 128))
        inside = interior(moved)
        distance = np.abs(seen[..., None, :].astype(int) - COLOURS).sum(-1)  # (H, W, 4)
        assert np.mean(distance.argmin(-1)[inside] == moved[inside]) > 0.98
        checked += inside.sum()
    assert checked > 30 * 96 * 128 / 4


def test_void_is_where_the_picture_is_filled():
    picture = np.zeros((80, 100, 3), np.uint8)
    picture[:40] = 200  # the mean is 100, which no sample far from the edge has
    view = View(flip=True, zoom=(0.6, 0.7), angle=0.2, centre=(0.45, 0.6))
    seen = see_picture(picture, view, (80, 100))
    void = see_labels(np.zeros((80, 100), np.uint8), view, (80, 100)) == VOID
    assert 0.2 < void.mean() < 0.8
    filled = (seen == 100).all(-1)
    assert np.mean(filled == void) > 0.99


def test_flip_is_a_mirror():
    labels = np.array([[1, 2], [3, 4]], np.uint8)
    picture = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    view = View(flip=True)
    assert see_labels(labels, view, (2, 2)).tolist() == [[2, 1], [4, 3]]
    assert np.array_equal(see_picture(picture, view, (2, 2)), picture[:, ::-1])


def test_the_default_view_changes_nothing():
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (33, 47, 3), np.uint8)
    labels = rng.integers(0, 256, (33, 47), np.uint8)
    assert np.array_equal(see_picture(picture, View(), (33, 47)), picture)
    assert np.array_equal(see_labels(labels, View(), (33, 47)), labels)


@pytest.mark.parametrize("size", [(16, 24), (48, 36), (64, 96)])
def test_the_default_view_at_another_size_resizes(size):
    labels = regions(32, 48)
    assert np.array_equal(see_labels(labels, View(), size), resize_labels(labels, size))
    picture = COLOURS[labels]
    difference = see_picture(picture, View(), size).astype(int) - resize_picture(picture, size)
    assert np.abs(difference).max() <= 1


def test_zoom_and_centre_cut_out_a_part():
    labels = np.arange(16, dtype=np.uint8).reshape(4, 4)
    view = View(zoom=(2.0, 2.0), centre=(0.25, 0.75))
    assert see_labels(labels, view, (2, 2)).tolist() == [[2, 3], [6, 7]]


def test_a_positive_angle_turns_anticlockwise():
    labels = np.zeros((41, 41), np.uint8)
    labels[20, 30] = 1  # to the right of the middle
    turned = see_labels(labels, View(angle=np.pi / 2), (41, 41))
    assert np.argwhere(turned == 1).tolist() == [[10, 20]]  # above it


def test_a_turn_keeps_shapes_when_the_network_does_not_stretch():
    y, x = np.mgrid[:200, :200]
    disc = ((x - 99.5) ** 2 + (y - 99.5) ** 2 < 50**2).astype(np.uint8)
    turned = see_labels(disc, View(angle=0.25), (200, 200))
    assert np.mean((turned == 1) == (disc == 1)) > 0.995


def test_shrinking_averages():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    seen = see_picture(stripes, View(zoom=(0.5, 0.5)), (64, 64))
    assert np.abs(seen[20:44, 20:44].astype(int) - 128).max() < 16  # sampled, it would be 0 or 255


def test_views_keep_the_source_in_sight():
    for seed in range(300):
        view = augmentation.random_view(np.random.default_rng(seed))
        for zoom, centre in zip(view.zoom, view.centre, strict=True):
            first, last = centre - 0.5 / zoom, centre + 0.5 / zoom  # edges of what is seen
            if zoom >= 1:
                assert first >= -1e-9 and last <= 1 + 1e-9
            else:
                assert first <= 1e-9 and last >= 1 - 1e-9


def test_the_same_random_numbers_give_the_same_result():
    labels = regions(40, 50)
    results = [
        augmentation.augment(COLOURS[labels], labels, np.random.default_rng(seed), (40, 50))
        for seed in (1, 1, 2)
    ]
    for part in range(2):
        assert np.array_equal(results[0][part], results[1][part])
        assert not np.array_equal(results[0][part], results[2][part])


def test_greys_stay_grey_under_the_colour_matrix():
    rows = np.array(augmentation.colour_matrix(1.4, 0.3)).reshape(3, 4)
    assert np.allclose(rows[:, :3].sum(1), 1) and np.allclose(rows[:, 3], 0)
    assert np.allclose(np.array(augmentation.colour_matrix(1, 0)).reshape(3, 4), np.eye(3, 4))
    assert np.allclose(
        np.array(augmentation.colour_matrix(0, 0.0)).reshape(3, 4)[:, :3],
        [augmentation.GREY_WEIGHTS] * 3,
    )


def test_hue_turns_red_towards_green():
    rows = np.array(augmentation.colour_matrix(1, 2 * np.pi / 3)).reshape(3, 4)[:, :3]
    assert np.allclose(rows @ [1, 0, 0], [0, 1, 0])


def test_tone_curves():
    plain = augmentation.tone_curves([1, 1, 1], 1, 1, 100)
    assert np.array_equal(plain, [np.arange(256)] * 3)
    gain, contrast, gamma = (
        augmentation.tone_curves([1, 2, 1], 1, 1, 100)[1],
        augmentation.tone_curves([1, 1, 1], 0.5, 1, 100)[0],
        augmentation.tone_curves([1, 1, 1], 1, 2, 100)[0],
    )
    assert gain[[10, 127, 200]].tolist() == [20, 254, 255]
    assert contrast[[0, 100, 200]].tolist() == [50, 100, 150]
    assert gamma[[0, 51, 255]].tolist() == [0, 10, 255]


def test_noise_has_the_deviation_asked_for():
    flat = np.full((100, 100, 3), 128, np.uint8)
    noise = augmentation.add_noise(flat, 6.0, np.random.default_rng(0)).astype(float) - 128
    assert abs(noise.mean()) < 0.2 and 5.8 < noise.std() < 6.2


@pytest.mark.parametrize("channels", [1, 2, 4, 5])
def test_every_channel_moves_as_colours_do(channels):
    picture = np.random.default_rng(1).integers(0, 256, (40, 50, channels), np.uint8)
    for seed in range(5):
        view = augmentation.random_view(np.random.default_rng(seed))
        seen = see_picture(picture, view, (32, 48))
        assert (seen.shape, seen.dtype) == ((32, 48, channels), np.uint8)
        for channel in range(channels):
            grey = np.repeat(picture[..., channel, None], 3, axis=2)
            expected = see_picture(grey, view, (32, 48))
            np.testing.assert_array_equal(seen[..., channel, None], expected[..., :1])


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_looks_of_pictures_that_are_no_colours_change_too(channels):
    picture = np.random.default_rng(1).integers(0, 256, (60, 80, channels), np.uint8)
    mean = []
    for seed in range(40):
        changed, again = (
            augmentation.change_look(picture, np.random.default_rng(seed)) for _ in range(2)
        )
        assert changed.shape == picture.shape and changed.dtype == np.uint8
        assert np.array_equal(changed, again)
        mean.append(np.abs(changed.astype(int) - picture).mean())
    assert 2 < np.mean(mean) and max(mean) < 60


def test_looks_change_the_picture_moderately():
    picture = COLOURS[regions(60, 80)]
    mean = []
    for seed in range(40):
        changed = augmentation.change_look(picture, np.random.default_rng(seed))
        assert changed.shape == picture.shape and changed.dtype == np.uint8
        mean.append(np.abs(changed.astype(int) - picture).mean())
    assert 2 < np.mean(mean) and max(mean) < 60
