"""fcn-12.3.1.py as a reader runs it: from any folder, on a small data set that the test makes.

Six tests train; the others look at what was decided, or at a run whose steps are left out.
"""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from conftest import PROJECT, SCRIPT, run_script
from PIL import Image

import fast
import zoo
from callbacks import AccuracyCallback, RateScheduler
from engine.arguments import build_parser, parse_arguments
from engine.records import OPTIONS, PRESETS, TASKS
from engine.runs import Ledger, run_files
from engine.session import open_session, refuse_other_pictures
from engine.settings import checkpoint_of, choose_preset, settle
from engine.weights import read_configuration, read_network, read_pixels
from fast.folding import networks
from losses import LOSSES
from tools.segmenting import segment_pictures
from utils.classes import Classes, named
from utils.errors import UserError
from utils.generate_gt_segmentation import make_labels
from utils.history import read_rows
from utils.reading import Reading, write_decisions

TINY = ["--backbone", "resnet8v1", "--layers", "1", "--filters", "4", "--height", "32"]
TINY += ["--width", "48", "--precision", "float32", "--workers", "2", "--batch-size", "2"]
NAMED = ["--backbone", "resnet8v1", "--layers", "1"]  # what the names of the files are made of

CHAPTER_OPTIONS = (
    "--layers --batch-size --epochs --workers --backbone --train --summary --save-dir --dataset "
    "--height --width --channels --data-path --train-labels --test-labels --restore-weights "
    "--evaluate --image-file --plot --verbose"
).split()
FLAT = {"chapter_miou": 0.5, "dataset_miou": 0.5, "pixel_accuracy": 0.5}


def via_project(folder, split, number, first):
    """`number` pictures with one red square each, and the VIA project that outlines it."""
    metadata = {}
    for index in range(first, first + number):
        name, left = f"{index:07}.jpg", 4 + 3 * (index % 5)
        picture = np.full((40, 60, 3), 90, np.uint8)
        picture[10:30, left : left + 20] = (220, 30, 30)
        Image.fromarray(picture).save(folder / name, quality=95)
        corners = {
            "all_points_x": [left, left + 19, left + 19, left],
            "all_points_y": [10, 10, 29, 29],
        }
        region = {
            "shape_attributes": {"name": "polygon", **corners},
            "region_attributes": {"Name": "1"},
        }
        metadata[name] = {"filename": name, "size": -1, "regions": [region], "file_attributes": {}}
    project = {"_via_settings": {}, "_via_img_metadata": metadata, "_via_attributes": {}}
    (folder / f"segmentation_{split}.json").write_text(json.dumps(project))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("squares")
    (folder / "classes.json").write_text(json.dumps(["background", "square"]))
    via_project(folder, "train", 6, 1)
    via_project(folder, "test", 2, 10001)
    return folder


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """Two epochs, from a folder that is not the project's; returns (save-dir, what was printed)."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    options = [*TINY, "--epochs", "2", "--augment", "mild", "--data-path", str(data)]
    options += ["--optimizer", "sgd", "--no-grow", "--pictures-per-epoch", "6"]  # as soon as can be
    result = subprocess.run(
        [
            sys.executable,
            str(SCRIPT),
            "--train",
            *options,
            "--save-dir",
            str(elsewhere / "weights"),
        ],
        cwd=elsewhere,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert sorted(path.name for path in elsewhere.iterdir()) == ["weights"]
    assert result.stderr == "", "a run that goes well prints no warnings"
    return elsewhere / "weights", result.stdout


@pytest.fixture
def best(trained):
    """The weights that `trained` left."""
    (weights,) = trained[0].glob("*-best-iou.weights.h5")
    return weights


@pytest.fixture
def stepless(monkeypatch):
    """Training leaves out its steps: every epoch is written down with the same scores.

    Returns what each stage was given: (model, callbacks, the last epoch).
    """
    given = []

    def train(model, data, callbacks, ledger, epochs, verbose=True):
        given.append((model, callbacks, epochs))
        for epoch in range(len(ledger.rows), epochs):
            if ledger.best[0] < FLAT["chapter_miou"]:
                ledger.save_best(model, FLAT["chapter_miou"], epoch)
            ledger.record(model, epoch, {"loss": 1, "learning_rate": 1, "seconds": 0, **FLAT})

    monkeypatch.setattr("engine.trainer.train", train)
    return given


def decide(*arguments):
    """The records that a command line ends in."""
    return settle(parse_arguments([str(argument) for argument in arguments]))


@pytest.fixture(autouse=True)
def as_before(policy, plain):
    """Precision and fast path are as before after a test that decides."""


def history(folder):
    return read_rows(next(folder.glob("*-history.csv")))


# --- arguments ------------------------------------------------------------------------------------


def test_the_chapters_options_are_all_there():
    known = {name for action in build_parser()._actions for name in action.option_strings}
    assert len(CHAPTER_OPTIONS) == 20
    assert set(CHAPTER_OPTIONS) | {"-t", "-e"} <= known


def test_every_row_of_the_table_is_an_option():
    known = {action.dest for action in build_parser()._actions} - {"help"}
    assert known == set(OPTIONS)
    assert {about["task"] for about in OPTIONS.values()} - {None} <= set(TASKS)
    assert all(about["help"] for about in OPTIONS.values())


def flags_in(page):
    return set(re.findall(r"^ +(?:-\w, )?(--[a-z-]+)", page, re.MULTILINE))


def test_help_fits_a_screen_and_every_option_is_listed_somewhere(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    pages = {}
    for option in ("-h", "--help", "--help-all"):
        with pytest.raises(SystemExit) as stop:
            parse_arguments([option])
        assert not stop.value.code
        pages[option] = capsys.readouterr().out
    brief, whole = pages["--help"], pages["--help-all"]
    assert pages["-h"] == brief and len(brief.splitlines()) <= 45
    assert max(map(len, brief.splitlines())) <= 100
    every = {"--" + name.replace("_", "-") for name in OPTIONS} | {"--help", "--help-all"}
    assert flags_in(whole) == every > flags_in(brief)
    assert {"--train", "--data-path", "--preset", "--image-file", "--help-all"} <= flags_in(brief)
    assert [f"{task}:" in whole for task in TASKS] == [True] * len(TASKS)


def test_what_help_leaves_out_is_heard():
    assert parse_arguments(["--train", "--accumulate", "3"]).accumulate == 3


def test_the_chapters_defaults():
    network, data, run = decide("--train", "--preset", "book")
    assert network.settings == {"backbone": "resnet56v2", "layers": 3, "filters": 256}
    assert (data.batch_size, run.epochs) == (4, 100)
    assert (network.input_shape, run.size) == ((480, 640, 3), (480, 640))
    assert (data.train_labels, data.test_labels) == (
        "segmentation_train.npy",
        "segmentation_test.npy",
    )
    assert data.data_path.name == data.dataset == "drinks" and run.save_dir.name == "weights"
    assert run.verbose == 1 and run.restore_weights is None and run.image_file is None
    files = run_files(network, data, run)
    assert files.best.name == "ResNet56v2-3layer-drinks-best-iou.weights.h5"


def test_auto_goes_by_the_gpu():
    for gpu, preset in (("Some GPU", "full"), (None, "quick")):
        values = {"train": True}
        sentence = choose_preset(values, gpu)
        assert values["preset"] == preset and preset in sentence
        assert (gpu or "no GPU") in sentence
    network, data, run = decide("--train", "--preset", "auto")
    assert run.preset in PRESETS and network.size == run.size


def test_the_command_line_goes_before_the_preset():
    options = ["--epochs", "7", "--augment", "none", "--width", "64", "--preset", "quick"]
    network, data, run = decide("--train", *options)
    assert (run.epochs, network.size, data.augment) == (7, (160, 64), "none")
    assert run.schedule_epochs == 7, "the rate falls over the epochs of the run"


@pytest.mark.parametrize(
    "arguments",
    [
        "--train --epochs x",
        "--train --epochs 0",
        "--train --layers 0",
        "--train --height 31",
        "--train --channels 17",
        "--train --precision float8",
        "--train --validation-split 1",
        "--train --augment wild",
        "--train --unheard-of",
        "--evaluate",
        "--train --image-file x.jpg",
        "--evaluate --resume --restore-weights x.h5",
        "--train --plot",
        "--train --tta flip",
        "--evaluate --restore-weights x.h5 --tta mirror",
        "--evaluate --restore-weights x.h5 --tiles --tta scales",
        "--train --boundary",
        "--train --normalisation frozen",
        "--train --narrow 2 --filters 8",
        "--train --narrow 1",
        "--train --accumulate 0",
        "--train --weight-decay -1",
        "--train --seed 4294967296",
        "--train --layers 9",
        "--train --dataset ../elsewhere",
        "--train --resume --restore-weights x.h5",
        "--train --grow --restore-weights x.h5",
        "--train --schedule cosine",
        "--train --class-weights mean",
        "--train --class-weights 1,-2",
        "--train --class-weights 0,0",
        "",
    ],
)
def test_wrong_values_get_one_line_and_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        parse_arguments(arguments.split())
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_weights_of_classes_are_a_number_each(data, tmp_path, stepless):
    options = ["--train", *TINY, "--epochs", "1", "--data-path", data, "--save-dir", tmp_path]
    run_script(*options, "--class-weights", "1,2.5")
    [(model, _, _)] = stepless
    assert model.loss.class_weights == [1, 2.5]
    with pytest.raises(UserError, match=r"1,2,3 has 3 numbers, and there are 2 classes \(ba"):
        run_script(*options, "--class-weights", "1,2,3")


def test_poly_leaves_the_rate_to_the_steps(data, tmp_path, stepless):
    options = ["--train", *TINY, "--epochs", "2", "--data-path", data, "--save-dir", tmp_path]
    run_script(*options, "--schedule", "poly")
    model, callbacks, _ = stepless[-1]
    model.optimizer.iterations.assign(1)
    rate = float(model.optimizer.learning_rate)
    for callback in callbacks:
        callback.set_model(model)
    [rates] = [each for each in callbacks if isinstance(each, RateScheduler)]
    rates.on_epoch_begin(0)
    assert float(model.optimizer.learning_rate) == rate < decide(*options)[2].learning_rate


def test_help_imports_nothing_heavy():
    code = (
        "import runpy, sys\n"
        f"sys.argv = [{str(SCRIPT)!r}, '--help']\n"
        "try:\n"
        f"    runpy.run_path({str(SCRIPT)!r}, run_name='__main__')\n"
        "except SystemExit as stop:\n"
        "    assert not stop.code\n"
        "heavy = {'keras', 'tensorflow', 'numpy', 'skimage', 'matplotlib', 'PIL', 'h5py'}\n"
        "sys.exit(repr(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "--restore-weights" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["--train", "--backbone", "vgg16"], "vgg16"),
        (["--train", "--model", "fcnn"], "no network 'fcnn'.*fcn"),
        (["--train", "--data-path", "no/such/folder"], "no/such/folder"),
        (["--evaluate", "--restore-weights", "none.h5"], "none.h5"),
        (["--train", "--start-from", "no.h5"], r"weights no\.h5 are neither a file nor a name"),
        (["--train", "--resume", "--dataset", "never-trained"], "finds no .*never-trained"),
    ],
)
def test_what_is_missing_is_named(arguments, names, tmp_path, stepless):
    with pytest.raises(UserError, match=names):
        run_script(*arguments, "--save-dir", tmp_path)


@pytest.mark.parametrize(
    "options, rate",
    [
        (["--preset", "book"], 1e-3),
        (["--preset", "quick"], 6e-3),
        (["--preset", "quick", "--optimizer", "adam"], 1e-3),
        (["--preset", "book", "--optimizer", "muon"], 6e-3),
        (["--optimizer", "sgd"], 1e-2),
        (["--preset", "quick", "--optimizer", "adam", "--learning-rate", "0.5"], 0.5),
    ],
)
def test_each_optimizer_has_its_own_rate(options, rate):
    assert decide("--train", *options)[2].learning_rate == rate


@pytest.mark.parametrize("value", ["0", "-1", "inf", "nan", "fast"])
def test_learning_rates_that_are_none(value, capsys):
    with pytest.raises(SystemExit):
        parse_arguments(["--train", "--learning-rate", value])
    assert "not a number above 0" in capsys.readouterr().err


@pytest.mark.parametrize("options", [["--evaluate"], ["--train", "--resume"]])
def test_start_from_goes_with_a_new_training_alone(options):
    with pytest.raises(SystemExit):
        parse_arguments([*options, "--start-from", "a.weights.h5"])


@pytest.mark.parametrize("option", ["--segment", "--data-path", "--prediction-dir"])
def test_an_empty_text_is_not_the_folder_where_one_is(option, capsys):
    with pytest.raises(SystemExit):
        parse_arguments([*([] if option == "--segment" else ["--segment", "a"]), option, ""])
    assert f"argument {option}: an empty text names no file" in capsys.readouterr().err


def test_a_folder_after_an_equals_sign_may_begin_at_home():
    args = parse_arguments(["--train", "--save-dir=~/runs", "--data-path=~/photographs"])
    assert args.save_dir == Path.home() / "runs"
    assert args.data_path == Path.home() / "photographs"
    args = parse_arguments(["--evaluate", "--restore-weights=x.h5", "--image-file", "~nobody.jpg"])
    assert args.image_file == [Path("~nobody.jpg")]


def test_a_summary_is_of_the_network_that_would_be_trained(data, capsys):
    for asked in ([], ["--preset", "book"], ["--model", "unet-same", "--narrow", "8"]):
        asked = [*asked, "--data-path", data]
        described, trained = decide("--summary", *asked)[0], decide("--train", *asked)[0]
        assert described == trained
    printed = capsys.readouterr().out.splitlines()
    first, second = [line for line in printed if line.startswith("preset ")][:2]
    assert first == second and first.startswith("preset few")
    assert decide("--summary", "--preset", "book")[0].settings["filters"] == 256


def test_a_summary_counts_the_classes_of_the_data(tmp_path, capsys):
    """For another number of them the last layer is another."""
    via_project(tmp_path, "train", 2, 1)
    text = (tmp_path / "segmentation_train.json").read_text()
    (tmp_path / "segmentation_train.json").write_text(text.replace('"Name": "1"', '"Name": "cat"'))
    options = ["--summary", *TINY, "--data-path", tmp_path, "--prediction-dir", tmp_path / "drawn"]
    run_script(*options)
    printed = capsys.readouterr().out
    assert "# of classes 2" in printed and "Output Shape" not in printed
    (tmp_path / "classes.json").write_text(json.dumps(["background", *"abcde"]))
    run_script(*options, "--verbose", "2")
    layers = capsys.readouterr().out
    assert "# of classes 6" in layers and "Output Shape" in layers
    assert "32x48x6" in layers and "32x48x2" in printed
    with pytest.raises(UserError, match="the data folder nowhere"):
        run_script("--summary", "--data-path", "nowhere")


# --- from annotations to pictures -----------------------------------------------------------------


@pytest.mark.long
def test_training_makes_labels_and_tells_what_it_does(data, trained):
    folder, printed = trained
    assert (data / "segmentation_train.npy").is_file()
    assert "preset quick" in printed and "# of classes 2" in printed and "a step" in printed
    assert [line[:9] for line in printed.splitlines() if line.startswith("epoch")] == [
        "epoch 1/2",
        "epoch 2/2",
    ]
    name = f"ResNet8v1-1layer-{data.name}"
    assert read_pixels(folder / f"{name}-best-iou.weights.h5") == 40 * 60
    for ending in ("best-iou.weights.h5", "last.weights.h5", "configuration.json", "history.csv"):
        assert (folder / f"{name}-{ending}").is_file()


def test_evaluation_prints_the_chapters_lines_and_leaves_the_history(
    data, trained, capsys, tmp_path
):
    folder, _ = trained
    (history,) = folder.glob("*-history.csv")
    before = history.read_bytes()
    weights = f"ResNet8v1-1layer-{data.name}-best-iou.h5"  # the name that the book would give it
    arguments = ["--evaluate", "--restore-weights", weights, "--save-dir", folder]
    run_script(*arguments, "--data-path", data, "--plot", "--prediction-dir", tmp_path)
    printed = capsys.readouterr().out
    assert "0010001.jpg: 2 objs, miou=" in printed and "dataset mIoU" in printed
    assert "IoU square" in printed
    assert f"Weights {folder / weights.replace('.h5', '.weights.h5')}, 32x48" in printed
    assert history.read_bytes() == before
    mask = Image.open(tmp_path / "0010001.jpg-mask.png")
    assert mask.mode == "P" and mask.size == (60, 40)
    assert (tmp_path / "0010002.jpg-segmentation.png").is_file()


def test_pictures_are_segmented_without_a_data_set(best, tmp_path, capsys):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name, size in (("wide.png", (97, 41)), ("tall.png", (33, 90))):
        Image.new("RGB", size, (220, 30, 30)).save(pictures / name)
    arguments = ["--evaluate", "--restore-weights", best, "--data-path", tmp_path / "nowhere"]
    out = tmp_path / "out"
    run_script(*arguments, "--image-file", pictures, pictures / "wide.png", "--prediction-dir", out)
    assert Image.open(out / "wide.png-mask.png").size == (97, 41)
    assert Image.open(out / "tall.png-mask.png").size == (33, 90)
    assert "tall.png: " in capsys.readouterr().out


def test_pictures_are_segmented_without_a_word(data, best, tmp_path, capsys):
    run_script("--evaluate", "--restore-weights", best, "--image-file", data / "0000001.jpg",
               "--prediction-dir", tmp_path, "--verbose", "0")  # fmt: skip
    assert not capsys.readouterr().out
    assert (tmp_path / "0000001.jpg-mask.png").is_file()


def test_what_cannot_be_read_costs_no_other_picture(best, tmp_path, capsys):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name in ("a.png", "c.png"):
        Image.new("RGB", (33, 47)).save(pictures / name)
    (pictures / "b.png").write_bytes((pictures / "a.png").read_bytes()[:60])
    (pictures / "d.HEIC").touch()
    arguments = ["--evaluate", "--restore-weights", best, "--prediction-dir", tmp_path / "out"]
    with pytest.raises(UserError, match=r"1 of 3 pictures could not be read, b\.png"):
        run_script(*arguments, "--image-file", pictures)
    assert (tmp_path / "out" / "c.png-mask.png").is_file()
    printed = capsys.readouterr().err
    assert "b.png cannot be read" in printed and "d.HEIC" in printed


@pytest.mark.parametrize(
    ("names", "complaint"),
    [(["background", "cat", "dog"], "2 classes"), (["background", "cat"], "'square'.*'cat'")],
)
def test_weights_of_other_classes_are_refused(best, tmp_path, names, complaint):
    via_project(tmp_path, "test", 1, 1)
    (tmp_path / "classes.json").write_text(json.dumps(names))
    with pytest.raises(UserError, match=complaint):
        run_script("--evaluate", "--restore-weights", best, "--data-path", tmp_path)


def test_test_pictures_of_other_classes_do_not_pick_weights(tmp_path):
    for split, names in (("train", ["background", "cat"]), ("test", ["background", "dog"])):
        folder = tmp_path / split
        folder.mkdir()
        via_project(folder, split, 2, 1)
        (folder / "classes.json").write_text(json.dumps(names))
    labels = ["--train-labels", "train/segmentation_train.npy"]
    labels += ["--test-labels", "test/segmentation_test.npy", "--validation-split", "0"]
    with pytest.raises(UserError, match="'cat'.*'dog'"):
        run_script("--train", *TINY, *labels, "--data-path", tmp_path, "--save-dir", tmp_path)


def test_both_sets_are_checked_before_the_first_step(tmp_path, stepless):
    """Test labels of other classes once ended a whole training."""
    for split, names in (("train", ["background", "cat"]), ("test", ["background", "dog"])):
        folder = tmp_path / split
        folder.mkdir()
        via_project(folder, split, 2, 1)
        (folder / "classes.json").write_text(json.dumps(names))
    labels = ["--train-labels", "train/segmentation_train.npy", "--data-path", tmp_path]
    options = ["--train", *TINY, *labels, "--save-dir", tmp_path, "--epochs", "1"]
    with pytest.raises(UserError, match="'cat'.*'dog'"):
        run_script(*options, "--test-labels", "test/segmentation_test.npy")
    with pytest.raises(UserError, match=r"none\.npy does not exist"):
        run_script(*options, "--evaluate", "--test-labels", "none.npy")
    assert not stepless
    run_script(*options, "--test-labels", "none.npy")  # who only trains needs none
    assert len(stepless) == 1


@pytest.fixture
def parts(tmp_path):
    """A folder with an export in each of train/, val/ and test/."""
    for part, number, first in (("train", 5, 1), ("val", 3, 101), ("test", 2, 201)):
        (tmp_path / part).mkdir()
        via_project(tmp_path / part, part, number, first)
        export = tmp_path / part / f"segmentation_{part}.json"
        export.rename(tmp_path / part / "via_project.json")
    (tmp_path / "classes.json").write_text(json.dumps(["background", "square"]))
    return tmp_path


@pytest.mark.long
def test_parts_in_folders_are_found_and_val_chooses(parts, tmp_path, stepless, capsys):
    options = ["--data-path", parts, "--save-dir", tmp_path / "run", "--epochs", "1"]
    run_script("--train", "--evaluate", *TINY, *options)
    printed = capsys.readouterr().out
    assert "5 of train/via_project.json to train on" in printed
    assert "3 of val/via_project.json choose the best weights" in printed
    assert "mean over 2 pictures" in printed, "test/ was scored"
    (weights,) = (tmp_path / "run").glob("*-best-iou.weights.h5")
    run_script("--evaluate", "--restore-weights", weights, "--data-path", parts)
    assert "mean over 2 pictures" in capsys.readouterr().out
    resume = ["--train", "--resume", *NAMED, *options[:4], "--epochs", "2"]
    _, again, _ = decide(*resume)
    assert again.val_labels == "val/via_project.json"
    with pytest.raises(UserError, match="--val-labels val/via_project.json, not x.json"):
        decide(*resume, "--val-labels", "x.json")


def test_without_tests_val_is_scored_and_a_part_of_train_chooses(parts, tmp_path, stepless, capsys):
    shutil.rmtree(parts / "test")
    options = ["--data-path", parts, "--save-dir", tmp_path / "run", "--epochs", "1"]
    run_script("--train", "--evaluate", *TINY, *options)
    printed = capsys.readouterr().out
    assert "4 of train/via_project.json to train on, 1 of it choose the best weights" in printed
    assert "--evaluate scores val/via_project.json" in printed
    assert "mean over 3 pictures" in printed


def test_who_says_what_chooses_is_heard(parts, tmp_path, stepless, capsys):
    assert (
        decide("--train", "--data-path", parts, "--validation-split", "0.2")[1].val_labels is None
    )
    with pytest.raises(SystemExit):
        parse_arguments(["--train", "--val-labels", "x.json", "--validation-split", "0.2"])
    assert "--val-labels takes the place of --validation-split" in capsys.readouterr().err
    for path in (parts / "val").glob("*.jpg"):
        shutil.copy(path, parts)
    labels = shutil.copy(parts / "val" / "via_project.json", parts / "chooses.json")
    run_script("--train", *TINY, "--data-path", parts, "--val-labels", labels.name, "--epochs", "1",
               "--save-dir", tmp_path / "run")  # fmt: skip
    assert "3 of chooses.json choose the best weights" in capsys.readouterr().out
    (parts / "val" / "another.json").write_text("{}")
    (parts / "train" / "another.json").write_text("{}")
    (parts / "test" / "another.json").write_text("{}")
    with pytest.raises(UserError, match="another.json.*say which is meant with --train-labels"):
        decide("--train", "--data-path", parts)
    decide("--evaluate", "--restore-weights", next((tmp_path / "run").glob("*-best*")),
           "--image-file", parts / "0000101.jpg", "--data-path", parts)  # fmt: skip


def test_what_chooses_has_the_classes_of_training(parts, tmp_path, stepless):
    (parts / "val" / "classes.json").write_text(json.dumps(["background", "cat"]))
    options = ["--data-path", parts, "--save-dir", tmp_path / "run", "--epochs", "1"]
    with pytest.raises(UserError, match="'square'.*'cat'"):
        run_script("--train", *TINY, *options)


def test_edited_colours_and_the_scale_of_training_are_those_of_prediction(
    data, best, tmp_path, monkeypatch
):
    seen = []

    def segment(ask, pictures, *others, real=segment_pictures):
        seen.extend(pictures)
        real(ask, seen, *others)

    monkeypatch.setattr("tools.segmenting.segment_pictures", segment)
    shutil.copytree(data, tmp_path / "data")
    colours = [(0, 0, 0), (1, 200, 3)]
    classes = Classes(("background", "square"), tuple(colours))
    write_decisions(tmp_path / "data" / "classes.json", classes, Reading())
    weights = shutil.copy(best, tmp_path)
    with h5py.File(weights, "a") as file:
        configuration = json.loads(file.attrs["configuration"])
        configuration["reading"] = {"scale": [0, 4095]}
        file.attrs["configuration"] = json.dumps(configuration)
    picture = np.asarray(Image.open(data / "0000001.jpg").convert("L"))
    Image.fromarray(picture).save(tmp_path / "shallow.png")
    Image.fromarray((picture * (4095 / 255)).round().astype(np.uint16)).save(tmp_path / "deep.png")
    files = ["--image-file", tmp_path / "shallow.png", tmp_path / "deep.png"]
    options = ["--data-path", tmp_path / "data", "--prediction-dir", tmp_path]
    run_script("--evaluate", "--restore-weights", weights, *files, *options)
    assert Image.open(tmp_path / "shallow.png-mask.png").getpalette()[3:6] == [1, 200, 3]
    (_, shallow, _), (_, deep, _) = seen
    np.testing.assert_array_equal(shallow, deep)
    run_script("--evaluate", "--restore-weights", weights, *files, *options, "--scale", 0, 65535)
    assert seen[-1][1].max() < deep.max() / 10  # as it is asked for now


def test_annotations_without_a_picture_are_refused(tmp_path):
    via_project(tmp_path, "train", 0, 1)
    (tmp_path / "classes.json").write_text(json.dumps(["background", "square"]))
    with pytest.raises(UserError, match="lists no picture"):
        run_script("--train", *TINY, "--data-path", tmp_path, "--save-dir", tmp_path)


def test_data_without_objects_is_refused(tmp_path):
    via_project(tmp_path, "train", 3, 1)
    (tmp_path / "segmentation_train.json").write_text(
        (tmp_path / "segmentation_train.json").read_text().replace('"Name": "1"', '"Name": "0"')
    )
    with pytest.raises(UserError, match="no class but the background"):
        run_script("--train", *TINY, "--data-path", tmp_path, "--save-dir", tmp_path)


@pytest.mark.long
def test_a_view_is_asked_for(best, data, monkeypatch):
    seen = []
    monkeypatch.setattr("tools.views.flip", lambda model: seen.append(model) or model)
    arguments = ["--evaluate", "--restore-weights", best, "--data-path", data]
    run_script(*arguments)
    assert not seen
    run_script(*arguments, "--tta", "flip")
    assert len(seen) == 1


@pytest.mark.long
def test_borders_are_scored_and_pictures_looked_at_in_several_sizes(best, data, capsys):
    arguments = ["--evaluate", "--restore-weights", best, "--data-path", data]
    run_script(*arguments, "--boundary", "--tta", "flip,scales")
    printed = capsys.readouterr().out
    assert "mean over 2 pictures" in printed
    assert "boundary F1  " in printed and "trimap mIoU  " in printed


@pytest.mark.long
def test_plain_layers_give_the_same_scores(best, data, capsys):
    arguments = ["--evaluate", "--restore-weights", best, "--data-path", data]
    printed = []
    for options in ([], ["--plain"]):
        run_script(*arguments, *options, "--precision", "float32")
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1] and "dataset mIoU" in printed[0]
    decide(*arguments, "--plain")
    assert not fast.is_on()


def test_maps_of_another_size_than_their_pictures_are_plotted(data, best, tmp_path):
    for path in (*data.glob("*.jpg"), data / "segmentation_test.json", data / "classes.json"):
        shutil.copy(path, tmp_path)
    make_labels(tmp_path / "segmentation_test.json", size=(20, 30), progress=False)
    run_script("--evaluate", "--plot", "--restore-weights", best, "--data-path", tmp_path,
               "--prediction-dir", tmp_path / "drawn")  # fmt: skip
    assert len(list((tmp_path / "drawn").glob("*-segmentation.png"))) == 2


# --- runs that are interrupted, resumed, restored -------------------------------------------------


class Killed(BaseException):
    """What a kill is to a test."""


def kill_after(monkeypatch, epochs):
    """The program ends when so many epochs are written down."""

    def record(self, model, epoch, numbers, real=Ledger.record):
        real(self, model, epoch, numbers)
        if len(self.rows) == epochs:
            raise Killed

    monkeypatch.setattr("engine.runs.Ledger.record", record)


@pytest.mark.long
def test_a_run_that_grows_and_is_killed_twice_equals_one_in_one_go(
    data, tmp_path, capsys, monkeypatch
):
    """Four epochs, two of them small; killed among the small ones and within the large ones.

    From the command line: the options have to come back, too.
    """
    grow = [*TINY[:6], "--height", "64", "--width", "64", "--precision", "float32"]
    grow += ["--grow", "--augment", "mild", "--pictures-per-epoch", "4", "--batch-size", "2"]
    # SGD's step is compiled in a fourth of the time of Muon's, once for each size and run.
    grow += ["--preset", "quick", "--optimizer", "sgd", "--data-path", data, "--epochs", "4"]
    run_script("--train", "--evaluate", *grow, "--save-dir", tmp_path / "whole")
    printed = capsys.readouterr().out
    assert "Going on at 64x64 after epoch 2" in printed
    assert "mean over 2 pictures" in printed, "--evaluate scored the test pictures"
    folder = tmp_path / "parts"
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_after(patch, 1)
        run_script("--train", *grow, "--save-dir", folder)
    (best,), (last,) = folder.glob("*-best-iou.weights.h5"), folder.glob("*-last.weights.h5")

    # What is left by then is a network of the small size.
    assert read_network(best).size == (32, 32) and read_network(last).size == (64, 64)
    network, _, run = decide("--train", "--restore-weights", best)
    assert network.size == run.size == (64, 64), "training goes on at the size that was meant"
    assert decide("--evaluate", "--restore-weights", best)[0].size == (32, 32)

    resume = ["--train", "--resume", *NAMED, "--data-path", data, "--save-dir", folder]
    with pytest.raises(UserError, match="--seed 0, not 7"):
        decide(*resume, "--seed", "7")
    capsys.readouterr()
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_after(patch, 3)
        run_script(*resume)
    printed = capsys.readouterr().out
    assert "after epoch 1, to epoch 4" in printed
    assert "64x64, batch 2, float32" in printed  # remembered, not the preset's
    run_script(*resume)

    whole, parts = history(tmp_path / "whole"), history(folder)
    assert [(row["run"], row["epoch"]) for row in parts] == [(1, 1), (1, 2), (1, 3), (1, 4)]
    for one, other in zip(whole, parts, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], abs=1e-5)
        assert one["learning_rate"] == pytest.approx(other["learning_rate"])
        assert one["chapter_miou"] == pytest.approx(other["chapter_miou"], abs=1e-5)
    with h5py.File(last) as resumed, h5py.File(tmp_path / "whole" / last.name) as expected:
        different = []

        def compare(path, item):
            if isinstance(item, h5py.Dataset):
                if not np.allclose(item[()], resumed[path][()], atol=1e-6):
                    different.append(path)

        expected.visititems(compare)
    assert not different
    with pytest.raises(UserError, match="has all of its 4 epochs; raise --epochs"):
        run_script(*resume)


@pytest.mark.long
def test_another_network_goes_the_same_way(data, tmp_path, toy, capsys):
    """The engine and the tools know no architecture."""
    options = ["--model", "toy", "--data-path", data, "--save-dir", tmp_path, "--epochs", "1"]
    options += ["--height", "32", "--width", "48", "--batch-size", "2", "--precision", "float32"]
    run_script("--train", "--evaluate", "--summary", "--preset", "quick", "--grow", *options)
    printed = capsys.readouterr().out
    assert "mean over 2 pictures" in printed and "pre_activation" in printed
    weights = tmp_path / f"toy-{data.name}-best-iou.weights.h5"
    assert read_network(weights).settings == {"width": 4}
    run_script("--evaluate", "--restore-weights", weights, "--data-path", data, "--tta", "flip",
               "--portrait", "--prediction-dir", tmp_path)  # fmt: skip
    assert (tmp_path / "portrait.png").is_file()
    # Its setting `width` is not the pictures'.
    folders = ["--data-path", data, "--save-dir", tmp_path]
    network, _, _ = decide("--train", "--resume", "--model", "toy", *folders)
    assert network.size == (32, 48) and network.settings == {"width": 4}
    for size in ([], ["--height", "40", "--width", "56"]):
        network, _, _ = decide("--train", "--restore-weights", weights, *size)
        assert network.size == ((40, 56) if size else (32, 48))
        assert network.settings == {"width": 4}
    with pytest.raises(UserError, match="network toy has no --layers; leave it out"):
        decide("--train", "--model", "toy", "--layers", "2")
    with pytest.raises(UserError, match="--model toy, not fcn; leave out --model"):
        decide("--train", "--model", "fcn", "--restore-weights", weights)


@pytest.mark.parametrize(
    "option, value, complaint",
    [("--filters", 5, "--filters 4, not 5"), ("--layers", 2, "--layers 1, not 2")]
    + [("--channels", 1, "--channels 3, not 1")],
)
def test_what_a_weights_file_says_is_not_contradicted(best, option, value, complaint):
    with pytest.raises(UserError, match=f"{best.name} holds a network with {complaint}"):
        decide("--evaluate", "--restore-weights", best, option, value)


def test_weights_can_be_evaluated_at_another_size(best):
    network, _, _ = decide("--evaluate", "--restore-weights", best, "--height", 96)
    assert network.size == (96, 48)


def test_weights_of_the_books_code_are_described_by_the_command_line():
    fixture = PROJECT / "tests" / "fixtures" / "keras2-resnet11v2-2layer.h5"
    asked = ["--backbone", "resnet11v2", "--layers", "2", "--filters", "8"]
    network, _, _ = decide("--evaluate", "--restore-weights", fixture, *asked)
    assert network.settings == {"backbone": "resnet11v2", "layers": 2, "filters": 8}
    assert network.input_shape == (480, 640, 3) and len(network.classes) == 3
    with pytest.raises(UserError, match="--model fcn, not segnet"):
        decide("--evaluate", "--restore-weights", fixture, "--model", "segnet")
    network, _, _ = decide("--evaluate", "--restore-weights", fixture)
    assert network.settings == {"backbone": "resnet56v2", "layers": 3, "filters": 256}


def test_the_listing_builds_what_the_zoo_builds():
    specification = importlib.util.spec_from_file_location("fcn", SCRIPT)
    script = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(script)
    network = replace(decide("--summary", *TINY)[0], classes=named(["background", "square"]))
    configurations = []
    for build in (script.build_model, lambda network: network.build()):
        keras.utils.clear_session()  # inputs are numbered
        configurations.append(json.dumps(build(network).get_config(), default=str))
    assert configurations[0] == configurations[1]


def test_a_run_is_found_by_what_its_preset_chose(tmp_path):
    """`full` has four levels, and nobody says so; of two runs the one with the preset's."""

    def found(*said):
        values = {"model": "fcn", "save_dir": tmp_path, "dataset": "x"}
        return checkpoint_of(values, dict(said)).name

    three, four = (f"ResNet56v2-{n}layer-x-last.weights.h5" for n in (3, 4))
    assert found() == three  # which is not there, as `fill_resumed` says
    (tmp_path / four).touch()
    assert found() == found(("preset", "full")) == four
    assert found(("preset", "quick")) == found(("layers", 3)) == three
    (tmp_path / three).touch()
    assert found(("preset", "full")) == found(("layers", 4)) == four
    with pytest.raises(UserError, match="3layer.* and .*4layer.* two runs; say --layers 3 or -"):
        found()


def test_auto_is_a_name_where_it_is_no_choice():
    with pytest.raises(UserError, match="auto"):
        decide("--train", "--model", "auto")
    assert decide("--train", "--dataset", "auto")[1].dataset == "auto"
    assert decide("--train", "--preset", "auto", "--precision", "auto")[2].preset != "auto"


def test_a_folder_of_the_project_is_known_from_everywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked, drinks = ["--train", "--preset", "quick", "--data-path", "data/drinks"], "data/drinks"
    assert decide(*asked)[1].data_path == PROJECT / drinks
    (tmp_path / drinks).mkdir(parents=True)
    assert decide(*asked)[1].data_path == Path(drinks)


def test_a_folder_that_can_be_none_is_told():
    with pytest.raises(UserError, match="the data folder x+ is neither in"):
        run_script("--train", "--preset", "quick", "--data-path", "x" * 300)


def test_labels_that_training_makes_are_told(tmp_path, capsys, monkeypatch):
    """Also before the network is there, where their classes are needed."""
    (tmp_path / "squares").mkdir()
    via_project(tmp_path / "squares", "train", 3, 1)
    stop = UserError("before the training")
    monkeypatch.setattr("tools.memory.check_memory", lambda *_: (_ for _ in ()).throw(stop))
    with pytest.raises(UserError, match="before the training"):
        run_script("--train", *TINY, "--data-path", tmp_path / "squares", "--save-dir", tmp_path)
    assert "segmentation_train.npy: 3 pictures, 3 regions" in capsys.readouterr().out


def test_memory_is_reckoned_for_the_classes_of_the_data(data, tmp_path, monkeypatch):
    def check_memory(network, *_):
        raise UserError(f"{len(network.classes)} classes")

    monkeypatch.setattr("tools.memory.check_memory", check_memory)
    with pytest.raises(UserError, match="2 classes"):
        run_script("--train", *TINY, "--data-path", data, "--save-dir", tmp_path)


def test_first_weights_hang_on_nothing_but_the_seed(data, tmp_path):
    """Not on networks that were built before, to be printed or to reckon their memory."""
    settled = decide("--train", *TINY, "--data-path", data, "--save-dir", tmp_path)
    weights = []
    for _ in range(2):
        open_session(*settled)
        weights.append(settled[0].build().get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_run_is_not_resumed_with_other_pictures(data, trained, tmp_path):
    """Which choose the best weights is drawn from all: some would have been trained on."""
    other = tmp_path / data.name
    shutil.copytree(data, other)
    labels = other / "segmentation_train.json"
    project = json.loads(labels.read_text())
    project["_via_img_metadata"].popitem()
    labels.write_text(json.dumps(project))
    arguments = ["--train", "--resume", *NAMED, "--save-dir", trained[0], "--dataset", data.name]
    with pytest.raises(UserError, match="segmentation_train.npy lists other pictures, or in an"):
        run_script(*arguments, "--data-path", other, "--epochs", "9")


def test_the_set_whose_pictures_are_others_is_named(tmp_path, monkeypatch):
    """The order of those that choose the best weights is no matter where they have their own."""
    then = {"pictures": ["a", "b"]}
    monkeypatch.setattr("engine.session.read_configuration", lambda checkpoint: then)
    for now, name in ((["c", "b"], "train"), (["a", "d"], "val")):
        with pytest.raises(UserError, match=f"{name}.npy lists other pictures"):
            refuse_other_pictures(tmp_path, {"pictures": now}, ("train.npy", "val.npy"))
    refuse_other_pictures(tmp_path, {"pictures": ["a", "b"]}, ("train.npy", "val.npy"))
    then.clear()  # of a run from before they were kept
    refuse_other_pictures(tmp_path, {"pictures": ["c", "d"]}, ("train.npy", "val.npy"))


def test_a_run_is_not_resumed_with_data_of_other_classes(data, trained, tmp_path):
    folder, _ = trained
    other = tmp_path / data.name
    shutil.copytree(data, other)
    (other / "classes.json").write_text(json.dumps(["background", "circle"]))
    arguments = ["--train", "--resume", *NAMED]
    arguments += ["--save-dir", folder, "--dataset", data.name, "--data-path", other]
    with pytest.raises(UserError, match="square.*circle"):
        run_script(*arguments, "--epochs", "9")


def test_a_run_goes_on_with_its_own_data(data, tmp_path, stepless):
    """Without a word it would go on with the drinks."""
    run_script("--train", *TINY, "--data-path", data, "--save-dir", tmp_path, "--epochs", "1")
    resume = ["--train", "--resume", *NAMED, "--save-dir", tmp_path, "--dataset", data.name]
    with pytest.raises(UserError, match="--data-path was .*squares.*; give --data-path again"):
        decide(*resume)
    with pytest.raises(UserError, match="not .*drinks; give that folder"):
        decide(*resume, "--data-path", PROJECT / "data" / "drinks")
    assert decide(*resume, "--data-path", data)[1].data_path == data


def test_a_variant_keeps_its_own_settings(monkeypatch):
    """What a preset changes of the chapter's network it changes of no other row."""
    narrow = replace(zoo.MODELS["fcn"], settings={"filters": 32, "layers": 2}, presets={})
    monkeypatch.setitem(zoo.MODELS, "narrow", narrow)
    for preset in PRESETS.keys() - {"few"}:
        network, _, _ = decide("--train", "--model", "narrow", "--preset", preset)
        assert network.settings == {"backbone": "resnet56v2", "layers": 2, "filters": 32}
    assert decide("--train", "--model", "narrow", "--filters", 5)[0].settings["filters"] == 5


def test_the_name_of_a_backbone_may_be_written_in_capitals(best):
    asked = ["--restore-weights", best, "--backbone", "ResNet8v1"]
    assert decide("--evaluate", *asked)[0].settings["backbone"] == "resnet8v1"


def test_a_restored_run_is_named_after_its_network(data, best, tmp_path, stepless):
    arguments = ["--train", "--restore-weights", best, "--data-path", data, "--epochs", "1"]
    run_script(*arguments, "--save-dir", tmp_path, "--precision", "float32")
    assert (tmp_path / best.name).is_file()
    (stage,) = stepless  # restored weights have been small already
    assert stage[0].input_shape == (None, 32, 48, 3)


def test_what_to_segment_and_where_is_not_remembered(data, tmp_path, stepless):
    options = ["--data-path", data, "--save-dir", tmp_path, "--workers", "3"]
    run_script("--train", *TINY, *options, "--epochs", "1")
    _, again, run = decide("--train", "--resume", *NAMED, *options[:4])
    assert (run.image_file, run.restore_weights) == (None, None)
    assert again.workers == OPTIONS["workers"]["default"] != 3


@pytest.mark.long
def test_the_rate_falls_over_the_epochs_of_the_first_run(data, tmp_path, stepless):
    options = ["--data-path", data, "--save-dir", tmp_path]
    run_script("--train", *TINY, *options, "--epochs", "2", "--schedule", "linear")
    run_script("--train", "--resume", *NAMED, *options, "--epochs", "3")
    _, callbacks, _ = stepless[-1]
    rates = [callbacks[0].schedule(epoch) for epoch in range(3)]
    assert rates == pytest.approx([3e-3, 3e-3, 6e-5])
    assert decide("--train", "--resume", *NAMED, *options)[2].schedule_epochs == 2


@pytest.mark.long
def test_labels_given_by_their_whole_path_can_be_resumed(data, tmp_path, stepless):
    labels = tmp_path / "elsewhere.json"
    shutil.copy(data / "segmentation_train.json", labels)
    given = ["--train-labels", labels, "--data-path", data, "--save-dir", tmp_path]
    options = [*NAMED, "--precision", "auto"]
    for path in data.glob("*.jpg"):
        shutil.copy(path, tmp_path)  # pictures are looked for beside their annotations
    shutil.copy(data / "classes.json", tmp_path)
    run_script("--train", *TINY, *given, "--epochs", "1")
    run_script("--train", "--resume", *options, *given, "--epochs", "2")
    assert len(history(tmp_path)) == 2


@pytest.mark.long
def test_labels_from_elsewhere_are_named_again_to_resume(data, tmp_path, stepless):
    """Only their name is kept, by which the data folder may hold others."""
    (tmp_path / "elsewhere").mkdir()
    labels = shutil.copy(data / "segmentation_train.json", tmp_path / "elsewhere")
    shutil.copy(data / "classes.json", tmp_path / "elsewhere")
    given = ["--data-path", data, "--save-dir", tmp_path]
    run_script("--train", *TINY, *given, "--train-labels", labels, "--epochs", "1")
    resume = ["--train", "--resume", *NAMED, *given]
    with pytest.raises(UserError, match="give --train-labels again"):
        run_script(*resume, "--epochs", "2")
    run_script(*resume, "--train-labels", labels, "--epochs", "2")
    assert len(history(tmp_path)) == 2


@pytest.mark.long
def test_what_was_set_aside_can_be_gone_on_with(data, tmp_path, capsys, stepless):
    options = [*TINY, "--data-path", data, "--save-dir", tmp_path]
    for _ in range(2):
        run_script("--train", *options, "--epochs", "2")
    asked = f"--resume --dataset {data.name}-run1"
    assert asked in capsys.readouterr().out
    run_script("--train", *options, "--epochs", "3", *asked.split())
    rows = read_rows(tmp_path / f"ResNet8v1-1layer-{data.name}-run1-history.csv")
    assert [row["epoch"] for row in rows] == [1, 2, 3]


def test_the_commit_is_that_before_the_run_replaced_files(data, tmp_path, monkeypatch, stepless):
    """Of a run in several sizes: files of the repository count as changed after the first."""
    commits = iter(["clean", "dirty"])
    monkeypatch.setattr("engine.runs.commit", lambda: next(commits))
    options = [*TINY, "--height", "64", "--width", "64", "--grow", "--preset", "quick"]
    run_script("--train", *options, "--epochs", "4", "--data-path", data, "--save-dir", tmp_path)
    assert [model.input_shape[1] for model, _, _ in stepless] == [32, 64, 64]
    (weights,) = tmp_path.glob("*-last.weights.h5")
    assert read_configuration(weights)["commit"] == "clean"


def test_pictures_in_the_data_folder_and_annotations_elsewhere(data, tmp_path, stepless):
    (tmp_path / "annotations").mkdir()
    shutil.copy(data / "segmentation_train.json", tmp_path / "annotations" / "mine.json")
    shutil.copy(data / "classes.json", tmp_path / "annotations")
    for path in data.glob("000*.jpg"):
        shutil.copy(path, tmp_path)
    run_script("--train", *TINY, "--epochs", "1", "--data-path", tmp_path, "--save-dir",
               tmp_path / "run", "--train-labels", "annotations/mine.json")  # fmt: skip
    assert list((tmp_path / "run").glob("*-best-iou.weights.h5"))


@pytest.mark.long
@pytest.mark.parametrize("stopped_at", [None, 2])
def test_patience_begins_at_the_whole_size_and_ends_a_run_that_grows(
    stopped_at, data, tmp_path, monkeypatch
):
    given = []

    def train(model, data, callbacks, ledger, epochs, verbose=True):
        (accuracy,) = (c for c in callbacks if isinstance(c, AccuracyCallback))
        given.append((accuracy.patience, accuracy.patient_from))
        for epoch in range(len(ledger.rows), epochs):
            ledger.record(model, epoch, {"loss": 1, "learning_rate": 1, "seconds": 0, **FLAT})
        model.stop_training = len(given) == stopped_at

    monkeypatch.setattr("engine.trainer.train", train)
    options = ["--grow", "--epochs", "8", "--patience", "1", "--height", "96", "--width", "96"]
    run_script("--train", *TINY, *options, "--data-path", data, "--save-dir", tmp_path)
    assert given == [(None, 0), (None, 4), (1, 6)][:stopped_at]


def test_one_training_of_a_name_at_a_time(data, tmp_path, toy, stepless):
    """Two once ended well, one of them with the other's weights."""
    options = ["--train", "--model", "toy", "--height", "32", "--width", "48", "--epochs", "1"]
    options += ["--precision", "float32", "--data-path", data, "--save-dir"]
    files = run_files(*decide(*options, tmp_path))
    with files.locked():
        before = list(tmp_path.iterdir())
        with pytest.raises(UserError, match="another training writes .*--save-dir.*--dataset"):
            run_script(*options, tmp_path)
        assert list(tmp_path.iterdir()) == before and not stepless
        run_script(*options, tmp_path, "--dataset", "another")
        run_script(*options, tmp_path / "elsewhere")
    run_script(*options, tmp_path)
    with files.locked():
        with pytest.raises(UserError, match="another training writes"):
            run_script(*options[:3], "--resume", *options[-3:], tmp_path)
        run_script("--evaluate", "--restore-weights", files.best, "--data-path", data)
    assert not files.folder.joinpath(f".{files.name}.lock").exists()


def test_a_run_killed_before_its_last_history_is_mended(
    data, tmp_path, toy, stepless, monkeypatch, capsys
):
    """All epochs are there: it ends as it would have ended."""

    class Killed(Exception):
        pass

    def killed(*_):
        raise Killed

    options = ["--train", "--model", "toy", "--height", "32", "--width", "48", "--epochs", "1"]
    options += ["--precision", "float32", "--data-path", data, "--save-dir", tmp_path]
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr("engine.runs.write_history", killed)
        run_script(*options)
    capsys.readouterr()
    files = run_files(*decide(*options))
    run_script(*options[:3], "--resume", *options[-4:], "--evaluate")
    printed = capsys.readouterr().out
    assert "Best chapter mIoU 0.5000" in printed and "mean over 2 pictures" in printed
    assert len(read_rows(files.history)) == 1 and files.curves.is_file()
    with pytest.raises(UserError, match="has all of its 1 epochs"):
        run_script(*options[:3], "--resume", *options[-4:])


def test_no_picture_is_replaced_by_a_result(best, tmp_path):
    for name in ("x.jpg", "x.jpg-mask.png"):
        Image.new("RGB", (40, 32)).save(tmp_path / name)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    segment = ["--evaluate", "--restore-weights", best, "--image-file", tmp_path]
    with pytest.raises(UserError, match="x.jpg-mask.png would be replaced"):
        run_script(*segment, "--prediction-dir", tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    run_script(*segment, "--prediction-dir", tmp_path / "out")
    assert len(list((tmp_path / "out").iterdir())) == 4


@pytest.mark.parametrize("folder", ["data/../..", "/", "../"])
def test_weights_name_no_folder_outside_the_project(best, tmp_path, folder):
    """They may be a stranger's, and labels and classes are written into the data folder."""
    weights = shutil.copy(best, tmp_path)
    for name, taken in ((folder, "drinks"), ("data", "data")):
        with h5py.File(weights, "a") as file:
            configuration = json.loads(file.attrs["configuration"])
            configuration["data"]["data_path"] = name
            file.attrs["configuration"] = json.dumps(configuration)
        _, data, _ = decide("--evaluate", "--restore-weights", weights)
        assert data.data_path.name == taken and data.data_path.is_relative_to(PROJECT)


@pytest.mark.long
@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("data_path", "../secrets"),
        ("data_path", "/etc"),
        ("data_path", "C:\\secrets"),
        ("train_labels", "../../secrets.npy"),
        ("test_labels", "/etc/secrets.npy"),
    ],
)
def test_a_checkpoint_leads_nowhere_outside_the_project(data, tmp_path, stepless, option, value):
    """Only the command line does: a folder with a run in it may be a stranger's."""
    run_script("--train", *TINY, "--data-path", data, "--save-dir", tmp_path, "--epochs", "1")
    (last,) = tmp_path.glob("*-last.weights.h5")
    with h5py.File(last, "a") as file:
        configuration = json.loads(file.attrs["configuration"])
        configuration["data"] |= {"data_path": "data/drinks", option: value}
        file.attrs["configuration"] = json.dumps(configuration)
    resume = ["--train", "--resume", *NAMED, "--save-dir", tmp_path, "--dataset", data.name]
    flag = "--" + option.replace("_", "-")
    with pytest.raises(UserError, match=f"{flag} was .*outside the project.*give {flag} again"):
        decide(*resume)


def test_a_data_folder_is_remembered_from_every_current_folder(
    data, tmp_path, stepless, monkeypatch
):
    """A relative path is one from where the run began."""
    monkeypatch.chdir(data.parent)
    options = ["--data-path", data.name, "--save-dir", tmp_path, "--dataset", "x"]
    run_script("--train", *TINY, *options, "--epochs", "1")
    monkeypatch.chdir(tmp_path)
    resume = ["--train", "--resume", *NAMED, "--save-dir", tmp_path, "--dataset", "x"]
    assert decide(*resume, "--data-path", data)[1].data_path == data


@pytest.mark.long
@pytest.mark.parametrize("option", ["test_labels", "seed", "epochs"])
def test_a_run_without_a_value_that_it_must_have_is_not_resumed(data, tmp_path, stepless, option):
    run_script("--train", *TINY, "--data-path", data, "--save-dir", tmp_path, "--epochs", "1")
    (last,) = tmp_path.glob("*-last.weights.h5")
    with h5py.File(last, "a") as file:
        configuration = json.loads(file.attrs["configuration"])
        configuration["run" if option in configuration["run"] else "data"][option] = None
        file.attrs["configuration"] = json.dumps(configuration)
    resume = ["--train", "--resume", *NAMED, "--save-dir", tmp_path, "--dataset", data.name]
    with pytest.raises(UserError, match=f"broken configuration .{option} is None"):
        decide(*resume, "--data-path", data)


def test_a_narrower_head_begins_anew(best, data, tmp_path, capsys, stepless):
    options = [*TINY, "--filters", "3", "--epochs", "1", "--data-path", data]
    run_script("--train", "--start-from", best, *options, "--save-dir", tmp_path)
    anew = capsys.readouterr().out.split("anew: ")[1].splitlines()[0]
    assert "tconv_up_x2" in anew and "stem_conv" not in anew


@pytest.mark.long
@pytest.mark.parametrize("name", LOSSES)
def test_the_loss_that_is_asked_for_is_trained_with(name, data, tmp_path, stepless):
    options = ["--loss", name, "--epochs", "1", "--data-path", data, "--save-dir", tmp_path]
    run_script("--train", *TINY, *options)
    assert type(stepless[0][0].loss) is LOSSES[name]


def test_the_classifier_is_the_optimizers_exception(data, tmp_path, stepless):
    """Muon takes it for a layer whose many classes are no directions."""
    options = ["--optimizer", "muon", "--epochs", "1", "--data-path", data, "--save-dir", tmp_path]
    run_script("--train", *TINY, *options)
    optimizer = stepless[0][0].optimizer
    assert isinstance(optimizer, keras.optimizers.Muon)
    assert optimizer.exclude_layers == [zoo.CLASSIFIER]


@pytest.mark.parametrize(("optimizer", "kept"), [("muon", 0.9), ("adam", 0.99)])
def test_statistics_follow_the_steps_of_muon(optimizer, kept, data, tmp_path, stepless):
    """Those of the backbone too, which is nested in the network."""
    options = ["--optimizer", optimizer, "--epochs", "1", "--data-path", data]
    run_script("--train", *TINY, *options, "--save-dir", tmp_path)
    layers = [layer for network in networks(stepless[0][0]) for layer in network.layers]
    normalisations = [x for x in layers if isinstance(x, keras.layers.BatchNormalization)]
    assert len(normalisations) > 5 and {x.momentum for x in normalisations} == {kept}
