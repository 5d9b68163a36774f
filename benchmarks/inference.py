"""Times the parsing branch against PyTorch, torch.compile, onnxruntime and OpenVINO, with the same weights and images.

    python -m benchmarks.inference [--size 473] [--batch 1 4] [--dtype=bfloat16] [--repeats=3]
    python -m benchmarks.inference --backbone=tiny --width=32 --size 128 256 --batch 1 --repeats=15

The result is the logits at stride 4 of drawn faces; the weights are random. All sides run in turns, each in its own
process with one thread per core. Work that is needed once per set of weights is done before the timing. PyTorch uses
channels-last and torch.compile frozen weights; onnxruntime and OpenVINO run on the CPU, onnxruntime in float32 alone.
They run the network twice: as PyTorch exports it, and as this package does for the engines of `FaceParser`. The table
shows medians, ratios to ours in JAX, and how far the logits are from those, relative to the largest; below it is the
fastest of our engines against the fastest peer. Peers that are not installed (`pip install '.[bench]'`) are skipped.
"""

import importlib.util
import itertools
from collections.abc import Callable, Mapping
from functools import partial

import jax
import numpy as np

from benchmarks import peers, side_by_side, workload
from benchmarks.side_by_side import OURS, Run
from benchmarks.workload import Workload
from dmlcsr_jax.models import parse, prepare_variables
from dmlcsr_jax.ops.normalize import normalize

ENGINES = {"onnxruntime": "onnxruntime", "OpenVINO": "openvino"}  # title -> package


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
    if workload.on_accelerator():
        return sides
    for title, package in ENGINES.items():
        if title == "onnxruntime" and work.dtype != "float32":
            continue
        sides[title] = partial(peers.torch_side, f"parse_by_{package}", work, images)
        if not any(importlib.util.find_spec(needed) is None for needed in (package, "onnx")):
            sides[f"{OURS}, {title}"] = partial(peers.graph_side, f"parse_by_{package}", work, images)
    return sides


def compare_fastest(seconds: Mapping[str, float]) -> str:
    """The fastest of our engines, which "auto" takes, against the fastest peer."""
    ours, theirs = (
        {name: time for name, time in seconds.items() if name.startswith(OURS) == own} for own in (True, False)
    )
    if not theirs:
        return ""
    (us, our_time), (peer, their_time) = (min(each.items(), key=lambda item: item[1]) for each in (ours, theirs))
    return f"fastest engine: {us}; the fastest peer, {peer}, takes {their_time / our_time:.2f} times as long"


def main() -> None:
    """Prints one table per size and batch size."""
    parser = workload.argument_parser(__doc__)
    parser.add_argument("--size", type=int, nargs="+", default=[473], help="height and width of the images")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4], help="images per batch")
    workload.add_network_flags(parser)
    flags = parser.parse_args()
    side_by_side.set_environment()
    for size, batch in itertools.product(flags.size, flags.batch):
        work = Workload(size, batch, flags.backbone, flags.width, flags.dtype)
        images, _ = work.faces()
        results = side_by_side.take_turns(makers(work, images), flags.repeats)
        logits = results.first
        difference = {name: side_by_side.relative_difference(logits[name], logits[OURS]) for name in logits}
        columns = side_by_side.images_per_second(results, batch)
        columns["difference from ours"] = {name: f"{value:.1e}" for name, value in difference.items()}
        side_by_side.print_table(f"inference: {work}, on {jax.devices()[0].device_kind}", results, columns)
        side_by_side.console.print(compare_fastest(results.seconds))


if __name__ == "__main__":
    main()
