"""Networks made of a network that look at a picture in several ways: `--tta`."""

import keras
from keras import layers

from evaluation import answering


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


VIEWS = {"none": lambda model: model, "flip": flip}
