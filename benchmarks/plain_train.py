"""The chapter's training program on stock Keras, as short as it can be: Listings 12.3.3 and 12.3.4.

python3 benchmarks/plain_train.py 128 160 4 segmentation_train.npy

Height, width, batch size and the chapter's pickled dictionary, see `chapter_labels.py`.
"""

import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT), str(PROJECT / "chapter12-segmentation")]

import keras  # noqa: E402
import numpy as np  # noqa: E402
from skimage.util import img_as_float  # noqa: E402

from benchmarks.chapter_labels import load  # noqa: E402
from benchmarks.plain import build_plain  # noqa: E402
from utils.pictures import read_picture, resize_picture  # noqa: E402


class DataGenerator(keras.utils.PyDataset):
    """Batches of float64 pictures (B, H, W, 3) and one-hot masks (B, H, W, classes)."""

    def __init__(self, masks: dict[str, np.ndarray], size: tuple[int, int], batch_size: int):
        super().__init__()
        self.masks, self.size, self.batch_size = masks, size, batch_size
        self.keys = np.random.default_rng(0).permutation(list(masks))

    def __len__(self):
        return len(self.keys) // self.batch_size

    def __getitem__(self, index):
        keys = self.keys[index * self.batch_size : (index + 1) * self.batch_size]
        x, y = [], []
        for key in keys:
            picture = read_picture(PROJECT / "data" / "drinks" / key)
            x.append(img_as_float(resize_picture(picture, self.size)))
            sides = zip(self.masks[key].shape, self.size, strict=False)
            places = [np.linspace(0, n - 1, side).round().astype(int) for n, side in sides]
            y.append(self.masks[key][np.ix_(*places)])
        return np.stack(x), np.stack(y)


if __name__ == "__main__":
    height, width, batch_size = map(int, sys.argv[1:4])
    masks = load(Path(sys.argv[4]))
    data = DataGenerator(masks, (height, width), batch_size)
    fcn = build_plain((height, width, 3), n_classes=next(iter(masks.values())).shape[-1])
    fcn.fit(data, epochs=1)
