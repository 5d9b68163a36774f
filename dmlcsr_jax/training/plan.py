"""What an experiment and a data set amount to, before the first step."""

import contextlib
import dataclasses

import jax
import numpy as np
import optax

from dmlcsr_jax import checkpoints
from dmlcsr_jax.checkpoints import CheckpointMetadata
from dmlcsr_jax.console import print_plain
from dmlcsr_jax.datasets.prepared import Dataset, Source
from dmlcsr_jax.datasets.spec import FaceSpec
from dmlcsr_jax.devices import AXIS
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.models import DMLCSR, create_model
from dmlcsr_jax.models.backbones import get_preprocessing
from dmlcsr_jax.paths import Path
from dmlcsr_jax.pipeline.input_pipeline import TrainInput, steps_per_epoch
from dmlcsr_jax.pipeline.label_noise import NoisyLabels
from dmlcsr_jax.pipeline.sampling import class_factors, class_presence, repeat_factors
from dmlcsr_jax.training.class_weights import read_class_weights
from dmlcsr_jax.training.experiment import Experiment, TrainingSettings
from dmlcsr_jax.training.optimizer import make_optimizer, make_schedule
from dmlcsr_jax.training.self_regulation import SelfRegulation
from dmlcsr_jax.types import Preprocessing


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """A run that is ready to start.

    Attributes:
      model: the network, synchronized over devices.
      optimizer: SGD or AdamW, on `schedule`.
      schedule: step -> learning rate.
      input: the training images.
      metadata: of every checkpoint.
      class_weights: [C] float32, the weight of each class in the loss; None for equal weights.
      epoch_steps: steps per epoch.
      total_steps: steps of the run.
    """

    model: DMLCSR
    optimizer: optax.GradientTransformation
    schedule: optax.Schedule
    input: TrainInput
    metadata: CheckpointMetadata
    class_weights: np.ndarray | None
    epoch_steps: int
    total_steps: int


def plan_run(experiment: Experiment, dataset: Dataset, workdir: Path) -> Plan:
    """Builds network, optimizer, schedule and input.

    Raises:
      UserError: the experiment does not fit the data or the devices.
    """
    check_batch_size(experiment.training, examples=dataset.splits["train"], devices=jax.device_count())
    epoch_steps = steps_per_epoch(dataset.splits["train"], experiment.training.batch_size)
    epochs = experiment.training.epochs
    mention_cycles(experiment.regulation, epochs, experiment.optimizer.schedule)
    schedule = make_schedule(experiment.optimizer, experiment.regulation, epochs=epochs, steps_per_epoch=epoch_steps)
    return Plan(
        model=create_model(dataset.spec.num_classes, axis_name=AXIS, **experiment.model),
        optimizer=make_optimizer(experiment.optimizer, schedule),
        schedule=schedule,
        input=_train_input(experiment, dataset),
        metadata=create_metadata(dataset.spec, experiment, workdir, train_examples=dataset.splits["train"]),
        class_weights=_class_weights(experiment, dataset),
        epoch_steps=epoch_steps,
        total_steps=epochs * epoch_steps,
    )


def check_batch_size(settings: TrainingSettings, *, examples: int, devices: int) -> None:
    """Checks that every part of a step has equally many images on every device.

    Args:
      settings: `batch_size` and `accumulate_steps` are read.
      examples: number of training images, which a batch may not exceed.
      devices: of all hosts.

    Raises:
      UserError: it has not; names the nearest batch sizes that work.
    """
    size, parts = settings.batch_size, settings.accumulate_steps
    unit = devices * parts
    if size % unit == 0 and size <= examples:
        return
    most = examples // unit * unit
    nearest = {min(max(n, unit), most) for n in (size // unit * unit, (size // unit + 1) * unit)}
    if unit == 1:
        raise UserError(
            f"config.training.batch_size is {size}, but there are only {examples} training images; use {most}"
        )
    reason = f"{devices} device{'s' * (devices > 1)}" + f" and config.training.accumulate_steps={parts}" * (parts > 1)
    works = " or ".join(map(str, sorted(nearest))) if most else "they are too few"
    raise UserError(
        f"config.training.batch_size is {size}; it must be a multiple of {unit}, for {reason}, up to the {examples} "
        f"training images: {works}"
    )


def describe_more_epochs(experiment: Experiment, epoch_steps: int, earlier_epochs: int) -> str:
    """One line about a run that resumes with more epochs than it had: what becomes of its learning rate."""

    def last_rate(epochs: int) -> float:
        schedule = make_schedule(
            experiment.optimizer, experiment.regulation, epochs=epochs, steps_per_epoch=epoch_steps
        )
        return np.asarray(schedule(earlier_epochs * epoch_steps - 1)).item()

    epochs = experiment.training.epochs
    before, now = last_rate(earlier_epochs), last_rate(epochs)
    change = "as before" if before == now else f"{now:.3g} instead of {before:.3g}"
    return (
        f"{epochs} epochs instead of {earlier_epochs}: the learning rate follows the schedule of {epochs} epochs from "
        f"here on; at the end of epoch {earlier_epochs} it is {change}"
    )


def create_metadata(
    spec: FaceSpec, experiment: Experiment, workdir: Path, *, train_examples: int | None = None
) -> CheckpointMetadata:
    """The metadata of every checkpoint of a run.

    Preprocessing and terms are as the run's own checkpoint says, or the one it starts from, or the experiment.

    Raises:
      UserError: `config.init_from` has no checkpoint, or the run's own one is of other classes or another number of
        training images.
    """
    own = _own_metadata(workdir)
    if own:
        _refuse_other_data(own, spec, train_examples, workdir)
    return CheckpointMetadata(
        spec=spec,
        model=experiment.model,
        size=experiment.size,
        preprocessing=own.preprocessing if own else _initial_preprocessing(experiment),
        inherited_terms=own.inherited_terms if own else experiment.initial.terms(),
        train_examples=train_examples,
    )


def _refuse_other_data(own: CheckpointMetadata, spec: FaceSpec, train_examples: int | None, workdir: Path) -> None:
    """Raises UserError if a run would resume with other classes, or with epochs of another length."""
    changed = ""
    if (own.spec.class_names, own.spec.flip_pairs) != (spec.class_names, spec.flip_pairs):
        changed = f"the classes {', '.join(own.spec.class_names)}; the data set now has {', '.join(spec.class_names)}"
    elif own.train_examples not in (None, train_examples):
        changed = f"{own.train_examples} training images; the data set now has {train_examples}"
    if changed:
        raise UserError(
            f"{workdir} holds a run on {changed}; to resume it, restore the data; to train on from its weights, use a "
            f"new --workdir and --config.init_from={workdir}"
        )


def _own_metadata(workdir: Path) -> CheckpointMetadata | None:
    """What the run's newest checkpoint says; what the run started from may be gone."""
    for folder in checkpoints.step_folders(workdir):
        with contextlib.suppress(UserError):  # training skips a broken checkpoint, so does this
            return checkpoints.load_metadata(folder)
    return None


def _initial_preprocessing(experiment: Experiment) -> Preprocessing:
    """How images enter the network: as the checkpoint says that the run starts from, or the experiment."""
    if experiment.initial.init_from:
        return checkpoints.load_metadata(experiment.initial.init_from).preprocessing
    # BGR keeps the numbers in RGB order, as the published pipeline does.
    return dataclasses.replace(get_preprocessing(experiment.model["backbone"]), channel_order=experiment.channel_order)


def _train_input(experiment: Experiment, dataset: Dataset) -> TrainInput:
    source, noise = dataset.source("train"), experiment.label_noise
    return TrainInput(
        source=NoisyLabels(source, spec=dataset.spec, noise=noise, seed=experiment.seed) if noise.share else source,
        spec=dataset.spec,
        size=experiment.size,
        batch_size=experiment.training.batch_size,
        augmentation=experiment.augmentation,
        repeats=_repeats(source, dataset.spec, experiment.sampling.rare_class_sampling),
        drawn_faces=experiment.sampling.drawn_faces,
        seed=experiment.seed,
        num_workers=experiment.num_workers,
    )


def _repeats(source: Source, spec: FaceSpec, threshold: float) -> np.ndarray | None:
    """How often each example is repeated; mentions the rare classes."""
    if not threshold:
        return None
    present = class_presence(source, spec.num_classes)
    factors = zip(spec.class_names, class_factors(present, threshold), strict=True)
    rare = ", ".join(f"{name} {factor:.1f}" for name, factor in factors if factor > 1)
    print_plain(f"rare classes and how often their images are repeated: {rare or 'none'}")
    return repeat_factors(present, threshold)


def _class_weights(experiment: Experiment, dataset: Dataset) -> np.ndarray | None:
    """The weight of each class in the loss; prints them."""
    names = dataset.spec.class_names
    pixels = dataset.summary.splits["train"].pixels
    counts = [pixels.get(name, 0) for name in names]
    pairs = dataset.spec.flip_pairs if experiment.augmentation.flip_probability else ()
    weights = read_class_weights(experiment.class_weights, names, counts, pairs)
    if weights is not None:
        listed = ", ".join(f"{name} {weight:.2g}" for name, weight in zip(names, weights, strict=True))
        print_plain(f"class weights of cross_entropy and distill_parsing: {listed}")
    return weights


def mention_cycles(regulation: SelfRegulation, epochs: int, schedule: str = "poly") -> None:
    """Prints a line if training ends before self-regulation, or a cosine that ends with stage one, has its effect."""
    first = regulation.epochs_before_cycles or regulation.cycle_epochs  # the teacher's first member
    if regulation.enabled and first >= epochs:
        print_plain(f"no self-regulation: it would start after epoch {first}, and training ends with epoch {epochs}")
        if schedule == "cosine" and first > epochs:
            print_plain(
                f"the cosine reaches its minimum at epoch {first}; to reach it at epoch {epochs}, pass "
                "--config.self_regulation.enabled=False"
            )
