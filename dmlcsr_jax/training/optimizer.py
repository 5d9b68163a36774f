"""The learning rate of every step, and the optimizers: SGD as PyTorch does it, and AdamW."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from dmlcsr_jax.errors import UserError
from dmlcsr_jax.fields import check_choice, check_range, read_section
from dmlcsr_jax.training.self_regulation import SelfRegulation
from dmlcsr_jax.types import PyTree

_OPTIMIZERS = ("sgd", "adamw")
_SCHEDULES = ("poly", "cosine", "constant")


@dataclasses.dataclass(frozen=True)
class OptimizerSettings:
    """The section `config.optimizer`; `learning_rate_schedule` and `make_optimizer` say what the fields do.

    Raises:
      FieldError: a field is out of range.
    """

    name: str = "sgd"
    learning_rate: float = 1e-3
    reference_batch_size: int = 0
    backbone_factor: float = 1.0
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: str = "poly"
    power: float = 0.9
    minimum_factor: float = 0.01
    warmup_epochs: int = 0

    def __post_init__(self):
        check_choice("name", self.name, _OPTIMIZERS)
        check_range("learning_rate", self.learning_rate, above=0)
        check_range("reference_batch_size", self.reference_batch_size, at_least=0)
        check_range("backbone_factor", self.backbone_factor, above=0)
        check_range("momentum", self.momentum, at_least=0, below=1)
        check_range("weight_decay", self.weight_decay, at_least=0)
        check_choice("schedule", self.schedule, _SCHEDULES)
        check_range("power", self.power, above=0)
        check_range("minimum_factor", self.minimum_factor, at_least=0, at_most=1)
        check_range("warmup_epochs", self.warmup_epochs, at_least=0)

    def for_batch(self, batch_size: int) -> "OptimizerSettings":
        """These settings with the rate for batches of `batch_size` images, in proportion (arXiv 1706.02677 §2.1).

        Without a `reference_batch_size` the rate stays.
        """
        if not self.reference_batch_size:
            return self
        rate = self.learning_rate * batch_size / self.reference_batch_size
        return dataclasses.replace(self, learning_rate=rate, reference_batch_size=batch_size)


def learning_rate_schedule(config: Any, steps_per_epoch: int) -> optax.Schedule:
    """The schedule that `config.optimizer` and `config.self_regulation` describe, see `make_schedule`.

    Args:
      config: the whole configuration; see configs/default.py.
      steps_per_epoch: steps in one pass over the training images.

    Raises:
      UserError: a field has a value that makes no schedule.
    """
    optimizer = read_section(OptimizerSettings, config, "optimizer")
    if optimizer.reference_batch_size:
        optimizer = optimizer.for_batch(config.training.batch_size)
    return make_schedule(
        optimizer,
        read_section(SelfRegulation, config, "self_regulation"),
        epochs=config.training.epochs,
        steps_per_epoch=steps_per_epoch,
    )


def make_schedule(
    optimizer: OptimizerSettings, regulation: SelfRegulation, *, epochs: int, steps_per_epoch: int
) -> optax.Schedule:
    """The learning rate of a run (arXiv 2203.14448 §4.2).

    With base = `learning_rate`, E = `epochs` and e = step // steps_per_epoch:

    - "poly": base (1 - step / all steps)^`power`, by step, over the whole run;
    - "cosine": from base to the minimum, base `minimum_factor`, by epoch, reached where stage one ends: at
      `epochs_before_cycles` with self-regulation, else at E;
    - "constant": base.

    The first `warmup_epochs` rise instead in equal steps, one per epoch, from the minimum to base; "poly" and "cosine"
    begin after them. With self-regulation, cycles of `cycle_epochs` follow from `epochs_before_cycles` on: in epoch k
    of each, cosine from base `learning_rate_factor` at k = 0 towards the minimum at k = `cycle_epochs`.

    Args:
      optimizer: the fields above, unless they are listed next.
      regulation: `enabled`, `epochs_before_cycles`, `cycle_epochs` and `learning_rate_factor`.
      epochs: of the whole run.
      steps_per_epoch: steps in one pass over the training images.

    Returns:
      A function from the number of steps taken before this one (an int or an integer array, also traced) to the rate.

    Raises:
      UserError: the warm-up does not fit into stage one or into the run.
    """
    stage_one_epochs = regulation.epochs_before_cycles if regulation.enabled else epochs
    _check_warmup(optimizer, stage_one_epochs, epochs)
    base, minimum = optimizer.learning_rate, optimizer.learning_rate * optimizer.minimum_factor

    def by_epoch(schedule: optax.Schedule) -> optax.Schedule:
        return lambda step: schedule(jnp.asarray(step) // steps_per_epoch)

    parts = []  # schedule, epochs
    if optimizer.warmup_epochs:
        parts.append((by_epoch(optax.linear_schedule(minimum, base, optimizer.warmup_epochs)), optimizer.warmup_epochs))
    if stage_one_epochs:
        stage_one = optax.constant_schedule(base)
        if optimizer.schedule == "poly":
            steps = (epochs - optimizer.warmup_epochs) * steps_per_epoch
            stage_one = optax.polynomial_schedule(base, 0.0, optimizer.power, steps)
        elif optimizer.schedule == "cosine":
            stage_one = by_epoch(_cosine(base, minimum, stage_one_epochs - optimizer.warmup_epochs))
        parts.append((stage_one, stage_one_epochs - optimizer.warmup_epochs))
    if regulation.enabled:
        cycle = _cosine(base * regulation.learning_rate_factor, minimum, regulation.cycle_epochs)
        parts.append((by_epoch(lambda epoch: cycle(jnp.asarray(epoch) % regulation.cycle_epochs)), 0))

    schedules, lengths = zip(*parts, strict=True)
    ends = [sum(lengths[: i + 1]) * steps_per_epoch for i in range(len(lengths) - 1)]
    joined = optax.join_schedules(schedules, ends)

    def schedule(step: ArrayLike) -> jax.Array:
        return jnp.asarray(joined(jnp.asarray(step, int)))  # 64 bits where they are enabled, for the rate too

    return schedule


def make_optimizer(settings: OptimizerSettings, schedule: optax.Schedule) -> optax.GradientTransformation:
    """SGD or AdamW; the rate of the encoder is that of the other parameters times `backbone_factor`.

    - "sgd": with momentum and coupled weight decay, equal to PyTorch's step for step. g = gradient + `weight_decay`
      parameter, of every parameter; buffer = `momentum` buffer + g; parameter -= rate buffer, where the buffer starts
      at 0.
    - "adamw": arXiv 1711.05101 with b1 = `momentum` and b2 = 0.999. `weight_decay` is decoupled from the gradient, and
      spares biases, batch norms and the graph's gammas.

    Args:
      settings: `name`, `backbone_factor`, `momentum` and `weight_decay` are read.
      schedule: step -> rate.
    """
    if settings.name == "adamw":
        optimizer = optax.adamw(schedule, b1=settings.momentum, weight_decay=settings.weight_decay, mask=_kernels)
    else:
        optimizer = optax.chain(
            optax.add_decayed_weights(settings.weight_decay),
            optax.sgd(schedule, momentum=settings.momentum),
        )
    if settings.backbone_factor == 1:
        return optimizer
    return optax.chain(optimizer, _scale_encoder(settings.backbone_factor))


def _kernels(params: PyTree) -> PyTree:
    """True for every kernel, False for the other parameters."""
    return jax.tree.map(lambda parameter: parameter.ndim > 1, params)


def _scale_encoder(factor: float) -> optax.GradientTransformation:
    """Multiplies the encoder's updates."""

    def scale(updates: PyTree, params: PyTree) -> PyTree:
        del params
        return {**updates, "encoder": jax.tree.map(lambda update: factor * update, updates["encoder"])}

    return optax.stateless(scale)


def _cosine(first: float, last: float, length: int) -> optax.Schedule:
    return optax.cosine_decay_schedule(first, length, alpha=last / first)


def _check_warmup(optimizer: OptimizerSettings, stage_one_epochs: int, epochs: int) -> None:
    most = min(stage_one_epochs, epochs)
    if optimizer.warmup_epochs and optimizer.warmup_epochs >= most:
        name = "self_regulation.epochs_before_cycles" if stage_one_epochs < epochs else "training.epochs"
        raise UserError(
            f"config.optimizer.warmup_epochs is {optimizer.warmup_epochs}; it must be less than config.{name}, "
            f"which is {most}"
        )
