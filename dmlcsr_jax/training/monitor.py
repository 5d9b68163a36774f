"""What a training run shows of itself: scores of student and teacher, and an image of examples."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from dmlcsr_jax.console import console, print_plain
from dmlcsr_jax.drawing.images import write_image
from dmlcsr_jax.drawing.overlay import panel
from dmlcsr_jax.evaluation.confusion import headline
from dmlcsr_jax.evaluation.evaluator import Evaluator, Scores, score_table
from dmlcsr_jax.paths import Path
from dmlcsr_jax.pipeline.input_pipeline import eval_batches
from dmlcsr_jax.training.logs import RunLog
from dmlcsr_jax.training.loop import Evaluate
from dmlcsr_jax.training.state import TrainState
from dmlcsr_jax.training.steps import make_inspect_step
from dmlcsr_jax.types import PyTree

NUM_EXAMPLES = 8  # in the image


def create_evaluate(evaluator: Evaluator, split: str, workdir: Path) -> Evaluate:
    """What the loop calls to score a state: student and, once there is one, teacher, side by side.

    Prints the table, logs scores and an image, and returns the score that the data set is judged by
    (`FaceSpec.headline`), the teacher's if there is one.
    """
    spec, source = evaluator.spec, evaluator.source
    inspect = make_inspect_step(evaluator.model, preprocessing=evaluator.preprocessing)
    batch, _ = next(iter(eval_batches(source, size=evaluator.size, batch_size=min(NUM_EXAMPLES, len(source)))))
    images, truth = np.asarray(batch.images), np.asarray(batch.labels)

    def evaluate(state: TrainState, log: RunLog, step: int) -> float:
        networks = {"student": state.variables}
        results = {"student": evaluator(state.variables)}
        if state.teacher:
            networks["teacher"] = state.teacher
            results["teacher"] = results["student"] if _equal(*networks.values()) else evaluator(state.teacher)
        print_plain(f"scored {evaluator} ({evaluator.protocol})")
        console.print(score_table(results, f"{split} after step {step}"))
        log.scalars(step, _curves(results, split))
        if log.active:
            name = list(networks)[-1]
            variables = jax.tree.map(lambda leaf: leaf.addressable_data(0), networks[name])
            labels, edges = map(np.asarray, inspect(variables, images))
            image = panel(images, labels=truth, predictions=labels, edges=edges, spec=spec)
            log.image(step, f"{split}/{name}: input, label, prediction, edge", image)
            write_image(workdir / "examples.png", image)
        return headline(list(results.values())[-1], spec)

    return evaluate


def _equal(tree: PyTree, other: PyTree) -> bool:
    """Whether two trees of arrays hold the same values, as student and teacher do after a restart."""
    return bool(jax.tree.reduce(jnp.logical_and, jax.tree.map(jnp.array_equal, tree, other)))


def _curves(results: Mapping[str, Scores], split: str) -> dict[str, float]:
    """Flat names of scores: `val/mean_f1`, `val_f1/hair`; a teacher's begin with `val_teacher`."""
    curves = {}
    for name, result in results.items():
        prefix = split if name == "student" else f"{split}_{name}"
        curves |= {f"{prefix}/{key}": value for key, value in result.items() if not isinstance(value, dict)}
        curves |= {f"{prefix}_f1/{key}": value for key, value in (result["f1"] | result["merged_f1"]).items()}
    return {name: value for name, value in curves.items() if value is not None}
