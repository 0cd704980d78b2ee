"""Label maps to outlines: the way back from `polygons.py`, exact in both conventions.

Areas are connected pixels of one class, diagonally too. `traced` gives each as one polygon through
the centres of its outermost pixels, as VIA and LabelMe have them; `ringed` gives lines between
pixels, holes among them, as COCO and CVAT have them.
"""

from collections.abc import Iterator

import numpy as np

from utils.formats.annotations import Region

CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], bool)
MITRE = 2.0  # pixels that a sharp corner moves at most
AT_CENTRES = 1 - 1e-6  # level of a contour that passes the pixels of a mask at their centres


def traced(labels: np.ndarray) -> list[tuple[Region, int]]:
    """Polygons (region, class id) that drawn one after another give a label map (H, W) again.

    What lies in a hole is drawn after what surrounds it, background too. Dots and straight lines
    one pixel wide are left out: as polygons they have no area.
    """
    from scipy.ndimage import binary_fill_holes

    found = []
    for area, top, left, label in [*_areas(labels), *_holes(labels)]:
        filled = binary_fill_holes(np.pad(area, 1), structure=CROSS)
        ring = _contours(filled, AT_CENTRES)[0] + (left - 1, top - 1)
        ring = np.rint(ring[:-1])
        ring = ring[(ring != np.roll(ring, 1, axis=0)).any(axis=1)]  # each pixel once
        ring = _without_straight(ring)
        if len(ring) > 2:
            found.append((filled.sum(), polygon(ring), label))
    return [(region, label) for _, region, label in sorted(found, key=lambda each: -each[0])]


def ringed(labels: np.ndarray) -> list[tuple[Region, int]]:
    """Regions "rings" (region, class id), one an area, that give a label map (H, W) again."""
    return [
        (Region("rings", {"rings": rings_of(area, top, left)}, {}), label)
        for area, top, left, label in _areas(labels)
    ]


def rings_of(bitmap: np.ndarray, top: int, left: int) -> tuple[np.ndarray, ...]:
    """The outlines, each (n, 2) as (x, y) from the corner of the picture, of a bitmap (h, w)."""
    contours = _contours(np.pad(bitmap, 1), 0.5)
    return tuple(_without_straight(ring[:-1]) + (left - 0.5, top - 0.5) for ring in contours)


def to_rings(points: np.ndarray) -> np.ndarray:
    """The ring (n, 2) from the corner of the picture that covers what a polygon of centres does.

    The pixels of the lines belong to the polygon: from whole pixels, to which its corners are
    rounded, each line moves outward by half a pixel across or down, as Bresenham's has it.
    """
    return _moved(np.rint(points), 0.5) + 0.5


def to_centres(ring: np.ndarray) -> np.ndarray:
    """The way back from `to_rings`, to corners (n, 2) that need not be whole."""
    return _moved(np.asarray(ring, np.float64) - 0.5, -0.5)


def polygon(points: np.ndarray, attributes: dict | None = None) -> Region:
    """A region "polygon" of corners (n, 2) as (x, y)."""
    x, y = (tuple(values.tolist()) for values in np.asarray(points).T)
    return Region("polygon", {"all_points_x": x, "all_points_y": y}, attributes or {})


def _moved(points: np.ndarray, distance: float) -> np.ndarray:
    """A closed outline (n, 2) whose lines move outward by a distance, across or down."""
    points = points[(points != np.roll(points, 1, axis=0)).any(axis=1)]
    if len(points) < 3:
        return points
    ahead = np.roll(points, -1, axis=0) - points
    area = (
        points[:, 0] * np.roll(points[:, 1], -1) - points[:, 1] * np.roll(points[:, 0], -1)
    ).sum()
    length = np.hypot(*ahead.T)
    normal = np.stack([ahead[:, 1], -ahead[:, 0]], axis=1) / length[:, None] * (np.sign(area) or 1)
    shift = distance * np.abs(ahead).max(axis=1) / length
    # A corner goes to where its two lines, moved, meet: n1 . v = s1 and n2 . v = s2.
    n1, n2, s1, s2 = np.roll(normal, 1, axis=0), normal, np.roll(shift, 1), shift
    cross = n1[:, 0] * n2[:, 1] - n1[:, 1] * n2[:, 0]
    x, y = s1 * n2[:, 1] - s2 * n1[:, 1], s2 * n1[:, 0] - s1 * n2[:, 0]
    straight = np.abs(cross) < 1e-3
    move = np.stack([x, y], axis=1) / np.where(straight, 1, cross)[:, None]
    move = np.where(straight[:, None], n2 * s2[:, None], move)
    far = np.maximum(np.hypot(*move.T) / MITRE, 1)
    return points + move / far[:, None]


def _contours(mask: np.ndarray, level: float) -> list[np.ndarray]:
    """Closed contours of a bool map, (n, 2) as (x, y), the longest first."""
    from skimage.measure import find_contours

    contours = find_contours(mask.astype(float), level, fully_connected="high")
    return sorted((contour[:, ::-1] for contour in contours), key=len, reverse=True)


def _areas(labels: np.ndarray) -> Iterator[tuple[np.ndarray, int, int, int]]:
    """Connected pixels of each class but the background: bitmap, top, left, class id."""
    from skimage.measure import label as connected
    from skimage.measure import regionprops

    for area in regionprops(connected(labels, background=0, connectivity=2)):
        top, left, _, _ = area.bbox
        yield area.image, top, left, int(labels[tuple(area.coords[0])])


def _holes(labels: np.ndarray) -> Iterator[tuple[np.ndarray, int, int, int]]:
    """Connected pixels of the background that nothing leads out of: as `_areas`, class id 0."""
    from skimage.measure import label as connected
    from skimage.measure import regionprops

    background = connected(np.pad(labels, 1) == 0, connectivity=1)
    background[background == background[0, 0]] = 0
    for area in regionprops(background):
        top, left, _, _ = area.bbox
        yield area.image, top - 1, left - 1, 0


def _without_straight(ring: np.ndarray) -> np.ndarray:
    """A closed outline (n, 2) without corners on the straight line between their neighbours."""
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    turns = np.abs(before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]) > 1e-9
    back = (before * after).sum(axis=1) < 0  # there and back again along one line
    return ring[turns | back]
