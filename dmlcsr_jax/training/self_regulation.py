"""Cyclical self-regulation (arXiv 2203.14448 §3.5): the teacher averages the students of stage one and all cycles."""

import dataclasses
from collections.abc import Callable, Iterable

import jax
import jax.numpy as jnp
import optax

from dmlcsr_jax.devices import replicate, shard
from dmlcsr_jax.fields import check_range
from dmlcsr_jax.losses.softening import Softening, Target
from dmlcsr_jax.training.state import TrainState
from dmlcsr_jax.training.steps import StatisticsStep
from dmlcsr_jax.types import Batch, PyTree, Variables


@dataclasses.dataclass(frozen=True)
class SelfRegulation:
    """The section `config.self_regulation`.

    Attributes:
      enabled: whether there are cycles at all.
      epochs_before_cycles: epochs of stage one, 0 or more.
      cycle_epochs: epochs of each cycle, 1 or more.
      learning_rate_factor: each cycle restarts at this share of the learning rate, above 0.
      self_ensemble: whether the student joins the teacher's average at the end of stage one and of each cycle; if
        False, it replaces the teacher.
      distillation: whether the teacher softens the labels.
      target, soften, confidence: how; see `losses.Softening`.
      restart: whether the student continues from the teacher after each cycle.

    Raises:
      FieldError: a field is out of range.
    """

    enabled: bool = True
    epochs_before_cycles: int = 150
    cycle_epochs: int = 10
    learning_rate_factor: float = 0.5
    self_ensemble: bool = True
    distillation: bool = True
    target: Target = "probabilities"
    soften: str = "heads,attention"
    confidence: float = 0.8
    restart: bool = True

    def __post_init__(self):
        check_range("epochs_before_cycles", self.epochs_before_cycles, at_least=0)
        check_range("cycle_epochs", self.cycle_epochs, at_least=1)
        check_range("learning_rate_factor", self.learning_rate_factor, above=0)
        _ = self.softening  # checks its own fields

    @property
    def softening(self) -> Softening:
        """What the teacher does to the labels."""
        return Softening(target=self.target, soften=self.soften, confidence=self.confidence)


def ends_cycle(step: int, regulation: SelfRegulation, epoch_steps: int) -> bool:
    """Whether stage one or a cycle ends with the step of this number (1 is the first).

    As in the published code, the network at the end of stage one is the teacher's first member. Without a stage one
    (`epochs_before_cycles` is 0) the first member is that of the first cycle's end.

    Args:
      step: steps taken, this one included.
      regulation: the settings, or the section `config.self_regulation`; if it needs no teacher, no cycle ends.
      epoch_steps: steps per epoch.
    """
    if not regulation.enabled or not (regulation.self_ensemble or regulation.distillation):
        return False
    taken = step - regulation.epochs_before_cycles * epoch_steps
    return step > 0 and taken >= 0 and taken % (regulation.cycle_epochs * epoch_steps) == 0


@jax.jit
def moving_average(teacher: PyTree, student: PyTree, cycle: jax.Array | int) -> PyTree:
    """n/(n+1) teacher + 1/(n+1) student over two trees of parameters, where n = `cycle`.

    If the teacher is the mean of n students, the result is the mean of n + 1.
    """
    return optax.incremental_update(student, teacher, 1 / (cycle + 1))


def recompute_batch_stats(
    statistics_step: StatisticsStep, variables: Variables, batch_stats: PyTree, batches: Iterable[Batch]
) -> PyTree:
    """Batch statistics of a set of parameters: the mean over batches, weighted by their examples over all hosts.

    Args:
      statistics_step: from `steps.make_statistics_step`.
      variables: `{"params": ...}`, or `prepare_variables` of them.
      batch_stats: a tree of the statistics' shapes; the values do not matter.
      batches: one pass over the training images, this host's part.
    """
    seen = replicate(jnp.zeros((), jnp.float32))
    for batch in batches:
        batch_stats, seen = statistics_step(variables, batch_stats, seen, shard(batch))
    return batch_stats


def end_cycle(
    state: TrainState,
    recompute: Callable[[PyTree, PyTree], PyTree],
    *,
    self_ensemble: bool = True,
    restart: bool = False,
) -> TrainState:
    """Adds the student to the teacher's average, and recomputes the teacher's batch statistics.

    Args:
      state: after the last step of stage one or of a cycle.
      recompute: (params, batch_stats) -> the statistics of these parameters.
      self_ensemble: if False, this student alone is the teacher.
      restart: whether the student takes the teacher's parameters and batch statistics. The optimizer keeps its state.

    Returns:
      The state with the new teacher and the next cycle's number.
    """
    if state.teacher is None or not self_ensemble:
        params = jax.tree.map(jnp.copy, state.params)  # the next step donates the student's own
    else:
        params = moving_average(state.teacher["params"], state.params, state.cycle)
    params = replicate(params)
    teacher = {"params": params, "batch_stats": recompute(params, state.batch_stats)}
    if restart:
        state = state.replace(**jax.tree.map(jnp.copy, teacher))
    return replicate(state.replace(teacher=teacher, cycle=state.cycle + 1))
