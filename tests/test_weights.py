"""Weights files: found by name, written whole, and what they say of their network."""

import errno
import gc
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
from conftest import assert_same, build_toy, tiny_fcn

from engine.records import Network
from engine.weights import (
    _room,
    epochs_done,
    find_weights,
    load_checkpoint,
    load_weights,
    open_file,
    read_configuration,
    read_network,
    read_options,
    read_pixels,
    read_state,
    save_checkpoint,
    save_weights,
    to_json,
)
from utils.classes import named
from utils.errors import UserError
from utils.files import PROJECT
from utils.history import COLUMNS

CLASSES = named(["background", "thing", "stuff"])
SETTINGS = {"backbone": "resnet8v1", "layers": 1, "filters": 4}
RUN = {"size": [32, 48], "schedule_epochs": 1}


@pytest.mark.parametrize("asked", ["x.h5", "x.weights.h5"])
@pytest.mark.parametrize("there", ["x.h5", "x.weights.h5"])
def test_weights_are_found_by_either_name(tmp_path, asked, there):
    (tmp_path / there).touch()
    assert find_weights(asked, tmp_path) == tmp_path / there
    assert find_weights(str(tmp_path / asked), tmp_path / "other") == tmp_path / there


@pytest.mark.parametrize(
    ("pixels", "folder", "found"),
    [
        (1200, "data/drinks", 1200),
        (None, "data/drinks", 480 * 640),
        (-5, "nowhere", None),
        ("1200", "../..", None),
        (True, None, None),
    ],
)
def test_weights_tell_how_large_the_pictures_were(tmp_path, pixels, folder, found):
    configuration = described() | {"pixels": pixels, "data": {"data_path": folder}}
    save_weights(tiny_fcn(), tmp_path / "a.weights.h5", configuration)
    assert read_pixels(tmp_path / "a.weights.h5") == found


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
        described() | {"run": RUN | {"opponent_width": 65}},
        described() | {"run": RUN | {"opponent_width": "64"}},
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


@pytest.mark.parametrize("settings", [{"backbone": "resnet900002v2"}, {"filters": 10**6}])
def test_a_network_that_would_take_minutes_to_build_is_refused(tmp_path, settings):
    with h5py.File(tmp_path / "a.weights.h5", "w") as file:
        file.attrs["configuration"] = json.dumps(described(settings=settings))
    with pytest.raises(UserError, match="a.weights.h5 has a broken configuration .*at most|1 to"):
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


ROW = dict.fromkeys(COLUMNS, 0.5) | {"run": 1, "epoch": 1}
STATES = [
    {},
    {"run": 1, "rows": 5},
    {"run": 1, "rows": [], "best": 1},
    {"run": 1, "rows": [], "best": [1, "0"]},
    {"run": 1, "rows": [], "best": [None, 0]},
    {"run": 1, "rows": [{}], "best": [1, 0]},
    {"run": 1, "rows": [ROW | {"epoch": 2}], "best": [1, 0]},
    {"run": 1, "rows": [ROW | {"loss": "low"}], "best": [1, 0]},
    {"run": 1, "rows": [ROW | {"loss": 10**400}], "best": [1, 0]},
    {"run": 1, "rows": [ROW | {"further": 1}], "best": [1, 0]},
]


def test_a_state_is_read_as_it_was_written(tmp_path):
    model = tiny_fcn()
    state = {"run": 1, "rows": [ROW | {"loss": float("inf")}], "best": [-float("inf"), -1]}
    save_checkpoint(model, tmp_path / "tiny-last.weights.h5", {}, state)
    assert read_state(tmp_path / "tiny-last.weights.h5") == state


@pytest.mark.long
@pytest.mark.parametrize("state", STATES)
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


@pytest.mark.parametrize("way", ["here", "not on this system", "not on this disk"])
def test_a_full_disk_is_told_before_anything_is_written(tmp_path, monkeypatch, capfd, way):
    """Of it HDF5 would print a traceback for each of its objects."""
    resource = pytest.importorskip("resource")
    if way == "not on this system":
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
    elif way == "not on this disk":

        def posix_fallocate(*_):
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")

        monkeypatch.setattr(os, "posix_fallocate", posix_fallocate, raising=False)
    path, limits = tmp_path / "a.weights.h5", resource.getrlimit(resource.RLIMIT_FSIZE)
    save_weights(tiny_fcn(), path, {})
    before = path.read_bytes()
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(UserError, match=r"a\.weights\.h5 cannot be written \("):
            save_weights(tiny_fcn(), path, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before and os.listdir(tmp_path) == [path.name]
    assert capfd.readouterr() == ("", "")


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


@pytest.mark.long
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
    for _ in range(2):
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


# --- files from strangers -------------------------------------------------------------------------


PLACE = "layers/conv2d/vars/0"  # of an array of the toy network


def linked(file):
    """To a file beside it, which holds what would fit."""
    del file[PLACE]
    file[PLACE] = h5py.ExternalLink("private.weights.h5", PLACE)


def pointing(file):
    file[PLACE + "0"] = h5py.SoftLink("/" + PLACE)


def circular(file):
    file["layers/again"] = file["layers"]


def elsewhere(file):
    shape, dtype = file[PLACE].shape, file[PLACE].dtype
    del file[PLACE]
    file.create_dataset(PLACE, shape, dtype, external=[("private.bin", 0, h5py.h5f.UNLIMITED)])


def virtual(file):
    array = file[PLACE]
    layout = h5py.VirtualLayout(array.shape, array.dtype)
    layout[:] = h5py.VirtualSource("private.weights.h5", PLACE, array.shape, array.dtype)
    del file[PLACE]
    file.create_virtual_dataset(PLACE, layout)


def immense(file):
    del file[PLACE]
    file.create_dataset(PLACE, (10**6, 10**6), "float32", chunks=(1000, 1000))  # 4 TB, of no bytes


def worded(file):
    del file[PLACE]
    file[PLACE] = np.array([b"a", b"b"])


def sequential(file):
    """Of these h5py ends the process when their length is damaged."""
    values = np.empty(1, object)
    values[0] = np.arange(3)
    file["layers"].attrs.create("name", values, dtype=h5py.vlen_dtype("int32"))


def typed(file):
    file["layers/type"] = np.dtype("float32")


TRICKS = {
    linked: "is a link",
    pointing: "is a link",
    circular: "is a link",
    elsewhere: "holds nothing",
    virtual: "holds nothing",
    immense: "declares 4000000000000 bytes",
    worded: "no numbers",
    typed: "holds nothing",
    sequential: "neither text nor numbers",
}


@pytest.fixture
def toy_file(tmp_path):
    save_weights(build_toy((32, 48, 3), 3), tmp_path / "a.weights.h5", {})
    with h5py.File(tmp_path / "a.weights.h5") as file:
        assert PLACE in file
    return tmp_path / "a.weights.h5"


@pytest.mark.parametrize("trick", TRICKS, ids=lambda trick: trick.__name__)
def test_a_file_that_leads_elsewhere_or_lies_is_refused(trick, toy_file, tmp_path):
    (tmp_path / "private.bin").write_bytes(bytes(4096))
    (tmp_path / "private.weights.h5").write_bytes(toy_file.read_bytes())
    with h5py.File(toy_file, "a") as file:
        trick(file)
    for read in (
        open_file,
        read_network,
        lambda path: load_weights(build_toy((32, 48, 3), 3), path),
    ):
        with pytest.raises(UserError, match=f"a.weights.h5 is no sound weights .*{TRICKS[trick]}"):
            read(toy_file)


def replaced(file):
    """Fits nowhere, and is small only when compressed."""
    del file[PLACE]
    file.create_dataset(PLACE, data=np.zeros((1000, 1000)), compression="gzip")


def without_groups(file):
    del file["layers"]


def an_array_for_a_group(file):
    del file["layers/conv2d"]
    file["layers/conv2d"] = np.zeros(3)


def a_group_for_an_array(file):
    del file[PLACE]
    file.create_group(PLACE)


@pytest.mark.parametrize(
    "trick", [replaced, without_groups, an_array_for_a_group, a_group_for_an_array]
)
def test_a_file_of_another_make_does_not_fit(trick, toy_file):
    with h5py.File(toy_file, "a") as file:
        trick(file)
    with pytest.raises(UserError, match="a.weights.h5 does not fit this network"):
        load_weights(build_toy((32, 48, 3), 3), toy_file)


def test_flipped_bytes_are_one_sentence_or_nothing(toy_file):
    """HDF5 has no checksums: a changed number may pass."""
    whole, random = toy_file.read_bytes(), np.random.default_rng(0)
    model, refused = build_toy((32, 48, 3), 3), 0
    for _ in range(60):
        damaged = bytearray(whole)
        for place in random.integers(0, len(whole) // 4, 4):
            damaged[place] = random.integers(256)
        toy_file.write_bytes(damaged)
        try:
            load_weights(model, toy_file)
        except UserError as error:
            refused += 1
            assert "\n" not in str(error)
    assert 0 < refused < 60


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "1" * 5000, np.arange(3)])
def test_a_configuration_that_is_no_json(toy_file, text):
    with h5py.File(toy_file, "a") as file:
        file.attrs["configuration"] = text
    with pytest.raises(UserError, match="a.weights.h5 has a broken configuration"):
        read_network(toy_file)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers_are_refused(tmp_path, value):
    model = build_toy((32, 48, 3), 3)
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    model.layers[2].kernel.assign(model.layers[2].kernel.numpy() + [0, 0, 0, value])
    save_checkpoint(model, tmp_path / "a.weights.h5", {}, {"run": 1, "rows": [], "best": [0, 0]})
    for load in (load_weights, load_checkpoint):
        with pytest.raises(UserError, match="a.weights.h5 holds .*not a number, in .*stem_conv"):
            load(model, tmp_path / "a.weights.h5")


@pytest.mark.parametrize("share", [0.1, 0.6, 0.99])
def test_a_full_disk_is_one_sentence(tmp_path, capfd, share):
    """As a limit of the size of files is; HDF5 once left a traceback for each of its objects."""
    resource = pytest.importorskip("resource")
    model, path = tiny_fcn(), tmp_path / "a.weights.h5"
    save_weights(model, path, described())
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(share * len(before)), limits[1]))
    try:
        with pytest.raises(UserError, match=r"a\.weights\.h5 cannot be written \(File too large\)"):
            save_weights(model, path, described())
        gc.collect()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert capfd.readouterr().err == ""
    assert path.read_bytes() == before and os.listdir(tmp_path) == [path.name]


def test_the_room_asked_for_is_enough_and_not_much_more(tmp_path):
    model = tiny_fcn(backbone="resnet20v1", filters=64)
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    save_checkpoint(model, tmp_path / "a.weights.h5", described(), {})
    taken = (tmp_path / "a.weights.h5").stat().st_size
    assert taken < _room(model, {"configuration": to_json(described())}) < 1.5 * taken


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_optimizer_that_is_no_number_is_not_gone_on_with(tmp_path, value):
    """The weights would be no numbers after the first step."""
    model = build_toy((32, 32, 3), 3)
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    slot = model.optimizer.variables[-1]
    slot.assign(np.full(slot.shape, value))
    save_checkpoint(model, tmp_path / "a.weights.h5", {}, {"run": 1, "rows": [], "best": [0.5, 0]})
    with pytest.raises(UserError, match="optimizer whose numbers are infinite or not a number"):
        load_checkpoint(model, tmp_path / "a.weights.h5")


def test_a_network_deeper_than_its_file_is_not_built(tmp_path):
    classes = named(["background", "thing"])
    deep = Network("fcn", (32, 32, 3), classes, {"backbone": "resnet1199v2"})
    data = {"network": deep.content(), "data": {}, "run": {"size": [32, 32], "schedule_epochs": 1}}
    save_weights(build_toy((32, 32, 3), 2), tmp_path / "a.weights.h5", data)
    with pytest.raises(UserError, match="fewer arrays than 'resnet1199v2'"):
        read_network(tmp_path / "a.weights.h5")
