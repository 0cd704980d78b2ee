"""Batches of pictures and label maps for training and evaluation: Listing 12.3.4."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import keras
import numpy as np

from augmentation import GREY_WEIGHTS, augment, needed_size
from utils.errors import UserError
from utils.label_maps.store import LabelStore
from utils.pictures import picture_size, read_picture, resize_labels, resize_picture, same_shape

AUGMENTATION = 1  # sets the random numbers of augmentation apart from those of the order


class DataGenerator(keras.utils.PyDataset):
    """Batches (x, y) of uint8 pictures and label maps, made by threads: Listing 12.3.4.

    x is (B, H, W, channels), y is (B, H, W) class ids with 255 = void. Nothing is kept: memory
    does not grow with the number of pictures. A batch depends on the seed, the epoch and its
    place in the epoch alone, never on threads or on what was read before.

    The chapter hands the threads to Keras, by `workers` of its data set class. Keras 3.15 then
    keeps what its threads have read ahead, and serves it in the next epoch, when `fit` starts on
    JAX or PyTorch; other versions hang at the end of an epoch (keras issue 20425). So the threads
    are here: they read ahead within an epoch, also when batches are taken by a plain loop, and
    Keras sees a data set with one worker.

    Call `fit` with `shuffle=False`: its default shuffles the batches once more, by a random state
    that no resumed run can restore. It is an error here.

    Attributes:
        keys: names of the pictures, in the order of `label_size="original"`.
        n_classes: number of classes, the background included.
        epoch: 0-based; fixes order and augmentation. To resume, set it before `fit`, which counts
            it on after every whole epoch.
        failure: the error that ended the reading of a batch, or None. TensorFlow shows its own
            error in place of it.
    """

    def __init__(
        self,
        store: LabelStore,
        *,
        keys: Sequence[str] | None = None,
        size: tuple[int, int] = (480, 640),
        batch_size: int = 4,
        shuffle: bool = False,
        seed: int = 0,
        augment: bool = False,
        close_ups: float = 0.0,
        pictures_per_epoch: int | None = None,
        workers: int = 4,
        channels: int = 3,
        label_size: str = "network",
    ):
        """Check the pictures' headers and get ready; no picture is decoded yet.

        Args:
            store: label maps and where their pictures are.
            keys: which of its pictures; None means all.
            size: (H, W) of the network's input, to which pictures are brought.
            batch_size: pictures in a batch; the last batch of an epoch may be smaller.
            shuffle: take the pictures in a random order, a new one each time all were taken.
            seed: of order and augmentation, from 0 up.
            augment: change pictures and labels at random, see `augmentation`.
            close_ups: share of the augmented pictures that are seen from near.
            pictures_per_epoch: pictures in an epoch, fewer or more than there are; the next epoch
                goes on where one ends, so all pictures are taken equally often. None: each once.
            workers: threads that make batches, and batches that they make ahead.
            channels: 3 for red, green and blue, 1 for grey.
            label_size: "network" for maps of `size`; "original" for maps as the store has them,
                for evaluation. Then a batch ends early where the next map has another size.

        Raises:
            UserError: there is no picture, one is missing or unreadable or has another shape than
                its label map, or `channels` is neither 1 nor 3.
            ValueError: order or augmentation is asked for with `label_size="original"`.
        """
        super().__init__(workers=1)
        if channels not in (1, 3):
            raise UserError(f"pictures cannot have {channels} channels; choose 3 or 1.")
        self.store = store
        self.keys = list(store.keys if keys is None else keys)
        if not self.keys:
            raise UserError(f"there is no picture to read in {store.folder}; annotate some first.")
        self.size = tuple(size)
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.augment = augment
        self.close_ups = close_ups
        self.pictures_per_epoch = pictures_per_epoch or len(self.keys)
        self.channels = channels
        self.label_size = label_size
        self.n_classes = len(store.classes)
        self.epoch = 0
        self.failure: UserError | None = None

        sizes = _checked_sizes(store, self.keys)
        starts = range(0, self.pictures_per_epoch, batch_size)
        if label_size == "original":
            if shuffle or augment or pictures_per_epoch:
                raise ValueError("original labels come in the order of keys, once, unchanged")
            starts = _starts(sizes, batch_size)
        self._bounds = [*starts, self.pictures_per_epoch]  # of the batches, places in the epoch

        self._ahead: dict[tuple[int, int], Future] = {}  # batches in the making
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="pictures")
        self._look_ahead = workers
        self._lock = threading.Lock()
        self._within_epoch = False  # of Keras, from its `on_epoch_begin` to its `on_epoch_end`
        self._last = -1  # the batch that was asked for last

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        return len(self._bounds) - 1

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Batch `index` of this epoch: (B, H, W, channels) uint8 and (B, H, W) uint8.

        The threads go on with the batches that follow it.

        Raises:
            IndexError: there is no such batch.
            UserError: a picture cannot be read.
            ValueError: Keras asks for batches out of order.
        """
        if not 0 <= index < len(self):
            raise IndexError(index)
        with self._lock:
            if self._within_epoch and index not in (0, self._last + 1):
                raise ValueError("batches are asked for out of order; use fit(shuffle=False)")
            self._last = index
            wanted = range(index, min(index + 1 + self._look_ahead, len(self)))
            places = [(self.epoch, number) for number in wanted]
            self._ahead = {
                place: self._ahead.get(place) or self._threads.submit(self._batch, *place)
                for place in places
            }
            future = self._ahead[places[0]]
        try:
            return future.result()
        except UserError as error:
            self.failure = error
            raise

    def on_epoch_begin(self) -> None:
        """Called by Keras before the first batch of an epoch."""
        self._within_epoch = True

    def on_epoch_end(self) -> None:
        """Called by Keras after an epoch: goes on to the next if this one was taken to its end.

        `fit` also calls it before its first epoch, on JAX and PyTorch after a first look at batch
        0. That does not count, save there with a single batch, which looks like a whole epoch.
        """
        if self._within_epoch and self._last == len(self) - 1:
            self.epoch += 1
        self._within_epoch = False

    def _batch(self, epoch: int, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Batch `index` of any epoch."""
        places = range(*self._bounds[index : index + 2])
        keys = [self._key(epoch * self.pictures_per_epoch + place) for place in places]
        seeds = [(self.seed, epoch, place, AUGMENTATION) for place in places]
        return self.__data_generation(keys, seeds)

    def _key(self, turn: int) -> str:
        """The picture whose turn it is, counted from the first of epoch 0."""
        number, place = divmod(turn, len(self.keys))
        if self.shuffle:
            place = np.random.default_rng((self.seed, number)).permutation(len(self.keys))[place]
        return self.keys[place]

    def __data_generation(self, keys: list[str], seeds) -> tuple[np.ndarray, np.ndarray]:
        """Read pictures and labels by their names and stack them, Listing 12.3.4."""
        x, y = [], []
        for key, seed in zip(keys, seeds, strict=True):
            least = needed_size(self.size, self.close_ups) if self.augment else None
            picture = read_picture(self.store.picture_path(key), least)  # (h, w, 3) uint8
            labels = self.store[key]  # (h', w') uint8
            if self.augment:
                rng = np.random.default_rng(seed)
                picture, labels = augment(picture, labels, rng, self.size, self.close_ups)
            else:
                picture = resize_picture(picture, self.size)
                if self.label_size == "network":
                    labels = resize_labels(labels, self.size)
            x.append(picture)
            y.append(labels)
        x, y = np.stack(x), np.stack(y)  # (B, H, W, 3), (B, H, W)
        return (grey(x) if self.channels == 1 else x), y


def split_keys(keys: Sequence[str], share: float) -> tuple[list[str], list[str]]:
    """Divide pictures at random into those to train on and those to pick the best weights by.

    The same keys are always divided alike, whatever the seed of the run: who trains on from weights
    of another seed would else pick the best by pictures that those weights were trained on.

    Args:
        keys: names of pictures.
        share: of the second part, from 0 (which leaves it empty) to less than 1.

    Returns:
        Two lists, each in the order of `keys`. With two pictures or more and a share above 0
        neither is empty.
    """
    count = min(max(1, round(share * len(keys))), len(keys) - 1) if share > 0 else 0
    chosen = set(np.random.default_rng(0).permutation(len(keys))[:count].tolist())
    first = [key for index, key in enumerate(keys) if index not in chosen]
    return first, [keys[index] for index in sorted(chosen)]


def grey(pictures: np.ndarray) -> np.ndarray:
    """Brightness (..., 1) uint8 of colour pictures (..., 3) uint8, after ITU-R BT.601."""
    values = pictures @ GREY_WEIGHTS.astype(np.float32)
    return np.rint(values).astype(np.uint8)[..., None]


def _checked_sizes(store: LabelStore, keys: Sequence[str]) -> list[tuple[int, int]]:
    """The sizes (H, W) of label maps, once their pictures' headers are found to agree with them.

    A map may be larger or smaller than its picture, when both have the same shape.

    Raises:
        UserError: a picture is missing, is none, or has another shape.
    """
    size_of = dict(zip(store.keys, store.sizes, strict=True))
    for key in keys:
        size, map_size = picture_size(store.picture_path(key)), size_of[key]
        if not same_shape(size, map_size):
            raise UserError(
                f"{store.picture_path(key)} is {size[0]} high and {size[1]} wide, but its label "
                f"map is {map_size[0]} high and {map_size[1]} wide; make the labels again from the "
                "annotations."
            )
    return [tuple(size_of[key]) for key in keys]


def _starts(sizes: Sequence[tuple[int, int]], batch_size: int) -> list[int]:
    """Where batches start when all maps of a batch must have one size."""
    starts = [0]
    for place in range(1, len(sizes)):
        if sizes[place] != sizes[place - 1] or place - starts[-1] == batch_size:
            starts.append(place)
    return starts
