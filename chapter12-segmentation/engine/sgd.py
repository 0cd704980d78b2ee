"""Stochastic gradient descent with the weight decay of the papers."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="segmentation")
class SGD(keras.optimizers.SGD):
    """Keras' SGD, whose weight decay is L2: it is part of the gradient, as in Caffe.

    So the momentum gathers it too: over many steps a weight shrinks by rate x decay / (1 -
    momentum) a step, ten times as much as by Keras' own, decoupled one (Loshchilov and Hutter,
    "Decoupled Weight Decay Regularization", 2019). The loss that it belongs to is decay / 2 times
    the sum of the squares.
    """

    def update_step(self, gradient, variable, learning_rate):
        if self.weight_decay and self._use_weight_decay(variable):
            decay = ops.cast(self.weight_decay, variable.dtype)
            gradient = ops.add(gradient, ops.multiply(variable, decay))
        super().update_step(gradient, variable, learning_rate)

    def _apply_weight_decay(self, variables):
        """Nothing beside the gradient."""
