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

    Two passes over the map forward, two backward. As Keras writes it, the squares are counted from
    the mean, which has to be there first: a pass more.

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


@jax.custom_vjp
def double(maps, kernel):
    """Transposed convolution, kernel 3 and stride 2: (B, H, W, C) -> (B, 2H, 2W, F), on a CPU.

    The gradient of the kernel as nine matrix products, as in `tensorflow_ops.double`. Both
    gradients for 1024 to 256 channels of (4, 32, 40) take 0.45 s so and 4.1 s as XLA derives them
    from `layers.double`; for 256 to 256 of (4, 64, 80) 0.8 and 4.6 s (float32, two AVX2 cores).

    Args:
        maps: (B, H, W, C).
        kernel: (3, 3, F, C).
    """
    return keras.ops.conv_transpose(maps, kernel, strides=2, padding="same")


def _double_backward(kept, upstream):
    maps, kernel = kept
    batch, height, width, channels = maps.shape
    filters = kernel.shape[2]
    # As in `tensorflow_ops.double`: the map's value (i, j) went to (2i + row, 2j + column).
    padded = jnp.pad(upstream, ((0, 0), (0, 2), (0, 2), (0, 0)))
    pairs = padded.reshape(batch, height + 1, 2, width + 1, 2 * filters)
    flat = maps.reshape(-1, channels)  # (BHW, C)
    taps = []
    for row in range(3):
        for column in range(3):
            rows, columns = (
                slice(row // 2, row // 2 + height),
                slice(column // 2, column // 2 + width),
            )
            share = pairs[:, rows, row % 2, columns, column % 2 * filters :][..., :filters]
            taps.append(share.reshape(-1, filters).T @ flat)  # (F, C)
    gradient = keras.ops.conv(upstream, kernel, strides=2, padding="same")  # (B, H, W, C)
    return gradient, jnp.stack(taps).reshape(kernel.shape)


double.defvjp(lambda maps, kernel: (double(maps, kernel), (maps, kernel)), _double_backward)


def compiled(model: keras.Model) -> Callable:
    """The prediction of a network as one program; see `forward.forward`.

    XLA compiles for each number of inputs anew, which takes a minute for the chapter's network on
    a GPU: so what is less than the batch before is filled up, and what comes of it is dropped.
    """
    trainable, others, most = model.trainable_variables, model.non_trainable_variables, 0
    devices = _devices_here(model)

    @jax.jit
    def call(trainable, others, inputs):
        return model.stateless_call(trainable, others, inputs, training=False)[0]

    def predict(inputs: np.ndarray):
        nonlocal most
        number = len(inputs)
        most = max(most, -(-number // len(devices)) * len(devices))
        filled = np.concatenate([inputs, np.repeat(inputs[-1:], most - number, axis=0)])
        values = [[variable.value for variable in group] for group in (trainable, others)]
        if len(model.variables[0].value.sharding.device_set) > 1:
            values = jax.tree.map(partial(_held_here, devices), values)
            filled = jax.device_put(filled, _spread(devices, "batch"))
        outputs = call(*values, filled)
        return jax.tree.map(lambda output: output[:number], outputs) if number < most else outputs

    return predict


# Of a network that is trained on several devices, by `keras.distribution`, each has all weights.


def _devices_here(model: keras.Model) -> list[jax.Device]:
    """The devices of this process that have its weights."""
    return [shard.device for shard in model.variables[0].value.addressable_shards]


def _spread(devices: list[jax.Device], *axes: str) -> jax.sharding.NamedSharding:
    """Values on these devices, those of other processes left alone."""
    mesh = jax.sharding.Mesh(np.array(devices), ("batch",))
    return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*axes))


def _held_here(devices: list[jax.Device], value: jax.Array) -> jax.Array:
    """A weight of all processes as one of this process, without a copy."""
    parts = [shard.data for shard in value.addressable_shards]
    return jax.make_array_from_single_device_arrays(value.shape, _spread(devices), parts)
