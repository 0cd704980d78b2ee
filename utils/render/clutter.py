"""Things that are no drinks: what stands about on tables and shelves."""

import colorsys
from collections.abc import Callable

import numpy as np

from utils.render import materials, textures
from utils.render.meshes import (
    Mesh,
    ball,
    box,
    grid,
    lathe,
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


def paint(rng: np.random.Generator) -> tuple[float, ...]:
    """A linear colour for a thing; red, green and blue are frequent, white and black too."""
    style = rng.random()
    if style < 0.3:
        hue = rng.choice([0.0, 0.03, 0.1, 0.15, 0.3, 0.35, 0.58, 0.62, 0.66])
        value = colorsys.hsv_to_rgb(hue, rng.uniform(0.7, 1), rng.uniform(0.3, 0.9))
        return materials.linear(np.array(value) * 255)
    if style < 0.5:
        return (rng.uniform(0.5, 0.85),) * 3
    if style < 0.65:
        return (rng.uniform(0.01, 0.06),) * 3
    return materials.linear(textures.colour(rng, (0.1, 0.9), (0.15, 0.95)))


def skin(rng: np.random.Generator, colour: object) -> dict:
    """A glossy or matt surface of the colour or picture."""
    if rng.random() < 0.6:
        return materials.plastic(colour, rng.uniform(0.05, 0.4))
    return materials.matt(colour)


def in_slot(mesh: Mesh, slot: int, slots: int) -> Mesh:
    """`mesh` with its texture taken from one of several pictures side by side."""
    moved = mesh.texture * [1 / slots, 1] + [slot / slots, 0]
    return Mesh(mesh.points, mesh.normals, moved, mesh.faces)


def carton(rng: np.random.Generator, split: str) -> Thing:
    """A printed box: cereals, tea, medicine, a gadget's package."""
    w, d, h = rng.uniform(5, 22), rng.uniform(3, 12), rng.uniform(4, 28)
    mesh = move(box(w, d, h), turn("z", rng.normal(0, 20)))
    picture = textures.texture("print", rng, split)
    return Thing([(mesh, skin(rng, picture))], 0, np.hypot(w, d) / 2, h)


def plain_box(rng: np.random.Generator, split: str) -> Thing:
    """A box of one colour or of wood."""
    w, d, h = rng.uniform(3, 20), rng.uniform(3, 15), rng.uniform(2, 18)
    mesh = move(box(w, d, h), turn("z", rng.normal(0, 30)))
    colour = textures.texture("wood", rng, split) if rng.random() < 0.35 else paint(rng)
    return Thing([(mesh, skin(rng, colour))], 0, np.hypot(w, d) / 2, h)


def drawers(rng: np.random.Generator, split: str) -> Thing:
    """A small chest of drawers."""
    w, d, rows = rng.uniform(14, 35), rng.uniform(12, 25), int(rng.integers(2, 5))
    each = rng.uniform(4, 9)
    body = box(w, d, rows * each + 1)
    fronts, knobs = [], []
    for row in range(rows):
        fronts.append(move(box(w - 1.2, 0.8, each - 0.7), shift(0, -d / 2, row * each + 0.8)))
        knobs.append(move(ball(0.7, 16), shift(0, -d / 2 - 1, (row + 0.5) * each + 0.5)))
    wooden = rng.random() < 0.5
    colour = textures.texture("wood", rng, split) if wooden else paint(rng)
    front = colour if rng.random() < 0.5 else paint(rng)
    parts = [(body, skin(rng, colour)), (merge(fronts), skin(rng, front))]
    parts.append((merge(knobs), materials.metal((0.8, 0.8, 0.8), 0.2)))
    return Thing(parts, 0, np.hypot(w, d) / 2, rows * each + 1)


def book_row(rng: np.random.Generator, split: str, width: float | None = None) -> Thing:
    """Books that stand side by side, spines to the front; some lean."""
    slots = 10
    pictures = [textures.texture("spine", rng, split) for _ in range(slots)]
    width = width or rng.uniform(10, 40)
    x, meshes, tallest = -width / 2, [], 0.0
    while x < width / 2:
        thick, tall, deep = rng.uniform(1, 4.5), rng.uniform(14, 27), rng.uniform(11, 18)
        lean = rng.uniform(3, 14) if rng.random() < 0.08 else 0.0
        book = in_slot(box(thick, deep, tall), int(rng.integers(slots)), slots)
        at = shift(x + thick / 2, deep / 2 - 8 + rng.uniform(-0.6, 0.6), 0) @ turn("y", lean)
        meshes.append(move(book, at))
        x += thick + (tall * np.sin(np.radians(lean)) if lean else rng.uniform(0, 0.15))
        tallest = max(tallest, tall)
    picture = np.concatenate(pictures, axis=1)
    return Thing([(merge(meshes), skin(rng, picture))], 0, width / 2, tallest)


def book_pile(rng: np.random.Generator, split: str) -> Thing:
    """Books lying on one another."""
    slots = 6
    pictures = [textures.texture("spine", rng, split) for _ in range(slots)]
    z, meshes = 0.0, []
    for _ in range(int(rng.integers(1, 6))):
        thick = rng.uniform(1, 4)
        book = in_slot(
            box(thick, rng.uniform(12, 17), rng.uniform(17, 24)), int(rng.integers(slots)), slots
        )
        lying = turn("z", rng.normal(0, 8)) @ shift(-10, 0, z + thick / 2) @ turn("y", 90)
        meshes.append(move(book, lying))
        z += thick
    picture = np.concatenate(pictures, axis=1)
    turned = [(move(merge(meshes), turn("z", rng.normal(0, 15))), skin(rng, picture))]
    return Thing(turned, 0, 13, z)


def mug(rng: np.random.Generator, split: str) -> Thing:
    """A mug with a handle."""
    r, h = rng.uniform(3.3, 4.6), rng.uniform(7, 11)
    taper = rng.uniform(0.75, 1.05)
    outside = lathe([(r, h), (r * (1 + taper) / 2, h / 2), (r * taper, 0.3)], 48)
    rest = lathes(
        [
            [(r * taper, 0.3), (r * taper * 0.9, 0), (0, 0)],
            [(0, 0.5), (r * taper * 0.9, 0.6), (r - 0.3, h), (r - 0.1, h + 0.1), (r, h)],
        ],
        48,
    )
    angle = np.linspace(-1.9, 1.9, 20)
    path = np.stack([r * 0.85 + 2.2 * np.cos(angle), 0 * angle, h / 2 + h * 0.3 * np.sin(angle)], 1)
    handle = tube(path, 0.45)
    colour = paint(rng)
    decorated = textures.texture("print" if rng.random() < 0.5 else "paper", rng, split)
    side = decorated if rng.random() < 0.4 else colour
    gloss = rng.uniform(0.05, 0.15)
    parts = [
        (outside, materials.plastic(side, gloss)),
        (merge([rest, handle]), materials.plastic(colour, gloss)),
    ]
    return place(Thing(parts, 0, r + 2, h), turn("z", rng.uniform(0, 360)))


def jar(rng: np.random.Generator, split: str) -> Thing:
    """A jar, tin, tub or canister with a lid and perhaps a label: other cylinders."""
    r, h = rng.uniform(2.5, 6), rng.uniform(5, 16)
    body = lathes(
        [
            [(r * 0.85, h * 0.88), (r * 0.97, h * 0.84), (r, h * 0.8), (r, h * 0.4), (r, 0.4)],
            [(r, 0.4), (r * 0.9, 0), (0, 0)],
        ],
        48,
    )
    lid = lathes(
        [[(0, h), (r * 0.82, h), (r * 0.9, h - 0.2)], [(r * 0.9, h - 0.2), (r * 0.9, h * 0.87)]], 48
    )
    side = textures.texture("print", rng, split) if rng.random() < 0.3 else paint(rng)
    parts = [(body, skin(rng, side))]
    metal_lid = rng.random() < 0.4
    parts.append(
        (lid, materials.metal((0.8, 0.75, 0.6), 0.2) if metal_lid else skin(rng, paint(rng)))
    )
    if rng.random() < 0.6:
        label = lathe([(r + 0.03, h * 0.7), (r + 0.03, h * 0.4), (r + 0.03, h * 0.15)], 48)
        parts.append((label, skin(rng, textures.texture("print", rng, split))))
    return place(Thing(parts, 0, r, h), turn("z", rng.uniform(0, 360)))


def roll(rng: np.random.Generator, split: str) -> Thing:
    """A paper towel roll, a candle, a spray tin or a tube standing up."""
    r, h = rng.uniform(1.5, 6.5), rng.uniform(6, 26)
    body = lathes([[(0, h), (r * 0.9, h), (r, h - 0.15)], [(r, h - 0.15), (r, h / 2), (r, 0)]], 48)
    picture = textures.texture(materials.pick(rng, ["cloth", "plaster", "paper"]), rng, split)
    white = (rng.uniform(0.6, 0.85),) * 3
    colour = materials.pick(rng, [white, white, paint(rng), picture])
    return Thing([(body, skin(rng, colour))], 0, r, h)


def pen_cup(rng: np.random.Generator, split: str) -> Thing:
    """A cup full of pens."""
    r, h = rng.uniform(3, 4.5), rng.uniform(8, 11)
    cup = lathes(
        [[(r, h), (r, 0)], [(0, 0.4), (r - 0.2, 0.4)], [(r - 0.2, 0.4), (r - 0.2, h), (r, h)]], 40
    )
    parts = [(cup, skin(rng, paint(rng)))]
    for _ in range(int(rng.integers(3, 9))):
        foot, tip = rng.uniform(-r * 0.5, r * 0.5, 2), rng.uniform(-r * 0.75, r * 0.75, 2)
        path = np.array([[*foot, 0.6], [*(foot + tip) / 2, 7], [*tip, rng.uniform(13, 18)]])
        parts.append((tube(path, rng.uniform(0.3, 0.5), 8), skin(rng, paint(rng))))
    return Thing(parts, 0, r + 0.5, h + 6)


def plant(rng: np.random.Generator, split: str) -> Thing:
    """A pot with leaves."""
    r, h = rng.uniform(4, 8), rng.uniform(6, 12)
    pot = lathes([[(r, h), (r * 0.98, h - 1), (r * 0.7, 0)], [(0, h - 1), (r, h - 1)]], 40)
    leaves = []
    reach = rng.uniform(8, 22)
    narrow = rng.uniform(0.06, 0.3)
    for _ in range(int(rng.integers(15, 45))):
        t = np.linspace(0, 1, 8)[:, None]
        heading = turn("z", rng.uniform(0, 360))[:3, :3]
        rise, droop = rng.uniform(0.3, 1.3), rng.uniform(0.2, 1.3)
        size = reach * rng.uniform(0.5, 1)
        spine = np.concatenate([t * size, 0 * t, h + size * (rise * t - droop * t**2)], 1)
        half = size * narrow * np.sin(np.pi * t.clip(0.02, 0.98))
        side = np.array([[0, 1.0, 0.15]])
        blade = np.stack([spine - half * side, spine + half * side], 1) @ heading.T  # (8, 2, 3)
        leaves.append(grid(blade))
    green = materials.linear(np.array([60, 120, 40]) * rng.uniform(0.5, 1.5, 3))
    parts = [
        (pot, skin(rng, paint(rng))),
        (merge(leaves), materials.sheet(materials.plastic(green, 0.3))),
    ]
    return Thing(parts, 0, r + 3, h + reach)


def toy(rng: np.random.Generator, split: str) -> Thing:
    """Balls, bricks or a little figure."""
    style, parts = rng.random(), []
    if style < 0.35:
        r = rng.uniform(2, 7)
        picture = textures.texture("paper", rng, split) if rng.random() < 0.3 else paint(rng)
        return Thing([(move(ball(r), shift(0, 0, r)), skin(rng, picture))], 0, r, 2 * r)
    if style < 0.65:
        side, z = rng.uniform(2, 5), 0.0
        for _ in range(int(rng.integers(1, 5))):
            brick = move(
                box(side, side, side),
                shift(*rng.normal(0, 0.3, 2), z) @ turn("z", rng.uniform(0, 90)),
            )
            parts.append((brick, skin(rng, paint(rng))))
            z += side
        return Thing(parts, 0, side, z)
    r = rng.uniform(2.5, 5)
    body = merge(
        [
            move(ball(r), shift(0, 0, r) @ scale(1, 0.9, 1)),
            move(ball(r * 0.75), shift(0, 0, r * 2.4)),
            *(move(ball(r * 0.3), shift(s * r * 0.55, 0, r * 3)) for s in (-1, 1)),
            *(move(ball(r * 0.4), shift(s * r, -r * 0.3, r * 1.3)) for s in (-1, 1)),
        ]
    )
    eyes = merge(
        [move(ball(r * 0.12, 12), shift(s * r * 0.3, -r * 0.68, r * 2.6)) for s in (-1, 1)]
    )
    parts = [
        (body, materials.matt(paint(rng))),
        (eyes, materials.plastic((0.01, 0.01, 0.01), 0.05)),
    ]
    return place(Thing(parts, 0, r * 1.4, r * 3.3), turn("z", rng.uniform(-60, 60)))


def lamp(rng: np.random.Generator, split: str) -> Thing:
    """A table lamp, not lit."""
    h, r = rng.uniform(25, 40), rng.uniform(7, 12)
    shade = lathe([(r * 0.6, h), (r, h * 0.65)], 40)
    foot = lathes([[(0, 2), (0.7, 2), (0.8, 1.8), (5, 0.8), (5.5, 0)]], 40)
    stem = lathe([(0.6, h * 0.9), (0.6, 1)], 16)
    parts = [
        (shade, materials.sheet(materials.matt(paint(rng)))),
        (merge([foot, stem]), skin(rng, paint(rng))),
    ]
    return Thing(parts, 0, r, h)


def cable(rng: np.random.Generator, split: str) -> Thing:
    """A cable in loops."""
    points = np.cumsum(rng.normal(0, 4, (9, 2)), axis=0)
    t = np.linspace(0, 8, 80)
    smooth = np.stack([np.interp(t, np.arange(9), points[:, k]) for k in (0, 1)], 1)
    kernel = np.hanning(33) / np.hanning(33).sum()
    smooth = np.stack(
        [np.convolve(np.pad(smooth[:, k], 16, "edge"), kernel, "valid") for k in (0, 1)], 1
    )
    path = np.concatenate([smooth, np.full((80, 1), 0.3)], 1)
    white = rng.random() < 0.4
    colour = (0.7, 0.7, 0.7) if white else (0.02, 0.02, 0.02)
    return Thing([(tube(path, 0.25, 8), materials.plastic(colour, 0.3))], 0, 3, 0.5)


def tumbler(rng: np.random.Generator, split: str) -> Thing:
    """A clear drinking glass, empty or with water."""
    r, h = rng.uniform(2.8, 4.2), rng.uniform(8, 15)
    low = r * rng.uniform(0.7, 1)
    body = lathe(
        [
            (r, h),
            (low, 0.1),
            (low - 0.1, 0),
            (0, 0),
            (0, 0.8),
            (low - 0.25, 0.9),
            (r - 0.22, h - 0.1),
            (r - 0.1, h),
            (r, h),
        ],
        48,
    )
    return Thing([(body, materials.glass(1.5))], 0, r, h)


def bowl(rng: np.random.Generator, split: str) -> Thing:
    """A bowl of fruit."""
    r, h = rng.uniform(7, 12), rng.uniform(4, 7)
    dish = lathe(
        [
            (r, h),
            (r * 0.85, h * 0.4),
            (r * 0.5, 0),
            (0, 0),
            (0, 0.5),
            (r * 0.5, 0.5),
            (r * 0.8, h * 0.45),
            (r - 0.3, h),
            (r, h),
        ],
        48,
    )
    parts = [(dish, skin(rng, paint(rng)))]
    for _ in range(int(rng.integers(3, 8))):
        size = rng.uniform(2.5, 4)
        at = rng.normal(0, r * 0.35, 2)
        colour = materials.linear(
            materials.pick(
                rng, [(200, 40, 30), (120, 180, 50), (240, 150, 30), (250, 210, 60), (90, 150, 50)]
            )
        )
        parts.append(
            (
                move(ball(size, 24), shift(*at, h * 0.7 + rng.uniform(0, 2))),
                materials.plastic(colour, 0.25),
            )
        )
    return Thing(parts, 0, r, h + 4)


def slab(rng: np.random.Generator, split: str) -> Thing:
    """A telephone, remote control, notebook or plate of paper lying flat."""
    w, d, h = rng.uniform(5, 21), rng.uniform(9, 26), rng.uniform(0.2, 2)
    colour = textures.texture("print", rng, split) if rng.random() < 0.45 else paint(rng)
    mesh = move(box(w, d, h), turn("z", rng.uniform(0, 360)))
    return Thing([(mesh, skin(rng, colour))], 0, np.hypot(w, d) / 2, h)


def keyboard(rng: np.random.Generator, split: str) -> Thing:
    """A keyboard and a mouse."""
    picture = textures.texture("keys", rng, split)
    plate = move(box(40, 14, 2), turn("z", rng.normal(0, 6)))
    mouse = move(ball(3), shift(28, -1, 0.8) @ scale(1, 1.6, 0.7))
    parts = [(plate, materials.plastic(picture, 0.3)), (mouse, skin(rng, paint(rng)))]
    return Thing(parts, 0, 20, 2)


def kettle(rng: np.random.Generator, split: str) -> Thing:
    """An electric kettle."""
    r, h = rng.uniform(6.5, 9), rng.uniform(16, 23)
    body = lathes(
        [[(0, h), (r * 0.6, h), (r * 0.7, h * 0.95), (r * 0.85, h * 0.6), (r, 1.5), (r, 0)]], 48
    )
    angle = np.linspace(-1.6, 1.6, 20)
    path = np.stack([r * 0.7 + 5 * np.cos(angle), 0 * angle, h / 2 + h * 0.4 * np.sin(angle)], 1)
    knob = move(ball(1.2, 16), shift(0, 0, h + 0.7))
    steel = rng.random() < 0.6
    shell = (
        materials.metal((0.75, 0.75, 0.77), rng.uniform(0.1, 0.3))
        if steel
        else skin(rng, paint(rng))
    )
    black = materials.plastic((0.015, 0.015, 0.015), 0.2)
    parts = [(body, shell), (merge([tube(path, 1.0), knob]), black)]
    return place(Thing(parts, 0, r + 4, h), turn("z", rng.uniform(0, 360)))


def toaster(rng: np.random.Generator, split: str) -> Thing:
    """A toaster, seen from any side."""
    w, d, h = rng.uniform(24, 32), rng.uniform(14, 18), rng.uniform(16, 20)
    angle = np.linspace(0, 2 * np.pi, 49)
    flat = np.stack([np.cos(angle), np.sin(angle)], 1)
    power = 0.35
    outline = np.sign(flat) * np.abs(flat) ** power * [w / 2, d / 2]
    rings = [(0.02, h), (0.9, h), (0.97, h - 0.6), (1.0, h - 2), (1.0, 1.0), (0.97, 0)]
    points = np.stack([np.concatenate([outline * k, np.full((49, 1), z)], 1) for k, z in rings])
    shell = grid(points, around=True)
    slots = merge([move(box(w * 0.65, 2.4, 0.1), shift(0, s * 3, h)) for s in (-1, 1)])
    lever = move(box(1.5, 3.5, 1.2), shift(w / 2 + 0.7, 0, h * 0.6))
    steel = rng.random() < 0.5
    skin_of = materials.metal((0.75, 0.75, 0.77), 0.2) if steel else skin(rng, paint(rng))
    black = materials.plastic((0.01, 0.01, 0.01), 0.3)
    parts = [(shell, skin_of), (merge([slots, lever]), black)]
    return place(Thing(parts, 0, w / 2, h), turn("z", rng.choice([0, 90]) + rng.normal(0, 15)))


def microwave(rng: np.random.Generator, split: str) -> Thing:
    """A microwave oven with a dark door and buttons."""
    w, d, h = rng.uniform(44, 54), rng.uniform(30, 38), rng.uniform(26, 31)
    white = (0.75, 0.75, 0.75) if rng.random() < 0.5 else (0.04, 0.04, 0.045)
    body = box(w, d, h)
    door = move(box(w * 0.7, 0.8, h * 0.85), shift(-w * 0.12, -d / 2, h * 0.07))
    handle = move(box(1.5, 2, h * 0.7), shift(w * 0.26, -d / 2 - 1.5, h * 0.15))
    buttons = [
        move(box(1.8, 0.5, 1.2), shift(w * 0.36 + c * 2.6 - 2.6, -d / 2 - 0.2, 3 + r * 2.4))
        for r in range(5)
        for c in range(3)
    ]
    display = move(box(7, 0.5, 3), shift(w * 0.38, -d / 2 - 0.2, h * 0.78))
    steel = materials.metal((0.7, 0.7, 0.72), 0.25)
    parts = [
        (body, steel if rng.random() < 0.3 else materials.plastic(white, 0.2)),
        (merge([door, display]), materials.plastic((0.01, 0.01, 0.012), 0.05)),
        (merge(buttons), materials.plastic((0.3, 0.3, 0.3), 0.3)),
        (handle, steel),
    ]
    return Thing(parts, 0, w / 2, h)


def monitor(rng: np.random.Generator, split: str) -> Thing:
    """A computer screen that shows something."""
    w = rng.uniform(42, 60)
    h = w * 0.58
    frame = move(box(w, 3, h), shift(0, 0, 10))
    a, b = w / 2 - 1.2, 10 + h - 1.2
    glass = panel((-a, -1.56, b), (a, -1.56, b), (-a, -1.56, 11.4), (a, -1.56, 11.4))
    foot = merge([box(22, 16, 1), move(box(5, 3, 12), shift(0, 1, 0))])
    black = materials.plastic((0.015, 0.015, 0.015), 0.3)
    picture = textures.texture("print" if rng.random() < 0.5 else "view", rng, split)
    screen = {"glow": picture, "strength": rng.uniform(0.3, 1.2)}
    if rng.random() < 0.35:
        screen = materials.plastic((0.01, 0.01, 0.01), 0.08)
    return Thing([(merge([frame, foot]), black), (glass, screen)], 0, w / 2, h + 10)


def frame(rng: np.random.Generator, split: str) -> Thing:
    """A framed picture standing up, its back at y = 0."""
    w, h = rng.uniform(9, 40), rng.uniform(12, 50)
    rim = rng.uniform(0.5, 2.5)
    border = box(w + 2 * rim, 1.5, h + 2 * rim)
    a = w / 2
    sheet = panel((-a, -0.8, h + rim), (a, -0.8, h + rim), (-a, -0.8, rim), (a, -0.8, rim))
    picture = textures.texture("print" if rng.random() < 0.5 else "view", rng, split)
    return Thing(
        [(border, skin(rng, paint(rng))), (sheet, materials.plastic(picture, 0.05))],
        0,
        w / 2 + rim,
        h + 2 * rim,
    )


def board(rng: np.random.Generator, split: str) -> Thing:
    """A cutting board leaning back."""
    w, h = rng.uniform(18, 30), rng.uniform(25, 40)
    mesh = move(box(w, 1.8, h), turn("x", -rng.uniform(6, 15)))
    return Thing([(mesh, skin(rng, textures.texture("wood", rng, split)))], 0, w / 2, h)


SMALL: list[Callable] = [
    carton,
    plain_box,
    mug,
    jar,
    jar,
    roll,
    pen_cup,
    toy,
    toy,
    book_pile,
    tumbler,
    slab,
    cable,
    plant,
    bowl,
    mug,
    frame,
]
KITCHEN: list[Callable] = [
    kettle,
    toaster,
    jar,
    jar,
    roll,
    board,
    bowl,
    mug,
    tumbler,
    carton,
    microwave,
    plant,
]
OFFICE: list[Callable] = [
    pen_cup,
    book_pile,
    book_row,
    slab,
    cable,
    mug,
    carton,
    lamp,
    drawers,
    frame,
    plant,
    toy,
]
ON_SHELF: list[Callable] = [
    book_row,
    book_row,
    book_row,
    carton,
    plain_box,
    jar,
    toy,
    plant,
    frame,
    pen_cup,
    mug,
    drawers,
    roll,
]
