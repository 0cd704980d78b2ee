"""Ways back to full size, one map at a time: to be read; networks take Keras' layers.

Maps are (h, w) float64, one channel of one picture; s is the factor. A transposed convolution is
here in its whole size, (s (h - 1) + k, s (w - 1) + k) for a kernel of (k, k): every value of the
map puts the kernel, times itself, s places further on. Written four ways it is one and the same,
which `tests/test_upsampling.py` shows. `tools/upsampling.py` draws them all.
"""

import numpy as np


def nearest(x: np.ndarray, s: int = 2) -> np.ndarray:
    """Each value s x s times: (h, w) -> (s h, s w)."""
    return x.repeat(s, axis=0).repeat(s, axis=1)


def bed_of_nails(x: np.ndarray, s: int = 2) -> np.ndarray:
    """Each value at the first place of its s x s, zeros elsewhere: (h, w) -> (s h, s w)."""
    y = np.zeros((s * x.shape[0], s * x.shape[1]))
    y[::s, ::s] = x
    return y


def max_pool(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Maxima of 2x2 windows and their places there: (2h, 2w) -> (h, w) and (h, w), 0 to 3."""
    windows = x.reshape(x.shape[0] // 2, 2, x.shape[1] // 2, 2)  # (h, 2, w, 2)
    windows = windows.transpose(0, 2, 1, 3).reshape(x.shape[0] // 2, x.shape[1] // 2, 4)
    return windows.max(-1), windows.argmax(-1)


def max_unpool(x: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Each value where the maximum of its window was, zeros elsewhere: (h, w) -> (2h, 2w)."""
    rows, columns = np.indices(x.shape)
    y = np.zeros((2 * x.shape[0], 2 * x.shape[1]))
    y[2 * rows + places // 2, 2 * columns + places % 2] = x
    return y


def bilinear(x: np.ndarray, s: int = 2) -> np.ndarray:
    """Between the centres of pixels, and level beyond the outermost: (h, w) -> (s h, s w)."""

    def weights(n: int) -> np.ndarray:  # (s n, n), each row of sum 1
        centres = (np.arange(s * n) + 0.5) / s - 0.5  # of the new pixels, in old ones
        centres = centres.clip(0, n - 1)[:, None]
        return np.maximum(1 - abs(centres - np.arange(n)), 0)

    return weights(x.shape[0]) @ x @ weights(x.shape[1]).T


def bilinear_kernel(s: int = 2) -> np.ndarray:
    """With which a transposed convolution resizes bilinearly: (2s, 2s), a tent; s is even."""
    tent = 1 - abs(np.arange(2 * s) - (s - 0.5)) / s  # s = 2: 1/4, 3/4, 3/4, 1/4
    return np.outer(tent, tent)


def convolve(x: np.ndarray, kernel: np.ndarray, s: int = 1) -> np.ndarray:
    """As networks convolve, "valid", the kernel not turned: (H, W) -> ((H - k) // s + 1, ...)."""
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape)[::s, ::s]  # (h, w, k, k)
    return (windows * kernel).sum((-2, -1))


def convolution_matrix(kernel: np.ndarray, size: tuple[int, int], s: int = 1) -> np.ndarray:
    """`convolve` of a map of `size` (H, W) as a matrix: (h w, H W), a row a value of its result."""
    units = np.eye(size[0] * size[1]).reshape(-1, *size)
    return np.stack([convolve(unit, kernel, s).ravel() for unit in units], axis=1)


def transposed_by_matrix(x: np.ndarray, kernel: np.ndarray, s: int) -> np.ndarray:
    """By the transposed matrix of the convolution that leads from the large map to the small one.

    This is where the name comes from. (h, w) -> (s (h - 1) + k, s (w - 1) + k).
    """
    size = tuple(s * (side - 1) + k for side, k in zip(x.shape, kernel.shape, strict=True))
    return (convolution_matrix(kernel, size, s).T @ x.ravel()).reshape(size)


def with_zeros_between(x: np.ndarray, kernel: np.ndarray, s: int) -> np.ndarray:
    """s - 1 zeros between values, k - 1 around: (h, w) -> (s (h - 1) + 2 k - 1, ...)."""
    nails = bed_of_nails(x, s)[: s * (x.shape[0] - 1) + 1, : s * (x.shape[1] - 1) + 1]
    return np.pad(nails, [(k - 1, k - 1) for k in kernel.shape])


def transposed_by_zeros(x: np.ndarray, kernel: np.ndarray, s: int) -> np.ndarray:
    """By zeros between the values, zeros around, and a convolution with the kernel turned.

    (h, w) -> (s (h - 1) + k, s (w - 1) + k). With s = 1 this is the "full" convolution, which makes
    a map larger by its border alone.
    """
    return convolve(with_zeros_between(x, kernel, s), kernel[::-1, ::-1])


def transposed_by_scatter(x: np.ndarray, kernel: np.ndarray, s: int) -> np.ndarray:
    """By a sum of kernels, each times a value and s places on.

    (h, w) -> (s (h - 1) + k, s (w - 1) + k).
    """
    k, other = kernel.shape
    y = np.zeros((s * (x.shape[0] - 1) + k, s * (x.shape[1] - 1) + other))
    for (row, column), value in np.ndenumerate(x):
        y[s * row : s * row + k, s * column : s * column + other] += value * kernel
    return y


def transposed_in_phases(x: np.ndarray, kernel: np.ndarray, s: int) -> np.ndarray:
    """By s x s small convolutions without any zeros, one for each place within s x s.

    Each sees every s-th value of the kernel. Where k is no multiple of s some see more of it than
    others: a chequerboard. (h, w) -> (s (h - 1) + k, s (w - 1) + k).
    """
    k, other = kernel.shape
    y = np.zeros((s * (x.shape[0] - 1) + k, s * (x.shape[1] - 1) + other))
    for p, q in np.ndindex(min(s, k), min(s, other)):
        part = transposed_by_scatter(x, kernel[p::s, q::s], 1)
        y[p::s, q::s][: part.shape[0], : part.shape[1]] = part
    return y


def same(y: np.ndarray, size: tuple[int, int], s: int) -> np.ndarray:
    """What Keras' padding "same" leaves of a transposed convolution `y` of a map of `size`.

    (s h, s w). Of an odd number of rows too many, one more goes at the bottom: of kernel 3 and
    stride 2 the last row and column alone, which moves the map by half a pixel.
    """
    sides = [s * side for side in size]
    first = [max(whole - side, 0) // 2 for whole, side in zip(y.shape, sides, strict=True)]
    missing = [(0, max(side - whole, 0)) for whole, side in zip(y.shape, sides, strict=True)]
    y = np.pad(y, missing)  # for a kernel smaller than s
    return y[first[0] : first[0] + sides[0], first[1] : first[1] + sides[1]]
