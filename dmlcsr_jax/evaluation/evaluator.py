"""A split of a data set -> scores.

The published protocol (its evaluate.py), `original_size`: logits up to the network's input size, argmax, nearest
inverse warp to the size of the label, ignored pixels left out, one confusion matrix over all pictures. Others are in
`protocols.py`.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
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
Observe = Callable[[int, np.ndarray, np.ndarray], None]


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
    observe: Observe | None = None,
) -> dict[str, Any]:
    """The scores (see `confusion.scores`) of a source, over all hosts.

    Arguments as `predictions`; `spec` has the classes, and `original_size` is explained at `Protocol`.

    `observe` is called with each of this host's examples in turn: its index, the prediction at the network's size, and
    the confusion matrix of this picture alone.
    """

    def count(found: tuple[int, np.ndarray]) -> tuple[int, np.ndarray, np.ndarray]:
        index, prediction = found
        label = decode_label(source[index]["label"])
        parsed = prediction
        if original_size:
            prediction = restore_labels(prediction, label.shape[1], label.shape[0])
        else:
            label = fit_labels(label, size)
        return index, parsed, confusion_matrix(label, prediction, spec.num_classes, spec.ignore_id)

    confusion = np.zeros((spec.num_classes, spec.num_classes), np.int64)
    found = predictions(predict, variables, source, size=size, batch_size=batch_size)
    total = -(-len(source) // jax.process_count())
    with progress_bar("evaluating", transient=True) as progress:
        task = progress.add_task("", total=total, text="")
        for index, prediction, counted in parallel_map(count, found):
            confusion += counted
            if observe:
                observe(index, prediction, counted)
            progress.advance(task)
    return scores(_sum_over_hosts(confusion), spec)


def _sum_over_hosts(confusion: np.ndarray) -> np.ndarray:
    if jax.process_count() == 1:
        return confusion
    # Two 32-bit halves: without 64-bit mode JAX would cut int64 counts.
    halves = np.stack([confusion >> 31, confusion & (2**31 - 1)]).astype(np.int32)
    high, low = np.asarray(multihost_utils.process_allgather(halves)).astype(np.int64).sum(axis=0)
    return (high << 31) + low


def score_table(results: Mapping[str, dict[str, Any]], title: str) -> Table:
    """Scores as the papers print them: F1 in percent by class, then the merged classes and the means.

    Args:
      results: what stands above a column ("student", "teacher") -> its scores.
      title: of the table.
    """
    table = Table(title=title)
    table.add_column("F1 %")
    for name in results:
        table.add_column(name, justify="right")

    def row(name: str, *path: str, **style: Any) -> None:
        values = [functools.reduce(lambda scores, key: scores[key], path, result) for result in results.values()]
        table.add_row(name, *("–" if value is None else f"{100 * value:.2f}" for value in values), **style)

    first = next(iter(results.values()))
    for group in ("f1", "merged_f1"):
        for name in first[group]:
            row(name, group, name)
        if first[group]:
            table.add_section()
    row("mean F1 (foreground)", "mean_f1", style="bold")
    row("mean IoU (all)", "miou")
    row("pixel accuracy", "pixel_accuracy")
    row("mean accuracy", "mean_accuracy")
    return table
