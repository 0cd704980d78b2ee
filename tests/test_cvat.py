"""utils/formats/cvat.py: CVAT's shapes are drawn; what is not understood is refused or told."""

import math

import numpy as np
import pytest

from utils.errors import UserError
from utils.formats.cvat import is_cvat, read_cvat
from utils.label_maps.polygons import draw_regions

META = """<meta><task><name>cups</name><labels>
<label><name>cup</name><color>#fa3253</color><attributes></attributes></label>
<label><name>plate</name><attributes></attributes></label>
<label><name>hand</name><color>#010203</color><type>skeleton</type></label>
<label><name>thumb</name><color>#ffffff</color><parent>hand</parent></label>
</labels></task></meta>"""


def xml(*elements, meta=META, image='id="0" name="a.jpg" width="10" height="8"'):
    inner = "\n".join(elements)
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n'
        f"{meta}\n<image {image}>{inner}</image>\n</annotations>\n"
    )


def read(tmp_path, *elements, **options):
    return read_cvat(tmp_path / "annotations.xml", xml(*elements, **options), None)


def drawn(project):
    """The label map of the first picture, its regions numbered from 1."""
    [annotation] = project.annotations
    pairs = [(region, number) for number, region in enumerate(annotation.regions, start=1)]
    return draw_regions(pairs, annotation.shape)[0]


POLYGON = '<polygon label="cup" source="manual" occluded="0" points="{}" z_order="{}">{}</polygon>'


def test_pictures_labels_and_attributes(tmp_path):
    attribute = '<attribute name="full">true</attribute><attribute name="class">x</attribute>'
    element = POLYGON.format("1.00,2.00;4.00,2.00;4.00,6.50", 0, attribute)
    project = read(tmp_path, element, '<tag label="plate"/>')
    assert project.classes.names == ("background", "cup", "plate", "hand")
    assert project.classes.colours == ((0, 0, 0), (250, 50, 83), (0, 128, 0), (1, 2, 3))
    [annotation] = project.annotations
    assert (annotation.file, annotation.shape, annotation.size) == ("a.jpg", (8, 10), None)
    [region] = annotation.regions
    assert region.shape == "rings" and not region.void
    assert region.numbers == {"rings": (((1.0, 2.0), (4.0, 2.0), (4.0, 6.5)),)}
    assert region.attributes == {"full": "true", "class": "cup"}
    assert project.remarks == ()


def test_coordinates_count_from_the_corner(tmp_path):
    labels = drawn(read(tmp_path, POLYGON.format("2,1;5,1;5,3;2,3", 0, "")))
    expected = np.zeros((8, 10))
    expected[1:3, 2:5] = 1
    assert (labels == expected).all()


def test_a_background_that_is_listed_is_id_0(tmp_path):
    meta = (
        "<meta><project><labels><label><name>cup</name><color>#010203</color></label>"
        "<label><name>Background</name><color>#0a0b0c</color></label></labels></project></meta>"
    )
    classes = read(tmp_path, meta=meta).classes
    assert classes.names == ("Background", "cup")
    assert classes.colours == ((10, 11, 12), (1, 2, 3))
    assert read(tmp_path, meta="").classes is None


def test_z_order_goes_before_the_order_of_the_file(tmp_path):
    box = '<box label="cup" xtl="{0}" ytl="{0}" xbr="{1}" ybr="{1}" z_order="{2}"/>'
    project = read(tmp_path, *(box.format(*b) for b in [(0, 4, 3), (1, 5, -1), (2, 6, 3)]))
    lefts = [region.numbers["rings"][0][0][0] for region in project.annotations[0].regions]
    assert lefts == [1, 0, 2]


def test_boxes_turn_about_their_centre_clockwise(tmp_path):
    box = '<box label="cup" xtl="2" ytl="3" xbr="8" ybr="5"{}/>'
    labels = drawn(read(tmp_path, box.format("")))
    assert labels.sum() == 12 and labels[3:5, 2:8].all()
    labels = drawn(read(tmp_path, box.format(' rotation="90.00"')))
    assert labels.sum() == 12 and labels[1:7, 4:6].all()
    [region] = read(tmp_path, box.format(' rotation="30"')).annotations[0].regions
    corner = region.numbers["rings"][0][0]  # (-3, -1) from the centre (5, 4)
    cos, sin = math.cos(math.pi / 6), 0.5
    assert corner == pytest.approx((5 - 3 * cos + sin, 4 - 3 * sin - cos))


@pytest.mark.parametrize("rotation", [0, 30, 135])
def test_an_ellipse_covers_the_pixels_whose_centres_it_holds(tmp_path, rotation):
    size = 'id="0" name="a.jpg" width="200" height="150"'
    element = (
        f'<ellipse label="cup" cx="90.3" cy="70.8" rx="60.25" ry="31.5" rotation="{rotation}"/>'
    )
    labels = drawn(read(tmp_path, element, image=size))
    y, x = np.indices((150, 200)) + 0.5
    turn = math.radians(rotation)
    along = (x - 90.3) * math.cos(turn) + (y - 70.8) * math.sin(turn)
    across = -(x - 90.3) * math.sin(turn) + (y - 70.8) * math.cos(turn)
    expected = (along / 60.25) ** 2 + (across / 31.5) ** 2 <= 1
    assert (labels != expected).sum() <= 2 and labels.sum() > 5000


def test_masks_go_row_by_row_and_begin_outside(tmp_path):
    mask = '<mask label="cup" rle="{}" left="3" top="2" width="3" height="2" z_order="0"/>'
    labels = drawn(read(tmp_path, mask.format("1, 3, 2")))
    expected = np.zeros((8, 10))
    expected[2, 4:6] = expected[3, 3] = 1
    assert (labels == expected).all()
    assert drawn(read(tmp_path, mask.format("0,6"))).sum() == 6


def test_polylines_are_closed_and_what_has_no_area_is_told(tmp_path):
    polyline = '<polyline label="cup" points="1,1;6,1;6,6;1,6"/>'
    project = read(
        tmp_path,
        polyline,
        '<points label="cup" points="1,1;2,2"/>',
        '<points label="cup" points="1,1"/>',
        '<skeleton label="hand"><points label="thumb" points="1,1"/></skeleton>',
        '<cuboid label="cup" xtl1="1"/>',
    )
    assert drawn(project).sum() == 25
    assert project.remarks == (
        "<points> has no outline, left out: 2",
        "<skeleton> has no outline, left out: 1",
        "<cuboid> has no outline, left out: 1",
        "<polyline>, closed like polygons: 1",
    )


def test_pictures_of_a_project_lie_in_the_folder_of_their_subset(tmp_path):
    image = 'id="0" name="in\\a.jpg" subset="train" task_id="7" width="10" height="8"'
    assert read(tmp_path, image=image).annotations[0].file == "train/in/a.jpg"


def test_a_picture_without_regions_is_one(tmp_path):
    [annotation] = read(tmp_path).annotations
    assert annotation.regions == ()


REFUSED = {
    "points of three numbers": ('<polygon label="cup" points="1,2,3;1,2,3;1,2,3"/>', "points"),
    "no points": ('<polygon label="cup"/>', "points"),
    "endless points": ('<polygon label="cup" points="nan,1;2,2;3,3"/>', "nan"),
    "far points": ('<polygon label="cup" points="1e300,1;2,2;3,3"/>', "1e300"),
    "no label": ('<polygon points="1,1;2,2;3,1"/>', "no label"),
    "unknown": ('<circle label="cup" cx="1" cy="1" r="1"/>', "<circle>"),
    "box without a side": ('<box label="cup" xtl="1" ytl="1" xbr="2"/>', "ybr None"),
    "half an order": ('<polygon label="cup" points="1,1;2,2;3,1" z_order="1.5"/>', "z_order"),
    "short mask": ('<mask label="cup" rle="1,2" left="0" top="0" width="2" height="2"/>', "rle"),
    "long mask": ('<mask label="cup" rle="1,9" left="0" top="0" width="2" height="2"/>', "rle"),
    "mask back": ('<mask label="cup" rle="-1,5" left="0" top="0" width="2" height="2"/>', "rle"),
    "no mask": ('<mask label="cup" rle="" left="0" top="0" width="2" height="2"/>', "rle"),
    "huge mask": (
        '<mask label="cup" rle="0,1000000000000" left="0" top="0" width="1000000" '
        'height="1000000"/>',
        "more than a photograph",
    ),
}


@pytest.mark.parametrize(("element", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cvat_does_not_write_is_refused(tmp_path, element, said):
    with pytest.raises(UserError) as error:
        read(tmp_path, element)
    sentence = str(error.value)
    assert said in sentence and "annotations.xml, image 1 ('a.jpg'): <" in sentence
    assert len(sentence.splitlines()) == 1


def test_masks_of_a_file_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("utils.formats.cvat.MOST_PIXELS_OF_ALL", 10)
    mask = '<mask label="cup" rle="0,6" left="3" top="2" width="3" height="2"/>'
    assert len(read(tmp_path, mask).annotations[0].regions) == 1
    with pytest.raises(UserError, match="element 2: up to here masks have more than 10 pixels"):
        read(tmp_path, mask, mask)


@pytest.mark.parametrize(
    "image", ['id="0" width="1" height="1"', 'name="a" width="0" height="1"', 'name="a" width="9"']
)
def test_pictures_without_name_or_size_are_refused(tmp_path, image):
    with pytest.raises(UserError, match="image 1"):
        read(tmp_path, image=image)


def test_two_labels_of_one_name_are_refused(tmp_path):
    with pytest.raises(UserError, match="'CUP' occurs twice.* rename or delete some in CVAT"):
        read(tmp_path, meta=META.replace("plate", "CUP"))


def test_video_is_refused_with_a_cure(tmp_path):
    track = '<annotations><track id="0" label="cup"><polygon frame="0"/></track></annotations>'
    assert is_cvat(track, None)
    with pytest.raises(UserError, match="CVAT for video 1.1.* export 'CVAT for images 1.1'"):
        read_cvat(tmp_path / "a.xml", track, None)


@pytest.mark.parametrize("first", ["", "<!-- a --><!-- b -->", '<?xml version="1.0"?>\n'])
def test_entities_are_refused_before_they_are_parsed(tmp_path, first):
    lol = "".join(f'<!ENTITY l{n + 1} "{f"&l{n};" * 10}">' for n in range(12))
    bomb = (
        f'{first}<!DOCTYPE annotations [<!ENTITY l0 "lol">{lol}]><annotations><version>1.1'
        '</version><image name="&l12;"/></annotations>'
    )
    assert is_cvat(bomb, None)
    with pytest.raises(UserError, match="DOCTYPE.* which CVAT never writes; delete it"):
        read_cvat(tmp_path / "a.xml", bomb, None)


def test_half_a_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="not whole XML"):
        read_cvat(tmp_path / "a.xml", xml()[:-20], None)


def test_it_is_known_by_its_content():
    assert is_cvat(xml(), None)
    assert is_cvat(f"<!-- by hand -->\n<!-- twice -->\n{xml().partition('?>')[2]}", None)
    assert not is_cvat("<annotation><object><polygon></polygon></object></annotation>", None)
    assert not is_cvat("<annotations></annotations>", None)
    assert not is_cvat("filename,size\n<annotations><image >", None)
    assert not is_cvat(xml(), {})


def test_many_comments_take_no_time():
    assert not is_cvat("<!-- a -->" * 5000 + "<other>", None)
