"""Weights files: found by name, written whole, read from today's Keras and from the book's.

A weights file carries its configuration (the records `Network`, `Data` and `Run`, versions) as JSON
in the attribute `configuration` of its HDF5 root, so that a file alone is enough to build its
network and to segment a picture. A checkpoint carries the optimizer too, and the state of the run
in the attribute `run`.
"""

import argparse
import glob
import json
import os
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path

import h5py
import keras

import zoo
from engine.legacy import as_today, unnamed
from engine.records import LEAST_SIDE, OPTIONS, SETTINGS, Network, network_from
from utils.errors import UserError
from utils.files import PROJECT, at_home, replace_whole
from utils.reading import Reading, reading_from

CONFIGURATION = "configuration"
RUN = "run"


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
        + (f"earlier runs left {', '.join(kept)} there; name one, " if kept else "train first, ")
        + "name their folder with --save-dir, or give the path of a .h5 or .weights.h5 file."
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


def open_file(path: Path) -> h5py.File:
    """A weights file, open for reading.

    Raises:
        UserError: it is missing, may not be read, or is damaged.
    """
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
    with open_file(path) as file:
        try:
            value = json.loads(file.attrs.get(name, "{}"))
        except (TypeError, ValueError):
            value = None
    if not isinstance(value, dict):
        raise UserError(f"{path} has a broken {name}; fetch the file again.")
    return value


def read_configuration(path: Path) -> dict:
    """What was written beside the weights, in today's form; {} for a file of the book's code.

    Raises:
        UserError: `path` is no weights file, or its configuration is damaged.
    """
    configuration = _attribute(path, CONFIGURATION)
    try:
        if "n_classes" in configuration:
            configuration = as_today(configuration)
        if configuration:
            network_from(configuration["network"])
            for record in ("data", "run"):
                if not isinstance(configuration[record], dict):
                    raise TypeError(f"{record} is no object")
            reading_from(configuration.get("reading", {}))
            _check_found_out(configuration["run"])
    except (AttributeError, KeyError, TypeError, ValueError, UserError) as error:
        raise UserError(
            f"{path} has a broken {CONFIGURATION} ({error}); fetch the file again."
        ) from error
    return configuration


def _check_found_out(run: dict) -> None:
    """Raise `ValueError` unless what `settings` finds out of a run is sound."""
    size, epochs = run["size"], run["schedule_epochs"]
    sides = [size] if not isinstance(size, list | tuple) else size
    if len(sides) != 2 or not all(type(side) is int and side >= LEAST_SIDE for side in sides):
        raise ValueError(f"size is {size!r}")
    if epochs is not None and not (type(epochs) is int and epochs > 0):
        raise ValueError(f"schedule_epochs is {epochs!r}")


def read_network(path: Path) -> Network:
    """The network of a weights file, at the size at which its weights were scored.

    Of a file of the book's code the number of classes is known alone; the rest is the book's.

    Raises:
        UserError: `path` is no weights file of a network of ours, or its configuration is damaged.
    """
    configuration = read_configuration(path)
    if configuration:
        return network_from(configuration["network"])
    n_classes = _count_classes(path)
    if n_classes is None:
        raise UserError(
            f"{path} holds no weights of the chapter's network (no layer {zoo.CLASSIFIER}); "
            "give a file that fcn-12.3.1.py saved."
        )
    return Network("fcn", (480, 640, 3), unnamed(n_classes), {})


def read_reading(path: Path) -> Reading:
    """How the pictures were read that the weights were trained on.

    Raises:
        UserError: as `read_configuration`.
    """
    return reading_from(read_configuration(path).get("reading", {}))


def read_options(path: Path) -> dict:
    """The options of the run that left a weights file, by name; none for the book's code.

    Height and width are those at which the run ends, `read_network` has those of the file.
    """
    configuration = read_configuration(path)
    if not configuration:
        return {}
    network = network_from(configuration["network"])
    run = configuration["run"]
    height, width = run.get("size") or network.size
    # A builder may give a setting the name of an option that is another thing, such as "width".
    asked = {name: value for name, value in network.settings.items() if name in SETTINGS}
    asked |= {"model": network.name, "height": height, "width": width}
    asked |= {"channels": network.input_shape[2]}
    return {**configuration["data"], **run, **asked}


def read_run(checkpoint: Path) -> dict:
    """The options of the run that left `checkpoint`, those that it keeps checked.

    Raises:
        UserError: there is no checkpoint, or a value in it is none that the option can have.
    """
    if not checkpoint.is_file():
        raise UserError(
            f"--resume finds no {checkpoint}; give the network's options, --dataset and --save-dir "
            "as that run had them, or start it without --resume."
        )
    remembered = read_options(checkpoint)
    for name, about in OPTIONS.items():
        value = remembered.get(name)
        if about["kept"] and value is not None and not _can_be(value, about["parser"]):
            raise UserError(
                f"{checkpoint} has a broken {CONFIGURATION} ({name} is {value!r}); begin with "
                "--restore-weights or --start-from in place of --resume."
            )
    return remembered


def _can_be(value: object, parser: Mapping) -> bool:
    """Whether an option can have this value, of those that are read from text or are yes or no."""
    if parser.get("action"):
        return isinstance(value, bool)
    try:
        return parser.get("type", str)(str(value)) == value
    except (argparse.ArgumentTypeError, ValueError):
        return False


def _count_classes(path: Path) -> int | None:
    """The number of biases of the layer that tells the classes apart, or None."""
    biases = []

    def visit(name: str, item: h5py.Group | h5py.Dataset) -> None:
        # Keras 2 has the layer's name in the path, Keras 3 in an attribute of the group.
        if isinstance(item, h5py.Dataset) and item.ndim == 1:
            if zoo.CLASSIFIER in name or item.parent.attrs.get("name") == zoo.CLASSIFIER:
                biases.append(item.shape[0])

    with open_file(path) as file:
        file.visititems(visit)
    return biases[0] if biases else None


def load_weights(model: keras.Model, path: Path) -> None:
    """Read weights into `model`: today's files by layer, files of the book's code by order.

    The optimizer of a compiled model is left as it is.

    Raises:
        UserError: the file does not fit the network.
    """
    with open_file(path) as file:
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
            f"{complaint}; leave out the options of the network, which the file knows, or give "
            "those that it was trained with."
        ) from error


def _link(path: Path, link: Path) -> None:
    try:
        os.symlink(path, link)
    except OSError:  # Windows without the right to make links
        link.write_bytes(path.read_bytes())


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
