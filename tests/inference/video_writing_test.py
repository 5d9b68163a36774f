"""Videos are written at given times, in formats that browsers play, with the sound of another file."""

import contextlib
from fractions import Fraction

import av
import numpy as np
import pytest

from dmlcsr_jax.errors import UserError
from dmlcsr_jax.inference.video import writing
from dmlcsr_jax.inference.video.reading import Frame, VideoReader
from dmlcsr_jax.inference.video.writing import VideoWriter
from tests.inference.clips import MILLISECOND, PAUSES, drawn, packets_of, times_of, write_clip


def copy(path, output):
    """Reads a video and writes its frames with its sound."""
    reader = VideoReader(path)
    with VideoWriter(output, time_base=reader.time_base, rate=reader.rate, sound_of=reader) as writer:
        for frame in reader:
            writer.write(frame)
    reader.check()
    return output


def write(path, images, tick=MILLISECOND):
    with VideoWriter(path, time_base=tick) as writer:
        for index, image in enumerate(images):
            writer.write(Frame(image, index * Fraction(1, 25)))


@pytest.mark.parametrize(
    ("name", "tick", "rate"),
    [
        ("clip.mkv", MILLISECOND, 25),
        ("clip.mp4", Fraction(1, 90000), 25),
        ("ntsc.mov", Fraction(1001, 30000), Fraction(30000, 1001)),
        ("fine.mp4", Fraction(1, 1_000_000), 25),
    ],
)
def test_times_are_those_of_the_source(tmp_path, name, tick, rate):
    path = write_clip(tmp_path / name, PAUSES, tick=tick, rate=rate, options={"bf": "2"})
    expected = [time * tick for time in PAUSES]
    assert times_of(path) == times_of(copy(path, tmp_path / "out.mp4")) == expected


def test_a_late_start_and_the_stay_of_the_last_frame_are_kept(tmp_path):
    with VideoWriter(tmp_path / "clip.mp4", time_base=MILLISECOND) as writer:
        for time, duration in ((700, 40), (740, 3000)):
            writer.write(Frame(drawn(0), time * MILLISECOND, duration * MILLISECOND))
    assert times_of(tmp_path / "clip.mp4") == [Fraction(7, 10), Fraction(37, 50)]
    with av.open(str(tmp_path / "clip.mp4")) as container:
        (*_, last) = (packet for packet in container.demux(video=0) if packet.size)
        assert last.duration * last.time_base == 3


def test_browsers_can_play_it(tmp_path):
    write(tmp_path / "clip.mp4", map(drawn, range(3)))
    with av.open(str(tmp_path / "clip.mp4")) as container:
        (stream,) = container.streams
        frame = next(container.decode(stream))
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert (frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc) == (1, 1, 1, 1)
    data = (tmp_path / "clip.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # plays before all of it has come


def test_colors_survive(tmp_path):
    for color in ((200, 40, 60), (10, 240, 20), (0, 0, 0), (255, 255, 255), (20, 40, 220)):
        write(tmp_path / "clip.mp4", [np.full((32, 48, 3), color, np.uint8)] * 2)
        for frame in VideoReader(tmp_path / "clip.mp4"):
            np.testing.assert_allclose(frame.image, np.broadcast_to(color, (32, 48, 3)), atol=4)


@pytest.mark.parametrize(("height", "width"), [(33, 51), (33, 50), (1, 1)])
def test_odd_sizes_are_padded_by_a_copy_of_the_border(tmp_path, height, width):
    image = np.full((height, width, 3), 60, np.uint8)
    image[-1:] = image[:, -1:] = 200
    write(tmp_path / "odd.mp4", [image])
    (frame,) = VideoReader(tmp_path / "odd.mp4")
    assert frame.image.shape == (height + height % 2, width + width % 2, 3)
    np.testing.assert_allclose(frame.image[height - 1 :], 200, atol=25)
    np.testing.assert_allclose(frame.image[: max(0, height - 5), : max(0, width - 5)], 60, atol=25)


def test_pixels_that_are_not_square_stay_so(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", sample_aspect_ratio=Fraction(4, 3))
    (frame, *_) = VideoReader(copy(path, tmp_path / "out.mp4"))
    assert frame.aspect == Fraction(4, 3)


@pytest.mark.parametrize(
    ("name", "video", "sound"),
    [
        ("clip.mp4", "libx264", "aac"),
        ("clip.mkv", "libx264", "flac"),
        ("clip.webm", "libvpx", "libopus"),
        ("clip.mov", "libx264", "libmp3lame"),
    ],
)
def test_sound_is_copied(tmp_path, name, video, sound):
    path = write_clip(tmp_path / name, codec=video, sound=sound)
    source, found = packets_of(path), packets_of(copy(path, tmp_path / "out.mp4"))
    assert [data for _, data in found] == [data for _, data in source] and len(source) > 3
    for (time, _), (expected, _) in zip(found, source, strict=True):
        assert abs(time - expected) <= MILLISECOND


@pytest.mark.parametrize(("name", "sound"), [("clip.avi", "pcm_s16le"), ("clip.mkv", "vorbis"), ("clip.avi", "mp2")])
def test_other_sound_becomes_aac_at_its_times(tmp_path, name, sound):
    path = write_clip(tmp_path / name, range(10), codec="mpeg4", tick=Fraction(1, 25), sound=sound)
    with av.open(str(copy(path, tmp_path / "out.mp4"))) as container:
        (stream,) = container.streams.audio
        assert (stream.codec_context.name, stream.rate, stream.channels) == ("aac", 48000, 2)
        wave = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(stream)])
    assert len(wave) / 48000 == pytest.approx(0.4, abs=0.05)
    middle = wave[4800:14400]  # 0.2 seconds
    crossings = np.flatnonzero((middle[1:] >= 0) & (middle[:-1] < 0))
    assert len(crossings) == pytest.approx(0.2 * 440, abs=1)
    assert middle.max() == pytest.approx(0.5, abs=0.05)


def test_no_sound_is_no_sound(tmp_path):
    with av.open(str(copy(write_clip(tmp_path / "clip.mp4"), tmp_path / "out.mp4"))) as container:
        assert [stream.type for stream in container.streams] == ["video"]


def test_tracks_of_unknown_kind_are_counted(tmp_path):
    path = write_clip(tmp_path / "clip.mkv", sound="libopus")
    path.write_bytes(path.read_bytes().replace(b"A_OPUS", b"A_WHAT"))
    reader = VideoReader(path)
    with VideoWriter(tmp_path / "out.mp4", time_base=reader.time_base, sound_of=reader) as writer:
        for frame in reader:
            writer.write(frame)
    reader.check()
    assert writer.lost_tracks == 1 and times_of(tmp_path / "out.mp4") == times_of(path)


def test_without_h264_it_is_mpeg4(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "_ENCODERS", {"mpeg4": writing._ENCODERS["mpeg4"]})
    write(tmp_path / "clip.mp4", map(drawn, range(5)), tick=Fraction(1, 90000))
    assert times_of(tmp_path / "clip.mp4") == [Fraction(index, 25) for index in range(5)]


def test_an_unfinished_video_leaves_no_file_and_none_appears_without_frames(tmp_path):
    with contextlib.suppress(RuntimeError), VideoWriter(tmp_path / "clip.mp4", time_base=MILLISECOND) as writer:
        writer.write(Frame(drawn(0), Fraction(0)))
        raise RuntimeError
    write(tmp_path / "none.mp4", [])
    assert list(tmp_path.iterdir()) == []


def test_file_names_are_not_addresses(tmp_path):
    for name in ("http:host.mp4", "a%03d.mp4", "caf\udce9.mp4"):
        write(tmp_path / name, [drawn(0)])
        assert len(times_of(f"file:{tmp_path / name}")) == 1


def test_a_video_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(UserError, match=r"clip\.mp4 cannot be written as a video"):
        write(tmp_path / "no" / "clip.mp4", [drawn(0)])
    with pytest.raises(UserError, match=r"wide\.mp4 cannot be written as a video"):
        write(tmp_path / "wide.mp4", [np.zeros((2, 40000, 3), np.uint8)])
    assert list(tmp_path.iterdir()) == []
