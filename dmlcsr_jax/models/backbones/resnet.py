"""Dilated ResNets (arXiv 1512.03385) with output stride 8, as the published network has them."""

from typing import Any, Literal

import flax.linen as nn
import jax

from dmlcsr_jax.models.layers import LayerFactory
from dmlcsr_jax.ops.activations import add_relu
from dmlcsr_jax.ops.pooling import max_pool

RESNETS: dict[str, dict[str, Any]] = {
    "resnet101": {"stage_sizes": (3, 4, 23, 3), "bottleneck": True},
    "resnet50": {"stage_sizes": (3, 4, 6, 3), "bottleneck": True},
    "resnet34": {"stage_sizes": (3, 4, 6, 3), "bottleneck": False},
    "resnet18": {"stage_sizes": (2, 2, 2, 2), "bottleneck": False},
    "tiny": {"stage_sizes": (1, 1, 1, 1), "bottleneck": False},
}
STRIDES = (1, 2, 1, 1)
DILATIONS = (1, 1, 1, 2)

Norm = Literal["abn", "batch_norm"]


class Block(nn.Module):
    """Residual block: relu(branch(x) + shortcut(x)).

    The branch of a bottleneck is 1 x 1, 3 x 3, 1 x 1 to four times the width, that of a basic block two
    3 x 3; each followed by batch norm, all but the last by ReLU. The shortcut is 1 x 1 with batch norm where
    stride or width change, else x. With norm "abn" the last norm and the shortcut's have their own leaky
    ReLU, as published (in front of a ReLU it makes no difference); with "batch_norm" they have none.

    Attributes:
      make: maker of layers.
      width: channels of the 3 x 3 convolutions.
      bottleneck: which branch.
      strides: stride of the (first) 3 x 3 convolution.
      dilation: of the 3 x 3 convolutions.
      norm: "abn", or "batch_norm" for the ordinary kind.
    """

    make: LayerFactory
    width: int
    bottleneck: bool
    strides: int = 1
    dilation: int = 1
    norm: Norm = "abn"

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """[B, H, W, I] -> [B, H', W', width or 4 * width]."""
        layers = [(1, 1, 1), (3, self.strides, self.dilation), (1, 1, 1)]
        if not self.bottleneck:
            layers = [(3, self.strides, self.dilation), (3, 1, self.dilation)]
        features = self.width * (4 if self.bottleneck else 1)
        last = "leaky_relu" if self.norm == "abn" else "none"
        absolute = self.norm == "abn"
        y = x
        for i, (size, strides, dilation) in enumerate(layers, 1):
            final = i == len(layers)
            conv = self.make.conv(
                features if final else self.width, size, strides=strides, dilation=dilation, name=f"conv{i}"
            )
            y = self.make.norm(last if final else "relu", absolute_scale=absolute, name=f"bn{i}")(conv(y), train)
        if self.strides != 1 or x.shape[-1] != features:
            x = self.make.conv(features, strides=self.strides, name="downsample_0")(x)
            x = self.make.norm(last, absolute_scale=absolute, name="downsample_1")(x, train)
        return add_relu(x, y)


class ResNet(nn.Module):
    """Stem and four stages of residual blocks.

    Attributes:
      make: maker of layers.
      stage_sizes: blocks a stage.
      bottleneck: bottleneck blocks instead of basic ones.
      width: channels of the first stage; 64 in every published ResNet.
      stem: "deep" (three 3 x 3 convolutions, as published) or "plain" (one 7 x 7, as torchvision's).
      norm: "abn" (activated batch norm, as published) or "batch_norm" (as torchvision's).
      remat: whether to compute blocks again on the way back instead of keeping what is inside them.
    """

    make: LayerFactory
    stage_sizes: tuple[int, ...]
    bottleneck: bool
    width: int = 64
    stem: Literal["deep", "plain"] = "deep"
    norm: Norm = "abn"
    remat: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> dict[str, jax.Array]:
        """Images [B, H, W, 3] -> "layer1" at stride 4, "layer2", "layer3", "layer4" at stride 8.

        Channels are (1, 2, 4, 8) * width, four times that for bottlenecks.
        """
        x = max_pool(self._stem(x, train))
        block = nn.remat(Block, static_argnums=(2,)) if self.remat else Block
        features = {}
        for stage, size in enumerate(self.stage_sizes):
            for i in range(size):
                x = block(
                    self.make,
                    self.width * 2**stage,
                    self.bottleneck,
                    strides=1 if i else STRIDES[stage],
                    dilation=DILATIONS[stage],
                    norm=self.norm,
                    name=f"layer{stage + 1}_{i}",
                )(x, train)
            features[f"layer{stage + 1}"] = x
        return features

    def _stem(self, x, train):
        layers = [(self.width, 3, 2), (self.width, 3, 1), (2 * self.width, 3, 1)]
        if self.stem == "plain":
            layers = [(self.width, 7, 2)]
        for i, (features, size, strides) in enumerate(layers, 1):
            x = self.make.conv(features, size, strides=strides, name=f"conv{i}")(x)
            x = self.make.norm("relu", absolute_scale=self.norm == "abn", name=f"bn{i}")(x, train)
        return x
