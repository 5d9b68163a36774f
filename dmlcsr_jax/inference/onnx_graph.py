"""The parsing network as an ONNX graph, built from its variables.

The picture is [B, C, H, W] inside, its size fixed and its batch free. Every batch norm stands behind a convolution or a
projection and is folded into it. Needs the extra `onnx`.
"""

import dataclasses
import itertools
import json
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import onnx
from onnx import helper, numpy_helper

from dmlcsr_jax.checkpoints import CheckpointMetadata
from dmlcsr_jax.models.backbones.resnet import DILATIONS, RESNETS, STRIDES
from dmlcsr_jax.models.layers import EPSILON
from dmlcsr_jax.ops.activations import SLOPE

OPSET = 18  # the first whose Resize can name the axes it resizes, so that the batch stays free


def build_model(variables: Mapping[str, Any], metadata: CheckpointMetadata) -> onnx.ModelProto:
    """The network of a checkpoint, from pictures to class numbers, in float32.

    Args:
      variables: `params` and `batch_stats`; the edge heads' are not read.
      metadata: classes, network, input preprocessing and size (H, W).

    Returns:
      A model of opset 18 with the input `images`, uint8 RGB [batch, H, W, 3], and the outputs `labels`, uint8
      [batch, H, W], and `logits`, float32 [batch, H, W, C], both at the size of the input.
    """
    (height, width), num_classes = metadata.size, metadata.spec.num_classes
    root = Module(*(jax.tree.map(lambda x: np.asarray(x, np.float64), variables[k]) for k in ("params", "batch_stats")))
    graph = Graph()
    low_level, x = _encode(graph, _normalize(graph, metadata), root["encoder"], metadata.model)
    x = _context(graph, x, root["context"], metadata)
    logits = graph.resize(_parse(graph, x, low_level, root["parsing_head"], metadata), metadata.size)
    classes = graph.node("ArgMax", logits, axis=1, keepdims=0)
    graph.node("Cast", classes, to=onnx.TensorProto.UINT8, output="labels")
    graph.node("Transpose", logits, perm=[0, 2, 3, 1], output="logits")

    def tensor(name, dtype, *shape):
        return helper.make_tensor_value_info(name, dtype, ("batch", height, width, *shape))

    outputs = [tensor("labels", onnx.TensorProto.UINT8), tensor("logits", onnx.TensorProto.FLOAT, num_classes)]
    body = helper.make_graph(
        graph.nodes, "dml_csr", [tensor("images", onnx.TensorProto.UINT8, 3)], outputs, graph.weights
    )
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(
        body, opset_imports=opsets, ir_version=helper.find_min_ir_version_for(opsets), producer_name="dmlcsr_jax"
    )
    helper.set_model_props(model, {"classes": json.dumps(metadata.spec.class_names)})
    onnx.checker.check_model(model, full_check=True)
    return model


@dataclasses.dataclass(frozen=True)
class Module:
    """The variables of a part of the network, float64; `module[name]` are those of a part of it."""

    params: Mapping[str, Any]
    statistics: Mapping[str, Any]
    path: str = ""

    def __getitem__(self, name: str) -> "Module":
        return Module(self.params[name], self.statistics.get(name, {}), f"{self.path}/{name}")

    def __contains__(self, name: str) -> bool:
        return name in self.params

    def affine(self, absolute_scale: bool) -> tuple[np.ndarray, np.ndarray]:
        """Factor and offset, [C], of a batch norm with its running statistics."""
        scale = np.abs(self.params["scale"]) + EPSILON if absolute_scale else self.params["scale"]
        factor = scale / np.sqrt(self.statistics["var"] + EPSILON)
        return factor, self.params["bias"] - self.statistics["mean"] * factor


class Graph:
    """Nodes and weights of a graph as it grows; a value is known by the name of the output that it is."""

    def __init__(self):
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._numbers = itertools.count()

    def node(self, operator: str, *inputs: str | np.ndarray, output: str = "", **attributes: Any) -> str:
        """Adds a node and returns its output; inputs that are arrays become weights, floating ones float32."""
        output = output or f"{operator}_{next(self._numbers)}"
        names = [x if isinstance(x, str) else self._weight(x, f"{output}.{i}") for i, x in enumerate(inputs)]
        self.nodes.append(helper.make_node(operator, names, [output], name=output, **attributes))
        return output

    def _weight(self, array: np.ndarray, name: str) -> str:
        array = np.asarray(array, np.float32 if np.issubdtype(array.dtype, np.floating) else np.int64)
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def conv(
        self,
        x: str,
        conv: Module,
        norm: Module | None = None,
        activation: str = "leaky_relu",
        *,
        absolute_scale: bool = True,
        strides: int = 1,
        dilation: int = 1,
        groups: int = 1,
    ) -> str:
        """models.layers.Conv, and the ActivatedBatchNorm behind it if there is one: [B, I, h, w] -> [B, O, h', w']."""
        kernel = conv.params["kernel"]  # [k, k, I / groups, O]
        bias = conv.params.get("bias", np.zeros(kernel.shape[-1]))
        if norm:
            factor, offset = norm.affine(absolute_scale)
            kernel, bias = kernel * factor, bias * factor + offset
        padding = dilation * (len(kernel) - 1) // 2
        y = self.node(
            "Conv",
            x,
            kernel.transpose(3, 2, 0, 1),
            bias,
            output=conv.path,
            pads=[padding] * 4,
            strides=[strides] * 2,
            dilations=[dilation] * 2,
            group=groups,
        )
        if norm and activation == "leaky_relu":
            return self.node("LeakyRelu", y, alpha=SLOPE)
        return self.node("Relu", y) if norm and activation == "relu" else y

    def conv_norm(self, x: str, module: Module, name: str, first: int = 0, **fields: Any) -> str:
        """models.layers.LayerFactory.conv_norm; `fields` as in `conv`."""
        return self.conv(x, module[f"{name}_{first}"], module[f"{name}_{first + 1}"], **fields)

    def project(self, projection: Module, norm: Module, x: str) -> str:
        """models.graph.Projection and its plain batch norm on the axis in front: [B, I, n] -> [B, O, n]."""
        factor, offset = norm.affine(absolute_scale=False)
        y = self.node("MatMul", (projection.params["kernel"] * factor).T, x)
        return self.node("Add", y, offset[:, None])

    def resize(self, x: str, size: tuple[int, int]) -> str:
        """pipeline.resize.resize_bilinear: [B, C, h, w] -> [B, C, *size]."""
        fields = {"mode": "linear", "coordinate_transformation_mode": "align_corners", "axes": [2, 3]}
        return self.node("Resize", x, "", "", np.array(size), **fields)

    def reshape(self, x: str, *shape: int) -> str:
        """[B, ...] -> [B, *shape]."""
        return self.node("Reshape", x, np.array((0, *shape)))

    def swap(self, x: str) -> str:
        """[B, m, n] -> [B, n, m]."""
        return self.node("Transpose", x, perm=[0, 2, 1])


def _normalize(graph: Graph, metadata: CheckpointMetadata) -> str:
    preprocessing = metadata.preprocessing
    x = graph.node("Cast", "images", to=onnx.TensorProto.FLOAT)
    if preprocessing.channel_order == "BGR":
        x = graph.node("Gather", x, np.array([2, 1, 0]), axis=3)
    x = graph.node("Sub", x, 255 * np.array(preprocessing.mean))
    x = graph.node("Div", x, 255 * np.array(preprocessing.std))
    return graph.node("Transpose", x, perm=[0, 3, 1, 2])


def _encode(graph: Graph, x: str, encoder: Module, model: Mapping[str, Any]) -> tuple[str, str]:
    """models.backbones.resnet.ResNet: the features of its first and its last stage."""
    absolute = model["norm"] == "abn"
    for i, strides in enumerate((2, 1, 1) if model["stem"] == "deep" else (2,), 1):
        x = graph.conv(x, encoder[f"conv{i}"], encoder[f"bn{i}"], "relu", absolute_scale=absolute, strides=strides)
    x = graph.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    resnet = RESNETS[model["backbone"]]
    features = []
    for stage, size in enumerate(resnet["stage_sizes"]):
        for i in range(size):
            block, strides = encoder[f"layer{stage + 1}_{i}"], 1 if i else STRIDES[stage]
            x = _block(graph, x, block, resnet["bottleneck"], absolute, strides, DILATIONS[stage])
        features.append(x)
    return features[0], features[-1]


def _block(graph: Graph, x: str, block: Module, bottleneck: bool, absolute: bool, strides: int, dilation: int) -> str:
    """models.backbones.resnet.Block."""
    layers = [(1, 1), (strides, dilation), (1, 1)] if bottleneck else [(strides, dilation), (1, dilation)]
    last = "leaky_relu" if absolute else "none"
    y = x
    for i, (step, distance) in enumerate(layers, 1):
        activation = "relu" if i < len(layers) else last
        fields = {"absolute_scale": absolute, "strides": step, "dilation": distance}
        y = graph.conv(y, block[f"conv{i}"], block[f"bn{i}"], activation, **fields)
    if "downsample_0" in block:
        norm = block["downsample_1"]
        x = graph.conv(x, block["downsample_0"], norm, last, absolute_scale=absolute, strides=strides)
    return graph.node("Relu", graph.node("Add", x, y))


def _context(graph: Graph, x: str, head: Module, metadata: CheckpointMetadata) -> str:
    """models.heads.ContextHead."""
    y = graph.conv_norm(x, head, "conva")
    if metadata.model["dual_graph"]:
        dual, features, size = head["dualgcn"], 8 * metadata.model["width"], _at_stride(8, metadata.size)
        branches = _spatial(graph, y, dual, features, size), _channel(graph, y, dual, features, size)
        y = graph.conv_norm(graph.node("Concat", *branches, axis=1), dual, "final")
    y = graph.conv_norm(y, head, "convb")
    return graph.conv_norm(graph.node("Concat", x, y, axis=1), head, "bottleneck")


def _spatial(graph: Graph, x: str, dual: Module, features: int, size: tuple[int, int]) -> str:
    """models.graph.DualGraph's spatial branch, matrices transposed: [B, P, h, w] -> [B, P, h, w]."""
    local, attention = x, dual["gcn_local_attention"]
    for i in range(3):
        local = graph.conv_norm(local, dual, "local", first=2 * i, strides=2, groups=features)
    k, v, q = (
        graph.reshape(graph.conv(local, attention[f"node_{name}"]), features // 2, -1) for name in "kvq"
    )  # [B, d, n]
    relation = graph.node("Softmax", graph.node("MatMul", v, graph.swap(q)), axis=1)
    t = graph.project(attention["conv_wg"], attention["bn_wg"], graph.node("MatMul", relation, k))
    t = graph.conv_norm(graph.reshape(t, features // 2, *_at_stride(8, size)), attention, "out")
    local = graph.node("Add", graph.node("Mul", t, attention.params["gamma"]), local)
    return graph.node("Add", graph.node("Mul", x, graph.resize(local, size)), x)


def _channel(graph: Graph, x: str, dual: Module, features: int, size: tuple[int, int]) -> str:
    """models.graph.DualGraph's channel branch, nodes [B, P / 2, P / 4]: [B, P, h, w] -> [B, P, h, w]."""
    phi = graph.reshape(graph.conv(x, dual["phi"], dual["bn_phi"]), features // 2, -1)
    theta = graph.reshape(graph.conv(x, dual["theta"], dual["bn_theta"]), features // 4, -1)
    nodes = graph.node("MatMul", theta, graph.swap(phi))  # their transpose
    nodes = graph.node("Add", graph.project(dual["conv_adj"], dual["bn_adj"], nodes), nodes)
    nodes = graph.project(dual["conv_wg"], dual["bn_wg"], graph.swap(nodes))
    y = graph.reshape(graph.node("MatMul", nodes, theta), features // 2, *size)
    y = graph.conv(y, dual["conv3"], dual["bn3"])
    return graph.node("Add", graph.node("Mul", y, dual.params["gamma1"]), x)


def _parse(graph: Graph, x: str, low_level: str, head: Module, metadata: CheckpointMetadata) -> str:
    """models.heads.ParsingHead: logits [B, C, H / 4, W / 4]."""
    x = graph.resize(graph.conv_norm(x, head, "conv1"), _at_stride(4, metadata.size))
    x = graph.node("Concat", x, graph.conv_norm(low_level, head, "conv2"), axis=1)
    x = graph.conv_norm(x, head, "conv3")
    return graph.conv(graph.conv_norm(x, head, "conv3", first=2), head["conv4"])


def _at_stride(stride: int, size: tuple[int, int]) -> tuple[int, int]:
    return -(-size[0] // stride), -(-size[1] // stride)
