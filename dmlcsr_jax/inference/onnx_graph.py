"""The parsing network as an ONNX graph, built from its variables.

Images are [B, C, H, W] inside; their size is fixed, the batch size is free. Every batch norm follows a convolution or a
projection and is folded into it. Needs the extra `onnx`.
"""

import json

import jax
import numpy as np
import onnx
from onnx import helper

from dmlcsr_jax.checkpoints import CheckpointMetadata
from dmlcsr_jax.inference.onnx_nodes import Graph
from dmlcsr_jax.models import DMLCSR, create_model
from dmlcsr_jax.models.test_time_augmentation import scaled_size
from dmlcsr_jax.types import Preprocessing, Variables

OPSET = 18  # the first whose Resize can name the axes it resizes, which keeps the batch size free

Size = tuple[int, int]  # height, width


def build_model(variables: Variables, metadata: CheckpointMetadata, scale: float = 1.0) -> onnx.ModelProto:
    """The network of a checkpoint, from images to class numbers, in float32.

    Args:
      variables: `params` and `batch_stats`; those of the edge heads are not read.
      metadata: classes, network, input preprocessing and size (H, W).
      scale: the network sees images resized to this multiple of their size, as in test-time augmentation.

    Returns:
      A model of opset 18 with the input `images`, uint8 RGB [batch, H, W, 3], and the outputs `labels`, uint8
      [batch, H, W], and `logits`, float32 [batch, H, W, C], both at the size of the input.
    """
    network = create_model(metadata.spec.num_classes, **metadata.model)
    root = Graph(*(jax.tree.map(lambda x: np.asarray(x, np.float64), variables[k]) for k in ("params", "batch_stats")))
    images, size = _normalize(root, metadata.preprocessing), scaled_size(metadata.size, scale)
    if size != metadata.size:
        images = root.resize(images, size)
    features = network.create_encoder(parent=None).onnx_nodes(root["encoder"], images)
    context = _context(root["context"], features.high, network, _at_stride(8, size))
    logits = _parse(root["parsing_head"], context, features.low, _at_stride(4, size))
    _add_outputs(root, root.resize(logits, metadata.size))
    return _finish(root, metadata)


def _add_outputs(graph: Graph, logits: str) -> None:
    classes = graph.node("ArgMax", logits, axis=1, keepdims=0)
    graph.node("Cast", classes, to=onnx.TensorProto.UINT8, output="labels")
    graph.node("Transpose", logits, perm=[0, 2, 3, 1], output="logits")


def _finish(graph: Graph, metadata: CheckpointMetadata) -> onnx.ModelProto:
    def tensor(name: str, dtype: int, *shape: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, dtype, ("batch", *metadata.size, *shape))

    inputs = [tensor("images", onnx.TensorProto.UINT8, 3)]
    logits = tensor("logits", onnx.TensorProto.FLOAT, metadata.spec.num_classes)
    outputs = [tensor("labels", onnx.TensorProto.UINT8), logits]
    body = helper.make_graph(graph.nodes, "dml_csr", inputs, outputs, graph.weights)
    opsets = [helper.make_opsetid("", OPSET)]
    version = helper.find_min_ir_version_for(opsets)
    model = helper.make_model(body, opset_imports=opsets, ir_version=version, producer_name="dmlcsr_jax")
    helper.set_model_props(model, {"classes": json.dumps(metadata.spec.class_names)})
    onnx.checker.check_model(model, full_check=True)
    return model


def _normalize(graph: Graph, preprocessing: Preprocessing) -> str:
    x = graph.node("Cast", "images", to=onnx.TensorProto.FLOAT)
    if preprocessing.channel_order == "BGR":
        x = graph.node("Gather", x, np.array([2, 1, 0]), axis=3)
    x = graph.node("Sub", x, 255 * np.array(preprocessing.mean))
    x = graph.node("Div", x, 255 * np.array(preprocessing.std))
    return graph.node("Transpose", x, perm=[0, 3, 1, 2])


def _context(head: Graph, x: str, network: DMLCSR, size: Size) -> str:
    """models.heads.ContextHead."""
    y = head.conv_norm(x, "conva")
    if network.dual_graph:
        dual, features = head["dualgcn"], 8 * network.width
        branches = _spatial(dual, y, features, size), _channel(dual, y, features, size)
        y = dual.conv_norm(dual.node("Concat", *branches, axis=1), "final")
    y = head.conv_norm(y, "convb")
    return head.conv_norm(head.node("Concat", x, y, axis=1), "bottleneck")


def _spatial(dual: Graph, x: str, features: int, size: Size) -> str:
    """models.graph.DualGraph's spatial branch, matrices transposed: [B, P, h, w] -> [B, P, h, w]."""
    local, attention = x, dual["gcn_local_attention"]
    for i in range(3):
        local = dual.conv_norm(local, "local", first=2 * i, strides=2, groups=features)
    k, v, q = (
        attention.reshape(attention.conv(local, f"node_{name}"), features // 2, -1) for name in "kvq"
    )  # [B, d, n]
    relation = attention.node("Softmax", attention.node("MatMul", v, attention.swap(q)), axis=1)
    t = attention.project(attention.node("MatMul", relation, k), "conv_wg", "bn_wg")
    t = attention.conv_norm(attention.reshape(t, features // 2, *_at_stride(8, size)), "out")
    local = attention.add(attention.node("Mul", t, attention.params["gamma"]), local)
    return dual.add(dual.node("Mul", x, dual.resize(local, size)), x)


def _channel(dual: Graph, x: str, features: int, size: Size) -> str:
    """models.graph.DualGraph's channel branch, nodes [B, P / 2, P / 4]: [B, P, h, w] -> [B, P, h, w]."""
    phi = dual.reshape(dual.conv(x, "phi", "bn_phi"), features // 2, -1)
    theta = dual.reshape(dual.conv(x, "theta", "bn_theta"), features // 4, -1)
    nodes = dual.node("MatMul", theta, dual.swap(phi))  # transposed
    nodes = dual.add(dual.project(nodes, "conv_adj", "bn_adj"), nodes)
    nodes = dual.project(dual.swap(nodes), "conv_wg", "bn_wg")
    y = dual.reshape(dual.node("MatMul", nodes, theta), features // 2, *size)
    y = dual.conv(y, "conv3", "bn3")
    return dual.add(dual.node("Mul", y, dual.params["gamma1"]), x)


def _parse(head: Graph, x: str, low_level: str, size: Size) -> str:
    """models.heads.ParsingHead: logits [B, C, H / 4, W / 4]."""
    x = head.resize(head.conv_norm(x, "conv1"), size)
    x = head.node("Concat", x, head.conv_norm(low_level, "conv2"), axis=1)
    x = head.conv_norm(x, "conv3")
    return head.conv(head.conv_norm(x, "conv3", first=2), "conv4")


def _at_stride(stride: int, size: Size) -> Size:
    return -(-size[0] // stride), -(-size[1] // stride)
