"""The boundary between the configuration and the code: every section becomes an object that checks its own fields."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from dmlcsr_jax.datasets import DatasetSettings
from dmlcsr_jax.evaluation.protocols import EvaluationSettings
from dmlcsr_jax.fields import check_choice, check_range, in_section, read_section
from dmlcsr_jax.losses import LossWeights
from dmlcsr_jax.models import create_model
from dmlcsr_jax.pipeline.label_noise import LabelNoise
from dmlcsr_jax.pipeline.sampling import Sampling
from dmlcsr_jax.pipeline.transforms import Augmentation
from dmlcsr_jax.training.initial import InitialWeights
from dmlcsr_jax.training.optimizer import OptimizerSettings
from dmlcsr_jax.training.self_regulation import SelfRegulation


@dataclasses.dataclass(frozen=True)
class TrainingSettings:
    """The section `config.training`.

    Attributes:
      batch_size: images per step, over all devices of all hosts.
      accumulate_steps: parts of a step that each device computes one after the other.
      epochs: passes over the training images.
      log_every: steps between two lines of the log; 0 for only the last.
      checkpoint_every: steps between two checkpoints, besides one after each evaluation; 0 for none.
      checkpoint_every_minutes: minutes between two checkpoints, by the first host's clock; 0 for none.

    Raises:
      FieldError: a field is out of range.
    """

    batch_size: int = 28
    accumulate_steps: int = 1
    epochs: int = 200
    log_every: int = 20
    checkpoint_every: int = 0
    checkpoint_every_minutes: float = 10.0

    def __post_init__(self):
        check_range("batch_size", self.batch_size, at_least=1)
        check_range("accumulate_steps", self.accumulate_steps, at_least=1)
        check_range("epochs", self.epochs, at_least=1)
        check_range("log_every", self.log_every, at_least=0)
        check_range("checkpoint_every", self.checkpoint_every, at_least=0)
        check_range("checkpoint_every_minutes", self.checkpoint_every_minutes, at_least=0)


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A whole configuration as objects; configs/default.py explains every field.

    Attributes:
      profile: training steps to trace.
      seed: of weights, data order and augmentation.
      dataset: which data, and where.
      size: (height, width) of the network's input.
      channel_order: "RGB" or "BGR".
      num_workers: processes that decode and augment; 0 for threads.
      augmentation: how training images are varied.
      sampling: how they are chosen.
      label_noise: how training labels are made worse on purpose.
      model: the keyword arguments of `create_model`.
      initial: what the weights start from.
      loss: the weight of each term.
      class_weights: the weight of each class in the loss, as text; see `read_class_weights`.
      optimizer: SGD or AdamW, and its schedule.
      regulation: cycles and teacher.
      training: batch size, epochs, log and checkpoints.
      evaluation: when and how to score.
    """

    profile: int
    seed: int
    dataset: DatasetSettings
    size: tuple[int, int]
    channel_order: str
    num_workers: int
    augmentation: Augmentation
    sampling: Sampling
    label_noise: LabelNoise
    model: Mapping[str, Any]
    initial: InitialWeights
    loss: LossWeights
    class_weights: str
    optimizer: OptimizerSettings
    regulation: SelfRegulation
    training: TrainingSettings
    evaluation: EvaluationSettings

    @classmethod
    def from_config(cls, config: ConfigDict) -> "Experiment":
        """Reads a configuration.

        Raises:
          UserError: a field is out of range; names it.
        """
        fields = config.to_dict()
        image, model = fields["input"], fields["model"]
        pretrained_backbone = model.pop("pretrained_backbone")
        with in_section("config"):
            check_range("seed", fields["seed"], at_least=0)
            check_range("profile", fields["profile"], at_least=0)
        with in_section("config.input"):
            check_range("height", image["height"], at_least=1)
            check_range("width", image["width"], at_least=1)
            check_range("num_workers", image["num_workers"], at_least=0)
            check_choice("channel_order", image["channel_order"], ("RGB", "BGR"))
        with in_section("config.model"):
            create_model(2, **model)  # its fields are checked, whatever the classes
        training = read_section(TrainingSettings, fields, "training")
        return cls(
            profile=fields["profile"],
            seed=fields["seed"],
            dataset=DatasetSettings.from_config(fields["dataset"]),
            size=(image["height"], image["width"]),
            channel_order=image["channel_order"],
            num_workers=image["num_workers"],
            augmentation=read_section(Augmentation, fields, "input"),
            sampling=read_section(Sampling, fields, "input"),
            label_noise=read_section(LabelNoise, fields, "label_noise"),
            model=model,
            initial=InitialWeights(fields["seed"], pretrained_backbone, fields["init_from"]),
            loss=read_section(LossWeights, fields, "loss"),
            class_weights=fields["class_weights"],
            optimizer=read_section(OptimizerSettings, fields, "optimizer").for_batch(training.batch_size),
            regulation=read_section(SelfRegulation, fields, "self_regulation"),
            training=training,
            evaluation=read_section(EvaluationSettings, fields, "evaluation"),
        )
