"""Checkpoints: whole or passed over, the best kept, and enough by themselves."""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from configs import default
from dmlcsr_jax import checkpoints
from dmlcsr_jax.datasets import get_spec
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.models import create_model, init_variables
from dmlcsr_jax.training.state import create_state
from dmlcsr_jax.types import Preprocessing

CONFIG = default.get_config("debug")
CARD = checkpoints.CheckpointMetadata(get_spec("lapa"), CONFIG.model.to_dict(), (64, 48), Preprocessing("BGR"))


@pytest.fixture(scope="module")
def state():
    model = create_model(CARD.spec.num_classes, ConfigDict(CARD.model))
    return create_state(init_variables(model, seed=0), optax.sgd(0.1, momentum=0.9))


def at(state, step):
    return state.replace(step=jnp.asarray(step, jnp.int32), params=jax.tree.map(lambda leaf: leaf + step, state.params))


@pytest.fixture
def workdir(state, tmp_path):
    """Steps 1 to 5, the second of which is the best; the fourth was not evaluated."""
    with checkpoints.open_manager(tmp_path / "checkpoints") as manager:
        for step, score in ((1, 0.2), (2, 0.9), (3, 0.3), (4, checkpoints.UNSCORED), (5, 0.4)):
            checkpoints.save(manager, at(state, step), CARD, {"total": [0.1 + step, step]}, score)
    return tmp_path


def test_newest_two_and_best_are_kept(workdir):
    assert sorted(int(path.name) for path in (workdir / "checkpoints").glob("[0-9]*")) == [2, 4, 5]
    assert checkpoints.find_checkpoint(workdir).name == "2"


def test_restores_the_newest_bit_for_bit(workdir, state):
    abstract = jax.eval_shape(lambda: state)
    with checkpoints.open_manager(workdir / "checkpoints") as manager:
        restored, window = checkpoints.restore_latest(manager, abstract)
    assert window == {"total": [5.1, 5]}
    jax.tree.map(np.testing.assert_array_equal, restored, at(state, 5))


def test_a_broken_newest_is_passed_over(workdir, state):
    for path in (workdir / "checkpoints" / "5").rglob("*"):
        if path.is_file() and path.stat().st_size > 1000:
            path.write_bytes(path.read_bytes()[:100])
    with checkpoints.open_manager(workdir / "checkpoints") as manager:
        restored, window = checkpoints.restore_latest(manager, jax.eval_shape(lambda: state))
        assert int(restored.step) == 4 and window == {"total": [4.1, 4]}
        assert manager.all_steps() == [2, 4]
        checkpoints.save(manager, at(state, 5), CARD, score=0.3)  # the run comes by again
    assert (workdir / "checkpoints" / "5.broken").is_dir()
    with checkpoints.open_manager(workdir / "checkpoints") as manager:
        assert int(checkpoints.restore_latest(manager, jax.eval_shape(lambda: state))[0].step) == 5


def test_the_teacher_is_kept_and_taken_where_there_is_one(state, tmp_path):
    teacher = jax.tree.map(lambda leaf: leaf + 100, state.variables)
    taught = at(state, 7).replace(teacher=teacher, cycle=jnp.asarray(2, jnp.int32))
    with checkpoints.open_manager(tmp_path / "checkpoints") as manager:
        checkpoints.save(manager, at(state, 6), CARD, score=0.5)
        checkpoints.save(manager, taught, CARD, score=0.6)
    with checkpoints.open_manager(tmp_path / "checkpoints") as manager:
        restored, _ = checkpoints.restore_latest(manager, jax.eval_shape(lambda: state))
    jax.tree.map(np.testing.assert_array_equal, restored, taught)
    assert checkpoints.choose_weights(tmp_path) == "teacher"
    for weights, expected in ((None, teacher), ("teacher", teacher), ("student", taught.variables)):
        jax.tree.map(np.testing.assert_array_equal, checkpoints.load(tmp_path, weights)[0], expected)
    with pytest.raises(UserError, match="no teacher"):
        checkpoints.load(tmp_path / "checkpoints" / "6", "teacher")


def test_a_step_folder_alone_says_how_to_use_it(workdir, state, tmp_path):
    shutil.copytree(workdir / "checkpoints" / "4", tmp_path / "elsewhere")
    variables, metadata = checkpoints.load(tmp_path / "elsewhere")
    assert metadata == CARD and metadata.spec.score_groups["overall"] == ("brows", "eyes", "nose", "mouth")
    jax.tree.map(np.testing.assert_array_equal, variables["params"], at(state, 4).params)


def test_what_is_not_there_is_said(workdir, tmp_path):
    with pytest.raises(UserError, match="no such workdir"):
        checkpoints.load(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no checkpoint"):
        checkpoints.load(tmp_path / "empty")
    shutil.rmtree(workdir / "checkpoints" / "2" / "variables" / "d")
    with pytest.raises(UserError, match="cannot be read"):
        checkpoints.load(workdir / "checkpoints" / "2")
