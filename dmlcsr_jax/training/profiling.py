"""Profiles of training steps."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import jax

from dmlcsr_jax.console import print_plain
from dmlcsr_jax.paths import LocalFolder, Path

WARM_UP = 2  # steps before the trace: the first one compiles


@contextmanager
def step_tracer(folder: Path, steps: int) -> Iterator[Callable[[int, Any], AbstractContextManager]]:
    """A context that gives (step, state) -> the context to take that step in; `jax.profiler` traces some steps.

    `state` is the result of the step before; the trace waits for it before it begins and before it ends.

    Args:
      folder: receives the trace, for TensorBoard's profile page (XProf), and in it `perfetto_trace.json.gz` for
        ui.perfetto.dev.
      steps: how many to trace, from the third one of this process on; 0 for none.
    """
    count = itertools.count()
    running = False

    local = LocalFolder(folder)

    def stop() -> None:
        nonlocal running
        if running:
            running = False
            jax.profiler.stop_trace()
            local.upload()
            print_plain(f"profile: {folder}")

    def traced(step: int, state: Any) -> AbstractContextManager:
        nonlocal running
        taken = next(count)
        if steps > 0 and taken in (WARM_UP, WARM_UP + steps):
            jax.block_until_ready(state)
            stop()
            if taken == WARM_UP:
                jax.profiler.start_trace(local.path, create_perfetto_trace=True)
                running = True
        return jax.profiler.StepTraceAnnotation("train", step_num=step) if running else nullcontext()

    try:
        yield traced
    finally:
        stop()
