"""Exported networks compute what the checkpoint does, and their model cards describe them."""

import json
import pathlib
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from configs import default
from dmlcsr_jax import checkpoints, modes
from dmlcsr_jax.datasets import get_spec
from dmlcsr_jax.datasets.faces import draw_face
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.inference import FaceParser, export
from dmlcsr_jax.inference.model_card import code_commit
from dmlcsr_jax.models import create_model
from dmlcsr_jax.pipeline.geometry import restore_crop, whole_image_matrix
from dmlcsr_jax.pipeline.transforms import fit_image
from dmlcsr_jax.training.experiment import Experiment
from dmlcsr_jax.types import Preprocessing
from tests.inference.random_variables import random_variables

SIZE = (57, 49)
CONFIG = default.get_config("debug")
CONFIG.dataset.name = "lapa"
MODEL = Experiment.from_config(CONFIG).model
SCORES = {"f1": {"hair": 0.5, "nose": None}, "merged_f1": {}, "mean_f1": 0.25, "miou": 0.125, "pixel_accuracy": 1.0}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A workdir with a network of 11 classes, its scores and its export: (workdir, folder of the export)."""
    workdir = tmp_path_factory.mktemp("run")
    variables = random_variables(create_model(11, **MODEL), seed=2)
    metadata = checkpoints.CheckpointMetadata(get_spec("lapa"), MODEL, SIZE, Preprocessing("BGR"))
    checkpoints.save_variables(workdir / "checkpoints", variables, metadata)
    (workdir / "evaluation.json").write_text(json.dumps(SCORES))
    modes.export(CONFIG, workdir, workdir / "export", formats=["stablehlo"])
    return workdir, workdir / "export"


def test_stablehlo_computes_the_parsers_labels_for_any_batch(run):
    workdir, folder = run
    exported = jax.export.deserialize(bytearray((folder / "model.stablehlo").read_bytes()))
    assert exported.platforms == ("cpu", "cuda", "tpu")
    parser, matrix = FaceParser.load(workdir), whole_image_matrix(60, 64, SIZE)
    for count in (1, 3):
        images = [draw_face(seed, 64)[0][:, :60] for seed in range(count)]
        found = exported.call(np.stack([fit_image(image, SIZE) for image in images]))
        assert found["labels"].shape == (count, *SIZE) and found["labels"].dtype == jnp.uint8
        assert found["logits"].shape == (count, *SIZE, 11) and found["logits"].dtype == jnp.float32
        np.testing.assert_array_equal(found["labels"], np.argmax(found["logits"], -1))
        restored = np.stack([restore_crop(np.asarray(labels), matrix, 60, 64) for labels in found["labels"]])
        expected = np.stack([face.labels for face in parser(images)])
        assert len(np.unique(expected)) > 3 and (restored == expected).mean() >= 0.9999
    with pytest.raises(ValueError, match=r"[Ss]hape"):
        exported.call(np.zeros((1, 64, 64, 3), np.uint8))


def test_the_code_on_the_card_needs_jax_alone(run, tmp_path):
    _, folder = run
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "model.stablehlo.md").read_text(), re.DOTALL)
    Image.fromarray(draw_face(0, 96)[0]).save(tmp_path / "photo.jpg")
    (tmp_path / "model.stablehlo").symlink_to(folder / "model.stablehlo")
    code += """
import sys
assert labels.shape == (1, 57, 49) and logits.shape == (1, 57, 49, 11)
assert not {"dmlcsr_jax", "flax", "orbax", "ml_collections"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_card_describes_the_network(run):
    workdir, folder = run
    text = (folder / "model.stablehlo.md").read_text()
    values = json.loads((folder / "model.stablehlo.json").read_text())
    spec = get_spec("lapa")
    assert spec.terms in text and "mean F1 25.0" in text and f"step 0 of the run {workdir.name}" in text
    assert [c["name"] for c in values["classes"]] == list(spec.class_names)
    assert [tuple(c["color"]) for c in values["classes"]] == list(spec.palette)
    assert all(name in text for name in spec.class_names)
    assert re.search(r"\| 10 \| hair \| [\d, ]+ \| 50.0 \|", text) and re.search(r"\| nose \| [\d, ]+ \| – \|", text)
    assert values["scores"]["f1"] == SCORES["f1"] and values["preprocessing_inside"]["channel_order"] == "BGR"
    assert values["parity"]["equal_labels"] >= 0.9999 and values["parity"]["relative_difference"] <= 1e-3
    assert values["code"]["commit"] == code_commit()


def test_unknown_terms_and_initial_weights_are_named(run, tmp_path):
    variables, metadata = checkpoints.load(run[0])
    spec = get_spec("lapa")
    metadata = checkpoints.CheckpointMetadata(
        type(spec)("folder", spec.class_names), metadata.model, (33, 33), metadata.preprocessing
    )
    checkpoints.save_variables(tmp_path / "checkpoints", variables, metadata)
    config = CONFIG.copy_and_resolve_references()
    config.init_from = "runs/published"
    config.dataset.update(name="folder", path="/home/somebody/faces")
    modes.export(config, tmp_path, tmp_path / "export", formats=["stablehlo"])
    text = (tmp_path / "export" / "model.stablehlo.md").read_text()
    assert "Terms: unknown" in text and "'faces'" in text and "somebody" not in text
    assert "Training started from the weights published. Terms: unknown" in text and "not scored" in text
    card = json.loads((tmp_path / "export" / "model.stablehlo.json").read_text())
    assert card["training_data"]["initial_weights"] == ["published"] and card["scores"] is None


def test_a_wrong_export_is_not_written(run, tmp_path, monkeypatch):
    workdir, _ = run
    encode = export.encode_stablehlo
    monkeypatch.setattr(
        export, "encode_stablehlo", lambda v, metadata: encode(jax.tree.map(lambda x: 1.01 * x, v), metadata)
    )
    with pytest.raises(UserError, match="does not compute what the network does"):
        modes.export(CONFIG, workdir, tmp_path / "export", formats=["stablehlo"])
    assert not list(tmp_path.iterdir())
    assert not export.Parity(1.0, np.nan, np.nan).holds() and not export.Parity(0.9998, 0.0, 0.0).holds()


def test_mistakes_are_reported_before_the_work(run, tmp_path, monkeypatch):
    workdir, _ = run
    for formats, words in ((["tflite"], "tflite.*stablehlo, onnx"), ([], "stablehlo, onnx")):
        with pytest.raises(UserError, match=words):
            modes.export(CONFIG, workdir, tmp_path / "export", formats=formats)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"dmlcsr_jax\[onnx\].*--formats=stablehlo"):
        modes.export(CONFIG, workdir, tmp_path / "export", formats=["stablehlo", "onnx"])
    with pytest.raises(UserError, match="no such workdir"):
        modes.export(CONFIG, tmp_path / "none", tmp_path / "export", formats=["stablehlo"])
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file"):
        export.write_files(tmp_path / "file", {"a": b""})
    with pytest.raises(UserError, match="cannot be written"):
        export.write_files(tmp_path, {"a": b"", "b" * 300: b""})
    assert [path.name for path in pathlib.Path(tmp_path).iterdir()] == ["file"]
