"""Compares the losses of two runs step by step, such as those of float32 and bfloat16 from equal weights.

    python main.py … --workdir=runs/float32 --config.model.dtype=float32
    python main.py … --workdir=runs/bfloat16 --config.model.dtype=bfloat16
    python -m benchmarks.precision runs/float32 runs/bfloat16

The runs have the same seed, so they start from the same weights and see the same images in the same order. The last row
is the mean F1 on validation images.
"""

import pathlib
from collections.abc import Mapping

from rich.table import Table

from benchmarks import workload
from benchmarks.side_by_side import console
from dmlcsr_jax.files import read_json_lines

SCORES = {"train/total": "loss", "val/mean_f1": "mean F1"}


def read_curves(workdir: pathlib.Path) -> dict[tuple[str, int], float]:
    """Every loss and every score of a run: (name, step) -> value."""
    lines = read_json_lines(workdir / "metrics.jsonl")
    return {(title, line["step"]): line[name] for name, title in SCORES.items() for line in lines if name in line}


def comparison(curves: Mapping[str, Mapping[tuple[str, int], float]]) -> Table:
    """One row per loss and score that all runs have, one column per run, and the last run against the first."""
    table = Table("", "step", *curves, "relative difference")
    for column in table.columns[1:]:
        column.justify = "right"
    first, *_, last = curves.values()
    for name, step in first:
        if all((name, step) in curve for curve in curves.values()):
            values = [curve[name, step] for curve in curves.values()]
            difference = last[name, step] / first[name, step] - 1 if first[name, step] else 0.0
            table.add_row(name, str(step), *(f"{value:.4f}" for value in values), f"{difference:+.2%}")
    return table


def main() -> None:
    """Prints the table."""
    parser = workload.argument_parser(__doc__)
    parser.add_argument("workdirs", type=pathlib.Path, nargs=2, help="of the two runs")
    workdirs = parser.parse_args().workdirs
    console.print(comparison({workdir.name: read_curves(workdir) for workdir in workdirs}))


if __name__ == "__main__":
    main()
