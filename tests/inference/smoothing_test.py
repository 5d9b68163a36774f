"""Videos survive writing and reading, and labels of frames are smoothed by votes."""

import cv2
import numpy as np
import pytest

from dmlcsr_jax.datasets import get_spec
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.inference import ParsedFace
from dmlcsr_jax.inference.video import VideoReader, VideoWriter, majority, smoothed

SPEC = get_spec("lapa")


def frames(count, height=48, width=64):
    for i in range(count):
        frame = np.full((height, width, 3), (200, 100, 20), np.uint8)
        frame[:, : 4 * i] = (20, 40, 220)
        yield frame


def write(path, count, **size):
    with VideoWriter(path, 12.5) as writer:
        for frame in frames(count, **size):
            writer.write(frame)


def test_frames_survive_writing_and_reading(tmp_path):
    write(tmp_path / "clip.mp4", 10)
    reader = VideoReader(tmp_path / "clip.mp4")
    assert reader.rate == pytest.approx(12.5) and reader.count == 10
    for read, expected in zip(reader, frames(10), strict=True):
        assert read.shape == expected.shape
        assert np.abs(read.astype(int) - expected).mean() < 12  # the channels are in order
    reader.check()


def test_an_unfinished_video_leaves_no_file(tmp_path):
    with pytest.raises(RuntimeError), VideoWriter(tmp_path / "clip.mp4", 25) as writer:
        writer.write(next(frames(1)))
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_broken_videos_are_named(tmp_path):
    write(tmp_path / "whole.avi.mp4", 10)
    data = (tmp_path / "whole.avi.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])
    (tmp_path / "text.mp4").write_text("not a video")
    (tmp_path / "empty.mp4").touch()
    for name in ("cut", "text", "empty"):
        with pytest.raises(UserError, match=rf"{name}\.mp4"):
            reader = VideoReader(tmp_path / f"{name}.mp4")
            assert len(list(reader)) < 9
            reader.check()


def face(labels):
    return ParsedFace(np.zeros((*labels.shape, 3), np.uint8), labels, SPEC)


def by_hand(stack, window):
    half, result = window // 2, []
    for i, own in enumerate(stack):
        around = stack[max(0, i - half) : i + half + 1]
        voted = own.copy()
        for place in np.ndindex(own.shape):
            counts = np.bincount([labels[place] for labels in around], minlength=11)
            voted[place] = own[place] if counts[own[place]] == counts.max() else counts.argmax()
        result.append(voted)
    return result


@pytest.mark.parametrize(("count", "window"), [(9, 5), (9, 3), (2, 5), (1, 3), (4, 1), (6, 7)])
def test_frames_vote(count, window):
    stack = np.random.default_rng(count).integers(0, 3, (count, 5, 6)).astype(np.uint8)
    found = [f.labels for f in smoothed(map(face, stack), window)]
    np.testing.assert_array_equal(found, by_hand(stack, window))


def test_still_labels_are_kept_and_flicker_is_not():
    still = np.zeros((4, 4), np.uint8)
    still[1:3, 1:3] = 7
    flicker = still.copy()
    flicker[0, 0] = 3
    np.testing.assert_array_equal(majority([still, flicker, still], 1), still)


def test_smoothing_holds_only_the_frames_that_vote():
    taken = []

    def source():
        for i in range(50):
            taken.append(i)
            yield face(np.zeros((2, 2), np.uint8))

    for i, _ in enumerate(smoothed(source(), 5)):
        assert len(taken) <= i + 3


def test_a_video_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(UserError, match="clip"), VideoWriter(tmp_path / "no" / "clip.mp4", 25) as writer:
        writer.write(np.zeros((8, 8, 3), np.uint8))


def test_odd_sizes(tmp_path):
    write(tmp_path / "odd.mp4", 3, height=33, width=51)
    capture = cv2.VideoCapture(str(tmp_path / "odd.mp4"))
    ok, frame = capture.read()
    assert ok and abs(frame.shape[0] - 33) <= 1 and abs(frame.shape[1] - 51) <= 1


def test_opencv_prints_nothing_about_broken_videos(tmp_path, capfd):
    (tmp_path / "text.mp4").write_text("not a video")
    with pytest.raises(UserError):
        VideoReader(tmp_path / "text.mp4")
    assert capfd.readouterr() == ("", "")
