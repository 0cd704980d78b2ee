"""Adversarial training: each player learns from its own loss alone, and weight 0 is no opponent."""

from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import keras
import numpy as np
import pytest
from conftest import (
    assert_same,
    build_toy,
    make_picture,
    make_store,
    predict,
    random_batch,
    run_script,
    tiny_fcn,
    tiny_settings,
)
from PIL import Image

import zoo
from callbacks import AccuracyCallback
from data_generator import DataGenerator
from engine.adversarial import (
    SECOND_PHASE,
    Beside,
    Phases,
    entropy,
    oppose,
    own_entropy,
    product,
    scaled,
    true_maps,
)
from engine.arguments import parse_arguments
from engine.records import ADVERSARIES, Data, Network, Run
from engine.runs import Ledger, RunFiles, describe_run, run_files
from engine.session import Session
from engine.settings import check_fixed, fill_resumed, settle
from engine.trainer import JIT, bring_weights, train
from engine.weights import load_weights
from fast.adam import adam
from fast.feed import feed
from losses import PixelCrossEntropy
from utils.classes import named
from utils.errors import UserError
from utils.history import read_rows
from utils.label_maps.unlabelled import open_unlabelled
from zoo.unetplusplus import build_unetplusplus

KINDS = list(ADVERSARIES)
SEMI_SUPERVISED = ("hung", "souly")
PAPERS = ("luc", *SEMI_SUPERVISED)
SIZE = (32, 48)
pytestmark = pytest.mark.filterwarnings("ignore:Gradients do not exist")


def toy():
    keras.utils.set_random_seed(0)
    return build_toy((*SIZE, 3), 3)


def batch(kind, number=2):
    """Pictures and labels with void, and pictures without labels for those who learn from them."""
    pictures, labels = random_batch(SIZE, number)
    labels[:, :5] = 255
    if kind not in SEMI_SUPERVISED:
        return pictures, labels
    return pictures, (labels, random_batch(SIZE, number, seed=1)[0])


def stepped(model, data, steps=1):
    """The network after a few steps; without a graph, since each test takes few."""
    model.compile(adam(1e-3), PixelCrossEntropy(), run_eagerly=True, jit_compile=False)
    for _ in range(steps):
        logs = model.train_on_batch(*data, return_dict=True)
    assert all(np.isfinite(value) for value in logs.values())
    return model


def weights_of(model):
    """Those of the segmenter alone."""
    return keras.Model(model.inputs, model.outputs).get_weights()


def assert_equal(one, other):
    """Bit for bit; JAX adds the same numbers in another order from one run to the next."""
    if keras.backend.backend() == "tensorflow":
        assert_same(one, other)
    for left, right in zip(one, other, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-3, atol=1e-6)


def changed(before, after):
    return [bool(np.abs(a - b).max() > 0) for a, b in zip(before, after, strict=True)]


@pytest.mark.long
@pytest.mark.parametrize("name", ["crf-rnn", "pspnet", "unet"])
def test_networks_of_the_zoo_have_an_opponent(name):
    """With a gradient of their own, a second head, or maps that shrink."""
    model = oppose(zoo.build(name, (*SIZE, 3), 3, tiny_settings(name)), "souly", 0.1, width=4)
    before = model.opponent.get_weights(), weights_of(model)
    stepped(model, batch("souly"))
    for old, new in zip(before, (model.opponent.get_weights(), weights_of(model)), strict=True):
        assert any(changed(old, new))


# --- who learns from what -------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize("kind", [*PAPERS, "luc-scaled"])
def test_each_player_learns_from_its_own_loss_alone(kind):
    """What the opponent counts for the segmenter is nothing to the opponent, and the other way."""
    pictures, labels = batch(kind)
    plain = stepped(toy(), (pictures, labels[0] if isinstance(labels, tuple) else labels))
    without, with_it = (oppose(toy(), kind, weight, width=4) for weight in (0, 1.0))
    first = with_it.opponent.get_weights()
    assert_same(first, without.opponent.get_weights())
    for model in (without, with_it):
        stepped(model, (pictures, labels))
    assert_equal(weights_of(without), plain.get_weights())
    assert any(changed(weights_of(with_it), plain.get_weights()))
    assert_equal(without.opponent.get_weights(), with_it.opponent.get_weights())
    trained = [weight.trainable for weight in with_it.opponent.weights]
    moved = changed(first, with_it.opponent.get_weights())
    assert all(move for move, may in zip(moved, trained, strict=True) if may)


@pytest.mark.long
@pytest.mark.parametrize("kind", ["luc", "souly"])
def test_compiled_both_players_learn_as_they_do_step_by_step(kind):
    """As a training compiles them, with their weight; told by what they lose after two steps."""
    told = []
    for options in ({"run_eagerly": True}, {"jit_compile": JIT}):
        model = oppose(toy(), kind, 1.0, width=4)
        model.compile(adam(1e-2), PixelCrossEntropy(), **options)
        logs = [model.train_on_batch(*batch(kind), return_dict=True) for _ in range(3)]
        told.append([(each["loss"], each["opponent_loss"]) for each in logs])
    np.testing.assert_allclose(*told, rtol=1e-4)
    assert (np.abs(np.diff(told[1], axis=0)) > 3e-4).all()


@pytest.mark.parametrize("kind", PAPERS)
def test_what_the_segmenter_is_told_reaches_all_of_it(kind):
    """Without a loss of its own; the moving statistics are those of the labelled picture."""
    pictures, labels = batch(kind, 1)
    model = oppose(toy(), kind, 1.0, width=4)
    model._segmenter().compute_loss = lambda *_: 0.0
    before = weights_of(model)
    stepped(model, (pictures, labels))
    plain = stepped(toy(), (pictures, labels[0] if isinstance(labels, tuple) else labels))
    moving = [weight.path.split("/")[-1].startswith("moving") for weight in plain.weights]
    after = weights_of(model)
    moved = changed(before, after)
    # Normalisation takes off the bias before it.
    needed = [not weight.path.startswith("stem_conv/bias") for weight in plain.weights]
    assert all(move for move, need in zip(moved, needed, strict=True) if need)
    statistics = [
        (a, b)
        for a, b, is_moving in zip(after, plain.get_weights(), moving, strict=True)
        if is_moving
    ]
    assert len(statistics) == 2
    for one, other in statistics:
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_with_weight_0_the_chapters_network_is_trained_as_without():
    """With its penalties, and with unlabelled pictures beside."""
    data = batch("hung")
    plain = stepped(tiny_fcn(seed=0), (data[0], data[1][0]), 2)
    model = oppose(tiny_fcn(seed=0), "hung", 0, width=4)
    assert_equal(weights_of(stepped(model, data, 2)), plain.get_weights())


def test_in_the_first_phase_it_is_trained_as_without():
    """Of Luc's, while its opponent learns."""
    data = batch("luc")
    model = oppose(toy(), "luc", 1.0, width=4)
    model.phase.second.assign(0.0)
    first = model.opponent.get_weights()
    assert_equal(weights_of(stepped(model, data, 2)), stepped(toy(), data, 2).get_weights())
    assert any(changed(first, model.opponent.get_weights()))


def test_the_loss_that_is_told_is_the_segmenters():
    pictures, labels = batch("luc")
    told = []
    for model in (toy(), oppose(toy(), "luc", 0, width=4)):
        model.compile(adam(1e-3), PixelCrossEntropy(), run_eagerly=True)
        told.append(model.train_on_batch(pictures, labels, return_dict=True))
    assert told[0]["loss"] == told[1]["loss"]
    assert told[1]["opponent_loss"] == pytest.approx(np.log(2), abs=0.1), "it begins with a guess"


@pytest.mark.long
@pytest.mark.parametrize("kind", SEMI_SUPERVISED)
def test_of_several_outputs_the_first_is_judged(kind):
    def network():
        keras.utils.set_random_seed(0)
        return build_unetplusplus((*SIZE, 3), 3, width=4, depth=2)

    data = batch(kind)
    plain = stepped(network(), (data[0], data[1][0]))
    model = oppose(network(), kind, 0, width=4)
    assert_equal(weights_of(stepped(model, data)), plain.get_weights())


def test_half_precision(policy):
    """The scale of the loss goes around both players."""
    policy("mixed_float16")
    model = oppose(toy(), "hung", 0.01, width=4)
    first = model.get_weights()
    model.compile(adam(1e-3), PixelCrossEntropy(), run_eagerly=True)
    model.optimizer.build(model.trainable_variables)
    for _ in range(3):
        model.train_on_batch(*batch("hung"))
    assert sum(changed(first, model.get_weights())) > len(first) / 2


# --- what the opponent is shown -------------------------------------------------------------------


def maps_of(seed=0, sure=1.0):
    """Pictures, labels with void, true maps, and probabilities, as of a segmenter."""
    pictures, labels = random_batch((8, 12), n_classes=4, seed=seed)
    labels[:, :2] = 255
    truth, valid = map(keras.ops.convert_to_numpy, true_maps(labels, 4))
    logits = np.random.default_rng(seed).normal(0, 1, truth.shape) + sure * truth
    predicted = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    return pictures, labels, truth, valid, predicted.astype("float32")


def test_void_is_in_no_class():
    _, labels, truth, valid, _ = maps_of()
    np.testing.assert_array_equal(truth.sum(-1), labels != 255)
    np.testing.assert_array_equal(valid, labels != 255)
    np.testing.assert_array_equal(truth.argmax(-1)[labels != 255], labels[labels != 255])


def test_the_product_is_the_picture_cut_out_by_each_class():
    pictures, labels, truth, _, _ = maps_of()
    found = keras.ops.convert_to_numpy(product(truth, pictures))
    assert found.shape == (2, 8, 12, 12)
    for number in range(4):
        expected = np.where((labels == number)[..., None], pictures, 0) / 64
        np.testing.assert_allclose(found[..., 3 * number : 3 * number + 3], expected)


def test_scaled_maps_are_like_the_predicted_ones():
    _, labels, truth, _, predicted = maps_of(sure=4)
    found = keras.ops.convert_to_numpy(scaled(truth, predicted))
    there = labels != 255
    np.testing.assert_allclose(found.sum(-1), there, atol=1e-5)
    of_truth = found[there][np.arange(there.sum()), labels[there]]
    s = predicted[there][np.arange(there.sum()), labels[there]]
    assert (s < 0.9).any() and (s > 0.9).any()
    np.testing.assert_allclose(of_truth, np.maximum(s, 0.9), rtol=1e-5)
    for one, other, label in zip(found[there], predicted[there], labels[there], strict=True):
        others = np.delete(one, label) / np.delete(one, label).sum()
        expected = np.delete(other, label) / np.delete(other, label).sum()
        np.testing.assert_allclose(others, expected, rtol=1e-3)


def test_basic_maps_tell_themselves_apart_and_scaled_ones_do_not():
    """A segmenter that is right everywhere, and sure by 0.92: in 0 and 1 the truth is seen."""
    _, labels = random_batch((16, 16), n_classes=3)
    truth = keras.ops.convert_to_numpy(true_maps(labels, 3)[0])
    predicted = 0.92 * truth + 0.04 * (1 - truth)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(scaled(truth, predicted)), predicted, atol=1e-6
    )
    opponent = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    opponent.compile(keras.optimizers.SGD(5.0), keras.losses.BinaryCrossentropy(from_logits=True))
    highest = np.concatenate([truth.max(-1).ravel(), predicted.max(-1).ravel()])[:, None]
    verdicts = np.repeat([1.0, 0.0], len(highest) // 2)[:, None]
    history = opponent.fit(10 * (highest - 0.96), verdicts, 512, 20, verbose=0).history
    assert history["loss"][-1] < 0.1


def test_entropy_takes_logits():
    found = [float(entropy(keras.ops.array(v), t)) for v, t in [(0.0, 1), (500.0, 0), (500.0, 1)]]
    assert found == pytest.approx([np.log(2), 500, 0])


def played(kind, labels, probabilities, logits):
    """What both players are told of these outputs."""
    model = oppose(toy(), kind, 1.0, width=4)
    pictures, _ = random_batch(SIZE)
    return [float(part) for part in model.play(pictures, labels, [probabilities, logits], None)]


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_said_of_void_pixels_counts_nowhere(kind):
    labels = batch("luc")[1]
    logits = np.random.default_rng(0).normal(0, 1, (2, *SIZE, 3)).astype("float32")
    others = logits.copy()
    others[:, :5] += np.random.default_rng(1).normal(0, 3, (2, 5, 48, 3))
    parts = [
        played(kind, labels, keras.ops.softmax(each), keras.ops.convert_to_tensor(each))
        for each in (logits, others)
    ]
    assert parts[0] == pytest.approx(parts[1], rel=1e-5)
    labels[:, 5:10] = 255
    fewer = played(kind, labels, keras.ops.softmax(logits), keras.ops.convert_to_tensor(logits))
    assert fewer[0] != pytest.approx(parts[0][0], rel=1e-7)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "souly"])
def test_a_batch_that_is_void_all_over(kind):
    labels = np.full((2, *SIZE), 255, np.uint8)
    logits = np.zeros((2, *SIZE, 3), "float32")
    assert played(kind, labels, keras.ops.softmax(logits), None) == [0, 0]


def loss_of(verdicts, truth):
    """What is lost to verdicts when the truth is "true", or "false"."""
    chance = 1 / (1 + np.exp(-np.asarray(verdicts)))
    return -np.log(chance if truth else 1 - chance).mean()


def answers(number=2):
    """Labels, and probabilities of a segmenter that is right more often than not."""
    _, labels = random_batch(SIZE, number)
    logits = np.random.default_rng(0).normal(0, 1, (number, *SIZE, 3)) + np.eye(3)[labels]
    return labels, np.float32(np.exp(logits) / np.exp(logits).sum(-1, keepdims=True))


def test_hungs_players_want_the_opposite():
    """The opponent tells true from false at every pixel; the segmenter is to be taken for true."""
    labels, predicted = answers()
    model = oppose(toy(), "hung", 0.5, width=4)
    layers = [keras.Input((*SIZE, 3)), keras.layers.Dense(1), keras.layers.Reshape(SIZE)]
    model.opponent = keras.Sequential(layers)
    model.opponent.set_weights([np.array([[1.0], [2], [3]]), np.array([-1.0])])
    term, theirs = model.play(random_batch(SIZE)[0], labels, [predicted], None)
    of_true, of_false = 1.0 * labels, predicted @ np.array([1.0, 2, 3]) - 1
    assert float(term) == pytest.approx(loss_of(of_false, True), rel=1e-4)
    expected = (loss_of(of_true, True) + loss_of(of_false, False)) / 2
    assert float(theirs) == pytest.approx(expected, rel=1e-4)


def test_lucs_players_want_the_opposite():
    """The same of whole maps, by two logits of which the second is that of "true"."""
    labels, predicted = answers()
    model = oppose(toy(), "luc-basic", 0.5, width=4)
    layers = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)]
    model.opponent = keras.Sequential([keras.Input((*SIZE, 3)), *layers])
    model.opponent.set_weights([np.array([[0, 1.0], [0, 2], [0, 3]]), np.array([0, -1.0])])
    term, theirs = model.play(random_batch(SIZE)[0], labels, [predicted], None)
    of_true = labels.mean((1, 2))
    of_false = (predicted @ np.array([1.0, 2, 3])).mean((1, 2)) - 1
    assert float(term) == pytest.approx(loss_of(of_false, True), rel=1e-4)
    expected = (loss_of(of_true, True) + loss_of(of_false, False)) / 2
    assert float(theirs) == pytest.approx(expected, rel=1e-4)


def test_soulys_players_want_the_opposite():
    """Photographs with labels and without are true, what is made of noise is false; G lies."""
    pictures, (labels, unlabelled) = batch("souly")
    labels = np.where(labels == 255, 0, labels)
    model = oppose(toy(), "souly", 0.5, width=4)
    noise = np.random.default_rng(0).normal(0, 1, (2, *model.noise.shape)).astype("float32")
    model.noise = lambda pictures: noise
    made = model.opponent(noise, training=True)

    def verdicts(inputs):
        logits = keras.ops.convert_to_numpy(model(inputs, training=True)[-1])
        return np.log(np.exp(logits).sum(-1))

    outputs = model(pictures, training=True)
    term, theirs = model.play(pictures, labels, outputs, unlabelled)
    assert float(theirs) == pytest.approx(loss_of(verdicts(made), True), rel=1e-3)
    expected = loss_of(verdicts(pictures), True) + loss_of(verdicts(unlabelled), True)
    assert float(term) == pytest.approx(expected + loss_of(verdicts(made), False), rel=1e-3)


def test_souly_is_a_softmax_of_one_class_more():
    """The log of true against false, with the logit 0 for false."""
    logits = np.random.default_rng(0).normal(0, 2, (2, 3, 4, 5)).astype("float32")
    whole = np.concatenate([logits, np.zeros((2, 3, 4, 1))], -1)
    false = np.exp(whole[..., -1]) / np.exp(whole).sum(-1)
    model = oppose(toy(), "souly", 1.0, width=4)
    verdict = model.judged([logits])
    np.testing.assert_allclose(entropy(verdict, False), -np.log(false), rtol=1e-4)
    np.testing.assert_allclose(entropy(verdict, True), -np.log(1 - false), rtol=1e-3, atol=1e-6)


def test_souly_judges_the_logits_of_the_answer():
    model = oppose(toy(), "souly", 1.0, width=4)
    answer, logits = predict(model, random_batch(SIZE)[0])
    np.testing.assert_allclose(keras.ops.softmax(logits), answer, atol=1e-6)


def test_souly_needs_logits():
    inputs = keras.Input((*SIZE, 3))
    x = keras.layers.Conv2D(3, 1, activation="softmax")(inputs)
    with pytest.raises(UserError, match="souly needs the logits.*choose hung"):
        oppose(keras.Model(inputs, x, name="other"), "souly", 1.0)


def test_an_answer_is_its_own_label_where_it_is_trusted():
    answer = np.full((1, 1, 3, 4), 0.1, "float32")
    answer[0, 0, :, 2] = 0.7
    answer[0, 0, 1] = (0.4, 0.3, 0.2, 0.1)
    limit = np.log(0.2 / 0.8)
    for verdict, expected in [
        ((limit + 0.01, limit - 0.01, limit - 0.01), -np.log(0.7)),
        ((9, 9, limit - 0.01), -(np.log(0.7) + np.log(0.4)) / 2),
        ((-9, -9, -9), 0),
    ]:
        verdict = np.array(verdict, "float32").reshape(1, 1, 3)
        found = own_entropy(keras.ops.convert_to_tensor(answer), keras.ops.array(verdict))
        assert float(found) == pytest.approx(expected, rel=1e-5)


def test_hungs_own_answers_count_in_the_second_phase():
    """0.1, and 0.001 for the verdict on them, where the verdict on labelled pictures has 0.01."""
    pictures, (labels, unlabelled) = batch("hung")
    model = oppose(toy(), "hung", 0.01, width=4)
    outputs = [model(pictures, training=True)]
    terms = []
    for second, more in [(0.0, None), (0.0, unlabelled), (1.0, unlabelled)]:
        model.phase.second.assign(second)
        terms.append(model.weight * float(model.play(pictures, labels, outputs, more)[0]))
    answer = model(unlabelled, training=True)
    verdict = model.opponent(answer)
    expected = 0.001 * float(keras.ops.mean(entropy(verdict, True)))
    assert terms[1] - terms[0] == pytest.approx(expected, rel=1e-3)
    expected = 0.1 * float(own_entropy(answer, verdict))
    assert terms[2] - terms[1] == pytest.approx(expected, rel=1e-3)


# --- a run ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("hung", [0, 0, 1, 1]),  # after 5,000 of 20,000 steps
        ("luc", [0, 1, 1, 1]),  # its opponent learns first
        ("luc-basic", [0, 1, 1, 1]),
        ("luc-scaled", [0, 1, 1, 1]),
        ("souly", [1, 1, 1, 1]),
    ],
)
def test_phases(kind, expected, capsys):
    model = oppose(toy(), kind, 1.0, width=4)
    phases = Phases(kind, 8)
    phases.set_model(model)
    found = []
    for epoch in range(4):
        phases.on_epoch_begin(epoch)
        found.append(float(model.phase.second))
        logs = {"loss": 1.0, "opponent_loss": 0.5}
        phases.on_epoch_end(epoch, logs)
        assert logs == {"loss": 1.0}, "the history has no column for it"
    assert found == expected
    what = "vouches for answers" if kind == "hung" else "the network hears of it"
    told = f"from epoch {expected.index(1) + 1} on"
    lines = capsys.readouterr().out.splitlines()
    assert [told in line for line in lines] == [not heard for heard in expected]
    assert all(what in line for line in lines if told in line)
    assert set(SECOND_PHASE) == set(ADVERSARIES)


@pytest.mark.parametrize("kind", KINDS)
def test_in_a_run_of_one_epoch_the_network_hears_of_its_opponent(kind):
    phases = Phases(kind, 1, verbose=False)
    phases.set_model(oppose(toy(), kind, 1.0, width=4))
    phases.model.phase.second.assign(0.0)
    phases.on_epoch_begin(0)
    assert float(phases.model.phase.second) == 1


class Batches(keras.utils.PyDataset):
    """A batch an epoch, which depends on the epoch."""

    epoch, failure = 0, None

    def __len__(self):
        return 1

    def __getitem__(self, index):
        seed = 10 * self.epoch + index
        pictures, labels = random_batch(SIZE, seed=seed)
        return pictures, (labels, random_batch(SIZE, seed=seed + 1)[0])


def run(folder, kind, epochs, seed=0, **options):
    """As `train_fcn` of the script."""
    keras.utils.set_random_seed(seed)
    model = oppose(build_toy((*SIZE, 3), 3), kind, 1.0, seed, width=4)
    model.compile(adam(1e-3), PixelCrossEntropy(), run_eagerly=True)
    classes = named(["background", "thing", "stuff"])
    network = Network("toy", (*SIZE, 3), classes, {})
    asked = Run(size=SIZE, epochs=epochs, **options)
    configuration = describe_run(network, Data(dataset="toys"), asked)
    ledger = Ledger(RunFiles(folder, "tiny", "toys"), network, configuration)
    numbers = iter(range(1, 9))

    def score():
        return dict(chapter_miou=next(numbers) / 10, dataset_miou=0.5, pixel_accuracy=0.5)

    bring_weights(model, asked, ledger, score)
    accuracy = AccuracyCallback(score, lambda *best: ledger.save_best(model, *best))
    rate = keras.callbacks.LearningRateScheduler(lambda epoch: 1e-3 / (1 + epoch))
    train(model, Batches(), [rate, accuracy, Phases(kind, 2)], ledger, epochs, verbose=False)
    return model, ledger.files


@pytest.mark.long
@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize("kind", SEMI_SUPERVISED)
def test_an_epoch_and_one_resumed_equal_two(kind, tmp_path):
    """Both networks, both optimizers and the noise."""
    whole, files = run(tmp_path / "whole", kind, 2)
    run(tmp_path / "parts", kind, 1)
    resumed, parts = run(tmp_path / "parts", kind, 2, seed=9, resume=True)
    assert_equal(whole.get_weights(), resumed.get_weights())
    for one, other in zip(whole.optimizer.variables, resumed.optimizer.variables, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-3, atol=1e-6)
    for one, other in zip(read_rows(files.history), read_rows(parts.history), strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-5)
    # The best weights are those of the segmenter alone, and so much of a checkpoint is one.
    for path in (parts.best, parts.last):
        again = toy()
        load_weights(again, path)
        assert_same(again.get_weights(), weights_of(resumed))


@pytest.fixture
def folder(tmp_path):
    """Five pictures without labels, of several sizes."""
    folder = tmp_path / "unlabelled"
    folder.mkdir()
    for number in range(5):
        Image.fromarray(make_picture(number, (20 + number, 30))).save(folder / f"{number}.png")
    return folder


def test_unlabelled_pictures_are_void_all_over(folder):
    classes = named(["background", "thing"])
    store = open_unlabelled(folder, classes)
    assert store.keys == [f"{number}.png" for number in range(5)]
    for number, key in enumerate(store.keys):
        np.testing.assert_array_equal(store[key], np.full((20 + number, 30), 255))
        np.testing.assert_array_equal(store.picture(key), make_picture(number, (20 + number, 30)))
    without = {(folder / f"{number}.png").resolve() for number in (1, 3)}
    assert open_unlabelled(folder, classes, without=without).keys == ["0.png", "2.png", "4.png"]
    with pytest.raises(UserError, match="all pictures of .* are scored.*give others"):
        open_unlabelled(folder, classes, without={store.picture_path(key) for key in store.keys})
    with pytest.raises(UserError, match="is no folder.*--unlabelled"):
        open_unlabelled(folder / "0.png", classes)
    with pytest.raises(UserError, match="is no folder.*--unlabelled"):
        open_unlabelled(folder / "nothing", classes)


@pytest.mark.usefixtures("toy")
def test_unlabelled_pictures_stand_beside_each_batch(folder, store):
    """The batches of labelled pictures are those that they are without."""
    network = Network("toy", (*SIZE, 3), store.classes, {})
    sessions = [
        Session(network, Data(batch_size=3, augment="mild", workers=2, unlabelled=asked),
                Run(loss="border"), store, store.keys, store, store.keys, None, [], None)
        for asked in (None, folder)
    ]  # fmt: skip
    plain, beside = (session.generators(SIZE)[0] for session in sessions)
    assert isinstance(beside, Beside) and len(plain) == len(beside) == 3
    seen = []
    for epoch in (0, 1):
        plain.epoch = beside.epoch = epoch
        for number in range(3):
            pictures, (labels, unlabelled), weights = beside[number]
            assert_same(plain[number], [pictures, labels, weights])
            assert unlabelled.shape == (3, *SIZE, 3) and unlabelled.dtype == np.uint8
            seen.append(unlabelled)
    assert len({part.tobytes() for part in seen}) == 6


@pytest.mark.usefixtures("toy")
def test_pictures_that_choose_or_are_scored_are_not_trained_on(tmp_path, store):
    """Though they lie in the folder without labels, here the data folder itself."""
    (tmp_path / "labels.npy").rename(tmp_path / "tests.npy")
    (tmp_path / "labels.index.json").rename(tmp_path / "tests.index.json")
    network = Network("toy", (*SIZE, 3), store.classes, {})
    data = Data(data_path=tmp_path, test_labels="tests.npy", unlabelled=tmp_path, batch_size=1,
                augment="none")  # fmt: skip
    session = Session(network, data, Run(), store, store.keys[:1], store, store.keys[1:3],
                      None, [], None)  # fmt: skip
    with pytest.raises(UserError, match="all pictures .* choose the best weights or are scored"):
        session.generators(SIZE)
    session = replace(session, data=replace(data, test_labels="none.npy"))
    unlabelled = session.generators(SIZE)[0].unlabelled.data
    assert set(unlabelled.keys) == set(store.keys) - set(store.keys[1:3])


def test_a_picture_that_cannot_be_read_is_named(folder, store):
    (folder / "2.png").write_bytes((folder / "2.png").read_bytes()[:60])
    labelled = DataGenerator(store, size=SIZE, batch_size=7)
    unlabelled = DataGenerator(
        open_unlabelled(folder, store.classes), size=SIZE, batch_size=7, pictures_per_epoch=7
    )
    beside = Beside(labelled, unlabelled)
    with pytest.raises(UserError, match="2.png cannot be read"):
        beside[0]
    assert "2.png" in str(beside.failure)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="others take it as it is")
def test_pictures_beside_reach_tensorflow(folder, store):
    parts = (
        DataGenerator(each, size=SIZE, batch_size=2, pictures_per_epoch=4)
        for each in (store, open_unlabelled(folder, store.classes))
    )
    beside = Beside(*parts)
    stream, _ = feed(beside)
    for (x, (y, unlabelled)), (pictures, (labels, more)) in zip(stream, beside, strict=True):
        assert_same([x, y, unlabelled], [pictures, labels, more])


# --- the command ----------------------------------------------------------------------------------

TRAIN = ["--train", "--model", "toy", "--height", "32", "--width", "48", "--precision", "float32"]
TRAIN += ["--batch-size", "2", "--epochs", "1", "--workers", "2", "--no-grow"]
TRAIN += ["--optimizer", "adam", "--pictures-per-epoch", "4", "--train-labels", "labels.npy"]


def decide(*arguments):
    return settle(parse_arguments([str(argument) for argument in arguments]))


@pytest.fixture(autouse=True)
def as_before(policy, plain):
    """Precision and fast path are as before after a test that decides."""


@pytest.mark.usefixtures("toy")
def test_each_opponent_has_its_weight(folder):
    weights = {"luc": 0.1, "luc-basic": 0.1, "luc-scaled": 0.1, "hung": 0.01, "souly": 1}
    for kind, weight in weights.items():
        assert decide(*TRAIN, "--adversarial", kind)[2].adversarial_weight == weight
    assert set(weights) == set(ADVERSARIES)
    found = decide(*TRAIN, "--adversarial", "luc", "--adversarial-weight", "0")[2]
    assert found.adversarial_weight == 0
    assert decide(*TRAIN)[2].adversarial_weight is None
    found = decide(*TRAIN, "--adversarial", "hung", "--unlabelled", folder)[1]
    assert found.unlabelled == folder


def test_the_opponent_is_as_narrow_as_the_network():
    options = ["--train", "--model", "fcn8s", "--adversarial", "luc"]
    assert decide(*options)[2].opponent_width == 64
    network, data, asked = decide(*options, "--narrow", "4")
    assert asked.opponent_width == 16
    session = Session(network, data, asked, None, [], None, [], None, [], None)
    opposed = session.opposed(build_toy((*SIZE, 3), 3))
    assert opposed.opponent.get_layer("conv1").filters == 24  # three halves of it


def test_a_resumed_opponent_is_as_narrow_as_it_was():
    remembered = {"data_path": None, "opponent_width": 16}
    for found, width in ((remembered, 16), ({"data_path": None}, 64)):  # of earlier runs nothing
        values = {}
        with patch("engine.settings.read_run", return_value=found):
            fill_resumed(values, {}, Path("x"))
        assert values["opponent_width"] == width


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--unlabelled", "x"], "nothing to a training with --adversarial none"),
        (["--unlabelled", "x", "--adversarial", "luc"], "with --adversarial luc.*hung or souly"),
        (["--adversarial-weight", "1"], "goes with --adversarial"),
    ],
)
def test_options_that_do_not_go_together(options, complaint):
    with pytest.raises(UserError, match=complaint):
        decide(*TRAIN, *options)


@pytest.mark.parametrize("words", ["--adversarial luc", "--unlabelled x", "--adversarial-weight 1"])
def test_an_opponent_is_for_training_alone(words, capsys):
    with pytest.raises(SystemExit):
        parse_arguments(["--evaluate", "--restore-weights", "x", *words.split()])
    assert f"{words.split()[0]} goes with --train" in capsys.readouterr().err


def test_a_run_without_unlabelled_pictures_goes_on_without(tmp_path):
    with pytest.raises(UserError, match="without --unlabelled; leave it out"):
        check_fixed({"unlabelled": tmp_path}, {"unlabelled": None})
    check_fixed({}, {"unlabelled": None})


@pytest.mark.parametrize("value", ["-1", "inf", "nan", "much"])
def test_weights_that_are_none(value, capsys):
    with pytest.raises(SystemExit):
        parse_arguments(["--train", f"--adversarial-weight={value}"])
    assert "is not a number from 0 up" in capsys.readouterr().err


@pytest.mark.long
@pytest.mark.usefixtures("toy")
def test_a_run_with_weight_0_equals_a_plain_one_and_is_resumed(tmp_path, folder, capsys):
    make_store(tmp_path, [(24, 32)] * 7)
    options = [*TRAIN, "--data-path", tmp_path]
    hung = ["--adversarial", "hung", "--unlabelled", folder]
    opposed = [*options, *hung, "--adversarial-weight", "0", "--save-dir", tmp_path / "opposed"]
    run_script(*options, "--save-dir", tmp_path / "plain")
    run_script(*opposed)
    assert "loss of the opponent 0.6" in capsys.readouterr().out
    files = [run_files(*decide(*each)) for each in ([*options, "--save-dir", tmp_path / "plain"],
                                                    opposed)]  # fmt: skip
    networks = [toy(), toy()]
    for network, each in zip(networks, files, strict=True):
        load_weights(network, each.best)
    assert_equal(networks[0].get_weights(), networks[1].get_weights())
    plain, with_it = ([row["loss"] for row in read_rows(each.history)] for each in files)
    assert plain == pytest.approx(with_it, rel=1e-6)

    resume = ["--train", "--resume", "--model", "toy", "--data-path", tmp_path, "--save-dir"]
    resume += [tmp_path / "opposed", "--epochs", "2"]
    with pytest.raises(UserError, match="--unlabelled was .*give --unlabelled again"):
        decide(*resume)
    with pytest.raises(UserError, match="--unlabelled .*/unlabelled, not .*give that folder"):
        decide(*resume, "--unlabelled", tmp_path)
    with pytest.raises(UserError, match="--adversarial hung, not souly"):
        decide(*resume, "--unlabelled", folder, "--adversarial", "souly")
    _, data, asked = decide(*resume, "--unlabelled", folder)
    assert (asked.adversarial, asked.adversarial_weight) == ("hung", 0.0)
    assert data.unlabelled == folder
