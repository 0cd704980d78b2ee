"""Beginning a training with a backbone that has learnt ImageNet: `--pretrained`.

`zoo.pretrained` says what of a file goes where; here it is fetched, read and told.
"""

from pathlib import Path

import h5py
import keras
import numpy as np

from engine.records import IMAGENET
from engine.transfer import layers_by_place, layers_of
from engine.weights import DAMAGED, brief, open_file
from utils.errors import UserError
from utils.files import at_home
from zoo.pretrained import APPLICATIONS, FIRST, WIDTH, Application, application_for, weights_for


def find_pretrained(asked: str) -> Path | str:
    """What `--pretrained` names: a file, or `IMAGENET`, which is fetched when the network is known.

    Raises:
        UserError: there is no such file.
    """
    path = at_home(asked)
    if asked != IMAGENET and not path.is_file():
        raise UserError(
            f"--pretrained {asked}: there is no such file; give the path of one that "
            "keras.applications publishes, or --pretrained alone, which fetches it."
        )
    return asked if asked == IMAGENET else path


def start_pretrained(model: keras.Model, name: str, asked: Path | str) -> Path:
    """Take the weights of ImageNet for the backbone of a network; the others begin anew.

    What began anew is printed.

    Args:
        model: the network, with fresh weights.
        name: of its row in `zoo.MODELS`.
        asked: from `find_pretrained`.

    Returns:
        The file.

    Raises:
        UserError: there are no weights of ImageNet for this network, or they cannot be fetched, or
            the file is none of them.
    """
    layers = [layer for _, layer in layers_by_place(model) if layer.weights]
    names = [layer.name for layer in layers]
    application = application_for(names)
    if application is None:
        known = ", ".join(each.name for each in APPLICATIONS)
        raise UserError(
            f"--pretrained has weights of {known}, none of which is in the network {name} as it is "
            "set; leave out --pretrained, or choose another network, as --model fcn8s."
        )
    channels = model.input_shape[-1]
    if channels != 3:
        raise UserError(
            f"--pretrained has weights for pictures of 3 channels, not {channels}; leave out "
            "--pretrained or --channels."
        )
    _check_width(layers, application, name)
    path = _fetch(*application.file(names)) if asked == IMAGENET else asked
    fresh = []
    with open_file(path) as file:
        try:
            stored = _layers_of(file)
            for layer in layers:
                shapes = [weight.shape for weight in layer.weights]
                values = weights_for(layer.name, shapes, stored)
                if values is not None:
                    layer.set_weights(values)
                elif layer.name in application.layers:
                    raise _unfit(path, name, layer.name, application, names)
                else:
                    fresh.append(layer.name)
        except DAMAGED as error:
            raise UserError(f"{path} is damaged; fetch the file again.") from error
    taken = len(layers) - len(fresh)
    anew = ", ".join(fresh) or "none"
    print(f"{taken} layers start from {application.name} of ImageNet, {path}; anew: {anew}.")
    return path


def _check_width(layers: list[keras.layers.Layer], application: Application, name: str) -> None:
    """Refuse a backbone that is narrower, before 95 MB are fetched for it."""
    [first] = [layer for layer in layers if layer.name in FIRST]
    if first.filters != WIDTH:
        raise UserError(
            f"--pretrained has weights of {application.name} with all its filters, and {name} is "
            f"set to {first.filters} in {first.name}, not {WIDTH}; leave out --narrow."
        )


def _fetch(name: str, address: str, md5: str) -> Path:
    """The file where keras.applications keeps it, fetched when it is not there.

    Raises:
        UserError: it cannot be fetched, or is not what was to be there.
    """
    try:
        return Path(keras.utils.get_file(name, address, cache_subdir="models", file_hash=md5))
    except Exception as error:  # of which it raises no narrower one
        raise UserError(
            f"--pretrained cannot fetch {name} ({brief(error)}); fetch {address} where there is a "
            f"network, and give --pretrained FILE."
        ) from error


def _layers_of(file: h5py.File) -> dict[str, list[h5py.Dataset]]:
    """The arrays in a file by layer: as Keras 2 wrote them, as are those published, or Keras 3."""
    root = file.get("model_weights", file)
    if not isinstance(root, h5py.Group) or "layer_names" not in root.attrs:
        return {place[-1]: arrays for place, arrays in layers_of(file).items()}
    stored = {}
    for name in _names(root, "layer_names"):
        group = root.get(name)
        if isinstance(group, h5py.Group):
            items = [group.get(each) for each in _names(group, "weight_names")]
            stored[name] = [each for each in items if isinstance(each, h5py.Dataset)]
    return stored


def _names(group: h5py.Group, attribute: str) -> list[str]:
    values = np.ravel(group.attrs.get(attribute, []))
    return [each.decode() if isinstance(each, bytes) else str(each) for each in values]


def _unfit(
    path: Path, name: str, layer: str, application: Application, names: list[str]
) -> UserError:
    file, address, _ = application.file(names)
    return UserError(
        f"--pretrained {path} holds no weights for the layer {layer} of the network {name} as it "
        f"is set; give {file}, which is {address}."
    )
