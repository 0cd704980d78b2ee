"""How cost grows with the size of pictures, their number in a batch, and their number: cost.png.

python3 benchmarks/cost.py

Every point has a process of its own, since peak memory only rises. Points go to cost.csv as they
are measured; those that are there already are not measured again, so delete the file to start anew.
"""

import argparse
import csv
import json
import math
import statistics
import sys
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.bench import describe_run, memory_mb, same_terms, warn_if_busy
from benchmarks.runner import alternate
from utils.files import PROJECT, replace_whole
from utils.label_maps.fresh import ensure_labels

HERE = Path(__file__).resolve().parent
TRAIN = PROJECT / "data" / "drinks" / "segmentation_train.npy"
SIZES = ((128, 160), (240, 320), (480, 640), (720, 960), (960, 1280))
SMALL = SIZES[0]
MOST_MEMORY = 0.8  # of the machine's; a point that would need more is left out
COUNTS = (10, 100, 1000)  # pictures to evaluate
# By action and what grows: the value on the x axis and the options of the contestant, ascending.
POINTS = {
    ("train", "megapixels"): [(h * w / 1e6, {"size": (h, w), "batch": 1}) for h, w in SIZES],
    ("predict", "megapixels"): [(h * w / 1e6, {"size": (h, w)}) for h, w in SIZES],
    ("train", "batch"): [(n, {"size": SMALL, "batch": n}) for n in (1, 2, 4, 8, 16)],
    ("evaluate", "pictures"): [
        (n, {"size": SMALL, "pictures": n, "labels": str(TRAIN)}) for n in COUNTS
    ],
}
LABELS = {"train": "training step", "predict": "prediction", "evaluate": "evaluation"}
TITLES = {
    "megapixels": "size of a picture, megapixels",
    "batch": "pictures in a batch, {}×{}".format(*SMALL),
    "pictures": "number of pictures, {}×{}".format(*SMALL),
}
NUMBERS = ("x", "seconds", "lowest", "highest", "peak_mb")
COLUMNS = ("action", "grows", *NUMBERS, "commit", "machine")


def measure(action: str, options: dict, rounds: int, run: dict) -> dict:
    """Turns of our contestant alone; see `runner.alternate` for what comes of it."""
    program = str(HERE / "contestants.py")
    command = [sys.executable, program, f"{action}_ours", json.dumps(options)]
    return alternate({"ours": command}, rounds, {}, environment=same_terms(run))["ours"]


def read_points(path: Path) -> list[dict]:
    """The points measured so far; none when there is no file."""
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return [row | {name: float(row[name]) for name in NUMBERS} for row in csv.DictReader(file)]


def write_points(path: Path, points: list[dict]) -> None:
    """Replace the file of points."""
    with replace_whole(path) as unfinished:
        with open(unfinished, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(points)


def too_large(points: list[dict], x: float, most: float) -> bool:
    """Whether the next point of a series would need more MB than `most`, by the last two."""
    if len(points) < 2:
        return False
    (x1, y1), (x2, y2) = ((point["x"], point["peak_mb"]) for point in points[-2:])
    return y2 + (y2 - y1) / (x2 - x1) * (x - x2) > most


def draw(points: list[dict], path: Path) -> None:
    """Seconds above, peak memory below, a column for each thing that grows."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, len(TITLES), figsize=(11, 6), sharex="col", layout="constrained")
    for (action, grows), _ in POINTS.items():
        series = [p for p in points if (p["action"], p["grows"]) == (action, grows)]
        upper, lower = axes[:, list(TITLES).index(grows)]
        xs = [point["x"] for point in series]
        upper.plot(xs, [point["seconds"] for point in series], "o-", label=LABELS[action])
        upper.fill_between(
            xs, [p["lowest"] for p in series], [p["highest"] for p in series], alpha=0.3
        )
        lower.plot(xs, [point["peak_mb"] / 1000 for point in series], "o-", label=LABELS[action])
        lower.set_xlabel(TITLES[grows])
    for axis in axes.flat:
        axis.set_xlim(left=0)
        axis.set_ylim(0, 1.3 * axis.get_ylim()[1])  # room for the legend above the lines
        axis.legend(loc="upper left")
    axes[0, 0].set_ylabel("seconds")
    axes[1, 0].set_ylabel("peak memory, GB")
    with replace_whole(path) as unfinished:
        figure.savefig(unfinished, dpi=100)
    plt.close(figure)


def main() -> None:
    """Measure the points that are missing, then draw all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="turns at each point (3)")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of cost.csv and cost.png")
    args = parser.parse_args()
    if args.rounds < 1:
        parser.error("--rounds is 1 or more")
    ensure_labels(TRAIN)
    run = describe_run()
    warn_if_busy(run)
    path = args.out / "cost.csv"
    points = read_points(path)
    for (action, grows), series in POINTS.items():
        for x, options in series:
            done = [p for p in points if (p["action"], p["grows"]) == (action, grows)]
            if any(math.isclose(point["x"], x, rel_tol=0.01) for point in done):
                continue
            if too_large(done, x, MOST_MEMORY * memory_mb()):
                print(f"{action}, {grows} {x:g}: left out, it would need too much memory")
                continue
            result = measure(action, options, 1 if x == COUNTS[-1] else args.rounds, run)
            if result.get("missing", "").startswith("killed"):  # and larger ones would be too
                print(f"{action} at {grows} {x:g}: {result['missing']}")
                break
            if "missing" in result:
                sys.exit(f"{action} at {grows} {x:g}: {result['missing']}")
            times = result["seconds"]
            spread = {"lowest": min(times), "highest": max(times)}
            point = {"action": action, "grows": grows, "x": x}
            point |= {"commit": run["commit"], "machine": run["machine"]}
            point |= {"seconds": statistics.median(times), **spread, "peak_mb": result["peak_mb"]}
            points.append({k: round(v, 4) if k in NUMBERS else v for k, v in point.items()})
            write_points(path, points)
            print("  ".join(f"{name} {value}" for name, value in point.items()), flush=True)
    draw(points, args.out / "cost.png")


if __name__ == "__main__":
    main()
