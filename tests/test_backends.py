"""Which backend runs, and what is said when it misses the machine's NVIDIA GPU."""

import argparse
import json
import os
import subprocess
import sys

import pytest
from conftest import PROJECT

from engine import backends, settings
from engine.backends import CUDA, advise, choose_backend, find_packages, has_nvidia, named_backend
from engine.startup import import_keras

ALL = {"tensorflow", "jax", "torch", CUDA}


@pytest.mark.parametrize(
    ("named", "packages", "nvidia", "backend"),
    [
        (None, {"tensorflow"}, False, "tensorflow"),
        (None, {"tensorflow", "jax", "torch"}, True, "tensorflow"),  # JAX is for the CPU alone
        (None, {"jax"}, False, "jax"),
        (None, {"torch"}, True, "torch"),
        (None, {"jax", "torch"}, False, "jax"),
        (None, ALL, True, "jax"),
        (None, ALL, False, "tensorflow"),
        (None, {"tensorflow", CUDA}, True, "tensorflow"),  # JAX itself was removed
        ("tensorflow", ALL, True, "tensorflow"),
        ("torch", {"tensorflow"}, False, "torch"),  # an error will name it
        (None, set(), True, "tensorflow"),
    ],
)
def test_the_backend_is_the_named_one_or_what_is_there(named, packages, nvidia, backend):
    assert choose_backend(named, packages, nvidia) == backend


def test_what_is_named(tmp_path, monkeypatch):
    """The variable goes before the configuration; what Keras writes by itself is nobody's word."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    assert named_backend() is None
    configuration = tmp_path / "keras.json"
    for content, named in (
        (json.dumps({"backend": "torch"}), "torch"),
        (json.dumps({"backend": "tensorflow"}), None),
        ("{}", None),
        ("damaged", None),
    ):
        configuration.write_text(content)
        assert named_backend() == named
    configuration.write_text(json.dumps({"backend": "torch"}))
    monkeypatch.setenv("KERAS_BACKEND", "")
    assert named_backend() == "torch"
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    assert named_backend() == "tensorflow"


@pytest.mark.parametrize("version", [12, 13])
def test_packages(tmp_path, monkeypatch, version):
    """Looked for where Python looks, and not imported: these would fail."""
    for name in ("jax", f"jax_cuda{version}_plugin"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    for name in (*backends.NAMES, f"jax_cuda{version}_plugin"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert find_packages() == {"jax", CUDA}


# Whether there is a GPU.


def program(folder, text):
    """A driver's program that says `text`."""
    path = folder / "nvidia-smi"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("device", "says", "there"),
    [
        (None, None, False),
        ("nvidia0", None, True),
        ("nvidia1", "exit 9", True),  # the second alone was given to this container
        ("nvidiactl", None, False),  # the driver's, without a GPU
        (None, "echo GPU 0: NVIDIA GeForce RTX 4090", True),
        (None, "echo 'No devices were found'", False),
        (None, "echo 'couldn'\\''t communicate with the NVIDIA driver'; exit 9", False),
    ],
)
def test_the_gpu_is_found(tmp_path, monkeypatch, device, says, there):
    monkeypatch.setenv("PATH", str(tmp_path))
    if device:
        (tmp_path / device).touch()
    if says:
        program(tmp_path, says)
    assert has_nvidia(tmp_path) is there


def test_a_driver_that_hangs_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    program(tmp_path, "exec sleep 60")
    limits = []
    run = subprocess.run

    def patient(*arguments, timeout, **options):
        limits.append(timeout)
        return run(*arguments, timeout=0.1, **options)

    monkeypatch.setattr(subprocess, "run", patient)
    assert not has_nvidia(tmp_path / "dev")
    assert limits == [2]


def test_a_program_that_does_not_run_is_no_gpu(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    program(tmp_path, "")
    (tmp_path / "nvidia-smi").write_bytes(b"\x7fELF")
    assert not has_nvidia(tmp_path / "dev")


# What is said.

INSTALL = "-m pip install -r requirements/gpu.txt"


@pytest.mark.parametrize("packages", [{"tensorflow"}, {"jax", CUDA}, ALL])
@pytest.mark.parametrize("backend", backends.NAMES)
def test_nothing_is_said_where_nothing_is_missed(backend, packages):
    for seen, nvidia in ((True, True), (True, False), (False, False)):
        assert advise(backend, seen, nvidia, packages) is None


@pytest.mark.parametrize(
    ("backend", "packages", "named", "end"),
    [
        ("tensorflow", {"tensorflow"}, None, f"{INSTALL}."),
        ("tensorflow", {"tensorflow", "jax"}, None, f"{INSTALL}."),
        ("jax", {"jax"}, "jax", f"{INSTALL}."),
        ("torch", {"torch"}, "torch", f"{INSTALL}, and set KERAS_BACKEND=jax."),
        ("tensorflow", {"tensorflow"}, "tensorflow", f"{INSTALL}, and set KERAS_BACKEND=jax."),
        ("jax", {"jax", CUDA}, "jax", "-c 'import jax; jax.devices()' says why."),
        ("tensorflow", ALL, "tensorflow", "for which JAX is installed; set KERAS_BACKEND=jax."),
        ("torch", ALL, "torch", "for which JAX is installed; set KERAS_BACKEND=jax."),
    ],
)
def test_a_gpu_that_is_missed(monkeypatch, backend, packages, named, end):
    monkeypatch.chdir(PROJECT)
    sentence = advise(backend, False, True, packages, named, "Linux")
    assert sentence.startswith(f"{backends.NAMES[backend]} does not see this machine's NVIDIA GPU")
    assert sentence.endswith(end)
    assert (PROJECT / "requirements" / "gpu.txt").is_file()


def test_on_windows_the_way_is_wsl():
    assert "WSL" in advise("tensorflow", False, True, {"tensorflow"}, None, "Windows")


def test_the_command_can_be_typed_where_the_program_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "my venv" / "python"))
    sentence = advise("tensorflow", False, True, {"tensorflow"}, None, "Linux")
    assert f"type 'my venv/python' -m pip install -r {PROJECT}/requirements/gpu.txt." in sentence


@pytest.mark.parametrize("gpu", [None, "Some GPU"])
def test_training_says_it_first_and_once(tmp_path, monkeypatch, capsys, toy, gpu):
    from engine.arguments import parse_arguments

    monkeypatch.setattr(sys, "argv", ["fcn", "--train", "--save-dir", str(tmp_path)])
    monkeypatch.setattr(settings, "gpu_name", lambda: gpu)
    monkeypatch.setattr(settings, "has_nvidia", lambda: True)
    settings.settle(parse_arguments())
    lines = capsys.readouterr().out.splitlines()
    told = ["does not see" in line for line in lines]
    assert told == ([False] if gpu else [True, False])
    assert lines[-1].startswith("preset ") and lines[-1].split()[-1] in backends.NAMES.values()


def test_who_uses_a_network_is_told_too(tmp_path, monkeypatch, capsys):
    from engine.arguments import parse_arguments

    monkeypatch.setattr(settings, "gpu_name", lambda: None)
    monkeypatch.setattr(settings, "has_nvidia", lambda: True)
    settings.settle(parse_arguments(["--segment", str(tmp_path)]))
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 1 and "does not see this machine's NVIDIA GPU" in told[0]
    settings.settle(parse_arguments(["--segment", str(tmp_path), "--verbose", "0"]))
    assert not capsys.readouterr().out


def test_plain_is_told_before_the_precision_is_chosen(tmp_path, monkeypatch):
    """The fast path alone computes in bfloat16 faster on JAX with a CPU."""
    import fast
    from engine.arguments import parse_arguments

    monkeypatch.setattr(settings, "gpu_name", lambda: None)
    monkeypatch.setattr(settings, "fast_precision", lambda: ["float32", "bfloat16"][fast.is_on()])
    for options, precision in ((["--plain"], "float32"), ([], "bfloat16")):
        *_, run = settings.settle(parse_arguments(["--segment", str(tmp_path), *options]))
        assert run.precision == precision


def test_without_tensorflow_the_program_takes_jax(tmp_path):
    """In a process of its own whose modules are as if TensorFlow had been left out."""
    code = """
import sys, types
from importlib import util
find = util.find_spec
util.find_spec = lambda name, *more: None if name == "tensorflow" else find(name, *more)
keras = types.ModuleType("keras")
keras.ops = types.SimpleNamespace(zeros=lambda shape: None)
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "keras":
            return util.spec_from_loader(name, self)
    def create_module(self, spec):
        return keras
    def exec_module(self, module):
        pass
sys.meta_path.insert(0, Finder())
from engine.startup import import_keras
import_keras()
import os
print(os.environ.get("KERAS_BACKEND"))
"""
    for name in ("jax", "tensorflow"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    paths = [str(PROJECT), str(PROJECT / "chapter12-segmentation"), str(tmp_path)]
    environment = {k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"}
    environment |= {"PYTHONPATH": os.pathsep.join(paths), "KERAS_HOME": str(tmp_path)}
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert (result.stdout.strip(), result.stderr) == ("jax", "")


@pytest.mark.parametrize(
    ("variable", "plain", "threads", "machine", "expected"),
    [
        (None, False, "2", "x86_64", "1"),
        (None, False, "2", "AMD64", "1"),  # Windows
        ("0", False, "2", "x86_64", "0"),
        (None, True, "2", "x86_64", None),
        ("1", True, "2", "x86_64", "1"),
        (None, False, "1", "x86_64", None),
        (None, False, "2", "aarch64", None),
    ],
)
def test_tensorflow_is_asked_for_onednn(variable, plain, threads, machine, expected, monkeypatch):
    """Unless who runs it has said otherwise, or --plain, or it has one thread, or is no x86."""
    monkeypatch.setattr(backends.platform, "machine", lambda: machine)
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", threads)
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    if variable:
        monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", variable)
    import_keras(argparse.Namespace(plain=plain, distribute=None))
    assert os.environ.pop("TF_ENABLE_ONEDNN_OPTS", None) == expected


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="Linux tells it")
def test_a_single_core_is_a_single_thread(monkeypatch):
    monkeypatch.setattr(backends.platform, "machine", lambda: "x86_64")
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    for told in ("", "0"):  # of which TensorFlow takes one for a core
        monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", told)
        for cores, expected in (({3}, None), ({0, 3}, "1")):
            monkeypatch.setattr(os, "sched_getaffinity", lambda _, cores=cores: cores)
            backends.ask_for_onednn()
            assert os.environ.pop("TF_ENABLE_ONEDNN_OPTS", None) == expected


def test_a_backend_that_is_running_stays(monkeypatch):
    """Keras has been imported here: to set the variable would only mislead other processes."""
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setattr("engine.startup.choose_backend", lambda *_: "torch")
    import_keras()
    assert "KERAS_BACKEND" not in os.environ
