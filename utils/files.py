"""Paths and files: the project's folder, whole replacement, names inside a folder, fingerprints."""

import argparse
import errno
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO

from utils.errors import UserError
from utils.json_text import parse_json
from utils.locks import UNFINISHED, writing_in

PROJECT = Path(__file__).resolve().parents[1]
MASK_SUFFIXES = (".png", ".tif", ".tiff")  # of the files of a folder of masks
NONBLOCK = getattr(os, "O_NONBLOCK", 0)
OUTSIDE = ".../"  # before the name of a file whose place is not told
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)  # of a disk, or of what one may have


@contextmanager
def replace_whole(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path` that replaces it when the block ends well.

    A reader sees the old file or the new one, never a part, even when the process is killed
    while it writes. The temporary name keeps the suffixes, since libraries choose their format
    by them, and is deleted when the block fails, or, of a killed program, by the next that writes
    into the folder.

    Raises:
        UserError: the folder cannot be made or written, or the disk is full.
    """
    path = Path(path)
    with ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(writing_in(path.parent))
            handle, name = tempfile.mkstemp(
                dir=path.parent, prefix=UNFINISHED, suffix="".join(path.suffixes[-2:])
            )
            os.close(handle)
        except OSError as error:
            raise UserError(
                f"{path} cannot be written ({error.strerror}); choose a folder that can be."
            ) from error
        unfinished = Path(name)
        stack.callback(unfinished.unlink, missing_ok=True)
        try:
            yield unfinished
        except OSError as error:
            if not _is_full(error):
                raise
            raise _unwritable(path, error) from error
        try:
            with open(unfinished, "rb") as file:
                os.fsync(file.fileno())
            umask = os.umask(0)
            os.umask(umask)
            unfinished.chmod(0o666 & ~umask)  # mkstemp makes files that only their owner reads
            os.replace(unfinished, path)
        except OSError as error:
            raise _unwritable(path, error) from error


def _is_full(error: OSError) -> bool:
    """Whether what failed is writing, for want of room; NumPy has words for it, but no number."""
    return error.errno in FULL or (error.errno is None and " written" in str(error))


def _unwritable(path: Path, error: OSError) -> UserError:
    # Not the words of a library, which may be lines.
    reason = os.strerror(error.errno or errno.ENOSPC)
    return UserError(f"{path} cannot be written ({reason}); choose another name or make room.")


def at_home(text: str) -> Path:
    """A path whose leading `~` is the home folder; after `=` no shell replaces it.

    Raises:
        argparse.ArgumentTypeError: the text is empty, as of a variable that is not set: that would
            be the folder where one is.
    """
    if not text:
        raise argparse.ArgumentTypeError("an empty text names no file or folder")
    try:
        return Path(text).expanduser()
    except RuntimeError:  # there is no such user: a file may be called so
        return Path(text)


def inside(folder: Path | str, name: str) -> Path:
    """The path of `name` in `folder`; sub-folders are allowed, leaving the folder is not.

    Raises:
        UserError: `name` is absolute, a drive, a URL, or climbs out with `..` or a link; or it has
            half a character, a lone surrogate, which no file's name has.
    """
    folder = Path(folder)
    try:
        os.fsencode(name)
    except UnicodeEncodeError as error:
        raise UserError(f"{name!r} is no text and names no file; correct it.") from error
    parts = (*PurePosixPath(name).parts, *PureWindowsPath(name).parts)
    outside = (
        not name.strip()
        or "\0" in name
        or "://" in name
        or ".." in parts
        or PurePosixPath(name).is_absolute()
        or PureWindowsPath(name).anchor
    )
    if outside:
        raise UserError(
            f"{name!r} leaves the data folder {folder}; name pictures inside that folder."
        )
    if not is_inside(folder / name, folder):
        raise UserError(
            f"{name!r} is a link that leaves the data folder {folder}; put the file itself there."
        )
    return folder / name


def is_inside(path: Path | str, *folders: Path | str) -> bool:
    """Whether a path, which need not exist, lies in one of the folders when links are followed."""
    # Not `Path.resolve`, which raises `RuntimeError` for links that go round in a circle.
    real = Path(os.path.realpath(path))
    return any(real.is_relative_to(os.path.realpath(folder)) for folder in folders)


def refuse_replacing(outputs: Iterable[Path], inputs: Iterable[Path], cure: str) -> None:
    """Refuse to write where an output is the file of an input, by whatever name or link.

    Args:
        outputs: paths that are about to be written.
        inputs: what is read for them; those that do not exist are passed over.
        cure: what to do, to end the sentence.

    Raises:
        UserError: one is; names both.
    """
    known = {_identity(path): path for path in inputs if os.path.exists(path)}
    for path in outputs:
        if os.path.exists(path) and _identity(path) in known:
            raise UserError(
                f"{path} would be replaced by a result, and is the input {known[_identity(path)]}; "
                f"{cure}."
            )


def _identity(path: Path) -> tuple[int, int]:
    """Tells files apart: the same for all names of one, in links and letter case."""
    status = os.stat(path)
    return status.st_dev, status.st_ino


def open_ordinary(path: Path | str) -> BinaryIO:
    """An ordinary file, open for reading bytes; a pipe or a device could be read for ever.

    Raises:
        OSError: it is missing, cannot be read, or is something else than a file.
    """
    # A pipe without a writer would block right here. Windows has neither flag nor such pipes.
    try:
        file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | NONBLOCK))
    except ValueError as error:  # the name has a zero, or half a character
        raise OSError(errno.EINVAL, "no file has such a name") from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is no ordinary file")
    return file


def read_json(path: Path | str) -> object:
    """What a JSON file holds, in UTF-8 with or without the mark of that.

    Raises:
        OSError: as `open_ordinary`.
        ValueError: it is not UTF-8, or as `parse_json`.
    """
    with open_ordinary(path) as file:
        return parse_json(file.read().decode("utf-8-sig"))


def is_folder(path: Path) -> bool:
    """Whether there is such a folder; a name that no file can have is none."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def data_folder(path: Path | str) -> Path:
    """A data folder: as given from the current folder when it is there, else from the project's.

    Raises:
        UserError: it is in neither place.
    """
    for folder in (Path(path), PROJECT / path):
        if is_folder(folder):
            return folder
    raise UserError(
        f"the data folder {path} is neither in {Path.cwd()} nor in {PROJECT}; "
        "name a folder with pictures and annotations with --data-path."
    )


def relative(path: Path | str, start: Path) -> str:
    """`path` as seen from the folder `start`, with forward slashes; absolute when on another drive.

    Files that name each other so can move together.
    """
    try:
        return Path(os.path.relpath(Path(path).resolve(), start.resolve())).as_posix()
    except ValueError:
        return Path(path).resolve().as_posix()


def portable(value: object) -> object:
    """An option's value without folders outside the project; of such a path `.../name` stays.

    What runs leave is passed on, and where their author keeps files is nobody's business.
    """
    if isinstance(value, str | Path) and Path(value).is_absolute():
        path = Path(value)
        return (
            str(path.relative_to(PROJECT)) if path.is_relative_to(PROJECT) else OUTSIDE + path.name
        )
    return [portable(item) for item in value] if isinstance(value, list | tuple) else value


def fingerprint(path: Path, files: Sequence[Path] | None = None) -> str:
    """A text, 64 hexadecimal digits, that changes when a file or the files of a folder change.

    Of a file the content counts (SHA-256); of those of a folder, which may be many, names, sizes
    and times.

    Args:
        path: a file or a folder.
        files: those of the folder that count, sorted; its masks when none are given.

    Raises:
        OSError: `path` is missing or cannot be read.
    """
    if path.is_dir():
        if files is None:
            files = sorted(f for f in path.glob("*.*") if f.suffix.lower() in MASK_SUFFIXES)
        marks = [(os.path.relpath(f, path), f.stat()) for f in files if f.is_file()]
        text = repr([(name, mark.st_size, mark.st_mtime_ns) for name, mark in marks]).encode()
        return hashlib.sha256(text).hexdigest()
    with open_ordinary(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
