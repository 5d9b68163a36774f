"""Bilinear resizing with aligned corners, for the network and its losses."""

import operator
from collections.abc import Sequence
from functools import partial, reduce

import jax
import jax.numpy as jnp
import numpy as np

_WIDEST_BAND = 12  # taps; beyond, a dense product is cheaper than their sum


def resize_bilinear(x: jax.Array, size: Sequence[int]) -> jax.Array:
    """Resizes the spatial axes so that the corner pixels of input and output coincide.

    Output pixel i lies at i * (input - 1) / (output - 1) of the input, between two pixels whose weights decrease
    linearly with their distance.

    `jax.image.scale_and_translate` computes the same but is 8 times slower on a CPU, and its gradient 20 times.

    Args:
      x: [..., H, W, C] floating point.
      size: (height, width) of the output.

    Returns:
      [..., height, width, C] of the dtype of `x`; computed in at least float32. Differentiable (reverse mode).
    """
    y = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    axes = [(axis % x.ndim, length) for axis, length in zip((-3, -2), size, strict=True)]
    for axis, length in sorted(axes, key=lambda pair: pair[1] / x.shape[pair[0]]):
        if x.shape[axis] != length:
            y = _resize_axis(y, axis, length)
    return y.astype(x.dtype)  # pyright: ignore[reportAttributeAccessIssue]  # custom_vjp hides the type


@partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _resize_axis(x: jax.Array, axis: int, length: int) -> jax.Array:
    return _apply(_weights(x.shape[axis], length), x, axis)


def _forward(x: jax.Array, axis: int, length: int) -> tuple[jax.Array, int]:
    return _resize_axis(x, axis, length), x.shape[axis]


def _backward(axis: int, length: int, size: int, gradient: jax.Array) -> tuple[jax.Array]:
    # Applies the transposed matrix like the matrix itself; autodiff's scatter is far slower.
    return (_apply(_weights(size, length).T, gradient, axis),)


_resize_axis.defvjp(_forward, _backward)


def _weights(size: int, length: int) -> np.ndarray:
    """[length, size] float64: the weight of each input pixel in each output pixel."""
    position = np.linspace(0, size - 1, length)
    return np.maximum(0, 1 - np.abs(position[:, None] - np.arange(size)))


def _apply(matrix: np.ndarray, x: jax.Array, axis: int) -> jax.Array:
    """The matrix times x along one axis.

    On a TPU it is a dense product: gathers there are slower than all the zeros. Elsewhere it is a sum of few taps if
    the matrix is a narrow band.
    """
    used = matrix > 0
    start = used.argmax(axis=1)
    band = int((matrix.shape[1] - used[:, ::-1].argmax(axis=1) - start).max())
    dense = partial(_dense, matrix, axis)
    if band > _WIDEST_BAND:
        return dense(x)
    taps = partial(_taps, matrix, axis, np.minimum(start, matrix.shape[1] - band), band)
    return jax.lax.platform_dependent(x, tpu=dense, default=taps)


def _dense(matrix: np.ndarray, axis: int, x: jax.Array) -> jax.Array:
    product = jnp.tensordot(jnp.asarray(matrix, x.dtype), x, ((1,), (axis,)), precision=jax.lax.Precision.HIGHEST)
    return jnp.moveaxis(product, 0, axis)


def _taps(matrix: np.ndarray, axis: int, start: np.ndarray, band: int, x: jax.Array) -> jax.Array:
    """The sum of `band` weighted copies of x, whose first reads pixel `start` for each output pixel."""
    column = (-1,) + (1,) * (x.ndim - axis - 1)

    def weighted(tap: int) -> jax.Array:
        weights = np.take_along_axis(matrix, (start + tap)[:, None], axis=1).reshape(column)
        return jnp.take(x, start + tap, axis, mode="clip") * weights.astype(x.dtype)

    return reduce(operator.add, map(weighted, range(band)))
