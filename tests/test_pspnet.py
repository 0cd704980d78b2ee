"""PSPNet: exact counts, its bins against a loop, and a second head that only training hears of."""

import keras
import numpy as np
import pytest
from conftest import disturbed, hollow, learnt_by_heart, predict, random_batch

from engine.trainer import JIT
from evaluation import answering
from fast.folding import fold
from losses import PixelCrossEntropy
from tools.summary import Reach, trace
from zoo.pspnet import BINS, AverageBins, build_pspnet, pyramid_pooling
from zoo.resnet_v1 import RESNET50, RESNET101

TINY = {"width": 4, "blocks": (1, 1, 1, 1)}
TRUNK = {RESNET50: 23_508_032, RESNET101: 42_500_160}


def tiny(size=(64, 96), **settings):
    keras.utils.set_random_seed(0)
    return build_pspnet((*size, 3), 3, **TINY, **settings)


@pytest.mark.parametrize("blocks", [RESNET50, RESNET101])
@pytest.mark.parametrize(("classes", "size"), [(21, (64, 96)), (4, (101, 77))])
def test_parameters(classes, size, blocks):
    pyramid = 4 * (2048 * 512 + 2 * 512)
    assert pyramid == 4_198_400
    head = 9 * 4096 * 512 + 2 * 512 + (512 + 1) * classes
    auxiliary = 9 * 1024 * 256 + 2 * 256 + (256 + 1) * classes
    for second in (False, True):
        model = hollow(
            lambda second=second: build_pspnet((*size, 3), classes, blocks=blocks, auxiliary=second)
        )
        found = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
        assert found == TRUNK[blocks] + pyramid + head + second * auxiliary
        if blocks == RESNET50 and not second:
            assert found == {21: 46_592_597, 4: 46_583_876}[classes]


def test_a_square_of_bins_is_that_of_a_loop():
    """At 7x10, where bins share rows and columns; 1 is the mean of all."""
    x = np.random.default_rng(0).normal(0, 1, (2, 7, 10, 3)).astype("float32")
    for n in BINS:
        found = keras.ops.convert_to_numpy(AverageBins(n)(x))
        keras_own = keras.ops.convert_to_numpy(keras.layers.AdaptiveAveragePooling2D(n)(x))
        np.testing.assert_allclose(found, keras_own, atol=1e-6)
        for i in range(n):
            for j in range(n):
                rows = slice(i * 7 // n, -(-(i + 1) * 7 // n))
                columns = slice(j * 10 // n, -(-(j + 1) * 10 // n))
                expected = x[:, rows, columns].mean((1, 2))
                np.testing.assert_allclose(found[:, i, j], expected, atol=1e-6)


@pytest.mark.parametrize("size", [(8, 12), (4, 5), (7, 10)])
def test_the_pyramid_keeps_its_map_and_what_is_constant(size):
    """Smaller than six bins, too."""
    inputs = keras.Input((*size, 8))
    model = keras.Model(inputs, pyramid_pooling(inputs))
    varied = np.random.default_rng(0).normal(0, 1, (1, *size, 8)).astype("float32")
    found = predict(model, varied)
    assert found.shape == (1, *size, 16)
    np.testing.assert_array_equal(found[..., :8], varied)
    # What 1x1 says is the same everywhere; what the others say is not.
    np.testing.assert_allclose(np.ptp(found[..., 8:10], axis=(1, 2)), 0, atol=1e-6)
    assert (np.ptp(found[..., 10:], axis=(1, 2)).max(-1) > 1e-3).all()
    constant = predict(model, np.ones_like(varied))
    np.testing.assert_allclose(np.ptp(constant, axis=(1, 2)), 0, atol=1e-6)


def test_bins_are_the_papers_and_enlarged_between_their_centres():
    inputs = keras.Input((24, 36, 8))
    model = keras.Model(inputs, pyramid_pooling(inputs))
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            layer.kernel.assign(np.ones(layer.kernel.shape))
    x = np.random.default_rng(0).uniform(0, 1, (1, 24, 36, 8)).astype("float32")
    found = predict(model, x)[0, ..., 8:]
    for level, n in enumerate((1, 2, 3, 6)):  # the sum of the channels of each bin, as it is
        bins = np.float32(
            [
                [
                    x[0, i : i + 24 // n, j : j + 36 // n].mean((0, 1)).sum()
                    for j in range(0, 36, 36 // n)
                ]
                for i in range(0, 24, 24 // n)
            ]
        )
        expected = keras.ops.image.resize(bins[None, ..., None], (24, 36), "bilinear")
        scale = np.sqrt(1 + 1e-5)  # of a normalisation that has seen nothing
        np.testing.assert_allclose(
            found[..., 2 * level] * scale, np.array(expected)[0, ..., 0], rtol=1e-4
        )
    assert found.shape[-1] == 4 * 2


def test_its_map_is_an_eighth_of_the_picture():
    model = hollow(lambda: build_pspnet((64, 96, 3), 3, width=4, blocks=(1, 1, 2, 2)))
    assert model.get_layer("pyramid").output.shape[1:3] == (8, 12)
    rates = {
        call.layer.name: call.layer.dilation_rate[0]
        for call in trace(model)[0]
        if call.layer.name.startswith("conv") and call.layer.name.endswith("_2_conv")
    }
    expected = {"conv2_block1": 1, "conv3_block1": 1, "conv4_block1": 2, "conv4_block2": 2}
    expected |= {"conv5_block1": 4, "conv5_block2": 4}
    assert rates == {f"{block}_2_conv": rate for block, rate in expected.items()}
    heads = [layer for layer in model.layers if layer.name.endswith("_bn")]
    assert {layer.epsilon for layer in heads} == {1e-5} and len(heads) == len(BINS) + 2
    dropouts = [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert dropouts == [0.1, 0.1]


def test_training_with_single_pictures_leaves_the_mean_of_all_alone():
    """The variance of one value is 0: in time the moving one would be, and prediction explode."""
    inputs = keras.Input((4, 6, 8))
    model = keras.Model(inputs, pyramid_pooling(inputs))
    model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=JIT)
    of_all, halves = model.get_layer("bins1_bn"), model.get_layer("bins2_bn")
    before = of_all.get_weights()[2:], halves.get_weights()[2:]
    random = np.random.default_rng(0)
    model.train_on_batch(random.normal(0, 1, (1, 4, 6, 8)), random.normal(0, 1, (1, 4, 6, 16)))
    np.testing.assert_array_equal(of_all.get_weights()[2:], before[0])
    assert (halves.get_weights()[3] != before[1][1]).all()
    model.train_on_batch(random.normal(0, 1, (2, 4, 6, 8)), random.normal(0, 1, (2, 4, 6, 16)))
    assert (of_all.get_weights()[3] != before[0][1]).all()


def test_bins_are_counted():
    layer, before = AverageBins(3), (None, 7, 10, 2)
    # Rows 0-2, 2-4, 4-6; columns 0-3, 3-6, 6-9.
    assert layer.macs(before, (None, 3, 3, 2)) == 9 * 12 * 2
    assert layer.reach(Reach(11, 8), before, None) == Reach(11 + 2 * 8, 8 * 7 / 3)
    assert AverageBins(1).reach(Reach(11, 8), before, None) == Reach(np.inf, 56)


def test_a_far_pixel_is_seen_through_the_pyramid_alone():
    inputs = keras.Input((16, 24, 8))
    model = keras.Model(inputs, pyramid_pooling(inputs))
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            layer.kernel.assign(np.ones(layer.kernel.shape))  # nothing for ReLU to take away
    x = np.random.default_rng(0).uniform(0, 1, (1, 16, 24, 8)).astype("float32")
    moved = x.copy()
    moved[0, 0, 0] += 10
    change = np.abs(predict(model, moved) - predict(model, x))[0, -1, -1]
    assert change[:8].max() == 0 and change[8:10].min() > 0.1  # the map; the mean of all
    assert change[10:].max() < 1e-5  # the bins of other corners


def test_the_loss_of_the_second_head_counts_0_4():
    model = disturbed(tiny())
    pictures, labels = random_batch((64, 96), n_classes=3)
    model.compile(keras.optimizers.SGD(0.0), PixelCrossEntropy(), run_eagerly=True)
    outputs = model(pictures, training=False)
    answer, second = (float(PixelCrossEntropy()(labels, output)) for output in outputs)
    found = model.evaluate(pictures, labels, verbose=0)
    assert found == pytest.approx(answer + 0.4 * second, rel=1e-5)


def test_without_the_second_head_the_answer_is_the_same():
    """In evaluation it is not computed either."""
    pictures, _ = random_batch((64, 96))
    both, alone = disturbed(tiny()), tiny(auxiliary=False)
    expected = predict(both, pictures)[0]
    for layer in alone.layers:
        layer.set_weights(both.get_layer(layer.name).get_weights())
    np.testing.assert_array_equal(predict(alone, pictures), expected)
    folded = fold(answering(both))
    np.testing.assert_allclose(predict(folded, pictures), expected, atol=1e-5)
    assert not [layer.name for layer in folded.layers if layer.name.startswith("auxiliary")]


def test_without_the_pyramid_the_head_has_the_map_alone():
    model = tiny(pooling=False)
    assert model.get_layer("head_conv").input.shape == (None, 8, 12, 8 * 4 * 4)
    assert not [layer.name for layer in model.layers if layer.name.startswith("bins")]


@pytest.mark.long
def test_it_learns_a_batch_by_heart():
    keras.utils.set_random_seed(0)
    model = build_pspnet((32, 48, 3), 3, width=8, blocks=(1, 1, 1, 1))
    assert learnt_by_heart(model, rate=0.05, steps=40) > 0.9
