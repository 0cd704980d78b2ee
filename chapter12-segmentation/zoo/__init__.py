"""The networks by their names: a row each, and what can be set in it.

A row is added as `CONTRIBUTING.md` says. The engine and the tools find everything that they need to
know of a network here, and know none by name.
"""

import difflib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import keras

from utils.errors import UserError
from zoo.chapter import build_chapter, chapter_files, check_chapter

CLASSIFIER = "pre_activation"  # the layer that tells the classes apart, in every network


@dataclass(frozen=True)
class Entry:
    """A network that can be chosen by name.

    Attributes:
        builder: `build_x(input_shape, n_classes, *, ...) -> keras.Model`, uncompiled; its keywords
            are what can be set.
        paper: author and title.
        year: of the paper.
        parameters: of the network for 4 classes with the settings of this row.
        settings: keywords in which this row differs from the builder's defaults.
        presets: settings that a preset of the command line changes, by its name.
        check: raises `UserError` for settings, all of them, that are out of range.
        files: from all settings to the beginning of the names of a run's files, where that is not
            the name of the row.
    """

    builder: Callable[..., keras.Model]
    paper: str
    year: int
    parameters: int
    settings: Mapping[str, object] = field(default_factory=dict)
    presets: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    check: Callable[..., object] | None = None
    files: Callable[..., str] | None = None


MODELS: dict[str, Entry] = {
    "fcn": Entry(
        builder=build_chapter,
        paper="Atienza, Advanced Deep Learning with TensorFlow 2 and Keras, chapter 12",
        year=2020,
        parameters=11_120_900,
        presets={"quick": {"filters": 64}, "full": {"layers": 4}},
        check=check_chapter,
        files=chapter_files,
    ),
}


def find(name: str) -> Entry:
    """The row of a network.

    Raises:
        UserError: there is none of this name.
    """
    if name in MODELS:
        return MODELS[name]
    near = difflib.get_close_matches(name, MODELS, n=3) or sorted(MODELS)
    raise UserError(f"there is no network {name!r}; choose one with --model: {', '.join(near)}.")


def defaults(name: str) -> dict[str, object]:
    """What can be set in a network, with the values that it has when nothing is said."""
    entry = find(name)
    keywords = inspect.signature(entry.builder).parameters.values()
    return {k.name: k.default for k in keywords if k.kind is k.KEYWORD_ONLY} | dict(entry.settings)


def complete(name: str, settings: Mapping[str, object]) -> dict[str, object]:
    """All settings of a network: those given, and the defaults of the others.

    Raises:
        UserError: there is no such network, it has no such setting, or a value is of another type
            than the default or out of range.
    """
    whole = defaults(name)
    for setting, value in settings.items():
        if setting not in whole:
            known = ", ".join(whole) or "nothing"
            raise UserError(f"the network {name} has no {setting!r}; what can be set is: {known}.")
        if type(value) is not type(whole[setting]):
            raise UserError(
                f"{setting} {value!r} of the network {name} is no {type(whole[setting]).__name__}; "
                f"{whole[setting]!r} is its default."
            )
    whole |= settings
    if find(name).check:
        find(name).check(**whole)
    return whole


def files(name: str, settings: Mapping[str, object]) -> str:
    """What the names of a run's files begin with: the network's name; the book has its own."""
    names = find(name).files
    return names(**complete(name, settings)) if names else name


def build(
    name: str, input_shape: tuple[int, int, int], n_classes: int, settings: Mapping[str, object]
) -> keras.Model:
    """A network by its name, uncompiled; see `Entry.builder`.

    Raises:
        UserError: as `complete`, or a value is out of range.
    """
    return find(name).builder(input_shape, n_classes, **complete(name, settings))
