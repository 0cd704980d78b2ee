"""Which file the name of a picture in an annotation file stands for, and in which folder it is."""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path, PureWindowsPath
from urllib.parse import unquote, urlsplit

from utils.errors import UserError

# A scheme such as http: or data:, of two letters at least, as C: is a drive.
IMAGES = ("images", "JPEGImages", "img")  # of COCO's and YOLO's exports, VOC, Supervisely
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")


def is_address(name: str) -> bool:
    """Whether a listed name is an address of the web, or of a file, and not a name in a folder."""
    known = "://" in name or name.startswith(("data:image/", "blob:"))
    return known and bool(ADDRESS.match(name))


def listed_finder(folder: Path | str) -> Callable[[str], Path | None]:
    """A function that finds the picture in `folder` that a listed name stands for.

    Args:
        folder: read once for all names.

    Returns:
        A function of a name that returns the path of a file, found as `pictures.find_picture`
        finds it, or None. Of an address its file name counts, with %20 and the like replaced or
        as it is; so does that of a path that does not lead to a picture, as it did where it was
        annotated; of an absolute one too, where there is such a file. It raises `UserError` for
        other names that leave the folder.
    """
    from utils.pictures import picture_finder

    find = picture_finder(folder)

    def find_listed(name: str) -> Path | None:
        if not is_address(name):
            parts = re.split(r"[/\\]", name)
            elsewhere = PureWindowsPath(name).anchor and ".." not in parts  # of Linux, too
            if elsewhere and parts[-1] and (path := find(parts[-1])):
                return path
            return find(name) or (find(parts[-1]) if parts[-1] else None)
        for candidate in _file_names(name):
            path = find(candidate)
            if path:
                return path
        return None

    return find_listed


def listed_pictures(names: Iterable[str], folder: Path | str) -> dict[str, Path | None]:
    """The pictures in `folder` that listed names stand for; None for those that are not there.

    Where a name that is taken for its last part, as that of an address, and another name would
    stand for one file it is not that of the former: it may be another picture, of the same name on
    another server or in another folder.

    Raises:
        UserError: a name leaves the folder.
    """
    find = listed_finder(folder)
    paths = {name: find(name) for name in names}
    count = Counter(path for path in paths.values() if path is not None)
    return {
        name: None if count[path] > 1 and is_loose(name, path, folder) else path
        for name, path in paths.items()
    }


def is_loose(name: str, path: Path | None, folder: Path | str) -> bool:
    """Whether a picture was found by the last part of a listed name alone."""
    if path is None or is_address(name):
        return is_address(name)
    parts = [part for part in re.split(r"[/\\]", name) if part not in ("", ".")]
    return name[0] in "/\\" or len(parts) != len(Path(key_of(path, folder)).parts)


def key_of(path: Path, folder: Path | str) -> str:
    """The key of a picture in a label store: its real name in the folder, with forward slashes."""
    return path.relative_to(folder).as_posix()


def folder_of_pictures(
    names: Iterable[str], source: Path, data_folder: Path | str | None = None
) -> Path:
    """The folder of the pictures that an annotation file lists.

    Where the annotations lie in the data folder, what is beside them goes first: `train/x.json`
    means `train/a.jpg`, should there be another `a.jpg` in the data folder. Annotations from
    elsewhere go after it. Last come folders beside the annotations in which programs put pictures:
    `images`, and for `annotations/instances_train2017.json` `images/train2017` or `train2017`.

    Args:
        names: as they are listed.
        source: the annotation file, or the folder of them.
        data_folder: that the user named.

    Returns:
        The first that holds any of the pictures; when none does the data folder, or what is beside
        the annotations.
    """
    beside = beside_of(source)
    folder = Path(data_folder or beside)
    within = beside.resolve().is_relative_to(folder.resolve())
    names = list(names)
    part = source.stem.removeprefix("instances_")
    images = [place / name for place in (beside, beside.parent) for name in IMAGES]
    images += [place / part for place in (*images, beside, beside.parent)]
    places = [*((beside, folder) if within else (folder, beside)), *images]
    places = [place for place in places if place.is_dir()]
    holding = [place for place in places if _holds_any(place, names, False)]
    holding += [place for place in places if _holds_any(place, names, True)]
    return holding[0] if holding else folder


def beside_of(source: Path) -> Path:
    """The folder of an annotation file; a folder of annotations is it itself."""
    return source if os.path.isdir(source) else source.parent


def shorten(name: str) -> str:
    """A listed name as reports show it: an address that holds the picture itself is long."""
    return name if len(name) <= 120 else f"{name[:100]}... ({len(name)} characters)"


def _holds_any(folder: Path, names: list[str], loosely: bool) -> bool:
    """Whether any of the names is that of a file in the folder; or, loosely, its last part is."""
    find = listed_finder(folder)
    for name in names:
        try:
            path = find(name)
            if path and (loosely or is_address(name) or not is_loose(name, path, folder)):
                return True
        except UserError:  # it leaves this folder, which is said when the folder is used
            pass
    return False


def _file_names(address: str) -> list[str]:
    """What the file of an address can be called on a disk; nothing for pictures within it."""
    try:
        path = urlsplit(address).path if "://" in address else ""
    except ValueError:  # damaged
        return []
    names = [re.split(r"[/\\]", text)[-1] for text in (unquote(path), path)]
    return [n for n in dict.fromkeys(names) if n not in ("", ".", "..") and "\0" not in n]
