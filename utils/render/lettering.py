"""Invented words and the fonts to set them in, separate for training and test pictures."""

import functools
import importlib.util
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from utils.errors import UserError

# Fonts under the SIL Open Font License from the packages in requirements/render.txt.
DISPLAY_FONTS = {
    "train": [
        "anton/Anton-Regular.ttf",
        "lobster/Lobster-Regular.ttf",
        "bebas_neue/BebasNeue-Regular.ttf",
        "pacifico/Pacifico-Regular.ttf",
        "lilita_one/LilitaOne-Regular.ttf",
        "abril_fatface/AbrilFatface-Regular.ttf",
        "archivo_black/ArchivoBlack-Regular.ttf",
        "oleo_script/OleoScript-Bold.ttf",
        "yellowtail/Yellowtail-Regular.ttf",
        "righteous/Righteous-Regular.ttf",
        "titan_one/TitanOne-Regular.ttf",
        "bungee/Bungee-Regular.ttf",
        "permanent_marker/PermanentMarker-Regular.ttf",
    ],
    "test": [
        "lobster_two/LobsterTwo-BoldItalic.ttf",
        "alfa_slab_one/AlfaSlabOne-Regular.ttf",
        "luckiest_guy/LuckiestGuy-Regular.ttf",
        "satisfy/Satisfy-Regular.ttf",
        "black_ops_one/BlackOpsOne-Regular.ttf",
    ],
}
TEXT_FONTS = {
    "train": ["open_sans/OpenSans[wdth,wght].ttf", "roboto_condensed/RobotoCondensed[wght].ttf"],
    "test": ["oswald/Oswald[wght].ttf"],
}

# Invented names; none is meant to be a brand.
BRANDS = {
    "train": {
        1: "Alpenzia Nivarra Klarfjell Montavia Glasira Quellora Brisenne Aquelle Vallnera Snofar "
        "Pikaro Rivenna Cristalo Fontaria Bergvann Lumisa Neveo Icelora Torrenta Sierrano",
        2: "Zolka Kolari Bravix Fizzano Rubico Tokka Vimbo Karoo Jaxa Pepra Ruska Bolto Dynola "
        "Kikka Redova Sparko Colmira Vulko Zappo Torino-Z Mokka-X Rokko Hoptic Blitzo Cherro",
        3: "Limoa Verdano Frutia Pomelia Sunario Mangava Tropika Kiwano Orchida Zestia Appleen "
        "Citrola Naturo Guavio Fruvita Solera-J Gardena-J Melonia Bananzo Pressa Juva Lemonar",
    },
    "test": {
        1: "Hydralen Oasira Winterra Eisquell Purelia Cascadis",
        2: "Gravio Tikola Murako Onyxa Fuzzel Drakko",
        3: "Papavia Nectaro Ripello Saftika Vergola Fruzio",
    },
}
PHRASES = {
    1: "natural mineral water|still|spring water|from the mountains|0.5 L|500 ml|pure|low sodium",
    2: "original taste|cola|330 ml|sparkling|zero sugar|since 1958|cherry|energy|classic|250 ml",
    3: "100% juice|no sugar added|with vitamin C|250 ml|multifruit|orange & mango|green apple|"
    "fresh pressed|kiwi & lime|lemon|pineapple|with pulp|aloe|pear",
}
PROSE = (
    "ingredients water sugar carbon dioxide acidity regulator citric acid natural flavourings "
    "caffeine colour caramel preservative best before see base of can keep cool and dry please "
    "recycle fruit juice from concentrate apple orange vitamin C contains no milk bottled at the "
    "source nutrition per 100 ml energy 180 kJ fat 0 g carbohydrate 10.6 g of which sugars salt "
    "do not expose to direct sunlight shake well serve chilled deposit distributed by imported"
).split()


@functools.cache
def _font_path(name: str) -> str:
    """Where the package of a font keeps it."""
    package, file = name.split("/")
    spec = importlib.util.find_spec(f"fontpkg_{package}")
    if spec is None or not spec.origin:
        raise UserError(
            f"the font {file} is not installed; run `pip install -r requirements/render.txt`."
        )
    return str(Path(spec.origin).parent / "files" / file)


@functools.lru_cache(maxsize=256)
def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(_font_path(name), size)


def display_font(rng: np.random.Generator, split: str) -> str:
    """The name of a font for large lettering."""
    return DISPLAY_FONTS[split][rng.integers(len(DISPLAY_FONTS[split]))]


def text_font(rng: np.random.Generator, split: str) -> str:
    """The name of a font for small print."""
    return TEXT_FONTS[split][rng.integers(len(TEXT_FONTS[split]))]


def brand(rng: np.random.Generator, split: str, class_id: int) -> str:
    """An invented brand."""
    words = BRANDS[split][class_id].split()
    return words[rng.integers(len(words))]


def phrase(rng: np.random.Generator, class_id: int) -> str:
    """What stands beside a brand."""
    phrases = PHRASES[class_id].split("|")
    return phrases[rng.integers(len(phrases))]


def words(rng: np.random.Generator, count: int) -> str:
    """Running text for small print."""
    return " ".join(PROSE[i] for i in rng.integers(0, len(PROSE), count))


def lettering(
    text: str,
    font: str,
    height: int,
    colour: tuple[int, ...],
    outline: tuple[int, ...] | None = None,
    shadow: tuple[int, ...] | None = None,
    slant: float = 0.0,
) -> Image.Image:
    """A cropped RGBA picture of `text`, `height` pixels tall."""
    size = max(8, height)
    face = _font(font, size)
    stroke = max(1, size // 14) if outline else 0
    left, top, right, bottom = face.getbbox(text, stroke_width=stroke)
    pad = size // 4 + stroke
    canvas = Image.new("RGBA", (right - left + 2 * pad, bottom - top + 2 * pad))
    draw = ImageDraw.Draw(canvas)
    at = (pad - left, pad - top)
    if shadow:
        off = max(2, size // 16)
        draw.text((at[0] + off, at[1] + off), text, shadow, face, stroke_width=stroke)
        canvas = canvas.filter(ImageFilter.GaussianBlur(size / 60))
        draw = ImageDraw.Draw(canvas)
    draw.text(at, text, colour, face, stroke_width=stroke, stroke_fill=outline)
    if slant:
        wide = int(abs(slant) * canvas.height)
        canvas = canvas.transform(
            (canvas.width + wide, canvas.height),
            Image.Transform.AFFINE,
            (1, slant, -max(slant, 0) * canvas.height, 0, 1, 0),
            Image.Resampling.BICUBIC,
        )
    box = canvas.getbbox()
    return canvas.crop(box) if box else canvas


def small_print(
    rng: np.random.Generator, font: str, size: tuple[int, int], colour: tuple[int, ...], point: int
) -> Image.Image:
    """A block of running text, RGBA, `size` = (width, height) pixels."""
    block = Image.new("RGBA", size)
    draw = ImageDraw.Draw(block)
    face = _font(font, point)
    letters = max(8, int(size[0] / (point * 0.48)))
    for y in range(0, size[1] - point, int(point * 1.25)):
        draw.text((0, y), words(rng, letters // 4)[:letters], colour, face)
    return block


def bar_code(rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """A bar code with digits on white, `size` = (width, height) pixels."""
    code = Image.new("RGBA", size, (250, 250, 250, 255))
    draw = ImageDraw.Draw(code)
    width, height = size
    modules = 95  # as in EAN-13
    bars = rng.random(modules) < 0.5
    for k in np.flatnonzero(bars):
        x0 = width * (0.07 + 0.86 * k / modules)
        x1 = width * (0.07 + 0.86 * (k + 1) / modules)
        draw.rectangle((x0, height * 0.06, x1, height * 0.82), (10, 10, 10, 255))
    digits = "".join(str(d) for d in rng.integers(0, 10, 13))
    face = _font(TEXT_FONTS["train"][1], max(8, int(height * 0.17)))
    draw.text((width * 0.1, height * 0.81), digits, (10, 10, 10, 255), face)
    return code
