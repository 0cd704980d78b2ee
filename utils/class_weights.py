"""Weights that let rare classes count as much as common ones."""

import numpy as np


def median_frequency(pixels: np.ndarray, surroundings: np.ndarray) -> np.ndarray:
    """Median frequency balancing.

    The frequency of a class is its share of the pixels of those pictures that hold it, void left
    out; its weight is the median of all frequencies over its own (David Eigen and Rob Fergus,
    "Predicting Depth, Surface Normals and Semantic Labels with a Common Multi-Scale Convolutional
    Architecture", 2015).

    Args:
        pixels: (n_classes,) number of pixels of each class.
        surroundings: (n_classes,) number of pixels of the pictures that hold it.

    Returns:
        (n_classes,) float64; NaN for a class without a pixel.
    """
    used = pixels > 0
    weights = np.full(len(pixels), np.nan)
    if used.any():
        frequency = pixels[used] / surroundings[used]
        weights[used] = np.median(frequency) / frequency
    return weights
