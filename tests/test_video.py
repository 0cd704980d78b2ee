"""Videos and webcams as sources, videos as results; without the package `av` most are skipped."""

import gc
import os
import re
import struct
import sys
import threading
import time
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from utils import pictures, video
from utils.errors import UserError
from utils.video import is_video, read_video, read_webcam, write_video

SHAPE = (48, 64)


@pytest.fixture
def av():
    return pytest.importorskip("av")


@pytest.fixture
def encode(av):
    """A function that writes a video by the library itself."""

    def write(path, frames, kind="mp4", codec="libx264", pixels="yuv420p", turn=None, **options):
        flags = {"movflags": "faststart"} if kind in ("mp4", "mov") else {}
        with av.open(str(path), "w", format=kind, options=flags) as file:
            stream = file.add_stream(codec, rate=25, options=options)
            stream.height, stream.width = frames[0].shape[:2]
            stream.pix_fmt = pixels
            if turn:
                stream.set_display_rotation(*turn)
            for number, values in enumerate(frames):
                frame = av.VideoFrame.from_ndarray(values)
                frame.pts = number
                file.mux(stream.encode(frame))
            file.mux(stream.encode())

    return write


LOSSLESS = {"kind": "matroska", "codec": "ffv1", "pixels": "bgr0"}


def frames_of(count, shape=SHAPE):
    """Frames (h, w, 3) uint8, the first of which is dark, with a bright quarter at the top left."""
    found = np.empty((count, *shape, 3), np.uint8)
    found[:] = (60, 40, 90)
    found += np.uint8(100 / count) * np.arange(count, dtype=np.uint8)[:, None, None, None]
    found[:, : shape[0] // 2, : shape[1] // 2] = (230, 210, 200)
    return list(found)


def assert_like(found, frames, loss=8):
    """Same number, and same colours in the same order."""
    assert len(found) == len(frames)
    for one, other in zip(found, frames, strict=True):
        assert one.shape == other.shape and one.dtype == np.uint8
        difference = np.abs(one.astype(int) - other)
        assert np.median(difference) <= 4 and np.percentile(difference, 90) <= loss


def read(path):
    """The frames of a video, and what is known behind the last."""
    with read_video(path) as found:
        return [frame for _, frame in found], found


KINDS = [
    ("a.mp4", "mp4", "libx264", {}),
    ("a.mov", "mov", "mjpeg", {"pixels": "yuvj420p"}),
    ("a.mkv", "matroska", "libx264", {}),
    ("a.webm", "webm", "libvpx-vp9", {"deadline": "realtime", "cpu-used": "8"}),
    ("a.avi", "avi", "mpeg4", {}),
    ("a.wmv", "asf", "wmv2", {}),
    ("a.mpg", "mpeg", "mpeg2video", {}),
    ("a.mts", "mpegts", "mpeg2video", {}),
    ("a.flv", "flv", "flv", {}),
]


@pytest.mark.parametrize("name,kind,codec,options", KINDS, ids=[kind[0] for kind in KINDS])
def test_kinds(tmp_path, encode, name, kind, codec, options):
    """Number, order, times and colours of the frames; the content tells the kind."""
    for path in (tmp_path / name, tmp_path / "other.mp4"):
        frames = frames_of(12)
        encode(path, frames, kind, codec, **options)
        found = read_video(path)
        assert is_video(path) and found.shape == SHAPE and found.rate == 25
        assert found.count in (12, None) or kind in ("mpeg", "mpegts", "asf")
        times, seen = zip(*found, strict=True)
        assert_like(seen, frames, loss=16)
        np.testing.assert_allclose(np.array(times, float), np.arange(12) / 25, atol=0.001)
        assert found.damaged == 0 and times[0] == 0


@pytest.mark.parametrize("shape", [(1, 1), (47, 63), (1, 40), (2, 3)])
def test_odd_sizes_and_a_single_frame(tmp_path, encode, shape):
    frames = frames_of(1, shape)
    encode(tmp_path / "a.mkv", frames, **LOSSLESS)
    found, known = read(tmp_path / "a.mkv")
    assert known.shape == shape and known.damaged == 0
    np.testing.assert_array_equal(found, frames)


@pytest.mark.parametrize("degrees", [0, 90, 180, -90])
@pytest.mark.parametrize("flips", [(False, False), (True, False), (False, True)])
def test_frames_are_upright(tmp_path, encode, degrees, flips):
    """As phones store them: lying, with a matrix that a player applies."""
    frames = frames_of(3)
    encode(tmp_path / "a.mp4", frames, turn=(degrees, *flips))
    turned = [np.rot90(frame, degrees // 90) for frame in frames]
    turned = [frame[:, ::-1] if flips[0] else frame for frame in turned]
    turned = [frame[::-1] if flips[1] else frame for frame in turned]
    found, known = read(tmp_path / "a.mp4")
    assert known.shape == turned[0].shape[:2] and all(f.flags.c_contiguous for f in found)
    assert_like(found, turned)


def test_later_frames_of_another_size_are_resized(tmp_path, encode):
    for name, shape in (("a", (48, 64)), ("b", (96, 32))):
        encode(tmp_path / name, frames_of(6, shape), "mpegts", "mpeg2video")
    joined = (tmp_path / "a").read_bytes() + (tmp_path / "b").read_bytes()
    (tmp_path / "c.mts").write_bytes(joined)
    found, _ = read(tmp_path / "c.mts")
    assert len(found) >= 10 and {frame.shape for frame in found} == {(48, 64, 3)}
    assert_like(found[-3:], frames_of(6)[-3:], loss=40)


def test_frames_are_decoded_as_they_are_asked_for(tmp_path, encode, monkeypatch):
    encode(tmp_path / "a.mkv", frames_of(60), **LOSSLESS)
    calls, plain = [], video._upright
    monkeypatch.setattr(video, "_upright", lambda *given: calls.append(1) or plain(*given))
    found = read_video(tmp_path / "a.mkv")
    for _ in range(3):
        next(found)
    assert len(calls) == 3
    found.close()
    assert list(found) == [] and len(calls) == 3
    with read_video(tmp_path / "a.mkv") as found:
        pass
    assert list(found) == []


def test_frames_that_were_given_are_not_kept(tmp_path, encode):
    """The library did so until Python collected garbage: 3 MB for each frame of 1920x1080."""
    encode(tmp_path / "a.mp4", frames_of(40))
    with read_video(tmp_path / "a.mp4") as found:
        next(found)
        gc.collect()
        gc.disable()
        try:
            for _ in found:
                pass
            kinds = [type(thing).__name__ for thing in gc.get_objects()]
        finally:
            gc.enable()
    assert kinds.count("VideoFrame") + kinds.count("SideDataContainer") <= 3


def test_joined_recordings_have_no_gap_of_years(tmp_path, av):
    """And no frame of a damaged file is put so far that it cannot be written."""
    with av.open(str(tmp_path / "a.mkv"), "w") as file:
        stream = file.add_stream("mjpeg", rate=25)
        stream.height, stream.width, stream.pix_fmt = *SHAPE, "yuvj420p"
        for number, values in enumerate(frames_of(9)):
            frame = av.VideoFrame.from_ndarray(values)
            frame.pts = 2 * number + 10**7 * (number // 3)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    times = [float(moment) for moment, _ in read_video(tmp_path / "a.mkv")]
    steps = np.diff(times)
    assert (steps[[2, 5]] > 0).all() and (steps[[2, 5]] < 60).all()
    np.testing.assert_allclose(steps[[0, 1, 3, 4, 6, 7]], 2 / 25, atol=0.001)


# Damage.


def damage(path, *parts):
    """Turn some bytes over, each run at a part of the file."""
    content = bytearray(path.read_bytes())
    for part in parts:
        place = int(part * len(content))
        content[place : place + 20] = bytes(255 - value for value in content[place : place + 20])
    path.write_bytes(content)


def noise_of(count):
    return list(np.random.default_rng(0).integers(0, 256, (count, *SHAPE, 3), np.uint8))


def test_damaged_frames_are_passed_over_and_counted(tmp_path, encode):
    """Each frame of this codec stands for itself and has checksums, so the others are exact."""
    frames, path = noise_of(9), tmp_path / "a.mov"
    encode(path, frames, "mov", "png", "rgb24")
    damage(path, 0.4, 0.6)
    found, known = read(path)
    assert known.damaged == 2
    np.testing.assert_array_equal(found, [frames[n] for n in (0, 1, 2, 4, 6, 7, 8)])


def test_frames_that_were_mended_are_damaged(tmp_path, encode):
    """The decoder of H.264 fills holes with what was there before, and says so."""
    encode(tmp_path / "a.mp4", noise_of(30))
    damage(tmp_path / "a.mp4", *np.arange(0.2, 0.9, 0.05))
    found, known = read(tmp_path / "a.mp4")
    assert known.damaged >= 2 and len(found) + known.damaged == 30


def test_the_frame_within_which_a_file_ends_is_damaged(tmp_path, encode):
    encode(tmp_path / "a.avi", noise_of(8), "avi", "mjpeg", "yuvj420p")
    whole, _ = read(tmp_path / "a.avi")
    content = (tmp_path / "a.avi").read_bytes()
    (tmp_path / "a.avi").write_bytes(content[: len(content) * 6 // 10])
    found, known = read(tmp_path / "a.avi")
    assert len(found) >= 2 and len(found) + known.damaged == 8
    np.testing.assert_array_equal(found, whole[: len(found)])


def test_what_was_cut_away_on_purpose_is_not_missing(tmp_path, av):
    """A phone shortens a video by a note in its head; the frames before it are not shown."""
    options = {"avoid_negative_ts": "disabled"}
    with av.open(str(tmp_path / "a.mp4"), "w", options=options) as file:
        stream = file.add_stream("libx264", rate=25, options={"bf": "0"})
        stream.height, stream.width, stream.pix_fmt = *SHAPE, "yuv420p"
        for number, values in enumerate(frames_of(20)):
            frame = av.VideoFrame.from_ndarray(values)
            frame.pts = number - 5
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    found, known = read(tmp_path / "a.mp4")
    assert known.damaged == 0
    assert_like(found, frames_of(20)[5:])


@pytest.mark.parametrize(
    "kind,codec", [("mp4", "libx264"), ("matroska", "libx264"), ("avi", "mpeg4")]
)
def test_cut_at_every_tenth(tmp_path, encode, kind, codec):
    """What is there is read, what is missing counted; or it is refused in one sentence."""
    frames = frames_of(40)
    for number, frame in enumerate(frames):  # noise, else the frames hardly take room
        frame[24:] = np.random.default_rng(number).integers(0, 255, (24, 64, 3))
    encode(tmp_path / "whole", frames, kind, codec)
    content, numbers = (tmp_path / "whole").read_bytes(), []
    for tenth in range(1, 10):
        path = tmp_path / "a.mp4"
        path.write_bytes(content[: len(content) * tenth // 10])
        try:
            found, known = read(path)
        except UserError as error:
            assert re.fullmatch(
                r"\S+a\.mp4 cannot be read as a video \([^\n]+\); copy it anew or save it as MP4\.",
                str(error),
            )
            numbers.append(0)
            continue
        numbers.append(len(found))
        assert len(found) + known.damaged == 40 and known.damaged > 0
        assert_like([f[:20, :28] for f in found], [f[:20, :28] for f in frames[: len(found)]], 40)
    assert numbers == sorted(numbers) and 30 <= numbers[-1] < 40


def test_a_head_at_the_end_that_is_cut_off(tmp_path, av, encode):
    """As of a camera whose battery was empty."""
    encode(tmp_path / "a.mov", frames_of(9), "mov", "mjpeg", "yuvj420p")
    with av.open(str(tmp_path / "b.mov"), "w") as file:
        stream = file.add_stream("mjpeg", rate=25)
        stream.height, stream.width, stream.pix_fmt = *SHAPE, "yuvj420p"
        file.mux(stream.encode(av.VideoFrame.from_ndarray(frames_of(1)[0])))
        file.mux(stream.encode())
    content = (tmp_path / "b.mov").read_bytes()
    assert content.index(b"moov") > content.index(b"mdat")
    (tmp_path / "b.mov").write_bytes(content[: content.index(b"moov")])
    with pytest.raises(UserError, match=r"b\.mov cannot be read as a video \(.+\); copy it anew"):
        read_video(tmp_path / "b.mov")


def test_what_is_no_video(tmp_path, av):
    (tmp_path / "text.mp4").write_text("no video\n" * 1000)
    (tmp_path / "empty.mp4").write_text("")
    (tmp_path / "folder.mp4").mkdir()
    Image.new("RGB", (40, 30)).save(tmp_path / "b.jpg")
    os.rename(tmp_path / "b.jpg", tmp_path / "picture.mp4")
    names = ["text", "empty", "folder", "picture"]
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.mp4")
        names.append("pipe")
    for name in names:
        with pytest.raises(UserError) as error:
            read_video(tmp_path / f"{name}.mp4")
        assert re.fullmatch(
            rf"\S+{name}\.mp4 cannot be read as a video \([^()\n]+\); copy it anew or save it as "
            r"MP4\.",
            str(error.value),
        )
    with pytest.raises(UserError, match=r"empty\.mp4 cannot be read as a video \(it is empty\)"):
        read_video(tmp_path / "empty.mp4")
    with pytest.raises(UserError, match=r"none\.mp4 does not exist; correct its name\."):
        read_video(tmp_path / "none.mp4")


def test_damage_is_not_printed(tmp_path, encode, capfd):
    """The library once printed six lines for each place in such a file that is none."""
    encode(tmp_path / "a.wmv", frames_of(12), "asf", "wmv2")
    content = (tmp_path / "a.wmv").read_bytes()
    for place in range(0, 600, 13):
        changed = content[:place] + b"\xff" * 8 + content[place + 8 :]
        (tmp_path / "b.wmv").write_bytes(changed)
        try:
            read(tmp_path / "b.wmv")
        except UserError:
            pass
    assert capfd.readouterr() == ("", "")


def test_sound_with_a_cover_is_no_video(tmp_path, av):
    Image.new("RGB", (20, 10)).save(tmp_path / "cover.jpg")
    with av.open(str(tmp_path / "a.mkv"), "w") as file:
        stream = file.add_stream("pcm_s16le", rate=8000, layout="mono")
        file.add_attachment("cover.jpg", "image/jpeg", (tmp_path / "cover.jpg").read_bytes())
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        sound.sample_rate = 8000
        file.mux(stream.encode(sound))
        file.mux(stream.encode())
    with pytest.raises(UserError, match="it holds no video"):
        read_video(tmp_path / "a.mkv")


def test_too_many_pixels(tmp_path, encode, monkeypatch):
    encode(tmp_path / "a.mp4", frames_of(2))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(UserError, match="48 x 64 are too many pixels"):
        read_video(tmp_path / "a.mp4")


# Files that name others.


def box(name, content):
    return struct.pack(">I4s", 8 + len(content), name) + content


def with_reference(content, target):
    """An MP4 whose frames lie in another file: its reference to data replaced by an alias."""
    name = str(target).encode()
    record = bytes(10) + b"\0" + bytes(27 + 12) + b"\0" + bytes(63 + 16) + bytes(20)
    record += struct.pack(">HH", 2, len(name)) + name + bytes(len(name) % 2) + b"\xff\xff\0\0"
    reference = box(b"alis", bytes(4) + record)

    def rebuilt(data):
        parts, place = [], 0
        while place < len(data):
            size, kind = struct.unpack_from(">I4s", data, place)
            inner = data[place + 8 : place + size]
            if kind in (b"moov", b"trak", b"mdia", b"minf", b"dinf"):
                inner = rebuilt(inner)
            parts.append(box(kind, inner[:8] + reference if kind == b"dref" else inner))
            place += size
        return b"".join(parts)

    return rebuilt(content)


def test_no_other_file_is_opened(tmp_path, av, encode, monkeypatch):
    """Playlists and references to a file beside them; the library follows each when it is let."""
    encode(tmp_path / "secret.ts", noise_of(3), "mpegts", "mpeg2video")
    encode(tmp_path / "secret.mp4", frames_of(3), "mp4", "mjpeg", "yuvj420p")
    lists = {
        "a.mp4": f"ffconcat version 1.0\nfile {tmp_path}/secret.mp4\n",
        "b.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{tmp_path}/secret.ts\n"
        "#EXT-X-ENDLIST\n",
    }
    for name, content in lists.items():
        (tmp_path / name).write_text(content)
        with av.open(str(tmp_path / name), options={"safe": "0"}) as followed:
            assert len(list(followed.decode(video=0))) == 3
        with pytest.raises(UserError, match="a playlist, or of another kind|Invalid data"):
            read_video(tmp_path / name)
    # Behind that line of defence stands another, but for concat.
    monkeypatch.setattr(video._Source, "name", "b.m3u8", raising=False)
    monkeypatch.setattr(video, "DEMUXERS", video.DEMUXERS + ",hls,applehttp")
    with pytest.raises(UserError, match="it names another file"):
        read_video(tmp_path / "b.m3u8")


def test_no_reference_is_followed(tmp_path, av, encode):
    """Of QuickTime, to the file with the frames."""
    path = tmp_path / "a.mov"
    encode(tmp_path / "b.mov", frames_of(3), "mov", "mjpeg", "yuvj420p")
    whole = (tmp_path / "b.mov").read_bytes()
    path.write_bytes(with_reference(whole, tmp_path / "b.mov"))
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"mdat") + 4].ljust(len(content), b"\0"))
    options = {"enable_drefs": "1", "use_absolute_path": "1"}
    with av.open(str(path), options=options) as followed:
        assert len(list(followed.decode(video=0))) == 3
    with pytest.raises(UserError, match="no frame of it can be decoded"):
        read_video(path)


NAMES = ["two\nlines.mp4", "http:x.mp4", "concat:a|b.mp4", "%03d.mp4", "ü ☃.mp4", "-i.mp4"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")
@pytest.mark.parametrize("name", NAMES)
def test_names(tmp_path, av, monkeypatch, name):
    """In a folder whose name looks like a protocol, too."""
    (tmp_path / "tcp:").mkdir()
    monkeypatch.chdir(tmp_path)
    for path in (Path(name), Path("tcp:") / name):
        with write_video(path, SHAPE, 25) as result:
            result.write(frames_of(1)[0])
        assert len(read(path)[0]) == 1
    assert sorted(os.listdir()) == sorted([name, "tcp:"]) and os.listdir("tcp:") == [name]


# Writing.


@pytest.mark.parametrize("rate", [30, Fraction(30000, 1001), Fraction(24000, 1001), 12.5, 1 / 3])
def test_what_is_written_is_read(tmp_path, av, rate):
    frames = frames_of(10)
    with write_video(tmp_path / "a.mp4", SHAPE, rate) as result:
        for frame in frames:
            result.write(frame)
    found = read_video(tmp_path / "a.mp4")
    exact = Fraction(rate).limit_denominator(10_000)
    assert (found.shape, found.rate, found.count) == (SHAPE, exact, 10)
    times, seen = zip(*found, strict=True)
    assert times == tuple(number / exact for number in range(10)) and found.damaged == 0
    assert_like(seen, frames)
    assert os.listdir(tmp_path) == ["a.mp4"]


def test_colours(tmp_path, av):
    """Those of a mask stay, at the sizes of which players take different colours."""
    colours = [(0, 0, 0), (255, 255, 255), (220, 30, 30), (30, 200, 30), (30, 30, 220)]
    for shape in (SHAPE, (720, 1280)):
        with write_video(tmp_path / "a.mp4", shape, 5) as result:
            for colour in colours:
                result.write(np.full((*shape, 3), colour, np.uint8))
        found, _ = read(tmp_path / "a.mp4")
        for frame, colour in zip(found, colours, strict=True):
            assert np.abs(frame.astype(int) - colour).max() <= 4
        with av.open(str(tmp_path / "a.mp4")) as file:
            frame = next(file.decode(video=0))
            assert (frame.colorspace, frame.color_range) == (1, 1)


def test_times_are_kept(tmp_path, av):
    times = [0, 0.1, 0.5, Fraction(11, 20), 2, 2, 1.9, 3, None]
    with write_video(tmp_path / "a.mp4", SHAPE, 10) as result:
        for moment in times:
            result.write(frames_of(1)[0], moment)
    found = read_video(tmp_path / "a.mp4")
    seen = [float(moment) for moment, _ in found]
    np.testing.assert_allclose(seen, [0, 0.1, 0.5, 0.55, 2, 2, 2, 3, 3.1], atol=0.0001)
    assert (np.diff(seen) > 0).all() and found.damaged == 0  # nothing is missing at the end


@pytest.mark.parametrize("shape", [(47, 63), (48, 63), (47, 64), (1, 1)])
def test_odd_sizes_are_padded(tmp_path, av, shape):
    """Not resized, which stripes of a pixel would not outlive."""
    frames = [np.full((*shape, 3), 150, np.uint8) for _ in range(3)]
    for frame in frames:
        frame[:, : shape[1] // 2 : 2] = frame[: shape[0] // 2 : 2, shape[1] // 2 :] = 50
    with write_video(tmp_path / "a.mp4", shape, 25) as result:
        for frame in frames:
            result.write(frame)
    found, known = read(tmp_path / "a.mp4")
    assert known.shape == (shape[0] + shape[0] % 2, shape[1] + shape[1] % 2)
    padding = ((0, shape[0] % 2), (0, shape[1] % 2), (0, 0))
    assert_like(found, [np.pad(frame, padding, "edge") for frame in frames])


def test_browsers_play_it(tmp_path, av):
    """H.264 with 4:2:0 and 8 bits, its head in front."""
    with write_video(tmp_path / "a.mp4", SHAPE, 25) as result:
        result.write(frames_of(1)[0])
    with av.open(str(tmp_path / "a.mp4")) as file:
        stream = file.streams.video[0]
        assert (stream.codec.name, stream.pix_fmt, stream.profile) == ("h264", "yuv420p", "High")
    content = (tmp_path / "a.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_what_breaks_off_leaves_the_old_file(tmp_path, av, error):
    (tmp_path / "a.mp4").write_text("old")
    with pytest.raises(error), write_video(tmp_path / "a.mp4", SHAPE, 25) as result:
        for frame in frames_of(20):
            result.write(frame)
        raise error
    assert os.listdir(tmp_path) == ["a.mp4"] and (tmp_path / "a.mp4").read_text() == "old"


def test_what_is_there_at_ctrl_c_can_be_kept(tmp_path, av):
    with write_video(tmp_path / "a.mp4", SHAPE, 25) as result:
        try:
            for frame in frames_of(20):
                result.write(frame)
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            pass
    assert_like(read(tmp_path / "a.mp4")[0], frames_of(20))


def test_no_frame_is_no_file(tmp_path, av):
    with pytest.raises(UserError, match=r"a\.mp4 would have no frame"):
        with write_video(tmp_path / "a.mp4", SHAPE, 25):
            pass
    assert os.listdir(tmp_path) == []


def test_frames_of_another_shape_or_type(tmp_path, av):
    for frame in (np.zeros((48, 32, 3), np.uint8), np.zeros((*SHAPE, 3)), np.zeros(SHAPE, "u1")):
        with pytest.raises(ValueError, match="a frame is"):
            with write_video(tmp_path / "a.mp4", SHAPE, 25) as result:
                result.write(frame)


def test_too_large_frames(tmp_path, av):
    with pytest.raises(UserError, match=r"a\.mp4 cannot be written as a video \(.+\); choose sma"):
        with write_video(tmp_path / "a.mp4", (16, 20_000), 25) as result:
            result.write(np.zeros((16, 20_000, 3), np.uint8))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("limit", [0, 20_000])
def test_a_full_disk(tmp_path, av, limit):
    """As a limit of the size of files is."""
    resource = pytest.importorskip("resource")
    (tmp_path / "a.mp4").write_text("old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    noise = np.random.default_rng(0).integers(0, 256, (70, *SHAPE, 3), np.uint8)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
    try:
        with pytest.raises(UserError, match=r"a\.mp4 cannot be written \(File too large\)"):
            with write_video(tmp_path / "a.mp4", SHAPE, 25) as result:
                for frame in noise:
                    result.write(frame)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.listdir(tmp_path) == ["a.mp4"] and (tmp_path / "a.mp4").read_text() == "old"


# Webcams.


@pytest.fixture
def webcam(av, monkeypatch):
    """A test picture of the library in place of a webcam, 50 frames a second as time goes by."""

    def use(device="testsrc=size=64x48:rate=50,realtime"):
        monkeypatch.setattr(video, "_webcam", lambda *_: (device, "lavfi", {}))

    use()
    return use


def test_webcam(webcam):
    before = threading.active_count()
    with read_webcam(0) as found:
        assert (found.shape, found.rate, found.count) == ((48, 64), 50, None)
        times = []
        for moment, frame in found:
            assert frame.shape == (48, 64, 3) and frame.max() > 200
            times.append(moment)
            if len(times) == 5:
                break
    assert times[0] == 0 and times == sorted(set(times)) and found.damaged == 0
    assert threading.active_count() == before and list(found) == []


def test_who_is_slower_than_the_webcam_gets_its_newest_frames(webcam):
    with read_webcam(0) as found:
        next(found)
        first = float(next(found)[0])
        for _ in range(3):
            time.sleep(0.2)
            last = float(next(found)[0])
    assert last - first > 0.3  # of all frames, the fourth would be that of 0.06 s


def test_a_webcam_that_is_never_asked_is_closed(webcam):
    before = threading.active_count()
    read_webcam(0).close()
    assert threading.active_count() == before


def test_a_webcam_that_ends(webcam):
    webcam("testsrc=size=64x48:rate=50:duration=0.3,realtime")
    found = read_webcam(0)
    assert 1 <= len(list(found)) <= 15


class Fake:
    """A container whose packets and errors are those of a list."""

    def __init__(self, given, frame):
        packet = SimpleNamespace(is_corrupt=False)
        self.given = [packet if item == "frame" else item for item in given]
        self.streams = SimpleNamespace(best=lambda _: self.stream)
        self.stream = SimpleNamespace(
            average_rate=None, guessed_rate=None, duration=None, frames=0, metadata={}, width=64
        )
        self.stream.__dict__.update(height=48, disposition=0, decode=lambda packet: [frame])
        self.stream.codec_context = SimpleNamespace()

    def demux(self, _):
        while self.given:
            item = self.given.pop(0)
            if isinstance(item, Exception):
                raise item
            yield item


@pytest.fixture
def fake(av, monkeypatch):
    """A function that makes a webcam of a list."""
    frame = av.VideoFrame.from_ndarray(frames_of(1)[0])

    def use(*given):
        @contextmanager
        def opened(*_, **__):
            yield Fake(given, frame)

        monkeypatch.setattr(av, "open", opened)

    return use


def test_a_webcam_without_a_frame_yet_is_asked_again(fake):
    """As one on a Mac says while there is none."""
    wait = BlockingIOError()
    fake(wait, wait, "frame", wait, "frame")
    assert 1 <= len(list(read_webcam(0))) <= 2


def test_a_stream_that_is_broken_off_gives_what_was_decoded(av, fake):
    fake("frame", av.error.InvalidDataError(1094995529, "Invalid data"), "frame")
    found = read_webcam(0)
    assert 1 <= len(list(found)) <= 2 and found.damaged == 1


def test_a_dead_webcam(fake, monkeypatch):
    monkeypatch.setattr(video, "WAIT", 0)
    fake(*[BlockingIOError()] * 3000)
    with pytest.raises(UserError, match=r"the webcam 3 cannot be used \(it gives no picture\); "):
        read_webcam(3)


def test_a_webcam_that_is_unplugged(fake):
    fake("frame", OSError(19, "No such device"))
    found = read_webcam(0)
    with pytest.raises(UserError, match=r"the webcam 0 cannot be used \(No such device\); "):
        list(found)


@pytest.mark.parametrize(
    "error,sentence",
    [
        (PermissionError(13, "Permission denied"), r"cannot be used \(Permission denied\); close"),
        (OSError(16, "Device or resource busy"), r"cannot be used \(Device or resource busy\); "),
        (FileNotFoundError(2, "none"), "does not exist; connect it or choose another number"),
    ],
)
def test_webcams_that_do_not_open(av, monkeypatch, error, sentence):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(av, "open", fail)
    with pytest.raises(UserError, match=f"the webcam 0 {sentence}"):
        read_webcam(0)


def test_no_webcam(av):
    with pytest.raises(UserError, match=r"the webcam 987 [^\n]+\.$"):
        read_webcam(987)


def test_the_webcams_of_each_system(monkeypatch):
    devices = [("Microphone", ["audio"]), ("@pnp_1", ["video"]), ("@pnp_2", ["audio", "video"])]
    devices = [SimpleNamespace(name=name, media_types=kinds) for name, kinds in devices]
    library = SimpleNamespace(enumerate_input_devices=lambda kind: devices)
    for system, device in {
        "linux": ("/dev/video1", "v4l2"),
        "darwin": ("1", "avfoundation"),
        "win32": ("video=@pnp_2", "dshow"),
    }.items():
        monkeypatch.setattr(sys, "platform", system)
        assert video._webcam(library, 1)[:2] == device
    with pytest.raises(FileNotFoundError):
        video._webcam(library, 2)


# Without the package.


def test_is_video():
    assert all(map(is_video, ["a.mp4", "A.MOV", "a.b.mkv", "folder/a.webm", Path("a.m2ts")]))
    assert not any(map(is_video, ["a.gif", "a.png", "mp4", ".mp4", "a.mp4.txt", "a.ts", "a"]))
    assert not video.SUFFIXES & pictures.SUFFIXES


def test_without_the_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "a.mp4").write_text("old")
    cure = r"needs the package av; install it by python3 -m pip install -r requirements/video\.txt"
    for call in (read_video, lambda path: write_video(path, SHAPE, 25)):
        with pytest.raises(UserError, match=rf"a\.mp4 {cure}\."):
            call(tmp_path / "a.mp4")
    with pytest.raises(UserError, match=f"the webcam 0 {cure}"):
        read_webcam(0)
    assert (tmp_path / "a.mp4").read_text() == "old"
