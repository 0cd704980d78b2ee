"""utils/progress.py: a bar in a terminal, silence elsewhere."""

import io

import pytest

from utils.progress import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_silent_when_not_a_terminal(monkeypatch):
    log = io.StringIO()
    monkeypatch.setattr("sys.stderr", log)
    assert list(progress(iter("abc"), 3, "reading")) == ["a", "b", "c"]
    assert log.getvalue() == ""


def test_a_bar_in_a_terminal(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    assert list(progress(iter("abc"), 3, "reading")) == ["a", "b", "c"]
    shown = terminal.getvalue().split("\r")
    assert shown[1] == "reading [" + "." * 30 + "] 0/3"
    assert shown[-1] == "reading [" + "#" * 30 + "] 3/3\n"


def test_an_error_begins_on_its_own_line(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)

    def failing():
        yield 1
        raise RuntimeError

    with pytest.raises(RuntimeError):
        list(progress(failing(), 2, "reading"))
    assert terminal.getvalue().endswith("\n")


def test_nothing_to_do(monkeypatch):
    monkeypatch.setattr("sys.stderr", Terminal())
    assert list(progress([], 0, "reading")) == []
