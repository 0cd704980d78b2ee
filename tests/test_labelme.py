"""utils/formats/labelme.py: LabelMe's shapes, folders of its files, and pictures within them."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image, ImageDraw

from utils.errors import UserError
from utils.formats.labelme import (
    extract_pictures,
    is_labelme,
    is_labelme_folder,
    read_labelme,
    read_labelme_folder,
)
from utils.json_text import parse_json
from utils.label_maps.polygons import draw_regions

TRIANGLE = [[1.0, 1.0], [7.9, 1.2], [1.5, 5.9]]


def shape(points=TRIANGLE, kind="polygon", label="cup", **other):
    return {"label": label, "points": points, "shape_type": kind, "group_id": None} | other


def content(*shapes, **other):
    start = {"version": "5.4.1", "flags": {}, "shapes": list(shapes), "imagePath": "a.jpg"}
    return start | {"imageData": None, "imageHeight": 30, "imageWidth": 40} | other


def read(tmp_path, data):
    text = json.dumps(data)
    assert is_labelme(text, data)
    return read_labelme(tmp_path / "a.json", text, parse_json(text))


def region_of(tmp_path, *args, **other):
    (annotation,) = read(tmp_path, content(shape(*args, **other))).annotations
    return annotation.regions[0]


def drawn(tmp_path, *args, **other):
    return draw_regions([(region_of(tmp_path, *args, **other), 1)], (30, 40))[0].astype(bool)


def encoded(image, kind="PNG"):
    file = io.BytesIO()
    image.save(file, kind)
    return base64.b64encode(file.getvalue()).decode()


def test_a_file_is_a_picture(tmp_path):
    (annotation,) = read(tmp_path, content(shape(group_id=1, flags={"cut": True}))).annotations
    assert (annotation.file, annotation.size, annotation.shape) == ("a.jpg", None, (30, 40))
    (region,) = annotation.regions
    assert region.shape == "polygon" and region.attributes == {"class": "cup"} and not region.void
    assert region.numbers == {"all_points_x": (1, 7, 1), "all_points_y": (1, 1, 5)}


def test_old_files_say_less(tmp_path):
    old = {"shapes": [{"label": "cup", "points": TRIANGLE, "line_color": None}]}
    old |= {"lineColor": [0, 255, 0, 128], "imagePath": "a.jpg", "imageData": None}
    (annotation,) = read(tmp_path, old).annotations
    assert annotation.shape is None and annotation.regions[0].shape == "polygon"


def test_a_rectangle_covers_the_pixels_of_its_corners(tmp_path):
    expected = np.zeros((30, 40), bool)
    expected[3:9, 2:12] = True
    np.testing.assert_array_equal(drawn(tmp_path, [[11.2, 3.9], [2.7, 8.0]], "rectangle"), expected)
    corners = [[2.7, 3.9], [11.2, 3.9], [11.2, 8.0], [2.7, 8.0]]
    for kind in ("rectangle", "oriented_rectangle", "rotation", "polygon"):
        np.testing.assert_array_equal(drawn(tmp_path, corners, kind), expected)


def test_a_circle_has_a_centre_and_a_point_on_it(tmp_path):
    image = Image.new("L", (40, 30))
    ImageDraw.Draw(image).ellipse((20 - 10, 15 - 10, 20 + 10, 15 + 10), fill=1)
    circle = drawn(tmp_path, [[20, 15], [26, 23]], "circle")
    assert (circle != np.array(image).astype(bool)).sum() < 12
    assert (circle.sum(axis=0) > 0).sum() == 21


@pytest.mark.parametrize(
    "points",
    [
        [[5.5, 4.2], [33.1, 20.7]],
        [[5, 4], [5, 25]],
        [[-9.5, 4.2], [33.1, 50.7]],
        [[5, 4], [20, 25], [38, 3], [60, 3]],
        [[-20, -30], [-5, -40]],
    ],
)
@pytest.mark.parametrize("sized", [True, False])
def test_lines_are_as_wide_as_labelme_draws_them(tmp_path, points, sized):
    """`ImageDraw.line` with a width of 10, as in labelme/utils/shape.py."""
    image = Image.new("L", (40, 30))
    ImageDraw.Draw(image).line([tuple(p) for p in points], fill=1, width=10)
    size = {} if sized else {"imageHeight": None, "imageWidth": None}
    kind = "line" if len(points) == 2 else "linestrip"
    (annotation,) = read(tmp_path, content(shape(points, kind), **size)).annotations
    labels = draw_regions([(annotation.regions[0], 1)], (30, 40))[0]
    np.testing.assert_array_equal(labels, np.array(image))


def test_points_and_single_points_of_lines_have_no_area(tmp_path):
    assert region_of(tmp_path, [[4, 5]], "point").numbers == {"cx": 4.0, "cy": 5.0}
    for points, kind in (([[4, 5]], "point"), ([[4, 5]], "linestrip"), ([[4, 5]] * 2, "polygon")):
        region = region_of(tmp_path, points, kind)
        labels, (note,) = draw_regions([(region, 1)], (30, 40))
        assert note.kind == "skipped" and not labels.any()


def test_masks(tmp_path):
    mask = np.random.default_rng(0).random((5, 8)) < 0.5
    expected = np.zeros((30, 40), bool)
    expected[12:17, 30:38] = mask
    grey = Image.fromarray(mask.astype(np.uint8) * 255)
    for image, last in ((Image.fromarray(mask), [37.0, 16.0]), (grey, [38.0, 17.0])):
        corners = [[30.0, 12.0], last]
        got = drawn(tmp_path, corners, "mask", mask=encoded(image))
        np.testing.assert_array_equal(got, expected)


def test_background_and_what_is_ignored(tmp_path):
    assert region_of(tmp_path, label="_background_").attributes == {"class": "background"}
    assert region_of(tmp_path, label="__ignore__").void


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.jpg", "a.jpg"),
        ("sub\\b.jpg", "sub/b.jpg"),
        (".\\b.jpg", "b.jpg"),
        ("..\\images\\b.jpg", "../images/b.jpg"),
        ("../../images/b.jpg", "b.jpg"),
        ("images/../../b.jpg", "b.jpg"),
        ("C:\\Users\\me\\b.jpg", "b.jpg"),
        ("\\\\server\\b.jpg", "b.jpg"),
        ("/etc/b.jpg", "b.jpg"),
        ("https://server/b.jpg", "b.jpg"),
    ],
)
def test_names_of_pictures_lead_no_farther_than_beside_the_folder(tmp_path, name, expected):
    assert read(tmp_path, content(imagePath=name)).annotations[0].file == expected


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (content(3), r"shapes\[0\] is no object with a 'label'"),
        (content(shape(label=3)), r"shapes\[0\] is no object with a 'label'"),
        (content(shape(kind=[1])), r"\['shape_type'\] is \[1\], not one of"),
        (content(shape(), shape(kind="cuboid")), r"shapes\[1\]\['shape_type'\] is 'cuboid', not"),
        (content(shape(points=None)), "is None, not .x, y. of each point"),
        (content(shape(points=[])), r"is \[\], not"),
        (content(shape(points=[[1, 2, 3]])), "not .x, y. of each"),
        (content(shape(points=[[1, "2"]])), "not .x, y. of each"),
        (content(shape(points=[[1, float("nan")]])), "not .x, y. of each"),
        (content(shape(points=[[1, 10**400]])), "not .x, y. of each"),
        (content(shape(points=[[1, 1e7]])), "not .x, y. of each"),
        (content(shape(kind="rectangle")), "has 3 points, a rectangle has 2 or 4"),
        (content(shape(kind="circle")), "has 3 points, a circle has 2"),
        (content(shape([[1, 1], [2, 2]], "mask", mask=None)), r"\['mask'\] is no PNG in base64"),
        (content(shape([[1, 1], [2, 2]], "mask", mask="AAAA")), r"\['mask'\] is no PNG .*unknown"),
        (
            content(shape([[1, 1], [2, 2]], "mask", mask=encoded(Image.new("1", (3, 2))))),
            r"has 3 x 2 pixels, but \[\(1, 1\), \(2, 2\)\] are its corner pixels",
        ),
        (
            content(shape([[1, 1], [2, 2]], "mask", mask=encoded(Image.new("RGB", (2, 2))))),
            "is a picture with colours",
        ),
        (
            content(shape([[1, 1], [2, 2]], "mask", mask=encoded(Image.new("L", (2, 2)), "BMP"))),
            "is no PNG",
        ),
        (content(imageHeight=-1), r"are \(-1, 40\), not numbers of pixels"),
        (content(imagePath=None), "'imagePath' is None, not a text"),
        (content(imagePath=".."), "'imagePath' is '..', which names no file"),
        (content(imagePath=""), "names no file"),
        (content(imagePath="a\0.jpg"), "names no file"),
    ],
)
def test_errors_name_file_place_and_expectation(tmp_path, data, words):
    with pytest.raises(UserError, match=words) as error:
        read(tmp_path, data)
    text = str(error.value)
    assert str(tmp_path / "a.json") in text and len(text) < 500 and "\n" not in text


def test_pixels_that_no_memory_holds_are_refused(tmp_path, monkeypatch):
    far = content(shape([[0, 0], [1e6, 1e6]], "line"), imageHeight=None, imageWidth=None)
    with pytest.raises(UserError, match=r"shapes\[0\] is a line from"):
        read(tmp_path, far)
    mask = shape([[0, 0], [9, 9]], "mask", mask=encoded(Image.new("1", (10, 10))))
    monkeypatch.setattr("utils.formats.labelme.MOST_PIXELS", 150)
    read(tmp_path, content(mask))
    with pytest.raises(UserError, match=r"shapes\[1\] is beyond 150 pixels"):
        read(tmp_path, content(mask, mask))
    for name in ("a", "b"):
        (tmp_path / f"{name}.json").write_text(json.dumps(content(mask, imagePath=name)))
    with pytest.raises(UserError, match=r"b.json: shapes\[0\] is beyond 150 pixels"):
        read_labelme_folder(tmp_path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)
    with pytest.raises(UserError, match="is no PNG.*exceeds limit"):
        read(tmp_path, content(mask))


def write_folder(folder, **files):
    for name, data in files.items():
        (folder / f"{name}.json").write_text(data if isinstance(data, str) else json.dumps(data))


def test_folders(tmp_path):
    assert not is_labelme_folder(tmp_path)
    write_folder(tmp_path, classes=["background", "cup"], a_list=[1], damaged="{")
    assert not is_labelme_folder(tmp_path)
    (tmp_path / "damaged.json").unlink()
    write_folder(tmp_path, c=content(imagePath="c.jpg"), b=content(shape(), imagePath="b.jpg"))
    assert is_labelme_folder(tmp_path)
    project = read_labelme_folder(tmp_path)
    assert [a.file for a in project.annotations] == ["b.jpg", "c.jpg"]
    assert [len(a.regions) for a in project.annotations] == [1, 0]
    assert project.remarks == ("a_list.json is not of LabelMe and was passed over",)
    assert project.classes is None


def test_damaged_files_and_two_of_one_picture_are_refused(tmp_path):
    write_folder(tmp_path, a=content(), b='{"shapes": [')
    with pytest.raises(UserError, match="b.json is not readable JSON"):
        read_labelme_folder(tmp_path)
    write_folder(tmp_path, b=content(imagePath=".\\a.jpg"))
    with pytest.raises(UserError, match="b.json: 'imagePath' is .*the picture of a.json; correct"):
        read_labelme_folder(tmp_path)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "TIFF"])
def test_pictures_within_files_are_written(tmp_path, kind):
    data = encoded(Image.new("RGB", (40, 30), "red"), kind)
    write_folder(tmp_path, a=content(imageData=data), other=[1])
    write_folder(tmp_path, b=content(imageData=data, imagePath="..\\..\\b.png"))
    assert extract_pictures(tmp_path) == [tmp_path / "a.jpg", tmp_path / "b.png"]
    assert (tmp_path / "a.jpg").read_bytes() == base64.b64decode(data)
    assert extract_pictures(tmp_path / "a.json") == []  # it is there now


def test_no_file_is_written_over(tmp_path):
    data = encoded(Image.new("RGB", (40, 30)))
    (tmp_path / "x").mkdir()
    write_folder(tmp_path / "x", a=content(imageData=data), b=content(imageData=data))
    write_folder(tmp_path / "x", b=content(imageData=data, imagePath="../b.jpg"))
    (tmp_path / "x" / "a.jpg").symlink_to("nowhere")
    (tmp_path / "b.jpg").write_bytes(b"a picture")
    assert extract_pictures(tmp_path / "x") == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b.jpg", "x"]
    assert len(list((tmp_path / "x").iterdir())) == 3


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"imagePath": "run.py"}, "'run.py' does not end as a picture's"),
        ({"imageData": encoded(Image.new("RGB", (40, 30)), "GIF")}, "is no JPEG or PNG or BMP"),
        ({"imageData": encoded(Image.new("RGB", (40, 30)))[:80]}, "is no JPEG or PNG or BMP"),
        ({"imageData": "cup"}, "is no JPEG"),
        ({"imageData": [1]}, "is no JPEG"),
        ({"imageData": encoded(Image.new("RGB", (30, 40)))}, r"of \(40, 30\), not of \(30, 40\)"),
    ],
)
def test_nothing_but_pictures_is_written(tmp_path, other, words):
    data = {"imageData": encoded(Image.new("RGB", (40, 30)))} | other
    write_folder(tmp_path, a=content(**data))
    with pytest.raises(UserError, match=words) as error:
        extract_pictures(tmp_path)
    assert str(tmp_path / "a.json") in str(error.value) and "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("other", [None, [], {"shapes": {}}, {"shapes": []}, {"imagePath": "a"}])
def test_other_files_are_not_taken_for_it(other):
    assert not is_labelme("", other)
