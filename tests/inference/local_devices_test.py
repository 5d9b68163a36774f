"""All devices of a host share a batch, and results do not depend on how many there are."""

import jax
import numpy as np
import pytest

from dmlcsr_jax.inference.local_devices import LocalDevices

VARIABLES = {"params": {"kernel": np.arange(12, dtype=np.float32).reshape(3, 4)}}


@pytest.fixture
def seen():
    return []


@pytest.fixture
def network(seen):
    @jax.jit
    def apply(variables, images):
        jax.debug.inspect_array_sharding(images, callback=seen.append)
        return images.astype(np.float32) @ variables["params"]["kernel"]

    return apply


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8])
def test_rows_are_those_of_one_device(network, count):
    images = np.random.default_rng(0).integers(0, 256, (count, 3)).astype(np.uint8)
    expected = images.astype(np.float32) @ VARIABLES["params"]["kernel"]
    for devices in (jax.local_devices(), jax.local_devices()[:1], jax.local_devices()[1:3]):
        found = LocalDevices(VARIABLES, devices).run(network, images)
        assert isinstance(found, np.ndarray) and found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_every_device_gets_its_part_and_a_single_image_one_device(network, seen):
    assert jax.local_device_count() == 4
    devices = LocalDevices(VARIABLES)
    devices.run(network, np.zeros((6, 3), np.uint8))
    devices.run(network, np.zeros((1, 3), np.uint8))
    spread, single = seen
    assert spread.shard_shape((8, 3)) == (2, 3) and len(spread.device_set) == 4
    assert len(single.device_set) == 1


def test_variables_are_copied_once(network):
    devices = LocalDevices(VARIABLES)
    devices.run(network, np.zeros((4, 3), np.uint8))
    with jax.transfer_guard_device_to_device("disallow"):
        devices.run(network, np.ones((4, 3), np.uint8))
