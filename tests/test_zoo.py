"""The table of networks, what can be set in them, and the record that describes one."""

import dataclasses
import inspect
import json
import re

import keras
import pytest
from conftest import build_toy

import zoo
from engine.records import MOST_CHANNELS, SETTINGS, Network, network_from
from utils.classes import named
from utils.errors import UserError
from zoo.chapter import MOST_LAYERS, build_backbone, build_chapter, chapter_files, parse_backbone

CLASSES = named(["background", "bottle", "can"])
TINY = {"backbone": "resnet8v1", "layers": 1, "filters": 4}
CHAPTER = {"backbone": "resnet56v2", "layers": 3, "filters": 256}


# Rows


@pytest.mark.parametrize("name", zoo.MODELS)
def test_every_row_keeps_the_rules(name):
    """What `Entry.builder` promises; `test_family.py` looks at what the networks do."""
    entry = zoo.MODELS[name]
    first, second, *others = inspect.signature(entry.builder).parameters.values()
    assert (first.name, second.name) == ("input_shape", "n_classes")
    assert all(keyword.kind is keyword.KEYWORD_ONLY for keyword in others)
    assert set(entry.settings) <= {keyword.name for keyword in others}
    assert all(isinstance(k.default, (int, float, str, bool, tuple)) for k in others)
    assert entry.paper and 2012 <= entry.year <= 2026
    assert not re.search(r"[^a-z0-9-]", name)


def test_every_setting_of_the_command_line_is_one_of_some_network():
    assert set(SETTINGS) <= {setting for name in zoo.MODELS for setting in zoo.defaults(name)}


def test_networks_are_found_by_name():
    assert zoo.find("fcn") is zoo.MODELS["fcn"]
    for name in ("fnc", "vgg16", "", "FCN"):
        with pytest.raises(UserError, match=f"no network '{name}'; choose .*--list-models prints"):
            zoo.find(name)


def test_near_names_come_first(toy):
    with pytest.raises(UserError, match="; choose toy, or another of those that --list-models"):
        zoo.find("toyy")
    with pytest.raises(UserError, match="; choose one of those that --list-models"):
        zoo.find("transformer-xl-9000")


def test_defaults_are_the_keywords_of_the_builder():
    assert zoo.defaults("fcn") == zoo.complete("fcn", {}) == CHAPTER
    assert zoo.complete("fcn", {"filters": 64}) == CHAPTER | {"filters": 64}


def test_a_row_may_have_settings_of_its_own(monkeypatch):
    row = zoo.Entry(build_toy, "of these tests", 2026, 148, settings={"width": 8})
    monkeypatch.setitem(zoo.MODELS, "wide", row)
    assert zoo.defaults("wide") == {"width": 8}
    assert zoo.complete("wide", {"width": 2}) == {"width": 2}
    assert zoo.build("wide", (32, 32, 3), 2, {}).get_layer("stem_conv").filters == 8


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"depth": 3}, "has no 'depth'; what can be set is: backbone, layers, filters"),
        ({"filters": "64"}, "filters '64' of the network fcn is no int; 256 is its default"),
        ({"filters": 64.0}, "filters 64.0"),
        ({"layers": True}, "layers True"),
        ({"layers": None}, "layers None"),
        ({"backbone": 56}, "backbone 56 of the network fcn is no str"),
    ],
)
def test_settings_that_a_network_does_not_have(settings, complaint):
    for function in (zoo.complete, zoo.files):
        with pytest.raises(UserError, match=complaint):
            function("fcn", settings)
    with pytest.raises(UserError, match=complaint):
        zoo.build("fcn", (32, 32, 3), 2, settings)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("fcn8s", {"width": 0}),
        ("fcn8s", {"blocks": (1,)}),
        ("fcn8s", {"blocks": (1, 1, 1, 1, 0)}),
        ("fcn8s", {"blocks": ("1", "1", "1", "1", "1")}),
        ("fcn8s", {"skips": -1}),
        ("fcn8s", {"skips": 9}),
        ("unet", {"depth": -3}),
        ("segnet", {"blocks": ()}),
    ],
)
def test_numbers_that_no_builder_can_use(name, settings):
    with pytest.raises(UserError, match=f"{next(iter(settings))} .*"):
        zoo.complete(name, settings)


def test_a_network_in_which_nothing_can_be_set(monkeypatch):
    row = zoo.Entry(lambda input_shape, n_classes: None, "of these tests", 2026, 0)
    monkeypatch.setitem(zoo.MODELS, "fixed", row)
    assert zoo.complete("fixed", {}) == {}
    with pytest.raises(UserError, match="what can be set is: nothing"):
        zoo.complete("fixed", {"filters": 3})


def test_how_the_files_of_a_run_are_called(toy):
    assert zoo.files("fcn", {}) == "ResNet56v2-3layer"
    assert zoo.files("fcn", {"backbone": " ResNet20V1", "layers": 2}) == "ResNet20v1-2layer"
    assert zoo.files("toy", {}) == "toy"
    assert chapter_files(**CHAPTER) == "ResNet56v2-3layer"


# The chapter's


@pytest.mark.parametrize(
    ("name", "version", "n"),
    [
        ("resnet20v1", 1, 3),
        ("resnet8v1", 1, 1),
        ("resnet56v2", 2, 6),
        ("resnet110v2", 2, 12),
        (" ResNet29V2 ", 2, 3),
    ],
)
def test_backbones_by_name(name, version, n):
    assert parse_backbone(name) == {"version": version, "n": n}
    depth = (6, 9)[version - 1] * n + 2
    assert chapter_files(name, 3, 64) == f"ResNet{depth}v{version}-3layer"
    assert f"resnet{depth}v{version}" == name.strip().lower()


def test_a_backbone_is_built_by_its_name():
    model = build_backbone((64, 64, 3), "resnet14v1", 2)
    assert model.name == "ResNet14v1" and len(model.outputs) == 3


@pytest.mark.parametrize(
    "name", ["resnet50v2", "resnet57v1", "resnet2v2", "vgg16", "resnet56v3", ""]
)
def test_backbones_that_do_not_exist(name):
    with pytest.raises(UserError, match="--backbone .*resnet"):
        parse_backbone(name)
    with pytest.raises(UserError, match="--backbone .*resnet"):
        build_chapter((64, 64, 3), backbone=name)


def test_nearest_backbones_are_named():
    with pytest.raises(UserError, match="resnet47v2 and resnet56v2"):
        parse_backbone("resnet50v2")
    with pytest.raises(UserError, match="resnet8v1 and resnet14v1"):
        parse_backbone("resnet2v1")


def test_numbers_out_of_range_are_refused():
    for layers in (0, MOST_LAYERS + 1):
        with pytest.raises(UserError, match=f"--layers {layers}"):
            build_chapter((64, 64, 3), **TINY | {"layers": layers})
    with pytest.raises(UserError, match="--filters 0"):
        build_chapter((64, 64, 3), **TINY | {"filters": 0})


# The record of a network


def tiny(**changes):
    return Network(**{"name": "fcn", "input_shape": (32, 48, 3), "classes": CLASSES} | changes)


def test_a_record_is_whole():
    network = tiny(settings={"filters": 4})
    assert dict(network.settings) == CHAPTER | {"filters": 4}
    assert network == tiny(settings=CHAPTER | {"filters": 4})
    assert network.size == (32, 48)


def test_a_record_cannot_be_changed():
    network, given = tiny(settings={}), {"filters": 4}
    with pytest.raises(dataclasses.FrozenInstanceError):
        network.name = "other"
    with pytest.raises(TypeError):
        network.settings["filters"] = 5
    network = tiny(settings=given)
    given["filters"] = 5
    assert network.settings["filters"] == 4


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"name": "fnc"}, "no network 'fnc'"),
        ({"settings": {"depth": 3}}, "has no 'depth'"),
        ({"settings": {"layers": "3"}}, "layers '3'"),
        ({"input_shape": (32, 48)}, "height, width, channels"),
        ({"input_shape": (32, 48, 3, 1)}, "height, width, channels"),
        ({"input_shape": (32.0, 48, 3)}, "height, width, channels"),
        ({"input_shape": (None, 48, 3)}, "height, width, channels"),
        ({"input_shape": (True, 48, 3)}, "height, width, channels"),
        ({"input_shape": (31, 48, 3)}, "no network takes 31x48"),
        ({"input_shape": (32, -48, 3)}, "no network takes 32x-48"),
        ({"input_shape": (32, 2**31, 3)}, "no network takes"),
        ({"input_shape": (32, 48, 0)}, "of 0 channels"),
        ({"input_shape": (32, 48, MOST_CHANNELS + 1)}, f"of {MOST_CHANNELS + 1} channels"),
    ],
)
def test_a_record_is_checked_when_it_is_made(changes, complaint):
    with pytest.raises(UserError, match=complaint):
        tiny(**{"settings": {}} | changes)


def test_the_same_network_at_another_size():
    network = tiny(settings=TINY, input_shape=(32, 48, 1))
    larger = network.at((64, 96))
    assert larger == tiny(settings=TINY, input_shape=(64, 96, 1))
    assert network.size == (32, 48)
    with pytest.raises(UserError, match="no network takes"):
        network.at((16, 96))


def test_a_record_is_built():
    model = tiny(settings=TINY, input_shape=(32, 48, 1)).build()
    assert model.input_shape == (None, 32, 48, 1) and model.output_shape == (None, 32, 48, 3)
    assert model.get_layer("conv_fcn_8").filters == 4
    assert tiny(settings=TINY, classes=None).build().output_shape[-1] == 4
    with pytest.raises(UserError, match="--backbone"):
        tiny(settings={"backbone": "vgg16"}).build()


def test_a_record_comes_back_from_json():
    network = tiny(settings=TINY)
    assert network_from(json.loads(json.dumps(network.content()))) == network


def test_a_setting_of_several_numbers_comes_back(monkeypatch):
    def build(input_shape, n_classes, *, rates=(1, 2)):
        return keras.Model()

    monkeypatch.setitem(zoo.MODELS, "several", zoo.Entry(build, "of these tests", 2026, 0))
    network = tiny(name="several", settings={"rates": (3, 6, 9)})
    assert network_from(json.loads(json.dumps(network.content()))) == network


@pytest.mark.parametrize(
    "damage",
    [
        {"name": "fnc"},
        {"name": None},
        {"name": ["fcn"]},
        {"input_shape": None},
        {"input_shape": 32},
        {"input_shape": [32, 48]},
        {"input_shape": [32, "48", 3]},
        {"input_shape": [32, -5, 3]},
        {"settings": None},
        {"settings": []},
        {"settings": {"layers": True}},
        {"settings": {"layers": [3]}},
        {"settings": {"unheard-of": 3}},
        {"classes": 3},
        {"classes": [{"name": "background"}]},
        {"classes": [3]},
    ],
)
def test_a_damaged_description_is_refused(damage):
    content = json.loads(json.dumps(tiny(settings=TINY).content() | damage))
    with pytest.raises(UserError):
        network_from(content)


@pytest.mark.parametrize("name", ["name", "input_shape", "settings", "classes"])
def test_a_description_that_lacks_something_is_refused(name):
    content = tiny(settings=TINY).content()
    del content[name]
    with pytest.raises(UserError, match=f"description of the network is damaged .*{name}"):
        network_from(content)
    for nothing in (None, 3, "fcn", []):
        with pytest.raises(UserError, match="description of the network is damaged"):
            network_from(nothing)
