"""A dense CRF: pixels that are near each other and of like colour are to have the same class.

Philipp Krähenbühl and Vladlen Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian
Edge Potentials", 2011. Every pair of pixels i, j of different classes costs

    w1 exp(-|p_i - p_j|^2 / 2 sa^2 - |I_i - I_j|^2 / 2 sb^2) + w2 exp(-|p_i - p_j|^2 / 2 sg^2)

for places p in pixels and colours I from 0 to 255 (Potts model). Mean field: each pixel's
probabilities are those of the network, times exp of what all others say, again and again. What
all say is a sum over all pairs, which is a Gaussian filter: in two dimensions, row by row and
column by column, exactly; in the five of places and colours on a permutohedral lattice.

As in the authors' code, and pydensecrf, kernels are normalised, k(i, j) / sqrt(n_i n_j) for the
sum n_i of k(i, j) over all j, and a pixel is among its own neighbours. With sums as they are, the
papers' weights would be hundreds of times too large.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.ndimage import convolve1d
from scipy.sparse import csr_array

from utils.errors import UserError

LEAST = 1e-5  # a probability: the logarithm of 0 would be for ever
ITERATIONS = 10  # DeepLab, section 4.2
LONGEST = 4096  # pixels of a side whose pairs fit into memory, 67 MB
FAR = 8  # widths from which on a pixel weighs nothing, 1e-14

Filter = Callable[[np.ndarray], np.ndarray]  # (C, N) -> (C, N) float32


@dataclass(frozen=True)
class Pairwise:
    """Weights and widths, called as in DeepLab (Chen et al., 2015), equation 3.

    By default w2 and sg are DeepLab's; of its grid for w1, sa and sb these were the best on 16
    pictures of validation of the drinks.

    Attributes:
        w1: of the appearance, which looks at colours too.
        sa: its width in places, pixels.
        sb: its width in colours, of 0 to 255.
        w2: of the smoothness.
        sg: its width, pixels.
    """

    w1: float = 5.0
    sa: float = 60.0
    sb: float = 6.0
    w2: float = 3.0
    sg: float = 3.0

    def __post_init__(self):
        """Refuse what would divide by zero.

        Raises:
            UserError: a width is not above 0.
        """
        for name in ("sa", "sb", "sg"):
            if not getattr(self, name) > 0:
                raise UserError(f"{name} is {getattr(self, name)}; give a width above 0.")


def dense_crf(
    probabilities: np.ndarray,
    picture: np.ndarray,
    pairwise: Pairwise | None = None,
    *,
    iterations: int = ITERATIONS,
    symmetric: bool = True,
) -> np.ndarray:
    """Mean field: the probabilities of a network once the pixels have heard of each other.

    Args:
        probabilities: (H, W, C) floats.
        picture: (H, W, channels) uint8.
        pairwise: weights and widths.
        iterations: 0 gives back what came.
        symmetric: kernels are normalised by k / sqrt(n_i n_j); else by k / n_i, as CRF-as-RNN.

    Returns:
        (H, W, C) float32.

    Raises:
        UserError: the picture is not of uint8 or of another size, or has too many different
            colours for the widths.
    """
    pairwise = pairwise or Pairwise()
    height, width, classes = probabilities.shape
    if picture.dtype != np.uint8:
        raise UserError(
            f"a picture of {picture.dtype} is nothing to a CRF, whose widths are of colours from 0 "
            "to 255; give uint8."
        )
    if picture.ndim != 3 or picture.shape[:2] != (height, width):
        raise UserError(
            f"a picture of shape {picture.shape} is not that of {height}x{width} probabilities; "
            f"resize it to ({height}, {width}, channels)."
        )
    # Classes come first here: sums over few rows are many times faster than over few columns.
    logits = np.log(np.clip(probabilities, LEAST, 1), dtype=np.float32)
    logits = np.ascontiguousarray(logits.reshape(-1, classes).T)  # (C, N), N = H W
    terms = []
    if iterations and pairwise.w1:
        looks = lattice(colours_and_places(picture, pairwise.sa, pairwise.sb))
        terms.append((pairwise.w1, normalised(looks, height * width, symmetric)))
    if iterations and pairwise.w2:
        places = plane((height, width), pairwise.sg)
        terms.append((pairwise.w2, normalised(places, height * width, symmetric)))
    q = softmax(logits)
    for _ in range(iterations):
        # What other classes cost is, but for a constant, what the same class saves.
        q = softmax(sum((weight * of(q) for weight, of in terms), logits))
    return q.T.reshape(height, width, classes)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities (C, N) of logits (C, N)."""
    powers = np.exp(logits - logits.max(0))
    return powers / powers.sum(0)


def normalised(kernel: Filter, number: int, symmetric: bool = True) -> Filter:
    """A filter of `number` pixels by what it makes of ones: half of it before, half after.

    Without `symmetric` all of it after: then constants stay what they are.
    """
    sums = kernel(np.ones((1, number), np.float32))
    if not symmetric:
        return lambda values: kernel(values) / sums
    roots = np.sqrt(sums)
    return lambda values: kernel(values / roots) / roots


def plane(size: tuple[int, int], width: float) -> Filter:
    """Exact sums over a picture of `size`, of exp(-|p_i - p_j|^2 / 2 width^2) times the values."""

    def gaussian(side: int) -> np.ndarray:  # (side, side)
        places = np.arange(side, dtype=np.float32) / width
        return np.exp(-((places[:, None] - places) ** 2) / 2)

    if max(size) <= LONGEST:
        rows, columns = map(gaussian, size)
        return lambda values: (rows @ (values.reshape(-1, *size) @ columns)).reshape(values.shape)
    places = np.arange(-math.ceil(FAR * width), math.ceil(FAR * width) + 1) / width
    kernel = np.exp(-(places**2) / 2).astype(np.float32)

    def along_both(values: np.ndarray) -> np.ndarray:
        maps = values.reshape(-1, *size)
        for axis in (1, 2):
            maps = convolve1d(maps, kernel, axis, mode="constant")
        return maps.reshape(values.shape)

    return along_both


def colours_and_places(picture: np.ndarray, sa: float, sb: float) -> np.ndarray:
    """What the appearance compares, in widths: (H, W, channels) -> (H W, channels + 2) float32."""
    height, width, channels = picture.shape
    places = np.stack(np.indices((height, width), np.float32), -1) / sa
    colours = picture.astype(np.float32) / sb
    return np.concatenate([colours, places], -1).reshape(-1, channels + 2)


def lattice(features: np.ndarray) -> Filter:
    """Sums of exp(-|f_i - f_j|^2 / 2) times the values, nearly, and but for a common factor.

    Adams, Baek and Davis, "Fast High-Dimensional Filtering Using the Permutohedral Lattice", 2010.
    Each pixel lies in a simplex of the lattice and gives of its value to the d + 1 corners
    (splat); corners mix with their neighbours along d + 1 directions, 1/4, 1/2, 1/4 (blur); the
    pixel takes from its corners what it gave (slice). Only corners of pixels are kept, and found by
    one number each: the lattice takes memory for N (d + 1) of them at most, whatever the widths.

    Args:
        features: (N, d) float32.

    Raises:
        UserError: the features differ by too much for corners to have numbers of 64 bits.
    """
    number, d = features.shape
    corners, shares, strides = _corners(features.T)  # (d + 1, N) both, (d + 1,)
    order = corners.ravel().argsort()
    ordered = corners.ravel()[order]
    first = np.append(True, ordered[1:] != ordered[:-1])
    table, place = ordered[first], np.empty(len(order), np.int32)  # (V,), sorted
    place[order] = first.cumsum() - 1
    del corners, order, ordered, first
    nodes = len(table)
    # A pixel a row, with d + 1 numbers each.
    each = place.reshape(d + 1, number).T.ravel(), np.arange(number + 1, dtype=np.int32) * (d + 1)
    take = csr_array((shares.T.ravel(), *each), shape=(number, nodes))
    give = take.T.tocsr()  # (V, N)

    # The neighbours of each node along each direction, of which one is `nodes`: there is none.
    along = np.full((d + 1, 2, nodes + 1), nodes, np.int32)
    for stride, (before, after) in zip(strides, along, strict=True):
        step = (d + 1) * stride - strides.sum()  # d along one coordinate, -1 along all others
        found = np.searchsorted(table, table + step).clip(max=nodes - 1)
        here = np.flatnonzero(table[found] == table + step)
        after[here], before[found[here]] = found[here], here

    def sums(values: np.ndarray) -> np.ndarray:
        x = np.zeros((nodes + 1, len(values)), np.float32)
        x[:-1] = give @ np.ascontiguousarray(values.T)
        for before, after in along:
            x += (x.take(before, axis=0) + x.take(after, axis=0)) / 2
        return np.ascontiguousarray((take @ x[:-1]).T)

    return sums


def _corners(features: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Corners of the simplex around each point, by number, and how near it is to each.

    Args:
        features: (d, N) float32.

    Returns:
        (d + 1, N) int64; (d + 1, N) float32 of sum 1; what a step along each of the d + 1
        coordinates adds to the number of a corner, (d + 1,) int64.
    """
    d = len(features)
    # Onto the d + 1 coordinates of sum 0, scaled so that all three steps together have width 1.
    basis = np.triu(np.ones((d + 1, d)))
    for axis in range(d):
        basis[axis + 1, axis] = -(axis + 1)
    basis *= (d + 1) * np.sqrt(2 / 3) / np.linalg.norm(basis, axis=0)
    raised = basis.astype(np.float32) @ features  # (d + 1, N)
    nearest = np.round(raised / (d + 1)) * (d + 1)
    excess = np.int64(nearest.sum(0)) // (d + 1)
    # Back to sum 0: what was rounded the most, up or down, goes the other way.
    left = raised - nearest
    rank = np.zeros(raised.shape, np.int64)  # 0 is the coordinate of which most is left
    for i, j in combinations(range(d + 1), 2):
        more = left[j] > left[i]
        rank[i] += more
        rank[j] += ~more
    rank += excess
    nearest += (d + 1) * np.float32(np.int8(rank < 0) - np.int8(rank > d))
    rank %= d + 1
    falling = np.empty_like(raised)
    np.put_along_axis(falling, rank, (raised - nearest) / (d + 1), 0)
    shares = np.append(1 + falling[d:] - falling[:1], (falling[:-1] - falling[1:])[::-1], 0)

    # Corners are up to d away from the nearest one, their neighbours d more.
    lowest = nearest.min(1, keepdims=True) - 2 * d
    spans = [int(span) for span in nearest.max(1) - lowest[:, 0] + 2 * d + 1]
    strides = [math.prod(spans[:axis]) for axis in range(d)] + [0]  # the last follows from them
    if math.prod(spans[:d]) >= 2**62:
        raise UserError(
            f"colours and places of {d} dimensions differ by too much for the widths of the CRF; "
            "give pictures of fewer channels, or larger widths."
        )
    strides = np.array(strides, np.int64)
    steps = np.empty(raised.shape, np.int64)
    np.put_along_axis(steps, d - rank, -(d + 1) * np.broadcast_to(strides[:, None], rank.shape), 0)
    # Corner k has +k along each coordinate, less d + 1 along the k of which least is left.
    steps[1:] = steps[:-1] + strides.sum()
    steps[0] = strides @ np.int64(nearest - lowest)
    return steps.cumsum(0), shares, strides
