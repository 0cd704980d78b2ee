"""Paths and files: the project's folder, whole replacement, names inside a folder, fingerprints."""

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath

from utils.errors import UserError
from utils.locks import UNFINISHED, writing_in

PROJECT = Path(__file__).resolve().parents[1]
MASK_SUFFIXES = (".png", ".tif", ".tiff")  # of the files of a folder of masks
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
    """A path whose leading `~` is the home folder; after `=` no shell replaces it."""
    try:
        return Path(text).expanduser()
    except RuntimeError:  # there is no such user: a file may be called so
        return Path(text)


def inside(folder: Path | str, name: str) -> Path:
    """The path of `name` in `folder`; sub-folders are allowed, leaving the folder is not.

    Raises:
        UserError: `name` is absolute, a drive, a URL, or climbs out with `..` or a link.
    """
    folder = Path(folder)
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
    if not (folder / name).resolve().is_relative_to(folder.resolve()):
        raise UserError(
            f"{name!r} is a link that leaves the data folder {folder}; put the file itself there."
        )
    return folder / name


def data_folder(path: Path | str) -> Path:
    """A data folder: as given from the current folder when it is there, else from the project's.

    Raises:
        UserError: it is in neither place.
    """
    for folder in (Path(path), PROJECT / path):
        if folder.is_dir():
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


def fingerprint(path: Path) -> str:
    """A text, 64 hexadecimal digits, that changes when a file or the masks of a folder change.

    Of a file the content counts (SHA-256); of masks, which may be many, names, sizes and times.

    Raises:
        OSError: `path` is missing or cannot be read.
    """
    if path.is_dir():
        files = sorted(f for f in path.glob("*.*") if f.suffix.lower() in MASK_SUFFIXES)
        text = repr([(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files]).encode()
    else:
        text = path.read_bytes()
    return hashlib.sha256(text).hexdigest()
