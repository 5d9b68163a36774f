"""Scores of finished runs as JSON lines, and the tables that are made from them.

    python -m benchmarks.evidence   # rewrites the tables in docs/evidence.md and its plots from docs/evidence/*.jsonl

A line is one run: how it was configured, its seed, the commit, and the scores of each evaluation. Runs that differ in
nothing but their arm and seed make one table.
"""

import itertools
import json
import pathlib
import subprocess
import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from flax.traverse_util import flatten_dict
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from benchmarks import workload
from dmlcsr_jax.command import parse
from dmlcsr_jax.files import read_json_lines, write_text
from dmlcsr_jax.recipes import read_config

FOLDER = pathlib.Path("docs/evidence")
PAGE = pathlib.Path("docs/evidence.md")
COLORS = colormaps["tab20"]  # as many colors as arms, and more
MARK = "<!-- python -m benchmarks.evidence writes what follows -->\n"
# Fields that say where and when, not what is learned.
_SILENT = ("seed", "profile", "dataset.path", "dataset.data_dir", "input.num_workers", "training.log_every")
_NETWORKS = {"student": "val/mean_f1", "teacher": "val_teacher/mean_f1"}  # name -> score in metrics.jsonl
Record = Mapping[str, Any]


class Estimate(NamedTuple):
    """A mean over seeds.

    Attributes:
      count: number of seeds.
      mean: their mean.
      error: its standard error; NaN for one seed.
      interval: half the width of its 95 % interval by Student's t; NaN for one seed.
    """

    count: int
    mean: float
    error: float
    interval: float


def estimate(values: Sequence[float]) -> Estimate:
    """The mean of `values`, at least one, and how sure it is."""
    count = len(values)
    error = float(np.std(values, ddof=1) / np.sqrt(count)) if count > 1 else float("nan")
    return Estimate(count, float(np.mean(values)), error, error * float(stats.t.ppf(0.975, max(count - 1, 1))))


def configuration(recipe: str, flags: Sequence[str]) -> dict[str, Any]:
    """The fields that differ from configs/default.py, without places and those that change nothing that is learned."""
    given = parse(["main.py", f"--config={recipe}", "--mode=train", "--workdir=unused", *flags]).config
    default = read_config("default", None)
    assert default is not None  # a recipe of that name is part of the package
    defaults = flatten_dict(default.to_dict(), sep=".")
    fields = flatten_dict(given.to_dict(), sep=".")
    fields["init_from"] = pathlib.Path(fields["init_from"]).name
    return {name: value for name, value in fields.items() if name not in _SILENT and value != defaults.get(name)}


def commit() -> str:
    """The short name of the checked-out commit, with "-dirty" if files were changed."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def read_curve(workdir: pathlib.Path) -> list[dict[str, float]]:
    """Step, and student's and teacher's mean F1 (0..1), of every evaluation of a run."""
    lines = [line for line in read_json_lines(workdir / "metrics.jsonl") if _NETWORKS["student"] in line]
    return [
        {"step": line["step"]} | {name: round(line[key], 5) for name, key in _NETWORKS.items() if key in line}
        for line in lines
    ]


def append(path: pathlib.Path, record: Record) -> None:
    """Adds a line to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def is_same_run(record: Record, other: Record) -> bool:
    """Whether two records are of the same arm, seed and configuration."""
    return all(record[name] == other[name] for name in ("arm", "arm_flags", "seed", "configuration", "data"))


def comparisons(records: Iterable[Record]) -> list[list[Record]]:
    """The records that differ in nothing but their arm and seed, together."""

    def key(record: Record) -> str:
        return json.dumps([record[name] for name in ("command", "data", "configuration")], sort_keys=True)

    # Stable: after the baseline, arms stay in the order in which their first runs ended.
    ordered = sorted(records, key=lambda record: (key(record), record["arm"] != record["baseline"]))
    return [list(group) for _, group in itertools.groupby(ordered, key)]


def tables(records: Iterable[Record], against: str = "") -> str:
    """Markdown tables of all records, one for each comparison.

    Args:
      records: the runs.
      against: the arm that the others are compared with, each network with the same one of this arm if it has it; ""
        for the records' own baseline.
    """
    return "\n\n".join(_table(group, against or group[0]["baseline"]) for group in comparisons(records))


def draw_curves(records: Iterable[Record]) -> Figure:
    """The mean score of every arm over the steps, with its standard error; a plot for each comparison.

    Students' lines are solid, teachers' dashed. Arms with less than half the seeds of the first one are not drawn.
    """
    groups = comparisons(records)
    columns = min(len(groups), 2)
    rows = -(-len(groups) // columns)
    figure = Figure(figsize=(6.4 * columns, 4.8 * rows), layout="constrained")
    cells = figure.subplots(rows, columns, squeeze=False).flat
    for axes, group in zip(cells, groups, strict=False):
        counts = Counter(record["arm"] for record in group)  # in order of appearance
        arms = [arm for arm, count in counts.items() if 2 * count >= counts[group[0]["arm"]]]
        for color, arm in enumerate(arms):
            curves = [record["curve"] for record in group if record["arm"] == arm]
            for network, line in (("student", "-"), ("teacher", "--")):
                _draw_mean(axes, _mean_curve(curves, network), line, color=COLORS(color), label=f"{arm}, {network}")
        flags = textwrap.fill(group[0]["command"].partition(" -- ")[2].replace("--config.", ""), 80)
        axes.set_title(f"{group[0]['data'] or 'drawn faces'}\n{flags}", fontsize=8)
        axes.set(xlabel="step", ylabel="mean F1 (%)")
        axes.grid(alpha=0.3)
        students = [line for line in axes.lines if line.get_linestyle() == "-"]  # every arm has one
        axes.legend(students, arms, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    for axes in cells:
        axes.remove()
    return figure


def _draw_mean(axes: Axes, points: Sequence[tuple[float, Estimate]], line: str, *, color: Any, label: str) -> None:
    """A line of the means and a band of their standard errors; nothing without points."""
    if points:
        steps, found = zip(*points, strict=True)
        mean, error = (np.array([getattr(point, name) for point in found]) for name in ("mean", "error"))
        axes.plot(steps, mean, line, color=color, label=label)
        axes.fill_between(steps, mean - error, mean + error, color=color, alpha=0.15, linewidth=0)


def _mean_curve(curves: Sequence[Sequence[Mapping[str, float]]], network: str) -> list[tuple[float, Estimate]]:
    """Step and score in percent of the evaluations that all these runs have."""
    scores = [_percent(curve, network) for curve in curves]
    steps = sorted(set.intersection(*map(set, scores)))
    return [(step, estimate([curve[step] for curve in scores])) for step in steps]


def _percent(curve: Iterable[Mapping[str, float]], network: str) -> dict[float, float]:
    """Step -> score in percent of the evaluations that have this network."""
    return {point["step"]: 100 * point[network] for point in curve if network in point}


def _table(records: Sequence[Record], baseline: str) -> str:
    scores = _scores(records)
    seeds = {record["seed"] for record in records}
    hours = sum(record["seconds"] for record in records) / 3600
    data = f", {records[0]['data']}" if records[0]["data"] else ""
    commits = ", ".join(sorted({record["commit"] for record in records}))
    lines = [
        f"`{records[0]['command']}`{data}: {len(records)} runs, seeds {_ranges(seeds)}, {hours:.1f} hours, "
        f"commit {commits}.",
        "",
        f"| mean F1 (%) | seeds | last step | over {baseline} | best step | over {baseline} |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for (arm, network), by_seed in scores.items():
        reference = scores.get((baseline, network)) or scores.get((baseline, "student"), {})
        pairs = [seed for seed in by_seed if seed in reference and arm != baseline]
        cells = []
        for which in ("last", "best"):
            own = estimate([by_seed[seed][which] for seed in by_seed])
            cells.append(f"{own.mean:.2f}{_plus_minus(own.error)}")
            gain = estimate([by_seed[seed][which] - reference[seed][which] for seed in pairs]) if pairs else None
            cells.append(f"{gain.mean:+.2f}{_plus_minus(gain.interval)}" if gain else "")
        lines.append(f"| {arm}, {network} | {len(by_seed)} | {' | '.join(cells)} |")
    decline = _decline([record for record in records if record["arm"] == baseline])
    return "\n".join([*lines, "", decline])


def _plus_minus(value: float) -> str:
    """Nothing for the unknown spread of a single seed."""
    return "" if np.isnan(value) else f" ± {value:.2f}"


def _scores(records: Sequence[Record]) -> dict[tuple[str, str], dict[int, dict[str, float]]]:
    """(arm, network) -> seed -> score in percent after the last and after the best step."""
    found: dict[tuple[str, str], dict[int, dict[str, float]]] = {}
    for record in records:
        for network in _NETWORKS:
            curve = [*_percent(record["curve"], network).values()]
            if curve:
                by_seed = found.setdefault((record["arm"], network), {})
                by_seed[record["seed"]] = {"last": curve[-1], "best": max(curve)}
    arms = list(dict.fromkeys(arm for arm, _ in found))
    return dict(sorted(found.items(), key=lambda item: (arms.index(item[0][0]), item[0][1])))


def _decline(records: Sequence[Record]) -> str:
    """How far the mean curve of these runs falls after its peak."""
    if not records:
        return ""
    curves = [record["curve"] for record in records]
    points = _mean_curve(curves, "student")
    peak, top = max(points, key=lambda point: point[1].mean)
    last = points[-1][0]
    if peak == last:
        return f"The mean of {records[0]['arm']} is highest at the last step, {last}."
    change = estimate([scores[last] - scores[peak] for scores in (_percent(curve, "student") for curve in curves)])
    return (
        f"The mean of {records[0]['arm']} peaks at {top.mean:.2f} after step {peak} and changes by "
        f"{change.mean:+.2f}{_plus_minus(change.error)} (standard error) until step {last}."
    )


def _ranges(seeds: Iterable[int]) -> str:
    """1, 2, 3, 5 -> "1-3, 5"."""
    ordered = sorted(seeds)
    groups = itertools.groupby(ordered, lambda seed: seed - ordered.index(seed))
    spans = [list(group) for _, group in groups]
    return ", ".join(str(span[0]) if len(span) == 1 else f"{span[0]}-{span[-1]}" for span in spans)


def main() -> None:
    """Rewrites the tables of the page, and the plot of each file beside it."""
    parser = workload.argument_parser(__doc__)
    parser.add_argument("--evidence", type=pathlib.Path, default=FOLDER, help="the folder of the JSON lines")
    options = parser.parse_args()
    sections = []
    for path in sorted(options.evidence.glob("*.jsonl")):
        records = read_json_lines(path)
        draw_curves(records).savefig(path.with_suffix(".png"), dpi=90)
        plot = f"![Mean F1 over the steps; teachers' lines are dashed](evidence/{path.stem}.png)"
        sections.append(f"\n## {path.stem}\n\n{plot}\n\n{tables(records)}\n")
    head = PAGE.read_text().partition(MARK)[0]
    write_text(PAGE, "".join([head, MARK, *sections]))


if __name__ == "__main__":
    main()
