"""utils/formats/cityscapes.py: outlines of Cityscapes, and what it does not evaluate is void."""

import json

import numpy as np
import pytest

from utils.classes import VOID
from utils.errors import UserError
from utils.formats.cityscapes import (
    is_cityscapes,
    is_cityscapes_folder,
    read_cityscapes,
    read_cityscapes_folder,
)
from utils.label_maps.polygons import draw_regions

STEM = "aachen_000000_000019"


def square(label, start, end, **more):
    corners = [[start, start], [end, start], [end, end], [start, end]]
    return {"label": label, "polygon": corners, **more}


def content(*objects):
    return {"imgHeight": 8, "imgWidth": 12, "objects": list(objects)}


def read(tmp_path, *objects):
    return read_cityscapes(tmp_path / f"{STEM}_gtFine_polygons.json", "", content(*objects))


def drawn(project):
    [annotation] = project.annotations
    names = project.classes.names
    ids = [VOID if r.void else names.index(r.attributes["class"]) for r in annotation.regions]
    return draw_regions(zip(annotation.regions, ids, strict=True), annotation.shape)[0]


def test_classes_are_those_that_are_trained_on_and_the_rest_is_void(tmp_path):
    project = read(
        tmp_path,
        square("road", 1, 6),
        square("cargroup", 2, 4),
        square("license plate", 2, 4),
        square("sky", 2, 4, deleted=1),
        square("static", 5, 5.4),
        square("polegroup", 5, 6),
    )
    assert project.classes.names[:3] == ("background", "road", "sidewalk")
    assert len(project.classes) == 20 and project.classes.colours[1] == (128, 64, 128)
    expected = np.full((8, 12), VOID)
    expected[1:7, 1:7] = 1
    expected[2:5, 2:5] = project.classes.id_of("car")
    expected[5:7, 5:7] = VOID
    assert (drawn(project) == expected).all()


def test_the_picture_lies_in_the_other_folder(tmp_path):
    city = tmp_path / "gtFine" / "train" / "aachen"
    city.mkdir(parents=True)
    (city / f"{STEM}_gtFine_polygons.json").write_text(json.dumps(content(square("sky", 1, 3))))
    picture = f"{STEM}_leftImg8bit.png"
    assert is_cityscapes_folder(city.parent) and not is_cityscapes_folder(tmp_path / "gtFine")
    assert read_cityscapes_folder(city.parent).annotations[0].file == f"aachen/{picture}"
    (tmp_path / "leftImg8bit" / "train" / "aachen").mkdir(parents=True)
    [annotation] = read_cityscapes_folder(city.parent).annotations
    assert annotation.file == f"../../leftImg8bit/train/aachen/{picture}"
    assert annotation.shape == (8, 12)
    [annotation] = read_cityscapes_folder(city).annotations
    assert annotation.file == f"../../../leftImg8bit/train/aachen/{picture}"


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (square("zebra", 1, 3), "'zebra' is no label"),
        ({"polygon": []}, "label"),
        ({"label": "car"}, "polygon"),
        ({"label": "car", "polygon": [[1, 2], [1]]}, "polygon"),
        ({"label": "car", "polygon": [[1, "2"], [1, 2], [3, 4]]}, "'2'"),
        ({"label": "car", "polygon": [[1, float("inf")], [1, 2], [3, 4]]}, "inf"),
    ],
)
def test_what_it_does_not_have_is_refused(tmp_path, entry, said):
    with pytest.raises(UserError) as error:
        read(tmp_path, square("car", 1, 3), entry)
    assert said in str(error.value) and "objects[1]" in str(error.value)


def test_no_sizes_are_refused(tmp_path):
    with pytest.raises(UserError, match="pixels"):
        read_cityscapes(tmp_path / "a.json", "", content() | {"imgWidth": 0})
    assert is_cityscapes("", content()) and not is_cityscapes("", {"objects": []})
