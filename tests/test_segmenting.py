"""The pictures of --image-file: what is passed over, and that no result replaces an input."""

import os
from pathlib import Path

import numpy as np
import pytest
from conftest import make_picture, make_store
from PIL import Image

from tools.portrait import draw_portrait
from tools.segmenting import (
    PORTRAIT,
    check_results,
    check_results_of_store,
    pictures_of_files,
    segment_pictures,
)
from utils.classes import named
from utils.errors import UserError


def save(folder, *names):
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        Image.fromarray(make_picture(number, (32, 40))).save(folder / name)


def answer(pictures, size=None):
    """Every pixel is a bottle."""
    shape = (*(size or pictures.shape[1:3]), 3)
    return np.broadcast_to(np.float32([0, 1, 0]), (len(pictures), *shape))


@pytest.mark.parametrize("end", ["-mask.png", "-segmentation.png"])
def test_results_beside_their_pictures_replace_none(end, tmp_path):
    save(tmp_path, "x.jpg", "y.png")
    check_results([tmp_path], tmp_path)
    save(tmp_path, f"x.jpg{end}")
    with pytest.raises(UserError, match=f"x.jpg{end} would be replaced .*--prediction-dir"):
        check_results([tmp_path], tmp_path)
    check_results([tmp_path], tmp_path / "elsewhere")
    check_results([tmp_path / "x.jpg"], tmp_path)  # which the other is no input of


def test_results_are_told_from_inputs_by_any_name(tmp_path):
    save(tmp_path / "in", "x.jpg", "y.png")
    (tmp_path / "link").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "x.jpg-mask.png").symlink_to(tmp_path / "in" / "y.png")
    files = [tmp_path / "in" / name for name in ("x.jpg", "y.png")]
    with pytest.raises(UserError, match="is the input .*y.png"):
        check_results(files, tmp_path / "link")


def test_results_of_names_that_differ_in_case_alone_are_two(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    save(tmp_path / "one", "a.png")
    save(tmp_path / "two", "A.png")
    names = [name for name, *_ in pictures_of_files([tmp_path / "one", tmp_path / "two"])]
    assert names == ["a.png", "two-A.png"]


@pytest.mark.parametrize(
    ("name", "result", "options"),
    [
        ("portrait.png", "portrait.png", {"plot": False, "portrait": True}),
        ("0.png-mask.png", "0.png-mask.png", {"plot": True, "portrait": False}),
    ],
)
def test_what_is_drawn_of_a_data_set_replaces_none_of_it(name, result, options, tmp_path):
    store = make_store(tmp_path, [(24, 32)] * 2)
    check_results_of_store(store, tmp_path / "labels.npy", tmp_path, **options)
    other = {key: not value for key, value in options.items()}
    masks = tmp_path / "masks"
    save(masks, name)
    check_results_of_store(store, masks, masks, **other)
    with pytest.raises(UserError, match=f"{result} would be replaced"):
        check_results_of_store(store, masks, masks, **options)


def test_the_names_of_a_portrait(tmp_path):
    store = make_store(tmp_path, [(32, 32)] * 2)
    draw_portrait(answer, store, tmp_path / "out")
    assert sorted(os.listdir(tmp_path / "out")) == sorted(PORTRAIT)


BAD_NAMES = ["b:c.png", "x" * 240 + ".png", b"caf\xe9.png"]


@pytest.mark.skipif(os.name == "nt", reason="there are no such names")
@pytest.mark.parametrize("name", BAD_NAMES, ids=["drive", "long", "bytes"])
def test_a_name_that_results_cannot_have_costs_no_other_picture(name, tmp_path, capsys):
    save(tmp_path / "in", "a.png", "z.png")
    there = os.path.join(os.fsencode(tmp_path / "in"), os.fsencode(name))
    try:
        os.rename(os.fsencode(tmp_path / "in" / "z.png"), there)
    except OSError:
        pytest.skip("the file system has no such names")
    save(tmp_path / "in", "z.png")
    check_results([tmp_path / "in"], tmp_path / "out")
    pictures = pictures_of_files([tmp_path / "in"])
    with pytest.raises(UserError, match="1 of 3 pictures could not be read"):
        segment_pictures(answer, pictures, named(["x", "y", "z"]), tmp_path / "out")
    assert {path.name[:2] for path in (tmp_path / "out").iterdir()} == {"a.", "z."}
    assert len(list((tmp_path / "out").iterdir())) == 4
    assert "passed over" in capsys.readouterr().err
    with pytest.raises(UserError, match="rename it"):
        list(pictures_of_files([Path(os.fsdecode(there))]))


@pytest.mark.parametrize("error", [RuntimeError("no frame"), NotImplementedError("format 98")])
def test_what_a_decoder_raises_costs_no_other_picture(error, tmp_path, monkeypatch, capsys):
    """As those of AVIF and DDS do with damaged files."""

    def load(image):
        raise error

    save(tmp_path / "in", "a.png", "b.bmp", "c.png")
    monkeypatch.setattr("PIL.BmpImagePlugin.BmpImageFile.load", load)
    names = []
    with pytest.raises(UserError, match="1 of 3 pictures could not be read, b.bmp"):
        for name, *_ in pictures_of_files([tmp_path / "in"]):
            names.append(name)
    assert names == ["a.png", "c.png"] and str(error) in capsys.readouterr().err


def test_each_page_of_a_stack_is_segmented(tmp_path):
    """The first alone would be taken without a word."""
    pages = [Image.fromarray(np.full((40, 48), 80 * n, np.uint8)) for n in range(3)]
    pages[0].save(tmp_path / "stack.tif", save_all=True, append_images=pages[1:])
    found = list(pictures_of_files([tmp_path]))
    assert [name for name, _, _ in found] == ["stack.tif#1", "stack.tif#2", "stack.tif#3"]
    assert [int(picture[0, 0, 0]) for _, picture, _ in found] == [0, 80, 160]


def test_a_link_in_the_current_folder_is_nothing_to_a_picture_elsewhere(tmp_path, monkeypatch):
    """Names are judged by themselves."""
    for folder in ("cwd", "p"):
        (tmp_path / folder).mkdir()
    Image.fromarray(make_picture(1, (40, 56))).save(tmp_path / "p" / "a.png")
    (tmp_path / "cwd" / "a.png").symlink_to("/")
    monkeypatch.chdir(tmp_path / "cwd")
    found = [name for name, _, _ in pictures_of_files([tmp_path / "p"])]
    assert found == ["a.png"]
