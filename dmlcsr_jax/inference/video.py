"""Video input and output by OpenCV, without sound, and labels smoothed over time."""

import collections
import contextlib
import dataclasses
import itertools
import math
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence

import cv2
import numpy as np

from dmlcsr_jax.drawing.label_maps import count_pixels
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.files import replacing
from dmlcsr_jax.inference.face import ParsedFace

_DEFAULT_RATE = 25.0  # frames per second, if the file does not say
_COMPLETE = 0.9  # share of the claimed frames that a whole file has; the counts in headers are estimates


class VideoReader:
    """The frames of a video file, [H, W, 3] uint8 RGB, rotated as its header says.

    Attributes:
      rate: average frames per second.
      count: the number of frames that the file claims; 0 if it does not say.
      frames_read: the number of frames read so far.

    Raises:
      UserError: the file is not a video.
    """

    def __init__(self, path: pathlib.Path):
        _silence_opencv()
        self._path = path
        self._capture = cv2.VideoCapture(str(path))
        if not self._capture.isOpened():
            raise UserError(f"{path} cannot be read as a video; replace it by a whole MP4, MOV, AVI, MKV or WebM file")
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.rate = rate if math.isfinite(rate) and rate > 0 else _DEFAULT_RATE
        self.count = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        self.frames_read = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        """The frames; a file can be read once."""
        while True:
            ok, frame = self._capture.read()
            if not ok:
                break
            self.frames_read += 1
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        self._capture.release()

    def check(self) -> None:
        """Raises UserError if no frame was read, or fewer than nine in ten of those that the file claims."""
        if self.frames_read < max(1, _COMPLETE * self.count):
            raise UserError(
                f"{self._path}: {self.frames_read} of {self.count} frames can be read; replace it by a whole file"
            )


class VideoWriter:
    """A context that writes an MP4 file (MPEG-4 part 2) without sound; the file appears when it is complete.

    Args:
      path: the file, ending in .mp4; not written if there are no frames.
      rate: frames per second.
    """

    def __init__(self, path: pathlib.Path, rate: float):
        self._path, self._rate = path, rate
        self._stack = contextlib.ExitStack()
        self._writer: cv2.VideoWriter | None = None

    def write(self, frame: np.ndarray) -> None:
        """Adds an [H, W, 3] uint8 RGB frame; all must have the size of the first.

        Raises:
          UserError: the file cannot be written.
        """
        if self._writer is None:
            self._writer = self._open(frame.shape[1], frame.shape[0])
        self._writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))

    def _open(self, width: int, height: int) -> cv2.VideoWriter:
        _silence_opencv()
        temporary = self._stack.enter_context(replacing(self._path))
        writer = cv2.VideoWriter(str(temporary), cv2.VideoWriter.fourcc(*"mp4v"), self._rate, (width, height))
        self._stack.callback(writer.release)  # before the file is renamed
        if not writer.isOpened():
            raise UserError(f"{self._path} cannot be written as a video of {width}x{height}")
        return writer

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(self, *exception) -> None:
        self._stack.__exit__(*exception)


def _silence_opencv() -> None:
    """Keeps OpenCV and FFmpeg from printing their own complaints about a broken file beside ours."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # read when the process opens its first video
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def smoothed(faces: Iterable[ParsedFace], window: int) -> Iterator[ParsedFace]:
    """Replaces the labels of each frame by the majority vote of the frames around it, so that edges flicker less.

    Args:
      faces: the frames of one video, in order, of one size.
      window: number of frames that vote on each pixel, odd: (window - 1) / 2 before and after, fewer at the ends. 1
        changes nothing.
    """
    half, faces = window // 2, iter(faces)
    around = collections.deque(itertools.islice(faces, half + 1))
    own = 0
    while own < len(around):
        labels = majority([face.labels for face in around], own)
        yield dataclasses.replace(around[own], labels=labels)
        around.extend(itertools.islice(faces, 1))
        own += 1
        if own > half:
            around.popleft()
            own -= 1


def majority(maps: Sequence[np.ndarray], own: int) -> np.ndarray:
    """[H, W] uint8: the most frequent label of each pixel; `maps[own]` wins a tie in which it takes part."""
    best = maps[own].copy()
    votes = _count_equal(maps, best)
    for number in map(int, np.flatnonzero(sum(map(count_pixels, maps)))):
        count = _count_equal(maps, number)
        better = count > votes
        best[better], votes[better] = number, count[better]
    return best


def _count_equal(maps: Sequence[np.ndarray], labels: np.ndarray | int) -> np.ndarray:
    """[H, W] uint8: how many of the maps have these labels."""
    counts = np.zeros(maps[0].shape, np.uint8)
    for one in maps:
        counts += one == labels
    return counts
