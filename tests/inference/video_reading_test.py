"""Frames are read at their times, upright, in their colors, from every kind of file."""

from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from dmlcsr_jax.errors import UserError
from dmlcsr_jax.inference.video.reading import VideoReader
from tests.inference.clips import MILLISECOND, PAUSES, drawn, times_of, write_clip, write_tone


def read(path):
    reader = VideoReader(path)
    frames = list(reader)
    reader.check()
    return frames


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("h264.mp4", {"options": {"bf": "3"}}),
        ("vp8.webm", {"codec": "libvpx"}),
        ("lossless.mkv", {"codec": "ffv1", "pix_fmt": "yuv444p"}),
        ("ten_bits.mkv", {"codec": "ffv1", "pix_fmt": "yuv420p10le"}),
        ("full_range.mkv", {"codec": "mjpeg", "pix_fmt": "yuvj420p"}),
    ],
)
def test_frames_come_in_order_at_their_times(tmp_path, name, settings):
    found = read(write_clip(tmp_path / name, PAUSES, **settings))
    assert [frame.time for frame in found] == [Fraction(time, 1000) for time in PAUSES]
    for index, frame in enumerate(found):
        assert np.abs(frame.image.astype(int) - drawn(index)).mean() < 6


def test_frames_are_read_one_at_a_time(tmp_path):
    reader = VideoReader(write_clip(tmp_path / "clip.mp4"))
    assert reader.count == 10 and reader.rate == 25
    for number, _ in enumerate(reader, start=1):
        assert reader.frames_read == number


def test_times_may_start_late(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", [700, 740, 800])
    assert [frame.time for frame in read(path)] == [Fraction(7, 10), Fraction(37, 50), Fraction(4, 5)]
    path = write_clip(tmp_path / "broadcast.mkv", [100_000, 100_040, 100_100])
    assert [frame.time for frame in read(path)] == [0, Fraction(1, 25), Fraction(1, 10)]


def test_frames_without_times_follow_at_the_average_rate(tmp_path):
    write_clip(tmp_path / "stream.h264", options={"bf": "0"})
    path = (tmp_path / "stream.h264").rename(tmp_path / "stream.mp4")
    times = [frame.time for frame in read(path)]
    assert len(times) == 10 and times[0] == 0
    assert np.diff(times).tolist() == [Fraction(1, 25)] * 9


def test_times_that_repeat_grow_by_a_tick(tmp_path):
    with av.open(str(tmp_path / "clip.mkv"), "w") as output:
        video = output.add_stream("mjpeg", rate=25, width=64, height=48, pix_fmt="yuvj420p", time_base=MILLISECOND)
        for index, time in enumerate((0, 40, 40, 40, 120)):
            frame = av.VideoFrame.from_ndarray(drawn(index), "rgb24")
            frame.pts, frame.time_base = index, MILLISECOND
            for packet in video.encode(frame):
                packet.pts = packet.dts = time
                output.mux(packet)
    assert times_of(tmp_path / "clip.mkv")[1:3] == [Fraction(1, 25)] * 2
    assert [frame.time * 1000 for frame in read(tmp_path / "clip.mkv")] == [0, 40, 41, 42, 120]


@pytest.mark.parametrize("mirror", [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_frames_are_turned_and_mirrored_as_the_file_says(tmp_path, degrees, mirror):
    path = write_clip(tmp_path / "clip.mp4", [0, 40], rotation=(degrees, *mirror))
    expected = np.rot90(drawn(0), degrees // 90)  # counterclockwise
    expected = expected[:, ::-1] if mirror[0] else expected
    expected = expected[::-1] if mirror[1] else expected
    image = read(path)[0].image
    assert image.shape == expected.shape and image.flags.c_contiguous
    assert np.abs(image.astype(int) - expected).mean() < 6


def test_pixels_that_are_not_square_turn_with_the_image(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", sample_aspect_ratio=Fraction(4, 3))
    assert read(path)[0].aspect == Fraction(4, 3)
    path = write_clip(tmp_path / "turned.mp4", sample_aspect_ratio=Fraction(4, 3), rotation=(90,))
    assert read(path)[0].aspect == Fraction(3, 4)


def one_color(index):
    return np.full((720, 16, 3), (200, 40, 60), np.uint8)


@pytest.mark.parametrize("matrix", ["ITU709", "ITU601", "unnamed"])
def test_colors_follow_the_matrix_of_the_file(tmp_path, matrix):
    with av.open(str(tmp_path / "clip.mkv"), "w") as output:
        video = output.add_stream("ffv1", rate=25, width=16, height=720, pix_fmt="yuv444p")
        video.codec_context.colorspace = {"ITU709": 1, "ITU601": 6, "unnamed": 2}[matrix]
        frame = av.VideoFrame.from_ndarray(one_color(0), "rgb24")
        frame = frame.reformat(format="yuv444p", dst_colorspace="ITU709" if matrix == "unnamed" else matrix)
        frame.pts = 0
        output.mux(video.encode(frame))
        output.mux(video.encode(None))
    np.testing.assert_allclose(read(tmp_path / "clip.mkv")[0].image, one_color(0), atol=3)


def test_frames_that_change_their_size_are_scaled_to_the_first(tmp_path):
    with av.open(str(tmp_path / "clip.mkv"), "w") as output:
        video = output.add_stream("mjpeg", rate=25, width=64, height=48, pix_fmt="yuvj420p", time_base=MILLISECOND)
        larger = av.CodecContext.create("mjpeg", "w")
        larger.width, larger.height, larger.pix_fmt, larger.time_base = 128, 96, "yuvj420p", MILLISECOND
        for index, encoder in enumerate([video, larger, video]):
            size = (48, 64) if encoder is video else (96, 128)
            frame = av.VideoFrame.from_ndarray(np.full((*size, 3), 80 * index, np.uint8), "rgb24")
            frame.pts, frame.time_base = 40 * index, MILLISECOND
            for packet in encoder.encode(frame.reformat(format="yuvj420p", dst_color_range="JPEG")):
                packet.stream = video
                output.mux(packet)
    found = read(tmp_path / "clip.mkv")
    assert [frame.image.shape for frame in found] == [(48, 64, 3)] * 3
    assert [round(frame.image.mean()) for frame in found] == pytest.approx([0, 80, 160], abs=2)


def write_streams(path, sizes, cover=b""):
    """One video stream per (height, width), the n-th n * 80 bright, and a cover image."""
    with av.open(str(path), "w") as output:
        streams = [
            output.add_stream("mjpeg", rate=25, width=width, height=height, pix_fmt="yuvj420p")
            for height, width in sizes
        ]
        if cover:
            output.add_attachment("cover.jpg", "image/jpeg", cover)
        for index, (stream, (height, width)) in enumerate(zip(streams, sizes, strict=True)):
            frame = av.VideoFrame.from_ndarray(np.full((height, width, 3), 80 * index, np.uint8), "rgb24")
            frame.pts = 0
            for packet in stream.encode(frame.reformat(format="yuvj420p", dst_color_range="JPEG")):
                output.mux(packet)
    return path


def test_the_film_is_found_among_several_streams(tmp_path):
    path = write_streams(tmp_path / "two.mkv", [(32, 32), (64, 64)])
    assert [frame.image.shape for frame in read(path)] == [(64, 64, 3)]
    cover = cv2.imencode(".jpg", np.zeros((80, 80, 3), np.uint8))[1].tobytes()
    path = write_streams(tmp_path / "cover.mkv", [(32, 32)], cover)
    assert [frame.image.shape for frame in read(path)] == [(32, 32, 3)]


def test_sound_with_a_cover_image_is_no_film(tmp_path):
    with av.open(str(tmp_path / "song.mkv"), "w") as output:
        audio = output.add_stream("aac", rate=48000, layout="stereo")
        output.add_attachment("cover.jpg", "image/jpeg", cv2.imencode(".jpg", np.zeros((80, 80, 3)))[1].tobytes())
        write_tone(output, audio)
    with pytest.raises(UserError, match=r"song\.mkv holds no film, only a still image"):
        VideoReader(tmp_path / "song.mkv")


def test_files_are_counted_if_they_do_not_say_their_length(tmp_path):
    path = write_clip(tmp_path / "live.mkv", muxer={"live": "1"})
    assert VideoReader(path).count == 10 and len(read(path)) == 10


def test_file_names_are_not_addresses(tmp_path):
    for name in ("http:host.mp4", "a%03d.mp4", "mit leer '[1]'.mp4", "caf\udce9.mp4"):
        path = write_clip(tmp_path / "plain.mp4").rename(tmp_path / name)
        assert len(read(path)) == 10


def test_playlists_do_not_open_other_files(tmp_path):
    write_clip(tmp_path / "clip.mp4")
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile clip.mp4\n")
    with pytest.raises(UserError, match=r"list\.mp4 cannot be read as a video"):
        VideoReader(tmp_path / "list.mp4")
