"""Batch-norm statistics of one batch alone, of which some examples may be filling."""

import contextlib

import flax.linen as nn
import jax
import jax.numpy as jnp

from dmlcsr_jax.models.layers import ActivatedBatchNorm


def batch_statistics_of(mask: jax.Array) -> contextlib.AbstractContextManager:
    """A context in which every batch norm of a network takes and stores the statistics of this batch alone.

    Mean and biased variance of the examples that count normalize, over all devices of the layer's `axis_name`;
    `batch_stats` receives the mean and the unbiased variance, whatever it held. Apply the network with
    `mutable=["batch_stats"]`; its `train` does not matter.

    Args:
      mask: [B] bool, False for examples that only fill up the batch; at least one counts over all devices.
    """

    def intercept(next_fun, args, kwargs, context):
        norm = context.module
        if not isinstance(norm, ActivatedBatchNorm):
            return next_fun(*args, **kwargs)
        x = args[0]
        mean, var, count = _moments(x.astype(norm.get_variable("batch_stats", "mean").dtype), mask, norm.axis_name)
        norm.put_variable("batch_stats", "mean", mean)
        norm.put_variable("batch_stats", "var", var)
        y = next_fun(x, False)
        norm.put_variable("batch_stats", "var", var * count / jnp.maximum(count - 1, 1))
        return y

    return nn.intercept_methods(intercept)


def _moments(x: jax.Array, mask: jax.Array, axis_name: str | None) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Mean [C], biased variance [C] and number of values of a channel; in two passes, as the layer's own."""
    inside = tuple(range(1, x.ndim - 1))

    def total(value):
        return value if axis_name is None else jax.lax.psum(value, axis_name)

    def masked_sum(values):  # examples are left out last: a mask as large as x would be read along with it
        return total(jnp.where(mask[:, None], values.sum(inside), 0).sum(0))

    count = total(mask.sum().astype(x.dtype)) * (x.size // (x.shape[0] * x.shape[-1]))
    mean = masked_sum(x) / count
    return mean, masked_sum(jnp.square(x - mean)) / count, count
