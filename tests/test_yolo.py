"""utils/formats/yolo.py: outlines of text files, names of classes, and pictures without them."""

import numpy as np
import pytest
from PIL import Image

from utils.errors import UserError
from utils.formats.yolo import is_yolo_folder, read_yolo_folder
from utils.label_maps.polygons import draw_regions

SQUARE = "0.2 0.25 0.5 0.25 0.5 0.75 0.2 0.75"  # of 10 x 8 pixels: x from 2 to 5, y from 2 to 6


def put(root, texts, labels="labels/train", images="images/train", size=(10, 8), end=".jpg"):
    """Text files by their stems, None for a picture without one, and all of their pictures."""
    for folder in (labels, images):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for stem, text in texts.items():
        if text is not None:
            (root / labels / f"{stem}.txt").write_text(text, encoding="utf-8")
        Image.new("RGB", size).save(root / images / f"{stem}{end}")
    return root / labels


def classes_of(annotation):
    return [region.attributes["class"] for region in annotation.regions]


@pytest.mark.parametrize(
    ("labels", "images", "file"),
    [
        ("labels/train", "images/train", "../../images/train/a.jpg"),
        ("train/labels", "train/images", "../images/a.jpg"),
        ("labels", "images", "../images/a.jpg"),
        ("labels/labels/train", "labels/images/train", "../../images/train/a.jpg"),
        ("train", "train", "a.jpg"),
        ("labels/train", "labels/train", "a.jpg"),
    ],
)
def test_pictures_are_found_from_the_text_files(tmp_path, labels, images, file):
    folder = put(tmp_path, {"a": f"1 {SQUARE}\n", "b": ""}, labels, images)
    (tmp_path / "data.yaml").write_text("path: .\ntrain: x\nnames: ['cup', plate]\n")
    assert is_yolo_folder(folder)
    project = read_yolo_folder(folder)
    assert project.classes.names == ("background", "cup", "plate")
    first, second = project.annotations
    assert (first.file, first.shape, first.size) == (file, (8, 10), None)
    assert classes_of(first) == ["plate"] and second.regions == ()
    labels, _ = draw_regions([(first.regions[0], 2)], first.shape)
    expected = np.zeros((8, 10))
    expected[2:6, 2:5] = 2
    assert (labels == expected).all()
    assert project.remarks == ()


def test_the_folder_of_a_part_stands_for_its_labels(tmp_path):
    put(tmp_path, {"a": f"0 {SQUARE}"}, "train/labels", "train/images")
    assert is_yolo_folder(tmp_path / "train")
    [annotation] = read_yolo_folder(tmp_path / "train").annotations
    assert annotation.file == "images/a.jpg" and len(annotation.regions) == 1


def test_fractions_are_of_the_picture_as_it_is_looked_at(tmp_path):
    folder = put(tmp_path, {"a": f"0 {SQUARE}"})
    exif = Image.Exif()
    exif[274] = 6  # a quarter turn
    Image.new("RGB", (10, 8)).save(tmp_path / "images/train/a.jpg", exif=exif)
    [annotation] = read_yolo_folder(folder).annotations
    assert annotation.shape == (10, 8)
    assert annotation.regions[0].numbers["rings"][0][0] == pytest.approx((0.2 * 8, 0.25 * 10))


def test_pictures_without_text_and_text_without_pictures_are_told(tmp_path):
    folder = put(tmp_path, {"a": f"0 {SQUARE}", "b": None, "c": None})
    (folder / "lost.txt").write_text("this is not read")
    project = read_yolo_folder(folder)
    assert [len(annotation.regions) for annotation in project.annotations] == [1, 0, 0]
    assert "pictures without a text file, which YOLO takes for background: 2" in project.remarks
    assert any("1, first lost.txt" in remark for remark in project.remarks)


def test_no_picture_at_all_is_refused(tmp_path):
    folder = put(tmp_path, {"a": f"0 {SQUARE}"})
    (tmp_path / "images/train/a.jpg").rename(tmp_path / "images/train/b.jpg")
    with pytest.raises(UserError, match=r"images/train has no picture .* such as a.txt"):
        read_yolo_folder(folder)


def test_an_unreadable_picture_is_left_to_who_reads_it(tmp_path):
    folder = put(tmp_path, {"a": f"0 {SQUARE}"})
    (tmp_path / "images/train/a.jpg").write_bytes(b"no picture")
    [annotation] = read_yolo_folder(folder).annotations
    assert annotation.regions == () and annotation.shape is None


def test_stems_are_compared_in_one_form(tmp_path):
    folder = put(tmp_path, {"u\u0308ber.rf.1": None})
    (folder / "\u00fcber.rf.1.txt").write_text(f"0 {SQUARE}")
    [annotation] = read_yolo_folder(folder).annotations
    assert len(annotation.regions) == 1


def test_the_smaller_outline_lies_on_top(tmp_path):
    whole = "0 0 1 0 1 1 0 1"
    folder = put(tmp_path, {"a": f"1 {SQUARE}\n0 {whole}\n", "b": f"0 {SQUARE}\n"})
    project = read_yolo_folder(folder)
    assert classes_of(project.annotations[0]) == ["class 1", "class 2"]
    assert project.remarks[-1] == "where outlines overlap, the smaller lies on top, as in YOLO"


def test_without_names_classes_are_numbered_from_1_and_that_is_told(tmp_path):
    project = read_yolo_folder(put(tmp_path, {"a": f"0 {SQUARE}", "b": f"2.0 {SQUARE}"}))
    assert project.classes.names == ("background", "class 1", "class 2", "class 3")
    assert classes_of(project.annotations[1]) == ["class 3"]
    assert "neither data.yaml nor classes.txt names the classes" in project.remarks[0]


YAMLS = {
    "names: [cup, 'big plate', \"caf\\u00e9\"]  # three\nnc: 3\n": ["cup", "big plate", "café"],
    "nc: 2\nnames: ['it''s', 'a, b: #c']\n": ["it's", "a, b: #c"],
    "names: [cup,\n  plate,\n]\nnc: 2\n": ["cup", "plate"],
    "names:\n- cup\n- plate  # flat\n\n# more\n- 'x'\ntrain: y\n": ["cup", "plate", "x"],
    "names:  # of things\n  - cup\n  - c#\nroboflow:\n  license: x\n": ["cup", "c#"],
    "train: a\nnames:\n  0: cup\n  1: 'a: b'\n  2: t-shirt\n": ["cup", "a: b", "t-shirt"],
    "names:\r\n  1: plate\r\n  0: cup\r\n": ["cup", "plate"],
    "names: {0: cup, 1: 'plate', }\n": ["cup", "plate"],
    "names: {'0': cup, \"1\": plate}": ["cup", "plate"],
    "names: [0, 1, no, c#]\n": ["0", "1", "no", "c#"],
    'names: {0: "\\xFCber", 1: "\\\\x41"}': ["über", "\\x41"],
    "\ufeffnames: [cup]\ndownload: |\n  import os\n  names: [x]\n": ["cup"],
}


@pytest.mark.parametrize(("text", "names"), YAMLS.items())
def test_names_are_read_as_people_write_them(tmp_path, text, names):
    folder = put(tmp_path, {"a": f"0 {SQUARE}"})
    (tmp_path / "data.yaml").write_text(text, encoding="utf-8")
    assert read_yolo_folder(folder).classes.names == ("background", *names)


NOT_READ = [
    "names: *others",
    "names: !!python/object/apply:os.system ['ls']",
    "names: |\n  cup\n",
    "names: coco.names",
    "names: []",
    "names:\n",
    "names: [cup, [plate]]",
    "names: [cup",
    "names: {0: cup, 2: plate}",
    "names: {0: cup, 0: plate}",
    "names: {a: cup}",
    "names: [0: cup]",
    "names:\n  0: cup\n  - plate\n",
    "names:\n  - cup\n    - plate\n",
    "names:\n  - cup: plate\n",
    "names:\n  - 'cup\n",
    "names: ['big\n  cup']",
    "names:\n\t- cup\n",
    'names: ["\\ud800"]',
    "names:\n  - cup\n---\nnames:\n  - plate\n",
    "names: [cup]\nnc: 1\nnames: [plate]\n",
]


@pytest.mark.parametrize("text", NOT_READ)
def test_other_ways_to_write_names_are_refused(tmp_path, text):
    folder = put(tmp_path, {"a": f"0 {SQUARE}"})
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(UserError, match="data.yaml.*'names'") as error:
        read_yolo_folder(folder)
    assert len(str(error.value).splitlines()) == 1


def test_long_lines_of_yaml_take_no_time(tmp_path):
    folder = put(tmp_path, {"a": f"0 {SQUARE}"})
    blanks = " " * 100_000
    for text in (f"names:\n  - 'a'{blanks}b\n", f"names: [a{blanks}[, b]"):
        (tmp_path / "data.yaml").write_text(text)
        with pytest.raises(UserError, match="'names'"):
            read_yolo_folder(folder)


def test_the_nearest_list_of_names_counts(tmp_path):
    root = tmp_path / "set"
    folder = put(root, {"a": f"0 {SQUARE}"})

    def name():
        return read_yolo_folder(folder).classes.names[1]

    (tmp_path / "classes.txt").write_text("far\n")
    assert name() == "far"
    (root / "classes.txt").write_text("listed\nother\n")
    assert name() == "listed"
    (root / "compose.yml").write_text("services: x\n")
    (root / "coco128.yaml").write_text("names: [third]\n")
    assert name() == "third"
    (root / "more.yml").write_text("names: [cup]\n")
    with pytest.raises(UserError, match="coco128.yaml and more.yml name different classes"):
        name()
    (root / "dataset.yaml").write_text("names: [second]\n")
    assert name() == "second"
    (root / "data.yaml").write_text("names: [first]\n")
    assert name() == "first"
    (folder / "classes.txt").write_text("beside\n")
    assert name() == "beside"


def test_names_with_an_empty_line_are_refused(tmp_path):
    folder = put(tmp_path, {"a": f"0 {SQUARE}"})
    (tmp_path / "classes.txt").write_text("cup\n\nplate\n")
    with pytest.raises(UserError, match="classes.txt has an empty line"):
        read_yolo_folder(folder)


def test_names_twice_and_skeletons_are_refused(tmp_path):
    folder = put(tmp_path, {"a": f"0 {SQUARE}"})
    (tmp_path / "data.yaml").write_text("names: [cup, Cup]\n")
    with pytest.raises(UserError, match="data.yaml: class name 'Cup' occurs twice"):
        read_yolo_folder(folder)
    (tmp_path / "data.yaml").write_text("names: [cup]\nkpt_shape: [3, 2]\n")
    with pytest.raises(UserError, match="kpt_shape"):
        read_yolo_folder(folder)


def test_a_background_that_is_named_is_id_0(tmp_path):
    folder = put(tmp_path, {"a": f"0 {SQUARE}\n1 {SQUARE}"})
    (tmp_path / "data.yaml").write_text("names: [background, cup]\n")
    project = read_yolo_folder(folder)
    assert project.classes.names == ("background", "cup")
    assert classes_of(project.annotations[0]) == ["background", "cup"]


LINES = {
    "box": ("0 0.5 0.5 0.2 0.2", r"1 of 2 lines, the first in a.txt, are boxes"),
    "beyond": ("2 " + SQUARE, r"a.txt, line 2: class 2 is not one of the 2.*data.yaml names"),
    "pixels": ("0 10 20 30 40 50 60", r"line 2 is no class .*coordinate 10"),
    "a little outside": ("0 1.02 0 0 0 0 1", r"coordinate 1.02"),
    "endless": ("0 nan 0 0 0 0 1", r"coordinate nan"),
    "odd": ("0 0.1 0.1 0.2 0.2 0.3 0.3 0.9", r"7 numbers .* confidence"),
    "two": ("0 0.1 0.1", r"2 numbers"),
    "name": ("cup 0.1 0.1 0.2 0.2 0.3 0.3", r"line 2 is no class"),
    "half": ("0.5 0.1 0.1 0.2 0.2 0.3 0.3", r"class 0.5"),
    "negative": ("-1 0.1 0.1 0.2 0.2 0.3 0.3", r"class -1"),
    "enormous": ("1e999 0.1 0.1 0.2 0.2 0.3 0.3", r"line 2 is no class"),
}


@pytest.mark.parametrize(("line", "said"), LINES.values(), ids=LINES.keys())
def test_lines_that_are_no_outlines_are_refused(tmp_path, line, said):
    folder = put(tmp_path, {"a": f"0 {SQUARE}\n{line}\n"})
    (tmp_path / "data.yaml").write_text("names: [cup, plate]\n")
    with pytest.raises(UserError, match=said) as error:
        read_yolo_folder(folder)
    assert len(str(error.value).splitlines()) == 1


def test_what_ultralytics_takes_is_taken(tmp_path):
    folder = put(tmp_path, {"a": "\n0 -0.005 0 1.005 0 1 1 0 1 \n\n"})
    assert len(read_yolo_folder(folder).annotations[0].regions) == 1


def test_it_is_known_by_its_content(tmp_path):
    assert is_yolo_folder(put(tmp_path / "a", {"a": f"0 {SQUARE}", "b": ""}))
    assert is_yolo_folder(put(tmp_path / "b", {"a": "0 0.5 0.5 0.2 0.2"}))  # refused, with a cure
    assert is_yolo_folder(put(tmp_path / "c", {"a": ""}))
    assert not is_yolo_folder(put(tmp_path / "d", {"a": None}))
    assert not is_yolo_folder(put(tmp_path / "e", {"a": "a few words"}))
    flat = put(tmp_path / "f", {"a": f"0 {SQUARE}"}, "x", "x")
    (flat / "readme.txt").write_text("a few words")
    assert is_yolo_folder(flat)
    assert not is_yolo_folder(put(tmp_path / "g", {"a": ""}, "x", "x"))
    folder = put(tmp_path / "h", {"a": ""})
    (folder / "a.txt").write_bytes(b"\xff")
    assert not is_yolo_folder(folder)
    assert not is_yolo_folder(tmp_path)


def test_boxes_that_a_tracker_saved_are_no_triangles(tmp_path):
    folder = put(tmp_path, {"a": "0 0.5 0.5 0.2 0.2 0.91 1", "b": "0 0.4 0.5 0.2 0.2 0.87 1"})
    with pytest.raises(UserError, match="as a tracker writes boxes with confidence and track"):
        read_yolo_folder(folder)
    (folder / "b.txt").write_text("0 0.2 0.2 0.87 1 0.4 0.5")  # a triangle that begins elsewhere
    assert len(read_yolo_folder(folder).annotations[0].regions) == 1
