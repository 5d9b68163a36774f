"""Batches examples with Grain, in threads or worker processes.

Grain handles pieces of batches instead of single examples, which saves most of its overhead per example.
"""

import atexit
import contextlib
import functools
import sys
import weakref
from collections.abc import Callable, Generator, Sequence
from concurrent import futures
from typing import Generic, Protocol, TypeAlias, TypeVar

import cv2
import grain
import grain.experimental
import numpy as np
from absl import flags

from dmlcsr_jax.processor import usable_cores
from dmlcsr_jax.types import Batch

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

# [height, width, 3] uint8 image, [height, width] uint8 labels, index; a negative index marks padding.
Loaded: TypeAlias = tuple[np.ndarray, np.ndarray, int]
# A batch and the [B] int64 indices of its examples.
IndexedBatch: TypeAlias = tuple[Batch, np.ndarray]


class Indexed(Protocol[T_co]):
    """Items with a length and random access, such as a list or a data source."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> T_co: ...


def in_batches(
    order: Indexed[T],
    load: Callable[[T], Loaded],
    *,
    size: tuple[int, int],
    batch_size: int,
    num_workers: int,
) -> grain.IterDataset[IndexedBatch]:
    """Batches in order, the same for any number of workers.

    At most seven batches are held at a time. With threads: one in the making, which all threads share, one read ahead,
    and two in front of the reader. With processes: each makes a piece of a batch and has about three more ready,
    together some four batches, and one or two are in front of the reader.

    Args:
      order: the argument of `load` for each example; its length is a multiple of `batch_size`.
      load: returns image, labels and index of an example; `mask` is False if the index is negative.
      size: (height, width) of the examples.
      batch_size: examples per batch.
      num_workers: processes; 0 for threads of this process, one per core.
    """
    # The fewest pieces of equal length that leave no worker without one.
    pieces = next(n for n in range(1, batch_size + 1) if batch_size % n == 0 and n >= min(num_workers, batch_size))
    load_piece = functools.partial(_load_piece, load=load, size=size, threads=1 if num_workers else usable_cores())
    source = grain.MapDataset.source(_Pieces(order, batch_size // pieces)).map(load_piece)
    loaded = _in_processes(source, num_workers) if num_workers else _in_threads(source)
    batches = loaded.batch(pieces, batch_fn=_join)
    return grain.experimental.ThreadPrefetchIterDataset(batches, prefetch_buffer_size=1 if num_workers else 2)


def iterate(batches: grain.IterDataset[T]) -> Generator[T, None, None]:
    """Iterates; threads and workers stop when the iterator is closed or dropped, or the interpreter exits."""

    def run() -> Generator[T, None, None]:
        with contextlib.closing(iter(batches)) as iterator:
            yield from iterator

    running = run()
    _open_iterators().add(running)
    return running


class _Pieces(Generic[T]):
    """The items of an order in lists of equal length; random access for Grain."""

    def __init__(self, order: Indexed[T], length: int):
        self._order, self._length = order, length

    def __len__(self) -> int:
        return len(self._order) // self._length

    def __getitem__(self, index: int) -> list[T]:
        return [self._order[i] for i in range(index * self._length, (index + 1) * self._length)]

    def __repr__(self) -> str:  # Grain puts it into its checkpoints
        return f"_Pieces({self._order!r}, {self._length})"


def _load_piece(
    items: Sequence[T], *, load: Callable[[T], Loaded], size: tuple[int, int], threads: int
) -> IndexedBatch:
    """Loads examples into one batch, with several threads if asked to."""
    count = len(items)
    images, labels = np.empty((count, *size, 3), np.uint8), np.empty((count, *size), np.uint8)
    indices = np.empty(count, np.int64)
    for i, loaded in enumerate(_pool(threads).map(load, items) if threads > 1 else map(load, items)):
        images[i], labels[i], indices[i] = loaded
    return Batch(images, labels, indices >= 0), indices


@functools.cache
def _pool(threads: int) -> futures.ThreadPoolExecutor:
    """Kept from batch to batch, since new threads would start with new memory."""
    return futures.ThreadPoolExecutor(threads)


def _join(pieces: Sequence[IndexedBatch]) -> IndexedBatch:
    if len(pieces) == 1:
        return pieces[0]
    batches, indices = zip(*pieces, strict=True)
    return Batch(*map(np.concatenate, zip(*batches, strict=True))), np.concatenate(indices)


def _in_threads(source: grain.MapDataset[T]) -> grain.IterDataset[T]:
    return source.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=1))


def _in_processes(source: grain.MapDataset[T], num_workers: int) -> grain.IterDataset[T]:
    # Grain's workers read absl flags, which are unparsed outside of `app.run`; this gives them their defaults.
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
    loaded = source.to_iter_dataset(grain.ReadOptions(num_threads=0, prefetch_buffer_size=0))
    # Pieces travel through pipes: page faults on new shared memory for every batch would cost more than the copies.
    options = grain.experimental.DatasetOptions(min_shm_size=sys.maxsize)
    loaded = grain.experimental.WithOptionsIterDataset(loaded, options)
    return loaded.mp_prefetch(grain.MultiprocessingOptions(num_workers, per_worker_buffer_size=1), _use_one_core)


def _use_one_core(worker: int, workers: int) -> None:
    """Turns off OpenCV's threads in a worker, which would only compete with the other workers."""
    cv2.setNumThreads(1)


@functools.cache
def _open_iterators() -> weakref.WeakSet[Generator]:
    """Iterators in use; closed before the interpreter exits, since Grain's threads would complain after it."""
    iterators: weakref.WeakSet[Generator] = weakref.WeakSet()

    @atexit.register
    def close_all() -> None:
        for iterator in list(iterators):
            iterator.close()

    return iterators
