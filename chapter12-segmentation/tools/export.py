"""A trained network as a file for programs without Keras.

    python3 chapter12-segmentation/tools/export.py WEIGHTS --format onnx

What is written takes photographs of any size, (B, h, w, channels) uint8, raw RGB, and gives the
class of every pixel, (B, h, w) uint8, or, with `--answer probabilities`, (B, h, w, C) float32; in
LiteRT B is 1. Bringing pictures to the network's size, as Pillow does it, and answers back to
theirs is part of it. That size, names and colours of the classes stand in `<file>.json` beside it,
in ONNX also in the metadata of the file. It is loaded in its runtime and compared with Keras before
it takes its place: a file that is there is replaced, a folder is not.

`--quantise` keeps kernels and the maps between convolutions in 8 bits, with the ranges that 20
training pictures show; everything else stays in float32.
"""

import argparse
import importlib.util
import json
import multiprocessing
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace

CHAPTER = Path(__file__).resolve().parents[1]
if __name__ == "__main__":  # in place of this folder
    sys.path[:1] = [str(CHAPTER.parent), str(CHAPTER)]

import numpy as np  # noqa: E402

from engine.startup import import_keras  # noqa: E402
from utils.cores import cores  # noqa: E402
from utils.errors import UserError  # noqa: E402
from utils.errors import run as run_main  # noqa: E402
from utils.files import at_home, data_folder, refuse_replacing, replace_whole  # noqa: E402

LEAST_AGREEMENT = 0.999  # of the pixels have Keras' class, else nothing is written
COMPARED = 8  # test pictures
CALIBRATION = 20  # training pictures
UNCOUNTED, COUNTED = 2, 5  # answers whose seconds are measured
MOST_TOLD = 400  # characters of what a library says; that of LiteRT goes on for pages
OPSET = 18  # of ONNX; ONNX Runtime knows it since 1.14, of February 2023
NOISE = ((480, 640), (120, 90))  # (h, w) of pictures where there are no others

Run = Callable[[np.ndarray], np.ndarray]  # (B, h, w, channels) uint8 -> class ids or probabilities


# The network for pictures of any size, as a SavedModel, from which the others are converted


def pillow_shares(length, size: int):
    """What each of `size` values takes of each of `length`, as Pillow resizes bilinearly.

    A tent as wide as the step between new values, or between old ones where these are further
    apart: it averages where it reduces. No runtime has this as an operation; as a matrix all do.

    Args:
        length: int32 scalar tensor.

    Returns:
        (length, size) float32.
    """
    import tensorflow as tf

    length = tf.cast(length, tf.float32)
    step = length / size
    new, old = (tf.range(float(size)) + 0.5) * step, tf.range(length) + 0.5
    shares = tf.maximum(1 - tf.abs(old[:, None] - new) / tf.maximum(step, 1), 0)
    return shares / tf.reduce_sum(shares, 0)


def resize_as_pillow(pictures, size: tuple[int, int]):
    """`utils.pictures.resize_picture` by operations that every runtime has.

    Args:
        pictures: (B, h, w, channels) uint8.
        size: (H, W).

    Returns:
        (B, H, W, channels) float32 of whole numbers. Of noise one in 50 differs, by 1; one in 5
        where a picture is nearly twice as tall for its width as (H, W), as Pillow begins with the
        columns there.
    """
    import tensorflow as tf

    height, width = tf.unstack(tf.shape(pictures)[1:3])
    x = tf.transpose(tf.cast(pictures, tf.float32), (0, 3, 1, 2))  # (B, channels, h, w)
    # Pillow keeps bytes in between, halves rounded up.
    x = tf.floor(tf.matmul(x, pillow_shares(width, size[1])) + 0.5)
    x = tf.transpose(x, (0, 1, 3, 2))  # (B, channels, W, h)
    x = tf.floor(tf.matmul(x, pillow_shares(height, size[0])) + 0.5)
    return tf.transpose(x, (0, 3, 2, 1))


def write_saved_model(model, folder: Path, probabilities: bool, number: int | None = None) -> None:
    """Write a network with what `evaluation.answer` does before and after it.

    Args:
        model: of one output, see `evaluation.answering`; folded, for few operations.
        folder: to be made.
        probabilities: whether these are given in place of class ids.
        number: of pictures at a time, any if None.
    """
    import tensorflow as tf

    import fast

    *size, channels = model.input_shape[1:]
    name = "probabilities" if probabilities else "classes"

    def serve(pictures):
        answer = model(resize_as_pillow(pictures, size), training=False)  # (B, H, W, C)
        answer = tf.image.resize(answer, tf.shape(pictures)[1:3])  # as `metrics.resize_bilinear`
        if not probabilities:
            answer = tf.cast(tf.argmax(answer, -1, output_type=tf.int32), tf.uint8)
        return {name: answer}

    module = tf.Module()
    # Not `model` itself: Keras' variables and those of TensorFlow in them would be saved, twice.
    module.weights = [variable.value for variable in model.variables]
    pictures = tf.TensorSpec((number, None, None, channels), tf.uint8, name="pictures")
    on = fast.is_on()
    fast.turn(False)  # operations of TensorFlow that the other runtimes do not have
    try:
        module.serve = tf.function(serve, input_signature=[pictures], autograph=False)
        tf.saved_model.save(module, str(folder), signatures=module.serve)
    finally:
        fast.turn(on)


# Converting, in processes of their own: from a SavedModel to a file


def to_onnx(folder: Path, path: Path) -> None:
    """Convert with tf2onnx, which has a command line and no function for this."""
    from tf2onnx import convert

    sys.argv = ["tf2onnx", "--saved-model", str(folder), "--output", str(path)]
    sys.argv += ["--opset", str(OPSET)]
    convert.main()


def to_openvino(folder: Path, path: Path) -> None:
    """Convert to OpenVINO's IR, an .xml and a .bin, with weights in float32 as they were learnt."""
    import openvino

    openvino.save_model(openvino.convert_model(str(folder)), path, compress_to_fp16=False)


def to_litert(folder: Path, path: Path) -> None:
    """Convert to LiteRT, that is TensorFlow Lite, of its own operations alone."""
    import tensorflow as tf

    path.write_bytes(tf.lite.TFLiteConverter.from_saved_model(str(folder)).convert())


# Quantising, likewise: from a file and (1, H, W, channels) pictures to a file. Convolutions alone:
# in 8 bits the places of pixels, by which pictures are resized, would be lost.


def quantise_onnx(path: Path, out: Path, pictures: Sequence[np.ndarray]) -> None:
    """Quantise statically: maps in uint8, which x86 is faster with, kernels by channel in int8.

    Kernels have 7 of the bits: with 8, sums of two products overflow on processors that have no
    VNNI, and the shipped network's dataset mIoU there falls from 0.923 to 0.864.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    feeds = ({"pictures": picture} for picture in pictures)
    reader = SimpleNamespace(get_next=lambda: next(feeds, None))
    CalibrationDataReader.register(SimpleNamespace)
    quantize_static(
        path,
        out,
        reader,
        op_types_to_quantize=["Conv", "ConvTranspose"],
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        reduce_range=True,
    )


def quantise_openvino(path: Path, out: Path, pictures: Sequence[np.ndarray]) -> None:
    """Quantise statically with NNCF, which corrects biases too."""
    import nncf
    import openvino

    model = openvino.Core().read_model(path)
    kinds = {operation.get_type_name() for operation in model.get_ops()}
    kinds -= {"Convolution", "GroupConvolution", "ConvolutionBackpropData"}
    model = nncf.quantize(
        model,
        nncf.Dataset(pictures),
        subset_size=len(pictures),
        preset=nncf.QuantizationPreset.MIXED,  # maps of ResNet version 2 are below zero too
        ignored_scope=nncf.IgnoredScope(types=sorted(kinds), validate=False),
    )
    openvino.save_model(model, out, compress_to_fp16=False)


def quantise_litert(path: Path, out: Path, pictures: Sequence[np.ndarray]) -> None:
    """Quantise statically with AI Edge Quantizer; the converter's own would take everything."""
    from ai_edge_quantizer import quantizer

    tool = quantizer.Quantizer(str(path))
    for operation in ("CONV_2D", "DEPTHWISE_CONV_2D", "CONV_2D_TRANSPOSE"):
        tool.add_static_config(".*", operation, activation_num_bits=8, weight_num_bits=8)
    seen = tool.calibrate({"serving_default": [{"pictures": picture} for picture in pictures]})
    tool.quantize(seen).export_model(str(out))


# Loading: from a file to a function of pictures


def load_saved_model(path: Path) -> Run:
    """The network in TensorFlow."""
    import tensorflow as tf

    module = tf.saved_model.load(str(path))

    def run(pictures: np.ndarray) -> np.ndarray:
        (answer,) = module.signatures["serving_default"](pictures=tf.constant(pictures)).values()
        return answer.numpy()

    return run


def load_onnx(path: Path) -> Run:
    """The network in ONNX Runtime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda pictures: session.run(None, {"pictures": pictures})[0]


def load_openvino(path: Path) -> Run:
    """The network in OpenVINO, which on some processors computes in bfloat16 if it is let."""
    import openvino

    model = openvino.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda pictures: model(pictures)[0]


def load_litert(path: Path) -> Run:
    """The network in LiteRT."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=cores())
    (into,), (out,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run(pictures: np.ndarray) -> np.ndarray:
        interpreter.resize_tensor_input(into["index"], pictures.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(into["index"], pictures)
        interpreter.invoke()
        return interpreter.get_tensor(out["index"])

    return run


@dataclass(frozen=True)
class Format:
    """A format of files.

    Attributes:
        load: from its file to a function.
        ends: of the names of its files; the first is that which is opened. "" is a folder.
        needs: packages, by the names by which they are imported, of requirements/<name>.txt.
        convert: from a SavedModel to the file; None is the SavedModel.
        quantise: from a file to one of 8 bits, None where there is no such thing.
        number: of pictures at a time, any if None.
    """

    load: Callable[[Path], Run]
    ends: tuple[str, ...] = ("",)
    needs: tuple[str, ...] = ()
    convert: Callable[[Path, Path], None] | None = None
    quantise: Callable[[Path, Path, Sequence[np.ndarray]], None] | None = None
    number: int | None = None


FORMATS = {
    "saved_model": Format(load_saved_model),
    "onnx": Format(
        load_onnx, (".onnx",), ("onnx", "onnxruntime", "tf2onnx"), to_onnx, quantise_onnx
    ),
    "openvino": Format(
        load_openvino, (".xml", ".bin"), ("openvino", "nncf"), to_openvino, quantise_openvino
    ),
    "litert": Format(
        load_litert,
        (".tflite",),
        ("ai_edge_litert", "ai_edge_quantizer"),
        to_litert,
        quantise_litert,
        number=1,  # of any number it has no `keras.ops.einsum`, by which ResNet's maps are enlarged
    ),
}


# All of it


def check_packages(name: str) -> None:
    """Refuse a format whose packages are missing.

    Raises:
        UserError: one is.
    """
    for package in FORMATS[name].needs:
        if importlib.util.find_spec(package) is None:
            raise UserError(
                f"--format {name} needs the package {package}; install it with "
                f"python3 -m pip install -r requirements/{name}.txt."
            )


def files_of(name: str, out: Path) -> list[Path]:
    """What is written for a file or folder `out`: it, what belongs to it, and the JSON beside it.

    Raises:
        UserError: `out` has another ending than the format, or is a folder, which would be lost, or
            is there where a folder is to be.
    """
    first, *others = FORMATS[name].ends
    if first and out.suffix != first:
        raise UserError(f"--out {out} does not end in {first}, as --format {name} does; add it.")
    if out.is_dir():
        raise UserError(f"{out} is a folder that is there already; name another with --out.")
    if not first and os.path.lexists(out):
        raise UserError(f"{out} is a file, and --format {name} is a folder; name another --out.")
    beside = out.with_name(out.name + ".json")
    return [out, *(out.with_suffix(end) for end in others), beside]


def apart(function: Callable, *arguments: object) -> None:
    """Call a function in a process of its own: converters print pages, and keep memory.

    Raises:
        UserError: it fails, or its process is killed.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, initializer=_hush) as pool:
        try:
            problem = pool.submit(_try, function, *arguments).result()
        except BrokenProcessPool:
            problem = "its process was ended, as where memory is short"
    if problem:
        raise _unfit(function, problem)


def _unfit(function: Callable, problem: str) -> UserError:
    return UserError(
        f"this network cannot be written so: {function.__name__} failed ({problem}); another "
        "--format of tools/export.py may do."
    )


def _hush() -> None:
    """Print nothing from now on, whatever library prints."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


def _try(function: Callable, *arguments: object) -> str | None:
    """What went wrong in a call."""
    try:
        function(*arguments)
    except Exception as error:  # libraries raise all kinds, of which not each can be passed on
        return _brief(error)
    return None


def _brief(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:MOST_TOLD]


def agreement(run: Run, ask: Callable, pictures: Sequence[np.ndarray]) -> float:
    """The share of pixels that have the same class by a file and by Keras.

    Args:
        run: of the file.
        ask: `evaluation.answer` with its network.
        pictures: (any, any, channels) uint8.
    """
    from evaluation import segment_batch

    same = pixels = 0
    for picture in pictures:
        expected = segment_batch(ask, [picture])[0]
        same += int((_classes(run(picture[None])[0]) == expected).sum())
        pixels += expected.size
    return same / pixels


def _classes(answer: np.ndarray) -> np.ndarray:
    """(h, w) class ids of an answer: these, or (h, w, C) probabilities."""
    return answer if answer.ndim == 2 else answer.argmax(-1)


def seconds_in_turns(contestants: Sequence[Callable[[], object]]) -> list[float]:
    """The median seconds of each, which take turns."""
    taken = [[] for _ in contestants]
    for turn in range(UNCOUNTED + COUNTED):
        for each, seconds in zip(contestants, taken, strict=True):
            start = time.perf_counter()
            each()
            if turn >= UNCOUNTED:
                seconds.append(time.perf_counter() - start)
    return [statistics.median(seconds) for seconds in taken]


def as_answer(run: Run, n_classes: int) -> Callable:
    """A file in place of `evaluation.answer`, for `evaluation.evaluate`: certain of its classes."""
    from utils.pictures import resize_labels

    def answer(pictures: Sequence[np.ndarray], size: tuple | None = None) -> np.ndarray:
        found = [np.uint8(_classes(run(picture[None])[0])) for picture in pictures]
        found = [resize_labels(each, size) if size else each for each in found]
        return np.eye(n_classes, dtype=np.float32)[np.stack(found)]  # (B, h, w, C)

    return answer


def labels_of(weights: Path, folder: Path | None) -> dict[str, object]:
    """The data folder and the labels in it: "data_path", "train_labels", "test_labels".

    Args:
        weights: which remember the folder of their training.
        folder: another one.

    Raises:
        UserError: `folder` is missing, or it is not clear which labels are meant.
    """
    from engine.records import OPTIONS
    from engine.settings import fill, fill_parts, fill_restored

    values = {"train": False, "model": "fcn"}
    if folder:
        values["data_path"] = data_folder(folder)
    fill_restored(values, weights)
    fill(values, {"data_path": OPTIONS["data_path"]["default"]})
    if values["data_path"].is_dir():
        fill_parts(values, {})
    return values


def some(store, number: int, channels: int) -> list[np.ndarray]:
    """At most `number` pictures of a label store, from all over it."""
    keys = store.keys[:: max(1, len(store) // number)][:number]
    return [store.picture(key, channels=channels) for key in keys]


def noise(channels: int) -> list[np.ndarray]:
    """Pictures where there are no others."""
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (*size, channels), np.uint8) for size in NOISE]


def describe(network, weights: Path, answer: str, quantised: bool) -> dict[str, object]:
    """What a program needs to know of a file, ready for JSON."""
    from engine.weights import read_configuration
    from utils.classes import as_content

    about = {
        "network": network.name,
        "height": network.size[0],  # at which it looks at pictures, whatever theirs is
        "width": network.size[1],
        "channels": network.input_shape[2],
        "answer": answer,
        "quantised": quantised,
        "classes": as_content(network.classes),
    }
    reading = read_configuration(weights).get("reading", {})
    if reading.get("scale"):  # of deep pictures, see `utils.scale`
        about["scale"] = reading["scale"]
    if reading.get("turn") == "raw":  # the EXIF orientation does not count
        about["turn"] = "raw"
    return about


def label_onnx(path: Path, about: Mapping[str, object]) -> None:
    """Put a description into the metadata of an ONNX file, each value as JSON."""
    import onnx

    model = onnx.load(path)
    onnx.helper.set_model_props(model, {name: json.dumps(value) for name, value in about.items()})
    onnx.save(model, path)


def publish(made: Path, files: Sequence[Path], about: Mapping[str, object]) -> None:
    """Bring what was made to its place, and write the JSON beside it.

    Args:
        made: the first of its files, or its folder.
        files: from `files_of`.
        about: from `describe`.
    """
    out, *others, beside = files
    for path in others[::-1]:
        _copy(made.with_suffix(path.suffix), path)
    if made.is_dir():
        os.replace(made, out)
    else:
        _copy(made, out)
    with replace_whole(beside) as unfinished:
        unfinished.write_text(json.dumps(about, indent=1, ensure_ascii=False), encoding="utf-8")


def _copy(made: Path, path: Path) -> None:
    with replace_whole(path) as unfinished:
        shutil.copyfile(made, unfinished)


def export(
    weights: Path, name: str, out: Path, answer: str, quantise: bool, folder: Path | None
) -> list[Path]:
    """Write a network, compare it with Keras, and print how alike and how fast they are.

    Args:
        weights: of the network.
        name: of the format.
        out: the file, or the folder of a SavedModel.
        answer: "classes" or "probabilities".
        quantise: whether to keep it in 8 bits.
        folder: of the data, see `labels_of`.

    Returns:
        What was written.

    Raises:
        UserError: a package, the weights or the data are missing, a file would be lost, or the
            network cannot be converted.
        SystemExit: of status 1: it does not answer as Keras does, and is not written.
    """
    import evaluation
    from engine.weights import load_weights, read_network
    from fast.folding import fold
    from metrics import scores
    from utils.classes import check_classes
    from utils.label_maps.fresh import ensure_labels, is_there
    from utils.pictures import resize_picture

    form, network = FORMATS[name], read_network(weights)
    if quantise and not form.quantise:
        able = ", ".join(other for other, each in FORMATS.items() if each.quantise)
        raise UserError(
            f"--format {name} has no --quantise, leave it out; those that have: {able}."
        )
    check_packages(name)
    files = files_of(name, out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{out} cannot be written ({error.strerror}); name another with --out."
        ) from error
    refuse_replacing(files, [weights], "name another file with --out")
    values, channels = labels_of(weights, folder), network.input_shape[2]
    place = values["data_path"]

    def labels(part: str):
        return ensure_labels(place / values[f"{part}_labels"], False, place)

    has_data = "test_labels" in values and is_there(place / values["test_labels"])
    tests = labels("test") if has_data else ()
    if quantise and not len(tests):
        raise UserError(f"--quantise needs pictures, and {place} has no labels; give --data-path.")
    if quantise:
        check_classes(network.classes, weights, tests.classes, values["test_labels"])
    model = network.build()
    load_weights(model, weights)
    model = fold(evaluation.answering(model))
    ask = partial(evaluation.answer, model)
    pictures = some(tests, COMPARED, channels) if len(tests) else noise(channels)

    # Beside the result, to be moved there.
    with tempfile.TemporaryDirectory(dir=out.parent.resolve(), prefix=".export-") as work:
        made = saved = Path(work) / "saved_model"
        write_saved_model(model, saved, answer == "probabilities", form.number)
        if form.convert:
            made = Path(work) / f"model{form.ends[0]}"
            apart(form.convert, saved, made)
        try:  # ONNX Runtime is the first to find out that it lacks an operation
            run = form.load(made)
            alike = agreement(run, ask, pictures)
        except Exception as error:
            raise _unfit(form.load, _brief(error)) from error
        if alike < LEAST_AGREEMENT:
            sys.exit(
                f"{out.name} is not written: {1 - alike:.2%} of the pixels have another class than "
                f"by Keras, where {1 - LEAST_AGREEMENT:.1%} are let pass; another --format of "
                "tools/export.py may do."
            )
        if quantise:
            seen = some(labels("train"), CALIBRATION, channels)
            seen = [resize_picture(picture, network.size)[None] for picture in seen]
            full, made = made, Path(work) / f"quantised{form.ends[0]}"
            apart(form.quantise, full, made, seen)
            run = form.load(made)
            alike = agreement(run, ask, pictures)
        about = describe(network, weights, answer, quantise)
        if name == "onnx":
            label_onnx(made, about)
        kind = "of the data" if len(tests) else "of noise"
        print(f"{alike:.3%} of the pixels of {len(pictures)} pictures {kind} as by Keras")
        first = pictures[0]
        keras_time, file_time = seconds_in_turns(
            [lambda: evaluation.segment_batch(ask, [first]), lambda: run(first[None])]
        )
        print(
            f"{file_time:.3f} s a picture, Keras {keras_time:.3f} s: "
            f"{file_time / keras_time:.2f} of its time"
        )
        if quantise:
            answers = ask, as_answer(run, len(network.classes))
            before, after = (
                scores(evaluation.evaluate(each, tests, channels=channels))["dataset_miou"]
                for each in answers
            )
            print(
                f"dataset mIoU {before:.4f} by Keras, {after:.4f} in 8 bits: {after - before:+.4f} "
                f"({len(tests)} pictures of {values['test_labels']})"
            )
        publish(made, files, about)
    return files


def start(name: str) -> Path:
    """Import Keras for exporting, and find the weights of a name.

    Raises:
        UserError: there are none.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"  # which the converters begin with
    import_keras()
    from engine.records import OPTIONS
    from engine.weights import find_weights

    return find_weights(name, OPTIONS["save_dir"]["default"])


def main() -> None:
    """Read the command line and write the network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", metavar="WEIGHTS", help="a file, or a name in weights/")
    parser.add_argument("--format", required=True, choices=FORMATS)
    parser.add_argument(
        "--out", type=Path, help="what is written (named after the weights, in this folder)"
    )
    parser.add_argument(
        "--answer", choices=("classes", "probabilities"), default="classes", help="(classes)"
    )
    parser.add_argument(
        "--quantise", action="store_true", help="keep it in 8 bits, and measure what that costs"
    )
    parser.add_argument(
        "--data-path",
        type=at_home,
        help="pictures to compare with (those of the training; noise if there are none)",
    )
    args = parser.parse_args()
    weights = start(args.weights)
    stem = weights.name.removesuffix(".h5").removesuffix(".weights")
    end = FORMATS[args.format].ends[0] or "-saved_model"
    out = args.out or Path(f"{stem}{'-int8' if args.quantise else ''}{end}")
    for path in export(weights, args.format, out, args.answer, args.quantise, args.data_path):
        inside = path.rglob("*") if path.is_dir() else [path]
        print(f"{path}: {sum(each.stat().st_size for each in inside) / 1e6:.1f} MB")


if __name__ == "__main__":
    run_main(main)
