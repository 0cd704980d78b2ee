"""utils/locks.py: one holder of a name, and files in the making of programs that are no more."""

import os
import signal
import subprocess
import sys
import textwrap
import threading

import pytest

from utils.errors import UserError
from utils.files import PROJECT, replace_whole
from utils.locks import alone, in_turn


def program(code, *arguments):
    """A process that has run `code` up to its first printed line, and waits there for its input."""
    code = f"import sys; sys.path[:0] = [{str(PROJECT)!r}]\n" + textwrap.dedent(code)
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.wait()


def hold(path):
    return program(
        """
        from pathlib import Path
        from utils.locks import alone, in_turn
        with alone(Path(sys.argv[1]), "taken"):
            print("ready", flush=True)
            sys.stdin.read()
        """,
        path,
    )


def write(path):
    return program(
        """
        from utils.files import replace_whole
        with replace_whole(sys.argv[1]) as unfinished:
            print("ready", flush=True)
            sys.stdin.read()
            unfinished.write_text("whole")
        """,
        path,
    )


def finish(process):
    process.communicate("")
    assert process.returncode == 0


def test_one_program_holds_a_lock(tmp_path):
    path = tmp_path / "new" / ".a.lock"
    holder = hold(path)
    with pytest.raises(UserError, match="taken"), alone(path, "taken"):
        raise AssertionError("two hold it")
    finish(holder)
    with alone(path, "taken"), pytest.raises(UserError, match="taken"), alone(path, "taken"):
        raise AssertionError("two hold it")
    assert not os.listdir(path.parent)


def test_a_killed_program_leaves_no_lock(tmp_path):
    path = tmp_path / ".a.lock"
    kill(hold(path))
    assert path.exists(), "what is left is the file alone"
    with alone(path, "taken"):
        pass
    assert not path.exists()


def test_a_lock_that_cannot_be_made(tmp_path):
    with pytest.raises(UserError, match="cannot be written"), alone(tmp_path / ("x" * 300), ""):
        pass


def test_where_there_are_no_locks_work_goes_on(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def flock(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", flock)
    (tmp_path / ".unfinished-abcd1234.txt").touch()
    with alone(tmp_path / ".a.lock", "taken"), replace_whole(tmp_path / "a.txt") as unfinished:
        unfinished.touch()
    left = sorted(os.listdir(tmp_path))
    assert left == [".unfinished-abcd1234.txt", "a.txt"], "who knows whether anyone writes it"


def test_files_of_killed_programs_are_removed_and_of_running_ones_not(tmp_path):
    pytest.importorskip("fcntl")
    path = tmp_path / "a.weights.h5"
    running, killed = write(path), write(path)
    kill(killed)
    assert len(os.listdir(tmp_path)) == 2
    finish(write(tmp_path / "b.txt"))
    assert len(os.listdir(tmp_path)) == 3, "of which one is in the making"
    finish(running)
    assert path.read_text() == "whole"
    (tmp_path / ".unfinished-work.txt").touch()
    (tmp_path / "unfinished-abcd1234.txt").touch()
    finish(write(tmp_path / "c.txt"))
    assert sorted(os.listdir(tmp_path)) == [
        ".unfinished-work.txt",
        "a.weights.h5",
        "b.txt",
        "c.txt",
        "unfinished-abcd1234.txt",
    ]


def test_a_folder_that_another_has_locked_is_written_all_the_same(tmp_path, monkeypatch):
    """`flock FOLDER python3 ...` holds the lock for as long as the program runs."""
    fcntl = pytest.importorskip("fcntl")
    monkeypatch.setattr("utils.locks.PATIENCE", 0.02)
    handle = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with replace_whole(tmp_path / "a.txt") as unfinished:
        unfinished.touch()
    os.close(handle)
    assert os.listdir(tmp_path) == ["a.txt"]


def test_who_comes_later_waits_in_turn(tmp_path):
    """Until the holder is done, or killed, and with it the lock; the file is removed."""
    for end in (finish, kill):
        holder = hold(tmp_path / "x.lock")
        order = []

        def wait(order=order):
            with in_turn(tmp_path / "x.lock"):
                order.append("waiter")

        waiter = threading.Thread(target=wait)
        waiter.start()
        waiter.join(0.1)
        order.append("holder")
        end(holder)
        waiter.join(10)
        assert order == ["holder", "waiter"]
        assert os.listdir(tmp_path) == []


def test_nobody_waits_where_no_lock_can_be(tmp_path):
    with in_turn(tmp_path / "missing" / "x.lock"):
        pass
