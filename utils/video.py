"""Videos and webcams to frames (H, W, 3) uint8 with their times, and frames to videos.

FFmpeg does it, through the package `av`, which is needed for this alone: requirements/video.txt.
Times are exact fractions of seconds, from the first frame. Sizes are (height, width).
"""

import errno
import os
import re
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from queue import Empty, Queue
from threading import Event, Thread
from types import ModuleType
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from utils.errors import UserError
from utils.files import FULL, open_ordinary, replace_whole

# Not `.ts`, which more often is a program in TypeScript.
SUFFIXES = {".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3g2", ".mkv", ".webm", ".avi", ".wmv", ".asf"}
SUFFIXES |= {".mpg", ".mpeg", ".m2v", ".vob", ".mts", ".m2ts", ".flv", ".f4v", ".ogv"}

# FFmpeg is asked for no others: playlists, as of HLS, DASH and concat, name further files and URLs.
DEMUXERS = "mov,matroska,avi,asf,mpeg,mpegts,mpegvideo,flv,ogg"

FALLBACK_RATE = Fraction(25)  # as FFmpeg's, where a file tells none
LONGEST = 43_200  # seconds between frames; MP4 holds 47,721 with these ticks
MATROSKA_DURATION = r"(\d{1,4}):(\d\d):(\d\d\.\d{1,9})"  # as in 00:00:01.600000000
TICKS = 90_000  # a second at least, as in MPEG: about as exact as the times of any camera
WAIT = 0.005  # seconds until a webcam is asked again
MOST_WAITS, MOST_JOINS = 2_000, 400  # how often: until it counts as dead, and until it is left

# Of the sentences about errors: what fails, the cure, and the cure when nothing is there.
READING = "cannot be read as a video", "copy it anew or save it as MP4", "correct its name"
WATCHING = (
    "cannot be used",
    "close other programs that use it, or let this one use it in the settings of the system",
    "connect it or choose another number",
)

# Crf 18 hardly shows a loss; veryfast leaves the processor to the network.
X264 = {"preset": "veryfast", "crf": "18"}
BT709, LIMITED = 1, 1  # as FFmpeg numbers the colours of HD television, and their range 16 to 235


@dataclass
class Video:
    """Frames in the order in which they are shown, which can be gone through once.

    Iterating gives the time in seconds of each, as a `Fraction`, and the frame, (h, w, 3) uint8,
    upright; few are in memory. A `with` block, or `close`, closes the file or the webcam before
    its end.

    Attributes:
        shape: (h, w) of every frame; those of another size are resized to that of the first.
            Pixels that are not square stay as they are stored.
        rate: frames a second, on average.
        count: of the frames as far as it is known, or estimated from the duration; else None.
        damaged: how many frames were passed over so far since they are damaged, at the end of the
            file with those that are missing there. Those behind a damaged frame may bear its traces
            until the next that stands for itself.
    """

    shape: tuple[int, int] = (0, 0)
    rate: Fraction = FALLBACK_RATE
    count: int | None = None
    damaged: int = 0
    _first: list = field(default_factory=list, repr=False)
    _rest: Generator | None = field(default=None, repr=False)

    def __iter__(self) -> "Video":
        return self

    def __next__(self) -> tuple[Fraction, np.ndarray]:
        return self._first.pop() if self._first else next(self._rest)

    def close(self) -> None:
        """Close the file or the webcam; there are no more frames."""
        self._first.clear()
        self._rest.close()

    def __enter__(self) -> "Video":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def is_video(path: Path | str) -> bool:
    """Whether a file is a video by the end of its name. A GIF is a picture with pages."""
    return Path(path).suffix.lower() in SUFFIXES


def read_video(path: Path | str) -> Video:
    """Open a video. What it says of its rotation, as phones do, is applied, so frames are upright.

    Its content tells its kind. Sound is passed over, and no other file is opened, whatever the
    video names.

    Raises:
        UserError: the file is missing or empty, is no video, or so damaged that no frame is left;
            the package `av` is missing. While frames are read: the disk fails.
    """
    av = _library(path)

    @contextmanager
    def opened() -> Iterator[Any]:
        with open_ordinary(path) as file:
            if not os.fstat(file.fileno()).st_size:
                raise ValueError("it is empty")
            # Given a name, FFmpeg would take "http:..." for a URL.
            options = {"format_whitelist": DEMUXERS}
            try:
                container = av.open(
                    _Source(file), "r", options=options, io_open=_refuse, metadata_errors="replace"
                )
            except av.error.ArgumentError as error:
                raise ValueError("it is a playlist, or of another kind that is not read") from error
            with container:
                yield container

    return _begun(opened, f"{path}", *READING)


def read_webcam(number: int) -> Video:
    """Open a webcam. While a frame is worked on, those that come meanwhile are dropped.

    Args:
        number: from 0; that of `/dev/video0` on Linux, the place in the system's list elsewhere.

    Raises:
        UserError: there is no such webcam, it is in use, or may not be used; the package `av` is
            missing.
    """
    av = _library(f"the webcam {number}")

    @contextmanager
    def opened() -> Iterator[Any]:
        file, kind, options = _webcam(av, number)
        with av.open(file, "r", format=kind, options=options) as container:
            yield container

    video = _begun(opened, f"the webcam {number}", *WATCHING)
    video._rest = _newest(video._rest)
    return video


def write_video(
    path: Path | str, shape: tuple[int, int], rate: Fraction | float
) -> AbstractContextManager["VideoWriter"]:
    """Write a video that browsers play, H.264 in MP4, within a `with` block.

    It replaces `path` whole when the block ends well; when it does not, as after Ctrl-C, what was
    there stays. To keep what a webcam gave until Ctrl-C, catch `KeyboardInterrupt` in the block.

    Args:
        path: of the file, `.mp4`.
        shape: (h, w) of its frames. H.264 for browsers has even sizes: where one is odd, the last
            row or column is repeated.
        rate: frames a second, where they come without times.

    Returns:
        A context manager; what it gives has `write(frame, time=None)`.

    Raises:
        UserError: the file cannot be written, the frames are too large, or there are none; the
            package `av` is missing.
    """
    return _writing(_library(path), path, shape, Fraction(rate).limit_denominator(10_000))


class VideoWriter:
    """What `write_video` gives."""

    def __init__(
        self, av: ModuleType, container: Any, path: Path | str, shape: tuple, rate: Fraction
    ):
        self.path, self.shape, self.last = path, shape, None
        self.frame_of, self.mux = av.VideoFrame.from_ndarray, container.mux
        self.ticks = rate.numerator * max(1, -(-TICKS // rate.numerator))  # whole ones for a frame
        self.duration = round(self.ticks / rate)
        self.stream = container.add_stream("libx264", rate=rate, options=X264)
        self.stream.height, self.stream.width = (side + side % 2 for side in shape)
        self.stream.pix_fmt = "yuv420p"
        self.stream.codec_context.time_base = Fraction(1, self.ticks)
        # Said in the file: players take other colours for small pictures when it is not.
        context = self.stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = BT709
        context.color_range = LIMITED

    def write(self, frame: np.ndarray, time: Fraction | float | None = None) -> None:
        """Append a frame.

        Args:
            frame: (h, w, 3) uint8 of the shape that was told.
            time: in seconds at which it is shown; None: 1 / rate behind the one before. One that is
                not later than that is shown as soon after it as can be.

        Raises:
            UserError: it cannot be written.
        """
        if frame.shape != (*self.shape, 3) or frame.dtype != np.uint8:
            raise ValueError(f"a frame is {frame.shape} {frame.dtype}, not {self.shape} + (3,)")
        if any(side % 2 for side in self.shape):
            height, width = self.shape
            frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
        picture = self.frame_of(np.ascontiguousarray(frame), "rgb24").reformat(
            format="yuv420p", dst_colorspace=BT709, dst_color_range=LIMITED
        )
        if time is None:
            picture.pts = 0 if self.last is None else self.last + self.duration
        else:
            picture.pts = round(time * self.ticks)
        if self.last is not None:
            picture.pts = max(picture.pts, self.last + 1)
        self.last = picture.pts
        picture.time_base = Fraction(1, self.ticks)
        self.mux(self.stream.encode(picture))

    def finish(self) -> None:
        """Write what the encoder held back."""
        if self.last is None:
            raise UserError(f"{self.path} would have no frame; choose a source that has one.")
        self.mux(self.stream.encode(None))


# Reading.


def _library(name: Path | str) -> ModuleType:
    """The package `av`, which is loaded where it is used, since most do without."""
    try:
        import av
    except ImportError as error:
        raise UserError(
            f"{name} needs the package av; install it by "
            "python3 -m pip install -r requirements/video.txt."
        ) from error
    return av


@contextmanager
def _told(name: str, fails: str, cure: str, missing: str) -> Iterator[None]:
    """Every way in which what is done may fail is a `UserError`."""
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"{name} does not exist; {missing}.") from error
    # Files of strangers, and systems with their cameras: the library does not say what they raise.
    except Exception as error:
        raise UserError(f"{name} {fails} ({_reason(error)}); {cure}.") from error


def _reason(error: Exception) -> str:
    """What a library said, in a line, without the file, which FFmpeg's errors name again."""
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(text.split()) or type(error).__name__


class _Source:
    """An open file as the library wants it; without a name, so that its content tells its kind."""

    def __init__(self, file: BinaryIO):
        self.read, self.tell, self._seek = file.read, file.tell, file.seek

    def seek(self, offset: int, whence: int) -> int:
        """As of a file, but for damaged ones, which name places that are none: an exception would
        be printed, and raised when the library is asked the next time, be it for another file.
        """
        try:
            return self._seek(offset, whence)
        except OSError:
            return -errno.EINVAL


def _refuse(*_: object) -> None:
    raise PermissionError("it names another file")


def _begun(opened: Callable, *sentence: str) -> Video:
    """The video behind `opened`, whose first frame is read, since it tells the shape."""
    video = Video()
    video._rest = _frames(video, opened, *sentence)
    video._first = [next(video._rest)]
    return video


def _frames(video: Video, opened: Callable, *sentence: str) -> Generator:
    """The times and frames of what `opened` gives; what becomes known of it is set in `video`."""
    with _told(*sentence), opened() as container:
        stream = _stream(container)
        video.rate = stream.average_rate or stream.guessed_rate or FALLBACK_RATE
        end, video.count = _promised(stream, video.rate)
        step, now, number, shift, turn = 1 / video.rate, None, 0, 0, None
        for frame in _decoded(video, container, stream):
            if now is None:
                turn, now = _turn(frame), Fraction(0)
                size = (frame.height, frame.width)
                video.shape = size[::-1] if turn[0] else size
                shift = -_time(frame, 0)
            else:
                before, now = now, _time(frame, now + step - shift) + shift
                if abs(now - before) > LONGEST:  # such as where two recordings were joined
                    shift += before + step - now
                    now = before + step
            number += 1
            yield now, _upright(frame, video.shape, turn)
        if now is None:
            raise ValueError("no frame of it can be decoded")
        if end is not None and now + step * 3 / 2 < end:
            video.damaged += max(0, video.count - number - video.damaged)


def _stream(container: Any) -> Any:
    """The stream with the video, among those with sound and pictures of a cover."""
    from av.stream import Disposition

    stream = container.streams.best("video")
    if stream is None or stream.disposition & Disposition.attached_pic:
        raise ValueError("it holds no video")
    if stream.codec_context is None:
        raise ValueError("its kind of video is unknown")
    if Image.MAX_IMAGE_PIXELS:  # as of pictures, which Pillow reads up to twice that
        most = 2 * Image.MAX_IMAGE_PIXELS
        if stream.width * stream.height > most:
            raise ValueError(f"{stream.height} x {stream.width} are too many pixels")
        stream.codec_context.options = {"max_pixels": str(most)}  # for later frames
    return stream


def _promised(stream: Any, rate: Fraction) -> tuple[Fraction | None, int | None]:
    """The duration in seconds and the number of frames, as far as the head of a file tells."""
    end = None
    if (stream.duration or 0) > 0:
        end = stream.duration * stream.time_base
    elif tag := re.fullmatch(MATROSKA_DURATION, stream.metadata.get("DURATION", "")):
        hours, minutes, seconds = map(Fraction, tag.groups())
        end = 3600 * hours + 60 * minutes + seconds
    return end, stream.frames or (None if end is None else round(end * rate))


def _time(frame: Any, otherwise: Fraction) -> Fraction:
    """The time of a frame in seconds by the clock of its file."""
    return otherwise if frame.pts is None else frame.pts * frame.time_base


def _decoded(video: Video, container: Any, stream: Any) -> Iterator[Any]:
    """The frames that are whole; the others are counted."""
    from av.error import FFmpegError

    for packet in _packets(container, stream):
        if packet is None or packet.is_corrupt:  # the file ends within it
            video.damaged += 1
            if packet is not None:
                continue
        try:
            frames = stream.decode(packet)
        except FFmpegError:
            video.damaged += 1
            continue
        for frame in frames:
            if frame.is_corrupt:
                video.damaged += 1
            else:
                yield frame


def _packets(container: Any, stream: Any) -> Iterator[Any]:
    """The packets of a stream; None, which empties the decoder, where the file is damaged."""
    from av.error import InvalidDataError

    packets, waits = container.demux(stream), 0
    while waits < MOST_WAITS:
        try:
            packet = next(packets, StopIteration)
        except BlockingIOError:  # of a webcam on a Mac, until there is a frame
            time.sleep(WAIT)
            packets, waits = container.demux(stream), waits + 1
            continue
        except InvalidDataError:
            yield None
            return
        if packet is StopIteration:
            return
        yield packet
        waits = 0
    raise TimeoutError("it gives no picture")


def _turn(frame: Any) -> tuple[bool, int, int]:
    """What shows a frame upright: whether it lies, then the steps through its rows and columns.

    One frame tells for all: the library keeps each that is asked until Python collects garbage.
    """
    # The matrix [[a, b], [c, d]] puts x and y at a x + c y and b x + d y.
    a, b, c, d = 1, 0, 0, 1
    if matrix := frame.side_data.get("DISPLAYMATRIX"):
        a, b, _, c, d, *_ = np.frombuffer(bytes(matrix), np.int32).tolist()
    lies = abs(b) > abs(a)
    a, d = (c, b) if lies else (a, d)
    return lies, -1 if d < 0 else 1, -1 if a < 0 else 1


def _upright(frame: Any, shape: tuple[int, int], turn: tuple[bool, int, int]) -> np.ndarray:
    """A decoded frame as (h, w, 3) uint8 of that shape, turned as `_turn` tells."""
    lies, down, right = turn
    height, width = shape[::-1] if lies else shape
    values = frame.reformat(width, height, "rgb24").to_ndarray()
    values = values.swapaxes(0, 1) if lies else values
    return np.ascontiguousarray(values[::down, ::right])


# Webcams.


def _webcam(av: ModuleType, number: int) -> tuple[str, str, dict[str, str]]:
    """How FFmpeg calls a webcam of this system, its kind of device, and options for it."""
    if sys.platform == "darwin":
        return str(number), "avfoundation", {"framerate": "30"}  # 29.97, its default, is refused
    if sys.platform == "win32":
        devices = av.enumerate_input_devices("dshow")
        devices = [device for device in devices if "video" in device.media_types]
        if number >= len(devices):
            raise FileNotFoundError
        return f"video={devices[number].name}", "dshow", {}
    return f"/dev/video{number}", "v4l2", {}


def _newest(frames: Generator) -> Generator:
    """Of the frames of a webcam always the newest; without, they would come ever later."""
    slot, stop = Queue(maxsize=1), Event()

    def watch() -> None:
        end = None  # or what went wrong
        try:
            for item in frames:
                if stop.is_set():
                    break
                _put(slot, item)
        except BaseException as error:
            end = error
        frames.close()
        slot.put(end)

    thread = Thread(target=watch, daemon=True)
    thread.start()
    try:
        while not isinstance(item := slot.get(), BaseException | None):
            yield item
        if item is not None:
            raise item
    finally:
        stop.set()
        for _ in range(MOST_JOINS):
            _take(slot)  # it may wait with the end
            thread.join(WAIT)
            if not thread.is_alive():
                break


def _put(slot: Queue, item: object) -> None:
    _take(slot)
    slot.put(item)


def _take(slot: Queue) -> None:
    try:
        slot.get_nowait()
    except Empty:
        pass


# Writing.


@contextmanager
def _writing(
    av: ModuleType, path: Path | str, shape: tuple[int, int], rate: Fraction
) -> Iterator[VideoWriter]:
    with replace_whole(path) as unfinished:
        # A browser starts at once with its head in front.
        name, options = str(unfinished), {"movflags": "+faststart"}
        try:
            with av.open(name, "w", format="mp4", options=options) as container:
                writer = VideoWriter(av, container, path, shape, rate)
                yield writer
                writer.finish()
        except av.FFmpegError as error:
            if isinstance(error, OSError) and error.errno in FULL:
                raise  # `replace_whole` tells
            raise UserError(
                f"{path} cannot be written as a video ({_reason(error)}); choose smaller frames or "
                "another place."
            ) from error
