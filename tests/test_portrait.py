"""The portrait of the errors, from a network whose predictions the tests paint into pictures."""

import gc
import weakref
from functools import partial

import keras
import numpy as np
import pytest
from conftest import run_script, tiny_fcn, write_store
from PIL import Image

from engine.arguments import parse_arguments
from engine.records import Data, Network, Run
from engine.runs import describe_run
from engine.weights import save_weights
from evaluation import answer
from metrics import scores
from tools import portrait
from utils.boundaries import BANDS
from utils.classes import VOID, Classes, named
from utils.drawing import ERROR_COLOURS

SHADES = 80  # the red of a painted picture is 80 times the class that the network will predict
THREE = Classes(("background", "bottle", "can"), ((0, 0, 0), (200, 0, 0), (0, 200, 0)))


def paint(predicted: np.ndarray) -> np.ndarray:
    """The (H, W, 3) uint8 picture that `reader` segments into `predicted`."""
    return np.repeat((SHADES * predicted)[..., None], 3, axis=2).astype(np.uint8)


def reader(n_classes: int, size=(32, 48)):
    """The answer of a network of one 1x1 convolution.

    The most probable class is the one whose shade is nearest to the red of a pixel.
    """
    centres = SHADES * np.arange(n_classes, dtype=np.float32)
    inputs = keras.Input((*size, 3))
    convolution = keras.layers.Conv2D(n_classes, 1)  # the largest output wins without softmax too
    model = keras.Model(inputs, convolution(inputs))
    kernel = np.zeros((1, 1, 3, n_classes), np.float32)
    kernel[0, 0, 0] = 2 * centres
    convolution.set_weights([kernel / 1000, -(centres**2) / 1000])
    return partial(answer, model)


def labels(*regions, size=(32, 48)) -> np.ndarray:
    """A label map of rectangles (top, bottom, left, right, class id)."""
    result = np.zeros(size, np.uint8)
    for top, bottom, left, right, class_id in regions:
        result[top:bottom, left:right] = class_id
    return result


# (truth, prediction) of four pictures: perfect, all missed, void all over, mixed.
BOTTLE = labels((8, 24, 8, 24, 1))
BOTH = labels((8, 24, 8, 24, 1), (8, 24, 28, 40, 2), (0, 2, 0, 48, VOID))
MIXED = labels((8, 24, 8, 24, 2), (8, 24, 28, 40, 2), (0, 2, 0, 48, 1), (28, 30, 0, 10, 1))
PAIRS = {
    "perfect.png": (BOTTLE, BOTTLE),
    "missed.png": (BOTTLE, labels()),
    "void.png": (np.full_like(BOTTLE, VOID), labels()),
    "mixed.png": (BOTH, MIXED),
}


def pictures(pairs):
    for key, (truth, predicted) in pairs.items():
        yield key, paint(predicted), truth


@pytest.fixture
def errors():
    return portrait.measure_errors(reader(3), pictures(PAIRS), 3)


def data_set(folder, pairs, classes):
    painted = {key: picture for key, picture, _ in pictures(pairs)}
    return write_store(folder, painted, [truth for truth, _ in pairs.values()], classes)


def test_every_labelled_pixel_is_counted_once_in_each_way(errors):
    assert errors.keys == list(PAIRS)
    for matrix, (truth, predicted) in zip(errors.matrices, PAIRS.values(), strict=True):
        counted = truth != VOID
        assert matrix.sum() == counted.sum()
        assert matrix.sum() - np.trace(matrix) == (truth != predicted)[counted].sum()
    total = errors.matrices.sum(0)
    pixels, wrong = errors.bands.sum(0)
    assert errors.bands.shape == (len(BANDS), 2)
    assert pixels == total.sum() == 3 * 32 * 48 - 2 * 48
    assert wrong == total.sum() - np.trace(total)
    assert sum(portrait.error_kinds(total).values()) == wrong


def test_kinds_of_errors(errors):
    # mixed.png: the bottle is called a can, and 20 pixels of background a bottle; the can is right
    assert portrait.error_kinds(errors.matrices[3]) == {
        "missed object": 0,
        "false object": 20,
        "wrong object": 16 * 16,
    }
    assert list(portrait.error_kinds(errors.matrices[1]).values()) == [16 * 16, 0, 0]
    assert list(portrait.error_kinds(errors.matrices[0]).values()) == [0, 0, 0]
    assert list(portrait.error_kinds(np.array([[7]]))) == list(ERROR_COLOURS)


def test_pictures_come_from_the_worst_and_those_without_labels_not_at_all(errors):
    # mIoU: perfect 1; missed 0.42; mixed (0.98 + 0 + 0.43) / 3 = 0.47
    assert portrait.from_worst_to_best(errors.matrices) == [1, 3, 0]
    assert portrait.from_worst_to_best(errors.matrices[[0, 0, 2]]) == [0, 1]


def test_sizes_of_objects_are_shares_of_the_labelled_pixels(errors):
    ids, shares, ious = portrait.object_regions(errors.matrices)
    assert ids.tolist() == [1, 1, 1, 2]
    np.testing.assert_allclose(shares, [256 / 1536, 256 / 1536, 256 / 1440, 192 / 1440])
    np.testing.assert_allclose(ious, [1, 0, 0, 192 / 448])


@pytest.mark.long
def test_pictures_are_let_go():
    alive = []

    def watched():
        for key, picture, truth in pictures({str(n): (BOTTLE, BOTTLE) for n in range(6)}):
            gc.collect()
            alive.append(sum(reference() is not None for reference in references))
            references.append(weakref.ref(picture))
            yield key, picture, truth

    references = []
    portrait.measure_errors(reader(3), watched(), 3)
    assert max(alive) <= 1 and len(alive) == 6


def test_labels_of_another_size_than_the_picture_decide():
    """A label map may be smaller than its photograph; scores are counted at its size."""
    large = paint(BOTTLE).repeat(2, axis=0).repeat(2, axis=1)
    errors = portrait.measure_errors(reader(3), [("large", large, BOTTLE)], 3)
    assert errors.matrices.sum() == BOTTLE.size
    assert scores(errors.matrices)["pixel_accuracy"] > 0.95


def test_portrait_prints_and_draws(tmp_path, capsys):
    store = data_set(tmp_path, PAIRS, THREE)
    portrait.draw_portrait(reader(3), store, tmp_path / "new")
    printed = capsys.readouterr().out
    assert "532 of 4,512 pixels are wrong" in printed
    assert "missed object          256   48.1%" in printed
    worst = printed[printed.index("The worst pictures") :].splitlines()[1:4]
    assert [line.split(":")[0].strip() for line in worst] == [
        "missed.png",
        "mixed.png",
        "perfect.png",
    ]
    assert "bottle 0.000" in worst[0] and "can" not in worst[0]
    assert {path.name for path in (tmp_path / "new").iterdir()} == {
        "portrait.png",
        "portrait-samples.jpg",
        "portrait-worst.jpg",
    }


def test_a_sky_is_called_so_and_a_white_class_is_seen(errors, tmp_path, capsys, monkeypatch):
    """Class 0 is not always a background, and bars and points stand on white."""
    classes = Classes(("sky", "white", "can"), ((70, 130, 180), (255, 255, 255), (0, 0, 0)))
    portrait.print_portrait(errors, classes.names)
    printed = capsys.readouterr().out
    assert "taken for sky                 256   48.1%" in printed
    assert "sky taken for another" in printed and "classes but sky" in printed
    assert "object" not in printed and "background" not in printed

    from matplotlib.figure import Figure

    drawn = []

    def saved(figure, *_, **__):
        _, ious, _, sizes = figure.axes
        drawn.extend((sizes.get_title(), ious.patches[1], sizes.collections[0]))

    monkeypatch.setattr(Figure, "savefig", saved)
    portrait.draw_charts(tmp_path / "portrait.png", errors, classes)
    title, *white = drawn
    assert title == "IoU of each class but sky in each picture"
    for marks in white:
        assert tuple(np.ravel(marks.get_facecolor())[:3]) == (1, 1, 1)
        assert max(np.ravel(marks.get_edgecolor())[:3]) < 0.6
        assert np.ravel(marks.get_linewidth())[0] > 0


LONG = ["background", "water bottle of clear plastic, 0.5 l, still", "carton of apple juice"]


@pytest.mark.long
@pytest.mark.parametrize(
    "names",
    [
        LONG,
        ["background", *(f"a class with a rather long name, number {n}" for n in range(7))],
        ["the first of many long names", *(f"class with a long name {n}" for n in range(15))],
        ["background", *(f"one of very many classes {n} with names" for n in range(30))],
    ],
    ids=len,
)
def test_long_names_do_not_overlap(names, tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    seen = []

    def saved(figure, *_, **__):
        figure.draw_without_rendering()
        page = figure.bbox
        for axes in figure.axes:
            for axis in (axes.xaxis, axes.yaxis):
                low, high = sorted(axis.get_view_interval())
                ticks = zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=True)
                labels = [label for place, label in ticks if low <= place <= high]
                boxes = [label.get_window_extent() for label in labels]
                seen.extend(label.get_text() for label in labels)
                for index, box in enumerate(boxes):
                    assert page.x0 <= box.x0 and box.x1 <= page.x1, labels[index].get_text()
                    assert page.y0 <= box.y0 and box.y1 <= page.y1, labels[index].get_text()
                    assert not any(box.overlaps(other) for other in boxes[:index])
            title = axes.title.get_window_extent()
            assert page.x0 <= title.x0 and title.x1 <= page.x1, axes.get_title()
        matrix = figure.axes[0]
        cell = matrix.get_window_extent().width / len(names)
        assert all(text.get_window_extent().width < cell for text in matrix.texts)

    monkeypatch.setattr(Figure, "savefig", saved)
    count = len(names)
    matrices = np.random.default_rng(0).integers(0, 10**9, (4, count, count))
    bands = np.full((len(BANDS), 2), (10**6, 1234))
    portrait.draw_charts(
        tmp_path / "x.png", portrait.Errors(list("abcd"), matrices, bands), named(names)
    )
    assert len(set(seen)) >= count, "every class has a name of its own"


@pytest.mark.parametrize(
    ("count", "written"),
    [(0, "0"), (99_999, "99,999"), (100_000, "100 k"), (1_234_567, "1.2 M"), (2 * 10**9, "2.0 G")],
)
def test_counts_that_fit_into_a_cell(count, written):
    assert portrait._brief(count) == written


@pytest.mark.long
@pytest.mark.parametrize(
    ("pairs", "classes"),
    [
        ({"one.png": (labels(), labels())}, named(["background"])),
        ({"void.png": PAIRS["void.png"]}, THREE),
        ({"one.png": (BOTTLE, BOTTLE)}, named(["background", *(f"a$b_{{{n}" for n in range(30))])),
    ],
    ids=["one class", "void all over", "many classes"],
)
def test_any_data_set_has_a_portrait(tmp_path, capsys, pairs, classes):
    store = data_set(tmp_path, pairs, classes)
    portrait.draw_portrait(reader(len(classes)), store, tmp_path)
    assert "0 of " in capsys.readouterr().out
    for name in ("portrait.png", "portrait-samples.jpg", "portrait-worst.jpg"):
        assert min(Image.open(tmp_path / name).size) > 50


@pytest.mark.long
def test_charts_leave_nothing_behind(errors, tmp_path):
    from matplotlib.figure import Figure

    def figures() -> int:
        gc.collect()
        return sum(isinstance(thing, Figure) for thing in gc.get_objects())

    before = figures()
    portrait.draw_charts(tmp_path / "portrait.png", errors, THREE)
    assert figures() == before


@pytest.mark.parametrize(
    "arguments",
    ["--train --portrait", "--evaluate --restore-weights x.h5 --image-file x.jpg --portrait"],
)
def test_portrait_goes_with_the_test_pictures(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        parse_arguments(arguments.split())
    assert stop.value.code == 2
    assert "--portrait" in capsys.readouterr().err


@pytest.mark.long
def test_portrait_from_the_command_line(tmp_path, capsys):
    store = data_set(tmp_path, {"one.png": (BOTTLE, BOTTLE)}, THREE)
    settings = {"backbone": "resnet8v1", "layers": 1, "filters": 4}
    network = Network("fcn", (32, 48, 3), store.classes, settings)
    save_weights(
        tiny_fcn(), tmp_path / "x.weights.h5", describe_run(network, Data(), Run(size=(32, 48)))
    )
    options = ["--restore-weights", tmp_path / "x.h5", "--data-path", tmp_path, "--portrait"]
    options += ["--test-labels", "labels.npy", "--prediction-dir", tmp_path]
    run_script("--evaluate", *options, "--precision", "float32")
    printed = capsys.readouterr().out
    assert "chapter mIoU" in printed and "of 1,536 pixels are wrong" in printed
    assert (tmp_path / "portrait.png").is_file()
