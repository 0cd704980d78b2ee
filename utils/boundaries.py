"""Distance to the nearest boundary: are pixels wrong at the rims of objects, or inside them?

After the trimap of Krähenbühl and Koltun, "Efficient Inference in Fully Connected CRFs with
Gaussian Edge Potentials" (2011), a band around the boundaries; here bands go on to the interior.

And two scores of boundaries that the papers report: F1 of contours and mIoU within trimaps.
"""

import numpy as np
from scipy.ndimage import distance_transform_edt

from utils.classes import VOID
from utils.drawing import outlines

BANDS = (0, 2, 4, 8, 16)  # pixels: where a band of distances begins; each ends before the next
BAND_NAMES = ("0-1", "2-3", "4-7", "8-15", "16 and more")
TRIMAPS = (1, 2, 4, 8, 16)  # pixels: how far a trimap goes to either side of a boundary
TOLERANCE = 0.0075  # of the diagonal (Csurka et al.; SegNet)


def boundary_distances(labels: np.ndarray) -> np.ndarray:
    """How far each pixel is from a boundary of the labels, (H, W) float64 in pixels.

    A pixel that has another label beside, above or below it lies on a boundary, at distance 0; to
    it the others have their Euclidean distance. The rim of void (255) is a boundary too: in PASCAL
    VOC void covers the true one. Infinite where the map holds one label only.
    """
    boundary = outlines(labels)
    if not boundary.any():
        return np.full(labels.shape, np.inf)
    return distance_transform_edt(~boundary)


def count_by_distance(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Pixels, and wrong pixels among them, by distance to the nearest boundary of the truth.

    Args:
        truth: (H, W) uint8 class ids; void (255) is not counted.
        predicted: (H, W) uint8 class ids.

    Returns:
        (bands, 2) int64: pixels and wrong pixels of each band of `BANDS`.
    """
    counted = truth != VOID
    band = np.digitize(boundary_distances(truth), BANDS)[counted] - 1  # (n,)
    wrong = (truth != predicted)[counted]
    return np.stack(
        [
            np.bincount(band, minlength=len(BANDS)),
            np.bincount(band[wrong], minlength=len(BANDS)),
        ],
        axis=1,
    )


def count_in_trimaps(truth: np.ndarray, predicted: np.ndarray, n_classes: int) -> np.ndarray:
    """Confusion matrices of the pixels near boundaries of the truth: DeepLab's, section 4.3.

    A trimap of width 1 is the pixels at distance 0, see `boundary_distances`: one on either side.

    Args:
        truth: (H, W) uint8 class ids; ids from `n_classes` up, as void (255), are not counted.
        predicted: (H, W) uint8 class ids below `n_classes`.
        n_classes: C.

    Returns:
        (trimaps, C, C) int64, pixels by true and predicted class for each width of `TRIMAPS`.
    """
    distances, counted = boundary_distances(truth), truth < n_classes
    matrices = []
    for width in TRIMAPS:
        near = counted & (distances < width)
        bins = truth[near].astype(np.int64) * n_classes + predicted[near]
        matrices.append(np.bincount(bins, minlength=n_classes**2).reshape(n_classes, n_classes))
    return np.stack(matrices)


def boundary_f1(truth: np.ndarray, predicted: np.ndarray, n_classes: int) -> np.ndarray:
    """How well the contours of each class are met, with a tolerance.

    Gabriela Csurka et al., "What is a good evaluation measure for semantic segmentation?" (2013),
    as SegNet reports it: precision is the share of the predicted contour that is less than 0.75 %
    of the diagonal away from the true one, recall that of the true one so near to the predicted
    one. A pixel is of a class's contour if another class is beside, above or below it. Void has no
    contour, and what is predicted there does not count.

    Args:
        truth: (H, W) uint8 class ids; those from `n_classes` up, as 255, are void.
        predicted: (H, W) uint8 class ids below `n_classes`.
        n_classes: C.

    Returns:
        (C,) float64 from 0 to 1; NaN for a class that is not in the truth. Without a contour in
        either map, as where a class fills both, it is met.
    """
    void = truth >= n_classes
    predicted = np.where(void, truth, predicted)
    tolerance = TOLERANCE * np.hypot(*truth.shape)
    result = np.full(n_classes, np.nan)
    for each in np.unique(truth[~void]):
        contours = [_contour(labels == each, void) for labels in (predicted, truth)]
        lengths = [np.count_nonzero(contour) for contour in contours]
        result[each] = 0 if any(lengths) else 1
        if all(lengths):
            met = [
                np.count_nonzero(distance_transform_edt(~other)[contour] < tolerance)
                for contour, other in zip(contours, reversed(contours), strict=True)
            ]
            precision, recall = met[0] / lengths[0], met[1] / lengths[1]
            if precision + recall:
                result[each] = 2 * precision * recall / (precision + recall)
    return result


def _contour(inside: np.ndarray, void: np.ndarray) -> np.ndarray:
    """Pixels of a class that have one of another class, not void, beside them: (H, W) bool."""
    outside = np.pad(~inside & ~void, 1)
    beside = outside[:-2, 1:-1] | outside[2:, 1:-1] | outside[1:-1, :-2] | outside[1:-1, 2:]
    return inside & beside
