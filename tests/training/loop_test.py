"""The parts of the loop that need no training."""

import json

import jax.numpy as jnp
import pytest

from configs import default
from dmlcsr_jax.datasets import get_spec
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.files import read_json_lines
from dmlcsr_jax.training import loop
from dmlcsr_jax.training.experiment import Experiment
from dmlcsr_jax.training.logs import RunLog
from dmlcsr_jax.training.plan import create_metadata, describe_more_epochs
from dmlcsr_jax.training.report import is_due
from dmlcsr_jax.training.state import TrainState
from dmlcsr_jax.training.workdir import claim_workdir


@pytest.mark.parametrize(
    ("step", "every", "total", "due"),
    [(3, 5, 20, False), (5, 5, 20, True), (20, 6, 20, True), (19, 6, 20, False), (4, 0, 20, False), (20, 0, 20, True)],
)
def test_is_due(step, every, total, due):
    assert is_due(step, every, total) is due


def test_a_workdir_belongs_to_one_configuration(tmp_path):
    config = default.get_config("debug")
    claim_workdir(tmp_path, config.to_dict())
    (tmp_path / "checkpoints").mkdir()
    config.input.num_workers = 2
    config.evaluation.split = "test"
    claim_workdir(tmp_path, config.to_dict())  # neither changes what is learned
    before = (tmp_path / "config.json").read_text()
    assert json.loads(before)["evaluation"]["split"] == "test"
    config.optimizer.learning_rate = 1.0
    with pytest.raises(UserError, match=r"optimizer\.learning_rate is 0\.001 there and 1\.0 here"):
        claim_workdir(tmp_path, config.to_dict())
    assert (tmp_path / "config.json").read_text() == before


def test_a_run_may_get_more_epochs_but_not_fewer(tmp_path):
    config = default.get_config("debug")
    assert claim_workdir(tmp_path, config.to_dict()) is None
    (tmp_path / "checkpoints").mkdir()
    config.training.epochs = 5
    assert claim_workdir(tmp_path, config.to_dict()) == 3
    assert json.loads((tmp_path / "config.json").read_text())["training"]["epochs"] == 5
    config.training.epochs = 4
    with pytest.raises(UserError, match=r"training\.epochs is 5 there and 4 here; .*--config\.init_from="):
        claim_workdir(tmp_path, config.to_dict())


@pytest.mark.parametrize(
    ("schedule", "rate"), [("constant", "it is as before"), ("poly", "it is 0.000552 instead of 4.68e-05")]
)
def test_more_epochs_say_what_becomes_of_the_learning_rate(schedule, rate):
    config = default.get_config("debug")
    config.self_regulation.enabled, config.training.epochs, config.optimizer.schedule = False, 6, schedule
    line = describe_more_epochs(Experiment.from_config(config), 10, 3)
    assert line.startswith("6 epochs instead of 3:") and line.endswith(f"at the end of epoch 3 {rate}")


def test_a_run_of_version_0_1_0_resumes_without_the_fields_that_came_later(tmp_path):
    config = default.get_config("debug").to_dict()
    del config["dataset"]["terms"], config["optimizer"]["name"], config["input"]["zoom"]
    claim_workdir(tmp_path, config)
    (tmp_path / "checkpoints").mkdir()
    config = default.get_config("debug")
    config.input.zoom = 1.5
    with pytest.raises(UserError, match=r"input\.zoom is 1\.0 there and 1\.5 here"):
        claim_workdir(tmp_path, config.to_dict())
    claim_workdir(tmp_path, default.get_config("debug").to_dict())


def test_a_killed_save_is_no_checkpoint(tmp_path):
    config = default.get_config("debug")
    config.input.channel_order = "BGR"
    (tmp_path / "checkpoints" / "4.orbax-checkpoint-tmp").mkdir(parents=True)
    metadata = create_metadata(get_spec("synthetic"), Experiment.from_config(config), tmp_path)
    assert metadata.preprocessing.channel_order == "BGR"


def test_metrics_after_the_checkpoint_are_dropped(tmp_path):
    log = RunLog(tmp_path, start_step=0)
    for step in (1, 2, 3):
        log.scalars(step, {"train/total": 1.5 * step})
    log.close()
    with (tmp_path / "metrics.jsonl").open("a") as lines:
        lines.write('{"step": 4, "train/to')  # the process was killed here
    log = RunLog(tmp_path, start_step=2)
    log.scalars(3, {"train/total": 7.0})
    log.close()
    assert read_json_lines(tmp_path / "metrics.jsonl") == [
        {"step": 1, "train/total": 1.5},
        {"step": 2, "train/total": 3.0},
        {"step": 3, "train/total": 7.0},
    ]


def test_a_diverged_state_is_not_saved(tmp_path):
    state = TrainState(jnp.asarray(7), {"a": jnp.asarray([1.0, jnp.nan])}, {}, (), 0)
    with pytest.raises(UserError, match="step 7"):
        loop.require_finite(state, tmp_path)


def test_a_workdir_of_version_0_1_0_is_claimed(tmp_path):
    config = default.get_config("debug").to_dict()
    (tmp_path / "checkpoints").mkdir()
    before = config | {"model": {name: value for name, value in config["model"].items() if name != "remat"}}
    before["model"]["rematerialise"] = False
    (tmp_path / "config.json").write_text(json.dumps(before))
    claim_workdir(tmp_path, config)
    assert json.loads((tmp_path / "config.json").read_text()) == json.loads(json.dumps(config))
