"""Class names, ids and colours: one `classes.json` fixes all three for a dataset."""

import json
import os
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from utils.errors import UserError
from utils.files import read_json, replace_whole

VOID = 255  # pixels that no loss and no metric counts; as in PASCAL VOC and Cityscapes
MOST_CLASSES = 255  # ids 0 to 254: the background and up to 254 others
FILE_NAME = "classes.json"


@dataclass(frozen=True)
class Classes:
    """The classes of a dataset; a class is named by its id, its place in both tuples.

    Attributes:
        names: one per class, background (id 0) first; differ even when letter case is ignored.
        colours: one (red, green, blue) per class, each 0 to 255.
    """

    names: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]

    def __post_init__(self) -> None:
        """Raise `ValueError` when names or colours are not as the attributes say."""
        if not 1 <= len(self.names) <= MOST_CLASSES:
            raise ValueError(f"there are {len(self.names)} classes, not 1 to {MOST_CLASSES}")
        if len(self.colours) != len(self.names):
            raise ValueError(f"{len(self.names)} classes have {len(self.colours)} colours")
        seen = set()
        for name in self.names:
            if not isinstance(name, str) or not name.strip():
                raise ValueError(f"class name {name!r} is not a text")
            if folded(name) in seen:
                raise ValueError(f"class name {name!r} occurs twice")
            seen.add(folded(name))
        for colour in self.colours:
            if len(colour) != 3 or not all(type(v) is int and 0 <= v <= 255 for v in colour):
                raise ValueError(f"colour {colour!r} is not three whole numbers from 0 to 255")

    def __len__(self) -> int:
        """The number of classes, background included."""
        return len(self.names)

    def id_of(self, value: object) -> int:
        """The class id that an annotation's value stands for.

        Args:
            value: a class name in any letter case, or an id as number or text. A name goes
                before an id, should a class be named "2". "background" is always id 0.

        Raises:
            UserError: no class has this name or id; lists those that exist.
        """
        text = folded(value)
        for index, name in enumerate(self.names):
            if folded(name) == text:
                return index
        if text == "background":
            return 0
        number = re.fullmatch(r"\+?0*([0-9]{1,3})(\.0+)?", text)
        if number and int(number[1]) < len(self):
            return int(number[1])
        known = ", ".join(f"{index} {name}" for index, name in enumerate(self.names))
        raise UserError(
            f"class {value!r} is unknown; use one of: {known}, or add it to {FILE_NAME}."
        )


def VOC_COLOURS(count: int) -> tuple[tuple[int, int, int], ...]:
    """The first `count` colours of the PASCAL VOC map; the first is black.

    The bits of an id are dealt out in turn to red, green and blue, highest bit of the colour
    first, so neighbouring ids differ most. Source: `VOClabelcolormap.m` of the VOC devkit.
    """
    colours = []
    for index in range(count):
        red = green = blue = 0
        for bit in range(8):
            red |= (index >> (3 * bit) & 1) << (7 - bit)
            green |= (index >> (3 * bit + 1) & 1) << (7 - bit)
            blue |= (index >> (3 * bit + 2) & 1) << (7 - bit)
        colours.append((red, green, blue))
    return tuple(colours)


def named(names: Sequence[str]) -> Classes:
    """Classes with these names, background first, in the colours of PASCAL VOC.

    Raises:
        ValueError: as `Classes`.
    """
    return Classes(tuple(names), VOC_COLOURS(len(names)))


def read_classes(path: Path | str) -> Classes:
    """Read a `classes.json`: the form of `write_classes`, `{"name": id}`, or a list of names.

    Ids must run from 0 without a gap; when no class has id 0 it is the background, and an entry
    with id 255 (void) is passed over. Colours that are not given are those of PASCAL VOC.

    Raises:
        UserError: the file is missing, is not JSON, or is of none of these forms.
    """
    path = Path(path)
    try:
        content = read_json(path)
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist; name a {FILE_NAME}.") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is not readable JSON ({error}); correct or delete it.") from error
    try:
        return classes_from(content)
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"{path} does not describe classes ({error}); write "
            '{"background": 0, "bottle": 1} or ["background", "bottle"].'
        ) from error


def known_classes(path: Path | str | None) -> Classes | None:
    """The classes of a `classes.json`; None when there is none.

    So it is, too, when it names nothing but the background: then it keeps what was asked for a set
    without objects, and the classes are those that the first set with some has.

    Raises:
        UserError: as `read_classes`.
    """
    classes = read_classes(path) if path else None
    return classes if classes and classes.names != ("background",) else None


def classes_from(content: object) -> Classes:
    """Classes from the content of a `classes.json` in any form that `read_classes` reads.

    Raises:
        ValueError, TypeError, KeyError: the content is of none of these forms.
    """
    if isinstance(content, dict) and isinstance(content.get("classes"), list):
        content = content["classes"]
    if isinstance(content, list) and content and all(isinstance(c, dict) for c in content):
        entries = [(c["id"], c["name"], c.get("colour", c.get("color"))) for c in content]
    elif isinstance(content, list):
        entries = [(index, name, None) for index, name in enumerate(content)]
    elif isinstance(content, dict):
        entries = [(index, name, None) for name, index in content.items()]
    else:
        raise ValueError("it is neither a list nor an object")

    if len(entries) > MOST_CLASSES + 1:  # void, which is passed over, among them
        raise ValueError(f"there are {len(entries)} classes, not 1 to {MOST_CLASSES}")
    for index, name, _ in entries:
        if type(index) is not int:
            raise ValueError(f"id {index!r} of {name!r} is not a whole number")
    entries.sort(key=lambda entry: entry[0])
    if len(entries) <= MOST_CLASSES:  # with more it is a class too many
        entries = [entry for entry in entries if entry[0] != VOID]
    if entries and entries[0][0] == 1:
        entries.insert(0, (0, "background", None))
    if [index for index, _, _ in entries] != list(range(len(entries))):
        ids = [index for index, _, _ in entries]
        raise ValueError(f"ids {ids} do not run from 0 without a gap")
    standard = VOC_COLOURS(len(entries))
    return Classes(
        tuple(name for _, name, _ in entries),
        tuple(tuple(colour) if colour else standard[index] for index, _, colour in entries),
    )


def as_content(classes: Classes) -> list[dict]:
    """The classes as a list of `{"id", "name", "colour"}`, ready for JSON."""
    return [
        {"id": index, "name": name, "colour": list(colour)}
        for index, (name, colour) in enumerate(zip(classes.names, classes.colours, strict=True))
    ]


def write_classes(path: Path | str, classes: Classes) -> None:
    """Write a `classes.json`, a class a line; the file is replaced whole.

    Raises:
        UserError: the folder cannot be written.
    """
    lines = ",\n".join("  " + json.dumps(c, ensure_ascii=False) for c in as_content(classes))
    with replace_whole(path) as unfinished:
        unfinished.write_text(f'{{"classes": [\n{lines}\n]}}\n', encoding="utf-8")


def find_classes(folder: Path | str, data_path: Path | str | None = None) -> Path | None:
    """The `classes.json` of a folder of labels: in it, else in its parent, else None.

    Args:
        folder: of annotations or masks.
        data_path: the data folder; where it is farther above, its own comes last.
    """
    folder = Path(os.path.realpath(folder))
    places = [folder, folder.parent]
    if data_path and (above := Path(os.path.realpath(data_path))) in folder.parents:
        places.append(above)
    return next((p / FILE_NAME for p in places if os.path.isfile(p / FILE_NAME)), None)


def check_classes(one: Classes, one_source: object, other: Classes, other_source: object) -> None:
    """Refuse two sets of classes that do not mean the same by their ids.

    A name like "class 1" stands for one that was not known, as in weights of the book's code.

    Raises:
        UserError: the numbers of classes differ, or the names of an id.
    """
    cure = "use data and weights of the same classes, in the same order"
    if len(one) != len(other):
        raise UserError(
            f"{one_source} has {len(one)} classes, {other_source} has {len(other)}; {cure}."
        )
    for index, names in enumerate(zip(one.names, other.names, strict=True)):
        known = {folded(name) for name in names} - {f"class {index}"}
        if len(known) > 1:
            raise UserError(
                f"class {index} is {names[0]!r} in {one_source} and {names[1]!r} in "
                f"{other_source}; {cure}."
            )


def folded(value: object) -> str:
    """A name as it is compared: composed, without letter case and surrounding blanks."""
    return unicodedata.normalize("NFC", str(value).strip().casefold())
