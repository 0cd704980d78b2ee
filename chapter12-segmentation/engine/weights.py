"""Weights files: found by name, written whole, read from today's Keras and from the book's.

A weights file carries its configuration (the records `Network`, `Data` and `Run`, versions) as JSON
in the attribute `configuration` of its HDF5 root, so that a file alone is enough to build its
network and to segment a picture. A checkpoint carries the optimizer too, and the state of the run
in the attribute `run`.
"""

import argparse
import errno
import glob
import json
import math
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import h5py
import keras
import numpy as np

import zoo
from engine.distribution import undivided
from engine.heaps import check_heaps
from engine.legacy import as_today, unnamed
from engine.records import (
    LARGEST,
    LEAST_SIDE,
    OPPONENT_WIDTH,
    OPTIONS,
    SETTINGS,
    Network,
    network_from,
)
from utils.errors import UserError
from utils.files import PROJECT, at_home, is_inside, replace_whole
from utils.history import COLUMNS
from utils.pictures import list_pictures, picture_size
from utils.reading import Reading, reading_from
from zoo.chapter import STEP, parse_backbone

CONFIGURATION = "configuration"
RUN = "run"
# Where a checkpoint of `engine.adversarial` holds what is no part of a segmenter.
OPPONENT = ("/opponent/", "/optimizer/opponent/")
MOST_SHOWN = 200  # characters of a value that a file holds
LONGEST_ATTRIBUTE = 2**20  # bytes, texts of any length aside; HDF5 itself knows 64 KB as a rule
DEFLATE = 1032  # times smaller than what it holds is the smallest that DEFLATE can be
# What HDF5 and h5py raise on reading a damaged file.
DAMAGED = (OSError, RuntimeError, KeyError, TypeError, ValueError)


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
    texts = {name: to_json(value) for name, value in attributes.items()}
    with replace_whole(path) as unfinished:
        # On a full disk HDF5 prints a traceback for each of its objects: first see to the room.
        _reserve(unfinished, _room(model, texts))
        with undivided():  # Keras looks for what to save in an optimizer that it makes
            model.save_weights(unfinished, overwrite=True)
        with h5py.File(unfinished, "a") as file:
            file.attrs.update(texts)


def _reserve(path: Path, size: int) -> None:
    """Let a file have so many bytes, or raise `OSError`; without writing them where it can be."""
    with open(path, "wb") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except (AttributeError, OSError) as error:  # macOS has none, nor some file systems
            if getattr(error, "errno", None) not in (None, errno.EINVAL, errno.EOPNOTSUPP):
                raise
            file.write(bytes(size))


def _room(model: keras.Model, texts: Mapping[str, str]) -> int:
    """Bytes that a file of weights, optimizer and texts takes at most."""
    optimizer = getattr(model, "optimizer", None)  # of a compiled one
    variables = model.variables + (optimizer.variables if optimizer else [])
    numbers = sum(math.prod(variable.shape) for variable in variables)
    # In HDF5 a group, of which each variable may have three, takes about a KB.
    return 4 * numbers + 4096 * (len(variables) + 4) + sum(map(len, texts.values()))


def open_file(path: Path) -> h5py.File:
    """A weights file, open for reading; it holds groups and arrays of numbers, see `arrays_of`.

    Raises:
        UserError: it is missing, may not be read, is damaged, or holds anything else.
    """
    file = _open(path)
    _largest(path, file)
    return file


def _largest(path: Path, file: h5py.File, without: tuple[str, ...] = ()) -> int:
    """The numbers in the largest array of a file; closes it and raises if it is not sound.

    Args:
        path: of the file.
        file: open.
        without: how the places of arrays begin that are passed over.
    """
    try:
        sizes = (array.size for array in arrays_of(file) if not array.name.startswith(without))
        return max(sizes, default=0)
    except DAMAGED as error:
        file.close()
        reason = str(error).splitlines()[0] if isinstance(error, ValueError) else "it is damaged"
        raise UserError(
            f"{path} is no sound weights file ({reason}); train again or fetch the file again."
        ) from error


def _open(path: Path) -> h5py.File:
    """The file for those who read its attributes alone; its arrays are not looked at."""
    try:
        check_heaps(path)
        return h5py.File(path, "r")
    except (FileNotFoundError, PermissionError) as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror or 'missing'}); give another file."
        ) from error
    except DAMAGED as error:
        raise UserError(
            f"{path} is not a whole HDF5 weights file; train again or fetch the file again."
        ) from error


def arrays_of(file: h5py.File) -> Iterator[h5py.Dataset]:
    """The arrays of a weights file, by a walk that neither leaves the file nor goes in a circle.

    Raises:
        ValueError: there is a link, which may lead into another file, data kept elsewhere, what is
            no number, or more declared than is there.
        OSError, RuntimeError, KeyError, TypeError: the file is damaged.
    """
    seen, groups = set(), [file]
    while groups:
        group = groups.pop()
        _attributes_of(group)  # which raises
        for name in group:
            link = group.get(name, getlink=True)
            item = group[name] if isinstance(link, h5py.HardLink) else None
            place = h5py.h5o.get_info(item.id).addr if item is not None else None
            if place is None or place in seen:
                raise ValueError(f"{name!r} is a link")
            seen.add(place)
            if isinstance(item, h5py.Group):
                groups.append(item)
            elif not isinstance(item, h5py.Dataset) or item.external or item.is_virtual:
                raise ValueError(f"{name!r} holds nothing")
            elif item.dtype.kind not in "biuf" and item.attrs.get("dtype") != "bfloat16":
                raise ValueError(f"{name!r} holds {item.dtype}, no numbers")
            elif item.nbytes > DEFLATE * item.id.get_storage_size():
                raise ValueError(f"{name!r} declares {item.nbytes} bytes, which are not there")
            else:
                yield item


def _attributes_of(group: h5py.Group) -> dict:
    """The attributes of a group: text and numbers; errors as `arrays_of`."""
    for name in group.attrs:
        if not isinstance(name, str):
            raise ValueError(f"the name of the attribute {name!r} is no text")
        attribute = h5py.h5a.open(group.id, name.encode())
        # Not `get_storage_size`, which h5py takes for an error where an attribute is empty.
        number = attribute.get_space().get_simple_extent_npoints()
        if number * attribute.get_type().get_size() > LONGEST_ATTRIBUTE:
            raise ValueError(f"the attribute {name!r} declares what is not there")
        kind = attribute.get_type().get_class()
        # On sequences whose length is damaged, h5py 3.14 ends the process.
        if kind not in (h5py.h5t.STRING, h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.ENUM):
            raise ValueError(f"the attribute {name!r} is neither text nor numbers")
    return dict(group.attrs)


def _attribute(path: Path, name: str) -> dict:
    with _open(path) as file:
        try:
            value = json.loads(_attributes_of(file).get(name, "{}"))
        except DAMAGED:  # of which RecursionError is one
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
    except (*DAMAGED, AttributeError, OverflowError, UserError) as error:
        raise UserError(
            f"{path} has a broken {CONFIGURATION} ({brief(error)}); fetch the file again."
        ) from error
    return configuration


def brief(value: object) -> str:
    """The text of a value from a file, which may be a stranger's: of any length, or unprintable."""
    text = " ".join(str(value).encode(errors="backslashreplace").decode().split())
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}... ({len(text)} characters)"


def _check_found_out(run: dict) -> None:
    """Raise `ValueError` unless what `settings` finds out of a run is sound."""
    size, epochs = run["size"], run["schedule_epochs"]
    sides = [size] if not isinstance(size, list | tuple) else size
    if len(sides) != 2 or not all(
        type(side) is int and LEAST_SIDE <= side <= LARGEST for side in sides
    ):
        raise ValueError(f"size is {size!r}")
    if epochs is not None and not (type(epochs) is int and 0 < epochs <= LARGEST):
        raise ValueError(f"schedule_epochs is {epochs!r}")
    width = run.get("opponent_width", OPPONENT_WIDTH)  # earlier runs have it not
    if not (type(width) is int and 0 < width <= OPPONENT_WIDTH):
        raise ValueError(f"opponent_width is {width!r}")


def read_network(path: Path) -> Network:
    """The network of a weights file, at the size at which its weights were scored.

    Of a file of the book's code the number of classes is known alone; the rest is the book's.

    Raises:
        UserError: `path` is no weights file of a network of ours, or its configuration is damaged.
    """
    configuration = read_configuration(path)
    if configuration:
        network = network_from(configuration["network"])
        _check_depth(network, path)
        return network
    n_classes = _count_classes(path)
    if n_classes is None:
        raise UserError(
            f"{path} holds no weights of the chapter's network (no layer {zoo.CLASSIFIER}); "
            "give a file that fcn-12.3.1.py saved."
        )
    return Network("fcn", (480, 640, 3), unnamed(n_classes), {})


def _check_depth(network: Network, path: Path) -> None:
    """Raise `UserError` if a file has fewer arrays than its network would have convolutions.

    Such a network is not to be built: that of the greatest depth takes half a minute.
    """
    if "backbone" not in network.settings:
        return
    backbone = parse_backbone(network.settings["backbone"])
    with open_file(path) as file:
        if sum(1 for _ in arrays_of(file)) < STEP[backbone["version"]] * backbone["n"]:
            raise UserError(
                f"{path} holds fewer arrays than {network.settings['backbone']!r}, as which it "
                "describes itself, has layers; fetch the file again."
            )


def read_reading(path: Path) -> Reading:
    """How the pictures were read that the weights were trained on.

    Raises:
        UserError: as `read_configuration`.
    """
    return reading_from(read_configuration(path).get("reading", {}))


def read_pixels(path: Path) -> int | None:
    """How many pixels the pictures had that weights were trained on; None where it is not known.

    Those of an earlier commit do not tell: then it is that of the pictures in their data folder,
    where that is in the project.

    Raises:
        UserError: as `read_configuration`.
    """
    pixels = read_configuration(path).get("pixels")
    if isinstance(pixels, int) and not isinstance(pixels, bool) and pixels > 0:
        return pixels
    folder = read_options(path).get("data_path")
    if not isinstance(folder, str) or not is_inside(PROJECT / folder, PROJECT):
        return None
    with suppress(UserError):
        return math.prod(picture_size(list_pictures([PROJECT / folder])[0]))
    return None


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
    asked |= {"channels": network.input_shape[2], "normalisation": network.normalisation}
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
        if not about["kept"] or name not in remembered:
            continue
        if not (_may_be_open(about) if value is None else _can_be(value, about["parser"])):
            raise UserError(
                f"{checkpoint} has a broken {CONFIGURATION} ({name} is {brief(repr(value))}); "
                "begin with --restore-weights or --start-from in place of --resume."
            )
    return remembered


def _may_be_open(about: Mapping) -> bool:
    """Whether a run can have had no value of an option."""
    return about["default"] is None and None in (about["presets"] or (None,))


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
        try:
            file.visititems(visit)
        except DAMAGED as error:
            raise UserError(f"{path} is damaged; fetch the file again.") from error
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
    check_numbers(model, path)


def _load(model: keras.Model, path: Path, complaint: str) -> None:
    cure = (
        "leave out the options of the network, which the file knows, or give those that it was "
        "trained with."
    )
    with _open(path) as file:
        largest = _largest(path, file, () if hasattr(model, "opponent") else OPPONENT)
    # Keras reads an array before it looks at its shape.
    if largest > max(math.prod(weight.shape) for weight in model.weights):
        raise UserError(f"{complaint}; {cure}")
    try:
        with warnings.catch_warnings():
            # Keras only warns of layers that the file lacks, and leaves them untrained.
            warnings.simplefilter("error", UserWarning)
            model.load_weights(path)
    except (*DAMAGED, AttributeError, UserWarning) as error:
        raise UserError(f"{complaint}; {cure}") from error


def check_numbers(model: keras.Model, path: Path) -> None:
    """Refuse weights that predict nothing, as they are left by a training that went astray.

    Raises:
        UserError: a weight of `model`, which come from `path`, is infinite or not a number.
    """
    _check_finite(model.weights, path, "weights that")


def _check_finite(variables: list[keras.Variable], path: Path, what: str) -> None:
    for variable in variables:
        if not np.isfinite(keras.ops.convert_to_numpy(variable)).all():
            raise UserError(
                f"{path} holds {what} are infinite or not a number, in {variable.path}; give "
                "others, as those of an earlier run."
            )


def _link(path: Path, link: Path) -> None:
    try:
        os.symlink(path, link)
    except OSError:  # Windows without the right to make links
        link.write_bytes(path.read_bytes())


def epochs_done(checkpoint: Path) -> int:
    """The epochs that the run of a checkpoint has behind it."""
    return len(read_state(checkpoint)["rows"])


def load_checkpoint(model: keras.Model, path: Path) -> dict:
    """Read weights and optimizer into `model`; return the state of the run.

    Args:
        model: compiled, its optimizer built: Keras skips slots that do not exist yet.
        path: from `save_checkpoint`.

    Raises:
        UserError: there is no checkpoint, it does not fit the network, or holds what is no number.
    """
    state = read_state(path)
    _load(model, path, f"{path} does not fit this network")
    check_numbers(model, path)
    _check_finite(model.optimizer.variables, path, "an optimizer whose numbers")
    return state


def read_state(checkpoint: Path) -> dict:
    """The state of the run in a checkpoint: its number, the rows of its history, and its best."""
    state = _attribute(checkpoint, RUN)
    run, rows, best = (state.get(name) for name in ("run", "rows", "best"))
    sound = type(run) is int and isinstance(rows, list) and isinstance(best, list)
    sound = sound and len(best) == 2 and _is_number(best[0]) and type(best[1]) is int
    if not sound or not all(_is_row(row, run, epoch) for epoch, row in enumerate(rows, 1)):
        raise UserError(
            f"{checkpoint} holds no state of a run to go on with; begin with --restore-weights or "
            "--start-from in place of --resume."
        )
    return state


def _is_row(row: object, run: int, epoch: int) -> bool:
    """Whether this is the row of a history that an epoch of a run has left."""
    if not isinstance(row, dict) or set(row) != set(COLUMNS):
        return False
    return row["run"] == run and row["epoch"] == epoch and all(map(_is_number, row.values()))


def _is_number(value: object) -> bool:
    return type(value) is float or (type(value) is int and abs(value) <= LARGEST)
