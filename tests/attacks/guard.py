"""What a case touches: files that Python opens, renames or removes, and programs that it starts."""

import os
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# Events whose arguments of these numbers are paths that they change.
CHANGING = {"os.rename": (0, 1), "os.remove": (0,), "os.mkdir": (0,), "os.rmdir": (0,)}
CHANGING |= {"os.truncate": (0,), "os.link": (1,), "os.symlink": (1,), "os.chmod": (0,)}
STARTING = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.startfile")
NETWORK = ("socket.connect", "socket.getaddrinfo", "urllib.Request")
HARMLESS = ("/dev/null", "/dev/tty", "/proc/self")

# What `tempfile` makes; asked for once here, as it tries the folder by writing into it.
TEMPORARY = os.path.join(os.path.abspath(tempfile.gettempdir()), tempfile.gettempprefix())

_allowed: Path | None = None
_found: list[str] = []


@contextmanager
def watched(folder: Path) -> Iterator[list[str]]:
    """Yield a list that gets what is done outside `folder` meanwhile.

    That is: writing, renaming and removing outside it, reading in its sibling `outside`, starting a
    program and reaching for the network. What libraries do below Python is not seen.
    """
    global _allowed
    _hook()
    _found.clear()
    _allowed = folder.resolve()
    try:
        yield _found
    finally:
        _allowed = None


def _hook() -> None:
    if not getattr(sys, "_attacks_watched", False):  # a hook cannot be taken away
        sys._attacks_watched = True
        sys.addaudithook(_audit)


def _audit(event: str, arguments: tuple) -> None:
    if _allowed is None:
        return
    if event == "open":
        path, mode, flags = arguments
        writes = bool(flags & WRITING) if isinstance(flags, int) else "r" not in str(mode)
        _see(event, path, writes)
    elif event in CHANGING:
        folder = arguments[-1] if isinstance(arguments[-1], int) else -1  # an open one, or none
        for place in CHANGING[event]:
            path = arguments[place]
            if folder > 2 and not isinstance(path, int) and os.path.isdir("/proc/self/fd"):
                path = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), os.fsdecode(path))
            _see(event, path, True)
    elif event in STARTING or event in NETWORK:
        _found.append(f"{event} {str(arguments)[:200]}")


def _see(event: str, path: object, writes: bool) -> None:
    if isinstance(path, int) or path is None:
        return
    place = os.path.abspath(os.fsdecode(path))
    # Of links the name counts: what is removed or replaced is the link itself.
    if place.startswith((str(_allowed), *HARMLESS)):
        return
    secret = place.startswith(str(_allowed.parent / "outside"))
    temporary = place.startswith(TEMPORARY) and not place.startswith(str(_allowed.parent))
    cache = "__pycache__" in place or place.startswith(sysconfig.get_paths()["purelib"])
    if secret or (writes and not cache and not temporary):
        _found.append(f"{event} {place}")
