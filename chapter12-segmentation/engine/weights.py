"""Weights files: found by name, written whole, read from today's Keras and from the book's.

A weights file carries its configuration (class names, backbone, layers, size, arguments, versions)
as JSON in the attribute `configuration` of its HDF5 root, so that a file alone is enough to segment
a picture. A checkpoint carries the optimizer too, and the state of the run in the attribute `run`.
"""

import glob
import json
import os
import tempfile
import warnings
from pathlib import Path

import h5py
import keras
import numpy as np

from engine.widening import head_filters, narrow_head, widen_head
from utils.classes import MOST_CLASSES, Classes, named
from utils.errors import UserError
from utils.files import PROJECT, at_home, replace_whole

CONFIGURATION = "configuration"
RUN = "run"
# What a network may have, from and to.
LIMITS = {
    "layers": (1, 8),
    "channels": (1, 3),
    "filters": (1, 2**31),
    "height": (32, 2**31),
    "width": (32, 2**31),
}


def to_json(value: dict) -> str:
    """JSON of what a run leaves; paths and the like as text."""
    return json.dumps(value, indent=1, default=str)


def find_weights(name: str, save_dir: Path) -> Path:
    """The file that `--restore-weights` or `--start-from` names.

    That is any path, or a name in `save_dir` or `weights/`.

    The book's command says `...-best-iou.h5`, Keras 3 writes `...-best-iou.weights.h5`: either name
    finds either file.

    Raises:
        UserError: there is no such file.
    """
    names = [name]
    if name.endswith(".weights.h5"):
        names.append(name.removesuffix(".weights.h5") + ".h5")
    elif name.endswith(".h5"):
        names.append(name.removesuffix(".h5") + ".weights.h5")
    for candidate in names:
        for folder in (Path(), save_dir, PROJECT / "weights", PROJECT):
            path = folder / at_home(candidate)
            if path.is_file():
                return path
    start, _, rest = Path(names[-1]).name.partition("-best-iou")
    kept = sorted(path.name for path in save_dir.glob(f"{glob.escape(start)}-run*-best-iou{rest}"))
    raise UserError(
        f"weights {name} are neither a file nor a name in {save_dir}; "
        + (f"earlier runs left {', '.join(kept)} there; name one, " if kept else "train first ")
        + "or give the path of a .h5 or .weights.h5 file."
    )


def save_weights(model: keras.Model, path: Path, configuration: dict) -> None:
    """Write the weights alone (no optimizer) and their configuration, whole or not at all."""
    # A second model over the same layers has no optimizer; Keras saves that of a compiled one.
    _write(keras.Model(model.inputs, model.outputs), path, {CONFIGURATION: configuration})


def save_checkpoint(model: keras.Model, path: Path, configuration: dict, run: dict) -> None:
    """Write weights, optimizer, configuration and the state of the run in one file, whole."""
    _write(model, path, {CONFIGURATION: configuration, RUN: run})


def _write(model: keras.Model, path: Path, attributes: dict) -> None:
    with replace_whole(path) as unfinished:
        model.save_weights(unfinished, overwrite=True)
        with h5py.File(unfinished, "a") as file:
            for name, value in attributes.items():
                file.attrs[name] = to_json(value)


def _open(path: Path) -> h5py.File:
    try:
        return h5py.File(path, "r")
    except (FileNotFoundError, PermissionError) as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror or 'missing'}); give another file."
        ) from error
    except OSError as error:
        raise UserError(
            f"{path} is not a whole HDF5 weights file; train again or fetch the file again."
        ) from error


def _attribute(path: Path, name: str) -> dict:
    with _open(path) as file:
        try:
            value = json.loads(file.attrs.get(name, "{}"))
        except (TypeError, ValueError):
            value = None
    if not isinstance(value, dict):
        raise UserError(f"{path} has a broken {name}; fetch the file again.")
    return value


def read_configuration(path: Path) -> dict:
    """What was written beside the weights; {"n_classes": ...} alone for a file of the book's code.

    Raises:
        UserError: `path` is no weights file of this network, or its configuration is damaged.
    """
    configuration = _attribute(path, CONFIGURATION)
    if not _is_sound(configuration):
        raise UserError(f"{path} has a broken {CONFIGURATION}; fetch the file again.")
    if "n_classes" not in configuration:
        n_classes = _count_classes(path)
        if n_classes is None:
            raise UserError(
                f"{path} holds no weights of the chapter's network (no layer pre_activation); "
                "give a file that fcn-12.3.1.py saved."
            )
        configuration["n_classes"] = n_classes
    return configuration


def _is_sound(configuration: dict) -> bool:
    """Whether what a network is built from has the types and the sizes that it must have."""

    def is_number(value, least: int, most: int) -> bool:
        return value is None or (type(value) is int and least <= value <= most)

    arguments, names = configuration.get("arguments", {}), configuration.get("class_names", [])
    n_classes = configuration.get("n_classes", 1)
    if not isinstance(arguments, dict) or not isinstance(names, list) or n_classes is None:
        return False
    if not is_number(n_classes, 1, MOST_CLASSES) or (names and len(names) != n_classes):
        return False
    whole = arguments.get("whole_size") or [None, None]
    if not (isinstance(whole, list) and len(whole) == 2):
        return False
    return (
        isinstance(arguments.get("backbone", ""), str)
        and all(is_number(arguments.get(name), *limits) for name, limits in LIMITS.items())
        and all(is_number(side, *LIMITS["height"]) for side in whole)
    )


def read_arguments(path: Path) -> dict:
    """The options that the run of a weights file was given; none for a file of the book's code."""
    return read_configuration(path).get("arguments", {})


def read_run(checkpoint: Path) -> dict:
    """The options of the run that left `checkpoint`.

    Raises:
        UserError: there is no checkpoint.
    """
    if not checkpoint.is_file():
        raise UserError(
            f"--resume finds no {checkpoint}; give the --backbone, --layers, --dataset and "
            "--save-dir of the run, or start it without --resume."
        )
    return read_arguments(checkpoint)


def read_classes(path: Path) -> Classes:
    """The classes of a weights file; "class 1" and so on for a file of the book's code."""
    configuration = read_configuration(path)
    if "class_names" not in configuration:
        numbers = range(1, configuration["n_classes"])
        return named(["background", *(f"class {number}" for number in numbers)])
    try:
        colours = tuple(tuple(colour) for colour in configuration["class_colours"])
        return Classes(tuple(configuration["class_names"]), colours)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} has broken class names; fetch the file again.") from error


def _count_classes(path: Path) -> int | None:
    """The number of biases of the layer `pre_activation`, or None."""
    biases = []

    def visit(name: str, item: h5py.Group | h5py.Dataset) -> None:
        # Keras 2 has the layer's name in the path, Keras 3 in an attribute of the group.
        if isinstance(item, h5py.Dataset) and item.ndim == 1:
            if "pre_activation" in name or item.parent.attrs.get("name") == "pre_activation":
                biases.append(item.shape[0])

    with _open(path) as file:
        file.visititems(visit)
    return biases[0] if biases else None


def load_weights(model: keras.Model, path: Path) -> None:
    """Read weights into `model`: today's files by layer, files of the book's code by order.

    The optimizer of a compiled model is left as it is.

    Raises:
        UserError: the file does not fit the network.
    """
    with _open(path) as file:
        written_by_keras_2 = "layer_names" in file.attrs or "model_weights" in file
    suffix = ".h5" if written_by_keras_2 else ".weights.h5"
    view = keras.Model(model.inputs, model.outputs)  # without an optimizer, as in `save_weights`
    # Keras tells the two formats by the name alone, and names do not always tell.
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / ("weights" + suffix)
        _link(path.resolve(), link)
        _load(view, link, f"{path} does not fit this network")


def _load(model: keras.Model, path: Path, complaint: str) -> None:
    try:
        with warnings.catch_warnings():
            # Keras only warns of layers that the file lacks, and leaves them untrained.
            warnings.simplefilter("error", UserWarning)
            model.load_weights(path)
    except (ValueError, KeyError, OSError, UserWarning) as error:
        raise UserError(
            f"{complaint}; give the --backbone, --layers, --filters and --channels that it was "
            "trained with."
        ) from error


def _link(path: Path, link: Path) -> None:
    try:
        os.symlink(path, link)
    except OSError:  # Windows without the right to make links
        link.write_bytes(path.read_bytes())


def start_from(model: keras.Model, *paths: Path) -> None:
    """Take from weights files the layers that fit by name and shape; the others begin anew.

    So a network for other classes begins with a backbone that has learnt edges and textures
    already. A wider head takes over what a narrower one computes, and a narrower one what a wider
    was made from, see `widening`. What began anew is printed.

    Several files are averaged; one that is named twice counts twice. Runs that began from one
    another are often on one plain of low loss, whose middle serves unseen pictures better
    (Wortsman et al., "Model soups", 2022); other runs have nothing in common, nor has their mean.

    Raises:
        UserError: not one layer fits, a file is none of Keras 3, or files are of several networks.
    """
    named = ", ".join(map(str, paths))
    files = [_layers_of(path) for path in paths]
    shapes = [{name: [w.shape for w in layer] for name, layer in file.items()} for file in files]
    if any(other != shapes[0] for other in shapes):
        raise UserError(
            f"--start-from {named}: these are weights of different networks, which have no "
            "average; give files of one."
        )
    groups = {
        name: [np.mean(same, axis=0) for same in zip(*(f[name] for f in files), strict=True)]
        for name in files[0]
    }
    stored = head_filters(groups)
    filters = head_filters({layer.name: layer.weights for layer in _layers(model)})
    if stored and filters and filters > stored:
        groups = widen_head(groups, filters)
        print(f"The head of {stored} filters is widened to {filters}.")
    elif stored and filters and filters < stored and (narrowed := narrow_head(groups, filters)):
        groups = narrowed
        print(f"The head of {stored} filters, a widened one, is narrowed to {filters}.")
    fresh, taken = [], 0
    for layer in _layers(model):
        there, here = groups.get(layer.name, []), [weight.shape for weight in layer.weights]
        if here and [weight.shape for weight in there] == here:
            layer.set_weights(there)
            taken += 1
        elif here:
            fresh.append(layer.name)
    if not taken:
        raise UserError(
            f"--start-from {named} fits no layer of this network; give weights that fcn-12.3.1.py "
            "of this project saved, and the --backbone that they were trained with."
        )
    what = "the average of " if len(paths) > 1 else ""
    print(f"{taken} layers start from {what}{named}; anew: {', '.join(fresh) or 'none'}.")


def _layers_of(path: Path) -> dict[str, list[np.ndarray]]:
    """The weights in a file of Keras 3, by the names of their layers."""
    groups: dict[str, list[np.ndarray]] = {}

    def visit(place: str, item: h5py.Group | h5py.Dataset) -> None:
        # Keras 3 keeps a layer's weights by number in a group that has the layer's name.
        if place.startswith("layers/") and "name" in item.attrs and len(item):
            keys = sorted((key for key in item if key.isdecimal()), key=int)
            groups[item.attrs["name"]] = [np.asarray(item[key]) for key in keys]

    with _open(path) as file:
        file.visititems(visit)
    return groups


def _layers(model: keras.Model):
    for layer in model.layers:
        yield from _layers(layer) if isinstance(layer, keras.Model) else [layer]


def epochs_done(checkpoint: Path) -> int:
    """The epochs that the run of a checkpoint has behind it."""
    return len(_read_state(checkpoint)["rows"])


def load_checkpoint(model: keras.Model, path: Path) -> dict:
    """Read weights and optimizer into `model`; return the state of the run.

    Args:
        model: compiled, its optimizer built: Keras skips slots that do not exist yet.
        path: from `save_checkpoint`.

    Raises:
        UserError: there is no checkpoint, or it does not fit the network.
    """
    state = _read_state(path)
    _load(model, path, f"{path} does not fit this network")
    return state


def _read_state(checkpoint: Path) -> dict:
    """The state of the run in a checkpoint: its number, the rows of its history, and its best."""
    state = _attribute(checkpoint, RUN)
    run, rows, best = (state.get(name) for name in ("run", "rows", "best"))
    sound = type(run) is int and isinstance(rows, list) and isinstance(best, list)
    if not sound or len(best) != 2 or not all(isinstance(row, dict) for row in rows):
        raise UserError(
            f"{checkpoint} holds no state of a run to go on with; begin with --restore-weights or "
            "--start-from in place of --resume."
        )
    return state
