"""A journal of what is done: a line of JSON for each thing, by which an interrupted run goes on."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from utils.errors import UserError
from utils.files import open_ordinary, replace_whole
from utils.json_text import parse_json

HEAD = "made with"


class Journal:
    """Records by name, in a file; of one name the last counts.

    They are read when they are asked for, so that those of a hundred thousand pictures take no
    memory. A line that was not written to its end, as the program was killed, is cut off; one that
    is damaged is passed over.

    Attributes:
        wrote: marks of the files that were written, by their names; kept when it begins anew.
        begun: names whose files may be half written: they were begun and have no record.
    """

    def __init__(self, path: Path, made_with: Mapping):
        """Go on with the file at `path`, or begin it anew where it was made with something else.

        Args:
            path: of the file.
            made_with: everything that the records depend on, as JSON can have it.

        Raises:
            UserError: the file is somebody else's, or cannot be read or written.
        """
        self.path, self._places, self.wrote, self.begun = path, {}, {}, set()
        head = {HEAD: json.loads(json.dumps(made_with))}
        if os.path.islink(path):
            raise UserError(f"{path} is a link; move it away, or choose another folder.")
        try:
            if os.path.lexists(path):
                end = self._read(head)
            else:
                end = None
            if end is None:
                lines = [head, {"wrote": self.wrote}]
                lines += [{"begins": name} for name in sorted(self.begun)]
                with replace_whole(path) as unfinished:
                    unfinished.write_text("".join(json.dumps(line) + "\n" for line in lines))
            self._file = open(path, "r+b")  # noqa: SIM115
            if end is not None:
                self._file.truncate(end)
        except OSError as error:
            raise self._failed(error) from error

    def _read(self, head: dict) -> int | None:
        """Note where the records are.

        Returns:
            Where they end; None where they were made with something else.
        """
        with open_ordinary(self.path) as file:
            end, first = 0, None
            for line in file:
                record = _record(line)
                if first is None:
                    first = record
                    if HEAD not in first:
                        raise UserError(
                            f"{self.path} was not written here; move it away, or choose another "
                            "folder."
                        )
                if not line.endswith(b"\n"):
                    break
                self._note(record, end if first == head else None)
                end += len(line)
        return end if first == head else None

    def _note(self, record: Mapping, place: int | None) -> None:
        """Take account of a line; `place` is where it is, None where it no longer counts."""
        if isinstance(record.get("wrote"), dict):
            self.wrote |= record["wrote"]
            self.begun -= set(record["wrote"])
        if isinstance(record.get("begins"), str):
            self.begun.add(record["begins"])
        if isinstance(record.get("name"), str):
            self.begun.discard(record["name"])
            if place is not None:
                self._places[record["name"]] = place

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def __getitem__(self, name: str) -> dict:
        self._file.seek(self._places[name])
        return _record(self._file.readline())

    def add(self, record: Mapping) -> None:
        """Write a record down: one with its "name", what was "wrote", or a name that "begins".

        Raises:
            UserError: the disk is full, or the like.
        """
        try:
            place = self._file.seek(0, os.SEEK_END)
            self._file.write(json.dumps(record).encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise self._failed(error) from error
        self._note(record, place)

    def close(self) -> None:
        """Close the file; what could not be written to it was told by `add`."""
        with suppress(OSError):
            self._file.close()

    def _failed(self, error: OSError) -> UserError:
        return UserError(
            f"{self.path} cannot be written ({error.strerror or error}); make room, or choose "
            "another folder."
        )


def names_in(path: Path) -> list[str]:
    """The names of all records and beginnings in a journal, of whatever it was made with."""
    with open_ordinary(path) as file:
        lines = map(_record, file)
        if HEAD not in next(lines, {}):
            return []
        names = (line.get("name", line.get("begins")) for line in lines)
        return [name for name in names if isinstance(name, str)]


def told_in(path: Path) -> tuple[set[str], set[str]]:
    """What a journal tells of, whatever it was made with.

    Returns:
        The files that were written, and the names that were begun and have no record.
    """
    wrote: set[str] = set()
    begun: set[str] = set()
    with open_ordinary(path) as file:
        for record in map(_record, file):
            files = record.get("wrote")
            wrote |= set(files) if isinstance(files, dict) else set()
            if isinstance(record.get("begins"), str):
                begun.add(record["begins"])
            begun.discard(record["name"] if isinstance(record.get("name"), str) else "")
    return wrote, begun - wrote


def differences(path: Path, made_with: Mapping) -> list[str]:
    """What a journal was made with otherwise, by name; nothing where it is none or not there."""
    if not os.path.isfile(path):
        return []
    with open_ordinary(path) as file:
        then = _record(file.readline()).get(HEAD)
    now = json.loads(json.dumps(made_with))
    return [name for name in now if then.get(name) != now[name]] if isinstance(then, dict) else []


def _record(line: bytes) -> dict:
    """What a line holds; nothing where it is damaged or was not written to its end."""
    try:
        record = parse_json(line.decode()) if line.endswith(b"\n") else {}
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}
