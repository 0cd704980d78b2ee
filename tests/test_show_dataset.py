"""Contact sheets show the pictures asked for, with class colours and a legend."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from utils.classes import named
from utils.errors import UserError
from utils.files import PROJECT
from utils.label_maps.store import LabelStore, open_labels, write_labels
from utils.show_dataset import CELL, contact_sheet

CLASSES = named(["background", "bottle", "can"])


def make_store(folder: Path, count: int, size: tuple[int, int] = (60, 90)) -> LabelStore:
    """`count` grey pictures, each with a square of class 1."""
    folder.mkdir(exist_ok=True)
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


@pytest.mark.parametrize(
    "arguments",
    [("--data-path", "nowhere"), ("--count", "0"), ("--columns", "many")],
)
def test_wrong_arguments_are_refused(tmp_path, arguments):
    done = tool(*arguments, folder=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert arguments[1] in done.stderr
