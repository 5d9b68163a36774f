"""The frames of a video file, at their times and upright."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator, Sequence
from fractions import Fraction

import av
import numpy as np
from av.packet import Packet
from av.stream import Disposition
from av.video.reformatter import Colorspace, VideoReformatter
from av.video.stream import VideoStream

from dmlcsr_jax.datasets.images import MAX_PIXELS
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.inference.video.opening import open_video
from dmlcsr_jax.inference.video.orientation import Orientation, orientation_of
from dmlcsr_jax.inference.video.truncation import is_cut

_DEFAULT_RATE = Fraction(25)  # frames per second, if the file does not say
_FINEST = Fraction(1, 10**6)  # seconds; MP4 counts the ticks between two frames in 32 bits
_LATEST_START = 60  # seconds; what starts later is a piece of a broadcast, not a film with a pause before it
_LONGEST = 2000  # seconds from one frame to the next that fit into those bits
_UNSPECIFIED = 2  # the color matrix of a file that names none, as H.273 counts them
_HD = 720  # lines from which players take BT.709 if a file names none
_MOST_FAILURES = 100  # of a demuxer in a row
_TIMED = {"mov", "matroska", "avi"}  # formats whose headers say how long a film is
_STILL = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image


@dataclasses.dataclass(frozen=True, eq=False)
class Frame:
    """One frame.

    Attributes:
      image: [H, W, 3] uint8 RGB, upright.
      time: seconds at which it appears, more than those of the frame before.
      duration: seconds that it stays; 0 if the file does not say.
      aspect: width of a pixel over its height.
    """

    image: np.ndarray
    time: Fraction
    duration: Fraction = Fraction(0)
    aspect: Fraction = Fraction(1)


class VideoReader:
    """The frames of a video file, one at a time.

    Frames are turned and mirrored as the file says, and scaled to the first if they change their size. Both fields of
    an interlaced frame stay together; 10 bits become 8 without tone mapping. Times are the file's own, or count from
    its start if that is later than a minute; frames without a time follow the one before at the average rate.

    Attributes:
      path: the file.
      rate: average frames per second.
      time_base: seconds of one tick; times are whole ticks.
      count: the number of frames that the file claims, or an estimate from its length.
      frames_read: the number of frames read so far.
      start: seconds subtracted from the file's own times; known with the first frame.

    Raises:
      UserError: the file is not a video, or its frames are too large.
    """

    def __init__(self, path: pathlib.Path):
        self.path = path
        self._container = open_video(path)
        self._stream = _choose(self._container.streams.video, path)
        self.rate = self._stream.average_rate or self._stream.guessed_rate or _DEFAULT_RATE
        self._tick = self._stream.time_base or _FINEST  # a decoder's last frames do not carry it
        self.time_base = max(self._tick, _FINEST)
        length = self._claimed_end() - Fraction(self._container.start_time or 0, av.time_base)
        self.count = self._stream.frames or max(round(length * self.rate), 0) or _count_packets(path)
        self.frames_read = 0
        self.start = Fraction(0)
        self._scaler = VideoReformatter()
        self._size: tuple[int, int] | None = None  # of the first frame, as stored
        self._orientation: Orientation | None = None  # of the first frame
        self._time = -self.time_base  # of the last frame
        self._pause = Fraction(0)  # the longest from one frame to the next
        self._end = Fraction(0)  # of all packets so far, those of sound as well
        self._damaged = 0
        self._cut = False

    def __iter__(self) -> Iterator[Frame]:
        """The frames; a file can be read once."""
        for packet in self._packets():
            for frame in self._decode(packet):
                if (image := self._image(frame)) is not None:
                    yield self._finish(frame, image)
        self._container.close()

    def check(self) -> None:
        """Raises UserError if the frames read are not all of the film."""
        if not self.frames_read:
            raise UserError(f"{self.path}: no frame can be read; replace it by a whole file")
        if self._cut:
            raise UserError(
                f"{self.path} is incomplete after frame {self.frames_read}; what was read is kept. "
                "Replace it by a whole file"
            )
        if self._damaged:
            raise UserError(
                f"{self.path} is damaged in {self._damaged} places; {self.frames_read} frames could be read and are "
                "kept. Replace it by an intact file"
            )

    def _claimed_end(self) -> Fraction:
        """The end that the header claims, in seconds from time 0; 0 if it does not say."""
        is_timed = self._container.format.name.split(",")[0] in _TIMED
        return Fraction(self._container.duration or 0, av.time_base) if is_timed else Fraction(0)

    def _packets(self) -> Iterator[Packet | None]:
        """The video's packets, and None, which brings out the decoder's last frames."""
        failures, partial = 0, False  # failures in a row
        while failures < _MOST_FAILURES:
            try:
                for packet in self._container.demux():
                    if packet.pts is not None and packet.size:
                        self._end = max(self._end, (packet.pts + (packet.duration or 0)) * packet.time_base)
                    if packet.stream is self._stream and packet.size:
                        failures, partial = 0, packet.is_corrupt
                        yield packet
                break
            except Exception:  # whatever a demuxer raises; it may go on behind the damage
                failures += 1
                self._damaged += 1
        yield None
        # The last frame may stay for as long as any before it, which not every format records.
        early = self._claimed_end() - self._end > 2 * max(self._pause, 1 / self.rate)
        self._cut = early or partial or failures == _MOST_FAILURES or is_cut(self.path)

    def _decode(self, packet: Packet | None) -> list[av.VideoFrame]:
        """The frames that a packet completes; none if it is damaged, and decoding goes on after it."""
        try:
            if packet is not None and packet.is_corrupt:
                raise ValueError("the file ends within it")
            return self._stream.decode(packet)
        except Exception:  # whatever a decoder raises
            self._damaged += 1
            return []

    def _image(self, frame: av.VideoFrame) -> np.ndarray | None:
        """[H, W, 3] uint8 RGB as stored, at the first frame's size; None if it cannot be converted."""
        self._size = self._size or (frame.width, frame.height)
        guess = frame.colorspace == _UNSPECIFIED and frame.height >= _HD
        try:
            matrix = Colorspace.ITU709 if guess else None
            rgb = self._scaler.reformat(frame, *self._size, "rgb24", src_colorspace=matrix, threads=1)
            return rgb.to_ndarray()
        except Exception:  # whatever a scaler raises
            self._damaged += 1
            return None

    def _finish(self, frame: av.VideoFrame, image: np.ndarray) -> Frame:
        time = self._next_time(frame)
        if self.frames_read:
            self._pause = max(self._pause, time - self._time)
        self._time = time
        self.frames_read += 1
        self._orientation = self._orientation or orientation_of(frame)
        aspect = self._stream.sample_aspect_ratio or Fraction(1)
        return Frame(
            self._orientation.apply(image),
            time,
            duration=(frame.duration or 0) * self._tick,
            aspect=1 / aspect if self._orientation.swaps_axes else aspect,
        )

    def _next_time(self, frame: av.VideoFrame) -> Fraction:
        """The time of a frame in whole ticks, which always grows."""
        usual = max(round(1 / self.rate / self.time_base), 1) * self.time_base if self.frames_read else self.time_base
        if frame.pts is None:
            return self._time + usual
        time = round(frame.pts * self._tick / self.time_base) * self.time_base
        if not self.frames_read and time > _LATEST_START:
            self.start = time
        time -= self.start
        return max(time, self._time + self.time_base) if time - self._time <= _LONGEST else self._time + usual


def _choose(streams: Sequence[VideoStream], path: pathlib.Path) -> VideoStream:
    """The film among the video streams: not a cover image, the default one, the largest, the first."""
    films = [stream for stream in streams if not stream.disposition & _STILL]
    if not films:
        raise UserError(f"{path} holds no film{', only a still image' * bool(streams)}; replace it by a whole video")
    known = [stream for stream in films if stream.codec_context is not None]
    if not known:
        raise UserError(f"{path}: its kind of video cannot be decoded; convert it to H.264")
    best = max(known, key=lambda stream: (bool(stream.disposition & Disposition.default), stream.width * stream.height))
    if best.width * best.height > MAX_PIXELS:
        raise UserError(f"{path} has frames of more than {MAX_PIXELS // 10**6} megapixels; reduce its size")
    best.thread_type = "NONE"  # threads of FFmpeg's HEVC decoder wait for each other forever in some damaged files
    best.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
    return best


def _count_packets(path: pathlib.Path) -> int:
    """Reads a file that says neither its length nor its number of frames; stops where it cannot be read."""
    count = 0
    with open_video(path) as container:
        stream = _choose(container.streams.video, path)
        with contextlib.suppress(Exception):  # whatever a demuxer raises
            for packet in container.demux(stream):
                count += bool(packet.size)
    return count
