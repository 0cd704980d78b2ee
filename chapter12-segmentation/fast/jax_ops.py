"""What is fast by JAX's own operations."""

import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import keras
import numpy as np
from jax.experimental import layout

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
def add_bias(maps, bias):
    """Maps (B, H, W, F) with a bias (F,), whose gradient is summed in float32.

    Of bfloat16 XLA on a CPU sums in bfloat16, where ones stay at 256, and slowly: 107 ms for
    (4, 128, 160, 256), 2 ms so (two AMX cores).
    """
    return maps + bias


def _add_bias_backward(bias, upstream):
    return upstream, upstream.astype(jnp.float32).sum(BHW).astype(bias.dtype)


add_bias.defvjp(lambda maps, bias: (maps + bias, bias), _add_bias_backward)


# Convolutions on a CPU as matrix products. XLA has no fast way there for the gradients of kernels,
# and computes convolutions of bfloat16 in float32.


def _product(left, right):
    """(n, m), (m, k) -> (n, k) float32: bfloat16 goes through AMX if the sums are float32."""
    return jax.lax.dot(left, right, preferred_element_type=jnp.float32)


def _rows(maps):
    """(B, H, W, C) -> (BHW, C)."""
    return maps.reshape(math.prod(maps.shape[:-1]), maps.shape[-1])


def _turned(rows):
    """(n, C) -> (C, n), of bfloat16 in memory too: products over n go through AMX so alone.

    Not where the maps are spread over devices, each of which XLA would give all rows for that. In
    float32 it takes longer. JAX before 0.7 cannot be asked for it in this way.
    """
    spread = keras.distribution.distribution() is not None
    if rows.dtype != jnp.bfloat16 or spread or hasattr(layout, "DeviceLocalLayout"):
        return rows.T
    return layout.with_layout_constraint(rows.T, layout.Layout((0, 1)))


def _moved(move: Callable, maps) -> list:
    """What a function gives that only moves values: XLA moves bfloat16 by way of float32.

    As integers of 16 bits it moves them as they are. Those have no gradient, so it is that of the
    function.
    """
    if maps.dtype != jnp.bfloat16:
        return move(maps)
    same = jax.ShapeDtypeStruct(maps.shape, maps.dtype)

    @jax.custom_vjp
    def by_bits(maps):
        moved = move(jax.lax.bitcast_convert_type(maps, jnp.uint16))
        return [jax.lax.bitcast_convert_type(bits, jnp.bfloat16) for bits in moved]

    by_bits.defvjp(
        lambda maps: (by_bits(maps), None),
        lambda _, upstream: jax.linear_transpose(move, same)(upstream),
    )
    return by_bits(maps)


NOTHING = ((0, 0), (0, 0))


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def convolve(maps, kernel, rates: tuple[int, int] = (1, 1), around: tuple = NOTHING):
    """Convolution with stride 1.

    The columns that a kernel's line reads lie side by side, so that each line is one product.
    Forward and both gradients of 3x3, 64 to 64 channels of (4, 64, 80) take 18 ms so in bfloat16
    and 69 ms as XLA has them, in float32 73 and 69 ms; of 1x1, 256 to 128 channels of (4, 32, 40),
    2 and 23 ms in bfloat16, 5 and 21 ms in float32 (two AMX cores). It takes the memory of `kw`
    copies of the map, and has no gradient in forward mode (`jax.jvp`).

    Args:
        maps: (B, H, W, C).
        kernel: (kh, kw, C, F).
        rates: how many rows, and columns, its values are apart.
        around: zeros above and below the map, left and right of it.

    Returns:
        (B, h, w, F), a value for each place of the kernel within the map and the zeros.
    """
    lines = kernel.reshape(len(kernel), -1, kernel.shape[-1])  # (kh, kw C, F)
    reads = _read_by_lines(maps, kernel.shape, rates, around)
    outputs = sum(_product(_rows(read), line) for read, line in zip(reads, lines, strict=True))
    return outputs.reshape(*reads[0].shape[:3], kernel.shape[-1]).astype(maps.dtype)


def _read_by_lines(maps, size: tuple, rates: tuple[int, int], around: tuple) -> list:
    """What each line of a kernel reads at every place: (B, H, W, C) -> kh of (B, h, w, kw C)."""

    def move(maps):
        padded = jnp.pad(maps, ((0, 0), *around, (0, 0)))
        h, w = (padded.shape[axis] - rates[axis - 1] * (size[axis - 1] - 1) for axis in (1, 2))
        columns = [padded[:, :, place * rates[1] :][:, :, :w] for place in range(size[1])]
        beside = jnp.concatenate(columns, -1) if len(columns) > 1 else padded  # (B, any, w, kw C)
        return [beside[:, place * rates[0] :][:, :h] for place in range(size[0])]

    return _moved(move, maps)


def _convolve_backward(rates, around, kept, upstream):
    maps, kernel = kept
    height, width, channels, filters = kernel.shape
    spans = [rate * (size - 1) for rate, size in zip(rates, (height, width), strict=True)]
    back = tuple(
        (span - before, span - behind) for span, (before, behind) in zip(spans, around, strict=True)
    )
    gradient = convolve(upstream, kernel[::-1, ::-1].swapaxes(2, 3), rates, back)
    turned = _turned(_rows(upstream))  # (F, Bhw)
    reads = _read_by_lines(maps, kernel.shape, rates, around)
    lines = [_product(turned, _rows(read)) for read in reads]  # (F, kw C)
    lines = jnp.stack(lines).reshape(height, filters, width, channels).transpose(0, 2, 3, 1)
    return gradient, lines.astype(kernel.dtype)


convolve.defvjp(
    lambda maps, kernel, *of: (convolve(maps, kernel, *of), (maps, kernel)), _convolve_backward
)


@jax.custom_vjp
def double(maps, kernel):
    """Transposed convolution, kernel 3 and stride 2: (B, H, W, C) -> (B, 2H, 2W, F).

    The map's value (i, j) goes to (2i + row, 2j + column). Forward and both gradients for 1024 to
    256 channels of (4, 32, 40) take 0.16 s in bfloat16 and 0.37 s in float32, as XLA derives them
    from `layers.double` 2.6 and 2.1 s; for 256 to 256 of (4, 64, 80) 0.24 and 0.48, 2.5 and 2.3 s
    (two AMX cores).

    Args:
        maps: (B, H, W, C).
        kernel: (3, 3, F, C).
    """
    batch, height, width, channels = maps.shape
    filters = kernel.shape[2]

    def move(maps):
        """The values no or one row back, of each no or one column back."""
        padded = jnp.pad(maps, ((0, 0), (1, 0), (1, 0), (0, 0)))
        return [padded[:, up:, left:][:, :height, :width] for up in (1, 0) for left in (1, 0)]

    here, before, above, askew = (_rows(read) for read in _moved(move, maps))  # (BHW, C)
    taps = kernel.swapaxes(2, 3)  # (3, 3, C, F)
    # What places of even and of odd rows and columns are given.
    even_even = _product(here, taps[0, 0]) + _product(before, taps[0, 2])
    even_even += _product(above, taps[2, 0]) + _product(askew, taps[2, 2])
    even_odd = _product(here, taps[0, 1]) + _product(above, taps[2, 1])
    odd_even = _product(here, taps[1, 0]) + _product(before, taps[1, 2])
    odd_odd = _product(here, taps[1, 1])

    def beside(*phases):
        shape = batch, height, width, filters
        return jnp.stack([phase.astype(maps.dtype).reshape(shape) for phase in phases], 3)

    rows = jnp.stack([beside(even_even, even_odd), beside(odd_even, odd_odd)], 2)
    return rows.reshape(batch, 2 * height, 2 * width, filters)  # of (B, H, 2, W, 2, F)


def _double_backward(kept, upstream):
    maps, kernel = kept
    batch, height, width, channels = maps.shape
    filters = kernel.shape[2]

    def move(upstream):
        """What each row of the kernel gave: even and odd columns, and the next even ones."""
        padded = jnp.pad(upstream, ((0, 0), (0, 2), (0, 2), (0, 0)))
        pairs = padded.reshape(batch, height + 1, 2, width + 1, 2 * filters)
        lines = [pairs[:, row // 2 :, row % 2][:, :height] for row in range(3)]
        return [part for x in lines for part in (x[:, :, :width], x[:, :, 1:, :filters])]

    parts = [_rows(part) for part in _moved(move, upstream)]  # (BHW, 2 F), (BHW, F)
    turned = _turned(_rows(maps))  # (C, BHW)
    gradient, lines = 0, []
    for row, both, last in zip(range(3), parts[::2], parts[1::2], strict=True):
        taps = kernel[row].reshape(3 * filters, channels)
        gradient += _product(both, taps[: 2 * filters]) + _product(last, taps[2 * filters :])
        lines += [_product(turned, both), _product(turned, last)]  # (C, 2 F), (C, F)
    lines = jnp.concatenate(lines, -1).reshape(channels, 3, 3, filters).transpose(1, 2, 3, 0)
    return gradient.reshape(maps.shape).astype(maps.dtype), lines.astype(kernel.dtype)


double.defvjp(lambda maps, kernel: (double(maps, kernel), (maps, kernel)), _double_backward)


def tile(maps, kernel):
    """Transposed convolution whose kernel is as large as its strides: each value gives a tile.

    Forward and both gradients of 2x2, 64 to 64 channels of (4, 64, 80), take 5 ms so in
    bfloat16 and 15 ms in float32, as XLA derives them 1.1 s (two AMX cores).

    Args:
        maps: (B, H, W, C).
        kernel: (kh, kw, F, C).

    Returns:
        (B, kh H, kw W, F).
    """
    (height, width, filters, channels), (batch, rows, columns, _) = kernel.shape, maps.shape
    tiles = convolve(maps, kernel.transpose(3, 0, 1, 2).reshape(1, 1, channels, -1))
    tiles = tiles.reshape(batch, rows, columns, height, width, filters).transpose(0, 1, 3, 2, 4, 5)
    return tiles.reshape(batch, height * rows, width * columns, filters)


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
