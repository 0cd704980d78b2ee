"""What a run leaves: the names of its files, its configuration, and the ledger of its epochs."""

import dataclasses
import glob
import hashlib
import math
import os
import shlex
import shutil
import statistics
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import keras

import zoo
from engine.records import Data, Network, Run
from engine.weights import (
    load_checkpoint,
    read_configuration,
    read_state,
    save_checkpoint,
    save_weights,
    to_json,
)
from utils.files import portable, replace_whole
from utils.history import COLUMNS, read_rows, write_history
from utils.locks import alone
from utils.reading import Reading
from utils.versions import commit, versions


@dataclass(frozen=True)
class RunFiles:
    """The files of a run, all under one name, `<model>-<dataset>`, in `folder`."""

    folder: Path
    model: str  # see `zoo.files`
    dataset: str

    @property
    def name(self) -> str:
        return f"{self.model}-{self.dataset}"

    @property
    def best(self) -> Path:
        return self.folder / f"{self.name}-best-iou.weights.h5"

    @property
    def last(self) -> Path:
        return self.folder / f"{self.name}-last.weights.h5"

    @property
    def configuration(self) -> Path:
        return self.folder / f"{self.name}-configuration.json"

    @property
    def history(self) -> Path:
        return self.folder / f"{self.name}-history.csv"

    @property
    def curves(self) -> Path:
        return self.folder / f"{self.name}-curves.png"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other trainings from these files.

        Raises:
            UserError: another training has them, or the folder cannot be written.
        """
        complaint = (
            f"another training writes {self.last} and its other files at this moment; wait for its "
            "end, or train this one elsewhere with --save-dir, or under another --dataset NAME."
        )
        with alone(self.folder / f".{self.name}.lock", complaint):
            yield

    def set_aside(self, run: int) -> int:
        """Give the weights and the configuration of an earlier run names of their own.

        Its best weights are still there under the old name too, until this run has better ones: who
        interrupts its first epoch has lost nothing.

        Args:
            run: its number by the history. A run that was killed in its first epoch is not there:
                the number is raised until nothing kept before is in the way.

        Returns:
            The number of the next run.
        """
        files = [path for path in (self.best, self.last, self.configuration) if path.exists()]
        pattern = f"{glob.escape(self.name)}-run*{self.best.name.removeprefix(self.name)}"
        others = self.folder.glob(pattern)
        if self.best in files and any(self.best.samefile(other) for other in others):
            files.remove(self.best)  # left by a run that had none

        def kept(path: Path) -> Path:
            return path.with_name(path.name.replace(self.name, f"{self.name}-run{run}", 1))

        while any(kept(path).exists() for path in files):
            run += 1
        for path in files:
            if path == self.best:
                _link(path, kept(path))
            else:
                path.replace(kept(path))
            use = "name that to use it"
            if path == self.last:
                asked = f"--resume --dataset {shlex.quote(f'{self.dataset}-run{run}')}"
                use = f"the same command with {asked} would go on with it"
            print(f"The earlier {path.name} is kept as {kept(path).name}; {use}.")
        return run + 1


def describe_run(
    network: Network,
    data: Data,
    run: Run,
    reading: Reading | None = None,
    sizes: Sequence[tuple[int, int]] = (),
    lists: Sequence[Sequence[str]] = (),
) -> dict:
    """The configuration of a run: its records, how its data are read, versions and commit.

    Paths are kept as `utils.files.portable` gives them.

    Args:
        sizes: (H, W) of the training pictures. Of half of them it is kept how many pixels they have
            at most: the scale at which the network knows things.
        lists: names of the pictures to train on and of those that choose the best weights, of which
            a digest is kept.
    """

    def content(record: Data | Run) -> dict:
        return {f.name: portable(getattr(record, f.name)) for f in dataclasses.fields(record)}

    # As seen from the project: a run may be resumed from another current folder.
    data = replace(data, data_path=data.data_path.resolve())
    if data.unlabelled:
        data = replace(data, unlabelled=data.unlabelled.resolve())

    some = sizes[:: 1 + len(sizes) // 10_000]
    return {
        "network": network.content(),
        "data": content(data),
        "run": content(run),
        "reading": (reading or Reading()).known(),
        "pictures": [_digest(keys) for keys in lists],
        "pixels": statistics.median_low(map(math.prod, some)) if some else None,
        "versions": versions(["keras", keras.backend.backend(), "numpy"]),
        "commit": commit(),
    }


class Ledger:
    """What a run has behind it, in memory and in its files.

    Attributes:
        files: of the run.
        epochs: that it is to have in all.
        rows: of its history, one for each epoch.
        best: the highest chapter mIoU so far and its 0-based epoch; -1 for restored weights.
        writes: whether its files are written: by one process of several.
    """

    def __init__(self, files: RunFiles, network: Network, configuration: dict, writes: bool = True):
        """Nothing is written yet.

        Args:
            files: of the run.
            network: with the classes of the data.
            configuration: from `describe_run`.
            writes: see above.
        """
        self.writes = writes
        self.files, self.network, self.configuration = files, network, configuration
        self.epochs = configuration["run"]["epochs"]
        self.rows, self.best = [], (-math.inf, -1)
        self._earlier = read_rows(files.history)
        self._run = max((row["run"] for row in self._earlier), default=0)

    def begin(self) -> None:
        """Begin a new run; the files of an earlier one are set aside."""
        if self.writes:
            self._run = self.files.set_aside(self._run)

    def go_on(self, model: keras.Model) -> None:
        """Go on after the last whole epoch: read weights, optimizer and rows.

        Args:
            model: compiled, its optimizer built.

        Raises:
            UserError: there is no checkpoint, or it does not fit.
        """
        load_checkpoint(model, self.files.last)
        self.recall()
        if not self.files.best.is_file():
            print(f"{self.files.best} is gone; the next epoch writes it anew.")
            self.best = (-math.inf, -1)

    def recall(self) -> bool:
        """Take the rows of the run from its checkpoint, and write those that its files lack.

        They lack them when the run was killed after the checkpoint of an epoch.

        Returns:
            Whether nothing was left to write after it, the curves of the whole run included.

        Raises:
            UserError: there is no checkpoint, or it holds no state of a run.
        """
        state = read_state(self.files.last)
        self._run, self.rows, self.best = state["run"], state["rows"], tuple(state["best"])
        self._earlier = [row for row in self._earlier if row["run"] != self._run]
        history, curves = self.files.history, self.files.curves
        whole = _values(read_rows(history)) == _values(self._earlier + self.rows)
        if not whole and self.writes:
            self._write(read_configuration(self.files.last))
        return whole and curves.is_file() and _time(curves) >= _time(history)

    def save_best(self, model: keras.Model, score: float, epoch: int) -> None:
        """Keep the weights of `model`, which has the highest score so far."""
        self.best = score, epoch
        if not self.writes:
            return
        # A run that grows may have its best weights before the whole size.
        network = self.network.at(tuple(model.input_shape[1:3]))
        save_weights(model, self.files.best, self.configuration | {"network": network.content()})

    def record(self, model: keras.Model, epoch: int, numbers: dict) -> None:
        """Write down an epoch, and the checkpoint after it."""
        row = {"run": self._run, "epoch": epoch + 1}
        row |= {name: float(value) for name, value in numbers.items() if name not in row}
        self.rows.append(row)
        if not self.writes:
            return
        if self.best[0] == -math.inf:  # nothing is best: the file would be that of an earlier run
            self.files.best.unlink(missing_ok=True)
        # The checkpoint first: it holds the rows too, so that a kill between the two loses none.
        state = {"run": self._run, "rows": self.rows, "best": list(self.best)}
        save_checkpoint(model, self.files.last, self.configuration, state)
        self._write(self.configuration)

    def _write(self, configuration: dict) -> None:
        with replace_whole(self.files.configuration) as unfinished:
            unfinished.write_text(to_json(configuration) + "\n", encoding="utf-8")
        write_history(self.files.history, self._earlier, self.rows)  # last: see `recall`


def _link(path: Path, other: Path) -> None:
    """Let a file have another name too, or a copy of that name where no file has two."""
    try:
        os.link(path, other)
    except OSError:
        shutil.copy2(path, other)


def _values(rows: list[dict]) -> list[list[str]]:
    """The numbers of a history as text, by which a `nan` is like another."""
    return [[str(row[name]) for name in COLUMNS] for row in rows]


def _time(path: Path) -> int:
    return path.stat().st_mtime_ns


def _digest(keys: Iterable[str]) -> str:
    """What tells lists of pictures apart, however long they are."""
    digest = hashlib.sha256()
    for key in keys:
        digest.update(repr(key).encode())
    return digest.hexdigest()


def run_files(network: Network, data: Data, run: Run) -> RunFiles:
    """The files of a run; named `<model>-<dataset>`, the chapter's as in the book."""
    return RunFiles(run.save_dir, zoo.files(network.name, network.settings), data.dataset)
