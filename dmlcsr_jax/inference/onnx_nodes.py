"""Nodes and weights of an ONNX graph under construction. Needs the extra `onnx`."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from dmlcsr_jax.models.layers import EPSILON, ActivatedBatchNorm, Conv
from dmlcsr_jax.ops.activations import SLOPE, Activation
from dmlcsr_jax.ops.convolution import Padding


@dataclasses.dataclass(frozen=True)
class Graph:
    """A graph at the variables of one module; `graph[name]` is the same graph at those of a submodule.

    Images are [B, C, h, w]. A value is known by the name of the output that computes it.

    Attributes:
      params: the module's parameters, float64.
      statistics: its running statistics, float64.
      path: of the module, from the root.
      nodes: the whole graph's, so far.
      weights: likewise.
    """

    params: Mapping[str, Any]
    statistics: Mapping[str, Any]
    path: str = ""
    nodes: list[onnx.NodeProto] = dataclasses.field(default_factory=list)
    weights: list[onnx.TensorProto] = dataclasses.field(default_factory=list)

    def __getitem__(self, name: str) -> "Graph":
        params, statistics = self.params[name], self.statistics.get(name, {})
        return dataclasses.replace(self, params=params, statistics=statistics, path=f"{self.path}/{name}")

    def __contains__(self, name: str) -> bool:
        return name in self.params

    def node(self, operator: str, *inputs: str | np.ndarray, output: str = "", **attributes: Any) -> str:
        """Adds a node and returns its output; inputs that are arrays become weights: float16, float32 or int64."""
        output = output or f"{operator}_{len(self.nodes)}"
        names = [x if isinstance(x, str) else self._weight(x, f"{output}.{i}") for i, x in enumerate(inputs)]
        self.nodes.append(helper.make_node(operator, names, [output], name=output, **attributes))
        return output

    def layer(self, x: str, conv: Conv, norm: ActivatedBatchNorm) -> str:
        """A convolution and its batch norm, submodules with names: [B, I, h, w] -> [B, O, h', w']."""
        return self.conv(
            x,
            str(conv.name),
            norm.name,
            activation=norm.activation,
            absolute_scale=norm.absolute_scale,
            epsilon=norm.epsilon,
            strides=conv.strides,
            dilation=conv.dilation,
            groups=conv.groups,
            padding=conv.padding,
        )

    def conv(
        self,
        x: str,
        name: str,
        norm: str | None = None,
        *,
        activation: Activation = "leaky_relu",
        absolute_scale: bool = True,
        epsilon: float = EPSILON,
        strides: int = 1,
        dilation: int = 1,
        groups: int = 1,
        padding: Padding = "centered",
    ) -> str:
        """The submodule `name`, a Conv, and the ActivatedBatchNorm `norm` folded into it: [B, O, h', w']."""
        kernel = self.params[name]["kernel"]  # [k, k, I / groups, O]
        factor = np.ones(kernel.shape[-1])
        bias = self.params[name].get("bias", np.zeros(kernel.shape[-1]))
        if norm:
            factor, offset = self[norm].affine(absolute_scale=absolute_scale, epsilon=epsilon)
            bias = bias * factor + offset
        weights = self._scale(kernel.transpose(3, 2, 0, 1), factor[:, None, None, None])
        fields = {"strides": [strides] * 2, "dilations": [dilation] * 2, "group": groups}
        fields |= _padding(len(kernel), strides, dilation, padding)
        y = self.node("Conv", x, weights, bias, output=f"{self.path}/{name}", **fields)
        return self.activate(y, activation) if norm else y

    def conv_norm(self, x: str, name: str, first: int = 0, **fields: Any) -> str:
        """models.layers.LayerFactory.conv_norm; `fields` as in `conv`."""
        return self.conv(x, f"{name}_{first}", f"{name}_{first + 1}", **fields)

    def activate(self, x: str, activation: Activation) -> str:
        """`ops.activations.activate`."""
        if activation == "leaky_relu":
            return self.node("LeakyRelu", x, alpha=SLOPE)
        if activation == "relu6":
            return self.node("Clip", x, np.array(0.0), np.array(6.0))
        return self.relu(x) if activation == "relu" else x

    def affine(self, *, absolute_scale: bool, epsilon: float = EPSILON) -> tuple[np.ndarray, np.ndarray]:
        """Factor and offset, [C], of this batch norm with its running statistics."""
        scale = np.abs(self.params["scale"]) + EPSILON if absolute_scale else self.params["scale"]
        factor = scale / np.sqrt(self.statistics["var"] + epsilon)
        return factor, self.params["bias"] - self.statistics["mean"] * factor

    def project(self, x: str, name: str, norm: str) -> str:
        """The submodule `name`, a Projection of the middle axis, and its plain batch norm: [B, I, n] -> [B, O, n]."""
        factor, offset = self[norm].affine(absolute_scale=False)
        y = self.node("MatMul", self._scale(self.params[name]["kernel"].T, factor[:, None]), x)
        return self.node("Add", y, offset[:, None])

    def max_pool(self, x: str) -> str:
        """ops.pooling.max_pool: [B, C, h, w] -> [B, C, ceil(h / 2), ceil(w / 2)]."""
        return self.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)

    def add(self, x: str, y: str) -> str:
        """The sum x + y."""
        return self.node("Add", x, y)

    def relu(self, x: str) -> str:
        """max(x, 0)."""
        return self.node("Relu", x)

    def resize(self, x: str, size: tuple[int, int] | str) -> str:
        """ops.resize.resize_bilinear: [B, C, h, w] -> [B, C, height, width]; `size` may be a value of the graph."""
        fields = {"mode": "linear", "coordinate_transformation_mode": "align_corners", "axes": [2, 3]}
        return self.node("Resize", x, "", "", size if isinstance(size, str) else np.array(size), **fields)

    def resize_like(self, x: str, other: str) -> str:
        """`resize` to the height and width of another value."""
        return self.resize(x, self.node("Shape", other, start=2))

    def reshape(self, x: str, *shape: int) -> str:
        """Reshapes all axes but the batch."""
        return self.node("Reshape", x, np.array((0, *shape)))

    def swap(self, x: str) -> str:
        """[B, m, n] -> [B, n, m]."""
        return self.node("Transpose", x, perm=[0, 2, 1])

    def _scale(self, kernel: np.ndarray, factor: np.ndarray) -> np.ndarray | str:
        """The product. A kernel that float16 holds exactly is stored so; runtimes compute the rest once, on loading."""
        with np.errstate(over="ignore"):
            half = kernel.astype(np.float16)
        if not np.array_equal(half, kernel):
            return kernel * factor
        wide = self.node("Cast", half, to=onnx.TensorProto.FLOAT)
        return wide if np.all(factor == 1) else self.node("Mul", wide, factor)

    def _weight(self, array: np.ndarray, name: str) -> str:
        if array.dtype != np.float16:
            array = np.asarray(array, np.float32 if np.issubdtype(array.dtype, np.floating) else np.int64)
        self.weights.append(numpy_helper.from_array(np.array(array, order="C"), name))
        return name


def _padding(size: int, strides: int, dilation: int, padding: Padding) -> dict[str, Any]:
    """Attributes of a Conv node. SAME_UPPER depends on the input's size; runtimes refuse it together with dilation."""
    if padding == "same" and strides > 1:
        return {"auto_pad": "SAME_UPPER"}
    return {"pads": [dilation * (size - 1) // 2] * 4}
