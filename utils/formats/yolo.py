"""Outlines in the format of Ultralytics YOLO: a text file per picture, classes in a `data.yaml`.

A line is `class x1 y1 x2 y2 ...`, in parts of the picture's width and height, from its corner. The
pictures lie where `labels` in the path of the folder is `images`, or beside the text files. A
picture without a text file, or with an empty one, is background. Classes count objects from 0.

The order of lines says nothing: where outlines overlap, the smaller lies on top. The format and
these rules: docs.ultralytics.com/datasets/segment and, in ultralytics/data/utils.py of Ultralytics,
`img2label_paths`, `verify_image_label` and `polygons2masks_overlap`.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from unicodedata import normalize

from utils.classes import MOST_CLASSES, Classes
from utils.errors import UserError
from utils.files import open_ordinary, relative
from utils.formats.annotations import Annotation, Project, Region
from utils.formats.class_lists import with_background
from utils.json_text import parse_json

CLASSES_TXT = "classes.txt"  # a name per line; of Label Studio and LabelImg
YAMLS = ("data.yaml", "dataset.yaml")  # these go before others
LEVELS = 4  # folders in which the names are looked for: that of the text files and above it
LOOK = 10  # text files that tell whether a folder is of this format
SLACK = 0.01  # Ultralytics takes coordinates that lie outside of the picture by so much
LIST = "write names: [cup, plate], or a name a line behind '  - '"
BOX = 4  # numbers behind the class

Row = tuple[int, tuple[tuple[float, float], ...]]  # class and corners


def is_yolo_folder(folder: Path) -> bool:
    """Whether a folder, or `labels` in it, has YOLO's text files, of outlines, boxes or points.

    The pictures must be there, too; the first text files that are not empty are looked at.
    """
    folder = _with_texts(folder)
    at = _folder_of_pictures(folder)
    texts = _texts(folder)
    if not texts or not (pictures := _pictures(at)):
        return False
    if at == folder:  # other texts may lie among pictures
        texts = {stem: texts[stem] for stem in map(_stem, pictures) if stem in texts}
    filled = [path for path in texts.values() if path.stat().st_size][:LOOK]
    try:
        # Where no picture has an object, the name of the folder tells.
        if at != folder:  # which are called as YOLO has them: what is wrong is told by the reader
            return not filled or any(_is_yolo(_text(path)) for path in filled)
        return bool(filled) and all(_is_yolo(_text(path)) for path in filled)
    except UserError:
        return False


def read_yolo_folder(folder: Path) -> Project:
    """Read the outlines of a folder: `labels/train`, `train/labels`, or text files and pictures.

    Class k has id k + 1; one that is called background has id 0. Names come from `data.yaml`,
    another YAML file with `names`, or `classes.txt`, in the folder of the text files or up to three
    above, the nearest first.

    Args:
        folder: with the text files, or with a folder `labels` that has them.

    Returns:
        An annotation for each picture; `Annotation.file` is relative to `folder`.

    Raises:
        UserError: lines are boxes or points of skeletons, or are not as the format has them; the
            names cannot be read; or no picture belongs to the text files. Names file and line.
    """
    from utils.pictures import picture_size

    place = _with_texts(folder)
    at = _folder_of_pictures(place)
    pictures, texts = _pictures(at), _texts(place)
    stems = {_stem(path) for path in pictures}
    lost = sorted(texts[stem].name for stem in texts.keys() - stems)
    if len(lost) == len(texts):
        raise UserError(
            f"{at} has no picture that is called as a text file in {place}, such as "
            f"{lost[0] if lost else 'a.txt'}; put the pictures there."
        )
    names, source = _names(place)
    rows = {stem: _rows(texts[stem], names, source) for stem in sorted(texts.keys() & stems)}
    _refuse_boxes(rows, place)
    prefix = "" if at == place == folder else relative(at, folder) + "/"
    annotations = []
    for path in pictures:
        try:
            height, width = picture_size(path)
        except UserError:  # who reads the picture tells
            annotations.append(Annotation(prefix + path.name, None, ()))
            continue
        outlines = [
            (index, tuple((x * width, y * height) for x, y in corners))
            for index, corners in rows.get(_stem(path), ())
        ]
        outlines.sort(key=lambda outline: -_area(outline[1]))
        regions = tuple(
            Region("rings", {"rings": (corners,)}, {"class": _name(names, index)})
            for index, corners in outlines
        )
        annotations.append(Annotation(prefix + path.name, None, regions, (height, width)))

    remarks = []
    if names is None:
        last = max((index for each in rows.values() for index, _ in each), default=-1)
        names = [_name(None, index) for index in range(last + 1)]
        remarks.append(
            f"neither data.yaml nor {CLASSES_TXT} names the classes: 0 in YOLO's files is 'class 1'"
        )
    if without := sum(_stem(path) not in texts for path in pictures):
        remarks.append(f"pictures without a text file, which YOLO takes for background: {without}")
    if lost:
        remarks.append(f"text files without a picture in {at}: {len(lost)}, first {lost[0]}")
    if any(len({index for index, _ in each}) > 1 for each in rows.values()):
        remarks.append("where outlines overlap, the smaller lies on top, as in YOLO")
    return Project(annotations, classes=_classes(names, source), remarks=tuple(remarks))


def pictures_of(folder: Path) -> list[Path]:
    """The pictures of a folder of YOLO's, sorted."""
    return _pictures(_folder_of_pictures(_with_texts(folder)))


def _with_texts(folder: Path) -> Path:
    """The folder itself, or `labels` in it where only that has text files: Roboflow's `train`."""
    inner = folder / "labels"
    return inner if inner.is_dir() and _texts(inner) and not _texts(folder) else folder


def _texts(folder: Path) -> dict[str, Path]:
    """The text files of a folder by their stems, sorted; lists of classes are none."""
    paths = sorted(
        path
        for path in folder.glob("*.txt")
        if path.name != CLASSES_TXT and not path.name.startswith(".") and path.is_file()
    )
    return {_stem(path): path for path in paths}


def _stem(path: Path) -> str:
    """The stem of a file in Unicode's composed form: a Mac writes accents as characters."""
    return normalize("NFC", path.stem)


def _folder_of_pictures(folder: Path) -> Path:
    """Where the last `labels` in the path of `folder` is `images`; else the folder itself."""
    parts = Path(os.path.abspath(folder)).parts  # links are as they are called, as in Ultralytics
    for index in reversed(range(len(parts))):
        if parts[index] == "labels":
            images = Path(*parts[:index], "images", *parts[index + 1 :])
            return images if images.is_dir() else folder
    return folder


def _pictures(folder: Path) -> list[Path]:
    from utils.pictures import pictures_in

    return pictures_in(folder)


def _text(path: Path) -> str:
    try:
        with open_ordinary(path) as file:
            return file.read().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} is not readable as UTF-8 text ({error}); correct or delete it."
        ) from error


def _is_yolo(text: str) -> bool:
    """Whether the first lines are a class and at least the four numbers of a box."""
    rows = [line.split() for line in text.splitlines() if line.strip()][:LOOK]
    try:
        return all(
            len(row) > BOX and row[0].isdecimal() and all(map(_is_part, map(float, row[1:])))
            for row in rows
        )
    except ValueError:
        return False


def _is_part(number: float) -> bool:
    return -SLACK <= number <= 1 + SLACK


def _rows(path: Path, names: list[str] | None, source: Path | None) -> list[Row]:
    """Classes, from 0, and corners, in parts of the picture, of a text file's lines.

    A box has a single corner here; see `_refuse_boxes`.
    """
    most = len(names) if names is not None else MOST_CLASSES - 1
    rows = []
    for number, line in enumerate(_text(path).splitlines(), start=1):
        place = f"{path}, line {number}"
        if not (cells := line.split()):
            continue
        try:
            index, numbers = float(cells[0]), [float(cell) for cell in cells[1:]]
            if not index.is_integer() or index < 0:
                raise ValueError(f"class {cells[0]}")
            if beyond := [
                cell for cell, n in zip(cells[1:], numbers, strict=True) if not _is_part(n)
            ]:
                raise ValueError(f"coordinate {beyond[0]}")
        except (ValueError, OverflowError) as error:
            raise UserError(
                f"{place} is no class number with coordinates from 0 to 1 ({error}); export YOLO "
                "segmentation again."
            ) from error
        if index >= most:
            raise UserError(
                f"{place}: class {cells[0]} is not one of the {most}, from 0, that "
                f"{f'{source} names' if source else 'are possible'}; correct the one or the other."
            )
        if len(numbers) == BOX:
            rows.append((int(index), ((0.0, 0.0),)))
            continue
        if len(numbers) < 6 or len(numbers) % 2:
            raise UserError(
                f"{place} has {len(numbers)} numbers behind the class, not pairs x y of three or "
                "more corners; delete what else it holds, such as a confidence, or export outlines "
                "again."
            )
        rows.append((int(index), tuple(zip(numbers[::2], numbers[1::2], strict=True))))
    return rows


def _refuse_boxes(rows: dict[str, list[Row]], folder: Path) -> None:
    """Refuse lines that are boxes, whose outline nobody knows.

    Where a tracker saved a box, its confidence and track 1, which reads as a triangle whose last
    corner is at the lower edge, all lines do.
    """
    every = [corners for each in rows.values() for _, corners in each]
    if every and all(len(corners) == 3 and corners[-1][1] == 1 for corners in every):
        raise UserError(
            f"{folder}: all lines have six numbers behind the class, the last of them 1, as a "
            "tracker writes boxes with confidence and track; trace the objects, or, if they are "
            "triangles, let them begin at another corner."
        )
    boxes = {s: sum(len(corners) == 1 for _, corners in each) for s, each in rows.items()}
    if count := sum(boxes.values()):
        first = next(stem for stem in boxes if boxes[stem])
        total = sum(map(len, rows.values()))
        raise UserError(
            f"{folder}: {count} of {total} lines, the first in {first}.txt, are boxes, which say "
            "nothing of outlines; trace the objects, or export YOLO segmentation, and delete lines "
            "that are boxes."
        )


def _area(corners: tuple[tuple[float, float], ...]) -> float:
    """The area within an outline, by Gauss's formula."""
    following = (*corners[1:], corners[0])
    pairs = zip(corners, following, strict=True)
    return abs(sum(x * v - u * y for (x, y), (u, v) in pairs)) / 2


def _name(names: list[str] | None, index: int) -> str:
    """The name of class `index` of YOLO."""
    return names[index] if names is not None else f"class {index + 1}"


def _classes(names: list[str], source: Path | None) -> Classes:
    try:
        return with_background([(name, None) for name in names])
    except ValueError as error:
        raise UserError(f"{source}: {error}; correct its names.") from error


def _names(folder: Path) -> tuple[list[str] | None, Path | None]:
    """Names of the classes and the file that they are from; nothing where there is none.

    Raises:
        UserError: the file cannot be understood, is of skeletons, or contradicts one beside it.
    """
    start = Path(os.path.abspath(folder))
    for place in (start, *start.parents)[:LEVELS]:
        yamls = [path for name in YAMLS if (path := place / name).is_file()]
        yamls += sorted(
            path
            for path in place.glob("*.y*ml")
            if path.suffix in (".yaml", ".yml") and path.name not in YAMLS and path.is_file()
        )
        found = [(names, path) for path in yamls if (names := _yaml_names(path)) is not None]
        for names, path in found[1:]:
            if names != found[0][0] and found[0][1].name not in YAMLS:
                raise UserError(
                    f"{found[0][1]} and {path.name} name different classes; rename the one that "
                    "counts to data.yaml."
                )
        if found:
            return found[0]
        if (path := place / CLASSES_TXT).is_file():
            names = [line.strip() for line in _text(path).rstrip().splitlines()]
            if not all(names):
                raise UserError(f"{path} has an empty line or no name; write a name a line.")
            return names, path
    return None, None


# The forms of a text in YAML, and of a whole number as a key: yaml.org/spec/1.2.2, chapter 7.
QUOTED = r""""(?:[^"\\\n]|\\.)*"|'(?:[^'\n]|'')*'"""
FIRST = r"""[^\s\-?:,\[\]{}#&*!|>'"%@`]"""  # of a text without quotes
KEY = r"""['"]?(?P<key>[0-9]{1,4})['"]?\s*:"""
IN_LINES = re.compile(
    rf"(?P<indent> *)(?:-|{KEY})\s+(?P<text>{QUOTED}|{FIRST}(?:[^#]|(?<=\S)#)*)"
    r"\s*(?:(?<=\s)#.*)?"
)
IN_BRACKETS = re.compile(
    rf"\s*(?:{KEY}\s*)?(?P<text>{QUOTED}|{FIRST}(?:[^\n,\[\]{{}}#]|(?<=\S)#)*+)\s*+(?:,|\Z)"
)


def _yaml_names(path: Path) -> list[str] | None:
    """What the key `names` of a YAML file lists, by class number; None when there is no such key.

    Read are a list and a mapping of numbers, in lines or in brackets; nothing else of the file.

    Raises:
        UserError: it is written in another way, has gaps, or the file is of skeletons.
    """
    text = _text(path)
    keys = re.findall(r"^([A-Za-z_]\w*)\s*:(?:\s|$)", text, re.MULTILINE)
    if "names" not in keys:
        return None
    if "kpt_shape" in keys:
        raise UserError(
            f"{path} is of points of skeletons (kpt_shape), which have no outline; export YOLO "
            "segmentation instead."
        )
    if keys.count("names") > 1:
        raise UserError(f"{path} has 'names' twice; delete one.")
    lines = re.split(r"^names\s*:", text, maxsplit=1, flags=re.MULTILINE)[1].splitlines() or [""]
    # The value goes on up to the next key.
    behind = (
        number for number, line in enumerate(lines) if number and re.match(r"[^\s#\-\]}]", line)
    )
    lines = lines[: next(behind, None)]
    try:
        pairs = list(_pairs(lines))
        mapped = [key for key, _ in pairs if key is not None]
        if mapped and sorted(mapped) != list(range(len(pairs))):
            raise ValueError("the numbers do not run from 0 without a gap")
        if not pairs:
            raise ValueError("it names no class")
        named = dict(pairs) if mapped else dict(enumerate(text for _, text in pairs))
        return [named[index] for index in range(len(pairs))]
    except ValueError as error:
        raise UserError(f"{path}: 'names' is not understood ({error}); {LIST}.") from error


def _pairs(lines: list[str]) -> Iterator[tuple[int | None, str]]:
    """Number, None in a list, and text of each name, from the lines behind `names:`."""
    value = re.sub(r"([\]}])\s+#[^\n]*\Z", r"\1", "\n".join(lines).strip())
    if value[:1] in ("[", "{"):
        if value[-1] != {"[": "]", "{": "}"}[value[0]]:
            raise ValueError("a bracket is missing, or something stands behind it")
        inside, start = value[1:-1], 0
        while inside[start:].strip():
            match = IN_BRACKETS.match(inside, start)
            if not match or (match["key"] is None) != (value[0] == "["):
                raise ValueError(f"at {inside[start : start + 30].strip()!r}")
            yield _key(match["key"]), _plain(match["text"])
            start = match.end()
        return
    indents = set()
    for line in lines:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = IN_LINES.fullmatch(line.rstrip())
        if not match:
            raise ValueError(f"at {line.strip()[:30]!r}")
        indents.add((match["indent"], match["key"] is None))
        if len(indents) > 1:
            raise ValueError(f"{line.strip()[:30]!r} does not stand as the line before")
        yield _key(match["key"]), _plain(match["text"])


def _key(text: str | None) -> int | None:
    return None if text is None else int(text)


def _escape(match: re.Match) -> str:
    return f"\\u00{match[1]}" if match[1] else match[0]


def _plain(text: str) -> str:
    """The text that a quoted or an unquoted one stands for."""
    if text[0] == "'":
        return text[1:-1].replace("''", "'")
    if text[0] == '"':
        # JSON's escapes are YAML's as well, and it has another for accents.
        return parse_json(re.sub(r"\\(?:x([0-9A-Fa-f]{2})|.)", _escape, text))
    if ": " in text or text.endswith(":"):
        raise ValueError(f"{text[:30]!r} has a colon without quotes")
    return text.strip()
