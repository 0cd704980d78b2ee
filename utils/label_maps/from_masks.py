"""Make label maps from a folder of masks, which mean what `mask_meaning.py` says."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from utils.classes import FILE_NAME, find_classes, known_classes
from utils.errors import UserError
from utils.files import fingerprint, relative
from utils.label_maps.report import Report
from utils.reading import Reading, agree, read_reading, write_decisions

# NumPy takes long to import, `--help` is to answer at once: the function imports what needs it.


def make_labels_from_masks(
    masks_path: Path | str,
    out: Path | str | None = None,
    strict: bool = False,
    progress: bool = True,
    data_path: Path | str | None = None,
    classes_path: Path | str | None = None,
    most_listed: int | None = None,
    reading: Reading | None = None,
) -> Path:
    """Make a label store from a folder of masks, PNGs or TIFFs, with the stems of their pictures.

    Where a mask has several pages and its picture as many, each page is a picture.

    What values, palettes, colours and transparency mean is decided for the whole folder by
    `mask_meaning.decide`, kept in the `classes.json`, and holds for the masks that are read later.
    That file is found and written as for annotations: in the folder of the masks or one folder up.

    Args:
        masks_path: the folder of the masks.
        out: the `.npy`; by default beside that folder, named after it.
        data_path: the folder of the pictures; by default as `index_masks.pictures_beside`.
        strict, progress, classes_path, most_listed: as for `generate_gt_segmentation.make_labels`.
        reading: what options ask; what it leaves open is as it was decided before.

    Returns:
        The path of the `.npy`.

    Raises:
        UserError: a value or a colour belongs to no class, the masks contradict what was decided,
            the pictures are not found, two have one stem, or a mask has another shape, or more
            pages, than its picture.
    """
    from utils.formats.index_masks import labels_of, look_at, mask_files, pair, pictures_beside
    from utils.formats.mask_meaning import decide
    from utils.label_maps.index import refuse_losing
    from utils.label_maps.oddities import note_oddities
    from utils.label_maps.scale_of_set import with_scale
    from utils.label_maps.store import keep_other, write_labels
    from utils.pictures import (
        page_keys,
        pages_of,
        picture_size,
        pictures_in,
        resize_labels,
        same_shape,
    )
    from utils.progress import progress as bar

    source = Path(masks_path)
    out = Path(out) if out else source.parent / f"{source.resolve().name}.npy"
    folder = Path(data_path) if data_path else pictures_beside(source)
    files = mask_files(source, folder)
    found = Path(classes_path) if classes_path else find_classes(source)
    classes = known_classes(found)
    kept = read_reading(found)
    looks = [look for path in files for look in look_at(path)]
    masks = decide(
        looks,
        source.resolve(),
        classes,
        agree(reading or Reading(), kept, found or FILE_NAME),
        found,
        lambda index: _is_annotated(found.parent, index),
    )

    report = Report()
    pages = Counter(look.path for look in looks)
    for remark in masks.remarks:
        report.note("values", remark)
    refuse_losing(out, [*files, *([found] if found else []), *pictures_in(folder)])
    own = {path.resolve() for path in files}  # which may lie among the pictures
    there = [path for path in pictures_in(folder) if path.resolve() not in own]
    pictures, without, unlisted = pair(files, there)
    if not pictures:
        raise UserError(
            f"no picture in {folder} has the stem of a mask, such as {files[0].stem}; "
            "name the folder of the pictures with --data-path."
        )
    keys = {}  # of the picture, or of each of its pages, by mask
    for mask, path in pictures.items():
        keys[mask] = page_keys(folder, path.name, pages[mask])
        if pages[mask] > 1 and pages[mask] != (count := pages_of(path)):
            raise UserError(
                f"{mask} has {pages[mask]} pages, but its picture {path.name} has {count}; save "
                "the mask with as many, or with a single one, which is then that of the first."
            )
    for path in unlisted:
        report.note("unlisted", path.name)
    for mask in without:
        report.note("missing", f"the picture of {mask.name}")

    read_as = with_scale(masks.reading, there, report)
    place = found or source.resolve().parent / FILE_NAME
    to_keep = bool(found or len(masks.classes) > 1 or read_as.known())
    to_keep = to_keep and (classes, kept) != (masks.classes, read_as)
    if to_keep and not os.access(place.parent, os.W_OK):
        to_keep = False
        report.note("values", f"{place} cannot be written: later masks are not held against these")
    made_from = {
        "file": relative(source, out.parent),
        "fingerprint": fingerprint(source),
        "classes": relative(classes_path, out.parent) if classes_path else None,
        "left_out": [mask.stem for mask in without],  # see `fresh.py`
    }

    def read() -> Iterator[tuple[str, object]]:
        for look in looks:
            path = pictures.get(look.path)
            if path is None:
                continue
            key = keys[look.path][look.page or 0]
            labels = labels_of(look, masks.label)
            size = picture_size(path, turn=read_as.turn, page=look.page or 0)
            note_oddities(report, key, path, read_as, look.page)
            if labels.shape != size:
                was, now = ("{1} x {0}".format(*shape) for shape in (labels.shape, size))
                if not same_shape(labels.shape, size):
                    raise UserError(
                        f"{look} is {was}, but its picture {key} is {now}; was that "
                        "turned or cut after it was masked? Give both the same proportions."
                    )
                report.note("resized", f"{Path(str(look)).name} from {was} to {now}")
                labels = resize_labels(labels, size)
            report.pictures += 1
            yield key, labels

    def entries() -> Iterator[tuple[str, object]]:
        total = sum(map(len, keys.values()))
        yield from bar(read(), total, f"making {out.name}") if progress else read()
        report.finish(out, source, strict, progress, most_listed)
        keep_other(out)
        if to_keep:
            write_decisions(place, masks.classes, read_as)

    write_labels(out, folder, masks.classes, entries(), made_from, read_as)
    return out


def _is_annotated(folder: Path, index: int) -> bool:
    """Whether labels that were made from annotations in a folder use a class id."""
    from utils.label_maps.index import place_of, read_index
    from utils.label_maps.store import open_labels

    for path in sorted(folder.glob("*.index.json")):
        store = path.with_name(path.name.removesuffix(".index.json") + ".npy")
        try:
            made_from = found.made_from if (found := read_index(store)) else {}
            if "file" in made_from and os.path.isfile(place_of(store, made_from["file"])):
                labels = open_labels(store)
                if any((labels[key] == index).any() for key in labels.keys):
                    return True
        except UserError:
            continue  # half a store, or of something else
    return False
