"""Checkpoints: what they say of themselves, reading them, the Orbax manager that writes them, and exported weights."""

from typing import TYPE_CHECKING

from dmlcsr_jax import lazy

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

# Only the manager needs Orbax, and finding a checkpoint needs no JAX.
__getattr__, __dir__ = lazy.exports(
    __name__,
    {
        "exported": ["encode_metadata", "is_exported", "read_card", "restore", "store"],
        "manager": ["UNSCORED", "Window", "open_manager", "restore_latest", "save", "save_variables"],
        "metadata": ["CheckpointMetadata"],
        "reading": [
            "choose_weights",
            "find_checkpoint",
            "find_item",
            "is_shipped",
            "load",
            "load_metadata",
            "step_folders",
        ],
    },
)
