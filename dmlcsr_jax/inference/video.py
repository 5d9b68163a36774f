"""Videos in and out, by OpenCV: pictures only. Sound is neither read nor written."""

import collections
import dataclasses
import itertools
import math
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence

import cv2
import numpy as np

from dmlcsr_jax.drawing.overlay import count_pixels
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.inference.face import ParsedFace

# FFmpeg would print its own complaint about a broken file beside ours; read when the first video is opened.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
_USUAL_RATE = 25.0  # frames a second, where a file does not say


class VideoReader:
    """The frames of a video file, [H, W, 3] uint8 RGB, turned as the file says.

    Attributes:
      rate: frames a second, on average.
      count: how many frames the file claims to have; 0 where it does not say.
      read: how many have been read.
    """

    def __init__(self, path: pathlib.Path):
        self._path = path
        self._capture = cv2.VideoCapture(str(path))
        if not self._capture.isOpened():
            raise UserError(f"{path} cannot be read as a video; replace it by a whole MP4, MOV, AVI, MKV or WebM file")
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.rate = rate if math.isfinite(rate) and rate > 0 else _USUAL_RATE
        self.count = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        self.read = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        """The frames, once."""
        while True:
            ok, frame = self._capture.read()
            if not ok:
                break
            self.read += 1
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        self._capture.release()

    def check(self) -> None:
        """Raises UserError if no frame was read, or fewer than nine in ten of those that the file claims to have."""
        if self.read < max(1, 0.9 * self.count):
            raise UserError(f"{self._path}: {self.read} of {self.count} frames can be read; replace it by a whole file")


class VideoWriter:
    """An MP4 file (MPEG-4 part 2) without sound; use as a context: it is there when it is whole, or not at all.

    Args:
      path: the file, ending in .mp4.
      rate: frames a second.
    """

    def __init__(self, path: pathlib.Path, rate: float):
        self._path, self._temporary, self._rate = path, path.with_name(f".{path.name}"), rate
        self._writer = None

    def write(self, frame: np.ndarray) -> None:
        """Adds an [H, W, 3] uint8 RGB frame; all must have the size of the first."""
        if self._writer is None:
            size = frame.shape[1], frame.shape[0]
            self._writer = cv2.VideoWriter(str(self._temporary), cv2.VideoWriter.fourcc(*"mp4v"), self._rate, size)
            if not self._writer.isOpened():
                raise UserError(f"{self._path} cannot be written as a video of {size[0]}x{size[1]}")
        self._writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(self, kind, *rest) -> None:
        if self._writer is not None:
            self._writer.release()
            if kind is None:
                self._temporary.replace(self._path)
        self._temporary.unlink(missing_ok=True)


def smoothed(faces: Iterable[ParsedFace], window: int) -> Iterator[ParsedFace]:
    """Each frame with its labels voted for by the frames around it, so that edges flicker less.

    Args:
      faces: the frames of one video, in order, of one size.
      window: how many frames vote on each pixel, odd: (window - 1) / 2 before and after, fewer at the ends. 1 changes
        nothing.
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
    """[H, W] uint8: at each pixel the label that most of the maps have there; where several do, that of `maps[own]`."""
    best = maps[own].copy()
    votes = sum((labels == best).astype(np.uint8) for labels in maps)
    for number in np.flatnonzero(sum(map(count_pixels, maps))):
        count = sum((labels == number).astype(np.uint8) for labels in maps)
        better = count > votes
        best[better], votes[better] = number, count[better]
    return best
