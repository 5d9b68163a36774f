"""SIGTERM: the notice that a machine is about to be preempted."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

import jax
from jax.experimental import multihost_utils


@contextlib.contextmanager
def preemption_notice() -> Iterator[Callable[[int], bool]]:
    """A context in which SIGTERM does not end the process; gives (step) -> whether to save and stop after this step.

    With several hosts, JAX's own service receives the signal on any of them and makes all stop after the same step.
    """
    if jax.process_count() > 1:
        yield multihost_utils.reached_preemption_sync_point
        return
    noticed = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield lambda step: False
        return
    before = signal.signal(signal.SIGTERM, lambda *_: noticed.set())
    try:
        yield lambda step: noticed.is_set()
    finally:
        signal.signal(signal.SIGTERM, before)
