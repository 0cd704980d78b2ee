"""The loop: a run that is interrupted and resumed equals one in one go, whatever killed it."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import keras
import numpy as np
import pytest

from callbacks import lr_scheduler
from engine.trainer import RunFiles, describe_run, train
from engine.weights import (
    epochs_done,
    find_weights,
    load_weights,
    read_arguments,
    read_classes,
    read_configuration,
    save_checkpoint,
    save_weights,
)
from evaluation import build_scorer, confusion_matrices
from metrics import scores
from model import build_fcn
from utils.classes import named
from utils.errors import UserError
from utils.files import PROJECT
from utils.history import read_rows, write_history

CLASSES = named(["background", "thing", "stuff"])


class Toy(keras.utils.PyDataset):
    """Three batches a epoch that depend on the epoch, as those of the real generator do."""

    def __init__(self, poison=None):
        super().__init__()
        self.epoch, self.poison, self.failure = 0, poison, None
        self.within = False

    def __len__(self):
        return 3

    def __getitem__(self, index):
        random = np.random.default_rng([self.epoch, index])
        labels = random.integers(0, 3, (2, 32, 32)).astype(np.uint8)
        pictures = np.stack([labels * 100] * 3, -1).astype("float32")
        return pictures * (np.nan if self.poison == self.epoch else 1), labels

    def on_epoch_begin(self):
        self.within = True

    def on_epoch_end(self):  # called once before the first epoch, too
        self.epoch += self.within
        self.within = False


def tiny_network(seed=0):
    keras.utils.set_random_seed(seed)
    return build_fcn((32, 32, 3), "resnet8v1", len(CLASSES), n_layers=1, filters=4)


def run(folder, epochs, model=None, data=None, **options):
    model = model or tiny_network()
    validation = Toy()
    validation.epoch = 1000
    scorer = build_scorer(model)
    files = RunFiles(folder, "tiny")
    train(
        model,
        data or Toy(),
        score=lambda: scores(confusion_matrices(scorer, validation)),
        files=files,
        configuration=describe_run({"backbone": "resnet8v1", "seed": 0}, CLASSES),
        epochs=epochs,
        rate=lambda epoch: lr_scheduler(epoch, schedule_epochs=10),
        **options,
    )
    return model, files


def test_learning_rates_are_the_chapters():
    rates = [lr_scheduler(epoch) for epoch in range(120)]
    assert rates[:41] == [1e-3] * 41
    assert rates[41:61] == [5e-4] * 20
    assert rates[61:81] == [1e-4] * 20
    assert rates[81:] == [5e-5] * 39


def test_shorter_runs_have_the_same_shape():
    rates = [lr_scheduler(epoch, "book", 20) for epoch in range(20)]
    assert rates == [1e-3] * 9 + [5e-4] * 4 + [1e-4] * 4 + [5e-5] * 3


def test_the_cosine_falls_from_the_highest_rate_to_its_hundredth():
    rates = [lr_scheduler(epoch, "cosine", 20, 2e-3) for epoch in range(30)]
    assert rates[0] == 1e-3  # warming up
    assert rates[10] == pytest.approx(1e-3)
    assert all(one > other for one, other in zip(rates[1:20], rates[2:20], strict=False))
    assert rates[20:] == [2e-5] * 10


def test_the_line_falls_evenly_from_the_highest_rate_to_its_hundredth():
    rates = [lr_scheduler(epoch, "linear", 20, 2e-3) for epoch in range(30)]
    assert rates[0] == 1e-3  # warming up
    assert np.diff(rates[1:20]) == pytest.approx([-1e-4] * 18)
    assert rates[20:] == [2e-5] * 10


def test_the_books_table_is_scaled_by_the_highest_rate():
    rates = [lr_scheduler(epoch, "book", 100, 2e-3) for epoch in (0, 50, 70, 90)]
    assert rates == pytest.approx([2e-3, 1e-3, 2e-4, 1e-4])


def test_five_epochs_and_five_resumed_equal_ten(tmp_path):
    whole, files = run(tmp_path / "whole", 10)
    run(tmp_path / "parts", 5)
    resumed, parts = run(tmp_path / "parts", 10, model=tiny_network(seed=9), resume=True)
    for one, other in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    for one, other in zip(whole.optimizer.variables, resumed.optimizer.variables, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), atol=1e-6)
    rows, again = read_rows(files.history), read_rows(parts.history)
    assert [row["epoch"] for row in again] == list(range(1, 11))
    for one, other in zip(rows, again, strict=True):
        assert one["learning_rate"] == other["learning_rate"]
        assert one["loss"] == pytest.approx(other["loss"], abs=1e-5)
        assert one["chapter_miou"] == pytest.approx(other["chapter_miou"], abs=1e-5)


def test_a_run_leaves_weights_configuration_history_and_curves(tmp_path):
    model, files = run(tmp_path, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "miou_history.npy",
        "mpla_history.npy",
        "tiny-best-iou.weights.h5",
        "tiny-configuration.json",
        "tiny-curves.png",
        "tiny-history.csv",
        "tiny-last.weights.h5",
    ]
    configuration = json.loads(files.configuration.read_text())
    assert configuration["class_names"] == list(CLASSES.names)
    assert configuration["versions"]["keras"] == keras.__version__
    # Of the network that was scored, and of the whole run, which has no options here.
    size = {"height": 32, "width": 32, "whole_size": [None, None]}
    configuration["arguments"] |= size
    assert read_configuration(files.best) == configuration
    assert read_classes(files.best) == CLASSES
    assert read_arguments(files.best) == {"backbone": "resnet8v1", "seed": 0, **size}
    rows = read_rows(files.history)
    np.testing.assert_allclose(
        np.load(tmp_path / "miou_history.npy"), [row["chapter_miou"] for row in rows]
    )
    np.testing.assert_allclose(
        np.load(tmp_path / "mpla_history.npy"), [100 * row["pixel_accuracy"] for row in rows]
    )
    # The best weights are those of the epoch with the best score, and carry no optimizer.
    assert files.best.stat().st_size < files.last.stat().st_size / 2
    again = tiny_network(seed=5)
    load_weights(again, files.best)
    validation = Toy()
    validation.epoch = 1000
    matrices = confusion_matrices(build_scorer(again), validation)
    assert scores(matrices)["chapter_miou"] == pytest.approx(
        max(row["chapter_miou"] for row in rows), abs=1e-6
    )


def test_a_second_run_keeps_the_first(tmp_path):
    _, files = run(tmp_path, 1)
    first = files.best.read_bytes()
    run(tmp_path, 2, model=tiny_network(seed=1))
    assert (tmp_path / "tiny-run1-best-iou.weights.h5").read_bytes() == first
    rows = read_rows(files.history)
    assert [(row["run"], row["epoch"]) for row in rows] == [(1, 1), (2, 1), (2, 2)]


def test_a_run_killed_in_its_first_epoch_does_not_push_out_the_one_before(tmp_path):
    _, files = run(tmp_path, 1)
    first = files.best.read_bytes()
    for seed in (1, 2):  # each writes its best weights, but not yet its history
        model = tiny_network(seed)
        with pytest.raises(UserError):
            run(tmp_path, 1, model=model, data=Toy(poison=0), restored=True)
    assert (tmp_path / "tiny-run1-best-iou.weights.h5").read_bytes() == first
    assert (tmp_path / "tiny-run2-best-iou.weights.h5").is_file()


def test_a_machine_without_git(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert describe_run({}, CLASSES)["commit"] is None


def test_a_configuration_tells_no_folders_outside_the_project():
    arguments = {"data_path": PROJECT / "data" / "drinks", "save_dir": Path("/home/me/secret")}
    arguments |= {"start_from": ["/home/me/a.weights.h5"], "image_file": [Path("/home/me/b.jpg")]}
    assert describe_run({**arguments, "seed": 3}, CLASSES)["arguments"] == {
        "data_path": str(Path("data", "drinks")),
        "save_dir": ".../secret",
        "start_from": [".../a.weights.h5"],
        "image_file": [".../b.jpg"],
        "seed": 3,
    }


def test_resuming_without_the_best_weights_writes_them_anew(tmp_path):
    _, files = run(tmp_path, 1)
    files.best.unlink()
    run(tmp_path, 2, resume=True)
    assert files.best.is_file()


def test_pictures_without_labels_cannot_pick_weights(tmp_path):
    nothing = {"chapter_miou": float("nan"), "dataset_miou": 0, "pixel_accuracy": 0}
    with pytest.raises(UserError, match="no labelled pixel"):
        train(
            tiny_network(),
            Toy(),
            score=lambda: nothing,
            files=RunFiles(tmp_path, "tiny"),
            configuration=describe_run({}, CLASSES),
            epochs=1,
            rate=lambda epoch: lr_scheduler(epoch, schedule_epochs=1),
        )


def test_tensorboard_that_is_missing_is_named_before_anything_is_touched(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="requirements/tensorboard.txt"):
        run(tmp_path, 1, tensorboard=True)
    assert not list(tmp_path.iterdir())


def test_restored_weights_have_to_be_beaten(tmp_path):
    """The book's code forgot the best score and overwrote good weights in the first epoch."""
    files = RunFiles(tmp_path, "tiny")
    values = [0.9, 0.5]  # of the restored weights, then of one epoch
    model = tiny_network()
    given = model.get_weights()
    train(
        model,
        Toy(),
        score=lambda: dict(chapter_miou=values.pop(0), dataset_miou=0, pixel_accuracy=0),
        files=files,
        configuration=describe_run({}, CLASSES),
        epochs=1,
        rate=lambda epoch: 1e-2,
        restored=True,
    )
    assert not values
    best = tiny_network(seed=5)
    load_weights(best, files.best)
    for one, kept in zip(given, best.get_weights(), strict=True):
        np.testing.assert_array_equal(one, kept)
    assert any((a != b).any() for a, b in zip(given, model.get_weights(), strict=True))


def test_restored_weights_have_to_be_beaten_after_an_interruption_too(tmp_path):
    files = RunFiles(tmp_path, "tiny")
    values = iter([0.9, 0.5, 0.6])  # of the restored weights, then of two epochs

    def go_on(epochs, **options):
        train(
            tiny_network(),
            Toy(),
            score=lambda: dict(chapter_miou=next(values), dataset_miou=0, pixel_accuracy=0),
            files=files,
            configuration=describe_run({}, CLASSES),
            epochs=epochs,
            rate=lambda epoch: lr_scheduler(epoch, schedule_epochs=10),
            **options,
        )

    go_on(1, restored=True)
    restored = files.best.read_bytes()
    go_on(2, resume=True)
    assert files.best.read_bytes() == restored


def test_resuming_what_is_not_there(tmp_path):
    with pytest.raises(UserError, match="tiny-last.weights.h5 cannot be read"):
        run(tmp_path, 2, resume=True)


def test_resuming_what_is_complete(tmp_path):
    run(tmp_path, 1)
    with pytest.raises(UserError, match="raise --epochs"):
        run(tmp_path, 1, resume=True)


def test_a_loss_that_is_no_number_stops_with_advice(tmp_path):
    with pytest.raises(UserError, match="--precision float32"):
        run(tmp_path, 3, data=Toy(poison=1))
    assert len(read_rows(RunFiles(tmp_path, "tiny").history)) == 1


def test_patience(tmp_path):
    flat = {"chapter_miou": 0.5, "dataset_miou": 0.5, "pixel_accuracy": 0.5}
    model = tiny_network()
    files = RunFiles(tmp_path, "tiny")
    train(
        model,
        Toy(),
        score=lambda: dict(flat),
        files=files,
        configuration=describe_run({}, CLASSES),
        epochs=9,
        rate=lambda epoch: lr_scheduler(epoch, schedule_epochs=9),
        patience=2,
    )
    assert len(read_rows(files.history)) == 3


def test_patience_begins_where_it_is_told_to(tmp_path):
    """The best is that of the first epoch; waiting for a better one begins with the fifth."""
    flat = {"chapter_miou": 0.5, "dataset_miou": 0.5, "pixel_accuracy": 0.5}
    files = RunFiles(tmp_path, "tiny")
    train(
        tiny_network(),
        Toy(),
        score=lambda: dict(flat),
        files=files,
        configuration=describe_run({}, CLASSES),
        epochs=9,
        rate=lambda epoch: lr_scheduler(epoch, schedule_epochs=9),
        patience=2,
        patient_from=4,
    )
    assert len(read_rows(files.history)) == 6


def test_history_of_another_program_is_refused(tmp_path):
    path = tmp_path / "history.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="history.csv is no history"):
        read_rows(path)


def test_history_round_trip(tmp_path):
    row = dict(run=1, epoch=1, loss=0.1 + 0.2, learning_rate=1e-3, chapter_miou=0.5)
    row |= dict(dataset_miou=0.25, pixel_accuracy=0.75, seconds=1.5)
    write_history(tmp_path / "h.csv", [row], [{**row, "run": 2}])
    assert read_rows(tmp_path / "h.csv") == [row, {**row, "run": 2}]


# --- weights files --------------------------------------------------------------------------------


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
    save_weights(tiny_network(), tmp_path / "a.weights.h5", {"n_classes": 3})
    other = build_fcn((32, 32, 3), "resnet8v1", 3, n_layers=1, filters=5)
    with pytest.raises(UserError, match="does not fit this network"):
        load_weights(other, tmp_path / "a.weights.h5")


def test_broken_weights_are_refused(tmp_path):
    (tmp_path / "a.weights.h5").write_bytes(b"not HDF5")
    with pytest.raises(UserError, match="a.weights.h5 is not a whole HDF5"):
        load_weights(tiny_network(), tmp_path / "a.weights.h5")


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
        {"n_classes": 3, "arguments": {"layers": 60}},
        {"n_classes": 3, "class_names": ["background", "thing"]},
        {"n_classes": 3, "arguments": {"backbone": 5}},
        {"n_classes": 3, "arguments": {"height": "480"}},
        {"n_classes": 3, "arguments": {"width": -5}},
        {"n_classes": 3, "arguments": {"layers": True}},
        {"n_classes": 3, "arguments": {"whole_size": [32]}},
        {"n_classes": 3, "arguments": {"whole_size": [32, "32"]}},
    ],
)
def test_a_damaged_configuration_is_refused(tmp_path, configuration):
    save_weights(tiny_network(), tmp_path / "a.weights.h5", configuration)
    with pytest.raises(UserError, match="a.weights.h5 has a broken configuration"):
        read_arguments(tmp_path / "a.weights.h5")


@pytest.mark.parametrize("state", [{}, {"run": 1, "rows": 5}, {"run": 1, "rows": [], "best": 1}])
def test_a_checkpoint_without_the_state_of_a_run_is_not_resumed(tmp_path, state):
    model = tiny_network()
    model.compile("adam", "mse")
    save_checkpoint(model, tmp_path / "tiny-last.weights.h5", {}, state)
    with pytest.raises(UserError, match="no state of a run"):
        epochs_done(tmp_path / "tiny-last.weights.h5")
    with pytest.raises(UserError, match="no state of a run"):
        run(tmp_path, 1, resume=True)


def test_classes_are_counted_without_a_configuration(tmp_path):
    save_weights(tiny_network(), tmp_path / "a.weights.h5", {})
    assert read_configuration(tmp_path / "a.weights.h5") == {"n_classes": 3}
    assert read_classes(tmp_path / "a.weights.h5").names == ("background", "class 1", "class 2")


def test_failed_saving_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.weights.h5"
    model = tiny_network()
    model.compile("adam", "mse")
    save_checkpoint(model, path, {"n_classes": 3}, {"rows": []})
    before = path.read_bytes()
    recursive: dict = {}
    recursive["self"] = recursive  # JSON refuses it after the weights have been written
    with pytest.raises(ValueError):
        save_checkpoint(model, path, {"n_classes": 3}, recursive)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_killed_while_saving(tmp_path):
    """kill -9 at random moments of a process that does nothing but save checkpoints."""
    path = tmp_path / "a.weights.h5"
    script = f"""
        import sys
        sys.path[:0] = {[str(PROJECT), str(PROJECT / "chapter12-segmentation")]!r}
        from pathlib import Path
        from model import build_fcn
        from engine.weights import save_checkpoint
        model = build_fcn((32, 32, 3), "resnet8v1", 3, n_layers=1, filters=4)
        model.compile("adam", "mse")
        model.optimizer.build(model.trainable_variables)
        for count in range(10**6):
            save_checkpoint(model, Path({str(path)!r}), {{"n_classes": 3}}, {{"count": count}})
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
        load_weights(tiny_network(), path)  # raises unless it is whole
        assert read_configuration(path)["n_classes"] == 3
