"""The numbers of pixels that the terms divide by."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from dmlcsr_jax.types import IGNORE_ID, Array


class Counts(NamedTuple):
    """The numbers of pixels that the terms divide by.

    A batch may be computed in equal parts: one per device, and several after each other. The counts are then the means
    over all parts, so that the mean over the parts of a term and of its gradients is that of the whole batch.

    Attributes:
      valid: [] float, pixels that are not ignored.
      weighted: [] float, the same, weighted by the classes of their labels.
      binary_edges: [2] float, pixels of each class of the binary edge labels.
      category_edges: [C] float, likewise of the category edge labels.
    """

    valid: jax.Array
    weighted: jax.Array
    binary_edges: jax.Array
    category_edges: jax.Array


def count_labels(
    labels: Array,
    edges: tuple[Array, Array],
    *,
    num_classes: int,
    class_weights: Array | None,
    dtype: DTypeLike,
) -> Counts:
    """The counts of these labels.

    Args:
      labels: [B, H, W] integer class numbers; 255 is ignored.
      edges: their edge labels, from `edge_labels`.
      num_classes: C.
      class_weights: [C] float; None for equal weights.
      dtype: of the counts.
    """

    def per_class(labels: Array, num_classes: int) -> jax.Array:
        return jnp.sum(is_class(labels, num_classes), axis=(0, 1, 2), dtype=jnp.int32).astype(dtype)

    valid = jnp.sum(labels != IGNORE_ID, dtype=jnp.int32).astype(dtype)
    weighted = valid if class_weights is None else jnp.sum(label_weights(labels, class_weights, dtype))
    return Counts(valid, weighted, per_class(edges[0], 2), per_class(edges[1], num_classes))


def label_weights(labels: Array, class_weights: Array, dtype: DTypeLike) -> jax.Array:
    """[B, H, W] weight of each pixel by the class of its label, 0 if ignored."""
    weights = jnp.asarray(class_weights, dtype)
    return jnp.where(labels != IGNORE_ID, weights[jnp.minimum(labels, len(weights) - 1)], 0)


def is_class(labels: Array, num_classes: int) -> jax.Array:
    """[..., C] bool, one-hot. Comparisons fuse with their use; the gradient of a gather would be a slow scatter."""
    return labels[..., None] == jnp.arange(num_classes, dtype=labels.dtype)
