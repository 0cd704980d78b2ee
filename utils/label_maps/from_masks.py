"""Make label maps from masks, which mean what `mask_meaning.py` says."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from utils.classes import find_classes
from utils.errors import UserError
from utils.files import relative
from utils.label_maps.report import Report
from utils.reading import Reading, write_decisions

if TYPE_CHECKING:
    from utils.label_maps.mask_maps import Map

# NumPy takes long to import, `--help` is to answer at once: the functions import what needs it.


def make_labels_from_masks(
    masks_path: Path | str,
    out: Path | str | None = None,
    strict: bool = False,
    progress: bool = True,
    data_path: Path | str | None = None,
    classes_path: Path | str | None = None,
    most_listed: int | None = None,
    reading: Reading | None = None,
    keep: bool = True,
) -> Path:
    """Make a label store from a folder of masks, or from a list of PASCAL VOC.

    A mask is of the picture that `mask_files.find_masks` says; a picture may have one of each class
    or object. Where a mask has several pages and its picture as many, each page is a picture.

    What values, palettes, colours and transparency mean is decided for the whole set by
    `mask_meaning.decide`, kept in the `classes.json`, and holds for the masks that are read later.
    That file is found and written as for annotations: in the folder of the masks or one folder up.
    Where there is none, a table that comes with the masks has the classes, see `class_tables.py`.

    Args:
        masks_path: the folder of the masks, or `ImageSets/Segmentation/train.txt` of VOC.
        out: the `.npy`; by default beside that folder or list, named after it.
        data_path: the folder of the pictures; by default as `mask_layouts.pictures_beside`.
        strict, progress, classes_path, most_listed: as for `generate_gt_segmentation.make_labels`.
        reading: what options ask; what it leaves open is as it was decided before.
        keep: whether to keep classes and decisions in a `classes.json`.

    Returns:
        The path of the `.npy`.

    Raises:
        UserError: a value or a colour belongs to no class, the masks contradict what was decided,
            the pictures are not found, two have one stem, or a mask has another shape, or more
            pages, than its picture.
    """
    from utils.formats.mask_files import find_masks, key_of_mask
    from utils.formats.mask_layouts import fingerprint_of, home_of
    from utils.label_maps.index import refuse_losing
    from utils.label_maps.mask_maps import known_of, maps_of
    from utils.label_maps.scale_of_set import with_scale
    from utils.label_maps.store import keep_other, write_labels
    from utils.pictures import pictures_in
    from utils.progress import progress as bar

    source = Path(masks_path)
    beside = source.parent / (source.resolve().name if source.is_dir() else source.stem)
    out = Path(out) if out else beside.with_name(f"{beside.name}.npy")
    files = find_masks(source, data_path)
    place = Path(classes_path) if classes_path else find_classes(home_of(source))
    known = known_of(source, place, reading or Reading())
    report = Report()
    classes, read_as, maps = maps_of(
        files, known, report, lambda index: _is_annotated(known.place.parent, index)
    )
    own = [part.path for parts in files.masks.values() for part in parts]
    there = sorted({*files.masks, *files.unlisted})
    inputs = [*own, *files.lost, *there, *pictures_in(files.pictures)]
    refuse_losing(out, [*inputs, *filter(Path.exists, [source, known.place])])
    for path in files.unlisted:
        report.note("unlisted", path.relative_to(files.pictures).as_posix())
    for name in files.missing:
        report.note("missing", f"the mask of {name}, which {source.name} lists")
    for mask in files.lost:
        report.note("missing", f"the picture of {mask.name}")

    read_as = with_scale(read_as, there, report)
    to_keep = keep and bool(known.is_there or len(classes) > 1 or read_as.known())
    to_keep = to_keep and (known.is_there, known.classes, known.kept) != (True, classes, read_as)
    if to_keep and not os.access(known.place.parent, os.W_OK):
        to_keep = False
        text = f"{known.place} cannot be written: later masks are not held against these"
        report.note("values", text)
    made_from = {
        "file": relative(source, out.parent),
        "fingerprint": fingerprint_of(source),
        "classes": relative(classes_path, out.parent) if classes_path else None,
        "left_out": [key_of_mask(mask, source) for mask in files.lost],  # see `fresh.py`
    }

    def entries() -> Iterator[tuple[str, object]]:
        drawn = _drawn(maps, read_as, report)
        yield from bar(drawn, len(maps), f"making {out.name}") if progress else drawn
        report.finish(out, source, strict, progress, most_listed)
        keep_other(out)
        if to_keep:
            write_decisions(known.place, classes, read_as)

    write_labels(out, files.pictures, classes, entries(), made_from, read_as)
    return out


def _drawn(maps: "list[Map]", reading: Reading, report: Report) -> Iterator[tuple[str, object]]:
    """Yield the key and the label map of each picture, in the picture's size."""
    from utils.label_maps.oddities import note_oddities
    from utils.pictures import picture_size, resize_labels, same_shape

    for entry in maps:
        labels = entry.draw()
        size = picture_size(entry.picture, turn=reading.turn, page=entry.page or 0)
        note_oddities(report, entry.key, entry.picture, reading, entry.page)
        if labels.shape != size:
            was, now = ("{1} x {0}".format(*shape) for shape in (labels.shape, size))
            if not same_shape(labels.shape, size):
                raise UserError(
                    f"{entry.mask} is {was}, but its picture {entry.key} is {now}; was that "
                    "turned or cut after it was masked? Give both the same proportions."
                )
            report.note("resized", f"{Path(entry.mask).name} from {was} to {now}")
            labels = resize_labels(labels, size)
        report.pictures += 1
        yield entry.key, labels


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
