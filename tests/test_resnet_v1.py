"""ResNets whose last stages are dilated: the same weights, a denser map, nothing moved."""

import keras
import numpy as np
import pytest
from conftest import count, disturbed, predict

from tools.summary import trace
from utils.errors import UserError
from zoo.resnet_v1 import build_resnet_v1

TINY = {"width": 4, "blocks": (1, 2, 2, 3)}


def maps_of(size, output_stride, multi_grid=(1,)):
    keras.utils.set_random_seed(0)
    options = {"output_stride": output_stride, "multi_grid": multi_grid}
    model = disturbed(build_resnet_v1((*size, 3), **TINY, **options))
    pictures = np.random.default_rng(1).normal(0, 1, (1, *size, 3)).astype("float32")
    return predict(model, pictures)


@pytest.mark.long
@pytest.mark.parametrize("multi_grid", [(1,), (1, 2, 4)])
@pytest.mark.parametrize("size", [(64, 96), (96, 160)])
def test_every_second_value_of_the_finer_map_is_the_coarser_one(size, multi_grid):
    """For every pair of output strides; a wrong rate of the first block would break it."""
    found = {stride: maps_of(size, stride, multi_grid) for stride in (8, 16, 32)}
    for stride, maps in found.items():
        for place in range(1, 6):
            step = min(2**place, stride)
            assert maps[f"P{place}"].shape[1:3] == (size[0] // step, size[1] // step)
            other = found[32][f"P{place}"]
            by = maps[f"P{place}"].shape[1] // other.shape[1]
            np.testing.assert_allclose(
                maps[f"P{place}"][:, ::by, ::by], other, rtol=1e-4, atol=1e-3
            )
    # Not because nothing varies.
    assert found[8]["P5"].std() > 0.1


def rates(model):
    """The rates of the 3x3 convolutions by stage."""
    found = {}
    for layer in model.layers:
        if layer.name.endswith("_2_conv"):
            found.setdefault(layer.name[:5], []).append(layer.dilation_rate[0])
    return found


def test_rates_follow_from_the_output_stride():
    def built(**options):
        return rates(build_resnet_v1((64, 64, 3), **TINY, **options))

    plain = {"conv2": [1], "conv3": [1, 1], "conv4": [1, 1], "conv5": [1, 1, 1]}
    assert built() == plain
    assert built(output_stride=16) == plain | {"conv5": [2, 2, 2]}
    assert built(output_stride=8) == plain | {"conv4": [2, 2], "conv5": [4, 4, 4]}
    # DeepLab v3: 4 x (1, 2, 4) at 1/8.
    grid = built(output_stride=8, multi_grid=(1, 2, 4))
    assert grid == plain | {"conv4": [2, 2], "conv5": [4, 8, 16]}


def test_parameters_do_not_depend_on_the_output_stride():
    counts = {
        stride: count(lambda stride=stride: build_resnet_v1((64, 64, 3), output_stride=stride))
        for stride in (8, 16, 32)
    }
    assert set(counts.values()) == {23_508_032 + 53_120}


@pytest.mark.long
def test_the_field_stays_what_it_was():
    """A rate of 2 in place of a stride of 2. ResNet-50 sees 11 pixels behind its pool, and each 3x3
    two strides more: 3 of 4 pixels, 4 of 8, 6 of 16 and 3 of 32."""
    for stride in (8, 16, 32):
        model = build_resnet_v1((64, 64, 3), output_stride=stride, width=4)
        reach = {call.layer.name: call.reach for call in trace(model)[0]}["conv5_block3_out"]
        assert reach.field == 11 + 2 * (3 * 4 + 4 * 8 + 6 * 16 + 3 * 32) == 483
        assert reach.stride == stride


def test_a_network_has_it_by_its_name():
    """--start-from and --pretrained find backbones by name."""
    for stride in (8, 32):
        assert build_resnet_v1((64, 64, 3), output_stride=stride, **TINY).name == "resnet26"


def test_no_other_output_strides():
    with pytest.raises(UserError, match="output_stride 4: a ResNet has 8, 16 or 32"):
        build_resnet_v1((64, 64, 3), output_stride=4, **TINY)
