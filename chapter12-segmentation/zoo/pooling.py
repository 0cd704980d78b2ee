"""Max-pooling that remembers where each maximum was, the unpooling that puts it back; dilated.

Keras has none of them. Windows are 2x2 and, but for the dilated ones, do not overlap, as in SegNet
and DeconvNet. A place is kept as its number in the window, 0 to 3 in reading order, in one byte: it
depends neither on the width of the map nor on the batch, and needs no digits of the map's type.
"""

from dataclasses import replace

import keras
from keras import layers, ops

# Finite, by type: of -inf ONNX, which selects by multiplying, makes NaN.
LEAST = {"float32": -3e38, "float16": -65504.0}
SERIALIZED = keras.saving.register_keras_serializable(package="segmentation")


@SERIALIZED
class MaxPoolingWithIndices(layers.Layer):
    """Max-pooling of 2x2 with stride 2, and the place of each maximum in its window.

    (B, H, W, C) -> the maxima (B, h, w, C) and their places (B, h, w, C) uint8, with h = ceil(H/2)
    and w = ceil(W/2); H, W and C are known when the network is built. A window beyond the edge of
    an odd side holds what there is. Of equal values the first is the maximum, and alone gets the
    gradient.
    """

    def call(self, maps):
        _, height, width, channels = maps.shape
        rows, columns = -(-height // 2), -(-width // 2)
        if height % 2 or width % 2:
            beyond = ((0, 0), (0, height % 2), (0, width % 2), (0, 0))
            dtype = keras.backend.standardize_dtype(maps.dtype)
            least = LEAST.get(dtype, LEAST["float32"])  # never the maximum
            maps = ops.pad(maps, beyond, constant_values=least)
        windows = ops.reshape(maps, (-1, 2, columns, 2, channels))  # (B h, 2, w, 2, C)
        # Comparisons let the first of equal values win, and get its gradient, on every backend; a
        # maximum over axes shares the gradient out. `tf.nn.max_pool_with_argmax` with a scatter
        # takes TensorFlow 2 to 4 times as long on a CPU.
        upper, lower = (ops.unstack(row, axis=2) for row in ops.unstack(windows, axis=1))
        (above, above_right), (below, below_right) = map(_larger, (upper, lower))
        maxima, is_below = _larger((above, below))
        places = ops.where(is_below, 2 + _byte(below_right), _byte(above_right))
        shape = (-1, rows, columns, channels)
        return ops.reshape(maxima, shape), ops.reshape(places, shape)

    def reach(self, reach, before: tuple, after: tuple):
        """What a value behind it sees, for `tools.summary`."""
        return replace(reach, field=reach.field + reach.stride, stride=reach.stride * 2)

    def macs(self, before: tuple, after: tuple) -> int:
        """None: comparisons are not counted, see `tools.summary`."""
        return 0


@SERIALIZED
class MaxUnpooling(layers.Layer):
    """Values back to the places that `MaxPoolingWithIndices` gave, zeros elsewhere.

    Values (B, h, w, C) and places (B, h, w, C) uint8 -> (B, H, W, C). Pooling gives back any values
    of 0 and more.

    Args:
        height: H of the map that was pooled, 2h or 2h - 1.
        width: W of it.
    """

    def __init__(self, height: int, width: int, **settings):
        super().__init__(**settings)
        self.height, self.width = height, width

    def call(self, values, places):
        _, rows, columns, channels = values.shape
        flat = (-1, columns, channels)
        values, places = ops.reshape(values, flat), ops.reshape(places, flat)  # (B h, w, C)
        nothing = ops.zeros_like(values)
        corners = [ops.where(places == place, values, nothing) for place in range(4)]
        lines = [ops.stack(corners[:2], axis=2), ops.stack(corners[2:], axis=2)]  # (B h, w, 2, C)
        maps = ops.stack(lines, axis=1)  # (B h, 2, w, 2, C)
        maps = ops.reshape(maps, (-1, 2 * rows, 2 * columns, channels))
        return maps[:, : self.height, : self.width]

    def get_config(self):
        return super().get_config() | {"height": self.height, "width": self.width}

    def reach(self, reach, before: tuple, after: tuple):
        """What a value behind it sees, for `tools.summary`."""
        return replace(reach, stride=reach.stride / 2)

    def macs(self, before: tuple, after: tuple) -> int:
        """None: it copies, see `tools.summary`."""
        return 0


@SERIALIZED
class DilatedMaxPooling(layers.Layer):
    """Max-pooling of 2x2 with stride 1 whose four values lie `rate` places apart; Keras has none.

    (B, H, W, C) -> (B, H - rate, W - rate, C).

    Args:
        rate: distance of the values, 1 and more.
    """

    def __init__(self, rate: int, **settings):
        super().__init__(**settings)
        self.rate = rate

    def call(self, maps):
        maps = ops.maximum(maps[:, : -self.rate], maps[:, self.rate :])
        return ops.maximum(maps[:, :, : -self.rate], maps[:, :, self.rate :])

    def get_config(self):
        return super().get_config() | {"rate": self.rate}

    def reach(self, reach, before: tuple, after: tuple):
        """What a value behind it sees, for `tools.summary`."""
        return replace(reach, field=reach.field + self.rate * reach.stride)

    def macs(self, before: tuple, after: tuple) -> int:
        """None: comparisons are not counted, see `tools.summary`."""
        return 0


def _larger(pair):
    """The larger of two maps, the first of equal ones, and whether it is the second."""
    first, second = pair
    is_second = second > first
    return ops.where(is_second, second, first), is_second


def _byte(values):
    return ops.cast(values, "uint8")
