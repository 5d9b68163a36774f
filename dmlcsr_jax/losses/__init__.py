"""The multi-task loss: pure functions of logits and labels."""

from dmlcsr_jax.losses.lovasz import lovasz_softmax
from dmlcsr_jax.losses.objective import LossWeights, count_pixels, multi_task_loss, term
from dmlcsr_jax.losses.softening import Softening

__all__ = ["LossWeights", "Softening", "count_pixels", "lovasz_softmax", "multi_task_loss", "term"]
