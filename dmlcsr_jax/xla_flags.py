"""What XLA reads from the environment, once, before it computes anything."""

import os

_SCHEDULER = "--xla_cpu_enable_concurrency_optimized_scheduler"


def compute_in_order() -> None:
    """Lets XLA on the CPU compute in the order that needs least memory; to be called before JAX starts.

    By default it does early whatever it can, to keep many threads busy. That costs a fifth more memory in a training
    step and gains no time, as convolutions and products use all cores by themselves (docs/performance.md). A choice of
    the user's own in `XLA_FLAGS` stands.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if _SCHEDULER not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {_SCHEDULER}=false".strip()
