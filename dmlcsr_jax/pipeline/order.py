"""Which examples go into which batch, on which host; pure functions of seed, epoch and step."""

import dataclasses
import functools
import math
import sys
from typing import NamedTuple

import jax
import numpy as np

PADDING = -1  # the example index of a padding entry


@dataclasses.dataclass(frozen=True)
class Host:
    """One of the processes that share every global batch.

    Attributes:
      number: of this host, from 0.
      count: of all hosts.
    """

    number: int
    count: int

    @classmethod
    def create(cls, process_index: int | None = None, process_count: int | None = None) -> "Host":
        """Replaces None by JAX's own process index or count."""
        return cls(
            jax.process_index() if process_index is None else process_index,
            jax.process_count() if process_count is None else process_count,
        )


class Place(NamedTuple):
    """An example and its place in an epoch, which seeds its augmentation.

    Attributes:
      example: index into the source; `PADDING` if the place is empty.
      epoch: number of the epoch.
      position: of the example in the epoch's order, over all hosts.
    """

    example: int
    epoch: int
    position: int


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)  # compared by identity, so that epochs can be cached
class TrainingOrder:
    """The places of one host from `start_step` on, without end.

    They are computed on access, so that starting at a late step costs nothing.

    Attributes:
      num_examples: in the source, and the length of an epoch.
      batch_size: global.
      seed: of the order of each epoch.
      host: whose share this is.
      start_step: the step that place 0 belongs to.
      repeats: [num_examples] float64, 1 or more: how often each example is repeated in an epoch's list, fractions at
        random; the shuffled list is cut to the length of an epoch. None if every example is in it once.
    """

    num_examples: int
    batch_size: int
    seed: int
    host: Host
    start_step: int
    repeats: np.ndarray | None = None

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, index: int, /) -> Place:
        share = self.batch_size // self.host.count
        step, within = divmod(index, share)
        epoch, step = divmod(self.start_step + step, self.num_examples // self.batch_size)
        position = step * self.batch_size + self.host.number * share + within
        return Place(int(_epoch(self, epoch)[position]), epoch, position)


def one_pass_order(*, num_examples: int, batch_size: int, seed: int, host: Host, epoch: int) -> list[Place]:
    """One host's places in a single pass over all examples, in the order of `epoch`; the last batch is padded."""
    order = _permutation(num_examples, seed, epoch)
    batches = math.ceil(num_examples / batch_size)
    positions = np.arange(batches * batch_size).reshape(batches, host.count, -1)[:, host.number].ravel()
    return [Place(int(order[p]) if p < num_examples else PADDING, epoch, int(p)) for p in positions]


def evaluation_order(*, num_examples: int, batch_size: int, host: Host) -> list[int]:
    """One host's contiguous share of the examples, padded to full batches of its own, as many on every host."""
    share = math.ceil(num_examples / host.count)
    mine = range(num_examples)[host.number * share : (host.number + 1) * share]
    length = math.ceil(share / batch_size) * batch_size
    return [*mine, *[PADDING] * (length - len(mine))]


@functools.lru_cache(maxsize=4)
def _epoch(order: TrainingOrder, epoch: int) -> np.ndarray:
    """The examples of an epoch, in order."""
    if order.repeats is None:
        return _permutation(order.num_examples, order.seed, epoch)
    rng = np.random.default_rng((order.seed, epoch))
    counts = np.floor(order.repeats + rng.random(order.num_examples)).astype(np.int64)
    return rng.permutation(np.repeat(np.arange(order.num_examples), counts))[: order.num_examples]


def _permutation(size: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(size)
