"""Times evaluation and the recomputation of batch statistics against a plain loop of PyTorch and OpenCV.

    python -m benchmarks.evaluation [--size=473] [--images=4] [--batch=2] [--backbone=tiny --width=32] [--repeats=2]

Evaluation: decode PNG files of drawn faces, warp, parse, argmax, restore the label's size, accumulate one confusion
matrix, compute scores. Recomputation: decode, warp, average the batch statistics of forward passes. Images are drawn at
`--image-size` and warped to the network's input. The tables also show a result of both sides: the pixel accuracy, or a
mean.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import numpy as np

from benchmarks import peers, side_by_side, workload
from benchmarks.side_by_side import OURS, Run
from benchmarks.workload import Workload
from dmlcsr_jax.datasets import get_spec
from dmlcsr_jax.datasets.faces import draw_face
from dmlcsr_jax.datasets.images import encode_image, encode_label
from dmlcsr_jax.devices import AXIS, replicate
from dmlcsr_jax.evaluation import evaluator
from dmlcsr_jax.evaluation.steps import make_predict_step
from dmlcsr_jax.models import prepare_variables
from dmlcsr_jax.pipeline.input_pipeline import Examples, eval_batches
from dmlcsr_jax.training.self_regulation import recompute_batch_stats
from dmlcsr_jax.training.steps import make_statistics_step
from dmlcsr_jax.types import Preprocessing

SPEC = get_spec("synthetic")


def drawn_examples(count: int, size: int) -> list[Mapping[str, Any]]:
    """Encoded images and label maps of drawn faces."""
    faces = [draw_face(seed, size) for seed in range(count)]
    return [{"image": encode_image(image), "label": encode_label(label), "name": ""} for image, label in faces]


def evaluate(work: Workload, source: Examples) -> Run:
    """Our evaluation; the run returns the scores."""
    model = work.model()
    predict = make_predict_step(model, preprocessing=Preprocessing())
    variables = prepare_variables(model, jax.device_put(work.variables()))
    size = work.size, work.size
    return partial(evaluator.evaluate, predict, variables, source, SPEC, size=size, batch_size=work.batch)


def recompute_statistics(work: Workload, source: Examples) -> Run:
    """Our batch statistics, recomputed as at the end of a cycle; the run returns the first layer's mean."""
    model = work.model(axis_name=AXIS)
    step = make_statistics_step(model, preprocessing=Preprocessing())
    initial = replicate(work.variables())
    variables, batch_stats = prepare_variables(model, {"params": initial["params"]}), initial["batch_stats"]

    def run() -> np.ndarray:
        batches = (batch for batch, _ in eval_batches(source, size=(work.size, work.size), batch_size=work.batch))
        statistics = recompute_batch_stats(step, variables, batch_stats, batches)
        return np.asarray(statistics["context"]["conva_1"]["mean"])

    return run


def main() -> None:
    """Prints both tables."""
    parser = workload.argument_parser(__doc__)
    parser.add_argument("--size", type=int, default=473, help="height and width of the network's input")
    parser.add_argument("--image-size", type=int, default=512, help="height and width of the images")
    parser.add_argument("--images", type=int, default=4, help="number of images; a multiple of the batch")
    parser.add_argument("--batch", type=int, default=2, help="images per batch")
    workload.add_network_flags(parser)
    flags = parser.parse_args()
    if flags.images % flags.batch:
        parser.error(f"--images={flags.images} must be a multiple of --batch={flags.batch}")
    side_by_side.set_environment()
    work = Workload(flags.size, flags.batch, flags.backbone, flags.width, flags.dtype)
    source = drawn_examples(flags.images, flags.image_size)

    makers = {
        OURS: partial(evaluate, work, source),
        "PyTorch": partial(peers.torch_side, "evaluate", work, source, SPEC),
    }
    results = side_by_side.take_turns(makers, flags.repeats)
    accuracy = {name: f"{scores['pixel_accuracy']:.6f}" for name, scores in results.first.items()}
    columns = side_by_side.images_per_second(results, flags.images) | {"pixel accuracy": accuracy}
    side_by_side.print_table(f"evaluation: {work}", results, columns)

    makers = {
        OURS: partial(recompute_statistics, work, source),
        "PyTorch": partial(peers.torch_side, "recompute_statistics", work, source),
    }
    results = side_by_side.take_turns(makers, flags.repeats)
    first_mean = {name: f"{mean[0]:.6f}" for name, mean in results.first.items()}
    columns = side_by_side.images_per_second(results, flags.images) | {"first mean": first_mean}
    side_by_side.print_table(f"recomputed statistics: {work}", results, columns)


if __name__ == "__main__":
    main()
