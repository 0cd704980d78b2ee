"""Histories of any length and kind are read, drawn and summarised."""

import gc
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from utils import plot_history as plots
from utils.errors import UserError
from utils.files import PROJECT

HEADER = "run,epoch,loss,learning_rate,chapter_miou,dataset_miou,pixel_accuracy,seconds\n"


def save_array(path: Path, values) -> Path:
    np.save(path, np.asarray(values, np.float64))
    return path


def save_csv(path: Path, lines: list[str]) -> Path:
    path.write_text(HEADER + "".join(f"{line}\n" for line in lines))
    return path


def colours_of(path: Path) -> set[tuple[int, int, int]]:
    pixels = np.array(Image.open(path).convert("RGB")).reshape(-1, 3)
    return set(map(tuple, np.unique(pixels, axis=0).tolist()))


def tool(*arguments, folder: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(PROJECT / "utils" / "plot_history.py"), *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("epochs", [1, 7, 250])
def test_any_number_of_epochs_is_drawn(tmp_path, epochs):
    """The chapter's tool plots against a fixed 100 epochs."""
    path = save_array(tmp_path / "miou_history.npy", np.linspace(0.2, 0.7, epochs))
    (curve,) = plots.plot_history([path], tmp_path / "out.png")
    assert len(curve.epochs) == epochs
    assert (curve.epochs[0], curve.epochs[-1]) == (1, epochs)
    assert (0x1F, 0x77, 0xB4) in colours_of(tmp_path / "out.png")  # matplotlib's first colour


def test_command_line_prints_the_maximum_and_saves_beside_the_file(tmp_path):
    (tmp_path / "runs").mkdir()
    save_array(tmp_path / "runs" / "miou_history.npy", [0.1, 0.62, 0.5])
    done = tool("--history", "runs/miou_history.npy", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Max: 0.6200 at epoch 2")
    assert (tmp_path / "runs" / "miou_history.png").is_file()


def test_default_history_and_output_option(tmp_path):
    save_array(tmp_path / "miou_history.npy", [0.25])
    done = tool("--output", "new/curve.png", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Max: 0.2500 at epoch 1" in done.stdout
    assert (tmp_path / "new" / "curve.png").is_file()


def test_missing_history_is_one_line_and_status_2(tmp_path):
    done = tool("--history", "nothing.npy", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: nothing.npy is neither")
    assert len(done.stderr.splitlines()) == 1


def test_weights_folder_is_the_second_place(tmp_path, monkeypatch):
    (tmp_path / "project" / "weights").mkdir(parents=True)
    (tmp_path / "here").mkdir()
    there = save_array(tmp_path / "project" / "weights" / "miou_history.npy", [0.5])
    monkeypatch.setattr(plots, "PROJECT", tmp_path / "project")
    monkeypatch.chdir(tmp_path / "here")
    assert plots.find_history("miou_history.npy") == there
    save_array(tmp_path / "here" / "miou_history.npy", [0.5])
    assert plots.find_history("miou_history.npy").resolve().parent == tmp_path / "here"


def test_kind_comes_from_the_name_and_accuracy_is_in_per_cent(tmp_path):
    (miou,) = plots.read_history(save_array(tmp_path / "a-miou.npy", [0.3, 0.4]))
    (chapter,) = plots.read_history(save_array(tmp_path / "mpla_history.npy", [91.0, 97.9]))
    (fraction,) = plots.read_history(save_array(tmp_path / "mpla_fraction.npy", [0.91, 0.979]))
    assert [miou.kind, chapter.kind, fraction.kind] == [plots.MIOU, plots.ACCURACY, plots.ACCURACY]
    np.testing.assert_allclose(miou.values, [0.3, 0.4])
    np.testing.assert_allclose(chapter.values, [91.0, 97.9])
    np.testing.assert_allclose(fraction.values, [91.0, 97.9])


@pytest.mark.long
def test_csv_gives_each_run_its_own_curves(tmp_path):
    path = save_csv(
        tmp_path / "fcn-history.csv",
        [
            "1,1,2.0,0.001,0.40,0.30,0.80,9",
            "1,2,1.5,0.001,0.60,0.50,0.90,9",
            "2,1,1.9,0.001,nan,0.35,0.85,9",  # an epoch without the chapter's mIoU
            "2,2,nan,0.001,0.70,0.45,0.95,9",
        ],
    )
    curves = {(curve.run, curve.name): curve for curve in plots.read_history(path)}
    assert len(curves) == 8
    assert plots.best(curves[1, "dataset mIoU"]) == (0.5, 2)
    assert curves[1, "dataset mIoU"].values.tolist() == [0.3, 0.5]
    assert plots.best(curves[1, "loss"]) == (1.5, 2)
    assert plots.best(curves[2, "pixel accuracy"]) == (pytest.approx(95), 2)
    assert curves[2, "chapter's mIoU"].epochs.tolist() == [2]
    assert curves[2, "loss"].values.tolist() == [1.9]
    plots.draw_curves(path, tmp_path / "curves.png")
    # A colour per run: matplotlib's first two.
    assert {(0x1F, 0x77, 0xB4), (0xFF, 0x7F, 0x0E)} <= colours_of(tmp_path / "curves.png")


def two_stages(folder: Path) -> Path:
    return save_csv(
        folder / "fcn-history.csv",
        [
            "1,1,2.0,0.001,0.40,0.30,0.80,9",
            "1,2,1.5,0.001,0.60,0.50,0.90,9",
            "2,1,1.9,0.001,0.65,0.55,0.92,9",
            "2,2,1.4,0.001,0.93,0.85,0.98,9",
            "2,3,1.3,0.001,0.92,0.84,0.97,9",
        ],
    )


def test_figures_of_the_chapter_show_stages_one_after_another(tmp_path):
    curves = plots.plot_history([two_stages(tmp_path)], tmp_path / "out.png", chapter=True)
    assert [(curve.kind, curve.run) for curve in curves] == [
        (plots.MIOU, 1),
        (plots.ACCURACY, 1),
        (plots.MIOU, 2),
        (plots.ACCURACY, 2),
    ]
    miou = [curve for curve in curves if curve.kind == plots.MIOU]
    assert {curve.name for curve in miou} == {"chapter's mIoU"}
    assert [curve.epochs.tolist() for curve in miou] == [[1, 2], [3, 4, 5]]
    assert plots.best(miou[1]) == (0.93, 4)
    assert [curve.epochs.tolist() for curve in curves if curve.kind == plots.ACCURACY] == [
        [1, 2],
        [3, 4, 5],
    ]


def test_figures_of_the_chapter_show_its_numbers(tmp_path, monkeypatch):
    from matplotlib.axes import Axes

    drawn, original = {}, Axes.axhline

    def axhline(axes, y, **options):
        drawn[y] = options["ls"], options["label"].split()[-2:]
        return original(axes, y, **options)

    monkeypatch.setattr(Axes, "axhline", axhline)
    path = two_stages(tmp_path)
    plots.plot_history([path], tmp_path / "plain.png")
    assert not drawn
    plots.plot_history([path], tmp_path / "out.png", chapter=True)
    assert drawn == {0.91: ("--", ["max", "0.91"]), 97.9: ("--", ["97.9", "%"])}


def test_the_chapters_own_two_arrays_both_begin_at_epoch_1(tmp_path):
    miou = save_array(tmp_path / "miou_history.npy", [0.3, 0.4])
    accuracy = save_array(tmp_path / "mpla_history.npy", [91.0, 97.9])
    curves = plots.plot_history([miou, accuracy], tmp_path / "two.png", chapter=True)
    assert [curve.epochs.tolist() for curve in curves] == [[1, 2], [1, 2]]


def test_a_history_without_scores_has_no_figures_of_the_chapter(tmp_path):
    path = save_csv(tmp_path / "x-history.csv", ["1,1,2.0,0.001,nan,0.3,nan,9"])
    with pytest.raises(UserError, match="x-history.csv"):
        plots.plot_history([path], tmp_path / "out.png", chapter=True)


def test_chapter_option_counts_epochs_over_all_runs(tmp_path):
    done = tool("--chapter", "--history", two_stages(tmp_path), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Max: 0.9300 at epoch 4 (run 2" in done.stdout
    assert (tmp_path / "fcn-history.png").is_file()


def test_files_of_several_kinds_are_drawn_side_by_side(tmp_path):
    miou = save_array(tmp_path / "miou_history.npy", [0.3, 0.4])
    accuracy = save_array(tmp_path / "mpla_$history_.npy", [91.0, 97.9, 97.0])
    plots.plot_history([miou], tmp_path / "one.png")
    curves = plots.plot_history([miou, accuracy], tmp_path / "two.png")
    assert [curve.kind for curve in curves] == [plots.MIOU, plots.ACCURACY]
    one, two = Image.open(tmp_path / "one.png"), Image.open(tmp_path / "two.png")
    assert two.width > 1.8 * one.width


def test_files_of_one_name_in_two_folders_are_two_curves(tmp_path):
    paths = []
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
        paths.append(save_array(tmp_path / folder / "miou_history.npy", [0.3, 0.4 + len(paths)]))
    curves = plots.plot_history(paths, tmp_path / "both.png")
    assert plots._labels(curves) == ["first/miou_history", "second/miou_history"]
    assert {(0x1F, 0x77, 0xB4), (0xFF, 0x7F, 0x0E)} <= colours_of(tmp_path / "both.png")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a_miou.npy", b"no array"),
        ("empty.npy", b""),
        ("empty.csv", b""),
        ("other.csv", b"name,age\nada,36\n"),
        ("word.csv", HEADER.encode() + b"1,1,low,0.001,0.4,0.3,0.8,9\n"),
        ("epoch.csv", HEADER.encode() + b"1,,1.0,0.001,0.4,0.3,0.8,9\n"),
        ("short.csv", HEADER.encode() + b"1\n"),
        ("binary.csv", bytes(range(128, 256))),
    ],
)
def test_other_files_are_refused_by_name(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=name):
        plots.read_history(tmp_path / name)


def test_pickled_and_wrongly_shaped_arrays_are_refused(tmp_path):
    np.save(tmp_path / "miou_pickle.npy", np.array([{"a": 1}], object), allow_pickle=True)
    save_array(tmp_path / "miou_square.npy", np.zeros((3, 3)))
    np.save(tmp_path / "miou_words.npy", np.array(["a", "b"]))
    save_array(tmp_path / "miou_nan.npy", [np.nan, np.nan])
    for path in tmp_path.glob("*.npy"):
        with pytest.raises(UserError, match=path.name):
            plots.read_history(path)


def test_figures_do_not_pile_up(tmp_path):
    from matplotlib.figure import Figure

    def figures() -> int:
        gc.collect()
        return sum(isinstance(thing, Figure) for thing in gc.get_objects())

    path = save_array(tmp_path / "miou_history.npy", [0.3, 0.4])
    before = figures()
    for _ in range(3):
        plots.plot_history([path], tmp_path / "out.png")
    assert figures() == before


def test_a_header_that_lies_is_no_history(tmp_path):
    """`np.load` would ask for 8 TB."""
    path = tmp_path / "iou.npy"
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode())
    for content in (path.read_bytes(), b"PK\x03\x04" + bytes(60), b""):
        path.write_bytes(content)
        with pytest.raises(UserError, match="is no history"):
            plots.read_history(path)
    with pytest.raises(UserError, match="does not exist"):
        plots.read_history(tmp_path / ("x" * 300))


def test_a_history_is_not_replaced_by_its_plot(tmp_path):
    path = save_csv(tmp_path / "a_history.csv", ["1,1,0.5,0.1,0.2,0.2,0.3,1"])
    before = path.read_bytes()
    (tmp_path / "link.png").symlink_to(path)
    for output in (path, tmp_path / "link.png"):
        with pytest.raises(UserError, match="would be replaced .* name another PNG"):
            plots.plot_history([path], output)
    assert path.read_bytes() == before
    plots.plot_history([path], tmp_path / "a.png")
