"""Model cards of exported networks: JSON for programs, Markdown (`model_card_text.py`) for people."""

import dataclasses
import datetime
import json
import pathlib
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from dmlcsr_jax import __version__
from dmlcsr_jax.checkpoints import CheckpointMetadata
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.inference.export import PLATFORMS, Parity
from dmlcsr_jax.inference.model_card_text import render
from dmlcsr_jax.models import create_model
from dmlcsr_jax.paths import Path, modified

__all__ = ["code_commit", "describe", "describe_data", "read_notes", "read_scores", "render"]

_ROOT = pathlib.Path(__file__).parents[2]


def describe(file: str, metadata: CheckpointMetadata, parity: Parity, about: Mapping[str, Any]) -> dict[str, Any]:
    """The model card of an exported file as JSON values.

    Args:
      file: name of the file; its suffix tells the format.
      metadata: of the checkpoint.
      parity: how closely the file matches the checkpoint.
      about: `training_data` (from `describe_data`), `scores` (from `read_scores`), `notes` (from `read_notes`), and
        `checkpoint` (the names of its `run` and `step`).
    """
    height, width = metadata.size
    spec = metadata.spec
    return {
        "file": file,
        "metadata": metadata.to_json(),
        "format": _describe_format(file),
        "input": {"images": f"uint8 RGB [batch, {height}, {width}, 3]"},
        "outputs": {
            "labels": f"uint8 class numbers [batch, {height}, {width}]",
            "logits": f"float32 [batch, {height}, {width}, {spec.num_classes}]",
        },
        "size": [height, width],
        "preprocessing_inside": dataclasses.asdict(metadata.preprocessing),
        "classes": [
            {"number": i, "name": name, "color": list(color)}
            for i, (name, color) in enumerate(zip(spec.class_names, spec.palette, strict=True))
        ],
        "network": _describe_network(metadata),
        **about,
        "parity": dataclasses.asdict(parity),
        "code": {"version": __version__, "commit": code_commit()},
        "exported": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def describe_data(metadata: CheckpointMetadata, folder: str, sources: Sequence[str]) -> dict[str, Any]:
    """The training data of a network, and the terms of its weights, as JSON values.

    Args:
      metadata: of the checkpoint.
      folder: the raw data; only its name is kept.
      sources: the weights that training started from; only their names are kept.
    """
    spec = metadata.spec
    unknown = f"unknown: ask whoever made the folder {pathlib.Path(folder).name!r} what its images may be used for."
    return {
        "name": spec.name,
        "terms": spec.terms or unknown,
        "initial_weights": [pathlib.Path(path).name for path in sources],
        "inherited_terms": list(metadata.inherited_terms),
    }


def read_notes(folder: Path) -> str:
    """What `notes.md` of a workdir adds to its model cards; "" if there is none.

    Raises:
      UserError: the file cannot be read.
    """
    path = folder / "notes.md"
    try:
        return path.read_text(encoding="utf-8").strip() if path.exists() else ""
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); write it as UTF-8 text") from error


def read_scores(workdir: Path) -> dict[str, Any] | None:
    """The scores in `evaluation.json` of a workdir, and their `date`; None if there are none.

    Raises:
      UserError: the file cannot be read.
    """
    path = workdir / "evaluation.json"
    if not path.exists():
        return None
    try:
        date = datetime.datetime.fromtimestamp(modified(path), datetime.UTC).date().isoformat()
        return {"date": date} | json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path} cannot be read ({error}); write it again with --mode=evaluate") from error


def code_commit() -> str:
    """The commit of this code, with "-dirty" if files were changed; "" if it is not in a git checkout."""
    if not (_ROOT / ".git").exists():
        return ""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:  # git is not installed
        return ""


def _describe_network(metadata: CheckpointMetadata) -> dict[str, Any]:
    network = create_model(metadata.spec.num_classes, **metadata.model)
    encoder = network.create_encoder(parent=None)
    names = ["backbone", "width", *(name for name in ("stem", "norm") if hasattr(encoder, name)), "dual_graph"]
    return {name: getattr(network, name) for name in names}


def _describe_format(file: str) -> dict[str, Any]:
    if file.endswith(".onnx"):
        from dmlcsr_jax.inference.onnx_graph import OPSET

        return {"name": "ONNX", "opset": OPSET}
    if file.endswith(".safetensors"):
        return {"name": "safetensors", "storage": "float16", "computation": "float32"}
    return {"name": "StableHLO (jax.export)", "jax": jax.__version__, "platforms": list(PLATFORMS)}
