"""Measure every row of results.md on this machine: `make bench`.

python3 benchmarks/bench.py                        # an hour or so on two cores
python3 benchmarks/bench.py --rows predict start   # some rows; the others keep their numbers
python3 benchmarks/bench.py --try                  # only see whether every row runs

Leave the machine alone meanwhile. How it is done is told in `runner.py`.
"""

import argparse
import datetime
import json
import math
import os
import platform
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.report import Line, table_lines, write_page
from benchmarks.runner import alternate
from utils.files import PROJECT, replace_whole
from utils.label_maps.fresh import ensure_labels
from utils.versions import commit, versions

HERE = Path(__file__).resolve().parent
DRINKS = PROJECT / "data" / "drinks"
ALL, TWO = ("ours", "plain", "torch", "compiled"), ("ours", "plain")
NEEDS = {
    f"{action}_{name}": "torch" for action in ("train", "predict") for name in ("torch", "compiled")
} | {"masks_plain": "cv2", "train_tensorflow": "tensorflow", "train_jax": "jax"}
BUSY = 0.5  # load above which other programs take part of the machine
# Of a processor, what decides how fast it is in float32 and bfloat16.
FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
PACKAGES = ("tensorflow", "jax", "keras", "numpy", "torch", "opencv-python-headless")


@dataclass(frozen=True)
class Row:
    """Contestants that take turns, and the lines of the table that come of it.

    Attributes:
        contestants: a function of `contestants.py` and its options, by the contestant's name.
        lines: of the table.
        rounds: turns of each contestant; half as many with --quick.
        together: whether all fit into the memory at once, see `runner.alternate`.
        uncounted, counted: steps of a turn, likewise.
    """

    contestants: dict[str, tuple[str, dict]]
    lines: list[Line]
    rounds: int
    together: bool = True
    uncounted: int = 0
    counted: int = 1


def make_rows(scratch: Path, tiny: bool = False) -> dict[str, Row]:
    """Every row by its name.

    Args:
        scratch: a folder for what contestants read and write.
        tiny: small and few pictures, for `--try`.
    """
    large, small = ([64, 96], [32, 64]) if tiny else ([480, 640], [128, 160])
    number, batches = (6, 3) if tiny else (50, 50)
    annotations = (scratch if tiny else DRINKS) / "segmentation_train.json"
    pickled = str(scratch / "pickled.npy")

    def versus(action: str, names: tuple[str, ...], **options) -> dict[str, tuple[str, dict]]:
        return {name: (f"{action}_{name}", options) for name in names}

    matmul = {"matmul": ("matmul", {"side": 1000} if tiny else {})}

    def train(size: list[int], batch: int, plain: float, rounds: int, steps: tuple) -> Row:
        what = f"training step, {size[0]}×{size[1]}, batch {batch}"
        goals = {"plain": plain, "torch": 1.5}
        together = size[0] * size[1] * batch < 1e6  # plain Keras needs 22 GB for 1.2 megapixels
        contestants = versus("train", ALL, size=size, batch=batch) | matmul
        return Row(contestants, [Line(what, goals=goals)], rounds, together, *steps)

    def generator(workers: int, per: str) -> tuple[str, dict]:
        options = {"size": large, "batch": 4, "batches": batches, "workers": workers, "per": per}
        return "generator", options

    def start(*command: object) -> tuple[str, dict]:
        return "start", {"command": [str(part) for part in command]}

    step = ("train_ours", {"size": large, "batch": 4})
    small_step = {"size": small, "batch": 4}
    our_start = start(
        *(PROJECT / "fcn-12.3.1.py", "--train", "--save-dir", ".", "--batch-size", 4),
        # The same network, size, loss and optimiser for both.
        *("--preset", "book", "--height", small[0], "--width", small[1]),
    )
    plain_start = start(HERE / "plain_train.py", *small, 4, pickled)
    return {
        "train-480-1": train(large, 1, plain=4, rounds=3, steps=(2, 4)),
        "train-480-4": train(large, 4, plain=4, rounds=2, steps=(1, 2)),  # none has waited
        "train-128-4": train(small, 4, plain=3.5, rounds=5, steps=(2, 5)),
        "train-jax": Row(
            {"ours": ("train_tensorflow", small_step), "jax": ("train_jax", small_step)},
            [
                Line(
                    f"our step {small[0]}×{small[1]}, batch 4, on JAX; beside it on TensorFlow, "
                    "each in its fast precision",
                    columns={"ours": "jax", "plain": "ours"},
                    goals={"plain": 0.5},
                )
            ],
            rounds=5,
            uncounted=2,
            counted=5,
        ),
        "predict": Row(
            versus("predict", ALL, size=large) | matmul,
            [Line(f"prediction, {large[0]}×{large[1]}", goals={"plain": 6, "torch": 2})],
            rounds=5,
            uncounted=2,
            counted=5,
        ),
        "evaluate": Row(
            versus("evaluate", TWO, size=large, pictures=number),
            [Line(f"evaluation of {number} pictures, metrics included", goals={"plain": 6})],
            rounds=2,
        ),
        "generator": Row(
            {"ours": generator(4, "batch"), "plain": step, "one": generator(1, "picture")},
            [
                Line("generator, a batch of 4; beside it our training step", goals={"plain": 20}),
                Line("one thread of it, pictures", "per_second", {"ours": "one"}, limit=60),
            ],
            rounds=2,
        ),
        "labels": Row(
            {"ours": ("labels_ours", {}), "plain": ("labels_plain", {"path": pickled})},
            [
                Line("labels of 1,000 pictures on disk", "disk_mb", goals={"plain": 4}),
                Line("the same, memory of the process", "peak_mb", limit=50),
                Line("the same, opening and a first look", limit=0.1),
            ],
            rounds=5,
        ),
        "masks": Row(
            versus("masks", TWO, annotations=str(annotations), folder=str(scratch)),
            [Line("polygons of 1,000 pictures to saved masks", goals={"plain": 2})],
            rounds=3,
        ),
        "start": Row(
            {"ours": our_start, "plain": plain_start},
            [Line("start to first step of `--train`, 128×160, batch 4", goals={"plain": 2})],
            rounds=2,
        ),
    }


def prepare(scratch: Path, chosen: list[str], tiny: bool) -> None:
    """Make what the chosen rows find on disk: our label stores, the chapter's, few annotations."""
    for name in ("segmentation_train.npy", "segmentation_test.npy"):
        ensure_labels(DRINKS / name)
    few = "20" if tiny else "1000"
    if {"labels", "start"} & set(chosen):
        # In a process of its own, since it takes more than a GB of memory.
        store, pickled = DRINKS / "segmentation_train.npy", scratch / "pickled.npy"
        command = [sys.executable, HERE / "chapter_labels.py", store, pickled, few]
        subprocess.run(command, check=True)
    if tiny:
        project = json.loads((DRINKS / "segmentation_train.json").read_text())
        project["_via_img_metadata"] = dict(list(project["_via_img_metadata"].items())[:20])
        (scratch / "segmentation_train.json").write_text(json.dumps(project))


def measure(row: Row, rounds: int, run: dict) -> dict[str, dict]:
    """Let the contestants of a row take turns; see `runner.alternate` for what comes of it.

    Args:
        row, rounds: what is measured, and how often.
        run: see `describe_run`.
    """
    commands, needs = {}, {}
    for name, (function, options) in row.contestants.items():
        program = str(HERE / "contestants.py")
        commands[name] = [sys.executable, program, function, json.dumps(options)]
        if function in NEEDS:
            needs[name] = NEEDS[function]
    turn = {"uncounted": row.uncounted, "counted": row.counted}
    return alternate(commands, rounds, needs, row.together, same_terms(run), **turn)


def same_terms(run: dict) -> dict[str, str]:
    """Variables that give every contestant the device that Keras has, and what is fast on it.

    Most are alive side by side, so none may take the whole memory of a GPU.
    """
    terms = {"KERAS_BACKEND": run["backend"], "BENCHMARK_PRECISION": run["precision"]}
    if run["gpu"] is None:
        return terms | {"BENCHMARK_DEVICE": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    return terms | {
        "BENCHMARK_DEVICE": "cuda",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    }


def find_device() -> dict[str, str | None]:
    """The backend that is taken here, the GPU that it sees, or None, and its fast precision.

    In a process of its own: a backend that looks for a GPU keeps it.
    """
    code = (
        "import sys, json; sys.path[:0] = sys.argv[1:]\n"
        "from engine.startup import import_keras; import_keras()\n"
        "from fast.devices import fast_precision, gpu_name\n"
        "import keras\n"
        "found = [keras.backend.backend(), gpu_name(), fast_precision()]\n"
        "print(json.dumps(dict(zip(['backend', 'gpu', 'precision'], found))))"
    )
    folders = [str(PROJECT), str(PROJECT / "chapter12-segmentation")]
    command = [sys.executable, "-c", code, *folders]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(answer.splitlines()[-1])


def describe_run() -> dict:
    """Machine, backend, precision, versions, commit, date, how busy the machine is without us."""
    load, device = os.getloadavg()[0], find_device()
    results = [f"benchmarks/{name}" for name in ("results.*", "cost.*")]  # of an earlier run
    return {
        "machine": describe_machine(device["gpu"]),
        **device,
        "versions": versions(PACKAGES),
        "commit": commit(leaving_out=results) or "unknown",
        "date": datetime.date.today().isoformat(),
        "load": load,
    }


def warn_if_busy(run: dict) -> None:
    """Say so when numbers measured now will be worth little."""
    if run["load"] > BUSY:
        print(f"The load is {run['load']:.1f}: other programs are running and will be measured.")


def describe_machine(gpu: str | None) -> str:
    """Processor, cores, memory, its instructions that matter here, and the GPU if there is one."""
    processor, flags = platform.processor(), ""
    information = Path("/proc/cpuinfo")
    if information.exists():  # Linux
        text = information.read_text()
        found = re.search(r"model name\s*: (.*)", text)
        processor = found[1] if found else platform.machine()
        flags = " ".join(flag for flag in FLAGS if flag in text)
    parts = [f"{os.cpu_count()} cores of {processor}", flags, f"{memory_mb() / 1000:.0f} GB", gpu]
    return ", ".join(part for part in parts if part)


def memory_mb() -> float:
    """The memory of this machine, in MB (10^6 bytes)."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    """Read the command line, measure, and write results after every row."""
    names = list(make_rows(Path()))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", nargs="+", choices=names, default=names, metavar="ROW")
    parser.add_argument("--quick", action="store_true", help="half the rounds")
    parser.add_argument(
        "--try", dest="tiny", action="store_true", help="tiny pictures, one round, nothing written"
    )
    args = parser.parse_args()
    run = describe_run() | {"quick": args.quick}
    warn_if_busy(run)
    if "torch" not in run["versions"]:
        print("PyTorch is measured too after: pip install -r requirements/benchmark.txt")

    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), args.rows, args.tiny)
        rows = make_rows(Path(folder), args.tiny)
        for name in args.rows:
            row = rows[name]
            rounds = 1 if args.tiny else math.ceil(row.rounds / (2 if args.quick else 1))
            contestants = measure(row, rounds, run)
            print(*table_lines(row.lines, contestants), sep="\n", flush=True)
            if not args.tiny:
                turn = {"uncounted": row.uncounted, "counted": row.counted}
                keep(name, {"contestants": contestants, "turn": turn, "run": run}, rows)


def keep(name: str, result: dict, rows: dict[str, Row]) -> None:
    """Put the result of one row into results.json and write results.md; other rows stay."""
    path = HERE / "results.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    results[name] = result
    with replace_whole(path) as unfinished:
        unfinished.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    page = write_page({name: row.lines for name, row in rows.items()}, results)
    with replace_whole(HERE / "results.md") as unfinished:
        unfinished.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
