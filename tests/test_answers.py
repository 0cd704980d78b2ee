"""`--segment`: what is written of pictures, going on after an interruption, and what stays."""

import csv
import io
import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import PROJECT, run_script
from keras import ops
from PIL import Image

from tools.answer_files import Wanted, class_and_confidence, mark
from tools.answers import segment
from tools.large import windows_of
from tools.sources import EACH, JOURNAL, LOCK, OF_ALL, Source, find_sources
from utils.classes import named
from utils.errors import UserError
from utils.generate_gt_segmentation import make_labels
from utils.label_maps.store import open_labels

CLASSES = named(["background", "square"])
ALL = (*EACH, *OF_ALL)
SIZE = (40, 60)


def picture(left=5, size=SIZE):
    """Grey, with a red square."""
    values = np.full((*size, 3), 90, np.uint8)
    values[10:30, left : left + 20] = (220, 30, 30)
    return values


def truth(left=5, size=SIZE):
    return (picture(left, size)[..., 0] == 220).astype(np.uint8)


def ask(pictures, size=None):
    """A network that is 90 % sure of what is red, and 80 % of the rest."""
    red = np.array([p[..., 0] > 150 for p in pictures])[..., None]
    return ops.convert_to_tensor(np.where(red, (0.1, 0.9), (0.8, 0.2)).astype("float32"))


@pytest.fixture
def photographs(tmp_path):
    folder = tmp_path / "photographs"
    for number, name in enumerate(("a.png", "b/a.png", "b/c d/é.png", ".hidden/x.png")):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(5 * number)).save(path)
    return folder


def go(folder, out, write=ALL, ask=ask, made_with=None, **more):
    sources = find_sources([Path(folder)], out)
    wanted = Wanted(write, out, **more)
    segment(ask, sources, CLASSES, wanted, made_with or {"weights": "x"})
    return [source.name for source in sources]


def test_everything_is_written_and_can_be_read_again(photographs, tmp_path, capsys):
    out = tmp_path / "out"
    names = go(photographs, out, pixel=(0.5, "mm"))
    assert names == ["a.png", "b/a.png", "b/c d/é.png"]
    assert "3 pictures segmented" in capsys.readouterr().out
    for number, name in enumerate(names):
        expected = truth(5 * number)
        mask = Image.open(out / (name + "-mask.png"))
        assert mask.mode == "P" and np.array_equal(np.array(mask), expected)
        cutout = np.array(Image.open(out / (name + "-cutout.png")))
        assert np.array_equal(cutout[..., 3] > 0, expected > 0)
        assert np.array_equal(cutout[..., :3], picture(5 * number))
        over = np.array(Image.open(out / (name + "-overlay.jpg")))
        assert over.shape == (*SIZE, 3) and np.ptp(over[:5]) < 10 < np.ptp(over)
        probabilities = np.load(out / (name + "-probabilities.npy"), allow_pickle=False)
        assert probabilities.shape == (*SIZE, 2)
        assert np.abs(probabilities.max() - 0.9) < 1e-3
        assert Image.open(out / (name + "-segmentation.png")).size > SIZE
    with open(out / "areas.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["picture"] for row in rows} == set(names)
    square = [row for row in rows if row["class"] == "square" and row["object"] == "1"]
    assert [row["pixels"] for row in square] == ["400"] * 3
    assert [float(row["area_mm2"]) for row in square] == [100.0] * 3
    assert [float(row["confidence"]) for row in square] == pytest.approx([0.9] * 3, abs=1e-3)

    # The annotations are read by what reads those that people trace.
    for kind in ("polygons", "coco", "labelme"):
        copy = tmp_path / kind
        shutil.copytree(photographs, copy)
        shutil.copytree(out / OF_ALL[kind], copy / "l") if kind == "labelme" else shutil.copy(
            out / OF_ALL[kind], copy
        )
        source = copy / ("l" if kind == "labelme" else OF_ALL[kind])
        store = open_labels(make_labels(source, data_path=copy, progress=False), copy)
        assert sorted(store.keys) == sorted(names)
        for number, name in enumerate(names):
            assert (store[name] == truth(5 * number)).mean() > 0.995, kind


def test_with_a_gpu_neighbours_of_one_size_are_asked_together(photographs, tmp_path, monkeypatch):
    asked = []

    def counts(pictures, size=None):
        asked.append(len(pictures))
        return ask(pictures, size)

    for gpu, expected in ((None, [1, 1, 1]), ("a GPU", [3])):
        monkeypatch.setattr("evaluation.gpu_name", lambda gpu=gpu: gpu)
        go(photographs, tmp_path / str(gpu), write=("mask", "areas"), ask=counts)
        assert asked == expected
        asked.clear()
    one, other = (sorted((tmp_path / str(gpu)).rglob("*-mask.png")) for gpu in (None, "a GPU"))
    assert len(one) == 3
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in other]
    assert areas(tmp_path / "None") == areas(tmp_path / "a GPU")


def test_of_masks_alone_one_number_a_picture_tells_how_sure_the_network_is(tmp_path, monkeypatch):
    probabilities = ask([picture(), picture(5)])
    maps, sure = class_and_confidence(probabilities, ("mask", "areas"))
    same, means = class_and_confidence(probabilities, ("mask", "overlay"))
    assert sure.shape == maps.shape == (2, *SIZE) and means.shape == (2, 1, 1)
    np.testing.assert_array_equal(maps, same)
    np.testing.assert_allclose(means, sure.mean((1, 2), keepdims=True), rtol=1e-6)


def test_coco_holds_holes(tmp_path):
    holed = picture()
    holed[16:24, 10:18] = 90
    Image.fromarray(holed).save(tmp_path / "a.png")
    go(tmp_path / "a.png", tmp_path / "out", write=("coco", "polygons"))
    for name in ("coco.json", "via_project.json"):
        shutil.copy(tmp_path / "out" / name, tmp_path)
        labels = make_labels(tmp_path / name, data_path=tmp_path, progress=False)
        assert np.array_equal(open_labels(labels, tmp_path)["a.png"], holed[..., 0] == 220), name


def test_an_interrupted_run_goes_on(photographs, tmp_path, capsys):
    out, seen = tmp_path / "out", []

    def stops(pictures, size=None):
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(size)
        return ask(pictures, size)

    with pytest.raises(KeyboardInterrupt):
        go(photographs, out, ask=stops)
    done = len([path for path in out.rglob("*-mask.png")])
    assert not (out / "areas.csv").exists()

    asked = []

    def counts(pictures, size=None):
        asked.append(size)
        return ask(pictures, size)

    go(photographs, out, ask=counts)
    assert 3 - done <= len(asked) < 3
    assert "of 3 pictures are done already" in capsys.readouterr().out
    whole = tmp_path / "whole"
    go(photographs, whole)
    for path in sorted(whole.rglob("*.*")):
        if path.name not in ("segmented.jsonl",):
            assert path.read_bytes() == (out / path.relative_to(whole)).read_bytes(), path

    # Nothing changed: nothing is asked again. What changed is.
    del asked[:]
    go(photographs, out, ask=counts)
    assert asked == []
    Image.fromarray(picture(30)).save(photographs / "a.png")
    go(photographs, out, ask=counts)
    assert len(asked) == 1
    assert np.array_equal(np.array(Image.open(out / "a.png-mask.png")), truth(30))
    (out / "b" / "a.png-overlay.jpg").unlink()
    go(photographs, out, ask=counts)
    assert len(asked) == 2 and (out / "b" / "a.png-overlay.jpg").is_file()
    go(photographs, out, ask=counts, made_with={"weights": "y"})
    assert len(asked) == 5


def test_outputs_that_are_asked_for_later_are_made(photographs, tmp_path):
    out = tmp_path / "out"
    go(photographs, out, write=("mask",))
    assert sorted(path.name for path in out.iterdir()) == ["a.png-mask.png", "b", "segmented.jsonl"]
    go(photographs, out, write=("areas",))
    assert (out / "areas.csv").is_file()


@pytest.mark.parametrize("name", sorted(OF_ALL.values()))
def test_what_somebody_changed_is_not_replaced(photographs, tmp_path, name):
    """Predictions that were corrected in an annotator."""
    out = tmp_path / "out"
    go(photographs, out)
    go(photographs, out)  # what was written here may be replaced
    path = out / name
    path = sorted(path.iterdir())[0] if path.is_dir() else path
    path.write_text(path.read_text() + " ")
    before = path.read_text()
    with pytest.raises(UserError, match=f"{name} is there already .* changed since; move it away"):
        go(photographs, out)
    assert path.read_text() == before


def test_no_input_is_replaced(photographs):
    (photographs / "via_project.json").write_text("{}")  # that of somebody
    with pytest.raises(UserError, match="via_project.json is there already"):
        go(photographs, photographs)
    go(photographs, photographs, write=("mask",))
    assert (photographs / "a.png-mask.png").is_file()
    # A second time the results are no pictures.
    assert go(photographs, photographs, write=("mask",))[0] == "a.png"
    assert not (photographs / "a.png-mask.png-mask.png").exists()
    with pytest.raises(UserError, match="a.png-mask.png would be replaced by a result, and is"):
        paths = [photographs / "a.png", photographs / "a.png-mask.png"]
        sources = [Source(path.name, path) for path in paths]
        segment(ask, sources, CLASSES, Wanted(("mask",), photographs), {})


def test_results_below_the_pictures_are_no_pictures(photographs):
    out = photographs / "results"
    assert len(go(photographs, out)) == 3
    assert len(go(photographs, out)) == 3


def mask_of(out, name="a.png"):
    return np.array(Image.open(out / (name + "-mask.png")))


def test_a_file_of_other_options_is_not_taken_for_done(tmp_path):
    Image.fromarray(picture()).save(tmp_path / "a.png")
    out = tmp_path / "out"
    go(tmp_path / "a.png", out, write=("mask",))
    with pytest.raises(UserError, match="a.png-mask.png was made with another min_area and would"):
        go(tmp_path / "a.png", out, write=("overlay",), least=1000)
    assert mask_of(out).any() and not (out / "a.png-overlay.jpg").exists()
    go(tmp_path / "a.png", out, write=("mask", "overlay"), least=1000)  # more than the square has
    assert not mask_of(out).any()
    Image.fromarray(picture(30)).save(tmp_path / "a.png")
    go(tmp_path / "a.png", out, write=("overlay",), least=1000)
    go(tmp_path / "a.png", out, write=("mask", "overlay"), least=0)
    assert np.array_equal(mask_of(out), truth(30))


def test_what_was_begun_does_not_stay_beside_other_answers(photographs, tmp_path, monkeypatch):
    """Killed before its first record, with another option then."""
    out = tmp_path / "out"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("tools.answers._add", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        go(photographs, out, write=("mask", "overlay"))
    with pytest.raises(UserError, match="a.png-overlay.jpg was made with another min_area"):
        go(photographs, out, write=("mask",), least=3)
    go(photographs, out, write=("mask",))


def test_new_colours_come_to_what_is_done(tmp_path):
    Image.fromarray(picture()).save(tmp_path / "a.png")
    out, places = tmp_path / "out", [tmp_path / "a.png"]
    for colour in ((1, 2, 3), (4, 5, 6)):
        coloured = replace(CLASSES, colours=((0, 0, 0), colour))
        for _ in range(2):
            segment(ask, find_sources(places, out), coloured, Wanted(("mask",), out), {})
        assert colour in Image.open(out / "a.png-mask.png").palette.colors


def test_overlays_beyond_what_a_jpeg_holds_are_reduced(tmp_path):
    """Masks are whole, whatever their size."""
    wide = np.zeros((2, 65_501, 3), np.uint8)
    wide[:, 40_000:] = (220, 30, 30)
    Image.fromarray(wide).save(tmp_path / "a.png")
    go(tmp_path / "a.png", tmp_path / "out", write=("mask", "overlay"))
    assert Image.open(tmp_path / "out" / "a.png-mask.png").size == (65_501, 2)
    assert Image.open(tmp_path / "out" / "a.png-overlay.jpg").size == (32_751, 1)


@pytest.mark.parametrize("out", [".", "b", "b/c d", ".."])
def test_results_may_be_anywhere_among_the_pictures(photographs, monkeypatch, out):
    monkeypatch.chdir(photographs)
    expected = {".": 3, "..": 3, "b": 1, "b/c d": 2}[out]
    for _ in range(2):
        assert len(go(photographs, Path(out), write=("mask",))) == expected


def test_results_of_two_runs_are_no_pictures(photographs):
    for out in ("one", "two", "one"):
        assert len(go(photographs, photographs / out, write=("mask", "cutout"))) == 3


def test_pages_in_place(tmp_path):
    pages = [Image.fromarray(picture(left)) for left in (0, 10)]
    pages[0].save(tmp_path / "s.tif", save_all=True, append_images=pages[1:])
    for _ in range(2):
        assert go(tmp_path, tmp_path) == ["s.tif#1", "s.tif#2"]
    assert len(list((tmp_path / "labelme").glob("s*.json"))) == 2


def test_every_picture_has_a_file_of_labelme(tmp_path):
    folder = tmp_path / "p"
    (folder / "x").mkdir(parents=True)
    names = ("a.png", "a.bmp", "A.tif", "x-y.png", "x/y.png")
    for name in names:
        Image.fromarray(picture()).save(folder / name)
    go(folder, tmp_path / "out", write=("labelme",))
    paths = (tmp_path / "out" / "labelme").iterdir()
    files = [json.loads(path.read_text()) for path in paths if path.name != "classes.json"]
    assert sorted(each["imagePath"] for each in files) == sorted(names)


def test_labelme_comes_back_with_the_ids_of_the_network(tmp_path):
    """Which its names alone do not tell; whatever a picture is called."""
    classes = named(["background", "zebra", "ape"])
    (tmp_path / "p").mkdir()
    for name in ("a.png", "classes.png"):
        Image.fromarray(picture()).save(tmp_path / "p" / name)
    sources = find_sources([tmp_path / "p"], tmp_path / "out")
    segment(
        lambda pictures, size=None: ops.pad(ask(pictures), [(0, 0)] * 3 + [(0, 1)]),
        sources,
        classes,
        Wanted(("labelme",), tmp_path / "out"),
        {},
    )
    folder = tmp_path / "out" / "labelme"
    assert {path.name for path in folder.iterdir()} == {
        "a.json",
        "classes.json",
        "classes.png.json",
    }
    assert make_labels(folder, tmp_path / "l.npy", data_path=tmp_path / "p") is not None
    store = open_labels(tmp_path / "l.npy", tmp_path / "p")
    assert store.classes.names == classes.names
    assert all(np.array_equal(store[key], truth()) for key in store.keys)


def test_what_others_lose_by_other_options_is_refused(photographs, tmp_path):
    out = tmp_path / "out"
    go(photographs, out)
    whole = areas(out)
    complaint = "answers made with another min_area, to 2 more pictures, such as 'b/a.png'; choose"
    with pytest.raises(UserError, match=complaint):
        go(photographs / "a.png", out, least=50)
    assert areas(out) == whole
    go(photographs / "a.png", out)  # it goes on as it was
    assert areas(out) == whole
    go(photographs, out, least=50)


def test_a_picture_of_the_same_name_is_another(tmp_path):
    for number, folder in enumerate(("one", "two")):
        (tmp_path / folder).mkdir()
        Image.fromarray(picture(10 * number)).save(tmp_path / folder / "a.bmp")
        os.utime(tmp_path / folder / "a.bmp", (1, 1))
    go(tmp_path / "one", tmp_path / "out", write=("mask",))
    with pytest.raises(UserError, match="results of another picture that is called 'a.bmp'"):
        go(tmp_path / "two", tmp_path / "out", write=("mask",))
    assert np.array_equal(mask_of(tmp_path / "out", "a.bmp"), truth(0))


def test_masks_of_others_and_edited_ones_stay(photographs, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.png-mask.png").write_text("somebody's")
    with pytest.raises(UserError, match="a.png-mask.png is there already and was not written here"):
        go(photographs, out)
    assert (out / "a.png-mask.png").read_text() == "somebody's"
    (out / "a.png-mask.png").unlink()
    go(photographs, out)
    (out / "b" / "a.png-mask.png").write_text("edited")
    go(photographs, out)  # it is done, whatever became of it
    with pytest.raises(UserError, match="changed since; move it away"):
        go(photographs, out, least=3)
    assert (out / "b" / "a.png-mask.png").read_text() == "edited"


def test_what_was_half_written_is_written_anew(photographs, tmp_path, monkeypatch):
    """Killed between a picture's files and its record."""
    out = tmp_path / "out"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("tools.answers._add", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        go(photographs, out)
    assert (out / "a.png-mask.png").is_file()
    go(photographs, out)
    assert len(list(out.rglob("*-mask.png"))) == 3 and len(areas(out)) > 6


def test_a_part_of_the_pictures_joins_the_others(photographs, tmp_path):
    out = tmp_path / "out"
    go(photographs, out)
    whole = areas(out)
    go(photographs / "a.png", out)
    assert areas(out) == whole
    (photographs / "a.png").write_bytes(b"damaged")
    with pytest.raises(UserError, match="could not be read: 'a.png'"):
        go(photographs, out)
    assert areas(out) == [row for row in whole if row["picture"] != "a.png"]


def test_damaged_pictures_are_named_at_the_end(photographs, tmp_path, capsys):
    (photographs / "b" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    (photographs / "b" / "photo.heic").touch()
    out = tmp_path / "out"
    with pytest.raises(UserError, match="1 of 4 pictures could not be read: 'b/broken.jpg'; save"):
        go(photographs, out)
    printed = capsys.readouterr()
    assert "photo.heic, in all 1 of kinds" in printed.err and "3 pictures segmented" in printed.out
    assert (out / "areas.csv").is_file() and len(list(out.rglob("*-mask.png"))) == 3
    only = tmp_path / "only.png"
    only.write_bytes(b"x")
    with pytest.raises(UserError, match="only.png cannot be read as a picture"):
        go(only, tmp_path / "out2")


def test_names_may_be_anything(tmp_path):
    folder = tmp_path / "p"
    folder.mkdir()
    names = ["two\nlines.png", "=1+1.png", 'q"uote.png', "-x.png"]
    for name in names:
        Image.fromarray(picture()).save(folder / name)
    out = tmp_path / "out"
    assert sorted(go(folder, out)) == sorted(names)
    with open(out / "areas.csv", newline="", encoding="utf-8") as file:
        found = {row["picture"] for row in csv.DictReader(file)}
    assert found == {"two\nlines.png", "./=1+1.png", 'q"uote.png', "./-x.png"}
    keys = json.loads((out / "via_project.json").read_text())["_via_img_metadata"].values()
    assert sorted(each["filename"] for each in keys) == sorted(names)


def test_pages_are_pictures_and_names_are_told_apart(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
        pages = [Image.fromarray(picture(left)) for left in (0, 10, 20)]
        pages[0].save(folder / "s.tif", save_all=True, append_images=pages[1:])
    sources = find_sources([one, other / "s.tif"], tmp_path / "out")
    assert [source.name for source in sources] == [
        *(f"s.tif#{page}" for page in (1, 2, 3)),
        *(f"other-s.tif#{page}" for page in (1, 2, 3)),
    ]
    segment(ask, sources, CLASSES, Wanted(("mask",), tmp_path / "out"), {})
    masks = [np.array(Image.open(tmp_path / "out" / f"s.tif#{page}-mask.png")) for page in (1, 2)]
    assert np.array_equal(masks[0], truth(0)) and np.array_equal(masks[1], truth(10))


def test_the_least_sure_are_named(photographs, tmp_path, capsys):
    Image.fromarray(picture(0, (30, 20))).save(photographs / "all.png")  # more of it is red
    go(photographs, tmp_path / "out", uncertain=1)
    lines = capsys.readouterr().out.splitlines()
    place = lines.index("Least sure of, to trace next:")
    assert lines[place + 1].strip() == "a.png: 81.7% sure on average"
    assert "on average" not in lines[place + 2]


def test_specks_are_taken_away(tmp_path):
    speckled = picture()
    speckled[0, 50] = speckled[15, 10] = (220, 30, 30)
    speckled[20, 10] = 90  # a hole
    Image.fromarray(speckled).save(tmp_path / "a.png")
    go(tmp_path / "a.png", tmp_path / "out", write=("mask",), least=4)
    assert np.array_equal(np.array(Image.open(tmp_path / "out" / "a.png-mask.png")), truth())


def areas(out):
    with open(out / "areas.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_in_windows_it_is_the_same(photographs, tmp_path):
    """The toy says of each pixel what it says of it alone; windows are smaller than the picture."""
    go(photographs, tmp_path / "whole")
    go(photographs, tmp_path / "parts", windows=((32, 48), 1.0))
    whole = sorted(path for path in (tmp_path / "whole").rglob("*.*"))
    for path in whole:
        other = tmp_path / "parts" / path.relative_to(tmp_path / "whole")
        if path.suffix == ".npy":
            np.testing.assert_allclose(np.load(other), np.load(path), atol=1e-3)
        elif path.name != "segmented.jsonl":
            assert other.read_bytes() == path.read_bytes(), path


def test_what_is_too_large_is_written_in_strips(photographs, tmp_path, capsys, monkeypatch):
    windows = ((32, 48), 1.0)
    go(photographs, tmp_path / "whole", windows=windows)
    monkeypatch.setattr("tools.large.LARGE", 1000)
    monkeypatch.setattr("tools.large.DRAWN", 20)
    go(photographs, tmp_path / "parts", windows=windows)
    told = capsys.readouterr().err
    assert "a.png has more than 0 megapixels: without cutout, probabilities, polygons" in told
    for name in ("a.png", "b/a.png"):
        masks = [Image.open(tmp_path / d / (name + "-mask.png")) for d in ("whole", "parts")]
        assert masks[0].getpalette() == masks[1].getpalette()
        assert np.array_equal(*map(np.array, masks))
        small = Image.open(tmp_path / "parts" / (name + "-overlay.jpg"))
        assert small.size == (20, 14)  # every third pixel of 60 x 40
    rows = [row for row in areas(tmp_path / "whole") if not row["object"]]
    for one, other in zip(rows, areas(tmp_path / "parts"), strict=True):
        assert one | {"objects": ""} == other
    go(photographs, tmp_path / "other", write=("areas",), windows=windows)
    assert areas(tmp_path / "other") == areas(tmp_path / "parts")


def test_the_scale_of_windows(tmp_path):
    weights = PROJECT / "weights" / "ResNet56v2-3layer-drinks-best-iou.weights.h5"
    assert windows_of("none", (192, 256), weights) is None
    assert windows_of(0.3, (192, 256), weights) == ((192, 256), 0.3)
    if weights.is_file():  # of pictures of 480 x 640
        size, scale = windows_of("auto", (192, 256), weights)
        assert size == (192, 256) and scale == pytest.approx(0.4)
    with pytest.raises(UserError, match="does not exist|cannot be read|fetch"):
        windows_of("auto", (192, 256), tmp_path / "x.weights.h5")


def frames_together(monkeypatch):
    """How many frames of a video are answered together, a number a batch."""
    from tools import clips

    numbers, found = [], clips.class_and_confidence

    def counted(probabilities, write):
        numbers.append(len(probabilities))
        return found(probabilities, write)

    monkeypatch.setattr(clips, "class_and_confidence", counted)
    return numbers


@pytest.mark.parametrize(("gpu", "together"), [(None, [1] * 6), ("a GPU", [4, 2])])
def test_videos_are_segmented(photographs, tmp_path, capsys, monkeypatch, gpu, together):
    pytest.importorskip("av")
    from utils.video import read_video, write_video

    monkeypatch.setattr("evaluation.gpu_name", lambda: gpu)
    batches = frames_together(monkeypatch)
    with write_video(photographs / "b" / "clip.mp4", SIZE, 10) as video:
        for number in range(6):
            video.write(picture(5 * number))
    (photographs / "broken.mp4").write_bytes(b"no video")
    out = tmp_path / "out"
    with pytest.raises(UserError, match="1 of 5 pictures could not be read: 'broken.mp4'"):
        go(photographs, out, write=("mask", "overlay", "areas", "polygons"), windows=(SIZE, 1))
    assert "clip.mp4 is a video: without polygons, --tile" in capsys.readouterr().err
    frames = [frame for _, frame in read_video(out / "b" / "clip.mp4-overlay.mp4")]
    assert batches == together
    assert len(frames) == 6 and frames[0].shape == (*SIZE, 3)
    for number in range(6):
        mask = np.array(Image.open(out / "b" / "clip.mp4-mask" / f"{number + 1:06}.png"))
        assert (mask == truth(5 * number)).mean() > 0.95  # the codec blurs edges
    names = {row["picture"] for row in areas(out)}
    assert {f"b/clip.mp4#{number}" for number in range(1, 7)} < names
    assert "clip" not in (out / "via_project.json").read_text()


def test_a_webcam_is_segmented_until_ctrl_c(tmp_path, monkeypatch, capsys):
    pytest.importorskip("av")
    from utils.video import read_video

    class Webcam:
        shape, rate, count, damaged = SIZE, 10, None, 0
        frames = iter([(0, picture()), (0.1, picture(5))])

        def __enter__(self):
            return self

        __iter__ = __enter__

        def __exit__(self, *_):
            pass

        def __next__(self):
            for frame in self.frames:
                return frame
            raise KeyboardInterrupt

    monkeypatch.setattr("evaluation.gpu_name", lambda: "a GPU")
    batches = frames_together(monkeypatch)
    monkeypatch.setattr("tools.clips.read_webcam", lambda number: Webcam())
    monkeypatch.chdir(tmp_path)
    go("0", tmp_path / "out", write=("overlay", "areas"))
    (video,) = (tmp_path / "out").glob("webcam0-20*-overlay.mp4")
    assert len(list(read_video(video))) == 2
    name = video.name.removesuffix("-overlay.mp4")
    assert {row["picture"] for row in areas(tmp_path / "out")} == {f"{name}#1", f"{name}#2"}
    assert batches == [1, 1]  # each as it comes


def test_two_at_once_are_refused(photographs, tmp_path):
    out = tmp_path / "out"

    def second(pictures, size=None):
        with pytest.raises(UserError, match="another program writes into"):
            go(photographs, out)
        return ask(pictures, size)

    go(photographs, out, ask=second)


def test_what_is_named_twice_is_segmented_once(photographs, tmp_path):
    paths = [photographs, photographs / "a.png", photographs / "b", photographs]
    assert len(find_sources(paths, tmp_path / "out")) == 3


def test_names_that_the_terminal_has_no_letters_for(photographs, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    go(photographs, tmp_path / "out", write=("mask",), uncertain=3)
    sys.stdout.flush()
    assert b"b/c d/\\xe9.png: background" in sys.stdout.buffer.getvalue()


def test_a_file_is_no_place_for_results(photographs):
    with pytest.raises(UserError, match="--prediction-dir .*a.png is a file; name a folder"):
        go(photographs, photographs / "a.png")


def test_nothing_to_segment_is_told(tmp_path):
    with pytest.raises(UserError, match="holds no picture; name JPEG"):
        find_sources([tmp_path], tmp_path / "out")
    with pytest.raises(UserError, match="nowhere does not exist"):
        find_sources([tmp_path / "nowhere"], tmp_path / "out")


@pytest.mark.long
def test_the_command_takes_the_weights_that_ship(tmp_path, capsys):
    if not (PROJECT / "weights" / "ResNet56v2-3layer-drinks-best-iou.weights.h5").is_file():
        pytest.skip("no shipped weights")
    shutil.copy(PROJECT / "data" / "drinks" / "0010008.jpg", tmp_path)
    out = tmp_path / "out"
    run_script("--segment", tmp_path / "0010008.jpg", "--prediction-dir", out, "--write",
               "mask,polygons", "--tta", "flip")  # fmt: skip
    printed = capsys.readouterr().out
    assert "1 pictures segmented" not in printed and "1 picture segmented" in printed
    assert "background" in printed and "192x256" in printed
    mask = np.array(Image.open(out / "0010008.jpg-mask.png"))
    assert mask.shape == (480, 640) and len(np.unique(mask)) > 1
    assert (out / "via_project.json").is_file()


def hostile(record):
    """Records that a stranger may have written, none of which was written here."""
    yield {"rows": 5}
    yield {"rows": [{}]}
    yield {"rows": [dict.fromkeys(record["rows"][0], [])]}
    yield {"polygons": [[99, "polygon", {"all_points_x": [1], "all_points_y": [1]}, {}]]}
    yield {"polygons": [["a", "polygon", {}, {}]]}
    yield {"polygons": [[1, "polygon", {"all_points_x": 5, "all_points_y": [1]}, {}]]}
    yield {"rings": [[1, "rings", {"rings": [[[1e9, 1], [1, 1], [2, 2]]]}, {}]]}
    yield {"rings": "nonsense"}
    yield {"shape": [3]}
    yield {"shape": [200_000, 200_000]}
    yield {"doubt": "no"}
    yield {"stamp": None}
    yield {"files": ["../../victim"], "kinds": [1]}
    yield {"wrote": 7}


def test_a_journal_of_a_stranger_leads_nowhere(tmp_path):
    Image.fromarray(picture()).save(tmp_path / "a.png")
    out, victim = tmp_path / "out", tmp_path / "victim"
    victim.write_text("x")
    go(tmp_path / "a.png", out)
    before = {path: path.read_bytes() for path in out.rglob("*.*") if path.name != JOURNAL}
    head, *lines = (out / JOURNAL).read_text().splitlines()
    record = next(each for each in map(json.loads, lines) if "name" in each)
    for change in hostile(record):
        for name in ("a.png", "../victim", "/tmp/x"):
            there = [*out.rglob("*.*"), out / "labelme"]
            marks = {"wrote": {path.relative_to(out).as_posix(): mark(path) for path in there}}
            bad = record | change | {"name": name}
            content = [head, *map(json.dumps, (marks, bad, marks))]
            (out / JOURNAL).write_text("\n".join(content) + "\n")
            go(tmp_path / "a.png", out)
            assert victim.read_text() == "x"
            for path, old in before.items():
                assert path.read_bytes() == old, (path, change)


@pytest.mark.parametrize("name", [JOURNAL, LOCK, "labelme"])
def test_links_are_not_followed(tmp_path, name):
    Image.fromarray(picture()).save(tmp_path / "a.png")
    out, victim = tmp_path / "out", tmp_path / "victim"
    out.mkdir()
    victim.mkdir() if name == "labelme" else None
    (out / name).symlink_to(victim)
    with pytest.raises(UserError, match="link; move it away|cannot be written|move it away"):
        go(tmp_path / "a.png", out, write=("labelme",))
    assert not (victim.exists() and (victim.is_file() or list(victim.iterdir())))


def test_folders_of_strange_names(tmp_path, monkeypatch):
    top = tmp_path / "p"
    names = ["segmented.jsonl/a.png", "labelme/a.png", "d" * 200 + "/" + "e" * 200 + "/a.png"]
    names += [os.fsdecode(b"d\xff/a.png"), "fine/a.png"]
    for name in names:
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture()).save(top / name)
    (tmp_path / "cwd").mkdir()
    (tmp_path / "cwd" / "fine").symlink_to("/")
    monkeypatch.chdir(tmp_path / "cwd")
    with pytest.raises(UserError, match="3 of 5 pictures could not be read"):
        go(top, tmp_path / "out")
    assert {row["picture"] for row in areas(tmp_path / "out")} == {names[2], names[4]}
    assert len(list((tmp_path / "out" / "labelme").iterdir())) == 3  # and the classes


def test_a_scale_without_bounds_is_refused(tmp_path):
    Image.fromarray(picture()).save(tmp_path / "a.png")
    with pytest.raises(UserError, match="a.png would be 60000000 pixels wide.*smaller scale"):
        go(tmp_path / "a.png", tmp_path / "out", windows=((32, 48), 1e6))


def test_a_video_that_changed(tmp_path):
    pytest.importorskip("av")
    from utils.video import write_video

    def film(number):
        with write_video(tmp_path / "p" / "v.mp4", SIZE, 10) as video:
            for left in range(number):
                video.write(picture(left))

    out = tmp_path / "p"  # in place
    film(6)
    go(tmp_path / "p", out, write=("mask", "overlay"))
    assert go(tmp_path / "p", out, write=("mask", "overlay")) == ["v.mp4"]
    go(tmp_path / "p", out, write=("mask", "overlay", "areas"))
    assert len({row["picture"] for row in areas(out)}) == 6
    frame = out / "v.mp4-mask" / "000003.png"
    frame.unlink()
    with pytest.raises(UserError, match="v.mp4-mask is there already .* changed since; move it"):
        go(tmp_path / "p", out, write=("mask",))
    shutil.rmtree(frame.parent)
    go(tmp_path / "p", out, write=("mask",))
    assert frame.is_file()
    film(2)
    go(tmp_path / "p", out, write=("mask",))
    assert [path.name for path in sorted(frame.parent.iterdir())] == ["000001.png", "000002.png"]
