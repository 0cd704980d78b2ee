"""How much tracing predictions save: corners to move against corners to draw.

python3 benchmarks/tracing.py FOLDER --work WORK            # an hour and more; goes on where it was
python3 benchmarks/tracing.py FOLDER --work WORK -- --epochs 1     # other options of the trainings

FOLDER has `train`, `train_masks`, `val` and `val_masks`. Networks learn from 20 and 60 traced
pictures of `train`, taken at random or as `--uncertain` names them, and from all. Then each answers
the pictures of `val`, in polygons as `--write polygons` has them, and what is left to do by hand is
counted. Writes tracing.md and tracing.png into WORK.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT), str(PROJECT / "chapter12-segmentation")]

import numpy as np  # noqa: E402

from utils.errors import UserError, run  # noqa: E402
from utils.files import replace_whole  # noqa: E402

STEPS = (20, 60)  # traced pictures; and all
TRAINING = "--preset few --seed 0 --verbose 0"
NEAR = 0.01  # of the longer side of a picture: a corner as near to the true outline may stay
LEAST = 100  # pixels: smaller areas are taken away before, `--min-area`
BEST = "*-best-iou.weights.h5"
PAGE = """# What is left to do by hand

Written by `python3 benchmarks/tracing.py FOLDER`: {pictures} pictures that no training has seen,
{drawn} corners to trace them from nothing (the fewest that stay within {near:.0%} of the longer
side). Networks were trained on so many traced pictures, each with `{training}`. Their polygons are
as `--write polygons --min-area {least}` writes them. To move are corners that lie further than that
from the outline of their class; to add, corners of the true outline that lie so far from theirs; an
object that is none is one deletion. Where it is less to draw an object anew, it is deleted and
drawn. So *by hand* is the sum, of which *of drawing* is the share; *coarse* is this share where the
outlines of the networks had as few corners as those that are drawn.

| traced | chosen | dataset mIoU | by hand | of drawing | moved | added | deleted | coarse |
|---:|---|---:|---:|---:|---:|---:|---:|---:|
{table}

![Corners by hand against traced pictures](tracing.png)
"""


# Counting


def effort(predicted: np.ndarray, truth: np.ndarray, coarse: bool = False) -> dict[str, int]:
    """What is to be done by hand to the polygons of a prediction.

    Args:
        predicted, truth: (H, W) uint8 class ids, 0 is the background, 255 void.
        coarse: whether polygons of the prediction have as few corners as somebody would draw, and
            not those that keep within a pixel.

    Returns:
        Corners "drawn" where one begins with nothing; "moved", "added" and "deleted" (objects) with
        the prediction; "by_hand", the sum of these.
    """
    from utils.objects import polygons_of, without_specks

    near = NEAR * max(truth.shape)
    truth = without_specks(truth, LEAST)
    wanted = [piece for piece in polygons_of(truth, tolerance=near) if piece[1] != 255]
    found = polygons_of(without_specks(predicted, LEAST), tolerance=near if coarse else 1.0)
    have = [piece for piece in found if piece[1] != 255]
    total = dict.fromkeys(("moved", "added", "deleted"), 0)
    corners = [corners_of(region) for region, _ in wanted]
    left = set(range(len(wanted)))
    for region, label in have:
        points = corners_of(region)
        same = [i for i in left if wanted[i][1] == label]
        distances = [farness(points, corners[i]) for i in same]
        best = min(range(len(same)), key=lambda i: np.median(distances[i]), default=None)
        total["deleted"] += 1  # unless it can be mended
        if best is None:
            continue
        moved = int((distances[best] > near).sum())
        added = int((farness(corners[same[best]], points) > near).sum())
        if moved + added < 1 + len(corners[same[best]]):
            total["deleted"] -= 1
            total["moved"] += moved
            total["added"] += added
            left.remove(same[best])
    total["added"] += sum(len(corners[i]) for i in left)
    return total | {"by_hand": sum(total.values()), "drawn": sum(map(len, corners))}


def corners_of(region) -> np.ndarray:
    """The corners of a polygon, (n, 2)."""
    from utils.label_maps.polygons import outline

    return outline(region)


def farness(points: np.ndarray, ring: np.ndarray) -> np.ndarray:
    """How far points (n, 2) lie from a closed outline (m, 2), in pixels."""
    start, along = ring, np.roll(ring, -1, axis=0) - ring  # (m, 2)
    squared = np.maximum((along**2).sum(-1), 1e-9)
    from_start = points[:, None] - start  # (n, m, 2)
    share = np.clip((from_start * along).sum(-1) / squared, 0, 1)
    return np.hypot(*np.moveaxis(from_start - share[..., None] * along, -1, 0)).min(axis=1)


# Learning


def train_on(names: list[str], folder: Path, work: Path, options: list[str]) -> Path:
    """Train on some pictures of `folder`, unless that was done; returns the best weights."""
    if not (work / "done").exists():
        shutil.rmtree(work, ignore_errors=True)
        for part in ("train", "train_masks"):
            (work / "data" / part).mkdir(parents=True)
            for path in files_of(folder / part, names):
                shutil.copy(path, work / "data" / part)
        shutil.copy(folder / "classes.json", work / "data")
        command = [sys.executable, str(PROJECT / "fcn-12.3.1.py"), "--train", *options]
        command += ["--data-path", str(work / "data"), "--save-dir", str(work)]
        if subprocess.run(command).returncode:
            raise UserError(f"the training in {work} failed; see above.")
        (work / "done").touch()
    return max(work.glob(BEST), key=lambda path: path.stat().st_mtime)


def files_of(folder: Path, names: list[str]) -> list[Path]:
    """The files of pictures of these names, without their endings."""
    wanted = set(names)
    return sorted(path for path in folder.iterdir() if path.stem in wanted)


def least_sure(weights: Path | None, folder: Path, names: list[str]) -> list[str]:
    """The names, those first of which a network is least sure, as `--uncertain` has them."""
    from tools.answer_files import class_and_confidence
    from tools.segmentation import load

    network = load(weights) if weights else load()
    doubts = {}
    for path in files_of(folder / "train", names):
        _, confidence = class_and_confidence(network.probabilities(path)[None], ())
        doubts[path.stem] = 1 - confidence.item()
    return sorted(names, key=lambda name: -doubts[name])


def score(weights: Path, folder: Path) -> dict[str, float]:
    """Sums of `effort` over the pictures of `val`, and "miou", of one confusion matrix."""
    from metrics import count_confusions, scores
    from tools.segmentation import load
    from utils.label_maps.fresh import ensure_labels

    network, total, matrices = load(weights), {}, []
    store = ensure_labels(folder / "val_masks.npy", False, folder / "val")
    for key in store.keys:
        truth = store[key]
        predicted = network(store.picture(key))
        counted = count_confusions(truth[None], predicted[None], len(store.classes))
        matrices.append(np.asarray(counted)[0])
        left = effort(predicted, truth)
        left["coarse"] = effort(predicted, truth, coarse=True)["by_hand"]
        for name, value in left.items():
            total[name] = total.get(name, 0) + value
    return total | {"pictures": len(store), "miou": scores(np.array(matrices))["dataset_miou"]}


def draw(rows: list[tuple], path: Path) -> None:
    """Corners by hand, as a share of drawing all, against the number of traced pictures."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(6, 3.6), layout="constrained")
    for chosen, colour in (("at random", "C0"), ("least sure", "C1")):
        own = [row for row in rows if row[1] in (chosen, "all")]
        shares = [row[2]["by_hand"] / row[2]["drawn"] for row in own]
        axis.plot([row[0] for row in own], shares, "o-", color=colour, label=chosen)
        shares = [row[2]["coarse"] / row[2]["drawn"] for row in own]
        axis.plot([row[0] for row in own], shares, "o:", color=colour, label=f"{chosen}, coarse")
    axis.axhline(1, color="0.6", linestyle="--")
    axis.set(xlabel="traced pictures", ylabel="by hand, of drawing all")
    axis.set_ylim(0, 1.1 * axis.get_ylim()[1])
    axis.legend()
    with replace_whole(path) as unfinished:
        figure.savefig(unfinished, dpi=100)
    plt.close(figure)


def main() -> None:
    """Train, count, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="pictures with masks: train and val")
    parser.add_argument("--work", type=Path, required=True, help="folder of results")
    arguments = sys.argv[1:]
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    args = parser.parse_args(arguments[:cut])
    options = [*TRAINING.split(), *arguments[cut + 1 :]]
    folder, work = args.folder.resolve(), args.work.resolve()
    masks = {path.stem for path in (folder / "train_masks").iterdir()}
    names = sorted(path.stem for path in (folder / "train").iterdir() if path.stem in masks)
    shuffled = np.random.default_rng(0).permutation(names).tolist()
    rows, weights, traced = [], None, []  # those of the least sure that are traced
    for number in STEPS:
        rest = least_sure(weights, folder, [name for name in names if name not in set(traced)])
        traced = (traced + rest)[:number]
        for chosen, own in (("at random", shuffled[:number]), ("least sure", traced)):
            weights = train_on(own, folder, work / f"{number} {chosen}", options)
            rows.append((number, chosen, score(weights, folder)))
            print(*rows[-1], flush=True)
    found = train_on(names, folder, work / "all", options)
    rows.append((len(names), "all", score(found, folder)))
    print(*rows[-1], flush=True)
    lines = [
        f"| {number} | {chosen} | {it['miou']:.3f} | {it['by_hand']} "
        f"| {it['by_hand'] / it['drawn']:.0%} | {it['moved']} | {it['added']} | {it['deleted']} "
        f"| {it['coarse'] / it['drawn']:.0%} |"
        for number, chosen, it in rows
    ]
    draw(rows, work / "tracing.png")
    page = PAGE.format(
        pictures=rows[0][2]["pictures"],
        drawn=rows[0][2]["drawn"],
        training=" ".join(options),
        table="\n".join(lines),
        near=NEAR,
        least=LEAST,
    )
    with replace_whole(work / "tracing.md") as unfinished:
        unfinished.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    run(main)
