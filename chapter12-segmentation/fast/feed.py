"""Batches made ahead by threads, and how they reach `fit` without a pause between epochs."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import keras

import fast
from fast.devices import gpu_name
from fast.readers import readers
from utils.errors import UserError

AHEAD = 3  # steps


class ReadAhead(keras.utils.PyDataset):
    """A data set whose batches threads make ahead, in the same order and with the same content.

    The chapter hands the threads to Keras, by `workers` of its data set class. Keras 3.15 then
    keeps what its threads have read ahead, and serves it in the next epoch, when `fit` starts on
    JAX or PyTorch; other versions hang at the end of an epoch (keras issue 20425). So the threads
    are here: they read ahead within an epoch, also when batches are taken by a plain loop, and
    Keras sees a data set with one worker.

    Args:
        data: has `batch(epoch, index)`, which any thread may call, `epoch`, `failure` and a length.
        workers: threads that make batches, and batches that they make ahead.
        processes: let each thread have them made by a process, see `fast.readers`.
    """

    def __init__(self, data: keras.utils.PyDataset, workers: int, processes: bool = False):
        super().__init__(workers=1)  # of Keras; an attribute `workers` would be its own
        self.data, self._look_ahead = data, workers
        self._batch = partial(readers(workers).batch, data) if processes else data.batch
        self._ahead: dict[tuple[int, int], Future] = {}  # batches in the making
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="pictures")
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        return len(self.data)

    def __getitem__(self, index: int):
        """Batch `index` of this epoch; the threads go on with the batches that follow it.

        Raises:
            IndexError: there is no such batch.
        """
        if not 0 <= index < len(self):
            raise IndexError(index)
        with self._lock:
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
            self.failure = error  # what a process raised is known there alone
            raise

    @property
    def epoch(self) -> int:
        """0-based; fixes order and variation."""
        return self.data.epoch

    @epoch.setter
    def epoch(self, number: int) -> None:
        self.data.epoch = number

    @property
    def failure(self) -> Exception | None:
        """The error that ended the reading of a batch, or None."""
        return self.data.failure

    @failure.setter
    def failure(self, error: Exception) -> None:
        self.data.failure = error


def read_ahead(data: keras.utils.PyDataset, workers: int) -> keras.utils.PyDataset:
    """`data` with threads that make its batches ahead; `data` itself with `--plain`.

    On JAX with a GPU processes make them, see `fast.readers`. TensorFlow asks for its batches from
    a thread of its own, and hands over a step in little Python.
    """
    if not fast.is_on():
        return data
    return ReadAhead(data, workers, processes=fast.on_jax() and gpu_name() is not None)


def map_ahead(function: Callable, items: Iterable, workers: int) -> Iterator:
    """`map(function, items)`, in order, with up to `workers` results computed ahead by threads."""
    if not fast.is_on():
        yield from map(function, items)
        return
    with ThreadPoolExecutor(workers) as threads:
        futures: deque[Future] = deque()
        for item in items:
            futures.append(threads.submit(function, item))
            if len(futures) > workers:
                yield futures.popleft().result()
        while futures:
            yield futures.popleft().result()


class StepsAhead(keras.callbacks.Callback):
    """Lets Python prepare `AHEAD` steps while the device computes one, and no more.

    On JAX a step is handed over and not waited for. The pictures of all that are handed over lie in
    the device's memory: a GB for an epoch of a thousand of 480x640.
    """

    async_safe = True  # Keras calls the end of a step in a thread, when the device is done with it
    # Seconds to wait for that. After an error of the device it is never called, and Keras raises
    # the error with the next step alone.
    longest = 60

    def __init__(self):
        super().__init__()
        self._free = threading.Semaphore(AHEAD)

    def on_train_batch_begin(self, batch, logs=None):
        self._free.acquire(timeout=self.longest)

    def on_train_batch_end(self, batch, logs=None):
        self._free.release()


def feed(data: keras.utils.PyDataset) -> tuple[object, list[keras.callbacks.Callback]]:
    """What to give to `fit` in place of `data`, and the callbacks that go with it.

    On TensorFlow, Keras reads a `PyDataset` through `tf.data` with automatic tuning, and deletes
    the reader after every epoch. With TensorFlow 2.21 that deletion often waits, both cores idle,
    for about as long as the epoch took: 11 of 24 epochs of 2 s paused for 2.4 s, and of 36 without
    tuning none; four of 13 epochs of the quick preset took 37 s more than their neighbours. `data`
    reads ahead by itself, so there is nothing to tune. Other backends, and `--plain`, take Keras'
    way; tests hold both to the same order of batches.

    Args:
        data: batches (x, y) of arrays or tuples of them, of equal shapes but for the number of
            pictures; `epoch` is set at the beginning of each epoch.

    Returns:
        What `fit` takes as `x`, and a list of callbacks for `fit`.
    """
    counter = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: setattr(data, "epoch", epoch)
    )
    if keras.backend.backend() == "jax":
        return data, [counter, StepsAhead()]
    if not fast.on_tensorflow():
        return data, [counter]
    import tensorflow as tf

    def batches():
        return (data[index] for index in range(len(data)))

    def described(part):
        return tf.TensorSpec((None, *part.shape[1:]), part.dtype)

    signature = keras.tree.map_structure(described, data[0])
    stream = tf.data.Dataset.from_generator(batches, output_signature=signature)
    stream = stream.apply(tf.data.experimental.assert_cardinality(len(data))).prefetch(2)
    options = tf.data.Options()
    options.autotune.enabled = False
    return stream.with_options(options), [counter]
