"""Makes an engine by its name, or says in a line why it cannot run a network here."""

import dataclasses
import importlib.util
from collections.abc import Sequence

from dmlcsr_jax import processor
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.inference.engines.base import Engine, GraphEngine
from dmlcsr_jax.inference.engines.converting import CONVERSION, onnx_graphs
from dmlcsr_jax.inference.engines.jax_engine import JaxEngine, StableHloGraph
from dmlcsr_jax.inference.engines.onnxruntime_engine import OnnxRuntimeGraph
from dmlcsr_jax.inference.engines.openvino_engine import OpenVinoGraph, computes_bfloat16
from dmlcsr_jax.inference.engines.sources import Source
from dmlcsr_jax.models import TestTimeAugmentation
from dmlcsr_jax.types import Precision

_EXTRAS = {"onnxruntime": "onnx", "openvino": "openvino"}


@dataclasses.dataclass(frozen=True)
class Job:
    """What an engine is wanted for."""

    source: Source
    precision: Precision
    augmentation: TestTimeAugmentation

    def create(self, name: str) -> Engine:
        """The engine of this name; UserError if it is not installed, or cannot run the network so."""
        _require(name, (name,))
        self._check(name)
        table = self.source.metadata.spec.flip_table() if self.augmentation.flip else None
        if name == "jax" and self.source.variables is None:
            assert self.source.stablehlo, "checked before"
            return GraphEngine(name, self.precision, [StableHloGraph(self.source.stablehlo)], table)
        if name == "jax":
            assert self.source.variables, "checked before"
            _require(name, self._packages(name))
            return JaxEngine(self.source.variables(), self.source.metadata, self.augmentation, self.precision)
        label = str(self.source.onnx or self.source.name)
        contents = onnx_graphs(self.source, self.augmentation)
        graphs = [
            OnnxRuntimeGraph(data, label) if name == "onnxruntime" else OpenVinoGraph(data, label, self.precision)
            for data in contents
        ]
        return GraphEngine(name, self.precision, graphs, table)

    def _check(self, name: str) -> None:
        """Raises UserError if the engine cannot run what there is, or not in this precision."""
        source = self.source
        if name == "jax" and not (source.variables or source.stablehlo):
            raise UserError(f"{source.name}: engine jax runs StableHLO and not ONNX; use onnxruntime or openvino")
        if name != "jax" and not (source.variables or source.onnx):
            raise UserError(f"{source.name}: engine {name} runs ONNX and not StableHLO; use jax, or export as ONNX")
        if self.precision == "bfloat16" and not self._has_bfloat16(name):
            raise UserError(
                f"precision is 'bfloat16', which engine {name} does not compute in here; OpenVINO does on a processor "
                "with AMX or AVX512-BF16, and JAX with a checkpoint on an accelerator"
            )

    def _has_bfloat16(self, name: str) -> bool:
        if name == "jax":
            return self.source.variables is not None and processor.has_accelerator()
        return name == "openvino" and computes_bfloat16()

    def is_possible(self, name: str) -> bool:
        """Whether the engine and what it needs are installed, and it can run the network so."""
        if _missing((name, *self._packages(name))):
            return False
        try:
            self._check(name)
        except UserError:
            return False
        return True

    def _packages(self, name: str) -> tuple[str, ...]:
        """What an engine needs beside its own library."""
        if name == "jax":
            return ("flax",) if self.source.variables else ("flatbuffers",)
        if self.source.variables is None or (self.source.onnx and self.augmentation.scales == (1.0,)):
            return ()
        return CONVERSION

    def nothing_possible(self) -> str:
        """The message if no engine is possible."""
        if self.precision != "float32":
            return (
                f"precision is {self.precision!r}, which nothing here computes in; it needs OpenVINO "
                "(pip install 'dmlcsr_jax[openvino]') on a processor with AMX or AVX512-BF16, or an accelerator"
            )
        if self.source.variables or self.source.stablehlo:
            return f"{self.source.name} needs JAX; pip install dmlcsr_jax with what it requires"
        return f"{self.source.name} needs onnxruntime or OpenVINO; pip install 'dmlcsr_jax[onnx]'"


def _missing(packages: Sequence[str]) -> list[str]:
    return [package for package in packages if importlib.util.find_spec(package) is None]


def _require(name: str, packages: Sequence[str]) -> None:
    """Raises UserError if a package of an engine is not installed."""
    missing = _missing(packages)
    if missing:
        extra = f"[{_EXTRAS[name]}]" if name in _EXTRAS else ""
        raise UserError(f"engine {name} needs the package {missing[0]}; pip install 'dmlcsr_jax{extra}'")
