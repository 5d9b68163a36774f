"""Exported weights: a folder with `model.safetensors` and `model.json`.

Those in `dmlcsr_jax/weights` ship with the package. `model.safetensors` holds `params` and `batch_stats`, named by
path, such as "params/parsing_head/conv4/kernel": kernels in float16, the few other values in float32. The network
computes in float32. `model.json` holds the checkpoint metadata, and in `card` what model cards say.

JAX and Flax are imported only where variables are read or written.
"""

import importlib.resources
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from dmlcsr_jax.checkpoints.metadata import CheckpointMetadata
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.paths import Path
from dmlcsr_jax.types import Variables

WEIGHTS = "model.safetensors"
METADATA = "model.json"
_OPTIONAL = ("params/edge_head/", "batch_stats/edge_head/")  # only training needs them


def shipped_directory() -> pathlib.Path:
    """Where the weights lie that ship with the package, one folder per name."""
    return pathlib.Path(str(importlib.resources.files("dmlcsr_jax"))) / "weights"


def shipped_names() -> list[str]:
    """The names of the weights that ship with the package."""
    return sorted(path.parent.name for path in shipped_directory().glob(f"*/{WEIGHTS}"))


def is_exported(folder: Path) -> bool:
    """Whether a folder holds exported weights."""
    return (folder / WEIGHTS).is_file()


def store(variables: Variables) -> dict[str, np.ndarray]:
    """The arrays of `model.safetensors`: kernels as float16, the few other values as float32.

    Running variances need float32: in trained networks some are beyond float16's range.

    Raises:
      UserError: a kernel has a value beyond float16's range.
    """
    from flax import traverse_util

    flat: dict[str, Any] = traverse_util.flatten_dict(
        {kind: variables[kind] for kind in ("params", "batch_stats")}, sep="/"
    )
    stored = {}
    for name, value in flat.items():
        with np.errstate(over="ignore"):
            stored[name] = np.array(value, np.float16 if np.ndim(value) > 1 else np.float32, order="C")
        if not np.isfinite(stored[name]).all():
            raise UserError(f"{name} has values that float16 cannot hold (largest 65504); use another of --formats")
    return stored


def restore(stored: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The reverse of `store`: `params` and `batch_stats` in float32, kernels rounded to float16."""
    from flax import traverse_util

    return traverse_util.unflatten_dict({name: value.astype(np.float32) for name, value in stored.items()}, sep="/")


def encode_metadata(metadata: CheckpointMetadata, card: Mapping[str, Any]) -> str:
    """The content of `model.json`."""
    return json.dumps(metadata.to_json() | {"card": card}, indent=1)


def read_metadata(folder: Path) -> CheckpointMetadata:
    """The metadata of an exported folder; raises all kinds of errors if its file is broken."""
    return CheckpointMetadata.from_json(json.loads((folder / METADATA).read_text(encoding="utf-8")))


def read_card(folder: Path) -> dict[str, Any]:
    """What the model cards of an exported folder say; {} if the folder holds another kind of checkpoint.

    Raises:
      UserError: its file is broken.
    """
    if not is_exported(folder):
        return {}
    try:
        card = json.loads((folder / METADATA).read_text(encoding="utf-8")).get("card", {})
        if not isinstance(card, dict):
            raise ValueError("its card is no object")
    except Exception as error:
        raise UserError(f"{folder / METADATA} cannot be read ({error}); export the network again") from error
    return card


def read_variables(folder: Path, metadata: CheckpointMetadata) -> dict[str, Any]:
    """`params` and `batch_stats` of an exported folder as float32 arrays; those of the edge heads may be absent.

    Raises:
      ValueError: they are not those of the network that the metadata describes.
      SafetensorError: the file is broken.
    """
    import jax
    from flax import traverse_util
    from safetensors.numpy import load

    from dmlcsr_jax.models import create_model, init_variables

    given = load((folder / WEIGHTS).read_bytes())
    model = create_model(metadata.spec.num_classes, **metadata.model)
    wanted: dict[str, Any] = traverse_util.flatten_dict(jax.eval_shape(lambda: init_variables(model, seed=0)), sep="/")
    for name, value in wanted.items():
        if name not in given and name.startswith(_OPTIONAL):
            continue
        if name not in given or given[name].shape != value.shape:
            found = f"is {list(given[name].shape)}" if name in given else "is missing"
            raise ValueError(f"{name} {found} in {WEIGHTS}, and {list(value.shape)} in the network of {METADATA}")
    return restore({name: given[name] for name in wanted if name in given})
