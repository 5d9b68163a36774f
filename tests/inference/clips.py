"""Small videos for tests."""

from fractions import Fraction

import av
import numpy as np

MILLISECOND = Fraction(1, 1000)
PAUSES = (0, 40, 41, 500, 533, 900, 2000, 2010, 2400)  # milliseconds: frames at a variable rate


def drawn(index, height=48, width=64):
    """[H, W, 3] uint8 RGB: a bar that grows by four columns a frame, and a white corner at the top left."""
    image = np.full((height, width, 3), (200, 100, 20), np.uint8)
    image[:, : 4 * index] = (20, 40, 220)
    image[: height // 4, : width // 4] = 255
    return image


def write_clip(
    path, times=range(0, 400, 40), *, codec="libx264", tick=MILLISECOND, image=drawn, sound="", muxer=None, **stream
):
    """Writes images at times in ticks; `sound` is the codec of a tone of 0.4 seconds, `stream` is for the video."""
    settings = {"pix_fmt": "yuv420p", "rate": 25, "time_base": tick, **stream}
    rotation = settings.pop("rotation", None)
    with av.open(str(path), "w", container_options=muxer or {}) as output:
        height, width, _ = image(0).shape
        video = output.add_stream(codec, width=width, height=height, **settings)
        if rotation:
            video.set_display_rotation(*rotation)
        experimental = {"strict": "experimental"}  # as FFmpeg calls its encoder of Vorbis
        audio = output.add_stream(sound, rate=48000, layout="stereo", options=experimental) if sound else None
        for index, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(image(index), "rgb24")
            frame.pts, frame.time_base = time, tick
            output.mux(video.encode(frame))
        if audio:
            write_tone(output, audio)
        output.mux(video.encode(None))
    return path


def write_tone(output, stream, seconds=0.4, frequency=440):
    """A sine of half the loudest amplitude in both channels."""
    if not stream.codec_context.is_open:
        stream.codec_context.open()  # so that frames are cut to its length
    wave = np.sin(np.arange(int(seconds * 48000)) * 2 * np.pi * frequency / 48000) / 2
    for start in range(0, len(wave), 1000):
        part = wave[start : start + 1000].astype(np.float32)
        frame = av.AudioFrame.from_ndarray(np.stack([part, part]), "fltp", "stereo")
        frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
        output.mux(stream.encode(frame))
    output.mux(stream.encode(None))


def times_of(path):
    """Seconds of all frames, as PyAV reads them."""
    with av.open(str(path)) as container:
        tick = container.streams.video[0].time_base
        return [frame.pts * tick for frame in container.decode(video=0)]


def packets_of(path):
    """(seconds, bytes) of the packets of the first audio stream."""
    with av.open(str(path)) as container:
        return [(packet.pts * packet.time_base, bytes(packet)) for packet in container.demux(audio=0) if packet.size]
