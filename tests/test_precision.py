"""bfloat16 against float32: a network learns as well in it."""

import keras
import numpy as np
import pytest
from conftest import tiny_fcn

from evaluation import count_batch
from fast import devices
from fast.adam import adam
from losses import PixelCrossEntropy
from metrics import class_maps, count_confusions, scores


def squares(number, seed):
    """Dark pictures (N, 32, 32, 3) with a reddish and a greenish square, and their labels."""
    random = np.random.default_rng(seed)
    pictures = random.integers(0, 60, (number, 32, 32, 3), np.uint8)
    labels = np.zeros((number, 32, 32), np.uint8)
    for picture, label in zip(pictures, labels, strict=True):
        for id in (1, 2):
            top, left = random.integers(0, 18), random.integers(0, 18)
            label[top : top + 14, left : left + 14] = id
        for id in (1, 2):
            picture[label == id, id - 1] += 190
    return pictures, labels


@pytest.mark.parametrize(
    ("backend", "flags", "plain", "precision"),
    [
        ("tensorflow", "avx2 amx_bf16", False, "bfloat16"),
        ("tensorflow", "avx512f avx512_bf16", True, "bfloat16"),
        ("tensorflow", "avx2", False, "float32"),
        ("jax", "avx2 amx_bf16", False, "bfloat16"),
        ("jax", "avx2 amx_bf16", True, "float32"),  # XLA has no product of it in a convolution
        ("jax", "avx512f avx512_bf16", False, "float32"),
        ("torch", "avx2 amx_bf16", False, "float32"),
        ("tensorflow", None, False, "float32"),  # not Linux
    ],
)
def test_a_cpu_has_bfloat16_where_its_backend_is_faster_in_it(
    backend, flags, plain, precision, monkeypatch, tmp_path
):
    file = tmp_path / "cpuinfo"
    if flags:
        file.write_text(f"flags\t\t: fpu {flags}\n")
    monkeypatch.setattr(devices, "Path", lambda _: file)
    monkeypatch.setattr(devices, "on_cpu", lambda: True)
    monkeypatch.setattr(devices.fast, "is_on", lambda: not plain)
    monkeypatch.setattr(devices.keras.backend, "backend", lambda: backend)
    assert devices.fast_precision() == precision


def test_scores_are_those_of_the_masks_in_bfloat16(policy):
    """The network answers in float32; rounded to bfloat16 more classes of a pixel would tie."""
    pictures, labels = squares(8, seed=0)
    policy("mixed_bfloat16")
    fcn = tiny_fcn((32, 32), backbone="resnet11v2", filters=8, seed=0)
    scored = count_batch(fcn, pictures, labels)
    policy("float32")
    maps = class_maps(fcn.predict_on_batch(pictures), labels.shape[1:])
    expected = count_confusions(labels, maps, 3)
    np.testing.assert_array_equal(np.asarray(scored), np.asarray(expected))


@pytest.mark.long
def test_training_reaches_the_same_miou_in_bfloat16(policy):
    pictures, labels = squares(64, seed=0)
    steps, reached = 100, []
    for name in ("float32", "mixed_bfloat16"):
        policy(name)
        fcn = tiny_fcn((32, 32), filters=16, seed=0)
        policy("float32")
        for layer in fcn._flatten_layers():
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = 0.8  # 0.99 needs more steps than this run has
        fcn.compile(adam(1e-2), PixelCrossEntropy(), jit_compile=False)
        fcn.optimizer.build(fcn.trainable_variables)  # else TensorFlow traces twice
        for step in range(steps):
            fcn.optimizer.learning_rate = 1e-2 * (1 - step / steps)
            part = slice(step * 4 % 64, step * 4 % 64 + 4)
            fcn.train_on_batch(pictures[part], labels[part])
        matrices = count_batch(fcn, *squares(32, seed=1))
        reached.append(scores(np.asarray(matrices))["dataset_miou"])
    assert min(reached) > 0.95
    assert reached[0] == pytest.approx(reached[1], abs=0.005)
