"""What the benchmark of a training step derives without running one."""

import jax
import pytest

from benchmarks import train_step
from benchmarks.workload import Workload

WORK = Workload(473, 2, "resnet101", 64, "bfloat16")


def test_operations_are_those_of_direct_convolutions():
    """The published network has 0.51 TFLOP per image in the forward pass; Winograd's convolutions need half."""
    assert train_step.count_operations(WORK) == pytest.approx(2 * 3 * 0.506e12, rel=0.01)


def test_a_step_is_compared_with_the_peak_and_with_a_product(monkeypatch):
    assert train_step.product_rate(64, 2) > 0
    assert train_step.shares(WORK, 1, {"ours": 1.0}) == {}  # on a CPU
    monkeypatch.setattr(train_step.workload, "on_accelerator", lambda: True)
    monkeypatch.setattr(train_step, "count_operations", lambda work: 6e12)
    monkeypatch.setattr(train_step, "product_rate", lambda: 10e12)
    assert train_step.shares(WORK, 10, {"ours": 10.0}) == {"of a product": {"ours": "60.0%"}}
    monkeypatch.setitem(train_step.PEAKS, jax.local_devices()[0].device_kind, 20e12)
    assert train_step.shares(WORK, 1, {"ours": 2.0}) == {
        "of the peak": {"ours": "15.0%"},
        "of a product": {"ours": "30.0%"},
    }
