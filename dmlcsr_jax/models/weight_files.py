"""Reads and writes state dicts as `.pth`, `.safetensors` or `.npz`. Never executes code from a file."""

import io
import pathlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np
from safetensors.numpy import load, save_file

from dmlcsr_jax import files
from dmlcsr_jax.errors import UserError, first_line
from dmlcsr_jax.paths import Path, as_path

SUFFIXES = (".pth", ".pt", ".safetensors", ".npz")


def read_state_dict(path: str | Path) -> Mapping[str, Any]:
    """Names and arrays (or tensors) of a file; of an entry "state_dict", if there is one.

    `.pth` is read with `weights_only=True`, which refuses everything but tensors and plain containers, and `.npz`
    without pickles.

    Raises:
      UserError: the file is missing, truncated, of an unknown format, or contains anything else.
    """
    path = as_path(path)
    if path.suffix not in SUFFIXES:
        raise UserError(f"{path} has suffix {path.suffix!r}; weights can be read from {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise UserError(f"{path} is not a file; name a file of weights ({', '.join(SUFFIXES)})")
    try:
        data = path.read_bytes()
        if path.suffix == ".npz":
            with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                return dict(arrays)
        if path.suffix == ".safetensors":
            return load(data)
        state_dict = _torch(path).load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except UserError:
        raise
    except Exception as error:  # broken or hostile pickle and zip files raise almost anything
        raise _refusal(path, error) from error
    return state_dict.get("state_dict", state_dict) if isinstance(state_dict, dict) else state_dict


def write_state_dict(path: str | Path, state_dict: Mapping[str, np.ndarray]) -> None:
    """Writes names and arrays in the format of the file's suffix.

    Raises:
      UserError: the suffix is unknown, or the file cannot be written.
    """
    path = as_path(path)
    if path.suffix not in SUFFIXES:
        raise UserError(f"{path} has suffix {path.suffix!r}; weights can be written to {', '.join(SUFFIXES)}")
    try:
        with files.replacing(path) as temporary:
            _write(temporary, state_dict)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}); name another file") from error


def _write(path: pathlib.Path, state_dict: Mapping[str, np.ndarray]) -> None:
    if path.suffix == ".npz":
        np.savez(path, **state_dict)  # pyright: ignore[reportArgumentType]
    elif path.suffix == ".safetensors":
        save_file(dict(state_dict), path)
    else:
        torch = _torch(path)
        torch.save({name: torch.from_numpy(np.array(array)) for name, array in state_dict.items()}, path)


def _torch(path: Path) -> ModuleType:
    try:
        import torch
    except ImportError as error:
        raise UserError(f"{path} needs PyTorch; install it with pip install 'dmlcsr_jax[torch]'") from error
    return torch


def _refusal(path: Path, error: Exception) -> UserError:
    return UserError(
        f"{path} cannot be read as weights ({first_line(error)}); is it complete, and of the format in its name?"
    )
