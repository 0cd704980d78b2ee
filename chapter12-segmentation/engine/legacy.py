"""What weights files of earlier commits say of themselves, in today's form.

They have the options of the run in one dictionary, `arguments`. Height and width are those at which
the weights were scored, `whole_size` those at which the run was to end, where these differ.
"""

from utils.classes import MOST_CLASSES, Classes, as_content, named

# What is not kept: what to do besides training, and options that are gone.
GONE = ("mirror", "image_file", "restore_weights", "start_from")
AUGMENT = {(False, 0.0): "none", (True, 0.0): "mild", (True, 0.2): "close"}


def as_today(configuration: dict) -> dict:
    """The configuration of an earlier commit with the records of `records.py`.

    Args:
        configuration: with `n_classes`, and mostly `class_names`, `class_colours` and `arguments`.

    Returns:
        `network`, `data` and `run` as `runs.describe_run` writes them; all but the network is in
        `run`.

    Raises:
        KeyError, TypeError, ValueError: it is damaged.
    """
    arguments = dict(configuration.get("arguments", {}))
    names = configuration.get("class_names") or unnamed(configuration["n_classes"]).names
    if not isinstance(names, list | tuple) or len(names) != configuration["n_classes"]:
        raise ValueError(f"{names!r} are no names of {configuration['n_classes']} classes")
    colours = configuration.get("class_colours") or named(names).colours
    classes = Classes(tuple(names), tuple(tuple(colour) for colour in colours))
    known = {
        "backbone": arguments.pop("backbone", None),
        "layers": arguments.pop("layers", None),
        "filters": arguments.pop("filters", None),
    }
    height, width = (arguments.pop(side, None) for side in ("height", "width"))
    size = [height or 480, width or 640]
    whole = arguments.pop("whole_size", None) or [None, None]
    whole_height, whole_width = whole
    network = {
        "name": "fcn",
        "input_shape": [*size, arguments.pop("channels", None) or 3],
        "classes": as_content(classes),
        "settings": {name: value for name, value in known.items() if value is not None},
    }
    augment = bool(arguments.get("augment")), float(arguments.pop("close_ups", 0) or 0)
    if "augment" in arguments:
        # A share of close-ups that no value of today has is refused where a run is resumed.
        arguments["augment"] = AUGMENT.get(augment, f"close_ups {augment[1]}")
    if arguments.get("restore_weights"):
        arguments["grow"] = False  # restored weights had been small already
    # None where the configuration does not have the options of its run.
    arguments.setdefault("schedule_epochs", arguments.get("epochs"))
    run = {name: value for name, value in arguments.items() if name not in GONE}
    return {
        "network": network,
        "data": {},
        "run": run | {"size": [whole_height or size[0], whole_width or size[1]]},
    }


def unnamed(number: int) -> Classes:
    """Classes of which only the number is known: "class 1" and so on.

    Raises:
        TypeError, ValueError: no such number of classes.
    """
    if type(number) is not int or not 1 <= number <= MOST_CLASSES:
        raise ValueError(f"there cannot be {number!r} classes")
    return named(["background", *(f"class {index}" for index in range(1, number))])
