"""The preset for few photographs: when it is taken, and what it begins with."""

import pytest
from conftest import make_store

from engine import settings
from engine.arguments import parse_arguments
from engine.records import FEW
from engine.settings import SHIPPED, settle
from utils.errors import UserError


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
