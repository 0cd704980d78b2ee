"""The sheet of the strong augmentation."""

import sys

import numpy as np
import pytest
from conftest import make_labels, make_picture, make_store, write_store
from PIL import Image

from augmentation_strong import STEPS
from tools import augmentations
from utils.drawing import read_mark
from utils.errors import UserError


@pytest.fixture
def page(monkeypatch):
    """What the page shows, as it is written: its pictures, and its texts."""
    shown = []

    def keep(path, size, pictures, texts, boxes, mark, write=augmentations.write_page):
        shown.append(([each for _, _, each in pictures], [text.words for text in texts]))
        write(path, size, pictures, texts, boxes, mark)

    monkeypatch.setattr(augmentations, "write_page", keep)
    return shown


def test_every_operation_is_on_the_sheet_with_its_labels(tmp_path, page):
    noise = np.random.default_rng(0).integers(0, 256, (2, 60, 80, 3), np.uint8)
    named = {f"{number}.png": each for number, each in enumerate(noise)}
    store = write_store(tmp_path, named, [make_labels(n, (60, 80)) for n in range(2)])
    output = tmp_path / "sheet.png"
    augmentations.draw_augmentations(store, "1.png", output)
    [(pictures, words)] = page
    names = ["the picture", *(name for _, weights in STEPS for name in weights)]
    assert words[: len(names)] == names and len(pictures) == 2 * len(names)
    for name, picture, mask in zip(names[1:], pictures[2::2], pictures[3::2], strict=True):
        assert picture.shape == mask.shape
        assert not np.array_equal(picture, pictures[0]), name
    assert read_mark(output, augmentations.KEYWORD) == "1.png"
    with Image.open(output) as image:
        assert image.width == 16 + 6 * 216
    augmentations.draw_augmentations(store, "0.png", output, seed=4)  # replaces it
    assert read_mark(output, augmentations.KEYWORD) == "0.png"


def test_a_picture_that_is_one_colour_is_shown_as_well(tmp_path, page):
    even = {"even.png": np.full((40, 40, 3), 99, np.uint8)}
    store = write_store(tmp_path, even, [np.zeros((40, 40), np.uint8)])
    augmentations.draw_augmentations(store, "even.png", tmp_path / "sheet.png")
    assert len(page[0][0]) == 2 * 18


def test_other_files_are_left_alone(tmp_path):
    store, output = make_store(tmp_path, [(60, 80)]), tmp_path / "mine.png"
    Image.fromarray(make_picture(0, (9, 9))).save(output)
    before = output.read_bytes()
    with pytest.raises(UserError, match="no such sheet"):
        augmentations.draw_augmentations(store, "0.png", output)
    assert output.read_bytes() == before


def test_the_command(tmp_path, monkeypatch, capsys):
    make_store(tmp_path, [(60, 80)])
    command = ["augmentations.py", "--data-path", tmp_path, "--labels", "labels.npy"]
    output = tmp_path / "sheet.png"
    monkeypatch.setattr(sys, "argv", [*map(str, command), "--output", str(output)])
    augmentations.main()
    assert output.is_file() and str(output) in capsys.readouterr().out
    sys.argv += ["--picture", "2.png"]
    with pytest.raises(UserError, match="no picture 2.png among the labels; give one, as 0.png"):
        augmentations.main()
