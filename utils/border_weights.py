"""U-Net's weight map: what lies between objects that nearly touch is to be learnt well.

Ronneberger et al., "U-Net: Convolutional Networks for Biomedical Image Segmentation", 2015,
equation 2: w = w_c + w0 exp(-(d1 + d2)^2 / (2 sigma^2)).
"""

import numpy as np
from scipy.ndimage import distance_transform_edt, find_objects
from skimage.measure import label

from utils.classes import VOID

W0 = 10.0
SIGMA = 5.0  # pixels
REACH = 6 * SIGMA  # pixels; beyond it w0 exp(...) is below the last digit of a float32 of 1


def border_weights(labels: np.ndarray, class_weights: np.ndarray | None = None) -> np.ndarray:
    """How much each pixel of a label map counts.

    An object is a connected region of one class other than 0, corners included: two of one class
    that touch are one, since nothing in a label map parts them. d1 and d2 are the distances to the
    two nearest objects, in pixels in between: 0 within an object and right beside it. So w is
    w_c + w0 where two touch, and w_c where there are fewer than two.

    Args:
        labels: (H, W) uint8 class ids, 255 = void.
        class_weights: (n_classes,) w_c of each class; None: 1 for all.

    Returns:
        (H, W) float32; 0 for void.
    """
    known = labels != VOID
    objects = label(np.where(known, labels, 0), background=0)
    distances = np.full((2, *labels.shape), np.inf)  # the nearest, the second nearest
    margin = int(REACH) + 1
    for number, place in enumerate(find_objects(objects), 1):
        around = tuple(slice(max(0, s.start - margin), s.stop + margin) for s in place)
        apart = distance_transform_edt(objects[around] != number)
        apart = np.maximum(apart - 1, 0)
        nearest, second = distances[(slice(None), *around)]
        second[:] = np.minimum(second, np.maximum(nearest, apart))
        nearest[:] = np.minimum(nearest, apart)
    near = W0 * np.exp(-(distances.sum(0) ** 2) / (2 * SIGMA**2))
    of_class = 1.0 if class_weights is None else np.take(class_weights, np.where(known, labels, 0))
    return np.where(known, of_class + near, 0).astype(np.float32)
