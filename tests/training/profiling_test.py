import gzip
import json

import jax
import jax.numpy as jnp
import pytest

from dmlcsr_jax.training.profiling import WARM_UP, step_tracer


def steps_in_trace(folder):
    (trace,) = folder.rglob("perfetto_trace.json.gz")
    events = json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]
    return {int(event["args"]["step_num"]) for event in events if event.get("name") == "train"}


@pytest.mark.parametrize(("taken", "expected"), [(8, {12, 13}), (WARM_UP + 1, {12})], ids=["all", "run ends early"])
def test_steps_are_traced(tmp_path, taken, expected):
    step_function, state = jax.jit(lambda x: x @ x), jnp.eye(8)
    with step_tracer(tmp_path, 2) as traced:
        for step in range(10, 10 + taken):
            with traced(step, state):
                state = step_function(state)
    assert steps_in_trace(tmp_path) == expected


def test_none_are_traced(tmp_path):
    with step_tracer(tmp_path, 0) as traced:
        for step in range(8):
            with traced(step, jnp.eye(2)):
                pass
    assert not list(tmp_path.iterdir())
