"""The Jaccard steps of Lovász-softmax, in three ways.

Let J_i be the Jaccard loss of a class if the i pixels of the largest errors are wrong. The step of a pixel is
J_i - J_{i-1}, with i its rank by error within the class. Every way is a function of

  errors: [C, N] float in 0..1
  foreground: [C, N] bool, True if the label of the pixel is the class
  valid: [N] bool, False on ignored pixels, whose steps are undefined

and returns the steps, [C, N] of the dtype of `errors`.
"""

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp

Steps: TypeAlias = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]

MOST_KEYED = 32  # classes whose keys leave 27 bits for the error
_BINS = 1 << 16


def sorted_steps(errors: jax.Array, foreground: jax.Array, valid: jax.Array) -> jax.Array:
    """Exact, by sorting each class."""
    keys = jnp.where(valid, -errors, 1)  # ignored pixels come last
    _, tags = jax.lax.sort((keys, _tags(foreground)), dimension=1, num_keys=1)
    rows = jnp.arange(len(errors))[:, None]
    steps = _ranked_steps(tags % 2, errors.dtype)
    return jnp.zeros_like(errors).at[rows, tags // 2].set(steps, unique_indices=True)


def keyed_steps(errors: jax.Array, foreground: jax.Array, valid: jax.Array) -> jax.Array:
    """By one sort of integers of 32 bits; float32 errors and at most `MOST_KEYED` classes.

    For NVIDIA GPUs, XLA turns a sort of one row of integers into a radix sort, but not one of floating-point keys that
    carry indices, nor one of few rows. A second sort brings the steps back to their pixels: TPUs are slow to scatter.

    Errors that differ by less than 2^-21 of their size, or are both below 2^-63, may rank in any order.
    """
    num_classes, num_pixels = errors.shape
    _, tags = _sort_flat(_keys(errors, valid), _tags(foreground))
    places = jnp.arange(num_classes, dtype=jnp.uint32)[:, None] * num_pixels + (tags // 2).astype(jnp.uint32)
    return _sort_flat(places, _ranked_steps(tags % 2, errors.dtype))[1]


def counted_steps(errors: jax.Array, foreground: jax.Array, valid: jax.Array) -> jax.Array:
    """Of errors rounded down to 1 / 2^16, by counting.

    Within a bin the foreground comes before the background, and pixels of either kind share its steps evenly.
    """
    dtype, num_classes = errors.dtype, errors.shape[0]
    bins = jnp.clip((errors * _BINS).astype(jnp.int32), 0, _BINS - 1)
    kinds = 2 * jnp.arange(num_classes, dtype=jnp.int32)[:, None] + foreground
    cells = kinds * _BINS + bins
    counts = jnp.zeros(2 * num_classes * _BINS, jnp.int32).at[cells].add(valid.astype(jnp.int32)[None])
    from_top = jax.lax.cumsum(counts.reshape(num_classes, 2, _BINS), axis=2, reverse=True)
    false, true = from_top[:, 0], from_top[:, 1]
    above = jnp.pad(false[:, 1:], ((0, 0), (0, 1)))
    positives = jnp.maximum(true[:, :1], 1)
    hits, misses = _steps(
        positives=positives.astype(dtype),
        true=true.astype(dtype),
        false=above.astype(dtype),
        more=(false - above).astype(dtype),
    )
    return jnp.stack([misses, hits], axis=1).reshape(-1)[cells]


def _tags(foreground: jax.Array) -> jax.Array:
    """[C, N] int32: the index of a pixel and whether it is foreground as one number, for a sort to carry."""
    return 2 * jnp.arange(foreground.shape[1], dtype=jnp.int32) + foreground


def _keys(errors: jax.Array, valid: jax.Array) -> jax.Array:
    """[C, N] uint32 in the order of class, then falling error, ignored pixels last.

    The class takes as many of the top bits as it needs. The rest is the distance of the error from 1, both as the bits
    of a float32, which are in the order of the numbers. Without exponents below -63 that needs 29 bits.
    """
    class_bits = max(len(errors) - 1, 1).bit_length()
    smallest, one = (jnp.float32(value).view(jnp.int32) for value in (2.0**-63, 1.0))
    below_one = one - jnp.clip(errors.view(jnp.int32), smallest, one)
    below_one = below_one.astype(jnp.uint32) >> max(class_bits - 3, 0)
    classes = jnp.arange(len(errors), dtype=jnp.uint32)[:, None] << (32 - class_bits)
    return classes | jnp.where(valid, below_one, (1 << (32 - class_bits)) - 1)


def _sort_flat(keys: jax.Array, values: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Sorts [C, N] values by [C, N] keys, as one row."""
    flat = jax.lax.sort((keys.reshape(-1), values.reshape(-1)), num_keys=1, is_stable=False)
    return flat[0].reshape(keys.shape), flat[1].reshape(values.shape)


def _ranked_steps(hit: jax.Array, dtype: jnp.dtype) -> jax.Array:
    """The steps of pixels in the order of their rank: [C, N] int32, 1 for foreground -> [C, N] of a dtype."""
    true = jnp.cumsum(hit, axis=1)
    false = jnp.arange(hit.shape[1]) - true + hit
    positives = jnp.maximum(true[:, -1:], 1)
    hits, misses = _steps(positives=positives.astype(dtype), true=true.astype(dtype), false=false.astype(dtype), more=1)
    return jnp.where(hit, hits, misses)


def _steps(
    *, positives: jax.Array, true: jax.Array, false: jax.Array, more: jax.Array | int
) -> tuple[jax.Array, jax.Array]:
    """The Jaccard step of each foreground pixel, and of each of the `more` background pixels that follow.

    With P pixels of the class, J = 1 - (P - t) / (P + f) after t foreground and f background pixels. One more
    foreground pixel adds 1 / (P + f). Then m more background pixels add (P - t) m / ((P + f) (P + f + m)) together.

    Args:
      positives: P, at least 1 (the loss of an absent class is not used).
      true: t, after the foreground pixels.
      false: f, before the background pixels.
      more: m, number of background pixels.

    Returns:
      The step of a foreground pixel, and that of a background pixel.
    """
    union = positives + false
    return 1 / union, (positives - true) / (union * (union + more))
