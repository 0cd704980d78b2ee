"""The journal of a run: what is done is known again, whatever interrupted it."""

import os

import pytest

from utils.errors import UserError
from utils.journal import Journal

MADE_WITH = {"size": (2, 3), "name": "x"}


def records(path, made_with=MADE_WITH, names="abc"):
    journal = Journal(path, made_with)
    found = {name: journal[name] for name in names if name in journal}
    journal.close()
    return found


@pytest.fixture
def path(tmp_path):
    """A journal with a, twice, and b."""
    journal = Journal(tmp_path / "new" / "j.jsonl", MADE_WITH)
    for name, value in (("a", 1), ("b\n", 2), ("a", 3)):
        journal.add({"name": name, "value": value})
    journal.add({"wrote": {"x.csv": "1"}})
    journal.close()
    return journal.path


def test_the_last_record_of_a_name_counts(path):
    journal = Journal(path, MADE_WITH)
    assert journal["a"] == {"name": "a", "value": 3} and journal["b\n"]["value"] == 2
    assert "c" not in journal and journal.wrote == {"x.csv": "1"}
    journal.add({"name": "c", "value": 4})
    assert journal["a"]["value"] == 3 and journal["c"]["value"] == 4
    journal.close()
    assert list(records(path)) == ["a", "c"]


def test_cut_off_anywhere_it_has_whole_records_alone(path):
    content = path.read_bytes()
    for length in range(len(content.split(b"\n")[0]) + 1, len(content)):
        path.write_bytes(content[:length])
        journal = Journal(path, MADE_WITH)
        journal.add({"name": "z", "value": 9})
        journal.close()
        found = records(path, names=("a", "z"))
        assert found["z"]["value"] == 9
        assert found.get("a", {}).get("value") in (None, 1, 3)
    assert not [name for name in os.listdir(path.parent) if name != path.name]


def test_made_with_something_else_it_begins_anew_and_knows_what_was_written(path):
    assert records(path, {"size": (9, 9)}) == {}
    journal = Journal(path, MADE_WITH)
    assert "a" not in journal and journal.wrote == {"x.csv": "1"}
    journal.close()


@pytest.mark.parametrize("content", [b"", b"my notes\n", b"[]\n", b'{"name": "a"}\n', b"\xff\n"])
def test_what_others_wrote_stays(tmp_path, content):
    path = tmp_path / "j.jsonl"
    path.write_bytes(content)
    if content:
        with pytest.raises(UserError, match="was not written here; move it away"):
            Journal(path, MADE_WITH)
        assert path.read_bytes() == content
    else:
        assert records(path) == {}


def test_lines_of_nonsense_are_passed_over(path):
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([*lines[:3], b"{nonsense", *lines[3:]]))
    assert records(path)["a"]["value"] == 3
    path.write_bytes(path.read_bytes() + b'[1]\n{"name": "c", "value": 4}\n')
    assert records(path)["c"]["value"] == 4


def test_a_full_disk_is_told(tmp_path):
    if not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full here")
    journal = Journal(tmp_path / "j.jsonl", MADE_WITH)
    journal._file = open("/dev/full", "r+b")  # noqa: SIM115
    with pytest.raises(UserError, match="j.jsonl cannot be written .*No space.*make room"):
        journal.add({"name": "a"})
    journal.close()
