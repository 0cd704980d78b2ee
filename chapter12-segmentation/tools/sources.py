"""What is to be segmented: pictures and videos among files and folders, and the webcam."""

import hashlib
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tools.segmenting import unusable_name
from utils.errors import UserError
from utils.files import is_inside
from utils.journal import names_in
from utils.pictures import of_other_kinds, pages_of, pictures_in
from utils.video import is_video

# What is written of each picture, by the end of its name.
EACH = {
    "mask": "-mask.png",
    "overlay": "-overlay.jpg",
    "figure": "-segmentation.png",
    "cutout": "-cutout.png",
    "probabilities": "-probabilities.npy",
}
OF_VIDEOS = {"mask": "-mask", "overlay": "-overlay.mp4"}  # the former a folder of PNGs
OF_ALL = {  # what is written of all pictures together
    "areas": "areas.csv",
    "polygons": "via_project.json",
    "coco": "coco.json",
    "labelme": "labelme",
}
JOURNAL, LOCK = "segmented.jsonl", ".segmented.lock"
OTHERS = {JOURNAL, LOCK, *OF_ALL.values()}


class Unreadable(UserError):
    """An input that cannot be read."""


@dataclass(frozen=True)
class Source:
    """A picture that is to be segmented.

    Attributes:
        name: by which its results are called: its path below the folder that was named, with
            forward slashes; "stack.tif#2" for a page; of a webcam with the moment.
        path: of its file; the number of a webcam.
        page: of it, from 0.
        moves: whether it is a video or a webcam.
    """

    name: str
    path: Path
    page: int = 0
    moves: bool = False


def find_sources(
    paths: Iterable[Path], out: Path, part: tuple[int, int] | None = None
) -> list[Source]:
    """The pictures among files and folders, and in folders below these, in order.

    Hidden folders, links to folders and the folder of results are passed over.

    Args:
        paths: files and folders.
        out: folder of the results.
        part: (index, number) of the part that is wanted, None for all. A file stays in its part,
            whatever comes beside it.

    Raises:
        UserError: a path does not exist, or there is no picture.
    """
    found: list[tuple[str, Path]] = []
    others: list[Path] = []
    made: set[str] = set()
    for path in paths:
        if os.path.isfile(path) or is_webcam(path):
            found.append((path.name, path))
        elif os.path.isdir(path):
            for folder in _folders(path, out, made):
                made |= _made_in(folder)
                files = [*pictures_in(folder), *sorted(filter(_is_clip, folder.iterdir()))]
                files = [file for file in files if os.path.abspath(file) not in made]
                found += [(file.relative_to(path).as_posix(), file) for file in files]
                others += of_other_kinds(folder)
        else:
            raise UserError(f"{path} does not exist; name a picture or a folder of pictures.")
    if others:
        print(
            f"passed over: {others[0].name}, in all {len(others)} of kinds that are not read here; "
            "save them as JPEG or PNG.",
            file=sys.stderr,
        )
    if not found:
        raise UserError(
            f"{', '.join(map(str, paths))} holds no picture; name JPEG, PNG or TIFF files or a "
            "folder with some."
        )
    if part:
        found = [each for each in found if _part(each[0], part[1]) == part[0]]
    sources: list[Source] = []
    seen: set[str] = set()
    for name, path in {os.path.abspath(path): (name, path) for name, path in found}.values():
        if moves := is_webcam(path) or is_video(path):
            count = 1
            if is_webcam(path):  # what it showed before is no longer to be had
                name = f"webcam{path}-{time.strftime('%Y-%m-%d-%H.%M.%S')}"
        else:
            try:
                count = pages_of(path)
            except UserError:
                count = 1  # reading it tells
        ends = [f"#{number}" for number in range(1, count + 1)] if count > 1 else [""]
        # Some file systems do not know a from A.
        while any((name + end).casefold() in seen for end in ends):
            name = f"{path.resolve().parent.name}-{name.rpartition('/')[2]}"
        seen |= {(name + end).casefold() for end in ends}
        sources += [Source(name + end, path, page, moves) for page, end in enumerate(ends)]
    return sources


def _part(name: str, number: int) -> int:
    """In which of `number` parts the file of this name is."""
    return int.from_bytes(hashlib.sha256(os.fsencode(name)).digest()[:8], "big") % number


def is_webcam(path: Path) -> bool:
    """Whether a path is the number of a webcam, and no file is called so."""
    text = str(path)
    return text.isascii() and text.isdecimal() and len(text) < 3 and not os.path.exists(path)


def _is_clip(path: Path) -> bool:
    return is_video(path) and not path.name.startswith(".") and path.is_file()


def _folders(top: Path, out: Path, made: set[str]) -> Iterator[Path]:
    """A folder and those below it, sorted, without hidden ones and the results."""
    apart = is_inside(out, top) and not is_inside(top, out)
    for folder, below, _ in os.walk(top):
        below[:] = sorted(each for each in below if not each.startswith("."))
        if apart and is_inside(folder, out) or os.path.abspath(folder) in made:
            below[:] = []
        else:
            yield Path(folder)


def _made_in(folder: Path) -> set[str]:
    """What an earlier run wrote, by the journal in the folder: whole paths."""
    try:
        names = names_in(folder / JOURNAL)
    except OSError:
        return set()
    ends = [*EACH.values(), *OF_VIDEOS.values()]
    return {os.path.abspath(folder / (name + end)) for name in names for end in ends}


def unusable(source: Source) -> str | None:
    """Why results cannot be called by the name of a picture, else None."""
    first, _, below = source.name.partition("/")
    if below and first.casefold() in OTHERS:
        return f"is in a folder that is called as the results are, {first!r}"
    return unusable_name(source.name, EACH.values())


def check_usable(source: Source) -> None:
    """Raise `Unreadable` where results cannot be called by the name of a picture."""
    if reason := unusable(source):
        raise Unreadable(f"{str(source.path)!r} {reason}, as its results would; rename it.")


@contextmanager
def of_input() -> Iterator[None]:
    """What is wrong with an input costs no other; what is wrong with results ends the run."""
    try:
        yield
    except UserError as error:
        raise Unreadable(str(error)) from error


def printable(name: str) -> str:
    """A name in one line of text, whatever standard output takes."""
    name = name if name.isprintable() else repr(name)
    encoding = sys.stdout.encoding or "ascii"
    return name.encode(encoding, "backslashreplace").decode(encoding)
