"""Every recipe names only fields that exist, and its network takes a step."""

import pathlib
import runpy

import jax
import jax.numpy as jnp
import pytest

from dmlcsr_jax.checkpoints import exported
from dmlcsr_jax.losses import Softening, multi_task_loss
from dmlcsr_jax.models import create_model, init_variables
from dmlcsr_jax.training.experiment import Experiment
from dmlcsr_jax.training.optimizer import make_optimizer, make_schedule
from dmlcsr_jax.training.state import create_state
from tests.shipped import write_exported

FOLDER = pathlib.Path(__file__).parents[1] / "configs"
RECIPES = sorted(path.name for path in FOLDER.glob("*.py") if path.name != "__init__.py")


@pytest.fixture(autouse=True)
def portrait(tmp_path, monkeypatch):
    """Weights of the name that recipes start from."""
    write_exported(tmp_path / "portrait")
    monkeypatch.setattr(exported, "shipped_directory", lambda: tmp_path)


def get_config(name, *args):
    return runpy.run_path(str(FOLDER / name))["get_config"](*args)


@pytest.mark.parametrize("name", RECIPES)
def test_takes_a_step(name):
    experiment = Experiment.from_config(get_config(name))
    model = create_model(19, **experiment.model)
    settings = experiment.optimizer, experiment.regulation
    schedule = make_schedule(*settings, epochs=experiment.training.epochs, steps_per_epoch=10)
    optimizer = make_optimizer(experiment.optimizer, schedule)

    def step():
        state = create_state(init_variables(model, seed=0), optimizer)
        images = jnp.zeros((2, *experiment.size, 3))
        labels = jnp.zeros(images.shape[:3], jnp.uint8)

        def loss(params):
            variables = {"params": params, "batch_stats": state.batch_stats}
            predictions, _ = model.apply(variables, images, train=True, mutable=["batch_stats"])
            return multi_task_loss(predictions, labels, weights=experiment.loss)

        grads, _ = jax.grad(loss, has_aux=True)(state.params)
        return optimizer.update(grads, state.opt_state, state.params)

    updates, _ = jax.eval_shape(step)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(updates))


@pytest.mark.parametrize("name", RECIPES)
def test_debug_variant_is_small_and_has_the_same_fields(name):
    config, small = get_config(name), get_config(name, "debug")
    assert small.training.epochs <= 3 and small.input.height <= 64
    for section, fields in get_config("default.py").items():
        assert type(config[section]) is type(fields)
        if hasattr(fields, "keys"):
            assert set(config[section]) == set(small[section]) == set(fields)


def test_default_is_the_published_network():
    model = create_model(19, **Experiment.from_config(get_config("default.py")).model)
    variables = jax.eval_shape(lambda: init_variables(model, seed=0))
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == 68_565_514


@pytest.mark.parametrize("name", ["celebamask_hq.py", "lapa.py", "helen.py"])
def test_benchmarks_soften_labels_as_published(name):
    regulation = Experiment.from_config(get_config(name)).regulation
    assert regulation.softening == Softening() and not regulation.restart


def test_the_second_run_of_the_portrait_recipe_has_the_same_network():
    first, second = (Experiment.from_config(get_config("portrait.py", arg)) for arg in ("", "finish"))
    assert second.model == first.model
    assert first.initial.pretrained_backbone == "imagenet" and not second.initial.pretrained_backbone
    assert second.size > first.size
