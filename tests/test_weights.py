"""Weights files: found by name, written whole, and what they say of their network."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import h5py
import numpy as np
import pytest
from conftest import assert_same, tiny_fcn

from engine.records import Network
from engine.weights import (
    epochs_done,
    find_weights,
    load_checkpoint,
    load_weights,
    read_configuration,
    read_network,
    read_options,
    save_checkpoint,
    save_weights,
)
from utils.classes import named
from utils.errors import UserError
from utils.files import PROJECT

CLASSES = named(["background", "thing", "stuff"])
SETTINGS = {"backbone": "resnet8v1", "layers": 1, "filters": 4}
RUN = {"size": [32, 48], "schedule_epochs": 1}


@pytest.mark.parametrize("asked", ["x.h5", "x.weights.h5"])
@pytest.mark.parametrize("there", ["x.h5", "x.weights.h5"])
def test_weights_are_found_by_either_name(tmp_path, asked, there):
    (tmp_path / there).touch()
    assert find_weights(asked, tmp_path) == tmp_path / there
    assert find_weights(str(tmp_path / asked), tmp_path / "other") == tmp_path / there


def test_weights_that_are_not_there(tmp_path):
    with pytest.raises(UserError, match="nothing.h5"):
        find_weights("nothing.h5", tmp_path)


def test_weights_of_another_network_are_refused(tmp_path):
    save_weights(tiny_fcn(), tmp_path / "a.weights.h5", {"n_classes": 3})
    other = tiny_fcn(filters=5)
    with pytest.raises(UserError, match="does not fit this network"):
        load_weights(other, tmp_path / "a.weights.h5")


def test_broken_weights_are_refused(tmp_path):
    (tmp_path / "a.weights.h5").write_bytes(b"not HDF5")
    with pytest.raises(UserError, match="a.weights.h5 is not a whole HDF5"):
        load_weights(tiny_fcn(), tmp_path / "a.weights.h5")


def described(**changes):
    """A configuration with records, of which some are changed."""
    network = Network("fcn", (32, 48, 3), CLASSES, SETTINGS).content()
    return {"network": network | changes, "data": {}, "run": RUN}


def of_old(**changes):
    """A configuration as earlier commits wrote it."""
    arguments = {"backbone": "resnet8v1", "layers": 1, "filters": 4, "height": 32, "width": 48}
    return {
        "n_classes": 3,
        "class_names": list(CLASSES.names),
        "class_colours": [list(colour) for colour in CLASSES.colours],
        "arguments": arguments | changes,
    }


@pytest.mark.parametrize(
    "configuration",
    [
        [],
        "text",
        {"n_classes": 3, "arguments": 3},
        {"n_classes": "3"},
        {"n_classes": None},
        {"n_classes": 1000},
        {"n_classes": 3, "class_names": "abc"},
        {"n_classes": 3, "class_names": ["background", "thing"]},
        of_old(backbone=5),
        of_old(height="480"),
        of_old(width=-5),
        of_old(layers=True),
        of_old(whole_size=[32]),
        of_old(close_ups="many"),
        {"network": 3},
        {"network": {}, "data": {}, "run": RUN},
        {"network": described()["network"], "data": {}},
        {"network": described()["network"], "data": [], "run": {}},
        described(name="vgg"),
        described(name=3),
        described(settings={"depth": 3}),
        described(settings={"filters": "64"}),
        described(settings=[]),
        described(input_shape=[32, "48", 3]),
        described(input_shape=[32, 48]),
        described(input_shape=[8, 48, 3]),
        described(input_shape=[32, 48, 17]),
        described(input_shape=None),
        described(classes=[]),
        described(classes=["background", "background"]),
        described(classes=None),
        described(settings={"filters": -4}),
        described(settings={"backbone": "resnet57v2"}),
        described() | {"run": RUN | {"size": [32]}},
        described() | {"run": RUN | {"size": ["32", 48]}},
        described() | {"run": RUN | {"schedule_epochs": 0}},
        described() | {"run": {"size": [32, 48]}},
    ],
)
def test_a_damaged_configuration_is_refused(tmp_path, configuration):
    with h5py.File(tmp_path / "a.weights.h5", "w") as file:
        file.attrs["configuration"] = json.dumps(configuration)
    with pytest.raises(UserError, match="a.weights.h5 has a broken configuration"):
        read_network(tmp_path / "a.weights.h5")


def test_a_setting_out_of_range_is_refused_before_anything_is_built(tmp_path):
    for settings in ({"layers": 60}, {"filters": 0}, {"backbone": "resnet57v2"}):
        save_weights(tiny_fcn(), tmp_path / "a.weights.h5", described(settings=settings))
        with pytest.raises(UserError, match=f"a.weights.h5 .*--{next(iter(settings))}"):
            read_network(tmp_path / "a.weights.h5")


def test_a_weights_file_alone_rebuilds_its_network(tmp_path):
    model = tiny_fcn()
    save_weights(model, tmp_path / "a.weights.h5", described())
    network = read_network(tmp_path / "a.weights.h5")
    assert (network.input_shape, network.classes) == ((32, 48, 3), CLASSES)
    again = network.build()
    load_weights(again, tmp_path / "a.weights.h5")
    assert_same(model.get_weights(), again.get_weights())


def test_files_of_earlier_commits_still_load(tmp_path):
    """Scored at 32x48, to end at 96x144."""
    path, model = tmp_path / "a.weights.h5", tiny_fcn()
    save_weights(
        model, path, of_old(whole_size=[96, 144], augment=True, close_ups=0.2, mirror=True)
    )
    network = read_network(path)
    assert network == Network("fcn", (32, 48, 3), CLASSES, SETTINGS)
    load_weights(network.build(), path)
    options = read_options(path)
    assert (options["height"], options["width"], options["augment"]) == (96, 144, "close")
    assert "mirror" not in options
    save_weights(model, path, of_old(augment=False))
    assert read_options(path)["augment"] == "none"
    assert read_options(path)["height"] == 32


@pytest.mark.parametrize("state", [{}, {"run": 1, "rows": 5}, {"run": 1, "rows": [], "best": 1}])
def test_a_checkpoint_without_the_state_of_a_run_is_not_resumed(tmp_path, state):
    model = tiny_fcn()
    model.compile("adam", "mse")
    save_checkpoint(model, tmp_path / "tiny-last.weights.h5", {}, state)
    with pytest.raises(UserError, match="no state of a run"):
        epochs_done(tmp_path / "tiny-last.weights.h5")
    with pytest.raises(UserError, match="no state of a run"):
        load_checkpoint(model, tmp_path / "tiny-last.weights.h5")


def test_classes_are_counted_without_a_configuration(tmp_path):
    save_weights(tiny_fcn(), tmp_path / "a.weights.h5", {})
    assert read_configuration(tmp_path / "a.weights.h5") == {}
    classes = read_network(tmp_path / "a.weights.h5").classes
    assert classes.names == ("background", "class 1", "class 2")


def test_failed_saving_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.weights.h5"
    model = tiny_fcn()
    model.compile("adam", "mse")
    save_checkpoint(model, path, described(), {"rows": []})
    before = path.read_bytes()
    recursive: dict = {}
    recursive["self"] = recursive  # JSON refuses it after the weights have been written
    with pytest.raises(ValueError):
        save_checkpoint(model, path, described(), recursive)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_killed_while_saving(tmp_path):
    """kill -9 at random moments of a process that does nothing but save checkpoints."""
    path = tmp_path / "a.weights.h5"
    script = f"""
        import sys
        sys.path[:0] = {[str(PROJECT / "tests")]!r}
        from pathlib import Path
        from conftest import tiny_fcn
        from engine.weights import save_checkpoint
        model = tiny_fcn()
        model.compile("adam", "mse")
        model.optimizer.build(model.trainable_variables)
        for count in range(10**6):
            save_checkpoint(model, Path({str(path)!r}), {described()!r}, {{"count": count}})
            print(count, flush=True)
    """
    random = np.random.default_rng(0)
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )
        assert process.stdout.readline() == b"0\n"
        time.sleep(random.uniform(0.05, 0.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
        load_weights(tiny_fcn(), path)  # raises unless it is whole
        assert read_network(path).classes == CLASSES
