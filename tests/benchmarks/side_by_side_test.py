"""Sides that are compared."""

import importlib
import os
from functools import partial

import pytest

from benchmarks import side_by_side


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_sides_have_processes_of_their_own(monkeypatch, backend):
    monkeypatch.setattr(side_by_side.jax, "default_backend", lambda: backend)
    monkeypatch.setattr(side_by_side, "REST", 0)
    makers = {
        "dmlcsr_jax": partial(partial, os.getpid),
        "other": partial(partial, os.getpid),
        "absent": partial(importlib.import_module, "no_such_package"),
    }
    results = side_by_side.take_turns(makers, repeats=1)
    assert list(results.seconds) == list(results.first) == ["dmlcsr_jax", "other"]
    assert len({os.getpid(), *results.first.values()}) == 3
    assert results.absent == {"absent": "not installed: no_such_package"}
