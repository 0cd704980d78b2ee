"""Locks between programs, which the system drops with the process that holds them.

Where a file system knows no locks (some of the network) everything goes on without them.
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None
    import msvcrt

from utils.errors import UserError

NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)  # a link could lead to a file outside
UNFINISHED = ".unfinished-"  # begins the names of files in the making
PATIENCE = 1.0  # seconds to wait for who looks for leftovers, which takes milliseconds

_swept: set[str] = set()
_sweeping = threading.Lock()


@contextmanager
def alone(path: Path, complaint: str) -> Iterator[None]:
    """Hold the lock of the file `path`, which is made for it and removed afterwards.

    A killed program leaves the file but not the lock; the next to ask for it has both.

    Raises:
        UserError: another holds the lock, with `complaint`; or the file cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = _open_current(path, complaint)
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror}); choose another folder or a shorter name."
        ) from error
    try:
        yield
    finally:
        _give_up(path, handle)


@contextmanager
def in_turn(path: Path) -> Iterator[None]:
    """Hold the lock of the file `path` as `alone` does, once those who came before are done.

    Where the file cannot be made, as in a folder that is not to be written, nobody waits.
    """
    handle = None
    with suppress(OSError):
        handle = _open_current(path)
    try:
        yield
    finally:
        if handle is not None:
            _give_up(path, handle)


def _open_current(path: Path, complaint: str | None = None) -> int:
    """The file `path`, open and locked; waits for it where there is no complaint."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | NOFOLLOW, 0o666)
        try:
            _lock(handle, wait=complaint is None)
        except (BlockingIOError, PermissionError) as error:  # the latter on Windows
            os.close(handle)
            if complaint is None:
                time.sleep(0.05)
                continue
            raise UserError(complaint) from error
        except OSError:  # no locks here
            return handle
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), os.stat(path)):
                return handle
        os.close(handle)  # who held it has removed it meanwhile


def _give_up(path: Path, handle: int) -> None:
    """Remove the file and drop its lock."""
    # Before the lock goes, or another could remove the file of a third. Windows refuses, and an
    # empty file stays.
    with suppress(OSError):
        path.unlink()
    os.close(handle)


def _lock(handle: int, wait: bool = False) -> None:
    if fcntl:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    else:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)


@contextmanager
def writing_in(folder: Path) -> Iterator[None]:
    """Tell other programs that hidden files in `folder` are in the making, and remove leftovers.

    Everyone who writes shares the lock of the folder itself. Who gets it alone knows that nobody
    writes, and that unfinished files are of killed programs; each program tries that once. The
    files are not locked, as HDF5 locks them too. On Windows, where a folder cannot be locked,
    leftovers stay.
    """
    handle = None
    if fcntl:
        with suppress(OSError):  # a folder that may not be listed
            handle = os.open(folder, os.O_RDONLY)
    try:
        if handle is not None:
            _sweep(handle, folder)
            _share(handle)
        yield
    finally:
        if handle is not None:
            os.close(handle)


def _sweep(handle: int, folder: Path) -> None:
    name = os.path.abspath(folder)
    with _sweeping:
        if name in _swept:
            return
        _swept.add(name)
        try:
            _lock(handle)
        except OSError:  # somebody writes
            return
        # `tempfile` adds eight letters and digits.
        for path in folder.glob(f"{UNFINISHED}{'[a-z0-9_]' * 8}*"):
            with suppress(OSError):
                path.unlink()


def _share(handle: int) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            # `flock FOLDER python3 ...` holds it for as long as this program runs.
            if time.monotonic() < end:
                time.sleep(0.01)
                continue
        except OSError:  # no locks here
            pass
        return
