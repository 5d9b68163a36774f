"""Normalization follows the preprocessing that a checkpoint records."""

import dataclasses

import jax.numpy as jnp
import numpy as np

from dmlcsr_jax.ops.normalize import normalize
from dmlcsr_jax.types import Preprocessing

PREPROCESSING = Preprocessing("RGB", (0.5, 0.4, 0.3), (0.2, 0.1, 0.3))


def test_normalizes_in_channel_order():
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), np.uint8)
    expected = (images / 255 - [0.5, 0.4, 0.3]) / [0.2, 0.1, 0.3]
    np.testing.assert_allclose(normalize(images, PREPROCESSING), expected, rtol=1e-5, atol=1e-5)
    swapped = dataclasses.replace(PREPROCESSING, channel_order="BGR")
    expected = (images[..., ::-1] / 255 - [0.5, 0.4, 0.3]) / [0.2, 0.1, 0.3]
    np.testing.assert_allclose(normalize(images, swapped), expected, rtol=1e-5, atol=1e-5)


def test_dtype_of_the_result():
    images = np.full((1, 2, 2, 3), 255, np.uint8)
    assert normalize(images, PREPROCESSING).dtype == jnp.float32
    assert normalize(images, PREPROCESSING, jnp.bfloat16).dtype == jnp.bfloat16
