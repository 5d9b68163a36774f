"""The training loop."""

import json
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from clu import metrics as clu_metrics
from ml_collections import ConfigDict
from rich.progress import Progress

from dmlcsr_jax.console import console
from dmlcsr_jax.datasets.prepared import Dataset
from dmlcsr_jax.datasets.spec import FaceSpec
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.losses import LossWeights
from dmlcsr_jax.models import DMLCSR
from dmlcsr_jax.pipeline.input_pipeline import steps_per_epoch, train_batches
from dmlcsr_jax.pipeline.transforms import Augmentation
from dmlcsr_jax.training import checkpoints
from dmlcsr_jax.training.initial import initial_variables
from dmlcsr_jax.training.logs import RunLog, progress_bar, write_atomically, write_overview
from dmlcsr_jax.training.optimizer import learning_rate_schedule, make_optimizer
from dmlcsr_jax.training.state import TrainState, create_model, create_state, init_variables
from dmlcsr_jax.training.steps import AXIS, make_train_step, replicate, shard
from dmlcsr_jax.types import Batch, InputConvention

# (state, log, step) -> the score that "best" is judged by; logs the rest itself.
Evaluate = Callable[[TrainState, RunLog, int], float]

# Fields that a run may change when it goes on: they decide where and how fast, not what is learnt.
_FREE_FIELDS = (
    "dataset.path",
    "dataset.data_dir",
    "dataset.bad_files",
    "input.num_workers",
    "model.rematerialise",
    "training.log_every",
    "training.checkpoint_every",
    "evaluation",
)


def is_due(step: int, every: int, total: int) -> bool:
    """Whether something done every `every` steps, and after the last one, is due after `step` steps."""
    return step == total or (every > 0 and step % every == 0)


def _flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for name, value in config.items():
        flat |= _flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


def claim_workdir(workdir: pathlib.Path, config: ConfigDict) -> None:
    """Makes the workdir and writes `config.json`; a workdir of another run is refused.

    Raises:
      UserError: it cannot be written, or it holds a run whose configuration differs.
    """
    path = workdir / "config.json"
    text = config.to_json(indent=2)
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        there = json.loads(path.read_text()) if path.exists() else None
        if there and (workdir / "checkpoints").is_dir():
            _refuse_other_run(path, _flatten(there), _flatten(json.loads(text)))
        write_atomically(path, text)
    except OSError as error:
        raise UserError(f"--workdir={workdir} cannot be written ({error.strerror}); name another folder") from error
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is not JSON ({error}); use a new --workdir") from error


def _refuse_other_run(path: pathlib.Path, there: dict[str, Any], here: dict[str, Any]) -> None:
    for name in sorted(there | here):
        if name.startswith(_FREE_FIELDS) or there.get(name) == here.get(name):
            continue
        raise UserError(
            f"{path} is of another run: {name} is {there.get(name)!r} there and {here.get(name)!r} here; "
            f"use a new --workdir, or --config.{name}={there.get(name)}"
        )


class Plan(NamedTuple):
    """What a configuration and a data set amount to."""

    model: DMLCSR
    optimizer: optax.GradientTransformation
    schedule: optax.Schedule
    card: checkpoints.Card
    epoch_steps: int
    total_steps: int


def plan_run(config: ConfigDict, dataset: Dataset, workdir: pathlib.Path) -> Plan:
    """Builds network, optimizer and schedule.

    Raises:
      UserError: the configuration does not fit the data or the devices.
    """
    batch_size, devices = config.training.batch_size, jax.device_count()
    if batch_size % devices:
        raise UserError(f"config.training.batch_size is {batch_size}; it must be a multiple of the {devices} devices")
    for name in ("training.epochs", "input.height", "input.width"):
        section, _, field = name.partition(".")
        if config[section][field] < 1:
            raise UserError(f"config.{name} is {config[section][field]}; it must be at least 1")
    epoch_steps = steps_per_epoch(dataset.splits["train"], batch_size)
    schedule = learning_rate_schedule(config, epoch_steps)
    return Plan(
        model=create_model(dataset.spec.num_classes, config.model, axis_name=AXIS),
        optimizer=make_optimizer(config, schedule),
        schedule=schedule,
        card=create_card(dataset.spec, config, workdir),
        epoch_steps=epoch_steps,
        total_steps=config.training.epochs * epoch_steps,
    )


def create_card(spec: FaceSpec, config: ConfigDict, workdir: pathlib.Path) -> checkpoints.Card:
    """The card of every checkpoint of a run; raises UserError as `input_convention`."""
    size = (config.input.height, config.input.width)
    return checkpoints.Card(spec, config.model.to_dict(), size, input_convention(config, workdir))


def input_convention(config: ConfigDict, workdir: pathlib.Path) -> InputConvention:
    """How pictures enter the network: as the run's own checkpoint says, or the one it begins with, or the config.

    Raises:
      UserError: `config.init_from` has no checkpoint, or `config.input.channel_order` does not exist.
    """
    if checkpoints.exist(workdir):
        return checkpoints.load_card(workdir).convention
    if config.init_from:
        return checkpoints.load_card(config.init_from).convention
    if config.input.channel_order not in ("RGB", "BGR"):
        raise UserError(f"config.input.channel_order is {config.input.channel_order!r}; it can be RGB or BGR")
    return InputConvention(config.input.channel_order)


def train(config: ConfigDict, dataset: Dataset, plan: Plan, workdir: pathlib.Path, evaluate: Evaluate) -> TrainState:
    """Trains, or goes on training, until `config.training.epochs` are done.

    Args:
      config: see configs/default.py.
      dataset: the prepared data, with a split "train".
      plan: from `plan_run`.
      workdir: claimed by `claim_workdir`; receives checkpoints/, metrics.jsonl and TensorBoard events.
      evaluate: called every `config.evaluation.every_epochs`; its score decides which checkpoint is best.

    Returns:
      The last state.

    Raises:
      UserError: no checkpoint of the workdir can be read, or training diverged.
    """
    abstract = jax.eval_shape(lambda: create_state(init_variables(plan.model, config.seed), plan.optimizer))
    train_step = make_train_step(plan.model, plan.optimizer, LossWeights(**config.loss), plan.card.convention)
    with checkpoints.open_manager(workdir / "checkpoints") as manager:
        state = checkpoints.restore_latest(manager, abstract)
        if state is None:
            state = create_state(initial_variables(plan.model, config), plan.optimizer)
        write_overview(workdir / "parameters.txt", state.params)
        state, start = replicate(state), int(state.step)
        if start:
            console.print(f"going on from the checkpoint of step {start} of {plan.total_steps} in {workdir}")
        batches = training_batches(config, dataset, start)
        log = RunLog(workdir, start, active=jax.process_index() == 0)
        with progress_bar("training") as progress:
            report = Reporter(config, plan, log, progress, start)
            for step in range(start + 1, plan.total_steps + 1):
                state, terms = train_step(state, shard(next(batches)))
                report(step, terms)
                if is_due(step, config.evaluation.every_epochs * plan.epoch_steps, plan.total_steps):
                    require_finite(state, workdir)
                    checkpoints.save(manager, state, plan.card, evaluate(state, log, step))
                    report.restart_clock(step)
                elif is_due(step, config.training.checkpoint_every, plan.total_steps):
                    require_finite(state, workdir)
                    checkpoints.save(manager, state, plan.card)
        log.close()
    return state


def training_batches(config: ConfigDict, dataset: Dataset, start_step: int) -> Iterator[Batch]:
    """This host's batches from a step on; see `input_pipeline.train_batches`."""
    fields = ("scale", "rotation", "rotation_probability", "flip_probability", "color_jitter")
    return train_batches(
        dataset.source("train"),
        dataset.spec,
        size=(config.input.height, config.input.width),
        batch_size=config.training.batch_size,
        augmentation=Augmentation(**{name: config.input[name] for name in fields}),
        seed=config.seed,
        start_step=start_step,
        num_workers=config.input.num_workers,
    )


def require_finite(state: TrainState, workdir: pathlib.Path) -> None:
    """Stops a run that has gone astray before its state is saved.

    Raises:
      UserError: a parameter or statistic is NaN or infinite.
    """
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.variables)):
        raise UserError(
            f"training diverged before step {int(state.step)}: parameters are not finite; the last good checkpoint "
            f"is in {workdir / 'checkpoints'}; lower config.optimizer.learning_rate"
        )


class Reporter:
    """Averages the loss terms between two lines of the log, and keeps the progress bar up to date."""

    def __init__(self, config: ConfigDict, plan: Plan, log: RunLog, progress: Progress, start: int):
        self._config, self._plan, self._log, self._progress = config, plan, log, progress
        self._task = progress.add_task("", total=plan.total_steps, completed=start, text="compiling")
        self._metrics = None
        self.restart_clock(start)

    def restart_clock(self, step: int) -> None:
        """Measures the rate from here on: evaluations do not count."""
        self._since, self._step = time.monotonic(), step

    def __call__(self, step: int, terms: dict[str, jax.Array]) -> None:
        """Takes the terms of a step; waits for the device only when a line is due."""
        averages = {name: clu_metrics.Average.from_model_output(value) for name, value in terms.items()}
        if self._metrics is None:
            self._metrics = averages
        else:
            self._metrics = {name: self._metrics[name].merge(average) for name, average in averages.items()}
        self._progress.update(self._task, completed=step)
        if is_due(step, self._config.training.log_every, self._plan.total_steps):
            self._report(step)

    def _report(self, step: int) -> None:
        values = {name: float(metric.compute()) for name, metric in self._metrics.items()}
        values["learning_rate"] = float(self._plan.schedule(step - 1))
        pictures = (step - self._step) * self._config.training.batch_size
        values["pictures_per_second"] = pictures / (time.monotonic() - self._since)
        self._log.scalars(step, {f"train/{name}": value for name, value in values.items()})
        text = f"loss {values['total']:.3f}, {values['pictures_per_second']:.1f} pictures/s"
        self._progress.update(self._task, text=text)
        if not console.is_terminal:  # a log file shows no bar
            console.print(f"step {step} of {self._plan.total_steps}, epoch {step / self._plan.epoch_steps:.1f}: {text}")
        self._metrics = None
        self.restart_clock(step)
