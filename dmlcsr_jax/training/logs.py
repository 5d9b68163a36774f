"""What a run leaves to read: `metrics.jsonl`, TensorBoard events, and a progress bar."""

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from clu import parameter_overview
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from tensorboardX import SummaryWriter

from dmlcsr_jax.console import console


def write_atomically(path: pathlib.Path, text: str) -> None:
    """Replaces a file by `text`, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.replace(path)


def write_overview(path: pathlib.Path, params: Any) -> None:
    """Writes the table of all parameters with their shapes, and says how many there are."""
    write_atomically(path, parameter_overview.get_parameter_overview(params, include_stats=False))
    console.print(f"{int(parameter_overview.count_parameters(params)):,} parameters, listed in {path}")


def read_metrics(path: str | pathlib.Path) -> list[dict[str, float]]:
    """The lines of a `metrics.jsonl`; a last line cut short by a kill is left out."""
    path = pathlib.Path(path)
    lines = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return lines


class RunLog:
    """Writes numbers and pictures of a run; a resumed run first forgets what came after its checkpoint.

    Args:
      workdir: where `metrics.jsonl` and the TensorBoard events go.
      start_step: the step that the run starts from; later lines of an earlier process are dropped.
      active: False on all hosts but the first, which then write nothing.
    """

    def __init__(self, workdir: pathlib.Path, start_step: int, active: bool = True):
        self.active = active
        if not active:
            return
        self._path = workdir / "metrics.jsonl"
        kept = [line for line in read_metrics(self._path) if line["step"] <= start_step]
        write_atomically(self._path, "".join(json.dumps(line) + "\n" for line in kept))
        self._events = SummaryWriter(str(workdir), purge_step=start_step + 1 if start_step else None)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """One line of `metrics.jsonl`, and one point of each curve."""
        if not self.active:
            return
        values = {name: float(value) for name, value in values.items()}
        with self._path.open("a") as lines:
            lines.write(json.dumps({"step": step, **values}) + "\n")
        for name, value in values.items():
            self._events.add_scalar(name, value, step)
        self._events.flush()

    def picture(self, step: int, name: str, image: np.ndarray) -> None:
        """An [H, W, 3] uint8 RGB picture."""
        if self.active:
            self._events.add_image(name, image, step, dataformats="HWC")

    def close(self) -> None:
        """Flushes and closes the files."""
        if self.active:
            self._events.close()


def progress_bar(description: str, **fields: Any) -> Progress:
    """A bar with counts, rate and time left; `fields[text]` stands at its end. Use as a context."""
    return Progress(
        TextColumn(description),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[text]}"),
        console=console,
        expand=True,
        **fields,
    )
