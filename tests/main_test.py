"""main.py as people run it: real processes, real files, a real kill."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from PIL import Image

from dmlcsr_jax import checkpoints
from dmlcsr_jax.datasets import get_spec
from dmlcsr_jax.files import read_json_lines

ROOT = pathlib.Path(__file__).parents[1]
ONE_DEVICE = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}


def command(*arguments):
    return [sys.executable, "main.py", *map(str, arguments)]


def run(*arguments, status=0):
    done = subprocess.run(command(*arguments), cwd=ROOT, env=ONE_DEVICE, capture_output=True, text=True, timeout=600)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout if status == 0 else done.stderr


def fails(*arguments):
    """The one line of a failed command."""
    lines = [line for line in run(*arguments, status=1).splitlines() if line]
    assert len(lines) == 1 and lines[0].startswith("error: "), lines
    return lines[0]


def test_a_wrong_flag_ends_in_one_line():
    line = fails("--config=configs/quickstart.py", "--workdir=x", "--config.model.witdh=8")
    assert "model.witdh" in line and "model.width" in line


def test_help_is_printed():
    assert "--mode:" in run("--help")


def test_bad_inputs_end_in_one_line(tmp_path):
    config = "--config=configs/quickstart.py:debug"
    data = f"--config.dataset.data_dir={tmp_path / 'data'}"
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert "--workdir" in fails(config, data, f"--workdir={blocked / 'run'}")
    assert "no such workdir" in fails(config, data, f"--workdir={tmp_path / 'none'}", "--mode=evaluate")
    assert "0.75" in fails(config, f"--workdir={tmp_path / 'none'}", "--mode=predict", "--scales=big", blocked)
    missing = fails(
        "--config=configs/folder.py", data, f"--workdir={tmp_path / 'run'}", "--config.dataset.path=/nowhere"
    )
    assert "/nowhere" in missing
    unknown = fails(config, data, f"--workdir={tmp_path / 'run'}", "--config.dataset.name=celeba")
    assert "dataset.name" in unknown and "synthetic" in unknown


@pytest.fixture(scope="module")
def killed_run(tmp_path_factory):
    """A debug run that was killed after its first checkpoint, and resumed by the same command."""
    folder = tmp_path_factory.mktemp("run")
    workdir = folder / "work"
    arguments = (
        "--config=configs/quickstart.py:debug",
        f"--workdir={workdir}",
        f"--config.dataset.data_dir={folder / 'data'}",
        "--config.training.epochs=6",
        "--config.evaluation.every_epochs=2",
    )
    with subprocess.Popen(command(*arguments), cwd=ROOT, env=ONE_DEVICE, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 500
        while not checkpoints.step_folders(workdir) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        assert process.poll() is None, "the run ended before it could be killed"
        process.send_signal(signal.SIGKILL)
    return arguments, workdir, run(*arguments)


def test_a_killed_run_resumes(killed_run):
    _, workdir, output = killed_run
    assert "resuming from the checkpoint of step" in output
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    train_steps = [line["step"] for line in lines if "train/total" in line]
    assert train_steps == sorted(set(train_steps)) and train_steps[-1] == 24
    assert [line["step"] for line in lines if "val/mean_f1" in line] == [4, 8, 12, 16, 20, 24]
    for name in ("config.json", "curves.png", "examples.png"):
        assert (workdir / name).stat().st_size > 0
    assert list(workdir.glob("events.out.tfevents.*"))


def test_published_self_regulation_differs_in_the_cycles(killed_run, tmp_path):
    arguments, workdir, _ = killed_run
    published = ("target=logits", "soften=heads", "restart=False")
    flags = [f"--config.self_regulation.{flag}" for flag in published]
    run(*arguments, f"--workdir={tmp_path}", *flags)
    default, other = (
        {
            (line["step"], name): value
            for line in read_json_lines(folder / "metrics.jsonl")
            for name, value in line.items()
        }
        for folder in (workdir, tmp_path)
    )
    assert other[4, "train/total"] == default[4, "train/total"]  # stage one
    assert other[8, "train/binary_edge_attention"] != default[8, "train/binary_edge_attention"]
    assert default[8, "val/mean_f1"] == default[8, "val_teacher/mean_f1"]  # the student restarts from the teacher
    assert other[8, "val/mean_f1"] != other[8, "val_teacher/mean_f1"]


def test_another_configuration_is_refused(killed_run):
    arguments, workdir, _ = killed_run
    line = fails(*arguments, "--config.model.width=16")
    assert "model.width is 8 there and 16 here" in line
    assert json.loads((workdir / "config.json").read_text())["model"]["width"] == 8


def test_evaluate_needs_no_config(killed_run):
    _, workdir, _ = killed_run
    output = run(f"--workdir={workdir}", "--mode=evaluate", "--flip", "--config.evaluation.split=test")
    result = json.loads((workdir / "evaluation.json").read_text())
    assert "mean F1" in output and set(result) >= {"f1", "merged_f1", "mean_f1", "miou", "pixel_accuracy"}
    assert list(result["f1"]) == list(get_spec("synthetic").class_names)
    assert all(0 <= result[name] <= 1 for name in ("mean_f1", "miou", "pixel_accuracy", "mean_accuracy"))
    assert "averaged over: mirrored" in " ".join(output.split())
    assert "<h2>Worst 8</h2>" in (workdir / "evaluation.html").read_text()


def test_predict_writes_maps_at_the_size_of_each_image(killed_run, tmp_path):
    _, workdir, _ = killed_run
    sizes = {"wide": (40, 90), "tall": (120, 50)}
    for name, (height, width) in sizes.items():
        cv2.imwrite(str(tmp_path / f"{name}.jpg"), np.full((height, width, 3), 90, np.uint8))
    output = tmp_path / "out"
    run(f"--workdir={workdir}", "--mode=predict", f"--output={output}", tmp_path / "wide.jpg", tmp_path / "tall.jpg")
    for name, size in sizes.items():
        with Image.open(output / f"{name}.png") as labels:
            assert labels.mode == "P" and labels.size == size[::-1] and np.asarray(labels).max() < 19
        assert cv2.imread(str(output / f"{name}_overlay.jpg")).shape[:2] == size
    workdir.joinpath("config.json").rename(tmp_path / "config.json")  # named images need none
    run(f"--workdir={workdir}", "--mode=predict", f"--output={output}", "--write=json", tmp_path / "*.jpg")
    (tmp_path / "config.json").rename(workdir / "config.json")
    assert len((output / "predictions.jsonl").read_text().splitlines()) == 2
    (tmp_path / "broken.jpg").write_text("no image")
    line = fails(f"--workdir={workdir}", "--mode=predict", f"--output={output}", tmp_path / "broken.jpg")
    assert "broken.jpg" in line


def test_export_needs_no_config(killed_run, tmp_path):
    _, workdir, _ = killed_run
    assert "tflite" in fails(f"--workdir={workdir}", "--mode=export", "--formats=tflite")
    run(f"--workdir={workdir}", "--mode=export", "--formats=stablehlo", f"--output={tmp_path / 'out'}")
    names = {"model.stablehlo", "model.stablehlo.md", "model.stablehlo.json"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
