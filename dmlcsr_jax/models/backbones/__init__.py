"""Encoders by name."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from dmlcsr_jax.fields import FieldError, check_choice
from dmlcsr_jax.models.backbones.efficientnet import EfficientNetLite
from dmlcsr_jax.models.backbones.encoder import Encoder, Features
from dmlcsr_jax.models.backbones.resnet import ResNet
from dmlcsr_jax.models.layers import LayerFactory
from dmlcsr_jax.types import Preprocessing

__all__ = ["BACKBONES", "Encoder", "Features", "get_backbone", "get_preprocessing"]

BACKBONES: dict[str, Callable[..., Encoder]] = {
    "resnet101": partial(ResNet, stage_sizes=(3, 4, 23, 3), bottleneck=True),
    "resnet50": partial(ResNet, stage_sizes=(3, 4, 6, 3), bottleneck=True),
    "resnet34": partial(ResNet, stage_sizes=(3, 4, 6, 3), bottleneck=False),
    "resnet18": partial(ResNet, stage_sizes=(2, 2, 2, 2), bottleneck=False),
    "tiny": partial(ResNet, stage_sizes=(1, 1, 1, 1), bottleneck=False),
    "efficientnet_lite0": EfficientNetLite,
}


def get_backbone(name: str, **fields: Any) -> Encoder:
    """An encoder.

    Args:
      name: one of BACKBONES.
      **fields: those of `Encoder` and the encoder's own.

    Raises:
      FieldError: there is no such backbone, it lacks one of the fields, or a field is out of range.
    """
    check_choice("backbone", name, BACKBONES)
    known = inspect.signature(BACKBONES[name]).parameters
    for field, value in fields.items():
        if field not in known:
            raise FieldError(f"{field} is {value!r}; the backbone {name} has no {field}, leave it at its default")
    return BACKBONES[name](**fields)


def get_preprocessing(backbone: str) -> Preprocessing:
    """How images must be normalized for a backbone's published ImageNet weights.

    Raises:
      FieldError: there is no such backbone.
    """
    return get_backbone(backbone, make=LayerFactory()).preprocessing
