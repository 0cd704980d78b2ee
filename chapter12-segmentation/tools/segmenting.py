"""The segmentation of single pictures, as in Figure 12.5.3."""

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from evaluation import Answer, in_batches, segment_batch
from fast.feed import map_ahead
from tools.portrait import FILES as PORTRAIT
from utils.classes import Classes
from utils.drawing import segmentation_figure, write_index_png
from utils.errors import UserError
from utils.files import inside, refuse_replacing
from utils.label_maps.store import LabelStore
from utils.pictures import list_pictures, of_other_kinds, pages_of, read_picture, resize_labels
from utils.reading import Reading

RESULTS = ("-mask.png", "-segmentation.png")  # after the name of a picture
ELSEWHERE = "choose another --prediction-dir, or move that file away"
LONGEST = 255  # bytes of a name in most file systems


def check_results(paths: Iterable[Path], folder: Path) -> None:
    """Refuse to segment pictures into `folder` where a result would replace one of them.

    Args:
        paths: files and folders, as for `pictures_of_files`.
        folder: of the results.

    Raises:
        UserError: it would, or a path does not exist.
    """
    files = list_pictures(paths)
    names = [name for name, _, _ in _told_apart(files) if not unusable_name(name, RESULTS)]
    results = [folder / (name + end) for name in names for end in RESULTS]
    refuse_replacing(results, files, ELSEWHERE)


def check_results_of_store(
    store: LabelStore, labels: Path, folder: Path, plot: bool, portrait: bool
) -> None:
    """Refuse to draw what `--plot` and `--portrait` do where that would replace some of the data.

    Args:
        store: with the pictures.
        labels: what was asked for; the masks of a folder are inputs too.
        folder: of the results.
        plot: whether every picture is drawn.
        portrait: whether the errors are, see `tools.portrait`.

    Raises:
        UserError: a result would replace a picture or a mask.
    """
    inputs = [store.picture_path(key) for key in store.keys]
    if labels.is_dir():
        inputs += labels.iterdir()
    names = [key + end for key in store.keys for end in RESULTS] if plot else []
    names += PORTRAIT if portrait else ()
    refuse_replacing([folder / name for name in names], inputs, ELSEWHERE)


def pictures_of_files(
    paths: Iterable[Path], reading: Reading | None = None, channels: int = 3, workers: int = 1
) -> Iterator[tuple[str, np.ndarray, None]]:
    """(name, picture, no truth) of every picture among files and folders; names are told apart.

    Each page of a TIFF, and each frame of an animation, is a picture: "stack.tif#1" and on.
    What cannot be read is named and passed over, so that one damaged file does not cost the others.

    Args:
        paths: files and folders.
        reading: how the pictures of training were read, which gives the scale of deep ones.
        channels: of the network's pictures.
        workers: threads that read pictures ahead.

    Raises:
        UserError: a path does not exist, or, after the last picture, some could not be read.
    """
    reading = reading or Reading()
    named, unread = _told_apart(list_pictures(paths)), []
    others = [other.name for path in paths if path.is_dir() for other in of_other_kinds(path)]
    if others:
        print(
            f"passed over: {others[0]}, in all {len(others)} of kinds that are not read here; "
            "save them as JPEG or PNG.",
            file=sys.stderr,
        )

    def read(one: tuple[str, Path, int]) -> np.ndarray | UserError:
        name, path, page = one
        if reason := unusable_name(name, RESULTS):
            return UserError(f"{str(path)!r} {reason}, as which its results are called; rename it.")
        try:
            return read_picture(
                path, scale=reading.scale, turn=reading.turn, channels=channels, page=page
            )
        except UserError as error:
            return error

    for (name, _, _), picture in zip(named, map_ahead(read, named, workers), strict=True):
        if not isinstance(picture, UserError):
            yield name, picture, None
        elif len(named) == 1:
            raise picture
        else:
            print(f"passed over: {picture}", file=sys.stderr)
            unread.append(name)
    if unread:
        raise UserError(
            f"{len(unread)} of {len(named)} pictures could not be read, {unread[0]} among them; "
            "save them anew. What could be read is segmented."
        )


def _told_apart(files: Iterable[Path]) -> list[tuple[str, Path, int]]:
    """Every page of every file: a name of its own, the file, and the page, from 0.

    Where another file has that name already, the folder's comes before it.
    """
    named, seen = [], set()
    for path in files:
        name = path.name
        while name.casefold() in seen:  # some file systems do not know a from A
            name = f"{path.resolve().parent.name}-{name}"
        seen.add(name.casefold())
        try:
            count = pages_of(path)
        except UserError:
            count = 1  # reading it tells
        ends = [f"#{number}" for number in range(1, count + 1)] if count > 1 else [""]
        named += [(name + end, path, page) for page, end in enumerate(ends)]
    return named


def unusable_name(name: str, ends: Iterable[str]) -> str | None:
    """What is wrong with the name of a picture that results cannot be called by, else None.

    Args:
        name: with forward slashes where it is in a folder.
        ends: of the names of the results.
    """
    try:
        name.encode()
        if len((name.rpartition("/")[2] + max(ends, key=len)).encode()) > LONGEST:
            return "has too long a name"
        inside(Path(os.devnull), name)  # by the name alone: there are no links
    except UnicodeEncodeError:
        return "has a name that is no text"
    except UserError:
        return "has a name that leads elsewhere on some systems"
    return None


def segment_pictures(
    answer: Answer,
    pictures: Iterable[tuple[str, np.ndarray, np.ndarray | None]],
    classes: Classes,
    folder: Path,
    verbose: bool = True,
    workers: int = 1,
) -> None:
    """Segment pictures; leave two PNGs of each in `folder`, as in Figure 12.5.3.

    `<name>-mask.png` holds the class ids, with a palette, at the picture's size;
    `<name>-segmentation.png` shows picture, ground truth when known, prediction and overlay.

    Args:
        answer: from pictures to probabilities of the classes, see `evaluation.answer`.
        pictures: name, (h, w, channels) uint8 picture, and (h, w) label map or None.
        classes: names and colours.
        folder: made when it is missing.
        verbose: print for each picture what it shows and what was written.
        workers: threads that write while the next pictures are segmented.
    """

    def segmented() -> Iterator[tuple[str, np.ndarray, np.ndarray | None, np.ndarray]]:
        for batch, size in in_batches(pictures, lambda entry: entry[1].shape[:2]):
            maps = segment_batch(answer, [picture for _, picture, _ in batch], size)
            yield from ((*entry, labels) for entry, labels in zip(batch, maps, strict=True))

    def write(entry) -> str:
        name, picture, truth, predicted = entry
        if truth is not None:  # maps may be larger or smaller than their pictures
            truth = resize_labels(truth, picture.shape[:2])
        mask, figure = (inside(folder, name + end) for end in RESULTS)
        write_index_png(mask, predicted, classes)
        segmentation_figure(figure, picture, predicted, classes, truth=truth, title=name)
        shares = np.bincount(predicted.ravel(), minlength=len(classes)) / predicted.size
        found = ", ".join(
            f"{label} {share:.1%}"
            for label, share in zip(classes.names, shares, strict=True)
            if share
        )
        return f"{name}: {found}\n  {mask}\n  {figure}"

    for lines in map_ahead(write, segmented(), workers):
        if verbose:
            # Standard output refuses bytes that are no text, as the name of a folder may hold.
            print(lines.encode(errors="backslashreplace").decode())
