"""Pictures of the same scene are put together, and others are not."""

from functools import cache

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from scipy.ndimage import gaussian_filter

from utils.near_duplicates import group, thumbnail


@cache
def scene(seed: int, size=(180, 240)) -> Image.Image:
    """A picture of soft light, a table's edge, and boxes of all colours."""
    random = np.random.default_rng(seed)
    picture = gaussian_filter(random.uniform(0, 255, (*size, 3)), (20, 20, 0)) * 4 - 380
    picture[random.integers(60, 120) :] *= 0.6
    for _ in range(12):
        top, left = random.integers(0, size[0] - 20), random.integers(0, size[1] - 20)
        high, wide = random.integers(15, 70, 2)
        picture[top : top + high, left : left + wide] = random.uniform(0, 255, 3)
    return Image.fromarray(picture.clip(0, 255).astype(np.uint8))


def together(*pictures: Image.Image) -> list[list[int]]:
    return group([thumbnail(np.asarray(picture)) for picture in pictures])


def noisy(picture: Image.Image) -> Image.Image:
    values = np.asarray(picture) + np.random.default_rng(0).normal(0, 10, np.asarray(picture).shape)
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


CHANGES = {
    "smaller": lambda picture: picture.resize((100, 75)),
    "darker": lambda picture: ImageEnhance.Brightness(picture).enhance(0.5),
    "paler": lambda picture: ImageEnhance.Contrast(picture).enhance(0.5),
    "noisy": noisy,
    "grey": lambda picture: picture.convert("L").convert("RGB"),
    "cut at the left": lambda picture: picture.crop((30, 0, 240, 180)),
    "cut to a square": lambda picture: picture.crop((35, 0, 215, 180)),
    "cut on all sides": lambda picture: picture.crop((31, 17, 227, 163)),
    "turned": lambda picture: picture.rotate(2).crop((10, 10, 230, 170)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_changed_copy_is_found(change):
    for seed in range(3):
        pictures = [scene(seed + 10), scene(seed), change(scene(seed)), scene(seed + 20)]
        assert together(*pictures) == [[0], [1, 2], [3]]


def test_of_a_burst_each_picture_has_what_the_others_lack():
    wide = scene(1, (180, 300))
    burst = [wide.crop((left, 5, left + 240, 175)) for left in (0, 25, 50)]
    assert together(scene(2), *burst) == [[0], [1, 2, 3]]


def test_other_scenes_are_not_alike():
    assert len(together(*map(scene, range(60)))) == 60


def test_one_horizon_makes_no_scene():
    """A long, strong edge is in many pictures; what stands on the table is not."""
    pictures = []
    for seed in range(4):
        picture = np.asarray(scene(seed)).copy() // 3 + 40
        picture[:70] += 150
        pictures.append(Image.fromarray(picture))
    assert len(together(*pictures)) == 4


def test_pictures_of_one_colour_are_like_nothing():
    assert together(*(Image.new("RGB", (50, 40), (grey,) * 3) for grey in (0, 128, 255))) == [
        [0],
        [1],
        [2],
    ]
    assert group([]) == []
