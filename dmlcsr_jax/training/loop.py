"""The training loop."""

import contextlib
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp

from dmlcsr_jax import checkpoints
from dmlcsr_jax.checkpoints import Window
from dmlcsr_jax.console import print_plain, progress_bar
from dmlcsr_jax.devices import host_local, replicate, shard
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.hosts import is_first
from dmlcsr_jax.models import init_variables, prepare_variables
from dmlcsr_jax.paths import Path
from dmlcsr_jax.training.experiment import Experiment
from dmlcsr_jax.training.initial import initial_variables
from dmlcsr_jax.training.logs import RunLog, write_overview
from dmlcsr_jax.training.plan import Plan
from dmlcsr_jax.training.preemption import preemption_notice
from dmlcsr_jax.training.profiling import step_tracer
from dmlcsr_jax.training.report import Reporter, is_due
from dmlcsr_jax.training.saving import SaveTimer
from dmlcsr_jax.training.self_regulation import end_cycle, ends_cycle, recompute_batch_stats
from dmlcsr_jax.training.state import TrainState, create_state
from dmlcsr_jax.training.steps import make_statistics_step, make_train_step
from dmlcsr_jax.training.write_failures import writing
from dmlcsr_jax.types import PyTree

# (state, log, step) -> the score by which the best checkpoint is chosen; logs the rest itself.
Evaluate = Callable[[TrainState, RunLog, int], float]


def train(experiment: Experiment, plan: Plan, workdir: Path, evaluate: Evaluate) -> TrainState:
    """Trains, or resumes training, until `config.training.epochs` are done or SIGTERM asks to stop.

    Args:
      experiment: the configuration as objects.
      plan: from `plan_run`.
      workdir: claimed by `claim_workdir`; receives checkpoints/, metrics.jsonl and TensorBoard events.
      evaluate: called every `config.evaluation.every_epochs` and at the end of stage one and of each cycle; its score
        decides which checkpoint is best.

    Returns:
      The last state.

    Raises:
      UserError: no checkpoint of the workdir can be read, training diverged, or nothing more can be written.
    """
    regulation, settings = experiment.regulation, experiment.training
    preprocessing = plan.metadata.preprocessing
    train_step = make_train_step(
        plan.model,
        plan.optimizer,
        weights=experiment.loss,
        preprocessing=preprocessing,
        distillation=regulation.distillation,
        class_weights=plan.class_weights,
        softening=regulation.softening,
        accumulate_steps=settings.accumulate_steps,
    )
    statistics_step = make_statistics_step(plan.model, preprocessing=preprocessing)

    def recompute(epoch: int, params: PyTree, batch_stats: PyTree) -> PyTree:
        variables = prepare_variables(plan.model, {"params": params})
        return recompute_batch_stats(statistics_step, variables, batch_stats, plan.input.one_pass(epoch))

    with (
        writing(workdir),
        checkpoints.open_manager(workdir / "checkpoints") as manager,
        progress_bar("training") as progress,
        preemption_notice() as preempted,
        step_tracer(workdir / "profile", experiment.profile) as traced,
        contextlib.ExitStack() as stack,
    ):
        state, window = start_or_resume(experiment, plan, manager, workdir)
        start = int(state.step)
        batches = plan.input.batches(start)
        log = stack.enter_context(contextlib.closing(RunLog(workdir, start, active=is_first())))
        report = Reporter(settings, plan, log, progress, start=start, window=window)
        save_time = SaveTimer(settings.checkpoint_every_minutes, start)
        for step in range(start + 1, plan.total_steps + 1):
            with traced(step, state):
                state, terms = train_step(state, shard(next(batches)))
            report(step, terms)
            cycle_ends = ends_cycle(step, regulation, plan.epoch_steps)
            stop = preempted(step)
            scored = cycle_ends or is_due(step, experiment.evaluation.every_epochs * plan.epoch_steps, plan.total_steps)
            save = is_due(step, settings.checkpoint_every, plan.total_steps)
            if not (scored or stop or save or save_time(step)):
                continue
            state = host_local(state)
            report.require_finite()
            require_finite(state, workdir)
            if cycle_ends:  # on images augmented as in the coming epoch
                epoch = step // plan.epoch_steps
                options = {"self_ensemble": regulation.self_ensemble, "restart": regulation.restart}
                state = end_cycle(state, functools.partial(recompute, epoch), **options)
            score = evaluate(state, log, step) if scored else checkpoints.UNSCORED
            log.flush()
            items = state.to_items()
            checkpoints.save(manager, step, items, plan.metadata, window=report.window(), score=score)
            report.restart_clock(step)
            save_time.restart(step)
            if stop and step < plan.total_steps:
                print_plain(f"stopped by SIGTERM after step {step}; the same command resumes from there")
                break
    return state


def start_or_resume(
    experiment: Experiment, plan: Plan, manager: ocp.CheckpointManager, workdir: Path
) -> tuple[TrainState, Window]:
    """The newest saved state and its `Reporter.window`, or a first state; on all devices."""
    abstract = jax.eval_shape(lambda: create_state(init_variables(plan.model, experiment.seed), plan.optimizer))
    items = abstract.to_items() | {"teacher": abstract.variables}
    saved, window = checkpoints.restore_latest(manager, items)
    if saved is None:
        variables = initial_variables(plan.model, experiment.initial, plan.metadata.spec.class_names)
        state = create_state(variables, plan.optimizer)
    else:
        state = TrainState.from_items(saved)
        print_plain(f"resuming from the checkpoint of step {int(state.step)} of {plan.total_steps} in {workdir}")
    if is_first():
        write_overview(workdir / "parameters.txt", state.params)
    return replicate(state), window


def require_finite(state: TrainState, workdir: Path) -> None:
    """Stops a run that diverged before its state is saved.

    Raises:
      UserError: a parameter or statistic is NaN or infinite.
    """
    if not _all_finite(state.variables):
        raise UserError(
            f"training diverged in step {int(state.step)}: parameters are not finite; the last good checkpoint "
            f"is in {workdir / 'checkpoints'}; lower config.optimizer.learning_rate"
        )


@jax.jit
def _all_finite(tree: PyTree) -> jax.Array:
    """[] bool, computed where the tree is, so that one value is fetched instead of every leaf."""
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]).all()
