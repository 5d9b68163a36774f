"""Batches of numpy arrays from a prepared split, made by Grain in threads or worker processes.

No state is carried from batch to batch: the seed and the step alone determine which examples a training step sees and
how they are augmented. A run can therefore resume from any step, and the global batches do not depend on the number of
threads, workers or hosts.
"""

import dataclasses
import functools
from collections.abc import Generator, Mapping
from typing import Any, Protocol

import numpy as np

from dmlcsr_jax.datasets import get_spec
from dmlcsr_jax.datasets.faces import draw_face
from dmlcsr_jax.datasets.images import decode_image, decode_label
from dmlcsr_jax.datasets.spec import FaceSpec
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.pipeline import batching
from dmlcsr_jax.pipeline.order import PADDING, Host, Place, TrainingOrder, evaluation_order, one_pass_order
from dmlcsr_jax.pipeline.transforms import Augmentation, augmented, fit_image, fit_labels
from dmlcsr_jax.types import IGNORE_ID, Batch

_DRAWN_SIZE = 256  # pixels; a face of 512 takes three times as long, 59 ms instead of 21


class Examples(batching.Indexed[Mapping[str, Any]], Protocol):
    """Encoded examples with random access, such as `datasets.prepared.Source`.

    `examples[i]` is `{"image": bytes, "label": bytes, "name": str}`; further entries are ignored.
    """


def steps_per_epoch(num_examples: int, batch_size: int) -> int:
    """Full batches per epoch; the remaining examples, different ones in every epoch, are dropped.

    Raises:
      UserError: there is no full batch.
    """
    if not 1 <= batch_size <= num_examples:
        raise UserError(
            f"config.training.batch_size is {batch_size}; it must be 1 to {num_examples}, the training examples"
        )
    return num_examples // batch_size


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainInput:
    """The training input of a run, this host's share.

    Epoch e orders the examples by a permutation drawn from (seed, e); the example at position p is replaced and
    augmented by a generator seeded with (seed, e, p). A step takes the next `batch_size` positions, and host h the h-th
    part of them.

    Attributes:
      source: encoded examples.
      spec: their classes, which determine what mirroring does to the labels.
      size: (height, width) of the batches.
      batch_size: global; a multiple of the number of hosts.
      augmentation: how images are augmented.
      repeats: [len(source)] float64, 1 or more: relative weight of each example (`order.TrainingOrder`); None for
        equal weights.
      drawn_faces: probability that a drawn face takes the place of an example.
      seed: of all randomness.
      num_workers: processes that decode and augment (the main module then needs an `if __name__ == "__main__"` guard);
        0 for threads of this process.
      process_index: this host; JAX's own if None.
      process_count: number of hosts; JAX's own if None.

    Raises:
      UserError: the batch size exceeds the number of examples or is not a multiple of the number of hosts, or the
        classes are not those of drawn faces.
    """

    source: Examples
    spec: FaceSpec
    size: tuple[int, int]
    batch_size: int
    augmentation: Augmentation = Augmentation()
    repeats: np.ndarray | None = None
    drawn_faces: float = 0.0
    seed: int = 0
    num_workers: int = 0
    process_index: int | None = None
    process_count: int | None = None

    def __post_init__(self):
        steps_per_epoch(len(self.source), self.batch_size)
        hosts = self._host.count
        if self.batch_size % hosts:
            raise UserError(
                f"config.training.batch_size is {self.batch_size}; it must be a multiple of the {hosts} hosts"
            )
        if self.drawn_faces and self.spec.class_names != get_spec("synthetic").class_names:
            raise UserError(
                f"config.input.drawn_faces is {self.drawn_faces}; it must be 0 for {self.spec.name}, "
                "whose classes are not the 19 of CelebAMask-HQ in their order"
            )

    def batches(self, start_step: int = 0) -> Generator[Batch, None, None]:
        """Endless batches from `start_step` on; skipping to it costs nothing.

        Yields:
          Batches of [batch_size / process_count, height, width]; every mask is true.
        """
        order = TrainingOrder(
            num_examples=len(self.source),
            batch_size=self.batch_size,
            seed=self.seed,
            host=self._host,
            start_step=start_step,
            repeats=self.repeats,
        )
        return self._iterate(order)

    def one_pass(self, epoch: int = 0) -> Generator[Batch, None, None]:
        """Every training example once, in the order (without repeats) and with the augmentation of `epoch`.

        Drawn faces replace as many as in training.

        Yields:
          Batches of [batch_size / process_count, height, width]. The last global batch is padded with black images,
          labels 255 and mask False.
        """
        order = one_pass_order(
            num_examples=len(self.source),
            batch_size=self.batch_size,
            seed=self.seed,
            host=self._host,
            epoch=epoch,
        )
        return self._iterate(order)

    @property
    def _host(self) -> Host:
        return Host.create(self.process_index, self.process_count)

    def _iterate(self, order: batching.Indexed[Place]) -> Generator[Batch, None, None]:
        batches = batching.in_batches(
            order,
            self._load,
            size=self.size,
            batch_size=self.batch_size // self._host.count,
            num_workers=self.num_workers,
        )
        return batching.iterate(batches.map(_without_indices))

    def _load(self, place: Place) -> batching.Loaded:
        if place.example == PADDING:
            return _padding(self.size)
        rng = np.random.default_rng((self.seed, place.epoch, place.position))
        if self.drawn_faces and rng.random() < self.drawn_faces:
            image, labels = draw_face(int(rng.integers(2**63)), _DRAWN_SIZE)
        else:
            image, labels = _decode(self.source[place.example])
        image, labels = augmented(
            image,
            labels,
            size=self.size,
            augmentation=self.augmentation,
            flip_table=self.spec.flip_table(),
            rng=rng,
        )
        return image, labels, place.example


def eval_batches(
    source: Examples,
    *,
    size: tuple[int, int],
    batch_size: int,
    labels: bool = True,
    num_workers: int = 0,
    process_index: int | None = None,
    process_count: int | None = None,
) -> Generator[tuple[Batch, np.ndarray], None, None]:
    """This host's examples once each and in order, without augmentation; the last batch is padded.

    Hosts take contiguous shares of the examples and make the same number of batches, some of which may be all padding.

    Args:
      source: encoded examples.
      size: (height, width) of the batches.
      batch_size: on this host.
      labels: whether labels are decoded; otherwise all of them are 255.
      num_workers: as for `TrainInput`.
      process_index: as for `TrainInput`.
      process_count: as for `TrainInput`.

    Yields:
      A `Batch` of [batch_size, height, width], and [batch_size] int64 indices into `source`. Padding is black with
      labels 255, mask False and index -1.
    """
    host = Host.create(process_index, process_count)
    order = evaluation_order(num_examples=len(source), batch_size=batch_size, host=host)
    load = functools.partial(_load_whole, source=source, size=size, with_labels=labels)
    return batching.iterate(batching.in_batches(order, load, size=size, batch_size=batch_size, num_workers=num_workers))


def _load_whole(index: int, *, source: Examples, size: tuple[int, int], with_labels: bool) -> batching.Loaded:
    image, labels, _ = _padding(size)
    if index != PADDING:
        example = source[index]
        image = fit_image(decode_image(example["image"], example["name"]), size)
        if with_labels:
            labels = fit_labels(decode_label(example["label"], example["name"]), size)
    return image, labels, index


def _decode(example: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    name = example["name"]
    return decode_image(example["image"], name), decode_label(example["label"], name)


def _padding(size: tuple[int, int]) -> batching.Loaded:
    return np.zeros((*size, 3), np.uint8), np.full(size, IGNORE_ID, np.uint8), PADDING


def _without_indices(batch: batching.IndexedBatch) -> Batch:
    return batch[0]
