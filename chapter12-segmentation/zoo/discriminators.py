"""The second players of adversarial training; `engine.adversarial` lets them play.

They are no segmenters, and have no row in `MODELS`.

Luc et al., "Semantic Segmentation using Adversarial Networks", 2016: is a map as a whole true, or a
segmenter's? LargeFOV, for 3C channels, class maps times colours. Counted: 9 (63 * 96 + 96 * 128 +
128 * 128 + 128 * 256 + 256 * 256 + 256 * 512 + 512 * 2) + 96 + 128 + 128 + 256 + 256 + 512 + 2 =
2,387,458 at 63 channels.

Hung et al., "Adversarial Learning for Semi-Supervised Semantic Segmentation", 2018: is this pixel
of it? Counted: 16 (21 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512) + 64 + 128 + 256 + 512 + 1 =
2,783,169 at 21 classes.

Souly et al., "Semi Supervised Semantic Segmentation Using Generative Adversarial Network", 2017:
the segmenter itself tells false pictures, which the generator makes of noise, after Radford et al.,
"Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks",
2016.

Differs from the papers: the generator takes a map of noise, 100 values for each 16x16 pixels, where
theirs is one vector for a picture, so that its weights fit pictures of any size.
"""

import keras
from keras import layers

from fast.layers import Activation, BatchNormalization, Conv2D, Conv2DTranspose

NOISE = 100  # values, uniform from -1 to 1 (Radford)
STRIDE = 16  # of the generator: pixels a side for each place of the noise
SLOPE = 0.2  # of what is below zero


def build_luc(input_shape: tuple[int, int, int], *, width: int = 64) -> keras.Model:
    """Luc's adversary with the larger field of view, "LargeFOV".

    Args:
        input_shape: (H, W, channels) of encoded maps, see `engine.adversarial`.
        width: of which 96 filters are three halves.

    Returns:
        Model "luc" from (B, H, W, channels) floats to (B, 2) float32 logits: false, true.
    """
    inputs = x = layers.Input(input_shape, name="maps")
    for number, share in enumerate((1.5, 2, 2, 0, 4, 4, 0, 8), 1):
        if not share:
            x = layers.MaxPooling2D(name=f"pool{number}")(x)
            continue
        x = Conv2D(
            int(share * width),
            3,
            padding="same",
            activation="relu",
            kernel_initializer="he_normal",
            name=f"conv{number}",
        )(x)
    small = keras.initializers.RandomNormal(stddev=0.01)  # it begins with a guess
    x = Conv2D(2, 3, padding="same", kernel_initializer=small, name="logits")(x)
    # (B, H // 4, W // 4, 2)
    return keras.Model(
        inputs, layers.GlobalAveragePooling2D(dtype="float32", name="mean")(x), name="luc"
    )


def build_hung(input_shape: tuple[int, int, int], *, width: int = 64) -> keras.Model:
    """Hung's fully convolutional discriminator.

    Args:
        input_shape: (H, W, n_classes) of class maps.
        width: filters of the first convolution; all others follow.

    Returns:
        Model "hung" from (B, H, W, n_classes) floats to (B, H, W) float32 logits, high for true.
    """
    inputs = x = layers.Input(input_shape, name="maps")
    for number, filters in enumerate((width, 2 * width, 4 * width, 8 * width), 1):
        x = Conv2D(filters, 4, 2, padding="same", name=f"conv{number}")(x)
        x = layers.LeakyReLU(SLOPE, name=f"relu{number}")(x)
    x = Conv2D(1, 4, 2, padding="same", name="logits")(x)  # (B, H/32, W/32, 1)
    # As in the segmenters, by a layer that TensorFlow and JAX have the gradient of.
    enlarge = layers.Resizing(
        *input_shape[:2], interpolation="bilinear", dtype="float32", name="enlarge"
    )
    x = layers.Reshape(input_shape[:2], dtype="float32", name="confidence")(enlarge(x))
    return keras.Model(inputs, x, name="hung")


def noise_shape(input_shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """(h, w, NOISE) of the noise for pictures of `input_shape`, (H, W, channels)."""
    height, width, _ = input_shape
    return -(-height // STRIDE), -(-width // STRIDE), NOISE


def build_generator(input_shape: tuple[int, int, int], *, width: int = 64) -> keras.Model:
    """A generator of pictures.

    Args:
        input_shape: (H, W, channels) of the pictures.
        width: filters of the last hidden layer; all others follow.

    Returns:
        Model "generator" from noise of `noise_shape` to (B, H, W, channels) float32, 0 to 255.
    """
    height, width_of_picture, channels = input_shape
    inputs = layers.Input(noise_shape(input_shape), name="noise")
    x = Conv2D(8 * width, 3, padding="same", use_bias=False, name="conv1")(inputs)
    x = BatchNormalization(name="bn1")(x)
    x = Activation("relu", name="relu1")(x)  # (B, H/16, W/16, 512)
    for number, filters in enumerate((4 * width, 2 * width, width), 2):
        x = Conv2DTranspose(filters, 4, 2, padding="same", use_bias=False, name=f"tconv{number}")(x)
        x = BatchNormalization(name=f"bn{number}")(x)
        x = Activation("relu", name=f"relu{number}")(x)
    x = Conv2DTranspose(channels, 4, 2, padding="same", name="tconv5")(x)
    below, right = x.shape[1] - height, x.shape[2] - width_of_picture
    x = layers.Cropping2D(((0, below), (0, right)), name="crop")(x)
    x = layers.Activation("tanh", dtype="float32", name="tanh")(x)
    x = layers.Rescaling(127.5, 127.5, dtype="float32", name="picture")(x)
    return keras.Model(inputs, x, name="generator")
