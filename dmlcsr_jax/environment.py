"""Process-wide settings of XLA and the C library; they must be set before JAX computes anything."""

import os
import pathlib
import sys

HUGE_PAGES = "glibc.malloc.hugetlb=1"
_SCHEDULER = "--xla_cpu_enable_concurrency_optimized_scheduler"


def use_huge_pages() -> None:
    """Lets large arrays lie in huge pages on Linux, by starting this program anew with the same arguments.

    Memory then comes 2 MB at a time instead of 4 kB, without which a training step on a CPU takes a fifth longer
    (docs/performance.md). The C library (glibc from 2.35 on) reads `GLIBC_TUNABLES` at its start only; a choice of the
    user's own in there stands.
    """
    if sys.platform == "linux" and "GLIBC_TUNABLES" not in os.environ:
        os.environ["GLIBC_TUNABLES"] = HUGE_PAGES
        os.execv(sys.executable, sys.orig_argv)


def compute_in_order() -> None:
    """Lets XLA on the CPU compute in the order that needs least memory; to be called before JAX starts.

    By default it does early whatever it can, to keep many threads busy. That costs a fifth more memory in a training
    step and gains no time, as convolutions and products use all cores by themselves (docs/performance.md). A choice of
    the user's own in `XLA_FLAGS` stands.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if _SCHEDULER not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {_SCHEDULER}=false".strip()


def use_compilation_cache() -> None:
    """Caches compiled programs in ~/.cache/dmlcsr_jax, unless $JAX_COMPILATION_CACHE_DIR names another folder."""
    import jax

    if not jax.config.jax_compilation_cache_dir:
        jax.config.update("jax_compilation_cache_dir", str(pathlib.Path.home() / ".cache" / "dmlcsr_jax"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)  # dozens of small programs take seconds too
