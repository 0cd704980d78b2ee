"""Semantic segmentation with a fully convolutional network: Listing 12.3.3 of the book.

python3 fcn-12.3.1.py --train
python3 fcn-12.3.1.py --evaluate --restore-weights=ResNet56v2-3layer-drinks-best-iou.h5
python3 fcn-12.3.1.py --evaluate --restore-weights=... --image-file photograph.jpg
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "chapter12-segmentation")]

from engine.arguments import parse_arguments  # noqa: E402
from engine.startup import import_keras  # noqa: E402
from utils.errors import UserError, run  # noqa: E402

# keras takes seconds to import, `--help` is to answer at once: the functions import what they need.


def build_model(args, n_classes: int, size: tuple[int, int] | None = None):
    """The network of Listing 12.3.2 for the size, backbone and pyramid that `args` ask for."""
    from model import build_fcn

    input_shape = (*(size or (args.height, args.width)), args.channels)
    return build_fcn(input_shape, args.backbone, n_classes, args.layers, args.filters)


def open_data(args, labels: str):
    """The label store of the training or the test set, made from its annotations when needed."""
    from utils.files import data_folder
    from utils.label_maps.fresh import ensure_labels

    folder = data_folder(args.data_path)
    return ensure_labels(folder / labels, progress=args.verbose > 0, pictures=folder)


def train_fcn(args, files, weights: Path | None) -> None:
    """Train the network and leave the run in `files`; `train` of Listing 12.3.3."""
    from callbacks import lr_scheduler
    from data_generator import DataGenerator, split_keys
    from engine.growth import stages
    from engine.trainer import describe_run, train
    from engine.weights import epochs_done, load_weights, read_classes, start_from
    from evaluation import build_scorer, confusion_matrices
    from losses import LOSSES, median_frequency_weights
    from metrics import scores
    from utils.classes import check_classes

    store = open_data(args, args.train_labels)
    if not len(store):
        raise UserError(f"{args.train_labels} lists no picture; annotate some first.")
    train_keys, validation_keys = split_keys(store.keys, args.validation_split)
    if args.validation_split and not validation_keys:
        raise UserError(
            f"{args.train_labels} holds one picture, which cannot be divided into training and "
            "validation; annotate more, or give --validation-split 0."
        )
    validation = store
    if not validation_keys:
        print("The test pictures pick the best weights, as in the book: scores on them flatter.")
        validation = open_data(args, args.test_labels)
        check_classes(store.classes, args.train_labels, validation.classes, args.test_labels)
    n_classes = len(store.classes)
    if n_classes < 2:
        raise UserError(f"{args.train_labels} holds no class but the background; annotate objects.")
    earlier = files.last if args.resume else weights
    if earlier:
        check_classes(read_classes(earlier), earlier, store.classes, args.train_labels)
    if args.verbose:
        print("# of classes", n_classes)
        print("Batch size: ", args.batch_size)
    class_weights = None
    if args.class_weights == "median":
        class_weights = median_frequency_weights((store[key] for key in train_keys), n_classes)

    whole = args.height, args.width
    # Restored weights have been small already, and are to be beaten at their own size.
    grow = args.grow and not args.restore_weights
    plan = stages(whole, args.epochs, args.schedule_epochs, grow)
    if args.verbose:
        sizes = ("{}x{} to epoch {}".format(*stage.size, stage.end) for stage in plan)
        print(f"Sizes: {', '.join(sizes)}; the rate falls over {args.schedule_epochs} epochs.")
        if args.epochs > args.schedule_epochs and not args.resume:
            print(
                "After these it stays where it is: for a longer run rather than a few epochs more, "
                f"--schedule-epochs {args.epochs}."
            )
    done = epochs_done(files.last) if args.resume else 0
    common = {"batch_size": args.batch_size, "workers": args.workers, "channels": args.channels}
    # Once, before the run replaces files: of those in the repository the commit would be "dirty".
    configuration = describe_run(vars(args), store.classes)
    for stage in [stage for stage in plan if stage.end > done] or plan[-1:]:
        train_generator = DataGenerator(
            store,
            keys=train_keys,
            size=stage.size,
            shuffle=True,
            seed=args.seed,
            augment=args.augment,
            close_ups=args.close_ups,
            pictures_per_epoch=args.pictures_per_epoch,
            **common,
        )
        # The network is given pictures of the stage's size, its answer is scored at their own.
        validation_generator = DataGenerator(
            validation,
            keys=validation_keys or None,
            size=stage.size,
            label_size="original",
            **common,
        )
        fcn = build_model(args, n_classes, stage.size)
        if weights and done == 0:
            load_weights(fcn, weights)
        elif args.start_from and done == 0:
            start_from(fcn, *args.start_from)
        scorer = build_scorer(fcn)
        train(
            fcn,
            train_generator,
            score=lambda: scores(confusion_matrices(scorer, validation_generator)),  # noqa: B023
            files=files,
            configuration=configuration,
            epochs=stage.end,
            rate=lambda epoch: lr_scheduler(
                epoch, args.schedule, args.schedule_epochs, args.learning_rate
            ),
            optimizer=args.optimizer,
            loss=LOSSES[args.loss](class_weights),
            resume=args.resume or done > 0,
            restored=weights is not None and done == 0,
            patience=args.patience if stage.size == whole else None,
            patient_from=max((small.end for small in plan if small.size != whole), default=0),
            tensorboard=args.tensorboard,
            verbose=args.verbose > 0,
        )
        if fcn.stop_training:  # by --patience
            break
        done = stage.end


def evaluate_fcn(args, weights: Path) -> None:
    """Score the test pictures at their own sizes, or segment the pictures of `--image-file`."""
    import fast
    from data_generator import DataGenerator
    from engine.weights import load_weights, read_classes
    from evaluation import (
        build_scorer,
        confusion_matrices,
        pictures_of_files,
        pictures_of_store,
        print_scores,
        segment_pictures,
    )
    from fast.folding import fold
    from tools.portrait import draw_portrait
    from tools.views import mirrored
    from utils.classes import check_classes

    classes = read_classes(weights)
    fcn = build_model(args, len(classes))
    if args.verbose:
        print(f"Weights {weights}, {args.height}x{args.width}, {args.precision}")
    load_weights(fcn, weights)
    if fast.is_on():
        fcn = fold(fcn)
    if args.mirror:
        fcn = mirrored(fcn)
    if args.image_file:
        pictures = pictures_of_files(args.image_file)
        segment_pictures(fcn, pictures, classes, args.prediction_dir, args.verbose > 0)
        return
    store = open_data(args, args.test_labels)
    check_classes(classes, weights, store.classes, args.test_labels)
    data = DataGenerator(
        store,
        size=(args.height, args.width),
        batch_size=args.batch_size,
        workers=args.workers,
        channels=args.channels,
        label_size="original",
    )
    matrices = confusion_matrices(build_scorer(fcn), data)
    print_scores(store.keys, matrices, store.classes.names, verbose=args.verbose > 0)
    if args.plot:
        pictures = pictures_of_store(store)
        segment_pictures(fcn, pictures, store.classes, args.prediction_dir, args.verbose > 0)
    if args.portrait:
        draw_portrait(fcn, store, args.prediction_dir)


def main() -> None:
    args = parse_arguments()
    import_keras()
    from engine.settings import settle
    from engine.weights import read_arguments, read_configuration
    from tools.summary import print_summary

    files, weights = settle(args)
    if args.summary:
        n_classes = read_configuration(weights)["n_classes"] if weights else 4  # the chapter's
        print_summary(build_model(args, n_classes), args.prediction_dir)
    if args.train:
        train_fcn(args, files, weights)
    if args.evaluate:
        if args.train:
            weights = files.best
            own = read_arguments(weights)  # of a run that grows and ended early, a smaller size
            args.height, args.width = own["height"], own["width"]
        evaluate_fcn(args, weights)


if __name__ == "__main__":
    run(main)
