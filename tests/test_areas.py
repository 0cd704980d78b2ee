"""The table of areas: what it counts, and that it can be read again."""

import argparse
import csv
import os

import numpy as np
import pytest
from test_objects import small_map

from utils.areas import COLUMNS, UNITS, class_rows, parse_pixel_size, rows_of, write_areas
from utils.classes import VOID, named
from utils.errors import UserError
from utils.objects import objects_of

CLASSES = named(["background", "cup", "plate", "fork", "spoon"])


def of_classes(rows):
    return [row for row in rows if row["object"] is None]


def read(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("seed", range(20))
def test_rows_say_what_the_map_has(seed):
    labels = small_map(seed, classes=4)
    confidence = np.random.default_rng(seed).random(labels.shape).astype(np.float16)
    rows = rows_of("a/b.jpg", labels, CLASSES, confidence, 0.5)
    known = (labels != VOID).sum()
    assert {row["picture"] for row in rows} == {"a/b.jpg"}
    assert all(tuple(row) == COLUMNS for row in rows)
    heads = of_classes(rows)
    assert [row["class"] for row in heads] == list(CLASSES.names)
    assert sum(row["pixels"] for row in heads) == known
    np.testing.assert_allclose(sum(row["share"] for row in heads), 1, atol=1e-5)
    for index, row in enumerate(heads):
        own = labels == index
        assert row["pixels"] == own.sum() and row["area"] == own.sum() * 0.25
        if own.any():
            np.testing.assert_allclose(
                row["confidence"], confidence[own].astype(float).mean(), atol=1e-4
            )
        else:
            assert row["confidence"] is None
        parts = [r for r in rows if r["class"] == row["class"] and r["object"] is not None]
        assert rows[rows.index(row) + 1 :][: len(parts)] == parts  # below their class
        if index:
            assert [each["object"] for each in parts] == list(range(1, row["objects"] + 1))
            assert sum(each["pixels"] for each in parts) == row["pixels"]
        else:
            assert row["objects"] is None and not parts


def test_an_object_has_its_place():
    labels = np.zeros((6, 9), np.uint8)
    labels[2:4, 3:8] = 2
    labels[5, 0] = 2
    rows = rows_of("x.png", labels, CLASSES, np.full(labels.shape, 0.125, np.float32))
    one = next(row for row in rows if row["object"] == 1)
    assert one == {
        "picture": "x.png",
        "class": "plate",
        "object": 1,
        "objects": None,
        "pixels": 10,
        "share": round(10 / 54, 6),
        "area": None,
        "confidence": 0.125,
        "left": 3,
        "top": 2,
        "width": 5,
        "height": 2,
        "x": 5.0,
        "y": 2.5,
    }
    found = objects_of(labels)
    assert [row["pixels"] for row in rows if row["object"]] == [each.pixels for each in found]
    assert {row["confidence"] for row in rows_of("x.png", labels, CLASSES)} == {None}


def test_rows_of_classes_alone_say_the_same_of_them():
    """As for pictures that are too large to look for objects in."""
    labels = small_map(2, classes=4)
    confidence = np.random.default_rng(2).random(labels.shape)
    counts = [int((labels == index).sum()) for index in range(len(CLASSES))]
    sums = [float(confidence[labels == index].sum()) for index in range(len(CLASSES))]
    for given, told in ((sums, confidence), (None, None)):
        rows = of_classes(rows_of("x", labels, CLASSES, told, 2.0))
        expected = [row | {"objects": None} for row in rows]
        assert class_rows("x", CLASSES, counts, given, 2.0) == expected


def test_maps_of_one_class_and_of_void_alone():
    full = np.full((3, 4), 1, np.uint8)
    rows = rows_of("x", full, named(["background", "cup"]))
    assert [(row["pixels"], row["share"]) for row in rows] == [(0, 0.0), (12, 1.0), (12, 1.0)]
    void = rows_of("x", np.full((3, 4), VOID, np.uint8), CLASSES)
    assert [(row["pixels"], row["share"]) for row in void] == [(0, None)] * 5


def test_what_is_no_map_of_these_classes_is_refused():
    with pytest.raises(ValueError, match="none of the 5 classes"):
        rows_of("x", np.full((3, 4), 5, np.uint8), CLASSES)
    with pytest.raises(ValueError, match="with pixels"):
        rows_of("x", np.zeros((0, 4), np.uint8), CLASSES)


NAMES = (
    "plain.jpg",
    'with "quotes", and a comma; so.jpg',
    "two\nlines.jpg",
    "an old\rMac.jpg",
    "both\r\nof them.jpg",
    "größe 大.jpg",
    " blanks .jpg",
    "",
)


def test_names_come_back_whatever_they_hold(tmp_path):
    rows = [row for name in NAMES for row in rows_of(name, np.eye(3, dtype=np.uint8), CLASSES)]
    write_areas(tmp_path / "areas.csv", iter(rows))
    again = read(tmp_path / "areas.csv")
    assert [row["picture"] for row in again] == [row["picture"] for row in rows]
    for one, other in zip(rows, again, strict=True):
        texts = {name: "" if value is None else str(value) for name, value in one.items()}
        assert other == texts
    data = (tmp_path / "areas.csv").read_bytes()
    assert data.startswith(b"picture,class,object,objects,pixels,share,area,confidence,left,top,")
    assert data.endswith(b"\n") and not data.endswith(b"\r\n") and data.count(b"\r\n") == 6


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t", "\r", "\n", "＝"])
def test_no_name_is_a_formula(tmp_path, sign):
    classes = named(["background", f"{sign}cup"])
    write_areas(tmp_path / "a.csv", rows_of(f"{sign}1+1.jpg", np.zeros((2, 2), np.uint8), classes))
    (_, row) = read(tmp_path / "a.csv")
    assert (row["picture"], row["class"]) == (f"./{sign}1+1.jpg", f"'{sign}cup")
    (tmp_path / f"{sign}1+1.jpg").touch()
    assert (tmp_path / row["picture"]).exists()  # it is the same file


def test_half_a_character_stands_as_its_escape(tmp_path):
    name = os.fsdecode(b"caf\xe9.jpg")  # of a disk written in Latin-1
    write_areas(tmp_path / "a.csv", rows_of(name, np.zeros((2, 2), np.uint8), CLASSES))
    assert {row["picture"] for row in read(tmp_path / "a.csv")} == {"caf\\udce9.jpg"}


def test_the_unit_stands_in_the_heading(tmp_path):
    size, unit = parse_pixel_size("0.25um")
    rows = rows_of("x", np.ones((4, 4), np.uint8), CLASSES, pixel_size=size)
    write_areas(tmp_path / "a.csv", rows, unit)
    again = read(tmp_path / "a.csv")
    assert [row["area_um2"] for row in again] == ["0.0", "1.0", "1.0", "0.0", "0.0", "0.0"]
    assert "area" not in again[0]


def test_what_was_there_stays_where_rows_fail(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("mine")

    def rows():
        yield from rows_of("x", np.ones((4, 4), np.uint8), CLASSES)
        raise UserError("the disk is full")

    with pytest.raises(UserError):
        write_areas(path, rows())
    assert path.read_text() == "mine" and os.listdir(tmp_path) == ["a.csv"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.25um", (0.25, "um")),
        ("0.25µm", (0.25, "um")),  # the micro sign
        ("0.25 μm", (0.25, "um")),  # the Greek letter
        ("2mm", (2.0, "mm")),
        ("0.5 m", (0.5, "m")),
        ("0.3", (0.3, "")),
        (" 1e-3 km ", (0.001, "km")),
        (".5ft", (0.5, "ft")),
        ("3in", (3.0, "in")),
    ],
)
def test_pixel_sizes(text, expected):
    assert parse_pixel_size(text) == expected
    assert not expected[1] or expected[1] in UNITS


@pytest.mark.parametrize(
    "text",
    ["", "mm", "0", "-1mm", "0,25mm", "nan", "inf", "1e400", "1e-200", "3mm2", "2MM", "1\n2", "=1"],
)
def test_what_is_no_pixel_size_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="is not a length such as 0.25um"):
        parse_pixel_size(text)
