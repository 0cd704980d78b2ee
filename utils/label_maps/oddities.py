"""What is remarked on of a picture whose file holds more than what is read of it."""

from pathlib import Path

from utils.label_maps.report import Report
from utils.reading import Reading

USUAL = 3  # channels


def note_oddities(
    report: Report, key: str, path: Path, reading: Reading, page: int | None = None
) -> None:
    """Note an orientation, pages and channels of a picture that are read in a way to know of.

    Args:
        report: takes the notes.
        key: the picture's name, for the notes.
        path: of its file.
        reading: how labels and pictures are meant.
        page: that is labelled, from 0, where all of a file are; None where it is the first alone.

    Raises:
        UserError: the file cannot be read.
    """
    from utils.pictures import channels_of, orientation_of, pages_of

    upright = "as its raw frame" if reading.turn == "raw" else "as it is shown, upright"
    if (turn := orientation_of(path, page or 0)) != 1:
        report.note("turned", f"{key}, EXIF orientation {turn}: labels are for it {upright}")
    if page is None and (pages := pages_of(path)) > 1:
        report.note("pages", f"{key} has {pages}")
    if (channels := channels_of(path, page or 0)) > USUAL:
        report.note("channels", f"{key} has {channels}")
