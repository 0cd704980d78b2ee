"""The table of stages: the chapter's arithmetic, receptive fields and strides, and each kind's."""

import dataclasses
import math

import keras
import numpy as np
import pytest
from keras import layers

from model import build_fcn
from resnet import build_resnet
from tools.summary import Reach, print_summary, stages, trace
from utils.errors import UserError


def chapter(input_shape: tuple, n: int = 6, n_layers: int = 3, filters: int = 256) -> keras.Model:
    """The chapter's network, by default as the chapter has it."""
    return build_fcn(input_shape, build_resnet(input_shape, n_layers, n=n), filters=filters)


def chain(input_shape: tuple, *operations) -> keras.Model:
    """The layers one after another."""
    inputs = x = keras.Input(input_shape)
    for operation in operations:
        x = operation(x)
    return keras.Model(inputs, x)


def total(model: keras.Model) -> int:
    """Multiply-accumulates of all calls."""
    return sum(call.macs for call in trace(model)[0])


def reach_of(model: keras.Model) -> Reach:
    _, (reach,) = trace(model)
    return reach


def kinds(value) -> str | None:
    """The name of a test's case: the classes of its layers."""
    if isinstance(value, list):
        return "-".join(type(layer).__name__ for layer in value)
    return type(value).__name__ if isinstance(value, layers.Layer) else None


@pytest.fixture(scope="module")
def rows():
    return {row["stage"]: row for row in stages(chapter((480, 640, 3)))}


# The chapter's network.


@pytest.mark.parametrize(
    ("stage", "field", "stride"),
    [
        ("stage2", 87, 4),
        ("pool1", 91, 8),
        ("layer2", 107, 16),
        ("layer3", 139, 32),
        ("fcn_32", 203, 32),
        ("segmentation", 241, 1),
    ],
)
def test_fields_and_strides(rows, stage, field, stride):
    assert (rows[stage]["field"], rows[stage]["stride"]) == (field, stride)


def test_arithmetic_and_parameters(rows):
    # Convolutions 155.571; bilinear 3 x 4 x (120 x 160 x 256) = 0.059, averaging 4 x (60 x 80 x
    # 256) = 0.005.
    assert sum(row["gmac"] for row in rows.values()) == pytest.approx(155.635, abs=0.0005)
    backbone = ("stem", "stage0", "stage1", "stage2", "layer2", "layer3")
    assert sum(rows[name]["gmac"] for name in backbone) == pytest.approx(60.1, abs=0.05)
    assert rows["up_x2"]["gmac"] + rows["up_x4"]["gmac"] == pytest.approx(90.6, abs=0.05)
    assert sum(row["parameters"] for row in rows.values()) == 11_120_900


def test_the_stages_of_the_chapter(rows):
    """A row for each part that the chapter speaks of, in its order."""
    backbone = ["stem", "stage0", "stage1", "stage2", "last", "pool1", "layer2", "layer3"]
    head = ["fcn_8", "fcn_16", "fcn_32", "fcn", "concatenate", "up_x2", "up_x4", "pre_activation"]
    assert list(rows) == ["scale", "pad", *backbone, *head, "crop", "segmentation"]


# Stages of any network.


def test_a_stage_is_the_first_word_of_its_layers_names():
    model = chain(
        (8, 8, 4),
        layers.Conv2D(2, 1, name="entry_1_conv"),  # 4 x 2 + 2 parameters, 8 x 8 x 4 x 2
        layers.BatchNormalization(name="entry_1_bn"),  # 4 x 2
        layers.Conv2D(3, 1, name="entry_2_conv"),  # 2 x 3 + 3, 8 x 8 x 2 x 3
        layers.Conv2D(2, 1, name="conv_middle_1", use_bias=False),  # 3 x 2, 8 x 8 x 3 x 2
        layers.BatchNormalization(name="bn_middle_1"),
        layers.ReLU(name="relu_middle_1"),
        layers.Softmax(name="class_probabilities"),
    )
    found = {row["stage"]: (row["parameters"], row["gmac"] * 1e9) for row in stages(model)}
    assert found == {
        "entry": (27, pytest.approx(896)),
        "middle_1": (14, pytest.approx(384)),
        "class_probabilities": (0, 0),
    }


def test_a_shared_layer_computes_twice_and_has_its_parameters_once():
    """The second call is at half the height: 3 x 3 x 2 x 2 weights, 8 x 8 and 4 x 8 positions."""
    shared = layers.Conv2D(2, 3, padding="same", name="shared_conv")
    model = chain((8, 8, 2), shared, layers.MaxPooling2D((2, 1), name="pool"), shared)
    by_name = {row["stage"]: row for row in stages(model)}
    row = by_name["shared_conv"]
    assert row["gmac"] * 1e9 == pytest.approx(36 * 64 + 36 * 32)
    assert row["parameters"] == 36 + 2 == model.count_params()
    # 3, then the pooling 1 more at stride 2, then 2 x 2 more.
    assert (row["field"], row["stride"], row["output"]) == (8, 2, (4, 8, 2))


def test_a_shared_network_counts_for_each_call():
    inner = chain((8, 8, 2), layers.Conv2D(2, 3, padding="same"))  # 8 x 8 x 36
    model = chain((8, 8, 2), inner, inner)
    assert total(model) == 2 * 64 * 36
    assert reach_of(model) == Reach(5, 1)
    assert sum(row["parameters"] for row in stages(model)) == 38


def test_a_sequential_backbone_is_looked_into():
    inner = keras.Sequential([keras.Input((8, 8, 2)), layers.Conv2D(3, 1)])
    assert total(chain((8, 8, 2), inner)) == 8 * 8 * 2 * 3


# Multiply-accumulates of each kind: (16, 12, 6) goes in.


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        # Output values, each of a kernel of 3 x 5 over 6 channels.
        (layers.Conv2D(4, (3, 5), padding="same"), 16 * 12 * 4 * (3 * 5 * 6)),
        # Without padding 14 x 8 positions; biases do not count.
        (layers.Conv2D(4, (3, 5), use_bias=False), 14 * 8 * 4 * (3 * 5 * 6)),
        (layers.Conv2D(4, 3, strides=2, padding="same"), 8 * 6 * 4 * (3 * 3 * 6)),
        # Each of 2 groups sees 3 of the 6 channels.
        (layers.Conv2D(4, 3, padding="same", groups=2), 16 * 12 * 4 * (3 * 3 * 3)),
        # Dilation spreads the nine taps over 5 x 5: 12 x 8 positions are left.
        (layers.Conv2D(4, 3, dilation_rate=2), 12 * 8 * 4 * (3 * 3 * 6)),
        # Every input value is multiplied with the whole kernel.
        (layers.Conv2DTranspose(4, 3, strides=2, padding="same"), 16 * 12 * 6 * (3 * 3 * 4)),
        # Two output channels for each of the 6, each of its own channel alone.
        (
            layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2),
            16 * 12 * (6 * 2) * (3 * 3),
        ),
        (layers.DepthwiseConv2D(5, strides=2, padding="same"), 8 * 6 * 6 * (5 * 5)),
        (
            layers.DepthwiseConv2D(3, dilation_rate=(2, 3), depth_multiplier=1),
            12 * 6 * 6 * (3 * 3),
        ),
        # Depthwise 3 x 3 to 12 channels at half the size, then pointwise from 12 to 4.
        (
            layers.SeparableConv2D(4, 3, strides=2, padding="same", depth_multiplier=2),
            8 * 6 * 12 * (3 * 3) + 8 * 6 * 12 * 4,
        ),
        (layers.Dense(5), 16 * 12 * 6 * 5),  # once per position of a map
        (layers.UpSampling2D(3), 0),  # copies
        (layers.UpSampling2D((2, 3), interpolation="bilinear"), 32 * 36 * 6 * 4),
        (layers.UpSampling2D(2, interpolation="bicubic"), 32 * 24 * 6 * 16),
        (layers.Resizing(20, 7), 20 * 7 * 6 * 4),
        (layers.Resizing(20, 7, interpolation="nearest"), 0),
        (layers.AveragePooling2D((2, 3)), 8 * 4 * 6 * (2 * 3)),
        (layers.AveragePooling2D(3, strides=1, padding="same"), 16 * 12 * 6 * (3 * 3)),
        (layers.GlobalAveragePooling2D(keepdims=True), 16 * 12 * 6),
        (layers.GlobalMaxPooling2D(), 0),
        (layers.MaxPooling2D(2), 0),
        (layers.BatchNormalization(), 0),
        (layers.GroupNormalization(3), 0),
        (layers.LayerNormalization(), 0),
        (layers.Activation("gelu"), 0),
        (layers.SpatialDropout2D(0.5), 0),
        (layers.ZeroPadding2D(2), 0),
        (layers.Flatten(), 0),
    ],
    ids=kinds,
)
def test_arithmetic_of_each_kind(layer, expected):
    assert total(chain((16, 12, 6), layer)) == expected


def test_arithmetic_of_vectors_and_sequences():
    # 7 x 4 weights once, and 4 x 3 behind it.
    assert total(chain((7,), layers.Dense(4, activation="relu"), layers.Dense(3))) == 28 + 12
    # 8 of the 10 places of a sequence, 3 taps of 2 channels for each of 5 filters.
    assert total(chain((10, 2), layers.Conv1D(5, 3))) == 8 * 5 * (3 * 2)


def test_channels_in_front_count_alike():
    """The layer is not called with numbers: TensorFlow has no such convolution on a CPU."""
    front = layers.Conv2D(4, (3, 5), data_format="channels_first")
    model = chain((6, 16, 12), front)
    assert model.output_shape == (None, 4, 14, 8)
    assert total(model) == 14 * 8 * 4 * (3 * 5 * 6)


def test_a_block_of_each_kind_adds_up():
    """A depthwise bottleneck with squeeze and excitation on a map of 10 x 10 x 8.

    Expanded to 16 channels 100 x 8 x 16, depthwise 100 x 16 x 9, averaged 100 x 16, squeezed
    16 x 4, excited 4 x 16, projected 100 x 16 x 8; to scale and to add is arithmetic on single
    values.
    """
    inputs = keras.Input((10, 10, 8))
    x = layers.Conv2D(16, 1, activation="relu6")(inputs)
    x = layers.DepthwiseConv2D(3, padding="same")(x)
    squeezed = layers.GlobalAveragePooling2D(keepdims=True)(x)
    squeezed = layers.Dense(4, activation="relu")(squeezed)
    x = layers.Multiply()([x, layers.Dense(16, activation="sigmoid")(squeezed)])
    model = keras.Model(inputs, layers.Add()([inputs, layers.Conv2D(8, 1)(x)]))
    assert total(model) == 12_800 + 14_400 + 1_600 + 64 + 64 + 12_800
    # Squeezing sees the whole picture; the map is as fine as before.
    assert reach_of(model) == Reach(math.inf, 1)


# Receptive fields.


@pytest.mark.parametrize(
    ("operations", "field", "stride"),
    [
        ([layers.Conv2D(1, 3, dilation_rate=2)], 5, 1),
        # ASPP's 3 x 3 at rate 12 on a map with stride 4: 1 + 3 + 24 x 4.
        ([layers.AveragePooling2D(4), layers.Conv2D(1, 3, dilation_rate=12)], 100, 4),
        ([layers.DepthwiseConv2D(5, strides=2)], 5, 2),
        ([layers.SeparableConv2D(1, 3, dilation_rate=3)], 7, 1),
        ([layers.Conv2DTranspose(1, 3, dilation_rate=2)], 5, 1),
        ([layers.MaxPooling2D(3, strides=2)], 3, 2),
        ([layers.Dense(2), layers.Permute((1, 3, 2)), layers.Reshape((120, 240))], 1, 1),
        ([layers.MaxPooling2D(4), layers.Resizing(120, 60, interpolation="nearest")], 4, 1),
        ([layers.MaxPooling2D(4), layers.Resizing(60, 60)], 8, 2),  # a neighbour 4 pixels off
    ],
    ids=kinds,
)
def test_fields_of_each_kind(operations, field, stride):
    assert reach_of(chain((120, 120, 1), *operations)) == Reach(field, stride)


def test_the_field_of_vgg16():
    """At conv5_3: 13 kernels of 3, of which 2, 2, 3, 3, 3 at strides 1, 2, 4, 8, 16, and 4 pools.

    1 + 2 x (2 x 1 + 2 x 2 + 3 x 4 + 3 x 8 + 3 x 16) + (1 + 2 + 4 + 8) = 196.
    """
    operations = []
    for stage, depth in enumerate((2, 2, 3, 3, 3), start=1):
        if stage > 1:
            operations.append(layers.MaxPooling2D(2, name=f"pool{stage - 1}"))
        for number in range(1, depth + 1):
            name = f"conv{stage}_{number}"
            operations.append(layers.Conv2D(1, 3, padding="same", name=name))
    assert reach_of(chain((224, 224, 3), *operations)) == Reach(196, 16)


@pytest.mark.parametrize(
    "pooling", [layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D], ids=lambda p: p.__name__
)
def test_pooling_over_all_sees_all(pooling):
    """And what is made of it does; upsampled, it lies as finely as the map it is put beside."""
    inputs = keras.Input((64, 64, 3))
    fine = layers.Conv2D(1, 4, strides=4)(inputs)  # 16 x 16
    pooled = layers.Conv2D(1, 1)(pooling(keepdims=True)(fine))
    assert reach_of(keras.Model(inputs, pooled)) == Reach(math.inf, 64)
    for back in (layers.UpSampling2D(16, interpolation="bilinear"), layers.Resizing(16, 16)):
        assert reach_of(keras.Model(inputs, back(pooled))) == Reach(math.inf, 4)
        joined = layers.Concatenate()([fine, back(pooled)])
        assert reach_of(keras.Model(inputs, joined)) == Reach(math.inf, 4)


def test_a_vector_of_a_whole_map_sees_all():
    model = chain((8, 8, 3), layers.Conv2D(1, 2, strides=2), layers.Flatten(), layers.Dense(2))
    assert reach_of(model).field == math.inf


def ones(kind, *args, **kwargs):
    """A layer with weights of 1 and no bias."""
    name = "depthwise" if kind in (layers.DepthwiseConv2D, layers.SeparableConv2D) else "kernel"
    kwargs[f"{name}_initializer"] = "ones"
    if kind is layers.SeparableConv2D:
        kwargs["pointwise_initializer"] = "ones"
    return kind(*args, padding="same", **kwargs)


@pytest.mark.parametrize(
    ("operations", "stride"),
    [
        (
            [
                ones(layers.Conv2D, 1, (3, 1)),
                layers.AveragePooling2D((2, 1)),
                ones(layers.Conv2D, 1, (3, 1), strides=(2, 1)),
            ],
            4,
        ),
        (
            [layers.AveragePooling2D((2, 1)), ones(layers.Conv2D, 1, (3, 1), dilation_rate=(3, 1))],
            2,
        ),
        ([ones(layers.DepthwiseConv2D, (3, 1)), ones(layers.DepthwiseConv2D, (5, 1))], 1),
        ([ones(layers.SeparableConv2D, 1, (3, 1), dilation_rate=(2, 1))], 1),
        ([layers.AveragePooling2D((4, 1)), layers.UpSampling2D((4, 1))], 1),
        (
            [
                layers.AveragePooling2D((4, 1)),
                layers.UpSampling2D((2, 1), interpolation="bilinear"),
            ],
            2,
        ),
        (
            [layers.AveragePooling2D((4, 1)), layers.UpSampling2D((2, 1), interpolation="bicubic")],
            2,
        ),
        ([layers.AveragePooling2D((5, 1)), layers.Resizing(16, 1)], 2.5),
        (
            [
                layers.AveragePooling2D((4, 1)),
                ones(layers.Conv2DTranspose, 1, (3, 1), strides=(2, 1)),
            ],
            2,
        ),
    ],
    ids=kinds,
)
def test_the_field_is_what_an_output_value_really_sees(operations, stride):
    """Weights of 1: change each input row in turn and see whether the middle outputs change."""
    rows = 40
    model = chain((rows, 1, 1), *operations)
    pictures = np.eye(rows).reshape(rows, rows, 1, 1)
    outputs = model.predict_on_batch(pictures)[:, :, 0, 0]  # (changed row, output row)
    changed = np.abs(outputs) > 1e-6
    # From the first to the last row that is seen: a dilated kernel leaves out some between.
    widths = [1 + np.ptp(np.flatnonzero(column)) for column in changed.T]
    quarter = len(widths) // 4  # away from the edges
    assert reach_of(model) == Reach(max(widths[quarter:-quarter]), stride)


# What is not known.


class Unheard(keras.layers.Layer):
    def call(self, inputs):
        return inputs


class Blur(Unheard):
    """A layer that counts for itself."""

    def macs(self, before, after):
        return 9 * math.prod(after[1:])

    def reach(self, reach, before, after):
        return dataclasses.replace(reach, field=reach.field + 2 * reach.stride)


@pytest.mark.parametrize(
    ("operation", "named"),
    [
        (
            Unheard(name="odd_layer"),
            r"'odd_layer' of class Unheard; add it to macs\(\) in tools/summary",
        ),
        (layers.Conv3D(1, 1, name="of_films"), "'of_films' of class Conv3D"),
        (layers.TimeDistributed(layers.Dense(2)), "of class TimeDistributed"),
        (layers.Resizing(4, 4, antialias=True), "of class Resizing"),
        (lambda x: keras.ops.flip(x, axis=1), "'flip.*' of class Flip"),
        (lambda x: keras.ops.concatenate([x, x]), "'concatenate.*' of class Concatenate"),
        (lambda x: x + 1, "'add.*' of class Add"),
        (layers.Reshape((64, 6)), r"of class Reshape; add it to reach_after\(\)"),
        (layers.Permute((2, 1, 3, 4)), r"of class Permute; add it to reach_after\(\)"),
    ],
)
def test_an_unknown_kind_is_an_error(operation, named):
    shape = (8, 8, 3) if isinstance(operation, layers.Resizing) else (8, 8, 2, 3)
    known = layers.Activation("relu")
    with pytest.raises(UserError, match=named):
        stages(chain(shape, known, operation, layers.Activation("relu")))


def test_an_unknown_kind_in_a_backbone_is_an_error():
    with pytest.raises(UserError, match="'deep' of class Unheard"):
        stages(chain((8, 8, 3), chain((8, 8, 3), Unheard(name="deep"))))


def test_a_layer_may_count_for_itself():
    model = chain((8, 8, 3), layers.MaxPooling2D(2), Blur())
    assert total(model) == 9 * 4 * 4 * 3
    assert reach_of(model) == Reach(2 + 2 * 2, 2)


def test_a_network_without_a_size_is_an_error():
    with pytest.raises(UserError, match="fixed size, but 'free' makes"):
        stages(chain((None, None, 3), layers.Conv2D(2, 1, name="free")))


def test_a_network_that_is_not_functional_is_an_error():
    class Written(keras.Model):
        def call(self, inputs):
            return inputs

    written = Written(name="written")
    for model in (written, chain((8, 8, 3), written)):
        with pytest.raises(UserError, match="'written' of class Written"):
            stages(model)


# What is printed.


def test_printing_draws_a_diagram_or_says_why_not(tmp_path, capsys):
    model = chapter((64, 64, 3), n=1, n_layers=1, filters=4)
    print_summary(model, tmp_path)
    table = capsys.readouterr().out
    assert "GMAC" in table and "Output Shape" not in table, "layers are for those who ask"
    print_summary(model, tmp_path, layers=True)
    printed = capsys.readouterr().out
    assert "ResNet11v2" in printed and "segmentation" in printed and "GMAC" in printed
    assert printed.startswith("stage ")  # the table comes first
    assert printed.index("GMAC") < printed.index('"ResNet11v2"') < printed.index('"fcn"')
    if not (tmp_path / "fcn.png").is_file():
        assert "No diagram fcn.png" in printed


def test_an_infinite_field_is_printed_as_all(tmp_path, capsys):
    model = chain((12, 8, 3), layers.GlobalAveragePooling2D(name="pool_over_the_whole_map"))
    print_summary(model, tmp_path)
    header, row, *_ = capsys.readouterr().out.splitlines()
    assert row.split() == ["pool_over_the_whole_map", "3", "0", "0.00", "all", "12"]
    assert len(header) == len(row)


def test_without_graphviz_there_is_no_diagram(tmp_path, capsys, monkeypatch):
    """pydot alone draws nothing: it calls the program `dot`."""

    class Graph:
        def write(self, path, format):
            raise FileNotFoundError('"dot" not found in path.')

    monkeypatch.setattr("keras.utils.model_to_dot", lambda *_, **__: Graph())
    monkeypatch.setenv("PATH", str(tmp_path))
    print_summary(chapter((64, 64, 3), n=1, n_layers=1, filters=4), tmp_path)
    assert "No diagram fcn.png" in capsys.readouterr().out


@pytest.mark.parametrize("given", ["a folder", "a file", "a link"])
def test_no_diagram_replaces_an_input(tmp_path, capsys, given):
    model, out = chapter((64, 64, 3), n=1, n_layers=1, filters=4), tmp_path / "out"
    out.mkdir()
    (out / "fcn.png").write_bytes(b"a picture")
    inputs = {"a folder": tmp_path, "a file": out / "fcn.png", "a link": tmp_path / "in.png"}[given]
    (tmp_path / "in.png").symlink_to(out / "fcn.png")
    with pytest.raises(UserError, match="fcn.png would be replaced by a diagram"):
        print_summary(model, out, [inputs])
    assert capsys.readouterr().out == "" and (out / "fcn.png").read_bytes() == b"a picture"
    print_summary(model, tmp_path / "other", [inputs])
