"""From the command line to the settings of a run: what was asked, remembered, or is the default."""

import argparse
from pathlib import Path

import keras

import fast
from engine.arguments import DEFAULTS, NETWORK, PRESETS, apply_preset, fill, fill_resumed
from engine.trainer import RunFiles
from engine.weights import find_weights, read_arguments, read_run
from fast.devices import fast_precision, gpu_name
from resnet import parse_backbone
from utils.errors import UserError


def settle(args: argparse.Namespace) -> tuple[RunFiles, Path | None]:
    """Fill every option that the command line left open; set Keras' precision and the seed.

    An option comes from the command line, else from the weights that are restored or the run that
    is resumed, else from the preset and the defaults.

    Args:
        args: from `arguments.parse_arguments`; filled in place.

    Returns:
        The files of the run, and the weights to restore or None.

    Raises:
        UserError: weights or the run to resume are missing, or a name is unknown.
    """
    weights = find_weights(args.restore_weights, args.save_dir) if args.restore_weights else None
    if weights:
        remembered = read_arguments(weights)
        if args.train:  # which a run that grows and ended early had not come to
            height, width = remembered.get("whole_size") or (None, None)
            fill(args, {"height": height, "width": width})
        fill(args, {name: remembered.get(name) for name in NETWORK})
        if not remembered:  # a file of the book's code, whose head is the book's
            fill(args, {"filters": PRESETS["book"]["filters"]})
    if args.start_from:
        args.start_from = [find_weights(name, args.save_dir) for name in args.start_from]
    depth, version = parse_backbone(args.backbone or DEFAULTS["backbone"])
    layers = args.layers or DEFAULTS["layers"]
    dataset = args.dataset or args.data_path.resolve().name
    files = RunFiles(args.save_dir, f"ResNet{depth}v{version}-{layers}layer-{dataset}")
    if args.resume:
        fill_resumed(args, read_run(files.last))
    if not args.train and args.preset in (None, "auto"):
        fill(
            args,
            {name: PRESETS["book"][name] for name in ("filters", "height", "width", "batch_size")},
        )

    preset = apply_preset(args, gpu_name())
    if args.close_ups and not args.augment:
        raise UserError("--close-ups are a kind of augmentation; add --augment.")
    fast.turn(not args.plain)
    if args.precision == "auto":
        args.precision = fast_precision()
    if args.train and args.verbose:
        size = f"{args.height}x{args.width}"
        print(f"{preset}: {size}, batch {args.batch_size}, {args.precision}")
    if args.train or args.evaluate:
        mixed = "" if args.precision == "float32" else "mixed_"
        keras.config.set_dtype_policy(mixed + args.precision)
    keras.utils.set_random_seed(args.seed)
    return files, weights
