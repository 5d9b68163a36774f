"""Our ONNX graph on the engines of `FaceParser`, cut down to what the other sides compute: logits at stride 4."""

import numpy as np
import onnx
from onnx.utils import Extractor

from benchmarks.side_by_side import Run
from benchmarks.workload import NUM_CLASSES, Workload
from dmlcsr_jax.checkpoints import CheckpointMetadata
from dmlcsr_jax.datasets.spec import FaceSpec
from dmlcsr_jax.inference.onnx_graph import build_model
from dmlcsr_jax.ops.normalize import normalize
from dmlcsr_jax.types import Preprocessing


def parse_by_onnxruntime(work: Workload, images: np.ndarray) -> Run:
    """Parsing logits by onnxruntime, in float32."""
    import onnxruntime

    network, x = _network(work).SerializeToString(), _normalized(images)
    session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda: np.moveaxis(np.asarray(session.run(None, {name: x})[0]), 1, -1)


def parse_by_openvino(work: Workload, images: np.ndarray) -> Run:
    """Parsing logits by OpenVINO."""
    import openvino

    core, x = openvino.Core(), _normalized(images)
    model = core.read_model(_network(work).SerializeToString())
    model.reshape(list(x.shape))
    hints = {"INFERENCE_PRECISION_HINT": "bf16" if work.dtype == "bfloat16" else "f32", "PERFORMANCE_HINT": "LATENCY"}
    compiled = core.compile_model(model, "CPU", hints)
    return lambda: np.moveaxis(compiled(x)[0], 1, -1)


def _network(work: Workload) -> onnx.ModelProto:
    """The exported graph from normalized images, [B, 3, H, W], to logits, [B, C, h, w]."""
    spec = FaceSpec("synthetic", tuple(f"part {i}" for i in range(NUM_CLASSES)))
    fields = {"backbone": work.backbone, "width": work.width}
    whole = build_model(work.variables(), CheckpointMetadata(spec, fields, (work.size, work.size), Preprocessing()))
    first = next(node for node in whole.graph.node if node.op_type == "Transpose")
    last = [node for node in whole.graph.node if node.op_type == "Resize"][-1]
    return Extractor(onnx.shape_inference.infer_shapes(whole)).extract_model([first.output[0]], [last.input[0]])


def _normalized(images: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(np.asarray(normalize(images)), -1, 1))
