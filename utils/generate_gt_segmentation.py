"""Make label maps from annotations (section 4 of the chapter) or from a folder of mask PNGs.

    python3 utils/generate_gt_segmentation.py -j segmentation_train.json -p data/drinks

writes `segmentation_train.npy` beside the annotations: class ids instead of the chapter's
one-hot masks, see `labels.py`. Training and evaluation do this themselves when it is needed.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from utils.classes import (
    FILE_NAME,
    MOST_CLASSES,
    VOID,
    Classes,
    find_classes,
    named,
    read_classes,
    write_classes,
)
from utils.errors import UserError, run
from utils.files import data_folder, fingerprint, inside, relative
from utils.label_maps.from_masks import make_labels_from_masks
from utils.label_maps.report import Report

STRAY = 0.01  # share of regions without a known class up to which a data set is not refused


def make_labels(
    annotation_path: Path | str,
    out: Path | str | None = None,
    class_attribute: str | None = None,
    strict: bool = False,
    progress: bool = True,
    data_path: Path | str | None = None,
    size: tuple[int, int] | None = None,
    classes_path: Path | str | None = None,
    most_listed: int | None = None,
) -> Path:
    """Make a label store from an annotation file of VIA.

    Classes come from `classes.json` beside the annotations or one folder up. When there is none,
    it is written beside them: numbers get the names "class 1", ..., names their alphabetical
    order. A region whose class is unknown is void when at most one region in a hundred is so,
    else an error. A picture that is missing or unreadable gets no labels; a picture without
    regions is all background.

    Args:
        annotation_path: any form that `via.read_annotations` reads.
        out: the `.npy`; by default beside the annotations with their stem. A file there that is
            no label store, such as the chapter's pickled one, is kept under another name.
        class_attribute: the region attribute with the class; found when not given.
        strict: whether a note of a kind in `report.FAULTS` is an error; then nothing is written.
        progress: whether to show a bar and print the report.
        data_path: the folder of the pictures; by default that of the annotations.
        size: (H, W) of all label maps; by default each has the size of its picture.
        classes_path: a `classes.json` that is somewhere else.
        most_listed: how many notes of each kind to print; None prints all.

    Returns:
        The path of the `.npy`.

    Raises:
        UserError: the annotations cannot be used; names file, place and cure.
    """
    from utils.formats.via import class_value, find_class_attribute, read_annotations
    from utils.label_maps.store import keep_other, write_labels
    from utils.progress import progress as bar

    source = Path(annotation_path)
    out = Path(out) if out else source.with_suffix(".npy")
    folder = Path(data_path) if data_path else source.parent
    annotations = read_annotations(source)
    try:
        attribute = find_class_attribute(annotations, class_attribute)
    except UserError as error:
        raise UserError(f"{source}: {error}") from error
    values = [
        [class_value(region, attribute) for region in annotation.regions]
        for annotation in annotations
    ]
    found = Path(classes_path) if classes_path else find_classes(source.parent)
    classes = read_classes(found) if found else _derive_classes(values, source)

    report = Report()
    pictures: dict[str, list] = {}  # regions and their ids, by file name
    for annotation, ids in zip(
        annotations, _class_ids(values, annotations, classes, source, found, report), strict=True
    ):
        path = inside(folder, annotation.file)
        key = PurePosixPath(annotation.file).as_posix()  # drops "./"
        if key in pictures:
            report.note("merged", key)
        pictures.setdefault(key, []).extend(zip(annotation.regions, ids, strict=True))
        if annotation.size and path.is_file() and path.stat().st_size != annotation.size:
            report.note("edited", f"{key} had {annotation.size} bytes")
    _find_unlisted(pictures, folder, source, report)

    made_from = {
        "file": relative(source, out.parent),
        "fingerprint": fingerprint(source),
        "class_attribute": class_attribute,
        "size": size,
        "classes": relative(classes_path, out.parent) if classes_path else None,
        "left_out": [],  # pictures that are missing or unreadable: see `fresh_labels`
    }

    def entries() -> Iterator[tuple[str, object]]:
        drawn = _drawn(pictures, folder, classes, size, report, made_from["left_out"])
        yield from bar(drawn, len(pictures), f"making {out.name}") if progress else drawn
        report.finish(out, source, strict, progress, most_listed)
        keep_other(out)
        if not found and len(classes) > 1:  # a file without regions would fix "no classes"
            write_classes(source.parent / FILE_NAME, classes)

    write_labels(out, folder, classes, entries(), made_from)
    return out


def _derive_classes(values: list[list[str | None]], source: Path) -> Classes:
    """Classes from the values that occur; see `make_labels`."""
    occurring = {value for row in values for value in row if value is not None}
    numbers = {int(value) for value in occurring if re.fullmatch("[0-9]+", value)}
    texts = {value for value in occurring if not re.fullmatch("[0-9]+", value)}
    by_name = {}
    for text in sorted(texts, key=lambda text: (text.casefold(), text)):
        by_name.setdefault(text.casefold(), text)
    by_name.pop("background", None)
    if by_name and numbers - {0}:
        raise UserError(
            f"{source} names classes both by number ({max(numbers)}) and by name "
            f"({min(by_name.values())!r}); write a {FILE_NAME} beside it with the id of each name."
        )
    count = len(by_name) + 1 if by_name else max(numbers, default=0) + 1
    if count > MOST_CLASSES:
        raise UserError(
            f"{source} has {count - 1} classes, but at most {MOST_CLASSES - 1} are possible; "
            "see whether --class-attribute names the right attribute."
        )
    return named(["background", *(by_name.values() or (f"class {i}" for i in range(1, count)))])


def _class_ids(values, annotations, classes, source, found, report) -> list[list[int]]:
    """The class id of every region of every annotation; void where the class is unknown."""
    ids: dict[str | None, int] = {}
    problems: dict[str | None, str] = {None: "it names no class, or several; enter one in VIA."}
    for value in {value for row in values for value in row if value is not None}:
        try:
            ids[value] = classes.id_of(value)
        except UserError as error:
            problems[value] = str(error)
        if ids.get(value) == 0 and value.casefold() not in ("0", "background"):
            raise UserError(
                f"{found}: the class {value!r} has id 0, which is what lies outside all regions; "
                "give id 0 to background and count the others from 1."
            )

    unknown = []
    for annotation, row in zip(annotations, values, strict=True):
        for number, (region, value) in enumerate(zip(annotation.regions, row, strict=True), 1):
            if value not in ids:
                name = f"{annotation.file}: region {number} ({region.shape})"
                unknown.append(f"{name}: {problems[value]}")
            else:
                report.regions[classes.names[ids[value]]] += 1
    if len(unknown) > STRAY * sum(map(len, values)):
        more = f" (and {len(unknown) - 1} more regions)" if len(unknown) > 1 else ""
        raise UserError(f"{source}: {unknown[0]}{more}")
    for text in unknown:
        report.note("unknown", text)
    return [[ids.get(value, VOID) for value in row] for row in values]


def _find_unlisted(pictures: dict, folder: Path, source: Path, report: Report) -> None:
    """Note the pictures that lie beside listed ones and are not listed.

    Training and test pictures often share a folder, as the chapter's do; those that another
    annotation file beside `source` lists are only remarked on.
    """
    from utils.formats.via import read_annotations
    from utils.pictures import pictures_in

    unlisted = []
    for parent in sorted({PurePosixPath(key).parent for key in pictures}):
        if (folder / parent).is_dir():
            keys = [(parent / path.name).as_posix() for path in pictures_in(folder / parent)]
            unlisted += [key for key in keys if key not in pictures]
    elsewhere = {}
    for other in sorted(source.parent.glob("*.*")) if unlisted else []:
        ours = other.name == FILE_NAME or other.name.endswith(".index.json") or other == source
        if other.suffix.lower() not in (".json", ".csv") or ours:
            continue
        try:
            for annotation in read_annotations(other):
                elsewhere.setdefault(PurePosixPath(annotation.file).as_posix(), other.name)
        except UserError:
            pass  # some other JSON or CSV
    for key in unlisted:
        if key in elsewhere:
            report.note("elsewhere", f"{key}, in {elsewhere[key]}")
        else:
            report.note("unlisted", key)


def _drawn(pictures, folder, classes, size, report, left_out) -> Iterator[tuple[str, object]]:
    """Yield the name and the label map of each picture; the picture's header tells its size.

    Adds to the list `left_out` the names of those that are missing or unreadable.
    """
    from utils.label_maps.polygons import draw_regions
    from utils.pictures import picture_size, same_shape

    for key, regions in pictures.items():
        path = inside(folder, key)
        if not path.is_file():
            report.note("missing", key)
            left_out.append(key)
            continue
        try:
            full_size = picture_size(path)
        except UserError as error:
            report.note("unreadable", str(error))
            left_out.append(key)
            continue
        if size and not same_shape(size, full_size):
            raise UserError(
                f"--size {size[0]}x{size[1]} has other proportions than {path}, which is "
                f"{full_size[0]}x{full_size[1]}; choose a size of the same shape."
            )
        labels, notes = draw_regions(regions, full_size, size)
        for note in notes:
            report.note(note.kind, f"{key}: {note.text}")
        if not regions:
            report.note("empty", key)
        report.pictures += 1
        yield key, labels
    if pictures and not report.pictures:
        raise UserError(
            f"none of the {len(pictures)} annotated pictures, such as {next(iter(pictures))}, is "
            f"in {folder}; name their folder with --data-path."
        )


def _show(out: Path) -> Path:
    """Draw every label map over its picture, into `overlays` beside the label store."""
    from PIL import Image

    from utils.drawing import overlay
    from utils.files import replace_whole
    from utils.label_maps.store import open_labels
    from utils.pictures import read_picture, resize_labels
    from utils.progress import progress

    store = open_labels(out)
    folder = out.parent / "overlays"
    for key in progress(store.keys, len(store), "drawing overlays"):
        picture = read_picture(store.picture_path(key))
        labels = resize_labels(store[key], picture.shape[:2])
        with replace_whole(folder / (key + ".png")) as unfinished:
            Image.fromarray(overlay(picture, labels, store.classes)).save(unfinished)
    return folder


def _size(text: str) -> tuple[int, int]:
    """A size such as 480x640, height first."""
    match = re.fullmatch(r"([1-9][0-9]{0,4})[xX]([1-9][0-9]{0,4})", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is not HEIGHTxWIDTH, such as 480x640")
    return int(match[1]), int(match[2])


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "-j",
        "--json",
        default="segmentation_train.json",
        help="annotations of VIA, JSON or CSV, in the data folder or any path (%(default)s)",
    )
    parser.add_argument(
        "-p",
        "--data-path",
        help="folder of the pictures (data/drinks, or where --json is found)",
    )
    parser.add_argument(
        "--save-filename",
        metavar="FILE",
        help="the .npy to write (the name of the annotations with .npy, beside them)",
    )
    parser.add_argument(
        "--show", action="store_true", help="also draw labels over pictures, into overlays/"
    )
    parser.add_argument(
        "--class-attribute",
        metavar="NAME",
        help="region attribute with the class (Name, name, class, label, type, or the only one)",
    )
    parser.add_argument(
        "--strict", action="store_true", help="write nothing when something was not as it should"
    )
    parser.add_argument(
        "--size", type=_size, metavar="HxW", help="size of the label maps (that of each picture)"
    )
    parser.add_argument(
        "--masks", metavar="FOLDER", help="make labels from PNG masks instead of annotations"
    )
    parser.add_argument(
        "--void",
        type=int,
        choices=range(256),
        metavar="VALUE",
        help="value in --masks that means void, besides 255; 11 in SegNet's CamVid",
    )
    parser.add_argument(
        "--classes", metavar="FILE", help=f"a {FILE_NAME} (found beside the annotations)"
    )
    args = parser.parse_args()
    if args.masks and (args.size or args.class_attribute):
        parser.error("--size and --class-attribute are for annotations, not for --masks")
    if args.void is not None and not args.masks:
        parser.error("--void is for --masks")
    return args


def main() -> None:
    """Read the command line, make the labels, report."""
    args = _parse_arguments()
    out = Path(args.save_filename) if args.save_filename else None
    if out and out.suffix != ".npy":
        out = out.with_name(out.name + ".npy")
    common = {"strict": args.strict, "classes_path": args.classes}
    if args.masks:
        folder = data_folder(args.data_path) if args.data_path else None
        masks = data_folder(args.masks)
        void = VOID if args.void is None else args.void
        if out and out.parent == Path("."):
            out = masks.parent / out
        out = make_labels_from_masks(masks, out, data_path=folder, void=void, **common)
    else:
        source, folder = _find_annotations(args.json, args.data_path)
        if out and out.parent == Path("."):
            out = source.parent / out
        out = make_labels(
            source, out, args.class_attribute, data_path=folder, size=args.size, **common
        )
    if args.show:
        print(f"overlays are in {_show(out)}")


def _find_annotations(name: str, data_path: str | None) -> tuple[Path, Path]:
    """The annotation file and the folder of its pictures, from the command line's words."""
    if data_path is None and Path(name).is_file():
        return Path(name), Path(name).parent
    folder = data_folder(data_path or "data/drinks")
    for source in (folder / name, Path(name)):
        if source.is_file():
            return source, folder
    raise UserError(
        f"the annotations {name} are neither in {folder} nor in {Path.cwd()}; "
        "name them with --json and their folder with --data-path."
    )


if __name__ == "__main__":
    run(main)
