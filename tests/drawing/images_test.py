"""RGB images survive files and data URLs, with their channels in order."""

import base64

import cv2
import numpy as np
import pytest

from dmlcsr_jax.datasets.images import decode_image
from dmlcsr_jax.drawing.images import data_url, jpeg_url, resize_longer_side, write_image
from dmlcsr_jax.errors import UserError

IMAGE = np.full((40, 60, 3), (200, 120, 20), np.uint8)
IMAGE[:20] = (10, 60, 220)
AWAY_FROM_THE_EDGE = np.r_[:12, 28:40]  # where JPEG does not mix the colors


@pytest.mark.parametrize(("name", "bound"), [("a.png", 0), ("a.jpg", 4)])
def test_files_hold_the_image_in_the_format_of_their_suffix(tmp_path, name, bound):
    write_image(tmp_path / name, IMAGE)
    data = (tmp_path / name).read_bytes()
    assert data.startswith(b"\x89PNG" if name.endswith("png") else b"\xff\xd8\xff")
    assert decode_image(data).shape == IMAGE.shape
    assert np.abs(decode_image(data).astype(int) - IMAGE)[AWAY_FROM_THE_EDGE].max() <= bound


def test_what_a_jpeg_cannot_hold_is_refused(tmp_path):
    long = np.zeros((1, 65501, 3), np.uint8)
    with pytest.raises(UserError, match=r"a\.jpg.*65500"):
        write_image(tmp_path / "a.jpg", long)
    assert list(tmp_path.iterdir()) == []
    write_image(tmp_path / "a.jpg", long[:, :65500])
    write_image(tmp_path / "a.png", long)


def test_a_file_that_cannot_be_written_raises(tmp_path):
    with pytest.raises(OSError, match="none"):
        write_image(tmp_path / "none" / "a.png", IMAGE)


def test_data_urls_hold_whole_files():
    head, _, body = jpeg_url(IMAGE).partition(",")
    assert head == "data:image/jpeg;base64"
    assert np.abs(decode_image(base64.b64decode(body)).astype(int) - IMAGE)[AWAY_FROM_THE_EDGE].max() <= 4
    assert data_url("image/png", b"\x00\xff") == "data:image/png;base64,AP8="


@pytest.mark.parametrize(("side", "size"), [(30, (20, 30)), (60, (40, 60)), (90, (60, 90)), (1, (1, 1))])
def test_resizing_keeps_the_aspect_ratio(side, size):
    assert resize_longer_side(IMAGE, side).shape == (*size, 3)
    assert resize_longer_side(IMAGE.transpose(1, 0, 2), side).shape == (*size[::-1], 3)


def test_shrinking_averages():
    checkered = np.zeros((64, 64, 3), np.uint8)
    checkered[::2, ::2] = checkered[1::2, 1::2] = 254
    assert (resize_longer_side(checkered, 16) == 127).all()
    assert cv2.resize(checkered, (16, 16), interpolation=cv2.INTER_NEAREST).max() != 127
