"""Threads that read ahead, and how batches reach `fit`: in order, once, and to the end."""

import threading
import time

import keras
import numpy as np
import pytest
from conftest import assert_same, make_picture, make_store, served

from data_generator import DataGenerator
from fast.feed import AHEAD, ReadAhead, StepsAhead, feed, map_ahead, read_ahead
from utils.errors import UserError

VARIED = {"size": (24, 32), "batch_size": 2, "shuffle": True, "augment": "mild"}


def in_time(function, seconds=120):
    """What a function returns; a test that would hang fails instead."""
    results = []
    thread = threading.Thread(target=lambda: results.append(function()), daemon=True)
    thread.start()
    thread.join(seconds)
    assert results, "it hangs or failed"
    return results[0]


# `map_ahead`


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_order(workers):
    def slow_at_first(item):
        time.sleep(0.03 if item == 0 else 0)
        return 2 * item

    assert list(map_ahead(slow_at_first, range(20), workers)) == list(range(0, 40, 2))
    assert list(map_ahead(slow_at_first, [], workers)) == []
    assert list(map_ahead(slow_at_first, iter([5]), workers)) == [10]


@pytest.mark.parametrize("workers", [1, 3])
def test_as_much_is_computed_ahead_as_there_are_workers(workers):
    done = []
    results = map_ahead(done.append, range(20), workers)
    for taken in range(1, 4):
        next(results)
        until = time.monotonic() + 60
        while len(done) < taken + workers and time.monotonic() < until:
            time.sleep(0.001)
        time.sleep(0.02)  # in which more would be computed
        assert len(done) == taken + workers
    assert len(list(results)) == 17 and len(done) == 20


def test_results_are_computed_by_threads(plain):
    names = set(map_ahead(lambda _: threading.current_thread().name, range(9), 2))
    assert threading.current_thread().name not in names
    plain()
    names = set(map_ahead(lambda _: threading.current_thread().name, range(9), 2))
    assert names == {threading.current_thread().name}


def test_the_plain_way_computes_nothing_ahead(plain):
    plain()
    done = []
    results = map_ahead(lambda item: done.append(item) or item, range(9), 4)
    assert next(results) == 0 and done == [0]
    assert list(results) == list(range(1, 9))


@pytest.mark.parametrize("on", [True, False])
def test_an_error_comes_in_its_turn(plain, on):
    def fail_at_three(item):
        if item == 3:
            raise UserError("three")
        return item

    if not on:
        plain()
    seen = []
    with pytest.raises(UserError, match="three"):
        for item in map_ahead(fail_at_three, range(9), 2):
            seen.append(item)
    assert seen == [0, 1, 2]


def test_a_loop_that_ends_early_leaves_no_thread_at_work():
    results = map_ahead(lambda item: item, range(1000), 3)
    next(results)
    before = threading.active_count()
    results.close()
    assert threading.active_count() < before


# `ReadAhead`


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_threads_serve_the_batches_of_the_generator(store, workers):
    data = DataGenerator(store, **VARIED)
    ahead = read_ahead(DataGenerator(store, **VARIED), workers)
    assert isinstance(ahead, ReadAhead) and len(ahead) == len(data) == 4
    assert_same(served(ahead, range(3)), served(data, range(3)))


def test_keras_sees_one_worker(store):
    """With more it reads ahead by itself, out of turn when an epoch begins."""
    ahead = ReadAhead(DataGenerator(store), 4)
    assert ahead.workers == 1 and not ahead.use_multiprocessing


def test_batches_are_made_by_threads_ahead(store):
    made = []

    class Watched(DataGenerator):
        def batch(self, epoch, index):
            made.append((epoch, index, threading.current_thread().name))
            return super().batch(epoch, index)

    ahead = ReadAhead(Watched(store, size=(24, 32), batch_size=1), workers=2)
    ahead.epoch = 5
    ahead[0]
    ahead._threads.shutdown(wait=True)
    assert sorted(entry[:2] for entry in made) == [(5, 0), (5, 1), (5, 2)]
    assert all(name.startswith("pictures") for *_, name in made)


def test_nothing_is_made_ahead_beyond_the_epoch_or_twice(store):
    made = []

    class Watched(DataGenerator):
        def batch(self, epoch, index):
            made.append((epoch, index))
            return super().batch(epoch, index)

    ahead = ReadAhead(Watched(store, size=(24, 32), batch_size=2), workers=3)
    served(ahead, [0, 1])
    assert sorted(made) == [(epoch, index) for epoch in (0, 1) for index in range(4)]
    for index in (-1, 4):
        with pytest.raises(IndexError):
            ahead[index]


def test_the_epoch_is_that_of_the_generator(store):
    data = DataGenerator(store, **VARIED)
    ahead = ReadAhead(data, 2)
    ahead.epoch = 3
    assert (data.epoch, ahead.epoch) == (3, 3)
    assert_same(ahead[1], DataGenerator(store, **VARIED).batch(3, 1))


def test_batches_may_be_asked_for_in_any_order_by_many_threads(store):
    options = VARIED | {"batch_size": 1}
    expected = served(DataGenerator(store, **options), [0])[::2]
    data, wrong = ReadAhead(DataGenerator(store, **options), workers=2), []

    def ask(seed):
        for index in np.random.default_rng(seed).integers(0, 7, 40):
            if not np.array_equal(data[int(index)][0], expected[index]):
                wrong.append(index)

    threads = [threading.Thread(target=ask, args=(seed,), daemon=True) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert not wrong


def test_the_plain_way_has_no_threads(store, plain):
    data = DataGenerator(store)
    plain()
    assert read_ahead(data, 4) is data


# `fit`


class Losses(keras.callbacks.Callback):
    """Notes the loss after every step, and the epochs that the data set counts."""

    def __init__(self, data):
        super().__init__()
        self.data, self.losses, self.epochs = data, [], []

    def on_epoch_begin(self, epoch, logs=None):
        self.epochs.append(self.data.epoch)

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(logs["loss"])


def fit(data, epochs, initial_epoch=0, fed=True) -> Losses:
    """`fit` a model whose loss is the mean value of the pictures and which learns nothing."""
    inputs = keras.layers.Input((24, 32, 3))
    means = keras.layers.GlobalAveragePooling2D()(inputs)
    outputs = keras.layers.Dense(1, kernel_initializer="ones", use_bias=False)(means)
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.SGD(0.0), loss=lambda y_true, y_pred: y_pred[:, 0])
    noted = Losses(data)
    batches, callbacks = feed(data) if fed else (data, [])
    options = {"shuffle": False, "verbose": 0, "callbacks": [*callbacks, noted]}
    model.fit(batches, epochs=epochs, initial_epoch=initial_epoch, **options)
    return noted


def expected_losses(data, epochs) -> list[float]:
    """The losses of `fit`: running means within each epoch of the three channels' sum."""
    losses = []
    for epoch in epochs:
        sums = []
        for x in served(data, [epoch])[::2]:
            sums += x.mean((1, 2)).sum(-1).tolist()
            losses.append(np.mean(sums))
    return losses


def generator(store, plain, on, workers, **options):
    """A generator, with threads if there are workers; turns the fast path off unless `on`."""
    if not on:
        plain()
    data = DataGenerator(store, **VARIED | options)
    return ReadAhead(data, workers) if workers else data


ways = pytest.mark.parametrize(
    ("on", "workers"), [(on, workers) for on in (True, False) for workers in (None, 2)]
)


@pytest.mark.parametrize("on", [True, False])
@pytest.mark.parametrize("workers", [None, 1, 2, 4])
def test_fit_sees_every_batch_once_in_order_and_ends(store, plain, on, workers):
    data = generator(store, plain, on, workers)
    noted = in_time(lambda: fit(data, 3))
    assert noted.epochs == [0, 1, 2]
    expected = expected_losses(DataGenerator(store, **VARIED), range(3))
    np.testing.assert_allclose(noted.losses, expected, rtol=1e-5)


@pytest.mark.long
@ways
@pytest.mark.parametrize("batch", [4, 7])  # two batches, the second a smaller one, and one
def test_fit_of_short_epochs_counts_them(store, plain, on, workers, batch):
    data = generator(store, plain, on, workers, batch_size=batch)
    assert fit(data, 3).epochs == [0, 1, 2]


@pytest.mark.long
@ways
def test_a_resumed_fit_goes_on_as_if_never_interrupted(store, plain, on, workers):
    def losses(epochs, initial_epoch=0):
        data = generator(store, plain, on, workers, pictures_per_epoch=5)
        return fit(data, epochs, initial_epoch).losses

    np.testing.assert_array_equal(losses(2) + losses(4, initial_epoch=2), losses(4))


def test_a_fit_that_is_not_fed_counts_the_epochs_by_itself(store):
    """The chapter's way: the generator goes straight to `fit`."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("fit looks at batch 0 before its first epoch")
    data = DataGenerator(store, **VARIED)
    noted = in_time(lambda: fit(data, 3, fed=False))
    assert noted.epochs == [0, 1, 2] and data.epoch == 3
    expected = expected_losses(DataGenerator(store, **VARIED), range(3))
    np.testing.assert_allclose(noted.losses, expected, rtol=1e-5)


@pytest.mark.parametrize("batch", [4, 3])  # two batches an epoch, and three
def test_a_second_fit_goes_on_counting_from_where_it_is_told(store, batch):
    """Keras calls `on_epoch_end` before the first epoch too, after a look at the first batches."""
    data = DataGenerator(store, **VARIED | {"batch_size": batch})
    fit(data, 2, fed=False)
    assert data.epoch == 2
    fit(data, 4, initial_epoch=2, fed=False)
    assert data.epoch == 4


def test_nothing_is_tuned_and_the_plain_way_is_that_of_keras(store, plain):
    data = DataGenerator(store, size=(24, 32), batch_size=2)
    if keras.backend.backend() == "tensorflow":
        stream, callbacks = feed(data)
        assert stream.options().autotune.enabled is False and len(callbacks) == 1
    plain()
    given, callbacks = feed(data)
    assert given is data and len(callbacks) == 1 + (keras.backend.backend() == "jax")


@pytest.mark.parametrize("workers", [None, 4])
def test_predict_sees_every_picture_once(store, workers):
    data = DataGenerator(store, size=(24, 32), batch_size=2)
    if workers:
        data = ReadAhead(data, workers)
    inputs = keras.layers.Input((24, 32, 3), dtype="uint8")
    model = keras.Model(inputs, keras.layers.Identity(dtype="uint8")(inputs))
    for _ in range(2):
        expected = np.stack([make_picture(number, (24, 32)) for number in range(7)])
        np.testing.assert_array_equal(model.predict(data, verbose=0), expected)


@ways
def test_a_damaged_picture_is_named_even_when_keras_hides_the_error(tmp_path, plain, on, workers):
    store = make_store(tmp_path, [(24, 32)] * 5)
    content = (tmp_path / "3.png").read_bytes()
    (tmp_path / "3.png").write_bytes(content[: len(content) // 2])  # its header is whole
    data = generator(store, plain, on, workers, batch_size=1, shuffle=False)
    assert data.failure is None
    with pytest.raises(Exception, match="3.png"):
        fit(data, 1)
    assert isinstance(data.failure, UserError) and "3.png" in str(data.failure)


def test_a_step_whose_end_is_never_told_is_not_waited_for(monkeypatch):
    """As after an error of the device, which Keras raises with the next step."""
    steps = StepsAhead()
    monkeypatch.setattr(steps, "longest", 0.1)
    in_time(lambda: [steps.on_train_batch_begin(step) for step in range(AHEAD + 1)], 10)


def test_no_more_than_a_few_steps_are_ahead():
    """The fourth begins when the first has ended."""
    steps, begun = StepsAhead(), threading.Event()
    for step in range(AHEAD):
        steps.on_train_batch_begin(step)

    def begin():
        steps.on_train_batch_begin(AHEAD)
        begun.set()

    thread = threading.Thread(target=begin)
    thread.start()
    assert not begun.wait(0.2)
    steps.on_train_batch_end(0)
    assert begun.wait(10)
    thread.join()
