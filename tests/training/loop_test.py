"""The parts of the loop that need no training."""

import contextlib
import dataclasses
import json
import re

import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from configs import default
from dmlcsr_jax.checkpoints import save_variables
from dmlcsr_jax.datasets import get_spec
from dmlcsr_jax.devices import replicate
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.files import read_json_lines
from dmlcsr_jax.recipes import read_config
from dmlcsr_jax.training import loop
from dmlcsr_jax.training.experiment import Experiment, TrainingSettings
from dmlcsr_jax.training.logs import RunLog
from dmlcsr_jax.training.plan import check_batch_size, create_metadata, describe_more_epochs
from dmlcsr_jax.training.report import is_due
from dmlcsr_jax.training.state import TrainState
from dmlcsr_jax.training.workdir import LATER_FIELDS, claim_workdir


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
    config.evaluation.batch_size = 2
    claim_workdir(tmp_path, config.to_dict())  # neither changes what is learned
    before = (tmp_path / "config.json").read_text()
    assert json.loads(before)["evaluation"]["batch_size"] == 2
    config.optimizer.learning_rate = 1.0
    with pytest.raises(UserError, match=r"optimizer\.learning_rate is 0\.001 there and 1\.0 here"):
        claim_workdir(tmp_path, config.to_dict())
    assert (tmp_path / "config.json").read_text() == before


@pytest.mark.parametrize(
    ("size", "parts", "examples", "devices", "allowed"),
    [
        (28, 1, 2000, 8, "a multiple of 8, for 8 devices, up to the 2000 training images: 24 or 32"),
        (28, 1, 30, 8, "a multiple of 8, for 8 devices, up to the 30 training images: 24"),
        (3, 1, 2000, 8, "a multiple of 8, for 8 devices, up to the 2000 training images: 8"),
        (64, 1, 30, 8, "a multiple of 8, for 8 devices, up to the 30 training images: 24"),
        (8, 1, 5, 8, "a multiple of 8, for 8 devices, up to the 5 training images: they are too few"),
        (28, 3, 100, 1, "of 3, for 1 device and config.training.accumulate_steps=3, up to the 100 .*: 27 or 30"),
        (24, 2, 100, 8, "of 16, for 8 devices and config.training.accumulate_steps=2, up to the 100 .*: 16 or 32"),
    ],
)
def test_a_batch_that_devices_cannot_share_names_those_that_they_can(size, parts, examples, devices, allowed):
    settings = TrainingSettings(batch_size=size, accumulate_steps=parts)
    with pytest.raises(UserError, match=rf"config\.training\.batch_size is {size}; .*{allowed}$"):
        check_batch_size(settings, examples=examples, devices=devices)
    for named in re.findall(r"\d+", allowed.rpartition(": ")[2]):
        settings = dataclasses.replace(settings, batch_size=int(named))
        check_batch_size(settings, examples=examples, devices=devices)


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


def test_a_run_of_version_0_1_0_resumes_as_it_trained(tmp_path):
    fields = flatten_dict(default.get_config("debug").to_dict())
    old = {name: value for name, value in fields.items() if ".".join(name) not in LATER_FIELDS}
    claim_workdir(tmp_path, unflatten_dict(old))
    (tmp_path / "checkpoints").mkdir()
    config = read_config(None, str(tmp_path))
    assert (config.self_regulation.target, config.self_regulation.soften) == ("logits", "heads")
    config.input.zoom = 1.5
    with pytest.raises(UserError, match=r"input\.zoom is 1\.0 there and 1\.5 here"):
        claim_workdir(tmp_path, config.to_dict())
    claim_workdir(tmp_path, read_config(None, str(tmp_path)).to_dict())


def test_the_refusal_of_another_run_names_all_fields_that_differ(tmp_path):
    config = default.get_config("debug")
    claim_workdir(tmp_path, config.to_dict())
    (tmp_path / "checkpoints").mkdir()
    config.self_regulation.update(target="logits", restart=False)
    flags = "--config.self_regulation.restart=True --config.self_regulation.target=probabilities;"
    with pytest.raises(UserError, match=flags):
        claim_workdir(tmp_path, config.to_dict())


def test_a_killed_save_is_no_checkpoint(tmp_path):
    config = default.get_config("debug")
    config.input.channel_order = "BGR"
    (tmp_path / "checkpoints" / "4.orbax-checkpoint-tmp").mkdir(parents=True)
    metadata = create_metadata(get_spec("synthetic"), Experiment.from_config(config), tmp_path)
    assert metadata.preprocessing.channel_order == "BGR"


def test_a_run_resumes_only_on_its_own_data(tmp_path):
    experiment, spec = Experiment.from_config(default.get_config("debug")), get_spec("celebamask_hq")
    metadata = create_metadata(spec, experiment, tmp_path, train_examples=32)
    variables = {"params": {"kernel": np.zeros(1)}, "batch_stats": {}}
    save_variables(tmp_path / "checkpoints", variables, metadata)
    assert create_metadata(spec, experiment, tmp_path, train_examples=32) == metadata
    with pytest.raises(UserError, match="a run on 32 training images; the data set now has 33; to resume it, restore"):
        create_metadata(spec, experiment, tmp_path, train_examples=33)
    names = ("background", "nose", "skin", *spec.class_names[3:])
    with pytest.raises(UserError, match=r"a run on the classes background, skin, nose, .* now has background, nose, s"):
        create_metadata(dataclasses.replace(spec, class_names=names), experiment, tmp_path, train_examples=32)


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


@pytest.mark.parametrize("bad", [{"params": jnp.nan}, {"batch_stats": jnp.inf}, {}], ids=["nan", "inf", "finite"])
def test_a_diverged_state_is_not_saved(tmp_path, bad):
    trees = {"params": 1.0, "batch_stats": 2.0} | bad
    trees = {name: {"a": jnp.ones(3), "b": jnp.asarray([1.0, value])} for name, value in trees.items()}
    state = replicate(TrainState(jnp.asarray(7), **trees, opt_state=(), cycle=jnp.asarray(0)))
    with pytest.raises(UserError, match="step 7") if bad else contextlib.nullcontext():
        loop.require_finite(state, tmp_path)


def test_a_workdir_of_version_0_1_0_is_claimed(tmp_path):
    config = default.get_config("debug").to_dict()
    (tmp_path / "checkpoints").mkdir()
    before = config | {"model": {name: value for name, value in config["model"].items() if name != "remat"}}
    before["model"]["rematerialise"] = False
    (tmp_path / "config.json").write_text(json.dumps(before))
    claim_workdir(tmp_path, config)
    assert json.loads((tmp_path / "config.json").read_text()) == json.loads(json.dumps(config))
