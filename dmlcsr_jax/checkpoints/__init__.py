"""Checkpoints: what they say of themselves, reading them, and the Orbax manager that writes them."""

from dmlcsr_jax.checkpoints.manager import UNSCORED, Window, open_manager, restore_latest, save, save_variables
from dmlcsr_jax.checkpoints.metadata import CheckpointMetadata
from dmlcsr_jax.checkpoints.reading import choose_weights, find_checkpoint, load, load_metadata, step_folders

__all__ = [
    "UNSCORED",
    "CheckpointMetadata",
    "Window",
    "choose_weights",
    "find_checkpoint",
    "load",
    "load_metadata",
    "open_manager",
    "restore_latest",
    "save",
    "save_variables",
    "step_folders",
]
