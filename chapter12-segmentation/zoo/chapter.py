"""The chapter's network with its backbone by name, as the command line asks for it.

Rowel Atienza, "Advanced Deep Learning with TensorFlow 2 and Keras", second edition, 2020,
chapter 12. The network itself is Listings 12.3.1 and 12.3.2: `resnet.py` and `model.py`.
"""

import re

import keras

from model import build_fcn
from resnet import build_resnet
from utils.errors import UserError

STEP = {1: 6, 2: 9}  # layers that one more block in each of the three stages adds, by version
MOST_LAYERS = 8  # then the coarsest value stands for 1024 pixels
MOST_DEPTH = 1202  # the deepest that the paper of the ResNets trained
MOST_FILTERS = 2048  # eight times the book's


def parse_backbone(name: str) -> dict[str, int]:
    """What a backbone's name says, for `build_resnet`: "resnet56v2" -> version 2, n 6.

    Raises:
        UserError: the name has another form, or no network has this depth.
    """
    match = re.fullmatch(r"resnet(\d{1,6})v([12])", name.strip().lower())
    if not match:
        raise UserError(
            f"--backbone {name!r} is unknown; names are resnet<depth>v1 and resnet<depth>v2, "
            "as in resnet20v1, resnet56v2 or resnet110v2."
        )
    depth, version = int(match[1]), int(match[2])
    step = STEP[version]
    if depth > MOST_DEPTH:
        raise UserError(f"--backbone {name!r} is too deep; give at most {MOST_DEPTH} layers.")
    if depth < step + 2 or (depth - 2) % step:
        below = max((depth - 2) // step, 1) * step + 2
        raise UserError(
            f"--backbone {name!r} does not exist: version {version} has {step}n + 2 layers; "
            f"the nearest are resnet{below}v{version} and resnet{below + step}v{version}."
        )
    return {"version": version, "n": (depth - 2) // step}


def build_backbone(input_shape: tuple, backbone: str, layers: int) -> keras.Model:
    """The backbone called `backbone` with a pyramid of `layers` levels, see `build_resnet`."""
    return build_resnet(input_shape, n_layers=layers, **parse_backbone(backbone))


def check_chapter(backbone: str, layers: int, filters: int) -> None:
    """Refuse what no network of the chapter's kind can have.

    Raises:
        UserError: a setting is out of range.
    """
    parse_backbone(backbone)
    if not 1 <= layers <= MOST_LAYERS:
        raise UserError(f"--layers {layers}: the pyramid has 1 to {MOST_LAYERS} levels.")
    if not 1 <= filters <= MOST_FILTERS:
        raise UserError(f"--filters {filters}: the head has 1 to {MOST_FILTERS} filters.")


def build_chapter(
    input_shape: tuple[int, int, int],
    n_classes: int = 4,
    *,
    backbone: str = "resnet56v2",
    layers: int = 3,
    filters: int = 256,
) -> keras.Model:
    """The chapter's network, uncompiled; see `build_fcn`.

    Args:
        input_shape: (H, W, channels).
        n_classes: number of classes, the background included.
        backbone: "resnet<depth>v<version>".
        layers: levels of the pyramid after the 1/4 map.
        filters: width of the head.

    Raises:
        UserError: a setting is out of range.
    """
    check_chapter(backbone, layers, filters)
    resnet = build_backbone(input_shape, backbone, layers)
    return build_fcn(input_shape, resnet, n_classes, filters=filters)


def chapter_files(backbone: str, layers: int, filters: int) -> str:
    """How the book names the files of a run: "ResNet56v2-3layer"."""
    parsed = parse_backbone(backbone)
    version = parsed["version"]
    return f"ResNet{STEP[version] * parsed['n'] + 2}v{version}-{layers}layer"
