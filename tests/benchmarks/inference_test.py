"""The tables of `benchmarks.inference`: which engine is called the fastest, and what is counted around the network."""

import numpy as np
from rich.console import Console

from benchmarks import inference
from benchmarks.side_by_side import Results

LOGITS = np.array([1.0, -2.0, 4.0])


def results(**seconds):
    names = {name.replace("_dmlcsr", "dmlcsr_jax, ").replace("ours", "dmlcsr_jax"): t for name, t in seconds.items()}
    return Results(names, {name: LOGITS + (0.5 if t == 0.003 else 0) for name, t in names.items()}, {})


def printed(table):
    console = Console(width=160)
    with console.capture() as capture:
        console.print(table)
    return [line.split() for line in capture.get().replace("│", " ").splitlines()]


def test_auto_is_the_fastest_of_our_engines_against_the_fastest_peer():
    seconds = results(ours=0.004, _dmlcsronnxruntime=0.002, onnxruntime=0.003, PyTorch=0.008).seconds
    line = inference.compare_fastest(seconds)
    assert line == "auto is dmlcsr_jax, onnxruntime; the fastest peer, onnxruntime, takes 1.50 times as long"
    assert inference.compare_fastest({"dmlcsr_jax": 1.0}) == ""


def test_each_dtype_has_its_columns():
    absent = Results({"dmlcsr_jax": 0.005}, {"dmlcsr_jax": LOGITS}, {"PyTorch": "not installed: torch"})
    table = inference.result_table("tiny", {"float32": results(ours=0.004, PyTorch=0.003), "bfloat16": absent})
    rows = printed(table)
    assert ["dmlcsr_jax,", "JAX", "4", "0.0e+00", "5", "0.0e+00"] in rows
    assert ["PyTorch", "3", "1.2e-01", "not", "installed:", "torch"] in rows
    assert ["dmlcsr_jax,", "auto", "4", "5"] in rows


def test_the_parser_calls_the_engine_once_per_image(monkeypatch):
    sizes = []

    class Counted(inference.Instant):
        def labels(self, images):
            sizes.append(images.shape)
            return super().labels(images)

    monkeypatch.setattr(inference, "Instant", Counted)
    assert inference.seconds_around(64, repeats=3) > 0
    assert sizes == 4 * [(1, 64, 64, 3)]
