"""utils/files.py and utils/errors.py: replacement, names inside, fingerprints, exit statuses."""

import errno
import os

import numpy as np
import pytest
from PIL import Image

from utils.errors import UserError, run
from utils.files import (
    PROJECT,
    data_folder,
    fingerprint,
    inside,
    open_ordinary,
    read_json,
    refuse_replacing,
    relative,
    replace_whole,
)


def test_replace_whole_replaces_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "new" / "a.index.json"
    for text in ("first", "second"):
        with replace_whole(path) as unfinished:
            assert unfinished.parent == path.parent
            assert unfinished.suffixes[-2:] == [".index", ".json"]
            unfinished.write_text(text)
        assert path.read_text() == text
    assert os.listdir(path.parent) == [path.name]


def test_replace_whole_keeps_the_old_file_when_the_block_fails(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), replace_whole(path) as unfinished:
        unfinished.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_replace_whole_gives_usual_permissions(tmp_path):
    (tmp_path / "plain").write_text("")
    with replace_whole(tmp_path / "a.txt") as unfinished:
        unfinished.write_text("")
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_replace_whole_in_a_place_that_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        with replace_whole(tmp_path / "file" / "a.txt"):
            pass


def test_replace_whole_of_a_folder(tmp_path):
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(UserError, match="a.txt cannot be written"):
        with replace_whole(tmp_path / "a.txt") as unfinished:
            unfinished.write_text("")
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_full_disk_is_one_sentence(capsys):
    def main():
        raise OSError(errno.ENOSPC, "No space left on device", "a.npy")

    with pytest.raises(SystemExit) as stop:
        run(main)
    assert stop.value.code == 2
    assert "a.npy cannot be written (No space left on device)" in capsys.readouterr().err


def fill_by_numpy(file):
    np.save(file, np.zeros(10**5))


def fill_by_pillow(file):
    Image.effect_noise((200, 200), 50).save(file, format="PNG")


def fill_by_hand(file):
    file.write_text("x" * 10**5)


@pytest.mark.parametrize("fill", [fill_by_numpy, fill_by_pillow, fill_by_hand])
def test_a_full_disk_is_that_of_the_file_that_was_to_be_written(tmp_path, fill):
    """As a limit of the size of files is; libraries name none, or the unfinished one."""
    resource = pytest.importorskip("resource")
    (tmp_path / "a.npy").write_text("old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(UserError, match=r"a\.npy cannot be written \(") as error:
            with replace_whole(tmp_path / "a.npy") as unfinished:
                fill(unfinished)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "unfinished" not in str(error.value) and "\n" not in str(error.value)
    assert (tmp_path / "a.npy").read_text() == "old" and os.listdir(tmp_path) == ["a.npy"]


def test_what_cannot_be_read_meanwhile_is_no_full_disk(tmp_path):
    with pytest.raises(FileNotFoundError), replace_whole(tmp_path / "a.txt"):
        (tmp_path / "none.txt").read_text()


@pytest.mark.parametrize("name", ["a.jpg", "sub/a.jpg", "a..b.jpg", "./a.jpg"])
def test_inside_accepts(tmp_path, name):
    assert inside(tmp_path, name) == tmp_path / name


@pytest.mark.parametrize(
    "name",
    ["../a.jpg", "sub/../../a.jpg", "/etc/a.jpg", "C:\\a.jpg", "..\\a.jpg", "http://x/a.jpg", ""],
)
def test_inside_refuses(tmp_path, name):
    with pytest.raises(UserError, match="leaves the data folder"):
        inside(tmp_path, name)


def test_inside_refuses_a_link_that_leads_out(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "link").symlink_to(tmp_path)
    with pytest.raises(UserError, match="leaves"):
        inside(tmp_path / "data", "link/a.jpg")


def test_data_folder_looks_here_first_and_then_in_the_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert data_folder("utils").resolve() == PROJECT / "utils"
    (tmp_path / "utils").mkdir()
    assert data_folder("utils").resolve() == tmp_path / "utils"
    with pytest.raises(UserError, match="nowhere"):
        data_folder("nowhere")


def test_relative_from_wherever_one_is(tmp_path, monkeypatch):
    (tmp_path / "x").mkdir()
    monkeypatch.chdir(tmp_path / "x")
    assert relative(tmp_path / "y" / "a.json", tmp_path / "x") == "../y/a.json"
    assert relative("a.json", tmp_path) == "x/a.json"


def test_fingerprint_of_a_file_is_that_of_its_content(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("one")
    one = fingerprint(path)
    os.utime(path, (1, 1))
    assert fingerprint(path) == one and len(one) == 64
    path.write_text("two")
    assert fingerprint(path) != one


def test_fingerprint_of_a_folder_is_that_of_its_masks(tmp_path):
    (tmp_path / "a.PNG").write_text("one")
    one = fingerprint(tmp_path)
    (tmp_path / "a.txt").write_text("text")
    assert fingerprint(tmp_path) == one
    os.utime(tmp_path / "a.PNG", (1, 1))
    assert (two := fingerprint(tmp_path)) != one
    (tmp_path / "b.TIF").touch()
    assert fingerprint(tmp_path) != two


def failing(error):
    def main():
        raise error

    return main


def test_run_prints_a_user_error_as_one_line_and_exits_2(capsys):
    with pytest.raises(SystemExit) as stop:
        run(failing(UserError("a.json is empty; fill it.")))
    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: a.json is empty; fill it.\n"


def test_run_exits_130_when_interrupted():
    with pytest.raises(SystemExit) as stop:
        run(failing(KeyboardInterrupt()))
    assert stop.value.code == 130


def test_run_lets_bugs_through():
    with pytest.raises(ZeroDivisionError):
        run(failing(ZeroDivisionError()))


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "missing", "loop", "long", "half"])
def test_what_is_no_ordinary_file_is_not_opened(tmp_path, kind):
    path = tmp_path / {"long": "n" * 300, "half": "\ud800"}.get(kind, "x")
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind in ("device", "loop"):
        path.symlink_to("/dev/zero" if kind == "device" else "x")
    for read in (open_ordinary, read_json, fingerprint):
        if (read, kind) != (fingerprint, "folder"):
            with pytest.raises(OSError):
                read(path)


def test_json(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"k\u00fcche": [1, null]}', encoding="utf-8-sig")
    assert read_json(path) == {"k\u00fcche": [1, None]}
    for text in ("{", "[" * 100_000, "1" * 5000, '"\\ud800"', "\udcff"):
        path.write_bytes(text.encode(errors="surrogateescape"))
        with pytest.raises(ValueError):
            read_json(path)


def test_inside_and_names_of_no_file(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    assert inside(tmp_path, "loop") == tmp_path / "loop"
    assert inside(tmp_path, "n" * 300) == tmp_path / ("n" * 300)
    with pytest.raises(UserError, match="is no text"):
        inside(tmp_path, "\ud800.jpg")


def test_outputs_that_are_inputs(tmp_path):
    (tmp_path / "a").touch()
    (tmp_path / "link").symlink_to("a")
    os.link(tmp_path / "a", tmp_path / "hard")
    for name in ("a", "link", "hard", "../" + tmp_path.name + "/a"):
        with pytest.raises(UserError, match="would be replaced .* is the input .*a; rename it"):
            refuse_replacing([tmp_path / name], [tmp_path / "b", tmp_path / "a"], "rename it")
    refuse_replacing([tmp_path / "new"], [tmp_path / "a", tmp_path / "new"], "rename it")
