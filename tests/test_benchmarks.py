"""The benchmarks compare equals: same numbers from every contestant; turns and tables are right."""

import json
import os
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
from conftest import predict, random_batch, tiny_fcn, write_store

from benchmarks import chapter_labels, contestants, plain, runner
from benchmarks.bench import NEEDS, find_device, make_rows, same_terms
from benchmarks.report import Line, table_lines, write_page
from benchmarks.runner import alternate
from fast.devices import fast_precision, gpu_name
from losses import PixelCrossEntropy
from metrics import count_confusions, scores
from resnet import L2
from utils.files import PROJECT
from utils.generate_gt_segmentation import make_labels
from utils.label_maps.store import open_labels

SIZE = (32, 64)


@pytest.fixture
def ours():
    """A tiny network of ours whose statistics are not those of a new one, and its plain twin."""
    fcn = tiny_fcn(SIZE, n_classes=4, backbone="resnet11v2", layers=2, filters=8, seed=1)
    for weight in fcn.weights:
        if weight.path.endswith(("beta", "moving_mean", "bias")):
            weight.assign(np.random.default_rng(2).normal(0, 0.1, weight.shape))
        if weight.path.endswith(("gamma", "moving_variance")):
            weight.assign(np.random.default_rng(3).uniform(0.8, 1.2, weight.shape))
    return fcn


@pytest.fixture
def twin(ours):
    network = plain.build_plain((*SIZE, 3), depth=11, n_classes=4, n_layers=2, filters=8)
    network.set_weights(ours.get_weights())
    return network


@pytest.fixture
def torch():
    """PyTorch on one thread: its threads and TensorFlow's wait for each other at every layer."""
    module = pytest.importorskip("torch")
    threads = module.get_num_threads()
    module.set_num_threads(1)
    yield module
    module.set_num_threads(threads)


def batch():
    return random_batch(SIZE, n_classes=4)


@pytest.mark.long
def test_the_plain_network_has_our_layers_and_the_chapters_size(ours, twin):
    def paths(network):
        return [w.path.removeprefix("fcn/") for w in network.weights]

    assert paths(ours) == paths(twin)
    assert plain.build_plain((64, 64, 3)).count_params() == 11_120_900


def test_plain_outputs_are_ours(ours, twin):
    pictures, _ = batch()
    probabilities = predict(ours, pictures)
    assert probabilities.max() > 0.5  # no uniform guess, on which all networks would agree
    np.testing.assert_allclose(predict(twin, pictures / 255), probabilities, atol=1e-4)


def test_a_plain_step_is_ours(ours, twin):
    pictures, labels = batch()
    before = [weight.numpy() for weight in ours.weights]
    # Not Adam: it divides by the size of a gradient, and so makes a whole step out of the rounding
    # error that is the gradient of a bias before batch normalisation.
    ours.compile(keras.optimizers.SGD(1.0), PixelCrossEntropy(), run_eagerly=True)
    twin.compile(keras.optimizers.SGD(1.0), "categorical_crossentropy", run_eagerly=True)
    ours.train_on_batch(pictures, labels)
    twin.train_on_batch(pictures / 255, chapter_labels.one_hot(labels, 4))
    moved = [np.abs(a.numpy() - b).max() for a, b in zip(ours.weights, before, strict=True)]
    assert np.median(moved) > 1e-3
    for weight, same in zip(ours.weights, twin.weights, strict=True):
        np.testing.assert_allclose(weight.numpy(), same.numpy(), atol=1e-5, err_msg=weight.path)


def test_plain_evaluation_is_ours(twin, tmp_path):
    pictures, labels = batch()
    labels[0, :, :40] = 0
    keys = ["a.png", "b.png"]
    named = dict(zip(keys, pictures, strict=True))
    store = write_store(tmp_path, named, labels, ["background", "a", "b", "c"])
    masks = dict(zip(keys, chapter_labels.one_hot(labels, 4), strict=True))
    miou, accuracy = plain.evaluate(twin, store, masks)
    predicted = predict(twin, pictures / 255).argmax(-1)
    matrices = keras.ops.convert_to_numpy(count_confusions(labels, predicted, 4))
    expected = scores(matrices)
    assert miou == pytest.approx(expected["chapter_miou"])
    assert accuracy == pytest.approx(expected["pixel_accuracy"])


@pytest.fixture
def our_contestants(tmp_path, monkeypatch):
    """Ours with a tiny network, and a store of five pictures in place of the drinks."""
    pictures, labels = random_batch(number=5, n_classes=4)
    named = {f"{number}.png": picture for number, picture in enumerate(pictures)}
    store = write_store(tmp_path, named, labels, ["background", "a", "b", "c"])
    network = tiny_fcn(n_classes=4, seed=0)
    monkeypatch.setattr(contestants, "_our_network", lambda size: network)
    monkeypatch.setattr(contestants, "TRAIN", tmp_path / "labels.npy")
    return network, store, pictures, labels


def test_our_network_keeps_memory_as_the_program_does(monkeypatch):
    kept = []
    monkeypatch.setattr("fast.allocation.keep_memory", lambda: kept.append(True))
    monkeypatch.setattr("zoo.chapter.build_chapter", lambda size: size)
    monkeypatch.setattr("fast.devices.fast_precision", lambda: "float32")
    assert contestants._our_network((32, 48)) == (32, 48, 3) and kept == [True]


def test_our_evaluation_scores_the_first_pictures(our_contestants):
    network, store, pictures, labels = our_contestants
    task = contestants.evaluate_ours((32, 48), 3, str(contestants.TRAIN))
    task.warm_up()
    predicted = predict(network, pictures[:3]).argmax(-1)
    matrices = keras.ops.convert_to_numpy(count_confusions(labels[:3], predicted, 4))
    assert task.run() == pytest.approx(scores(matrices))
    assert len(store) == 5


@pytest.mark.long
def test_our_other_contestants_run(our_contestants):
    network, _, pictures, _ = our_contestants
    mask = contestants.predict_ours((32, 48)).run()
    expected = predict(network, contestants._random_batch((32, 48), 1)[0]).argmax(-1)[0]
    np.testing.assert_array_equal(mask, expected)
    options = {"size": (32, 48), "batch": 2, "batches": 3, "workers": 2}
    for per, count in (("batch", 3), ("picture", 6)):
        task = contestants.generator(per=per, **options)
        assert task.count == count and task.run() is None
    contestants.labels_ours().warm_up()
    before = network.get_weights()
    assert np.isfinite(contestants.train_ours((32, 48), 2).run())
    after = network.get_weights()
    assert any((one != other).any() for one, other in zip(before, after, strict=True))


@pytest.mark.long
def test_the_device_is_that_of_this_process():
    """It is asked in a process of its own."""
    device = {"backend": keras.backend.backend(), "gpu": gpu_name()}
    assert find_device() == device | {"precision": fast_precision()}


def test_torch_outputs_are_ours(ours, torch):
    from benchmarks.torch_network import as_input, build_torch, copy_weights

    pictures, _ = batch()
    network = build_torch(depth=11, n_classes=4, n_layers=2, filters=8, as_keras=True)
    copy_weights(ours, network)
    with torch.inference_mode():
        probabilities = network.eval()(as_input(pictures)).softmax(1).permute(0, 2, 3, 1)
    expected = predict(ours, pictures)
    np.testing.assert_allclose(probabilities.cpu().numpy(), expected, atol=1e-4)


def test_torchs_own_way_has_the_same_layers_and_shapes(torch):
    from benchmarks.torch_network import as_input, build_torch

    sizes = {"depth": 11, "n_layers": 2, "filters": 8}
    keras_way, torchs_way = (build_torch(**sizes, as_keras=choice) for choice in (True, False))
    torchs_way.load_state_dict(keras_way.state_dict())
    shapes = {tuple(n(as_input(batch()[0])).shape) for n in (keras_way, torchs_way)}
    assert shapes == {(2, 4, *SIZE)}
    # Of the chapter's network; the trainable ones, as in test_model.py.
    assert sum(weight.numel() for weight in build_torch().parameters()) == 11_105_892


def test_compiled_contestants_compute_with_the_compiled_network(torch, monkeypatch):
    """Without a compiler: what `torch.compile` is given and gives back is what counts here."""
    from benchmarks import torch_network

    network, calls = torch_network.build_torch(depth=11, n_layers=2, filters=8), []

    def wrap(module, **options):
        assert module is network and options == {"dynamic": False}
        return Counted(module)

    class Counted(torch.nn.Module):
        def __init__(self, module):
            super().__init__()
            self.module = module

        def forward(self, x):
            calls.append(self.training)
            return self.module(x)

    monkeypatch.setenv("TORCHINDUCTOR_FREEZING", "0")  # as before it afterwards
    monkeypatch.setattr(torch_network, "build_torch", lambda: network)
    monkeypatch.setattr(torch, "compile", wrap)
    monkeypatch.setattr(contestants, "_cannot_compile", lambda: None)
    before = network.of["pre_activation"].weight.detach().clone()
    assert np.isfinite(contestants.train_compiled((32, 64), 2).run())
    assert not torch.equal(before, network.of["pre_activation"].weight)
    assert contestants.predict_compiled((32, 64)).run().shape == (32, 64)
    assert calls == [True, False]
    contestants.train_torch((32, 64), 2).run()
    contestants.predict_torch((32, 64)).run()
    assert calls == [True, False]


def test_what_torch_compile_lacks_is_said_in_a_few_words(tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    reason = "no C++ compiler (no-such-compiler); see requirements/benchmark.txt"
    assert contestants.train_compiled((32, 64), 2) == reason
    assert contestants.predict_compiled((32, 64)) == reason
    compiler = tmp_path / "compiler"
    compiler.write_text("")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    monkeypatch.setattr(contestants.sysconfig, "get_path", lambda name: str(tmp_path))
    assert contestants._cannot_compile() == "no Python.h; see requirements/benchmark.txt"
    (tmp_path / "Python.h").write_text("")
    assert contestants._cannot_compile() is None


def test_a_torch_step_learns(torch):
    from benchmarks.torch_network import adam, build_torch, train_step

    network = build_torch(depth=11, n_classes=4, n_layers=2, filters=8)
    optimizer = adam(network)
    losses = [train_step(network, optimizer, *batch()) for _ in range(3)]
    assert losses[-1] < losses[0]
    decayed = {id(weight) for weight in optimizer.param_groups[0]["params"]}
    names = {name for name, weight in network.named_parameters() if id(weight) in decayed}
    # The stem, three bottlenecks of three, three shortcuts.
    assert len(names) == 1 + 9 + 3 and all(name.endswith("_conv.weight") for name in names)


def test_the_chapters_masks_are_ours(tmp_path):
    pytest.importorskip("cv2")
    drinks = PROJECT / "data" / "drinks"
    project = json.loads((drinks / "segmentation_test.json").read_text())
    entries = list(project["_via_img_metadata"].items())[:5]
    annotations = tmp_path / "few.json"
    annotations.write_text(json.dumps({"_via_img_metadata": dict(entries)}))

    masks = chapter_labels.draw_masks(annotations, drinks)
    chapter_labels.save(masks, tmp_path / "pickled.npy")
    masks = chapter_labels.load(tmp_path / "pickled.npy")
    store = open_labels(make_labels(annotations, progress=False, data_path=drinks), drinks)
    assert list(masks) == store.keys and len(store) == 5
    for key in store.keys:
        np.testing.assert_array_equal(masks[key], chapter_labels.one_hot(store[key], 4))


CONTESTANT = """
import sys
sys.path.insert(0, {project!r})
from benchmarks.runner import Task, serve
def run():
    print("noise")
    open({order!r}, "a").write({letter!r})
serve(lambda: Task(run, count=4, facts={{"letter": {letter!r}}}))
"""


def contestant(letter, order):
    code = CONTESTANT.format(project=str(PROJECT), order=str(order), letter=letter)
    return [sys.executable, "-c", code]


def test_contestants_take_turns(tmp_path):
    order = tmp_path / "order"
    results = alternate({name: contestant(name, order) for name in "AB"}, 3, {})
    assert order.read_text() == "AB" + "ABABAB"  # warmed up, then in turn
    for name in "AB":
        assert results[name]["facts"] == {"letter": name}
        assert len(results[name]["seconds"]) == 3 and min(results[name]["seconds"]) > 0
        assert 1 < results[name]["peak_mb"] < 1000


CLOCK = """
import sys
sys.path.insert(0, {project!r})
from benchmarks import runner
clock = [0.0]
runner.time.perf_counter = lambda: clock[0]
costs = iter([1000, 100, 100, 1, 2, 3, 100, 100, 10, 20, 30])
def run():
    clock[0] += next(costs)
    open({order!r}, "a").write({letter!r})
runner.serve(lambda: runner.Task(run, count=2))
"""


def test_a_turn_begins_with_steps_that_are_not_counted(tmp_path):
    order = tmp_path / "order"
    commands = {}
    for name in "AB":
        code = CLOCK.format(project=str(PROJECT), order=str(order), letter=name)
        commands[name] = [sys.executable, "-c", code]
    results = alternate(commands, 2, {}, uncounted=2, counted=3)
    assert order.read_text() == "AB" + ("A" * 5 + "B" * 5) * 2
    for name in "AB":  # the mean of three steps, with two things in each
        assert results[name]["seconds"] == [1.0, 10.0]


def test_a_contestant_that_is_never_ready_is_ended_with_its_children(tmp_path, monkeypatch):
    child = tmp_path / "child"
    loop = f"import time\nwhile True: time.sleep(0.05); open({str(child)!r}, 'a').write('x')"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {loop!r}])"
    monkeypatch.setattr(runner, "READY", 5)
    results = alternate({"slow": [sys.executable, "-c", code]}, 2, {})
    assert results == {"slow": {"missing": "not ready after 5 s"}}
    written = child.stat().st_size
    time.sleep(0.3)
    assert written == child.stat().st_size > 0


def test_a_contestant_that_cannot_be_says_why(tmp_path):
    order = tmp_path / "order"
    code = (
        f"import sys; sys.path.insert(0, {str(PROJECT)!r})\n"
        "from benchmarks.runner import serve\n"
        "serve(lambda: 'no C++ compiler')"
    )
    for together in (True, False):
        order.unlink(missing_ok=True)
        commands = {"wordy": [sys.executable, "-c", code], "A": contestant("A", order)}
        results = alternate(commands, 2, {}, together)
        assert results["wordy"] == {"missing": "no C++ compiler"}
        assert len(results["A"]["seconds"]) == 2


def test_contestants_that_would_not_fit_beside_each_other_come_one_by_one(tmp_path):
    order = tmp_path / "order"
    commands = {name: contestant(name, order) for name in "AB"}
    commands["killed"] = [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]
    results = alternate(commands, 2, {}, together=False)
    assert order.read_text() == "AABB" * 2  # warmed up and asked in every round
    assert [len(results[name]["seconds"]) for name in "AB"] == [2, 2]
    assert results["killed"] == {"missing": "killed by the system, as when memory runs out"}


def test_contestants_see_the_variables_that_put_all_on_one_device():
    code = (
        f"import os, sys; sys.path.insert(0, {str(PROJECT)!r})\n"
        "from benchmarks.runner import Task, serve\n"
        "hidden = os.environ.get('CUDA_VISIBLE_DEVICES') == ''\n"
        "serve(lambda: Task(lambda: None, facts={'hidden': hidden}))"
    )
    command = {"A": [sys.executable, "-c", code]}
    run = {"backend": "jax", "gpu": None, "precision": "float32"}
    results = alternate(command, 1, {}, environment=same_terms(run))
    assert results["A"]["facts"] == {"hidden": True}
    terms = same_terms(run | {"gpu": "a GPU"})
    assert terms["KERAS_BACKEND"] == "jax" and terms["BENCHMARK_PRECISION"] == "float32"
    assert terms["BENCHMARK_DEVICE"] == "cuda" and "CUDA_VISIBLE_DEVICES" not in terms


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_pytorch_computes_in_the_precision_of_the_others(torch, precision, monkeypatch):
    from benchmarks import torch_network

    monkeypatch.setattr(torch_network, "PRECISION", getattr(torch, precision))
    with torch_network.in_precision():
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype is getattr(torch, precision)


def test_pytorchs_process_does_not_hold_tensorflow(torch):
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]; import benchmarks.torch_network as t\n"
        "print(t.L2, sorted({'keras', 'tensorflow'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, str(PROJECT), str(PROJECT / "chapter12-segmentation")]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed == f"{L2} []\n"


def test_contestants_that_fail_or_lack_a_package_say_so(tmp_path):
    commands = {
        "A": contestant("A", tmp_path / "order"),
        "broken": [sys.executable, "-c", "raise SystemExit('out of paint')"],
        "killed": [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"],
        "lacking": contestant("C", tmp_path / "order"),
    }
    results = alternate(commands, 2, {"lacking": "no_such_package"})
    assert len(results["A"]["seconds"]) == 2
    assert results["broken"] == {"missing": "ended with status 1: out of paint"}
    assert results["killed"] == {"missing": "killed by the system, as when memory runs out"}
    assert results["lacking"]["missing"].startswith("no_such_package is not installed")


def result(*seconds, **others):
    return {"seconds": list(seconds), "peak_mb": 10.0, "facts": {}, **others}


def test_ratios_are_taken_round_by_round():
    contestants = {"ours": result(1.0, 2.0, 4.0), "plain": result(5.0, 6.0, 16.0)}
    (line,) = table_lines([Line("step", goals={"plain": 4, "torch": 2})], contestants)
    # 5, 3 and 4 times; not 6 / 2, the ratio of the medians
    assert line == (
        "| step | 2.00 s (1.00–4.00) | 6.00 s (5.00–16.0) | 4.00× (3.00–5.00) | – | – "
        "| 4×: met; 2×: not measured |"
    )


@pytest.mark.parametrize(("torch", "verdict"), [(3.0, "met"), (1.5, "**missed**")])
def test_every_goal_has_its_own_verdict(torch, verdict):
    contestants = {"ours": result(1.0), "plain": result(5.0), "torch": result(torch)}
    (line,) = table_lines([Line("step", goals={"plain": 4, "torch": 2})], contestants)
    assert line.endswith(f"| 4×: met; 2×: {verdict} |")


@pytest.mark.parametrize(
    ("torch", "compiled", "cell", "ratio", "verdict"),
    [
        # The medians decide, 4 s and 3 s, not the means, 4 s and 5 s.
        ((3.0, 4.0, 5.0), (2.0, 3.0, 10.0), "3.00 s (2.00–10.0), compiled", "3.00×", "met"),
        ((1.0, 1.0, 1.0), (3.0, 3.0, 3.0), "1.00 s (1.00–1.00), eager", "1.00×", "**missed**"),
        (
            (3.0, 3.0, 3.0),
            "no C++ compiler",
            "3.00 s (3.00–3.00), eager; compiled: no C++ compiler",
            "3.00×",
            "met",
        ),
        ("torch is missing", "torch is missing", "torch is missing", "–", "not measured"),
    ],
)
def test_the_better_of_pytorchs_two_ways_counts(torch, compiled, cell, ratio, verdict):
    contestants = {"ours": result(1.0, 1.0, 1.0)}
    for name, values in (("torch", torch), ("compiled", compiled)):
        contestants[name] = {"missing": values} if isinstance(values, str) else result(*values)
    (line,) = table_lines([Line("step", goals={"torch": 2})], contestants)
    _, what, ours, _, _, torch_cell, torch_ratio, goal, _ = line.split("|")
    assert torch_cell.strip() == cell
    assert torch_ratio.split()[0] == ratio
    assert goal.strip() == f"2×: {verdict}"


def test_limits_facts_and_missing_contestants():
    contestants = {
        "ours": result(0.05, facts={"disk_mb": 300.0}),
        "plain": {"missing": "cv2 is not installed"},
    }
    lines = [
        Line("a", limit=0.1),
        Line("b", "per_second", {"ours": "ours"}, limit=60),
        Line("c", "disk_mb", goals={"plain": 4}),
        Line("d", columns={"ours": "nobody"}, limit=1),
    ]
    assert table_lines(lines, contestants) == [
        "| a | 0.0500 s | cv2 is not installed | – | – | – | under 0.1: met |",
        "| b | 20.0 /s | – | – | – | – | at least 60: **missed** |",
        "| c | 300 MB | cv2 is not installed | – | – | – | 4×: not measured |",
        "| d | – | – | – | – | – | under 1: not measured |",
    ]


def test_rows_measured_at_different_times_keep_their_own_commit():
    run = {"machine": "2 cores", "precision": "float32", "versions": {"keras": "3"}}
    run |= {"date": "today", "load": 0.1}
    contestants = {"ours": result(1.0), "plain": result(5.0)}
    results = {
        name: {"contestants": contestants, "run": {**run, "commit": commit}}
        for name, commit in (("train", "abc"), ("masks", "abc"), ("predict", "def"))
    }
    del results["predict"]["run"]["precision"]  # as in rows that were measured long ago
    page = write_page(
        {name: [Line(name)] for name in ("train", "predict", "masks", "new")}, results
    )
    assert (
        "- train (1), masks (1): 2 cores, ours in float32; keras 3; commit abc, today; "
        "load before the run 0.1" in page
    )
    assert "- predict (1): 2 cores; keras 3; commit def" in page
    assert "| train | 10.0 MB | 10.0 MB | – | – |" in page and "| new" not in page


def test_the_page_tells_how_many_steps_a_turn_counted():
    run = {"machine": "2 cores", "versions": {}, "commit": "abc", "date": "today", "load": 0.1}
    contestants = {"ours": result(1.0, 1.0), "torch": result(2.0, 2.0)}
    both = {"compiled": {**result(1.5, 1.5), "peak_mb": 70.0}}
    results = {
        "train-old": {"contestants": contestants, "run": run},
        "masks": {"contestants": {"ours": result(1.0)}, "run": run},
    }
    lines = {name: [Line(name)] for name in ("train-old", "train-new", "masks")}
    page = write_page(lines, results)
    assert "| train-old | 1.00 s (1.00–1.00) | – | – | 2.00 s (2.00–2.00) | 2.00×" in page
    assert "Measured before" in page and "on Keras: train-old.\n" in page
    assert "- train-old (2), masks (1): 2 cores" in page
    del results["train-old"]
    results["train-new"] = {"contestants": contestants | both, "run": run}
    results["train-new"]["turn"] = {"uncounted": 2, "counted": 5}
    page = write_page(lines, results)
    assert "Measured before" not in page
    assert "- train-new (2 × 5), masks (1): 2 cores" in page
    assert "| train-new | 10.0 MB | – | 10.0 MB | 70.0 MB |" in page


def test_the_page_tells_what_share_of_the_arithmetic_is_reached():
    run = {"machine": "2 cores", "versions": {}, "commit": "abc", "date": "today", "load": 0.1}
    contestants = {
        "ours": result(4.0, 10.0, facts={"gmac": 100}),  # 100 GMAC, which take 2 and 4 s
        "plain": result(8.0, 16.0),
        "torch": result(20.0, 40.0),
        "compiled": result(10.0, 20.0),
        "matmul": result(0.02, 0.04),
    }
    results = {"train": {"contestants": contestants, "run": run}}
    page = write_page({"train": [Line("a step")]}, results)
    assert "| train | 100 | 33.3 | 3.00 s | 45 % | 25 % | 20 % |" in page
    del contestants["matmul"]
    assert "GMAC" not in write_page({"train": [Line("a step")]}, results)


def test_the_speed_of_a_product_is_told_for_a_gmac():
    task = contestants.matmul(side=1000)
    assert task.count == 1 and np.isfinite(task.run()).all()


def test_the_results_that_ship_can_be_written(tmp_path):
    benchmarks = PROJECT / "benchmarks"
    results = json.loads((benchmarks / "results.json").read_text())
    lines = {name: row.lines for name, row in make_rows(tmp_path).items()}
    page = (benchmarks / "results.md").read_text(encoding="utf-8")
    assert write_page(lines, results) == page and set(results) <= set(lines)


def test_the_step_on_jax_is_held_against_that_on_tensorflow(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(
        contestants, "train_ours", lambda *size: seen.append(os.environ["KERAS_BACKEND"])
    )
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    contestants.train_jax((128, 160), 4)
    contestants.train_tensorflow((128, 160), 4)
    assert seen == ["jax", "tensorflow"]
    took = {n: {"seconds": [s, s], "peak_mb": 1.0} for n, s in (("ours", 1.0), ("jax", 1.5))}
    [line] = table_lines(make_rows(tmp_path)["train-jax"].lines, took)
    assert "| 1.50 s (1.50–1.50) | 1.00 s (1.00–1.00) | 0.667× " in line and "0.5×: met" in line
    run = {"machine": "x", "versions": {}, "commit": "x", "date": "x", "load": 0.0}
    rows = {"train-jax": make_rows(tmp_path)["train-jax"].lines}
    result = {"contestants": took, "turn": {"uncounted": 2, "counted": 5}, "run": run}
    assert line in write_page(rows, {"train-jax": result})


def test_every_row_has_contestants_that_exist(tmp_path):
    for row in make_rows(tmp_path).values():
        for function, _ in row.contestants.values():
            assert callable(getattr(contestants, function))
            of_torch = function.endswith(("_torch", "_compiled"))
            assert (NEEDS.get(function) == "torch") == of_torch
        if "torch" in row.contestants:  # compared with PyTorch: all warm, and its better way
            assert row.contestants["compiled"] == (
                row.contestants["torch"][0].replace("torch", "compiled"),
                row.contestants["torch"][1],
            )
        if {"jax", "torch"} & set(row.contestants):  # steps and predictions
            assert row.uncounted and row.counted > 1
        else:
            assert (row.uncounted, row.counted) == (0, 1)
        for line in row.lines:
            assert set(line.goals) <= set(line.columns)


def test_points_of_cost_survive_and_large_ones_are_left_out(tmp_path):
    from benchmarks.cost import read_points, too_large, write_points

    common = {"action": "train", "grows": "batch", "seconds": 1.5, "lowest": 1.0, "highest": 2.0}
    memory = {1: 3000.0, 2: 5000.0}
    common |= {"commit": "abc", "machine": "2 cores"}
    points = [{**common, "x": x, "peak_mb": y} for x, y in memory.items()]
    assert read_points(tmp_path / "cost.csv") == []
    write_points(tmp_path / "cost.csv", points)
    assert read_points(tmp_path / "cost.csv") == points
    assert not too_large(points, 9, 20_000)  # 1,000 MB and 2,000 for each: 19,000
    assert too_large(points, 10, 20_000)
    assert not too_large(points[:1], 100, 20_000)
