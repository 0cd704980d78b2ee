"""Convert annotations or masks of any format that is read into another one.

    python3 utils/convert.py instances.json via_project.json --format via
    python3 utils/convert.py train_masks annotations.xml --format cvat --data-path train
    python3 utils/convert.py via_project.json masks --format masks
    python3 utils/convert.py data/drinks/segmentation_train.npy drinks/train --format shards

Corners stay where they are as long as the other format can hold a region, else it is traced anew.
What was written is read again and compared; what could not be kept is said.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from utils.classes import FILE_NAME, MOST_CLASSES, VOID, Classes, find_classes, folded, read_classes
from utils.errors import UserError, run
from utils.files import data_folder
from utils.label_maps.listed import beside_of
from utils.label_maps.report import Report
from utils.reading import Reading, agree, read_reading, write_decisions
from utils.reading_options import add_reading_options, asked_reading

if TYPE_CHECKING:
    from utils.formats.writing import Drawn
    from utils.label_maps.store import LabelStore

# NumPy takes long to import, `--help` is to answer at once: functions import what needs it.

FORMATS = ("via", "coco", "labelme", "cvat", "masks", "shards")
OF_FILES = ("labelme", "masks")  # one for each picture
VOID_COLOUR = (255, 0, 255)  # unlike that of PASCAL VOC, which masks of colours have for void
PLACES = 10  # pictures that are named where pixels could not be kept


def convert(
    source: Path, target: Path, form: str, reading: Reading, data_path: Path | None = None
) -> Path:
    """Convert annotations, masks or label maps, and tell what could not be kept.

    Beside what is written goes a `classes.json` with names, ids and colours, which most formats
    have no place for; into the folder of masks itself.

    Args:
        source: an annotation file, a folder of them, a folder of masks, or a `.npy` of label maps.
        target: the file or the folder to write; it must not be there.
        form: one of `FORMATS`.
        reading: what is asked by options, as for `generate_gt_segmentation.make_labels`.
        data_path: the folder of the pictures, where they are not beside `source`.

    Returns:
        The folder of the pictures.

    Raises:
        UserError: `source` cannot be read, or `target` cannot be written, or is there.
    """
    from utils.drawing import write_index_png
    from utils.formats import writing
    from utils.progress import progress

    if os.path.lexists(target):
        raise UserError(f"{target} is there already; delete it, or name another.")
    if source.is_dir() and source.resolve() in target.resolve().parents:
        raise UserError(f"{target} lies in {source}, which it would become part of; name another.")
    if target.name == FILE_NAME:
        raise UserError(f"{target}: a {FILE_NAME} goes beside what is written; name another file.")
    place = (target if form == "masks" else target.parent) / FILE_NAME
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "labels.npy"
        store, regions = _read(source, out, reading, data_path)
        if form == "shards":
            _write_shards(target, store)
            return target
        _check_names(store, form)
        drawn = list(progress(_drawn(store, regions, form), len(store), "reading regions"))
        void = any(label == VOID for picture in drawn for _, label in picture.pairs)
        classes = store.classes
        if form == "cvat" and void:
            classes = _with_void(classes, target)
        _tell_losses(drawn, form, classes)
        decided = _decisions(place, classes, void and form == "via")
        folder = target if form in OF_FILES else target.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{folder} cannot be made ({error}); name another place.") from error
        if form == "masks":
            for key in progress(store.keys, len(store), "writing masks"):
                name = PurePosixPath(key).with_suffix(".png").name
                write_index_png(target / name, store[key], classes)
        else:
            getattr(writing, f"write_{form}")(target, drawn, classes)
        write_decisions(place, classes, decided)
        _compare(store, target, form, Path(scratch) / "again.npy")
    return store.folder


def _write_shards(target: Path, store: "LabelStore") -> None:
    """Pictures with their maps as shards, which come to their place whole, read again.

    Raises:
        UserError: a picture cannot be read, or is a page of a file.
    """
    from utils.label_maps.shards import open_shards, write_shards
    from utils.pictures import split_key
    from utils.progress import progress

    for key in store.keys:
        if split_key(key):
            raise UserError(f"{key} is a page of a file; save the pages as files of their own.")
    if not len(store):
        raise UserError(f"{store.path} lists no picture; there is nothing to write.")
    parent = target.absolute().parent
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent, prefix=".shards-") as work:
        made = Path(work) / "made"
        made.mkdir()
        write_shards(made, store, progress(store.keys, len(store), "writing shards"))
        shards = open_shards(made)
        for number, key in progress(enumerate(store.keys), len(store), "reading them again"):
            same = shards.content(number) == store.picture_path(key).read_bytes()
            same &= shards.channels(number) > 0  # it can be decoded
            if not same or not (shards[number] == store[key]).all():
                raise UserError(f"{key} was not written as it is; the disk may be damaged.")
        made.rename(target)
    count = len(list(target.glob("*.tar")))
    print(f"{target}: {len(store)} pictures in {count} shard{'s' if count > 1 else ''}, all equal")


def _check_names(store: "LabelStore", form: str) -> None:
    """Refuse pictures whose names cannot be told apart, or found again, in the other format.

    Raises:
        UserError: names the first.
    """
    from utils.formats.labelme import BACKGROUND, IGNORE
    from utils.pictures import split_key

    reserved = (IGNORE, BACKGROUND) if form == "labelme" else ()
    for name in store.classes.names:
        if not name.isprintable() or name in reserved:
            raise UserError(f"the class {name!r} would be read as another there; rename it.")
    seen: dict[str, str] = {}
    for key in store.keys:
        if split_key(key):
            raise UserError(
                f"{key} is a page of a file, which no other program's annotations name; save the "
                "pages as files of their own."
            )
        if not key.isprintable():
            raise UserError(f"{key!r} has a character that other programs cannot read; rename it.")
        if form == "masks" and PurePosixPath(key).parent != PurePosixPath(store.keys[0]).parent:
            raise UserError(
                f"{store.keys[0]} and {key} lie in different folders, of which each needs masks of "
                "its own; convert the annotations of each by themselves."
            )
        stem = key.rpartition(".")[0].replace("/", "-").casefold()
        other = seen.setdefault(stem, key)
        if form in OF_FILES and other != key:
            raise UserError(f"{other} and {key} would have one file; rename one of the pictures.")


def _with_void(classes: Classes, target: Path) -> Classes:
    """Classes with one more for what is void, as CVAT has no void.

    Raises:
        UserError: there can be no more.
    """
    known = {folded(name) for name in classes.names}
    names = ("void", "unlabelled", *(f"void {number}" for number in range(2, len(known) + 3)))
    name = next(name for name in names if name not in known)
    if len(classes) == MOST_CLASSES:
        raise UserError(
            f"{target}: CVAT has no void, and there are {MOST_CLASSES} classes already."
        )
    print(f"CVAT has no void: it is the class {name!r} there")
    return Classes((*classes.names, name), (*classes.colours, VOID_COLOUR))


def _read(
    source: Path, out: Path, reading: Reading, data_path: Path | None
) -> tuple["LabelStore", dict[str, list]]:
    """Label maps of whatever was given, and of annotations the regions of each picture."""
    from utils.generate_gt_segmentation import annotated, make_labels
    from utils.label_maps.fresh import ensure_labels, is_of_masks
    from utils.label_maps.from_masks import make_labels_from_masks
    from utils.label_maps.shards import Shards, is_shards

    if source.suffix == ".npy" or is_shards(source):
        store = ensure_labels(source, pictures=data_path, reading=reading)
        if isinstance(store, Shards):
            raise UserError(f"{source} are shards, made from other labels; convert these.")
        return store, {}
    # Nothing is left beside the source, whose folder may be read-only.
    common = {"reading": reading, "data_path": data_path, "keep": False}
    if is_of_masks(source):
        return _opened(make_labels_from_masks(source, out, **common)), {}
    store = _opened(make_labels(source, out, **common))
    place = find_classes(beside_of(source), data_path)
    _, pictures, _ = annotated(source, reading, place, data_path, Report())
    return store, {key: (shape, pairs) for key, (_, shape, pairs) in pictures.items()}


def _opened(out: Path) -> "LabelStore":
    """Label maps that were made a moment ago: their pictures may lie anywhere."""
    from utils.label_maps.index import read_index
    from utils.label_maps.store import open_labels

    return open_labels(out, (out.parent / read_index(out).folder).resolve())


def _drawn(store: "LabelStore", regions: dict[str, list], form: str) -> Iterator["Drawn"]:
    """The pictures of a store with their regions; masks are outlined as `form` has it."""
    from utils.formats.writing import Drawn
    from utils.label_maps.outlines import ringed, traced

    trace = traced if form in ("via", "labelme") else ringed
    for key in store.keys:
        labels = store[key]
        shape, pairs = regions.get(key, (None, None))
        # What was annotated at another size than the picture has now is traced at its own.
        # So is void for COCO, in which it lies below all objects, whatever was drawn when.
        below = form == "coco" and pairs and any(label == VOID for _, label in pairs)
        if pairs is None or shape not in (None, labels.shape) or below:
            pairs = trace(labels)
        yield Drawn(key, store.picture_path(key).stat().st_size, labels.shape, pairs)


def _tell_losses(drawn: list["Drawn"], form: str, classes: Classes) -> None:
    """Say what a format has no place for, and what stands in its place."""
    import numpy as np

    from utils.label_maps.polygons import draw_regions

    if form in ("via", "labelme"):
        name = classes.names[0]
        count = sum(label == 0 for picture in drawn for _, label in picture.pairs)
        if count:
            print(f"{form} has no holes: {count} are regions of the class {name}, drawn on top")
    if form == "coco":
        overlapping = 0
        for picture in drawn:
            times = np.zeros(picture.shape, np.int32)
            for region, _ in picture.pairs:
                times += draw_regions([(region, 1)], picture.shape)[0]
            overlapping += bool((times > 1).any())
        if overlapping:
            print(
                f"in {overlapping} pictures regions overlap, where COCO does not say which lies on "
                "top: they are written in the order of drawing"
            )


def _decisions(place: Path, classes: Classes, void: bool) -> Reading:
    """What is to be kept in the `classes.json` beside what is written.

    Args:
        void: whether regions that name no class are to be void.

    Raises:
        UserError: there is one of other classes, or decisions.
    """
    if place.exists() and read_classes(place) != classes:
        raise UserError(f"{place} has other classes; name a target in another folder.")
    return agree(Reading(unclassed="void" if void else None), read_reading(place), place)


def _compare(store: "LabelStore", target: Path, form: str, out: Path) -> None:
    """Read what was written again, and say of each picture how many pixels are not as they were."""
    from utils.generate_gt_segmentation import make_labels
    from utils.label_maps.from_masks import make_labels_from_masks

    folder = store.folder
    if form == "masks":  # of one folder, see `_check_names`
        folder /= PurePosixPath(store.keys[0]).parent if len(store) else ""
    make = make_labels_from_masks if form == "masks" else make_labels
    again = _opened(make(target, out, progress=False, data_path=folder))
    lost = {}
    for key in store.keys:
        name = PurePosixPath(key).name if form == "masks" else key
        lost[key] = int((store[key] != (again[name] if name in again else 0)).sum())
    total = sum(height * width for height, width in store.sizes)
    lost = {key: count for key, count in lost.items() if count}
    print(f"{target}: {len(store)} pictures, {len(store) - len(lost)} of them pixel for pixel")
    for key, count in sorted(lost.items(), key=lambda each: -each[1])[:PLACES]:
        print(f"    {key}: {count} pixels of another class")
    if lost and form in ("via", "labelme"):
        print("    dots, and lines or holes one pixel wide, have no area as polygons")
    if lost:
        print(f"    {sum(lost.values())} pixels in all, {sum(lost.values()) / total:.3%}")


def _parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "source", metavar="FROM", type=Path, help="annotations, a folder of masks, or a .npy"
    )
    parser.add_argument("target", metavar="TO", type=Path, help="the file or folder to write")
    parser.add_argument("--format", choices=FORMATS, required=True, help="of TO")
    parser.add_argument("-p", "--data-path", help="folder of the pictures (beside FROM)")
    add_reading_options(parser.add_argument_group("how the files are meant"))
    return parser.parse_args()


def main() -> None:
    """Read the command line and convert."""
    args = _parse_arguments()
    folder = data_folder(args.data_path) if args.data_path else None
    pictures = convert(args.source, args.target, args.format, asked_reading(args), folder)
    if args.format != "shards" and pictures.resolve() != args.target.parent.resolve():
        print(f"the pictures are in {pictures}: give it as --data-path, or put them together")


if __name__ == "__main__":
    run(main)
