"""Answers to pictures, folders and videos as masks, tables and annotations: `--segment`.

Each picture that is done is a line of `segmented.jsonl` in the folder of results. By it a run that
was interrupted goes on, and from it `areas.csv` and the annotations of all pictures are written at
the end. Nothing that others wrote is replaced: no input, and no annotation that was changed since.
"""

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
from keras import ops

from evaluation import Answer, in_batches
from fast.feed import map_ahead
from tools.answer_files import (
    OUTLINES,
    Wanted,
    class_and_confidence,
    mark,
    record_of,
    results_of,
    stamp,
    write_answer,
)
from tools.clips import segment_video
from tools.large import segment_in_windows
from tools.sources import (
    EACH,
    JOURNAL,
    LOCK,
    OF_ALL,
    OF_VIDEOS,
    Source,
    Unreadable,
    check_usable,
    is_webcam,
    printable,
    unusable,
)
from utils.areas import write_areas
from utils.classes import FILE_NAME, Classes, write_classes
from utils.errors import UserError
from utils.files import inside, refuse_replacing
from utils.formats.annotations import Region
from utils.formats.writing import Drawn, write_coco, write_labelme, write_via
from utils.journal import Journal, differences, names_in, told_in
from utils.locks import alone
from utils.pictures import read_picture
from utils.progress import progress
from utils.reading import Reading

SHOWN = 10  # pictures that are told one by one, or named when they cannot be read


def segment(
    ask: Answer,
    sources: Sequence[Source],
    classes: Classes,
    wanted: Wanted,
    made_with: Mapping,
    *,
    reading: Reading | None = None,
    channels: int = 3,
    workers: int = 1,
    verbose: bool = True,
) -> None:
    """Segment pictures and write what is asked for; go on where an earlier run was interrupted.

    Args:
        ask: from pictures to probabilities of the classes, see `evaluation.answer`.
        sources: from `find_sources`.
        classes: names and colours.
        wanted: what is to be written, and where.
        made_with: what the answers depend on: weights, size, views.
        reading: how the pictures of training were read, which gives the scale of deep ones.
        channels: of the network's pictures.
        workers: threads that read ahead, and that write.
        verbose: print what was found and how long it took.

    Raises:
        UserError: a result would replace an input or what somebody changed; a folder cannot be
            written; or, at the end, pictures could not be read.
    """
    reading, out = reading or Reading(), wanted.folder
    if os.path.isfile(out):
        raise UserError(f"--prediction-dir {out} is a file; name a folder.")
    usable = [source for source in sources if not unusable(source)]
    results = [path for source in usable for path in results_of(source, wanted)]
    inputs = [source.path for source in sources]
    of_all = [out / OF_ALL[kind] for kind in wanted.write if kind in OF_ALL]
    cure = "choose another --prediction-dir, or move that file away"
    refuse_replacing([*results, *of_all, out / JOURNAL], inputs, cure)
    about = {"min_area": wanted.least, "pixel_size": wanted.pixel, "classes": classes.names}
    about = {**made_with, **about, "colours": classes.colours}
    complaint = (
        f"another program writes into {out}; wait for it, or choose another --prediction-dir."
    )
    with ExitStack() as stack:
        stack.enter_context(alone(out / LOCK, complaint))
        _refuse_to_forget(out, about, sources)
        _refuse_to_leave(out, about, [*results, *of_all])
        journal = stack.enter_context(closing(Journal(out / JOURNAL, about)))
        todo = [source for source in sources if not _is_done(source, journal, classes, wanted)]
        fresh = [s for s in todo if s.name not in journal.begun and not unusable(s)]
        of_todo = [path for source in fresh for path in results_of(source, wanted)]
        _refuse_others([*of_all, *of_todo], journal, out)
        _refuse_same_names(todo, journal, classes, out)
        if verbose and len(todo) < len(sources):
            print(f"{len(sources) - len(todo)} of {len(sources)} pictures are done already")
        unread: list[tuple[str, str]] = []  # names, and why
        began = time.perf_counter()
        still, moving = ([s for s in todo if s.moves is moves] for moves in (False, True))
        if wanted.windows:
            read = partial(segment_in_windows, ask, classes, wanted, reading, channels)
            records = (_tried(read, source, journal, unread) for source in still)
        else:
            done = _segmented(ask, still, wanted, reading, channels, workers, journal, unread)
            write = partial(write_answer, classes, wanted)
            records = map_ahead(lambda entry: write(*entry), done, workers)
        play = partial(segment_video, ask, classes, wanted)
        clips = (_tried(play, source, journal, unread) for source in moving)
        records = filter(None, chain(records, clips))
        for record in progress(records, len(todo), "segmenting"):
            _add(journal, record, classes, wanted)
            if verbose and len(todo) <= SHOWN:
                _say(record, classes)
        seconds = time.perf_counter() - began
        if unread and len(sources) == 1:
            raise UserError(unread[0][1])
        lost = {name for name, _ in unread}
        names = {name for name in journal if name not in lost}
        _write_of_all(journal, sorted(names), classes, wanted)
        own = [s.name for s in sources if s.name in names and not s.moves]
        _name_uncertain(journal, own, classes, wanted.uncertain)
    if verbose:
        count = len(todo) - len(unread)
        rate = f", {count / seconds:.3g} a second" if count else ""
        pictures = "picture" if count == 1 else "pictures"
        print(f"{count} {pictures} segmented{rate}: {', '.join(wanted.write)} in {out}")
    if unread:
        more = ", ..." if len(unread) > SHOWN else ""
        raise UserError(
            f"{len(unread)} of {len(sources)} pictures could not be read: "
            f"{', '.join(repr(name) for name, _ in unread[:SHOWN])}{more}; save them anew. The "
            "others are segmented."
        )


def _refuse_to_forget(out: Path, about: Mapping, sources: Sequence[Source]) -> None:
    """Refuse to begin anew what holds other pictures, whose rows the files of all would lose.

    Raises:
        UserError: says which pictures, and what differs.
    """
    if otherwise := differences(out / JOURNAL, about):
        own = {source.name for source in sources}
        lost = sorted(set(names_in(out / JOURNAL)) - own - set(OF_ALL.values()))
        if lost:
            raise UserError(
                f"{out} holds answers made with another {' and '.join(otherwise)}, to {len(lost)} "
                f"more pictures, such as {lost[0]!r}; choose another --prediction-dir, or name "
                "those too."
            )


def _refuse_to_leave(out: Path, about: Mapping, results: Sequence[Path]) -> None:
    """Refuse to begin anew beside files of the answers as they were, which would be taken for new.

    Raises:
        UserError: names the first, and what differs.
    """
    if otherwise := differences(out / JOURNAL, about):
        coming = {path.relative_to(out).as_posix() for path in results}
        wrote, begun = told_in(out / JOURNAL)
        wrote |= {name + end for name in begun for end in (*EACH.values(), *OF_VIDEOS.values())}
        if left := sorted(name for name in wrote - coming if os.path.lexists(out / name)):
            raise UserError(
                f"{out / left[0]} was made with another {' and '.join(otherwise)} and would stay; "
                "--write its kind too, or choose another --prediction-dir."
            )


def _refuse_others(paths: Sequence[Path], journal: Journal, out: Path) -> None:
    """Refuse to replace what was not written here, or was changed since: by hand, or traced anew.

    Raises:
        UserError: names the first.
    """
    for path in paths:
        name = path.relative_to(out).as_posix()
        ours = name in journal.begun or mark(path) == journal.wrote.get(name)
        if os.path.lexists(path) and not ours or os.path.islink(path):
            raise UserError(
                f"{path} is there already and was not written here, or was changed since; move it "
                "away, or choose another --prediction-dir."
            )


def _refuse_same_names(
    sources: Sequence[Source], journal: Journal, classes: Classes, out: Path
) -> None:
    """Refuse to take the name of a picture that is elsewhere, whose results would be lost.

    Raises:
        UserError: names the first.
    """
    for source in sources:
        record = record_of(journal, source.name, classes)
        if record and not is_webcam(source.path) and os.path.exists(source.path):
            if record["stamp"][0] != stamp(source.path)[0]:
                raise UserError(
                    f"{out} has results of another picture that is called "
                    f"{source.name!r} than {source.path}; choose another --prediction-dir."
                )


def _is_done(source: Source, journal: Journal, classes: Classes, wanted: Wanted) -> bool:
    """Whether a picture was segmented as it is now, with everything that is asked for."""
    record = record_of(journal, source.name, classes)
    if not record:
        return False
    try:
        same = record["stamp"] == stamp(source.path)
        files = [(file, inside(wanted.folder, file)) for file in record["files"]]
    except (OSError, UserError):
        return False
    if not same or not set(wanted.write) <= set(record["kinds"]):
        return False
    # Of a folder, that of a video, every frame; a file may have been edited.
    known = (path.is_file() or mark(path) == record["wrote"].get(name) for name, path in files)
    return all(known)


def _add(journal: Journal, record: Mapping, classes: Classes, wanted: Wanted) -> None:
    """Write the record of a picture down, with what an earlier one of it as it is now has."""
    name = record["name"]
    earlier = record_of(journal, name, classes)
    earlier = earlier if earlier.get("stamp") == record["stamp"] else {}
    there = [file for file in record["files"] if os.path.lexists(wanted.folder / file)]
    more = {"files": sorted({*earlier.get("files", ()), *there})}
    more |= {"kinds": sorted({*earlier.get("kinds", ()), *wanted.write})}
    more |= {"wrote": earlier.get("wrote", {}) | {f: mark(wanted.folder / f) for f in there}}
    journal.add(earlier | record | more)


def _tried(
    function: Callable[[Source], dict],
    source: Source,
    journal: Journal,
    unread: list[tuple[str, str]],
) -> dict | None:
    """The record of a picture or video; None where it cannot be read."""
    try:
        check_usable(source)
        journal.add({"begins": source.name})
        return function(source)
    except Unreadable as error:
        _pass_over(source, error, unread)
        return None


def _pass_over(source: Source, error: UserError, unread: list[tuple[str, str]]) -> None:
    print(f"passed over: {error}", file=sys.stderr)
    unread.append((source.name, str(error)))


def _segmented(
    ask: Answer,
    sources: Sequence[Source],
    wanted: Wanted,
    reading: Reading,
    channels: int,
    workers: int,
    journal: Journal,
    unread: list[tuple[str, str]],
) -> Iterator[tuple]:
    """Source, picture, class ids, confidence and probabilities, or None, of what can be read.

    Args:
        journal: is told what begins.
        unread: gets the names of pictures that cannot be, and why.
    """

    def read(source: Source) -> np.ndarray | UserError:
        try:
            check_usable(source)
            return read_picture(
                source.path,
                scale=reading.scale,
                turn=reading.turn,
                channels=channels,
                page=source.page,
            )
        except UserError as error:
            return error

    def readable() -> Iterator[tuple[Source, np.ndarray]]:
        for source, found in zip(sources, map_ahead(read, sources, workers), strict=True):
            if not isinstance(found, UserError):
                yield source, found
            else:
                _pass_over(source, found, unread)

    for batch, size in in_batches(readable(), lambda entry: entry[1].shape[:2]):
        probabilities = ask([picture for _, picture in batch], size)  # (B, h, w, C)
        maps, sure = class_and_confidence(probabilities, wanted.write)
        whole = [None] * len(batch)
        if "probabilities" in wanted.write:
            whole = ops.convert_to_numpy(probabilities)
        del probabilities  # the largest of all, while the answers are written
        for (source, picture), *answers in zip(batch, maps, sure, whole, strict=True):
            journal.add({"begins": source.name})
            yield source, picture, *answers


def _write_of_all(journal: Journal, names: Sequence[str], classes: Classes, wanted: Wanted) -> None:
    """Write the files of all pictures from their records, those of earlier runs too."""

    def having(field: str) -> Iterator[dict]:
        records = (record_of(journal, name, classes) for name in names)
        return (record for record in records if field in record)

    def drawn(kind: str) -> Iterator[Drawn]:
        for record in having(OUTLINES[kind]):
            regions = [
                (Region(shape, {name: tuple(each) for name, each in numbers.items()}, about), label)
                for label, shape, numbers, about in record[OUTLINES[kind]]
            ]
            yield Drawn(record["name"], record["stamp"][1], tuple(record["shape"]), regions)

    writers: dict[str, Callable[[Path], object]] = {
        "areas": lambda path: write_areas(
            path,
            (row for record in having("rows") for row in record["rows"]),
            wanted.pixel[1] if wanted.pixel else "",
        ),
        "polygons": lambda path: write_via(path, drawn("polygons"), classes),
        "coco": lambda path: write_coco(path, drawn("coco"), classes),
        "labelme": lambda path: _write_labelme(path, drawn("labelme"), classes),
    }
    for kind in wanted.write:
        if kind in OF_ALL:
            path = wanted.folder / OF_ALL[kind]
            journal.add({"begins": path.name})
            writers[kind](path)
            journal.add({"wrote": {path.name: mark(path)}})


def _write_labelme(folder: Path, pictures: Iterable[Drawn], classes: Classes) -> None:
    """As `write_labelme`, with the ids of the classes, which LabelMe does not hold."""
    write_labelme(folder, pictures, classes)
    write_classes(folder / FILE_NAME, classes)


def _name_uncertain(journal: Journal, names: Sequence[str], classes: Classes, number: int) -> None:
    """Name the pictures of which the network is least sure: those to trace next."""
    if number:
        doubts = [(record_of(journal, name, classes).get("doubt", 0), name) for name in names]
        print("Least sure of, to trace next:")
        for doubt, name in sorted(doubts, key=lambda each: -each[0])[:number]:
            print(f"  {printable(name)}: {1 - doubt:.1%} sure on average")


def _say(record: Mapping, classes: Classes) -> None:
    """What a picture shows."""
    pairs = zip(classes.names, record["shares"], strict=True)
    found = ", ".join(f"{label} {share:.1%}" for label, share in pairs if share)
    print(f"{printable(record['name'])}: {found}")
