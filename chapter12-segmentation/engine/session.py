"""The data of a training: labels, the pictures that choose the best weights, generators."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import keras
import numpy as np

from data_generator import DataGenerator, split_keys
from engine.adversarial import Beside, Phases, oppose
from engine.distribution import agree, gathered, is_first, own_share, place
from engine.growth import Stage, stages
from engine.records import Data, Network, Run
from engine.runs import Ledger, describe_run, run_files
from engine.weights import epochs_done, read_configuration, read_network, read_reading
from evaluation import confusion_matrices
from fast.feed import read_ahead
from losses import LOSSES, median_frequency_weights
from metrics import scores
from utils.border_weights import border_weights
from utils.classes import Classes, check_classes, find_classes, known_classes
from utils.errors import UserError
from utils.files import data_folder
from utils.label_maps.fresh import ensure_labels, is_there
from utils.label_maps.store import LabelStore
from utils.label_maps.unlabelled import open_unlabelled
from utils.reading import Reading

# What processes of one training may be given otherwise: where things are, and how they are said.
OF_EACH = ("data_path", "unlabelled", "save_dir", "prediction_dir", "start_from", "restore_weights")
OF_EACH += ("pretrained", "image_file", "workers", "verbose", "process_id", "coordinator", "plot")


def open_labels(data: Data, labels: str, verbose: bool) -> LabelStore:
    """The label store of the training or the test set, made from its annotations when needed."""
    folder = data_folder(data.data_path)
    return ensure_labels(folder / labels, verbose, folder, data.asked())


def reading_of(weights: Path, data: Data) -> Reading:
    """How pictures are read for a network: as in its training, but for what the options say."""
    asked = {name: getattr(data, name) for name in ("scale", "turn")}
    return replace(read_reading(weights), **{n: v for n, v in asked.items() if v is not None})


def classes_of(data: Data, verbose: bool = False) -> Classes:
    """The classes that training would find; where none are decided yet, labels are made.

    Args:
        data: of the training.
        verbose: print what is found when labels are made.

    Raises:
        UserError: there are no labels, or they cannot be used.
    """
    folder = data_folder(data.data_path)
    place = find_classes((folder / data.train_labels).parent)
    return known_classes(place) or open_labels(data, data.train_labels, verbose).classes


@dataclass(frozen=True)
class Session:
    """What a training needs besides the network itself.

    Attributes:
        network: with the classes of the data.
        train_keys: the pictures to train on, of `store`.
        validation_keys: those that choose the best weights, of `validation`.
        class_weights: (n_classes,) floats, or None.
        plan: the sizes still to go through.
        ledger: of the run.
    """

    network: Network
    data: Data
    run: Run
    store: LabelStore
    train_keys: list[str]
    validation: LabelStore
    validation_keys: list[str]
    class_weights: np.ndarray | None
    plan: list[Stage]
    ledger: Ledger

    def generators(self, size: tuple[int, int]) -> tuple:
        """The batches of training and of validation for a network of this size (H, W)."""
        data = self.data
        common = {"size": size, "batch_size": data.batch_size}
        common |= {"channels": self.network.input_shape[2]}
        pictures = data.pictures_per_epoch or len(self.train_keys)
        if keras.backend.backend() == "jax":
            # XLA would compile the whole step once more for a last batch of fewer pictures; the
            # next epoch goes on where this one ends.
            pictures += -pictures % data.batch_size
        border = self.run.loss == "border"
        train = DataGenerator(
            self.store,
            keys=self.train_keys,
            shuffle=True,
            seed=self.run.seed,
            augment=data.augment,
            pictures_per_epoch=pictures,
            weigh=partial(border_weights, class_weights=self.class_weights) if border else None,
            share=place(),
            **common,
        )
        # The network is given pictures of its size, its answer is scored at their own.
        validation = DataGenerator(
            self.validation,
            keys=own_share(self.validation_keys),
            label_size="original",
            **common,
        )
        validation = read_ahead(validation, data.workers)
        if not data.unlabelled:
            return read_ahead(train, data.workers), validation
        unlabelled = DataGenerator(
            open_unlabelled(
                data.unlabelled, self.store.classes, self.store.reading, self._held_back()
            ),
            shuffle=True,
            seed=self.run.seed + 1,  # else they would be varied as the labelled ones beside them
            augment=data.augment,
            pictures_per_epoch=len(train) * data.batch_size,
            share=place(),
            **common,
        )
        parts = (read_ahead(part, data.workers) for part in (train, unlabelled))
        return Beside(*parts), validation

    def _held_back(self) -> set[Path]:
        """The pictures that choose the best weights or are scored, for no training to see."""
        held = [(self.validation, self.validation_keys)]
        if is_there(data_folder(self.data.data_path) / self.data.test_labels):
            tests = open_labels(self.data, self.data.test_labels, False)
            held.append((tests, tests.keys))
        # Of shards the pictures are in archives.
        held = [(store, keys) for store, keys in held if isinstance(store, LabelStore)]
        return {store.picture_path(key).resolve() for store, keys in held for key in keys}

    def loss(self) -> keras.losses.Loss:
        """The loss that was asked for, with its class weights."""
        return LOSSES[self.run.loss](self.class_weights)

    def opposed(self, model: keras.Model) -> keras.Model:
        """The network as it is trained: with the opponent that was asked for, if any."""
        run = self.run
        if run.adversarial == "none":
            return model
        return oppose(model, run.adversarial, run.adversarial_weight, run.seed, run.opponent_width)

    def phases(self) -> list[keras.callbacks.Callback]:
        """The callback that leads an opponent through the run, if there is one."""
        run = self.run
        if run.adversarial == "none":
            return []
        return [Phases(run.adversarial, run.schedule_epochs, run.verbose > 0)]

    def patience(self, stage: Stage) -> int | None:
        """After how many epochs to stop; of those at the whole size alone."""
        return self.run.patience if stage.size == self.run.size else None


def scorer_of(
    model: keras.Model, data: keras.utils.PyDataset, count: int
) -> Callable[[], dict[str, float]]:
    """A function that scores a network as it is.

    Args:
        model: the network.
        data: validation pictures, those of this process.
        count: of those of all processes.
    """
    return lambda: scores(gathered(confusion_matrices(model, data), count))


def refuse_other_pictures(checkpoint: Path, described: dict, labels: tuple[str, str]) -> None:
    """Refuse to go on with other pictures.

    Which of a set choose the best weights is drawn from all, by their places: with others some
    would choose that were trained on. And scores of other pictures cannot be compared.

    Args:
        checkpoint: of the run.
        described: its configuration as it would be now.
        labels: names of the set that is trained on, and of that which chooses.

    Raises:
        UserError: the pictures are not those that the run began with.
    """
    then = read_configuration(checkpoint).get("pictures") or described["pictures"]
    for name, before, now in zip(labels, then, described["pictures"], strict=True):
        if before != now:
            raise UserError(
                f"{name} lists other pictures, or in another order, than when the run in "
                f"{checkpoint} began; begin a new run, without --resume."
            )


def open_session(network: Network, data: Data, run: Run) -> Session:
    """Open the data, check that they fit, and say what is going to happen.

    Raises:
        UserError: labels are missing, hold no picture or no class, or have other classes than the
            weights; or the run to resume has all its epochs.
    """
    store = open_labels(data, data.train_labels, run.verbose > 0)
    if not len(store):
        raise UserError(f"{data.train_labels} lists no picture; annotate some first.")
    share = 0 if data.val_labels else data.validation_split
    train_keys, validation_keys = split_keys(store.keys, share)
    if share and not validation_keys:
        raise UserError(
            f"{data.train_labels} holds one picture, which cannot be divided into training and "
            "validation; annotate more, or give --validation-split 0."
        )
    validation, chooses = store, data.train_labels
    if not validation_keys:
        if not data.val_labels:
            print(
                "The test pictures pick the best weights, as in the book: scores on them flatter."
            )
        chooses = data.val_labels or data.test_labels
        validation = open_labels(data, chooses, run.verbose > 0)
        validation_keys = validation.keys
        if not validation_keys:
            raise UserError(f"{chooses} lists no picture; annotate some first.")
        check_classes(store.classes, data.train_labels, validation.classes, chooses)
    if len(validation_keys) < place()[1]:
        raise UserError(
            f"{len(validation_keys)} pictures choose the best weights, fewer than there are "
            "processes; give a larger --validation-split, or start fewer processes."
        )
    n_classes = len(store.classes)
    if n_classes < 2:
        raise UserError(f"{data.train_labels} holds no class but the background; annotate objects.")
    if chooses != data.test_labels and (
        run.evaluate or is_there(data_folder(data.data_path) / data.test_labels)
    ):
        # Now, as what is wrong with them is not to be found after hours of training.
        test = open_labels(data, data.test_labels, run.verbose > 0)
        check_classes(store.classes, data.train_labels, test.classes, data.test_labels)
    files = run_files(network, data, run)
    earlier = files.last if run.resume else run.restore_weights
    if earlier:
        check_classes(read_network(earlier).classes, earlier, store.classes, data.train_labels)
    network = replace(network, classes=store.classes)
    # Before the run replaces files: of those in the repository the commit would be "dirty".
    # The order of those of a file of their own changes nothing.
    choosing = validation_keys if validation is store else sorted(validation_keys)
    lists = train_keys, choosing
    described = describe_run(network, data, run, store.reading, store.sizes, lists)
    if run.resume:
        refuse_other_pictures(files.last, described, (data.train_labels, chooses))
    # What was built before, to be printed or to reckon its memory, has drawn weights too.
    keras.utils.set_random_seed(run.seed)
    ledger = Ledger(files, network, described, writes=is_first())
    done = epochs_done(files.last) if run.resume else 0
    if place()[1] > 1:
        given = described["network"] | described["data"] | described["run"]
        given = {name: value for name, value in given.items() if name not in OF_EACH}
        agree(given | {"epoch": done, "list of pictures": described["pictures"]})
    if done >= run.epochs and ledger.recall():
        raise UserError(
            f"the run in {files.last} has all of its {done} epochs; raise --epochs to go on."
        )
    class_weights = None
    if run.class_weights == "median":
        class_weights = median_frequency_weights((store[key] for key in train_keys), n_classes)
    elif run.class_weights != "none":
        class_weights = np.array([float(word) for word in run.class_weights.split(",")])
        if len(class_weights) != n_classes:
            raise UserError(
                f"--class-weights {run.class_weights} has {len(class_weights)} numbers, and there "
                f"are {n_classes} classes ({', '.join(store.classes.names)}); give one for each."
            )
    plan = stages(run.size, run.epochs, run.schedule_epochs, run.grow)
    if run.verbose:
        print("# of classes", n_classes)
        print("Batch size: ", data.batch_size)
        print(
            f"Pictures: {len(train_keys)} of {data.train_labels} to train on, "
            f"{len(validation_keys)} of {'it' if validation is store else chooses} choose the best "
            f"weights; --evaluate scores {data.test_labels}."
        )
        sizes = ("{}x{} to epoch {}".format(*stage.size, stage.end) for stage in plan)
        print(f"Sizes: {', '.join(sizes)}; the rate falls over {run.schedule_epochs} epochs.")
    return Session(
        network,
        data,
        run,
        store,
        train_keys,
        validation,
        validation_keys,
        class_weights,
        [stage for stage in plan if stage.end > done],
        ledger,
    )
