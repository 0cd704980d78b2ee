"""The dense CRF: its filters against sums over all pairs, its mean field, and `--crf`."""

import re
import sys
from functools import partial

import keras
import numpy as np
import pytest
from conftest import make_store, run_script, tiny_fcn
from PIL import Image
from scipy.spatial.distance import cdist

from engine.arguments import parse_arguments
from engine.records import Network
from engine.weights import save_weights
from evaluation import answer, evaluate
from metrics import scores
from tools import crf as tool
from tools.crf import refined
from utils import crf
from utils.classes import named
from utils.crf import (
    ITERATIONS,
    Pairwise,
    colours_and_places,
    dense_crf,
    lattice,
    normalised,
    plane,
)
from utils.errors import UserError

COLOURS = np.array([[200, 180, 170], [60, 90, 140], [120, 30, 40]])
# Widths at which the colours below are dense in the lattice, as those of a photograph are.
PAIRWISE = Pairwise(w1=5.0, sa=50.0, sb=13.0, w2=3.0, sg=3.0)


def scene(size, noise=2.0, seed=0):
    """A picture of three colours with noise, and probabilities of which a fifth is wrong."""
    random, (height, width) = np.random.default_rng(seed), size
    labels = np.zeros(size, int)
    labels[height // 4 : 3 * height // 4, width // 3 :] = 1
    labels[height // 2 :, : width // 4] = 2
    picture = COLOURS[labels] + np.linspace(0, 30, width)[:, None]
    picture = picture + random.normal(0, noise, (*size, 3))
    wrong = np.where(random.uniform(size=size) < 0.2, random.integers(0, 4, size), labels)
    probabilities = (np.eye(4) * 0.5 + 0.125)[wrong]
    return np.uint8(picture.clip(0, 255)), np.float32(probabilities), labels


def over_all_pairs(features):
    """The filter as it is written down, in N^2 steps: features (N, d), values (C, N)."""
    kernel = np.exp(-cdist(features, features, "sqeuclidean") / 2)
    return lambda values: values @ kernel


def pair_weights(picture, pairwise):
    """What each pair of pixels weighs, (N, N), by both kernels."""
    features = colours_and_places(picture, pairwise.sa, pairwise.sb)
    places = np.stack(np.indices(picture.shape[:2]), -1).reshape(-1, 2) / pairwise.sg
    kernels = []
    for weight, each in ((pairwise.w1, features), (pairwise.w2, places)):
        kernel = over_all_pairs(each)(np.eye(len(each)))
        roots = np.sqrt(kernel.sum(0))
        kernels.append(weight * kernel / np.outer(roots, roots))
    return sum(kernels)


def naive_crf(probabilities, picture, pairwise, iterations):
    """Mean field step by step, with the compatibility of each pair of classes written out."""
    classes = probabilities.shape[-1]
    energy = -np.log(probabilities.reshape(-1, classes).T)
    potts, weights = 1 - np.eye(classes), pair_weights(picture, pairwise)
    q = np.exp(-energy) / np.exp(-energy).sum(0)
    for _ in range(iterations):
        q = np.exp(-energy - potts @ q @ weights)
        q /= q.sum(0)
    return q.T.reshape(probabilities.shape)


def test_places_are_filtered_exactly():
    values = np.random.default_rng(0).uniform(0, 1, (4, 12 * 17)).astype(np.float32)
    places = np.stack(np.indices((12, 17)), -1).reshape(-1, 2) / 3
    expected = over_all_pairs(places)(values)
    np.testing.assert_allclose(plane((12, 17), 3)(values), expected, rtol=1e-5)


@pytest.mark.parametrize("size", [(12, 17), (1, 30), (60, 9)])
def test_long_sides_are_filtered_alike(size, monkeypatch):
    """Without a number for each pair of places along them."""
    values = np.random.default_rng(0).uniform(0, 1, (4, size[0] * size[1])).astype(np.float32)
    expected = plane(size, 3)(values)
    monkeypatch.setattr(crf, "LONGEST", 8)
    np.testing.assert_allclose(plane(size, 3)(values), expected, rtol=1e-5)


@pytest.mark.parametrize("width", [0, -1.0, float("nan")])
@pytest.mark.parametrize("name", ["sa", "sb", "sg"])
def test_a_width_of_nothing_is_refused(name, width):
    with pytest.raises(UserError, match=f"{name} is {width}; give a width above 0"):
        Pairwise(**{name: width})


@pytest.mark.parametrize("size", [(12, 17), (40, 28)])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("widths", [(50, 13), (Pairwise().sa, Pairwise().sb)])
def test_the_lattice_is_nearly_the_sum_over_all_pairs(size, symmetric, channels, widths):
    """The largest error is that of a pixel alone in its colour; most are below 0.02."""
    picture, probabilities, _ = scene(size)
    features = colours_and_places(picture[..., :channels], *widths)
    values, number = probabilities.reshape(-1, 4).T, len(features)
    found = normalised(lattice(features), number, symmetric)(values)
    expected = normalised(over_all_pairs(features), number, symmetric)(values)
    error = np.abs(found - expected)
    assert error.max() < 0.07 and error.mean() < 0.01 and np.quantile(error, 0.9) < 0.02
    assert np.ptp(expected) > 0.4


def test_a_pixel_is_spread_as_far_as_a_gaussian():
    """Variance 1 in each of two dimensions, over many places in the lattice."""
    steps = np.linspace(-5, 5, 51)
    features = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2).astype(np.float32)
    some = np.flatnonzero((np.abs(features) < 1).all(1))  # all of a period
    values = np.zeros((len(some), len(features)), np.float32)
    values[np.arange(len(some)), some] = 1
    spread = lattice(features)(values)
    spread /= spread.sum(1, keepdims=True)
    apart = features - features[some][:, None]
    variance = np.einsum("sn,sni,snj->ij", spread, apart, apart) / len(some)
    np.testing.assert_allclose(variance, np.eye(2), atol=0.03)


@pytest.mark.parametrize("size", [(12, 12), (12, 17), (32, 40)])
def test_mean_field_is_that_of_all_pairs(size):
    """After one iteration nearly the same numbers, after ten the same classes."""
    picture, probabilities, labels = scene(size)
    found = dense_crf(probabilities, picture, PAIRWISE, iterations=1)
    error = np.abs(found - naive_crf(probabilities, picture, PAIRWISE, 1))
    assert error.mean() < 0.005 and np.quantile(error, 0.95) < 0.02
    found = dense_crf(probabilities, picture, PAIRWISE).argmax(-1)
    expected = naive_crf(probabilities, picture, PAIRWISE, 10).argmax(-1)
    assert (found == expected).mean() >= 0.99
    assert (probabilities.argmax(-1) == labels).mean() < 0.9 < (found == labels).mean()


def test_with_the_widths_of_crf_the_classes_are_those_of_all_pairs():
    picture, probabilities, _ = scene((36, 48), noise=12.0)
    found = dense_crf(probabilities, picture)
    expected = naive_crf(probabilities, picture, Pairwise(), ITERATIONS)
    assert ITERATIONS == 10 and (found.argmax(-1) == expected.argmax(-1)).mean() >= 0.99


def test_one_pixel_after_another_the_energy_falls_to_the_same_classes():
    """Updated in turn, mean field descends in the divergence from the field's distribution."""
    picture, probabilities, _ = scene((12, 17))
    logits = np.log(probabilities.reshape(-1, 4))
    weights = pair_weights(picture, PAIRWISE)
    np.fill_diagonal(weights, 0)  # a pixel is no pair

    def divergence(q):  # but for a constant
        return (q * (np.log(q + 1e-30) - logits)).sum() - (q * (weights @ q)).sum() / 2

    q, told = probabilities.reshape(-1, 4).astype(float), []
    for _ in range(6):
        for pixel in range(len(q)):
            said = logits[pixel] + weights[pixel] @ q
            q[pixel] = np.exp(said - said.max()) / np.exp(said - said.max()).sum()
            told.append(divergence(q))
    assert (np.diff(told) < 1e-9).all() and told[0] - told[-1] > 10
    found = dense_crf(probabilities, picture, PAIRWISE).argmax(-1).ravel()
    assert (q.argmax(-1) == found).mean() >= 0.98


def test_smoothness_alone_is_exact():
    picture, probabilities, _ = scene((12, 17))
    alone = Pairwise(w1=0.0, w2=3.0)
    found = dense_crf(probabilities, picture, alone, iterations=5)
    np.testing.assert_allclose(found, naive_crf(probabilities, picture, alone, 5), atol=1e-4)


def test_without_weights_or_iterations_answers_stay():
    picture, probabilities, _ = scene((12, 17))
    nothing = Pairwise(w1=0.0, w2=0.0)
    np.testing.assert_allclose(dense_crf(probabilities, picture, nothing), probabilities, atol=1e-6)
    never = dense_crf(probabilities, picture, iterations=0)
    np.testing.assert_allclose(never, probabilities, atol=1e-6)
    assert np.abs(dense_crf(probabilities, picture) - probabilities).max() > 0.1


def test_classes_have_no_order():
    picture, probabilities, _ = scene((12, 17))
    order = [2, 0, 3, 1]
    found = dense_crf(probabilities[..., order], picture)
    np.testing.assert_allclose(found, dense_crf(probabilities, picture)[..., order], atol=1e-5)


def test_what_has_one_colour_gets_one_class():
    picture, probabilities, labels = scene((24, 32), noise=0)
    picture = np.uint8(COLOURS)[labels]
    strong = Pairwise(w1=100.0, sa=1000.0, sb=3.0, w2=0.0)
    found = dense_crf(probabilities, picture, strong).argmax(-1)
    assert all(len(np.unique(found[labels == label])) == 1 for label in range(3))
    np.testing.assert_array_equal(found, labels)


def test_a_noisy_square_is_cleaned():
    random = np.random.default_rng(0)
    labels = np.zeros((24, 32), int)
    labels[8:16, 12:22] = 1
    picture = np.full((24, 32, 3), 90, np.uint8)  # flat: colours say nothing
    wrong = np.where(random.uniform(size=labels.shape) < 0.1, 1 - labels, labels)
    probabilities = (np.eye(2) * 0.4 + 0.3)[wrong]
    found = dense_crf(probabilities, picture, Pairwise(w1=0.0, w2=3.0, sg=1.0)).argmax(-1)
    assert (wrong != labels).sum() > 60 and (found != labels).sum() < 15


def test_probabilities_of_0_stay_finite():
    picture, _, labels = scene((12, 17))
    sure = np.eye(4, dtype=np.float32)[labels]
    found = dense_crf(sure, picture)
    assert np.isfinite(found).all() and found.dtype == np.float32
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)
    # As if they were 1e-5: a pixel is not for ever what the network was sure of.
    np.testing.assert_allclose(found, dense_crf(sure.clip(1e-5), picture), atol=1e-6)


def test_pictures_of_other_channels():
    picture, probabilities, labels = scene((24, 32))
    for channels in ([0], [0, 1], [0, 1, 2, 0]):
        found = dense_crf(probabilities, picture[..., channels]).argmax(-1)
        assert (found == labels).mean() > 0.9
    noise = np.random.default_rng(0).integers(0, 256, (24, 32, 16), np.uint8)
    with pytest.raises(UserError, match="18 dimensions differ by too much.*fewer channels"):
        dense_crf(probabilities, noise)


def test_what_is_no_picture_is_refused():
    picture, probabilities, _ = scene((12, 17))
    with pytest.raises(UserError, match="float64 is nothing to a CRF.*0 to 255; give uint8"):
        dense_crf(probabilities, picture / 255)
    for other in (picture.transpose(1, 0, 2), picture[..., 0]):
        with pytest.raises(UserError, match="12x17 probabilities; resize it to .12, 17, channels"):
            dense_crf(probabilities, other)


def test_it_goes_around_an_answer():
    """At the size that is asked for; of each picture by itself."""
    model = tiny_fcn(seed=0)
    pictures = [scene((40, 50), seed=seed)[0] for seed in (0, 1)]
    ask = partial(answer, model)
    found = keras.ops.convert_to_numpy(refined(ask, pictures))
    assert found.shape == (2, 40, 50, 3) and found.dtype == np.float32
    before = keras.ops.convert_to_numpy(ask(pictures))
    for one, picture, expected in zip(found, pictures, before, strict=True):
        np.testing.assert_allclose(one, dense_crf(expected, picture), atol=1e-5)
    assert np.abs(found - before).max() > 0.01
    assert refined(ask, pictures, (25, 30)).shape == (2, 25, 30, 3)


def test_a_large_picture_is_refined_small(monkeypatch):
    seen = []
    monkeypatch.setattr(tool, "MOST", 30 * 40)
    monkeypatch.setattr(tool, "dense_crf", lambda q, p: seen.append((q.shape, p.shape)) or q)
    found = refined(partial(answer, tiny_fcn(seed=0)), [scene((90, 120))[0]])
    assert found.shape == (1, 90, 120, 3) and seen == [((30, 40, 3), (30, 40, 3))]


def weights_of(folder):
    model, classes = tiny_fcn(seed=0), named(["background", "bottle", "can"])
    settings = {"backbone": "resnet8v1", "layers": 1, "filters": 4}
    network = Network("fcn", (32, 48, 3), classes, settings)
    run = {"size": [32, 48], "schedule_epochs": 1}
    configuration = {"network": network.content(), "data": {}, "run": run}
    save_weights(model, folder / "a.weights.h5", configuration)
    return model, str(folder / "a.weights.h5")


def test_the_option(tmp_path, capsys):
    """Scores before and after; pictures are drawn as they are after."""
    store = make_store(tmp_path, [(24, 32), (40, 30)])
    model, weights = weights_of(tmp_path)
    common = ["--evaluate", "--restore-weights", weights, "--data-path", tmp_path]
    common += ["--test-labels", "labels.npy", "--precision", "float32"]
    common += ["--prediction-dir", tmp_path / "drawn", "--verbose", "0"]
    run_script(*common, "--crf", "--plot")
    before, after = capsys.readouterr().out.split("after the CRF\n")
    assert before.startswith("before the CRF\n")
    for ask, text in (
        (partial(answer, model), before),
        (partial(refined, partial(answer, model)), after),
    ):
        assert f"dataset mIoU    {scores(evaluate(ask, store))['dataset_miou']:.4f}" in text
    mask = np.array(Image.open(tmp_path / "drawn" / "1.png-mask.png"))
    expected = refined(partial(answer, model), [store.picture("1.png")])[0]
    np.testing.assert_array_equal(mask, keras.ops.convert_to_numpy(expected).argmax(-1))
    assert before[len("before the CRF") :] != after


def test_the_command(tmp_path, monkeypatch, capsys):
    picture = scene((40, 50))[0]
    Image.fromarray(picture).save(tmp_path / "a.png")
    _, weights = weights_of(tmp_path)
    out = str(tmp_path / "crf.png")
    said = weights.replace(".weights.h5", ".h5")  # as the book calls them
    assert said != weights
    monkeypatch.setattr(sys, "argv", ["crf.py", str(tmp_path / "a.png"), said, "--out", out])
    tool.main()
    told = re.fullmatch(
        r"(.*); the answer took (\S+) s, the CRF (\S+) s\n", capsys.readouterr().out
    )
    assert told[1] == out and float(told[2]) >= 0 and np.isfinite(float(told[3]))
    page = np.array(Image.open(out).convert("RGB"))
    assert page.shape[1] == tool.MARGIN + 4 * (tool.SIDE + tool.MARGIN)


def test_a_figure_takes_no_picture_s_place(tmp_path, monkeypatch):
    picture = tmp_path / "a.png"
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(picture)
    before = picture.read_bytes()
    monkeypatch.setattr("sys.argv", ["crf.py", str(picture), "w.h5", "--out", str(picture)])
    with pytest.raises(UserError, match="--out"):
        tool.main()
    assert picture.read_bytes() == before


@pytest.mark.parametrize("option", ["--crf", "--tiles"])
def test_it_goes_with_an_evaluation(option, capsys):
    with pytest.raises(SystemExit):
        parse_arguments(["--train", option])
    assert f"{option} goes with --evaluate" in capsys.readouterr().err
