"""Cyclical self-regulation (arXiv 2203.14448 §3.5): the teacher, made of the students of all cycles."""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp

from dmlcsr_jax.training.state import TrainState
from dmlcsr_jax.training.steps import replicate, shard
from dmlcsr_jax.types import Batch


def ends_cycle(step: int, regulation: Any, epoch_steps: int) -> bool:
    """Whether a cycle ends with the step of this number (1 is the first).

    Args:
      step: steps taken, this one included.
      regulation: `config.self_regulation`; never where it has no use for a teacher.
      epoch_steps: steps in an epoch.
    """
    if not regulation.enabled or not (regulation.self_ensemble or regulation.distillation):
        return False
    taken = step - regulation.epochs_before_cycles * epoch_steps
    return taken > 0 and taken % (regulation.cycle_epochs * epoch_steps) == 0


@jax.jit
def moving_average(teacher: Any, student: Any, cycle: jax.Array | int) -> Any:
    """n/(n+1) teacher + 1/(n+1) student over two trees of parameters, where n = `cycle`.

    After cycles 0, 1, ..., n it is the mean of their students.
    """
    return jax.tree.map(lambda old, new: old + (new - old) / (cycle + 1), teacher, student)


def estimate_statistics(
    statistics_step: Callable, variables: dict[str, Any], batch_stats: Any, batches: Iterable[Batch]
) -> dict[str, Any]:
    """Batch statistics of a set of parameters: the mean of the batches' own, weighted by their examples over all hosts.

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


def end_cycle(state: TrainState, estimate: Callable[[Any, Any], Any], self_ensemble: bool = True) -> TrainState:
    """The student joins the teacher, and the teacher's batch statistics are estimated anew.

    Args:
      state: after the last step of cycle n.
      estimate: (params, batch_stats) -> the statistics of these parameters.
      self_ensemble: False to let the student of the last cycle alone be the teacher.
    """
    if state.teacher is None or not self_ensemble:
        params = jax.tree.map(jnp.copy, state.params)  # the next step donates the student's own
    else:
        params = moving_average(state.teacher["params"], state.params, state.cycle)
    params = replicate(params)
    teacher = {"params": params, "batch_stats": estimate(params, state.batch_stats)}
    return replicate(state.replace(teacher=teacher, cycle=state.cycle + 1))
