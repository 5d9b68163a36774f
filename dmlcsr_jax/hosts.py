"""Several processes as one run: on a TPU pod, a cluster, or one machine."""

from collections.abc import Callable
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from dmlcsr_jax.console import console
from dmlcsr_jax.errors import UserError

Result = TypeVar("Result")


def initialize(how: str) -> None:
    """Joins this process to the others. Call it before JAX computes anything.

    Args:
      how: "auto" to ask the cluster (TPU pods, Slurm, Open MPI, Kubernetes: what `jax.distributed` detects), or
        "HOST:PORT,COUNT,INDEX": the address of process 0, the number of processes, and the index of this one.

    Raises:
      UserError: `how` cannot be read, or no cluster is found.
    """
    address, count, index = None, None, None
    if how != "auto":
        try:
            address, *numbers = how.split(",")
            count, index = map(int, numbers)
        except ValueError as error:
            raise UserError(f"--distributed={how}: give auto on a cluster, or HOST:PORT,COUNT,INDEX") from error
    try:
        jax.distributed.initialize(address, count, index)
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"--distributed={how} does not work ({error}); give auto on a cluster, or HOST:PORT,COUNT,INDEX"
        ) from error
    if jax.default_backend() == "cpu":
        # Only process 0 writes the compilation cache, so it would get ahead of the others by more than Gloo waits.
        jax.config.update("jax_enable_compilation_cache", False)
    console.quiet = not is_first()


def is_first() -> bool:
    """Whether this process is the one that writes logs and images."""
    return jax.process_index() == 0


def own_place() -> tuple[int, int]:
    """The index of this process and the number of processes."""
    return jax.process_index(), jax.process_count()


def from_first(values: tuple[float, ...]) -> tuple[float, ...]:
    """The first process's numbers, on all of them; waits for the devices and for the other processes."""
    return tuple(multihost_utils.broadcast_one_to_all(np.asarray(values)).tolist())


def first_then_others(function: Callable[[], Result]) -> Result:
    """Calls a function in the first process and then in the others, which find what it left on disk."""
    results = [function()] if is_first() else []
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("first_then_others")
    return results[0] if results else function()
