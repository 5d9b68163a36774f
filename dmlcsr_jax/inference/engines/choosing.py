"""Makes the engine that was asked for, or the fastest one for a network on this machine."""

import dataclasses
import importlib.util
import json
import pathlib
import time
from collections.abc import Sequence
from typing import get_args

import numpy as np

from dmlcsr_jax import __version__
from dmlcsr_jax.console import console
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.fields import check_choice
from dmlcsr_jax.files import write_text
from dmlcsr_jax.inference.engines import cache, processor
from dmlcsr_jax.inference.engines.base import Engine, GraphEngine, refuse_scales
from dmlcsr_jax.inference.engines.converting import CONVERSION, onnx_graphs
from dmlcsr_jax.inference.engines.jax_engine import JaxEngine, StableHloGraph
from dmlcsr_jax.inference.engines.onnxruntime_engine import OnnxRuntimeGraph
from dmlcsr_jax.inference.engines.openvino_engine import OpenVinoGraph, computes_bfloat16
from dmlcsr_jax.inference.engines.sources import Source
from dmlcsr_jax.models import TestTimeAugmentation
from dmlcsr_jax.types import EngineName, Precision

# Engine -> its package, in the order in which they are timed.
PACKAGES = {"jax": "jax", "onnxruntime": "onnxruntime", "openvino": "openvino"}
_EXTRAS = {"onnxruntime": "onnx", "openvino": "openvino"}
_LEAST_RUNS, _MOST_RUNS, _SECONDS = 2, 7, 2.0  # for timing one engine


def create_engine(
    source: Source,
    name: EngineName = "auto",
    *,
    precision: Precision = "float32",
    augmentation: TestTimeAugmentation = TestTimeAugmentation(),
) -> Engine:
    """The engine of a network.

    Args:
      source: the network.
      name: "jax", "onnxruntime", "openvino"; or "auto": JAX if it finds an accelerator, else the fastest engine that is
        installed. These are timed once for each kind of network, size and processor, and the choice is kept.
      precision: "bfloat16" is for OpenVINO on a processor with AMX or AVX512-BF16, and for JAX on an accelerator.
      augmentation: the views that are averaged.

    Raises:
      FieldError: `name` or `precision` is unknown.
      UserError: the engine is not installed, or cannot run this network so.
    """
    check_choice("engine", name, get_args(EngineName))
    check_choice("precision", precision, get_args(Precision))
    if source.variables is None:
        refuse_scales(augmentation, source.name)
    job = _Job(source, precision, augmentation)
    return job.fastest() if name == "auto" else job.create(name)


@dataclasses.dataclass(frozen=True)
class _Job:
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

    def fastest(self) -> Engine:
        """The accelerator's JAX if there is one, else the fastest engine that is installed."""
        names = [name for name in PACKAGES if self._is_possible(name)]
        if not names:
            raise UserError(self._nothing_possible())
        if len(names) == 1:
            return self.create(names[0])
        if "jax" in names and processor.has_accelerator():
            return self.create("jax")
        path = self._choice_path(names)
        chosen = _read_choice(path)
        return self.create(chosen) if chosen in names else self._time(names, path)

    def _time(self, names: Sequence[str], path: pathlib.Path | None) -> Engine:
        """The fastest of several engines; keeps the choice in a file and prints it."""
        best, seconds, problems = None, {}, []
        for name in names:
            try:
                engine = self.create(name)
            except UserError as error:
                problems.append(error)
                continue
            seconds[name] = _seconds(engine, self.source.metadata.size)
            if best is None or seconds[name] < seconds[best.name]:
                best = engine
        if best is None:
            raise problems[0]
        if path and not problems:
            write_text(path, json.dumps({"engine": best.name, "seconds": seconds}))
        times = ", ".join(f"{name} {1000 * value:.1f}" for name, value in seconds.items())
        console.print(f"engine: {best.name}, the fastest for this network here (milliseconds per image: {times})")
        return best

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

    def _is_possible(self, name: str) -> bool:
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

    def _nothing_possible(self) -> str:
        if self.precision != "float32":
            return (
                f"precision is {self.precision!r}, which nothing here computes in; it needs OpenVINO "
                "(pip install 'dmlcsr_jax[openvino]') on a processor with AMX or AVX512-BF16, or an accelerator"
            )
        if self.source.variables or self.source.stablehlo:
            return f"{self.source.name} needs JAX; pip install dmlcsr_jax with what it requires"
        return f"{self.source.name} needs onnxruntime or OpenVINO; pip install 'dmlcsr_jax[onnx]'"

    def _choice_path(self, names: Sequence[str]) -> pathlib.Path | None:
        """Where the choice is kept for this kind of network, size, precision, processor and these versions."""
        from importlib.metadata import version  # takes a while to import

        folder, metadata = cache.folder("engines"), self.source.metadata
        versions = {name: version(PACKAGES[name]) for name in names}
        kind = {"classes": metadata.spec.num_classes, "size": metadata.size, "network": dict(metadata.model)}
        run = {"precision": self.precision, "graph": self.source.variables is None, "code": __version__}
        parts = json.dumps([kind, run, versions, processor.describe()], sort_keys=True)
        return folder / f"{cache.digest([parts])}.json" if folder else None


def _read_choice(path: pathlib.Path | None) -> str | None:
    try:
        return json.loads(path.read_text())["engine"] if path else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _seconds(engine: Engine, size: tuple[int, int]) -> float:
    """The shortest time of one image; the first call, which may compile, does not count."""
    images = np.random.default_rng(0).integers(0, 256, (1, *size, 3), np.uint8)
    engine.labels(images)
    times: list[float] = []
    while len(times) < _LEAST_RUNS or (len(times) < _MOST_RUNS and sum(times) < _SECONDS):
        start = time.perf_counter()
        engine.labels(images)
        times.append(time.perf_counter() - start)
    return min(times)


def _missing(packages: Sequence[str]) -> list[str]:
    return [package for package in packages if importlib.util.find_spec(package) is None]


def _require(name: str, packages: Sequence[str]) -> None:
    """Raises UserError if a package of an engine is not installed."""
    missing = _missing(packages)
    if missing:
        extra = f"[{_EXTRAS[name]}]" if name in _EXTRAS else ""
        raise UserError(f"engine {name} needs the package {missing[0]}; pip install 'dmlcsr_jax{extra}'")
