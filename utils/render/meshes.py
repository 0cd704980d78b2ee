"""Triangle meshes from NumPy arrays: lathes, boxes, tubes, and the PLY files that hold them.

Lengths are centimetres and z points up, everywhere in this package.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Mesh:
    """Triangles with a normal and a texture coordinate at each corner."""

    points: np.ndarray  # (N, 3) float
    normals: np.ndarray  # (N, 3) float, unit length
    texture: np.ndarray  # (N, 2) float, (0, 0) is the top left of the texture picture
    faces: np.ndarray  # (M, 3) int


def merge(meshes: Sequence[Mesh]) -> Mesh:
    """One mesh that holds all of `meshes`."""
    starts = np.cumsum([0, *(len(m.points) for m in meshes[:-1])])
    return Mesh(
        np.concatenate([m.points for m in meshes]),
        np.concatenate([m.normals for m in meshes]),
        np.concatenate([m.texture for m in meshes]),
        np.concatenate([m.faces + start for m, start in zip(meshes, starts, strict=True)]),
    )


def move(mesh: Mesh, pose: np.ndarray) -> Mesh:
    """`mesh` after the rigid motion or scaling `pose`, (4, 4)."""
    normals = mesh.normals @ np.linalg.inv(pose[:3, :3])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True).clip(1e-9)
    points = mesh.points @ pose[:3, :3].T + pose[:3, 3]
    return Mesh(points, normals, mesh.texture, mesh.faces)


def shift(x: float, y: float, z: float) -> np.ndarray:
    """The pose (4, 4) that moves by (x, y, z)."""
    pose = np.eye(4)
    pose[:3, 3] = x, y, z
    return pose


def turn(axis: str, degrees: float) -> np.ndarray:
    """The pose (4, 4) that turns counter-clockwise about the axis "x", "y" or "z"."""
    first, second = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    pose = np.eye(4)
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    pose[first, first] = pose[second, second] = cosine
    pose[second, first], pose[first, second] = sine, -sine
    return pose


def scale(x: float, y: float, z: float) -> np.ndarray:
    """The pose (4, 4) that stretches along the axes."""
    return np.diag([x, y, z, 1.0])


def grid(points: np.ndarray, around: bool = False, outward: float = 1.0) -> Mesh:
    """A smooth surface through a grid of points (rows, columns, 3).

    Args:
        points: the grid; texture u runs along the columns, v along the rows.
        around: the last column is the first one again, so that normals agree at the seam.
        outward: -1 turns the surface round.
    """
    rows, columns = points.shape[:2]
    if around:
        wrapped = np.concatenate([points[:, -2:-1], points, points[:, 1:2]], axis=1)
        across = np.gradient(wrapped, axis=1)[:, 1:-1]
    else:
        across = np.gradient(points, axis=1)
    down = np.gradient(points, axis=0)
    normals = np.cross(down, across) * outward
    length = np.linalg.norm(normals, axis=2, keepdims=True)
    # At a pole of a lathe the columns meet: the normal of the neighbouring ring will do. A wall
    # with two sides has two poles in a row, each beside a ring of its own side.
    poles = length.max(axis=(1, 2)) < 1e-9
    for row in np.flatnonzero(poles):
        before = row > 0 and not poles[row - 1]
        normals[row] = normals[row - 1 if before or row + 1 == rows else row + 1].mean(axis=0)
    normals /= np.linalg.norm(normals, axis=2, keepdims=True).clip(1e-9)
    u, v = np.meshgrid(np.linspace(0, 1, columns), np.linspace(0, 1, rows))
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    faces = np.stack([np.stack([a, c, b], -1), np.stack([b, c, d], -1)]).reshape(-1, 3)
    if outward < 0:
        faces = faces[:, ::-1]
    return Mesh(
        points.reshape(-1, 3),
        normals.reshape(-1, 3),
        np.stack([u, v], -1).reshape(-1, 2),
        faces,
    )


def lathe(
    profile: Sequence[tuple[float, float]] | np.ndarray,
    segments: int = 64,
    dent: np.ndarray | None = None,
    square: float = 0.0,
) -> Mesh:
    """The surface that a profile sweeps about the z axis; it looks outwards when z falls.

    Args:
        profile: (radius, z) from the top to the bottom, smooth; use `lathes` for edges.
        segments: how many columns the full turn has.
        dent: (rows, segments + 1) factors of the radius.
        square: 0 for a round cross-section, towards 1 for a square one.
    """
    profile = np.asarray(profile, float)  # (rows, 2)
    angle = np.linspace(0, 2 * np.pi, segments + 1)
    radius = np.repeat(profile[:, :1], segments + 1, axis=1)  # (rows, columns)
    if square:
        power = 2 + 6 * square  # a superellipse
        norm = (np.abs(np.cos(angle)) ** power + np.abs(np.sin(angle)) ** power) ** (1 / power)
        radius = radius / norm
    if dent is not None:
        radius = radius * dent
    points = np.stack(
        [
            radius * np.cos(angle),
            radius * np.sin(angle),
            np.repeat(profile[:, 1:], segments + 1, axis=1),
        ],
        axis=-1,
    )
    return grid(points, around=True)


def lathes(runs: Sequence[Sequence[tuple[float, float]]], segments: int = 64) -> Mesh:
    """A lathe whose profile has an edge wherever one run ends and the next begins."""
    return merge([lathe(run, segments) for run in runs])


def box(width: float, depth: float, height: float, texture: float = 0.0) -> Mesh:
    """A box that stands on z = 0 about the z axis.

    Args:
        texture: centimetres that one texture picture covers; 0 puts the whole on each side.
    """
    sides = []
    x, y, z = width / 2, depth / 2, height
    corners = {
        "front": ([-x, -y, z], [x, -y, z], [-x, -y, 0], [x, -y, 0]),
        "right": ([x, -y, z], [x, y, z], [x, -y, 0], [x, y, 0]),
        "back": ([x, y, z], [-x, y, z], [x, y, 0], [-x, y, 0]),
        "left": ([-x, y, z], [-x, -y, z], [-x, y, 0], [-x, -y, 0]),
        "top": ([-x, y, z], [x, y, z], [-x, -y, z], [x, -y, z]),
        "bottom": ([-x, -y, 0], [x, -y, 0], [-x, y, 0], [x, y, 0]),
    }
    for a, b, c, d in corners.values():
        sides.append(panel(a, b, c, d, texture))
    return merge(sides)


def panel(
    top_left: Sequence[float],
    top_right: Sequence[float],
    bottom_left: Sequence[float],
    bottom_right: Sequence[float],
    texture: float = 0.0,
) -> Mesh:
    """A flat sheet seen from the side where its corners read as named; `texture` as in `box`."""
    points = np.array([[top_left, top_right], [bottom_left, bottom_right]], float)
    sheet = grid(points)
    if texture:
        width = np.linalg.norm(points[0, 1] - points[0, 0])
        height = np.linalg.norm(points[1, 0] - points[0, 0])
        sheet = Mesh(
            sheet.points,
            sheet.normals,
            sheet.texture * [width / texture, height / texture],
            sheet.faces,
        )
    return sheet


def ball(radius: float, segments: int = 32) -> Mesh:
    """A sphere about the origin."""
    angle = np.linspace(0, np.pi, segments // 2 + 1)
    return lathe(np.stack([radius * np.sin(angle), radius * np.cos(angle)], 1), segments)


def tube(path: np.ndarray, radius: float, segments: int = 10) -> Mesh:
    """A round cable along `path` (K, 3)."""
    tangent = np.gradient(path, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True).clip(1e-9)
    helper = np.where(np.abs(tangent[:, 2:]) < 0.9, [[0, 0, 1.0]], [[1.0, 0, 0]])
    side = np.cross(tangent, helper)
    side /= np.linalg.norm(side, axis=1, keepdims=True).clip(1e-9)
    up = np.cross(side, tangent)
    angle = np.linspace(0, 2 * np.pi, segments + 1)[None, :, None]
    ring = side[:, None] * np.cos(angle) + up[:, None] * np.sin(angle)
    return grid(path[:, None] + radius * ring, around=True)


def write_ply(path: Path, mesh: Mesh) -> None:
    """Write `mesh` as a binary PLY file with normals and texture coordinates."""
    corners = np.concatenate([mesh.points, mesh.normals, mesh.texture], axis=1).astype("<f4")
    faces = np.empty(len(mesh.faces), dtype=[("count", "u1"), ("corners", "<i4", (3,))])
    faces["count"], faces["corners"] = 3, mesh.faces
    names = "".join(f"property float {name}\n" for name in ("x y z nx ny nz u v".split()))
    header = (
        f"ply\nformat binary_little_endian 1.0\nelement vertex {len(corners)}\n{names}"
        f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    path.write_bytes(header.encode() + corners.tobytes() + faces.tobytes())
