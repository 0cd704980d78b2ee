"""U-Net: exact counts, the sizes that valid convolutions let through, what a pixel sees, skips."""

import keras
import numpy as np
import pytest
from conftest import count, disturbed, predict, random_batch

from fast.adam import adam
from losses import PixelCrossEntropy
from utils.errors import UserError
from zoo.unet import MirrorPadding2D, border, build_unet, build_valid_unet, mirrored, valid_size

BOTH = pytest.mark.parametrize("valid", [True, False])


def tiny(size=(33, 47), n_classes=3, seed=0, **settings):
    keras.utils.set_random_seed(seed)
    return build_unet((*size, 3), n_classes, **{"width": 4} | settings)


def tiny_core(size, n_classes=3, seed=0, channels=3, **settings):
    keras.utils.set_random_seed(seed)
    return build_valid_unet((*size, channels), n_classes, **{"width": 2} | settings)


# Counts


def test_parameters_by_hand():
    def two(a, b):
        return 9 * a * b + b + 9 * b * b + b

    down = two(3, 64) + two(64, 128) + two(128, 256) + two(256, 512) + two(512, 1024)
    up = sum(4 * 2 * b * b + b + two(2 * b, b) for b in (512, 256, 128, 64))
    assert down + up + 64 * 4 + 4 == 31_031_940
    for size in ((64, 96, 3), (188, 220, 3)):
        for valid in (True, False):
            assert count(lambda s=size, v=valid: build_unet(s, 4, valid=v)) == 31_031_940
    less = sum(9 * b * b for b in (512, 256, 128, 64))
    assert 31_031_940 - less == 27_898_500
    for skips in ("added", "none"):
        assert count(lambda skips=skips: build_unet((64, 96, 3), 4, skips=skips)) == 27_898_500


@pytest.mark.parametrize(
    ("channels", "classes", "parameters"),
    [(1, 1, 31_030_593), (1, 2, 31_030_658), (3, 21, 31_033_045)],
)
def test_counts_of_the_literature(channels, classes, parameters):
    assert count(lambda: build_valid_unet((572, 572, channels), classes)) == parameters


def test_23_convolutions():
    convolutions = (keras.layers.Conv2D, keras.layers.Conv2DTranspose)
    assert sum(isinstance(layer, convolutions) for layer in tiny().layers) == 23


# Sizes


def test_the_size_rule():
    """16 k + 124 give 16 k - 60, every k from 4: an odd k too."""
    for k in (4, 5, 6, 7, 28):
        side = 16 * k + 124
        assert valid_size(side) == side and valid_size(side + 1) == side + 16
        assert side - 2 * border() == 16 * k - 60
    assert valid_size(1) == 188 and border() == 92


def test_the_paper_s_own_size():
    """572 -> 388, by way of 64 channels at 568 and 1024 at 28; crops of 4, 16, 40 and 88."""
    core = tiny_core((572, 572))
    assert core.output_shape == (None, 388, 388, 3)
    assert core.get_layer("down1_2_conv").output.shape[1:3] == (568, 568)
    assert core.get_layer("down5_2_conv").output.shape[1:] == (28, 28, 32)
    crops = [core.get_layer(f"up{level}_crop").cropping for level in (4, 3, 2, 1)]
    assert crops == [((c, c), (c, c)) for c in (4, 16, 40, 88)]


@pytest.mark.parametrize("size", [(188, 220), (220, 188), (204, 188)])
def test_sizes_that_fit_need_not_be_square(size):
    core = tiny_core(size)
    pictures, _ = random_batch(size, 1)
    assert predict(core, pictures).shape == (1, size[0] - 184, size[1] - 184, 3)


@pytest.mark.parametrize(
    ("size", "cure"),
    [
        ((189, 220), "204x220"),
        ((188, 219), "188x220"),
        ((32, 32), "188x188"),
        ((572, 580), "572x588"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_with_the_next_that_does(size, cure):
    with pytest.raises(UserError, match=f"{size[0]}x{size[1]}; the next size is {cure}"):
        tiny_core(size)
    assert tiny_core(tuple(map(int, cure.split("x")))).output_shape[1] > 0


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_every_depth_has_its_rule(depth):
    side = valid_size(100, depth)
    core = build_valid_unet((side, side, 3), 2, width=2, depth=depth)
    assert core.output_shape[1] == side - 2 * border(depth)
    with pytest.raises(UserError, match="next size"):
        build_valid_unet((side + 1, side, 3), 2, width=2, depth=depth)


@BOTH
@pytest.mark.parametrize("size", [(32, 32), (33, 47), (64, 96)])
def test_any_size_comes_back(size, valid):
    model = tiny(size, valid=valid)
    probabilities = predict(model, random_batch(size, 1)[0])
    assert probabilities.shape == (1, *size, 3) and probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(-1), 1, atol=1e-5)


# The border


def test_a_row_of_pixels_is_mirrored_again_and_again():
    assert mirrored(4, 3, 2).tolist() == [3, 2, 1, 0, 1, 2, 3, 2, 1]
    # Two steps to the left of the first pixel stands the second; period 2 (n - 1).
    row = mirrored(32, 92, 100)
    assert row[92] == 0 and row[91] == row[93] == 1 and row[92 + 31] == 31 and row[92 + 32] == 30
    assert (row[62:] == row[:-62]).all()


def test_the_border_is_the_picture_s_mirror_image():
    pictures, _ = random_batch((9, 14))
    layer = MirrorPadding2D(((5, 7), (6, 0)))
    again = MirrorPadding2D.from_config(layer.get_config())
    expected = np.pad(pictures, ((0, 0), (5, 7), (6, 0), (0, 0)), mode="reflect")
    for each in (layer, again):
        output = keras.ops.convert_to_numpy(each(pictures.astype("float32")))
        np.testing.assert_array_equal(output, expected)
        assert each.compute_output_shape((2, 9, 14, 3)) == (2, 21, 20, 3)


def test_mirroring_inside_equals_mirroring_outside():
    """Up to rounding, as libraries add in another order in maps of another size."""
    pictures, _ = random_batch((50, 33))
    model, core = disturbed(tiny((50, 33))), tiny_core((236, 220), width=4)
    core.set_weights(model.get_weights())
    sides = ((92, 236 - 92 - 50), (92, 220 - 92 - 33))
    outside = np.pad(pictures, ((0, 0), *sides, (0, 0)), mode="reflect")
    expected = predict(core, outside)[:, :50, :33]
    np.testing.assert_allclose(predict(model, pictures), expected, atol=1e-5)


def test_padding_with_zeros_inside_equals_padding_outside():
    pictures, _ = random_batch((37, 50))
    model, whole = tiny((37, 50), valid=False), tiny((48, 64), valid=False)
    whole.set_weights(model.get_weights())
    scaled = keras.Model(whole.get_layer("scale").output, whole.output)
    x = predict(keras.Model(model.input, model.get_layer("scale").output), pictures)
    outside = np.pad(x, ((0, 0), (0, 11), (0, 14), (0, 0)))
    expected = predict(scaled, outside)[:, :37, :50]
    np.testing.assert_allclose(predict(model, pictures), expected, atol=1e-5)


# What a pixel sees


def test_a_pixel_sees_188_to_204_pixels():
    """By an impulse in each row: with kernels of ones, what sees it is more than 0."""
    height, width = 204, 188
    core = tiny_core((height, width), n_classes=1, channels=1, width=1)
    for weight in core.weights:
        weight.assign(np.full(weight.shape, 0.1 if len(weight.shape) == 4 else 0.0))
    logits = keras.Model(core.get_layer("scale").output, core.get_layer("pre_activation").output)
    impulses = np.zeros((height, height, width, 1), np.float32)
    impulses[np.arange(height), np.arange(height)] = 1
    seen = np.concatenate([predict(logits, batch) for batch in np.split(impulses, 12)])
    seen = seen[:, :, 0, 0] > 0  # (row of the impulse, row of the answer)
    assert seen.shape == (204, 20)
    extents = [np.flatnonzero(column) for column in seen.T]
    assert all(rows[-1] - rows[0] + 1 == len(rows) for rows in extents)  # without gaps
    lengths = [len(rows) for rows in extents]
    assert min(lengths) == 188 and max(lengths) == 204
    # The middle of what is seen is where the answer lies, to half a cell of the coarsest map.
    centres = np.array([(rows[0] + rows[-1]) / 2 for rows in extents])
    assert np.abs(centres - (np.arange(20) + border())).max() <= 8


# Skips


def behind_the_bottom(model):
    """The expanding path, from the coarsest map and the skips to logits."""
    skips = [model.get_layer(f"up{level}_concat").input[0] for level in (4, 3, 2, 1)]
    inputs = [model.get_layer("down5_dropout").output, *skips]
    return keras.Model(inputs, model.get_layer("pre_activation").output)


@BOTH
def test_without_weights_for_the_skips_they_do_not_count(valid):
    model = tiny(valid=valid)
    path = behind_the_bottom(model)
    random = np.random.default_rng(0)
    shapes = [(1, *each.shape[1:]) for each in path.inputs]
    bottom, *skips = (random.normal(0, 1, shape).astype("float32") for shape in shapes)
    others = [-skip for skip in skips]
    assert np.abs(predict(path, [bottom, *skips]) - predict(path, [bottom, *others])).max() > 1e-3
    for level in (4, 3, 2, 1):
        kernel = model.get_layer(f"up{level}_1_conv").kernel  # the skip's channels come first
        values = keras.ops.convert_to_numpy(kernel).copy()
        assert values.shape[2] == 2 * skips[4 - level].shape[-1]
        values[:, :, : values.shape[2] // 2] = 0
        kernel.assign(values)
    np.testing.assert_array_equal(predict(path, [bottom, *skips]), predict(path, [bottom, *others]))
    assert np.abs(predict(path, [bottom, *skips]) - predict(path, [-bottom, *skips])).max() > 1e-3


@BOTH
@pytest.mark.parametrize(("skips", "of_the_way_down"), [("added", 1), ("none", 0)])
def test_adding_or_leaving_out_is_to_concatenate_with_other_kernels(valid, skips, of_the_way_down):
    """Where both halves weigh alike, or what comes from the way down weighs nothing."""
    other, concatenating = disturbed(tiny(valid=valid, skips=skips)), tiny(valid=valid)
    for layer in other.layers:
        weights = layer.get_weights()
        if layer.name in {f"up{level}_1_conv" for level in (1, 2, 3, 4)}:
            weights[0] = np.concatenate([of_the_way_down * weights[0], weights[0]], 2)
        if weights:
            concatenating.get_layer(layer.name).set_weights(weights)
    pictures, _ = random_batch((33, 47))
    expected = predict(concatenating, pictures)
    assert np.ptp(expected) > 0.01
    np.testing.assert_allclose(predict(other, pictures), expected, atol=1e-5)


def test_other_skips_are_refused():
    with pytest.raises(UserError, match="skips 'all'.*concatenated, added, none"):
        tiny(skips="all")


def test_the_skip_is_cut_out_of_the_middle():
    core = tiny_core((188, 188))
    crop = core.get_layer("up1_crop")
    before, after = crop.input.shape[1], crop.output.shape[1]
    assert (before - after) // 2 == 88
    maps = np.arange(before, dtype="float32")[None, :, None, None] * np.ones((1, 1, before, 2))
    assert np.asarray(crop(maps))[0, :, 0, 0].tolist() == list(range(88, before - 88))


# Learning


def test_dropout_at_the_end_of_the_contracting_path():
    model = tiny()
    names = [each.name for each in model.layers if isinstance(each, keras.layers.Dropout)]
    assert names == ["down4_dropout", "down5_dropout"]
    assert all(model.get_layer(name).rate == 0.5 for name in names)
    pictures, _ = random_batch((33, 47))
    assert np.abs(model(pictures, training=True) - model(pictures, training=False)).max() > 1e-3
    still = tiny(dropout=0.0)
    assert np.abs(still(pictures, training=True) - still(pictures, training=False)).max() == 0


def test_he_initialisation():
    """The standard deviation is sqrt(2 / N), N inputs of a value."""
    model = tiny((64, 64), width=16, valid=False)
    for name, inputs in (("down4_2_conv", 9 * 128), ("up3_1_conv", 9 * 128)):
        deviation = np.std(model.get_layer(name).get_weights()[0])
        assert deviation == pytest.approx(np.sqrt(2 / inputs), rel=0.03)
    # 256 inputs of a value, and no ReLU behind
    deviation = np.std(model.get_layer("up4_tconv").get_weights()[0])
    assert deviation == pytest.approx(np.sqrt(1 / 256), rel=0.03)


@pytest.mark.long
@BOTH
def test_one_batch_can_be_learnt_by_heart(valid):
    labels = np.zeros((2, 32, 32), np.uint8)
    labels[0, 8:24, 4:20], labels[1, 16:, 12:28] = 1, 2
    pictures = random_batch((32, 32))[0] // 4 + 60 * labels[..., None]  # noise, and brighter ones
    # Not every draw of so few weights learns all; this one does on each backend.
    model = tiny((32, 32), width=8, depth=1, dropout=0.0, valid=valid, seed=2)
    jit = keras.backend.backend() == "jax"
    model.compile(adam(1e-2), PixelCrossEntropy(), jit_compile=jit)
    model.optimizer.build(model.trainable_variables)  # else TensorFlow traces twice
    history = model.fit(pictures, labels, epochs=60, batch_size=2, verbose=0).history["loss"]
    assert history[-1] < 0.1 * history[0]
