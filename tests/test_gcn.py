"""GCN: exact counts, kernels that are products of columns and rows, and how global they are."""

import keras
import numpy as np
import pytest
from conftest import count, from_corners, hollow, learnt_by_heart, predict, random_batch

import zoo
from tools.summary import stages, trace
from utils.errors import UserError
from zoo.gcn import build_gcn, large_kernel, refine_boundaries
from zoo.resnet_v1 import RESNET50, RESNET101

TRUNK = {RESNET50: 23_508_032, RESNET101: 42_500_160}
STATISTICS = {RESNET50: 53_120, RESNET101: 105_344}
TINY = {"width": 4, "blocks": (1, 1, 1, 1)}
ROWS = [name for name in zoo.MODELS if name.startswith("gcn")]


def noise(*shape):
    return np.random.default_rng(0).normal(0, 1, shape).astype("float32")


def module(kernel, size, channels, classes):
    """The large kernel alone, from maps (*size, channels), with kernels that are not small."""
    inputs = keras.Input((*size, channels))
    model = keras.Model(inputs, large_kernel(inputs, classes, kernel, "kernel"))
    random = np.random.default_rng(1)
    for weight in model.weights:
        if len(weight.shape) == 4:
            weight.assign(random.normal(0, 0.5, weight.shape))
    return model


def branch(model, name):
    return keras.Model(model.input, model.get_layer(f"kernel_{name}_conv2").output)


def as_one_kernel(model, name):
    """The full kernel (k, k, in, out) that a branch amounts to."""
    layers = [model.get_layer(f"kernel_{name}_conv{number}") for number in (1, 2)]
    column, row = (keras.ops.convert_to_numpy(layer.kernel) for layer in layers)
    if name == "row":
        return np.einsum("cim,rmo->rcio", column[0], row[:, 0])
    return np.einsum("rim,cmo->rcio", column[:, 0], row[0])


# Counts


def modules(classes, kernel=15, channels=(256, 512, 1024, 2048)):
    one = [kernel * n * classes + classes + kernel * classes**2 + classes for n in channels]
    return 2 * sum(one)


@pytest.mark.parametrize("blocks", [RESNET50, RESNET101])
@pytest.mark.parametrize(("classes", "size"), [(21, (64, 96)), (4, (101, 77))])
def test_parameters(classes, size, blocks):
    refining = 2 * (9 * classes**2 + classes)
    if classes == 21:
        assert (modules(21), refining, 9 * refining) == (2_472_456, 7_980, 71_820)
    model = hollow(lambda: build_gcn((*size, 3), classes, blocks=blocks))
    trained = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert trained == TRUNK[blocks] + modules(classes) + 9 * refining
    if classes == 21 or blocks == RESNET50:
        known = {(21, RESNET50): 26_052_308, (21, RESNET101): 45_044_436}
        assert trained == (known | {(4, RESNET50): 23_973_480})[classes, blocks]
    assert model.count_params() == trained + STATISTICS[blocks]


@pytest.mark.long
def test_parameters_on_resnet152():
    model = hollow(lambda: build_gcn((64, 96, 3), 21, blocks=(3, 8, 36, 3)))
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == 60_688_084


@pytest.mark.parametrize("kernel", [3, 7, 11, 15])
def test_a_large_kernel_has_two_kths_of_the_parameters_of_a_full_one(kernel):
    ours = count(lambda: module(kernel, (2, 2), 2048, 21))
    assert ours == modules(21, kernel, (2048,))
    full = kernel**2 * 2048 * 21 + 21
    assert ours / full == pytest.approx(2 / kernel, rel=0.015)
    if kernel == 15:
        assert (ours, full) == (1_303_554, 9_676_821)


@pytest.mark.long
@pytest.mark.parametrize("name", ROWS)
def test_summary_knows_every_layer(name):
    model = hollow(lambda: zoo.build(name, (64, 96, 3), 4, {}))
    assert sum(row["parameters"] for row in stages(model)) == zoo.MODELS[name].parameters
    # A kernel on the map at 1/32 adds as many of its cells to the field.
    field = {call.layer.name: call.reach.field for call in trace(model)[0]}
    kernel = zoo.defaults(name)["kernel"]
    backbone = field["conv5_block3_out"]
    assert field["gcn5_kernel_sum"] - backbone == 32 * (kernel - 1)


@pytest.mark.parametrize("kernel", [-1, 0, 2, 14])
def test_a_kernel_without_a_middle_is_refused(kernel):
    for refused in (
        lambda: build_gcn((32, 32, 3), 3, kernel=kernel),
        lambda: zoo.complete("gcn", {"kernel": kernel}),
    ):
        with pytest.raises(UserError, match=f"kernel {kernel}: a GCN has an odd one from 1 up"):
            refused()
    assert zoo.complete("gcn", {"kernel": 1})["kernel"] == 1


# The large kernel


def test_a_branch_on_one_channel_is_an_outer_product():
    """So what an impulse leaves behind is a matrix of rank 1, of both branches together 2."""
    model = module(5, (9, 9), 1, 1)
    impulse = np.zeros((1, 9, 9, 1), "float32")
    impulse[0, 4, 4] = 1
    for name in ("column", "row"):
        found = predict(branch(model, name), impulse)[0, 2:7, 2:7, 0]
        kernel = as_one_kernel(model, name)[:, :, 0, 0]
        np.testing.assert_allclose(found, kernel[::-1, ::-1], atol=1e-6)
        assert np.linalg.matrix_rank(found, tol=1e-5) == 1
    assert np.linalg.matrix_rank(predict(model, impulse)[0, :, :, 0], tol=1e-5) == 2


def test_a_branch_is_one_convolution_of_a_rank_of_as_many_as_there_are_classes():
    """No nonlinearity in between, and no difference at the border."""
    model, x = module(7, (10, 12), 4, 2), noise(2, 10, 12, 4)
    total = 0
    for name in ("column", "row"):
        kernel = as_one_kernel(model, name)
        assert kernel.shape == (7, 7, 4, 2)
        ranks = {np.linalg.matrix_rank(kernel[:, :, i, o]) for i in range(4) for o in range(2)}
        assert ranks == {2}
        expected = keras.ops.convert_to_numpy(keras.ops.conv(x, kernel, padding="same"))
        np.testing.assert_allclose(predict(branch(model, name), x), expected, atol=1e-4)
        total = total + expected
    np.testing.assert_allclose(predict(model, x), total, atol=1e-4)


@pytest.mark.parametrize(("kernel", "centre", "corner"), [(15, 15, 8), (29, 16, 15), (31, 16, 16)])
def test_how_global_a_kernel_is_on_the_map_of_16x16(kernel, centre, corner):
    """Rows and columns that reach a place; the paper's 15 is not quite global."""
    model = module(kernel, (16, 16), 1, 1)
    for weight in model.weights:
        weight.assign(np.ones(weight.shape) if len(weight.shape) == 4 else np.zeros(weight.shape))
    lines = np.zeros((32, 16, 16, 1), "float32")
    lines[np.arange(16), np.arange(16)] = 1  # a row each
    lines[np.arange(16, 32), :, np.arange(16)] = 1  # a column each
    found = predict(model, lines)[..., 0] > 0
    for seen in (found[:16], found[16:]):
        assert (seen[:, 8, 8].sum(), seen[:, 0, 0].sum()) == (centre, corner)


def test_the_map_of_the_papers_pictures_is_16x16():
    model = hollow(lambda: build_gcn((512, 512, 3), 21))
    assert model.get_layer("gcn5_kernel_sum").output.shape == (None, 16, 16, 21)


# Boundaries, and how scores are put together


def test_a_refinement_adds_a_correction():
    inputs = keras.Input((7, 9, 3))
    model, x = keras.Model(inputs, refine_boundaries(inputs, "refine")), noise(2, 7, 9, 3)
    first, second = (model.get_layer(f"refine_conv{number}") for number in (1, 2))
    second.kernel.assign(noise(3, 3, 3, 3))
    inner = keras.ops.relu(keras.ops.conv(x, first.kernel, padding="same"))
    correction = keras.ops.conv(inner, second.kernel, padding="same")
    expected = x + keras.ops.convert_to_numpy(correction)
    np.testing.assert_allclose(predict(model, x), expected, atol=1e-5)
    for weight in model.weights:
        weight.assign(np.zeros(weight.shape))
    np.testing.assert_array_equal(predict(model, x), x)


def test_nine_places_are_refined():
    model = hollow(lambda: build_gcn((64, 96, 3), 3))
    firsts = [layer for layer in model.layers if layer.name.endswith(("refine_conv1", "sum_conv1"))]
    assert [layer.output.shape[1:] for layer in firsts] == [
        *[(2, 3, 3)],
        *[(4, 6, 3)] * 2,  # the scores of the map, and the sum
        *[(8, 12, 3)] * 2,
        *[(16, 24, 3)] * 2,
        *[(32, 48, 3), (64, 96, 3)],
    ]


@pytest.mark.long
@pytest.mark.parametrize("level", [5, 4, 3, 2])
def test_scores_of_a_map_are_enlarged_and_added(level):
    """Of one map alone, and with nothing refined, they are the answer, resized step by step."""
    keras.utils.set_random_seed(0)
    model = build_gcn((64, 96, 3), 3, kernel=3, **TINY)
    for layer in model.layers:
        if layer.name.endswith("_conv2") or layer.name == "pre_activation":
            alone = layer.name.startswith(f"gcn{level}_kernel")
            shape = layer.kernel.shape
            layer.kernel.assign(noise(*shape) if alone else np.zeros(shape))
    pictures, _ = random_batch((64, 96))
    scores, answer = predict(
        keras.Model(model.input, [model.get_layer(f"gcn{level}_kernel_sum").output, model.output]),
        pictures,
    )
    assert scores.shape == (2, 64 >> level, 96 >> level, 3)
    for _ in range(level):
        scores = from_corners(scores, 2)
    expected = keras.ops.softmax(scores)
    np.testing.assert_allclose(answer, keras.ops.convert_to_numpy(expected), atol=1e-5)
    assert np.ptp(answer) > 0.01


@pytest.mark.long
def test_it_learns_a_batch_by_heart():
    keras.utils.set_random_seed(0)
    model = build_gcn((32, 48, 3), 3, **TINY | {"width": 8})
    assert learnt_by_heart(model, rate=0.05, steps=30) > 0.9
