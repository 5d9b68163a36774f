"""Checkpoints: what they say of themselves, reading them, the Orbax manager that writes them, and exported weights."""

from dmlcsr_jax.checkpoints.exported import encode_metadata, is_exported, read_card, restore, store
from dmlcsr_jax.checkpoints.manager import UNSCORED, Window, open_manager, restore_latest, save, save_variables
from dmlcsr_jax.checkpoints.metadata import CheckpointMetadata
from dmlcsr_jax.checkpoints.reading import (
    choose_weights,
    find_checkpoint,
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
