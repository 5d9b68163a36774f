"""The terms of the multi-task loss, one function each (arXiv 2203.14448 §3.4).

Every term is a function of `Pixels` alone and returns a scalar. Terms that compare with the part labels ignore pixels
labeled 255. Edge labels are never 255, so the balanced edge terms count every pixel, as published.
"""

from typing import Literal, NamedTuple, TypeAlias, cast

import jax
import jax.numpy as jnp

from dmlcsr_jax.losses.counts import Counts, is_class, label_weights
from dmlcsr_jax.losses.lovasz import lovasz_softmax
from dmlcsr_jax.types import Array, Predictions

Head: TypeAlias = Literal["parsing", "binary_edge", "category_edge"]


class Pixels(NamedTuple):
    """The input of every term, at the size of the labels.

    Attributes:
      log_probabilities: [B, H, W, classes of the head] per head, float32 or float64; None if the model lacks that head.
      labels: [B, H, W] integer class numbers; 255 is ignored.
      valid: [B, H, W] bool, False on ignored pixels.
      binary_edges: [B, H, W] integer, 0 or 1.
      category_edges: [B, H, W] integer, the pixel's class on an edge, else 0.
      targets: log probabilities that distillation compares with, shaped like `log_probabilities` (see `soft_target`);
        None without a teacher.
      soft_attention: whether the attention terms compare with the parsing head's target instead of the labels.
      counts: what terms divide by, of the whole batch; `labels` may be a part of it.
      class_weights: [C] float, the weight of a pixel in `cross_entropy` and `distill_parsing` by its label; None for
        equal weights.
    """

    log_probabilities: Predictions
    labels: Array
    valid: Array
    binary_edges: Array
    category_edges: Array
    targets: Predictions | None
    soft_attention: bool
    counts: Counts
    class_weights: Array | None = None


def lovasz(pixels: Pixels) -> jax.Array:
    """Lovász-softmax of the part probabilities.

    Each part of a batch (on a device, or one of several in sequence) ranks its own pixels, so the mean over parts is
    not the loss of the whole batch; see `lovasz_softmax`.
    """
    return lovasz_softmax(jnp.exp(pixels.log_probabilities.parsing), pixels.labels)


def cross_entropy(pixels: Pixels) -> jax.Array:
    """Mean of -log p(label) over the pixels that are not ignored, weighted by the classes of their labels."""
    return _ratio(jnp.sum(_pixel_weights(pixels) * _parsing_cross_entropy(pixels)), pixels.counts.weighted)


def binary_edge(pixels: Pixels) -> jax.Array:
    """Balanced cross-entropy of "edge" against "no edge"; see `_balanced_cross_entropy`."""
    return _balanced_cross_entropy(
        cast(Array, pixels.log_probabilities.binary_edge), pixels.binary_edges, pixels.counts.binary_edges
    )


def category_edge(pixels: Pixels) -> jax.Array:
    """Balanced cross-entropy of the part that an edge pixel belongs to, or 0; see `_balanced_cross_entropy`."""
    return _balanced_cross_entropy(
        cast(Array, pixels.log_probabilities.category_edge), pixels.category_edges, pixels.counts.category_edges
    )


def binary_edge_attention(pixels: Pixels) -> jax.Array:
    """Cross-entropy of the parts on binary edges; see `_edge_attention`."""
    return _edge_attention(pixels, pixels.binary_edges > 0)


def category_edge_attention(pixels: Pixels) -> jax.Array:
    """Cross-entropy of the parts on category edges, the foreground side of the binary ones; see `_edge_attention`."""
    return _edge_attention(pixels, pixels.category_edges > 0)


def distill_parsing(pixels: Pixels) -> jax.Array:
    """Distillation of the parsing head, weighted by the classes of the labels; see `_distillation`."""
    return _distillation(pixels, "parsing", _pixel_weights(pixels), pixels.counts.weighted)


def distill_binary_edge(pixels: Pixels) -> jax.Array:
    """Distillation of the binary edge head; see `_distillation`."""
    return _distillation(pixels, "binary_edge", pixels.valid, pixels.counts.valid)


def distill_category_edge(pixels: Pixels) -> jax.Array:
    """Distillation of the category edge head; see `_distillation`."""
    return _distillation(pixels, "category_edge", pixels.valid, pixels.counts.valid)


def _parsing_cross_entropy(pixels: Pixels) -> jax.Array:
    """[B, H, W] -log p(label), 0 on ignored pixels."""
    return jnp.where(pixels.valid, _negative_log_likelihood(pixels.log_probabilities.parsing, pixels.labels), 0)


def _soft_cross_entropy(pixels: Pixels) -> jax.Array:
    """[B, H, W] sum over the parts of -target log p, 0 on ignored pixels."""
    target = jnp.exp(cast(Predictions, pixels.targets).parsing)
    return -jnp.sum(target * pixels.log_probabilities.parsing, axis=-1, where=pixels.valid[..., None])


def _balanced_cross_entropy(log_probabilities: Array, labels: Array, counts: Array) -> jax.Array:
    """Mean of -log p(label) over all pixels, weighted by 1 - frequency of the class; 0 if only one class occurs."""
    weights = (jnp.sum(counts) - counts) / jnp.sum(counts)  # exactly 0 for a class alone, unlike 1 - counts / sum
    losses = _negative_log_likelihood(log_probabilities, labels)
    return _ratio(jnp.sum(weights[labels] * losses), jnp.sum(weights * counts))


def _edge_attention(pixels: Pixels, edges: Array) -> jax.Array:
    """Mean over images of the mean -log p(label) over [B, H, W] bool `edges`; 0 for an image without edges.

    With `soft_attention` it is the cross-entropy with the parsing head's target.
    An ignored pixel on an edge adds 0 to the sum but 1 to the count, as published.
    """
    losses = _soft_cross_entropy(pixels) if pixels.soft_attention else _parsing_cross_entropy(pixels)
    losses = jnp.sum(jnp.where(edges, losses, 0), axis=(1, 2))
    return jnp.mean(_ratio(losses, jnp.sum(edges, axis=(1, 2))))


def _distillation(pixels: Pixels, head: Head, weights: Array, count: Array) -> jax.Array:
    """Mean of KL(target ‖ student) over the pixels that are not ignored, with [B, H, W] `weights` and their sum."""
    student, target = getattr(pixels.log_probabilities, head), getattr(pixels.targets, head)
    divergence = jnp.sum(jnp.exp(target) * (target - student), axis=-1, where=pixels.valid[..., None])
    return _ratio(jnp.sum(weights * divergence), count)


def _pixel_weights(pixels: Pixels) -> jax.Array:
    """[B, H, W] weight of each pixel by the class of its label, 0 if ignored; bool if all classes weigh the same."""
    if pixels.class_weights is None:
        return jnp.asarray(pixels.valid)
    return label_weights(pixels.labels, pixels.class_weights, pixels.log_probabilities.parsing.dtype)


def _negative_log_likelihood(log_probabilities: Array, labels: Array) -> jax.Array:
    """[...] -log p(label) of [..., C] log-probabilities and [...] labels; 0 for a label outside of 0..C-1."""
    return -jnp.sum(log_probabilities, axis=-1, where=is_class(labels, log_probabilities.shape[-1]))


def _ratio(total: jax.Array, count: Array) -> jax.Array:
    """`total` / `count`, or 0 if the count is 0."""
    return total / jnp.where(count > 0, count, 1).astype(total.dtype)
