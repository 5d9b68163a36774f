"""Batch-norm statistics of a single batch, of which some examples may be padding."""

import contextlib
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from dmlcsr_jax.models.layers import ActivatedBatchNorm
from dmlcsr_jax.types import Array


def batch_statistics_of(mask: Array) -> contextlib.AbstractContextManager:
    """A context in which every batch norm of a network uses and stores the statistics of this batch.

    Layers normalize by mean and biased variance of the examples in the mask, over all devices of their `axis_name`.
    Mean and unbiased variance replace those in `batch_stats`. Apply the network with `mutable=["batch_stats"]`; its
    argument `train` has no effect.

    Args:
      mask: [B] bool, False for padding examples; at least one is True over all devices.
    """

    def intercept(
        next_fun: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        context: nn.module.InterceptorContext,
    ) -> Any:
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


def _moments(x: jax.Array, mask: Array, axis_name: str | None) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Mean [C], biased variance [C] and number of values per channel; in two passes, like the layer itself."""
    inner = tuple(range(1, x.ndim - 1))

    def total(value: jax.Array) -> jax.Array:
        return value if axis_name is None else jax.lax.psum(value, axis_name)

    def masked_sum(values: jax.Array) -> jax.Array:  # masks last, which avoids reading a mask as large as x
        return total(jnp.where(mask[:, None], values.sum(inner), 0).sum(0))

    count = total(mask.sum().astype(x.dtype)) * (x.size // (x.shape[0] * x.shape[-1]))
    mean = masked_sum(x) / count
    return mean, masked_sum(jnp.square(x - mean)) / count, count
