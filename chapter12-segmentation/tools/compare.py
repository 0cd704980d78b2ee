"""Train networks on the same data, with the same budget and seed, and compare them.

    python3 chapter12-segmentation/tools/compare.py fcn segnet unet
    python3 chapter12-segmentation/tools/compare.py all --out /tmp/compare -- --epochs 12

Into the folder of results go `compare.md` and `compare.csv`, with what overviews claim and whether
it holds here (`tools.claims`); `compare.png`, accuracy against arithmetic; `compare-samples-1.png`,
what each says of the same test pictures; and a folder a run in `runs`. Interrupted, the same
command goes on where it was; on another machine too, by the files `result.json` and `samples.png`
of what was measured. Steps and answers are timed at the end, all networks one after another: for
fair times leave the machine alone then. What the folder has of other networks, with the same
options, stays in the page.
"""

import argparse
import multiprocessing
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

CHAPTER = Path(__file__).resolve().parents[1]
if __name__ == "__main__":  # in place of this folder
    sys.path[:1] = [str(CHAPTER.parent), str(CHAPTER)]

from engine.startup import import_keras  # noqa: E402
from tools.claims import VARIANTS, named  # noqa: E402
from tools.comparison import (  # noqa: E402
    NARROW,
    draw_all,
    every_name,
    folder_of,
    read_result,
    write_result,
)
from tools.measurements import (  # noqa: E402
    measure,
    network_of,
    time_steps,
    training_arguments,
)
from utils.errors import UserError  # noqa: E402
from utils.errors import run as run_main  # noqa: E402
from utils.files import at_home, data_folder, fingerprint, read_json, relative  # noqa: E402
from utils.history import read_rows  # noqa: E402
from utils.locks import alone  # noqa: E402
from utils.option_types import whole_number  # noqa: E402

SCRIPT = CHAPTER.parent / "fcn-12.3.1.py"
# What each network is trained with; options behind -- come after these. Of one size, as a second
# one would be compiled for each, and a quarter as wide as its paper has it: from random weights two
# cores teach 134 million parameters nothing in minutes.
BUDGET = (
    "--preset quick --no-grow --height 96 --width 128 --epochs 8 --pictures-per-epoch 500 "
    "--batch-size 4 --optimizer adam --learning-rate 1e-3"
)
OURS = ("--model", "--narrow", "--seed", "--save-dir", "--resume")  # options that vary
# What else the script can be asked to do.
TASKS = set("-e --evaluate --segment --summary --list-models --help --help-all -h".split())
SEEDS = 3  # of the networks that a claim hangs on; the others have one


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
            times = apart(time_steps, name, own, folder)
            if "failed" in times:  # it has its scores all the same, and is timed the next time
                print(f"{folder.name} has no times: {times.pop('failed')}", flush=True)
            result |= times
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
    result.pop("failed", None)  # is tried again
    if "dataset_miou" in result:
        return result
    own = options_of(name, seed, options, out)
    print(f"{folder.name}:", flush=True)
    result = {"name": name, "seed": seed, "options": options} | result
    result |= train(name, own, folder) if "minutes" not in result else {}
    if "failed" not in result:
        result |= apart(measure, name, own, folder)
    write_result(folder, result)
    draw_all(options, out)
    return result


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
    before = log.stat().st_size if log.exists() else 0  # what was said by earlier attempts
    status = run_logged(command, log)
    lines = log.read_bytes()[before:].decode(errors="replace").split("\n")
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
    except Exception as error:  # of one network, which is not to be the end of all
        told = str(error).strip().split("\n")[0]
        return {"failed": f"{type(error).__name__}: {told[:200]}"}


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        epilog=f"Options of the training stand behind --; before them come {BUDGET}.",
    )
    parser.add_argument("names", nargs="+", metavar="NAME", help="networks, or all")
    parser.add_argument(
        "--out", type=at_home, default=Path("compare"), help="folder of results (compare)"
    )
    parser.add_argument(
        "--seeds",
        type=whole_number(1),
        default=SEEDS,
        help=f"runs of the networks that a claim hangs on ({SEEDS}); the others have one",
    )
    arguments = sys.argv[1:] if arguments is None else arguments
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    args, unknown = parser.parse_known_args(arguments[:cut])
    if unknown:
        parser.error(f"{' '.join(unknown)}: options of the training stand behind --")
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
    print(f"Page: {args.out / 'compare.md'}")
    if any("failed" in result for result in results):
        sys.exit(1)


if __name__ == "__main__":
    run_main(main)
