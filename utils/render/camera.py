"""A cheap camera: where it stands, what its lens does, how it develops a picture."""

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

LUMINANCE = np.array([0.2126, 0.7152, 0.0722])  # of linear sRGB, ITU-R BT.709


@dataclass(frozen=True)
class Camera:
    """A camera in the room; lengths in cm."""

    position: np.ndarray  # (3,)
    target: np.ndarray  # (3,)
    up: np.ndarray  # (3,)
    view: float  # degrees from the left to the right edge
    aperture: float  # radius of the lens opening; 0 is sharp everywhere
    focus: float  # distance that is sharp
    barrel: float  # lens distortion, positive draws the corners in


def aim(
    rng: np.random.Generator, centre: np.ndarray, tall: float, wide: float, wall: float
) -> Camera:
    """A camera that looks at drinks around `centre`.

    Args:
        tall: height of the drinks.
        wide: width of the group of drinks.
        wall: distance that the camera need not be nearer than, from the origin.
    """
    view = rng.uniform(36, 68)
    style = rng.random()
    if style < 0.12:
        share = rng.uniform(0.85, 1.35)  # larger than the picture
    elif style < 0.72:
        share = rng.uniform(0.42, 0.85)
    else:
        share = rng.uniform(0.16, 0.42)
    upright_view = np.tan(np.radians(view / 2)) * 0.75  # 4:3
    distance = tall / (2 * share * upright_view)
    if style >= 0.12:  # let most of the group fit in
        distance = max(distance, rng.uniform(0.5, 1.0) * wide / (2 * np.tan(np.radians(view / 2))))
    distance = max(distance, 14.0)
    steep = rng.random()
    rise = rng.uniform(0, 14) if steep < 0.45 else rng.uniform(12, 32)
    if steep > 0.9:
        rise = rng.uniform(32, 60)
    heading = np.radians(rng.normal(0, 17))
    rise = np.radians(rise)
    away = np.array([np.sin(heading) * np.cos(rise), -np.cos(heading) * np.cos(rise), np.sin(rise)])
    reach = distance * np.tan(np.radians(view / 2))
    target = centre + [rng.normal(0, 0.22) * reach, 0, rng.normal(0, 0.15) * reach * 0.75]
    position = target + away * distance
    position[2] = max(position[2], rng.uniform(2.5, 6))
    roll = np.radians(rng.normal(0, 2.0) if rng.random() < 0.85 else rng.normal(0, 9))
    ahead = (target - position) / np.linalg.norm(target - position)
    side = np.cross(ahead, [0, 0, 1.0])
    side /= np.linalg.norm(side)
    up = np.cross(side, ahead) * np.cos(roll) + side * np.sin(roll)
    aperture, focus = 0.0, distance
    if rng.random() < 0.55:
        # The blur disc of a point at infinity covers 0.1 to 2.5 per cent of the picture's width.
        disc = np.exp(rng.uniform(np.log(0.001), np.log(0.025)))
        aperture = disc * np.tan(np.radians(view / 2)) * distance
        if rng.random() < 0.2:
            focus = distance * rng.uniform(0.7, 1.8)
    barrel = rng.uniform(-0.02, 0.09) if rng.random() < 0.4 else 0.0
    return Camera(position, target, up, view, aperture, focus, barrel)


def undistorted(camera: Camera, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """For each pixel of the distorted picture, the row and column to take it from, (H, W)."""
    height, width = size
    y, x = np.mgrid[0:height, 0:width].astype(float)
    middle_y, middle_x = (height - 1) / 2, (width - 1) / 2
    corner = np.hypot(middle_y, middle_x)
    radius = np.hypot(y - middle_y, x - middle_x) / corner
    factor = (1 + camera.barrel * radius**2) / (1 + max(camera.barrel, 0.0))
    return middle_y + (y - middle_y) * factor, middle_x + (x - middle_x) * factor


def project(camera: Camera, points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Where points (N, 3) lie in the picture without distortion: (N, 2) column, row.

    Pixel centres have integer coordinates. Points behind the camera become NaN.
    """
    height, width = size
    ahead = camera.target - camera.position
    ahead = ahead / np.linalg.norm(ahead)
    side = np.cross(ahead, camera.up)
    side = side / np.linalg.norm(side)
    up = np.cross(side, ahead)
    offset = points - camera.position
    depth = offset @ ahead
    depth = np.where(depth > 0.1, depth, np.nan)
    scale = width / 2 / np.tan(np.radians(camera.view / 2))
    column = width / 2 + scale * (offset @ side) / depth - 0.5
    row = height / 2 - scale * (offset @ up) / depth - 0.5
    return np.stack([column, row], 1)


def develop(light: np.ndarray, drinks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The picture that a cheap camera makes of the light.

    Args:
        light: (H, W, 3) linear RGB, any scale.
        drinks: (H, W) bool, which pixels show a drink; the exposure favours them.

    Returns:
        (H, W, 3) uint8 sRGB.
    """
    from scipy.ndimage import convolve, gaussian_filter

    height, width = light.shape[:2]
    luminance = np.maximum(light @ LUMINANCE, 1e-5)
    meter = 0.6 * np.median(luminance) + 0.4 * np.sqrt(luminance).mean() ** 2
    if drinks.any():
        meter = 0.55 * meter + 0.45 * np.sqrt(luminance[drinks]).mean() ** 2
    error = rng.normal(0, 0.42) if rng.random() < 0.85 else rng.choice([-1.1, 1.2])
    light = light * (0.23 * 2**error / meter)

    cast = np.exp(rng.normal(0, [0.07, 0.02, 0.09]))
    if rng.random() < 0.15:
        cast = np.exp(rng.normal(0, [0.2, 0.05, 0.25]))
    # The camera half corrects the colour of the light.
    mean = np.minimum(light, 2).mean(axis=(0, 1))
    light = light * (mean.mean() / mean) ** rng.uniform(0.3, 0.95) * cast

    veil = rng.uniform(0.0, 0.06)  # stray light round what is too bright
    bright = np.minimum(light, 10)
    glow = gaussian_filter(bright, (width / 40, width / 40, 0))
    light = (1 - veil) * light + veil * glow
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    light = light * (1 - rng.uniform(0, 0.3) * (x**2 + y**2) / 2)[..., None]

    scale = width / 640
    style = rng.random()
    blur = (
        0.0 if style < 0.2 else rng.uniform(0.35, 0.85) if style < 0.8 else rng.uniform(0.85, 1.9)
    )
    if blur:
        light = gaussian_filter(light, (blur * scale, blur * scale, 0))
    if rng.random() < 0.07:
        light = convolve(light, _smear(rng, scale)[..., None], mode="nearest")

    light = _with_noise(light, rng)

    knee = rng.uniform(2.0, 6.0)
    tone = light / (1 + light.clip(0) ** knee) ** (1 / knee)
    encoded = np.where(
        tone <= 0.0031308, 12.92 * tone, 1.055 * tone.clip(1e-9) ** (1 / 2.4) - 0.055
    )  # sRGB, IEC 61966-2-1
    contrast = rng.uniform(-0.1, 0.5)
    curve = encoded.clip(0, 1)
    encoded = encoded + contrast * (3 * curve**2 - 2 * curve**3 - curve)
    grey = encoded @ LUMINANCE
    encoded = grey[..., None] + (encoded - grey[..., None]) * rng.uniform(0.75, 1.3)
    encoded = rng.uniform(-0.01, 0.05) * (1 - encoded) + encoded  # raised black
    if rng.random() < 0.65:
        radius = rng.uniform(0.6, 1.5) * scale
        soft = gaussian_filter(encoded, (radius, radius, 0))
        encoded = encoded + rng.uniform(0.2, 1.4) * (encoded - soft)
    return (encoded * 255).clip(0, 255).round().astype(np.uint8)


def _smear(rng: np.random.Generator, scale: float) -> np.ndarray:
    """The path of a shaken camera, a kernel (K, K) of sum 1."""
    length, angle = rng.uniform(2.5, 7) * scale, rng.uniform(0, np.pi)
    reach = int(np.ceil(length / 2))
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    for t in np.linspace(-length / 2, length / 2, 64):
        kernel[int(round(reach + t * np.sin(angle))), int(round(reach + t * np.cos(angle)))] += 1
    return kernel / kernel.sum()


def _with_noise(light: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Photon and read noise, smeared over neighbours as by demosaicing."""
    from scipy.ndimage import gaussian_filter

    amount = np.exp(rng.uniform(np.log(0.0006), np.log(0.025)))
    deviation = np.sqrt(amount * 0.03 * light.clip(0, 1.2) + (amount * 0.12) ** 2)
    grain = rng.normal(size=light.shape)
    smear = rng.uniform(0.3, 0.8)
    grain = gaussian_filter(grain, (smear, smear, 0))
    grain /= grain.std()
    common = grain.mean(axis=2, keepdims=True) * np.sqrt(3)
    share = rng.uniform(0.2, 0.8)  # of the noise that is colourless
    return light + deviation * (np.sqrt(share) * common + np.sqrt(1 - share) * grain)


def compress(picture: np.ndarray, rng: np.random.Generator, limit: int) -> bytes:
    """`picture` as the bytes of a JPEG file of random quality and at most about `limit` bytes."""
    quality = int(rng.uniform(60, 95))
    while True:
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "JPEG", quality=quality, optimize=True)
        if file.tell() <= limit or quality <= 25:
            return file.getvalue()
        quality -= 4
