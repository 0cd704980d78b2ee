"""bfloat16 against float32: a network learns as well in it."""

import keras
import numpy as np
import pytest

from evaluation import build_scorer
from fast.adam import adam
from losses import PixelCrossEntropy
from metrics import class_maps, count_confusions, scores
from model import build_fcn


def squares(number, seed):
    """Dark pictures (N, 32, 48, 3) with a reddish and a greenish square, and their labels."""
    random = np.random.default_rng(seed)
    pictures = random.integers(0, 60, (number, 32, 48, 3), np.uint8)
    labels = np.zeros((number, 32, 48), np.uint8)
    for picture, label in zip(pictures, labels, strict=True):
        for id in (1, 2):
            top, left = random.integers(0, 16), random.integers(0, 32)
            label[top : top + 14, left : left + 14] = id
        for id in (1, 2):
            picture[label == id, id - 1] += 120
    return pictures, labels


def test_scores_are_those_of_the_masks_in_bfloat16():
    """The network answers in float32; rounded to bfloat16 more classes of a pixel would tie."""
    pictures, labels = squares(8, seed=0)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        keras.utils.set_random_seed(0)
        fcn = build_fcn((32, 48, 3), "resnet11v2", 3, n_layers=1, filters=8)
        scored = build_scorer(fcn).predict_on_batch([pictures, labels])
    finally:
        keras.config.set_dtype_policy("float32")
    maps = class_maps(fcn.predict_on_batch(pictures), labels.shape[1:])
    expected = count_confusions(labels, maps, 3)
    np.testing.assert_array_equal(np.asarray(scored), np.asarray(expected))


def test_training_reaches_the_same_miou_in_bfloat16():
    pictures, labels = squares(64, seed=0)
    steps, reached = 160, []
    for policy in ("float32", "mixed_bfloat16"):
        keras.config.set_dtype_policy(policy)
        try:
            keras.utils.set_random_seed(0)
            fcn = build_fcn((32, 48, 3), "resnet11v2", 3, n_layers=2, filters=8)
        finally:
            keras.config.set_dtype_policy("float32")
        for layer in fcn._flatten_layers():
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = 0.9  # 0.99 needs more steps than this run has
        fcn.compile(optimizer=adam(1e-2), loss=PixelCrossEntropy(), jit_compile=False)
        for step in range(steps):
            fcn.optimizer.learning_rate = 1e-2 * (1 - step / steps)
            part = slice(step * 8 % 64, step * 8 % 64 + 8)
            fcn.train_on_batch(pictures[part], labels[part])
        matrices = build_scorer(fcn).predict_on_batch(list(squares(32, seed=1)))
        reached.append(scores(np.asarray(matrices))["dataset_miou"])
    assert min(reached) > 0.95
    assert reached[0] == pytest.approx(reached[1], abs=0.005)
