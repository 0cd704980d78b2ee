"""The answer of a network to a picture, and its scores on a data set: section 12.5."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby, islice

import keras
import numpy as np
from keras import ops

from fast.devices import gpu_name
from fast.feed import map_ahead
from fast.forward import forward
from metrics import (
    boundary_scores,
    class_maps,
    count_confusions,
    iou_per_class,
    picture_accuracies,
    picture_mious,
    resize_bilinear,
    scores,
)
from utils.boundaries import TRIMAPS, boundary_f1, count_in_trimaps
from utils.errors import UserError
from utils.label_maps.store import LabelStore
from utils.pictures import grey, resize_picture
from utils.progress import progress

Answer = Callable[..., object]  # (pictures, size=None) -> probabilities, see `answer`
AT_ONCE = 4  # pictures that a GPU is given together
LARGE = 2**24  # pixels of these: 1.4 GB of probabilities of 21 classes
BAND = 2**20  # pixels whose classes a CPU finds at once: TensorFlow takes 50 bytes for each


def count_batch(model: keras.Model, pictures: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The confusion matrices of one batch, at the size of its labels.

    Args:
        model: from pictures to probabilities; of several outputs the first.
        pictures: (B, H, W, channels) uint8, of the network's size.
        labels: (B, any, any) uint8.

    Returns:
        (B, C, C) int64; only these leave the device.
    """
    probabilities = _first(forward(model)(pictures))  # (B, H, W, C)
    predicted = class_maps(probabilities, labels.shape[1:3])
    counts = count_confusions(labels, predicted, probabilities.shape[-1])
    return ops.convert_to_numpy(counts).astype(np.int64)


def confusion_matrices(model: keras.Model, data: keras.utils.PyDataset) -> np.ndarray:
    """The confusion matrix of every picture of `data`, in its order: (N, C, C) int64."""
    return np.concatenate([count_batch(model, pictures, labels) for pictures, labels in data])


def _first(outputs):
    """Of several outputs the first, which is the answer."""
    return outputs[0] if isinstance(outputs, list | tuple) else outputs


def answering(model: keras.Model) -> keras.Model:
    """A network as far as its answer, without heads that only training hears of."""
    if len(model.outputs) == 1:
        return model
    return keras.Model(model.inputs[0], model.outputs[0], name=model.name)


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
    counted = int(np.isfinite(picture_mious(matrices)).sum())  # those that are not void all over
    print(f"chapter mIoU    {result['chapter_miou']:.4f}  mean over {counted} pictures")
    print(f"dataset mIoU    {result['dataset_miou']:.4f}  one confusion matrix")
    print(f"pixel accuracy  {result['pixel_accuracy']:.2%}")
    width = max(map(len, names))
    for name, iou, pixels in zip(names, iou_per_class(total), total.sum(-1), strict=True):
        value = "never in ground truth or prediction" if np.isnan(iou) else f"{iou:.4f}"
        print(f"  IoU {name:{width}}  {value}  ({pixels:,} pixels)")


class Boundaries:
    """Boundary F1 and trimap mIoU, gathered picture by picture: `--boundary`."""

    def __init__(self):
        self._f1s, self._matrices = [], []

    def see(self, truth: np.ndarray, predicted: np.ndarray, n_classes: int) -> None:
        """Take account of a picture: two (H, W) of class ids."""
        self._f1s.append(boundary_f1(truth, predicted, n_classes))
        self._matrices.append(count_in_trimaps(truth, predicted, n_classes))

    def scores(self) -> tuple[float, list[float]]:
        """Boundary F1 and trimap mIoUs of the pictures that were seen."""
        return boundary_scores(self._f1s, self._matrices)

    def print(self) -> None:
        """Print the scores of the pictures that were seen."""
        f1, mious = self.scores()
        counted = int(np.isfinite(self._f1s).any(-1).sum())  # those that are not void all over
        print(f"boundary F1     {f1:.4f}  mean over {counted} pictures")
        within = ", ".join(f"{miou:.4f} ({w})" for w, miou in zip(TRIMAPS, mious, strict=True))
        print(f"trimap mIoU     {within} pixels from a border")


def answer(model: keras.Model, pictures: Sequence[np.ndarray], size: tuple | None = None):
    """What a network says of pictures, whatever their sizes: the one way to probabilities.

    Views of a picture (`tools.views`) are networks made of networks; what goes around a network
    (tiles, a CRF) wraps this function and is called as it is.

    Args:
        model: a network from (B, H, W, channels) to probabilities; of several outputs the first.
        pictures: B of (any, any, channels) uint8; colours do for a network of one channel.
        size: (h, w) of the answers; that of the pictures, which is then one, when there is none.

    Raises:
        UserError: a picture has another number of channels than the network.

    Returns:
        (B, h, w, C) float32 class probabilities, on the device: `keras.ops.convert_to_numpy` brings
        them from there.
    """
    inputs = [resize_picture(picture, model.input_shape[1:3]) for picture in pictures]
    if model.input_shape[3] == 1:
        inputs = [grey(picture) if picture.shape[2] == 3 else picture for picture in inputs]
    for picture in inputs:
        if picture.shape[2] != model.input_shape[3]:
            raise UserError(
                f"a picture of {picture.shape[2]} channels is nothing to a network of "
                f"{model.input_shape[3]}; read it with as many."
            )
    probabilities = _first(forward(model)(np.stack(inputs)))  # (B, H, W, C)
    size = tuple(size or pictures[0].shape[:2])
    if size == tuple(probabilities.shape[1:3]):
        return ops.convert_to_tensor(probabilities)
    return resize_bilinear(probabilities, size)


def segment_batch(
    answer: Answer, pictures: Sequence[np.ndarray], size: tuple | None = None
) -> np.ndarray:
    """The class of every pixel; only these leave the device.

    Args:
        answer: from pictures and a size to probabilities, as `answer` with its network.
        pictures: B of (any, any, channels) uint8.
        size: (h, w) of the class ids; that of the pictures, which is then one, when there is none.

    Returns:
        (B, h, w) uint8 class ids.
    """
    return by_rows(class_ids, answer(pictures, size))


def class_ids(probabilities):
    """The class of every pixel: (B, h, w, C), on the device, to (B, h, w) uint8."""
    return ops.cast(class_maps(probabilities), "uint8")


def by_rows(function: Callable, maps) -> np.ndarray:
    """What a function makes of maps, on the host; on a CPU, of so many rows after another.

    Args:
        function: from (B, n, w, C) to (B, n, w), each pixel by itself.
        maps: (B, h, w, C), on the device.

    Returns:
        (B, h, w).
    """
    batch, height, width, _ = maps.shape
    rows = height if gpu_name() else max(1, BAND // (batch * width))
    first = ops.convert_to_numpy(function(maps[:, :rows]))
    if rows >= height:
        return first
    whole = np.empty((batch, height, width), first.dtype)
    whole[:, :rows] = first
    for top in range(rows, height, rows):
        whole[:, top : top + rows] = ops.convert_to_numpy(function(maps[:, top : top + rows]))
    return whole


def segment_objects(answer: Answer, picture: np.ndarray, size: tuple | None = None) -> np.ndarray:
    """The class of every pixel of one picture.

    Args:
        answer: from pictures and a size to probabilities, as `answer` with its network.
        picture: (h, w, channels) uint8, or floats in [0, 1] as the chapter's code takes them.
        size: of the class ids; (h, w) when there is none.

    Returns:
        (h, w) uint8 class ids.

    Raises:
        UserError: as `as_picture`.
    """
    return segment_batch(answer, [as_picture(picture)], size)[0]


def as_picture(picture: object) -> np.ndarray:
    """A picture (h, w, channels) uint8, of one as `segment_objects` takes it.

    Raises:
        UserError: it has another shape or type, or floats outside [0, 1].
    """
    picture = np.asarray(picture)
    if picture.ndim != 3 or not picture.size:
        raise UserError(
            f"a picture of shape {picture.shape} cannot be segmented; give (h, w, channels)."
        )
    if np.issubdtype(picture.dtype, np.floating):
        if not (picture.min() >= 0 and picture.max() <= 1):  # NaN is neither
            raise UserError(
                f"a picture of floats from {picture.min():g} to {picture.max():g} cannot be read; "
                "give floats in [0, 1] or uint8."
            )
        return np.round(picture * 255).astype(np.uint8)
    if picture.dtype != np.uint8:
        raise UserError(
            f"a picture of type {picture.dtype} cannot be read; give floats in [0, 1] or uint8."
        )
    return picture


def in_batches(
    entries: Iterable[tuple], size_of: Callable[[tuple], tuple[int, int]]
) -> Iterator[tuple[list[tuple], tuple[int, int]]]:
    """Entries that can be answered together, in order: neighbours whose answers have one size.

    Args:
        entries: with a picture in each.
        size_of: the size (h, w) of the answer to an entry.

    Yields:
        Lists of entries, each with its size: with a GPU up to `AT_ONCE` that are not too large
        together, else one.
    """
    gpu = gpu_name()
    for size, alike in groupby(entries, size_of):
        most = min(AT_ONCE, max(1, LARGE // math.prod(size))) if gpu else 1
        while batch := list(islice(alike, most)):
            yield batch, size


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
    store.check_shapes(store.keys)

    def read(key: str) -> tuple[str, np.ndarray, np.ndarray]:
        return key, store.picture(key, channels=channels), store[key]

    return map_ahead(read, store.keys, workers)


def evaluate(
    answer: Answer,
    store: LabelStore,
    workers: int = 1,
    channels: int = 3,
    see: Callable[[np.ndarray, np.ndarray, int], None] | None = None,
) -> np.ndarray:
    """The confusion matrix of every picture of a data set, at the size of its label map.

    Args:
        answer: from pictures and a size to probabilities.
        store: of pictures and label maps; only the matrices leave the device, and what `see` sees.
        workers: threads that read pictures.
        channels: of the pictures.
        see: called with the true and the predicted class ids of each picture, two (H, W) uint8, and
            the number of classes.

    Returns:
        (N, C, C) int64, in the order of `store.keys`.
    """
    pictures = pictures_of_store(store, workers, channels)
    matrices, entries = [], progress(pictures, len(store), "scored")
    for batch, size in in_batches(entries, lambda entry: entry[2].shape):
        _, pictures, truths = zip(*batch, strict=True)
        probabilities = answer(pictures, size)  # (B, H, W, C)
        predicted = class_maps(probabilities)  # (B, H, W)
        counts = count_confusions(np.stack(truths), predicted, probabilities.shape[-1])
        matrices.append(ops.convert_to_numpy(counts))
        if see:
            found = ops.convert_to_numpy(predicted).astype(np.uint8)
            for truth, each in zip(truths, found, strict=True):
                see(truth, each, probabilities.shape[-1])
    return np.concatenate(matrices).astype(np.int64)
