"""Every kind of image file is read, whatever its ending says."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from dmlcsr_jax.datasets import formats
from dmlcsr_jax.datasets.formats import count_pixels, image_suffixes
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.inference.images import read_image

IMAGE = cv2.resize(np.random.default_rng(0).integers(0, 256, (5, 4, 3)).astype(np.uint8), (64, 48))
MODES = {"GIF": "P", "MSP": "1", "XBM": "1"}  # in which a format is written here, if not RGB
LOSSY = {"JPEG": 40, "WEBP": 40, "AVIF": 40, "HEIF": 40, "MPO": 40}  # the largest difference that a format makes


def formats_written():
    Image.init()
    names = {Image.registered_extensions()[suffix] for suffix in image_suffixes()}
    return sorted(names & set(Image.SAVE) - {"BLP", "ICNS", "ICO"})  # palettes, or other sizes


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", formats_written())
def test_every_format_is_read(tmp_path, name):
    written = Image.fromarray(IMAGE).convert(MODES.get(name, "RGB"))
    path = tmp_path / "photo"
    written.save(path, name)
    image, expected = read_image(path), np.asarray(written.convert("RGB"))
    assert image.shape == expected.shape and image.dtype == np.uint8
    assert np.abs(image.astype(int) - expected).max() <= LOSSY.get(name, 0)
    assert count_pixels(path) == 64 * 48


def test_a_heif_file_of_any_name_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "register_heif", lambda: False)
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + b"\0" * 64)
    with pytest.raises(UserError, match=r"photo\.jpg is a HEIF file; pip install 'dmlcsr_jax\[heif\]' reads it"):
        read_image(path)


def test_pixels_are_counted_by_the_header(tmp_path):
    file = io.BytesIO()
    Image.fromarray(IMAGE).save(file, "JPEG")
    (tmp_path / "cut.jpg").write_bytes(file.getvalue()[:700])
    (tmp_path / "none.jpg").write_bytes(b"none")
    assert count_pixels(tmp_path / "cut.jpg") == 64 * 48
    assert count_pixels(tmp_path / "none.jpg") == count_pixels(tmp_path / "missing.jpg") == 0
