"""The table of stages: the chapter's arithmetic, receptive fields and strides."""

import keras
import numpy as np
import pytest

from model import build_fcn
from tools.summary import Reach, print_summary, reaches, stages


@pytest.fixture(scope="module")
def rows():
    return {row["stage"]: row for row in stages(build_fcn((480, 640, 3)))}


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
    assert sum(row["gmac"] for row in rows.values()) == pytest.approx(155.6, abs=0.05)
    backbone = ("stem", "stage0", "stage1", "stage2", "layer2", "layer3")
    assert sum(rows[name]["gmac"] for name in backbone) == pytest.approx(60.1, abs=0.05)
    assert rows["up_x2"]["gmac"] + rows["up_x4"]["gmac"] == pytest.approx(90.6, abs=0.05)
    assert sum(row["parameters"] for row in rows.values()) == 11_120_900


def test_the_field_is_what_an_output_value_really_sees():
    """Weights of 1: change each input row in turn and see whether the middle output changes."""
    inputs = keras.Input((41, 1, 1))
    x = keras.layers.Conv2D(1, (3, 1), padding="same", kernel_initializer="ones")(inputs)
    x = keras.layers.AveragePooling2D((2, 1))(x)
    x = keras.layers.Conv2D(
        1, (3, 1), strides=(2, 1), padding="same", kernel_initializer="ones", name="last"
    )(x)
    model = keras.Model(inputs, x)
    middle = model.output_shape[1] // 2
    base = model.predict_on_batch(np.zeros((1, 41, 1, 1)))[0, middle]
    pictures = np.eye(41).reshape(41, 41, 1, 1)
    seen = (model.predict_on_batch(pictures)[:, middle] != base).sum()
    _, (reach,) = reaches(model, [Reach()])
    assert reach == Reach(field=seen, stride=4)


def test_printing_draws_a_diagram_or_says_why_not(tmp_path, capsys):
    print_summary(build_fcn((64, 64, 3), "resnet11v2", n_layers=1, filters=4), tmp_path)
    printed = capsys.readouterr().out
    assert "ResNet11v2" in printed and "segmentation" in printed and "GMAC" in printed
    if not (tmp_path / "fcn.png").is_file():
        assert "No diagram fcn.png" in printed


def test_without_graphviz_there_is_no_diagram(tmp_path, capsys, monkeypatch):
    """pydot alone draws nothing: it calls the program `dot`."""

    class Graph:
        def write(self, path, format):
            raise FileNotFoundError('"dot" not found in path.')

    monkeypatch.setattr("keras.utils.model_to_dot", lambda *_, **__: Graph())
    monkeypatch.setenv("PATH", str(tmp_path))
    print_summary(build_fcn((64, 64, 3), "resnet11v2", n_layers=1, filters=4), tmp_path)
    assert "No diagram fcn.png" in capsys.readouterr().out
