"""Adversarial training: a segmenter and an opponent, each with its own loss, in one step.

The opponents are `zoo.discriminators`. With l(t) = -log(sigmoid(t)), y for true class maps, s for
the segmenter's answer and a for the opponent's verdict, a logit that is high for "true":

- Luc et al., 2016: a is of a map as a whole. The opponent lowers l(a(y)) + l(-a(s)), the segmenter
  its own loss + weight * l(a(s)), in the form that does not saturate. What a is shown:
  "luc-basic" class maps; "luc", their main one, each class map times each colour; "luc-scaled"
  class maps, the true ones made like the segmenter's, see `scaled`. First the opponent learns
  alone, then both.
- Hung et al., 2018: a is of every pixel. Pictures without labels stand beside each batch: on these
  the segmenter lowers weight / 10 * l(a(s)) from the start and, in the second phase, 10 * weight *
  the cross-entropy to its own answer where sigmoid(a) > 0.2. The opponent sees the labelled ones.
- Souly et al., 2017: the segmenter is the discriminator. It has a class more, "false", whose logit
  is 0, so that its weights remain those of a segmenter (Salimans et al., "Improved Techniques for
  Training GANs", 2016, section 5): a is the log of the sum of exp(logit). The opponent G makes
  pictures of noise. The segmenter lowers its own loss + weight * (l(a(x)) + l(-a(G))) over pictures
  x with and without labels, G lowers l(a(G)).

Void pixels of labelled pictures are left out of all of it.

Differs from the papers: both players take a step in every step, on the same batch, as Hung's code
does (Luc's slow scheme has 500 of one, then 500 of the other); Luc's opponent learns alone while
the segmenter learns by its own loss; the opponent's rate is constant; Souly's pictures come of
noise alone, not of class labels as in their conditional form.

Gradients: the loss of the whole is the sum of both players', and each has the other's weights
stopped (`aside`). So one stock train step of Keras does it, on every backend.
"""

import math
import random
from contextlib import contextmanager

import keras
from keras import ops

from engine.records import OPPONENT_WIDTH
from fast.adam import adam
from losses import pixel_entropy, weighted_mean, without_void
from utils.errors import UserError
from zoo.discriminators import build_generator, build_hung, build_luc, noise_shape
from zoo.parts import SCALE

RATE = 1e-4  # of every opponent; Hung's
TAU = 0.9  # least probability of the true class in Luc's scaled maps
TRUSTED = 0.2  # verdict above which Hung's segmenter believes itself
UNLABELLED = 0.1  # what Hung's verdict on unlabelled pictures counts, of that on labelled ones
SEMI = 10.0  # what Hung's own answers count, of the weight: 0.1 of 0.01
# The share of a run after which the second phase begins. Hung: after 5,000 of 20,000 steps.
SECOND_PHASE = {"luc": 0.1, "luc-basic": 0.1, "luc-scaled": 0.1, "hung": 0.25, "souly": 0.0}


def true_maps(labels, n_classes: int):
    """Label maps as class maps of 0 and 1, and which pixels are labelled.

    Args:
        labels: (B, H, W) integers of any type, 255 for void.
        n_classes: number of classes.

    Returns:
        (B, H, W, n_classes) float32, 0 where void; (B, H, W) float32, 0 where void, else 1.
    """
    labels, valid = without_void(labels)
    valid = ops.cast(valid, "float32")
    return ops.one_hot(labels, n_classes, dtype="float32") * valid[..., None], valid


def product(maps, pictures):
    """Luc's product encoding, the picture cut out by each class.

    Args:
        maps: (B, H, W, C) class maps.
        pictures: (B, H, W, channels), 0 to 255 of any type.

    Returns:
        (B, H, W, C * channels) float32.
    """
    colours = ops.cast(pictures, "float32") * SCALE
    parts = maps[..., :, None] * colours[..., None, :]  # (B, H, W, C, channels)
    return ops.reshape(parts, (-1, *parts.shape[1:3], parts.shape[3] * parts.shape[4]))


def scaled(truth, predicted, tau: float = TAU):
    """Luc's scaled encoding: true maps that are as like to the predicted ones as they can be.

    The true class has max(tau, s) of its prediction s; the others share what is left as they do in
    the prediction.

    Args:
        truth: (B, H, W, C) of 0 and 1; all 0 (void) stays so.
        predicted: (B, H, W, C) probabilities.
        tau: the least that the true class has.

    Returns:
        (B, H, W, C) that sum to 1.
    """
    s = ops.sum(truth * predicted, -1, keepdims=True)
    kept = ops.maximum(s, tau)
    others = predicted * (1 - kept) / ops.maximum(1 - s, keras.config.epsilon())
    valid = ops.max(truth, -1, keepdims=True)
    return (truth * kept + (1 - truth) * others) * valid


def entropy(verdict, truth: bool):
    """-log of the probability that a verdict, a logit, gives to the truth; of the same shape."""
    return ops.softplus(-verdict if truth else verdict)


def aside(model: keras.Model, inputs, learn: bool = True):
    """What a network makes of inputs in training, without a trace in its moving statistics.

    Args:
        model: the network.
        inputs: which gradients reach in any case.
        learn: whether they reach the weights of the network.
    """
    weights = [variable.value for variable in model.trainable_variables]
    if not learn:
        weights = [ops.stop_gradient(weight) for weight in weights]
    state = [variable.value for variable in model.non_trainable_variables]
    return model.stateless_call(weights, state, inputs, training=True)[0]


class Players(keras.optimizers.Optimizer):
    """Two optimizers as one: the segmenter's, whose rate this one has, and the opponent's.

    Args:
        segmenter, opponent: optimizers.
        is_opponents: tells of a variable whether it is the opponent's.
    """

    def __init__(self, segmenter, opponent, is_opponents):
        super().__init__(learning_rate=0.0, name="players")
        self.segmenter, self.opponent, self.is_opponents = segmenter, opponent, is_opponents

    def _parts(self, values, variables):
        """The values of the segmenter's variables, and of the opponent's."""
        of = ([], [])
        for value, variable in zip(values, variables, strict=True):
            of[self.is_opponents(variable)].append(value)
        return of

    def build(self, variables):
        """Make the variables of both."""
        super().build(variables)
        ours, theirs = self._parts(variables, variables)
        self.segmenter.build(ours)
        self.opponent.build(theirs)

    @property
    def variables(self):
        """Those of both."""
        return [*self.segmenter.variables, *self.opponent.variables]

    @property
    def iterations(self):
        """Steps that the segmenter has behind it."""
        return self.segmenter.iterations

    @property
    def learning_rate(self):
        """The segmenter's."""
        return self.segmenter.learning_rate

    @learning_rate.setter
    def learning_rate(self, rate):
        self.segmenter.learning_rate = rate

    def apply(self, grads, trainable_variables=None):
        """A step of both."""
        variables = trainable_variables or self._trainable_variables
        if not self.built:
            self.build(list(variables))
        ours, theirs = self._parts(grads, variables)
        self.segmenter.apply(ours)
        self.opponent.apply(theirs)

    def save_own_variables(self, store):
        """Nothing: Keras finds the two by itself."""

    def load_own_variables(self, store):
        """See `save_own_variables`."""


@keras.saving.register_keras_serializable(package="segmentation")
class Phase(keras.layers.Layer):
    """A number that is 0 in the first phase of a run and 1 in the second; no inputs."""

    def __init__(self, **options):
        super().__init__(**options)
        self.second = self.add_weight(shape=(), initializer="ones", trainable=False, name="second")
        self.built = True


@keras.saving.register_keras_serializable(package="segmentation")
class Noise(keras.layers.Layer):
    """Noise from -1 to 1: (B, any) -> (B, *shape) float32.

    Args:
        shape: of the noise for one picture.
        seed: of the first.
    """

    def __init__(self, shape: tuple[int, ...], seed: int, **options):
        super().__init__(**options)
        self.shape, self.seeds = shape, keras.random.SeedGenerator(seed)
        self.built = True

    def call(self, inputs):
        shape = (ops.shape(inputs)[0], *self.shape)
        return keras.random.uniform(shape, -1, 1, seed=self.seeds)


class Adversarial(keras.Model):
    """A segmenter with an opponent: its layers, inputs and outputs, and a loss for both players.

    Labels of a batch are (B, H, W), or these and pictures without labels (B', H, W, channels). The
    loss that is told is the segmenter's; `opponent_loss` is that of the opponent.

    Args:
        inputs, outputs, name: as for `keras.Model`, of the segmenter; a subclass may add outputs.
        segmenter: the network itself.
        opponent: uncompiled.
        weight: what the opponent's verdict counts for the segmenter; 0 leaves it out.
    """

    def __init__(self, inputs, outputs, name=None, *, segmenter, opponent, weight: float):
        super().__init__(inputs, outputs, name=name)
        self._segmenter = lambda: segmenter  # else Keras would count its weights twice
        self.opponent, self.weight, self.phase = opponent, float(weight), Phase(name="phase")
        self.opponent_loss = keras.metrics.Mean(name="opponent_loss")

    def compile(self, optimizer, loss, **options):
        """As a segmenter is compiled."""
        self._segmenter().compile(loss=loss)
        known = {id(variable) for variable in self.opponent.trainable_variables}
        players = Players(optimizer, adam(RATE), lambda variable: id(variable) in known)
        super().compile(optimizer=players, **options)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The segmenter's loss; the opponent's has a gradient in it, and no value."""
        labels, unlabelled = y if isinstance(y, list | tuple) else (y, None)
        segmenter = self._segmenter()
        outputs = keras.tree.flatten(y_pred)
        answers = outputs[: len(segmenter.outputs)]
        answers = answers[0] if len(answers) == 1 else answers
        loss = segmenter.compute_loss(x, labels, answers, sample_weight, training)
        term, theirs = self.play(x, labels, outputs, unlabelled)
        self.opponent_loss.update_state(theirs)
        return loss + self.weight * term + (theirs - ops.stop_gradient(theirs))

    def play(self, pictures, labels, outputs, unlabelled):
        """What the segmenter is told by its opponent, not weighted, and the opponent's loss.

        Args:
            pictures: (B, H, W, channels), 0 to 255 of any type.
            labels: (B, H, W) integers, 255 for void.
            outputs: of the network in training, the answer first.
            unlabelled: (B', H, W, channels), or None.

        Returns:
            Two scalars. Gradients of the first are to reach no weight of the opponent, those of the
            second no weight of the segmenter. The first is 0 where `weight` is.
        """
        raise NotImplementedError


class Luc(Adversarial):
    """Luc's opponent, which judges whole maps; `encoding` is "luc", "luc-basic" or "luc-scaled"."""

    def __init__(self, *arguments, encoding: str, **options):
        super().__init__(*arguments, **options)
        self.encoding = encoding

    def encode(self, maps, pictures):
        """What the opponent is shown of class maps."""
        return product(maps, pictures) if self.encoding == "luc" else maps

    def play(self, pictures, labels, outputs, unlabelled):
        truth, valid = true_maps(labels, outputs[0].shape[-1])
        answer = outputs[0] * valid[..., None]
        given = ops.stop_gradient(answer)
        if self.encoding == "luc-scaled":
            truth = scaled(truth, given)
        counted = ops.max(valid, (1, 2))  # (B,), 0 for a picture that is void all over

        def judged(encoded, truth: bool, judge):
            logits = judge(encoded)  # (B, 2)
            return weighted_mean(entropy(logits[:, 1] - logits[:, 0], truth), counted)

        def learning(maps):
            return self.opponent(maps, training=True)

        theirs = judged(self.encode(truth, pictures), True, learning)
        theirs += judged(self.encode(given, pictures), False, learning)
        if not self.weight:
            return 0.0, theirs / 2
        shown = self.encode(answer, pictures)
        term = judged(shown, True, lambda maps: aside(self.opponent, maps, learn=False))
        return self.phase.second * term, theirs / 2


class Hung(Adversarial):
    """Hung's opponent, which judges every pixel, and what follows for pictures without labels."""

    def play(self, pictures, labels, outputs, unlabelled):
        truth, valid = true_maps(labels, outputs[0].shape[-1])
        answer = outputs[0] * valid[..., None]
        true = self.opponent(truth, training=True)  # (B, H, W)
        false = self.opponent(ops.stop_gradient(answer), training=True)
        theirs = weighted_mean(entropy(true, True), valid)
        theirs += weighted_mean(entropy(false, False), valid)
        if not self.weight:
            return 0.0, theirs / 2
        verdict = aside(self.opponent, answer, learn=False)
        term = weighted_mean(entropy(verdict, True), valid)
        if unlabelled is not None:
            answer = keras.tree.flatten(aside(self, unlabelled))[0]
            verdict = aside(self.opponent, answer, learn=False)
            term += UNLABELLED * ops.mean(entropy(verdict, True))
            term += SEMI * self.phase.second * own_entropy(answer, verdict)
        return term, theirs / 2


def own_entropy(answer, verdict):
    """The cross-entropy of an answer to its own most probable classes, where it is trusted.

    Args:
        answer: (B, H, W, C) probabilities.
        verdict: (B, H, W) logits; pixels whose sigmoid is above `TRUSTED` count.

    Returns:
        A scalar, the mean over those pixels; 0 where there are none.
    """
    verdict = ops.stop_gradient(verdict)
    trusted = ops.cast(verdict > math.log(TRUSTED / (1 - TRUSTED)), "float32")
    labels = ops.stop_gradient(ops.cast(ops.argmax(answer, -1), "int32"))
    return weighted_mean(pixel_entropy(labels, answer), trusted)


class Souly(Adversarial):
    """The segmenter against a generator of pictures; `logits` more outputs are its logits."""

    def __init__(self, *arguments, logits: int, seed: int, **options):
        super().__init__(*arguments, **options)
        self.logits = logits
        self.noise = Noise(noise_shape(self.input_shape[1:]), seed, name="noise")

    def judged(self, outputs):
        """The log of what is true against what is false, (B, H, W); of several heads the mean."""
        heads = [ops.cast(logits, "float32") for logits in outputs[-self.logits :]]
        return sum(ops.logsumexp(logits, axis=-1) for logits in heads) / self.logits

    def play(self, pictures, labels, outputs, unlabelled):
        made = self.opponent(self.noise(pictures), training=True)  # (B, H, W, channels)
        verdict = self.judged(aside(self, made, learn=False))
        theirs = ops.mean(entropy(verdict, True))
        if not self.weight:
            return 0.0, theirs
        _, valid = without_void(labels)
        true = self.judged(outputs)
        term = weighted_mean(entropy(true, True), ops.cast(valid, "float32"))
        if unlabelled is not None:
            term += ops.mean(entropy(self.judged(aside(self, unlabelled)), True))
        false = self.judged(aside(self, ops.stop_gradient(made)))
        return term + ops.mean(entropy(false, False)), theirs


def logits_of(answer: keras.KerasTensor) -> list[keras.KerasTensor]:
    """What the softmax of an answer is of, or the softmaxes of which it is the mean, if any."""
    last = answer._keras_history.operation
    if isinstance(last, keras.layers.Average):
        return [logits for head in last.input for logits in logits_of(head)]
    return [last.input] if isinstance(last, keras.layers.Softmax) else []


@contextmanager
def apart(seed: int):
    """Draw first weights from a seed of their own, and leave those of others as they would be."""
    state = random.getstate()  # of which Keras takes the seed of each initialiser
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


def oppose(
    segmenter: keras.Model, kind: str, weight: float, seed: int = 0, width: int = OPPONENT_WIDTH
) -> Adversarial:
    """Give a network an opponent to be trained with.

    Args:
        segmenter: uncompiled, from raw pictures to probabilities; of several outputs the first is
            the answer.
        kind: "luc", "luc-basic", "luc-scaled", "hung" or "souly".
        weight: what the opponent counts, from 0 up.
        seed: of its first weights and of noise.
        width: filters of the opponent, as its builder has it.

    Returns:
        A network over the same layers, to be compiled and trained as the segmenter would be.

    Raises:
        UserError: the network has no logits for Souly's.
    """
    _, *size, channels = segmenter.input_shape
    n_classes = segmenter.outputs[0].shape[-1]
    outputs, more = list(segmenter.outputs), {}
    with apart(seed):
        if kind == "souly":
            logits = logits_of(segmenter.outputs[0])
            if not logits:
                raise UserError(
                    f"--adversarial souly needs the logits of a network, and {segmenter.name} does "
                    "not end in a softmax; choose hung."
                )
            outputs += logits
            network, more = Souly, {"logits": len(logits), "seed": seed}
            opponent = build_generator((*size, channels), width=width)
        elif kind == "hung":
            network, opponent = Hung, build_hung((*size, n_classes), width=width)
        else:
            shown = n_classes * (channels if kind == "luc" else 1)
            network, more = Luc, {"encoding": kind}
            opponent = build_luc((*size, shown), width=width)
    outputs = outputs[0] if len(outputs) == 1 else outputs
    more |= {"segmenter": segmenter, "opponent": opponent, "weight": weight}
    return network(segmenter.inputs[0], outputs, segmenter.name, **more)


class Phases(keras.callbacks.Callback):
    """Begins the second phase, and tells how the opponent fares; comes before the ledger's.

    Args:
        kind: of the opponent, see `oppose`.
        epochs: of the whole run, over which its phases are shared out.
        verbose: print a line per epoch.
    """

    def __init__(self, kind: str, epochs: int, verbose: bool = True):
        super().__init__()
        self.begin, self.verbose = math.ceil(SECOND_PHASE[kind] * epochs), verbose
        self.begin = min(self.begin, epochs - 1)  # a run of one epoch has no first phase
        self.next = "the network hears of it"
        if kind == "hung":
            self.next = "it vouches for answers to pictures without labels, if there are any,"

    def on_epoch_begin(self, epoch, logs=None):
        self.model.phase.second.assign(float(epoch >= self.begin))

    def on_epoch_end(self, epoch, logs=None):
        loss = logs.pop("opponent_loss")  # the history has no column for it
        if self.verbose:
            told = (
                f"loss of the opponent {loss:.4f} (0.69 where it guesses, 0 where it always wins)"
            )
            if epoch < self.begin:
                told += f"; {self.next} from epoch {self.begin + 1} on"
            print(told)


class Beside(keras.utils.PyDataset):
    """Batches with pictures without labels beside their labels: (x, (y, unlabelled)).

    Args:
        labelled: batches (x, y), or (x, y, weights of the pixels).
        unlabelled: as many batches, whose pictures are taken.
    """

    def __init__(self, labelled: keras.utils.PyDataset, unlabelled: keras.utils.PyDataset):
        super().__init__(workers=1)
        self.labelled, self.unlabelled = labelled, unlabelled

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        return len(self.labelled)

    def __getitem__(self, index: int):
        """Batch `index` of this epoch; errors as of the data sets."""
        x, y, *weights = self.labelled[index]
        return x, (y, self.unlabelled[index][0]), *weights

    @property
    def epoch(self) -> int:
        """0-based; fixes order and variation."""
        return self.labelled.epoch

    @epoch.setter
    def epoch(self, number: int) -> None:
        self.labelled.epoch = self.unlabelled.epoch = number

    @property
    def failure(self) -> Exception | None:
        """The error that ended the reading of a batch, or None."""
        return self.labelled.failure or self.unlabelled.failure
