"""The figure of the heads of a UNet++: what is drawn, for which networks."""

import sys
from dataclasses import replace

import keras
import numpy as np
import pytest
from conftest import predict, random_batch, tiny_fcn
from PIL import Image

from engine.records import Network
from engine.weights import save_weights
from tools import heads
from tools.heads import draw_heads, see
from utils.classes import named
from utils.errors import UserError
from zoo.unetplusplus import build_unetplusplus

CLASSES = named(["background", "bottle", "can"])
SIZE = (33, 47)
ALONE = {"nodes": "one", "supervised": False}


def tiny(**settings):
    keras.utils.set_random_seed(0)
    return build_unetplusplus((*SIZE, 3), 3, width=2, **settings)


def test_each_node_is_shown_with_its_head():
    pictures, _ = random_batch(SIZE, 1)
    model = tiny()
    means, labels = see(model, pictures[0])
    assert list(means) == [0, 1, 2, 3, 4] and sorted(labels) == [-1, 1, 2, 3, 4]
    for output, j in zip(predict(model, pictures), (-1, 1, 2, 3, 4), strict=True):
        np.testing.assert_array_equal(labels[j], output[0].argmax(-1))
    node = keras.Model(model.input, model.get_layer("x02_2_conv").output)
    expected = predict(node, pictures)[0, :33, :47].mean(-1)
    np.testing.assert_allclose(means[2], expected, rtol=1e-5)


@pytest.mark.parametrize("depth", [1, 3, 4])
def test_a_u_net_jumps(depth):
    means, labels = see(tiny(depth=depth, **ALONE), random_batch((90, 40), 1)[0][0])
    assert list(means) == [0, depth] and sorted(labels) == [-1, depth]
    np.testing.assert_array_equal(labels[-1], labels[depth])


def test_the_picture_is_not_replaced_by_its_figure(tmp_path, monkeypatch):
    Image.fromarray(random_batch(SIZE, 1)[0][0]).save(tmp_path / "heads.png")
    before = (tmp_path / "heads.png").read_bytes()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["heads.py", "heads.png", "x.weights.h5"])
    with pytest.raises(UserError, match="heads.png"):
        heads.main()
    assert (tmp_path / "heads.png").read_bytes() == before


def test_another_network_has_no_such_nodes():
    with pytest.raises(UserError, match="the network fcn is no UNet.*unetplusplus"):
        see(tiny_fcn(), random_batch(SIZE, 1)[0][0])


def test_a_page_holds_a_panel_for_each(tmp_path):
    """White where the U-Net has no node; a map without contrast is drawn too."""
    picture = random_batch((40, 80), 1)[0][0]
    seen = {"unetplusplus": see(tiny(), picture), "unet-l4": see(tiny(**ALONE), picture)}
    seen["unet-l4"][0][0][:] = 1
    draw_heads(tmp_path / "heads.png", picture, seen, CLASSES)
    page = np.array(Image.open(tmp_path / "heads.png").convert("RGB"))
    rows, columns = heads.LINE + 112 + heads.MARGIN, 224 + heads.MARGIN
    drawn = []
    for row, extra in ((0, 0), (1, 0), (2, 1), (3, 1)):
        top = heads.MARGIN * (1 + extra) + row * rows + heads.LINE
        lefts = (heads.MARGIN + column * columns for column in range(6))
        drawn.append(
            [bool((page[top + 5 : top + 100, x + 5 : x + 200] < 250).any()) for x in lefts]
        )
    assert drawn == [
        [True] * 6,
        [True, False, True, True, True, True],
        [True, True, False, False, False, True],
        [True, False, False, False, False, True],
    ]


def test_the_command(tmp_path, monkeypatch, capsys):
    picture = random_batch((40, 80), 1)[0][0]
    Image.fromarray(picture).save(tmp_path / "a.png")
    run = {"size": list(SIZE), "schedule_epochs": 1}
    paths = []
    for name, settings in (("unetplusplus", {}), ("unet-l2", {"depth": 2, **ALONE})):
        network = Network(name, (*SIZE, 3), CLASSES, {"width": 2})
        configuration = {"network": network.content(), "data": {}, "run": run}
        paths.append(str(tmp_path / f"{name}.weights.h5"))
        save_weights(tiny(**settings), paths[-1], configuration)
    out = str(tmp_path / "heads.png")
    monkeypatch.setattr(sys, "argv", ["heads.py", str(tmp_path / "a.png"), *paths, "--out", out])
    heads.main()
    assert capsys.readouterr().out.strip() == out
    assert Image.open(out).width == heads.MARGIN + 6 * (224 + heads.MARGIN)
    others = replace(network, classes=named(["background", "can", "bottle"]))
    save_weights(tiny(**settings), paths[-1], configuration | {"network": others.content()})
    with pytest.raises(UserError, match="use data and weights of the same classes"):
        heads.main()
