"""Muon: what a step is made of, held against its definition in NumPy."""

import re

import keras
import numpy as np
import pytest
from conftest import tiny_fcn

from engine import muon
from engine.muon import QUINTIC, Muon, kernel_to_matrix, matrix_to_kernel, orthogonalise
from engine.records import OPTIONS, RATES
from engine.trainer import OPTIMIZERS


def random_kernel(shape, seed=0):
    return np.random.default_rng(seed).normal(0, 1, shape).astype("float32")


def newton_schulz(matrix, steps=5):
    """The iteration as Jordan writes it."""
    a, b, c = QUINTIC
    x = matrix / np.linalg.norm(matrix)
    for _ in range(steps):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x


@pytest.mark.parametrize("shape", [(9, 4), (64, 64), (144, 16)])
def test_the_short_way_equals_the_iteration(shape):
    matrix = random_kernel(shape)
    result = np.asarray(orthogonalise([keras.ops.convert_to_tensor(matrix)])[0])
    np.testing.assert_allclose(result, newton_schulz(matrix), atol=1e-4)


def test_singular_values_become_one_and_vectors_stay():
    """Also for a matrix whose singular values differ a hundredfold."""
    left, _, right = np.linalg.svd(random_kernel((40, 8)), full_matrices=False)
    matrix = (left * np.geomspace(1, 0.01, 8)) @ right
    matrix = keras.ops.convert_to_tensor(matrix.astype("float32"))
    result = np.asarray(orthogonalise([matrix])[0])
    values = left.T @ result @ right.T
    np.testing.assert_allclose(values - np.diag(np.diag(values)), 0, atol=1e-4)
    assert 0.4 < np.diag(values).min() and np.diag(values).max() < 1.3


def test_a_gradient_of_zero_stays_zero():
    assert not np.asarray(orthogonalise([keras.ops.zeros((6, 3))])[0]).any()


@pytest.mark.parametrize("shape", [(3, 3, 8, 16), (3, 3, 16, 8), (1, 1, 8, 8)])
def test_kernels_and_matrices(shape):
    """A column of the matrix is a channel of the narrower side, and the way back is exact."""
    kernel = random_kernel(shape)
    matrix = np.asarray(kernel_to_matrix(keras.ops.convert_to_tensor(kernel)))
    assert matrix.shape == (shape[0] * shape[1] * max(shape[2:]), min(shape[2:]))
    first = kernel[:, :, 0, :] if shape[2] < shape[3] else kernel[:, :, :, 0]
    np.testing.assert_array_equal(matrix[:, 0], first.ravel())
    back = np.asarray(matrix_to_kernel(keras.ops.convert_to_tensor(matrix), shape))
    np.testing.assert_array_equal(back, kernel)


def test_two_steps_by_hand():
    """Momentum 0.95 as Nesterov has it; the entries of a step have a size near 0.2 rate."""
    start = random_kernel((3, 3, 8, 16))
    kernel = keras.Variable(start)
    optimizer = Muon(0.01)
    momentum, expected = np.zeros_like(start), start.copy()
    for seed in (1, 2):
        gradient = random_kernel(start.shape, seed)
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [kernel])
        momentum = 0.95 * momentum + gradient
        update = gradient + 0.95 * momentum
        matrix = update.transpose(0, 1, 3, 2).reshape(-1, 8)  # (144, 8)
        step = newton_schulz(matrix).reshape(3, 3, 16, 8).transpose(0, 1, 3, 2)
        expected -= 0.01 * 0.2 * 12 * step
        assert 0.6 < 12 * np.sqrt(np.mean(step**2)) < 1.2
    np.testing.assert_allclose(keras.ops.convert_to_numpy(kernel), expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(16,), (3, 3, 3, 16), (1, 1, 4, 16), (4, 4)])
def test_all_but_inner_kernels_are_adams(shape):
    start = random_kernel(shape)
    results = []
    for optimizer in (Muon(0.01), keras.optimizers.Adam(0.01)):
        variable = keras.Variable(start)
        for seed in (1, 2, 3):
            gradient = keras.ops.convert_to_tensor(random_kernel(shape, seed))
            optimizer.apply([gradient], [variable])
        results.append(keras.ops.convert_to_numpy(variable))
    np.testing.assert_allclose(*results, atol=1e-6)


def test_many_classes_leave_the_last_layer_to_adam():
    """The trainer tells Muon which layer that is; by itself it knows no layer's name."""
    fcn = tiny_fcn((32, 32), n_classes=12, backbone="resnet20v2", layers=3, filters=8)
    kernels = [v.path for v in fcn.trainable_variables if len(v.shape) == 4]
    first, last = kernels[0], kernels[-1]
    assert "pre_activation" in last
    for optimizer, expected in ((OPTIMIZERS["muon"](6e-3), [first, last]), (Muon(), [first])):
        adams = [v.path for v in fcn.trainable_variables if optimizer._should_use_adamw(v)]
        assert [path for path in kernels if path in adams] == expected


@pytest.mark.parametrize("shape", [(16,), (3, 3, 8, 16), (3, 3, 16, 8)])
def test_the_fast_path_equals_the_plain_one(shape, plain):
    results = []
    for way in (lambda: None, plain):
        way()
        # Two of the shape and one of another: squares of one size go together.
        shapes = [shape, (1, 1, 8, 8), shape]
        variables = [keras.Variable(random_kernel(s, 10 + n)) for n, s in enumerate(shapes)]
        optimizer = Muon(0.01)
        for seed in (1, 2, 3):
            gradients = [random_kernel(s, seed + 3 * n) for n, s in enumerate(shapes)]
            optimizer.apply([keras.ops.convert_to_tensor(g) for g in gradients], variables)
        results.append([keras.ops.convert_to_numpy(variable) for variable in variables])
    for fast_one, plain_one in zip(*results, strict=True):
        np.testing.assert_allclose(fast_one, plain_one, atol=1e-5)


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="no fast path there")
def test_squares_of_one_size_go_together(monkeypatch):
    sizes, way = [], muon._factors
    monkeypatch.setattr(muon, "_factors", lambda s: sizes.append(tuple(s.shape)) or way(s))
    shapes = [(3, 3, 8, 16), (1, 1, 16, 16), (1, 1, 8, 8), (16,)]
    gradients = [keras.ops.convert_to_tensor(random_kernel(shape)) for shape in shapes]
    Muon(0.01).apply(gradients, [keras.Variable(random_kernel(shape, 1)) for shape in shapes])
    assert sorted(sizes) == [(1, 16, 16), (2, 8, 8)]


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX alone rounds by itself")
def test_no_factor_is_rounded_before_it_is_multiplied():
    import jax

    program = str(jax.make_jaxpr(lambda x: orthogonalise([x])[0])(random_kernel((6, 3))))
    products = re.findall(r"dot_general\[(.*?)\] ", program, re.DOTALL)
    assert len(products) == 22  # x'x, four a step, and x with what orthogonalises it
    assert all("HIGHEST" in product for product in products)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="a strategy of TensorFlow")
def test_replicas_sum_their_gradients(monkeypatch):
    """Else each would take the step of its own share: Keras has to see the gradients first."""
    import tensorflow as tf

    seen, strategy = [], tf.distribute.OneDeviceStrategy("/cpu:0")
    with strategy.scope():
        kernel, optimizer = keras.Variable(random_kernel((3, 3, 8, 16))), Muon(0.01)
        optimizer.build([kernel])
    reduce = optimizer._all_reduce_sum_gradients
    monkeypatch.setattr(
        optimizer, "_all_reduce_sum_gradients", lambda pairs: seen.append(pairs) or reduce(pairs)
    )
    gradient = tf.constant(random_kernel((3, 3, 8, 16), 1))
    strategy.run(lambda: optimizer.apply([gradient], [kernel]))
    assert len(seen) == 1
    assert not np.array_equal(keras.ops.convert_to_numpy(kernel), random_kernel((3, 3, 8, 16)))


def test_a_compiled_step_is_the_eager_one():
    """Keras traces it, on TensorFlow and on JAX, where a tensor cannot be gone through."""
    results = []
    for eagerly in (False, True):
        keras.utils.set_random_seed(0)
        convolutions = [keras.layers.Conv2D(8, 3) for _ in range(3)]
        model = keras.Sequential([keras.Input((12, 12, 8)), *convolutions])
        model.compile(Muon(0.01), "mse", run_eagerly=eagerly)
        rng = np.random.default_rng(0)
        model.train_on_batch(rng.normal(size=(2, 12, 12, 8)), rng.normal(size=(2, 6, 6, 8)))
        results.append(model.get_weights())
    for compiled, eager in zip(*results, strict=True):
        np.testing.assert_allclose(compiled, eager, atol=1e-5)


def test_an_optimizer_is_chosen_by_name_and_saved():
    assert isinstance(OPTIMIZERS["muon"](1e-2), Muon)
    assert isinstance(OPTIMIZERS["adam"](1e-2), keras.optimizers.Adam)
    assert OPTIONS["optimizer"]["parser"]["choices"] == tuple(OPTIMIZERS) == tuple(RATES)
    copy = keras.optimizers.deserialize(keras.optimizers.serialize(Muon(0.02)))
    assert isinstance(copy, Muon) and float(copy.learning_rate) == pytest.approx(0.02)
    assert copy.weight_decay is None and copy.adam_weight_decay is None


@pytest.mark.parametrize(
    ("shape", "by_adam"),
    [
        ((3, 3, 3, 64), True),  # the first: three channels
        ((3, 3, 512, 512), False),
        ((1, 1, 1024, 2048), False),
        ((1, 1, 4096, 4096), True),  # "fc7" of VGG16
        ((64,), True),
    ],
)
def test_what_is_left_to_adam(shape, by_adam):
    assert Muon()._should_use_adamw(keras.Variable(np.zeros(shape, "float32"))) is by_adam
