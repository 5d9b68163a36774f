"""From a prepared split to batches of numpy arrays, by Grain, in threads or worker processes.

Nothing is carried from one batch to the next: which examples a training step sees and how they are varied follows from
the seed and the step alone, so a run goes on from any step as if it had never stopped, and every number of threads,
workers and hosts gives the same global batches.
"""

import dataclasses
import functools
import math
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from dmlcsr_jax.datasets.spec import IGNORE_ID, FaceSpec
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.pipeline import batching, transforms
from dmlcsr_jax.types import Batch


class Examples(Protocol):
    """Undecoded examples: `{"image": bytes, "label": bytes, "name": str}`, as `datasets.builder.Source` gives them."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> dict[str, Any]: ...


def steps_per_epoch(num_examples: int, batch_size: int) -> int:
    """Full batches in an epoch; those left over are dropped, and others every epoch. UserError where there is none."""
    if not 1 <= batch_size <= num_examples:
        raise UserError(
            f"config.training.batch_size is {batch_size}; it must be 1 to {num_examples}, the training examples"
        )
    return num_examples // batch_size


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainInput:
    """The training images of a run, this host's part.

    Epoch e takes the examples in an order drawn from (seed, e); the example at position p of it is augmented by a
    generator made from (seed, e, p). Step s is at positions from (s mod steps) · batch_size on, and host h has the h-th
    part of it.

    Attributes:
      source: undecoded examples.
      spec: their classes, which say what mirroring does to them.
      size: (height, width) of the batches.
      batch_size: global; a multiple of the number of hosts.
      augmentation: how the images are varied.
      seed: of all randomness.
      num_workers: processes that decode and augment (their main module must guard its start by
        `if __name__ == "__main__"`); 0 for threads of this process.
      process_index: this host; JAX's own if None.
      process_count: number of hosts; likewise.

    Raises:
      UserError: the batch size is no multiple of the number of hosts.
    """

    source: Examples
    spec: FaceSpec
    size: tuple[int, int]
    batch_size: int
    augmentation: transforms.Augmentation = transforms.Augmentation()
    seed: int = 0
    num_workers: int = 0
    process_index: int | None = None
    process_count: int | None = None

    def __post_init__(self):
        _, hosts = self._hosts
        if self.batch_size % hosts:
            raise UserError(
                f"config.training.batch_size is {self.batch_size}; it must be a multiple of the {hosts} hosts"
            )

    def batches(self, start_step: int = 0) -> Iterator[Batch]:
        """Batches of [batch_size / process_count, height, width], uint8, every mask true; without end.

        Args:
          start_step: the first step; skipping to it costs nothing.
        """
        host, hosts = self._hosts
        steps = steps_per_epoch(len(self.source), self.batch_size)
        order = _TrainingOrder(len(self.source), self.seed, self.batch_size, steps, start_step, host, hosts)
        return self._iterate(order)

    def one_pass(self, epoch: int = 0) -> Iterator[Batch]:
        """One pass over the training examples, each once, in the order and augmentation of `epoch`.

        The last global batch is padded with black images (mask False, labels 255), so that all have one shape. Every
        number of hosts gives the same global batches.
        """
        host, hosts = self._hosts
        count, share = len(self.source), self.batch_size // hosts
        positions = np.full(math.ceil(count / self.batch_size) * self.batch_size, -1)
        positions[:count] = np.arange(count)
        order = _permutation(count, self.seed, epoch)
        mine = positions.reshape(-1, hosts, share)[:, host].ravel()
        return self._iterate([_Place(int(order[p]) if p >= 0 else -1, epoch, int(p)) for p in mine])

    @property
    def _hosts(self) -> tuple[int, int]:
        return _hosts(self.process_index, self.process_count)

    def _iterate(self, places: Sequence["_Place"]) -> Iterator[Batch]:
        load = functools.partial(
            _load_augmented,
            source=self.source,
            size=self.size,
            augmentation=self.augmentation,
            flip_table=self.spec.flip_table(),
            seed=self.seed,
        )
        share = self.batch_size // self._hosts[1]
        batches = batching.in_batches(places, load, size=self.size, batch_size=share, num_workers=self.num_workers)
        return batching.iterate(batches.map(_without_indices))


def eval_batches(
    source: Examples,
    *,
    size: tuple[int, int],
    batch_size: int,
    num_workers: int = 0,
    process_index: int | None = None,
    process_count: int | None = None,
) -> Iterator[tuple[Batch, np.ndarray]]:
    """This host's examples once each and in order, the last batch filled up so that all have one shape.

    Hosts share the examples in contiguous parts and make the same number of batches, some of which may be all filling.

    Args:
      source: undecoded examples.
      size: (height, width) of the batches.
      batch_size: on this host.
      num_workers: as `train_batches`.
      process_index: likewise.
      process_count: likewise.

    Yields:
      A `Batch` of [batch_size, height, width], and [batch_size] int64 indices into `source`. Filling is black with
      labels 255, mask False and index -1.
    """
    host, hosts = _hosts(process_index, process_count)
    share = math.ceil(len(source) / hosts)
    indices = np.full(math.ceil(share / batch_size) * batch_size, -1)
    mine = range(len(source))[host * share : (host + 1) * share]
    indices[: len(mine)] = mine
    load = functools.partial(_load_whole, source=source, size=size)
    return batching.iterate(
        batching.in_batches(indices, load, size=size, batch_size=batch_size, num_workers=num_workers)
    )


class _Place(NamedTuple):
    """An example of an epoch: its index in the source, and what its generator is made from."""

    index: int
    epoch: int
    position: int


class _TrainingOrder(Sequence):
    """Places of one host's examples, from `start_step` on and without end; random access for Grain."""

    def __init__(self, size: int, seed: int, batch_size: int, steps: int, start_step: int, host: int, hosts: int):
        self._size, self._seed, self._batch_size, self._steps = size, seed, batch_size, steps
        self._share = batch_size // hosts
        self._first_step, self._first_of_share = start_step, host * self._share

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, item: int) -> _Place:
        step, within = divmod(item, self._share)
        epoch, step = divmod(self._first_step + step, self._steps)
        position = step * self._batch_size + self._first_of_share + within
        return _Place(int(_permutation(self._size, self._seed, epoch)[position]), epoch, position)

    def __repr__(self) -> str:
        return f"_TrainingOrder({vars(self)})"


@functools.lru_cache(maxsize=4)
def _permutation(size: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(size)


def _filling(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros((*size, 3), np.uint8), np.full(size, IGNORE_ID, np.uint8)


def _load_augmented(
    place: _Place, *, source, size, augmentation, flip_table, seed
) -> tuple[np.ndarray, np.ndarray, int]:
    if place.index < 0:
        return *_filling(size), -1
    example = source[place.index]
    image, labels = transforms.decode_image(example["image"]), transforms.decode_label(example["label"])
    rng = np.random.default_rng((seed, place.epoch, place.position))
    return *transforms.augmented(image, labels, size, augmentation, flip_table, rng), place.index


def _load_whole(index: int, *, source, size) -> tuple[np.ndarray, np.ndarray, int]:
    if index < 0:
        return *_filling(size), index
    example = source[int(index)]
    image = transforms.fit_image(transforms.decode_image(example["image"]), size)
    return image, transforms.fit_labels(transforms.decode_label(example["label"]), size), index


def _without_indices(batch: tuple[Batch, np.ndarray]) -> Batch:
    return batch[0]


def _hosts(process_index: int | None, process_count: int | None) -> tuple[int, int]:
    host = jax.process_index() if process_index is None else process_index
    return host, jax.process_count() if process_count is None else process_count
