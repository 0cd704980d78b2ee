"""Semantic segmentation with a fully convolutional network: Listing 12.3.3 of the book.

python3 fcn-12.3.1.py --segment photographs
python3 fcn-12.3.1.py --train
python3 fcn-12.3.1.py --evaluate --restore-weights=ResNet56v2-3layer-drinks-best-iou.h5
python3 fcn-12.3.1.py --evaluate --restore-weights=... --image-file photograph.jpg
"""

import sys
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "chapter12-segmentation")]

from engine.arguments import parse_arguments  # noqa: E402
from engine.processes import in_a_group  # noqa: E402
from engine.startup import import_keras  # noqa: E402
from utils.errors import run as run_main  # noqa: E402

# keras takes seconds to import, `--help` is to answer at once: the functions import what they need.


def build_model(network):
    """Build a backbone and, from it, the network; those of the zoo bring their own backbones."""
    from model import build_fcn
    from zoo.chapter import build_backbone
    from zoo.normalisation import normalised

    if network.name != "fcn":
        return network.build()
    settings, n_classes = network.settings, len(network.classes)
    backbone = build_backbone(network.input_shape, settings["backbone"], settings["layers"])
    fcn = build_fcn(network.input_shape, backbone, n_classes, filters=settings["filters"])
    return normalised(fcn, network.normalisation)


def train_fcn(network, data, run):
    """Train the network, at growing sizes if asked; leave the run in its files."""
    from callbacks import AccuracyCallback, RateScheduler, lr_scheduler
    from engine.reporting import tensorboard
    from engine.session import open_session, scorer_of
    from engine.trainer import (
        JIT,
        bring_weights,
        finish,
        let_statistics_follow,
        optimizer_of,
        train,
    )

    session = open_session(network, data, run)
    ledger, logs = session.ledger, []
    if run.tensorboard and ledger.writes:
        logs = [tensorboard(ledger.files)]
    rate = partial(
        lr_scheduler,
        schedule=run.schedule,
        schedule_epochs=run.schedule_epochs,
        highest=run.learning_rate,
    )
    for stage in session.plan:
        train_generator, validation_generator = session.generators(stage.size)
        fcn = build_model(session.network.at(stage.size))
        let_statistics_follow(fcn, run.optimizer)
        fcn = session.opposed(fcn)
        optimizer = optimizer_of(run, fcn, rate(stage.start), len(train_generator))
        fcn.compile(optimizer=optimizer, loss=session.loss(), jit_compile=JIT)
        score = scorer_of(fcn, validation_generator, len(session.validation_keys))
        bring_weights(fcn, run, ledger, score)

        accuracy = AccuracyCallback(
            score,
            save_best=partial(ledger.save_best, fcn),
            patience=session.patience(stage),
            patient_from=stage.start,
            best=ledger.best,
        )
        rates = RateScheduler(lambda epoch: rate(epoch), by_epoch=run.schedule != "poly")
        callbacks = [rates, accuracy, *session.phases(), *logs]
        train(fcn, train_generator, callbacks, ledger, stage.end, verbose=run.verbose > 0)
        if fcn.stop_training:  # by --patience
            break
    finish(ledger, verbose=run.verbose > 0)


def build_answer(network, run, weights: Path):
    """From pictures to probabilities: the trained network, looking as `--tta` and `--crf` say."""
    from engine.transfer import restore
    from tools.crf import refined
    from tools.tiles import overlap_tiles, stride_of
    from tools.views import views

    fcn = network.build(for_tiles=run.tiles)
    restore(fcn, network.name, weights)
    if run.verbose > 0:
        print(f"Weights {weights}, {'{}x{}'.format(*network.size)}, {run.precision}")
    ask = views(network, fcn, run.tta)
    if run.tiles:
        ask = partial(overlap_tiles, *ask.args, multiple=stride_of(fcn))
    return partial(refined, ask) if run.crf else ask


def evaluate_fcn(network, data, run, weights: Path):
    """Score the test pictures at their own sizes, or segment the pictures of `--image-file`."""
    from engine.session import open_labels, reading_of
    from evaluation import Boundaries, evaluate, pictures_of_store, print_scores
    from tools.portrait import draw_portrait
    from tools.segmenting import (
        check_results,
        check_results_of_store,
        pictures_of_files,
        segment_pictures,
    )
    from utils.classes import check_classes
    from utils.drawing import colours_of
    from utils.files import data_folder

    if run.image_file:
        check_results(run.image_file, run.prediction_dir)
    channels, verbose, workers = network.input_shape[2], run.verbose > 0, data.workers
    ask = build_answer(network, run, weights)
    if run.image_file:
        reading = reading_of(weights, data)
        pictures = pictures_of_files(run.image_file, reading, channels, workers)
        classes = colours_of(data.data_path, network.classes)
        segment_pictures(ask, pictures, classes, run.prediction_dir, verbose, workers)
        return
    store = open_labels(data, data.test_labels, verbose)
    check_classes(network.classes, weights, store.classes, data.test_labels)
    labels = data_folder(data.data_path) / data.test_labels
    check_results_of_store(store, labels, run.prediction_dir, run.plot, run.portrait)
    asked = {"before the CRF": ask.args[0], "after the CRF": ask} if run.crf else {"": ask}
    for title, each in asked.items():
        print(title, end="\n" if title else "")
        boundaries = Boundaries() if run.boundary else None
        matrices = evaluate(each, store, workers, channels, boundaries and boundaries.see)
        print_scores(store.keys, matrices, store.classes.names, verbose)
        if boundaries:
            boundaries.print()
    if run.plot:
        pictures = pictures_of_store(store, workers, channels)
        segment_pictures(ask, pictures, store.classes, run.prediction_dir, verbose, workers)
    if run.portrait:
        draw_portrait(ask, store, run.prediction_dir, workers, channels)


def segment_files(network, data, run):
    """Segment the pictures of `--segment` and write what `--write` names."""
    from engine.processes import part_of
    from engine.session import reading_of
    from tools.answer_files import Wanted
    from tools.answers import segment
    from tools.large import windows_of
    from tools.sources import find_sources
    from utils.drawing import colours_of
    from utils.files import fingerprint

    part, out = None, run.prediction_dir
    if run.distribute == "multihost":
        part = part_of(run.processes, run.process_id)
        out = out / "part-{}-of-{}".format(*part)
    sources = find_sources(run.segment, run.prediction_dir, part)
    windows = windows_of(run.tile, network.size, run.restore_weights)
    asked = run.min_area, run.pixel_size, run.uncertain, windows
    wanted = Wanted(run.write, out, *asked)
    made_with = {"weights": fingerprint(run.restore_weights), "size": network.size}
    made_with |= {"tta": run.tta, "crf": run.crf, "tile": run.tile, "precision": run.precision}
    made_with |= {"scale": data.scale, "turn": data.turn}
    segment(
        build_answer(network, run, run.restore_weights),
        sources,
        colours_of(data.data_path, network.classes),
        wanted,
        made_with,
        reading=reading_of(run.restore_weights, data),
        channels=network.input_shape[2],
        workers=data.workers,
        verbose=run.verbose > 0,
    )


def main():
    args = parse_arguments()
    if args.train and args.distribute == "multihost":
        in_a_group(partial(work, args))
    else:
        work(args)


def work(args):
    """Do what was asked for, in one process."""
    import_keras(args)
    from engine.distribution import hush_others, is_first, spread
    from engine.runs import run_files
    from engine.session import classes_of
    from engine.settings import settle
    from engine.weights import read_network
    from tools.memory import SIZES, check_memory, print_memory
    from tools.models import print_models
    from tools.summary import print_summary

    if args.list_models:
        print_models()
        return
    hush_others()
    network, data, run = settle(args)
    if run.summary or run.train:
        tells = run.train and run.verbose > 0
        described = replace(network, classes=network.classes or classes_of(data, tells))
    if run.summary and is_first():
        inputs = [data.data_path, *(run.image_file or ())]
        print("# of classes", len(described.classes))
        print_summary(described.build(), run.prediction_dir, inputs, layers=run.verbose > 1)
        sizes = [network.size] if args.height or args.width else SIZES
        print_memory(described, sizes, run.optimizer, run.precision, run.accumulate)
    if run.train:
        devices = spread(run.distribute, data.batch_size)
        step = data.batch_size, run.optimizer, run.precision, run.accumulate
        # Of several machines all are to have the same.
        asked = bool(args.batch_size or run.resume) or run.distribute == "multihost"
        data = replace(data, batch_size=check_memory(described, *step, devices, asked))
        files = run_files(network, data, run)
        with files.locked() if is_first() else nullcontext():
            train_fcn(network, data, run)
            if run.evaluate:  # at the size that it reached, if it grew and ended early
                evaluate_fcn(read_network(files.best), data, run, files.best)
    elif run.segment:
        segment_files(network, data, run)
    elif run.evaluate:
        evaluate_fcn(network, data, run, run.restore_weights)


if __name__ == "__main__":
    run_main(main)
