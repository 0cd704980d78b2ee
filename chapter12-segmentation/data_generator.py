"""Batches of pictures and label maps for training and evaluation: Listing 12.3.4."""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial

import keras
import numpy as np

from augmentation import CLOSE_UPS, augment, needed_size
from augmentation_file import read_pipeline
from utils.errors import UserError
from utils.label_maps.store import LabelStore
from utils.pictures import resize_labels, resize_picture

AUGMENTATION = 1  # sets the random numbers of augmentation apart from those of the order


class DataGenerator(keras.utils.PyDataset):
    """Batches (x, y) of uint8 pictures and label maps: Listing 12.3.4.

    x is (B, H, W, channels), y is (B, H, W) class ids with 255 = void; with `weigh` a third part
    has the weights of the pixels, (B, H, W) float32. Nothing is kept: memory does not grow with the
    number of pictures. A batch depends on the seed, the epoch and its
    place in the epoch alone, so that threads can make it, see `fast.feed.read_ahead`.

    Call `fit` with `shuffle=False`: its default shuffles the batches once more, by a random state
    that no resumed run can restore.

    Attributes:
        keys: names of the pictures, in the order of `label_size="original"`.
        n_classes: number of classes, the background included.
        epoch: 0-based; fixes order and augmentation. `on_epoch_end` counts it on after a whole
            epoch, `fast.feed.feed` sets it for a run that was resumed.
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
        augment: str = "none",
        pictures_per_epoch: int | None = None,
        channels: int = 3,
        label_size: str = "network",
        weigh: Callable[[np.ndarray], np.ndarray] | None = None,
        share: tuple[int, int] = (0, 1),
    ):
        """Check the pictures' headers and get ready; no picture is decoded yet.

        Args:
            store: label maps and where their pictures are.
            keys: which of its pictures; None means all.
            size: (H, W) of the network's input, to which pictures are brought.
            batch_size: pictures in a batch; the last batch of an epoch may be smaller.
            shuffle: take the pictures in a random order, a new one each time all were taken.
            seed: of order and augmentation, from 0 up.
            augment: how pictures and labels are changed at random, see `augmentation_of`; "none"
                leaves them as they are.
            pictures_per_epoch: pictures in an epoch, fewer or more than there are; the next epoch
                goes on where one ends, so all pictures are taken equally often. None: each once.
            channels: 3 for red, green and blue, 1 for grey, or the first of the files, up to 16.
            label_size: "network" for maps of `size`; "original" for maps as the store has them,
                for evaluation. Then a batch ends early where the next map has another size.
            weigh: a function of a label map (H, W) uint8 that gives the weights of its pixels in
                the loss, (H, W) float32; can be pickled, for `fast.readers`.
            share: (index, number) of the part that is read of each batch, where other processes
                read the rest; `number` divides the pictures of a batch.

        Raises:
            UserError: there is no picture, or one is missing or unreadable or has another shape
                than its label map; or the augmentation is a file that holds none.
            ValueError: order or augmentation is asked for with `label_size="original"`.
        """
        super().__init__()
        self.store = store
        self.keys = store.keys if keys is None else keys
        if not len(self.keys):
            raise UserError(f"there is no picture to read in {store.folder}; annotate some first.")
        self.size = tuple(size)
        self.shuffle = shuffle
        self.seed = seed
        self._augmentation = augmentation_of(augment)
        self.pictures_per_epoch = pictures_per_epoch or len(self.keys)
        self.channels = channels
        self.label_size = label_size
        self.weigh = weigh
        self.share = share
        self.n_classes = len(store.classes)
        self.epoch = 0
        self.failure: UserError | None = None
        self._last = -1  # the batch that was taken last
        self._within_epoch = False  # of Keras, from its `on_epoch_begin` to its `on_epoch_end`

        store.check_shapes(self.keys)
        starts = range(0, self.pictures_per_epoch, batch_size)
        if label_size == "original":
            if shuffle or augment != "none" or pictures_per_epoch:
                raise ValueError("original labels come in the order of keys, once, unchanged")
            sizes = [store.sizes[store.number_of(key)] for key in self.keys]
            starts = _starts(sizes, batch_size)
        self._bounds = [*starts, self.pictures_per_epoch]  # of the batches, places in the epoch

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        return len(self._bounds) - 1

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        """Batch `index` of this epoch: (B, H, W, channels) uint8 and (B, H, W) uint8.

        Raises:
            IndexError: there is no such batch.
            UserError: a picture cannot be read.
        """
        self._last = index
        return self.batch(self.epoch, index)

    def on_epoch_begin(self) -> None:
        """Called by Keras before the first batch of an epoch."""
        self._within_epoch = True

    def on_epoch_end(self) -> None:
        """Called by Keras after an epoch: goes on to the next if this one was taken to its end.

        `fit` also calls it before its first epoch, after a look at the first batches.
        """
        self.epoch += self._within_epoch and self._last == len(self) - 1
        self._within_epoch, self._last = False, -1

    def batch(self, epoch: int, index: int) -> tuple[np.ndarray, ...]:
        """Batch `index` of any epoch; any thread may call it. Errors: see `__getitem__`."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        places = range(*self._bounds[index : index + 2])
        part, number = self.share
        places = places[part * len(places) // number : (part + 1) * len(places) // number]
        keys = [self._key(epoch * self.pictures_per_epoch + place) for place in places]
        seeds = [(self.seed, epoch, place, AUGMENTATION) for place in places]
        try:
            return self.__data_generation(keys, seeds)
        except UserError as error:
            self.failure = error
            raise

    def _key(self, turn: int) -> str:
        """The picture whose turn it is, counted from the first of epoch 0."""
        number, place = divmod(turn, len(self.keys))
        if self.shuffle:
            place = _order(self.seed, number, len(self.keys))[place]
        return self.keys[place]

    def __data_generation(self, keys: list[str], seeds) -> tuple[np.ndarray, ...]:
        """Read pictures and labels by their names and stack them, Listing 12.3.4."""
        x, y = [], []
        for key, seed in zip(keys, seeds, strict=True):
            change, needed = self._augmentation or (None, None)
            least = needed(self.size) if needed else None
            picture = self.store.picture(key, least, self.channels)  # (h, w, channels) uint8
            labels = self.store[key]  # (h', w') uint8
            if change:
                picture, labels = change(picture, labels, np.random.default_rng(seed), self.size)
            else:
                picture = resize_picture(picture, self.size)
                if self.label_size == "network":
                    labels = resize_labels(labels, self.size)
            x.append(picture)
            y.append(labels)
        parts = [x, y] if self.weigh is None else [x, y, map(self.weigh, y)]
        return tuple(np.stack(list(part)) for part in parts)  # (B, H, W, channels), (B, H, W)


@lru_cache(maxsize=4)  # of training and of what has no labels, at the border of two rounds
def _order(seed: int, number: int, count: int) -> np.ndarray:
    """The order in which all pictures are taken for the `number`-th time."""
    return np.random.default_rng((seed, number)).permutation(count)


def augmentation_of(name: str) -> tuple[Callable, Callable | None] | None:
    """What the option `--augment` names.

    Args:
        name: "none", one of `augmentation.CLOSE_UPS`, "strong", or a file of albumentations.

    Returns:
        None for "none". Otherwise a function of a picture (h, w, C), its labels (h', w'), random
        numbers and a size (H, W), that gives both changed and at that size; and a function of that
        size, that gives the least (H, W) of a picture that will do, or None: every pixel.

    Raises:
        UserError: the file is missing or holds no pipeline, or albumentations is not installed.
    """
    if name == "none":
        return None
    if name in CLOSE_UPS:
        share = CLOSE_UPS[name]
        return partial(augment, close_ups=share), partial(needed_size, close_ups=share)
    if name == "strong":
        import augmentation_strong  # with scikit-image, which else nothing needs here

        return augmentation_strong.augment_strongly, augmentation_strong.needed_size
    return read_pipeline(name), None


def split_keys(keys: Sequence[str], share: float) -> tuple[Sequence[str], Sequence[str]]:
    """Divide pictures at random into those to train on and those to pick the best weights by.

    The same keys are always divided alike, whatever the seed of the run: who trains on from weights
    of another seed would else pick the best by pictures that those weights were trained on.

    Args:
        keys: names of pictures.
        share: of the second part, from 0 (which leaves it empty) to less than 1.

    Returns:
        Two parts, each in the order of `keys`. With two pictures or more and a share above 0
        neither is empty.
    """
    count = min(max(1, round(share * len(keys))), len(keys) - 1) if share > 0 else 0
    chosen = np.zeros(len(keys), bool)
    chosen[np.random.default_rng(0).permutation(len(keys))[:count]] = True
    return _chosen(keys, ~chosen), _chosen(keys, chosen)


def _chosen(keys: Sequence[str], which: np.ndarray) -> Sequence[str]:
    """Some of the keys; of names that are made when they are asked for, likewise."""
    places = np.flatnonzero(which)
    return [keys[place] for place in places] if isinstance(keys, list) else Some(keys, places)


class Some(Sequence):
    """Some of a sequence, by their places (n,)."""

    def __init__(self, whole: Sequence, places: np.ndarray):
        self.whole, self.places = whole, places

    def __len__(self) -> int:
        """How many."""
        return len(self.places)

    def __getitem__(self, place: int | slice):
        """One of them, or a part of them."""
        if isinstance(place, slice):
            return Some(self.whole, self.places[place])
        return self.whole[self.places[place]]


def _starts(sizes: Sequence[tuple[int, int]], batch_size: int) -> list[int]:
    """Where batches start when all maps of a batch must have one size."""
    starts = [0]
    for place in range(1, len(sizes)):
        if sizes[place] != sizes[place - 1] or place - starts[-1] == batch_size:
            starts.append(place)
    return starts
