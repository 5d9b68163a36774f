"""Times Lovász-softmax, forward and backward, in every way of ranking and against PyTorch class by class.

    python -m benchmarks.lovasz [--size=473] [--batch=2] [--repeats=5]

The probabilities of 19 classes are random, most of them close to the labels of drawn faces. Ours runs as in training on
this device, and in each of the three ways: "counted" (as on a CPU), "keyed" (one sort of integers, as on a GPU or TPU)
and "sorted" (exact). PyTorch sorts. "gradient off" is the largest difference from the
gradient of PyTorch, relative to the largest value; "cosine" is the cosine of the angle between the two gradients.
"""

from functools import partial
from unittest import mock

import jax
import numpy as np

from benchmarks import peers, side_by_side, workload
from benchmarks.side_by_side import OURS, Run
from benchmarks.workload import NUM_CLASSES, Workload
from dmlcsr_jax.losses import jaccard_steps, lovasz

WAYS = ("counted", "keyed", "sorted")


def random_probabilities(labels: np.ndarray) -> np.ndarray:
    """[B, S, S, 19] float32 for labels [B, S, S], like those of a network early in training."""
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (*labels.shape, NUM_CLASSES)).astype(np.float32)
    logits += 4 * np.eye(NUM_CLASSES, dtype=np.float32)[labels]
    return np.asarray(jax.nn.softmax(logits))


def ours(probabilities: np.ndarray, labels: np.ndarray, *, way: str = "") -> Run:
    """Loss and gradient by this package, in one of `WAYS`, or "" for the device's own."""
    function = jax.jit(jax.value_and_grad(lovasz.lovasz_softmax))
    arguments = jax.device_put((probabilities, labels.astype(np.int32)))
    steps = getattr(jaccard_steps, f"{way}_steps") if way else lovasz._jaccard_steps
    with mock.patch.object(lovasz, "_jaccard_steps", steps):
        return workload.blocking(function.lower(*arguments).compile(), *arguments)


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    """Cosine of the angle between two arrays, computed in float64."""
    one, other = (np.asarray(array, np.float64).ravel() for array in (one, other))
    return float(one @ other / np.sqrt((one @ one) * (other @ other)))


def main() -> None:
    """Prints the table."""
    parser = workload.argument_parser(__doc__)
    parser.add_argument("--size", type=int, default=473, help="height and width of the label maps")
    parser.add_argument("--batch", type=int, default=2, help="label maps per batch")
    parser.add_argument("--repeats", type=int, default=5, help="timed runs per side")
    flags = parser.parse_args()
    side_by_side.set_environment()
    _, labels = Workload(flags.size, flags.batch, "tiny", 8, "float32").faces()
    arguments = random_probabilities(labels), labels
    makers = {
        OURS: partial(ours, *arguments),
        **{f"{OURS}, {way}": partial(ours, *arguments, way=way) for way in WAYS},
        "PyTorch": partial(peers.torch_side, "lovasz_softmax", *arguments),
    }
    results = side_by_side.take_turns(makers, flags.repeats)
    found = jax.tree.map(np.asarray, results.first)
    columns = {"loss": {name: f"{loss:.8f}" for name, (loss, _) in found.items()}}
    if "PyTorch" in found:
        reference = found["PyTorch"][1]
        off = {name: side_by_side.relative_difference(gradient, reference) for name, (_, gradient) in found.items()}
        columns["gradient off"] = {name: f"{value:.1e}" for name, value in off.items()}
        columns["cosine"] = {name: f"{cosine(gradient, reference):.8f}" for name, (_, gradient) in found.items()}
    device = jax.devices()[0].device_kind
    title = f"Lovász-softmax and its gradient, {flags.batch} x {flags.size}² x {NUM_CLASSES}, float32, on {device}"
    side_by_side.print_table(title, results, columns)


if __name__ == "__main__":
    main()
