"""Scores a split of a data set.

The published protocol (its evaluate.py), `original_size`: logits resized to the network's input size, argmax, nearest
inverse warp to the size of the label, ignored pixels left out, one confusion matrix over all images. Others are in
`protocols.py`.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from rich.table import Table

from dmlcsr_jax.console import progress_bar
from dmlcsr_jax.datasets.images import decode_label
from dmlcsr_jax.datasets.parallel import parallel_map
from dmlcsr_jax.datasets.spec import FaceSpec
from dmlcsr_jax.devices import local_rows, replicate, shard
from dmlcsr_jax.evaluation.confusion import confusion_matrix, scores
from dmlcsr_jax.evaluation.protocols import PROTOCOLS
from dmlcsr_jax.evaluation.steps import PredictStep, make_predict_step
from dmlcsr_jax.models import DMLCSR, TestTimeAugmentation, prepare_variables
from dmlcsr_jax.pipeline.geometry import restore_labels
from dmlcsr_jax.pipeline.input_pipeline import Examples, eval_batches
from dmlcsr_jax.pipeline.transforms import fit_labels
from dmlcsr_jax.types import Preprocessing, Variables

# (index, [h, w] uint8 prediction at the network's size, [C, C] confusion matrix of this image alone)
Observe = Callable[[int, np.ndarray, np.ndarray], None]
Scores = dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluator:
    """Scores networks on one split: `evaluator(variables)` -> what `confusion.scores` returns, over all hosts.

    Attributes:
      model: the network.
      preprocessing: how images enter it.
      source: the undecoded examples of the split.
      spec: the classes.
      size: (height, width) of the network's input.
      batch_size: images per batch on this host; rounded up to a multiple of its devices.
      protocol: a name of `PROTOCOLS`.
      augmentation: views to average besides those of the protocol.
    """

    model: DMLCSR
    preprocessing: Preprocessing
    source: Examples
    spec: FaceSpec
    size: tuple[int, int]
    batch_size: int
    protocol: str = "original_size"
    augmentation: TestTimeAugmentation = TestTimeAugmentation()

    @functools.cached_property
    def _predict(self) -> PredictStep:
        return make_predict_step(
            self.model,
            preprocessing=self.preprocessing,
            augmentation=self.views,
            flip_table=self.spec.flip_table() if self.views.flip else None,
        )

    @property
    def views(self) -> TestTimeAugmentation:
        """The views that are averaged, those of the protocol included."""
        flip = self.augmentation.flip or PROTOCOLS[self.protocol].flip
        return dataclasses.replace(self.augmentation, flip=flip)

    def __call__(self, variables: Variables, observe: Observe | None = None) -> Scores:
        """Scores `params` and `batch_stats`; `observe` is called with each of this host's examples in turn."""
        return evaluate(
            self._predict,
            replicate(prepare_variables(self.model, variables)),
            self.source,
            self.spec,
            size=self.size,
            batch_size=self.batch_size,
            original_size=PROTOCOLS[self.protocol].original_size,
            observe=observe,
        )

    def __str__(self) -> str:
        protocol, views = PROTOCOLS[self.protocol], self.augmentation
        views = dataclasses.replace(views, flip=views.flip and not protocol.flip)  # its text says so already
        return ", averaged over: ".join(filter(None, (protocol.text, str(views))))


def predictions(
    predict: PredictStep, variables: Variables, source: Examples, *, size: tuple[int, int], batch_size: int
) -> Iterator[tuple[int, np.ndarray]]:
    """This host's examples one after the other.

    Args:
      predict: from `make_predict_step`.
      variables: `params` and `batch_stats`, on all devices.
      source: undecoded examples.
      size: (height, width) of the network's input.
      batch_size: images per batch on this host; rounded up to a multiple of its devices.

    Yields:
      The example's index in `source`, and its [height, width] uint8 class numbers at the network's size.
    """
    devices = jax.local_device_count()
    batch_size = -(-batch_size // devices) * devices
    batches = eval_batches(source, size=size, batch_size=batch_size, labels=False)
    computed = ((predict(variables, shard(batch.images)), batch.mask, indices) for batch, indices in batches)
    this, following = itertools.tee(computed)
    next(following, None)  # so that the next batch runs while one is fetched
    for (labels, mask, indices), _ in itertools.zip_longest(this, following):
        for index, label, counts in zip(indices, local_rows(labels), mask, strict=True):
            if counts:
                yield int(index), label


def evaluate(
    predict: PredictStep,
    variables: Variables,
    source: Examples,
    spec: FaceSpec,
    *,
    size: tuple[int, int],
    batch_size: int,
    original_size: bool = True,
    observe: Observe | None = None,
) -> Scores:
    """The scores (see `confusion.scores`) of a source, over all hosts.

    Args:
      predict: as for `predictions`, like all arguments that are not listed here.
      variables: likewise.
      source: likewise.
      spec: the classes.
      size: as for `predictions`.
      batch_size: likewise.
      original_size: where predictions are compared, see `Protocol`.
      observe: called with each of this host's examples in turn.
    """

    def count(predicted: tuple[int, np.ndarray]) -> tuple[int, np.ndarray, np.ndarray]:
        index, prediction = predicted
        label = decode_label(source[index]["label"])
        if original_size:
            compared = restore_labels(prediction, label.shape[1], label.shape[0])
        else:
            compared, label = prediction, fit_labels(label, size)
        return index, prediction, confusion_matrix(label, compared, spec.num_classes, spec.ignore_id)

    confusion = np.zeros((spec.num_classes, spec.num_classes), np.int64)
    predicted = predictions(predict, variables, source, size=size, batch_size=batch_size)
    total = -(-len(source) // jax.process_count())
    with progress_bar("evaluating", transient=True) as progress:
        task = progress.add_task("", total=total, text="")
        for index, prediction, counted in parallel_map(count, predicted):
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


def score_table(results: Mapping[str, Scores], title: str) -> Table:
    """Scores as the papers print them: F1 in percent by class, then the merged classes and the means.

    Args:
      results: name of a column ("student", "teacher") -> its scores.
      title: of the table.
    """
    table = Table(title=title)
    table.add_column("F1 %")
    for name in results:
        table.add_column(name, justify="right")

    def row(name: str, read: Callable[[Scores], float | None], style: str | None = None) -> None:
        values = map(read, results.values())
        table.add_row(name, *("–" if value is None else f"{100 * value:.2f}" for value in values), style=style)

    first = next(iter(results.values()))
    for group in ("f1", "merged_f1"):
        for name in first[group]:
            row(name, lambda result, group=group, name=name: result[group][name])
        if first[group]:
            table.add_section()
    row("mean F1 (foreground)", lambda result: result["mean_f1"], style="bold")
    row("mean IoU (all)", lambda result: result["miou"])
    row("pixel accuracy", lambda result: result["pixel_accuracy"])
    row("mean accuracy", lambda result: result["mean_accuracy"])
    return table
