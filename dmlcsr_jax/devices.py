"""How arrays are laid out over this host's devices for `jax.pmap`.

State is one plain tree on all devices; batches have a leading axis of local devices.
"""

from collections.abc import Sequence

import jax
import numpy as np

from dmlcsr_jax.types import Device, PyTree

AXIS = "batch"  # the pmapped axis over which steps synchronize


def shard(tree: PyTree, devices: int | None = None) -> PyTree:
    """Splits the leading axis of every array over this host's devices: [B, ...] -> [D, B / D, ...]."""
    count = devices or jax.local_device_count()
    return jax.tree.map(lambda x: x.reshape(count, -1, *x.shape[1:]), tree)


def replicate(tree: PyTree, devices: Sequence[Device] | None = None) -> PyTree:
    """Puts a tree where pmapped steps leave theirs, so that the first step compiles for every later one.

    That is on all of this host's devices: pmapped outputs belong to each host, although they are equal on all.
    """
    mesh = jax.sharding.Mesh(devices or jax.local_devices(), (AXIS,))
    return jax.device_put(tree, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec()))


def local_rows(array: jax.Array) -> np.ndarray:
    """This host's part of a pmapped output, the device axis merged away: [D, B / D, ...] -> [B, ...]."""
    shards = sorted(array.addressable_shards, key=lambda s: s.index[0].start or 0)
    rows = np.concatenate([np.asarray(s.data) for s in shards])
    return rows.reshape(-1, *rows.shape[2:])
