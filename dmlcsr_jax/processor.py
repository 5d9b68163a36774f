"""This machine: its processor, and whether JAX finds an accelerator."""

import functools
import importlib.util
import os
import pathlib
import platform
import sys

_PLUGINS = ("libtpu", "jax_plugins")  # packages through which JAX finds accelerators


@functools.cache
def _first_core() -> dict[str, str]:
    """What Linux says of the first core; {} elsewhere."""
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    except OSError:
        return {}
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}


def flags() -> frozenset[str]:
    """The instruction sets of the processor, as Linux names them; empty if they are not known."""
    return frozenset(_first_core().get("flags", "").split())


def describe() -> str:
    """The processor and the number of cores that this process may use."""
    core = _first_core()
    name = core.get("model name") or platform.processor() or platform.machine()
    more = (f"{field} {core[field]}" for field in ("cpu family", "model", "stepping") if field in core)
    return ", ".join([name, *more, f"{usable_cores()} cores"])


def usable_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def has_accelerator() -> bool:
    """Whether JAX would compute on a GPU or TPU; imports JAX only if a plugin for one is installed."""
    if os.environ.get("JAX_PLATFORMS") == "cpu" or importlib.util.find_spec("jax") is None:
        return False
    from importlib.metadata import entry_points  # takes a while to import

    plugins = [*entry_points(group="jax_plugins")]
    if "jax" not in sys.modules and not plugins and not any(map(importlib.util.find_spec, _PLUGINS)):
        return False
    import jax

    return jax.default_backend() != "cpu"
