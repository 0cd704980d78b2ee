"""What a folder of the comparison holds, and the page and figures that are drawn from it."""

import csv
import json
import math
import shlex
import statistics
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from tools.claims import LITTLE, VARIANTS, verdicts
from tools.measurements import LARGE, RIM, SAMPLE, sample_keys, training_arguments
from tools.untrained_claims import untrained
from utils.drawing import (
    MARGIN,
    Text,
    as_seen,
    colour_labels,
    legend,
    shorten,
    write_page,
)
from utils.errors import UserError
from utils.files import read_json, replace_whole
from utils.picture_files import opened
from utils.pictures import resize_labels, resize_picture

MOST_RATE = 36  # of the convolutions with holes, DeepLab v3's at 1/8
NARROW = 4  # --narrow of those that no preset makes narrower
LABEL = 330  # pixels: the column of names
MOST_NAMES = 28  # beside a figure of the usual height
HEAD = 2  # lines of a table before its first row
ROWS = 20  # networks below one another; more go beside them
COLUMNS = {  # of the table: heading and format
    "name": ("network", "{}"),
    "year": ("year", "{}"),
    "paper_parameters": ("parameters of the paper's", "{:,}"),
    "parameters": ("parameters as trained", "{:,}"),
    "gmac": ("GMAC a picture", "{:.2f}"),
    "field": ("field in pixels", "{:.0f}"),
    "memory": ("GB of the process in training", "{:.1f}"),
    "seconds_a_step": ("seconds a step", "{:.2f}"),
    "seconds_a_picture": ("seconds an answer", "{:.3f}"),
    "chapter_miou": ("chapter mIoU", "{:.3f}"),
    "dataset_miou": ("dataset mIoU", "{:.3f}"),
    "boundary_f1": ("boundary F1", "{:.3f}"),
    "pixel_accuracy": ("pixel accuracy", "{:.1%}"),
}
SCORES = ("chapter_miou", "dataset_miou", "boundary_f1", "pixel_accuracy")
MEASURED = ("year", "paper_parameters", "parameters", "gmac", "field", *SCORES)  # of every run
# Of the claims alone.
MORE = {
    "large_iou": (f"IoU of what has {LARGE:.0%} of its picture and more", "{:.3f}"),
    "small_iou": (f"IoU of what has less than {LARGE:.0%} of its picture", "{:.3f}"),
    "small_share": (
        f"IoU of what has less than {LARGE:.0%} of its picture over that of what has more",
        "{:.2f}",
    ),
    "gradient_share": (
        "gradient of the backbone's last kernel over that of the classifier's, before training",
        "{:.1e}",
    ),
    "half_way_miou": ("dataset mIoU on validation, after half of the epochs", "{:.3f}"),
    "rim_miou": (f"dataset mIoU of what is within {RIM:.0%} of a side", "{:.3f}"),
    "half_miou": ("dataset mIoU of pictures half as large", "{:.3f}"),
    "double_miou": ("dataset mIoU of pictures twice as large", "{:.3f}"),
    "pruned_miou": ("dataset mIoU, cut off behind the third head", "{:.3f}"),
    "pruned_gmac": ("GMAC a picture, cut off behind the third head", "{:.2f}"),
    "patches_gmac": ("GMAC a picture, patch by patch", "{:.2f}"),
    "whole_kernels_gmac": ("GMAC a picture with whole kernels", "{:.2f}"),
    "seconds_a_photo": ("seconds a photograph", "{:.2f}"),
    "crf_seconds_a_photo": ("seconds a photograph with a CRF", "{:.2f}"),
    "crf_dataset_miou": ("dataset mIoU behind a CRF", "{:.3f}"),
    "crf_boundary_f1": ("boundary F1 behind a CRF", "{:.3f}"),
}


def every_name() -> list[str]:
    """The names of all networks, and of what is trained otherwise."""
    import zoo

    return [*zoo.MODELS, *VARIANTS]


def folder_of(out: Path, name: str, seed: int) -> Path:
    """The folder of a run among the results."""
    return out / "runs" / (f"{name}-seed{seed}" if seed else name)


def read_result(folder: Path) -> dict:
    """What was found out about a network; empty when nothing was.

    Raises:
        UserError: the file is damaged, or of another run.
    """
    path = folder / "result.json"
    if not path.exists():
        return {}
    try:
        result = read_json(path)
        columns = MEASURED if "dataset_miou" in result else ()
        if not {"name", "seed", "options", *columns} <= result.keys():
            raise ValueError("something is missing")
        if any(math.isnan(result[column]) for column in columns):
            raise ValueError("something is no number")
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is damaged ({error}); delete it and start again.") from error
    if folder_of(Path(), result["name"], result["seed"]).name != folder.name:
        raise UserError(
            f"{path} is of {result['name']}, seed {result['seed']}; delete {folder}, or give it "
            "back its name."
        )
    return result


def write_result(folder: Path, result: dict) -> None:
    """Keep what was found out about a network."""
    with replace_whole(folder / "result.json") as unfinished:
        unfinished.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def results_in(out: Path, options: list[str]) -> list[dict]:
    """What the folder has of runs with these options, in the order of `every_name`."""
    found = [read_result(path.parent) for path in (out / "runs").glob("*/result.json")]
    found = [result for result in found if result.get("options") == options]
    order = {name: place for place, name in enumerate(every_name())}
    return sorted(found, key=lambda result: (order.get(result["name"], -1), result["seed"]))


def draw_all(options: list[str], out: Path) -> None:
    """Write the table, both figures, and what could not be trained."""
    results = [r for r in results_in(out, options) if "dataset_miou" in r or "failed" in r]
    done = [result for result in results if "failed" not in result]
    failed = [result for result in results if "failed" in result]
    with replace_whole(out / "compare.csv") as unfinished:
        with open(unfinished, "w", newline="", encoding="utf-8") as file:
            columns = ["name", "seed", *list(COLUMNS)[1:]]
            writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            writer.writerows(done)
    with replace_whole(out / "compare.md") as unfinished:
        unfinished.write_text(table(done, failed, options), encoding="utf-8")
    if done:
        one_each = means(done)
        draw_cost(one_each, out / "compare.png")
        draw_samples(one_each, options, out)


def means(done: Iterable[dict]) -> list[dict]:
    """A row a network, with the mean scores of its seeds and, as "spread", half of their range."""
    by_name: dict[str, list[dict]] = {}
    for result in done:
        by_name.setdefault(result["name"], []).append(result)
    rows = []
    for runs in by_name.values():
        values = {column: [run[column] for run in runs] for column in SCORES}
        spread = {column: (max(each) - min(each)) / 2 for column, each in values.items()}
        row = min(runs, key=lambda run: run["seed"])
        row = row | {column: statistics.mean(each) for column, each in values.items()}
        rows.append(row | {"seeds": len(runs), "spread": spread})
    return rows


def table(done: list[dict], failed: list[dict], options: list[str]) -> str:
    """The Markdown of a comparison, the most accurate network first, and of the claims."""
    lines = ["# The networks compared", ""]
    seeds = {result["seed"] for result in done}
    lines += [f"Each network, {NARROW} times narrower than its paper's, was trained with"]
    lines += [f"`{shlex.join(options)}`, and scored on the test pictures at their own size"]
    lines += ["with the weights that were best on validation."]
    spread = "± is half the range of several seeds." if len(seeds) > 1 else "One seed each."
    lines += [f"{spread} `fcn` is as wide as the preset has it."]
    for name in dict.fromkeys(row["name"] for row in done if row["name"] in VARIANTS):
        network, own = VARIANTS[name]
        words = " ".join(own).format(eighth="EVERY-EIGHTH", pictures="ALL-PICTURES")
        lines += [f"`{name}` is `{network}` with `{words}`."]
    if idle := [row["background_miou"] for row in done if "background_miou" in row]:
        lines += [
            f"Who says background everywhere has a dataset mIoU of {idle[0]:.3f}: what is less"
        ]
        lines += [
            f"than {LITTLE:.0%} of the way from there to the best network has hardly learnt in"
        ]
        lines += ["this budget, and what is said of it says how fast it learns, no more."]
    lines += ["", "| " + " | ".join(heading for heading, _ in COLUMNS.values()) + " |"]
    lines += ["|---|" + "---:|" * (len(COLUMNS) - 1)]
    for row in sorted(means(done), key=lambda row: -row["dataset_miou"]):
        cells = []
        for column, (_, form) in COLUMNS.items():
            cell = form.format(row[column]) if column in row else "not yet"
            cell = "all" if column == "field" and row[column] == math.inf else cell
            if row["seeds"] > 1 and column in SCORES:
                cell += f" ±{form.format(row['spread'][column])}"
            cells.append(cell)
        lines.append("| " + " | ".join(cells) + " |")
    lines += [
        f"\nNot trained: {row['name']}, seed {row['seed']}: {row['failed']}" for row in failed
    ]
    known = {row["name"] for row in done + failed}
    if missing := [name for name in every_name() if name not in known]:
        lines.append(f"\nNot trained yet: {', '.join(missing)}.")
    if done:
        lines += ["", "![mIoU against arithmetic](compare.png)", ""]
        if (said := verdicts(done, COLUMNS | MORE)).count("\n") > HEAD:
            lines += ["## What is said of them", "", said, *limits(done, options)]
            lines += ["What is said too, and no training decides:", "", untrained()]
        lines += ["## What they say of the same pictures", ""]
        lines += ["![The answers of each](compare-samples.png)"]
    return "\n".join([*lines, ""])


def limits(done: list[dict], options: list[str]) -> list[str]:
    """What a comparison of small pictures cannot show."""
    size = training_arguments("fcn", options, Path())
    if not size.height or not size.width:
        return []
    lines, across = [], math.hypot(size.height, size.width)
    if wide := {row["name"] for row in done if across < row["field"]}:
        lines += [
            f"Pictures of {size.height}×{size.width} measure {across:.0f} pixels from corner to "
            f"corner. The fields of {len(wide)}",
            "of the networks are wider: what a still wider one is worth cannot be seen here.",
        ]
    holes = any(row["name"].startswith("deeplab") for row in done)
    if holes and min(size.height, size.width) <= 8 * MOST_RATE:
        eighth, sixteenth = (f"{size.height // of}×{size.width // of}" for of in (8, 16))
        lines += [
            f"Their maps have {eighth} places at 1/8 and {sixteenth} at 1/16. Of a convolution",
            "whose rate is no less than a side of its map, only the middle of that side's three",
            "taps meets the map. The rates of DeepLab v2 are 6, 12, 18 and 24 at 1/8, or, `-s`,",
            "2, 4, 8 and 12; those of v3 are 6, 12 and 18 at 1/16 and twice as many at 1/8: what",
            "is said of them is said of maps that are smaller than these networks were made for.",
        ]
    return [*lines, ""] if lines else []


def draw_cost(done: list[dict], path: Path) -> None:
    """Accuracy against arithmetic, a point a network; the names stand in a column beside it."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogLocator

    figure, axis = plt.subplots(figsize=(10, max(6, 0.2 * len(done))), layout="constrained")
    ranked = sorted(done, key=lambda result: result["dataset_miou"])
    scores = [result["dataset_miou"] for result in ranked]
    for result, height in zip(ranked, spread_out(scores), strict=True):
        place = (result["gmac"], result["dataset_miou"])
        axis.plot(*place, "o", color="C0", zorder=3)
        axis.annotate(
            result["name"],
            place,
            (1.05, height),
            textcoords=axis.transAxes,
            va="center",
            fontsize=9,
            arrowprops={"arrowstyle": "-", "color": "0.8", "relpos": (0, 0.5), "shrinkB": 3},
        )
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_minor_formatter("")
    axis.margins(0.06)
    axis.set_xlabel("GMAC for one picture (10^9 multiply-accumulates)")
    axis.set_ylabel("mIoU of the test pictures, one confusion matrix")
    axis.grid(alpha=0.3)
    with replace_whole(path) as unfinished:
        figure.savefig(unfinished, dpi=110)
    plt.close(figure)


def spread_out(scores: list[float]) -> list[float]:
    """Heights from 0 to 1 for names: near those of their scores, and a line's height apart.

    Args:
        scores: ascending.
    """
    low, gap = scores[0], 1 / max(len(scores), MOST_NAMES)
    whole = scores[-1] - low or 1
    heights = [(score - low) / whole for score in scores]
    for place in range(1, len(heights)):  # upwards
        heights[place] = max(heights[place], heights[place - 1] + gap)
    heights[-1] = min(heights[-1], 1)
    for place in reversed(range(len(heights) - 1)):  # and down from the top
        heights[place] = min(heights[place], heights[place + 1] - gap)
    return heights


def draw_samples(done: list[dict], options: list[str], out: Path) -> None:
    """The same test pictures, their labels, and what each network says of them, a row each."""
    from engine.session import open_labels
    from engine.settings import settle

    _, data, _ = settle(training_arguments(done[0]["name"], [*options, "--verbose", "0"], out))
    store = open_labels(data, data.test_labels, False)
    keys, classes = sample_keys(store.keys), store.classes
    pictures = [resize_picture(as_seen(store.picture(key)), SAMPLE) for key in keys]
    truths = [colour_labels(resize_labels(store[key], SAMPLE), classes) for key in keys]
    rows = [("picture", pictures), ("labels", truths)]
    for result in done:
        with opened(folder_of(out, result["name"], result["seed"]) / "samples.png") as image:
            said = colour_labels(np.asarray(image), classes)
        rows.append((result["name"], np.split(said, len(keys), axis=1)))
    head = rows[:2]
    blocks = [[*head, *rows[first : first + ROWS]] for first in range(2, len(rows), ROWS)]
    (height, width), pictures, texts = SAMPLE, [], []
    broad = LABEL + len(keys) * (width + MARGIN)  # a block
    for number, block in enumerate(blocks):
        for row, (name, panels) in enumerate(block):
            top, left = MARGIN + row * (height + MARGIN), number * broad
            words = shorten(name, LABEL - 2 * MARGIN)
            texts.append(Text(top + height // 2 - 8, left + MARGIN, words))
            for column, panel in enumerate(panels):
                pictures.append((top, left + LABEL + column * (width + MARGIN), panel))
    right, bottom = len(blocks) * broad, max(map(len, blocks)) * (height + MARGIN)
    boxes, words, end = legend(classes, range(len(classes)), MARGIN + bottom, right)
    write_page(out / "compare-samples.png", (end, right), pictures, [*texts, *words], boxes)
