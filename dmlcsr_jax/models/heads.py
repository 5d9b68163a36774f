"""Context, parsing and edge heads (arXiv 2203.14448 §3)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from dmlcsr_jax.models.graph import DualGraph
from dmlcsr_jax.models.layers import LayerFactory, parameter_dtype
from dmlcsr_jax.ops.resize import resize_bilinear


class ContextHead(nn.Module):
    """Dual graph between two 3 x 3 convolutions, fused with the encoder's last features.

    Attributes:
      make: maker of layers.
      features: channels of all layers.
      dual_graph: if False, the head lacks the graph.
    """

    make: LayerFactory
    features: int
    dual_graph: bool = True

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """[B, h, w, I] -> [B, h, w, features]."""
        y = self.make.conv_norm(x, train, "conva", self.features, 3)
        if self.dual_graph:
            y = DualGraph(self.make, name="dualgcn")(y, train)
        y = self.make.conv_norm(y, train, "convb", self.features, 3)
        return self.make.conv_norm(jnp.concatenate([x, y], axis=-1), train, "bottleneck", self.features, 3)


class ParsingHead(nn.Module):
    """Fuses the context at stride 8 with the low-level features at stride 4.

    Attributes:
      make: maker of layers.
      num_classes: channels of the logits.
      features: channels of the hidden layers.
      low_level_features: channels to which the low-level features are reduced.
    """

    make: LayerFactory
    num_classes: int
    features: int
    low_level_features: int

    @nn.compact
    def __call__(self, context: jax.Array, low_level: jax.Array, train: bool) -> jax.Array:
        """[B, h/2, w/2, P], [B, h, w, I] -> logits [B, h, w, num_classes], at least float32."""
        make = self.make
        x = make.conv_norm(context, train, "conv1", self.features)
        x = resize_bilinear(x, low_level.shape[1:3])
        y = make.conv_norm(low_level, train, "conv2", self.low_level_features)
        x = make.conv_norm(jnp.concatenate([x, y], axis=-1), train, "conv3", self.features)
        x = make.conv_norm(x, train, "conv3", self.features, first=2)
        return make.conv(self.num_classes, use_bias=True, dtype=parameter_dtype(make.dtype), name="conv4")(x)


class EdgeHead(nn.Module):
    """Binary and category edges from three encoder features, which share one 3 x 3 convolution.

    Attributes:
      make: maker of layers.
      num_classes: channels of the category logits.
      features: channels of the hidden layers.
    """

    make: LayerFactory
    num_classes: int
    features: int

    @nn.compact
    def __call__(self, features: list[jax.Array], train: bool) -> tuple[jax.Array, jax.Array]:
        """Features, the first [B, h, w, I] -> logits [B, h, w, 2], [B, h, w, num_classes], at least float32."""
        make = self.make
        shared = make.conv(self.num_classes, 3, use_bias=True, name="conv4")
        edges = [
            resize_bilinear(shared(make.conv_norm(x, train, f"conv{i}", self.features)), features[0].shape[1:3])
            for i, x in enumerate(features, 1)
        ]
        edge = jnp.concatenate(edges, axis=-1)
        dtype = parameter_dtype(make.dtype)
        binary = make.conv(2, use_bias=True, dtype=dtype, name="conv5_b")(edge)
        return binary, make.conv(self.num_classes, use_bias=True, dtype=dtype, name="conv5")(edge)
