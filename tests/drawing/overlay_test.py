"""Label maps as pictures: what is written can be read back."""

import numpy as np
from PIL import Image

from dmlcsr_jax.datasets import get_spec
from dmlcsr_jax.drawing import overlay as visualize

SPEC = get_spec("celebamask_hq")
LABELS = np.arange(60 * 80, dtype=np.int64).reshape(60, 80) // 300 % 19
LABELS = LABELS.astype(np.uint8)
IMAGE = np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)


def test_indexed_png_holds_numbers_and_colors(tmp_path):
    visualize.save_indexed_png(tmp_path / "labels.png", LABELS, SPEC)
    with Image.open(tmp_path / "labels.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), LABELS)
        np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), visualize.colorize(LABELS, SPEC))


def test_overlay_leaves_background_and_ignored_pixels():
    labels = LABELS.copy()
    labels[:5] = 255
    mixed = visualize.overlay(IMAGE, labels, SPEC)
    untouched = (labels == 0) | (labels == 255)
    np.testing.assert_array_equal(mixed[untouched], IMAGE[untouched])
    assert (mixed[~untouched] != IMAGE[~untouched]).any()
    np.testing.assert_array_equal(visualize.overlay(IMAGE, labels, SPEC, opacity=0.0), IMAGE)


def test_legend_keeps_the_size_even_of_tiny_pictures():
    for size in ((1, 1), (9, 200), (300, 40), (400, 400)):
        labels = np.full(size, 13, np.uint8)
        image = np.zeros((*size, 3), np.uint8)
        assert visualize.draw_legend(image, labels, SPEC).shape == image.shape


def test_panel_shows_four_columns():
    batch = [np.stack([array] * 3) for array in (IMAGE, LABELS, LABELS, LABELS / 20)]
    assert visualize.panel(*batch, SPEC).shape == (180, 320, 3)
