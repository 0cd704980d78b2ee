"""Render the drinks dataset: pictures, and the polygons that the renderer knows.

    python3 utils/render_drinks.py --preview preview.png
    python3 utils/render_drinks.py --out data/rendered

A picture depends only on the seed, its split and its number, so an interrupted run continues
where it stopped and any picture can be made again by itself.
"""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from utils import errors
from utils.classes import FILE_NAME, named, write_classes
from utils.cores import cores
from utils.files import PROJECT, replace_whole

CLASS_NAMES = ("background", "water bottle", "soda can", "juice can")
PARTS = ".parts"  # what is known of each picture, until the annotations are written
FIRST = {"train": 1, "test": 10001}  # as the chapter numbers its pictures: 0000001, 0010001
BYTES = 72_000  # that a JPEG file should not exceed: 1,050 of them stay well below 64 MB
BATCH = 60  # pictures that a process makes before a new one takes its place
RESTARTS = 20  # of the worker processes, should the renderer crash


def main() -> None:
    """The command line."""
    arguments = parse_arguments()
    jobs = [("test", k) for k in range(1, arguments.test_count + 1)]
    jobs += [("train", k) for k in range(1, arguments.count + 1)]
    if arguments.preview:
        folder = Path(f"{arguments.preview}.pictures")
        jobs = [("train", k) for k in range(1, arguments.count + 1)]
        render_all(jobs, folder, arguments)
        from utils.render.report import contact_sheet

        pictures = sorted(folder.glob("*.jpg"))
        contact_sheet(pictures, arguments.preview, columns=4, width=480)
        shutil.rmtree(folder)
        print(f"{arguments.preview}: {len(pictures)} pictures")
        return
    render_all(jobs, arguments.out, arguments)
    finish(jobs, arguments.out)


def parse_arguments() -> argparse.Namespace:
    """Read and check the command line.

    Raises:
        UserError: a value cannot be used.
    """
    parser = argparse.ArgumentParser(description="Render pictures of drinks with VIA annotations.")
    parser.add_argument("--count", type=int, help="training pictures (1000; 12 for --preview)")
    parser.add_argument("--test-count", type=int, default=50, help="test pictures (%(default)s)")
    parser.add_argument("--seed", type=int, default=12, help="makes other pictures (%(default)s)")
    parser.add_argument("--size", default="640x480", help="WIDTHxHEIGHT in pixels (%(default)s)")
    parser.add_argument(
        "--out", type=Path, default=PROJECT / "data" / "rendered", help="folder (data/rendered)"
    )
    parser.add_argument(
        "--preview", type=Path, metavar="FILE", help="only make this contact sheet, .png or .jpg"
    )
    parser.add_argument(
        "--samples", type=int, default=4, help="paths of light per pixel (%(default)s)"
    )
    parser.add_argument(
        "--variant",
        default="scalar_rgb",
        help="Mitsuba's; llvm_ad_rgb is much faster where LLVM works with it (%(default)s)",
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=cores(),
        help="pictures made at the same time (one per core)",
    )
    arguments = parser.parse_args()
    if arguments.count is None:
        arguments.count = 12 if arguments.preview else 1000
    try:
        width, height = (int(part) for part in arguments.size.lower().split("x"))
    except ValueError as error:
        raise errors.UserError(
            f"--size {arguments.size} is not a size; write it as 640x480."
        ) from error
    if not (32 <= width <= 4096 and 32 <= height <= 4096):
        raise errors.UserError(f"--size {arguments.size} is out of reach; use 32x32 to 4096x4096.")
    preview = arguments.preview
    if preview and preview.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise errors.UserError(f"--preview {preview} is no picture; name a .png or .jpg file.")
    for name in ("count", "test_count", "seed"):
        if getattr(arguments, name) < 0:
            raise errors.UserError(
                f"--{name} {getattr(arguments, name)} is negative; use 0 or more."
            )
    if arguments.count + (0 if preview else arguments.test_count) == 0:
        raise errors.UserError("--count 0 asks for no picture; use 1 or more.")
    if arguments.count > 10000 or arguments.test_count > 10000:
        raise errors.UserError(
            f"--count {arguments.count} or --test-count {arguments.test_count} is above 10000, "
            "and names would be used twice; use fewer."
        )
    for name in ("samples", "workers"):
        if getattr(arguments, name) < 1:
            raise errors.UserError(
                f"--{name} {getattr(arguments, name)} is too few; use 1 or more."
            )
    arguments.size = (height, width)
    return arguments


def render_all(jobs: list[tuple[str, int]], out: Path, arguments: argparse.Namespace) -> None:
    """Render the pictures that are not there yet.

    Raises:
        UserError: the renderer is not installed or crashed again and again.
    """
    from utils.render.scene import load_renderer

    settings = {
        "seed": arguments.seed,
        "size": list(arguments.size),
        "samples": arguments.samples,
        "variant": arguments.variant,
    }
    left = [job for job in jobs if not is_done(out, *job, settings)]
    if not left:
        return
    load_renderer(arguments.variant, 1)
    make_parts_folder(out)
    done, start = len(jobs) - len(left), time.monotonic()
    for _ in range(RESTARTS):
        try:
            for _ in _render_in_processes(left, out, settings, arguments.workers):
                done += 1
                _show_progress(done, len(jobs), len(jobs) - len(left), start)
            print(file=sys.stderr)
            return
        except BrokenProcessPool:  # a crash inside the renderer takes its process along
            left = [job for job in left if not is_done(out, *job, settings)]
            done = len(jobs) - len(left)
    raise errors.UserError(
        f"the renderer crashed {RESTARTS} times with --variant {arguments.variant}; "
        "use --variant scalar_rgb."
    )


def _render_in_processes(
    jobs: list[tuple[str, int]], out: Path, settings: dict, workers: int
) -> Iterator[None]:
    """Yield once for each finished picture."""
    threads = max(1, cores() // workers)
    # The renderer keeps some memory of each scene: new processes start with none.
    for start in range(0, len(jobs), BATCH * workers):
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            batch = jobs[start : start + BATCH * workers]
            waiting = [pool.submit(render_one, job, out, settings, threads) for job in batch]
            for task in as_completed(waiting):
                task.result()
                yield


def picture_name(split: str, number: int) -> str:
    """The file name of picture `number`, from 1, of a split."""
    return f"{FIRST[split] + number - 1:07d}.jpg"


def is_done(out: Path, split: str, number: int, settings: dict) -> bool:
    """Whether the picture is there, whole, and was made with the same settings."""
    name = picture_name(split, number)
    try:
        part = json.loads((out / PARTS / f"{name}.json").read_text(encoding="utf-8"))
        same = all(part["settings"][key] == value for key, value in settings.items())
        return same and part["entry"]["size"] == (out / name).stat().st_size
    except (OSError, ValueError, KeyError):
        return False


def render_one(job: tuple[str, int], out: Path, settings: dict, threads: int) -> None:
    """Render one picture; write it and what is known of it."""
    from utils.render import annotate
    from utils.render.scene import load_renderer, render_picture

    split, number = job
    mi = load_renderer(settings["variant"], threads)
    began = time.monotonic()
    made = render_picture(
        mi, settings["seed"], split, number, tuple(settings["size"]), settings["samples"], BYTES
    )
    regions, drinks = [], []
    for index, class_id in enumerate(made.classes, 1):
        mask = made.objects == index
        polygons = annotate.trace(mask)
        drawn = annotate.draw_all(polygons, mask.shape)
        regions += [(class_id, polygon) for polygon in polygons]
        drinks.append(
            {
                "class": class_id,
                "pixels": int(mask.sum()),
                "iou": round(annotate.overlap(mask, drawn), 5),
                "hidden": round(float(made.hidden[index - 1]), 4),
            }
        )
    name = picture_name(split, number)
    part = {
        "settings": settings,
        "entry": annotate.entry(name, len(made.jpeg), regions),
        "room": made.room,
        "drinks": drinks,
        "seconds": round(time.monotonic() - began, 2),
    }
    with replace_whole(out / name) as unfinished:
        unfinished.write_bytes(made.jpeg)
    with replace_whole(out / PARTS / f"{name}.json") as unfinished:
        unfinished.write_text(json.dumps(part), encoding="utf-8")


def make_parts_folder(out: Path) -> None:
    """Make the folder of the parts, which tells Git to pass over it.

    Raises:
        UserError: the folder cannot be written.
    """
    with replace_whole(out / PARTS / ".gitignore") as unfinished:
        unfinished.write_text("*\n", encoding="utf-8")


def _show_progress(done: int, total: int, before: int, start: float) -> None:
    """One line that replaces itself: how many, how fast, how long still."""
    each = (time.monotonic() - start) / max(1, done - before)
    rest = int(each * (total - done))
    filled = 30 * done // total
    bar = "#" * filled + "." * (30 - filled)
    clock = f"{rest // 3600}:{rest // 60 % 60:02d}:{rest % 60:02d}"
    line = f"\r[{bar}] {done}/{total}  {each:.1f} s each  {clock} left "
    print(line, end="", file=sys.stderr, flush=True)


def finish(jobs: list[tuple[str, int]], out: Path) -> None:
    """Write annotations, classes, contact sheet and README from what is known of the pictures."""
    from utils.render import annotate, report

    parts = {"train": [], "test": []}
    for split, number in sorted(jobs):
        path = out / PARTS / f"{picture_name(split, number)}.json"
        parts[split].append(json.loads(path.read_text(encoding="utf-8")))
    for split, known in parts.items():
        entries = [part["entry"] for part in known]
        annotate.write_project(out / f"segmentation_{split}.json", entries, CLASS_NAMES)
    write_classes(out / FILE_NAME, named(CLASS_NAMES))
    report.write_readme(out, parts, CLASS_NAMES)
    total = sum(part["entry"]["size"] for known in parts.values() for part in known)
    print(f"{out}: {sum(map(len, parts.values()))} pictures, {total / 1e6:.1f} MB")


if __name__ == "__main__":
    errors.run(main)
