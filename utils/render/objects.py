"""The three kinds of drink, each as meshes with materials."""

from dataclasses import dataclass

import numpy as np

from utils.render import labels, materials
from utils.render.meshes import Mesh, ball, box, lathe, merge, move, scale, shift, turn

BOTTLE, SODA, JUICE = 1, 2, 3  # class ids; the background is 0


@dataclass(frozen=True)
class Thing:
    """An object: its parts, what it is, and the round footprint that it takes on the table."""

    parts: list[tuple[Mesh, dict]]
    class_id: int = 0
    radius: float = 5.0  # cm
    height: float = 10.0  # cm


def place(thing: Thing, pose: np.ndarray) -> Thing:
    """`thing` moved by `pose` (4, 4)."""
    parts = [(move(mesh, pose), material) for mesh, material in thing.parts]
    return Thing(parts, thing.class_id, thing.radius, thing.height)


def make_drink(class_id: int, rng: np.random.Generator, split: str, white: bool = False) -> Thing:
    """A drink of the class, upright on z = 0 about the z axis, front towards -y on average.

    Args:
        white: a juice can with a white or cream front.
    """
    return make_bottle(rng, split) if class_id == BOTTLE else make_can(class_id, rng, split, white)


def lay_down(thing: Thing, rng: np.random.Generator, radius: float) -> Thing:
    """`thing` lying on its side on z = 0, pointing anywhere."""
    roll, heading = rng.uniform(0, 360, 2)
    pose = shift(0, 0, radius) @ turn("z", heading) @ turn("y", 90)
    pose = pose @ shift(0, 0, -thing.height / 2) @ turn("z", roll)
    lying = place(thing, pose)
    return Thing(lying.parts, thing.class_id, thing.height / 2 * 0.8, 2 * radius)


# --- bottle -----------------------------------------------------------------------------------

WALL = 0.04  # cm of PET; a soft-drink bottle has 0.25 to 0.4 mm
STEP = 0.1  # cm between the rows of a bottle's profile


def make_bottle(rng: np.random.Generator, split: str) -> Thing:
    """A ribbed PET water bottle with a cap and mostly a label; full, part full or empty."""
    height, radius = rng.uniform(18.5, 24.0), rng.uniform(2.9, 3.5)
    neck = rng.uniform(1.2, 1.4)
    label_height = rng.uniform(3.5, 7.5)
    label_bottom = rng.uniform(0.27, 0.5) * height - label_height / 3
    label_top = label_bottom + label_height
    shoulder_top = height - rng.uniform(2.3, 3.0)
    shoulder = max(shoulder_top - rng.uniform(3.0, 6.0), label_top + 0.5)
    has_label = rng.random() < 0.84
    z = np.arange(height - 0.1, 0.7, -STEP)
    outer = _bottle_radius(
        z, radius, neck, shoulder, shoulder_top, label_bottom, label_top, has_label, rng
    )
    base = np.array([(0.98, 0.5), (0.94, 0.25), (0.86, 0.06), (0.76, 0.0), (0.6, 0.15), (0.3, 0.5)])
    base = np.concatenate([base * [radius, 1.0], [[0.0, 0.6]]])
    profile = np.concatenate([np.stack([outer, z], 1), base])
    inner = profile - [WALL, 0.0]
    inner[-len(base) :, 1] += WALL
    inner[:, 0] = inner[:, 0].clip(0)

    square = rng.uniform(0.05, 0.25) if rng.random() < 0.12 else 0.0
    dent = None
    segments = 72
    if rng.random() < 0.15:
        dent = _crumple(len(profile), segments, rng.uniform(0.03, 0.12), rng)
    shell = lathe(
        np.concatenate([profile, inner[::-1]]),
        segments,
        None if dent is None else np.concatenate([dent, dent[::-1]]),
        square,
    )
    tint = np.array(materials.pick(rng, [(1, 1, 1), (0.97, 0.99, 1), (0.9, 0.96, 1)]))
    if rng.random() < 0.06:
        tint = np.array(materials.pick(rng, [(0.6, 0.8, 0.98), (0.65, 0.92, 0.75)]))
    parts = [(shell, materials.glass(1.57, tint))]

    fill = 0.0 if rng.random() < 0.13 else rng.choice([rng.uniform(0.15, 0.75), 0.93])
    if fill:
        level = fill * (height - 1.5)
        rows = inner[:, 1] < level
        water = inner[rows] - [0.012, 0.0]
        water[-len(base) :, 1] += 0.012  # the two surfaces must not touch anywhere
        edge = water[0, 0]
        top = [(edge * k, level) for k in (0.0, 0.5, 0.97)] + [(edge, level - 0.02)]
        body_dent = None
        if dent is not None:
            body_dent = np.concatenate([np.repeat(dent[rows][:1], 4, axis=0), dent[rows]])
        water[:, 0] = water[:, 0].clip(0)
        water[-1, 0] = 0.0
        water_body = lathe(np.concatenate([top, water]), segments, body_dent, square)
        parts.append((water_body, materials.glass(1.333)))

    if has_label:
        rows = np.arange(label_top, label_bottom, -0.25)
        sleeve = np.interp(-rows, -z, outer) + 0.03
        label_dent = None
        if dent is not None:
            label_dent = np.stack(
                [np.interp(-rows, -profile[: len(z), 1], c[: len(z)]) for c in dent.T], 1
            )
        picture = labels.water_label(rng, split)
        sleeve_mesh = lathe(np.stack([sleeve, rows], 1), segments, label_dent, square)
        parts.append((sleeve_mesh, materials.print_on_film(picture, rng.uniform(0.1, 0.35))))
    parts += _cap(rng, height, neck)
    turned = turn("z", rng.uniform(0, 360))
    return place(Thing(parts, BOTTLE, radius, height), turned)


def _bottle_radius(z, radius, neck, shoulder, shoulder_top, label_bottom, label_top, smooth, rng):
    """The outer radius at each height `z`, falling, (K,)."""
    rise = ((z - shoulder) / (shoulder_top - shoulder)).clip(0, 1)
    bulge = rng.uniform(0.7, 1.6)  # below 1 a round dome, above it a slim slope
    blend = (0.5 + 0.5 * np.cos(np.pi * rise**bulge)) if bulge > 1 else np.sqrt(1 - rise**2)
    radii = neck + (radius - neck) * blend
    ring = np.exp(-(((z - shoulder_top - 0.35) / 0.12) ** 2))
    radii = radii + 0.3 * ring

    pitch, depth = rng.uniform(0.8, 2.2), rng.uniform(0.06, 0.22)
    width = rng.uniform(0.14, 0.35)
    phase = (z / pitch) % 1 - 0.5
    style = rng.random()
    if style < 0.6:
        rib = np.exp(-((phase / width) ** 2))
    elif style < 0.85:
        rib = 0.5 + 0.5 * np.cos(2 * np.pi * phase)
    else:
        rib = np.zeros_like(z)
    ribbed = (z < shoulder - 0.2) & (z > 1.0)
    if rng.random() < 0.3:  # ribs climb the shoulder too
        ribbed = (z < shoulder_top - 1.0) & (z > 1.0)
    if smooth:
        ribbed &= (z < label_bottom - 0.2) | (z > label_top + 0.2)
        radii = radii - 0.08 * ((z < label_top + 0.1) & (z > label_bottom - 0.1))
    radii = radii - depth * rib * ribbed
    if rng.random() < 0.35:  # a waist to hold the bottle by
        centre = rng.uniform(0.25, 0.6) * shoulder_top
        pinch = rng.uniform(0.1, 0.35) * np.exp(-(((z - centre) / rng.uniform(1.5, 3)) ** 2))
        radii = radii - pinch * (z < shoulder)
    return np.where(z < 1.4, radii * (1 - 0.03 * ((1.4 - z) / 0.7).clip(0, 1)), radii)


def _crumple(rows: int, segments: int, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Factors of the radius (rows, segments + 1) of a bottle that was squeezed."""
    angle = np.linspace(0, 2 * np.pi, segments + 1)[None]
    height = np.linspace(0, 1, rows)[:, None]
    factors = np.zeros((rows, segments + 1))
    for _ in range(7):
        waves, slope = rng.integers(1, 6), rng.uniform(-14, 14)
        factors += rng.uniform(0, 1) * np.sin(waves * angle + slope * height + rng.uniform(0, 6))
    middle = np.sin(np.pi * height.clip(0.15, 0.97)) ** 2
    middle = np.where(height < 0.2, 0, middle)  # cap and neck keep their shape
    return 1 + amount * middle * factors / 3


def _cap(rng: np.random.Generator, height: float, neck: float) -> list[tuple[Mesh, dict]]:
    """Screw cap and the ring below it."""
    wide, tall = neck + rng.uniform(0.15, 0.3), rng.uniform(1.0, 1.9)
    angle = np.linspace(0, 2 * np.pi, 145)
    knurl = 1 + 0.018 * (np.sin(angle * 36) > 0)
    top = height + 0.1
    disc = lathe([(0, top), (wide * 0.85, top), (wide * 0.96, top - 0.06), (wide, top - 0.18)], 72)
    rows = np.array([(wide, top - 0.18), (wide, top - tall + 0.3), (wide, top - tall)])
    side = lathe(rows, 144, np.repeat(knurl[None], 3, axis=0))
    under = lathe([(wide, top - tall), (neck, top - tall)], 72)
    ring_top = top - tall - 0.06
    ring = lathe([(wide * 0.93, ring_top), (wide, ring_top - 0.05), (wide, ring_top - 0.22)], 72)
    colour = materials.pick(
        rng,
        [
            (0.02, 0.12, 0.55),
            (0.03, 0.2, 0.7),
            (0.05, 0.3, 0.75),
            (0.01, 0.07, 0.35),
            (0.15, 0.45, 0.8),
            (0.03, 0.25, 0.6),
            (0.02, 0.16, 0.62),
            (0.85, 0.87, 0.9),
        ],
    )
    if rng.random() < 0.08:
        colour = tuple(rng.uniform(0.02, 0.8, 3))
    return [(merge([disc, side, under, ring]), materials.plastic(colour, rng.uniform(0.08, 0.3)))]


# --- cans -------------------------------------------------------------------------------------


def make_can(class_id: int, rng: np.random.Generator, split: str, white: bool = False) -> Thing:
    """An aluminium can of soda or juice: slim mostly, printed all round, open or closed."""
    shape = rng.random()
    if shape < 0.5:
        radius, height = rng.uniform(2.8, 2.95), rng.uniform(14.0, 15.2)  # "sleek" 330 ml
    elif shape < 0.88:
        radius, height = rng.uniform(2.55, 2.7), rng.uniform(12.8, 14.0)  # slim 250 ml
    else:
        radius, height = rng.uniform(3.2, 3.35), rng.uniform(11.4, 12.4)  # the usual 330 ml
    neck = radius * rng.uniform(0.83, 0.9)
    rim = neck + 0.12
    shoulder = rng.uniform(0.9, 1.5)
    top, bottom = height - 0.36, rng.uniform(0.25, 0.45)
    z = np.linspace(top, bottom, 90)
    rise = ((z - (top - shoulder)) / shoulder).clip(0, 1)
    radii = radius + (neck - radius) * (0.5 - 0.5 * np.cos(np.pi * rise))
    foot = ((1.1 - z) / (1.1 - bottom)).clip(0, 1)
    radii = radii - 0.17 * radius * foot**2
    dent = None
    if rng.random() < 0.12:
        dent = 1 - _finger_dent(len(z), 72, rng)
    body = lathe(np.stack([radii, z], 1), 72, dent)
    picture, metallic = labels.can_label(class_id, rng, split, white)
    parts = [(body, materials.print_on_metal(picture, metallic, rng.uniform(0.16, 0.34)))]

    panel = neck - 0.35
    lid = [
        lathe([(0, height - 0.5), (panel * 0.8, height - 0.5)], 64),
        lathe(
            [
                (panel * 0.8, height - 0.5),
                (panel * 0.84, height - 0.56),
                (panel * 0.88, height - 0.5),
                (panel, height - 0.5),
            ],
            64,
        ),
        lathe(
            [
                (panel, height - 0.5),
                (panel + 0.06, height - 0.62),
                (panel + 0.14, height - 0.6),
                (neck - 0.12, height - 0.1),
                (neck - 0.08, height - 0.01),
            ],
            64,
        ),
        lathe(
            [
                (neck - 0.08, height - 0.01),
                (neck + 0.02, height),
                (rim, height - 0.06),
                (rim + 0.01, height - 0.14),
                (rim - 0.02, height - 0.28),
                (neck, top),
            ],
            64,
        ),
    ]
    last = radii[-1]
    foot_ring = lathe(
        [
            (last, bottom),
            (last - 0.08, 0.12),
            (last - 0.2, 0.0),
            (last - 0.34, 0.06),
            (last * 0.6, 0.5),
            (last * 0.3, 0.8),
            (0, 0.9),
        ],
        64,
    )
    tab = move(box(0.8, 1.6, 0.08), shift(0, 0.35, height - 0.48))
    ring = move(ball(0.45, 16), shift(0, 0.9, height - 0.44) @ scale(1, 1.2, 0.1))
    aluminium = materials.metal((0.78, 0.79, 0.8), rng.uniform(0.12, 0.3))
    parts.append((merge([*lid, foot_ring, tab, ring]), aluminium))
    if rng.random() < 0.4:  # opened
        hole = lathe([(0, 0), (0.75, 0)], 32)
        hole = move(hole, shift(0, -panel * 0.55, height - 0.495) @ scale(1, 0.8, 1))
        parts.append((hole, materials.plastic((0.01, 0.01, 0.01), 0.4)))
    turned = turn("z", rng.uniform(0, 360))
    return place(Thing(parts, class_id, radius, height), turned)


def _finger_dent(rows: int, segments: int, rng: np.random.Generator) -> np.ndarray:
    """How far, as a fraction of the radius, a dent goes in: (rows, segments + 1)."""
    angle = np.linspace(0, 2 * np.pi, segments + 1)[None]
    height = np.linspace(0, 1, rows)[:, None]
    depth = np.zeros((rows, segments + 1))
    for _ in range(rng.integers(1, 4)):
        off = np.angle(np.exp(1j * (angle - rng.uniform(0, 2 * np.pi))))
        spread, tall = rng.uniform(0.2, 0.6), rng.uniform(0.05, 0.2)
        spot = np.exp(-((off / spread) ** 2) - ((height - rng.uniform(0.25, 0.75)) / tall) ** 2)
        depth += rng.uniform(0.02, 0.1) * spot
    return depth
