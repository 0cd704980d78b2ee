"""The preset for few photographs: when it is taken, and what it begins with."""

import shutil

import pytest
from conftest import PROJECT, make_store

from engine import settings
from engine.arguments import parse_arguments
from engine.records import FEW
from engine.runs import RunFiles
from engine.settings import SHIPPED, settle
from utils.errors import UserError
from utils.history import read_rows


def settled(folder, *options):
    return settle(
        parse_arguments(["--train", "--verbose", "0", "--data-path", str(folder), *options])
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A data folder of three pictures, and no GPU."""
    monkeypatch.setattr(settings, "gpu_name", lambda: None)
    store = make_store(tmp_path, [(24, 32)] * 3)
    store.path.rename(tmp_path / "segmentation_train.npy")
    (tmp_path / "labels.index.json").rename(tmp_path / "segmentation_train.index.json")
    return tmp_path


def test_few_pictures_begin_with_the_weights_that_ship(folder):
    network, data, run = settled(folder)
    assert run.preset == "few" and run.start_from == SHIPPED and SHIPPED.is_file()
    assert (run.size, run.epochs, data.pictures_per_epoch) == ((96, 128), 8, 320)
    assert run.learning_rate == 3e-3 and network.settings["filters"] == 64
    _, _, run = settled(folder, "--optimizer", "adam")
    assert run.preset == "few" and run.learning_rate == 1e-3
    _, _, run = settled(folder, "--learning-rate", "0.5", "--epochs", "2")
    assert (run.learning_rate, run.epochs) == (0.5, 2)


@pytest.mark.parametrize(
    "options",
    [
        ["--preset", "quick"],
        ["--backbone", "resnet20v1"],
        ["--model", "unet-same"],
        ["--narrow", "4"],
        ["--start-from", str(SHIPPED)],
    ],
)
def test_who_says_what_to_begin_with_has_that(folder, options):
    _, _, run = settled(folder, *options)
    assert run.preset == "quick" and run.start_from in (None, SHIPPED)
    assert bool(run.start_from) == ("--start-from" in options)


def test_many_pictures_are_trained_otherwise(folder, monkeypatch):
    monkeypatch.setattr(settings, "pictures_of_training", lambda values: FEW)
    assert settled(folder)[2].preset == "quick"
    monkeypatch.setattr(settings, "gpu_name", lambda: "Some GPU")
    assert settled(folder)[2].preset == "full"


def test_the_weights_that_ship_are_found_behind_a_training_in_their_folder(tmp_path):
    """`make train`, then a training of one's own: it would begin with what the first left."""
    files = RunFiles(tmp_path, "ResNet56v2-3layer", "drinks")
    shutil.copy(SHIPPED, files.best)
    assert settings.shipped(tmp_path) == files.best
    if SHIPPED.name == files.best.name:  # nobody has trained there since
        rows = read_rows(PROJECT / "weights" / files.history.name)
        assert int(rows[-1]["run"]) == 6
    files.set_aside(6)
    files.best.unlink()
    files.best.write_bytes(b"of another training")
    assert settings.shipped(tmp_path).read_bytes() == SHIPPED.read_bytes()


def test_few_pictures_are_few_on_a_gpu_too(folder, monkeypatch):
    monkeypatch.setattr(settings, "gpu_name", lambda: "Some GPU")
    _, _, run = settled(folder)
    assert run.preset == "few" and run.start_from == SHIPPED


def test_other_networks_have_no_such_weights(folder, monkeypatch):
    with pytest.raises(
        UserError, match="--preset few begins with weights of fcn, not of unet-same"
    ):
        settled(folder, "--preset", "few", "--model", "unet-same")
    monkeypatch.setattr(settings, "SHIPPED", folder / "gone.h5")
    with pytest.raises(UserError, match="gone.h5, which is not there; take it back with git"):
        settled(folder, "--preset", "few")
