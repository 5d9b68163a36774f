"""The pmapped prediction step."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax

from dmlcsr_jax.devices import AXIS
from dmlcsr_jax.models import DMLCSR, parse_labels
from dmlcsr_jax.types import Array, Variables

PredictStep = Callable[[Variables, Array], jax.Array]


def make_predict_step(model: DMLCSR, **options: Any) -> PredictStep:
    """The evaluation step: (variables, [D, B, H, W, 3] uint8 RGB) -> [D, B, H, W] uint8 class numbers.

    Args:
      model: the network.
      **options: `preprocessing`, `augmentation` and `flip_table`, see `parse_logits`.
    """
    return jax.pmap(partial(parse_labels, model, **options), axis_name=AXIS, in_axes=(None, 0))
