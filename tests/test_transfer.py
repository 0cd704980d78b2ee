"""`--start-from`: what is taken from other weights, and what is not."""

import h5py
import keras
import numpy as np
import pytest
from conftest import assert_same, build_toy, predict, random_batch, tiny_fcn

import zoo
from engine import transfer
from engine.arguments import parse_arguments
from engine.records import Network
from engine.settings import settle
from engine.transfer import restore, start_from
from engine.weights import save_checkpoint, save_weights
from utils.classes import named
from utils.errors import UserError

RUN = {"size": [32, 32], "schedule_epochs": 1}


def of(name):
    """A configuration of a network of that name, as far as it is asked here."""
    classes = named(["background", "thing", "stuff"])
    return {"network": Network(name, (32, 32, 3), classes, {}).content(), "data": {}, "run": RUN}


def test_what_fits_is_taken_and_nothing_else(tmp_path, capsys):
    source, target = tiny_fcn((32, 32), 3), tiny_fcn((64, 32), 4)
    before = target.get_layer("pre_activation").get_weights()[0]
    save_weights(source, tmp_path / "three.weights.h5", of("fcn"))
    start_from(target, "fcn", tmp_path / "three.weights.h5")
    np.testing.assert_array_equal(target.get_layer("pre_activation").get_weights()[0], before)
    for name in ("conv_fcn_8", "bn_up_x4", "ResNet8v1"):
        assert_same(target.get_layer(name).get_weights(), source.get_layer(name).get_weights())
    assert "anew: pre_activation." in capsys.readouterr().out


def test_a_checkpoint_and_a_file_without_configuration_do_as_well(tmp_path):
    source, target = tiny_fcn(), tiny_fcn()
    source.compile("adam", "mse")
    save_checkpoint(source, tmp_path / "a.weights.h5", {}, {})  # has an optimizer besides
    start_from(target, "fcn", tmp_path / "a.weights.h5")
    assert_same(source.get_weights(), target.get_weights())


def test_another_network_gives_its_backbone_alone(tmp_path, toy):
    """Layers elsewhere may be called alike, and fit, and do something else."""
    source, target = tiny_fcn(filters=4), tiny_fcn(filters=4)
    before = target.get_layer("conv_fcn_8").get_weights()
    save_weights(source, tmp_path / "a.weights.h5", of("toy"))
    start_from(target, "fcn", tmp_path / "a.weights.h5")
    assert_same(
        target.get_layer("ResNet8v1").get_weights(), source.get_layer("ResNet8v1").get_weights()
    )
    assert_same(target.get_layer("conv_fcn_8").get_weights(), before)


def test_another_network_without_a_backbone_gives_nothing(tmp_path, toy):
    save_weights(build_toy((32, 32, 3), 3), tmp_path / "a.weights.h5", of("toy"))
    again = build_toy((32, 32, 3), 3)
    start_from(again, "toy", tmp_path / "a.weights.h5")
    with pytest.raises(UserError, match="fits no layer of the network fcn"):
        start_from(again, "fcn", tmp_path / "a.weights.h5")


def test_starting_from_weights_of_which_nothing_fits(tmp_path):
    layer = keras.layers.Dense(2, name="other")
    other = keras.Sequential([keras.Input((3,)), layer])
    save_weights(other, tmp_path / "other.weights.h5", {})
    with pytest.raises(UserError, match="fits no layer"):
        start_from(tiny_fcn(), "fcn", tmp_path / "other.weights.h5")


def test_variants_of_a_network_are_one(tmp_path, monkeypatch):
    monkeypatch.setitem(zoo.MODELS, "narrow", zoo.MODELS["fcn"])
    source, target = tiny_fcn(), tiny_fcn()
    save_weights(source, tmp_path / "a.weights.h5", of("fcn"))
    start_from(target, "narrow", tmp_path / "a.weights.h5")
    assert_same(source.get_weights(), target.get_weights())


def test_only_arrays_that_fit_are_read(tmp_path, monkeypatch):
    """A stranger's file may hold more than the memory."""
    source, target, read = tiny_fcn((32, 32), 3), tiny_fcn((32, 32), 4), []
    save_weights(source, tmp_path / "a.weights.h5", of("fcn"))
    reading = transfer._read
    monkeypatch.setattr(
        transfer, "_read", lambda arrays, path: read.extend(arrays) or reading(arrays, path)
    )
    shapes = []
    with h5py.File(tmp_path / "a.weights.h5") as file:
        file.visititems(
            lambda _, i: shapes.append(i.shape) if isinstance(i, h5py.Dataset) else None
        )
    start_from(target, "fcn", tmp_path / "a.weights.h5")
    assert len(read) == len(shapes) - 2  # kernel and bias of the classifier


def test_a_group_in_the_place_of_an_array_is_no_weight(tmp_path):
    source, path = build_toy((32, 32, 3), 3), tmp_path / "a.weights.h5"
    save_weights(source, path, {})
    with h5py.File(path, "r+") as file:
        del file["layers/conv2d/vars/0"]
        file.create_group("layers/conv2d/vars/0")
    target = build_toy((32, 32, 3), 3)
    before = target.get_layer("stem_conv").get_weights()[0]
    start_from(target, "fcn", path)
    np.testing.assert_array_equal(target.get_layer("stem_conv").get_weights()[0], before)
    for layer in ("stem_bn", "pre_activation"):
        assert_same(target.get_layer(layer).get_weights(), source.get_layer(layer).get_weights())


# `--restore-weights` with `--model`: a relative


def save_unetplusplus(path, **settings):
    """Weights of a narrow UNet++, and the network."""
    classes = named(["background", "thing", "stuff"])
    network = Network("unetplusplus", (32, 48, 3), classes, {"width": 2, **settings})
    model = network.build()
    save_weights(model, path, {"network": network.content(), "data": {}, "run": RUN})
    return model


def test_a_network_is_cut_off_behind_its_heads(tmp_path, capsys):
    """Bit for bit, by the way that the command line goes."""
    path = tmp_path / "a.weights.h5"
    whole = save_unetplusplus(path)
    pictures, _ = random_batch((32, 48))
    outputs = predict(whole, pictures)
    for depth in (1, 2, 3, 4):
        name = f"unetplusplus-l{depth}"
        arguments = ["--evaluate", "--restore-weights", str(path), "--model", name]
        network, _, _ = settle(parse_arguments([*arguments, "--precision", "float32"]))
        assert network.name == name and network.settings["width"] == 2
        part = network.build()
        restore(part, network.name, path)
        said = f"a.weights.h5 holds weights of unetplusplus; here they answer as {name}."
        assert said in capsys.readouterr().out
        np.testing.assert_array_equal(predict(part, pictures), outputs[depth])
    network, _, _ = settle(parse_arguments(["--evaluate", "--restore-weights", str(path)]))
    assert network.name == "unetplusplus" and network.settings["supervised"]


@pytest.mark.long
@pytest.mark.parametrize("name", ["unetplus", "unet-l4", "unet-l2"])
def test_a_relative_that_lacks_a_layer_gives_nothing(tmp_path, name):
    """X^{0,2} of a UNet++ has one input more than that of the others."""
    path = tmp_path / "a.weights.h5"
    save_unetplusplus(path)
    arguments = ["--evaluate", "--restore-weights", str(path), "--model", name]
    network, _, _ = settle(parse_arguments(arguments))
    complaint = f"holds weights of the network unetplusplus, which has no x.* as {name}.*--model"
    with pytest.raises(UserError, match=complaint):
        restore(network.build(), name, path)


@pytest.mark.parametrize("name", ["fcn", "unet", "fcn8s"])
def test_a_network_that_is_no_relative_is_refused(tmp_path, name):
    path = tmp_path / "a.weights.h5"
    save_unetplusplus(path)
    with pytest.raises(UserError, match=f"--model unetplusplus, not {name}; leave out --model"):
        settle(parse_arguments(["--evaluate", "--restore-weights", str(path), "--model", name]))


def test_a_part_does_not_restore_the_whole(tmp_path):
    path = tmp_path / "a.weights.h5"
    classes = named(["background", "thing", "stuff"])
    part = Network("unetplusplus-l2", (32, 48, 3), classes, {"width": 2})
    save_weights(part.build(), path, {"network": part.content(), "data": {}, "run": RUN})
    arguments = ["--evaluate", "--restore-weights", str(path), "--model", "unetplusplus"]
    network, _, _ = settle(parse_arguments(arguments))
    assert network.settings["depth"] == 4 and network.settings["supervised"]
    with pytest.raises(UserError, match="network unetplusplus-l2, which has no x"):
        restore(network.build(), network.name, path)
