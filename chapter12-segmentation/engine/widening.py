"""A wide head that computes what a narrow one has learnt, and the way back.

Tianqi Chen et al., "Net2Net: Accelerating learning via knowledge transfer", 2016, section 2.2.
Every channel of the narrow head is there several times in the wide one, and what its copies send on
adds up to what it sent on itself. So most of a training can be done with a narrow head, which takes
less than half of the arithmetic, and the wide one begins where that has ended.
"""

import numpy as np

COPIED = ("conv_fcn_", "bn_fcn_", "bn_up_")  # layers whose outputs are copied; inputs are shared
SPLIT = 0.5  # how unequally copies share: equal ones would have equal gradients and stay equal


def head_filters(layers: dict[str, list]) -> int | None:
    """The filters of the chapter's head, by the weights of its layers; None without such a head."""
    if not {"tconv_up_x2", "tconv_up_x4", "pre_activation"} <= layers.keys():
        return None
    return layers["tconv_up_x4"][0].shape[-2]  # kernels of transposed convolutions: (h, w, out, in)


def widen_head(layers: dict[str, list[np.ndarray]], filters: int) -> dict[str, list[np.ndarray]]:
    """Weights of the chapter's network with a head of `filters` channels that predicts the same.

    Args:
        layers: weights by the name of their layer, as `model.build_fcn` names them.
        filters: of the wide head; no fewer than the narrow one has.

    Returns:
        The same with the head's weights exchanged; the others are those of `layers`.
    """
    random = np.random.default_rng(0)
    copies = np.arange(filters) % head_filters(layers)  # which narrow channel each wide one repeats
    sources = _sources(layers, head_filters(layers), copies)
    result = dict(layers)
    for name, weights in layers.items():
        if name.startswith(COPIED):
            result[name] = [weight[..., copies] for weight in weights]  # channels come last
        elif name in sources:
            kernel, bias = weights  # (h, w, out, in), (out,)
            if name != "pre_activation":
                kernel, bias = kernel[:, :, copies], bias[copies]
            result[name] = [_share(kernel, sources[name], random), bias]
    return result


def narrow_head(
    layers: dict[str, list[np.ndarray]], filters: int
) -> dict[str, list[np.ndarray]] | None:
    """What `widen_head` was given, as long as the copies in its result have learnt nothing else.

    Args:
        layers: weights by the name of their layer, as `model.build_fcn` names them.
        filters: of the narrow head; fewer than the wide one has.

    Returns:
        Weights with a head of `filters` channels that predict the same, or None where the wide
        head is more than copies of so few channels.
    """
    wide = head_filters(layers)
    copies = np.arange(wide) % filters
    sources = _sources(layers, filters, copies)
    result = dict(layers)
    for name, weights in layers.items():
        if name.startswith(COPIED):
            result[name] = [weight[..., :filters] for weight in weights]
            if not all(map(_near, (weight[..., copies] for weight in result[name]), weights)):
                return None
        elif name in sources:
            kernel, bias = weights  # (h, w, out, in), (out,)
            kernel = _gather(kernel, sources[name])
            if name != "pre_activation":
                whole, (kernel, bias) = (kernel, bias), (kernel[:, :, :filters], bias[:filters])
                if not all(map(_near, (kernel[:, :, copies], bias[copies]), whole)):
                    return None
            result[name] = [kernel, bias]
    return result


def _sources(layers: dict[str, list], narrow: int, copies: np.ndarray) -> dict[str, np.ndarray]:
    """Which input of the narrow head each input of the wide one repeats, by layer.

    Args:
        layers: of either head.
        narrow: filters of the narrow head.
        copies: the narrow channel that each wide one repeats.
    """
    n_levels = sum(name.startswith("conv_fcn_") for name in layers)
    n_main = layers["tconv_up_x2"][0].shape[-1] - n_levels * head_filters(layers)  # of the 1/4 map
    concatenated = np.concatenate(
        [np.arange(n_main), *(n_main + level * narrow + copies for level in range(n_levels))]
    )
    return {"tconv_up_x2": concatenated, "tconv_up_x4": copies, "pre_activation": copies}


def _near(one: np.ndarray, other: np.ndarray) -> bool:
    """Equal but for rounding, which a training step at a rate near 0 adds to statistics."""
    return bool(np.allclose(one, other, rtol=1e-4, atol=1e-4 * np.abs(other).max()))


def _gather(kernel: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Sum what copies of an input weigh: (h, w, out, m) -> (h, w, out, n), as `_share` divides."""
    sums = np.zeros((*kernel.shape[:-1], source.max() + 1))
    for place, origin in enumerate(source):
        sums[..., origin] += kernel[..., place]
    return sums.astype(kernel.dtype)


def _share(kernel: np.ndarray, source: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Divide what each input of a kernel weighs among its copies, at random.

    Args:
        kernel: (h, w, out, n).
        source: (m,) the input, from 0 to n - 1, that each new one is a copy of.
        random: for the shares.

    Returns:
        (h, w, out, m), whose sums over the copies of an input are `kernel`.
    """
    shares = random.uniform(1 - SPLIT, 1 + SPLIT, (*kernel.shape[:-1], len(source)))
    sums = _gather(shares, source)
    return (kernel[..., source] * shares / sums[..., source]).astype(kernel.dtype)
