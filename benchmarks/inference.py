"""Times the parsing branch against PyTorch, torch.compile and onnxruntime, with the same weights and images.

    python -m benchmarks.inference [--size=473] [--batch 1 4] [--dtype=bfloat16] [--repeats=3]

The result is the logits at stride 4 of drawn faces; the weights are random. All sides run in turns, each in its own
process with one thread per core. Work that is needed once per set of weights is done before the timing. PyTorch uses
channels-last and torch.compile frozen weights; onnxruntime runs only on the CPU in float32. The table shows medians,
ratios to ours, and how far the logits are from ours, relative to the largest. Peers that are not installed
(`pip install '.[bench]'`) are skipped.
"""

from collections.abc import Callable
from functools import partial

import jax
import numpy as np

from benchmarks import peers, side_by_side, workload
from benchmarks.side_by_side import OURS, Run
from benchmarks.workload import Workload
from dmlcsr_jax.models import parse, prepare_variables
from dmlcsr_jax.ops.normalize import normalize


def ours(work: Workload, images: np.ndarray) -> Run:
    """Parsing logits by this package."""
    model = work.model()
    variables = prepare_variables(model, jax.device_put(work.variables()))
    run = workload.blocking(jax.jit(partial(parse, model)), variables, normalize(images))
    return lambda: np.asarray(run())


def makers(work: Workload, images: np.ndarray) -> dict[str, Callable[[], Run]]:
    """Side -> function that creates its run."""
    sides = {
        OURS: partial(ours, work, images),
        "PyTorch": partial(peers.torch_side, "parse", work, images),
        "torch.compile": partial(peers.torch_side, "parse", work, images, compiled=True),
    }
    if work.dtype == "float32" and not workload.on_accelerator():
        sides["onnxruntime"] = partial(peers.torch_side, "parse_by_onnxruntime", work, images)
    return sides


def main() -> None:
    """Prints one table per batch size."""
    parser = workload.argument_parser(__doc__)
    parser.add_argument("--size", type=int, default=473, help="height and width of the images")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4], help="images per batch")
    workload.add_network_flags(parser)
    flags = parser.parse_args()
    side_by_side.set_environment()
    for batch in flags.batch:
        work = Workload(flags.size, batch, flags.backbone, flags.width, flags.dtype)
        images, _ = work.faces()
        results = side_by_side.take_turns(makers(work, images), flags.repeats)
        logits = results.first
        difference = {name: side_by_side.relative_difference(logits[name], logits[OURS]) for name in logits}
        columns = side_by_side.images_per_second(results, batch)
        columns["difference from ours"] = {name: f"{value:.1e}" for name, value in difference.items()}
        side_by_side.print_table(f"inference: {work}, on {jax.devices()[0].device_kind}", results, columns)


if __name__ == "__main__":
    main()
