"""Random changes of a picture together with its label map.

Flip, zoom, crop and rotation are one affine map from the output to the source, applied to the
picture with bilinear sampling and to the labels with nearest neighbour, so the two cannot drift
apart and no label value is invented. Colour, blur and noise change the picture only.

Every function is pure: what is random comes from the generator `rng` alone.
"""

from dataclasses import dataclass
from math import ceil, cos, log, radians, sin

import numpy as np
from PIL import Image, ImageFilter

from utils.classes import VOID
from utils.pictures import GREY_WEIGHTS, resize_picture

# Where things are. DeepLab and PSPNet zoom by 0.5 to 2 and train for days; in the minutes of the
# quick preset less variation leads further, and 0.5 leaves a fifth of the pixels void.
FLIP_SHARE = 0.5
ZOOM = (0.9, 1.4)  # drawn on a logarithmic scale
CLOSE_UP = (1.4, 2.8)  # instead, for a share of the pictures:
CLOSE_UPS = {"mild": 0.0, "close": 0.2}  # by the name of the augmentation
ASPECT = 1.1  # width against height, up to this factor either way: a slightly oblique view
ROTATION = 5  # degrees either way: a hand-held camera; PSPNet takes 10

# How things look: about what exposure and white balance of a simple camera vary by.
BRIGHTNESS = 0.2  # gain up to 20 % either way
CONTRAST = 0.2  # about the mean of the picture
GAMMA = 1.25  # exponent from 1/1.25 to 1.25
WHITE_BALANCE = 0.06  # gain of each channel
SATURATION = 0.3
HUE = 8  # degrees about the grey axis; more would turn one brand of drink into another

# How well they are seen. Rare, since most pictures that will be segmented are clear.
BLUR_SHARE = 0.1
BLUR = 1.0  # pixels of standard deviation at most, for a picture of BLUR_HEIGHT rows
BLUR_HEIGHT = 480  # the chapter's pictures
NOISE_SHARE = 0.1
NOISE = 8.0  # standard deviation at most, of 255; a webcam in a dim room


@dataclass(frozen=True)
class View:
    """What part of the source is seen, and how; the default sees all of it as it is.

    Attributes:
        flip: mirror left and right.
        zoom: how much larger things appear, (vertically, horizontally).
        angle: anticlockwise turn of what is seen, in radians.
        centre: which point of the source is in the middle, (row, column) as shares of its size.
    """

    flip: bool = False
    zoom: tuple[float, float] = (1.0, 1.0)
    angle: float = 0.0
    centre: tuple[float, float] = (0.5, 0.5)


def augment(
    picture: np.ndarray,
    labels: np.ndarray,
    rng: np.random.Generator,
    size: tuple[int, int],
    close_ups: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Change a picture and its labels at random and bring both to `size`.

    Args:
        picture: (h, w, C) uint8.
        labels: (h', w') uint8 class ids of the same view, of any size.
        rng: gives all random numbers; equally seeded ones give equal results.
        size: (H, W) of the results.
        close_ups: share of pictures that are seen from near, 0 to 1.

    Returns:
        The picture (H, W, C) uint8 and its labels (H, W) uint8; what lies outside the source is
        its mean colour and void (255).
    """
    view = random_view(rng, close_ups)
    seen = see_picture(picture, view, size)
    return change_look(seen, rng), see_labels(labels, view, size)


def needed_size(size: tuple[int, int], close_ups: float = 0.0) -> tuple[int, int]:
    """The least (H, W) of a picture that loses nothing by any view of it that has `size`."""
    most = CLOSE_UP[1] if close_ups else ZOOM[1]
    return tuple(ceil(side * most * ASPECT**0.5) for side in size)


def random_view(rng: np.random.Generator, close_ups: float = 0.0) -> View:
    """A random view; when zoomed in it lies within the source, else the source within it."""
    flip = bool(rng.random() < FLIP_SHARE)
    least, most = CLOSE_UP if close_ups and rng.random() < close_ups else ZOOM
    zoom = np.exp(rng.uniform(log(least), log(most)))
    stretch = np.exp(rng.uniform(-log(ASPECT), log(ASPECT)) / 2)
    zooms = np.array([zoom / stretch, zoom * stretch])
    room = np.abs(0.5 - 0.5 / zooms)  # by which the centre may move, shares of the source
    centre = 0.5 + rng.uniform(-1, 1, 2) * room
    angle = rng.uniform(-radians(ROTATION), radians(ROTATION))
    return View(flip, tuple(zooms.tolist()), float(angle), tuple(centre.tolist()))


def see_picture(picture: np.ndarray, view: View, size: tuple[int, int]) -> np.ndarray:
    """What a view shows of a picture: (h, w, C) uint8 -> (H, W, C) uint8, `size` being (H, W).

    Bilinear. Where the view shrinks the picture it is reduced with averaging first, as sampling
    it sparsely would alias.
    """
    mean = tuple(np.rint(picture[::4, ::4].mean((0, 1))).astype(int).tolist())
    scales = [
        zoom * length / source
        for zoom, length, source in zip(view.zoom, size, picture.shape, strict=False)
    ]
    reduced = [
        max(1, round(source * min(1.0, scale)))
        for source, scale in zip(picture.shape, scales, strict=False)
    ]
    small, method = resize_picture(picture, tuple(reduced)), Image.Resampling.BILINEAR
    if picture.shape[2] == 3:
        return _seen(Image.fromarray(small), picture.shape[:2], view, size, method, mean)
    # One by one: Pillow would take the last of 2 and 4 channels for transparency.
    channels = (Image.fromarray(small[..., channel]) for channel in range(small.shape[2]))
    seen = zip(channels, mean, strict=True)
    return np.stack([_seen(c, picture.shape[:2], view, size, method, m) for c, m in seen], axis=2)


def see_labels(labels: np.ndarray, view: View, size: tuple[int, int]) -> np.ndarray:
    """What a view shows of a label map: (h, w) uint8 -> (H, W) uint8 by nearest neighbour."""
    image = Image.fromarray(labels)
    return _seen(image, labels.shape, view, size, Image.Resampling.NEAREST, VOID)


def affine(
    source: tuple[int, int], view: View, size: tuple[int, int]
) -> tuple[float, float, float, float, float, float]:
    """The affine map of a view, from places in the output to places in the source.

    Places are (x, y) in pixels from the upper left corner, so that the first pixel's centre is
    at (0.5, 0.5). The turn is one of the source, whose pixels are taken as square.

    Args:
        source: (h, w) of the source.
        view: what is seen of it.
        size: (H, W) of the output.

    Returns:
        (a, b, c, d, e, f) with x_source = a x + b y + c and y_source = d x + e y + f.
    """
    (height, width), (out_height, out_width) = source, size
    step_x = width / out_width / view.zoom[1] * (-1 if view.flip else 1)
    step_y = height / out_height / view.zoom[0]
    # The y axis points down, so this turns the sampling grid clockwise, what is seen the other way.
    a, b = cos(view.angle) * step_x, -sin(view.angle) * step_y
    d, e = sin(view.angle) * step_x, cos(view.angle) * step_y
    c = view.centre[1] * width - a * out_width / 2 - b * out_height / 2
    f = view.centre[0] * height - d * out_width / 2 - e * out_height / 2
    return a, b, c, d, e, f


def change_look(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change colour, sharpness and noise of a picture at random, (H, W, C) uint8 -> the same.

    In the order of a camera: the lens blurs, the sensor adds noise, the rest is arithmetic. What
    needs to know red, green and blue is left out where there are not three channels.
    """
    channels, pivot = picture.shape[2], float(picture[::4, ::4].mean())
    if rng.random() < BLUR_SHARE:
        picture = blur(picture, rng.uniform(0, BLUR) * picture.shape[0] / BLUR_HEIGHT)
    if rng.random() < NOISE_SHARE:
        picture = add_noise(picture, rng.uniform(0, NOISE), rng)
    if channels == 3:
        saturation = 1 + rng.uniform(-SATURATION, SATURATION)
        matrix = colour_matrix(saturation, radians(rng.uniform(-HUE, HUE)))
        picture = np.asarray(Image.fromarray(picture).convert("RGB", matrix))
    curves = tone_curves(
        gains=(1 + rng.uniform(-BRIGHTNESS, BRIGHTNESS))
        * (1 + rng.uniform(-WHITE_BALANCE, WHITE_BALANCE, channels)),
        contrast=1 + rng.uniform(-CONTRAST, CONTRAST),
        gamma=float(np.exp(rng.uniform(-log(GAMMA), log(GAMMA)))),
        pivot=pivot,
    )
    if channels == 3:
        return np.array(Image.fromarray(picture).point(curves.ravel().tolist()))
    return np.stack([curve[picture[..., c]] for c, curve in enumerate(curves)], axis=2)


def blur(picture: np.ndarray, radius: float) -> np.ndarray:
    """Blur each channel of (H, W, C) uint8 by a Gaussian with a standard deviation in pixels."""
    return filtered(picture, ImageFilter.GaussianBlur(radius))


def filtered(picture: np.ndarray, by: ImageFilter.Filter) -> np.ndarray:
    """What a filter of Pillow makes of each channel of (H, W, C) uint8."""
    if picture.shape[2] == 3:
        return np.asarray(Image.fromarray(picture).filter(by))
    channels = [Image.fromarray(picture[..., c]) for c in range(picture.shape[2])]
    return np.stack([np.asarray(channel.filter(by)) for channel in channels], axis=2)


def add_noise(picture: np.ndarray, deviation: float, rng: np.random.Generator) -> np.ndarray:
    """Add normal noise of a standard deviation, in steps of 1/255, to (H, W, C) uint8."""
    noise = rng.standard_normal(picture.shape, np.float32)
    noise *= deviation
    noise += picture
    np.clip(np.rint(noise, out=noise), 0, 255, out=noise)
    return noise.astype(np.uint8)


def tone_curves(gains, contrast: float, gamma: float, pivot: float) -> np.ndarray:
    """What becomes of the 256 values of each channel, (C, 256) uint8.

    Args:
        gains: factor of each of the C channels.
        contrast: factor of the distance from `pivot`.
        gamma: exponent of the values, counted from 0 to 1.
        pivot: value from 0 to 255 that contrast leaves as it is.
    """
    values = 255 * (np.arange(256) / 255) ** gamma
    values = pivot + contrast * (values - pivot)  # (256,)
    values = np.multiply.outer(np.asarray(gains), values)
    return np.rint(values.clip(0, 255)).astype(np.uint8)


def colour_matrix(saturation: float, hue: float) -> tuple[float, ...]:
    """The matrix that scales saturation and turns hue, leaving greys as they are.

    Args:
        saturation: 0 gives greys, 1 changes nothing.
        hue: turn about the grey axis in radians (Rodrigues' formula).

    Returns:
        12 numbers: 3 rows of three factors and an offset, as Pillow takes them.
    """
    third, root = 1 / 3, 3**-0.5
    axis = np.array([[0, -root, root], [root, 0, -root], [-root, root, 0]])
    turn = cos(hue) * np.eye(3) + sin(hue) * axis + (1 - cos(hue)) * np.full((3, 3), third)
    fade = saturation * np.eye(3) + (1 - saturation) * np.ones((3, 1)) * GREY_WEIGHTS
    return tuple(np.hstack([fade @ turn, np.zeros((3, 1))]).ravel().tolist())


def _seen(image, source, view, size, sampling, fill) -> np.ndarray:
    """Sample an image, which may be a reduced copy of a source of size `source`."""
    size, (width, height) = tuple(size), image.size
    coefficients = np.array(affine(source, view, size)).reshape(2, 3)
    coefficients *= np.array([[width / source[1]], [height / source[0]]])
    if np.array_equal(coefficients, [[1, 0, 0], [0, 1, 0]]) and size == (height, width):
        return np.array(image)
    image = image.transform(
        size[::-1],
        Image.Transform.AFFINE,
        tuple(coefficients.ravel().tolist()),
        resample=sampling,
        fillcolor=fill,
    )
    return np.array(image)
