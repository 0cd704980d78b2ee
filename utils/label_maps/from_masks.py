"""Make label maps from a folder of mask PNGs, as `index_masks.py` reads them."""

from collections.abc import Iterator
from pathlib import Path

from utils.classes import FILE_NAME, VOID, find_classes, read_classes, write_classes
from utils.errors import UserError
from utils.files import fingerprint, relative
from utils.label_maps.report import Report

# NumPy takes long to import, `--help` is to answer at once: the function imports what needs it.


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
        strict, progress, classes_path, most_listed: as for `generate_gt_segmentation.make_labels`.

    Returns:
        The path of the `.npy`.

    Raises:
        UserError: a value or a colour belongs to no class, the pictures are not found, two have
            one stem, or a mask has another shape than its picture.
    """
    from utils.formats.index_masks import (
        derive_classes,
        ids_of_mask,
        is_black_and_white,
        mask_files,
        pictures_beside,
        survey_masks,
    )
    from utils.label_maps.store import keep_other, write_labels
    from utils.pictures import picture_size, pictures_in, resize_labels, same_shape
    from utils.progress import progress as bar

    source = Path(masks_path)
    out = Path(out) if out else source.parent / f"{source.resolve().name}.npy"
    folder = Path(data_path) if data_path else pictures_beside(source)
    files = mask_files(source)
    found = Path(classes_path) if classes_path else find_classes(source)
    classes = read_classes(found) if found else None
    values = survey_masks(files, classes)
    black_and_white = is_black_and_white(values, classes)
    classes = classes or derive_classes(values - {void} | values & {VOID}, source)

    report = Report()
    if black_and_white:
        report.note("values", f"only 0 and 255 occur: 255 is taken as {classes.names[1]!r}")
    stems = {path.stem for path in files}
    masks = {path.resolve() for path in files}  # which may lie among the pictures
    by_stem = {}
    for path in pictures_in(folder):
        if path.resolve() in masks:
            continue
        if path.stem not in stems:
            report.note("unlisted", path.name)
        elif path.stem in by_stem:
            raise UserError(
                f"{by_stem[path.stem]} and {path.name} are both pictures of the mask "
                f"{path.stem}.png; keep one of them."
            )
        by_stem[path.stem] = path

    made_from = {
        "file": relative(source, out.parent),
        "fingerprint": fingerprint(source),
        "void": void,
        "classes": relative(classes_path, out.parent) if classes_path else None,
        "left_out": [],  # stems of masks without a picture: see `fresh_labels`
    }

    def read() -> Iterator[tuple[str, object]]:
        for mask in files:
            path = by_stem.get(mask.stem)
            if path is None:
                report.note("missing", f"the picture of {mask.name}")
                made_from["left_out"].append(mask.stem)
                continue
            labels = ids_of_mask(mask, classes, black_and_white, void)
            size = picture_size(path)
            if labels.shape != size:
                was, now = ("{1} x {0}".format(*shape) for shape in (labels.shape, size))
                if not same_shape(labels.shape, size):
                    raise UserError(
                        f"{mask} is {was}, but its picture {path.name} is {now}; was that turned "
                        "or cut after it was masked? Give both the same proportions."
                    )
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
        report.finish(out, source, strict, progress, most_listed)
        keep_other(out)
        if not found and len(classes) > 1:  # masks without an object would fix "no classes"
            write_classes(source.resolve().parent / FILE_NAME, classes)

    write_labels(out, folder, classes, entries(), made_from)
    return out
