"""Orientation, pages, channels and scale of pictures are told when labels are made."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from utils.files import PROJECT
from utils.generate_gt_segmentation import make_labels
from utils.label_maps.from_masks import make_labels_from_masks
from utils.label_maps.store import open_labels
from utils.reading import Reading, read_reading


def pictures(folder):
    """One of each kind, 8 high and 12 wide as it is shown."""
    folder.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.new("RGB", (12, 8)).save(folder / "turned.jpg", exif=exif)
    frames = [Image.new("L", (12, 8), value) for value in (0, 99)]
    frames[0].save(folder / "stack.tif", save_all=True, append_images=frames[1:])
    Image.new("RGBA", (12, 8)).save(folder / "clear.png")
    Image.fromarray(np.full((8, 12), 4095, np.uint16)).save(folder / "deep.png")


def from_masks(folder, **options):
    (folder / "masks").mkdir()
    for stem in ("turned", "stack", "clear", "deep"):
        mask = np.zeros((8, 12), np.uint8)
        mask[:, 6:] = 1
        Image.fromarray(mask).save(folder / "masks" / f"{stem}.png")
    return make_labels_from_masks(folder / "masks", data_path=folder / "pictures", **options)


def from_annotations(folder, **options):
    import json

    shape = {"name": "rect", "x": 6, "y": 0, "width": 5, "height": 7}
    regions = [{"shape_attributes": shape, "region_attributes": {"Name": "1"}}]
    names = ("turned.jpg", "stack.tif", "clear.png", "deep.png")
    entries = {name: {"filename": name, "size": -1, "regions": regions} for name in names}
    (folder / "a.json").write_text(json.dumps(entries))
    return make_labels(folder / "a.json", data_path=folder / "pictures", **options)


@pytest.mark.parametrize("make", [from_masks, from_annotations])
def test_what_is_odd_of_pictures_is_told(make, tmp_path, capsys):
    pictures(tmp_path / "pictures")
    out = make(tmp_path)
    printed = capsys.readouterr().out
    assert "turned.jpg, EXIF orientation 3: labels are for it as it is shown, upright" in printed
    assert "stack.tif has 2" in printed and "clear.png has 4" in printed
    assert "0 to 4095 become black to white" in printed
    store = open_labels(out)
    assert store.reading.scale == (0, 4095)
    assert store.picture("deep.png").max() == 255
    assert read_reading(tmp_path / "classes.json").scale == (0, 4095)


@pytest.mark.parametrize("make", [from_masks, from_annotations])
def test_scale_and_turn_are_changed_by_options(make, tmp_path, capsys):
    pictures(tmp_path / "pictures")
    store = open_labels(make(tmp_path, reading=Reading(scale=(0, 8190), turn="raw")))
    assert "labels are for it as its raw frame" in capsys.readouterr().out
    assert store.reading.scale == (0, 8190) and store.reading.turn == "raw"
    assert store.picture("deep.png").max() == 128


def test_scale_and_turn_of_masks_are_typed(tmp_path):
    """What the remark on the scale tells to type."""
    pictures(tmp_path / "pictures")
    from_masks(tmp_path, progress=False)
    (tmp_path / "classes.json").unlink()
    options = ["--data-path", tmp_path / "pictures", "--scale", "0", "8190", "--turn", "raw"]
    script = PROJECT / "utils" / "generate_gt_segmentation.py"
    subprocess.run([sys.executable, script, "--masks", tmp_path / "masks", *options], check=True)
    store = open_labels(tmp_path / "masks.npy")
    assert store.reading.scale == (0, 8190) and store.reading.turn == "raw"
