"""Averaging over views of a picture, for evaluation and inference."""

from collections.abc import Callable, Sequence

import jax
import numpy as np

from dmlcsr_jax.pipeline.resize import resize_bilinear
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


def averaged_logits(
    logits_fn: Callable[[Array], jax.Array],
    images: Array,
    flip_table: np.ndarray | None = None,
    scales: Sequence[float] = (1.0,),
) -> jax.Array:
    """Mean over scales, and mirror images where `flip_table` is given, of logits brought to the size of the images.

    result = mean over s of resize(f(resize(x, s)), 1), bilinear with aligned corners; f is flip-averaged if need be.

    Args:
      logits_fn: f: [B, H, W, 3] -> [B, h, w, C] logits, of any stride.
      images: [B, H, W, 3] floating point.
      flip_table: as for `flip_averaged`; None leaves mirror images out.
      scales: of the input's sides, each above 0.

    Returns:
      [B, H, W, C] of the dtype of `logits_fn`'s.
    """
    size = images.shape[1:3]

    def at(scale: float) -> jax.Array:
        scaled = resize_bilinear(images, tuple(max(1, round(scale * side)) for side in size))
        logits = logits_fn(scaled) if flip_table is None else flip_averaged(logits_fn, scaled, flip_table)
        return resize_bilinear(logits, size)

    return sum(map(at, scales)) / len(scales)
