"""Label maps the way the chapter makes and keeps them, to measure ours against.

The tool decodes every picture to learn its size, draws with OpenCV, and pickles a dictionary
`{file name: one-hot (H, W, classes) uint8}` into a `.npy`.

    python3 benchmarks/chapter_labels.py data/drinks/segmentation_train.npy out.npy 1000

turns the first 1,000 maps of a label store of ours into such a file, which needs no OpenCV.
"""

import json
import sys
from pathlib import Path

import numpy as np
from skimage.io import imread

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from utils.label_maps.store import open_labels


def draw_masks(annotations: Path, folder: Path) -> dict[str, np.ndarray]:
    """Polygons to masks; section 4 of the chapter. Needs OpenCV.

    Args:
        annotations: a VIA 2 project of polygons whose attribute `Name` is 1, 2 or 3.
        folder: of the pictures.

    Returns:
        (H, W, 4) uint8 by file name: 1 where a pixel has that class, background first.
    """
    import cv2

    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    masks = {}
    for entry in json.loads(annotations.read_text())["_via_img_metadata"].values():
        picture = imread(folder / entry["filename"])
        image = np.zeros((*picture.shape[:2], 3), np.uint8)
        background = np.full((*picture.shape[:2], 1), 255, np.uint8)
        for region in entry["regions"]:
            shape = region["shape_attributes"]
            points = np.array([shape["all_points_x"], shape["all_points_y"]], np.int32).T
            class_id = int(region["region_attributes"]["Name"])
            cv2.fillPoly(image, [points], colours[class_id - 1])
            cv2.fillPoly(background, [points], 0)
        mask = np.concatenate([background, image], axis=-1)
        masks[entry["filename"]] = (mask / 255).astype(np.uint8)
    return masks


def save(masks: dict[str, np.ndarray], path: Path) -> None:
    """Write the dictionary as the chapter does, pickled."""
    np.save(path, masks, allow_pickle=True)


def load(path: Path) -> dict[str, np.ndarray]:
    """Read such a file as the chapter does, whole. For files of our own making only: a pickle
    from elsewhere can run code, and `utils.label_maps.store.open_labels` reads it safely.
    """
    return np.load(path, allow_pickle=True).item()


def one_hot(labels: np.ndarray, n_classes: int) -> np.ndarray:
    """The chapter's mask of label maps: (..., H, W) -> (..., H, W, n_classes) uint8."""
    return (labels[..., None] == np.arange(n_classes)).astype(np.uint8)


def main() -> None:
    """Label store to the chapter's file."""
    source, path, number = sys.argv[1:]
    store = open_labels(source)
    keys = store.keys[: int(number)]
    save({key: one_hot(store[key], len(store.classes)) for key in keys}, Path(path))


if __name__ == "__main__":
    main()
