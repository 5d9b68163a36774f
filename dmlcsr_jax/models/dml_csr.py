"""DML-CSR: decoupled multi-task learning with cyclical self-regulation (arXiv 2203.14448)."""

from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from dmlcsr_jax.fields import check_choice, check_range
from dmlcsr_jax.models.backbones import BACKBONES, get_backbone
from dmlcsr_jax.models.heads import ContextHead, EdgeHead, ParsingHead
from dmlcsr_jax.models.layers import LayerFactory
from dmlcsr_jax.types import Predictions


class DMLCSR(nn.Module):
    """The whole network: encoder, context head with dual graph, parsing head, edge heads.

    Nothing of the edge heads feeds the parsing branch; they only shape the encoder in training.

    Attributes:
      num_classes: face parts, background included.
      backbone: a name of backbones.BACKBONES.
      dtype: compute dtype, float32, bfloat16 or float64. Parameters, statistics and logits are float32
        (float64 for float64).
      width: channels of the encoder's first stage; everything scales with it, 64 is as published.
      stem: "deep" (published) or "plain" (torchvision's 7 x 7).
      norm: the encoder's batch norm, "abn" (published) or "batch_norm" (torchvision's, with ReLU).
      edge_heads: False leaves them out, and their predictions are None.
      dual_graph: False leaves the graph out of the context head.
      momentum: share of the running statistics that stays in a training step.
      axis_name: mapped axis over which batch norm is synchronized, if any.
      remat: whether residual blocks are computed again on the way back, to save memory.
    """

    num_classes: int
    backbone: str = "resnet101"
    dtype: Any = jnp.float32
    width: int = 64
    stem: Literal["deep", "plain"] = "deep"
    norm: Literal["abn", "batch_norm"] = "abn"
    edge_heads: bool = True
    dual_graph: bool = True
    momentum: float = 0.9
    axis_name: str | None = None
    remat: bool = False

    def __post_init__(self):
        check_range("num_classes", self.num_classes, at_least=2)
        check_choice("backbone", self.backbone, BACKBONES)
        check_range("width", self.width, at_least=2)
        check_choice("stem", self.stem, ("deep", "plain"))
        check_choice("norm", self.norm, ("abn", "batch_norm"))
        super().__post_init__()

    def setup(self):
        """Makes the parts, named as in the variables."""
        make = LayerFactory(self.dtype, self.momentum, self.axis_name)
        self.encoder = get_backbone(
            self.backbone,
            make=make,
            width=self.width,
            stem=self.stem,
            norm=self.norm,
            remat=self.remat,
        )
        self.context = ContextHead(make, 8 * self.width, self.dual_graph)
        self.parsing_head = ParsingHead(make, self.num_classes, 4 * self.width, 3 * self.width // 4)
        if self.edge_heads:
            self.edge_head = EdgeHead(make, self.num_classes, 4 * self.width)

    def __call__(self, images: jax.Array, train: bool = False) -> Predictions:
        """Logits of all heads.

        Args:
          images: [B, H, W, 3] floating point, normalized.
          train: batch statistics instead of running ones; `batch_stats` must then be mutable.

        Returns:
          Predictions at stride 4: h = ceil(H / 4), w = ceil(W / 4).
        """
        features = self.encoder(images.astype(self.dtype), train)
        parsing = self._parsing(features, train)
        binary = category = None
        if self.edge_heads:
            binary, category = self.edge_head([features[f"layer{i}"] for i in (1, 2, 3)], train)
        return Predictions(parsing, binary, category)

    def parse(self, images: jax.Array, train: bool = False) -> jax.Array:
        """The parsing logits [B, h, w, C] alone; needs no variables of the edge heads."""
        return self._parsing(self.encoder(images.astype(self.dtype), train), train)

    def _parsing(self, features, train):
        return self.parsing_head(self.context(features["layer4"], train), features["layer1"], train)
