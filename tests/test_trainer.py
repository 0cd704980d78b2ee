"""The loop: a run that is interrupted and resumed equals one in one go, whatever killed it."""

import json
import math
import threading
from dataclasses import replace

import h5py
import keras
import numpy as np
import pytest
from conftest import build_toy

from callbacks import AccuracyCallback, lr_scheduler
from engine.records import Data, Network, Run
from engine.reporting import StopOnNaN, tensorboard
from engine.runs import Ledger, RunFiles, describe_run
from engine.trainer import bring_weights, finish, train
from engine.weights import load_weights, read_configuration, read_network, read_state
from evaluation import confusion_matrices
from fast.adam import adam
from fast.forward import forward
from losses import PixelCrossEntropy
from metrics import scores
from utils.classes import named
from utils.errors import UserError
from utils.files import PROJECT
from utils.history import COLUMNS, read_rows, write_history

CLASSES = named(["background", "thing", "stuff"])
DATA = Data(dataset="toys")
TOY = build_toy
FLAT = {"chapter_miou": 0.5, "dataset_miou": 0.5, "pixel_accuracy": 0.5}

pytestmark = pytest.mark.usefixtures("toy")  # the loop knows no architecture


class Toy(keras.utils.PyDataset):
    """Three batches a epoch that depend on the epoch, as those of the real generator do."""

    def __init__(self, poison=None):
        super().__init__()
        self.epoch, self.poison, self.failure = 0, poison, None

    def __len__(self):
        return 3

    def __getitem__(self, index):
        random = np.random.default_rng([self.epoch, index])
        labels = random.integers(0, 3, (2, 32, 32)).astype(np.uint8)
        pictures = np.stack([labels * 100] * 3, -1).astype("float32")
        return pictures * (np.nan if self.poison == self.epoch else 1), labels


def tiny_network(seed=0, size=(32, 32)):
    keras.utils.set_random_seed(seed)
    return build_toy((*size, 3), len(CLASSES))


def the_network():
    return Network("toy", (32, 32, 3), CLASSES, {})


def open_ledger(folder):
    """Of a run in `folder`, whose files are called "tiny"."""
    files = RunFiles(folder, "tiny", "toys")
    network = the_network()
    return Ledger(files, network, describe_run(network, DATA, Run(size=(32, 32), epochs=100)))


def run(
    folder, epochs, model=None, data=None, score=None, patience=None, patient_from=0, **options
):
    """As `train_fcn` of the script, in one stage."""
    model = model or tiny_network()
    model.compile(adam(lr_scheduler(0)), PixelCrossEntropy())
    validation = Toy()
    validation.epoch = 1000
    score = score or (lambda: scores(confusion_matrices(model, validation)))
    ledger = open_ledger(folder)
    bring_weights(model, Run(epochs=epochs, size=(32, 32), **options), ledger, score)

    def save_best(miou, epoch):
        ledger.save_best(model, miou, epoch)

    accuracy = AccuracyCallback(score, save_best, patience, patient_from, ledger.best)
    rate = keras.callbacks.LearningRateScheduler(
        lambda epoch: lr_scheduler(epoch, schedule_epochs=10)
    )
    train(model, data or Toy(), [rate, accuracy], ledger, epochs)
    return model, ledger.files


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="steps wait for each other there")
def test_no_step_waits_for_the_loss_of_the_one_before(tmp_path, monkeypatch):
    """Keras asks the callbacks in a thread, if all of them allow it: a GPU would idle meanwhile."""
    threads = set()

    def asked(self, batch, logs=None, real=StopOnNaN.on_train_batch_end):
        threads.add(threading.current_thread())
        real(self, batch, logs)

    monkeypatch.setattr(StopOnNaN, "on_train_batch_end", asked)
    run(tmp_path, 1)
    assert threads and threading.main_thread() not in threads


def build_dropping(input_shape, n_classes, *, width=4):
    """The toy with dropout behind its pictures."""
    toy = TOY(input_shape, n_classes, width=width)
    inputs = keras.Input(input_shape)
    return keras.Model(inputs, toy(keras.layers.Dropout(0.5, name="drop")(inputs)), name="toy")


@pytest.mark.long
@pytest.mark.parametrize("build", [build_toy, build_dropping])
def test_four_epochs_and_three_resumed_equal_seven(build, tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "build_toy", build)
    whole, files = run(tmp_path / "whole", 7)
    run(tmp_path / "parts", 4)
    resumed, parts = run(tmp_path / "parts", 7, model=tiny_network(seed=9), resume=True)
    for one, other in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    for one, other in zip(whole.optimizer.variables, resumed.optimizer.variables, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), atol=1e-6)
    rows, again = read_rows(files.history), read_rows(parts.history)
    assert [row["epoch"] for row in again] == list(range(1, 8))
    for one, other in zip(rows, again, strict=True):
        assert one["learning_rate"] == other["learning_rate"]
        assert one["loss"] == pytest.approx(other["loss"], abs=1e-5)
        assert one["chapter_miou"] == pytest.approx(other["chapter_miou"], abs=1e-5)


def test_without_matplotlib_a_training_ends_as_well(tmp_path, monkeypatch, capsys):
    def draw(*_):
        raise ImportError("No module named 'matplotlib'")

    run(tmp_path, 1)
    monkeypatch.setattr("engine.trainer.draw_curves", draw)
    finish(open_ledger(tmp_path))
    assert "-history.csv; no curves (No module named 'matplotlib')" in capsys.readouterr().out


def test_a_network_that_is_trained_no_more_is_let_go(tmp_path):
    """Of a run that grows that of the size before, with its weights and programs."""
    forward(tiny_network())
    run(tmp_path, 1)
    assert forward.cache_info().currsize == 0


def test_a_run_leaves_weights_configuration_history_and_curves(tmp_path):
    _, files = run(tmp_path, 2)
    finish(open_ledger(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "miou_history.npy",
        "mpla_history.npy",
        "tiny-toys-best-iou.weights.h5",
        "tiny-toys-configuration.json",
        "tiny-toys-curves.png",
        "tiny-toys-history.csv",
        "tiny-toys-last.weights.h5",
    ]
    configuration = json.loads(files.configuration.read_text())
    assert [entry["name"] for entry in configuration["network"]["classes"]] == list(CLASSES.names)
    assert configuration["versions"]["keras"] == keras.__version__
    assert read_configuration(files.best) == configuration
    assert read_network(files.best) == the_network()
    rows = read_rows(files.history)
    np.testing.assert_allclose(
        np.load(tmp_path / "miou_history.npy"), [row["chapter_miou"] for row in rows]
    )
    np.testing.assert_allclose(
        np.load(tmp_path / "mpla_history.npy"), [100 * row["pixel_accuracy"] for row in rows]
    )
    # The best weights are those of the epoch with the best score, and carry no optimizer.
    with h5py.File(files.best) as best, h5py.File(files.last) as last:
        assert "optimizer" not in best and "optimizer" in last
    again = tiny_network(seed=5)
    load_weights(again, files.best)
    validation = Toy()
    validation.epoch = 1000
    matrices = confusion_matrices(again, validation)
    assert scores(matrices)["chapter_miou"] == pytest.approx(
        max(row["chapter_miou"] for row in rows), abs=1e-6
    )


def test_best_weights_say_the_size_that_they_were_scored_at(tmp_path):
    """A run that grows may have them before its whole size."""
    ledger = open_ledger(tmp_path)
    ledger.save_best(tiny_network(size=(48, 64)), 0.5, 0)
    assert read_network(ledger.files.best) == replace(the_network(), input_shape=(48, 64, 3))


def test_a_second_run_keeps_the_first(tmp_path):
    _, files = run(tmp_path, 1)
    first = files.best.read_bytes()
    run(tmp_path, 2, model=tiny_network(seed=1))
    assert (tmp_path / "tiny-toys-run1-best-iou.weights.h5").read_bytes() == first
    rows = read_rows(files.history)
    assert [(row["run"], row["epoch"]) for row in rows] == [(1, 1), (2, 1), (2, 2)]


def test_the_best_of_before_is_known_under_any_name(tmp_path):
    """Of which signs that a pattern has are a part, too."""
    files = RunFiles(tmp_path, "tiny", "a[b]")
    files.best.write_bytes(b"weights")
    for _ in range(2):  # of runs that left nothing of their own
        files.set_aside(1)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_run_killed_in_its_first_epoch_does_not_push_out_the_one_before(tmp_path):
    _, files = run(tmp_path, 1)
    first = files.best.read_bytes()
    for _ in range(2):  # each writes its best weights, but not yet its history
        ledger = open_ledger(tmp_path)
        ledger.begin()
        ledger.save_best(tiny_network(), 0.5, 0)
        assert not ledger.files.configuration.exists(), "that comes with the first epoch"
    assert (tmp_path / "tiny-toys-run1-best-iou.weights.h5").read_bytes() == first
    assert (tmp_path / "tiny-toys-run2-best-iou.weights.h5").is_file()


def test_who_interrupts_the_first_epoch_has_the_best_weights_of_before(tmp_path, capsys):
    _, files = run(tmp_path, 1)
    first = files.best.read_bytes()
    for _ in range(2):  # what has nothing of its own leaves nothing
        open_ledger(tmp_path).begin()
        assert files.best.read_bytes() == first
    assert len(list(tmp_path.glob("*-run*-best-iou.weights.h5"))) == 1
    ledger = open_ledger(tmp_path)
    ledger.begin()
    ledger.save_best(tiny_network(), 0.5, 0)
    assert files.best.read_bytes() != first
    assert (tmp_path / "tiny-toys-run1-best-iou.weights.h5").read_bytes() == first


def test_an_epoch_without_a_score_leaves_no_best_weights_of_another_run(tmp_path):
    model, files = run(tmp_path, 1)
    ledger = open_ledger(tmp_path)
    ledger.begin()
    ledger.record(model, 0, dict.fromkeys(COLUMNS, math.nan))
    assert not files.best.exists()
    assert (tmp_path / "tiny-toys-run1-best-iou.weights.h5").exists()


def test_where_no_file_has_two_names_it_is_copied(tmp_path, monkeypatch):
    monkeypatch.setattr("os.link", lambda *_: (_ for _ in ()).throw(OSError("not here")))
    _, files = run(tmp_path, 1)
    open_ledger(tmp_path).begin()
    kept = tmp_path / "tiny-toys-run1-best-iou.weights.h5"
    assert kept.read_bytes() == files.best.read_bytes() and not kept.samefile(files.best)


def test_what_was_set_aside_can_be_gone_on_with(tmp_path, capsys):
    run(tmp_path, 1)
    ledger = open_ledger(tmp_path)
    ledger.begin()
    assert "--resume --dataset toys-run1" in capsys.readouterr().out
    kept = replace(ledger.files, dataset="toys-run1").last
    assert kept.name == "tiny-toys-run1-last.weights.h5" and kept.is_file()


def test_a_machine_without_git(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert describe_run(the_network(), DATA, Run())["commit"] is None


def test_how_large_pictures_of_training_are_is_kept():
    sizes = [(2, 3), (40, 50), (1, 2)]
    assert describe_run(the_network(), DATA, Run(), sizes=sizes)["pixels"] == 6
    assert describe_run(the_network(), DATA, Run())["pixels"] is None


def test_a_configuration_tells_no_folders_outside_the_project(tmp_path):
    data = Data(data_path=PROJECT / "data" / "drinks")
    given = Run(save_dir=tmp_path / "secret", start_from=tmp_path / "a.weights.h5", seed=3)
    given = replace(given, image_file=(tmp_path / "b.jpg",))
    configuration = describe_run(the_network(), data, given)
    assert configuration["data"]["data_path"] == "data/drinks"
    kept = {"save_dir": ".../secret", "start_from": ".../a.weights.h5", "seed": 3}
    kept |= {"image_file": [".../b.jpg"]}
    assert {name: configuration["run"][name] for name in kept} == kept
    assert str(tmp_path) not in json.dumps(configuration, default=str)


def test_resuming_without_the_best_weights_writes_them_anew(tmp_path):
    _, files = run(tmp_path, 1)
    files.best.unlink()
    run(tmp_path, 2, resume=True)
    assert files.best.is_file()


def test_pictures_without_labels_cannot_pick_weights(tmp_path):
    nothing = {"chapter_miou": float("nan"), "dataset_miou": 0, "pixel_accuracy": 0}
    with pytest.raises(UserError, match="no labelled pixel"):
        run(tmp_path, 1, score=lambda: nothing)


class Killed(Exception):
    """Stands for a kill."""


def killed_at(monkeypatch, name, epoch=2):
    """Ends the program before the file `name` is replaced after this epoch."""
    import engine.runs as runs
    import utils.history as of_history

    def stop(path, real=runs.replace_whole):
        if path.name == name and len(read_state(path.parent / LAST)["rows"]) == epoch:
            raise Killed
        return real(path)

    monkeypatch.setattr(runs, "replace_whole", stop)
    monkeypatch.setattr(of_history, "replace_whole", stop)


LAST = "tiny-toys-last.weights.h5"
AFTER = ["configuration.json", "miou_history.npy", "mpla_history.npy", "history.csv"]


@pytest.mark.long
@pytest.mark.parametrize("name", AFTER)
def test_what_a_kill_after_the_checkpoint_left_unwritten_is_written(name, tmp_path, monkeypatch):
    """All epochs are there, the history is not."""
    run(tmp_path, 1)
    name = name if name.endswith("npy") else f"tiny-toys-{name}"
    with monkeypatch.context() as patch, pytest.raises(Killed):
        killed_at(patch, name)
        run(tmp_path, 2, resume=True)
    ledger = open_ledger(tmp_path)
    history, configuration = ledger.files.history, ledger.files.configuration
    assert len(read_rows(history)) == 1
    configuration.write_text("of another run")
    assert not ledger.recall() and ledger.best[0] > 0
    assert [row["epoch"] for row in read_rows(history)] == [1, 2]
    assert len(np.load(tmp_path / "miou_history.npy")) == 2
    assert len(np.load(tmp_path / "mpla_history.npy")) == 2
    assert json.loads(configuration.read_text()) == read_configuration(ledger.files.last)
    assert not open_ledger(tmp_path).recall(), "there are no curves"
    finish(ledger)
    assert open_ledger(tmp_path).recall()


def test_a_history_is_mended_before_the_next_epoch(tmp_path, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(Killed):
        killed_at(patch, "tiny-toys-history.csv", 1)
        run(tmp_path, 1)
    ledger = open_ledger(tmp_path)
    assert not ledger.files.history.exists()
    model = tiny_network()
    model.compile(adam(0.1), PixelCrossEntropy())
    bring_weights(model, Run(resume=True), ledger, score=None)
    assert [row["epoch"] for row in read_rows(ledger.files.history)] == [1]


def test_rows_of_other_runs_stay_when_a_history_is_mended(tmp_path, monkeypatch):
    run(tmp_path, 2)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        killed_at(patch, "tiny-toys-history.csv", 1)
        run(tmp_path, 1, model=tiny_network(seed=1))
    ledger = open_ledger(tmp_path)
    ledger.recall()
    rows = read_rows(ledger.files.history)
    assert [(row["run"], row["epoch"]) for row in rows] == [(1, 1), (1, 2), (2, 1)]


def test_one_training_at_a_time(tmp_path):
    files = RunFiles(tmp_path, "tiny", "toys")
    with files.locked():
        with pytest.raises(UserError, match="another training writes .*tiny-toys-last.*--dataset"):
            with files.locked():
                raise AssertionError("two train")
        with replace(files, dataset="others").locked():
            pass
        (tmp_path / "link").symlink_to(tmp_path)
        with pytest.raises(UserError, match="another training"):
            with replace(files, folder=tmp_path / "link").locked():
                raise AssertionError("two train")
    assert [path.name for path in tmp_path.iterdir()] == ["link"]


def test_tensorboard_that_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="requirements/tensorboard.txt"):
        tensorboard(RunFiles(tmp_path, "tiny", "toys"))


def test_tensorboard_keeps_runs_of_one_name_apart(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: True)
    monkeypatch.setattr(keras.callbacks, "TensorBoard", lambda folder: folder)
    folders = []
    for moment in ("morning", "noon"):
        monkeypatch.setattr("engine.reporting.time.strftime", lambda _, moment=moment: moment)
        folders.append(tensorboard(RunFiles(tmp_path, "tiny", "toys")))
    assert folders[0] != folders[1] and folders[0].parent == folders[1].parent


def test_restored_weights_have_to_be_beaten(tmp_path):
    """The book's code forgot the best score and overwrote good weights in the first epoch.

    They are still to be beaten after an interruption.
    """
    values = [0.9, 0.5, 0.6]  # of the restored weights, then of two epochs

    def score():
        return dict(chapter_miou=values.pop(0), dataset_miou=0, pixel_accuracy=0)

    _, trained = run(tmp_path / "first", 1)
    model = tiny_network(seed=1)
    _, files = run(tmp_path, 1, model=model, score=score, restore_weights=trained.best)
    given, best = tiny_network(seed=5), tiny_network(seed=6)
    load_weights(given, trained.best)
    load_weights(best, files.best)
    for one, kept in zip(given.get_weights(), best.get_weights(), strict=True):
        np.testing.assert_array_equal(one, kept)
    changed = zip(given.get_weights(), model.get_weights(), strict=True)
    assert any((a != b).any() for a, b in changed)
    restored = files.best.read_bytes()
    run(tmp_path, 2, score=score, resume=True)
    assert files.best.read_bytes() == restored
    assert not values


def test_resuming_what_is_not_there(tmp_path):
    with pytest.raises(UserError, match="tiny-toys-last.weights.h5 cannot be read"):
        run(tmp_path, 2, resume=True)


def test_a_loss_that_is_no_number_stops_with_advice(tmp_path):
    with pytest.raises(UserError, match="--precision float32"):
        run(tmp_path, 3, data=Toy(poison=1))
    assert len(read_rows(RunFiles(tmp_path, "tiny", "toys").history)) == 1


def test_patience(tmp_path):
    model, files = run(tmp_path, 9, score=lambda: dict(FLAT), patience=2)
    assert len(read_rows(files.history)) == 3
    assert model.stop_training


def test_patience_begins_where_it_is_told_to(tmp_path):
    """The best is that of the first epoch; waiting for a better one begins with the fifth."""
    _, files = run(tmp_path, 9, score=lambda: dict(FLAT), patience=2, patient_from=4)
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
