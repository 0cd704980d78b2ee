"""Answers to the frames of videos and of a webcam."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack

import numpy as np

from evaluation import Answer, in_batches
from tools.answer_files import Wanted, about, class_and_confidence, results_of
from tools.sources import OF_VIDEOS, Source, is_webcam, of_input, printable
from utils.areas import rows_of
from utils.classes import Classes
from utils.drawing import overlay, write_index_png
from utils.objects import without_specks
from utils.progress import progress
from utils.video import read_video, read_webcam, write_video


def batches_of(frames: Iterable[tuple]) -> Iterator[list[tuple]]:
    """Frames with their times, as many together as can be answered so."""
    return (batch for batch, _ in in_batches(frames, lambda entry: entry[1].shape[:2]))


def answers(ask: Answer, batches: Iterable[list[tuple]], write: Iterable[str]) -> Iterator[tuple]:
    """Time, frame, class ids (h, w) and confidence of every frame."""
    for batch in batches:
        probabilities = ask([frame for _, frame in batch], batch[0][1].shape[:2])  # (B, h, w, C)
        maps, sure = class_and_confidence(probabilities, write)
        for (moment, frame), *of_frame in zip(batch, maps, sure, strict=True):
            yield moment, frame, *of_frame


def segment_video(ask: Answer, classes: Classes, wanted: Wanted, source: Source) -> dict:
    """Segment the frames of a video, or of a webcam until Ctrl-C; return its record."""
    left_out = [kind for kind in wanted.write if kind not in (*OF_VIDEOS, "areas")]
    left_out += ["--tile"] if wanted.windows else []
    if left_out:
        print(
            f"{printable(source.name)} is a video: without {', '.join(left_out)}", file=sys.stderr
        )
    with of_input():
        webcam = is_webcam(source.path)
        video = read_webcam(int(str(source.path))) if webcam else read_video(source.path)
    shares, doubts, rows = np.zeros(len(classes)), [], []
    side = wanted.pixel and wanted.pixel[0]
    paths = dict(
        zip((k for k in wanted.write if k in OF_VIDEOS), results_of(source, wanted), strict=True)
    )

    def frames() -> Iterator[tuple]:
        while True:
            with of_input():
                frame = next(video, None)
            if frame is None:
                return
            yield frame

    with ExitStack() as stack:
        stack.enter_context(video)
        writer = None
        if "overlay" in paths:
            writer = stack.enter_context(write_video(paths["overlay"], video.shape, video.rate))
        bar = progress(frames(), video.count or 0, source.name)
        # Those of a webcam are wanted at once, not when there are several.
        batches = ([each] for each in bar) if webcam else batches_of(bar)
        answered = answers(ask, batches, wanted.write)
        try:
            for number, (moment, frame, labels, sure) in enumerate(answered, 1):
                labels = without_specks(labels, wanted.least) if wanted.least else labels
                if writer:
                    writer.write(overlay(frame, labels, classes), moment)
                if "mask" in paths:
                    write_index_png(paths["mask"] / f"{number:06}.png", labels, classes)
                if "areas" in wanted.write:
                    rows += rows_of(f"{source.name}#{number}", labels, classes, sure, side)
                shares += np.bincount(labels.ravel(), minlength=len(classes)) / labels.size
                doubts.append(1 - float(sure.mean()))
        except KeyboardInterrupt:  # which ends a webcam, whose video is kept
            if not webcam:
                raise
    if "mask" in paths:  # a longer video had that name
        for path in paths["mask"].glob("[0-9]" * 6 + ".png"):
            if int(path.stem) > len(doubts):
                path.unlink()
    if video.damaged:
        print(
            f"{printable(source.name)}: {video.damaged} damaged frames passed over",
            file=sys.stderr,
        )
    count = max(1, len(doubts))
    record = about(source, video.shape, shares / count, sum(doubts) / count, wanted)
    return record | ({"rows": rows} if "areas" in wanted.write else {})
