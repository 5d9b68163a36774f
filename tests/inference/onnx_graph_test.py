"""The ONNX graph computes what the network does, in every variant."""

import jax
import pytest

from configs import default
from dmlcsr_jax import checkpoints, modes
from dmlcsr_jax.datasets.spec import FaceSpec
from dmlcsr_jax.inference.export import export_network
from dmlcsr_jax.models import create_model
from dmlcsr_jax.types import Preprocessing
from tests.inference.random_variables import random_variables

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

BASE = default.get_config("debug").model


def network(num_classes=11, size=(57, 49), order="RGB", **fields):
    config = BASE.copy_and_resolve_references()
    config.update(fields)
    spec = FaceSpec("made up", tuple(f"part {i}" for i in range(num_classes)))
    metadata = checkpoints.CheckpointMetadata(spec, config.to_dict(), size, Preprocessing(order))
    return random_variables(create_model(num_classes, config)), metadata


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"order": "BGR", "stem": "plain", "norm": "batch_norm", "edge_heads": False, "num_classes": 19},
        {"backbone": "resnet18", "dual_graph": False, "num_classes": 2, "size": (33, 64)},
        pytest.param({"backbone": "resnet50", "norm": "batch_norm", "dtype": "bfloat16"}, marks=pytest.mark.slow),
    ],
    ids=["published", "torchvision", "basic blocks without graph", "bottlenecks"],
)
def test_logits_are_the_networks(fields):
    variables, metadata = network(**fields)
    ((data, parity),) = export_network(variables, metadata, ["onnx"]).values()
    assert parity.relative_difference < 1e-4 and parity.equal_labels >= 0.9999
    model = onnx.load_from_string(data)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 18)]
    parsing = [tree for part, tree in variables["params"].items() if part != "edge_head"]
    assert len(data) < 4 * sum(leaf.size for leaf in jax.tree.leaves(parsing)) + 50_000


def test_the_file_and_its_card(tmp_path):
    variables, metadata = network(size=(32, 32))
    checkpoints.save_variables(tmp_path / "checkpoints", variables, metadata)
    modes.export(default.get_config("debug"), tmp_path, tmp_path / "out", ["onnx"])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "model.onnx",
        "model.onnx.json",
        "model.onnx.md",
    ]
    assert "opset 18" in (tmp_path / "out" / "model.onnx.md").read_text()
    (classes,) = onnx.load(tmp_path / "out" / "model.onnx").metadata_props
    assert classes.key == "classes" and "part 10" in classes.value
