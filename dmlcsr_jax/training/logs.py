"""What a run leaves to read: `metrics.jsonl`, TensorBoard events, and the table of parameters."""

import json
from collections.abc import Mapping

import numpy as np
from clu import parameter_overview
from tensorboardX import SummaryWriter

from dmlcsr_jax.console import print_plain
from dmlcsr_jax.files import read_json_lines, write_text
from dmlcsr_jax.paths import LocalFolder, Path
from dmlcsr_jax.types import PyTree


def write_overview(path: Path, params: PyTree) -> None:
    """Writes the table of all parameters with their shapes, and prints how many there are."""
    write_text(path, parameter_overview.get_parameter_overview(params, include_stats=False))
    print_plain(f"{int(parameter_overview.count_parameters(params)):,} parameters, listed in {path}")


class RunLog:
    """Writes numbers and images of a run; a resumed run first drops what came after its checkpoint.

    In a remote workdir, to which nothing can be appended, they appear when `flush` or `close` is called.

    Args:
      workdir: where `metrics.jsonl` and the TensorBoard events go.
      start_step: the step that the run starts from; later lines of an earlier process are dropped.
      active: False on all hosts but the first, which then write nothing.
    """

    def __init__(self, workdir: Path, start_step: int, *, active: bool = True):
        self.active = active
        if not active:
            return
        self._folder = LocalFolder(workdir)
        self._path = self._folder.path / "metrics.jsonl"
        kept = [line for line in read_json_lines(workdir / "metrics.jsonl") if line["step"] <= start_step]
        write_text(self._path, "".join(json.dumps(line) + "\n" for line in kept))
        self._events = SummaryWriter(str(self._folder.path), purge_step=start_step + 1)

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

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        """An [H, W, 3] uint8 RGB image."""
        if self.active:
            self._events.add_image(name, image, step, dataformats="HWC")

    def flush(self) -> None:
        """Brings everything so far to the workdir. Call it before a checkpoint is saved."""
        if self.active:
            self._events.flush()
            self._folder.upload()

    def close(self) -> None:
        """Flushes and closes the files."""
        if self.active:
            with self._folder:
                self._events.close()
