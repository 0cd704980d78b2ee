"""Train networks on the same data, with the same budget and seed, and compare them.

    python3 chapter12-segmentation/tools/compare.py fcn segnet unet
    python3 chapter12-segmentation/tools/compare.py all --out /tmp/compare -- --epochs 12

Into the folder of results go `compare.md` and `compare.csv`, with what overviews claim and whether
it holds here (`tools.claims`); `compare.png`, accuracy against arithmetic; `compare-samples.png`,
what each says of the same test pictures; and a folder a run in `runs`. Interrupted, the same
command goes on where it was; on another machine too, by the files `result.json` and `samples.png`
of what was measured. Steps and answers are timed at the end, all networks one after another: for
fair times leave the machine alone then. What the folder has of other networks, with the same
options, stays in the page.
"""

import argparse
import csv
import json
import math
import multiprocessing
import shlex
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import partial
from pathlib import Path

CHAPTER = Path(__file__).resolve().parents[1]
if __name__ == "__main__":  # in place of this folder
    sys.path[:1] = [str(CHAPTER.parent), str(CHAPTER)]

import numpy as np  # noqa: E402

from engine.arguments import parse_arguments  # noqa: E402
from engine.records import LEAST_SIDE  # noqa: E402
from engine.startup import import_keras  # noqa: E402
from tools.claims import MIOU, VARIANTS, at_scales, named, verdicts, with_crf  # noqa: E402
from utils.classes import VOID  # noqa: E402
from utils.drawing import (  # noqa: E402
    MARGIN,
    Text,
    as_seen,
    colour_labels,
    legend,
    shorten,
    write_index_png,
    write_page,
)
from utils.errors import UserError  # noqa: E402
from utils.errors import run as run_main  # noqa: E402
from utils.files import (  # noqa: E402
    at_home,
    data_folder,
    fingerprint,
    read_json,
    relative,
    replace_whole,
)
from utils.history import read_rows  # noqa: E402
from utils.locks import alone  # noqa: E402
from utils.option_types import whole_number  # noqa: E402
from utils.picture_files import opened  # noqa: E402
from utils.pictures import resize_labels, resize_picture  # noqa: E402

SCRIPT = CHAPTER.parent / "fcn-12.3.1.py"
# What each network is trained with; options behind -- come after these. Of one size, as a second
# one would be compiled for each, and a quarter as wide as its paper has it: from random weights two
# cores teach 134 million parameters nothing in minutes.
BUDGET = (
    "--preset quick --no-grow --height 96 --width 128 --epochs 8 --pictures-per-epoch 500 "
    "--batch-size 4 --optimizer adam --learning-rate 1e-3"
)
NARROW = 4  # --narrow of those that no preset makes narrower
OURS = ("--model", "--narrow", "--seed", "--save-dir", "--resume")  # options that vary
# What else the script can be asked to do.
TASKS = {"--evaluate", "--segment", "--summary", "--list-models", "--help", "--help-all", "-h"}
SEEDS = 3  # of the networks that a claim hangs on; the others have one
SAMPLES = 3  # test pictures that are shown
SAMPLE = (168, 224)  # (H, W) of them on the page
LABEL = 330  # pixels: the column of names
MOST_NAMES = 28  # beside a figure of the usual height
ROWS = 20  # networks below one another; more go beside them
UNCOUNTED, COUNTED = 2, 5  # steps
BEST = "*-best-iou.weights.h5"
COLUMNS = {  # of the table: heading and format
    "name": ("network", "{}"),
    "year": ("year", "{}"),
    "paper_parameters": ("parameters of the paper's", "{:,}"),
    "parameters": ("parameters as trained", "{:,}"),
    "gmac": ("GMAC a picture", "{:.2f}"),
    "field": ("field in pixels", "{:.0f}"),
    "memory": ("GB in training", "{:.1f}"),
    "seconds_a_step": ("seconds a step", "{:.2f}"),
    "seconds_a_picture": ("seconds an answer", "{:.3f}"),
    "chapter_miou": ("chapter mIoU", "{:.3f}"),
    "dataset_miou": ("dataset mIoU", "{:.3f}"),
    "boundary_f1": ("boundary F1", "{:.3f}"),
    "pixel_accuracy": ("pixel accuracy", "{:.1%}"),
}
SCORES = ("chapter_miou", "dataset_miou", "boundary_f1", "pixel_accuracy")
MEASURED = ("year", "paper_parameters", "parameters", "gmac", "field", *SCORES)  # of every run
LARGE = 0.1  # share of the picture from which a class in it is large
RIM = 0.05  # of a picture's height and width: what is near its sides
SCALES = {"half": 0.5, "double": 2.0}  # at which pictures are shown besides that of training
# Of the claims alone.
MORE = {
    "large_iou": (f"IoU of what has {LARGE:.0%} of its picture and more", "{:.3f}"),
    "small_iou": (f"IoU of what has less than {LARGE:.0%} of its picture", "{:.3f}"),
    "half_way_miou": ("dataset mIoU on validation, after half of the epochs", "{:.3f}"),
    "rim_miou": (f"dataset mIoU of what is within {RIM:.0%} of a side", "{:.3f}"),
    "half_miou": ("dataset mIoU, pictures half as large and as in training", "{:.3f}"),
    "double_miou": ("dataset mIoU, pictures twice as large and as in training", "{:.3f}"),
    "pruned_miou": ("dataset mIoU, cut off behind the third head and whole", "{:.3f}"),
    "pruned_gmac": ("GMAC a picture, cut off behind the third head and whole", "{:.2f}"),
    "patches_gmac": ("GMAC a picture, patch by patch and all at once", "{:.2f}"),
    "whole_kernels_gmac": ("GMAC a picture, kernels in columns and rows and whole", "{:.2f}"),
    "seconds_a_photo": ("seconds a photograph", "{:.2f}"),
    "crf_seconds_a_photo": ("seconds a photograph, with a CRF and without", "{:.2f}"),
    "crf_dataset_miou": ("dataset mIoU, behind a CRF and before it", "{:.3f}"),
    "crf_boundary_f1": ("boundary F1, behind a CRF and before it", "{:.3f}"),
}


def compare(runs: list[tuple[str, int]], options: list[str], out: Path) -> list[dict]:
    """Train and measure the networks that `out` has no results of; draw what there is after each.

    Args:
        runs: networks of `zoo.MODELS` or of `tools.claims.VARIANTS`, and the seed of each.
        options: of the training, see `BUDGET`.
        out: the folder of results; made if need be.

    Returns:
        A dictionary a run: name, seed and the columns of the table, or "failed" with the reason.

    Raises:
        UserError: the folder has results of other options, or files that are none; or another
            comparison is at a run.
    """
    results = []
    for name, seed in runs:
        folder = folder_of(out, name, seed)
        complaint = (
            f"another comparison is at {folder} at this moment; wait for its end, or take another "
            "--out."
        )
        with alone(folder / ".lock", complaint):
            results.append(run_one(name, seed, options, out))
    for result in results:
        name, seed = result["name"], result["seed"]
        if "failed" not in result and "seconds_a_step" not in result and not seed:
            own, folder = options_of(name, seed, options, out), folder_of(out, name, seed)
            result |= apart(time_steps, name, own, folder)
            write_result(folder, result)
    draw_all(options, out)
    return results


def run_one(name: str, seed: int, options: list[str], out: Path) -> dict:
    """Train and measure a network, as far as that was not done; see `compare`."""
    folder = folder_of(out, name, seed)
    result = read_result(folder)
    if "failed" in result and not list(folder.glob("*.h5")):
        result = {}  # and what it was given may be why
    if result and result["options"] != options:
        raise UserError(
            f"{folder} holds a run with other options ({shlex.join(result['options'])}); "
            "give the same behind --, or another --out."
        )
    own = options_of(name, seed, options, out)
    result.pop("failed", None)  # is tried again
    if "dataset_miou" in result:
        return result
    print(f"{folder.name}:", flush=True)
    result = {"name": name, "seed": seed, "options": options} | result
    result |= train(name, own, folder) if "minutes" not in result else {}
    if "failed" not in result:
        result |= apart(measure, name, own, folder)
    write_result(folder, result)
    draw_all(options, out)
    return result


def results_in(out: Path, options: list[str]) -> list[dict]:
    """What the folder has of runs with these options, in the order of `every_name`."""
    found = [read_result(path.parent) for path in (out / "runs").glob("*/result.json")]
    found = [result for result in found if result.get("options") == options]
    order = {name: place for place, name in enumerate(every_name())}
    return sorted(found, key=lambda result: (order.get(result["name"], -1), result["seed"]))


def every_name() -> list[str]:
    """The names of all networks, and of what is trained otherwise."""
    import zoo

    return [*zoo.MODELS, *VARIANTS]


def folder_of(out: Path, name: str, seed: int) -> Path:
    """The folder of a run among the results."""
    return out / "runs" / (f"{name}-seed{seed}" if seed else name)


def network_of(name: str) -> str:
    """The network of a run."""
    return VARIANTS[name][0] if name in VARIANTS else name


def options_of(name: str, seed: int, options: list[str], out: Path) -> list[str]:
    """The options of a run: those of all, how narrow the network is, the seed, its own."""
    import zoo

    narrow = [] if zoo.find(network_of(name)).presets else ["--narrow", str(NARROW)]
    own = VARIANTS[name][1] if name in VARIANTS else []
    if any("{" in word for word in own):
        own = [word.format_map(paths(options, out)) for word in own]
    return [*narrow, *options, "--seed", str(seed), *own]


def paths(options: list[str], out: Path) -> dict[str, Path]:
    """The folder of the training pictures, "pictures", and the labels of every eighth, "eighth".

    Those are written into the folder of runs, and again when the labels or their place are others.
    """
    from engine.session import open_labels
    from engine.settings import settle
    from utils.label_maps.store import index_path, write_labels

    _, data, _ = settle(training_arguments("fcn", [*options, "--verbose", "0"], out))
    store = open_labels(data, data.train_labels, False)
    eighth = out / "runs" / "eighth.npy"
    labels = data_folder(data.data_path) / data.train_labels
    origin = {"eighth_of": fingerprint(labels), "in": relative(store.folder, eighth.parent)}
    try:
        known = read_json(index_path(eighth))["made_from"]
    except (OSError, ValueError, TypeError, KeyError):
        known = None
    if known != origin:
        some = ((key, store[key]) for key in store.keys[::8])
        write_labels(eighth, store.folder, store.classes, some, origin, store.reading)
    return {"eighth": eighth, "pictures": store.folder}


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


def train(name: str, options: list[str], folder: Path) -> dict:
    """Train a network by the command that everybody has, going on where it was interrupted.

    Returns:
        Its "minutes", those before an interruption included, and "half_way_miou"; or "failed" with
        the last line that it printed.
    """
    command = [sys.executable, str(SCRIPT), "--train", "--model", network_of(name), *options]
    command += ["--save-dir", str(folder)]
    if list(folder.glob("*-last.weights.h5")):
        command.append("--resume")
    log = folder / "log.txt"
    print(f"$ {shlex.join(['python3', SCRIPT.name, *command[2:]])} >> {log}", flush=True)
    status = run_logged(command, log)
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    told = [line for line in lines if line.startswith("error: ")]
    last = next(reversed(told or [line for line in lines if line.strip()]), "")
    # Killed after its last epoch, it has nothing left to do.
    if status and "has all of its" not in last:
        return {"failed": f"status {status}: {last}"}
    rows = [row for path in folder.glob("*-history.csv") for row in read_rows(path)]
    half = max(len(rows) // 2, 1)
    minutes = sum(row["seconds"] for row in rows) / 60
    return {"minutes": minutes, "half_way_miou": rows[half - 1]["dataset_miou"]}


def run_logged(command: list[str], path: Path) -> int:
    """Run a program, add what it prints to a file, and return its exit status."""
    with open(path, "a", encoding="utf-8") as log:
        return subprocess.run(command, stdout=log, stderr=subprocess.STDOUT).returncode


def apart(function: Callable[..., dict], name: str, options: list[str], folder: Path) -> dict:
    """Call `measure` or `time_steps` in a process of its own, which leaves no memory behind.

    Returns:
        What it found, or "failed" with the reason.
    """
    spawn = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(1, mp_context=spawn) as process:
            return process.submit(function, name, options, folder).result()
    except UserError as error:
        return {"failed": str(error)}
    except BrokenProcessPool:
        return {"failed": "killed while it was measured, as when memory runs out"}


def measure(name: str, options: list[str], folder: Path) -> dict:
    """Score the best weights of a run on the test pictures; count its network.

    Args:
        name, options: of the training.
        folder: of the run. `samples.png` is written there: what the network says of a few test
            pictures, side by side.
    """
    import_keras()
    import zoo
    from engine.session import open_labels
    from engine.settings import settle
    from engine.weights import load_weights, read_network
    from evaluation import answer, answering, evaluate, segment_objects
    from fast.folding import fold
    from metrics import scores
    from tools.crf import refined
    from tools.summary import stages

    _, data, _ = settle(training_arguments(name, [*options, "--verbose", "0"], folder))
    best = best_of(folder)
    network = read_network(best)
    model = network.build()
    load_weights(model, best)
    ask, channels = partial(answer, fold(answering(model))), network.input_shape[2]
    store = open_labels(data, data.test_labels, False)
    answers = {"": ask} | ({"crf_": partial(refined, ask)} if name in with_crf() else {})
    result = {}
    for prefix, each in answers.items():
        matrices, found = score(each, store, data.workers, channels)
        result |= {prefix + column: value for column, value in found.items()}
    counts = matrices.sum((0, 2))  # pixels of each class
    result["background_miou"] = float(counts[0] / counts.sum() / len(counts))
    if name in at_scales():
        sizes = {w: tuple(round(side * s) for side in network.size) for w, s in SCALES.items()}
        for word, size in sizes.items():
            if min(size) < LEAST_SIDE:
                continue
            other = network.at(size).build()
            other.set_weights(model.get_weights())
            look = partial(answer, fold(answering(other)))
            result[f"{word}_miou"] = scores(evaluate(look, store, data.workers, channels))[MIOU]
    if cut := cut_off(model):
        look = partial(answer, fold(cut))
        result["pruned_miou"] = scores(evaluate(look, store, data.workers, channels))[MIOU]
        result["pruned_gmac"] = sum(row["gmac"] for row in stages(cut))
    if network.name == "sliding-window":
        result["patches_gmac"] = cost_by_patches(network)
    if network.name == "gcn":
        result["whole_kernels_gmac"] = cost_of_whole_kernels(model)
    # Without a second head, which only training asks.
    entry, rows = zoo.find(network.name), stages(answering(model))
    result |= {"year": entry.year, "paper_parameters": entry.parameters}
    result |= {"parameters": model.count_params(), "gmac": sum(row["gmac"] for row in rows)}
    result |= {"field": max(row["field"] for row in rows)}
    pictures = [store.picture(key, channels=channels) for key in sample_keys(store.keys)]
    predicted = [segment_objects(ask, picture, SAMPLE) for picture in pictures]
    write_index_png(folder / "samples.png", np.hstack(predicted), store.classes)
    return result


def score(ask, store, workers: int, channels: int) -> tuple[np.ndarray, dict]:
    """The confusion matrices (N, C, C) of a data set, and every score of its answers.

    Args:
        ask, store, workers, channels: as for `evaluation.evaluate`.
    """
    from evaluation import Boundaries, evaluate
    from metrics import scores

    boundaries, rims = Boundaries(), []

    def see(*picture) -> None:
        boundaries.see(*picture)
        rims.append(count_in_rim(*picture))

    matrices = evaluate(ask, store, workers, channels, see)
    f1, trimaps = boundaries.scores()
    found = scores(matrices) | by_size(matrices) | {"rim_miou": scores(np.stack(rims))[MIOU]}
    return matrices, found | {"boundary_f1": f1, "trimap_mious": trimaps}


def by_size(matrices: np.ndarray) -> dict[str, float]:
    """The mean IoU of classes that have much of their picture, and of those that have little.

    Args:
        matrices: (N, C, C) int64, a confusion matrix a picture.
    """
    from tools.portrait import object_regions

    _, shares, ious = object_regions(matrices)
    parts = {"large_iou": ious[shares >= LARGE], "small_iou": ious[shares < LARGE]}
    return {column: float(each.mean()) for column, each in parts.items() if each.size}


def count_in_rim(truth: np.ndarray, predicted: np.ndarray, n_classes: int) -> np.ndarray:
    """The confusion matrix of the pixels near the sides of a picture, see `RIM`: (C, C) int64.

    Args:
        truth, predicted: (H, W) uint8 class ids.
        n_classes: C.
    """
    from metrics import count_confusions

    height, width = truth.shape
    inner = (slice(round(side * RIM), side - round(side * RIM)) for side in (height, width))
    rim = truth.copy()
    rim[tuple(inner)] = VOID
    return np.asarray(count_confusions(rim[None], predicted[None], n_classes)[0], np.int64)


def cut_off(model):
    """A UNet++ cut off behind its third head, as its paper prunes it; None for another network."""
    import keras

    from zoo.unetplusplus import top_row

    heads = {j: head for j, _, head in top_row(model) if head is not None}
    return keras.Model(model.inputs[0], heads[3]) if set(heads) > {3} else None


def cost_of_whole_kernels(model) -> float:
    """GMAC of a GCN if each large kernel were one of k x k, not columns and rows in both orders."""
    from tools.summary import trace

    total = 0
    for call in trace(model)[0]:
        if "_kernel_" not in call.layer.name or not hasattr(call.layer, "kernel_size"):
            total += call.macs
        elif call.layer.name.endswith("_column_conv1"):  # k x 1, from all channels to the classes
            total += call.macs * max(call.layer.kernel_size)
    return total / 1e9


def cost_by_patches(network) -> float:
    """GMAC of a picture for the classifier of patches that looks at each pixel's by itself."""
    from tools.summary import stages
    from zoo.sliding_window import build_patch_classifier, patch_side

    height, width, channels = network.input_shape
    kernels = network.settings.get("kernels")
    side = patch_side(kernels) if kernels else patch_side()
    one = build_patch_classifier((side, side, channels), len(network.classes), **network.settings)
    return height * width * sum(row["gmac"] for row in stages(one))


def best_of(folder: Path) -> Path:
    """The best weights of a run; older ones are those of a run that was killed early on."""
    return max(folder.glob(BEST), key=lambda path: path.stat().st_mtime)


def time_steps(name: str, options: list[str], folder: Path) -> dict:
    """Time steps of a training and answers: the median of those behind the first few.

    Returns:
        "seconds_a_step", "seconds_a_picture", and "memory", the most that the process had, in GB.
        Where claims ask for a CRF, "seconds_a_photo" and "crf_seconds_a_photo" of a test picture at
        its own size.
    """
    import_keras()
    from engine.adversarial import oppose
    from engine.session import classes_of, open_labels
    from engine.settings import settle
    from engine.trainer import JIT, OPTIMIZERS
    from evaluation import answer as answer_of
    from evaluation import answering, segment_batch
    from fast.folding import fold
    from losses import LOSSES
    from tools.crf import refined

    network, data, run = settle(training_arguments(name, [*options, "--verbose", "0"], folder))
    network = replace(network, classes=classes_of(data))
    model = network.build()
    shape = (data.batch_size, *network.input_shape)
    if run.adversarial != "none":
        width = run.opponent_width
        model = oppose(model, run.adversarial, run.adversarial_weight, run.seed, width)
    labels = np.zeros(shape[:3], np.uint8)
    batch = [np.zeros(shape, np.uint8), labels]
    if data.unlabelled:
        batch[1] = labels, np.zeros(shape, np.uint8)
    if run.loss == "border":  # comes with weights of the pixels
        batch.append(np.ones(shape[:3], np.float32))
    optimizer = OPTIMIZERS[run.optimizer](run.learning_rate)
    model.compile(optimizer=optimizer, loss=LOSSES[run.loss](None), jit_compile=JIT)
    steps = median_time(lambda: model.train_on_batch(*batch))
    memory = peak_memory()
    ask = partial(answer_of, fold(answering(network.build())))
    answers = median_time(lambda: segment_batch(ask, batch[0][:1]))
    result = {"seconds_a_step": steps, "seconds_a_picture": answers} | memory
    if name in with_crf():
        store = open_labels(data, data.test_labels, False)
        photo = store.picture(store.keys[0], channels=network.input_shape[2])
        for prefix, each in {"": ask, "crf_": partial(refined, ask)}.items():
            result[f"{prefix}seconds_a_photo"] = median_time(
                lambda e=each: segment_batch(e, [photo])
            )
    return result


def peak_memory() -> dict:
    """The most memory that this process had, in GB, as "memory"; nothing on Windows."""
    try:
        import resource
    except ImportError:
        return {}
    unit = 2**30 if sys.platform == "darwin" else 2**20  # of bytes on macOS, of KB on Linux
    return {"memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit}


def median_time(function: Callable[[], object]) -> float:
    """Seconds that a function takes, called a few times before any counts."""
    times = []
    for _ in range(UNCOUNTED + COUNTED):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times[UNCOUNTED:])


def training_arguments(name: str, options: list[str], folder: Path):
    """The options of a training as `engine.arguments` reads them."""
    model = ["--model", network_of(name)]
    return parse_arguments(["--train", *model, *options, "--save-dir", str(folder)])


def sample_keys(keys: list[str]) -> list[str]:
    """The test pictures that are shown: some from all over the set, the same for each network."""
    return [keys[len(keys) * place // SAMPLES] for place in range(min(SAMPLES, len(keys)))]


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
        lines += [f"Who says background everywhere has a dataset mIoU of {idle[0]:.3f}: a network"]
        lines += [
            "near that has learnt next to nothing in this budget, and what is said of it says"
        ]
        lines += ["how fast it learns, no more."]
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
        lines += ["", "![mIoU against arithmetic](compare.png)", "", "## What is said of them", ""]
        lines += [verdicts(done, COLUMNS | MORE), "## What they say of the same pictures", ""]
        lines += ["![The answers of each](compare-samples.png)"]
    return "\n".join([*lines, ""])


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


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        epilog=f"Options of the training stand behind --; before them come {BUDGET}.",
    )
    parser.add_argument("names", nargs="+", metavar="NAME", help="networks, or all")
    parser.add_argument("--out", type=at_home, default=Path("compare"), help="folder of results")
    parser.add_argument(
        "--seeds",
        type=whole_number(1),
        default=SEEDS,
        help=f"runs of the networks that a claim hangs on ({SEEDS}); the others have one",
    )
    arguments = sys.argv[1:] if arguments is None else arguments
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    args = parser.parse_args(arguments[:cut])
    args.options = merged([*BUDGET.split(), *arguments[cut + 1 :]])
    for option in OURS:
        if any(word.split("=")[0] == option for word in args.options):
            parser.error(f"{option} is not to be given behind --: each run has its own")
    if TASKS & set(args.options):
        parser.error("behind -- come options of a training alone")
    for path in (args.out, *args.out.parents):
        if path.exists() and not path.is_dir():
            parser.error(f"--out {args.out}: {path} is a file; name a folder")
    training_arguments("fcn", args.options, args.out)  # ends here where they are none
    return args


def merged(words: list[str]) -> list[str]:
    """The words of options, each option once, with what was said of it last."""
    options: dict[str, list[str]] = {}
    for word in words:
        if word.startswith("--"):
            name = word.split("=")[0].replace("--no-", "--")
            options[name] = []
        options[name].append(word)
    return [word for words in options.values() for word in words]


def main() -> None:
    """Compare the networks that are named; end with status 1 where one could not be trained."""
    args = parse()
    # Ended so, it ends the training too: `subprocess.run` does when it is left by an exception.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    import_keras()
    import zoo

    for name in args.names:
        if name != "all":
            zoo.find(network_of(name))  # before hours of training
    names = every_name() if "all" in args.names else list(dict.fromkeys(args.names))
    runs = [(name, 0) for name in names]
    claimed = [name for name in names if name in named()]
    runs += [(name, seed) for seed in range(1, args.seeds) for name in claimed]
    results = compare(runs, args.options, args.out.resolve())
    print((args.out / "compare.md").read_text(encoding="utf-8"), end="")
    if any("failed" in result for result in results):
        sys.exit(1)


if __name__ == "__main__":
    run_main(main)
