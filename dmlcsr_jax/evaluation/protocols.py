"""Evaluation protocols that are common in the literature, by name; docs/results.md says who uses which."""

import dataclasses
from typing import NamedTuple

from dmlcsr_jax.fields import check_choice, check_range


class Protocol(NamedTuple):
    """How a prediction is made and where it is compared.

    Attributes:
      original_size: compares at each label's own size, to which the prediction is brought. If False, compares at the
        network's size: the label is fitted into it like the image, and the padding is not counted.
      flip: averages the logits of each image with those of its mirror image.
      text: both in words.
    """

    original_size: bool
    flip: bool
    text: str


PROTOCOLS = {
    "original_size": Protocol(True, False, "at each label's own size"),
    "original_size_flip": Protocol(True, True, "at each label's own size, averaged with the mirror image"),
    "network_size": Protocol(False, False, "at the network's size"),
    "network_size_flip": Protocol(False, True, "at the network's size, averaged with the mirror image"),
}


@dataclasses.dataclass(frozen=True)
class EvaluationSettings:
    """The section `config.evaluation`.

    Attributes:
      every_epochs: epochs between two evaluations during training; 0 for only one at the end.
      split: the split to score.
      batch_size: images per batch over this host's devices.
      protocol: a name of `PROTOCOLS`.

    Raises:
      FieldError: a field is out of range.
    """

    every_epochs: int = 5
    split: str = "val"
    batch_size: int = 16
    protocol: str = "original_size"

    def __post_init__(self):
        check_range("every_epochs", self.every_epochs, at_least=0)
        check_choice("split", self.split, ("train", "val", "test"))
        check_range("batch_size", self.batch_size, at_least=1)
        check_choice("protocol", self.protocol, PROTOCOLS)
