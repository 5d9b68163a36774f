"""What a checkpoint says of itself, so that it can be used alone."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from dmlcsr_jax.datasets.spec import FaceSpec
from dmlcsr_jax.types import Preprocessing


@dataclasses.dataclass(frozen=True)
class CheckpointMetadata:
    """What a reader of a checkpoint must know.

    Attributes:
      spec: the classes.
      model: the keyword arguments of `create_model`.
      size: (height, width) of the network's input.
      preprocessing: channel order, mean and deviation of the network's input.
      inherited_terms: where training started and on what terms those weights may be used, a sentence each; they apply
        beside `spec.terms`. Empty if training started from random weights.
      train_examples: number of training images; None if it is not known.
    """

    spec: FaceSpec
    model: Mapping[str, Any]
    size: tuple[int, int]
    preprocessing: Preprocessing
    inherited_terms: tuple[str, ...] = ()
    train_examples: int | None = None

    def to_json(self) -> dict[str, Any]:
        """The metadata as plain JSON values."""
        return {
            "spec": dataclasses.asdict(self.spec),
            "model": dict(self.model),
            "size": list(self.size),
            "preprocessing": dataclasses.asdict(self.preprocessing),
            "inherited_terms": list(self.inherited_terms),
            "train_examples": self.train_examples,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "CheckpointMetadata":
        """The reverse of `to_json`. Checkpoints of version 0.1.0 name some fields otherwise."""
        height, width = values["size"]
        preprocessing = values["preprocessing"] if "preprocessing" in values else values["convention"]
        return cls(
            spec=FaceSpec(**values["spec"]),
            model=upgrade_model(values["model"]),
            size=(height, width),
            preprocessing=Preprocessing(**preprocessing),
            inherited_terms=tuple(values.get("inherited_terms", ())),
            train_examples=values.get("train_examples"),
        )


def upgrade_model(model: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `config.model` of version 0.1.0 as `create_model` takes them now."""
    return rename_fields({name: value for name, value in model.items() if name != "pretrained_backbone"})


def rename_fields(model: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `config.model` of version 0.1.0 under their present names."""
    return {"remat" if name == "rematerialise" else name: value for name, value in model.items()}
