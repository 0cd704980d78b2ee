"""Overlays, index PNGs and figures: every class has its colour, and ids stay ids."""

import gc
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from utils import drawing
from utils.classes import VOC_COLOURS, VOID, Classes, named, write_classes
from utils.errors import UserError
from utils.files import PROJECT

TWO = Classes(("background", "bottle"), ((0, 0, 0), (0, 0, 255)))
STREET = Classes(("Sky", "Building", "Pole"), ((128, 128, 128), (128, 0, 0), (192, 192, 128)))


def many(count: int) -> Classes:
    return named(["background", *(f"thing {i}" for i in range(1, count))])


def picture(height: int, width: int, value: int = 120) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def stripes(height: int, width: int, count: int) -> np.ndarray:
    """All ids of `count` classes side by side, (height, width) uint8."""
    row = np.arange(width) * count // width
    return np.repeat(row[None], height, axis=0).astype(np.uint8)


def read(path) -> np.ndarray:
    return np.array(Image.open(path).convert("RGB"))


def colours_of(array: np.ndarray) -> set[tuple[int, ...]]:
    packed = array.reshape(-1, 3).astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
    return {(value >> 16, value >> 8 & 255, value & 255) for value in np.unique(packed).tolist()}


def holds(page: np.ndarray, part: np.ndarray) -> bool:
    """Whether `part` occurs in `page` pixel by pixel."""
    height, width = part.shape[:2]
    last_y, last_x = page.shape[0] - height + 1, page.shape[1] - width + 1
    fits = np.ones((last_y, last_x), bool)
    for y in np.linspace(0, height - 1, 5).astype(int):
        for x in np.linspace(0, width - 1, 9).astype(int):
            fits &= (page[y : y + last_y, x : x + last_x] == part[y, x]).all(axis=2)
    places = np.argwhere(fits)
    return any(np.array_equal(page[y : y + height, x : x + width], part) for y, x in places)


@pytest.mark.parametrize("classes", [TWO, STREET])
def test_label_colours_are_those_of_the_classes(classes):
    labels = np.array([[0, 1], [VOID, 1]], np.uint8)
    behind, thing = classes.colours[:2]
    expected = [[behind, thing], [(224, 224, 192), thing]]
    np.testing.assert_array_equal(drawing.colour_labels(labels, classes), np.uint8(expected))


def test_a_sky_that_has_a_colour_is_drawn_in_it_everywhere(tmp_path):
    """Issue 15, A9: CamVid's class 0 is the sky, (128, 128, 128), and was drawn black."""
    sky = (128, 128, 128)
    labels = np.zeros((40, 60), np.uint8)
    labels[20:, 10:50] = 1
    shown = drawing.overlay(picture(40, 60, 20), labels, STREET)
    assert tuple(shown[10, 30]) == (74, 74, 74)  # half of 20 and of 128
    boxes, _, _ = drawing.legend(STREET, [0, 1], 0, 600)
    assert [box.colour for box in boxes] == list(STREET.colours)
    drawing.segmentation_figure(tmp_path / "one.png", picture(40, 60, 20), labels, STREET)
    rows = [("row", picture(40, 60, 20), labels, labels)]
    drawing.comparison_figure(tmp_path / "many.png", rows, STREET, "title")
    for name in ("one.png", "many.png"):
        page = read(tmp_path / name)
        assert sky in colours_of(page) and (0, 0, 0) not in colours_of(page[50:]), name
    drawing.write_index_png(tmp_path / "mask.png", labels, STREET)
    assert tuple(read(tmp_path / "mask.png")[0, 0]) == sky


def test_overlay_mixes_inside_draws_lines_and_leaves_the_background():
    labels = np.zeros((40, 60), np.uint8)
    labels[10:30, 20:50] = 1
    original = picture(40, 60)
    before = original.copy()
    shown = drawing.overlay(original, labels, TWO, opacity=0.25)
    assert shown.dtype == np.uint8
    np.testing.assert_array_equal(shown[labels == 0], original[labels == 0])
    np.testing.assert_array_equal(original, before)
    assert tuple(shown[20, 35]) == (90, 90, 154)  # 120 + 0.25 * (colour - 120), rounded
    assert tuple(shown[10, 35]) == (255, 255, 255)
    assert tuple(shown[11, 35]) == (0, 0, 255)


def test_overlay_shows_void_light():
    labels = np.full((9, 9), VOID, np.uint8)
    shown = drawing.overlay(picture(9, 9, 0), labels, TWO)
    assert colours_of(shown[2:-2, 2:-2]) == {(112, 112, 96)}


@pytest.mark.parametrize("height", [7, 8, 9, 23, 60])
@pytest.mark.parametrize("line", [1, 3])
def test_an_overlay_made_in_bands_is_that_made_at_once(monkeypatch, height, line):
    random = np.random.default_rng(height)
    fine, coarse = (random.integers(0, 4, (height, 90 // n)).repeat(n, 1) for n in (1, 9))
    original = random.integers(0, 256, (height, 90, 3), np.uint8)
    monkeypatch.setattr(drawing, "WIDEST_LINE", line)
    monkeypatch.setattr(drawing, "round", lambda value: line, raising=False)  # of small pictures
    for labels in (fine, coarse, np.sort(coarse, 0), np.zeros_like(fine)):
        labels = np.where(labels == 3, VOID, labels).astype(np.uint8)
        monkeypatch.setattr(drawing, "ROWS", 1000)
        whole = drawing.overlay(original, labels, STREET)
        monkeypatch.setattr(drawing, "ROWS", 8)
        np.testing.assert_array_equal(drawing.overlay(original, labels, STREET), whole)


def test_an_overlay_takes_little_more_memory_than_it_is():
    labels = np.zeros((4000, 1000), np.uint8)
    labels[100:3000, 200:] = 1
    original = picture(*labels.shape)
    tracemalloc.start()
    drawing.overlay(original, labels, TWO)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * original.size  # it was 7 times


def luma(array: np.ndarray) -> np.ndarray:
    return np.asarray(array, float) @ (0.299, 0.587, 0.114)


GREYS = [(v, v, v) for v in (0, 64, 127, 128, 129, 192, 255)]
VIVID = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (128, 0, 0), (224, 224, 192)]


@pytest.mark.parametrize("colour", [*GREYS, *VIVID])
def test_an_object_of_the_colour_of_its_class_is_outlined(colour):
    """Issue 15, A9: it was invisible, as white on white."""
    classes = Classes(("background", "thing"), ((0, 0, 0), colour))
    labels = np.zeros((40, 60), np.uint8)
    labels[10:30, 20:50] = 1
    original = np.full((40, 60, 3), colour, np.uint8)
    shown = drawing.overlay(original, labels, classes)
    rim = np.zeros_like(labels, bool)
    rim[10:30, 20:50] = True
    rim[11:29, 21:49] = False
    assert (np.abs(luma(shown[rim]) - luma(colour)) >= 127).all()
    np.testing.assert_array_equal(shown[~rim], original[~rim])


@pytest.mark.parametrize("ground", [*GREYS, *VIVID])
@pytest.mark.parametrize("colour", [(0, 0, 0), (128, 128, 128), (255, 255, 255), (0, 128, 0)])
def test_one_of_the_two_lines_is_seen_on_every_picture(ground, colour):
    classes = Classes(("background", "thing"), ((0, 0, 0), colour))
    labels = np.zeros((40, 60), np.uint8)
    labels[10:30, 20:50] = 1
    shown = drawing.overlay(np.full((40, 60, 3), ground, np.uint8), labels, classes)
    differ = np.abs(luma(shown[10:12, 30]) - luma(ground))  # of the rim and the line beside it
    assert differ.max() >= 63


@pytest.mark.parametrize("colour", [(255, 255, 255), (120, 120, 120), (10, 10, 10)])
def test_an_object_that_fills_its_picture_is_outlined_too(colour):
    classes = Classes(("background", "thing"), ((0, 0, 0), colour))
    shown = drawing.overlay(
        np.full((40, 60, 3), colour, np.uint8), np.ones((40, 60), np.uint8), classes
    )
    for side in (shown[0], shown[-1], shown[:, 0], shown[:, -1]):
        assert (np.abs(luma(side) - luma(colour)) >= 127).all()


@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.parametrize("turned", [False, True])
def test_what_is_too_narrow_for_two_lines_keeps_its_colour(width, turned):
    """Cracks, wires and small pictures of poles were all white."""
    labels = np.zeros((40, 60), np.uint8)
    labels[5:35, 20 : 20 + width] = 1
    labels = labels.T if turned else labels
    for behind, expected in ((200, (0, 0, 255)), (20, (0, 0, 255))):
        shown = drawing.overlay(picture(*labels.shape, behind), labels, TWO)
        assert colours_of(shown[labels == 1]) == {expected}
    like_the_class = np.full((*labels.shape, 3), (40, 30, 230), np.uint8)
    shown = drawing.overlay(like_the_class, labels, TWO)
    assert colours_of(shown[labels == 1]) == {(255, 255, 255)}


def test_regions_that_touch_have_their_own_lines():
    """A light class a black rim, a dark one a white rim, the sky as well."""
    labels = np.repeat(np.uint8([[0, 1, 2]]), 40, axis=0).repeat(20, axis=1)
    shown = drawing.overlay(picture(40, 60), labels, STREET)
    row = [tuple(pixel) for pixel in shown[20, [18, 19, 20, 21, 38, 39, 40, 41]].tolist()]
    sky, building, pole = STREET.colours
    white, black = (255, 255, 255), (0, 0, 0)
    assert row == [sky, white, white, building, building, white, black, pole]


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
def test_the_first_three_channels_are_drawn(tmp_path, channels):
    many_channels = np.zeros((20, 30, channels), np.uint8)
    many_channels[:] = [10, 60, 110, 160, 210, 230, 250][:channels]
    expected = (10, 60, 110) if channels >= 3 else (10, 10, 10)
    labels = np.zeros((20, 30), np.uint8)
    assert colours_of(drawing.overlay(many_channels, labels, TWO)) == {expected}
    grey = round(0.45 * sum(expected) / 3)
    assert colours_of(drawing.error_map(many_channels, labels, labels)) == {(grey,) * 3}
    drawing.segmentation_figure(tmp_path / "one.png", many_channels, labels, TWO, labels)
    drawing.comparison_figure(
        tmp_path / "rows.png", [("row", many_channels, labels, labels)], TWO, "title"
    )
    for name in ("one.png", "rows.png"):
        page = read(tmp_path / name)
        assert (page == np.uint8(expected)).all(axis=2).sum() > 20 * 30, name


def test_a_grey_picture_without_channels_is_drawn():
    assert colours_of(drawing.as_seen(np.full((2, 3), 7, np.uint8))) == {(7, 7, 7)}


def test_colours_that_were_edited_after_training_are_taken(tmp_path):
    """Issue 15, A9: pictures of `--image-file` kept the colours that the weights carry."""
    weights = named(["background", "Bottle", "class 2"])
    edited = Classes(("background", "bottle ", "can"), ((0, 0, 0), (255, 128, 0), (1, 2, 3)))
    assert drawing.colours_of(tmp_path, weights) == weights
    write_classes(tmp_path / "classes.json", edited)
    expected = Classes(weights.names, edited.colours)
    assert drawing.colours_of(tmp_path, weights) == expected
    (tmp_path / "train").mkdir()
    assert drawing.colours_of(tmp_path / "train", weights) == expected


@pytest.mark.parametrize("names", [["background", "cup"], ["background", "bottle", "can"]])
def test_colours_of_other_classes_are_not_taken(tmp_path, names):
    write_classes(tmp_path / "classes.json", Classes(tuple(names), ((9, 9, 9),) * len(names)))
    weights = named(["background", "bottle"])
    assert drawing.colours_of(tmp_path, weights) == weights


def test_colours_without_a_data_folder_are_those_of_the_weights(tmp_path):
    assert drawing.colours_of(tmp_path / "nowhere", TWO) == TWO


def test_damaged_colours_are_said(tmp_path):
    (tmp_path / "classes.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match="classes.json"):
        drawing.colours_of(tmp_path, TWO)


def test_unequal_sizes_are_refused(tmp_path):
    labels = np.zeros((4, 4), np.uint8)
    with pytest.raises(ValueError):
        drawing.overlay(picture(4, 5), labels, TWO)
    with pytest.raises(ValueError):
        drawing.segmentation_figure(
            tmp_path / "x.png", picture(4, 4), labels, TWO, truth=labels[:2]
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("count", [2, 4, 255])
def test_index_png_keeps_ids_and_colours(tmp_path, count):
    ids = [*range(count), VOID]
    labels = np.resize(np.array(ids, np.uint8), (17, 23))
    path = tmp_path / "new" / "mask.png"
    drawing.write_index_png(path, labels, many(count))
    image = Image.open(path)
    assert image.mode == "P"
    np.testing.assert_array_equal(np.array(image), labels)
    table = np.array(image.getpalette()).reshape(-1, 3)
    np.testing.assert_array_equal(table[:count], VOC_COLOURS(count))
    assert tuple(table[VOID]) == (224, 224, 192)


def test_error_map_has_a_colour_per_kind_and_dims_what_is_right():
    original = picture(1, 7, 200)
    original[0, 0] = (90, 150, 210)  # mean 150
    truth = np.uint8([[0, 1, 1, 0, 2, VOID, VOID]])
    predicted = np.uint8([[0, 1, 0, 2, 1, 0, 1]])
    shown = drawing.error_map(original, truth, predicted)
    kinds = drawing.ERROR_COLOURS
    assert shown.dtype == np.uint8
    assert [tuple(pixel) for pixel in shown[0].tolist()] == [
        (68, 68, 68),  # 0.45 * 150, rounded to even
        (90, 90, 90),
        kinds["missed object"],
        kinds["false object"],
        kinds["wrong object"],
        drawing.ERROR_VOID,
        drawing.ERROR_VOID,
    ]


def test_what_is_right_never_looks_wrong_or_void():
    """Whatever the picture: dimmed pixels are grey, and darker than void."""
    every = np.arange(256, dtype=np.uint8)[None, :, None].repeat(3, axis=2)
    labels = np.ones((1, 256), np.uint8)
    shown = drawing.error_map(every, labels, labels)
    reserved = {drawing.ERROR_VOID, *drawing.ERROR_COLOURS.values()}
    assert not colours_of(shown) & reserved and shown.max() < min(drawing.ERROR_VOID)


def test_error_maps_of_unequal_sizes_are_refused():
    labels = np.zeros((4, 4), np.uint8)
    for truth, predicted in ((labels, labels[:3]), (labels[:3], labels)):
        with pytest.raises(ValueError):
            drawing.error_map(picture(4, 4), truth, predicted)


def rows_of(sizes, void: bool = False):
    for height, width in sizes:
        truth = stripes(height, width, 2)
        if void:
            truth[0] = VOID
        yield f"{height} x {width}", picture(height, width), truth, np.zeros_like(truth)


@pytest.mark.long
def test_comparison_has_a_row_per_picture_of_any_size(tmp_path):
    side = drawing.ROW_SIDE
    sizes = [(side // 2, side), (side, side), (1, 3000), (700, 1)]
    drawing.comparison_figure(tmp_path / "rows.png", rows_of(sizes), TWO, "a $title_")
    page = read(tmp_path / "rows.png")
    for name, shot, truth, predicted in list(rows_of(sizes))[:2]:  # those shown one to one
        for panel in (
            shot,
            drawing.colour_labels(truth, TWO),
            drawing.error_map(shot, truth, predicted),
        ):
            assert holds(page, panel), name
    assert set(drawing.ERROR_COLOURS.values()) <= colours_of(page)  # the key names all kinds


def test_errors_are_called_by_the_name_of_class_0(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(drawing, "_key", lambda names, *_: said.append(list(names)) or ([], [], 50))
    for first in ("Background", "sky"):
        classes = Classes((first, "car"), ((70, 130, 180), (255, 255, 255)))
        drawing.comparison_figure(tmp_path / "rows.png", rows_of([(40, 60)]), classes, "title")
    assert said[1] == ["missed object", "false object", "wrong object"]
    assert said[3] == ["taken for sky", "sky taken for another", "others confused"]


def test_comparison_explains_void_when_it_occurs(tmp_path):
    for void in (False, True):
        drawing.comparison_figure(tmp_path / "rows.png", rows_of([(40, 60)], void), TWO, "title")
        boxes = (page := read(tmp_path / "rows.png"))[page.shape[0] - 60 :]
        assert (drawing.ERROR_VOID in colours_of(boxes)) == void


def test_a_page_is_a_jpeg_when_its_name_says_so(tmp_path):
    for name, form in (("page.jpg", "JPEG"), ("page.png", "PNG")):
        drawing.comparison_figure(tmp_path / name, rows_of([(40, 60)]), TWO, "title")
        assert Image.open(tmp_path / name).format == form


def test_a_comparison_keeps_small_copies_only(tmp_path):
    rows = (
        (str(n), picture(1500, 2000), *[np.zeros((1500, 2000), np.uint8)] * 2) for n in range(8)
    )
    tracemalloc.start()
    try:
        drawing.comparison_figure(tmp_path / "rows.png", rows, TWO, "title")
        # One picture and its error map take 9 MB each; eight pictures would take 72 MB more.
        assert tracemalloc.get_traced_memory()[1] < 110e6
    finally:
        tracemalloc.stop()


def test_index_png_of_one_class_keeps_its_only_id(tmp_path):
    """A palette must not be renumbered to the ids that occur."""
    labels = np.full((3, 3), 3, np.uint8)
    drawing.write_index_png(tmp_path / "mask.png", labels, many(5))
    np.testing.assert_array_equal(np.array(Image.open(tmp_path / "mask.png")), labels)


@pytest.mark.long
@pytest.mark.parametrize("count", [2, 4, 30])
def test_figure_shows_every_class_crisply(tmp_path, count):
    """Pictures of masks must work for any number of classes."""
    classes = many(count)
    labels = stripes(300, 400, count)
    truth = labels.copy()
    truth[:20] = VOID
    drawing.segmentation_figure(
        tmp_path / "figure.png", picture(300, 400), labels, classes, truth, title="a $title_"
    )
    page = read(tmp_path / "figure.png")
    assert set(VOC_COLOURS(count)) | {(224, 224, 192)} <= colours_of(page)
    rows, columns, size = drawing.arrange((300, 400), 4)
    assert (rows, columns, size) == (2, 2, (600, 800))
    for part in (truth, labels):
        enlarged = drawing.colour_labels(part, classes).repeat(2, axis=0).repeat(2, axis=1)
        assert holds(page, enlarged)


def test_names_that_read_alike_when_shortened_have_their_ids():
    names = [f"the left hand side of the {word} on the right hand side" for word in ("cup", "can")]
    _, texts, _ = drawing.legend(named(["background", *names]), [0], 0, 600)
    words = [text.words for text in texts]
    assert len(set(words)) == 3 and [word[:2] for word in words] == ["0 ", "1 ", "2 "]
    assert all(drawing.text_width(word) <= 280 for word in words)


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
@pytest.mark.parametrize("write", [drawing.write_picture, "page"])
def test_what_a_full_disk_cuts_short_is_not_there(tmp_path, name, write):
    """Pillow takes a part of a JPEG for the whole, where no more could be written."""
    resource = pytest.importorskip("resource")
    picture = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(UserError, match=f"{name} cannot be written"):
            if write == "page":
                drawing.write_page(tmp_path / name, (300, 300), [(0, 0, picture)], [])
            else:
                write(tmp_path / name, picture)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())


def test_a_white_picture_is_told_from_the_page(tmp_path):
    """With a white class 0 the whole of a label map may be as white as the page."""
    paper = Classes(("paper", "ink"), ((255, 255, 255), (0, 0, 0)))
    drawing.segmentation_figure(
        tmp_path / "x.png", picture(40, 60, 255), np.zeros((40, 60), np.uint8), paper
    )
    page = read(tmp_path / "x.png")
    rows, columns, size = drawing.arrange((40, 60), 3)
    framed = np.full((size[0] + 2, size[1] + 2, 3), drawing.FRAME, np.uint8)
    framed[1:-1, 1:-1] = 255
    assert holds(page, framed)


def test_a_page_says_what_it_was_marked_with(tmp_path):
    drawing.write_page(tmp_path / "x.png", (10, 20), [], [], mark=("about", "me"))
    drawing.write_page(tmp_path / "plain.png", (10, 20), [], [])
    assert drawing.read_mark(tmp_path / "x.png", "about") == "me"
    for name, keyword in (("x.png", "else"), ("plain.png", "about"), ("none.png", "about")):
        assert drawing.read_mark(tmp_path / name, keyword) is None
    for name, content in (
        ("text.png", b"text"),
        ("cut.png", (tmp_path / "x.png").read_bytes()[:40]),
    ):
        (tmp_path / name).write_bytes(content)
        assert drawing.read_mark(tmp_path / name, "about") is None
    (tmp_path / "folder.png").mkdir()
    assert drawing.read_mark(tmp_path / "folder.png", "about") is None


def test_the_mark_of_a_large_page_is_read_without_a_warning(tmp_path, monkeypatch):
    drawing.write_page(tmp_path / "x.png", (100, 200), [], [], mark=("about", "me"))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert drawing.read_mark(tmp_path / "x.png", "about") == "me"


def test_legend_shows_classes_that_the_picture_lacks(tmp_path):
    labels = np.zeros((64, 64), np.uint8)
    drawing.segmentation_figure(tmp_path / "x.png", picture(64, 64), labels, many(30))
    assert set(VOC_COLOURS(30)) <= colours_of(read(tmp_path / "x.png"))


def test_legend_of_very_many_classes_names_those_that_occur():
    boxes, texts, _ = drawing.legend(many(200), [0, 7, 150], 0, 600)
    assert [text.words for text in texts] == ["background", "thing 7", "thing 150"]
    assert [box.colour for box in boxes] == [VOC_COLOURS(200)[i] for i in (0, 7, 150)]


@pytest.mark.parametrize("width", [360, 900, 1600])
@pytest.mark.parametrize("ending", ["", " of a rather long description of what it is"])
def test_legend_stays_inside_the_page_and_does_not_overlap(width, ending):
    names = ["background", "x", "a class with a name much longer than any page is wide " * 5]
    names += [f"thing {i}{ending}" for i in range(30)]
    boxes, texts, bottom = drawing.legend(named(names), [VOID], 50, width)
    assert len(boxes) == len(texts) == len(names) + 1
    spots = sorted((text.top, text.left, drawing.text_width(text.words)) for text in texts)
    for top, left, length in spots:
        assert 50 <= top < bottom and left + length <= width
    for (top, left, length), (next_top, next_left, _) in zip(spots, spots[1:], strict=False):
        assert next_top > top or next_left > left + length


@pytest.mark.parametrize(
    ("size", "count", "grid"),
    [
        ((480, 640), 3, (1, 3)),
        ((480, 640), 4, (2, 2)),
        ((640, 480), 4, (1, 4)),
        ((100, 1000), 3, (3, 1)),
        ((100, 1000), 4, (4, 1)),
        ((1000, 100), 4, (1, 4)),
    ],
)
def test_panels_follow_the_shape_of_the_picture(size, count, grid):
    rows, columns, (height, width) = drawing.arrange(size, count)
    assert (rows, columns) == grid
    assert rows * height <= drawing.PANEL_AREA[0] and columns * width <= drawing.PANEL_AREA[1]
    assert height / width == pytest.approx(size[0] / size[1], rel=0.02)


@pytest.mark.parametrize("size", [(1, 1), (1, 700), (2500, 3), (3000, 4000)])
def test_pictures_of_any_size_are_drawn(tmp_path, size):
    labels = np.ones(size, np.uint8)
    drawing.segmentation_figure(tmp_path / "x.png", picture(*size), labels, TWO, labels, "title")
    page = read(tmp_path / "x.png")
    assert (0, 0, 255) in colours_of(page)
    assert max(page.shape) < 2000


def test_names_that_the_font_lacks_and_markup_do_not_fail(tmp_path):
    classes = named(["background", "水瓶", "_hidden", "a$b$_{c", "line\nbreak"])
    labels = stripes(40, 50, 5)
    drawing.segmentation_figure(
        tmp_path / "x.png", picture(40, 50), labels, classes, title="$x^$ 水"
    )
    assert set(VOC_COLOURS(5)) <= colours_of(read(tmp_path / "x.png"))


def test_text_is_cut_to_its_place():
    long = "words " * 100
    assert drawing.text_width(drawing.shorten(long, 200)) <= 200
    assert "…" in drawing.shorten(long, 200)
    assert drawing.shorten("short", 200) == "short"


def test_a_page_beyond_the_limit_is_refused(tmp_path):
    with pytest.raises(UserError, match="fewer"):
        drawing.write_page(tmp_path / "x.png", (70_000, 100), [], [])


def test_figures_leave_nothing_behind(tmp_path):
    """Pictures, titles and memory must not pile up from call to call."""

    def draw(title: str) -> bytes:
        path = tmp_path / "same.png"
        drawing.segmentation_figure(path, picture(60, 80), labels, many(4), title=title)
        return path.read_bytes()

    labels = stripes(60, 80, 4)
    first = draw("one")
    gc.collect()
    gc.disable()  # what is kept in cycles counts too
    tracemalloc.start()
    try:
        draw("two")
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(5):
            draw("three")
        assert tracemalloc.get_traced_memory()[0] - before < 20_000
    finally:
        tracemalloc.stop()
        gc.enable()
    assert draw("one") == first


def test_pyplot_is_not_imported(tmp_path):
    """Pyplot holds all figures in a global list and looks for a display."""
    code = (
        "import sys, numpy as np; from utils import drawing; from utils.classes import named;"
        "labels = np.zeros((4, 4), np.uint8);"
        "drawing.segmentation_figure(sys.argv[1], np.zeros((4, 4, 3), np.uint8), labels,"
        " named(['background']));"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    root = PROJECT
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "x.png")],
        cwd=root,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
