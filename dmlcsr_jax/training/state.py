"""What training carries from step to step."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from dmlcsr_jax.types import PyTree, Variables


class TrainState(struct.PyTreeNode):
    """Everything that a step changes; unreplicated, so that it is plain pytree code everywhere.

    Attributes:
      step: [] int32, the number of steps taken.
      params: the parameters, float32; float64 if the model's dtype is.
      batch_stats: the running batch-norm statistics, likewise.
      opt_state: the optimizer's state: momentum buffers, and AdamW's second moments.
      cycle: [] int32, the number of the self-regulation cycle, 0 in stage one; also the number of networks that have
        joined the teacher.
      teacher: `params` and `batch_stats` of the frozen teacher; None before the first network joins.
    """

    step: jax.Array
    params: PyTree
    batch_stats: PyTree
    opt_state: optax.OptState
    cycle: jax.Array
    teacher: dict[str, Any] | None = None

    @property
    def variables(self) -> dict[str, Any]:
        """The student's, as `DMLCSR.apply` takes them."""
        return {"params": self.params, "batch_stats": self.batch_stats}

    def to_items(self) -> dict[str, PyTree]:
        """The state as the items of a checkpoint."""
        optimizer = {"step": self.step, "cycle": self.cycle, "opt_state": self.opt_state}
        items = {"variables": self.variables, "optimizer": optimizer}
        return items if self.teacher is None else items | {"teacher": self.teacher}

    @classmethod
    def from_items(cls, items: Mapping[str, PyTree]) -> "TrainState":
        """The reverse of `to_items`."""
        return cls(**items["variables"], **items["optimizer"], teacher=items.get("teacher"))


def create_state(variables: Variables, optimizer: optax.GradientTransformation) -> TrainState:
    """The state before the first step."""
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=variables["params"],
        batch_stats=variables["batch_stats"],
        opt_state=jax.jit(optimizer.init)(variables["params"]),
        cycle=jnp.zeros((), jnp.int32),
    )
