"""RefineNet: exact counts, what its blocks are without weights, and how far its chains see."""

import keras
import numpy as np
import pytest
from conftest import from_corners, hollow, learnt_by_heart, predict, random_batch

import zoo
from losses import PixelCrossEntropy
from tools.summary import stages, trace
from zoo.refinenet import POOLS, build_refinenet, chained_pooling, fuse, residual_unit
from zoo.resnet_v1 import RESNET50, RESNET101

TRUNK = {RESNET50: 23_508_032, RESNET101: 42_500_160}
STATISTICS = {RESNET50: 53_120, RESNET101: 105_344}
ROWS = [name for name in zoo.MODELS if name.startswith("refinenet")]


def relu(x):
    return np.maximum(x, 0)


def noise(*shape):
    return np.random.default_rng(0).normal(0, 1, shape).astype("float32")


def convolved(x, kernel):
    return keras.ops.convert_to_numpy(keras.ops.conv(x, kernel, padding="same"))


def block(function, *shapes, kernels=None):
    """A network of one block, from maps of these shapes (h, w, C); `kernels(shape)` for its own."""
    inputs = [keras.Input(shape) for shape in shapes]
    model = keras.Model(inputs if len(inputs) > 1 else inputs[0], function(*inputs))
    for weight in model.weights if kernels else ():
        weight.assign(kernels(weight.shape))
    return model


def identity(shape):
    """The kernel (3, 3, C, F) that copies each channel, as many as there are; a bias of zeros."""
    kernel = np.zeros(shape, "float32")
    if len(shape) == 4:
        kernel[1, 1] = np.eye(*shape[2:])
    return kernel


# Counts


def unit(n):
    return 2 * 9 * n * n + n  # of two convolutions the first has a bias


@pytest.mark.parametrize("blocks", [RESNET50, RESNET101])
@pytest.mark.parametrize(("classes", "size"), [(21, (64, 96)), (4, (101, 77))])
def test_parameters(classes, size, blocks):
    deepest = 9 * 2048 * 512 + 5 * unit(512) + 4 * 9 * 512 * 512
    others = 9 * 256 * (1024 + 512 + 256) + 3 * (5 * unit(256) + 5 * 9 * 256 * 256)
    coarser = 9 * 256 * (512 + 256 + 256)
    decoder = deepest + others + coarser + (9 * 256 + 1) * classes
    assert decoder == {21: 75_552_277, 4: 75_513_092}[classes]
    model = hollow(lambda: build_refinenet((*size, 3), classes, blocks=blocks))
    trained = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert trained == TRUNK[blocks] + decoder
    if classes == 21:
        assert trained == {RESNET50: 99_060_309, RESNET101: 118_052_437}[blocks]
    assert model.count_params() == trained + STATISTICS[blocks]


@pytest.mark.long
def test_parameters_on_resnet152():
    model = hollow(lambda: build_refinenet((64, 96, 3), 21, blocks=(3, 8, 36, 3)))
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == 133_696_085


@pytest.mark.long
@pytest.mark.parametrize("name", ROWS)
def test_summary_knows_every_layer(name):
    model = hollow(lambda: zoo.build(name, (64, 96, 3), 4, {}))
    assert sum(row["parameters"] for row in stages(model)) == zoo.MODELS[name].parameters


# Blocks


def test_without_convolutions_units_and_chains_are_identities():
    x = noise(2, 7, 9, 4)
    none = block(lambda x: residual_unit(x, "unit"), (7, 9, 4), kernels=np.zeros)
    np.testing.assert_array_equal(predict(none, x), x)
    none = block(lambda x: chained_pooling(x, "chain"), (7, 9, 4), kernels=np.zeros)
    np.testing.assert_array_equal(predict(none, x), relu(x))


def test_a_unit_goes_through_both_convolutions():
    """The second ReLU reads what the first convolution made, not what went in."""
    model = block(lambda x: residual_unit(x, "unit"), (7, 9, 4))
    first, second = (model.get_layer(f"unit_conv{number}") for number in (1, 2))
    first.bias.assign([0.5, -0.5, 0.2, 0])
    assert not second.use_bias
    x = noise(2, 7, 9, 4)
    inner = convolved(relu(x), first.kernel) + keras.ops.convert_to_numpy(first.bias)
    expected = x + convolved(relu(inner), second.kernel)
    np.testing.assert_allclose(predict(model, x), expected, atol=1e-5)
    assert np.abs(expected - x).max() > 0.1


def test_without_its_shortcut_a_unit_is_its_convolutions():
    whole = block(lambda x: residual_unit(x, "unit"), (7, 9, 4))
    bare = block(lambda x: residual_unit(x, "unit", False), (7, 9, 4))
    bare.set_weights(whole.get_weights())
    x = noise(2, 7, 9, 4)
    np.testing.assert_allclose(predict(bare, x), predict(whole, x) - x, atol=1e-5)


def test_without_shortcuts_maps_keep_their_size():
    """Of forty convolutions with a quarter of the variance nothing would come through."""
    keras.utils.set_random_seed(0)
    tiny = {"width": 16, "blocks": (1, 1, 1, 1)}
    model = build_refinenet((64, 96, 3), 3, **tiny, shortcuts=False)
    assert not [layer for layer in model.layers if "_exit" in layer.name and "_sum" in layer.name]
    pictures, _ = random_batch((64, 96))
    last = keras.Model(model.input, model.get_layer("head_dropout").input)
    assert 0.1 < predict(last, pictures).std() < 10


def test_an_impulse_goes_2_pixels_further_with_every_pool():
    """In a parallel form, where all pools read the ReLU, it would stop at 2."""
    model = block(lambda x: chained_pooling(x, "chain"), (21, 21, 1), kernels=identity)
    steps = [model.get_layer(f"chain{number}_conv").output for number in range(1, POOLS + 1)]
    x = np.zeros((1, 21, 21, 1), "float32")
    x[0, 10, 10] = 1
    for number, found in enumerate(predict(keras.Model(model.input, steps), x), 1):
        expected = np.zeros_like(x)
        expected[0, 10 - 2 * number : 11 + 2 * number, 10 - 2 * number : 11 + 2 * number] = 1
        np.testing.assert_array_equal(found, expected)
    # All are added: at the centre the impulse and four copies, at the rim one.
    rings = [5, 5 - 1, 4 - 1, 3 - 1, 2 - 1]  # what is 0, 1-2, 3-4, 5-6, 7-8 pixels away
    away = np.abs(np.arange(21) - 10)
    ring = (np.maximum.outer(away, away) + 1) // 2
    expected = np.where(ring > 4, 0, np.array([*rings, 0])[np.minimum(ring, 5)])
    np.testing.assert_array_equal(predict(model, x)[0, :, :, 0], expected)


def test_a_chain_of_four_sees_25_pixels():
    """Each pool adds 4 to the field, each convolution 2."""
    calls, _ = trace(block(lambda x: chained_pooling(x, "chain"), (21, 21, 1)))
    field = {call.layer.name: call.reach.field for call in calls}
    assert [field[f"chain{number}_sum"] for number in range(1, 5)] == [7, 13, 19, 25]


def test_of_one_map_a_fusion_is_a_convolution():
    model = block(lambda x: fuse([x], "fusion"), (7, 9, 4))
    x = noise(2, 7, 9, 4)
    (kernel,) = model.weights
    np.testing.assert_allclose(predict(model, x), convolved(x, kernel), atol=1e-6)


@pytest.mark.parametrize("coarse_first", [False, True])
def test_the_coarser_map_is_enlarged_and_both_have_the_fewest_channels(coarse_first):
    def fusion(*paths):
        return fuse(list(paths), "fusion")

    fine, coarse = noise(1, 8, 12, 3), noise(1, 4, 6, 5)
    paths = [coarse, fine] if coarse_first else [fine, coarse]
    model = block(fusion, *(path.shape[1:] for path in paths), kernels=identity)
    expected = fine + from_corners(coarse[..., :3], 2)
    np.testing.assert_allclose(predict(model, paths), expected, atol=1e-6)


# The network


def test_how_the_blocks_are_put_together():
    model = hollow(lambda: build_refinenet((64, 96, 3), 3))
    names = [layer.name for layer in model.layers]
    for level in (5, 4, 3, 2):
        stage, channels = f"refine{level}", 512 if level == 5 else 256
        entry = model.get_layer(f"{stage}_entry_conv")
        assert entry.input is model.get_layer("resnet50").output[f"P{level}"] or (
            entry.input.shape[1:3] == (64 >> level, 96 >> level)
        )
        assert entry.output.shape[-1] == channels
        # The deepest has nothing to fuse.
        assert any(name.startswith(f"{stage}_fusion") for name in names) == (level < 5)
        if level < 5:
            enlarge = model.get_layer(f"{stage}_fusion2_enlarge")
            assert enlarge.input.shape[1:] == (32 >> level, 48 >> level, 256)
            assert model.get_layer(f"{stage}_fusion2_conv").input is (
                model.get_layer(f"refine{level + 1}_exit3_sum").output
            )
            assert f"{stage}_fusion1_enlarge" not in names
        units = [name for name in names if name.startswith(f"{stage}_e") and "_sum" in name]
        assert len(units) == 5  # the last block's are the two before the classifier, too
    assert model.get_layer("head_dropout").input is model.get_layer("refine2_exit3_sum").output
    assert model.get_layer("pre_activation").output.shape == (None, 16, 24, 3)
    outside = [layer for layer in model.layers if "Normalization" in type(layer).__name__]
    assert not outside


def test_without_chains_it_sees_less():
    def field(chained):
        model = hollow(lambda: build_refinenet((64, 96, 3), 3, chained=chained))
        pools = [layer for layer in model.layers if isinstance(layer, keras.layers.MaxPooling2D)]
        assert len(pools) == 4 * POOLS * chained
        return {call.layer.name: call.reach.field for call in trace(model)[0]}["pre_activation"]

    # The widest path has them all: four chains of 24 cells of 32, 16, 8 and 4 pixels.
    assert field(True) - field(False) == 24 * (32 + 16 + 8 + 4)


def test_gradients_reach_the_backbone_with_every_unit_and_chain_at_zero():
    """Around them: the short cuts are whole from the classifier to each map."""
    keras.utils.set_random_seed(0)
    model = build_refinenet((32, 48, 3), 3, width=4, blocks=(1, 1, 1, 1))
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D) and layer.input is not None:
            if not any(word in layer.name for word in ("entry_", "fusion", "pre_activation")):
                layer.kernel.assign(np.zeros(layer.kernel.shape))
    pictures, labels = random_batch((32, 48))
    model.compile(keras.optimizers.SGD(1.0), PixelCrossEntropy(), run_eagerly=True)
    lateral = [model.get_layer(f"refine{level}_entry_conv").kernel for level in (5, 4, 3, 2)]
    before = [keras.ops.convert_to_numpy(kernel) for kernel in lateral]
    model.train_on_batch(pictures, labels)
    for kernel, old in zip(lateral, before, strict=True):
        assert np.abs(keras.ops.convert_to_numpy(kernel) - old).max() > 1e-6, kernel.path


@pytest.mark.long
def test_it_learns_a_batch_by_heart():
    keras.utils.set_random_seed(0)
    model = build_refinenet((32, 48, 3), 3, width=4, blocks=(1, 1, 1, 1))
    # Nothing is normalised: steps of 0.05 end in NaN.
    assert learnt_by_heart(model, rate=0.02, steps=60) > 0.9
