"""One case: an attack in a folder of its own, and how it ended."""

import contextlib
import importlib
import io
import os
import resource
import shutil
import signal
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from random import Random

from attacks.guard import watched
from utils.errors import UserError

KINDS = ("annotations", "formats", "masks", "pictures", "stores", "configurations", "weights")
GOOD = ("right", "one sentence", "not judged")
BAD = ("wrong", "traceback", "warning", "hang", "memory", "ended", "touched")
LONGEST = 2000  # characters of a sentence that a person still reads
SECRET = "name that stands outside alone"


class Wrong(Exception):
    """The program gave an answer, and it is not that of the reference."""


class Refused(Exception):
    """By the reference there is nothing to answer: only a sentence is right."""


class Undecided(Exception):
    """The reference does not know what is right; the program may answer, or refuse."""


class Hang(BaseException):
    """A case took too long; not an `Exception`, which someone could catch."""


def run_case(kind: str, seed: int, folder: Path, seconds: int = 0) -> tuple[str, str]:
    """Attack once.

    Args:
        kind: of `KINDS`.
        seed: of the mutation.
        folder: which is emptied.
        seconds: after which it is a hang; 0 waits for ever.

    Returns:
        How it ended, of `GOOD` and `BAD`, and what there is to say.
    """
    module = importlib.import_module(f"attacks.{kind}")
    if hasattr(module, "prepare"):
        module.prepare()
    return run_attack(lambda place: module.attack(Random(f"{kind} {seed}"), place), folder, seconds)


def run_attack(attack, folder: Path, seconds: int = 0, memory: int = 0) -> tuple[str, str]:
    """As `run_case`; `attack` takes a folder, and may take `memory` bytes, 0 for any number."""
    shutil.rmtree(folder, ignore_errors=True)
    data, outside = folder / "data", folder / "outside"
    data.mkdir(parents=True)
    outside.mkdir()
    (outside / "private.json").write_text(f'{{"{SECRET}": 1}}')
    (outside / "classes.json").write_text(f'["background", "{SECRET}"]')
    (outside / "a.png").write_bytes(b"no picture")
    before = _state(outside)
    said = io.StringIO()
    with _limited(seconds), limited_to(memory), watched(data) as touched, warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        warnings.simplefilter("error", UserWarning)
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            outcome, text = _outcome(attack, data)
    if touched or _state(outside) != before:
        return "touched", f"{'; '.join(touched[:3]) or 'a file outside'} ({outcome}: {text[:300]})"
    if SECRET in text + said.getvalue() or _holds(data, SECRET):
        return "touched", f"what stands outside is told ({outcome}: {text[:300]})"
    return outcome, text


def _outcome(attack, folder: Path) -> tuple[str, str]:
    try:
        attack(folder)
    except UserError as error:
        return _sentence(str(error), folder)
    except Undecided:
        return "not judged", ""
    except Wrong as error:
        return "wrong", str(error)
    except Hang:
        return "hang", traceback.format_exc(limit=-3)
    except MemoryError:
        return "memory", traceback.format_exc(limit=-3)
    except Warning:
        return "warning", traceback.format_exc(limit=-4)
    except Exception:  # whatever it is, it is what the attack is to find
        return "traceback", traceback.format_exc(limit=-4)
    return "right", ""


def _sentence(text: str, folder: Path) -> tuple[str, str]:
    """A sentence that can be printed, on one line, of a length to be read."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return "traceback", f"the sentence cannot be printed: {ascii(text)[:300]}"
    if "\n" in text or len(text.replace(str(folder), "")) > LONGEST:
        return "traceback", f"no sentence of one line: {text[:300]!r} ({len(text)} characters)"
    return "one sentence", text


@contextlib.contextmanager
def _limited(seconds: int) -> Iterator[None]:
    def stop(*_):
        raise Hang

    if not seconds:
        yield
        return
    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def limited_to(memory: int) -> Iterator[None]:
    """The process may take so many bytes more than it has; 0 for any number, as but on Linux."""
    before, statm = resource.getrlimit(resource.RLIMIT_AS), Path("/proc/self/statm")
    if memory and statm.exists():
        pages = int(statm.read_text().split()[0])
        most = pages * resource.getpagesize() + memory
        resource.setrlimit(resource.RLIMIT_AS, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def _state(folder: Path) -> list:
    return sorted((p.name, p.stat().st_mtime_ns, p.stat().st_size) for p in folder.iterdir())


def _holds(folder: Path, text: str) -> bool:
    """Whether what the program left in a folder has a text."""
    for path, _, names in os.walk(folder):
        for name in names:
            file = Path(path, name)
            if name.endswith((".json", ".csv")) and file.is_file() and not file.is_symlink():
                if text.encode() in file.read_bytes():
                    return True
    return False


def attack_often(kind: str, folder: Path, count: int = 500) -> None:
    """Run the first cases of a kind, and raise `AssertionError` if one is neither of `GOOD`.

    Nor if few are right: then the mutations, or the reference, are of no use.
    """
    ends = [(seed, *run_case(kind, seed, folder / "case")) for seed in range(count)]
    bad = [end for end in ends if end[1] in BAD]
    told = "\n".join(f"{kind} {seed}: {outcome}\n{text}" for seed, outcome, text in bad[:5])
    assert not bad, f"{len(bad)} of {count}; replay one with attack.py --kind --seed\n{told}"
    assert sum(outcome == "right" for _, outcome, _ in ends) > count / 5
