"""Label stores that are made when they are missing and made again when their source changed."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from utils.classes import FILE_NAME, VOID, as_content, find_classes, read_classes
from utils.errors import UserError
from utils.files import fingerprint
from utils.formats.foreign import refuse_foreign_folder
from utils.generate_gt_segmentation import make_labels
from utils.label_maps.from_masks import make_labels_from_masks
from utils.label_maps.listed import listed_pictures
from utils.label_maps.report import LISTED
from utils.reading import Reading, agree, read_reading, reading_from

if TYPE_CHECKING:
    from utils.label_maps.store import LabelStore

# Fields of `Reading` that labels from masks and their pictures depend on.
OF_MASKS = ("masks", "palettes", "void", "void_colours", "scale", "turn")


def ensure_labels(
    path: Path | str,
    progress: bool = True,
    pictures: Path | None = None,
    reading: Reading | None = None,
) -> "LabelStore":
    """Open a label store; make it first when it is missing or not as its source is now.

    Args:
        path: a `.npy`, made from the `.json` or `.csv` (or folder of masks) of the same stem; or
            such an annotation file or folder itself. A chapter's pickled `.npy` is opened as it
            is unless its annotations are newer.
        progress: whether to show a bar and print what was found.
        pictures: the data folder: annotated pictures are looked for beside the annotations, then
            in it.
        reading: what is asked by options. A store that was made by other decisions, those that
            the data folder has now among them, is made again.

    Raises:
        UserError: there is nothing to open or to make it from, it cannot be used, or what is asked
            contradicts what was decided for the data folder.
    """
    from utils.label_maps.store import open_labels

    path, asked = Path(path), reading or Reading()
    if path.is_dir():
        source, out = path, path.resolve().with_name(path.resolve().name + ".npy")
    elif path.suffix.lower() == ".npy" or not path.is_file():
        named = path.suffix.lower() in (".json", ".csv")  # as annotations, though they are missing
        source, out = (path, path.with_suffix(".npy")) if named else (_source_of(path), path)
    else:
        source, out = path, path.with_suffix(".npy")
    if source and (source.exists() or not out.exists()):
        if _is_stale(out, source, asked):
            _make_again(out, source, progress, pictures, asked)
    elif not out.exists():
        raise UserError(
            f"{out} does not exist, nor do annotations {out.with_suffix('.json').name} beside it; "
            "put them there, or name others with --labels, --train-labels or --test-labels."
        )
    else:
        _check_made_so(out, asked)
    return open_labels(out)


def is_there(path: Path) -> bool:
    """Whether there are labels, or what `ensure_labels` makes them from."""
    return path.exists() or _source_of(path) is not None


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
    from utils.label_maps.store import read_index

    return (read_index(out) or {}).get("made_from") or {}


def _classes_file(out: Path, source: Path, made_from: dict) -> Path | None:
    """The `classes.json` of a store: the one that was named when it was made, else as found."""
    if made_from.get("classes"):
        return out.parent / made_from["classes"]
    return find_classes(source if source.is_dir() else source.parent)


def _is_stale(out: Path, source: Path, asked: Reading) -> bool:
    """Whether the store `out` is missing, half written, or not made from `source` as it is now.

    Raises:
        UserError: what is asked contradicts what was decided.
    """
    from utils.label_maps.store import is_pickled, read_index

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
    if index is None or made_from.get("fingerprint") != fingerprint(source):
        return True
    if made_from.get("left_out") and _has_come(made_from["left_out"], index, out, source):
        return True
    place = _classes_file(out, source, made_from)
    if place and as_content(read_classes(place)) != index.get("classes"):
        return True
    made = _reading_of(index)
    current = agree(asked, read_reading(place), place or FILE_NAME)
    if source.is_dir():  # what was decided of annotations is nothing to masks
        return made is None or any(getattr(current, n) != getattr(made, n) for n in OF_MASKS)
    return current != made


def _reading_of(index: dict) -> Reading | None:
    """The decisions that a store was made by; None where none are told, as in old versions."""
    try:
        return reading_from(index["reading"])
    except (KeyError, TypeError, ValueError):
        return None


def _check_made_so(out: Path, asked: Reading) -> None:
    """Refuse what is asked of a store that was made otherwise, where its source is gone.

    Raises:
        UserError: names what is asked.
    """
    from utils.label_maps.store import read_index

    made = _reading_of(read_index(out) or {}) or Reading()
    for name, value in asked.known().items():
        if getattr(made, name) != value:
            raise UserError(
                f"what {out} was made from is gone, so that --{name.replace('_', '-')} changes "
                "nothing; put it back, or leave the option out."
            )


def _has_come(left_out: list[str], index: dict, out: Path, source: Path) -> bool:
    """Whether a picture that was missing or unreadable when labels were made can be read now."""
    from utils.formats.index_masks import mask_files, pair
    from utils.pictures import picture_size, pictures_in

    folder = out.parent / index["folder"]
    if not folder.is_dir():
        return False
    if source.is_dir():  # of masks, which know the stems of their pictures only
        masks = mask_files(source, folder)
        own = {path.resolve() for path in masks}  # which may lie among the pictures
        pictures = [path for path in pictures_in(folder) if path.resolve() not in own]
        try:
            found, _, _ = pair(masks, pictures)
        except UserError:  # two pictures of one mask, which making labels tells
            return True
        return bool({mask.stem for mask in found} & set(left_out))
    paths = listed_pictures([*index["keys"], *left_out], folder)
    for name in left_out:
        try:
            if paths[name]:
                picture_size(paths[name])
                return True
        except UserError:
            pass
    return False


def _make_again(
    out: Path, source: Path, progress: bool, pictures: Path | None, asked: Reading
) -> None:
    """Make a store with the settings that its index remembers, if any, and what is asked."""
    from utils.label_maps.store import read_index

    try:
        index = read_index(out) or {}
    except UserError:
        index = {}
    made_from = index.get("made_from") or {}
    classes_path = out.parent / made_from["classes"] if made_from.get("classes") else None
    folder = out.parent / index["folder"] if index.get("folder") else None
    if folder is not None and not folder.is_dir():
        folder = None
    if "reading" not in index:  # made by an old version, which kept them here
        attribute, void = made_from.get("class_attribute"), made_from.get("void", VOID)
        asked = replace(
            asked,
            class_attribute=asked.class_attribute or attribute,
            void=asked.void or (() if void == VOID else (void,)),
        )
    common = {
        "reading": asked,
        "progress": progress,
        "classes_path": classes_path,
        "most_listed": LISTED,
    }
    if source.is_dir():
        try:
            make_labels_from_masks(source, out, data_path=folder, **common)
        except UserError:
            refuse_foreign_folder(source)
            raise
        return
    if pictures and (folder is None or folder.resolve() == source.resolve().parent):
        folder = pictures  # beside the annotations they are found as well
    size = made_from.get("size")
    make_labels(source, out, data_path=folder, size=tuple(size) if size else None, **common)
