"""Draw a sheet of the strong augmentation: each of its operations on one picture with its labels.

python3 chapter12-segmentation/tools/augmentations.py
python3 chapter12-segmentation/tools/augmentations.py --data-path data/drinks --picture 0010044.jpg
"""

import argparse
import sys
from pathlib import Path

CHAPTER = Path(__file__).resolve().parents[1]
if __name__ == "__main__":  # in place of this folder
    sys.path[:1] = [str(CHAPTER.parent), str(CHAPTER)]

import numpy as np  # noqa: E402

from augmentation_strong import STEPS, change  # noqa: E402
from utils.drawing import (  # noqa: E402
    MARGIN,
    Text,
    as_seen,
    colour_labels,
    legend,
    read_mark,
    write_page,
)
from utils.errors import UserError, run  # noqa: E402
from utils.files import PROJECT, at_home, data_folder, refuse_replacing  # noqa: E402
from utils.label_maps.fresh import ensure_labels  # noqa: E402
from utils.label_maps.store import LabelStore  # noqa: E402
from utils.pictures import resize_labels, resize_picture  # noqa: E402
from utils.reading_options import add_reading_options, asked_reading  # noqa: E402

SIDE = 200  # pixels: the longer side of a picture on the sheet
COLUMNS = 6
LINE = 22  # pixels: a name
GAP = 8  # pixels between a picture and its labels
TRIES = 20  # a turn may be one of no right angle
KEYWORD = "augmentations"  # of the text in a sheet's PNG, by which it is known again


def draw_augmentations(store: LabelStore, key: str, output: Path, seed: int = 0) -> None:
    """Write a PNG: a picture and its labels, then what each operation of `STEPS` makes of them.

    Args:
        store: label maps, and where their pictures are.
        key: name of the picture.
        output: the PNG; an earlier sheet is replaced whole, any other file is left alone.
        seed: of the operations. Where one leaves the picture alone, the next is taken.

    Raises:
        UserError: there is no such picture, or `output` is another file.
    """
    if key not in store.keys:
        raise UserError(
            f"there is no picture {key} among the labels; give one, as {store.keys[0]}."
        )
    if output.exists() and read_mark(output, KEYWORD) is None:
        raise UserError(f"{output} is there and is no such sheet; name another with --output.")
    refuse_replacing([output], [store.picture_path(key)], "name another file with --output")
    whole = as_seen(store.picture(key))
    size = tuple(max(1, round(side * SIDE / max(whole.shape[:2]))) for side in whole.shape[:2])
    picture, labels = resize_picture(whole, size), resize_labels(store[key], size)
    shown = {"the picture": (picture, labels)}
    for name in (name for _, weights in STEPS for name in weights):
        seeds = range(seed, seed + TRIES)
        tries = (change(name, picture, labels, np.random.default_rng(s)) for s in seeds)
        altered = (each for each in tries if not np.array_equal(each[0], picture))
        shown[name] = next(altered, (picture, labels))

    pictures, texts, top, entries = [], [], MARGIN, list(shown.items())
    width = MARGIN + COLUMNS * (SIDE + MARGIN)
    for start in range(0, len(entries), COLUMNS):
        row = entries[start : start + COLUMNS]
        for column, (name, (seen, moved)) in enumerate(row):
            left = MARGIN + column * (SIDE + MARGIN)
            texts.append(Text(top, left, name, 14, bold=start + column == 0))
            pictures.append((top + LINE, left, np.ascontiguousarray(seen)))
            mask = np.ascontiguousarray(colour_labels(moved, store.classes))
            pictures.append((top + LINE + seen.shape[0] + GAP, left, mask))
        top += LINE + GAP + 2 * max(moved.shape[0] for _, (_, moved) in row) + MARGIN
    occurring = set(np.unique(labels).tolist())
    boxes, names, bottom = legend(store.classes, occurring, top, width)
    write_page(output, (bottom, width), pictures, [*texts, *names], boxes, (KEYWORD, key))


def main() -> None:
    """Read the command line and draw the sheet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    folder = PROJECT / "data" / "drinks"
    parser.add_argument("--data-path", type=at_home, default=folder, help="(data/drinks)")
    parser.add_argument("--labels", default="segmentation_test.npy", help="(%(default)s)")
    parser.add_argument("--picture", metavar="NAME", help="of a picture (the first)")
    parser.add_argument("--seed", type=int, default=0, help="of what is random (0)")
    parser.add_argument("--output", type=at_home, default=Path("augmentations.png"), metavar="FILE")
    add_reading_options(parser)
    args = parser.parse_args()
    folder = data_folder(args.data_path)
    store = ensure_labels(folder / args.labels, True, folder, asked_reading(vars(args)))
    if not len(store):
        raise UserError(f"{args.labels} lists no picture; annotate some first.")
    draw_augmentations(store, args.picture or store.keys[0], args.output, args.seed)
    print(args.output)


if __name__ == "__main__":
    run(main)
