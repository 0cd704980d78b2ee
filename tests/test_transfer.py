"""`--start-from`: what is taken from other weights, and what is not."""

import keras
import numpy as np
import pytest
from conftest import assert_same, build_toy, tiny_fcn

import zoo
from engine.transfer import start_from
from engine.weights import save_checkpoint, save_weights
from utils.errors import UserError

RUN = {"size": [32, 32], "schedule_epochs": 1}


def of(name):
    """A configuration of a network of that name, as far as it is asked here."""
    from engine.records import Network
    from utils.classes import named

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
