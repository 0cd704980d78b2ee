"""Label maps to objects: connected areas, their boxes, centroids, confidences and outlines.

Pixels of an object hold together diagonally too (8 neighbours), those of the background by their
sides alone (4 neighbours), as in `label_maps/outlines.py`. With 8 for both, the hole of a ring one
pixel wide would run out between its pixels; with 4 for both, the ring would part a hole from the
rest without being one object (Rosenfeld, "Connectivity in Digital Pictures", 1970).
"""

from dataclasses import dataclass
from heapq import heapify, heappop, heappush

import numpy as np

from utils.classes import VOID
from utils.formats.annotations import Region
from utils.label_maps.outlines import polygon, ringed, traced
from utils.label_maps.polygons import outline

CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], bool)
SQUARE = np.ones((3, 3), bool)
PIECE = 2**20  # pixels that sums are made of at once; as float64 they take 8 MB


@dataclass(frozen=True)
class Found:
    """An object: a connected area of one class.

    Attributes:
        class_id: its class, neither the background nor void.
        box: (left, top, width, height) in pixels.
        pixels: how many it has.
        centroid: (x, y) in pixels, whole at the centre of a pixel.
        confidence: mean probability of its class over its pixels, or None.
    """

    class_id: int
    box: tuple[int, int, int, int]
    pixels: int
    centroid: tuple[float, float]
    confidence: float | None


def without_specks(labels: np.ndarray, least: int) -> np.ndarray:
    """A label map whose small areas have the class that most of the pixels around them have.

    So specks go and holes are filled. The smallest area is first, of equal ones the one that begins
    first, row by row; what it joins counts as one area from then on. Around are the pixels that
    share a side with the area, void excepted; of classes that are as many the lower id is taken.
    An area with none but void around stays, and void itself is none.

    Args:
        labels: (H, W) uint8 class ids, 255 is void.
        least: pixels that an area needs to stay.

    Returns:
        (H, W) uint8, a copy.

    Raises:
        ValueError: `labels` has no pixels or is no such map.
    """
    from scipy.ndimage import binary_dilation, find_objects
    from scipy.ndimage import label as connected

    _check(labels)
    labels, numbers = labels.copy(), _numbered(labels)
    pixels, boxes = counts_of(numbers).tolist(), [None, *find_objects(numbers)]
    queue = []
    for number, size in enumerate(pixels[1:], 1):
        if size < least and labels[begin := _begin(numbers, boxes[number], number)] != VOID:
            queue.append((size, begin, number))
    heapify(queue)
    while queue:
        size, _, number = heappop(queue)
        if pixels[number] != size:  # it is part of a larger one
            continue
        box = tuple(slice(max(0, side.start - 1), side.stop + 1) for side in boxes[number])
        here, numbers_here = labels[box], numbers[box]
        own = numbers_here == number
        beside = here[binary_dilation(own, CROSS) & ~own]
        beside = beside[beside != VOID]
        if not len(beside):
            continue
        label = int(np.bincount(beside).argmax())
        here[own] = label
        # As background an object may fall apart, of which a part may touch no other background.
        structure = SQUARE if label else CROSS
        parts, _ = connected(own, structure)
        for index, inner in enumerate(find_objects(parts), 1):
            part, new = parts == index, len(pixels)
            touching = binary_dilation(part, structure) & ~part & (here == label)
            joined = np.unique(numbers_here[touching]).tolist()
            numbers_here[part] = new
            pixels.append(int(part.sum()))
            boxes.append(
                tuple(
                    slice(o.start + i.start, o.start + i.stop)
                    for o, i in zip(box, inner, strict=True)
                )
            )
            total = sum(pixels[each] for each in (new, *joined))
            if total >= least:  # all of it stays, whatever numbers its parts have
                for each in (new, *joined):
                    pixels[each] = total
                continue
            for other in joined:
                area = numbers[boxes[other]]
                area[area == other] = new
                pixels[other] = 0
            boxes[new] = _around([boxes[each] for each in (new, *joined)])
            pixels[new] = total
            heappush(queue, (total, _begin(numbers, boxes[new], new), new))
    return labels


def objects_of(labels: np.ndarray, confidence: np.ndarray | None = None) -> list[Found]:
    """The objects of a label map, the largest first, of equal ones the one that begins first.

    Args:
        labels: (H, W) uint8 class ids; 0, the background, and 255, void, are no objects.
        confidence: (H, W) float, probability of the class of each pixel.

    Raises:
        ValueError: `labels` has no pixels or is no such map, or `confidence` is of another shape.
    """
    from scipy.ndimage import find_objects
    from skimage.measure import label

    _check(labels, confidence)
    numbers = label(np.where(labels == VOID, 0, labels), background=0, connectivity=2)
    boxes = find_objects(numbers)
    if not boxes:
        return []
    pixels = counts_of(numbers)
    height, width = labels.shape
    x = sums_of(numbers, np.arange(width)) / np.maximum(pixels, 1)
    y = sums_of(numbers, np.arange(height)[:, None]) / np.maximum(pixels, 1)
    means = None if confidence is None else sums_of(numbers, confidence) / np.maximum(pixels, 1)
    found = []
    for number in (np.argsort(-pixels[1:], kind="stable") + 1).tolist():
        rows, columns = box = boxes[number - 1]
        found.append(
            Found(
                int(labels[_begin(numbers, box, number)]),
                (columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start),
                int(pixels[number]),
                (float(x[number]), float(y[number])),
                None if means is None else float(means[number]),
            )
        )
    return found


def polygons_of(
    labels: np.ndarray, confidence: np.ndarray | None = None, tolerance: float = 1.0
) -> list[tuple[Region, int]]:
    """The areas of a label map as `outlines.traced` has them, with fewer corners.

    For formats without holes, such as VIA and LabelMe: a hole is a region of the background that is
    drawn after what surrounds it. Dots and straight lines one pixel wide are left out.

    Args:
        labels: (H, W) uint8 class ids, 255 is void.
        confidence: (H, W) float, probability of the class of each pixel. Regions then have the
            attribute "confidence", the mean as a text such as "0.93"; those that are void have not.
        tolerance: pixels that a corner may lie away from the outline that leaves it out.

    Returns:
        Pairs (region "polygon", class id) in the order of drawing.

    Raises:
        ValueError: as `objects_of`.
    """
    _check(labels, confidence)
    if confidence is not None:
        numbers = _numbered(labels)
        means = sums_of(numbers, confidence) / np.maximum(counts_of(numbers), 1)
    pairs = []
    for region, label in traced(labels):
        ring = outline(region)
        attributes = {}
        if confidence is not None and label != VOID:
            x, y = ring[0].astype(int)  # a pixel of the area itself, as all corners are
            attributes["confidence"] = f"{means[numbers[y, x]]:.2f}"
        pairs.append((polygon(simplified(ring, tolerance), attributes), label))
    return pairs


def rings_of_objects(
    labels: np.ndarray, confidence: np.ndarray | None = None
) -> list[tuple[Region, int]]:
    """The areas of a label map as `outlines.ringed` has them, with the attribute "confidence".

    For formats with holes, such as COCO and CVAT; nothing is left out or simplified.

    Args:
        labels: (H, W) uint8 class ids, 255 is void.
        confidence: as in `polygons_of`.

    Returns:
        Pairs (region "rings", class id), one an area.

    Raises:
        ValueError: as `objects_of`.
    """
    from skimage.measure import label as connected

    _check(labels, confidence)
    pairs = ringed(labels)
    if confidence is None or not pairs:
        return pairs
    numbers = connected(labels, background=0, connectivity=2)  # the order that `ringed` goes by
    means = sums_of(numbers, confidence)[1:] / counts_of(numbers)[1:]
    return [
        (Region("rings", region.numbers, {} if id == VOID else {"confidence": f"{mean:.2f}"}), id)
        for (region, id), mean in zip(pairs, means, strict=True)
    ]


def simplified(ring: np.ndarray, tolerance: float) -> np.ndarray:
    """A closed outline (n, 2) with fewer of its corners; from four on, three are left at least.

    No corner lies further than `tolerance` from the outline that is left: Douglas and Peucker,
    "Algorithms for the Reduction of the Number of Points", 1973. Theirs is for lines, so a ring is
    parted at a corner far out, which stays in any case, and at the one farthest from that.
    """
    from skimage.measure import approximate_polygon

    if len(ring) <= 4:
        return ring
    ring = np.roll(ring, -_farthest(ring, ring.mean(axis=0)), axis=0)
    middle = _farthest(ring, ring[0])
    there = approximate_polygon(ring[: middle + 1], tolerance)
    back = approximate_polygon(np.concatenate([ring[middle:], ring[:1]]), tolerance)
    found = np.concatenate([there[:-1], back[:-1]])
    if len(found) > 2:
        return found
    # Both ways along one line: it needs a third corner to have an area.
    away = ring - ring[0]
    across = np.abs(away[:, 0] * away[middle, 1] - away[:, 1] * away[middle, 0])
    return ring[[0, *sorted([middle, int(across.argmax())])]]


def counts_of(numbers: np.ndarray, least: int = 0) -> np.ndarray:
    """How often each number occurs, as by `np.bincount`, which takes 8 bytes for each of a map.

    Args:
        numbers: whole, from 0 on, of any shape.
        least: of the length of what is returned.

    Returns:
        (n,) int64, n the largest number and 1, at least `least`.
    """
    flat = numbers.ravel()
    counts = np.zeros(max(least, int(flat.max()) + 1), np.int64)
    for first in range(0, flat.size, PIECE):
        counts += np.bincount(flat[first : first + PIECE], minlength=len(counts))
    return counts


def sums_of(numbers: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The sum of what stands at each number.

    Args:
        numbers: (H, W), whole, from 0 on.
        values: numbers of a shape that can be broadcast to (H, W).

    Returns:
        (n,) float64, n the largest number and 1.
    """
    height, width = numbers.shape
    values = np.broadcast_to(values, numbers.shape)
    count, rows = int(numbers.max()) + 1, max(1, PIECE // width)
    sums = np.zeros(count)
    for first in range(0, height, rows):
        part = numbers[first : first + rows].ravel()
        sums += np.bincount(part, values[first : first + rows].ravel(), count)
    return sums


def _begin(numbers: np.ndarray, box: tuple[slice, slice], number: int) -> tuple[int, int]:
    """The first pixel, row by row, of the area of this number, whose box is given."""
    rows, columns = box
    return rows.start, columns.start + int(np.argmax(numbers[rows.start, columns] == number))


def _around(boxes: list[tuple[slice, slice]]) -> tuple[slice, slice]:
    """The box that holds several."""
    return tuple(
        slice(min(side.start for side in sides), max(side.stop for side in sides))
        for sides in zip(*boxes, strict=True)
    )


def _farthest(ring: np.ndarray, point: np.ndarray) -> int:
    """Which corner of a ring (n, 2) lies farthest from a point."""
    return int(((ring - point) ** 2).sum(axis=1).argmax())


def _numbered(labels: np.ndarray) -> np.ndarray:
    """Numbers (H, W) of connected areas from 1: of classes and void, then of the background."""
    from skimage.measure import label

    numbers = label(labels, background=0, connectivity=2)
    background = label(labels == 0, connectivity=1)
    background[background > 0] += numbers.max()
    return np.add(numbers, background, out=numbers)


def _check(labels: np.ndarray, confidence: np.ndarray | None = None) -> None:
    """Raise `ValueError` when these are no label map and its confidence."""
    if labels.ndim != 2 or labels.dtype != np.uint8 or not labels.size:
        raise ValueError(f"labels are {labels.shape} {labels.dtype}, not (H, W) uint8 with pixels")
    if confidence is not None and confidence.shape != labels.shape:
        raise ValueError(f"confidence is {confidence.shape}, the labels are {labels.shape}")
