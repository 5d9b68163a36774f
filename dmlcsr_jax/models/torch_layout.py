"""Names, layouts and array types of PyTorch state dicts."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from dmlcsr_jax.errors import UserError

COUNTER = "num_batches_tracked"  # PyTorch's count of training steps; nothing here reads it
LEAVES = {
    ("params", "kernel"): "weight",
    ("params", "scale"): "weight",
    ("params", "bias"): "bias",
    ("params", "gamma"): "gamma",
    ("params", "gamma1"): "gamma1",
    ("batch_stats", "mean"): "running_mean",
    ("batch_stats", "var"): "running_var",
}


def read_arrays(state_dict: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The entries of a state dict as numpy arrays, without the prefix `module.`; float16 and bfloat16 as float32.

    Raises:
      UserError: it is not a mapping of names to floating-point arrays or tensors.
    """
    if not isinstance(state_dict, Mapping) or not all(isinstance(name, str) for name in state_dict):
        raise UserError(f"state dict: should map names to arrays, is {type(state_dict).__name__}")
    return {strip_prefix(name): _array(name, value) for name, value in state_dict.items()}


def strip_prefix(name: str) -> str:
    """The name without the prefix of `torch.nn.DataParallel`."""
    return name.removeprefix("module.")


def to_torch_layout(value: np.ndarray) -> np.ndarray:
    """Kernels HWIO -> OIHW and [in, out] -> [out, in, 1]; scalars -> [1]; vectors stay."""
    if value.ndim == 4:
        return np.ascontiguousarray(value.transpose(3, 2, 0, 1))
    if value.ndim == 2:
        return np.ascontiguousarray(value.T)[..., None]
    return value.reshape(-1)


def to_flax_layout(value: np.ndarray, ndim: int) -> np.ndarray:
    """The inverse of `to_torch_layout`, to an array of `ndim` axes."""
    if ndim == 4:
        return np.ascontiguousarray(value.transpose(2, 3, 1, 0))
    if ndim == 2:
        return np.ascontiguousarray(value[..., 0].T)
    return value.reshape(-1) if ndim else value.reshape(())


def torch_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape in PyTorch's layout of an array of `shape`."""
    return to_torch_layout(np.broadcast_to(np.float32(0), shape)).shape


def _array(name: str, value: Any) -> np.ndarray:
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = (value.float() if "bfloat16" in str(value.dtype) else value).numpy()
    array = np.asarray(value)
    if array.dtype.kind != "f" and not name.endswith(COUNTER):
        raise UserError(f"state dict: {name!r} should be an array of floating point, is {type(value).__name__}")
    return array.astype(np.float32) if array.dtype == np.float16 else array
