"""The command line: the chapter's twenty options with their names, and ours.

Nothing heavy is imported here, so that `--help` answers at once.
"""

import argparse
from pathlib import Path

from utils.errors import UserError
from utils.files import OUTSIDE, PROJECT, at_home, portable

# What the presets set where the command line says nothing. The book's values are the chapter's.
PRESETS = {
    "book": {
        "filters": 256,
        "height": 480,
        "width": 640,
        "batch_size": 4,
        "epochs": 100,
        "pictures_per_epoch": None,  # all of them
        "augment": False,
        "grow": False,
        "optimizer": "adam",
        "loss": "entropy",
        "schedule": "book",
        "schedule_epochs": 100,
    },
    "quick": {
        "filters": 64,
        "height": 160,
        "width": 192,
        "batch_size": 8,
        "epochs": 13,
        "pictures_per_epoch": 800,
        "augment": True,
        "grow": True,
        "optimizer": "muon",
        "loss": "iou",
        "schedule": "linear",
        "schedule_epochs": 13,
    },
}
RATES = {"adam": 1e-3, "muon": 6e-3}  # the chapter's; see "How the quick preset was chosen"

# What a network and a run are, besides the preset. A weights file remembers its own, and --evaluate
# and --resume take them from there where the command line says nothing.
DEFAULTS = {
    "train_labels": "segmentation_train.npy",
    "test_labels": "segmentation_test.npy",
    "backbone": "resnet56v2",
    "layers": 3,
    "channels": 3,
    "seed": 0,
    "precision": "auto",
    "validation_split": 0.1,
    "close_ups": 0.0,
    "class_weights": "none",
}
NETWORK = ("backbone", "layers", "channels", "filters", "height", "width")
# What a resumed run cannot change without becoming another run.
FIXED = (
    *NETWORK,
    "preset",
    "train_labels",
    "seed",
    "precision",
    "augment",
    "close_ups",
    "grow",
    "optimizer",
    "loss",
    "learning_rate",
    "schedule",
    "schedule_epochs",
    "batch_size",
    "pictures_per_epoch",
    "validation_split",
    "class_weights",
)


class OneLineParser(argparse.ArgumentParser):
    """Says what is wrong in one line and exits with status 2, without the usage before it."""

    def error(self, message):
        self.exit(2, f"{self.prog}: error: {message} (see --help)\n")


def whole_number(least: int, most: int = 2**31 - 1):
    """Type of an option: an integer from `least` to `most`."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or not least <= value <= most:
            upward = "up" if most == 2**31 - 1 else f"to {most}"
            raise argparse.ArgumentTypeError(
                f"{text!r} is not a whole number from {least} {upward}"
            )
        return value

    return parse


def fraction(text: str) -> float:
    """Type of an option: a number from 0 up to, but not including, 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to below 1")
    return value


def positive(text: str) -> float:
    """Type of an option: a finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def plain_name(text: str) -> str:
    """Type of an option: a name that can be part of a file's name."""
    if not text.strip() or text != text.strip() or set(text) & set('/\\:*?"<>|'):
        raise argparse.ArgumentTypeError(f"{text!r} cannot be part of a file name")
    return text


def build_parser() -> OneLineParser:
    """The parser of fcn-12.3.1.py. The chapter's options come first, in its order."""
    book, quick = PRESETS["book"], PRESETS["quick"]
    # Spelt out: abbreviations would let a misspelt option pass for another.
    parser = OneLineParser(
        prog="fcn-12.3.1.py",
        description="Semantic segmentation with a fully convolutional network: chapter 12.",
        allow_abbrev=False,
    )
    side = whole_number(32)

    chapter = parser.add_argument_group("the chapter's options")
    add = chapter.add_argument
    # With 8 levels the coarsest value stands for 1024 pixels.
    add("--layers", type=whole_number(1, 8), help="levels of the pyramid (3)")
    add(
        "--batch-size",
        type=whole_number(1),
        help=f"pictures a step (book {book['batch_size']}, quick {quick['batch_size']})",
    )
    add(
        "--epochs",
        type=whole_number(1),
        help=f"epochs in all (book {book['epochs']}, quick {quick['epochs']})",
    )
    add("--workers", type=whole_number(1), default=4, help="threads that read pictures (4)")
    add(
        "--backbone",
        help="resnet<depth>v<version>, such as resnet20v1 or resnet110v2 (resnet56v2)",
    )
    add("-t", "--train", action="store_true", help="train the network")
    add(
        "--summary",
        action="store_true",
        help="print both networks: layers, parameters, GMAC, receptive field; draw the diagram",
    )
    add(
        "--save-dir",
        type=at_home,
        default=PROJECT / "weights",
        help="folder of weights, history and curves (weights/ beside this program)",
    )
    add(
        "--dataset",
        type=plain_name,
        help="name of the data in the names of the weights (that of the data folder)",
    )
    add(
        "--height",
        type=side,
        help=f"of the network (book {book['height']}, quick {quick['height']})",
    )
    add("--width", type=side, help=f"of the network (book {book['width']}, quick {quick['width']})")
    add("--channels", type=int, choices=(1, 3), help="colour channels (3)")
    add(
        "--data-path",
        type=at_home,
        default=PROJECT / "data" / "drinks",
        help="folder of pictures and labels (data/drinks beside this program)",
    )
    add(
        "--train-labels",
        help="in the data folder: label maps, VIA annotations or a folder of index PNGs "
        "(segmentation_train.npy, made from segmentation_train.json)",
    )
    add("--test-labels", help="(segmentation_test.npy)")
    add("--restore-weights", metavar="FILE", help="in the folder of weights, or any path")
    add(
        "-e",
        "--evaluate",
        action="store_true",
        help="score the test pictures, with --train after it",
    )
    add(
        "--image-file",
        type=at_home,
        nargs="+",
        metavar="FILE",
        help="with --evaluate: segment these pictures, or those of a folder, instead",
    )
    add("--plot", action="store_true", help="with --evaluate: draw every test picture")
    add(
        "--verbose",
        type=whole_number(0),
        default=1,
        help="0 prints no progress and no line per picture (1)",
    )

    ours = parser.add_argument_group("more")
    add = ours.add_argument
    add(
        "--preset",
        choices=("auto", "book", "quick"),
        help=f"book: {book['height']}x{book['width']}, batch {book['batch_size']}, "
        f"{book['epochs']} epochs; quick: minutes on a laptop; auto: book with a GPU, else quick",
    )
    add(
        "--start-from",
        nargs="+",
        metavar="FILE",
        help="train from weights of other classes or another width: what fits is taken, the rest "
        "begins anew; of several files, of runs that began from one another, the average",
    )
    add(
        "--plain",
        action="store_true",
        help="stock Keras layers and updates instead of the fast ones, which give the same numbers",
    )
    add("--resume", action="store_true", help="go on with the run that was interrupted")
    add("--seed", type=whole_number(0, 2**32 - 1), help="of weights, order and augmentation (0)")
    add(
        "--precision",
        choices=("auto", "float32", "bfloat16", "float16"),
        help="auto (the default): bfloat16 where the processor has it, else float32",
    )
    add(
        "--augment",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="vary the training pictures (book no, quick yes)",
    )
    add(
        "--close-ups",
        type=fraction,
        metavar="SHARE",
        help="with --augment: of this share of the training pictures only a part is shown, 1.4 to "
        "2.8 times as large (0); long runs learn near things by it",
    )
    add(
        "--grow",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="begin with pictures of 2/5 of the height and width, then 3/5, then whole (quick)",
    )
    add(
        "--optimizer",
        choices=("adam", "muon"),
        help=f"book {book['optimizer']}, quick {quick['optimizer']}; Muon learns more from as many "
        "pictures",
    )
    add(
        "--loss",
        choices=("entropy", "iou"),
        help="entropy (book): the chapter's cross-entropy; iou (quick): it, and what the mean "
        "IoU lacks of one",
    )
    add(
        "--learning-rate",
        type=positive,
        help=f"the highest (Adam {RATES['adam']:g}, Muon {RATES['muon']:g})",
    )
    add(
        "--schedule",
        choices=("book", "cosine", "linear"),
        help="how the learning rate falls: in the book's four steps, along a cosine, or along a "
        "straight line (quick)",
    )
    add(
        "--schedule-epochs",
        type=whole_number(1),
        help="epochs over which it falls, whenever --epochs ends the run "
        f"(book {book['schedule_epochs']}, quick {quick['schedule_epochs']})",
    )
    add(
        "--patience",
        type=whole_number(1),
        help="stop after so many epochs without a better one, of those at the whole size",
    )
    add("--tensorboard", action="store_true", help="write logs for TensorBoard into --save-dir")
    add(
        "--filters",
        type=whole_number(1),
        help=f"width of the head (book {book['filters']}, quick {quick['filters']})",
    )
    add(
        "--validation-split",
        type=fraction,
        help="part of the training set that picks the best weights (0.1); "
        "0 picks them on the test pictures, as the book did",
    )
    add(
        "--pictures-per-epoch",
        type=whole_number(1),
        help=f"training pictures in one epoch (book: all, quick {quick['pictures_per_epoch']})",
    )
    add(
        "--class-weights",
        choices=("none", "median"),
        help="none (the default), or median: rare classes count more (median frequency balancing)",
    )
    add(
        "--portrait",
        action="store_true",
        help="with --evaluate: the errors on the test pictures by class, place and size, with the "
        "best, median and worst pictures, printed and drawn into --prediction-dir",
    )
    add(
        "--mirror",
        action="store_true",
        help="with --evaluate: the mean of the answers to a picture and to its mirror image; "
        "better, and takes twice as long",
    )
    add(
        "--prediction-dir",
        type=at_home,
        default=Path("prediction"),
        help="folder for segmented pictures (prediction/ in the current folder)",
    )
    return parser


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line; wrong values end the program with one line and status 2."""
    parser = build_parser()
    args = parser.parse_args(arguments)
    if not (args.train or args.evaluate or args.summary):
        parser.error("say what to do: --train, --evaluate or --summary")
    if args.evaluate and not args.train and not args.restore_weights:
        parser.error(
            "--evaluate needs --restore-weights=FILE: without weights it would score chance"
        )
    if args.image_file and not args.evaluate:
        parser.error("--image-file goes with --evaluate")
    if args.plot and (args.image_file or not args.evaluate):
        parser.error("--plot goes with --evaluate, and --image-file draws anyway")
    if args.portrait and (args.image_file or not args.evaluate):
        parser.error("--portrait goes with --evaluate of the test pictures")
    if args.mirror and not args.evaluate:
        parser.error("--mirror goes with --evaluate")
    if args.resume and not args.train:
        parser.error("--resume goes with --train")
    if args.resume and (args.restore_weights or args.start_from):
        parser.error("--resume brings its own weights: leave out --restore-weights, --start-from")
    if args.grow and args.restore_weights:
        parser.error("--grow goes with --start-from, not with --restore-weights")
    if args.start_from and (args.restore_weights or not args.train):
        parser.error("--start-from goes with --train, and without --restore-weights")
    return args


def fill(args: argparse.Namespace, values: dict) -> None:
    """Set those of `values` that the command line left open; others and unknown names stay."""
    for name, value in values.items():
        if getattr(args, name, value) is None:
            setattr(args, name, value)


def fill_resumed(args: argparse.Namespace, remembered: dict) -> None:
    """Take from an interrupted run what the command line left open.

    Raises:
        UserError: the command line asks for another value of an option in `FIXED`, or lacks the
            place of labels that were outside the project.
    """
    for name in FIXED:
        given, then = getattr(args, name), remembered.get(name)
        if given == "auto":
            setattr(args, name, None)
        elif given is not None and portable(given) != then and name in remembered:
            option = "--" + name.replace("_", "-")
            raise UserError(
                f"--resume goes on as the run began, with {option} {then}, not {given}; leave out "
                f"{option}, or start a new run."
            )
    for name in ("train_labels", "test_labels"):
        then = remembered.get(name)
        if getattr(args, name) is None and isinstance(then, str) and then.startswith(OUTSIDE):
            option = "--" + name.replace("_", "-")
            raise UserError(
                f"--resume: {option} was {then}, a file outside the project, whose "
                f"place is not kept; give {option} again."
            )
    # What to segment afterwards is another matter than how to train.
    fill(args, {name: value for name, value in remembered.items() if name != "image_file"})


def apply_preset(args: argparse.Namespace, gpu: str | None) -> str:
    """Fill what the command line left open; return which preset was taken, and why.

    Args:
        args: from `parse_arguments`; changed in place.
        gpu: name of the GPU, or None; `auto` goes by it.
    """
    reason = "as asked"
    if args.preset in (None, "auto"):
        args.preset = "book" if gpu else "quick"
        reason = f"there is a GPU, {gpu}" if gpu else "no GPU is visible"
    fill(args, PRESETS[args.preset] | DEFAULTS)
    fill(args, {"learning_rate": RATES[args.optimizer]})
    return f"preset {args.preset} ({reason})"
