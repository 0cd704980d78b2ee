"""What the networks of the zoo begin and end with, and the block that most of them are made of."""

import keras
import numpy as np
from keras import layers, ops

from fast.layers import Activation, BatchNormalization, Conv2D

# Means of red, green and blue in ImageNet, as the authors of VGG took them off.
MEANS = (123.68, 116.779, 103.939)
SCALE = 1 / 64  # to about one standard deviation; a power of two, by which nothing is rounded


def pictures_in(
    input_shape: tuple[int, int, int], multiple: int
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """The input of a network, and the pictures as its first convolution takes them.

    Args:
        input_shape: (H, W, channels).
        multiple: of which height and width are to be, for the coarsest map to be whole.

    Returns:
        Raw pictures (B, H, W, channels), 0 to 255 of any type, and the same scaled about zero, with
        zeros below and to the right up to (B, H', W', channels).
    """
    height, width, channels = input_shape
    inputs = layers.Input(shape=input_shape, name="pictures")
    means = MEANS if channels == 3 else (sum(MEANS) / 3,) * channels
    offset = [-mean * SCALE for mean in means]
    x = layers.Rescaling(SCALE, offset, name="scale")(inputs)
    rows, columns = -height % multiple, -width % multiple
    return inputs, layers.ZeroPadding2D(((0, rows), (0, columns)), name="pad")(x)


def shares_of(side: int, factor: int) -> np.ndarray:
    """What each new value of a side takes of each old one: (side * factor, side) float32."""
    places = np.arange(side * factor) / factor
    shares = 1 - abs(places.clip(0, side - 1)[:, None] - np.arange(side))
    return np.maximum(shares, 0).astype("float32")


@keras.saving.register_keras_serializable(package="segmentation")
class EnlargeFromCorners(layers.UpSampling2D):
    """Bilinear enlargement by s in which old value i lies at new place s i: (B, h, w, C) ->
    (B, s h, s w, C).

    For maps of convolutions and pools of stride 2 that are centred on the first of two values, as
    those of a ResNet: on pictures of k s + 1 pixels "align_corners" is this. Keras' own takes old
    values to lie in the middle of their s x s, for such maps half a cell too far below and to the
    right.
    """

    def __init__(self, size, interpolation: str = "bilinear", **options):
        super().__init__(size, interpolation=interpolation, **options)

    def call(self, inputs):
        _, *sides, _ = inputs.shape
        rows, columns = (
            ops.cast(shares_of(side, factor), self.compute_dtype)
            for side, factor in zip(sides, self.size, strict=True)
        )
        return ops.einsum("bhwc,mh,nw->bmnc", inputs, rows, columns)


def probabilities_out(
    inputs: keras.KerasTensor,
    logits: keras.KerasTensor,
    factor: int = 1,
    name: str = "segmentation",
    from_corners: bool = False,
) -> keras.KerasTensor:
    """Class probabilities at the size of the pictures, from logits of the padded ones.

    Args:
        inputs: (B, H, W, channels), from `pictures_in`.
        logits: (B, H'/factor, W'/factor, C).
        factor: by which they are enlarged, bilinearly between the centres of pixels.
        name: of the last layer; those before it are called `<name>_...`.
        from_corners: enlarge as `EnlargeFromCorners`.

    Returns:
        (B, H, W, C) float32.
    """
    x = logits
    if factor > 1:
        enlarge = EnlargeFromCorners if from_corners else layers.UpSampling2D
        x = enlarge(factor, interpolation="bilinear", name=f"{name}_enlarge")(x)
    below, right = x.shape[1] - inputs.shape[1], x.shape[2] - inputs.shape[2]
    x = layers.Cropping2D(((0, below), (0, right)), name=f"{name}_crop")(x)
    # In float32 whatever the precision: probabilities near 0 and 1 need the digits.
    return layers.Softmax(name=name, dtype="float32")(x)  # (B, H, W, C)


@keras.saving.register_keras_serializable(package="segmentation")
class ImageNormalization(BatchNormalization):
    """Batch normalisation of maps of one place, (B, 1, 1, C), for batches of one picture too.

    The mean over one value is the value: nothing would be left of it but `beta`, and the moving
    variance would fade to 0. So a single picture is normalised as in prediction, in training too,
    and leaves the moving statistics alone. Batches of more are normalised as ever.
    """

    def call(self, inputs, training=None, mask=None):
        if not (training and self.trainable):
            return super().call(inputs, training=False)
        x = ops.cast(inputs, "float32")
        several = ops.shape(x)[0] > 1
        moving = self.moving_mean, self.moving_variance
        batch = ops.moments(x, axes=(0, 1, 2))
        pairs = zip(batch, moving, strict=True)
        used = [ops.where(several, new, ops.convert_to_tensor(old)) for new, old in pairs]
        for old, new in zip(moving, used, strict=True):
            old.assign(old + (new - old) * (1.0 - self.momentum))
        gamma, beta = (ops.cast(each, "float32") for each in (self.gamma, self.beta))
        x = ops.batch_normalization(x, *used, -1, beta, gamma, self.epsilon)
        return ops.cast(x, self.compute_dtype)


def conv_bn_relu(
    x: keras.KerasTensor,
    filters: int,
    name: str,
    *,
    kernel: int = 3,
    rate: int = 1,
    bias: bool = False,
    epsilon: float = 1e-3,
    bn: type[layers.Layer] = BatchNormalization,
) -> keras.KerasTensor:
    """Convolution, batch normalisation, ReLU: (B, h, w, any) -> (B, h, w, filters).

    Args:
        x: what goes in.
        filters, kernel, rate, bias: of the convolution.
        name: begins those of the layers.
        epsilon: of the normalisation; Keras' own, where a paper's authors say nothing.
        bn: its class, see `ImageNormalization`.
    """
    x = Conv2D(
        filters,
        kernel,
        padding="same",
        dilation_rate=rate,
        use_bias=bias,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    x = bn(epsilon=epsilon, name=f"{name}_bn")(x)
    return Activation("relu", name=f"{name}_relu")(x)
