"""The multi-task loss: which terms there are, and what each weighs."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dmlcsr_jax.datasets.spec import IGNORE_ID
from dmlcsr_jax.fields import check_range
from dmlcsr_jax.losses import terms
from dmlcsr_jax.ops.resize import resize_bilinear
from dmlcsr_jax.pipeline.edges import edge_labels
from dmlcsr_jax.types import Predictions


@dataclasses.dataclass(frozen=True)
class LossWeights:
    """The factor of each term in the total; the defaults are what the published code amounts to.

    Attributes:
      lovasz: Lovász-softmax of the parts.
      cross_entropy: cross-entropy of the parts; with a teacher `distill_parsing` stands in for it.
      binary_edge: balanced cross-entropy of the binary edges; with a teacher `distill_binary_edge` stands in for it.
      category_edge: that of the category edges; with a teacher `distill_category_edge` stands in for it.
      binary_edge_attention: cross-entropy of the parts on binary edges.
      category_edge_attention: cross-entropy of the parts on category edges.
      distill_parsing: divergence of the parts from the teacher's.
      distill_binary_edge: divergence of the binary edges from the teacher's.
      distill_category_edge: divergence of the category edges from the teacher's.
    """

    lovasz: float = 2.0
    cross_entropy: float = 2.0
    binary_edge: float = 1.0
    category_edge: float = 0.2
    binary_edge_attention: float = 4.0
    category_edge_attention: float = 1.0
    distill_parsing: float = 2.0
    distill_binary_edge: float = 1.0
    distill_category_edge: float = 0.2

    def __post_init__(self):
        for name, weight in dataclasses.asdict(self).items():
            check_range(name, weight, at_least=0)


class Term(NamedTuple):
    """An entry of the table: the term's function, the head it needs, and the term that it replaces in the total."""

    function: Callable[[terms.Pixels], jax.Array]
    head: str
    stands_in_for: str | None = None


TERMS = {
    "lovasz": Term(terms.lovasz, "parsing"),
    "cross_entropy": Term(terms.cross_entropy, "parsing"),
    "binary_edge": Term(terms.binary_edge, "binary_edge"),
    "category_edge": Term(terms.category_edge, "category_edge"),
    "binary_edge_attention": Term(terms.binary_edge_attention, "parsing"),
    "category_edge_attention": Term(terms.category_edge_attention, "parsing"),
    "distill_parsing": Term(terms.distill_parsing, "parsing", "cross_entropy"),
    "distill_binary_edge": Term(terms.distill_binary_edge, "binary_edge", "binary_edge"),
    "distill_category_edge": Term(terms.distill_category_edge, "category_edge", "category_edge"),
}


def multi_task_loss(
    predictions: Predictions,
    labels: jax.Array,
    *,
    teacher: Predictions | None = None,
    cycle: jax.Array | int = 0,
    weights: LossWeights = LossWeights(),
    axis_name: str | None = None,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The weighted sum of all terms (arXiv 2203.14448 §3.4), at the size of the labels.

    Args:
      predictions: logits [B, h, w, ...] of any float dtype and any size, resized bilinearly with aligned corners. An
        edge head may be None.
      labels: [B, H, W] integer class numbers, 255 to ignore.
      teacher: logits of the frozen teacher, as `predictions`; no gradient flows into them.
      cycle: number of the self-regulation cycle, 1 and up; matters with a teacher only.
      weights: the factor of each term.
      axis_name: the pmap axis over which counts are shared, so that the mean over devices of what this returns (and
        of its gradients) is that of the whole batch. `lovasz` ranks each device's own pixels.

    Returns:
      total: scalar, float64 if the logits are, else float32.
      terms: name -> unweighted scalar, for every entry of `TERMS` whose head exists; distillation with a teacher only.
        What a distillation term stands in for is told here still, but is no part of the total.
    """
    pixels = _pixels(predictions, labels, teacher, cycle, axis_name)
    active = {name: term for name, term in TERMS.items() if _is_active(term, predictions, teacher)}
    values = {name: term.function(pixels) for name, term in active.items()}
    replaced = {term.stands_in_for for term in active.values()}
    total = sum(getattr(weights, name) * value for name, value in values.items() if name not in replaced)
    return total, values


def _is_active(term: Term, predictions: Predictions, teacher: Predictions | None) -> bool:
    if getattr(predictions, term.head) is None:
        return False
    return term.stands_in_for is None or (teacher is not None and getattr(teacher, term.head) is not None)


def _pixels(
    predictions: Predictions,
    labels: jax.Array,
    teacher: Predictions | None,
    cycle: jax.Array | int,
    axis_name: str | None,
) -> terms.Pixels:
    size = labels.shape[1:]

    def upsample(logits):
        return resize_bilinear(logits.astype(jnp.promote_types(logits.dtype, jnp.float32)), size)

    binary_edges, category_edges = edge_labels(labels)
    return terms.Pixels(
        log_probabilities=jax.tree.map(lambda logits: jax.nn.log_softmax(upsample(logits)), predictions),
        labels=labels,
        valid=labels != IGNORE_ID,
        binary_edges=binary_edges,
        category_edges=category_edges,
        teacher=jax.tree.map(upsample, jax.lax.stop_gradient(teacher)),
        cycle=cycle,
        axis_name=axis_name,
    )
