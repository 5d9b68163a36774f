"""Creates networks from plain fields, and their initial variables."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from dmlcsr_jax.fields import FieldError, check_choice
from dmlcsr_jax.models.dml_csr import DMLCSR
from dmlcsr_jax.types import Variables

_DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16, "float64": jnp.float64}


def create_model(num_classes: int, *, dtype: str = "float32", **fields: Any) -> DMLCSR:
    """The network that the fields of `config.model` describe.

    Args:
      num_classes: C, background included.
      dtype: "float32", "bfloat16" or "float64", the dtype of the computation. "float64" needs JAX's 64-bit mode.
      **fields: the other attributes of `DMLCSR`.

    Raises:
      FieldError: a field is out of range.
    """
    check_choice("dtype", dtype, _DTYPES)
    if dtype == "float64" and not jax.config.read("jax_enable_x64"):
        raise FieldError("dtype is 'float64'; that needs JAX_ENABLE_X64=1 in the environment")
    return DMLCSR(num_classes, dtype=_DTYPES[dtype], **fields)


def init_variables(model: DMLCSR, seed: int) -> dict[str, Any]:
    """Random parameters and initial statistics; their shapes do not depend on the image size.

    The same seed gives the same values on one kind of processor; JAX does not promise that across kinds.
    """
    # XLA compiles hundreds of draws from "rbg" in seconds, from the default generator in half a minute.
    return _init(model.clone(axis_name=None), jax.random.key(seed, impl="rbg"))


@partial(jax.jit, static_argnums=0)  # at module level, so that shapes and values are traced once together
def _init(model: DMLCSR, key: jax.Array) -> Variables:
    return model.init(key, jnp.zeros((1, 32, 32, 3), jnp.float32), train=False)
