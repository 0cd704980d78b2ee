"""Draw a contact sheet of a data folder: small pictures under their class colours.

python3 utils/show_dataset.py --data-path data/drinks --labels segmentation_test.npy
"""

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from utils.errors import UserError, run
from utils.files import data_folder, refuse_replacing, relative
from utils.reading_options import add_reading_options, asked_reading

if TYPE_CHECKING:
    import numpy as np

    from utils.label_maps.store import LabelStore

# NumPy takes long to import, `--help` is to answer at once: functions import what needs it.

CELL = 240  # pixels: the largest side of a small picture
GREY = 238  # of the tile behind it
NAME_HEIGHT = 20  # pixels for the file name below it
NAME_SIZE = 12
KEYWORD = "contact sheet"  # of the text in a sheet's PNG, by which it is known again
ENDINGS = {".npy", ".json", ".csv"}  # of labels and annotations; one stem, one sheet


def contact_sheet(
    store: "LabelStore",
    output: Path | str,
    count: int = 24,
    columns: int = 6,
    seed: int = 0,
    title: str = "contact sheet",
    source: Path | str | None = None,
) -> list[str]:
    """Write one PNG with small pictures of a dataset, overlaid with their labels, and a legend.

    Args:
        store: label maps, and where their pictures are.
        output: the PNG; an earlier sheet is replaced whole, any other file is left alone.
        count: how many pictures; drawn at random when there are more, shown in their own order.
        columns: pictures side by side.
        seed: of the random choice.
        title: what stands above, before the number of pictures.
        source: the labels' file, which `default_output` is to know again by its place.

    Returns:
        The keys of the pictures shown, in order.

    Raises:
        UserError: the store is empty, a picture cannot be read, or `output` cannot be written or
            is a file that is no contact sheet, or is one of the pictures.
    """
    import numpy as np

    from utils.drawing import MARGIN, Text, as_seen, legend, overlay, read_mark, shorten, write_page
    from utils.pictures import resize_labels, resize_picture

    if Path(output).exists() and read_mark(output, KEYWORD) is None:
        raise UserError(
            f"{output} is there and is no contact sheet; name another file with --output, or "
            "delete it."
        )
    pictures = [store.picture_path(key) for key in store.keys]
    refuse_replacing([Path(output)], pictures, "name another file with --output")
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
            picture = as_seen(_read(store, key))
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
    mark = KEYWORD, _place(source, output) if source else ""
    write_page(output, (bottom, width), pictures, [*texts, *names], boxes, mark)
    return keys


def _read(store: "LabelStore", key: str) -> "np.ndarray":
    """The picture of a label map with its first channels, (H, W, 3) uint8, or (H, W, 2)."""
    two = store.channels(key) == 2  # which do not make three
    return store.picture(key, channels=2 if two else 3)


def default_output(folder: Path, labels: Path | str) -> Path:
    """The sheet of labels in the current folder, by their name: `train-x-sheet.png` for
    `train/x.json`.

    Where that is the sheet of other labels, or no sheet, the data folder's name stands before it,
    and a line says so.

    Args:
        folder: the data folder.
        labels: labels or annotations as seen from it.

    Raises:
        UserError: both names are taken.
    """
    from utils.drawing import read_mark

    path = Path(labels)
    if path.is_absolute():
        root = folder.resolve()
        inside = path.resolve().is_relative_to(root)
        path = path.resolve().relative_to(root) if inside else Path(path.parent.name, path.name)
    words = [part for part in _without_ending(path).parts if part not in ("..", path.anchor)]
    plain = "-".join(words) or folder.resolve().name
    outputs = [Path(f"{name}-sheet.png") for name in (plain, f"{folder.resolve().name}-{plain}")]
    for output in outputs:
        if not output.exists() or read_mark(output, KEYWORD) == _place(folder / labels, output):
            return output
        print(f"{output} is no sheet of these labels; it stays as it is.")
    raise UserError(f"{outputs[0]} and {outputs[1]} are taken; name another file with --output.")


def _without_ending(path: Path) -> Path:
    """Labels without the ending that tells the annotations from what was made of them."""
    return path.with_suffix("") if path.suffix.lower() in ENDINGS else path


def _place(source: Path | str, output: Path | str) -> str:
    """Where labels are as seen from their sheet, as a fingerprint: folders are nobody's business.

    It stays when both are moved together.
    """
    from hashlib import sha256

    seen = relative(_without_ending(Path(source)), Path(output).parent)
    return sha256(seen.encode()).hexdigest()[:16]


def _thumbnail_size(size: tuple[int, int]) -> tuple[int, int]:
    """The size (H, W) of a picture whose longer side is brought to `CELL`."""
    factor = CELL / max(size)
    return tuple(max(1, round(length * factor)) for length in size)


def _centred(small: "np.ndarray", height: int) -> "np.ndarray":
    """A small picture in the middle of a grey tile, (height, CELL, 3) uint8."""
    import numpy as np

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
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        usage="%(prog)s [--data-path FOLDER] [options]",
        formatter_class=partial(argparse.HelpFormatter, max_help_position=30),
    )
    data = parser.add_argument_group("the data")
    data.add_argument(
        "--data-path", default="data/drinks", metavar="FOLDER", help="data folder (%(default)s)"
    )
    data.add_argument(
        *("--labels", "--train-labels"),
        metavar="FILE",
        help="labels or annotations in the data folder (segmentation_train.npy, or the export in "
        "train/)",
    )
    add_reading_options(parser.add_argument_group("how the files are meant"))
    sheet = parser.add_argument_group("the sheet")
    sheet.add_argument("--count", type=_positive, default=24, help="pictures (%(default)s)")
    sheet.add_argument("--columns", type=_positive, default=6, help="side by side (%(default)s)")
    sheet.add_argument("--seed", type=_positive, default=1, help="of the choice (%(default)s)")
    sheet.add_argument(
        "--output",
        type=_png,
        help="PNG to write (default: <labels>-sheet.png in this folder, train-x-sheet.png for "
        "train/x.json)",
    )
    args = parser.parse_args()

    from utils.data_parts import find_parts
    from utils.label_maps.fresh import ensure_labels

    folder = data_folder(args.data_path)
    # Only one part is shown: the others may be anything.
    labels = args.labels or find_parts(folder, val="any", test="any").train
    source = folder / labels
    output = args.output or default_output(folder, labels)
    store = ensure_labels(source, pictures=folder, reading=asked_reading(args))
    shown = contact_sheet(store, output, args.count, args.columns, args.seed, labels, source)
    print(f"{len(shown)} of {len(store)} pictures: {output}")


if __name__ == "__main__":
    run(main)
