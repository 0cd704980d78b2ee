"""From the command line to the records of a run: what was asked, remembered, or is the default."""

import argparse
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path, PurePosixPath, PureWindowsPath

import keras

import fast
import zoo
from engine.backends import NAMES, advise, find_packages, has_nvidia, named_backend
from engine.pretrained import find_pretrained
from engine.records import (
    ADVERSARIES,
    FEW,
    OPPONENT_WIDTH,
    OPTIONS,
    PRESETS,
    RATES,
    SETTINGS,
    Data,
    Network,
    Run,
)
from engine.runs import RunFiles
from engine.weights import (
    brief,
    find_weights,
    read_configuration,
    read_network,
    read_options,
    read_run,
)
from fast.devices import fast_precision, gpu_name
from utils.data_parts import Parts, find_parts
from utils.errors import UserError
from utils.files import OUTSIDE, PROJECT, data_folder, is_folder, portable
from utils.label_maps.fresh import ensure_labels
from utils.reading_options import MASK_OPTIONS, READING_OPTIONS, asked_reading

ORIGINS = ("restore_weights", "start_from", "pretrained", "resume")  # of a network's weights
FEW_RATE = 3e-3  # of learning with Muon from those that ship; see "Few photographs" in notes.md


def shipped(folder: Path) -> Path:
    """The weights that ship, in their folder.

    A training there takes their name, and keeps them as those of the sixth run of their history.
    """
    name = "ResNet56v2-3layer-drinks{}-best-iou.weights.h5"
    kept = folder / name.format("-run6")
    return kept if kept.is_file() else folder / name.format("")


SHIPPED = shipped(PROJECT / "weights")


def settle(args: argparse.Namespace) -> tuple[Network, Data, Run]:
    """Decide what the command line left open; set Keras' precision and the seed.

    A value comes from the command line, else from the weights that are restored or the run that is
    resumed, else from the preset and the defaults.

    Args:
        args: from `arguments.parse_arguments`.

    Returns:
        The records of the run. The network's classes are those of the weights that are restored or
        of the run that is resumed, else None.

    Raises:
        UserError: weights or the run to resume are missing, a name is unknown, or what is asked
            contradicts what is remembered.
    """
    automatic = {"preset": "auto", "precision": "auto"}  # as where nothing is said
    said = {n: v for n, v in vars(args).items() if v is not None and automatic.get(n) != v}
    if "data_path" in said and not is_folder(said["data_path"]):
        own = PROJECT / said["data_path"]  # `data_folder` would find it, but not keep where
        said["data_path"] = own if is_folder(own) else said["data_path"]
    if "segment" in said:
        said.setdefault("restore_weights", str(SHIPPED))
    values = dict(said)
    if "segment" in said:  # apart from what --image-file and --plot leave under the same names
        fill(values, {"prediction_dir": Path("segmented")})
    fill(values, {name: OPTIONS[name]["default"] for name in ("save_dir", "model")})
    origin = None  # the file that holds the network
    for name in ("restore_weights", "start_from"):
        if name in said:
            values[name] = find_weights(said[name], values["save_dir"])
    if "pretrained" in said:
        values["pretrained"] = find_pretrained(said["pretrained"])
    if "restore_weights" in said:
        origin = values["restore_weights"]
        fill_restored(values, origin)
    fill(values, {"data_path": OPTIONS["data_path"]["default"]})
    fill(values, {"dataset": values["data_path"].resolve().name})
    if values["resume"]:
        origin = checkpoint_of(values, said)
        fill_resumed(values, said, origin)
    elif not {"image_file", "segment"} & set(said):
        fill_parts(values, said)
    gpu = gpu_name()
    preset = choose_preset(values, gpu)
    if values["preset"] == "few":
        begin_few(values)
    fill(values, PRESETS[values["preset"]])
    fill(values, {name: about["default"] for name, about in OPTIONS.items()})
    fill(values, {"schedule_epochs": values["epochs"]})

    if values["learning_rate"] is None:
        values["learning_rate"] = RATES[values["optimizer"]]
    settle_adversary(values)
    fast.turn(not values["plain"])
    if values["precision"] == "auto":
        values["precision"] = fast_precision()
    for name in ("image_file", "segment"):
        if values[name]:
            values[name] = tuple(values[name])
    values["size"] = values["height"], values["width"]
    network = describe_network(values, said, origin)
    data = Data(**{f.name: values[f.name] for f in fields(Data)})
    run = Run(**{f.name: values[f.name] for f in fields(Run)})

    if run.verbose:
        backend, nvidia = keras.backend.backend(), gpu is None and has_nvidia()
        advice = advise(backend, gpu is not None, nvidia, find_packages(), named_backend())
        if advice:
            print(advice)
    if (run.train or run.summary) and run.verbose:
        size = "{}x{}".format(*run.size)
        print(f"{preset}: {size}, batch {data.batch_size}, {run.precision}, {NAMES[backend]}")
    if run.train or run.evaluate or run.segment:
        mixed = "" if run.precision == "float32" else "mixed_"
        keras.config.set_dtype_policy(mixed + run.precision)
    keras.utils.set_random_seed(run.seed)
    return network, data, run


def settle_adversary(values: dict) -> None:
    """Give an opponent its weight, and its width, as narrow as the network is asked to be.

    Raises:
        UserError: there is none to weigh, or none that learns from pictures without labels.
    """
    kind = values["adversarial"]
    if kind not in ("hung", "souly") and values["unlabelled"]:
        raise UserError(
            f"--unlabelled is nothing to a training with --adversarial {kind}; leave it out, or "
            "give --adversarial hung or souly."
        )
    if kind == "none" and values["adversarial_weight"] is not None:
        raise UserError("--adversarial-weight goes with --adversarial; leave it out.")
    if values["adversarial_weight"] is None:
        values["adversarial_weight"] = ADVERSARIES.get(kind)
    narrow = values.get("narrow") or 1
    fill(values, {"opponent_width": max(1, OPPONENT_WIDTH // narrow)})


def fill(values: dict, more: Mapping) -> None:
    """Set in `values` what is still open there."""
    values.update({name: value for name, value in more.items() if name not in values})


def fill_parts(values: dict, said: Mapping) -> None:
    """Find the labels of each part in the data folder; who says --validation-split wants that.

    Raises:
        UserError: it is not clear which labels are meant.
    """
    folder = data_folder(values["data_path"])
    named = {part: said.get(f"{part}_labels") for part in Parts._fields}
    for part, labels in find_parts(folder, **named)._asdict().items():
        if part != "val" or "validation_split" not in said:
            fill(values, {f"{part}_labels": labels})


def fill_restored(values: dict, weights: Path) -> None:
    """Take the network, its size and the data folder from weights; the rest is their own.

    A folder outside the project is not taken: weights may be a stranger's.
    """
    remembered = read_options(weights)
    folder = remembered.get("data_path")
    if isinstance(folder, str) and not leaves(folder) and is_folder(PROJECT / folder):
        fill(values, {"data_path": PROJECT / folder})
    if remembered and not values["train"]:  # the size at which they were scored
        height, width = read_network(weights).size
        fill(values, {"height": height, "width": width})
    values["model"] = remembered.get("model", values["model"])
    fill(values, {n: remembered[n] for n in ("height", "width", "channels") if n in remembered})
    values["grow"] = False  # restored weights have been small already


def leaves(name: str) -> bool:
    """Whether a path that a file remembers is outside the folder that it is relative to.

    Only the command line leaves the project: files may be a stranger's. By name alone, as links are
    those of the project's owner.
    """
    windows = PureWindowsPath(name)
    return (
        name.startswith(OUTSIDE)
        or PurePosixPath(name).is_absolute()
        or bool(windows.anchor)
        or ".." in windows.parts
    )


def checkpoint_of(values: Mapping, said: Mapping) -> Path:
    """The checkpoint of the run that is resumed, by the settings that are said.

    Names of files tell settings, and those that nobody said its preset has chosen.

    Raises:
        UserError: there are several.
    """
    presets = zoo.find(values["model"]).presets
    chosen = [presets.get(said["preset"], {})] if "preset" in said else [{}, *presets.values()]
    named = {name: said[name] for name in SETTINGS if name in said}
    lasts: dict[Path, Mapping] = {}
    for each in chosen:
        settings = {**each, **named}
        files = zoo.files(values["model"], settings)
        last = RunFiles(values["save_dir"], files, values["dataset"]).last
        lasts.setdefault(last, zoo.complete(values["model"], settings))
    there = {path: settings for path, settings in lasts.items() if path.is_file()}
    if len(there) > 1:
        one, other = list(there.values())[:2]
        option = next(name for name in SETTINGS if one.get(name) != other.get(name))
        raise UserError(
            f"{' and '.join(path.name for path in there)} are checkpoints of two runs; say "
            f"--{option} {one[option]} or --{option} {other[option]}."
        )
    return next(iter(there or lasts))


def fill_resumed(values: dict, said: Mapping, checkpoint: Path) -> None:
    """Take from an interrupted run what the command line leaves open.

    Raises:
        UserError: there is no such run, or it cannot go on as is asked, see `check_fixed`.
    """
    remembered = read_run(checkpoint)
    check_fixed(said, remembered)
    kept = [name for name, about in OPTIONS.items() if about["kept"] and name not in SETTINGS]
    fill(values, {name: remembered[name] for name in kept if name in remembered})
    for name in ("data_path", "unlabelled"):
        if isinstance(remembered.get(name), str) and name not in said:
            values[name] = PROJECT / remembered[name]
    if remembered.get("schedule_epochs"):
        values["schedule_epochs"] = remembered["schedule_epochs"]
    values["opponent_width"] = remembered.get("opponent_width", OPPONENT_WIDTH)


def choose_preset(values: dict, gpu: str | None) -> str:
    """Choose the preset that `values` leave open; return which was taken, and why.

    Args:
        values: what is known by then; changed in place.
        gpu: name of the GPU, or None.
    """
    reason = "as the run began" if values.get("resume") else "as asked"
    if "preset" not in values:
        # A file of the book's code is of the book's network, whatever the machine.
        ours = values["train"] or not (values.get("evaluate") or values.get("segment"))
        values["preset"] = "book" if not ours else "full" if gpu else "quick"
        reason = f"there is a GPU, {gpu}" if gpu else "no GPU is visible"
        if values["preset"] != "book" and may_begin(values):
            count = pictures_of_training(values)
            if count < FEW:
                values["preset"] = "few"
                reason += f"; {count} training pictures, below {FEW}"
    return f"preset {values['preset']} ({reason})"


def may_begin(values: Mapping) -> bool:
    """Whether a training with own pictures leaves open which weights of which network it has."""
    own = "train_labels" in values and values["data_path"] != OPTIONS["data_path"]["default"]
    asked = any(values.get(name) for name in (*ORIGINS, "narrow", *SETTINGS))
    return own and not asked and values["model"] == "fcn"


def pictures_of_training(values: Mapping) -> int:
    """How many pictures are labelled for training; labels are made where there are none.

    Raises:
        UserError: there are none, or they cannot be used.
    """
    folder = data_folder(values["data_path"])
    asked = asked_reading({name: values.get(name) for name in (*READING_OPTIONS, *MASK_OPTIONS)})
    labels = folder / values["train_labels"]
    return len(ensure_labels(labels, values.get("verbose", 1) > 0, folder, asked))


def begin_few(values: dict) -> None:
    """Let a training with few pictures begin with the weights that ship, unless others are asked.

    Raises:
        UserError: the weights are gone, or the network is not theirs.
    """
    if values["model"] != "fcn":
        raise UserError(
            f"--preset few begins with weights of fcn, not of {values['model']}; leave out "
            "--model, or give --preset quick."
        )
    if not any(values.get(name) for name in ORIGINS):
        if not SHIPPED.is_file():
            raise UserError(
                f"--preset few begins with {SHIPPED}, which is not there; take it back with git "
                "checkout, or give --preset quick."
            )
        values["start_from"] = SHIPPED
    if values.get("optimizer", "muon") == "muon":
        fill(values, {"learning_rate": FEW_RATE})


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
    normalisation = said.get("normalisation", "batch")
    if origin:
        held = read_network(origin)
        normalisation = said.get("normalisation", held.normalisation)
        if (normalisation == "group") != (held.normalisation == "group"):
            raise UserError(
                f"{origin} holds a network with --normalisation {held.normalisation}, which does "
                f"not become {normalisation}; leave out --normalisation, or train another network."
            )
        settings, classes = dict(held.settings), held.classes
        described = bool(read_configuration(origin))  # a file of the book's code tells nothing
        name = held.name
        if origin == values["restore_weights"] and zoo.are_variants(name, said.get("model", name)):
            name = said.get("model", name)
            settings |= zoo.differences(held.name, name)
        own = {"model": name, "channels": held.input_shape[2]}
        own |= {option: settings[option] for option in SETTINGS if option in settings}
        for option, value in own.items():
            if (described or option == "model") and said.get(option, value) != value:
                raise UserError(
                    f"{origin} holds a network with --{option} {value}, not {said[option]}; leave "
                    f"out --{option}, or train another network."
                )
    preset = zoo.find(name).presets.get(values["preset"], {})
    if not origin:
        settings = dict(preset)
    for option in SETTINGS:
        if option in said and option not in zoo.defaults(name):
            raise UserError(f"the network {name} has no --{option}; leave it out.")
        if option in said:
            settings[option] = said[option]
    if "narrow" in said:
        if origin:  # of what its run began with
            preset = zoo.find(name).presets.get(read_options(origin).get("preset"), {})
        narrow = zoo.narrowed(name, preset, said["narrow"])
        if origin and not narrow.items() <= settings.items():
            raise UserError(
                f"{origin} holds a network that is not as narrow as --narrow {said['narrow']} "
                "makes it; leave out --narrow, or train another network."
            )
        settings |= narrow
    input_shape = (values["height"], values["width"], values["channels"])
    return Network(name, input_shape, classes, settings, normalisation)


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
                f"--resume goes on as the run began, with {option} {brief(then)}, not "
                f"{said[name]}; leave out {option}, or start a new run."
            )
        choices = about["parser"].get("choices")
        if about["kept"] and name in remembered and choices and then not in choices:
            raise UserError(
                f"--resume: the run had {option} {brief(then)}, which is no longer there; begin a "
                "new run with --restore-weights at its best weights."
            )
    for name in ("data_path", "unlabelled"):
        then, option = remembered.get(name), "--" + name.replace("_", "-")
        if name not in said or name not in remembered:
            continue
        if not then:
            raise UserError(
                f"--resume goes on as the run began, without {option}; leave it out, or start a "
                "new run."
            )
        if portable(said[name].resolve()) != then:
            raise UserError(
                f"--resume goes on with the data of the run, {option} {brief(then)}, not "
                f"{said[name].resolve()}; give that folder, or start a new run."
            )
    for name in ("data_path", "unlabelled", "train_labels", "val_labels", "test_labels", "augment"):
        then, option = remembered.get(name), "--" + name.replace("_", "-")
        if name not in said and isinstance(then, str) and leaves(then):
            raise UserError(
                f"--resume: {option} was {brief(then)}, outside the project, where only the "
                f"command line leads; give {option} again."
            )
