"""A run that is killed, anywhere and often, ends like an uninterrupted one. Real processes, signals and disks."""

import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import time

import numpy as np
import orbax.checkpoint as ocp
import pytest

from dmlcsr_jax.checkpoints import step_folders

ROOT = pathlib.Path(__file__).parents[1]
ONE_DEVICE = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
STEPS = 16  # 4 per epoch: one epoch, then three cycles of one epoch
pytestmark = pytest.mark.slow


def command(folder, workdir, *arguments):
    return [
        sys.executable,
        "main.py",
        "--config=configs/quickstart.py:debug",
        f"--workdir={workdir}",
        f"--config.dataset.data_dir={folder / 'data'}",
        "--config.dataset.synthetic.size=64",
        "--config.input.height=32",
        "--config.input.width=32",
        "--config.training.epochs=4",
        "--config.training.checkpoint_every=3",  # out of step with the log and with the ends of cycles
        "--config.training.log_every=4",
        *arguments,
    ]


def start(*arguments):
    return subprocess.Popen(
        command(*arguments), cwd=ROOT, env=ONE_DEVICE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(process, status=0):
    output = process.communicate(timeout=500)[0]
    assert process.returncode == status, output
    return output


def items(workdir):
    """All arrays of the last checkpoint."""
    folder = step_folders(workdir)[0]
    assert folder.name == str(STEPS)
    with ocp.StandardCheckpointer() as reader:
        return {name: reader.restore(folder / name) for name in ("variables", "teacher", "optimizer")}


def history(workdir):
    """The lines of metrics.jsonl, without the rates, which depend on the clock."""
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if "per_second" not in name} for line in lines]


def scores(workdir):
    return {
        folder.name: json.loads((folder / "metrics" / "metrics").read_text())["score"]
        for folder in step_folders(workdir)
    }


def assert_same_run(workdir, other):
    import jax

    jax.tree.map(np.testing.assert_array_equal, items(workdir), items(other))
    assert history(workdir) == history(other)
    assert scores(workdir) == scores(other)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of an uninterrupted run, and the seconds that it took."""
    folder = tmp_path_factory.mktemp("whole")
    finish(start(folder, folder / "warm-up"))  # fills the compilation cache, so that kills hit the work itself
    began = time.monotonic()
    finish(start(folder, folder / "run"))
    assert_same_run(folder / "run", folder / "warm-up")
    return folder, time.monotonic() - began


def test_ten_kills_change_nothing(whole, tmp_path):
    folder, seconds = whole
    delays = random.Random(0)
    kills = 0
    while kills < 10:
        process = start(folder, tmp_path)
        # Random moments hit every part of the run: steps, saves, recomputed statistics, evaluation.
        time.sleep(seconds * delays.uniform(0.3, 1.0))
        if process.poll() is not None and step_folders(tmp_path)[0].name == str(STEPS):
            seconds *= 0.8  # the machine is less busy than when the run was timed
            for path in sorted(tmp_path.rglob("*"), reverse=True):  # it finished before the tenth kill: start over
                path.unlink() if path.is_file() else path.rmdir()
            continue
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills += 1
    finish(start(folder, tmp_path))
    assert_same_run(tmp_path, folder / "run")


def wait_for(process, ready):
    deadline = time.monotonic() + 300
    while not ready() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert process.poll() is None, process.communicate()[0]


def test_sigterm_saves_and_prints_how_to_resume(whole, tmp_path):
    folder, _ = whole
    process = start(folder, tmp_path)
    wait_for(process, lambda: step_folders(tmp_path))
    process.send_signal(signal.SIGTERM)
    output = finish(process, status=0)
    stopped = int(step_folders(tmp_path)[0].name)
    assert f"stopped by SIGTERM after step {stopped}; the same command resumes from there" in output
    assert stopped < STEPS
    assert f"resuming from the checkpoint of step {stopped}" in finish(start(folder, tmp_path))
    assert_same_run(tmp_path, folder / "run")


def test_checkpoints_by_the_clock_change_nothing(whole, tmp_path):
    """Saved as often as the disk allows, killed after a step that no other rule saves, resumed."""
    folder, _ = whole
    process = start(folder, tmp_path, "--config.training.checkpoint_every_minutes=1e-4")
    wait_for(process, lambda: any(int(step.name) % 3 and int(step.name) % 4 for step in step_folders(tmp_path)))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    stopped = step_folders(tmp_path)[0].name
    assert f"resuming from the checkpoint of step {stopped}" in finish(start(folder, tmp_path))
    assert_same_run(tmp_path, folder / "run")


def test_a_truncated_newest_checkpoint_is_skipped(whole, tmp_path):
    folder, _ = whole
    process = start(folder, tmp_path)
    wait_for(process, lambda: len(step_folders(tmp_path)) > 1)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    newest, before, *_ = step_folders(tmp_path)
    for path in newest.rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:20])
    output = finish(start(folder, tmp_path))
    output = "".join(output.split())  # lines are wrapped anywhere, even in paths
    assert re.search(rf"{re.escape(str(newest))}cannotbereadasacheckpoint\(.+\);skipped", output)
    assert f"resumingfromthecheckpointofstep{before.name}of" in output
    assert_same_run(tmp_path, folder / "run")


def test_infinite_loss_names_its_step_and_keeps_the_checkpoints(whole, tmp_path):
    folder, _ = whole
    output = finish(start(folder, tmp_path, "--config.optimizer.learning_rate=1e18"), status=1)
    line = output.strip().splitlines()[-1]
    assert line.startswith("error: the loss of step ") and "learning_rate" in line
    assert "Traceback" not in output


def test_a_full_disk_stops_the_run_with_one_line(whole, tmp_path):
    """`ulimit` makes the system refuse to let a file grow, as it does when a disk is full."""
    folder, _ = whole
    process = start(folder, tmp_path)
    wait_for(process, lambda: step_folders(tmp_path))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    kept = {int(step.name) for step in step_folders(tmp_path)}
    limited = ["bash", "-c", 'ulimit -f 40; exec "$@"', "_", *command(folder, tmp_path)]
    process = subprocess.Popen(
        limited, cwd=ROOT, env=ONE_DEVICE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    output = finish(process, status=1)
    line = output.strip().splitlines()[-1]
    assert line.startswith("error: ") and str(tmp_path) in line and "cannot be written any more" in line
    assert "Traceback" not in output
    assert {int(step.name) for step in step_folders(tmp_path)} == kept
    finish(start(folder, tmp_path))
    assert_same_run(tmp_path, folder / "run")
