"""What the benchmark of a training step derives without running one."""

import pytest

from benchmarks.train_step import count_operations
from benchmarks.workload import Workload


def test_operations_are_those_of_direct_convolutions():
    """The published network has 0.51 TFLOP forward, about 1.54 in a step, per image; Winograd's needs half."""
    one, two = (count_operations(Workload(473, batch, "resnet101", 64, "bfloat16")) for batch in (1, 2))
    assert one == pytest.approx(1.54e12, rel=0.02)
    assert two == pytest.approx(2 * one, rel=1e-3)
