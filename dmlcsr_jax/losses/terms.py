"""The terms of the multi-task loss, one function each (arXiv 2203.14448 §3.4).

Every term is a scalar, a function of `Pixels` alone. Pixels labeled 255 count in no term that compares with the part
labels. Edge labels are never 255, so the balanced edge terms count every pixel, as published.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dmlcsr_jax.losses.lovasz import lovasz_softmax
from dmlcsr_jax.types import Predictions


class Pixels(NamedTuple):
    """What the terms look at, all at the size of the labels.

    Attributes:
      log_probabilities: of each head [B, H, W, its classes], float32 or float64; None for a head there is not.
      labels: [B, H, W] integer, 255 to ignore.
      valid: [B, H, W] bool, False where ignored.
      binary_edges: [B, H, W] integer, 0 or 1.
      category_edges: [B, H, W] integer, the pixel's class on an edge, else 0.
      teacher: the teacher's logits, like `log_probabilities`; None where there is no teacher.
      cycle: number of the self-regulation cycle, at least 1 with a teacher; may be traced.
      axis_name: the pmap axis over which counts are averaged, or None. The mean of a term over that axis is then the
        term of the whole batch, as are its gradients; of all but `lovasz`, which see.
    """

    log_probabilities: Predictions
    labels: jax.Array
    valid: jax.Array
    binary_edges: jax.Array
    category_edges: jax.Array
    teacher: Predictions | None
    cycle: jax.Array | int
    axis_name: str | None


def lovasz(pixels: Pixels) -> jax.Array:
    """Lovász-softmax of the part probabilities; under `pmap` of each device's own pixels (see `lovasz_softmax`)."""
    return lovasz_softmax(jnp.exp(pixels.log_probabilities.parsing), pixels.labels)


def cross_entropy(pixels: Pixels) -> jax.Array:
    """Mean over counted pixels of -log p(label)."""
    count = jnp.sum(pixels.valid)
    return _ratio(jnp.sum(_parsing_cross_entropy(pixels)), count, pixels.axis_name)


def binary_edge(pixels: Pixels) -> jax.Array:
    """Balanced cross-entropy of "edge" against "no edge"."""
    return _balanced_cross_entropy(pixels.log_probabilities.binary_edge, pixels.binary_edges, pixels.axis_name)


def category_edge(pixels: Pixels) -> jax.Array:
    """Balanced cross-entropy of the part that an edge pixel belongs to, 0 off the edges."""
    return _balanced_cross_entropy(pixels.log_probabilities.category_edge, pixels.category_edges, pixels.axis_name)


def binary_edge_attention(pixels: Pixels) -> jax.Array:
    """Cross-entropy of the parts on binary edges."""
    return _edge_attention(pixels, pixels.binary_edges > 0)


def category_edge_attention(pixels: Pixels) -> jax.Array:
    """Cross-entropy of the parts on category edges: the foreground side of the binary ones."""
    return _edge_attention(pixels, pixels.category_edges > 0)


def distill_parsing(pixels: Pixels) -> jax.Array:
    """Distillation of the parsing head; see `_distillation`."""
    return _distillation(pixels, "parsing", pixels.labels)


def distill_binary_edge(pixels: Pixels) -> jax.Array:
    """Distillation of the binary edge head; see `_distillation`."""
    return _distillation(pixels, "binary_edge", pixels.binary_edges)


def distill_category_edge(pixels: Pixels) -> jax.Array:
    """Distillation of the category edge head; see `_distillation`."""
    return _distillation(pixels, "category_edge", pixels.category_edges)


def _parsing_cross_entropy(pixels: Pixels) -> jax.Array:
    """[B, H, W] -log p(label), 0 on ignored pixels."""
    return jnp.where(pixels.valid, _negative_log_likelihood(pixels.log_probabilities.parsing, pixels.labels), 0)


def _balanced_cross_entropy(log_probabilities: jax.Array, labels: jax.Array, axis_name: str | None) -> jax.Array:
    """Mean over all pixels of -log p(label), weighted by 1 - frequency of the class; 0 if only one class occurs."""
    counts = jnp.sum(_is_class(labels, log_probabilities.shape[-1]), axis=(0, 1, 2), dtype=jnp.int32)
    counts = counts.astype(log_probabilities.dtype)
    if axis_name is not None:
        counts = jax.lax.pmean(counts, axis_name)
    weights = (jnp.sum(counts) - counts) / jnp.sum(counts)  # so written it is exactly 0 for a class alone
    losses = _negative_log_likelihood(log_probabilities, labels)
    return _ratio(jnp.sum(weights[labels] * losses), jnp.sum(weights * counts))


def _edge_attention(pixels: Pixels, edges: jax.Array) -> jax.Array:
    """Mean over images of the mean -log p(label) over [B, H, W] `edges`; 0 for an image that has none.

    An ignored pixel on an edge adds nothing but is counted, as published.
    """
    losses = jnp.sum(jnp.where(edges, _parsing_cross_entropy(pixels), 0), axis=(1, 2))
    return jnp.mean(_ratio(losses, jnp.sum(edges, axis=(1, 2))))


def _distillation(pixels: Pixels, head: str, labels: jax.Array) -> jax.Array:
    """Mean over counted pixels of KL(target ‖ student).

    The target is softmax((1 - a) teacher logits + a one-hot label), a = 1 / (cycle + 1).
    """
    student, teacher = getattr(pixels.log_probabilities, head), getattr(pixels.teacher, head)
    share = 1 / (jnp.asarray(pixels.cycle, student.dtype) + 1)
    one_hot = _is_class(labels, student.shape[-1]).astype(student.dtype)
    target = jax.nn.log_softmax((1 - share) * teacher + share * one_hot)
    divergence = jnp.sum(jnp.exp(target) * (target - student), axis=-1, where=pixels.valid[..., None])
    return _ratio(jnp.sum(divergence), jnp.sum(pixels.valid), pixels.axis_name)


def _is_class(labels: jax.Array, num_classes: int) -> jax.Array:
    """[..., C] bool, one-hot: a comparison fuses into what uses it, where a gather's gradient would be a scatter."""
    return labels[..., None] == jnp.arange(num_classes, dtype=labels.dtype)


def _negative_log_likelihood(log_probabilities: jax.Array, labels: jax.Array) -> jax.Array:
    """[...] -log p(label) of [..., C] and [...]; 0 where the label is no class."""
    return -jnp.sum(log_probabilities, axis=-1, where=_is_class(labels, log_probabilities.shape[-1]))


def _ratio(total: jax.Array, count: jax.Array, axis_name: str | None = None) -> jax.Array:
    """`total` / `count`, 0 where nothing is counted; the count is the mean of all devices' with an `axis_name`."""
    count = count.astype(total.dtype)
    if axis_name is not None:
        count = jax.lax.pmean(count, axis_name)
    return total / jnp.where(count > 0, count, 1)
