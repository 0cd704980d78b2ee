"""Pictures of results: coloured label maps, overlays, index PNGs and figures with a legend.

Figures are laid out in whole pixels, so a mask is drawn one to one and stays crisp. They are
drawn without axes or a plotting state, so nothing of a figure remains when it has been written.

Class 0 has its colour like any other, as the sky of CamVid has. Where that is black, as it is
unless a `classes.json` says otherwise, class 0 is what lies behind the objects, and overlays leave
it clear. Pictures may have any number of channels: what the first three look like is drawn.
"""

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngImageFile, PngInfo

from utils.classes import VOC_COLOURS, VOID, Classes, check_classes, find_classes, read_classes
from utils.errors import UserError
from utils.files import data_folder, replace_whole
from utils.pictures import resize_labels, resize_picture

MARGIN = 16  # pixels around and between the parts of a figure
PANEL_AREA = (1200, 1600)  # (height, width) in pixels that the panels of a figure may fill
LARGEST_ZOOM = 8  # for pictures of a few pixels
LARGEST_LEGEND = 40  # with more classes the legend names only those that occur
LARGEST_JPEG = 65_500  # pixels in each direction, libjpeg's
LARGEST_PAGE = 2**16 - 1  # pixels in each direction; beyond it many viewers give up
INK = (32, 33, 36)
FAINT_INK = (110, 113, 120)
FRAME = (208, 210, 214)  # around pictures, which may be as white as the page
ROWS = 256  # that an overlay is made of at once: its floats are four times as large as it
WIDEST_LINE = 3  # pixels: a map of thousands of objects is large too
NEAR = 64  # of 255 in every channel: colours that are as near pass for one another in a thin line
ROW_SIDE = 224  # pixels: the longer side of a picture in a comparison of several
DIMMED = 0.45  # brightness of what is right in an error map; below that of its void
ERROR_VOID = (160, 160, 160)
ERROR_COLOURS = {  # of Okabe and Ito's palette, which the colour-blind can tell apart
    "missed object": (213, 94, 0),  # another class in the truth, class 0 in the prediction
    "false object": (86, 180, 233),  # class 0 in the truth, another in the prediction
    "wrong object": (240, 228, 66),  # two different classes, neither of them class 0
}


@dataclass(frozen=True)
class Text:
    """A line of text; `top` and `left` of its box and its font `size` are in pixels."""

    top: float
    left: float
    words: str
    size: int = 15
    colour: tuple[int, int, int] = INK
    bold: bool = False


@dataclass(frozen=True)
class Box:
    """A filled square with a thin border; position and side are in pixels."""

    top: float
    left: float
    side: float
    colour: tuple[int, int, int]


def palette(classes: Classes) -> np.ndarray:
    """The colour of every label value, (256, 3) uint8.

    Values beyond the classes keep their colour of the PASCAL VOC map, in which void (255) is the
    light (224, 224, 192).
    """
    colours = np.array(VOC_COLOURS(256), np.uint8)
    colours[: len(classes)] = classes.colours
    return colours


def colours_of(folder: Path | str, classes: Classes) -> Classes:
    """The classes of a network in the colours that a data folder gives them now.

    Weights carry the colours of their training; who edits `classes.json` afterwards wants to see
    the new ones. Ids and names stay those of the weights.

    Args:
        folder: with a `classes.json`, in itself or one up; looked for as `data_folder` does.
        classes: of the weights.

    Returns:
        `classes` as they are when there is no such file or it describes other classes, in number
        or by name.

    Raises:
        UserError: that `classes.json` is damaged.
    """
    try:
        found = find_classes(data_folder(folder))
    except UserError:  # pictures can be segmented where no data are
        return classes
    if found is None:
        return classes
    now = read_classes(found)
    try:
        check_classes(classes, "the weights", now, found)
    except UserError:  # of other data, as the folder that is taken when none is named
        return classes
    return Classes(classes.names, now.colours)


def as_seen(picture: np.ndarray) -> np.ndarray:
    """What the first three channels of a picture look like, (H, W, 3) uint8.

    Args:
        picture: (H, W) or (H, W, C) uint8 with C from 1 up. Of one or two channels the first is
            shown in grey; those beyond the third, as near infrared or alpha, are not shown.
    """
    if picture.ndim == 2:
        picture = picture[..., None]
    if picture.shape[2] < 3:
        return np.repeat(picture[..., :1], 3, axis=2)
    return picture[..., :3]


def colour_labels(labels: np.ndarray, classes: Classes) -> np.ndarray:
    """A label map (H, W) uint8 as a picture (H, W, 3) uint8 in the colours of its classes.

    The background is black as in Figure 12.5.3, unless class 0 has another colour; void is light.
    """
    return palette(classes)[labels]


def overlay(
    picture: np.ndarray, labels: np.ndarray, classes: Classes, opacity: float = 0.5
) -> np.ndarray:
    """Lay class colours over a picture; a background whose colour is black stays as it is.

    Inside each region run two lines: along its rim a white one, or a black one when the class is
    light, and beside it one of the full class colour. They differ by half of all brightness, so
    that one of them at least is seen on an object of any colour, that of its class included. What
    is too narrow for both is drawn in the class colour, and where that is near the picture's, in
    that of the rim.

    Args:
        picture: (H, W, C) uint8.
        labels: (H, W) uint8 class ids, 255 = void.
        opacity: share of the class colour within the lines, 0 to 1.

    Returns:
        (H, W, 3) uint8.

    Raises:
        ValueError: picture and labels have different sizes.
    """
    _check_sizes(picture, labels)
    picture, colours = as_seen(picture), palette(classes)
    # Pixels: seen when the picture is reduced to a screen, yet small objects stay open.
    line = min(max(1, round(min(labels.shape) / 400)), WIDEST_LINE)
    shown = np.empty_like(picture)
    for top in range(0, len(picture), ROWS):
        first = max(0, top - 2 * line)  # the lines of a row hang on as many on either side
        rows = slice(first, top + ROWS + 2 * line)
        part = _overlaid(picture[rows], labels[rows], colours, opacity, line)
        shown[top : top + ROWS] = part[top - first :][:ROWS]
    return shown


def _overlaid(
    picture: np.ndarray, labels: np.ndarray, colours: np.ndarray, opacity: float, line: int
) -> np.ndarray:
    """As `overlay`, with lines of a width and the palette: colours (256, 3) uint8."""
    full = colours[labels]  # (H, W, 3)
    more = np.float32(opacity) * (full.astype(np.float32) - picture)
    mixed = np.rint(picture + more).astype(np.uint8)
    inner, rim = _lines(labels, 2 * line), _lines(labels, line)
    mixed[inner] = full[inner]
    luma = colours @ (0.299, 0.587, 0.114)  # of ITU-R BT.601
    rims = np.where(luma.round() <= 128, 255, 0).astype(np.uint8)  # (256,)
    far = (np.abs(picture[rim].astype(np.int16) - full[rim]) >= NEAR).any(axis=1)  # (n,)
    narrow = _is_narrow(labels, 2 * line)[rim]
    mixed[rim] = np.where((narrow & far)[:, None], full[rim], rims[labels[rim]][:, None])
    if colours[0].any():
        return mixed
    return np.where((labels != 0)[..., None], mixed, picture)


def _lines(labels: np.ndarray, width: int) -> np.ndarray:
    """As `outlines`, with the border of the picture: an object may fill all of it."""
    edge = outlines(labels, width)
    edge[:width] = edge[-width:] = edge[:, :width] = edge[:, -width:] = True
    return edge


def _is_narrow(labels: np.ndarray, width: int) -> np.ndarray:
    """Which pixels lie in a run of one label, of their row or column, of at most `width` pixels."""

    def lengths(rows: np.ndarray) -> np.ndarray:
        """How long the run of each pixel is in its row, (H, W)."""
        begins = np.ones(rows.shape, bool)
        begins[:, 1:] = rows[:, 1:] != rows[:, :-1]
        run = np.cumsum(begins.ravel(), dtype=np.int32) - 1  # (H * W,)
        return np.bincount(run)[run].reshape(rows.shape)

    return (lengths(labels) <= width) | (lengths(labels.T).T <= width)


def outlines(labels: np.ndarray, width: int = 1) -> np.ndarray:
    """Which pixels lie within `width` of another label in their row or column, (H, W) bool."""
    edge = np.zeros(labels.shape, bool)
    for step in range(1, width + 1):
        for here, there in (
            (np.s_[step:, :], np.s_[:-step, :]),
            (np.s_[:, step:], np.s_[:, :-step]),
        ):
            changes = labels[here] != labels[there]
            edge[here] |= changes
            edge[there] |= changes
    return edge


def error_map(picture: np.ndarray, truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Where a prediction is wrong, and how: `ERROR_COLOURS` over the dimmed grey picture.

    Args:
        picture: (H, W, C) uint8.
        truth: (H, W) uint8 class ids; void (255) is shown grey whatever was predicted.
        predicted: (H, W) uint8 class ids.

    Returns:
        (H, W, 3) uint8.

    Raises:
        ValueError: the sizes differ.
    """
    for labels in (truth, predicted):
        _check_sizes(picture, labels)
    grey = as_seen(picture).mean(axis=2, keepdims=True)
    grey = np.rint(DIMMED * grey).astype(np.uint8)  # (H, W, 1)
    shown = np.repeat(grey, 3, axis=2)  # (H, W, 3)
    wrong = truth != predicted
    shown[wrong & (predicted == 0)] = ERROR_COLOURS["missed object"]
    shown[wrong & (truth == 0)] = ERROR_COLOURS["false object"]
    shown[wrong & (truth != 0) & (predicted != 0)] = ERROR_COLOURS["wrong object"]
    shown[truth == VOID] = ERROR_VOID
    return shown


def error_names(first: str) -> tuple[str, str, str]:
    """What the kinds of `ERROR_COLOURS` are called where class 0 has the name `first`."""
    if first.casefold() == "background":
        return tuple(ERROR_COLOURS)
    return f"taken for {first}", f"{first} taken for another", "others confused"


def write_index_png(path: Path | str, labels: np.ndarray, classes: Classes) -> None:
    """Write a label map as an 8-bit PNG of class ids with a palette, as PASCAL VOC does.

    Args:
        path: the PNG; replaced whole.
        labels: (H, W) uint8 class ids, 255 = void.
        classes: give the palette its colours.

    Raises:
        UserError: the folder of `path` cannot be written.
    """
    height, width = labels.shape
    # `frombytes` keeps the ids as they are; other ways to this mode may renumber the palette.
    image = Image.frombytes("P", (width, height), labels.astype(np.uint8).tobytes())
    image.putpalette(palette(classes).tobytes())
    save_whole(image, path, format="PNG")


def segmentation_figure(
    path: Path | str,
    picture: np.ndarray,
    predicted: np.ndarray,
    classes: Classes,
    truth: np.ndarray | None = None,
    title: str | None = None,
) -> None:
    """Write one PNG with input, ground truth when known, prediction and overlay, and a legend.

    Pixels stay square; small pictures are enlarged by a whole factor, large ones reduced. Panels
    are arranged in rows or columns after the shape of the picture. As in Figure 12.5.3 the
    background of label maps is black, unless class 0 has another colour; void is light.

    Args:
        path: the PNG; replaced whole.
        picture: (H, W, C) uint8.
        predicted: (H, W) uint8 class ids.
        classes: names and colours for the legend, any number of them.
        truth: (H, W) uint8 class ids, 255 = void.
        title: a line above the panels.

    Raises:
        ValueError: the label maps have not the size of the picture.
        UserError: the folder of `path` cannot be written.
    """
    maps = [labels for labels in (truth, predicted) if labels is not None]
    for labels in maps:
        _check_sizes(picture, labels)
    occurring = np.flatnonzero(sum(np.bincount(labels.ravel(), minlength=256) for labels in maps))

    names = ["Input", *(["Ground truth"] if truth is not None else []), "Prediction", "Overlay"]
    rows, columns, size = arrange(picture.shape[:2], len(names))
    small = resize_picture(as_seen(picture), size)
    maps = [resize_labels(labels, size) for labels in maps]
    panels = [
        small,
        *(colour_labels(labels, classes) for labels in maps),
        overlay(small, maps[-1], classes),
    ]

    cell_height = size[0] + 24  # the name of a panel stands above it
    cell_width = max(size[1], 120)
    width = max(MARGIN + columns * (cell_width + MARGIN), 360)
    texts, pictures = [], []
    top = MARGIN
    if title:
        texts.append(Text(top, MARGIN, shorten(title, width - 2 * MARGIN, 19, True), 19, bold=True))
        top += 36
    for index, (name, panel) in enumerate(zip(names, panels, strict=True)):
        row, column = divmod(index, columns)
        panel_top = top + row * (cell_height + MARGIN)
        panel_left = MARGIN + column * (cell_width + MARGIN)
        texts.append(Text(panel_top, panel_left, name, colour=FAINT_INK))
        pictures.append((panel_top + 24, panel_left, panel))
    top += rows * (cell_height + MARGIN)

    boxes, legend_texts, height = legend(classes, occurring, top, width)
    write_page(path, (height, width), pictures, [*texts, *legend_texts], boxes)


def comparison_figure(
    path: Path | str,
    rows: Iterable[tuple[str, np.ndarray, np.ndarray, np.ndarray]],
    classes: Classes,
    title: str,
) -> None:
    """Write a page with a row per picture: input, ground truth, prediction and error map.

    Args:
        path: PNG or JPEG by its name; replaced whole.
        rows: a line of text, (H, W, C) uint8 picture, (H, W) uint8 ground truth (255 = void) and
            prediction; taken one by one, and only small copies are kept.
        classes: names and colours for the legend.
        title: a line above the rows.

    Raises:
        ValueError: the label maps have not the size of their picture.
        UserError: the folder of `path` cannot be written.
    """
    names = ("Input", "Ground truth", "Prediction", "Errors")
    lefts = [MARGIN + column * (ROW_SIDE + MARGIN) for column in range(len(names))]
    width = lefts[-1] + ROW_SIDE + MARGIN
    texts = [Text(MARGIN, MARGIN, shorten(title, width - 2 * MARGIN, 19, True), 19, bold=True)]
    top = MARGIN + 36
    texts += [
        Text(top, left, name, colour=FAINT_INK) for left, name in zip(lefts, names, strict=True)
    ]
    top += 24
    pictures, occurring = [], set()
    for words, picture, truth, predicted in rows:
        factor = ROW_SIDE / max(picture.shape[:2])
        size = tuple(max(1, round(length * factor)) for length in picture.shape[:2])
        panels = [
            resize_picture(as_seen(picture), size),
            *(colour_labels(resize_labels(labels, size), classes) for labels in (truth, predicted)),
            # Made at full size and averaged: a line of wrong pixels is thin, but stays.
            resize_picture(error_map(picture, truth, predicted), size),
        ]
        pictures += [(top, left, panel) for left, panel in zip(lefts, panels, strict=True)]
        top += size[0] + 4
        texts.append(Text(top, MARGIN, shorten(words, width - 2 * MARGIN, 13), 13))
        top += 20 + MARGIN
        occurring.update(np.unique(truth).tolist())

    boxes, legend_texts, top = legend(classes, occurring, top, width)
    kinds = dict(zip(error_names(classes.names[0]), ERROR_COLOURS.values(), strict=True))
    kinds |= {"not counted": ERROR_VOID} if VOID in occurring else {}
    more_boxes, more_texts, height = _key(list(kinds), list(kinds.values()), top, width)
    write_page(
        path,
        (height, width),
        pictures,
        [*texts, *legend_texts, *more_texts],
        [*boxes, *more_boxes],
    )


def arrange(size: tuple[int, int], count: int) -> tuple[int, int, tuple[int, int]]:
    """Choose rows, columns and the size (height, width) of `count` panels for one picture size.

    Of the full grids the flattest is taken that shows the panels nearly as large as any can.
    """
    grids = [(rows, count // rows) for rows in range(1, count + 1) if count % rows == 0]

    def zoom(grid: tuple[int, int]) -> float:
        return min(PANEL_AREA[i] / (grid[i] * size[i]) for i in (0, 1))

    largest = max(map(zoom, grids))
    rows, columns = next(grid for grid in grids if zoom(grid) >= 0.85 * largest)
    factor = zoom((rows, columns))
    if factor >= 1:  # whole factors show each pixel of a mask equally large
        factor = min(int(factor), LARGEST_ZOOM)
    return rows, columns, tuple(max(1, round(length * factor)) for length in size)


def legend(
    classes: Classes, occurring: Iterable[int], top: float, width: float
) -> tuple[list[Box], list[Text], int]:
    """Lay out a legend of class names in even columns.

    Args:
        occurring: label values that occur in what the legend explains; void is explained only
            when it occurs, and of more than 40 classes only those that do. Where names would read
            alike once they are shortened, the ids of the classes stand before them.
        top, width: where the legend may stand, in pixels.

    Returns:
        Boxes, texts, and the pixel row where the legend and its margin end.
    """
    values = set(map(int, occurring))
    ids = range(len(classes))
    if len(classes) > LARGEST_LEGEND:
        ids = [i for i in ids if i in values]
    colours = palette(classes)
    names = short_names({i: classes.names[i] for i in ids}, _room(width))
    names += ["void"] if VOID in values else []
    ids = [*ids, *([VOID] if VOID in values else [])]
    return _key(names, [tuple(map(int, colours[value])) for value in ids], top, width)


def short_names(names: Mapping[int, str], width: float, size: int = 15) -> list[str]:
    """Names of classes cut to `width` pixels, with their ids before them where they read alike.

    Args:
        names: by the ids of the classes.
        width, size: see `shorten`.
    """
    short = [shorten(name, width, size) for name in names.values()]
    if len(set(short)) < len(short):
        short = [shorten(f"{i} {name}", width, size) for i, name in names.items()]
    return short


def _key(
    names: list[str], colours: list[tuple[int, int, int]], top: float, width: float
) -> tuple[list[Box], list[Text], int]:
    """Coloured boxes with their names in even columns, and the pixel row where they end."""
    names = [shorten(name, _room(width)) for name in names]
    column = 24 + max(map(text_width, names), default=0) + 22
    columns = max(1, min(len(names), int((width - 2 * MARGIN + 22) // column)))
    rows = -(-len(names) // columns)
    boxes, texts = [], []
    for index, (colour, name) in enumerate(zip(colours, names, strict=True)):
        place, row = divmod(index, rows)  # down a column first, so ids stay together
        left = MARGIN + place * column
        boxes.append(Box(top + row * 24 - 1, left, 16, colour))
        texts.append(Text(top + row * 24, left + 24, name))
    return boxes, texts, int(top + rows * 24 + MARGIN - 6)


def _room(width: float) -> float:
    """How many pixels a name may take in a key that is `width` pixels wide."""
    return min(280, width - 2 * MARGIN - 24)


def text_width(words: str, size: int = 15, bold: bool = False) -> float:
    """The width of a line of text in pixels, as `write_page` draws it."""
    return _font(size, bold).getlength(words)


def shorten(words: str, width: float, size: int = 15, bold: bool = False) -> str:
    """Cut a line of text to `width` pixels; what is missing in the middle shows as an ellipsis."""
    words = " ".join(words.split())

    def cut(length: int) -> str:
        if length >= len(words):
            return words
        return words[: -(-length // 2)] + "…" + words[len(words) - length // 2 :]

    fits, too_long = 0, len(words) + 1
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        if text_width(cut(middle), size, bold) <= width:
            fits = middle
        else:
            too_long = middle
    return cut(fits)


def write_page(
    path: Path | str,
    size: tuple[int, int],
    pictures: Sequence[tuple[int, int, np.ndarray]],
    texts: Sequence[Text],
    boxes: Sequence[Box] = (),
    mark: tuple[str, str] | None = None,
) -> None:
    """Write a white page with pictures drawn one to one in thin frames, boxes and lines of text.

    Args:
        path: replaced whole; a JPEG when it ends in .jpg, else a PNG.
        size: (height, width) of the page in pixels; positions count from its top left corner.
        pictures: (top, left, array (H, W, 3) uint8) each.
        mark: a keyword and a text that a PNG is to carry, as `read_mark` finds them.

    Raises:
        UserError: the page is too large, or the folder of `path` cannot be written.
    """
    height, width = (math.ceil(length) for length in size)
    if max(height, width) > LARGEST_PAGE:
        raise UserError(
            f"{path} would be {width} x {height} pixels large and at most {LARGEST_PAGE} are "
            "possible; show fewer pictures."
        )
    page = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(page)
    for box in boxes:
        corners = box.left, box.top, box.left + box.side, box.top + box.side
        draw.rectangle(corners, fill=box.colour, outline=FAINT_INK)
    for text in texts:
        place = text.left, text.top
        draw.text(place, text.words, text.colour, _font(text.size, text.bold), anchor="la")
    for top, left, picture in pictures:
        beyond = left + picture.shape[1], top + picture.shape[0]
        draw.rectangle((left - 1, top - 1, *beyond), outline=FRAME)
        page.paste(Image.fromarray(picture), (left, top))
    texts_of_file = PngInfo()
    if mark:
        texts_of_file.add_text(*mark)
    if Path(path).suffix == ".jpg":  # colours at full size too: masks are to stay crisp
        save_whole(page, path, format="JPEG", subsampling=0, optimize=True, progressive=True)
    else:
        save_whole(page, path, format="PNG", pnginfo=texts_of_file)


def write_picture(path: Path | str, picture: np.ndarray) -> None:
    """Write a picture (H, W, 3) or, with transparency, (H, W, 4) uint8, as PNG or JPEG by its name.

    Args:
        path: replaced whole.
        picture: as a JPEG reduced by a whole number where it is larger than those can be.

    Raises:
        UserError: the folder of `path` cannot be written.
    """
    if Path(path).suffix == ".jpg":
        step = -(-max(picture.shape[:2]) // LARGEST_JPEG)
        image = Image.fromarray(np.ascontiguousarray(picture[::step, ::step]))
        save_whole(image, path, format="JPEG", quality=90, subsampling=0)
    else:
        save_whole(Image.fromarray(picture), path, format="PNG")


def save_whole(image: Image.Image, path: Path | str, **options) -> None:
    """Write an image as `Image.save` does with `options`, the "format" among them, or not at all.

    Given the name of a file, Pillow (13.0) takes for whole a JPEG that a full disk has cut short.

    Args:
        path: replaced whole.

    Raises:
        UserError: `path` cannot be written.
    """
    content = io.BytesIO()
    image.save(content, **options)
    with replace_whole(path) as unfinished:
        unfinished.write_bytes(content.getbuffer())


def read_mark(path: Path | str, keyword: str) -> str | None:
    """The text that `write_page` left in a PNG under `keyword`; None when it is no such file."""
    try:
        # Not by `Image.open`, which warns of large pages: here the header alone is read.
        with open(path, "rb") as file, PngImageFile(file) as image:
            text = image.info.get(keyword)
    except (OSError, SyntaxError, ValueError):
        return None
    return text if isinstance(text, str) else None


@cache
def _font(size: int, bold: bool) -> ImageFont.FreeTypeFont:
    """The font of all texts, which comes with matplotlib; `size` in pixels."""
    from matplotlib import get_data_path

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(get_data_path(), "fonts", "ttf", name), size)


def _check_sizes(one: np.ndarray, other: np.ndarray) -> None:
    """Raise `ValueError` unless two pictures or maps have the same height and width."""
    if one.shape[:2] != other.shape[:2]:
        raise ValueError(f"sizes differ: {one.shape[:2]} and {other.shape[:2]}")
