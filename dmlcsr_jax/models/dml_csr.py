"""DML-CSR: decoupled multi-task learning with cyclical self-regulation (arXiv 2203.14448)."""

from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from dmlcsr_jax.fields import check_range
from dmlcsr_jax.models.backbones import Encoder, Features, get_backbone
from dmlcsr_jax.models.heads import ContextHead, EdgeHead, ParsingHead
from dmlcsr_jax.models.layers import LayerFactory
from dmlcsr_jax.types import Predictions

_BACKBONE_FIELDS = ("stem", "norm")  # that not every backbone has


class DMLCSR(nn.Module):
    """The whole network: encoder, context head with dual graph, parsing head, edge heads.

    The parsing branch reads nothing from the edge heads; they only shape the encoder during training.

    Attributes:
      num_classes: face parts, background included.
      backbone: a key of `backbones.BACKBONES`.
      dtype: compute dtype, float32, bfloat16 or float64. Parameters, statistics and logits are float32 (float64 for
        float64).
      width: sizes the heads, and the encoder if it is a ResNet: channels of its first stage. 64 as published.
      stem: of ResNets, "deep" (published) or "plain" (torchvision's 7 x 7).
      norm: the batch norm of ResNets, "abn" (published) or "batch_norm" (torchvision's, with ReLU).
      edge_heads: if False, the model lacks them and their predictions are None.
      dual_graph: if False, the context head lacks the graph.
      momentum: decay of the running statistics per training step.
      axis_name: mapped axis over which batch norm is synchronized, or None.
      remat: whether the backward pass recomputes the encoder's blocks, to save memory.

    Raises:
      FieldError: a field is out of range, or the backbone does not have it.
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
        check_range("width", self.width, at_least=2)
        self.create_encoder(parent=None)  # it checks its own fields
        super().__post_init__()

    def setup(self):
        """Creates the parts, named as in the variables."""
        make = self._layer_factory()
        self.encoder = self.create_encoder()
        self.context = ContextHead(make, 8 * self.width, self.dual_graph)
        self.parsing_head = ParsingHead(make, self.num_classes, 4 * self.width, 3 * self.width // 4)
        if self.edge_heads:
            self.edge_head = EdgeHead(make, self.num_classes, 4 * self.width)

    def __call__(self, images: jax.Array, train: bool = False) -> Predictions:
        """Logits of all heads.

        Args:
          images: [B, H, W, 3] floating point, normalized.
          train: use batch statistics instead of running ones; `batch_stats` must then be mutable.

        Returns:
          Predictions at stride 4: h = ceil(H / 4), w = ceil(W / 4).
        """
        features = self.encoder(images.astype(self.dtype), train)
        parsing = self._parsing(features, train)
        binary = category = None
        if self.edge_heads:
            binary, category = self.edge_head([features.low, *features.middle], train)
        return Predictions(parsing, binary, category)

    def parse(self, images: jax.Array, train: bool = False) -> jax.Array:
        """The parsing logits [B, h, w, C] alone; needs no variables of the edge heads."""
        return self._parsing(self.encoder(images.astype(self.dtype), train), train)

    @nn.nowrap
    def create_encoder(self, **fields: Any) -> Encoder:
        """The encoder; `parent=None` for one outside of the network."""
        own = {name: getattr(self, name) for name in _BACKBONE_FIELDS}
        changed = {name: value for name, value in own.items() if value != getattr(DMLCSR, name)}
        shared = {"make": self._layer_factory(), "width": self.width, "remat": self.remat}
        return get_backbone(self.backbone, **shared, **changed, **fields)

    @nn.nowrap
    def _layer_factory(self) -> LayerFactory:
        return LayerFactory(self.dtype, self.momentum, self.axis_name)

    def _parsing(self, features: Features[jax.Array], train: bool) -> jax.Array:
        return self.parsing_head(self.context(features.high, train), features.low, train)
