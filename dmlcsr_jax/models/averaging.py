"""Averaging over views of a picture, for evaluation and inference."""

from collections.abc import Callable

import jax
import numpy as np

from dmlcsr_jax.types import Array


def flip_averaged(logits_fn: Callable[[Array], jax.Array], images: Array, flip_table: np.ndarray) -> jax.Array:
    """Mean of a picture's logits and those of its mirror image, mirrored back, left and right classes exchanged.

    result[..., c] = (f(x)[..., c] + mirror(f(mirror(x)))[..., flip_table[c]]) / 2, where mirror reverses the width. The
    published evaluation has no such averaging; others report scores with it.

    Args:
      logits_fn: f: [B, H, W, 3] -> [B, h, w, C] logits, of any stride.
      images: [B, H, W, 3] of any dtype that `logits_fn` takes.
      flip_table: [C] or longer, the class that each class becomes in the mirrored picture: `FaceSpec.flip_table()`.

    Returns:
      [B, h, w, C] of the dtype of `logits_fn`'s.
    """
    logits, mirrored = logits_fn(images), logits_fn(images[:, :, ::-1])
    classes = np.asarray(flip_table[: logits.shape[-1]], np.int32)
    return (logits + mirrored[:, :, ::-1][..., classes]) / 2
