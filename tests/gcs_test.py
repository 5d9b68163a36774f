"""A run whose workdir and prepared data are in gs://: trained, resumed, scored, exported, parsed with."""

import contextlib
import json

import cv2
import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event

from dmlcsr_jax import cli, datasets
from dmlcsr_jax.checkpoints import find_checkpoint, load, step_folders
from dmlcsr_jax.command import parse
from dmlcsr_jax.datasets import DatasetSettings
from dmlcsr_jax.datasets.faces import draw_face
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.inference import FaceParser
from dmlcsr_jax.paths import as_path
from tests.gcs import fake_gcs

pytestmark = pytest.mark.slow

RUN, DATA = "gs://bucket/run", "gs://bucket/data"
TRAIN = (
    "--config=quickstart:debug",
    "--mode=train",
    f"--config.dataset.data_dir={DATA}",
    "--config.dataset.synthetic.size=64",
    "--config.input.height=32",
    "--config.input.width=32",
    "--config.training.checkpoint_every=3",
    "--config.training.log_every=2",
    "--config.self_regulation.enabled=False",
)


def run(*arguments):
    cli.run(parse(["dmlcsr", *arguments]))


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    """A run of one epoch (4 steps), resumed for a second one, from a folder of its own that stays empty."""
    here = tmp_path_factory.mktemp("here")
    with fake_gcs(tmp_path_factory.mktemp("storage")) as folder, contextlib.chdir(here):
        for epochs in (1, 2):
            run(*TRAIN, f"--workdir={RUN}", f"--config.training.epochs={epochs}")
        assert not list(here.iterdir())
        yield folder / "bucket"


def lines(bucket):
    return [json.loads(line) for line in (bucket / "run/metrics.jsonl").read_text().splitlines()]


def events(file):
    """The tags of a file of TensorBoard events with their steps; a record has 12 bytes before and 4 after its data."""
    data = file.read_bytes()
    while data:
        length = int.from_bytes(data[:8], "little")
        event = Event.FromString(data[12 : 12 + length])
        yield from ((event.step, value.tag) for value in event.summary.value)
        data = data[16 + length :]


def test_training_leaves_a_whole_workdir_and_resumes(bucket):
    assert step_folders(as_path(RUN))[0].name == "8"
    assert [line["step"] for line in lines(bucket) if "train/total" in line] == [2, 4, 6, 8]
    first, second = sorted((bucket / "run").glob("events.*"))
    assert {step for step, tag in events(first) if tag == "train/total"} == {2, 4}
    assert {step for step, tag in events(second) if tag == "train/total"} == {6, 8}
    for name in ("examples.png", "curves.png"):
        assert cv2.imread(str(bucket / "run" / name)) is not None
    assert json.loads((bucket / "run/config.json").read_text())["training"]["epochs"] == 2
    assert "parsing_head" in (bucket / "run/parameters.txt").read_text()


def test_a_step_that_was_not_finished_does_not_count(bucket):
    (bucket / "run/checkpoints/9/variables").mkdir(parents=True)
    (bucket / "run/checkpoints/9/variables/manifest.ocdbt").write_text("")
    assert step_folders(as_path(RUN))[0].name == "8"
    run(*TRAIN, f"--workdir={RUN}", "--config.training.epochs=2")  # nothing is left to do
    assert step_folders(as_path(RUN))[0].name == "8" and [line["step"] for line in lines(bucket)][-1] == 8


def test_a_parser_is_loaded_from_gs(bucket):
    image = draw_face(0, 64)[0]
    labels = FaceParser.load(RUN, faces="whole", engine="jax")(image)[0].labels
    assert find_checkpoint(RUN).parent == as_path(RUN) / "checkpoints"
    local = FaceParser.load(bucket / "run", faces="whole", engine="jax")(image)[0].labels
    np.testing.assert_array_equal(labels, local)
    run("--mode=export", f"--workdir={RUN}", "--formats=safetensors,stablehlo")
    assert json.loads((bucket / "run/export/model.json").read_text())["card"]["checkpoint"]["run"] == "run"
    for path in (f"{RUN}/export", f"{RUN}/export/model.stablehlo"):
        exported = FaceParser.load(path, faces="whole", engine="jax")(image)[0].labels
        assert np.mean(exported == labels) > 0.99  # kernels in float16


def test_scores_are_written_there_and_read_from_there(bucket):
    run("--mode=evaluate", f"--workdir={RUN}")
    scores = json.loads((bucket / "run/evaluation.json").read_text())
    assert scores["pixel_accuracy"] == pytest.approx(lines(bucket)[-1]["val/pixel_accuracy"], abs=0.2)
    assert (bucket / "run/evaluation.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_predictions_of_a_remote_workdir_are_local(bucket, tmp_path):
    photo = tmp_path / "photo.png"
    cv2.imwrite(str(photo), draw_face(0, 64)[0])
    with contextlib.chdir(tmp_path):
        run("--mode=predict", f"--workdir={RUN}", "--write=labels", "--engine=jax", str(photo))
        assert (tmp_path / "predictions/photo.png").is_file()
        with pytest.raises(UserError, match=r"^--output=gs://bucket/x is not a local path; name a local folder"):
            run("--mode=predict", f"--workdir={RUN}", "--output=gs://bucket/x", str(photo))


def test_another_run_starts_from_it(bucket, capsys):
    run(
        *TRAIN,
        "--workdir=gs://bucket/next",
        f"--config.init_from={RUN}",
        "--config.training.epochs=1",
        "--config.profile=1",
    )
    assert f"weights from {RUN}" in capsys.readouterr().out
    assert list((bucket / "next/profile").rglob("perfetto_trace.json.gz"))
    assert load("gs://bucket/next")[1].inherited_terms[0].startswith("Training started from the weights run.")


def prepare(**fields):
    return datasets.prepare(DatasetSettings("synthetic", data_dir=DATA, options={"size": 48, "train": 4}, **fields))


def test_prepared_data_is_read_from_gs(bucket):
    dataset = prepare()
    assert dataset.directory.startswith(f"{DATA}/synthetic/48px-4-")
    local = datasets.prepare(
        DatasetSettings("synthetic", data_dir=str(bucket / "local"), options={"size": 48, "train": 4})
    )
    assert dataset.summary == local.summary and len(dataset.source("train")) == 4
    for index in range(4):
        assert dataset.source("train")[index] == local.source("train")[index]


def test_an_interrupted_upload_is_done_again(bucket):
    folder = as_path(prepare().directory)
    stored = bucket.parent / str(folder).removeprefix("gs://")
    record = next(stored.glob("*.array_record*"))
    content = record.read_bytes()
    (stored / "summary.json").unlink()
    record.unlink()
    assert len(prepare().source("train")) == 4 and record.read_bytes() == content
    record.unlink()
    with pytest.raises(UserError, match=r"^prepared data is incomplete: gs://.*array_record.* is missing"):
        prepare()
    (stored / "summary.json").unlink()
    prepare()


def test_a_copy_in_gs_is_not_removed(bucket):
    dataset = prepare()
    settings = DatasetSettings("synthetic", data_dir=DATA, options={"size": 48, "train": 4})
    (line,) = datasets.remove_copies(settings)
    assert line.startswith("kept: gs://bucket/data/synthetic/48px") and "gcloud storage rm -r gs://bucket/data/" in line
    assert len(prepare().source("train")) == dataset.splits["train"]
