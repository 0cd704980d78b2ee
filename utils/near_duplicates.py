"""Which pictures show the same: copies, brighter ones, crops, and bursts of one scene.

Each picture becomes a small grey thumbnail. Two are alike where the changes of brightness from cell
to cell, in one of them or in its middle, are nearly those in some window of the other: a grid of
windows is tried for all pairs, and for those that may be alike a finer one around the best. Changes
do not see how bright a picture is, and tell scenes apart better than brightness itself.
"""

from collections.abc import Sequence
from functools import cache
from itertools import product

import numpy as np
from PIL import Image
from scipy.cluster.hierarchy import DisjointSet

SIDE = 64  # pixels of a thumbnail
CELLS = 16  # along each side of what is compared
LEAST = 0.7  # of each side that a crop has kept
STEP = 0.1  # of a side from window to window, and half of it in the finer grid
MIDDLE = (0.15, 0.85)  # of two pictures of a burst each has what the other lacks
# Correlation from which two pictures are alike. Measured on 144 photographs of bottles: three pairs
# that are copies have 0.99 and more, all others at most 0.75; rendered drinks at most 0.57. Nine of
# ten random crops that keep 72 to 97 per cent of each side have 0.81 and more, and so have pictures
# turned by 2 degrees; darker and noisy ones 0.95, a pan by a tenth 0.98.
ALIKE = 0.77
MAYBE = 0.45  # in the grid, from which the finer one is tried
BLOCK = 32  # pictures whose windows are held at a time: 15 MB


def thumbnail(picture: np.ndarray) -> np.ndarray:
    """A picture (H, W, 3) uint8 as `group` compares it: (SIDE, SIDE) float32, 0 to 1."""
    small = Image.fromarray(picture).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(small, np.float32) / 255


def group(thumbnails: Sequence[np.ndarray]) -> list[list[int]]:
    """Put pictures that are alike together; what is alike to one of a group is of the group.

    Args:
        thumbnails: N of them, from `thumbnail`.

    Returns:
        The numbers of the pictures of each group, in their order; every picture is in one.
    """
    count, sets, maybe = len(thumbnails), DisjointSet(range(len(thumbnails))), []
    if not count:
        return []
    sides = [(round(i * STEP, 3), round(j * STEP, 3)) for i in range(11) for j in range(i + 1, 11)]
    sides = [side for side in sides if side[1] - side[0] > LEAST - STEP / 2]
    windows = list(product(sides, sides))
    # (2N, D): all pictures whole, then the middles of all
    asked = np.concatenate([_changes(thumbnails, [(one, one)]) for one in ((0, 1), MIDDLE)])
    for start in range(0, count, BLOCK):
        block = _changes(thumbnails[start : start + BLOCK], windows)  # (b * windows, D)
        alike = (asked @ block.T).reshape(2 * count, -1, len(windows))
        best, scores = alike.argmax(2), alike.max(2)  # (2N, b)
        for query, place in np.argwhere(scores > MAYBE).tolist():
            pair = query % count, start + place
            if scores[query, place] > ALIKE:
                sets.merge(*pair)
            elif pair[0] != pair[1] and not sets.connected(*pair):
                maybe.append((scores[query, place], query, pair[1], windows[best[query, place]]))
    for _, query, other, window in sorted(maybe, reverse=True):
        if not sets.connected(query % count, other):
            finer = list(product(*map(_around, window)))
            if (_changes([thumbnails[other]], finer) @ asked[query]).max() > ALIKE:
                sets.merge(query % count, other)
    return sorted(sorted(subset) for subset in sets.subsets())


def _around(side: tuple[float, float]) -> list[tuple[float, float]]:
    """The sides of windows whose ends lie half a step, or not at all, from those of `side`."""
    start, end = (
        [round(edge + step, 3) for step in (-STEP / 2, 0, STEP / 2) if 0 <= edge + step <= 1]
        for edge in side
    )
    return list(product(start, end))


def _changes(thumbnails: Sequence[np.ndarray], windows: list) -> np.ndarray:
    """Windows of thumbnails as unit vectors of the changes from cell to cell.

    Args:
        thumbnails: N of them.
        windows: (rows, columns) each, as shares of the height and of the width.

    Returns:
        (N * windows, D) float32, those of one thumbnail behind one another; zeros of flat ones.
    """
    down, across = (
        np.stack([_means(*window[axis]) for window in windows])  # (windows, CELLS, SIDE)
        for axis in (0, 1)
    )
    cells = down @ np.stack(thumbnails)[:, None] @ across.transpose(0, 2, 1)
    cells = cells.reshape(-1, CELLS, CELLS)
    changes = [np.diff(cells, axis=axis).reshape(len(cells), -1) for axis in (1, 2)]
    changes = np.concatenate(changes, axis=1)
    # The root, as the edge of a table, long and strong, would else count more than all objects.
    changes = np.sign(changes) * np.sqrt(np.abs(changes))
    lengths = np.linalg.norm(changes, axis=1, keepdims=True)
    return np.divide(changes, lengths, out=np.zeros_like(changes), where=lengths > 0)


@cache
def _means(start: float, end: float) -> np.ndarray:
    """What makes the means of cells from `start` to `end` of a side, (CELLS, SIDE) float32."""
    edges = np.linspace(start * SIDE, end * SIDE, CELLS + 1)
    pixels = np.arange(SIDE)
    shares = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    shares = np.maximum(shares, 0)
    return (shares / shares.sum(1, keepdims=True)).astype(np.float32)
