"""Which texts are paths, and files in gs://."""

import json
import os
import pathlib

import numpy as np
import pytest

from dmlcsr_jax import files, paths
from dmlcsr_jax.checkpoints import open_manager
from dmlcsr_jax.command import parse
from dmlcsr_jax.datasets import DatasetSettings, copies
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.inference import FaceParser
from dmlcsr_jax.inference.export import write_files
from dmlcsr_jax.inference.inputs import list_inputs
from dmlcsr_jax.models.weight_files import read_state_dict, write_state_dict
from dmlcsr_jax.training.initial import InitialWeights
from dmlcsr_jax.training.workdir import claim_workdir
from tests.gcs import fake_gcs

REFUSED = [
    "s3://bucket/run",
    "az://box/run",
    "hf://name/run",
    "hdfs://host:9000/run",
    "http://host/run",
    "https://storage.googleapis.com/bucket/run",
    "ftp://host/run",
    "file:///run",
    "GS://bucket/run",
    " gs://bucket/run",
    "gs://",
    "gs:///run",
    pathlib.Path("gs://bucket/run"),  # has become gs:/bucket/run
    pathlib.Path("s3://bucket/run"),
]


@pytest.fixture
def bucket(tmp_path):
    with fake_gcs(tmp_path / "storage") as folder:
        yield folder / "bucket"


@pytest.fixture(autouse=True)
def no_folder_named_like_a_scheme(tmp_path, monkeypatch):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    yield
    assert not [path for path in here.rglob("*") if path.name.strip().endswith(":")]


@pytest.mark.parametrize("path", REFUSED, ids=str)
def test_other_schemes_are_refused(path):
    with pytest.raises(UserError, match=r"^--workdir=.*: only local paths and gs://BUCKET/NAME can be used"):
        paths.as_path(path, "--workdir")


@pytest.mark.parametrize("path", ["run", "/a//b", "C:/run", "a:b/c", "./gs:/x", "", "~/x", "x/gs://y"])
def test_local_paths_stay_what_they_are(path):
    assert paths.as_path(path) == pathlib.Path(path)
    assert paths.local_path(path, "--output", "") == pathlib.Path(path)


@pytest.mark.skipif(any(map(paths.importlib.util.find_spec, ("gcsfs", "tensorflow"))), reason="gs:// works here")
def test_without_its_packages_gs_names_the_extra():
    with pytest.raises(UserError, match=r"^--workdir=gs://bucket/run: .*pip install 'dmlcsr_jax\[gcs\]'"):
        paths.as_path("gs://bucket/run", "--workdir")


@pytest.mark.parametrize("flag", ["workdir", "output", "predictions"])
@pytest.mark.parametrize("path", ["s3://bucket/run", "gs:/run"])
def test_flags_are_named(flag, path):
    with pytest.raises(UserError, match=rf"^--{flag}={path}: only local paths and gs://"):
        parse(["dmlcsr", "--config=quickstart", "--workdir=run", f"--{flag}={path}"])


def test_fields_are_named():
    with pytest.raises(UserError, match=r"^config.dataset.path=gs://faces is not a local path; copy the raw data"):
        DatasetSettings("folder", path="gs://faces")
    with pytest.raises(UserError, match=r"^config.dataset.data_dir=s3://x: only"):
        DatasetSettings("folder", path="faces", data_dir="s3://x")
    with pytest.raises(UserError, match=r"^config.init_from=s3://x: only"):
        InitialWeights(init_from="s3://x")
    with pytest.raises(UserError, match=r"^config.model.pretrained_backbone=http://x/y.pth: only"):
        InitialWeights(pretrained_backbone="http://x/y.pth")


def test_the_variable_for_data_is_named(monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", "hdfs://x")
    with pytest.raises(UserError, match=r"^\$TFDS_DATA_DIR=hdfs://x: only"):
        copies.data_root("")


@pytest.mark.parametrize("path", ["s3://bucket/run", pathlib.Path("gs://bucket/run")], ids=str)
@pytest.mark.parametrize(
    "use",
    [
        FaceParser.load,
        lambda path: claim_workdir(path, {}),
        lambda path: write_files(path, {"a": "b"}),
        lambda path: write_state_dict(os.path.join(path, "x.npz"), {}),
    ],
    ids=["load", "claim", "write", "convert"],
)
def test_functions_refuse_them_too(use, path):
    with pytest.raises(UserError, match=r"only local paths and gs://"):
        use(path)


@pytest.mark.parametrize("path", ["gs://bucket/photo.jpg", "http://host/photo.jpg", "gs://bucket/*.jpg"])
def test_inputs_of_predict_are_local(path):
    with pytest.raises(UserError, match="is not a local path; copy it to a local file or folder"):
        list_inputs([path])


def test_a_file_in_gs_is_whole_or_absent(bucket):
    path = paths.as_path("gs://bucket/run/a.json")
    files.write_text(path, '{"step": 1, "é": 2}\n')
    assert (bucket / "run/a.json").read_text(encoding="utf-8") == '{"step": 1, "é": 2}\n'
    assert files.read_json_lines(path) == [{"step": 1, "é": 2}]
    with pytest.raises(ZeroDivisionError), files.replacing(path) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert files.read_json_lines(path) == [{"step": 1, "é": 2}]
    with files.replacing(path) as temporary:
        assert temporary.suffix == ".json" and isinstance(temporary, pathlib.Path)
        temporary.write_bytes(b"[]")
    files.write_bytes(path.parent / "b", b"\xff")
    assert {file.name: file.read_bytes() for file in (bucket / "run").iterdir()} == {"a.json": b"[]", "b": b"\xff"}
    assert not paths.as_path("gs://bucket/none").exists() and files.read_json_lines(path.parent / "none") == []


def test_a_remote_folder_is_written_locally_and_uploaded(bucket, tmp_path):
    target = paths.as_path("gs://bucket/a")
    with pytest.raises(ZeroDivisionError), paths.LocalFolder(target) as folder:
        (folder.path / "x").mkdir()
        (folder.path / "x/y").write_text("1")
        folder.upload()
        assert (bucket / "a/x/y").read_text() == "1"
        (folder.path / "x/y").write_text("2")
        raise ZeroDivisionError
    assert (bucket / "a/x/y").read_text() == "2" and not folder.path.exists()
    assert [(str(file), paths.size(file)) for file in paths.files_below(target)] == [("gs://bucket/a/x/y", 1)]
    assert paths.modified(target / "x/y") == int((bucket / "a/x/y").stat().st_mtime)
    paths.remove_tree(target)
    assert not bucket.exists()
    paths.remove_tree(target)
    with paths.LocalFolder(tmp_path / "here") as folder:
        assert folder.path == tmp_path / "here"


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_weights_are_read_from_gs_and_written_there(bucket, suffix):
    write_state_dict(f"gs://bucket/new/w{suffix}", {"a": np.arange(3.0)})
    np.testing.assert_array_equal(read_state_dict(f"gs://bucket/new/w{suffix}")["a"], np.arange(3.0))
    assert [path.name for path in (bucket / "new").iterdir()] == [f"w{suffix}"]


def test_a_workdir_in_gs_belongs_to_one_run(bucket):
    config = {"training": {"epochs": 1}, "model": {}, "seed": 0}
    assert claim_workdir("gs://bucket/run", config) is None
    (bucket / "run/checkpoints").mkdir()
    assert claim_workdir("gs://bucket/run", config) == 1
    with pytest.raises(UserError, match=r"^gs://bucket/run/config.json is of another run: seed is 0 there and 1 here"):
        claim_workdir("gs://bucket/run", config | {"seed": 1})
    assert json.loads((bucket / "run/config.json").read_text()) == config


def test_a_broken_step_in_gs_is_set_aside(bucket, capsys):
    for name in ("5/commit_success.txt", "7/variables/_METADATA"):  # the save of 7 was killed
        (bucket / "run/checkpoints" / name).parent.mkdir(parents=True)
        (bucket / "run/checkpoints" / name).write_text("")
    with open_manager("gs://bucket/run/checkpoints") as manager:
        assert manager.all_steps() == []
    assert {path.name for path in (bucket / "run/checkpoints").iterdir()} - {"7"} == {"5.broken"}
    assert "gs://bucket/run/checkpoints/5 cannot be read" in capsys.readouterr().out.replace("\n", "")


class HttpError(Exception):
    """As gcsfs raises it."""


HttpError.__module__ = "gcsfs.retry"


@pytest.mark.parametrize("error", [HttpError("no such bucket"), PermissionError("no such bucket")])
def test_unreachable_storage_is_one_line(bucket, monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(paths.as_path("gs://bucket").__class__, "mkdir", fail)
    with pytest.raises(UserError, match=r"^gs://bucket/run cannot be reached \(no such bucket\); check .*gcloud auth"):
        claim_workdir("gs://bucket/run", {})


def test_mistakes_in_the_code_are_no_storage_failures():
    with pytest.raises(KeyError), paths.reaching("gs://bucket/run"):
        raise KeyError("x")
    with pytest.raises(OSError, match="disk"), paths.reaching("run"):
        raise OSError("disk")
