"""What training starts from: chance, an ImageNet backbone, or another checkpoint."""

from typing import Any

import numpy as np
from flax import traverse_util
from ml_collections import ConfigDict

from dmlcsr_jax.console import console
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.models import DMLCSR
from dmlcsr_jax.models.pretrained import load_backbone
from dmlcsr_jax.models.weight_files import read_state_dict
from dmlcsr_jax.training.checkpoints import load
from dmlcsr_jax.training.state import init_variables

# The layers whose shapes follow the number of classes.
_CLASS_BEARING = ("parsing_head/conv4", "edge_head/")


def initial_variables(model: DMLCSR, config: ConfigDict) -> dict[str, Any]:
    """Variables before the first step, from `config.seed`, `config.model.pretrained_backbone`, `config.init_from`.

    Says which layers start fresh where a checkpoint has other classes or no edge heads.

    Raises:
      UserError: a file cannot be read or does not fit the network.
    """
    variables = init_variables(model, config.seed)
    if config.model.pretrained_backbone:
        variables = load_backbone(variables, read_state_dict(config.model.pretrained_backbone))
        console.print(f"encoder from {config.model.pretrained_backbone}")
    if config.init_from:
        variables = transfer(load(config.init_from)[0], variables, config.init_from)
    return variables


def transfer(source: dict[str, Any], fresh: dict[str, Any], name: str) -> dict[str, Any]:
    """The source's values in the tree of `fresh`; what depends on the classes stays fresh where it does not fit.

    Args:
      source: `params` and `batch_stats` of a checkpoint.
      fresh: those of the network to be trained.
      name: what to call the checkpoint.

    Raises:
      UserError: another layer is missing or of another shape.
    """
    given, wanted = (traverse_util.flatten_dict(tree, sep="/") for tree in (source, fresh))
    fresh_layers = []
    for path, value in wanted.items():
        found = given.get(path)
        if found is not None and found.shape == value.shape:
            wanted[path] = found
            continue
        layer = path.partition("/")[2].rpartition("/")[0]
        if not layer.startswith(_CLASS_BEARING):
            what = "missing there" if found is None else f"{list(found.shape)} there"
            raise UserError(
                f"config.init_from={name}: {path} is {what} and {list(np.shape(value))} here; use the same config.model"
            )
        fresh_layers.append(layer)
    console.print(
        f"weights from {name}" + (f"; fresh: {', '.join(dict.fromkeys(fresh_layers))}" if fresh_layers else "")
    )
    return traverse_util.unflatten_dict(wanted, sep="/")
