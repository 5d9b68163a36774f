"""When to save by the clock."""

import time
from collections.abc import Callable

import jax

from dmlcsr_jax.hosts import from_first

LOOKS = 10  # per interval, with several hosts: a checkpoint is late by a tenth of the interval


class SaveTimer:
    """Says after which steps to save: all hosts do after the same one, by the clock of the first.

    Several hosts have to ask the first one, which waits for the steps that the devices have not done yet. So they ask
    about `LOOKS` times per interval, and learn with the answer after how many steps to ask again.

    Args:
      minutes: from one checkpoint to the next; 0 for never.
      step: the one that the run starts from.
      clock: seconds.
    """

    def __init__(self, minutes: float, step: int, *, clock: Callable[[], float] = time.monotonic):
        self._seconds, self._clock = 60 * minutes, clock
        self._next_look = step + 1
        self.restart(step)

    def restart(self, step: int) -> None:
        """A checkpoint of this step is being saved, for whatever reason."""
        self._saved = self._looked = self._clock()
        self._look_step = step

    def __call__(self, step: int) -> bool:
        """Whether it is time to save after this step; call it on all hosts or on none."""
        if not self._seconds or step < self._next_look:
            return False
        now = self._clock()
        due = now - self._saved >= self._seconds
        if jax.process_count() > 1:
            due, pause = from_first((due, self._steps_to_next_look(now, step - self._look_step)))
            self._next_look = step + int(pause)
        self._looked, self._look_step = now, step
        return bool(due)

    def _steps_to_next_look(self, now: float, steps: int) -> int:
        """The steps that a `LOOKS`-th of the interval takes, if they go on as fast as the last ones."""
        pause = steps * self._seconds / LOOKS / max(now - self._looked, 1e-9)
        return int(min(max(pause, 1), 2 * max(steps, 1)))  # the last steps may have been too few to tell
