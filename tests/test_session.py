"""What a session hands to the loop."""

from types import SimpleNamespace

import numpy as np
import pytest

from engine.records import Data, Network, Run
from engine.session import Session
from utils.border_weights import border_weights


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


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize("loss", ["entropy", "border"])
def test_the_loss_of_borders_has_its_weights_in_the_batches_of_training(loss, store):
    network = Network("toy", (32, 32, 3), store.classes, {})
    data, run = Data(batch_size=3, augment="none", workers=1), Run(loss=loss)
    keys, class_weights = store.keys, np.array([0.5, 2.0, 3.0])
    session = Session(network, data, run, store, keys, store, keys, class_weights, [], None)
    train, validation = session.generators((32, 32))
    _, labels, *weights = train[0]
    if loss == "entropy":
        assert not weights
    else:
        expected = [border_weights(each, class_weights) for each in labels]
        np.testing.assert_array_equal(weights, [expected])
    assert len(validation[0]) == 2
