"""Layers and optimizer of our own against those of Keras: the same numbers."""

import importlib
import itertools
import os
import subprocess
import sys
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from conftest import random_batch, tiny_fcn

from fast import layers
from fast.adam import FusedAdam, adam
from losses import PixelCrossEntropy


@pytest.mark.parametrize("options", [{}, {"scale": False}, {"center": False}], ids=str)
def test_fused_batch_normalisation_equals_that_of_keras(options):
    """One training step and one prediction, in float32, within 1e-5 of the stock layer."""
    random = np.random.default_rng(0)
    maps = random.normal(3, 2, (2, 5, 7, 4)).astype("float32")
    target = random.normal(0, 1, maps.shape).astype("float32")
    results = []
    for layer_type in (layers.BatchNormalization, keras.layers.BatchNormalization):
        layer = layer_type(momentum=0.9, **options)
        model = keras.Sequential([keras.Input(maps.shape[1:]), layer])
        model.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse")
        loss = model.train_on_batch(maps, target)
        results.append([loss, *model.get_weights(), model.predict_on_batch(maps)])
    for fused, stock in zip(*results, strict=True):
        np.testing.assert_allclose(fused, stock, atol=1e-5)


def test_fused_batch_normalisation_passes_the_gradient_of_keras():
    random = np.random.default_rng(1)
    maps = random.normal(0, 1, (2, 4, 4, 3)).astype("float32")
    kernels = []
    for layer_type in (layers.BatchNormalization, keras.layers.BatchNormalization):
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [keras.Input(maps.shape[1:]), keras.layers.Conv2D(5, 3), layer_type()]
        )
        model.compile(optimizer=keras.optimizers.SGD(1.0), loss="mse")
        model.train_on_batch(maps, random.normal(0, 1, (2, 2, 2, 5)) * 0 + 0.3)
        kernels.append(model.layers[0].get_weights()[0])
    np.testing.assert_allclose(kernels[0], kernels[1], atol=1e-5)


@pytest.mark.parametrize("kind", ["float32", "mixed_bfloat16"])
def test_relu_behind_batch_normalisation_equals_that_of_keras(kind):
    """Two training steps and a prediction."""
    random = np.random.default_rng(3)
    maps, target = random.normal(0, 1, (2, 3, 5, 7, 4)).astype("float32")
    results = []
    for ours in (layers, keras.layers):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((5, 7, 4))
        x = keras.layers.Conv2D(6, 3, padding="same", dtype=kind)(inputs)
        x = ours.BatchNormalization(momentum=0.9, dtype=kind)(x)
        x = ours.Activation("relu", dtype=kind)(x)
        model = keras.Model(inputs, keras.layers.Conv2D(4, 1)(x))
        model.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse")
        losses = [model.train_on_batch(maps, target) for _ in range(2)]
        results.append([losses, *model.get_weights(), model.predict_on_batch(maps)])
    for ours, stock in zip(*results, strict=True):
        np.testing.assert_allclose(ours, stock, atol=1e-5 if kind == "float32" else 2e-2)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's")
def test_rows_of_any_number_and_length(monkeypatch):
    """Maps whose size is open while TensorFlow traces; rows or wholes, the numbers are the same."""
    import tensorflow as tf

    layer = layers.BatchNormalization()
    layer.build((None, None, None, 4))
    spec = tf.TensorSpec((None, None, None, 4), tf.float32)
    maps = np.random.default_rng(6).normal(1, 2, (2, 3, 5, 4)).astype("float32")
    results = []
    for on_cpu in (True, False):
        monkeypatch.setattr(layers, "on_cpu", lambda on_cpu=on_cpu: on_cpu)
        normalise = tf.function(lambda x: layer(x, training=True)).get_concrete_function(spec)
        results.append([normalise(maps), normalise(maps[:1, :2])])
    for rows, wholes in zip(*results, strict=True):
        np.testing.assert_allclose(rows, wholes, atol=1e-5)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's")
def test_relu_joins_the_normalisation_of_rows(monkeypatch):
    """In training alone, and on a CPU; else whole maps are normalised."""
    import tensorflow as tf

    network = keras.Sequential([layers.BatchNormalization(), layers.Activation("relu")])
    maps = np.ones((2, 5, 7, 4), "float32")
    network(maps)
    rows = (10, 1, 7, 4)
    ways = ((True, True, rows), (False, True, maps.shape), (True, False, maps.shape))
    for training, on_cpu, shape in ways:
        monkeypatch.setattr(layers, "on_cpu", lambda on_cpu=on_cpu: on_cpu)
        graph = tf.function(network).get_concrete_function(maps, training=training).graph
        (relu,) = (each for each in graph.get_operations() if each.type == "Relu")
        assert relu.inputs[0].op.type == "FusedBatchNormV3"
        assert relu.inputs[0].op.inputs[0].shape == shape


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's")
def test_relu_of_what_no_normalisation_made():
    """Of maps at hand, of such that a graph holds, and of those that were reshaped otherwise."""
    import tensorflow as tf

    relu, maps = layers.Activation("relu"), tf.constant([[-1.0, 2.0]])
    for values in (relu(maps), tf.function(lambda: relu(maps))()):
        np.testing.assert_array_equal(values, [[0, 2]])
    turned = tf.function(lambda maps: relu(tf.reshape(maps, (2, 1))))
    np.testing.assert_array_equal(turned(maps), [[0], [2]])


def test_frozen_batch_normalisation_stays():
    layer = layers.BatchNormalization()
    layer.build((None, 4, 4, 3))
    layer.trainable = False
    layer(np.ones((1, 4, 4, 3), "float32"), training=True)
    np.testing.assert_array_equal(layer.moving_mean.numpy(), 0)


def assert_trains_as(ours, stock, size, **options):
    """Outputs, and all weights after a step, the input's gradient with them, within 1e-4."""
    maps = np.random.default_rng(2).normal(0, 1, (2, *size, 5)).astype("float32")
    results = []
    for layer_type in (ours, stock):
        keras.utils.set_random_seed(0)
        before = keras.layers.Conv2D(5, 1)
        layer = layer_type(7, activation="tanh", bias_initializer="normal", **options)
        model = keras.Sequential([keras.Input((*size, 5)), before, layer])
        model.compile(optimizer=keras.optimizers.SGD(10.0), loss="mse")
        first = model.predict_on_batch(maps)
        target = np.random.default_rng(3).normal(0, 1, first.shape)
        loss = model.train_on_batch(maps, target)
        results.append([first, loss, *model.get_weights()])
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("kernel_size", [1, (3, 2), 7])
@pytest.mark.parametrize(("size", "padding"), [((2, 3), "same"), ((8, 7), "valid")])
def test_a_convolution_over_few_places_equals_that_of_keras(size, padding, kernel_size):
    assert_trains_as(
        layers.Conv2D, keras.layers.Conv2D, size, kernel_size=kernel_size, padding=padding
    )


@pytest.mark.parametrize(
    ("size", "padding", "kernel_size", "rate"),
    [
        ((9, 8), "same", 3, 4),
        ((5, 4), "same", 3, 12),  # of which nothing but the value in the middle reaches the map
        ((3, 2), "same", 2, 8),  # nothing reaches it at all
        ((11, 13), "same", (4, 3), (3, 5)),
        ((15, 13), "valid", (3, 4), 4),
    ],
)
def test_an_atrous_convolution_equals_that_of_keras(size, padding, kernel_size, rate):
    options = {"kernel_size": kernel_size, "padding": padding, "dilation_rate": rate}
    assert_trains_as(layers.Conv2D, keras.layers.Conv2D, size, **options)


def test_an_atrous_convolution_is_called_by_itself_too():
    """Outside of a graph, where a kernel is a variable; and in 16 bits, summed in 32."""
    maps = np.random.default_rng(5).normal(0, 1, (2, 9, 8, 5)).astype("float32")
    options = {"kernel_size": 3, "padding": "same", "dilation_rate": 3}
    for kind, tolerance in (("float32", 1e-5), ("mixed_bfloat16", 2e-2)):
        outputs = []
        for layer_type in (layers.Conv2D, keras.layers.Conv2D):
            keras.utils.set_random_seed(0)
            outputs.append(layer_type(10, dtype=kind, **options)(maps))
        assert len({str(output.dtype) for output in outputs}) == 1
        ours, stock = (keras.ops.convert_to_numpy(keras.ops.cast(x, "float32")) for x in outputs)
        np.testing.assert_allclose(ours, stock, atol=tolerance)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's")
@pytest.mark.parametrize("size", [(9, 8), (70, 1), (2, 37)])
def test_a_convolution_of_many_channels_equals_that_of_keras(size, monkeypatch):
    """Its kernel's gradient, value by value: in training, and for 3x3 kernels in float32 alone."""
    tensorflow_ops = pytest.importorskip("fast.tensorflow_ops")
    shapes, convolve = [], tensorflow_ops.convolve_by_taps

    def count(maps, kernel):
        shapes.append(kernel.shape)
        return convolve(maps, kernel)

    monkeypatch.setattr(tensorflow_ops, "convolve_by_taps", count)
    monkeypatch.setattr(layers, "MANY_CHANNELS", 5)
    options = {"kernel_size": 3, "padding": "same"}
    assert_trains_as(layers.Conv2D, keras.layers.Conv2D, size, **options)
    assert shapes == [(3, 3, 5, 7)]  # traced once, though it predicted too
    for other in ({"kernel_size": 5}, {"padding": "valid"}, {"dilation_rate": 2}, {"strides": 2}):
        layers.Conv2D(7, **{**options, **other})(np.ones((1, 20, 20, 5)), training=True)
    layers.Conv2D(7, dtype="mixed_bfloat16", **options)(np.ones((1, 9, 9, 5)), training=True)
    layers.Conv2D(4, **options)(np.ones((1, 9, 9, 5)), training=True)
    layers.Conv2D(7, **options)(np.ones((1, 9, 9, 4)), training=True)
    assert len(shapes) == 1


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX's")
def test_a_convolution_by_products_equals_that_of_keras(monkeypatch):
    """On JAX with a CPU: kernels of 1x1, in bfloat16 those of many channels too."""
    jax_ops = importlib.import_module("fast.jax_ops")
    seen, convolve = set(), jax_ops.convolve

    def note(maps, kernel, *of):
        seen.add((maps.shape, kernel.shape))
        return convolve(maps, kernel, *of)

    monkeypatch.setattr(jax_ops, "convolve", note)
    monkeypatch.setattr(layers, "MANY_CHANNELS", 5)
    one = {"kernel_size": 1, "strides": (2, 3)}
    assert_trains_as(layers.Conv2D, keras.layers.Conv2D, (7, 8), **one)
    ours, stock = layers.Conv2DTranspose, keras.layers.Conv2DTranspose
    assert_trains_as(ours, stock, (7, 8), kernel_size=1)
    forward = {maps[1:3] for maps, kernel in seen if kernel == (1, 1, 5, 7)}
    assert forward == {(4, 3), (7, 8)}  # strides, and the transposed one
    seen.clear()
    maps = np.random.default_rng(5).normal(0, 1, (2, 9, 8, 5)).astype("float32")
    ways = {"kernel_size": 3}, {"kernel_size": (2, 4), "dilation_rate": (2, 1)}
    for way, padding in itertools.product(ways, ("same", "valid")):
        outputs = []
        for layer_type in (layers.Conv2D, keras.layers.Conv2D):
            keras.utils.set_random_seed(0)
            outputs.append(layer_type(7, padding=padding, dtype="mixed_bfloat16", **way)(maps))
        assert str(outputs[0].dtype) == "bfloat16"
        np.testing.assert_allclose(*(np.asarray(x, "float32") for x in outputs), atol=2e-2)
        assert len(seen) == 1 and seen.pop()[1] == (*np.broadcast_to(way["kernel_size"], 2), 5, 7)
    options = {"kernel_size": 3, "dtype": "mixed_bfloat16"}
    for other in ({"dtype": "float32"}, {"strides": 2}, {"groups": 5, "filters": 10}):
        layers.Conv2D(**{"filters": 7, **options, **other})(maps)
    layers.Conv2D(4, **options)(maps)
    monkeypatch.setattr(layers, "on_cpu", lambda: False)
    layers.Conv2D(7, **options)(maps)
    layers.Conv2D(7, 1)(maps)
    layers.Conv2DTranspose(7, 1)(maps)
    assert not seen


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX's")
@pytest.mark.parametrize("kernel_size", [(2, 2), (2, 3)])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_a_transposed_convolution_in_tiles_equals_that_of_keras(kernel_size, padding, monkeypatch):
    jax_ops = importlib.import_module("fast.jax_ops")
    tiles, tile = [], jax_ops.tile
    monkeypatch.setattr(jax_ops, "tile", lambda *of: tiles.append(of) or tile(*of))
    ours, stock = layers.Conv2DTranspose, keras.layers.Conv2DTranspose
    options = {"kernel_size": kernel_size, "strides": kernel_size, "padding": padding}
    assert_trains_as(ours, stock, (4, 3), **options)
    assert tiles


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX's")
@pytest.mark.parametrize("layer_type", ["Conv2D", "Conv2DTranspose"])
def test_what_is_taken_and_refused_is_that_of_keras(layer_type):
    """No pictures at all, channels first by the settings, maps of another type, and too small."""
    ours, stock = getattr(layers, layer_type), getattr(keras.layers, layer_type)
    assert ours(7, 1)(np.ones((0, 4, 3, 5))).shape == (0, 4, 3, 7)
    for kernel_size, padding, side in itertools.product((1, 3), ("same", "valid"), (1, 4)):
        if layer_type == "Conv2DTranspose" or padding == "same" or side > 1:
            layer = ours(40, kernel_size, 1, padding, dtype="mixed_bfloat16", autocast=False)
            assert layer(np.ones((1, side, side, 40), "float32")).dtype == "bfloat16"
    keras.config.set_image_data_format("channels_first")
    maps = np.random.default_rng(5).normal(0, 1, (1, 6, 8, 6))
    try:
        for form in ("channels_first", "channels_last"):
            options, outputs = {"data_format": form, "bias_initializer": "normal"}, []
            for each in (ours, stock):
                keras.utils.set_random_seed(0)
                outputs.append(each(4, 3, 2, **options)(maps))
            np.testing.assert_allclose(*outputs, atol=1e-5)
    finally:
        keras.config.set_image_data_format("channels_last")
    if layer_type == "Conv2D":
        for each in (ours, stock):
            with pytest.raises(ValueError, match="negative|too small|less than"):
                each(40, 3, dtype="mixed_bfloat16")(np.ones((1, 2, 2, 40)))


SQUARES = (2, 4, 5, 3), (3, 3, 3, 3)  # of a map, and of a kernel either way


def convolve_by_jax(maps, kernel, rates, around):
    """The convolution that `jax_ops.convolve` is, by JAX's own."""
    jax, names = pytest.importorskip("jax"), ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(
        maps, kernel, (1, 1), around, rhs_dilation=rates, dimension_numbers=names
    )


def double_by_jax(maps, kernel):
    """The transposed convolution that `jax_ops.double` is: by the values' places, added up."""
    jax = pytest.importorskip("jax")
    height, width = maps.shape[1:3]
    shares = jax.numpy.einsum("bhwc,ijfc->ijbhwf", maps, kernel)
    total = jax.numpy.zeros((len(maps), 2 * height + 1, 2 * width + 1, kernel.shape[2]))
    for row, column in np.ndindex(3, 3):
        places = slice(row, row + 2 * height, 2), slice(column, column + 2 * width, 2)
        total = total.at[:, *places].add(shares[row, column])
    return total[:, :-1, :-1]


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX's")
@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("name", "size", "options"),
    [
        ("convolve", (1, 1), [(1, 1), ((0, 0), (0, 0))]),
        ("convolve", (3, 3), [(1, 1), ((1, 1), (1, 1))]),
        ("convolve", (3, 3), [(2, 3), ((2, 2), (3, 3))]),
        ("convolve", (4, 1), [(2, 1), ((0, 6), (0, 0))]),
        ("convolve", (1, 2), [(1, 7), ((0, 0), (2, 1))]),
        ("double", (3, 3), []),
    ],
)
def test_gradients_of_convolutions_by_products(name, size, options, kind):
    """Outputs and both gradients; bfloat16 against float32 of the same numbers."""
    jax = pytest.importorskip("jax")
    ours = getattr(importlib.import_module("fast.jax_ops"), name)
    theirs = {"convolve": convolve_by_jax, "double": double_by_jax}[name]
    random = np.random.default_rng(8)
    for places in ((5, 6), (1, 7)):
        maps = jax.numpy.asarray(random.normal(0, 1, (2, *places, 3)), kind)
        kernel = jax.numpy.asarray(random.normal(0, 1, (*size, 3, 4)), kind)
        if name == "double":
            kernel = kernel.swapaxes(2, 3)
        outputs, backward = jax.vjp(lambda *of: ours(*of, *options), maps, kernel)  # noqa: B023
        exact = maps.astype("float32"), kernel.astype("float32")
        expected, back = jax.vjp(lambda *of: theirs(*of, *options), *exact)  # noqa: B023
        upstream = jax.numpy.asarray(random.normal(0, 1, outputs.shape), kind)
        found = outputs, *backward(upstream)
        expected = expected, *back(upstream.astype("float32"))
        for one, other in zip(found, expected, strict=True):
            assert one.dtype == kind
            near = {"atol": 1e-4} if kind == "float32" else {"atol": 0.03, "rtol": 0.01}
            np.testing.assert_allclose(one.astype("float32"), other, **near)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX's")
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("layer_type", [layers.Conv2D, layers.Conv2DTranspose])
def test_open_sizes_are_traced_as_that_of_keras(layer_type, padding):
    """As `jax.export` has them; in bfloat16 JAX cannot tell that "valid" leaves places."""
    jax, export = pytest.importorskip("jax"), pytest.importorskip("jax.export")
    sizes = export.symbolic_shape("b, h, w, 40", constraints=("h >= 3", "w >= 3"))
    types = ["float32", "bfloat16"][: 1 + (padding == "same")]
    for kernel_size, strides, dtype in itertools.product((1, 3), (1, 2), types):
        layer = layer_type(40, kernel_size, strides, padding, dtype=dtype)
        layer.build((None, None, None, 40))
        export.export(jax.jit(layer))(jax.ShapeDtypeStruct(sizes, dtype))


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX's")
@pytest.mark.parametrize("name", ["convolve", "double"])
def test_gradients_of_gradients_by_products(name):
    """Those of what bfloat16 is moved by as integers, which have none, are not nought."""
    jax = pytest.importorskip("jax")
    ours = getattr(importlib.import_module("fast.jax_ops"), name)
    options = {"convolve": [(1, 1), ((1, 1), (1, 1))], "double": []}[name]
    theirs = {"convolve": convolve_by_jax, "double": double_by_jax}[name]
    random = np.random.default_rng(9)
    maps, kernel = (jax.numpy.asarray(random.normal(0, 1, of), "bfloat16") for of in SQUARES)

    def curvature(function, maps, kernel):
        def loss(*of):
            return (function(*of, *options).astype("float32") ** 2).sum()

        def steepness(*of):
            return sum((x.astype("float32") ** 2).sum() for x in jax.grad(loss, (0, 1))(*of))

        return jax.grad(steepness, (0, 1))(maps, kernel)

    found = curvature(ours, maps, kernel)
    exact = curvature(theirs, maps.astype("float32"), kernel.astype("float32"))
    for one, other in zip(found, exact, strict=True):
        assert abs(one.astype("float32") - other).max() < 0.02 * abs(other).max()


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX's")
@pytest.mark.parametrize(
    ("kind", "change", "asked"),
    [
        ("bfloat16", None, True),
        ("float32", None, False),  # it takes longer so
        ("bfloat16", "devices", False),  # each would be given all rows
        ("bfloat16", "version", False),
    ],
)
def test_gradients_ask_where_rows_lie_if_it_pays(kind, change, asked, monkeypatch):
    jax, jax_ops = pytest.importorskip("jax"), importlib.import_module("fast.jax_ops")
    if change == "devices":
        monkeypatch.setattr(keras.distribution, "distribution", lambda: object())
    if change == "version":  # 0.4.38, of Intel Macs
        monkeypatch.setattr(jax_ops, "layout", SimpleNamespace(DeviceLocalLayout=object))
    for name in ("convolve", "double"):
        function = getattr(jax_ops, name)
        maps, kernel = (jax.numpy.ones(of, kind) for of in SQUARES)

        def loss(*of):
            return function(*of).astype("float32").sum()  # noqa: B023

        program = str(jax.make_jaxpr(jax.grad(loss, (0, 1)))(maps, kernel))
        assert ("layout_constraint" in program) == asked


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX's")
def test_gradients_of_a_bias_are_summed_in_float32():
    """In bfloat16 a sum of ones would stay at 256."""
    jax = pytest.importorskip("jax")
    from fast.jax_ops import add_bias

    maps, bias = jax.numpy.ones((1, 30, 30, 2), "bfloat16"), jax.numpy.ones(2, "bfloat16")
    outputs, backward = jax.vjp(add_bias, maps, bias)
    of_maps, of_bias = backward(outputs)
    assert (outputs == 2).all() and (of_maps == 2).all() and (of_bias == 1800).all()


@pytest.mark.parametrize(
    "options",
    [{"strides": 2}, {"dilation_rate": 2}, {"groups": 5}, {"groups": 5, "dilation_rate": 3}],
)
def test_other_convolutions_are_those_of_keras(options):
    maps = np.random.default_rng(4).normal(0, 1, (1, 8, 8, 5)).astype("float32")
    outputs = []
    for layer_type in (layers.Conv2D, keras.layers.Conv2D):
        keras.utils.set_random_seed(0)
        outputs.append(np.asarray(layer_type(10, 3, **options)(maps)))
    np.testing.assert_allclose(*outputs, atol=1e-5)


@pytest.mark.long
@pytest.mark.parametrize("kernel_size", [1, (3, 2), 7])
def test_a_transposed_convolution_of_one_place_equals_that_of_keras(kernel_size):
    ours, stock = layers.Conv2DTranspose, keras.layers.Conv2DTranspose
    assert_trains_as(ours, stock, (1, 1), kernel_size=kernel_size)
    for other in ({"strides": 3}, {"padding": "same"}):
        assert_trains_as(ours, stock, (1, 1), kernel_size=2, **other)


@pytest.mark.long
@pytest.mark.parametrize("gpu", [None, "a GPU"])
@pytest.mark.parametrize("size", [(4, 6), (5, 3), (1, 1)])
def test_transposed_convolution_equals_that_of_keras(size, gpu, monkeypatch):
    """Outputs, the gradients of kernel, bias and input, in float32, within 1e-4.

    With a GPU by the phases that JAX takes there, on every backend.
    """
    if gpu:
        monkeypatch.setattr(layers, "on_cpu", lambda: False)
        monkeypatch.setattr(layers.fast, "on_jax", lambda: True)
        monkeypatch.setattr(layers.fast, "on_tensorflow", lambda: False)
    phases, double = [], layers.double
    monkeypatch.setattr(layers, "double", lambda *of: phases.append(of) or double(*of))
    ours, stock = layers.Conv2DTranspose, keras.layers.Conv2DTranspose
    assert_trains_as(ours, stock, size, kernel_size=3, strides=2, padding="same")
    assert bool(phases) == bool(gpu)


@pytest.mark.parametrize("size", [(4, 6), (5, 3), (1, 1)])
def test_a_transposed_convolution_in_phases_is_one(size):
    """The way of JAX, which every backend can go: equal to the sum by its definition."""
    random = np.random.default_rng(7)
    maps = random.normal(0, 1, (2, *size, 3))
    kernel = random.normal(0, 1, (3, 3, 4, 3))
    height, width = size
    # Every value of the map adds its multiple of the kernel; the last row and column are cut off.
    expected = np.zeros((2, 2 * height + 1, 2 * width + 1, 4))
    for row in range(height):
        for column in range(width):
            share = np.einsum("bc,ijfc->bijf", maps[:, row, column], kernel)
            expected[:, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3] += share
    arrays = (keras.ops.convert_to_tensor(array, "float32") for array in (maps, kernel))
    phases = keras.ops.convert_to_numpy(layers.double(*arrays))
    np.testing.assert_allclose(phases, expected[:, :-1, :-1], atol=1e-5)


@pytest.mark.parametrize("options", [{"kernel_size": 1}, {"kernel_size": 3, "strides": 1}])
def test_other_transposed_convolutions_are_those_of_keras(options):
    maps = np.random.default_rng(4).normal(0, 1, (1, 4, 4, 3)).astype("float32")
    outputs = []
    for layer_type in (layers.Conv2DTranspose, keras.layers.Conv2DTranspose):
        keras.utils.set_random_seed(0)
        outputs.append(np.asarray(layer_type(2, padding="same", **options)(maps)))
    np.testing.assert_allclose(*outputs, atol=1e-5)


def test_adam_equals_that_of_keras():
    """Ten steps at changing rates leave weights and slots within 1e-5 of the stock optimizer."""
    random = np.random.default_rng(5)
    inputs, targets = random.normal(0, 1, (8, 3)), random.normal(0, 1, (8, 2))
    states = []
    for build in (adam, keras.optimizers.Adam):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        model.compile(optimizer=build(0.1), loss="mse")
        for step in range(10):
            model.optimizer.learning_rate = 0.1 / (step + 1)
            model.train_on_batch(inputs, targets)
        states.append([*model.get_weights(), *(v.numpy() for v in model.optimizer.variables)])
    for ours, stock in zip(*states, strict=True):
        np.testing.assert_allclose(ours, stock, atol=1e-5)


@pytest.mark.long
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's")
def test_all_of_it_by_onednn():
    """This file again as users' processes are: the tests' own have one thread, and no oneDNN."""
    variables = os.environ | {"TF_ENABLE_ONEDNN_OPTS": "1", "TF_NUM_INTRAOP_THREADS": "2"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-m", "not long", __file__]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]


def test_the_fast_path_trains_as_the_plain_one(plain):
    """A training step of the network in float32: loss and new weights within 1e-5."""
    pictures, labels = random_batch((33, 47), seed=6)
    results = []
    for way in (lambda: None, plain):
        way()
        fcn = tiny_fcn((33, 47), backbone="resnet11v2", layers=2, seed=0)
        # Plain descent: Adam turns rounding errors of gradients near zero into whole steps.
        fcn.compile(keras.optimizers.SGD(0.01), PixelCrossEntropy(), run_eagerly=True)
        results.append([fcn.train_on_batch(pictures, labels), *fcn.get_weights()])
    for ours, stock in zip(*results, strict=True):
        np.testing.assert_allclose(ours, stock, atol=1e-5)


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="no fast path there")
@pytest.mark.parametrize("on", [True, False])
def test_the_switch_is_one_for_all(on, plain, monkeypatch):
    """The fused normalisation, the own gradient and the fused update: all are called, or none."""
    taken = set()

    def watch(owner, name):
        way = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *a, **o: taken.add(name) or way(*a, **o))

    operations = importlib.import_module(f"fast.{keras.backend.backend()}_ops")
    ways = [(operations, "double"), (operations, "normalise")]
    if keras.backend.backend() == "tensorflow":
        ways += [(operations, "relu"), (FusedAdam, "update_step")]
    else:
        ways += [(operations, "convolve"), (operations, "add_bias")]
    for way in ways:
        watch(*way)
    if not on:
        plain()
    fcn = tiny_fcn(backbone="resnet11v2")
    fcn.compile(adam(1e-3), PixelCrossEntropy(), run_eagerly=True)
    fcn.train_on_batch(*random_batch(number=1))
    assert taken == ({name for _, name in ways} if on else set())
