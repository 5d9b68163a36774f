"""Structures that all subpackages share."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np

from dmlcsr_jax.fields import check_choice

if TYPE_CHECKING:
    import jax
    from jaxlib._jax import Device as Device

    Array: TypeAlias = np.ndarray | jax.Array
else:  # subpackages that need no JAX do not wait for it
    Array = Device = Any

IGNORE_ID = 255  # the label value that no loss and no score counts

# A tree of arrays: parameters, batch statistics, optimizer state.
PyTree: TypeAlias = Any
# Linen variable collections: "params", "batch_stats", and what `prepare_variables` adds.
Variables: TypeAlias = Mapping[str, PyTree]

# (left, top, right, bottom) of a face in pixels.
Box: TypeAlias = tuple[float, float, float, float]
# How a parser finds the faces of an image; see `inference.FaceParser`.
Faces: TypeAlias = Literal["auto", "whole", "detect"]
# What runs a parser's network, and what it computes in; see `inference.FaceParser`.
EngineName: TypeAlias = Literal["auto", "jax", "onnxruntime", "openvino"]
Precision: TypeAlias = Literal["float32", "bfloat16"]


class Batch(NamedTuple):
    """What the input pipeline gives to a step.

    Under pmap every field has a leading axis of local devices.

    Attributes:
      images: [B, H, W, 3] uint8, RGB, not normalized (that happens on the device).
      labels: [B, H, W] uint8 class numbers at the size of the images; 255 is ignored.
      mask: [B] bool, False for padding examples of the last batch.
    """

    images: Array
    labels: Array
    mask: Array


class Predictions(NamedTuple):
    """Logits of the three heads at stride 4 of the input: h = ceil(H / 4), w = ceil(W / 4).

    Attributes:
      parsing: [B, h, w, C] logits of the C face parts.
      binary_edge: [B, h, w, 2] logits of "no edge" and "edge"; None if the model lacks edge heads.
      category_edge: [B, h, w, C] logits of the part that an edge pixel belongs to; None likewise.
    """

    parsing: Array
    binary_edge: Array | None
    category_edge: Array | None


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """How a network wants its images: x = (image / 255 - mean) / std, in this channel order.

    Attributes:
      channel_order: "RGB" or "BGR".
      mean: one value per channel, in that order, of images scaled to 0..1.
      std: likewise.

    Raises:
      UserError: `channel_order` is neither.
    """

    channel_order: str = "RGB"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self):
        check_choice("channel_order", self.channel_order, ("RGB", "BGR"))
        object.__setattr__(self, "mean", tuple(self.mean))  # JSON has lists
        object.__setattr__(self, "std", tuple(self.std))
