"""Overlap-tile prediction: tiles at multiples of 16 are the whole, others are not."""

from functools import partial

import keras
import numpy as np
import pytest
from conftest import predict, random_batch, run_script
from PIL import Image

import zoo
from engine.records import Network
from engine.weights import save_weights
from evaluation import segment_batch
from tools.tiles import overlap_tiles, stride_of
from utils.classes import named
from utils.errors import UserError
from zoo.unet import build_unet, build_valid_unet

# Libraries add in another order in maps of another size: the same numbers, but for rounding.
ROUNDING = 5e-6


def tiny(size=(70, 101)):
    keras.utils.set_random_seed(0)
    return build_unet((*size, 3), 3, width=4)


def core_of(model, size):
    core = build_valid_unet((*size, 3), 3, width=4)
    core.set_weights(model.get_weights())
    return core


@pytest.mark.parametrize("tile", [(204, 220), (300, 300)])
def test_tiles_are_the_whole(tile):
    """Many or one, whether or not the picture is a multiple of them; (300 - 184) % 16 is 4."""
    pictures, _ = random_batch((70, 101))
    model = tiny()
    whole = predict(model, pictures)
    tiled = keras.ops.convert_to_numpy(overlap_tiles(core_of(model, tile), pictures, multiple=16))
    assert tiled.shape == whole.shape and tiled.dtype == np.float32
    np.testing.assert_allclose(tiled, whole, atol=ROUNDING)
    assert whole.std() > 0.05


def with_whole_numbers(model):
    """`model` with two ones in each kernel, added or taken off: sums of whole numbers are exact."""
    random = np.random.default_rng(0)
    for layer in model.layers:
        if not layer.weights:
            continue
        kernel = np.zeros(layer.kernel.shape, np.float32)
        if isinstance(layer, keras.layers.Conv2DTranspose):  # (h, w, out, in), a tap an output
            rows = kernel.reshape(-1, kernel.shape[3])
        else:  # (h, w, in, out)
            rows = kernel.reshape(-1, kernel.shape[3]).T
        for row in rows:
            row[random.choice(len(row), 2, replace=False)] = random.choice([1, 1, -1], 2)
        # A power of two keeps every digit, and the probabilities away from 0 and 1.
        layer.kernel.assign(kernel / 16 if layer.name == "pre_activation" else kernel)
        layer.bias.assign(random.integers(-2, 3, layer.bias.shape))
    return model


def unscaled(model):
    """From whole numbers to logits."""
    scaled, logits = model.get_layer("scale").output, model.get_layer("pre_activation").output
    return keras.Model(scaled, logits)


def test_tiles_are_the_whole_bit_for_bit():
    """Where arithmetic is exact, no order of sums is left to differ: 2^18 x 7 < 2^24."""
    picture = random_batch((90, 70), 1)[0][0] % 8
    model = with_whole_numbers(build_valid_unet((284, 268, 3), 3, width=4))
    padded = np.pad(picture, ((92, 102), (92, 106), (0, 0)), mode="reflect")[None]
    whole = predict(unscaled(model), padded.astype("float32"))[:, :90, :70]
    core = unscaled(core_of(model, (204, 220)))
    tiled = keras.ops.convert_to_numpy(overlap_tiles(core, [picture], multiple=16))
    np.testing.assert_array_equal(tiled, whole)
    assert len(np.unique(whole)) > 100


def test_tiles_elsewhere_are_not_the_whole():
    """As the paper's, which lie 388 = 24 x 16 + 4 pixels apart: the pools cut otherwise."""
    pictures, _ = random_batch((70, 101))
    model = tiny()
    tiled = overlap_tiles(core_of(model, (204, 204)), pictures, multiple=20)  # 20 apart
    difference = np.abs(keras.ops.convert_to_numpy(tiled) - predict(model, pictures))
    assert difference[:, :20, :20].max() < ROUNDING  # the first
    assert difference[:, 20:40].max() > 1e-3


def test_pictures_smaller_than_a_tile_and_than_its_border():
    model = tiny()
    cores = [core_of(model, tile) for tile in ((204, 204), (220, 236))]
    for size in ((5, 90), (1, 1), (17, 18)):
        pictures, _ = random_batch(size, 1)
        small, large = (
            keras.ops.convert_to_numpy(overlap_tiles(c, pictures, multiple=16)) for c in cores
        )
        assert small.shape == (1, *size, 3)
        np.testing.assert_allclose(small, large, atol=ROUNDING)


def test_it_stands_where_an_answer_does():
    """Of several pictures at once, at a size that is asked for."""
    pictures = [random_batch(size, 1)[0][0] for size in ((40, 30), (30, 40))]
    core = core_of(tiny(), (204, 220))
    assert segment_batch(partial(overlap_tiles, core, multiple=16), pictures, (25, 25)).shape == (
        2,
        25,
        25,
    )
    alone = overlap_tiles(core, pictures[:1], multiple=16)
    assert alone.shape == (1, 40, 30, 3)
    together = overlap_tiles(core, pictures, (40, 30), multiple=16)
    np.testing.assert_array_equal(np.asarray(together[0]), np.asarray(alone[0]))


def test_a_tile_that_answers_too_little_is_refused():
    core = core_of(tiny(), (188, 204))
    with pytest.raises(UserError, match="188x204 has an answer of 4x20.*16 pixels larger"):
        overlap_tiles(core, random_batch((40, 30), 1)[0], multiple=16)
    overlap_tiles(core_of(tiny(), (204, 220)), random_batch((40, 30), 1)[0], multiple=16)


def test_tiles_lie_apart_by_multiples_of_all_strides():
    for depth, expected in ((4, 16), (2, 4)):
        core = zoo.build_for_tiles("unet", (388, 388, 3), 3, {"width": 4, "depth": depth})
        assert stride_of(core) == expected
        assert core.output_shape == (None, 388, 388, 3)
    assert (
        zoo.build_for_tiles("unet", (388, 388, 3), 3, {"width": 4}).input_shape[1:3] == (572,) * 2
    )
    with pytest.raises(UserError, match="fcn8s has no --tiles, leave it out.*: unet"):
        zoo.build_for_tiles("fcn8s", (388, 388, 3), 3, {})


@pytest.mark.long
@pytest.mark.parametrize("view", [[], ["--tta", "flip"]])
def test_the_command_line_segments_in_tiles(tmp_path, view):
    """The classes do not depend on the size of the tiles."""
    network = Network("unet", (32, 48, 3), named(["a", "b", "c"]), {"width": 2, "dropout": 0.1})
    model = network.build()
    classifier = model.get_layer("pre_activation")
    classifier.kernel.assign(classifier.kernel * 20)
    weights, run = tmp_path / "unet.weights.h5", {"size": [32, 48], "schedule_epochs": 1}
    save_weights(model, weights, {"network": network.content(), "data": {}, "run": run})
    picture = random_batch((50, 70), 1)[0][0]
    Image.fromarray(picture).save(tmp_path / "p.png")

    masks = []
    for number, size in enumerate([("32", "48"), ("64", "96")]):
        run_script(
            *("--evaluate", "--restore-weights", weights, "--image-file", tmp_path / "p.png"),
            *("--height", size[0], "--width", size[1], "--tiles", *view),
            *("--precision", "float32"),
            *("--prediction-dir", tmp_path / str(number), "--verbose", "0"),
        )
        masks.append(np.asarray(Image.open(tmp_path / str(number) / "p.png-mask.png")))
    np.testing.assert_array_equal(*masks)
    assert masks[0].shape == (50, 70) and len(np.unique(masks[0])) > 1
    if not view:
        core = network.build(for_tiles=True)
        core.set_weights(model.get_weights())
        expected = segment_batch(partial(overlap_tiles, core, multiple=16), [picture])[0]
        np.testing.assert_array_equal(masks[0], expected)
