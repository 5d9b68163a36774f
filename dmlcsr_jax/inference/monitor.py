"""What a training run shows of itself: scores of student and teacher, and a picture."""

import pathlib

import jax
import numpy as np
from ml_collections import ConfigDict

from dmlcsr_jax.console import console
from dmlcsr_jax.datasets.prepared import Dataset
from dmlcsr_jax.evaluation import evaluator
from dmlcsr_jax.evaluation.confusion import headline
from dmlcsr_jax.evaluation.protocols import get_protocol
from dmlcsr_jax.inference import visualize
from dmlcsr_jax.inference.sheet import write_picture
from dmlcsr_jax.pipeline.input_pipeline import eval_batches
from dmlcsr_jax.training import checkpoints, loop
from dmlcsr_jax.training.logs import RunLog
from dmlcsr_jax.training.state import TrainState, create_model
from dmlcsr_jax.training.steps import make_inspect_step, make_predict_step

NUM_EXAMPLES = 8  # in the picture


def create_evaluate(
    config: ConfigDict, dataset: Dataset, card: checkpoints.Card, workdir: pathlib.Path
) -> loop.Evaluate:
    """What the loop calls to score a state: student and, once there is one, teacher, side by side.

    Prints the table, logs scores and a picture, and returns the score that the data set is judged by
    (`FaceSpec.headline`), the teacher's where there is one.
    """
    split = config.evaluation.split
    source = dataset.source(split)
    model = create_model(dataset.spec.num_classes, config.model)
    protocol = get_protocol(config.evaluation.protocol)
    predict = make_predict_step(model, card.convention, flip_table=dataset.spec.flip_table() if protocol.flip else None)
    inspect = make_inspect_step(model, card.convention)
    shown, _ = next(iter(eval_batches(source, size=card.size, batch_size=min(NUM_EXAMPLES, len(source)))))

    def evaluate(state: TrainState, log: RunLog, step: int) -> float:
        networks = {"student": state.variables} | ({"teacher": state.teacher} if state.teacher else {})
        results = {
            name: evaluator.evaluate(
                predict,
                variables,
                source,
                dataset.spec,
                size=card.size,
                batch_size=config.evaluation.batch_size,
                original_size=protocol.original_size,
            )
            for name, variables in networks.items()
        }
        console.print(f"scored {protocol.text} ({config.evaluation.protocol})")
        console.print(evaluator.score_table(results, f"{split} after step {step}"))
        log.scalars(step, _curves(results, split))
        if log.active:
            variables = jax.tree.map(lambda leaf: leaf.addressable_data(0), networks[name := list(networks)[-1]])
            labels, edges = map(np.asarray, inspect(variables, shown.images))
            picture = visualize.panel(shown.images, shown.labels, labels, edges, dataset.spec)
            log.picture(step, f"{split}/{name}: input, label, prediction, edge", picture)
            write_picture(workdir / "examples.png", picture)
        return headline(list(results.values())[-1], dataset.spec)

    return evaluate


def _curves(results: dict[str, dict], split: str) -> dict[str, float]:
    """Flat names of scores: `val/mean_f1`, `val_f1/hair`; a teacher's begin with `val_teacher`."""
    curves = {}
    for name, result in results.items():
        prefix = split if name == "student" else f"{split}_{name}"
        curves |= {f"{prefix}/{key}": value for key, value in result.items() if not isinstance(value, dict)}
        curves |= {f"{prefix}_f1/{key}": value for key, value in (result["f1"] | result["merged_f1"]).items()}
    return {name: value for name, value in curves.items() if value is not None}
