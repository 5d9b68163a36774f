"""OpenVINO on the CPU, in float32, or in bfloat16 where the processor computes in it."""

import sys
import threading
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from dmlcsr_jax import processor
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.inference.engines import cache
from dmlcsr_jax.types import Precision

if TYPE_CHECKING:
    import openvino

_HINTS = {"float32": "f32", "bfloat16": "bf16"}


class OpenVinoGraph:
    """A network as `onnx_graph.build_model` writes it.

    It is compiled for each length of a batch, because OpenVINO is faster with fixed shapes.

    Args:
      data: the content of the ONNX file.
      name: the file, for messages.
      precision: what it computes in.

    Raises:
      UserError: OpenVINO is not installed, or cannot read the file.
    """

    def __init__(self, data: bytes, name: str, precision: Precision = "float32"):
        self._core = _import_openvino().Core()
        folder = cache.folder("openvino")
        if folder:  # compiling takes a second, reading what was compiled half of one
            cache.keep_newest(folder)
            self._core.set_property({"CACHE_DIR": str(folder)})
        self._hints = {"INFERENCE_PRECISION_HINT": _HINTS[precision], "PERFORMANCE_HINT": "LATENCY"}
        self._compiled: dict[tuple[str, tuple[int, ...]], openvino.CompiledModel] = {}
        self._turn = threading.Lock()  # a compiled model answers one call at a time
        try:
            self._whole = self._core.read_model(data)
        except RuntimeError as error:
            raise UserError(f"{name} cannot be read by OpenVINO; export it again") from error

    def labels(self, images: np.ndarray) -> np.ndarray:
        """As `Graph.labels`."""
        return self._run("labels", images)

    def logits(self, images: np.ndarray) -> np.ndarray:
        """As `Graph.logits`."""
        return self._run("logits", images)

    def _run(self, output: str, images: np.ndarray) -> np.ndarray:
        with self._turn:
            key = output, images.shape
            if key not in self._compiled:
                self._compiled[key] = self._compile(output, images.shape)
            return self._compiled[key](images)[output]

    def _compile(self, output: str, shape: Sequence[int]) -> "openvino.CompiledModel":
        """The part of the network that computes one output, for images of this shape."""
        whole = self._whole.clone()
        part = _import_openvino().Model([whole.output(output)], whole.get_parameters(), output)
        part.reshape({"images": list(shape)})
        return self._core.compile_model(part, "CPU", self._hints)


def computes_bfloat16() -> bool:
    """Whether this processor has instructions for bfloat16 that OpenVINO uses (AMX, AVX512-BF16)."""
    known = "BF16" in _import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    flags = processor.flags()
    return known and (not flags or bool({"amx_bf16", "avx512_bf16"} & flags))


def _import_openvino() -> ModuleType:
    """OpenVINO without its telemetry, which would tell its makers of every import: photos are parsed offline."""
    sys.modules.setdefault("openvino_telemetry", None)  # pyright: ignore[reportArgumentType]  # as if not installed
    import openvino

    return openvino
