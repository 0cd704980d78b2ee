"""The scale of the deep pictures of a data folder: found when labels are first made, then kept."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from utils.label_maps.report import Report
from utils.reading import Reading


def with_scale(reading: Reading, paths: Iterable[Path], report: Report) -> Reading:
    """The reading with the scale of the pictures, see `scale.find_scale`.

    Args:
        reading: what was decided; a scale in it stays.
        paths: of all pictures in the folder, those of other sets among them.
        report: for a remark on what was found.

    Raises:
        UserError: no scale fits all pictures.
    """
    from utils.scale import find_scale

    scale = reading.scale or find_scale(paths)
    if scale is None:
        return reading
    low, high = scale
    report.note(
        "scale",
        f"{low:g} to {high:g} become black to white in all pictures, in prediction too; "
        "--scale LOW HIGH, when labels are first made, says it otherwise",
    )
    return replace(reading, scale=scale)
