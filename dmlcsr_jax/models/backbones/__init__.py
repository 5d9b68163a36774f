"""Encoders by name; each maps images to a dictionary of named features."""

import flax.linen as nn

from dmlcsr_jax.models.backbones.resnet import RESNETS, ResNet

BACKBONES = tuple(RESNETS)


def get_backbone(name: str, **fields) -> nn.Module:
    """An encoder; ValueError names the choices if there is none of that name.

    Args:
      name: one of BACKBONES.
      **fields: passed on to the encoder, see resnet.ResNet.
    """
    if name not in RESNETS:
        raise ValueError(f"no backbone {name!r}; there are {', '.join(BACKBONES)}")
    return ResNet(**RESNETS[name], **fields)
