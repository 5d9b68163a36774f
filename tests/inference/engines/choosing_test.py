"""The fastest engine is chosen once for a kind of network, and conversions are made once for their content."""

import dataclasses
import subprocess
import sys

import jax
import numpy as np
import pytest

from dmlcsr_jax import processor
from dmlcsr_jax.checkpoints import exported
from dmlcsr_jax.datasets.faces import draw_face
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.inference import FaceParser
from dmlcsr_jax.inference.engines import choosing, converting, creating
from dmlcsr_jax.inference.engines.openvino_engine import computes_bfloat16
from tests.shipped import write_exported

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

SHIPPED = exported.shipped_directory() / "portrait"


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "dmlcsr_jax"


@dataclasses.dataclass
class Fake:
    """An engine that takes as long as `seconds` says, and counts how often it was timed."""

    name: str
    precision: str = "float32"


@pytest.fixture
def timed(monkeypatch):
    """Fakes in place of all engines; the names of those that were timed, and how long each takes."""
    pytest.importorskip("openvino")
    names, seconds = [], {"jax": 3.0, "onnxruntime": 1.0, "openvino": 2.0}
    monkeypatch.setattr(creating.Job, "create", lambda job, name: Fake(name, job.precision))

    def measure(engines, size):
        names.extend(engine.name for engine in engines)
        return {engine.name: seconds[engine.name] for engine in engines}

    monkeypatch.setattr(choosing, "_seconds", measure)
    return names, seconds


def test_the_fastest_engine_is_timed_once_and_named(timed, capsys, monkeypatch):
    names, seconds = timed
    assert FaceParser.load(SHIPPED).engine == "onnxruntime"
    assert names == ["jax", "onnxruntime", "openvino"]
    assert "engine: onnxruntime" in capsys.readouterr().out
    seconds["openvino"] = 0.5
    assert FaceParser.load(SHIPPED).engine == "onnxruntime"
    assert len(names) == 3 and not capsys.readouterr().out
    monkeypatch.setattr(processor, "describe", lambda: "another processor")
    assert FaceParser.load(SHIPPED).engine == "openvino"


def test_engines_are_timed_in_turns(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(choosing.time, "perf_counter", lambda: clock[0])
    calls = []

    class Slowed:
        """Takes 1 s or 2 s, but ten times as long in the first calls, when something else runs."""

        def __init__(self, name, seconds):
            self.name, self.seconds = name, seconds

        def labels(self, images):
            calls.append(self.name)
            clock[0] += self.seconds * (10 if len(calls) <= 5 else 1)

    engines = [Slowed("jax", 1.0), Slowed("openvino", 2.0)]
    assert choosing._seconds(engines, (8, 8)) == {"jax": 1.0, "openvino": 2.0}


def test_only_engines_that_can_run_the_network_are_timed(timed, monkeypatch):
    names, _ = timed
    FaceParser.load(SHIPPED / "model.onnx")
    assert names == ["onnxruntime", "openvino"]
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert FaceParser.load(SHIPPED / "model.onnx").engine == "onnxruntime"
    assert len(names) == 2
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"needs onnxruntime or OpenVINO; pip install 'dmlcsr_jax\[onnx\]'"):
        FaceParser.load(SHIPPED / "model.onnx")


def test_an_accelerator_is_used_without_timing(timed, monkeypatch):
    monkeypatch.setattr(processor, "has_accelerator", lambda: True)
    assert FaceParser.load(SHIPPED).engine == "jax"
    assert FaceParser.load(SHIPPED, precision="bfloat16").precision == "bfloat16"
    assert not timed[0]


def test_an_engine_that_fails_is_left_out(timed, monkeypatch, capsys):
    def create(job, name):
        if name == "onnxruntime":
            raise UserError("cannot be converted")
        return Fake(name)

    monkeypatch.setattr(creating.Job, "create", create)
    assert FaceParser.load(SHIPPED).engine == "openvino"
    monkeypatch.setattr(creating.Job, "create", lambda job, name: create(job, "onnxruntime"))
    with pytest.raises(UserError, match="cannot be converted"):
        FaceParser.load(SHIPPED)


def test_a_kept_choice_that_cannot_run_a_checkpoint_gives_way_to_jax(timed, monkeypatch):
    names, _ = timed
    assert FaceParser.load(SHIPPED).engine == "onnxruntime"

    def create(job, name):
        if name != "jax":
            raise UserError("cannot be converted")
        return Fake(name)

    monkeypatch.setattr(creating.Job, "create", create)
    assert FaceParser.load(SHIPPED).engine == "jax" and len(names) == 3


def test_a_cache_that_cannot_be_written_is_done_without(timed, empty_cache):
    empty_cache.parent.write_text("a file where the folder should be")
    assert FaceParser.load(SHIPPED).engine == "onnxruntime"


def test_the_choice_of_real_engines(capsys):
    parser = FaceParser.load(SHIPPED / "model.onnx", faces="whole")
    (face,) = parser(draw_face(0, 96)[0])
    assert (face.labels > 0).mean() > 0.1
    assert parser.engine in ("onnxruntime", "openvino")


@pytest.fixture
def conversions(monkeypatch):
    """The scales that were converted."""
    from dmlcsr_jax.inference import export

    convert, scales = export.export_onnx, []

    def counted(variables, metadata, scale=1.0):
        scales.append(scale)
        return convert(variables, metadata, scale)

    monkeypatch.setattr(export, "export_onnx", counted)
    return scales


def test_a_checkpoint_is_converted_once_for_its_content(tmp_path, conversions, monkeypatch, empty_cache):
    variables = write_exported(tmp_path / "one")
    (tmp_path / "two").mkdir()
    for file in (tmp_path / "one").iterdir():
        (tmp_path / "two" / file.name).write_bytes(file.read_bytes())
    image = draw_face(0, 80)[0]
    (first,) = FaceParser.load(tmp_path / "one", engine="onnxruntime")(image)
    (again,) = FaceParser.load(tmp_path / "two", engine="onnxruntime")(image)
    assert conversions == [1.0] and len(list((empty_cache / "onnx").iterdir())) == 1
    np.testing.assert_array_equal(first.labels, again.labels)
    write_exported(tmp_path / "other", jax.tree.map(lambda x: np.float32(x * 1.01), variables))
    FaceParser.load(tmp_path / "other", engine="onnxruntime")
    assert conversions == [1.0, 1.0]
    monkeypatch.setattr(converting, "_code", lambda: [b"other code"])
    FaceParser.load(tmp_path / "one", engine="onnxruntime")
    assert conversions == [1.0, 1.0, 1.0]


def test_a_conversion_that_computes_something_else_is_refused(tmp_path, monkeypatch):
    from dmlcsr_jax.inference import onnx_graph

    write_exported(tmp_path / "one")
    build = onnx_graph.build_model
    monkeypatch.setattr(
        onnx_graph,
        "build_model",
        lambda v, metadata, scale: build(jax.tree.map(lambda x: 1.05 * x, v), metadata, scale),
    )
    with pytest.raises(UserError, match="does not compute what the network does"):
        FaceParser.load(tmp_path / "one", engine="onnxruntime")


def test_a_conversion_names_the_package_that_it_lacks(tmp_path, monkeypatch):
    write_exported(tmp_path / "one")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UserError, match=r"needs the package onnx; pip install 'dmlcsr_jax\[onnx\]', or use engine jax"):
        FaceParser.load(tmp_path / "one", engine="onnxruntime")
    assert FaceParser.load(tmp_path / "one").engine == "jax"


def test_the_shipped_graph_is_that_of_the_shipped_weights(conversions):
    parsers = [FaceParser.load(engine=engine, faces="whole") for engine in ("onnxruntime", "jax")]
    (ours,), (theirs,) = (parser(draw_face(1, 384)[0]) for parser in parsers)
    assert (ours.labels == theirs.labels).mean() >= 0.9999 and not conversions


def test_bfloat16_has_nearly_the_same_labels():
    pytest.importorskip("openvino")
    if not computes_bfloat16():
        pytest.skip("this processor has no instructions for bfloat16")
    image = draw_face(1, 384)[0]
    half = FaceParser.load(precision="bfloat16", faces="whole")
    assert (half.engine, half.precision) == ("openvino", "bfloat16")
    (half_face,), (face,) = half(image), FaceParser.load(engine="onnxruntime", faces="whole")(image)
    assert (half_face.labels == face.labels).mean() >= 0.995
    assert np.abs(half_face.probabilities - face.probabilities).max() > 1e-4  # it is not float32


def test_without_bfloat16_it_is_refused(monkeypatch):
    monkeypatch.setattr(creating, "computes_bfloat16", lambda: False)
    for engine, words in (
        ("auto", "nothing here computes in"),
        ("openvino", "engine openvino does not compute in here"),
    ):
        with pytest.raises(UserError, match=f"precision is 'bfloat16', which {words}"):
            FaceParser.load(SHIPPED, engine=engine, precision="bfloat16")
    with pytest.raises(UserError, match="engine jax does not compute in here"):
        FaceParser.load(SHIPPED, engine="jax", precision="bfloat16")


def test_openvino_sends_nothing():
    pytest.importorskip("openvino", exc_type=ImportError)
    code = (
        "import sys; from dmlcsr_jax.inference.engines.openvino_engine import computes_bfloat16; computes_bfloat16();"
        "assert not any(name.startswith('openvino_telemetry.') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
