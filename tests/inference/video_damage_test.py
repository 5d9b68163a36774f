"""Files that are cut or damaged give frames or one line, and nothing else reaches the terminal."""

import random
from fractions import Fraction

import numpy as np
import pytest

from dmlcsr_jax.errors import UserError
from dmlcsr_jax.inference.video.reading import VideoReader
from dmlcsr_jax.inference.video.writing import VideoWriter
from tests.inference.clips import drawn, write_clip

# No frame depends on another, and all are of about the same length.
INDEPENDENT = {"codec": "mjpeg", "pix_fmt": "yuvj420p", "tick": Fraction(1, 25)}


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("front.mp4", {"muxer": {"movflags": "faststart"}}),
        ("parts.mp4", {"muxer": {"movflags": "frag_keyframe+empty_moov"}}),
        ("clip.mov", {"muxer": {"movflags": "faststart"}}),
        ("clip.mkv", {}),
        ("sound.mkv", {"sound": "aac"}),
        ("clip.avi", {}),
    ],
)
@pytest.mark.parametrize("share", [0.3, 0.85])
def test_a_film_that_ends_early_keeps_what_was_read(tmp_path, name, settings, share):
    path = write_clip(tmp_path / name, range(30), image=lambda _: drawn(3), **INDEPENDENT, **settings)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    reader = VideoReader(path)
    images = [frame.image for frame in reader]
    assert 30 * share - 9 < len(images) < 30
    assert all(np.abs(image.astype(int) - drawn(3)).mean() < 6 for image in images)  # no half frame
    with pytest.raises(UserError, match=rf"{name} is incomplete after frame {len(images)}; what was read is kept"):
        reader.check()


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.avi"])
def test_whole_films_are_not_called_incomplete(tmp_path, name):
    for times in (range(10), [0, 1, 2, 50, 51, 200], [5]):
        path = write_clip(tmp_path / name, times, sound="libmp3lame", **INDEPENDENT)
        reader = VideoReader(path)
        assert len(list(reader)) == len(times)
        reader.check()


def test_damage_in_the_middle_is_told_and_frames_behind_it_are_read(tmp_path):
    path = write_clip(tmp_path / "clip.mov", range(10), **INDEPENDENT, image=lambda _: drawn(3))
    data = bytearray(path.read_bytes())
    starts = [i for i in range(len(data)) if data[i : i + 3] == b"\xff\xd8\xff"]
    data[starts[4] : starts[5]] = bytes(starts[5] - starts[4])
    path.write_bytes(data)
    reader = VideoReader(path)
    assert len(list(reader)) == 9
    with pytest.raises(UserError, match=r"clip\.mov is damaged in 1 places; 9 frames could be read"):
        reader.check()


@pytest.mark.parametrize(
    "content", [b"", b"not a video", b"\x1a\x45\xdf\xa3", b"RIFF\0\0\0\0AVI LIST", b"\0\0\0\x20ftyp"]
)
def test_what_is_no_video_is_named(tmp_path, content):
    (tmp_path / "none.mp4").write_bytes(content)
    with pytest.raises(UserError, match=r"none\.mp4"):
        reader = VideoReader(tmp_path / "none.mp4")
        list(reader)
        reader.check()
    with pytest.raises(UserError, match=r"missing\.mp4 cannot be read"):
        VideoReader(tmp_path / "missing.mp4")


def mutated(data, rng):
    """Changes some bytes, most of them in the header, cuts the end off, or removes or clears a piece."""
    data, kind = bytearray(data), rng.choice(["bytes", "header", "end", "removed", "cleared"])
    if kind in ("bytes", "header"):
        for _ in range(rng.choice([1, 4, 30])):
            data[rng.randrange(len(data) if kind == "bytes" else min(len(data), 1500))] = rng.randrange(256)
        return data
    start = rng.randrange(len(data))
    end = len(data) if kind == "end" else min(len(data), start + rng.randrange(1, 400))
    data[start:end] = bytes(end - start) if kind == "cleared" else b""
    return data


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("clip.mp4", {"sound": "aac"}),
        ("clip.mkv", {"sound": "flac"}),
        ("clip.webm", {"codec": "libvpx", "sound": "libopus"}),
        ("clip.avi", {"codec": "mpeg4", "sound": "pcm_s16le", "times": range(10), "tick": Fraction(1, 25)}),
    ],
)
def test_mutated_files_give_frames_or_one_line(tmp_path, capfd, name, settings):
    data = write_clip(tmp_path / name, **settings).read_bytes()
    capfd.readouterr()  # what encoders say
    rng = random.Random(name)
    for _ in range(12):
        path = tmp_path / name
        path.write_bytes(mutated(data, rng))
        try:
            reader = VideoReader(path)
            with VideoWriter(tmp_path / "out.mp4", time_base=reader.time_base, sound_of=reader) as writer:
                for frame in reader:
                    assert frame.image.dtype == np.uint8 and frame.image.ndim == 3
                    writer.write(frame)
            reader.check()
        except UserError as error:
            assert name in str(error) and "\n" not in str(error)
    assert capfd.readouterr() == ("", "")
    assert {file.name for file in tmp_path.iterdir()} <= {name, "out.mp4"}
