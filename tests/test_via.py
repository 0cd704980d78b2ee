"""utils/formats/via.py: every form that VIA saves, and what is said about files that are none."""

import csv
import json
import os

import pytest

from utils.errors import UserError
from utils.formats.annotations import (
    Annotation,
    Region,
    class_value,
    filled_attributes,
    find_class_attribute,
)
from utils.formats.projects import read_annotations, read_project

POLYGON = {"name": "polygon", "all_points_x": [1, 5.5, 5], "all_points_y": [2, 2, 8]}
CIRCLE = {"name": "circle", "cx": 4, "cy": 5, "r": 2.5}
BOTTLE = {"Name": "bottle"}
EXPECTED = [
    Annotation(
        "a.jpg",
        1234,
        (
            Region(
                "polygon",
                {"all_points_x": (1.0, 5.5, 5.0), "all_points_y": (2.0, 2.0, 8.0)},
                BOTTLE,
            ),
            Region("circle", {"cx": 4.0, "cy": 5.0, "r": 2.5}, {"Name": "2"}),
        ),
    ),
    Annotation("sub/b.jpg", None, ()),
]


def regions():
    return [
        {"shape_attributes": dict(POLYGON), "region_attributes": BOTTLE},
        {"shape_attributes": dict(CIRCLE), "region_attributes": {"Name": "2"}},
    ]


def via_2_export():
    return {
        "a.jpg1234": {
            "filename": "a.jpg",
            "size": 1234,
            "regions": regions(),
            "file_attributes": {},
        },
        "sub/b.jpg-1": {"filename": "sub\\b.jpg", "size": -1, "regions": []},
    }


def via_2_project():
    return {"_via_settings": {"ui": {}}, "_via_img_metadata": via_2_export()}


def via_1_export():
    content = via_2_export()
    for entry in content.values():
        entry["regions"] = {str(i): region for i, region in enumerate(entry["regions"])}
        entry |= {"fileref": "", "base64_img_data": ""}
    del content["sub/b.jpg-1"]["size"]
    return content


def write(folder, content, name="via.json", encoding="utf-8"):
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding)
    return path


def via_csv(folder, first="filename", header_size="file_size"):
    columns = [first, header_size, "file_attributes", "region_count", "region_id"]
    columns += ["region_shape_attributes", "region_attributes"]
    with open(folder / "via.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for i, region in enumerate(regions()):
            cells = map(json.dumps, (region["shape_attributes"], region["region_attributes"]))
            writer.writerow(["a.jpg", 1234, "{}", 2, i, *cells])
        writer.writerow(["sub\\b.jpg", -1, "{}", 0, 0, "{}", "{}"])
    return folder / "via.csv"


@pytest.mark.parametrize("form", [via_2_project, via_2_export, via_1_export])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_json_forms(tmp_path, form, encoding):
    assert read_annotations(write(tmp_path, form(), encoding=encoding)) == EXPECTED


@pytest.mark.parametrize("first", ["filename", "#filename", "\ufefffilename"])
def test_csv_forms(tmp_path, first):
    assert read_annotations(via_csv(tmp_path, first)) == EXPECTED


def test_a_csv_that_excel_saved_has_semicolons(tmp_path):
    path = via_csv(tmp_path)
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=";").writerows(rows)
    assert read_annotations(path) == EXPECTED


def test_csv_rows_of_one_picture_need_not_be_neighbours(tmp_path):
    path = via_csv(tmp_path)
    header, first, second, last = path.read_text().splitlines()
    path.write_text("\n".join([header, first, last, second]))
    assert read_annotations(path) == EXPECTED


def test_the_form_is_found_from_the_content(tmp_path):
    assert read_annotations(write(tmp_path, via_2_project(), "via.csv")) == EXPECTED
    assert read_annotations(via_csv(tmp_path).rename(tmp_path / "csv.json")) == EXPECTED


def test_a_picture_that_occurs_twice_is_given_twice(tmp_path):
    content = via_2_export()
    content["a.jpg99"] = content["a.jpg1234"] | {"size": 99}
    names = [a.file for a in read_annotations(write(tmp_path, content))]
    assert names.count("a.jpg") == 2


@pytest.mark.parametrize(
    ("shape", "numbers"),
    [
        ({"name": "rect", "x": 1, "y": 2, "width": 3, "height": 4}, 4),
        ({"name": "ellipse", "cx": 1, "cy": 2, "rx": 3, "ry": 4}, 4),
        ({"name": "ellipse", "cx": 1, "cy": 2, "rx": 3, "ry": 4, "theta": 0.5}, 5),
        ({"name": "polyline", "all_points_x": [1, 2], "all_points_y": [1, 2]}, 2),
        ({"name": "point", "cx": 1, "cy": 2}, 2),
    ],
)
def test_every_shape(tmp_path, shape, numbers):
    content = {"a": {"filename": "a.jpg", "regions": [{"shape_attributes": shape}]}}
    [annotation] = read_annotations(write(tmp_path, content))
    [region] = annotation.regions
    assert region.shape == shape["name"] and region.attributes == {}
    assert len(region.numbers) == numbers


def broken(change):
    content = via_2_export()
    change(content)
    return content


def shape_of(content):
    return content["a.jpg1234"]["regions"][0]["shape_attributes"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "header lacks filename"),
        ("filename,file_size\na.jpg,3\n", "header lacks region_count"),
        ('{"_via_img_metadata": ', "not whole JSON"),
        ("[1]", "not an object of pictures"),
        ({"_via_img_metadata": []}, "_via_img_metadata"),
        ([{"image": "a.jpg", "annotations": [{"label": "cup"}]}], "CreateML"),
        ({"project": {}, "file": {}, "metadata": {}, "view": {}}, "VIA 3"),
        (broken(lambda c: c["a.jpg1234"].pop("regions")), "a.jpg1234.*'regions'"),
        (broken(lambda c: c["a.jpg1234"].pop("filename")), "'filename'"),
        (broken(lambda c: c["a.jpg1234"].update(filename=3)), "not a text"),
        (broken(lambda c: c["a.jpg1234"].update(regions=3)), "neither a list"),
        (broken(lambda c: c["a.jpg1234"]["regions"].append(3)), r"\[2\] has no object"),
        (broken(lambda c: shape_of(c).pop("all_points_y")), r"\[0\].*lacks 'all_points_y'"),
        (broken(lambda c: shape_of(c).update(name="star")), "'star', not one of polygon"),
        (broken(lambda c: shape_of(c).update(all_points_x=[1, 2])), "2 values .* 3"),
        (broken(lambda c: shape_of(c).update(all_points_x=[1, 2, None])), "not a list of numbers"),
        (broken(lambda c: shape_of(c).update(all_points_x="123")), "not a list of numbers"),
        (broken(lambda c: shape_of(c).update(all_points_x=[1, 2, float("nan")])), "nan"),
        (
            broken(lambda c: c["a.jpg1234"]["regions"][1].update(region_attributes=[1])),
            "region_att",
        ),
    ],
)
def test_errors_name_file_place_and_expectation(tmp_path, content, words):
    path = write(tmp_path, content)
    with pytest.raises(UserError, match=words) as error:
        read_annotations(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_errors_in_csv_name_the_line(tmp_path):
    path = via_csv(tmp_path)
    path.write_text(path.read_text().replace("all_points_y", "all_points_z"))
    with pytest.raises(UserError, match="line 2.*lacks 'all_points_y'"):
        read_annotations(path)
    path.write_text(path.read_text().replace('"{""name"": ""circle""', '"{circle'))
    with pytest.raises(UserError, match="line"):
        read_annotations(path)


def test_missing_file_and_other_encoding(tmp_path):
    with pytest.raises(UserError, match=r"via\.json does not exist"):
        read_annotations(tmp_path / "via.json")
    (tmp_path / "via.json").write_bytes(b"{\xff}")
    with pytest.raises(UserError, match="UTF-8"):
        read_annotations(tmp_path / "via.json")


def annotations(*attributes):
    regions = tuple(Region("point", {"cx": 1.0, "cy": 1.0}, a) for a in attributes)
    return [Annotation("a.jpg", None, regions), Annotation("b.jpg", None, ())]


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ([{"Name": "x", "name": "X"}, {"name": "y"}], "Name"),
        ([{"type": "z", "label": "z", "class": "z"}, {"type": "x"}], "class"),
        ([{"colour": "red", "Label": "y"}], "Label"),
        ([{}, {"species": "x"}], "species"),
        ([{"name": "", "class": "z"}], "class"),
        ([{"name": "undefined", "kind": {"can": True}}], "kind"),
        ([], None),
    ],
)
def test_the_class_attribute_is_found(attributes, expected):
    assert find_class_attribute(annotations(*attributes)) == expected


def test_the_class_attribute_can_be_named():
    both = annotations({"name": "x", "species": "y"})
    assert find_class_attribute(both, "species") == "species"
    with pytest.raises(UserError, match="--class-attribute to one of: name, species"):
        find_class_attribute(both, "Species")


def test_the_class_attribute_cannot_always_be_found():
    with pytest.raises(UserError, match="brand, colour.*--class-attribute"):
        find_class_attribute(annotations({"colour": "red", "brand": "x"}))
    for attributes, said in (
        ({"name": "not_defined", "type": {"cup": True}}, "name 'not_defined' and the type 'cup'"),
        ({"name": "obj1", "class": "cup"}, "name 'obj1' and the class 'cup'; .* name or class"),
    ):  # which was decided in silence
        with pytest.raises(UserError, match=said):
            find_class_attribute(annotations({"name": "a"}, attributes))
        assert find_class_attribute(annotations(attributes), list(attributes)[1])
    with pytest.raises(UserError, match="add a region attribute"):
        find_class_attribute(annotations({}, {"name": ""}))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("bottle", "bottle"),
        (" 2 ", "2"),
        (2, "2"),
        ({"bottle": True}, "bottle"),
        ({"bottle": False, "can": True}, "can"),
        ({"bottle": True, "can": True}, None),
        ({}, None),
        ("", None),
        ("undefined", None),
        (None, None),
        (True, None),
        ([1], None),
    ],
)
def test_class_value(value, expected):
    assert class_value(Region("point", {}, {"name": value}), "name") == expected
    assert class_value(Region("point", {}, {}), "name") is None


def test_options_of_a_project_are_those_of_its_lists(tmp_path):
    content = via_2_project() | {
        "_via_attributes": {
            "region": {
                "Name": {"type": "dropdown", "options": {"3": " cup", " 7 ": "", "9": None}},
                "kind": {"type": "checkbox", "options": {"a": "the first"}, "default_options": {}},
                "note": {"type": "text", "options": {"1": "x"}},
                "icon": {"type": "image", "options": {"1": "http://x.org/cup.png"}},
            },
            "file": {"place": {"type": "radio", "options": {"1": "kitchen"}}},
        }
    }
    project = read_project(write(tmp_path, content))
    assert project.annotations == EXPECTED
    assert project.options == {"Name": {"3": "cup", "7": "", "9": ""}, "kind": {"a": "the first"}}


@pytest.mark.parametrize("form", [via_2_project, via_2_export, via_1_export])
def test_exports_tell_no_options(tmp_path, form):
    assert read_project(write(tmp_path, form())).options == {}


def test_attributes_with_values():
    both = annotations({"name": "x", "brand": ""}, {"kind": {"can": True}, "name": None})
    assert filled_attributes(both) == ["kind", "name"]
    assert filled_attributes([]) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"a": ' * 100_000, "nested too deeply"),
        ('{"a.jpg": ' + "9" * 5000 + "}", "thousands of digits"),
        ('{"a.jpg": {"filename": "\\ud800.jpg", "regions": []}}', "half of a character"),
        ('{"a.jpg": {}, "b.jpg": {}, "a.jpg": {}}', "'a.jpg' occurs twice"),
        ('{"a.jpg": {"filename": ' + json.dumps(["x" * 9999]) + ', "regions": []}}', "not a text"),
    ],
)
def test_what_no_json_of_via_holds(tmp_path, text, words):
    with pytest.raises(UserError, match=words) as error:
        read_annotations(write(tmp_path, text))
    assert len(str(error.value)) < 400 and "\n" not in str(error.value)


@pytest.mark.parametrize("cell", ["[" * 100_000, '{"cx": ' + "9" * 5000 + "}", '{"a":1,"a":2}'])
def test_damaged_cells_are_named_in_a_sentence(tmp_path, cell):
    text = "filename,file_size,region_count,region_shape_attributes,region_attributes\n"
    text += 'a.jpg,1,1,"' + cell.replace('"', '""') + '",{}\n'
    with pytest.raises(UserError, match="line 2: region_shape_attributes is ") as error:
        read_annotations(write(tmp_path, text, "via.csv"))
    assert len(str(error.value)) < 400


def test_cells_of_any_length(tmp_path):
    shape = {"name": "polygon", "all_points_x": [1, 2, 3] * 30_000, "all_points_y": [1, 3] * 45_000}
    text = "filename,file_size,region_count,region_shape_attributes,region_attributes\n"
    text += 'a.jpg,1,1,"' + json.dumps(shape).replace('"', '""') + '",{}\n'
    (annotation,) = read_annotations(write(tmp_path, text, "via.csv"))
    assert len(annotation.regions[0].numbers["all_points_x"]) == 90_000


def test_only_files_are_read(tmp_path):
    """A pipe would block for ever, and some devices never end."""
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "loop.json").symlink_to("loop.json")
    names = [tmp_path / "pipe.json", tmp_path / "loop.json", tmp_path / ("x" * 300 + ".json")]
    for path in [*names, "/dev/zero"]:
        with pytest.raises(UserError, match="is not readable"):
            read_annotations(path)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda h, r: (h + ",region_count", r + ",1"), "header has 'region_count' twice"),
        (lambda h, r: (h, r.rpartition(",")[0]), "line 2: the row has more or fewer cells"),
        (lambda h, r: (h, r + ",1"), "line 2: the row has more or fewer cells"),
    ],
)
def test_a_csv_whose_cells_and_columns_do_not_meet(tmp_path, change, complaint):
    header = ",".join(
        ["filename", "file_size", "file_attributes", "region_count", "region_id"]
        + ["region_shape_attributes", "region_attributes"]
    )
    row = """a.png,1,{},1,0,"{""name"": ""point"", ""cx"": 1, ""cy"": 1}","{""Name"": ""1""}\""""
    path = tmp_path / "x.csv"
    path.write_text("\n".join([header, row]))
    assert len(read_annotations(path)[0].regions) == 1
    path.write_text("\n".join(change(header, row)))
    with pytest.raises(UserError, match=complaint):
        read_annotations(path)
