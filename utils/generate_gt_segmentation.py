"""Make label maps from annotations (section 4 of the chapter) or from a folder of mask PNGs.

    python3 utils/generate_gt_segmentation.py -j segmentation_train.json -p data/drinks

writes `segmentation_train.npy` beside the annotations: class ids instead of the chapter's
one-hot masks, see `labels.py`. Training and evaluation do this themselves when it is needed.
"""

import argparse
import hashlib
import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from utils.classes import (
    FILE_NAME,
    MOST_CLASSES,
    VOID,
    Classes,
    as_content,
    find_classes,
    named,
    read_classes,
    write_classes,
)
from utils.errors import UserError, run
from utils.files import data_folder, inside

if TYPE_CHECKING:
    from utils.labels import LabelStore

# Kinds of notes in the order of the report; `--strict` makes those of the first group an error.
FAULTS = {
    "missing": "listed but not in the folder",
    "unreadable": "not readable as a picture",
    "unlisted": "in the folder but not listed",
    "clipped": "partly or wholly outside the picture",
    "swapped": "annotated with width and height exchanged",
    "skipped": "not drawn",
    "unknown": "of no known class, drawn as void",
    "resized": "mask of another size than its picture",
}
REMARKS = {
    "elsewhere": "not listed here but in another annotation file",
    "merged": "listed several times, regions put together",
    "edited": "changed since it was annotated",
    "empty": "without regions, all background",
    "values": "how the masks were read",
}
STRAY = 0.01  # share of regions without a known class up to which a data set is not refused
LISTED = 10  # notes of a kind that are printed when labels are made on the way to something else


@dataclass
class Report:
    """What making labels came to: regions per class name, picture count, and notes."""

    pictures: int = 0
    regions: Counter = field(default_factory=Counter)
    notes: list[tuple[str, str]] = field(default_factory=list)  # kind, text

    def note(self, kind: str, text: str) -> None:
        """Keep a note; `kind` is a key of `FAULTS` or `REMARKS`."""
        self.notes.append((kind, text))

    def counts(self, kinds: Iterable[str]) -> str:
        """How many notes there are of each kind, as in "2 clipped, 1 missing"."""
        counted = Counter(kind for kind, _ in self.notes)
        return ", ".join(f"{counted[kind]} {kind}" for kind in kinds if counted[kind])

    def print_notes(self, most: int | None = None) -> None:
        """Print the notes: at most `most` of each kind of fault, and a few of each remark."""
        for kind, meaning in (FAULTS | REMARKS).items():
            texts = [text for k, text in self.notes if k == kind]
            shown = texts[: LISTED if kind in REMARKS else most]
            if texts:
                print(f"{kind} ({meaning}): {len(texts)}")
                print("".join(f"    {text}\n" for text in shown), end="")
                if len(texts) > len(shown):
                    print(f"    ... and {len(texts) - len(shown)} more")

    def summary(self, path: Path) -> str:
        """One line that sums up what was made."""
        regions = ", ".join(f"{count} {name}" for name, count in self.regions.items())
        total = f", {sum(self.regions.values())} regions ({regions})" if self.regions else ""
        counts = self.counts(FAULTS | REMARKS) or "nothing to remark"
        return f"{path}: {self.pictures} pictures{total}; {counts}"


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
        strict: whether a note of a kind in `FAULTS` is an error; then nothing is written.
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
    from utils.labels import write_labels
    from utils.progress import progress as bar
    from utils.via import class_value, find_class_attribute, read_annotations

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
        "file": _relative(source, out.parent),
        "fingerprint": _fingerprint(source),
        "class_attribute": class_attribute,
        "size": size,
        "classes": _relative(classes_path, out.parent) if classes_path else None,
    }

    def entries() -> Iterator[tuple[str, object]]:
        drawn = _drawn(pictures, folder, classes, size, report)
        yield from bar(drawn, len(pictures), f"making {out.name}") if progress else drawn
        _finish(out, source, report, strict, progress, most_listed)
        if not found and len(classes) > 1:  # a file without regions would fix "no classes"
            write_classes(source.parent / FILE_NAME, classes)

    write_labels(out, folder, classes, entries(), made_from)
    return out


def make_labels_from_masks(
    masks_path: Path | str,
    out: Path | str | None = None,
    strict: bool = False,
    progress: bool = True,
    data_path: Path | str | None = None,
    classes_path: Path | str | None = None,
    void: int = VOID,
    most_listed: int | None = None,
) -> Path:
    """Make a label store from a folder of PNG masks with the stems of their pictures.

    Values are class ids, 255 is void; when the only values are 0 and 255 and there are not more
    than two classes, 255 is class 1. Colours are read by the colours in `classes.json`, which is
    found and written as for annotations: in the folder of the masks or one folder up.

    Args:
        masks_path: the folder of the masks.
        out: the `.npy`; by default beside that folder, named after it.
        data_path: the folder of the pictures; by default as `index_masks.pictures_beside`.
        void: a value that means void besides 255; SegNet's CamVid has 11.
        strict, progress, classes_path, most_listed: as for `make_labels`.

    Returns:
        The path of the `.npy`.

    Raises:
        UserError: a value or a colour belongs to no class, or the pictures are not found.
    """
    from utils.index_masks import (
        derive_classes,
        ids_of_mask,
        is_black_and_white,
        mask_files,
        pictures_beside,
        survey_masks,
    )
    from utils.labels import write_labels
    from utils.pictures import picture_size, pictures_in, resize_labels
    from utils.progress import progress as bar

    source = Path(masks_path)
    out = Path(out) if out else source.parent / f"{source.resolve().name}.npy"
    folder = Path(data_path) if data_path else pictures_beside(source)
    files = mask_files(source)
    found = Path(classes_path) if classes_path else find_classes(source)
    classes = read_classes(found) if found else None
    values = survey_masks(files)
    black_and_white = is_black_and_white(values, classes)
    classes = classes or derive_classes(values - {void} | values & {VOID}, source)

    report = Report()
    if black_and_white:
        report.note("values", f"only 0 and 255 occur: 255 is taken as {classes.names[1]!r}")
    by_stem = {path.stem: path for path in pictures_in(folder)}
    stems = {path.stem for path in files}
    for stem, path in by_stem.items():
        if stem not in stems:
            report.note("unlisted", path.name)

    made_from = {
        "file": _relative(source, out.parent),
        "fingerprint": _fingerprint(source),
        "void": void,
        "classes": _relative(classes_path, out.parent) if classes_path else None,
    }

    def read() -> Iterator[tuple[str, object]]:
        for mask in files:
            path = by_stem.get(mask.stem)
            if path is None:
                report.note("missing", f"the picture of {mask.name}")
                continue
            labels = ids_of_mask(mask, classes, black_and_white, void)
            size = picture_size(path)
            if labels.shape != size:
                was, now = ("{1} x {0}".format(*shape) for shape in (labels.shape, size))
                report.note("resized", f"{mask.name} from {was} to {now}")
                labels = resize_labels(labels, size)
            report.pictures += 1
            yield path.name, labels
        if not report.pictures:
            raise UserError(
                f"no picture in {folder} has the stem of a mask, such as {files[0].stem}; "
                "name the folder of the pictures with --data-path."
            )

    def entries() -> Iterator[tuple[str, object]]:
        yield from bar(read(), len(files), f"making {out.name}") if progress else read()
        _finish(out, source, report, strict, progress, most_listed)
        if not found and len(classes) > 1:  # a file without regions would fix "no classes"
            write_classes(source.resolve().parent / FILE_NAME, classes)

    write_labels(out, folder, classes, entries(), made_from)
    return out


def ensure_labels(path: Path | str, progress: bool = True) -> "LabelStore":
    """Open a label store; make it first when it is missing or older than what it is made from.

    Args:
        path: a `.npy`, made from the `.json` or `.csv` (or folder of masks) of the same stem; or
            such an annotation file or folder itself. A chapter's pickled `.npy` is opened as it
            is unless its annotations are newer.
        progress: whether to show a bar and print what was found.

    Raises:
        UserError: there is nothing to open or to make it from, or it cannot be used.
    """
    from utils.labels import open_labels

    path = Path(path)
    if path.is_dir():
        source, out = path, path.resolve().with_name(path.resolve().name + ".npy")
    elif path.suffix.lower() in (".json", ".csv"):
        source, out = path, path.with_suffix(".npy")
    else:
        source, out = _source_of(path), path
    if source and (source.exists() or not out.exists()):
        if _is_stale(out, source):
            _make_again(out, source, progress)
    elif not out.exists():
        raise UserError(
            f"{out} does not exist, nor do annotations {out.with_suffix('.json').name} beside it; "
            "put them there, or name others with --train-labels and --test-labels."
        )
    return open_labels(out)


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
    from utils.pictures import pictures_in
    from utils.via import read_annotations

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


def _drawn(pictures, folder, classes, size, report) -> Iterator[tuple[str, object]]:
    """Yield the name and the label map of each picture; the picture's header tells its size."""
    from utils.masks import draw_regions
    from utils.pictures import picture_size

    for key, regions in pictures.items():
        path = inside(folder, key)
        if not path.is_file():
            report.note("missing", key)
            continue
        try:
            full_size = picture_size(path)
        except UserError as error:
            report.note("unreadable", str(error))
            continue
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


def _finish(out, source, report, strict, progress, most_listed) -> None:
    """Print the report, refuse a strict run with faults, and make way for the new file."""
    if progress:
        report.print_notes(most_listed)
    faults = [text for kind, text in report.notes if kind in FAULTS]
    if strict and faults:
        raise UserError(
            f"{source}: --strict found {report.counts(FAULTS)} "
            f"(first: {faults[0].rstrip('.')}) and wrote nothing; correct them or leave it out."
        )
    if progress:
        print(report.summary(out))
    _keep_other(out)


def _keep_other(out: Path) -> None:
    """Rename a file at `out` that is no label store, so that nothing written before is lost."""
    from utils.labels import index_path

    if not out.exists() or index_path(out).exists():
        return
    number = 1
    while (kept := out.with_name(f"{out.stem}.old{number}{out.suffix}")).exists():
        number += 1
    out.rename(kept)
    print(f"{out} was no label store; it is kept as {kept.name}")


def _source_of(path: Path) -> Path | None:
    """What a `.npy` was made from by its index, else what has its stem; None when neither is."""
    try:
        from_index = path.parent / _made_from(path)["file"]
    except (UserError, KeyError, TypeError):
        from_index = None
    stem = path.with_suffix("")
    candidates = [from_index, path.with_suffix(".json"), path.with_suffix(".csv"), stem]
    return next((c for c in candidates if c is not None and c.exists()), None)


def _made_from(out: Path) -> dict:
    """What the index of a store says of its source; empty when there is no index."""
    from utils.labels import read_index

    return (read_index(out) or {}).get("made_from") or {}


def _is_stale(out: Path, source: Path) -> bool:
    """Whether the store `out` is missing, half written, or not made from `source` as it is now."""
    from utils.labels import is_pickled, read_index

    if not out.exists():
        return True
    if source.is_file() and source.stat().st_mtime_ns > out.stat().st_mtime_ns:
        return True
    try:
        if is_pickled(out):
            return False
        index = read_index(out)
    except UserError:
        return True
    made_from = _made_from(out)
    if index is None or made_from.get("fingerprint") != _fingerprint(source):
        return True
    if made_from.get("classes"):
        found = out.parent / made_from["classes"]
    else:
        found = find_classes(source if source.is_dir() else source.parent)
    return bool(found) and as_content(read_classes(found)) != index.get("classes")


def _make_again(out: Path, source: Path, progress: bool) -> None:
    """Make a store with the settings that its index remembers, if any."""
    from utils.labels import read_index

    try:
        index = read_index(out) or {}
    except UserError:
        index = {}
    made_from = index.get("made_from") or {}
    classes_path = out.parent / made_from["classes"] if made_from.get("classes") else None
    folder = out.parent / index["folder"] if index.get("folder") else None
    if folder is not None and not folder.is_dir():
        folder = None
    common = {
        "progress": progress,
        "data_path": folder,
        "classes_path": classes_path,
        "most_listed": LISTED,
    }
    if source.is_dir():
        make_labels_from_masks(source, out, void=made_from.get("void", VOID), **common)
    else:
        size = made_from.get("size")
        attribute = made_from.get("class_attribute")
        make_labels(source, out, attribute, size=tuple(size) if size else None, **common)


def _fingerprint(source: Path) -> str:
    """Changes when an annotation file changes, or when masks of a folder do."""
    if source.is_dir():
        files = sorted(source.glob("*.[pP][nN][gG]"))
        text = repr([(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files]).encode()
    else:
        text = source.read_bytes()
    return hashlib.sha256(text).hexdigest()


def _relative(path: Path | str, start: Path) -> str:
    """`path` as seen from the folder `start`; absolute when on another drive."""
    try:
        return Path(os.path.relpath(Path(path).resolve(), start.resolve())).as_posix()
    except ValueError:
        return Path(path).resolve().as_posix()


def _show(out: Path) -> Path:
    """Draw every label map over its picture, into `overlays` beside the label store."""
    from PIL import Image

    from utils.drawing import overlay
    from utils.files import replace_whole
    from utils.labels import open_labels
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
