"""The ways of scoring that are common in the literature, by name; docs/results.md says who uses which."""

from typing import NamedTuple

from dmlcsr_jax.errors import UserError


class Protocol(NamedTuple):
    """How a prediction is made and where it is compared.

    Attributes:
      original_size: compares at each label's own size, the prediction brought there; else at the network's size, the
        label fitted into it as the picture is, with its aspect kept, and what is around it not counted.
      flip: averages the logits of a picture with those of its mirror image (`models.averaging.flip_averaged`).
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


def get_protocol(name: str) -> Protocol:
    """The protocol of `config.evaluation.protocol`; UserError names those there are."""
    if name not in PROTOCOLS:
        raise UserError(f"config.evaluation.protocol is {name!r}; it can be {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
