"""A workdir belongs to one run."""

import json
import pathlib
from typing import Any

from ml_collections import ConfigDict

from dmlcsr_jax.errors import UserError
from dmlcsr_jax.training.logs import write_atomically

# Fields that a run may change when it goes on: they decide where and how fast, not what is learnt.
_FREE_FIELDS = (
    "profile",
    "dataset.path",
    "dataset.data_dir",
    "dataset.bad_files",
    "input.num_workers",
    "model.rematerialise",
    "training.log_every",
    "training.checkpoint_every",
    "evaluation",
)


def _flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for name, value in config.items():
        flat |= _flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


def claim_workdir(workdir: pathlib.Path, config: ConfigDict) -> None:
    """Makes the workdir and writes `config.json`; a workdir of another run is refused.

    Raises:
      UserError: it cannot be written, or it holds a run whose configuration differs.
    """
    path = workdir / "config.json"
    text = config.to_json(indent=2)
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        there = json.loads(path.read_text()) if path.exists() else None
        if there and (workdir / "checkpoints").is_dir():
            _refuse_other_run(path, _flatten(there), _flatten(json.loads(text)))
        write_atomically(path, text)
    except OSError as error:
        raise UserError(f"--workdir={workdir} cannot be written ({error.strerror}); name another folder") from error
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is not JSON ({error}); use a new --workdir") from error


def _refuse_other_run(path: pathlib.Path, there: dict[str, Any], here: dict[str, Any]) -> None:
    for name in sorted(there | here):
        if name.startswith(_FREE_FIELDS) or there.get(name) == here.get(name):
            continue
        raise UserError(
            f"{path} is of another run: {name} is {there.get(name)!r} there and {here.get(name)!r} here; "
            f"use a new --workdir, or --config.{name}={there.get(name)}"
        )
