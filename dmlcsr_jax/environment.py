"""Process-wide settings of XLA and the C library; they must be set before JAX computes anything."""

import os
import pathlib
import sys

HUGE_PAGES = "glibc.malloc.hugetlb=1"
_SCHEDULER = "--xla_cpu_enable_concurrency_optimized_scheduler"


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
    flags = os.environ.get("XLA_FLAGS", "")
    if _SCHEDULER not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {_SCHEDULER}=false".strip()


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
