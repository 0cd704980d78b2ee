"""A pipeline of albumentations, from a file as `albumentations.save` writes it.

The file is data: it names classes and their arguments. Those of albumentations alone are made, of
its own registry; what needs a function of one's own, such as `Lambda`, cannot be in a file.
"""

import os
import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from utils.errors import UserError
from utils.files import PROJECT, at_home
from utils.json_text import parse_json
from utils.pictures import resize_labels, resize_picture

MOST_BYTES = 10**6


@dataclass(frozen=True)
class Pipeline:
    """A pipeline that changes a picture together with its labels; threads and processes may share.

    Attributes:
        path: of its file.
        text: of the file.
    """

    path: Path
    text: str

    def __call__(
        self,
        picture: np.ndarray,
        labels: np.ndarray,
        rng: np.random.Generator,
        size: tuple[int, int],
    ) -> tuple[np.ndarray, np.ndarray]:
        """Let a picture and its labels through the pipeline, and bring both to `size`.

        Args:
            picture: (h, w, C) uint8, at its own size: a crop is one of the file's pixels.
            labels: (h', w') uint8 class ids of the same view, of any size.
            rng: gives all random numbers; equally seeded ones give equal results.
            size: (H, W) of the results.

        Returns:
            The picture (H, W, C) uint8 and its labels (H, W) uint8. What lies outside the source is
            what the file says: with `fill_mask=255` it is void, by default it is class 0.

        Raises:
            UserError: the pipeline cannot take such a picture, or gives none.
        """
        transform = _made(self.path, self.text, threading.get_ident())
        transform.set_random_seed(int(rng.integers(2**31)))
        labels = resize_labels(labels, picture.shape[:2])
        try:
            result = transform(image=picture, mask=labels)
            seen, moved = np.asarray(result["image"]), np.asarray(result["mask"])
        except Exception as error:  # of any transform, which has its own idea of a picture
            raise UserError(
                f"{self.path} cannot take a picture of {picture.shape[2]} channels, "
                f"{picture.shape[0]} high and {picture.shape[1]} wide ({_line(error)}); correct "
                "the pipeline."
            ) from error
        seen = seen.reshape(*seen.shape[:2], -1)  # of grey pictures it may drop the channel
        if (seen.dtype, seen.shape[2]) != (np.uint8, picture.shape[2]):
            raise UserError(
                f"{self.path} makes {seen.shape[2]} channels of {seen.dtype} of {picture.shape[2]} "
                "of uint8; leave out what normalises, converts or adds channels."
            )
        return resize_picture(seen, size), resize_labels(moved.astype(np.uint8), size)


def read_pipeline(name: str) -> Pipeline:
    """A pipeline of a file, looked for from the current folder and then from the project's.

    Raises:
        UserError: there is no such file, it holds no pipeline of albumentations, or that library is
            not installed.
    """
    path = next((p for p in (at_home(name), PROJECT / name) if p.is_file()), None)
    if path is None:
        raise UserError(f"--augment: there is no file {name}; give one that albumentations saved.")
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError("it is too large")
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is no pipeline ({_line(error)}); save it anew.") from error
    _made(path, text, threading.get_ident())
    return Pipeline(path, text)


@lru_cache(maxsize=64)
def _made(path: Path, text: str, thread: int):
    """The transform of a file: each thread has its own, as it holds the random numbers."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else it asks the network for a newer
    try:
        import albumentations
        from albumentations.core.serialization import SERIALIZABLE_REGISTRY, shorten_class_name
    except ImportError as error:
        raise UserError(
            "--augment FILE needs albumentations; install it with "
            "pip install -r requirements/augment.txt, or give --augment strong."
        ) from error
    try:
        content = _parse(path, text)
        for name in _classes(content["transform"]):
            made = SERIALIZABLE_REGISTRY.get(shorten_class_name(name))
            if made is None or made.__module__.split(".")[0] != "albumentations":
                raise ValueError(f"{name[:60]!r} is no transform of albumentations")
        transform = albumentations.from_dict(content)
    except Exception as error:  # the library raises what it likes
        raise UserError(
            f"{path} is no pipeline that albumentations {albumentations.__version__} can make "
            f"({_line(error)}); save it anew with albumentations.save."
        ) from error
    # A single transform may be saved as well; a composition has the random numbers.
    compose = albumentations.Compose
    return transform if isinstance(transform, compose) else compose([transform])


def _parse(path: Path, text: str) -> dict:
    if path.suffix.lower() == ".json":
        return parse_json(text)
    import yaml  # comes with albumentations

    if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
        raise ValueError("it repeats parts of itself")  # which can make a terabyte of a line
    return yaml.safe_load(text)


def _classes(transform: dict) -> list[str]:
    """The names of all classes of a transform and of those that it is composed of."""
    inner = transform.get("transforms", [])
    return [str(transform["__class_fullname__"]), *(n for each in inner for n in _classes(each))]


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
