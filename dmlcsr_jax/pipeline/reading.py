"""Grain: examples are loaded ahead of whoever reads their batches, in threads or in worker processes."""

import atexit
import contextlib
import math
import os
import weakref
from collections.abc import Callable, Iterator, Sequence

import grain
import grain.experimental
from absl import flags


def read(order: Sequence, load: Callable, batch_size: int, batch: Callable, num_workers: int) -> Iterator:
    """Batches of loaded examples, in order.

    Threads and workers stop when the iterator is closed or dropped, or the interpreter ends. They run ahead of the
    reader by two batches of examples, and two batches more put together.

    Args:
      order: what to load, one item an example.
      load: item -> example.
      batch_size: examples a batch.
      batch: list of examples -> batch.
      num_workers: processes that load; 0 for threads of this one.
    """
    batches = _pipeline(order, load, batch_size, batch, num_workers)

    def run() -> Iterator:
        with contextlib.closing(iter(batches)) as iterator:
            yield from iterator

    running = run()
    _OPEN.add(running)
    return running


def _pipeline(order: Sequence, load: Callable, batch_size: int, batch: Callable, num_workers: int) -> grain.IterDataset:
    threads = max(4, os.cpu_count() or 1) if not num_workers else 1
    ahead = max(threads, math.ceil(2 * batch_size / max(num_workers, 1)))
    read = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=ahead)
    examples = grain.MapDataset.source(order).map(load).to_iter_dataset(read)
    if num_workers:
        # Grain's workers read absl flags, which nobody has parsed outside `app.run`: take their defaults.
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()
        examples = examples.mp_prefetch(grain.MultiprocessingOptions(num_workers, per_worker_buffer_size=ahead))
    batches = examples.batch(batch_size, batch_fn=batch)
    return grain.experimental.ThreadPrefetchIterDataset(batches, prefetch_buffer_size=2)


# Iterators that are still in use. Grain's threads complain if the interpreter goes away under them.
_OPEN: weakref.WeakSet = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for batches in list(_OPEN):
        batches.close()
