"""Arrays of one host and of all hosts."""

import os
import pathlib
import socket
import subprocess
import sys

import jax

from dmlcsr_jax.devices import AXIS, keep_global

ROOT = pathlib.Path(__file__).parents[1]
# A state of two leaves that gains a third one on the way, as the teacher joins a training state.
TWO_PROCESSES = """
import sys
import jax
import numpy as np
jax.distributed.initialize(sys.argv[1], 2, int(sys.argv[2]))
from dmlcsr_jax.devices import AXIS, host_local, keep_global, replicate
import dmlcsr_jax.devices as devices

def step(state, batch):
    total = jax.lax.psum(batch.sum(), AXIS)
    return jax.tree.map(lambda x: x + total, state), total

converted = []
convert = devices.multihost_utils.host_local_array_to_global_array
devices.multihost_utils.host_local_array_to_global_array = lambda tree, *rest: (
    converted.append(len(jax.tree.leaves(tree))) or convert(tree, *rest))
step = keep_global(jax.pmap(step, AXIS, in_axes=(None, 0), out_axes=(None, None), donate_argnums=0))
batch = np.asarray([[1.0], [2.0]], np.float32) * (1 + 10 * jax.process_index())  # 36 in total
state = replicate({"a": np.zeros(3, np.float32), "b": np.zeros((), np.float32)})
for _ in range(3):
    state, total = step(state, batch)
assert float(total) == 36 and not any(leaf.is_fully_addressable for leaf in state.values())
assert converted == [2, 1, 1, 1], converted  # the state once, the batch each time
state = host_local(state)
assert all(leaf.sharding == replicate(leaf).sharding for leaf in state.values())
state, _ = step(replicate({**state, "c": state["b"] + 1}), batch)
assert converted[4:] == [3, 1], converted
values = jax.device_get(host_local(state))
assert [float(np.max(value)) for value in values.values()] == [144, 144, 145], values
"""


def test_one_process_calls_pmap_itself():
    step = jax.pmap(lambda x, y: (x, y), AXIS, in_axes=(None, 0), out_axes=(None, 0))
    assert keep_global(step) is step


def test_two_processes_convert_the_state_once():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "PYTHONPATH": str(ROOT)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", TWO_PROCESSES, address, str(index)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for index in range(2)
    ]
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(outputs)
