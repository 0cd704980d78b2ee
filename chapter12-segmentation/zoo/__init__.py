"""The networks by their names: a row each, and what can be set in it.

A row is added as `CONTRIBUTING.md` says. The engine and the tools find everything that they need to
know of a network here, and know none by name.
"""

import difflib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import keras

from utils.errors import UserError
from zoo.chapter import build_chapter, chapter_files, check_chapter
from zoo.crf_rnn import build_crf_rnn
from zoo.deconvnet import build_deconvnet
from zoo.deeplab_v1 import (
    SMALL_RATES,
    build_deeplab_v1,
    build_deeplab_v2,
    build_deeplab_v2_vgg16,
)
from zoo.deeplab_v3 import build_deeplab_v3, build_deeplab_v3_cascade
from zoo.deeplab_v3plus import build_deeplab_v3plus, build_deeplab_v3plus_xception
from zoo.fcn import build_fcn_resnet, build_fcn_vgg16, check_fcn
from zoo.fpn import build_fpn
from zoo.gcn import build_gcn, check_gcn
from zoo.pspnet import build_pspnet
from zoo.refinenet import build_refinenet
from zoo.resnet_v1 import RESNET101
from zoo.segnet import build_segnet, build_segnet_basic
from zoo.sliding_window import build_sliding_window, check_sliding_window
from zoo.unet import build_unet, build_unet_for_tiles, check_unet
from zoo.unetplusplus import build_unetplusplus

CLASSIFIER = "pre_activation"  # the layer that tells the classes apart, in every network
WIDTHS = ("width", "filters", "head")  # the settings that all numbers of filters follow from
LEAST_WIDTH = 4  # of a narrower network


@dataclass(frozen=True)
class Entry:
    """A network that can be chosen by name.

    Attributes:
        builder: `build_x(input_shape, n_classes, *, ...) -> keras.Model`, uncompiled; its keywords
            are what can be set.
        paper: author and title.
        year: of the paper.
        parameters: of the network for 4 classes with the settings of this row.
        settings: keywords in which this row differs from the builder's defaults.
        presets: settings that a preset of the command line changes, by its name.
        check: raises `UserError` for settings, all of them, that are out of range.
        files: from all settings to the beginning of the names of a run's files, where that is not
            the name of the row.
        for_tiles: as `builder`, the network between the borders that it adds to a picture; its
            answers for overlapping tiles are put side by side, see `tools.tiles`.
        begins_with: the row of a network whose layers this one has too, by the same names, before
            its own.
    """

    builder: Callable[..., keras.Model]
    paper: str
    year: int
    parameters: int
    settings: Mapping[str, object] = field(default_factory=dict)
    presets: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    check: Callable[..., object] | None = None
    files: Callable[..., str] | None = None
    for_tiles: Callable[..., keras.Model] | None = None
    begins_with: str | None = None


LONG = "Long et al., Fully Convolutional Networks for Semantic Segmentation"
RONNEBERGER = "Ronneberger et al., U-Net: Convolutional Networks for Biomedical Image Segmentation"
ZHOU = "Zhou et al., UNet++: A Nested U-Net Architecture for Medical Image Segmentation"
NOH = "Noh et al., Learning Deconvolution Network for Semantic Segmentation"
LIN = "Lin et al., RefineNet: Multi-Path Refinement Networks for Semantic Segmentation"
PENG = "Peng et al., Large Kernel Matters: Global Convolutional Network"
PYRAMID = "Lin et al., Feature Pyramid Networks; Kirillov et al., Panoptic Feature Pyramid Networks"
ZHAO = "Zhao et al., Pyramid Scene Parsing Network"
CIRESAN = "Ciresan et al., Deep Neural Networks Segment Neuronal Membranes"
SEGNET = "Badrinarayanan et al., SegNet: A Deep Convolutional Encoder-Decoder Architecture"
CHEN_2015 = "Chen et al., Semantic Image Segmentation with Deep Convolutional Nets and CRFs"
CHEN_DEEPLAB = "Chen et al., DeepLab: Deep Convolutional Nets, Atrous Convolution, and CRFs"
CHEN_V3 = "Chen et al., Rethinking Atrous Convolution for Semantic Image Segmentation"
CHEN_V3PLUS = "Chen et al., Encoder-Decoder with Atrous Separable Convolution"
ZHENG = "Zheng et al., Conditional Random Fields as Recurrent Neural Networks"

MODELS: dict[str, Entry] = {
    "fcn": Entry(
        builder=build_chapter,
        paper="Atienza, Advanced Deep Learning with TensorFlow 2 and Keras, chapter 12",
        year=2020,
        parameters=11_120_900,
        presets={"quick": {"filters": 64}, "few": {"filters": 64}, "full": {"layers": 4}},
        check=check_chapter,
        files=chapter_files,
    ),
    "fcn32s": Entry(build_fcn_vgg16, LONG, 2015, 134_276_932, check=check_fcn),
    "fcn16s": Entry(build_fcn_vgg16, LONG, 2015, 134_278_984, {"skips": 1}, check=check_fcn),
    "fcn8s": Entry(build_fcn_vgg16, LONG, 2015, 134_280_012, {"skips": 2}, check=check_fcn),
    "fcn8s-at-once": Entry(
        build_fcn_vgg16, LONG, 2015, 134_280_012, {"skips": 2, "at_once": True}, check=check_fcn
    ),
    "fcn4s": Entry(build_fcn_vgg16, LONG, 2015, 134_280_528, {"skips": 3}, check=check_fcn),
    "fcn2s": Entry(build_fcn_vgg16, LONG, 2015, 134_280_788, {"skips": 4}, check=check_fcn),
    "fcn32s-resnet50": Entry(build_fcn_resnet, LONG, 2015, 23_569_348, check=check_fcn),
    "fcn16s-resnet50": Entry(
        build_fcn_resnet, LONG, 2015, 23_573_448, {"skips": 1}, check=check_fcn
    ),
    "fcn8s-resnet50": Entry(
        build_fcn_resnet, LONG, 2015, 23_575_500, {"skips": 2}, check=check_fcn
    ),
    "fcn8s-resnet101": Entry(
        build_fcn_resnet, LONG, 2015, 42_619_852, {"skips": 2, "blocks": RESNET101}, check=check_fcn
    ),
    "crf-rnn": Entry(build_crf_rnn, ZHENG, 2015, 134_280_060, begins_with="fcn8s"),
    "deconvnet": Entry(build_deconvnet, NOH, 2015, 251_837_956),
    "segnet": Entry(build_segnet, SEGNET, 2017, 29_461_188),
    "segnet-without-indices": Entry(build_segnet, SEGNET, 2017, 29_461_188, {"indices": False}),
    "segnet-nearest": Entry(
        build_segnet, SEGNET, 2017, 29_461_188, {"indices": False, "nearest": True}
    ),
    "segnet-basic": Entry(build_segnet_basic, SEGNET, 2017, 1_416_900),
    "sliding-window": Entry(
        build_sliding_window, CIRESAN, 2012, 221_228, check=check_sliding_window
    ),
    "unet": Entry(
        build_unet, RONNEBERGER, 2015, 31_031_940, check=check_unet, for_tiles=build_unet_for_tiles
    ),
    "unet-same": Entry(
        build_unet, RONNEBERGER, 2015, 31_031_940, {"valid": False}, check=check_unet
    ),
    "unet-same-added": Entry(
        build_unet,
        RONNEBERGER,
        2015,
        27_898_500,
        {"valid": False, "skips": "added"},
        check=check_unet,
    ),
    "unet-same-without-skips": Entry(
        build_unet,
        RONNEBERGER,
        2015,
        27_898_500,
        {"valid": False, "skips": "none"},
        check=check_unet,
    ),
    "unetplusplus": Entry(build_unetplusplus, ZHOU, 2018, 9_042_672),
    "unetplus": Entry(build_unetplusplus, ZHOU, 2018, 8_729_328, {"nodes": "last"}),
    "unet-e": Entry(build_unetplusplus, ZHOU, 2018, 8_729_328, {"nodes": "encoder"}),
    "unetplusplus-l1": Entry(
        build_unetplusplus, ZHOU, 2018, 101_636, {"depth": 1, "supervised": False}
    ),
    "unetplusplus-l2": Entry(
        build_unetplusplus, ZHOU, 2018, 511_780, {"depth": 2, "supervised": False}
    ),
    "unetplusplus-l3": Entry(
        build_unetplusplus, ZHOU, 2018, 2_205_636, {"depth": 3, "supervised": False}
    ),
    "unetplusplus-l4": Entry(
        build_unetplusplus, ZHOU, 2018, 9_042_276, {"depth": 4, "supervised": False}
    ),
    "unet-l1": Entry(
        build_unetplusplus, ZHOU, 2018, 101_636, {"nodes": "one", "depth": 1, "supervised": False}
    ),
    "unet-l2": Entry(
        build_unetplusplus, ZHOU, 2018, 466_628, {"nodes": "one", "depth": 2, "supervised": False}
    ),
    "unet-l3": Entry(
        build_unetplusplus, ZHOU, 2018, 1_925_700, {"nodes": "one", "depth": 3, "supervised": False}
    ),
    "unet-l4": Entry(
        build_unetplusplus, ZHOU, 2018, 7_760_196, {"nodes": "one", "depth": 4, "supervised": False}
    ),
    "pspnet": Entry(build_pspnet, ZHAO, 2017, 49_003_464),
    "pspnet-resnet101": Entry(build_pspnet, ZHAO, 2017, 68_047_816, {"blocks": RESNET101}),
    "pspnet-without-auxiliary": Entry(build_pspnet, ZHAO, 2017, 46_642_116, {"auxiliary": False}),
    "pspnet-without-pooling": Entry(build_pspnet, ZHAO, 2017, 35_363_784, {"pooling": False}),
    "refinenet": Entry(build_refinenet, LIN, 2017, 118_118_596, {"blocks": RESNET101}),
    "refinenet-resnet50": Entry(build_refinenet, LIN, 2017, 99_074_244),
    "refinenet-resnet50-without-pooling": Entry(
        build_refinenet, LIN, 2017, 82_559_172, {"chained": False}
    ),
    "refinenet-resnet50-without-shortcuts": Entry(
        build_refinenet, LIN, 2017, 99_074_244, {"shortcuts": False}
    ),
    "gcn": Entry(build_gcn, PENG, 2017, 24_026_600, check=check_gcn),
    "gcn-k11": Entry(build_gcn, PENG, 2017, 23_903_208, {"kernel": 11}, check=check_gcn),
    "gcn-k7": Entry(build_gcn, PENG, 2017, 23_779_816, {"kernel": 7}, check=check_gcn),
    "gcn-k3": Entry(build_gcn, PENG, 2017, 23_656_424, {"kernel": 3}, check=check_gcn),
    "gcn-resnet101": Entry(
        build_gcn, PENG, 2017, 43_070_952, {"blocks": RESNET101}, check=check_gcn
    ),
    "fpn": Entry(build_fpn, PYRAMID, 2019, 28_529_860),
    "fpn-resnet101": Entry(build_fpn, PYRAMID, 2019, 47_574_212, {"blocks": RESNET101}),
    "deeplab-v1": Entry(build_deeplab_v1, CHEN_2015, 2015, 20_488_004),
    "deeplab-v1-7x7": Entry(
        build_deeplab_v1, CHEN_2015, 2015, 134_276_932, {"kernel": 7, "rate": 4, "head": 4096}
    ),
    "deeplab-v1-4x4": Entry(
        build_deeplab_v1, CHEN_2015, 2015, 65_070_916, {"kernel": 4, "rate": 4, "head": 4096}
    ),
    "deeplab-v1-msc": Entry(build_deeplab_v1, CHEN_2015, 2015, 21_683_140, {"multi_scale": True}),
    "deeplab-v2": Entry(build_deeplab_v2, CHEN_DEEPLAB, 2017, 42_900_432),
    "deeplab-v2-vgg16": Entry(build_deeplab_v2_vgg16, CHEN_DEEPLAB, 2017, 37_807_952),
    "deeplab-v2-vgg16-s": Entry(
        build_deeplab_v2_vgg16, CHEN_DEEPLAB, 2017, 37_807_952, {"rates": SMALL_RATES}
    ),
    "deeplab-v3": Entry(build_deeplab_v3, CHEN_V3, 2017, 39_100_356),
    "deeplab-v3-os8": Entry(build_deeplab_v3, CHEN_V3, 2017, 39_100_356, {"output_stride": 8}),
    "deeplab-v3-os8-without-pooling": Entry(
        build_deeplab_v3,
        CHEN_V3,
        2017,
        38_509_508,
        {"output_stride": 8, "image_pooling": False},
    ),
    "deeplab-v3-os8-without-grid": Entry(
        build_deeplab_v3,
        CHEN_V3,
        2017,
        39_100_356,
        {"output_stride": 8, "multi_grid": (1, 1, 1)},
    ),
    "deeplab-v3-resnet101": Entry(
        build_deeplab_v3, CHEN_V3, 2017, 58_144_708, {"blocks": RESNET101}
    ),
    "deeplab-v3-cascade": Entry(build_deeplab_v3_cascade, CHEN_V3, 2017, 63_787_972),
    "deeplab-v3plus": Entry(build_deeplab_v3plus, CHEN_V3PLUS, 2018, 40_405_124),
    "deeplab-v3plus-resnet101": Entry(
        build_deeplab_v3plus, CHEN_V3PLUS, 2018, 59_449_476, {"blocks": RESNET101}
    ),
    "deeplab-v3plus-xception": Entry(build_deeplab_v3plus_xception, CHEN_V3PLUS, 2018, 41_253_844),
}


def find(name: str) -> Entry:
    """The row of a network.

    Raises:
        UserError: there is none of this name.
    """
    if name in MODELS:
        return MODELS[name]
    near = ", ".join(difflib.get_close_matches(name, MODELS, n=3))
    near = f"choose {near}, or another of those that" if near else "choose one of those that"
    raise UserError(f"there is no network {name!r}; {near} --list-models prints.")


def defaults(name: str) -> dict[str, object]:
    """What can be set in a network, with the values that it has when nothing is said."""
    entry = find(name)
    keywords = inspect.signature(entry.builder).parameters.values()
    return {k.name: k.default for k in keywords if k.kind is k.KEYWORD_ONLY} | dict(entry.settings)


def are_variants(one: str, other: str) -> bool:
    """Whether two rows have one builder, which gives the same layers the same names.

    Raises:
        UserError: as `find`.
    """
    return find(one).builder is find(other).builder


def has_layers_of(name: str, other: str) -> bool:
    """Whether layers of one row mean what those of the same names mean in another.

    Raises:
        UserError: as `find`.
    """
    origin = find(name).begins_with
    return are_variants(name, other) or (origin is not None and are_variants(origin, other))


def differences(one: str, other: str) -> dict[str, object]:
    """The settings of the row `other` that one of two variants gives by itself."""
    own = {**find(one).settings, **find(other).settings}
    return {setting: value for setting, value in defaults(other).items() if setting in own}


def complete(name: str, settings: Mapping[str, object]) -> dict[str, object]:
    """All settings of a network: those given, and the defaults of the others.

    Raises:
        UserError: there is no such network, it has no such setting, or a value is of another type
            than the default or out of range.
    """
    whole = defaults(name)
    for setting, value in settings.items():
        if setting not in whole:
            known = ", ".join(whole) or "nothing"
            raise UserError(f"the network {name} has no {setting!r}; what can be set is: {known}.")
        if type(value) is not type(whole[setting]):
            raise UserError(
                f"{setting} {value!r} of the network {name} is no {type(whole[setting]).__name__}; "
                f"{whole[setting]!r} is its default."
            )
    whole |= settings
    if find(name).check:
        find(name).check(**whole)
    for setting, default in defaults(name).items():
        _check_range(name, setting, whole[setting], default)
    return whole


def narrowed(name: str, settings: Mapping[str, object], by: int) -> dict[str, int]:
    """The settings of a network with one `by`-th of the filters, of those in `settings`.

    Raises:
        UserError: they cannot be divided so, or there are none.
    """
    wide = {w: v for w, v in (defaults(name) | dict(settings)).items() if w in WIDTHS}
    if not wide:
        raise UserError(f"the network {name} has no width that --narrow can divide; leave it out.")
    fit = [n for n in range(2, min(wide.values()) // LEAST_WIDTH + 1) if not _rests(wide, n)]
    if by not in fit:
        raise UserError(
            f"--narrow {by} does not divide the filters of the network {name}, "
            f"{' and '.join(f'{w} {v}' for w, v in wide.items())}, into {LEAST_WIDTH} or more; "
            f"give {', '.join(map(str, fit))}."
            if fit
            else f"the network {name} is as narrow as can be; leave out --narrow."
        )
    return {setting: value // by for setting, value in wide.items()}


def _rests(wide: Mapping[str, int], by: int) -> bool:
    return any(value % by for value in wide.values())


def _check_range(name: str, setting: str, value: object, default: object) -> None:
    """Refuse numbers that no builder can use; a file of weights may be a stranger's."""
    numbers = value if isinstance(value, tuple) else (value,)
    least = 0 if setting == "skips" else 1
    whole = [number for number in numbers if type(number) is int]
    small = any(number < least for number in whole) or (isinstance(value, tuple) and not whole)
    if small or (setting == "blocks" and len(value) != len(default)):
        raise UserError(
            f"{setting} {value!r} of the network {name} is out of range; its default is "
            f"{default!r}."
        )


def files(name: str, settings: Mapping[str, object]) -> str:
    """What the names of a run's files begin with: the network's name; the book has its own."""
    names = find(name).files
    return names(**complete(name, settings)) if names else name


def build(
    name: str, input_shape: tuple[int, int, int], n_classes: int, settings: Mapping[str, object]
) -> keras.Model:
    """A network by its name, uncompiled; see `Entry.builder`.

    Raises:
        UserError: as `complete`, or a value is out of range.
    """
    return find(name).builder(input_shape, n_classes, **complete(name, settings))


def build_for_tiles(
    name: str, input_shape: tuple[int, int, int], n_classes: int, settings: Mapping[str, object]
) -> keras.Model:
    """The network for tiles, with the weights of the network; see `Entry.for_tiles`.

    Raises:
        UserError: as `build`, or what the network says of a tile depends on its border.
    """
    builder = find(name).for_tiles
    if builder is None:
        able = ", ".join(other for other, entry in MODELS.items() if entry.for_tiles)
        raise UserError(
            f"the network {name} has no --tiles, leave it out; those that have: {able}."
        )
    return builder(input_shape, n_classes, **complete(name, settings))
