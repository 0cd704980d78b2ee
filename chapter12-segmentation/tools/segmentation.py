"""A trained network as a function, for notebooks and other programs.

    import sys
    sys.path.append("semantic-segmentation/chapter12-segmentation/tools")
    from segmentation import load

    labels = load()("photograph.jpg")  # (h, w) class ids, of the weights that ship

The folder's name holds a hyphen, which no import statement takes: its place is named instead. The
modules of this project are then found by their names (`utils`, `tools`, `metrics`, ...): a program
that has modules of such names imports this one in a process of its own.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CHAPTER = Path(__file__).resolve().parents[1]
OURS = {path.stem for path in CHAPTER.glob("*.py")} | {"utils", "fast", "zoo", "engine", "tools"}
for name in OURS & set(sys.modules):
    found = sys.modules[name]  # a package or a file
    places = list(getattr(found, "__path__", None) or [getattr(found, "__file__", None) or "?"])
    if not any(Path(place).resolve().parent in (CHAPTER, CHAPTER.parent) for place in places):
        raise ImportError(
            f"a module {name!r} of another program is imported already, from {places}; import "
            "segmentation in a process of its own."
        )
if str(CHAPTER) not in sys.path:
    sys.path[:0] = [str(CHAPTER.parent), str(CHAPTER)]

import numpy as np  # noqa: E402

from engine.startup import import_keras  # noqa: E402
from utils.errors import UserError  # noqa: E402
from utils.pictures import read_picture  # noqa: E402
from utils.reading import Reading  # noqa: E402

import_keras()

from keras import ops  # noqa: E402

from engine.records import OPTIONS, PROJECT, Network  # noqa: E402
from engine.settings import SHIPPED  # noqa: E402
from engine.transfer import restore  # noqa: E402
from engine.weights import find_weights, read_network, read_reading  # noqa: E402
from evaluation import Answer, as_picture, segment_batch  # noqa: E402
from tools.views import views  # noqa: E402

Picture = np.ndarray | Path | str


@dataclass(frozen=True)
class Segmenter:
    """A trained network: called with a picture it gives the class of every pixel.

    Attributes:
        network: what the network is.
        ask: from pictures to probabilities, see `evaluation.answer`.
        reading: how the pictures of training were read.
    """

    network: Network
    ask: Answer
    reading: Reading

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, by id; 0 is the background."""
        return self.network.classes.names

    def __call__(self, picture: Picture) -> np.ndarray:
        """The class of every pixel, (h, w) uint8.

        Args:
            picture: a file, or (h, w, channels) uint8 in red, green, blue, or floats in [0, 1].

        Raises:
            UserError: the file cannot be read, or the array is no picture.
        """
        return segment_batch(self.ask, [self._read(picture)])[0]

    def probabilities(self, picture: Picture) -> np.ndarray:
        """The probability of each class at every pixel, (h, w, C) float32.

        Args:
            picture: as for a call.

        Raises:
            UserError: the file cannot be read, or the array is no picture.
        """
        return ops.convert_to_numpy(self.ask([self._read(picture)]))[0]

    def _read(self, picture: Picture) -> np.ndarray:
        if not isinstance(picture, str | Path):
            return as_picture(picture)
        reading, channels = self.reading, self.network.input_shape[2]
        return read_picture(picture, scale=reading.scale, turn=reading.turn, channels=channels)


def load(
    weights: Path | str = SHIPPED, *, size: Sequence[int] | None = None, tta: str = "none"
) -> Segmenter:
    """A trained network with its weights.

    Args:
        weights: a file that a training left, or its name in `weights/`; by default those that ship.
        size: (H, W) at which the network looks at pictures; by default that of its training.
        tta: how it looks at them, see `tools.views`: "none", "flip", "scales" or "flip,scales".

    Raises:
        UserError: there is no such file, it holds no network, or there is no such `tta`.
    """
    known = OPTIONS["tta"]["parser"]["choices"]
    if tta not in known:
        raise UserError(f"tta {tta!r} is none of {', '.join(known)}; give one of these.")
    path = find_weights(str(weights), PROJECT / "weights")
    network = read_network(path)
    network = network.at(tuple(size)) if size else network
    model = network.build()
    restore(model, network.name, path)
    return Segmenter(network, views(network, model, tta), read_reading(path))
