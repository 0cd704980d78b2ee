"""FCN-32s to -2s: exact counts, the arithmetic of their skips, and where their answers lie."""

import keras
import numpy as np
import pytest
from conftest import count, disturbed, from_corners, hollow, predict, random_batch

import zoo
from engine.records import Network
from engine.trainer import JIT
from engine.transfer import start_from
from engine.weights import save_weights
from fast.adam import adam
from losses import PixelCrossEntropy
from tools.summary import trace
from utils.classes import named
from utils.errors import UserError
from zoo.fcn import build_fcn_resnet, build_fcn_vgg16
from zoo.parts import MEANS
from zoo.resnet_v1 import RESNET101, build_resnet_v1

TINY = {"width": 4, "blocks": (1, 1, 1, 1, 1)}
TINY_RESNET = {"width": 4, "blocks": (1, 1, 1, 1)}
SCORES = ("pre_activation", "skip4_score", "skip3_score", "skip2_score", "skip1_score")


def tiny(skips=2, size=(64, 96), n_classes=3, seed=0, **settings):
    """A narrow network whose layers that score are not zero, and whose biases are."""
    keras.utils.set_random_seed(seed)
    model = build_fcn_vgg16((*size, 3), n_classes, skips=skips, **TINY | settings)
    return scoring(model)


def scoring(model, scale=1.0):
    """`model` with random numbers in the layers that score, which say about `scale` times as much
    as four inputs of theirs do."""
    random = np.random.default_rng(1)
    for name in SCORES[: sum(layer.name in SCORES for layer in model.layers)]:
        kernel = model.get_layer(name).kernel
        kernel.assign(random.normal(0, scale * (4 / kernel.shape[2]) ** 0.5, kernel.shape))
    return model


def enlarged(scores, *factors):
    """Scores (B, h, w, C), resized bilinearly again and again."""
    for factor in factors:
        scores = keras.layers.UpSampling2D(factor, interpolation="bilinear")(scores)
    return scores


def scores_of(model, pictures, layer="pre_activation"):
    """What a layer makes of pictures."""
    return keras.Model(model.input, model.get_layer(layer).output)(pictures, training=False)


def softmax(scores, size):
    """The probabilities of scores, cropped to (H, W)."""
    return keras.ops.convert_to_numpy(keras.ops.softmax(scores))[:, : size[0], : size[1]]


# Counts

VGG16 = 14_714_688  # 3x3 kernels and biases of 13 convolutions
FC6, FC7 = 7 * 7 * 512 * 4096 + 4096, 4096 * 4096 + 4096  # 102,764,544 and 16,781,312
CHANNELS = (512, 256, 128, 64)  # of the pools 4 to 1
RESNET50_FCN = (2048, 1024, 512)  # channels of the maps at 1/32, 1/16, 1/8


@pytest.mark.parametrize("size", [(64, 96), (101, 77)])
@pytest.mark.parametrize(
    ("skips", "with_21", "with_4"),
    [
        (0, 134_346_581, 134_276_932),
        (1, 134_357_354, 134_278_984),
        (2, 134_362_751, 134_280_012),
        (3, 134_365_460, 134_280_528),
        (4, 134_366_825, 134_280_788),
    ],
)
def test_parameters_on_vgg16(skips, with_21, with_4, size):
    for classes, expected in ((21, with_21), (4, with_4)):
        # Each layer that scores has a bias for each class.
        scores = sum((channels + 1) * classes for channels in (4096, *CHANNELS[:skips]))
        assert VGG16 + FC6 + FC7 + scores == expected
        assert count(lambda c=classes: build_fcn_vgg16((*size, 3), c, skips=skips)) == expected


# What is trained, as in the specification; each channel of a normalisation has two statistics
# besides: 2 * (64 + 3 * 2 * 64 + 4 * 2 * 128 + 6 * 2 * 256 + 3 * 2 * 512 in front of the last
# 1x1s, 3 * 256 + 4 * 512 + 6 * 1024 + 3 * 2048 behind these, 256 + 512 + 1024 + 2048 on shortcuts)
# = 53,120.
@pytest.mark.parametrize(
    ("skips", "with_21", "with_4"),
    [
        (0, 23_551_061, 23_516_228),
        (1, 23_572_586, 23_520_328),
        (2, 23_583_359, 23_522_380),
    ],
)
def test_parameters_on_resnet50(skips, with_21, with_4):
    for classes, expected in ((21, with_21), (4, with_4)):
        scores = sum((channels + 1) * classes for channels in RESNET50_FCN[: skips + 1])
        assert 23_508_032 + scores == expected
        model = hollow(lambda c=classes: build_fcn_resnet((64, 96, 3), c, skips=skips))
        assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == expected
        assert model.count_params() == expected + 53_120


def test_parameters_on_resnet101():
    # 17 more blocks of the third stage: 1024 * 256 + 9 * 256 * 256 + 256 * 1024, and four numbers
    # for each of 256 + 256 + 1024 channels.
    expected = 23_522_380 + 53_120 + 17 * (1_114_112 + 4 * 1536)
    build = build_fcn_resnet
    assert count(lambda: build((64, 64, 3), 4, skips=2, blocks=RESNET101)) == expected
    assert zoo.MODELS["fcn8s-resnet101"].parameters == expected == 42_514_508 + 105_344


@pytest.mark.parametrize("skips", [-1, 5])
def test_skips_that_do_not_exist(skips):
    for build in (build_fcn_vgg16, build_fcn_resnet):
        with pytest.raises(UserError, match=f"skips {skips}: .* 0 to 4"):
            build((32, 32, 3), 3, skips=skips)
    with pytest.raises(UserError, match=f"skips {skips}"):
        zoo.complete("fcn8s", {"skips": skips})


# The skips


@pytest.mark.parametrize("skips", [0, 1, 2, 3, 4])
def test_without_scores_the_skips_are_a_chain_of_enlargements(skips):
    model = tiny(skips, size=(60, 90))
    for name in SCORES[1 : skips + 1]:
        model.get_layer(name).kernel.assign(np.zeros(model.get_layer(name).kernel.shape))
    pictures, _ = random_batch((60, 90))
    scores = scores_of(model, pictures)
    assert scores.shape == (2, 2, 3, 3)
    expected = softmax(enlarged(scores, *[2] * skips, 32 >> skips), (60, 90))
    np.testing.assert_allclose(predict(model, pictures), expected, atol=1e-5)
    # Bilinear of bilinear is nearly bilinear.
    at_once = softmax(enlarged(scores, 32), (60, 90))
    assert np.abs(at_once - expected).max() < 0.2 * np.ptp(expected)


def test_a_network_goes_on_from_one_with_fewer_skips(tmp_path, capsys):
    """A new skip changes nothing at first but the chain, since it scores zero."""
    coarse = tiny(0)
    network = Network("fcn32s", (64, 96, 3), named(["background", "a", "b"]), TINY)
    run = {"size": [64, 96], "schedule_epochs": 1}
    configuration = {"network": network.content(), "data": {}, "run": run}
    save_weights(coarse, tmp_path / "a.weights.h5", configuration)
    finer = build_fcn_vgg16((64, 96, 3), 3, skips=1, **TINY)
    start_from(finer, "fcn16s", tmp_path / "a.weights.h5")
    assert "anew: skip4_score." in capsys.readouterr().out
    pictures, _ = random_batch((64, 96))
    expected = softmax(enlarged(scores_of(coarse, pictures), 2, 16), (64, 96))
    np.testing.assert_allclose(predict(finer, pictures), expected, atol=1e-5)


@pytest.mark.parametrize("build", [build_fcn_vgg16, build_fcn_resnet])
def test_a_skip_is_the_sum_of_scores(build):
    keras.utils.set_random_seed(0)
    settings = TINY if build is build_fcn_vgg16 else TINY_RESNET
    model = scoring(disturbed(build((64, 96, 3), 3, skips=2, **settings)))
    pictures, _ = random_batch((64, 96))
    coarse, middle, fine = (scores_of(model, pictures, name) for name in SCORES[:3])
    enlarge = enlarged if build is build_fcn_vgg16 else from_corners
    coarse, middle, fine = map(keras.ops.convert_to_numpy, (coarse, middle, fine))
    expected = enlarge(enlarge(enlarge(coarse, 2) + middle, 2) + fine, 8)
    np.testing.assert_allclose(predict(model, pictures), softmax(expected, (64, 96)), atol=1e-5)


def test_taps_are_behind_the_pools_of_vgg16():
    model = build_fcn_vgg16((64, 96, 3), 3, skips=4, **TINY)
    backbone = model.get_layer("vgg16")
    for level, name in zip((4, 3, 2, 1), SCORES[1:], strict=True):
        tap = model.get_layer(name).input
        assert tap.shape == (None, 64 >> level, 96 >> level, 4 * min(2 ** (level - 1), 8))
        pool = backbone.get_layer(f"block{level}_pool").output
        assert backbone.output[f"P{level}"] is pool


def test_taps_are_at_the_ends_of_the_stages_of_resnet50():
    """Where Keras' own has 1/8, 1/16 and 1/32; one of version 2 is a stride further there."""
    model = hollow(lambda: build_fcn_resnet((64, 96, 3), 3, skips=2))
    backbone, original = model.get_layer("resnet50"), keras.applications.ResNet50
    theirs = hollow(lambda: original(weights=None, include_top=False, input_shape=(64, 96, 3)))
    ends = ("conv5_block3_out", "conv4_block6_out", "conv3_block4_out")
    for place, end, score in zip(("P5", "P4", "P3"), ends, SCORES, strict=False):
        stride = 2 ** int(place[1])
        assert backbone.output[place] is backbone.get_layer(end).output
        tap = model.get_layer(score).input
        assert tap.shape == theirs.get_layer(end).output.shape
        assert tap.shape[1:3] == (64 // stride, 96 // stride)


# Enlarging


def bilinear_kernel(size):
    """The weights (size,) of the authors' kernel along one axis."""
    half = (size + 1) // 2
    centre = half - 1 if size % 2 else half - 0.5
    return 1 - np.abs(np.arange(size) - centre) / half


@pytest.mark.parametrize("factor", [2, 4, 8, 16, 32])
def test_enlarging_is_the_fixed_kernel_of_the_authors(factor):
    """A transposed convolution, kernel 2s and stride s; beyond the border it takes zeros."""
    scores = np.random.default_rng(0).normal(size=(1, 4, 5, 2)).astype("float32")
    row = bilinear_kernel(2 * factor)
    kernel = np.multiply.outer(np.outer(row, row), np.eye(2))  # (2s, 2s, out, in)
    expected = keras.ops.conv_transpose(scores, kernel.astype("float32"), factor, "same")
    expected = keras.ops.convert_to_numpy(expected)
    actual = keras.ops.convert_to_numpy(enlarged(scores, factor))
    inside = (slice(None), *[slice(factor // 2, -factor // 2)] * 2)
    np.testing.assert_allclose(actual[inside], expected[inside], atol=1e-5)
    assert np.abs(actual - expected)[:, 0].max() > 0.01  # there ours has the nearest score


def test_nothing_is_trained_in_enlarging():
    model = build_fcn_vgg16((64, 96, 3), 3, skips=2, **TINY)
    enlarging = [layer for layer in model.layers if layer.name.endswith("_enlarge")]
    assert [layer.size for layer in enlarging] == [(2, 2), (2, 2), (8, 8)]
    for layer in enlarging:
        assert layer.interpolation == "bilinear" and not layer.weights
    kinds = (keras.layers.UpSampling2D, keras.layers.Conv2DTranspose)
    assert [layer for layer in model.layers if isinstance(layer, kinds)] == enlarging


# Where the answers lie


def test_receptive_field():
    model = hollow(lambda: build_fcn_vgg16((64, 96, 3), 21, skips=2))
    reach = {call.layer.name: call.reach for call in trace(model)[0]}
    expected = {"block5_conv3": (196, 16), "block5_pool": (212, 32), "fc6_conv": (404, 32)}
    expected |= {"pre_activation": (404, 32), "skip4_score": (100, 16), "skip3_score": (44, 8)}
    for name, (field, stride) in expected.items():
        assert (reach[name].field, reach[name].stride) == (field, stride), name


def patch(size, top, left, seed=0):
    """A picture (1, H, W, 3) of noise 64 pixels wide, on a ground that is zero in the network."""
    picture = np.empty((1, *size, 3), "float32")
    picture[:] = np.asarray(MEANS, "float32")
    noise = np.random.default_rng(seed).uniform(0, 255, (64, 64, 3))
    picture[0, top : top + 64, left : left + 64] = noise
    return picture


@pytest.mark.parametrize("skips", [0, 1, 2, 3, 4])
def test_a_step_of_the_stride_moves_the_answer_as_far(skips):
    size = (448, 480)
    model = tiny(skips, size)
    here, there = (predict(model, patch(size, *place)) for place in ((192, 160), (192, 192)))
    assert np.ptp(here[0, :, :, 0]) > 0.05
    np.testing.assert_allclose(here[:, :, :-32], there[:, :, 32:], atol=1e-5)
    # Half as far it falls on the grid otherwise.
    off = predict(model, patch(size, 192, 176))
    assert np.abs(here[:, :, :-16] - off[:, :, 16:]).max() > 1e-3


@pytest.mark.parametrize("skips", [0, 2, 4])
def test_an_impulse_comes_back_centred(skips):
    """With kernels that are the same from both sides, as is the picture."""
    size = (448, 448)
    model = tiny(skips, size)
    for weight in model.trainable_weights:
        if len(weight.shape) == 4:
            kernel = keras.ops.convert_to_numpy(weight)
            weight.assign(kernel + kernel[::-1] + kernel[:, ::-1] + kernel[::-1, ::-1])
    picture = np.empty((1, *size, 3), "float32")
    picture[:] = np.asarray(MEANS, "float32")
    picture[0, 223:225, 223:225] = 255
    answer = predict(model, picture)[0]
    assert np.ptp(answer) > 0.01
    for turned in (answer[::-1], answer[:, ::-1]):
        np.testing.assert_allclose(answer, turned, atol=1e-3)
    # All that it changes is around the centre, as far as the network sees: 404 pixels, and what
    # enlarging adds.
    changed = np.abs(answer - answer[0, 0]).max(-1) > 1e-6
    rows = np.flatnonzero(changed.any(1))
    assert rows[0] + rows[-1] == size[0] - 1


def test_a_cell_of_a_resnet_is_centred_on_its_first_pixel():
    """Pixels turned on one by one move the cell (4, 4) of the map at 1/32 the most around 128."""
    model = build_resnet_v1((256, 256, 1), width=1, blocks=(1, 1, 1, 1))
    for weight in model.trainable_weights:
        if len(weight.shape) == 4:
            weight.assign(np.full(weight.shape, 1 / np.prod(weight.shape[:3])))
    rows = np.arange(112, 145)
    lines = np.zeros((len(rows), 256, 256, 1), "float32")
    lines[np.arange(len(rows)), rows] = 1
    moved = predict(model, lines)["P5"][:, 4, 4, 0]
    np.testing.assert_allclose(moved, moved[::-1], rtol=1e-4)  # 128 is in the middle of the rows
    assert moved[16] > 1.1 * moved[0] > 0


# Learning


@pytest.mark.parametrize("name", ["fcn32s", "fcn2s", "fcn8s-resnet50"])
def test_at_first_every_class_is_as_likely(name):
    settings = TINY_RESNET if "resnet" in name else TINY
    model = zoo.build(name, (64, 96, 3), 4, settings)
    pictures, labels = random_batch((64, 96), n_classes=4)
    answer = model(pictures, training=True)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(answer), 0.25, rtol=1e-7)
    assert float(PixelCrossEntropy()(labels, answer)) == pytest.approx(np.log(4), abs=1e-5)


def test_zeros_in_the_layers_that_score_are_left_in_the_first_step():
    model = build_fcn_vgg16((64, 96, 3), 3, skips=2, **TINY)
    model.compile(keras.optimizers.SGD(1.0), PixelCrossEntropy(), jit_compile=JIT)
    model.fit(*random_batch((64, 96)), verbose=0)
    for name in SCORES[:3]:
        assert np.abs(model.get_layer(name).get_weights()[0]).max() > 0, name


@pytest.mark.long
@pytest.mark.parametrize(("build", "steps"), [(build_fcn_vgg16, 100), (build_fcn_resnet, 30)])
def test_one_batch_can_be_learnt_by_heart(build, steps):
    keras.utils.set_random_seed(0)
    settings = TINY if build is build_fcn_vgg16 else TINY_RESNET
    model = build((64, 64, 3), 3, skips=2, **settings | {"width": 8})
    pictures, _ = random_batch((64, 64))
    labels = np.zeros((2, 64, 64), np.uint8)
    labels[0, 8:40, 8:40], labels[1, 16:, 16:48] = 1, 2
    # Of a ResNet's many small weights Adam's graph takes TensorFlow longer than all of the steps.
    by = adam(1e-2) if build is build_fcn_vgg16 else keras.optimizers.SGD(0.1, momentum=0.9)
    model.compile(by, PixelCrossEntropy(), jit_compile=JIT)
    model.optimizer.build(model.trainable_variables)  # else TensorFlow traces twice
    batches = [np.tile(each, (steps, 1, 1, 1)[: each.ndim]) for each in (pictures, labels)]
    model.fit(*batches, batch_size=2, shuffle=False, verbose=0)
    predicted = np.argmax(keras.ops.convert_to_numpy(model(pictures, training=True)), -1)
    assert (predicted == labels).mean() > 0.95


@pytest.mark.parametrize("build", [build_fcn_vgg16, build_fcn_resnet])
@pytest.mark.parametrize("size", [(32, 32), (33, 47), (101, 77)])
def test_any_size(build, size):
    settings = TINY if build is build_fcn_vgg16 else TINY_RESNET
    model = scoring(build((*size, 3), 3, skips=2, **settings))
    probabilities = predict(model, random_batch(size)[0])
    assert probabilities.shape == (2, *size, 3) and probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(-1), 1, atol=1e-5)


def test_the_network_can_be_saved_whole_and_predicts_the_same(tmp_path):
    pictures, _ = random_batch((64, 96))
    model = tiny(2)
    model.save(tmp_path / "fcn.keras")
    again = keras.models.load_model(tmp_path / "fcn.keras")
    np.testing.assert_array_equal(predict(model, pictures), predict(again, pictures))


def test_at_once_maps_are_scored_a_hundredth_and_a_ten_thousandth_as_large():
    pictures, _ = random_batch((64, 96))
    at_once, staged = (disturbed(tiny(at_once=once), seed=3) for once in (True, False))
    for name, scale in (("skip4_score", 0.01), ("skip3_score", 0.0001)):
        kernel, bias = at_once.get_layer(name).get_weights()
        staged.get_layer(name).set_weights([kernel * scale, bias])
    np.testing.assert_allclose(predict(at_once, pictures), predict(staged, pictures), atol=1e-5)
    staged.get_layer("skip4_score").set_weights(at_once.get_layer("skip4_score").get_weights())
    assert np.abs(predict(at_once, pictures) - predict(staged, pictures)).max() > 1e-3
    with pytest.raises(UserError, match="skips 3: at once an FCN learns up to 2"):
        tiny(skips=3, at_once=True)
