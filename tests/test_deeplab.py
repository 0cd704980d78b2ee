"""DeepLab v1 to v3+: exact counts, how far they see, and the same answer at another stride."""

import keras
import numpy as np
import pytest
from conftest import disturbed, forget_soon, hollow, predict, random_batch
from keras import layers

import zoo
from engine.trainer import JIT
from fast.adam import adam
from losses import PixelCrossEntropy
from tools.summary import Reach, trace
from zoo.deeplab_v1 import (
    build_atrous_vgg16,
    build_deeplab_v1,
    build_deeplab_v2,
    build_deeplab_v2_vgg16,
)
from zoo.deeplab_v3 import ImageNormalization, aspp, build_deeplab_v3, build_deeplab_v3_cascade
from zoo.deeplab_v3plus import build_deeplab_v3plus, build_deeplab_v3plus_xception
from zoo.pretrained import application_for
from zoo.resnet_v1 import RESNET50, RESNET101
from zoo.vgg import build_vgg16

VGG = {"width": 4, "blocks": (1, 1, 1, 1, 1)}
RESNET = {"width": 4, "blocks": (1, 1, 1, 1)}


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(0, 1, shape).astype("float32")


def trained(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="others have a fast one")
def test_atrous_convolutions_go_the_fast_way(monkeypatch):
    """Multi-grid at 1/16 is 2, 4 and 8, of which 2 is Keras' own; then the rates of the pyramid."""
    tensorflow_ops = pytest.importorskip("fast.tensorflow_ops")
    rates, convolve = [], tensorflow_ops.convolve_atrous

    def count(maps, kernel, rate, padding):
        rates.append(rate[0])
        return convolve(maps, kernel, rate, padding)

    monkeypatch.setattr(tensorflow_ops, "convolve_atrous", count)
    monkeypatch.setattr("fast.layers.on_cpu", lambda: True)
    model = build_deeplab_v3((64, 96, 3), 3, width=4, blocks=(1, 1, 1, 3))
    predict(model, random_batch((64, 96))[0])
    assert sorted(rates) == [4, 6, 8, 12, 18]
    rates.clear()
    predict(build_deeplab_v1((64, 96, 3), 3, head=8, **VGG), random_batch((64, 96))[0])
    assert rates == [12]


# Counts

VGG16, R50, R101, XCEPTION = 14_714_688, 23_508_032, 42_500_160, 37_867_312
S50, S101 = 53_120, 105_344  # moving statistics
FC = 9 * 512 * 1024 + 1024 + 1024 * 1024 + 1024  # fc6 and fc7 of LargeFOV
PYRAMID = 2 * (2048 * 256 + 512) + 3 * (9 * 2048 * 256 + 512) + 1280 * 256 + 512
DECODER = 256 * 48 + 96 + 9 * 304 * 256 + 512 + 9 * 256 * 256 + 512
BLOCKS = 9 * (2048 * 512 + 9 * 512 * 512 + 512 * 2048 + 2 * (512 + 512 + 2048))

# For 21 classes what is trained, and what a class more takes; moving statistics; the row.
COUNTS = {
    "deeplab-v1": (20_505_429, 1024 + 1, 0, VGG16 + FC),
    "deeplab-v1-7x7": (134_346_581, 4096 + 1, 0, VGG16 + 102_764_544 + 16_781_312),
    "deeplab-v1-4x4": (65_140_565, 4096 + 1, 0, VGG16 + 16 * 512 * 4096 + 4096 + 16_781_312),
    "deeplab-v1-msc": (21_711_445, 1664 + 1, 0, VGG16 + FC + 9 * 963 * 128 + 5 * (128**2 + 256)),
    "deeplab-v2": (44_048_532, 4 * (9 * 2048 + 1), S101, R101),
    "deeplab-v2-vgg16": (37_877_652, 4 * (1024 + 1), 0, VGG16 + 4 * FC),
    "deeplab-v2-vgg16-s": (37_877_652, 4 * (1024 + 1), 0, VGG16 + 4 * FC),
    "deeplab-v3": (39_048_533, 256 + 1, S50 + 6 * 512, R50 + PYRAMID),
    "deeplab-v3-os8": (39_048_533, 256 + 1, S50 + 6 * 512, R50 + PYRAMID),
    "deeplab-v3-resnet101": (58_040_661, 256 + 1, S101 + 6 * 512, R101 + PYRAMID),
    "deeplab-v3-cascade": (63_714_389, 2048 + 1, S50 + 9 * 6144, R50 + BLOCKS),
    "deeplab-v3plus": (40_352_181, 256 + 1, S50 + 6 * 512 + 1120, R50 + PYRAMID + DECODER),
    "deeplab-v3plus-resnet101": (59_344_309, 257, S101 + 6 * 512 + 1120, R101 + PYRAMID + DECODER),
    "deeplab-v3plus-xception": (41_055_413, 256 + 1, 202_800, XCEPTION + 3_182_704),
}


@pytest.mark.parametrize("name", COUNTS)
def test_parameters_by_hand(name):
    """Of every row; `test_family.py` counts the networks themselves."""
    with_21, of_a_class, statistics, rest = COUNTS[name]
    assert rest + 21 * of_a_class == with_21
    assert zoo.MODELS[name].parameters == with_21 - 17 * of_a_class + statistics


@pytest.mark.parametrize(
    ("build", "with_21", "in_all"),
    [
        (build_deeplab_v1, 20_505_429, 20_505_429),
        (lambda *a: build_deeplab_v2(*a, blocks=RESNET50), 25_056_404, 25_056_404 + S50),
        (build_deeplab_v3, 39_048_533, 39_048_533 + S50 + 6 * 512),
        (build_deeplab_v3_cascade, 63_714_389, 63_714_389 + S50 + 9 * 6144),
        (build_deeplab_v3plus, 40_352_181, 40_352_181 + S50 + 6 * 512 + 1120),
        (build_deeplab_v3plus_xception, 41_055_413, 41_258_213),
    ],
)
def test_parameters_that_are_trained(build, with_21, in_all):
    model = hollow(lambda: build((65, 70, 3), 21))
    assert (trained(model), model.count_params()) == (with_21, in_all)


@pytest.mark.long
@pytest.mark.parametrize(
    ("build", "settings", "with_21"),
    [
        (build_deeplab_v2, {"rates": (12,)}, 42_887_253),
        (build_deeplab_v3_cascade, {"blocks": RESNET101}, 82_706_517),
        (build_deeplab_v3plus, {"blocks": RESNET101, "separable": True}, 45_688_261),
    ],
)
def test_parameters_on_resnet101(build, settings, with_21):
    assert trained(hollow(lambda: build((64, 64, 3), 21, **settings))) == with_21


def test_parameters_of_a_separable_decoder_on_a_resnet():
    """13,408 more than where pyramid and decoder normalise behind the pointwise half alone."""
    model = hollow(lambda: build_deeplab_v3plus((64, 64, 3), 21, separable=True))
    assert trained(model) == 26_696_133 == 26_682_725 + 3 * 4096 + 608 + 512


def test_pyramid():
    assert PYRAMID == 15_535_104
    inputs = keras.Input((4, 4, 2048))
    assert trained(hollow(lambda: keras.Model(inputs, aspp(inputs, 256, 16)))) == PYRAMID


# Atrous convolution, and how far it sees


def atrous(x, kernel, rate):
    """(B, h, w, C) with a kernel (3, 3, C, F), "same", by Keras' layer."""
    layer = layers.Conv2D(kernel.shape[-1], 3, padding="same", dilation_rate=rate, use_bias=False)
    layer.build(x.shape)
    layer.kernel.assign(kernel)
    return keras.ops.convert_to_numpy(layer(x))


@pytest.mark.parametrize("rate", [1, 2, 3])
def test_atrous_convolution_written_in_two_other_ways(rate):
    x, kernel = noise(2, 12, 18, 3), noise(3, 3, 3, 4, seed=1)
    found = atrous(x, kernel, rate)
    # With a kernel that has zeros between.
    sparse = np.zeros((2 * rate + 1, 2 * rate + 1, 3, 4), "float32")
    sparse[::rate, ::rate] = kernel
    dense = keras.ops.convert_to_numpy(keras.ops.conv(x, sparse, padding="same"))
    np.testing.assert_allclose(found, dense, atol=1e-4)
    # Space to batch: of every rate-th place a map, convolved as usual, and put back.
    parts = np.empty_like(found)
    for row, column in np.ndindex(rate, rate):
        phase = slice(None), slice(row, None, rate), slice(column, None, rate)
        parts[phase] = atrous(x[phase], kernel, 1)
    np.testing.assert_allclose(found, parts, atol=1e-4)
    # It sees more with a rate, for as many parameters and as much arithmetic.
    assert rate == 1 or np.abs(found - atrous(x, kernel, 1)).max() > 0.1


def test_at_a_rate_beyond_the_map_its_centre_is_left():
    x, kernel = noise(1, 7, 10, 3), noise(3, 3, 3, 4, seed=1)
    centre = np.einsum("bhwc,cf->bhwf", x, kernel[1, 1])
    np.testing.assert_allclose(atrous(x, kernel, 10), centre, atol=1e-4)
    assert np.abs(atrous(x, kernel, 9) - centre).max() > 0.1


@pytest.mark.parametrize(
    ("kernel", "rate", "field"),
    [(3, 12, 419), (3, 8, 355), (3, 4, 291), (7, 4, 419), (4, 8, 419), (4, 4, 323)],
)
def test_field_of_view(kernel, rate, field):
    """LargeFOV sees as far as a kernel of 7x7 at rate 4."""
    model = hollow(
        lambda: build_deeplab_v1((64, 96, 3), 3, kernel=kernel, rate=rate, head=8, width=4)
    )
    reach = {call.layer.name: call.reach for call in trace(model)[0]}
    assert reach["block5_conv3"] == Reach(211, 8) and reach["block5_pool"] == Reach(227, 8)
    # The file with VGG16's dense layers is ten times as large, and only 7x7 has use of them.
    fc6 = "fc6_conv" if kernel == 7 else "fov6_conv"
    assert reach[fc6] == reach["pre_activation"] == Reach(field, 8)
    assert application_for(reach).file(reach)[0].endswith("notop.h5") == (kernel != 7)


@pytest.mark.parametrize(
    ("name", "rates"),
    [("deeplab-v2-vgg16", (6, 12, 18, 24)), ("deeplab-v2-vgg16-s", (2, 4, 8, 12))],
)
def test_fields_of_the_pyramid(name, rates):
    """ASPP-L and ASPP-S, whose largest rate is that of LargeFOV."""
    model = hollow(lambda: zoo.build(name, (64, 96, 3), 3, {"head": 8, "width": 4}))
    reach = {call.layer.name: call.reach for call in trace(model)[0]}
    for number, rate in enumerate(rates, 1):
        assert reach[f"aspp{number}_fc6_conv"].field == 227 + 2 * 8 * rate


# VGG16 with holes


def test_its_layers_are_those_of_vgg16():
    """So that weights of ImageNet, and of an FCN, are found by their names."""
    holes, plain = (hollow(lambda b=b: b((64, 96, 3))) for b in (build_atrous_vgg16, build_vgg16))
    assert holes.name == plain.name == "vgg16"

    def shapes(model):
        return {layer.name: [w.shape for w in layer.weights] for layer in model.layers}

    found, expected = ({k: v for k, v in shapes(m).items() if v} for m in (holes, plain))
    assert found == expected and len(found) == 13
    for place, (stride, channels) in enumerate([(2, 64), (4, 128), (8, 256), (8, 512), (8, 512)]):
        assert holes.output[f"P{place + 1}"].shape == (None, 64 // stride, 96 // stride, channels)


def test_more_scales_that_say_nothing_change_nothing():
    keras.utils.set_random_seed(0)
    pictures, _ = random_batch((40, 56))
    more = disturbed(build_deeplab_v1((40, 56, 3), 3, head=8, multi_scale=True, **VGG))
    less = build_deeplab_v1((40, 56, 3), 3, head=8, **VGG)
    for layer in less.layers:
        weights = more.get_layer(layer.name).get_weights()
        if layer.name == "pre_activation":
            assert weights[0].shape == (1, 1, 8 + 5 * 8, 3)
            weights[0] = weights[0][:, :, :8]
        layer.set_weights(weights)
    assert np.abs(predict(more, pictures) - predict(less, pictures)).max() > 1e-4
    kernel, bias = more.get_layer("pre_activation").get_weights()
    kernel[:, :, 8:] = 0
    more.get_layer("pre_activation").set_weights([kernel, bias])
    np.testing.assert_allclose(predict(more, pictures), predict(less, pictures), atol=1e-6)


# Version 2


def test_branches_are_added_whatever_their_order():
    keras.utils.set_random_seed(0)
    pictures, _ = random_batch((64, 96))
    model = disturbed(build_deeplab_v2((64, 96, 3), 3, **RESNET))
    turned = disturbed(build_deeplab_v2((64, 96, 3), 3, rates=(24, 18, 12, 6), **RESNET))
    heads = ["pre_activation", *(f"pre_activation_{number}" for number in (2, 3, 4))]
    turned.set_weights(model.get_weights())
    assert np.abs(predict(turned, pictures) - predict(model, pictures)).max() > 1e-3
    for name, other in zip(heads, reversed(heads), strict=True):
        turned.get_layer(name).set_weights(model.get_layer(other).get_weights())
    np.testing.assert_allclose(predict(turned, pictures), predict(model, pictures), atol=1e-5)


@pytest.mark.parametrize("build", [build_deeplab_v2, build_deeplab_v2_vgg16])
def test_four_equal_branches_are_one(build):
    keras.utils.set_random_seed(0)
    pictures, _ = random_batch((32, 48))
    settings = RESNET if build is build_deeplab_v2 else VGG | {"head": 8}
    one = disturbed(build((32, 48, 3), 3, rates=(2,), **settings))
    four = build((32, 48, 3), 3, rates=(2, 2, 2, 2), **settings)
    for layer in four.layers:
        name = layer.name
        branch = name.startswith(("aspp", "pre_activation"))
        if branch:  # "aspp3_fc6_conv" and "pre_activation_3" are those of the first
            name = f"aspp1{name[5:]}" if name.startswith("aspp") else "pre_activation"
        weights = one.get_layer(name).get_weights() if name != "scores_sum" else []
        if name == "pre_activation":
            weights = [weight / 4 for weight in weights]
        layer.set_weights(weights)
    np.testing.assert_allclose(predict(four, pictures), predict(one, pictures), atol=1e-6)


# Version 3


def rates_of(model):
    """Rates of the 3x3 convolutions that have one, by name."""
    found = {}
    for call in trace(model)[0]:
        rate = getattr(call.layer, "dilation_rate", (1, 1))
        if rate != (1, 1):
            found[call.layer.name] = rate[0]
    return found


@pytest.mark.parametrize(("output_stride", "by"), [(16, 1), (8, 2)])
def test_rates_follow_from_the_output_stride(output_stride, by):
    options = {"width": 4, "blocks": (1, 1, 2, 3), "output_stride": output_stride}
    found = rates_of(hollow(lambda: build_deeplab_v3((64, 96, 3), 3, **options)))
    expected = {f"conv5_block{n}_2_conv": by * rate for n, rate in ((1, 2), (2, 4), (3, 8))}
    expected |= {f"aspp_atrous{n}_conv": by * rate for n, rate in ((1, 6), (2, 12), (3, 18))}
    if by == 2:
        expected |= {"conv4_block1_2_conv": 2, "conv4_block2_2_conv": 2}
    assert found == expected
    found = rates_of(hollow(lambda: build_deeplab_v3_cascade((64, 96, 3), 3, **options)))
    stages = [[found[f"conv{s}_block{n}_2_conv"] for n in (1, 2, 3)] for s in (5, 6, 7, 8)]
    assert stages == [[by * rate * g for g in (1, 2, 1)] for rate in (2, 4, 8, 16)]


@pytest.mark.parametrize(
    ("name", "last", "pyramid"),
    [
        ("deeplab-v3", [2, 4, 8], [6, 12, 18]),
        ("deeplab-v3-os8", [4, 8, 16], [12, 24, 36]),
        ("deeplab-v3-os8-without-pooling", [4, 8, 16], [12, 24, 36]),
        ("deeplab-v3-os8-without-grid", [4, 4, 4], [12, 24, 36]),
        ("deeplab-v3plus", [2, 4, 8], [6, 12, 18]),
    ],
)
def test_rates_of_rows(name, last, pyramid):
    """What the comparison trains under a name."""
    settings = {"width": 4, "blocks": (1, 1, 1, 3)}
    model = hollow(lambda: zoo.build(name, (64, 96, 3), 3, settings))
    rates = rates_of(model)
    assert [rates[f"conv5_block{n}_2_conv"] for n in (1, 2, 3)] == last
    assert [rates[f"aspp_atrous{n}_conv"] for n in (1, 2, 3)] == pyramid
    layers = {layer.name for layer in model.layers}
    assert ("aspp_image_conv" in layers) == (name != "deeplab-v3-os8-without-pooling")


@pytest.mark.parametrize(
    ("name", "layer", "rate", "kernel"),
    [
        ("deeplab-v1", "fov6_conv", 12, 3),
        ("deeplab-v1-7x7", "fc6_conv", 4, 7),
        ("deeplab-v1-4x4", "fov6_conv", 4, 4),
    ],
)
def test_large_fov_of_rows(name, layer, rate, kernel):
    settings = {"width": 4, "head": 8}
    model = hollow(lambda: zoo.build(name, (64, 96, 3), 3, settings))
    fc6 = model.get_layer(layer)
    assert (fc6.dilation_rate, fc6.kernel_size) == ((rate, rate), (kernel, kernel))
    # Of the authors' prototxt, behind fc6 and fc7.
    dropouts = [each.rate for each in model.layers if isinstance(each, keras.layers.Dropout)]
    assert dropouts == [0.5, 0.5]


def behind(model, names, pictures):
    """What layers of `model` make of pictures."""
    outputs = [model.get_layer(name).output for name in names]
    return predict(keras.Model(model.input, outputs), pictures)


@pytest.mark.long
@pytest.mark.parametrize("build", [build_deeplab_v3, build_deeplab_v3_cascade])
def test_every_second_value_at_a_stride_of_8_is_that_at_16(build):
    """With the same weights. Image pooling is not, since it averages other values."""
    pictures, _ = random_batch((64, 96), number=1)
    if build is build_deeplab_v3:
        names = ["aspp_point_relu", *(f"aspp_atrous{number}_relu" for number in (1, 2, 3))]
    else:
        names = [f"conv{stage}_block1_out" for stage in (6, 7, 8)]
    found = {}
    for stride in (8, 16):
        keras.utils.set_random_seed(0)
        model = disturbed(build((64, 96, 3), 3, output_stride=stride, **RESNET))
        found[stride] = behind(model, names, pictures)
    for fine, coarse in zip(found[8], found[16], strict=True):
        assert fine.shape[1:3] == (8, 12) and np.ptp(coarse) > 0.1
        np.testing.assert_allclose(fine[:, ::2, ::2], coarse, rtol=1e-4, atol=1e-3)


def test_image_pooling_says_the_same_everywhere_and_alone_sees_everything():
    """A value in a corner, of which no rate leads to the opposite one."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((16, 24, 8))
    names = ["aspp_point_relu", *(f"aspp_atrous{number}_relu" for number in (1, 2, 3))]
    x = np.random.default_rng(0).uniform(0, 1, (1, 16, 24, 8)).astype("float32")
    moved = x.copy()
    moved[0, 0, 0] += 10
    for pooling in (True, False):
        model = keras.Model(inputs, aspp(inputs, 8, 16, image_pooling=pooling))
        for layer in model.layers:
            if isinstance(layer, layers.Conv2D):
                layer.kernel.assign(np.ones(layer.kernel.shape))  # nothing for ReLU to take away
        change = np.abs(predict(model, moved) - predict(model, x))[0]
        assert change[0, 0].min() > 1
        assert (change[15, 23].min() > 0.1) if pooling else (change[15, 23].max() == 0)
        for before, after in zip(behind(model, names, x), behind(model, names, moved), strict=True):
            assert np.abs(after - before)[0, 15, 23].max() == 0
        if pooling:
            (image,) = behind(model, ["aspp_image_enlarge"], x)[None]
            assert image.shape == (1, 16, 24, 8) and np.ptp(image, axis=(1, 2)).max() == 0


def normalised(kind, x, training, **options):
    """The layer's output, its mean and its variance, after one call."""
    layer = kind(epsilon=1e-5, **options)
    layer.build(x.shape)
    layer.set_weights([noise(x.shape[-1], seed=seed) ** 2 for seed in range(4)])
    output = keras.ops.convert_to_numpy(layer(x, training=training))
    return [output, *layer.get_weights()[2:]]


@pytest.mark.parametrize("training", [True, False])
def test_several_images_are_normalised_as_ever(training):
    x = noise(3, 1, 1, 4)
    found = normalised(ImageNormalization, x, training)
    for one, other in zip(found, normalised(layers.BatchNormalization, x, training), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_single_image_is_normalised_as_in_prediction():
    """Keras' own says `beta` of any image, and its variance fades."""
    one, other = noise(1, 1, 1, 4), noise(1, 1, 1, 4, seed=1)
    found, mean, variance = normalised(ImageNormalization, one, training=True)
    expected, *statistics = normalised(ImageNormalization, one, training=False)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    np.testing.assert_array_equal([mean, variance], statistics)
    assert np.abs(found - normalised(ImageNormalization, other, training=True)[0]).max() > 0.1
    keras_own = [normalised(layers.BatchNormalization, x, training=True) for x in (one, other)]
    np.testing.assert_allclose(keras_own[0][0], keras_own[1][0], atol=1e-4)
    assert (keras_own[0][2] < variance).all()


@pytest.mark.usefixtures("mixed_bfloat16")
def test_images_are_normalised_in_bfloat16_too():
    output, *statistics = normalised(ImageNormalization, noise(2, 1, 1, 4), training=True)
    assert str(output.dtype) == "bfloat16" and statistics[0].dtype == np.float32


def test_training_with_single_pictures_leaves_the_network_whole():
    """As a graph in which the number of pictures is not known: 2, 1 and 1 of them.

    From image pooling of a single one nothing is learnt: what it says everywhere alike, the
    normalisation behind the pyramid takes away.
    """
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4, 6, 8))
    model = keras.Model(inputs, aspp(inputs, 8, 16))
    layer = model.get_layer("aspp_image_bn")
    assert type(layer) is ImageNormalization
    kernel = model.get_layer("aspp_image_conv").kernel
    model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=JIT)
    seen, moved = [layer.get_weights()[2:]], []
    for number in (2, 1, 1):
        before = keras.ops.convert_to_numpy(kernel)
        model.train_on_batch(noise(number, 4, 6, 8, seed=number), noise(number, 4, 6, 8))
        seen.append(layer.get_weights()[2:])
        moved.append(np.abs(keras.ops.convert_to_numpy(kernel) - before).max())
    assert np.abs(seen[1][0] - seen[0][0]).max() > 1e-4
    for after in seen[2:]:
        np.testing.assert_array_equal(after, seen[1])
    assert moved[0] > 1e-5 > max(moved[1:])


# Version 3+


def test_without_the_decoder_it_is_version_3():
    keras.utils.set_random_seed(0)
    pictures, _ = random_batch((64, 96))
    model = disturbed(build_deeplab_v3plus((64, 96, 3), 3, decoder=False, **RESNET))
    version3 = build_deeplab_v3((64, 96, 3), 3, **RESNET)
    for layer in version3.layers:
        layer.set_weights(model.get_layer(layer.name).get_weights())
    np.testing.assert_array_equal(predict(model, pictures), predict(version3, pictures))


@pytest.mark.parametrize("build", [build_deeplab_v3plus, build_deeplab_v3plus_xception])
@pytest.mark.parametrize("output_stride", [8, 16])
def test_the_decoder_reads_48_channels_at_a_quarter(build, output_stride):
    options = {"output_stride": output_stride}
    options |= {"blocks": (1, 1, 1, 1)} if build is build_deeplab_v3plus else {"blocks": (1,)}
    model = hollow(lambda: build((64, 96, 3), 3, **options))
    assert model.get_layer("decoder_low_level_conv").input.shape == (None, 16, 24, 256)
    assert model.get_layer("decoder_low_level_relu").output.shape == (None, 16, 24, 48)
    assert model.get_layer("decoder_enlarge").size == (output_stride // 4,) * 2
    assert model.get_layer("decoder_both").output.shape == (None, 16, 24, 48 + 256)
    assert model.get_layer("pre_activation").output.shape == (None, 16, 24, 3)


@pytest.mark.parametrize(
    ("build", "backbone"),
    [(build_deeplab_v3plus, 1.001e-5), (build_deeplab_v3plus_xception, 1e-3)],
)
def test_every_normalisation_has_the_epsilon_of_its_place(build, backbone):
    settings = {"blocks": (1, 1, 1, 1)} if build is build_deeplab_v3plus else {"blocks": (1,)}
    model = hollow(lambda: build((64, 96, 3), 3, width=4, **settings))
    nested = next(layer for layer in model.layers if isinstance(layer, keras.Model))
    for network, epsilon in ((model, 1e-5), (nested, backbone)):
        found = {n.name: n.epsilon for n in network.layers if n.name.endswith("_bn")}
        assert len(found) > 8 and set(found.values()) == {epsilon}


def test_separable_convolutions_are_in_pyramid_and_decoder():
    model = hollow(lambda: build_deeplab_v3plus_xception((64, 96, 3), 3, width=4, blocks=(1,)))
    found = [n.name for n in model.layers if isinstance(n, layers.DepthwiseConv2D)]
    assert found == [f"aspp_atrous{n}_depthwise" for n in (1, 2, 3)] + [
        f"decoder_{n}_depthwise" for n in (1, 2)
    ]
    for name in found:  # ReLU behind both halves
        for half in (name, name.replace("depthwise", "pointwise")):
            assert model.get_layer(f"{half}_relu").input is model.get_layer(f"{half}_bn").output


# Learning


@pytest.mark.long
@pytest.mark.parametrize(
    ("build", "settings"),
    [
        (build_deeplab_v1, {"width": 16, "blocks": (1, 1, 1, 1, 1), "head": 256}),
        (build_deeplab_v3, RESNET | {"width": 8}),
        (build_deeplab_v3plus, RESNET | {"width": 8}),
    ],
)
def test_it_learns_a_batch_by_heart(build, settings):
    keras.utils.set_random_seed(0)
    model = build((64, 96, 3), 3, **settings)
    forget_soon(model)
    pictures, _ = random_batch((64, 96))
    labels = np.zeros((2, 64, 96), np.uint8)
    for number in range(2):  # a block of one class each, elsewhere in each picture
        labels[number, 16:48, 16 * number : 16 * number + 32] = 1 + number
        pictures[number][labels[number] > 0] = [(200, 30, 30), (30, 30, 200)][number]
    # As in test_fcn: Adam's graph would take longer than all of the steps of many small weights.
    normalised = build is not build_deeplab_v1
    by = keras.optimizers.SGD(0.1, momentum=0.9) if normalised else adam(3e-3)
    model.compile(by, PixelCrossEntropy(), jit_compile=JIT)
    model.optimizer.build(model.trainable_variables)  # else TensorFlow traces twice
    for _ in range(40 if normalised else 60):
        model.train_on_batch(pictures, labels)
    assert (predict(model, pictures).argmax(-1) == labels).mean() > 0.93
