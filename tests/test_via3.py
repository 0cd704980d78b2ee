"""utils/formats/via3.py: projects of VIA 3 give what those of VIA 2 give."""

import copy
import json

import numpy as np
import pytest

from utils.errors import UserError
from utils.formats.annotations import Annotation, Region, class_value, find_class_attribute
from utils.formats.via3 import is_via3, read_via3
from utils.json_text import parse_json
from utils.label_maps.polygons import draw_regions
from utils.label_maps.region_classes import classes_of_regions
from utils.label_maps.report import Report
from utils.reading import Reading

PROJECT = {
    "project": {"pid": "__VIA_PROJECT_ID__", "pname": "cups", "vid_list": ["1", "2"]},
    "config": {"file": {"loc_prefix": {"1": "", "2": "", "3": "", "4": ""}}, "ui": {}},
    "attribute": {
        "1": {
            "aname": "Name",
            "anchor_id": "FILE1_Z0_XY1",
            "type": 4,
            "desc": "",
            "options": {"0": "cup", "1": " plate", "2": "fork"},
            "default_option_id": "",
        },
        "2": {"aname": "note", "anchor_id": "FILE1_Z0_XY1", "type": 1, "options": {}},
    },
    "file": {
        "1": {"fid": "1", "fname": "a.jpg", "type": 2, "loc": 1, "src": ""},
        "2": {"fid": 2, "fname": "b.jpg", "type": 2, "loc": 3, "src": "sub\\b.jpg"},
    },
    "metadata": {
        "1_x": {"vid": "1", "flg": 0, "z": [], "xy": [2, 1, 2, 3, 4], "av": {"1": "1"}},
        "2_x": {"vid": "2", "flg": 0, "z": [], "xy": [3, 5, 5.5, 2], "av": {"1": "0", "2": "x"}},
        "1_y": {"vid": "1", "flg": 0, "z": [], "xy": [], "av": {}},
    },
    "view": {"1": {"fid_list": ["1"]}, "2": {"fid_list": [2]}},
}


def read(tmp_path, data=PROJECT):
    text = json.dumps(data)
    assert is_via3(text, data)
    return read_via3(tmp_path / "via.json", text, parse_json(text))


def with_shape(*xy):
    data = copy.deepcopy(PROJECT)
    data["metadata"]["1_x"]["xy"] = list(xy)
    return data


def test_a_project(tmp_path):
    project = read(tmp_path)
    plate = Region("rect", {"x": 1, "y": 2, "width": 3, "height": 4}, {"Name": "1"})
    cup = Region("circle", {"cx": 5, "cy": 5.5, "r": 2}, {"Name": "0", "note": "x"})
    assert project.annotations == [
        Annotation("a.jpg", None, (plate,)),
        Annotation("sub/b.jpg", None, (cup,)),
    ]
    assert project.options == {"Name": {"0": "cup", "1": "plate", "2": "fork"}}
    assert find_class_attribute(project.annotations) == "Name"
    assert project.classes is None and project.class_attribute is None


def test_options_are_the_classes_in_their_order(tmp_path):
    """Their numbers begin with 0, which is no background here; those that nothing uses count."""
    found = classes_of_regions(read(tmp_path), tmp_path / "via.json", Reading(), None, Report())
    assert found.classes.names == ("background", "cup", "plate", "fork")
    assert found.ids == [[2], [1]]


def test_options_may_be_called_like_numbers(tmp_path):
    data = copy.deepcopy(PROJECT)
    data["attribute"]["1"]["options"] = {"0": "1", "1": "0", "2": "2"}
    found = classes_of_regions(read(tmp_path, data), tmp_path / "x", Reading(), None, Report())
    assert [found.classes.names[index] for row in found.ids for index in row] == ["0", "1"]


def test_values_of_attributes_that_are_no_more_keep_their_number(tmp_path):
    data = copy.deepcopy(PROJECT)
    data["metadata"]["1_x"]["av"]["7"] = "old"
    region = read(tmp_path, data).annotations[0].regions[0]
    assert region.attributes == {"Name": "1", "7": "old"}


def test_texts_are_classes(tmp_path):
    data = copy.deepcopy(PROJECT)
    data["attribute"]["1"] |= {"type": 1, "options": {}}
    data["metadata"]["1_x"]["av"]["1"] = "Plate"
    project = read(tmp_path, data)
    assert project.options == {}
    assert project.annotations[0].regions[0].attributes == {"Name": "Plate"}


@pytest.mark.parametrize(("value", "expected"), [("2", "2"), ("0,2", None), ("", None)])
def test_ticked_boxes(tmp_path, value, expected):
    data = copy.deepcopy(PROJECT)
    data["attribute"]["1"]["type"] = 2
    data["metadata"]["1_x"]["av"]["1"] = value
    region = read(tmp_path, data).annotations[0].regions[0]
    assert isinstance(region.attributes["Name"], dict)
    assert class_value(region, "Name") == expected


@pytest.mark.parametrize(
    ("xy", "shape", "numbers"),
    [
        ((1, 4, 5), "point", {"cx": 4, "cy": 5}),
        ((2, 1, 2, 3, 4), "rect", {"x": 1, "y": 2, "width": 3, "height": 4}),
        ((3, 4, 5, 2.5), "circle", {"cx": 4, "cy": 5, "r": 2.5}),
        ((4, 4, 5, 2, 3), "ellipse", {"cx": 4, "cy": 5, "rx": 2, "ry": 3}),
        ((5, 1, 2, 3, 4), "polyline", {"all_points_x": (1, 3), "all_points_y": (2, 4)}),
        ((6, 1, 2, 3, 4, 5, 0), "polyline", {"all_points_x": (1, 3, 5), "all_points_y": (2, 4, 0)}),
        ((7, 1, 2, 3, 4, 5, 0), "polygon", {"all_points_x": (1, 3, 5), "all_points_y": (2, 4, 0)}),
        ((8, 3, 1, 7, 4, 5, 9, 2, 6), "rect", {"x": 2, "y": 1, "width": 5, "height": 8}),
        ((9, 9, 5, 5, 9, 1, 5), "circle", {"cx": 5, "cy": 5, "r": 4}),
        ((9, 1, 1, 2, 2, 3, 3), "polyline", {"all_points_x": (1, 2, 3), "all_points_y": (1, 2, 3)}),
    ],
)
def test_every_shape(tmp_path, xy, shape, numbers):
    region = read(tmp_path, with_shape(*xy)).annotations[0].regions[0]
    assert (region.shape, region.numbers) == (shape, numbers)


def test_circles_through_three_points(tmp_path):
    rng = np.random.default_rng(0)
    for _ in range(20):
        x, y, r = rng.uniform(-9, 99, 3)
        turns = rng.uniform(0, 2 * np.pi, 3)
        points = np.stack([x + r * np.cos(turns), y + r * np.sin(turns)], axis=1)
        region = read(tmp_path, with_shape(9, *points.ravel())).annotations[0].regions[0]
        got = [region.numbers[name] for name in ("cx", "cy", "r")]
        np.testing.assert_allclose(got, [x, y, abs(r)], rtol=1e-4, atol=1e-4)


def test_lines_have_no_area(tmp_path):
    region = read(tmp_path, with_shape(5, 1, 2, 3, 4)).annotations[0].regions[0]
    labels, (note,) = draw_regions([(region, 1)], (9, 9))
    assert note.kind == "skipped" and not labels.any()


def broken(change):
    data = copy.deepcopy(PROJECT)
    change(data)
    return data


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (
            broken(lambda d: d["metadata"]["1_x"].update(z=[1.5])),
            r"\['1_x'\]\['z'\] is .1.5.*ffmpeg",
        ),
        (broken(lambda d: d["metadata"]["1_x"].update(z=[1, 2], xy=[])), "a time in a film"),
        (broken(lambda d: d["file"]["1"].update(type=4)), r"file\['1'\]\['type'\] is 4, .*ffmpeg"),
        (
            broken(lambda d: d["view"]["1"].update(fid_list=[1, 2])),
            r"view\['1'\].* has 2 files; ann",
        ),
        (broken(lambda d: d["view"]["1"].update(fid_list=[3])), r"fid_list'\] is \[3\], not of"),
        (broken(lambda d: d["view"]["1"].update(fid_list=None)), r"fid_list'\] is None"),
        (broken(lambda d: d.pop("view")), "has no object 'view'"),
        (broken(lambda d: d.pop("attribute")), "has no object 'attribute'"),
        (broken(lambda d: d["metadata"].update(x=3)), r"metadata\['x'\] is 3, no object"),
        (
            broken(lambda d: d["metadata"]["1_x"].update(vid="9")),
            r"\['vid'\] is '9', which no view",
        ),
        (broken(lambda d: d["metadata"]["1_x"].update(av=None)), r"\['av'\] is None"),
        (broken(lambda d: d["attribute"]["2"].update(aname="Name")), "rename the attribute"),
        (broken(lambda d: d["attribute"]["2"].update(aname=None)), "rename the attribute"),
        (broken(lambda d: d["file"]["1"].update(fname="")), r"\['fname'\] is '', not a name"),
        (broken(lambda d: d["file"]["2"].update(src=None)), r"\['src'\] is None, not a name"),
        (broken(lambda d: d["metadata"]["1_x"].update(xy=None)), r"\['xy'\] is None"),
        (with_shape(2, 1, 2, 3), "not the number of a shape from 1 to 9 and its coordinates"),
        (with_shape(7, 1, 2, 3), "draw the region anew"),
        (with_shape(7), "draw the region anew"),
        (with_shape(9, 1, 2, 3, 4, 5, 6, 7, 8), "draw the region anew"),
        (with_shape(10, 1, 2, 3, 4), "draw the region anew"),
        (with_shape(6.5, 1, 2, 3, 4), "draw the region anew"),
        (with_shape(7, 1, 2, 3, "4"), "draw the region anew"),
        (with_shape(7, 1, 2, 3, float("nan")), "draw the region anew"),
        (with_shape(7, 1, 2, 3, 10**400), "draw the region anew"),
    ],
)
def test_errors_name_file_place_and_expectation(tmp_path, data, words):
    with pytest.raises(UserError, match=words) as error:
        read(tmp_path, data)
    text = str(error.value)
    assert str(tmp_path / "via.json") in text and len(text) < 400 and "\n" not in text


@pytest.mark.parametrize("other", [None, [], {"metadata": {}}, {"metadata": {}, "file": []}])
def test_other_files_are_not_taken_for_it(other):
    assert not is_via3("", other)
