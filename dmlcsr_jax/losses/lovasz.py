"""Lovász-softmax (Berman, Triki and Blaschko, CVPR 2018, arXiv 1705.08790)."""

import jax
import jax.numpy as jnp

from dmlcsr_jax.losses.jaccard_steps import MOST_KEYED, Steps, counted_steps, keyed_steps, sorted_steps
from dmlcsr_jax.types import IGNORE_ID, Array

# Up to this many pixels, sorting takes less than 0.1 s for 19 classes, so there is no need to approximate.
_COUNT_FROM = 1 << 14


def lovasz_softmax(probabilities: Array, labels: Array) -> jax.Array:
    """A convex surrogate of 1 - mean IoU over the classes present.

    For each class that occurs in `labels`, with errors `e = |[label = class] - p|` in descending order and `J_i` the
    Jaccard loss if the first i pixels are wrong: `sum_i e_i (J_i - J_{i-1})`; then the mean over these classes. All
    pixels given are ranked together ("batch-wise"). Under `pmap` these are the pixels of one device, as in the
    published multi-GPU training; ranking those of all devices would gather every probability on every device.

    Errors in float64 are sorted, which is exact; so are errors in float32 of few pixels on a CPU. For many, sorting
    would take longer there than the rest of a small network's step, so they are counted into 2^16 bins: the loss agrees
    to about 1e-7, and the gradient to about 2e-3 of its largest value. On GPUs and TPUs errors in float32 of at most 32
    classes are sorted as integers: the loss agrees to rounding, and the gradient to 3e-4 of its largest value.

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
    """The steps by the way that suits dtype, size and platform; see `jaccard_steps`."""
    if errors.dtype != jnp.float32:
        return sorted_steps(errors, foreground, valid)
    on_cpu: Steps = counted_steps if errors.shape[1] >= _COUNT_FROM else sorted_steps
    elsewhere: Steps = keyed_steps if len(errors) <= MOST_KEYED else sorted_steps
    return jax.lax.platform_dependent(errors, foreground, valid, cpu=on_cpu, default=elsewhere)
