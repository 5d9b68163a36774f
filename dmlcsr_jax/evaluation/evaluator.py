"""A split of a data set -> scores.

The published protocol (its evaluate.py), `original_size`: logits up to the network's input size, argmax, nearest
inverse warp to the size of the label, ignored pixels left out, one confusion matrix over all pictures. Others are in
`protocols.py`.
"""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from rich.table import Table

from dmlcsr_jax.datasets.images import decode_label
from dmlcsr_jax.datasets.parallel import parallel_map
from dmlcsr_jax.datasets.spec import FaceSpec
from dmlcsr_jax.evaluation.confusion import confusion_matrix, scores
from dmlcsr_jax.pipeline.geometry import restore_labels
from dmlcsr_jax.pipeline.input_pipeline import eval_batches
from dmlcsr_jax.pipeline.transforms import fit_labels
from dmlcsr_jax.training.logs import progress_bar
from dmlcsr_jax.training.steps import local_rows, shard

Predict = Callable[[Any, Any], jax.Array]


def predictions(
    predict: Predict, variables: Any, source: Any, *, size: tuple[int, int], batch_size: int
) -> Iterator[tuple[int, np.ndarray]]:
    """This host's examples one after the other.

    Args:
      predict: from `make_predict_step`.
      variables: `params` and `batch_stats`.
      source: undecoded examples, `len` and `[index]`.
      size: (height, width) of the network's input.
      batch_size: pictures a batch on this host; rounded up to a multiple of its devices.

    Yields:
      The example's index in `source`, and its [height, width] uint8 class numbers at the network's size.
    """
    devices = jax.local_device_count()
    batch_size = -(-batch_size // devices) * devices
    for batch, indices in eval_batches(source, size=size, batch_size=batch_size):
        labels = local_rows(predict(variables, shard(batch.images)))
        for index, label, counts in zip(indices, labels, batch.mask, strict=True):
            if counts:
                yield int(index), label


def evaluate(
    predict: Predict,
    variables: Any,
    source: Any,
    spec: FaceSpec,
    *,
    size: tuple[int, int],
    batch_size: int,
    original_size: bool = True,
) -> dict[str, Any]:
    """The scores (see `confusion.scores`) of a source, over all hosts.

    Arguments as `predictions`; `spec` has the classes, and `original_size` is explained at `Protocol`.
    """

    def count(found: tuple[int, np.ndarray]) -> np.ndarray:
        index, prediction = found
        label = decode_label(source[index]["label"])
        if original_size:
            prediction = restore_labels(prediction, label.shape[1], label.shape[0])
        else:
            label = fit_labels(label, size)
        return confusion_matrix(label, prediction, spec.num_classes, spec.ignore_id)

    confusion = np.zeros((spec.num_classes, spec.num_classes), np.int64)
    found = predictions(predict, variables, source, size=size, batch_size=batch_size)
    total = -(-len(source) // jax.process_count())
    with progress_bar("evaluating", transient=True) as progress:
        task = progress.add_task("", total=total, text="")
        for counted in parallel_map(count, found):
            confusion += counted
            progress.advance(task)
    return scores(_sum_over_hosts(confusion), spec)


def _sum_over_hosts(confusion: np.ndarray) -> np.ndarray:
    if jax.process_count() == 1:
        return confusion
    # Two 32-bit halves: without 64-bit mode JAX would cut int64 counts.
    halves = np.stack([confusion >> 31, confusion & (2**31 - 1)]).astype(np.int32)
    high, low = np.asarray(multihost_utils.process_allgather(halves)).astype(np.int64).sum(axis=0)
    return (high << 31) + low


def score_table(result: dict[str, Any], title: str) -> Table:
    """Scores as the papers print them: F1 in percent by class, then the merged classes and the means."""
    table = Table(title=title)
    table.add_column("class")
    table.add_column("F1 %", justify="right")

    def row(name: str, value: float | None, **style: Any) -> None:
        table.add_row(name, "–" if value is None else f"{100 * value:.2f}", **style)

    for name, value in result["f1"].items():
        row(name, value)
    table.add_section()
    for name, value in result["merged_f1"].items():
        row(name, value)
    if result["merged_f1"]:
        table.add_section()
    row("mean F1 (foreground)", result["mean_f1"], style="bold")
    row("mean IoU (all)", result["miou"])
    row("pixel accuracy", result["pixel_accuracy"])
    row("mean accuracy", result["mean_accuracy"])
    return table
