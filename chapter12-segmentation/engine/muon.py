"""Muon: steps that turn every direction of a kernel by the same amount.

Keller Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024. Adam scales
each weight by itself. A kernel is a matrix, and its gradient is mostly a few directions, which Adam
follows again and again; Muon replaces the gradient by the nearest matrix whose singular values are
all one, so that rare directions are learnt as fast as frequent ones. After 4,000 pictures of
64x96 the chapter's network has a validation mIoU of 0.70 with it and of 0.67 with Adam (see "How
the quick preset was chosen" in notes.md).
"""

import contextlib
import re
from collections import defaultdict

import keras
from keras import ops

import fast
from fast.adam import apply_adam

# The first layer and the last are Adam's, as in Jordan: the first by its 3 channels, the last by
# `exclude_layers`, since there may be many classes.
LEAST_CHANNELS = 8
# The products for a square of 4096, "fc7" of VGG16, are about 10^12 multiply-accumulates, in every
# step: kernels that are wider than ResNet's either way are Adam's too.
MOST_CHANNELS = 2048
STEPS = 5
# Of the quintic a x + b x^3 + c x^5, which draws singular values from 0.003 to 1 into about
# 0.7 to 1.2 in five steps (Jordan).
QUINTIC = (3.4445, -4.7750, 2.0315)


@keras.saving.register_keras_serializable(package="segmentation")
class Muon(keras.optimizers.Muon):
    """Keras' Muon, which takes matrices alone, for the kernels of convolutions too.

    All that is no kernel between at least 8 channels gets Adam's step, as in Keras, and so do
    the layers in `exclude_layers`. Steps have the size of Adam's (Jingyuan Liu et al.,
    "Muon is scalable for LLM training", 2025, section 2.2). The iteration is that of
    `orthogonalise`, with Nesterov's momentum: Keras' options `ns_steps`, `muon_a` to `muon_c` and
    `nesterov` change nothing.

    Args:
        learning_rate: for both kinds of weights.
        weight_decay: decoupled, of both kinds; None has none.
        options: of `keras.optimizers.Muon`.
    """

    def __init__(self, learning_rate: float = 6e-3, weight_decay: float | None = None, **options):
        both = {"weight_decay": weight_decay, "adam_weight_decay": weight_decay}
        super().__init__(learning_rate, **both | options)

    def _should_use_adamw(self, variable):
        if len(variable.shape) != 4:
            return True
        if not LEAST_CHANNELS <= min(variable.shape[-2:]) <= MOST_CHANNELS:
            return True
        return any(re.search(name, variable.path) for name in self.exclude_layers)

    def _adamw_update_step(self, gradient, variable, learning_rate, m, v):
        if fast.on_tensorflow():
            step, betas = self.iterations + 1, (self.adam_beta_1, self.adam_beta_2)
            apply_adam(variable, m, v, gradient, learning_rate, step, betas, self.epsilon)
        else:
            super()._adamw_update_step(gradient, variable, learning_rate, m, v)

    def _muon_update_step(self, gradient, variable, lr, m):
        (step,) = directions([self._follow(gradient, m)])
        self._take(step, variable, lr)

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        """On TensorFlow and JAX all kernels together.

        A thousand small products one after the other leave a GPU idle between them, and take
        longer to trace and to start than to compute on a CPU; the squares of the 64 kernels of the
        chapter's network have five sizes. With a strategy of `tf.distribute` Keras has to sum the
        gradients of the replicas first, and goes from kernel to kernel.
        """
        if not (fast.on_jax() or (fast.on_tensorflow() and not _replicated())):
            super()._backend_update_step(grads, trainable_variables, learning_rate)
            return
        kernels, updates = [], []
        for gradient, variable in zip(grads, trainable_variables, strict=True):
            if self._should_use_adamw(variable):
                self.update_step(gradient, variable, learning_rate)
            else:
                momentum = self.momentums[self._get_variable_index(variable)]
                kernels.append(variable)
                updates.append(self._follow(gradient, momentum))
        for step, variable in zip(directions(updates), kernels, strict=True):
            self._take(step, variable, learning_rate)

    def _follow(self, gradient, momentum):
        """What a kernel is to follow, Nesterov's way; counts the momentum on."""
        self.assign(momentum, ops.add(ops.multiply(momentum, self.momentum), gradient))
        return ops.add(gradient, ops.multiply(momentum, self.momentum))

    def _take(self, step, variable, learning_rate) -> None:
        rate = ops.cast(learning_rate * self.rms_rate, variable.dtype)
        self.assign_sub(variable, ops.multiply(step, rate))


def _replicated() -> bool:
    """Whether a strategy of TensorFlow copies the training to several devices."""
    import tensorflow as tf

    return tf.distribute.has_strategy()


def directions(kernels: list) -> list:
    """The steps for what kernels are to follow: each (kh, kw, P, Q), mean square near one."""
    matrices = [kernel_to_matrix(kernel) for kernel in kernels]
    return [
        # Singular values of one leave the mean square of the entries at 1 / the longer side.
        matrix_to_kernel(ops.multiply(matrix, max(matrix.shape) ** 0.5), kernel.shape)
        for matrix, kernel in zip(orthogonalise(matrices), kernels, strict=True)
    ]


def kernel_to_matrix(kernel):
    """(kh, kw, P, Q) -> (kh * kw * max(P, Q), min(P, Q)): every tap of the wider side is a row."""
    if kernel.shape[-2] < kernel.shape[-1]:
        kernel = ops.transpose(kernel, (0, 1, 3, 2))
    return ops.reshape(kernel, (-1, kernel.shape[-1]))


def matrix_to_kernel(matrix, shape: tuple):
    """The inverse of `kernel_to_matrix`."""
    height, width, *channels = shape
    kernel = ops.reshape(matrix, (height, width, max(channels), min(channels)))
    return ops.transpose(kernel, (0, 1, 3, 2)) if channels[0] < channels[1] else kernel


def orthogonalise(matrices: list) -> list:
    """Bring the singular values of matrices near one and leave their singular vectors.

    Newton and Schulz's iteration x <- a x + (b (x x') + c (x x')^2) x. Each step multiplies x by a
    polynomial of x'x, and such polynomials commute: so it runs on the small square x'x, and x is
    multiplied once. For the largest kernel of the chapter's network, 4608 x 512, that takes 48 ms
    where Keras' way takes 154 ms (float32, two cores of a Zen 4). Squares of one size go together.

    Args:
        matrices: (m, n) floats each, m >= n for speed.

    Returns:
        As many (m, n); for a matrix of rank n the singular values lie between about 0.4 and 1.2.
    """
    matrices = [ops.divide(matrix, ops.norm(matrix) + 1e-7) for matrix in matrices]
    of_size = defaultdict(list)
    for index, matrix in enumerate(matrices):
        of_size[matrix.shape[1]].append(index)
    results = [None] * len(matrices)
    with _whole_products():
        for indices in of_size.values():
            alike = [matrices[index] for index in indices]
            squares = ops.stack([ops.matmul(ops.transpose(x), x) for x in alike])  # (B, n, n)
            factors = ops.unstack(_factors(squares))
            for index, x, factor in zip(indices, alike, factors, strict=True):
                results[index] = ops.matmul(x, factor)
    return results


def _whole_products() -> contextlib.AbstractContextManager:
    """Where JAX multiplies float32 as it is, which on an NVIDIA GPU it rounds to ten bits (TF32).

    So rounded, a square x'x gets directions of negative length, which the iteration enlarges: in
    NumPy, of a gradient (576, 64) with one direction a thousand times as strong as the others,
    singular values of up to 3.0 came out in place of 0.7, and the step was another.
    """
    if keras.backend.backend() != "jax":
        return contextlib.nullcontext()
    import jax

    return jax.default_matmul_precision("highest")


def _factors(squares):
    """What orthogonalises each x from the right, of its x'x: (B, n, n) -> (B, n, n)."""
    a, b, c = QUINTIC
    unit = ops.eye(squares.shape[-1], dtype=squares.dtype)
    product = unit
    for _ in range(STEPS):
        factor = a * unit + b * squares + c * ops.matmul(squares, squares)
        product = ops.matmul(product, factor)
        squares = ops.matmul(ops.matmul(factor, squares), factor)
    return product
