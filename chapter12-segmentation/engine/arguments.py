"""The command line: the parser of the options in `records`, and which go together.

Nothing heavy is imported here, so that `--help` answers at once.
"""

import argparse

from engine.records import GROUPS, options


class OneLineParser(argparse.ArgumentParser):
    """Says what is wrong in one line and exits with status 2, without the usage before it."""

    def error(self, message):
        self.exit(2, f"{self.prog}: error: {message} (see --help)\n")


def build_parser() -> OneLineParser:
    """The parser of fcn-12.3.1.py: what the command line leaves open is None, a flag False."""
    # Spelt out: abbreviations would let a misspelt option pass for another.
    parser = OneLineParser(
        prog="fcn-12.3.1.py",
        description="Semantic segmentation with a fully convolutional network: chapter 12.",
        allow_abbrev=False,
    )
    for title, record in GROUPS.items():
        group = parser.add_argument_group(title)
        for name, about in options(record).items():
            flags = ["--" + name.replace("_", "-")]
            if about["short"]:
                flags.insert(0, "-" + about["short"])
            default = {} if about["parser"].get("action") == "store_true" else {"default": None}
            group.add_argument(*flags, help=about["help"], **default, **about["parser"])
    return parser


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line; wrong values end the program with one line and status 2."""
    parser = build_parser()
    args = parser.parse_args(arguments)
    if not (args.train or args.evaluate or args.summary or args.list_models):
        parser.error("say what to do: --train, --evaluate, --summary or --list-models")
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
    if args.tta and not args.evaluate:
        parser.error("--tta goes with --evaluate")
    if args.boundary and (args.image_file or not args.evaluate):
        parser.error("--boundary goes with --evaluate of the test pictures")
    if args.crf and not args.evaluate:
        parser.error("--crf goes with --evaluate")
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
