"""Fused batch norm and activation for training, with a custom gradient."""

from functools import partial

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from dmlcsr_jax.ops.activations import Activation, activate, gradient_before

BATCH_STATISTICS = "batch_statistics"  # what rematerialization keeps: recomputing them would synchronize again


@partial(jax.custom_vjp, nondiff_argnums=(4, 5, 6))
def activated_batch_norm(
    x: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    center: jax.Array,
    activation: Activation,
    epsilon: float,
    axis_name: str | None,
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
      center: [C], equal on all devices; with several, the closer it is to the mean, the less is rounded away.
      activation: f.
      epsilon: added to the variance.
      axis_name: mapped axis over which to synchronize, or None.

    Returns:
      [..., C] of the dtype of x; mean [C] and variance [C] of the dtype of `scale`. `jax.checkpoint` can keep these two
      by the name `BATCH_STATISTICS`.
    """
    return _forward(x, scale, bias, center, activation, epsilon, axis_name)[0]


def count_values(x: jax.Array, axis_name: str | None) -> int:
    """The number of values per channel of [..., C], over all devices of `axis_name`."""
    return x.size // x.shape[-1] * _count_devices(axis_name)


@partial(jax.jit, static_argnums=(4, 5, 6))
def _forward(
    x: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    center: jax.Array,
    activation: Activation,
    epsilon: float,
    axis_name: str | None,
) -> tuple[tuple[jax.Array, ...], tuple[jax.Array, ...]]:
    wide, axes = x.astype(scale.dtype), tuple(range(x.ndim - 1))
    mean = wide.mean(axes)
    # A shape of its own keeps x - mean within the sum: XLA on the CPU writes it to memory if another pass has it too.
    var = jnp.square(wide.reshape(-1, x.shape[-1]) - mean).mean(0)
    mean, var = _over_devices(mean, var, center, axis_name)
    mean, var = checkpoint_name((mean, var), BATCH_STATISTICS)
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
) -> tuple[jax.Array, jax.Array, jax.Array, None]:
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
    return by_x.astype(x.dtype), by_scale, by_bias, None


activated_batch_norm.defvjp(_forward, _backward)


def _over_devices(
    mean: jax.Array, var: jax.Array, center: jax.Array, axis_name: str | None
) -> tuple[jax.Array, jax.Array]:
    """Mean and variance over all devices from those of each device, by one collective instead of two in sequence.

    With s = E[mean - center], the mean is center + s and the variance E[var + (mean - center)²] - s². This difference
    loses digits only if the center, a running mean, is many standard deviations away.
    """
    if _count_devices(axis_name) == 1:
        return mean, var
    shift = mean - center
    shift, square = jax.lax.pmean(jnp.stack([shift, var + jnp.square(shift)]), axis_name)
    return center + shift, jnp.maximum(square - jnp.square(shift), 0)


def _count_devices(axis_name: str | None) -> int:
    return 1 if axis_name is None else jax.lax.psum(1, axis_name)
