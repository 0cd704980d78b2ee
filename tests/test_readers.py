"""Processes that make batches: the same arrays, the same errors, and nothing left behind."""

import threading
from functools import partial

import numpy as np
import pytest

from data_generator import DataGenerator
from fast.feed import ReadAhead, read_ahead
from fast.readers import Reader, Readers
from utils.errors import UserError
from utils.label_maps.store import open_labels

VARIED = {"size": (24, 32), "batch_size": 2, "shuffle": True, "augment": "close"}


@pytest.fixture(scope="module")
def processes():
    """Two processes for the tests of this file."""
    readers = Readers(2)
    yield readers
    readers.close()


def test_a_process_makes_the_same_batches(store, processes):
    data = DataGenerator(store, **VARIED)
    original = DataGenerator(store, label_size="original")
    for epoch, index in [(0, 0), (3, 2), (1, 1)]:
        for ours, theirs in zip(
            processes.batch(data, epoch, index), data.batch(epoch, index), strict=True
        ):
            assert ours.dtype == theirs.dtype
            np.testing.assert_array_equal(ours, theirs)
        ours = processes.batch(original, 0, 0)[1]
        np.testing.assert_array_equal(ours, original.batch(0, 0)[1])


def test_many_threads_may_ask(store, processes):
    data = DataGenerator(store, **VARIED)
    answers = {}

    def ask(epoch):
        answers[epoch] = processes.batch(data, epoch, 0)[0]

    threads = [threading.Thread(target=partial(ask, epoch)) for epoch in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(processes._all) <= 2
    for epoch in range(8):
        np.testing.assert_array_equal(answers[epoch], data.batch(epoch, 0)[0])


def test_read_ahead_hands_on_batches_and_errors(store, processes, monkeypatch):
    monkeypatch.setattr("fast.feed.readers", lambda workers: processes)
    data = DataGenerator(store, **VARIED)
    ahead = ReadAhead(data, 2, processes=True)
    for epoch in range(2):
        ahead.epoch = epoch
        for index in range(len(data)):
            np.testing.assert_array_equal(ahead[index][0], data.batch(epoch, index)[0])
    for path in store.folder.glob("*.png"):
        path.write_bytes(b"no picture")
    ahead.epoch = 2
    with pytest.raises(UserError, match=r"\.png"):
        ahead[0]
    assert isinstance(ahead.failure, UserError)


def test_labels_that_were_made_anew_are_told(store, processes):
    """As data sets of the next size are sent when a run has gone on for hours."""
    data = DataGenerator(store, **VARIED)
    content = store.path.read_bytes()
    store.path.unlink()
    store.path.write_bytes(content)
    for _ in range(2):
        with pytest.raises(UserError, match="changed while its label maps were in use"):
            processes.batch(data, 0, 0)
    fresh = DataGenerator(open_labels(store.path, store.folder), **VARIED)
    np.testing.assert_array_equal(processes.batch(fresh, 0, 0)[0], fresh.batch(0, 0)[0])


def test_only_jax_with_a_gpu_takes_processes(store, monkeypatch):
    data, threads_alone = DataGenerator(store, **VARIED), []
    monkeypatch.setattr(
        "fast.feed.ReadAhead", lambda *_, processes: threads_alone.append(processes)
    )
    for jax, gpu in [(False, "a GPU"), (True, None), (True, "a GPU")]:
        monkeypatch.setattr("fast.on_jax", lambda jax=jax: jax)
        monkeypatch.setattr("fast.feed.gpu_name", lambda gpu=gpu: gpu)
        read_ahead(data, 2)
    assert threads_alone == [False, False, True]


@pytest.mark.long
def test_a_process_ends_with_its_input(store):
    reader = Reader()
    reader.batch(DataGenerator(store, **VARIED), 0, 0)
    reader._process.stdin.close()  # as when the program that asks is killed
    assert reader._process.wait(60) == 0


@pytest.mark.long
def test_a_process_that_was_killed_is_told_with_a_cure(store):
    reader = Reader()
    reader._process.kill()
    with pytest.raises(UserError, match="--workers"):
        reader.batch(DataGenerator(store, **VARIED), 0, 0)
