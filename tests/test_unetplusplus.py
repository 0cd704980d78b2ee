"""UNet++ and its relatives: exact counts, pruning, what the heads reach, supervision."""

import keras
import numpy as np
import pytest
from conftest import assert_same, count, disturbed, predict, random_batch

import zoo
from fast.adam import adam
from losses import PixelCrossEntropy
from utils.errors import UserError
from zoo.supervision import DeeplySupervised
from zoo.unetplusplus import build_unetplusplus

WHOLE = ("all", "last", "encoder")
FULL = {"depth": 4, "supervised": True}


def tiny(size=(33, 47), n_classes=3, seed=0, **settings):
    keras.utils.set_random_seed(seed)
    return build_unetplusplus((*size, 3), n_classes, **{"width": 2} | settings)


def jit():
    return keras.backend.backend() == "jax"


# Counts: in the order of depth 1, 2, 3, 4, from pictures of one channel to one class


@pytest.mark.parametrize(
    ("nodes", "counts"),
    [
        ("all", (100_961, 511_105, 2_204_961, 9_041_601)),
        ("last", (100_961, 501_889, 2_140_449, 8_728_257)),
        ("one", (100_961, 465_953, 1_925_025, 7_759_521)),
    ],
)
def test_counts_with_one_head(nodes, counts):
    for depth, parameters in enumerate(counts, 1):
        settings = {"nodes": nodes, "depth": depth, "supervised": False}
        assert count(lambda s=settings: build_unetplusplus((64, 96, 1), 1, **s)) == parameters


def test_counts_with_four_heads():
    for nodes, parameters in (("all", 9_041_700), ("last", 8_728_356), ("encoder", 8_728_356)):
        assert count(lambda n=nodes: build_unetplusplus((48, 64, 1), 1, nodes=n)) == parameters


def test_other_counts_of_the_literature():
    one = {"supervised": False}
    assert count(lambda: build_unetplusplus((64, 64, 3), 1, **one)) == 9_042_177
    assert count(lambda: build_unetplusplus((64, 64, 3), 21, **one)) == 9_042_837
    assert count(lambda: build_unetplusplus((64, 64, 3), 21)) == 9_044_916
    # The wide U-Net of the paper; its 9.13 million are not those of its channels.
    wide = {"width": 35, "nodes": "one", "supervised": False}
    assert count(lambda: build_unetplusplus((64, 64, 1), 1, **wide)) == 9_282_246


def test_parameters_by_hand():
    def two(a, b):
        return 9 * a * b + b + 9 * b * b + b

    channels = (32, 64, 128, 256, 512)
    encoder = two(3, 32) + sum(two(b // 2, b) for b in channels[1:])

    def others(inputs_of):
        """All X^{i,j} with j > 0, of which each takes so many others of its level."""
        return sum(
            two((inputs_of(j) + 1) * b, b) + 8 * b * b + b
            for i, b in enumerate(channels)
            for j in range(1, 5 - i)
        )

    heads = 4 * (32 * 4 + 4)
    assert encoder + others(lambda j: j) + heads == 9_042_672
    assert encoder + others(lambda j: 1) + heads == 8_729_328
    for name in ("unetplusplus", "unetplus", "unet-e"):
        model_of = lambda n=name: zoo.build(n, (64, 64, 3), 4, {})  # noqa: E731
        assert count(model_of) == zoo.MODELS[name].parameters


def test_of_depth_1_all_are_one_network():
    """Weights go from one to the other, and the answers are the same."""
    pictures, _ = random_batch((33, 47))
    models = [tiny(depth=1, nodes=nodes, supervised=False) for nodes in (*WHOLE, "one")]
    answers = []
    for model in models:
        assert count(lambda n=model: n) == models[0].count_params()
        model.set_weights(models[0].get_weights())
        answers.append(predict(model, pictures))
    assert_same(answers, [answers[0]] * 4)


# Nodes


def test_what_each_node_is_made_from():
    """X^{0,3}, whose level has three others before it."""
    made_from = {"all": ("x00", "x01", "x02"), "last": ("x02",), "encoder": ("x00",)}
    for nodes, expected in made_from.items():
        inputs = tiny(nodes=nodes).get_layer("x03_concat").input
        before = [f"{name}_2_conv" for name in expected]
        assert [each._keras_history.operation.name for each in inputs] == [*before, "x03_tconv"]
        assert inputs[-1]._keras_history.operation.input._keras_history.operation.name == (
            "x12_2_conv"
        )


def test_there_are_15_nodes_and_of_a_u_net_9():
    def nodes(model):
        return sorted(each.name[:3] for each in model.layers if each.name.endswith("_1_conv"))

    whole = sorted(f"x{i}{j}" for i in range(5) for j in range(5 - i))
    assert all(nodes(tiny(nodes=each)) == whole and len(whole) == 15 for each in WHOLE)
    path = [f"x{i}0" for i in range(5)] + [f"x{i}{4 - i}" for i in range(4)]
    assert nodes(tiny(nodes="one", supervised=False)) == sorted(path)


# Pruning


@pytest.mark.long
@pytest.mark.parametrize("size", [(32, 48), (33, 47)])
@pytest.mark.parametrize("nodes", WHOLE)
def test_cut_off_it_is_its_head_bit_for_bit(nodes, size):
    """At odd sizes too: both pad to 16. A UNet-e cut off is a U-Net."""
    pictures, _ = random_batch(size)
    whole = disturbed(tiny(size, nodes=nodes))
    outputs = predict(whole, pictures)
    for depth in (1, 2, 3, 4):
        part = {"depth": depth, "supervised": False, "nodes": nodes}
        part = tiny(size, seed=depth, **part | ({"nodes": "one"} if nodes == "encoder" else {}))
        for layer in [each for each in part.layers if each.weights]:
            layer.set_weights(whole.get_layer(layer.name).get_weights())
        np.testing.assert_array_equal(predict(part, pictures), outputs[depth])
    different = [np.abs(outputs[depth] - outputs[4]).max() for depth in (0, 1, 2, 3)]
    assert min(different) > 1e-3


def test_the_answer_is_the_mean_of_the_heads():
    pictures, _ = random_batch((33, 47))
    answer, *heads = predict(tiny(), pictures)
    assert len(heads) == 4
    np.testing.assert_allclose(answer, np.mean(heads, axis=0), atol=1e-6)
    np.testing.assert_allclose(answer.sum(-1), 1, atol=1e-5)
    assert all(each.shape == (2, 33, 47, 3) and each.dtype == np.float32 for each in heads)


# What the heads reach


def moved(model, head):
    """The layers that a step changes when one head, counted from 1, is told what is right."""
    pictures, labels = random_batch((32, 48))
    alone = keras.Model(model.input, model.outputs[head])
    before = {each.name: each.get_weights() for each in alone.layers if each.weights}
    before |= {each.name: each.get_weights() for each in model.layers if each.weights}
    alone.compile(keras.optimizers.SGD(1.0), PixelCrossEntropy(), run_eagerly=True)
    alone.train_on_batch(pictures, labels)
    return {
        name
        for name, old in before.items()
        if any(
            np.abs(a - b).max() > 0
            for a, b in zip(old, model.get_layer(name).get_weights(), strict=True)
        )
    }


@pytest.mark.parametrize("nodes", WHOLE)
def test_the_last_head_reaches_the_shallower_u_nets_or_does_not(nodes):
    """In UNet-e X^{0,1} to X^{0,3} hear of nothing but their own heads, which must be there."""
    changed = moved(disturbed(tiny((32, 48), nodes=nodes)), 4)
    shallower = {f"x0{j}_{number}_conv" for j in (1, 2, 3) for number in (1, 2)}
    assert {"x00_1_conv", "x40_2_conv", "x04_2_conv", "pre_activation_4"} <= changed
    assert not changed & {"pre_activation", "pre_activation_2", "pre_activation_3"}
    assert shallower & changed == (set() if nodes == "encoder" else shallower)


@pytest.mark.parametrize("nodes", WHOLE)
def test_supervised_every_weight_gets_a_gradient(nodes):
    pictures, labels = random_batch((33, 47))
    model = disturbed(tiny(nodes=nodes, width=4))
    assert isinstance(model, DeeplySupervised) and model.output_weights == [0, 1, 1, 1, 1]
    before = model.get_weights()
    model.compile(keras.optimizers.SGD(1.0), PixelCrossEntropy(), run_eagerly=True)
    model.train_on_batch(pictures, labels)
    for weight, old in zip(model.weights, before, strict=True):
        change = np.abs(keras.ops.convert_to_numpy(weight) - old).max()
        assert np.isfinite(change) and change > 0, weight.path


# Refusals


@pytest.mark.parametrize(
    ("settings", "complaint", "cure"),
    [
        ({"nodes": "encoder", "supervised": False}, "UNet-e of depth 4", {"supervised": True}),
        ({"nodes": "encoder", "supervised": False}, "nodes='one'", {"nodes": "one"}),
        ({"nodes": "one"}, "one head", {"supervised": False}),
        ({"nodes": "none"}, "all, last, encoder, one", {"nodes": "last"}),
        ({"depth": 0}, "depth 0", {"depth": 1}),
        ({"depth": 9}, "depth 9", {"depth": 8}),
    ],
)
def test_what_cannot_be_built_or_cannot_learn(settings, complaint, cure):
    with pytest.raises(UserError, match=complaint):
        tiny(**settings)
    assert count(lambda: build_unetplusplus((32, 32, 3), 3, width=1, **settings | cure)) > 0


# Learning


@pytest.mark.long
def test_one_batch_can_be_learnt_by_heart():
    labels = np.zeros((2, 32, 32), np.uint8)
    labels[0, 8:24, 4:20], labels[1, 16:, 12:28] = 1, 2
    pictures = random_batch((32, 32))[0] // 4 + 60 * labels[..., None]  # noise, and brighter ones
    model = tiny((32, 32), width=8, depth=2)
    model.compile(adam(1e-2), PixelCrossEntropy(), jit_compile=jit())
    model.optimizer.build(model.trainable_variables)  # else TensorFlow traces twice
    history = model.fit(pictures, labels, epochs=60, batch_size=2, verbose=0).history["loss"]
    assert history[-1] < 0.1 * history[0]
    answer, *heads = predict(model, pictures)
    for each in (answer, *heads):
        assert (each.argmax(-1) == labels).mean() > 0.95
