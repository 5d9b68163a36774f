"""Writes videos that browsers play, at given times and with the sound of another file."""

import contextlib
import pathlib
from collections.abc import Iterator
from fractions import Fraction

import av
import cv2
import numpy as np
from av.codec.context import Flags
from av.container import OutputContainer
from av.error import FFmpegError
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, VideoReformatter
from av.video.stream import VideoStream

from dmlcsr_jax.errors import UserError
from dmlcsr_jax.files import replacing
from dmlcsr_jax.inference.video.reading import Frame, VideoReader
from dmlcsr_jax.inference.video.sound import Sound

# The first that this build of FFmpeg has. Without frames that depend on later ones, every reader finds the same times.
_ENCODERS = {
    "libx264": {"preset": "veryfast", "crf": "20", "bf": "0"},
    "libopenh264": {"b": "8M"},
    "mpeg4": {"b": "8M"},
}
_MPEG4_FINEST = Fraction(1, 60000)  # seconds; its format has no finer ticks
_BT709 = 1  # the color matrix, as H.273 counts them


class VideoWriter:
    """A context that writes an MP4 file; the file appears when it is complete.

    H.264 (MPEG-4 part 2 where FFmpeg lacks it), 4:2:0, BT.709 of limited range. Odd sizes get one more row or column,
    a copy of the last, since such videos have even sizes.

    Args:
      path: the file, ending in .mp4; not written if there are no frames.
      time_base: seconds of one tick; times are rounded to whole ticks.
      rate: frames per second on average.
      sound_of: the video that the frames come from. Its sound is copied, or encoded as AAC if players do not expect its
        codec in MP4; None for no sound.

    Attributes:
      lost_tracks: the number of audio tracks that could not be kept; known with the first frame.
    """

    def __init__(
        self,
        path: pathlib.Path,
        *,
        time_base: Fraction,
        rate: Fraction = Fraction(25),
        sound_of: VideoReader | None = None,
    ):
        self._path, self._time_base, self._rate, self._sound_of = path, time_base, rate, sound_of
        self.lost_tracks = 0
        self._scaler = VideoReformatter()
        self._stack = contextlib.ExitStack()
        self._output: OutputContainer | None = None
        self._stream: VideoStream
        self._sound: Sound

    def write(self, frame: Frame) -> None:
        """Adds a frame; all must have the size of the first, and growing times.

        Raises:
          UserError: the file cannot be written.
        """
        with self._errors():
            if self._output is None:
                self._output = self._open(frame)
            video = self._scaler.reformat(
                av.VideoFrame.from_ndarray(_padded(frame.image), "rgb24"),
                format="yuv420p",
                dst_colorspace=Colorspace.ITU709,
                dst_color_range=ColorRange.MPEG,
                threads=1,
            )
            video.time_base = self._time_base
            video.pts = round(frame.time / self._time_base)
            video.duration = round(frame.duration / self._time_base)
            self._output.mux(self._stream.encode(video))
            self._sound.write_until(frame.time)

    def _open(self, frame: Frame) -> OutputContainer:
        temporary = self._stack.enter_context(replacing(self._path))
        output = av.open(f"file:{temporary}", "w", format="mp4", container_options={"movflags": "faststart"})
        self._stack.enter_context(output)  # closed before the file is renamed
        encoder = next(name for name in _ENCODERS if name in av.codecs_available)
        if encoder == "mpeg4":
            self._time_base = max(self._time_base, _MPEG4_FINEST)
        height, width, _ = _padded(frame.image).shape
        stream = output.add_stream(
            encoder,
            rate=self._rate,
            options=_ENCODERS[encoder],
            width=width,
            height=height,
            pix_fmt="yuv420p",
            time_base=self._time_base,
            sample_aspect_ratio=frame.aspect,
            colorspace=_BT709,
            color_range=ColorRange.MPEG,
            color_primaries=ColorPrimaries.BT709,
            color_trc=ColorTrc.BT709,
        )
        assert isinstance(stream, VideoStream)
        self._stream = stream
        self._stream.codec_context.flags |= Flags.frame_duration
        source = self._sound_of
        self._sound = Sound(source.path, output, source.start) if source else Sound(None, output)
        self.lost_tracks = self._sound.lost
        return output

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (FFmpegError, OSError, ValueError) as error:
            raise UserError(
                f"{self._path} cannot be written as a video ({getattr(error, 'strerror', None) or error})"
            ) from error

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception) -> None:
        if kind is not None or self._output is None:
            self._stack.__exit__(kind, *exception)
            return
        with self._errors(), self._stack:
            self._output.mux(self._stream.encode(None))
            self._sound.write_until(None)


def _padded(image: np.ndarray) -> np.ndarray:
    """The image with an even number of rows and columns."""
    height, width, _ = image.shape
    return cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
