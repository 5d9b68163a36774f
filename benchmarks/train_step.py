"""Times a training step against PyTorch: forward, multi-task loss with Lovász-softmax, backward, SGD.

    python -m benchmarks.train_step [--size 241 473] [--batch 2 1] [--remat] [--dtype=bfloat16] [--repeats=3]

Sizes and batches are paired; one size goes with every batch. Both sides start from the same random weights and see the
same drawn faces. They run in turns, each in its own process; "first loss" shows that they compute the same. With
`--steps` a run takes several steps and waits for the last one, as in training: otherwise a GPU waits for the host
before each. Peak memory is measured in further processes: parameters and optimizer are included, compilation and
libraries are not; on a GPU it is what is allocated there. `--remat` adds our step with rematerialized residual blocks.
For bfloat16 PyTorch uses automatic mixed precision, and on a GPU channels-last. On an accelerator in bfloat16 the table
adds what a step without rematerialization computes per second, as a share of the chip's peak and of what one large
bfloat16 product reaches there.
"""

import tempfile
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from benchmarks import peers, side_by_side, workload
from benchmarks.side_by_side import OURS, Run
from benchmarks.workload import Workload
from dmlcsr_jax.devices import AXIS, replicate, shard
from dmlcsr_jax.losses import LossWeights
from dmlcsr_jax.models import init_variables
from dmlcsr_jax.training.optimizer import OptimizerSettings, make_optimizer
from dmlcsr_jax.training.state import TrainState, create_state
from dmlcsr_jax.training.steps import make_train_step
from dmlcsr_jax.types import Batch, Preprocessing

# Dense bfloat16 operations per second with float32 sums, from the vendors' data sheets, by JAX's name of the chip.
PEAKS = {
    "NVIDIA H200": 989e12,
    "NVIDIA H100 80GB HBM3": 989e12,
    "NVIDIA H100 PCIe": 756e12,
    "NVIDIA A100-SXM4-80GB": 312e12,
    "NVIDIA A100-SXM4-40GB": 312e12,
    "NVIDIA L4": 121e12,
    "Tesla V100-SXM2-16GB": 125e12,
    "Tesla T4": 65e12,
    "TPU v6 lite": 918e12,
    "TPU v5p": 459e12,
    "TPU v5 lite": 197e12,
    "TPU v4": 275e12,
}


def prepared_step(work: Workload, *, remat: bool = False) -> tuple[Any, TrainState, Batch]:
    """The package's own step on one device (pmapped), with a state and a batch for it."""
    optimizer = make_optimizer(OptimizerSettings(), optax.constant_schedule(1e-3))
    devices = jax.local_devices()[:1]
    step = make_train_step(
        work.model(axis_name=AXIS, remat=remat),
        optimizer,
        weights=LossWeights(),
        preprocessing=Preprocessing(),
        devices=devices,
    )
    images, labels = work.faces()
    batch = shard(Batch(images, labels, labels[:, 0, 0] >= 0), 1)
    return step, replicate(create_state(work.variables(), optimizer), devices), batch


def ours(work: Workload, *, steps: int = 1, remat: bool = False) -> Run:
    """Our training step, `steps` times; the run returns the first loss."""
    step, state, batch = prepared_step(work, remat=remat)

    def run() -> float:
        nonlocal state
        losses = []
        for _ in range(steps):
            state, terms = step(state, batch)
            losses.append(terms["total"])
        jax.block_until_ready(state)
        return float(losses[0])

    if workload.on_accelerator():
        run.device_peak_bytes = _device_peak_bytes  # pyright: ignore[reportFunctionMemberAccess]
    return run


def count_operations(work: Workload) -> float:
    """Floating-point operations of a step: three times those of the network's forward pass, by direct convolutions.

    XLA counts them in the program for a GPU; that for a CPU has Winograd's convolutions, which need half as many.
    """
    model = work.model()
    variables = jax.eval_shape(lambda: init_variables(model, 0))
    images = jax.ShapeDtypeStruct((work.batch, work.size, work.size, 3), jnp.float32)
    lowered = jax.jit(model.apply).trace(variables, images).lower(lowering_platforms=("cuda",))
    return 3 * lowered.cost_analysis()["flops"]


def product_rate(size: int = 8192, products: int = 20) -> float:
    """Operations per second in a chain of square bfloat16 products."""
    factor = (jax.random.normal(jax.random.key(0), (size, size)) / size**0.5).astype(jnp.bfloat16)
    chain = jax.jit(lambda x: jax.lax.fori_loop(0, products, lambda _, y: y @ x, x))
    run = workload.blocking(chain, factor)
    run()
    return 2 * products * size**3 / min(side_by_side.timed(run) for _ in range(3))


def shares(work: Workload, steps: int, seconds: Mapping[str, float]) -> dict[str, dict[str, str]]:
    """Columns of the table: operations per second, of so many steps, in percent of the chip's in bfloat16."""
    if work.dtype != "bfloat16" or not workload.on_accelerator():
        return {}
    operations = steps * count_operations(work)
    rates = {"of the peak": PEAKS.get(jax.local_devices()[0].device_kind), "of a product": product_rate()}
    return {
        heading: {name: f"{operations / time / rate:.1%}" for name, time in seconds.items()}
        for heading, rate in rates.items()
        if rate is not None
    }


def measure(work: Workload, *, steps: int, remat: bool, repeats: int) -> None:
    """Measures time, then memory, and prints the table."""
    makers = {OURS: partial(ours, work, steps=steps)}
    if remat:
        makers[f"{OURS}, remat"] = partial(ours, work, steps=steps, remat=True)
    makers["PyTorch"] = partial(peers.torch_side, "training_step", work, steps=steps)
    results = side_by_side.take_turns(makers, repeats)
    memory = {name: side_by_side.peak_memory(makers[name], preload=peers.MODULE) for name in results.seconds}
    columns = {
        **side_by_side.images_per_second(results, steps * work.batch),
        "peak GB": {name: f"{size / 1e9:.2f}" for name, size in memory.items()},
        "of ours": {name: f"{size / memory[OURS]:.2f}" for name, size in memory.items()},
        "first loss": {name: f"{loss:.5f}" for name, loss in results.first.items()},
        **shares(work, steps, results.seconds),
    }
    title = "training step" if steps == 1 else f"{steps} training steps"
    side_by_side.print_table(f"{title}: {work}, on {jax.devices()[0].device_kind}", results, columns)


def main() -> None:
    """Prints one table per size."""
    parser = workload.argument_parser(__doc__)
    parser.add_argument("--size", type=int, nargs="+", default=[241, 473], help="heights and widths of the images")
    parser.add_argument("--batch", type=int, nargs="+", default=[2, 1], help="images per step, one number per size")
    parser.add_argument("--steps", type=int, default=1, help="steps per run")
    parser.add_argument("--remat", action="store_true", help="also measure rematerialized blocks")
    workload.add_network_flags(parser)
    flags = parser.parse_args()
    sizes = flags.size * len(flags.batch) if len(flags.size) == 1 else flags.size
    if len(sizes) != len(flags.batch):
        parser.error(f"--size has {len(sizes)} numbers and --batch has {len(flags.batch)}; give one or as many")
    side_by_side.set_environment()
    with tempfile.TemporaryDirectory() as folder:
        if not jax.config.values["jax_compilation_cache_dir"]:  # both processes of a side share what was compiled
            jax.config.update("jax_compilation_cache_dir", folder)
        for size, batch in zip(sizes, flags.batch, strict=True):
            work = Workload(size, batch, flags.backbone, flags.width, flags.dtype)
            measure(work, steps=flags.steps, remat=flags.remat, repeats=flags.repeats)


def _device_peak_bytes() -> int:
    statistics = jax.local_devices()[0].memory_stats()
    assert statistics, "the device reports no memory statistics"
    return statistics["peak_bytes_in_use"]


if __name__ == "__main__":
    main()
