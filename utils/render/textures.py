"""Pictures for furniture and walls, (H, W, 3) uint8, drawn from random numbers; none is flat."""

import colorsys
import functools
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from utils.render.lettering import display_font, lettering, small_print, text_font, words

VARIANTS = {"train": 160, "test": 24}  # pictures of each kind


def texture(kind: str, rng: np.random.Generator, split: str) -> np.ndarray:
    """A picture of the kind, one of those that belong to the split."""
    return _variant(kind, split, int(rng.integers(VARIANTS[split])))


@functools.lru_cache(maxsize=300)
def _variant(kind: str, split: str, number: int) -> np.ndarray:
    place = list(MAKERS).index(kind)
    rng = np.random.default_rng([{"train": 5, "test": 71}[split], place, number])
    picture = MAKERS[kind](rng) if kind not in LETTERED else MAKERS[kind](rng, split)
    return np.asarray(picture).clip(0, 255).astype(np.uint8)


def noise(
    rng: np.random.Generator, size: tuple[int, int], cells: tuple[float, float], octaves: int = 4
) -> np.ndarray:
    """Smooth noise of mean 0 and deviation about 1, (H, W).

    Args:
        size: (H, W).
        cells: how many bumps of the coarsest octave there are down and across.
    """
    total = np.zeros(size)
    for octave in range(octaves):
        grid = [
            max(2, min(int(c * 2**octave) + 1, 2 * s)) for c, s in zip(cells, size, strict=True)
        ]
        field = Image.fromarray(rng.normal(size=grid).astype(np.float32))
        total += np.asarray(field.resize(size[::-1], Image.Resampling.BICUBIC)) * 0.55**octave
    return total / total.std()


def colour(
    rng: np.random.Generator, saturation: tuple[float, float], value: tuple[float, float]
) -> np.ndarray:
    """A random sRGB colour (3,), 0 to 255."""
    hue = rng.random()
    return np.array(colorsys.hsv_to_rgb(hue, rng.uniform(*saturation), rng.uniform(*value))) * 255


def _wood(rng: np.random.Generator, dark: float = 1.0) -> np.ndarray:
    """Boards with grain; brown mostly."""
    height, width = 640, 640
    hue = rng.uniform(0.045, 0.1)
    saturation, value = rng.uniform(0.3, 0.75), rng.uniform(0.25, 0.8) * dark
    base = np.array(colorsys.hsv_to_rgb(hue, saturation, value)) * 255
    boards = int(rng.choice([1, 1, 3, 5, 8]))
    edges = np.linspace(0, height, boards + 1).astype(int)
    shade = np.zeros((height, width))
    for top, bottom in zip(edges[:-1], edges[1:], strict=True):
        size = (bottom - top, width)
        bend = noise(rng, size, (2 + 3 * size[0] / height, 2), 3)
        rows = np.linspace(0, size[0] / height, size[0])[:, None]
        rings = np.sin(2 * np.pi * (rows * rng.uniform(8, 30) + bend * rng.uniform(0.3, 0.9)))
        fibre = noise(rng, size, (size[0] / 3, 6), 2)
        board = 0.09 * rings + 0.06 * fibre + rng.uniform(-0.12, 0.12)
        shade[top:bottom] = board
        if boards > 1:
            shade[top : top + 2] -= 0.45
    picture = base * (1 + shade[..., None] * [0.9, 1.0, 1.15])
    if rng.random() < 0.5:
        picture *= (1 + 0.06 * noise(rng, (height, width), (3, 3)))[..., None]
    return picture


def _dark(rng: np.random.Generator) -> np.ndarray:
    """Black or very dark table tops, with dust and faint scratches."""
    base = colour(rng, (0, 0.3), (0.03, 0.16))
    picture = base * (1 + 0.25 * noise(rng, (512, 512), (5, 5), 5))[..., None]
    dust = rng.random((512, 512)) < 0.003
    picture[dust] += rng.uniform(10, 60)
    layer = Image.fromarray(picture.clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(layer)
    for _ in range(int(rng.integers(0, 25))):
        x, y = rng.uniform(0, 512, 2)
        off = rng.normal(0, 60, 2)
        tone = tuple(int(v) for v in base + rng.uniform(5, 25))
        draw.line((x, y, x + off[0], y + off[1]), tone, 1)
    return np.asarray(layer)


def _plaster(rng: np.random.Generator) -> np.ndarray:
    """Painted walls: stains, roller marks, pores; light mostly."""
    light = rng.random()
    value = (0.75, 0.97) if light < 0.6 else ((0.4, 0.75) if light < 0.85 else (0.06, 0.3))
    base = colour(rng, (0.0, rng.choice([0.08, 0.25, 0.5], p=[0.6, 0.25, 0.15])), value)
    shade = 0.035 * noise(rng, (512, 512), (3, 3), 3) + 0.02 * noise(rng, (512, 512), (90, 90), 2)
    return base * (1 + shade * rng.uniform(0.6, 2.0))[..., None]


def _tiles(rng: np.random.Generator) -> np.ndarray:
    """Ceramic tiles with joints."""
    size = 576
    across = int(rng.choice([3, 4, 6, 8]))
    down = across * int(rng.choice([1, 1, 2]))
    base = colour(rng, (0.0, 0.4), (0.45, 0.97))
    second = colour(rng, (0.0, 0.6), (0.3, 0.97)) if rng.random() < 0.35 else base
    y, x = np.mgrid[0:size, 0:size]
    row = y * down // size
    offset = (row % 2) * (size // across // 2) if down > across else 0
    column = (x + offset) * across // size
    tone = rng.normal(0, 0.03, (down + 1, across + 2))[row, column]
    checker = ((row + column) % 2)[..., None]
    picture = np.where(checker, base, second) * (1 + tone)[..., None]
    picture *= (1 + 0.02 * noise(rng, (size, size), (12, 12)))[..., None]
    joint = (y % (size / down) < 4) | ((x + offset) % (size / across) < 4)
    picture[joint] = colour(rng, (0, 0.15), (0.3, 0.9))
    return picture


def _brick(rng: np.random.Generator) -> np.ndarray:
    """A brick wall."""
    size = 576
    y, x = np.mgrid[0:size, 0:size]
    row = y * 14 // size
    shifted = x + (row % 2) * size // 10
    column = shifted * 5 // size
    hue = rng.uniform(0.0, 0.07)
    base = np.array(colorsys.hsv_to_rgb(hue, rng.uniform(0.1, 0.65), rng.uniform(0.4, 0.85))) * 255
    tone = rng.normal(0, 0.13, (15, 8))[row, column]
    rough = 0.1 * noise(rng, (size, size), (40, 40), 4)
    picture = base * (1 + tone + rough)[..., None]
    joint = (y % (size / 14) < 5) | (shifted % (size / 5) < 5)
    picture[joint] = (colour(rng, (0, 0.1), (0.5, 0.85)) * (1 + rough[..., None]))[joint]
    return picture


def _stone(rng: np.random.Generator) -> np.ndarray:
    """Granite, marble or terrazzo."""
    base = colour(rng, (0, 0.25), (0.15, 0.9))
    size = (512, 512)
    if rng.random() < 0.4:  # veins
        field = np.abs(noise(rng, size, (4, 4), 5))
        vein = np.exp(-((field / rng.uniform(0.05, 0.25)) ** 2))
        other = colour(rng, (0, 0.3), (0.2, 0.95))
        return base * (1 - vein[..., None]) + other * vein[..., None]
    picture = np.repeat(base[None, None], 512, 0).repeat(512, 1)
    for cells in (60, 100, 180):
        speck = noise(rng, size, (cells, cells), 1) > rng.uniform(0.7, 1.5)
        picture[speck] = colour(rng, (0, 0.3), (0.05, 0.95))
    return picture


def _cloth(rng: np.random.Generator) -> np.ndarray:
    """Woven cloth: plain, checked, striped or dotted."""
    size = 512
    y, x = np.mgrid[0:size, 0:size]
    base = colour(rng, (0.0, 0.8), (0.2, 0.95))
    other = colour(rng, (0.0, 0.8), (0.2, 0.95))
    style = rng.random()
    cell = size // int(rng.choice([4, 8, 16]))
    if style < 0.3:
        blend = ((x // cell % 2) + (y // cell % 2)) / 2
    elif style < 0.55:
        blend = (x // cell % 2).astype(float)
    elif style < 0.7:
        blend = (np.hypot(x % cell - cell / 2, y % cell - cell / 2) < cell * 0.25).astype(float)
    else:
        blend = (0.5 + 0.25 * noise(rng, (size, size), (3, 3))).clip(0, 1)
    picture = base * (1 - blend[..., None]) + other * blend[..., None]
    weave = 1 + 0.07 * np.sin(x * 1.6) + 0.07 * np.sin(y * 1.6)
    weave += 0.04 * noise(rng, (size, size), (60, 60), 2)
    return picture * weave[..., None]


def _paper(rng: np.random.Generator) -> np.ndarray:
    """Wallpaper with a repeated figure."""
    size, cell = 512, int(rng.choice([64, 128]))
    base, ink = colour(rng, (0, 0.45), (0.5, 0.95)), colour(rng, (0, 0.7), (0.2, 0.95))
    figure = Image.new("L", (cell, cell))
    draw = ImageDraw.Draw(figure)
    for _ in range(int(rng.integers(2, 7))):
        a, b = rng.uniform(0, cell, 2), rng.uniform(0, cell, 2)
        box = (*np.minimum(a, b), *(np.maximum(a, b) + 2))
        style = rng.random()
        if style < 0.4:
            draw.ellipse(box, outline=255, width=int(rng.integers(1, 6)))
        elif style < 0.7:
            draw.arc(box, rng.uniform(0, 360), rng.uniform(0, 360), 255, int(rng.integers(2, 7)))
        else:
            draw.polygon([tuple(rng.uniform(0, cell, 2)) for _ in range(3)], 255)
    mask = np.tile(np.asarray(figure) / 255.0, (size // cell, size // cell))[..., None]
    picture = base * (1 - 0.7 * mask) + ink * 0.7 * mask
    return picture * (1 + 0.02 * noise(rng, (size, size), (3, 3)))[..., None]


def _ground(rng: np.random.Generator) -> np.ndarray:
    """Sand, gravel, grass, soil or asphalt."""
    size = (640, 640)
    style = rng.integers(4)
    hues = [(0.09, 0.3, 0.75), (0.08, 0.1, 0.5), (0.27, 0.55, 0.4), (0.07, 0.4, 0.35)][style]
    base = np.array(colorsys.hsv_to_rgb(hues[0] + rng.normal(0, 0.015), hues[1], hues[2])) * 255
    shade = 0.12 * noise(rng, size, (6, 6), 4) + rng.uniform(0.08, 0.25) * noise(
        rng, size, (110, 110), 2
    )
    picture = base * (1 + shade)[..., None]
    layer = Image.fromarray(picture.clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(layer)
    for _ in range(500 if style else 120):
        x, y = rng.uniform(0, 640, 2)
        tone = tuple(int(v) for v in (base * rng.uniform(0.4, 1.5)).clip(0, 255))
        if style == 2:
            draw.line((x, y, x + rng.normal(0, 12), y + rng.normal(0, 25)), tone, 2)
        else:
            r = rng.uniform(1, 9)
            draw.ellipse((x - r, y - r * 0.8, x + r, y + r * 0.8), tone)
    return np.asarray(layer.filter(ImageFilter.GaussianBlur(0.7)))


def _blur_scene(rng: np.random.Generator) -> np.ndarray:
    """What a room or a view out of a window looks like out of focus."""
    height, width = 320, 480
    top, bottom = colour(rng, (0, 0.4), (0.3, 1)), colour(rng, (0, 0.6), (0.1, 0.7))
    blend = np.linspace(0, 1, height)[:, None, None] ** rng.uniform(0.5, 2)
    picture = np.repeat(top * (1 - blend) + bottom * blend, width, axis=1)
    layer = Image.fromarray(picture.astype(np.uint8))
    draw = ImageDraw.Draw(layer)
    for _ in range(int(rng.integers(25, 70))):
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        w, h = rng.uniform(6, 110), rng.uniform(6, 130)
        tone = tuple(int(v) for v in colour(rng, (0, 0.9), (0.05, 1)))
        style = rng.random()
        if style < 0.6:
            draw.rectangle((x, y, x + w, y + h), tone)
        elif style < 0.85:
            draw.ellipse((x, y, x + w, y + h), tone)
        else:
            draw.line((x, y, x + w, y + h), tone, int(rng.integers(2, 9)))
    picture = np.asarray(layer.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 5))), float)
    return picture * (1 + 0.06 * noise(rng, (height, width), (8, 8)))[..., None]


def _print(rng: np.random.Generator, split: str) -> np.ndarray:
    """Posters, book covers, cartons, paper: shapes, pictures and text."""
    width, height = 360, 480
    base = colour(rng, (0, 0.9), (0.15, 1))
    layer = Image.fromarray(np.full((height, width, 3), base, np.uint8)).convert("RGBA")
    draw = ImageDraw.Draw(layer)
    if rng.random() < 0.5:
        scene = Image.fromarray(np.asarray(_blur_scene(rng)).clip(0, 255).astype(np.uint8))
        w, h = int(rng.uniform(150, width)), int(rng.uniform(120, height))
        layer.paste(scene.resize((w, h)), (int((width - w) / 2), int(rng.uniform(0, height - h))))
    for _ in range(int(rng.integers(0, 7))):
        x, y, w, h = rng.uniform(-40, 320), rng.uniform(-40, 440), *rng.uniform(15, 260, 2)
        tone = tuple(int(v) for v in colour(rng, (0, 0.9), (0.1, 1)))
        if rng.random() < 0.5:
            draw.rectangle((x, y, x + w, y + h * 0.5), tone)
        else:
            draw.ellipse((x, y, x + w, y + w), tone)
    for _ in range(int(rng.integers(1, 5))):
        tone = tuple(int(v) for v in colour(rng, (0, 0.9), (0, 1))) + (255,)
        if rng.random() < 0.3:
            tone = (245, 245, 245, 255)
        word = lettering(words(rng, int(rng.integers(1, 4))), display_font(rng, split), 50, tone)
        word.thumbnail((int(width * rng.uniform(0.5, 0.95)), 90))
        layer.alpha_composite(
            word,
            (int(rng.uniform(0, width - word.width)), int(rng.uniform(0, height - word.height))),
        )
    if rng.random() < 0.6:
        tone = (20, 20, 20, 255) if base.mean() > 120 else (235, 235, 235, 255)
        block = small_print(rng, text_font(rng, split), (int(rng.uniform(100, 300)), 120), tone, 13)
        layer.alpha_composite(block, (20, int(rng.uniform(20, 340))))
    return np.asarray(layer.convert("RGB"))


def _spine(rng: np.random.Generator, split: str) -> np.ndarray:
    """The back of a book, title running down."""
    width, height = 80, 400
    base = colour(rng, (0, 0.9), (0.08, 0.95))
    layer = Image.fromarray(np.full((height, width, 3), base, np.uint8)).convert("RGBA")
    draw = ImageDraw.Draw(layer)
    for _ in range(int(rng.integers(0, 4))):
        y, h = rng.uniform(0, height), rng.uniform(4, 60)
        draw.rectangle((0, y, width, y + h), tuple(int(v) for v in colour(rng, (0, 0.9), (0.1, 1))))
    tone = (245, 245, 240, 255) if base.mean() < 140 else (20, 20, 25, 255)
    font = display_font(rng, split) if rng.random() < 0.6 else text_font(rng, split)
    title = lettering(words(rng, int(rng.integers(2, 5))), font, 46, tone).rotate(-90, expand=True)
    title.thumbnail((56, 300))
    layer.alpha_composite(title, ((width - title.width) // 2, int(rng.uniform(10, 90))))
    return np.asarray(layer.convert("RGB"))


def _keys(rng: np.random.Generator, split: str) -> np.ndarray:
    """The top of a keyboard."""
    dark = rng.random() < 0.7
    base, key = ((25, 25, 28), (45, 45, 50)) if dark else ((170, 170, 172), (235, 235, 235))
    layer = Image.new("RGBA", (560, 200), (*base, 255))
    draw = ImageDraw.Draw(layer)
    font = text_font(rng, split)
    for row in range(5):
        for column in range(14):
            x, y = 8 + column * 39 + row % 3 * 6, 8 + row * 38
            draw.rounded_rectangle((x, y, x + 34, y + 33), 4, (*key, 255))
            letter = lettering(
                chr(65 + int(rng.integers(26))),
                font,
                16,
                (235, 235, 235, 255) if dark else (30, 30, 30, 255),
            )
            layer.alpha_composite(letter, (min(x + 8, 540), y + 7))
    return np.asarray(layer.convert("RGB"))


def _poster(rng: np.random.Generator, split: str) -> np.ndarray:
    """A dark poster, red mostly: figures, large letters, a border, folds."""
    width, height = 480, 600
    hue = rng.choice([0.0, 0.63, 0.77, 0.5], p=[0.76, 0.12, 0.07, 0.05]) + rng.uniform(-0.03, 0.02)
    base = np.array(colorsys.hsv_to_rgb(hue % 1, rng.uniform(0.7, 1), rng.uniform(0.25, 0.65)))
    blend = np.linspace(0, 1, height)[:, None, None] * rng.uniform(-0.6, 0.4)
    shade = 1 + blend + 0.06 * noise(rng, (height, width), (4, 4))[..., None]
    picture = base * 255 * shade
    if rng.random() < 0.35:  # a photograph in this colour
        scene = Image.fromarray(np.asarray(_blur_scene(rng)).clip(0, 255).astype(np.uint8))
        grey = np.asarray(scene.resize((width, height)).convert("L"))[..., None] / 255
        picture = picture * (0.5 + 0.8 * grey)
    layer = Image.fromarray(picture.clip(0, 255).astype(np.uint8)).convert("RGBA")
    draw = ImageDraw.Draw(layer)
    inks = [(240, 235, 225), (225, 180, 70), (15, 12, 14), tuple(int(v * 120) for v in base)]
    for _ in range(int(rng.integers(0, 6))):
        ink = inks[rng.choice(4, p=[0.2, 0.2, 0.25, 0.35])]
        x, y, w = rng.uniform(-60, 420), rng.uniform(-60, 520), rng.uniform(30, 330)
        style = rng.random()
        if style < 0.4:
            draw.ellipse((x, y, x + w, y + w), ink)
        elif style < 0.6:
            draw.ellipse((x, y, x + w, y + w), None, ink, int(rng.uniform(4, 30)))
        elif style < 0.8:
            draw.polygon([(x, y + w), (x + w / 2, y), (x + w, y + w)], ink)
        else:
            draw.rectangle((x, y, x + w, y + w * rng.uniform(0.1, 1.2)), ink)
    for _ in range(int(rng.integers(0, 4))):
        text = words(rng, int(rng.integers(1, 3)))
        text = text.upper() if rng.random() < 0.5 else text
        ink = inks[rng.choice(3, p=[0.6, 0.25, 0.15])]
        word = lettering(text, display_font(rng, split), 90, (*ink, 255))
        word.thumbnail((int(width * rng.uniform(0.4, 0.95)), 150))
        at = (rng.uniform(0, width - word.width), rng.uniform(0, height - word.height))
        layer.alpha_composite(word, (int(at[0]), int(at[1])))
    if rng.random() < 0.35:
        rim = int(rng.uniform(8, 30))
        draw.rectangle((0, 0, width - 1, height - 1), None, inks[rng.integers(4)], rim)
    return np.asarray(layer.convert("RGB"))


MAKERS: dict[str, Callable] = {
    "wood": _wood,
    "dark": _dark,
    "plaster": _plaster,
    "tiles": _tiles,
    "brick": _brick,
    "stone": _stone,
    "cloth": _cloth,
    "paper": _paper,
    "ground": _ground,
    "view": _blur_scene,
    "print": _print,
    "spine": _spine,
    "keys": _keys,
    "poster": _poster,  # at the end: a kind's place is part of its random numbers
}
LETTERED = {"print", "spine", "keys", "poster"}
