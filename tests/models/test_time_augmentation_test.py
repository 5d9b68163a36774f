"""Test-time augmentation averages views; mirror images exchange left and right classes."""

import jax.numpy as jnp
import numpy as np
import pytest

from dmlcsr_jax.datasets import get_spec
from dmlcsr_jax.models.test_time_augmentation import TestTimeAugmentation, augmented_logits, flip_averaged_logits
from dmlcsr_jax.ops.resize import resize_bilinear

IMAGES = np.random.default_rng(0).normal(size=(2, 6, 8, 3)).astype(np.float32)


@pytest.mark.parametrize("name", ["celebamask_hq", "lapa"])
def test_by_hand(name):
    spec = get_spec(name)
    maps = np.random.default_rng(1).normal(size=(3, spec.num_classes)).astype(np.float32)

    def logits(images):
        columns = jnp.arange(images.shape[2], dtype=jnp.float32)[:, None]  # distinguishes left from right
        return (images @ maps + columns)[:, ::2, ::2]

    result = np.asarray(flip_averaged_logits(logits, IMAGES, spec.flip_table()))
    plain, mirrored = np.asarray(logits(IMAGES)), np.asarray(logits(IMAGES[:, :, ::-1]))
    for number, class_name in enumerate(spec.class_names):
        partner = {a: b for pair in spec.flip_pairs for a, b in (pair, pair[::-1])}.get(class_name, class_name)
        other = mirrored[:, :, ::-1, spec.class_id(partner)]
        np.testing.assert_allclose(result[..., number], (plain[..., number] + other) / 2, rtol=1e-6)


def test_of_the_mirror_image_is_the_mirrored_result():
    spec = get_spec("lapa")
    kernel = np.random.default_rng(2).normal(size=(3, spec.num_classes)).astype(np.float32)

    def logits(images):
        return jnp.cumsum(images @ kernel, axis=2)  # treats the two sides differently

    table = spec.flip_table()
    there = flip_averaged_logits(logits, IMAGES, table)
    back = flip_averaged_logits(logits, IMAGES[:, :, ::-1], table)
    np.testing.assert_allclose(there, back[:, :, ::-1][..., table[: spec.num_classes]], rtol=1e-5, atol=1e-6)


def test_dtype_is_kept():
    result = flip_averaged_logits(lambda x: x.astype(jnp.bfloat16), jnp.asarray(IMAGES), np.arange(256, dtype=np.uint8))
    assert result.dtype == jnp.bfloat16


def test_mean_over_scales_by_hand():
    def logits(images):  # depends on the size
        return images[:, ::2, ::2] * images.shape[2]

    found = augmented_logits(logits, IMAGES, TestTimeAugmentation(scales=(0.5, 1.0, 2.0)))
    expected = sum(
        resize_bilinear(logits(resize_bilinear(IMAGES, size)), (6, 8)) for size in ((3, 4), (6, 8), (12, 16))
    )
    np.testing.assert_allclose(found, expected / 3, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(augmented_logits(logits, IMAGES), resize_bilinear(logits(IMAGES), (6, 8)), rtol=1e-6)


def test_flips_and_scales_together():
    spec = get_spec("lapa")
    kernel = np.random.default_rng(2).normal(size=(3, spec.num_classes)).astype(np.float32)

    def logits(images):
        return jnp.cumsum(images @ kernel, axis=2)

    table = spec.flip_table()
    augmentation = TestTimeAugmentation(flip=True, scales=(1.0, 1.5))
    there = augmented_logits(logits, IMAGES, augmentation, table)
    back = augmented_logits(logits, IMAGES[:, :, ::-1], augmentation, table)
    np.testing.assert_allclose(there, back[:, :, ::-1][..., table[: spec.num_classes]], rtol=1e-4, atol=1e-4)
