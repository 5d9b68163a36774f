"""How arrays are laid out over this host's devices for `jax.pmap`.

State is one plain tree on all devices; batches have a leading axis of local devices.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dmlcsr_jax.types import Device, PyTree

AXIS = "batch"  # the pmapped axis over which steps synchronize


def shard(tree: PyTree, devices: int | None = None) -> PyTree:
    """Splits the leading axis of every array over this host's devices: [B, ...] -> [D, B / D, ...].

    Raises:
      ValueError: B is not a multiple of D.
    """
    count = devices or jax.local_device_count()
    return jax.tree.map(lambda x: x.reshape(count, -1, *x.shape[1:]), tree)


def replicate(tree: PyTree, devices: Sequence[Device] | None = None) -> PyTree:
    """Puts a tree where pmapped steps leave theirs, so that the first step compiles for every later one.

    That is on all of this host's devices: pmapped outputs belong to each host, although they are equal on all.
    """
    mesh = Mesh(devices or jax.local_devices(), (AXIS,))
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def local_rows(array: jax.Array) -> np.ndarray:
    """This host's part of a pmapped output, the device axis merged away: [D, B / D, ...] -> [B, ...]."""
    shards = sorted(array.addressable_shards, key=lambda s: s.index[0].start or 0)
    rows = np.concatenate([np.asarray(s.data) for s in shards])
    return rows.reshape(-1, *rows.shape[2:])


def keep_global(step: Any) -> Callable[[PyTree, PyTree], tuple[PyTree, PyTree]]:
    """A pmapped step (state, batch) -> (state, rest) whose results, with several hosts, are arrays of all of them.

    With several hosts, pmap turns every leaf of its arguments into an array of all hosts and every leaf of its results
    back into one of this host, in Python. For the thousand leaves of a state that takes longer than to start the step.
    The program that pmap compiles takes and returns the arrays of all hosts themselves, so that only the batch is
    converted. `host_local` converts the state once training pauses.

    Args:
      step: from `jax.pmap` with `in_axes=(None, 0)` and `out_axes=(None, None)`.
    """
    if jax.process_count() == 1:
        return step
    mesh, programs = _all_hosts(), {}

    def call(state: PyTree, batch: PyTree) -> tuple[PyTree, PyTree]:
        leaves, tree = jax.tree.flatten(state)
        if any(leaf.is_fully_addressable for leaf in leaves):
            state = multihost_utils.host_local_array_to_global_array(state, mesh, PartitionSpec())
        if tree not in programs:
            programs[tree] = step.lower(state, batch).compile()
        batch = multihost_utils.host_local_array_to_global_array(batch, mesh, PartitionSpec(AXIS))
        return programs[tree](state, batch)

    return call


def host_local(tree: PyTree) -> PyTree:
    """The results of a `keep_global` step as arrays of this host, which `replicate` returns; nothing is copied."""
    return multihost_utils.global_array_to_host_local_array(tree, _all_hosts(), PartitionSpec())


def _all_hosts() -> Mesh:
    """The devices in the order of pmap: those of the first host, then those of the second."""
    return Mesh([device for host in range(jax.process_count()) for device in jax.local_devices(host)], (AXIS,))
