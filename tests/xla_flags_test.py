import os

import pytest

from dmlcsr_jax import xla_flags

FLAG = "--xla_cpu_enable_concurrency_optimized_scheduler"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", f"{FLAG}=false"),
        ("--xla_dump_to=there", f"--xla_dump_to=there {FLAG}=false"),
        (f"{FLAG}=true", f"{FLAG}=true"),
    ],
)
def test_only_what_the_user_left_open_is_chosen(monkeypatch, before, after):
    monkeypatch.setenv("XLA_FLAGS", before)
    xla_flags.compute_in_order()
    assert os.environ["XLA_FLAGS"] == after
