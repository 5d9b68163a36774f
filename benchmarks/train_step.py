"""Times a training step against PyTorch: forward, multi-task loss with Lovász-softmax, backward, SGD.

    python -m benchmarks.train_step [--size 241 473] [--batch 2 1] [--remat] [--dtype=bfloat16] [--repeats=3]

Sizes and batches go in pairs. Both sides start from the same drawn weights, see the same drawn faces, and run by
turns, each in a process of its own; "first loss" shows that they do the same. Peak memory is measured in other
processes (parameters and optimizer included, compiling and libraries not), on a GPU what is allocated on it.
`--remat` adds our step with rematd residual blocks. For bfloat16 PyTorch has automatic mixed precision,
and its channels innermost on a GPU. On an accelerator the table adds the share of the chip's peak, from the operations
that XLA counts in the step without rematerialisation.
"""

import tempfile
from functools import partial

import jax
import optax

from benchmarks import side_by_side, workload
from benchmarks.side_by_side import OURS, Run
from benchmarks.workload import Workload
from configs import default
from dmlcsr_jax.devices import AXIS, replicate, shard
from dmlcsr_jax.losses import LossWeights
from dmlcsr_jax.training.optimizer import make_optimizer
from dmlcsr_jax.training.state import create_state
from dmlcsr_jax.training.steps import make_train_step
from dmlcsr_jax.types import Batch, Preprocessing

# Dense bfloat16 operations a second with float32 sums, from the makers' data sheets, by what JAX calls the chip.
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


def prepared_step(work: Workload, remat: bool = False):
    """The package's own step on one device, with a state and a batch for it."""
    optimizer = make_optimizer(default.get_config(), optax.constant_schedule(1e-3))
    model = work.model(axis_name=AXIS, remat=remat)
    device = jax.local_devices()[:1]
    step = make_train_step(model, optimizer, LossWeights(), Preprocessing(), devices=device)
    images, labels = work.faces()
    batch = shard(Batch(images, labels, labels[:, 0, 0] >= 0), 1)
    return step, replicate(create_state(work.variables(), optimizer), device), batch


def ours(work: Workload, remat: bool = False) -> Run:
    """The step as a run that returns the loss."""
    step, state, batch = prepared_step(work, remat)

    def run() -> float:
        nonlocal state
        state, terms = step(state, batch)
        jax.block_until_ready(state)
        return float(terms["total"])

    if workload.on_accelerator():
        run.device_peak_bytes = lambda: jax.local_devices()[0].memory_stats()["peak_bytes_in_use"]
    return run


def share_of_peak(work: Workload, seconds: float) -> str:
    """Operations of one step by the time it took, in percent of what the chip can do; "" where that is unknown."""
    peak = PEAKS.get(jax.local_devices()[0].device_kind)
    if peak is None or work.dtype != "bfloat16":
        return ""
    step, state, batch = prepared_step(work)
    return f"{step.lower(state, batch).cost_analysis()['flops'] / seconds / peak:.1%}"


def main() -> None:
    """Prints a table a workload."""
    parser = workload.described(__doc__)
    parser.add_argument("--size", type=int, nargs="+", default=[241, 473], help="sides of the pictures")
    parser.add_argument("--batch", type=int, nargs="+", default=[2, 1], help="pictures of a step, one number a size")
    parser.add_argument("--remat", action="store_true", help="also with rematd blocks")
    workload.network_flags(parser)
    flags = parser.parse_args()
    if len(flags.size) != len(flags.batch):
        parser.error(f"there are {len(flags.size)} sizes and {len(flags.batch)} batches; give as many of each")
    with tempfile.TemporaryDirectory() as folder:
        if not jax.config.jax_compilation_cache_dir:  # each side's own process need not compile again
            jax.config.update("jax_compilation_cache_dir", folder)
        for size, batch in zip(flags.size, flags.batch, strict=True):
            measure(Workload(size, batch, flags.backbone, flags.width, flags.dtype), flags.remat, flags.repeats)


def measure(work: Workload, remat: bool, repeats: int) -> None:
    """Measures memory, then time, and prints the table."""
    makers = {OURS: partial(ours, work)}
    if remat:
        makers[f"{OURS}, rematd"] = partial(ours, work, remat=True)
    makers["PyTorch"] = partial(side_by_side.torch_side, "training_step", work)
    results = side_by_side.take_turns(makers, repeats)
    memory = {name: side_by_side.peak_memory(makers[name]) for name in results.seconds}
    columns = {
        "pictures/s": {name: f"{work.batch / seconds:.3g}" for name, seconds in results.seconds.items()},
        "peak GB": {name: f"{bytes_ / 1e9:.2f}" for name, bytes_ in memory.items()},
        "of ours": {name: f"{bytes_ / memory[OURS]:.2f}" for name, bytes_ in memory.items()},
        "first loss": {name: f"{loss:.5f}" for name, loss in results.first.items()},
    }
    if workload.on_accelerator():
        columns["of the peak"] = {name: share_of_peak(work, seconds) for name, seconds in results.seconds.items()}
    side_by_side.print_table(f"training step: {work}, on {jax.devices()[0].device_kind}", results, columns)


if __name__ == "__main__":
    main()
