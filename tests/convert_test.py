"""`--mode=convert` there and back, in this process."""

import pathlib

import jax
import numpy as np
import pytest

from configs import default
from dmlcsr_jax import checkpoints, modes
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.models import create_model, init_variables
from dmlcsr_jax.models.pretrained import to_torch
from dmlcsr_jax.models.weight_files import read_state_dict, write_state_dict


def config_for(dataset):
    config = default.get_config("debug")
    config.dataset.name = dataset
    config.input.channel_order = "BGR"
    return config


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of a 19-class network's weights: (path, variables)."""
    variables = init_variables(create_model(19, backbone="tiny", width=8), seed=0)
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    write_state_dict(path, {f"module.{name}": value for name, value in to_torch(variables).items()})
    return path, variables


def test_there_and_back(weights, tmp_path):
    path, given = weights
    workdir = tmp_path / "run"
    modes.convert(config_for("celebamask_hq"), workdir, path)
    variables, metadata = checkpoints.load(workdir)
    jax.tree.map(np.testing.assert_array_equal, variables, given)
    assert metadata.preprocessing.channel_order == "BGR" and metadata.spec.name == "celebamask_hq"
    assert metadata.model["backbone"] == "tiny" and metadata.model["width"] == 8

    modes.convert_back(workdir, tmp_path / "back.npz")
    back, original = read_state_dict(tmp_path / "back.npz"), read_state_dict(path)
    assert {f"module.{name}" for name in back} == set(original)
    for name, value in back.items():
        np.testing.assert_array_equal(value, original[f"module.{name}"])


def test_mistakes_are_named_and_leave_nothing(weights, tmp_path):
    path, _ = weights
    for file, words in ((path, "19 classes.*lapa has 11"), (tmp_path / "none.npz", "none.npz")):
        with pytest.raises(UserError, match=words):
            modes.convert(config_for("lapa"), tmp_path / "run", file)
    assert list(pathlib.Path(tmp_path).iterdir()) == []
    modes.convert(config_for("celebamask_hq"), tmp_path / "run", path)
    with pytest.raises(UserError, match="new --workdir"):
        modes.convert(config_for("celebamask_hq"), tmp_path / "run", path)
