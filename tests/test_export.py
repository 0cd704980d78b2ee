"""Export: what is written answers as Keras does, for pictures of any size, in every runtime."""

import importlib.util
import json
import os
import shutil
import sys
from functools import partial

import keras
import numpy as np
import pytest
from conftest import make_store, random_batch, save_small, tiny_fcn

if keras.backend.backend() != "tensorflow":
    pytest.skip("the converters begin with TensorFlow", allow_module_level=True)

import evaluation
from engine.weights import read_network
from fast.folding import fold
from tools import export
from tools.export import FORMATS
from utils.errors import UserError
from utils.files import PROJECT, refuse_replacing
from utils.label_maps.store import write_labels
from utils.pictures import resize_picture

SIZE = (32, 48)
CONVERTED = [name for name in FORMATS if name != "saved_model"]


def needs(name: str) -> None:
    for package in FORMATS[name].needs:
        pytest.importorskip(package)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Weights of a small network, and `evaluation.answer` with it."""
    path = tmp_path_factory.mktemp("weights") / "net.weights.h5"
    return path, partial(evaluation.answer, fold(save_small(path, SIZE)))


@pytest.fixture
def weights(trained, tmp_path):
    """The weights, beside a folder of pictures with labels for test and training."""
    data = tmp_path / "data"
    data.mkdir()
    store = make_store(data, [(40, 60)] * 3)
    for part in ("train", "test"):
        entries = [(key, store[key]) for key in store.keys]
        write_labels(data / f"segmentation_{part}.npy", data, store.classes, entries)
    return shutil.copy(trained[0], tmp_path / "net.weights.h5")


@pytest.fixture
def here(monkeypatch):
    """Converters run in this process, which has imported TensorFlow already."""
    monkeypatch.setattr(export, "apart", lambda function, *arguments: function(*arguments))


def command(monkeypatch, weights, *options):
    data = ["--data-path", str(weights.parent / "data")]
    options = [str(weights), *data, *map(str, options)]
    monkeypatch.setattr(sys, "argv", ["export.py", *options])
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    export.main()


@pytest.mark.parametrize("size", [SIZE, (31, 50), (150, 170), (7, 200)])
def test_pictures_are_resized_as_pillow_does_it(size):
    picture = random_batch(size, 1)[0]
    found = np.array(export.resize_as_pillow(picture, SIZE))
    expected = resize_picture(picture[0], SIZE)[None].astype(int)
    if size == SIZE:
        np.testing.assert_array_equal(found, picture)
    assert abs(found - expected).max() <= 1 and (found != expected).mean() < 0.02


@pytest.mark.parametrize("size", [(20, 18), (300, 90)])
def test_columns_first(size):
    """Of tall pictures Pillow begins with the columns, and other values end on halves."""
    picture = random_batch(size, 1)[0]
    found = np.array(export.resize_as_pillow(picture, SIZE))
    assert abs(found - resize_picture(picture[0], SIZE)).max() <= 1


@pytest.mark.long
def test_a_saved_model(weights, tmp_path, monkeypatch, capsys):
    out = tmp_path / "made" / "net"
    command(monkeypatch, weights, "--format", "saved_model", "--out", out)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "100.000% of the pixels of 3 pictures of the data as by Keras"
    assert "s a picture, Keras" in lines[1]
    assert [line.split(": ")[0] for line in lines[2:]] == [str(out), f"{out}.json"]
    assert sorted(path.name for path in out.parent.iterdir()) == ["net", "net.json"]
    about = json.loads((tmp_path / "made" / "net.json").read_text())
    assert about["classes"][1] == {"id": 1, "name": "bottle", "colour": [128, 0, 0]}
    assert (about["height"], about["width"], about["channels"]) == (*SIZE, 3)
    assert (about["answer"], about["quantised"]) == ("classes", False)
    # Each weight once: Keras' own export saves them twice.
    held = (out / "variables" / "variables.data-00000-of-00001").stat().st_size
    model = read_network(weights).build()
    assert held < 4 * model.count_params() * 1.2
    with pytest.raises(UserError, match="is a folder that is there already"):
        command(monkeypatch, weights, "--format", "saved_model", "--out", out)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_answers_as_keras(name, trained, weights, tmp_path, monkeypatch, here):
    needs(name)
    out = tmp_path / f"net{FORMATS[name].ends[0]}"
    command(monkeypatch, weights, "--format", name, "--out", out)
    run, number = FORMATS[name].load(out), FORMATS[name].number or 2
    for size in ((50, 41), (90, 131)):
        pictures = random_batch(size, number)[0]
        found, expected = run(pictures), evaluation.segment_batch(trained[1], pictures)
        assert found.shape == expected.shape and found.dtype == np.uint8
        assert (found == expected).mean() > 0.999
        assert len(np.unique(found)) > 1  # else it would be no test


@pytest.mark.parametrize("name", FORMATS)
def test_probabilities(name, trained, weights, tmp_path, monkeypatch, here):
    needs(name)
    out = tmp_path / f"net{FORMATS[name].ends[0]}"
    command(monkeypatch, weights, "--format", name, "--out", out, "--answer", "probabilities")
    picture = random_batch(SIZE, 1)[0]
    found = FORMATS[name].load(out)(picture)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, trained[1](picture), atol=1e-3)


@pytest.mark.filterwarnings("ignore")  # of libraries; a run has them in a process of its own
@pytest.mark.parametrize("name", CONVERTED)
def test_8_bits(name, trained, weights, tmp_path, monkeypatch, capsys, here):
    needs(name)
    out = tmp_path / f"net{FORMATS[name].ends[0]}"
    options = ["--answer", "probabilities", "--quantise"]
    command(monkeypatch, weights, "--format", name, "--out", out, *options)
    said = capsys.readouterr().out
    assert "(3 pictures of segmentation_test.npy)" in said and " in 8 bits: " in said
    assert json.loads((tmp_path / f"{out.name}.json").read_text())["quantised"] is True
    picture = random_batch(SIZE, 1)[0]
    off = abs(FORMATS[name].load(out)(picture) - np.array(trained[1](picture)))
    assert off.max() > 1e-3 and off.mean() < 0.1  # what is not quantised is off by less


def test_an_onnx_file_describes_itself(weights, tmp_path, monkeypatch, capfd):
    needs("onnx")
    import onnx

    out = tmp_path / "net.onnx"
    command(monkeypatch, weights, "--format", "onnx", "--out", out)
    said, errors = capfd.readouterr()
    assert len(said.splitlines()) == 4 and not errors  # the converter's pages are nowhere
    model = onnx.load(out)
    held = {each.key: json.loads(each.value) for each in model.metadata_props}
    assert held == json.loads((tmp_path / "net.onnx.json").read_text())
    assert {node.domain for node in model.graph.node} == {""}  # operations of ONNX alone
    assert [each.name for each in model.graph.input] == ["pictures"]
    assert [each.name for each in model.graph.output] == ["classes"]


def test_how_pictures_were_read_is_told(weights, monkeypatch):
    """A program that turns them, as browsers do, would show the network others."""
    network = read_network(weights)
    for reading, told in (({}, {}), ({"turn": "exif"}, {}), ({"turn": "raw"}, {"turn": "raw"})):
        monkeypatch.setattr(
            "engine.weights.read_configuration", lambda _, r=reading: {"reading": r}
        )
        about = export.describe(network, weights, "classes", False)
        assert {name: about[name] for name in ("turn", "scale") if name in about} == told


def test_what_answers_otherwise_is_not_written(weights, tmp_path, monkeypatch):
    wrong = export.Format(lambda path: lambda pictures: np.zeros(pictures.shape[:3], np.uint8))
    monkeypatch.setitem(FORMATS, "saved_model", wrong)
    with pytest.raises(SystemExit, match="is not written.*another class than by Keras"):
        command(monkeypatch, weights, "--format", "saved_model", "--out", tmp_path / "net")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "net.weights.h5"]


def test_without_pictures_it_is_noise(weights, tmp_path, monkeypatch, capsys):
    for path in (tmp_path / "data").iterdir():
        path.unlink()
    command(monkeypatch, weights, "--format", "saved_model", "--out", tmp_path / "net")
    assert "of the pixels of 2 pictures of noise as by Keras" in capsys.readouterr().out
    needs("onnx")
    with pytest.raises(UserError, match="--quantise needs pictures"):
        out = tmp_path / "net.onnx"
        command(monkeypatch, weights, "--format", "onnx", "--out", out, "--quantise")


def test_it_is_named_after_the_weights(weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command(monkeypatch, weights, "--format", "saved_model")
    assert (tmp_path / "net-saved_model").is_dir() and (tmp_path / "net-saved_model.json").is_file()


def test_no_8_bits_in_a_saved_model(weights, monkeypatch):
    with pytest.raises(UserError, match="saved_model has no --quantise.*: onnx, openvino, litert."):
        command(monkeypatch, weights, "--format", "saved_model", "--quantise")


@pytest.mark.parametrize("name", CONVERTED)
def test_a_missing_package_is_named_with_its_file(name, monkeypatch):
    text = (PROJECT / "requirements" / f"{name}.txt").read_text()
    for gone in FORMATS[name].needs:
        there = {package: package != gone or None for package in FORMATS[name].needs}
        monkeypatch.setattr(importlib.util, "find_spec", there.get)
        with pytest.raises(UserError, match=f"package {gone}; .*-r requirements/{name}.txt"):
            export.check_packages(name)
        assert f"\n{gone.replace('_', '-')}==" in text


def test_nothing_is_lost(weights, tmp_path):
    with pytest.raises(UserError, match="net.h5 does not end in .onnx"):
        export.files_of("onnx", tmp_path / "net.h5")
    with pytest.raises(UserError, match="data is a folder that is there already"):
        export.files_of("saved_model", tmp_path / "data")
    with pytest.raises(UserError, match="net.weights.h5 is a file, and --format saved_model is a"):
        export.files_of("saved_model", tmp_path / "net.weights.h5")
    (tmp_path / "net.onnx").symlink_to(weights)
    with pytest.raises(UserError, match="is the input"):
        refuse_replacing(export.files_of("onnx", tmp_path / "net.onnx"), [weights], "")


def test_a_converter_that_fails_says_so_in_a_sentence():
    with pytest.raises(UserError, match=r"int failed \(ValueError: inv.* 'word'\); another --f"):
        export.apart(int, "word")
    with pytest.raises(UserError, match="_exit failed .its process was ended"):
        export.apart(os._exit, 3)


def test_a_network_of_one_channel(tmp_path):
    model = fold(tiny_fcn(SIZE, channels=1, seed=0))
    export.write_saved_model(model, tmp_path / "net", probabilities=False)
    picture = random_batch((40, 50), 1)[0][0][..., :1]
    run = export.load_saved_model(tmp_path / "net")
    assert export.agreement(run, partial(evaluation.answer, model), [picture]) > 0.999


def test_the_pictures_of_a_comparison_are_from_all_over(store):
    firsts = [int(picture[0, 0, 0]) for picture in export.some(store, 3, 3)]
    assert firsts == [20, 40, 60] and len(export.some(store, 20, 3)) == 7
