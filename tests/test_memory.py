"""Memory of a training step: counted by hand, and against what the compiler says."""

import json
import math

import keras
import numpy as np
import pytest
from conftest import make_store, run_script, tiny_fcn
from keras import layers

from engine.records import Network
from tools import memory
from tools.memory import CARDS, SHARE, fixed, needs, picture, print_memory
from tools.summary import walk
from utils.errors import UserError

JAX = keras.backend.backend() == "jax"


def chain(input_shape: tuple, *operations) -> keras.Model:
    """The layers one after another."""
    inputs = x = keras.Input(input_shape)
    for operation in operations:
        x = operation(x)
    return keras.Model(inputs, x)


def two_convolutions() -> keras.Model:
    """8 x 8 x 3 values go in, then come 4 channels, and 2 classes."""
    return chain(
        (8, 8, 3),
        layers.Rescaling(1 / 255),
        layers.Conv2D(4, 3, padding="same"),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.Conv2D(2, 1),
        layers.Softmax(),
    )


def test_a_small_network_by_hand():
    """Of each place 3 scaled values are held, 4 convolved ones, 4 behind the ReLU, 2 classes.

    At the softmax the gradient of 2 comes on top, 13 + 2. At the second convolution the classes
    are no longer held, and its input's gradient of 4 is made from that of 2: 11 + 2 + 4, the peak.
    At the ReLU 11 + 4, at the normalisation 7 + 4, at the first convolution 3 + 4.
    """
    assert picture(two_convolutions(), "float32") == 4 * 64 * (11 + 2 + 4)
    # In half the bytes, except the classes and their gradient.
    for precision in ("bfloat16", "float16"):
        assert picture(two_convolutions(), precision) == 64 * (2 * 11 + 4 * 2 + 2 * 4)


def test_what_does_not_grow_with_the_batch_by_hand():
    """Weights 3 x 3 x 3 x 4 + 4 and 4 x 2 + 2, of the normalisation 8 and 8 statistics.

    Weights, gradients and two averages of Adam; besides, it keeps its rate and its step.
    """
    trained = 112 + 10 + 8
    assert fixed(two_convolutions(), "adam") == 4 * (trained + 8 + trained + 2 * trained + 2)


def test_muon_keeps_one_average_of_its_kernels():
    model = tiny_fcn(filters=8, backbone="resnet11v2")
    kernels = [w for w in model.trainable_variables if len(w.shape) == 4 and min(w.shape[2:]) > 7]
    less = fixed(model, "adam") - fixed(model, "muon")
    assert kernels and less == 4 * sum(math.prod(kernel.shape) for kernel in kernels)


def test_one_gradient_serves_a_shortcut_and_its_branch():
    """A map a of 8 values a place, b = conv(relu(a)) of as many, of their sum 2 classes.

    Held: the picture's 1, the ReLU's 8, the sum's 8. At the last convolution come gradients of 2
    and of 8; at the branch's the sum's is no longer held, and its gradient is that of a and of b.
    """
    inputs = keras.Input((4, 4, 1))
    a = layers.Conv2D(8, 1)(inputs)
    b = layers.Conv2D(8, 1)(layers.ReLU()(a))
    outputs = layers.Softmax()(layers.Conv2D(2, 1)(layers.Add()([a, b])))
    assert picture(keras.Model(inputs, outputs), "float32") == 4 * 16 * (1 + 8 + 8 + 2 + 8)


def test_the_gradient_of_a_shortcut_waits_for_its_branch():
    """The branch has 8, 32, 24 and 8 channels; the peak is at its second convolution.

    Held are the picture's 1, 8 and 32; then come gradients of 24 and 32, and the shortcut's 8.
    """
    inputs = keras.Input((4, 4, 1))
    a = layers.Conv2D(8, 1)(inputs)
    b = layers.Conv2D(8, 1)(layers.Conv2D(24, 1)(layers.Conv2D(32, 1)(a)))
    model = keras.Model(inputs, layers.Softmax()(layers.Add()([a, b])))
    assert picture(model, "float32") == 4 * 16 * (1 + 8 + 32 + 24 + 32 + 8)


def test_nothing_is_held_in_front_of_the_first_weights():
    """The map behind the pooling is what the first convolution needs; a gradient it needs not."""
    model = chain((8, 8, 3), layers.MaxPooling2D(2), layers.ReLU(), layers.Conv2D(5, 1))
    assert picture(model, "float32") == 4 * 16 * (3 + 5)


def test_a_branch_without_weights_is_left_out():
    """As PSPNet's picture beside its maps: the gradient ends where it begins."""
    inputs = keras.Input((8, 8, 1))
    beside = layers.ReLU()(inputs)
    joined = layers.Concatenate()([layers.Conv2D(2, 1)(inputs), beside])
    model = keras.Model(inputs, layers.Conv2D(1, 1)(joined))
    # The picture and the 3 joined; the gradients of 1 and of 3.
    assert picture(model, "float32") == 4 * 64 * (1 + 3 + 1 + 3)


@pytest.mark.parametrize(
    ("layer", "held"),
    [
        (layers.Conv2D(4, 3), "input"),
        (layers.Conv2D(4, 3, activation="relu"), "input output"),
        (layers.Conv2DTranspose(4, 3, strides=2), "input"),
        (layers.DepthwiseConv2D(3), "input"),
        (layers.Dense(4), "input"),
        (layers.BatchNormalization(), "input"),
        (layers.GroupNormalization(2), "input"),
        (layers.LayerNormalization(), "input"),
        (layers.LeakyReLU(), "input"),
        (layers.Activation("gelu"), "input"),
        (layers.Activation("relu"), "output"),
        (layers.Activation("sigmoid"), "output"),
        (layers.ReLU(), "output"),
        (layers.Softmax(), "output"),
        (layers.SpatialDropout2D(0.5), "output"),
        (layers.MaxPooling2D(2), "input output"),
        (layers.AveragePooling2D(2), ""),
        (layers.UpSampling2D(2, interpolation="bilinear"), ""),
        (layers.Resizing(4, 4), ""),
        (layers.ZeroPadding2D(1), ""),
        (layers.Cropping2D(1), ""),
        (layers.Rescaling(2.0), ""),
        (layers.Flatten(), ""),
        (layers.Permute((2, 1, 3)), ""),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, layers.Layer) else value,
)
def test_what_each_kind_needs(layer, held):
    (step,), (before,), (after,) = walk(chain((12, 12, 6), layer))
    names = {before: "input", after: "output"}
    assert " ".join(names[one] for one in needs(step)) == held


def test_of_two_inputs():
    inputs = keras.Input((4, 4, 2))
    for kind, number in ((layers.Multiply, 2), (layers.Add, 0), (layers.Concatenate, 0)):
        other = layers.Dense(2)(inputs)
        steps, *_ = walk(keras.Model(inputs, kind()([inputs, other])))
        assert len(needs(steps[-1])) == number


def test_a_separable_convolution_holds_the_map_between_its_halves():
    (step,), *_ = walk(chain((8, 8, 3), layers.SeparableConv2D(5, 3, depth_multiplier=2)))
    assert [one.shape for one in needs(step)] == [(None, 8, 8, 3), (None, 6, 6, 6)]


def test_a_nested_network_counts_like_its_layers():
    inner = chain((8, 8, 3), layers.Conv2D(4, 3, padding="same"), layers.ReLU())
    nested = chain((8, 8, 3), inner, layers.Conv2D(2, 1))
    flat = chain((8, 8, 3), layers.Conv2D(4, 3, padding="same"), layers.ReLU(), layers.Conv2D(2, 1))
    assert picture(nested, "float32") == picture(flat, "float32")


def test_an_unknown_kind_is_an_error():
    class Unheard(layers.Layer):
        def call(self, inputs):
            return inputs

    model = chain((8, 8, 3), layers.Conv2D(4, 1), Unheard(name="odd"))
    with pytest.raises(UserError, match="'odd' of class Unheard; add it to .* tools/memory.py"):
        picture(model, "float32")


def test_more_pixels_and_more_pictures_take_more():
    """In proportion: sides of a multiple of 8 are not padded here."""
    settings = {"backbone": "resnet11v2", "layers": 1}
    small, large = (tiny_fcn(size=size, **settings) for size in ((32, 48), (64, 144)))
    for precision in ("float32", "bfloat16"):
        assert picture(large, precision) == 6 * picture(small, precision)
    assert picture(small, "bfloat16") < picture(small, "float32") < 2 * picture(small, "bfloat16")
    one, two, three = (memory.memory(small, n, "adam", "float32") for n in (1, 2, 3))
    assert fixed(small, "adam") < one < two and two - one == three - two


@pytest.mark.long
def test_the_table_tells_the_largest_batch(capsys, monkeypatch):
    network = Network("fcn", (32, 32, 3), None, {"backbone": "resnet8v1", "filters": 4})
    sizes = [(480, 640), (2048, 2048), (20000, 20000)]
    print_memory(network, sizes, "muon", "float32")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + len(sizes) and "muon in float32" in lines[0]
    for line, size in zip(lines[2:4], sizes, strict=False):
        name, each, _, *batches = line.split()
        assert name == "{}x{}".format(*size)
        model = network.at(size).build()
        assert float(each) == pytest.approx(picture(model, "float32") / 2**30, abs=0.005)
        for card, batch in zip(CARDS, map(int, batches), strict=True):
            room = SHARE * card * 2**30
            assert memory.memory(model, batch, "muon", "float32") <= room
            assert memory.memory(model, batch + 1, "muon", "float32") > room
    assert lines[4].split()[3] == "-"  # not even one


@pytest.mark.skipif(not JAX, reason="only JAX's compiler tells what it will take")
def test_the_compiler_takes_about_as_much():
    """On a CPU, where it takes up to 1.7 times as much: it copies maps into another order there."""
    import jax

    model = tiny_fcn(size=(96, 128), n_classes=4, backbone="resnet11v2", filters=32)
    model.compile(keras.optimizers.Adam(), "sparse_categorical_crossentropy")
    model.optimizer.build(model.trainable_variables)
    batch = np.zeros((4, 96, 128, 3), "uint8"), np.zeros((4, 96, 128), "uint8")
    model._symbolic_build(data_batch=batch)
    kinds = "trainable_variables", "non_trainable_variables", "optimizer_variables"
    state = model._get_jax_state(**dict.fromkeys((*kinds, "metrics_variables"), True))
    step = jax.jit(model.train_step, donate_argnums=0)
    told = step.lower(state, batch).compile().memory_analysis()
    taken = told.argument_size_in_bytes + told.temp_size_in_bytes
    assert 0.9 < taken / memory.memory(model, 4, "adam", "float32") < 1.7


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize(
    ("pictures", "cure"), [(5, None), (3, "--batch-size 3"), (0, "smaller --height and --width")]
)
def test_what_does_not_fit_is_refused_with_a_cure_that_works(pictures, cure, monkeypatch, capsys):
    """Of a GPU that has room for so many pictures and a half, 5 are asked for."""
    network = Network("toy", (32, 32, 3), None, {})
    model = network.build()
    limit = fixed(model, "adam") + int((pictures + 0.5) * picture(model, "float32"))
    monkeypatch.setattr(memory, "gpu_memory", lambda: limit)
    if not cure:
        memory.check_memory(network, 5, "adam", "float32")
        return
    with pytest.raises(UserError, match=cure):
        memory.check_memory(network, 5, "adam", "float32")
    if not pictures:
        with pytest.raises(UserError, match=cure):
            memory.check_memory(network, 5, "adam", "float32", asked=False)
        return
    assert memory.check_memory(network, pictures, "adam", "float32") == pictures
    memory.check_memory(network, 8 * pictures, "adam", "float32", devices=8)
    # Where nobody asked for the batch, the cure is taken by itself.
    assert memory.check_memory(network, 5, "adam", "float32", asked=False) == pictures
    assert capsys.readouterr().out.endswith(f": batch {pictures}\n")


def test_without_a_gpu_nothing_is_refused(monkeypatch):
    monkeypatch.setattr(memory, "gpu_memory", lambda: None)
    memory.check_memory(Network("fcn", (480, 640, 3), None, {}), 10**6, "adam", "float32")


@pytest.mark.long
@pytest.mark.usefixtures("toy", "policy", "plain")
def test_a_training_takes_the_batch_that_fits_and_refuses_one_that_does_not(
    tmp_path, monkeypatch, capsys
):
    make_store(tmp_path, [(24, 32)] * 7)
    model = Network("toy", (32, 48, 3), None, {}).at((32, 48)).build()
    limit = fixed(model, "adam") + int(2.5 * picture(model, "float32"))
    monkeypatch.setattr(memory, "gpu_memory", lambda: limit)
    options = ["--train", "--model", "toy", "--height", 32, "--width", 48, "--no-grow"]
    options += ["--precision", "float32", "--optimizer", "adam", "--epochs", 1]
    options += ["--pictures-per-epoch", 4, "--train-labels", "labels.npy", "--workers", 2]
    options += ["--data-path", tmp_path, "--save-dir", tmp_path / "out"]
    with pytest.raises(UserError, match="3 pictures of 32x48 .* give --batch-size 2"):
        run_script(*options, "--batch-size", 3)
    assert not (tmp_path / "out").exists()
    run_script(*options)
    assert "GiB for it: batch 2\n" in capsys.readouterr().out
    configuration = next((tmp_path / "out").glob("*-configuration.json"))
    assert json.loads(configuration.read_text())["data"]["batch_size"] == 2
