"""The history of the runs of one name: a CSV that only grows, and the chapter's two arrays."""

import csv
import os
from pathlib import Path

import numpy as np

from utils.errors import UserError
from utils.files import replace_whole

COLUMNS = (
    "run",
    "epoch",
    "loss",
    "learning_rate",
    "chapter_miou",
    "dataset_miou",
    "pixel_accuracy",
    "seconds",
)


def read_rows(path: Path) -> list[dict]:
    """The rows of a history CSV, numbers as numbers; none when there is no file.

    Raises:
        UserError: the file is no history.
    """
    if not os.path.isfile(path):  # of a name that is too long `Path.is_file` raises
        return []
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = [{name: float(row[name]) for name in COLUMNS} for row in csv.DictReader(file)]
        if any(row[name] != int(row[name]) for row in rows for name in ("run", "epoch")):
            raise ValueError("a run or an epoch is no whole number")
        return [{**row, "run": int(row["run"]), "epoch": int(row["epoch"])} for row in rows]
    except (OSError, KeyError, TypeError, ValueError, OverflowError, csv.Error) as error:
        raise UserError(
            f"{path} is no history of ours ({error}); name another, or move it away."
        ) from error


def write_history(path: Path, earlier: list[dict], rows: list[dict]) -> None:
    """Write the earlier runs and this one to the CSV `path`, and this one's scores beside it.

    `miou_history.npy` and `mpla_history.npy` are the chapter's: (epochs,) float64, the chapter's
    mIoU from 0 to 1 and the pixel accuracy in per cent.
    """
    for name, column, unit in (
        ("miou_history.npy", "chapter_miou", 1),
        ("mpla_history.npy", "pixel_accuracy", 100),
    ):
        with replace_whole(path.parent / name) as unfinished:
            np.save(unfinished, np.array([row[column] * unit for row in rows], np.float64))
    # Last: where the CSV is whole, a killed program has left all three so.
    with replace_whole(path) as unfinished, open(unfinished, "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(earlier + rows)
