"""Without a workdir the shipped weights are used; weights trained or exported from them inherit their terms."""

import json
import pathlib

import jax
import numpy as np
import pytest
from PIL import Image

from configs import default
from dmlcsr_jax import FaceParser, checkpoints, cli, command, modes
from dmlcsr_jax.checkpoints import exported
from dmlcsr_jax.datasets import get_spec
from dmlcsr_jax.datasets.faces import draw_face
from dmlcsr_jax.models import create_model, parse_labels, prepare_variables
from dmlcsr_jax.training.experiment import Experiment
from dmlcsr_jax.training.initial import initial_variables
from dmlcsr_jax.training.plan import create_metadata
from tests.shipped import CARD, METADATA, write_exported


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty current folder; the package ships weights "portrait"."""
    write_exported(tmp_path / "weights" / "portrait")
    monkeypatch.setattr(exported, "shipped_directory", lambda: tmp_path / "weights")
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "home")
    return tmp_path / "home"


def run(*arguments):
    cli.run(command.parse(["dmlcsr", *map(str, arguments)]))


def test_a_photo_is_parsed_without_a_workdir(home):
    Image.fromarray(draw_face(0, 80)[0]).save("photo.png")
    run("--mode=predict", "--faces=whole", "photo.png")
    with Image.open(home / "predictions" / "photo.png") as labels:
        assert labels.size == (80, 80) and len(np.unique(np.asarray(labels))) > 3
    assert FaceParser.load().metadata == METADATA
    assert sorted(path.name for path in home.iterdir()) == ["photo.png", "predictions"]


def test_the_name_is_no_folder_to_write_into(home):
    Image.fromarray(draw_face(0, 80)[0]).save("photo.png")
    run("--mode=predict", "--faces=whole", "--workdir=portrait", "photo.png")
    assert sorted(path.name for path in home.iterdir()) == ["photo.png", "predictions"]


def test_an_export_says_what_it_was_made_from(home):
    """The export of an export has the same weights, and its card says the same."""
    run("--mode=export", "--formats=safetensors")
    names = {"model.safetensors", "model.json", "README.md"}
    assert {path.name for path in (home / "export").iterdir()} == names
    first, metadata = checkpoints.load("portrait")
    second, read = checkpoints.load(home / "export")
    assert read == metadata and checkpoints.read_card(home / "export") == CARD
    jax.tree.map(np.testing.assert_array_equal, first, second)
    card = (home / "export" / "README.md").read_text()
    assert "Terms: some" in card and "- more\n" in card and "step 7 of the run first" in card
    assert "float16" in card and "## Known failures" in card and "not scored" in card
    (home / "export" / "evaluation.json").write_text(json.dumps({"f1": {"skin": 0.5}, "mean_f1": 0.25}))
    (home / "export" / "notes.md").write_text("Few failures.")
    run(f"--workdir={home / 'export'}", "--mode=export", "--formats=safetensors", f"--output={home / 'again'}")
    card = (home / "again" / "README.md").read_text()
    assert "mean F1 25.0" in card and "Few failures." in card and "Known" not in card


def test_fine_tuning_starts_from_them_and_inherits_their_terms(home):
    experiment = Experiment.from_config(command.parse(["dmlcsr", "--config=finetune", "--workdir=x"]).config)
    assert experiment.model == METADATA.model and experiment.size == METADATA.size
    spec = get_spec("lapa")
    metadata = create_metadata(spec, experiment, home / "run")
    assert metadata.preprocessing == METADATA.preprocessing
    assert metadata.inherited_terms[1:] == METADATA.inherited_terms
    assert METADATA.spec.terms in metadata.inherited_terms[0] and "portrait" in metadata.inherited_terms[0]
    variables = initial_variables(
        create_model(spec.num_classes, **experiment.model), experiment.initial, spec.class_names
    )
    first, _ = checkpoints.load("portrait")
    jax.tree.map(np.testing.assert_array_equal, variables["params"]["encoder"], first["params"]["encoder"])


def test_terms_of_the_configuration_go_into_the_card(home):
    config = default.get_config("debug")
    config.dataset.update(name="folder", terms="For tests only.")
    spec = type(METADATA.spec)("folder", METADATA.spec.class_names)
    variables, _ = checkpoints.load("portrait")
    metadata = checkpoints.CheckpointMetadata(spec, METADATA.model, METADATA.size, METADATA.preprocessing)
    checkpoints.save_variables(home / "run" / "checkpoints", variables, metadata)
    config.model.pretrained_backbone = "lite0.pth"  # the checkpoint is older than its field for this
    modes.export(config, pathlib.Path("run"), home / "out", formats=["safetensors"])
    read = checkpoints.load_metadata(home / "out")
    assert read.spec.terms == "For tests only." and "lite0.pth" in read.inherited_terms[0]
    card = (home / "out" / "README.md").read_text()
    assert "Terms: For tests only." in card and read.inherited_terms[0] in card


@pytest.mark.slow
def test_they_can_be_scored_without_a_workdir(home):
    run("--config=quickstart:debug", "--mode=evaluate", f"--config.dataset.data_dir={home / 'data'}")
    result = json.loads((home / "evaluation" / "evaluation.json").read_text())
    assert set(result["f1"]) == set(METADATA.spec.class_names)


def test_the_shipped_network_parses_a_face():
    image, labels = draw_face(0, 256)
    (face,) = FaceParser.load()(image)
    assert face.names == METADATA.spec.class_names and face.labels.shape == labels.shape
    assert (face.labels > 0).mean() > 0.1


@pytest.mark.slow
def test_the_shipped_onnx_file_computes_the_same():
    runtime = pytest.importorskip("onnxruntime")
    folder = checkpoints.find_checkpoint("portrait")
    session = runtime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    variables, metadata = checkpoints.load(folder)
    images = draw_face(1, max(metadata.size))[0][None, : metadata.size[0], : metadata.size[1]]
    (labels,) = session.run(["labels"], {"images": images})
    model = create_model(metadata.spec.num_classes, **metadata.model)
    expected = parse_labels(model, prepare_variables(model, variables), images, preprocessing=metadata.preprocessing)
    assert (labels == expected).mean() >= 0.999
