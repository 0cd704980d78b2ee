"""Answers to pictures, folders and videos as masks, tables and annotations: `--segment`.

Each picture that is done is a line of `segmented.jsonl` in the folder of results. By it a run that
was interrupted goes on, and from it `areas.csv` and the annotations of all pictures are written at
the end. Nothing that others wrote is replaced: no input, and no annotation that was changed since.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
from keras import ops

from evaluation import Answer, in_batches
from fast.feed import map_ahead
from metrics import class_maps
from tools.answer_files import OUTLINES, Wanted, results_of, stamp, write_answer
from tools.clips import segment_video
from tools.large import segment_in_windows
from tools.sources import Source, Unreadable, check_usable, printable, unusable
from utils.areas import write_areas
from utils.classes import Classes
from utils.errors import UserError
from utils.files import fingerprint, refuse_replacing
from utils.formats.annotations import Region
from utils.formats.writing import Drawn, write_coco, write_labelme, write_via
from utils.journal import Journal
from utils.locks import alone
from utils.pictures import read_picture
from utils.progress import progress
from utils.reading import Reading

OF_ALL = {  # what is written of all pictures together
    "areas": "areas.csv",
    "polygons": "via_project.json",
    "coco": "coco.json",
    "labelme": "labelme",
}
JOURNAL = "segmented.jsonl"
LOCK = ".segmented.lock"
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
    usable = [source for source in sources if not unusable(source)]
    results = [path for source in usable for path in results_of(source, wanted)]
    inputs = [source.path for source in sources]
    of_all = [out / OF_ALL[kind] for kind in wanted.write if kind in OF_ALL]
    cure = "choose another --prediction-dir, or move that file away"
    refuse_replacing([*results, *of_all, out / JOURNAL], inputs, cure)
    about = {"min_area": wanted.least, "pixel_size": wanted.pixel, "classes": classes.names}
    complaint = (
        f"another program writes into {out}; wait for it, or choose another --prediction-dir."
    )
    with (
        alone(out / LOCK, complaint),
        closing(Journal(out / JOURNAL, {**made_with, **about})) as journal,
    ):
        for path in of_all:
            if os.path.lexists(path) and _mark(path) != journal.wrote.get(path.name):
                raise UserError(
                    f"{path} is there already and was not written here, or was changed since; move "
                    "it away, or choose another --prediction-dir."
                )
        todo = [source for source in sources if not _is_done(source, journal, wanted)]
        if verbose and len(todo) < len(sources):
            print(f"{len(sources) - len(todo)} of {len(sources)} pictures are done already")
        unread: list[str] = []
        began = time.perf_counter()
        still, moving = ([s for s in todo if s.moves is moves] for moves in (False, True))
        if wanted.windows:
            read = partial(segment_in_windows, ask, classes, wanted, reading, channels)
            records = filter(None, (_tried(read, source, still, unread) for source in still))
        else:
            done = _segmented(ask, still, wanted, reading, channels, workers, unread)
            records = map_ahead(lambda entry: write_answer(*entry, classes, wanted), done, workers)
        play = partial(segment_video, ask, classes, wanted)
        clips = filter(None, (_tried(play, source, moving, unread) for source in moving))
        for record in progress(chain(records, clips), len(todo), "segmenting"):
            journal.add(record)
            if verbose and len(todo) <= SHOWN:
                _say(record, classes)
        seconds = time.perf_counter() - began
        there = [source for source in sources if source.name in journal]
        _write_of_all(journal, there, classes, wanted)
        _name_uncertain(journal, there, wanted.uncertain)
    if verbose:
        count = len(todo) - len(unread)
        rate = f", {count / seconds:.3g} a second" if count else ""
        pictures = "picture" if count == 1 else "pictures"
        print(f"{count} {pictures} segmented{rate}: {', '.join(wanted.write)} in {out}")
    if unread:
        more = ", ..." if len(unread) > SHOWN else ""
        raise UserError(
            f"{len(unread)} of {len(sources)} pictures could not be read: "
            f"{', '.join(map(repr, unread[:SHOWN]))}{more}; save them anew. The others are "
            "segmented."
        )


def _mark(path: Path) -> str:
    """By what a file or folder of results is known again."""
    try:
        return fingerprint(path, sorted(path.iterdir()) if path.is_dir() else None)
    except OSError:
        return ""


def _is_done(source: Source, journal: Journal, wanted: Wanted) -> bool:
    """Whether a picture was segmented as it is now, with everything that is asked for."""
    if source.name not in journal:
        return False
    record = journal[source.name]
    needed = {"rows"} if "areas" in wanted.write else set()
    needed |= {OUTLINES[kind] for kind in wanted.write if kind in OUTLINES}
    try:
        same = record.get("stamp") == stamp(source.path)
        files = results_of(source, wanted)
    except (OSError, UserError):
        return False
    return same and needed <= set(record) and all(map(os.path.exists, files))


def _pass_over(
    source: Source, error: UserError, sources: Sequence[Source], unread: list[str]
) -> None:
    """Say why a picture is passed over; a single one is an error at once."""
    if len(sources) == 1:
        raise error
    print(f"passed over: {error}", file=sys.stderr)
    unread.append(source.name)


def _tried(
    function: Callable[[Source], dict],
    source: Source,
    sources: Sequence[Source],
    unread: list[str],
) -> dict | None:
    """The record of a picture or video; None where it cannot be read."""
    try:
        check_usable(source)
        return function(source)
    except Unreadable as error:
        return _pass_over(source, error, sources, unread)


def _segmented(
    ask: Answer,
    sources: Sequence[Source],
    wanted: Wanted,
    reading: Reading,
    channels: int,
    workers: int,
    unread: list[str],
) -> Iterator[tuple]:
    """Source, picture, class ids, confidence and probabilities, or None, of what can be read.

    Args:
        unread: gets the names of pictures that cannot be.
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
                _pass_over(source, found, sources, unread)

    for batch, size in in_batches(readable(), lambda entry: entry[1].shape[:2]):
        probabilities = ask([picture for _, picture in batch], size)  # (B, h, w, C)
        maps = ops.convert_to_numpy(ops.cast(class_maps(probabilities), "uint8"))
        sure = ops.convert_to_numpy(ops.max(probabilities, axis=-1))  # (B, h, w)
        whole = [None] * len(batch)
        if "probabilities" in wanted.write:
            whole = ops.convert_to_numpy(probabilities)
        for (source, picture), *answers in zip(batch, maps, sure, whole, strict=True):
            yield source, picture, *answers


def _write_of_all(
    journal: Journal, sources: Sequence[Source], classes: Classes, wanted: Wanted
) -> None:
    """Write the files of all pictures from their records."""

    def drawn(kind: str) -> Iterator[Drawn]:
        for source in sources:
            if source.moves:
                continue
            record = journal[source.name]
            regions = [
                (Region(shape, {name: tuple(each) for name, each in numbers.items()}, about), label)
                for label, shape, numbers, about in record[OUTLINES[kind]]
            ]
            yield Drawn(source.name, record["stamp"][0], tuple(record["shape"]), regions)

    writers: dict[str, Callable[[Path], object]] = {
        "areas": lambda path: write_areas(
            path,
            (row for source in sources for row in journal[source.name]["rows"]),
            wanted.pixel[1] if wanted.pixel else "",
        ),
        "polygons": lambda path: write_via(path, drawn("polygons"), classes),
        "coco": lambda path: write_coco(path, drawn("coco"), classes),
        "labelme": lambda path: write_labelme(path, drawn("labelme"), classes),
    }
    for kind in wanted.write:
        if kind in OF_ALL:
            path = wanted.folder / OF_ALL[kind]
            writers[kind](path)
            journal.add({"wrote": {path.name: _mark(path)}})


def _name_uncertain(journal: Journal, sources: Sequence[Source], number: int) -> None:
    """Name the pictures of which the network is least sure: those to trace next."""
    if number:
        doubts = [(journal[source.name]["doubt"], source.name) for source in sources]
        print("Least sure of, to trace next:")
        for doubt, name in sorted(doubts, key=lambda each: -each[0])[:number]:
            print(f"  {printable(name)}: {1 - doubt:.1%} sure on average")


def _say(record: Mapping, classes: Classes) -> None:
    """What a picture shows."""
    pairs = zip(classes.names, record["shares"], strict=True)
    found = ", ".join(f"{label} {share:.1%}" for label, share in pairs if share)
    print(f"{printable(record['name'])}: {found}")
