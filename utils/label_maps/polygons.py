"""Regions to label maps: the chapter's `cv2.fillPoly` without OpenCV, at any output size.

Pixel centres have whole coordinates. A region covers what lies inside its outline by the even-odd
rule, and the pixels of the outline itself, so a square from 5 to 14 covers 10 x 10 pixels. The
shape "rings" of other programs is another convention, see `utils.formats.annotations`.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from utils.errors import UserError
from utils.formats.annotations import Region

FARTHEST = 1e9  # pixels; coordinates beyond it say nothing, and below it int64 cannot overflow
OVERFLOWING = 1e100  # squares of larger coordinates, or theirs, are no float64
MOST_STEPS = 2**24  # pixels along an outline within the picture; it would be traced for seconds
PIECE = 2**20  # pixels that are worked on at once
SECTORS = 400  # of large circles, of which only those near the picture get all of their corners
TURNED = 1.1  # times a side; regions this far out hint at exchanged sides, not at a slip
TOLERANCE = 1  # pixel; VIA itself lets a point lie on the far border of a picture


@dataclass(frozen=True)
class Note:
    """Something that was found while labels were made: its kind, and a text that says where."""

    kind: str
    text: str


def draw_regions(
    regions: Iterable[tuple[Region, int]],
    picture_size: tuple[int, int],
    output_size: tuple[int, int] | None = None,
) -> tuple[np.ndarray, list[Note]]:
    """Draw regions into a label map; where they overlap, the later one lies on top.

    Points are skipped, as they have no area. So are degenerate regions (all points on one line,
    no radius), which are slips of the mouse: OpenCV would draw a dot or a line.

    Args:
        regions: (region, class id) pairs.
        picture_size: (H, W) of the upright picture that the coordinates refer to.
        output_size: (H, W) of the label map, the picture's size unless given. The outlines are
            scaled before they are drawn: x becomes (x + 0.5) s - 0.5, as centres are whole.

    Returns:
        Labels (H, W) uint8, 0 where no region is, and notes of kind "clipped" (a region leaves
        the picture by more than 1 pixel), "swapped" (a region lies far out, and all would fit if
        width and height were exchanged) and "skipped".

    Raises:
        UserError: an outline crosses the picture so often that it takes more than `MOST_STEPS`.
    """
    height, width = picture_size
    out_height, out_width = output_size or picture_size
    scale = np.array([out_width / width, out_height / height])
    labels = np.zeros((out_height, out_width), np.uint8)
    notes, reach = [], np.zeros(2)  # the largest x and y of any region
    for number, (region, class_id) in enumerate(regions, start=1):
        name = f"region {number} ({region.shape})"
        if region.shape == "point":
            notes.append(Note("skipped", f"{name} has no area"))
            continue
        if region.shape in ("rings", "bitmap"):
            draw = fill_rings if region.shape == "rings" else fill_bitmap
            try:
                drawn = draw(labels, region.numbers, class_id, scale)
            except ValueError as error:
                raise UserError(f"{name} {error}; draw it anew with fewer corners.") from error
            least, most = _extent(region)
            reach = np.maximum(reach, most - 1)
            if least is not None and (text := _beyond(least, most - 1, picture_size)):
                notes.append(Note("clipped", f"{name} {text}"))
            elif not drawn:
                notes.append(Note("skipped", f"{name} holds the centre of no pixel"))
            continue
        with np.errstate(over="ignore"):
            points = np.clip(outline(region, picture_size), -OVERFLOWING, OVERFLOWING)
        if is_degenerate(points):
            notes.append(Note("skipped", f"{name} is degenerate: it is a dot or a line"))
            continue
        reach = np.maximum(reach, points.max(axis=0))
        if text := _beyond(points.min(axis=0), points.max(axis=0), picture_size):
            notes.append(Note("clipped", f"{name} {text}"))
        try:
            fill(labels, (points + 0.5) * scale - 0.5, class_id)
        except ValueError as error:
            raise UserError(f"{name} {error}; draw it anew with fewer corners.") from error

    size = np.array([width, height])
    far_out = (reach > TURNED * size).any()
    if far_out and (reach <= size[::-1] - 1 + TOLERANCE).all():
        text = f"the regions fit {height} x {width} but the picture is {width} x {height}"
        notes.append(Note("swapped", f"{text}: was it turned after it was annotated?"))
    return labels, notes


def _beyond(least: np.ndarray, most: np.ndarray, picture_size: tuple[int, int]) -> str | None:
    """What is to be said of a region from (x, y) `least` to `most` that leaves the picture."""
    height, width = picture_size
    beyond = max(-least.min(), *(most - (width - 1, height - 1)))
    if (most < -0.5).any() or (least > (width, height)).any():
        return "lies outside the picture"
    if beyond <= TOLERANCE:
        return None
    return f"leaves the picture by {beyond:{'.0f' if beyond < FARTHEST else '.0e'}} pixels"


def _extent(region: Region) -> tuple[np.ndarray | None, np.ndarray]:
    """The least (x, y) of rings or a bitmap, None where there is nothing, and the greatest."""
    if region.shape == "bitmap":
        corner = np.array([region.numbers["x"], region.numbers["y"]], np.float64)
        size = region.numbers["bitmap"].shape[::-1]
        return (corner if min(size) else None), corner + size
    points = np.concatenate([np.zeros((0, 2)), *_rings(region.numbers)])
    if not len(points):
        return None, np.zeros(2)
    points = np.clip(points, -OVERFLOWING, OVERFLOWING)
    return points.min(axis=0), points.max(axis=0)


def outline(region: Region, size: tuple[int, int] | None = None) -> np.ndarray:
    """The corners of a region, (n, 2) float64 as (x, y); the last joins the first.

    A polyline is closed like a polygon: annotators trace objects with it by mistake, and an open
    line has no area. Circles and ellipses get a corner per pixel of their circumference.

    Args:
        region: of any shape but a point.
        size: (H, W) of a picture. Large circles then get fewer corners where it is not.
    """
    n = region.numbers
    if region.shape in ("polygon", "polyline"):
        return np.array([n["all_points_x"], n["all_points_y"]], np.float64).T
    if region.shape == "rect":
        left, top = n["x"], n["y"]
        right, bottom = left + n["width"], top + n["height"]
        return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    if region.shape not in ("circle", "ellipse"):
        raise ValueError(f"a {region.shape} has no outline")
    across, down = (n["r"], n["r"]) if region.shape == "circle" else (n["rx"], n["ry"])
    theta = n.get("theta", 0.0)
    largest = max(abs(across), abs(down))
    count = int(np.clip(2 * math.pi * largest, 16, 100_000))

    def corners(numbers: np.ndarray) -> np.ndarray:
        turn = numbers * (2 * math.pi / count)
        x, y = across * np.cos(turn), down * np.sin(turn)
        return np.stack(
            [
                n["cx"] + x * math.cos(theta) - y * math.sin(theta),
                n["cy"] + x * math.sin(theta) + y * math.cos(theta),
            ],
            axis=1,
        )

    if size is None or largest <= 2 * max(size):
        return corners(np.arange(count))
    first = np.arange(0, count, -(-count // SECTORS))  # corner of each sector
    last = np.append(first[1:], count)
    begin = corners(first)
    end = np.roll(begin, -1, axis=0)
    bulge = largest * (1 - math.cos(math.pi * (last - first).max() / count)) + 2  # over the chord
    near = (np.maximum(begin, end) >= -bulge) & (
        np.minimum(begin, end) <= bulge + np.array(size[::-1])
    )
    _, k = _runs(first, np.where(near.all(axis=1), last - first, 1))
    return corners(k)


def is_degenerate(points: np.ndarray) -> bool:
    """Whether the corners (n, 2) of a region lie on one point or one line, so it has no area."""
    if len(points) < 3:
        return True
    away = points - points[0]
    longest = away[np.argmax((away**2).sum(axis=1))]
    across = np.abs(away[:, 0] * longest[1] - away[:, 1] * longest[0])
    return bool(across.max() <= 1e-6 * max((longest**2).sum(), 1e-6))


def fill(labels: np.ndarray, points: np.ndarray, class_id: int) -> None:
    """Set the pixels of a closed polygon in `labels` (H, W) to `class_id`; the rest is clipped.

    Corners are rounded to pixel centres; inside counts by the even-odd rule; the lines between
    corners are Bresenham's. This is what `cv2.fillPoly` does with whole coordinates.

    Args:
        points: (n, 2) float as (x, y), in pixels of `labels`.

    Raises:
        ValueError: the outline is too long, see `MOST_STEPS`; nothing is drawn then.
    """
    corners = np.rint(np.clip(points, -FARTHEST, FARTHEST)).astype(np.int64)
    height, width = labels.shape
    left, top = np.maximum(corners.min(axis=0), 0)
    right, bottom = np.minimum(corners.max(axis=0), (width - 1, height - 1))
    if left > right or top > bottom:
        return
    box = labels[top : bottom + 1, left : right + 1]
    corners = _near(corners - (left, top), box.shape)
    _check_length(corners, box.shape)
    rows = max(1, PIECE // box.shape[1])
    for first in range(0, len(box), rows):  # few pictures are large enough for a second round
        band = box[first : first + rows]
        part = corners - (0, first)
        part = _near(part, band.shape) if len(box) > rows else part
        inside = _inside(part, band.shape)
        for start, end in _pieces(part, band.shape):
            x, y = _lines(start, end, band.shape)
            inside[y, x] = True
        band[inside] = class_id


def fill_rings(labels: np.ndarray, numbers: dict, class_id: int, scale: np.ndarray) -> bool:
    """Set the pixels of `labels` (H, W) whose centres lie in an odd number of outlines.

    Args:
        numbers: of a region "rings".
        scale: (x, y) from the pixels of the outlines to those of `labels`.

    Returns:
        Whether there were any.

    Raises:
        ValueError: the outlines cross too many rows, see `MOST_STEPS`; nothing is drawn then.
    """
    rings = _rings(numbers)
    start = np.concatenate([np.zeros((0, 2)), *rings])
    end = np.concatenate([np.zeros((0, 2)), *(np.roll(ring, -1, axis=0) for ring in rings)])
    start, end = (np.clip(each * scale - 0.5, -FARTHEST, FARTHEST) for each in (start, end))
    if not len(start):
        return False
    height, width = labels.shape
    left, top = np.maximum(np.floor(start.min(axis=0)), 0).astype(int)
    right, bottom = np.minimum(np.ceil(start.max(axis=0)), (width - 1, height - 1)).astype(int)
    if left > right or top > bottom:
        return False
    box = labels[top : bottom + 1, left : right + 1]
    inside = _holds_centres(start - (left, top), end - (left, top), box.shape)
    box[inside] = class_id
    return bool(inside.any())


def _rings(numbers: dict) -> list[np.ndarray]:
    """The outlines of a region "rings", (n, 2) float64 each."""
    return [np.array(ring, np.float64).reshape(-1, 2) for ring in numbers["rings"]]


def _holds_centres(start: np.ndarray, end: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Which pixel centres have an odd number of edges on their left; (H, W) bool. See `_inside`."""
    height, width = shape
    upper = np.where(start[:, 1:] <= end[:, 1:], start, end)
    lower = np.where(start[:, 1:] <= end[:, 1:], end, start)
    first, behind = (np.clip(np.ceil(each[:, 1]), 0, height).astype(int) for each in (upper, lower))
    if (behind - first).sum() > MOST_STEPS:
        raise ValueError(f"has an outline of {(behind - first).sum():,} rows")
    edge, y = _runs(first, behind - first)
    step = lower - upper
    x = upper[edge, 0] + (y - upper[edge, 1]) * step[edge, 0] / step[edge, 1]
    x = np.clip(np.ceil(x), 0, width).astype(int)  # the first centre on the right of the edge
    toggles = np.bincount(y * (width + 1) + x, minlength=height * (width + 1)) & 1
    toggles = toggles.astype(np.uint8).reshape(height, width + 1)
    return np.bitwise_xor.accumulate(toggles, axis=1)[:, :width].astype(bool)


def fill_bitmap(labels: np.ndarray, numbers: dict, class_id: int, scale: np.ndarray) -> bool:
    """Set the pixels of `labels` (H, W) that a region "bitmap" covers; arguments as `fill_rings`.

    At another size each pixel of `labels` takes what its centre falls on.
    """
    bitmap = numbers["bitmap"]
    places = []
    for axis, first in ((0, numbers["y"]), (1, numbers["x"])):
        centres = (np.arange(labels.shape[axis]) + 0.5) / scale[1 - axis]
        index = np.floor(centres).astype(int) - int(first)
        within = np.flatnonzero((index >= 0) & (index < bitmap.shape[axis]))
        places.append((within, index[within]))
    (rows, y), (columns, x) = places
    covered = bitmap[np.ix_(y, x)]
    labels[np.ix_(rows, columns)] = np.where(covered, class_id, labels[np.ix_(rows, columns)])
    return bool(covered.any())


def _near(corners: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Corners without those amid others beyond the same side of (H, W) = `shape`.

    No pixel changes: what is left out, and the edge that stands for it, lie beyond that side.
    """
    height, width = shape
    x, y = corners.T
    side = np.select([x < 0, x >= width, y < 0, y >= height], [1, 2, 3, 4])
    amid = (side > 0) & (side == np.roll(side, 1)) & (side == np.roll(side, -1))
    return corners[~amid] if amid.any() and not amid.all() else corners


def _check_length(corners: np.ndarray, shape: tuple[int, int]) -> None:
    """Raise `ValueError` when an outline goes through more pixels than can be traced in time."""
    box = np.array(shape[::-1])
    kept = np.clip(corners, 0, box)
    steps = int(np.abs(kept - np.roll(kept, -1, axis=0)).max(axis=1).sum())
    if steps > max(MOST_STEPS, 2 * box.prod()):
        raise ValueError(f"has an outline of {steps:,} pixels in a part of {shape[1]} x {shape[0]}")


def _pieces(corners: np.ndarray, shape: tuple[int, int]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The edges, begin (n, 2) and end (n, 2), of a closed polygon, as many at once as `PIECE`."""
    end = np.roll(corners, -1, axis=0)
    most = max(1, PIECE // max(shape))
    for first in range(0, len(corners), most):
        yield corners[first : first + most], end[first : first + most]


def _inside(corners: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Where an even number of edges lies left of a pixel it is outside; (H, W) bool.

    Each edge toggles, in each row that it crosses, all pixels from the crossing on; rows go from
    the upper corner to before the lower one, so that corners count once.
    """
    height, width = shape
    toggles = np.zeros(height * (width + 1), np.uint8)
    for start, end in _pieces(corners, shape):
        upper = np.where(start[:, 1:] <= end[:, 1:], start, end)
        lower = np.where(start[:, 1:] <= end[:, 1:], end, start)
        first = np.clip(upper[:, 1], 0, height)
        rows = np.clip(lower[:, 1], 0, height) - first
        edge, y = _runs(first, rows)
        step = lower - upper
        rise = (y - upper[edge, 1]) * step[edge, 0]
        x = upper[edge, 0] - (-rise // step[edge, 1])  # rounded up to the next centre
        x = np.clip(x, 0, width)
        toggles ^= (np.bincount(y * (width + 1) + x, minlength=len(toggles)) & 1).astype(np.uint8)
    toggles = toggles.reshape(height, width + 1)
    return np.bitwise_xor.accumulate(toggles, axis=1)[:, :width].astype(bool)


def _lines(
    start: np.ndarray, end: np.ndarray, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """The pixels x and y of the lines from `start` to `end` that fall into (H, W) = `shape`.

    From the left corner of each line one pixel per step along its longer direction; a tie between
    two pixels goes to the one nearer to the left corner's row or column, as in OpenCV.
    """
    height, width = shape
    swap = start[:, :1] > end[:, :1]
    start, end = np.where(swap, end, start), np.where(swap, start, end)
    step = end - start
    length = np.abs(step)
    steep = length[:, 1] > length[:, 0]
    count = length.max(axis=1)

    # Along its longer direction a line enters the box at step `first` and leaves after `last`.
    origin = np.where(steep, start[:, 1], start[:, 0])
    forward = np.where(steep, step[:, 1], step[:, 0]) >= 0
    size = np.where(steep, height, width)
    first = np.where(forward, -origin, origin - size + 1)
    last = np.where(forward, size - 1 - origin, origin)
    first, last = np.maximum(first, 0), np.minimum(last, count)
    line, k = _runs(first, np.maximum(last - first + 1, 0))

    n = np.maximum(count[line], 1)[:, None]
    moved = (2 * k[:, None] * length[line] + n - 1) // (2 * n)
    pixels = start[line] + np.sign(step[line]) * moved
    x, y = pixels[((pixels >= 0) & (pixels < (width, height))).all(axis=1)].T
    return x, y


def _runs(first: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Runs of whole numbers, run i being first[i], first[i] + 1, ...: owner and value of each."""
    owner = np.repeat(np.arange(len(count)), count)
    before = np.cumsum(count) - count
    return owner, np.arange(len(owner)) - before[owner] + first[owner]
