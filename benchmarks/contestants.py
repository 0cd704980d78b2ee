"""The contestants: each function makes something ready and returns the `Task` that is timed.

    python3 benchmarks/contestants.py train_ours '{"size": [480, 640], "batch": 4}'

is one, for `runner.alternate`. Modules are imported where they are used: what a contestant does not
need shall not count as its memory.
"""

import copy
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from functools import partial
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT), str(PROJECT / "chapter12-segmentation")]

from benchmarks.runner import Task, serve  # noqa: E402
from engine.backends import ask_for_onednn  # noqa: E402

DRINKS = PROJECT / "data" / "drinks"
TRAIN, TEST = DRINKS / "segmentation_train.npy", DRINKS / "segmentation_test.npy"


# Training: one step. Pictures and labels are random: only their size counts.


def train_ours(size: tuple, batch: int) -> Task:
    """Our step, compiled as `fcn-12.3.1.py` does it, in the precision that is fast here."""
    ask_for_onednn()
    from engine.trainer import JIT, OPTIMIZERS
    from losses import LOSSES

    network = _our_network(size)
    network.compile(OPTIMIZERS["adam"](1e-3), LOSSES["entropy"](), jit_compile=JIT)
    network.optimizer.build(network.trainable_variables)
    pictures, labels = _random_batch(size, batch)
    gmac = 3 * batch * _gmac(network)  # forward, and the gradients of maps and of kernels
    return Task(lambda: network.train_on_batch(pictures, labels), facts={"gmac": gmac})


def train_tensorflow(size: tuple, batch: int) -> Task:
    """Our step on TensorFlow, whatever the backend of the others."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    return train_ours(size, batch)


def train_jax(size: tuple, batch: int) -> Task:
    """Our step on JAX, likewise."""
    os.environ["KERAS_BACKEND"] = "jax"
    return train_ours(size, batch)


def train_plain(size: tuple, batch: int) -> Task:
    """The chapter's step in float32."""
    from skimage.util import img_as_float32

    from benchmarks.chapter_labels import one_hot
    from benchmarks.plain import build_plain

    network = build_plain((*size, 3))
    pictures, labels = _random_batch(size, batch)
    x, y = img_as_float32(pictures), one_hot(labels, 4)
    return Task(lambda: network.train_on_batch(x, y))


def train_torch(size: tuple, batch: int, compiled: bool = False) -> Task:
    """PyTorch's step, in the same precision."""
    from benchmarks.torch_network import adam, build_torch, train_step

    network = build_torch()
    optimizer = adam(network)
    step = _compile(network) if compiled else network
    pictures, labels = _random_batch(size, batch)
    return Task(lambda: train_step(step, optimizer, pictures, labels))


def train_compiled(size: tuple, batch: int) -> Task | str:
    """The same by `torch.compile`; warming up compiles."""
    return _cannot_compile() or train_torch(size, batch, compiled=True)


# Prediction: the class of every pixel of one picture.


def predict_ours(size: tuple) -> Task:
    """As `--evaluate --image-file` does it."""
    ask_for_onednn()
    from evaluation import answer, segment_objects
    from fast.folding import fold

    network = _our_network(size)
    ask = partial(answer, fold(network))
    picture = _random_batch(size, 1)[0][0]
    return Task(lambda: segment_objects(ask, picture), facts={"gmac": _gmac(network)})


def predict_plain(size: tuple) -> Task:
    """`predict` and arg-max, in float32."""
    from benchmarks.plain import build_plain, segment

    network = build_plain((*size, 3))
    picture = _random_batch(size, 1)[0][0]
    return Task(lambda: segment(network, picture))


def predict_torch(size: tuple, compiled: bool = False) -> Task:
    """Forward and arg-max, in the same precision."""
    from benchmarks.torch_network import build_torch, segment

    network = build_torch()
    if compiled:
        network = _compile(network)
    picture = _random_batch(size, 1)[0][0]
    return Task(lambda: segment(network, picture))


def predict_compiled(size: tuple) -> Task | str:
    """The same by `torch.compile`, which makes constants of the weights; warming up compiles."""
    if missing := _cannot_compile():
        return missing
    os.environ["TORCHINDUCTOR_FREEZING"] = "1"  # normalisation goes into the kernels, as in ours
    return predict_torch(size, compiled=True)


# How fast the machine multiplies where nothing but that is to be done.


def matmul(side: int = 2000) -> Task:
    """The product of two square matrices in the precision that is fast here; seconds of a GMAC."""
    ask_for_onednn()
    from keras import ops, random

    from fast.devices import fast_precision

    one, other = (random.normal((side, side), dtype=fast_precision()) for _ in range(2))
    return Task(lambda: ops.convert_to_numpy(ops.matmul(one, other)[:1, :1]), side**3 // 10**9)


# Evaluation: pictures from their files to mIoU and pixel accuracy.


def evaluate_ours(size: tuple, pictures: int, labels: str = str(TEST)) -> Task:
    """As `--evaluate` does it."""
    ask_for_onednn()
    from engine.records import OPTIONS
    from evaluation import answer, evaluate
    from fast.folding import fold
    from metrics import scores
    from utils.label_maps.store import open_labels

    ask = partial(answer, fold(_our_network(size)))
    store, workers = open_labels(labels), OPTIONS["workers"]["default"]

    def run(number):
        return scores(evaluate(ask, _first(store, number), workers))

    return Task(lambda: run(pictures), warm_up=lambda: run(2))


def evaluate_plain(size: tuple, pictures: int) -> Task:
    """As the chapter does it, whose masks wait in memory."""
    from benchmarks.chapter_labels import one_hot
    from benchmarks.plain import build_plain, evaluate
    from utils.label_maps.store import open_labels
    from utils.pictures import resize_labels

    store = open_labels(TEST)
    network = build_plain((*size, 3))
    keys = store.keys[:pictures]
    masks = {key: one_hot(resize_labels(store[key], size), len(store.classes)) for key in keys}
    first = {key: masks[key] for key in keys[:2]}
    return Task(
        lambda: evaluate(network, store, masks), warm_up=lambda: evaluate(network, store, first)
    )


# Data.


def generator(size: tuple, batch: int, batches: int, workers: int, per: str) -> Task:
    """The training data of preset `book`; seconds are per "batch" or per "picture"."""
    from data_generator import DataGenerator
    from fast.feed import read_ahead
    from utils.label_maps.store import open_labels

    data = DataGenerator(
        open_labels(TRAIN),
        size=size,
        batch_size=batch,
        shuffle=True,
        pictures_per_epoch=batch * batches,
    )
    data = read_ahead(data, workers)

    def read():
        for _ in data:
            pass

    return Task(read, count=batches * (batch if per == "picture" else 1))


def labels_ours() -> Task:
    """Opening a label store and reading a map. Every map is read once before, for the memory."""
    from utils.label_maps.store import index_path, open_labels

    def read_all():
        store = open_labels(TRAIN)
        for number in range(len(store)):
            store[number]

    disk = TRAIN.stat().st_size + index_path(TRAIN).stat().st_size
    return Task(lambda: open_labels(TRAIN)[0], warm_up=read_all, facts={"disk_mb": disk / 1e6})


def labels_plain(path: str) -> Task:
    """Loading the chapter's dictionary."""
    from benchmarks.chapter_labels import load

    return Task(lambda: load(Path(path)), facts={"disk_mb": Path(path).stat().st_size / 1e6})


def masks_ours(annotations: str, folder: str) -> Task:
    """From the annotations to the label store on disk."""
    from utils.generate_gt_segmentation import make_labels

    out = Path(folder) / "masks.npy"
    return Task(lambda: make_labels(annotations, out, progress=False, data_path=DRINKS))


def masks_plain(annotations: str, folder: str) -> Task:
    """From the annotations to the chapter's file on disk."""
    from benchmarks.chapter_labels import draw_masks, save

    out = Path(folder) / "masks-pickled.npy"
    return Task(lambda: save(draw_masks(Path(annotations), DRINKS), out))


def start(command: list[str]) -> Task:
    """From the start of Python to the end of the first training step; see `first_step.py`."""

    def train():
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(
                [sys.executable, str(PROJECT / "benchmarks" / "first_step.py"), *command],
                cwd=folder,
                check=True,
            )

    return Task(train)


def _our_network(size: tuple):
    """The network as `settings.settle` and `fcn-12.3.1.py` make it, in memory that is kept."""
    import keras

    from fast.allocation import keep_memory
    from fast.devices import fast_precision
    from zoo.chapter import build_chapter

    keep_memory()
    precision = fast_precision()
    mixed = "" if precision == "float32" else "mixed_"
    keras.config.set_dtype_policy(mixed + precision)
    return build_chapter((*size, 3))


def _gmac(network) -> float:
    """Thousand millions of multiply-accumulates for one picture, as the layers have them."""
    from tools.summary import stages

    return sum(row["gmac"] for row in stages(network))


def _compile(network):
    """PyTorch's network, compiled in the default mode for the one size that it will be given."""
    import torch

    return torch.compile(network, dynamic=False)


def _cannot_compile() -> str | None:
    """What `torch.compile` does not find here and needs on a CPU, in a few words."""
    # As `torch._inductor.config` chooses; its own error is a page long.
    compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(compiler) is None:
        return f"no C++ compiler ({compiler}); see requirements/benchmark.txt"
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        return "no Python.h; see requirements/benchmark.txt"
    return None


def _first(store, number: int):
    """A label store of the first pictures of another."""
    first = copy.copy(store)
    first.keys, first.sizes = store.keys[:number], store.sizes[:number]
    return first


def _random_batch(size: tuple, batch: int):
    """Pictures (B, H, W, 3) and labels (B, H, W), uint8."""
    import numpy as np

    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (batch, *size, 3), np.uint8)
    return pictures, random.integers(0, 4, (batch, *size), np.uint8)


if __name__ == "__main__":
    serve(lambda: globals()[sys.argv[1]](**json.loads(sys.argv[2])))
