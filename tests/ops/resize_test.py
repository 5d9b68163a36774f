"""Resizing with aligned corners equals the bilinear formula, forward and backward."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmlcsr_jax.ops import resize
from dmlcsr_jax.ops.resize import resize_bilinear
from tests.lowered import count_operations


def reference(x, size):
    for axis, length in zip((-3, -2), size, strict=True):
        position = np.arange(length) * ((x.shape[axis] - 1) / max(length - 1, 1))
        low = np.minimum(position.astype(int), max(x.shape[axis] - 2, 0))
        high = np.minimum(low + 1, x.shape[axis] - 1)
        share = (position - low).reshape(-1, *(1,) * (-axis - 1))
        x = np.take(x, low, axis) * (1 - share) + np.take(x, high, axis) * share
    return x


CASES = [((5, 7), (13, 9)), ((2, 3), (60, 41)), ((1, 4), (3, 1)), ((30, 6), (11, 6)), ((12, 8), (45, 32))]


@pytest.mark.parametrize(("size", "target"), CASES)
def test_equal_to_the_formula(size, target):
    with jax.enable_x64(True):
        x = np.random.default_rng(0).normal(size=(2, *size, 3))
        np.testing.assert_allclose(resize_bilinear(x, target), reference(x, target), rtol=1e-12, atol=1e-12)
        assert resize_bilinear(x, target).dtype == jnp.float64


@pytest.mark.parametrize(("size", "target"), CASES)
def test_gradient_is_the_transpose(size, target):
    with jax.enable_x64(True):
        rng = np.random.default_rng(1)
        x, weights = rng.normal(size=(*size, 2)), rng.normal(size=(*target, 2))
        direction = rng.normal(size=x.shape)
        gradient = jax.grad(lambda x: (resize_bilinear(x, target) * weights).sum())(x)
        np.testing.assert_allclose((gradient * direction).sum(), (reference(direction, target) * weights).sum())


def test_corners_and_constants_are_kept():
    x = jax.random.uniform(jax.random.key(0), (6, 9, 1))
    y = resize_bilinear(x, (48, 33))
    for row in (0, -1):
        for column in (0, -1):
            np.testing.assert_allclose(y[row, column], x[row, column], rtol=1e-6)
    np.testing.assert_allclose(resize_bilinear(jnp.full((4, 4, 1), 3.0), (17, 29)), 3, rtol=1e-6)


def test_the_same_size_changes_nothing_and_dtypes_are_kept():
    x = jnp.arange(24, dtype=jnp.bfloat16).reshape(4, 3, 2)
    np.testing.assert_array_equal(resize_bilinear(x, (4, 3)), x)
    assert resize_bilinear(x, (8, 8)).dtype == jnp.bfloat16


@pytest.mark.parametrize(("size", "target"), CASES)
def test_dense_products_are_equal_to_the_formula(size, target, monkeypatch):
    """They serve TPUs, and everywhere the wide bands."""
    monkeypatch.setattr(resize, "_WIDEST_BAND", 0)
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        x, weights = rng.normal(size=(2, *size, 3)), rng.normal(size=(2, *target, 3))
        y, pull_back = jax.vjp(lambda x: resize_bilinear(x, target), x)
        np.testing.assert_allclose(y, reference(x, target), rtol=1e-12, atol=1e-12)
        gradient = pull_back(jnp.asarray(weights))[0]
        np.testing.assert_allclose((gradient * x).sum(), (reference(x, target) * weights).sum())


@pytest.mark.parametrize(("platform", "gathers", "products"), [("cpu", 11, 0), ("cuda", 11, 0), ("tpu", 0, 4)])
def test_tpus_multiply_and_others_gather(platform, gathers, products):
    """For both axes forward and backward: 2 taps each forward, 4 and 3 backward."""
    gradient = jax.jit(jax.value_and_grad(lambda x: jnp.square(resize_bilinear(x, (60, 33))).sum()))
    traced = gradient.trace(jax.ShapeDtypeStruct((2, 30, 17, 4), jnp.bfloat16))
    text = traced.lower(lowering_platforms=(platform,)).as_text()
    counted = count_operations(text, "gather"), count_operations(text, "dot_general")
    assert counted == (gathers, products)
