"""What a checkpoint says of itself."""

import dataclasses
from typing import Any

from dmlcsr_jax.datasets.spec import FaceSpec
from dmlcsr_jax.types import InputConvention


@dataclasses.dataclass(frozen=True)
class Card:
    """What a reader of a checkpoint must know.

    Attributes:
      spec: the classes.
      model: the fields of `config.model`.
      size: (height, width) of the network's input.
      convention: channel order, mean and deviation of the network's input.
    """

    spec: FaceSpec
    model: dict[str, Any]
    size: tuple[int, int]
    convention: InputConvention

    def to_json(self) -> dict[str, Any]:
        """The card as plain JSON values."""
        return {
            "spec": dataclasses.asdict(self.spec),
            "model": dict(self.model),
            "size": list(self.size),
            "convention": self.convention._asdict(),
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Card":
        """The reverse of `to_json`."""
        spec = dict(values["spec"])
        spec["class_names"] = tuple(spec["class_names"])
        spec["flip_pairs"] = tuple(map(tuple, spec["flip_pairs"]))
        spec["palette"] = tuple(map(tuple, spec["palette"]))
        spec["score_groups"] = {name: tuple(members) for name, members in spec["score_groups"].items()}
        convention = values["convention"]
        return cls(
            FaceSpec(**spec),
            dict(values["model"]),
            tuple(values["size"]),
            InputConvention(convention["channel_order"], tuple(convention["mean"]), tuple(convention["std"])),
        )
