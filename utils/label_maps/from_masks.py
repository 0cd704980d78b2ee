"""Make label maps from a folder of mask PNGs, which mean what `mask_meaning.py` says."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from utils.classes import FILE_NAME, VOID, find_classes, read_classes
from utils.errors import UserError
from utils.files import fingerprint, relative
from utils.label_maps.report import Report
from utils.reading import Reading, agree, read_reading, write_decisions

# NumPy takes long to import, `--help` is to answer at once: the function imports what needs it.

# Fields of `Reading` that labels from masks and their pictures depend on.
DECIDED = ("masks", "palettes", "void", "void_colours", "scale", "turn")


def make_labels_from_masks(
    masks_path: Path | str,
    out: Path | str | None = None,
    strict: bool = False,
    progress: bool = True,
    data_path: Path | str | None = None,
    classes_path: Path | str | None = None,
    void: int = VOID,
    most_listed: int | None = None,
    reading: Reading | None = None,
) -> Path:
    """Make a label store from a folder of PNG masks with the stems of their pictures.

    What values, palettes, colours and transparency mean is decided for the whole folder by
    `mask_meaning.decide`, kept in the `classes.json`, and holds for the masks that are read later.
    That file is found and written as for annotations: in the folder of the masks or one folder up.

    Args:
        masks_path: the folder of the masks.
        out: the `.npy`; by default beside that folder, named after it.
        data_path: the folder of the pictures; by default as `index_masks.pictures_beside`.
        void: a value that means void besides 255; SegNet's CamVid has 11. As `reading.void`.
        strict, progress, classes_path, most_listed: as for `generate_gt_segmentation.make_labels`.
        reading: what options ask; what it leaves open is as it was decided before.

    Returns:
        The path of the `.npy`.

    Raises:
        UserError: a value or a colour belongs to no class, the masks contradict what was decided,
            the pictures are not found, two have one stem, or a mask has another shape than its
            picture.
    """
    from utils.formats.index_masks import labels_of, look_at, mask_files, pair, pictures_beside
    from utils.formats.mask_meaning import decide
    from utils.label_maps.oddities import note_oddities
    from utils.label_maps.scale_of_set import with_scale
    from utils.label_maps.store import keep_other, write_labels
    from utils.pictures import picture_size, pictures_in, resize_labels, same_shape
    from utils.progress import progress as bar

    source = Path(masks_path)
    out = Path(out) if out else source.parent / f"{source.resolve().name}.npy"
    folder = Path(data_path) if data_path else pictures_beside(source)
    files = mask_files(source)
    found = Path(classes_path) if classes_path else find_classes(source)
    classes = read_classes(found) if found else None
    kept = read_reading(found)
    asked = reading or Reading()
    if void != VOID:
        asked = replace(asked, void=tuple(sorted({*asked.void, void})))
    looks = [look_at(path) for path in files]
    masks = decide(
        looks,
        source.resolve(),
        classes,
        agree(asked, kept, found or FILE_NAME),
        found,
        lambda index: _is_annotated(found.parent, index),
    )

    report = Report()
    for remark in masks.remarks:
        report.note("values", remark)
    own = {path.resolve() for path in files}  # which may lie among the pictures
    pictures, without, unlisted = pair(
        files, [path for path in pictures_in(folder) if path.resolve() not in own]
    )
    if not pictures:
        raise UserError(
            f"no picture in {folder} has the stem of a mask, such as {files[0].stem}; "
            "name the folder of the pictures with --data-path."
        )
    for path in unlisted:
        report.note("unlisted", path.name)
    for mask in without:
        report.note("missing", f"the picture of {mask.name}")

    read_as = with_scale(masks.reading, pictures_in(folder), report)
    place = found or source.resolve().parent / FILE_NAME
    # Masks without an object would fix "no classes".
    to_keep = found is not None or len(masks.classes) > 1
    to_keep = to_keep and (classes, kept) != (masks.classes, read_as)
    if to_keep and not os.access(place.parent, os.W_OK):
        to_keep = False
        report.note("values", f"{place} cannot be written: later masks are not held against these")
    made_from = {
        "file": relative(source, out.parent),
        "fingerprint": fingerprint(source),
        "void": void,
        "classes": relative(classes_path, out.parent) if classes_path else None,
        "reading": _of_masks(read_as if to_keep else kept),
        "left_out": [mask.stem for mask in without],  # see `fresh.py`
    }

    def read() -> Iterator[tuple[str, object]]:
        for look in looks:
            path = pictures.get(look.path)
            if path is None:
                continue
            labels = labels_of(look, masks.label)
            size = picture_size(path, turn=read_as.turn)
            note_oddities(report, path.name, path, read_as)
            if labels.shape != size:
                was, now = ("{1} x {0}".format(*shape) for shape in (labels.shape, size))
                if not same_shape(labels.shape, size):
                    raise UserError(
                        f"{look.path} is {was}, but its picture {path.name} is {now}; was that "
                        "turned or cut after it was masked? Give both the same proportions."
                    )
                report.note("resized", f"{look.path.name} from {was} to {now}")
                labels = resize_labels(labels, size)
            report.pictures += 1
            yield path.name, labels

    def entries() -> Iterator[tuple[str, object]]:
        yield from bar(read(), len(pictures), f"making {out.name}") if progress else read()
        report.finish(out, source, strict, progress, most_listed)
        keep_other(out)
        if to_keep:
            write_decisions(place, masks.classes, read_as)

    write_labels(out, folder, masks.classes, entries(), made_from, read_as)
    return out


def decided_of_masks(path: Path | str | None) -> dict:
    """What the `classes.json` at `path` decides of masks, as the index of a store keeps it.

    A store whose `made_from["reading"]` is another was made when masks meant something else.

    Raises:
        UserError: it is damaged.
    """
    return _of_masks(read_reading(path))


def _of_masks(reading: Reading) -> dict:
    """The part of a reading that masks depend on, as it comes back from JSON."""
    known = reading.known()
    parts = {name: known[name] for name in DECIDED if name in known}
    return {n: list(value) if isinstance(value, tuple) else value for n, value in parts.items()}


def _is_annotated(folder: Path, index: int) -> bool:
    """Whether labels that were made from annotations in a folder use a class id."""
    from utils.label_maps.store import open_labels, read_index

    for path in sorted(folder.glob("*.index.json")):
        store = path.with_name(path.name.removesuffix(".index.json") + ".npy")
        try:
            made_from = (read_index(store) or {}).get("made_from") or {}
            if (store.parent / str(made_from.get("file"))).is_file():
                labels = open_labels(store)
                if any((labels[key] == index).any() for key in labels.keys):
                    return True
        except UserError:
            continue  # half a store, or of something else
    return False
