"""Answers left on the device: the numbers of `predict_on_batch`."""

import keras
import numpy as np
import pytest
from conftest import disturbed, random_batch, tiny_fcn

from fast.forward import forward


@pytest.mark.long
@pytest.mark.parametrize("several", [False, True])
def test_the_answers_are_those_of_predict_on_batch(several, plain):
    model = disturbed(tiny_fcn(seed=0))
    if several:
        model = keras.Model(model.input, [model.output, 1 - model.output])
    pictures = random_batch(number=3)[0]
    for way in (lambda: None, plain):
        way()
        forward.cache_clear()
        for batch in (pictures, pictures[:1], pictures[1:]):  # fewer than before as well
            expected, outputs = model.predict_on_batch(batch), forward(model)(batch)
            if not several:
                expected, outputs = [expected], [outputs]
            for one, other in zip(expected, outputs, strict=True):
                assert one.shape == tuple(other.shape)
                np.testing.assert_allclose(keras.ops.convert_to_numpy(other), one, atol=1e-6)


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="there they come to the host")
def test_the_answers_stay_on_the_device():
    assert keras.ops.is_tensor(forward(tiny_fcn())(random_batch(number=1)[0]))


def test_later_weights_are_seen():
    model, pictures = tiny_fcn(seed=0), random_batch(number=1)[0]
    before = keras.ops.convert_to_numpy(forward(model)(pictures))
    disturbed(model)
    after = keras.ops.convert_to_numpy(forward(model)(pictures))
    assert np.abs(before - after).max() > 1e-3
    np.testing.assert_allclose(after, model.predict_on_batch(pictures), atol=1e-6)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="XLA compiles for every shape")
def test_fewer_pictures_are_not_compiled_for(caplog):
    import jax

    model, pictures = tiny_fcn(seed=0), random_batch(number=3)[0]
    predict = forward(model)
    predict(pictures)
    with jax.log_compiles():
        predict(pictures[:2])
    assert not [r for r in caplog.records if "Compiling" in r.message and "call" in r.message]
