"""What the papers train with: poly rate, SGD, weight decay, other normalisations, accumulation."""

import json
from dataclasses import replace

import keras
import numpy as np
import pytest
from conftest import build_toy, disturbed, predict, random_batch, tiny_settings
from keras import ops

import zoo
from callbacks import LOWEST, AccuracyCallback, PolynomialRate, RateScheduler
from engine.arguments import parse_arguments
from engine.records import Data, Network, Run, network_from
from engine.runs import Ledger, RunFiles, describe_run
from engine.settings import settle
from engine.trainer import JIT, OPTIMIZERS, bring_weights, optimizer_of, train
from engine.transfer import start_from
from engine.weights import read_network, save_weights
from losses import PixelCrossEntropy
from tools.memory import fixed
from utils.classes import named
from utils.errors import UserError
from utils.history import read_rows
from zoo.normalisation import groups_of, normalised

CLASSES = named(["background", "bottle", "can"])
FLAT = {"chapter_miou": 0.5, "dataset_miou": 0.5, "pixel_accuracy": 0.5}
SIZE = (32, 32)


def toy_network(name="toy", **more):
    return Network(name, (*SIZE, 3), CLASSES, {}, **more)


def unnormalised(width=4):
    """Two convolutions: what becomes of a picture does not depend on the others of its batch."""
    inputs = keras.Input((*SIZE, 3))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Conv2D(width, 3, padding="same", activation="relu", name="stem")(x)
    x = keras.layers.Conv2D(3, 1, activation="softmax", name="pre_activation")(x)
    return keras.Model(inputs, x)


def values_of(model):
    return [ops.convert_to_numpy(weight) for weight in model.weights]


# --- the rate -------------------------------------------------------------------------------------


def test_the_rate_of_a_step_is_deeplabs():
    rate = PolynomialRate(0.01, 200)
    assert float(rate(0)) == pytest.approx(0.01)
    for step in (1, 50, 150):
        assert float(rate(step)) == pytest.approx(0.01 * (1 - step / 200) ** 0.9, rel=1e-5)
    for step in (200, 300):
        assert float(rate(step)) == pytest.approx(0.01 * LOWEST, rel=1e-5)
    again = PolynomialRate.from_config(rate.get_config())
    assert float(again(50)) == float(rate(50))


def test_it_falls_over_the_steps_of_the_first_run():
    model = build_toy((*SIZE, 3), 3)
    run = Run(optimizer="sgd", learning_rate=0.5, schedule="poly", schedule_epochs=4, accumulate=3)
    rate = optimizer_of(run, model, 9.0, steps=6)._learning_rate
    assert (rate.highest, rate.steps) == (0.5, 24), "batches, those that are gathered too"


class Toys(keras.utils.PyDataset):
    """Three batches an epoch that depend on the epoch."""

    epoch = 0

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return random_batch(SIZE, seed=3 * self.epoch + index)


def trained(folder, epochs, run, resume=False):
    """As `train_fcn` of the script, in one stage."""
    keras.utils.set_random_seed(9 if resume else 0)
    network = toy_network()
    model = network.build()
    optimizer = optimizer_of(run, model, run.learning_rate, len(Toys()))
    model.compile(optimizer, PixelCrossEntropy(), jit_compile=JIT)
    run = replace(run, epochs=epochs, resume=resume, size=SIZE, verbose=0)
    files = RunFiles(folder, "toy", "toys")
    ledger = Ledger(files, network, describe_run(network, Data(dataset="toys"), run))
    bring_weights(model, run, ledger, score=None)
    accuracy = AccuracyCallback(lambda: dict(FLAT), lambda *_: None)
    rates = RateScheduler(lambda epoch: 0.1 / (1 + epoch), by_epoch=run.schedule != "poly")
    train(model, Toys(), [rates, accuracy], ledger, epochs, verbose=False)
    return model, [row["learning_rate"] for row in read_rows(files.history)]


@pytest.mark.long
@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize(
    "asked",
    [
        {"optimizer": "sgd", "schedule": "poly", "accumulate": 2, "weight_decay": 0.01},
        {"optimizer": "adam", "schedule": "book"},
    ],
)
def test_a_resumed_run_is_the_one_in_one_go_bit_for_bit(asked, tmp_path):
    """After three batches a sum of two is half gathered."""
    run = Run(learning_rate=0.05, schedule_epochs=2, **asked)
    whole, rates = trained(tmp_path / "whole", 2, run)
    trained(tmp_path / "parts", 1, run)
    parts, again = trained(tmp_path / "parts", 2, run, resume=True)
    for one, other in zip(values_of(whole), values_of(parts), strict=True):
        np.testing.assert_array_equal(one, other)
    slots = zip(whole.optimizer.variables, parts.optimizer.variables, strict=True)
    for one, other in slots:
        np.testing.assert_array_equal(ops.convert_to_numpy(one), ops.convert_to_numpy(other))
    assert rates == again
    if run.schedule == "poly":
        assert rates == pytest.approx([0.05 * (1 - 3 / 6) ** 0.9, 0.05 * LOWEST], rel=1e-4)
    else:
        assert rates == pytest.approx([0.1, 0.05])


# --- optimizers and weight decay ------------------------------------------------------------------


def stepped(optimizer, start, gradients):
    variable = keras.Variable(np.array(start, "float32"))
    for gradient in gradients:
        optimizer.apply([ops.convert_to_tensor(np.array(gradient, "float32"))], [variable])
    return ops.convert_to_numpy(variable)


def test_weight_decay_with_sgd_is_part_of_the_gradient():
    """As in Caffe: v = 0.9 v - rate (g + decay w), w += v."""
    start, gradients = [[1.0, -2.0]], [[[0.5, 0.0]], [[0.0, 1.0]], [[0.25, 0.25]]]
    w, v = np.array(start), 0.0
    for gradient in gradients:
        v = 0.9 * v - 0.1 * (np.array(gradient) + 0.3 * w)
        w = w + v
    found = stepped(OPTIMIZERS["sgd"](0.1, weight_decay=0.3), start, gradients)
    np.testing.assert_allclose(found, w, rtol=1e-5)
    copy = keras.optimizers.deserialize(
        keras.optimizers.serialize(OPTIMIZERS["sgd"](0.1, weight_decay=0.3))
    )
    np.testing.assert_array_equal(stepped(copy, start, gradients), found)


@pytest.mark.parametrize("name", ["adam", "muon"])
@pytest.mark.parametrize("shape", [(5,), (3, 3, 8, 8)])
def test_weight_decay_with_the_others_is_beside_the_gradient(name, shape):
    random = np.random.default_rng(0)
    start, gradient = random.normal(size=shape), random.normal(size=shape)
    plain = stepped(OPTIMIZERS[name](0.1), start, [gradient])
    decayed = stepped(OPTIMIZERS[name](0.1, weight_decay=0.3), start, [gradient])
    np.testing.assert_allclose(plain - decayed, 0.1 * 0.3 * start, atol=1e-5)


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_kernels_alone_decay(name):
    model = disturbed(build_toy((*SIZE, 3), 3, width=8))
    results = []
    start = values_of(model)
    for decay in (0.0, 0.5):
        for weight, value in zip(model.weights, start, strict=True):
            weight.assign(value)
        optimizer = optimizer_of(Run(optimizer=name, weight_decay=decay), model, 0.1, 1)
        zeros = [ops.zeros(weight.shape) for weight in model.trainable_variables]
        optimizer.apply(zeros, model.trainable_variables)
        results.append(values_of(model))
    for weight, before, plain, decayed in zip(model.weights, start, *results, strict=True):
        np.testing.assert_allclose(plain, before, atol=1e-6)
        factor = 0.95 if weight.path.endswith("/kernel") else 1
        np.testing.assert_allclose(decayed, before * factor, atol=1e-5, err_msg=weight.path)


# --- accumulation ---------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_batches_gathered_are_one_batch_of_as_many_pictures(name):
    pictures, labels = random_batch(SIZE, number=8)
    results = []
    for accumulate in (1, 4):
        keras.utils.set_random_seed(0)
        model = unnormalised(width=8)
        run = Run(optimizer=name, accumulate=accumulate, weight_decay=0.1)
        optimizer = optimizer_of(run, model, 1e-2, accumulate)
        model.compile(optimizer, PixelCrossEntropy(), jit_compile=JIT)
        start = values_of(model)
        batch = 8 // accumulate
        model.fit(pictures, labels, batch_size=batch, shuffle=False, epochs=3, verbose=0)
        assert int(optimizer.iterations) == 3
        results.append(values_of(model))
    for before, one, gathered in zip(start, *results, strict=True):
        assert np.abs(one - before).max() > 1e-3
        np.testing.assert_allclose(gathered, one, atol=2e-5)


def test_nothing_moves_before_all_batches_are_there():
    model = unnormalised()
    run = Run(optimizer="adam", accumulate=2, weight_decay=0.1)
    model.compile(optimizer_of(run, model, 0.1, 2), PixelCrossEntropy(), jit_compile=JIT)
    start = values_of(model)
    for moved in (False, True):
        model.train_on_batch(*random_batch(SIZE))
        changed = [(a != b).any() for a, b in zip(start, values_of(model), strict=True)]
        assert any(changed) is moved


def test_memory_of_what_is_gathered():
    model = unnormalised()
    gradients = 4 * sum(np.prod(weight.shape) for weight in model.trainable_variables)
    for name in OPTIMIZERS:
        assert fixed(model, name, 2) - fixed(model, name) == gradients


# --- normalisation --------------------------------------------------------------------------------


def kinds(model):
    """The normalisations of a network and those nested in it, by name."""
    layers = model._flatten_layers(include_self=False, recursive=True)
    found = keras.layers.BatchNormalization, keras.layers.GroupNormalization
    return {layer.name: layer for layer in layers if isinstance(layer, found)}


@pytest.mark.long
@pytest.mark.parametrize("name", ["fcn", "pspnet", "segnet", "fcn8s-resnet50"])
def test_group_normalisation_takes_the_place_of_every_batch_normalisation(name):
    keras.utils.set_random_seed(0)
    network = Network(name, (*SIZE, 3), CLASSES, tiny_settings(name))
    batch = network.build()
    group = replace(network, normalisation="group").build()
    assert type(group) is type(batch) and group.name == batch.name
    assert [layer.name for layer in group.layers] == [layer.name for layer in batch.layers]
    before, after = kinds(batch), kinds(group)
    assert list(before) == list(after)
    for key, layer in after.items():
        assert isinstance(layer, keras.layers.GroupNormalization)
        channels = layer.gamma.shape[0]
        assert channels % layer.groups == 0 and layer.groups <= max(channels // 2, 1)
        assert layer.epsilon == before[key].epsilon
    lost = sum(2 * layer.moving_mean.shape[0] for layer in before.values())
    assert group.count_params() == batch.count_params() - lost > 0
    # What a picture gives depends on no other, in training neither.
    pictures, _ = random_batch(SIZE, number=2)
    how = name != "pspnet"  # which has dropout
    one, two = (keras.tree.flatten(group(p, training=how))[0] for p in (pictures[:1], pictures))
    np.testing.assert_allclose(np.array(one), np.array(two)[:1], atol=1e-5)


@pytest.mark.parametrize("kind", ["group", "frozen"])
def test_what_a_network_has_not_is_refused(kind):
    """Nothing would be done, and nobody told."""
    network = Network("unetplusplus", (*SIZE, 3), CLASSES, tiny_settings("unetplusplus"))
    network.build()
    with pytest.raises(UserError, match=f"has no batch normalisation, .*{kind} is of; leave it"):
        replace(network, normalisation=kind).build()


def test_of_many_channels_there_are_the_papers_32_groups():
    inputs = keras.Input((8, 8, 3))
    x = inputs
    for channels in (256, 64, 48, 11, 4, 3):
        x = keras.layers.Conv2D(channels, 1)(x)
        x = keras.layers.BatchNormalization(name=f"bn_{channels}", scale=channels != 48)(x)
    model = normalised(keras.Model(inputs, x), "group")
    groups = {layer.gamma.shape[0]: layer.groups for layer in kinds(model).values() if layer.scale}
    assert groups == {256: 32, 64: 32, 11: 1, 4: 2, 3: 1}
    assert model.get_layer("bn_48").groups == 8 and not model.get_layer("bn_48").scale


def test_a_supervised_network_in_groups_is_still_supervised():
    network = Network("pspnet", (*SIZE, 3), CLASSES, tiny_settings("pspnet"))
    batch, group = network.build(), replace(network, normalisation="group").build()
    assert group.output_weights == batch.output_weights and len(group.outputs) == 2
    group.compile("sgd", PixelCrossEntropy(), run_eagerly=not JIT, jit_compile=JIT)
    assert np.isfinite(group.evaluate(*random_batch(SIZE), verbose=0))


def test_other_weights_are_those_of_the_network_that_was_built():
    keras.utils.set_random_seed(0)
    batch = disturbed(build_toy((*SIZE, 3), 3))
    group = normalised(batch, "group")
    for layer in ("stem_conv", "pre_activation"):
        pair = zip(batch.get_layer(layer).weights, group.get_layer(layer).weights, strict=True)
        for one, other in pair:
            np.testing.assert_array_equal(ops.convert_to_numpy(one), ops.convert_to_numpy(other))


@pytest.mark.parametrize("plain_one", [False, True])
def test_frozen_normalisations_are_in_training_what_they_are_in_prediction(plain_one, plain):
    if plain_one:
        plain()
    keras.utils.set_random_seed(0)
    settings = {"backbone": "resnet8v1", "layers": 1, "filters": 4}
    model = disturbed(Network("fcn", (*SIZE, 3), CLASSES, settings, "frozen").build())
    pictures, labels = random_batch(SIZE)
    answer = np.array(model(pictures, training=True))
    np.testing.assert_allclose(answer, predict(model, pictures), atol=1e-5)
    before = values_of(model)
    how = {"jit_compile": JIT, "run_eagerly": not JIT}
    model.compile(keras.optimizers.SGD(1.0), PixelCrossEntropy(), **how)
    model.train_on_batch(pictures, labels)
    stay = {id(weight) for layer in kinds(model).values() for weight in layer.weights}
    assert len(stay) > 8
    for weight, old, new in zip(model.weights, before, values_of(model), strict=True):
        if id(weight) in stay:
            np.testing.assert_array_equal(old, new, err_msg=weight.path)
        elif weight.path.endswith("/kernel"):
            assert (old != new).any(), weight.path


@pytest.mark.parametrize("name", ["pspnet-without-auxiliary", "deeplab-v3"])
def test_frozen_the_mean_of_all_is_as_in_prediction_too(name):
    """Whose normalisation is a layer of its own."""
    keras.utils.set_random_seed(0)
    model = disturbed(Network(name, (*SIZE, 3), CLASSES, tiny_settings(name), "frozen").build())
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0
    before, pictures = values_of(model), random_batch(SIZE)[0]
    answer = np.array(model(pictures, training=True))
    np.testing.assert_allclose(answer, predict(model, pictures), atol=1e-5)
    for weight, old, new in zip(model.weights, before, values_of(model), strict=True):
        np.testing.assert_array_equal(old, new, err_msg=weight.path)


@pytest.mark.parametrize(
    ("channels", "groups"), [(128, 32), (64, 32), (32, 16), (728, 4), (48, 8), (3, 1), (1, 1)]
)
def test_groups_have_two_channels_at_least(channels, groups):
    assert groups_of(channels) == groups


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize("kind", ["batch", "frozen", "group"])
def test_a_weights_file_alone_rebuilds_the_network(kind, tmp_path):
    network = toy_network(normalisation=kind)
    model = disturbed(network.build())
    run = {"size": list(SIZE), "schedule_epochs": 1}
    path = tmp_path / "a.weights.h5"
    save_weights(model, path, {"network": network.content(), "data": {}, "run": run})
    again = read_network(path)
    assert again == network and again.at((48, 64)).normalisation == kind
    other = again.build()
    other.load_weights(path)
    pictures = random_batch(SIZE)[0]
    np.testing.assert_array_equal(predict(other, pictures), predict(model, pictures))


@pytest.mark.usefixtures("toy")
def test_a_file_of_earlier_days_has_batch_normalisation():
    content = json.loads(json.dumps(toy_network().content()))
    del content["normalisation"]
    assert network_from(content) == toy_network()
    for value in ("layer", None, 3, ["group"]):
        with pytest.raises(UserError, match="normalisation"):
            network_from(content | {"normalisation": value})


def weights_of(kind, folder):
    network = toy_network(normalisation=kind)
    path = folder / f"{kind}.weights.h5"
    run = {"size": list(SIZE), "schedule_epochs": 1}
    save_weights(network.build(), path, {"network": network.content(), "data": {}, "run": run})
    return path


def decide(*arguments):
    return settle(parse_arguments([str(argument) for argument in arguments]))


@pytest.mark.usefixtures("toy", "policy")
def test_the_second_stage_of_deeplab_v3(tmp_path):
    """Batch normalisation is frozen in training on; it becomes no other."""
    batch, group = weights_of("batch", tmp_path), weights_of("group", tmp_path)
    frozen = ["--normalisation", "frozen"]
    for way in ("--train", "--evaluate"):
        asked = [way, "--restore-weights"]
        assert decide(*asked, batch)[0].normalisation == "batch"
        assert decide(*asked, group)[0].normalisation == "group"
        assert decide(*asked, batch, *frozen)[0].normalisation == "frozen"
        for path, other in ((batch, "group"), (group, "batch"), (group, "frozen")):
            with pytest.raises(UserError, match="leave out --normalisation"):
                decide(*asked, path, "--normalisation", other)
    with pytest.raises(SystemExit):
        parse_arguments(["--train", *frozen])
    assert decide("--train", *frozen, "--start-from", batch)[0].normalisation == "frozen"


@pytest.mark.usefixtures("toy")
def test_a_network_in_groups_may_start_from_one_in_batches(tmp_path, capsys):
    start_from(toy_network(normalisation="group").build(), "toy", weights_of("batch", tmp_path))
    assert "2 layers start from" in capsys.readouterr().out


def test_no_more_batches_are_gathered_than_an_epoch_has():
    model = build_toy((*SIZE, 3), 3)
    with pytest.raises(UserError, match="an epoch has 4 batches; give --accumulate 4 or less"):
        optimizer_of(Run(accumulate=5), model, 0.1, steps=4)
    optimizer_of(Run(optimizer="adam", accumulate=4), model, 0.1, steps=4)


# --- narrower networks ----------------------------------------------------------------------------


@pytest.mark.usefixtures("policy")
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--model", "segnet", "--narrow", 4], {"width": 16}),
        (["--model", "unetplusplus", "--narrow", 8], {"width": 4}),
        (["--model", "sliding-window", "--narrow", 4], {"width": 12, "head": 50}),
        (["--preset", "book", "--narrow", 4], {"filters": 64}),
        (["--preset", "quick", "--narrow", 4], {"filters": 16}),
    ],
)
def test_all_filters_are_divided(options, expected):
    network = decide("--summary", *options)[0]
    assert {name: network.settings[name] for name in expected} == expected


@pytest.mark.parametrize("by", [3, 32, 64, 1000])
def test_what_does_not_divide_is_refused_with_what_does(by):
    with pytest.raises(UserError, match=r"--narrow \d+ does not .* width 64, .*give 2, 4, 8, 16\."):
        zoo.narrowed("segnet", {}, by)
    for cure in (2, 4, 8, 16):
        assert zoo.narrowed("segnet", {}, cure) == {"width": 64 // cure}


@pytest.mark.usefixtures("toy")
def test_a_network_that_is_as_narrow_as_can_be():
    with pytest.raises(UserError, match="leave out --narrow"):
        zoo.narrowed("toy", {}, 2)


@pytest.mark.parametrize("name", ["fcn8s", "deconvnet", "pspnet"])
def test_a_narrow_network_has_about_the_square_of_it_in_parameters(name):
    from conftest import count

    settings = zoo.narrowed(name, {}, 4)
    narrow = count(lambda: zoo.build(name, (64, 64, 3), 4, settings))
    assert 15 < zoo.MODELS[name].parameters / narrow < 16


@pytest.mark.usefixtures("policy")
def test_a_narrow_network_is_restored_as_it_is(tmp_path):
    network = Network("unet-l1", (*SIZE, 3), CLASSES, zoo.narrowed("unet-l1", {}, 4))
    path = tmp_path / "a.weights.h5"
    run = {"size": list(SIZE), "schedule_epochs": 1}
    save_weights(network.build(), path, {"network": network.content(), "data": {}, "run": run})
    asked = ["--evaluate", "--restore-weights", path]
    for narrow in ([], ["--narrow", 4]):
        assert decide(*asked, *narrow)[0].settings["width"] == 8
    with pytest.raises(UserError, match="not as narrow as --narrow 2"):
        decide(*asked, "--narrow", 2)


@pytest.mark.usefixtures("policy")
def test_it_is_as_narrow_as_its_own_run_made_it(tmp_path):
    """The head of fcn has 64 filters with one preset, 256 with another."""
    small = {"backbone": "resnet8v1", "layers": 1, "filters": 64 // 8}
    network = Network("fcn", (*SIZE, 3), CLASSES, small)
    run = {"preset": "quick", "size": list(SIZE), "schedule_epochs": 1}
    configuration = {"network": network.content(), "data": {}, "run": run}
    save_weights(network.build(), tmp_path / "a.weights.h5", configuration)
    asked = ["--evaluate", "--restore-weights", tmp_path / "a.weights.h5", "--narrow"]
    assert decide(*asked, 8)[0].settings["filters"] == 8
    with pytest.raises(UserError, match="not as narrow as --narrow 4"):
        decide(*asked, 4)
