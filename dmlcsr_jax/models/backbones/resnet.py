"""Dilated ResNets (arXiv 1512.03385) with output stride 8, as in the published network."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

import flax.linen as nn
import jax

from dmlcsr_jax.fields import check_choice
from dmlcsr_jax.models.backbones.encoder import (
    Encoder,
    Features,
    Layer,
    OnnxGraph,
    add_onnx_layers,
    apply_layers,
)
from dmlcsr_jax.models.layers import ActivatedBatchNorm, LayerFactory, remat
from dmlcsr_jax.ops.activations import Activation, add_relu
from dmlcsr_jax.ops.pooling import max_pool

STRIDES = (1, 2, 1, 1)
DILATIONS = (1, 1, 1, 2)

Norm = Literal["abn", "batch_norm"]


class Block(nn.Module):
    """Residual block: relu(branch(x) + shortcut(x)).

    The branch of a bottleneck is 1 x 1, 3 x 3, 1 x 1 to four times the width, that of a basic block two 3 x 3; each has
    a batch norm, all but the last a ReLU. The shortcut is 1 x 1 with batch norm if stride or width change, else x. With
    norm "abn" the last norm and the shortcut's have their own leaky ReLU, as published; with "batch_norm" they have
    none.

    Attributes:
      make: maker of layers.
      width: channels of the 3 x 3 convolutions.
      bottleneck: which branch.
      strides: stride of the (first) 3 x 3 convolution.
      dilation: of the 3 x 3 convolutions.
      norm: "abn", or "batch_norm" for ordinary batch norm.
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
        y = apply_layers(self._branch(), x, train)
        if self.strides != 1 or x.shape[-1] != y.shape[-1]:
            x = apply_layers([self._shortcut()], x, train)
        return add_relu(x, y)

    @nn.nowrap
    def onnx_nodes(self, graph: OnnxGraph, x: str) -> str:
        """`__call__` as ONNX nodes."""
        y = add_onnx_layers(graph, self._branch(), x)
        if "downsample_0" in graph:
            x = add_onnx_layers(graph, [self._shortcut()], x)
        return graph.relu(graph.add(x, y))

    @nn.nowrap
    def _branch(self) -> list[Layer]:
        spatial = {"kernel_size": 3, "dilation": self.dilation}
        sizes = [{}, spatial | {"strides": self.strides}, {}]
        if not self.bottleneck:
            sizes = [spatial | {"strides": self.strides}, spatial]
        layers = []
        for i, size in enumerate(sizes, 1):
            final = i == len(sizes)
            conv = self.make.conv(self._features() if final else self.width, name=f"conv{i}", **size)
            layers.append((conv, self._norm(self._last() if final else "relu", f"bn{i}")))
        return layers

    @nn.nowrap
    def _shortcut(self) -> Layer:
        conv = self.make.conv(self._features(), strides=self.strides, name="downsample_0")
        return conv, self._norm(self._last(), "downsample_1")

    @nn.nowrap
    def _norm(self, activation: Activation, name: str) -> ActivatedBatchNorm:
        return self.make.norm(activation, absolute_scale=self.norm == "abn", name=name)

    @nn.nowrap
    def _features(self) -> int:
        return self.width * (4 if self.bottleneck else 1)

    @nn.nowrap
    def _last(self) -> Activation:
        return "leaky_relu" if self.norm == "abn" else "none"


class ResNet(Encoder, kw_only=True):
    """Stem and four stages of residual blocks.

    The channels of the stages are (1, 2, 4, 8) * width, four times that for bottlenecks. `low` is the first stage,
    `middle` the second and third, `high` the fourth.

    Attributes:
      stage_sizes: blocks per stage.
      bottleneck: bottleneck blocks instead of basic ones.
      width: channels of the first stage; 64 in every published ResNet.
      stem: "deep" (three 3 x 3 convolutions, as published) or "plain" (one 7 x 7, torchvision's).
      norm: "abn" (activated batch norm, as published) or "batch_norm" (torchvision's, with ReLU).

    Raises:
      FieldError: `stem` or `norm` is neither.
    """

    stage_sizes: tuple[int, ...]
    bottleneck: bool
    stem: Literal["deep", "plain"] = "deep"
    norm: Norm = "abn"

    ignored: ClassVar[tuple[str, ...]] = ("fc.",)

    def __post_init__(self):
        check_choice("stem", self.stem, ("deep", "plain"))
        check_choice("norm", self.norm, ("abn", "batch_norm"))
        super().__post_init__()

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> Features[jax.Array]:
        """[B, H, W, 3] -> the four stages."""
        x = max_pool(apply_layers(self._stem(), images, train))
        block = remat(Block) if self.remat else Block
        stages = []
        for stage in range(len(self.stage_sizes)):
            for fields in self._blocks(stage):
                x = block(**fields)(x, train)
            stages.append(x)
        return Features(stages[0], (stages[1], stages[2]), stages[3])

    @nn.nowrap
    def onnx_nodes(self, graph: OnnxGraph, x: str) -> Features[str]:
        """`__call__` as ONNX nodes."""
        x = graph.max_pool(add_onnx_layers(graph, self._stem(), x))
        stages = []
        for stage in range(len(self.stage_sizes)):
            for fields in self._blocks(stage):
                x = Block(**fields).onnx_nodes(graph[fields["name"]], x)
            stages.append(x)
        return Features(stages[0], (stages[1], stages[2]), stages[3])

    @nn.nowrap
    def torch_name(self, modules: tuple[str, ...]) -> str:
        """The name in torchvision and in the published code: `layer1_0` becomes `layer1.0`."""
        return ".".join(re.sub(r"_(\d+)$", r".\1", module) for module in modules)

    @nn.nowrap
    def torch_fields(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
        """The stem: its first kernel is 3 x 3 or 7 x 7."""
        return {"stem": "plain" if shapes.get("conv1.weight", ())[2:] == (7, 7) else "deep"}

    @nn.nowrap
    def _stem(self) -> Iterator[Layer]:
        layers = [(self.width, 3, 2), (self.width, 3, 1), (2 * self.width, 3, 1)]
        if self.stem == "plain":
            layers = [(self.width, 7, 2)]
        for i, (features, size, strides) in enumerate(layers, 1):
            conv = self.make.conv(features, size, strides=strides, name=f"conv{i}")
            yield conv, self.make.norm("relu", absolute_scale=self.norm == "abn", name=f"bn{i}")

    @nn.nowrap
    def _blocks(self, stage: int) -> Iterator[dict[str, Any]]:
        """The fields of the blocks of a stage."""
        for i in range(self.stage_sizes[stage]):
            yield {
                "make": self.make,
                "width": self.width * 2**stage,
                "bottleneck": self.bottleneck,
                "strides": 1 if i else STRIDES[stage],
                "dilation": DILATIONS[stage],
                "norm": self.norm,
                "name": f"layer{stage + 1}_{i}",
            }
