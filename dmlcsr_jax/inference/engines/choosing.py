"""Makes the engine that was asked for, or the fastest one for a network on this machine."""

import contextlib
import json
import math
import pathlib
import time
from collections.abc import Sequence
from typing import get_args

import numpy as np

from dmlcsr_jax import __version__, processor
from dmlcsr_jax.console import print_plain
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.fields import check_choice
from dmlcsr_jax.files import write_text
from dmlcsr_jax.inference.engines import cache
from dmlcsr_jax.inference.engines.base import Engine, refuse_scales
from dmlcsr_jax.inference.engines.creating import Job
from dmlcsr_jax.inference.engines.sources import Source
from dmlcsr_jax.models import TestTimeAugmentation
from dmlcsr_jax.types import EngineName, Precision

ENGINES = ("jax", "onnxruntime", "openvino")  # as their packages are named; in the order in which they are timed
_TURNS = 3  # in which engines are timed
_MOST_RUNS, _SECONDS = 7, 0.5  # of one engine in a turn, at least one run


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
    job = Job(source, precision, augmentation)
    return _fastest(job) if name == "auto" else job.create(name)


def _fastest(job: Job) -> Engine:
    """The accelerator's JAX if there is one, else the fastest engine that is installed."""
    names = [name for name in ENGINES if job.is_possible(name)]
    if not names:
        raise UserError(job.nothing_possible())
    if len(names) == 1:
        return job.create(names[0])
    if "jax" in names and processor.has_accelerator():
        return job.create("jax")
    path = _choice_path(job, names)
    chosen = _read_choice(path)
    if chosen not in names:
        return _time(job, names, path)
    try:
        return job.create(chosen)
    except UserError:  # such as a checkpoint whose conversion is refused
        if chosen == "jax" or "jax" not in names:
            raise
        return job.create("jax")


def _time(job: Job, names: Sequence[str], path: pathlib.Path | None) -> Engine:
    """The fastest of several engines; keeps the choice in a file and prints it."""
    engines, problems = [], []
    for name in names:
        try:
            engines.append(job.create(name))
        except UserError as error:
            problems.append(error)
    if not engines:
        raise problems[0]
    seconds = _seconds(engines, job.source.metadata.size)
    best = min(engines, key=lambda engine: seconds[engine.name])
    if path and not problems:
        with contextlib.suppress(OSError):
            write_text(path, json.dumps({"engine": best.name, "seconds": seconds}))
    times = ", ".join(f"{name} {1000 * value:.1f}" for name, value in seconds.items())
    print_plain(f"engine: {best.name}, the fastest for this network here (milliseconds per image: {times})")
    return best


def _choice_path(job: Job, names: Sequence[str]) -> pathlib.Path | None:
    """Where the choice is kept for this kind of network, size, precision, processor and these versions."""
    folder, metadata = cache.folder("engines"), job.source.metadata
    versions = {name: _version(name) for name in names}
    kind = {"classes": metadata.spec.num_classes, "size": metadata.size, "network": dict(metadata.model)}
    run = {"precision": job.precision, "graph": job.source.variables is None, "code": __version__}
    parts = json.dumps([kind, run, versions, processor.describe()], sort_keys=True)
    return folder / f"{cache.digest([parts])}.json" if folder else None


def _version(name: str) -> str:
    """The version of an engine; "" if it comes with a package of another name, such as onnxruntime-gpu."""
    from importlib.metadata import PackageNotFoundError, version  # takes a while to import

    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _read_choice(path: pathlib.Path | None) -> str | None:
    try:
        return json.loads(path.read_text())["engine"] if path else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _seconds(engines: Sequence[Engine], size: tuple[int, int]) -> dict[str, float]:
    """The shortest time of one image by each engine; the first call, which may compile, does not count.

    They take turns, so that other work on the machine slows all of them and not one.
    """
    images = np.random.default_rng(0).integers(0, 256, (1, *size, 3), np.uint8)
    shortest: dict[str, float] = {}
    for engine in engines:
        engine.labels(images)
        shortest[engine.name] = math.inf
    for engine in [*engines] * _TURNS:
        times: list[float] = []
        while not times or (len(times) < _MOST_RUNS and sum(times) < _SECONDS):
            start = time.perf_counter()
            engine.labels(images)
            times.append(time.perf_counter() - start)
        shortest[engine.name] = min(shortest[engine.name], *times)
    return shortest
