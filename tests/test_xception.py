"""Xception-65: exact count, its strides and rates, and what a separable convolution is."""

import keras
import numpy as np
import pytest
from conftest import disturbed, hollow, predict
from keras import layers

from fast.layers import Conv2D
from tools.summary import macs
from utils.errors import UserError
from zoo.xception import build_xception, separable_conv

TINY = {"width": 4, "blocks": (2,)}


def convolutions(model):
    """Those of 3x3, a separable one by its depthwise half."""
    kinds = layers.DepthwiseConv2D | layers.Conv2D
    found = [layer for layer in model.layers if isinstance(layer, kinds)]
    return [layer for layer in found if layer.kernel_size == (3, 3)]


def test_parameters():
    def separable(*channels):
        steps = zip(channels, channels[1:], strict=False)
        return sum(9 * c + 2 * c + c * f + 2 * f for c, f in steps)

    stem = 9 * 3 * 32 + 2 * 32 + 9 * 32 * 64 + 2 * 64
    entry = sum(separable(c, f, f, f) + c * f + 2 * f for c, f in [(64, 128), (128, 256)])
    entry += separable(256, 728, 728, 728) + 256 * 728 + 2 * 728
    middle = 16 * separable(728, 728, 728, 728)
    last = separable(728, 728, 1024, 1024) + 728 * 1024 + 2 * 1024
    last += separable(1024, 1536, 1536, 2048)
    assert stem + entry + middle + last == 37_867_312
    model = hollow(lambda: build_xception((64, 64, 3)))
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == 37_867_312
    assert model.count_params() == 38_052_512
    assert model.name == "xception65" and len(convolutions(model)) == 2 + 3 * (3 + 16 + 2)


# Of 3x3 convolutions with a stride, and rates where they are not 1. What would have been a stride
# stood in the last convolution of a block, which keeps the rate in front of it.
SHRINK = {"stem_1_conv": 2, "entry1_3_depthwise": 2, "entry2_3_depthwise": 2}
MIDDLE = [f"middle{block}_{number}_depthwise" for block in (1, 2) for number in (1, 2, 3)]
EXIT1, EXIT2 = ([f"exit{block}_{number}_depthwise" for number in (1, 2, 3)] for block in (1, 2))


@pytest.mark.parametrize(
    ("output_stride", "strides", "rates"),
    [
        (32, SHRINK | {"entry3_3_depthwise": 2, "exit1_3_depthwise": 2}, {}),
        (16, SHRINK | {"entry3_3_depthwise": 2}, dict.fromkeys(EXIT2, 2)),
        (8, SHRINK, dict.fromkeys([*MIDDLE, *EXIT1], 2) | dict.fromkeys(EXIT2, 4)),
    ],
)
def test_strides_and_rates_follow_from_the_output_stride(output_stride, strides, rates):
    model = hollow(lambda: build_xception((64, 96, 3), output_stride=output_stride, **TINY))
    found = {
        layer.name: (layer.strides[0], layer.dilation_rate[0]) for layer in convolutions(model)
    }
    assert {name: stride for name, (stride, _) in found.items() if stride > 1} == strides
    assert {name: rate for name, (_, rate) in found.items() if rate > 1} == rates
    for place in range(1, 6):
        step = min(2**place, output_stride)
        assert model.output[f"P{place}"].shape[1:3] == (64 // step, 96 // step)
    # Each shortcut has the stride of what it goes around.
    for name in ("entry1", "entry2", "entry3", "exit1"):
        at = f"{name}_3_depthwise"
        assert model.get_layer(f"{name}_0_conv").strides[0] == strides.get(at, 1)


def test_decoders_take_the_map_before_the_stride_of_the_second_block():
    model = hollow(lambda: build_xception((64, 96, 3), output_stride=16, **TINY))
    tap = model.output["low_level"]
    assert tap is model.get_layer("entry2_2_pointwise_bn").output
    assert tap.shape == (None, 16, 24, 16)


def test_every_second_value_of_the_finer_map_is_the_coarser_one():
    """A rate that is wrong, or a stride that begins a pixel later, would break it."""
    pictures = np.random.default_rng(1).normal(0, 1, (1, 64, 96, 3)).astype("float32")
    found = {}
    for stride in (8, 16):
        keras.utils.set_random_seed(0)
        model = build_xception((64, 96, 3), width=4, blocks=(1,), output_stride=stride)
        found[stride] = predict(disturbed(model), pictures)
    for name, coarse in found[16].items():
        by = found[8][name].shape[1] // coarse.shape[1]
        assert by == (2 if name in ("P4", "P5") else 1)
        np.testing.assert_allclose(found[8][name][:, ::by, ::by], coarse, rtol=1e-4, atol=1e-3)
    assert found[8]["P5"].std() > 0.1  # not because nothing varies


def test_a_separable_convolution_is_a_whole_one_with_kernels_of_rank_one():
    """Where no normalisation stands between that does anything; at rate 2."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((9, 12, 3))
    options = {"rate": 2, "relu": False, "epsilon": 0.0}
    model = keras.Model(inputs, separable_conv(inputs, 5, "x", **options))
    assert [type(layer) for layer in model.layers[1:]] == [
        layers.DepthwiseConv2D,
        type(model.get_layer("x_depthwise_bn")),
        Conv2D,
        type(model.get_layer("x_pointwise_bn")),
    ]
    depthwise, pointwise = model.get_layer("x_depthwise"), model.get_layer("x_pointwise")
    kernel = keras.ops.convert_to_numpy(depthwise.kernel) * np.asarray(pointwise.kernel[0, 0])
    assert kernel.shape == (3, 3, 3, 5)
    for number in range(3):
        assert np.linalg.matrix_rank(kernel[:, :, number].reshape(9, 5)) == 1
    x = np.random.default_rng(0).normal(0, 1, (2, 9, 12, 3)).astype("float32")
    expected = keras.ops.conv(x, kernel.astype("float32"), padding="same", dilation_rate=2)
    np.testing.assert_allclose(predict(model, x), np.asarray(expected), atol=1e-5)
    # It is what it is for: 9 C + C F for 9 C F.
    before, after = (None, 9, 12, 3), (None, 9, 12, 5)
    assert macs(depthwise, before, before) + macs(pointwise, before, after) == 108 * (27 + 15)


def test_relu_is_in_front_of_each_but_behind_both_halves_in_the_last_block():
    model = hollow(lambda: build_xception((32, 32, 3), **TINY))
    relus = [layer.name for layer in model.layers if isinstance(layer, layers.Activation)]
    fronts = [f"{b}_{n}_relu" for b in ("entry1", "middle2", "exit1") for n in (1, 2, 3)]
    behind = [f"exit2_{n}_{half}_relu" for n in (1, 2, 3) for half in ("depthwise", "pointwise")]
    assert set(fronts) | set(behind) < set(relus)
    assert len(relus) == 2 + 3 * (3 + 2 + 1) + 6
    # Nothing between the halves of the others, nor in front of the last block.
    for name in ("entry1_2_pointwise", "middle1_1_pointwise"):
        assert (
            model.get_layer(name).input.name
            == model.get_layer(name.replace("pointwise", "depthwise_bn")).output.name
        )
    assert model.get_layer("exit2_1_depthwise").input is model.get_layer("exit1_add").output


def test_every_normalisation_has_the_epsilon_of_the_authors():
    model = hollow(lambda: build_xception((32, 32, 3), **TINY))
    found = [layer.epsilon for layer in model.layers if layer.name.endswith("_bn")]
    assert found == [1e-3] * (2 + 4 + 2 * 3 * (3 + 2 + 2))


def test_no_other_output_strides():
    with pytest.raises(UserError, match="output_stride 4: an Xception has 8, 16 or 32"):
        build_xception((64, 64, 3), output_stride=4, **TINY)
