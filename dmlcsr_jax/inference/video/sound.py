"""The sound of a video, carried into another one."""

import contextlib
import pathlib
from collections.abc import Iterator
from fractions import Fraction

from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet

from dmlcsr_jax.inference.video.opening import open_video

# What MP4 holds and players expect there; all else becomes AAC.
_COPIED = {"aac", "mp3", "opus", "flac", "alac", "ac3", "eac3"}
_AAC_RATES = {96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350}
_GAP = 0.1  # seconds
_BITS = 96000  # per second and channel


class Sound:
    """All audio tracks of a file that can be decoded, at its times.

    Args:
      source: the file; None for no sound.
      output: gets an audio stream for every track.
      start: seconds to subtract from the times.

    Attributes:
      lost: the number of tracks that cannot be decoded.
    """

    def __init__(self, source: pathlib.Path | None, output: OutputContainer, start: Fraction = Fraction(0)):
        self._output, self._start = output, start
        self._tracks: dict[int, _Copied | _Encoded] = {}
        self._packets: Iterator[Packet] = iter(())
        self.lost = 0
        if source is not None:
            container = open_video(source)
            streams = [stream for stream in container.streams.audio if stream.codec_context is not None]
            self.lost = len(container.streams.audio) - len(streams)
            self._tracks = {stream.index: _track(stream, output, start) for stream in streams}
            self._packets = _read(container, streams)

    def write_until(self, time: Fraction | None) -> None:
        """Writes what sounds until `time` in seconds, and a little more; None for all that is left."""
        for packet in self._packets:
            own_time = (packet.pts or 0) * packet.time_base - self._start
            self._output.mux(self._tracks[packet.stream.index].take(packet))
            if time is not None and own_time > time:
                return
        if time is None:
            for track in self._tracks.values():
                self._output.mux(track.finish())


def _read(container: InputContainer, streams: list[AudioStream]) -> Iterator[Packet]:
    """The packets of some streams, until the end or what cannot be read: the frames' reader tells about that."""
    if not streams:
        return
    with contextlib.suppress(Exception):  # whatever a demuxer raises
        yield from (packet for packet in container.demux(streams) if packet.size and not packet.is_corrupt)


class _Copied:
    """A track whose packets are kept as they are."""

    def __init__(self, stream: AudioStream, output: OutputContainer, start: Fraction):
        self._stream = output.add_stream_from_template(stream)
        self._start = round(start / stream.time_base) if stream.time_base else 0
        self._last: int | None = None

    def take(self, packet: Packet) -> list[Packet]:
        """The packet, for the output; none if its time does not follow."""
        if packet.dts is None or packet.pts is None or (self._last is not None and packet.dts <= self._last):
            return []
        self._last = packet.dts
        packet.stream = self._stream
        packet.pts, packet.dts = packet.pts - self._start, packet.dts - self._start
        return [packet]

    def finish(self) -> list[Packet]:
        """What is left: nothing."""
        return []


class _Encoded:
    """A track that becomes AAC, mono or stereo."""

    def __init__(self, stream: AudioStream, output: OutputContainer, start: Fraction):
        channels = min(stream.codec_context.channels, 2)
        self._decoder, self._start = stream, start
        self._encoder = output.add_stream(
            "aac",
            rate=stream.rate if stream.rate in _AAC_RATES else 48000,
            bit_rate=_BITS * channels,
            layout="mono" if channels == 1 else "stereo",
        )
        self._encoder.codec_context.open()  # before the first frame: PyAV then cuts frames to the encoder's length
        self._next: int | None = None  # sample

    def take(self, packet: Packet | None) -> list[Packet]:
        """What can be encoded with one packet more; nothing if it is damaged. None is the end."""
        try:
            frames = self._decoder.decode(packet)
            return [encoded for frame in frames for encoded in self._encoder.encode(self._timed(frame))]
        except Exception:  # whatever a decoder raises
            return []

    def finish(self) -> list[Packet]:
        """What the decoder and the encoder hold back."""
        return self.take(None) + self._encoder.encode(None)

    def _timed(self, frame: AudioFrame) -> AudioFrame:
        """Counts samples on, which is smoother than many files' times, except after a gap."""
        given = self._next or 0
        if frame.pts is not None and self._decoder.time_base:
            given = round((frame.pts * self._decoder.time_base - self._start) * frame.sample_rate)
        if self._next is None or given - self._next > _GAP * frame.sample_rate:
            self._next = given
        frame.time_base, frame.pts = Fraction(1, frame.sample_rate), self._next
        self._next += frame.samples
        return frame


def _track(stream: AudioStream, output: OutputContainer, start: Fraction) -> _Copied | _Encoded:
    kind = stream.codec_context.codec.canonical_name
    # AAC without its description in the header is a radio stream, cut into packets that MP4 does not hold.
    is_copied = kind in _COPIED and (kind != "aac" or bool(stream.codec_context.extradata))
    return (_Copied if is_copied else _Encoded)(stream, output, start)
