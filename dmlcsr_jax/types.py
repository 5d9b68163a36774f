"""The structures that cross from one part of the package to another."""

from typing import Any, NamedTuple

Array = Any  # a numpy or JAX array


class Batch(NamedTuple):
    """What the input pipeline gives to a step.

    Under pmap every field has a leading axis of local devices.

    Attributes:
      images: [B, H, W, 3] uint8, RGB, not normalised (that happens on the device).
      labels: [B, H, W] uint8 class numbers at the size of the images; 255 is ignored.
      mask: [B] bool, False for examples that only fill up the last batch.
    """

    images: Array
    labels: Array
    mask: Array


class Predictions(NamedTuple):
    """Logits of the three heads at stride 4 of the input: h = ceil(H / 4), w = ceil(W / 4).

    A network without edge heads has None for both kinds of edges.

    Attributes:
      parsing: [B, h, w, C] logits of the C face parts.
      binary_edge: [B, h, w, 2] logits of "no edge" and "edge".
      category_edge: [B, h, w, C] logits of the part that an edge pixel belongs to.
    """

    parsing: Array
    binary_edge: Array
    category_edge: Array


class InputConvention(NamedTuple):
    """How a network wants its pictures: x = (picture / 255 - mean) / std, in this channel order.

    Attributes:
      channel_order: "RGB" or "BGR".
      mean: one value a channel, in that order, of pictures scaled to 0..1.
      std: likewise.
    """

    channel_order: str = "RGB"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
