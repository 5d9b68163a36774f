"""Counts the memory of a training step by batch and dtype, without running it.

    python -m benchmarks.memory [--size=473] [--batch 1 2] [--compile]
    python -m benchmarks.memory --topology=v5p:2x2x1 --batch 1   # as for a TPU; needs `pip install libtpu`, no TPU

"saved" is what the forward pass keeps for the backward pass if everything that JAX saves is stored, weights in the
dtype of the computation included. With `--compile` the compiler of this machine's device (or of the TPUs named by
`--topology`) counts too: "arguments" are weights, optimizer and batch, "temporary" is all else at its peak. Layouts and
fusions differ by compiler. ResNet-101 takes a CPU minutes to compile.
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
from dmlcsr_jax.losses import LossWeights, multi_task_loss
from dmlcsr_jax.models import init_variables
from dmlcsr_jax.training.optimizer import OptimizerSettings, make_optimizer
from dmlcsr_jax.training.state import create_state
from dmlcsr_jax.training.steps import make_train_step
from dmlcsr_jax.types import Batch, Device, Preprocessing, PyTree


def count_saved(work: Workload, *, remat: bool) -> int:
    """Bytes that the forward pass saves for the backward pass."""
    model = work.model(remat=remat)
    variables = jax.eval_shape(lambda: init_variables(model, 0))
    pixels = work.batch, work.size, work.size
    images = jax.ShapeDtypeStruct((*pixels, 3), work.dtype)
    labels = jax.ShapeDtypeStruct(pixels, np.uint8)

    def backward(params: PyTree, batch_stats: PyTree, images: jax.Array, labels: jax.Array) -> Any:
        def loss(params: PyTree) -> tuple[jax.Array, PyTree]:
            state = {"params": params, "batch_stats": batch_stats}
            predictions, updated = model.apply(state, images, train=True, mutable=["batch_stats"])
            return multi_task_loss(predictions, labels)[0], updated

        return jax.vjp(loss, params, has_aux=True)[1]

    saved = jax.eval_shape(backward, variables["params"], variables["batch_stats"], images, labels)
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(saved))


def count_compiled(work: Workload, device: Device, *, remat: bool) -> tuple[int, int]:
    """Bytes of the arguments of a training step on one device, and what it needs beside them, by its compiler."""
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
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 2], help="images per device")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"], help="of the computation")
    parser.add_argument("--compile", action="store_true", help="also count as this machine's compiler does")
    parser.add_argument("--topology", default="", help="the TPUs to compile for instead, such as v5e:2x2x1")
    parser.add_argument("--backbone", default="resnet101", help="encoder")
    parser.add_argument("--width", type=int, default=64, help="channels of the encoder's first stage")
    flags = parser.parse_args()
    side_by_side.set_environment()
    device = _device(flags.topology)
    compiles = flags.compile or flags.topology
    headings = ["saved", *(["arguments", "temporary"] if compiles else [])]
    table = Table("images", "dtype", "remat", *headings, title=f"training step on {device.device_kind}, GB")
    for dtype, remat, batch in itertools.product(flags.dtypes, (False, True), flags.batch):
        work = Workload(flags.size, batch, flags.backbone, flags.width, dtype)
        sizes = [count_saved(work, remat=remat)]
        if compiles:
            sizes += count_compiled(work, device, remat=remat)
        cells = [str(batch), dtype, "yes" if remat else "no", *(f"{size / 1e9:.2f}" for size in sizes)]
        console.print(*cells)
        table.add_row(*cells)
    console.print(table)


def _device(topology: str) -> Device:
    """The first device of this machine, or of TPUs that are not there."""
    if not topology:
        return jax.local_devices()[0]
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # asks no server about them
    return topologies.get_topology_desc(topology, "tpu").devices[0]


if __name__ == "__main__":
    main()
