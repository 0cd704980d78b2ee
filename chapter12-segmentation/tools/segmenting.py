"""The segmentation of single pictures, as in Figure 12.5.3."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from evaluation import Answer, in_batches, segment_batch
from fast.feed import map_ahead
from utils.classes import Classes
from utils.drawing import segmentation_figure, write_index_png
from utils.errors import UserError
from utils.files import inside
from utils.pictures import list_pictures, of_other_kinds, read_picture, resize_labels
from utils.reading import Reading


def pictures_of_files(
    paths: Iterable[Path], reading: Reading | None = None, channels: int = 3, workers: int = 1
) -> Iterator[tuple[str, np.ndarray, None]]:
    """(name, picture, no truth) of every picture among files and folders; names are told apart.

    What cannot be read is named and passed over, so that one damaged file does not cost the others.

    Args:
        paths: files and folders.
        reading: how the pictures of training were read, which gives the scale of deep ones.
        channels: of the network's pictures.
        workers: threads that read pictures ahead.

    Raises:
        UserError: a path does not exist, or, after the last picture, some could not be read.
    """
    reading, seen = reading or Reading(), set()
    files, unread = list_pictures(paths), []
    others = [other.name for path in paths if path.is_dir() for other in of_other_kinds(path)]
    if others:
        print(
            f"passed over: {others[0]}, in all {len(others)} of kinds that are not read here; "
            "save them as JPEG or PNG.",
            file=sys.stderr,
        )
    names = []
    for path in files:
        name = path.name
        while name in seen:
            name = f"{path.resolve().parent.name}-{name}"
        seen.add(name)
        names.append(name)

    def read(path: Path) -> np.ndarray | UserError:
        try:
            return read_picture(path, scale=reading.scale, turn=reading.turn, channels=channels)
        except UserError as error:
            return error

    for name, picture in zip(names, map_ahead(read, files, workers), strict=True):
        if not isinstance(picture, UserError):
            yield name, picture, None
        elif len(files) == 1:
            raise picture
        else:
            print(f"passed over: {picture}", file=sys.stderr)
            unread.append(name)
    if unread:
        raise UserError(
            f"{len(unread)} of {len(files)} pictures could not be read, {unread[0]} among them; "
            "save them anew. What could be read is segmented."
        )


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
        mask = inside(folder, f"{name}-mask.png")
        figure = inside(folder, f"{name}-segmentation.png")
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
            print(lines)
