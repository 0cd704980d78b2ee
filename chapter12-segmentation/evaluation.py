"""The answer of a network to a picture, and its scores on a data set: section 12.5."""

from collections.abc import Callable, Iterator

import keras
import numpy as np
from keras import layers

from data_generator import checked_sizes
from fast.feed import map_ahead
from metrics import (
    ConfusionMatrices,
    class_maps,
    count_confusions,
    iou_per_class,
    picture_accuracies,
    picture_mious,
    resize_bilinear,
    scores,
)
from utils.errors import UserError
from utils.label_maps.store import LabelStore
from utils.pictures import grey, resize_picture

Answer = Callable[..., object]  # (picture, size=None) -> probabilities, see `answer`


def build_scorer(model: keras.Model) -> keras.Model:
    """The network with its confusion matrices behind it.

    Returns:
        Model from [pictures (B, H, W, channels), labels (B, any, any) uint8] to (B, C, C) int32.
        Only the matrices leave the device.
    """
    labels = layers.Input((None, None), dtype="uint8", name="labels")
    # In float32: rounded to bfloat16, probabilities would tie that are not equal.
    matrices = ConfusionMatrices(name="confusion", dtype="float32")([model.outputs[0], labels])
    return keras.Model([model.inputs[0], labels], matrices, name="scorer")


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


def answer(model: keras.Model, picture: np.ndarray, size: tuple[int, int] | None = None):
    """What a network says of one picture, whatever its size: the one way to probabilities.

    Views of a picture (`tools.views`) are networks made of networks; what goes around a network
    (tiles, a CRF) wraps this function and is called as it is.

    Args:
        model: a network from (1, H, W, channels) to probabilities; of several outputs the first.
        picture: (h, w, channels) uint8; colours do for a network of one channel.
        size: of the answer; (h, w) when there is none.

    Raises:
        UserError: the picture has another number of channels than the network.

    Returns:
        (h, w, C) float32 class probabilities, on the device: `keras.ops.convert_to_numpy` brings
        them from there.
    """
    inputs = resize_picture(picture, model.input_shape[1:3])[None]  # (1, H, W, channels)
    if model.input_shape[3] == 1 and picture.shape[2] == 3:
        inputs = grey(inputs)
    if inputs.shape[3] != model.input_shape[3]:
        raise UserError(
            f"a picture of {inputs.shape[3]} channels is nothing to a network of "
            f"{model.input_shape[3]}; read it with as many."
        )
    probabilities = model.predict_on_batch(inputs)  # (1, H, W, C)
    if isinstance(probabilities, list):
        probabilities = probabilities[0]
    return resize_bilinear(probabilities, tuple(size or picture.shape[:2]))[0]


def segment_objects(answer: Answer, picture: np.ndarray, size: tuple | None = None) -> np.ndarray:
    """The class of every pixel of one picture.

    Args:
        answer: from a picture and a size to probabilities, as `answer` with its network.
        picture: (h, w, channels) uint8, or floats in [0, 1] as the chapter's code takes them.
        size: of the class ids; (h, w) when there is none.

    Returns:
        (h, w) uint8 class ids.

    Raises:
        UserError: `picture` has another shape, or floats outside [0, 1].
    """
    picture = np.asarray(picture)
    if picture.ndim != 3:
        raise UserError(
            f"a picture of shape {picture.shape} cannot be segmented; give (h, w, channels)."
        )
    if np.issubdtype(picture.dtype, np.floating):
        if not (picture.min() >= 0 and picture.max() <= 1):  # NaN is neither
            raise UserError(
                f"a picture of floats from {picture.min():g} to {picture.max():g} cannot be read; "
                "give floats in [0, 1] or uint8."
            )
        picture = np.round(picture * 255).astype(np.uint8)
    return keras.ops.convert_to_numpy(class_maps(answer(picture, size))).astype(np.uint8)


def pictures_of_store(
    store: LabelStore, workers: int = 1, channels: int = 3
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """(name, picture, label map) of every picture of a data set, read ahead by threads.

    Raises:
        UserError: there is none, or one is missing, cannot be read, or has another shape than its
            label map.
    """
    if not len(store):
        raise UserError(f"there is no picture to score in {store.folder}; annotate some first.")
    checked_sizes(store, store.keys)

    def read(key: str) -> tuple[str, np.ndarray, np.ndarray]:
        return key, store.picture(key, channels=channels), store[key]

    return map_ahead(read, store.keys, workers)


def evaluate(answer: Answer, store: LabelStore, workers: int = 1, channels: int = 3) -> np.ndarray:
    """The confusion matrix of every picture of a data set, at the size of its label map.

    Args:
        answer: from a picture and a size to probabilities.
        store: of pictures and label maps; only the matrices leave the device.
        workers: threads that read pictures.
        channels: of the pictures.

    Returns:
        (N, C, C) int64, in the order of `store.keys`.
    """
    matrices = []
    for _, picture, truth in pictures_of_store(store, workers, channels):
        probabilities = answer(picture, truth.shape)  # (H, W, C)
        predicted = class_maps(probabilities[None])  # (1, H, W)
        matrix = count_confusions(truth[None], predicted, probabilities.shape[-1])[0]
        matrices.append(keras.ops.convert_to_numpy(matrix))
    return np.array(matrices).astype(np.int64)
