"""How the teacher of self-regulation softens the labels."""

import dataclasses
from typing import Literal, TypeAlias, get_args

import jax
import jax.numpy as jnp

from dmlcsr_jax.fields import FieldError, check_choice, check_range
from dmlcsr_jax.losses.counts import is_class
from dmlcsr_jax.pipeline.edges import edge_labels
from dmlcsr_jax.types import Array, Predictions

Target: TypeAlias = Literal["logits", "probabilities"]
_SOFTENED = ("heads", "attention", "hard")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Softening:
    """How the teacher softens the labels. The defaults are the published code's.

    Attributes:
      target: how the teacher and the one-hot label are mixed; see `soft_target`.
      soften: what is softened, one or more of the following, separated by commas. "heads": the cross-entropy and both
        edge terms become distillation. "attention": both attention terms compare with the parsing head's target.
        "hard": the label of every hard term (Lovász, the attention terms, edges) is `confident_labels`, also in the
        logged cross-entropy.
      confidence: the teacher's probability above which "hard" trusts it, 0..1.

    Raises:
      FieldError: a field is none of these.
    """

    target: Target = "logits"
    soften: str = "heads"
    confidence: float = 0.8

    def __post_init__(self):
        check_choice("target", self.target, get_args(Target))
        if not set(self.soften.split(",")) <= set(_SOFTENED):
            names = ", ".join(_SOFTENED)
            raise FieldError(f"soften is {self.soften!r}; it must list some of {names}, with commas and no spaces")
        check_range("confidence", self.confidence, at_least=0, at_most=1)

    def softens(self, name: str) -> bool:
        """Whether `soften` lists this name."""
        return name in self.soften.split(",")


def soften_labels(
    labels: Array, teacher: Predictions, *, cycle: Array | int, softening: Softening
) -> tuple[Array, Predictions]:
    """What the student learns from instead of the labels.

    Args:
      labels: [B, H, W] integer class numbers; 255 is ignored.
      teacher: logits of the frozen teacher at the size of the labels. An edge head may be None.
      cycle: number of the self-regulation cycle, at least 1; may be traced.
      softening: how.

    Returns:
      The labels of the hard terms, and the log probabilities that soft terms compare with, shaped like `teacher`.
    """
    parsing = soft_target(teacher.parsing, labels, cycle, softening.target)
    if softening.softens("hard"):
        labels = confident_labels(labels, parsing, teacher.parsing, softening.confidence)
    heads = zip((teacher.binary_edge, teacher.category_edge), edge_labels(labels), strict=True)
    edges = [None if logits is None else soft_target(logits, own, cycle, softening.target) for logits, own in heads]
    return labels, Predictions(parsing, *edges)


def soft_target(teacher: Array, labels: Array, cycle: Array | int, target: Target) -> jax.Array:
    """[B, H, W, C] log probabilities of the mixture of teacher and label, with the label's share a = 1 / (cycle + 1).

    - "logits": log softmax((1 - a) teacher logits + a one-hot label), as the published code mixes them. A one-hot label
      is small against logits of ten, so it hardly counts, and with a = 1 the target is nearly flat.
    - "probabilities": log((1 - a) softmax(teacher logits) + a one-hot label), as arXiv 1910.09777 describes it. The
      label keeps at least the share a.

    Args:
      teacher: [B, H, W, C] logits of the frozen teacher.
      labels: [B, H, W] integer class numbers; one outside of 0..C-1 adds nothing.
      cycle: number of the self-regulation cycle, at least 0 (1 or more in training); may be traced.
      target: how they are mixed.
    """
    share = 1 / (jnp.asarray(cycle, teacher.dtype) + 1)
    is_label = is_class(labels, teacher.shape[-1])
    if target == "logits":
        return jax.nn.log_softmax((1 - share) * teacher + share * is_label.astype(teacher.dtype))
    rest = jnp.maximum(1 - share, jnp.finfo(teacher.dtype).tiny)  # 0 log 0 would be NaN
    softened = jax.nn.log_softmax(teacher) + jnp.log(rest)
    return jnp.where(is_label, jnp.logaddexp(softened, jnp.log(share)), softened)


def confident_labels(labels: Array, target: Array, teacher: Array, confidence: float) -> jax.Array:
    """[B, H, W] labels, replaced by the most probable class of `target` if the teacher is sure of a class.

    A class that is only as probable as the label does not replace it, and ignored pixels stay ignored.

    Args:
      labels: [B, H, W] integer class numbers; 255 is ignored.
      target: [B, H, W, C] from `soft_target`.
      teacher: [B, H, W, C] logits of the teacher.
      confidence: the teacher is sure if its largest probability is above this.
    """
    confident = jnp.max(jax.nn.softmax(teacher), axis=-1) > confidence
    is_label = is_class(labels, target.shape[-1])
    outranked = jnp.max(target, axis=-1) > jnp.max(target, axis=-1, where=is_label, initial=-jnp.inf)
    replaced = confident & outranked & (labels < target.shape[-1])
    return jnp.where(replaced, jnp.argmax(target, axis=-1).astype(labels.dtype), labels)
