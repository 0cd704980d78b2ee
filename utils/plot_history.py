"""Draw the history of training: mIoU and pixel accuracy per epoch (Figures 12.5.1 and 12.5.2).

    python3 utils/plot_history.py --history miou_history.npy
    python3 utils/plot_history.py --history weights/one-history.csv weights/other-history.csv
    python3 utils/plot_history.py --history weights/one-history.csv --chapter

A history is the chapter's `.npy` of one value per epoch, of any length, or the `.csv` that a
training run leaves. Several histories are drawn together; with `--chapter` one after another, as
the stages of one training, beside the best values of the chapter.
"""

import argparse
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from utils.errors import UserError, run
from utils.files import PROJECT, open_ordinary, refuse_replacing, replace_whole
from utils.formats import npy
from utils.history import read_rows

LOSS, MIOU, ACCURACY = "loss", "mIoU", "pixel accuracy"
TITLES = {
    LOSS: "Training loss",
    MIOU: "Mean IoU",  # Figure 12.5.1
    ACCURACY: "Average pixel accuracy",  # Figure 12.5.2
}
AXES = {LOSS: "loss", MIOU: "mIoU", ACCURACY: "pixel accuracy (%)"}
# The best values of the chapter, section 12.5: reached on its test pictures, which also chose them.
CHAPTER = {MIOU: 0.91, ACCURACY: 97.9}
FIGURES = {MIOU: "Figure 12.5.1", ACCURACY: "Figure 12.5.2"}
COLUMNS = {  # of the CSV file: kind, name of the curve, line style
    "loss": (LOSS, "loss", "-"),
    "dataset_miou": (MIOU, "dataset mIoU", "-"),
    "chapter_miou": (MIOU, "chapter's mIoU", "--"),
    "pixel_accuracy": (ACCURACY, "pixel accuracy", "-"),
}


@dataclass(frozen=True)
class Curve:
    """One measured quantity of one run of training; `epochs` count from 1."""

    kind: str  # LOSS, MIOU or ACCURACY
    name: str  # what is measured
    source: str  # the file's name without its ending, after its folder where that is needed
    run: int
    epochs: np.ndarray  # (n,) float64
    values: np.ndarray  # (n,) float64; mIoU 0 to 1, pixel accuracy in per cent
    style: str = "-"


def read_history(path: Path | str) -> list[Curve]:
    """Read a history file as curves without measurements that are missing or not finite.

    Args:
        path: `.csv` of `utils.history`, or a `.npy` array of shape
            (epochs,): mIoU when its name holds "iou", else pixel accuracy, as in the chapter.

    Raises:
        UserError: the file is missing, no history, or holds no measurement.
    """
    path = Path(path)
    if not os.path.isfile(path):
        raise UserError(f"{path} does not exist; name a history that a training run has written.")
    curves = _read_csv(path) if path.suffix.lower() == ".csv" else _read_array(path)
    curves = [_finite(curve) for curve in curves]
    curves = [curve for curve in curves if len(curve.values)]
    if not curves:
        raise UserError(f"{path} holds no measurement yet; train for at least one epoch.")
    return curves


def plot_history(paths: list[Path | str], output: Path | str, chapter: bool = False) -> list[Curve]:
    """Draw all curves of some history files, a part per kind, into one PNG; return the curves.

    Curves of one run share a colour; the highest value of each is marked (the lowest for a loss).

    Args:
        paths: histories, see `read_history`.
        output: the PNG; replaced whole.
        chapter: draw Figures 12.5.1 and 12.5.2, the chapter's mIoU and pixel accuracy alone, with
            the chapter's best values as dashed lines. The runs follow one another, as when
            one starts from the weights of another.

    Raises:
        UserError: a file cannot be read as a history, or `output` is one of them or cannot be
            written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    refuse_replacing([Path(output)], map(Path, paths), "name another PNG with --output")
    curves = []
    stems = [Path(path).stem for path in paths]
    for path in map(Path, paths):
        # Every run has a miou_history: files of one name are told apart by their folders.
        twin = stems.count(path.stem) > 1
        source = f"{path.resolve().parent.name}/{path.stem}" if twin else path.stem
        curves += [replace(curve, source=source) for curve in read_history(path)]
    if chapter:
        curves = _of_the_chapter(curves)
        if not curves:
            raise UserError(
                f"{paths[0]} holds neither the chapter's mIoU nor pixel accuracy; "
                "leave out --chapter."
            )
    kinds = [kind for kind in TITLES if any(curve.kind == kind for curve in curves)]
    runs = list(dict.fromkeys((curve.source, curve.run) for curve in curves))

    lines = max(sum(curve.kind == kind for curve in curves) for kind in kinds)
    figure = Figure((0.6 + 5.6 * len(kinds), 4.6 + 0.2 * lines), dpi=120, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12)
    FigureCanvasAgg(figure)
    for axes, kind in zip(figure.subplots(1, len(kinds), squeeze=False)[0], kinds, strict=True):
        shown = [curve for curve in curves if curve.kind == kind]
        for curve, label in zip(shown, _labels(shown), strict=True):
            _draw_curve(axes, curve, label, f"C{runs.index((curve.source, curve.run)) % 10}")
        if chapter:
            unit = " %" if kind == ACCURACY else ""
            words = f"the chapter, on its test pictures: max {CHAPTER[kind]}{unit}"
            axes.axhline(CHAPTER[kind], color="0.35", ls="--", lw=1.2, label=words)
        axes.set_title(f"{FIGURES[kind]}: {TITLES[kind]}" if chapter else TITLES[kind], fontsize=12)
        axes.set_xlabel("epoch")
        axes.set_ylabel(AXES[kind])
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.margins(x=0.03, y=0.08)
        # Below the curves, where it hides none of them however many there are.
        legend = axes.legend(
            loc="upper left", bbox_to_anchor=(-0.02, -0.14), fontsize=8.5, frameon=False
        )
        for text in legend.get_texts():
            text.set_parse_math(False)  # file names may hold dollar signs
    with replace_whole(output) as unfinished:
        figure.savefig(unfinished, format="png")
    figure.clear()
    return curves


def draw_curves(csv_path: Path | str, output_png: Path | str) -> None:
    """Draw loss, both mIoUs and pixel accuracy of one history file against the epoch.

    Raises:
        UserError: as `plot_history`.
    """
    plot_history([csv_path], output_png)


def best(curve: Curve) -> tuple[float, int]:
    """The best value of a curve, and its epoch: the highest, or the lowest loss."""
    index = int(np.argmin(curve.values) if curve.kind == LOSS else np.argmax(curve.values))
    return float(curve.values[index]), int(curve.epochs[index])


def find_history(name: str) -> Path:
    """Where a history is: as given from the current folder, else in the project's `weights`.

    Raises:
        UserError: it is in neither.
    """
    folders = (Path(), PROJECT / "weights")
    for folder in folders:
        if os.path.isfile(folder / name):
            return folder / name
    raise UserError(
        f"{name} is neither in the current folder nor in {folders[1]}; "
        "name a history that a training run has written."
    )


def _read_csv(path: Path) -> list[Curve]:
    """The curves of a CSV history, run by run."""
    rows = read_rows(path)
    curves = []
    for number in dict.fromkeys(row["run"] for row in rows):
        part = [row for row in rows if row["run"] == number]
        epochs = np.array([row["epoch"] for row in part], np.float64)
        for column, (kind, name, style) in COLUMNS.items():
            values = np.array([row[column] for row in part])
            curves.append(Curve(kind, name, path.stem, number, epochs, values, style))
    return curves


def _read_array(path: Path) -> list[Curve]:
    """The curve of the chapter's `.npy` history."""
    try:
        # Not by `np.load`, which asks for as much memory as the header of a damaged file says.
        with open_ordinary(path) as file:
            header = npy.parse_header(file)
            if header.dtype is None or len(header.shape) != 1:
                raise ValueError("not one value per epoch")
            file.seek(header.offset)
            values = np.frombuffer(file.read(), header.dtype)
        if len(values) != header.shape[0]:
            raise ValueError("parts of it are missing")
        values = values.astype(np.float64, casting="same_kind")
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            f"{path} is no history: expected a .csv file or a NumPy array of one number per epoch."
        ) from error
    kind = MIOU if "iou" in path.stem.lower() else ACCURACY
    return [Curve(kind, kind, path.stem, 1, np.arange(1.0, len(values) + 1), values)]


def _finite(curve: Curve) -> Curve:
    """Drop what was not measured, and bring pixel accuracy to per cent."""
    measured = np.isfinite(curve.values)
    values = curve.values[measured]
    # The chapter stores per cent; a history that never exceeds 1 % is one of fractions.
    if curve.kind == ACCURACY and len(values) and values.max() <= 1:
        values = 100 * values
    return replace(curve, epochs=curve.epochs[measured], values=values)


def _of_the_chapter(curves: list[Curve]) -> list[Curve]:
    """The curves of what the chapter measured; epochs are counted on from each to the next."""
    chosen, ends = [], dict.fromkeys(CHAPTER, 0)
    for curve in curves:
        if curve.kind in CHAPTER and curve.name != COLUMNS["dataset_miou"][1]:
            epochs = curve.epochs + ends[curve.kind]
            chosen.append(replace(curve, epochs=epochs, style="-"))
            ends[curve.kind] = epochs[-1]
    return chosen


def _labels(curves: list[Curve]) -> list[str]:
    """A label per curve from what tells it from the others: file, run, quantity."""
    sources = {curve.source for curve in curves}
    names = {curve.name for curve in curves}
    runs = {(curve.source, curve.run) for curve in curves}
    labels = []
    for curve in curves:
        parts = [_short(curve.source)] if len(sources) > 1 else []
        if sum(source == curve.source for source, _ in runs) > 1:
            parts.append(f"run {curve.run}")
        if len(names) > 1 or not parts:
            parts.append(curve.name)
        labels.append(", ".join(parts))
    return labels


def _short(source: str) -> str:
    """A file's name of at most 30 letters; names of runs differ at both ends."""
    source = source.removesuffix("-history")
    return source if len(source) <= 30 else f"{source[:14]}…{source[-15:]}"


def _draw_curve(axes, curve: Curve, label: str, colour: str) -> None:
    """Draw one curve with its best value marked and named in the legend."""
    value, epoch = best(curve)
    word = "min" if curve.kind == LOSS else "max"
    label = f"{label}: {word} {_written(curve, value)} at epoch {epoch}".lstrip("_")  # "_" hides
    marker = "." if len(curve.values) < 30 else ""  # a single epoch would be no line
    axes.plot(
        curve.epochs, curve.values, curve.style, color=colour, marker=marker, lw=1.6, label=label
    )
    axes.plot([epoch], [value], "o", color=colour, ms=7, mfc="white", mew=1.8)


def _written(curve: Curve, value: float) -> str:
    """A value with the digits and the unit of its kind."""
    return f"{value:.2f} %" if curve.kind == ACCURACY else f"{value:.4f}"


def main() -> None:
    """Read the command line, draw the curves and print the best value of each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--history",
        nargs="+",
        default=["miou_history.npy"],
        metavar="FILE",
        help="histories (.npy or .csv) to draw together (default: %(default)s), looked for in the "
        "current folder, then in the project's weights folder",
    )
    parser.add_argument(
        "--chapter",
        action="store_true",
        help="Figures 12.5.1 and 12.5.2: the runs one after another, beside the chapter's 0.91 and "
        "97.9 %%",
    )
    parser.add_argument(
        "--output", type=Path, help="PNG to write (default: beside the first history)"
    )
    args = parser.parse_args()

    paths = [find_history(name) for name in args.history]
    output = args.output
    if output is None:
        output = (
            paths[0].with_suffix(".png") if len(paths) == 1 else paths[0].parent / "histories.png"
        )
    curves = plot_history(paths, output, args.chapter)
    curves = [curve for curve in curves if curve.kind != LOSS]
    for curve, label in zip(curves, _labels(curves), strict=True):
        value, epoch = best(curve)
        print(f"Max: {_written(curve, value)} at epoch {epoch} ({label})")
    print(f"Curves: {output}")


if __name__ == "__main__":
    run(main)
