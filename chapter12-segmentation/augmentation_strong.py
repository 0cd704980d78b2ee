"""The strong augmentation that overviews copy: nine steps, each with its probability.

It is "strong_aug" of the examples of albumentations (Buslaev et al., "Albumentations: Fast and
Flexible Image Augmentations", 2020), called with p = 0.9, as it was when the grey noise, the
piecewise affine map, sharpening and embossing came from imgaug. The ranges are the defaults that
these operations had then.

Symmetries and warps move picture and labels alike: a warp is one map of places, sampled bilinearly
for the picture and by nearest neighbour for the labels. What lies outside is mirrored in both, as
there, so nothing becomes void. Looks change the picture alone; what needs colours is left out where
there are not three channels, and CLAHE then takes each channel by itself.

Differs from the published one: a picture that was turned is stretched to the size of the network
again, where batches there need square pictures; the line of the motion blur passes through the
middle of its kernel, which else moves the picture against its labels; the steps of the grid
distortion are scaled to end with the picture, as in albumentations from 2.0 on; CLAHE evens out the
brightness V of HSV, not L of CIELAB.
"""

from collections.abc import Callable
from math import ceil, cos, pi, radians, sin, sqrt

import numpy as np
from PIL import Image, ImageFilter
from scipy.ndimage import correlate, map_coordinates
from skimage.draw import line
from skimage.exposure import equalize_adapthist

from augmentation import add_noise, filtered
from utils.pictures import resize_labels, resize_picture

WHOLE = 0.9  # share of the pictures that anything happens to
STEPS = (  # in this order: the share of a step, and what it picks one of, by weights
    (0.5, {"quarter turns": 1}),
    (0.5, {"flip": 1}),
    (0.5, {"transpose": 1}),
    (0.2, {"grey noise": 0.5, "colour noise": 0.5}),
    (0.2, {"motion blur": 0.2, "median blur": 0.1, "box blur": 0.1}),
    (0.2, {"shift, scale, rotate": 1}),
    (0.2, {"optical distortion": 0.3, "grid distortion": 0.1, "piecewise affine": 0.3}),
    (0.3, {"CLAHE": 0.5, "sharpen": 0.5, "emboss": 0.5, "brightness, contrast": 0.5}),
    (0.3, {"hue, saturation, value": 1}),
)


def augment_strongly(
    picture: np.ndarray, labels: np.ndarray, rng: np.random.Generator, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Change a picture and its labels at random and bring both to `size`.

    Args:
        picture: (h, w, C) uint8.
        labels: (h', w') uint8 class ids of the same view, of any size.
        rng: gives all random numbers; equally seeded ones give equal results.
        size: (H, W) of the results.

    Returns:
        The picture (H, W, C) uint8 and its labels (H, W) uint8.
    """
    names = draw_steps(rng)
    for name in names:
        if name in SYMMETRIES:  # which cost nothing, before the picture is resampled
            picture, labels = SYMMETRIES[name](picture, labels, rng)
    picture, labels = resize_picture(picture, size), resize_labels(labels, size)
    for name in names:
        if name not in SYMMETRIES:
            picture, labels = change(name, picture, labels, rng)
    return picture, labels


def needed_size(size: tuple[int, int]) -> tuple[int, int]:
    """The least (H, W) of a picture that loses nothing when, turned or not, it becomes `size`."""
    return max(size), max(size)


def draw_steps(rng: np.random.Generator) -> list[str]:
    """The names of the operations that a picture goes through, in their order; often none."""
    if rng.random() >= WHOLE:
        return []
    names = []
    for share, weights in STEPS:
        if rng.random() < share:
            chances = np.array(list(weights.values()))
            names.append(str(rng.choice(list(weights), p=chances / chances.sum())))
    return names


def change(
    name: str, picture: np.ndarray, labels: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Do one operation of `STEPS` to a picture (H, W, C) and its labels (H, W), both uint8.

    Symmetries may exchange height and width.
    """
    if name in SYMMETRIES:
        return SYMMETRIES[name](picture, labels, rng)
    if name in WARPS:
        places = WARPS[name](labels.shape, rng)
        return warp_picture(picture, places), warp_labels(labels, places)
    return LOOKS[name](picture, rng), labels


# Symmetries: (picture, labels, rng) -> both


def quarter_turns(picture, labels, rng):
    """Turn by 0, 1, 2 or 3 right angles."""
    turns = int(rng.integers(4))
    return np.rot90(picture, turns), np.rot90(labels, turns)


def flip(picture, labels, rng):
    """Mirror up and down, left and right, or both."""
    axes = ((0,), (1,), (0, 1))[rng.integers(3)]
    return np.flip(picture, axes), np.flip(labels, axes)


def transpose(picture, labels, rng):
    """Exchange rows and columns."""
    return picture.swapaxes(0, 1), labels.swapaxes(0, 1)


# Warps: (height, width), rng -> (2, H, W) rows and columns of the source, 0 at the first centre


def warp_picture(picture: np.ndarray, places: np.ndarray) -> np.ndarray:
    """A picture (h, w, C) uint8 at places (2, H, W), bilinear, mirrored outside -> (H, W, C)."""
    channels = np.moveaxis(picture, 2, 0)
    return np.stack([map_coordinates(c, places, order=1, mode="mirror") for c in channels], 2)


def warp_labels(labels: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Labels (h, w) uint8 at places (2, H, W) by nearest neighbour, mirrored outside -> (H, W)."""
    return map_coordinates(labels, places, order=0, mode="mirror")


def shift_scale_rotate(size, rng):
    """Shift by up to 1/16 of the size, scale by 0.8 to 1.2 and turn by up to 45 degrees."""
    angle, scale = radians(rng.uniform(-45, 45)), rng.uniform(0.8, 1.2)
    middle = (np.array(size, np.float32)[:, None, None] - 1) / 2
    shift = rng.uniform(-0.0625, 0.0625, (2, 1, 1)) * (2 * middle)
    rows, columns = _grid(size) - (middle + shift)
    turned = np.stack(
        [
            cos(angle) * rows + sin(angle) * columns,
            cos(angle) * columns - sin(angle) * rows,
        ]
    )
    return turned / scale + middle


def optical_distortion(size, rng):
    """A lens: r becomes r (1 + k r^2 + k r^4), r in widths from the middle, k up to 0.05."""
    k, middle = rng.uniform(-0.05, 0.05), (np.array(size, np.float32)[:, None, None] - 1) / 2
    offset = (_grid(size) - middle) / size[1]
    square = (offset**2).sum(0)
    return offset * (1 + k * square + k * square**2) * size[1] + middle


def grid_distortion(size, rng):
    """Five strips either way, each made narrower or wider by up to 30 %."""
    axes = []
    for length in size:
        ends = np.cumsum([0, *rng.uniform(0.7, 1.3, 5)])
        ends *= (length - 1) / ends[-1]
        axes.append(np.interp(np.arange(length), np.linspace(0, length - 1, 6), ends))
    return np.stack(np.meshgrid(*axes, indexing="ij"))


def piecewise_affine(size, rng):
    """A mesh of 4x4 points, each moved by a normal amount of 3 to 5 % of the size; none leaves it.

    Each cell of the mesh is two triangles, and within a triangle the map is affine.
    """
    last = np.array(size, np.float32)[:, None, None] - 1
    mesh = np.mgrid[:4, :4] / 3  # (2, 4, 4), from 0 to 1
    mesh = np.clip(mesh + rng.normal(0, rng.uniform(0.03, 0.05), mesh.shape), 0, 1)
    mesh = mesh.astype(np.float32) * last
    at = _grid(size) / last * 3
    i, j = cell = np.minimum(at.astype(int), 2)
    down, right = at - cell  # (H, W), from 0 to 1
    near = down + right <= 1
    corner = np.where(near, mesh[:, i, j], mesh[:, i + 1, j + 1])
    below, beside = mesh[:, i + 1, j], mesh[:, i, j + 1]
    return np.where(
        near,
        corner + down * (below - corner) + right * (beside - corner),
        corner + (1 - down) * (beside - corner) + (1 - right) * (below - corner),
    )


def _grid(size) -> np.ndarray:
    return np.mgrid[: size[0], : size[1]].astype(np.float32)  # (2, H, W)


# Looks: picture, rng -> picture


def grey_noise(picture, rng):
    """The same normal noise in all channels, of a standard deviation of 1 to 5 % of 255."""
    noise = rng.standard_normal((*picture.shape[:2], 1), np.float32)
    return _to_bytes(picture + rng.uniform(2.55, 12.75) * noise)


def colour_noise(picture, rng):
    """Normal noise in each channel, of a variance from 10 to 50 of steps of 255."""
    return add_noise(picture, sqrt(rng.uniform(10, 50)), rng)


def motion_blur(picture, rng):
    """The mean along a line through the middle of 3, 5 or 7 pixels in any direction."""
    reach = int(rng.integers(1, 4))
    angle = rng.uniform(0, pi)
    row, column = round(reach * sin(angle)), round(reach * cos(angle))
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    for sign in (-1, 1):  # from the middle outwards, so that it is symmetric
        rows, columns = line(0, 0, sign * row, sign * column)
        kernel[rows + reach, columns + reach] = 1
    return _correlated(picture, kernel / kernel.sum())


def median_blur(picture, rng):
    """The median of 3x3 pixels."""
    return filtered(picture, ImageFilter.MedianFilter(3))


def box_blur(picture, rng):
    """The mean of 3x3 pixels."""
    return filtered(picture, ImageFilter.BoxBlur(1))


def clahe(picture, rng):
    """Contrast limited adaptive histogram equalisation of 8x8 tiles, the limit from 1 to 2 times
    the height of an even histogram."""
    limit, tile = rng.uniform(1, 2) / 256, [ceil(side / 8) for side in picture.shape[:2]]

    def equal(channel):
        if channel.min() == channel.max():
            return channel
        return _to_bytes(255 * equalize_adapthist(channel, tile, limit))

    if picture.shape[2] != 3:
        return np.stack([equal(channel) for channel in np.moveaxis(picture, 2, 0)], 2)
    hsv = np.array(Image.fromarray(picture).convert("HSV"))
    hsv[..., 2] = equal(hsv[..., 2])
    return np.array(Image.fromarray(hsv, "HSV").convert("RGB"))


def sharpen(picture, rng):
    """A share of 0.2 to 0.5 of it is its Laplacian, plus it at a lightness of 0.5 to 1."""
    kernel = np.full((3, 3), -1.0)
    share, kernel[1, 1] = rng.uniform(0.2, 0.5), 8 + rng.uniform(0.5, 1)
    return _correlated(picture, share * kernel + (1 - share) * IDENTITY)


def emboss(picture, rng):
    """A share of 0.2 to 0.5 of it is lit from the upper left, with a strength of 0.2 to 0.7."""
    share, strength = rng.uniform(0.2, 0.5), rng.uniform(0.2, 0.7)
    slope = np.array([[-1, -1, 0], [-1, 0, 1], [0, 1, 1]])
    kernel = np.array([[-1, 0, 0], [0, 1, 0], [0, 0, 1]]) + strength * slope
    return _correlated(picture, share * kernel + (1 - share) * IDENTITY)


def brightness_contrast(picture, rng):
    """Times 0.8 to 1.2, plus up to 20 % of 255 either way."""
    return _to_bytes(picture * rng.uniform(0.8, 1.2) + rng.uniform(-51, 51))


def hue_saturation_value(picture, rng):
    """Turn the hue by up to 40 degrees; add up to 30 of 255 to the saturation, 20 to the value."""
    if picture.shape[2] != 3:
        return picture
    most = np.array([20 * 256 / 180, 30, 20])  # OpenCV's hue goes from 0 to 180, Pillow's to 256
    shift = np.rint(rng.uniform(-most, most)).astype(int)
    hsv = np.array(Image.fromarray(picture).convert("HSV")) + shift
    hsv[..., 0] %= 256
    hsv = hsv.clip(0, 255).astype(np.uint8)
    return np.array(Image.fromarray(hsv, "HSV").convert("RGB"))


IDENTITY = np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]])


def _correlated(picture: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    kernel = kernel[..., None].astype(np.float32)
    return _to_bytes(correlate(picture.astype(np.float32), kernel, mode="mirror"))


def _to_bytes(values: np.ndarray) -> np.ndarray:
    return np.rint(values).clip(0, 255).astype(np.uint8)


SYMMETRIES: dict[str, Callable] = {
    "quarter turns": quarter_turns,
    "flip": flip,
    "transpose": transpose,
}
WARPS: dict[str, Callable] = {
    "shift, scale, rotate": shift_scale_rotate,
    "optical distortion": optical_distortion,
    "grid distortion": grid_distortion,
    "piecewise affine": piecewise_affine,
}
LOOKS: dict[str, Callable] = {
    "grey noise": grey_noise,
    "colour noise": colour_noise,
    "motion blur": motion_blur,
    "median blur": median_blur,
    "box blur": box_blur,
    "CLAHE": clahe,
    "sharpen": sharpen,
    "emboss": emboss,
    "brightness, contrast": brightness_contrast,
    "hue, saturation, value": hue_saturation_value,
}
