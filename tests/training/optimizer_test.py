"""Learning rates equal the published ones, and SGD takes PyTorch's steps."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from dmlcsr_jax.errors import UserError
from dmlcsr_jax.training.optimizer import OptimizerSettings, learning_rate_schedule, make_optimizer

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "schedules.npz"


def make_config(**changes):
    """The published recipe; `changes` are "section.field" -> value with a double underscore for the dot."""
    config = ConfigDict(
        {
            "training": {"epochs": 200},
            "optimizer": {
                "learning_rate": 1e-3,
                "schedule": "poly",
                "power": 0.9,
                "warmup_epochs": 0,
                "minimum_factor": 0.01,
                "momentum": 0.9,
                "weight_decay": 5e-4,
            },
            "self_regulation": {
                "enabled": False,
                "epochs_before_cycles": 150,
                "cycle_epochs": 10,
                "learning_rate_factor": 0.5,
            },
        }
    )
    for name, value in changes.items():
        section, field = name.split("__")
        config[section][field] = value
    return config


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as file:
        return dict(file)


@pytest.mark.parametrize("steps_per_epoch", [1, 7])
def test_cosine_with_restarts_equals_golden(golden, steps_per_epoch):
    arguments = json.loads(str(golden["sgdr_args"]))
    config = make_config(
        training__epochs=arguments["epochs"],
        optimizer__learning_rate=arguments["base"],
        optimizer__schedule="cosine",
        optimizer__warmup_epochs=arguments["warmup_epochs"],
        optimizer__minimum_factor=arguments["minimum"] / arguments["base"],
        self_regulation__enabled=True,
        self_regulation__epochs_before_cycles=arguments["start_cyclical"],
        self_regulation__cycle_epochs=arguments["cycle_epochs"],
        self_regulation__learning_rate_factor=arguments["cyclical_base"] / arguments["base"],
    )
    with jax.enable_x64(True):
        schedule = learning_rate_schedule(config, steps_per_epoch)
        rates = np.asarray(jax.jit(jax.vmap(schedule))(jnp.arange(arguments["epochs"] * steps_per_epoch)))
    # By epoch: every step of an epoch has the same rate.
    np.testing.assert_allclose(rates, np.repeat(golden["sgdr_by_epoch"], steps_per_epoch), rtol=1e-9)


@pytest.mark.parametrize("steps_per_epoch", [1, 8, 1000])
def test_poly_equals_golden(golden, steps_per_epoch):
    arguments = json.loads(str(golden["poly_args"]))
    config = make_config(
        training__epochs=arguments["steps"] // steps_per_epoch,
        optimizer__learning_rate=arguments["base"],
        optimizer__power=arguments["power"],
    )
    steps = np.arange(arguments["steps"])
    with jax.enable_x64(True):
        rates = np.asarray(jax.vmap(learning_rate_schedule(config, steps_per_epoch))(steps))
    np.testing.assert_allclose(rates, golden["poly_by_step"], rtol=1e-9)
    rates = jax.vmap(learning_rate_schedule(config, steps_per_epoch))(steps)
    np.testing.assert_allclose(rates, golden["poly_by_step"], atol=1e-9)


@pytest.mark.parametrize("schedule", ["poly", "cosine", "constant"])
def test_cycles_follow_any_first_stage(schedule):
    config = make_config(optimizer__schedule=schedule, self_regulation__enabled=True)
    plain = make_config(optimizer__schedule=schedule, training__epochs=200 if schedule == "poly" else 150)
    with_cycles, without = (jax.vmap(learning_rate_schedule(x, 3))(np.arange(600)) for x in (config, plain))
    np.testing.assert_array_equal(with_cycles[:450], without[:450])
    np.testing.assert_allclose(with_cycles[450:453], 0.5e-3)
    np.testing.assert_array_equal(with_cycles[450:480], with_cycles[480:510])
    assert (np.diff(with_cycles[450:480]) <= 0).all() and with_cycles[479] > 1e-5


def test_cycles_may_start_at_once():
    config = make_config(self_regulation__enabled=True, self_regulation__epochs_before_cycles=0)
    rates = jax.vmap(learning_rate_schedule(config, 2))(np.arange(40))
    np.testing.assert_allclose(rates[:2], 0.5e-3)
    np.testing.assert_array_equal(rates[:20], rates[20:])


def test_warmup_rises_to_the_base_that_poly_starts_from():
    rate = learning_rate_schedule(make_config(training__epochs=10, optimizer__warmup_epochs=2), 5)
    rates = np.array([rate(step) for step in range(50)])
    np.testing.assert_allclose(rates[[0, 4, 5, 9, 10]], [1e-5, 1e-5, 5.05e-4, 5.05e-4, 1e-3], atol=1e-9)
    np.testing.assert_allclose(rates[10:], 1e-3 * (1 - np.arange(40) / 40) ** 0.9, rtol=1e-5)


@pytest.mark.parametrize("schedule", ["poly", "cosine"])
def test_the_rate_grows_with_the_batch_if_it_is_for_another_size(schedule):
    config = make_config(optimizer__schedule=schedule, self_regulation__enabled=True)
    published = jax.vmap(learning_rate_schedule(config, 3))(np.arange(600))
    config.training.batch_size, config.optimizer.reference_batch_size = 7, 28
    scaled = jax.vmap(learning_rate_schedule(config, 3))(np.arange(600))
    np.testing.assert_allclose(scaled, published / 4, rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimizer__schedule": "linear"}, "config.optimizer.schedule is 'linear'; it can be poly, cosine, constant"),
        ({"optimizer__learning_rate": 0.0}, "config.optimizer.learning_rate is 0.0"),
        ({"optimizer__warmup_epochs": 200}, "warmup_epochs is 200; .* config.training.epochs, which is 200"),
        (
            {"optimizer__warmup_epochs": 150, "self_regulation__enabled": True},
            "config.self_regulation.epochs_before_cycles, which is 150",
        ),
        ({"self_regulation__cycle_epochs": 0}, "config.self_regulation.cycle_epochs is 0"),
    ],
)
def test_wrong_field_is_named(change, message):
    with pytest.raises(UserError, match=message):
        learning_rate_schedule(make_config(**change), 10)


def torch_sgd(parameter, gradients, rates, momentum, weight_decay):
    """PyTorch's SGD, from its documentation."""
    buffer = None
    for gradient, rate in zip(gradients, rates, strict=True):
        gradient = gradient + weight_decay * parameter
        buffer = gradient if buffer is None else momentum * buffer + gradient
        parameter = parameter - rate * buffer
    return parameter


def test_takes_the_steps_of_pytorch():
    rng = np.random.default_rng(0)
    shapes = {"kernel": (3, 4), "bias": (4,), "gamma": ()}
    parameters = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    gradients = [{name: rng.normal(size=shape) for name, shape in shapes.items()} for _ in range(6)]
    config = make_config(training__epochs=6, optimizer__learning_rate=0.1, optimizer__weight_decay=0.05)
    rates = 0.1 * (1 - np.arange(6) / 6) ** 0.9
    with jax.enable_x64(True):
        optimizer = make_optimizer(OptimizerSettings(weight_decay=0.05), learning_rate_schedule(config, 1))
        found = jax.tree.map(jnp.asarray, parameters)
        state = optimizer.init(found)
        for gradient in gradients:
            updates, state = jax.jit(optimizer.update)(gradient, state, found)
            found = optax.apply_updates(found, updates)
        found = jax.device_get(found)
    for name, parameter in parameters.items():
        expected = torch_sgd(parameter, [gradient[name] for gradient in gradients], rates, 0.9, 0.05)
        np.testing.assert_allclose(found[name], expected, rtol=1e-12, err_msg=name)


def test_adamw_decays_kernels_alone_and_the_encoder_follows_slowly():
    settings = OptimizerSettings(name="adamw", weight_decay=0.1, backbone_factor=0.25)
    layer = {"kernel": jnp.full((2, 3), 2.0), "bias": jnp.full(3, 2.0), "gamma": jnp.array(2.0)}
    params = {"encoder": layer, "parsing_head": layer}
    optimizer = make_optimizer(settings, lambda step: 0.01)
    state = optimizer.init(params)
    still, _ = optimizer.update(jax.tree.map(jnp.zeros_like, params), state, params)
    assert float(still["parsing_head"]["kernel"][0, 0]) == pytest.approx(-0.01 * 0.1 * 2, rel=1e-6)
    assert not still["parsing_head"]["bias"].any() and not still["parsing_head"]["gamma"].any()
    moved, _ = optimizer.update(jax.tree.map(jnp.ones_like, params), state, params)
    assert float(moved["parsing_head"]["bias"][0]) == pytest.approx(-0.01, rel=1e-4)  # Adam's first step has size one
    for updates in (still, moved):
        slow, fast = updates["encoder"], updates["parsing_head"]
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, 0.25 * b, rtol=1e-6), slow, fast)


def test_warmup_ends_before_the_run_does():
    config = make_config(training__epochs=5, optimizer__warmup_epochs=10)
    with pytest.raises(UserError, match=r"warmup_epochs is 10; it must be less than config\.training\.epochs"):
        learning_rate_schedule(config, 1)
