"""The optimizers by name, and Adam as Keras has it in one operation per weight on TensorFlow."""

import keras

import fast
from muon import Muon


def build_optimizer(name: str, learning_rate: float) -> keras.optimizers.Optimizer:
    """The optimizer that `--optimizer` names: "adam" (the chapter's) or "muon"."""
    return {"adam": adam, "muon": Muon}[name](learning_rate)


def adam(learning_rate: float) -> keras.optimizers.Adam:
    """The fastest Adam of the backend (Kingma and Ba, 2015, the form before section 2.1).

    Keras brings a fast one for PyTorch itself, and JAX compiles the whole step.
    """
    if fast.is_on() and keras.backend.backend() == "tensorflow":
        return FusedAdam(learning_rate)
    return keras.optimizers.Adam(learning_rate)


@keras.saving.register_keras_serializable(package="segmentation")
class FusedAdam(keras.optimizers.Adam):
    """Keras' Adam for TensorFlow: same variables and numbers, in one operation per weight.

    Keras writes the update of a weight as twenty small operations. With the 256 weights of the
    chapter's network, tracing the first step takes 10.3 s of a processor with them and 5.6 s
    without, once the variables are there before (22.3 s when they are not: it traces twice).
    """

    def update_step(self, gradient, variable, learning_rate):
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
