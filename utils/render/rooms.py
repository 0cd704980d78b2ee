"""Rooms round the drinks: a table, what is behind it, clutter and light.

The table top is z = 0, the drinks stand about the origin, the camera looks along +y.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from utils.render import clutter, materials, textures
from utils.render.meshes import Mesh, box, grid, merge, move, panel, shift, turn
from utils.render.objects import Thing, place


@dataclass
class Room:
    """What a picture shows apart from the drinks."""

    name: str
    wall: float  # cm from the origin to what closes the view
    things: list[Thing] = field(default_factory=list)
    emitters: list[dict] = field(default_factory=list)
    makers: list[Callable] = field(default_factory=lambda: clutter.SMALL)  # for the table


def make_room(rng: np.random.Generator, split: str) -> Room:
    """A random room of one of the kinds of the chapter's photographs, and some others."""
    kinds = [desk, glossy, kitchen, window, office, parlour, outside]
    share = [0.22, 0.17, 0.16, 0.12, 0.11, 0.11, 0.11]
    room = kinds[rng.choice(len(kinds), p=share)](rng, split)
    room.emitters.append(surroundings(rng, outdoors=room.name == "outside"))
    if room.name != "outside":
        room.things.append(_floor(rng, split))
        room.emitters += _lamps(rng)
    return room


def desk(rng: np.random.Generator, split: str) -> Room:
    """A brown wooden desk before a cluttered shelf."""
    wall = rng.uniform(16, 60)
    room = Room("desk", wall)
    room.things.append(_table(rng, split, "wood", wall))
    room.things.append(_wall(rng, split, wall + 32))
    room.things += _shelf(rng, split, wall)
    return room


def glossy(rng: np.random.Generator, split: str) -> Room:
    """A black glossy table before a white, dark or papered wall."""
    wall = rng.uniform(15, 140)
    room = Room("glossy", wall)
    room.things.append(_table(rng, split, "dark", wall, rng.uniform(0.02, 0.16)))
    room.things.append(_wall(rng, split, wall))
    room.things += _wall_decoration(rng, split, wall)
    return room


def kitchen(rng: np.random.Generator, split: str) -> Room:
    """A worktop with tiles behind, cupboards above, appliances."""
    wall = rng.uniform(22, 50)
    room = Room("kitchen", wall, makers=clutter.KITCHEN)
    top = materials.pick(rng, ["stone", "stone", "wood", "dark", "plaster"])
    room.things.append(_table(rng, split, top, wall, rng.uniform(0.04, 0.3)))
    behind = materials.pick(rng, ["tiles", "tiles", "tiles", "plaster", "brick"])
    room.things.append(_wall(rng, split, wall, behind))
    if rng.random() < 0.6:
        doors, handles, z = [], [], rng.uniform(38, 55)
        wide = rng.uniform(35, 55)
        for k in range(-3, 4):
            doors.append(move(box(wide - 0.8, 30, 70), shift(k * wide, wall - 15, z)))
            handles.append(move(box(1, 1.5, 12), shift(k * wide + wide * 0.4, wall - 31, z + 4)))
        colour = textures.texture("wood", rng, split) if rng.random() < 0.5 else clutter.paint(rng)
        parts = [(merge(doors), clutter.skin(rng, colour))]
        parts.append((merge(handles), materials.metal((0.75, 0.75, 0.75), 0.2)))
        room.things.append(Thing(parts))
    if rng.random() < 0.25:  # a refrigerator at one side
        side = rng.choice([-1, 1])
        body = move(box(60, 55, 180), shift(side * rng.uniform(55, 75), wall - 20, -75))
        white = materials.plastic((0.75, 0.76, 0.77), 0.2)
        steel = materials.metal((0.6, 0.6, 0.62), 0.3)
        room.things.append(Thing([(body, materials.pick(rng, [white, white, steel]))]))
    room.things += _row(rng, split, clutter.KITCHEN, wall - 14, int(rng.integers(2, 6)))
    return room


def window(rng: np.random.Generator, split: str) -> Room:
    """A table before a window that is far brighter than the room."""
    wall = rng.uniform(18, 80)
    room = Room("window", wall)
    kind = materials.pick(rng, ["wood", "dark", "stone", "cloth", "plaster"])
    room.things.append(_table(rng, split, kind, wall))
    room.things.append(_wall(rng, split, wall))
    width, height = rng.uniform(60, 170), rng.uniform(60, 130)
    x, z = rng.normal(0, 30), rng.uniform(-5, 20)
    left, right, top, near = x - width / 2, x + width / 2, z + height, wall - 0.5
    pane = panel((left, near, top), (right, near, top), (left, near, z), (right, near, z))
    view = textures.texture("view", rng, split)
    bright = (view * 0.45 + 140).clip(0, 255).astype(np.uint8)
    glow = {"glow": bright, "strength": float(np.exp(rng.uniform(np.log(3), np.log(22))))}
    parts: list[tuple[Mesh, dict]] = [(pane, glow)]
    bars = []
    for at in np.linspace(left, right, int(rng.integers(2, 5))):
        bars.append(move(box(rng.uniform(3, 7), 5, height), shift(at, wall - 2, z)))
    for at in (z, top, *([z + height * 0.6] if rng.random() < 0.4 else [])):
        bars.append(move(box(width + 6, 5, rng.uniform(3, 7)), shift(x, wall - 2, at - 2)))
    bars.append(move(box(width + 16, 14, 2.5), shift(x, wall - 7, z - 4)))
    wooden = rng.random() < 0.3
    colour = textures.texture("wood", rng, split) if wooden else (0.75, 0.75, 0.75)
    parts.append((merge(bars), materials.plastic(colour, 0.3)))
    if rng.random() < 0.5:
        parts += _curtains(rng, split, left, right, top, wall - 6)
    if rng.random() < 0.3:  # a blind
        slats = [
            move(box(width, 2.5, 0.2), shift(x, wall - 5, at) @ turn("x", 25))
            for at in np.arange(z + height * rng.uniform(0.1, 0.7), top, 3.0)
        ]
        parts.append((merge(slats), materials.matt((0.7, 0.7, 0.68))))
    room.things.append(Thing(parts))
    room.things += _row(rng, split, clutter.SMALL, wall - 9, int(rng.integers(0, 4)))
    return room


def office(rng: np.random.Generator, split: str) -> Room:
    """A desk with a screen, paper and pens."""
    wall = rng.uniform(30, 70)
    room = Room("office", wall, makers=clutter.OFFICE)
    kind = materials.pick(rng, ["wood", "wood", "plaster", "dark", "stone"])
    room.things.append(_table(rng, split, kind, wall))
    room.things.append(_wall(rng, split, wall))
    room.things += _wall_decoration(rng, split, wall)
    if rng.random() < 0.75:
        screen = clutter.monitor(rng, split)
        at = shift(rng.normal(0, 22), rng.uniform(18, wall - 6), 0) @ turn("z", rng.normal(0, 12))
        room.things.append(place(screen, at))
    room.things += _row(rng, split, clutter.OFFICE, wall - 12, int(rng.integers(2, 6)))
    return room


def parlour(rng: np.random.Generator, split: str) -> Room:
    """A table with a cloth, the room behind out of focus, other furniture."""
    wall = rng.uniform(60, 220)
    room = Room("parlour", wall)
    kind = materials.pick(rng, ["cloth", "cloth", "wood", "stone", "print"])
    room.things.append(_table(rng, split, kind, rng.uniform(15, 45)))
    room.things.append(_wall(rng, split, wall))
    room.things += _wall_decoration(rng, split, wall)
    for _ in range(int(rng.integers(1, 5))):  # chairs, sofas, cupboards
        w, d, h = rng.uniform(30, 120), rng.uniform(25, 60), rng.uniform(40, 150)
        kind = materials.pick(rng, ["cloth", "wood", "plaster"])
        picture = textures.texture(kind, rng, split)
        body = move(box(w, d, h, 60), turn("z", rng.normal(0, 25)))
        at = shift(rng.normal(0, 90), rng.uniform(70, max(80, wall - 20)), -75)
        room.things.append(place(Thing([(body, clutter.skin(rng, picture))]), at))
    if rng.random() < 0.5:
        parts = _curtains(rng, split, -120, 120, 130, wall - 4)
        room.things.append(Thing(parts))
    return room


def outside(rng: np.random.Generator, split: str) -> Room:
    """On the ground, a wall or a garden table, under the sky."""
    wall = rng.uniform(60, 400)
    room = Room("outside", wall)
    kind = materials.pick(rng, ["ground", "ground", "ground", "stone", "wood"])
    size = 700.0
    sheet = panel(
        (-size, size, 0), (size, size, 0), (-size, -size, 0), (size, -size, 0), rng.uniform(40, 110)
    )
    picture = textures.texture(kind, rng, split)
    room.things.append(Thing([(sheet, materials.matt(picture))]))
    if rng.random() < 0.75:
        kind = materials.pick(rng, ["view", "view", "brick", "plaster", "ground"])
        high = rng.uniform(30, 300)
        fence = panel(
            (-size, wall, high),
            (size, wall, high),
            (-size, wall, 0),
            (size, wall, 0),
            0 if kind == "view" else 120,
        )
        picture = textures.texture(kind, rng, split)
        room.things.append(Thing([(fence, materials.matt(picture))]))
    for _ in range(int(rng.integers(0, 8))):
        shrub = clutter.plant(rng, split)
        at = shift(rng.normal(0, 50), rng.uniform(25, 120), -rng.uniform(5, 9))
        room.things.append(place(shrub, at))
    return room


# --- parts of rooms ---------------------------------------------------------------------------


def _table(
    rng: np.random.Generator, split: str, kind: str, back: float, gloss: float | None = None
) -> Thing:
    """A table top with its front edge."""
    picture = textures.texture(kind, rng, split)
    half, front, thick = rng.uniform(60, 140), rng.uniform(22, 60), rng.uniform(1.5, 5)
    repeat = rng.uniform(35, 90)
    top = panel((-half, back, 0), (half, back, 0), (-half, -front, 0), (half, -front, 0), repeat)
    edge = panel(
        (-half, -front, 0),
        (half, -front, 0),
        (-half, -front, -thick),
        (half, -front, -thick),
        repeat,
    )
    gloss = gloss or float(np.exp(rng.uniform(np.log(0.04), np.log(0.5))))
    matt = kind in ("cloth", "print") or rng.random() < 0.1
    surface = materials.matt(picture) if matt else materials.plastic(picture, gloss)
    return Thing([(merge([top, edge]), surface)])


def _wall(rng: np.random.Generator, split: str, y: float, kind: str | None = None) -> Thing:
    """A wall across the view."""
    if kind is None:
        kinds = ["plaster", "plaster", "plaster", "plaster", "paper", "tiles", "brick", "wood"]
        kind = materials.pick(rng, kinds)
    size = 420.0
    sheet = panel(
        (-size, y, 300), (size, y, 300), (-size, y, -120), (size, y, -120), rng.uniform(50, 130)
    )
    picture = textures.texture(kind, rng, split)
    gloss = rng.uniform(0.08, 0.3)
    surface = materials.plastic(picture, gloss) if kind == "tiles" else materials.matt(picture)
    return Thing([(sheet, surface)])


def _floor(rng: np.random.Generator, split: str) -> Thing:
    kind = materials.pick(rng, ["wood", "tiles", "stone", "cloth"])
    size = 420.0
    sheet = panel(
        (-size, size, -75), (size, size, -75), (-size, -size, -75), (size, -size, -75), 120
    )
    return Thing([(sheet, materials.matt(textures.texture(kind, rng, split)))])


def _wall_decoration(rng: np.random.Generator, split: str, wall: float) -> list[Thing]:
    """Pictures, a socket, a shelf board, a door: what breaks a wall."""
    things = []
    spread = 25 + 0.4 * wall
    for _ in range(int(rng.integers(0, 4))):
        hung = place(
            clutter.frame(rng, split), shift(rng.normal(0, spread), wall - 0.3, rng.uniform(5, 50))
        )
        things.append(hung)
    if rng.random() < 0.3:
        plate = move(box(8, 1, 8), shift(rng.normal(0, spread), wall - 0.3, rng.uniform(4, 20)))
        things.append(Thing([(plate, materials.plastic((0.75, 0.75, 0.73), 0.2))]))
    if rng.random() < 0.3:
        door = move(box(rng.uniform(60, 90), 4, 220), shift(rng.normal(0, 70), wall - 1, -75))
        colour = textures.texture("wood", rng, split) if rng.random() < 0.6 else clutter.paint(rng)
        things.append(Thing([(door, clutter.skin(rng, colour))]))
    if rng.random() < 0.3:
        rim = move(box(400, 1.5, rng.uniform(4, 12)), shift(0, wall - 0.5, rng.uniform(-12, 10)))
        things.append(Thing([(rim, clutter.skin(rng, clutter.paint(rng)))]))
    if rng.random() < 0.45:
        things += _row(rng, split, clutter.SMALL, wall - 12, int(rng.integers(1, 5)))
    return things


def _shelf(rng: np.random.Generator, split: str, y: float) -> list[Thing]:
    """Boards with books, boxes, toys and jars on them, from the table upwards."""
    wooden = rng.random() < 0.6
    colour = textures.texture("wood", rng, split) if wooden else (rng.uniform(0.3, 0.8),) * 3
    things, boards = [], []
    width, gap, depth = 170.0, rng.uniform(26, 38), 26.0
    z = rng.uniform(-gap * 0.7, 3)
    while z < 95:
        boards.append(move(box(width, depth, 1.8), shift(0, y + depth / 2 + 2, z - 1.8)))
        x = -width / 2 + 3
        while x < width / 2 - 6:
            thing = materials.pick(rng, clutter.ON_SHELF)(rng, split)
            if thing.height > gap - 3 or thing.radius > 20:
                thing = clutter.book_row(rng, split, rng.uniform(12, 28))
            at = shift(x + thing.radius, y + depth / 2 + rng.uniform(-3, 3), z)
            things.append(place(thing, at))
            x += 2 * thing.radius + rng.uniform(0, 7)
        z += gap
    for x in np.arange(-width / 2, width / 2 + 1, rng.choice([width / 2, width / 3, width])):
        boards.append(
            move(box(1.8, depth, 160), shift(x + rng.uniform(-5, 5), y + depth / 2 + 2, -60))
        )
    things.append(Thing([(merge(boards), clutter.skin(rng, colour))]))
    return things


def _row(
    rng: np.random.Generator, split: str, makers: list[Callable], y: float, count: int
) -> list[Thing]:
    """Things side by side along the wall."""
    things, x = [], rng.uniform(-60, -15)
    for _ in range(count):
        thing = materials.pick(rng, makers)(rng, split)
        x += thing.radius
        things.append(place(thing, shift(x, y + rng.uniform(-4, 3), 0)))
        x += thing.radius + rng.exponential(9)
    return things


def _curtains(
    rng: np.random.Generator, split: str, left: float, right: float, top: float, y: float
) -> list[tuple[Mesh, dict]]:
    """Two curtains in folds."""
    picture = textures.texture(materials.pick(rng, ["cloth", "paper", "plaster"]), rng, split)
    sheets = []
    for start, end in (
        (left - 15, left + rng.uniform(0, 25)),
        (right - rng.uniform(0, 25), right + 15),
    ):
        x = np.linspace(start, end, 80)
        fold = y + 2.2 * np.sin(x * rng.uniform(0.7, 1.3)) + 0.8 * np.sin(x * 2.3)
        rows = [np.stack([x, fold, np.full(80, z)], 1) for z in (top + 8, -70)]
        sheets.append(grid(np.array(rows)))
    return [(merge(sheets), materials.sheet(materials.matt(picture)))]


# --- light ------------------------------------------------------------------------------------


def _lamps(rng: np.random.Generator) -> list[dict]:
    """Rectangles of light above or beside the table, out of view."""
    emitters = []
    for _ in range(3):
        size = rng.uniform(15, 60)
        place_at = [rng.uniform(-150, 150), rng.uniform(-150, 10), rng.uniform(90, 200)]
        aim = [rng.normal(0, 20), rng.normal(0, 20), 0.0]
        warm = _light_colour(rng)
        strength = np.exp(rng.uniform(np.log(0.3), np.log(9))) * (200 / size) ** 1.2 / 4
        emitters.append(
            {
                "lamp": size,
                "at": place_at,
                "aim": aim,
                "radiance": [float(strength * v) for v in warm],
            }
        )
    return emitters


def _light_colour(rng: np.random.Generator) -> np.ndarray:
    """From candle-warm to sky-blue, linear RGB with green 1."""
    warmth = rng.normal(0, 0.19)
    return np.array([np.exp(warmth), 1.0, np.exp(-1.3 * warmth)])


def surroundings(rng: np.random.Generator, outdoors: bool = False) -> dict:
    """All that is not modelled, as an environment picture: what glass and metal mirror."""
    height, width = 64, 128
    up = np.linspace(1, -1, height)[:, None, None]
    picture = np.zeros((height, width, 3))
    shade = 1 + 0.35 * textures.noise(rng, (height, width), (6, 12), 3).clip(-2, 2)[..., None]
    if outdoors:
        sky = np.array([0.55, 0.75, 1.1]) * rng.uniform(0.8, 1.6)
        picture += np.where(up > 0, sky * (1.1 - 0.5 * up), [0.28, 0.25, 0.2]) * shade
        if rng.random() < 0.65:  # the sun
            y, x = rng.integers(5, 24), rng.integers(0, width)
            picture[y : y + 2, x : x + 2] += rng.uniform(60, 260) * np.array([1.1, 1.0, 0.85])
        return {"surroundings": picture.astype(np.float32)}
    ambient = np.exp(rng.uniform(np.log(0.06), np.log(0.6))) * _light_colour(rng)
    picture += ambient * (0.75 + 0.35 * up) * shade
    for _ in range(int(rng.integers(4, 16))):  # furniture
        y, x = rng.integers(20, height - 8), rng.integers(0, width)
        h, w = rng.integers(3, 22), rng.integers(3, 22)
        picture[y : y + h, x : x + w] *= rng.uniform(0.1, 1.6, 3) * rng.uniform(0.3, 1.2)
    for _ in range(int(rng.integers(0, 4))):  # windows and lamps
        y, x = rng.integers(6, 30), rng.integers(0, width - 18)
        h, w = rng.integers(3, 16), rng.integers(3, 18)
        light = np.exp(rng.uniform(np.log(1.5), np.log(14))) * _light_colour(rng)
        picture[y : y + h, x : x + w] = light
        if rng.random() < 0.5:
            picture[y : y + h, x + w // 2] *= 0.1
    return {"surroundings": picture.astype(np.float32)}
