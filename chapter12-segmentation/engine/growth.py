"""Training that begins with small pictures and grows.

The network is fully convolutional: its weights fit any size. A step at half the height and width
takes a quarter of the arithmetic, and the kinds and rough shapes of things are learnt as well from
it; edges are learnt at the end, at the whole size. (Howard, "Training ImageNet in 3 hours", 2018,
calls it progressive resizing.)
"""

from dataclasses import dataclass

# From which share of the epochs on, which share of the height and of the width.
SHARES = {0.0: 0.4, 0.45: 0.6, 0.7: 1.0}
MULTIPLE = 32  # the stride of the coarsest map of many networks, which pad to it anyway


@dataclass(frozen=True)
class Stage:
    """Training at one size, from the 0-based epoch `start` up to and without `end`."""

    size: tuple[int, int]  # (H, W)
    start: int
    end: int


def stages(size: tuple[int, int], epochs: int, schedule_epochs: int, grow: bool) -> list[Stage]:
    """The sizes that a run goes through; the last has its whole size unless it ends before.

    Args:
        size: (H, W), the last one.
        epochs: of the run in all.
        schedule_epochs: over which it grows: a run that is resumed for more epochs has grown.
        grow: begin small; False gives one stage.
    """
    if not grow:
        return [Stage(size, 0, epochs)]
    starts = [round(share * schedule_epochs) for share in SHARES]
    result = []
    for scale, start, end in zip(SHARES.values(), starts, [*starts[1:], epochs], strict=True):
        if start < min(end, epochs):
            result.append(Stage(_scaled(size, scale), start, min(end, epochs)))
    return result


def _scaled(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """The size times `scale`, rounded up to whole values of the coarsest map; `size` for 1."""
    if scale == 1:
        return size
    height, width = (min(side, -int(-side * scale // MULTIPLE) * MULTIPLE) for side in size)
    return height, width
