"""The comparison of networks: the same budget for all, nothing twice, nothing left out unsaid."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import keras
import numpy as np
import pytest
from conftest import SCRIPT, build_toy, make_labels, make_picture, run_script, write_store
from PIL import Image

import zoo
from engine.records import Network
from engine.session import classes_of
from engine.settings import settle
from tools import compare, comparison, measurements
from tools.measurements import training_arguments
from tools.summary import stages
from utils.classes import named
from utils.errors import UserError
from utils.label_maps.store import open_labels
from utils.locks import alone
from zoo.gcn import large_kernel


@pytest.fixture
def here(monkeypatch, toy):
    """Trainings and measurements in this process, in which there is a network "toy"."""

    def run(command, log):
        run_script(*command[2:])
        log.touch()
        return 0

    monkeypatch.setitem(zoo.MODELS, "toy2", zoo.MODELS["toy"])

    def options_of(name, seed, options, out):  # "toy" is as narrow as can be
        return [*options, "--seed", str(seed)]

    monkeypatch.setattr(compare, "run_logged", run)
    monkeypatch.setattr(compare, "options_of", options_of)
    monkeypatch.setattr(compare, "apart", lambda function, *about: function(*about))


@pytest.fixture
def options(tmp_path):
    """Of a training that takes a second, on a data set of eight pictures."""
    folder = tmp_path / "data"
    folder.mkdir()
    for split, number in (("train", 6), ("test", 2)):
        pictures = {f"{split}{n}.png": make_picture(n, (40, 56)) for n in range(number)}
        write_store(folder, pictures, [make_labels(n, (40, 56)) for n in range(number)])
        for end in (".npy", ".index.json"):
            (folder / f"labels{end}").rename(folder / f"segmentation_{split}{end}")
    data = ["--data-path", str(folder), "--epochs", "1", "--pictures-per-epoch", "4"]
    data += ["--optimizer", "sgd"]  # whose step is compiled soonest
    return [*compare.BUDGET.split(), *data, "--height", "32", "--width", "48", "--verbose", "0"]


@pytest.mark.long
def test_networks_are_trained_measured_and_drawn(here, options, tmp_path):
    out = tmp_path / "out"
    results = compare.compare([("toy", 0), ("toy2", 0)], options, out)
    assert [result["name"] for result in results] == ["toy", "toy2"]
    # 3 channels to 4: 27 x 4 + 4, normalisation 16, 4 to 3 classes: 12 + 3.
    assert all(result["parameters"] == 143 for result in results)
    assert results[0]["gmac"] == pytest.approx(32 * 48 * (27 * 4 + 4 + 12) / 1e9, rel=0.2)
    assert results[0]["seconds_a_step"] > 0 and results[0]["seconds_a_picture"] > 0
    assert 0 <= results[0]["half_way_miou"] <= 1
    assert results[0]["minutes"] > 0 and results[0]["memory"] > 0.1 and results[0]["field"] == 3
    assert 0 <= results[0]["boundary_f1"] <= 1
    # The same data, budget and seed.
    assert results[0]["dataset_miou"] == results[1]["dataset_miou"]
    with open(out / "compare.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["toy", "toy2"]
    assert float(rows[0]["pixel_accuracy"]) == results[0]["pixel_accuracy"]
    assert "| toy2 \\* | 2026 | 148 | 143 |" in (out / "compare.md").read_text()
    said = np.asarray(Image.open(out / "runs/toy/samples.png"))  # two test pictures
    assert said.shape == (measurements.SAMPLE[0], 2 * measurements.SAMPLE[1]) and said.max() < 3
    for name in ("compare.png", "compare-samples-1.png"):
        assert np.ptp(np.asarray(Image.open(out / name).convert("L"))) > 100


@pytest.mark.long
def test_what_is_done_is_not_done_again(here, options, tmp_path, monkeypatch):
    compare.compare([("toy", 0)], options, tmp_path / "out")
    before = (tmp_path / "out/runs/toy/result.json").read_text()
    for function in ("train", "apart"):
        monkeypatch.setattr(compare, function, lambda *_: pytest.fail("done again"))
    compare.compare([("toy", 0)], options, tmp_path / "out")
    assert (tmp_path / "out/runs/toy/result.json").read_text() == before
    with pytest.raises(UserError, match="other options .*--out"):
        compare.compare([("toy", 0)], [*options, "--epochs", "2"], tmp_path / "out")
    (tmp_path / "out/runs/toy/result.json").write_text("{")
    with pytest.raises(UserError, match="result.json is damaged"):
        compare.compare([("toy", 0)], options, tmp_path / "out")


@pytest.mark.long
def test_another_machine_goes_on_from_what_was_measured(here, options, tmp_path, monkeypatch):
    """From `result.json` and `samples.png` alone, steps are timed and all is drawn."""
    timed = compare.time_steps
    monkeypatch.setattr(compare, "time_steps", lambda *_: {})
    compare.compare([("toy", 0)], options, tmp_path / "out")
    kept = ("result.json", "samples.png")
    for path in (tmp_path / "out").rglob("*.*"):
        if path.name not in kept:
            path.unlink()
    monkeypatch.setattr(compare, "time_steps", timed)
    [result] = compare.compare([("toy", 0)], options, tmp_path / "out")
    assert result["seconds_a_step"] > 0
    names = {path.name for path in (tmp_path / "out").rglob("*.*")}
    assert names == {*kept, *(f"compare{end}" for end in (".csv", ".md", ".png", "-samples-1.png"))}


@pytest.mark.long
def test_what_the_folder_has_of_others_stays_in_the_page(here, options, tmp_path, monkeypatch):
    monkeypatch.setattr(compare, "time_steps", lambda *_: {"seconds_a_step": 1})
    compare.compare([("toy", 0)], options, tmp_path)
    [asked] = compare.compare([("toy2", 0)], options, tmp_path)
    assert asked["name"] == "toy2"
    page = (tmp_path / "compare.md").read_text()
    assert "| toy \\* | 2026" in page and "| toy2 \\* | 2026" in page
    assert "Not trained yet: fcn, " in page and " toy," not in page and "One seed each." in page
    # But those of other options are no part of it.
    other = tmp_path / "runs/toy/result.json"
    other.write_text(other.read_text().replace('"--epochs"', '"--epoch"'))
    compare.compare([("toy2", 0)], options, tmp_path)
    assert "| toy \\* | 2026" not in (tmp_path / "compare.md").read_text()


@pytest.mark.long
def test_steps_are_timed_side_by_side_at_the_end(here, options, tmp_path, monkeypatch):
    order = []

    def apart(function, name, *about):
        order.append((function.__name__, name))
        return {"seconds_a_step": 2.5} if function is compare.time_steps else function(name, *about)

    monkeypatch.setattr(compare, "apart", apart)
    compare.compare([("toy", 0)], options, tmp_path / "out")
    (tmp_path / "out/runs/toy/result.json").write_text(
        (tmp_path / "out/runs/toy/result.json")
        .read_text()
        .replace('"seconds_a_step": 2.5', '"x": 0')
    )
    compare.compare([("toy", 0), ("toy2", 0)], options, tmp_path / "out")
    first, again = order[:2], order[2:]
    assert first == [("measure", "toy"), ("time_steps", "toy")]
    assert again == [("measure", "toy2"), ("time_steps", "toy"), ("time_steps", "toy2")]
    assert "| 2.50 |" in (tmp_path / "out/compare.md").read_text()


def test_an_interrupted_training_goes_on(monkeypatch, tmp_path):
    commands = []

    def run(command, log):
        commands.append(command)
        log.write_text("epoch 1/2\nkilled\n\n")
        return 1

    monkeypatch.setattr(compare, "run_logged", run)
    assert compare.train("toy", ["--epochs", "2"], tmp_path) == {"failed": "status 1: killed"}
    (tmp_path / "toy-drinks-last.weights.h5").touch()
    compare.train("toy", ["--epochs", "2"], tmp_path)
    assert [command[-1] == "--resume" for command in commands] == [False, True]
    # What is said after an error, by another that writes into the same log, is none.
    (tmp_path / "log.txt").write_text("")
    monkeypatch.setattr(
        compare, "run_logged", lambda _, log: log.write_text("error: no room.\nepoch 2/2") and 2
    )
    assert compare.train("toy", [], tmp_path) == {"failed": "status 2: error: no room."}
    # Nor is what was said in an attempt before.
    monkeypatch.setattr(
        compare,
        "run_logged",
        lambda _, log: log.write_text(log.read_text() + "epoch 2/2\nkilled") and -9,
    )
    assert compare.train("toy", [], tmp_path) == {"failed": "status -9: killed"}
    assert commands[0][2:] == ["--train", "--model", "toy", "--epochs", "2", *commands[0][-2:]]


@pytest.mark.long
def test_what_was_not_trained_is_named_and_tried_again(here, options, tmp_path, monkeypatch):
    out, train = tmp_path / "out", compare.train
    monkeypatch.setattr(compare, "train", lambda *_: {"failed": "status 2: error: no memory."})
    [result] = compare.compare([("toy", 0)], options, out)
    assert (
        "Not trained: toy, seed 0: status 2: error: no memory." in (out / "compare.md").read_text()
    )
    assert json.loads((out / "runs/toy/result.json").read_text())["failed"]
    monkeypatch.setattr(compare, "train", train)
    [result] = compare.compare([("toy", 0)], options, out)
    assert "failed" not in result and "Not trained: " not in (out / "compare.md").read_text()


def row(name, score, seed=0):
    named = {"name": name, "dataset_miou": score, "seed": seed}
    return dict.fromkeys(comparison.COLUMNS, 1) | named


def test_the_most_accurate_comes_first():
    lines = comparison.table([row("a", 0.2), row("b", 0.9), row("c", 0.5)], [], []).split("\n")
    assert [line.split()[1] for line in lines if line.startswith("| ")][1:4] == ["b", "c", "a"]


def test_seeds_become_a_mean_and_half_their_range():
    rows = [row("a", 0.2), row("b", 0.6), row("a", 0.3, seed=1)]
    first, second = comparison.means(rows)
    assert (first["dataset_miou"], first["spread"]["dataset_miou"]) == pytest.approx((0.25, 0.05))
    assert (second["seeds"], second["dataset_miou"]) == (1, 0.6)
    table = comparison.table(rows, [], [])
    assert "0.250 ±0.050" in table and "| 0.600 |" in table


def claims_ask_of(monkeypatch, name):
    """Of a network for all columns but the gradient, for which it would need a backbone."""

    def asked(*columns):
        return set() if "gradient_share" in columns else {name}

    monkeypatch.setattr(measurements, "asked", asked)


@pytest.mark.long
def test_what_claims_ask_is_measured_where_they_do(here, options, tmp_path, monkeypatch):
    def refined(answer, pictures, size=None):  # one class for another
        return keras.ops.roll(answer(pictures, size), 2, -1)

    monkeypatch.setattr("tools.crf.refined", refined)
    claims_ask_of(monkeypatch, "toy")
    monkeypatch.setattr(compare, "time_steps", lambda *_: {"seconds_a_step": 1})
    sizes, at = [], Network.at
    monkeypatch.setattr(Network, "at", lambda self, size: sizes.append(size) or at(self, size))
    options += ["--height", "64", "--width", "64"]  # half of it is the least that a network takes
    one, other = compare.compare([("toy", 0), ("toy2", 0)], options, tmp_path / "one")
    assert 0 <= one["crf_boundary_f1"] <= 1 and one["crf_dataset_miou"] != one["dataset_miou"]
    assert {(32, 32), (128, 128)} <= set(sizes)
    assert 0 <= one["half_miou"] <= 1 >= one["double_miou"] >= 0
    assert measurements.SCALES == {"half": 0.5, "double": 2}
    assert not {"crf_dataset_miou", "double_miou", "half_miou", "pruned_miou"} & set(other)
    assert other["large_iou"] == one["large_iou"]
    small = [*options, "--height", "62"]
    assert "half_miou" not in compare.compare([("toy", 0)], small, tmp_path / "small")[0]


def test_classes_are_apart_by_their_share_of_the_picture():
    # Of 100 pixels 20 are of class 1, half of them right, and 5 of class 2, all of them right.
    found = measurements.by_size(np.array([[[75, 0, 0], [10, 10, 0], [0, 0, 5]]]))
    assert found == {"large_iou": 0.5, "small_iou": 1.0, "small_share": 2.0}
    assert measurements.by_size(np.array([[[75, 0], [0, 25]]])) == {"large_iou": 1.0}


@pytest.mark.long
def test_without_short_cuts_less_gradient_arrives_at_the_backbone(options, tmp_path):
    def share(name):
        own = [*options, "--narrow", "16", "--seed", "0"]
        settled = settle(training_arguments(name, own, tmp_path))
        network = replace(settled[0], classes=classes_of(settled[1]))
        return measurements.gradient_share(network, *settled[1:])

    whole = share("refinenet-resnet50")
    assert whole == pytest.approx(share("refinenet-resnet50"), rel=1e-3)
    assert 2 * share("refinenet-resnet50-without-shortcuts") < whole < 1


def test_a_unetplusplus_is_cut_off_behind_its_third_head():
    model = zoo.build("unetplusplus", (32, 48, 3), 3, {"width": 4})
    cut = measurements.cut_off(model)
    assert cut.output is model.get_layer("head3").output
    assert cut.count_params() < model.count_params() / 3
    assert (
        measurements.cut_off(cut) is None
        and measurements.cut_off(build_toy((32, 48, 3), 3)) is None
    )


@pytest.mark.long
def test_each_seed_has_a_folder_and_steps_are_timed_once(here, options, tmp_path):
    results = compare.compare([("toy", 0), ("toy", 1)], options, tmp_path)
    assert all((tmp_path / f"runs/{run}/result.json").exists() for run in ("toy", "toy-seed1"))
    assert ["seconds_a_step" in result for result in results] == [True, False]
    assert results[0]["dataset_miou"] != results[1]["dataset_miou"]


def test_what_no_preset_narrows_is_narrow():
    assert compare.options_of("fcn8s", 2, ["--x"], None) == ["--narrow", "4", "--x", "--seed", "2"]
    assert compare.options_of("fcn", 0, ["--x"], None) == ["--x", "--seed", "0"]
    luc = ["--narrow", "4", "--x", "--seed", "0", "--adversarial", "luc"]
    assert compare.options_of("fcn8s-luc", 0, ["--x"], None) == luc
    network, _, _ = settle(compare.training_arguments("fcn", compare.BUDGET.split(), "."))
    assert network.settings["filters"] == 256 // comparison.NARROW


def test_every_eighth_picture_has_labels_and_the_others_have_none(options, tmp_path):
    data, out = tmp_path / "data", tmp_path / "out"
    pictures = {f"{n}.png": make_picture(n, (40, 56)) for n in range(17)}
    write_store(data, pictures, [make_labels(n, (40, 56)) for n in range(17)])
    options = [*options, "--train-labels", "labels.npy"]
    words = compare.options_of("fcn8s-eighth-hung", 0, options, out)
    assert words[words.index("--unlabelled") + 1] == str(data)
    option, path = words[-6:-4]
    assert option == "--train-labels"
    few = open_labels(path, data)
    assert few.keys == ["0.png", "8.png", "16.png"]
    np.testing.assert_array_equal(few["8.png"], make_labels(8, (40, 56)))
    few.check_shapes(few.keys)  # the pictures are found
    few.path.write_bytes(b"")
    compare.options_of("fcn8s-eighth", 1, options, out)  # what is there is not written again
    assert not few.path.read_bytes()
    # But when the labels are others, or the folder was moved.
    labels = [make_labels(n + 1, (40, 56)) for n in range(17)]
    write_store(data, pictures, labels)
    compare.options_of("fcn8s-eighth", 1, options, out)
    np.testing.assert_array_equal(open_labels(path, data)["8.png"], labels[8])
    moved = tmp_path / "deep" / "out"
    moved.parent.mkdir()
    out.rename(moved)
    compare.options_of("fcn8s-eighth", 1, options, moved)
    few = open_labels(moved / "runs/eighth.npy", data)
    few.check_shapes(few.keys)


def test_an_option_counts_as_it_is_said_last():
    words = "--height 96 --no-grow --epochs 8 --epochs=3 --height 48".split()
    assert compare.merged(words) == ["--height", "48", "--no-grow", "--epochs=3"]
    assert compare.merged("--no-grow --seed 1 --grow".split()) == ["--grow", "--seed", "1"]
    args = compare.parse(["fcn", "--", "--epochs", "2"])
    assert args.options.count("--epochs") == 1 and "2" in args.options


def test_what_whole_kernels_cost():
    """On one map (2, 3) of 4 channels, 3 classes, k = 15: 2 x 3 x 15 x 15 x 4 x 3 more or less."""
    maps = keras.Input((2, 3, 4))
    scores = large_kernel(maps, 3, 15, "gcn5_kernel")
    model = keras.Model(maps, keras.layers.Conv2D(3, 1, name="pre_activation")(scores))
    whole = 2 * 3 * 15 * 15 * 4 * 3 + 2 * 3 * 3 * 3
    assert measurements.cost_of_whole_kernels(model) == pytest.approx(whole / 1e9)
    assert sum(row["gmac"] for row in stages(model)) < 0.3 * whole / 1e9


def test_what_patch_by_patch_costs():
    """As the docstring of zoo/sliding_window.py has it, at 480x640 and full width."""
    network = Network("sliding-window", (480, 640, 3), named(list("abcd")), {})
    assert measurements.cost_by_patches(network) == pytest.approx(41_308, rel=1e-3)


@pytest.mark.long
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM")
def test_ended_it_ends_what_it_trains(tmp_path):
    """A training that went on would be in the way of the next."""
    code = (
        "import sys, time; print('here', flush=True)\n"
        f"open({str(tmp_path / 'begun')!r}, 'w').close()\n"
        f"time.sleep(4); open({str(tmp_path / 'late')!r}, 'w').close()"
    )
    program = (
        f"import sys, signal; sys.path[:0] = {[str(SCRIPT.parent), str(compare.CHAPTER)]!r}\n"
        "from pathlib import Path\nfrom tools import compare\n"
        f"compare.compare = lambda *_: compare.run_logged([sys.executable, '-c', {code!r}], "
        f"Path({str(tmp_path / 'log.txt')!r}))\n"
        f"sys.argv = ['compare.py', 'fcn', '--out', {str(tmp_path / 'out')!r}]\ncompare.main()"
    )
    process = subprocess.Popen([sys.executable, "-c", program])
    end = time.monotonic() + 60
    while not (tmp_path / "begun").exists() and time.monotonic() < end:
        time.sleep(0.05)
    process.terminate()
    assert process.wait() == 128 + signal.SIGTERM
    time.sleep(4.5)
    assert (tmp_path / "begun").exists() and not (tmp_path / "late").exists()


def test_a_run_that_was_killed_early_has_older_weights_beside_it(tmp_path):
    for name, when in (("x-run1-best-iou.weights.h5", 1), ("x-best-iou.weights.h5", 2)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (when, when))
    assert measurements.best_of(tmp_path).name == "x-best-iou.weights.h5"


@pytest.mark.long
def test_a_crf_is_timed_where_claims_ask_for_it(here, options, tmp_path, monkeypatch):
    claims_ask_of(monkeypatch, "toy")
    (tmp_path / "toy").mkdir()
    own = [*options, "--seed", "0"]
    found = compare.time_steps("toy", own, tmp_path / "toy")
    assert found["crf_seconds_a_photo"] > found["seconds_a_photo"] > 0
    assert "seconds_a_photo" not in compare.time_steps("toy2", own, tmp_path / "toy")


@pytest.mark.long
def test_killed_while_it_is_timed_it_keeps_its_scores(here, options, tmp_path, monkeypatch, capsys):
    time_steps = compare.time_steps
    monkeypatch.setattr(compare, "time_steps", lambda *_: {"failed": "killed"})
    [result] = compare.compare([("toy", 0)], options, tmp_path)
    assert "failed" not in result and "toy has no times: killed" in capsys.readouterr().out
    page = (tmp_path / "compare.md").read_text()
    assert "| toy \\* | 2026 |" in page and "| not yet |" in page and "Not trained: " not in page
    monkeypatch.setattr(compare, "time_steps", time_steps)
    [result] = compare.compare([("toy", 0)], options, tmp_path)
    assert result["seconds_a_step"] > 0


def test_with_the_first_seed_failed_another_is_shown(here, options, tmp_path, monkeypatch):
    train = compare.train
    failing = {"toy": {"failed": "status 2: error: no memory."}}
    monkeypatch.setattr(
        compare,
        "train",
        lambda name, own, folder: failing.get(folder.name) or train(name, own, folder),
    )
    compare.compare([("toy", 0), ("toy", 1)], options, tmp_path)
    assert (tmp_path / "compare-samples-1.png").exists()


@pytest.mark.parametrize("words", [["--model", "fcn"], ["--seed=9"], ["--narrow", "8"]])
def test_what_each_run_has_of_its_own_is_not_given(words, capsys):
    with pytest.raises(SystemExit):
        compare.parse(["toy", "--", *words])
    assert f"{words[0].split('=')[0]} is not to be given behind --" in capsys.readouterr().err


def test_the_page_says_no_more_than_there_is():
    alone = comparison.table([row("segnet-basic", 0.2)], [], compare.BUDGET.split())
    assert "## What is said" not in alone and "places at 1/8" not in alone
    two = [row("deeplab-v2-vgg16", 0.2), row("deeplab-v1", 0.2)]
    both = comparison.table(two, [], compare.BUDGET.split())
    assert "| DeepLab v2 | ASPP catches" in both and "12×16 places at 1/8" in both
    assert "| FCN | takes pictures of any size | holds | `test_any_size`" in both


def test_the_page_says_where_fields_and_holes_are_wider_than_the_maps():
    rows = [row("deeplab-v1", 0.2) | {"field": 427}, row("unet", 0.3) | {"field": 100}]
    told = " ".join(comparison.limits(rows, compare.BUDGET.split()))
    assert "96×128 measure 160 pixels" in told and "The fields of 1 of the" in told
    assert "12×16 places at 1/8 and 6×8 at 1/16" in told
    assert "places" not in " ".join(comparison.limits(rows[1:], compare.BUDGET.split()))
    large = [*compare.BUDGET.split(), "--height", "320", "--width", "320"]
    assert comparison.limits(rows, large) == [] == comparison.limits(rows, [])


def test_the_page_says_what_is_trained_otherwise():
    row = {column: 0 for column in comparison.COLUMNS} | {"seed": 0, "options": []}
    page = comparison.table([row | {"name": "fcn8s-eighth-hung"}, row | {"name": "fcn8s"}], [], [])
    said = (
        "`fcn8s` with `--train-labels EVERY-EIGHTH --adversarial hung --unlabelled ALL-PICTURES`."
    )
    assert f"`fcn8s-eighth-hung` is {said}" in page and "`fcn8s` is" not in page


@pytest.mark.parametrize("below", ["", "deeper/still"])
def test_results_go_into_a_folder(below, tmp_path, capsys):
    (tmp_path / "x").touch()
    with pytest.raises(SystemExit):
        compare.parse(["toy", "--out", str(tmp_path / "x" / below)])
    assert f"{tmp_path / 'x'} is a file; name a folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--epoch", "1"], "unrecognized arguments: --epoch"),
        (["--list-models"], "options of a training alone"),
        (["--epochs", "none"], "--epochs"),
    ],
)
def test_options_that_are_none_are_told_before_anything_is_made(words, complaint, capsys):
    with pytest.raises(SystemExit):
        compare.parse(["toy", "--", *words])
    assert complaint in capsys.readouterr().err


def test_a_name_beside_all_is_looked_up_too(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["compare.py", "all", "nosuch", "--out", str(tmp_path)])
    monkeypatch.setattr(compare, "compare", lambda *_: pytest.fail("begun"))
    with pytest.raises(UserError, match="nosuch"):
        compare.main()


WHOLE = dict.fromkeys(comparison.MEASURED, 0.5) | {"name": "toy", "seed": 0, "options": []}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ([], "damaged.*delete it"),
        (3, "damaged.*delete it"),
        ({"a": 1}, "something is missing.*delete it"),
        ({k: v for k, v in WHOLE.items() if k != "gmac"}, "something is missing.*delete it"),
        (WHOLE | {"boundary_f1": float("nan")}, "no number.*delete it"),
        (WHOLE | {"name": "fcn8s"}, "is of fcn8s, seed 0; delete .*/toy, or give it back"),
        (WHOLE | {"seed": 2}, "is of toy, seed 2"),
    ],
)
def test_results_of_others_are_none(content, complaint, tmp_path):
    (tmp_path / "toy").mkdir()
    path = tmp_path / "toy/result.json"
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=complaint):
        comparison.read_result(tmp_path / "toy")
    path.write_text(json.dumps(WHOLE | {"field": float("inf")}))
    assert comparison.read_result(tmp_path / "toy")["seed"] == 0


def test_two_comparisons_are_not_at_one_run(here, options, tmp_path):
    with alone(tmp_path / "runs/toy/.lock", "first"):
        with pytest.raises(UserError, match="another comparison is at .*toy.*--out"):
            compare.compare([("toy", 0)], options, tmp_path)


def complain(*_):
    raise UserError("no memory; take less.")


@pytest.mark.long
def test_what_cannot_be_measured_has_failed():
    """And others are not held up by it."""
    assert compare.apart(complain, "toy", [], None) == {"failed": "no memory; take less."}
    found = compare.apart(int, "toy", [], None)
    assert found["failed"].startswith("TypeError: int() takes")


def test_failed_with_other_options_it_begins_anew(here, options, tmp_path, monkeypatch):
    monkeypatch.setattr(compare, "draw_all", lambda *_: None)
    monkeypatch.setattr(compare, "train", lambda *_: {"failed": "unrecognized arguments"})
    [result] = compare.compare([("toy", 0)], [*options, "--epochs", "7"], tmp_path)
    assert result["failed"]
    [result] = compare.compare([("toy", 0)], options, tmp_path)
    assert result["options"] == options
    # But what was learnt with them is not taken for that of these.
    (tmp_path / "runs/toy/x-last.weights.h5").touch()
    with pytest.raises(UserError, match="a run with other options"):
        compare.compare([("toy", 0)], [*options, "--epochs", "7"], tmp_path)


def test_the_command_line():
    args = compare.parse(["toy", "fcn", "--out", "x", "--", "--epochs", "3"])
    assert args.names == ["toy", "fcn"] and args.options == [
        *compare.BUDGET.replace("--epochs 8", "--epochs 3").split(),
    ]
    assert compare.parse(["all"]).options == compare.BUDGET.split()


def test_what_nothing_cheaper_beats_is_named():
    points = {"a": (1, 0.5), "b": (1, 0.4), "c": (2, 0.51), "d": (3, 0.7), "e": (9, 0.6)}
    rows = [{"name": n, "gmac": g, "dataset_miou": s} for n, (g, s) in points.items()]
    assert [row["name"] for row in comparison.front(rows)] == ["a", "d"]


def test_what_is_no_network_any_more_is_no_row(tmp_path):
    for name in ("toy", "fcn8s"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        result = dict.fromkeys(comparison.MEASURED, 0.5) | {"dataset_miou": 0.5}
        result |= {"name": name, "seed": 0, "options": []}
        (tmp_path / "runs" / name / "result.json").write_text(json.dumps(result))
    assert [row["name"] for row in comparison.results_in(tmp_path, [])] == ["fcn8s"]


def test_samples_are_shown_twenty_networks_a_page():
    assert comparison.sample_files(1) == ["compare-samples-1.png"]
    assert len(comparison.sample_files(20)) == 1 and len(comparison.sample_files(41)) == 3


def test_the_page_tells_what_sets_rows_apart():
    page = comparison.table([row("fcn16s", 0.3), row("fcn32s", 0.2)], [], [])
    assert "- `fcn16s`: skips = 1" in page and "- `fcn32s`" not in page


def test_what_has_hardly_learnt_is_marked():
    rows = [row("fcn16s", 0.9), row("fcn32s", 0.3)]
    rows = [each | {"background_miou": 0.2} for each in rows]
    page = comparison.table(rows, [], [])
    assert "| fcn32s \\* |" in page and "| fcn16s |" in page and "mIoU of 0.200: what is" in page


def test_of_the_rim_the_inside_is_not_counted():
    truth, predicted = np.zeros((40, 60), np.uint8), np.zeros((40, 60), np.uint8)
    predicted[10:30, 20:40] = 1  # wrong inside
    predicted[0, :5] = 1  # and five pixels at the side
    truth[1, 0] = 255
    counts = measurements.count_in_rim(truth, predicted, 2)
    rim = 40 * 60 - 36 * 54  # 2 rows, 3 columns of each side
    assert counts.tolist() == [[rim - 5 - 1, 5], [0, 0]]
