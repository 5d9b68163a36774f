"""Examples put together to batches by Grain, in threads or worker processes.

What goes through Grain are pieces of batches, not single examples: that spares most of what Grain costs an example.
"""

import atexit
import contextlib
import functools
import os
import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from typing import Any

import cv2
import grain
import grain.experimental
import numpy as np
from absl import flags

from dmlcsr_jax.types import Batch

# Place of an example -> [height, width, 3] uint8 picture, [height, width] uint8 labels, index.
Load = Callable[[Any], tuple[np.ndarray, np.ndarray, int]]


class _Pieces:
    """The examples of an order, some at a time; random access for Grain."""

    def __init__(self, order: Sequence, length: int):
        self._order, self._length = order, length

    def __len__(self) -> int:
        return len(self._order) // self._length

    def __getitem__(self, item: int) -> list:
        return [self._order[i] for i in range(item * self._length, (item + 1) * self._length)]

    def __repr__(self) -> str:
        return f"_Pieces({self._order!r}, {self._length})"


def _load_piece(examples: list, *, load: Callable, size: tuple[int, int], threads: int) -> tuple[Batch, np.ndarray]:
    """Some examples, one after the other or by threads, and their indices."""
    count = len(examples)
    images, labels = np.empty((count, *size, 3), np.uint8), np.empty((count, *size), np.uint8)
    indices = np.empty(count, np.int64)
    for i, loaded in enumerate(_pool(threads).map(load, examples) if threads > 1 else map(load, examples)):
        images[i], labels[i], indices[i] = loaded
    return Batch(images, labels, indices >= 0), indices


@functools.cache
def _pool(threads: int) -> futures.ThreadPoolExecutor:
    """Kept from batch to batch: new threads would begin with new memory."""
    return futures.ThreadPoolExecutor(threads)


def _joined(pieces: Sequence[tuple[Batch, np.ndarray]]) -> tuple[Batch, np.ndarray]:
    if len(pieces) == 1:
        return pieces[0]
    batches, indices = zip(*pieces, strict=True)
    return Batch(*map(np.concatenate, zip(*batches, strict=True))), np.concatenate(indices)


def in_batches(
    order: Sequence, load: Load, *, size: tuple[int, int], batch_size: int, num_workers: int
) -> grain.IterDataset:
    """Batches and their [batch_size] int64 indices, in order, whatever the number of workers.

    At most seven are held at a time. Threads share the work on one batch, another is read ahead, and two wait in front
    of the reader. A worker makes a piece of a batch at a time and has about three more ready, all together some four
    batches, and one or two wait in front of the reader.

    Args:
      order: what `load` is called with, an example each; a multiple of `batch_size`.
      load: gives an example's picture, labels and index; `mask` is False where the index is negative.
      size: (height, width) of the examples.
      batch_size: examples a batch.
      num_workers: processes; 0 for threads of this one, as many as there are cores.
    """
    pieces = next(n for n in range(1, batch_size + 1) if batch_size % n == 0 and n >= min(num_workers, batch_size))
    load_piece = functools.partial(_load_piece, load=load, size=size, threads=1 if num_workers else _cores())
    loaded = grain.MapDataset.source(_Pieces(order, batch_size // pieces)).map(load_piece)
    if not num_workers:
        loaded = loaded.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=1))
    else:
        # Grain's workers read absl flags, which nobody has parsed outside `app.run`: take their defaults.
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()
        loaded = loaded.to_iter_dataset(grain.ReadOptions(num_threads=0, prefetch_buffer_size=0))
        # By pipes: fresh shared memory for every batch costs more, in page faults, than the copies do.
        loaded = grain.experimental.WithOptionsIterDataset(
            loaded, grain.experimental.DatasetOptions(min_shm_size=sys.maxsize)
        )
        loaded = loaded.mp_prefetch(grain.MultiprocessingOptions(num_workers, per_worker_buffer_size=1), _use_one_core)
    batches = loaded.batch(pieces, batch_fn=_joined)
    return grain.experimental.ThreadPrefetchIterDataset(batches, prefetch_buffer_size=1 if num_workers else 2)


def _cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _use_one_core(worker: int, workers: int) -> None:
    """Workers share the cores already: threads of OpenCV in each would only wait for each other."""
    cv2.setNumThreads(1)


# Iterators that are still in use. Grain's threads complain if the interpreter goes away under them.
_OPEN: weakref.WeakSet = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for batches in list(_OPEN):
        batches.close()


def iterate(batches: grain.IterDataset) -> Iterator:
    """The batches; threads and workers stop when the iterator is closed or dropped, or the interpreter ends."""

    def run() -> Iterator:
        with contextlib.closing(iter(batches)) as iterator:
            yield from iterator

    running = run()
    _OPEN.add(running)
    return running
