"""The room's public names load late, so that reading files and drawing need no JAX."""

import subprocess
import sys

import pytest

from dmlcsr_jax import inference


@pytest.mark.parametrize(
    "module", ["predict", "video.reading", "video.writing", "video.smoothing", "demo", "face", "inputs", "parser"]
)
def test_modules_without_a_network_import_no_jax(module):
    code = f"""
import sys
import dmlcsr_jax.inference.{module}
assert not {{"jax", "flax", "orbax", "tensorflow_datasets", "gradio"}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_public_name_is_there():
    assert dir(inference) == inference.__all__
    for name in inference.__all__:
        assert getattr(inference, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Parser'"):
        _ = inference.Parser
