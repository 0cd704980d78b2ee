"""FPN: exact counts, a pyramid enlarged by copying, and a head that no other picture reaches."""

import keras
import numpy as np
import pytest
from conftest import count, hollow, learnt_by_heart, predict

import zoo
from tools.summary import stages
from zoo.fpn import build_fpn, feature_pyramid, semantic_head
from zoo.resnet_v1 import RESNET50, RESNET101

TRUNK = {RESNET50: 23_508_032, RESNET101: 42_500_160}
STATISTICS = {RESNET50: 53_120, RESNET101: 105_344}
TINY = {"width": 4, "blocks": (1, 1, 1, 1)}
CHANNELS = {5: 2048, 4: 1024, 3: 512, 2: 256}
ROWS = [name for name in zoo.MODELS if name.startswith("fpn")]


def inputs_of(channels, size=(64, 96)):
    """Maps as a backbone has them, {"P2": (B, H/4, W/4, channels[2]), ...}."""
    return {
        f"P{level}": keras.Input((size[0] >> level, size[1] >> level, number), name=f"P{level}")
        for level, number in channels.items()
    }


def noise_for(maps, number=2, seed=0):
    random = np.random.default_rng(seed)
    return {
        name: random.normal(0, 1, (number, *x.shape[1:])).astype("float32")
        for name, x in maps.items()
    }


def tiny_pyramid(size=(64, 96)):
    keras.utils.set_random_seed(0)
    maps = inputs_of({5: 8, 4: 4, 3: 2, 2: 1}, size)
    return maps, keras.Model(maps, feature_pyramid(maps, 6))


def tiny_head(filters=8):
    keras.utils.set_random_seed(0)
    maps = inputs_of(dict.fromkeys((5, 4, 3, 2), 6))
    return maps, keras.Model(maps, semantic_head(maps, filters))


# Counts


@pytest.mark.parametrize("blocks", [RESNET50, RESNET101])
@pytest.mark.parametrize(("classes", "size"), [(21, (64, 96)), (4, (101, 77))])
def test_parameters(classes, size, blocks):
    pyramid = 256 * sum(CHANNELS.values()) + 4 * 256 + 4 * (9 * 256 * 256 + 256)
    assert pyramid == 3_344_384
    head = 4 * 9 * 256 * 128 + 3 * 9 * 128 * 128 + 7 * 2 * 128 + (128 + 1) * classes
    assert head == {21: 1_626_517, 4: 1_624_324}[classes]
    model = hollow(lambda: build_fpn((*size, 3), classes, blocks=blocks))
    trained = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert trained == TRUNK[blocks] + pyramid + head
    if classes == 21:
        assert trained == {RESNET50: 28_478_933, RESNET101: 47_471_061}[blocks]
    assert model.count_params() == trained + STATISTICS[blocks]


def test_parameters_of_the_parts():
    maps = inputs_of(CHANNELS)
    assert count(lambda: keras.Model(maps, feature_pyramid(maps))) == 3_344_384
    maps = inputs_of(dict.fromkeys(CHANNELS, 256))
    assert count(lambda: keras.Model(maps, semantic_head(maps))) == 1_626_517 - 129 * 21


@pytest.mark.parametrize("name", ROWS)
def test_summary_knows_every_layer(name):
    model = hollow(lambda: zoo.build(name, (64, 96, 3), 4, {}))
    assert sum(row["parameters"] for row in stages(model)) == zoo.MODELS[name].parameters


# The pyramid


@pytest.mark.parametrize("size", [(64, 96), (32, 160)])
def test_levels_halve(size):
    _, model = tiny_pyramid(size)
    assert list(model.output) == ["P5", "P4", "P3", "P2"]
    for name, level in model.output.items():
        assert level.shape == (None, size[0] >> int(name[1]), size[1] >> int(name[1]), 6)


def test_without_finer_laterals_every_level_is_the_coarsest_one_copied_larger():
    """By repetition: what bilinear resizing makes is another map."""
    maps, model = tiny_pyramid()
    for level in (4, 3, 2):
        lateral = model.get_layer(f"fpn{level}_lateral")
        lateral.kernel.assign(np.zeros(lateral.kernel.shape))
    pictures = noise_for(maps)
    top = predict(keras.Model(maps, model.get_layer("fpn5_lateral").output), pictures)
    for level, found in predict(model, pictures).items():
        copied = top.repeat(2 ** (5 - int(level[1])), 1).repeat(2 ** (5 - int(level[1])), 2)
        conv = model.get_layer(f"fpn{level[1]}_conv")
        np.testing.assert_allclose(found, predict(conv, copied), atol=1e-5)
        assert np.ptp(found) > 0.1


def test_a_lateral_is_added_to_its_level_and_all_finer_ones():
    maps, model = tiny_pyramid()
    pictures = noise_for(maps)
    moved = {**pictures, "P3": pictures["P3"] + 1}
    before, after = predict(model, pictures), predict(model, moved)
    changed = {level: np.abs(after[level] - before[level]).max() > 1e-3 for level in before}
    assert changed == {"P5": False, "P4": False, "P3": True, "P2": True}


def test_the_pyramid_has_no_nonlinearity():
    maps, model = tiny_pyramid()
    pictures = noise_for(maps)
    found = predict(model, pictures)
    turned = predict(model, {name: -x for name, x in pictures.items()})
    for level in found:
        np.testing.assert_allclose(turned[level], -found[level], atol=1e-5)


# The head


def test_each_level_is_doubled_till_a_quarter():
    _, model = tiny_head()
    names = [layer.name for layer in model.layers]
    for level, convolutions, doublings in ((2, 1, 0), (3, 1, 1), (4, 2, 2), (5, 3, 3)):
        found = [name for name in names if name.startswith(f"head{level}_")]
        for kind, number in (
            ("conv", convolutions),
            ("norm", convolutions),
            ("relu", convolutions),
        ):
            assert sum(name.endswith(kind) for name in found) == number
        enlarging = [model.get_layer(name) for name in found if name.endswith("enlarge")]
        assert [layer.interpolation for layer in enlarging] == ["bilinear"] * doublings
        for number, layer in enumerate(enlarging, 1):  # behind the ReLU of its convolution
            assert layer.input is model.get_layer(f"head{level}_{number}_relu").output
    assert model.output.shape == (None, 16, 24, 8)


def test_levels_are_added():
    maps, model = tiny_head()
    pictures = noise_for(maps)
    branches = predict(keras.Model(maps, model.get_layer("head_sum").input), pictures)
    assert len(branches) == 4 and all(np.ptp(branch) > 0.1 for branch in branches)
    np.testing.assert_allclose(predict(model, pictures), sum(branches), atol=1e-5)


@pytest.mark.parametrize(("filters", "groups"), [(128, 32), (8, 4), (40, 4), (6, 1)])
def test_channels_are_normalised_in_groups_of_one_picture(filters, groups):
    """32 groups, or as many as leave each two channels in a narrow network."""
    maps, model = tiny_head(filters)
    layer = model.get_layer("head2_1_norm")
    assert (layer.groups, layer.epsilon) == (groups, 1e-5)
    x = np.random.default_rng(0).normal(3, 2, (2, 5, 7, filters)).astype("float32")
    grouped = x.reshape(2, 5, 7, groups, -1)
    mean, variance = (f(grouped, (1, 2, 4), keepdims=True) for f in (np.mean, np.var))
    expected = (grouped - mean) / np.sqrt(variance + 1e-5)
    layer = keras.layers.GroupNormalization.from_config(layer.get_config())
    np.testing.assert_allclose(predict(layer, x), expected.reshape(x.shape), atol=1e-4)


@pytest.mark.parametrize("training", [False, True])
def test_a_picture_alone_is_what_it_is_in_a_batch(training):
    maps, model = tiny_head()
    pictures = noise_for(maps, number=3)
    pictures = {name: x * np.reshape([1, 10, 100], (3, 1, 1, 1)) for name, x in pictures.items()}
    together = keras.ops.convert_to_numpy(model(pictures, training=training))
    for number in range(3):
        alone = {name: x[number : number + 1] for name, x in pictures.items()}
        found = keras.ops.convert_to_numpy(model(alone, training=training))
        np.testing.assert_allclose(found[0], together[number], atol=1e-4)


@pytest.mark.long
def test_it_learns_a_batch_by_heart():
    keras.utils.set_random_seed(0)
    model = build_fpn((32, 48, 3), 3, **TINY)
    assert learnt_by_heart(model, rate=0.2, steps=60) > 0.9
