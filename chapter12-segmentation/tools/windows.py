"""Pictures of any size at the scale on which a network was trained, in overlapping windows.

Shrunk to the network's size, what is small in a large picture is lost. Here the network sees each
part as large as it saw its objects in training, and the memory is that of a few rows of windows,
whatever the picture's height. Where windows overlap, their probabilities are averaged by weights
that fall towards the edges of each, where a network lacks what lies beyond.

`tools.tiles` is for networks with valid convolutions, which need no averaging.
"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from keras import ops
from PIL import Image

from evaluation import in_batches
from zoo.unet import mirrored

# Of a window's side. Two mosaics of nine test pictures, 544x736 at the network's scale: of the
# classes in windows of 192x256, 99.1 % are those of the whole at once without overlap, 99.4 % with
# 1/8 and 99.2 % with 1/2; of the pixels on objects 94.6, 96.0 and 94.9 %.
OVERLAP = 1 / 8
BLOCK = 2**24  # bytes that are read, or enlarged, together

Size = tuple[int, int]


def in_windows(
    ask: Callable[[np.ndarray], object],
    shape: tuple[int, int, int],
    rows: Callable[[int, int], np.ndarray],
    size: Size,
    scale: float,
    overlap: float = OVERLAP,
) -> Iterator[tuple[int, np.ndarray]]:
    """The answer of a network to a picture, at the picture's size, strip by strip.

    The picture is brought to `scale` as a whole, but for rounding: the rows and columns of the map
    are whole, and its edges are those of the picture. Where it is then smaller than a window, it
    stands in the middle, its mirror image around it. A picture that is a single window has the
    answer of `evaluation.answer`.

    Args:
        ask: from (B, H, W, c) uint8 to probabilities (B, H, W, C), with B up to
            `evaluation.AT_ONCE` with a GPU, else 1.
        shape: (h, w, c) of the picture.
        rows: from `top` and `bottom` to its rows [top, bottom), (n, w, c) uint8.
        size: (H, W) of the windows, that of the network.
        scale: pixels of a window per pixel of the picture.
        overlap: of windows that are neighbours, at least, in parts of their side, below 1.

    Yields:
        `top` and (n, w, C) float32 class probabilities of the rows from `top` on, in order and
        without gaps.

    Raises:
        ValueError: scale or overlap are none.
    """
    if not 0 < scale < np.inf or not 0 <= overlap < 1:
        raise ValueError(f"scale {scale} and overlap {overlap} are not possible")
    height, width, _ = shape
    inner = _scaled(height, scale), _scaled(width, scale)
    maps = _blended(ask, _reduced(rows, shape, inner), inner, size, overlap)
    return _enlarged(maps, inner, (height, width))


def count_windows(
    shape: tuple[int, ...], size: Size, scale: float, overlap: float = OVERLAP
) -> int:
    """How many windows `in_windows` asks for; its arguments."""
    numbers = [
        len(_starts(_scaled(length, scale), side, overlap))
        for length, side in zip(shape[:2], size, strict=True)
    ]
    return numbers[0] * numbers[1]


def _scaled(length: int, scale: float) -> int:
    return max(1, round(length * scale))


def _starts(length: int, side: int, overlap: float) -> list[int]:
    """Where windows begin along `length` pixels: evenly spread, as few as overlap enough."""
    if length <= side:
        return [0]
    step = side - min(round(side * overlap), side - 1)
    count = 1 + -(-(length - side) // step)
    return np.rint(np.linspace(0, length - side, count)).astype(int).tolist()


def _weights(starts: list[int], side: int, overlap: float) -> np.ndarray:
    """The share of each window in the average, along one axis: (windows, side) float32.

    They rise over the overlap from the edges on, are never 0, and of all windows together are 1 at
    every pixel. Along both axes they are the product, since the windows make a grid.
    """
    places = np.arange(side)
    ramp = np.minimum(places, places[::-1]) + 1
    ramp = np.minimum(1, ramp / (round(side * overlap) + 1))
    total = np.zeros(starts[-1] + side)
    for start in starts:
        total[start : start + side] += ramp
    return np.float32([ramp / total[start : start + side] for start in starts])


def _reduced(
    rows: Callable[[int, int], np.ndarray], shape: tuple[int, int, int], inner: Size
) -> Callable[[int, int], np.ndarray]:
    """From `top` and `bottom` to such rows of the picture resized to `inner`, uint8.

    As `utils.pictures.resize_picture` does it for all at once, but for 1 of 255 in up to a quarter
    of the values of some pictures: Pillow rounds between rows and columns, and which of them come
    first it chooses by the size of what it is given.
    """
    height, width, channels = shape
    step = height / inner[0]  # of picture per row of the map
    support = max(step, 1)  # rows of the picture that count on either side of a centre
    most = max(1, int(BLOCK / (step * width * channels)))

    def block(top: int, bottom: int) -> np.ndarray:
        first = max(0, int(top * step - support) - 1)
        last = min(height, int(bottom * step + support) + 2)
        part, length = rows(first, last), last - first
        box = 0, top * step - first, width, min(bottom * step - first, length)
        target = inner[1], bottom - top

        def resize(values: np.ndarray) -> np.ndarray:
            return np.asarray(
                Image.fromarray(values).resize(target, Image.Resampling.BILINEAR, box)
            )

        if channels == 3:
            return resize(part)
        # One by one: Pillow would weigh the others by the last of 2 and 4, as transparency.
        return np.stack([resize(part[..., c]) for c in range(channels)], axis=2)

    def reduced(top: int, bottom: int) -> np.ndarray:
        tops = range(top, bottom, most)
        return np.concatenate([block(one, min(one + most, bottom)) for one in tops])

    return reduced


def _blended(
    ask: Callable[[np.ndarray], object],
    reduced: Callable[[int, int], np.ndarray],
    inner: Size,
    size: Size,
    overlap: float,
) -> Iterator[np.ndarray]:
    """The probabilities of the picture as the windows see it: (n, inner width, C), in order."""
    around = [max(0, side - length) for side, length in zip(size, inner, strict=True)]
    before = [number // 2 for number in around]
    down, across = (
        mirrored(length, first, number - first)
        for length, first, number in zip(inner, before, around, strict=True)
    )
    tops, lefts = (_starts(length, side, overlap) for length, side in zip(inner, size, strict=True))
    shares_down, shares_across = (
        _weights(starts, side, overlap) for starts, side in zip((tops, lefts), size, strict=True)
    )
    within = slice(before[0], before[0] + inner[0]), slice(before[1], before[1] + inner[1])

    seen = total = None
    for number, top in enumerate(tops):
        if number == 0:
            seen = reduced(0, min(size[0], inner[0]))[:, across]  # (H, W or more, c)
            seen = seen if inner[0] >= size[0] else seen[down]
        else:
            past = top - tops[number - 1]  # rows that no window sees again
            yield total[:past, within[1]]
            total = np.concatenate([total[past:], np.zeros_like(total[:past])])
            new = reduced(top + size[0] - past, top + size[0])[:, across]
            seen = np.concatenate([seen[past:], new])
        for batch, _ in in_batches(enumerate(lefts), lambda entry: size):
            windows = np.stack([seen[:, left : left + size[1]] for _, left in batch])
            answers = ops.convert_to_numpy(ask(windows))  # (B, H, W, C)
            if total is None:
                total = np.zeros((size[0], seen.shape[1], answers.shape[3]), np.float32)
            for (place, left), answer in zip(batch, answers, strict=True):
                shares = shares_down[number][:, None] * shares_across[place]  # (H, W)
                total[:, left : left + size[1]] += answer * shares[..., None]
    yield total[within]


def _enlarged(
    maps: Iterable[np.ndarray], inner: Size, size: Size
) -> Iterator[tuple[int, np.ndarray]]:
    """Maps that come in strips (n, W, C), resized as by `metrics.resize_bilinear` all at once.

    A row is made once both rows are there that it lies between.
    """
    above, below, share = _between(inner[0], size[0])
    left, right, across = _between(inner[1], size[1])
    held, first, row = None, 0, 0  # rows of the map from `first` on; the next row to make
    for part in maps:
        if held is None:
            held = part[:0]
            across = np.repeat(across[:, None], part.shape[2], 1)  # (w, C): NumPy is faster so
        held = np.concatenate([held, part])
        ready = int(np.searchsorted(below, first + len(held)))
        most = max(1, BLOCK // (4 * size[1] * held.shape[2]))
        while row < ready:
            made = np.empty((min(most, ready - row), size[1], held.shape[2]), np.float32)
            for number, line in enumerate(made, row):
                upper, lower = held[above[number] - first], held[below[number] - first]
                between = upper + (lower - upper) * share[number]  # (W, C)
                start = between.take(left, 0)
                between.take(right, 0, out=line, mode="clip")  # else NumPy takes a copy
                line -= start
                line *= across
                line += start
            yield row, made
            row += len(made)
        past = min(int(above[row]) - first, len(held)) if row < size[0] else len(held)
        held, first = held[past:], first + past


def _between(old: int, new: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where `new` values lie among `old` ones, with half-pixel centres.

    Returns:
        The neighbours before and behind, (new,) integers, and the share of the latter, float32.
    """
    places = np.clip((np.arange(new) + 0.5) * (old / new) - 0.5, 0, old - 1)
    before = places.astype(np.int64)
    return before, np.minimum(before + 1, old - 1), np.float32(places - before)
