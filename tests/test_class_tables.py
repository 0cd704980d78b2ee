"""formats/class_tables.py: tables of classes beside masks; values of classes with gaps."""

import json

import numpy as np
import pytest
from PIL import Image

from utils.classes import VOC_COLOURS, Classes, read_classes
from utils.errors import UserError
from utils.formats.class_tables import find_table, read_table
from utils.label_maps.fresh import ensure_labels
from utils.label_maps.from_masks import make_labels_from_masks
from utils.reading import Reading, read_reading

BLACK, RED, GREEN, BLUE = (0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255)
COLOURS = [[BLACK, RED, GREEN, BLUE]]


def masks(root, values, name="train"):
    """One mask of ids or colours with its picture."""
    values = np.array(values, np.uint8)
    for folder in (f"{name}_masks", name):
        (root / folder).mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(root / f"{name}_masks" / "a.png")
    Image.new("RGB", values.shape[1::-1]).save(root / name / "a.jpg")
    return root / f"{name}_masks"


def label(folder, **asked):
    return ensure_labels(folder, progress=False, reading=Reading(**asked))[0].tolist()


def table(root, name, text):
    root.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)
    return read_table(root / name)


TABLES = {
    "class_dict.csv": "name,r,g,b\nunlabelled,0,255,0\ncar, 0,0,255\nbackground,0,0,0\n"
    "sign,255,0,0\n",
    "labelmap.txt": "# label:color_rgb:parts:actions\nunlabelled:0,255,0::\ncar:0,0,255::\n"
    "background:0,0,0::\nsign:255,0,0:a,b:c\n",
    "label_colors.txt": "0 255 0\tunlabelled\n0 0 255\tcar\n0 0 0\t\tbackground\n255 0 0 sign\n",
}


@pytest.mark.parametrize("place", ["beside", "above"])
@pytest.mark.parametrize("name", TABLES)
def test_colours_of_a_table(tmp_path, capsys, name, place):
    """The background comes first, and void is none of the classes."""
    folder = masks(tmp_path, COLOURS)
    table(folder if place == "beside" else tmp_path, name, TABLES[name])
    make_labels_from_masks(folder)
    said = capsys.readouterr().out
    assert f"the 3 classes are those of {name}; void is unlabelled" in said
    assert label(folder) == [[0, 2, 255, 1]]
    classes = read_classes(tmp_path / "classes.json")
    assert classes.names == ("background", "car", "sign")
    assert classes.colours == (BLACK, BLUE, RED)
    assert read_reading(tmp_path / "classes.json").void_colours == ("#00ff00",)
    assert label(masks(tmp_path, [[RED, GREEN]], "test")) == [[2, 255]]


def test_a_classes_json_goes_before_a_table(tmp_path):
    folder = masks(tmp_path, [[0, 1]])
    (tmp_path / "class_dict.csv").write_text("no table at all")
    with pytest.raises(UserError, match=r"class_dict\.csv, line 1: it is not name,r,g,b; correct"):
        label(folder)
    (tmp_path / "classes.json").write_text('["background", "cat"]')
    assert label(folder) == [[0, 1]]


def test_semicolons_of_excel(tmp_path):
    path = tmp_path / "class_dict.csv"
    path.write_text("name;r;g;b\r\nbackground;0;0;0\r\ncar;0;0;255\r\n")
    assert read_table(path).classes == Classes(("background", "car"), ((0, 0, 0), (0, 0, 255)))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("class_dict.csv", "name,r,g,b\nx,0,0,0\nb,1,2\n", "line 3: it is not name,r,g,b"),
        ("class_dict.csv", "name,r,g,b\nb,1,2,256\n", "line 2: '256' is not a whole number from 0"),
        ("class_dict.csv", "name,r,g,b\n,1,2,3\n", "line 2: it is not name"),
        ("label_colors.txt", "0 0 0 a\n1 2 b\n", "line 2: it is not r g b name"),
        ("label_colors.txt", "0 0 x b\n", "line 1: 'x' is not a whole number"),
        ("labelmap.txt", "a:1,2::\n", "line 1: it is not label:r,g,b:parts:actions"),
        ("labelmap.txt", "a:1,2,3::\nb:::\n", "has no colour for 'b', but for others"),
        ("_classes.csv", "Pixel Value, Class\n0\n", "line 2: it is not Pixel Value, Class"),
        ("_classes.csv", "Pixel Value, Class\nx, cat\n", "line 2: 'x' is not a whole number"),
        ("class_dict.csv", "name,r,g,b\na,1,2,3\nA,2,2,2\n", "class name 'A' occurs twice"),
        ("class_dict.csv", "name,r,g,b\na,1,2,3\nvoid,1,2,3\n", "is that of a class and of void"),
        ("class_dict.csv", "name,r,g,b\n", "there are 0 classes"),
    ],
)
def test_tables_that_are_not_as_they_should_be(tmp_path, name, text, said):
    with pytest.raises(UserError, match=said):
        table(tmp_path, name, text)


def test_a_table_that_is_no_text_or_has_no_end(tmp_path):
    for content in (b"\xff\xfe\0\0", b"x" * 2_000_000):
        (tmp_path / "labelmap.txt").write_bytes(content)
        with pytest.raises(UserError, match=r"labelmap\.txt (cannot be read as text|is too large)"):
            read_table(tmp_path / "labelmap.txt")


def test_the_background_of_labelme(tmp_path):
    found = table(tmp_path, "labelmap.txt", "__ignore__:0,0,9::\ncat:1,1,1::\n_background_:0,0,0::")
    assert found.classes.names == ("_background_", "cat") and found.void == ("__ignore__",)


def test_a_labelmap_without_colours(tmp_path):
    """They are then those of PASCAL VOC, by the row."""
    found = table(tmp_path, "labelmap.txt", "cat:::\nbackground:::\n")
    assert found.classes.colours == VOC_COLOURS(2)[::-1]


def test_two_tables(tmp_path):
    folder = masks(tmp_path, COLOURS)
    for name in ("label_colors.txt", "labelmap.txt"):
        table(tmp_path, name, TABLES[name])
    assert find_table(folder).path.name == "labelmap.txt", "both tell the same"
    table(tmp_path, "label_colors.txt", "0 0 0 a\n")
    with pytest.raises(UserError, match=r"labelmap\.txt and label_colors\.txt tell different cla"):
        label(folder)
    table(folder, "label_colors.txt", TABLES["label_colors.txt"])
    assert label(folder) == [[0, 2, 255, 1]], "the nearest counts"


def test_values_by_the_rows_of_a_table(tmp_path):
    """Where the rows are the classes in order; else nobody knows what 1 means."""
    folder = masks(tmp_path, [[0, 1, 2]])
    table(tmp_path, "class_dict.csv", "name,r,g,b\nbackground,0,0,0\ncar,255,0,0\nsign,0,255,0\n")
    assert label(folder) == [[0, 1, 2]]
    assert read_classes(tmp_path / "classes.json").names == ("background", "car", "sign")
    (tmp_path / "classes.json").unlink()
    table(tmp_path, "class_dict.csv", TABLES["class_dict.csv"])
    (tmp_path / "train_masks.npy").unlink()
    with pytest.raises(UserError, match=r"a\.png has values, not the colours of .*class_dict\.csv"):
        label(folder)
    (tmp_path / "classes.json").write_text('["background", "sign", "car"]')
    assert label(folder) == [[0, 1, 2]], "the cure"


def test_void_of_a_table_and_of_an_option(tmp_path):
    """Said for each set, as training says it."""
    (tmp_path / "_classes.csv").write_text("Pixel Value, Class\n0, void\n1, cat\n2, dog\n")
    for name in ("train", "test", "train"):
        folder = masks(tmp_path, [[0, 1, 2, 9]], name)
        assert label(folder, void=(9,)) == [[255, 0, 1, 255]]


def test_a_cure_that_needs_a_classes_json_makes_one(tmp_path):
    folder = masks(tmp_path, [[BLACK, RED, (9, 9, 99)]])
    table(tmp_path, "class_dict.csv", "name,r,g,b\nground,0,0,0\ncar,255,0,0\n")
    with pytest.raises(UserError, match=r'"void_colours": \["#090963"\].*has been made of class_d'):
        label(folder)
    content = json.loads((tmp_path / "classes.json").read_text())
    content["reading"] = {"void_colours": ["#090963"]}
    (tmp_path / "classes.json").write_text(json.dumps(content))
    assert label(folder) == [[0, 1, 255]]


@pytest.mark.parametrize("first", ["0, background", ""])
def test_the_values_of_roboflow(tmp_path, first):
    """`_classes.csv` beside pictures and masks, `x.jpg` and `x_mask.png`."""
    root = tmp_path / "train"
    root.mkdir()
    Image.fromarray(np.array([[0, 5, 9]], np.uint8)).save(root / "x_mask.png")
    Image.new("RGB", (3, 1)).save(root / "x.jpg")
    (root / "_classes.csv").write_text(f"Pixel Value, Class\n{first}\n9, cat\n5, dog\n")
    assert label(root) == [[0, 1, 2]]
    assert read_classes(tmp_path / "classes.json").names == ("background", "dog", "cat")
    assert read_reading(tmp_path / "classes.json").ids == (0, 5, 9)


@pytest.mark.parametrize(
    ("name", "expected"), [("person", [[0, 1]]), ("Void", [[0, 255]]), ("boundary", [[0, 255]])]
)
def test_255_of_a_table_is_what_its_name_says(tmp_path, name, expected):
    (tmp_path / "_classes.csv").write_text(f"Pixel Value, Class\n0, background\n255, {name}\n")
    assert label(masks(tmp_path, [[0, 255]])) == expected


def via(options, kind="project"):
    region = {"Name": {"type": "dropdown", "options": options, "default_options": {}}}
    if kind == "attributes":
        return json.dumps({"region": region, "file": {}})
    return json.dumps(
        {"_via_settings": {}, "_via_img_metadata": {}, "_via_attributes": {"region": region}}
    )


@pytest.mark.parametrize("kind", ["project", "attributes"])
def test_the_options_of_via_name_values(tmp_path, kind):
    folder = masks(tmp_path, [[0, 1, 4]])
    (tmp_path / "via.json").write_text(via({"1": "cat", "4": "dog"}, kind))
    assert label(folder) == [[0, 1, 2]]
    assert read_classes(tmp_path / "classes.json").names == ("background", "cat", "dog")
    with pytest.raises(UserError, match=r"a\.png has the value 2, but .* have \(0, 1, 4\)"):
        label(masks(tmp_path, [[0, 2]], "test"))


def test_options_of_via_leave_open_what_255_is(tmp_path):
    (tmp_path / "via.json").write_text(via({"1": "cat"}))
    assert label(masks(tmp_path, [[0, 255]])) == [[0, 1]]
    assert read_classes(tmp_path / "classes.json").names == ("background", "cat")


def test_options_of_via_without_numbers_say_nothing_of_masks(tmp_path):
    folder = masks(tmp_path, [[0, 1]])
    (tmp_path / "via.json").write_text(via({"cat": "", "dog": ""}))
    (tmp_path / "other.json").write_text('{"region": [')
    assert find_table(folder) is None


# Values with gaps.


def test_values_with_gaps_are_given(tmp_path):
    folder = masks(tmp_path, [[0, 5, 9, 255]])
    said = "0, 5, 9, 255 .* do not look .* give --ids 0 5 9 255 if .*, --ids 0 5 9 if they are but"
    with pytest.raises(UserError, match=said):
        label(folder)
    assert label(folder, ids=(0, 5, 9)) == [[0, 1, 2, 255]]
    assert label(folder) == [[0, 1, 2, 255]], "it is kept"
    with pytest.raises(
        UserError, match=r"a\.png has the value 7, but the classes have \(0, 5, 9\)"
    ):
        label(masks(tmp_path, [[5, 7]], "test"))
    with pytest.raises(UserError, match=r"classes\.json has ids \(0, 5, 9\), .* not \(0, 5\)"):
        label(folder, ids=(0, 5))
    (tmp_path / "classes.json").write_text('["background", "cat"]')
    with pytest.raises(UserError, match=r"3 values of classes are given, 0 5 9, but .* 2 classes"):
        label(folder, ids=(0, 5, 9))


@pytest.mark.parametrize(
    ("ids", "expected"), [((0, 127, 255), [0, 1, 2]), ((255, 0, 127), [1, 2, 0])]
)
@pytest.mark.parametrize("names", [None, ["background", "cup", "plate"]])
def test_255_may_be_the_value_of_a_class(tmp_path, capsys, names, ids, expected):
    """Grey levels that people draw; 255 was void in silence."""
    if names:
        (tmp_path / "classes.json").write_text(json.dumps(names))
    assert label(masks(tmp_path, [[0, 127, 255]]), ids=ids) == [expected]
    assert label(masks(tmp_path, [[0, 255]], "test")) == [[expected[0], expected[2]]]
    assert "void" not in capsys.readouterr().out


@pytest.mark.parametrize("ids", [(0, 255), (255, 0)])
@pytest.mark.parametrize("bits", ["1", "L", "RGB"])
def test_values_of_two_classes_with_255(tmp_path, capsys, ids, bits):
    """Black and white, of 1 bit too, whichever of them is the background."""
    folder = masks(tmp_path, [[0, 255, 255]])
    Image.open(folder / "a.png").convert(bits).save(folder / "a.png")
    make_labels_from_masks(folder, reading=Reading(ids=ids))
    assert label(folder) == [[ids.index(value) for value in (0, 255, 255)]]
    assert "void" not in capsys.readouterr().out


def test_values_may_be_void_too(tmp_path):
    folder = masks(tmp_path, [[0, 5, 9, 7]])
    assert label(folder, ids=(0, 9), void=(5, 7)) == [[0, 255, 1, 255]]
    with pytest.raises(ValueError, match="5 is both in ids and in void"):
        Reading(ids=(0, 5), void=(5,))


@pytest.mark.parametrize("background", ["0", "background"])
def test_a_mapping_of_values_to_ids(tmp_path, capsys, background):
    """`{0: 0, 5: 1, 9: 2}` as `classes.json`: names that are numbers are the values."""
    folder = masks(tmp_path, [[0, 5, 9]])
    (tmp_path / "classes.json").write_text(json.dumps({background: 0, "5": 1, "9": 2}))
    make_labels_from_masks(folder)
    assert "0, 5, 9 are the values of the classes, as their names say" in capsys.readouterr().out
    assert label(folder) == [[0, 1, 2]]
    time = (tmp_path / "train_masks.npy").stat().st_mtime_ns
    assert label(folder) == [[0, 1, 2]]
    assert (tmp_path / "train_masks.npy").stat().st_mtime_ns == time
    with pytest.raises(UserError, match="has the value 1, but the classes have"):
        label(masks(tmp_path, [[0, 1]], "test"))


def test_names_that_are_numbers_without_a_gap_are_no_values(tmp_path):
    """Annotators call classes so, and in any order."""
    folder = masks(tmp_path, [[0, 1, 2]])
    (tmp_path / "classes.json").write_text('["background", "2", "1"]')
    assert label(folder) == [[0, 1, 2]]


def test_values_of_palettes_with_gaps(tmp_path):
    folder = masks(tmp_path, [[0, 5, 9]])
    image = Image.open(folder / "a.png")
    image.putpalette(np.array(VOC_COLOURS(256), np.uint8).tobytes())
    image.save(folder / "a.png")
    assert label(folder, ids=(0, 5, 9)) == [[0, 1, 2]]


def test_a_table_that_contradicts_the_classes_that_are_kept_is_refused(tmp_path):
    """It was passed over in silence, and masks were read by the classes of the first set."""
    from utils.label_maps.from_masks import make_labels_from_masks

    for part, names in (("train", ("cup", "plate")), ("val", ("plate", "cup"))):
        (tmp_path / part).mkdir()
        (tmp_path / f"{part}_masks").mkdir()
        Image.new("RGB", (9, 9)).save(tmp_path / part / "a.jpg")
        mask = np.zeros((9, 9), np.uint8)
        mask[2:5, 2:5] = 1
        Image.fromarray(mask).save(tmp_path / f"{part}_masks" / "a.png")
        rows = "".join(f"{name},{value},0,0\n" for value, name in enumerate(names, 1))
        (tmp_path / f"{part}_masks" / "class_dict.csv").write_text(
            "name,r,g,b\nbackground,0,0,0\n" + rows
        )
    make_labels_from_masks(tmp_path / "train_masks", progress=False)
    with pytest.raises(UserError, match="has 'cup'.* as class 1, but by .*class_dict.csv that is"):
        make_labels_from_masks(tmp_path / "val_masks", progress=False)


def test_a_table_that_changes_makes_the_labels_stale(tmp_path):
    from utils.label_maps.fresh import ensure_labels

    folder = masks(tmp_path, [[0, 1, 2]])
    table(folder, "_classes.csv", "Pixel Value, Class\n0, background\n1, cup\n2, plate\n")
    ensure_labels(folder, progress=False)
    table(folder, "_classes.csv", "Pixel Value, Class\n0, background\n1, plate\n2, cup\n")
    with pytest.raises(
        UserError, match="has 'cup'.* as class 1, but by .*_classes.csv that is 'pl"
    ):
        ensure_labels(folder, progress=False)
