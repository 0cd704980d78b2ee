"""The zoo against networks that others wrote: the same counts, or the difference and its reason.

Where counts agree so do numbers, with the weights of one in the layers of the other. Each library
is optional, and the tests of one that is missing are skipped. To have all of them:
`.venv/bin/python -m pip install -r requirements/libraries.txt`, which says how to have them small.
"""

import re
import sys

import keras
import numpy as np
import pytest
from conftest import disturbed, hollow, predict

import zoo
from zoo import upsampling
from zoo.fcn import build_fcn_resnet, build_fcn_vgg16
from zoo.pooling import MaxPoolingWithIndices, MaxUnpooling
from zoo.resnet_v1 import RESNET50, RESNET101, build_resnet_v1
from zoo.vgg import build_vgg16

PLACES, SHAPE = ["P1", "P2", "P3", "P4", "P5"], (64, 64, 3)


@pytest.fixture(scope="module")
def torch():
    # Where PyTorch's CUDA build brings Triton, importing that behind TensorFlow crashes Python.
    sys.modules.setdefault("triton", None)
    return pytest.importorskip("torch")


@pytest.fixture(scope="module")
def models(torch):
    return pytest.importorskip("torchvision").models


def noise(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def size(module):
    """Parameters of a network of PyTorch, which does not count means and variances as such."""
    return sum(weight.numel() for weight in module.parameters())


def trained(model):
    """Parameters of one of ours without means and variances."""
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def shapes(torch, build, **settings):
    """A network of PyTorch whose weights have no values: at once, whatever its size."""
    with torch.device("meta"):
        return build(weights=None, **settings).eval()


def backbone(torch, network, nodes):
    """The part of a network of torchvision that leads to these nodes, with random weights."""
    from torchvision.models.feature_extraction import create_feature_extractor

    torch.manual_seed(0)
    part = create_feature_extractor(network, dict(zip(nodes, PLACES, strict=True)))
    for values in part.to_empty(device="cpu").state_dict().values():
        if values.ndim == 4:
            torch.nn.init.kaiming_normal_(values, nonlinearity="relu")
        elif values.ndim == 1:  # biases, scales, shifts, means, variances
            values.uniform_(0.5, 1.5)
    return part


def give(layer, module):
    """Put the weights of a convolution or a normalisation of PyTorch into a layer of ours."""
    values = [value.numpy() for value in module.state_dict().values() if value.ndim]
    if len(values) == 4:
        values[3] = values[3] + module.eps - layer.epsilon  # 1e-5 there, in Keras 1e-3
    else:
        values[0] = values[0].transpose(2, 3, 1, 0)  # (F, C, k, k) -> (k, k, C, F)
    layer.set_weights(values)


def to_torch(torch, maps):
    return torch.from_numpy(np.moveaxis(maps, -1, 1).copy())  # (B, h, w, C) -> (B, C, h, w)


def near(ours, theirs):
    """Whether two maps are the same but for rounding; they may not be flat."""
    scale = np.abs(theirs).max()
    assert np.ptp(theirs) > 0.1 * scale > 0
    return np.abs(ours - theirs).max() < 1e-4 * scale


def alike(torch, ours, theirs):
    """At which of the places from P1 to P5 two backbones give the same."""
    pictures = noise(1, *SHAPE)
    found, maps = predict(ours, pictures), theirs(to_torch(torch, pictures))
    maps = {place: each.detach().permute(0, 2, 3, 1).numpy() for place, each in maps.items()}
    return [place for place in PLACES if near(found[place], maps[place])]


@pytest.mark.parametrize("normalise", [False, True])
def test_vgg16_of_torchvision(torch, models, normalise):
    whole = shapes(torch, models.vgg16_bn if normalise else models.vgg16)
    pools = [n for n, x in enumerate(whole.features) if isinstance(x, torch.nn.MaxPool2d)]
    theirs = backbone(torch, whole, [f"features.{n}" for n in pools])
    ours = build_vgg16(SHAPE, normalise=normalise)
    assert trained(ours) == size(theirs) == 14_714_688 + 2 * 4224 * normalise
    assert ours.count_params() == size(theirs) + 2 * 4224 * normalise  # means and variances
    weighted = [layer for layer in ours.layers if layer.weights]
    for layer, module in zip(weighted, filter(size, theirs.features.children()), strict=True):
        give(layer, module)
    assert alike(torch, ours, theirs) == PLACES


@pytest.mark.parametrize(("blocks", "channels"), [(RESNET50, 26_560), (RESNET101, 52_672)])
def test_counts_of_the_resnets(torch, models, blocks, channels):
    """So many channels are normalised: Keras counts two statistics of each, torchvision none;
    `keras.applications` has as many biases besides, which the normalisation takes off again."""
    name = f"ResNet{3 * sum(blocks) + 2}"
    whole = shapes(torch, getattr(models, name.lower()))
    ours = hollow(lambda: build_resnet_v1(SHAPE, blocks=blocks))
    assert trained(ours) == size(whole) - size(whole.fc)
    assert ours.count_params() == trained(ours) + 2 * channels
    published = hollow(lambda: getattr(keras.applications, name)(False, weights=None))
    assert published.count_params() == ours.count_params() + channels


def test_resnet50_of_torchvision(torch, models):
    """That is version 1.5: not the first 1x1 convolution of a stage has the stride but the 3x3
    behind it, so that the same weights give other numbers; with the stride moved, the same."""
    nodes = ["relu", "layer1", "layer2", "layer3", "layer4"]
    theirs = backbone(torch, shapes(torch, models.resnet50), nodes)
    ours = build_resnet_v1(SHAPE)
    for path, module in theirs.named_modules():
        if kind := {"Conv2d": "conv", "BatchNorm2d": "bn"}.get(type(module).__name__):
            name = f"conv1_{kind}"
            if path.startswith("layer"):
                stage, block, place = map(int, re.findall(r"\d+", path))
                place = 0 if "downsample" in path else place
                name = f"conv{stage + 1}_block{block + 1}_{place}_{kind}"
            give(ours.get_layer(name), module)
    assert alike(torch, ours, theirs) == ["P1", "P2"]
    for stage in (theirs.layer2, theirs.layer3, theirs.layer4):
        block = stage.get_submodule("0")
        block.conv1.stride, block.conv2.stride = (2, 2), (1, 1)
    assert alike(torch, ours, theirs) == PLACES


def test_backbones_of_keras_hub():
    """VGG16 is the same at any width; the ResNet is of version 1.5 again, and without biases."""
    hub, pictures = pytest.importorskip("keras_hub").models, noise(1, *SHAPE)
    theirs = hub.VGGBackbone([2, 2, 3, 3, 3], [4, 8, 16, 32, 32], image_shape=SHAPE)
    ours = build_vgg16(SHAPE, width=4)
    ours.set_weights(theirs.get_weights())
    assert near(predict(ours, pictures)["P5"], predict(theirs, pictures))
    stages = [64, 128, 256, 512], list(RESNET50), [1, 2, 2, 2]
    theirs = hollow(lambda: hub.ResNetBackbone([64], [7], *stages, "bottleneck_block"))
    assert theirs.count_params() == hollow(lambda: build_resnet_v1(SHAPE)).count_params()


def test_an_fcn32s_of_1000_classes_has_the_weights_of_vgg16(torch, models):
    """The classifier's: its three dense layers are convolutions."""
    whole = shapes(torch, models.vgg16)
    ours = hollow(lambda: build_fcn_vgg16(SHAPE, 1000))
    assert ours.count_params() == size(whole)
    names = ("fc6_conv", "fc7_conv", "pre_activation")
    for name, layer in zip(names, filter(size, whole.classifier), strict=True):
        assert ours.get_layer(name).count_params() == size(layer)


def test_fcn_resnet50_of_torchvision_is_no_fcn32s(torch, models):
    """Its last two stages are dilated in place of strided, and a 3x3 convolution to 512 channels
    stands before the scores; "aux" scores the map before in the same way."""
    more = {"num_classes": 21, "aux_loss": True, "weights_backbone": None}
    theirs = shapes(torch, models.segmentation.fcn_resnet50, **more)
    ours = hollow(lambda: build_fcn_resnet(SHAPE, 21))
    head = 9 * 2048 * 512 + 2 * 512 + (512 * 21 + 21)
    aux = 9 * 1024 * 256 + 2 * 256 + (256 * 21 + 21)
    assert size(theirs) == trained(ours) - (2048 * 21 + 21) + head + aux
    maps = theirs.backbone(torch.empty((1, 3, 64, 64), device="meta"))["out"]
    assert maps.shape == (1, 2048, 8, 8)
    assert ours.get_layer("resnet50").output["P5"].shape == (None, 2, 2, 2048)


@pytest.mark.parametrize("nested", [False, True])
def test_decoders_of_segmentation_models_pytorch(torch, nested):
    """Wired alike, as U-Net and as UNet++. On the way up from 2b channels to b theirs resizes; ours
    makes b by a transposed convolution, with 8bb + b parameters, which leaves the convolution
    behind 9bb fewer. With one kernel for its four places it resizes too, and the two are one."""
    package = "segmentation_models_pytorch.decoders.unet" + "plusplus" * nested + ".decoder"
    theirs, channels, down = pytest.importorskip(package), [3, 4, 8, 16, 32, 64], range(5)
    if nested:
        theirs = theirs.UnetPlusPlusDecoder(channels, [32, 16, 8, 4, 0], 5, use_norm=False)
        theirs.blocks["x_0_4"] = torch.nn.Identity()  # theirs have a level more
        steps = [(n, m) for n in range(4) for m in range(n + 1)]
        blocks = {f"x{3 - n}{n - m + 1}": theirs.blocks[f"x_{m}_{n}"] for n, m in steps}
        name, nodes, last = "unetplusplus-l4", [f"x{n}0_2_conv" for n in down], "x04_2_conv"
    else:
        theirs = theirs.UnetDecoder(channels, [32, 16, 8, 4], 4, use_norm=False)
        blocks = {f"up{4 - n}": block for n, block in enumerate(theirs.blocks)}
        name, nodes, last = "unet-same", [f"down{n + 1}_2_conv" for n in down], "up1_2_conv"
    ours = disturbed(zoo.build(name, SHAPE, 4, {"width": 4}))
    for node, block in blocks.items():
        up, *both = [ours.get_layer(f"{node}_{part}") for part in ("tconv", "1_conv", "2_conv")]
        b = up.filters
        assert sum(layer.count_params() for layer in (up, *both)) == size(block) + b - b * b
        one = up.get_weights()[0][0, 0]  # (b, 2b)
        up.set_weights([np.tile(one, (2, 2, 1, 1)), np.zeros(b)])
        (first, bias), second = (layer.get_weights() for layer in both)
        *earlier, below = np.split(first, first.shape[2] // b, axis=2)
        below = np.einsum("hwbf,bc->hwcf", below, one)
        first = np.concatenate([below, *reversed(earlier)], axis=2)
        for conv, values in ((block.conv1[0], (first, bias)), (block.conv2[0], second)):
            kernel = torch.from_numpy(values[0].transpose(3, 2, 0, 1).copy())
            assert conv.weight.shape == kernel.shape
            conv.weight.data, conv.bias.data = kernel, torch.from_numpy(values[1])
    ends = [ours.get_layer(end).output for end in (*nodes, last)]
    *features, expected = predict(keras.Model(ours.input, ends), 64 * noise(1, *SHAPE))
    maps = [to_torch(torch, each) for each in features]
    assert near(expected, theirs([maps[0], *maps]).detach().permute(0, 2, 3, 1).numpy())


@pytest.mark.parametrize("sides", [(8, 10), (7, 9)])
def test_pooling_of_torch(torch, sides):
    """It counts places over the whole map, we in the window; both take the first of equal values."""
    functional, x = torch.nn.functional, noise(2, *sides, 3).round()
    there, indices = functional.max_pool2d(
        to_torch(torch, x), 2, ceil_mode=True, return_indices=True
    )
    maxima, places = MaxPoolingWithIndices()(x)
    np.testing.assert_array_equal(np.moveaxis(maxima, -1, 1), there)
    rows, columns = indices // sides[1], indices % sides[1]
    np.testing.assert_array_equal(np.moveaxis(places, -1, 1), 2 * (rows % 2) + columns % 2)
    back = functional.max_unpool2d(there, indices, 2, output_size=sides)
    np.testing.assert_array_equal(np.moveaxis(MaxUnpooling(*sides)(maxima, places), -1, 1), back)


@pytest.mark.parametrize(("k", "s"), [(2, 2), (3, 2), (4, 2), (5, 3)])
def test_upsampling_of_torch(torch, k, s):
    x, kernel, functional = (
        noise(4, 5).astype(float),
        noise(k, k).astype(float),
        torch.nn.functional,
    )
    maps, weights = (torch.from_numpy(each)[None, None] for each in (x, kernel))
    ours = upsampling.transposed_in_phases(x, kernel, s)
    np.testing.assert_allclose(functional.conv_transpose2d(maps, weights, stride=s)[0, 0], ours)
    there = functional.interpolate(maps, scale_factor=s, mode="bilinear", align_corners=False)
    np.testing.assert_allclose(there[0, 0], upsampling.bilinear(x, s))
