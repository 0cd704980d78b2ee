"""What a set of masks comes to: its classes, how it is read, and a label map of each picture."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from utils.classes import FILE_NAME, VOID, Classes, folded, known_classes
from utils.errors import UserError
from utils.formats.class_tables import TABLES, VALUES_ALONE, Table, find_table, refuse_other_ids
from utils.formats.index_masks import Look, labels_of, look_at
from utils.formats.mask_files import LOSSY, Found
from utils.formats.mask_layouts import home_of
from utils.formats.mask_meaning import decide
from utils.formats.mask_noise import without_noise
from utils.formats.mask_parts import classes_of_parts, merge_parts, object_in
from utils.formats.mask_set import VOC, Masks
from utils.label_maps.report import Report
from utils.pictures import page_keys, pages_of
from utils.reading import Reading, agree, read_reading, write_decisions

if TYPE_CHECKING:
    from utils.formats.mask_files import Part


@dataclass(frozen=True)
class Known:
    """What is known of a set before its masks are looked at.

    Attributes:
        home: the folder of the masks.
        place: where the `classes.json` is, or belongs.
        is_there: whether it is.
        classes: None when there are none yet.
        kept: what the `classes.json` has.
        reading: what is asked and kept, or in a table.
        table: that the classes are of; None when they are of the `classes.json`.
    """

    home: Path
    place: Path
    is_there: bool
    classes: Classes | None
    kept: Reading
    reading: Reading
    table: Table | None = None


@dataclass(frozen=True)
class Map:
    """The label map of a picture, or of a page of it.

    Attributes:
        picture: the file.
        key: its name in a label store.
        page: of several; None where there is one.
        mask: its file, for what is said.
        draw: makes the map, (H, W) uint8; raises `UserError` as `labels_of`.
    """

    picture: Path
    key: str
    page: int | None
    mask: str
    draw: Callable[[], np.ndarray]


def known_of(source: Path, place: Path | None, asked: Reading) -> Known:
    """What is known of the set at `source`.

    Args:
        source: a folder of masks, or a list.
        place: of the `classes.json`; None when there is none.
        asked: by options.

    Raises:
        UserError: the `classes.json`, or a table in its place, is damaged; or what is asked
            contradicts what was decided.
    """
    home = home_of(source).resolve()
    if place:
        classes, kept = known_classes(place), read_reading(place)
        reading = agree(asked, kept, place)
        if classes:
            refuse_other_ids(home, classes, reading, place)
            _refuse_other_table(source, classes, place)
            reading = replace(reading, ids=reading.ids or _numbers(classes))
        return Known(home, place, True, classes, kept, reading)
    table = find_table(source)
    reading = asked
    if table:
        said = {name: getattr(asked, name) for name in asked.known()}
        said["void"] = tuple(sorted({*asked.void, *table.reading.void}))
        reading = replace(table.reading, **said)
    classes = table.classes if table else None
    return Known(home, home.parent / FILE_NAME, False, classes, Reading(), reading, table)


def _refuse_other_table(source: Path, classes: Classes, place: Path) -> None:
    """Refuse masks whose own table has other classes, or other colours of them, than are kept.

    Who writes a `classes.json` beside a table, or below it, has his reasons.

    Raises:
        UserError: names both.
    """
    home = home_of(source).resolve()
    if not any((home / name).is_file() for name in TABLES) or place.parent.resolve() == home:
        return
    table = find_table(source)
    ours, theirs = (
        [
            (folded(name), None if table.path.name == VALUES_ALONE else colour)
            for name, colour in zip(each.names, each.colours, strict=True)
        ]
        for each in (classes, table.classes)
    )
    if ours != theirs:
        index = next(i for i in range(256) if ours[i : i + 1] != theirs[i : i + 1])
        kept, said = (
            f"{each.names[index]!r} in the colour {each.colours[index]}"
            if index < len(each)
            else "no class"
            for each in (classes, table.classes)
        )
        raise UserError(
            f"{place} has {kept} as class {index}, but by {table.path} that is {said}; take away "
            "whichever is not of these masks, and make the labels of all sets anew."
        )


def _numbers(classes: Classes) -> tuple[int, ...]:
    """The values of classes that have a value for a name, as in `{"0": 0, "5": 1, "9": 2}`.

    Without a gap they are none: annotators call classes 1 and 2, too.
    """
    names = classes.names
    if names[0] == "background":
        names = ("0", *names[1:])
    if not all(name.isascii() and name.isdecimal() and len(name) < 6 for name in names):
        return ()
    values = tuple(map(int, names))
    return values if max(values) >= len(values) else ()


def maps_of(
    files: Found, known: Known, report: Report, in_use: Callable[[int], bool]
) -> tuple[Classes, Reading, list[Map]]:
    """The classes of a set of masks, how it is read, and its maps.

    Args:
        files: of the set.
        known: of it.
        report: takes notes.
        in_use: whether other labels of the data folder use a class id.

    Raises:
        UserError: as `mask_meaning.decide`, or `mask_parts.classes_of_parts`.
    """
    if known.table:
        count, name = len(known.table.classes), known.table.name
        void = f"; void is {', '.join(known.table.void)}" if known.table.void else ""
        report.note("values", f"the {count} classes are those of {name}{void}")
    if known.is_there and known.reading.ids and not known.kept.ids:
        values = ", ".join(map(str, known.reading.ids))
        report.note("values", f"{values} are the values of the classes, as their names say")
    try:
        make = _of_parts if files.in_parts else _of_whole
        return make(files, known, report, in_use)
    except UserError as error:
        # What a `classes.json` is to be given needs one.
        if known.table and FILE_NAME in str(error) and os.access(known.place.parent, os.W_OK):
            write_decisions(known.place, known.classes, known.table.reading)
            text = f"{str(error)[:-1]} ({known.place} has been made of {known.table.name})."
            raise UserError(text) from error
        raise


def _looks(paths: list[Path], known: Known, report: Report) -> list[Look]:
    """Looks at masks, without the noise of JPEGs."""
    bright = known.reading.threshold is not None
    looks = [look for path in paths for look in look_at(path, bright)]
    if bright:
        return looks
    usual = known.classes is None or known.classes.colours == VOC[: len(known.classes)]
    colours = known.classes.colours if known.classes else ()
    void = [tuple(bytes.fromhex(text[1:])) for text in known.reading.void_colours]
    looks, remarks = without_noise(looks, [*colours, *void, VOC[VOID]], usual)
    for remark in remarks:
        report.note("values", remark)
    return looks


def _of_whole(
    files: Found, known: Known, report: Report, in_use: Callable[[int], bool]
) -> tuple[Classes, Reading, list[Map]]:
    """The same of masks that each are all of a picture, or of its pages."""
    pictures = {part.path: path for path, parts in files.masks.items() for part in parts}
    # Those without a picture tell as well what values mean; other JPEGs may be anything.
    others = [path for path in files.lost if path.suffix.lower() not in LOSSY]
    looks = _looks(sorted([*pictures, *others]), known, report)
    source = known.place if known.classes or known.is_there else None
    masks = decide(looks, known.home, known.classes, known.reading, source, in_use)
    if known.table and not known.table.has_values:
        _refuse_values(masks, known.table)
    for remark in masks.remarks:
        report.note("values", remark)
    if not pictures:
        raise UserError(
            f"no picture in {files.pictures} has the stem of a mask, such as "
            f"{files.lost[0].stem}; name the folder of the pictures with --data-path."
        )
    pages = Counter(look.path for look in looks)
    keys = {}  # of the picture, or of each of its pages, by mask
    for mask, path in pictures.items():
        keys[mask] = page_keys(files.pictures, _key(path, files), pages[mask])
        if pages[mask] > 1 and pages[mask] != (count := pages_of(path)):
            raise UserError(
                f"{mask} has {pages[mask]} pages, but its picture {path.name} has {count}; save "
                "the mask with as many, or with a single one, which is then that of the first."
            )

    def maps() -> Iterator[Map]:
        for look in looks:
            if look.path in pictures:
                key = keys[look.path][look.page or 0]
                draw = _Whole(look, masks)
                yield Map(pictures[look.path], key, look.page, str(look), draw)

    return masks.classes, masks.reading, list(maps())


@dataclass(frozen=True)
class _Whole:
    look: Look
    masks: Masks

    def __call__(self) -> np.ndarray:
        return labels_of(self.look, self.masks.label)


def _key(path: Path, files: Found) -> str:
    return path.relative_to(files.pictures).as_posix()


def _refuse_values(masks: Masks, table: Table) -> None:
    """Refuse masks of class ids where a table does not tell ids."""
    if masks.by_colour or masks.grey != "ids":
        return
    kinds = [p for p in masks.seen if p.kind in ("grey", "palette") and p.value not in (None, VOID)]
    if kinds and not masks.in_alpha:
        look = masks.first(lambda p: p in kinds)
        raise UserError(
            f"{look} has values, not the colours of {table.path}, of which a row is no class or "
            f"the background is not the first; write {FILE_NAME} beside {masks.folder} with the "
            "names of the classes in the order of their values."
        )


def _of_parts(
    files: Found, known: Known, report: Report, in_use: Callable[[int], bool]
) -> tuple[Classes, Reading, list[Map]]:
    """The same of masks of one class or one object each."""
    if not files.masks:
        raise UserError(
            f"no mask in {known.home} has a picture in {files.pictures}; name the folder of the "
            "pictures with --data-path."
        )
    classes, ids = classes_of_parts(files.masks, known.classes, known.place)
    looks = {look.path: look for look in _looks(sorted(ids), known, report)}
    parts = sum(map(len, files.masks.values()))
    if len(looks) < parts or any(look.page is not None for look in looks.values()):
        paged = next(look for look in looks.values() if look.page is not None)
        raise UserError(
            f"{paged.path} has several pages and is a mask of one class or object; save each page "
            "as a file of its own."
        )
    names = ", ".join(classes.names[index] for index in sorted(set(ids.values())))
    report.note("values", f"{parts} masks of one class or object each: {names}")
    labels = {path: object_in(look, known.reading) for path, look in looks.items()}

    def draw(picture: Path, own: "list[Part]") -> Callable[[], np.ndarray]:
        def drawn() -> np.ndarray:
            entries = [(looks[p.path], ids[p.path], labels[p.path]) for p in own]
            found, twice = merge_parts(entries)
            if twice:
                key = _key(picture, files)
                share = f"{twice} of {found.size} pixels of {key} are of two classes"
                report.note("values", f"{share}, the later of {names} lies on top")
            return found

        return drawn

    maps = [
        Map(path, _key(path, files), None, str(own[0].path), draw(path, own))
        for path, own in files.masks.items()
    ]
    return classes, known.reading, maps
