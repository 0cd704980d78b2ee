"""Pictures of any size in tiles: the overlap-tile strategy of U-Net's paper, figure 2; `--tiles`.

A network with valid convolutions answers for the middle of what it is given. Tiles of the answer
are put side by side, those of the picture overlap by the border, and what lies outside the picture
is its mirror image. So the network needs the memory of one tile, whatever the picture, and no seam
shows: where the tiles begin at multiples of all the network's strides together, every pixel is the
same as from the whole picture at once, but for the last digit: libraries add in another order in
maps of another size. The paper's 388 pixels are no multiple of 16; of them 384 are taken here.
"""

import math
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from fast.forward import forward
from metrics import resize_bilinear
from utils.errors import UserError
from zoo.unet import mirrored


def overlap_tiles(
    core: keras.Model,
    pictures: Sequence[np.ndarray],
    size: tuple | None = None,
    *,
    multiple: int,
):
    """What a network with valid convolutions says of pictures, at their own sizes.

    Stands where `evaluation.answer` does, which makes pictures the size of the network.

    Args:
        core: from (B, H, W, channels) to probabilities of the middle (B, H - 2 b, W - 2 b, C), as
            `zoo.build_for_tiles` makes it.
        pictures: B of (any, any, channels) uint8.
        size: (h, w) of the answers; that of the pictures, which is then one, when there is none.
        multiple: of the places where tiles begin, see `stride_of`.

    Returns:
        (B, h, w, C) float32 class probabilities.

    Raises:
        UserError: the answer for a tile is smaller than `multiple`.
    """
    answers = [_one_picture(core, picture, multiple) for picture in pictures]
    size = tuple(size or pictures[0].shape[:2])
    answers = [
        one if one.shape[:2] == size else resize_bilinear(one[None], size)[0] for one in answers
    ]
    return ops.stack(answers)


def stride_of(core: keras.Model) -> int:
    """The strides of all its pools together, by which its answer moves with the picture."""
    pools = [layer for layer in core.layers if isinstance(layer, keras.layers.MaxPooling2D)]
    return math.prod(pool.strides[0] for pool in pools)


def _one_picture(core: keras.Model, picture: np.ndarray, multiple: int) -> np.ndarray:
    inside, outside = np.array(core.output_shape[1:3]), np.array(core.input_shape[1:3])
    edge, stride = (outside - inside) // 2, inside - inside % multiple
    if stride.min() == 0:
        raise UserError(
            f"a tile of {outside[0]}x{outside[1]} has an answer of {inside[0]}x{inside[1]}, too "
            f"few for steps of {multiple}; make the tile {multiple} pixels larger on each side."
        )
    height, width, channels = picture.shape
    tiles = -(-np.array([height, width]) // stride)
    # The tiles from the first to the last read this much after the picture's mirrored end.
    after = (tiles - 1) * stride + outside - edge - (height, width)
    rows = mirrored(height, edge[0], after[0])
    columns = mirrored(width, edge[1], after[1])
    ask, whole = forward(core), np.empty((*tiles * stride, core.output_shape[3]), np.float32)
    for y in range(0, len(whole), stride[0]):
        for x in range(0, whole.shape[1], stride[1]):
            tile = picture[np.ix_(rows[y : y + outside[0]], columns[x : x + outside[1]])]
            answer = ops.convert_to_numpy(ask(tile[None]))[0, : stride[0], : stride[1]]
            whole[y : y + stride[0], x : x + stride[1]] = answer
    return whole[:height, :width]
