"""One training on several devices and in several processes: the numbers of one, and its end.

On JAX, so each run is a program of its own. Several processes meet at 127.0.0.1 alone.
"""

import csv
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import SCRIPT, make_store

from data_generator import DataGenerator
from engine import distribution, processes
from engine.arguments import parse_arguments
from utils.errors import UserError
from utils.label_maps.store import write_labels

LIMIT = 240  # seconds for a run; it takes a tenth
ON_JAX = {"KERAS_BACKEND": "jax", "XLA_FLAGS": "--xla_backend_optimization_level=0"}


def make_data(parent: Path) -> Path:
    """Twelve pictures with labels, of which two choose the best weights."""
    folder = parent / "toys"
    folder.mkdir()
    store = make_store(folder, [(40, 60)] * 12)
    for part in ("train", "test"):
        entries = [(key, store[key]) for key in store.keys]
        write_labels(folder / f"segmentation_{part}.npy", folder, store.classes, entries)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def expected(data):
    """The numbers of one process."""
    assert finish(start(data, "one"))[::2] == (0, "")
    found = numbers(data, "one")
    assert len(found) == 3
    return found


def start(data: Path, out: str, *more) -> subprocess.Popen:
    """A small training of 3 epochs, of a network with batch normalisation: over all devices."""
    options = (
        "--train --model segnet-basic --narrow 8 --preset quick --no-grow --height 32 --width 32"
    )
    options += " --epochs 3 --pictures-per-epoch 8 --batch-size 4 --optimizer sgd --seed 3"
    options += " --precision float32 --validation-split 0.2 --data-path"
    command = [sys.executable, SCRIPT, *options.split(), data, "--save-dir", data.parent / out]
    variables = {**os.environ, **ON_JAX}
    for name in ("PYTEST_XDIST_WORKER", "JOB_COMPLETION_INDEX"):
        variables.pop(name, None)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*map(str, command), *map(str, more)], env=variables, **pipes)


def start_both(data: Path, out: str, *more) -> list[subprocess.Popen]:
    """The same in two processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    group = ["--distribute", "multihost", "--coordinator", f"127.0.0.1:{port}", "--processes", 2]
    return [start(data, out, *group, "--process-id", index, *more) for index in range(2)]


def finish(run: subprocess.Popen) -> tuple[int, str, str]:
    """Status, output and errors, without what TensorFlow's libraries say of themselves."""
    try:
        out, errors = run.communicate(timeout=LIMIT)
    finally:
        run.kill()
    lines = [line for line in errors.splitlines() if line.startswith(("error", "Traceback"))]
    return run.returncode, out, "\n".join(lines)


def numbers(data: Path, out: str) -> np.ndarray:
    """What the history says, but for the seconds."""
    (path,) = (data.parent / out).glob("*-history.csv")
    with open(path, newline="") as file:
        rows = [[float(v) for n, v in r.items() if n != "seconds"] for r in csv.DictReader(file)]
    return np.array(rows)


@pytest.mark.long
def test_devices_and_processes_have_the_numbers_of_one(data, expected):
    assert finish(start(data, "devices", "--distribute", 2))[::2] == (0, "")
    np.testing.assert_allclose(numbers(data, "devices"), expected, rtol=1e-5)
    first, second = [finish(run) for run in start_both(data, "processes")]
    assert first[::2] == second[::2] == (0, "")
    assert "epoch 3/3" in first[1] and second[1] == ""
    np.testing.assert_allclose(numbers(data, "processes"), expected, rtol=1e-5)
    names = {path.name for path in (data.parent / "one").iterdir()}
    assert {path.name for path in (data.parent / "processes").iterdir()} == names


@pytest.mark.long
def test_a_process_that_is_killed_ends_the_others_and_it_goes_on(data, expected):
    """Of two processes the one that writes, and on with one, whose numbers are those of two."""
    lost, out = 0, "cut"
    runs = start_both(data, out)
    last, end = data.parent / out / "segnet-basic-toys-last.weights.h5", time.monotonic() + LIMIT
    while not last.exists() and time.monotonic() < end:
        time.sleep(0.01)
    runs[lost].send_signal(signal.SIGKILL)
    status, _, errors = finish(runs[1 - lost])
    finish(runs[lost])
    if status:  # it may have been done already
        assert (status, errors) == (2, f"error: {processes.LOST}")
        status, _, errors = finish(start(data, out, "--resume"))
        assert status == 0 or "has all of its 3 epochs" in errors  # it may have had all but the end
    np.testing.assert_allclose(numbers(data, out), expected, rtol=1e-5)


@pytest.mark.long
def test_processes_that_were_given_other_options_are_told_apart(data):
    """They would train on something else, or wait for each other for ever."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    group = ["--distribute", "multihost", "--coordinator", f"127.0.0.1:{port}", "--processes", 2]
    first = start(data, "apart", *group, "--process-id", 0)
    second = start(data, "apart", *group, "--process-id", 1, "--seed", 4, "--augment", "strong")
    said = "error: the processes of this training were given another augment and seed each; give"
    for status, _, errors in map(finish, (first, second)):
        assert status == 2 and errors.startswith(said)


@pytest.mark.long
def test_what_is_wrong_for_one_ends_all(tmp_path):
    """A picture that is damaged stops the process that reads it, and that stops the others."""
    data = make_data(tmp_path)
    for path in sorted(data.glob("*.png"))[:6]:
        path.write_bytes(path.read_bytes()[:60])
    results = [finish(run) for run in start_both(data, "bad")]
    assert [status for status, _, _ in results] == [2, 2]
    assert any("png" in errors for _, _, errors in results)
    assert all(errors.startswith("error: ") for _, _, errors in results)
    assert not any("Traceback" in errors for _, _, errors in results)


def test_each_process_reads_its_part_of_every_batch(store):
    keys, common = store.keys * 3, {"size": (32, 48), "batch_size": 4, "shuffle": True, "seed": 5}
    common |= {"augment": "mild", "pictures_per_epoch": 8}
    whole = DataGenerator(store, keys=keys, **common)
    parts = [DataGenerator(store, keys=keys, share=(index, 2), **common) for index in range(2)]
    for epoch in range(2):
        for index in range(len(whole)):
            expected = whole.batch(epoch, index)
            found = [part.batch(epoch, index) for part in parts]
            assert [len(pictures) for pictures, _ in found] == [2, 2]
            for one, other in zip(expected, zip(*found, strict=True), strict=True):
                np.testing.assert_array_equal(one, np.concatenate(other))


def test_pictures_to_score_are_shared_out(monkeypatch):
    """None twice, none left out, and in their own order when they are together again."""
    keys, shares = list("abcdefg"), []
    for index in range(3):
        monkeypatch.setattr(distribution, "place", lambda index=index: (index, 3))
        shares.append(distribution.own_share(keys))
    assert sorted(sum(shares, [])) == keys
    matrices = {key: np.full((2, 2), number) for number, key in enumerate(keys)}
    utils = pytest.importorskip("jax.experimental.multihost_utils")

    def gather(mine):
        others = [np.stack([matrices[key] for key in share]) for share in shares]
        filled = [np.pad(each, ((0, len(mine) - len(each)), (0, 0), (0, 0))) for each in others]
        return np.stack(filled)

    monkeypatch.setattr(utils, "process_allgather", gather)
    mine = np.stack([matrices[key] for key in shares[2]])
    together = distribution.gathered(mine, len(keys))
    np.testing.assert_array_equal(together, np.stack([matrices[key] for key in keys]))
    assert together.dtype == np.int64


def test_what_cannot_be_distributed_says_so(monkeypatch):
    monkeypatch.setattr(distribution.keras.backend, "backend", lambda: "tensorflow")
    with pytest.raises(UserError, match="--distribute 2 needs JAX; .*KERAS_BACKEND=jax"):
        distribution.spread(2, 4)
    monkeypatch.setattr(distribution.keras.backend, "backend", lambda: "jax")
    monkeypatch.setattr(distribution.keras.distribution, "list_devices", lambda: ["a", "b", "c"])
    with pytest.raises(UserError, match="--distribute 4, and there are 3 devices"):
        distribution.spread(4, 4)
    with pytest.raises(UserError, match="-size 4 cannot be divided among 3 .*-size 6, or.* 2"):
        distribution.spread("auto", 4)
    with pytest.raises(UserError, match="--batch-size 3 cannot be divided among 2 .*-size 4"):
        distribution.spread(2, 3)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("--evaluate --restore-weights a --distribute 2", "--distribute goes with --train"),
        ("--segment a --distribute 2", "--distribute goes with --train"),
        ("--segment a --distribute multihost --coordinator b:1", "need not meet"),
        ("--summary --distribute multihost", "multihost goes with --train and --segment"),
        ("--train --processes 2", "--processes goes with --distribute multihost"),
        ("--train --distribute 2 --process-id 0", "--process-id goes with --distribute multihost"),
        ("--train --evaluate --distribute multihost", "--evaluate is for one process"),
        ("--train --distribute all", "'all' is neither auto, multihost, none nor a number"),
    ],
)
def test_options_that_do_not_go_together(options, sentence, capsys):
    with pytest.raises(SystemExit):
        parse_arguments(options.split())
    assert sentence in capsys.readouterr().err


def test_who_finds_nobody_is_told(monkeypatch):
    jax = pytest.importorskip("jax")
    monkeypatch.setattr(jax.config, "update", lambda *_: None)
    for name in ("JOB_COMPLETION_INDEX", "SLURM_JOB_ID", "JAX_COORDINATOR_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    given = {}

    def initialize(*places, **more):
        given.update(more, places=places)
        raise ValueError("coordinator_address should be defined.\nAnd more.")

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    with pytest.raises(UserError, match=r"find the others \(coordinator_address .* --process-id"):
        processes.join(None, None, None)
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "3")
    with pytest.raises(UserError):
        processes.join("127.0.0.1:99", 4, None)
    assert given["places"] == ("127.0.0.1:99", 4, 3)
    assert given["coordinator_bind_address"] == "127.0.0.1:99"  # not on every address


def test_pictures_to_segment_are_divided(tmp_path, monkeypatch):
    """Each is in one part, and stays there when others come."""
    from tools.sources import find_sources

    make_store(tmp_path, [(8, 8)] * 40)
    out = tmp_path / "out"
    whole = {source.name for source in find_sources([tmp_path], out)}

    def parts():
        found = [find_sources([tmp_path], out, (index, 3)) for index in range(3)]
        return [{source.name for source in sources} for sources in found]

    before = parts()
    assert len(whole) == 40 == sum(map(len, before)) and set.union(*before) == whole
    assert min(map(len, before)) > 5
    (tmp_path / "new.png").write_bytes(next(tmp_path.glob("*.png")).read_bytes())
    assert all(new - {"new.png"} == old for new, old in zip(parts(), before, strict=True))

    assert processes.part_of(4, 3) == (3, 4)
    for name in ("SLURM_NTASKS", "SLURM_PROCID", "JOB_COMPLETION_INDEX"):
        monkeypatch.delenv(name, raising=False)
    for asked in ((None, None), (4, None), (None, 0), (4, 4)):
        with pytest.raises(UserError, match="give --processes N and --process-id"):
            processes.part_of(*asked)
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "2")
    assert processes.part_of(4, None) == (2, 4)
    monkeypatch.setenv("SLURM_PROCID", "1")
    monkeypatch.setenv("SLURM_NTASKS", "2")
    assert processes.part_of(None, None) == (1, 2)


def test_processes_with_unequal_numbers_of_devices_are_refused(monkeypatch):
    jax = pytest.importorskip("jax")
    devices = [SimpleNamespace(process_index=index) for index in (0, 0, 1)]
    monkeypatch.setattr(jax, "devices", lambda: devices)
    monkeypatch.setattr(distribution.keras.backend, "backend", lambda: "jax")
    monkeypatch.setattr(distribution.keras.distribution, "list_devices", lambda: devices)
    with pytest.raises(UserError, match="process 0 has 2, process 1 has 1.*CUDA_VISIBLE"):
        distribution.spread("multihost", 6)


def test_a_port_of_another_training_is_refused():
    """gRPC shares it silently: two trainings would be mixed."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port} is in use"):
            processes._check_free("127.0.0.1", port)
        with pytest.raises(UserError, match=f"port {port} is in use"):
            processes._check_free("", port)
    processes._check_free("127.0.0.1", port)


def test_what_a_coordinator_is():
    assert processes._host_and_port("node1:5611") == ("node1", 5611)
    assert processes._host_and_port("[::1]:80") == ("::1", 80)
    for text in ("node1", "node1:", ":80", "node1:x", "node1:70000", "node1:0"):
        with pytest.raises(UserError, match="is no HOST:PORT"):
            processes._host_and_port(text)
    loopbacks = [processes._is_loopback(h) for h in ("localhost", "127.0.0.2", "::1")]
    assert all(loopbacks) and not any(map(processes._is_loopback, ("node1", "10.0.0.1", "::")))


def test_a_number_of_the_environment(monkeypatch):
    monkeypatch.setenv("SLURM_NTASKS", "x")
    with pytest.raises(UserError, match="SLURM_NTASKS is 'x', not a number"):
        processes.part_of(None, 0)


def test_why_a_process_ended():
    """What is lost is told apart from what failed here, with its words."""
    for text in ("", "UNAVAILABLE: Connection reset by peer", "[Gloo] closed", "heartbeat timeout"):
        assert processes._why(text) == processes.LOST
    assert "(RESOURCE_EXHAUSTED: Out of memory)" in processes._why(
        "RESOURCE_EXHAUSTED: Out of memory"
    )


def test_what_jax_raises_is_told_from_a_fault_of_ours():
    """By its shortest way it raises a ValueError when the other process is gone."""

    def fail(error):
        raise error

    with pytest.raises(UserError, match="another process of this training has ended"):
        processes._told(lambda: fail(ValueError("UNKNOWN: Gloo AllGather failed: closed by peer")))
    for error in (ValueError("closed by peer"), KeyError("peer")):
        with pytest.raises(type(error)):
            processes._told(lambda error=error: fail(error))


@pytest.mark.long
def test_fewer_devices_than_there_are(tmp_path):
    """Scores are counted on those that have the weights."""
    code = f"""
import sys
sys.path[:0] = [{str(SCRIPT.parent)!r}, {str(SCRIPT.parent / "chapter12-segmentation")!r}]
import jax, numpy as np
jax.config.update("jax_num_cpu_devices", 4)
from engine.distribution import spread
from keras import Input, Model, layers
from fast.jax_ops import compiled

def answer():
    inputs = Input((8, 8, 3))
    outputs = layers.Conv2D(2, 1, kernel_initializer="ones")(inputs)
    return np.asarray(compiled(Model(inputs, outputs))(np.arange(3 * 192).reshape(3, 8, 8, 3)))

expected = answer()
assert spread(2, 4) == 2
np.testing.assert_array_equal(answer(), expected)
"""
    variables = {**os.environ, **ON_JAX}
    done = subprocess.run(
        [sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
