"""Pictures without labels, as a label store in which every pixel is void."""

from collections.abc import Collection
from functools import partial
from pathlib import Path

import numpy as np

from utils.classes import VOID, Classes
from utils.errors import UserError
from utils.label_maps.store import LabelStore
from utils.pictures import list_pictures, picture_size
from utils.reading import Reading


def open_unlabelled(
    folder: Path,
    classes: Classes,
    reading: Reading | None = None,
    without: Collection[Path] = (),
) -> LabelStore:
    """The pictures of a folder, so that they are read and varied as those with labels are.

    Args:
        folder: of pictures; of a file with several pages the first is taken.
        classes: of the labelled pictures.
        reading: how the labelled pictures are meant.
        without: pictures of it, resolved, that are left out, as those that are to be scored.

    Raises:
        UserError: there is no such folder, it holds no picture, or one of them cannot be read.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder; give one with JPEG or PNG files to --unlabelled.")
    paths = [path for path in list_pictures([folder]) if path.resolve() not in without]
    if not paths:
        raise UserError(
            f"all pictures of {folder} choose the best weights or are scored, and are not to be "
            "trained on; give others to --unlabelled."
        )
    turn = reading.turn if reading else None
    sizes = [picture_size(path, turn=turn) for path in paths]
    keys = [path.name for path in paths]
    return LabelStore(keys, classes, folder, sizes, partial(_nothing, sizes), reading)


def _nothing(sizes: list[tuple[int, int]], index: int) -> np.ndarray:
    """The label map of a picture that has none: (H, W) uint8."""
    return np.full(sizes[index], VOID, np.uint8)
