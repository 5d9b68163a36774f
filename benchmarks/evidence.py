"""Tables and plots of finished runs (`records.py`).

    python -m benchmarks.evidence   # rewrites the tables in docs/evidence.md and its plots from docs/evidence/*.jsonl

Runs that differ in nothing but their arm and seed make one table and one plot.
"""

import itertools
import pathlib
import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks import workload
from benchmarks.records import NETWORKS, Estimate, Record, comparisons, estimate, mean_curve, percent
from dmlcsr_jax.files import read_json_lines, write_text

FOLDER = pathlib.Path("docs/evidence")
PAGE = pathlib.Path("docs/evidence.md")
COLORS = colormaps["tab20"].colors  # as many as arms, and more
MARK = "<!-- python -m benchmarks.evidence writes what follows -->\n"


def tables(records: Iterable[Record], against: str = "") -> str:
    """Markdown tables of all records, one for each comparison.

    Args:
      records: the runs.
      against: the arm that the others are compared with, each network with the same one of this arm if it has it; ""
        for the records' own baseline.
    """
    return "\n\n".join(_table(group, against or group[0]["baseline"]) for group in comparisons(records))


def draw_curves(records: Sequence[Record]) -> Figure:
    """The mean score of every arm over the steps, with its standard error; a plot for each comparison.

    Students' lines are solid, teachers' dashed. An arm has the same color in all plots. Arms with less than half the
    seeds of the first one are not drawn.
    """
    groups = comparisons(records)
    colors = dict(zip(dict.fromkeys(record["arm"] for record in records), itertools.cycle(COLORS)))
    columns = min(len(groups), 2)
    rows = -(-len(groups) // columns)
    figure = Figure(figsize=(6.4 * columns, 4.8 * rows), layout="constrained")
    cells = figure.subplots(rows, columns, squeeze=False).flat
    for axes, group in zip(cells, groups, strict=False):
        counts = Counter(record["arm"] for record in group)  # in order of appearance
        arms = [arm for arm, count in counts.items() if 2 * count >= counts[group[0]["arm"]]]
        for arm in reversed(arms):  # the baseline lies on top
            curves = [record["curve"] for record in group if record["arm"] == arm]
            for network, line in (("student", "-"), ("teacher", "--")):
                _draw_mean(axes, mean_curve(curves, network), line, color=colors[arm], label=f"{arm}, {network}")
        flags = textwrap.fill(group[0]["command"].partition(" -- ")[2].replace("--config.", ""), 80)
        axes.set_title(f"{group[0]['data'] or 'drawn faces'}\n{flags}", fontsize=8)
        axes.set(xlabel="step", ylabel="mean F1 (%)")
        axes.grid(alpha=0.3)
        students = [line for line in axes.lines if line.get_linestyle() == "-"]  # every arm has one
        axes.legend(students[::-1], arms, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
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
        for network in NETWORKS:
            curve = [*percent(record["curve"], network).values()]
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
    points = mean_curve(curves, "student")
    peak, top = max(points, key=lambda point: point[1].mean)
    last = points[-1][0]
    if peak == last:
        return f"The mean of {records[0]['arm']} is highest at the last step, {last}."
    change = estimate([scores[last] - scores[peak] for scores in (percent(curve, "student") for curve in curves)])
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
