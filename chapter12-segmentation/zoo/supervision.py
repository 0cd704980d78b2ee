"""Networks that are told what is right in several places.

Chen-Yu Lee et al., "Deeply-Supervised Nets", 2015. Idea: maps on the way to the answer are made to
answer too, each with a loss of its own (a companion objective), so that early layers hear of their
errors from nearby. The loss is the weighted sum.
"""

from collections.abc import Sequence

import keras


@keras.saving.register_keras_serializable(package="segmentation")
class DeeplySupervised(keras.Model):
    """A functional network with several outputs, all of which are compared with the same labels.

    The first output is the answer. It is compiled with one loss object and trained with one map of
    labels, as a network of one output; `loss` in its history is the sum.

    Args:
        inputs, outputs, name: as for `keras.Model`; outputs are a list.
        output_weights: what the loss of each output counts, 1 where there are none. An output of
            weight 0 is not computed with in training, and gives no gradient.
    """

    def __init__(
        self, inputs, outputs, name=None, *, output_weights: Sequence[float] | None = None, **kwargs
    ):
        super().__init__(inputs, outputs, name=name, **kwargs)
        weights = output_weights or [1.0] * len(self.outputs)
        if len(weights) != len(self.outputs):
            raise ValueError(f"{len(weights)} weights for {len(self.outputs)} outputs")
        self.output_weights = [float(weight) for weight in weights]

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        outputs = keras.tree.flatten(y_pred)
        losses = [
            weight * self.loss(y, output, sample_weight)
            for weight, output in zip(self.output_weights, outputs, strict=True)
            if weight
        ]
        return sum([*losses, *self.losses])

    def get_config(self):
        return {**super().get_config(), "output_weights": self.output_weights}
