"""What a configuration and a data set amount to, before the first step."""

import contextlib
import pathlib
from typing import NamedTuple

import jax
import optax
from ml_collections import ConfigDict

from dmlcsr_jax.console import console
from dmlcsr_jax.datasets.prepared import Dataset
from dmlcsr_jax.datasets.spec import FaceSpec
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.models import DMLCSR
from dmlcsr_jax.pipeline.input_pipeline import steps_per_epoch
from dmlcsr_jax.training import checkpoints
from dmlcsr_jax.training.card import Card
from dmlcsr_jax.training.optimizer import learning_rate_schedule, make_optimizer
from dmlcsr_jax.training.state import create_model
from dmlcsr_jax.training.steps import AXIS
from dmlcsr_jax.types import InputConvention


class Plan(NamedTuple):
    """What a configuration and a data set amount to."""

    model: DMLCSR
    optimizer: optax.GradientTransformation
    schedule: optax.Schedule
    card: Card
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
    _mention_cycles(config)
    schedule = learning_rate_schedule(config, epoch_steps)
    return Plan(
        model=create_model(dataset.spec.num_classes, config.model, axis_name=AXIS),
        optimizer=make_optimizer(config, schedule),
        schedule=schedule,
        card=create_card(dataset.spec, config, workdir),
        epoch_steps=epoch_steps,
        total_steps=config.training.epochs * epoch_steps,
    )


def create_card(spec: FaceSpec, config: ConfigDict, workdir: pathlib.Path) -> Card:
    """The card of every checkpoint of a run; raises UserError as `input_convention`."""
    size = (config.input.height, config.input.width)
    return Card(spec, config.model.to_dict(), size, input_convention(config, workdir))


def input_convention(config: ConfigDict, workdir: pathlib.Path) -> InputConvention:
    """How pictures enter the network: as the run's own checkpoint says, or the one it begins with, or the config.

    Raises:
      UserError: `config.init_from` has no checkpoint, or `config.input.channel_order` does not exist.
    """
    for folder in checkpoints.step_folders(workdir):
        with contextlib.suppress(UserError):  # training passes a broken checkpoint over, so does this
            return checkpoints.load_card(folder).convention
    if config.init_from:
        return checkpoints.load_card(config.init_from).convention
    if config.input.channel_order not in ("RGB", "BGR"):
        raise UserError(f"config.input.channel_order is {config.input.channel_order!r}; it can be RGB or BGR")
    return InputConvention(config.input.channel_order)


def _mention_cycles(config: ConfigDict) -> None:
    regulation, epochs = config.self_regulation, config.training.epochs
    first = regulation.epochs_before_cycles + regulation.cycle_epochs
    if regulation.enabled and first > epochs:
        console.print(f"no self-regulation: its first cycle would end with epoch {first}, training with epoch {epochs}")
