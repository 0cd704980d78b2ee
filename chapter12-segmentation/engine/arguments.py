"""The command line: the parser of the options in `records`, and which go together.

Nothing heavy is imported here, so that `--help` answers at once.
"""

import argparse
from functools import partial

from engine.records import DO, RECORDS, TASKS, options

USAGE = """
  fcn-12.3.1.py --segment PATH ... [--write KINDS] [options]
  fcn-12.3.1.py --train [--data-path FOLDER] [options]
  fcn-12.3.1.py --evaluate --restore-weights FILE [--image-file FILE ...] [options]"""


class OneLineParser(argparse.ArgumentParser):
    """Says what is wrong in one line and exits with status 2, without the usage before it."""

    def error(self, message):
        self.exit(2, f"{self.prog}: error: {message} (see --help)\n")


class AllHelp(argparse.Action):
    """Prints every option with its whole help, and ends the program."""

    def __init__(self, *args, **more):
        super().__init__(*args, default=argparse.SUPPRESS, **more)

    def __call__(self, parser, *_):
        build_parser(whole=True).print_help()
        parser.exit()


def build_parser(whole: bool = False) -> OneLineParser:
    """The parser of fcn-12.3.1.py: what the command line leaves open is None, a flag False.

    Args:
        whole: whether its help lists every option, or those that most people need.
    """
    # Spelt out: abbreviations would let a misspelt option pass for another.
    parser = OneLineParser(
        prog="fcn-12.3.1.py",
        usage=USAGE,
        description="Semantic segmentation with a fully convolutional network: chapter 12.",
        formatter_class=partial(argparse.HelpFormatter, max_help_position=34),
        allow_abbrev=False,
        add_help=False,
    )
    groups = {task: parser.add_argument_group(task) for task in TASKS}
    for own, record in RECORDS.items():
        for name, about in options(record).items():
            flags = ["--" + name.replace("_", "-")]
            if about["short"]:
                flags.insert(0, "-" + about["short"])
            words = about["help"] if whole else about["brief"]
            more = {"help": argparse.SUPPRESS if words is None else words}
            if about["parser"].get("action") != "store_true":
                more |= {"default": None}
            if not (about["parser"].get("action") or whole and about["parser"].get("choices")):
                more |= {"metavar": name.rpartition("_")[2].upper()}
            groups[about["task"] or own].add_argument(*flags, **more | dict(about["parser"]))
    groups[DO].add_argument("-h", "--help", action="help", help="what most people need")
    words = "every option, at length"
    groups[DO].add_argument("--help-all", action=AllHelp, nargs=0, dest="help", help=words)
    return parser


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line; wrong values end the program with one line and status 2."""
    parser = build_parser()
    args = parser.parse_args(arguments)
    if not (args.train or args.evaluate or args.segment or args.summary or args.list_models):
        parser.error("say what to do: --segment, --train, --evaluate, --summary or --list-models")
    if args.segment and (args.train or args.evaluate or args.resume):
        parser.error("--segment goes without --train, --evaluate and --resume")
    for name in ("write", "tile", "min_area", "pixel_size", "uncertain"):
        if getattr(args, name) is not None and not args.segment:
            parser.error(f"--{name.replace('_', '-')} goes with --segment")
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
    if args.tta and not (args.evaluate or args.segment):
        parser.error("--tta goes with --evaluate or --segment")
    if args.boundary and (args.image_file or not args.evaluate):
        parser.error("--boundary goes with --evaluate of the test pictures")
    if args.crf and not (args.evaluate or args.segment):
        parser.error("--crf goes with --evaluate or --segment")
    if args.tiles and not args.evaluate:
        parser.error("--tiles goes with --evaluate")
    if args.tiles and "scales" in (args.tta or ""):
        parser.error("--tiles has one size: leave out --tta scales")
    if args.narrow and args.filters:
        parser.error("--narrow divides --filters: give one of the two")
    learnt = args.restore_weights or args.start_from or args.pretrained or args.resume
    if args.normalisation == "frozen" and args.train and not learnt:
        parser.error(
            "--normalisation frozen keeps what was learnt: give --restore-weights, --start-from "
            "or --pretrained"
        )
    if args.distribute == "multihost" and not (args.train or args.segment):
        parser.error("--distribute multihost goes with --train and --segment")
    if args.distribute not in (None, "none", "multihost") and not args.train:
        parser.error("--distribute goes with --train")
    if args.distribute == "multihost" and args.evaluate:
        parser.error("--evaluate is for one process: score after training, without --distribute")
    if args.coordinator and args.segment:
        parser.error("--coordinator goes with --train: to segment, processes need not meet")
    for name in ("coordinator", "processes", "process_id"):
        if getattr(args, name) is not None and args.distribute != "multihost":
            parser.error(f"--{name.replace('_', '-')} goes with --distribute multihost")
    for name in ("adversarial", "adversarial_weight", "unlabelled"):
        if getattr(args, name) is not None and not args.train:
            parser.error(f"--{name.replace('_', '-')} goes with --train")
    if args.val_labels and args.validation_split is not None:
        parser.error("--val-labels takes the place of --validation-split: give one of the two")
    if args.resume and not args.train:
        parser.error("--resume goes with --train")
    if args.resume and (args.restore_weights or args.start_from):
        parser.error("--resume brings its own weights: leave out --restore-weights, --start-from")
    if args.grow and args.restore_weights:
        parser.error("--grow goes with --start-from, not with --restore-weights")
    if args.start_from and (args.restore_weights or not args.train):
        parser.error("--start-from goes with --train, and without --restore-weights")
    if args.pretrained and (
        args.resume or args.restore_weights or args.start_from or not args.train
    ):
        parser.error(
            "--pretrained goes with --train, and without --resume, --restore-weights, --start-from"
        )
    return args
