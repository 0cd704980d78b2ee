"""Label stores that are made when they are missing and made again when their source changed."""

from pathlib import Path
from typing import TYPE_CHECKING

from utils.classes import VOID, as_content, find_classes, read_classes
from utils.errors import UserError
from utils.files import fingerprint, inside
from utils.generate_gt_segmentation import make_labels
from utils.label_maps.from_masks import make_labels_from_masks
from utils.label_maps.report import LISTED

if TYPE_CHECKING:
    from utils.label_maps.store import LabelStore


def ensure_labels(
    path: Path | str, progress: bool = True, pictures: Path | None = None
) -> "LabelStore":
    """Open a label store; make it first when it is missing or older than what it is made from.

    Args:
        path: a `.npy`, made from the `.json` or `.csv` (or folder of masks) of the same stem; or
            such an annotation file or folder itself. A chapter's pickled `.npy` is opened as it
            is unless its annotations are newer.
        progress: whether to show a bar and print what was found.
        pictures: the folder to look in for annotated pictures when none is beside the annotations.

    Raises:
        UserError: there is nothing to open or to make it from, or it cannot be used.
    """
    from utils.label_maps.store import open_labels

    path = Path(path)
    if path.is_dir():
        source, out = path, path.resolve().with_name(path.resolve().name + ".npy")
    elif path.suffix.lower() in (".json", ".csv"):
        source, out = path, path.with_suffix(".npy")
    else:
        source, out = _source_of(path), path
    if source and (source.exists() or not out.exists()):
        if _is_stale(out, source):
            _make_again(out, source, progress, pictures)
    elif not out.exists():
        raise UserError(
            f"{out} does not exist, nor do annotations {out.with_suffix('.json').name} beside it; "
            "put them there, or name others with --labels, --train-labels or --test-labels."
        )
    return open_labels(out)


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


def _is_stale(out: Path, source: Path) -> bool:
    """Whether the store `out` is missing, half written, or not made from `source` as it is now."""
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
    if made_from.get("classes"):
        found = out.parent / made_from["classes"]
    else:
        found = find_classes(source if source.is_dir() else source.parent)
    return bool(found) and as_content(read_classes(found)) != index.get("classes")


def _has_come(left_out: list[str], index: dict, out: Path, source: Path) -> bool:
    """Whether a picture that was missing or unreadable when labels were made can be read now."""
    from utils.formats.index_masks import mask_files
    from utils.pictures import picture_size, pictures_in

    folder = out.parent / index["folder"]
    if not folder.is_dir():
        return False
    if source.is_dir():  # of masks, which know the stems of their pictures only
        masks = {path.resolve() for path in mask_files(source)}  # which may lie among the pictures
        stems = {path.stem for path in pictures_in(folder) if path.resolve() not in masks}
        return bool(stems & set(left_out))
    for name in left_out:
        try:
            picture_size(inside(folder, name))
        except UserError:
            continue
        return True
    return False


def _has_pictures_beside(source: Path) -> bool:
    """Whether any annotated picture is in the folder of the annotations."""
    from utils.formats.via import read_annotations

    return any((source.parent / entry.file).is_file() for entry in read_annotations(source))


def _make_again(out: Path, source: Path, progress: bool, pictures: Path | None) -> None:
    """Make a store with the settings that its index remembers, if any."""
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
    elsewhere = pictures and pictures != source.parent and source.is_file()
    if folder is None and elsewhere and not _has_pictures_beside(source):
        folder = pictures
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
