"""Divide one export into training, validation and test by what the pictures show.

    python3 utils/split.py my-photographs/via_project.json

writes `segmentation_train.json`, `segmentation_val.json` and `segmentation_test.json` beside it, or
into the folder of `--data-path`, in the form that it has; the pictures and the export stay as they
are. Of other programs, and of masks, `via_project.json` is made first, in the folder of the
pictures, as `utils/convert.py` would. Near-duplicates, as copies, crops and bursts, stay together:
a test picture whose twin was trained on flatters. Each class comes into each part where there are
groups enough, into training first.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from utils.errors import UserError, run
from utils.files import data_folder, read_json, replace_whole
from utils.option_types import fraction, whole_number
from utils.reading_options import add_reading_options, asked_reading

if TYPE_CHECKING:
    import numpy as np

    from utils.reading import Reading

# NumPy takes long to import, `--help` is to answer at once: functions import what needs it.

PARTS = ("train", "test", "val")  # in the order in which a rare class comes into them
METADATA = "_via_img_metadata"  # of a VIA 2 project: its pictures; other exports hold them alone
ORDER = "_via_image_id_list"  # of a VIA 2 project: the keys of the pictures, as they are shown
MOST_LISTED = 20  # groups that are printed


def split(
    source: Path,
    shares: dict[str, float],
    seed: int = 0,
    data_path: Path | None = None,
    reading: "Reading | None" = None,
) -> list[Path]:
    """Write the parts of an export; print groups, and classes by part.

    Args:
        source: a JSON of VIA 1 or 2, a project or an export; or annotations of another program, or
            a folder of masks.
        shares: of the pictures, "val" and "test" each; the rest is for training. 0 for none.
        seed: of the choice.
        data_path: the folder of the pictures, where they are not beside the export; the parts are
            written into it, so that it is the data folder from then on.
        reading: how options say that regions are meant.

    Returns:
        What was written.

    Raises:
        UserError: the export cannot be used, parts are there already, or there are too few groups.
    """
    import numpy as np

    from utils.classes import find_classes
    from utils.formats.projects import read_project
    from utils.label_maps.listed import folder_of_pictures, listed_pictures
    from utils.label_maps.region_classes import classes_of_regions
    from utils.label_maps.report import Report
    from utils.reading import Reading

    asked = reading or Reading()
    if _via_2(source) is None:
        source = _converted(source, asked, data_path)
        asked = Reading(scale=asked.scale, turn=asked.turn)  # what regions mean is decided
    target = data_path or source.parent
    known = find_classes(source.parent)
    if known and not find_classes(target):
        raise UserError(
            f"{known} names the classes of {source}, and {target} has none; copy it there first."
        )
    project = read_project(source)
    content, entries = _via_2(source)
    outs = {part: target / f"segmentation_{part}.json" for part in PARTS}
    _refuse_replacing(outs.values(), source)
    found = classes_of_regions(project, source, asked, find_classes(target), Report())
    classes = found.classes.names
    names = [annotation.file for annotation in project.annotations]
    paths = listed_pictures(names, folder_of_pictures(names, source, data_path))
    pictures = {paths[name] or name: {} for name in names}  # several entries may be of one picture
    for key, name, ids in zip(entries, names, found.ids, strict=True):
        pictures[paths[name] or name][key] = set(ids)

    thumbnails, lost = _thumbnails(pictures, found.reading)
    groups = _groups(thumbnails)
    whole = list(pictures)
    held = [set().union(*keys.values()) for keys in pictures.values()]
    counts = np.array(  # (groups, classes): pictures of a group that have a class
        [[sum(c in held[i] for i in group) for c in range(1, len(classes))] for group in groups]
    ).reshape(len(groups), -1)
    chosen = divide([len(group) for group in groups], counts, shares, seed)
    part_of = {whole[i]: part for group, part in zip(groups, chosen, strict=True) for i in group}
    part_of |= dict.fromkeys(lost, "train")
    parts = {part: [p for p in pictures if part_of[p] == part] for part in PARTS}
    empty = [part for part in PARTS if not parts[part] and shares.get(part, 1)]
    if empty:
        raise UserError(
            f"{source} has {len(groups)} groups of near-duplicates, and nothing is left for "
            f"{empty[0]}; annotate other scenes, or leave a part out, as by --val 0."
        )
    _print_groups([[whole[i] for i in group] for group in groups], lost)
    _print_parts(parts, dict(zip(whole, held, strict=True)), classes)
    written = []
    for part in filter(parts.get, PARTS):
        keys = {key for picture in parts[part] for key in pictures[picture]}
        with replace_whole(outs[part]) as unfinished:
            text = json.dumps(_of(content, keys), ensure_ascii=False, separators=(",", ":"))
            unfinished.write_text(text, encoding="utf-8")
        written.append(outs[part])
    return written


def divide(
    sizes: Sequence[int], counts: "np.ndarray", shares: dict[str, float], seed: int
) -> list[str]:
    """The part of each group.

    The rarest class first, and of it the largest group, goes to a part that lacks the class, else
    to the one that is furthest from its share of it, as long as there is room for the group:
    Sechidis, Tsoumakas and Vlahavas, "On the Stratification of Multi-Label Data", 2011.

    Args:
        sizes: pictures of each of G groups.
        counts: (G, C) int, pictures of each group that have a class.
        shares: see `split`.
        seed: of the order of groups of one size.
    """
    import numpy as np

    sizes, parts = np.asarray(sizes, int), [part for part in PARTS if shares.get(part, 1) > 0]
    total = sizes.sum()
    # Half a picture would be none: a part that is asked for has one at least.
    aims = {part: max(1, shares[part] * total) for part in parts if part in shares}
    aims["train"] = total - sum(aims.values())
    order = np.random.default_rng(seed).permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    # Last what has no object: a class of all pictures.
    counts = np.column_stack([counts, sizes]).astype(int)
    left, chosen = set(range(len(sizes))), ["train"] * len(sizes)
    full = {part: 0 for part in parts}
    have = {part: np.zeros(counts.shape[1], int) for part in parts}

    def need(part: str, group: int, c: int) -> tuple:
        room = aims[part] - full[part]
        lacking = aims[part] / total * counts[:, c].sum() - have[part][c]
        return room >= sizes[group] / 2, have[part][c] == 0, lacking, room

    while left:
        remaining = [sum(counts[group, c] > 0 for group in left) for c in range(counts.shape[1])]
        c = min((c for c, n in enumerate(remaining) if n), key=lambda c: remaining[c])
        for group in [group for group in order if group in left and counts[group, c]]:
            part = max(parts, key=lambda part: need(part, group, c))
            chosen[group] = part
            full[part] += sizes[group]
            have[part] += counts[group]
            left.remove(group)
    return chosen


def _via_2(source: Path) -> tuple[dict, dict] | None:
    """The content of an export of VIA 1 or 2 and its pictures by their keys; None of another."""
    try:
        content = read_json(source)
    except (OSError, ValueError):  # a folder, VIA's CSV, XML ...
        return None
    entries = content.get(METADATA, content) if isinstance(content, dict) else None
    pictures = entries.values() if isinstance(entries, dict) else [None]
    needed = {"filename", "regions"}
    if not pictures or not all(isinstance(e, dict) and needed <= e.keys() for e in pictures):
        return None
    return content, entries


def _converted(source: Path, asked: "Reading", data_path: Path | None) -> Path:
    """Make a project of VIA of what another program wrote, in the folder of the pictures.

    Raises:
        UserError: it cannot be read, or there is a project already.
    """
    from utils.classes import FILE_NAME, read_classes
    from utils.convert import convert
    from utils.reading import agree, read_reading, write_decisions

    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / "via_project.json"
        pictures = convert(source, made, "via", asked, data_path)
        folder = data_path or pictures
        out, decisions = folder / made.name, folder / FILE_NAME
        if out.exists():
            raise UserError(f"{out} is there already; divide that, or move it away.")
        classes = read_classes(made.with_name(FILE_NAME))
        reading = read_reading(made.with_name(FILE_NAME))
        if decisions.exists() and read_classes(decisions) != classes:
            raise UserError(f"{decisions} has other classes than {source}; move it away.")
        reading = agree(reading, read_reading(decisions), decisions)
        with replace_whole(out) as unfinished:
            unfinished.write_bytes(made.read_bytes())
        write_decisions(decisions, classes, reading)
    print(f"{source} became {out}")
    return out


def _of(content: dict, keys: set[str]) -> dict:
    """The same export with these pictures alone."""
    if METADATA not in content:
        return {key: entry for key, entry in content.items() if key in keys}
    part = dict(content)
    part[METADATA] = {key: entry for key, entry in content[METADATA].items() if key in keys}
    if isinstance(part.get(ORDER), list):
        part[ORDER] = [key for key in part[ORDER] if key in keys]
    return part


def _refuse_replacing(outs: Iterable[Path], source: Path) -> None:
    """Refuse to write where a part is; one that stayed would be trained on beside the new ones.

    Raises:
        UserError: there is one.
    """
    for out in outs:
        if out.exists() and out.samefile(source):
            raise UserError(f"{source} has the name of a part; call it via_project.json, say.")
        for path in (out, out.with_suffix(".csv")):
            if path.exists():
                raise UserError(f"{path} is there already; move it away, or delete it.")


def _thumbnails(pictures: dict, reading: "Reading") -> tuple[dict, list]:
    """Thumbnails by number of their pictures, and those pictures that are not there.

    Raises:
        UserError: none is there.
    """
    from utils.near_duplicates import SIDE, thumbnail
    from utils.pictures import read_picture
    from utils.progress import progress

    thumbnails, lost = {}, []
    for number, path in enumerate(progress(pictures, len(pictures), "looking at pictures")):
        try:
            if isinstance(path, Path):  # else it is the name of one that was not found
                read = read_picture(path, (SIDE, SIDE), scale=reading.scale, turn=reading.turn)
                thumbnails[number] = thumbnail(read)
                continue
        except UserError:
            pass
        lost.append(path)
    if not thumbnails:
        raise UserError(
            f"none of the {len(pictures)} annotated pictures can be read; name their folder with "
            "--data-path."
        )
    return thumbnails, lost


def _groups(thumbnails: dict) -> list[list[int]]:
    """The groups of near-duplicates by the numbers of their pictures."""
    from utils.near_duplicates import group

    numbers = list(thumbnails)
    return [[numbers[i] for i in members] for members in group(list(thumbnails.values()))]


def _print_groups(groups: list[list], lost: list) -> None:
    """Print how many groups there are, and those of several pictures."""
    count = sum(map(len, groups))
    print(f"{count} pictures in {len(groups)} groups; of a group are near-duplicates")
    several = sorted((group for group in groups if len(group) > 1), key=len, reverse=True)
    for group in several[:MOST_LISTED]:
        shown = ", ".join(path.name for path in group[:8])
        print(f"  {len(group)} alike: {shown}{', ...' if len(group) > 8 else ''}")
    if len(several) > MOST_LISTED:
        print(f"  ... and {len(several) - MOST_LISTED} more")
    for path in lost[:MOST_LISTED]:
        print(f"  missing or unreadable, left in train: {path}")
    if len(lost) > MOST_LISTED:
        print(f"  ... and {len(lost) - MOST_LISTED} more")


def _print_parts(parts: dict[str, list], held: dict, classes: tuple[str, ...]) -> None:
    """Print how many pictures of each part have each class, and what is missing somewhere."""
    shown = [part for part in ("train", "val", "test") if parts[part]]
    wide = max(16, *map(len, classes)) + 2
    print(f"\n{'pictures with':{wide}}" + "".join(f"{part:>8}" for part in shown))
    rows = {name: {number} for number, name in enumerate(classes) if number}
    missing = []
    for name, ids in rows.items():
        counts = [sum(bool(held[p] & ids) for p in parts[part]) for part in shown]
        print(f"{name:{wide}}" + "".join(f"{count:>8}" for count in counts))
        missing += [f"{name} in {part}" for part, n in zip(shown, counts, strict=True) if not n]
    print(f"{'in all':{wide}}" + "".join(f"{len(parts[part]):>8}" for part in shown))
    if missing:
        print(
            f"There is no {', no '.join(missing)}: too few groups have it, or the part is too "
            "small; try another --seed, or larger --val and --test."
        )


def main() -> None:
    """Read the command line, write the parts, say what comes next."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        usage="%(prog)s FILE [options]",
        formatter_class=partial(argparse.HelpFormatter, max_help_position=30),
    )
    parser.add_argument("annotations", metavar="FILE", help="an export, a folder of them, or masks")
    parser.add_argument(
        "--data-path",
        metavar="FOLDER",
        help="of the pictures, and of the parts (that of FILE)",
    )
    group = parser.add_argument_group("the parts")
    for part, use in (("val", "to choose the best weights"), ("test", "to be scored")):
        words = f"share of the pictures {use} (%(default)s); 0: none"
        group.add_argument(f"--{part}", type=fraction, default=0.15, metavar="SHARE", help=words)
    group.add_argument(
        "--seed", type=whole_number(0), default=0, help="of the choice (%(default)s)"
    )
    add_reading_options(parser.add_argument_group("how the files are meant"))
    args = parser.parse_args()
    if args.val + args.test >= 1:
        parser.error(f"--val {args.val} and --test {args.test} leave nothing to train on")
    if not args.val + args.test:
        parser.error("--val 0 --test 0 leaves nothing to divide")

    source = Path(args.annotations)
    folder = data_folder(args.data_path) if args.data_path else None
    shares = {"val": args.val, "test": args.test}
    written = split(source, shares, args.seed, folder, asked_reading(args))
    print(f"\nWritten: {', '.join(map(str, written))}")
    print(f"Next: python3 utils/verify_dataset.py --data-path {written[0].parent}")


if __name__ == "__main__":
    run(main)
