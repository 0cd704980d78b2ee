"""utils/formats/supervisely.py: shapes as Supervisely's SDK draws them, classes of meta.json."""

import base64
import io
import json
import zlib

import numpy as np
import pytest
from PIL import Image

from utils.errors import UserError
from utils.formats.supervisely import (
    is_supervisely,
    is_supervisely_folder,
    read_supervisely,
    read_supervisely_folder,
)
from utils.label_maps.polygons import draw_regions

META = {
    "classes": [
        {"title": "cup", "shape": "polygon", "color": "#fa3253"},
        {"title": "plate", "shape": "bitmap", "color": "none"},
    ],
    "tags": [],
}
# Of the docstring of `Bitmap.base64_2_data` in supervisely/geometry/bitmap.py: a ring of 3 x 3.
RING = (
    "eJzrDPBz5+WS4mJgYOD19HAJAtLMIMwIInOeqf8BUmwBPiGuQPr///9Lb86/C2QxlgT5BTM4PLuRBuTwebo4hlTMSa44"
    "sKHhISMDuxpTYrr03F6gDIOnq5/LOqeEJgDM5ht6"
)


def figure(kind, exterior=(), interior=(), title="cup", **more):
    points = {"exterior": list(exterior), "interior": list(interior)}
    return {"classTitle": title, "geometryType": kind, "points": points, **more}


def bitmap(data, origin=(3, 2)):
    return {"classTitle": "plate", "geometryType": "bitmap"} | {
        "bitmap": {"data": data, "origin": list(origin)}
    }


def content(*objects):
    return {"description": "", "tags": [], "size": {"height": 8, "width": 12}} | {
        "objects": list(objects)
    }


def read(tmp_path, *objects):
    return read_supervisely(tmp_path / "a.jpg.json", "", content(*objects))


def drawn(project):
    """The label map of the first picture, its regions numbered from 1."""
    annotation = project.annotations[0]
    pairs = [(region, number) for number, region in enumerate(annotation.regions, start=1)]
    return draw_regions(pairs, annotation.shape)[0]


def png(picture, compressed=True, **options):
    file = io.BytesIO()
    picture.save(file, "PNG", **options)
    data = zlib.compress(file.getvalue()) if compressed else file.getvalue()
    return base64.b64encode(data).decode()


def project_folder(root, *sets):
    (root / "meta.json").write_text(json.dumps(META))
    for name in sets:
        (root / name / "ann").mkdir(parents=True)
        (root / name / "img").mkdir()
        polygon = figure("polygon", [[1, 1], [4, 1], [4, 4], [1, 4]])
        (root / name / "ann" / "a.jpg.json").write_text(json.dumps(content(polygon)))
        Image.new("RGB", (12, 8)).save(root / name / "img" / "a.jpg")
    return root


def test_polygons_and_rectangles_cover_their_outlines_and_lie_in_order(tmp_path):
    project = read(
        tmp_path,
        figure("polygon", [[1, 1], [6, 1], [6, 6], [1, 6]]),
        figure("rectangle", [[5, 7], [3, 4]]),
    )
    expected = np.zeros((8, 12))
    expected[1:7, 1:7] = 1
    expected[4:8, 3:6] = 2
    assert (drawn(project) == expected).all()
    [annotation] = project.annotations
    assert (annotation.file, annotation.shape, annotation.size) == ("a.jpg", (8, 12), None)
    assert annotation.regions[0].attributes == {"class": "cup"}
    assert project.classes is None and project.remarks == ()


def test_a_hole_is_without_its_outline(tmp_path):
    """As cv2.fillPoly does it: the outer outline with 1, then that of the hole with 0."""
    hole = [[3, 3], [5, 3], [5, 5], [3, 5]]
    project = read(tmp_path, figure("polygon", [[1.4, 1], [8, 1], [8, 7], [1.4, 7]], [hole]))
    expected = np.zeros((8, 12))
    expected[1:8, 1:9] = 1
    expected[3:6, 3:6] = 0
    assert (drawn(project) == expected).all()


def test_bitmaps_of_the_sdk(tmp_path):
    expected = np.zeros((8, 12))
    expected[2:5, 3:6] = 1
    expected[3, 4] = 0
    assert (drawn(read(tmp_path, bitmap(RING))) == expected).all()


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "L", "1", "P"])
def test_bitmaps_of_every_kind_of_png(tmp_path, mode, compressed):
    covered = np.array([[1, 0], [1, 1], [0, 1]], bool)
    values = (covered * 255).astype(np.uint8)
    options = {}
    if mode in ("RGBA", "LA"):
        colour = np.full((3, 2, len(mode) - 1), 200, np.uint8)  # black or not says nothing
        picture = Image.fromarray(np.concatenate([colour, values[..., None]], axis=2))
        assert picture.mode == mode
    elif mode == "P":
        picture, options = Image.fromarray(covered.astype(np.uint8)), {"transparency": 0}
        picture.putpalette([255, 255, 255, 0, 0, 0])
    else:
        picture = Image.fromarray(values).convert(mode)
    labels = drawn(read(tmp_path, bitmap(png(picture, compressed, **options), (0, 0))))
    assert (labels[:3, :2] == covered).all() and labels.sum() == 4


def test_what_has_no_area_is_left_out_and_told(tmp_path):
    project = read(tmp_path, figure("point", [[1, 1]]), figure("line", [[1, 1], [2, 2]]))
    assert project.annotations[0].regions == ()
    assert project.remarks == (
        "a point has no area, left out: 1",
        "a line has no area, left out: 1",
    )


def test_old_projects_tell_the_shape_in_meta(tmp_path):
    project_folder(tmp_path, "ds")
    old = figure("", [[1, 1], [4, 1], [4, 4]], bitmap=None)
    del old["geometryType"]
    path = tmp_path / "ds" / "ann" / "b.json"
    assert read_supervisely(path, "", content(old)).annotations[0].regions[0].shape == "polygon"


@pytest.mark.parametrize(
    ("folder", "files"),
    [
        (".", ["one/img/a.jpg", "two/datasets/inner/img/a.jpg"]),
        ("one", ["img/a.jpg"]),
        ("one/ann", ["../img/a.jpg"]),
    ],
)
def test_projects_data_sets_and_folders_of_annotations(tmp_path, folder, files):
    project_folder(tmp_path, "one", "two/datasets/inner")
    assert is_supervisely_folder(tmp_path / folder)
    project = read_supervisely_folder(tmp_path / folder)
    assert project.classes.names == ("background", "cup", "plate")
    assert project.classes.colours == ((0, 0, 0), (250, 50, 83), (0, 128, 0))
    assert [annotation.file for annotation in project.annotations] == files


def test_a_picture_is_found_by_its_stem_where_the_name_lacks_its_end(tmp_path):
    project_folder(tmp_path, "ds")
    ann = tmp_path / "ds" / "ann"
    (ann / "a.jpg.json").rename(ann / "a.json")
    assert read_supervisely_folder(ann).annotations[0].file == "../img/a.jpg"
    text = (ann / "a.json").read_text()
    [annotation] = read_supervisely(ann / "a.json", text, json.loads(text)).annotations
    assert annotation.file == "../img/a.jpg"


def test_folders_of_other_programs_are_none(tmp_path):
    assert not is_supervisely_folder(tmp_path)
    (tmp_path / "a.json").write_text('{"shapes": []}')
    assert not is_supervisely_folder(tmp_path)
    (tmp_path / "a.json").write_text("{")
    assert not is_supervisely_folder(tmp_path)
    assert is_supervisely("", content()) and is_supervisely("", META)
    assert not is_supervisely("", {"classes": [{"id": 0, "name": "background"}]})
    assert not is_supervisely("", {"objects": [], "imgHeight": 1, "imgWidth": 1})


def test_meta_alone_is_refused_with_a_cure(tmp_path):
    with pytest.raises(UserError, match="meta.json lists the classes .* give its folder"):
        read_supervisely(tmp_path / "meta.json", "", META)


def test_a_class_list_that_is_none_is_refused(tmp_path):
    project_folder(tmp_path, "ds")
    for text, said in (
        ('{"classes": {}}', "no list 'classes'"),
        ('{"classes": [{"title": "a"}, {"title": "A"}]}', "'A' occurs twice"),
        ("{", "not readable JSON"),
    ):
        (tmp_path / "meta.json").write_text(text)
        with pytest.raises(UserError, match=f"meta.json.*{said}"):
            read_supervisely_folder(tmp_path)


HUGE = figure("polygon", [[0, 0], [10**8, 0], [10**8, 10**8]], [[[1, 1], [2, 1], [2, 2]]])
BOMB = base64.b64encode(zlib.compress(bytes(2**20))).decode()
REFUSED = {
    "shape": (figure("alpha_mask"), "geometryType 'alpha_mask'"),
    "no shape": (figure(None, [[1, 1], [2, 2], [3, 1]]), "geometryType None"),
    "no title": ({"geometryType": "point"}, "classTitle"),
    "no points": (figure("polygon"), "points"),
    "half a point": (figure("polygon", [[1], [2, 2], [3, 1]]), "points"),
    "words": (figure("polygon", [["1", 1], [2, 2], [3, 1]]), "'1'"),
    "endless": (figure("polygon", [[float("nan"), 1], [2, 2], [3, 1]]), "'nan'"),
    "hole of nothing": (figure("polygon", [[1, 1], [2, 2], [3, 1]], [[]]), "points"),
    "rectangle of three": (figure("rectangle", [[1, 1], [2, 2], [3, 1]]), "3 corners"),
    "no bitmap": (figure("bitmap"), "bitmap"),
    "no origin": (bitmap(RING, ()), "origin"),
    "half an origin": (bitmap(RING, (0.5, 1)), "whole number"),
    "no base64": (bitmap("?" + RING), "no PNG of a bitmap"),
    "half": (bitmap(RING[:80]), "no PNG of a bitmap"),
    "no picture": (bitmap(base64.b64encode(zlib.compress(b"x")).decode()), "no PNG of a bitmap"),
    "colours": (bitmap(png(Image.new("RGB", (2, 2)))), "colours: RGB"),
    "huge": (HUGE, "more than a photograph"),
}


@pytest.mark.parametrize(("entry", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_what_supervisely_does_not_write_is_refused(tmp_path, entry, said):
    with pytest.raises(UserError) as error:
        read(tmp_path, figure("point", [[1, 1]]), entry)
    sentence = str(error.value)
    assert said in sentence and "a.jpg.json: objects[1]" in sentence
    assert len(sentence.splitlines()) == 1


def test_bitmaps_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("utils.formats.supervisely.MOST_BYTES", 1000)
    with pytest.raises(UserError, match="more than 1,000 bytes"):
        read(tmp_path, bitmap(BOMB))
    monkeypatch.setattr("utils.formats.supervisely.MOST_PIXELS_OF_ALL", 20)
    with pytest.raises(UserError, match=r"objects\[2\]: up to here bitmaps have more than 20"):
        read(tmp_path, bitmap(RING), bitmap(RING), bitmap(RING))
    monkeypatch.setattr("utils.formats.supervisely.MOST_PIXELS", 8)
    with pytest.raises(UserError, match="3 x 3 pixels, more than a photograph"):
        read(tmp_path, bitmap(RING))


def test_sizes_are_needed(tmp_path):
    for size in ({}, {"height": 0, "width": 1}, {"height": 1.5, "width": 1}):
        with pytest.raises(UserError, match="'size', 'height'"):
            read_supervisely(tmp_path / "a.json", "", content() | {"size": size})
