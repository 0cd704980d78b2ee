"""What a run is: three frozen records, `Network`, `Data` and `Run`.

Fields made by `option` are the table of all options of the command line: `arguments` makes the
parser of it, `settings` the records. A new option is one line here. Nothing heavy is imported, so
that `--help` answers at once.
"""

import argparse
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType

from utils.classes import Classes, as_content, classes_from
from utils.cores import cores
from utils.errors import UserError
from utils.files import PROJECT, at_home
from utils.option_types import LARGEST, fraction, whole_number
from utils.reading import Reading
from utils.reading_options import MASK_OPTIONS, READING_OPTIONS, asked_reading

LEAST_SIDE = 32  # pixels
MOST_CHANNELS = 16  # of a picture
CHAPTER_CLASSES = 4  # background, water bottle, soda can, juice can
FEW = 200  # pictures below which a training on a CPU begins with the weights that ship
PRESET_NAMES = ("book", "quick", "few", "full")
AUGMENTATIONS = ("none", "mild", "close", "strong")
IMAGENET = "imagenet"  # what --pretrained means when it names no file
# What an opponent counts. Luc: 0.1 for VOC, 2 for Stanford; Hung; Souly: the plain sum.
ADVERSARIES = {"luc": 0.1, "luc-basic": 0.1, "luc-scaled": 0.1, "hung": 0.01, "souly": 1.0}
OPPONENT_WIDTH = 64  # filters of their first layers in the papers
# The chapter's; see "How the quick preset was chosen"; PSPNet's and DeconvNet's.
RATES = {"adam": 1e-3, "muon": 6e-3, "sgd": 1e-2}
NORMALISATIONS = ("batch", "frozen", "group")

# What options are listed under, in this order.
DO, DATA, READING = "what to do", "your data", "how annotations and masks are meant"
NETWORK, TRAINING, OPPONENT = "the network", "training", "training against an opponent"
EVALUATING, MACHINE = "evaluating and segmenting", "the machine"
TASKS = (DO, DATA, READING, NETWORK, TRAINING, OPPONENT, EVALUATING, MACHINE)
# What --write takes: files of each picture, then files of all.
WRITES = ("mask", "overlay", "figure", "cutout", "probabilities")
WRITES += ("areas", "polygons", "coco", "labelme")


def positive(text: str) -> float:
    """Type of an option: a finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def share(text: str) -> float:
    """Type of an option: a finite number from 0 up."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 up")
    return value


def writes(text: str) -> tuple[str, ...]:
    """Type of an option: names of `WRITES`, with commas."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in WRITES:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(WRITES)}")
    return names


def tile(text: str) -> str | float:
    """Type of an option: "none", "auto", or a scale."""
    if text in ("none", "auto"):
        return text
    try:
        return positive(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is neither auto, none nor a scale") from error


def distribute(text: str) -> str | int:
    """Type of an option: "none", "auto", "multihost", or a number of devices."""
    if text in ("none", "auto", "multihost"):
        return text
    try:
        return whole_number(1)(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither auto, multihost, none nor a number of devices"
        ) from error


def pixel_size(text: str) -> tuple[float, str]:
    """Type of an option: a length, see `utils.areas.parse_pixel_size`."""
    from utils.areas import parse_pixel_size

    return parse_pixel_size(text)


def augmentation(text: str) -> str:
    """Type of an option: a name of `AUGMENTATIONS`, or a file that albumentations saved."""
    if text not in AUGMENTATIONS and not text.lower().endswith((".json", ".yaml", ".yml")):
        names = ", ".join(AUGMENTATIONS)
        raise argparse.ArgumentTypeError(f"{text!r} is none of {names}, nor a .json or .yaml file")
    return text


def class_weights(text: str) -> str:
    """Type of an option: "none", "median", or numbers from 0 up with commas, one a class."""
    if text not in ("none", "median"):
        try:
            weights = [share(word) for word in text.split(",")]
        except argparse.ArgumentTypeError as error:
            raise argparse.ArgumentTypeError(f"{text!r}: {error}") from error
        if not any(weights):
            raise argparse.ArgumentTypeError(f"{text!r} lets no class count")
    return text


def plain_name(text: str) -> str:
    """Type of an option: a name that can be part of a file's name."""
    if not text.strip() or text != text.strip() or set(text) & set('/\\:*?"<>|'):
        raise argparse.ArgumentTypeError(f"{text!r} cannot be part of a file name")
    return text


def option(
    help: str,
    *,
    default=None,
    presets=None,
    fixed=False,
    kept=False,
    short=None,
    task=None,
    brief=None,
    **parser,
) -> Field:
    """A field that is an option of the command line, named after the field.

    Args:
        help: its line of `--help-all`; values of the presets are added.
        default: its value when nothing is said and no preset sets it.
        presets: its values in the presets, in the order of `PRESET_NAMES`.
        fixed: whether a resumed run cannot change it without becoming another run.
        kept: whether a resumed run has the value that it began with when nothing is said; what is
            fixed is kept.
        short: its letter.
        task: under what it is listed, one of `TASKS`; None for what its record is, see `RECORDS`.
        brief: its line of `--help`, which lists what most people need; None where it is not there.
        parser: more for `add_argument`: type, choices, nargs, metavar, action.
    """
    if presets:
        words = ({None: "all", True: "yes", False: "no"}.get(v, str(v)) for v in presets)
        help += " (" + ", ".join(map(" ".join, zip(PRESET_NAMES, words, strict=True))) + ")"
    about = {"help": help, "default": default, "presets": presets, "short": short}
    about |= {"fixed": fixed, "kept": kept or fixed, "parser": parser}
    about |= {"task": task, "brief": brief}
    return field(default=default, metadata=about)


def flag(help: str, **more) -> Field:
    """An option that is on or off."""
    return option(help, default=False, action="store_true", **more)


def options(record: type) -> dict[str, Mapping]:
    """The options among the fields of a record by name, see `option`."""
    return {f.name: f.metadata for f in fields(record) if f.metadata}


@dataclass(frozen=True)
class Network:
    """A network, described so that it can be built: whole in every weights file, checked when made.

    Attributes:
        name: of its row in `zoo.MODELS`.
        input_shape: (H, W, channels) of the pictures that go in.
        classes: names and colours; None where they are not known before the data are open.
        settings: the keywords of its builder, all of them.
        normalisation: of `NORMALISATIONS`, see `zoo.normalisation`.
    """

    name: str
    input_shape: tuple[int, int, int]
    classes: Classes | None
    settings: Mapping[str, object]
    normalisation: str = "batch"

    def __post_init__(self):
        """Raise `UserError` unless a network of this name has such a shape and such settings."""
        import zoo

        shape = self.input_shape
        if len(shape) != 3 or not all(type(side) is int for side in shape):
            raise UserError(f"a network takes (height, width, channels), not {shape!r}.")
        if not all(LEAST_SIDE <= side <= LARGEST for side in shape[:2]) or not (
            1 <= shape[2] <= MOST_CHANNELS
        ):
            raise UserError(
                f"no network takes {shape[0]}x{shape[1]} pictures of {shape[2]} channels; give a "
                f"--height and --width from {LEAST_SIDE} up, and 1 to {MOST_CHANNELS} --channels."
            )
        if self.normalisation not in NORMALISATIONS:
            raise UserError(
                f"no network has the normalisation {self.normalisation!r}; there are "
                f"{', '.join(NORMALISATIONS)}."
            )
        settings = MappingProxyType(zoo.complete(self.name, self.settings))
        object.__setattr__(self, "settings", settings)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the pictures that go in."""
        return self.input_shape[:2]

    def at(self, size: tuple[int, int]) -> "Network":
        """The same network for pictures of another size (H, W)."""
        return replace(self, input_shape=(*size, self.input_shape[2]))

    def build(self, *, for_tiles: bool = False):
        """A `keras.Model` of it, uncompiled, with fresh weights; for 4 classes if none are known.

        Args:
            for_tiles: without the borders that it adds to a picture, see `tools.tiles`.

        Raises:
            UserError: a setting is out of range, or there is no such network for tiles.
        """
        import zoo
        from zoo.normalisation import normalised

        build = zoo.build_for_tiles if for_tiles else zoo.build
        n_classes = len(self.classes) if self.classes else CHAPTER_CLASSES
        model = build(self.name, self.input_shape, n_classes, self.settings)
        return normalised(model, self.normalisation)

    def content(self) -> dict:
        """It as JSON has it, once its classes are known; `network_from` reads it."""
        shape, settings = list(self.input_shape), dict(self.settings)
        content = {"name": self.name, "input_shape": shape, "settings": settings}
        content |= {"classes": as_content(self.classes)}
        return content | {"normalisation": self.normalisation}


def network_from(content: object) -> Network:
    """The network that `Network.content` described.

    Raises:
        UserError: the content is damaged, or there is no such network.
    """
    try:
        settings = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in content["settings"].items()
        }
        classes = classes_from(content["classes"])
        shape, normalisation = tuple(content["input_shape"]), content.get("normalisation", "batch")
        return Network(content["name"], shape, classes, settings, normalisation)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"the description of the network is damaged ({error!r}).") from error


@dataclass(frozen=True)
class Asked:
    """The options that a `Network` is made from."""

    model: str = option(
        "name of the network (fcn, the chapter's); --list-models prints them",
        default="fcn",
        fixed=True,
        brief="name of the network (fcn, the chapter's)",
    )
    backbone: str = option(
        "of fcn: resnet<depth>v<version> (resnet56v2)", type=str.lower, fixed=True
    )
    layers: int = option(
        "of fcn: levels of the pyramid (3, full 4)", type=whole_number(1, 8), fixed=True
    )
    filters: int = option(
        "of fcn: width of the head (book 256, quick 64, full 256)", type=whole_number(1), fixed=True
    )
    narrow: int | None = option(
        "a network with one N-th of the filters (of fcn: in its head), to learn sooner; so is its "
        "opponent",
        type=whole_number(2),
        metavar="N",
    )
    normalisation: str = option(
        "batch (the default); frozen: statistics, scale and shift stay as they were restored; or "
        "group, in place of batch normalisation",
        choices=NORMALISATIONS,
        fixed=True,
    )
    height: int = option(
        "of the pictures that go in",
        type=whole_number(LEAST_SIDE),
        presets=(480, 160, 96, 480),
        fixed=True,
        task=DATA,
        brief="of the pictures that go in (by the preset)",
    )
    width: int = option(
        "",
        type=whole_number(LEAST_SIDE),
        presets=(640, 192, 128, 640),
        fixed=True,
        task=DATA,
        brief="",
    )
    channels: int = option(
        "channels of the pictures: 3 for colours, 1 for grey, or as many as the files have (3)",
        default=3,
        type=whole_number(1, MOST_CHANNELS),
        fixed=True,
        task=DATA,
    )


@dataclass(frozen=True)
class Data:
    """Pictures and labels, and how they reach the network."""

    data_path: Path = option(
        "folder of pictures and labels (data/drinks beside this program)",
        type=at_home,
        default=PROJECT / "data" / "drinks",
        brief="folder of pictures and labels (data/drinks)",
    )
    train_labels: str = option(
        "in the data folder: label maps, annotations or a folder of masks (segmentation_train.npy, "
        "made from segmentation_train.json; or the export in train/)",
        default="segmentation_train.npy",
        fixed=True,
        brief="in that folder, where they are not found by their names",
    )
    val_labels: str | None = option(
        "those that choose the best weights (segmentation_val.npy, or the export in val/ where "
        "there is test/ too; else a tenth of the training set)",
        fixed=True,
    )
    test_labels: str = option(
        "those that are scored (segmentation_test.npy, or the export in test/, else in val/)",
        default="segmentation_test.npy",
        kept=True,
        brief="those that are scored",
    )
    dataset: str = option(
        "name of the data in the names of the weights (that of the data folder)", type=plain_name
    )
    validation_split: float = option(
        "part of the training set that picks the best weights (0.1); 0 picks them on the test "
        "pictures, as the book did",
        type=fraction,
        default=0.1,
        fixed=True,
    )
    batch_size: int = option(
        "pictures a step",
        type=whole_number(1),
        presets=(4, 8, 8, 8),
        fixed=True,
        task=TRAINING,
        brief="pictures a step (by the preset)",
    )
    pictures_per_epoch: int | None = option(
        "training pictures in one epoch",
        type=whole_number(1),
        presets=(None, 848, 320, None),
        fixed=True,
        task=TRAINING,
    )
    augment: str = option(
        "vary the training pictures: mild; close shows a part of every fifth 1.4 to 2.8 times as "
        "large, by which long runs learn near things; strong turns, warps, blurs and recolours; or "
        "a pipeline of albumentations, a .json or .yaml FILE",
        type=augmentation,
        metavar="NAME",
        presets=("none", "mild", "mild", "close"),
        fixed=True,
        task=TRAINING,
        brief="vary the pictures: none, mild, close or strong",
    )
    unlabelled: Path | None = option(
        "with --adversarial hung or souly: a folder of pictures without labels, to learn from; "
        "those that choose the best weights or are scored are left out",
        type=at_home,
        metavar="FOLDER",
        task=OPPONENT,
    )
    workers: int = option(
        "threads, with a GPU processes, that make batches (as many as there are cores, 4 to 16)",
        type=whole_number(1),
        default=min(max(cores(), 4), 16),
        task=MACHINE,
    )
    class_attribute: str | None = option(**READING_OPTIONS["class_attribute"], task=READING)
    class_name: str | None = option(**READING_OPTIONS["class_name"], task=READING)
    unclassed: str | None = option(**READING_OPTIONS["unclassed"], task=READING)
    void: tuple[int, ...] | None = option(**READING_OPTIONS["void"], task=READING)
    scale: tuple[float, float] | None = option(**READING_OPTIONS["scale"], task=READING)
    turn: str | None = option(**READING_OPTIONS["turn"], task=READING)
    threshold: int | None = option(**MASK_OPTIONS["threshold"], task=READING)
    ids: tuple[int, ...] | None = option(**MASK_OPTIONS["ids"], task=READING)

    def asked(self) -> Reading:
        """How the options say that the files are meant; the data folder keeps what is decided."""
        names = (*READING_OPTIONS, *MASK_OPTIONS)
        return asked_reading({name: getattr(self, name) for name in names})


@dataclass(frozen=True)
class Run:
    """What to do: train, evaluate, and how."""

    train: bool = flag("train the network", short="t", task=DO, brief="train the network")
    evaluate: bool = flag(
        "score the test pictures, with --train after it",
        short="e",
        task=DO,
        brief="score the test pictures, or segment those of --image-file",
    )
    summary: bool = flag(
        "print the network that --train would train: stages, parameters, GMAC, receptive field and "
        "memory, with --verbose 2 its layers too; draw it",
        task=DO,
        brief="print the network that --train would train, and its memory",
    )
    list_models: bool = flag(
        "print the networks that --model takes",
        task=DO,
        brief="print the networks that --model takes",
    )

    segment: tuple[Path, ...] | None = option(
        "segment pictures and folders, also what lies in folders below, with the weights that ship "
        "or --restore-weights; goes on where it was interrupted",
        type=at_home,
        nargs="+",
        metavar="PATH",
        task=DO,
        brief="segment pictures and folders with the weights that ship",
    )
    write: tuple[str, ...] = option(
        "with --segment, any of, with commas: mask (class ids as PNG), overlay, figure, cutout "
        "(what is no background), probabilities (.npy); of all pictures areas (a table of classes "
        "and objects), polygons (a VIA project), coco, labelme (mask,overlay,areas)",
        type=writes,
        default=("mask", "overlay", "areas"),
        task=EVALUATING,
        metavar="KINDS",
        brief="mask, overlay, figure, cutout, areas, polygons and more",
    )
    tile: str | float = option(
        "with --segment: none shows the network whole pictures at its size; auto shows parts of "
        "them, at the scale of the pictures of training; or pixels of the network for one of the "
        "picture, such as 0.5 (none)",
        type=tile,
        default="none",
        task=EVALUATING,
        metavar="SCALE",
    )
    min_area: int = option(
        "with --segment: areas of fewer pixels become what is around them (0)",
        type=whole_number(0),
        default=0,
        task=EVALUATING,
    )
    pixel_size: tuple[float, str] | None = option(
        "with --segment: the side of a pixel, such as 0.25um or 2mm, for areas in that unit",
        type=pixel_size,
        task=EVALUATING,
    )
    uncertain: int = option(
        "with --segment: name the N pictures that the network is least sure of, to trace next (0)",
        type=whole_number(0),
        default=0,
        task=EVALUATING,
        metavar="N",
    )

    preset: str = option(
        "book: as the book, 480x640, 100 epochs; quick: minutes on a laptop; few: the same for 20 "
        f"to {FEW} photographs, from the weights that ship; full: minutes on a GPU, the best "
        f"network; auto: few below {FEW} pictures, else full with a GPU, else quick",
        choices=("auto", *PRESET_NAMES),
        fixed=True,
        brief="quick, few (pictures): minutes on a laptop; full: on a GPU; book; or auto",
    )
    epochs: int = option(
        "epochs in all",
        type=whole_number(1),
        presets=(100, 11, 8, 100),
        kept=True,
        brief="epochs in all (by the preset)",
    )
    seed: int = option(
        "of weights, order and augmentation (0)",
        type=whole_number(0, 2**32 - 1),
        default=0,
        fixed=True,
    )
    precision: str = option(
        "auto (the default): bfloat16 where the processor has it, else float32",
        choices=("auto", "float32", "bfloat16", "float16"),
        default="auto",
        fixed=True,
        task=MACHINE,
    )
    grow: bool = option(
        "begin with pictures of 2/5 of the height and width, then 3/5, then whole",
        action=argparse.BooleanOptionalAction,
        presets=(False, True, False, True),
        fixed=True,
    )
    optimizer: str = option(
        "Muon learns more from as many pictures; sgd has momentum 0.9",
        choices=("adam", "muon", "sgd"),
        presets=("adam", "muon", "muon", "muon"),
        fixed=True,
    )
    learning_rate: float = option(
        f"the highest (Adam {RATES['adam']:g}, Muon {RATES['muon']:g}, SGD {RATES['sgd']:g})",
        type=positive,
        fixed=True,
        brief="the highest (by the optimiser)",
    )
    weight_decay: float = option(
        "of kernels: L2 with SGD, decoupled with the others (0)",
        type=fraction,
        default=0.0,
        fixed=True,
    )
    accumulate: int = option(
        "batches whose mean gradient makes a step (1)",
        type=whole_number(1),
        default=1,
        metavar="N",
        fixed=True,
    )
    schedule: str = option(
        "how the learning rate falls until --epochs: in the book's steps, along a line, or as the "
        "0.9th power of one (poly)",
        choices=("book", "linear", "poly"),
        presets=("book", "linear", "linear", "linear"),
        fixed=True,
    )
    loss: str = option(
        "entropy: the chapter's cross-entropy; iou: it, and what the mean IoU lacks of one; dice; "
        "bce-dice: of UNet++; focal: sure pixels count less; border: of U-Net, pixels between "
        "objects that nearly touch count more",
        choices=("entropy", "iou", "dice", "bce-dice", "focal", "border"),
        presets=("entropy", "iou", "iou", "iou"),
        fixed=True,
        brief="entropy, iou, dice, bce-dice, focal or border (by the preset)",
    )
    class_weights: str = option(
        "none (the default); median: rare classes count more (median frequency balancing); or "
        "W,W,...: a number of your own for each class",
        type=class_weights,
        default="none",
        metavar="none|median|W,W,...",
        fixed=True,
    )
    adversarial: str = option(
        "train against an opponent that tells answers from labels: luc, whole maps by what they "
        "cut out of the picture (luc-basic, luc-scaled: by themselves); hung, every pixel; or "
        "souly: against one that makes pictures",
        choices=("none", *ADVERSARIES),
        default="none",
        fixed=True,
        task=OPPONENT,
    )
    adversarial_weight: float | None = option(
        "what the opponent counts (luc 0.1, hung 0.01, souly 1); 0: as without",
        type=share,
        fixed=True,
        task=OPPONENT,
    )
    patience: int | None = option(
        "stop after so many epochs without a better one, of those at the whole size",
        type=whole_number(1),
        kept=True,
    )
    plain: bool = flag(
        "stock Keras layers and updates instead of the fast ones, which give the same numbers",
        task=MACHINE,
    )
    distribute: str | int = option(
        "train on several devices of this machine, auto (all) or N; or, with all processes that "
        "are started alike, on many machines: multihost; a batch is divided among them (none); "
        "with --segment multihost divides the pictures",
        type=distribute,
        default="none",
        task=MACHINE,
        metavar="auto|N|multihost",
    )
    coordinator: str | None = option(
        "with --distribute multihost: where process 0 can be reached, HOST:PORT (that of SLURM)",
        task=MACHINE,
    )
    processes: int | None = option(
        "with --distribute multihost: how many there are (that of SLURM)",
        type=whole_number(1),
        metavar="N",
        task=MACHINE,
    )
    process_id: int | None = option(
        "with --distribute multihost: which this is, from 0 (that of SLURM or of a Kubernetes job)",
        type=whole_number(0),
        metavar="I",
        task=MACHINE,
    )
    tensorboard: bool = flag("write logs for TensorBoard into --save-dir")

    save_dir: Path = option(
        "folder of weights, history and curves (weights/ beside this program)",
        type=at_home,
        default=PROJECT / "weights",
        brief="folder of weights, history and curves (weights/)",
    )
    restore_weights: Path | None = option(
        "in the folder of weights, or any path",
        metavar="FILE",
        task=EVALUATING,
        brief="in the folder of weights, or any path",
    )
    start_from: Path | None = option(
        "train from weights of other classes: what fits is taken, the rest begins anew",
        metavar="FILE",
        brief="train from weights of other classes",
    )
    pretrained: Path | str | None = option(
        "train from a VGG16 or ResNet that has learnt ImageNet: fetched once, or FILE, as "
        "keras.applications publishes it",
        nargs="?",
        const=IMAGENET,
        metavar="FILE",
    )
    resume: bool = flag(
        "go on with the run that was interrupted", brief="go on with the run that was interrupted"
    )

    image_file: tuple[Path, ...] | None = option(
        "with --evaluate: segment these pictures, or those of a folder, instead",
        type=at_home,
        nargs="+",
        metavar="FILE",
        task=EVALUATING,
        brief="segment these pictures, or those of a folder",
    )
    tta: str = option(
        "the mean of the answers to a picture and its mirror image (flip), to "
        "other sizes of it (scales), or both (flip,scales); takes as many times as long",
        choices=("none", "flip", "scales", "flip,scales"),
        metavar="VIEWS",
        default="none",
        task=EVALUATING,
        brief="flip, scales or flip,scales: mirror image, other sizes, or both",
    )
    tiles: bool = flag(
        "with --evaluate, of unet: pictures of any size as they are, in overlapping tiles of "
        "--height x --width, without a seam; for networks that were trained at that scale",
        task=EVALUATING,
    )
    crf: bool = flag(
        "refine answers by a dense CRF; --evaluate then gives the scores before and after it",
        task=EVALUATING,
    )
    plot: bool = flag("with --evaluate: draw every test picture", task=EVALUATING)
    boundary: bool = flag(
        "with --evaluate: scores of the borders, boundary F1 and trimap mIoU", task=EVALUATING
    )
    portrait: bool = flag(
        "with --evaluate: the errors on the test pictures by class, place and size, with the "
        "best, median and worst pictures, printed and drawn into --prediction-dir",
        task=EVALUATING,
        brief="errors by class, place and size, and the worst pictures",
    )
    prediction_dir: Path = option(
        "folder of what is written of pictures (in the current folder: prediction/, segmented/ of "
        "--segment)",
        type=at_home,
        default=Path("prediction"),
        task=EVALUATING,
        brief="folder of what is written of pictures (prediction/ or segmented/)",
    )
    verbose: int = option(
        "0 prints no progress and no line per picture; 2 the layers, with --summary (1)",
        type=whole_number(0),
        default=1,
        task=MACHINE,
    )

    # No options: what `settings` finds out.
    size: tuple[int, int] = (480, 640)  # (H, W) at which training ends, though it may grow to it
    schedule_epochs: int = 100  # over which the rate falls: `epochs`, until a resumed run has more
    opponent_width: int = OPPONENT_WIDTH  # filters of the opponent's first layers, see `--narrow`


# What an option is listed under unless it says otherwise; those of one task come in this order.
RECORDS = {TRAINING: Run, DATA: Data, NETWORK: Asked}
# What is asked of a network beyond its name and the pictures that go in: keywords of its builder.
NO_SETTINGS = ("model", "narrow", "normalisation", "height", "width", "channels")
SETTINGS = tuple(name for name in options(Asked) if name not in NO_SETTINGS)
OPTIONS: dict[str, Mapping] = options(Asked) | options(Data) | options(Run)
PRESETS: dict[str, dict] = {
    preset: {name: about["presets"][place] for name, about in OPTIONS.items() if about["presets"]}
    for place, preset in enumerate(PRESET_NAMES)
}
