"""Beginning a training with what another has learnt: `--start-from`."""

from pathlib import Path

import h5py
import keras
import numpy as np

import zoo
from engine.weights import open_file, read_configuration
from utils.errors import UserError


def start_from(model: keras.Model, name: str, path: Path) -> None:
    """Take from a weights file the layers that fit by name and shape; the others begin anew.

    So a network for other classes begins with a backbone that has learnt edges and textures
    already. From another network only nested networks of the same name are taken, which are
    backbones: layers elsewhere may be called alike and do something else. What began anew is
    printed.

    Args:
        model: the network, with fresh weights.
        name: of its row in `zoo.MODELS`.
        path: a file that `weights.save_weights` or `save_checkpoint` wrote.

    Raises:
        UserError: not one layer fits, or the file is none of Keras 3.
    """
    stored = read_layers(path)
    # Files of the first commits have no configuration; all of these are of the chapter's network.
    of = read_configuration(path).get("network", {"name": "fcn"})["name"]
    same = zoo.find(of).builder is zoo.find(name).builder  # of one network rows are variants
    fresh, taken = [], 0
    for place, layer in layers_by_place(model):
        here = [weight.shape for weight in layer.weights]
        there = stored.get(place, []) if same or len(place) > 1 else []
        if here and [weight.shape for weight in there] == here:
            layer.set_weights(there)
            taken += 1
        elif here:
            fresh.append(layer.name)
    if not taken:
        raise UserError(
            f"--start-from {path} fits no layer of the network {name}; give weights of {name}, or "
            "of a network with the same backbone, that fcn-12.3.1.py of this project saved."
        )
    print(f"{taken} layers start from {path}; anew: {', '.join(fresh) or 'none'}.")


def read_layers(path: Path) -> dict[tuple[str, ...], list[np.ndarray]]:
    """The weights in a file of Keras 3 by place: names of nested networks, then of the layer."""
    layers: dict[tuple[str, ...], list[np.ndarray]] = {}

    def read(group: h5py.Group, place: tuple[str, ...]) -> None:
        for item in group.get("layers", {}).values():
            # Keras 3 keeps a layer's weights by number, in a group that has the layer's name.
            inner = (*place, item["vars"].attrs.get("name", "") if "vars" in item else "")
            if "layers" in item:
                read(item, inner)
            elif "vars" in item:
                keys = sorted((key for key in item["vars"] if key.isdecimal()), key=int)
                layers[inner] = [np.asarray(item["vars"][key]) for key in keys]

    with open_file(path) as file:
        read(file, ())
    return layers


def layers_by_place(model: keras.Model, place: tuple[str, ...] = ()):
    """(place, layer) of every layer of a network, those of nested networks in place of these."""
    for layer in model.layers:
        inner = (*place, layer.name)
        if isinstance(layer, keras.Model):
            yield from layers_by_place(layer, inner)
        else:
            yield inner, layer
