"""utils/generate_gt_segmentation.py and its command, labels_from_masks.py, fresh_labels.py."""

import json
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

from utils.classes import named, read_classes, write_classes
from utils.errors import UserError
from utils.files import PROJECT
from utils.generate_gt_segmentation import make_labels
from utils.label_maps.fresh import ensure_labels
from utils.label_maps.from_masks import make_labels_from_masks
from utils.label_maps.store import open_labels
from utils.reading import Reading

SIZE = (20, 30)
SQUARE = {"name": "rect", "x": 5, "y": 5, "width": 4, "height": 4}  # 25 pixels
POINT = {"name": "point", "cx": 5, "cy": 5}


def picture(path, size=SIZE, mode="RGB", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size[::-1]).save(path, **options)


def entry(*values, shape=SQUARE, attribute="Name", size=-1):
    """The regions of a picture: a square per class value."""
    return {
        "size": size,
        "regions": [
            {"shape_attributes": shape, "region_attributes": {attribute: value}} for value in values
        ],
    }


def annotate(path, entries, make_pictures=True):
    """Write a VIA project of {file name: entry}, and the pictures."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {f"{name}{i}": e | {"filename": name} for i, (name, e) in enumerate(entries.items())}
    path.write_text(json.dumps({"_via_img_metadata": content}))
    for name in entries if make_pictures else ():
        picture(path.parent / name.replace("\\", "/"))
    return path


def make(path, **options):
    return open_labels(make_labels(path, progress=False, **options))


def command(*arguments, cwd=None):
    script = str(PROJECT / "utils" / "generate_gt_segmentation.py")
    return subprocess.run(
        [sys.executable, script, *map(str, arguments)], cwd=cwd, capture_output=True, text=True
    )


def test_numbers_and_a_classes_file_of_their_own(tmp_path):
    path = annotate(tmp_path / "train.json", {"a.jpg": entry("1"), "b.jpg": entry("7", 3)})
    store = make(path)
    assert store.keys == ["a.jpg", "b.jpg"]
    assert len(store.classes) == 8 and store.classes.names[7] == "class 7"
    assert read_classes(tmp_path / "classes.json") == store.classes
    assert (store["a.jpg"] == 1).sum() == 25 and store["a.jpg"].shape == SIZE
    assert (store["b.jpg"] == 3).sum() == 25
    assert store.folder == tmp_path and store.picture_path("a.jpg").exists()


def test_254_classes(tmp_path):
    """Ids of the old tool ended at 3; 4 to 6 were mixed up, 0 and 7 too."""
    values = [str(i) for i in range(1, 255)]
    entries = {f"{v}.png": entry(v) for v in values}
    store = make(annotate(tmp_path / "train.json", entries))
    assert len(store.classes) == 255
    assert [int(store[f"{v}.png"][6, 6]) for v in values] == list(range(1, 255))
    with pytest.raises(UserError, match="255 classes, but at most 254"):
        make(annotate(tmp_path / "x" / "y" / "t.json", entries | {"x.png": entry("255")}))


def test_names_get_ids_by_alphabet_whatever_the_order_of_pictures(tmp_path):
    for order in (["can", "Bottle"], ["Bottle", "can"]):
        folder = tmp_path / order[0]
        store = make(annotate(folder / "t.json", {f"{v}.png": entry(v) for v in order}))
        assert store.classes.names == ("background", "Bottle", "can")
        assert store["can.png"].max() == 2


def test_the_test_set_uses_the_classes_of_the_training_set(tmp_path):
    make(annotate(tmp_path / "train.json", {"a.jpg": entry("bottle"), "b.jpg": entry("can")}))
    store = make(annotate(tmp_path / "test.json", {"c.jpg": entry("can")}))
    assert store.classes.names == ("background", "bottle", "can")
    assert store["c.jpg"].max() == 2


def test_classes_json_one_folder_up_and_elsewhere(tmp_path):
    write_classes(tmp_path / "classes.json", named(["background", "can", "bottle"]))
    path = annotate(tmp_path / "train" / "via.json", {"a.jpg": entry("bottle")})
    assert make(path)["a.jpg"].max() == 2
    assert not (tmp_path / "train" / "classes.json").exists()
    write_classes(tmp_path / "other.json", named(["background", "x", "y", "bottle"]))
    assert make(path, classes_path=tmp_path / "other.json")["a.jpg"].max() == 3
    again = ensure_labels(path, progress=False, pictures=tmp_path)  # the choice is remembered
    assert again["a.jpg"].max() == 3


def test_an_unknown_class_is_an_error_that_lists_the_known_ones(tmp_path):
    write_classes(tmp_path / "classes.json", named(["background", "bottle"]))
    path = annotate(tmp_path / "via.json", {"a.jpg": entry("bottle", "can")})
    with pytest.raises(UserError, match="'can' .*a.jpg: region 2 .*0 background, 1 bottle"):
        make(path)
    assert not (tmp_path / "via.npy").exists()


@pytest.mark.parametrize("stray", ["can", "", None])
def test_one_stray_region_in_a_hundred_is_void(tmp_path, stray):
    write_classes(tmp_path / "classes.json", named(["background", "bottle"]))
    entries = {"a.jpg": entry(*["bottle"] * 99), "b.jpg": entry(stray)}
    path = annotate(tmp_path / "via.json", entries)
    store = make(path)
    assert (store["b.jpg"] == 255).sum() == 25 and (store["a.jpg"] == 1).sum() == 25
    with pytest.raises(UserError, match="1 unknown"):
        make(path, strict=True)


def test_one_stray_region_in_fewer_is_an_error(tmp_path):
    write_classes(tmp_path / "classes.json", named(["background", "bottle"]))
    with pytest.raises(UserError, match="1 of 99 regions are of unknown classes: 'can' "):
        make(annotate(tmp_path / "via.json", {"a.jpg": entry(*["bottle"] * 98, "can")}))


def test_a_class_that_would_be_background_is_an_error(tmp_path):
    (tmp_path / "classes.json").write_text('["bottle", "can"]')
    with pytest.raises(UserError, match="'bottle' has id 0"):
        make(annotate(tmp_path / "via.json", {"a.jpg": entry("bottle")}))


def test_numbers_and_names_do_not_mix(tmp_path):
    with pytest.raises(UserError, match="both by number .2. and by name .'can'"):
        make(annotate(tmp_path / "via.json", {"a.jpg": entry("2", "can")}))


def test_the_class_attribute(tmp_path):
    path = annotate(tmp_path / "via.json", {"a.jpg": entry("1", attribute="species")})
    content = json.loads(path.read_text())
    region = next(iter(content["_via_img_metadata"].values()))["regions"][0]
    region["region_attributes"]["brand"] = "2"
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"via\.json: .*brand, species"):
        make(path)
    assert make(path, reading=Reading("brand"))["a.jpg"].max() == 2
    os.utime(path)
    assert ensure_labels(path, progress=False)["a.jpg"].max() == 2  # the choice is remembered


@pytest.mark.parametrize(
    ("name", "mode", "options"),
    [
        ("grey.png", "L", {}),
        ("alpha.png", "RGBA", {}),
        ("palette.png", "P", {}),
        ("deep.png", "I;16", {}),
        ("cmyk.jpg", "CMYK", {}),
        ("lying.jpg", "RGB", {"format": "PNG"}),
    ],
)
def test_any_picture_gives_one_map_of_ids(tmp_path, name, mode, options):
    """Transparency gave the old tool a fifth class, grey made it crash."""
    path = annotate(tmp_path / "via.json", {name: entry("1")}, make_pictures=False)
    picture(tmp_path / name, mode=mode, **options)
    store = make(path)
    assert store[name].shape == SIZE and len(store.classes) == 2
    assert (store[name] == 1).sum() == 25


def test_coordinates_refer_to_the_upright_picture(tmp_path):
    tall = {"name": "rect", "x": 2, "y": 22, "width": 4, "height": 4}
    path = annotate(tmp_path / "via.json", {"a.jpg": entry("1", shape=tall)}, False)
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(tmp_path / "a.jpg", exif=exif)
    store = make(path, strict=True)
    assert store.sizes == [(30, 20)] and store["a.jpg"][22:27, 2:7].all()


@pytest.mark.parametrize(("turn", "sizes"), [(None, (30, 20)), ("exif", (30, 20)), ("raw", SIZE)])
def test_pictures_of_a_turned_camera_are_named(tmp_path, capsys, turn, sizes):
    """Where the turn keeps the shape nothing else would tell."""
    path = annotate(tmp_path / "via.json", {"a.jpg": entry("1"), "b.jpg": entry("1")})
    for name, orientation in (("a.jpg", 6), ("b.jpg", 3)):
        exif = Image.Exif()
        exif[0x0112] = orientation
        picture(tmp_path / name, exif=exif)
    store = open_labels(make_labels(path, reading=Reading(turn=turn)))
    assert store.sizes == [sizes, SIZE]
    words = "as its raw frame" if turn == "raw" else "as it is shown, upright"
    assert f"b.jpg, EXIF orientation 3: labels are for it {words}" in capsys.readouterr().out


def test_pictures_of_several_pages_are_named(tmp_path, capsys):
    path = annotate(tmp_path / "via.json", {"a.tif": entry("1")}, make_pictures=False)
    pages = [Image.new("RGB", SIZE[::-1]) for _ in range(3)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    make_labels(path)
    assert "the first is labelled): 1\n    a.tif has 3" in capsys.readouterr().out


def test_pictures_without_regions_are_background_and_counted(tmp_path, capsys):
    """The old tool left out pictures without regions in silence."""
    path = annotate(tmp_path / "via.json", {"a.jpg": entry("1"), "b.jpg": entry()})
    store = open_labels(make_labels(path, strict=True))
    assert not store["b.jpg"].any()
    assert "empty (without regions, all background): 1\n    b.jpg\n" in capsys.readouterr().out


def test_a_file_without_any_region(tmp_path):
    store = make(annotate(tmp_path / "via.json", {"a.jpg": entry()}))
    assert not store["a.jpg"].any()


def test_a_picture_listed_twice_is_merged(tmp_path, capsys):
    """In the old tool the second entry replaced the first."""
    path = annotate(tmp_path / "via.json", {"a.jpg": entry("1"), "./a.jpg": entry()})
    content = json.loads(path.read_text())
    other = SQUARE | {"x": 20}
    content["_via_img_metadata"]["again"] = entry("2", shape=other) | {"filename": "a.jpg"}
    path.write_text(json.dumps(content))
    store = open_labels(make_labels(path))
    assert store.keys == ["a.jpg"]
    assert np.unique(store["a.jpg"]).tolist() == [0, 1, 2]
    assert "merged" in capsys.readouterr().out


def faulty(folder):
    """A data set with one fault of most kinds."""
    annotations = {
        "good.jpg": entry("1"),
        "out.jpg": entry("1", shape=SQUARE | {"x": 28}),
        "point.jpg": entry("1", shape=POINT),
        "gone.jpg": entry("1"),
        "text.jpg": entry("1"),
    }
    path = annotate(folder / "via.json", annotations)
    (folder / "gone.jpg").unlink()
    (folder / "text.jpg").write_text("no picture")
    picture(folder / "extra.jpg")
    return path


def test_faults_are_counted_and_listed(tmp_path, capsys):
    store = open_labels(make_labels(faulty(tmp_path)))
    assert store.keys == ["good.jpg", "out.jpg", "point.jpg"]
    assert (store["out.jpg"] == 1).sum() == 10
    printed = capsys.readouterr().out
    for line in (
        "missing (listed but not in the folder): 1\n    gone.jpg",
        "unlisted (in the folder but not listed): 1\n    extra.jpg",
        "clipped (partly or wholly outside the picture): 1\n    out.jpg: region 1 (rect)",
        "skipped (not drawn): 1\n    point.jpg: region 1 (point) has no area",
        "unreadable (not readable as a picture): 1",
        "3 pictures, 5 regions (5 class 1); 1 missing, 1 unreadable, 1 unlisted, 1 clipped",
    ):
        assert line in printed
    assert len(printed.splitlines()) == 11


def test_strict_writes_nothing(tmp_path):
    path = faulty(tmp_path)
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(UserError, match="1 missing, 1 unreadable, 1 unlisted, 1 clipped, 1 skip"):
        make(path, strict=True)
    assert sorted(os.listdir(tmp_path)) == before


def test_no_picture_at_all(tmp_path):
    path = annotate(tmp_path / "via.json", {"a.jpg": entry("1")}, make_pictures=False)
    with pytest.raises(UserError, match="none of the 1 annotated pictures"):
        make(path)
    assert os.listdir(tmp_path) == ["via.json"]


@pytest.mark.parametrize("name", ["../a.jpg", "/etc/a.jpg", "C:\\a.jpg", "..\\a.jpg"])
def test_names_that_leave_the_folder_are_refused(tmp_path, name):
    path = annotate(tmp_path / "data" / "via.json", {name: entry("1")}, make_pictures=False)
    with pytest.raises(UserError, match="leaves the data folder"):
        make(path)


def test_pictures_of_another_annotation_file_are_not_unlisted(tmp_path, capsys):
    annotate(tmp_path / "test.json", {"b.jpg": entry("1")})
    make_labels(annotate(tmp_path / "train.json", {"a.jpg": entry("1")}), strict=True)
    assert "b.jpg, in test.json" in capsys.readouterr().out


def test_pictures_in_folders_of_the_data_folder(tmp_path, capsys):
    picture(tmp_path / "day" / "b.jpg")
    store = open_labels(make_labels(annotate(tmp_path / "via.json", {"day\\a.jpg": entry("1")})))
    assert store.keys == ["day/a.jpg"] and store.picture_path(0).exists()
    assert "unlisted (in the folder but not listed): 1\n    day/b.jpg" in capsys.readouterr().out


def test_a_differing_file_size_is_only_mentioned(tmp_path, capsys):
    path = annotate(tmp_path / "via.json", {"a.jpg": entry("1", size=3)})
    make_labels(path, strict=True)
    assert "a.jpg had 3 bytes" in capsys.readouterr().out


def test_sizes(tmp_path):
    path = annotate(tmp_path / "via.json", {"a.jpg": entry("1"), "b.jpg": entry("1")})
    picture(tmp_path / "b.jpg", (40, 60))
    assert make(path).sizes == [(20, 30), (40, 60)]
    store = make(path, size=(10, 15))
    assert store.sizes == [(10, 15), (10, 15)]
    assert np.load(tmp_path / "via.npy").shape == (2, 10, 15)
    os.utime(path)
    assert ensure_labels(path, progress=False).sizes == store.sizes  # the choice is remembered


# Where pictures are, and what they are called.


@pytest.mark.parametrize("beside", [True, False])
def test_annotations_in_a_folder_of_the_data_folder(tmp_path, beside):
    """Their pictures are beside them, or in the data folder."""
    path = annotate(tmp_path / "data" / "train" / "x.json", {"a.jpg": entry("cup")}, beside)
    test = annotate(tmp_path / "data" / "val" / "x.json", {"b.jpg": entry("cup")})
    if not beside:
        picture(tmp_path / "data" / "a.jpg")
    done = command("-p", "data", "-j", "train/x.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    store = open_labels(path.with_suffix(".npy"), tmp_path / "data")
    assert (store["a.jpg"] == 1).sum() == 25
    assert store.folder == tmp_path / "data" / ("train" if beside else "")
    # Its classes are those of the other folder too.
    assert (tmp_path / "data" / "classes.json").is_file()
    ensure_labels(test, progress=False, pictures=tmp_path / "data")
    assert not list((tmp_path / "data").glob("*/classes.json"))


def test_pictures_of_one_name_in_both_folders(tmp_path):
    path = annotate(tmp_path / "train" / "x.json", {"a.jpg": entry("1")})
    picture(tmp_path / "a.jpg", (40, 60))
    assert make(path, data_path=tmp_path).sizes == [SIZE]
    assert ensure_labels(path, progress=False, pictures=tmp_path).sizes == [SIZE]


def test_pictures_that_are_nowhere_name_both_folders(tmp_path):
    path = annotate(tmp_path / "train" / "x.json", {"a.jpg": entry("1")}, make_pictures=False)
    with pytest.raises(UserError, match=f"in {tmp_path}, nor in {path.parent}; name their"):
        make(path, data_path=tmp_path)


def test_names_of_a_mac_and_of_cameras(tmp_path):
    """Letters with their accents apart; `.JPG` for `.jpg`: keys are the real names of files."""
    decomposed = "ku\u0308che.jpg"
    path = annotate(
        tmp_path / "via.json", {"k\u00fcche.jpg": entry("1"), "b.jpg": entry("2")}, False
    )
    picture(tmp_path / decomposed)
    picture(tmp_path / "B.JPG")
    store = make(path, strict=True)
    assert store.keys == [decomposed, "B.JPG"]
    assert (store[decomposed] == 1).sum() == 25 and store.picture_path("B.JPG").is_file()
    assert len(ensure_labels(path, progress=False)) == 2


def test_two_spellings_of_one_picture_are_merged(tmp_path):
    path = annotate(tmp_path / "via.json", {"a.jpg": entry("1"), "A.JPG": entry()}, False)
    picture(tmp_path / "a.JPG")
    store = make(path)
    assert store.keys == ["a.JPG"] and (store["a.JPG"] == 1).sum() == 25


def test_names_of_another_annotation_file_in_another_spelling_are_not_unlisted(tmp_path, capsys):
    annotate(tmp_path / "test.json", {"b.jpg": entry("1")}, make_pictures=False)
    picture(tmp_path / "b.JPG")
    make_labels(annotate(tmp_path / "train.json", {"a.jpg": entry("1")}), strict=True)
    assert "b.JPG, in test.json" in capsys.readouterr().out


def test_pictures_listed_by_their_web_address(tmp_path, capsys):
    listed = {
        "a.jpg": entry("1"),
        "https://x.org/p/b%20c.jpg?size=3": entry("2"),
        "https://x.org/gone.jpg": entry("1"),
        "data:image/png;base64," + "A" * 10_000: entry("1"),
    }
    path = annotate(tmp_path / "via.json", listed, make_pictures=False)
    picture(tmp_path / "a.jpg")
    picture(tmp_path / "b c.jpg")
    store = open_labels(make_labels(path))
    assert store.keys == ["a.jpg", "b c.jpg"]
    assert (store["b c.jpg"] == 2).sum() == 25
    printed = capsys.readouterr().out
    assert "taken from this one): 1\n    b c.jpg is https://x.org/p/b%20c.jpg?size=3" in printed
    assert "missing (listed but not in the folder): 2\n    https://x.org/gone.jpg\n" in printed
    assert len(max(printed.splitlines(), key=len)) < 200
    made = path.with_suffix(".npy").stat().st_mtime_ns
    ensure_labels(path)
    assert path.with_suffix(".npy").stat().st_mtime_ns == made
    picture(tmp_path / "gone.jpg")
    assert ensure_labels(path, progress=False).keys == ["a.jpg", "b c.jpg", "gone.jpg"]


def test_two_addresses_of_one_file_name_are_missing(tmp_path, capsys):
    """Regions of two pictures on one would be wrong labels."""
    listed = {f"http://x.org/{n}/a.jpg": entry("1") for n in range(2)} | {"b.jpg": entry("1")}
    path = annotate(tmp_path / "via.json", listed, make_pictures=False)
    picture(tmp_path / "a.jpg")
    picture(tmp_path / "b.jpg")
    assert open_labels(make_labels(path)).keys == ["b.jpg"]
    assert "http://x.org/1/a.jpg: a.jpg may be a picture of another" in capsys.readouterr().out
    made = path.with_suffix(".npy").stat().st_mtime_ns
    assert ensure_labels(path).keys == ["b.jpg"]
    assert path.with_suffix(".npy").stat().st_mtime_ns == made


# Making what is missing or old.


def test_ensure_makes_once(tmp_path):
    annotate(tmp_path / "train.json", {"a.jpg": entry("1")})
    assert ensure_labels(tmp_path / "train.npy", progress=False).keys == ["a.jpg"]
    written = (tmp_path / "train.npy").stat().st_mtime_ns
    for name in ("train.npy", "train.json"):
        ensure_labels(tmp_path / name, progress=False)
    assert (tmp_path / "train.npy").stat().st_mtime_ns == written


def age(path):
    """Make a file older than anything else."""
    os.utime(path, (1, 1))


def test_ensure_makes_again_what_is_older_than_its_annotations(tmp_path):
    annotate(tmp_path / "train.json", {"a.jpg": entry("1")})
    ensure_labels(tmp_path / "train.npy", progress=False)
    age(tmp_path / "train.npy")
    ensure_labels(tmp_path / "train.npy", progress=False)
    assert (tmp_path / "train.npy").stat().st_mtime > 1


@pytest.mark.parametrize("damaged", ["{", '{"made_from": "train.json"}'])
def test_ensure_makes_again_what_has_a_damaged_index(tmp_path, damaged):
    path = annotate(tmp_path / "train.json", {"a.jpg": entry("1")})
    ensure_labels(path, progress=False)
    (tmp_path / "train.index.json").write_text(damaged)
    assert ensure_labels(path, progress=False).keys == ["a.jpg"]


def test_ensure_notices_changes_that_times_do_not_show(tmp_path):
    path = annotate(tmp_path / "train.json", {"a.jpg": entry("1")})
    ensure_labels(path, progress=False)
    annotate(path, {"a.jpg": entry("1"), "b.jpg": entry("1")})
    age(path)
    assert ensure_labels(path, progress=False).keys == ["a.jpg", "b.jpg"]
    write_classes(tmp_path / "classes.json", named(["background", "bottle"]))
    age(tmp_path / "classes.json")
    assert ensure_labels(path, progress=False).classes.names == ("background", "bottle")
    (tmp_path / "train.index.json").unlink()
    assert len(ensure_labels(path, progress=False)) == 2


def test_pictures_that_come_later_are_labelled_then(tmp_path):
    path = annotate(tmp_path / "train.json", {"a.jpg": entry("1"), "b.jpg": entry("1")})
    (tmp_path / "b.jpg").write_text("half a download")
    assert ensure_labels(path, progress=False).keys == ["a.jpg"]
    made = (tmp_path / "train.npy").stat().st_mtime_ns
    assert ensure_labels(path, progress=False).keys == ["a.jpg"]
    assert (tmp_path / "train.npy").stat().st_mtime_ns == made, "nothing came, nothing to do"
    picture(tmp_path / "b.jpg")
    assert ensure_labels(path, progress=False).keys == ["a.jpg", "b.jpg"]


def test_a_size_of_another_shape_is_refused(tmp_path):
    path = annotate(tmp_path / "train.json", {"a.jpg": entry("1")})
    with pytest.raises(UserError, match=r"--size 16x16 has other proportions than .*a\.jpg"):
        make_labels(path, size=(16, 16), progress=False)


def test_ensure_reads_csv_beside_the_npy(tmp_path):
    picture(tmp_path / "a.jpg")
    cells = [
        json.dumps(text).replace('\\"', '""') for text in (json.dumps(SQUARE), '{"Name": "1"}')
    ]
    (tmp_path / "train.csv").write_text(
        "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,"
        f'region_attributes\na.jpg,-1,"{{}}",1,0,{",".join(cells)}\n'
    )
    assert (ensure_labels(tmp_path / "train.npy", progress=False)["a.jpg"] == 1).sum() == 25


def test_ensure_says_what_is_missing(tmp_path):
    with pytest.raises(UserError, match=r"train\.npy does not exist, nor .*train\.json"):
        ensure_labels(tmp_path / "train.npy")
    with pytest.raises(UserError, match=r"train\.json does not exist"):
        ensure_labels(tmp_path / "train.json")


def test_an_archive_is_to_be_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        archive.writestr("annotations.xml", "<annotations></annotations>")
    with pytest.raises(UserError, match="export.zip is a ZIP archive; unpack it"):
        make_labels(tmp_path / "export.zip")


@pytest.mark.parametrize(
    ("names", "listed"),
    [
        (["annotations.xml", "classes.json", "a.jpg", "labels.index.json"], "annotations.xml"),
        (["annotations/instances_default.json"], "annotations/instances_default.json"),
        (["JPEGImages/a.jpg", "SegmentationClass/a.png", "labelmap.txt"], "SegmentationClass"),
        (["a.jpg", "some_masks/a.png"], "some_masks"),
    ],
)
def test_what_is_there_instead_is_named(tmp_path, names, listed):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(UserError, match=f"name others by .*; what may be meant: {listed}[.]$"):
        ensure_labels(tmp_path / "train.npy")
    with pytest.raises(UserError, match="no folder of PNG masks"):
        (tmp_path / "x_masks").mkdir()
        (tmp_path / "x").mkdir()
        ensure_labels(tmp_path / "x_masks")


def test_a_pickled_file_is_read_and_never_lost(tmp_path, capsys):
    content = {"a.jpg": np.eye(2, dtype=np.uint8)[np.ones(SIZE, int)]}
    np.save(tmp_path / "train.npy", content, allow_pickle=True)
    assert ensure_labels(tmp_path / "train.npy")["a.jpg"].all()
    path = annotate(tmp_path / "train.json", {"a.jpg": entry("1")})
    age(path)
    assert ensure_labels(tmp_path / "train.npy")["a.jpg"].all()  # newer than its annotations
    age(tmp_path / "train.npy")
    os.utime(path)
    assert ensure_labels(tmp_path / "train.npy")["a.jpg"].sum() == 25
    assert open_labels(tmp_path / "train.old1.npy")["a.jpg"].all()
    assert "kept as train.old1.npy" in capsys.readouterr().out


# Masks that exist as PNGs.


def mask(path, array, mode=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.array(array, np.uint8), mode)
    image.save(path)
    return path


def masks(folder, arrays, pictures="val", name="val_masks"):
    """A folder of masks, and the folder of their pictures beside it or the same."""
    for i, array in enumerate(arrays):
        mask(folder / name / f"{i}.png", array)
        picture(folder / pictures / f"{i}.jpg", np.shape(array)[:2])
    return folder / name


@pytest.mark.parametrize(
    ("name", "pictures"),
    [
        ("val_masks", "val"),
        ("valannot", "val"),
        ("val_labels", "val"),
        ("masks", "images"),
        ("masks", "masks"),
    ],
)
def test_masks_find_their_pictures(tmp_path, name, pictures):
    store = ensure_labels(masks(tmp_path, [[[0, 1], [2, 255]]], pictures, name), progress=False)
    assert store.keys == ["0.jpg"] and store.folder == tmp_path / pictures
    np.testing.assert_array_equal(store["0.jpg"], [[0, 1], [2, 255]])
    assert (tmp_path / f"{name}.npy").exists()
    assert store.classes.names == ("background", "class 1", "class 2")
    assert read_classes(tmp_path / "classes.json") == store.classes
    assert ensure_labels(tmp_path / f"{name}.npy", progress=False).keys == ["0.jpg"]


def test_masks_that_changed_are_read_again(tmp_path):
    folder = masks(tmp_path, [[[0, 1]]])
    ensure_labels(folder, progress=False)
    mask(folder / "0.png", [[1, 1]])
    assert ensure_labels(folder, progress=False)["0.jpg"].all()


def test_palette_masks_are_ids(tmp_path):
    folder = masks(tmp_path, [[[0, 1]]])
    image = Image.fromarray(np.array([[2, 255]], np.uint8), "L")
    image = Image.frombytes("P", image.size, image.tobytes())
    image.putpalette(bytes(range(256)) * 3)
    image.save(folder / "0.png")
    write_classes(tmp_path / "classes.json", named(["background", "a", "b"]))
    np.testing.assert_array_equal(ensure_labels(folder, progress=False)["0.jpg"], [[2, 255]])


def test_black_and_white_masks(tmp_path, capsys):
    folder = masks(tmp_path, [[[0, 255]], [[0, 0]]])
    np.testing.assert_array_equal(ensure_labels(folder)["0.jpg"], [[0, 1]])
    assert "255 is taken as 'class 1'" in capsys.readouterr().out


def test_255_is_void_where_ids_occur_or_classes_are_more_than_two(tmp_path):
    folder = masks(tmp_path, [[[0, 255]], [[0, 1]]])
    np.testing.assert_array_equal(ensure_labels(folder, progress=False)["0.jpg"], [[0, 255]])
    write_classes(tmp_path / "more" / "classes.json", named(["background", "a", "b"]))
    folder = masks(tmp_path / "more", [[[0, 255]]])
    np.testing.assert_array_equal(ensure_labels(folder, progress=False)["0.jpg"], [[0, 255]])


def test_colour_masks_by_the_colours_of_the_classes(tmp_path):
    colours = [[[0, 0, 0], [128, 0, 0], [0, 128, 0], [224, 224, 192]]]
    folder = masks(tmp_path, [colours])
    with pytest.raises(UserError, match=r"0\.png has the colour \(0, 128, 0\)"):
        write_classes(tmp_path / "classes.json", named(["background", "a"]))
        ensure_labels(folder, progress=False)
    write_classes(tmp_path / "classes.json", named(["background", "a", "b"]))
    np.testing.assert_array_equal(ensure_labels(folder, progress=False)["0.jpg"], [[0, 1, 2, 255]])


def test_grey_masks_saved_in_colour_and_two_valued_ones(tmp_path):
    folder = masks(tmp_path, [np.dstack([[[0, 1]]] * 3), [[0, 0]]])
    Image.fromarray(np.array([[True, False]])).save(folder / "1.png")
    store = ensure_labels(folder, progress=False)
    np.testing.assert_array_equal(store["0.jpg"], [[0, 1]])
    np.testing.assert_array_equal(store["1.jpg"], [[1, 0]])


def test_masks_whose_pictures_come_later(tmp_path):
    folder = masks(tmp_path, [[[0, 1]], [[1, 1]]])
    (tmp_path / "val" / "1.jpg").unlink()
    assert ensure_labels(folder, progress=False).keys == ["0.jpg"]
    picture(tmp_path / "val" / "1.png", (1, 2))
    assert ensure_labels(folder, progress=False).keys == ["0.jpg", "1.png"]


def test_masks_among_their_pictures(tmp_path):
    folder = tmp_path / "both"
    mask(folder / "a.png", [[0, 1]])
    picture(folder / "a.jpg", (1, 2))
    options = {"data_path": folder, "progress": False}
    mask(folder / "b.png", [[0, 1]])  # without a picture
    store = make_labels_from_masks(folder, **options)
    made = store.stat().st_mtime_ns
    assert ensure_labels(store, progress=False).keys == ["a.jpg"]
    assert store.stat().st_mtime_ns == made, "its mask is no picture that has come"
    picture(folder / "a.bmp", (1, 2))
    with pytest.raises(UserError, match=r"a\.bmp and a\.jpg are both pictures of the mask a\.png"):
        make_labels_from_masks(folder, **options)


def test_a_mask_of_another_shape_is_refused(tmp_path):
    folder = masks(tmp_path, [[[0, 1]]])
    picture(tmp_path / "val" / "0.jpg", (2, 1))
    with pytest.raises(UserError, match=r"0\.png is 2 x 1, but its picture 0\.jpg is 1 x 2"):
        ensure_labels(folder, progress=False)


def test_grey_colours_of_colour_masks(tmp_path):
    """White ground and black roads, as in aerial pictures; one tile is all ground."""
    colour = np.array([[255, 0]], np.uint8)[..., None].repeat(3, 2)
    folder = masks(tmp_path, [colour, colour[:, :1].repeat(2, 1)])
    content = [
        {"id": 0, "name": "ground", "colour": [255, 255, 255]},
        {"id": 1, "name": "road", "colour": [0, 0, 0]},
    ]
    (tmp_path / "classes.json").write_text(json.dumps(content))
    store = ensure_labels(folder, progress=False)
    np.testing.assert_array_equal(store["0.jpg"], [[0, 1]])
    np.testing.assert_array_equal(store["1.jpg"], [[0, 0]])


def test_colour_masks_need_the_colours_of_the_classes(tmp_path):
    with pytest.raises(UserError, match='are colours; write a classes.json .* "colour"'):
        ensure_labels(masks(tmp_path, [[[[9, 8, 7], [1, 2, 3]]]]), progress=False)


def test_a_value_outside_the_classes_is_an_error(tmp_path):
    write_classes(tmp_path / "classes.json", named(["background", "a"]))
    folder = masks(tmp_path, [[[0, 1]], [[1, 7]]])
    with pytest.raises(UserError, match=r"1\.png has the value 7, but the classes are 0 to 1"):
        ensure_labels(folder, progress=False)
    store = open_labels(make_labels_from_masks(folder, progress=False, reading=Reading(void=(7,))))
    np.testing.assert_array_equal(store["1.jpg"], [[1, 255]])


def test_grey_levels_are_no_ids(tmp_path):
    with pytest.raises(UserError, match="0, 127, 254 .* do not look like class ids"):
        ensure_labels(masks(tmp_path, [[[0, 127, 254]]]), progress=False)


def test_masks_and_pictures_that_do_not_match(tmp_path, capsys):
    folder = masks(tmp_path, [[[0, 1]], [[1, 1]], [[1, 0]]])
    (tmp_path / "val" / "0.jpg").unlink()
    picture(tmp_path / "val" / "1.jpg", (2, 4))
    picture(tmp_path / "val" / "9.jpg")
    with pytest.raises(UserError, match="1 missing, 1 unlisted, 1 resized"):
        make_labels_from_masks(folder, strict=True)
    store = ensure_labels(folder)
    assert store.keys == ["1.jpg", "2.jpg"] and store["1.jpg"].shape == (2, 4)
    assert "1.png from 2 x 1 to 4 x 2" in capsys.readouterr().out


# The command.


def test_command_from_another_folder(tmp_path):
    annotate(tmp_path / "data" / "segmentation_train.json", {"a.jpg": entry("1")})
    annotate(tmp_path / "data" / "segmentation_test.json", {"b.jpg": entry("1")})
    assert command("-p", "data", cwd=tmp_path).returncode == 0
    train = (tmp_path / "data" / "segmentation_train.npy").read_bytes()
    done = command("--json", "segmentation_test.json", "--data-path", "data", cwd=tmp_path)
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.splitlines()[-1].startswith(
        f"{os.path.join('data', 'segmentation_test.npy')}: 1 pictures, 1 regions (1 class 1)"
    )
    # The old tool wrote the test labels over the training labels.
    assert (tmp_path / "data" / "segmentation_train.npy").read_bytes() == train
    assert open_labels(tmp_path / "data" / "segmentation_test.npy").keys == ["b.jpg"]
    assert sorted(os.listdir(tmp_path)) == ["data"]


def test_command_with_every_option(tmp_path):
    annotate(tmp_path / "via.json", {"a.jpg": entry("x", attribute="species")})
    write_classes(tmp_path / "names" / "classes.json", named(["background", "x"]))
    options = ["--class-attribute", "species", "--size", "40x60", "--strict", "--show"]
    done = command(
        "-j",
        "via.json",
        "--save-filename",
        "t",
        "--classes",
        "names/classes.json",
        *options,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert open_labels(tmp_path / "t.npy").sizes == [(40, 60)]
    drawn = np.asarray(Image.open(tmp_path / "overlays" / "a.jpg.png"))
    assert drawn.shape == (20, 30, 3) and drawn[7, 7].any() and not drawn[15, 25].any()


def test_command_for_masks(tmp_path):
    folder = masks(tmp_path, [[[0, 11]]], pictures="elsewhere")
    done = command("--masks", folder, "-p", tmp_path / "elsewhere", "--void", "11")
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(open_labels(tmp_path / "val_masks.npy")[0], [[0, 255]])


def test_command_for_several_files(tmp_path):
    """Each makes its own labels; the classes are those of the first."""
    annotate(tmp_path / "one.json", {"a.jpg": entry("can", "bottle")})
    annotate(tmp_path / "two.json", {"b.jpg": entry("can")})
    done = command("one.json", "--strict", "two.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert open_labels(tmp_path / "one.npy").keys == ["a.jpg"]
    assert open_labels(tmp_path / "two.npy")["b.jpg"].max() == 2
    assert command("-j", "one.json", "two.json", "--show", cwd=tmp_path).returncode == 0
    assert sorted(os.listdir(tmp_path / "overlays")) == ["a.jpg.png", "b.jpg.png"]


def test_command_for_several_folders(tmp_path):
    """Classes belong to the folder that holds them all."""
    for name in ("train", "val"):
        annotate(tmp_path / "data" / name / "x.json", {f"{name}.jpg": entry("can")})
    done = command("data/train/x.json", "data/val/x.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert open_labels(tmp_path / "data" / "val" / "x.npy").keys == ["val.jpg"]
    assert [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("classes.json")] == [
        os.path.join("data", "classes.json")
    ]


def test_command_with_one_class_for_all(tmp_path):
    path = annotate(tmp_path / "via.json", {"a.jpg": entry("", "")})
    done = command("via.json", cwd=tmp_path)
    assert done.returncode == 2 and "--class-name" in done.stderr
    done = command("via.json", "--class-name", "cup", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (ensure_labels(path, progress=False)["a.jpg"] == 1).sum() == 25


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-j", "no.json", "-p", "."], "no.json are neither in"),
        (["via.json", "no.json"], "no.json are neither in"),
        (["via.json", "via.json", "--save-filename", "x"], "--save-filename is for one file"),
        (["via.json", "--masks", "m"], "the files and --masks do not go together"),
        (["--unclassed", "void", "--masks", "m"], "--unclassed and --masks do not go together"),
        (["-p", ".", "folder"], "are not beside it; name annotations"),
        (["-p", "nowhere"], "the data folder nowhere"),
        (["-j", "via.json", "--strict"], "--strict found 1 skipped"),
        (["-j", "via.json", "--class-attribute", "x"], "set --class-attribute to one of: Name"),
        (["-j", "via.json", "--size", "640"], "'640' is not HEIGHTxWIDTH"),
    ],
)
def test_command_gives_one_clear_line_and_status_2(tmp_path, arguments, words):
    annotate(tmp_path / "via.json", {"a.jpg": entry("1", shape=POINT)})
    (tmp_path / "folder").mkdir()
    done = command(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "via.npy").exists()


# No output is an input.


@pytest.mark.parametrize(
    "names",
    [
        ("t.index.json", "t.npy"),  # whose index has the name of the annotations
        ("link.json", "t.npy"),  # which leads to them
    ],
)
def test_annotations_are_not_replaced_by_an_index(tmp_path, names):
    path = annotate(tmp_path / "t.index.json", {"a.jpg": entry("1")})
    (tmp_path / "link.json").symlink_to(path)
    before = path.read_bytes()
    done = command("-j", tmp_path / names[0], "--save-filename", tmp_path / names[1])
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "would be replaced by a result, and is the input" in done.stderr
    assert path.read_bytes() == before and not (tmp_path / "t.npy").exists()
    assert not (tmp_path / "classes.json").exists()
    done = command("-j", tmp_path / names[0], "--save-filename", tmp_path / "u.npy")  # the cure
    assert done.returncode == 0, done.stderr


def test_json_that_is_no_index_is_not_replaced_by_one(tmp_path):
    """Though nobody asked for it: annotations of others, say."""
    other = annotate(tmp_path / "t.index.json", {"a.jpg": entry("1")})
    path = annotate(tmp_path / "t.json", {"a.jpg": entry("1")})
    before = other.read_bytes()
    for make_them in (make, ensure_labels):
        with pytest.raises(UserError, match=r"t\.index\.json would be replaced .* and is none"):
            make_them(path)
    assert other.read_bytes() == before and not (tmp_path / "t.npy").exists()


def test_a_classes_file_is_not_replaced_by_an_index(tmp_path):
    path = annotate(tmp_path / "t.json", {"a.jpg": entry("1")})
    write_classes(tmp_path / "t.index.json", named(["background", "cup"]))
    with pytest.raises(UserError, match="is the input"):
        make(path, classes_path=tmp_path / "t.index.json")


def test_a_picture_is_not_replaced_by_labels(tmp_path):
    path = annotate(tmp_path / "t.json", {"t.npy": entry("1")}, False)
    np.save(tmp_path / "t.npy", np.zeros((*SIZE, 3), np.uint8))
    before = (tmp_path / "t.npy").read_bytes()
    with pytest.raises(UserError, match=r"t\.npy would be replaced"):
        make(path)
    assert (tmp_path / "t.npy").read_bytes() == before
    assert make(path, out=tmp_path / "u.npy").keys == ["t.npy"]


def test_a_picture_is_not_replaced_by_labels_of_masks(tmp_path):
    (tmp_path / "x_masks").mkdir()
    (tmp_path / "x").mkdir()
    Image.fromarray(np.ones((6, 9), np.uint8)).save(tmp_path / "x_masks" / "a.png")
    np.save(tmp_path / "x" / "a.npy", np.zeros((6, 9, 3), np.uint8))
    with pytest.raises(UserError, match=r"a\.npy would be replaced"):
        make_labels_from_masks(tmp_path / "x_masks", tmp_path / "x" / "a.npy", progress=False)


def test_overlays_do_not_replace_pictures(tmp_path):
    path = annotate(tmp_path / "t.json", {"a.jpg": entry("1"), "overlays/a.jpg.png": entry("1")})
    before = (tmp_path / "overlays" / "a.jpg.png").read_bytes()
    done = command("-j", path, "--show")
    assert done.returncode == 2 and "would be replaced by a result" in done.stderr
    assert (tmp_path / "overlays" / "a.jpg.png").read_bytes() == before


def test_two_files_for_one_store(tmp_path):
    path = annotate(tmp_path / "t.json", {"a.jpg": entry("1")})
    path.with_suffix(".csv").write_text("filename")
    done = command(path, path.with_suffix(".csv"))
    assert done.returncode == 2 and "would both be made into t.npy" in done.stderr
    assert not (tmp_path / "t.npy").exists()
