"""Converts uint8 images to the input of a network, on the device."""

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from dmlcsr_jax.types import Array, Preprocessing


def normalize(
    images: Array, preprocessing: Preprocessing = Preprocessing(), dtype: DTypeLike = jnp.float32
) -> jax.Array:
    """(images / 255 - mean) / std, per channel.

    Args:
      images: [..., 3] uint8 RGB.
      preprocessing: the network's channel order, mean and std.
      dtype: of the result; computed in at least float32.

    Returns:
      [..., 3] in the preprocessing's channel order.
    """
    exact = jnp.promote_types(dtype, jnp.float32)
    images = jnp.asarray(images)
    ordered = images[..., ::-1] if preprocessing.channel_order == "BGR" else images
    mean, std = jnp.asarray(preprocessing.mean, exact), jnp.asarray(preprocessing.std, exact)
    return ((ordered.astype(exact) / 255 - mean) / std).astype(dtype)
