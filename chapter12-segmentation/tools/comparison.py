"""What a folder of the comparison holds, and the page and figures that are drawn from it."""

import csv
import json
import math
import shlex
import statistics
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from tools.claims import LITTLE, NOTHING, RULE, VARIANTS, hardly_learnt, verdicts
from tools.measurements import (
    LARGE,
    RIM,
    SAMPLE,
    network_of,
    sample_keys,
    training_arguments,
)
from tools.untrained_claims import untrained
from utils.boundaries import TOLERANCE
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
HEAD = 2  # lines of a table before its first row
ROWS = 20  # networks on a page
MARKERS = "os^DvP*X"
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
PREFACE = """\
# The networks compared

Each network, {narrow} times narrower than its paper's, was trained with
`{options}`, and scored on the test pictures at their own size
with the weights that were best on validation. {spread} Boundary F1 counts a border
that is within {tolerance} of a picture's diagonal. Times, and the memory of the whole process, are
those of the machine that measured a row. **`fcn`, the chapter's, is as wide as the preset has it,
and costs the most: it is not to be ranked with the others.**
"""
IDLE = """\
Who says background everywhere has a dataset mIoU of {miou}: what is less than {little} of the way
from there to the best network, marked \\*, has hardly learnt in this budget, and what is said of it
says how fast it learns, no more.
"""
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
    """What the folder has of runs with these options, of `every_name` and in its order."""
    found = [read_result(path.parent) for path in (out / "runs").glob("*/result.json")]
    order = {name: place for place, name in enumerate(every_name())}
    found = [r for r in found if r.get("options") == options and r["name"] in order]
    return sorted(found, key=lambda result: (order[result["name"]], result["seed"]))


def draw_all(options: list[str], out: Path) -> None:
    """Write the table, the figures, and what could not be trained."""
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
    ranked = sorted(means(done), key=lambda row: -row["dataset_miou"])
    known = {row["name"] for row in done + failed}
    lines = [preface(done, options), *cells_of(ranked, hardly_learnt(done))]
    lines += [
        f"\nNot trained: {row['name']}, seed {row['seed']}: {row['failed']}" for row in failed
    ]
    if missing := [name for name in every_name() if name not in known]:
        lines.append(f"\nNot trained yet: {', '.join(missing)}.")
    if done:
        lines += ["", "![mIoU against arithmetic](compare.png)", ""]
        if (said := verdicts(done, COLUMNS | MORE)).count("\n") > HEAD:
            lines += ["## What is said of them", "", RULE, said, *limits(done, options)]
            lines += ["What is said too, and no training decides:", "", untrained()]
        lines += ["## What they say of the same pictures", ""]
        lines += [f"![The answers of each]({name})\n" for name in sample_files(len(ranked))]
        if told := settings_of(ranked):
            lines += ["## What the rows set in their networks", "", *told]
    return "\n".join([*lines, ""])


def preface(done: list[dict], options: list[str]) -> str:
    """What to know before the table."""
    several = any(result["seed"] for result in done)
    text = PREFACE.format(
        narrow=NARROW,
        options=shlex.join(options),
        spread="± is half the range of several seeds." if several else "One seed each.",
        tolerance=f"{TOLERANCE:.2%}",
    )
    for name in dict.fromkeys(row["name"] for row in done if row["name"] in VARIANTS):
        network, own = VARIANTS[name]
        words = " ".join(own).format(eighth="EVERY-EIGHTH", pictures="ALL-PICTURES")
        text += f"`{name}` is `{network}` with `{words}`.\n"
    if idle := [row["background_miou"] for row in done if "background_miou" in row]:
        text += IDLE.format(miou=f"{idle[0]:.3f}", little=f"{LITTLE:.0%}")
    return text


def cells_of(ranked: list[dict], little: list[str]) -> list[str]:
    """The lines of the table; networks of `little` are marked."""
    lines = ["| " + " | ".join(heading for heading, _ in COLUMNS.values()) + " |"]
    lines += ["|---|" + "---:|" * (len(COLUMNS) - 1)]
    for row in ranked:
        cells = []
        for column, (_, form) in COLUMNS.items():
            cell = form.format(row[column]) if column in row else "not yet"
            cell = "all" if column == "field" and row[column] == math.inf else cell
            cell += " \\*" if column == "name" and row["name"] in little else ""
            if row["seeds"] > 1 and column in SCORES:
                cell += f" ±{form.format(row['spread'][column])}"
            cells.append(cell)
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def settings_of(rows: list[dict]) -> list[str]:
    """Lines of what sets rows apart from others of the same network."""
    import zoo

    lines = []
    for row in rows:
        if row["name"] in zoo.MODELS and (settings := zoo.find(row["name"]).settings):
            told = ", ".join(f"{key} = {value}" for key, value in settings.items())
            lines.append(f"- `{row['name']}`: {told}")
    return lines


def sample_files(number: int) -> list[str]:
    """The names of the pages that show what so many networks say."""
    return [f"compare-samples-{page}.png" for page in range(1, -(-number // ROWS) + 1)]


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
    """Accuracy against arithmetic, a point a network; named is what nothing cheaper beats."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogLocator

    import zoo

    figure, axis = plt.subplots(figsize=(10, 6), layout="constrained")
    families: dict[str, list[dict]] = {}
    for row in done:
        module = zoo.find(network_of(row["name"])).builder.__module__
        families.setdefault(module.split(".")[-1].replace("_", "-"), []).append(row)
    for number, (family, rows) in enumerate(families.items()):
        places = zip(*((row["gmac"], row["dataset_miou"]) for row in rows), strict=True)
        marker, colour = MARKERS[number % len(MARKERS)], f"C{number % 10}"
        axis.plot(*places, marker, color=colour, label=family, markersize=7, alpha=0.8)
    for row in front(done):
        place = (row["gmac"], row["dataset_miou"])
        axis.annotate(
            row["name"], place, (-5, 6), textcoords="offset points", ha="right", fontsize=9
        )
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_minor_formatter("")
    axis.margins(0.2, 0.06)
    axis.set_xlabel("GMAC for one picture (10^9 multiply-accumulates)")
    axis.set_ylabel("mIoU of the test pictures, one confusion matrix")
    axis.grid(alpha=0.3)
    figure.legend(loc="outside right upper", title="networks in zoo/", frameon=False)
    with replace_whole(path) as unfinished:
        figure.savefig(unfinished, dpi=110)
    plt.close(figure)


def front(done: list[dict]) -> list[dict]:
    """The networks that are more accurate, by `NOTHING` and more, than those in front of them.

    They are asked from the least arithmetic to the most.
    """
    found, best = [], -math.inf
    for row in sorted(done, key=lambda row: (row["gmac"], -row["dataset_miou"])):
        if row["dataset_miou"] >= best + NOTHING:
            found.append(row)
            best = row["dataset_miou"]
    return found


def draw_samples(done: list[dict], options: list[str], out: Path) -> None:
    """The same test pictures, their labels, and what each network says of them, a row each."""
    from engine.session import open_labels
    from engine.settings import settle

    _, data, _ = settle(training_arguments("fcn", [*options, "--verbose", "0"], out))
    store = open_labels(data, data.test_labels, False)
    keys, classes = sample_keys(store.keys), store.classes
    pictures = [resize_picture(as_seen(store.picture(key)), SAMPLE) for key in keys]
    truths = [colour_labels(resize_labels(store[key], SAMPLE), classes) for key in keys]
    rows = [("picture", pictures), ("labels", truths)]
    for result in done:
        with opened(folder_of(out, result["name"], result["seed"]) / "samples.png") as image:
            said = colour_labels(np.asarray(image), classes)
        if said.shape[:2] != (SAMPLE[0], len(keys) * SAMPLE[1]):
            raise UserError(
                f"{folder_of(out, result['name'], result['seed'])} has a samples.png of other test "
                "pictures; delete the folder, or give another --out."
            )
        rows.append((result["name"], np.split(said, len(keys), axis=1)))
    (height, width), head = SAMPLE, rows[:2]
    for name, first in zip(sample_files(len(done)), range(2, len(rows), ROWS), strict=True):
        block, pictures, texts = [*head, *rows[first : first + ROWS]], [], []
        for row, (words, panels) in enumerate(block):
            top = MARGIN + row * (height + MARGIN)
            texts.append(Text(top + height // 2 - 8, MARGIN, shorten(words, LABEL - 2 * MARGIN)))
            for column, panel in enumerate(panels):
                pictures.append((top, LABEL + column * (width + MARGIN), panel))
        right, bottom = LABEL + len(keys) * (width + MARGIN), len(block) * (height + MARGIN)
        boxes, words, end = legend(classes, range(len(classes)), MARGIN + bottom, right)
        write_page(out / name, (end, right), pictures, [*texts, *words], boxes)
