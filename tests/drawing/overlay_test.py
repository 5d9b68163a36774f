"""Overlays blend the right colors into the right pixels, and panels show the right columns."""

import numpy as np
import pytest

from dmlcsr_jax.datasets import get_spec
from dmlcsr_jax.drawing.overlay import draw_overlay, panel

SPEC = get_spec("celebamask_hq")
HAIR = SPEC.class_id("hair")
LABELS = (np.arange(60 * 80).reshape(60, 80) // 300 % 19).astype(np.uint8)
IMAGE = np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)


@pytest.mark.parametrize("opacity", [0.0, 0.25, 0.55, 1.0])
def test_each_pixel_is_a_blend_of_its_color_and_the_image(opacity):
    palette = np.array(SPEC.palette, np.float64)[LABELS]
    expected = opacity * palette + (1 - opacity) * IMAGE
    expected[LABELS == 0] = IMAGE[LABELS == 0]
    found = draw_overlay(IMAGE, LABELS, SPEC, opacity=opacity)
    assert found.dtype == np.uint8 and np.abs(found - expected).max() <= 0.5 + 1e-6


def test_ignored_pixels_keep_the_image_and_the_image_is_not_changed():
    labels, before = np.full((60, 80), 255, np.uint8), IMAGE.copy()
    labels[10, 20] = HAIR
    found = draw_overlay(IMAGE, labels, SPEC, opacity=1.0)
    assert tuple(found[10, 20]) == SPEC.palette[HAIR]
    found[10, 20] = IMAGE[10, 20]
    np.testing.assert_array_equal(found, IMAGE)
    np.testing.assert_array_equal(IMAGE, before)


def test_images_of_many_strips_are_whole():
    """Three strips of 2 ** 20 pixels, the last one shorter."""
    labels = np.full((1300, 2000), HAIR, np.uint8)
    found = draw_overlay(np.zeros((1300, 2000, 3), np.uint8), labels, SPEC, opacity=1.0)
    assert (found == SPEC.palette[HAIR]).all()


def test_a_panel_has_one_row_per_example_and_four_columns():
    images = np.stack([IMAGE, 255 - IMAGE])
    labels, predictions = np.zeros((2, 60, 80), np.uint8), np.full((2, 60, 80), HAIR, np.uint8)
    labels[1] = 255
    edges = np.zeros((2, 60, 80))
    edges[0, :, :40], edges[1] = 1.0, 0.5
    found = panel(images, labels=labels, predictions=predictions, edges=edges, spec=SPEC)
    assert found.shape == (120, 320, 3) and found.dtype == np.uint8
    first, second = found[:60], found[60:]
    np.testing.assert_array_equal(first[:, :80], IMAGE)
    np.testing.assert_array_equal(second[:, :80], 255 - IMAGE)
    assert (first[:, 80:160] == SPEC.palette[0]).all() and (second[:, 80:160] == 128).all()
    assert (found[:, 160:240] == SPEC.palette[HAIR]).all()
    assert (first[:, 240:280] == 255).all() and (first[:, 280:] == 0).all() and (second[:, 240:] == 127).all()
