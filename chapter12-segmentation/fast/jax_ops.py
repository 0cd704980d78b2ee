"""What is fast by JAX's own operations."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import keras
import numpy as np

BHW = (0, 1, 2)  # axes of (B, H, W, C) over which a channel's statistics go


@partial(jax.custom_vjp, nondiff_argnums=(4,))
def normalise(maps, gamma, beta, near, epsilon: float):
    """Batch normalisation with the batch's statistics (Ioffe and Szegedy, 2015, Algorithm 1).

    Two passes over the map forward, two backward. As Keras writes it, the variance needs the mean
    first, and its derivative has a sum that is always zero, which XLA computes: three and three.

    Args:
        maps: (B, H, W, C) floats.
        gamma, beta: (C,) float32.
        near: (C,) float32, about the means, from which squares are counted: the moving means. Far
            from zero, the mean of squares and the square of the mean would leave few digits.
        epsilon: added to the variance.

    Returns:
        (B, H, W, C) of the type of `maps`; (C,) float32 mean and variance, without a gradient.
    """
    return _forward(maps, gamma, beta, near, epsilon)[0]


def _forward(maps, gamma, beta, near, epsilon):
    away = maps.astype(near.dtype) - near
    first, second = away.mean(BHW), jnp.square(away).mean(BHW)
    variance = jnp.maximum(second - jnp.square(first), 0)
    mean, inverse = near + first, jax.lax.rsqrt(variance + epsilon)
    factor = gamma * inverse
    outputs = (maps.astype(near.dtype) - mean) * factor + beta
    return (outputs.astype(maps.dtype), mean, variance), (maps, gamma, mean, inverse)


def _backward(epsilon, kept, upstream):
    maps, gamma, mean, inverse = kept
    upstream = upstream[0].astype(mean.dtype)  # (B, H, W, C)
    standard = (maps.astype(mean.dtype) - mean) * inverse
    beta_gradient, gamma_gradient = upstream.sum(BHW), (upstream * standard).sum(BHW)
    number = maps.size // maps.shape[-1]
    inner = upstream - (beta_gradient + standard * gamma_gradient) / number
    gradient = (gamma * inverse * inner).astype(maps.dtype)
    return gradient, gamma_gradient, beta_gradient, jnp.zeros_like(mean)


normalise.defvjp(_forward, _backward)


def compiled(model: keras.Model) -> Callable:
    """The prediction of a network as one program; see `forward.forward`.

    XLA compiles for each number of inputs anew, which takes a minute for the chapter's network on
    a GPU: so what is less than the batch before is filled up, and what comes of it is dropped.
    """
    trainable, others, most = model.trainable_variables, model.non_trainable_variables, 0

    @jax.jit
    def call(trainable, others, inputs):
        return model.stateless_call(trainable, others, inputs, training=False)[0]

    def predict(inputs: np.ndarray):
        nonlocal most
        number = len(inputs)
        most = max(most, number)
        filled = np.concatenate([inputs, np.repeat(inputs[-1:], most - number, axis=0)])
        values = ([variable.value for variable in group] for group in (trainable, others))
        outputs = call(*values, filled)
        return jax.tree.map(lambda output: output[:number], outputs) if number < most else outputs

    return predict
