"""Exported weights are read wherever a checkpoint is, those that ship with the package by their name."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from dmlcsr_jax import checkpoints
from dmlcsr_jax.checkpoints import exported
from dmlcsr_jax.errors import UserError
from tests.shipped import METADATA, write_exported


@pytest.fixture
def folder(tmp_path):
    write_exported(tmp_path / "export")
    return tmp_path / "export"


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """Weights "portrait" that ship with the package: (their folder, their variables)."""
    variables = write_exported(tmp_path / "weights" / "portrait")
    monkeypatch.setattr(exported, "shipped_directory", lambda: tmp_path / "weights")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "weights" / "portrait", variables


def change(folder, **changes):
    values = json.loads((folder / exported.METADATA).read_text())
    (folder / exported.METADATA).write_text(json.dumps(values | changes))


def test_kernels_are_stored_in_float16_and_read_in_float32(shipped):
    folder, variables = shipped
    for name, array in load_file(folder / exported.WEIGHTS).items():
        assert array.dtype == (np.float16 if name.endswith("kernel") else np.float32), name
    found, metadata = checkpoints.load(folder)
    assert metadata == METADATA and checkpoints.load_metadata(folder) == METADATA
    assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {np.dtype(np.float32)}
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-6), found, variables)
    jax.tree.map(np.testing.assert_array_equal, found, checkpoints.restore(checkpoints.store(found)))
    jax.tree.map(np.testing.assert_array_equal, found["batch_stats"], variables["batch_stats"])


def test_kernels_beyond_float16_are_refused_and_variances_are_not():
    variables = {"params": {"conv": {"kernel": np.ones((1, 2))}}, "batch_stats": {"bn": {"var": np.array([7e4])}}}
    assert checkpoints.store(variables)["batch_stats/bn/var"] == 7e4
    variables["params"]["conv"]["kernel"] *= 7e4
    with pytest.raises(UserError, match="params/conv/kernel has values that float16 cannot hold"):
        checkpoints.store(variables)


def test_edge_heads_may_be_absent_but_no_other_layer(folder):
    values = load_file(folder / exported.WEIGHTS)
    save_file({name: x for name, x in values.items() if "edge_head" not in name}, folder / exported.WEIGHTS)
    variables, _ = checkpoints.load(folder)
    assert set(variables["params"]) == {"encoder", "context", "parsing_head"}
    save_file({name: x for name, x in values.items() if "conv4" not in name}, folder / exported.WEIGHTS)
    with pytest.raises(UserError, match=r"conv4/\w+ is missing in model\.safetensors"):
        checkpoints.load(folder)


def test_broken_folders_fail_in_one_line(folder):
    change(folder, model=METADATA.model | {"width": 16})
    with pytest.raises(UserError, match=r"/\w+ is \[.*\] in model\.safetensors, and \[.*\] in the network"):
        checkpoints.load(folder)
    change(folder, model=METADATA.model)
    data = (folder / exported.WEIGHTS).read_bytes()
    for text in ("{", "[]", "{}", '{"spec": {}, "model": {}, "size": 3, "preprocessing": {}}'):
        (folder / exported.METADATA).write_text(text)
        with pytest.raises(UserError, match=r"export cannot be read as a checkpoint"):
            checkpoints.load(folder)
    (folder / exported.METADATA).unlink()
    with pytest.raises(UserError, match=r"model\.json"):
        checkpoints.load(folder)
    (folder / exported.METADATA).write_text(json.dumps(METADATA.to_json()))
    for part in (data[: len(data) // 2], data[:4], b""):
        (folder / exported.WEIGHTS).write_bytes(part)
        with pytest.raises(UserError, match=r"export cannot be read as a checkpoint \(.+\)$"):
            checkpoints.load(folder)


def test_an_exported_folder_has_no_teacher(folder):
    assert checkpoints.choose_weights(folder) == "student"
    checkpoints.load(folder, "student")
    with pytest.raises(UserError, match="no teacher; leave out --weights"):
        checkpoints.load(folder, "teacher")


def test_shipped_weights_have_a_name(shipped):
    folder, _ = shipped
    assert checkpoints.find_checkpoint("portrait") == folder
    with pytest.raises(UserError, match=r"landscape: no such workdir or checkpoint.*ship with the package: portrait"):
        checkpoints.load("landscape")


def test_a_checkpoint_of_that_name_comes_first(shipped, tmp_path):
    (tmp_path / "portrait").mkdir()  # a folder of photos, perhaps
    assert checkpoints.find_checkpoint("portrait") == shipped[0]
    own = dataclasses.replace(METADATA, size=(32, 32))
    checkpoints.save_variables(tmp_path / "portrait" / "checkpoints", shipped[1], own)
    assert checkpoints.load("portrait")[1].size == (32, 32)


def test_the_shipped_weights_are_whole():
    variables, metadata = checkpoints.load("portrait")
    assert "edge_head" in variables["params"] and metadata.spec.num_classes == 19
    assert metadata.spec.terms and metadata.inherited_terms
    folder = checkpoints.find_checkpoint("portrait")
    assert (folder / exported.WEIGHTS).stat().st_size <= 12e6
    assert sum((folder / name).stat().st_size for name in (exported.WEIGHTS, "model.onnx")) <= 24e6
