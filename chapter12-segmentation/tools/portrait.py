"""A portrait of the errors: confused classes, distance from boundaries, size, worst pictures.

`--evaluate --portrait` prints the numbers and draws them, with the pictures of Figure 12.5.3.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from evaluation import Answer, pictures_of_store, segment_objects
from metrics import count_confusions, iou_per_class, picture_accuracies, picture_mious
from utils.boundaries import BAND_NAMES, BANDS, count_by_distance
from utils.classes import Classes
from utils.drawing import (
    ERROR_COLOURS,
    comparison_figure,
    error_names,
    short_names,
    shorten,
    text_width,
)
from utils.files import replace_whole
from utils.label_maps.store import LabelStore
from utils.pictures import resize_picture

FILES = ("portrait.png", "portrait-samples.jpg", "portrait-worst.jpg")  # see `draw_portrait`
WORST = 5  # pictures that are shown
SIZES = (0, 0.01, 0.1)  # share of the picture from which an object class is small, medium, large
SIZE_NAMES = ("below 1 %", "1 to 10 %", "above 10 %")
MOST_COUNTED = 8  # with more classes the cells of the drawn matrix have no room for pixels,
MOST_WRITTEN = 20  # and then none for shares
DPI = 100  # pixels an inch, of the charts
LETTERS = 9  # points
PIXELS = round(LETTERS * DPI / 72)
NAME_ROOM = 150  # pixels that the name of a class may take in the charts
EDGE = "0.4"  # grey around bars and points, whose class may be white


@dataclass(frozen=True)
class Errors:
    """What is counted over a data set; the pictures themselves are not kept."""

    keys: list[str]  # N picture names
    matrices: np.ndarray  # (N, C, C) int64, a confusion matrix per picture
    bands: np.ndarray  # (bands, 2) int64, pixels and wrong pixels by distance from a boundary


def measure_errors(
    answer: Answer, pictures: Iterable[tuple[str, np.ndarray, np.ndarray]], n_classes: int
) -> Errors:
    """Segment pictures one by one and count what is wrong.

    Args:
        answer: from pictures to probabilities of `n_classes`, see `evaluation.answer`.
        pictures: name, (h, w, 3) uint8 picture, and (H, W) label map, 255 = void, each.
    """
    keys, matrices, bands = [], [], np.zeros((len(BANDS), 2), np.int64)
    for key, picture, truth in pictures:
        predicted = segment_objects(answer, picture, truth.shape)  # (H, W)
        matrix = count_confusions(truth[None], predicted[None], n_classes)[0]
        keys.append(key)
        matrices.append(keras.ops.convert_to_numpy(matrix).astype(np.int64))
        bands += count_by_distance(truth, predicted)
    return Errors(keys, np.array(matrices), bands)


def error_kinds(matrix: np.ndarray) -> dict[str, int]:
    """Wrong pixels by the kinds of `utils.drawing.error_map`, from a (C, C) matrix."""
    objects = matrix[1:, 1:]
    counts = matrix[1:, 0].sum(), matrix[0, 1:].sum(), objects.sum() - np.trace(objects)
    return dict(zip(ERROR_COLOURS, map(int, counts), strict=True))


def object_regions(matrices: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The size and the IoU of every object class in every picture that holds it.

    Args:
        matrices: (N, C, C) confusion matrices.

    Returns:
        Class ids (n,) int64, shares of the picture's labelled pixels (n,) float64, and IoUs (n,)
        float64.
    """
    pixels = matrices.sum(-1)  # (N, C)
    pictures, classes = np.nonzero(pixels[:, 1:])
    classes = classes + 1  # class 0, mostly the background, is no object
    shares = pixels[pictures, classes] / pixels.sum(-1)[pictures]
    return classes, shares, iou_per_class(matrices)[pictures, classes]


def from_worst_to_best(matrices: np.ndarray) -> list[int]:
    """The pictures in the order of the chapter's mIoU; those that are void all over are left out.

    Args:
        matrices: (N, C, C), one a picture.
    """
    mious = picture_mious(matrices)
    return [index for index in np.argsort(mious, kind="stable") if not np.isnan(mious[index])]


def describe_picture(errors: Errors, index: int, names: tuple[str, ...]) -> str:
    """One line on a picture: its name, its scores, and the IoU of each class in it."""
    matrices = errors.matrices[index : index + 1]
    ious = iou_per_class(matrices)[0]
    parts = [f"{name} {iou:.3f}" for name, iou in zip(names, ious, strict=True) if iou >= 0]
    return (
        f"{errors.keys[index]}: mIoU {picture_mious(matrices)[0]:.4f}, "
        f"{picture_accuracies(matrices)[0]:.2%} right; IoU {', '.join(parts)}"
    )


def print_portrait(errors: Errors, names: tuple[str, ...]) -> None:
    """Print the numbers of the charts as tables.

    Args:
        errors: of the data set.
        names: C class names.
    """
    matrix = errors.matrices.sum(0)  # (C, C)
    pixels, wrong = errors.bands.T
    print(f"\n{wrong.sum():,} of {pixels.sum():,} pixels are wrong")
    kinds = error_names(names[0])
    width = max(14, *map(len, kinds))
    for kind, count in zip(kinds, error_kinds(matrix).values(), strict=True):
        print(f"  {kind:{width}} {count:>11,}  {_percent(count, wrong.sum()):>6}")

    print("\nTrue class (rows) by predicted class: pixels, share of the row")
    width = max(18, *map(len, names))
    print(" " * width, *(f"{name:>{width}}" for name in names))
    for name, row in zip(names, matrix, strict=True):
        cells = (f"{count:,} {_percent(count, row.sum()):>6}" for count in row)
        print(f"{name:{width}}", *(f"{cell:>{width}}" for cell in cells))

    print("\nPixels from a boundary   share of pixels   accuracy   share of errors")
    for name, here, wrong_here in zip(BAND_NAMES, pixels, wrong, strict=True):
        share, accuracy = _percent(here, pixels.sum()), _percent(here - wrong_here, here)
        print(
            f"  {name:20}   {share:>15}   {accuracy:>8}   {_percent(wrong_here, wrong.sum()):>15}"
        )

    heading = f"classes but {names[0]}"
    print(f"\nShare of its picture   {heading}   mean IoU")
    _, shares, ious = object_regions(errors.matrices)
    for size, name in enumerate(SIZE_NAMES):
        chosen = ious[np.digitize(shares, SIZES) - 1 == size]
        mean = f"{chosen.mean():.4f}" if len(chosen) else "-"
        print(f"  {name:18}   {len(chosen):>{len(heading)}}   {mean:>8}")

    print("\nThe worst pictures")
    for index in from_worst_to_best(errors.matrices)[:WORST]:
        print(f"  {describe_picture(errors, index, names)}")


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"


def draw_charts(path: Path, errors: Errors, classes: Classes) -> None:
    """Draw confusion matrix, IoU per class, and errors by distance from a boundary and by size.

    Args:
        path: the PNG; replaced whole.
        errors: of the data set.
        classes: names and colours.

    Raises:
        UserError: the folder of `path` cannot be written.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = short_names(dict(enumerate(classes.names)), NAME_ROOM, PIXELS)
    room = max(text_width(name, PIXELS) for name in names) / DPI  # inches
    # Of a cell of the matrix in inches: for a share with pixels below it, a share, or nothing.
    cell = 0.55 if len(names) <= MOST_COUNTED else 0.34 if len(names) <= MOST_WRITTEN else 0.2
    side = max(4.2, cell * len(names))  # of the narrowest, the names of the bands stand apart
    across = room > 0.9 * side / len(names)
    height = side + 1 + (room if across else 0)
    with rc_context({"text.parse_math": False, "font.size": LETTERS}):  # names may hold "$"
        figure = Figure((2 * (side + room + 1), height + 3.8), dpi=DPI, layout="constrained")
        figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12)
        FigureCanvasAgg(figure)
        (confusion, ious), (bands, sizes) = figure.subplots(2, 2, height_ratios=(height, 3.8))
        _draw_confusion(confusion, errors.matrices.sum(0), names, across)
        _draw_ious(ious, errors.matrices.sum(0), names, classes)
        _draw_bands(bands, errors.bands)
        _draw_sizes(sizes, errors.matrices, names, classes)
        for axes in (ious, bands, sizes):
            axes.spines[["top", "right"]].set_visible(False)
        with replace_whole(path) as unfinished:
            figure.savefig(unfinished, format="png")
        figure.clear()


def _draw_confusion(axes, matrix: np.ndarray, names: list[str], across: bool) -> None:
    total = matrix.sum(-1, keepdims=True)
    shares = np.divide(matrix, total, out=np.full(matrix.shape, np.nan), where=total > 0)  # (C, C)
    places, many = range(len(names)), len(names) > MOST_COUNTED
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(places, names, rotation=90 if across else 0)
    axes.set_yticks(places, names)
    axes.set(title="Confusion matrix", xlabel="predicted class", ylabel="true class")
    if len(names) > MOST_WRITTEN:
        return
    for row, column in np.argwhere(total * np.ones_like(matrix) > 0):
        share = shares[row, column]
        text = f"{share:.0%}" if many else f"{share:.1%}\n{_brief(matrix[row, column])}"
        ink = "white" if share > 0.6 else "black"
        axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=8)


def _brief(count: int) -> str:
    """A number in six characters at most; the printed table has it whole."""
    for unit, name in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= 100_000 and count >= unit:
            return f"{count / unit:.{0 if count / unit > 99 else 1}f} {name}"
    return f"{count:,}"


def _draw_ious(axes, matrix: np.ndarray, names: list[str], classes: Classes) -> None:
    ious = iou_per_class(matrix)  # (C,)
    places, colours = range(len(names)), np.array(classes.colours) / 255
    axes.barh(places, np.nan_to_num(ious), color=colours, edgecolor=EDGE, lw=0.8)
    axes.set_yticks(places, names)
    for place, iou in enumerate(ious):
        text = "absent" if np.isnan(iou) else f"{iou:.3f}"
        axes.text(np.nan_to_num(iou) + 0.01, place, text, va="center")
    axes.invert_yaxis()  # class 0 first, as in the matrix
    axes.set(title="IoU per class, all pictures together", xlim=(0, 1.12))
    axes.set_xticks(np.linspace(0, 1, 6))


def _draw_bands(axes, bands: np.ndarray) -> None:
    pixels, wrong = bands.T
    places = np.arange(len(BANDS))
    axes.bar(places - 0.2, pixels / max(pixels.sum(), 1), 0.4, label="of all pixels", color="0.7")
    axes.bar(places + 0.2, wrong / max(wrong.sum(), 1), 0.4, label="of all errors", color="C3")
    names = (
        f"{name}\n{_percent(here - wrong_here, here)} right"
        for name, here, wrong_here in zip(BAND_NAMES, pixels, wrong, strict=True)
    )
    axes.set_xticks(places, list(names))
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes.set(title="Errors by distance from a boundary", xlabel="pixels from a boundary")
    axes.set_ylabel("share")
    axes.legend(frameon=False)


def _draw_sizes(axes, matrices: np.ndarray, names: list[str], classes: Classes) -> None:
    ids, shares, ious = object_regions(matrices)
    for class_id in np.unique(ids):
        here = ids == class_id
        colour = np.array([classes.colours[class_id]]) / 255
        style = {"c": colour, "alpha": 0.7, "lw": 0.5, "edgecolor": EDGE}
        axes.scatter(shares[here], ious[here], 22, label=names[class_id], **style)
    for border in SIZES[1:]:
        axes.axvline(border, color="0.6", lw=0.8, ls=":")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda share, _: f"{100 * share:g} %")
    first = shorten(classes.names[0], 0.7 * NAME_ROOM, PIXELS)
    title = f"IoU of each class but {first} in each picture"
    axes.set(title=title, ylim=(-0.03, 1.03))
    axes.set(xlabel="share of its picture", ylabel="IoU")
    if 0 < len(np.unique(ids)) <= MOST_COUNTED:
        axes.legend(frameon=False)


def draw_portrait(
    answer: Answer, store: LabelStore, folder: Path, workers: int = 1, channels: int = 3
) -> None:
    """Print the errors of a network on a data set and draw them into `folder`.

    `portrait.png` has the charts; `portrait-worst.jpg` the five worst pictures with their error
    maps; `portrait-samples.jpg` the best, the median and the worst picture, as Figure 12.5.3: the
    scores choose them, not the eye.

    Args:
        answer: from pictures to probabilities of the classes, see `evaluation.answer`.
        store: label maps, and where their pictures are.
        folder: made when it is missing.
        workers: threads that read pictures.
        channels: of the pictures.

    Raises:
        UserError: a picture cannot be read, or `folder` cannot be written.
    """
    errors = measure_errors(answer, pictures_of_store(store, workers, channels), len(store.classes))
    print_portrait(errors, store.classes.names)

    def rows(chosen: list[int]):
        for index in chosen:  # segmented anew, so that no picture has to be kept
            truth = store[index]
            picture = store.picture(index, channels=channels)
            words = describe_picture(errors, index, store.classes.names)
            predicted = segment_objects(answer, picture, truth.shape)
            yield words, resize_picture(picture, truth.shape), truth, predicted

    order = from_worst_to_best(errors.matrices)
    # One picture alone is best, median and worst; it is shown once.
    samples = list(dict.fromkeys([order[-1], order[len(order) // 2], order[0]])) if order else []
    charts, samples_page, worst_page = (folder / name for name in FILES)
    draw_charts(charts, errors, store.classes)
    title = "The best, the median and the worst picture"
    comparison_figure(samples_page, rows(samples), store.classes, title)
    comparison_figure(worst_page, rows(order[:WORST]), store.classes, "The worst pictures")
    print(f"\nErrors drawn: {charts}, {samples_page}, {worst_page}")
