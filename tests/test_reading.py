"""What is decided of a data folder, and kept with its classes."""

import json
from dataclasses import replace

import pytest

from utils.classes import named, read_classes
from utils.errors import UserError
from utils.reading import Reading, agree, read_reading, reading_from, write_decisions

CLASSES = named(["background", "cat"])


def test_what_is_decided_comes_back(tmp_path):
    reading = Reading("Name", "cat", "void", "ids", (11, 12), (0.0, 4095.0), "raw", ("3", "7"))
    write_decisions(tmp_path / "classes.json", CLASSES, reading)
    assert read_reading(tmp_path / "classes.json") == reading
    colours = Reading(palettes="colour", void_colours=("#000000", "#e0e0c0"))
    of_masks = Reading(ids=(0, 5, 9), threshold=128)
    for values in (colours, of_masks):
        assert reading_from(json.loads(json.dumps(values.known()))) == values
    assert read_classes(tmp_path / "classes.json") == CLASSES
    assert reading_from(json.loads(json.dumps(reading.known()))) == reading


def test_nothing_is_decided_at_first(tmp_path):
    assert read_reading(tmp_path / "classes.json") == read_reading(None) == Reading()
    for content in (["background", "cat"], {"background": 0, "cat": 1}):
        (tmp_path / "classes.json").write_text(json.dumps(content))
        assert read_reading(tmp_path / "classes.json") == Reading()
    write_decisions(tmp_path / "classes.json", CLASSES, Reading())
    assert "reading" not in (tmp_path / "classes.json").read_text()


@pytest.mark.parametrize(
    "content",
    [
        [],
        {"mask": "ids"},
        {"masks": "id"},
        {"masks": 3},
        {"void": ["a"]},
        {"void": 3},
        {"scale": [5, 5]},
        {"scale": [1]},
        {"scale": ["0", "1"]},
        {"scale": [0, float("inf")]},
        {"turn": "left"},
        {"class_attribute": ""},
        {"unclassed": 3},
        {"options": [3, 7]},
        {"palettes": "colours"},
        {"void_colours": ["#00000"]},
        {"void_colours": [[0, 0, 0]]},
        {"void_colours": "#000000"},
        {"options": ["3", "", "3"]},
        {"options": "37"},
        {"ids": 3},
        {"ids": [0, 5, 0]},
        {"ids": [0, "5"]},
        {"ids": [0, 5], "void": [5]},
        {"threshold": 0},
        {"threshold": 1.5},
    ],
)
def test_what_is_damaged_is_named(tmp_path, content):
    path = tmp_path / "classes.json"
    path.write_text(json.dumps({"classes": ["background"], "reading": content}))
    with pytest.raises(UserError, match='classes.json: "reading" is damaged'):
        read_reading(path)


def test_what_is_asked_goes_with_what_was_decided():
    kept = Reading(masks="ids", void=(11,))
    assert agree(Reading(class_name="cat"), kept, "c.json") == Reading(
        class_name="cat", masks="ids", void=(11,)
    )
    assert agree(Reading(void=(11,)), kept, "c.json") == kept
    kept = replace(kept, void=(4, 11))
    assert agree(Reading(void=(11,)), kept, "c.json") == kept, "those of a table stay"
    kept = replace(kept, void=(11,))
    with pytest.raises(UserError, match=r'c.json has void \(11,\).*not \(12,\); delete "void"'):
        agree(Reading(void=(12,)), kept, "c.json")
