"""utils/classes.py: ids, names and colours, and the forms of classes.json."""

import json

import pytest

from utils.classes import (
    VOC_COLOURS,
    VOID,
    Classes,
    find_classes,
    named,
    read_classes,
    write_classes,
)
from utils.errors import UserError

DRINKS = named(["background", "water bottle", "soda can", "juice can"])


def test_voc_colours():
    colours = VOC_COLOURS(256)
    assert colours[:4] == ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0))
    assert colours[20] == (0, 64, 128)  # tv monitor
    assert colours[VOID] == (224, 224, 192)
    assert len(set(colours)) == 256


def test_write_and_read(tmp_path):
    classes = Classes(("background", "Flasche groß"), ((0, 0, 0), (1, 2, 3)))
    write_classes(tmp_path / "classes.json", classes)
    assert read_classes(tmp_path / "classes.json") == classes
    content = json.loads((tmp_path / "classes.json").read_text(encoding="utf-8"))
    assert content["classes"][1] == {"id": 1, "name": "Flasche groß", "colour": [1, 2, 3]}


@pytest.mark.parametrize(
    "content",
    [
        {"background": 0, "bottle": 1},
        {"bottle": 1, "background": 0},
        {"bottle": 1},
        {"bottle": 1, "void": 255},
        ["background", "bottle"],
        {"classes": ["background", "bottle"]},
        [{"id": 1, "name": "bottle"}, {"id": 0, "name": "background"}],
    ],
)
def test_other_forms(tmp_path, content):
    path = tmp_path / "classes.json"
    path.write_text("\ufeff" + json.dumps(content), encoding="utf-8")
    assert read_classes(path) == named(["background", "bottle"])


def test_american_spelling_of_colour(tmp_path):
    path = tmp_path / "classes.json"
    path.write_text('[{"id": 0, "name": "background", "color": [9, 8, 7]}]')
    assert read_classes(path).colours == ((9, 8, 7),)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"background": 0, "bottle": 2}, "without a gap"),
        ({"background": 0, "bottle": "1"}, "not a whole number"),
        (["background", "Bottle", "bottle "], "twice"),
        (["background", ""], "not a text"),
        ([{"id": 0, "name": "background", "colour": [0, 0, 256]}], "256"),
        ([{"name": "background"}], "id"),
        (3, "neither"),
        ([], "0 classes"),
        ([f"class {i}" for i in range(256)], "256 classes"),
    ],
)
def test_wrong_content_names_the_file_and_the_fault(tmp_path, content, words):
    path = tmp_path / "classes.json"
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=words) as error:
        read_classes(path)
    assert str(path) in str(error.value)


def test_missing_and_broken_file(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        read_classes(tmp_path / "classes.json")
    (tmp_path / "classes.json").write_text("{")
    with pytest.raises(UserError, match="not readable JSON"):
        read_classes(tmp_path / "classes.json")


def test_255_classes_fit(tmp_path):
    assert len(named(["background", *map(str, range(1, 255))])) == 255


@pytest.mark.parametrize(
    ("value", "class_id"),
    [
        ("soda can", 2),
        (" Soda Can ", 2),
        ("3", 3),
        (3, 3),
        (3.0, 3),
        ("0", 0),
        ("background", 0),
    ],
)
def test_id_of(value, class_id):
    assert DRINKS.id_of(value) == class_id


@pytest.mark.parametrize("value", ["can", "4", "-1", "1.5", "", None, True])
def test_id_of_lists_the_known_classes(value):
    with pytest.raises(UserError, match="0 background, 1 water bottle, 2 soda can, 3 juice can"):
        DRINKS.id_of(value)


def test_a_name_goes_before_an_id():
    assert named(["background", "2", "1"]).id_of("2") == 1
    assert named(["road", "car"]).id_of("background") == 0


def test_find_classes_here_then_one_folder_up(tmp_path):
    folder = tmp_path / "data" / "train"
    folder.mkdir(parents=True)
    (tmp_path / "classes.json").write_text("[]")
    assert find_classes(folder) is None
    (tmp_path / "data" / "classes.json").write_text("[]")
    assert find_classes(folder) == tmp_path / "data" / "classes.json"
    (folder / "classes.json").write_text("[]")
    assert find_classes(folder) == folder / "classes.json"


@pytest.mark.parametrize("value", ["1" * 5000, "1" * 400, "0" * 5000 + "9", "-1", "1e0"])
def test_numbers_that_are_no_ids(value):
    with pytest.raises(UserError, match="is unknown"):
        named(["background", "a"]).id_of(value)
    assert named(["background", "a"]).id_of("0" * 400 + "1.0") == 1


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"a": ' + "1" * 5000 + "}", '["\\ud800"]', "[" + '"a",' * 10**6 + '"b"]'],
)
def test_what_nobody_writes_is_refused_at_once(tmp_path, text):
    (tmp_path / "classes.json").write_text(text)
    with pytest.raises(UserError, match="classes.json"):
        read_classes(tmp_path / "classes.json")
