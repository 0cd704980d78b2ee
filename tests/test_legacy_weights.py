"""Weights of the book's own code, saved under TensorFlow 2 and Keras 2, load and predict the same.

The fixture was written by the package tf_keras (Keras 2), not by ours:

    pip install tf_keras==2.21.0 && python tests/test_legacy_weights.py
"""

from pathlib import Path

import h5py
import numpy as np

FIXTURE = Path(__file__).parent / "fixtures" / "keras2-resnet11v2-2layer.h5"
EXPECTED = FIXTURE.with_suffix(".npz")
DEPTH, LAYERS, FILTERS, CLASSES = 11, 2, 8, 3  # the chapter's network, narrow and shallow


def test_weights_of_keras_2_predict_the_same():
    from conftest import predict, tiny_fcn

    from engine.weights import load_weights

    expected = np.load(EXPECTED)
    fcn = tiny_fcn((48, 64), CLASSES, f"resnet{DEPTH}v2", LAYERS, FILTERS)
    load_weights(fcn, FIXTURE)
    probabilities = predict(fcn, expected["pictures"])
    assert probabilities.max(-1).mean() > 0.4, "the fixture must not be uniform"
    assert np.abs(probabilities - expected["probabilities"]).max() < 1e-4


def test_weights_of_keras_2_tell_the_number_of_classes_alone():
    from engine.weights import read_configuration, read_network, read_options

    assert read_configuration(FIXTURE) == read_options(FIXTURE) == {}
    network = read_network(FIXTURE)
    assert network.classes.names == ("background", "class 1", "class 2")
    assert (network.name, network.input_shape) == ("fcn", (480, 640, 3))


def write_fixture() -> None:
    """Build the network of the listings with Keras 2; save its weights and predictions."""
    import tf_keras as k2

    layers = k2.layers

    def conv(x, filters, kernel=3, strides=1):
        return layers.Conv2D(filters, kernel, strides=strides, padding="same")(x)

    def bn_relu_conv(x, filters, kernel=3, strides=1, first=False):
        if not first:
            x = layers.Activation("relu")(layers.BatchNormalization()(x))
        return conv(x, filters, kernel, strides)

    def conv_bn_relu(x, filters, strides=1):
        return layers.Activation("relu")(layers.BatchNormalization()(conv(x, filters, 3, strides)))

    inputs = layers.Input((48, 64, 3))
    x = layers.Activation("relu")(layers.BatchNormalization()(conv(inputs, 16)))
    filters_in = 16
    for stage in range(3):
        filters_out = filters_in * (4 if stage == 0 else 2)
        strides = 1 if stage == 0 else 2
        y = bn_relu_conv(x, filters_in, 1, strides, first=stage == 0)
        y = bn_relu_conv(y, filters_in)
        y = bn_relu_conv(y, filters_out, 1)
        x = layers.add([conv(x, filters_out, 1, strides), y])
        filters_in = filters_out
    x = layers.Activation("relu")(layers.BatchNormalization()(x))
    pooled = layers.AveragePooling2D(2, name="pool1")(x)
    backbone = k2.Model(inputs, [x, pooled, conv_bn_relu(pooled, 512, 2)], name="ResNet11v2")

    inputs = layers.Input((48, 64, 3))
    first, *others = backbone(inputs)
    maps = [first]
    for power, feature in enumerate(others, 1):
        feature = conv_bn_relu(feature, FILTERS)
        maps.append(layers.UpSampling2D(2**power, interpolation="bilinear")(feature))
    x = layers.Concatenate()(maps)
    for _ in range(2):
        x = layers.Conv2DTranspose(FILTERS, 3, strides=2, padding="same")(x)
        x = layers.Activation("relu")(layers.BatchNormalization()(x))
    x = layers.Conv2DTranspose(CLASSES, 1, padding="same", name="pre_activation")(x)
    model = k2.Model(inputs, layers.Softmax(name="segmentation")(x), name="fcn")

    random = np.random.default_rng(0)

    def value(weight):
        if len(weight.shape) == 4:  # repeats itself, and so compresses well
            fan_in = np.prod(weight.shape[:3])
            return np.resize(random.normal(0, np.sqrt(2 / fan_in), 997), weight.shape)
        spread = random.uniform(0.5, 1.5, weight.shape)
        return spread if "gamma" in weight.name or "variance" in weight.name else spread - 1

    model.set_weights([value(weight) for weight in model.weights])
    plain = FIXTURE.with_name("plain.h5")
    model.save_weights(plain)
    with h5py.File(plain) as source, h5py.File(FIXTURE, "w") as target:
        _copy_compressed(source, target)
    plain.unlink()
    pictures = random.integers(0, 256, (2, 48, 64, 3), np.uint8)
    # The book's network takes floats in [0, 1]; ours scales inside.
    probabilities = model.predict(pictures / 255.0, verbose=0)
    np.savez_compressed(EXPECTED, pictures=pictures, probabilities=probabilities)


def _copy_compressed(source: h5py.Group, target: h5py.Group) -> None:
    target.attrs.update(source.attrs)
    for name, item in source.items():
        if isinstance(item, h5py.Group):
            _copy_compressed(item, target.create_group(name))
        else:
            options = {"compression": "gzip", "chunks": item.shape} if item.size > 64 else {}
            target.create_dataset(name, data=item[()], **options)


if __name__ == "__main__":
    FIXTURE.parent.mkdir(exist_ok=True)
    write_fixture()
    print(FIXTURE, FIXTURE.stat().st_size, EXPECTED, EXPECTED.stat().st_size)
