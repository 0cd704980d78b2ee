"""Pictures a second by `--segment`, and its memory against the size of a picture.

python3 benchmarks/segmenting.py          # some ten minutes
python3 benchmarks/segmenting.py --try    # only see whether everything runs

Keras' `predict` of the same network stands beside it, stock and of pictures that are in memory at
the network's size already: what reading, resizing and writing cost on top is the ratio. All take
turns, see `runner.py`. Writes segmenting.md and segmenting.png.
"""

import argparse
import json
import statistics
import sys
import tempfile
import uuid
from functools import partial
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT), str(PROJECT / "chapter12-segmentation")]

from benchmarks.bench import describe_run, same_terms, warn_if_busy  # noqa: E402
from benchmarks.runner import Task, alternate, serve  # noqa: E402
from utils.files import replace_whole  # noqa: E402

HERE = Path(__file__).resolve().parent
TEST = PROJECT / "data" / "drinks" / "segmentation_test.npy"
NUMBER = 16  # pictures of 480x640, and frames
LARGE, PHOTOGRAPH = 4, (3000, 4000)
ALL = "mask,overlay,areas,polygons"
# Folder and ending of the inputs, what is written, and `--tile`.
ROWS = {
    "JPEG, 640×480: mask": ("small", ".jpg", "mask", "none"),
    "PNG, 640×480: mask": ("small", ".png", "mask", "none"),
    "TIFF, 640×480: mask": ("small", ".tif", "mask", "none"),
    "WebP, 640×480: mask": ("small", ".webp", "mask", "none"),
    "JPEG, 640×480: mask, overlay, areas, polygons": ("small", ".jpg", ALL, "none"),
    "video, 640×480, H.264: overlay as video": ("video", ".mp4", "overlay", "none"),
    "JPEG, 12 megapixels: mask": ("large", ".jpg", "mask", "none"),
    "JPEG, 12 megapixels, `--tile auto`: mask": ("one", ".jpg", "mask", "auto"),
}
SIZES = (1, 4, 12, 25, 50, 100)  # megapixels of a TIFF, twice as wide as high
PAGE = """# How fast `--segment` is

Written by `python3 benchmarks/segmenting.py`. The weights that ship, which look at 192×256 pixels.
Medians of {rounds} rounds in which all took turns; in brackets the smallest and the largest ratio.
`predict` is Keras' own, of {number} pictures that are in memory at the network's size; it gives
probabilities at that size, and reads and writes nothing.

| what | pictures a second | of `predict`'s |
|---|---:|---:|
{table}

The most memory of a process that segments one TIFF, with the mask as the answer:

![Peak memory against megapixels](segmenting.png)

| megapixels | shown whole, GB | `--tile auto`, GB |
|---:|---:|---:|
{memory}

Measured on {machine}; {precision}; TensorFlow {tensorflow}, Keras {keras}; commit {commit}, {date}.
"""


# Contestants


def predict(number: int) -> Task:
    """Keras' `predict` with its own layers."""
    import numpy as np

    import fast
    from tools.segmentation import load

    network = load().network
    fast.turn(False)
    model = network.build()
    pictures = np.random.default_rng(0).integers(0, 256, (number, *network.input_shape), np.uint8)
    return Task(lambda: model.predict(pictures, verbose=0), number)


def segmented(folder: str, end: str, write: str, tile: str, number: int) -> Task:
    """As `--segment` does it; every time into a folder of its own.

    Args:
        number: of pictures and frames that are there.
    """
    from engine.records import OPTIONS
    from engine.settings import SHIPPED
    from tools.answer_files import Wanted
    from tools.answers import segment
    from tools.large import windows_of
    from tools.segmentation import load
    from tools.sources import find_sources

    found = load()
    windows = windows_of(tile, found.network.size, SHIPPED)

    def run() -> None:
        out = Path(folder).parent / f"results-{uuid.uuid4().hex}"
        segment(
            found.ask,
            find_sources(sorted(Path(folder).glob(f"*{end}")), out),
            found.network.classes,
            Wanted(tuple(write.split(",")), out, windows=windows),
            {},
            reading=found.reading,
            workers=OPTIONS["workers"]["default"],
            verbose=False,
        )

    return Task(run, number)


# Inputs


def make_inputs(folder: Path) -> None:
    """Test pictures in every format, a video of them, and photographs of 12 megapixels."""
    from PIL import Image

    from utils.label_maps.fresh import ensure_labels
    from utils.video import write_video

    store = ensure_labels(TEST)
    pictures = [store.picture(key) for key in store.keys[:NUMBER]]
    for name in ("small", "video", "large", "one"):
        (folder / name).mkdir()
    for number, picture in enumerate(pictures):
        for end in (".jpg", ".png", ".tif", ".webp"):
            Image.fromarray(picture).save(folder / "small" / f"{number:02}{end}")
    with write_video(folder / "video" / "clip.mp4", pictures[0].shape[:2], 25) as video:
        for picture in pictures:
            video.write(picture)
    for number in range(LARGE):
        large = Image.fromarray(pictures[number]).resize(PHOTOGRAPH[::-1], Image.Resampling.BICUBIC)
        for name in ("large", "one") if number == 0 else ("large",):
            large.save(folder / name / f"{number}.jpg", quality=92)


def make_tiff(path: Path, megapixels: float) -> None:
    """A TIFF of strips, compressed, of a picture many times over."""
    import numpy as np
    import tifffile

    from utils.label_maps.fresh import ensure_labels

    store = ensure_labels(TEST)
    picture = store.picture(store.keys[0])
    height = round((megapixels * 1e6 / 2) ** 0.5)
    times = [
        -(-side // have) for side, have in zip((height, 2 * height), picture.shape, strict=False)
    ]
    whole = np.tile(picture, (*times, 1))[:height, : 2 * height]
    tifffile.imwrite(path, whole, photometric="rgb", compression="zlib", rowsperstrip=64)


# Measuring


def command(name: str, **options) -> list[str]:
    """The program of a contestant."""
    return [sys.executable, __file__, "--contestant", name, json.dumps(options)]


def measure_speed(folder: Path, rounds: int, run: dict) -> list[str]:
    """Turns of all rows and of `predict`; lines of the table."""
    commands = {"predict": command("predict", number=NUMBER)}
    for what, (name, end, write, tile) in ROWS.items():
        number = NUMBER if end == ".mp4" else len(list((folder / name).glob(f"*{end}")))
        options = {"folder": str(folder / name), "end": end, "write": write, "tile": tile}
        commands[what] = command("segmented", **options, number=number)
    results = alternate(commands, rounds, {}, together=False, environment=same_terms(run))
    lines = []
    base = results["predict"]["seconds"]
    for what, result in results.items():
        if "missing" in result:
            lines.append(f"| {what} | {result['missing']} | |")
            continue
        ratios = [one / other for one, other in zip(base, result["seconds"], strict=True)]
        rate = 1 / statistics.median(result["seconds"])
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        shown = what if what != "predict" else f"`predict`, {NUMBER} pictures"
        lines.append(f"| {shown} | {rate:.3g} | {statistics.median(ratios):.2f} ({spread}) |")
    return lines


def measure_memory(folder: Path, sizes: tuple, run: dict) -> list[tuple]:
    """Megapixels, and GB of a process that shows such a TIFF whole, and in windows."""
    points = []
    for megapixels in sizes:
        place = folder / f"of {megapixels}"
        place.mkdir()
        make_tiff(place / "a.tif", megapixels)
        options = {"folder": str(place), "end": ".tif", "write": "mask", "number": 1}
        found = []
        for tile in ("none", "auto"):
            one = {"it": command("segmented", **options, tile=tile)}
            result = alternate(one, 1, {}, environment=same_terms(run))["it"]
            found.append(result.get("peak_mb", float("nan")) / 1000)
        points.append((megapixels, *found))
        print(*points[-1], flush=True)
    return points


def draw(points: list[tuple], path: Path) -> None:
    """Peak memory against megapixels."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(6, 3.5), layout="constrained")
    sizes, whole, windows = zip(*points, strict=True)
    axis.plot(sizes, whole, "o-", label="shown whole")
    axis.plot(sizes, windows, "o-", label="--tile auto")
    axis.set(xlabel="megapixels", ylabel="peak memory, GB", xlim=(0, None), ylim=(0, None))
    axis.legend()
    with replace_whole(path) as unfinished:
        figure.savefig(unfinished, dpi=100)
    plt.close(figure)


def main() -> None:
    """Measure, and write the page; or be a contestant."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--try", dest="tiny", action="store_true", help="little, nothing written")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each (3)")
    parser.add_argument("--contestant", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.contestant:
        name, options = args.contestant
        contestants = {"predict": predict, "segmented": segmented}
        serve(partial(contestants[name], **json.loads(options)))
        return
    run = describe_run()
    warn_if_busy(run)
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        make_inputs(folder)
        rounds = 1 if args.tiny else args.rounds
        lines = measure_speed(folder, rounds, run)
        print(*lines, sep="\n", flush=True)
        points = measure_memory(folder, SIZES[:1] if args.tiny else SIZES, run)
    if args.tiny:
        return
    memory = "\n".join(f"| {size} | {whole:.2f} | {tiles:.2f} |" for size, whole, tiles in points)
    page = PAGE.format(
        rounds=rounds,
        number=NUMBER,
        table="\n".join(lines),
        memory=memory,
        machine=run["machine"],
        precision=run["precision"],
        commit=run["commit"],
        date=run["date"],
        **{name: run["versions"][name] for name in ("tensorflow", "keras")},
    )
    draw(points, HERE / "segmenting.png")
    with replace_whole(HERE / "segmenting.md") as unfinished:
        unfinished.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
