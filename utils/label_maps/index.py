"""The index beside a label store: `labels.index.json` of `labels.npy`, checked when it is read."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from utils.classes import Classes, classes_from
from utils.errors import UserError
from utils.files import is_inside, read_json, refuse_replacing
from utils.formats import npy
from utils.reading import Reading, reading_from

REMAKE = "delete it and make it again with utils/generate_gt_segmentation.py"


@dataclass(frozen=True)
class Index:
    """What an index says.

    Attributes:
        keys: of the maps, all different.
        sizes: (H, W) of each map; None when the array's shape tells.
        classes: of the ids.
        folder: of the pictures, as seen from the index; see `place_of`.
        made_from: of the source: what `MADE_FROM` lists, and more.
        reading: None where it was not kept yet, in old versions.
    """

    keys: list[str]
    sizes: list[tuple[int, int]] | None
    classes: Classes
    folder: str
    made_from: dict
    reading: Reading | None


def _is_text(value: object) -> bool:
    return isinstance(value, str) and "\0" not in value


def _is_size(value: object) -> bool:
    whole = isinstance(value, list) and all(type(side) is int and side > 0 for side in value)
    return whole and len(value) == 2


def _are(fits: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list) and all(map(fits, value))


def _or_none(fits: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: value is None or fits(value)


# What each entry must be; `made_from` and its entries may be missing.
INDEX = {
    "keys": _are(_is_text),
    "sizes": _or_none(_are(_is_size)),
    "classes": _are(lambda value: isinstance(value, dict)),
    "folder": _is_text,
}
MADE_FROM = {
    "file": _is_text,
    "fingerprint": _is_text,
    "size": _or_none(_is_size),
    "classes": _or_none(_is_text),
    "left_out": _are(_is_text),
    # Of old versions, which kept them here.
    "class_attribute": _or_none(_is_text),
    "void": lambda value: type(value) is int and 0 <= value <= 255,
}


def index_path(path: Path | str) -> Path:
    """The index beside a label store: `labels.npy` has `labels.index.json`."""
    return Path(path).with_suffix(npy.INDEX)


def read_index(path: Path | str) -> Index | None:
    """The index of a label store, or None when there is none.

    Raises:
        UserError: it is damaged, or something else.
    """
    path = index_path(path)
    try:
        return _index_from(read_json(path))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path} is damaged ({error}); {REMAKE}.") from error


def place_of(path: Path, name: str, data_path: Path | str | None = None) -> Path:
    """Where a path leads that the index of the store `path` names.

    As the name of a picture, it stays in its folder: who sends an index to others has no say in
    what is read and written elsewhere on their disks.

    Args:
        path: of the `.npy`.
        name: as seen from there.
        data_path: a folder that the user named, which it may lead into as well.

    Raises:
        UserError: it leaves both, by `..`, as an absolute path, or by a link.
    """
    if not is_inside(path.parent / name, path.parent, *([data_path] if data_path else [])):
        raise UserError(
            f"{index_path(path)} names {name!r}, which lies outside of {path.parent}; name a "
            "folder that holds both as the data folder, or delete that index and make the labels "
            "anew."
        )
    return path.parent / name


def refuse_losing(path: Path, inputs: Iterable[Path]) -> None:
    """Refuse to write a label store where that would replace something else.

    Args:
        path: of the `.npy` that is about to be written.
        inputs: what it is made from.

    Raises:
        UserError: it, or its index, would replace an input or JSON that is no index.
    """
    outputs = [path, index_path(path)]
    refuse_replacing(outputs, inputs, "give the labels another name with --save-filename")
    try:
        content = read_json(outputs[1])
    except (OSError, ValueError):  # there is none, or half of one
        return
    if not isinstance(content, dict) or not content.keys() & {"keys", "made_from"}:
        raise UserError(
            f"{outputs[1]} would be replaced by an index of label maps and is none; move it away "
            "or give the labels another name with --save-filename."
        )


def _index_from(content: object) -> Index:
    """The index that a JSON file holds; raises `ValueError`, `TypeError` or `KeyError`."""
    if not isinstance(content, dict):
        raise ValueError("it is no object")
    made_from = content.get("made_from") or {}
    if not isinstance(made_from, dict):
        raise ValueError("'made_from' is no object")
    _check(content, INDEX)
    _check(made_from, {name: fits for name, fits in MADE_FROM.items() if name in made_from})
    keys, sizes = content["keys"], content["sizes"]
    if len(set(keys)) < len(keys):
        raise ValueError("'keys' names a picture twice")
    return Index(
        keys,
        [(height, width) for height, width in sizes] if sizes is not None else None,
        classes_from(content["classes"]),
        content["folder"],
        made_from,
        reading_from(content["reading"]) if "reading" in content else None,
    )


def _check(content: dict, table: dict[str, Callable[[object], bool]]) -> None:
    for name, fits in table.items():
        if name not in content:
            raise ValueError(f"{name!r} is missing")
        if not fits(content[name]):
            raise ValueError(f"{name!r} is not as it was written")
