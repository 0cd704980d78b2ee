"""Surroundings that a network took for drinks: dark plastic drawers, wire mesh, dark red posters.

Only the second recipe of `scene.py` puts them about the drinks. The kinds come in colours and
shapes beside those that were mistaken, so that not one thing is learnt by heart.
"""

import colorsys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from utils.render import clutter, materials, textures
from utils.render.camera import Camera, project
from utils.render.meshes import (
    Mesh,
    box,
    grid,
    lathes,
    merge,
    move,
    panel,
    scale,
    shift,
    tube,
    turn,
)
from utils.render.objects import Thing, place
from utils.render.rooms import Room

Spot = tuple[float, float, float]  # x, y and radius of a round footprint, cm
HUES = {"blue": (0.59, 0.68), "red": (0.95, 1.02), "teal": (0.46, 0.54), "purple": (0.71, 0.82)}
FRAME = (480, 640)  # (H, W), to ask whether a thing is in view
FLOOR = -75.0  # cm, as in `rooms.py`


def surround(
    rng: np.random.Generator, split: str, room: Room, spots: Sequence[Spot], camera: Camera
) -> list[Spot]:
    """Add up to three of these things to the room, behind, beside or partly before the drinks.

    Args:
        spots: of the drinks.

    Returns:
        The spots that the things take on the table.
    """
    taken: list[Spot] = []
    boxes: list[np.ndarray] = []
    bare = room.name not in ("outside", "window")  # a wall with room for one poster
    for _ in range(int(rng.choice(4, p=[0.06, 0.32, 0.38, 0.24]))):
        maker = KINDS[rng.choice(len(KINDS), p=SHARES)]
        if maker is None and bare:
            room.things.append(_poster(rng, split, room, spots, camera))
            bare = False
            continue
        thing = (maker or red_thing)(rng, split)
        if maker in (chest, crate) and room.name == "parlour" and rng.random() < 0.6:
            room.things.append(_furniture(rng, thing, room, spots, camera))
            continue
        for _ in range(60):
            x, y = _beside(rng, thing, spots, camera)
            moved = place(thing, shift(x, y, 0.01))
            bounds = _bounds(moved)
            if _is_free(bounds, room, spots, boxes, camera):
                # It takes the place of what would stand there.
                room.things = [t for t in room.things if not _collide(_bounds(t), bounds)]
                room.things.append(moved)
                boxes.append(bounds)
                taken.append((x, y, float(np.ptp(bounds, axis=0)[:2].max()) / 2))
                break
    return taken


# --- where they stand -------------------------------------------------------------------------


def _beside(
    rng: np.random.Generator, thing: Thing, spots: Sequence[Spot], camera: Camera
) -> tuple[float, float]:
    """A place (x, y) behind one of the drinks mostly, else beside or before it."""
    low, high = _bounds(thing)
    x, y, radius = materials.pick(rng, spots)
    where, side = rng.random(), rng.choice([-1, 1])
    slope = (x - camera.position[0]) / max(y - camera.position[1], 1.0)  # of the line of sight
    if where < 0.6:
        away = radius - low[1] + rng.exponential(8.0)
        aside = rng.normal(0, radius + high[0] / 2)
    elif where < 0.85 or thing.height > 15:
        away, aside = rng.uniform(-4, 8), side * (radius + high[0] + rng.uniform(0.3, 6.0))
    else:
        away = -(radius + high[1] + rng.uniform(0.3, 6.0))
        aside = side * (radius + high[0]) * rng.uniform(0.6, 1.1)
    return x + slope * away + aside, y + away


def _is_free(
    bounds: np.ndarray, room: Room, spots: Sequence[Spot], boxes: list[np.ndarray], camera: Camera
) -> bool:
    """Whether a box (2, 3) is on the table, in view, clear of drinks, camera and other boxes."""
    (left, front, _), (right, back, _) = bounds
    table = _bounds(room.things[0])  # the first thing of every room
    if (bounds[0, :2] < table[0, :2]).any() or (bounds[1, :2] > table[1, :2]).any():
        return False
    if back > room.wall - 1 or any(_collide(bounds, other) for other in boxes):
        return False
    for x, y, radius in [*spots, (*camera.position[:2], 10.0)]:
        if np.hypot(max(left - x, 0, x - right), max(front - y, 0, y - back)) < radius + 0.3:
            return False
    column, row = project(camera, bounds.mean(axis=0)[None], FRAME)[0]
    return bool(0 < column < FRAME[1] and 0 < row < FRAME[0])


def _bounds(thing: Thing) -> np.ndarray:
    """The least and the greatest coordinates of the thing, (2, 3)."""
    points = np.concatenate([mesh.points for mesh, _ in thing.parts])
    return np.stack([points.min(axis=0), points.max(axis=0)])


def _collide(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two boxes (2, 3) overlap; walls, floors, tables and rows of cupboards do not."""
    if max(np.ptp(box_, axis=0)[:2].max() for box_ in (first, second)) > 100:
        return False
    return bool((first[0] < second[1]).all() and (second[0] < first[1]).all())


def _furniture(
    rng: np.random.Generator, thing: Thing, room: Room, spots: Sequence[Spot], camera: Camera
) -> Thing:
    """`thing` as a piece of furniture on the floor behind the table."""
    size = rng.uniform(2.5, 4.0)
    x, y, _ = materials.pick(rng, spots)
    back = _bounds(room.things[0])[1, 1]
    away = rng.uniform(back + 40, max(back + 45, room.wall - 20)) - y
    slope = (x - camera.position[0]) / max(y - camera.position[1], 1.0)
    at = shift(x + slope * away + rng.normal(0, 15), y + away, FLOOR)
    return place(thing, at @ scale(size, size, size))


def _poster(
    rng: np.random.Generator, split: str, room: Room, spots: Sequence[Spot], camera: Camera
) -> Thing:
    """A poster on the wall, mostly behind a drink."""
    x, y, _ = materials.pick(rng, spots)
    spot = np.array([x, y, rng.uniform(4, 16)])
    ahead = spot - camera.position
    far = (room.wall - camera.position[1]) / max(ahead[1], 1.0)
    at = camera.position + far * ahead
    wide = rng.uniform(0.25, 0.8) * 2 * far * ahead[1] * np.tan(np.radians(camera.view / 2))
    high = wide * rng.uniform(0.7, 1.5)
    left = at[0] - wide / 2 + rng.normal(0, 0.25 * wide)
    low = max(at[2] - high * rng.uniform(0.2, 0.7), rng.uniform(0.1, 4))
    near = room.wall - 1.6  # before the frames on the wall
    sheet = panel(
        (left, near, low + high),
        (left + wide, near, low + high),
        (left, near, low),
        (left + wide, near, low),
    )
    picture = textures.texture("poster", rng, split)
    return Thing([(sheet, clutter.skin(rng, picture))])


# --- drawers and boxes ------------------------------------------------------------------------


def deep(rng: np.random.Generator, hue: str, value: tuple[float, float]) -> np.ndarray:
    """A saturated colour (3,), sRGB from 0 to 255; dark when `value` is low."""
    colour = colorsys.hsv_to_rgb(rng.uniform(*HUES[hue]) % 1, rng.uniform(0.6, 1.0), 1.0)
    return np.array(colour) * rng.uniform(*value) * 255


def _plastic_hue(rng: np.random.Generator) -> str:
    return str(rng.choice(["blue", "teal", "purple", "red"], p=[0.74, 0.1, 0.1, 0.06]))


def chest(rng: np.random.Generator, split: str) -> Thing:
    """Plastic drawers in a frame: dark blue mostly, some translucent, some pulled out a little."""
    width, depth, rows = rng.uniform(12, 32), rng.uniform(11, 22), int(rng.integers(2, 6))
    each, rim = rng.uniform(4, 9), rng.uniform(0.3, 0.9)
    hue = _plastic_hue(rng)
    tall = rows * (each + rim) + rim
    frame = [move(box(rim, depth, tall), shift(s * (width - rim) / 2, 0, 0)) for s in (-1, 1)]
    frame.append(move(box(width, rim, tall), shift(0, (depth - rim) / 2, 0)))
    fronts, bodies, handles, notes, contents = [], [], [], [], []
    handle, labelled, out = rng.integers(4), rng.random() < 0.3, rng.uniform(-0.3, 0.5)
    inside = width - 2 * rim - 0.3
    for row in range(rows + 1):
        z = row * (each + rim)
        frame.append(move(box(width, depth, rim), shift(0, 0, z)))
        if row == rows:
            break
        y = -depth / 2 - out - (rng.uniform(1, 5) if rng.random() < 0.15 else 0.0)
        z += rim + 0.12
        tall_front = each - 0.25
        fronts.append(move(box(inside, 0.35, tall_front), shift(0, y, z)))
        low = tall_front * 0.85
        sides = [move(box(0.25, depth - 2, low), shift(s * inside / 2.06, 0, 0)) for s in (-1, 1)]
        sides.append(box(inside, depth - 2, 0.25))
        bodies.append(move(merge(sides), shift(0, y + depth / 2 - 0.7, z)))
        if handle == 0:  # a bar
            handles.append(move(box(width * 0.3, 1.0, 0.7), shift(0, y - 0.5, z + each * 0.5)))
        elif handle == 1:  # a lip along the upper edge
            handles.append(move(box(inside, 1.2, 0.5), shift(0, y - 0.5, z + tall_front - 0.5)))
        elif handle == 2:  # a recess
            grip = box(min(width * 0.35, 9), 0.1, each * 0.22)
            handles.append(move(grip, shift(0, y - 0.16, z + each * 0.55)))
        else:  # a raised middle field
            handles.append(move(box(inside * 0.4, 0.8, each * 0.5), shift(0, y - 0.3, z + 0.8)))
        if labelled:
            note = box(width * 0.22, 0.1, each * 0.22)
            notes.append(move(note, shift(-width * 0.2, y - 0.2, z + each * 0.25)))
        for _ in range(int(rng.integers(0, 4))):  # what a translucent drawer lets one guess
            w, d, h = inside * rng.uniform(0.15, 0.5), depth * 0.3, each * rng.uniform(0.3, 0.7)
            at = shift(rng.uniform(-0.2, 0.2) * inside, y + rng.uniform(0.3, 0.6) * depth, z + 0.4)
            contents.append((move(box(w, d, h), at), clutter.skin(rng, clutter.paint(rng))))
    gloss = rng.uniform(0.05, 0.3)
    tone = deep(rng, hue, (0.15, 0.55))
    shells = [tone * rng.uniform(0.5, 1.0), (18, 18, 20), (60, 62, 66), (225, 226, 226)]
    shell = shells[rng.choice(4, p=[0.6, 0.25, 0.08, 0.07])]
    solid = materials.plastic(materials.linear(tone), gloss)
    parts = [(merge(frame), materials.plastic(materials.linear(shell), gloss))]
    if rng.random() < 0.3:  # light passes two surfaces, so that each takes the root
        through = np.sqrt(materials.linear(deep(rng, hue, (0.55, 0.95))))
        parts += [(merge(fronts), materials.glass(1.5, through)), (merge(bodies), solid)]
        parts += contents
    else:
        parts += [(merge(fronts), solid), (merge(bodies), solid)]
    black = materials.plastic((0.01, 0.01, 0.012), 0.3)
    parts.append((merge(handles), black if handle == 2 else solid))
    if notes:
        parts.append((merge(notes), materials.matt((0.75, 0.75, 0.72))))
    turned = place(Thing(parts), turn("z", rng.normal(0, 9)))
    return Thing(turned.parts, 0, float(np.hypot(width, depth)) / 2, tall)


def crate(rng: np.random.Generator, split: str) -> Thing:
    """A plastic storage box with a lid or open, dark blue mostly."""
    width, depth, tall = rng.uniform(10, 34), rng.uniform(9, 22), rng.uniform(6, 20)
    colour = materials.linear(deep(rng, _plastic_hue(rng), (0.15, 0.55)))
    rim = rng.uniform(0.8, 2.0)
    shell = [
        _rounded(width, depth, [(0.95, tall), (0.86, 0.0)]),
        _rounded(width, depth, [(0.96, tall), (1.0, tall), (1.0, tall - rim), (0.95, tall - rim)]),
    ]
    parts: list[tuple[Mesh, dict]] = []
    if rng.random() < 0.6:
        lid = _rounded(width, depth, [(0.01, tall + 0.6), (0.98, tall + 0.6), (1.01, tall)])
        same = rng.random() < 0.5
        tone = colour if same else materials.linear(rng.uniform(20, 240) * np.ones(3))
        parts.append((lid, materials.plastic(tone, rng.uniform(0.1, 0.3))))
    for k in np.linspace(-0.4, 0.4, int(rng.integers(0, 7))):  # ribs
        shell.append(move(box(0.5, depth * 0.95, tall - rim), shift(k * width, 0, 0)))
    shell.append(move(box(width * 0.3, depth * 1.04, 1.4), shift(0, 0, tall * 0.75)))
    surface = materials.sheet(materials.plastic(colour, rng.uniform(0.08, 0.35)))
    parts.append((merge(shell), surface))
    turned = place(Thing(parts), turn("z", rng.normal(0, 18)))
    return Thing(turned.parts, 0, float(np.hypot(width, depth)) / 2, tall)


def _outline(width: float, depth: float, power: float, share: np.ndarray) -> np.ndarray:
    """Points (..., 2) of a superellipse at shares of its length; `power` 1 is round, 0 square."""
    angle = np.linspace(0, 2 * np.pi, 721)
    flat = np.stack([np.cos(angle), np.sin(angle)], 1)
    points = np.sign(flat) * np.abs(flat) ** power * [width / 2, depth / 2]
    way = np.r_[0, np.linalg.norm(np.diff(points, axis=0), axis=1).cumsum()]
    axes = [np.interp(share % 1, way / way[-1], axis) for axis in points.T]
    return np.stack(axes, axis=-1)


def _rounded(width: float, depth: float, rings: Sequence[tuple[float, float]]) -> Mesh:
    """A surface through rounded rectangles, (share of the full size, z), from the top down."""
    outline = _outline(width, depth, 0.3, np.linspace(0, 1, 97))  # (97, 2)
    pieces = []
    for (k, z), (m, w) in zip(rings[:-1], rings[1:], strict=True):  # an edge at each ring
        pair = [
            np.concatenate([outline * f, np.full((97, 1), at)], 1) for f, at in ((k, z), (m, w))
        ]
        pieces.append(grid(np.stack(pair), around=True))
    return merge(pieces)


# --- wire mesh --------------------------------------------------------------------------------


def mesh_holder(rng: np.random.Generator, split: str) -> Thing:
    """A pen holder of wire mesh, black mostly, with pens."""
    width, tall = rng.uniform(7, 10.5), rng.uniform(8.5, 12)
    parts = _mesh(rng, width, width * rng.uniform(0.85, 1.0), tall, rng.random() < 0.3)
    for _ in range(int(rng.integers(2, 11))):
        foot, tip = rng.uniform(-0.25, 0.25, 2) * width, rng.uniform(-0.38, 0.38, 2) * width
        end = tall + rng.uniform(2, 8)
        path = np.array([[*foot, 0.6], [*(foot + tip) / 2, end / 2], [*tip, end]])
        parts.append(
            (tube(path, rng.uniform(0.3, 0.55), 10), clutter.skin(rng, clutter.paint(rng)))
        )
    turned = place(Thing(parts), turn("z", rng.uniform(0, 360)))
    return Thing(turned.parts, 0, width / 2 + 1, tall)


def mesh_basket(rng: np.random.Generator, split: str) -> Thing:
    """A basket or tray of wire mesh, empty or with a box in it."""
    width, depth, tall = rng.uniform(13, 28), rng.uniform(12, 20), rng.uniform(5, 18)
    parts = _mesh(rng, width, depth, tall, rng.random() < 0.6)
    if rng.random() < 0.6:
        inner = box(width * 0.55, depth * 0.5, tall * rng.uniform(0.5, 1.3))
        parts.append((move(inner, shift(0, 0, 0.5)), clutter.skin(rng, clutter.paint(rng))))
    turned = place(Thing(parts), turn("z", rng.normal(0, 20)))
    return Thing(turned.parts, 0, float(np.hypot(width, depth)) / 2, tall)


def _mesh(
    rng: np.random.Generator, width: float, depth: float, tall: float, square: bool
) -> list[tuple[Mesh, dict]]:
    """A vessel of wire mesh. The wires are ribbons: a mask would cost light one surface more."""
    power = 0.3 if square else 1.0
    around = _outline(width, depth, power, np.linspace(0, 1, 97))  # (97, 2)
    pitch = rng.uniform(0.35, 0.65)
    strands = int(np.pi * (width + depth) / 2 / pitch)
    half = rng.uniform(0.12, 0.26) / strands
    narrower = rng.uniform(0, 0.15)  # at the foot
    upright = rng.random() < 0.25
    slope = 0.0 if upright else rng.uniform(0.6, 1.4) * pitch / strands  # aside for each rise
    z = np.linspace(0.5, tall, max(6, int(tall / 0.8)))[::-1, None]  # (rows, 1)

    def ring(height: float, size: float = 1.0) -> np.ndarray:
        wide = around * (1 - narrower * (1 - height / tall)) * size
        return np.concatenate([wide, np.full((97, 1), height)], 1)

    pieces = []
    for lean in (slope,) if upright else (-slope, slope):
        for start in range(strands):
            share = start / strands + lean * z / pitch**2 + [-half, half]  # (rows, 2)
            flat = _outline(width, depth, power, share)  # (rows, 2, 2)
            flat = flat * (1 - narrower * (1 - z / tall))[..., None]
            pieces.append(grid(np.concatenate([flat, z.repeat(2, 1)[..., None]], -1)))
    for height in np.arange(1.0, tall, pitch) if upright else ():
        pieces.append(grid(np.stack([ring(height + 0.1), ring(height)]), around=True))
    pieces += [tube(ring(tall), 0.28, 8), tube(ring(0.5), 0.2, 8)]
    pieces.append(grid(np.stack([ring(0.3, 0.01), ring(0.3)]), around=True))
    colours: list[Any] = [(0.01,) * 3, (0.02,) * 3, (0.09, 0.09, 0.1), (0.01, 0.03, 0.12)]
    colour = colours[rng.choice(4, p=[0.45, 0.3, 0.15, 0.1])]
    surface = materials.sheet(materials.plastic(colour, rng.uniform(0.15, 0.4)))
    return [(merge(pieces), surface)]


# --- red things -------------------------------------------------------------------------------


def red_thing(rng: np.random.Generator, split: str) -> Thing:
    """A toy, car, box, book or mug of one dark colour, red mostly."""
    makers = [clutter.toy, clutter.toy, car, clutter.plain_box, clutter.carton, clutter.mug]
    makers += [clutter.book_row, clutter.book_pile]
    thing = materials.pick(rng, makers)(rng, split)
    hue = str(rng.choice(["red", "blue", "purple", "teal"], p=[0.75, 0.15, 0.06, 0.04]))
    tone = deep(rng, hue, (0.2, 0.65))
    parts = [(mesh, _dyed(material, tone, rng)) for mesh, material in thing.parts]
    return Thing(parts, 0, thing.radius, thing.height)


def car(rng: np.random.Generator, split: str) -> Thing:
    """A toy car."""
    length, width = rng.uniform(8, 16), rng.uniform(3.8, 6)
    wheel = length * 0.09
    body = move(
        _rounded(length, width, [(0.01, 2), (0.94, 2), (1, 1.2), (0.97, 0)]), shift(0, 0, wheel)
    )
    roof = _rounded(length * 0.5, width * 0.85, [(0.01, 1.7), (0.85, 1.7), (0.92, 1.4)])
    glass = _rounded(length * 0.5, width * 0.85, [(0.92, 1.4), (1.0, 0.0)])
    tyre = lathes(
        [[(0, 0.5), (wheel, 0.5)], [(wheel, 0.5), (wheel, -0.5)], [(wheel, -0.5), (0, -0.5)]], 24
    )
    tyres = [
        move(tyre, shift(a * length * 0.3, b * width * 0.45, wheel) @ turn("x", 90))
        for a in (-1, 1)
        for b in (-1, 1)
    ]
    black = materials.plastic((0.01, 0.01, 0.01), 0.15)
    cabin = shift(0, 0, wheel + 2)
    parts = [(merge([body, move(roof, cabin)]), materials.plastic((0.3, 0.3, 0.3), 0.1))]
    parts.append((merge([move(glass, cabin), *tyres]), black))
    return place(Thing(parts, 0, length / 2, wheel + 4), turn("z", rng.uniform(0, 360)))


def _dyed(material: Any, tone: np.ndarray, rng: np.random.Generator) -> Any:
    """`material` in shades of the sRGB colour `tone` (3,); what is black stays so."""
    if isinstance(material, np.ndarray):
        grey = material.mean(axis=2, keepdims=True) / 255
        mixed = tone * (0.6 + 0.5 * grey)
        light = grey > 0.9  # letters keep their colour
        return np.where(light, material, mixed).clip(0, 255).astype(np.uint8)
    if not isinstance(material, dict):
        return material
    if material.get("type") == "rgb":
        if max(material["value"]) <= 0.01:
            return material
        return {"type": "rgb", "value": list(materials.linear(tone * rng.uniform(0.7, 1.15)))}
    return {key: _dyed(value, tone, rng) for key, value in material.items()}


KINDS: list[Callable | None] = [chest, crate, mesh_holder, mesh_basket, None, red_thing]
SHARES = [0.3, 0.1, 0.22, 0.05, 0.17, 0.16]  # None is a poster
