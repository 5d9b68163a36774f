"""Checkpoints: what they say of themselves, reading them, the Orbax manager that writes them, and exported weights."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dmlcsr_jax.checkpoints.exported import encode_metadata, is_exported, read_card, restore, store
    from dmlcsr_jax.checkpoints.manager import UNSCORED, Window, open_manager, restore_latest, save, save_variables
    from dmlcsr_jax.checkpoints.metadata import CheckpointMetadata
    from dmlcsr_jax.checkpoints.reading import (
        choose_weights,
        find_checkpoint,
        find_item,
        is_shipped,
        load,
        load_metadata,
        step_folders,
    )

__all__ = [
    "UNSCORED",
    "CheckpointMetadata",
    "Window",
    "choose_weights",
    "encode_metadata",
    "find_checkpoint",
    "find_item",
    "is_exported",
    "is_shipped",
    "load",
    "load_metadata",
    "open_manager",
    "read_card",
    "restore",
    "restore_latest",
    "save",
    "save_variables",
    "step_folders",
    "store",
]

_MODULES = {
    "exported": ("encode_metadata", "is_exported", "read_card", "restore", "store"),
    "manager": ("UNSCORED", "Window", "open_manager", "restore_latest", "save", "save_variables"),
    "metadata": ("CheckpointMetadata",),
    "reading": (
        "choose_weights",
        "find_checkpoint",
        "find_item",
        "is_shipped",
        "load",
        "load_metadata",
        "step_folders",
    ),
}


def __getattr__(name: str) -> Any:
    """Imports a public name on first use: only the manager needs Orbax, and finding a checkpoint needs no JAX."""
    for module, names in _MODULES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
