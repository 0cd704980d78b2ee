"""Measure a GPU and train its preset, in one command and ten minutes at most.

    python3 benchmarks/gpu.py                             # probes, two epochs, the training
    python3 benchmarks/gpu.py --only probes --minutes 5
    python3 benchmarks/gpu.py --only train --minutes 15   # as much of the preset as fits in
    python3 benchmarks/gpu.py --only train -- --epochs 20 # behind -- options for fcn-12.3.1.py
    python3 benchmarks/gpu.py --tiny                      # a rehearsal, also without a GPU

It needs JAX for the GPU and Keras, for the comparison PyTorch, no TensorFlow; leave the GPU alone
meanwhile. Compiling takes most of ten minutes: probes that do not fit in are left out and named,
and the training has fewer epochs than its preset. XLA_FLAGS, JAX_COMPILATION_CACHE_DIR and
TORCHINDUCTOR_CACHE_DIR are passed on; without the latter two, what is compiled is kept for this run
alone, so that first steps are those of a new machine. Results are written as they come: a run that
is killed leaves what it measured.
"""

import argparse
import datetime
import hashlib
import importlib.util
import json
import os
import re
import select
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.gpu_contestants import DOES_NOT_FIT, split
from benchmarks.report import ratios
from utils.errors import UserError
from utils.errors import run as run_main
from utils.files import PROJECT, portable, replace_whole
from utils.history import read_rows
from utils.label_maps.fresh import ensure_labels
from utils.versions import commit, versions

HERE = Path(__file__).resolve().parent
DRINKS = PROJECT / "data" / "drinks"
SCRIPT = PROJECT / "fcn-12.3.1.py"
STORES = ("segmentation_train.npy", "segmentation_test.npy")
PACKAGES = ("jax", "jaxlib", "keras", "torch", "triton", "numpy")
# The parts in order and their shares of the time; what one leaves is for those that follow.
SHARES = {"probes": 0.3, "epoch": 0.25, "train": 0.45}
CLOSING = 10  # seconds that are kept for writing
SCORING = 60  # seconds that are kept for scoring a training that did not end in time
# Seconds of the preset full on an H100: until a program has its network, what XLA takes for a size,
# an epoch at the largest size, and one on average over the three through which it grows, each with
# scoring and checkpoint. Those of the two smaller sizes took 10 on average with threads for
# readers, see "The preset of a GPU" in notes.md; the largest is reckoned. A training of which too
# many are planned is cut before its rate has fallen.
STARTING, COMPILING, LARGEST, EPOCH = 40, 60, 14.0, 11.0
LEAST_EPOCHS = 10  # at which each size has some
GRACE = 10  # seconds that a program has to end in
LEAST = 5  # seconds that are worth beginning something in
# Seconds from the start of a contestant to the end of its first step, at least.
FIRST = {"ours": 60, "eager": 15, "compiled": 60, "plain": 60}
NO_TIME = "no time left"
NAMES = {"ours": "ours", "eager": "PyTorch", "compiled": "torch.compile", "plain": "stock Keras"}
NEEDS = {"ours": "jax", "plain": "jax", "eager": "torch", "compiled": "torch"}
ACTIONS = {"train": "training step", "predict": "prediction"}
PROBES = ("train-4", "train-16", "predict-1", "predict-4", "predict-16")  # pictures at once
# What is measured against what, the most important first.
MATCHES = (
    ("train-4", ("ours", "eager")),
    ("train-16", ("ours", "eager")),
    ("predict-4", ("ours", "eager")),
    ("predict-1", ("ours", "eager")),
    ("predict-16", ("ours", "eager")),
    ("train-4", ("ours", "compiled")),
    ("train-16", ("ours", "compiled")),
    ("predict-4", ("ours", "compiled")),
    ("predict-1", ("ours", "compiled")),
    ("predict-16", ("ours", "compiled")),
    ("train-4", ("ours", "plain")),
    ("predict-4", ("ours", "plain")),
    ("train-16", ("ours", "plain")),
)
GOALS = {"train": {"eager": 2.0, "compiled": 1.3}, "predict": {"eager": 1.5}}
ROUNDS, UNCOUNTED, COUNTED = 3, 3, 10  # turns of each contestant, and the steps of a turn
LIMITS = {"start": 120, "prepare": 180, "run": 60}  # seconds that an answer may take
# Peaks of dense products in bfloat16 with sums in float32, in 10^12 operations a second: NVIDIA's
# data sheets (half of what stands there "with sparsity"), for GeForce the white paper of Ada. The
# first whose words are all in the name of the device counts.
PEAKS = {
    "H200 NVL": 835.5,
    "H200": 989.5,
    "H100 NVL": 835.5,
    "H100 PCIe": 756.5,
    "H100": 989.5,
    "A100": 312.0,
    "L40S": 362.0,
    "L4": 121.0,
    "RTX 4090": 165.2,
}
OTHERS = {"laptop", "d"}  # cards of the same numbers with less in them
BOOK = {"size": (480, 640), "depth": 56, "layers": 3, "filters": 256}
TINY = {"size": (32, 64), "depth": 11, "layers": 1, "filters": 4}
TINY_RUN = "--height 32 --width 64 --backbone resnet11v2 --layers 1 --filters 4 --batch-size 4"
PAGE = """# What was measured on a GPU

Written by `benchmarks/gpu.py`. Times of a step: medians, in brackets the smallest and the largest;
it begins with uint8 pictures and labels on the host and ends with the loss or the class ids there.
A ratio is the median, over the rounds in which contestants took turns, of what the other took by
what ours took in the same round.
"""


# Arithmetic.


class Budget:
    """How long each part may go on.

    Args:
        seconds: of all parts together, from now on.
        parts: of `SHARES`, those that are asked for.
        now: a clock in seconds.
    """

    def __init__(self, seconds: float, parts: list[str], now: Callable[[], float] = time.monotonic):
        self._now, shares, passed = now, sum(SHARES[part] for part in parts), 0.0
        self._ends = {}
        for part in SHARES:
            if part in parts:
                passed += SHARES[part] / shares
                self._ends[part] = now() + seconds * passed

    def left(self, part: str) -> float:
        """The seconds that are left for a part; 0 when there are none."""
        return max(0.0, self._ends[part] - self._now())


def peak_of(device: str) -> float | None:
    """The card's peak in dense bfloat16, 10^12 operations a second; None for an unknown one."""
    words = re.findall(r"[a-z0-9]+", device.lower())

    def named(card: str) -> bool:
        return set(card.lower().split()) <= set(words) and OTHERS.isdisjoint(words)

    return next((peak for card, peak in PEAKS.items() if named(card)), None)


def tflops(probe: str, gmac: float, seconds: float) -> float:
    """The operations of a step in 10^12 a second.

    A multiply-accumulate is two operations; a training step computes the forward pass and twice as
    much for the gradients of maps and kernels.

    Args:
        probe: "train-4" is a training step of four pictures, "predict-4" their prediction.
        gmac: 10^9 multiply-accumulates of one forward pass of one picture, see `tools.summary`.
        seconds: of a step.
    """
    action, batch = split(probe)
    passes = 3 if action == "train" else 1
    return 2 * gmac * passes * batch / seconds / 1000


def as_long_as(seconds: float, grow: bool = True) -> list[str]:
    """Options with which the preset full ends in so many seconds, scored; 100 epochs at most.

    So its rate falls to the end, however little time there is. Where it is too little for all
    three sizes, which are compiled one by one, the largest is the only one.
    """
    seconds -= STARTING + SCORING
    epochs, words = (seconds - 3 * COMPILING) / EPOCH, []
    if not grow or epochs < LEAST_EPOCHS:
        epochs, words = (seconds - COMPILING) / LARGEST, ["--no-grow"]
    return [*words, "--epochs", str(int(min(max(epochs, 1), 100)))]


def steps_of(matches: list[dict], probe: str, name: str) -> list[float]:
    """The seconds of all counted steps of a contestant, those of all matches."""
    return [
        seconds
        for match in matches
        if match["probe"] == probe
        for turn in match["rounds"].get(name, [])
        for seconds in turn
    ]


def ratios_of(matches: list[dict], probe: str, name: str) -> list[float]:
    """How many times as long as ours a contestant took, round by round; empty where unmeasured."""
    for match in matches:
        rounds = match["rounds"]
        if match["probe"] == probe and rounds.get("ours") and rounds.get(name):
            number = min(len(rounds["ours"]), len(rounds[name]))  # the time may end a round
            sides = (map(statistics.median, rounds[side][:number]) for side in ("ours", name))
            return ratios(*map(list, sides))
    return []


def with_peak(machine: dict, device: str) -> dict:
    """What a machine reaches, with its peak and where that number is from."""
    peak = peak_of(device)
    source = "NVIDIA's data sheet" if peak else "not in our table, so the product's"
    return machine | {"peak_tflops": peak or machine["product_tflops"], "peak_source": source}


# The tables.


def comparison(matches: list[dict]) -> list[str]:
    """The table of the contestants side by side, in Markdown, with the goals in its last column.

    Args:
        matches: {"probe": "train-4", "rounds": {contestant: [turns of [seconds of a step]]},
            "missing": {contestant: reason}, "alone": whether they had the GPU one by one}.
    """
    others = [name for name in NAMES if name != "ours"]
    head = ["what", "ours", *(cell for name in others for cell in (NAMES[name], "ratio")), "goal"]
    lines = [_row(head), "|---|" + "---:|" * (len(head) - 2) + "---|"]
    for probe in PROBES:
        if not any(match["probe"] == probe for match in matches):
            continue
        action, batch = split(probe)
        goals = []  # each with what became of it
        cells = [f"{ACTIONS[action]}, {batch}", _cell(matches, probe, "ours")]
        for name in others:
            cell, verdict = _ratio_cell(matches, probe, name), "not measured"
            all_ratios = ratios_of(matches, probe, name)
            if name in GOALS[action]:
                if all_ratios:
                    met = statistics.median(all_ratios) >= GOALS[action][name]
                    verdict = "met" if met else "**missed**"
                goals.append(f"{NAMES[name]} {GOALS[action][name]:g}×: {verdict}")
            cells += [_cell(matches, probe, name), cell]
        lines.append(_row([*cells, "; ".join(goals)]))
    return lines


def speeds(results: dict) -> list[str]:
    """The table of each contestant's pictures and operations a second, start and memory."""
    head = ["what", "who", "pictures/s", "TFLOP/s", "of the peak", "first step", "memory"]
    lines = [_row(head), "|---|---|" + "---:|" * 5]
    for probe in PROBES:
        action, batch = split(probe)
        for name in NAMES:
            steps = steps_of(results["matches"], probe, name)
            if not steps:
                continue
            seconds, about = statistics.median(steps), results["contestants"][name]
            reached, memory = tflops(probe, results["gmac"], seconds), about["peak_gb"].get(probe)
            cells = [f"{ACTIONS[action]}, {batch}", NAMES[name]]
            cells += [f"{batch / seconds:.4g}", f"{reached:.3g}"]
            cells += [f"{reached / results['machine']['peak_tflops']:.1%}"]
            cells += [f"{about['first_seconds'][probe]:.1f} s"]
            lines.append(_row([*cells, f"{memory:.3g} GB" if memory else "–"]))
    return lines


def write_page(results: dict) -> str:
    """The Markdown page of what was measured so far; see `new_results`."""
    run, machine = results["run"], results["machine"]
    told = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    flags = f"; XLA_FLAGS={run['xla_flags']}" if run["xla_flags"] else ""
    driver = f" (driver, power: {run['driver']})" if run["driver"] else ""
    lines = [PAGE, f"{run['device']}{driver}; {told}; commit {run['commit']}, {run['date']}{flags}"]
    if run["tiny"]:
        lines += ["", "**A rehearsal with a tiny network: the numbers mean nothing.**"]
    if results["matches"]:
        lines += ["", *comparison(results["matches"])]
        alone = [match["probe"] for match in results["matches"] if match["alone"]]
        if alone:
            lines += ["", f"One by one, as they do not fit beside each other: {', '.join(alone)}."]
    if machine and results["matches"]:
        lines += ["", *speeds(results), "", _machine_sentence(machine, results["gmac"])]
    for sentence in (_labels, _epoch, _training):
        lines += sentence(results)
    if results["left_out"]:
        lines += ["", "Left out, as the time was up: " + "; ".join(results["left_out"]) + "."]
    return "\n".join(lines) + "\n"


def _machine_sentence(machine: dict, gmac: float) -> str:
    return (
        f"The peak is {machine['peak_tflops']:.4g} TFLOP/s ({machine['peak_source']}); a large "
        f"product reaches {machine['product_tflops']:.4g}, a pass over memory "
        f"{machine['memory_tb_s']:.3g} TB/s. One picture forward: {gmac:.4g} GMAC."
    )


def _labels(results: dict) -> list[str]:
    labels = results["labels"]
    return ["", f"Label maps, made where they were missing: {labels:.1f} s."] if labels else []


def _epoch(results: dict) -> list[str]:
    epoch = results["epoch"]
    if not epoch:
        return []
    told = ", ".join(f"{seconds:.1f} s" for seconds in epoch["epochs"]) or "none was ended"
    lines = ["", f"Epochs of the preset book, scoring included: {told}; {_ending(epoch)}."]
    if epoch["hundred_minutes"]:
        lines[-1] += f" A hundred, extrapolated: {epoch['hundred_minutes']:.1f} minutes."
    return lines


def _training(results: dict) -> list[str]:
    training = results["training"]
    if not training:
        return []
    history, scores = training["history"], training["scores"]
    lines = [f"`{training['command']}`: {_ending(training)}; {len(history)} epochs"]
    if history:
        lines[0] += f", best validation {max(row['chapter_miou'] for row in history):.4f}"
    if history and not scores:
        lines[0] += "; not scored on the test pictures"
    if scores:
        told = ", ".join(f"{name} {value:.4f}" for name, value in scores.items())
        lines[0] += f"; test pictures: {told}"
    weights = training["weights"]
    if weights:
        lines.append(f"Weights: {weights['file']}, SHA-256 {weights['sha256']}.")
    if weights and "join" in weights:
        lines.append(f"Pieces: {len(weights['pieces'])}, joined by `{weights['join']}`.")
    return [part for line in lines for part in ("", line)]


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cell(matches: list[dict], probe: str, name: str) -> str:
    """Milliseconds with their spread, why there are none, or a dash."""
    steps = [1000 * seconds for seconds in steps_of(matches, probe, name)]
    if steps:
        return f"{statistics.median(steps):.4g} ms ({min(steps):.4g}–{max(steps):.4g})"
    found = [match["missing"] for match in matches if match["probe"] == probe]
    reasons = [missing[name] for missing in found if name in missing]
    return reasons[0].replace("|", "/") if reasons else "–"


def _ratio_cell(matches: list[dict], probe: str, name: str) -> str:
    found = ratios_of(matches, probe, name)
    if not found:
        return "–"
    return f"{statistics.median(found):.2f}× ({min(found):.2f}–{max(found):.2f})"


# Pieces of a large file.


def checksum(path: Path) -> str:
    """The SHA-256 of a file, as `sha256sum` prints it."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def cut(path: Path, folder: Path, megabytes: float) -> dict:
    """Write a file in pieces of at most so many MB (10^6 bytes) into a folder.

    Returns:
        "pieces", their names in order, and "join", a line for a shell in that folder that makes the
        file of them and checks it.
    """
    content, most = path.read_bytes(), int(megabytes * 1e6)
    pieces = []
    for start in range(0, len(content), most):
        pieces.append(f"{path.name}.{len(pieces):03}")
        with replace_whole(folder / pieces[-1]) as unfinished:
            unfinished.write_bytes(content[start : start + most])
    name = shlex.quote(path.name)
    check = shlex.quote(f"{checksum(path)}  {path.name}")
    join = f"cat {name}.[0-9][0-9][0-9] > {name} && echo {check} | sha256sum -c"
    return {"pieces": pieces, "join": join}


# Programs.


class Crew:
    """The contestants that are alive, each in a process of its own.

    Args:
        options: of the network, see `gpu_contestants`.
        environment: of the processes.
        log: a file to which what they print is added.
    """

    def __init__(self, options: dict, environment: dict[str, str], log: Path):
        self._options, self._environment, self._log = options, environment, log
        self._running: dict[str, subprocess.Popen] = {}
        self.ready: dict[str, set[str]] = {}  # the probes of those that are alive

    def __len__(self) -> int:
        """How many are alive."""
        return len(self._running)

    def start(self, name: str, limit: float) -> dict:
        """Start a contestant and wait until its network is built; what it tells, see `ask`."""
        program = [sys.executable, str(HERE / "gpu_contestants.py"), name]
        with open(self._log, "a") as errors:
            self._running[name] = subprocess.Popen(
                [*program, json.dumps(self._options)],
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        self.ready[name] = set()
        return self._receive(name, limit)

    def ask(self, name: str, request: dict, limit: float) -> dict:
        """A contestant's answer, or {"missing": reason}, after which it is no longer alive."""
        try:
            self._running[name].stdin.write(json.dumps(request).encode() + b"\n")
            self._running[name].stdin.flush()
        except BrokenPipeError:
            pass  # it has ended; the answer says so
        return self._receive(name, limit)

    def _receive(self, name: str, limit: float) -> dict:
        process = self._running[name]
        if not select.select([process.stdout], [], [], limit)[0]:
            self.end(name)
            return {"missing": f"not done in {limit:.0f} s"}
        line = process.stdout.readline()  # it writes whole lines
        answer = json.loads(line) if line else {"missing": self._death(process)}
        if "missing" in answer:
            self.end(name)
        return answer

    def _death(self, process: subprocess.Popen) -> str:
        if process.wait() == -signal.SIGKILL:
            return "killed by the system, as when memory runs out"
        return f"ended with status {process.returncode}; see {self._log.name}"

    def end(self, *names: str) -> None:
        """End contestants, or all."""
        for name in names or list(self._running):
            if name in self._running:
                process = self._running.pop(name)
                del self.ready[name]
                process.kill()
                process.communicate()


def run_program(
    command: list[str], environment: dict[str, str], log: Path, limit: float
) -> tuple[list[str], int | None, float]:
    """Run a program, pass on what it prints, and add it to a log.

    Returns:
        The lines, the exit status (None when it was ended after `limit` seconds), and seconds.
    """
    print("$ " + shlex.join(command), flush=True)
    start, lines = time.monotonic(), []
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    process = subprocess.Popen(command, env=environment, errors="replace", **pipes)

    def pump():
        with open(log, "a", encoding="utf-8") as file:
            for line in process.stdout:
                lines.append(line.rstrip("\n"))
                print(line, end="", flush=True)
                file.write(line)
                file.flush()

    thread = threading.Thread(target=pump, daemon=True)
    thread.start()
    try:
        status = process.wait(limit)
    except subprocess.TimeoutExpired:
        status = None
    finally:
        _stop(process)
    thread.join(GRACE)
    return lines, status, time.monotonic() - start


def _stop(process: subprocess.Popen) -> None:
    """End a program if it still runs: it may tidy up, but not for long."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def read_scores(lines: list[str]) -> dict[str, float]:
    """What `--evaluate` prints at its end: both mIoUs and the pixel accuracy, from 0 to 1."""
    text, scores = "\n".join(lines), {}
    for name, words in (
        ("chapter_miou", "chapter mIoU"),
        ("dataset_miou", "dataset mIoU"),
        ("pixel_accuracy", "pixel accuracy"),
    ):
        # The lines of epochs have these words too, but not at the beginning.
        found = re.search(rf"^{words}\s+([\d.]+)(%?)", text, re.MULTILINE)
        if found:
            scores[name] = float(found[1]) / (100 if found[2] else 1)
    return scores


# The parts.


@dataclass
class Job:
    """What the parts share.

    Attributes:
        args: of the command line.
        results: see `new_results`; the parts write into it.
        environment: of the programs that are started.
        scratch: a folder for what nobody needs later.
        budget: of the parts.
    """

    args: argparse.Namespace
    results: dict
    environment: dict[str, str]
    scratch: Path
    budget: Budget

    @property
    def log(self) -> Path:
        """To which everything is added that programs print."""
        return self.args.out / "gpu.log"

    def keep(self) -> None:
        """Write what was measured so far: `gpu.json` and `gpu.md`."""
        content = json.dumps(self.results, indent=1) + "\n"
        for name, text in (("gpu.json", content), ("gpu.md", write_page(self.results))):
            with replace_whole(self.args.out / name) as unfinished:
                unfinished.write_text(text, encoding="utf-8")

    def our_program(self, *options: object, tiny: str = "") -> list[str]:
        """The command of `fcn-12.3.1.py`; in a rehearsal with few pictures and `tiny` options."""
        command = [sys.executable, str(SCRIPT), *map(str, options)]
        if self.args.tiny:
            command += [*tiny.split(), "--data-path", str(self.scratch / "drinks")]
        return command


def new_results(args: argparse.Namespace) -> dict:
    """What is known before the first measurement; everything else is still empty."""
    leaving_out = ("benchmarks/results.*", "benchmarks/cost.*")
    run = {
        "device": find_device(args.tiny),
        "driver": _driver(),
        "versions": versions(PACKAGES),
        "commit": commit(leaving_out) or "unknown",
        "date": datetime.date.today().isoformat(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "tiny": args.tiny,
    }
    empty = dict.fromkeys(("labels", "machine", "gmac", "trace", "epoch", "training"))
    return {"run": run, **empty, "contestants": {}, "matches": [], "left_out": []}


def find_device(tiny: bool) -> str:
    """The name of the GPU that JAX sees, asked in a process of its own, which lets it go again.

    Raises:
        UserError: JAX does not start, or sees no GPU and this is no rehearsal.
    """
    code = "import jax; device = jax.local_devices()[0]; print(device.platform, device.device_kind)"
    limit = LIMITS["start"]
    try:
        answer = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=limit
        )
    except subprocess.TimeoutExpired:
        raise UserError(
            f"JAX has not found the GPU in {limit} s; see whether nvidia-smi answers."
        ) from None
    if answer.returncode:
        last = (answer.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise UserError(
            f"JAX does not start ({last}); install it with python3 -m pip install -r "
            "requirements/gpu.txt."
        )
    platform, _, kind = answer.stdout.splitlines()[-1].partition(" ")
    if platform == "cpu" and not tiny:
        raise UserError(
            "JAX sees no GPU here; install it for an NVIDIA GPU with python3 -m pip install -r "
            "requirements/gpu.txt, or rehearse on the processor with --tiny."
        )
    return kind


def _driver() -> str | None:
    """Version of the driver and limit of the power, where NVIDIA's tool tells them."""
    if not shutil.which("nvidia-smi"):
        return None
    command = ["nvidia-smi", "--query-gpu=driver_version,power.limit", "--format=csv,noheader"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def measure_probes(job: Job) -> None:
    """Let the contestants take turns, match after match; the results are kept after each."""
    args, results = job.args, job.results
    options = TINY if args.tiny else BOOK
    # Several are alive, so none may take the whole memory.
    environment = job.environment | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    crew = Crew(options, environment, job.log)
    try:
        for probe, contestants in MATCHES:
            names = [name for name in contestants if name in args.contestants]
            if probe not in args.probes or not names:
                continue
            if job.budget.left("probes") < LEAST:
                told = " and ".join(NAMES[name] for name in names)
                results["left_out"].append(f"{probe} of {told}")
                continue
            match = {"probe": probe, "rounds": {}, "missing": {}, "alone": False}
            results["matches"].append(match)
            play(match, names, job, crew)
            job.keep()
            print(*comparison([match])[2:], sep="\n", flush=True)
            if args.trace and not results["trace"] and probe in crew.ready.get("ours", ()):
                path = args.trace.resolve() / f"{probe}.perfetto.json.gz"
                request = {"trace": probe, "path": str(path)}
                answer = crew.ask("ours", request, job.budget.left("probes"))
                results["trace"] = answer.get("missing", path.name)
    finally:
        crew.end()


def play(match: dict, names: list[str], job: Job, crew: Crew) -> None:
    """One match: all get ready, then take turns.

    Where one does not fit into the memory beside others, each has the GPU for itself instead.
    """
    probe, budget = match["probe"], job.budget
    rounds, uncounted, counted = (2, 1, 2) if job.args.tiny else (ROUNDS, UNCOUNTED, COUNTED)
    request = {"run": probe, "uncounted": uncounted, "counted": counted}

    def turns(names: list[str]) -> None:
        for name in names:
            if "ours" in match["missing"] and not match["alone"]:
                return  # nothing to hold the others against
            failure = get_ready(name, probe, job, crew)
            if failure:
                match["missing"][name] = failure
        job.keep()
        for _ in range(rounds):
            for name in names:
                if name in match["missing"]:
                    continue
                answer = crew.ask(name, request, min(LIMITS["run"], budget.left("probes")))
                if "missing" in answer:
                    match["missing"][name] = answer["missing"]
                else:
                    match["rounds"].setdefault(name, []).append(answer["seconds"])

    turns(names)
    if DOES_NOT_FIT in match["missing"].values() and len(crew):
        match.update(rounds={}, missing={}, alone=True)
        for name in names:
            crew.end()
            turns([name])


def get_ready(name: str, probe: str, job: Job, crew: Crew) -> str | None:
    """Start a contestant if it is not alive, and let it take its first step; why not, or None."""
    results = job.results
    if importlib.util.find_spec(NEEDS[name]) is None:
        return f"{NEEDS[name]} is not installed"
    about = results["contestants"].setdefault(name, {"first_seconds": {}, "peak_gb": {}})
    if "failed" in about:
        return about["failed"]
    failure = _get_ready(name, probe, about, job, crew)
    if failure not in (None, NO_TIME, DOES_NOT_FIT) and not about["first_seconds"]:
        about["failed"] = failure  # before its first step ever: it would fail again
    return failure


def _get_ready(name: str, probe: str, about: dict, job: Job, crew: Crew) -> str | None:
    args, results, left = job.args, job.results, job.budget.left
    if name not in crew.ready:
        if not args.tiny and FIRST[name] > left("probes"):
            return NO_TIME
        start = time.monotonic()
        facts = crew.start(name, min(LIMITS["start"], left("probes")))
        if "missing" in facts:
            return facts["missing"]
        about.setdefault("start_seconds", time.monotonic() - start)
        results["gmac"] = facts.get("gmac", results["gmac"])
        if NEEDS[name] == "jax" and not results["machine"]:
            request = {"machine": (256, 10) if args.tiny else (8192, 2000)}
            machine = crew.ask(name, request, left("probes"))
            if "missing" in machine:
                return machine["missing"]
            results["machine"] = with_peak(machine, results["run"]["device"])
    if probe not in crew.ready[name]:
        took = [seconds for other, seconds in about["first_seconds"].items() if alike(other, probe)]
        if max(took, default=LEAST) > left("probes"):
            return NO_TIME  # rather than begin what will be killed
        answer = crew.ask(name, {"prepare": probe}, min(LIMITS["prepare"], left("probes")))
        if "missing" in answer:
            return answer["missing"]
        crew.ready[name].add(probe)
        # A second start finds what the first one compiled.
        about["first_seconds"].setdefault(probe, answer["first_seconds"])
        if "peak_gb" in answer:
            about["peak_gb"].setdefault(probe, answer["peak_gb"])
    return None


def alike(probe: str, other: str) -> bool:
    """Whether both probes are training steps, or both predictions."""
    return split(probe)[0] == split(other)[0]


def make_labels(job: Job) -> None:
    """Make the label maps where they are missing; in a rehearsal of a few pictures."""
    folder = few_pictures(job.scratch / "drinks") if job.args.tiny else DRINKS
    start = time.monotonic()
    for store in STORES:
        ensure_labels(folder / store, progress=False)
    job.results["labels"] = time.monotonic() - start


def few_pictures(folder: Path) -> Path:
    """Nine pictures of the drinks to train on, eight after the split, and two to test on."""
    folder.mkdir()
    shutil.copy(DRINKS / "classes.json", folder)
    for store, number in zip(STORES, (9, 2), strict=True):
        name = Path(store).with_suffix(".json").name
        project = json.loads((DRINKS / name).read_text())
        entries = dict(list(project["_via_img_metadata"].items())[:number])
        for entry in entries.values():
            shutil.copy(DRINKS / entry["filename"], folder)
        (folder / name).write_text(json.dumps(project | {"_via_img_metadata": entries}))
    return folder


def measure_epoch(job: Job) -> None:
    """Two epochs of the preset book with scoring; the first one also compiles."""
    folder, limit = job.scratch / "epoch", job.budget.left("epoch")
    options = ("--train", "--preset", "book", "--epochs", 2, "--save-dir", folder)
    command = job.our_program(*options, tiny=TINY_RUN)
    epoch = {"status": None, "seconds": None, "epochs": [], "hundred_minutes": None}
    job.results["epoch"] = epoch
    try:
        _, epoch["status"], epoch["seconds"] = run_program(command, job.environment, job.log, limit)
    finally:
        rows = [row for path in folder.glob("*-history.csv") for row in read_rows(path)]
        epoch["epochs"] = [row["seconds"] for row in rows]
    if epoch["status"] == 0:
        epoch["hundred_minutes"] = (epoch["seconds"] + 98 * epoch["epochs"][1]) / 60


def train_preset(job: Job) -> None:
    """Train the GPU's preset and score it; what did not end in time is scored as far as it came.

    The preset full has as many epochs as `as_long_as` thinks that there is time for, unless the
    options of the training say how many.
    """
    args, left = job.args, job.budget.left("train")
    tiny = TINY_RUN + " --no-grow --epochs 2 --pictures-per-epoch 8"
    options = ("--train", "--evaluate", "--preset", args.preset, "--save-dir", args.weights)
    if args.preset == "full" and not any(word.startswith("--epochs") for word in args.training):
        options += tuple(as_long_as(left - SCORING, "--no-grow" not in args.training))
    command = job.our_program(*options, tiny=tiny) + args.training
    training = {"command": shlex.join(map(portable, [SCRIPT.name, *command[2:]])), "status": None}
    training |= {"seconds": None, "scores": {}, "history": [], "weights": None}
    job.results["training"], began = training, time.time()
    try:
        lines, training["status"], training["seconds"] = run_program(
            command, job.environment, job.log, left - min(SCORING, left / 4)
        )
        best = _newest(args.weights, "*-best-iou.weights.h5", began)
        if training["status"] is None and best:
            again = ("--evaluate", "--restore-weights", best, "--save-dir", args.weights)
            command = job.our_program(*again, *data_options(args.training))
            limit = job.budget.left("train")
            lines, _, _ = run_program(command, job.environment, job.log, limit)
        training["scores"] = read_scores(lines)
    finally:
        history = _newest(args.weights, "*-history.csv", began)
        rows = read_rows(history) if history else []
        training["history"] = [row for row in rows if row["run"] == rows[-1]["run"]]
        best = _newest(args.weights, "*-best-iou.weights.h5", began)
        if best:
            training["weights"] = {"file": best.name, "sha256": checksum(best)}
            if args.pieces:
                training["weights"] |= cut(best, args.out, args.pieces)


def data_options(words: list[str]) -> list[str]:
    """Of the options of a training those that say what it is scored on; weights know the rest."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for option in ("--data-path", "--test-labels"):
        parser.add_argument(option)
    said = vars(parser.parse_known_args(words)[0])
    return [f"--{name.replace('_', '-')}={value}" for name, value in said.items() if value]


def _ending(ended: dict) -> str:
    """How a program ended that ran under `run_program`."""
    status, seconds = ended["status"], ended["seconds"]
    if seconds is None:
        return "killed"
    how = "ended, as the time was up," if status is None else f"ended with status {status}"
    return f"{how} after {seconds:.0f} s"


def _newest(folder: Path, pattern: str, since: float) -> Path | None:
    """The last file of a folder that was written since a time; None when there is none."""
    paths = [path for path in folder.glob(pattern) if path.stat().st_mtime >= since]
    return max(paths, key=lambda path: path.stat().st_mtime, default=None)


PARTS: dict[str, Callable[[Job], None]] = {
    "probes": measure_probes,
    "epoch": measure_epoch,
    "train": train_preset,
}


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line; paths are made whole."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts to do")
    add("--minutes", type=float, default=10, help="in all; what does not fit in is left out")
    add("--probes", nargs="+", choices=PROBES, default=PROBES, help="probes to do")
    add("--contestants", nargs="+", choices=NAMES, default=list(NAMES), help="who takes part")
    add("--preset", default="full", help="what is trained")
    add("--out", type=Path, default=Path("gpu-results"), help="folder of results")
    add("--weights", type=Path, help="folder of the training's files (weights in --out)")
    add("--pieces", type=float, metavar="MB", help="put the weights into --out in pieces as well")
    add("--trace", type=Path, metavar="DIR", help="write three training steps of ours for Perfetto")
    add("--tiny", action="store_true", help="rehearse with a tiny network, without a GPU too")
    add("training", nargs="*", help="behind --: more options of the training", metavar="OPTION")
    args = parser.parse_args(arguments)
    if args.minutes <= 0 or (args.pieces is not None and args.pieces <= 0):
        parser.error("--minutes and --pieces are to be above 0")
    args.out = args.out.resolve()
    args.weights = (args.weights or args.out / "weights").resolve()
    return args


def main() -> None:
    """Do the parts within the time; write and print what was measured, whatever happens."""
    args = parse_arguments()
    chosen = [part for part in PARTS if part in args.only]
    budget = Budget(60 * args.minutes - CLOSING, chosen)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was begun is ended
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "gpu.log").unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        scratch = Path(folder)
        caches = {
            "JAX_COMPILATION_CACHE_DIR": str(scratch / "jax"),
            "TORCHINDUCTOR_CACHE_DIR": str(scratch / "inductor"),
        }
        chosen_here = {"KERAS_BACKEND": "jax", "PYTHONUNBUFFERED": "1"}
        job = Job(args, new_results(args), {**caches, **os.environ, **chosen_here}, scratch, budget)
        try:
            if args.tiny or "epoch" in chosen or "train" in chosen:
                make_labels(job)
            for part in chosen:
                if budget.left(part) < LEAST:
                    job.results["left_out"].append(part)
                    continue
                PARTS[part](job)
                job.keep()
        finally:
            job.keep()
            print("\n" + write_page(job.results), flush=True)
    if any((job.results[name] or {}).get("status") for name in ("epoch", "training")):
        sys.exit(1)


if __name__ == "__main__":
    run_main(main)
