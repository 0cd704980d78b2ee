"""The zoo against networks that others wrote: the same counts, or the difference and its reason.

Where counts agree so do numbers, with the weights of one in the layers of the other. Tests of what
is not installed are skipped; `.venv/bin/python -m pip install -r requirements/libraries.txt`.
"""

import math
import re
import sys

import keras
import numpy as np
import pytest
from conftest import assert_same, count, disturbed, hollow, predict

import zoo
from zoo.pooling import MaxPoolingWithIndices, MaxUnpooling
from zoo.resnet_v1 import RESNET50, RESNET101, build_resnet_v1
from zoo.vgg import build_vgg16

PLACES, SHAPE = ["P1", "P2", "P3", "P4", "P5"], (32, 32, 3)
POOLS = {"vgg16": [4, 9, 16, 23, 30], "vgg16_bn": [6, 13, 23, 33, 43]}  # in torchvision
PICTURES = np.random.default_rng(0).normal(size=(1, *SHAPE)).astype("float32")


@pytest.fixture(scope="module")
def torch():
    # Where PyTorch's CUDA build brings Triton, importing that behind TensorFlow crashes Python.
    sys.modules.setdefault("triton", None)
    return pytest.importorskip("torch")


def size(net):  # of what is trained, in Keras or in PyTorch: no means and variances
    weights = net.trainable_weights if isinstance(net, keras.Layer) else net.parameters()
    return sum(math.prod(weight.shape) for weight in weights)


def shapes(torch, name, **settings):
    """A network of torchvision whose weights have no values: at once, whatever its size."""
    models = pytest.importorskip("torchvision").models
    with torch.device("meta"):
        return models.get_model(name, weights=None, **settings).eval()


def backbone(torch, network, nodes):  # its part that leads to them, with random weights
    extraction = pytest.importorskip("torchvision.models.feature_extraction")
    torch.manual_seed(0)
    part = extraction.create_feature_extractor(network, dict(zip(nodes, PLACES, strict=True)))
    for values in part.to_empty(device="cpu").state_dict().values():
        if values.ndim == 4:
            torch.nn.init.kaiming_normal_(values, nonlinearity="relu")
        elif values.ndim == 1:  # biases, scales, shifts, means, variances
            values.uniform_(0.5, 1.5)
    return part


def give(layer, module):  # its weights
    values = [value.numpy() for value in module.state_dict().values() if value.ndim]
    if len(values) == 4:
        values[3] = values[3] + module.eps - layer.epsilon  # 1e-5 there, in Keras 1e-3
    else:
        values[0] = values[0].transpose(2, 3, 1, 0)  # (F, C, k, k) -> (k, k, C, F)
    layer.set_weights(values)


def near(ours, theirs):
    theirs = np.moveaxis(theirs.detach().numpy(), 1, -1)
    scale = np.abs(theirs).max()
    assert np.ptp(theirs) > 0.1 * scale > 0  # else much would be near
    return np.abs(ours - theirs).max() < 1e-4 * scale


def alike(torch, ours, theirs):  # the places at which two backbones give the same
    found, maps = predict(ours, PICTURES), theirs(torch.tensor(np.moveaxis(PICTURES, -1, 1)))
    return [place for place in PLACES if near(found[place], maps[place])]


@pytest.mark.parametrize("name", POOLS)
def test_vgg16_of_torchvision(torch, name):
    theirs = backbone(torch, shapes(torch, name), [f"features.{n}" for n in POOLS[name]])
    ours = build_vgg16(SHAPE, normalise=name == "vgg16_bn")
    more = 2 * 4224 if name == "vgg16_bn" else 0  # scales and shifts; again, means and variances
    assert ours.count_params() - more == size(ours) == size(theirs) == 14_714_688 + more
    modules = filter(size, theirs.features.children())
    for layer, module in zip(filter(size, ours.layers), modules, strict=True):
        give(layer, module)
    assert alike(torch, ours, theirs) == PLACES


@pytest.mark.parametrize(("blocks", "channels"), [(RESNET50, 26_560), (RESNET101, 52_672)])
def test_counts_of_the_resnets(torch, blocks, channels):
    """So many channels are normalised: Keras counts two statistics of each, torchvision none;
    `keras.applications` has as many biases besides, which the normalisation takes off again."""
    name = f"ResNet{3 * sum(blocks) + 2}"
    whole = shapes(torch, name.lower())
    ours = hollow(lambda: build_resnet_v1(SHAPE, blocks=blocks))
    assert size(ours) == size(whole) - size(whole.fc)
    assert ours.count_params() == size(ours) + 2 * channels
    published = count(lambda: getattr(keras.applications, name)(False, weights=None))
    assert published == ours.count_params() + channels


def test_resnet_of_torchvision(torch):
    """That is version 1.5: not the first 1x1 convolution of a stage has the stride but the 3x3
    behind it, so that the same weights give other numbers; with the stride moved, the same."""
    whole, stages = shapes(torch, "resnet50"), ["layer1", "layer2", "layer3", "layer4"]
    for stage in stages:
        del whole.get_submodule(stage)[2:]
    theirs = backbone(torch, whole, ["relu", *stages])
    ours = build_resnet_v1(SHAPE, blocks=(2, 2, 2, 2))
    for path, module in theirs.named_modules():
        if kind := {"Conv2d": "conv", "BatchNorm2d": "bn"}.get(type(module).__name__):
            stage, *rest = [int(number) for number in re.findall(r"\d+", path)]
            place = 0 if "downsample" in path or not rest else rest[1]
            name = f"conv{stage + 1}_block{rest[0] + 1}_{place}" if rest else "conv1"
            give(ours.get_layer(f"{name}_{kind}"), module)
    assert alike(torch, ours, theirs) == ["P1", "P2"]
    for stage in stages[1:]:
        block = theirs.get_submodule(f"{stage}.0")
        block.conv1.stride, block.conv2.stride = (2, 2), (1, 1)
    assert alike(torch, ours, theirs) == PLACES


def test_backbones_of_keras_hub():
    """VGG16 is the same at any width; the ResNet is of version 1.5 again, and without biases."""
    hub = pytest.importorskip("keras_hub").models
    theirs = hub.VGGBackbone([2, 2, 3, 3, 3], [4, 8, 16, 32, 32], image_shape=SHAPE)
    ours = build_vgg16(SHAPE, width=4)
    ours.set_weights(theirs.get_weights())
    assert_same([predict(ours, PICTURES)["P5"]], [predict(theirs, PICTURES)])
    kind = [64], [7], [64, 128, 256, 512], list(RESNET50), [1, 2, 2, 2], "bottleneck_block"
    theirs = count(lambda: hub.ResNetBackbone(*kind))
    assert theirs == count(lambda: build_resnet_v1(SHAPE))


def test_an_fcn32s_of_1000_classes_has_the_weights_of_a_whole_vgg16(torch):
    whole, ours = shapes(torch, "vgg16"), hollow(lambda: zoo.build("fcn32s", SHAPE, 1000, {}))
    assert ours.count_params() == size(whole)
    dense = [ours.get_layer(name) for name in ("fc6_conv", "fc7_conv", "pre_activation")]
    assert list(map(size, dense)) == list(filter(None, map(size, whole.classifier)))


def test_fcn_resnet50_of_torchvision_is_no_fcn32s(torch):
    """Its last two stages are dilated in place of strided, and a 3x3 convolution to 512 channels
    stands before the scores; "aux" scores the map before in the same way."""
    theirs = shapes(torch, "fcn_resnet50", num_classes=21, aux_loss=True, weights_backbone=None)
    ours = hollow(lambda: zoo.build("fcn32s-resnet50", SHAPE, 21, {}))
    head = 9 * 2048 * 512 + 2 * 512 + (512 * 21 + 21)
    aux = 9 * 1024 * 256 + 2 * 256 + (256 * 21 + 21)
    assert size(theirs) == size(ours) - (2048 * 21 + 21) + head + aux
    maps = theirs.backbone(torch.empty((1, 3, 32, 32), device="meta"))["out"]
    assert maps.shape[2:] == (4, 4) and ours.get_layer("resnet50").output["P5"].shape[1:3] == (1, 1)


@pytest.mark.parametrize("aux", [False, True])
def test_deeplab_v3_of_torchvision(torch, aux):
    """It has one more 3x3 behind the pyramid, and "aux" is a head that the paper lacks."""
    options = {"num_classes": 21, "aux_loss": aux, "weights_backbone": None}
    theirs = shapes(torch, "deeplabv3_resnet50", **options)
    more = 9 * 256 * 256 + 2 * 256
    if aux:
        more += 9 * 1024 * 256 + 2 * 256 + (256 * 21 + 21)
    ours = hollow(lambda: zoo.build("deeplab-v3-os8", (64, 64, 3), 21, {}))
    assert size(theirs) == size(ours) + more
    rates = {module.dilation[0] for module in theirs.classifier[0].modules() if at_a_rate(module)}
    found = {
        layer.dilation_rate[0] for layer in ours.layers if "aspp" in layer.name and at_a_rate(layer)
    }
    assert rates == found == {12, 24, 36}  # which the paper has at 1/8, as here


def at_a_rate(layer):
    rate = getattr(layer, "dilation", None) or getattr(layer, "dilation_rate", None)
    return isinstance(rate, tuple) and max(rate) > 1


def smp(torch, name):
    """A network of segmentation_models_pytorch on a ResNet-50, of 21 classes, without values."""
    models = pytest.importorskip("segmentation_models_pytorch")
    with torch.device("meta"):
        return getattr(models, name)("resnet50", encoder_weights=None, classes=21)


def test_deeplab_v3plus_of_segmentation_models_pytorch(torch):
    """A separable convolution behind the pyramid and one in the decoder, the paper none and two, as
    large in sum; and none of theirs is normalised behind its first half."""
    ours = hollow(lambda: zoo.build("deeplab-v3plus", (64, 64, 3), 21, {"separable": True}))
    halves = 3 * 2 * 2048 + 2 * (256 + 48) + 2 * 256
    assert size(ours) == size(smp(torch, "DeepLabV3Plus")) + halves


def test_fpn_of_segmentation_models_pytorch(torch):
    """Its pyramid has no 3x3 behind the sums."""
    ours = hollow(lambda: zoo.build("fpn", (64, 64, 3), 21, {}))
    assert size(ours) == size(smp(torch, "FPN")) + 4 * (9 * 256 * 256 + 256)


def test_pspnet_of_segmentation_models_pytorch(torch):
    """It pools 512 channels, of the stage at 1/8; the paper 2048, of a dilated ResNet."""
    theirs = smp(torch, "PSPNet")
    bins = [
        module.in_channels
        for module in theirs.decoder.psp.modules()
        if hasattr(module, "in_channels")
    ]
    assert set(bins) == {512}
    ours = hollow(lambda: zoo.build("pspnet-without-auxiliary", (64, 64, 3), 21, {}))
    convolutions = [ours.get_layer(f"bins{n}_conv").kernel.shape[2] for n in (1, 2, 3, 6)]
    assert set(convolutions) == {2048}


def test_deeplab_v3plus_of_keras_hub():
    """Its decoder is one 1x1 for two 3x3, and its classifier has no bias."""
    hub = pytest.importorskip("keras_hub").models
    kind = [64], [7], [64, 128, 256, 512], list(RESNET50), [1, 2, 2, 2], "bottleneck_block"
    whole = hub.DeepLabV3Backbone(
        hub.ResNetBackbone(*kind, image_shape=(64, 64, 3)), "P5", 8, [6, 12, 18], "P2", 48
    )
    theirs = hub.DeepLabV3ImageSegmenter(backbone=whole, num_classes=21)
    ours = hollow(lambda: zoo.build("deeplab-v3plus", (64, 64, 3), 21, {}))
    two = 9 * (256 + 48) * 256 + 9 * 256 * 256 + 2 * 2 * 256
    one = (256 + 48) * 256 + 2 * 256
    assert size(ours) == size(theirs) + two - one + 21


@pytest.mark.parametrize("nested", [False, True])
def test_decoders_of_segmentation_models_pytorch(torch, nested):
    """Wired alike, as U-Net and as UNet++. On the way up from 2b channels to b theirs resizes; ours
    makes b by a transposed convolution, with 8bb + b parameters, which leaves the convolution
    behind 9bb fewer. With one kernel for its four places it resizes too, and the two are one."""
    package = "segmentation_models_pytorch.decoders.unet" + "plusplus" * nested + ".decoder"
    theirs, widths = pytest.importorskip(package), [3, 4, 8, 16, 32, 64]
    if nested:
        theirs = theirs.UnetPlusPlusDecoder(widths, [32, 16, 8, 4, 0], 5, use_norm=False)
        theirs.blocks["x_0_4"] = torch.nn.Identity()  # theirs have a level more
        steps = [(n, m) for n in range(4) for m in range(n + 1)]
        blocks = {f"x{3 - n}{n - m + 1}": theirs.blocks[f"x_{m}_{n}"] for n, m in steps}
        name, ends = "unetplusplus-l4", ["x00", "x10", "x20", "x30", "x40", "x04"]
    else:
        theirs = theirs.UnetDecoder(widths, [32, 16, 8, 4], 4, use_norm=False)
        blocks = {f"up{4 - n}": block for n, block in enumerate(theirs.blocks)}
        name, ends = "unet-same", ["down1", "down2", "down3", "down4", "down5", "up1"]
    ours = disturbed(zoo.build(name, SHAPE, 4, {"width": 4}))
    for node, block in blocks.items():
        up, *both = (ours.get_layer(f"{node}_{part}") for part in ("tconv", "1_conv", "2_conv"))
        b, one = up.filters, up.get_weights()[0][0, 0]  # (b, 2b)
        assert sum(layer.count_params() for layer in (up, *both)) == size(block) + b - b * b
        up.set_weights([np.tile(one, (2, 2, 1, 1)), np.zeros(b)])
        (kernel, bias), second = (layer.get_weights() for layer in both)
        *earlier, below = np.split(kernel, kernel.shape[2] // b, axis=2)
        first = np.concatenate([one.T @ below, *reversed(earlier)], axis=2), bias
        for conv, (kernel, bias) in ((block.conv1[0], first), (block.conv2[0], second)):
            conv.weight.data = torch.tensor(kernel.transpose(3, 2, 0, 1))
            conv.bias.data = torch.tensor(bias)
    ends = [ours.get_layer(f"{end}_2_conv").output for end in ends]
    *maps, expected = predict(keras.Model(ours.input, ends), 64 * PICTURES)
    maps = [torch.tensor(np.moveaxis(each, -1, 1)) for each in (maps[0], *maps)]
    assert near(expected, theirs(maps))


@pytest.mark.parametrize("sides", [(8, 10), (7, 9)])
def test_pooling_of_torch(torch, sides):
    """There places are counted over the whole map. Of equal values both take the first."""
    pool, unpool = torch.nn.functional.max_pool2d, torch.nn.functional.max_unpool2d
    x = np.random.default_rng(0).normal(size=(2, *sides, 3)).round()
    maxima, places = MaxPoolingWithIndices()(x)
    ours = [np.moveaxis(y, -1, 1) for y in (maxima, places, MaxUnpooling(*sides)(maxima, places))]
    x = torch.tensor(np.moveaxis(x, -1, 1))
    there, indices = pool(x, 2, ceil_mode=True, return_indices=True)
    in_window = 2 * (indices // sides[1] % 2) + indices % sides[1] % 2
    assert_same(ours, [there, in_window, unpool(there, indices, 2, output_size=sides)])
