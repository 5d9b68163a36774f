"""The training loop."""

import functools
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from dmlcsr_jax.console import console
from dmlcsr_jax.datasets.prepared import Dataset
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.hosts import is_first
from dmlcsr_jax.losses import LossWeights
from dmlcsr_jax.models import prepare_variables
from dmlcsr_jax.training import checkpoints
from dmlcsr_jax.training.data import one_pass, training_batches
from dmlcsr_jax.training.disk import writing
from dmlcsr_jax.training.initial import initial_variables
from dmlcsr_jax.training.logs import RunLog, progress_bar, write_overview
from dmlcsr_jax.training.plan import Plan
from dmlcsr_jax.training.preemption import preemption_notice
from dmlcsr_jax.training.profiling import step_tracer
from dmlcsr_jax.training.report import Reporter, is_due
from dmlcsr_jax.training.self_regulation import end_cycle, ends_cycle, estimate_statistics
from dmlcsr_jax.training.state import TrainState, create_state, init_variables
from dmlcsr_jax.training.steps import make_statistics_step, make_train_step, replicate, shard

# (state, log, step) -> the score that "best" is judged by; logs the rest itself.
Evaluate = Callable[[TrainState, RunLog, int], float]


def train(config: ConfigDict, dataset: Dataset, plan: Plan, workdir: pathlib.Path, evaluate: Evaluate) -> TrainState:
    """Trains, or goes on training, until `config.training.epochs` are done or SIGTERM asks to stop.

    Args:
      config: see configs/default.py.
      dataset: the prepared data, with a split "train".
      plan: from `plan_run`.
      workdir: claimed by `claim_workdir`; receives checkpoints/, metrics.jsonl and TensorBoard events.
      evaluate: called every `config.evaluation.every_epochs` and at the end of each cycle; its score decides which
        checkpoint is best.

    Returns:
      The last state.

    Raises:
      UserError: no checkpoint of the workdir can be read, training diverged, or nothing more can be written.
    """
    train_step = make_train_step(
        plan.model,
        plan.optimizer,
        LossWeights(**config.loss),
        plan.card.convention,
        distillation=config.self_regulation.distillation,
    )
    statistics_step = make_statistics_step(plan.model, plan.card.convention)

    def estimate(images, params, batch_stats):
        variables = prepare_variables(plan.model, {"params": params})
        return estimate_statistics(statistics_step, variables, batch_stats, images)

    with (
        writing(workdir),
        checkpoints.open_manager(workdir / "checkpoints") as manager,
        progress_bar("training") as progress,
        preemption_notice() as preempted,
        step_tracer(workdir / "profile", config.profile) as traced,
    ):
        state, window = start_or_resume(config, plan, manager, workdir)
        start = int(state.step)
        batches = training_batches(config, dataset, start)
        log = RunLog(workdir, start, active=is_first())
        report = Reporter(config, plan, log, progress, start, window)
        for step in range(start + 1, plan.total_steps + 1):
            with traced(step, state):
                state, terms = train_step(state, shard(next(batches)))
            report(step, terms)
            cycle_ends = ends_cycle(step, config.self_regulation, plan.epoch_steps)
            stop = preempted(step)
            scored = cycle_ends or is_due(step, config.evaluation.every_epochs * plan.epoch_steps, plan.total_steps)
            if not (scored or stop or is_due(step, config.training.checkpoint_every, plan.total_steps)):
                continue
            report.require_finite()
            require_finite(state, workdir)
            if cycle_ends:
                images = one_pass(config, dataset, epoch=step // plan.epoch_steps)  # varied as in the coming epoch
                state = end_cycle(state, functools.partial(estimate, images), config.self_regulation.self_ensemble)
            score = evaluate(state, log, step) if scored else checkpoints.UNSCORED
            checkpoints.save(manager, state, plan.card, report.window(), score)
            report.restart_clock(step)
            if stop and step < plan.total_steps:
                console.print(f"stopped by SIGTERM after step {step}; the same command goes on from there")
                break
        log.close()
    return state


def start_or_resume(
    config: ConfigDict, plan: Plan, manager: Any, workdir: pathlib.Path
) -> tuple[TrainState, dict[str, list[float]]]:
    """The newest saved state and its `Reporter.window`, or a first state; on all devices."""
    abstract = jax.eval_shape(lambda: create_state(init_variables(plan.model, config.seed), plan.optimizer))
    state, window = checkpoints.restore_latest(manager, abstract)
    if state is None:
        state = create_state(initial_variables(plan.model, config), plan.optimizer)
    else:
        console.print(f"going on from the checkpoint of step {int(state.step)} of {plan.total_steps} in {workdir}")
    if is_first():
        write_overview(workdir / "parameters.txt", state.params)
    return replicate(state), window


def require_finite(state: TrainState, workdir: pathlib.Path) -> None:
    """Stops a run that has gone astray before its state is saved.

    Raises:
      UserError: a parameter or statistic is NaN or infinite.
    """
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.variables)):
        raise UserError(
            f"training diverged in step {int(state.step)}: parameters are not finite; the last good checkpoint "
            f"is in {workdir / 'checkpoints'}; lower config.optimizer.learning_rate"
        )
