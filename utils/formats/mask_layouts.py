"""Where data sets keep masks and pictures: PASCAL VOC and its lists, Cityscapes, CamVid, `images`.

The folders are those of the data sets' own descriptions: VOC devkit, section 2; Cityscapes'
`cityscapesScripts` README, "Dataset Structure"; CamVid's `701_StillsRaw_full` and
`LabeledApproved_full`. CVAT exports "Segmentation mask 1.1" in VOC's folders.
"""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from utils.errors import UserError
from utils.files import MASK_SUFFIXES, fingerprint, inside, open_ordinary
from utils.pictures import pictures_in

OF_MASKS = (*MASK_SUFFIXES, ".bmp", ".gif", ".jpg", ".jpeg")
# `val_masks` beside `val`; "annot" is that of SegNet's CamVid, `trainannot`.
FOLDER_ENDINGS = ("_masks", "_mask", "_labels", "_label", "_segmentation", "_gt", "annot")
VOC_MASKS, VOC_PICTURES = "SegmentationClass", "JPEGImages"
CAMVID_MASKS, CAMVID_PICTURES = "LabeledApproved_full", "701_StillsRaw_full"
# Of `cityscapesScripts`, helpers/labels.py and preparation/createTrainIdLabelImgs.py; what else is
# in its folders (instanceIds, color, polygons) tells the same, or objects.
CITYSCAPES = ("labelIds", "labelTrainIds")
CITYSCAPES_PICTURES = "leftImg8bit"
MOST_LISTED = 1_000_000  # names in a list
DEPTH = 3  # folders: `stage1_train`, of a picture, `masks`


def data_root(source: Path | str) -> Path | None:
    """The data folder of a list of PASCAL VOC, which is `ImageSets/Segmentation/train.txt` in it.

    None where `source` is no such list.
    """
    path = Path(os.path.realpath(source))
    if path.suffix.lower() != ".txt" or not os.path.isfile(path):
        return None
    above = (path.parents[number] for number in range(min(3, len(path.parents))))
    return next((root for root in above if os.path.isdir(root / VOC_MASKS)), None)


def home_of(source: Path | str) -> Path:
    """The folder of the masks; a `classes.json` or a class table is in it or one folder up."""
    root = data_root(source)
    return root / VOC_MASKS if root else Path(source)


def read_list(path: Path) -> list[str]:
    """The names in a list of PASCAL VOC, one a line, without repetition.

    Raises:
        UserError: it is no text, names nothing, or a line is no name of a file.
    """
    try:
        with open_ordinary(path) as file:
            lines = file.read().decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as text ({error}); write a name a line.") from error
    if len(lines) > MOST_LISTED:
        raise UserError(f"{path} has {len(lines)} lines; list at most {MOST_LISTED} pictures.")
    names = {}
    for number, line in enumerate(lines, start=1):
        name = line.strip()
        if len(name) > 1 and name[0] == name[-1] == '"':  # CVAT's, where a name has blanks
            name = name[1:-1]
        elif len(name.split()) > 1:
            raise UserError(
                f"{path}, line {number}: {name!r} is more than the name of a picture; leave that "
                "name alone, without folder and suffix, as in PASCAL VOC."
            )
        if name:
            inside(path.parent, name)  # a name that leaves its folder is refused
            names[name] = None
    if not names:
        raise UserError(f"{path} lists no picture; write a name a line, without a suffix.")
    return list(names)


def listed(folder: Path, name: str, suffixes: set[str] | tuple[str, ...]) -> Path | None:
    """The file of a listed name in a folder; None where there is none.

    Raises:
        UserError: there are two, or the name leaves the folder.
    """
    found = [inside(folder, name + suffix) for suffix in sorted(suffixes)]
    found += [inside(folder, name + suffix.upper()) for suffix in sorted(suffixes)]
    real = {os.path.realpath(path): path for path in found if path.is_file()}
    if len(real) > 1:
        one, other, *_ = real.values()
        raise UserError(f"{one} and {other.name} have one name in the list; keep one of them.")
    return next(iter(real.values()), None)


def cityscapes(folder: Path) -> dict[Path, str]:
    """The masks of a folder of Cityscapes, `gtFine/train` or one of its cities, of one kind.

    Returns:
        What each mask's name has before `_gtFine_`, with the city's folder; empty where these are
        no masks of Cityscapes.
    """
    for kind in CITYSCAPES:
        found = {}
        for path in sorted([*folder.glob(f"*_{kind}.png"), *folder.glob(f"*/*_{kind}.png")]):
            name, _, rest = path.stem.rpartition("_gt")
            ours = rest in (f"Fine_{kind}", f"Coarse_{kind}") and path.name[0] != "."
            if name and ours and path.is_file():
                found[path] = (path.parent / name).relative_to(folder).as_posix()
        if found:
            return found
    return {}


def pictures_beside(source: Path | str) -> Path:
    """The folder with the pictures of masks: `val` for `val_masks`, `val_labels` and `valannot`;
    `JPEGImages` for VOC's `SegmentationClass`; `leftImg8bit/val` for Cityscapes' `gtFine/val`;
    otherwise `images` or `JPEGImages` beside it; `images/val` for `masks/val`; otherwise the folder
    itself when it holds pictures that are no masks.

    Raises:
        UserError: there is no such folder.
    """
    folder = home_of(source).resolve()
    names = []
    for ending in FOLDER_ENDINGS:
        if folder.name.lower().endswith(ending) and folder.name[: -len(ending)]:
            names.append(folder.name[: -len(ending)])
    special = {VOC_MASKS: VOC_PICTURES, CAMVID_MASKS: CAMVID_PICTURES}
    names += [special[folder.name]] if folder.name in special else []
    for name in (*names, "images", VOC_PICTURES):
        pictures = folder.with_name(name)
        if pictures.is_dir() and pictures != folder:
            return pictures
    above = [folder.parent, *([folder.parent.parent] if cityscapes(folder) else [])]
    for parent in above:  # `gtFine/val`, or its `val/lindau`
        for name in ("images", VOC_PICTURES, CITYSCAPES_PICTURES):
            pictures = parent.with_name(name) / folder.relative_to(parent)
            if parent.parent != parent and pictures.is_dir() and pictures != folder:
                return pictures
    if holds_both(folder):
        return folder
    from utils.formats.projects import other_sources

    there = ", ".join(other_sources(folder))
    raise UserError(
        f"{folder} holds no annotations, and if it holds masks their pictures are not beside it; "
        "name annotations themselves, or both folders with utils/generate_gt_segmentation.py "
        f"--masks and --data-path{f'; what may be meant: {there}' if there else ''}."
    )


def holds_both(folder: Path) -> bool:
    """Whether a folder holds masks and their pictures."""
    from utils.formats.mask_files import marked

    if object_folders(folder):
        return True
    found = pictures_in(folder) if folder.is_dir() else []
    kinds = {path.suffix.lower() == ".png" for path in found}
    masks = [path for path in found if path.suffix.lower() in MASK_SUFFIXES]
    stems = {path.stem for path in found}
    nested = any(path.is_dir() and path.name in stems for path in folder.iterdir())
    return bool(marked(found) or nested or (masks and (len(masks) < len(found) or len(kinds) > 1)))


def object_folders(folder: Path) -> list[Path]:
    """The folders of pictures that have each a mask of every object, `x/images` and `x/masks`.

    So it is in the Data Science Bowl of 2018: kaggle.com/c/data-science-bowl-2018/data.
    """
    return sorted(p.parent for p in folder.glob("*/masks") if (p.parent / "images").is_dir())


def labels_of_part(folder: Path, names: Iterable[str]) -> list[str]:
    """The labels of a part of a data folder of PASCAL VOC, of CVAT or of Cityscapes, as seen from
    it: `ImageSets/Segmentation/train.txt` or `gtFine/train`.

    Lists of pictures without masks, as those of VOC's tests, are none, nor is Cityscapes' part for
    tests, whose masks are void all over.

    Args:
        folder: the data folder.
        names: of the part, as ("val", "validation"), in small letters.
    """
    names, found = set(names), []
    for path in sorted((folder / "ImageSets" / "Segmentation").glob("*.txt")):
        if path.stem.lower() in names and data_root(path):
            try:
                first = read_list(path)[0]
                known = listed(folder / VOC_MASKS, first, OF_MASKS)
            except UserError:  # which making labels of it tells
                known = True
            found += [path.relative_to(folder).as_posix()] if known else []
    for path in sorted((folder / "gtFine").glob("*")):
        if path.name in names - {"test"} and cityscapes(path):
            found.append(path.relative_to(folder).as_posix())
    return found


def fingerprint_of(source: Path) -> str:
    """As `files.fingerprint`, of a folder with the masks in its folders, or of a list with those
    of its data folder.

    Raises:
        OSError: it is missing or cannot be read.
    """
    from utils.formats.class_tables import TABLES  # which imports this file

    folder = home_of(source)
    files = []
    for place, folders, names in os.walk(folder):  # which follows no links to folders
        if len(Path(place).relative_to(folder).parts) >= DEPTH - 1:
            folders.clear()
        paths = (Path(place) / name for name in names)
        files += [path for path in paths if path.suffix.lower() in OF_MASKS]
    files += [folder / name for name in TABLES if (folder / name).is_file()]
    text = fingerprint(folder, sorted(files))
    if folder == Path(source):
        return text
    return hashlib.sha256((fingerprint(Path(source)) + text).encode()).hexdigest()


def voc_names(root: Path) -> list[str] | None:
    """The 20 classes of PASCAL VOC in its order, where the lists of each are in `ImageSets/Main`.

    Other data in VOC's folders have no such lists, and other classes. Source of the order:
    `VOCinit.m` of the VOC devkit.
    """
    names = [
        *["aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"],
        *["diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"],
        *["train", "tvmonitor"],
    ]
    main = root / "ImageSets" / "Main"
    if all(any((main / f"{n}_{part}.txt").is_file() for part in ("train", "val")) for n in names):
        return ["background", *names]
    return None


def refuse_objects(folder: Path) -> None:
    """Refuse a folder of VOC's whose masks number objects.

    Raises:
        UserError: it is one.
    """
    if folder.resolve().name == "SegmentationObject":
        raise UserError(
            f"{folder} has masks that number objects, not classes; name {VOC_MASKS} beside it."
        )
