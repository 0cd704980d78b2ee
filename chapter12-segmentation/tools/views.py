"""Looking at a picture in several ways: `--tta`."""

from collections.abc import Sequence
from functools import partial

import keras
from keras import layers

from engine.records import LEAST_SIDE, Network
from evaluation import Answer, answer, answering
from fast.folding import fold

# DeepLab v2 takes the greatest over 0.5, 0.75 and 1; PSPNet and v3 the mean over 0.5 to 1.75. A
# mean, as of `flip`, over fewer, as each takes its time.
SCALES = (0.75, 1.0, 1.25)


def flip(model: keras.Model) -> keras.Model:
    """The mean of a network's answers to a picture and, mirrored back, to its mirror image.

    With `--augment` half of the training pictures are mirrored, so that the network knows both;
    what it gets wrong by chance in one of them averages out (Simonyan and Zisserman, "Very Deep
    Convolutional Networks", 2015, section 3.2). Takes twice as long.

    Args:
        model: from pictures (B, H, W, channels) to probabilities (B, H, W, C).

    Returns:
        A network of the same shapes and types over the same weights. Mirrored pictures get exactly
        mirrored answers, but for the rounding of the precision.
    """
    first = answering(model)
    pictures = layers.Input(first.input_shape[1:], dtype=first.input.dtype, name="pictures")
    straight = first(pictures)  # (B, H, W, C)
    turned = keras.ops.flip(first(keras.ops.flip(pictures, axis=2)), axis=2)  # (B, H, W, C)
    # In float32, as the answers: rounded to bfloat16, probabilities would tie.
    mean = layers.Average(name="mean_of_views", dtype="float32")([straight, turned])
    return keras.Model(pictures, mean, name=model.name)


def at_scales(network: Network, model: keras.Model) -> list[keras.Model]:
    """A network for pictures of each of `SCALES`, all with the same weights.

    Sizes are static, so that each is built anew; each has a copy of the weights.

    Args:
        network: its record.
        model: built from it; it is the one of scale 1.
    """
    models = []
    for scale in SCALES:
        size = tuple(max(LEAST_SIDE, round(side * scale)) for side in network.size)
        models.append(model if scale == 1 else network.at(size).build())
        models[-1].set_weights(model.get_weights())
    return models


def mean_answer(
    models: Sequence[keras.Model], pictures: Sequence, size: tuple[int, int] | None = None
):
    """The mean of what several networks say of pictures; see `evaluation.answer`."""
    return sum(answer(model, pictures, size) for model in models) / len(models)


def views(network: Network, model: keras.Model, tta: str) -> Answer:
    """The answer of a network that looks as `--tta` says.

    With "scales" pictures are brought to several sizes, as by DeepLab and PSPNet: a network knows
    things at the sizes that it has seen, and larger pictures have finer borders.

    Args:
        network: its record.
        model: built from it, with its weights.
        tta: "none", "flip", "scales" or "flip,scales".

    Returns:
        As `evaluation.answer` with its network.
    """
    models = at_scales(network, model) if "scales" in tta else [model]
    models = [fold(answering(each)) for each in models]
    if "flip" in tta:
        models = [flip(each) for each in models]
    return partial(mean_answer, models) if models[1:] else partial(answer, *models)
