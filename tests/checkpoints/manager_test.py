"""Checkpoints are whole or skipped, the best is kept, and each can be used alone."""

import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

from dmlcsr_jax import checkpoints
from dmlcsr_jax.checkpoints import CheckpointMetadata
from dmlcsr_jax.datasets import get_spec
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.models import create_model, init_variables
from dmlcsr_jax.training.state import TrainState, create_state
from dmlcsr_jax.types import Preprocessing

METADATA = CheckpointMetadata(get_spec("lapa"), {"backbone": "tiny", "width": 8}, (64, 48), Preprocessing("BGR"))


@pytest.fixture(scope="module")
def state():
    model = create_model(METADATA.spec.num_classes, **METADATA.model)
    return create_state(init_variables(model, seed=0), optax.sgd(0.1, momentum=0.9))


def at(state, step):
    return state.replace(step=jnp.asarray(step, jnp.int32), params=jax.tree.map(lambda leaf: leaf + step, state.params))


def save(manager, state, **options):
    checkpoints.save(manager, int(state.step), state.to_items(), METADATA, **options)


def restore(manager, state):
    items = jax.eval_shape(lambda: state).to_items()
    saved, window = checkpoints.restore_latest(manager, items | {"teacher": items["variables"]})
    return TrainState.from_items(saved), window


@pytest.fixture
def workdir(state, tmp_path):
    """Steps 1 to 5, the second of which is the best; the fourth was not evaluated."""
    with checkpoints.open_manager(tmp_path / "checkpoints") as manager:
        for step, score in ((1, 0.2), (2, 0.9), (3, 0.3), (4, checkpoints.UNSCORED), (5, 0.4)):
            save(manager, at(state, step), window={"total": [0.1 + step, step]}, score=score)
    return tmp_path


def test_newest_two_and_best_are_kept(workdir):
    assert sorted(int(path.name) for path in (workdir / "checkpoints").glob("[0-9]*")) == [2, 4, 5]
    assert checkpoints.find_checkpoint(workdir).name == "2"


def test_restores_the_newest_bit_for_bit(workdir, state):
    with checkpoints.open_manager(workdir / "checkpoints") as manager:
        restored, window = restore(manager, state)
    assert window == {"total": [5.1, 5]}
    jax.tree.map(np.testing.assert_array_equal, restored, at(state, 5))


def test_a_broken_newest_is_skipped(workdir, state):
    for path in (workdir / "checkpoints" / "5").rglob("*"):
        if path.is_file() and path.stat().st_size > 1000:
            path.write_bytes(path.read_bytes()[:100])
    with checkpoints.open_manager(workdir / "checkpoints") as manager:
        restored, window = restore(manager, state)
        assert int(restored.step) == 4 and window == {"total": [4.1, 4]}
        assert manager.all_steps() == [2, 4]
        save(manager, at(state, 5), score=0.3)  # the run reaches that step again
    assert (workdir / "checkpoints" / "5.broken").is_dir()
    with checkpoints.open_manager(workdir / "checkpoints") as manager:
        assert int(restore(manager, state)[0].step) == 5


def test_the_teacher_is_kept_and_preferred(state, tmp_path):
    teacher = jax.tree.map(lambda leaf: leaf + 100, state.variables)
    taught = at(state, 7).replace(teacher=teacher, cycle=jnp.asarray(2, jnp.int32))
    with checkpoints.open_manager(tmp_path / "checkpoints") as manager:
        save(manager, at(state, 6), score=0.5)
        save(manager, taught, score=0.6)
    with checkpoints.open_manager(tmp_path / "checkpoints") as manager:
        restored, _ = restore(manager, state)
    jax.tree.map(np.testing.assert_array_equal, restored, taught)
    assert checkpoints.choose_weights(tmp_path) == "teacher"
    for weights, expected in ((None, teacher), ("teacher", teacher), ("student", taught.variables)):
        jax.tree.map(np.testing.assert_array_equal, checkpoints.load(tmp_path, weights)[0], expected)
    with pytest.raises(UserError, match="weights is 'ema'; it can be student, teacher"):
        checkpoints.load(tmp_path, "ema")
    with pytest.raises(UserError, match="no teacher"):
        checkpoints.load(tmp_path / "checkpoints" / "6", "teacher")


def test_a_step_folder_can_be_used_alone(workdir, state, tmp_path):
    shutil.copytree(workdir / "checkpoints" / "4", tmp_path / "elsewhere")
    variables, metadata = checkpoints.load(tmp_path / "elsewhere")
    assert metadata == METADATA and metadata.spec.score_groups["overall"] == ("brows", "eyes", "nose", "mouth")
    jax.tree.map(np.testing.assert_array_equal, variables["params"], at(state, 4).params)


def test_missing_checkpoints_are_named(workdir, tmp_path):
    with pytest.raises(UserError, match="no such workdir"):
        checkpoints.load(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no checkpoint"):
        checkpoints.load(tmp_path / "empty")
    shutil.rmtree(workdir / "checkpoints" / "2" / "variables" / "d")
    with pytest.raises(UserError, match="cannot be read"):
        checkpoints.load(workdir / "checkpoints" / "2")


def test_metadata_survives_json():
    assert CheckpointMetadata.from_json(json.loads(json.dumps(METADATA.to_json()))) == METADATA


def test_checkpoints_of_version_0_1_0_are_read(state, tmp_path):
    """They call the metadata "card" and name some of its fields otherwise."""
    card = METADATA.to_json()
    card["convention"] = card.pop("preprocessing")
    card["model"] |= {"rematerialise": True, "pretrained_backbone": "resnet.pth"}
    items = {"variables": ocp.args.StandardSave(at(state, 3).variables), "card": ocp.args.JsonSave(card)}
    with checkpoints.open_manager(tmp_path / "checkpoints") as manager:
        manager.save(3, args=ocp.args.Composite(**items), metrics={"score": 0.5})
    variables, metadata = checkpoints.load(tmp_path)
    jax.tree.map(np.testing.assert_array_equal, variables, at(state, 3).variables)
    assert metadata == dataclasses.replace(METADATA, model=METADATA.model | {"remat": True})
