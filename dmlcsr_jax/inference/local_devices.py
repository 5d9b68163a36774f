"""Batches of images spread over the devices of this host."""

from collections.abc import Callable, Sequence

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dmlcsr_jax.types import Array, Device, Variables

_AXIS = "images"


class LocalDevices:
    """Runs a network on all devices of this host; the variables are copied to each of them once.

    Args:
      variables: of the network.
      devices: all of this host's if None.
    """

    def __init__(self, variables: Variables, devices: Sequence[Device] | None = None):
        devices = devices or jax.local_devices()
        self.count = len(devices)
        mesh = Mesh(np.asarray(devices), (_AXIS,))
        self._rows = NamedSharding(mesh, PartitionSpec(_AXIS))
        self._everywhere = jax.device_put(variables, NamedSharding(mesh, PartitionSpec()))
        self._first = jax.tree.map(lambda array: array.addressable_data(0), self._everywhere)

    def run(self, network: Callable[[Variables, Array], jax.Array], images: np.ndarray) -> np.ndarray:
        """Calls a compiled function of variables and a batch, each device with its part of the images.

        Args:
          network: computes each row of its result from one row of `images` alone.
          images: [B, ...]; a single one stays on the first device, and other numbers are padded to a multiple of the
            number of devices.

        Returns:
          The result's B rows.
        """
        if self.count == 1 or len(images) == 1:
            return np.asarray(network(self._first, images))
        padding = np.zeros((-len(images) % self.count, *images.shape[1:]), images.dtype)
        padded = np.concatenate([images, padding]) if len(padding) else images
        return np.asarray(network(self._everywhere, jax.device_put(padded, self._rows)))[: len(images)]
