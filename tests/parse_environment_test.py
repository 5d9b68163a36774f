"""requirements-parse.txt is enough to parse photos: an environment that holds nothing else."""

import importlib.metadata
import os
import pathlib
import subprocess
import venv

import pytest
from PIL import Image

from dmlcsr_jax.datasets.faces import draw_face

packaging = pytest.importorskip("packaging.requirements")
pytest.importorskip("onnxruntime")

ROOT = pathlib.Path(__file__).parents[1]

pytestmark = pytest.mark.slow


def distributions(lines):
    """The installed packages that requirements name, and those that they require themselves."""
    found, waiting = {}, [line for line in lines if line.strip() and not line.startswith("#")]
    while waiting:
        requirement = packaging.Requirement(waiting.pop())
        if requirement.name not in found and (not requirement.marker or requirement.marker.evaluate({"extra": ""})):
            found[requirement.name] = importlib.metadata.distribution(requirement.name)
            waiting += found[requirement.name].requires or []
    return found.values()


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """Python in an environment of links to these packages and to this one, which needs no network to make."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for distribution in distributions((ROOT / "requirements-parse.txt").read_text().splitlines()):
        for name in {file.parts[0] for file in distribution.files} - {"..", "__pycache__"}:
            if not (site / name).exists():
                (site / name).symlink_to(distribution.locate_file(name))
    (site / "dmlcsr_jax").symlink_to(ROOT / "dmlcsr_jax")
    return folder / "bin" / "python"


@pytest.fixture
def run(python, tmp_path):
    """Runs Python there, in an empty folder with a photo."""
    Image.fromarray(draw_face(0, 96)[0]).save(tmp_path / "photo.png")
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}

    def call(code, *arguments):
        words = [str(python), "-c", code, *arguments]
        return subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)

    return call


COMMAND = "from dmlcsr_jax.cli import main; main()"


def test_photos_are_parsed(run, tmp_path):
    done = run(COMMAND, "--mode=predict", "--write=labels,overlays,sheet,json", "--remap=lapa", "--flip", "photo.png")
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "predictions" / "photo.png") as labels:
        assert labels.size == (96, 96)


def test_the_parser_needs_nothing_else(run):
    code = """
import importlib.util
from dmlcsr_jax import FaceParser
assert all(importlib.util.find_spec(name) is None for name in ("jax", "flax", "orbax", "safetensors", "onnx"))
parser = FaceParser.load()
(face,) = parser("photo.png")
assert parser.engine == "onnxruntime" and (face.labels > 0).mean() > 0.1
"""
    done = run(code)
    assert done.returncode == 0 and not done.stdout, done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--mode=predict", "--engine=jax", "photo.png"], "engine jax needs the package jax"),
        (["--mode=predict", "--engine=openvino", "photo.png"], "pip install 'dmlcsr_jax[openvino]'"),
        (["--mode=predict", "--scales=0.75,1", "photo.png"], "needs JAX"),
        (["--mode=predict", "--precision=bfloat16", "photo.png"], "nothing here computes in"),
        (["--mode=export"], "this needs the package"),
    ],
)
def test_what_needs_more_says_so_in_one_line(run, arguments, words):
    done = run(COMMAND, *arguments)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 1 and line.startswith("error: ") and words in line


def test_the_requirements_are_those_of_the_package():
    """Each has the bounds of requirements.txt, or of the extra that installs it."""
    known = (ROOT / "requirements.txt").read_text() + (ROOT / "pyproject.toml").read_text()
    lines = [line for line in (ROOT / "requirements-parse.txt").read_text().splitlines() if not line.startswith("#")]
    assert 5 < len(lines) < 9 and all(line in known for line in lines)
