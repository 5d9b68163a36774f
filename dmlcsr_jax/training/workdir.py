"""A workdir belongs to one run."""

import json
from collections.abc import Mapping
from typing import Any

from flax.traverse_util import flatten_dict

from dmlcsr_jax.checkpoints.metadata import rename_fields
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.files import printable, write_text
from dmlcsr_jax.paths import Path, as_path, reaching

# Fields that may change when a run resumes: they decide where and how fast, not what is learned.
_FREE_FIELDS = (
    "profile",
    "dataset.path",
    "dataset.data_dir",
    "dataset.bad_files",
    "dataset.keep_copies",
    "dataset.terms",
    "input.num_workers",
    "model.remat",
    "training.log_every",
    "training.checkpoint_every",  # and training.checkpoint_every_minutes
    "evaluation.every_epochs",
    "evaluation.batch_size",
)
# Fields that came after version 0.1.0, with the values that it trained with.
LATER_FIELDS = {
    "class_weights": "none",
    "dataset.exif": "",
    "dataset.terms": "",
    "dataset.keep_copies": False,
    "dataset.folder.val_share": 0.0,
    "input.zoom": 1.0,
    "input.shift": 0.0,
    "input.surroundings": 0.0,
    "input.occlusion": 0.0,
    "input.gray": 0.0,
    "input.darkening": 0.0,
    "input.blur": 0.0,
    "input.noise": 0.0,
    "input.compression": 0.0,
    "input.rare_class_sampling": 0.0,
    "input.drawn_faces": 0.0,
    "self_regulation.target": "logits",
    "self_regulation.soften": "heads",
    "self_regulation.confidence": 0.8,
    "self_regulation.restart": False,
    "optimizer.name": "sgd",
    "optimizer.backbone_factor": 1.0,
    "training.accumulate_steps": 1,
    "optimizer.reference_batch_size": 0,
    "training.checkpoint_every_minutes": 0.0,
}


def claim_workdir(workdir: Path, config: Mapping[str, Any]) -> int | None:
    """Makes the workdir and writes the fields of `config` to `config.json`.

    Returns:
      The number of epochs of the run that is there, which may be less than now; None if there is none.

    Raises:
      UserError: it cannot be reached or written, or it holds a run whose configuration differs.
    """
    workdir = as_path(workdir, "--workdir")
    if printable(str(workdir)) != str(workdir):  # Orbax takes no other names
        raise UserError(f"--workdir={printable(str(workdir))}: name a folder whose name is UTF-8")
    path = workdir / "config.json"
    text = json.dumps(config, indent=2)
    try:
        with reaching(workdir):
            workdir.mkdir(parents=True, exist_ok=True)
            there = read_config_file(path) if path.exists() and (workdir / "checkpoints").is_dir() else None
            if there:
                _refuse_other_run(path, there, json.loads(text))
            write_text(path, text)
        return there["training"]["epochs"] if there else None
    except OSError as error:
        raise UserError(f"--workdir={workdir} cannot be written ({error.strerror}); name another folder") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is no configuration ({error}); use a new --workdir") from error


def read_config_file(path: Path) -> dict[str, Any]:
    """The fields of a `config.json`; those that version 0.1.0 named otherwise have their present names.

    ValueError if it is not JSON of sections.
    """
    fields = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(fields, dict) or not isinstance(fields.get("model", {}), dict):
        raise ValueError("it has no sections")
    return fields | {"model": rename_fields(fields["model"])} if "model" in fields else fields


def _refuse_other_run(path: Path, saved: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    there, here = (LATER_FIELDS | flatten_dict(config, sep=".") for config in (saved, given))
    names = [
        name for name in sorted(there | here) if there.get(name) != here.get(name) and not name.startswith(_FREE_FIELDS)
    ]
    if saved["training"]["epochs"] < given["training"]["epochs"]:
        names.remove("training.epochs")
    if names:
        differences = ", ".join(f"{name} is {there.get(name)!r} there and {here.get(name)!r} here" for name in names)
        flags = " ".join(f"--config.{name}={there.get(name)}" for name in names)
        raise UserError(
            f"{path} is of another run: {differences}; to resume it, use {flags}; to train on from its weights, use a "
            f"new --workdir and --config.init_from={path.parent}"
        )
