"""Make label maps from annotations (section 4 of the chapter) or from a folder of masks.

    python3 utils/generate_gt_segmentation.py -j segmentation_train.json -p data/drinks

writes `segmentation_train.npy` beside the annotations: class ids instead of the chapter's one-hot
masks, see `label_maps/store.py`. Training and evaluation do this themselves when it is needed.
"""

import argparse
import os
import re
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from utils.classes import FILE_NAME, Classes, find_classes, read_classes
from utils.errors import UserError, run
from utils.files import data_folder, fingerprint, relative
from utils.label_maps.from_masks import make_labels_from_masks
from utils.label_maps.listed import (
    beside_of,
    folder_of_pictures,
    is_address,
    is_loose,
    key_of,
    listed_finder,
    listed_pictures,
    shorten,
)
from utils.label_maps.report import Report
from utils.label_maps.turns import making
from utils.reading import Reading, read_reading, write_decisions
from utils.reading_options import MASK_OPTIONS, add_reading_options, asked_reading

OF_REGIONS = ("size", "class_attribute", "class_name", "unclassed")  # options

if TYPE_CHECKING:
    from utils.formats.annotations import Region
    from utils.label_maps.region_classes import RegionClasses

    # By name: the picture's file, or None; the (H, W) at which it was annotated, or None; and
    # (region, class id) pairs.
    Pictures = dict[str, tuple[Path | None, tuple[int, int] | None, list[tuple[Region, int]]]]


def make_labels(
    annotation_path: Path | str,
    out: Path | str | None = None,
    reading: Reading | None = None,
    strict: bool = False,
    progress: bool = True,
    data_path: Path | str | None = None,
    size: tuple[int, int] | None = None,
    classes_path: Path | str | None = None,
    most_listed: int | None = None,
    keep: bool = True,
) -> Path:
    """Make a label store from annotations of VIA or another program that `projects.py` lists.

    Classes come from `classes.json` beside the annotations or one folder up. When there is none,
    it is written: into the data folder where the annotations lie in a folder of it, else beside
    them; see `classes_of_regions` for names and ids. What was decided is kept in it. A region whose
    class is unknown is void when at most one region in a hundred is so, else an error. A picture
    that is missing or unreadable gets no labels; a picture without regions is all background.

    Args:
        annotation_path: a file or a folder that `projects.read_project` reads.
        out: the `.npy`; by default beside the annotations with their stem. A file there that is
            no label store, such as the chapter's pickled one, is kept under another name.
        reading: what is asked by options.
        strict: whether a note of a kind in `report.FAULTS` is an error; then nothing is written.
        progress: whether to show a bar and print the report.
        data_path: the data folder; pictures are beside the annotations or in it, see
            `folder_of_pictures`.
        size: (H, W) of all label maps; by default each has the size of its picture.
        classes_path: a `classes.json` that is somewhere else.
        most_listed: how many notes of each kind to print; None prints all.
        keep: whether to keep classes and decisions in a `classes.json`.

    Returns:
        The path of the `.npy`.

    Raises:
        UserError: the annotations cannot be used; names file, place and cure.
    """
    from utils.formats.projects import files_of
    from utils.label_maps.index import refuse_losing
    from utils.label_maps.scale_of_set import with_scale
    from utils.label_maps.store import keep_other, write_labels
    from utils.pictures import pictures_in
    from utils.progress import progress as bar

    source = Path(annotation_path)
    out = Path(out) if out else store_of(source)
    place = Path(classes_path) if classes_path else find_classes(beside_of(source), data_path)
    report = Report()
    found, pictures, folder = annotated(source, reading or Reading(), place, data_path, report)
    classes = found.classes
    _find_unlisted(pictures, folder, source, report)
    listed = [path for path, _, _ in pictures.values() if path]
    own = files_of(source)
    refuse_losing(out, [*own, *([place] if place else []), *listed])
    read_as = with_scale(found.reading, [*listed, *pictures_in(folder)], report)

    left_out = []  # names of pictures that are missing or unreadable: see `fresh.py`
    made_from = {
        "file": relative(source, out.parent),
        "fingerprint": fingerprint(source, own),
        "size": size,
        "classes": relative(classes_path, out.parent) if classes_path else None,
        "left_out": left_out,
    }

    def entries() -> Iterator[tuple[str, object]]:
        drawn = _drawn(pictures, folder, source, read_as, size, report, left_out)
        yield from bar(drawn, len(pictures), f"making {out.name}") if progress else drawn
        report.finish(out, source, strict, progress, most_listed)
        keep_other(out)
        if keep and (len(classes) > 1 or read_as.known()):
            _keep(place or _new_place(source, data_path), classes, read_as)

    write_labels(out, folder, classes, entries(), made_from, read_as)
    return out


def annotated(
    source: Path, reading: Reading, place: Path | None, data_path: Path | str | None, report: Report
) -> tuple["RegionClasses", "Pictures", Path]:
    """Read annotations: their classes, the regions of each picture, and the pictures' folder.

    Args:
        source: a file or a folder that `projects.read_project` reads.
        reading: what is asked by options.
        place: the `classes.json` of the data folder, or None.
        data_path: the data folder, where the pictures are unless they are beside `source`.
        report: takes notes.

    Raises:
        UserError: as `make_labels`.
    """
    from utils.formats.projects import extract_pictures, read_project
    from utils.label_maps.region_classes import classes_of_regions

    project = read_project(source)
    for remark in project.remarks:
        report.note("values", remark)
    names = dict.fromkeys(annotation.file for annotation in project.annotations)
    folder = project.folder or folder_of_pictures(names, source, data_path)
    found = classes_of_regions(project, source, reading, place, report)
    try:
        missing = None in listed_pictures(names, folder).values()
    except UserError:  # a name leaves the folder
        missing = True
    if written := extract_pictures(source) if missing else []:
        report.note("values", f"pictures written from the annotations: {len(written)}")
        folder = project.folder or folder_of_pictures(names, source, data_path)
    return found, _by_picture(project.annotations, found.ids, folder, report), folder


def store_of(source: Path) -> Path:
    """The label store of an annotation file, or of a folder of them: beside it, of its name."""
    if os.path.isdir(source):
        return source.parent / f"{source.resolve().name}.npy"
    return source.with_suffix(".npy")


def _new_place(source: Path, data_path: Path | str | None) -> Path:
    """Where a `classes.json` is written: into a data folder whose sub-folder has the annotations,
    so that those in its other sub-folders find it, else beside them, or into the folder of them.
    """
    folder = beside_of(source)
    if data_path and Path(data_path).resolve() in folder.resolve().parents:
        return Path(data_path) / FILE_NAME
    return folder / FILE_NAME


def _keep(place: Path, classes: Classes, reading: Reading) -> None:
    """Write classes and decisions unless the file has them."""
    same = place.is_file() and read_reading(place) == reading and read_classes(place) == classes
    if not same:
        write_decisions(place, classes, reading)


def _by_picture(
    annotations: list, ids: list[list[int | None]], folder: Path, report: Report
) -> "Pictures":
    """The regions of each picture by its real or its listed name.

    See `listed_pictures` for what addresses of the web stand for.
    """
    paths = listed_pictures((annotation.file for annotation in annotations), folder)
    pictures: Pictures = {}
    for annotation, row in zip(annotations, ids, strict=True):
        name, path = annotation.file, paths[annotation.file]
        if path is None:
            key = name if is_address(name) else PurePosixPath(name).as_posix()  # drops "./"
        else:
            key = key_of(path, folder)
            if is_loose(name, path, folder):
                report.note("address", f"{key} is {shorten(name)}")
            if annotation.size and path.stat().st_size != annotation.size:
                report.note("edited", f"{key} had {annotation.size} bytes")
        if key in pictures:
            report.note("merged", shorten(key))
        drawn = [pair for pair in zip(annotation.regions, row, strict=True) if pair[1] is not None]
        _, shape, regions = pictures.setdefault(key, (path, annotation.shape, []))
        if shape != annotation.shape:
            raise UserError(
                f"{shorten(name)} is listed twice, annotated at {_wide(shape)} and at "
                f"{_wide(annotation.shape)}; take one of them out."
            )
        regions.extend(drawn)
    return pictures


def _find_unlisted(pictures: dict, folder: Path, source: Path, report: Report) -> None:
    """Note the pictures that lie beside listed ones and are not listed.

    Training and test pictures often share a folder, as the chapter's do; those that another
    annotation file beside `source` lists are only remarked on.
    """
    from utils.formats.projects import SUFFIXES, read_annotations
    from utils.pictures import pictures_in

    unlisted = []
    parents = {PurePosixPath(key).parent for key in pictures if not is_address(key)}
    for parent in sorted(parents):
        if (folder / parent).is_dir():
            keys = [(parent / path.name).as_posix() for path in pictures_in(folder / parent)]
            unlisted += [key for key in keys if key not in pictures]
    elsewhere, find = {}, listed_finder(folder)
    for other in sorted(source.parent.glob("*.*")) if unlisted else []:
        ours = other.name == FILE_NAME or other.name.endswith(".index.json") or other == source
        if other.suffix.lower() not in SUFFIXES or ours or not other.is_file():
            continue
        try:
            for annotation in read_annotations(other):
                path = find(annotation.file)
                if path:
                    elsewhere.setdefault(key_of(path, folder), other.name)
        except UserError:
            pass  # some other JSON or CSV
    for key in unlisted:
        if key in elsewhere:
            report.note("elsewhere", f"{key}, in {elsewhere[key]}")
        else:
            report.note("unlisted", key)


def _wide(shape: tuple[int, int] | None) -> str:
    """A size (H, W) as people say it, width first."""
    return "{1} x {0}".format(*shape) if shape else "an unknown size"


def _drawn(
    pictures: "Pictures",
    folder: Path,
    source: Path,
    reading: Reading,
    size: tuple[int, int] | None,
    report: Report,
    left_out: list[str],
) -> Iterator[tuple[str, object]]:
    """Yield the name and the label map of each picture; the picture's header tells its size.

    Adds to the list `left_out` the names of those that are missing or unreadable.
    """
    from utils.label_maps.oddities import note_oddities
    from utils.label_maps.polygons import draw_regions
    from utils.pictures import picture_size, same_shape

    find = listed_finder(folder)
    for key, (path, annotated, regions) in pictures.items():
        if path is None:
            taken = is_address(key) and find(key)
            why = f": {taken.name} may be a picture of another list entry" if taken else ""
            report.note("missing", shorten(key) + why)
            left_out.append(key)
            continue
        try:
            full_size = picture_size(path, turn=reading.turn)
        except UserError as error:
            report.note("unreadable", str(error))
            left_out.append(key)
            continue
        if size and not same_shape(size, full_size):
            raise UserError(
                f"--size {size[0]}x{size[1]} has other proportions than {path}, which is "
                f"{full_size[0]}x{full_size[1]}; choose a size of the same shape."
            )
        note_oddities(report, key, path, reading)
        if annotated and annotated != full_size:
            was, now = _wide(annotated), _wide(full_size)
            if not same_shape(annotated, full_size):
                other = "exif" if reading.turn == "raw" else "raw"
                raise UserError(
                    f"{source}: {shorten(key)} was annotated at {was}, but is {now}; was it turned "
                    f"or cut since? Try --turn {other}, or put the picture that was annotated "
                    "there."
                )
            report.note("scaled", f"{key} from {was} to {now}")
        try:
            labels, notes = draw_regions(regions, annotated or full_size, size or full_size)
        except UserError as error:
            raise UserError(f"{source}, {shorten(key)}: {error}") from error
        for note in notes:
            report.note(note.kind, f"{key}: {note.text}")
        if not regions:
            report.note("empty", key)
        report.pictures += 1
        yield key, labels
    if pictures and not report.pictures:
        also = "" if folder.resolve() == source.parent.resolve() else f", nor in {source.parent}"
        raise UserError(
            f"none of the {len(pictures)} annotated pictures, such as "
            f"{shorten(next(iter(pictures)))}, is in {folder}{also}; name their folder with "
            "--data-path."
        )


def _show(out: Path, data_path: Path | None) -> Path:
    """Draw every label map over its picture, into `overlays` beside the label store."""
    from utils.drawing import overlay, write_picture
    from utils.files import refuse_replacing
    from utils.label_maps.store import open_labels
    from utils.pictures import resize_labels
    from utils.progress import progress

    store = open_labels(out, data_path)
    folder = out.parent / "overlays"
    pictures = [store.picture_path(key) for key in store.keys]
    drawn = [folder / (key + ".png") for key in store.keys]
    refuse_replacing(drawn, pictures, "move the pictures to another folder to see overlays")
    for key in progress(store.keys, len(store), "drawing overlays"):
        picture = store.picture(key)
        labels = resize_labels(store[key], picture.shape[:2])
        write_picture(folder / (key + ".png"), overlay(picture, labels, store.classes))
    return folder


def _size(text: str) -> tuple[int, int]:
    """A size such as 480x640, height first."""
    match = re.fullmatch(r"([1-9][0-9]{0,4})[xX]([1-9][0-9]{0,4})", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is not HEIGHTxWIDTH, such as 480x640")
    return int(match[1]), int(match[2])


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        usage="%(prog)s [FILE ...] [--data-path FOLDER] [options]",
        formatter_class=partial(argparse.HelpFormatter, max_help_position=30),
    )
    data = parser.add_argument_group("the data")
    data.add_argument(
        "annotations",
        nargs="*",
        metavar="FILE",
        help="annotations in the data folder or any path (segmentation_train.json)",
    )
    data.add_argument("-j", "--json", metavar="FILE", help="the same, a single one")
    data.add_argument(
        "--masks",
        metavar="FOLDER",
        help="make labels from masks instead of annotations: a folder of PNGs, TIFFs, BMPs or "
        "JPEGs, or ImageSets/Segmentation/train.txt of PASCAL VOC",
    )
    data.add_argument(
        "-p",
        "--data-path",
        metavar="FOLDER",
        help="data folder, with the pictures unless they are beside the annotations (data/drinks, "
        "or where the annotations are found)",
    )
    data.add_argument(
        "--classes", metavar="FILE", help=f"a {FILE_NAME} (found beside the annotations)"
    )
    add_reading_options(parser.add_argument_group("how the files are meant"))
    labels = parser.add_argument_group("the labels")
    labels.add_argument(
        "--save-filename",
        metavar="FILE",
        help="the .npy to write (the name of the annotations with .npy, beside them)",
    )
    labels.add_argument(
        "--size", type=_size, metavar="HxW", help="size of the label maps (that of each picture)"
    )
    labels.add_argument(
        "--strict", action="store_true", help="write nothing when something was not as it should"
    )
    labels.add_argument(
        "--show", action="store_true", help="also draw labels over pictures, into overlays/"
    )
    args = parser.parse_intermixed_args()  # files may stand between options
    if args.masks:
        given = [name for name in ("annotations", "json", *OF_REGIONS) if getattr(args, name)]
        if given:
            option = "the files" if given[0] == "annotations" else _flag(given[0])
            parser.error(f"{option} and --masks do not go together: it is for annotations")
    if args.json:
        args.annotations.insert(0, args.json)
    if len(args.annotations) > 1 and args.save_filename:
        parser.error("--save-filename is for one file: several are each saved beside themselves")
    args.annotations = args.annotations or ["segmentation_train.json"]
    return args


def _flag(name: str) -> str:
    """An option as it is typed, from the name of its value."""
    return "--" + name.replace("_", "-")


def main() -> None:
    """Read the command line, make the labels, report."""
    from utils.formats.foreign import refuse_foreign_folder
    from utils.label_maps.fresh import is_of_masks

    args = _parse_arguments()
    asked = asked_reading(args)
    out = Path(args.save_filename) if args.save_filename else None
    if out and out.suffix != ".npy":
        out = out.with_name(out.name + ".npy")
    common = {"strict": args.strict, "classes_path": args.classes, "reading": asked}
    if args.masks:
        from utils.label_maps.index import read_index

        folder = data_folder(args.data_path) if args.data_path else None
        masks = Path(args.masks) if Path(args.masks).is_file() else data_folder(args.masks)
        if not is_of_masks(masks):
            raise UserError(
                f"{masks} is a file or folder of annotations; leave out --masks, or, where masks "
                "lie there as well, move these to a folder of their own."
            )
        if out and out.parent == Path("."):
            out = masks.parent / out
        with making(out or masks.resolve(), folder):
            made = make_labels_from_masks(masks, out, data_path=folder, **common)
            outs = [(made, made.parent / read_index(made).folder)]  # which may lie elsewhere
    else:
        outs = []
        found = _find_annotations(args.annotations, args.data_path)
        _refuse_shared([source for source, _ in found])
        for source, folder in found:
            target = source.parent / out if out and out.parent == Path(".") else out
            with making(target or source, folder):
                if is_of_masks(source):  # whose pictures are found by where these lie
                    _refuse_options(args, OF_REGIONS, source, "masks")
                    try:
                        made = make_labels_from_masks(source, target, **common)
                    except UserError:
                        if source.is_dir():
                            refuse_foreign_folder(source)
                        raise
                else:
                    _refuse_options(args, MASK_OPTIONS, source, "annotations")
                    made = make_labels(source, target, data_path=folder, size=args.size, **common)
            outs.append((made, folder))
    for out, folder in outs if args.show else ():
        print(f"overlays are in {_show(out, folder)}")


def _refuse_options(
    args: argparse.Namespace, names: Iterable[str], source: Path, kind: str
) -> None:
    """Refuse options that say nothing of a source of this kind.

    Raises:
        UserError: one of them was given.
    """
    given = [name for name in names if getattr(args, name) is not None]
    if given:
        raise UserError(f"{_flag(given[0])} says nothing of {source}, of {kind}; leave it out.")


def _find_annotations(names: list[str], data_path: str | None) -> list[tuple[Path, Path]]:
    """Each annotation file and its data folder, from the command line's words.

    Without a data folder it is where the files are, or what holds the folders of all.

    Raises:
        UserError: a file is not found, or is a folder.
    """
    if data_path is None and all(Path(name).exists() for name in names):
        sources = [Path(name) for name in names]
        parents = {source.resolve().parent for source in sources}
        above = {parent.parent for parent in parents}
        shared = above.pop() if len(parents) > 1 and len(above) == 1 else None
        return [(source, shared or beside_of(source)) for source in sources]
    folder = data_folder(data_path or "data/drinks")
    return [(_find_file(name, folder), folder) for name in names]


def _refuse_shared(sources: list[Path]) -> None:
    """Refuse annotations that would be made into one `.npy`, as `x.json` and `x.csv`.

    Raises:
        UserError: there are such.
    """
    made: dict[Path, Path] = {}
    for source in sources:
        other = made.setdefault(store_of(source.resolve()), source)
        if other.name != source.name:
            raise UserError(
                f"{other} and {source} would both be made into {store_of(source).name}; "
                "rename one of them."
            )


def _find_file(name: str, folder: Path) -> Path:
    """What annotations or masks are in, in the data folder, or by its path.

    Raises:
        UserError: it is not there.
    """
    for source in (folder / name, Path(name)):
        if os.path.exists(source):
            return source
    raise UserError(
        f"the annotations {name} are neither in {folder} nor in {Path.cwd()}; "
        "name them with --json and their folder with --data-path."
    )


if __name__ == "__main__":
    run(main)
