"""Batch normalisation that is frozen, or replaced by group normalisation: `--normalisation`.

The statistics of a batch are worth little when it holds few pictures. Frozen (Chen et al.,
"Rethinking Atrous Convolution for Semantic Image Segmentation", 2017, section 4.1, second stage),
those of an earlier training, with scale and shift, stay as they are. Group normalisation (Yuxin Wu
and Kaiming He, "Group Normalization", 2018) takes the statistics of one picture's groups of
channels.

Statistics over the batches of several devices at once (synchronised batch normalisation) are no
choice, as there is nothing else here: several train on JAX alone, where a batch that is spread over
them is one array and its mean that of all (`engine.distribution`).
"""

import math

import keras
from keras import layers

from fast.folding import networks
from utils.errors import UserError

GROUPS = 32  # Wu and He's
ALIKE = ("name", "axis", "epsilon", "center", "scale", "beta_initializer", "gamma_initializer")


def normalised(model: keras.Model, kind: str) -> keras.Model:
    """A network with another kind of normalisation; layers keep their names.

    Args:
        model: uncompiled and functional, others may be nested in it.
        kind: "batch" for `model` as it is; "frozen" for `model`, whose batch normalisations from
            now on do in training what they do in prediction; or "group" for a copy with group
            normalisation, see `groups_of`.

    Raises:
        UserError: it has no batch normalisation to freeze or to replace.
    """
    if kind == "batch":
        return model
    every = [layer for network in networks(model) for layer in network.layers]
    if not any(isinstance(layer, layers.BatchNormalization) for layer in every):
        raise UserError(
            f"the network {model.name} has no batch normalisation, which --normalisation {kind} is "
            "of; leave it out."
        )
    if kind == "frozen":
        for layer in every:
            layer.trainable &= not isinstance(layer, layers.BatchNormalization)
    return _in_groups(model) if kind == "group" else model


def groups_of(channels: int) -> int:
    """Groups of so many channels: 32, or fewer, which divide them and leave two to each."""
    return math.gcd(GROUPS, max(channels // 2, 1), channels)


def _in_groups(model: keras.Model) -> keras.Model:
    copies: list[tuple[layers.Layer, layers.Layer]] = []

    def copy(layer: layers.Layer) -> layers.Layer:
        if not isinstance(layer, layers.Layer):
            return layer  # an operation of `keras.ops`
        if isinstance(layer, layers.BatchNormalization):
            channels = layer.moving_mean.shape[0]
            return layers.GroupNormalization(
                groups_of(channels),
                **{name: getattr(layer, name) for name in ALIKE},
                dtype=layer.dtype_policy,
            )
        copied = type(layer).from_config(layer.get_config())
        copies.append((layer, copied))
        return copied

    def call(layer: layers.Layer, *args, **kwargs):
        # Keras notes a mask of None for batch normalisation, which its substitute does not take.
        return layer(*args, **{name: value for name, value in kwargs.items() if value is not None})

    view = keras.Model(model.input, model.output, name=model.name)
    copied = keras.models.clone_model(view, clone_function=copy, call_function=call, recursive=True)
    for old, new in copies:
        new.set_weights(old.get_weights())
    if type(model) is type(view):
        return copied
    own = {k: v for k, v in model.get_config().items() if k not in view.get_config()}
    return type(model)(copied.input, copied.outputs, name=model.name, **own)
