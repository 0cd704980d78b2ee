"""What a network of the comparison is worth: its scores on the test pictures, cost and time."""

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from engine.arguments import parse_arguments
from engine.records import LEAST_SIDE
from engine.startup import import_keras
from tools.claims import (
    CRF_EDGES,
    CRF_MIOU,
    CRF_PHOTO,
    DOUBLE,
    GRADIENT,
    HALF,
    MIOU,
    PHOTO,
    VARIANTS,
    asked,
)
from utils.classes import VOID
from utils.drawing import write_index_png
from utils.pictures import resize_labels, resize_picture

SAMPLES = 3  # test pictures that are shown
SAMPLE = (168, 224)  # (H, W) of them on the page
UNCOUNTED, COUNTED = 2, 5  # steps
BEST = "*-best-iou.weights.h5"
LARGE = 0.1  # share of the picture from which a class in it is large
RIM = 0.05  # of a picture's height and width: what is near its sides
SCALES = {"half": 0.5, "double": 2.0}  # at which pictures are shown besides that of training


def network_of(name: str) -> str:
    """The network of a run."""
    return VARIANTS[name][0] if name in VARIANTS else name


def training_arguments(name: str, options: list[str], folder: Path):
    """The options of a training as `engine.arguments` reads them."""
    model = ["--model", network_of(name)]
    return parse_arguments(["--train", *model, *options, "--save-dir", str(folder)])


def measure(name: str, options: list[str], folder: Path) -> dict:
    """Score the best weights of a run on the test pictures; count its network.

    Args:
        name, options: of the training.
        folder: of the run. `samples.png` is written there: what the network says of a few test
            pictures, side by side.
    """
    import_keras()
    import zoo
    from engine.session import open_labels
    from engine.settings import settle
    from engine.weights import load_weights, read_network
    from evaluation import answer, answering, evaluate, segment_objects
    from fast.folding import fold
    from metrics import scores
    from tools.crf import refined
    from tools.summary import stages

    _, data, run = settle(training_arguments(name, [*options, "--verbose", "0"], folder))
    best = best_of(folder)
    network = read_network(best)
    model = network.build()
    load_weights(model, best)
    ask, channels = partial(answer, fold(answering(model))), network.input_shape[2]
    store = open_labels(data, data.test_labels, False)
    crf = asked(CRF_MIOU, CRF_EDGES)
    answers = {"": ask} | ({"crf_": partial(refined, ask)} if name in crf else {})
    result = {}
    for prefix, each in answers.items():
        matrices, found = score(each, store, data.workers, channels)
        result |= {prefix + column: value for column, value in found.items()}
    counts = matrices.sum((0, 2))  # pixels of each class
    result["background_miou"] = float(counts[0] / counts.sum() / len(counts))
    if name in asked(HALF, DOUBLE):
        sizes = {w: tuple(round(side * s) for side in network.size) for w, s in SCALES.items()}
        for word, size in sizes.items():
            if min(size) < LEAST_SIDE:
                continue
            other = network.at(size).build()
            other.set_weights(model.get_weights())
            look = partial(answer, fold(answering(other)))
            result[f"{word}_miou"] = scores(evaluate(look, store, data.workers, channels))[MIOU]
    if name in asked(GRADIENT):
        result["gradient_share"] = gradient_share(network, data, run)
    if cut := cut_off(model):
        look = partial(answer, fold(cut))
        result["pruned_miou"] = scores(evaluate(look, store, data.workers, channels))[MIOU]
        result["pruned_gmac"] = sum(row["gmac"] for row in stages(cut))
    if network.name == "sliding-window":
        result["patches_gmac"] = cost_by_patches(network)
    if network.name == "gcn":
        result["whole_kernels_gmac"] = cost_of_whole_kernels(model)
    # Without a second head, which only training asks.
    entry, rows = zoo.find(network.name), stages(answering(model))
    result |= {"year": entry.year, "paper_parameters": entry.parameters}
    result |= {"parameters": model.count_params(), "gmac": sum(row["gmac"] for row in rows)}
    result |= {"field": max(row["field"] for row in rows)}
    pictures = [store.picture(key, channels=channels) for key in sample_keys(store.keys)]
    predicted = [segment_objects(ask, picture, SAMPLE) for picture in pictures]
    write_index_png(folder / "samples.png", np.hstack(predicted), store.classes)
    return result


def score(ask, store, workers: int, channels: int) -> tuple[np.ndarray, dict]:
    """The confusion matrices (N, C, C) of a data set, and every score of its answers.

    Args:
        ask, store, workers, channels: as for `evaluation.evaluate`.
    """
    from evaluation import Boundaries, evaluate
    from metrics import scores

    boundaries, rims = Boundaries(), []

    def see(*picture) -> None:
        boundaries.see(*picture)
        rims.append(count_in_rim(*picture))

    matrices = evaluate(ask, store, workers, channels, see)
    f1, trimaps = boundaries.scores()
    found = scores(matrices) | by_size(matrices) | {"rim_miou": scores(np.stack(rims))[MIOU]}
    return matrices, found | {"boundary_f1": f1, "trimap_mious": trimaps}


def by_size(matrices: np.ndarray) -> dict[str, float]:
    """The mean IoU of classes that have much of their picture, and of those that have little.

    Args:
        matrices: (N, C, C) int64, a confusion matrix a picture.
    """
    from tools.portrait import object_regions

    _, shares, ious = object_regions(matrices)
    parts = {"large_iou": ious[shares >= LARGE], "small_iou": ious[shares < LARGE]}
    found = {column: float(each.mean()) for column, each in parts.items() if each.size}
    if found.get("large_iou") and "small_iou" in found:
        found["small_share"] = found["small_iou"] / found["large_iou"]
    return found


def count_in_rim(truth: np.ndarray, predicted: np.ndarray, n_classes: int) -> np.ndarray:
    """The confusion matrix of the pixels near the sides of a picture, see `RIM`: (C, C) int64.

    Args:
        truth, predicted: (H, W) uint8 class ids.
        n_classes: C.
    """
    from keras import ops

    from metrics import count_confusions

    height, width = truth.shape
    inner = (slice(round(side * RIM), side - round(side * RIM)) for side in (height, width))
    rim = truth.copy()
    rim[tuple(inner)] = VOID
    counts = count_confusions(rim[None], predicted[None], n_classes)[0]
    return ops.convert_to_numpy(counts).astype(np.int64)


def gradient_share(network, data, run) -> float:
    """How much of the gradient arrives at the end of the backbone, before anything is learnt.

    Root mean squares: that of the backbone's last kernel, over that of the classifier's, of the
    loss of a batch of training pictures with new weights.

    Args:
        network, data, run: the records of a training; the network has a model for its backbone.
    """
    import keras

    from engine.session import open_labels
    from losses import LOSSES

    store = open_labels(data, data.train_labels, False)
    keys, channels = store.keys[: data.batch_size], network.input_shape[2]
    pictures = [resize_picture(store.picture(key, channels=channels), network.size) for key in keys]
    labels = [resize_labels(store[key], network.size) for key in keys]
    keras.utils.set_random_seed(run.seed)
    model = network.build()
    backbone = next(layer for layer in model.layers if isinstance(layer, keras.Model))
    *_, end = (kernel for kernel in backbone.trainable_variables if len(kernel.shape) == 4)
    kernels = [end, model.get_layer("pre_activation").kernel]
    before = [keras.ops.convert_to_numpy(kernel) for kernel in kernels]
    # A step of length 1 along the gradient, on every backend.
    model.compile(keras.optimizers.SGD(1.0), LOSSES[run.loss](None), run_eagerly=True)
    model.train_on_batch(np.stack(pictures), np.stack(labels))
    steps = (keras.ops.convert_to_numpy(k) - was for k, was in zip(kernels, before, strict=True))
    one, other = (float(np.sqrt(np.mean(np.square(step)))) for step in steps)
    return one / other


def cut_off(model):
    """A UNet++ cut off behind its third head, as its paper prunes it; None for another network."""
    import keras

    from zoo.unetplusplus import top_row

    heads = {j: head for j, _, head in top_row(model) if head is not None}
    return keras.Model(model.inputs[0], heads[3]) if set(heads) > {3} else None


def cost_of_whole_kernels(model) -> float:
    """GMAC of a GCN if each large kernel were one of k x k, not columns and rows in both orders."""
    from tools.summary import trace

    total = 0
    for call in trace(model)[0]:
        if "_kernel_" not in call.layer.name or not hasattr(call.layer, "kernel_size"):
            total += call.macs
        elif call.layer.name.endswith("_column_conv1"):  # k x 1, from all channels to the classes
            total += call.macs * max(call.layer.kernel_size)
    return total / 1e9


def cost_by_patches(network) -> float:
    """GMAC of a picture for the classifier of patches that looks at each pixel's by itself."""
    from tools.summary import stages
    from zoo.sliding_window import build_patch_classifier, patch_side

    height, width, channels = network.input_shape
    kernels = network.settings.get("kernels")
    side = patch_side(kernels) if kernels else patch_side()
    one = build_patch_classifier((side, side, channels), len(network.classes), **network.settings)
    return height * width * sum(row["gmac"] for row in stages(one))


def best_of(folder: Path) -> Path:
    """The best weights of a run; older ones are those of a run that was killed early on."""
    return max(folder.glob(BEST), key=lambda path: path.stat().st_mtime)


def sample_keys(keys: list[str]) -> list[str]:
    """The test pictures that are shown: some from all over the set, the same for each network."""
    return [keys[len(keys) * place // SAMPLES] for place in range(min(SAMPLES, len(keys)))]


def time_steps(name: str, options: list[str], folder: Path) -> dict:
    """Time steps of a training and answers: the median of those behind the first few.

    Returns:
        "seconds_a_step", "seconds_a_picture", and "memory", the most that the process had, in GB.
        Where claims ask for a CRF, "seconds_a_photo" and "crf_seconds_a_photo" of a test picture at
        its own size.
    """
    import_keras()
    from engine.adversarial import oppose
    from engine.session import classes_of, open_labels
    from engine.settings import settle
    from engine.trainer import JIT, OPTIMIZERS
    from evaluation import answer as answer_of
    from evaluation import answering, segment_batch
    from fast.folding import fold
    from losses import LOSSES
    from tools.crf import refined

    network, data, run = settle(training_arguments(name, [*options, "--verbose", "0"], folder))
    network = replace(network, classes=classes_of(data))
    model = network.build()
    shape = (data.batch_size, *network.input_shape)
    if run.adversarial != "none":
        width = run.opponent_width
        model = oppose(model, run.adversarial, run.adversarial_weight, run.seed, width)
    labels = np.zeros(shape[:3], np.uint8)
    batch = [np.zeros(shape, np.uint8), labels]
    if data.unlabelled:
        batch[1] = labels, np.zeros(shape, np.uint8)
    if run.loss == "border":  # comes with weights of the pixels
        batch.append(np.ones(shape[:3], np.float32))
    optimizer = OPTIMIZERS[run.optimizer](run.learning_rate)
    model.compile(optimizer=optimizer, loss=LOSSES[run.loss](None), jit_compile=JIT)
    steps = median_time(lambda: model.train_on_batch(*batch))
    memory = peak_memory()
    ask = partial(answer_of, fold(answering(network.build())))
    answers = median_time(lambda: segment_batch(ask, batch[0][:1]))
    result = {"seconds_a_step": steps, "seconds_a_picture": answers} | memory
    if name in asked(PHOTO, CRF_PHOTO):
        store = open_labels(data, data.test_labels, False)
        photo = store.picture(store.keys[0], channels=network.input_shape[2])
        for prefix, each in {"": ask, "crf_": partial(refined, ask)}.items():
            result[f"{prefix}seconds_a_photo"] = median_time(
                lambda e=each: segment_batch(e, [photo])
            )
    return result


def peak_memory() -> dict:
    """The most memory that this process had, in GB, as "memory"; nothing on Windows."""
    try:
        import resource
    except ImportError:
        return {}
    unit = 2**30 if sys.platform == "darwin" else 2**20  # of bytes on macOS, of KB on Linux
    return {"memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit}


def median_time(function: Callable[[], object]) -> float:
    """Seconds that a function takes, called a few times before any counts."""
    times = []
    for _ in range(UNCOUNTED + COUNTED):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times[UNCOUNTED:])
