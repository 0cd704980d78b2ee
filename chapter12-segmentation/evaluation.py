"""Scores of a network on a data set, and the segmentation of single pictures: section 12.5."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import keras
import numpy as np
from keras import layers

from data_generator import grey
from metrics import (
    ConfusionMatrices,
    class_maps,
    iou_per_class,
    picture_accuracies,
    picture_mious,
    scores,
)
from utils.classes import Classes
from utils.drawing import segmentation_figure, write_index_png
from utils.errors import UserError
from utils.files import inside
from utils.label_maps.store import LabelStore
from utils.pictures import (
    list_pictures,
    of_other_kinds,
    read_picture,
    resize_labels,
    resize_picture,
)


def build_scorer(model: keras.Model) -> keras.Model:
    """The network with its confusion matrices behind it.

    Returns:
        Model from [pictures (B, H, W, channels), labels (B, any, any) uint8] to (B, C, C) int32.
        Only the matrices leave the device.
    """
    labels = layers.Input((None, None), dtype="uint8", name="labels")
    # In float32: rounded to bfloat16, probabilities would tie that are not equal.
    matrices = ConfusionMatrices(name="confusion", dtype="float32")([model.output, labels])
    return keras.Model([model.input, labels], matrices, name="scorer")


def confusion_matrices(scorer: keras.Model, data: keras.utils.PyDataset) -> np.ndarray:
    """The confusion matrix of every picture of `data`, in its order: (N, C, C) int64.

    Batch by batch, since `predict` admits no maps of other sizes after its first batches.
    """
    matrices = [scorer.predict_on_batch([pictures, labels]) for pictures, labels in data]
    return np.concatenate(matrices).astype(np.int64)


def print_scores(
    keys: list[str], matrices: np.ndarray, names: tuple[str, ...], verbose: bool = True
) -> None:
    """Print the chapter's line per picture, then both mIoUs, pixel accuracy and IoU per class.

    Args:
        keys: N picture names.
        matrices: (N, C, C) confusion matrices.
        names: C class names.
        verbose: False leaves out the lines of the pictures.
    """
    rows = zip(keys, matrices, picture_mious(matrices), picture_accuracies(matrices), strict=True)
    for key, matrix, miou, accuracy in rows if verbose else ():
        objects = int((matrix.sum(-1) > 0).sum())  # classes present, the background included
        print(f"{key}: {objects} objs, miou={miou:0.4f} ,pla={100 * accuracy:0.2f}%")
    result, total = scores(matrices), matrices.sum(0)
    print(f"chapter mIoU    {result['chapter_miou']:.4f}  mean over {len(keys)} pictures")
    print(f"dataset mIoU    {result['dataset_miou']:.4f}  one confusion matrix")
    print(f"pixel accuracy  {result['pixel_accuracy']:.2%}")
    width = max(map(len, names))
    for name, iou, pixels in zip(names, iou_per_class(total), total.sum(-1), strict=True):
        value = "never in ground truth or prediction" if np.isnan(iou) else f"{iou:.4f}"
        print(f"  IoU {name:{width}}  {value}  ({pixels:,} pixels)")


def segment_objects(model: keras.Model, picture: np.ndarray) -> np.ndarray:
    """The class of every pixel of one picture, whatever its size.

    Args:
        model: a network from (1, H, W, channels) to probabilities.
        picture: (h, w, 3) uint8, or floats in [0, 1] as the chapter's code takes them.

    Returns:
        (h, w) uint8 class ids.

    Raises:
        UserError: `picture` has another shape, or floats outside [0, 1].
    """
    picture = np.asarray(picture)
    if picture.ndim != 3 or picture.shape[2] != 3:
        raise UserError(f"a picture of shape {picture.shape} cannot be segmented; give (h, w, 3).")
    if np.issubdtype(picture.dtype, np.floating):
        if not (picture.min() >= 0 and picture.max() <= 1):  # NaN is neither
            raise UserError(
                f"a picture of floats from {picture.min():g} to {picture.max():g} cannot be read; "
                "give floats in [0, 1] or uint8."
            )
        picture = np.round(picture * 255).astype(np.uint8)
    size, channels = model.input_shape[1:3], model.input_shape[3]
    inputs = resize_picture(picture, size)[None]  # (1, H, W, 3)
    if channels == 1:
        inputs = grey(inputs)
    probabilities = model.predict_on_batch(inputs)  # (1, H, W, C)
    maps = class_maps(probabilities, picture.shape[:2])
    return keras.ops.convert_to_numpy(maps)[0].astype(np.uint8)


def pictures_of_files(paths: list[Path]) -> Iterator[tuple[str, np.ndarray, None]]:
    """(name, picture, no truth) of every picture among files and folders; names are told apart.

    What cannot be read is named and passed over, so that one damaged file does not cost the others.

    Raises:
        UserError: a path does not exist, or, after the last picture, some could not be read.
    """
    seen: set[str] = set()
    files, unread = list_pictures(paths), []
    others = [other.name for path in paths if path.is_dir() for other in of_other_kinds(path)]
    if others:
        print(
            f"passed over: {others[0]}, in all {len(others)} of kinds that are not read here; "
            "save them as JPEG or PNG.",
            file=sys.stderr,
        )
    for path in files:
        name = path.name
        while name in seen:
            name = f"{path.resolve().parent.name}-{name}"
        seen.add(name)
        try:
            picture = read_picture(path)
        except UserError as error:
            if len(files) == 1:
                raise
            print(f"passed over: {error}", file=sys.stderr)
            unread.append(name)
            continue
        yield name, picture, None
    if unread:
        raise UserError(
            f"{len(unread)} of {len(files)} pictures could not be read, {unread[0]} among them; "
            "save them anew. What could be read is segmented."
        )


def pictures_of_store(store: LabelStore) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """(name, picture, label map) of every picture of a data set."""
    for key in store.keys:
        yield key, read_picture(store.picture_path(key)), store[key]


def segment_pictures(
    model: keras.Model,
    pictures: Iterable[tuple[str, np.ndarray, np.ndarray | None]],
    classes: Classes,
    folder: Path,
    verbose: bool = True,
) -> None:
    """Segment pictures; leave two PNGs of each in `folder`, as in Figure 12.5.3.

    `<name>-mask.png` holds the class ids, with a palette, at the picture's size;
    `<name>-segmentation.png` shows picture, ground truth when known, prediction and overlay.

    Args:
        model: a network for the classes.
        pictures: name, (h, w, 3) uint8 picture, and (h, w) label map or None.
        classes: names and colours.
        folder: made when it is missing.
        verbose: print for each picture what it shows and what was written.
    """
    for name, picture, truth in pictures:
        predicted = segment_objects(model, picture)
        if truth is not None:  # maps may be larger or smaller than their pictures
            truth = resize_labels(truth, picture.shape[:2])
        mask = inside(folder, f"{name}-mask.png")
        figure = inside(folder, f"{name}-segmentation.png")
        write_index_png(mask, predicted, classes)
        segmentation_figure(figure, picture, predicted, classes, truth=truth, title=name)
        if not verbose:
            continue
        shares = np.bincount(predicted.ravel(), minlength=len(classes)) / predicted.size
        found = ", ".join(
            f"{label} {share:.1%}"
            for label, share in zip(classes.names, shares, strict=True)
            if share
        )
        print(f"{name}: {found}")
        print(f"  {mask}\n  {figure}")
