"""Edge labels match the published ones, also for degenerate label maps."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlcsr_jax.pipeline.edges import edge_labels

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"


@pytest.mark.parametrize("name", ["losses_11", "gradients_11"])
def test_matches_golden(name):
    with np.load(GOLDEN / f"{name}.npz") as golden:
        labels = golden["labels"]
        binary, category = jax.jit(edge_labels)(labels)
        np.testing.assert_array_equal(binary, golden["binary_edge_labels"])
        np.testing.assert_array_equal(category, golden["category_edge_labels"])


@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.int32])
def test_keeps_dtype(dtype):
    binary, category = edge_labels(jnp.zeros((2, 5, 7), dtype))
    assert binary.dtype == category.dtype == dtype
    assert binary.shape == category.shape == (2, 5, 7)


@pytest.mark.parametrize("value", [0, 3, 255])
def test_one_class_has_no_edge(value):
    binary, category = edge_labels(jnp.full((1, 6, 4), value, jnp.uint8))
    assert not binary.any() and not category.any()


def test_ignored_pixels_make_no_edge():
    labels = np.full((1, 8, 8), 2, np.uint8)
    labels[:, :, 4:] = 255
    assert not edge_labels(labels)[0].any()


def test_ignored_pixel_next_to_an_edge_has_no_category():
    labels = np.ones((1, 8, 8), np.uint8)
    labels[:, 4:] = 2
    labels[:, 4, 4] = 255
    binary, category = edge_labels(labels)
    assert binary[0, 4, 4] == 1 and category[0, 4, 4] == 0
    assert category[0, 4, 0] == 2 and category[0, 3, 0] == 1


def test_images_of_a_batch_are_independent():
    labels = np.stack([np.full((4, 4), value, np.uint8) for value in (1, 2)])
    assert not edge_labels(labels)[0].any()
