"""Weights files and checkpoints: HDF5 with flipped bytes, lies about what is in it, and links."""

import tempfile
from dataclasses import fields
from functools import cache
from pathlib import Path
from random import Random
from unittest.mock import patch

import h5py
import keras
import numpy as np
from conftest import build_toy

import zoo
from attacks.cases import Wrong
from attacks.mutate import mutate_bytes
from engine.records import OPTIONS, PRESETS, Data, Network, Run
from engine.runs import describe_run
from engine.transfer import start_from
from engine.weights import (
    check_numbers,
    load_checkpoint,
    load_weights,
    read_network,
    read_options,
    read_reading,
    save_checkpoint,
)
from utils.classes import named

SIZE = 32, 32
FRESH = 0.25  # what each number is before a file is read
TOY = zoo.Entry(build_toy, "of these tests", 2026, 148)
ROW = {"run": 1, "epoch": 1, "loss": 1.5, "learning_rate": 1e-3, "chapter_miou": 0.25}
ROW |= {"dataset_miou": 0.25, "pixel_accuracy": 0.5, "seconds": 2.0}
STATE = {"run": 1, "rows": [ROW, ROW | {"epoch": 2, "loss": 1.0}], "best": [0.25, 0]}


def toy_in_zoo():
    """A context in which the network "toy" can be chosen."""
    return patch.dict(zoo.MODELS, {"toy": TOY})


def describe() -> dict:
    """The configuration of a run of the toy."""
    network = Network("toy", (*SIZE, 3), named(["background", "thing", "stuff"]), {})
    values = {name: about["default"] for name, about in OPTIONS.items()} | PRESETS["quick"]
    values |= {"dataset": "toys", "preset": "quick", "precision": "float32", "size": SIZE}
    values |= {"epochs": 3, "schedule_epochs": 3, "learning_rate": 1e-3}
    data, run = (
        record(**{f.name: values[f.name] for f in fields(record) if f.name in values})
        for record in (Data, Run)
    )
    return describe_run(network, data, run)


@cache
def model() -> keras.Model:
    """The toy, compiled, with an optimizer that has its slots."""
    network = build_toy((*SIZE, 3), 3)
    network.compile("adam", "mse")
    network.optimizer.build(network.trainable_variables)
    return network


@cache
def places() -> tuple[bytes, list[str | None]]:
    """A checkpoint, and where in it each variable of `everything` is; None: nowhere."""
    random = np.random.default_rng(0)
    for variable in everything():
        if str(variable.dtype).startswith("float") and variable.shape:
            variable.assign(random.uniform(0.5, 1.5, variable.shape))
    with tempfile.TemporaryDirectory() as name, toy_in_zoo():
        path = Path(name) / "a.weights.h5"
        save_checkpoint(model(), path, describe(), STATE)
        with h5py.File(path) as file:
            found: dict[bytes, str] = {}

            def visit(name: str, item: object) -> None:
                if isinstance(item, h5py.Dataset):
                    found[np.asarray(item).tobytes()] = name

            file.visititems(visit)
        values = [keras.ops.convert_to_numpy(variable) for variable in everything()]
        # Numbers alone, as a learning rate, may be like others.
        where = [found.get(value.tobytes()) if value.ndim else None for value in values]
        return path.read_bytes(), where


@cache
def places_2() -> tuple[bytes, list[str | None]]:
    """As `places`, a file as Keras 2 wrote it: weights alone, by the order of layers."""
    variables, where = list(model().weights), []
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "a.h5"
        with h5py.File(path, "w") as file:
            layers = [layer for layer in model().layers if layer.weights]
            file.attrs["layer_names"] = [layer.name for layer in layers]
            file.attrs["backend"], file.attrs["keras_version"] = "tensorflow", "2.4.0"
            for layer in layers:
                group = file.create_group(layer.name)
                names = [f"{layer.name}/{weight.name}:0" for weight in layer.weights]
                group.attrs["weight_names"] = names
                for weight, each in zip(layer.weights, names, strict=True):
                    value = np.random.default_rng(1).uniform(0.5, 1.5, weight.shape)
                    group.create_dataset(each, data=value.astype(np.float32))
                    where.append((weight.path, f"{layer.name}/{each}"))
        found = dict(where)
        return path.read_bytes(), [found[variable.path] for variable in variables]


def prepare() -> None:
    """Make what all cases have in common."""
    places()
    places_2()


def everything() -> list:
    """The variables of the network, then those of its optimizer."""
    return [*model().weights, *model().optimizer.variables]


def attack(random: Random, folder: Path) -> None:
    """Mutate a checkpoint, read it in one of the ways, compare each array with what h5py reads."""
    content, where = places() if random.random() < 0.8 else places_2()
    path = folder / "toy-toys-last.weights.h5"
    kind = random.random()
    if kind < 0.6:
        end = random.choice((100, 2000, 8000, len(content), len(content)))
        content = mutate_bytes(random, content, 0, end)
    path.write_bytes(content)
    if kind >= 0.6:
        with h5py.File(path, "r+") as file:
            random.choice(LIES)(random, file, random.choice([p for p in where if p]))
    with toy_in_zoo():
        judge(path, random.choice((load_weights, load_checkpoint, start_from, read_network)), where)


def judge(path: Path, way, where: list[str | None]) -> None:
    """Read a file in one way, and compare; `where` as of `places`."""
    if way is read_network:
        network = read_network(path)
        read_reading(path)
        read_options(path)
        if network.name == "toy" and network.settings["width"] != 4:  # as which it is known
            network.build()
        return
    variables = everything() if way is load_checkpoint else model().weights
    for variable in variables:
        variable.assign(np.full(variable.shape, FRESH, str(variable.dtype)))
    if way is start_from:
        start_from(model(), "toy", path)
        check_numbers(model(), path)  # as `trainer.bring_weights` does
    else:
        way(model(), path)
    with h5py.File(path) as file:
        for variable, place in zip(variables, where, strict=False):
            value = keras.ops.convert_to_numpy(variable)
            if not np.isfinite(value).all():
                raise Wrong(f"{place} is not finite and is read")
            if place is None or (way is start_from and (value == FRESH).all()):
                continue
            held = np.asarray(file[place])
            if held.shape != value.shape or (held.astype(value.dtype) != value).any():
                raise Wrong(f"{place} is other than what the file holds")


# What a file can say: functions of a random generator, an open file and the place of an array.


def _replace(file: h5py.File, place: str, value: object, **more) -> None:
    del file[place]
    file.create_dataset(place, data=value, **more)


def _no_number(random: Random, file: h5py.File, place: str) -> None:
    value = np.asarray(file[place], np.float32)
    value.flat[random.randrange(value.size)] = random.choice((np.nan, np.inf, -np.inf))
    file[place][...] = value


def _other_type(random: Random, file: h5py.File, place: str) -> None:
    value = np.asarray(file[place])
    kind = random.choice(("S5", "f2", "f8", "i4", "c8", "?", "V4", "u1"))
    with np.errstate(all="ignore"):
        new = np.zeros(value.shape, kind) if kind in ("S5", "V4") else value.astype(kind)
    _replace(file, place, new)


def _text(random: Random, file: h5py.File, place: str) -> None:
    _replace(file, place, ["a"] * random.choice((1, 3)), dtype=h5py.string_dtype())


def _other_shape(random: Random, file: h5py.File, place: str) -> None:
    value = np.asarray(file[place])
    shapes = ((0,), (1,), (1, *value.shape), value.shape[::-1], (value.size,), (3,) * 9, (200_000,))
    _replace(file, place, np.zeros(random.choice(shapes), np.float32))


def _declared(random: Random, file: h5py.File, place: str) -> None:
    """Terabytes, of which nothing is there."""
    del file[place]
    shape = random.choice(((2**40,), (2**20, 2**20), (2**62,), (1000, 1000, 1000, 1000)))
    file.create_dataset(place, shape, "f4", chunks=(64,) * len(shape), fillvalue=1)


def _packed(random: Random, file: h5py.File, place: str) -> None:
    """Much that packs well."""
    _replace(file, place, np.zeros(random.choice((10**5, 2**21)), np.uint8), compression="gzip")


def _link(random: Random, file: h5py.File, place: str) -> None:
    del file[place]
    outside = Path(file.filename).parents[1] / "outside" / "private.json"
    file[place] = random.choice(
        (h5py.SoftLink("/"), h5py.SoftLink("/nowhere"), h5py.ExternalLink(str(outside), "/"))
    )


def _outer_data(random: Random, file: h5py.File, place: str) -> None:
    value = np.asarray(file[place])
    del file[place]
    outside = Path(file.filename).parents[1] / "outside" / "private.json"
    file.create_dataset(place, value.shape, "f4", external=[(str(outside), 0, value.nbytes)])


def _circle(random: Random, file: h5py.File, place: str) -> None:
    group = file[place].parent
    del file[place]
    file[place] = random.choice((group, group.parent, file["/"]))


def _group(random: Random, file: h5py.File, place: str) -> None:
    del file[place]
    file.create_group(place + "/vars" if random.random() < 0.5 else place)


def _gone(random: Random, file: h5py.File, place: str) -> None:
    del file[random.choice((place, place.rpartition("/")[0], place.partition("/")[0]))]


def _more(random: Random, file: h5py.File, place: str) -> None:
    name = random.choice(("7", "²", "x", "9" * 5000, "layers", "vars"))
    parent = file[random.choice(("/", place.rpartition("/")[0]))]
    if name in parent:
        name = "more"
    parent.create_dataset(name, data=np.zeros(random.choice((1, 10**6)), np.float32))


def _attribute(random: Random, file: h5py.File, place: str) -> None:
    item = file[random.choice(("/", place.rpartition("/")[0], place))]
    name = random.choice(("configuration", "run", "name", "dtype", "layer_names", "keras_version"))
    values = (b"\xff", "bfloat16", 3, np.arange(5), np.zeros(0), h5py.Empty("f4"), "[" * 60_000)
    item.attrs[name] = random.choice((*values, "{", '{"a": ' + "9" * 5000 + "}", "null"))


LIES = (_no_number, _other_type, _text, _other_shape, _declared, _packed, _link, _outer_data)
LIES += (_circle, _group, _gone, _more, _attribute)
