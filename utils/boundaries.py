"""Distance to the nearest boundary: are pixels wrong at the rims of objects, or inside them?

After the trimap of Krähenbühl and Koltun, "Efficient Inference in Fully Connected CRFs with
Gaussian Edge Potentials" (2011), a band around the boundaries; here bands go on to the interior.
"""

import numpy as np
from scipy.ndimage import distance_transform_edt

from utils.classes import VOID
from utils.drawing import outlines

BANDS = (0, 2, 4, 8, 16)  # pixels: where a band of distances begins; each ends before the next
BAND_NAMES = ("0-1", "2-3", "4-7", "8-15", "16 and more")


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
