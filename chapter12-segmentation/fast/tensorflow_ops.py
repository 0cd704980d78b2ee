"""What is fast by TensorFlow's own operations, each in place of many of Keras'."""

import numpy as np
import tensorflow as tf


def normalise(maps, gamma, beta, moving, epsilon: float, training: bool, by_rows: bool = False):
    """Batch normalisation as one operation, forward and backward (`FusedBatchNormV3`).

    oneDNN goes through the maps of few pictures as wholes, each of several times; given each row as
    a picture, which changes nothing but rounding, it stays with what the processor's cache holds.
    In a step in bfloat16, on two cores with AMX and with the ReLU behind: 0.97 and 0.77 ms for 64
    channels of (4, 64, 80), 28.6 and 11.3 ms for 256 of (4, 128, 160); back 1.38 and 1.12, 15.4 and
    12.8 ms.

    Args:
        maps: (B, H, W, C) floats.
        gamma, beta: (C,) float32.
        moving: (C,) and (C,) float32, the mean and variance of prediction.
        epsilon: added to the variance.
        training: whether mean and variance are those of the batch.
        by_rows: each row as a picture.

    Returns:
        (B, H, W, C) of the type of `maps`; (C,) float32 mean and variance of the batch, or the
        moving ones.
    """
    rows = maps
    if by_rows:
        rows = tf.reshape(maps, (-1, 1, maps.shape[2] or tf.shape(maps)[2], gamma.shape[0]))
    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=rows,
        scale=gamma,
        offset=beta,
        mean=[] if training else moving[0],
        variance=[] if training else moving[1],
        epsilon=epsilon,
        is_training=training,
    )
    # The operation returns the unbiased variance, n / (n - 1) times that of Keras.
    n = tf.cast(tf.size(maps) / tf.shape(maps)[-1], variance.dtype)
    if by_rows:
        outputs = tf.reshape(outputs, tf.shape(maps))
    return outputs, mean, variance * ((n - 1.0) / n)


def relu(maps):
    """ReLU; of the rows where they come from `normalise`, whose pass TensorFlow lets it join.

    Then nothing has a gradient to `maps` themselves, which are passed by.
    """
    made = getattr(maps, "op", None)  # what is computed at once has none
    if made is not None and made.type == "Reshape":
        rows, shape = made.inputs
        if rows.op.type == "FusedBatchNormV3":
            return tf.reshape(tf.nn.relu(rows), shape)
    return tf.nn.relu(maps)


def double(maps, kernel):
    """Transposed convolution, kernel 3 and stride 2: (B, H, W, C) -> (B, 2H, 2W, F).

    oneDNN takes three times as long for the gradient of such a kernel as for the layer itself:
    0.69 s for 256 to 256 channels of (4, 120, 160), in bfloat16 on two cores of a Zen 4. As one
    matrix product for each of the nine taps it takes 0.31 s.

    Args:
        maps: (B, H, W, C).
        kernel: (3, 3, F, C).
    """

    @tf.custom_gradient
    def convolve(maps, kernel):
        batch, height, width, channels = tf.unstack(tf.shape(maps))
        filters = kernel.shape[2]
        outputs = tf.nn.conv2d_transpose(
            maps, kernel, (batch, 2 * height, 2 * width, filters), strides=2
        )

        def gradient(upstream):  # (B, 2H, 2W, F)
            # Maps value (i, j) was added to (2i + row, 2j + column) by the tap (row, column). Rows
            # and columns in pairs, every tap's share is a slice of whole pixels, which is copied 20
            # times faster than with a stride of 2.
            padded = tf.pad(upstream, [[0, 0], [0, 2], [0, 2], [0, 0]])
            pairs = tf.reshape(padded, (batch, height + 1, 2, width + 1, 2 * filters))
            flat = tf.reshape(maps, (-1, channels))  # (BHW, C)
            taps = []
            for row in range(3):
                for column in range(3):
                    begin = (0, row // 2, row % 2, column // 2, column % 2 * filters)
                    share = tf.slice(pairs, begin, (batch, height, 1, width, filters))
                    share = tf.reshape(share, (-1, filters))  # (BHW, F)
                    taps.append(tf.matmul(share, flat, transpose_a=True))  # (F, C)
            kernel_gradient = tf.reshape(tf.stack(taps), tf.shape(kernel))
            return tf.nn.conv2d(upstream, kernel, strides=2, padding="SAME"), kernel_gradient

        return outputs, gradient

    outputs = convolve(maps, tf.convert_to_tensor(kernel))
    outputs.set_shape((maps.shape[0], *(n and 2 * n for n in maps.shape[1:3]), kernel.shape[2]))
    return outputs


def convolve_by_taps(maps, kernel):
    """Convolution 3x3 with stride 1 and "same" padding, whose kernel's gradient is by its values.

    As one matrix product for each of the nine values; the convolution and the gradient of the map
    are TensorFlow's own. See `layers.Conv2D`.

    Args:
        maps: (B, H, W, C).
        kernel: (3, 3, C, F).

    Returns:
        (B, H, W, F).
    """
    height, width = maps.shape[1:3]
    channels, filters = kernel.shape[2:]

    @tf.custom_gradient
    def convolve(maps, kernel):
        def gradient(upstream):  # (B, H, W, F)
            padded = tf.pad(maps, ((0, 0), (1, 1), (1, 1), (0, 0)))
            flat = tf.reshape(upstream, (-1, filters))  # (BHW, F)
            taps = []
            for row, column in np.ndindex(3, 3):
                read = padded[:, row : row + height, column : column + width]
                read = tf.reshape(read, (-1, channels))  # (BHW, C)
                taps.append(tf.matmul(read, flat, transpose_a=True))  # (C, F)
            maps_gradient = tf.raw_ops.Conv2DBackpropInput(
                input_sizes=tf.shape(maps),
                filter=kernel,
                out_backprop=upstream,
                strides=[1, 1, 1, 1],
                padding="SAME",
            )
            return maps_gradient, tf.reshape(tf.stack(taps), kernel.shape)

        return tf.nn.conv2d(maps, kernel, strides=1, padding="SAME"), gradient

    return convolve(maps, tf.convert_to_tensor(kernel))


def convolve_few(maps, kernel, padding: str):
    """Convolution with stride 1 as one matrix product, gradients too; see `layers.Conv2D`.

    `keras.ops.image.extract_patches` convolves with a unit matrix, which is slower by far.

    Args:
        maps: (B, H, W, C).
        kernel: (kh, kw, C, F).
        padding: "same" or "valid".

    Returns:
        (B, h, w, F).
    """
    height, width, _, filters = kernel.shape
    sizes, ones = [1, height, width, 1], [1, 1, 1, 1]
    patches = tf.image.extract_patches(maps, sizes, ones, ones, padding.upper())
    _, *places, length = patches.shape  # (B, h, w, kh * kw * C)
    flat = tf.matmul(tf.reshape(patches, (-1, length)), tf.reshape(kernel, (length, filters)))
    return tf.reshape(flat, (-1, *places, filters))


def convolve_atrous(maps, kernel, rates: tuple[int, int], padding: str):
    """Convolution with stride 1, value by value of the kernel, gradients too; see `layers.Conv2D`.

    Each value is a matrix, by which that part of the map is multiplied that lies so many rows and
    columns on; what would be read outside of the map is left out.

    Args:
        maps: (B, H, W, C).
        kernel: (kh, kw, C, F).
        rates: how many rows, and columns, its values are apart.
        padding: "same" or "valid".

    Returns:
        (B, h, w, F).
    """
    size, (rows, columns) = maps.shape[1:3], kernel.shape[:2]
    spans = rates[0] * (rows - 1), rates[1] * (columns - 1)
    before, to = (0, 0), tuple(side - span for side, span in zip(size, spans, strict=True))
    if padding == "same":
        before, to = tuple(span // 2 for span in spans), size

    def reach(axis: int):
        """The values of an axis that reach the map: number, what they read and what they write."""
        for number in range(kernel.shape[axis]):
            on = number * rates[axis] - before[axis]
            first, end = max(0, -on), min(to[axis], size[axis] - on)
            if first < end:
                yield number, slice(first + on, end + on), slice(first, end)

    taps = [
        ((row, column), (read, along), (written, across))
        for row, read, written in reach(0)
        for column, along, across in reach(1)
    ]

    def flat(maps, part):
        return tf.reshape(maps[:, *part], (-1, maps.shape[-1]))

    def summed(maps, matrices, taps, whole):
        """The sum of all products, each in its place: (B, any, any, C) -> (B, *whole, F)."""
        filters = matrices.shape[-1]
        kind = tf.float32 if maps.dtype.size < 4 else maps.dtype
        total = tf.zeros((tf.shape(maps)[0], *whole, filters), kind)
        for value, read, written in taps:
            with tf.control_dependencies([total]):  # else memory holds all products at a time
                product = tf.matmul(flat(maps, read), matrices[value])
            product = tf.reshape(product, (-1, *(part.stop - part.start for part in read), filters))
            around = [(p.start, side - p.stop) for p, side in zip(written, whole, strict=True)]
            total += tf.cast(tf.pad(product, [(0, 0), *around, (0, 0)]), kind)
        return tf.cast(total, maps.dtype)

    @tf.custom_gradient
    def convolve(maps, kernel):
        def gradient(upstream):
            turned = [(value, written, read) for value, read, written in taps]
            maps_gradient = summed(upstream, tf.transpose(kernel, (0, 1, 3, 2)), turned, size)
            products = {
                value: tf.matmul(flat(maps, read), flat(upstream, written), transpose_a=True)
                for value, read, written in taps
            }
            none = tf.zeros(kernel.shape[2:], kernel.dtype)
            values = [products.get(value, none) for value in np.ndindex(rows, columns)]
            return maps_gradient, tf.reshape(tf.stack(values), kernel.shape)

        return summed(maps, kernel, taps, to), gradient

    return convolve(maps, tf.convert_to_tensor(kernel))
