"""Whose turn it is to make labels, where several programs want to."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from utils.locks import in_turn

LOCK = ".labels.lock"  # of a folder in which labels are made


@contextmanager
def making(out: Path, data_path: Path | None = None) -> Iterator[None]:
    """Make the labels `out` once other programs have made theirs.

    One at a time for a data folder, since the first set decides for the others how it is meant.

    Args:
        out: the `.npy`.
        data_path: the data folder, where `out` may lie in a folder of it.
    """
    folders = dict.fromkeys([out.parent.resolve(), *([data_path.resolve()] if data_path else [])])
    with ExitStack() as stack:
        for folder in folders:
            stack.enter_context(in_turn(folder / LOCK))
        yield
