"""A parallel `map`."""

import collections
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def parallel_map(function: Callable[[T], R], items: Iterable[T], workers: int | None = None) -> Iterator[R]:
    """`map` on threads. Results are in order, and only a few items are processed ahead of the reader.

    Args:
      function: called with one item; its errors are raised here.
      items: any iterable.
      workers: number of threads; one per core if None.
    """
    workers = workers or os.cpu_count() or 1
    items = iter(items)
    with futures.ThreadPoolExecutor(workers) as pool:
        pending = collections.deque(pool.submit(function, item) for item in itertools.islice(items, 4 * workers))
        try:
            while pending:
                result = pending.popleft().result()
                pending.extend(pool.submit(function, item) for item in itertools.islice(items, 1))
                yield result
        finally:
            pool.shutdown(cancel_futures=True)
