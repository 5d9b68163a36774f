"""One run on 1, 2 and 4 real processes: the same losses, the same scores, the same checkpoints.

Everything is computed in float64. Training amplifies differences: in float32 those of rounding, 1e-7 in the first step,
reach 1e-5 within a few steps, how many depends on the processor. In float64 they stay below 1e-12, far below what a
relative error of 1e-6 in anything that is synchronized becomes.
"""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import pytest

from dmlcsr_jax.checkpoints import step_folders

ROOT = pathlib.Path(__file__).parents[1]
EPOCHS, STEPS = 3, 15  # 43 images, 8 per step: 5 steps per epoch
TOLERANCE = 1e-10
# This compares arithmetic, not speed: without optimization, compiling takes a third of the time.
COMPILER = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
pytestmark = pytest.mark.slow


def start(workdir, data, processes, devices, *arguments):
    """Starts the processes of a run, each of which sees `devices` devices."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    flags = f"--xla_force_host_platform_device_count={devices} {COMPILER}"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_ENABLE_X64": "1"}
    command = [
        sys.executable,
        "main.py",
        "--config=configs/quickstart.py:debug",
        f"--workdir={workdir}",
        f"--config.dataset.data_dir={data}",
        "--config.dataset.synthetic.train=43",
        "--config.dataset.synthetic.val=7",
        "--config.dataset.synthetic.size=64",
        "--config.input.height=32",
        "--config.input.width=32",
        "--config.model.dtype=float64",
        "--config.model.width=4",
        "--config.model.dual_graph=False",  # it synchronizes nothing of its own and takes long to compile
        "--config.optimizer.learning_rate=1e-3",
        f"--config.training.epochs={EPOCHS}",
        "--config.training.log_every=1",
        "--config.training.checkpoint_every=3",
        "--config.evaluation.every_epochs=2",
        "--config.self_regulation.enabled=False",
        *arguments,
    ]
    joined = [
        [f"--distributed=localhost:{port},{processes},{index}"] if processes > 1 else [] for index in range(processes)
    ]
    return [
        subprocess.Popen(
            command + flags, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for flags in joined
    ]


def finish(running):
    outputs = [process.communicate(timeout=900)[0] for process in running]
    for process, output in zip(running, outputs, strict=True):
        assert process.returncode == 0, output
    return outputs


def stop(workdir, *run):
    """Starts a run and, once it has written a checkpoint, sends SIGTERM to its last process; all of them stop."""
    before = step_folders(workdir)
    running = start(workdir, *run)
    deadline = time.monotonic() + 600
    while step_folders(workdir) == before and time.monotonic() < deadline:
        assert all(process.poll() is None for process in running), [p.communicate()[0] for p in running]
        time.sleep(0.02)
    running[-1].send_signal(signal.SIGTERM)
    assert "stopped by SIGTERM after step" in finish(running)[0]
    assert int(step_folders(workdir)[0].name) < STEPS


def lines(workdir, prefix):
    found = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return {
        line["step"]: {name: line[name] for name in line if name.startswith(prefix) and "per_second" not in name}
        for line in found
        if any(name.startswith(prefix) for name in line)
    }


def assert_same_losses(workdir, other, without=()):
    here, there = lines(workdir, "train/"), lines(other, "train/")
    assert list(here) == list(there) == list(range(1, STEPS + 1))
    for step, terms in there.items():
        terms, expected = ({name: one[name] for name in one if name not in without} for one in (here[step], terms))
        assert terms == pytest.approx(expected, rel=TOLERANCE, abs=0), step


@pytest.fixture(scope="module")
def one_process(tmp_path_factory):
    """The run on one process with four devices."""
    folder = tmp_path_factory.mktemp("hosts")
    finish(start(folder / "run", folder / "data", 1, 4))
    return folder


@pytest.mark.parametrize(("processes", "devices"), [(2, 2), (4, 1)])
def test_processes_make_no_difference(one_process, tmp_path, processes, devices):
    """The run on two processes also saves by the clock and is stopped on the way, by SIGTERM to one of them."""
    run = (tmp_path / "run", one_process / "data", processes, devices)
    if processes == 2:
        run += ("--config.training.checkpoint_every_minutes=0.01",)
    if processes == 2:
        stop(*run)
    outputs = finish(start(*run))
    assert all("step" not in output for output in outputs[1:])  # only the first process prints
    assert_same_losses(run[0], one_process / "run")
    assert lines(run[0], "val") == lines(one_process / "run", "val")


def test_a_checkpoint_of_four_devices_resumes_on_two_and_on_one(one_process, tmp_path):
    """Without Lovász, which ranks the pixels of each device and so depends on the number of devices."""
    data, no_lovasz = one_process / "data", "--config.loss.lovasz=0.0"
    finish(start(tmp_path / "whole", data, 1, 4, no_lovasz))
    run = tmp_path / "run"
    stop(run, data, 1, 4, no_lovasz)
    stop(run, data, 1, 2, no_lovasz)
    output = finish(start(run, data, 1, 1, no_lovasz))[0]
    assert "resuming from the checkpoint of step" in output
    assert_same_losses(run, tmp_path / "whole", without=["train/lovasz"])
