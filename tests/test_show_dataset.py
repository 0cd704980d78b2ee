"""Contact sheets show the pictures asked for, with class colours and a legend."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from utils.classes import Classes, named, write_classes
from utils.errors import UserError
from utils.files import PROJECT
from utils.label_maps.store import LabelStore, open_labels, write_labels
from utils.reading import Reading
from utils.show_dataset import CELL, contact_sheet, default_output

CLASSES = named(["background", "bottle", "can"])


def make_store(folder: Path, count: int, size: tuple[int, int] = (60, 90)) -> LabelStore:
    """`count` grey pictures, each with a square of class 1."""
    folder.mkdir(parents=True, exist_ok=True)
    labels = np.zeros(size, np.uint8)
    labels[10:50, 20:60] = 1
    entries = []
    for index in range(count):
        Image.fromarray(np.full((*size, 3), 100, np.uint8)).save(folder / f"{index:03d}.png")
        entries.append((f"{index:03d}.png", labels))
    write_labels(folder / "segmentation_train.npy", folder, CLASSES, entries)
    return open_labels(folder / "segmentation_train.npy")


def read(path: Path) -> np.ndarray:
    return np.array(Image.open(path).convert("RGB"))


def share(page: np.ndarray, colour: tuple[int, int, int]) -> int:
    """Number of pixels of exactly this colour."""
    return int((page == np.uint8(colour)).all(axis=2).sum())


def tool(*arguments, folder: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(PROJECT / "utils" / "show_dataset.py"), *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
    )


def test_sheet_has_pictures_overlays_outlines_and_legend(tmp_path):
    shown = contact_sheet(make_store(tmp_path, 5), tmp_path / "sheet.png", columns=3)
    page = read(tmp_path / "sheet.png")
    assert shown == [f"{i:03d}.png" for i in range(5)]
    # Pictures are enlarged to CELL x 160; by hand the square is 107 x 107 there.
    grey, mixed = (100, 100, 100), (113, 55, 55)  # 100 + 0.45 * ((128, 0, 0) - 100)
    assert share(page, grey) == pytest.approx(5 * (CELL * 160 - 107**2), rel=0.02)
    assert share(page, mixed) == pytest.approx(5 * 103**2, rel=0.03)
    assert share(page, (128, 0, 0)) > 5 * 4 * 100  # outlines
    assert share(page, CLASSES.colours[2]) > 100  # a class of the legend only


def test_only_the_part_that_is_shown_has_to_be_clear(tmp_path):
    """`find_parts` tells of `--train-labels`, which has to be heard here too."""
    make_store(tmp_path / "data", 2)
    for name in ("val/a.json", "val/b.json", "train/x.json"):
        (tmp_path / "data" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "data" / name).touch()
    done = tool("--data-path", "data", folder=tmp_path)
    assert done.returncode == 2 and "--train-labels" in done.stderr
    labels = ("--train-labels", "segmentation_train.npy")
    assert tool("--data-path", "data", *labels, folder=tmp_path).returncode == 0
    (tmp_path / "data" / "train" / "x.json").unlink()
    assert tool("--data-path", "data", folder=tmp_path).returncode == 0


def test_pages_may_have_different_channels(tmp_path):
    """The second has two, of which the first is shown."""
    with tifffile.TiffWriter(tmp_path / "s.tif") as file:
        file.write(np.full((60, 90), 40, np.uint8), photometric="minisblack")
        second = np.dstack([np.full((60, 90), 90, np.uint8)] * 2)
        file.write(second, photometric="minisblack", extrasamples=["unspecified"])
    labels = np.zeros((2, 60, 90), np.uint8)
    labels[0, :30], labels[1] = 1, 2
    keys = ["s.tif#1", "s.tif#2"]
    write_labels(tmp_path / "s.npy", tmp_path, CLASSES, zip(keys, labels, strict=True))
    assert contact_sheet(open_labels(tmp_path / "s.npy"), tmp_path / "sheet.png") == keys
    page = read(tmp_path / "sheet.png")
    assert share(page, (40, 40, 40)) == pytest.approx(CELL * 80, rel=0.02)
    green = tuple(round(0.55 * 90 + 0.45 * value) for value in CLASSES.colours[2])
    assert share(page, green) == pytest.approx(CELL * 160, rel=0.1)


def test_pictures_keep_their_shape(tmp_path):
    contact_sheet(make_store(tmp_path, 1, (90, 60)), tmp_path / "tall.png")
    page = read(tmp_path / "tall.png")
    rows = np.flatnonzero((page == 100).all(axis=2).any(axis=1))
    columns = np.flatnonzero((page == 100).all(axis=2).any(axis=0))
    assert (len(rows), len(columns)) == (CELL, CELL * 2 // 3)


def test_seed_chooses_and_order_stays(tmp_path):
    store = make_store(tmp_path, 30)
    one, same, other = (
        contact_sheet(store, tmp_path / "s.png", count=6, seed=seed) for seed in (1, 1, 2)
    )
    assert one == same != other
    assert len(one) == 6 and one == sorted(one)


def test_more_pictures_make_a_longer_sheet(tmp_path):
    store = make_store(tmp_path, 8)
    heights = []
    for count in (4, 8):
        contact_sheet(store, tmp_path / "s.png", count=count, columns=4)
        heights.append(read(tmp_path / "s.png").shape[0])
    assert heights[1] - heights[0] > 160


def test_the_sky_of_camvid_has_its_colour(tmp_path):
    """Issue 15, A9: class 0 was black in the legend and had no colour over the pictures."""
    make_store(tmp_path, 1)
    street = Classes(("Sky", "Building"), ((128, 128, 128), (128, 0, 0)))
    labels = np.zeros((60, 90), np.uint8)
    labels[30:] = 1
    write_labels(tmp_path / "street.npy", tmp_path, street, [("000.png", labels)])
    contact_sheet(open_labels(tmp_path / "street.npy"), tmp_path / "sheet.png")
    page = read(tmp_path / "sheet.png")
    sky = 113  # 100 + 0.45 * (128 - 100), rounded
    assert share(page, (sky, sky, sky)) == pytest.approx(CELL * 80, rel=0.1)
    assert share(page, (128, 128, 128)) > 250  # of the line within the sky, and of the legend


def test_the_store_reads_the_pictures(tmp_path, monkeypatch):
    """With the scale and the orientation of the data set, which the store knows."""
    store = make_store(tmp_path, 1)
    seen = np.zeros((60, 90, 5), np.uint8)
    seen[:] = 10, 20, 30, 200, 250
    monkeypatch.setattr(store, "picture", lambda key, channels: {"000.png": seen}[key])
    contact_sheet(store, tmp_path / "sheet.png")
    assert share(read(tmp_path / "sheet.png"), (10, 20, 30)) > 20_000


def sheet_of(folder: Path, name: str, reading: Reading | None = None) -> np.ndarray:
    """The sheet of one picture of 60x90 without objects."""
    entries = [(name, np.zeros((60, 90), np.uint8))]
    write_labels(folder / "labels.npy", folder, CLASSES, entries, reading=reading)
    contact_sheet(open_labels(folder / "labels.npy"), folder / "sheet.png")
    return read(folder / "sheet.png")


def test_pictures_of_12_bits_have_the_scale_of_their_data_set(tmp_path):
    Image.fromarray(np.full((60, 90), 1285, np.uint16)).save(tmp_path / "deep.tif")
    page = sheet_of(tmp_path, "deep.tif", Reading(scale=(0, 4095)))
    assert share(page, (80, 80, 80)) > 30_000  # 255 * 1285 / 4095; by the type's scale it is 5


@pytest.mark.parametrize(("turn", "left"), [("raw", 20), ("exif", 220), (None, 220)])
def test_pictures_are_turned_as_their_labels_are(tmp_path, turn, left):
    picture = np.full((60, 90, 3), 220, np.uint8)
    picture[:, :45] = 20
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    Image.fromarray(picture).save(tmp_path / "a.png", exif=exif)
    page = sheet_of(tmp_path, "a.png", Reading(turn=turn))
    assert page[100, 40].tolist() == [left] * 3


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_pictures_of_any_number_of_channels_are_shown(tmp_path, channels):
    picture = np.zeros((60, 90, channels), np.uint8)
    picture[:] = [40, 90, 140, 190, 240][:channels]
    np.save(tmp_path / "a.npy", picture)
    page = sheet_of(tmp_path, "a.npy")
    assert share(page, (40, 90, 140) if channels > 2 else (40, 40, 40)) > 30_000


def test_pages_of_a_file_are_shown_each(tmp_path):
    pages = [Image.fromarray(np.full((60, 90, 3), value, np.uint8)) for value in (50, 150)]
    pages[0].save(tmp_path / "stack.tif", save_all=True, append_images=pages[1:])
    entries = [(f"stack.tif#{n}", np.zeros((60, 90), np.uint8)) for n in (1, 2)]
    write_labels(tmp_path / "labels.npy", tmp_path, CLASSES, entries)
    contact_sheet(open_labels(tmp_path / "labels.npy"), tmp_path / "sheet.png")
    page = read(tmp_path / "sheet.png")
    assert share(page, (50,) * 3) > 30_000 and share(page, (150,) * 3) > 30_000


def test_missing_picture_is_named(tmp_path):
    store = make_store(tmp_path, 2)
    (tmp_path / "001.png").unlink()
    with pytest.raises(UserError, match="001.png"):
        contact_sheet(store, tmp_path / "s.png")
    assert not (tmp_path / "s.png").exists()


def test_empty_store_is_refused(tmp_path):
    write_labels(tmp_path / "none.npy", tmp_path, CLASSES, [])
    with pytest.raises(UserError):
        contact_sheet(open_labels(tmp_path / "none.npy"), tmp_path / "s.png")


def test_command_line_writes_into_the_current_folder_only(tmp_path):
    make_store(tmp_path / "data", 3)
    (tmp_path / "here").mkdir()
    before = sorted((tmp_path / "data").iterdir())
    done = tool("--data-path", "../data", "--count", "2", folder=tmp_path / "here")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "2 of 3 pictures: segmentation_train-sheet.png"
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["segmentation_train-sheet.png"]
    assert sorted((tmp_path / "data").iterdir()) == before


def annotate(folder: Path, name: str = "x.json") -> None:
    """Annotations of a picture with a square, as VIA exports them, beside their picture."""
    folder.mkdir(parents=True)
    Image.fromarray(np.full((60, 90, 3), 100, np.uint8)).save(folder / "a.png")
    square = {"name": "polygon", "all_points_x": [20, 60, 60, 20], "all_points_y": [10, 10, 50, 50]}
    region = {"shape_attributes": square, "region_attributes": {"name": "bottle"}}
    entry = {"filename": "a.png", "size": -1, "regions": [region], "file_attributes": {}}
    (folder / name).write_text(json.dumps({"a.png-1": entry}), encoding="utf-8")


def said(done: subprocess.CompletedProcess) -> str:
    """The last line that a command printed."""
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


def test_sets_of_the_same_name_have_their_own_sheets(tmp_path):
    """Issue 15, A10: the sheet of `val/x.json` replaced that of `train/x.json`."""
    for name in ("train", "val"):
        annotate(tmp_path / "data" / name)
        done = tool("--data-path", "data", "--labels", f"{name}/x.json", folder=tmp_path)
        assert said(done) == f"1 of 1 pictures: {name}-x-sheet.png"
    sheets = sorted(path.name for path in tmp_path.glob("*.png"))
    assert sheets == ["train-x-sheet.png", "val-x-sheet.png"]


@pytest.mark.parametrize(
    ("labels", "name"),
    [
        ("segmentation_train.npy", "segmentation_train-sheet.png"),
        ("segmentation_train.json", "segmentation_train-sheet.png"),
        ("train/x.JSON", "train-x-sheet.png"),
        ("a/b/x.csv", "a-b-x-sheet.png"),
        ("./x.npy", "x-sheet.png"),
        ("../other/x.npy", "other-x-sheet.png"),
        ("masks.v2", "masks.v2-sheet.png"),  # folders of masks
        ("masks.v3", "masks.v3-sheet.png"),
        (".", "data-sheet.png"),
    ],
)
def test_name_of_a_sheet(tmp_path, monkeypatch, labels, name):
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    assert default_output(Path("data"), labels) == Path(name)


def test_name_of_a_sheet_of_a_whole_path(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    inside = tmp_path / "data" / "deep" / "train" / "x.json"
    assert default_output(Path("data"), inside) == Path("deep-train-x-sheet.png")
    elsewhere = tmp_path / "deep" / "val" / "x.json"
    assert default_output(Path("data"), elsewhere) == Path("val-x-sheet.png")


def test_sheets_of_two_data_folders_stay_apart(tmp_path):
    """Both are `segmentation_train-sheet.png` by their labels; the second was the only one left."""
    for name in ("one", "two"):
        make_store(tmp_path / name, 2)
    said_of_one = [tool("--data-path", "one", folder=tmp_path) for _ in range(2)]
    kept = (tmp_path / "segmentation_train-sheet.png").read_bytes()
    for done in said_of_one:  # one data folder's sheet is replaced
        assert done.stdout.strip() == "2 of 2 pictures: segmentation_train-sheet.png"
    for _ in range(2):
        done = tool("--data-path", "two", folder=tmp_path)
        assert said(done) == "2 of 2 pictures: two-segmentation_train-sheet.png"
        assert "segmentation_train-sheet.png is no sheet of these labels" in done.stdout
    assert (tmp_path / "segmentation_train-sheet.png").read_bytes() == kept
    assert len(list(tmp_path.glob("*.png"))) == 2


def test_annotations_and_their_labels_have_one_sheet(tmp_path):
    annotate(tmp_path / "data")
    for labels in ("x.json", "x.npy"):
        done = tool("--data-path", "data", "--labels", labels, folder=tmp_path)
        assert done.stdout.strip().endswith("1 of 1 pictures: x-sheet.png")
        assert "is no sheet" not in done.stdout


def test_sheets_and_their_data_may_move_together(tmp_path):
    make_store(tmp_path / "old" / "data", 1)
    tool("--data-path", "data", folder=tmp_path / "old")
    (tmp_path / "old").rename(tmp_path / "new")
    done = tool("--data-path", "data", folder=tmp_path / "new")
    assert done.stdout.strip() == "1 of 1 pictures: segmentation_train-sheet.png"


def test_no_sheet_tells_where_its_author_keeps_files(tmp_path):
    make_store(tmp_path / "private" / "data", 1)
    (tmp_path / "here").mkdir()
    tool("--data-path", tmp_path / "private" / "data", folder=tmp_path / "here")
    content = (tmp_path / "here" / "segmentation_train-sheet.png").read_bytes()
    assert b"contact sheet" in content and b"private" not in content


def test_other_files_are_never_replaced(tmp_path):
    """Neither by name nor by chance; the cure of the message works."""
    make_store(tmp_path / "data", 1)
    for name in ("photo", "segmentation_train-sheet", "data-segmentation_train-sheet"):
        Image.fromarray(np.zeros((5, 5, 3), np.uint8)).save(tmp_path / f"{name}.png")
    before = {path: path.read_bytes() for path in tmp_path.glob("*.png")}
    for more in ((), ("--output", "photo.png")):
        done = tool("--data-path", "data", *more, folder=tmp_path)
        assert done.returncode == 2 and "Traceback" not in done.stderr
        assert done.stderr.count("\n") == 1 and "--output" in done.stderr
    assert {path: path.read_bytes() for path in tmp_path.glob("*.png")} == before
    for _ in range(2):  # a sheet of ours is replaced by name
        done = tool("--data-path", "data", "--output", "mine.png", folder=tmp_path)
        assert said(done) == "1 of 1 pictures: mine.png"


def test_a_large_sheet_is_known_again(tmp_path, monkeypatch):
    """Pillow refuses to open what has very many pixels."""
    store = make_store(tmp_path, 1)
    monkeypatch.setattr(store, "picture", lambda key, channels: np.zeros((60, 90, 3), np.uint8))
    contact_sheet(store, tmp_path / "sheet.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
    contact_sheet(store, tmp_path / "sheet.png", title="again")


def test_edited_colours_reach_the_sheet(tmp_path):
    annotate(tmp_path / "data")
    tool("--data-path", "data", "--labels", "x.json", folder=tmp_path)
    new = Classes(("background", "bottle"), ((0, 0, 0), (250, 120, 10)))
    write_classes(tmp_path / "data" / "classes.json", new)
    tool("--data-path", "data", "--labels", "x.json", folder=tmp_path)
    assert share(read(tmp_path / "x-sheet.png"), (250, 120, 10)) > 300


@pytest.mark.parametrize(
    "arguments",
    [("--data-path", "nowhere"), ("--count", "0"), ("--columns", "many")],
)
def test_wrong_arguments_are_refused(tmp_path, arguments):
    done = tool(*arguments, folder=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert arguments[1] in done.stderr


def test_a_sheet_that_is_a_picture_of_the_set_stays(tmp_path):
    store = make_store(tmp_path, 2)
    contact_sheet(store, tmp_path / "other.png")
    (tmp_path / "000.png").write_bytes((tmp_path / "other.png").read_bytes())
    (tmp_path / "link.png").symlink_to("000.png")
    before = (tmp_path / "000.png").read_bytes()
    for name in ("000.png", "link.png"):
        with pytest.raises(UserError, match="would be replaced .* is the input .*000.png"):
            contact_sheet(store, tmp_path / name)
    assert (tmp_path / "000.png").read_bytes() == before
