"""fcn-12.3.1.py as a reader runs it: from any folder, on a small data set that the test makes."""

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from PIL import Image

import fast
from engine.arguments import (
    PRESETS,
    apply_preset,
    build_parser,
    fill,
    fill_resumed,
    parse_arguments,
)
from engine.settings import settle
from engine.weights import (
    find_weights,
    read_arguments,
    read_configuration,
    save_checkpoint,
    save_weights,
    start_from,
)
from losses import LOSSES
from model import build_fcn
from utils.errors import UserError
from utils.files import PROJECT
from utils.generate_gt_segmentation import make_labels
from utils.history import read_rows

SCRIPT = PROJECT / "fcn-12.3.1.py"
TINY = ["--backbone", "resnet8v1", "--layers", "1", "--filters", "4", "--height", "32"]
TINY += ["--width", "48", "--precision", "float32", "--workers", "2", "--batch-size", "2"]

CHAPTER_OPTIONS = (
    "--layers --batch-size --epochs --workers --backbone --train --summary --save-dir --dataset "
    "--height --width --channels --data-path --train-labels --test-labels --restore-weights "
    "--evaluate --image-file --plot --verbose"
).split()


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
    command = [
        sys.executable,
        str(SCRIPT),
        "--train",
        *TINY,
        "--epochs",
        "2",
        "--data-path",
        str(data),
    ]
    result = subprocess.run(
        [*command, "--save-dir", str(elsewhere / "weights"), "--augment"],
        cwd=elsewhere,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert sorted(path.name for path in elsewhere.iterdir()) == ["weights"]
    assert result.stderr == "", "a run that goes well prints no warnings"
    return elsewhere / "weights", result.stdout


def run(*arguments):
    """The script's `main` in this process."""
    specification = importlib.util.spec_from_file_location("fcn", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    saved = sys.argv
    sys.argv = [str(SCRIPT), *map(str, arguments)]
    try:
        module.main()
    finally:
        sys.argv = saved


# --- arguments ------------------------------------------------------------------------------------


def test_the_chapters_options_are_all_there():
    known = {name for action in build_parser()._actions for name in action.option_strings}
    assert len(CHAPTER_OPTIONS) == 20
    assert set(CHAPTER_OPTIONS) | {"-t", "-e"} <= known


def test_the_chapters_defaults():
    args = parse_arguments(["--train", "--preset", "book"])
    apply_preset(args, None)
    assert (args.layers, args.batch_size, args.epochs, args.workers) == (3, 4, 100, 4)
    assert (args.height, args.width, args.channels) == (480, 640, 3)
    assert args.backbone == "resnet56v2"
    assert (args.train_labels, args.test_labels) == (
        "segmentation_train.npy",
        "segmentation_test.npy",
    )
    assert args.data_path.name == "drinks" and args.save_dir.name == "weights"
    assert args.verbose == 1 and args.restore_weights is None and args.image_file is None


def test_auto_goes_by_the_gpu():
    for gpu, preset in (("Some GPU", "book"), (None, "quick")):
        args = parse_arguments(["--train"])
        sentence = apply_preset(args, gpu)
        assert args.preset == preset and preset in sentence
        assert args.height == PRESETS[preset]["height"]
        assert (gpu or "no GPU") in sentence


def test_the_command_line_goes_before_the_preset():
    args = parse_arguments(["--train", "--epochs", "7", "--no-augment", "--preset", "quick"])
    fill(args, {"epochs": 9, "width": 64, "no such option": 1})
    apply_preset(args, None)
    assert (args.epochs, args.width, args.augment) == (7, 64, False)
    assert not hasattr(args, "no such option")


@pytest.mark.parametrize(
    "arguments",
    [
        "--train --epochs x",
        "--train --epochs 0",
        "--train --layers 0",
        "--train --height 31",
        "--train --channels 4",
        "--train --precision float8",
        "--train --validation-split 1",
        "--train --close-ups 2",
        "--train --unheard-of",
        "--evaluate",
        "--train --image-file x.jpg",
        "--evaluate --resume --restore-weights x.h5",
        "--train --plot",
        "--train --mirror",
        "--train --seed 4294967296",
        "--train --layers 9",
        "--train --dataset ../elsewhere",
        "--train --resume --restore-weights x.h5",
        "--train --grow --restore-weights x.h5",
        "",
    ],
)
def test_wrong_values_get_one_line_and_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        parse_arguments(arguments.split())
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


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
        (["--train", "--data-path", "no/such/folder"], "no/such/folder"),
        (["--evaluate", "--restore-weights", "none.h5"], "none.h5"),
        (["--train", "--resume", "--dataset", "never-trained"], "finds no .*never-trained"),
        (["--train", "--close-ups", "0.2", "--no-augment"], "add --augment"),
    ],
)
def test_what_is_missing_is_named(arguments, names, tmp_path):
    with pytest.raises(UserError, match=names):
        run(*arguments, "--save-dir", tmp_path)


# --- from annotations to pictures -----------------------------------------------------------------


def test_training_makes_labels_and_tells_what_it_does(data, trained):
    folder, printed = trained
    assert (data / "segmentation_train.npy").is_file()
    assert "preset quick" in printed and "# of classes 2" in printed and "a step" in printed
    assert [line[:9] for line in printed.splitlines() if line.startswith("epoch")] == [
        "epoch 1/2",
        "epoch 2/2",
    ]
    name = f"ResNet8v1-1layer-{data.name}"
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
    run(*arguments, "--data-path", data, "--plot", "--prediction-dir", tmp_path)
    printed = capsys.readouterr().out
    assert "0010001.jpg: 2 objs, miou=" in printed and "dataset mIoU" in printed
    assert "IoU square" in printed
    assert history.read_bytes() == before
    mask = Image.open(tmp_path / "0010001.jpg-mask.png")
    assert mask.mode == "P" and mask.size == (60, 40)
    assert (tmp_path / "0010002.jpg-segmentation.png").is_file()


def test_pictures_are_segmented_without_a_data_set(trained, tmp_path, capsys):
    folder, _ = trained
    (weights,) = folder.glob("*-best-iou.weights.h5")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name, size in (("wide.png", (97, 41)), ("tall.png", (33, 90))):
        Image.new("RGB", size, (220, 30, 30)).save(pictures / name)
    arguments = ["--evaluate", "--restore-weights", weights, "--data-path", tmp_path / "nowhere"]
    out = tmp_path / "out"
    run(*arguments, "--image-file", pictures, pictures / "wide.png", "--prediction-dir", out)
    assert Image.open(out / "wide.png-mask.png").size == (97, 41)
    assert Image.open(out / "tall.png-mask.png").size == (33, 90)
    assert "tall.png: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("names", "complaint"),
    [(["background", "cat", "dog"], "2 classes"), (["background", "cat"], "'square'.*'cat'")],
)
def test_weights_of_other_classes_are_refused(trained, tmp_path, names, complaint):
    folder, _ = trained
    (weights,) = folder.glob("*-best-iou.weights.h5")
    via_project(tmp_path, "test", 1, 1)
    (tmp_path / "classes.json").write_text(json.dumps(names))
    with pytest.raises(UserError, match=complaint):
        run("--evaluate", "--restore-weights", weights, "--data-path", tmp_path)


def test_test_pictures_of_other_classes_do_not_pick_weights(data, tmp_path):
    for split, names in (("train", ["background", "cat"]), ("test", ["background", "dog"])):
        folder = tmp_path / split
        folder.mkdir()
        via_project(folder, split, 2, 1)
        (folder / "classes.json").write_text(json.dumps(names))
    labels = ["--train-labels", "train/segmentation_train.npy"]
    labels += ["--test-labels", "test/segmentation_test.npy", "--validation-split", "0"]
    with pytest.raises(UserError, match="'cat'.*'dog'"):
        run("--train", *TINY, *labels, "--data-path", tmp_path, "--save-dir", tmp_path)


def test_annotations_without_a_picture_are_refused(tmp_path):
    via_project(tmp_path, "train", 0, 1)
    (tmp_path / "classes.json").write_text(json.dumps(["background", "square"]))
    with pytest.raises(UserError, match="lists no picture"):
        run("--train", *TINY, "--data-path", tmp_path, "--save-dir", tmp_path)


def test_data_without_objects_is_refused(tmp_path):
    via_project(tmp_path, "train", 3, 1)
    (tmp_path / "segmentation_train.json").write_text(
        (tmp_path / "segmentation_train.json").read_text().replace('"Name": "1"', '"Name": "0"')
    )
    with pytest.raises(UserError, match="no class but the background"):
        run("--train", *TINY, "--data-path", tmp_path, "--save-dir", tmp_path)


def test_a_restored_run_is_named_after_its_network(data, trained, tmp_path):
    folder, _ = trained
    (weights,) = folder.glob("*-best-iou.weights.h5")
    arguments = ["--train", "--restore-weights", weights, "--data-path", data, "--epochs", "1"]
    run(*arguments, "--save-dir", tmp_path, "--pictures-per-epoch", "2", "--precision", "float32")
    assert (tmp_path / weights.name).is_file()


def test_five_epochs_and_five_resumed_equal_ten(data, trained, tmp_path, capsys):
    """Two and one here, and from the command line: the options have to come back, too."""
    folder, _ = trained
    arguments = ["--train", "--resume", "--backbone", "resnet8v1", "--layers", "1"]
    arguments += ["--save-dir", folder, "--data-path", data]
    with pytest.raises(UserError, match="--seed 0, not 7"):
        run(*arguments, "--seed", "7")
    run(*arguments, "--epochs", "3")
    printed = capsys.readouterr().out
    assert "after epoch 2, to epoch 3" in printed
    assert "32x48, batch 2, float32" in printed  # remembered, not the preset's
    (history,) = folder.glob("*-history.csv")
    assert [line.split(",")[:2] for line in history.read_text().splitlines()[1:]] == [
        ["1", "1"],
        ["1", "2"],
        ["1", "3"],
    ]
    whole = tmp_path / "whole"
    run("--train", *TINY, "--augment", "--epochs", "3", "--save-dir", whole, "--data-path", data)
    name = f"ResNet8v1-1layer-{data.name}-last.weights.h5"
    with h5py.File(folder / name) as resumed, h5py.File(whole / name) as expected:
        different = []

        def compare(path, item):
            if isinstance(item, h5py.Dataset):
                if not np.allclose(item[()], resumed[path][()], atol=1e-6):
                    different.append(path)

        expected.visititems(compare)
    assert not different


# --- growth, and weights of another network -------------------------------------------------------


def history(folder):
    return read_rows(next(folder.glob("ResNet8v1-1layer-squares*-history.csv")))


def test_a_run_is_not_resumed_with_data_of_other_classes(data, trained, tmp_path):
    folder, _ = trained
    other = tmp_path / "other"
    shutil.copytree(data, other)
    (other / "classes.json").write_text(json.dumps(["background", "circle"]))
    arguments = ["--train", "--resume", "--backbone", "resnet8v1", "--layers", "1"]
    arguments += ["--save-dir", folder, "--dataset", data.name, "--data-path", other]
    with pytest.raises(UserError, match="square.*circle"):
        run(*arguments, "--epochs", "9")


def test_a_run_that_grows_and_is_resumed_equals_one_in_one_go(data, tmp_path, capsys):
    """Four epochs, two of them small, stopped among the small ones and within the large ones."""
    grow = [*TINY[:4], "--height", "64", "--width", "64", "--precision", "float32"]
    grow += ["--grow", "--schedule-epochs", "4", "--augment", "--pictures-per-epoch", "4"]
    grow += ["--batch-size", "2", "--preset", "quick", "--data-path", data]
    run("--train", *grow, "--filters", "4", "--epochs", "4", "--save-dir", tmp_path / "whole")
    assert "Going on at 64x64 after epoch 2" in capsys.readouterr().out
    run("--train", *grow, "--filters", "4", "--epochs", "1", "--save-dir", tmp_path / "parts")
    for epochs in (3, 4):
        run("--train", "--resume", "--backbone", "resnet8v1", "--layers", "1", "--epochs", epochs,
            "--data-path", data, "--save-dir", tmp_path / "parts")  # fmt: skip
    whole, parts = history(tmp_path / "whole"), history(tmp_path / "parts")
    assert [row["epoch"] for row in parts] == [1, 2, 3, 4]
    for one, other in zip(whole, parts, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], abs=1e-5)
        assert one["learning_rate"] == pytest.approx(other["learning_rate"])
        assert one["chapter_miou"] == pytest.approx(other["chapter_miou"], abs=1e-5)


def test_a_summary_is_that_of_the_preset_asked_for():
    for asked, taken in (([], "book"), (["--preset", "quick"], "quick")):
        args = parse_arguments(["--summary", *asked])
        settle(args)
        assert args.filters == PRESETS[taken]["filters"]
        assert args.height == PRESETS[taken]["height"]


def test_weights_that_a_later_run_set_aside_are_named(tmp_path):
    name = "ResNet8v1-1layer-squares"
    (tmp_path / f"{name}-run1-best-iou.weights.h5").touch()
    with pytest.raises(UserError, match=f"{name}-run1-best-iou.weights.h5"):
        find_weights(f"{name}-best-iou.h5", tmp_path)


def test_weights_remember_the_size_that_they_were_scored_at(data, tmp_path, capsys):
    """A run that grows and ends early leaves a network of the small size."""
    grow = [*TINY[:4], "--filters", "4", "--height", "96", "--width", "96", "--batch-size", "2"]
    grow += ["--grow", "--schedule-epochs", "4", "--preset", "quick", "--data-path", data]
    run("--train", "--evaluate", *grow, "--epochs", "1", "--save-dir", tmp_path)
    name = f"ResNet8v1-1layer-{data.name}-best-iou.weights.h5"
    kept = read_arguments(tmp_path / name)
    assert (kept["height"], kept["width"]) == (64, 64)
    assert read_arguments(tmp_path / name.replace("best-iou", "last"))["height"] == 96
    args = parse_arguments(["--train", "--restore-weights", str(tmp_path / name)])
    settle(args)
    assert (args.height, args.width) == (96, 96), "training goes on at the size that was meant"
    args = parse_arguments(["--evaluate", "--restore-weights", str(tmp_path / name)])
    settle(args)
    assert (args.height, args.width) == (64, 64)
    assert "mean over 2 pictures" in capsys.readouterr().out, "--evaluate scored the test pictures"


def test_labels_given_by_their_whole_path_can_be_resumed(data, tmp_path):
    labels = tmp_path / "elsewhere.json"
    shutil.copy(data / "segmentation_train.json", labels)
    given = ["--train-labels", labels, "--data-path", data, "--save-dir", tmp_path]
    options = ["--backbone", "resnet8v1", "--layers", "1", "--precision", "auto"]
    for path in data.glob("*.jpg"):
        shutil.copy(path, tmp_path)  # pictures are looked for beside their annotations
    shutil.copy(data / "classes.json", tmp_path)
    run("--train", *TINY, *given, "--epochs", "1")
    run("--train", "--resume", *options, *given, "--epochs", "2")
    assert len(history(tmp_path)) == 2


def test_labels_from_elsewhere_are_named_again_to_resume(data, tmp_path):
    """Only their name is kept, by which the data folder may hold others."""
    (tmp_path / "elsewhere").mkdir()
    labels = shutil.copy(data / "segmentation_train.json", tmp_path / "elsewhere")
    shutil.copy(data / "classes.json", tmp_path / "elsewhere")
    given = ["--data-path", data, "--save-dir", tmp_path]
    run("--train", *TINY, *given, "--train-labels", labels, "--epochs", "1")
    resume = ["--train", "--resume", "--backbone", "resnet8v1", "--layers", "1", *given]
    with pytest.raises(UserError, match="give --train-labels again"):
        run(*resume, "--epochs", "2")
    run(*resume, "--train-labels", labels, "--epochs", "2")
    assert len(history(tmp_path)) == 2


def test_what_cannot_be_read_costs_no_other_picture(trained, tmp_path, capsys):
    (weights,) = trained[0].glob("*-best-iou.weights.h5")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name in ("a.png", "c.png"):
        Image.new("RGB", (33, 47)).save(pictures / name)
    (pictures / "b.png").write_bytes((pictures / "a.png").read_bytes()[:60])
    (pictures / "d.HEIC").touch()
    arguments = ["--evaluate", "--restore-weights", weights, "--prediction-dir", tmp_path / "out"]
    with pytest.raises(UserError, match=r"1 of 3 pictures could not be read, b\.png"):
        run(*arguments, "--image-file", pictures)
    assert (tmp_path / "out" / "c.png-mask.png").is_file()
    printed = capsys.readouterr().err
    assert "b.png cannot be read" in printed and "d.HEIC" in printed


def test_the_weights_that_are_scored_are_named(trained, data, tmp_path, capsys):
    (weights,) = trained[0].glob("*-best-iou.weights.h5")
    arguments = ["--evaluate", "--restore-weights", weights.name, "--save-dir", weights.parent]
    run(*arguments, "--data-path", data)
    assert f"Weights {weights}, " in capsys.readouterr().out


def test_mirroring_is_asked_for(trained, data, monkeypatch):
    seen = []
    monkeypatch.setattr("tools.views.mirrored", lambda model: seen.append(model) or model)
    (weights,) = trained[0].glob("*-best-iou.weights.h5")
    arguments = ["--evaluate", "--restore-weights", weights, "--data-path", data]
    run(*arguments)
    assert not seen
    run(*arguments, "--mirror")
    assert len(seen) == 1


def test_what_was_set_aside_can_be_gone_on_with(data, tmp_path, capsys):
    options = [*TINY, "--schedule-epochs", "2", "--data-path", data, "--save-dir", tmp_path]
    for _ in range(2):
        run("--train", *options, "--epochs", "1")
    asked = f"--resume --dataset {data.name}-run1"
    assert asked in capsys.readouterr().out
    run("--train", *options, "--epochs", "2", *asked.split())
    rows = read_rows(tmp_path / f"ResNet8v1-1layer-{data.name}-run1-history.csv")
    assert [row["epoch"] for row in rows] == [1, 2]


@pytest.fixture
def fast_again():
    yield
    fast.turn(True)


@pytest.mark.usefixtures("fast_again")
def test_plain_layers_give_the_same_scores(trained, data, capsys):
    (weights,) = trained[0].glob("*-best-iou.weights.h5")
    arguments = ["--evaluate", "--restore-weights", weights, "--data-path", data]
    printed = []
    for options in ([], ["--plain"]):
        run(*arguments, *options, "--precision", "float32")
        assert fast.is_on() != bool(options)
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1] and "dataset mIoU" in printed[0]


def test_a_folder_after_an_equals_sign_may_begin_at_home():
    args = parse_arguments(["--train", "--save-dir=~/runs", "--data-path=~/photographs"])
    assert args.save_dir == Path.home() / "runs"
    assert args.data_path == Path.home() / "photographs"
    args = parse_arguments(["--evaluate", "--restore-weights=x.h5", "--image-file", "~nobody.jpg"])
    assert args.image_file == [Path("~nobody.jpg")]


def test_more_epochs_than_the_rate_falls_over_are_pointed_out(data, tmp_path, capsys):
    options = [*TINY, "--epochs", "3", "--schedule-epochs", "2", "--data-path", data]
    run("--train", *options, "--save-dir", tmp_path)
    assert "--schedule-epochs 3" in capsys.readouterr().out


def test_the_commit_is_that_before_the_run_replaced_files(data, tmp_path, monkeypatch):
    """Of a run in several sizes: files of the repository count as changed after the first."""
    commits = iter(["clean", "dirty"])
    monkeypatch.setattr("engine.trainer._commit", lambda: next(commits))
    options = [*TINY, "--height", "64", "--width", "64", "--grow", "--preset", "quick"]
    options += ["--epochs", "4", "--schedule-epochs", "4", "--data-path", data]
    run("--train", *options, "--save-dir", tmp_path)
    (weights,) = tmp_path.glob("*-last.weights.h5")
    assert read_configuration(weights)["commit"] == "clean"


def test_pictures_are_segmented_without_a_word(data, trained, tmp_path, capsys):
    (weights,) = trained[0].glob("*best-iou.weights.h5")
    run("--evaluate", "--restore-weights", weights, "--image-file", data / "0000001.jpg",
        "--prediction-dir", tmp_path, "--verbose", "0")  # fmt: skip
    assert not capsys.readouterr().out
    assert (tmp_path / "0000001.jpg-mask.png").is_file()


def test_what_to_segment_is_not_remembered():
    args = parse_arguments(["--train", "--resume"])
    fill_resumed(args, {"image_file": ["pictures"], "height": 96})
    assert (args.image_file, args.height) == (None, 96)


def test_pictures_in_the_data_folder_and_annotations_elsewhere(data, tmp_path):
    (tmp_path / "annotations").mkdir()
    shutil.copy(data / "segmentation_train.json", tmp_path / "annotations" / "mine.json")
    shutil.copy(data / "classes.json", tmp_path / "annotations")
    for path in data.glob("000*.jpg"):
        shutil.copy(path, tmp_path)
    run("--train", *TINY, "--epochs", "1", "--data-path", tmp_path, "--save-dir", tmp_path / "run",
        "--train-labels", "annotations/mine.json")  # fmt: skip
    assert list((tmp_path / "run").glob("*-best-iou.weights.h5"))


def test_maps_of_another_size_than_their_pictures_are_plotted(data, trained, tmp_path):
    for path in (*data.glob("*.jpg"), data / "segmentation_test.json", data / "classes.json"):
        shutil.copy(path, tmp_path)
    make_labels(tmp_path / "segmentation_test.json", size=(20, 30), progress=False)
    (weights,) = trained[0].glob("*best-iou.weights.h5")
    run("--evaluate", "--plot", "--restore-weights", weights, "--data-path", tmp_path,
        "--prediction-dir", tmp_path / "drawn")  # fmt: skip
    assert len(list((tmp_path / "drawn").glob("*-segmentation.png"))) == 2


def test_patience_ends_a_run_that_grows(data, tmp_path, monkeypatch):
    flat = {"chapter_miou": 0.5, "dataset_miou": 0.5, "pixel_accuracy": 0.5}
    monkeypatch.setattr("metrics.scores", lambda matrices: flat)
    options = ["--grow", "--schedule-epochs", "8", "--epochs", "8", "--patience", "1"]
    options += ["--height", "64", "--width", "64"]
    run("--train", *TINY, *options, "--data-path", data, "--save-dir", tmp_path)
    # The best is the first epoch; patience begins after the fourth, the last of small pictures.
    assert len(history(tmp_path)) == 5


def test_starting_from_weights_that_are_not_there(data, tmp_path):
    with pytest.raises(UserError, match=r"weights no\.h5 are neither a file nor a name"):
        run("--train", "--start-from", "no.h5", *TINY, "--data-path", data, "--save-dir", tmp_path)


def test_starting_from_weights_of_a_narrower_head(trained, data, tmp_path, capsys):
    weights = next(trained[0].glob("*best-iou.weights.h5"))
    options = [*TINY, "--filters", "5", "--epochs", "1", "--data-path", data]
    run("--train", "--start-from", weights, *options, "--save-dir", tmp_path)
    printed = capsys.readouterr().out
    assert "The head of 4 filters is widened to 5." in printed
    assert "anew: none." in printed


def test_a_narrower_head_begins_anew(trained, data, tmp_path, capsys):
    weights = next(trained[0].glob("*best-iou.weights.h5"))
    options = [*TINY, "--filters", "3", "--epochs", "1", "--data-path", data]
    run("--train", "--start-from", weights, *options, "--save-dir", tmp_path)
    anew = capsys.readouterr().out.split("anew: ")[1].splitlines()[0]
    assert "tconv_up_x2" in anew and "stem_conv" not in anew


def test_what_fits_is_taken_and_nothing_else(tmp_path):
    source = build_fcn((32, 32, 3), "resnet8v1", 3, n_layers=1, filters=4)
    target = build_fcn((64, 32, 3), "resnet8v1", 4, n_layers=1, filters=4)
    before = target.get_layer("pre_activation").get_weights()[0]
    save_weights(source, tmp_path / "three.weights.h5", {})
    start_from(target, tmp_path / "three.weights.h5")
    np.testing.assert_array_equal(target.get_layer("pre_activation").get_weights()[0], before)
    for name in ("conv_fcn_8", "bn_up_x4"):
        pairs = zip(target.get_layer(name).weights, source.get_layer(name).weights, strict=True)
        for one, other in pairs:
            np.testing.assert_array_equal(one.numpy(), other.numpy())
    backbones = [model.get_layer("ResNet8v1").get_weights() for model in (source, target)]
    for one, other in zip(*backbones, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_average_of_several_files(tmp_path):
    """A file that is named twice counts twice."""
    files, models = [tmp_path / f"{name}.weights.h5" for name in "ab"], []
    for _ in files:
        models.append(build_fcn((32, 32, 3), "resnet8v1", 3, n_layers=1, filters=4))
        models[-1].compile("adam", "mse")
    save_weights(models[0], files[0], {})
    save_checkpoint(models[1], files[1], {}, {})  # has an optimizer besides
    target = build_fcn((32, 32, 3), "resnet8v1", 3, n_layers=1, filters=4)
    start_from(target, files[0], files[1], files[1])
    weights = (model.get_weights() for model in (*models, target))
    for one, other, mean in zip(*weights, strict=True):
        np.testing.assert_allclose(mean, (one + 2 * other) / 3, atol=1e-6)
    save_weights(build_fcn((32, 32, 3), "resnet8v1", 3, 1, 5), tmp_path / "c.weights.h5", {})
    with pytest.raises(UserError, match="different networks"):
        start_from(target, files[0], tmp_path / "c.weights.h5")


def test_starting_from_weights_of_which_nothing_fits(tmp_path):
    layer = keras.layers.Dense(2, name="other")
    other = keras.Sequential([keras.Input((3,)), layer])
    save_weights(other, tmp_path / "other.weights.h5", {})
    with pytest.raises(UserError, match="fits no layer"):
        start_from(
            build_fcn((32, 32, 3), "resnet8v1", 3, n_layers=1, filters=4),
            tmp_path / "other.weights.h5",
        )


@pytest.mark.parametrize("options", [["--evaluate"], ["--train", "--resume"]])
def test_start_from_goes_with_a_new_training_alone(options):
    with pytest.raises(SystemExit):
        parse_arguments([*options, "--start-from", "a.weights.h5"])


@pytest.mark.parametrize("name", LOSSES)
def test_the_loss_that_is_asked_for_is_trained_with(name, data, tmp_path, monkeypatch):
    class Stop(Exception):
        pass

    def train(*arguments, loss, **options):
        assert type(loss) is LOSSES[name]
        raise Stop

    monkeypatch.setattr("engine.trainer.train", train)
    with pytest.raises(Stop):
        run("--train", *TINY, "--loss", name, "--data-path", data, "--save-dir", tmp_path)


@pytest.mark.parametrize(
    "options, rate",
    [
        (["--preset", "book"], 1e-3),
        (["--preset", "quick"], 6e-3),
        (["--preset", "quick", "--optimizer", "adam"], 1e-3),
        (["--preset", "book", "--optimizer", "muon"], 6e-3),
        (["--preset", "quick", "--optimizer", "adam", "--learning-rate", "0.5"], 0.5),
    ],
)
def test_each_optimizer_has_its_own_rate(options, rate):
    args = parse_arguments(["--train", *options])
    apply_preset(args, None)
    assert args.learning_rate == rate


@pytest.mark.parametrize("value", ["0", "-1", "inf", "nan", "fast"])
def test_learning_rates_that_are_none(value, capsys):
    with pytest.raises(SystemExit):
        parse_arguments(["--train", "--learning-rate", value])
    assert "not a number above 0" in capsys.readouterr().err
