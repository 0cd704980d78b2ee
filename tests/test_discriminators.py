"""The opponents of adversarial training: exact counts, logits, any size, and where a verdict is."""

import keras
import numpy as np
import pytest
from conftest import count, disturbed, predict

from fast.layers import Conv2D, Conv2DTranspose
from zoo import MODELS
from zoo.discriminators import build_generator, build_hung, build_luc, noise_shape

SIZES = [(32, 32), (64, 96), (101, 77)]


@pytest.mark.parametrize(
    ("build", "channels", "expected"),
    [
        (build_luc, 63, 2_387_458),
        (build_luc, 21, 2_387_458 - 9 * 42 * 96),
        (build_hung, 21, 2_783_169),
        (build_hung, 4, 2_783_169 - 16 * 17 * 64),
    ],
)
def test_parameters(build, channels, expected):
    for size in SIZES:
        assert count(lambda size=size: build((*size, channels))) == expected


def test_parameters_of_the_generator():
    convolutions = 9 * 100 * 512 + 16 * (512 * 256 + 256 * 128 + 128 * 64 + 64 * 3) + 3
    assert count(lambda: build_generator((64, 96, 3))) == convolutions + 4 * (512 + 256 + 128 + 64)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("build", "shape"), [(build_luc, lambda size: (2,)), (build_hung, lambda size: size)]
)
def test_a_verdict_is_a_logit(build, shape, size):
    """Below 0 and above 1: with a sigmoid before a loss of logits, nothing is learnt."""
    keras.utils.set_random_seed(0)
    model = disturbed(build((*size, 3), width=4))
    kernel, random = model.get_layer("logits").kernel, np.random.default_rng(1)
    kernel.assign(random.normal(0, 1, kernel.shape))
    maps = np.random.default_rng(0).normal(0, 100, (2, *size, 3)).astype("float32")
    found = predict(model, maps)
    assert found.shape == (2, *shape(size)) and found.dtype == "float32"
    assert found.min() < 0 and found.max() > 1


def test_a_verdict_has_the_digits_of_float32(mixed_bfloat16):
    maps = np.zeros((1, 32, 32, 3), "float32")
    for build in (build_luc, build_hung):
        assert predict(build((32, 32, 3), width=4), maps).dtype == "float32"


@pytest.mark.parametrize("build", [build_luc, build_hung, build_generator])
def test_gradients_of_biases_are_summed_in_float32(build):
    """As those of the networks: see `test_family`."""
    layers = build((32, 32, 3), width=4).layers
    biased = [layer for layer in layers if getattr(layer, "use_bias", False)]
    assert biased and all(isinstance(layer, (Conv2D, Conv2DTranspose)) for layer in biased)


@pytest.mark.parametrize("build", [build_luc, build_hung, build_generator])
def test_weights_fit_every_size(build):
    """A run that grows takes its opponent along."""
    small, large = (build((*size, 3), width=4) for size in ((32, 48), (101, 77)))
    large.set_weights(small.get_weights())


def test_hung_judges_each_pixel_by_what_is_near():
    """Seven rows of 32 places: the verdict at one end does not know the other."""
    keras.utils.set_random_seed(0)
    model = build_hung((32, 448, 3), width=4)
    maps = np.random.default_rng(0).uniform(0, 1, (1, 32, 448, 3)).astype("float32")
    changed = maps.copy()
    changed[:, :, :32] = 1 - changed[:, :, :32]
    difference = np.abs(predict(model, changed) - predict(model, maps))[0].max(0)  # (448,)
    assert difference[:32].min() > 0 and difference[-200:].max() == 0


def test_hung_slopes_and_strides():
    layers = build_hung((64, 64, 3), width=4).layers
    convolutions = [each for each in layers if isinstance(each, keras.layers.Conv2D)]
    assert [each.filters for each in convolutions] == [4, 8, 16, 32, 1]
    assert {(each.kernel_size, each.strides) for each in convolutions} == {((4, 4), (2, 2))}
    slopes = [each.negative_slope for each in layers if isinstance(each, keras.layers.LeakyReLU)]
    assert slopes == pytest.approx([0.2] * 4)


@pytest.mark.parametrize("size", SIZES)
def test_pictures_are_made_of_noise(size):
    keras.utils.set_random_seed(0)
    model = build_generator((*size, 3), width=4)
    noise = np.random.default_rng(0).uniform(-1, 1, (2, *noise_shape((*size, 3))))
    made = keras.ops.convert_to_numpy(model(noise.astype("float32"), training=True))
    assert made.shape == (2, *size, 3) and made.min() >= 0 and made.max() <= 255
    assert made.std() > 5 and np.abs(made[0] - made[1]).max() > 5


def test_they_are_no_segmenters():
    builders = {entry.builder for entry in MODELS.values()}
    assert not builders & {build_luc, build_hung, build_generator}
