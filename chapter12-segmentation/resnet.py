"""ResNet backbones with a features pyramid: Listing 12.3.1.

Kaiming He et al., "Deep Residual Learning for Image Recognition", 2016 (v1) and "Identity Mappings
in Deep Residual Networks", 2016 (v2), in the small form of section 4.2 of the first paper (images
of CIFAR-10) that chapter 2 of the book builds. The text says that ResNet "max-pools twice"; the
code has no max-pooling: two of its three stages begin with a stride of 2.
"""

import keras
from keras import layers

from fast.layers import Activation, BatchNormalization, Conv2D

L2 = 1e-4  # weight decay of the backbone's convolutions; the pyramid and the head have none


def conv_layer(
    inputs, filters: int = 32, kernel_size: int = 3, strides: int = 1, postfix: str = ""
) -> keras.KerasTensor:
    """Conv2D-BN-ReLU, the chapter's helper for the pyramid and the head.

    Shapes: (B, H, W, C) -> (B, H / strides, W / strides, filters).
    """
    x = Conv2D(
        filters,
        kernel_size,
        strides=strides,
        padding="same",
        kernel_initializer="he_normal",
        name="conv" + postfix,
    )(inputs)
    x = BatchNormalization(name="bn" + postfix)(x)
    return Activation("relu", name="relu" + postfix)(x)


def resnet_layer(
    inputs,
    filters: int,
    name: str,
    kernel_size: int = 3,
    strides: int = 1,
    activation: bool = True,
    batch_normalization: bool = True,
    conv_first: bool = True,
) -> keras.KerasTensor:
    """Conv2D-BN-ReLU (`conv_first`, version 1) or BN-ReLU-Conv2D (version 2).

    Shapes: (B, H, W, C) -> (B, H / strides, W / strides, filters).
    """

    def convolve(x):
        return Conv2D(
            filters,
            kernel_size,
            strides=strides,
            padding="same",
            kernel_initializer="he_normal",
            kernel_regularizer=keras.regularizers.L2(L2),
            name=f"{name}_conv",
        )(x)

    def normalise_and_activate(x):
        if batch_normalization:
            x = BatchNormalization(name=f"{name}_bn")(x)
        if activation:
            x = Activation("relu", name=f"{name}_relu")(x)
        return x

    if conv_first:
        return normalise_and_activate(convolve(inputs))
    return convolve(normalise_and_activate(inputs))


def features_pyramid(x, n_layers: int) -> list[keras.KerasTensor]:
    """The backbone's map and `n_layers` coarser ones, each half as large as the one before.

    Figure 12.2.3 draws a strided convolution in front of the 1/8 level; the code has average
    pooling alone there, and so have we: the parameter counts of the chapter are those of the code.

    Args:
        x: (B, H/4, W/4, C), the backbone's last map.
        n_layers: number of coarser levels, at least 1.

    Returns:
        [(B, H/4, W/4, C), (B, H/8, W/8, C), (B, H/16, W/16, 512), (B, H/32, W/32, 512), ...]
    """
    outputs = [x]
    x = layers.AveragePooling2D(pool_size=2, name="pool1")(x)  # (B, H/8, W/8, C)
    outputs.append(x)
    for level in range(2, n_layers + 1):
        x = conv_layer(x, 512, strides=2, postfix=f"_layer{level}")  # (B, H/2^(level+2), ..., 512)
        outputs.append(x)
    return outputs


def padded_inputs(input_shape: tuple, n_layers: int) -> tuple:
    """The input and, padded to what every level of the pyramid divides, the picture.

    Padding below and to the right leaves every pixel where it was.

    Shapes: (B, H, W, channels), and (B, H', W', channels) with H' and W' multiples of
    2^(n_layers + 2).
    """
    stride = 2 ** (n_layers + 2)
    height, width, _ = input_shape
    inputs = layers.Input(shape=input_shape)
    padding = ((0, -height % stride), (0, -width % stride))
    return inputs, layers.ZeroPadding2D(padding, name="pad")(inputs)


def resnet_v1(input_shape: tuple, n: int, n_layers: int) -> keras.Model:
    """ResNet version 1: stacks of 2 x (3x3) Conv2D-BN-ReLU, 16, 32 and 64 filters.

    Args:
        input_shape: (H, W, channels). Below, H and W are those of the padded picture.
        n: blocks a stage; 6n + 2 layers (20, 32, 44, 56, 110, ...).
        n_layers: coarser levels of the pyramid.

    Returns:
        Model from (B, H, W, channels) in [0, 1] to the list of `features_pyramid` with C = 64.
    """
    filters = 16
    inputs, x = padded_inputs(input_shape, n_layers)
    x = resnet_layer(x, filters, name="stem")  # (B, H, W, 16)
    for stage in range(3):
        for block in range(n):
            name = f"stage{stage}_block{block}"
            strides = 2 if stage > 0 and block == 0 else 1
            y = resnet_layer(x, filters, f"{name}_1", strides=strides)
            y = resnet_layer(y, filters, f"{name}_2", activation=False)
            if strides == 2:
                x = _projection(x, filters, name, strides)
            x = layers.Add(name=f"{name}_add")([x, y])  # (B, H/2^stage, W/2^stage, filters)
            x = Activation("relu", name=f"{name}_relu")(x)
        filters *= 2
    return keras.Model(inputs, features_pyramid(x, n_layers), name=f"ResNet{6 * n + 2}v1")


def resnet_v2(input_shape: tuple, n: int, n_layers: int) -> keras.Model:
    """ResNet version 2: stacks of (1x1)-(3x3)-(1x1) BN-ReLU-Conv2D bottlenecks, pre-activated.

    Args:
        input_shape: (H, W, channels). Below, H and W are those of the padded picture.
        n: blocks a stage; 9n + 2 layers (20, 29, 56, 110, ...).
        n_layers: coarser levels of the pyramid.

    Returns:
        Model from (B, H, W, channels) in [0, 1] to the list of `features_pyramid` with C = 256.
    """
    filters_in = 16
    inputs, x = padded_inputs(input_shape, n_layers)
    x = resnet_layer(x, filters_in, name="stem")  # (B, H, W, 16)
    for stage in range(3):
        filters_out = filters_in * (4 if stage == 0 else 2)  # 64, 128, 256
        for block in range(n):
            name = f"stage{stage}_block{block}"
            strides = 2 if stage > 0 and block == 0 else 1
            activated = stage > 0 or block > 0  # the very first input has been activated already
            y = resnet_layer(
                x,
                filters_in,
                f"{name}_1",
                kernel_size=1,
                strides=strides,
                activation=activated,
                batch_normalization=activated,
                conv_first=False,
            )
            y = resnet_layer(y, filters_in, f"{name}_2", conv_first=False)
            y = resnet_layer(y, filters_out, f"{name}_3", kernel_size=1, conv_first=False)
            if block == 0:
                x = _projection(x, filters_out, name, strides)
            x = layers.Add(name=f"{name}_add")([x, y])  # (B, H/2^stage, W/2^stage, filters_out)
        filters_in = filters_out
    x = BatchNormalization(name="last_bn")(x)
    x = Activation("relu", name="last_relu")(x)
    return keras.Model(inputs, features_pyramid(x, n_layers), name=f"ResNet{9 * n + 2}v2")


def _projection(x, filters: int, name: str, strides: int) -> keras.KerasTensor:
    """The 1x1 convolution on the shortcut where the size or the number of filters changes."""
    return resnet_layer(
        x,
        filters,
        f"{name}_shortcut",
        kernel_size=1,
        strides=strides,
        activation=False,
        batch_normalization=False,
    )


def build_resnet(
    input_shape: tuple, n_layers: int = 3, *, version: int = 2, n: int = 6
) -> keras.Model:
    """The backbone with a features pyramid of `n_layers` coarser levels; ResNet56v2 by default.

    Args:
        input_shape: (H, W, channels), of any size: the backbone pads for itself.
        n_layers: levels after the 1/4 map, at least 1 (the chapter: 3).
        version: 1 or 2.
        n: blocks in each of the three stages; 6n + 2 layers in version 1, 9n + 2 in version 2.

    Returns:
        Model "ResNet<depth>v<version>", see `resnet_v1` and `resnet_v2`.

    Raises:
        ValueError: a number is out of range.
    """
    if n_layers < 1 or n < 1 or version not in (1, 2):
        raise ValueError(f"there is no ResNet of version {version}, n {n} and {n_layers} levels")
    build = {1: resnet_v1, 2: resnet_v2}[version]
    return build(input_shape, n, n_layers)
