"""The benchmark of a GPU: its arithmetic, its tables, its time and its pieces; without a GPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from conftest import disturbed, predict, tiny_fcn

from benchmarks import gpu, gpu_contestants
from benchmarks.gpu_contestants import DOES_NOT_FIT, Contestant, obey, reason, timed
from utils.errors import UserError

# Arithmetic


def test_operations_are_two_for_a_product_and_three_passes_for_a_step():
    assert gpu.tflops("predict-4", gmac=250, seconds=0.5) == pytest.approx(4.0)
    assert gpu.tflops("train-4", gmac=250, seconds=0.5) == pytest.approx(12.0)


@pytest.mark.parametrize(
    ("device", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989.5),
        ("NVIDIA H100 PCIe", 756.5),
        ("NVIDIA H100 NVL", 835.5),
        ("NVIDIA H200", 989.5),
        ("NVIDIA A100-SXM4-40GB", 312.0),
        ("NVIDIA L4", 121.0),
        ("NVIDIA L40S", 362.0),
        ("NVIDIA GeForce RTX 4090", 165.2),
        ("NVIDIA L40", None),  # neither L4 nor L40S
        ("NVIDIA GeForce RTX 4090 D", None),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("cpu", None),
    ],
)
def test_the_peak_is_found_by_the_words_of_the_name(device, peak):
    assert gpu.peak_of(device) == peak


def test_the_peak_of_an_unknown_card_is_what_a_product_reaches():
    machine = {"product_tflops": 50.0, "memory_tb_s": 1.0}
    assert gpu.with_peak(machine, "NVIDIA T4")["peak_tflops"] == 50.0
    assert gpu.with_peak(machine, "NVIDIA L4")["peak_tflops"] == 121.0


# Time


@pytest.fixture
def clock():
    """A clock that stands still until it is set."""

    class Clock:
        now = 100.0

        def __call__(self):
            return self.now

    return Clock()


def test_what_a_part_leaves_is_for_those_that_follow(clock):
    budget = gpu.Budget(600, ["probes", "epoch", "train"], clock)
    assert [round(budget.left(part)) for part in gpu.SHARES] == [180, 330, 600]
    clock.now += 320  # the probes took longer
    assert [round(budget.left(part)) for part in gpu.SHARES] == [0, 10, 280]


def test_a_part_alone_has_all_the_time(clock):
    assert gpu.Budget(600, ["train"], clock).left("train") == 600
    both = gpu.Budget(600, ["probes", "train"], clock)
    assert both.left("train") == pytest.approx(600)
    assert both.left("probes") == pytest.approx(600 * 0.3 / 0.75)


# Tables


def match(probe, missing=None, alone=False, **rounds):
    return {"probe": probe, "rounds": rounds, "missing": missing or {}, "alone": alone}


@pytest.mark.parametrize("grow", [True, False])
@pytest.mark.parametrize("seconds", [30, 90, 130, 176, 265, 300, 540, 830, 2000])
def test_the_preset_ends_in_the_time_that_there_is(seconds, grow):
    """Started and scored too."""
    words = gpu.as_long_as(seconds, grow)
    epochs, others = int(words[-1]), gpu.STARTING + gpu.SCORING
    planned = others + 3 * gpu.COMPILING + gpu.EPOCH * epochs
    if words[0] == "--no-grow":
        planned = others + gpu.COMPILING + gpu.LARGEST * epochs
    else:
        assert grow
    assert planned <= max(seconds, others + gpu.COMPILING + gpu.LARGEST)
    assert 1 <= epochs <= 100
    assert epochs > {265: 6, 300: 8, 540: 20, 830: 40, 2000: 99}.get(seconds, 0)


@pytest.mark.parametrize(
    ("words", "epochs"),
    [([], ["30"]), (["--", "--epochs", "7"], ["7"]), (["--preset", "book"], [])],
)
def test_the_training_is_as_long_as_asked_or_as_there_is_time(
    job, words, epochs, monkeypatch, tmp_path
):
    run = []
    monkeypatch.setattr(gpu, "run_program", lambda c, *_: run.append(c) or ([], 0, 1.0))
    seconds = gpu.STARTING + 2 * gpu.SCORING + 3 * gpu.COMPILING + 30 * gpu.EPOCH + 1
    job.args = gpu.parse_arguments(["--out", str(tmp_path), "--only", "train", *words])
    job.budget = gpu.Budget(seconds, ["train"], job.budget._now)
    gpu.train_preset(job)
    [command] = [list(map(str, command)) for command in run]
    asked = [command[place + 1] for place, word in enumerate(command) if word == "--epochs"]
    assert asked == epochs


SCORES = "\n".join(
    ("chapter mIoU 0.9", "dataset mIoU 0.8", "pixel accuracy 97.5%", "a line that tells no score")
)
HISTORY = "run,epoch,loss,learning_rate,chapter_miou,dataset_miou,pixel_accuracy,seconds\n"


def test_a_training_that_did_not_end_is_scored_as_far_as_it_came(job, monkeypatch, tmp_path):
    """With the weights that it left, on the data that it learnt from, in the time that is kept."""
    run, folder = [], tmp_path / "weights"

    def run_program(command, environment, log, limit):
        run.append(([str(word) for word in command], limit))
        if "--train" not in command:
            return SCORES.splitlines(), 0, 20.0
        folder.mkdir()
        (folder / "x-best-iou.weights.h5").write_bytes(b"weights" * 9)
        (folder / "x-history.csv").write_text(HISTORY + "1,1,2,0.1,0.5,0.4,0.7,9\n")
        return ["epoch 1/22  chapter mIoU 0.5"], None, 500.0

    monkeypatch.setattr(gpu, "run_program", run_program)
    words = ["--only", "train", "--pieces", "0.00002", "--", "--resume", "--data-path", "mine"]
    words += ["--start-from", "other.weights.h5", "--restore-weights", "old.weights.h5"]
    job.args = gpu.parse_arguments(["--out", str(tmp_path), *words])
    job.budget = gpu.Budget(600, ["train"], job.budget._now)
    gpu.train_preset(job)
    (_, cut), (scored, _) = run
    best = str(folder / "x-best-iou.weights.h5")
    assert cut == 600 - gpu.SCORING
    assert scored[2:-3] == ["--evaluate", "--restore-weights", best]
    assert scored[-3:] == ["--save-dir", str(folder), "--data-path=mine"]
    training = job.results["training"]
    expected = {"chapter_miou": 0.9, "dataset_miou": 0.8, "pixel_accuracy": 0.975}
    assert training["scores"] == expected and training["history"][0]["chapter_miou"] == 0.5
    assert len(training["weights"]["pieces"]) == 4
    page = gpu.write_page(job.results)
    assert "as the time was up, after 500 s; 1 epochs" in page and "chapter_miou 0.9000" in page
    training["scores"] = {}
    assert "not scored on the test pictures" in gpu.write_page(job.results)


@pytest.mark.parametrize(("status", "hundred"), [(0, (70 + 98 * 11) / 60), (None, None)])
def test_a_hundred_epochs_are_extrapolated_from_two(job, monkeypatch, status, hundred):
    def run_program(command, environment, log, limit):
        folder = Path(command[command.index("--save-dir") + 1])
        folder.mkdir()
        rows = ("1,1,2,0.1,0.5,0.4,0.7,40\n", "1,2,2,0.1,0.5,0.4,0.7,11\n")
        (folder / "x-history.csv").write_text(HISTORY + "".join(rows))
        return [], status, 70.0

    monkeypatch.setattr(gpu, "run_program", run_program)
    job.budget = gpu.Budget(600, ["epoch"], job.budget._now)
    gpu.measure_epoch(job)
    assert job.results["epoch"]["epochs"] == [40, 11]
    assert job.results["epoch"]["hundred_minutes"] == hundred


def test_ratios_are_taken_round_by_round():
    ours, eager = [[1.0, 1.0], [2.0, 2.0], [4.0, 4.0]], [[5.0, 5.0], [6.0, 6.0], [16.0, 16.0]]
    found = gpu.ratios_of([match("train-4", ours=ours, eager=eager)], "train-4", "eager")
    assert found == [5.0, 3.0, 4.0]


def test_rounds_of_other_matches_do_not_enter_a_ratio():
    matches = [
        match("train-4", ours=[[1.0]], eager=[[3.0]]),
        match("train-4", ours=[[2.0]], compiled=[[3.0]]),
        match("train-16", ours=[[1.0]], compiled=[[7.0]]),
    ]
    assert gpu.ratios_of(matches, "train-4", "compiled") == [1.5]
    assert gpu.ratios_of(matches, "train-4", "plain") == []
    assert gpu.steps_of(matches, "train-4", "ours") == [1.0, 2.0]


def test_a_round_that_the_time_ended_has_no_ratio():
    matches = [match("train-4", ours=[[1.0], [1.0]], eager=[[3.0]])]
    assert gpu.ratios_of(matches, "train-4", "eager") == [3.0]


def test_the_table_has_medians_spread_ratios_goals_and_reasons():
    matches = [
        match("train-4", ours=[[0.04, 0.05], [0.04, 0.04]], eager=[[0.06, 0.1], [0.06, 0.06]]),
        match("train-4", {"compiled": DOES_NOT_FIT}, ours=[[0.04]]),
        match("predict-1", ours=[[0.01]], eager=[[0.02]], compiled=[[0.015]]),
    ]
    _, _, train, predict = gpu.comparison(matches)
    assert train == (
        "| training step, 4 | 40 ms (40–50) | 60 ms (60–100) | 1.64× (1.50–1.78) "
        "| does not fit into memory | – | – | – "
        "| PyTorch 2×: **missed**; torch.compile 1.3×: not measured |"
    )
    assert predict.endswith("| 15 ms (15–15) | 1.50× (1.50–1.50) | – | – | PyTorch 1.5×: met |")


@pytest.fixture
def results(monkeypatch):
    """Results before the first measurement, of a machine that is not asked."""
    monkeypatch.setattr(gpu, "find_device", lambda tiny: "NVIDIA H100 80GB HBM3")
    return gpu.new_results(gpu.parse_arguments([]))


def test_speeds_are_shares_of_the_peak(results):
    results["gmac"] = 250.0
    results["machine"] = gpu.with_peak({"product_tflops": 700.0, "memory_tb_s": 3.0}, "NVIDIA H100")
    results["matches"] = [match("train-4", ours=[[0.03]], eager=[[0.06]])]
    for name, memory in (("ours", {"train-4": 12.34}), ("eager", {})):
        results["contestants"][name] = {"first_seconds": {"train-4": 59.0}, "peak_gb": memory}
    _, _, ours, eager = gpu.speeds(results)
    # 250 GMAC x 2 x 3 x 4 = 6 x 10^12 operations
    assert ours == "| training step, 4 | ours | 133.3 | 200 | 20.2% | 59.0 s | 12.3 GB |"
    assert eager == "| training step, 4 | PyTorch | 66.67 | 100 | 10.1% | 59.0 s | – |"
    page = gpu.write_page(results)
    assert ours in page and "989.5 TFLOP/s (NVIDIA's data sheet)" in page


def test_a_page_is_written_before_anything_is_measured_and_after_everything(results):
    assert "NVIDIA H100 80GB HBM3; python" in gpu.write_page(results)
    results["labels"] = 2.5
    ended = {"status": 0, "seconds": 300.4}
    results["epoch"] = {**ended, "epochs": [40.0, 10.0], "hundred_minutes": 17.5}
    row = {"chapter_miou": 0.7}
    results["training"] = {
        "command": "fcn-12.3.1.py --train",
        **ended,
        "history": [row, {"chapter_miou": 0.9}, row],
        "scores": {"chapter_miou": 0.95, "pixel_accuracy": 0.99},
        "weights": {"file": "w.h5", "sha256": "abc", "pieces": ["w.h5.000"], "join": "cat it"},
    }
    results["left_out"] = ["train-16 of ours"]
    page = gpu.write_page(results)
    for words in (
        "2.5 s",
        "40.0 s, 10.0 s; ended with status 0 after 300 s",
        "17.5 minutes",
        "3 epochs, best validation 0.9000; test pictures: chapter_miou 0.9500",
        "w.h5, SHA-256 abc",
        "`cat it`",
        "train-16 of ours",
    ):
        assert words in page


# Pieces


def test_pieces_are_small_and_the_line_joins_them(tmp_path):
    content = np.random.default_rng(0).bytes(2_500_001)
    path, folder = tmp_path / "best iou.weights.h5", tmp_path / "pieces"
    path.write_bytes(content)
    cut = gpu.cut(path, folder, megabytes=1)
    assert [(folder / name).stat().st_size for name in cut["pieces"]] == [10**6, 10**6, 500_001]
    told = subprocess.run(cut["join"], shell=True, cwd=folder, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    assert (folder / path.name).read_bytes() == content
    (folder / cut["pieces"][1]).write_bytes(b"damaged")
    told = subprocess.run(cut["join"], shell=True, cwd=folder, capture_output=True)
    assert told.returncode != 0


# Parsing


def test_the_scores_of_the_test_pictures_are_read_and_no_others():
    lines = [
        "epoch 1/2  loss 1.0000  chapter mIoU 0.1111  dataset mIoU 0.2222  pixel accuracy 33.33%",
        "Best chapter mIoU 0.4444: somewhere",
        "a.jpg: 2 objs, miou=0.5555 ,pla=66.66%",
        "chapter mIoU    0.9512  mean over 50 pictures",
        "dataset mIoU    0.9401  one confusion matrix",
        "pixel accuracy  99.12%",
    ]
    scores = gpu.read_scores(lines)
    assert scores == pytest.approx(
        {"chapter_miou": 0.9512, "dataset_miou": 0.9401, "pixel_accuracy": 0.9912}
    )
    assert gpu.read_scores(lines[:3]) == {}


def test_what_evaluation_prints_is_what_is_read(capsys):
    from evaluation import print_scores

    matrices = np.array([[[90, 10], [0, 100]]])
    print_scores(["a.jpg"], matrices, ("background", "can"))
    scores = gpu.read_scores(capsys.readouterr().out.splitlines())
    assert scores["pixel_accuracy"] == pytest.approx(0.95)
    assert scores["chapter_miou"] == pytest.approx((90 / 100 + 100 / 110) / 2, abs=1e-4)


def test_options_behind_two_dashes_are_the_trainings():
    args = gpu.parse_arguments(["--only", "train", "--pieces", "15", "--", "--epochs", "20"])
    assert args.only == ["train"] and args.training == ["--epochs", "20"]
    assert args.weights == args.out / "weights" and args.out.is_absolute()


@pytest.mark.parametrize("value", ["0", "-1"])
def test_no_time_is_refused(value, capsys):
    with pytest.raises(SystemExit):
        gpu.parse_arguments(["--minutes", value])
    assert "above 0" in capsys.readouterr().err


# Programs


def program(code):
    return [sys.executable, "-u", "-c", code]


def test_a_programs_output_is_passed_on_and_kept(tmp_path, capsys):
    log = tmp_path / "log"
    code = "import sys; print('one'); print('two', file=sys.stderr); sys.exit(3)"
    lines, status, seconds = gpu.run_program(program(code), dict(os.environ), log, 60)
    assert (lines, status) == (["one", "two"], 3) and 0 < seconds < 60
    assert log.read_text() == "one\ntwo\n"
    assert capsys.readouterr().out.endswith("one\ntwo\n")


def test_a_program_is_ended_in_time(tmp_path):
    code = "import os, time; print(os.getpid()); time.sleep(600)"
    lines, status, seconds = gpu.run_program(program(code), dict(os.environ), tmp_path / "log", 2)
    assert status is None and seconds < 60
    with pytest.raises(ProcessLookupError):
        os.kill(int(lines[0]), 0)


def test_a_contestant_answers_line_by_line():
    steps = []
    contestant = Contestant(
        prepare=lambda action, batch: timed(lambda: steps.append((action, batch))),
        facts={},
        peak=lambda: 2_000_000_000,
    )
    answer = obey(contestant, {"prepare": "train-4"})
    assert answer["first_seconds"] >= 0 and answer["peak_gb"] == 2.0
    answer = obey(contestant, {"run": "train-4", "uncounted": 2, "counted": 3})
    assert len(answer["seconds"]) == 3 and steps == [("train", 4)] * 6


def test_a_full_memory_is_a_result():
    for text in ("RESOURCE_EXHAUSTED: Out of memory while trying", "CUDA out of memory. Tried"):
        assert reason(RuntimeError(text)) == DOES_NOT_FIT
    assert reason(ValueError("wrong\nand more")) == "ValueError: wrong"


class FakeCrew(gpu.Crew):
    """Contestants of this process. One that is "large" fits only where it is alone."""

    def __init__(self, large=(), broken=()):
        self.ready, self.large, self.broken, self.order = {}, large, broken, []
        self.started = []

    def __len__(self):
        return len(self.ready)

    def start(self, name, limit):
        self.ready[name] = set()
        self.started.append(name)
        return {"gmac": 1.0}

    def end(self, *names):
        for name in names or list(self.ready):
            self.ready.pop(name, None)

    def ask(self, name, request, limit):
        if "machine" in request:
            return {"product_tflops": 1.0, "memory_tb_s": 1.0}
        if "prepare" in request:
            crowded = name in self.large and len(self.ready) > 1
            if crowded or name in self.broken:
                self.end(name)
                return {"missing": DOES_NOT_FIT if crowded else "ended with status 1"}
            return {"first_seconds": 1.0, "peak_gb": 3.0}
        self.order.append(name[0])
        return {"seconds": [1.0] * request["counted"]}


@pytest.fixture
def job(results, tmp_path, clock, monkeypatch):
    """A job whose packages are all there and whose clock stands still."""
    monkeypatch.setattr(gpu, "NEEDS", dict.fromkeys(gpu.NEEDS, "json") | {"ours": "jax"})
    monkeypatch.setattr(gpu.importlib.util, "find_spec", lambda package: True)
    args = gpu.parse_arguments(["--out", str(tmp_path)])
    return gpu.Job(args, results, {}, tmp_path, gpu.Budget(600, ["probes"], clock))


def test_contestants_take_turns(job):
    crew, one = FakeCrew(), match("train-4")
    gpu.play(one, ["ours", "eager"], job, crew)
    assert "".join(crew.order) == "oeoeoe" and not one["alone"]
    assert len(one["rounds"]["ours"][0]) == gpu.COUNTED
    assert job.results["contestants"]["eager"]["peak_gb"] == {"train-4": 3.0}
    assert job.results["machine"]["peak_tflops"] == 989.5


def test_contestants_that_do_not_fit_beside_each_other_come_one_by_one(job):
    crew, one = FakeCrew(large=["eager"]), match("train-16")
    gpu.play(one, ["ours", "eager"], job, crew)
    assert "".join(crew.order[-6:]) == "oooeee" and one["alone"]
    assert one["missing"] == {} and len(one["rounds"]["eager"]) == 3


def test_a_contestant_that_fails_is_left_out(job):
    crew, one = FakeCrew(broken=["eager"]), match("train-4")
    gpu.play(one, ["ours", "eager"], job, crew)
    assert one["missing"] == {"eager": "ended with status 1"} and "".join(crew.order) == "ooo"


def test_what_failed_before_its_first_step_is_not_started_again(job):
    crew = FakeCrew(broken=["eager"])
    for probe in ("train-4", "predict-4"):
        one = match(probe)
        gpu.play(one, ["ours", "eager"], job, crew)
        assert one["missing"] == {"eager": "ended with status 1"}
    assert crew.started == ["ours", "eager"]


def test_without_ours_nobody_is_measured(job):
    crew, one = FakeCrew(broken=["ours"]), match("train-4")
    gpu.play(one, ["ours", "eager"], job, crew)
    assert crew.started == ["ours"] and not one["rounds"]


def test_nobody_is_started_whose_first_step_would_come_too_late(job, clock):
    crew, one = FakeCrew(), match("train-4")
    clock.now += 600 - gpu.FIRST["ours"] + 1
    gpu.play(one, ["ours", "eager"], job, crew)
    assert one["missing"] == {"ours": gpu.NO_TIME} and crew.started == []


def test_what_would_not_be_ready_in_time_is_not_begun(job, clock):
    crew, one = FakeCrew(), match("train-16")
    job.results["contestants"]["eager"] = {"first_seconds": {"train-4": 70.0}, "peak_gb": {}}
    clock.now += 540
    gpu.play(one, ["ours", "eager"], job, crew)
    assert one["missing"] == {"eager": gpu.NO_TIME} and "".join(crew.order) == "ooo"
    prediction = match("predict-1")  # has nothing to do with it
    gpu.play(prediction, ["eager"], job, crew)
    assert prediction["missing"] == {}


def test_what_the_time_does_not_allow_is_named(job, clock, monkeypatch):
    monkeypatch.setattr(gpu, "Crew", lambda *arguments: FakeCrew())
    job.keep()
    clock.now += 599
    gpu.measure_probes(job)
    assert job.results["matches"] == []
    assert job.results["left_out"][0] == "train-4 of ours and PyTorch"
    assert len(job.results["left_out"]) == len(gpu.MATCHES)


def test_results_are_kept_when_all_are_ready_and_after_every_match(job, monkeypatch):
    monkeypatch.setattr(gpu, "Crew", lambda *arguments: FakeCrew())
    kept = []
    monkeypatch.setattr(
        gpu.Job, "keep", lambda self: kept.append(len(self.results["matches"][-1]["rounds"]))
    )
    gpu.measure_probes(job)
    assert kept[:4] == [0, 2, 0, 2] and len(kept) == 2 * len(gpu.MATCHES)


def test_a_process_that_dies_or_is_slow_does_not_stop_the_others(tmp_path, monkeypatch):
    program = tmp_path / "gpu_contestants.py"
    program.write_text(
        "import sys, time\n"
        "print('{\"gmac\": 1.0}', flush=True)\n"
        "for line in sys.stdin:\n"
        "    if sys.argv[1] == 'slow': time.sleep(600)\n"
        "    if sys.argv[1] == 'dead': sys.exit(4)\n"
        "    print('{}', flush=True)\n"
    )
    monkeypatch.setattr(gpu, "HERE", tmp_path)
    crew = gpu.Crew({}, dict(os.environ), tmp_path / "gpu.log")
    try:
        for name in ("slow", "dead", "fine"):
            assert crew.start(name, 60) == {"gmac": 1.0}
        assert len(crew) == 3
        assert crew.ask("slow", {}, 0.5) == {"missing": "not done in 0 s"}
        assert crew.ask("dead", {}, 60) == {"missing": "ended with status 4; see gpu.log"}
        assert crew.ask("fine", {}, 60) == {}
        assert list(crew.ready) == ["fine"]
    finally:
        crew.end()
    assert len(crew) == 0


def test_a_machine_without_a_gpu_is_told_what_to_do(monkeypatch):
    def answer(command, **options):
        return subprocess.CompletedProcess(command, 0, "cpu cpu\n", "")

    monkeypatch.setattr(gpu.subprocess, "run", answer)
    assert gpu.find_device(tiny=True) == "cpu"
    with pytest.raises(UserError, match="--tiny"):
        gpu.find_device(tiny=False)


def test_a_driver_that_does_not_answer_is_not_waited_for(monkeypatch):
    def answer(command, timeout, **options):
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(gpu.subprocess, "run", answer)
    with pytest.raises(UserError, match="JAX has not found the GPU in 120 s; see whether"):
        gpu.find_device(tiny=False)


# The data and the contestants


def test_a_rehearsal_has_eight_pictures_to_train_on(tmp_path):
    from data_generator import split_keys
    from utils.label_maps.fresh import ensure_labels

    folder = gpu.few_pictures(tmp_path / "drinks")
    train, test = (ensure_labels(folder / store, progress=False) for store in gpu.STORES)
    assert [len(part) for part in split_keys(train.keys, 0.1)] == [8, 1] and len(test) == 2


def test_the_probes_are_all_matched_and_every_match_is_ours():
    assert {probe for probe, _ in gpu.MATCHES} == set(gpu.PROBES)
    for _, names in gpu.MATCHES:
        assert names[0] == "ours" and set(names) <= set(gpu_contestants.CONTESTANTS)
    assert set(gpu.NAMES) == set(gpu_contestants.CONTESTANTS) == set(gpu.NEEDS)


def test_a_turn_of_fit_times_each_step_and_trains():
    network = tiny_fcn((32, 48), n_classes=4, seed=0)
    from losses import PixelCrossEntropy

    network.compile(keras.optimizers.SGD(0.1), PixelCrossEntropy(), run_eagerly=True)
    before = network.get_weights()
    turn = gpu_contestants.fitted(network, *gpu_contestants.random_batch((32, 48), 2))
    seconds = turn(2)
    assert len(seconds) == 2 and min(seconds) > 0
    after = network.get_weights()
    assert any((one != other).any() for one, other in zip(before, after, strict=True))


def test_our_class_ids_are_those_of_the_probabilities():
    network = disturbed(tiny_fcn((32, 48), n_classes=4, seed=0))
    pictures, _ = gpu_contestants.random_batch((32, 48), 3)
    ids = gpu_contestants.class_ids(network)(pictures)
    assert ids.dtype == np.uint8 and len(np.unique(ids)) > 1
    expected = predict(network, pictures).argmax(-1)
    assert (ids != expected).mean() < 1e-3  # folding rounds otherwise


@pytest.mark.usefixtures("policy", "plain")  # as before it afterwards
def test_each_number_of_pictures_is_predicted_by_itself(monkeypatch):
    """Not filled up to as many as were predicted before."""
    pytest.importorskip("jax")
    seen = []

    def class_ids(network):
        numbers = []
        seen.append(numbers)
        return lambda pictures: numbers.append(len(pictures))

    monkeypatch.setattr(gpu_contestants, "class_ids", class_ids)
    ours = gpu_contestants.keras_on_jax(**gpu.TINY)
    for number in (4, 1):
        ours.prepare("predict", number)(2)
    assert seen == [[4, 4], [1, 1]]


def test_the_results_are_json(job):
    job.keep()
    content = json.loads((job.args.out / "gpu.json").read_text())
    assert content["run"]["device"] == "NVIDIA H100 80GB HBM3"
    assert (job.args.out / "gpu.md").read_text() == gpu.write_page(content)
