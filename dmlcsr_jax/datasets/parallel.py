"""A parallel `map`."""

import collections
import math
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from typing import TypeVar

from dmlcsr_jax.processor import usable_cores

T = TypeVar("T")
R = TypeVar("R")


def parallel_map(
    function: Callable[[T], R],
    items: Iterable[T],
    workers: int | None = None,
    *,
    ahead: int | None = None,
    weigh: Callable[[T], float] = lambda item: 0,
    heaviest: float = math.inf,
) -> Iterator[R]:
    """`map` on threads. Results are in order, and only a few items are processed ahead of the reader.

    Args:
      function: called with one item; its errors are raised here.
      items: any iterable.
      workers: number of threads; one per core that this process may use if None.
      ahead: how many items are processed ahead; four per thread if None.
      weigh: the weight of an item, such as its pixels; called by the reader.
      heaviest: the most that the items ahead weigh together, unless one alone is heavier.
    """
    workers = workers or usable_cores()
    ahead = ahead or 4 * workers
    pending: collections.deque[tuple[futures.Future[R], float]] = collections.deque()
    total = 0.0
    with futures.ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                weight = weigh(item)
                while pending and (len(pending) >= ahead or total + weight > heaviest):
                    total -= pending[0][1]
                    yield pending.popleft()[0].result()
                pending.append((pool.submit(function, item), weight))
                total += weight
                if pending[0][0].done():  # results do not wait until enough items are ahead
                    total -= pending[0][1]
                    yield pending.popleft()[0].result()
            while pending:
                yield pending.popleft()[0].result()
        finally:
            pool.shutdown(cancel_futures=True)
