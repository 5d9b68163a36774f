"""Parsers on exported files: the checkpoint's labels from every engine, and refusals in one line."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from configs import default
from dmlcsr_jax import checkpoints, modes
from dmlcsr_jax.datasets import get_spec
from dmlcsr_jax.datasets.faces import draw_face
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.inference import FaceParser
from dmlcsr_jax.inference.engines.sources import find_source
from dmlcsr_jax.models import TestTimeAugmentation, create_model
from dmlcsr_jax.training.experiment import Experiment
from dmlcsr_jax.types import Preprocessing
from tests.inference.random_variables import random_variables

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

SIZE = (57, 49)
CONFIG = default.get_config("debug")
CONFIG.dataset.name = "lapa"
MODEL = Experiment.from_config(CONFIG).model
IMAGES = [draw_face(seed, 64)[0][:, :60] for seed in range(3)]
FLIP = TestTimeAugmentation(flip=True)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A checkpoint, and in export/ its files of all formats."""
    folder = tmp_path_factory.mktemp("run")
    metadata = checkpoints.CheckpointMetadata(get_spec("lapa"), MODEL, SIZE, Preprocessing("BGR"))
    variables = random_variables(create_model(11, **MODEL), seed=2)
    checkpoints.save_variables(folder / "checkpoints", checkpoints.restore(checkpoints.store(variables)), metadata)
    modes.export(CONFIG, folder, folder / "export", formats=["safetensors", "onnx", "stablehlo"])
    return folder


@pytest.fixture(scope="module")
def expected(workdir):
    """The labels of the checkpoint in JAX, plain and averaged with the mirror image."""
    parsers = (FaceParser.load(workdir, engine="jax", augmentation=views) for views in (TestTimeAugmentation(), FLIP))
    plain, flipped = ([face.labels for face in parser(IMAGES)] for parser in parsers)
    assert len(np.unique(plain)) > 3 and (np.stack(plain) != np.stack(flipped)).mean() > 0.02
    return {False: plain, True: flipped}


@pytest.fixture
def graphs(workdir, tmp_path):
    """A folder with the exported graphs alone."""
    for name in ("model.onnx", "model.onnx.json", "model.stablehlo", "model.stablehlo.json"):
        shutil.copy(workdir / "export" / name, tmp_path)
    return tmp_path


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("engine", ["jax", "onnxruntime", "openvino"])
def test_every_engine_has_the_labels_of_the_checkpoint(graphs, expected, engine, flip):
    pytest.importorskip(engine)
    path = graphs if flip else graphs / ("model.stablehlo" if engine == "jax" else "model.onnx")
    parser = FaceParser.load(path, engine=engine, augmentation=TestTimeAugmentation(flip=flip))
    assert parser.spec == get_spec("lapa") and parser.engine == engine
    for batch in (IMAGES, IMAGES[:1]):
        for face, labels in zip(parser(batch), expected[flip], strict=False):
            assert (face.labels == labels).mean() >= 0.9999
            assert (face.probabilities.argmax(-1) == face.labels).mean() > 0.9


def test_weights_in_an_exported_folder_come_with_the_graph_made_of_them(workdir, tmp_path):
    shutil.copytree(workdir / "export", tmp_path / "export")
    assert find_source(tmp_path / "export").onnx == tmp_path / "export" / "model.onnx"
    card = tmp_path / "export" / "model.onnx.json"
    values = json.loads(card.read_text())
    card.write_text(json.dumps(values | {"weights": "those of another export"}))
    assert find_source(tmp_path / "export").onnx is None


def test_graphs_of_different_networks_are_not_mixed(graphs):
    assert find_source(graphs).stablehlo == graphs / "model.stablehlo"
    card = graphs / "model.stablehlo.json"
    card.write_text(json.dumps(json.loads(card.read_text()) | {"checkpoint": {"run": "other", "step": "3"}}))
    source = find_source(graphs)
    assert source.onnx == graphs / "model.onnx" and source.stablehlo is None


def load(path, **options):
    with pytest.raises(UserError) as refusal:
        FaceParser.load(path, **options)
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


def test_what_a_file_cannot_do_is_refused(graphs):
    onnx, stablehlo = graphs / "model.onnx", graphs / "model.stablehlo"
    assert "runs ONNX and not StableHLO" in load(stablehlo, engine="openvino")
    assert "runs StableHLO and not ONNX" in load(onnx, engine="jax")
    scales = TestTimeAugmentation(scales=(0.75, 1.0))
    for path in (onnx, stablehlo):
        for engine in ("auto", "jax", "onnxruntime"):
            assert "scales 0.75, 1;" in load(path, engine=engine, augmentation=scales)
    assert "no teacher" in load(onnx, weights="teacher")
    assert "engine is 'torch'; it can be auto, jax" in load(onnx, engine="torch")
    assert "precision is 'float16'; it can be float32" in load(onnx, precision="float16")
    assert "engine onnxruntime does not compute in" in load(onnx, engine="onnxruntime", precision="bfloat16")
    assert "engine jax does not compute in" in load(stablehlo, engine="jax", precision="bfloat16")


def test_broken_files_are_named(graphs):
    for name, engine in (("model.onnx", "onnxruntime"), ("model.onnx", "openvino"), ("model.stablehlo", "jax")):
        if engine == "openvino":
            pytest.importorskip("openvino")
        file = graphs / name
        file.write_bytes(b"not a network")
        assert name in load(file, engine=engine) and "export it again" in load(file, engine=engine)
    (graphs / "model.onnx.json").write_text("{")
    assert "model.onnx.json cannot be read" in load(graphs / "model.onnx")
    (graphs / "model.onnx.json").write_text("{}")
    assert "model.onnx.json does not describe the network" in load(graphs / "model.onnx")
    (graphs / "model.onnx.json").unlink()
    assert "lacks its model card model.onnx.json" in load(graphs / "model.onnx")
    assert "gone.onnx is not a file" in load(graphs / "gone.onnx")


@pytest.mark.parametrize("package", ["onnxruntime", "openvino", "jax"])
def test_an_engine_that_is_not_installed_names_its_extra(graphs, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    line = load(graphs, engine=package)
    extra = {"onnxruntime": "[onnx]", "openvino": "[openvino]", "jax": ""}[package]
    assert f"engine {package} needs the package {package}; pip install 'dmlcsr_jax{extra}'" in line


@pytest.mark.parametrize(
    ("file", "engine", "unused"),
    [
        ("model.onnx", "onnxruntime", {"jax", "flax", "orbax", "tensorflow_datasets", "clu", "safetensors", "onnx"}),
        ("model.stablehlo", "jax", {"flax", "orbax", "tensorflow_datasets", "clu", "safetensors", "onnx"}),
    ],
)
def test_a_graph_needs_its_engine_alone(graphs, file, engine, unused):
    code = f"""
import sys
import numpy as np
from dmlcsr_jax import FaceParser
(face,) = FaceParser.load({str(graphs / file)!r}, engine={engine!r})(np.zeros((20, 30, 3), np.uint8))
assert face.labels.shape == (20, 30) and face.probabilities.shape == (20, 30, 11)
assert not {unused} & set(sys.modules), {unused} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
