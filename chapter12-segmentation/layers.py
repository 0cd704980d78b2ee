"""What Keras lacks: resizing to a size that is known late, fused batch normalisation."""

import keras
from keras import ops


def resize_bilinear(maps, size: tuple):
    """Resize maps bilinearly with half-pixel centres, as `UpSampling2D` does.

    Args:
        maps: (B, H, W, C) floats.
        size: (height, width), numbers or, while TensorFlow builds a graph, scalar tensors, which
            Keras' own function does not take.

    Returns:
        (B, height, width, C).
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.image.resize(maps, size)
    return ops.image.resize(maps, size, interpolation="bilinear")


@keras.saving.register_keras_serializable(package="segmentation")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras' batch normalisation, same variables and numbers, in one operation on TensorFlow.

    Keras 3 computes mean, variance and the normalised map in separate passes over the map.
    TensorFlow has them fused, forward and backward (`FusedBatchNormV3`). Other backends, and
    maps that are not (B, H, W, C), take Keras' own way; a test holds the two against each other.
    """

    def call(self, inputs, training=None, mask=None):
        maps = len(inputs.shape) == 4 and self.axis in (-1, 3)
        if training and self.trainable and maps and keras.backend.backend() == "tensorflow":
            return self._call_fused(inputs)
        return super().call(inputs, training=training, mask=mask)

    def _call_fused(self, inputs):
        import tensorflow as tf

        inputs = tf.cast(inputs, self.compute_dtype)
        gamma = self.gamma if self.scale else tf.ones_like(self.moving_mean)
        beta = self.beta if self.center else tf.zeros_like(self.moving_mean)
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=gamma,
            offset=beta,
            mean=[],
            variance=[],
            epsilon=self.epsilon,
            is_training=True,
        )
        # The operation returns the unbiased variance, n / (n - 1) times that of Keras.
        n = tf.cast(tf.size(inputs) / tf.shape(inputs)[-1], variance.dtype)
        variance *= (n - 1.0) / n
        for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + batch * (1.0 - self.momentum))
        return outputs
