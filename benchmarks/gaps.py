"""Shows when the device waited during the training steps of a profile.

    python main.py --config=configs/celebamask_hq.py --config.profile=20 --workdir=runs/x …
    python -m benchmarks.gaps runs/x/profile

The device is busy while any of its streams (TPU: its operations; CPU: XLA's threads) works. The table lists the longest
times without, and what was computed before and after. What the host does for a step (data, log, dispatch) costs nothing
as long as it is done while the device computes the step before; otherwise there is a gap for each step.
"""

import itertools
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from jax.profiler import ProfileData
from rich.table import Table

from benchmarks import workload
from benchmarks.side_by_side import console
from dmlcsr_jax.errors import UserError


class Operation(NamedTuple):
    """What a device computed: start and end in nanoseconds."""

    start: float
    end: float
    name: str


class Gap(NamedTuple):
    """A time in which a device computed nothing, in nanoseconds, and the operations before and after it."""

    length: float
    before: str
    after: str


def read_profile(folder: pathlib.Path) -> tuple[int, list[Operation]]:
    """The number of steps in the newest trace below a folder, and the operations of its first device in order.

    Raises:
      UserError: there is no trace, or no operation in it.
    """
    files = sorted(folder.rglob("*.xplane.pb"), key=lambda path: path.stat().st_mtime)
    if not files:
        raise UserError(f"{folder} has no *.xplane.pb; name the folder profile of a run with --config.profile=20")
    planes = {plane.name: plane for plane in ProfileData.from_file(str(files[-1])).planes}
    steps = sum(event.name == "train" for line in planes["/host:CPU"].lines for event in line.events)
    devices = sorted(name for name in planes if name.startswith("/device:") and "CUSTOM" not in name)
    operations = sorted(_operations(planes[devices[0] if devices else "/host:CPU"]))
    if not operations or not steps:
        raise UserError(f"{files[-1]} has no training step")
    return steps, operations


def _operations(plane: Any) -> Iterator[Operation]:
    for line in plane.lines:
        on_device = line.name.startswith("Stream") or line.name == "XLA Ops"
        for event in line.events:
            if event.duration_ns and (on_device or any(name == "hlo_op" for name, _ in event.stats)):
                yield Operation(event.start_ns, event.start_ns + event.duration_ns, event.name)


def find_gaps(operations: Sequence[Operation]) -> list[Gap]:
    """The times between the first and the last operation in which none ran, in order; sorted operations."""
    ends = itertools.accumulate(operations, lambda one, other: max(one, other, key=lambda operation: operation.end))
    return [
        Gap(after.start - before.end, before.name, after.name)
        for before, after in zip(ends, operations[1:], strict=False)
        if after.start > before.end
    ]


def summary(steps: int, operations: Sequence[Operation]) -> str:
    """One line: how long a step takes, and how much of it the device waits."""
    span = max(operation.end for operation in operations) - operations[0].start
    idle = sum(gap.length for gap in find_gaps(operations))
    per_step, waiting = (time / steps / 1e6 for time in (span, idle))
    return f"{steps} steps, {per_step:.2f} ms each, of which the device waits {waiting:.2f} ms ({idle / span:.1%})"


def gaps_table(operations: Sequence[Operation], longest: int) -> Table:
    """The longest gaps, the longest one first."""
    table = Table("gap ms", "after", "before")
    for gap in sorted(find_gaps(operations), key=lambda gap: -gap.length)[:longest]:
        table.add_row(f"{gap.length / 1e6:.3f}", gap.before[:48], gap.after[:48])
    return table


def main() -> None:
    """Prints the table and the summary."""
    parser = workload.argument_parser(__doc__)
    parser.add_argument("folder", type=pathlib.Path, help="the folder profile of a run")
    parser.add_argument("--longest", type=int, default=20, help="gaps to list")
    flags = parser.parse_args()
    try:
        steps, operations = read_profile(flags.folder)
    except UserError as error:
        parser.error(str(error))
    console.print(gaps_table(operations, flags.longest))
    console.print(summary(steps, operations))


if __name__ == "__main__":
    main()
