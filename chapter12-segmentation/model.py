"""The chapter's fully convolutional network: Listing 12.3.2, Figure 12.2.3.

A features pyramid (Jonathan Long et al., "Fully Convolutional Networks for Semantic Segmentation",
2015) whose levels are convolved, upsampled and concatenated as in PSPNet (Hengshuang Zhao et al.,
"Pyramid Scene Parsing Network", 2017).

Differs from the listing: raw pictures go in (the first layer scales), any height and width fit
(the backbone pads, the last layers crop), and the last layer starts with small weights. The weights
and their order are the listing's.
"""

import keras
from keras import layers

from fast.layers import Activation, BatchNormalization, Conv2DTranspose
from resnet import conv_layer


def tconv_layer(inputs, filters: int, postfix: str) -> keras.KerasTensor:
    """Conv2DTranspose-BN-ReLU, kernel 3, stride 2: (B, H, W, C) -> (B, 2H, 2W, filters)."""
    x = Conv2DTranspose(
        filters,
        kernel_size=3,
        strides=2,
        padding="same",
        kernel_initializer="he_normal",
        name="tconv_" + postfix,
    )(inputs)
    x = BatchNormalization(name="bn_" + postfix)(x)
    return Activation("relu", name="relu_" + postfix)(x)


def build_fcn(
    input_shape: tuple, backbone: keras.Model, n_classes: int = 4, *, filters: int = 256
) -> keras.Model:
    """Build the chapter's network, uncompiled.

    Args:
        input_shape: (H, W, channels), of any size.
        backbone: from `resnet.build_resnet`, of the same input shape.
        n_classes: number of classes, the background included.
        filters: width of the head (the chapter: 256).

    Returns:
        Model "fcn" from raw pictures (B, H, W, channels), 0 to 255 of any type, to probabilities
        (B, H, W, n_classes) float32. Its first layer with weights, and only nested model, is the
        backbone, so that weights saved by the book's code load in their order.
    """
    inputs = layers.Input(shape=input_shape, name="pictures")
    x = layers.Rescaling(1 / 255, name="scale")(inputs)  # (B, H, W, channels) in [0, 1]
    # From here to the crop, H and W are those of the picture as the backbone pads it.
    main_feature, *features = backbone(x)

    maps = [main_feature]  # (B, H/4, W/4, 256), 64 channels with version 1
    size, feature_size = 2, 8
    for feature in features:
        postfix = f"fcn_{feature_size}"
        feature = conv_layer(feature, filters, postfix="_" + postfix)  # (B, H/8, W/8, 256), ...
        feature = layers.UpSampling2D(size, interpolation="bilinear", name=postfix + "_up2d")(
            feature
        )
        maps.append(feature)  # (B, H/4, W/4, 256)
        size, feature_size = size * 2, feature_size * 2

    x = layers.Concatenate(name="concatenate")(maps)  # (B, H/4, W/4, 1024)
    x = tconv_layer(x, filters, postfix="up_x2")  # (B, H/2, W/2, 256)
    x = tconv_layer(x, filters, postfix="up_x4")  # (B, H, W, 256)
    x = Conv2DTranspose(
        n_classes,
        kernel_size=1,
        padding="same",
        # The listing's he_normal takes the classes for the inputs, since a transposed kernel is
        # (H, W, out, in), and starts at a loss of 9, where chance costs log 4 = 1.4.
        kernel_initializer=keras.initializers.VarianceScaling(mode="fan_out"),
        name="pre_activation",
    )(x)  # (B, H, W, n_classes)
    below, right = x.shape[1] - input_shape[0], x.shape[2] - input_shape[1]
    x = layers.Cropping2D(((0, below), (0, right)), name="crop")(x)
    # In float32 whatever the precision: probabilities near 0 and 1 need the digits.
    x = layers.Softmax(name="segmentation", dtype="float32")(x)
    return keras.Model(inputs, x, name="fcn")
