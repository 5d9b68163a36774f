"""Experiments train what is missing, and nothing twice."""

import argparse
import dataclasses
import json
import os
import subprocess

import pytest

from benchmarks import ablations, experiments, label_noise, records
from dmlcsr_jax.files import read_json_lines


@pytest.fixture
def study(tmp_path):
    return experiments.Study(
        module="label_noise",
        recipe="configs/label_noise.py",
        arms={"without": ["--config.self_regulation.enabled=False"], "with": []},
        flags=["--config.training.epochs=3"],
        evidence=tmp_path / "evidence" / "runs.jsonl",
        folder=tmp_path / "runs",
    )


class Trainings(list):
    """Stands for main.py: remembers the arguments, and leaves the scores that training would."""

    def __init__(self, folder):
        super().__init__()
        self._folder = folder

    def __call__(self, *arguments, core=None):
        if "--mode=prepare" in arguments:
            return
        assert core == 1
        self.append(arguments)
        workdir = next(argument.partition("=")[2] for argument in arguments if argument.startswith("--workdir="))
        assert workdir.startswith(str(self._folder))
        path = self._folder / workdir / "metrics.jsonl"
        path.parent.mkdir(parents=True)
        lines = [{"step": 8, "val/mean_f1": 0.25}, {"step": 8, "train/total": 3.0}]
        lines += [{"step": 16, "val/mean_f1": 0.5, "val_teacher/mean_f1": 0.75}]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_only_missing_runs_are_trained(study, monkeypatch):
    trained = Trainings(study.folder)
    monkeypatch.setattr(experiments, "call_main", trained)
    monkeypatch.setattr(experiments, "free_cores", lambda: [1])
    experiments.train_missing(study, argparse.Namespace(arms=["without"], seeds=[0, 1]))
    assert len(trained) == 2
    experiments.train_missing(study, argparse.Namespace(arms=["without", "with"], seeds=[0, 1]))
    assert len(trained) == 4 and all("--config.self_regulation.enabled=False" not in run for run in trained[2:])
    done = read_json_lines(study.evidence)
    assert {(record["arm"], record["seed"]) for record in done} == {
        (arm, seed) for arm in ("without", "with") for seed in (0, 1)
    }
    assert done[0]["curve"] == [{"step": 8, "student": 0.25}, {"step": 16, "student": 0.5, "teacher": 0.75}]
    assert {"commit", "seconds", "configuration", "command"} <= set(done[0])


@pytest.mark.parametrize("result", [(1, "broken"), (0, "stopped by SIGTERM after step 5; the same command resumes")])
def test_a_run_that_fails_or_is_stopped_is_no_evidence(study, monkeypatch, result):
    done = subprocess.CompletedProcess([], *result)
    monkeypatch.setattr(experiments, "free_cores", lambda: [None])
    monkeypatch.setattr(experiments.subprocess, "run", lambda *arguments, **options: done)
    with pytest.raises(SystemExit, match=result[1]):
        experiments.train_missing(study, argparse.Namespace(arms=["with"], seeds=[0]))
    assert not read_json_lines(study.evidence)


@pytest.mark.parametrize(("backend", "cores"), [("cpu", sorted(os.sched_getaffinity(0))), ("gpu", [None])])
def test_an_accelerator_trains_one_run_at_a_time(monkeypatch, backend, cores):
    asked = subprocess.CompletedProcess([], 0, f"{backend}\n")
    monkeypatch.setattr(experiments.subprocess, "run", lambda *arguments, **options: asked)
    assert experiments.free_cores() == cores


def test_a_run_of_another_configuration_has_its_own_folder(study):
    other = dataclasses.replace(study, flags=["--config.training.epochs=4"])
    runs = [owner.record(arm, seed) for owner in (study, other) for arm in study.arms for seed in (0, 1)]
    assert len({study.workdir(run) for run in runs}) == len(runs)
    assert study.workdir(runs[0]) == study.workdir(json.loads(json.dumps(runs[0])))


@pytest.mark.parametrize("flag", ["--config.training.epochs", "3"])
def test_flags_without_a_value_are_refused(flag, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["label_noise", "--", flag])
    with pytest.raises(SystemExit):
        experiments.main("", "label_noise", "configs/label_noise.py", label_noise.ARMS, seeds=1)
    assert f"{flag}: after -- write --config.NAME=VALUE" in capsys.readouterr().err


@pytest.mark.parametrize("module", [label_noise, ablations], ids=["label_noise", "ablations"])
def test_every_arm_is_a_configuration_of_its_own(module, tmp_path):
    name = module.__name__.partition(".")[2]
    study = experiments.Study(
        module=name,
        recipe=f"configs/{name}.py",
        arms=module.ARMS,
        flags=[
            "--config.dataset.path=/somewhere/faces",
            "--config.init_from=/somewhere/clean",
            "--config.training.epochs=3",
        ],
        evidence=tmp_path,
        folder=tmp_path,
    )
    found = [records.describe(study.recipe, flags)[1] for flags in module.ARMS.values()]
    assert len({json.dumps(fields) for fields in found}) == len(found)
    run = study.record(next(iter(module.ARMS)), 5)
    assert run["data"] == "faces" and "somewhere" not in json.dumps(run)
    assert "--config.init_from=clean" in str(run["command"]) and run["configuration"]["init_from"] == "clean"
    assert run["configuration"]["training.epochs"] == 3 and "seed" not in run["configuration"]
