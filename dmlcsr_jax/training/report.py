"""Training metrics and progress reporting."""

import time

import jax
import numpy as np
from clu.metrics import Average
from rich.progress import Progress

from dmlcsr_jax.checkpoints import Window
from dmlcsr_jax.console import console, print_plain
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.training.experiment import TrainingSettings
from dmlcsr_jax.training.logs import RunLog
from dmlcsr_jax.training.plan import Plan

# Steps whose terms may wait on the device.
_MOST_PENDING = 1000


def is_due(step: int, every: int, total: int) -> bool:
    """Whether something done every `every` steps, and after the last one, is due after `step` steps."""
    return step == total or (every > 0 and step % every == 0)


class Reporter:
    """Averages the loss terms between two lines of the log, and keeps the progress bar up to date.

    The terms wait on the device until a line or a checkpoint is due: an operation on each of them in every step would
    cost the host milliseconds, and fetching them would make it wait for the device.

    Args:
      settings: batch size and how often to log.
      plan: from `plan_run`.
      log: where the lines go.
      progress: where the bar is.
      start: the step that the run starts from.
      window: the value of `window()` when the checkpoint of that step was saved.
    """

    def __init__(
        self,
        settings: TrainingSettings,
        plan: Plan,
        log: RunLog,
        progress: Progress,
        *,
        start: int,
        window: Window,
    ):
        self._settings, self._plan, self._log, self._progress = settings, plan, log, progress
        self._task = progress.add_task("", total=plan.total_steps, completed=start, text="compiling")
        self._averages = {name: _average(total, int(count)) for name, (total, count) in window.items()}
        self._pending: list[tuple[int, dict[str, jax.Array]]] = []
        self.restart_clock(start)

    def restart_clock(self, step: int) -> None:
        """Restarts the measurement of the rate, so that evaluations do not count."""
        self._since, self._step = time.monotonic(), step

    def window(self) -> Window:
        """Sum and count of each term since the last line, with which a resumed run continues."""
        self.require_finite()
        return {name: [float(average.total), int(average.count)] for name, average in self._averages.items()}

    def __call__(self, step: int, terms: dict[str, jax.Array]) -> None:
        """Adds the terms of a step; waits for the device only when a line is due."""
        self._pending.append((step, terms))
        self._progress.update(self._task, completed=step)
        if is_due(step, self._settings.log_every, self._plan.total_steps):
            self.require_finite()
            self._write_line(step)
        elif len(self._pending) == _MOST_PENDING:
            self.require_finite()

    def require_finite(self) -> None:
        """Fetches the terms of the steps since the last call, in one transfer, and checks their losses.

        Raises:
          UserError: one is NaN or infinite; names the step.
        """
        pending, self._pending = jax.device_get(self._pending), []
        for step, terms in pending:
            if not np.isfinite(terms["total"]):
                raise UserError(
                    f"the loss of step {step} is {float(terms['total'])}; the checkpoints before it are kept; "
                    "use a new --workdir with a lower config.optimizer.learning_rate"
                )
            for name, value in terms.items():
                average = _average(value, 1)
                self._averages[name] = self._averages[name].merge(average) if name in self._averages else average

    def _write_line(self, step: int) -> None:
        values = {name: float(average.compute()) for name, average in self._averages.items()}
        values["learning_rate"] = float(np.asarray(self._plan.schedule(step - 1)))
        images = (step - self._step) * self._settings.batch_size
        values["images_per_second"] = images / (time.monotonic() - self._since)
        self._log.scalars(step, {f"train/{name}": value for name, value in values.items()})
        text = f"loss {values['total']:.3f}, {values['images_per_second']:.1f} images/s"
        self._progress.update(self._task, text=text)
        if not console.is_terminal:  # a log file shows no bar
            print_plain(f"step {step} of {self._plan.total_steps}, epoch {step / self._plan.epoch_steps:.1f}: {text}")
        self._averages = {}
        self.restart_clock(step)


def _average(total: float, count: int) -> Average:
    """On the host, in float64, so that sums do not depend on how often they are saved."""
    return Average(total=np.float64(total), count=np.int64(count))  # pyright: ignore[reportCallIssue]
