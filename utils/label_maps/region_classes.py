"""The classes of an annotation file, and which of them each region is of.

What options ask for and what was decided before, see `utils.reading`, goes together here.
"""

import re
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from utils.classes import FILE_NAME, MOST_CLASSES, VOID, Classes, folded, known_classes, named
from utils.errors import UserError
from utils.formats.annotations import (
    CLASS_ATTRIBUTES,
    Annotation,
    Project,
    Region,
    class_value,
    filled_attributes,
    find_class_attribute,
)
from utils.label_maps.listed import shorten
from utils.label_maps.report import Report
from utils.reading import Reading, agree, read_reading

STRAY = 0.01  # share of regions without a known class up to which a data set is not refused
LISTED = 8  # unknown classes that are named one by one
NO_NAMES = {"skip": None, "void": VOID}  # what `Reading.unclassed` can be besides a class: ids
VOID_REGION = "\0void"  # in place of what a region says that is void; no text from a file is so
Values = list[list[str | None]]  # what each region of each annotation says its class is


@dataclass(frozen=True)
class RegionClasses:
    """What `classes_of_regions` finds.

    Attributes:
        classes: of the data folder.
        ids: of every region of every annotation; 255 is void, None is not drawn.
        reading: what is to be kept with the classes.
    """

    classes: Classes
    ids: list[list[int | None]]
    reading: Reading


class _Known(NamedTuple):
    """What the values of regions are looked up in.

    Attributes:
        classes: of the data folder.
        chosen: `Reading.options`.
        options: of the attribute with the class: names by ids.
        titles: those of them that are numbers, nothing where none has a name.
        place: the `classes.json`, None where the classes were made from the annotations.
        source: the annotation file.
    """

    classes: Classes
    chosen: tuple[str, ...]
    options: dict[str, str]
    titles: dict[str, str]
    place: Path | None
    source: Path


def classes_of_regions(
    project: Project, source: Path, asked: Reading, place: Path | None, report: Report
) -> RegionClasses:
    """Find the class of every region.

    Where there are no classes yet they are made: numbers get the names "class 1", ..., or those
    that a list of choices has for them, without gaps; names get their alphabetical order.

    Args:
        project: what the annotation file holds.
        source: the annotation file, for messages.
        asked: by options.
        place: the `classes.json` of the data folder, or None.
        report: takes notes on what was assumed, and counts regions by class.

    Raises:
        UserError: the attribute with the class cannot be found; what is asked contradicts what
            was decided; more than one region in a hundred is of no class that is known.
    """
    kept = read_reading(place)
    reading = agree(asked, kept, place)
    if reading.class_name is None:
        fixed = None if reading.class_attribute else project.class_attribute
        attribute = fixed or _attribute(project.annotations, reading, kept, source, report)
    else:
        _check_class_name(project.annotations, reading, kept, source, place, report)
        attribute = None
    options = project.options.get(attribute, {})
    void = {str(value) for value in reading.void}
    titles = _titles_of_numbers(options, attribute, source)
    titles = {key: title for key, title in titles.items() if key not in void}
    by_name = attribute is not None and attribute == project.class_attribute

    if by_name and asked.void:
        raise UserError(
            f"{source} names its classes, so that no number stands for void; leave --void out."
        )

    def value_of(region: Region) -> str | None:
        if region.void:
            return VOID_REGION
        if by_name:  # whatever it looks like
            name = region.attributes[attribute]
            return name if name.strip() else None
        return _value(region, attribute, reading)

    values = [[value_of(r) for r in annotation.regions] for annotation in project.annotations]
    void.add(VOID_REGION)
    occurring = {value for row in values for value in row if value is not None} - void
    otherwise = reading.unclassed if reading.unclassed not in (None, *NO_NAMES) else None
    if classes := known_classes(place):
        chosen = reading.options or _options_of(classes, titles)
        classes = classes if chosen else _without(classes, reading.void)
    elif by_name:
        place, chosen = None, ()
        classes = project.classes or _of_names(occurring, source)
    else:
        place = None
        classes, chosen = _made(occurring | {_plain(otherwise)} - {None}, titles, source)
        if not titles:
            _note_gaps(classes, occurring, report)
    known = _Known(classes, chosen, options, titles, place, source)

    ids: dict[str | None, int | None] = dict.fromkeys(void, VOID)
    find = partial(_id_by_name, classes) if by_name else partial(_id_of, known=known)
    ids |= {value: find(value) for value in sorted(occurring)}
    ids = {value: index for value, index in ids.items() if index is not None}
    if otherwise:
        ids[None] = _id_of_unclassed(otherwise, known)
    elif reading.unclassed:
        ids[None] = NO_NAMES[reading.unclassed]
    _note_options(ids, known, report)
    _note_unknown(values, ids, project.annotations, known, report, source)
    _count(values, ids, project.annotations, classes, report)
    usual = (CLASS_ATTRIBUTES[0], project.class_attribute)
    if attribute and attribute not in usual and not reading.class_attribute:
        # Every set that has one of these takes it anyway: that need not be kept.
        reading = replace(reading, class_attribute=attribute)
    reading = replace(reading, options=chosen)
    return RegionClasses(classes, [[ids.get(v, VOID) for v in row] for row in values], reading)


def _of_names(names: set[str], source: Path) -> Classes:
    """Classes in the order of the alphabet, background first; letter case makes no difference.

    Raises:
        UserError: there are too many.
    """
    by_name = {folded(name): name.strip() for name in sorted(names, reverse=True)}
    by_name.pop("background", None)
    try:
        return named(["background", *(by_name[key] for key in sorted(by_name))])
    except ValueError as error:
        raise UserError(f"{source}: {error}; give fewer classes different names.") from error


def _attribute(
    annotations: list[Annotation],
    reading: Reading,
    kept: Reading,
    source: Path,
    report: Report,
) -> str | None:
    """The region attribute with the class; None when there is none, as it was asked.

    Args:
        reading: what is asked and what was decided.
        kept: what was decided; by a set that has the attribute, while this one may lack it.
    """
    filled = filled_attributes(annotations)
    if not filled and reading.unclassed not in (None, *NO_NAMES):
        return None
    if not filled and reading.class_attribute and any(a.regions for a in annotations):
        raise UserError(
            f"{source}: no region names its class, as other sets do by the attribute "
            f"{reading.class_attribute!r}; enter it in VIA, or say with --unclassed NAME of which "
            "class such regions are."
        )
    wanted = reading.class_attribute
    if wanted == kept.class_attribute and wanted not in filled:
        wanted = None
    try:
        attribute = find_class_attribute(annotations, wanted)
    except UserError as error:
        raise UserError(f"{source}: {error}") from error
    if wanted is None and reading.class_attribute and attribute:
        report.note(
            "values",
            f"no region has {reading.class_attribute!r}, by which other sets name the class: "
            f"{attribute!r} is taken",
        )
    return attribute


def _check_class_name(
    annotations: list[Annotation],
    reading: Reading,
    kept: Reading,
    source: Path,
    place: Path | None,
    report: Report,
) -> None:
    """Refuse one class for all regions where regions name others; note what other attributes say.

    Raises:
        UserError: an attribute that usually holds the class, or did in another set, has others.
    """
    name = reading.class_name
    if kept.class_name:
        where = f'as "class_name" in {place} says'
        cure = 'delete that line in its "reading"'
    else:
        where, cure = "as --class-name says", "leave it out"
    cure += f", and give regions that name no class one with --unclassed {name}"
    if reading.class_attribute:
        raise UserError(
            f"{source}: where the attribute {reading.class_attribute!r} names the class, not every "
            f"region can be {name!r} {where}; {cure}."
        )
    usual = {attribute.casefold() for attribute in CLASS_ATTRIBUTES}
    filled = filled_attributes(annotations)
    for attribute in filled:
        regions = (region for annotation in annotations for region in annotation.regions)
        values = {class_value(region, attribute) for region in regions} - {None}
        others = sorted(value for value in values if value.casefold() != name.casefold())
        if attribute.casefold() in usual and others:
            raise UserError(
                f"{source}: where the attribute {attribute!r} says {others[0]!r}, not every region "
                f"can be {name!r} {where}; {cure}."
            )
    if filled:
        report.note("values", f"every region is {name!r}, whatever {', '.join(filled)} says")


def _value(region: Region, attribute: str | None, reading: Reading) -> str | None:
    """What a region says its class is, whole numbers in one spelling; None when it names none."""
    if reading.class_name is not None:
        return _plain(reading.class_name)
    return _plain(class_value(region, attribute)) if attribute else None


def _plain(value: str | None) -> str | None:
    """A whole number without sign, zeros and fraction; any other text as it is."""
    if value is not None and re.fullmatch(r"\+?[0-9]{1,9}(\.0+)?", value):
        return str(int(float(value)))
    return value


def _is_number(value: str) -> bool:
    """Whether a text is a whole number as `_plain` spells it."""
    return value.isascii() and value.isdecimal()


def _titles_of_numbers(
    options: dict[str, str], attribute: str | None, source: Path
) -> dict[str, str]:
    """The names of the options whose ids are numbers, by these; nothing when none has a name.

    An id that is a text is a name itself, and what stands beside it describes it.

    Raises:
        UserError: two have one name.
    """
    titles = {_plain(key): title for key, title in options.items() if _is_number(_plain(key))}
    titles = {key: "" if title == key else title for key, title in titles.items()}
    seen = {}
    for key, title in titles.items():
        other = seen.setdefault(title.casefold(), key)
        if title and other != key:
            raise UserError(
                f"{source}: the options {other} and {key} of {attribute!r} are both called "
                f"{title!r}; call them differently in VIA."
            )
    return titles if any(titles.values()) else {}


def _id_by_name(classes: Classes, name: str) -> int | None:
    """The id of the class of this name, in any letter case; ids themselves do not count."""
    for index, known in enumerate(classes.names):
        if folded(known) == folded(name):
            return index
    return 0 if folded(name) == "background" else None


def _options_of(classes: Classes, titles: dict[str, str]) -> tuple[str, ...]:
    """`Reading.options` for classes that are there; nothing where numbers are class ids.

    Args:
        titles: of the options that are numbers.
    """
    ids = {key: _id_by_name(classes, title) for key, title in titles.items() if title}
    by_id = {index: key for key, index in ids.items() if index}
    alike = all(int(key) == index for key, index in ids.items() if index is not None)
    if not by_id or alike and not any(map(_is_number, classes.names)):
        return ()
    return tuple(by_id.get(index, "") for index in range(1, max(by_id) + 1))


def _made(
    occurring: set[str], titles: dict[str, str], source: Path
) -> tuple[Classes, tuple[str, ...]]:
    """Classes of what occurs and of the options that are numbers, and `Reading.options`.

    Raises:
        UserError: numbers that nothing names stand beside names, or there are too many classes.
    """
    numbers = {int(value) for value in occurring if _is_number(value) and value not in titles}
    texts = {value for value in occurring if not _is_number(value)}
    by_name = {}
    for text in sorted(texts, key=lambda text: (text.casefold(), text)):
        by_name.setdefault(folded(text), text)
    by_name.pop("background", None)
    listed = [key for key in titles if not _is_background(key, titles[key])]
    listed.sort(key=int)
    consecutive = listed == [str(index) for index in range(1, len(listed) + 1)]
    if by_name and numbers - {0} and consecutive:
        raise UserError(
            f"{source} names classes both by number ({max(numbers)}) and by name "
            f"({min(by_name.values())!r}); write a {FILE_NAME} beside it with the id of each name."
        )
    names = [titles[key] or f"class {index}" for index, key in enumerate(listed, 1)]
    if consecutive:  # numbers are ids; else those that are not listed are of no class
        last = min(max(numbers, default=0), MOST_CLASSES)
        names += [f"class {index}" for index in range(len(names) + 1, last + 1)]
    known = {name.casefold() for name in names}
    names += [text for folded, text in by_name.items() if folded not in known]
    if len(names) >= MOST_CLASSES:
        count = max(len(names), *numbers) if numbers else len(names)
        raise UserError(
            f"{source} has {count} classes, but at most {MOST_CLASSES - 1} are possible; "
            "see whether --class-attribute names the right attribute."
        )
    try:
        classes = named(["background", *names])
    except ValueError as error:
        raise UserError(f"{source}: {error}; call the options in VIA differently.") from error
    return classes, () if consecutive and not any(map(_is_number, names)) else tuple(listed)


def _is_background(key: str, title: str) -> bool:
    """Whether an option stands for what lies outside all regions."""
    return title.casefold() == "background" or key == "0" and not title


def _without(classes: Classes, void: tuple[int, ...]) -> Classes:
    """Classes without the last ones when these are void and nobody gave them a name.

    They are from a first look that did not know what is void.
    """
    count = len(classes)
    while count - 1 in void and classes.names[count - 1] == f"class {count - 1}":
        count -= 1
    return Classes(classes.names[:count], classes.colours[:count])


def _id_of(value: str, known: _Known) -> int | None:
    """The class id of a value, None when no class is known for it.

    Raises:
        UserError: it would be the background, or an option has the name of another class.
    """
    classes, chosen = known.classes, known.chosen
    title = known.titles.get(value) or known.options.get(value) or ""
    by_title = _id_by_name(classes, title) if title else None
    if value in chosen:
        index = chosen.index(value) + 1
        if index >= len(classes) or by_title not in (None, index):
            what = f"while {title!r}, as VIA calls it, is class {by_title}"
            if index >= len(classes):
                what = "which is not there"
            raise UserError(
                f'{known.place}: by the "options" in its "reading" {value} is class {index}, '
                f"{what}; number the options in VIA as in the other files, or, if the classes "
                'were wrong, correct them and delete "options".'
            )
    elif value in known.titles and by_title is not None:
        index = by_title
    elif chosen and _is_number(value) and value != "0":  # numbers are no ids here
        index = _id_by_name(classes, value)
    else:
        try:
            index = classes.id_of(value)
        except UserError:
            index = by_title
    if index == 0 and (title or value).casefold() not in ("0", "background"):
        raise UserError(
            f"{known.place or known.source}: the class {title or value!r} has id 0, which is what "
            "lies outside all regions; give id 0 to background and count the others from 1."
        )
    return index


def _id_of_unclassed(name: str, known: _Known) -> int:
    """The class id of regions that name no class, by the class that they are to be of.

    Raises:
        UserError: there is no such class.
    """
    index = _id_of(_plain(name), known)
    if index is None:
        raise UserError(
            f"{known.place}: the class {name!r} of --unclassed is unknown; use skip, void, or one "
            f"of: {_listed(known.classes)}."
        )
    return index


def _listed(classes: Classes) -> str:
    """Ids and names of classes."""
    return ", ".join(f"{index} {name}" for index, name in enumerate(classes.names))


def _note_gaps(classes: Classes, occurring: set[str], report: Report) -> None:
    """Note that numbers of classes have gaps."""
    numbers = sorted({int(value) for value in occurring if _is_number(value)} - {0})
    if numbers and len(numbers) < numbers[-1] == len(classes) - 1:
        shown = ", ".join(map(str, numbers[:LISTED])) + ", ..." * (len(numbers) > LISTED)
        report.note(
            "values",
            f"numbers are class ids: there are classes up to {numbers[-1]}, of which {shown} occur",
        )


def _note_options(ids: dict[str | None, int | None], known: _Known, report: Report) -> None:
    """Note which options are which classes, where that is not plain."""
    listed = (value for value in ids if value in known.titles or value in known.chosen)
    for value in sorted(listed, key=lambda value: (ids[value], len(value), value)):
        index, title = ids[value], known.titles.get(value, "")
        if index == VOID:
            continue
        name = known.classes.names[index]
        differs = title and title.casefold() != name.casefold()
        if differs or str(index) != value:
            called = f" {title!r}" if differs else ""
            report.note("values", f"option {value}{called} is class {index} {name}")


def _note_unknown(
    values: Values,
    ids: dict[str | None, int | None],
    annotations: list[Annotation],
    known: _Known,
    report: Report,
    source: Path,
) -> None:
    """Note regions of no known class.

    Raises:
        UserError: they are more than `STRAY`; names each such class, how often it occurs and where.
    """
    where: dict[str | None, list[str]] = {}
    for annotation, row in zip(annotations, values, strict=True):
        for number, (region, value) in enumerate(zip(annotation.regions, row, strict=True), 1):
            if value not in ids:
                text = f"{shorten(annotation.file)}: region {number} ({region.shape})"
                where.setdefault(value, []).append(text)
    count, total = sum(map(len, where.values())), sum(map(len, values))
    if count > STRAY * total:
        raise UserError(f"{source}: {count} of {total} regions {_unknown(where, known)}.")
    for value, texts in where.items():
        why = "it names no class, or several"
        if value is not None:
            why = f"class {_called(value, known)} is unknown"
        for text in texts:
            report.note("unknown", f"{text}: {why}")


def _unknown(where: dict[str | None, list[str]], known: _Known) -> str:
    """What is wrong with regions of no known class, and the cure, behind their number.

    Args:
        where: the regions in words, by what they say; None for those that name no class.
    """
    counts = {v: f"{len(t)} region{'s'[: len(t) != 1]}, first {t[0]}" for v, t in where.items()}
    values = sorted(where.keys() - {None}, key=lambda value: (-len(where[value]), value))
    parts = [f"{_called(value, known)} ({counts[value]})" for value in values[:LISTED]]
    if len(values) > LISTED:
        rest = sum(len(where[value]) for value in values[LISTED:])
        parts.append(f"{len(values) - LISTED} more ({rest} regions)")
    faults, cures = [], []
    if parts:
        faults.append(f"are of unknown classes: {', '.join(parts)}")
        file = known.place or f"a {FILE_NAME} beside {known.source.name}, with these"
        verb = "add what is missing to" if known.place else "write what is missing into"
        cures.append(f"use one of: {_listed(known.classes)}, or {verb} {file}")
    if None in where:
        faults.append(f"name no class, or several ({counts[None]})")
        cures.append("enter one, or say with --unclassed skip, void or NAME what they are")
    return f"{' or '.join(faults)}; {'; '.join(cures)}"


def _called(value: str, known: _Known) -> str:
    """A value as a message has it: by the name that its class would have."""
    title = known.titles.get(value)
    return f"{title!r} (option {value})" if title else repr(value)


def _count(
    values: Values,
    ids: dict[str | None, int | None],
    annotations: list[Annotation],
    classes: Classes,
    report: Report,
) -> None:
    """Count regions by class; note what those are that name none, as it was asked."""
    void = Counter(value for row in values for value in row if value and ids.get(value) == VOID)
    for value, count in sorted(void.items()):
        what = f"{value} means void, as was asked, in regions"
        report.note("values", f"{'void regions' if value == VOID_REGION else what}: {count}")
    for annotation, row in zip(annotations, values, strict=True):
        for number, value in enumerate(row, 1):
            if value not in ids:
                continue
            index = ids[value]
            name = {None: "skipped", VOID: "void"}.get(index) or classes.names[index]
            report.regions[name] += 1
            if value is None:
                report.note("unclassed", f"{shorten(annotation.file)}: region {number} is {name}")
