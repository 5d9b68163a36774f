"""Process-wide settings of XLA and the C library; they must be set before JAX computes anything."""

import importlib.metadata
import importlib.util
import os
import pathlib
import pkgutil
import sys

HUGE_PAGES = "glibc.malloc.hugetlb=1"
_CPU_SCHEDULER = "--xla_cpu_enable_concurrency_optimized_scheduler"
_GPU_SCHEDULER = "--xla_gpu_enable_latency_hiding_scheduler"
JAXLIB_END = (0, 13)  # the releases before this one know both flags


def use_huge_pages() -> None:
    """Puts large arrays into huge pages on Linux, by restarting this program with the same arguments.

    Memory then comes 2 MB at a time instead of 4 kB; otherwise a training step on a CPU takes a fifth longer
    (docs/performance.md). The C library (glibc 2.35 or newer) reads `GLIBC_TUNABLES` only when it starts; the user's
    own setting is kept.
    """
    if sys.platform == "linux" and "GLIBC_TUNABLES" not in os.environ:
        os.environ["GLIBC_TUNABLES"] = HUGE_PAGES
        os.execv(sys.executable, sys.orig_argv)


def compute_in_order() -> None:
    """Makes XLA on the CPU compute in the order that needs the least memory. Call it before JAX starts.

    By default XLA computes as early as possible, to keep many threads busy. That costs a fifth more memory in a
    training step and saves no time, because convolutions and products use all cores by themselves
    (docs/performance.md). The user's own setting in `XLA_FLAGS` is kept.
    """
    _set_flag(_CPU_SCHEDULER, "false")


def communicate_early() -> None:
    """Makes XLA on GPUs compute while devices exchange gradients. Call it before JAX starts.

    XLA's latency-hiding scheduler starts each exchange as early and waits for it as late as it can, for some more
    memory; it is off by default. The user's own setting in `XLA_FLAGS` is kept, and without JAX's plugin for GPUs
    nothing is set.
    """
    plugins = importlib.util.find_spec("jax_plugins")
    folders = plugins.submodule_search_locations if plugins else None
    if any(name.startswith(("xla_cuda", "xla_rocm")) for _, name, _ in pkgutil.iter_modules(folders or [])):
        _set_flag(_GPU_SCHEDULER, "true")


def _set_flag(name: str, value: str) -> None:
    """Adds a flag of XLA's, unless the user set it, `XLA_FLAGS` names a file of flags, or XLA may not know it."""
    flags = os.environ.get("XLA_FLAGS", "").strip()
    is_file = flags and not flags.startswith("-")
    if name not in flags and not is_file and _knows_flags():
        os.environ["XLA_FLAGS"] = f"{flags} {name}={value}".strip()


def _knows_flags() -> bool:
    """Whether the installed jaxlib knows the flags above; it ends the process at a flag that it doesn't know."""
    try:
        major, minor, *_ = importlib.metadata.version("jaxlib").split(".")
    except importlib.metadata.PackageNotFoundError:
        return False  # with requirements-parse.txt alone
    return (int(major), int(minor)) < JAXLIB_END


def cache_directory() -> pathlib.Path:
    """Where things are kept that can be made again: $XDG_CACHE_HOME/dmlcsr_jax, else ~/.cache/dmlcsr_jax."""
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "dmlcsr_jax"


def use_compilation_cache() -> None:
    """Caches compiled programs in `cache_directory()`, unless $JAX_COMPILATION_CACHE_DIR names another folder.

    It does not import JAX, which reads these variables when something needs it.
    """
    folder = os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache_directory()))
    # Dozens of small programs take seconds too.
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    if "jax" in sys.modules:  # it has read them already
        import jax

        if not jax.config.values["jax_compilation_cache_dir"]:
            jax.config.update("jax_compilation_cache_dir", folder)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
