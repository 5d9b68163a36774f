"""Weights are written and read bit for bit; broken or hostile files are refused in one line."""

import pickle

import numpy as np
import pytest

from dmlcsr_jax.errors import UserError
from dmlcsr_jax.models.weight_files import read_state_dict, write_state_dict

STATE_DICT = {"conv1.weight": np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32)}


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pth"])
def test_round_trip_is_bit_exact(tmp_path, suffix):
    if suffix == ".pth":
        pytest.importorskip("torch")
    write_state_dict(tmp_path / f"weights{suffix}", STATE_DICT)
    found = read_state_dict(tmp_path / f"weights{suffix}")
    assert list(found) == list(STATE_DICT)
    np.testing.assert_array_equal(np.asarray(found["conv1.weight"]), STATE_DICT["conv1.weight"])
    assert [path.name for path in tmp_path.iterdir()] == [f"weights{suffix}"]


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pth"])
def test_broken_files_are_refused(tmp_path, suffix):
    if suffix == ".pth":
        pytest.importorskip("torch")
    path = tmp_path / f"weights{suffix}"
    write_state_dict(path, STATE_DICT)
    whole = path.read_bytes()
    for broken in (whole[: len(whole) // 2], b"", b"text"):
        path.write_bytes(broken)
        with pytest.raises(UserError, match=path.name) as refusal:
            read_state_dict(path)
        assert "\n" not in str(refusal.value)


class Hostile:
    """Creates a file if a reader executes it."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return open, (self.target, "w")


@pytest.mark.parametrize("suffix", [".npz", ".pth"])
def test_code_in_a_file_is_never_run(tmp_path, suffix):
    if suffix == ".pth":
        pytest.importorskip("torch")
    path, target = tmp_path / f"weights{suffix}", tmp_path / "created"
    if suffix == ".npz":
        np.savez(path, a=np.array([Hostile(str(target))], object))
    else:
        path.write_bytes(pickle.dumps({"a": Hostile(str(target))}))
    target.unlink(missing_ok=True)
    with pytest.raises(UserError, match=path.name):
        read_state_dict(path)
    assert not target.exists()


def test_unknown_formats_and_missing_files_are_named(tmp_path):
    with pytest.raises(UserError, match=r"weights\.bin.*\.safetensors"):
        read_state_dict(tmp_path / "weights.bin")
    with pytest.raises(UserError, match="not a file"):
        read_state_dict(tmp_path / "weights.npz")
    with pytest.raises(UserError, match=r"\.bin"):
        write_state_dict(tmp_path / "weights.bin", STATE_DICT)
    with pytest.raises(UserError, match="cannot be written"):
        write_state_dict(tmp_path / "none" / "weights.npz", STATE_DICT)


def test_pytorch_is_an_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    (tmp_path / "weights.pth").write_bytes(b"anything")
    with pytest.raises(UserError, match=r"dmlcsr_jax\[torch\]"):
        read_state_dict(tmp_path / "weights.pth")
