"""Where the modules are, and what several files of tests need: one place for each.

Keras is imported where it is used: tests of `utils` do without it.
"""

import importlib.util
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
if "PYTEST_XDIST_WORKER" in os.environ:  # each has a core of its own
    for threads in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(threads, "1")

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT), str(PROJECT / "chapter12-segmentation")]

SCRIPT = PROJECT / "fcn-12.3.1.py"
CLASS_NAMES = ["background", "bottle", "can"]


# Networks, and what goes into them


def tiny_fcn(
    size=(32, 48), n_classes=3, backbone="resnet8v1", layers=1, filters=4, channels=3, seed=None
):
    """The chapter's network at its smallest, uncompiled; with `seed` it has always those weights.

    About the smallest that has all of its parts is "resnet11v2" with two layers.
    """
    import keras

    from zoo.chapter import build_chapter

    if seed is not None:
        keras.utils.set_random_seed(seed)
    settings = {"backbone": backbone, "layers": layers, "filters": filters}
    return build_chapter((*size, channels), n_classes, **settings)


def build_toy(input_shape, n_classes, *, width=4):
    """Two convolutions with a normalisation: the smallest network that keeps the zoo's rules."""
    from keras import Input, Model, layers

    inputs = Input(input_shape)
    x = layers.Rescaling(1 / 255, name="scale")(inputs)
    x = layers.Conv2D(width, 3, padding="same", name="stem_conv")(x)
    x = layers.BatchNormalization(name="stem_bn")(x)
    x = layers.ReLU(name="stem_relu")(x)
    x = layers.Conv2D(n_classes, 1, name="pre_activation")(x)
    return Model(inputs, layers.Softmax(dtype="float32", name="segmentation")(x), name="toy")


def tiny_settings(name: str) -> dict:
    """Settings that make a network of the zoo as small as it can be with all of its parts."""
    import zoo

    small = {"width": 4, "head": 8, "filters": 4, "layers": 1, "backbone": "resnet8v1"}
    settings = zoo.defaults(name)
    found = {key: small[key] for key in settings if key in small}
    return found | ({"blocks": (1,) * len(settings["blocks"])} if "blocks" in settings else {})


@pytest.fixture
def toy(monkeypatch):
    """The network "toy" can be chosen during the test."""
    import zoo

    monkeypatch.setitem(zoo.MODELS, "toy", zoo.Entry(build_toy, "of these tests", 2026, 148))


def hollow(build):
    """The network that `build()` makes, at once: its weights have shapes and no values."""
    import keras

    with keras.StatelessScope(initialize_variables=False):
        model = build()
    keras.utils.clear_session(free_memory=False)  # else the next network gives them their values
    return model


def count(build) -> int:
    """All parameters of the network that `build()` makes, none of which gets a value."""
    return hollow(build).count_params()


def disturbed(model, seed=0):
    """`model` with random biases, and random statistics, scale and shift of normalisations."""
    random = np.random.default_rng(seed)
    for weight in model.weights:
        if weight.path.endswith(("/gamma", "/moving_variance")):
            weight.assign(random.uniform(0.5, 1.5, weight.shape))
        elif weight.path.endswith(("/beta", "/bias", "/moving_mean")):
            weight.assign(random.normal(0, 0.3, weight.shape))
    return model


def save_small(path, size):
    """Write weights of a small network that has an opinion, to use it; return the network."""
    from engine.records import Network
    from engine.weights import save_weights
    from utils.classes import named

    settings = {"backbone": "resnet8v1", "layers": 1, "filters": 4}
    model = disturbed(tiny_fcn(size, seed=0, **settings))
    last = model.get_layer("pre_activation")
    last.bias.assign([0.0, 0.0, 0.0])  # else it says one class everywhere
    last.kernel.assign(last.kernel * 10)
    network = Network("fcn", (*size, 3), named(CLASS_NAMES), settings)
    run = {"size": list(size), "schedule_epochs": 1}
    save_weights(model, path, {"network": network.content(), "data": {}, "run": run})
    return model


def predict(model, inputs):
    """What a network predicts; without a graph, since most networks of tests predict once."""
    import keras

    return keras.tree.map_structure(keras.ops.convert_to_numpy, model(inputs, training=False))


def from_corners(maps, factor):
    """Maps (B, h, w, C), enlarged bilinearly: old value i is at new place factor * i."""
    for axis in (1, 2):
        number = maps.shape[axis]
        places = np.minimum(np.arange(number * factor) / factor, number - 1)
        before, share = places.astype(int), places % 1
        after = np.minimum(before + 1, number - 1)
        share = share.reshape([-1 if place == axis else 1 for place in range(4)])
        maps = maps.take(before, axis) * (1 - share) + maps.take(after, axis) * share
    return maps.astype("float32")


def random_batch(size=(32, 48), number=2, n_classes=3, seed=0):
    """Pictures (B, H, W, 3) and labels (B, H, W) of noise, uint8."""
    random = np.random.default_rng(seed)
    pictures = random.integers(0, 256, (number, *size, 3), np.uint8)
    return pictures, random.integers(0, n_classes, (number, *size), np.uint8)


def forget_soon(model):
    """Have the statistics of prediction be those of the last few steps."""
    import keras

    from fast.folding import networks

    for network in networks(model):
        for layer in network.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = 0.5


def learnt_by_heart(model, rate, steps):
    """The share of right pixels behind `steps` of SGD on four pictures of 32x48 with a block each.

    As prediction sees them: its statistics are those of the last few steps.
    """
    import keras

    from losses import PixelCrossEntropy

    pictures, _ = random_batch((32, 48), number=4)
    labels = np.zeros((4, 32, 48), np.uint8)
    for number in range(4):  # a block of each of two classes, elsewhere in each picture
        labels[number, 8:24, 8 * number : 8 * number + 16] = 1 + number % 2
        pictures[number][labels[number] == 1] = (200, 30, 30)
        pictures[number][labels[number] == 2] = (30, 30, 200)
    # Adam's graph would take longer than all of the steps; TensorFlow traces sooner than XLA.
    jit = keras.backend.backend() == "jax"
    forget_soon(model)
    model.compile(keras.optimizers.SGD(rate, momentum=0.9), PixelCrossEntropy(), jit_compile=jit)
    model.optimizer.build(model.trainable_variables)  # else TensorFlow traces twice
    for _ in range(steps):
        model.train_on_batch(pictures, labels)
    outputs = model(pictures, training=False)
    answer = keras.ops.convert_to_numpy(outputs[0] if isinstance(outputs, list) else outputs)
    return (answer.argmax(-1) == labels).mean()


def assert_same(one, other):
    """Two sequences hold the same arrays."""
    for left, right in zip(one, other, strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.fixture
def plain():
    """A function that turns the fast path off; it is on again after the test."""
    import fast

    yield lambda: fast.turn(False)
    fast.turn(True)


@pytest.fixture(autouse=True)
def usual_precision():
    """What a test trains in bfloat16, as processors with AMX do by themselves, is of that test."""
    yield
    if "keras" in sys.modules:
        sys.modules["keras"].config.set_dtype_policy("float32")


@pytest.fixture
def policy():
    """A function that sets the precision of the layers made from then on, till the test ends."""
    import keras

    return keras.config.set_dtype_policy


@pytest.fixture
def mixed_bfloat16(policy):
    """bfloat16 with float32 weights during the test."""
    policy("mixed_bfloat16")


# Data sets


def write_store(folder, pictures, labels, names=CLASS_NAMES):
    """Write pictures (h, w, 3) by file name, and their label maps; open these as a store."""
    from utils.classes import Classes, named
    from utils.label_maps.store import open_labels, write_labels

    for name, picture in pictures.items():
        Image.fromarray(picture).save(folder / name)
    classes = names if isinstance(names, Classes) else named(names)
    entries = zip(pictures, labels, strict=True)
    write_labels(folder / "labels.npy", folder, classes, entries)
    return open_labels(folder / "labels.npy")


def make_picture(number: int, size: tuple[int, int]) -> np.ndarray:
    """A smooth picture (H, W, 3) uint8 whose first value, 20 + 10 number, tells it apart."""
    y, x = np.mgrid[: size[0], : size[1]]
    ramp = 20 + 40 * x / size[1] + 30 * y / size[0]
    return np.stack([ramp + 10 * number, ramp, ramp + 5], -1).astype(np.uint8)


def make_labels(number: int, size: tuple[int, int]) -> np.ndarray:
    """A label map (H, W) uint8 with a box of class 1 or 2 and a row of void."""
    labels = np.zeros(size, np.uint8)
    labels[size[0] // 4 : size[0] // 2, size[1] // 3 :] = 1 + number % 2
    labels[-1] = 255
    return labels


def make_store(folder, sizes: list[tuple[int, int]]):
    """A store of PNG pictures `0.png`, `1.png`, ... of these sizes."""
    pictures = {f"{number}.png": make_picture(number, size) for number, size in enumerate(sizes)}
    return write_store(folder, pictures, [make_labels(*entry) for entry in enumerate(sizes)])


@pytest.fixture
def store(tmp_path):
    """Seven pictures of 24x32."""
    return make_store(tmp_path, [(24, 32)] * 7)


def served(data, epochs) -> list[np.ndarray]:
    """Everything that these epochs serve, pictures and label maps in turn."""
    parts = []
    for epoch in epochs:
        data.epoch = epoch
        for x, y in data:
            parts += [x, y]
    return parts


# The program


def run_script(*arguments):
    """The `main` of fcn-12.3.1.py in this process; precision and fast path stay as they were."""
    import keras

    import fast

    specification = importlib.util.spec_from_file_location("fcn", SCRIPT)
    script = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(script)
    saved, policy, on = sys.argv, keras.config.dtype_policy(), fast.is_on()
    sys.argv = [str(SCRIPT), *map(str, arguments)]
    try:
        script.main()
    finally:
        sys.argv = saved
        keras.config.set_dtype_policy(policy)
        fast.turn(on)
