"""Weights of one network in another: `--start-from`, and `--restore-weights` of a relative."""

from pathlib import Path

import h5py
import keras
import numpy as np

import zoo
from engine.weights import DAMAGED, check_numbers, load_weights, open_file, read_configuration
from utils.errors import UserError


def start_from(model: keras.Model, name: str, path: Path) -> None:
    """Take from a weights file the layers that fit by name and shape; the others begin anew.

    So a network for other classes begins with a backbone that has learnt edges and textures
    already. From another network only nested networks of the same name are taken, which are
    backbones, and what the network begins with: layers elsewhere may be called alike and do
    something else. What began anew is printed.

    Args:
        model: the network, with fresh weights.
        name: of its row in `zoo.MODELS`.
        path: a file that `weights.save_weights` or `save_checkpoint` wrote.

    Raises:
        UserError: not one layer fits, or the file is none of Keras 3.
    """
    taken, fresh = _take(model, name, path)
    if not taken:
        raise UserError(
            f"--start-from {path} fits no layer of the network {name}; give weights of {name}, or "
            "of a network with the same backbone, that fcn-12.3.1.py of this project saved."
        )
    print(f"{taken} layers start from {path}; anew: {', '.join(fresh) or 'none'}.")


def restore(model: keras.Model, name: str, path: Path) -> None:
    """Read all weights of a network from its file, or from that of a relative that has them too.

    Rows of one builder are variants, with the same names for the same layers: a UNet++ has in it
    the networks that are left when it is cut off behind one of its heads.

    Args:
        model: the network; its optimizer is left as it is.
        name: of its row in `zoo.MODELS`.
        path: a file that `weights.save_weights` or `save_checkpoint` wrote.

    Raises:
        UserError: the file does not fit, or the relative lacks a layer.
    """
    of = _network_of(path)
    if of == name:
        load_weights(model, path)
        return
    taken, fresh = _take(model, name, path)
    if fresh or not taken:
        raise UserError(
            f"{path} holds weights of the network {of}, which has no {(fresh or ['layer'])[0]} as "
            f"{name} has it; leave out --model."
        )
    check_numbers(model, path)
    print(f"{path.name} holds weights of {of}; here they answer as {name}.")


def _take(model: keras.Model, name: str, path: Path) -> tuple[int, list[str]]:
    """Take the layers that fit; return how many, and the names of those that do not."""
    same = zoo.has_layers_of(name, _network_of(path))
    fresh, taken = [], 0
    with open_file(path) as file:
        stored = layers_of(file)
        for place, layer in layers_by_place(model):
            here = [weight.shape for weight in layer.weights]
            there = stored.get(place, []) if same or len(place) > 1 else []
            if here and [array.shape for array in there] == here:
                layer.set_weights(_read(there, path))
                taken += 1
            elif here:
                fresh.append(layer.name)
    return taken, fresh


def _network_of(path: Path) -> str:
    # Files of the first commits have no configuration; all of these are of the chapter's network.
    return read_configuration(path).get("network", {"name": "fcn"})["name"]


def layers_of(file: h5py.File) -> dict[tuple[str, ...], list[h5py.Dataset]]:
    """The arrays in a file of Keras 3 by place: names of nested networks, then of the layer.

    None is read yet: a file may hold more than the memory, of which little fits the network.
    """
    layers: dict[tuple[str, ...], list[h5py.Dataset]] = {}

    def find(group: h5py.Group, place: tuple[str, ...]) -> None:
        for item in _groups(group.get("layers")):
            # Keras 3 keeps a layer's weights by number, in a group that has the layer's name.
            arrays = item.get("vars")
            named = isinstance(arrays, h5py.Group)
            inner = (*place, str(arrays.attrs.get("name", "")) if named else "")
            if "layers" in item:
                find(item, inner)
            elif named:
                keys = sorted((key for key in arrays if _is_place(key)), key=int)
                found = [arrays[key] for key in keys]
                layers[inner] = [each for each in found if isinstance(each, h5py.Dataset)]

    find(file, ())
    return layers


def _groups(item: object) -> list[h5py.Group]:
    inside = item.values() if isinstance(item, h5py.Group) else ()
    return [each for each in inside if isinstance(each, h5py.Group)]


def _is_place(key: str) -> bool:
    return key.isascii() and key.isdecimal() and len(key) < 10


def _read(arrays: list[h5py.Dataset], path: Path) -> list[np.ndarray]:
    try:
        return [np.asarray(array) for array in arrays]
    except DAMAGED as error:
        raise UserError(f"{path} is damaged; fetch the file again.") from error


def layers_by_place(model: keras.Model, place: tuple[str, ...] = ()):
    """(place, layer) of every layer of a network, those of nested networks in place of these."""
    for layer in model.layers:
        inner = (*place, layer.name)
        if isinstance(layer, keras.Model):
            yield from layers_by_place(layer, inner)
        else:
            yield inner, layer
