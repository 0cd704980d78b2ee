"""Layers with the numbers of Keras' own that are faster on TensorFlow and on JAX."""

import keras
import numpy as np
from keras import ops

import fast
from fast.devices import on_cpu

FEW_PLACES = 64  # of a map, height times width
LEAST_RATE = 3  # of convolutions that are atrous enough
MANY_CHANNELS = 32  # of a kernel, in and out


@keras.saving.register_keras_serializable(package="segmentation")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras' batch normalisation, same variables and numbers, in fewer passes over the map.

    Keras 3 computes mean, variance and the normalised map in separate passes. TensorFlow has them
    fused, forward and backward: a training step of the chapter's network with four pictures of
    128x160 takes 0.85 s with it and 1.28 s without (bfloat16, two cores of a Zen 4). In prediction,
    which scores the pictures of validation, a map of (1, 480, 640, 64) takes a third of the time in
    bfloat16, half in float32 (`folding.fold`). In training on a CPU it gets the map row by row,
    see `tensorflow_ops.normalise`. For JAX the passes are written down in `jax_ops`.
    Other backends, maps that are not (B, H, W, C), masks and synchronised statistics take Keras'
    own way; a test holds the two against each other.
    """

    def call(self, inputs, training=None, mask=None):
        training = bool(training and self.trainable)
        maps = len(inputs.shape) == 4 and self.axis in (-1, 3)
        usual = mask is None and not self.synchronized and not self.renorm
        if maps and usual and (fast.on_tensorflow() or (fast.on_jax() and training)):
            return self._call_fused(inputs, training)
        return super().call(inputs, training=training, mask=mask)

    def _call_fused(self, inputs, training: bool):
        inputs = ops.cast(inputs, self.compute_dtype)
        moving = self.moving_mean, self.moving_variance
        shape, dtype = moving[0].shape, moving[0].dtype
        gamma = self.gamma if self.scale else ops.ones(shape, dtype)
        beta = self.beta if self.center else ops.zeros(shape, dtype)
        if fast.on_tensorflow():
            from fast.tensorflow_ops import normalise

            by_rows = training and on_cpu()
            own = gamma, beta, moving, self.epsilon
            outputs, *batch = normalise(inputs, *own, training, by_rows)
        else:
            from fast.jax_ops import normalise

            values = (ops.convert_to_tensor(value) for value in (gamma, beta, moving[0]))
            outputs, *batch = normalise(inputs, *values, self.epsilon)
        if training:
            for mean, value in zip(moving, batch, strict=True):
                mean.assign(mean * self.momentum + value * (1.0 - self.momentum))
        return outputs


@keras.saving.register_keras_serializable(package="segmentation")
class Activation(keras.layers.Activation):
    """Keras' activation; a ReLU behind `BatchNormalization` stays in one pass with it."""

    def call(self, inputs):
        if self.activation is keras.activations.relu and fast.on_tensorflow():
            from fast.tensorflow_ops import relu

            return relu(inputs)
        return super().call(inputs)


@keras.saving.register_keras_serializable(package="segmentation")
class Conv2D(keras.layers.Conv2D):
    """Keras' convolution, same weights and numbers, faster for few places, rates and many channels.

    Few places: a classifier's dense layers as convolutions, "fc6" and "fc7" of VGG16, whose kernels
    have more inputs than the map has places. Forward and both gradients of 7x7 kernels, 512 to 4096
    channels, on four maps of 2x3 take oneDNN 5.7 s, and 0.14 s those of 1x1, 4096 to 4096; as
    matrix products, which they are, 0.16 and 0.03 s (float32, two AVX2 cores, as all here). Those
    of 1x1 on maps of 6x8 take 0.28 and 0.16 s.

    Atrous ones: without oneDNN TensorFlow cuts the map on a CPU into one for each remainder of row
    and column, zeros around it, and the gradient of the kernel over so many small maps is slow.
    Forward and both gradients of 3x3, 512 to 1024 channels, rate 12, over four maps of 20x24 take
    13 s so, 0.25 s by oneDNN, 0.17 s value by value of the kernel; over one of 60x80 by oneDNN 0.99
    and 0.72 s. At a rate of 3 there is little between them, 0.34 and 0.32 s.

    Many channels, in training: oneDNN takes longer for the gradient of a 3x3 kernel in float32 than
    its nine values by matrix products do: 0.66 and 0.24 s for 64 to 64 channels of (4, 240, 320),
    71 and 67 ms for 512 to 512 of (4, 16, 20), while 16 to 16 of (8, 160, 192) are slower so, 20
    and 26 ms. A step of the book's network with one picture of 480x640 takes 13.9 s without and
    11.6 s with it, of the preset quick 3.8 and 3.7 s.

    On JAX with a CPU: 1x1 kernels by matrix products, in bfloat16 those of many channels and stride
    1 too, see `jax_ops.convolve`. Of these a 3x3 kernel that takes four times as many channels as
    it gives wins in training and loses in prediction: 30 and 13 ms for 128 to 32 of (4, 64, 80).
    """

    def call(self, inputs, training=None):
        simple = self.groups == 1 and self.data_format == "channels_last"
        if simple and fast.on_jax() and on_cpu():
            return _finished(self, self._convolve_on_jax(inputs))
        _, height, width, _ = inputs.shape
        simple &= self.strides == (1, 1) and None not in (height, width)
        if not (simple and fast.on_tensorflow() and on_cpu()):
            return super().call(inputs)
        from fast.tensorflow_ops import convolve_atrous, convolve_by_taps, convolve_few

        kernel = ops.convert_to_tensor(self.kernel)
        by_taps = self.kernel_size == (3, 3) and self.dilation_rate == (1, 1)
        by_taps &= self.padding == "same" and self.compute_dtype == "float32"
        if min(self.dilation_rate) >= LEAST_RATE:
            outputs = convolve_atrous(inputs, kernel, self.dilation_rate, self.padding)
        elif self.dilation_rate == (1, 1) and height * width <= FEW_PLACES:
            outputs = convolve_few(inputs, kernel, self.padding)
        elif training and by_taps and self._has_many_channels():
            outputs = convolve_by_taps(inputs, kernel)
        else:
            return super().call(inputs)
        return _finished(self, outputs)

    def _convolve_on_jax(self, inputs):
        from fast.jax_ops import NOTHING, convolve

        inputs, kernel = (ops.cast(x, self.compute_dtype) for x in (inputs, self.kernel))
        rows, columns = self.strides
        if self.kernel_size == (1, 1):
            return convolve(inputs[:, ::rows, ::columns], kernel)
        sizes = zip(self.dilation_rate, self.kernel_size, strict=True)
        spans = [rate * (size - 1) for rate, size in sizes]
        around = tuple((span // 2, span - span // 2) for span in spans)
        pays = self.compute_dtype == "bfloat16" and self._has_many_channels()
        pays &= self.strides == (1, 1) and self.padding in ("same", "valid")
        if self.padding == "valid":
            around, sides = NOTHING, zip(inputs.shape[1:3], spans, strict=True)
            # Keras refuses too small a map.
            pays &= all(side > span for side, span in sides if isinstance(side, int))
        if not pays:
            return self.convolution_op(inputs, kernel)
        return convolve(inputs, kernel, self.dilation_rate, around)

    def _has_many_channels(self) -> bool:
        return min(self.kernel.shape[2:]) >= MANY_CHANNELS


@keras.saving.register_keras_serializable(package="segmentation")
class Conv2DTranspose(keras.layers.Conv2DTranspose):
    """Keras' transposed convolution, same weights and numbers, with a faster gradient.

    For kernel 3, strides 2 and "same" padding, where the two of the chapter's head are 58 % of its
    arithmetic: on a CPU by `tensorflow_ops.double` or `jax_ops.double`, on JAX with a GPU by
    `double`. TensorFlow with a GPU, for which nothing was measured, takes Keras' way.

    And for a map of one place, as in DeconvNet: on a CPU by a matrix product, for oneDNN as in
    `Conv2D`; XLA turns the kernel round for each step. On JAX with a CPU also for kernels as large
    as their strides, as in U-Net, see `jax_ops.tile`.
    """

    def call(self, inputs):
        last = self.data_format == "channels_last"
        simple = last and self.output_padding is None and self.dilation_rate == (1, 1)
        doubles = simple and self.kernel_size == (3, 3) and self.strides == (2, 2)
        doubles &= self.padding == "same"
        one = simple and tuple(inputs.shape[1:3]) == (1, 1) == self.strides
        one &= self.padding == "valid"
        if one and (fast.on_tensorflow() or fast.on_jax()) and on_cpu():
            return self._call_on_one_place(inputs)
        if last and fast.on_jax() and on_cpu():
            return _finished(self, self._convolve_on_jax(inputs, simple, doubles))
        if doubles and fast.on_tensorflow() and on_cpu():
            from fast.tensorflow_ops import double as convolve
        elif doubles and fast.on_jax():
            convolve = double
        else:
            return super().call(inputs)
        return _finished(self, convolve(inputs, ops.convert_to_tensor(self.kernel)))

    def _convolve_on_jax(self, inputs, simple: bool, doubles: bool):
        from fast.jax_ops import double, tile

        inputs, kernel = (ops.cast(x, self.compute_dtype) for x in (inputs, self.kernel))
        if doubles:
            return double(inputs, kernel)
        if simple and self.kernel_size == self.strides:
            return tile(inputs, kernel)
        return ops.conv_transpose(
            inputs,
            kernel,
            self.strides,
            padding=self.padding,
            output_padding=self.output_padding,
            data_format=self.data_format,
            dilation_rate=self.dilation_rate,
        )

    def _call_on_one_place(self, inputs):
        inputs, kernel = (ops.cast(x, self.compute_dtype) for x in (inputs, self.kernel))
        # (B, 1, 1, C), (kh, kw, F, C)
        vectors = ops.reshape(inputs, (-1, kernel.shape[3]))
        matrix = ops.transpose(ops.reshape(kernel, (-1, kernel.shape[3])))
        outputs = ops.matmul(vectors, matrix)
        return _finished(self, ops.reshape(outputs, (-1, *kernel.shape[:3])))


def _finished(layer, outputs):
    """What a convolution gives when its products are there: with its bias and its activation."""
    if layer.use_bias and fast.on_jax() and on_cpu():
        from fast.jax_ops import add_bias

        outputs = add_bias(outputs, ops.convert_to_tensor(layer.bias))
    elif layer.use_bias:
        outputs = ops.add(outputs, layer.bias)
    return layer.activation(outputs)


def double(maps, kernel):
    """Transposed convolution, kernel 3 and stride 2, in phases: (B, H, W, C) -> (B, 2H, 2W, F).

    Along each axis y[2m] = x[m] k[0] + x[m - 1] k[2] and y[2m + 1] = x[m] k[1]: outputs of even or
    odd row and column are plain convolutions of the small map, all four together one with 4 F
    filters and kernel 2, whose gradients a GPU's libraries have fast ways for. XLA has none for the
    kernel's gradient of a convolution over a map with holes.

    Args:
        maps: (B, H, W, C).
        kernel: (3, 3, F, C).
    """
    _, height, width, channels = maps.shape
    filters = kernel.shape[2]
    # The tap of the kernel by phase of the output, 0 or 1, and place in the map, m - 1 or m.
    taps = np.zeros((2, 2, 3), "float32")
    taps[0, 0, 2] = taps[0, 1, 0] = taps[1, 1, 1] = 1
    taps = ops.cast(taps, kernel.dtype)
    phases = ops.einsum("pia,qjb,abfc->ijcpqf", taps, taps, kernel)
    phases = ops.reshape(phases, (2, 2, channels, 4 * filters))
    padded = ops.pad(maps, ((0, 0), (1, 0), (1, 0), (0, 0)))  # (B, H + 1, W + 1, C)
    x = ops.conv(padded, phases, padding="valid")  # (B, H, W, 4 F)
    x = ops.reshape(x, (-1, height, width, 2, 2 * filters))
    x = ops.transpose(x, (0, 1, 3, 2, 4))  # (B, H, 2, W, 2 F)
    return ops.reshape(x, (-1, 2 * height, 2 * width, filters))
