"""The contestants of `gpu.py`: each makes its network ready and then takes turns in a process.

    python3 benchmarks/gpu_contestants.py ours '{"size": [480, 640]}'

answers every line of JSON on its standard input (see `obey`) with one on its standard output.
Unlike those of `contestants.py` a process stays for all batch sizes: starting JAX and building the
network would cost more than what is timed. Both frameworks are given uint8 pictures and labels on
the host; a step ends when its loss, a prediction when its class ids are on the host again.
"""

import json
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT), str(PROJECT / "chapter12-segmentation")]

N_CLASSES = 4
# What the frameworks say when the memory of the GPU is too small.
FULL = ("RESOURCE_EXHAUSTED", "out of memory", "OutOfMemory")
DOES_NOT_FIT = "does not fit into memory"
Turn = Callable[[int], list[float]]  # number of steps -> the seconds of each


@dataclass
class Contestant:
    """A network that is ready.

    Attributes:
        prepare: from "train" or "predict" and a number of pictures to its turns.
        facts: what is known by then, by name.
        peak: the most memory of the GPU so far, in bytes; None where it is not told.
        rest: gives memory that is not needed between turns back to the GPU.
        trace: a turn of three steps, written down kernel by kernel, to a file (turn, path).
        machine: what the GPU reaches with one large product and one large copy.
    """

    prepare: Callable[[str, int], Turn]
    facts: dict[str, object]
    peak: Callable[[], int | None] = lambda: None
    rest: Callable[[], None] = lambda: None
    trace: Callable[[Turn, Path], None] | None = None
    machine: Callable[[int, int], dict[str, float]] | None = None
    turns: dict[str, Turn] = field(default_factory=dict)  # by probe, as "train-4"


def random_batch(size: tuple[int, int], batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures (B, H, W, 3) and labels (B, H, W), uint8; only their size counts."""
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (batch, *size, 3), np.uint8)
    return pictures, random.integers(0, N_CLASSES, (batch, *size), np.uint8)


def timed(action: Callable[[], object]) -> Turn:
    """The turn of an `action` that returns when its result is on the host."""

    def turn(steps: int) -> list[float]:
        seconds = []
        for _ in range(steps):
            start = time.perf_counter()
            action()
            seconds.append(time.perf_counter() - start)
        return seconds

    return turn


# Keras on JAX.


def keras_on_jax(
    size: tuple[int, int], depth: int, layers: int, filters: int, fast_path: bool = True
) -> Contestant:
    """The project's network as `fcn-12.3.1.py` builds and compiles it, in bfloat16.

    Args:
        size: (H, W) of the pictures.
        depth: of the backbone, a ResNet version 2.
        layers, filters: see `zoo.chapter.build_chapter`.
        fast_path: False is `--plain`, stock Keras.
    """
    import jax
    import keras

    import fast
    from engine.trainer import JIT, OPTIMIZERS
    from losses import LOSSES
    from tools.summary import stages
    from zoo.chapter import build_chapter

    fast.turn(fast_path)
    keras.config.set_dtype_policy("mixed_bfloat16")
    settings = {"layers": layers, "filters": filters}
    network = build_chapter((*size, 3), N_CLASSES, backbone=f"resnet{depth}v2", **settings)
    network.compile(OPTIMIZERS["adam"](1e-3), LOSSES["entropy"](), jit_compile=JIT)
    network.optimizer.build(network.trainable_variables)
    device = jax.local_devices()[0]
    highest = [0]

    def peak() -> int | None:
        """JAX tells the highest of all so far: it is this probe's if it rose."""
        before, highest[0] = highest[0], (device.memory_stats() or {}).get("peak_bytes_in_use", 0)
        return highest[0] if highest[0] > before else None

    def prepare(action: str, batch: int) -> Turn:
        pictures, labels = random_batch(size, batch)
        if action == "train":
            return fitted(network, pictures, labels)
        ask = class_ids(network)  # of its own: one fills up what is less than it was given before
        return timed(lambda: ask(pictures))

    return Contestant(
        prepare,
        {
            "device": device.device_kind,
            "platform": device.platform,
            "gmac": sum(row["gmac"] for row in stages(network)),
        },
        peak=peak,
        trace=trace_jax,
        machine=measure_machine,
    )


def class_ids(network) -> Callable[[np.ndarray], np.ndarray]:
    """The project's way from pictures (B, H, W, 3) uint8 to class ids (B, H, W) uint8."""
    from evaluation import answer, segment_batch
    from fast.folding import fold

    ask = partial(answer, fold(network))
    return lambda pictures: segment_batch(ask, pictures)


def fitted(network, pictures: np.ndarray, labels: np.ndarray) -> Turn:
    """Turns of `fit`, the loop of the project's training, over the same batch again and again.

    `train_on_batch` would bring all weights back into the model after every step.
    """
    import keras

    class Batches(keras.utils.PyDataset):
        def __init__(self, steps):
            super().__init__()
            self.steps = steps

        def __len__(self):
            return self.steps

        def __getitem__(self, index):
            return pictures, labels

    class Clock(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.times = [time.perf_counter()]

        def on_train_batch_end(self, batch, logs=None):
            float(logs["loss"])  # waits for the step, as `engine.reporting.StopOnNaN` does
            self.times.append(time.perf_counter())

    def turn(steps: int) -> list[float]:
        clock = Clock()
        network.fit(Batches(steps), shuffle=False, verbose=0, callbacks=[clock])
        return np.diff(clock.times).tolist()

    return turn


def trace_jax(turn: Turn, path: Path) -> None:
    """Write three steps for https://ui.perfetto.dev; Python's calls would fill the file."""
    import jax

    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0
    options.host_tracer_level = 1
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder, create_perfetto_trace=True, profiler_options=options):
            turn(3)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(next(Path(folder).rglob("perfetto_trace.json.gz")), path)


def measure_machine(side: int, megabytes: int) -> dict[str, float]:
    """What JAX reaches: a bfloat16 product of (side, side) matrices, and a pass over memory.

    Returns:
        "product_tflops" in 10^12 operations a second and "memory_tb_s" in 10^12 bytes a second,
        read and written, medians of 20.
    """
    import jax
    from jax import numpy as jnp

    left, right = jax.random.normal(jax.random.key(0), (2, side, side), jnp.bfloat16)
    product = jax.jit(jnp.matmul)
    values = jnp.zeros(megabytes * 10**6 // 4, jnp.float32)
    add = jax.jit(lambda x: x + 1)  # a mere copy might be left out
    seconds = {}
    for name, action in (
        ("product", lambda: product(left, right).block_until_ready()),
        ("memory", lambda: add(values).block_until_ready()),
    ):
        turn = timed(action)
        turn(5)
        seconds[name] = float(np.median(turn(20)))
    return {
        "product_tflops": 2 * side**3 / seconds["product"] / 1e12,
        "memory_tb_s": 2 * values.nbytes / seconds["memory"] / 1e12,
    }


# PyTorch.


def pytorch(
    size: tuple[int, int], depth: int, layers: int, filters: int, compiled: bool = False
) -> Contestant:
    """The same network in PyTorch, channels last, bfloat16 by autocast; arguments as above."""
    import torch

    from benchmarks.torch_network import DEVICE, adam, build_torch, class_ids, train_step

    torch.backends.cudnn.benchmark = True
    raw = build_torch(depth=depth, n_layers=layers, filters=filters)
    optimizer = adam(raw)
    # One program for each shape, the fastest.
    network = torch.compile(raw, dynamic=False) if compiled else raw
    on_gpu = DEVICE == "cuda"

    def prepare(action: str, batch: int) -> Turn:
        if on_gpu:
            torch.cuda.reset_peak_memory_stats()
        # Pinned, as a `DataLoader` hands them over.
        arrays = (torch.from_numpy(array) for array in random_batch(size, batch))
        pictures, labels = (array.pin_memory() if on_gpu else array for array in arrays)
        if action == "train":
            return timed(lambda: train_step(network, optimizer, pictures, labels))
        return timed(lambda: class_ids(network, pictures))

    return Contestant(
        prepare,
        {"device": torch.cuda.get_device_name() if on_gpu else "cpu", "platform": DEVICE},
        peak=lambda: torch.cuda.max_memory_allocated() if on_gpu else None,
        rest=torch.cuda.empty_cache,
    )


CONTESTANTS: dict[str, tuple[Callable[..., Contestant], dict]] = {
    "ours": (keras_on_jax, {}),
    "eager": (pytorch, {}),
    "compiled": (pytorch, {"compiled": True}),
    "plain": (keras_on_jax, {"fast_path": False}),
}


# The process.


def obey(contestant: Contestant, request: dict) -> dict:
    """Do what a line asks for.

    Args:
        contestant: its turns are kept by probe ("train-4").
        request: {"prepare": probe} makes a probe ready and takes its first step;
            {"run": probe, "uncounted": n, "counted": n} takes a turn;
            {"trace": probe, "path": ...} or {"machine": [side, megabytes]}.

    Returns:
        {"first_seconds": seconds}, {"seconds": [one a step]}, {}, or what
        `measure_machine` returns; with "peak_gb", 10^9 bytes, where it is known.
    """
    answer = {}
    if "prepare" in request:
        start = time.perf_counter()
        turn = contestant.turns[request["prepare"]] = contestant.prepare(*split(request["prepare"]))
        turn(1)
        answer["first_seconds"] = time.perf_counter() - start
    elif "run" in request:
        turn = contestant.turns[request["run"]]
        steps = request["uncounted"] + request["counted"]
        answer["seconds"] = turn(steps)[request["uncounted"] :]
    elif "trace" in request:
        contestant.trace(contestant.turns[request["trace"]], Path(request["path"]))
    else:
        return contestant.machine(*request["machine"])
    peak = contestant.peak()
    contestant.rest()
    return answer | ({"peak_gb": peak / 1e9} if peak else {})


def split(probe: str) -> tuple[str, int]:
    """ "train-4" -> ("train", 4)."""
    action, _, batch = probe.partition("-")
    return action, int(batch)


def reason(error: Exception) -> str:
    """Why a probe has no number, in a few words."""
    text = f"{type(error).__name__}: {error}"
    if any(word in text for word in FULL):
        return DOES_NOT_FIT
    return text.splitlines()[0][:200]


def main() -> None:
    """Get ready, then answer line by line; end after an error, which may have broken the state."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer

    def answer(**content) -> None:
        print(json.dumps(content), file=answers, flush=True)

    try:
        build, settings = CONTESTANTS[sys.argv[1]]
        contestant = build(**json.loads(sys.argv[2]), **settings)
        answer(**contestant.facts)
        for line in sys.stdin:
            answer(**obey(contestant, json.loads(line)))
    except Exception as error:
        traceback.print_exc()
        answer(missing=reason(error))


if __name__ == "__main__":
    main()
