"""The parts of a data folder: what is trained on, what chooses the best weights, what is scored.

They are found by their names: `segmentation_train.json` and its like in the folder itself, one
export in each of the folders `train`, `val` and `test`, or masks in `train_masks` and its like.
Without a part for tests the validation part is scored, and some of the training pictures choose.
"""

from pathlib import Path
from typing import NamedTuple

from utils.classes import FILE_NAME
from utils.errors import UserError

# What others call them: Roboflow's exports have "valid".
FOLDERS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
OPTIONS = {part: f"--{part}-labels" for part in FOLDERS}


class Parts(NamedTuple):
    """Labels of a data folder, as seen from it; `val` is None where part of `train` chooses."""

    train: str = "segmentation_train.npy"
    val: str | None = None
    test: str = "segmentation_test.npy"


def find_parts(
    folder: Path, train: str | None = None, val: str | None = None, test: str | None = None
) -> Parts:
    """Find the labels of each part of a data folder.

    Args:
        folder: the data folder.
        train, val, test: labels that the user named. Where these are for training or tests, nothing
            is looked for that chooses: it may be of other pictures.

    Returns:
        What was named, else what is there, else the usual names.

    Raises:
        UserError: it could be either of two for a part that is left open; names both.
    """
    said = {"train": train, "val": val, "test": test}
    exports = {part: _exports(folder, part) for part in FOLDERS}
    names = [{Path(label).name for label in found} for found in exports.values() if found]
    shared = set.intersection(*names) if names else set()
    found = {}
    for part in FOLDERS:
        same = [label for label in exports[part] if Path(label).name in shared]
        labels = _usual(folder, part) + (same or exports[part])
        labels = labels or _masks(folder, part)  # which often were made from the annotations
        if said[part] or not labels:
            continue
        if len(labels) > 1:
            raise UserError(
                f"{folder} has {labels[0]} and {labels[1]}; say which is meant with "
                f"{OPTIONS[part]}, or move the other away."
            )
        found[part] = labels[0]
    if "val" in found and not (test or "test" in found):
        found["test"] = found.pop("val")
    if train or test:
        found.pop("val", None)
    return Parts(**found | {part: labels for part, labels in said.items() if labels})


def _usual(folder: Path, part: str) -> list[str]:
    """The label store of the usual name where it is there, or what it is made from."""
    from utils.label_maps.fresh import is_there

    name = f"segmentation_{part}.npy"
    return [name] if is_there(folder / name) else []


def _masks(folder: Path, part: str) -> list[str]:
    """Folders of masks beside those of their pictures, as `train_masks` beside `train`, or the
    `masks` of `train/masks` and `masks/train`; or `train` itself with masks and a table of classes,
    as of Roboflow, or with masks called `photo_mask.png`; or what PASCAL VOC and Cityscapes have
    for a part.
    """
    from utils.formats.class_tables import TABLES
    from utils.formats.mask_files import marked
    from utils.formats.mask_layouts import FOLDER_ENDINGS, labels_of_part
    from utils.pictures import pictures_in

    names = [name + ending for name in FOLDERS[part] for ending in FOLDER_ENDINGS]
    names += [n for name in FOLDERS[part] for n in (f"{name}/masks", f"masks/{name}")]
    found = [name for name in names if (folder / name).is_dir()]
    tables = [n for n in FOLDERS[part] if any((folder / n / table).is_file() for table in TABLES)]
    folders = [name for name in FOLDERS[part] if (folder / name).is_dir()]
    both = [name for name in folders if marked(pictures_in(folder / name))]
    return found or tables or labels_of_part(folder, FOLDERS[part]) or both


def _exports(folder: Path, part: str) -> list[str]:
    """Annotation files in the folders of a part, or such a folder where it is of annotations; those
    of YOLO in `labels`, of COCO in `annotations`.
    """
    from utils.formats.projects import SUFFIXES, is_annotations_folder
    from utils.formats.yolo import is_yolo_folder
    from utils.label_maps.shards import is_shards

    of_part = tuple(f"instances_{name}" for name in FOLDERS[part])
    coco = _files_in(folder / "annotations", (".json",))
    labels = [f"annotations/{name}" for name in coco if name.startswith(of_part)]
    of_yolo = (folder / "labels" / name for name in FOLDERS[part])
    labels += [f"labels/{place.name}" for place in of_yolo if is_yolo_folder(place)]
    for place in (folder / name for name in FOLDERS[part]):
        if not place.is_dir():
            continue
        if is_shards(place):
            labels.append(place.name)
            continue
        if is_annotations_folder(place):
            labels.append(place.name)
            continue
        labels += [f"{place.name}/{name}" for name in _files_in(place, SUFFIXES)]
    return labels


def _files_in(place: Path, suffixes: tuple[str, ...]) -> list[str]:
    """Annotation files in a folder, and label stores of which these are gone."""
    from utils.formats.class_tables import TABLES
    from utils.formats.npy import INDEX

    files = sorted(path.name for path in place.glob("*") if path.is_file())
    made = [name.removesuffix(INDEX) for name in files if name.endswith(INDEX)]
    files = [name for name in files if name not in (FILE_NAME, *TABLES)]
    sources = [n for n in files if n.lower().endswith(suffixes) and not n.endswith(INDEX)]
    stems = {Path(name).stem for name in sources}
    return sources + [f"{stem}.npy" for stem in made if stem not in stems]
