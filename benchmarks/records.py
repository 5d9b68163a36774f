"""Finished runs as JSON lines, and means over their seeds.

A record is one run: how it was configured, its seed, the commit, and the scores of each evaluation.
"""

import itertools
import json
import pathlib
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from flax.traverse_util import flatten_dict
from scipy import stats

from dmlcsr_jax.command import parse
from dmlcsr_jax.files import read_json_lines
from dmlcsr_jax.recipes import read_config

NETWORKS = {"student": "val/mean_f1", "teacher": "val_teacher/mean_f1"}  # name -> score in metrics.jsonl
# Fields that say where and when, not what is learned.
_SILENT = ("seed", "profile", "dataset.path", "dataset.data_dir", "input.num_workers", "training.log_every")
Record = Mapping[str, Any]
Curve = Sequence[Mapping[str, float]]  # of each evaluation: "step", and mean F1 (0..1) of "student" and "teacher"


def describe(recipe: str, flags: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """The name of the data's folder, "" for drawn faces, and the configuration.

    Of the configuration these are the fields that differ from configs/default.py and change what is learned.
    """
    given = parse(["main.py", f"--config={recipe}", "--mode=train", "--workdir=unused", *flags]).config
    default = read_config("default", None)
    assert default is not None  # a recipe of that name is part of the package
    defaults = flatten_dict(default.to_dict(), sep=".")
    fields = flatten_dict(given.to_dict(), sep=".")
    fields["init_from"] = pathlib.Path(fields["init_from"]).name
    configuration = {
        name: value for name, value in fields.items() if name not in _SILENT and value != defaults.get(name)
    }
    return pathlib.Path(given.dataset.path).name, configuration


def commit() -> str:
    """The short name of the checked-out commit, with "-dirty" if files were changed."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def read_curve(workdir: pathlib.Path) -> list[dict[str, float]]:
    """Step, and student's and teacher's mean F1 (0..1), of every evaluation of a run."""
    lines = [line for line in read_json_lines(workdir / "metrics.jsonl") if NETWORKS["student"] in line]
    return [
        {"step": line["step"]} | {name: round(line[key], 5) for name, key in NETWORKS.items() if key in line}
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
        return json.dumps([record["data"], record["configuration"]], sort_keys=True)

    # Stable: after the baseline, arms stay in the order in which their first runs ended.
    ordered = sorted(records, key=lambda record: (key(record), record["arm"] != record["baseline"]))
    return [list(group) for _, group in itertools.groupby(ordered, key)]


def percent(curve: Curve, network: str) -> dict[float, float]:
    """Step -> score in percent of the evaluations that have this network."""
    return {point["step"]: 100 * point[network] for point in curve if network in point}


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


def mean_curve(curves: Sequence[Curve], network: str) -> list[tuple[float, Estimate]]:
    """Step and score in percent of the evaluations that all these runs have."""
    scores = [percent(curve, network) for curve in curves]
    steps = sorted(set.intersection(*map(set, scores)))
    return [(step, estimate([curve[step] for curve in scores])) for step in steps]
