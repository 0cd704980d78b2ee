"""Surfaces in Mitsuba's terms. A material is a dictionary; pictures in it become textures.

Colours are linear RGB from 0 to 1, pictures are sRGB bytes (H, W, 3). Few kinds of surface are
used, since each kind costs the vectorised renderer compilation time.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

Colour = Sequence[float]


def pick(rng: np.random.Generator, choices: Sequence[Any]) -> Any:
    """One of `choices`, whatever their type."""
    return choices[rng.integers(len(choices))]


def linear(colour: Sequence[int]) -> tuple[float, ...]:
    """A linear colour from sRGB bytes."""
    value = np.asarray(colour, float) / 255
    return tuple(np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4))


def glass(index: float, tint: Colour = (1, 1, 1)) -> dict:
    """A clear solid or liquid with a refractive index."""
    return {
        "type": "dielectric",
        "int_ior": float(index),
        "ext_ior": 1.0,
        "specular_transmittance": _value(tint),
    }


def plastic(colour: Colour | np.ndarray, roughness: float = 0.15) -> dict:
    """A coloured body under a clear glossy surface; `colour` may be a picture."""
    return {
        "type": "roughplastic",
        "distribution": "ggx",
        "alpha": float(roughness),
        "nonlinear": True,
        "diffuse_reflectance": _value(colour),
    }


def matt(colour: Colour | np.ndarray) -> dict:
    """A surface without gloss; `colour` may be a picture."""
    return {"type": "diffuse", "reflectance": _value(colour)}


def metal(colour: Colour, roughness: float = 0.15) -> dict:
    """Bare metal: the mirror image takes the colour."""
    return {
        "type": "roughconductor",
        "material": "none",
        "distribution": "ggx",
        "alpha": float(roughness),
        "specular_reflectance": _value(colour),
    }


def sheet(surface: dict) -> dict:
    """A thin sheet with the surface on both sides; all else is seen from outside only."""
    return {"type": "twosided", "surface": surface}


def print_on_film(picture: np.ndarray, roughness: float) -> dict:
    """A printed plastic label."""
    return sheet(plastic(picture, roughness))


def print_on_metal(picture: np.ndarray, metallic: float, roughness: float) -> dict:
    """Ink on aluminium: part of the light comes back as a coloured mirror image."""
    return {
        "type": "principled",
        "base_color": _value(picture),
        "metallic": float(metallic),
        "roughness": float(roughness + 0.1),
        "specular": 0.5,
        "clearcoat": 0.6,
        "clearcoat_gloss": 0.93,
    }


def _value(colour: Colour | np.ndarray) -> Any:
    """A colour as Mitsuba takes it; pictures stay arrays and become textures when loaded."""
    if isinstance(colour, np.ndarray) and colour.ndim == 3:
        return colour
    return {"type": "rgb", "value": [float(v) for v in colour]}
