"""Lovász-softmax (Berman, Triki and Blaschko, CVPR 2018, arXiv 1705.08790)."""

import jax
import jax.numpy as jnp

from dmlcsr_jax.datasets.spec import IGNORE_ID

_BINS = 1 << 16
# Fewer pixels than this are sorted in less than 0.1 s at 19 classes, so they may as well be exact.
_COUNT_FROM = 1 << 14


def lovasz_softmax(probabilities: jax.Array, labels: jax.Array) -> jax.Array:
    """A convex surrogate of 1 - mean IoU over the classes present.

    For each class that occurs in `labels`, with errors e = |[label = class] - p| in falling order and J_i the Jaccard
    loss if the first i pixels are taken as wrong: sum_i e_i (J_i - J_{i-1}); the mean of that over these classes. All
    pixels given are ranked together ("batch-wise"). Under `pmap` these are one device's pixels, as in the published
    multi-GPU training: ranking those of all devices would gather every probability on every device.

    The errors are sorted, which is exact. Only for many float32 pixels on a CPU, where sorting would take longer than
    the rest of a small network's step, are they counted into 2^16 bins: the loss then agrees to about 1e-7, the
    gradient to about 2e-3 of its largest value.

    Args:
      probabilities: [..., C] float, in 0..1.
      labels: [...] integer class numbers; 255 is ignored.

    Returns:
      Scalar of the probabilities' dtype in 0..1; 0 if every pixel is ignored.
    """
    num_classes = probabilities.shape[-1]
    probabilities = jnp.moveaxis(probabilities.reshape(-1, num_classes), -1, 0)
    labels = labels.reshape(-1)
    valid = labels != IGNORE_ID
    foreground = (labels == jnp.arange(num_classes, dtype=labels.dtype)[:, None]) & valid
    errors = jnp.where(foreground, 1 - probabilities, probabilities)
    # The steps are constants of the gradient, so that it never passes through the sort.
    steps = jax.lax.stop_gradient(_jaccard_steps(jax.lax.stop_gradient(errors), foreground, valid))
    present = jnp.any(foreground, axis=1)
    per_class = jnp.sum(errors * steps, axis=1, where=valid & present[:, None])
    return jnp.sum(per_class) / jnp.maximum(jnp.sum(present), 1).astype(errors.dtype)


def _jaccard_steps(errors: jax.Array, foreground: jax.Array, valid: jax.Array) -> jax.Array:
    """J_i - J_{i-1} at every pixel's place i in the order of its class: all [C, N] but `valid`, [N]."""
    if errors.dtype == jnp.float32 and errors.shape[1] >= _COUNT_FROM:
        return jax.lax.platform_dependent(errors, foreground, valid, cpu=counted_steps, default=sorted_steps)
    return sorted_steps(errors, foreground, valid)


def _steps(positives: jax.Array, true: jax.Array, false: jax.Array, more: jax.Array | int) -> tuple[jax.Array, ...]:
    """The Jaccard step of each foreground pixel and, after these, of each of `more` background pixels.

    With P pixels of the class, J = 1 - (P - t) / (P + f) after t foreground and f background pixels. Another
    foreground pixel adds 1 / (P + f); m more background pixels add (P - t) m / ((P + f) (P + f + m)) together.

    Args:
      positives: P, at least 1 (a class that is absent has no loss).
      true: t before the background pixels.
      false: f before them.
      more: m.
    """
    union = positives + false
    return 1 / union, (positives - true) / (union * (union + more))


def sorted_steps(errors: jax.Array, foreground: jax.Array, valid: jax.Array) -> jax.Array:
    """Exact Jaccard steps by sorting, all classes at once. Arguments as for `_jaccard_steps`."""
    dtype, (num_classes, num_pixels) = errors.dtype, errors.shape
    keys = jnp.where(valid, -errors, 1)  # ignored pixels come last
    # Where a pixel was and whether it is foreground travel through the sort as one number.
    tags = 2 * jnp.arange(num_pixels, dtype=jnp.int32) + foreground
    _, tags = jax.lax.sort((keys, tags), dimension=1, num_keys=1)
    hit = tags % 2
    true = jnp.cumsum(hit, axis=1)
    false = jnp.arange(num_pixels) - true + hit
    positives = jnp.maximum(true[:, -1:], 1)
    hits, misses = _steps(*(x.astype(dtype) for x in (positives, true, false)), more=1)
    rows = jnp.arange(num_classes)[:, None]
    steps = jnp.zeros_like(errors)
    return steps.at[rows, tags // 2].set(jnp.where(hit, hits, misses), unique_indices=True)


def counted_steps(errors: jax.Array, foreground: jax.Array, valid: jax.Array) -> jax.Array:
    """Jaccard steps of errors known to 1 / 2^16 only. Arguments as for `_jaccard_steps`.

    Within a bin the foreground comes before the background, and the pixels of either kind share its steps evenly.
    """
    dtype, num_classes = errors.dtype, errors.shape[0]
    bins = jnp.clip((errors * _BINS).astype(jnp.int32), 0, _BINS - 1)
    kinds = 2 * jnp.arange(num_classes, dtype=jnp.int32)[:, None] + foreground
    cells = kinds * _BINS + bins
    counts = jnp.zeros(2 * num_classes * _BINS, jnp.int32).at[cells].add(valid.astype(jnp.int32)[None])
    upward = jax.lax.cumsum(counts.reshape(num_classes, 2, _BINS), axis=2, reverse=True)
    false, true = upward[:, 0], upward[:, 1]
    above = jnp.pad(false[:, 1:], ((0, 0), (0, 1)))
    positives = jnp.maximum(true[:, :1], 1)
    hits, misses = _steps(*(x.astype(dtype) for x in (positives, true, above, false - above)))
    return jnp.stack([misses, hits], axis=1).reshape(-1)[cells]
