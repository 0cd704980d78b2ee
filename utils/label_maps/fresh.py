"""Label stores that are made when they are missing and made again when their source changed."""

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from utils.classes import FILE_NAME, VOID, find_classes, read_classes
from utils.errors import UserError
from utils.files import fingerprint
from utils.formats.foreign import refuse_foreign_folder
from utils.generate_gt_segmentation import make_labels
from utils.label_maps.from_masks import make_labels_from_masks
from utils.label_maps.listed import beside_of, listed_pictures
from utils.label_maps.report import LISTED
from utils.label_maps.turns import making
from utils.reading import Reading, agree, read_reading

if TYPE_CHECKING:
    from utils.label_maps.index import Index
    from utils.label_maps.shards import Shards
    from utils.label_maps.store import LabelStore

# Fields of `Reading` that labels from masks and their pictures depend on.
OF_MASKS = ("masks", "palettes", "void", "void_colours", "ids", "threshold", "scale", "turn")


def ensure_labels(
    path: Path | str,
    progress: bool = True,
    pictures: Path | None = None,
    reading: Reading | None = None,
) -> "LabelStore":
    """Open a label store; make it first when it is missing or not as its source is now.

    One program at a time makes labels in a folder, the others wait. A `.npy` belongs to what it
    was made from: `x.csv` is refused while `x.npy` holds the labels of an `x.json` that is there.

    Args:
        path: a `.npy`, made from the `.json` or `.csv` (or folder of masks) of the same stem; or
            such an annotation file or folder itself. A chapter's pickled `.npy` is opened as it
            is unless its annotations are newer.
        progress: whether to show a bar and print what was found.
        pictures: the data folder: annotated pictures are looked for beside the annotations, then
            in it. An index names files in it or in the folder of the `.npy`, or is refused.
        reading: what is asked by options. A store that was made by other decisions, those that
            the data folder has now among them, is made again.

    Raises:
        UserError: there is nothing to open or to make it from, it cannot be used, or what is asked
            contradicts what was decided for the data folder.
    """
    from utils.formats.projects import SUFFIXES, other_sources
    from utils.label_maps.shards import is_shards, open_shards
    from utils.label_maps.store import open_labels

    path, asked = Path(path), reading or Reading()
    is_npy = path.suffix.lower() == ".npy"
    if os.path.isdir(path):
        source, out = path, path.resolve().with_name(path.resolve().name + ".npy")
    elif is_npy or not os.path.isfile(path):
        named = path.suffix.lower() in SUFFIXES  # as annotations, though they are missing
        source = path if named else _source_of(path, pictures)
        out = path.with_suffix(".npy") if named else path
    else:
        source, out = path, path.with_suffix(".npy")
    if source and is_shards(source):
        if source == path or not os.path.exists(out):
            return _as_asked(open_shards(source), asked)
        source = None  # beside the labels that are named, and not what they were made from
    if source and (os.path.exists(source) or not os.path.exists(out)):
        if not _is_stale(out, source, asked, pictures):
            with suppress(UserError):  # somebody makes it anew right now, or it cannot be used
                return open_labels(out, pictures)
        with making(out, pictures):
            if _is_stale(out, source, asked, pictures):
                _make_again(out, source, progress, pictures, asked)
            return open_labels(out, pictures)
    if not os.path.exists(out):
        there = ", ".join(other_sources(out.parent))
        raise UserError(
            f"{out} does not exist, nor do annotations {out.with_suffix('.json').name} beside it; "
            "put them there, divide an export by utils/split.py, or name others by --train-labels "
            f"and --test-labels{f'; what may be meant: {there}' if there else ''}."
        )
    _check_made_so(out, asked)
    return open_labels(out, pictures)


def _as_asked(shards: "Shards", asked: Reading) -> "Shards":
    """Shards, if they are meant as is asked.

    Raises:
        UserError: they are not.
    """
    for name, value in asked.known().items():
        if getattr(shards.reading, name) != value:
            raise UserError(
                f"{shards.path} was made with other decisions than --{name.replace('_', '-')}; "
                "leave the option out, or make the shards anew with utils/convert.py."
            )
    return shards


def is_there(path: Path) -> bool:
    """Whether there are labels, or what `ensure_labels` makes them from."""
    try:
        return os.path.exists(path) or _source_of(path) is not None
    except UserError:  # there is something, which cannot be used
        return True


def is_of_masks(source: Path) -> bool:
    """Whether labels are made from masks: from a folder that holds no annotations, from one of
    Cityscapes, which has masks beside them, or from a list of PASCAL VOC.
    """
    from utils.formats.mask_layouts import cityscapes, data_root
    from utils.formats.projects import is_annotations_folder

    if not os.path.isdir(source):
        return data_root(source) is not None
    return bool(cityscapes(Path(source))) or not is_annotations_folder(source)


def _source_of(path: Path, pictures: Path | None = None) -> Path | None:
    """What a `.npy` was made from by its index, else what has its stem; None when neither is.

    Raises:
        UserError: what the index names lies elsewhere.
    """
    from utils.formats.mask_layouts import data_root
    from utils.formats.projects import SUFFIXES

    stem = path.with_suffix("")
    candidates = [*(path.with_suffix(suffix) for suffix in SUFFIXES), stem]
    candidates += filter(data_root, [path.with_suffix(".txt")])
    try:
        made_from = _made_from(path)
    except UserError:  # it is damaged
        made_from = {}
    if "file" in made_from:
        candidates.insert(0, _place_of(path, made_from["file"], pictures))
    return next((c for c in candidates if os.path.exists(c)), None)


def _made_from(out: Path) -> dict:
    """What the index of a store says of its source; empty when there is no index."""
    from utils.label_maps.index import read_index

    index = read_index(out)
    return index.made_from if index else {}


def _place_of(out: Path, name: str, pictures: Path | None) -> Path:
    from utils.label_maps.index import place_of

    return place_of(out, name, pictures)


def _classes_file(
    out: Path, source: Path, made_from: dict, pictures: Path | None = None
) -> Path | None:
    """The `classes.json` of a store: the one that was named when it was made, else as found."""
    from utils.formats.mask_layouts import home_of

    if made_from.get("classes"):
        return _place_of(out, made_from["classes"], pictures)
    if is_of_masks(source):
        return find_classes(home_of(source))
    return find_classes(source if os.path.isdir(source) else source.parent, pictures)


def _is_stale(out: Path, source: Path, asked: Reading, pictures: Path | None) -> bool:
    """Whether the store `out` is missing, half written, or not made from `source` as it is now.

    Raises:
        UserError: what is asked contradicts what was decided; or these are the labels of something
            else, which is there as well.
    """
    from utils.label_maps.store import is_pickled, read_index

    if not os.path.exists(out):
        return True
    newer = os.path.isfile(source) and source.stat().st_mtime_ns > out.stat().st_mtime_ns
    try:
        if is_pickled(out):
            return newer
        index = read_index(out)
    except UserError:
        return True
    if index is None:
        return True
    made_from = index.made_from
    if made_from.get("file"):
        _refuse_other(out, source, _place_of(out, made_from["file"], pictures))
    if newer or made_from.get("fingerprint") != _fingerprint(source):
        return True
    if made_from.get("left_out") and _has_come(index, out, source, pictures):
        return True
    place = _classes_file(out, source, made_from, pictures)
    if place and read_classes(place) != index.classes:
        return True
    current = agree(asked, read_reading(place), place or FILE_NAME)
    made = index.reading
    if is_of_masks(source):
        # What was decided of annotations is nothing to masks.
        return made is None or any(getattr(current, n) != getattr(made, n) for n in OF_MASKS)
    return current != made


def _refuse_other(out: Path, source: Path, other: Path) -> None:
    """Refuse labels that were made from something else of the same stem: `x.json` and `x.csv`.

    Raises:
        UserError: both are there.
    """
    if os.path.exists(other) and not os.path.samefile(source, other):
        raise UserError(
            f"{out} holds the labels of {other.name}, which is there as well as {source.name}; "
            "rename one of them, or move it away."
        )


def _fingerprint(source: Path) -> str:
    from utils.formats.mask_layouts import fingerprint_of
    from utils.formats.projects import files_of

    try:
        if is_of_masks(source):
            return fingerprint_of(source)
        return fingerprint(source, files_of(source))
    except OSError as error:
        raise UserError(
            f"{source} cannot be read ({error}); put an ordinary file there."
        ) from error


def _check_made_so(out: Path, asked: Reading) -> None:
    """Refuse what is asked of a store that was made otherwise, where its source is gone.

    Raises:
        UserError: names what is asked.
    """
    from utils.label_maps.index import read_index

    index = read_index(out)
    made = index and index.reading or Reading()
    for name, value in asked.known().items():
        known = name == "void" and set(value) <= set(made.void)  # as of `agree`
        if not known and getattr(made, name) != value:
            raise UserError(
                f"what {out} was made from is gone, so that --{name.replace('_', '-')} changes "
                "nothing; put it back, or leave the option out."
            )


def _has_come(index: "Index", out: Path, source: Path, pictures: Path | None) -> bool:
    """Whether a picture that was missing or unreadable when labels were made can be read now."""
    from utils.formats.mask_files import find_masks, key_of_mask
    from utils.pictures import picture_size

    left_out = index.made_from["left_out"]
    folder = _place_of(out, index.folder, pictures)
    if not os.path.isdir(folder):
        return False
    if is_of_masks(source):
        try:
            found = find_masks(source, folder)
        except UserError:  # two pictures of one mask, which making labels tells
            return True
        parts = [part for parts in found.masks.values() for part in parts]
        return any(key_of_mask(part.path, source) in left_out for part in parts)
    paths = listed_pictures([*index.keys, *left_out], folder)
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
    from utils.label_maps.index import read_index

    try:
        index = read_index(out)
    except UserError:
        index = None
    made_from, classes_path, folder = {}, None, None
    if index:
        made_from = index.made_from
        if made_from.get("classes"):
            classes_path = _place_of(out, made_from["classes"], pictures)
        folder = _place_of(out, index.folder, pictures)
        folder = folder if os.path.isdir(folder) else None
    if index is None or index.reading is None:  # made by an old version, which kept them here
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
    if is_of_masks(source):
        try:
            make_labels_from_masks(source, out, data_path=folder, **common)
        except UserError:
            refuse_foreign_folder(source)
            raise
        return
    if pictures and (folder is None or folder.resolve() == beside_of(source).resolve()):
        folder = pictures  # beside the annotations they are found as well
    size = made_from.get("size")
    make_labels(source, out, data_path=folder, size=tuple(size) if size else None, **common)
