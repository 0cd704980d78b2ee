"""The network as the chapter writes it, from stock Keras layers: Listings 12.3.1 to 12.3.3.

What `model.build_fcn` is measured against, and the reference of its numbers. The layers have the
same names and the weights the same order, so `set_weights` carries them from one to the other.
It takes floats in [0, 1], fits sizes that divide by 4 * 2^n_layers only, and learns from one-hot
masks by categorical cross-entropy.
"""

import keras
import numpy as np
from keras import layers
from skimage.util import img_as_float

from benchmarks.chapter_labels import one_hot
from resnet import L2
from utils.label_maps.store import LabelStore
from utils.pictures import read_picture, resize_picture


def conv_layer(inputs, filters: int, strides: int = 1, postfix: str = "") -> keras.KerasTensor:
    """Conv2D-BN-ReLU, kernel 3: (B, H, W, C) -> (B, H / strides, W / strides, filters)."""
    x = layers.Conv2D(
        filters,
        kernel_size=3,
        strides=strides,
        padding="same",
        kernel_initializer="he_normal",
        name="conv" + postfix,
    )(inputs)
    x = layers.BatchNormalization(name="bn" + postfix)(x)
    return layers.Activation("relu", name="relu" + postfix)(x)


def tconv_layer(inputs, filters: int, postfix: str) -> keras.KerasTensor:
    """Conv2DTranspose-BN-ReLU, kernel 3, stride 2: (B, H, W, C) -> (B, 2H, 2W, filters)."""
    x = layers.Conv2DTranspose(
        filters,
        kernel_size=3,
        strides=2,
        padding="same",
        kernel_initializer="he_normal",
        name="tconv_" + postfix,
    )(inputs)
    x = layers.BatchNormalization(name="bn_" + postfix)(x)
    return layers.Activation("relu", name="relu_" + postfix)(x)


def features_pyramid(x, n_layers: int) -> list[keras.KerasTensor]:
    """Listing 12.3.1: the map (B, H/4, W/4, 256) and `n_layers` coarser ones, each halved."""
    outputs = [x]
    x = layers.AveragePooling2D(pool_size=2, name="pool1")(x)  # (B, H/8, W/8, 256)
    outputs.append(x)
    for level in range(2, n_layers + 1):
        x = conv_layer(x, 512, strides=2, postfix=f"_layer{level}")
        outputs.append(x)
    return outputs


def build_resnet_v2(input_shape: tuple, depth: int, n_layers: int) -> keras.Model:
    """Chapter 2's ResNet version 2 with the pyramid: (B, H, W, 3) -> maps from H/4 on."""

    def convolve(x, filters, name, kernel_size=1, strides=1):
        return layers.Conv2D(
            filters,
            kernel_size,
            strides=strides,
            padding="same",
            kernel_initializer="he_normal",
            kernel_regularizer=keras.regularizers.L2(L2),
            name=name + "_conv",
        )(x)

    def activate(x, name):
        x = layers.BatchNormalization(name=name + "_bn")(x)
        return layers.Activation("relu", name=name + "_relu")(x)

    filters_in = 16
    inputs = layers.Input(shape=input_shape)
    x = activate(convolve(inputs, filters_in, "stem", kernel_size=3), "stem")  # (B, H, W, 16)
    for stage in range(3):
        filters_out = filters_in * (4 if stage == 0 else 2)  # 64, 128, 256
        for block in range((depth - 2) // 9):
            name = f"stage{stage}_block{block}"
            strides = 2 if stage > 0 and block == 0 else 1
            y = x if stage == 0 and block == 0 else activate(x, name + "_1")
            y = convolve(y, filters_in, name + "_1", strides=strides)
            y = convolve(activate(y, name + "_2"), filters_in, name + "_2", kernel_size=3)
            y = convolve(activate(y, name + "_3"), filters_out, name + "_3")
            if block == 0:
                x = convolve(x, filters_out, name + "_shortcut", strides=strides)
            x = layers.Add(name=name + "_add")([x, y])  # (B, H/2^stage, W/2^stage, filters_out)
        filters_in = filters_out
    x = activate(x, "last")
    return keras.Model(inputs, features_pyramid(x, n_layers), name=f"ResNet{depth}v2")


def build_plain(
    input_shape: tuple,
    depth: int = 56,
    n_classes: int = 4,
    n_layers: int = 3,
    filters: int = 256,
) -> keras.Model:
    """Listing 12.3.2, compiled as in Listing 12.3.3.

    Args:
        input_shape: (H, W, 3), H and W divisible by 4 * 2^n_layers.
        depth: of the ResNet version 2: 11, 20, 29, ..., 56.
        n_classes: number of classes, the background included.
        n_layers: levels of the pyramid after the 1/4 map.
        filters: width of the head.

    Returns:
        Model "fcn" from floats in [0, 1], (B, H, W, 3), to probabilities (B, H, W, n_classes).
    """
    inputs = layers.Input(shape=input_shape)
    main_feature, *features = build_resnet_v2(input_shape, depth, n_layers)(inputs)
    maps = [main_feature]  # (B, H/4, W/4, 256)
    size, feature_size = 2, 8
    for feature in features:
        postfix = f"fcn_{feature_size}"
        feature = conv_layer(feature, filters, postfix="_" + postfix)
        feature = layers.UpSampling2D(size, interpolation="bilinear", name=postfix + "_up2d")(
            feature
        )
        maps.append(feature)  # (B, H/4, W/4, 256)
        size, feature_size = size * 2, feature_size * 2
    x = layers.Concatenate(name="concatenate")(maps)  # (B, H/4, W/4, 1024)
    x = tconv_layer(x, filters, postfix="up_x2")  # (B, H/2, W/2, 256)
    x = tconv_layer(x, filters, postfix="up_x4")  # (B, H, W, 256)
    x = layers.Conv2DTranspose(
        n_classes,
        kernel_size=1,
        padding="same",
        kernel_initializer="he_normal",
        name="pre_activation",
    )(x)
    x = layers.Softmax(name="segmentation")(x)
    model = keras.Model(inputs, x, name="fcn")
    model.compile(
        optimizer=keras.optimizers.Adam(1e-3),
        loss="categorical_crossentropy",
        jit_compile=False,  # Keras 3 chooses so on a CPU; on a GPU XLA lacks a gradient
    )
    return model


def segment(model: keras.Model, picture: np.ndarray) -> np.ndarray:
    """The class of every pixel, as the chapter finds it: (H, W, 3) uint8 -> (H, W) int64."""
    probabilities = model.predict(img_as_float(picture)[None], verbose=0)
    return np.argmax(probabilities[0], axis=-1)


def evaluate(
    model: keras.Model, store: LabelStore, masks: dict[str, np.ndarray]
) -> tuple[float, float]:
    """Section 12.5 as the chapter computes it: one `predict` per picture, one-hot in NumPy.

    Args:
        model: from `build_plain`. Pictures of another size than its own, which the chapter does not
            have, are brought to it, so that a small network can try this out.
        store: where the pictures are.
        masks: (H, W, n_classes) one-hot uint8 by picture, those to evaluate.

    Returns:
        Means over the pictures of mIoU and of pixel accuracy, both from 0 to 1.
    """
    mious, accuracies = [], []
    for key, truth in masks.items():
        picture = resize_picture(read_picture(store.picture_path(key)), truth.shape[:2])
        mask = one_hot(segment(model, picture), truth.shape[-1])
        accuracies.append(np.all(mask == truth, axis=-1).mean())
        intersection = (mask * truth).sum(axis=(0, 1))
        union = np.ceil((mask + truth) / 2).sum(axis=(0, 1))
        present = truth.any(axis=(0, 1))
        mious.append((intersection[present] / union[present]).mean())
    return float(np.mean(mious)), float(np.mean(accuracies))
