"""`--pretrained`: weights of ImageNet give the numbers here that they give in keras.applications.

The files have the names and shapes of those published, and random numbers.
"""

import h5py
import keras
import numpy as np
import pytest
from conftest import assert_same, disturbed, hollow, predict, random_batch, tiny_fcn
from keras import layers

import zoo
from engine.arguments import parse_arguments
from engine.pretrained import find_pretrained, start_pretrained
from engine.records import IMAGENET, Data, Network, Run
from engine.runs import describe_run
from engine.settings import settle
from engine.trainer import bring_weights
from utils.classes import named
from utils.errors import UserError
from zoo.fcn import build_fcn_resnet, build_fcn_vgg16
from zoo.normalisation import normalised
from zoo.parts import pictures_in
from zoo.pretrained import APPLICATIONS, application_for, weights_for
from zoo.resnet_v1 import RESNET101, build_resnet_v1
from zoo.vgg import CONVOLUTIONS, build_vgg16, vgg_stage

# As Keras 1 called a layer's weights, and Keras 2.
VGG16_NAMES = ("{0}_W_1:0", "{0}_b_1:0")
KINDS = {2: ("kernel", "bias"), 4: ("gamma", "beta", "moving_mean", "moving_variance")}


def publish(model, path):
    """Write the weights of a model as Keras 1 and 2 did: a group for each layer, names in order."""
    keras_1 = model.name.startswith("vgg")
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in model.layers]
        file.attrs["backend"], file.attrs["keras_version"] = b"tensorflow", b"2.0.0"
        for layer in model.layers:
            group, values = file.create_group(layer.name), layer.get_weights()
            names = [f"{layer.name}/{kind}:0" for kind in KINDS.get(len(values), ())]
            if keras_1:
                names = [name.format(layer.name) for name in VGG16_NAMES[: len(values)]]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, value in zip(names, values, strict=True):
                group[name] = value
    return path


@pytest.fixture(scope="module")
def vgg16():
    """VGG16 of keras.applications with two narrow dense layers and a classifier."""
    keras.utils.set_random_seed(0)
    trunk = keras.applications.VGG16(False, weights=None, input_shape=(224, 224, 3))
    x = layers.Flatten(name="flatten")(trunk.output)
    x = layers.Dense(8, activation="relu", name="fc1")(x)
    x = layers.Dense(6, activation="relu", name="fc2")(x)
    x = layers.Dense(5, activation="softmax", name="predictions")(x)
    return disturbed(keras.Model(trunk.input, x, name="vgg16"))


@pytest.fixture(scope="module")
def resnet50():
    """ResNet-50 of keras.applications, with biases and statistics, without its dense layer."""
    keras.utils.set_random_seed(0)
    original = keras.applications.ResNet50
    return disturbed(original(include_top=False, weights=None, input_shape=(64, 64, 3)))


@pytest.fixture(scope="module")
def vgg16_file(vgg16, tmp_path_factory):
    return publish(vgg16, tmp_path_factory.mktemp("published") / "vgg16.h5")


@pytest.fixture(scope="module")
def resnet50_file(resnet50, tmp_path_factory):
    return publish(resnet50, tmp_path_factory.mktemp("published") / "resnet50.h5")


def network_on(build, size):
    """A network whose outputs are the maps of a backbone for raw pictures."""
    inputs, x = pictures_in((*size, 3), 32)
    return keras.Model(inputs, build(x.shape[1:])(x), name="maps")


def narrow_fcn(size, fc6=8, fc7=8, channels=3):
    """FCN-32s whose dense layers are as narrow as those of the file; the paper's are 4096 wide."""
    inputs, x = pictures_in((*size, channels), 32)
    x = build_vgg16(x.shape[1:])(x)["P5"]
    x = layers.Conv2D(fc6, 7, padding="same", activation="relu", name="fc6_conv")(x)
    x = layers.Conv2D(fc7, 1, activation="relu", name="fc7_conv")(x)
    return keras.Model(inputs, layers.Conv2D(3, 1, name="pre_activation")(x), name="fcn_vgg16")


def assert_maps_equal(ours, theirs, pictures, preprocess):
    for place, expected in zip(
        sorted(ours), predict(theirs, preprocess(pictures.astype("float32"))), strict=True
    ):
        scale = np.abs(expected).max()
        assert scale > 0
        np.testing.assert_allclose(ours[place], expected, atol=1e-4 * scale, err_msg=place)


# The same numbers


def test_maps_of_vgg16_are_those_of_keras(vgg16, vgg16_file, capsys):
    model = network_on(build_vgg16, (64, 64))
    assert start_pretrained(model, "maps", vgg16_file) == vgg16_file
    said = capsys.readouterr().out
    assert said == f"13 layers start from VGG16 of ImageNet, {vgg16_file}; anew: none.\n"
    trunk = keras.applications.VGG16(False, weights=None, input_shape=(64, 64, 3))
    trunk.set_weights(vgg16.get_weights()[:26])
    theirs = keras.Model(
        trunk.input, [trunk.get_layer(f"block{stage}_pool").output for stage in range(1, 6)]
    )
    pictures, _ = random_batch((64, 64), number=1)
    preprocess = keras.applications.vgg16.preprocess_input
    assert_maps_equal(predict(model, pictures), theirs, pictures, preprocess)


@pytest.mark.long
def test_maps_of_resnet50_are_those_of_keras(resnet50, resnet50_file):
    model = network_on(build_resnet_v1, (64, 64))
    start_pretrained(model, "maps", resnet50_file)
    ends = ("conv1_relu", *(f"conv{s}_block{n}_out" for s, n in enumerate((3, 4, 6, 3), 2)))
    theirs = keras.Model(resnet50.input, [resnet50.get_layer(name).output for name in ends])
    pictures, _ = random_batch((64, 64), number=1)
    preprocess = keras.applications.resnet50.preprocess_input
    assert_maps_equal(predict(model, pictures), theirs, pictures, preprocess)


def test_dense_layers_become_convolutions(vgg16, vgg16_file, capsys):
    """Each cell is what the dense layers say of the 224 pixels around it; in the middle of 7x7
    cells nothing is beyond the border."""
    # The paper's fc6 and fc7 are as wide; here they are not, to tell their kernels apart.
    model = narrow_fcn((224, 224), fc7=6)
    dense = [model.get_layer(name).output for name in ("fc6_conv", "fc7_conv")]
    model = keras.Model(model.input, dense, name="dense")
    start_pretrained(model, "dense", vgg16_file)
    assert capsys.readouterr().out.startswith("15 layers start from VGG16 of ImageNet")
    pictures, _ = random_batch((224, 224), number=1)
    outputs = [vgg16.get_layer(name).output for name in ("fc1", "fc2")]
    theirs = keras.Model(vgg16.input, outputs)
    preprocess = keras.applications.vgg16.preprocess_input
    expected = predict(theirs, preprocess(pictures.astype("float32")))
    for ours, dense in zip(predict(model, pictures), expected, strict=True):
        assert ours.shape == (1, 7, 7, dense.shape[1]) and dense.max() > 0
        np.testing.assert_allclose(ours[:, 3, 3], dense, atol=1e-4 * dense.max())


def test_dense_layers_of_another_width_begin_anew(vgg16_file, capsys):
    model = narrow_fcn((32, 32), 4, 4)
    start_pretrained(model, "fcn32s", vgg16_file)
    assert capsys.readouterr().out.endswith("; anew: fc6_conv, fc7_conv, pre_activation.\n")


def test_a_flat_network_with_normalisation_takes_the_convolutions(vgg16, vgg16_file, capsys):
    inputs, x = pictures_in((32, 32, 3), 32)
    for stage, number in enumerate(CONVOLUTIONS, 1):
        x = vgg_stage(x, stage, width=64, convolutions=number, normalise=True)
        x = layers.MaxPooling2D()(x)
    model = keras.Model(inputs, x)
    start_pretrained(model, "flat", vgg16_file)
    said = capsys.readouterr().out
    assert said.startswith("13 layers") and "anew: block1_bn1, block1_bn2, block2_bn1" in said
    kernel, bias = vgg16.get_layer("block3_conv2").get_weights()
    np.testing.assert_array_equal(model.get_layer("block3_conv2").get_weights()[0], kernel)
    np.testing.assert_array_equal(model.get_layer("block3_conv2").get_weights()[1], bias)


@pytest.mark.parametrize("name", ["whole.h5", "of-keras-3.weights.h5"])
def test_other_files_of_the_same_model_do_as_well(name, vgg16, tmp_path):
    path = tmp_path / name
    (vgg16.save_weights if "weights" in name else vgg16.save)(path)
    model = narrow_fcn((32, 32))
    start_pretrained(model, "fcn32s", path)
    expected = vgg16.get_layer("block5_conv3").get_weights()
    ours = model.get_layer("vgg16").get_layer("block5_conv3").get_weights()
    for one, other in zip(ours, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    fc6 = model.get_layer("fc6_conv").get_weights()[0]
    np.testing.assert_array_equal(fc6.ravel(), vgg16.get_layer("fc1").get_weights()[0].ravel())


# Which there are


def described(original, **options):
    """Arrays of the shapes that a classifier of theirs has, by layer."""
    model = hollow(lambda: original(weights=None, **options))
    return {
        layer.name: [np.broadcast_to(np.float32(0), weight.shape) for weight in layer.weights]
        for layer in model.layers
    }


@pytest.mark.parametrize(
    ("original", "build"),
    [
        ("VGG16", lambda shape: build_fcn_vgg16(shape, 3)),
        ("ResNet50", lambda shape: build_fcn_resnet(shape, 3)),
        ("ResNet101", lambda shape: build_fcn_resnet(shape, 3, blocks=RESNET101)),
    ],
)
def test_every_layer_of_full_width_has_its_weights(original, build):
    """All but the one that tells the classes apart."""
    stored = described(getattr(keras.applications, original))
    model = hollow(lambda: build((64, 64, 3)))
    every = [layer for layer in [*model.layers, *nested(model)] if layer.count_params()]
    every = [layer for layer in every if not isinstance(layer, keras.Model)]
    assert application_for([layer.name for layer in every]).name == original
    fresh = []
    for layer in every:
        values = weights_for(layer.name, [weight.shape for weight in layer.weights], stored)
        if values is None:
            fresh.append(layer.name)
        else:
            assert [each.shape for each in values] == [weight.shape for weight in layer.weights]
    assert fresh == ["pre_activation"]


@pytest.mark.parametrize(
    ("name", "original"),
    [
        ("crf-rnn", "VGG16"),
        ("deeplab-v2-vgg16", "VGG16"),
        ("deeplab-v3plus", "ResNet50"),
        ("pspnet", "ResNet50"),
        ("gcn", "ResNet50"),
        ("fpn", "ResNet50"),
        ("refinenet", "ResNet101"),
        ("deeplab-v2", "ResNet101"),
    ],
)
def test_what_stands_on_their_backbones(name, original):
    """Of the networks of the zoo besides FCN; their layers have the names, whatever their width."""
    model = hollow(lambda: zoo.build(name, (64, 96, 3), 3, {"width": 4}))
    layers = [*model.layers, *nested(model)]
    assert application_for([layer.name for layer in layers]).name == original


def nested(model):
    return [inner for layer in model.layers if hasattr(layer, "layers") for inner in layer.layers]


class Asked(Exception):
    """What keras.applications would fetch."""


@pytest.mark.parametrize("application", APPLICATIONS, ids=lambda each: each.name)
@pytest.mark.parametrize("top", [True, False])
def test_what_is_fetched_is_what_keras_fetches(application, top, monkeypatch):
    from keras.src.utils import file_utils

    def get_file(name, address, *, cache_subdir, file_hash):
        raise Asked(name, address, cache_subdir, file_hash)

    monkeypatch.setattr(file_utils, "get_file", get_file)
    with pytest.raises(Asked) as theirs:
        original = getattr(keras.applications, application.name)
        hollow(lambda: original(include_top=top, weights="imagenet"))
    keras.utils.clear_session(free_memory=False)
    name, address, md5 = application.file(["fc6_conv"] if top else ["pre_activation"])
    their_name, their_address, folder, their_md5 = theirs.value.args
    assert (name, md5, "models") == (their_name, their_md5, folder)
    assert address == their_address


def test_it_is_fetched_where_keras_keeps_it(vgg16_file, monkeypatch, capsys):
    asked = []

    def get_file(*names, **options):
        asked.append((names, options))
        return str(vgg16_file)

    monkeypatch.setattr(keras.utils, "get_file", get_file)
    model = network_on(build_vgg16, (32, 32))
    assert start_pretrained(model, "maps", IMAGENET) == vgg16_file
    name, address, md5 = APPLICATIONS[0].file([])
    assert asked == [((name, address), {"cache_subdir": "models", "file_hash": md5})]


# What is refused


def test_without_a_network_the_file_is_named(monkeypatch):
    def get_file(name, address, **_):
        raise Exception(f"URL fetch failure on {address}: None -- no route\nto host")

    monkeypatch.setattr(keras.utils, "get_file", get_file)
    model = network_on(build_vgg16, (32, 32))
    with pytest.raises(UserError) as error:
        start_pretrained(model, "maps", IMAGENET)
    said = str(error.value)
    assert "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5 (URL fetch failure" in said
    assert "fetch https://storage.googleapis.com/" in said and "--pretrained FILE" in said
    assert "\n" not in said


def test_a_network_without_a_backbone_of_theirs():
    for model in (tiny_fcn(), build_fcn_resnet((32, 32, 3), 3, width=4, blocks=(1, 1, 1, 1))):
        with pytest.raises(UserError, match="of VGG16, ResNet50, ResNet101, none of .* tiny"):
            start_pretrained(model, "tiny", IMAGENET)


def test_pictures_of_other_channels(vgg16_file):
    model = narrow_fcn((32, 32), channels=1)
    with pytest.raises(UserError, match="3 channels, not 1; leave out"):
        start_pretrained(model, "fcn32s", vgg16_file)


def test_files_of_something_else(vgg16_file, resnet50_file, tmp_path):
    model = hollow(lambda: network_on(build_vgg16, (32, 32)))  # nothing is given to it
    with h5py.File(tmp_path / "empty.h5", "w"):
        pass
    for path in (resnet50_file, tmp_path / "empty.h5"):
        with pytest.raises(UserError, match=r"no weights for the layer block1_conv1 .* give vgg16"):
            start_pretrained(model, "maps", path)
    narrow = Network("fcn32s", (32, 32, 3), None, {"width": 4}).build()
    for asked in (vgg16_file, IMAGENET):  # before it is fetched
        with pytest.raises(
            UserError, match="fcn32s is set to 4 in block1_conv1, not 64; leave out"
        ):
            start_pretrained(narrow, "fcn32s", asked)
    other = hollow(lambda: network_on(build_resnet_v1, (32, 32)))
    with pytest.raises(UserError, match="for the layer conv1_conv .* give resnet50_weights"):
        start_pretrained(other, "maps", vgg16_file)


@pytest.mark.long
@pytest.mark.parametrize("damage", ["text", "link", "names", "numbers", "cut"])
def test_a_strangers_file(damage, vgg16_file, tmp_path):
    path = tmp_path / "a.h5"
    path.write_bytes(vgg16_file.read_bytes())
    if damage == "text":
        path.write_text("no weights")
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:1_000_000])
    else:
        with h5py.File(path, "r+") as file:
            if damage == "link":
                file["other"] = h5py.ExternalLink("/etc/hostname", "/")
            if damage == "names":
                file["block1_conv1"].attrs["weight_names"] = [b"../..", b"\xff\xfe"]
            if damage == "numbers":
                file.attrs["layer_names"] = np.arange(3)
    with pytest.raises(UserError, match=r"a\.h5"):
        start_pretrained(network_on(build_vgg16, (32, 32)), "maps", path)


def test_arrays_that_do_not_fit_are_not_read():
    class Array:
        shape = (10**6, 10**6)

        def __array__(self, *_, **__):
            raise AssertionError("read")

    arrays = [Array(), Array()]
    assert weights_for("block1_conv1", [(3, 3, 3, 64), (64,)], {"block1_conv1": arrays}) is None
    stored = {"a_conv": arrays, "a_bn": [np.zeros(4, "float32")] * 4}
    values = weights_for("a_bn", [(4,)] * 4, stored)
    assert [value.shape for value in values] == [(4,)] * 4


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(
        UserError, match=r"no-such\.h5: there is no such file; .*--pretrained alone"
    ):
        find_pretrained(str(tmp_path / "no-such.h5"))
    assert find_pretrained(IMAGENET) == IMAGENET


# The option


def test_the_option():
    assert parse_arguments(["--train"]).pretrained is None
    assert parse_arguments(["--pretrained", "--train"]).pretrained == IMAGENET
    assert parse_arguments(["--train", "--pretrained", "a.h5"]).pretrained == "a.h5"


@pytest.mark.parametrize(
    "options",
    [
        ["--evaluate", "--restore-weights", "a.weights.h5"],
        ["--train", "--restore-weights", "a.weights.h5"],
        ["--train", "--start-from", "a.weights.h5"],
        ["--train", "--resume"],
        ["--summary"],
    ],
)
def test_it_goes_with_a_new_training_alone(options, capsys):
    with pytest.raises(SystemExit):
        parse_arguments([*options, "--pretrained"])
    assert "--pretrained goes with --train, and without" in capsys.readouterr().err


def test_the_file_is_looked_for_at_once(vgg16_file, policy):
    options = ["--train", "--model", "fcn8s", "--pretrained"]
    assert settle(parse_arguments([*options, str(vgg16_file)]))[2].pretrained == vgg16_file
    assert settle(parse_arguments(options))[2].pretrained == IMAGENET
    with pytest.raises(UserError, match="there is no such file"):
        settle(parse_arguments([*options, "no-such.h5"]))


def test_a_run_begins_with_it_and_remembers(vgg16_file, tmp_path):
    network = Network("fcn32s", (32, 32, 3), named(["background", "a", "b"]), {})
    run = Run(pretrained=vgg16_file)
    record = describe_run(network, Data(), run)["run"]
    assert record["pretrained"] == ".../vgg16.h5"
    assert describe_run(network, Data(), Run(pretrained=IMAGENET))["run"]["pretrained"] == IMAGENET

    class Ledger:
        rows, begun = [], False

        def begin(self):
            self.begun = True

    ledger, model = Ledger(), narrow_fcn((32, 32))
    ledger.network = network
    model.compile("sgd")
    bring_weights(model, run, ledger, score=None)
    assert ledger.begun
    with h5py.File(vgg16_file) as file:
        kernel = file["block2_conv1/block2_conv1_W_1:0"][:]
    ours = model.get_layer("vgg16").get_layer("block2_conv1").get_weights()[0]
    np.testing.assert_array_equal(ours, kernel)
    # Numbers that are none are refused, as with --start-from.
    with h5py.File(tmp_path / "nan.h5", "w") as broken, h5py.File(vgg16_file) as file:
        for name in file:
            file.copy(name, broken)
        broken.attrs["layer_names"] = file.attrs["layer_names"]
        broken["block2_conv1/block2_conv1_b_1:0"][0] = np.nan
    with pytest.raises(UserError, match="not a number"):
        bring_weights(model, Run(pretrained=tmp_path / "nan.h5"), ledger, score=None)


def test_a_network_that_normalises_groups_takes_scale_and_shift(resnet50, resnet50_file, capsys):
    model = normalised(network_on(build_resnet_v1, (32, 32)), "group")
    start_pretrained(model, "maps", resnet50_file)
    assert capsys.readouterr().out.endswith("; anew: none.\n")
    ours = model.get_layer("resnet50").get_layer("conv3_block2_1_bn").get_weights()
    assert_same(ours, resnet50.get_layer("conv3_block2_1_bn").get_weights()[:2])
