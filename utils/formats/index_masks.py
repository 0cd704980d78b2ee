"""Masks that exist as pictures: PNGs of class ids, black and white masks, colour masks.

A mask belongs to the picture of the same stem, as in CamVid and PASCAL VOC.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from utils.classes import FILE_NAME, MOST_CLASSES, VOC_COLOURS, VOID, Classes, named
from utils.errors import UserError
from utils.pictures import opened, pictures_in

PICTURE_ENDINGS = ("_masks", "_labels", "annot")  # the last is CamVid's `train`, `trainannot`


def mask_files(folder: Path | str) -> list[Path]:
    """The PNGs of a folder, sorted by name.

    Raises:
        UserError: there are none.
    """
    folder = Path(folder)
    files = sorted(p for p in folder.glob("*") if p.suffix.lower() == ".png" and p.name[0] != ".")
    if not files:
        raise UserError(f"{folder} is no folder of PNG masks; name one that holds them.")
    return files


def pictures_beside(folder: Path | str) -> Path:
    """The folder with the pictures of a folder of masks: `val` for `val_masks`, `val_labels` and
    `valannot`, otherwise `images` beside it, otherwise the folder itself when it holds others than
    PNGs.

    Raises:
        UserError: there is no such folder.
    """
    folder = Path(folder).resolve()
    for ending in PICTURE_ENDINGS:
        pictures = folder.with_name(folder.name.removesuffix(ending) or "images")
        if folder.name.endswith(ending) and pictures.is_dir():
            return pictures
    pictures = folder.with_name("images")
    if pictures.is_dir() and pictures != folder:
        return pictures
    if any(path.suffix.lower() != ".png" for path in pictures_in(folder)):
        return folder
    raise UserError(
        f"the pictures of the masks in {folder} are not beside it; name both folders with "
        "utils/generate_gt_segmentation.py --masks and --data-path."
    )


def read_mask(path: Path | str, classes: Classes | None = None) -> np.ndarray:
    """The values of a mask as they are stored, (H, W) integers, or (H, W, 3) uint8 colours.

    Palette indices are values; transparency is dropped. Three equal colour channels are taken as
    one, unless the greys are colours of `classes` and not all of them could be ids.

    Raises:
        UserError: the file is missing, is no picture, or is damaged.
    """
    with opened(path, "mask", "PNG") as image:
        values = np.asarray(image)
    if values.dtype == bool:
        values = values.astype(np.uint8)
    if values.ndim == 3:
        values = values[..., :3] if values.shape[2] >= 3 else values[..., 0]
    if values.ndim == 3 and (values == values[..., :1]).all():
        greys = values[..., 0]
        values = values if _are_colours(np.unique(greys).tolist(), classes) else greys
    return values


def _are_colours(greys: list[int], classes: Classes | None) -> bool:
    """Whether greys are meant as colours: all of them are a class's, and one is above all ids."""
    if classes is None or max(greys) < len(classes):
        return False
    return all((grey, grey, grey) in classes.colours for grey in greys)


def survey_masks(files: Iterable[Path], classes: Classes | None = None) -> set[int]:
    """The values that occur in any of the masks; colours are passed over."""
    values = set()
    for path in files:
        mask = read_mask(path, classes)
        if mask.ndim == 2:
            values.update(np.unique(mask).tolist())
    return values


def is_black_and_white(values: set[int], classes: Classes | None) -> bool:
    """Whether 255 means class 1: only 0 and 255 occur, and there are two classes or none named."""
    return VOID in values and values <= {0, VOID} and (classes is None or len(classes) == 2)


def derive_classes(values: set[int], folder: Path) -> Classes:
    """Classes "background", "class 1", ... up to the largest value of masks without class names.

    Raises:
        UserError: the values cannot be ids: there are only colours, or they are too large, or most
            ids up to the largest are unused, as with grey levels chosen for the eye.
    """
    if not values:
        raise UserError(
            f"the masks in {folder} are colours; write a {FILE_NAME} beside that folder with the "
            'name and the "colour" of each class.'
        )
    ids = values - {VOID}
    count = max(ids, default=0) + 1
    if values == {0, VOID}:
        count = 2
    elif count > MOST_CLASSES or min(ids, default=0) < 0 or len(ids) < count / 2:
        shown = ", ".join(map(str, sorted(values)[:12]))
        raise UserError(
            f"the values {shown} of the masks in {folder} do not look like class ids; "
            f"write a {FILE_NAME} beside that folder that names every id."
        )
    return named(["background", *(f"class {index}" for index in range(1, count))])


def ids_of_mask(
    path: Path, classes: Classes, black_and_white: bool = False, void: int = VOID
) -> np.ndarray:
    """A mask as class ids, (H, W) uint8, 255 = void.

    Args:
        black_and_white: 255 stands for class 1, not for void.
        void: a value that stands for void besides 255; SegNet's CamVid has 11.

    Raises:
        UserError: a value or a colour belongs to no class.
    """
    values = read_mask(path, classes)
    if values.ndim == 3:
        return _ids_of_colours(values, classes, path)
    if black_and_white:
        return (values == VOID).astype(np.uint8)
    is_void = (values == VOID) | (values == void)
    wrong = values[~is_void & ((values < 0) | (values >= len(classes)))]
    if wrong.size:
        raise UserError(
            f"{path} has the value {wrong[0]}, but the classes are 0 to {len(classes) - 1}; "
            f"add it to {FILE_NAME}, or correct the mask."
        )
    return np.where(is_void, VOID, values).astype(np.uint8)


def _ids_of_colours(mask: np.ndarray, classes: Classes, path: Path) -> np.ndarray:
    """Class ids of a colour mask (H, W, 3) by the colours of the classes; VOC's void is void."""
    ids = {colour: index for index, colour in enumerate(classes.colours)}
    ids.setdefault(VOC_COLOURS(256)[VOID], VOID)
    packed = mask.astype(np.int32) @ (1 << 16, 1 << 8, 1)  # (H, W), a number per colour
    labels = np.zeros(packed.shape, np.uint8)
    for value in np.unique(packed).tolist():
        colour = (value >> 16, value >> 8 & 255, value & 255)
        if colour not in ids:
            raise UserError(
                f"{path} has the colour {colour}, which is no class's; give each class its "
                f'"colour" in {FILE_NAME}, or save masks of class ids.'
            )
        labels[packed == value] = ids[colour]
    return labels
