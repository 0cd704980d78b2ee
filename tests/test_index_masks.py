"""formats/index_masks.py, formats/mask_meaning.py, label_maps/from_masks.py: what masks mean."""

import json
import struct
import subprocess
import sys
import unicodedata
import zlib
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from PIL import Image

from utils.classes import VOC_COLOURS, Classes, named, read_classes, write_classes
from utils.errors import UserError
from utils.files import PROJECT
from utils.formats.mask_files import pair
from utils.label_maps.fresh import ensure_labels
from utils.label_maps.from_masks import make_labels_from_masks
from utils.label_maps.store import open_labels, read_index
from utils.reading import Reading, read_reading, write_decisions

SCRIPT = PROJECT / "utils" / "generate_gt_segmentation.py"
BLACK, RED, GREEN, BLUE, WHITE = (0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255), (255,) * 3
VOC = VOC_COLOURS(256)
CAMVID = (
    *[(128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (128, 128, 0)],
    *[(192, 128, 128), (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192), BLACK],
)  # of SegNet
ABOVE = np.repeat([0, 0, 1, 1], 4).reshape(4, 4)  # two rows of one thing above two of another


def grey(values):
    return Image.fromarray(np.array(values, np.uint8))


def paletted(indices, colours, transparency=None):
    """An 8-bit palette picture of these indices, as it would be read from a file."""
    indices = np.array(indices, np.uint8)
    image = Image.frombytes("P", indices.shape[::-1], indices.tobytes())
    image.putpalette(np.array(colours, np.uint8).tobytes())
    if transparency is not None:
        image.info["transparency"] = bytes(transparency)
    return image


def coloured(indices, colours):
    """The same in true colours; four numbers a colour are with alpha."""
    return Image.fromarray(np.array(colours, np.uint8)[np.array(indices)])


def write_png(path, bits, colours, values):
    """A PNG of one row, of a depth that Pillow does not write; `colours` as of the PNG format."""

    def chunk(kind, data):
        crc = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + crc

    row = "".join(f"{value:0{bits}b}" for value in values)
    row = row.ljust(-(-len(row) // 8) * 8, "0")
    data = bytes(int(row[i : i + 8], 2) for i in range(0, len(row), 8))
    width = len(values) // {0: 1, 2: 3, 4: 2, 6: 4}[colours]
    head = struct.pack(">IIBBBBB", width, 1, bits, colours, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(b"\0" + data)), (b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*c) for c in chunks))


def masks(root, images, name="train_masks"):
    """A folder of masks, and one of their pictures beside it; an array is an 8-bit grey mask."""
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    pictures = root / name.removesuffix("_masks")
    pictures.mkdir(exist_ok=True)
    for number, image in enumerate(images):
        image = image if isinstance(image, Image.Image) else grey(image)
        image.save(folder / f"{number}.png")
        Image.new("RGB", image.size).save(pictures / f"{number}.jpg")
    return folder


def labels(folder, void=None, **options):
    """The label maps of a folder of masks, made without a word."""
    if void is not None:
        options["reading"] = Reading(void=(void,))
    store = open_labels(make_labels_from_masks(folder, progress=False, **options))
    return [store[key] for key in store.keys]


def label(folder, **options):
    return labels(folder, **options)[0].tolist()


def kept(root):
    return read_reading(root / "classes.json")


def describe(root, content, **reading):
    """Write a `classes.json` by hand."""
    root.mkdir(parents=True, exist_ok=True)
    content = {"classes": content} | ({"reading": reading} if reading else {})
    (root / "classes.json").write_text(json.dumps(content))


def colours_of(root, *colours, names=()):
    entries = [
        {"id": i, "name": n, "colour": c}
        for i, (n, c) in enumerate(zip(names or "abcdefgh", colours, strict=False))
    ]
    describe(root, entries)


# Palettes.


def test_palettes_that_differ_are_read_by_colour(tmp_path):
    one, other = paletted(ABOVE, [BLACK, RED]), paletted(1 - ABOVE, [RED, BLACK])
    for number, images in enumerate(([one, other], [other, one])):
        root = tmp_path / str(number)
        found = labels(masks(root, images))
        assert [(int(m[0, 0]), int(m[3, 3])) for m in found] == [(0, 1), (0, 1)]
        assert read_classes(root / "classes.json") == Classes(
            ("background", "class 1"), (BLACK, RED)
        )
        assert kept(root).palettes == "colour" and kept(root).masks == "colours"


def test_palettes_that_agree_are_read_by_index(tmp_path):
    """As VOC and CamVid mean it, whatever the palettes look like."""
    for number, palette in enumerate(
        (VOC, [WHITE, RED, BLACK], [BLACK, RED, RED], [BLACK] * 3, [(9, 9, 9), (9, 9, 8), BLUE])
    ):
        root = tmp_path / str(number)
        found = labels(masks(root, [paletted([[0, 1]], palette), paletted([[2, 1]], palette)]))
        assert [m.tolist() for m in found] == [[[0, 1]], [[2, 1]]]


def test_palettes_that_differ_in_what_does_not_occur_are_read_by_index(tmp_path):
    images = [paletted([[0, 1]], [BLACK, RED]), paletted([[0, 2]], [BLACK, RED, GREEN, BLUE])]
    images.append(paletted([[0, 1]], [BLACK, RED, BLACK, BLACK]))
    assert [m.tolist() for m in labels(masks(tmp_path, images))] == [[[0, 1]], [[0, 2]], [[0, 1]]]


def test_one_colour_under_two_indices_of_two_palettes(tmp_path):
    """No index has two colours here, and by index red would be classes 1 and 2."""
    images = [paletted([[0, 1]], [BLACK, RED]), paletted([[0, 2]], [BLACK, GREEN, RED])]
    assert [m.tolist() for m in labels(masks(tmp_path, images))] == [[[0, 1]], [[0, 1]]]


def test_an_adaptive_palette_is_read_by_colour(tmp_path):
    """Pillow and other programs number colours anew in every file."""
    truth = [
        np.kron(np.array(t), np.ones((8, 8), int)) for t in ([[0, 1], [1, 2]], [[2, 2], [0, 1]])
    ]
    truth.append(np.full((16, 16), 1))
    images = [coloured(t, [BLACK, RED, GREEN]).quantize(8) for t in truth]
    assert len({tuple(image.getpalette()[:6]) for image in images}) > 1, "they are the same"
    for found, true in zip(labels(masks(tmp_path, images)), truth, strict=True):
        np.testing.assert_array_equal(found, true)


def test_classes_of_colours_come_in_one_order(tmp_path):
    """Black first, then those of VOC in its order, then the others; VOC's void is void."""
    palettes = [[VOC[2], VOC[255], BLACK, RED, VOC[1]], [BLUE, RED, VOC[1], VOC[2], BLACK]]
    images = [paletted([[0, 1, 2, 3, 4]], palette) for palette in palettes]
    one, other = labels(masks(tmp_path, images))
    assert one.tolist() == [[2, 255, 0, 3, 1]] and other.tolist() == [[4, 3, 1, 2, 0]]
    assert read_classes(tmp_path / "classes.json").colours == (BLACK, VOC[1], VOC[2], RED, BLUE)


def test_white_is_the_background_where_nothing_is_black(tmp_path):
    images = [paletted([[0, 1]], [RED, WHITE]), paletted([[0, 1]], [WHITE, RED])]
    assert [m.tolist() for m in labels(masks(tmp_path, images))] == [[[1, 0]], [[0, 1]]]


def test_palettes_of_a_few_masks_that_were_numbered_anew(tmp_path):
    """They agree, but black or VOC's void stand where the number of a colour put them."""
    void = [BLACK, RED, VOC[255]]
    assert label(masks(tmp_path / "void", [paletted([[0, 1, 2]], void)])) == [[0, 1, 255]]
    voc = [VOC[5], VOC[0], *VOC[1:5]]
    assert label(masks(tmp_path / "voc", [paletted([[0, 1, 2]], voc)])) == [[2, 0, 1]]
    describe(tmp_path / "two", ["background", "cat"])
    assert label(masks(tmp_path / "two", [paletted([[0, 1]], [RED, BLACK])])) == [[1, 0]]

    describe(tmp_path / "named", ["background", "a", "b"])
    folder = masks(tmp_path / "named", [paletted([[0, 1, 2]], [RED, GREEN, BLACK])])
    with pytest.raises(UserError, match=r"shows index 2 as .background.*\"palettes\": \"index\""):
        label(folder)
    colours_of(tmp_path / "named", BLACK, GREEN, RED)
    assert label(folder) == [[2, 1, 0]]


def test_camvid_s_palette_is_read_by_index(tmp_path, capsys):
    """Sky is 0, and void is black and 11; whether all classes occur or not."""
    folder = masks(tmp_path, [paletted([range(12)], CAMVID), paletted([[0] * 12], CAMVID)])
    found = open_labels(make_labels_from_masks(folder))
    assert found[0].tolist() == [list(range(12))] and found.classes.colours == CAMVID
    assert "0 is shown as (128, 128, 128), 11 as black" in capsys.readouterr().out
    assert label(folder, void=11) == [[*range(11), 255]]
    assert read_classes(tmp_path / "classes.json").colours == CAMVID[:11]
    assert label(masks(tmp_path / "one", [paletted([range(12)], CAMVID)])) == [list(range(12))]
    ids = masks(tmp_path / "one", [[[0, 1]]], "test_masks")
    with pytest.raises(
        UserError, match=r"no colour of a class, but .*: \"colours\"; write \"ids\""
    ):
        label(ids)  # of one mask that has each colour, nobody knows who numbered them
    describe(tmp_path / "named", list("abcdefghijk"))
    folder = masks(tmp_path / "named", [paletted([range(12)], CAMVID)])
    with pytest.raises(UserError, match="has the value 11.* give --void 11 if"):
        label(folder)
    assert label(folder, void=11) == [[*range(11), 255]]


def test_palettes_are_held_against_those_of_the_other_set(tmp_path):
    """Each set agrees in itself; read alone, the second would be the other way round."""
    for number, (first, second) in enumerate(
        [([BLACK, RED, GREEN], [RED, BLACK, GREEN]), (VOC[:3], [VOC[1], VOC[0], VOC[2]])]
    ):
        root = tmp_path / str(number)
        assert label(masks(root, [paletted([[0, 1, 2]], first)])) == [[0, 1, 2]]
        test = masks(root, [paletted([[0, 1, 2]], second)], "test_masks")
        assert label(test) == [[1, 0, 2]]
    test = masks(tmp_path / "0", [paletted([[0, 1]], [BLACK, BLUE])], "other_masks")
    with pytest.raises(
        UserError, match=r'0\.png has the colour \(0, 0, 255\).*"palettes": "index"'
    ):
        label(test)
    classes = read_classes(tmp_path / "0" / "classes.json")
    write_decisions(tmp_path / "0" / "classes.json", classes, Reading(palettes="index"))
    assert label(test) == [[0, 1]]


def test_named_classes_take_the_colours_of_palettes(tmp_path):
    """So that another set can be held against them; a colour that is given stays."""
    write_classes(tmp_path / "classes.json", named(["background", "cat", "dog", "cow"]))
    palette = [BLACK, RED, VOC[3], BLACK]
    assert label(masks(tmp_path, [paletted([[0, 1, 2]], palette)])) == [[0, 1, 2]]
    classes = read_classes(tmp_path / "classes.json")
    assert classes.names == ("background", "cat", "dog", "cow")
    assert classes.colours[:3] == (BLACK, RED, VOC[3]) and len(set(classes.colours)) == 4
    test = masks(tmp_path, [paletted([[0, 1]], [RED, BLACK])], "test_masks")
    assert label(test) == [[1, 0]]

    colours_of(tmp_path / "own", BLACK, GREEN)
    assert label(masks(tmp_path / "own", [paletted([[0, 1]], [BLACK, RED])])) == [[0, 1]]
    assert read_classes(tmp_path / "own" / "classes.json").colours == (BLACK, GREEN)


def test_palettes_in_the_colours_of_the_classes_are_read_by_colour(tmp_path):
    colours_of(tmp_path, BLACK, RED, GREEN)
    folder = masks(tmp_path, [paletted([[0, 1]], [GREEN, BLACK]), paletted([[0, 0]], [GREEN])])
    assert [m.tolist() for m in labels(folder)] == [[[2, 0]], [[2, 2]]]


def test_our_own_masks_stay_what_they_are(tmp_path):
    """They have the ids of the classes, and their colours as palette."""
    from utils.drawing import write_index_png

    own = Classes(("sky", "road", "car"), (WHITE, BLACK, VOC[1]))
    ids = np.array([[0, 1, 2, 255]], np.uint8)
    for number, (drawn, classes) in enumerate(
        [(own, own), (named(own.names), named(own.names)), (named(own.names), own)]
    ):
        root = tmp_path / str(number)
        folder = masks(root, [[[0, 0, 0, 0]]])
        write_index_png(folder / "0.png", ids, drawn)
        write_classes(root / "classes.json", classes)
        assert label(folder) == ids.tolist()
        assert read_classes(root / "classes.json") == classes


def test_palettes_that_fit_half_are_asked_for(tmp_path):
    """Index 1 is shown in the colour of class 2, index 2 in none's."""
    colours_of(tmp_path, BLACK, RED, GREEN)
    folder = masks(tmp_path, [paletted([[0, 1, 2]], [BLACK, GREEN, BLUE])])
    with pytest.raises(UserError, match=r"0\.png shows index 1 as 'c'.*\"palettes\": \"index\""):
        label(folder)
    classes = read_classes(tmp_path / "classes.json")
    write_decisions(tmp_path / "classes.json", classes, Reading(palettes="index"))
    assert label(folder) == [[0, 1, 2]]
    colours_of(tmp_path, BLACK, BLUE, GREEN)
    assert label(folder) == [[0, 2, 1]]


@pytest.mark.parametrize("palette", [VOC, [BLACK] + [RED] * 38 + [GREEN]])
def test_indices_with_gaps_are_read_by_colour(tmp_path, palette):
    palette = [*palette[:38], BLUE, *palette[39:]]
    folder = masks(tmp_path, [paletted([[0, 38]], palette), paletted([[0, 0]], palette)])
    assert [m.tolist() for m in labels(folder)] == [[[0, 1]], [[0, 0]]]
    assert read_classes(tmp_path / "classes.json").colours == (BLACK, BLUE)
    test = masks(tmp_path, [paletted([[0, 5]], [BLACK] * 5 + [BLUE])], "test_masks")
    assert label(test) == [[0, 1]]


def test_voc_keeps_its_ids_where_most_occur(tmp_path):
    assert label(masks(tmp_path, [paletted([[0, 1, 2, 4, 255]], VOC)])) == [[0, 1, 2, 4, 255]]


@pytest.mark.parametrize("names", [None, ["background", "cat", "dog"]])
@pytest.mark.parametrize("palette", [VOC, [BLACK] * 5 + [GREEN] + [BLACK] * 3 + [RED] * 247])
def test_given_values_are_indices_of_palettes(tmp_path, palette, names):
    """Whatever their colours are, in the first set and in those after it."""
    image = paletted([[0, 5, 9, 255]], palette)
    for ids, expected in (((0, 5, 9), [[0, 1, 2, 255]]), ((0, 9, 5), [[0, 2, 1, 255]])):
        root = tmp_path / str(ids[1])
        if names:
            describe(root, names)
        train, val = (masks(root, [image], f"{part}_masks") for part in ("train", "val"))
        assert label(train, reading=Reading(ids=ids)) == label(val) == expected
        assert kept(root).palettes == "index" and len(read_classes(root / "classes.json")) == 3


def test_values_do_not_go_with_colours(tmp_path):
    folder = masks(tmp_path, [paletted([[0, 2, 1]], [BLACK, RED, GREEN])])
    reading = Reading(masks="ids", palettes="colour", ids=(0, 2, 1))
    write_decisions(tmp_path / "classes.json", named(["background", "a", "b"]), reading)
    with pytest.raises(UserError, match='"palettes": "colour", and values .*delete "palettes"'):
        label(folder)


def test_colours_of_another_set_may_be_more_ids(tmp_path):
    """VOC's palette with few of its classes in each part: colours, as nothing else is said."""
    train = masks(tmp_path, [paletted([[0, 15, 16]], VOC)], "train_masks")
    val = masks(tmp_path, [paletted([[0, 15, 17]], VOC)], "val_masks")
    assert label(train) == [[0, 1, 2]]
    with pytest.raises(UserError, match="which is no class.s; .*or delete .* and give --ids, "):
        label(val)
    (tmp_path / "classes.json").unlink()  # the cure
    assert label(train, reading=Reading(ids=(0, 15, 16, 17))) == [[0, 1, 2]]
    assert label(val) == [[0, 1, 3]]


def test_two_named_classes_take_the_one_colour_there_is(tmp_path, capsys):
    palettes = [paletted([[0, 1]], [BLACK, RED]), paletted([[0, 1]], [RED, BLACK])]
    for number, images in enumerate((palettes, [coloured([[0, 1]], [BLACK, RED])])):
        root = tmp_path / str(number)
        describe(root, ["background", "cat"])
        folder = masks(root, images)
        assert open_labels(make_labels_from_masks(folder))[0].tolist() == [[0, 1]]
        assert "the colour (255, 0, 0) is taken as 'cat'" in capsys.readouterr().out
        assert read_classes(root / "classes.json").colours == (BLACK, RED)


def test_void_in_palettes_that_are_read_by_colour(tmp_path):
    palette = [BLACK] + [RED] * 37 + [BLUE] + [GREEN] * 216 + [WHITE]
    folder = masks(tmp_path, [paletted([[0, 38, 255]], palette)])
    assert label(folder) == [[0, 1, 255]]
    assert len(read_classes(tmp_path / "classes.json")) == 2

    folder = masks(tmp_path / "said", [paletted([[0, 20, 38]], [BLACK] * 20 + [RED] * 18 + [BLUE])])
    assert label(folder) == [[0, 1, 2]]
    assert label(folder, void=20) == [[0, 255, 2]], "ids above it do not shift"
    assert len(read_classes(tmp_path / "said" / "classes.json")) == 3
    (tmp_path / "said" / "classes.json").unlink()
    assert label(folder, void=38) == [[0, 1, 255]]

    images = [paletted([[0, 1]], [BLACK, RED]), paletted([[0, 1]], [RED, BLACK])]
    folder = masks(tmp_path / "differ", images)
    with pytest.raises(UserError, match='1 names no colour that is void.*"void_colours"'):
        label(folder, void=1)
    describe(tmp_path / "differ", ["background", "a"], void_colours=["#FF0000"])
    assert label(folder) == [[0, 255]]


def test_palettes_that_show_nothing_but_void(tmp_path):
    images = [paletted([[0, 0]], [VOC[255], RED]), paletted([[1, 1]], [RED, VOC[255]])]
    assert label(masks(tmp_path, images)) == [[255, 255]]
    describe(tmp_path / "named", ["background", "a"])
    assert label(masks(tmp_path / "named", [paletted([[255, 255]], VOC)])) == [[255, 255]]


def test_greys_beside_palettes_that_differ(tmp_path):
    """A program that saves space turns a mask that is all black into one of greys."""
    images = [paletted([[0, 1]], [BLACK, RED]), paletted([[0, 1]], [RED, BLACK])]
    for image in (grey([[0, 0]]), grey([[0, 0]]).convert("1")):
        root = tmp_path / image.mode
        assert labels(masks(root, [*images, image]))[2].tolist() == [[0, 0]]
    folder = masks(tmp_path / "ids", [*images, [[0, 1]]])
    with pytest.raises(UserError, match=r"2\.png has grey values.*save all in one way"):
        label(folder)


# Black and white, and what 255 means.


def test_255_is_unsure_in_one_folder_only(tmp_path, capsys):
    train = masks(tmp_path, [[[0, 1, 255]]])
    test = masks(tmp_path, [[[0, 255]]], "test_masks")
    assert label(train) == [[0, 1, 255]] and kept(tmp_path).masks == "ids"
    assert open_labels(make_labels_from_masks(test))[0].tolist() == [[0, 255]]
    assert "only 0 and 255 occur: 255 is void, since" in capsys.readouterr().out


def test_255_was_a_class_in_the_folder_before(tmp_path):
    train = masks(tmp_path, [[[0, 1, 255]]])
    test = masks(tmp_path, [[[0, 255]]], "test_masks")
    assert label(test) == [[0, 1]] and kept(tmp_path).masks == "black and white"
    for _ in range(2):  # "masks", then "ids" within a `classes.json`
        with pytest.raises(
            UserError, match=r'0\.png has the value 1, but .*classes\.json has "masks"'
        ):
            label(train)
    path = tmp_path / "classes.json"
    path.write_text(path.read_text().replace('"black and white"', '"ids"'))
    assert label(train) == [[0, 1, 255]] and label(test) == [[0, 255]]


def test_255_was_a_class_and_there_are_more_ids(tmp_path):
    train = masks(tmp_path, [[[0, 1, 2, 3, 255]]])
    test = masks(tmp_path, [[[0, 255]]], "test_masks")
    label(test)
    with pytest.raises(UserError, match=r"delete .*classes\.json and make the labels of .*train"):
        label(train)
    (tmp_path / "classes.json").unlink()
    assert label(train) == [[0, 1, 2, 3, 255]] and label(test) == [[0, 255]]


@pytest.mark.parametrize("order", [("train", "test"), ("test", "train")])
def test_0_and_1_leave_open_what_255_is(tmp_path, order):
    """Objects are 1 in one folder and 255 in the other; the order does not matter."""
    values = {"train": [[0, 1]], "test": [[0, 255]], "empty": [[0, 0]]}
    for name in ("empty", *order):
        assert label(masks(tmp_path, [values[name]], f"{name}_masks")) == [
            [0, int(name != "empty")]
        ]
    assert kept(tmp_path).masks == "black and white"


def test_void_of_255_may_be_said(tmp_path):
    folder = masks(tmp_path, [[[0, 255]]])
    describe(tmp_path, ["background", "a"])
    assert label(folder, reading=Reading(masks="ids")) == [[0, 255]]
    assert kept(tmp_path).masks == "ids" and label(folder) == [[0, 255]]
    with pytest.raises(UserError, match="classes.json has masks 'ids'"):
        label(folder, reading=Reading(masks="black and white"))


def test_masks_that_are_white_all_over(tmp_path):
    assert label(masks(tmp_path, [[[255, 255]]])) == [[1, 1]]
    assert len(read_classes(tmp_path / "classes.json")) == 2


def test_white_with_smooth_edges_is_one_class(tmp_path, capsys):
    square = np.pad(np.full((40, 40), 255, np.uint8), 12)
    smooth = Image.fromarray(square).resize((100, 100), Image.Resampling.BICUBIC)
    Image.fromarray(square).save(tmp_path / "lossy.jpg", quality=60)
    for number, image in enumerate((smooth, Image.open(tmp_path / "lossy.jpg"))):
        root = tmp_path / str(number)
        folder = masks(root, [image])
        values = np.asarray(Image.open(folder / "0.png"))
        assert len(np.unique(values)) > 5
        found = open_labels(make_labels_from_masks(folder))[0]
        np.testing.assert_array_equal(found, values >= 128)
        assert "greys between" in capsys.readouterr().out
        label(masks(root, [np.where(values >= 128, 255, 0)], "test_masks"))
        assert kept(root).masks == "black and white"


def test_few_stray_values_are_not_taken_for_classes(tmp_path, capsys):
    mask = np.zeros((40, 40), int)
    mask[10:20], mask[20:30], mask[0, 0] = 1, 2, 200
    folder = masks(tmp_path, [mask])
    with pytest.raises(UserError, match="0, 1, 2, 200 .* look like class ids; give --void 200 if"):
        label(folder)
    np.testing.assert_array_equal(labels(folder, void=200)[0], np.where(mask == 200, 255, mask))
    assert len(read_classes(tmp_path / "classes.json")) == 3
    folder = masks(tmp_path / "near", [np.where(mask == 200, 5, mask)])
    assert labels(folder)[0][0, 0] == 5
    capsys.readouterr()
    (tmp_path / "near" / "classes.json").unlink()
    make_labels_from_masks(folder)
    assert (
        "no mask has the class ids 3, 4; if 5 means void, give --void 5" in capsys.readouterr().out
    )


def test_masks_that_may_number_their_objects_are_remarked_on(tmp_path, capsys):
    """As those of Penn-Fudan, which would become the classes 1 to 3 without a word."""
    numbered = [[[0, 1, 2, 3]], [[1, 1, 0, 0]], [[0, 1, 2, 2]]]
    folder, remark = masks(tmp_path, numbered), "as where they number its objects"
    make_labels_from_masks(folder)
    assert remark in capsys.readouterr().out
    (tmp_path / "classes.json").unlink()
    found = labels(folder, reading=Reading(threshold=1))
    assert [each.tolist() for each in found] == [[[0, 1, 1, 1]], [[1, 1, 0, 0]], [[0, 1, 1, 1]]]
    for number, others in enumerate(([[[0, 2, 1, 3]], [[0, 3, 3, 0]]], [[[0, 1, 2, 3]]] * 2)):
        make_labels_from_masks(masks(tmp_path / str(number), others))
        assert remark not in capsys.readouterr().out


def test_a_trimap_with_its_void(tmp_path):
    folder = masks(tmp_path, [[[0, 128, 255]]])
    with pytest.raises(UserError, match="give --void 128 if that is void"):
        label(folder)
    assert label(folder, void=128) == [[0, 255, 1]]


def test_grey_levels_are_classes_by_their_colours(tmp_path):
    """The cure that the message gives for levels chosen for the eye."""
    folder = masks(tmp_path, [[[0, 127, 254]], [[0, 0, 0]]])
    with pytest.raises(UserError, match=r'do not look like class ids; write .* "colour", such as'):
        label(folder)
    colours_of(tmp_path, BLACK, (127,) * 3, (254,) * 3)
    assert [m.tolist() for m in labels(folder)] == [[[0, 1, 2]], [[0, 0, 0]]]
    assert kept(tmp_path).masks == "colours"


def test_photographs_and_instances_are_no_masks(tmp_path):
    photo = np.arange(256, dtype=np.uint8).reshape(16, 16)
    with pytest.raises(UserError, match="do not look like class ids"):
        label(masks(tmp_path / "grey", [photo]))
    noise = np.random.default_rng(0).integers(0, 256, (80, 80, 3), np.uint8)
    with pytest.raises(UserError, match=r"0\.png has more than 4096 colours"):
        label(masks(tmp_path / "colour", [Image.fromarray(noise)]))


# Masks of other depths.


def test_masks_of_one_bit_are_one_class(tmp_path):
    """Alone, among ids, and among black and white masks."""
    bit = grey([[0, 255]]).convert("1")
    assert bit.mode == "1"
    for number, other in enumerate(([[0, 0]], [[0, 1]], [[0, 2]], [[0, 255]])):
        images = [bit, other, [[1, 1]]] if other[0][1] == 2 else [bit, other]
        assert label(masks(tmp_path / str(number), images)) == [[0, 1]]
    palettes = [paletted([[0, 1]], [WHITE, BLACK]), paletted([[0, 1]], [BLACK, WHITE])]
    found = labels(masks(tmp_path / "palettes", palettes))
    assert [m.tolist() for m in found] == [[[1, 0]], [[0, 1]]], "white is the object"
    with pytest.raises(UserError, match=r"0\.png is of 1 bit.*save it with 8 bits"):
        label(masks(tmp_path / "unsure", [bit, [[0, 1]], [[2, 255]]]))


def test_masks_of_two_and_four_bits(tmp_path):
    """Pillow spreads their values over 0 to 255."""
    folder = masks(tmp_path, [[[0, 1, 2]]])
    for bits, values in ((2, [0, 1, 2, 3]), (4, [0, 1, 3, 2])):
        write_png(folder / "0.png", bits, 0, values)
        Image.new("RGB", (4, 1)).save(tmp_path / "train" / "0.jpg")
        assert label(folder) == [values]
    folder = masks(tmp_path / "white", [[[0, 255]]])
    write_png(folder / "0.png", 4, 0, [0, 15])
    assert label(folder) == [[0, 1]]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 1, 2, 255], [0, 1, 2, 255]),
        ([0, 1, 2, 65535], [0, 1, 2, 255]),
        ([0, 65535], [0, 1]),
        ([0, 257, 514], [0, 1, 2]),
    ],
)
def test_masks_of_16_bits(tmp_path, values, expected):
    image = Image.fromarray(np.array([values], np.uint16))
    assert image.mode == "I;16"
    assert label(masks(tmp_path, [image])) == [expected]


def test_masks_of_16_bits_that_hold_no_ids(tmp_path):
    image = Image.fromarray(np.array([[0, 26001, 26002]], np.uint16))
    with pytest.raises(UserError, match="0, 26001, 26002 .* do not look like class ids"):
        label(masks(tmp_path, [image]))


@pytest.mark.parametrize(
    ("colours", "values"), [(2, [0, 0, 0, 3, 3, 3]), (4, [0, 65535, 3, 65535])]
)
def test_colours_of_16_bits_are_refused(tmp_path, colours, values):
    """Pillow would read 0 for every id."""
    folder = masks(tmp_path, [[[0, 1]]])
    write_png(folder / "0.png", 16, colours, values)
    with pytest.raises(UserError, match=r"0\.png.*have 16 bits.*save it anew as 8-bit PNG"):
        label(folder)


# Transparency.


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "swapped"])
@pytest.mark.parametrize("colour", [WHITE, BLACK, RED])
def test_an_object_in_the_alpha_channel(tmp_path, mode, colour):
    """White all over, and half of it opaque: 8 and 8 of 16 pixels."""
    if mode in ("P", "swapped"):
        clear = [0, 255] if mode == "P" else [255, 0]
        image = paletted(ABOVE if mode == "P" else 1 - ABOVE, [colour] * 2, clear)
    else:
        image = coloured(ABOVE, [(*colour, 0), (*colour, 255)]).convert(mode)
    folder = masks(tmp_path, [image])
    assert Image.open(folder / "0.png").mode == mode.replace("swapped", "P")
    found = labels(folder)[0]
    np.testing.assert_array_equal(found, ABOVE)
    assert (found == 0).sum() == (found == 1).sum() == 8
    assert kept(tmp_path).masks == "alpha"


def test_a_mask_that_is_opaque_or_transparent_all_over(tmp_path):
    """Alone it would say nothing; beside one that has both, and later, it does."""
    whole, none = (coloured([[0, 0]], [(*WHITE, alpha)]) for alpha in (255, 0))
    both = coloured([[0, 1]], [(*WHITE, 0), (*WHITE, 255)])
    found = labels(masks(tmp_path, [whole, none, both]))
    assert [m.tolist() for m in found] == [[[1, 1]], [[0, 0]], [[0, 1]]]
    assert label(masks(tmp_path, [none], "none_masks")) == [[0, 0]]
    assert label(masks(tmp_path, [whole], "whole_masks")) == [[1, 1]]
    assert label(masks(tmp_path / "alone", [none])) == [[0, 0]]


def test_soft_alpha_counts_from_its_middle(tmp_path, capsys):
    alphas = [0, 1, 127, 128, 254, 255]
    image = coloured([range(6)], [(*WHITE, a) for a in alphas])
    faint = coloured([[0, 1, 2]], [(*RED, a) for a in (0, 30, 60)])  # a brush of low opacity
    folder = masks(tmp_path / "soft", [image])
    assert open_labels(make_labels_from_masks(folder))[0].tolist() == [[0, 0, 0, 1, 1, 1]]
    assert "'class 1' is where masks are opaque, from alpha 128 on" in capsys.readouterr().out
    assert label(masks(tmp_path / "faint", [faint])) == [[0, 0, 1]]


def test_one_colour_painted_on_nothing(tmp_path):
    """As layers of drawing programs are saved; what lies under transparent pixels is no colour."""
    for number, under in enumerate((BLACK, WHITE, GREEN)):
        image = coloured([[0, 1]], [(*under, 0), (*RED, 255)])
        assert label(masks(tmp_path / str(number), [image])) == [[0, 1]]
    cut_out = np.random.default_rng(0).integers(0, 256, (80, 80, 4), np.uint8)
    cut_out[..., 3] = np.where(np.arange(80) < 30, 0, 255)
    found = labels(masks(tmp_path / "cut", [Image.fromarray(cut_out)]))[0]
    np.testing.assert_array_equal(found, cut_out[..., 3] // 255)


def test_several_colours_painted_on_nothing(tmp_path):
    colours = [(*WHITE, 0), (*RED, 255), (*GREEN, 255), (*GREEN, 0)]
    folder = masks(tmp_path, [coloured([[0, 1, 2, 3]], colours)])
    with pytest.raises(UserError, match=r'"colour" of each class, of \(0, 255, 0\), \(255, 0, 0\)'):
        label(folder)
    colours_of(tmp_path, BLACK, RED, GREEN)
    assert label(folder) == [[0, 1, 2, 0]]
    one = masks(tmp_path, [coloured([[0, 2]], colours)], "one_masks")
    assert label(one) == [[0, 2]], "the one colour of this set is that of a class"
    palette = paletted([[0, 1, 2]], [RED, GREEN, BLACK], [255, 255, 0])
    assert label(masks(tmp_path, [palette], "palette_masks")) == [[1, 2, 0]]
    assert label(masks(tmp_path / "alone", [palette])) == [[1, 2, 0]]


@pytest.mark.parametrize("alpha", [255, 128, 0])
def test_alpha_that_is_the_same_all_over_says_nothing(tmp_path, alpha):
    colours_of(tmp_path, BLACK, RED, GREEN)
    image = coloured([[0, 1, 2]], [(*c, alpha) for c in (BLACK, RED, GREEN)])
    assert label(masks(tmp_path, [image])) == [[0, 1, 2]]
    image = coloured([[0, 1]], [(*BLACK, alpha), (*WHITE, alpha)])
    assert label(masks(tmp_path / "white", [image])) == [[0, 1]]
    assert kept(tmp_path / "white").masks == "black and white"


def test_palettes_with_a_transparent_index_are_read_by_index(tmp_path):
    """As of programs that show the background, or void, as nothing."""
    palette = [BLACK, RED, GREEN, *[BLUE] * 252, WHITE]
    for number, clear in enumerate(([0], [255] * 255 + [0])):
        image = paletted([[0, 1, 2, 255]], palette, clear)
        assert label(masks(tmp_path / str(number), [image])) == [[0, 1, 2, 255]]
    image = paletted([[0, 1]], [BLACK, RED], [0])
    assert label(masks(tmp_path / "one", [image])) == [[0, 1]]
    describe(tmp_path / "named", ["background", "a", "b"])
    folder = masks(tmp_path / "named", [paletted([[0, 1, 2]], [RED, GREEN, BLACK], [255, 255, 0])])
    with pytest.raises(UserError, match="index 2 transparent"):
        label(folder)


def test_ids_with_transparent_parts(tmp_path):
    """Void stays void, as "no data" in maps; whatever else cannot be seen is background."""
    image = Image.fromarray(np.array([[[0, 0], [1, 255], [2, 255], [255, 0], [2, 0]]], np.uint8))
    assert image.mode == "LA"
    assert label(masks(tmp_path, [image])) == [[0, 1, 2, 255, 0]]
    image = Image.fromarray(np.array([[[0, 0], [1, 255], [255, 0]]], np.uint8))
    assert label(masks(tmp_path / "one", [image])) == [[0, 1, 255]]
    folder = masks(tmp_path / "map", [[[0, 1]]])
    grey([[0, 1, 2, 255]]).save(folder / "0.png", transparency=255)
    Image.new("RGB", (4, 1)).save(tmp_path / "map" / "train" / "0.jpg")
    assert label(folder) == [[0, 1, 2, 255]]


def test_a_map_of_black_and_no_data_is_asked_for(tmp_path):
    folder = masks(tmp_path, [[[0, 255]]])
    grey([[0, 255]]).save(folder / "0.png", transparency=255)
    with pytest.raises(UserError, match='"alpha"}} if black is the object, or with "ids"'):
        label(folder)
    describe(tmp_path, ["background", "a"], masks="alpha")
    assert label(folder) == [[1, 0]]
    describe(tmp_path, ["background", "a"], masks="ids")
    assert label(folder) == [[0, 255]]


def test_alpha_beside_masks_of_other_kinds(tmp_path):
    """Black and white is as clear, and read along; class ids and several classes are not."""
    alpha = coloured([[0, 1]], [(*WHITE, 0), (*WHITE, 255)])
    for number, other in enumerate(([[0, 255]], [[0, 1]])):
        root = tmp_path / str(number)
        assert [m.tolist() for m in labels(masks(root, [alpha, other]))] == [[[0, 1]]] * 2
        assert label(masks(root, [other], "test_masks")) == [[0, 1]]
        assert kept(root).masks == "alpha"
    root = tmp_path / "white"
    assert label(masks(root, [[[0, 255]]])) == label(masks(root, [alpha], "test_masks")) == [[0, 1]]
    with pytest.raises(UserError, match=r"1\.png knows no transparency; save all masks in one way"):
        label(masks(tmp_path / "mixed", [alpha, [[0, 1, 2]]]))
    with pytest.raises(UserError, match=r'0\.png has the value 2, but .* has "masks": "alpha"'):
        label(masks(tmp_path / "0", [[[0, 2]]], "ids_masks"))
    several = coloured([[0, 1, 2]], [(*WHITE, 0), (*RED, 255), (*GREEN, 255)])
    with pytest.raises(
        UserError, match='show 2 colours where they are opaque.*write "masks": "col'
    ):
        label(masks(tmp_path / "0", [several], "several_masks"))


def test_alpha_where_ids_were_decided(tmp_path):
    label(masks(tmp_path, [[[0, 1, 255]]]))
    alpha = coloured([[0, 1]], [(*WHITE, 0), (*WHITE, 255)])
    folder = masks(tmp_path, [alpha], "test_masks")
    with pytest.raises(
        UserError, match=r'has "masks": "ids"; .* put a classes\.json of its own into'
    ):
        label(folder)
    describe(folder, ["background", "a"], masks="alpha")
    assert label(folder) == [[0, 1]]
    describe(tmp_path / "three", ["background", "a", "b"])
    with pytest.raises(UserError, match="opaque, but .* has 3 classes"):
        label(masks(tmp_path / "three", [alpha]))


# Colours.


def test_what_colours_mean_is_decided_for_all_masks(tmp_path):
    """A mask that is black all over was class 0, whatever class is black."""
    colours_of(tmp_path, WHITE, RED, BLACK)
    images = [coloured([[0, 1, 2]], [WHITE, RED, BLACK]), coloured([[0, 0, 0]], [BLACK])]
    found = labels(masks(tmp_path, [*images, [[0, 255, 0]]]))
    assert [m.tolist() for m in found] == [[[0, 1, 2]], [[2, 2, 2]], [[2, 0, 2]]]
    assert kept(tmp_path).masks == "colours"
    assert label(masks(tmp_path, [[[0, 0]]], "test_masks")) == [[2, 2]]
    colours_of(tmp_path / "two", WHITE, BLACK)
    assert label(masks(tmp_path / "two", [images[1]])) == [[1, 1, 1]]
    assert label(masks(tmp_path / "two", [grey([[0, 255]]).convert("1")], "bits_masks")) == [[1, 0]]


def test_ids_where_colours_were_decided(tmp_path):
    """Ids of classes with names are plain; nobody knows the order of those made of colours."""
    colours_of(tmp_path, BLACK, RED, GREEN)
    label(masks(tmp_path, [coloured([[0, 1]], [BLACK, RED])]))
    assert label(masks(tmp_path, [[[0, 1, 2]]], "test_masks")) == [[0, 1, 2]]
    for values in ([[0, 1, 255]], [[0, 0, 7]]):
        with pytest.raises(UserError, match="add it|no colour of a class"):
            label(masks(tmp_path, [values], "test_masks"))

    root = tmp_path / "made"
    images = [
        paletted([[0, 1, 2]], [BLACK, GREEN, RED]),
        paletted([[0, 1, 2]], [RED, GREEN, BLACK]),
    ]
    assert label(masks(root, images)) == [[0, 2, 1]]
    folder = masks(root, [[[0, 1, 2]]], "test_masks")
    with pytest.raises(
        UserError, match=r'0\.png has the grey \(1, 1, 1\).*"masks": "colours"; write "ids"'
    ):
        label(folder)
    path = root / "classes.json"
    path.write_text(path.read_text().replace('"masks": "colours"', '"masks": "ids"'))
    assert label(folder) == [[0, 1, 2]]
    assert label(root / "train_masks") == [[0, 2, 1]]


def test_a_colour_may_be_said_to_be_void(tmp_path):
    colours_of(tmp_path, RED, GREEN)
    folder = masks(tmp_path, [coloured([[0, 1, 2]], [RED, GREEN, BLACK])])
    with pytest.raises(UserError, match=r'colour \(0, 0, 0\).*"void_colours": \["#000000"\]'):
        label(folder)
    classes = read_classes(tmp_path / "classes.json")
    write_decisions(tmp_path / "classes.json", classes, Reading(void_colours=("#000000",)))
    assert label(folder) == [[0, 1, 255]]


def test_two_classes_of_one_colour_are_refused(tmp_path):
    colours_of(tmp_path, BLACK, RED, RED)
    with pytest.raises(UserError, match=r"gives 'b' and 'c' the same colour \(255, 0, 0\)"):
        label(masks(tmp_path, [coloured([[0, 1]], [BLACK, RED])]))


# Void, and values of no class.


def test_a_void_that_is_said_later_takes_its_class_away(tmp_path):
    folder = masks(tmp_path, [[range(12)]])
    assert label(folder) == [list(range(12))]
    assert len(read_classes(tmp_path / "classes.json")) == 12
    assert label(folder, void=11) == [[*range(11), 255]]
    classes = read_classes(tmp_path / "classes.json")
    assert classes.names[-1] == "class 10" and kept(tmp_path).void == (11,)
    assert label(folder) == [[*range(11), 255]], "it need not be said again"
    assert label(folder, reading=Reading(void=(11,))) == [[*range(11), 255]]
    with pytest.raises(UserError, match=r"classes.json has void \(11,\).*not \(10,\)"):
        label(folder, void=10)


def test_a_class_that_has_a_name_or_is_used_stays(tmp_path):
    folder = masks(tmp_path, [[range(4)]])
    label(folder)
    path = tmp_path / "classes.json"
    path.write_text(path.read_text().replace("class 3", "road"))
    assert label(folder, void=3) == [[0, 1, 2, 255]]
    assert read_classes(path).names[3] == "road"

    folder = masks(tmp_path / "middle", [[range(4)]])
    label(folder)
    assert label(folder, void=2) == [[0, 1, 255, 3]]
    assert len(read_classes(tmp_path / "middle" / "classes.json")) == 4


def test_a_class_that_annotations_use_stays(tmp_path):
    from utils.generate_gt_segmentation import make_labels

    folder = masks(tmp_path, [[range(4)]])
    label(folder)
    shape = {"name": "rect", "x": 1, "y": 1, "width": 3, "height": 3}
    regions = [{"shape_attributes": shape, "region_attributes": {"Name": "3"}}]
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg")
    content = {"a.jpg-1": {"filename": "a.jpg", "size": -1, "regions": regions}}
    (tmp_path / "via.json").write_text(json.dumps({"_via_img_metadata": content}))
    make_labels(tmp_path / "via.json", progress=False)
    assert label(folder, void=3) == [[0, 1, 2, 255]]
    assert len(read_classes(tmp_path / "classes.json")) == 4


@pytest.mark.parametrize("kind", ["grey", "palette", "1 bit"])
def test_void_that_is_said_where_no_class_occurs_is_kept(tmp_path, capsys, kind):
    """It holds for the other set too, and no class is made of it."""
    value = 1 if kind == "1 bit" else 7
    first = {"grey": grey, "palette": lambda v: paletted(v, VOC), "1 bit": Image.fromarray}[kind]
    folder = masks(tmp_path, [first(np.array([[0, value]], bool if value == 1 else np.uint8))])
    out = make_labels_from_masks(folder, reading=Reading(void=(value,)))
    assert "they hold no class but 'background'" in capsys.readouterr().out
    assert open_labels(out)[0].tolist() == [[0, 255]] and len(open_labels(out).classes) == 1
    assert ensure_labels(folder, progress=False)[0].tolist() == [[0, 255]], "it stays"
    new = 2 if value == 1 else 1
    assert label(masks(tmp_path, [[[0, new, value]]], "test_masks")) == [[0, new, 255]]
    assert len(read_classes(tmp_path / "classes.json")) == new + 1
    store = ensure_labels(folder, progress=False)
    assert store[0].tolist() == [[0, 255]] and len(store.classes) == new + 1


def test_masks_without_a_class_keep_nothing_that_was_not_asked(tmp_path, capsys):
    make_labels_from_masks(masks(tmp_path, [[[0, 0]]]))
    assert "they hold no class but 'background'" in capsys.readouterr().out
    assert not (tmp_path / "classes.json").exists()
    describe(tmp_path, ["background"], masks="black and white")
    with pytest.raises(UserError, match="has the value 3, but .* as other masks hold 0 and 255"):
        label(masks(tmp_path, [[[0, 3]]]))


def test_a_value_of_no_class_may_be_void(tmp_path):
    """The cure of the message is tried, and so is the other one."""
    describe(tmp_path, ["background", *"abcdefghij"])
    folder = masks(tmp_path, [[range(11)], [[11] + [10] * 10]])
    with pytest.raises(
        UserError,
        match=r"1\.png has the value 11, but the classes are 0 to 10; give "
        r"--void 11 if 11 means void \(the largest value.*add it to classes\.json",
    ):
        label(folder)
    found = labels(folder, void=11)
    assert (
        found[1].tolist() == [[255] + [10] * 10]
        and len(read_classes(tmp_path / "classes.json")) == 11
    )
    describe(tmp_path, ["background", *"abcdefghij", "road"])
    assert labels(folder)[1][0, 0] == 11


def test_what_shows_that_a_value_may_be_void(tmp_path):
    describe(tmp_path, ["background", "a"])
    mask = np.zeros((60, 60), int)
    mask[10:50, 10:50], mask[14:46, 14:46] = 4, 1  # a line of 4 pixels
    mask[0, :5] = 2
    with pytest.raises(
        UserError,
        match=r"value.*without a class are 2, 4\); give --void 2 4 if they mean void, add",
    ):
        label(masks(tmp_path, [mask]))
    mask[0, :5], mask[0, 59] = 0, 5
    with pytest.raises(UserError, match="give --void 4 5 if they mean void"):
        label(masks(tmp_path, [mask]))
    mask[12:, 12:][:38, :38] = 4
    with pytest.raises(
        UserError, match=r"give --void 5 if 5 means void \(the largest value and rare"
    ):
        label(masks(tmp_path, [mask]))
    describe(tmp_path, ["background", "a"], void=[4, 5])
    assert set(np.unique(labels(tmp_path / "train_masks")[0])) == {0, 255}
    with pytest.raises(UserError, match="correct the masks, which may be smoothed"):
        label(masks(tmp_path, [np.arange(60)[None]]))


@pytest.mark.parametrize("kept", [False, True])
def test_the_cure_for_several_values_is_tried(tmp_path, capsys, kept):
    """As it is typed; values that were said to be void before are in it."""
    describe(tmp_path, ["background", "a"], **({"void": [7]} if kept else {}))
    mask = np.zeros((60, 60), int)
    mask[10:50, 10:50], mask[14:46, 14:46], mask[0, :2], mask[59, :2] = 4, 1, 7, 5
    folder = masks(tmp_path, [mask])
    with pytest.raises(UserError) as error:
        label(folder, reading=Reading(void=(7,)))
    if kept:
        cure = f'put "void": [4, 5, 7] into the "reading" of {tmp_path / "classes.json"}'
        describe(tmp_path, ["background", "a"], void=[4, 5, 7])
        words = []
    else:
        cure = "give --void 4 5 7"
        words = cure.split()[1:]
    assert f"; {cure} if they mean void, " in str(error.value)
    subprocess.run([sys.executable, SCRIPT, "--masks", folder, *words], check=True)
    expected = np.where(mask > 3, 255, mask)
    np.testing.assert_array_equal(open_labels(tmp_path / "train_masks.npy")[0], expected)


# Files.


def test_pictures_are_found_by_stems_that_are_alike(tmp_path):
    """A Mac writes a u with two dots as two characters; others change the letter case."""
    name = "m\u00fcller"
    folder = masks(tmp_path, [[[0, 1]], [[1, 1]], [[1, 0]]])
    (folder / "0.png").rename(folder / (unicodedata.normalize("NFD", name) + ".png"))
    (tmp_path / "train" / "0.jpg").rename(tmp_path / "train" / f"{name}.jpg")
    (folder / "1.png").rename(folder / "IMG_1.PNG")
    (tmp_path / "train" / "1.jpg").rename(tmp_path / "train" / "img_1.JPG")
    store = open_labels(make_labels_from_masks(folder, progress=False, strict=True))
    assert sorted(store.keys) == ["2.jpg", "img_1.JPG", f"{name}.jpg"]
    assert store["img_1.JPG"].tolist() == [[1, 1]] and store[f"{name}.jpg"].tolist() == [[0, 1]]


def test_the_same_stem_goes_before_one_that_is_alike(tmp_path):
    folder = tmp_path / "masks"
    masks, pictures = (
        [folder / name for name in names] for names in (["a.png", "A.png"], ["a.jpg"])
    )
    assert pair(masks, pictures) == ({masks[0]: pictures[0]}, [masks[1]], [])
    assert pair([folder / "Ab.png", folder / "aB.png"], [folder / "ab.jpg"])[0] == {}


def test_the_index_tells_how_masks_were_read(tmp_path):
    folder = masks(tmp_path, [[[0, 1, 2, 11, 255]]])
    store = make_labels_from_masks(folder, progress=False, reading=Reading(void=(11,)))
    assert read_index(store).reading == Reading(masks="ids", void=(11,))
    classes = read_classes(tmp_path / "classes.json")
    decided = replace(read_reading(tmp_path / "classes.json"), class_name="cat")
    write_decisions(tmp_path / "classes.json", classes, decided)
    label(folder)
    assert kept(tmp_path) == decided, "that of polygons stays"
    open_only = make_labels_from_masks(masks(tmp_path / "x", [[[0, 0]]]), progress=False)
    assert read_index(open_only).reading == Reading()


def test_classes_that_nothing_changes_are_left_as_they_are(tmp_path):
    text = '{ "background": 0,   "cat": 1}'
    (tmp_path / "classes.json").write_text(text)
    label(masks(tmp_path, [[[0, 1]]]))
    assert (tmp_path / "classes.json").read_text() == text


# TIFFs, and files of several pages.


def stack(path, images):
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [image if isinstance(image, Image.Image) else grey(image) for image in images]
    images[0].save(path, save_all=True, append_images=images[1:])


PAGES = [[[0, 1, 2, 255]], [[2, 2, 1, 0]], [[1, 0, 0, 0]]]


@pytest.mark.parametrize("kind", ["grey", "palette", "16 bits", "packed"])
@pytest.mark.parametrize("ending", ["tif", "TIFF"])
def test_each_page_of_a_stack_is_a_picture(tmp_path, capsys, kind, ending):
    pages = PAGES
    if kind == "palette":
        pages = [paletted(page, VOC) for page in PAGES]
    elif kind == "16 bits":
        pages = [Image.fromarray(np.array(page, np.uint16)) for page in PAGES]
    stack(tmp_path / "train_masks" / f"s.{ending}", pages)
    if kind == "packed":
        pages = list(map(grey, PAGES))
        more = {"save_all": True, "append_images": pages[1:], "compression": "tiff_lzw"}
        pages[0].save(tmp_path / "train_masks" / f"s.{ending}", **more)
    stack(tmp_path / "train" / "s.tif", [[[10 * page] * 4] for page in (1, 2, 3)])
    out = make_labels_from_masks(tmp_path / "train_masks", strict=True)
    store = open_labels(out)
    assert store.keys == ["s.tif#1", "s.tif#2", "s.tif#3"]
    assert [store[key].tolist() for key in store.keys] == PAGES
    assert [store.picture(key).max() for key in store.keys] == [10, 20, 30]
    assert "pages" not in capsys.readouterr().out, "none is left out"


def test_pages_that_a_stack_and_its_mask_have_not_both(tmp_path, capsys):
    pictures, mask = tmp_path / "train" / "s.tif", tmp_path / "train_masks" / "s.tif"
    stack(pictures, [np.zeros((1, 4))] * 2)
    stack(mask, PAGES)
    with pytest.raises(UserError, match=r"s\.tif has 3 pages, but its picture s\.tif has 2; save"):
        label(mask.parent)
    stack(pictures, [np.zeros((1, 4))])
    with pytest.raises(UserError, match=r"s\.tif has 3 pages, but its picture s\.tif has 1; save"):
        label(mask.parent)
    stack(pictures, [np.zeros((1, 4))] * 3)
    assert len(labels(mask.parent)) == 3, "the first cure"
    stack(mask, PAGES[:1])
    store = open_labels(make_labels_from_masks(mask.parent))
    assert store.keys == ["s.tif"] and store[0].tolist() == PAGES[0], "the second"
    assert "the first is labelled): 1\n    s.tif has 3" in capsys.readouterr().out


def test_pages_are_named_in_what_is_said(tmp_path):
    describe(tmp_path, ["background", "a"])
    stack(tmp_path / "train_masks" / "s.tif", [np.zeros((9, 9)), np.eye(9) * 2])
    stack(tmp_path / "train" / "s.tif", [np.zeros((9, 9))] * 2)
    with pytest.raises(UserError, match=r"s\.tif#2 has the value 2.*the largest value and in line"):
        label(tmp_path / "train_masks")
    stack(tmp_path / "train_masks" / "s.tif", [np.zeros((9, 9)), np.zeros((9, 4))])
    with pytest.raises(UserError, match=r"s\.tif#2 is 4 x 9, but its picture s\.tif#2 is 9 x 9"):
        label(tmp_path / "train_masks")
    (tmp_path / "train" / "s.tif#1").touch()
    with pytest.raises(UserError, match=r"s\.tif#1 has the name by which a page of s\.tif is call"):
        label(tmp_path / "train_masks")


def test_frames_of_an_animation(tmp_path):
    """Pictures of a GIF with a mask of as many pages; a mask may be an animated PNG."""
    frames = [grey(np.full((2, 4), value)) for value in (50, 200)]
    stack(tmp_path / "train" / "s.gif", frames)
    for name in ("s.tif", "s.png"):
        folder = tmp_path / f"{name}_masks"
        stack(folder / name, [[[0, 1, 1, 0]] * 2, [[1, 0, 0, 1]] * 2])
        store = open_labels(
            make_labels_from_masks(folder, data_path=tmp_path / "train", progress=False)
        )
        assert store.keys == ["s.gif#1", "s.gif#2"]
        assert [store[key][0].tolist() for key in store.keys] == [[0, 1, 1, 0], [1, 0, 0, 1]]
        assert store.picture("s.gif#2").max() == 200


def test_small_copies_in_a_tiff_are_no_pages(tmp_path):
    with tifffile.TiffWriter(tmp_path / "s.tif") as file:
        for values, kind in ((np.zeros((1, 2)), 1), *((page, 0) for page in PAGES)):
            file.write(np.array(values, np.uint8), subfiletype=kind, photometric="minisblack")
    (tmp_path / "train_masks").mkdir()
    (tmp_path / "s.tif").rename(tmp_path / "train_masks" / "s.tif")
    stack(tmp_path / "train" / "s.tif", [np.zeros((1, 4))] * 3)
    assert [page.tolist() for page in labels(tmp_path / "train_masks")] == PAGES


def test_tiffs_are_masks_beside_pngs(tmp_path):
    folder = masks(tmp_path, [[[0, 2]], [[1, 1]]])
    (folder / "1.png").unlink()
    stack(folder / "1.tif", [[[1, 0]]])
    assert [mask.tolist() for mask in labels(folder)] == [[[0, 2]], [[1, 0]]]
    grey([[1, 0]]).save(folder / "1.png")
    with pytest.raises(UserError, match=r"1\.png and 1\.tif are both masks of 1\.jpg; keep one"):
        label(folder)


def test_tiffs_among_png_masks_are_pictures(tmp_path):
    folder = masks(tmp_path, [[[0, 1]]], "all")
    for name in "01":
        Image.new("RGB", (2, 1)).save(folder / f"{name}.tif")
    (folder / "0.jpg").unlink()
    store = open_labels(make_labels_from_masks(folder, progress=False))
    assert store.keys == ["0.tif"] and store[0].tolist() == [[0, 1]]
    (folder / "0.png").unlink()
    with pytest.raises(UserError, match="are not beside it; name annotations"):
        label(folder)


@pytest.mark.parametrize("values", [np.zeros((2, 3, 3), np.uint16), np.zeros((2, 3), np.float32)])
def test_tiffs_of_other_kinds_are_refused(tmp_path, values):
    folder = masks(tmp_path, [np.zeros((2, 3))])
    (folder / "0.png").unlink()
    tifffile.imwrite(folder / "0.tif", values)
    with pytest.raises(UserError, match=r"0\.tif cannot be read as a mask.*anew as 8-bit PNG"):
        label(folder)
