"""Lovász-softmax (Berman, Triki and Blaschko, CVPR 2018, arXiv 1705.08790)."""

import jax
import jax.numpy as jnp

from dmlcsr_jax.types import IGNORE_ID, Array

_BINS = 1 << 16
# Up to this many pixels, sorting takes less than 0.1 s for 19 classes, so there is no need to approximate.
_COUNT_FROM = 1 << 14


def lovasz_softmax(probabilities: Array, labels: Array) -> jax.Array:
    """A convex surrogate of 1 - mean IoU over the classes present.

    For each class that occurs in `labels`, with errors `e = |[label = class] - p|` in descending order and `J_i` the
    Jaccard loss if the first i pixels are wrong: `sum_i e_i (J_i - J_{i-1})`; then the mean over these classes. All
    pixels given are ranked together ("batch-wise"). Under `pmap` these are the pixels of one device, as in the
    published multi-GPU training; ranking those of all devices would gather every probability on every device.

    Errors are sorted, which is exact, except for many float32 pixels on a CPU, where sorting would take longer than
    the rest of a small network's step: there they are counted into 2^16 bins, the loss agrees to about 1e-7, and the
    gradient to about 2e-3 of its largest value.

    Args:
      probabilities: [..., C] float in 0..1.
      labels: [...] integer class numbers; 255 is ignored.

    Returns:
      Scalar in 0..1 of the dtype of `probabilities`; 0 if every pixel is ignored.
    """
    num_classes = probabilities.shape[-1]
    probabilities = jnp.moveaxis(probabilities.reshape(-1, num_classes), -1, 0)
    labels = labels.reshape(-1)
    valid = jnp.asarray(labels != IGNORE_ID)
    foreground = (labels == jnp.arange(num_classes, dtype=labels.dtype)[:, None]) & valid
    errors = jnp.where(foreground, 1 - probabilities, probabilities)
    # The steps are constants of the gradient, so that it never passes through the sort.
    steps = jax.lax.stop_gradient(_jaccard_steps(jax.lax.stop_gradient(errors), foreground, valid))
    present = jnp.any(foreground, axis=1)
    per_class = jnp.sum(errors * steps, axis=1, where=valid & present[:, None])
    return jnp.sum(per_class) / jnp.maximum(jnp.sum(present), 1).astype(errors.dtype)


def _jaccard_steps(errors: jax.Array, foreground: jax.Array, valid: jax.Array) -> jax.Array:
    """J_i - J_{i-1} of every pixel, with i its rank within the class.

    Args:
      errors: [C, N] float in 0..1.
      foreground: [C, N] bool, True if the label of the pixel is the class.
      valid: [N] bool, False on ignored pixels, whose steps are undefined.

    Returns:
      [C, N] of the dtype of `errors`.
    """
    if errors.dtype == jnp.float32 and errors.shape[1] >= _COUNT_FROM:
        return jax.lax.platform_dependent(errors, foreground, valid, cpu=counted_steps, default=sorted_steps)
    return sorted_steps(errors, foreground, valid)


def sorted_steps(errors: jax.Array, foreground: jax.Array, valid: jax.Array) -> jax.Array:
    """Exact Jaccard steps by sorting, all classes at once; see `_jaccard_steps` for the arguments."""
    dtype, (num_classes, num_pixels) = errors.dtype, errors.shape
    keys = jnp.where(valid, -errors, 1)  # ignored pixels come last
    # The sort carries the index of a pixel and whether it is foreground as one number.
    tags = 2 * jnp.arange(num_pixels, dtype=jnp.int32) + foreground
    _, tags = jax.lax.sort((keys, tags), dimension=1, num_keys=1)
    hit = tags % 2
    true = jnp.cumsum(hit, axis=1)
    false = jnp.arange(num_pixels) - true + hit
    positives = jnp.maximum(true[:, -1:], 1)
    hits, misses = _steps(positives=positives.astype(dtype), true=true.astype(dtype), false=false.astype(dtype), more=1)
    rows = jnp.arange(num_classes)[:, None]
    steps = jnp.zeros_like(errors)
    return steps.at[rows, tags // 2].set(jnp.where(hit, hits, misses), unique_indices=True)


def counted_steps(errors: jax.Array, foreground: jax.Array, valid: jax.Array) -> jax.Array:
    """Jaccard steps of errors rounded down to 1 / 2^16; see `_jaccard_steps` for the arguments.

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
