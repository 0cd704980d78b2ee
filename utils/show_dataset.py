"""Draw a contact sheet of a data folder: small pictures under their class colours.

python3 utils/show_dataset.py --data-path data/drinks --labels segmentation_test.npy
"""

import argparse
import sys
from pathlib import Path

import numpy as np

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from utils.errors import UserError, run
from utils.files import data_folder
from utils.label_maps.store import LabelStore

CELL = 240  # pixels: the largest side of a small picture
GREY = 238  # of the tile behind it
NAME_HEIGHT = 20  # pixels for the file name below it
NAME_SIZE = 12


def contact_sheet(
    store: LabelStore,
    output: Path | str,
    count: int = 24,
    columns: int = 6,
    seed: int = 0,
    title: str = "contact sheet",
) -> list[str]:
    """Write one PNG with small pictures of a dataset, overlaid with their labels, and a legend.

    Args:
        store: label maps, and where their pictures are.
        output: the PNG; replaced whole.
        count: how many pictures; drawn at random when there are more, shown in their own order.
        columns: pictures side by side.
        seed: of the random choice.
        title: what stands above, before the number of pictures.

    Returns:
        The keys of the pictures shown, in order.

    Raises:
        UserError: the store is empty, a picture cannot be read, or `output` cannot be written.
    """
    from utils.drawing import MARGIN, Text, legend, overlay, shorten, write_page
    from utils.pictures import read_picture, resize_labels, resize_picture

    if not len(store):
        raise UserError("there is no label map to show; annotate a picture first.")
    chosen = np.random.default_rng(seed).permutation(len(store))[:count]
    keys = [store.keys[index] for index in sorted(chosen)]
    columns = min(columns, len(keys))

    width = max(MARGIN + columns * (CELL + MARGIN), 360)
    pictures, texts, occurring = [], [], set()
    title = f"{title}: {len(keys)} of {len(store)} pictures"
    texts.append(Text(MARGIN, MARGIN, shorten(title, width - 2 * MARGIN, 19, True), 19, bold=True))
    top = MARGIN + 38
    for start in range(0, len(keys), columns):
        row = []
        for key in keys[start : start + columns]:
            picture = read_picture(store.picture_path(key))
            size = _thumbnail_size(picture.shape[:2])
            labels = store[key]
            occurring.update(np.unique(labels).tolist())
            small = resize_picture(picture, size)
            row.append(overlay(small, resize_labels(labels, size), store.classes, opacity=0.45))
        height = max(small.shape[0] for small in row)
        for column, small in enumerate(row):
            left = MARGIN + column * (CELL + MARGIN)
            pictures.append((top, left, _centred(small, height)))
            name = shorten(keys[start + column], CELL, NAME_SIZE)
            texts.append(Text(top + height + 4, left, name, NAME_SIZE))
        top += height + NAME_HEIGHT + MARGIN

    boxes, names, bottom = legend(store.classes, occurring, top, width)
    write_page(output, (bottom, width), pictures, [*texts, *names], boxes)
    return keys


def _thumbnail_size(size: tuple[int, int]) -> tuple[int, int]:
    """The size (H, W) of a picture whose longer side is brought to `CELL`."""
    factor = CELL / max(size)
    return tuple(max(1, round(length * factor)) for length in size)


def _centred(small: np.ndarray, height: int) -> np.ndarray:
    """A small picture in the middle of a grey tile, (height, CELL, 3) uint8."""
    tile = np.full((height, CELL, 3), GREY, np.uint8)
    top, left = (height - small.shape[0]) // 2, (CELL - small.shape[1]) // 2
    tile[top : top + small.shape[0], left : left + small.shape[1]] = small
    return tile


def _positive(text: str) -> int:
    """A whole number from 1 up, for the command line."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 up")
    return int(text)


def _png(text: str) -> Path:
    """A file name that ends in .png, for the command line."""
    if Path(text).suffix.lower() != ".png":
        raise argparse.ArgumentTypeError(f"{text!r} does not end in .png")
    return Path(text)


def main() -> None:
    """Read the command line and draw the sheet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-path", default="data/drinks", help="data folder (%(default)s)")
    parser.add_argument(
        "--labels",
        default="segmentation_train.npy",
        metavar="FILE",
        help="labels or annotations in the data folder (%(default)s)",
    )
    parser.add_argument("--count", type=_positive, default=24, help="pictures (%(default)s)")
    parser.add_argument("--columns", type=_positive, default=6, help="side by side (%(default)s)")
    parser.add_argument("--seed", type=_positive, default=1, help="of the choice (%(default)s)")
    parser.add_argument(
        "--output", type=_png, help="PNG to write (default: <labels>-sheet.png in this folder)"
    )
    args = parser.parse_args()

    from utils.label_maps.fresh import ensure_labels

    output = args.output or Path(f"{Path(args.labels).stem}-sheet.png")
    folder = data_folder(args.data_path)
    store = ensure_labels(folder / args.labels, pictures=folder)
    shown = contact_sheet(store, output, args.count, args.columns, args.seed, args.labels)
    print(f"{len(shown)} of {len(store)} pictures: {output}")


if __name__ == "__main__":
    run(main)
