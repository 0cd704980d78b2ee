"""utils/formats/coco.py: objects in COCO's format, as different programs write it."""

import json

import numpy as np
import pytest

from utils.errors import UserError
from utils.formats.coco import is_coco, read_coco
from utils.generate_gt_segmentation import make_labels
from utils.json_text import parse_json
from utils.label_maps.polygons import draw_regions
from utils.reading import Reading

SQUARE = [[1, 1, 5, 1, 5, 4, 1, 4]]


def picture(**other):
    return {"id": 1, "file_name": "a.jpg", "width": 9, "height": 7} | other


def annotation(**other):
    return {"id": 1, "image_id": 1, "category_id": 3, "segmentation": SQUARE, "iscrowd": 0} | other


def content(*annotations, images=None, categories=None):
    return {
        "images": images or [picture()],
        "annotations": list(annotations),
        "categories": categories or [{"id": 3, "name": "cup", "supercategory": "dish"}],
    }


def read(tmp_path, data):
    text = json.dumps(data)
    assert is_coco(text, data)
    return read_coco(tmp_path / "coco.json", text, parse_json(text))


def labels(project, shape=(7, 9), index=0):
    """The label map of a picture; void is 255."""
    pairs = [
        (region, 255 if region.void else project.classes.id_of(region.attributes["class"]))
        for region in project.annotations[index].regions
    ]
    return draw_regions(pairs, shape)[0]


def runs_of(mask):
    """Uncompressed runs, by columns, beginning with those outside."""
    flat = mask.T.ravel().astype(int)
    changes = np.flatnonzero(np.diff(np.concatenate([[0], flat])))
    return np.diff(np.concatenate([[0], changes, [flat.size]])).tolist()


def blobs(seed=0, shape=(37, 53)):
    """A random mask of round shapes."""
    rng = np.random.default_rng(seed)
    y, x = np.indices(shape)
    mask = np.zeros(shape, bool)
    for _ in range(4):
        cy, cx, r = rng.uniform(0, shape[0]), rng.uniform(0, shape[1]), rng.uniform(2, 12)
        mask ^= (y - cy) ** 2 + (x - cx) ** 2 < r**2
    return mask


def test_polygons_of_an_object_are_drawn_together(tmp_path):
    """Where they overlap, too; they count from the corner of the picture."""
    both = annotation(segmentation=[*SQUARE, [4.0, 3.0, 8.0, 3.0, 8.0, 6.0, 4.0, 6.0]])
    project = read(tmp_path, content(both))
    expected = np.zeros((7, 9), np.uint8)
    expected[1:4, 1:5] = expected[3:6, 4:8] = 1
    np.testing.assert_array_equal(labels(project), expected)
    (record,) = project.annotations
    assert (record.file, record.size, record.shape) == ("a.jpg", None, (7, 9))
    assert record.regions[0].numbers["rings"] == (((1.0, 1.0), (5.0, 1.0), (5.0, 4.0), (1.0, 4.0)),)
    assert project.remarks == ()


@pytest.mark.parametrize("seed", range(3))
def test_uncompressed_runs_are_bitmaps_cropped_to_their_box(tmp_path, seed):
    mask = blobs(seed)
    data = content(
        annotation(segmentation={"counts": runs_of(mask), "size": list(mask.shape)}),
        images=[picture(width=53, height=37)],
    )
    project = read(tmp_path, data)
    np.testing.assert_array_equal(labels(project, mask.shape), mask.astype(np.uint8))
    numbers = project.annotations[0].regions[0].numbers
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    assert (numbers["x"], numbers["y"]) == (columns[0], rows[0])
    assert numbers["bitmap"].shape == (np.ptp(rows) + 1, np.ptp(columns) + 1)
    assert numbers["bitmap"].base is None or numbers["bitmap"].base.size == numbers["bitmap"].size


@pytest.mark.parametrize("inside", [False, True])
def test_runs_of_nothing_and_of_all(tmp_path, inside):
    runs = [0, 63] if inside else [63]
    data = content(annotation(segmentation={"counts": runs, "size": [7, 9]}))
    assert (labels(read(tmp_path, data)) == inside).all()


def test_compressed_runs(tmp_path):
    """The text is what pycocotools 2.0.11 makes of this mask."""
    mask = np.zeros((7, 9), bool)
    mask[1:4, 2:6] = mask[5, 7] = True
    segmentation = {"counts": "?3400000;NI", "size": [7, 9]}
    data = content(annotation(segmentation=segmentation), images=[picture(width=None, height=None)])
    np.testing.assert_array_equal(labels(read(tmp_path, data)), mask.astype(np.uint8))


@pytest.mark.parametrize("seed", range(20))
def test_masks_are_those_of_pycocotools(tmp_path, seed):
    library = pytest.importorskip("pycocotools.mask")
    mask = blobs(seed)
    coded = library.encode(np.asfortranarray(mask.astype(np.uint8)))
    segmentation = {"counts": coded["counts"].decode(), "size": [37, 53]}
    plain = {"counts": runs_of(mask), "size": [37, 53]}
    assert library.frPyObjects(plain, 37, 53)["counts"] == coded["counts"]
    for each in (segmentation, plain):
        images = [picture(width=53, height=37)]
        project = read(tmp_path, content(annotation(segmentation=each), images=images))
        np.testing.assert_array_equal(labels(project, (37, 53)), mask.astype(np.uint8))


def test_polygons_are_nearly_those_of_pycocotools(tmp_path):
    """Which draws them on a grid five times as fine, and rounds: half a pixel here and there."""
    library = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(0)
    for _ in range(50):
        turn = np.sort(rng.uniform(0, 2 * np.pi, 12))
        radius = rng.uniform(10, 45, 12)
        points = np.stack([60 + radius * np.cos(turn), 50 + radius * np.sin(turn)], axis=1)
        polygon = points.round(2).ravel().tolist()
        coded = library.merge(library.frPyObjects([polygon], 100, 120))
        expected = library.decode(coded).astype(bool)
        images = [picture(width=120, height=100)]
        data = content(annotation(segmentation=[polygon]), images=images)
        drawn = labels(read(tmp_path, data), (100, 120)).astype(bool)
        assert (drawn & expected).sum() / (drawn | expected).sum() > 0.97


def test_no_number_is_void_where_classes_have_names(tmp_path):
    (tmp_path / "coco.json").write_text(json.dumps(content(annotation())))
    with pytest.raises(UserError, match="coco.json names its classes.*leave --void out"):
        make_labels(tmp_path / "coco.json", reading=Reading(void=(3,)))


def test_crowds_are_void_and_lie_below_what_is_traced(tmp_path):
    runs = {"counts": [0, 63], "size": [7, 9]}
    project = read(tmp_path, content(annotation(), annotation(id=2, segmentation=runs, iscrowd=1)))
    expected = np.full((7, 9), 255, np.uint8)
    expected[1:4, 1:5] = 1
    np.testing.assert_array_equal(labels(project), expected)
    assert project.remarks == ("crowds and what is to be ignored, which is void: 1 annotations",)
    ignored = read(tmp_path, content(annotation(iscrowd=False, ignore=1)))
    assert set(np.unique(labels(ignored))) == {0, 255}


def test_categories_with_gaps_in_any_order(tmp_path):
    categories = [
        {"id": 90, "name": "plate"},
        {"id": 7, "name": " cup ", "color": [220, 20, 60]},
        {"id": 8, "name": "BackGround", "color": "#010203"},
        {"id": 10, "name": "fork", "color": "crimson"},
    ]
    marks = [
        annotation(category_id=90),
        annotation(category_id=8, segmentation=[[1, 1, 3, 1, 3, 3]]),
    ]
    project = read(tmp_path, content(*marks, categories=categories))
    assert project.classes.names == ("background", "cup", "fork", "plate")
    assert project.classes.colours[:3] == ((1, 2, 3), (220, 20, 60), (0, 128, 0))
    assert labels(project).max() == 3
    assert labels(project)[1, 2] == 0


def test_pictures_without_annotations_are_background(tmp_path):
    images = [picture(), picture(id=2, file_name="sub\\b.jpg")]
    project = read(tmp_path, content(annotation(), images=images))
    assert [a.file for a in project.annotations] == ["a.jpg", "sub/b.jpg"]
    assert project.annotations[1].regions == ()
    assert read(tmp_path, content()).classes.names == ("background", "cup")


def test_what_via_exports(tmp_path):
    """Ids as texts, and the numbers of a polygon without a list around them."""
    data = content(annotation(image_id="1", category_id="3", segmentation=SQUARE[0]))
    assert labels(read(tmp_path, data)).sum() == 12
    data["images"][0]["id"] = 1.0
    assert labels(read(tmp_path, data)).sum() == 12


@pytest.mark.parametrize("name", ["dishes", "cup"])
def test_the_category_that_roboflow_adds_is_no_class(tmp_path, name):
    """It may have the name of a class: then the set is called like it."""
    root = {"id": 0, "name": name, "supercategory": "none"}
    others = [
        {"id": 1, "name": "cup", "supercategory": name},
        {"id": 2, "name": "plate", "supercategory": name},
    ]
    project = read(tmp_path, content(annotation(category_id=2), categories=[root, *others]))
    assert project.classes.names == ("background", "cup", "plate")
    assert f"category 0 {name!r}" in project.remarks[0]
    assert labels(project).max() == 2


@pytest.mark.parametrize(
    ("root", "used"),
    [
        ({"id": 0, "name": "dishes", "supercategory": "none"}, 0),  # something is of it
        ({"id": 0, "name": "dishes", "supercategory": "dishes"}, 1),
        ({"id": 0, "name": "knife", "supercategory": "none"}, 1),
    ],
)
def test_other_categories_that_nothing_uses_are_classes(tmp_path, root, used):
    others = [{"id": 1, "name": "cup", "supercategory": "dishes"}]
    project = read(tmp_path, content(annotation(category_id=used), categories=[root, *others]))
    assert project.classes.names == ("background", root["name"], "cup")


CUP = {"id": 3, "name": "cup"}
RUNS = {"counts": [63], "size": [7, 9]}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"images": [], "categories": []}, "no list 'annotations'"),
        ({"images": [], "annotations": []}, "no list 'categories'"),
        (content(3), r"annotations\[0\] is 3, not an object"),
        (
            content(annotation(category_id=4)),
            r"annotations\[0\]\['category_id'\] is '4', an id that",
        ),
        (content(annotation(category_id=None)), "'category_id'.* is None"),
        (content(annotation(category_id=True)), "'category_id'.* is True"),
        (content(annotation(image_id=2)), r"annotations\[0\]\['image_id'\] is '2', an id that"),
        (content(images=[picture(), picture()]), r"images\[1\] has the id 1 of another"),
        (content(images=[picture(), picture(id="1")]), r"images\[1\] has the id 1 of another"),
        (content(images=[picture(file_name=None)]), "'file_name'.* is None"),
        (content(images=[picture(height=-7)]), "the height -7 and the width 9"),
        (content(images=[picture(height=10**12)]), "the height 1000000000000"),
        (content(categories=[CUP, CUP]), r"categories\[1\] has the id 3 of another"),
        (content(categories=[CUP, {"id": 4, "name": "Cup "}]), "'Cup' occurs twice; rename"),
        (content(categories=[CUP, {"id": 4}]), r"categories\[1\]\['name'\] is None"),
        (
            content(categories=[{"id": i, "name": f"c{i}"} for i in range(255)]),
            "256 classes, not 1 to 255; rename or merge",
        ),
        (content(annotation(segmentation=[])), "1 of 1 annotations are boxes.*trace the objects"),
        (content(annotation(segmentation=[[], []])), "are boxes"),
        (content(annotation(segmentation=None)), "are boxes"),
        (
            content(annotation(), annotation(segmentation=[[]], keypoints=[1, 2, 2])),
            r"1 of 2 annotations are keypoints .*annotations\[1\]",
        ),
        (content({"image_id": 1, "caption": "a cup"}), "is a caption; name the file of objects"),
        (content({"image_id": 1, "segments_info": []}), "panoptic.*panoptic2semantic.*--masks"),
        (
            content(annotation(segmentation=RUNS, iscrowd=1, attributes={"occluded": False})),
            "is a crowd .*'CVAT for images 1.1'",
        ),
        (content(annotation(iscrowd="0")), "'iscrowd'.* is '0', not 0 or 1"),
        (content(annotation(segmentation="cup")), "neither polygons nor runs"),
        (content(annotation(segmentation=[[1, 2, 3]])), "not x and y of each corner"),
        (content(annotation(segmentation=[[[1, 2], [3, 4]]])), "not x and y of each corner"),
        (content(annotation(segmentation=[[1, 2, 3, "4"]])), "not x and y of each corner"),
        (content(annotation(segmentation=[[1, 2, 3, float("nan")]])), "not x and y of each"),
        (content(annotation(segmentation=[[1, 2, 3, 10**400]])), "not x and y of each"),
        (content(annotation(segmentation=RUNS | {"size": [9, 7]})), r"not the picture's \[7, 9\]"),
        (content(annotation(segmentation=RUNS | {"size": [63]})), "'size'"),
        (content(annotation(segmentation=RUNS | {"counts": [62]})), "not runs of 7 x 9 pixels"),
        (content(annotation(segmentation=RUNS | {"counts": [64]})), "not runs of 7 x 9 pixels"),
        (content(annotation(segmentation=RUNS | {"counts": [70, -7]})), "not runs"),
        (content(annotation(segmentation=RUNS | {"counts": [63.0]})), "not runs"),
        (content(annotation(segmentation=RUNS | {"counts": None})), "not runs"),
        (content(annotation(segmentation=RUNS | {"counts": "\0\0"})), "not runs"),
        (content(annotation(segmentation=RUNS | {"counts": "?3"})), "not runs"),  # ends too early
        (content(annotation(segmentation=RUNS | {"counts": "o" * 99})), "not runs"),
    ],
)
def test_errors_name_file_place_and_expectation(tmp_path, data, words):
    with pytest.raises(UserError, match=words) as error:
        read(tmp_path, data)
    text = str(error.value)
    assert str(tmp_path / "coco.json") in text and len(text) < 600 and "\n" not in text


def test_pixels_that_no_memory_holds_are_refused(tmp_path, monkeypatch):
    images = [picture(width=None, height=None)]
    runs = {"counts": [0, 10**12], "size": [10**6, 10**6]}
    with pytest.raises(UserError, match=r"'size'\] is \[1000000, 1000000\]"):
        read(tmp_path, content(annotation(segmentation=runs), images=images))
    monkeypatch.setattr("utils.formats.coco.MOST_PIXELS", 100)
    runs = {"counts": [0, 63], "size": [7, 9]}
    read(tmp_path, content(annotation(segmentation=runs)))
    with pytest.raises(UserError, match=r"annotations\[1\] is beyond 100 pixels"):
        read(tmp_path, content(*[annotation(segmentation=runs)] * 2))


@pytest.mark.parametrize("other", [None, [], {"images": {}}, {"images": []}, {"shapes": []}])
def test_other_files_are_not_taken_for_it(other):
    assert not is_coco("", other)
