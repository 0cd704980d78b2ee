"""What a run remembers: the configuration and the state in its checkpoint, and its history."""

import csv
import io
import json
from functools import cache
from pathlib import Path, PurePosixPath, PureWindowsPath
from random import Random

import h5py

from attacks import weights
from attacks.cases import Wrong
from attacks.mutate import mutate_json, mutate_text, to_text
from engine.arguments import parse_arguments
from engine.growth import stages
from engine.records import OPTIONS, Data, Network, Run
from engine.runs import Ledger, run_files
from engine.settings import settle
from engine.weights import read_reading
from utils.files import PROJECT
from utils.history import COLUMNS

# As files of earlier commits describe themselves, see `engine/legacy.py`.
OLD = {
    "n_classes": 3,
    "class_names": ["background", "thing", "stuff"],
    "class_colours": [[0, 0, 0], [128, 0, 0], [0, 128, 0]],
    "arguments": {"backbone": "resnet20v2", "layers": 2, "filters": 8, "height": 64, "width": 96}
    | {"channels": 3, "whole_size": [128, 192], "epochs": 9, "augment": True, "close_ups": 0.2}
    | {"dataset": "toys", "mirror": False, "restore_weights": None},
}
EARLIER = {name: 0.5 for name in COLUMNS} | {"run": 0, "epoch": 1}


@cache
def parts() -> tuple[dict, dict]:
    """The configuration, and the state of a run."""
    with weights.toy_in_zoo():
        return json.loads(json.dumps(weights.describe(), default=str)), weights.STATE


def prepare() -> None:
    """Make what all cases have in common."""
    weights.prepare()
    parts()


def arguments(way: str, folder: Path) -> list[str]:
    """A command that goes on with the run, or takes its weights."""
    path = str(folder / "toy-toys-last.weights.h5")
    return {
        "resume": ["--train", "--resume", "--model", "toy", "--dataset", "toys"],
        "restore": ["--train", "--restore-weights", path],
        "evaluate": ["--evaluate", "--restore-weights", path],
        "start": ["--train", "--model", "toy", "--start-from", path],
    }[way] + ["--save-dir", str(folder)]


def attack(random: Random, folder: Path) -> None:
    """Mutate what a run remembers, ask for it in one of the ways, compare."""
    configuration, state = parts()
    texts = {"configuration": json.dumps(configuration), "run": json.dumps(state)}
    history = _history([EARLIER, *state["rows"]])
    part = random.choice(
        ("configuration", "configuration", "configuration", "run", "history", "old")
    )
    if part == "old":
        texts["configuration"] = to_text(mutate_json(random, OLD, 0.6))
    elif part == "history":
        history = mutate_text(random, history)
    elif random.random() < 0.85:
        texts[part] = to_text(mutate_json(random, json.loads(texts[part]), 0.6))
    else:
        texts[part] = mutate_text(random, texts[part])
    texts = {name: text.replace("\0", "") for name, text in texts.items()}  # no text of HDF5's
    path = folder / "toy-toys-last.weights.h5"
    path.write_bytes(weights.places()[0])
    with h5py.File(path, "r+") as file:
        for name, text in texts.items():
            file.attrs[name] = text
    (folder / "toy-toys-history.csv").write_bytes(history.encode(errors="replace"))
    ways = {"configuration": ("resume", "resume", "restore", "evaluate", "start")}
    ways["old"] = ("restore", "evaluate", "start")
    way = random.choice(ways.get(part, ("resume",)))
    judge(folder, way, texts)


def _history(rows: list[dict]) -> str:
    lines = [",".join(COLUMNS), *(",".join(str(row[c]) for c in COLUMNS) for row in rows)]
    return "\n".join(lines) + "\n"


def judge(folder: Path, way: str, texts: dict[str, str]) -> None:
    """Settle the records of a command and compare them with what the run had."""
    with weights.toy_in_zoo():
        network, data, run = settle(parse_arguments(arguments(way, folder)))
        read_reading(folder / "toy-toys-last.weights.h5")
        _check_types(network, data, run)
        _check_inside(data)
        if way == "start":
            return
        configuration = json.loads(texts["configuration"])
        if "n_classes" in configuration:
            _check_old(network, configuration)
        elif configuration:
            _check_network(network, configuration["network"], way)
        if way == "resume":
            _check_kept(data, run, configuration)
            before = _rows(folder)
            Ledger(run_files(network, data, run), network, parts()[0]).recall()
            stages(run.size, run.epochs, run.schedule_epochs, run.grow)
            _check_history(folder, before, json.loads(texts["run"]))


def _check_types(network: Network, data: Data, run: Run) -> None:
    """Each value is one that the option can have on the command line."""
    for name, about in OPTIONS.items():
        record = data if name in Data.__dataclass_fields__ else run
        value = getattr(record, name, None)
        choices, kind = about["parser"].get("choices"), about["parser"].get("type")
        if value is None or name not in record.__dataclass_fields__:
            continue
        if choices and value not in choices:
            raise Wrong(f"{name} is {value!r}")
        if about["parser"].get("action"):
            sound = isinstance(value, bool)
        elif kind is None:
            sound = isinstance(value, str | Path)
        elif isinstance(value, Path | tuple):
            sound = True
        else:
            sound = kind(str(value)) == value
        if not sound:
            raise Wrong(f"{name} is {value!r}")


def _check_inside(data: Data) -> None:
    path = data.data_path
    if not path.is_relative_to(PROJECT) or ".." in path.parts:
        raise Wrong(f"the data folder is {path}")
    for name in (data.train_labels, data.test_labels):
        away = PurePosixPath(name).is_absolute() or PureWindowsPath(name).anchor
        if away or ".." in PureWindowsPath(name).parts:
            raise Wrong(f"labels are {name}")


def _check_network(network: Network, content: dict, way: str) -> None:
    if network.name != content["name"] or dict(network.settings) != _tuples(content["settings"]):
        if content["settings"]:  # what is left out has its default
            raise Wrong(f"the network is {network}, not {content}")
    if way == "evaluate" and list(network.input_shape) != content["input_shape"]:
        raise Wrong(f"the network is for {network.input_shape}, not {content['input_shape']}")


def _check_old(network: Network, content: dict) -> None:
    if len(network.classes) != content["n_classes"]:
        raise Wrong(f"the network has {len(network.classes)} classes, not {content['n_classes']}")
    for name in ("backbone", "layers", "filters"):
        held = content.get("arguments", {}).get(name)
        if held is not None and network.settings[name] != held:
            raise Wrong(f"{name} is {network.settings[name]!r}, not {held!r}")


def _tuples(settings: dict) -> dict:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}


def _check_kept(data: Data, run: Run, configuration: dict) -> None:
    """What a resumed run keeps is what stands in its configuration."""
    held = {**configuration["data"], **configuration["run"]}
    for name, about in OPTIONS.items():
        record = data if name in Data.__dataclass_fields__ else run
        if not about["kept"] or name not in held or name not in record.__dataclass_fields__:
            continue
        value, then = getattr(record, name), held[name]
        then = tuple(then) if isinstance(then, list) else then
        if then is not None and value != then:
            raise Wrong(f"{name} is {value!r}, but was {then!r}")


def _rows(folder: Path) -> list[dict]:
    text = (folder / "toy-toys-history.csv").read_bytes().decode(errors="replace")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def _check_history(folder: Path, before: list[dict], state: dict) -> None:
    """The rows of other runs are there as before, those of this one as its state has them."""
    numbers = [[float(row[name]) for name in COLUMNS] for row in before]
    others = [row for row in numbers if row[0] != state["run"]]
    ours = [[float(row[name]) for name in COLUMNS] for row in state["rows"]]
    found = [[float(row[name]) for name in COLUMNS] for row in _rows(folder)]
    if str(found) != str(others + ours):
        raise Wrong(f"the history is {found}, not {others + ours}")
