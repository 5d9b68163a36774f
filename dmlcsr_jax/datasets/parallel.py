"""Work on many items by all cores."""

import collections
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures


def parallel_map(function: Callable, items: Iterable, workers: int | None = None) -> Iterator:
    """`map` by threads: results in order, only a few ahead of the reader.

    Args:
      function: called with one item; what it raises is raised here.
      items: any iterable.
      workers: number of threads; one a core where None.
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
