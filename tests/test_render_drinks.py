"""The renderer of the drinks dataset, its polygons, and the dataset that it made."""

import dataclasses
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from utils import render_drinks
from utils.classes import read_classes
from utils.errors import UserError
from utils.files import PROJECT
from utils.formats.annotations import Region
from utils.formats.projects import read_annotations
from utils.label_maps.polygons import draw_regions
from utils.render import annotate, camera, meshes, report

DRINKS = PROJECT / "data" / "drinks"
EXTRA = "the optional packages of requirements/render.txt are not installed"
SETTINGS = {"seed": 1, "size": [48, 64], "samples": 1, "variant": "scalar_rgb"}


def disc(size, row, column, radius):
    """A mask of the pixels within `radius` of a place."""
    y, x = np.mgrid[: size[0], : size[1]]
    return np.hypot(y - row, x - column) <= radius


def blob(rng, size=(120, 160)):
    """A mask with a wavy edge, sometimes with a bite and a hole."""
    y, x = np.mgrid[: size[0], : size[1]]
    angle = np.arctan2(y - 60, x - 80)
    radius = rng.uniform(14, 50) * (1 + 0.15 * np.sin(rng.integers(2, 9) * angle))
    mask = np.hypot((y - 60) * rng.uniform(0.6, 1.4), x - 80) < radius
    if rng.random() < 0.5:
        mask &= ~disc(size, *rng.uniform(40, 100, 2), rng.uniform(4, 25))
    return mask


# --- polygons ---------------------------------------------------------------------------------


def test_polygons_give_the_mask_back():
    rng = np.random.default_rng(0)
    overlaps = []
    for _ in range(60):
        mask = blob(rng)
        overlaps.append(annotate.overlap(mask, annotate.draw_all(annotate.trace(mask), mask.shape)))
    assert min(overlaps) >= 0.95
    assert np.median(overlaps) >= 0.985


def test_polygons_are_simple():
    mask = disc((200, 200), 100, 100, 80)
    (polygon,) = annotate.trace(mask)
    assert len(polygon) < 90  # the outline has about 450 pixels
    assert polygon.dtype.kind == "i"


def test_what_the_project_draws_is_the_mask():
    mask = disc((90, 120), 40, 50, 30) & ~disc((90, 120), 40, 60, 9)
    (polygon,) = annotate.trace(mask)
    numbers = {"all_points_x": tuple(polygon[:, 0]), "all_points_y": tuple(polygon[:, 1])}
    labels, notes = draw_regions([(Region("polygon", numbers, {}), 2)], mask.shape)
    assert not notes
    assert annotate.overlap(labels == 2, mask) >= 0.985


def test_a_hole_stays_open():
    mask = disc((100, 100), 50, 50, 40) & ~disc((100, 100), 50, 50, 15)
    polygons = annotate.trace(mask)
    assert len(polygons) == 1
    assert not annotate.draw_all(polygons, mask.shape)[50, 50]


def test_a_speck_of_a_hole_is_drawn_over():
    mask = disc((60, 60), 30, 30, 20)
    mask[30, 30] = False
    assert annotate.draw_all(annotate.trace(mask), mask.shape)[30, 30]


def test_pieces_become_regions_and_crumbs_do_not():
    mask = disc((60, 120), 30, 30, 20) | disc((60, 120), 30, 90, 15)
    mask[2:4, 2:5] = True  # 6 pixels
    mask[55, 5:40] = True  # a line has no area
    assert len(annotate.trace(mask)) == 2


def test_a_mask_at_the_border_stays_in_the_picture():
    mask = np.zeros((50, 70), bool)
    mask[20:, :30] = True
    (polygon,) = annotate.trace(mask)
    assert polygon.min(axis=0).tolist() == [0, 20]
    assert polygon.max(axis=0).tolist() == [29, 49]


def test_project_opens_as_via(tmp_path):
    square = np.array([[5, 5], [14, 5], [14, 14], [5, 14]])
    entries = [annotate.entry("a.jpg", 1234, [(3, square)]), annotate.entry("b.jpg", 99, [])]
    path = tmp_path / "project.json"
    annotate.write_project(path, entries, render_drinks.CLASS_NAMES)
    content = json.loads(path.read_text())
    assert set(content) == {
        "_via_settings",
        "_via_img_metadata",
        "_via_attributes",
        "_via_data_format_version",
        "_via_image_id_list",
    }
    assert content["_via_image_id_list"] == ["a.jpg1234", "b.jpg99"]
    assert list(content["_via_img_metadata"]) == content["_via_image_id_list"]
    first, second = read_annotations(path)
    assert (first.file, first.size, len(first.regions)) == ("a.jpg", 1234, 1)
    assert first.regions[0].attributes == {"Name": "3"}
    assert not second.regions


# --- meshes and camera ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mesh", [meshes.ball(3.0), meshes.box(2, 3, 4), meshes.lathe([(2, 5), (2, 2), (2, 0)])]
)
def test_surfaces_look_outwards(mesh):
    middle = (mesh.points.max(axis=0) + mesh.points.min(axis=0)) / 2
    corners = mesh.points[mesh.faces]  # (M, 3, 3)
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    outwards = (across * (corners.mean(axis=1) - middle)).sum(axis=1)
    assert (outwards >= -1e-9).all()
    assert (outwards > 0).any()
    assert ((mesh.normals * (mesh.points - middle)).sum(axis=1) > 0).all()


def test_both_sides_of_a_wall_have_their_own_pole():
    cup = meshes.lathe([(2, 4), (2, 0), (0, 0), (0, 0.3), (1.7, 0.3), (1.7, 4)], 8)
    normals = cup.normals.reshape(6, 9, 3)
    assert (normals[2, :, 2] < 0).all()  # the bottom's outside looks down
    assert (normals[3, :, 2] > 0).all()  # its inside looks up


def test_projection_agrees_with_the_angle_of_view():
    looking = camera.Camera(np.zeros(3), np.array([0, 10.0, 0]), np.array([0, 0, 1.0]), 90, 0, 1, 0)
    points = np.array([[0, 5.0, 0], [5, 5, 0], [0, 5, 1], [0, -5, 0]])
    spots = camera.project(looking, points, (480, 640))
    assert spots[0] == pytest.approx([319.5, 239.5])
    assert spots[1] == pytest.approx([639.5, 239.5])  # the right border
    assert spots[2] == pytest.approx([319.5, 239.5 - 64])
    assert np.isnan(spots[3]).all()


def test_no_distortion_leaves_pixels_where_they_are():
    looking = camera.Camera(np.zeros(3), np.ones(3), np.ones(3), 60, 0, 1, 0)
    rows, columns = camera.undistorted(looking, (30, 40))
    assert np.array_equal(rows[:, 0], np.arange(30)) and np.array_equal(columns[0], np.arange(40))
    rows, columns = camera.undistorted(dataclasses.replace(looking, barrel=0.1), (30, 40))
    assert rows.min() >= 0 and rows.max() <= 29 and columns.min() >= 0 and columns.max() <= 39


def test_development_gives_bytes_and_brightens_the_dark():
    light = np.random.default_rng(0).uniform(0.0005, 0.001, (60, 80, 3))
    picture = camera.develop(light, np.zeros((60, 80), bool), np.random.default_rng(1))
    assert picture.shape == (60, 80, 3) and picture.dtype == np.uint8
    assert 40 < picture.mean() < 220


# --- command ----------------------------------------------------------------------------------


def test_missing_extra_is_explained(monkeypatch):
    from utils.render import scene

    monkeypatch.setitem(sys.modules, "mitsuba", None)
    with pytest.raises(UserError, match="pip install -r requirements/render.txt"):
        scene.load_renderer("scalar_rgb", 1)


@pytest.mark.parametrize(
    "words",
    [
        ["--size", "640"],
        ["--size", "1x1"],
        ["--count", "-1"],
        ["--samples", "0"],
        ["--preview", "a.txt"],
    ],
)
def test_bad_values_are_explained(words, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["render_drinks.py", *words])
    with pytest.raises(UserError, match=words[0]):
        render_drinks.parse_arguments()


def test_only_whole_pictures_count_as_done(tmp_path):
    name = render_drinks.picture_name("test", 1)
    assert name == "0010001.jpg"
    assert not render_drinks.is_done(tmp_path, "test", 1, SETTINGS)
    (tmp_path / name).write_bytes(b"x" * 10)
    part = {"settings": SETTINGS, "entry": annotate.entry(name, 10, [])}
    (tmp_path / render_drinks.PARTS).mkdir()
    (tmp_path / render_drinks.PARTS / f"{name}.json").write_text(json.dumps(part))
    assert render_drinks.is_done(tmp_path, "test", 1, SETTINGS)
    assert not render_drinks.is_done(tmp_path, "test", 1, SETTINGS | {"seed": 2})
    (tmp_path / name).write_bytes(b"x" * 5)
    assert not render_drinks.is_done(tmp_path, "test", 1, SETTINGS)


def test_statistics_count_drinks_and_pixels():
    part = {
        "settings": SETTINGS,
        "entry": {"regions": [1, 2, 3], "size": 2_000_000},
        "room": "desk",
        "drinks": [
            {"class": 1, "pixels": 768, "iou": 0.99, "hidden": 0.1},
            {"class": 3, "pixels": 0, "iou": 1.0, "hidden": 1.0},
        ],
    }
    rows = report.statistics([part], render_drinks.CLASS_NAMES)
    assert rows["drinks in view"] == "1"
    assert rows["water bottle: pixels"] == "25.0%"
    assert rows["background: pixels"] == "75.0%"
    assert rows["regions (polygons)"] == "3"


# --- rendering --------------------------------------------------------------------------------


def painted(thing, looking, size):
    """The silhouette of a thing, (H, W) bool, from its triangles and the camera alone."""
    fine = 4
    canvas = Image.new("1", (size[1] * fine, size[0] * fine))
    pen = ImageDraw.Draw(canvas)
    for mesh, _ in thing.parts:
        spots = (camera.project(looking, mesh.points, size) + 0.5) * fine - 0.5
        for triangle in spots[mesh.faces].reshape(-1, 6):
            pen.polygon(triangle.tolist(), 1)
    blocks = np.asarray(canvas).reshape(size[0], fine, size[1], fine)
    return blocks.mean(axis=(1, 3)) > 0.5


@pytest.mark.parametrize("class_id", [1, 2, 3])
def test_masks_agree_with_geometry(class_id):
    pytest.importorskip("mitsuba", reason=EXTRA)
    from utils.render import objects, rooms, scene

    mi = scene.load_renderer("scalar_rgb", 2)
    rng = np.random.default_rng(3)
    drink = objects.make_drink(class_id, rng, "test")
    looking = camera.Camera(
        np.array([4, -60.0, 25]), np.array([0, 0, 9.0]), np.array([0, 0, 1.0]), 40, 0, 60, 0
    )
    room = rooms.Room("empty", 100.0, emitters=[rooms.surroundings(rng)])
    size = (120, 160)
    with tempfile.TemporaryDirectory() as folder:
        loaded, owners = scene._load(mi, room, [drink], Path(folder))
    mask = scene._object_map(mi, loaded, owners, looking, size) == 1
    assert mask.sum() > 500
    assert annotate.overlap(mask, painted(drink, looking, size)) > 0.97


def test_a_picture_depends_on_its_number_only(tmp_path):
    pytest.importorskip("mitsuba", reason=EXTRA)
    render_drinks.render_one(("train", 3), tmp_path / "a", SETTINGS, 2)
    render_drinks.render_one(("train", 4), tmp_path / "b", SETTINGS, 1)
    render_drinks.render_one(("train", 3), tmp_path / "b", SETTINGS, 1)
    name = render_drinks.picture_name("train", 3)
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    part = json.loads((tmp_path / "a" / render_drinks.PARTS / f"{name}.json").read_text())
    assert part["entry"]["size"] == (tmp_path / "a" / name).stat().st_size
    with Image.open(tmp_path / "a" / name) as picture:
        assert picture.size == (64, 48)
    assert 1 <= len(part["drinks"]) <= 4
    assert part["entry"]["regions"]


# --- the second recipe ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("split", "number", "second"),
    [("train", 1, False), ("train", 800, False), ("train", 801, True), ("test", 801, False)],
)
def test_late_training_pictures_alone_are_of_the_second_recipe(split, number, second, monkeypatch):
    from utils.render import scene

    asked = []

    def note(rng, split, second):
        asked.append(second)
        raise StopIteration

    monkeypatch.setattr(scene, "compose", note)
    with pytest.raises(StopIteration):
        scene.render_picture(None, 12, split, number, (48, 64), 1, 10_000)
    assert asked == [second]


def test_the_first_recipe_knows_nothing_of_the_second(monkeypatch):
    pytest.importorskip("fontpkg_anton", reason=EXTRA)
    from utils.render import labels, lookalikes, scene

    def never(*_):
        raise AssertionError("of the second recipe")

    monkeypatch.setattr(lookalikes, "surround", never)
    monkeypatch.setattr(labels, "_white_design", never)
    for number in (1, 2, 3, 4):
        scene.compose(np.random.default_rng([12, 0, number, 0]), "train")
    with pytest.raises(AssertionError, match="of the second recipe"):
        scene.compose(np.random.default_rng([12, 0, 801, 0]), "train", second=True)


def test_white_cans_are_white_in_front_and_green_behind():
    pytest.importorskip("fontpkg_anton", reason=EXTRA)
    from utils.render import labels

    whites, greens, ordinary = [], [], []
    for number in range(6):
        picture, metallic = labels._white_design("train", number)  # (H, W, 3) uint8
        assert picture.shape == (*labels.CAN_SIZE[::-1], 3) and metallic <= 0.3
        red, green, blue = np.moveaxis(picture.astype(int), -1, 0)
        whites.append((picture.min(axis=2) > 180)[:, 300:724].mean())
        behind = np.r_[0:100, 924:1024]  # a bar code and at times a plain panel are there too
        greens.append(((green > red + 20) & (green > blue + 20))[:, behind].mean())
        other = labels._can_design(3, "train", number)[0]
        ordinary.append((other.min(axis=2) > 180)[:, 300:724].mean())
    assert min(whites) > 0.35 > np.mean(ordinary)
    assert min(greens) > 0.1 and np.mean(greens) > 0.5


def test_what_stands_about_is_background_on_the_table_and_clear_of_drinks():
    pytest.importorskip("fontpkg_anton", reason=EXTRA)
    from utils.render import lookalikes, objects, rooms

    rng = np.random.default_rng(5)
    looking = camera.Camera(
        np.array([4, -60.0, 25]), np.array([0, 0, 9.0]), np.array([0, 0, 1.0]), 50, 0, 60, 0
    )
    spots, found = [(-4.0, 0.0, 3.0), (5.0, 2.0, 3.0)], 0
    for _ in range(12):
        table = objects.Thing(
            [(meshes.panel((-90, 60, 0), (90, 60, 0), (-90, -40, 0), (90, -40, 0)), {})]
        )
        room = rooms.Room("desk", 60.0, things=[table])
        taken = lookalikes.surround(rng, "train", room, spots, looking)
        assert len(taken) <= len(room.things) - 1 <= 3
        found += len(room.things) - 1
        for thing in room.things[1:]:
            assert thing.class_id == 0
            low, high = lookalikes._bounds(thing)
            assert high[1] < 60 and low[2] >= 0
            for x, y, radius in spots:
                away = np.maximum(0, np.maximum(low[:2] - (x, y), (x, y) - high[:2]))
                assert np.hypot(*away) > radius
    assert found >= 12


@pytest.mark.parametrize("square", [False, True])
def test_one_looks_through_wire_mesh(square):
    from utils.render import lookalikes

    for seed in range(4):
        ((mesh, _),) = lookalikes._mesh(np.random.default_rng(seed), 9, 8, 10, square)
        corners = mesh.points[mesh.faces]  # (M, 3, 3)
        near = corners[(corners[..., 1] < -1).all(axis=1)]
        canvas = Image.new("1", (400, 700))
        pen = ImageDraw.Draw(canvas)
        for triangle in near[..., [0, 2]] * 100 + [200, -150]:  # from the front, 0.1 mm a pixel
            pen.polygon(triangle.ravel().tolist(), 1)
        assert 0.15 < 1 - np.asarray(canvas).mean() < 0.8


# --- the dataset ------------------------------------------------------------------------------


@pytest.mark.skipif(
    not (DRINKS / "segmentation_train.json").exists(), reason="data/drinks is not there"
)
@pytest.mark.parametrize(("split", "number"), [("train", 3), ("train", 801), ("test", 3)])
def test_the_shipped_pictures_are_of_these_recipes(split, number):
    """Scenes composed anew show the drinks where the shipped annotations have them."""
    pytest.importorskip("fontpkg_anton", reason=EXTRA)
    from utils.render import scene

    rng = np.random.default_rng([12, scene.SPLITS.index(split), number, 0])
    second = split == "train" and number >= scene.SECOND_RECIPE
    _, drinks, looking = scene.compose(rng, split, second)
    size = (120, 160)
    composed = np.any([painted(drink, looking, size) for drink in drinks], axis=0)
    name = render_drinks.picture_name(split, number)
    (regions,) = (
        annotation.regions
        for annotation in read_annotations(DRINKS / f"segmentation_{split}.json")
        if annotation.file == name
    )
    labels, _ = draw_regions([(region, 1) for region in regions], (480, 640))
    shipped = labels.reshape(120, 4, 160, 4).mean(axis=(1, 3)) > 0.5
    assert annotate.overlap(composed, shipped) > 0.8


@pytest.mark.skipif(
    not (DRINKS / "segmentation_train.json").exists(), reason="data/drinks is not there"
)
@pytest.mark.parametrize(("split", "count"), [("train", 1000), ("test", 50)])
def test_dataset_is_whole(split, count):
    annotations = read_annotations(DRINKS / f"segmentation_{split}.json")
    assert len(annotations) == count
    assert len({a.file for a in annotations}) == count
    seen = set()
    for annotation in annotations:
        path = DRINKS / annotation.file
        assert path.stat().st_size == annotation.size
        with Image.open(path) as picture:
            assert picture.size == (640, 480)
        assert annotation.regions, f"{annotation.file} shows no drink"
        for region in annotation.regions:
            assert region.shape == "polygon"
            seen.add(region.attributes["Name"])
            x, y = region.numbers["all_points_x"], region.numbers["all_points_y"]
            assert len(x) == len(y) >= 3
            assert 0 <= min(x) and max(x) <= 639 and 0 <= min(y) and max(y) <= 479
    assert seen == {"1", "2", "3"}


@pytest.mark.skipif(not (DRINKS / "classes.json").exists(), reason="data/drinks is not there")
def test_dataset_has_names_and_a_readable_size():
    assert read_classes(DRINKS / "classes.json").names == render_drinks.CLASS_NAMES
    assert (DRINKS / report.SHEET).stat().st_size <= 500_000
    total = sum(path.stat().st_size for path in DRINKS.glob("*.jpg"))
    assert total <= 64e6
