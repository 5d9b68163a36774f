"""Counts the memory of a training step by batch and dtype, as XLA does, without running it.

    python -m benchmarks.memory [--size=473] [--batch 1 2 4] [--remat]
    python -m benchmarks.memory --topology=v5e:2x2x1   # as for a TPU; needs no TPU, but `pip install libtpu`

The count is that of the compiler for one device: weights, optimizer and a batch ("arguments"), and what the step needs
beside them ("temporary": saved activations, gradients, workspaces). "peak" is their sum. Layouts and fusions differ by
compiler, so a count for one kind of device is only a hint for another.
"""

import itertools
import os
from typing import Any

import jax
import numpy as np
import optax
from jax.experimental import topologies
from rich.table import Table

from benchmarks import side_by_side, workload
from benchmarks.side_by_side import console
from benchmarks.workload import Workload
from dmlcsr_jax.devices import AXIS
from dmlcsr_jax.losses import LossWeights
from dmlcsr_jax.models import init_variables
from dmlcsr_jax.training.optimizer import OptimizerSettings, make_optimizer
from dmlcsr_jax.training.state import create_state
from dmlcsr_jax.training.steps import make_train_step
from dmlcsr_jax.types import Batch, Device, Preprocessing


def count_memory(work: Workload, device: Device, *, remat: bool) -> tuple[int, int]:
    """Bytes of a training step's arguments, and of what it needs beside them, on one device."""
    optimizer = make_optimizer(OptimizerSettings(), optax.constant_schedule(1e-3))
    model = work.model(axis_name=AXIS, remat=remat)
    step: Any = make_train_step(
        model, optimizer, weights=LossWeights(), preprocessing=Preprocessing(), devices=[device]
    )
    state = jax.eval_shape(lambda: create_state(init_variables(model, 0), optimizer))
    pixels = (1, work.batch, work.size, work.size)
    batch = Batch(
        jax.ShapeDtypeStruct((*pixels, 3), np.uint8),
        jax.ShapeDtypeStruct(pixels, np.uint8),
        jax.ShapeDtypeStruct(pixels[:2], bool),
    )
    memory = step.lower(state, batch).compile().memory_analysis()
    return memory.argument_size_in_bytes, memory.temp_size_in_bytes


def main() -> None:
    """Prints the table."""
    parser = workload.argument_parser(__doc__)
    parser.add_argument("--size", type=int, default=473, help="height and width of the images")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 2, 4], help="images per device")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"], help="of the computation")
    parser.add_argument("--remat", action="store_true", help="also count rematerialized blocks")
    parser.add_argument("--topology", default="", help="TPUs to compile for instead of this machine's first device")
    parser.add_argument("--backbone", default="resnet101", help="encoder")
    parser.add_argument("--width", type=int, default=64, help="channels of the encoder's first stage")
    flags = parser.parse_args()
    side_by_side.set_environment()
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # there is no TPU to ask
    described = topologies.get_topology_desc(flags.topology, "tpu").devices if flags.topology else jax.local_devices()
    device = described[0]
    table = Table(title=f"training step of {flags.backbone}, {flags.size}², on {device.device_kind}, in GB")
    for heading in ("images", "dtype", "remat", "arguments", "temporary", "peak"):
        table.add_column(heading, justify="right")
    for dtype, remat, batch in itertools.product(flags.dtypes, [False, True][: 1 + flags.remat], flags.batch):
        work = Workload(flags.size, batch, flags.backbone, flags.width, dtype)
        try:
            arguments, temporary = count_memory(work, device, remat=remat)
            numbers = [f"{size / 1e9:.2f}" for size in (arguments, temporary, arguments + temporary)]
        except jax.errors.JaxRuntimeError as error:  # the compiler found it too large
            numbers = ["", "", str(error).splitlines()[0][:60]]
        table.add_row(str(batch), dtype, "yes" if remat else "no", *numbers)
        console.print(f"{batch} {dtype} {remat}", *numbers)
    console.print(table)


if __name__ == "__main__":
    main()
