"""Times evaluation end to end, and the re-estimation of batch statistics, against a plain loop of PyTorch and OpenCV.

    python -m benchmarks.evaluation [--size=473] [--pictures=4] [--batch=2] [--backbone=tiny --width=32] [--repeats=2]

Evaluation: decode PNG files of drawn faces, warp, parse, argmax, lay back at the label's size, one confusion
matrix, scores. Re-estimation: decode, warp, forward passes whose batch statistics are averaged. Pictures are
drawn with `--picture-size` and shrunk to the network's input. The scores of both sides, or a mean, are shown.
"""

from functools import partial
from typing import Any

import jax
import numpy as np

from benchmarks import side_by_side, workload
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


def drawn_examples(count: int, size: int) -> list[dict[str, Any]]:
    """Encoded pictures and label maps of drawn faces."""
    faces = [draw_face(seed, size) for seed in range(count)]
    return [{"image": encode_image(image), "label": encode_label(label), "name": ""} for image, label in faces]


def evaluate(work: Workload, source: Examples) -> Run:
    """Our evaluation; returns the scores."""
    model = work.model()
    predict = make_predict_step(model, Preprocessing())
    variables = prepare_variables(model, jax.device_put(work.variables()))
    size = work.size, work.size
    return partial(evaluator.evaluate, predict, variables, source, SPEC, size=size, batch_size=work.batch)


def reestimate(work: Workload, source: Examples) -> Run:
    """Our batch statistics, estimated as at the end of a cycle; returns the first mean."""
    model = work.model(axis_name=AXIS)
    step = make_statistics_step(model, Preprocessing())
    drawn = replicate(work.variables())
    variables, batch_stats = prepare_variables(model, {"params": drawn["params"]}), drawn["batch_stats"]

    def run() -> np.ndarray:
        batches = (batch for batch, _ in eval_batches(source, size=(work.size, work.size), batch_size=work.batch))
        statistics = recompute_batch_stats(step, variables, batch_stats, batches)
        return np.asarray(statistics["encoder"]["bn1"]["mean"])

    return run


def main() -> None:
    """Prints both tables."""
    parser = workload.described(__doc__)
    parser.add_argument("--size", type=int, default=473, help="side of the network's input")
    parser.add_argument("--picture-size", type=int, default=512, help="side of the pictures")
    parser.add_argument("--pictures", type=int, default=4, help="how many; a multiple of the batch")
    parser.add_argument("--batch", type=int, default=2, help="pictures at a time")
    workload.network_flags(parser)
    flags = parser.parse_args()
    if flags.pictures % flags.batch:
        parser.error(f"--pictures={flags.pictures} is no multiple of --batch={flags.batch}")
    work = Workload(flags.size, flags.batch, flags.backbone, flags.width, flags.dtype)
    source = drawn_examples(flags.pictures, flags.picture_size)

    makers = {
        OURS: partial(evaluate, work, source),
        "PyTorch": partial(side_by_side.torch_side, "evaluate", work, source, SPEC),
    }
    results = side_by_side.take_turns(makers, flags.repeats)
    found = {"pixel accuracy": {name: f"{result['pixel_accuracy']:.6f}" for name, result in results.first.items()}}
    print_pictures_per_second(f"evaluation: {work}", results, flags.pictures, found)

    makers = {
        OURS: partial(reestimate, work, source),
        "PyTorch": partial(side_by_side.torch_side, "reestimate", work, source),
    }
    results = side_by_side.take_turns(makers, flags.repeats)
    found = {"first mean": {name: f"{mean[0]:.6f}" for name, mean in results.first.items()}}
    print_pictures_per_second(f"statistics re-estimated: {work}", results, flags.pictures, found)


def print_pictures_per_second(title: str, results: side_by_side.Results, pictures: int, columns: dict) -> None:
    """Prints a table that has that column too."""
    rate = {name: f"{pictures / seconds:.3g}" for name, seconds in results.seconds.items()}
    side_by_side.print_table(title, results, {"pictures/s": rate} | columns)


if __name__ == "__main__":
    main()
