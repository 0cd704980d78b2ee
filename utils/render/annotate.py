"""Exact masks to polygons, as a careful person would trace them, and polygons to VIA 2.x."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from utils.files import replace_whole
from utils.formats.writing import via_project
from utils.label_maps.polygons import fill, is_degenerate

SMALLEST_PIECE = 12  # pixels; what is smaller nobody would trace
SMALLEST_HOLE = 16  # pixels; smaller holes are drawn over
Polygon = np.ndarray  # (K, 2) int, column and row of each corner


def trace(mask: np.ndarray, tolerance: float = 0.75) -> list[Polygon]:
    """Polygons round the visible pieces of a mask, one for each piece.

    The corners are the centres of the outermost pixels, so that interior and outline together
    are the mask again. A hole is joined to the outer edge by a slit, which keeps one closed line.

    Args:
        mask: (H, W) bool.
        tolerance: how far in pixels the polygon may run from the edge.
    """
    from skimage.measure import label

    pieces = label(mask, connectivity=1)  # (H, W) int
    polygons = []
    for number in range(1, pieces.max() + 1):
        piece = pieces == number
        if piece.sum() >= SMALLEST_PIECE:
            polygon = _trace_piece(piece, tolerance)
            if not is_degenerate(polygon.astype(float)):
                polygons.append(polygon)
    return polygons


def _trace_piece(piece: np.ndarray, tolerance: float) -> Polygon:
    """The polygon of one connected piece; finer where the tolerance would lose accuracy."""
    from skimage.measure import label

    rows, columns = np.flatnonzero(piece.any(1)), np.flatnonzero(piece.any(0))
    top, left = rows[0], columns[0]
    window = np.pad(piece[top : rows[-1] + 1, left : columns[-1] + 1], 1)  # (h, w)
    outside = label(~window, connectivity=2)
    for number in range(1, outside.max() + 1):
        hole = outside == number
        if not hole[0, 0] and hole.sum() < SMALLEST_HOLE:
            window |= hole
    polygon = np.zeros((0, 2), int)
    for step in (tolerance, tolerance / 2, 0.0):
        polygon = _outline(window, step)
        drawn = draw(polygon, window.shape)
        if (drawn & window).sum() >= 0.99 * (drawn | window).sum():
            break
    return polygon + [left - 1, top - 1]


def _outline(window: np.ndarray, tolerance: float) -> Polygon:
    """Outer contour and holes of `window` (h, w) bool as one closed line."""
    from skimage.measure import approximate_polygon, find_contours

    # At a level just below 1 the contour runs through the centres of the outermost pixels.
    contours = find_contours(window.astype(float), 0.999, fully_connected="low")
    lines = []
    for contour in contours:
        points = np.round(contour).astype(int)
        points = points[np.r_[True, (np.diff(points, axis=0) != 0).any(axis=1)]]
        if tolerance:
            points = np.round(approximate_polygon(points.astype(float), tolerance)).astype(int)
        lines.append(points[:-1] if len(points) > 1 and (points[0] == points[-1]).all() else points)
    lines.sort(key=lambda line: -np.prod(np.ptp(line, axis=0) + 1))
    whole = lines[0]
    for hole in lines[1:]:
        distance = ((whole[:, None] - hole[None]) ** 2).sum(-1)
        a, b = np.unravel_index(distance.argmin(), distance.shape)
        whole = np.concatenate(
            [whole[: a + 1], np.roll(hole, -b, axis=0), hole[b : b + 1], whole[a:]]
        )
    return whole[:, ::-1]


def draw(polygon: Polygon, size: tuple[int, int]) -> np.ndarray:
    """The mask (H, W) bool of a polygon: interior by the even-odd rule, and the outline."""
    drawn = np.zeros(size, np.uint8)
    fill(drawn, polygon.astype(float), 1)
    return drawn > 0


def draw_all(polygons: Sequence[Polygon], size: tuple[int, int]) -> np.ndarray:
    """The mask (H, W) bool of several polygons together."""
    mask = np.zeros(size, bool)
    for polygon in polygons:
        mask |= draw(polygon, size)
    return mask


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two masks (H, W) bool; 1 when both are empty."""
    union = (first | second).sum()
    return float((first & second).sum() / union) if union else 1.0


def entry(name: str, size: int, regions: Sequence[tuple[int, Polygon]]) -> dict:
    """What VIA keeps of one picture: its file name, size in bytes and (class id, polygon) pairs."""
    return {
        "filename": name,
        "size": size,
        "regions": [
            {
                "shape_attributes": {
                    "name": "polygon",
                    "all_points_x": polygon[:, 0].tolist(),
                    "all_points_y": polygon[:, 1].tolist(),
                },
                "region_attributes": {"Name": str(class_id)},
            }
            for class_id, polygon in regions
        ],
        "file_attributes": {},
    }


def write_project(path: Path, entries: Sequence[dict], names: Sequence[str]) -> None:
    """Write a project of the VGG Image Annotator 2.x.

    Args:
        entries: one for each picture, from `entry`.
        names: class names by id, background first; they become the choices for `Name`.
    """
    metadata = {f"{e['filename']}{e['size']}": e for e in entries}
    choices = {str(index): name for index, name in enumerate(names) if index}
    project = via_project(path.stem, metadata, choices)
    with replace_whole(path) as unfinished:
        unfinished.write_text(json.dumps(project, separators=(",", ":")), encoding="utf-8")
