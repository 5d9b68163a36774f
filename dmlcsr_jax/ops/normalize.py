"""From uint8 pictures to what a network wants, on the device."""

import jax
import jax.numpy as jnp

from dmlcsr_jax.types import Preprocessing


def normalize(images: jax.Array, preprocessing: Preprocessing = Preprocessing(), dtype=jnp.float32) -> jax.Array:
    """(images / 255 - mean) / std, by channel.

    Args:
      images: [..., 3] uint8 RGB.
      preprocessing: the network's channel order, mean and deviation.
      dtype: of the result; the sum is done in float32 or better.

    Returns:
      [..., 3] in the preprocessing's channel order.
    """
    exact = jnp.promote_types(dtype, jnp.float32)
    ordered = images[..., ::-1] if preprocessing.channel_order == "BGR" else images
    mean, std = jnp.asarray(preprocessing.mean, exact), jnp.asarray(preprocessing.std, exact)
    return ((ordered.astype(exact) / 255 - mean) / std).astype(dtype)
