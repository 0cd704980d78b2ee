"""From the command line to the records of a run: what was asked, remembered, or is the default."""

import argparse
from collections.abc import Mapping
from pathlib import Path

import keras

import fast
import zoo
from engine.records import OPTIONS, PRESETS, RATES, SETTINGS, Data, Network, Run, options
from engine.runs import RunFiles
from engine.weights import find_weights, read_configuration, read_network, read_options, read_run
from fast.devices import fast_precision, gpu_name
from utils.errors import UserError
from utils.files import OUTSIDE, portable


def settle(args: argparse.Namespace) -> tuple[Network, Data, Run]:
    """Decide what the command line left open; set Keras' precision and the seed.

    A value comes from the command line, else from the weights that are restored or the run that is
    resumed, else from the preset and the defaults.

    Args:
        args: from `arguments.parse_arguments`.

    Returns:
        The records of the run. The network's classes are those of the weights that are restored,
        else None.

    Raises:
        UserError: weights or the run to resume are missing, a name is unknown, or what is asked
            contradicts what is remembered.
    """
    said = {name: value for name, value in vars(args).items() if value not in (None, "auto")}
    values = dict(said)
    save_dir = said.get("save_dir", OPTIONS["save_dir"]["default"])

    def fill(more: Mapping) -> None:
        """Set what is still open."""
        values.update({name: value for name, value in more.items() if name not in values})

    origin = None  # the file that has the network
    for name in ("restore_weights", "start_from"):
        if name in said:
            values[name] = find_weights(said[name], save_dir)
    if "restore_weights" in values:
        origin = values["restore_weights"]
        remembered = read_options(origin)
        network = read_network(origin)
        if not values["train"] and remembered:
            fill({"height": network.size[0], "width": network.size[1]})
        fill({name: remembered[name] for name in _of_network(remembered)})
        values["grow"] = False  # restored weights have been small already
    fill({"data_path": OPTIONS["data_path"]["default"]})
    fill({"dataset": values["data_path"].resolve().name})
    if values["resume"]:
        asked = {name: said[name] for name in SETTINGS if name in said}
        model = zoo.files(said.get("model", OPTIONS["model"]["default"]), asked)
        origin = RunFiles(save_dir, model, values["dataset"]).last
        remembered = read_run(origin)
        check_fixed(said, remembered)
        fill({name: v for name, v in remembered.items() if name in OPTIONS and _is_kept(name)})
        fill({"schedule_epochs": remembered["schedule_epochs"]})
        fill({name: remembered[name] for name in _of_network(remembered)})

    preset = choose_preset(values, gpu_name())
    fill(PRESETS[values["preset"]])
    fill({name: about["default"] for name, about in OPTIONS.items()})
    fill({"schedule_epochs": values["epochs"], "size": (values["height"], values["width"])})
    if values["learning_rate"] is None:
        values["learning_rate"] = RATES[values["optimizer"]]
    fast.turn(not values["plain"])
    if values["precision"] == "auto":
        values["precision"] = fast_precision()
    if values["image_file"]:
        values["image_file"] = tuple(values["image_file"])

    network = describe_network(values, said, origin)
    data = Data(**{name: values[name] for name in options(Data)})
    run = {name: values[name] for name in options(Run)}
    run = Run(**run, size=values["size"], schedule_epochs=values["schedule_epochs"])
    if run.train and run.verbose:
        size = "{}x{}".format(*run.size)
        print(f"{preset}: {size}, batch {data.batch_size}, {run.precision}")
    if run.train or run.evaluate:
        mixed = "" if run.precision == "float32" else "mixed_"
        keras.config.set_dtype_policy(mixed + run.precision)
    keras.utils.set_random_seed(run.seed)
    return network, data, run


def _of_network(remembered: Mapping) -> list[str]:
    """The remembered options of the network; its own settings are in its file."""
    return [n for n in ("model", "height", "width", "channels") if n in remembered]


def _is_kept(name: str) -> bool:
    return OPTIONS[name]["kept"] and name not in SETTINGS


def choose_preset(values: dict, gpu: str | None) -> str:
    """Choose the preset that `values` leave open; return which was taken, and why.

    Args:
        values: what is known by then; changed in place.
        gpu: name of the GPU, or None.
    """
    reason = "as asked"
    if "preset" not in values:
        # What is only looked at is the book's network, whatever the machine.
        book = gpu or not values["train"]
        values["preset"] = "book" if book else "quick"
        reason = f"there is a GPU, {gpu}" if gpu else "no GPU is visible"
    return f"preset {values['preset']} ({reason})"


def describe_network(values: Mapping, said: Mapping, origin: Path | None) -> Network:
    """The network that is asked for, or that a file holds.

    Args:
        values: all that is decided.
        said: what the command line says.
        origin: the weights to restore or the checkpoint to resume, or None.

    Raises:
        UserError: there is no such network, it has no such setting, or the file holds another.
    """
    name, settings, classes = values["model"], {}, None
    if origin:
        held = read_network(origin)
        settings, classes = dict(held.settings), held.classes
        described = bool(read_configuration(origin))  # a file of the book's code tells nothing
        own = {"model": held.name, "channels": held.input_shape[2], **settings}
        for option, value in own.items():
            if described and said.get(option, value) != value:
                raise UserError(
                    f"{origin} holds a network with --{option} {value}, not {said[option]}; leave "
                    f"out --{option}, or train another network."
                )
    elif name in zoo.MODELS:
        # A preset may set what this network does not have; who asks for it is told so.
        settings = {n: values[n] for n in SETTINGS if n in zoo.defaults(name) and values[n]}
    settings |= {option: said[option] for option in SETTINGS if option in said}
    input_shape = (values["height"], values["width"], values["channels"])
    return Network(name, input_shape, classes, settings)


def check_fixed(said: Mapping, remembered: Mapping) -> None:
    """Refuse to resume a run as another run than it began.

    Raises:
        UserError: the command line asks for another value of an option that is fixed, a value that
            the run had is no longer there, or the place of labels outside the project is not known.
    """
    for name, about in OPTIONS.items():
        then, option = remembered.get(name), "--" + name.replace("_", "-")
        if name in said and about["fixed"] and name in remembered and portable(said[name]) != then:
            raise UserError(
                f"--resume goes on as the run began, with {option} {then}, not {said[name]}; leave "
                f"out {option}, or start a new run."
            )
        choices = about["parser"].get("choices")
        if about["kept"] and name in remembered and choices and then not in choices:
            raise UserError(
                f"--resume: the run had {option} {then}, which is no longer there; begin a new run "
                "with --restore-weights at its best weights."
            )
    for name in ("train_labels", "test_labels"):
        then, option = remembered.get(name), "--" + name.replace("_", "-")
        if name not in said and isinstance(then, str) and then.startswith(OUTSIDE):
            raise UserError(
                f"--resume: {option} was {then}, a file outside the project, whose place is not "
                f"kept; give {option} again."
            )
