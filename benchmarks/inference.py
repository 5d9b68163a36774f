"""Times the parsing branch against PyTorch, torch.compile and onnxruntime: the same weights, the same pictures.

    python -m benchmarks.inference [--size=473] [--batch 1 4] [--dtype=bfloat16] [--repeats=3]

Logits at stride 4 of drawn faces, weights drawn too; all sides run by turns, each in a process of its own with as many
threads as there are cores, and what needs doing once a set of weights is done before. PyTorch has its channels
innermost, torch.compile its weights frozen; onnxruntime takes part on the CPU in float32. The table gives medians, how
many times as long as ours each one takes, and how far its logits are from ours, relative to the largest. Peers that are
not installed (`pip install '.[bench]'`) are left out.
"""

from collections.abc import Callable
from functools import partial

import jax
import numpy as np

from benchmarks import side_by_side, workload
from benchmarks.side_by_side import OURS, Run
from benchmarks.workload import Workload
from dmlcsr_jax.models import parse, prepare_variables
from dmlcsr_jax.ops.normalize import normalize


def ours(work: Workload, images: np.ndarray) -> Run:
    """Parsing logits by this package."""
    model = work.model()
    variables = prepare_variables(model, jax.device_put(work.variables()))
    run = workload.waited(jax.jit(partial(parse, model)), variables, normalize(images))
    return lambda: np.asarray(run())


def peers(work: Workload, images: np.ndarray) -> dict[str, Callable[[], Run]]:
    """Name -> maker of each other side; what is missing shows when it is made."""
    sides = {
        "PyTorch": partial(side_by_side.torch_side, "parse", work, images),
        "torch.compile": partial(side_by_side.torch_side, "parse", work, images, compiled=True),
    }
    if work.dtype == "float32" and not workload.on_accelerator():
        sides["onnxruntime"] = partial(side_by_side.torch_side, "parse_by_onnxruntime", work, images)
    return sides


def main() -> None:
    """Prints a table a batch size."""
    parser = workload.described(__doc__)
    parser.add_argument("--size", type=int, default=473, help="side of the pictures")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4], help="pictures at a time")
    workload.network_flags(parser)
    flags = parser.parse_args()
    for batch in flags.batch:
        work = Workload(flags.size, batch, flags.backbone, flags.width, flags.dtype)
        images, _ = work.faces()
        results = side_by_side.take_turns({OURS: partial(ours, work, images), **peers(work, images)}, flags.repeats)
        logits = results.first
        columns = {
            "pictures/s": {name: f"{batch / seconds:.3g}" for name, seconds in results.seconds.items()},
            "off ours by": {
                name: f"{side_by_side.relative_difference(logits[name], logits[OURS]):.1e}" for name in logits
            },
        }
        side_by_side.print_table(f"inference: {work}, on {jax.devices()[0].device_kind}", results, columns)


if __name__ == "__main__":
    main()
