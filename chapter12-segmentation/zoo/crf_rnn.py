"""CRF-as-RNN: the mean field of a dense CRF as layers behind FCN-8s, trained with it.

Shuai Zheng et al., "Conditional Random Fields as Recurrent Neural Networks", 2015. Idea: an
iteration of the mean field of `utils.crf` is a softmax, filters, products with small matrices and a
sum, all of which have gradients. So the network and the weights of the CRF learn together, with 5
iterations in training and 10 in prediction.

What pixels say is weighed class by class (C x C, for places and for colours) before it is given to
the classes by their compatibility (C x C). One of these is redundant: their product is what counts.

Layers are called as those of fcn8s, whose weights the authors begin with: --start-from takes all.

Differs from the paper: FCN-8s is that of `zoo.fcn`. The authors let the CRF's weights learn 1,000
to 10,000 times as fast as the network, whose rate was 1e-13 for a sum over all pixels; here, with
a mean, all learn alike.

Parameters: those of FCN-8s and 3 C C.
"""

import math

import keras
import numpy as np
from keras import layers, ops

from utils.errors import UserError
from zoo.fcn import build_fcn_vgg16
from zoo.vgg import CONVOLUTIONS

# Of the authors' code: widths in pixels and colours, and what the filters count at first.
PLACES, COLOURS, NEAR = 160.0, 3.0, 3.0
SPATIAL, BILATERAL = 3.0, 5.0
LARGEST_KEY = 2**31


def basis_of(d: int) -> np.ndarray:
    """From d dimensions to d + 1 coordinates of sum 0, in units of d + 1: (d + 1, d)."""
    basis = np.triu(np.ones((d + 1, d)))
    basis[np.arange(1, d + 1), np.arange(d)] = -np.arange(1, d + 1)
    return basis * math.sqrt(2 / 3) / np.linalg.norm(basis, axis=0)


def numbering(
    size: tuple[int, int], channels: int, sa: float, sb: float
) -> tuple[np.ndarray, np.ndarray, int]:
    """How the corners of all pictures of a size are numbered.

    Returns:
        What each coordinate is at least, and what a step along it adds, (d + 1,) int32; nothing for
        the first, which follows from the others. And how many numbers each of the d + 1 kinds of
        corners has.

    Raises:
        UserError: there are more corners than numbers of 32 bits.
    """
    ranges = [255 / sb] * channels + [side / sa for side in size]
    d = len(ranges)
    lowest = np.floor(np.minimum(basis_of(d), 0) @ ranges).astype("int32") - 3
    spans = np.ceil(np.maximum(basis_of(d), 0) @ ranges).astype("int32") + 3 - lowest
    strides = [0] + [math.prod(map(int, spans[1:axis])) for axis in range(1, d + 1)]
    each = math.prod(map(int, spans[1:]))
    if each * (d + 1) >= LARGEST_KEY:
        cure = "give smaller pictures" if channels <= 3 else "give --channels 3 or 1"
        raise UserError(
            f"pictures of {channels} channels and {size[0]}x{size[1]} pixels have too many corners "
            f"for CRF-as-RNN; {cure}."
        )
    return lowest, np.array(strides, "int32"), each


class Lattice:
    """The permutohedral lattice of pictures, as `utils.crf.lattice`, in shapes that do not vary.

    A corner has a number of 32 bits: which of the d + 1 corners it is, and d of its coordinates.
    All N (d + 1) corners are sorted by it, and the first of those alike is their place in the table
    of values, whose last row is zeros: what is missing is there.

    Args:
        pictures: (B, H, W, channels) float32, 0 to 255; they get no gradient.
        sa, sb: widths in places and colours.

    Raises:
        UserError: there are more corners than numbers of 32 bits.
    """

    def __init__(self, pictures, sa: float, sb: float):
        _, height, width, channels = pictures.shape
        self.batch, self.pixels = ops.shape(pictures)[0], height * width
        self.d = d = channels + 2
        self.rows = self.pixels * (d + 1) + 1  # of the table of one picture

        colours = ops.reshape(ops.clip(pictures, 0, 255), (-1, self.pixels, channels)) / sb
        places = np.stack(np.indices((height, width), "float32"), -1).reshape(1, -1, 2) / sa
        places = ops.ones_like(colours[..., :1]) * ops.convert_to_tensor(places, "float32")
        features = ops.stop_gradient(ops.concatenate([colours, places], -1))  # (B, N, d)
        lowest, strides, each = numbering((height, width), channels, sa, sb)
        corners, self.shares = self._corners(features, lowest, strides, each)
        # (B N (d + 1),) and (d + 1, 2, B rows)
        self.places, self.along = self._find(corners, strides, each)

    def _corners(self, features, lowest: np.ndarray, strides: np.ndarray, each: int):
        """As in `utils.crf`, both (B, N, d + 1), int32 and float32; see `numbering`."""
        d = self.d
        # Coordinates in units of d + 1; a product of matrices may be rounded to few digits.
        spread = ops.expand_dims(features, -2) * np.float32(basis_of(d))
        raised = ops.sum(spread, -1)  # (B, N, d + 1)
        nearest = ops.round(raised)
        left = raised - nearest
        one, other = ops.expand_dims(left, -2), ops.expand_dims(left, -1)
        earlier = np.tril(np.ones((d + 1, d + 1), bool), -1)
        before = ops.logical_or(one > other, ops.logical_and(one == other, earlier))
        rank = ops.sum(ops.cast(before, "int32"), -1)
        rank = rank + ops.cast(ops.sum(nearest, -1, keepdims=True), "int32")
        down, up = ops.cast(rank > d, "int32"), ops.cast(rank < 0, "int32")
        nearest = ops.cast(nearest, "int32") + up - down
        rank = rank + (d + 1) * (up - down)
        rising = ops.sort(raised - ops.cast(nearest, "float32"), -1)
        shares = [1 + rising[..., :1] - rising[..., -1:], rising[..., 1:] - rising[..., :-1]]

        keys = ops.sum((nearest - lowest) * strides, -1, keepdims=True)
        number = np.arange(d + 1, dtype="int32")  # corner k: d + 1 less along the k last in rank
        lower = ops.cast(ops.expand_dims(rank, -1) > d - number, "int32")  # (B, N, d + 1, d + 1)
        keys = keys - ops.sum(lower * strides[:, None], -2) + number * each
        return keys, ops.stop_gradient(ops.concatenate(shares, -1))

    def _find(self, corners, strides: np.ndarray, each: int):
        """Places of corners in the table of all pictures, and of both neighbours of its rows.

        Returns:
            (B N (d + 1),) and (d + 1, 2, B rows) int32.
        """
        nowhere, total = self.rows - 1, int(strides.sum())
        strides = strides[:, None]

        def find(picture):
            table = ops.sort(picture)
            # A step is d along one coordinate, -1 along the others: to the corner before.
            down = ops.where(table < each, self.d * each - total, -each) + strides
            up = ops.where(table >= self.d * each, total - self.d * each, each) - strides
            wanted = ops.reshape(table + ops.stack([down, up], 1), (-1,))
            found = ops.cast(ops.searchsorted(table, wanted), "int32")
            there = ops.take(table, ops.minimum(found, nowhere - 1)) == wanted
            along = ops.reshape(ops.where(there, found, nowhere), (*down.shape[:1], 2, -1))
            along = ops.pad(along, ((0, 0), (0, 0), (0, 1)), constant_values=nowhere)
            return ops.cast(ops.searchsorted(table, picture), "int32"), along

        # (B, N (d + 1)) and (B, d + 1, 2, rows)
        places, along = ops.map(find, ops.reshape(corners, (-1, nowhere)))
        begin = ops.arange(self.batch, dtype="int32") * self.rows
        along = ops.transpose(along, (1, 2, 0, 3)) + ops.expand_dims(begin, -1)
        places = places + ops.expand_dims(begin, -1)
        return ops.reshape(places, (-1,)), ops.reshape(along, (self.d + 1, 2, -1))

    def __call__(self, values):
        """Sums of the values of all pixels, by how like they are: (B, N, C) -> (B, N, C).

        Each step is a symmetric matrix, so that the gradient takes the same steps backwards.
        """

        @ops.custom_gradient
        def sums(values):
            def gradient(*args, upstream=None):
                return self._sums(args[0] if upstream is None else upstream, backwards)

            return self._sums(values, self.along), gradient

        backwards = ops.flip(self.along, 0)
        return sums(values)

    def _sums(self, values, along):
        classes = values.shape[-1]
        shares = ops.expand_dims(self.shares, -1)  # (B, N, d + 1, 1)
        given = ops.reshape(ops.expand_dims(values, -2) * shares, (-1, classes))
        x = ops.segment_sum(given, self.places, num_segments=self.batch * self.rows)

        def blur(number, x):
            before, after = (ops.take(x, along[number, side], axis=0) for side in (0, 1))
            return x + (before + after) / 2

        x = ops.fori_loop(0, self.d + 1, blur, x)
        taken = ops.take(x, self.places, axis=0)
        return ops.sum(ops.reshape(taken, (-1, *shares.shape[1:3], classes)) * shares, -2)


def plane(values, size: tuple[int, int], width: float):
    """As `utils.crf.plane`, of pictures: (B, N, C) -> (B, N, C)."""
    rows, columns = (
        np.exp(-((np.subtract.outer(side, side) / width) ** 2) / 2).astype("float32")
        for side in map(np.arange, size)
    )
    maps = ops.reshape(values, (-1, *size, values.shape[-1]))
    maps = ops.einsum("bhwc,gh->bgwc", maps, rows)
    return ops.reshape(ops.einsum("bgwc,vw->bgvc", maps, columns), ops.shape(values))


@keras.saving.register_keras_serializable(package="segmentation")
class MeanField(layers.Layer):
    """Iterations of the mean field of a dense CRF, whose weights are shared by all of them.

    Logits (B, H, W, C) and raw pictures (B, H, W, channels) go in, the logits of the answer come
    out.

    Args:
        training_iterations, iterations: in training and in prediction.
    """

    def __init__(self, training_iterations: int = 5, iterations: int = 10, **options):
        super().__init__(**{"dtype": "float32"} | options)
        self.training_iterations, self.iterations = training_iterations, iterations

    def build(self, input_shape):
        classes = input_shape[0][3]
        _, *size, self.channels = input_shape[1]
        numbering(size, self.channels, PLACES, COLOURS)  # refuses what has none

        def matrix(name: str, value: float):  # (C, C)
            start = keras.initializers.Identity(value)
            return self.add_weight(shape=(classes, classes), initializer=start, name=name)

        self.spatial = matrix("spatial", SPATIAL)
        self.bilateral = matrix("bilateral", BILATERAL)
        self.compatibility = matrix("compatibility", -1.0)  # Potts

    def call(self, inputs, training=None):
        logits, pictures = inputs
        _, *size, classes = logits.shape
        lattice = Lattice(pictures, PLACES, COLOURS)
        logits = ops.reshape(logits, (-1, size[0] * size[1], classes))  # (B, N, C)
        filters = (
            (self.spatial, lambda values: plane(values, size, NEAR)),
            (self.bilateral, lattice),
        )
        ones = ops.ones_like(logits[..., :1])
        filters = [(matrix, of, of(ones)) for matrix, of in filters]
        x = logits
        for _ in range(self.training_iterations if training else self.iterations):
            q = ops.softmax(x)
            # Each filter's mean is weighed; then the classes are told what it means to them.
            said = sum(ops.matmul(of(q) / sums, matrix) for matrix, of, sums in filters)
            x = logits - ops.matmul(said, self.compatibility)
        return ops.reshape(x, (-1, *size, classes))

    def compute_output_shape(self, input_shape):
        return tuple(input_shape[0])

    def macs(self, before: tuple, after: tuple) -> int:
        """Of an iteration: to corners, along d + 1 directions and back; rows, columns, matrices."""
        _, height, width, classes = before
        corners = self.channels + 3
        each = corners * (corners + 2) + height + width + 3 * classes
        return self.iterations * height * width * classes * each

    def reach(self, reach, before: tuple, after: tuple):
        """Every pixel sees all others."""
        return type(reach)(np.inf, reach.stride)

    def get_config(self):
        own = {"training_iterations": self.training_iterations, "iterations": self.iterations}
        return {**super().get_config(), **own}


def build_crf_rnn(
    input_shape: tuple[int, int, int],
    n_classes: int,
    *,
    width: int = 64,
    blocks: tuple[int, ...] = CONVOLUTIONS,
    training_iterations: int = 5,
    iterations: int = 10,
) -> keras.Model:
    """Build the network.

    Args:
        input_shape: (H, W, channels).
        n_classes: number of classes, the background included.
        width: filters of the first stage of VGG16.
        blocks: convolutions of each of its stages.
        training_iterations: of the mean field in training.
        iterations: in prediction.

    Returns:
        Model "crf_rnn" from (B, H, W, channels) to (B, H, W, n_classes).

    Raises:
        UserError: pictures have too many channels.
    """
    fcn = build_fcn_vgg16(input_shape, n_classes, skips=2, width=width, blocks=blocks)
    inputs, logits = fcn.inputs[0], fcn.get_layer("segmentation_crop").output  # (B, H, W, C)
    logits = MeanField(training_iterations, iterations, name="mean_field")([logits, inputs])
    answer = layers.Softmax(name="segmentation", dtype="float32")(logits)
    return keras.Model(inputs, answer, name="crf_rnn")
