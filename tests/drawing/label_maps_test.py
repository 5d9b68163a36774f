"""Colors and counts of label maps, and PNG files that programs read back."""

import io

import cv2
import numpy as np
from PIL import Image

from dmlcsr_jax.datasets import get_spec
from dmlcsr_jax.datasets.images import decode_label
from dmlcsr_jax.drawing.label_maps import colorize, count_pixels, encode_indexed_png, write_indexed_png

SPEC = get_spec("celebamask_hq")
LABELS = (np.arange(60 * 80).reshape(60, 80) // 300 % 19).astype(np.uint8)
LABELS[-5:] = 255


def test_colors_are_the_palettes_and_gray_is_ignored():
    colors = colorize(LABELS, SPEC)
    for number, color in zip(LABELS[:-5].ravel(), colors[:-5].reshape(-1, 3), strict=True):
        assert tuple(color) == SPEC.palette[number]
    assert (colors[-5:] == 128).all()


def test_all_pixels_of_large_maps_are_counted():
    labels = np.zeros((1500, 1500), np.uint8)  # more than one strip, the last one shorter
    labels[-1], labels[0, :7] = 255, 3
    counts = count_pixels(labels)
    assert counts.shape == (256,) and counts.sum() == 1500**2
    assert counts[3] == 7 and counts[255] == 1500 and counts[0] == 1500**2 - 1507


def test_pillow_reads_numbers_and_every_reader_sees_colors():
    data = encode_indexed_png(LABELS, SPEC)
    with Image.open(io.BytesIO(data)) as image:
        assert image.mode == "P"
        np.testing.assert_array_equal(np.asarray(image), LABELS)
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), colorize(LABELS, SPEC))
    seen = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(seen[..., ::-1], colorize(LABELS, SPEC))


def test_our_own_reader_gets_the_numbers_of_a_file(tmp_path):
    labels = LABELS[:, ::-2]  # not contiguous
    write_indexed_png(tmp_path / "labels.png", labels, SPEC)
    np.testing.assert_array_equal(decode_label((tmp_path / "labels.png").read_bytes()), labels)
