"""The multi-task loss: the table of its terms, and their weighted sum.

To add a term, write its function (`terms.py` has the others) and declare it in `LossWeights`.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from dmlcsr_jax.fields import check_range
from dmlcsr_jax.losses import terms
from dmlcsr_jax.losses.counts import Counts, count_labels
from dmlcsr_jax.losses.softening import Softening, soften_labels
from dmlcsr_jax.ops.resize import resize_bilinear
from dmlcsr_jax.pipeline.edges import edge_labels
from dmlcsr_jax.types import IGNORE_ID, Array, Predictions

TermFunction: TypeAlias = Callable[[terms.Pixels], jax.Array]


class Term(NamedTuple):
    """An entry of the table of terms.

    Attributes:
      function: computes the unweighted term.
      head: the head that the term needs, of the model and, if it replaces another term, of the teacher.
      replaces: the function of the term that this one replaces in the total when there is a teacher; None for a term
        that needs no teacher.
    """

    function: TermFunction
    head: terms.Head
    replaces: TermFunction | None


def term(default: float, function: TermFunction, *, head: terms.Head, replaces: TermFunction | None = None) -> float:
    """Declares a term as a field of `LossWeights`; `default` is its weight, see `Term` for the others."""
    return dataclasses.field(default=default, metadata={"term": Term(function, head, replaces)})


@dataclasses.dataclass(frozen=True, kw_only=True)
class LossWeights:
    """The terms of the loss, and the weight of each in the total.

    The defaults are what the published code amounts to. The function of the same name in `losses/terms.py` describes
    each term.

    Raises:
      FieldError: a weight is negative or not finite. JAX arrays, which may be traced, are not checked.
    """

    lovasz: float = term(2.0, terms.lovasz, head="parsing")
    cross_entropy: float = term(2.0, terms.cross_entropy, head="parsing")
    binary_edge: float = term(1.0, terms.binary_edge, head="binary_edge")
    category_edge: float = term(0.2, terms.category_edge, head="category_edge")
    binary_edge_attention: float = term(4.0, terms.binary_edge_attention, head="parsing")
    category_edge_attention: float = term(1.0, terms.category_edge_attention, head="parsing")
    distill_parsing: float = term(2.0, terms.distill_parsing, head="parsing", replaces=terms.cross_entropy)
    distill_binary_edge: float = term(1.0, terms.distill_binary_edge, head="binary_edge", replaces=terms.binary_edge)
    distill_category_edge: float = term(
        0.2, terms.distill_category_edge, head="category_edge", replaces=terms.category_edge
    )

    def __post_init__(self):
        for name, weight in vars(self).items():
            if not isinstance(weight, jax.Array):
                check_range(name, weight, at_least=0)


def term_table(weights: LossWeights | type[LossWeights]) -> dict[str, Term]:
    """Name -> entry of every term, in the order of the fields."""
    return {field.name: field.metadata["term"] for field in dataclasses.fields(weights)}


TERMS = term_table(LossWeights)


def multi_task_loss(
    predictions: Predictions,
    labels: Array,
    *,
    teacher: Predictions | None = None,
    cycle: Array | int = 0,
    softening: Softening = Softening(),
    weights: LossWeights = LossWeights(),
    class_weights: Array | None = None,
    counts: Counts | None = None,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The weighted sum of all terms (arXiv 2203.14448 §3.4), at the size of the labels.

    Args:
      predictions: logits [B, h, w, ...] of any float dtype and any size, resized bilinearly with aligned corners. An
        edge head may be None.
      labels: [B, H, W] integer class numbers; 255 is ignored.
      teacher: logits of the frozen teacher, like `predictions`; no gradient flows into them.
      cycle: number of the self-regulation cycle, from 1; used with a teacher only. At 0 the teacher's share is 0.
      softening: what the teacher does to the labels; used with a teacher only.
      weights: the weight of each term. A subclass may declare more terms.
      class_weights: [C] float, the weight of a pixel in `cross_entropy` and `distill_parsing` by its label; None for
        equal weights, as published.
      counts: if the labels are one of several equal parts of a batch, the mean over all parts of `count_pixels`. The
        mean over the parts of the results and of their gradients is then that of the whole batch, except for `lovasz`;
        see there. None if the labels are the whole batch.

    Returns:
      The total, a scalar (float64 if the logits are, else float32), and name -> unweighted scalar of every term whose
      heads exist; distillation terms with a teacher only. Terms that distillation replaces are returned too, but are
      not part of the total.
    """
    labels, targets = _soften(labels, teacher, cycle=cycle, softening=softening)
    edges = edge_labels(labels)
    log_probabilities = jax.tree.map(lambda logits: jax.nn.log_softmax(_upsample(logits, labels)), predictions)
    if counts is None:
        parsing = log_probabilities.parsing
        counts = count_labels(
            labels, edges, num_classes=parsing.shape[-1], class_weights=class_weights, dtype=parsing.dtype
        )
    pixels = terms.Pixels(
        log_probabilities=log_probabilities,
        labels=labels,
        valid=labels != IGNORE_ID,
        binary_edges=edges[0],
        category_edges=edges[1],
        targets=targets,
        soft_attention=targets is not None and softening.softens("attention"),
        counts=counts,
        class_weights=class_weights,
    )
    return _weighted_sum(pixels, weights, targets if softening.softens("heads") else None)


def count_pixels(
    labels: Array,
    *,
    num_classes: int,
    teacher: Predictions | None = None,
    cycle: Array | int = 0,
    softening: Softening = Softening(),
    class_weights: Array | None = None,
    dtype: DTypeLike = jnp.float32,
) -> Counts:
    """What the terms divide by, of one of several equal parts of a batch.

    Args:
      labels: as for `multi_task_loss`.
      num_classes: C.
      teacher: as for `multi_task_loss`; matters only if `softening` replaces labels, which is "hard".
      cycle: as for `multi_task_loss`.
      softening: as for `multi_task_loss`.
      class_weights: as for `multi_task_loss`.
      dtype: float64 if the logits are, else float32.
    """
    labels, _ = _soften(labels, teacher, cycle=cycle, softening=softening)
    return count_labels(labels, edge_labels(labels), num_classes=num_classes, class_weights=class_weights, dtype=dtype)


def _weighted_sum(
    pixels: terms.Pixels, weights: LossWeights, targets: Predictions | None
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The total, and every term whose heads exist; with the `targets` of distillation, if there are any."""
    active = {
        name: entry
        for name, entry in term_table(weights).items()
        if _is_active(entry, pixels.log_probabilities, targets)
    }
    values = {name: entry.function(pixels) for name, entry in active.items()}
    replaced = {entry.replaces for entry in active.values()}
    counted = [name for name, entry in active.items() if entry.function not in replaced]
    total = jnp.asarray(sum(getattr(weights, name) * values[name] for name in counted))
    return total, values


def _is_active(entry: Term, predictions: Predictions, targets: Predictions | None) -> bool:
    if getattr(predictions, entry.head) is None:
        return False
    return entry.replaces is None or (targets is not None and getattr(targets, entry.head) is not None)


def _soften(
    labels: Array, teacher: Predictions | None, *, cycle: Array | int, softening: Softening
) -> tuple[Array, Predictions | None]:
    """`soften_labels` by a teacher's logits of any size, if there is one."""
    if teacher is None:
        return labels, None
    upsampled: Predictions = jax.tree.map(lambda logits: _upsample(logits, labels), jax.lax.stop_gradient(teacher))
    return soften_labels(labels, upsampled, cycle=cycle, softening=softening)


def _upsample(logits: jax.Array, labels: Array) -> jax.Array:
    """[B, h, w, C] -> [B, H, W, C] of at least float32, the size of the labels."""
    return resize_bilinear(logits.astype(jnp.promote_types(logits.dtype, jnp.float32)), labels.shape[1:3])
