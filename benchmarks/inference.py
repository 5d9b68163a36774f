"""Times the parsing branch against PyTorch, torch.compile, onnxruntime and OpenVINO, with the same weights and images.

    python -m benchmarks.inference [--repeats=5]
    python -m benchmarks.inference --backbone=tiny --width=32 --size 128 256 [--batch 1 4] [--dtype=bfloat16]

Without --size: ResNet-101 at 473² and the tiny network of width 32 at 128² and 256². Without --dtype: float32 and
bfloat16. The result is the logits at stride 4 of drawn faces; the weights are random. All sides run in turns, each in
its own process with one thread per core. Work that is needed once per set of weights is done before the timing. PyTorch
uses channels-last and torch.compile frozen weights; onnxruntime and OpenVINO run on the CPU, onnxruntime in float32
alone. They run the network twice: as PyTorch exports it, and as this package does for the engines of `FaceParser`.

The tables show medians in milliseconds, and how far the logits are from ours in JAX in the first dtype, relative to the
largest. "auto" is the fastest of our engines, which `FaceParser` picks; below the table it is compared with the fastest
peer, and stands what `FaceParser` does around the network for an image of 512². Peers that are not installed
(`pip install '.[bench]'`) are skipped.
"""

import importlib.util
import itertools
import statistics
from collections.abc import Callable, Mapping
from functools import partial

import jax
import numpy as np
from rich.table import Table

from benchmarks import peers, side_by_side, workload
from benchmarks.side_by_side import OURS, Results, Run, console
from benchmarks.workload import Workload
from dmlcsr_jax.checkpoints import CheckpointMetadata
from dmlcsr_jax.datasets import get_spec
from dmlcsr_jax.datasets.faces import draw_face
from dmlcsr_jax.inference import FaceParser
from dmlcsr_jax.models import parse, prepare_variables
from dmlcsr_jax.ops.normalize import normalize
from dmlcsr_jax.types import Preprocessing

NETWORKS = (("resnet101", 64, 473), ("tiny", 32, 128), ("tiny", 32, 256))  # backbone, width, size
DTYPES = ("float32", "bfloat16")
ENGINES = {"onnxruntime": "onnxruntime", "OpenVINO": "openvino"}  # title -> package
PHOTO = 512  # height and width of the image that `FaceParser` gets


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


def fastest(seconds: Mapping[str, float], *, own: bool) -> str | None:
    """The fastest of our engines, which "auto" takes, or of the peers; None without any."""
    return min((name for name in seconds if name.startswith(OURS) == own), key=seconds.__getitem__, default=None)


def compare_fastest(seconds: Mapping[str, float]) -> str:
    """One line: "auto" against the fastest peer."""
    us, peer = fastest(seconds, own=True), fastest(seconds, own=False)
    if us is None or peer is None:
        return ""
    return f"auto is {_title(us)}; the fastest peer, {peer}, takes {seconds[peer] / seconds[us]:.2f} times as long"


def result_table(title: str, results: Mapping[str, Results]) -> Table:
    """Rows of sides, ours first; for each dtype the milliseconds and the difference from our first logits."""
    table = Table("", title=title)
    for dtype in results:
        table.add_column(f"{dtype} ms", justify="right")
        table.add_column("difference", justify="right")
    reference = next(iter(results.values())).first[OURS]
    names = dict.fromkeys(name for each in results.values() for name in (*each.seconds, *each.absent))
    for name in sorted(names, key=lambda name: not name.startswith(OURS)):
        table.add_row(_title(name), *itertools.chain(*(_cells(name, each, reference) for each in results.values())))
    best = [each.seconds[fastest(each.seconds, own=True) or OURS] for each in results.values()]
    table.add_section()
    table.add_row(f"{OURS}, auto", *itertools.chain(*((f"{1000 * seconds:.4g}", "") for seconds in best)))
    return table


def _cells(name: str, results: Results, reference: np.ndarray) -> tuple[str, str]:
    if name not in results.seconds:
        return results.absent.get(name, "-"), ""
    difference = side_by_side.relative_difference(results.first[name], reference)
    return f"{1000 * results.seconds[name]:.4g}", f"{difference:.1e}"


def _title(name: str) -> str:
    return f"{OURS}, JAX" if name == OURS else name


class Instant:
    """An engine that has its answer ready: what is left of a `FaceParser` is its own work."""

    name, precision = "none", "float32"

    def __init__(self, labels: np.ndarray):
        self._labels = labels[None]

    def labels(self, images: np.ndarray) -> np.ndarray:
        """The same [1, H, W] uint8 for every image."""
        del images
        return self._labels

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """None of them."""
        raise NotImplementedError


def seconds_around(size: int, repeats: int = 50) -> float:
    """What `FaceParser` takes before and after a network of this input size, for one image that is a face; a median."""
    metadata = CheckpointMetadata(get_spec("celebamask_hq"), {}, (size, size), Preprocessing())
    parser = FaceParser(None, metadata, faces="whole", engine=Instant(draw_face(0, size)[1]))
    photo, _ = draw_face(0, PHOTO)
    parser(photo)
    return statistics.median(side_by_side.timed(partial(parser, photo)) for _ in range(repeats))


def measure(backbone: str, width: int, size: int, batch: int, *, dtypes: tuple[str, ...], repeats: int) -> None:
    """Prints the table of one network, size and batch size."""
    works = {dtype: Workload(size, batch, backbone, width, dtype) for dtype in dtypes}
    images, _ = works[dtypes[0]].faces()
    results = {dtype: side_by_side.take_turns(makers(work, images), repeats) for dtype, work in works.items()}
    console.print(result_table(f"{backbone}, width {width}, {size}², batch {batch}", results))
    for dtype, each in results.items():
        console.print(f"{dtype}: {compare_fastest(each.seconds)}")
    console.print(f"FaceParser around the network, one image of {PHOTO}²: {1000 * seconds_around(size):.2f} ms\n")


def main() -> None:
    """Prints one table per network, size and batch size."""
    parser = workload.argument_parser(__doc__)
    parser.add_argument("--size", type=int, nargs="+", help="height and width of the images")
    parser.add_argument("--batch", type=int, nargs="+", default=[1], help="images per batch")
    workload.add_network_flags(parser)
    parser.set_defaults(dtype=None, repeats=5)
    flags = parser.parse_args()
    side_by_side.set_environment()
    console.print(f"inference on {workload.processor_name()}")
    networks = [(flags.backbone, flags.width, size) for size in flags.size] if flags.size else NETWORKS
    dtypes = (flags.dtype,) if flags.dtype else DTYPES
    for network, batch in itertools.product(networks, flags.batch):
        measure(*network, batch, dtypes=dtypes, repeats=flags.repeats)


if __name__ == "__main__":
    main()
