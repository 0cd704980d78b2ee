"""Two layers with the numbers of Keras' own that are faster on TensorFlow."""

import keras
from keras import ops

import fast
from fast.devices import gpu_name


@keras.saving.register_keras_serializable(package="segmentation")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras' batch normalisation, same variables and numbers, in one operation on TensorFlow.

    Keras 3 computes mean, variance and the normalised map in separate passes over the map.
    TensorFlow has them fused, forward and backward (`FusedBatchNormV3`): a training step of the
    chapter's network with four pictures of 128x160 takes 0.85 s with it and 1.28 s without
    (bfloat16, two cores of a Zen 4). In prediction, which scores the pictures of validation, a map
    of (1, 480, 640, 64) takes a third of the time in bfloat16, half in float32 (`folding.fold`).
    Other backends, maps that are not (B, H, W, C), masks and synchronised statistics take Keras'
    own way; a test holds the two against each other.
    """

    def call(self, inputs, training=None, mask=None):
        maps = len(inputs.shape) == 4 and self.axis in (-1, 3)
        usual = mask is None and not self.synchronized
        if maps and usual and fast.on_tensorflow():
            return self._call_fused(inputs, bool(training and self.trainable))
        return super().call(inputs, training=training, mask=mask)

    def _call_fused(self, inputs, training: bool):
        import tensorflow as tf

        inputs = tf.cast(inputs, self.compute_dtype)
        gamma = self.gamma if self.scale else tf.ones_like(self.moving_mean)
        beta = self.beta if self.center else tf.zeros_like(self.moving_mean)
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=gamma,
            offset=beta,
            mean=[] if training else self.moving_mean,
            variance=[] if training else self.moving_variance,
            epsilon=self.epsilon,
            is_training=training,
        )
        if not training:
            return outputs
        # The operation returns the unbiased variance, n / (n - 1) times that of Keras.
        n = tf.cast(tf.size(inputs) / tf.shape(inputs)[-1], variance.dtype)
        variance *= (n - 1.0) / n
        for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + batch * (1.0 - self.momentum))
        return outputs


@keras.saving.register_keras_serializable(package="segmentation")
class Conv2DTranspose(keras.layers.Conv2DTranspose):
    """Keras' transposed convolution, same weights and numbers, with a faster gradient.

    For kernel 3, strides 2 and "same" padding on TensorFlow, where the two of the chapter's head
    are 58 % of its arithmetic. oneDNN takes three times as long for the gradient of such a kernel
    as for the layer itself: 0.69 s for 256 to 256 channels of (4, 120, 160), in bfloat16 on two
    cores of a Zen 4. As one matrix product for each of the nine taps it takes 0.31 s. A GPU, for
    which this was not measured, takes Keras' way.
    """

    def call(self, inputs):
        doubles = self.kernel_size == (3, 3) and self.strides == (2, 2) and self.padding == "same"
        doubles &= self.output_padding is None and self.dilation_rate == (1, 1)
        doubles &= self.data_format == "channels_last"
        if doubles and fast.on_tensorflow() and gpu_name() is None:
            outputs = _double(inputs, self.kernel)
            if self.use_bias:
                outputs = ops.add(outputs, self.bias)
            return self.activation(outputs)
        return super().call(inputs)


def _double(maps, kernel):
    """Transposed convolution, kernel 3 and stride 2: (B, H, W, C) -> (B, 2H, 2W, F), TensorFlow.

    Args:
        maps: (B, H, W, C).
        kernel: (3, 3, F, C).
    """
    import tensorflow as tf

    @tf.custom_gradient
    def double(maps, kernel):
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

    outputs = double(maps, tf.convert_to_tensor(kernel))
    outputs.set_shape((maps.shape[0], *(n and 2 * n for n in maps.shape[1:3]), kernel.shape[2]))
    return outputs
