"""Fused batch norm and activation for training, with a custom gradient."""

from functools import partial

import jax
import jax.numpy as jnp

from dmlcsr_jax.ops.activations import Activation, activate, gradient_before


@partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def activated_batch_norm(
    x: jax.Array, scale: jax.Array, bias: jax.Array, activation: Activation, epsilon: float, axis_name: str | None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """f((x - mean) / sqrt(var + epsilon) * scale + bias), and the batch's mean and biased variance.

    Mean and variance are taken over all axes but the last, and over the devices of `axis_name`. Only the first result
    is differentiable. Its custom gradient keeps nothing but `x` and reads it in two passes. Mean and variance take one
    pass each, and everything is computed from x - mean: gradients of this network are so ill-conditioned that the loss
    of precision in E[x²] - E[x]² would matter.

    Args:
      x: [..., C], of any floating dtype.
      scale: [C], of at least float32; statistics are computed in its dtype.
      bias: [C], likewise.
      activation: f.
      epsilon: added to the variance.
      axis_name: mapped axis over which to synchronize, or None.

    Returns:
      [..., C] of the dtype of x; mean [C] and variance [C] of the dtype of `scale`.
    """
    return _forward(x, scale, bias, activation, epsilon, axis_name)[0]


def count_values(x: jax.Array, axis_name: str | None) -> int:
    """The number of values per channel of [..., C], over all devices of `axis_name`."""
    devices = 1 if axis_name is None else jax.lax.psum(1, axis_name)
    return x.size // x.shape[-1] * devices


@partial(jax.jit, static_argnums=(3, 4, 5))
def _forward(
    x: jax.Array, scale: jax.Array, bias: jax.Array, activation: Activation, epsilon: float, axis_name: str | None
) -> tuple[tuple[jax.Array, ...], tuple[jax.Array, ...]]:
    wide, axes = x.astype(scale.dtype), tuple(range(x.ndim - 1))
    mean = _over_devices(wide.mean(axes), axis_name)
    # A shape of its own keeps x - mean within the sum: XLA on the CPU writes it to memory if another pass has it too.
    var = _over_devices(jnp.square(wide.reshape(-1, x.shape[-1]) - mean).mean(0), axis_name)
    factor = scale * jax.lax.rsqrt(var + epsilon)
    y = activate((wide - mean) * factor + bias, activation).astype(x.dtype)
    return (y, mean, var), (x, scale, bias, mean, var)


@partial(jax.jit, static_argnums=(0, 1, 2))
def _backward(
    activation: Activation,
    epsilon: float,
    axis_name: str | None,
    residuals: tuple[jax.Array, ...],
    gradients: tuple[jax.Array, ...],
) -> tuple[jax.Array, jax.Array, jax.Array]:
    x, scale, bias, mean, var = residuals
    # mean - x instead of x - mean, which XLA would share with the forward pass and keep in memory beside x.
    negated = mean - x.astype(scale.dtype)
    inverse = jax.lax.rsqrt(var + epsilon)
    factor = scale * inverse
    gradient = gradient_before(gradients[0].astype(scale.dtype), bias - negated * factor, activation)
    # Again a shape of its own, see _forward.
    rows, values = (a.reshape(x.shape[0], -1, x.shape[-1]) for a in (gradient, x))
    by_factor = (rows * (values.astype(scale.dtype) - mean)).sum((0, 1))
    sums = jnp.stack([rows.sum((0, 1)), by_factor * inverse])
    by_bias, by_scale = sums
    if axis_name is not None:
        sums = jax.lax.psum(sums, axis_name)
    by_mean, by_deviation = sums / count_values(x, axis_name)
    by_x = factor * (gradient - by_mean + negated * (by_deviation * inverse))
    return by_x.astype(x.dtype), by_scale, by_bias


activated_batch_norm.defvjp(_forward, _backward)


def _over_devices(value: jax.Array, axis_name: str | None) -> jax.Array:
    return value if axis_name is None else jax.lax.pmean(value, axis_name)
