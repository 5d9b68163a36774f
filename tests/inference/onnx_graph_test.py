"""The ONNX graph computes what the network does, in every variant."""

import jax
import numpy as np
import pytest

from configs import default
from dmlcsr_jax import checkpoints, modes
from dmlcsr_jax.datasets.spec import FaceSpec
from dmlcsr_jax.inference.export import export_network
from dmlcsr_jax.models import create_model
from dmlcsr_jax.models.layers import ActivatedBatchNorm, Conv
from dmlcsr_jax.types import Preprocessing
from tests.inference.random_variables import random_variables

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from dmlcsr_jax.inference.onnx_graph import OPSET  # noqa: E402
from dmlcsr_jax.inference.onnx_nodes import Graph  # noqa: E402

BASE = default.get_config("debug").model


def network(num_classes=11, size=(57, 49), order="RGB", **fields):
    config = BASE.copy_and_resolve_references()
    config.update(fields)
    model = config.to_dict()
    del model["pretrained_backbone"]
    spec = FaceSpec("synthetic", tuple(f"part {i}" for i in range(num_classes)))
    metadata = checkpoints.CheckpointMetadata(spec, model, size, Preprocessing(order))
    return random_variables(create_model(num_classes, **model)), metadata


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"order": "BGR", "stem": "plain", "norm": "batch_norm", "edge_heads": False, "num_classes": 19},
        {"backbone": "resnet18", "dual_graph": False, "num_classes": 2, "size": (33, 64)},
        {"backbone": "efficientnet_lite0"},
        pytest.param({"backbone": "resnet50", "norm": "batch_norm", "dtype": "bfloat16"}, marks=pytest.mark.slow),
    ],
    ids=["published", "torchvision", "basic blocks without graph", "mobile", "bottlenecks"],
)
def test_logits_are_the_networks(fields):
    variables, metadata = network(**fields)
    ((data, parity),) = export_network(variables, metadata, ["onnx"]).values()
    assert parity.relative_difference < 1e-4 and parity.equal_labels >= 0.9999
    model = onnx.load_from_string(data)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 18)]
    parsing = [tree for part, tree in variables["params"].items() if part != "edge_head"]
    assert len(data) < 4 * sum(leaf.size for leaf in jax.tree.leaves(parsing)) + 50_000


@pytest.mark.parametrize("size", [8, 9])
@pytest.mark.parametrize(
    ("conv", "norm"),
    [
        (
            Conv(6, 5, strides=2, groups=6, padding="same", name="conv"),
            ActivatedBatchNorm("relu6", False, 1e-3, name="bn"),
        ),
        (Conv(4, 3, dilation=2, padding="same", name="conv"), ActivatedBatchNorm("leaky_relu", epsilon=0.5, name="bn")),
    ],
    ids=["strided", "dilated"],
)
def test_layers_are_the_networks(conv, norm, size):
    x = np.random.default_rng(0).normal(size=(1, size, size + 3, 6)).astype(np.float32)
    kernel = np.random.default_rng(1).normal(size=conv.init(jax.random.key(0), x)["params"]["kernel"].shape)
    one = np.arange(1.0, 1 + conv.features)
    statistics = {"mean": 0.1 * one, "var": one}
    params = {"conv": {"kernel": kernel}, "bn": {"scale": 2 - one, "bias": 2 - 0.2 * one}}
    graph = Graph(params, {"bn": statistics})
    graph.node("Identity", graph.layer("x", conv, norm), output="y")
    io = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in "xy"]
    body = onnx.helper.make_graph(graph.nodes, "layer", io[:1], io[1:], graph.weights)
    model = onnx.helper.make_model(body, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": np.moveaxis(x, -1, 1)})
    y = conv.apply({"params": params["conv"]}, x)
    expected = norm.apply({"params": params["bn"], "batch_stats": statistics}, y, False)
    np.testing.assert_allclose(np.moveaxis(found, 1, -1), expected, rtol=1e-4, atol=1e-4)


def test_the_file_and_its_model_card(tmp_path):
    variables, metadata = network(size=(32, 32))
    checkpoints.save_variables(tmp_path / "checkpoints", variables, metadata)
    modes.export(default.get_config("debug"), tmp_path, tmp_path / "out", formats=["onnx"])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "model.onnx",
        "model.onnx.json",
        "model.onnx.md",
    ]
    assert "opset 18" in (tmp_path / "out" / "model.onnx.md").read_text()
    (classes,) = onnx.load(tmp_path / "out" / "model.onnx").metadata_props
    assert classes.key == "classes" and "part 10" in classes.value
