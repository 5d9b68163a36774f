"""The contract between an encoder and the rest of the network."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, TypeAlias, TypeVar

import flax.linen as nn
import jax

from dmlcsr_jax.models.layers import ActivatedBatchNorm, Conv, LayerFactory
from dmlcsr_jax.types import Preprocessing

T = TypeVar("T")
Layer: TypeAlias = tuple[Conv, ActivatedBatchNorm]


class Features(NamedTuple, Generic[T]):
    """What the heads read: arrays [B, h, w, C], or names of values in an ONNX graph.

    For images of H x W pixels, h = ceil(H / stride) and w = ceil(W / stride). The channels are the encoder's choice.

    Attributes:
      low: stride 4; for the parsing head and the edge heads.
      middle: two features of stride 8; for the edge heads.
      high: stride 8; for the context head.
    """

    low: T
    middle: tuple[T, T]
    high: T


class OnnxGraph(Protocol):
    """An ONNX graph under construction, at the variables of one module; see inference/onnx_nodes.py.

    Values are known by their names.
    """

    def __getitem__(self, name: str) -> "OnnxGraph":
        """The same graph at the variables of a submodule."""
        ...

    def __contains__(self, name: str) -> bool:
        """Whether the module has a submodule of this name."""
        ...

    def layer(self, x: str, conv: Conv, norm: ActivatedBatchNorm) -> str:
        """A convolution and its batch norm with activation, both submodules that have names."""
        ...

    def max_pool(self, x: str) -> str:
        """`ops.pooling.max_pool`."""
        ...

    def add(self, x: str, y: str) -> str:
        """The sum x + y."""
        ...

    def relu(self, x: str) -> str:
        """max(x, 0)."""
        ...

    def resize_like(self, x: str, other: str) -> str:
        """`ops.resize.resize_bilinear` to the height and width of another value."""
        ...


class Encoder(nn.Module, kw_only=True):
    """Base class of encoders.

    A new encoder is a subclass in a file of its own and an entry in `BACKBONES`. It implements `__call__` and
    `onnx_nodes`, and overrides the rest if its PyTorch weights need it. Variables under the same names as the layers of
    a PyTorch implementation need no `torch_name`. Fields of its own have defaults or are set by the entry, and
    `__post_init__` checks those that users can set.

    Attributes:
      make: maker of layers.
      width: sizes the heads; an encoder may scale with it, or ignore it if its sizes are fixed.
      remat: whether the backward pass recomputes blocks instead of keeping their intermediate values.
      preprocessing: how images must be normalized for the encoder's published ImageNet weights.
      imagenet_package: an importable package that holds one file of ImageNet weights, "" if there is none.
      ignored: prefixes of entries that a state dict of ImageNet weights has besides the encoder's.
      added: prefixes of the encoder's modules that ImageNet weights lack.
    """

    make: LayerFactory
    width: int = 64
    remat: bool = False

    preprocessing: ClassVar[Preprocessing] = Preprocessing()
    imagenet_package: ClassVar[str] = ""
    ignored: ClassVar[tuple[str, ...]] = ()
    added: ClassVar[tuple[str, ...]] = ()

    def __call__(self, images: jax.Array, train: bool) -> Features[jax.Array]:
        """The features of images [B, H, W, 3], normalized and of the compute dtype.

        Args:
          images: any H and W of at least 1.
          train: passed on to every batch norm.
        """
        raise NotImplementedError

    @nn.nowrap
    def onnx_nodes(self, graph: OnnxGraph, x: str) -> Features[str]:
        """Adds nodes that compute what `__call__` does with `train=False`.

        Args:
          graph: at this encoder's variables.
          x: images [B, 3, H, W], normalized.

        Returns:
          Features [B, C, h, w].
        """
        raise NotImplementedError

    @nn.nowrap
    def torch_name(self, modules: tuple[str, ...]) -> str:
        """The PyTorch name of a layer, without the leaf: `("layer1_0", "conv1")` is "layer1.0.conv1" in ResNets.

        Args:
          modules: names of the modules from the encoder down to the layer.
        """
        return ".".join(modules)

    @nn.nowrap
    def torch_fields(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
        """Fields of this encoder, besides `width`, that a state dict implies.

        Args:
          shapes: name -> shape, possibly of another encoder.
        """
        del shapes
        return {}


def apply_layers(layers: Iterable[Layer], x: jax.Array, train: bool) -> jax.Array:
    """Applies convolutions, each with its batch norm, one after another."""
    for conv, norm in layers:
        x = norm(conv(x), train)
    return x


def add_onnx_layers(graph: OnnxGraph, layers: Iterable[Layer], x: str) -> str:
    """`apply_layers` as ONNX nodes."""
    for conv, norm in layers:
        x = graph.layer(x, conv, norm)
    return x
