"""Adam as Keras has it, in one operation per weight on TensorFlow."""

import keras

import fast


@keras.saving.register_keras_serializable(package="segmentation")
class Adam(keras.optimizers.Adam):
    """Keras' Adam, same variables and numbers (Kingma and Ba, 2015, the form before section 2.1).

    Keras writes the update of a weight as twenty small operations; with the 256 weights of the
    chapter's network they are half of what TensorFlow traces before the first step. TensorFlow has
    the update in one. Other backends take Keras' way; a test holds the two against each other.
    """

    def update_step(self, gradient, variable, learning_rate):
        if not fast.is_on() or keras.backend.backend() != "tensorflow" or self.amsgrad:
            super().update_step(gradient, variable, learning_rate)
            return
        import tensorflow as tf

        index, dtype = self._get_variable_index(variable), variable.dtype
        step = tf.cast(self.iterations + 1, dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=tf.pow(tf.cast(self.beta_1, dtype), step),
            beta2_power=tf.pow(tf.cast(self.beta_2, dtype), step),
            lr=tf.cast(learning_rate, dtype),
            beta1=tf.cast(self.beta_1, dtype),
            beta2=tf.cast(self.beta_2, dtype),
            epsilon=tf.cast(self.epsilon, dtype),
            grad=tf.cast(gradient, dtype),
        )
