"""What a session hands to the loop."""

from types import SimpleNamespace

import pytest

from engine.records import Data, Network, Run
from engine.session import Session


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize(("backend", "expected"), [("jax", [3, 3, 3]), ("tensorflow", [3, 3, 1])])
def test_where_a_size_is_compiled_for_an_epoch_ends_with_a_whole_batch(
    backend, expected, store, monkeypatch
):
    """Of seven pictures; on JAX the next epoch goes on where this one ends."""
    keras = SimpleNamespace(backend=SimpleNamespace(backend=lambda: backend))
    monkeypatch.setattr("engine.session.keras", keras)
    network = Network("toy", (32, 32, 3), store.classes, {})
    data = Data(batch_size=3, augment="none", workers=1)
    keys = store.keys
    session = Session(network, data, Run(), store, keys, store, keys, None, [], None)
    train, validation = session.generators((32, 32))
    assert [len(train[index][0]) for index in range(len(train))] == expected
    assert sum(len(pictures) for pictures, _ in validation) == 7
