"""A picture from its number: drinks in a room, rendered, with the exact mask of each drink."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from utils.errors import UserError
from utils.render import clutter, lookalikes, materials
from utils.render.camera import Camera, aim, compress, develop, project, undistorted
from utils.render.meshes import Mesh, merge, shift, write_ply
from utils.render.objects import BOTTLE, JUICE, SODA, Thing, lay_down, make_drink, place
from utils.render.rooms import Room, make_room

SPLITS = ("train", "test")
# Training pictures from this number on are of the second recipe: about half of their juice cans
# have a white front, and things that a network took for drinks stand about (lookalikes.py).
SECOND_RECIPE = 801
WHITE_SHARE = 0.5
FINE = 3  # a pixel belongs to what most of its FINE x FINE sub-pixels show
MOST_TRIES = 8  # arrangements of a picture before one with few drinks in view is taken
DEPTH = 12  # surfaces that a path of light may meet; a full bottle alone has eight


@dataclass(frozen=True)
class Rendered:
    """A finished picture and what is known about it."""

    jpeg: bytes
    objects: np.ndarray  # (H, W) uint8: 0 background, else the number of the drink, from 1
    classes: list[int]  # class id of each drink
    hidden: list[float]  # how much of each drink others or the frame cover, 0 to 1
    room: str


def load_renderer(variant: str, threads: int) -> Any:
    """Mitsuba, set to a variant and a number of threads.

    Raises:
        UserError: the packages of requirements/render.txt are missing, or the variant is unknown.
    """
    try:
        import mitsuba as mi
        import pyoidn  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"rendering needs the package {error.name!r}; run "
            "`pip install -r requirements/render.txt`."
        ) from error
    try:
        mi.set_variant(variant)
    except (ImportError, RuntimeError) as error:
        raise UserError(
            f"the renderer cannot use the variant {variant!r}; use --variant scalar_rgb."
        ) from error
    import drjit

    drjit.set_thread_count(threads)
    mi.set_log_level(mi.LogLevel.Error)
    return mi


def render_picture(
    mi: Any, seed: int, split: str, number: int, size: tuple[int, int], samples: int, limit: int
) -> Rendered:
    """Picture `number` of a split; it depends on these arguments and on nothing else.

    Args:
        mi: from `load_renderer`.
        size: (H, W).
        samples: paths of light per pixel.
        limit: bytes that the JPEG file should not exceed.
    """
    for attempt in range(MOST_TRIES):
        rng = np.random.default_rng([seed, SPLITS.index(split), number, attempt])
        room, drinks, camera = compose(rng, split, split == "train" and number >= SECOND_RECIPE)
        with tempfile.TemporaryDirectory() as folder:
            scene, owners = _load(mi, room, drinks, Path(folder))
        objects = _object_map(mi, scene, owners, camera, size)
        areas = np.bincount(objects.ravel(), minlength=len(drinks) + 1)[1:]
        seen = areas >= 300 * objects.size / 307200
        if seen.sum() >= max(1, len(drinks) - attempt) and areas.sum() > 0.012 * objects.size:
            break
    light = _light(mi, scene, camera, size, samples, seed=number)
    if camera.barrel:
        light = _bilinear(light, *undistorted(camera, size))
    picture = develop(light, objects > 0, rng)
    hidden = [
        1 - min(1.0, areas[k] / max(1, _whole_area(drink, camera, size)))
        for k, drink in enumerate(drinks)
    ]
    jpeg = compress(picture, rng, limit)
    return Rendered(jpeg, objects, [d.class_id for d in drinks], hidden, room.name)


# --- arrangement ------------------------------------------------------------------------------


def compose(
    rng: np.random.Generator, split: str, second: bool = False
) -> tuple[Room, list[Thing], Camera]:
    """A room, one to four drinks standing or lying in it, and a camera.

    Args:
        second: the second recipe. What it draws, the first must not, or all its scenes change.
    """
    room = make_room(rng, split)
    drinks, spots = _drinks(rng, split, room, WHITE_SHARE if second else 0.0)
    middles = np.array([s[:2] for s in spots])
    tall = max(d.height for d in drinks)
    wide = np.ptp(middles[:, 0]) + 8
    centre = np.array([*middles.mean(axis=0), tall * 0.47])
    camera = aim(rng, centre, tall, wide, room.wall)
    taken = lookalikes.surround(rng, split, room, spots, camera) if second else []
    room.things += _scatter(rng, split, room, spots, camera, taken)
    return room, drinks, camera


def _drinks(
    rng: np.random.Generator, split: str, room: Room, white_share: float
) -> tuple[list[Thing], list[tuple[float, float, float]]]:
    """Drinks in their places, and the places (x, y, radius); some juice cans have white fronts."""
    count = int(rng.choice([1, 2, 3, 4], p=[0.2, 0.28, 0.32, 0.2]))
    kinds = [int(k) for k in rng.permutation([BOTTLE, SODA, JUICE])]
    kinds.append(int(rng.integers(1, 4)))
    if rng.random() < 0.25:
        kinds = [int(k) for k in rng.integers(1, 4, 4)]
    drinks, spots = [], []
    spread = rng.uniform(0.5, 1.5)
    for kind in kinds[:count]:
        white = kind == JUICE and white_share > 0 and rng.random() < white_share
        drink = make_drink(kind, rng, split, white)
        lying = rng.random() < (0.35 if room.name == "outside" else 0.09)
        if lying:
            drink = lay_down(drink, rng, drink.radius)
        for attempt in range(60):
            reach = spread * (2.5 + 2.2 * count) * (1 + attempt / 20)
            x, y = rng.normal(0, reach), rng.normal(0, 0.6 * reach)
            y = min(max(y, -12.0), min(room.wall, 60) - drink.radius - 4)
            gap = rng.uniform(0.1, 2.0)
            if all(np.hypot(x - a, y - b) > drink.radius + r + gap for a, b, r in spots):
                drinks.append(place(drink, shift(x, y, 0.01)))
                spots.append((x, y, drink.radius))
                break
    return drinks, spots


def _scatter(
    rng: np.random.Generator, split: str, room: Room, spots: list, camera: Camera, others: list
) -> list[Thing]:
    """Clutter on the table round the drinks; little of it before them, no glass before them.

    Args:
        spots: of the drinks.
        others: spots that are taken too.
    """
    things, taken = [], [*spots, *others]
    nearest = min(y for _, y, _ in spots)
    count = int(rng.poisson(1.5 if room.name == "outside" else 4.0))
    for _ in range(count):
        maker = materials.pick(rng, room.makers if rng.random() < 0.7 else clutter.SMALL)
        thing = maker(rng, split)
        for _ in range(25):
            x, y = rng.normal(0, 22), rng.uniform(-16, min(room.wall, 45) - thing.radius - 3)
            before = y < nearest + 3
            if before and (maker is clutter.tumbler or thing.height > 14 or rng.random() < 0.6):
                continue
            clear = np.hypot(x - camera.position[0], y - camera.position[1]) > thing.radius + 14
            if clear and all(np.hypot(x - a, y - b) > thing.radius + r + 0.3 for a, b, r in taken):
                things.append(place(thing, shift(x, y, 0.01)))
                taken.append((x, y, thing.radius))
                break
    return things


# --- rendering --------------------------------------------------------------------------------


def _load(mi: Any, room: Room, drinks: list[Thing], folder: Path) -> tuple[Any, dict[str, int]]:
    """Mitsuba's scene, and which drink (from 1) each shape belongs to, by the shape's name."""
    content: dict[str, Any] = {"type": "scene"}
    owners = {}
    parts = [(owner, part) for owner, drink in enumerate(drinks, 1) for part in drink.parts]
    parts += [(0, part) for part in _merged([p for thing in room.things for p in thing.parts])]
    for number, (owner, (mesh, material)) in enumerate(parts):
        name = f"shape{number:04d}"
        write_ply(folder / f"{name}.ply", mesh)
        shape = {"type": "ply", "filename": str(folder / f"{name}.ply")}
        if "glow" in material:
            glow = (material["glow"] / 255.0) ** 2.2 * material["strength"]
            radiance = {"type": "bitmap", "bitmap": mi.Bitmap(glow.astype(np.float32)), "raw": True}
            shape["emitter"] = {"type": "area", "radiance": radiance}
            shape["bsdf"] = {"type": "diffuse", "reflectance": 0.02}
        else:
            shape["bsdf"] = _with_textures(mi, material)
        content[name] = shape
        owners[name] = owner
    for k, light in enumerate(room.emitters):
        content[f"light{k}"] = _emitter(mi, light)
    # In parallel the order of the shapes, and so the picture, would differ from run to run.
    return mi.load_dict(content, parallel=False, optimize=False), owners


def _merged(parts: list[tuple[Mesh, dict]]) -> list[tuple[Mesh, dict]]:
    """`parts` with those of nearly the same plain colour made one, which renders faster."""
    kept, plain = [], {}
    for mesh, material in parts:
        colour = material.get("diffuse_reflectance", material.get("reflectance"))
        if isinstance(colour, dict):
            shade = tuple(round(5 * value**0.5) for value in colour["value"])
            key = (material["type"], round(4 * material.get("alpha", 0)), *shade)
            plain.setdefault(key, (material, []))[1].append(mesh)
        else:
            kept.append((mesh, material))
    return kept + [(merge(meshes), material) for material, meshes in plain.values()]


def _emitter(mi: Any, light: dict) -> dict:
    transform = mi.ScalarTransform4f
    if "surroundings" in light:
        return {
            "type": "envmap",
            "bitmap": mi.Bitmap(light["surroundings"]),
            "to_world": transform().rotate([1, 0, 0], 90),
        }
    half = light["lamp"] / 2
    pose = transform().look_at(light["at"], light["aim"], [0.1, 1, 0.1])
    return {
        "type": "rectangle",
        "to_world": pose @ transform().scale([half, half, half]),
        "emitter": {"type": "area", "radiance": {"type": "rgb", "value": light["radiance"]}},
    }


def _with_textures(mi: Any, material: Any) -> Any:
    """`material` with its arrays made textures."""
    if isinstance(material, np.ndarray):
        bitmap = mi.Bitmap(np.ascontiguousarray(material))
        return {"type": "bitmap", "bitmap": bitmap, "wrap_mode": "mirror"}
    if isinstance(material, dict):
        return {key: _with_textures(mi, value) for key, value in material.items()}
    return material


def _sensor(mi: Any, camera: Camera, size: tuple[int, int], samples: int, lens: bool) -> Any:
    pose = mi.ScalarTransform4f().look_at(
        camera.position.tolist(), camera.target.tolist(), camera.up.tolist()
    )
    sensor = {
        "type": "perspective",
        "fov": camera.view,
        "fov_axis": "x",
        "near_clip": 0.5,
        "far_clip": 5000.0,
        "to_world": pose,
        "film": {
            "type": "hdrfilm",
            "width": size[1],
            "height": size[0],
            "pixel_format": "rgb",
            "component_format": "float32",
            "rfilter": {"type": "box"},  # the denoiser needs pixels that share no samples
        },
        "sampler": {"type": "independent", "sample_count": samples},
    }
    if lens and camera.aperture:
        sensor |= {
            "type": "thinlens",
            "aperture_radius": camera.aperture,
            "focus_distance": camera.focus,
        }
    return mi.load_dict(sensor)


def _object_map(
    mi: Any, scene: Any, owners: dict[str, int], camera: Camera, size: tuple[int, int]
) -> np.ndarray:
    """Which drink each pixel shows first, (H, W) uint8, 0 for none."""
    fine = (size[0] * FINE, size[1] * FINE)
    integrator = mi.load_dict({"type": "aov", "aovs": "shape:shape_index"})
    sensor = _sensor(mi, camera, fine, 1, lens=False)
    index = np.array(mi.render(scene, sensor=sensor, integrator=integrator, spp=1, seed=0))
    index = np.round(index[..., -1]).astype(int)  # (FINE H, FINE W)
    owner = np.zeros(index.max() + 1, np.uint8)
    for place_of, shape in enumerate(scene.shapes(), 1):  # 0 means that the ray met nothing
        if hasattr(mi, "ShapePtr"):  # the vectorised variants number all shapes of the process
            place_of = _pointer_number(mi, shape)
        if place_of < len(owner):
            owner[place_of] = owners.get(shape.id(), 0)
    drinks = owner[index]
    if camera.barrel:
        rows, columns = undistorted(camera, fine)
        drinks = drinks[rows.round().astype(int), columns.round().astype(int)]
    blocks = drinks.reshape(size[0], FINE, size[1], FINE)
    votes = np.stack([(blocks == k).sum(axis=(1, 3)) for k in range(max(owners.values()) + 1)])
    return votes.argmax(axis=0).astype(np.uint8)


def _pointer_number(mi: Any, shape: Any) -> int:
    """The number by which a vectorised variant knows the shape."""
    import drjit

    return int(drjit.reinterpret_array(mi.UInt32, mi.ShapePtr(shape))[0])


def _light(
    mi: Any, scene: Any, camera: Camera, size: tuple[int, int], samples: int, seed: int
) -> np.ndarray:
    """The light that reaches the camera, (H, W, 3) float32, denoised."""
    path = {"type": "path", "max_depth": DEPTH, "rr_depth": 5}
    aovs = "albedo:albedo,normal:sh_normal"
    integrator = mi.load_dict({"type": "aov", "aovs": aovs, "image": path})
    sensor = _sensor(mi, camera, size, samples, lens=True)
    layers = np.array(
        mi.render(scene, sensor=sensor, integrator=integrator, spp=samples, seed=seed)
    )
    colour, albedo, normal = layers[..., :3], layers[..., -6:-3], layers[..., -3:]
    return _denoise(colour, albedo, normal)


def _denoise(colour: np.ndarray, albedo: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """`colour` (H, W, 3) without the noise of too few samples."""
    import pyoidn

    layers = [
        np.nan_to_num(a, posinf=0, neginf=0).astype(np.float32) for a in (colour, albedo, normal)
    ]
    layers[0] = layers[0].clip(0, 60)  # single samples that met a lamp by chance
    layers[1] = layers[1].clip(0, 1)
    return pyoidn.denoise(layers[0], albedo=layers[1], normal=layers[2], hdr=True)


def _bilinear(picture: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """`picture` (H, W, 3) taken at fractional places (H, W)."""
    from scipy.ndimage import map_coordinates

    layers = [
        map_coordinates(layer, [rows, columns], order=1, mode="nearest")
        for layer in np.moveaxis(picture, -1, 0)
    ]
    return np.stack(layers, axis=-1)


def _whole_area(drink: Thing, camera: Camera, size: tuple[int, int]) -> float:
    """How many pixels the drink would cover with nothing before it in an endless picture."""
    canvas = Image.new("1", (3 * size[1] // 2, 3 * size[0] // 2))  # half size, a frame all round
    pen = ImageDraw.Draw(canvas)
    for mesh, _ in drink.parts:
        spots = project(camera, mesh.points, size) / 2 + [size[1] / 2, size[0] / 2]
        corners = spots[mesh.faces]  # (M, 3, 2)
        for triangle in corners[np.isfinite(corners).all(axis=(1, 2))].reshape(-1, 6):
            pen.polygon(triangle.tolist(), 1)
    return 4.0 * np.asarray(canvas).sum()
