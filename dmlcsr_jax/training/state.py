"""What training carries from step to step, and how it begins."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from dmlcsr_jax.errors import UserError
from dmlcsr_jax.models import DMLCSR
from dmlcsr_jax.models.backbones import BACKBONES

_DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


class TrainState(struct.PyTreeNode):
    """Everything that a step changes; unreplicated, so that it is plain pytree code everywhere.

    Attributes:
      step: [] int32, the number of steps taken.
      params: the parameters, float32.
      batch_stats: the running batch-norm statistics, float32.
      opt_state: the optimizer's state (the momentum buffers).
      cycle: [] int32, the number of self-regulation cycles that have ended.
      teacher: `params` and `batch_stats` of the frozen teacher; None until the first cycle ends.
    """

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: optax.OptState
    cycle: jax.Array
    teacher: dict[str, Any] | None = None

    @property
    def variables(self) -> dict[str, Any]:
        """The student's, as `DMLCSR.apply` takes them."""
        return {"params": self.params, "batch_stats": self.batch_stats}


def create_model(num_classes: int, model_config: Any, axis_name: str | None = None) -> DMLCSR:
    """The network that `config.model` describes.

    Args:
      num_classes: C, background included.
      model_config: the fields of `config.model` (a ConfigDict).
      axis_name: the pmapped axis over which batch norm is synchronised in training.

    Raises:
      UserError: a field has a value that does not exist.
    """
    if model_config.dtype not in _DTYPES:
        raise UserError(f"config.model.dtype is {model_config.dtype!r}; it can be {' or '.join(_DTYPES)}")
    if model_config.backbone not in BACKBONES:
        raise UserError(f"config.model.backbone is {model_config.backbone!r}; it can be {', '.join(BACKBONES)}")
    return DMLCSR(
        num_classes,
        backbone=model_config.backbone,
        dtype=_DTYPES[model_config.dtype],
        width=model_config.width,
        stem=model_config.stem,
        norm=model_config.norm,
        edge_heads=model_config.edge_heads,
        dual_graph=model_config.dual_graph,
        rematerialise=model_config.rematerialise,
        axis_name=axis_name,
    )


def init_variables(model: DMLCSR, seed: int) -> dict[str, Any]:
    """Random parameters and fresh statistics; the size of pictures does not enter their shapes."""
    # XLA compiles hundreds of draws from "rbg" in seconds, from the default generator in half a minute.
    return _init(model.clone(axis_name=None), jax.random.key(seed, impl="rbg"))


@partial(jax.jit, static_argnums=0)  # here, so that shapes and values are traced once together
def _init(model: DMLCSR, key: jax.Array) -> dict[str, Any]:
    return model.init(key, jnp.zeros((1, 32, 32, 3), jnp.float32), train=False)


def create_state(variables: dict[str, Any], optimizer: optax.GradientTransformation) -> TrainState:
    """The state before the first step."""
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=variables["params"],
        batch_stats=variables["batch_stats"],
        opt_state=jax.jit(optimizer.init)(variables["params"]),
        cycle=jnp.zeros((), jnp.int32),
    )
