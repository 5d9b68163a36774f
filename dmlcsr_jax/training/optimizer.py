"""The learning rate of every step, and SGD as PyTorch does it."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from dmlcsr_jax.errors import UserError

_SCHEDULES = ("poly", "cosine", "constant")


def learning_rate_schedule(config: Any, steps_per_epoch: int) -> optax.Schedule:
    """Builds the schedule that `config.optimizer` and `config.self_regulation` describe (arXiv 2203.14448 §4.2).

    With base = `learning_rate`, E = `training.epochs` and e = step // steps_per_epoch:

    - "poly": base (1 - step / all steps)^`power`, by step, over the whole run;
    - "cosine": from base to the minimum, base `minimum_factor`, by epoch, reached where stage one ends: at
      `epochs_before_cycles` with self-regulation, else at E;
    - "constant": base.

    The first `warmup_epochs` rise instead in equal steps, one an epoch, from the minimum to base; "poly" and "cosine"
    begin after them. With self-regulation, cycles of `cycle_epochs` follow from `epochs_before_cycles` on: in epoch k
    of each, cosine from base `learning_rate_factor` at k = 0 towards the minimum at k = `cycle_epochs`.

    Args:
      config: the whole configuration; see configs/default.py.
      steps_per_epoch: steps in one pass over the training images.

    Returns:
      A function from the number of steps taken before this one (an int or an integer array, also traced) to the rate.

    Raises:
      UserError: a field has a value that makes no schedule.
    """
    _check(config)
    optimizer, regulation = config.optimizer, config.self_regulation
    stage_one_epochs = regulation.epochs_before_cycles if regulation.enabled else config.training.epochs
    base, minimum = optimizer.learning_rate, optimizer.learning_rate * optimizer.minimum_factor
    warmup = optax.linear_schedule(minimum, base, optimizer.warmup_epochs)
    stage_one = _stage_one(config, stage_one_epochs, steps_per_epoch)
    cycle = _cosine(base * regulation.learning_rate_factor, minimum, regulation.cycle_epochs)

    def schedule(step: jax.Array | int) -> jax.Array:
        step = jnp.asarray(step, int)  # of 64 bits where they are enabled, and the rate with it
        epoch = step // steps_per_epoch
        rate = stage_one(step)
        if optimizer.warmup_epochs:
            rate = jnp.where(epoch < optimizer.warmup_epochs, warmup(epoch), rate)
        if regulation.enabled:
            cycle_epoch = (epoch - stage_one_epochs) % regulation.cycle_epochs
            rate = jnp.where(epoch < stage_one_epochs, rate, cycle(cycle_epoch))
        return jnp.asarray(rate)

    return schedule


def make_optimizer(config: Any, schedule: optax.Schedule) -> optax.GradientTransformation:
    """SGD with momentum and coupled weight decay, equal to PyTorch's step for step.

    g = gradient + `weight_decay` parameter, of every parameter; buffer = `momentum` buffer + g; parameter -= rate
    buffer, where the buffer starts at 0.

    Args:
      config: the whole configuration; `config.optimizer.momentum` and `config.optimizer.weight_decay` are read.
      schedule: step -> rate.
    """
    return optax.chain(
        optax.add_decayed_weights(config.optimizer.weight_decay),
        optax.sgd(schedule, momentum=config.optimizer.momentum),
    )


def _stage_one(config: Any, epochs: int, steps_per_epoch: int) -> optax.Schedule:
    """Step -> rate of stage one after its warm-up."""
    optimizer = config.optimizer
    base, warmup_steps = optimizer.learning_rate, optimizer.warmup_epochs * steps_per_epoch
    if optimizer.schedule == "constant":
        return optax.constant_schedule(base)
    if optimizer.schedule == "poly":
        steps = config.training.epochs * steps_per_epoch - warmup_steps
        return optax.polynomial_schedule(base, 0.0, optimizer.power, steps, transition_begin=warmup_steps)
    cosine = _cosine(base, base * optimizer.minimum_factor, epochs - optimizer.warmup_epochs)
    return lambda step: cosine(jnp.maximum(step // steps_per_epoch - optimizer.warmup_epochs, 0))


def _cosine(first: float, last: float, length: int) -> optax.Schedule:
    return optax.cosine_decay_schedule(first, length, alpha=last / first)


def _check(config: Any) -> None:
    optimizer, regulation = config.optimizer, config.self_regulation
    if optimizer.schedule not in _SCHEDULES:
        raise UserError(f"config.optimizer.schedule is {optimizer.schedule!r}; it can be {', '.join(_SCHEDULES)}")
    for name, value in (
        ("optimizer.learning_rate", optimizer.learning_rate),
        ("self_regulation.learning_rate_factor", regulation.learning_rate_factor),
        ("self_regulation.cycle_epochs", regulation.cycle_epochs),
    ):
        if value <= 0:
            raise UserError(f"config.{name} is {value}; it must be above 0")
    name, epochs = "training.epochs", config.training.epochs
    if regulation.enabled:
        name, epochs = "self_regulation.epochs_before_cycles", regulation.epochs_before_cycles
    if not 0 <= optimizer.warmup_epochs < epochs:
        raise UserError(
            f"config.optimizer.warmup_epochs is {optimizer.warmup_epochs}; it must be at least 0 and less than "
            f"config.{name}, which is {epochs}"
        )
