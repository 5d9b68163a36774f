"""The measurements for a GPU: what they derive, and that the script runs."""

import json
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest
from rich.console import Console

from benchmarks import gaps, memory, precision
from benchmarks.gaps import Gap, Operation
from benchmarks.workload import Workload
from dmlcsr_jax.errors import UserError

ROOT = pathlib.Path(__file__).parents[2]


def lines_of(table):
    console = Console(width=120)
    with console.capture() as captured:
        console.print(table)
    return captured.get().splitlines()


def test_gaps_are_when_no_stream_works():
    """The second stream works on while the first one waits, and a short operation lies within a long one."""
    operations = [Operation(*each) for each in ((0, 4, "a"), (1, 10, "b"), (5, 6, "c"), (12, 13, "d"), (20, 30, "e"))]
    assert gaps.find_gaps(operations) == [Gap(2, "b", "d"), Gap(7, "d", "e")]
    operations = [Operation(1e6 * start, 1e6 * end, name) for start, end, name in operations]
    assert gaps.summary(3, operations) == "3 steps, 10.00 ms each, of which the device waits 3.00 ms (30.0%)"
    lines = "".join(lines_of(gaps.gaps_table(operations, 1)))
    assert "7.000" in lines and "2.000" not in lines


def test_a_profile_has_its_steps_and_operations(tmp_path):
    step = jax.jit(lambda x: jnp.sin(x @ x))
    x = step(jnp.ones((64, 64)))
    with jax.profiler.trace(tmp_path):
        for number in range(3):
            with jax.profiler.StepTraceAnnotation("train", step_num=number):
                x = step(x)
        x.block_until_ready()
    steps, operations = gaps.read_profile(tmp_path)
    assert steps == 3 and len(operations) >= 3
    assert operations == sorted(operations) and all(each.end > each.start for each in operations)


def test_a_folder_without_a_profile_is_named(tmp_path):
    with pytest.raises(UserError, match=r"has no \*\.xplane\.pb"):
        gaps.read_profile(tmp_path)


def test_runs_are_compared_where_both_have_a_loss(tmp_path):
    losses = {"float32": {25: 2.0, 50: 1.0}, "bfloat16": {25: 2.1}}
    for name, curve in losses.items():
        (tmp_path / name).mkdir()
        lines = [json.dumps({"step": step, "train/total": loss}) + "\n" for step, loss in curve.items()]
        (tmp_path / name / "metrics.jsonl").write_text("".join(lines))
    table = precision.comparison({name: precision.read_curves(tmp_path / name) for name in losses})
    assert table.row_count == 1
    assert "+5.00%" in "".join(lines_of(table)) and "2.1000" in "".join(lines_of(table))


def test_less_is_saved_in_bfloat16_and_with_remat():
    full, half = (Workload(64, 2, "tiny", 8, dtype) for dtype in ("float32", "bfloat16"))
    saved = memory.count_saved(full, remat=False)
    assert memory.count_saved(half, remat=False) < 0.9 * saved  # the loss is in float32
    assert memory.count_saved(full, remat=True) < saved


@pytest.mark.slow
def test_the_script_runs_a_part(tmp_path):
    environment = os.environ | {"OUT": str(tmp_path), "PYTHON": sys.executable}
    command = ["benchmarks/gpu.sh", "input", "--small"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    table = (tmp_path / "input.txt").read_text()
    assert table == done.stdout and "ours, 1 thread" in table


def test_the_script_explains_itself(tmp_path):
    environment = os.environ | {"OUT": str(tmp_path)}
    done = subprocess.run(["benchmarks/gpu.sh"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "benchmarks/gpu.sh PART [--small]" in done.stdout and "precision" in done.stdout
