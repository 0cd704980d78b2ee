"""Artwork that goes round bottles and cans, drawn from random numbers.

A label is a picture (H, W, 3) uint8 whose width goes once round. Every design belongs to one
split; training and test designs share neither names, fonts nor random numbers.
"""

import colorsys
import functools

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from utils.render.lettering import (
    bar_code,
    brand,
    display_font,
    lettering,
    phrase,
    small_print,
    text_font,
)

DESIGNS = {"train": 90, "test": 24}  # of each class
WHITE = (250, 250, 250, 255)
SNOW_SHADE = (205, 222, 240, 255)
CAN_SIZE = (1024, 760)  # pixels, round and up
WATER_SIZE = (1024, 300)


def can_label(
    class_id: int, rng: np.random.Generator, split: str, white: bool = False
) -> tuple[np.ndarray, float]:
    """The print of a can of class 2 (soda) or 3 (juice) and how metallic it is (0 to 1).

    Args:
        white: a juice can with a white or cream front and a green back.
    """
    number = int(rng.integers(DESIGNS[split]))
    picture, metallic = (
        _white_design(split, number) if white else _can_design(class_id, split, number)
    )
    return _fade(picture, rng), metallic


def water_label(rng: np.random.Generator, split: str) -> np.ndarray:
    """The white and blue label of a water bottle."""
    return _fade(_water_design(split, int(rng.integers(DESIGNS[split]))), rng)


def _fade(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """`picture` as another print run would look: a little lighter, darker or tinted."""
    gain = rng.uniform(0.88, 1.05) * rng.uniform(0.97, 1.03, 3)
    return (picture * gain).clip(0, 255).astype(np.uint8)


def _generator(split: str, class_id: int, number: int) -> np.random.Generator:
    return np.random.default_rng([{"train": 11, "test": 97}[split], class_id, number])


def _hsv(hue: float, saturation: float, value: float) -> tuple[int, int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, min(saturation, 1), min(value, 1))
    return int(red * 255), int(green * 255), int(blue * 255), 255


def _paste(canvas: Image.Image, piece: Image.Image, x: float, y: float) -> None:
    """Paste `piece` centred at (x, y) in pixels, going round at the left and right edge."""
    left, top = int(x - piece.width / 2), int(y - piece.height / 2)
    for turn in (-canvas.width, 0, canvas.width):
        canvas.paste(piece, (left + turn, top), piece)


def _fit(piece: Image.Image, width: float, height: float) -> Image.Image:
    """`piece` scaled to fit into width x height pixels."""
    factor = min(width / piece.width, height / piece.height)
    size = (max(1, int(piece.width * factor)), max(1, int(piece.height * factor)))
    return piece.resize(size, Image.Resampling.LANCZOS)


def _gradient(size: tuple[int, int], top: tuple, bottom: tuple) -> Image.Image:
    """RGBA from `top` to `bottom` colour."""
    blend = np.linspace(0, 1, size[1])[:, None, None]
    rows = np.asarray(top) * (1 - blend) + np.asarray(bottom) * blend  # (H, 1, 4)
    return Image.fromarray(np.repeat(rows, size[0], axis=1).astype(np.uint8), "RGBA")


def _wave(
    canvas: Image.Image, rng: np.random.Generator, colour: tuple, centre: float, thick: float
) -> None:
    """A swoosh right round the label at the height `centre`, both as fractions of the height."""
    width, height = canvas.size
    x = np.linspace(0, width, 129)
    turns = rng.integers(1, 4)
    shape = np.sin(2 * np.pi * (turns * x / width + rng.random()))
    second = np.sin(2 * np.pi * (2 * turns * x / width + rng.random()))
    middle = centre * height + height * rng.uniform(0.03, 0.14) * shape
    half = thick * height * (0.6 + 0.4 * second) / 2
    outline = [*zip(x, middle - half, strict=True)]
    outline += [*zip(x[::-1], (middle + half)[::-1], strict=True)]
    layer = Image.new("RGBA", canvas.size)
    ImageDraw.Draw(layer).polygon(outline, colour)
    canvas.alpha_composite(layer.filter(ImageFilter.GaussianBlur(0.8)))


# --- backs ------------------------------------------------------------------------------------


def _back(
    canvas: Image.Image, rng: np.random.Generator, split: str, x: float, ink: tuple, room: float
) -> None:
    """Ingredients, a table and a bar code in a strip `room` pixels wide about x."""
    width, height = canvas.size
    font = text_font(rng, split)
    if rng.random() < 0.3:  # on a plain panel
        panel = Image.new("RGBA", (int(room * 1.1), int(height * 0.8)), (*ink[:3], 255))
        _paste(canvas, panel, x, height * 0.5)
        ink = (25, 25, 30, 255) if sum(ink[:3]) > 380 else WHITE
    y = 0.14 * height
    if rng.random() < 0.7:
        head = lettering(brand(rng, split, 2), display_font(rng, split), 60, ink)
        _paste(canvas, _fit(head, room * 0.8, height * 0.12), x, y)
        y += height * 0.09
    point = int(rng.integers(11, 17))
    tall = int(height * rng.uniform(0.2, 0.36))
    _paste(canvas, small_print(rng, font, (int(room), tall), ink, point), x, y + tall / 2)
    y += tall + 0.03 * height
    if rng.random() < 0.6:
        table = Image.new("RGBA", (int(room * 0.9), int(height * 0.16)))
        draw = ImageDraw.Draw(table)
        for row in np.linspace(0, table.height - 1, 6):
            draw.line((0, row, table.width, row), ink, 2)
        lines = small_print(rng, font, (table.width, table.height), ink, 12)
        table.alpha_composite(lines)
        _paste(canvas, table, x, y + table.height / 2)
        y += table.height + 0.03 * height
    wide, high = int(room * rng.uniform(0.55, 0.95)), int(height * rng.uniform(0.14, 0.2))
    code = bar_code(rng, (wide, high))
    if rng.random() < 0.25:
        code = code.rotate(90, expand=True)
    _paste(canvas, code, x, min(y + code.height / 2, height * 0.97 - code.height / 2))


# --- soda -------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=160)
def _can_design(class_id: int, split: str, number: int) -> tuple[np.ndarray, float]:
    rng = _generator(split, class_id, number)
    canvas = _soda(rng, split) if class_id == 2 else _juice(rng, split)
    canvas = canvas.convert("RGB").filter(ImageFilter.GaussianBlur(0.5))
    metallic = rng.choice([0.0, 0.25, 0.5, 0.75], p=[0.25, 0.3, 0.3, 0.15])
    return np.asarray(canvas), float(metallic)


def _soda(rng: np.random.Generator, split: str) -> Image.Image:
    """Red, with large white lettering."""
    width, height = CAN_SIZE
    hue = rng.normal(0.995, 0.012)
    red = _hsv(hue, rng.uniform(0.85, 1), rng.uniform(0.62, 0.95))
    style = rng.random()
    if style < 0.12:
        red = _hsv(hue, rng.uniform(0.85, 1), rng.uniform(0.35, 0.55))
    canvas = Image.new("RGBA", CAN_SIZE, red)
    if rng.random() < 0.4:
        darker = tuple(int(v * rng.uniform(0.45, 0.8)) for v in red[:3]) + (255,)
        ends = (red, darker) if rng.random() < 0.5 else (darker, red)
        canvas = _gradient(CAN_SIZE, *ends)
    accent = [
        WHITE,
        (200, 203, 208, 255),
        (20, 20, 24, 255),
        (16, 40, 120, 255),
        (235, 190, 60, 255),
    ]
    colour = accent[rng.choice(5, p=[0.42, 0.25, 0.13, 0.1, 0.1])]
    ornament = rng.random()
    if ornament < 0.4:
        _wave(canvas, rng, colour, rng.uniform(0.55, 0.9), rng.uniform(0.03, 0.12))
        if rng.random() < 0.5:
            _wave(canvas, rng, WHITE, rng.uniform(0.1, 0.9), rng.uniform(0.015, 0.04))
    elif ornament < 0.55:
        draw = ImageDraw.Draw(canvas)
        band = height * rng.uniform(0.06, 0.2)
        if rng.random() < 0.5:
            draw.rectangle((0, 0, width, band), colour)
        draw.rectangle((0, height - band, width, height), colour)
    elif ornament < 0.7:
        layer = Image.new("RGBA", CAN_SIZE)
        draw = ImageDraw.Draw(layer)
        for _ in range(int(rng.integers(30, 120))):
            x, y, r = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(2, 22)
            draw.ellipse((x - r, y - r, x + r, y + r), (255, 255, 255, int(rng.integers(25, 110))))
        canvas.alpha_composite(layer)
    elif ornament < 0.82:
        draw = ImageDraw.Draw(canvas)
        lean, step = rng.uniform(-300, 300), rng.uniform(120, 340)
        for x in np.arange(-400, width + 400, step):
            draw.line((x, 0, x + lean, height), colour, int(rng.uniform(4, 40)))

    ink = WHITE if rng.random() < 0.92 else (240, 225, 190, 255)
    font = display_font(rng, split)
    name = brand(rng, split, 2)
    name = name.upper() if rng.random() < 0.45 else name
    outline = [None, None, (60, 0, 0, 255), (15, 15, 20, 255)][rng.integers(4)]
    shadow = (50, 0, 0, 170) if rng.random() < 0.4 else None
    word = lettering(name, font, 300, ink, outline, shadow, rng.choice([0, 0, 0.25, -0.15]))
    sideways = rng.random() < 0.5
    fronts = (0.25, 0.75) if rng.random() < 0.7 else (0.3,)
    for front in fronts:
        x = width * front
        if rng.random() < 0.12:  # a disc behind the name
            r = width * 0.17
            layer = Image.new("RGBA", CAN_SIZE)
            box = (x - r, height * 0.45 - r, x + r, height * 0.45 + r)
            ImageDraw.Draw(layer).ellipse(box, colour)
            canvas.alpha_composite(layer)
        if sideways:
            piece = _fit(word.rotate(90, expand=True), width * 0.26, height * 0.8)
            _paste(canvas, piece, x, height * 0.5)
        else:
            piece = _fit(word, width * rng.uniform(0.34, 0.42), height * 0.45)
            _paste(canvas, piece, x, height * rng.uniform(0.36, 0.5))
        note = lettering(phrase(rng, 2), text_font(rng, split), 60, ink)
        _paste(canvas, _fit(note, width * 0.16, height * 0.07), x, height * rng.uniform(0.8, 0.92))
        if rng.random() < 0.5:
            note = lettering(phrase(rng, 2), display_font(rng, split), 60, ink)
            _paste(canvas, _fit(note, width * 0.2, height * 0.09), x, height * 0.1)
    _back(canvas, rng, split, 0.0 if len(fronts) == 2 else width * 0.78, ink, width * 0.19)
    return canvas


# --- juice ------------------------------------------------------------------------------------


def _juice(rng: np.random.Generator, split: str) -> Image.Image:
    """Green and yellow, with fruit and small print."""
    width, height = CAN_SIZE
    green = _hsv(rng.uniform(0.24, 0.39), rng.uniform(0.65, 1), rng.uniform(0.35, 0.8))
    yellow = _hsv(rng.uniform(0.115, 0.175), rng.uniform(0.7, 1), rng.uniform(0.85, 1))
    orange = _hsv(rng.uniform(0.07, 0.11), rng.uniform(0.85, 1), rng.uniform(0.9, 1))
    scheme = rng.random()
    if scheme < 0.35:
        canvas = _gradient(CAN_SIZE, green, yellow)
    elif scheme < 0.5:
        canvas = _gradient(CAN_SIZE, yellow, green)
    elif scheme < 0.68:
        canvas = Image.new("RGBA", CAN_SIZE, green)
        _wave(canvas, rng, yellow, rng.uniform(0.2, 0.85), rng.uniform(0.15, 0.5))
    elif scheme < 0.85:
        canvas = Image.new("RGBA", CAN_SIZE, yellow)
        _wave(canvas, rng, green, rng.uniform(0.1, 0.9), rng.uniform(0.15, 0.5))
    elif scheme < 0.92:
        canvas = _gradient(CAN_SIZE, yellow, orange)
        _wave(canvas, rng, green, rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.3))
    else:
        canvas = _gradient(CAN_SIZE, WHITE, yellow)
        _wave(canvas, rng, green, rng.choice([0.08, 0.9]), rng.uniform(0.2, 0.5))
    if rng.random() < 0.5:
        _wave(canvas, rng, WHITE, rng.uniform(0.1, 0.9), rng.uniform(0.02, 0.08))

    kinds = ["orange", "lemon", "lime", "apple", "kiwi", "mango", "grapefruit", "pineapple"]
    kind = kinds[rng.integers(len(kinds))]
    other = kinds[rng.integers(len(kinds))]
    dark = _hsv(0.36, 0.9, rng.uniform(0.15, 0.35))
    ink = [WHITE, dark, _hsv(0.0, 0.9, 0.75), orange][rng.choice(4, p=[0.5, 0.3, 0.1, 0.1])]
    outline = None
    if rng.random() < 0.6:
        outline = dark if ink == WHITE else WHITE
    name = brand(rng, split, 3)
    name = name.upper() if rng.random() < 0.35 else name
    word = lettering(name, display_font(rng, split), 260, ink, outline, None)
    fronts = (0.25, 0.75) if rng.random() < 0.6 else (0.3,)
    name_y, fruit_y = (0.3, 0.65) if rng.random() < 0.7 else (0.72, 0.36)
    for front in fronts:
        x = width * front
        for _ in range(int(rng.integers(2, 7))):
            size = int(rng.uniform(90, 250))
            piece = fruit(kind if rng.random() < 0.7 else other, size, rng)
            _paste(canvas, piece, x + rng.normal(0, 75), height * fruit_y + rng.normal(0, 65))
        for _ in range(int(rng.integers(0, 5))):
            piece = leaf(int(rng.uniform(50, 130)), rng)
            _paste(canvas, piece, x + rng.normal(0, 90), height * fruit_y + rng.normal(0, 80))
        if rng.random() < 0.3:
            upright = word.rotate(90, expand=True)
            _paste(canvas, _fit(upright, width * 0.2, height * 0.75), x - width * 0.08, height / 2)
        else:
            piece = _fit(word, width * rng.uniform(0.3, 0.4), height * 0.22)
            _paste(canvas, piece, x, height * name_y)
        for _ in range(int(rng.integers(1, 4))):
            note = lettering(phrase(rng, 3), text_font(rng, split), 50, ink)
            y = height * rng.choice([0.09, 0.15, 0.48, 0.88, 0.93])
            _paste(canvas, _fit(note, width * rng.uniform(0.12, 0.25), height * 0.05), x, y)
    _back(
        canvas,
        rng,
        split,
        0.0 if len(fronts) == 2 else width * 0.78,
        dark if ink != WHITE else WHITE,
        width * 0.19,
    )
    return canvas


@functools.lru_cache(maxsize=90)
def _white_design(split: str, number: int) -> tuple[np.ndarray, float]:
    rng = np.random.default_rng([{"train": 11, "test": 97}[split], 3, number, 1])
    canvas = _white_juice(rng, split).convert("RGB").filter(ImageFilter.GaussianBlur(0.5))
    return np.asarray(canvas), float(rng.choice([0.0, 0.15, 0.3], p=[0.6, 0.25, 0.15]))


def _white_juice(rng: np.random.Generator, split: str) -> Image.Image:
    """A white or cream front with red, blue and yellow print; the back green with small print."""
    width, height = CAN_SIZE
    middle = width / 2
    paper = [WHITE, (252, 252, 246, 255), (250, 243, 222, 255), (244, 232, 200, 255)]
    paper = paper[rng.choice(4, p=[0.45, 0.2, 0.2, 0.15])]
    red = _hsv(rng.normal(0.99, 0.012), rng.uniform(0.85, 1), rng.uniform(0.65, 0.9))
    blue = _hsv(rng.uniform(0.57, 0.66), rng.uniform(0.75, 1), rng.uniform(0.35, 0.75))
    yellow = _hsv(rng.uniform(0.11, 0.16), rng.uniform(0.75, 1), rng.uniform(0.92, 1))
    orange = _hsv(rng.uniform(0.06, 0.1), rng.uniform(0.85, 1), rng.uniform(0.9, 1))
    hue, tone = rng.uniform(0.26, 0.4), rng.uniform(0.3, 0.7)
    green, light = _hsv(hue, rng.uniform(0.7, 1), tone), _hsv(hue - 0.03, 0.8, tone + 0.2)

    half = width * rng.uniform(0.22, 0.34)  # the front takes 44% to 68% of the way round
    lean, bulge = rng.uniform(-0.06, 0.06), rng.choice([0.0, 0.05, -0.05, 0.09])
    wavy = rng.uniform(0.01, 0.03) if rng.random() < 0.3 else 0.0
    narrow = 2 * (half - width * (max(-bulge, 0.0) + wavy + abs(lean) / 2))

    back = _gradient(CAN_SIZE, *((green, light) if rng.random() < 0.6 else (light, green)))
    if rng.random() < 0.3:
        _wave(back, rng, yellow, rng.uniform(0.6, 0.95), rng.uniform(0.05, 0.15))
    _back(back, rng, split, 0.0, WHITE if rng.random() < 0.7 else yellow, width * 0.22)

    front = Image.new("RGBA", CAN_SIZE, paper)
    draw = ImageDraw.Draw(front)
    ground = rng.random()
    fruit_y = rng.uniform(0.66, 0.78) if rng.random() < 0.75 else rng.uniform(0.2, 0.3)
    name_y = rng.uniform(0.25, 0.4) if fruit_y > 0.5 else rng.uniform(0.55, 0.72)
    if ground < 0.3:  # the sun behind the fruit
        r = rng.uniform(110, 210)
        draw.ellipse((middle - r, height * fruit_y - r, middle + r, height * fruit_y + r), yellow)
    elif ground < 0.6:  # a splash of juice
        for _ in range(int(rng.integers(4, 12))):
            x, y = middle + rng.normal(0, 110), height * fruit_y + rng.normal(0, 60)
            r = rng.uniform(12, 85)
            draw.ellipse((x - r, y - r, x + r, y + r), orange if rng.random() < 0.5 else yellow)
    if rng.random() < 0.55:
        colour = [red, blue, yellow, green][rng.integers(4)]
        _wave(front, rng, colour, rng.choice([0.03, 0.97]), rng.uniform(0.08, 0.25))
    if rng.random() < 0.3:
        colour = [red, blue, yellow][rng.integers(3)]
        _wave(front, rng, colour, rng.uniform(0.1, 0.9), rng.uniform(0.015, 0.05))
    kinds = ["orange", "lemon", "apple", "mango", "grapefruit", "pineapple", "kiwi", "lime"]
    kind, other = kinds[rng.integers(8)], kinds[rng.integers(8)]
    for _ in range(int(rng.integers(2, 7))):
        piece = fruit(kind if rng.random() < 0.6 else other, int(rng.uniform(100, 240)), rng)
        _paste(front, piece, middle + rng.normal(0, 80), height * fruit_y + rng.normal(0, 45))
    for _ in range(int(rng.integers(0, 4))):
        piece = leaf(int(rng.uniform(45, 110)), rng)
        _paste(front, piece, middle + rng.normal(0, 100), height * fruit_y + rng.normal(0, 60))

    ink, second = (red, blue) if rng.random() < 0.55 else (blue, red)
    name = brand(rng, split, 3)
    name = name.upper() if rng.random() < 0.5 else name
    badge = rng.random() < 0.35
    outline = [None, None, yellow, second][rng.integers(4)]
    colour = (WHITE if rng.random() < 0.7 else yellow) if badge else ink
    word = lettering(name, display_font(rng, split), 260, colour, None if badge else outline)
    room = narrow * rng.uniform(0.78, 0.95)
    if badge:  # the name on an oval or a bar
        word = _fit(word, room * 0.85, height * 0.2)
        plate = Image.new("RGBA", (int(room), int(word.height * 1.7 + 20)))
        pen = ImageDraw.Draw(plate)
        box = (2, 2, plate.width - 3, plate.height - 3)
        if rng.random() < 0.6:
            pen.ellipse(box, ink, yellow if rng.random() < 0.5 else second, 8)
        else:
            pen.rounded_rectangle(box, 26, ink)
        plate.alpha_composite(
            word, ((plate.width - word.width) // 2, (plate.height - word.height) // 2)
        )
        word = plate.rotate(rng.choice([0, 0, 6, -6]), Image.Resampling.BICUBIC, expand=True)
    elif rng.random() < 0.25:
        word = _fit(word.rotate(90, expand=True), width * 0.2, height * 0.75)
    else:
        word = _fit(word, room, height * 0.34)
    upright = word.height > word.width
    _paste(front, word, middle - width * 0.08 * upright, height * (0.5 if upright else name_y))
    for _ in range(int(rng.integers(1, 4))):
        ink = [second, second, green, red][rng.integers(4)]
        note = lettering(phrase(rng, 3), display_font(rng, split), 70, ink)
        y = height * (name_y + rng.choice([-0.2, 0.16, 0.22]))
        _paste(front, _fit(note, width * rng.uniform(0.15, 0.3), height * 0.08), middle, y)
    if rng.random() < 0.4:  # a round badge
        x, y, r = middle + rng.normal(0, 110), height * rng.uniform(0.1, 0.9), rng.uniform(30, 55)
        draw.ellipse((x - r, y - r, x + r, y + r), [red, blue, yellow, green][rng.integers(4)])
        note = lettering("100%", text_font(rng, split), 60, WHITE)
        _paste(front, _fit(note, 1.5 * r, r), x, y)
    note = lettering(phrase(rng, 3), text_font(rng, split), 40, blue)
    _paste(front, _fit(note, width * 0.16, height * 0.035), middle, height * 0.93)

    stripe = rng.uniform(8, 40) if rng.random() < 0.6 else 0.0
    y = np.linspace(0, 1, 41)
    edge = width * (bulge * np.sin(np.pi * y) + wavy * np.sin(4 * np.pi * y))
    drift = width * lean * (y - 0.5)
    for extra, layer in ((stripe, Image.new("RGBA", CAN_SIZE, second)), (0.0, front)):
        side = half + edge + extra
        corners = [*zip(middle + drift - side, y * height, strict=True)]
        corners += [*zip((middle + drift + side)[::-1], (y * height)[::-1], strict=True)]
        mask = Image.new("L", CAN_SIZE)
        ImageDraw.Draw(mask).polygon(corners, 255)
        back.paste(layer, (0, 0), mask.filter(ImageFilter.GaussianBlur(0.8)))
    return back


def fruit(kind: str, size: int, rng: np.random.Generator) -> Image.Image:
    """An RGBA picture of a whole or cut fruit, shaded."""
    big = size * 2
    y, x = np.mgrid[-1 : 1 : big * 1j, -1 : 1 : big * 1j]
    angle = rng.uniform(0, 2 * np.pi)
    x, y = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    skins = {
        "orange": (245, 140, 20),
        "lemon": (250, 215, 40),
        "lime": (110, 180, 40),
        "apple": (130, 190, 50),
        "kiwi": (130, 100, 55),
        "mango": (250, 165, 50),
        "grapefruit": (245, 110, 70),
        "pineapple": (225, 165, 45),
    }
    skin = np.array(skins[kind], float) * rng.uniform(0.9, 1.05)
    if kind == "apple" and rng.random() < 0.4:
        skin = np.array((200, 45, 40.0))
    stretch = {"lemon": 1.25, "mango": 1.3, "kiwi": 1.15, "pineapple": 1.35}.get(kind, 1.0)
    radius = np.hypot(x * stretch, y)
    inside = radius < 0.95
    cut = rng.random() < 0.5 and kind not in ("apple", "mango")
    if cut and kind == "pineapple":
        cut = False
    if cut:
        flesh = np.array(
            {"kiwi": (150, 200, 60), "lime": (190, 220, 110)}.get(
                kind, tuple(np.minimum(skin * 1.1 + 20, 255))
            )
        )
        turns = np.arctan2(y, x * stretch)
        segments = 10 if kind != "kiwi" else 26
        rays = np.abs(np.sin(turns * segments / 2))
        colour = np.repeat(flesh[None, None].astype(float), big, 0).repeat(big, 1)
        pale = (rays < 0.13) | (radius > 0.84) | (radius < 0.1)
        colour[pale] = (250, 245, 215) if kind != "kiwi" else (205, 225, 140)
        if kind == "kiwi":
            colour[(rays > 0.93) & (radius > 0.28) & (radius < 0.42)] = (25, 25, 15)
        colour[radius > 0.9] = skin
        colour *= (1.05 - 0.15 * radius)[..., None]
    else:
        light = (1 - 0.75 * np.hypot(x + 0.3, y + 0.35)).clip(0.25, 1)
        colour = skin * (0.45 + 0.7 * light)[..., None]
        if kind == "pineapple":
            lattice = np.minimum(np.abs(np.sin(9 * (x + y))), np.abs(np.sin(9 * (x - y))))
            colour *= (0.6 + 0.4 * (lattice > 0.25))[..., None]
        else:
            pores = rng.random((big // 3 + 1, big // 3 + 1)).repeat(3, 0).repeat(3, 1)
            colour *= (0.96 + 0.06 * pores[:big, :big])[..., None]
        shine = np.exp(-(((x + 0.35) / 0.2) ** 2) - ((y + 0.4) / 0.16) ** 2)
        colour += 110 * shine[..., None]
    picture = np.dstack([colour.clip(0, 255), inside * 255]).astype(np.uint8)
    return Image.fromarray(picture, "RGBA").resize((size, size), Image.Resampling.LANCZOS)


def leaf(size: int, rng: np.random.Generator) -> Image.Image:
    """An RGBA picture of a leaf."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    edge = 0.42 * (1 - x**2).clip(0) * (1 + 0.25 * x)
    green = np.array([50, 140, 45]) * rng.uniform(0.6, 1.3)
    vein = 1 - 0.25 * (np.abs(y) < 0.03) - 0.1 * (np.abs(np.sin(8 * (x + np.abs(y)))) < 0.15)
    colour = green * (vein * (0.85 + 0.3 * (y > 0)))[..., None]
    picture = np.dstack([colour.clip(0, 255), (np.abs(y) < edge) * 255]).astype(np.uint8)
    return Image.fromarray(picture, "RGBA").rotate(
        rng.uniform(0, 360), Image.Resampling.BICUBIC, expand=True
    )


# --- water ------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=90)
def _water_design(split: str, number: int) -> np.ndarray:
    """White and blue, with mountains."""
    rng = _generator(split, 1, number)
    width, height = WATER_SIZE
    blue = _hsv(rng.uniform(0.53, 0.64), rng.uniform(0.6, 1), rng.uniform(0.4, 0.9))
    deep = _hsv(rng.uniform(0.58, 0.65), rng.uniform(0.8, 1), rng.uniform(0.25, 0.5))
    sky = _hsv(rng.uniform(0.53, 0.6), rng.uniform(0.1, 0.45), rng.uniform(0.85, 1))
    scheme = rng.random()
    if scheme < 0.45:
        canvas = _gradient(WATER_SIZE, WHITE, sky)
    elif scheme < 0.7:
        canvas = _gradient(WATER_SIZE, blue, WHITE)
    elif scheme < 0.85:
        canvas = Image.new("RGBA", WATER_SIZE, WHITE)
    else:
        canvas = _gradient(WATER_SIZE, deep, blue)
    dark_ground = scheme >= 0.85
    if rng.random() < 0.88:
        for layer in range(int(rng.integers(1, 4))):
            _mountains(canvas, rng, blue if layer else deep, rng.uniform(0.45, 0.9))
    band = rng.random()
    draw = ImageDraw.Draw(canvas)
    if band < 0.4:
        draw.rectangle((0, height * rng.uniform(0.8, 0.92), width, height), deep)
    if band < 0.2:
        draw.rectangle((0, 0, width, height * 0.1), blue)
    if rng.random() < 0.35:
        _wave(canvas, rng, blue, 0.85, 0.15)
        _wave(canvas, rng, WHITE, 0.8, 0.04)
    name = brand(rng, split, 1)
    name = name.upper() if rng.random() < 0.4 else name
    ink = WHITE if dark_ground or rng.random() < 0.2 else deep
    outline = (WHITE if ink != WHITE else deep) if rng.random() < 0.75 else None
    if rng.random() < 0.08:
        ink, outline = (200, 30, 40, 255), WHITE
    word = lettering(name, display_font(rng, split), 200, ink, outline)
    for front in (0.25, 0.75) if rng.random() < 0.6 else (0.3,):
        x = width * front
        _paste(canvas, _fit(word, width * 0.34, height * 0.4), x, height * rng.uniform(0.25, 0.5))
        note = lettering(phrase(rng, 1), text_font(rng, split), 50, outline or ink)
        _paste(canvas, _fit(note, width * 0.24, height * 0.1), x, height * rng.uniform(0.68, 0.9))
    panel = Image.new("RGBA", (int(width * 0.2), int(height * 0.8)), WHITE)
    ink = deep
    if rng.random() < 0.6:
        _paste(canvas, panel, width * 0.98, height / 2)
    text = small_print(rng, text_font(rng, split), (int(width * 0.18), int(height * 0.4)), ink, 12)
    _paste(canvas, text, width * 0.98, height * 0.33)
    code = bar_code(rng, (int(width * 0.13), int(height * 0.28)))
    _paste(canvas, code, width * 0.98, height * 0.7)
    return np.asarray(canvas.convert("RGB").filter(ImageFilter.GaussianBlur(0.5)))


def _mountains(canvas: Image.Image, rng: np.random.Generator, colour: tuple, foot: float) -> None:
    """A range with snow on its peaks; `foot` is its lower end as a fraction of the height."""
    width, height = canvas.size
    draw = ImageDraw.Draw(canvas)
    base = foot * height
    for _ in range(int(rng.integers(4, 10))):
        x, half = rng.uniform(0, width), rng.uniform(50, 190)
        peak = base - half * rng.uniform(0.6, 1.3)
        shade = tuple(int(v * f) for v, f in zip(colour[:3], rng.uniform(0.7, 1.1, 3), strict=True))
        for turn in (-width, 0, width):
            at = x + turn
            draw.polygon([(at - half, base), (at, peak), (at + half, base)], shade)
            snow = [(at, peak)]
            low = peak + (base - peak) * 0.4
            for k in np.linspace(0.4, -0.4, 7):
                snow.append((at + half * k, low + (base - peak) * 0.12 * rng.uniform(-1, 1)))
            draw.polygon(snow, WHITE)
            draw.polygon([(at, peak), (at + half * 0.4, low), (at + half * 0.1, low)], SNOW_SHADE)
    draw.rectangle((0, base, width, min(height, base + height * 0.06)), colour)
