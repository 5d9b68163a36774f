"""Finished runs and means over their seeds."""

import math

import pytest

from benchmarks import records
from dmlcsr_jax.files import read_json_lines


def test_estimate():
    found = records.estimate([1.0, 2.0, 4.0])
    assert found.mean == pytest.approx(7 / 3)
    assert found.error == pytest.approx(math.sqrt(7 / 3 / 3))
    assert found.interval == pytest.approx(4.30265 * found.error, rel=1e-5)  # Student's t with 2 degrees of freedom
    assert math.isnan(records.estimate([1.0]).interval)


def test_a_finished_run_is_found_again(tmp_path):
    run = {"arm": "without", "arm_flags": [], "seed": 0, "configuration": {"model.width": 16}, "data": "faces"}
    path = tmp_path / "new" / "runs.jsonl"
    records.append(path, run)
    (found,) = read_json_lines(path)
    assert records.is_same_run(run, found)
    for other in ({"arm": "published"}, {"seed": 1}, {"configuration": {"model.width": 32}}):
        assert not records.is_same_run(run | other, found)
