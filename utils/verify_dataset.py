"""Check a data folder: classes and pixels, sizes, faults, and pictures that occur twice.

    python3 utils/verify_dataset.py --data-path data/drinks

Exit status: 0 when all is well, 1 when there are faults, 2 when the input cannot be used.
"""

import argparse
import hashlib
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
from PIL import Image

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from utils.class_weights import median_frequency
from utils.classes import VOID, Classes
from utils.data_parts import find_parts
from utils.errors import UserError, run
from utils.files import data_folder
from utils.label_maps.listed import key_of, listed_pictures, shorten
from utils.label_maps.store import LabelStore, is_pickled, read_index
from utils.pictures import pictures_in, same_shape
from utils.progress import progress
from utils.reading_options import add_reading_options, asked_reading

GREY_SIDE = 16  # pixels of the small grey pictures by which near duplicates are found
# Correlation of two such pictures. Measured on 144 unlike photographs: at most 0.95; on copies
# saved anew at another size and quality: mostly above 0.998.
NEAR = 0.995
MOST_LINES = 20  # findings of one kind that are listed one by one


@dataclass(frozen=True)
class Finding:
    """Something to report: a fault, or a remark on what may well be meant so."""

    kind: str  # findings of one kind are listed together
    words: str
    fault: bool = True


@dataclass
class Survey:
    """What one set of pictures and label maps holds; counts are indexed by label value."""

    name: str
    classes: Classes
    pixels: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))
    pictures: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))  # that contain it
    surroundings: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))
    sizes: Counter = field(default_factory=Counter)  # (H, W) of the pictures
    findings: list[Finding] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)  # of the pictures that can be read
    digests: list[str] = field(default_factory=list)  # of their pixels
    greys: list[np.ndarray] = field(default_factory=list)  # (GREY_SIDE²,) float32 each

    def report(self, kind: str, words: str, fault: bool = True) -> None:
        """Note a finding about this set."""
        self.findings.append(Finding(kind, f"{self.name}: {words}", fault))


def survey(name: str, store: LabelStore) -> Survey:
    """Read every picture and label map of a store once; note counts, faults and fingerprints."""
    found = Survey(name, store.classes)
    entries = zip(store.keys, store.sizes, strict=True)
    for key, size in progress(entries, len(store), f"reading {name}"):
        _look_at_picture(found, store, key, size)
        _look_at_labels(found, key, store.unchecked(key))
    if not len(store):
        found.report("empty", "there is no label map")
    elif not found.pixels[1:VOID].any() and found.pixels[VOID]:
        found.report(
            "0 and 255 only",
            "all maps hold only 0 and 255, and 255 is void; write objects as class ids 1, 2, ...",
        )
    elif not found.pixels[1:VOID].any():
        found.report(
            "no object",
            f"no map holds anything but {store.classes.names[0]}; annotate objects, or see why "
            "those that are annotated are not drawn",
        )
    for index, class_name in enumerate(store.classes.names):
        if len(store) and not found.pixels[index]:
            # The background may be absent by intention, and the other sets may lack a class.
            fault = index > 0 and name == "train"
            found.report("unused class", f"class {index} {class_name} is never used", fault)
    return found


def class_weights(found: Survey) -> np.ndarray:
    """Weights that balance the classes, (classes,) float64; NaN for classes without pixels."""
    count = len(found.classes)
    return median_frequency(found.pixels[:count], found.surroundings[:count])


def duplicates(one: Survey, other: Survey) -> Iterator[tuple[str, str, bool]]:
    """Pairs of the same picture in two sets, or within one: (key, key, whether exactly equal).

    Exactly equal means the same decoded pixels, whatever the file. Nearly equal pictures are
    found by the correlation of small grey copies: another size, quality or brightness.
    """
    within = one is other
    if not one.keys or not other.keys:
        return
    others = np.stack(other.greys)  # (n, GREY_SIDE²)
    digests = np.array(other.digests)
    for start in range(0, len(one.keys), 256):  # in parts: the table of all pairs may be large
        alike = np.stack(one.greys[start : start + 256]) @ others.T > NEAR
        for row in range(len(alike)):
            index = start + row
            same = digests == one.digests[index]
            candidates = np.flatnonzero(alike[row] | same)
            for match in candidates[candidates > index] if within else candidates:
                yield one.keys[index], other.keys[match], bool(same[match])


def compare(*surveys: Survey) -> list[Finding]:
    """What is wrong between sets: different classes, shared pictures; copies within each."""
    findings = []
    for one, other in combinations(surveys, 2):
        if one.classes.names != other.classes.names:
            names = [f"{part.name} ({', '.join(part.classes.names)})" for part in (one, other)]
            findings.append(Finding("classes", f"the classes of {' and '.join(names)} differ"))
        for key, match, exact in duplicates(one, other):
            how = "the same picture as" if exact else "nearly the same picture as"
            words = f"{match} is {how} {key} of {one.name}; take it out of one of them"
            findings.append(Finding("shared pictures", f"{other.name}: {words}"))
    for part in surveys:
        for key, match, exact in duplicates(part, part):
            how = "the same picture" if exact else "nearly the same picture"
            findings.append(Finding("copies", f"{part.name}: {key} and {match} are {how}", False))
    return findings


def without_labels(name: str, path: Path, store: LabelStore) -> list[Finding]:
    """Pictures that the source of a store lists and the store lacks: missing or unreadable ones.

    Args:
        name: of the set, for the report.
        path: what `ensure_labels` was given.
    """
    from utils.formats.mask_files import find_masks
    from utils.formats.projects import read_annotations
    from utils.label_maps.fresh import is_of_masks
    from utils.label_maps.shards import Shards

    source = _source(path)
    if isinstance(store, Shards) or source is None or not source.exists():
        return []
    if is_of_masks(source):
        words = f"{name}: there is no picture for the mask"
        lost = find_masks(source, store.folder).lost
        return [Finding("pictures", f"{words} {mask.name}") for mask in lost]
    paths = listed_pictures((entry.file for entry in read_annotations(source)), store.folder)
    lost = [n for n, path in paths.items() if not path or key_of(path, store.folder) not in store]
    why = f"is annotated, but is missing from {store.folder} or unreadable"
    return [Finding("pictures", f"{name}: {shorten(listed)} {why}") for listed in lost]


def unlisted(stores: list[LabelStore]) -> list[Finding]:
    """Remarks on pictures that lie beside those of the stores and are in none of them; what is
    called as masks of theirs is none.
    """
    from utils.formats.mask_files import marked

    known = {store.picture_path(key).resolve() for store in stores for key in store.keys}
    folders = sorted({path.parent for path in known if path.parent.is_dir()})
    pictures = [picture for folder in folders for picture in pictures_in(folder)]
    known.update(marked(pictures))
    return [
        Finding("unlisted", f"{picture} is in no set", fault=False)
        for picture in pictures
        if picture not in known
    ]


def table(found: Survey) -> str:
    """The classes of a set with their pixels, share, pictures and suggested weights, as text."""
    weights = class_weights(found)
    total = max(1, found.pixels.sum())
    lines = [
        f"{'id':>5}  {'class':<20} {'pixels':>15} {'per cent':>9} {'pictures':>9} {'weight':>8}"
    ]
    for value in range(256):
        known = value < len(found.classes)
        if not known and not found.pixels[value]:
            continue
        name = found.classes.names[value] if known else "void" if value == VOID else "(no class)"
        weight = f"{weights[value]:.3f}" if known and found.pixels[value] else "-"
        share = 100 * found.pixels[value] / total
        lines.append(
            f"{value:>5}  {name:<20} {found.pixels[value]:>15,} {share:>9.2f} "
            f"{found.pictures[value]:>9,} {weight:>8}"
        )
    return "\n".join(lines)


def _source(path: Path) -> Path | None:
    """The annotation file or mask folder behind a store; None when it is not known."""
    if path.suffix != ".npy":
        return path
    index = None if is_pickled(path) else read_index(path)
    made_from = index.made_from if index else {}
    return path.parent / made_from["file"] if "file" in made_from else None


def _look_at_picture(found: Survey, store: LabelStore, key: str, size: tuple[int, int]) -> None:
    """Read one picture; compare its size with that of its label map; take its fingerprints."""
    try:
        picture = store.picture(key)
    except UserError as error:
        found.report("pictures", str(error))
        return
    picture_size = picture.shape[:2]
    found.sizes[picture_size] += 1
    if not same_shape(picture_size, size):
        words = f"{key} is {_written(picture_size)}, but its label map is {_written(size)}"
        found.report("sizes", f"{words}; make the labels again")
    found.keys.append(key)
    found.digests.append(hashlib.sha256(repr(picture_size).encode() + picture.data).hexdigest())
    found.greys.append(_grey(picture))


def _look_at_labels(found: Survey, key: str, labels: np.ndarray) -> None:
    """Count the values of one label map and note what cannot be right."""
    counts = np.bincount(labels.ravel(), minlength=256)
    found.pixels += counts
    found.pictures += counts > 0
    found.surroundings += np.where(counts > 0, counts[:VOID].sum(), 0)
    unknown = [value for value in np.flatnonzero(counts) if len(found.classes) <= value < VOID]
    if unknown:
        values = ", ".join(map(str, unknown))
        words = f"{key} has label values without a class: {values}"
        found.report("label values", f"{words}; name their classes in classes.json")
    if counts[VOID] == labels.size:
        found.report("void only", f"{key} is void everywhere; nothing can be learnt from it")
    elif counts[0] == labels.size:
        found.report("background only", f"{key} holds no object", fault=False)
    elif counts[0] + counts[VOID] == labels.size:
        found.report("0 and 255", f"{key} holds only 0 and 255 (void)", fault=False)


def _grey(picture: np.ndarray) -> np.ndarray:
    """A small grey copy of zero mean and unit length, (GREY_SIDE²,) float32; zeros when flat."""
    small = Image.fromarray(picture).convert("L")
    small = small.resize((GREY_SIDE, GREY_SIDE), Image.Resampling.BOX)
    values = np.asarray(small, np.float32).ravel()
    values = values - values.mean()
    return values / max(float(np.linalg.norm(values)), 1e-6)


def _written(size: tuple[int, int]) -> str:
    """A size for people: width first, as picture viewers show it."""
    return f"{size[1]} x {size[0]}"


def _print_survey(found: Survey, path: Path) -> None:
    """Print the head, the table and the sizes of one set."""
    print(f"{found.name}: {len(found.keys):,} pictures, {len(found.classes)} classes, {path}")
    print(table(found))
    sizes = [f"{_written(size)} ({count})" for size, count in found.sizes.most_common(6)]
    if len(found.sizes) > len(sizes):
        sizes.append(f"and {len(found.sizes) - len(sizes)} more")
    print(f"width x height (pictures): {', '.join(sizes) or 'none'}\n")


def _print_findings(findings: list[Finding], strict: bool) -> None:
    """Print faults, then remarks, those of one kind together and only the first of many."""
    findings = sorted(findings, key=lambda finding: not finding.fault)
    for kind in dict.fromkeys(finding.kind for finding in findings):
        same = [finding for finding in findings if finding.kind == kind]
        for finding in same[:MOST_LINES]:
            print(f"{'fault' if finding.fault or strict else 'remark'}: {finding.words}")
        if len(same) > MOST_LINES:
            print(f"... and {len(same) - MOST_LINES} more of this kind ({kind})")


def main() -> None:
    """Read the command line, check the folder, print the report, exit with 1 on faults."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        usage="%(prog)s [--data-path FOLDER] [options]",
        formatter_class=partial(argparse.HelpFormatter, max_help_position=30),
    )
    parser.add_argument("--strict", action="store_true", help="count remarks as faults")
    data = parser.add_argument_group("the data")
    data.add_argument(
        "--data-path", default="data/drinks", metavar="FOLDER", help="data folder (%(default)s)"
    )
    for part, place in (
        ("train", "the export in train/"),
        ("val", "val/ where there is test/ too; else there is none"),
        ("test", "test/, val/"),
    ):
        data.add_argument(
            f"--{part}-labels",
            metavar="FILE",
            help=f"labels or annotations in the data folder (segmentation_{part}.npy; {place})",
        )
    add_reading_options(parser.add_argument_group("how the files are meant"))
    args = parser.parse_args()

    from utils.label_maps.fresh import ensure_labels, is_there

    folder, asked = data_folder(args.data_path), asked_reading(args)
    stores, surveys, findings = [], [], []
    parts = find_parts(folder, args.train_labels, args.val_labels, args.test_labels)
    for name, labels in parts._asdict().items():
        if labels is None:
            continue
        path = folder / labels
        if name == "test" and not args.test_labels and not is_there(path):
            words = f"{folder} has no part for tests, so that nothing can be scored"
            findings.append(Finding("test part", words, False))
            continue
        stores.append(ensure_labels(path, pictures=folder, reading=asked))
        surveys.append(survey(name, stores[-1]))
        findings += surveys[-1].findings + without_labels(name, path, stores[-1])
        _print_survey(surveys[-1], path)
    findings += compare(*surveys) + unlisted(stores)
    _print_findings(findings, args.strict)
    faults = sum(finding.fault or args.strict for finding in findings)
    remarks = len(findings) - faults
    print(f"{faults} fault{'s'[: faults != 1]}, {remarks} remark{'s'[: remarks != 1]}")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    run(main)
